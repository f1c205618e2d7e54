/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A tree that another process holds, behind volume/fs_ops.h: each call is a
 * request.  What comes back is checked as far as callers rely on it.
 */
#include "session/remote.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "volume/fs_ops.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 128u /* asked for at a time */

struct remote_fs {
	struct cfs_remote *r;
	uint64_t handle; /* the volume's: io_close closes it */
};

static int ask(const struct remote_fs *fs, uint16_t type,
	       struct cfs_rpc_args *args, void *ret, struct cfs_err *err)
{
	args->handle = fs->handle;
	return cfs_remote_ask(fs->r, type, args, ret, err);
}

static int ask_ino(void *arg, uint16_t type, uint64_t ino, void *ret,
		   struct cfs_err *err)
{
	struct cfs_rpc_args args = { .ino = ino };

	return ask(arg, type, &args, ret, err);
}

static int ask_value(void *arg, uint16_t type, struct cfs_rpc_args *args,
		     uint64_t *ret, struct cfs_err *err)
{
	struct cfs_rpc_values values = { 0 };
	int r = ask(arg, type, args, &values, err);

	if (r == 0 && ret)
		*ret = values.value;
	return r;
}

/* ---- inodes -------------------------------------------------------------- */

static void fs_close(void *arg)
{
	free(arg);
}

static int fs_open_ino(void *arg, uint64_t ino, struct cfs_err *err)
{
	return ask_ino(arg, CFS_RPC_FS_OPEN_INO, ino, NULL, err);
}

static int fs_close_ino(void *arg, uint64_t ino, struct cfs_err *err)
{
	return ask_ino(arg, CFS_RPC_FS_CLOSE_INO, ino, NULL, err);
}

static int fs_sync(void *arg, uint64_t ino, struct cfs_err *err)
{
	return ask_ino(arg, CFS_RPC_FS_SYNC, ino, NULL, err);
}

static int fs_statfs(void *arg, struct cfs_fs_space *ret, struct cfs_err *err)
{
	struct cfs_rpc_args args = { 0 };

	return ask(arg, CFS_RPC_FS_STATFS, &args, ret, err);
}

static int fs_getattr(void *arg, uint64_t ino, struct cfs_inode *ret,
		      struct cfs_err *err)
{
	return ask_ino(arg, CFS_RPC_FS_GETATTR, ino, ret, err);
}

static int fs_block_count(void *arg, uint64_t ino, uint64_t *ret_count,
			  struct cfs_err *err)
{
	struct cfs_rpc_args args = { .ino = ino };

	return ask_value(arg, CFS_RPC_FS_BLOCK_COUNT, &args, ret_count, err);
}

static int fs_setattr(void *arg, uint64_t ino, const struct cfs_fs_attr *attr,
		      struct cfs_inode *ret, struct cfs_err *err)
{
	struct cfs_rpc_args args = { .ino = ino, .attr = *attr };
	struct cfs_inode inode;
	int r = ask(arg, CFS_RPC_FS_SETATTR, &args, &inode, err);

	if (r == 0 && ret)
		*ret = inode;
	return r;
}

/* ---- names --------------------------------------------------------------- */

static int fs_lookup(void *arg, uint64_t dir_ino, const void *name,
		     size_t name_bytes, uint64_t *ret_ino,
		     struct cfs_inode *ret_inode, struct cfs_err *err)
{
	struct cfs_rpc_args args = {
		.dir_ino = dir_ino,
		.entry = name,
		.entry_bytes = name_bytes,
		.is_set = ret_inode,
	};
	struct cfs_rpc_inode ret;
	int r = ask(arg, CFS_RPC_FS_LOOKUP, &args, &ret, err);

	if (r < 0)
		return r;
	*ret_ino = ret.ino;
	if (ret_inode)
		*ret_inode = ret.inode;
	return 0;
}

static int fs_resolve(void *arg, uint64_t start_ino, const void *path,
		      size_t path_bytes, enum cfs_fs_follow follow,
		      uint64_t *ret_ino, struct cfs_err *err)
{
	struct cfs_rpc_args args = {
		.dir_ino = start_ino,
		.entry = path,
		.entry_bytes = path_bytes,
		.kind = follow,
	};

	return ask_value(arg, CFS_RPC_FS_RESOLVE, &args, ret_ino, err);
}

/* A request whose result is bytes; they live in @arena. */
static int ask_bytes(const struct remote_fs *fs, uint16_t type,
		     struct cfs_rpc_args *args, struct cfs_rpc_bytes *ret,
		     struct cfs_rpc_arena *arena, struct cfs_err *err)
{
	struct cfs_remote_call call = {
		.type = type,
		.args = args,
		.ret = ret,
		.arena = arena,
	};

