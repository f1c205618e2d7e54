// SPDX-License-Identifier: GPL-3.0-or-later
/* What a pool shows, in the words of the model. */
#include "crash_world.h"

#include "base/cleanup.h"
#include "session/session_priv.h"
#include "volume/fs.h"

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ENTRIES_MAX    64u
#define INODES_MAX     64u
#define FILE_BYTES_MAX (4u << 20)

/* ---- trees ----------------------------------------------------------------
 */

struct walk {
	struct cfs_fs *fs;
	struct cfs_buf *ret;
	uint64_t inodes[INODES_MAX]; /* in the order of first visit */
	unsigned int inode_count;
	unsigned int depth;
};

static int by_name(const void *a, const void *b)
{
	const struct cfs_fs_entry *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static unsigned int number_of(struct walk *w, uint64_t ino)
{
	for (unsigned int i = 0; i < w->inode_count; i++)
		if (w->inodes[i] == ino)
			return i + 1;
	if (w->inode_count == INODES_MAX)
		return UINT32_MAX;
	w->inodes[w->inode_count++] = ino;
	return w->inode_count;
}

static int show_dir(struct walk *w, uint64_t ino, const char *path,
		    struct cfs_err *err);

static int read_content(struct cfs_fs *fs, uint64_t ino,
			const struct cfs_inode *inode, uint8_t **ret,
			struct cfs_err *err)
{
	size_t got = 0;
	uint8_t *data;
	int r;

	if (inode->size_bytes > FILE_BYTES_MAX)
		return cfs_err_set(err, -EUCLEAN, "a file is too long");
	data = malloc(inode->size_bytes + 1);
	assert(data);
	if (S_ISLNK(inode->mode))
		r = cfs_fs_readlink(fs, ino, data, inode->size_bytes, &got,
				    err);
	else
		r = cfs_fs_read(fs, ino, 0, data, inode->size_bytes, &got, err);
	if (r == 0 && got != inode->size_bytes)
		r = cfs_err_set(err, -EUCLEAN, "a file ends early");
	if (r < 0)
		free(data);
	else
		*ret = data;
	return r;
}

static int show_entry(struct walk *w, const struct cfs_fs_entry *e,
		      const char *dir_path, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) uint8_t *data = NULL;
	char path[1024];
	uint8_t xattr[256];
	struct cfs_inode inode;
	struct crash_node_text text = { .path = path, .xattr = xattr };
	int r = cfs_fs_getattr(w->fs, e->ino, &inode, err);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/%s", dir_path, e->name);
	text.number = number_of(w, e->ino);
	text.type = S_ISDIR(inode.mode) ? 'd' : S_ISLNK(inode.mode) ? 'l' : 'f';
	if ((e->type == DT_DIR) != S_ISDIR(inode.mode))
		return cfs_err_set(err, -EUCLEAN, "%s: type of an entry", path);
	text.nlink = (unsigned int)inode.nlink;
	text.size_bytes = inode.size_bytes;
	if (text.type != 'd')
		r = read_content(w->fs, e->ino, &inode, &data, err);
	text.data = data;
	if (r == 0)
		r = cfs_fs_xattr_get(w->fs, e->ino, "user.x", xattr,
				     sizeof(xattr), &text.xattr_bytes, err);
	if (r == -ENODATA)
		text.xattr_bytes = 0;
	else if (r < 0)
		return cfs_err_wrap(err, r, "%s", path);
	crash_render_node(w->ret, &text);
	if (text.type != 'd')
		return 0;
	return show_dir(w, e->ino, path, err);
}

static int show_dir(struct walk *w, uint64_t ino, const char *path,
		    struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_fs_entry *list = calloc(ENTRIES_MAX, sizeof(*list));
	size_t count = 0, got = 1;
	uint64_t cookie = 0;
	int r = 0;

	assert(list);
	if (w->depth > 20)
		return cfs_err_set(err, -EUCLEAN, "%s: too deep", path);
	while (r == 0 && got > 0 && count < ENTRIES_MAX) {
		r = cfs_fs_readdir(w->fs, ino, cookie, list + count,
				   ENTRIES_MAX - count, &got, err);
		if (r == 0 && got > 0)
			cookie = list[count + got - 1].next_cookie;
		count += r == 0 ? got : 0;
	}
	qsort(list, count, sizeof(*list), by_name);
	w->depth++;
	for (size_t i = 0; r == 0 && i < count; i++)
		if (strcmp(list[i].name, ".") != 0 &&
		    strcmp(list[i].name, "..") != 0)
			r = show_entry(w, &list[i], path, err);
	w->depth--;
	return r;
}

/* ---- volumes
 * ----------------------------------------------------------------- */

static int show_lun(struct cfs_io_volume *v, struct cfs_buf *ret,
		    struct cfs_err *err)
{
	const uint64_t blocks = cfs_io_size_bytes(v) / MODEL_BLOCK_BYTES;
	static uint8_t bytes[32 * MODEL_BLOCK_BYTES];
	uint64_t n = 32;
	int r = 0;

