/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests on open trees.  The calls of volume/fs.h check names, inode numbers
 * and what a new inode is to be; lengths of buffers, the right to write and
 * which inodes are the peer's to close are checked here.
 */
#include "session/serve_priv.h"

#include "base/bits.h"
#include "base/cleanup.h"

#include <stdlib.h>
#include <sys/stat.h>

typedef int (*fs_fn)(struct serve_call *c, struct serve_handle *h,
		     struct cfs_fs *fs);

/* ---- inodes -------------------------------------------------------------- */

/* Opened first, then counted: what is counted is open, whoever closes what at
 * the same time. */
static int fs_open_ino(struct serve_call *c, struct serve_handle *h,
		       struct cfs_fs *fs)
{
	int r = cfs_fs_open_ino(fs, c->args.ino, c->err);

	if (r < 0)
		return r;
	r = serve_inode_add(h, c->args.ino, c->err);
	if (r < 0)
		(void)cfs_fs_close_ino(fs, c->args.ino, NULL);
	return r;
}

static int fs_close_ino(struct serve_call *c, struct serve_handle *h,
			struct cfs_fs *fs)
{
	int r = serve_inode_drop(h, c->args.ino, c->err);

	return r < 0 ? r : cfs_fs_close_ino(fs, c->args.ino, c->err);
}

static int fs_sync(struct serve_call *c, struct serve_handle *h,
		   struct cfs_fs *fs)
{
	(void)h;
	return cfs_fs_sync(fs, c->args.ino, c->err);
}

static int fs_statfs(struct serve_call *c, struct serve_handle *h,
		     struct cfs_fs *fs)
{
	int r;

	if (h->onward.remote)
		return cfs_fs_statfs(fs, &c->ret.space, c->err);
	/* It looks at all containers. */
	pthread_rwlock_rdlock(&c->rpc->structure);
	r = cfs_fs_statfs(fs, &c->ret.space, c->err);
	pthread_rwlock_unlock(&c->rpc->structure);
	return r;
}

static int fs_getattr(struct serve_call *c, struct serve_handle *h,
		      struct cfs_fs *fs)
{
	(void)h;
	return cfs_fs_getattr(fs, c->args.ino, &c->ret.attr, c->err);
}

static int fs_block_count(struct serve_call *c, struct serve_handle *h,
			  struct cfs_fs *fs)
{
	(void)h;
	return cfs_fs_block_count(fs, c->args.ino, &c->ret.values.value,
				  c->err);
}

static int fs_setattr(struct serve_call *c, struct serve_handle *h,
		      struct cfs_fs *fs)
{
	(void)h;
	return cfs_fs_setattr(fs, c->args.ino, &c->args.attr, &c->ret.attr,
			      c->err);
}

/* ---- names --------------------------------------------------------------- */

static int fs_lookup(struct serve_call *c, struct serve_handle *h,
		     struct cfs_fs *fs)
{
	const struct cfs_rpc_args *a = &c->args;

	(void)h;
	return cfs_fs_lookup(fs, a->dir_ino, a->entry, a->entry_bytes,
			     &c->ret.inode.ino,
			     a->is_set ? &c->ret.inode.inode : NULL, c->err);
}

static int fs_resolve(struct serve_call *c, struct serve_handle *h,
		      struct cfs_fs *fs)
{
	const struct cfs_rpc_args *a = &c->args;

	(void)h;
	if (a->kind > CFS_FS_FOLLOW_ALL)
		return cfs_err_set(c->err, -EINVAL, "no way to follow links");
	return cfs_fs_resolve(fs, a->dir_ino, a->entry, a->entry_bytes, a->kind,
			      &c->ret.values.value, c->err);
}

static int fs_path_of(struct serve_call *c, struct serve_handle *h,
		      struct cfs_fs *fs)
{
	struct cfs_buf path = CFS_BUF_INIT;
	int r = cfs_fs_path_of(fs, c->args.ino, &path, c->err);

	(void)h;
	c->ret.bytes.data = path.data;
	c->ret.bytes.data_bytes = path.bytes;
	c->ret.bytes.full_bytes = path.bytes;
	return r;
}

