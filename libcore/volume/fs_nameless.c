/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files that get their name when they are complete.  Until then they are
 * orphans that are open, as files are that were removed while in use; so a
 * crash at any moment leaves a file that is all there, or what was there
 * before, and nothing that has to be cleaned up by hand.
 */
#include "volume/fs_priv.h"

#include <inttypes.h>

static int create_in_op(struct cfs_fs *fs, uint64_t dir_ino,
			const struct cfs_fs_spec *spec, uint64_t *ret_ino,
			struct cfs_err *err)
{
	struct cfs_inode inode;
	int r;

	r = cfs_fs_dir_load(fs, dir_ino, true, &inode, err);
	if (r == 0)
		r = cfs_fs_inode_make(fs, dir_ino, 0, spec, ret_ino, &inode,
				      err);
	if (r == 0)
		r = cfs_fs_orphan_put(fs, *ret_ino, err);
	return r < 0 ? r : cfs_fs_ino_opened(fs, *ret_ino, err);
}

int cfs_fs_create_nameless(struct cfs_fs *fs, uint64_t dir_ino,
			   const struct cfs_fs_spec *spec, uint64_t *ret_ino,
			   struct cfs_err *err)
{
	uint64_t ino = 0;
	int r = cfs_fs_spec_check(spec, err);

	if (fs->ops)
		return fs->ops->create_nameless(fs->ops_arg, dir_ino, spec,
						ret_ino, err);
	if (r == 0 && S_ISDIR(spec->mode))
		r = cfs_err_set(err, -EINVAL, "a directory needs a name");
	if (r == 0)
		r = cfs_fs_op_begin(fs, CFS_OP_NORMAL, err);
	if (r < 0)
		return r;
	r = cfs_fs_op_finish(fs, create_in_op(fs, dir_ino, spec, &ino, err));
	if (r == 0)
		*ret_ino = ino;
	return r;
}

struct naming {
	uint64_t dir_ino;
	struct cfs_dirent entry;
	struct cfs_inode inode, dir, old;
	struct cfs_fs_slot slot;
	bool has_old;
	bool has_rest; /* of the old one */
};

static int naming_load(struct cfs_fs *fs, struct naming *n, struct cfs_err *err)
{
	int r;

	r = cfs_fs_inode_load(fs, n->entry.ino, &n->inode, err);
	if (r == 0 && (n->inode.nlink || S_ISDIR(n->inode.mode) ||
		       !cfs_fs_ino_is_open(fs, n->entry.ino)))
		return cfs_err_set(err, -EINVAL,
				   "inode %" PRIu64
				   ": is not waiting for a name",
				   n->entry.ino);
	if (r == 0)
		r = cfs_fs_dir_load(fs, n->dir_ino, true, &n->dir, err);
	if (r < 0)
		return r;
	r = cfs_fs_entry_find(fs, n->dir_ino, n->entry.name,
			      n->entry.name_bytes, &n->slot, err);
	n->has_old = r == 0;
	if (r == 0)
		r = cfs_fs_named_load(fs, n->slot.ino, &n->old, err);
	return r == -ENOENT ? 0 : r;
}

static int naming_check(const struct naming *n, struct cfs_err *err)
{
	int name_bytes = n->entry.name_bytes;

	if (n->has_old && S_ISDIR(n->old.mode))
		return cfs_err_set(err, -EISDIR, "%.*s: is a directory",
				   name_bytes, (const char *)n->entry.name);
	if (!n->has_old && n->slot.free_offset == CFS_FS_NO_OFFSET)
		return cfs_err_set(err, -ENOSPC,
				   "%.*s: the directory has %u "
				   "names of the same hash",
				   name_bytes, (const char *)n->entry.name,
				   CFS_FS_NAME_WHICH_COUNT);
	return 0;
}

static int name_in_op(struct cfs_fs *fs, struct naming *n, struct cfs_err *err)
{
	int64_t now_ns = cfs_fs_now_ns(fs);
	int r = naming_load(fs, n, err);

	if (r == 0)
		r = naming_check(n, err);
	if (r < 0)
		return r;
	n->entry.type = cfs_fs_type_of(n->inode.mode);
	n->inode.nlink = 1;
	n->inode.parent = n->dir_ino;
	cfs_fs_inode_touch(&n->inode, now_ns);
	n->dir.entry_count += !n->has_old;
	cfs_fs_inode_touch_data(&n->dir, now_ns);
	r = cfs_fs_entry_put(fs, n->dir_ino,
			     n->has_old ? n->slot.offset : n->slot.free_offset,
			     &n->entry, err);
	if (r == 0)
		r = cfs_fs_inode_store(fs, n->entry.ino, &n->inode, err);
	if (r == 0)
		r = cfs_fs_inode_store(fs, n->dir_ino, &n->dir, err);
	/* Of a file that was cut the record stays until all of that is gone. */
	if (r == 0 && !(n->inode.flags & CFS_INODE_SHRINKING))
		r = cfs_fs_orphan_del(fs, n->entry.ino, err);
	if (r == 0 && n->has_old)
		r = cfs_fs_inode_unname(fs, n->slot.ino, &n->old, now_ns,
					&n->has_rest, err);
	return r;
}

int cfs_fs_name(struct cfs_fs *fs, uint64_t ino, uint64_t dir_ino,
		const void *name, size_t name_bytes, struct cfs_err *err)
{
	struct naming n = {
		.dir_ino = dir_ino,
		.entry = { .ino = ino,
			   .name = name,
			   .name_bytes = (uint16_t)name_bytes },
	};
	int r = cfs_fs_name_check(name, name_bytes, err);

	if (fs->ops)
		return fs->ops->name(fs->ops_arg, ino, dir_ino, name,
				     name_bytes, err);
	if (r == 0)
		r = cfs_fs_op_begin(fs, CFS_OP_NORMAL, err);
	if (r < 0)
		return r;
	r = cfs_fs_op_finish(fs, name_in_op(fs, &n, err));
	/* A failure from here on leaves an orphan. */
	if (r == 0 && n.has_rest)
		cfs_fs_reclaim(fs, n.slot.ino, NULL);
	return r;
}
