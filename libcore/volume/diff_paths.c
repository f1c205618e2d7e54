/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What changed of a tree, as paths.
 *
 * First all that differs is gone through once: entries that came, entries that
 * went, inodes that are others.  An entry that came and one that went with the
 * same inode are a rename.  Then each gets its path, in the view that has it.
 * Memory follows what changed.
 */
#include "volume/diff_paths.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/vec.h"
#include "ondisk/inode.h"
#include "volume/fs_open.h"

#include <stdlib.h>
#include <sys/stat.h>

#define GATHER_MAX 256u

struct name_event {
	uint64_t dir, ino;
	size_t name_at;    /* in the texts, with a NUL */
	bool has_replaced; /* came: the name was another one's */
	bool is_replaced;  /* went: the name is another one's */
	bool is_taken;     /* went: as the source of a rename */
};

struct inode_event {
	uint64_t ino, parent;
	size_t path_at; /* in the texts; 0: none yet */
};

struct told {
	const char *change;
	size_t path_at, old_at; /* in the texts; 0: none */
};

typedef CFS_VEC(struct name_event) name_vec;

struct paths {
	const struct cfs_diff_of *of;
	struct cfs_fs *from, *to;
	struct cfs_buf texts; /* the first byte is a NUL */
	name_vec came, went;
	CFS_VEC(struct inode_event) others;
	CFS_VEC(struct told) told;
	/* The directory whose path was asked for last, in each view. */
	struct {
		uint64_t ino;
		struct cfs_buf path;
	} last[2];
	struct cfs_err *err;
};

static int no_memory(struct paths *p)
{
	return cfs_err_set(p->err, -ENOMEM, "out of memory");
}

static int keep_text(struct paths *p, const void *text, size_t bytes,
		     size_t *ret_at)
{
	*ret_at = p->texts.bytes;
	if (cfs_buf_append(&p->texts, text, bytes) < 0 ||
	    cfs_buf_append(&p->texts, "", 1) < 0)
		return no_memory(p);
	return 0;
}

static const char *text(const struct paths *p, size_t at)
{
	return (const char *)p->texts.data + at;
}

/* ---- events -------------------------------------------------------------- */

static int add_name(struct paths *p, name_vec *to, uint64_t dir,
		    const void *value, size_t bytes, bool flag)
{
	struct name_event e = { .dir = dir };
	struct cfs_dirent entry;
	int r = cfs_dirent_unpack(value, bytes, &entry, p->err);

	if (r == 0)
		r = keep_text(p, entry.name, entry.name_bytes, &e.name_at);
	if (r < 0)
		return r;
	e.ino = entry.ino;
	if (to == &p->came)
		e.has_replaced = flag;
	else
		e.is_replaced = flag;
	return cfs_vec_push(to, e) < 0 ? no_memory(p) : 0;
}

static int old_entry(struct paths *p, const struct cfs_change *c, void *buf,
		     size_t *ret_bytes)
{
	return cfs_map_get(p->of->from, c->ino, CFS_MAP_DIRENT,
			   c->word & CFS_MAP_OFF_MASK, buf,
			   CFS_DIRENT_BYTES_MAX, ret_bytes, p->err);
}

static bool is_same_name(const void *a, size_t a_bytes, const void *b,
			 size_t b_bytes)
{
	struct cfs_dirent x, y;

	return cfs_dirent_unpack(a, a_bytes, &x, NULL) == 0 &&
	       cfs_dirent_unpack(b, b_bytes, &y, NULL) == 0 &&
	       x.name_bytes == y.name_bytes &&
	       memcmp(x.name, y.name, x.name_bytes) == 0;
}

/* An entry that is new, gone, or names another inode now. */
static int see_entry(struct paths *p, const struct cfs_change *c)
{
	uint8_t old[CFS_DIRENT_BYTES_MAX];
	const bool came = c->kind == CFS_CHANGE_PUT;
	bool replaces = false;
	size_t bytes = 0;
	int r = c->is_new ? -ENOENT : old_entry(p, c, old, &bytes);

	if (r == 0) {
		bytes = CFS_MIN(bytes, sizeof(old));
		replaces = came &&
			   is_same_name(old, bytes, c->value, c->value_bytes);
		r = add_name(p, &p->went, c->ino, old, bytes, replaces);
	}
	if (r < 0 && r != -ENOENT)
		return r;
	return came ? add_name(p, &p->came, c->ino, c->value, c->value_bytes,
			       replaces)
		    : 0;
}