/* ---- making and taking away ---------------------------------------------- */

static int fs_create(struct serve_call *c, struct serve_handle *h,
		     struct cfs_fs *fs)
{
	const struct cfs_rpc_args *a = &c->args;

	(void)h;
	return cfs_fs_create_with(fs, a->dir_ino, a->entry, a->entry_bytes,
				  &a->spec, &c->ret.inode.ino,
				  &c->ret.inode.inode, c->err);
}

static int fs_create_nameless(struct serve_call *c, struct serve_handle *h,
			      struct cfs_fs *fs)
{
	uint64_t ino;
	int r = cfs_fs_create_nameless(fs, c->args.dir_ino, &c->args.spec, &ino,
				       c->err);

	if (r < 0)
		return r;
	r = serve_inode_add(h, ino, c->err);
	if (r < 0)
		(void)cfs_fs_close_ino(fs, ino, NULL);
	else
		c->ret.values.value = ino;
	return r;
}

static int fs_name(struct serve_call *c, struct serve_handle *h,
		   struct cfs_fs *fs)
{
	const struct cfs_rpc_args *a = &c->args;

	(void)h;
	return cfs_fs_name(fs, a->ino, a->dir_ino, a->entry, a->entry_bytes,
			   c->err);
}

static int fs_link(struct serve_call *c, struct serve_handle *h,
		   struct cfs_fs *fs)
{
	const struct cfs_rpc_args *a = &c->args;

	(void)h;
	return cfs_fs_link(fs, a->ino, a->dir_ino, a->entry, a->entry_bytes,
			   c->err);
}

static int fs_remove(struct serve_call *c, struct serve_handle *h,
		     struct cfs_fs *fs)
{
	const struct cfs_rpc_args *a = &c->args;

	(void)h;
	return a->is_set ? cfs_fs_rmdir(fs, a->dir_ino, a->entry,
					a->entry_bytes, c->err)
			 : cfs_fs_unlink(fs, a->dir_ino, a->entry,
					 a->entry_bytes, c->err);
}

static int fs_rename(struct serve_call *c, struct serve_handle *h,
		     struct cfs_fs *fs)
{
	const struct cfs_rpc_args *a = &c->args;

	(void)h;
	return cfs_fs_rename(fs, a->dir_ino, a->entry, a->entry_bytes,
			     a->to_dir_ino, a->to_entry, a->to_entry_bytes,
			     a->flags, c->err);
}

/* ---- directories, links, attributes -------------------------------------- */

static int fs_readdir(struct serve_call *c, struct serve_handle *h,
		      struct cfs_fs *fs)
{
	const size_t room = (size_t)CFS_MIN(c->args.length_bytes,
					    (uint64_t)SERVE_ENTRIES_MAX);
	struct cfs_fs_entry *entries = calloc(room + 1, sizeof(*entries));

	(void)h;
	if (!entries)
		return cfs_err_set(c->err, -ENOMEM, "out of memory");
	c->ret.entries.entries = entries;
	return cfs_fs_readdir(fs, c->args.dir_ino, c->args.offset_bytes,
			      entries, room, &c->ret.entries.count, c->err);
}

/* A buffer as large as is asked for, and no larger than @max_bytes. */
static int bytes_room(struct serve_call *c, size_t max_bytes, void **ret,
		      size_t *ret_bytes)
{
	*ret_bytes = (size_t)CFS_MIN(c->args.length_bytes, (uint64_t)max_bytes);
	*ret = malloc(*ret_bytes + 1);
	if (!*ret)
		return cfs_err_set(c->err, -ENOMEM, "out of memory");
	c->ret.bytes.data = *ret;
	return 0;
}

/* @full: what the call said; asked with no room, it is the length alone. */
static void bytes_done(struct serve_call *c, size_t room, size_t full)
{
	c->ret.bytes.full_bytes = full;
	c->ret.bytes.data_bytes = CFS_MIN(room, full);
}

