/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A tree as the source.  Holes are found by seeking.  With skips_damage a
 * block that cannot be read is left out of its file, so that zeroes stand
 * there, and reported; the same of an attribute that cannot be read would be
 * a lie, so that is always a failure of its entry.
 */
#include "session/transfer_priv.h"

#include "base/bits.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define ENTRIES_AT_ONCE 64u

struct level {
	uint64_t ino;
	uint64_t cookie;
	size_t path_bytes;
	size_t at, count; /* in entries; used by the deepest */
	struct cfs_inode inode;
	struct transfer_xattrs xattrs;
};

struct walk {
	struct transfer *t;
	struct cfs_fs *fs;
	struct cfs_buf path;
	CFS_VEC(struct level) levels;
	struct transfer_xattrs xattrs;
	struct cfs_fs_entry *entries; /* ENTRIES_AT_ONCE */
	uint8_t *buf;
};

static void entry_of(const struct cfs_inode *inode, const char *path,
		     const struct transfer_xattrs *x,
		     struct transfer_entry *ret)
{
	*ret = (struct transfer_entry){
		.path = path,
		.mode = inode->mode,
		.uid = inode->uid,
		.gid = inode->gid,
		.nlink = inode->nlink,
		.rdev = inode->rdev,
		.size_bytes = inode->size_bytes,
		.has_size = true,
		.has_atime = true,
		.has_mtime = true,
		.atime_ns = inode->atime_ns,
		.mtime_ns = inode->mtime_ns,
		.ctime_ns = inode->ctime_ns,
		.xattrs = x->list.items,
		.xattr_count = x->list.count,
	};
}

/* ---------------------------------------------------------------- files */

struct tree_reader {
	struct transfer_reader rd;
	struct transfer *t;
	struct cfs_fs *fs;
	uint64_t ino;
	const char *path;
	uint8_t *buf;
	uint64_t at, data_end, size_bytes;
};

/* Find the data at or behind @h->at; at the end @h->at is size_bytes. */
static int reader_seek(struct tree_reader *h, struct cfs_err *err)
{
	uint64_t data, hole;
	int r;

	r = cfs_fs_seek(h->fs, h->ino, h->at, true, &data, err);
	if (r == -ENXIO) {
		h->at = h->size_bytes;
		return 0;
	}
	if (r == 0)
		r = cfs_fs_seek(h->fs, h->ino, data, false, &hole, err);
	if (r != 0)
		return cfs_err_wrap(err, r, "offset %llu",
				    (unsigned long long)h->at);
	h->at = data;
	h->data_end = CFS_MIN(hole, h->size_bytes);
	return 0;
}

static int reader_extent(struct transfer_reader *rd, uint64_t offset_bytes,
			 uint64_t *ret_begin, uint64_t *ret_end,
			 struct cfs_err *err)
{
	struct tree_reader *h = (struct tree_reader *)rd;
	uint64_t at = h->at, end = h->data_end;
	int r;

	h->at = offset_bytes;
	h->data_end = h->size_bytes;
	r = reader_seek(h, err);
	*ret_begin = h->at;
	*ret_end = h->at < h->size_bytes ? h->data_end : h->at;
	h->at = at;
	h->data_end = end;
	return r;
}

static bool is_damage(int code)
{
	return code == -EUCLEAN || code == -EIO;
}

/*
 * Read on at @h->at.  @ret_bytes is 0 if a damaged block was passed over.
 */
static int reader_fill(struct tree_reader *h, size_t *ret_bytes,
		       struct cfs_err *err)
{
	size_t want = (size_t)CFS_MIN(h->data_end - h->at, TRANSFER_BUF_BYTES);
	uint64_t next;
	int r;

	*ret_bytes = 0;
	/* Whole blocks of the buffer's size, so that reads are aligned. */
	if (want == TRANSFER_BUF_BYTES)
		want -= (size_t)(h->at % TRANSFER_BUF_BYTES);
	r = cfs_fs_read(h->fs, h->ino, h->at, h->buf, want, ret_bytes, err);
	if (r == 0 && *ret_bytes == 0)
		h->at = h->data_end = h->size_bytes; /* cut meanwhile */
	if (r == 0 || (is_damage(r) && *ret_bytes))
		return 0;
	if (!is_damage(r) || !h->t->opt->skips_damage)
		return r; /* it names the offset */
	next = CFS_MIN(cfs_align_down(h->at, CFS_BLOCK_BYTES) + CFS_BLOCK_BYTES,
		       h->size_bytes);
	transfer_damaged(h->t, h->path, h->at, next - h->at);
	h->at = next;
	return 0;
}

static int reader_next(struct transfer_reader *rd, const void **ret,
		       size_t *ret_bytes, uint64_t *ret_offset_bytes,
		       struct cfs_err *err)
{
	struct tree_reader *h = (struct tree_reader *)rd;
	int r = 0;

	*ret = h->buf;
	*ret_bytes = 0;
	while (r == 0 && *ret_bytes == 0 && h->at < h->size_bytes) {
		r = transfer_check_stop(h->t, err);
		if (r == 0 && h->at >= h->data_end)
			r = reader_seek(h, err);
		*ret_offset_bytes = h->at;
		if (r == 0 && h->at < h->size_bytes)
			r = reader_fill(h, ret_bytes, err);
	}
	if (r < 0)
		return r;
	h->at += *ret_bytes;
	return 0;
}

/* -------------------------------------------------------------- entries */

static int put_symlink(struct walk *w, uint64_t ino, struct transfer_entry *e,
		       struct cfs_err *err)
{
	char target[CFS_SYMLINK_BYTES_MAX + 1];
	int r;

