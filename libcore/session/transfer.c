/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The middle between sources and sinks: which call an entry becomes, which
 * names are links to one another, what a failure means, what is counted.
 */
#include "session/transfer_priv.h"

#include "base/bits.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const struct cfs_transfer_options no_options;

void transfer_init(struct transfer *t, const struct cfs_transfer_options *opt,
		   struct cfs_transfer_result *ret,
		   const struct transfer_sink *sink, void *sink_arg)
{
	memset(ret, 0, sizeof(*ret));
	memset(t, 0, sizeof(*t));
	t->opt = opt ? opt : &no_options;
	t->ret = ret;
	t->sink = sink;
	t->sink_arg = sink_arg;
}

void transfer_done(struct transfer *t)
{
	size_t i;

	transfer_damage_flush(t);
	for (i = 0; i < t->link_room; i++)
		free(t->links[i].path);
	free(t->links);
	t->links = NULL;
	t->link_room = 0;
}

int transfer_check_stop(const struct transfer *t, struct cfs_err *err)
{
	if (t->opt->stop && t->opt->stop(t->opt->arg))
		return cfs_err_set(err, -EINTR, "stopped");
	return 0;
}

void transfer_moved(struct transfer *t, size_t bytes)
{
	t->done_bytes += bytes;
	t->ret->bytes += bytes;
	if (t->opt->progress)
		t->opt->progress(t->opt->arg, t->done_bytes,
				 t->opt->total_bytes);
}

/* ------------------------------------------------------------ failures */

static bool is_for_all(int code)
{
	switch (-code) {
	case EINTR:
	case ENOMEM:
	case ENOSPC:
	case EDQUOT:
	case EROFS:
	case ENODEV:
	case EPIPE:
	case ESTALE:
		return true;
	default:
		return false;
	}
}

/*
 * What is wrong with an entry is nothing that the command line said: codes
 * that would tell a tool "wrong usage" or "does not exist" become a plain
 * failure.
 */
static int code_of_entry(int code)
{
	switch (-code) {
	case EINVAL:
	case ENAMETOOLONG:
	case ENOENT:
	case ENOTSUP:
	case ERANGE:
	case ENXIO:
		return -EILSEQ;
	default:
		return code;
	}
}

static int weight(int code)
{
	switch (-code) {
	case 0:
		return 0;
	case EUCLEAN:
		return 3;
	case EIO:
		return 2;
	default:
		return 1;
	}
}

int transfer_failed(struct transfer *t, const char *path, struct cfs_err *err)
{
	int code = err->code;

	if (is_for_all(code))
		return code;
	transfer_damage_flush(t);
	code = code_of_entry(code);
	err->code = code;
	t->ret->skipped++;
	if (weight(code) > weight(t->ret->worst_code))
		t->ret->worst_code = code;
	if (t->opt->failed)
		t->opt->failed(t->opt->arg, path, err);
	return 0;
}

void transfer_damage_flush(struct transfer *t)
{
	if (t->damage_path && t->opt->damaged)
		t->opt->damaged(t->opt->arg, t->damage_path, t->damage_begin,
				t->damage_end - t->damage_begin);
	free(t->damage_path);
	t->damage_path = NULL;
}

void transfer_damaged(struct transfer *t, const char *path,
		      uint64_t offset_bytes, uint64_t length_bytes)
{
	t->ret->damaged_bytes += length_bytes;
	if (t->damage_path && t->damage_end == offset_bytes &&
	    strcmp(t->damage_path, path) == 0) {
		t->damage_end += length_bytes;
		return;
	}
	transfer_damage_flush(t);
	t->damage_path = strdup(path);
	t->damage_begin = offset_bytes;
	t->damage_end = offset_bytes + length_bytes;
	/* Without memory it is reported at once and on its own. */
	if (!t->damage_path && t->opt->damaged)
		t->opt->damaged(t->opt->arg, path, offset_bytes, length_bytes);
}

/* --------------------------------------------------------------- links */

static size_t link_place(const struct transfer_link *links, size_t room,
			 uint64_t dev, uint64_t ino)
{
	uint64_t hash = (ino * UINT64_C(0x9e3779b97f4a7c15)) ^
			(dev * UINT64_C(0xc2b2ae3d27d4eb4f));
	size_t i = (size_t)(hash >> 20) & (room - 1);

	while (links[i].path && (links[i].dev != dev || links[i].ino != ino))
		i = (i + 1) & (room - 1);
	return i;
}

static const struct transfer_link *link_find(const struct transfer *t,
					     uint64_t dev, uint64_t ino)
{
	const struct transfer_link *link;

	if (!t->link_room)
		return NULL;
	link = &t->links[link_place(t->links, t->link_room, dev, ino)];
	return link->path ? link : NULL;
}

const char *transfer_link_find(const struct transfer *t, uint64_t dev,
			       uint64_t ino)
{
	const struct transfer_link *link = link_find(t, dev, ino);

	return link ? link->path : NULL;
}

static int link_grow(struct transfer *t)
{
	size_t room = t->link_room ? t->link_room * 2 : 64;
	struct transfer_link *links = calloc(room, sizeof(*links));
	size_t i;

	if (!links)
		return -ENOMEM;
	for (i = 0; i < t->link_room; i++) {
		const struct transfer_link *old = &t->links[i];

		if (old->path)
			links[link_place(links, room, old->dev, old->ino)] =
				*old;
	}
	free(t->links);
	t->links = links;
	t->link_room = room;
	return 0;
}