static int fs_readlink(struct serve_call *c, struct serve_handle *h,
		       struct cfs_fs *fs)
{
	size_t room, full = 0;
	void *buf;
	int r = bytes_room(c, CFS_SYMLINK_BYTES_MAX, &buf, &room);

	(void)h;
	if (r == 0)
		r = cfs_fs_readlink(fs, c->args.ino, buf, room, &full, c->err);
	if (r == 0)
		bytes_done(c, room, full);
	return r;
}

static int fs_xattr_get(struct serve_call *c, struct serve_handle *h,
			struct cfs_fs *fs)
{
	size_t room, full = 0;
	void *buf;
	int r = bytes_room(c, CFS_XATTR_VALUE_BYTES_MAX, &buf, &room);

	(void)h;
	if (r == 0)
		r = cfs_fs_xattr_get(fs, c->args.ino, c->args.name, buf, room,
				     &full, c->err);
	if (r == 0)
		bytes_done(c, room, full);
	return r;
}

static int fs_xattr_list(struct serve_call *c, struct serve_handle *h,
			 struct cfs_fs *fs)
{
	size_t room, full = 0;
	void *buf;
	int r = bytes_room(c, CFS_FS_XATTR_LIST_BYTES_MAX, &buf, &room);

	(void)h;
	if (r == 0)
		r = cfs_fs_xattr_list(fs, c->args.ino, buf, room, &full,
				      c->err);
	if (r == 0)
		bytes_done(c, room, full);
	return r;
}

static int fs_xattr_set(struct serve_call *c, struct serve_handle *h,
			struct cfs_fs *fs)
{
	const struct cfs_rpc_args *a = &c->args;

	(void)h;
	return cfs_fs_xattr_set(fs, a->ino, a->name, a->data, a->data_bytes,
				a->flags, c->err);
}

static int fs_xattr_remove(struct serve_call *c, struct serve_handle *h,
			   struct cfs_fs *fs)
{
	(void)h;
	return cfs_fs_xattr_remove(fs, c->args.ino, c->args.name, c->err);
}

/* ---- data ---------------------------------------------------------------- */

static int fs_read(struct serve_call *c, struct serve_handle *h,
		   struct cfs_fs *fs)
{
	CFS_CLEANUP(cfs_freep) uint8_t *buf = malloc(CFS_RPC_DATA_BYTES_MAX);
	uint64_t at = c->args.offset_bytes, left = c->args.length_bytes;
	size_t n, got;
	int r, r2;

	(void)h;
	if (!buf)
		return cfs_err_set(c->err, -ENOMEM, "out of memory");
	if (left > CFS_RPC_READ_BYTES_MAX)
		return cfs_err_set(c->err, -EINVAL,
				   "too much to read at "
				   "once");
	do {
		n = (size_t)CFS_MIN(left, (uint64_t)CFS_RPC_DATA_BYTES_MAX);
		r = cfs_fs_read(fs, c->args.ino, at, buf, n, &got, c->err);
		r2 = got ? serve_data(c, buf, got) : 0;
		if (r2 < 0)
			return r2;
		at += got;
		left -= got;
	} while (r == 0 && got == n && left > 0 && !serve_stop(c));
	return r;
}

static int fs_write(struct serve_call *c, struct serve_handle *h,
		    struct cfs_fs *fs)
{
	const struct cfs_rpc_args *a = &c->args;
	size_t written = 0;
	int r = cfs_fs_write(fs, a->ino, a->offset_bytes, a->data,
			     a->data_bytes, &written, c->err);

	(void)h;
	c->ret.values.value = written;
	return r;
}

static int fs_truncate(struct serve_call *c, struct serve_handle *h,
		       struct cfs_fs *fs)
{
	(void)h;
	return cfs_fs_truncate(fs, c->args.ino, c->args.size_bytes, c->err);
}

static int fs_punch_hole(struct serve_call *c, struct serve_handle *h,
			 struct cfs_fs *fs)
{
	(void)h;
	return cfs_fs_punch_hole(fs, c->args.ino, c->args.offset_bytes,
				 c->args.length_bytes, c->err);
}