	args->handle = fs->handle;
	return cfs_remote_call(fs->r, &call, err);
}

static int fs_path_of(void *arg, uint64_t ino, struct cfs_buf *ret,
		      struct cfs_err *err)
{
	CFS_CLEANUP(cfs_rpc_arena_donep) struct cfs_rpc_arena arena = { NULL };
	struct cfs_rpc_args args = { .ino = ino };
	struct cfs_rpc_bytes bytes = { 0 };
	int r = ask_bytes(arg, CFS_RPC_FS_PATH_OF, &args, &bytes, &arena, err);

	if (r == 0 && cfs_buf_append(ret, bytes.data, bytes.data_bytes) < 0)
		r = cfs_err_set(err, -ENOMEM, "path: no memory");
	return r;
}

/* ---- making and taking away ---------------------------------------------- */

static int fs_create_with(void *arg, uint64_t dir_ino, const void *name,
			  size_t name_bytes, const struct cfs_fs_spec *spec,
			  uint64_t *ret_ino, struct cfs_inode *ret_inode,
			  struct cfs_err *err)
{
	struct cfs_rpc_args args = {
		.dir_ino = dir_ino,
		.entry = name,
		.entry_bytes = name_bytes,
		.spec = *spec,
	};
	struct cfs_rpc_inode ret;
	int r = ask(arg, CFS_RPC_FS_CREATE, &args, &ret, err);

	if (r < 0)
		return r;
	if (ret_ino)
		*ret_ino = ret.ino;
	if (ret_inode)
		*ret_inode = ret.inode;
	return 0;
}

static int fs_create_nameless(void *arg, uint64_t dir_ino,
			      const struct cfs_fs_spec *spec, uint64_t *ret_ino,
			      struct cfs_err *err)
{
	struct cfs_rpc_args args = { .dir_ino = dir_ino, .spec = *spec };

	return ask_value(arg, CFS_RPC_FS_CREATE_NAMELESS, &args, ret_ino, err);
}

static int fs_name(void *arg, uint64_t ino, uint64_t dir_ino, const void *name,
		   size_t name_bytes, struct cfs_err *err)
{
	struct cfs_rpc_args args = {
		.ino = ino,
		.dir_ino = dir_ino,
		.entry = name,
		.entry_bytes = name_bytes,
	};

	return ask(arg, CFS_RPC_FS_NAME, &args, NULL, err);
}

static int fs_link(void *arg, uint64_t ino, uint64_t dir_ino, const void *name,
		   size_t name_bytes, struct cfs_err *err)
{
	struct cfs_rpc_args args = {
		.ino = ino,
		.dir_ino = dir_ino,
		.entry = name,
		.entry_bytes = name_bytes,
	};

	return ask(arg, CFS_RPC_FS_LINK, &args, NULL, err);
}

static int fs_remove(void *arg, uint64_t dir_ino, const void *name,
		     size_t name_bytes, bool is_rmdir, struct cfs_err *err)
{
	struct cfs_rpc_args args = {
		.dir_ino = dir_ino,
		.entry = name,
		.entry_bytes = name_bytes,
		.is_set = is_rmdir,
	};

	return ask(arg, CFS_RPC_FS_REMOVE, &args, NULL, err);
}

static int fs_rename(void *arg, uint64_t old_dir_ino, const void *old_name,
		     size_t old_name_bytes, uint64_t new_dir_ino,
		     const void *new_name, size_t new_name_bytes,
		     uint32_t flags, struct cfs_err *err)
{
	struct cfs_rpc_args args = {
		.dir_ino = old_dir_ino,
		.entry = old_name,
		.entry_bytes = old_name_bytes,
		.to_dir_ino = new_dir_ino,
		.to_entry = new_name,
		.to_entry_bytes = new_name_bytes,
		.flags = flags,
	};

	return ask(arg, CFS_RPC_FS_RENAME, &args, NULL, err);
}

/* ---- reading directories and attributes ---------------------------------- */

static int fs_readdir(void *arg, uint64_t dir_ino, uint64_t cookie,
		      struct cfs_fs_entry *entries, size_t entry_count,
		      size_t *ret_count, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_rpc_arena_donep) struct cfs_rpc_arena arena = { NULL };
	const struct remote_fs *fs = arg;
	struct cfs_rpc_args args = {
		.handle = fs->handle,
		.dir_ino = dir_ino,
		.offset_bytes = cookie,
		.length_bytes = CFS_MIN(entry_count, (size_t)ENTRIES_MAX),
	};
	struct cfs_rpc_entries ret = { 0 };
	struct cfs_remote_call call = {
		.type = CFS_RPC_FS_READDIR,
		.args = &args,
		.ret = &ret,
		.arena = &arena,
	};
	int r = cfs_remote_call(fs->r, &call, err);

	if (r < 0)
		return r;
	if (ret.count > args.length_bytes)
		return cfs_err_set(err, -EPROTO,
				   "more entries than were "
				   "asked for");
	for (size_t i = 0; i < ret.count; i++)
		if (ret.entries[i].name_bytes != strlen(ret.entries[i].name))
			return cfs_err_set(err, -EPROTO,
					   "an entry that makes "
					   "no sense");
	if (ret.count)
		memcpy(entries, ret.entries, ret.count * sizeof(*entries));
	*ret_count = ret.count;
	return 0;
}