int transfer_link_add(struct transfer *t, uint64_t dev, uint64_t ino,
		      const char *path)
{
	struct transfer_link *link;

	if ((t->link_count + 1) * 2 > t->link_room && link_grow(t) < 0)
		return -ENOMEM;
	link = &t->links[link_place(t->links, t->link_room, dev, ino)];
	if (link->path)
		return 0;
	link->path = strdup(path);
	if (!link->path)
		return -ENOMEM;
	link->dev = dev;
	link->ino = ino;
	link->number = t->link_serial;
	t->link_count++;
	return 0;
}

/* ------------------------------------------------------------- entries */

static int put_by_type(struct transfer *t, const struct transfer_entry *e,
		       struct transfer_reader *rd, struct cfs_err *err)
{
	switch (e->mode & S_IFMT) {
	case S_IFREG:
		return t->sink->file(t, e, rd, err);
	case S_IFDIR:
		return t->sink->directory(t, e, err);
	case S_IFLNK:
	case S_IFBLK:
	case S_IFCHR:
	case S_IFIFO:
	case S_IFSOCK:
		return t->sink->node(t, e, err);
	default:
		return cfs_err_set(err, -EILSEQ, "no type of file");
	}
}

static void count_entry(struct transfer *t, const struct transfer_entry *e)
{
	t->ret->entries++;
	if (S_ISREG(e->mode))
		t->ret->files++;
	else if (S_ISDIR(e->mode))
		t->ret->directories++;
}

int transfer_put_link(struct transfer *t, const struct transfer_entry *e,
		      const char *first, bool *ret_is_made, struct cfs_err *err)
{
	int r;

	if (ret_is_made)
		*ret_is_made = false;
	/* A file that an archive says is a link to itself is one already. */
	if (strcmp(first, e->path) == 0)
		r = cfs_err_set(err, -EILSEQ, "a link to itself");
	else
		r = t->sink->link(t, e, first, err);
	if (r < 0)
		return transfer_failed(t, e->path, err);
	t->ret->entries++;
	t->ret->links++;
	if (ret_is_made)
		*ret_is_made = true;
	return 0;
}

int transfer_put(struct transfer *t, const struct transfer_entry *e,
		 struct transfer_reader *rd, uint64_t dev, uint64_t ino,
		 bool *ret_is_made, struct cfs_err *err)
{
	bool may_be_link = e->nlink > 1 && !S_ISDIR(e->mode) &&
			   !t->sink->has_no_links;
	struct transfer_entry own = *e;
	const struct transfer_link *first;
	int r;

	if (ret_is_made)
		*ret_is_made = false;
	r = transfer_check_stop(t, err);
	if (r < 0)
		return r;
	first = may_be_link ? link_find(t, dev, ino) : NULL;
	if (first) {
		own.link_number = first->number;
		return transfer_put_link(t, &own, first->path, ret_is_made,
					 err);
	}
	if (may_be_link)
		own.link_number = ++t->link_serial;
	r = put_by_type(t, &own, rd, err);
	if (r < 0)
		return transfer_failed(t, e->path, err);
	count_entry(t, e);
	if (ret_is_made)
		*ret_is_made = true;
	if (may_be_link && transfer_link_add(t, dev, ino, e->path) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return 0;
}

int transfer_put_end(struct transfer *t, const struct transfer_entry *e,
		     struct cfs_err *err)
{
	int r = t->sink->directory_end(t, e, err);

	return r < 0 ? transfer_failed(t, e->path, err) : 0;
}

/* ---------------------------------------------------- the sink that counts */

static int null_ok(struct transfer *t, const struct transfer_entry *e,
		   struct cfs_err *err)
{
	(void)t;
	(void)e;
	(void)err;
	return 0;
}

static int null_file(struct transfer *t, const struct transfer_entry *e,
		     struct transfer_reader *rd, struct cfs_err *err)
{
	uint64_t offset_bytes;
	const void *p;
	size_t n;
	int r;

	(void)e;
	do {
		r = rd->next(rd, &p, &n, &offset_bytes, err);
		if (r == 0)
			r = transfer_check_stop(t, err);
		if (r < 0)
			return r;
		transfer_moved(t, n);
	} while (n);
	return 0;
}

static int null_link(struct transfer *t, const struct transfer_entry *e,
		     const char *first, struct cfs_err *err)
{
	(void)t;
	(void)e;
	(void)first;
	(void)err;
	return 0;
}

const struct transfer_sink transfer_null_sink = {
	.directory = null_ok,
	.directory_end = null_ok,
	.file = null_file,
	.node = null_ok,
	.link = null_link,
	.refill = null_file,
};

/* ------------------------------------------------------------- helpers */

bool transfer_is_zero(const void *buf, size_t bytes)
{
	const uint8_t *p = buf;

	/* The first byte and then each byte against the one before it. */
	return bytes == 0 || (p[0] == 0 && memcmp(p, p + 1, bytes - 1) == 0);
}

void transfer_locale_enter(struct transfer_locale *l)
{
	l->old = (locale_t)0;
	l->fresh = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	if (l->fresh)
		l->old = uselocale(l->fresh);
}

void transfer_locale_leavep(struct transfer_locale *l)
{
	if (!l->fresh)
		return;
	(void)uselocale(l->old);
	freelocale(l->fresh);
	l->fresh = (locale_t)0;
}