/* A directory that is gone: its entries went. */
static int see_gone(struct paths *p, uint64_t ino)
{
	uint8_t buf[CFS_DIRENT_BYTES_MAX];
	uint64_t offset = 0;
	size_t bytes = 0;
	int r = 0;

	for (; r == 0; offset++) {
		r = cfs_map_next(p->of->from, ino, CFS_MAP_DIRENT, &offset, buf,
				 sizeof(buf), &bytes, p->err);
		if (r == 0)
			r = add_name(p, &p->went, ino, buf,
				     CFS_MIN(bytes, sizeof(buf)), false);
	}
	return r == -ENOENT ? 0 : r;
}

static int load(const struct cfs_view *view, uint64_t ino,
		struct cfs_inode *ret, struct cfs_err *err)
{
	uint8_t buf[sizeof(struct cfs_inode_disk)];
	size_t bytes;
	int r = cfs_map_get(view, ino, CFS_MAP_INODE, 0, buf, sizeof(buf),
			    &bytes, err);

	return r < 0 ? r
		     : cfs_inode_unpack(buf, CFS_MIN(bytes, sizeof(buf)), ret,
					err);
}

static bool is_other(const struct cfs_inode *a, const struct cfs_inode *b)
{
	if (a->mode != b->mode || a->uid != b->uid || a->gid != b->gid)
		return true;
	return !S_ISDIR(a->mode) &&
	       (a->size_bytes != b->size_bytes || a->rdev != b->rdev ||
		a->mtime_ns != b->mtime_ns);
}

/* Something about an inode that both have; told once. */
static int see_inode(struct paths *p, const struct cfs_change *c)
{
	const bool is_inode = c->kind == CFS_CHANGE_PUT &&
			      c->word >> CFS_MAP_OFF_BITS == CFS_MAP_INODE;
	struct cfs_inode old = { .mode = 0 }, new = { .mode = 0 };
	struct inode_event e = { .ino = c->ino };
	int r;

	if (c->is_new || (p->others.count &&
			  p->others.items[p->others.count - 1].ino == c->ino))
		return 0;
	r = load(p->of->to, c->ino, &new, p->err);
	if (r == 0 && is_inode)
		r = load(p->of->from, c->ino, &old, p->err);
	if (r != 0)
		return r == -ENOENT ? 0 : r;
	if (is_inode && !is_other(&old, &new))
		return 0;
	e.parent = new.parent;
	return cfs_vec_push(&p->others, e) < 0 ? no_memory(p) : 0;
}

static int see(struct paths *p, const struct cfs_change *c)
{
	if (c->kind == CFS_CHANGE_GONE)
		return see_gone(p, c->ino);
	if (c->kind > CFS_CHANGE_DEL ||
	    c->word >> CFS_MAP_OFF_BITS != CFS_MAP_DIRENT)
		return see_inode(p, c);
	return see_entry(p, c);
}

static int see_all(struct paths *p, bool (*stop)(void *arg), void *stop_arg)
{
	CFS_CLEANUP(cfs_diff_freep) struct cfs_diff *d = NULL;
	int r = cfs_diff_new(p->of, &d, p->err), more = 1;

	while (r == 0 && more == 1) {
		cfs_container_lock(p->of->to->container);
		for (unsigned int i = 0; i < GATHER_MAX && r == 0; i++) {
			struct cfs_change c;

			more = cfs_diff_next(d, &c, p->err);
			if (more != 1)
				break;
			r = see(p, &c);
		}
		cfs_container_unlock(p->of->to->container);
		if (r == 0 && stop && stop(stop_arg))
			r = cfs_err_set(p->err, -EINTR, "stopped");
	}
	return r == 0 && more < 0 ? more : r;
}

/* ---- paths --------------------------------------------------------------- */