	for (uint64_t at = 0; r == 0 && at < blocks; at += n) {
		n = CFS_MIN(blocks - at, n);
		r = cfs_io_read(v, at * MODEL_BLOCK_BYTES, bytes,
				n * MODEL_BLOCK_BYTES, NULL, err);
		for (uint64_t i = 0; r == 0 && i < n; i++)
			crash_render_block(ret, at + i,
					   bytes + i * MODEL_BLOCK_BYTES);
	}
	return r;
}

static int show(struct cfs_session *s, const char *volume, const char *snap,
		struct cfs_buf *ret, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_io_closep) struct cfs_io_volume *v = NULL;
	struct walk w = { .ret = ret };
	int r = cfs_io_open(s, volume, snap, false, &v, err);

	if (r < 0)
		return cfs_err_wrap(err, r, "open %s@%s", volume,
				    snap ? snap : "");
	w.fs = cfs_io_fs(v);
	crash_render_volume(ret, volume, snap, w.fs != NULL,
			    cfs_io_size_bytes(v));
	r = w.fs ? show_dir(&w, cfs_fs_root_ino(w.fs), "", err)
		 : show_lun(v, ret, err);
	return r < 0 ? cfs_err_wrap(err, r, "read %s@%s", volume,
				    snap ? snap : "")
		     : 0;
}

struct names {
	struct {
		char name[260];
	} list[64];
	size_t count;
	bool is_short;
};

static int add_name(struct names *n, const char *name)
{
	if (n->count == 64)
		return -E2BIG;
	strcpy(n->list[n->count++].name, name);
	return 0;
}

static int each_volume(void *arg, const struct cfs_volume_info *info)
{
	if (strcmp(info->name, CRASH_BALLAST) == 0)
		return 0;
	return add_name(arg, info->name);
}

static int each_snapshot(void *arg, const struct cfs_snapshot_info *info)
{
	return add_name(arg, info->name);
}

static int show_volume(struct cfs_session *s, const char *volume,
		       struct cfs_buf *ret, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) struct names *snaps = calloc(1, sizeof(*snaps));
	int r = show(s, volume, NULL, ret, err);

	assert(snaps);
	if (r == 0)
		r = cfs_session_snapshots(s, volume, false, each_snapshot,
					  snaps, err);
	for (size_t i = 0; r == 0 && i < snaps->count; i++)
		r = show(s, volume, snaps->list[i].name, ret, err);
	return r;
}

static int keep_text(struct crash_view *view, struct cfs_buf *buf)
{
	const char *text = cfs_buf_text(buf);

	if (buf->bytes == 0)
		return 0;
	if (view->count == MODEL_CONTAINERS + 2)
		return -E2BIG;
	view->texts[view->count] = strdup(text);
	assert(view->texts[view->count]);
	view->count++;
	buf->bytes = 0;
	return 0;
}

int crash_view_get(struct cfs_session *s, struct crash_view *ret,
		   struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct names *volumes = calloc(1, sizeof(*volumes));
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	int r;

	assert(volumes);
	memset(ret, 0, sizeof(*ret));
	r = cfs_session_volumes(s, NULL, each_volume, volumes, err);
	for (size_t i = 0; r == 0 && i < volumes->count; i++) {
		/* A production volume begins a container. */
		if (!strchr(volumes->list[i].name, '/'))
			r = keep_text(ret, &buf);
		if (r == 0)
			r = show_volume(s, volumes->list[i].name, &buf, err);
	}
	if (r == 0)
		r = keep_text(ret, &buf);
	if (r < 0)
		crash_view_done(ret);
	return r;
}

void crash_view_done(struct crash_view *view)
{
	for (size_t i = 0; i < view->count; i++)
		free(view->texts[i]);
	memset(view, 0, sizeof(*view));
}

/* ---- check
 * -------------------------------------------------------------------- */

static int first_problem(void *arg, const struct cfs_problem *p)
{
	struct cfs_err *err = arg;

	/* A device is taken away on purpose. */
	if (strcmp(p->kind, "device") == 0)
		return 0;
	return cfs_err_set(err, -EUCLEAN, "check: %s: %s%s%s %s: %s", p->kind,
			   p->container, p->volume[0] ? " " : "", p->volume,
			   p->path, p->text);
}

int crash_session_check(struct cfs_session *s, struct cfs_err *err)
{
	struct cfs_check_result result;

	return cfs_session_check(s, NULL, first_problem, err, &result, err);
}

static int first_damage(void *arg, const struct cfs_damage *d)
{
	cfs_err_set(arg, -EUCLEAN, "scrub: %s (%s) on device %u at %llu",
		    d->kind, d->cause, d->device_index,
		    (unsigned long long)d->device_offset_bytes);
	return -EUCLEAN;
}

int crash_session_scrub(struct cfs_session *s, struct cfs_err *err)
{
	const struct cfs_scrub_options opt = { .heals = false };
	struct cfs_scrub_result result;

	return cfs_session_scrub(s, NULL, &opt, first_damage, err, &result,
				 err);
}