static int fs_zero_range(struct serve_call *c, struct serve_handle *h,
			 struct cfs_fs *fs)
{
	(void)h;
	return cfs_fs_zero_range(fs, c->args.ino, c->args.offset_bytes,
				 c->args.length_bytes, c->args.is_set, c->err);
}

static int fs_seek(struct serve_call *c, struct serve_handle *h,
		   struct cfs_fs *fs)
{
	(void)h;
	return cfs_fs_seek(fs, c->args.ino, c->args.offset_bytes,
			   c->args.is_set, &c->ret.values.value, c->err);
}

/* ---- the table ----------------------------------------------------------- */

static const fs_fn functions[] = {
#define FN(type, fn) [(type)-CFS_RPC_FS_OPEN_INO] = (fn)
	FN(CFS_RPC_FS_OPEN_INO, fs_open_ino),
	FN(CFS_RPC_FS_CLOSE_INO, fs_close_ino),
	FN(CFS_RPC_FS_SYNC, fs_sync),
	FN(CFS_RPC_FS_STATFS, fs_statfs),
	FN(CFS_RPC_FS_GETATTR, fs_getattr),
	FN(CFS_RPC_FS_BLOCK_COUNT, fs_block_count),
	FN(CFS_RPC_FS_SETATTR, fs_setattr),
	FN(CFS_RPC_FS_LOOKUP, fs_lookup),
	FN(CFS_RPC_FS_RESOLVE, fs_resolve),
	FN(CFS_RPC_FS_PATH_OF, fs_path_of),
	FN(CFS_RPC_FS_CREATE, fs_create),
	FN(CFS_RPC_FS_CREATE_NAMELESS, fs_create_nameless),
	FN(CFS_RPC_FS_NAME, fs_name),
	FN(CFS_RPC_FS_LINK, fs_link),
	FN(CFS_RPC_FS_REMOVE, fs_remove),
	FN(CFS_RPC_FS_RENAME, fs_rename),
	FN(CFS_RPC_FS_READDIR, fs_readdir),
	FN(CFS_RPC_FS_READLINK, fs_readlink),
	FN(CFS_RPC_FS_XATTR_GET, fs_xattr_get),
	FN(CFS_RPC_FS_XATTR_SET, fs_xattr_set),
	FN(CFS_RPC_FS_XATTR_LIST, fs_xattr_list),
	FN(CFS_RPC_FS_XATTR_REMOVE, fs_xattr_remove),
	FN(CFS_RPC_FS_READ, fs_read),
	FN(CFS_RPC_FS_WRITE, fs_write),
	FN(CFS_RPC_FS_TRUNCATE, fs_truncate),
	FN(CFS_RPC_FS_PUNCH_HOLE, fs_punch_hole),
	FN(CFS_RPC_FS_ZERO_RANGE, fs_zero_range),
	FN(CFS_RPC_FS_SEEK, fs_seek),
#undef FN
};

/* Closing and syncing are for readers too. */
static bool writes(const struct cfs_rpc_row *row)
{
	return row->flags & CFS_RPC_CHANGES &&
	       row->type != CFS_RPC_FS_CLOSE_INO &&
	       row->type != CFS_RPC_FS_SYNC;
}

static int on_tree(struct serve_call *c)
{
	struct serve_handle *h;
	struct cfs_fs *fs;
	int r = serve_handle_get(c->peer, c->args.handle, &h, c->err);

	if (r < 0)
		return r;
	fs = cfs_io_fs(h->v);
	if (!fs)
		r = cfs_err_set(c->err, -EINVAL, "not a tree");
	else if (writes(c->row) && !h->is_writable)
		r = cfs_err_set(c->err, -EROFS, "opened to read only");
	else
		r = functions[c->row->type - CFS_RPC_FS_OPEN_INO](c, h, fs);
	serve_handle_put(c->peer, h);
	return r;
}

serve_fn serve_fs_fn(uint16_t type)
{
	return type >= CFS_RPC_FS_OPEN_INO && type < CFS_RPC_TYPE_END ? on_tree
								      : NULL;
}