/* The path of an entry, of a directory in one of the views. */
static int path_of(struct paths *p, bool is_old, uint64_t dir, const char *name,
		   size_t *ret_at)
{
	struct cfs_buf *path = &p->last[is_old].path;
	int r = 0;

	if (p->last[is_old].ino != dir) {
		path->bytes = 0;
		p->last[is_old].ino = 0;
		r = cfs_fs_path_of(is_old ? p->from : p->to, dir, path, p->err);
		if (r < 0)
			return r;
		p->last[is_old].ino = dir;
	}
	*ret_at = p->texts.bytes;
	if (path->bytes > 1)
		r = cfs_buf_append(&p->texts, path->data, path->bytes);
	if (r == 0 && name)
		r = cfs_buf_append(&p->texts, "/", 1);
	/* The name stands in the same buffer, which may move. */
	for (size_t i = 0; r == 0 && name && name[i]; i++) {
		const char c = name[i];

		r = cfs_buf_reserve(&p->texts, 2);
		if (r == 0)
			r = cfs_buf_append(&p->texts, &c, 1);
	}
	if (r == 0)
		r = cfs_buf_append(&p->texts, "", 1);
	return r < 0 ? no_memory(p) : 0;
}

static int event_path(struct paths *p, bool is_old, const struct name_event *e,
		      size_t *ret_at)
{
	char name[CFS_FILE_NAME_BYTES_MAX + 1];

	strcpy(name, text(p, e->name_at));
	return path_of(p, is_old, e->dir, name, ret_at);
}

static int tell(struct paths *p, const char *change, size_t path_at,
		size_t old_at)
{
	const struct told t = { change, path_at, old_at };

	return cfs_vec_push(&p->told, t) < 0 ? no_memory(p) : 0;
}

static int by_ino(const void *a, const void *b)
{
	const struct name_event *x = *(struct name_event *const *)a;
	const struct name_event *y = *(struct name_event *const *)b;

	return (x->ino > y->ino) - (x->ino < y->ino);
}

/* One that went with this inode and is nobody's source yet; NULL. */
static struct name_event *source_of(struct name_event **went, size_t count,
				    uint64_t ino)
{
	size_t lo = 0, hi = count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (went[mid]->ino < ino)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < count && went[lo]->ino == ino; lo++)
		if (!went[lo]->is_taken)
			return went[lo];
	return NULL;
}

static int tell_came(struct paths *p, const struct name_event *e,
		     struct name_event *source)
{
	size_t at = 0, old_at = 0;
	int r = event_path(p, false, e, &at);

	if (r == 0 && source) {
		source->is_taken = true;
		r = event_path(p, true, source, &old_at);
	}
	return r < 0 ? r
		     : tell(p,
			    source            ? "renamed"
			    : e->has_replaced ? "modified"
					      : "added",
			    at, old_at);
}

static int tell_names(struct paths *p)
{
	CFS_CLEANUP(cfs_freep)
	struct name_event **went = calloc(p->went.count + 1, sizeof(*went));
	size_t at;
	int r = 0;

	if (!went)
		return no_memory(p);
	for (size_t i = 0; i < p->went.count; i++)
		went[i] = &p->went.items[i];
	qsort(went, p->went.count, sizeof(*went), by_ino);
	for (size_t i = 0; i < p->came.count && r == 0; i++)
		r = tell_came(
			p, &p->came.items[i],
			source_of(went, p->went.count, p->came.items[i].ino));
	for (size_t i = 0; i < p->went.count && r == 0; i++) {
		const struct name_event *e = &p->went.items[i];

		if (e->is_taken || e->is_replaced)
			continue;
		r = event_path(p, true, e, &at);
		if (r == 0)
			r = tell(p, "removed", at, 0);
	}
	return r;
}

/* ---- inodes that are others ---------------------------------------------- */

static int by_parent(const void *a, const void *b)
{
	const struct inode_event *x = a, *y = b;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	return (x->ino > y->ino) - (x->ino < y->ino);
}

static struct inode_event *find_event(struct inode_event *list, size_t count,
				      uint64_t ino)
{
	size_t lo = 0, hi = count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (list[mid].ino < ino)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < count && list[lo].ino == ino ? &list[lo] : NULL;
}