/* Bytes into a buffer of the caller's; *ret_bytes is what the call says. */
static int fill(struct remote_fs *fs, uint16_t type, struct cfs_rpc_args *args,
		void *buf, size_t buf_bytes, size_t *ret_bytes,
		struct cfs_err *err)
{
	CFS_CLEANUP(cfs_rpc_arena_donep) struct cfs_rpc_arena arena = { NULL };
	struct cfs_rpc_bytes bytes = { 0 };
	int r;

	args->length_bytes = buf_bytes;
	r = ask_bytes(fs, type, args, &bytes, &arena, err);
	if (r < 0)
		return r;
	if (bytes.data_bytes > buf_bytes)
		return cfs_err_set(err, -EPROTO,
				   "more bytes than were asked "
				   "for");
	if (bytes.data_bytes)
		memcpy(buf, bytes.data, bytes.data_bytes);
	*ret_bytes = (size_t)bytes.full_bytes;
	return 0;
}

static int fs_readlink(void *arg, uint64_t ino, void *buf, size_t buf_bytes,
		       size_t *ret_bytes, struct cfs_err *err)
{
	struct cfs_rpc_args args = { .ino = ino };

	return fill(arg, CFS_RPC_FS_READLINK, &args, buf, buf_bytes, ret_bytes,
		    err);
}

static int fs_xattr_get(void *arg, uint64_t ino, const char *name, void *buf,
			size_t buf_bytes, size_t *ret_bytes,
			struct cfs_err *err)
{
	struct cfs_rpc_args args = { .ino = ino, .name = name };

	return fill(arg, CFS_RPC_FS_XATTR_GET, &args, buf, buf_bytes, ret_bytes,
		    err);
}

static int fs_xattr_list(void *arg, uint64_t ino, char *buf, size_t buf_bytes,
			 size_t *ret_bytes, struct cfs_err *err)
{
	struct cfs_rpc_args args = { .ino = ino };

	return fill(arg, CFS_RPC_FS_XATTR_LIST, &args, buf, buf_bytes,
		    ret_bytes, err);
}

static int fs_xattr_set(void *arg, uint64_t ino, const char *name,
			const void *value, size_t value_bytes, uint32_t flags,
			struct cfs_err *err)
{
	struct cfs_rpc_args args = {
		.ino = ino,
		.name = name,
		.data = value,
		.data_bytes = value_bytes,
		.flags = flags,
	};

	return ask(arg, CFS_RPC_FS_XATTR_SET, &args, NULL, err);
}

static int fs_xattr_remove(void *arg, uint64_t ino, const char *name,
			   struct cfs_err *err)
{
	struct cfs_rpc_args args = { .ino = ino, .name = name };

	return ask(arg, CFS_RPC_FS_XATTR_REMOVE, &args, NULL, err);
}

/* ---- data ---------------------------------------------------------------- */

/* One request's worth; the file may end in it. */
static int read_piece(const struct remote_fs *fs, uint64_t ino,
		      uint64_t offset_bytes, uint8_t *buf, size_t length_bytes,
		      size_t *ret_bytes, struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.handle = fs->handle,
		.ino = ino,
		.offset_bytes = offset_bytes,
		.length_bytes = length_bytes,
	};
	struct cfs_rpc_values ret = { 0 };
	struct cfs_remote_call call = {
		.type = CFS_RPC_FS_READ,
		.args = &args,
		.ret = &ret,
		.data = buf,
		.data_room = length_bytes,
	};
	int r = cfs_remote_call(fs->r, &call, err);

	*ret_bytes = call.data_bytes;
	return r;
}

static int fs_read(void *arg, uint64_t ino, uint64_t offset_bytes, void *buf,
		   size_t length_bytes, size_t *ret_bytes, struct cfs_err *err)
{
	size_t done = 0, n, got;
	int r;

	do {
		n = CFS_MIN(length_bytes - done,
			    (size_t)CFS_RPC_READ_BYTES_MAX);
		r = read_piece(arg, ino, offset_bytes + done,
			       (uint8_t *)buf + done, n, &got, err);
		done += got;
	} while (r == 0 && got == n && done < length_bytes);
	*ret_bytes = done;
	return r;
}

