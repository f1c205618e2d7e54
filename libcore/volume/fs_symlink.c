/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Targets of symlinks: parts of CFS_META_PART_BYTES, the last one shorter;
 * the inode's size is the target's length.
 */
#include "volume/fs_priv.h"

#include <inttypes.h>
#include <string.h>

int cfs_fs_target_check(const void *target, size_t target_bytes,
			struct cfs_err *err)
{
	if (target_bytes == 0)
		return cfs_err_set(err, -ENOENT, "the target is empty");
	if (target_bytes > CFS_SYMLINK_BYTES_MAX)
		return cfs_err_set(err, -ENAMETOOLONG,
				   "the target has more than %u bytes",
				   CFS_SYMLINK_BYTES_MAX);
	if (memchr(target, '\0', target_bytes))
		return cfs_err_set(err, -EINVAL, "the target has a NUL");
	return 0;
}

int cfs_fs_target_put(struct cfs_fs *fs, uint64_t ino, const void *target,
		      size_t target_bytes, struct cfs_err *err)
{
	const uint8_t *p = target;
	size_t done;
	int r = 0;

	for (done = 0; r == 0 && done < target_bytes;
	     done += CFS_META_PART_BYTES)
		r = cfs_map_put(
			cfs_fs_container(fs), fs->view.branch, ino,
			CFS_MAP_SYMLINK, done / CFS_META_PART_BYTES, p + done,
			CFS_MIN(target_bytes - done, CFS_META_PART_BYTES), err);
	return r;
}

int cfs_fs_target_read(struct cfs_fs *fs, uint64_t ino,
		       const struct cfs_inode *inode, void *buf,
		       struct cfs_err *err)
{
	size_t size = (size_t)inode->size_bytes;
	uint8_t *p = buf;
	size_t done;

	if (inode->size_bytes == 0 || inode->size_bytes > CFS_SYMLINK_BYTES_MAX)
		return cfs_err_set(err, -EUCLEAN,
				   "inode %" PRIu64
				   ": a target's length that cannot be",
				   ino);
	for (done = 0; done < size; done += CFS_META_PART_BYTES) {
		size_t want = CFS_MIN(size - done, CFS_META_PART_BYTES);
		size_t bytes = 0;
		int r;

		r = cfs_map_get(&fs->view, ino, CFS_MAP_SYMLINK,
				done / CFS_META_PART_BYTES, p + done, want,
				&bytes, err);
		if (r < 0 && r != -ENOENT)
			return r;
		if (r == -ENOENT || bytes != want)
			return cfs_err_set(
				err, -EUCLEAN,
				"inode %" PRIu64 ": the target is cut", ino);
	}
	if (memchr(buf, '\0', size))
		return cfs_err_set(err, -EUCLEAN,
				   "inode %" PRIu64 ": the target has a NUL",
				   ino);
	return 0;
}

int cfs_fs_readlink(struct cfs_fs *fs, uint64_t ino, void *buf,
		    size_t buf_bytes, size_t *ret_bytes, struct cfs_err *err)
{
	uint8_t target[CFS_SYMLINK_BYTES_MAX];
	struct cfs_inode inode;
	int r;

	if (fs->ops)
		return fs->ops->readlink(fs->ops_arg, ino, buf, buf_bytes,
					 ret_bytes, err);
	cfs_fs_lock(fs);
	r = cfs_fs_inode_load(fs, ino, &inode, err);
	if (r == 0 && !S_ISLNK(inode.mode))
		r = cfs_err_set(err, -EINVAL,
				"inode %" PRIu64 ": not a symlink", ino);
	if (r == 0)
		r = cfs_fs_target_read(fs, ino, &inode, target, err);
	cfs_fs_unlock(fs);
	if (r < 0)
		return r;
	*ret_bytes = CFS_MIN((size_t)inode.size_bytes, buf_bytes);
	memcpy(buf, target, *ret_bytes);
	return 0;
}