	r = cfs_fs_readlink(w->fs, ino, target, CFS_SYMLINK_BYTES_MAX,
			    &e->target_bytes, err);
	if (r < 0)
		return transfer_failed(w->t, e->path, err);
	target[e->target_bytes] = '\0';
	e->target = target;
	r = transfer_put(w->t, e, NULL, 0, ino, NULL, err);
	e->target = NULL;
	return r;
}

static int enter(struct walk *w, uint64_t ino, const struct cfs_inode *inode,
		 struct cfs_err *err)
{
	struct level l = {
		.ino = ino,
		.path_bytes = w->path.bytes,
		.inode = *inode,
		.xattrs = w->xattrs,
	};

	if (w->levels.count >= CFS_FS_DEPTH_MAX) {
		(void)cfs_err_set(err, -ELOOP, "directories too deep");
		return transfer_failed(w->t, (const char *)w->path.data, err);
	}
	memset(&w->xattrs, 0, sizeof(w->xattrs));
	/* Its names take the place of those of the directory above. */
	if (w->levels.count) {
		struct level *above = &w->levels.items[w->levels.count - 1];

		above->at = above->count = 0;
	}
	if (cfs_vec_push(&w->levels, l) == 0)
		return 0;
	transfer_xattrs_donep(&l.xattrs);
	return cfs_err_set(err, -ENOMEM, "out of memory");
}

static int put_inode(struct walk *w, uint64_t ino, struct cfs_err *err)
{
	const char *path = (const char *)w->path.data;
	struct tree_reader h = {
		.rd = { .next = reader_next,
			.extent = reader_extent,
			.whole = { .kind = CFS_BYTES_FILE,
				   .fs = w->fs,
				   .ino = ino } },
		.t = w->t,
		.fs = w->fs,
		.ino = ino,
		.path = path,
		.buf = w->buf,
	};
	struct transfer_entry e;
	struct cfs_inode inode;
	bool is_made;
	int r;

	r = cfs_fs_getattr(w->fs, ino, &inode, err);
	if (r == 0)
		r = transfer_xattrs_of_tree(&w->xattrs, w->fs, ino, err);
	if (r < 0)
		return transfer_failed(w->t, path, err);
	entry_of(&inode, path, &w->xattrs, &e);
	if (S_ISLNK(inode.mode))
		return put_symlink(w, ino, &e, err);
	h.size_bytes = inode.size_bytes;
	r = transfer_put(w->t, &e, S_ISREG(inode.mode) ? &h.rd : NULL, 0, ino,
			 &is_made, err);
	if (r < 0 || !is_made || !S_ISDIR(inode.mode))
		return r;
	return enter(w, ino, &inode, err);
}

static int leave(struct walk *w, struct cfs_err *err)
{
	struct level *l = &w->levels.items[w->levels.count - 1];
	struct transfer_entry e;
	int r;

	transfer_path_cut(&w->path, l->path_bytes);
	entry_of(&l->inode, (const char *)w->path.data, &l->xattrs, &e);
	r = transfer_put_end(w->t, &e, err);
	transfer_xattrs_donep(&l->xattrs);
	w->levels.count--;
	return r;
}

static bool is_dot(const struct cfs_fs_entry *entry)
{
	return entry->name[0] == '.' &&
	       (entry->name_bytes == 1 ||
		(entry->name_bytes == 2 && entry->name[1] == '.'));
}

/* The next entry of the deepest directory, or its end. */
static int step(struct walk *w, struct cfs_err *err)
{
	struct level *l = &w->levels.items[w->levels.count - 1];
	const struct cfs_fs_entry *entry = &w->entries[l->at];
	int r;

	transfer_path_cut(&w->path, l->path_bytes);
	if (l->at == l->count) {
		l->at = 0;
		r = cfs_fs_readdir(w->fs, l->ino, l->cookie, w->entries,
				   ENTRIES_AT_ONCE, &l->count, err);
		if (r < 0) {
			l->count = 0;
			r = transfer_failed(w->t, (const char *)w->path.data,
					    err);
		}
		return r < 0 || l->count ? r : leave(w, err);
	}
	l->at++;
	l->cookie = entry->next_cookie;
	if (is_dot(entry))
		return 0;
	if (transfer_path_add(&w->path, entry->name, entry->name_bytes) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return put_inode(w, entry->ino, err);
}

static void walk_done(struct walk *w)
{
	while (w->levels.count)
		transfer_xattrs_donep(
			&w->levels.items[--w->levels.count].xattrs);
	cfs_vec_done(&w->levels);
	transfer_xattrs_donep(&w->xattrs);
	cfs_buf_donep(&w->path);
	free(w->entries);
	free(w->buf);
}

int transfer_walk_tree(struct transfer *t, struct cfs_fs *fs, uint64_t ino,
		       const char *prefix, struct cfs_err *err)
{
	struct walk w = {
		.t = t,
		.fs = fs,
		.entries = calloc(ENTRIES_AT_ONCE, sizeof(*w.entries)),
		.buf = malloc(TRANSFER_BUF_BYTES),
	};
	int r = 0;

	if (!w.buf || !w.entries || cfs_buf_append_text(&w.path, prefix) < 0 ||
	    !cfs_buf_text(&w.path))
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = put_inode(&w, ino, err);
	while (r == 0 && w.levels.count) {
		r = transfer_check_stop(t, err);
		if (r == 0)
			r = step(&w, err);
	}
	walk_done(&w);
	return r;
}