static int fs_write(void *arg, uint64_t ino, uint64_t offset_bytes,
		    const void *buf, size_t length_bytes, size_t *ret_bytes,
		    struct cfs_err *err)
{
	const bool appends = offset_bytes == CFS_FS_APPEND;
	struct cfs_rpc_values written;
	size_t done = 0, n;
	int r;

	if (ret_bytes)
		*ret_bytes = 0;
	/* Nothing is written of what is too long in the end. */
	if (!appends &&
	    !cfs_range_fits(offset_bytes, length_bytes, CFS_FS_FILE_BYTES_MAX))
		return cfs_err_set(
			err, -EFBIG,
			"inode %" PRIu64 ": a file cannot be that long", ino);
	do {
		struct cfs_rpc_args args = {
			.ino = ino,
			.offset_bytes = offset_bytes + (appends ? 0 : done),
			.data = (const uint8_t *)buf + done,
		};

		n = CFS_RPC_DATA_BYTES_MAX -
		    (size_t)(appends ? 0
				     : args.offset_bytes %
					       CFS_RPC_DATA_BYTES_MAX);
		n = CFS_MIN(n, length_bytes - done);
		args.data_bytes = n;
		written.value = 0; /* is set on failure too */
		r = ask(arg, CFS_RPC_FS_WRITE, &args, &written, err);
		done += (size_t)CFS_MIN(written.value, (uint64_t)n);
		if (ret_bytes)
			*ret_bytes = done;
	} while (r == 0 && written.value == n && done < length_bytes);
	return r;
}

static int fs_truncate(void *arg, uint64_t ino, uint64_t size_bytes,
		       struct cfs_err *err)
{
	struct cfs_rpc_args args = { .ino = ino, .size_bytes = size_bytes };

	return ask(arg, CFS_RPC_FS_TRUNCATE, &args, NULL, err);
}

static int fs_punch_hole(void *arg, uint64_t ino, uint64_t offset_bytes,
			 uint64_t length_bytes, struct cfs_err *err)
{
	struct cfs_rpc_args args = {
		.ino = ino,
		.offset_bytes = offset_bytes,
		.length_bytes = length_bytes,
	};

	return ask(arg, CFS_RPC_FS_PUNCH_HOLE, &args, NULL, err);
}

static int fs_zero_range(void *arg, uint64_t ino, uint64_t offset_bytes,
			 uint64_t length_bytes, bool keep_size,
			 struct cfs_err *err)
{
	struct cfs_rpc_args args = {
		.ino = ino,
		.offset_bytes = offset_bytes,
		.length_bytes = length_bytes,
		.is_set = keep_size,
	};

	return ask(arg, CFS_RPC_FS_ZERO_RANGE, &args, NULL, err);
}

static int fs_seek(void *arg, uint64_t ino, uint64_t offset_bytes, bool data,
		   uint64_t *ret_offset_bytes, struct cfs_err *err)
{
	struct cfs_rpc_args args = {
		.ino = ino,
		.offset_bytes = offset_bytes,
		.is_set = data,
	};

	return ask_value(arg, CFS_RPC_FS_SEEK, &args, ret_offset_bytes, err);
}

static const struct cfs_fs_ops remote_fs_ops = {
	.close = fs_close,
	.open_ino = fs_open_ino,
	.close_ino = fs_close_ino,
	.sync = fs_sync,
	.statfs = fs_statfs,
	.getattr = fs_getattr,
	.block_count = fs_block_count,
	.setattr = fs_setattr,
	.lookup = fs_lookup,
	.resolve = fs_resolve,
	.path_of = fs_path_of,
	.create_with = fs_create_with,
	.create_nameless = fs_create_nameless,
	.name = fs_name,
	.link = fs_link,
	.remove = fs_remove,
	.rename = fs_rename,
	.readdir = fs_readdir,
	.readlink = fs_readlink,
	.xattr_get = fs_xattr_get,
	.xattr_set = fs_xattr_set,
	.xattr_list = fs_xattr_list,
	.xattr_remove = fs_xattr_remove,
	.read = fs_read,
	.write = fs_write,
	.truncate = fs_truncate,
	.punch_hole = fs_punch_hole,
	.zero_range = fs_zero_range,
	.seek = fs_seek,
};

int cfs_remote_fs_open(struct cfs_remote *r, uint64_t handle, uint64_t root_ino,
		       bool is_writable, struct cfs_fs **ret,
		       struct cfs_err *err)
{
	struct remote_fs *fs = malloc(sizeof(*fs));
	int code;

	if (!fs)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	fs->r = r;
	fs->handle = handle;
	code = cfs_fs_open_with(&remote_fs_ops, fs, root_ino, is_writable, ret,
				err);
	if (code < 0)
		free(fs);
	return code;
}