/* Names of @count inodes that one directory has, in one pass over it. */
static int name_in_dir(struct paths *p, struct inode_event *list, size_t count)
{
	struct cfs_fs_entry *entries = calloc(GATHER_MAX, sizeof(*entries));
	uint64_t cookie = 2; /* behind "." and ".." */
	size_t n, left = count;
	int r = entries ? 0 : no_memory(p);

	while (r == 0 && left > 0) {
		r = cfs_fs_readdir(p->to, list[0].parent, cookie, entries,
				   GATHER_MAX, &n, NULL);
		if (r < 0 || n == 0)
			break;
		cookie = entries[n - 1].next_cookie;
		for (size_t i = 0; i < n && r == 0 && left > 0; i++) {
			struct inode_event *e = find_event(list, count,
							   entries[i].ino);

			if (!e || e->path_at)
				continue;
			r = path_of(p, false, e->parent, entries[i].name,
				    &e->path_at);
			left--;
		}
	}
	free(entries);
	/* What is not found here has its own way. */
	return r == -ENOMEM ? r : 0;
}

static int name_alone(struct paths *p, struct inode_event *e)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf path = CFS_BUF_INIT;
	int r = cfs_fs_path_of(p->to, e->ino, &path, p->err);

	return r < 0 ? r : keep_text(p, path.data, path.bytes, &e->path_at);
}

static int tell_others(struct paths *p)
{
	struct inode_event *list = p->others.items;
	const size_t count = p->others.count;
	int r = 0;

	if (count > 1)
		qsort(list, count, sizeof(*list), by_parent);
	for (size_t i = 0, n; i < count && r == 0; i += n) {
		for (n = 1;
		     i + n < count && list[i + n].parent == list[i].parent; n++)
			;
		if (list[i].parent)
			r = name_in_dir(p, list + i, n);
	}
	for (size_t i = 0; i < count && r == 0; i++) {
		if (!list[i].path_at)
			r = name_alone(p, &list[i]);
		if (r == 0)
			r = tell(p, "modified", list[i].path_at, 0);
	}
	return r;
}

/* ---- all of it ----------------------------------------------------------- */

static int by_path(const void *a, const void *b, void *arg)
{
	const struct told *x = a, *y = b;
	int c = strcmp(text(arg, x->path_at), text(arg, y->path_at));

	return c ? c : strcmp(x->change, y->change);
}

static int tell_all(struct paths *p, cfs_diff_item_fn each, void *arg)
{
	int r = 0;

	if (p->told.count > 1)
		qsort_r(p->told.items, p->told.count, sizeof(*p->told.items),
			by_path, p);
	for (size_t i = 0; i < p->told.count && r == 0; i++) {
		const struct told *t = &p->told.items[i];
		const struct cfs_diff_item item = {
			.change = t->change,
			.path = text(p, t->path_at),
			.old_path = t->old_at ? text(p, t->old_at) : NULL,
		};

		/* One that has both another content and another one's name. */
		if (i > 0 && by_path(t - 1, t, p) == 0)
			continue;
		r = each(arg, &item);
	}
	return r;
}

static void paths_done(struct paths *p)
{
	cfs_fs_close(p->from);
	cfs_fs_close(p->to);
	cfs_buf_donep(&p->texts);
	cfs_buf_donep(&p->last[0].path);
	cfs_buf_donep(&p->last[1].path);
	cfs_vec_done(&p->came);
	cfs_vec_done(&p->went);
	cfs_vec_done(&p->others);
	cfs_vec_done(&p->told);
}

int cfs_diff_paths(const struct cfs_diff_of *of, uint64_t hash_seed,
		   cfs_diff_item_fn each, void *arg, bool (*stop)(void *arg),
		   void *stop_arg, struct cfs_err *err)
{
	struct paths p = { .of = of, .err = err };
	size_t at;
	int r = keep_text(&p, "", 0, &at);

	if (r == 0)
		r = cfs_fs_open(of->from, of->ino, hash_seed, &p.from, err);
	if (r == 0)
		r = cfs_fs_open(of->to, of->ino, hash_seed, &p.to, err);
	if (r == 0)
		r = see_all(&p, stop, stop_arg);
	if (r == 0)
		r = tell_names(&p);
	if (r == 0)
		r = tell_others(&p);
	if (r == 0)
		r = tell_all(&p, each, arg);
	paths_done(&p);
	return r;
}
