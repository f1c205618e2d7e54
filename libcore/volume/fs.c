/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A tree and its inodes: opening, operations, attributes, open inodes.
 */
#include "volume/fs_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

/* ------------------------------------------------------------- operations */

int cfs_fs_op_begin(struct cfs_fs *fs, enum cfs_op_kind kind,
		    struct cfs_err *err)
{
	if (!cfs_fs_is_writable(fs))
		return cfs_err_set(err, -EROFS, "the tree is a snapshot");
	return cfs_op_begin(cfs_fs_container(fs), kind, err);
}

int cfs_fs_op_finish(struct cfs_fs *fs, int r)
{
	if (r < 0)
		cfs_op_abort(cfs_fs_container(fs));
	else
		cfs_op_end(cfs_fs_container(fs));
	return r;
}

int64_t cfs_fs_now_ns(const struct cfs_fs *fs)
{
	return (int64_t)cfs_clock_realtime_ns(fs->clock);
}

/* ----------------------------------------------------------------- inodes */

int cfs_fs_inode_load(struct cfs_fs *fs, uint64_t ino, struct cfs_inode *ret,
		      struct cfs_err *err)
{
	uint8_t buf[sizeof(struct cfs_inode_disk)];
	size_t bytes = 0;
	int r;

	if (ino == 0 || ino > CFS_INO_MAX)
		r = -ENOENT;
	else
		r = cfs_map_get(&fs->view, ino, CFS_MAP_INODE, 0, buf,
				sizeof(buf), &bytes, err);
	if (r == -ENOENT)
		return cfs_err_set(err, r, "inode %" PRIu64 ": does not exist",
				   ino);
	/* A longer record is read by the part that is known. */
	if (r == 0)
		r = cfs_inode_unpack(buf, CFS_MIN(bytes, sizeof(buf)), ret,
				     err);
	if (r != 0)
		return cfs_err_wrap(err, r, "inode %" PRIu64, ino);
	return 0;
}

int cfs_fs_named_load(struct cfs_fs *fs, uint64_t ino, struct cfs_inode *ret,
		      struct cfs_err *err)
{
	int r = cfs_fs_inode_load(fs, ino, ret, err);

	if (r == -ENOENT)
		return cfs_err_set(err, -EUCLEAN,
				   "inode %" PRIu64
				   ": named by an entry, but not there",
				   ino);
	return r;
}

int cfs_fs_inode_store(struct cfs_fs *fs, uint64_t ino,
		       const struct cfs_inode *inode, struct cfs_err *err)
{
	struct cfs_inode_disk disk;

	cfs_inode_pack(inode, &disk);
	return cfs_map_put(cfs_fs_container(fs), fs->view.branch, ino,
			   CFS_MAP_INODE, 0, &disk, sizeof(disk), err);
}

int cfs_fs_dir_load(struct cfs_fs *fs, uint64_t ino, bool to_change,
		    struct cfs_inode *ret, struct cfs_err *err)
{
	struct cfs_inode inode;
	int r = cfs_fs_inode_load(fs, ino, &inode, err);

	if (r < 0)
		return r;
	if (!S_ISDIR(inode.mode))
		return cfs_err_set(err, -ENOTDIR,
				   "inode %" PRIu64 ": not a directory", ino);
	if (to_change && inode.nlink == 0)
		return cfs_err_set(
			err, -ENOENT,
			"inode %" PRIu64 ": the directory was removed", ino);
	*ret = inode;
	return 0;
}

int cfs_fs_file_load(struct cfs_fs *fs, uint64_t ino, struct cfs_inode *ret,
		     struct cfs_err *err)
{
	struct cfs_inode inode;
	int r = cfs_fs_inode_load(fs, ino, &inode, err);

	if (r < 0)
		return r;
	if (S_ISDIR(inode.mode))
		return cfs_err_set(err, -EISDIR,
				   "inode %" PRIu64 ": is a directory", ino);
	if (!S_ISREG(inode.mode))
		return cfs_err_set(err, -EINVAL,
				   "inode %" PRIu64 ": not a regular file",
				   ino);
	if (inode.size_bytes > CFS_FS_FILE_BYTES_MAX)
		return cfs_err_set(err, -EUCLEAN,
				   "inode %" PRIu64 ": a size that cannot be",
				   ino);
	*ret = inode;
	return 0;
}

void cfs_fs_inode_touch(struct cfs_inode *inode, int64_t now_ns)
{
	inode->ctime_ns = now_ns;
	inode->change++;
}

void cfs_fs_inode_touch_data(struct cfs_inode *inode, int64_t now_ns)
{
	inode->mtime_ns = now_ns;
	cfs_fs_inode_touch(inode, now_ns);
}

/* ------------------------------------------------------------------- life */

int cfs_fs_open(const struct cfs_view *view, uint64_t root_ino,
		uint64_t hash_seed, struct cfs_fs **ret, struct cfs_err *err)
{
	struct cfs_fs *fs = calloc(1, sizeof(*fs));
	struct cfs_inode root;
	int r;

	if (!fs)
		return cfs_err_set(err, -ENOMEM, "tree: no memory");
	fs->view = *view;
	fs->root_ino = root_ino;
	fs->hash_seed = hash_seed;
	fs->hash_mask = UINT64_MAX;
	fs->clock = cfs_clock_system();
	cfs_fs_lock(fs);
	r = cfs_fs_dir_load(fs, root_ino, false, &root, err);
	cfs_fs_unlock(fs);
	if (r < 0) {
		cfs_fs_close(fs);
		return cfs_err_wrap(err, r, "root of the tree");
	}
	*ret = fs;
	return 0;
}

int cfs_fs_open_with(const struct cfs_fs_ops *ops, void *arg, uint64_t root_ino,
		     bool is_writable, struct cfs_fs **ret, struct cfs_err *err)
{
	struct cfs_fs *fs = calloc(1, sizeof(*fs));

	if (!fs)
		return cfs_err_set(err, -ENOMEM, "tree: no memory");
	fs->ops = ops;
	fs->ops_arg = arg;
	fs->root_ino = root_ino;
	fs->view.stamp = is_writable ? CFS_STAMP_HEAD : 0;
	fs->clock = cfs_clock_system();
	*ret = fs;
	return 0;
}

void *cfs_fs_ops_arg(const struct cfs_fs *fs, const struct cfs_fs_ops *ops)
{
	return fs->ops == ops ? fs->ops_arg : NULL;
}

void cfs_fs_close(struct cfs_fs *fs)
{
	if (!fs)
		return;
	if (fs->ops)
		fs->ops->close(fs->ops_arg);
	cfs_inomap_done(&fs->open);
	free(fs);
}

void cfs_fs_closep(struct cfs_fs **fs)
{
	cfs_fs_close(*fs);
	*fs = NULL;
}

void cfs_fs_set_clock(struct cfs_fs *fs, struct cfs_clock *clock)
{
	fs->clock = clock;
}

uint64_t cfs_fs_root_ino(const struct cfs_fs *fs)
{
	return fs->root_ino;
}

bool cfs_fs_is_writable(const struct cfs_fs *fs)
{
	return fs->view.stamp == CFS_STAMP_HEAD;
}

int cfs_fs_make_root(struct cfs_container *c, uint16_t branch, uint32_t mode,
		     uint32_t uid, uint32_t gid, int64_t now_ns,
		     uint64_t *ret_ino, struct cfs_err *err)
{
	struct cfs_inode inode = {
		.mode = S_IFDIR | (mode & 07777),
		.uid = uid,
		.gid = gid,
		.nlink = 2,
		.atime_ns = now_ns,
		.mtime_ns = now_ns,
		.ctime_ns = now_ns,
		.btime_ns = now_ns,
		.change = 1,
	};
	struct cfs_inode_disk disk;
	uint64_t ino = 0;
	int r;

	r = cfs_container_new_ino(c, &ino, err);
	if (r < 0)
		return r;
	inode.parent = ino;
	cfs_inode_pack(&inode, &disk);
	r = cfs_map_put(c, branch, ino, CFS_MAP_INODE, 0, &disk, sizeof(disk),
			err);
	if (r == 0)
		*ret_ino = ino;
	return r;
}

int cfs_fs_sync(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err)
{
	if (fs->ops)
		return fs->ops->sync(fs->ops_arg, ino, err);
	/* The log keeps the order of operations: one sync is for all. */
	(void)ino;
	if (!cfs_fs_is_writable(fs))
		return 0;
	return cfs_container_sync(cfs_fs_container(fs), err);
}

void cfs_fs_set_space(struct cfs_fs *fs, cfs_fs_space_fn fn, void *arg)
{
	fs->space_fn = fn;
	fs->space_arg = arg;
}

int cfs_fs_statfs(struct cfs_fs *fs, struct cfs_fs_space *ret,
		  struct cfs_err *err)
{
	if (fs->ops)
		return fs->ops->statfs(fs->ops_arg, ret, err);
	if (!fs->space_fn)
		return cfs_err_set(err, -ENOSYS, "space is not known here");
	return fs->space_fn(fs->space_arg, ret, err);
}

/* ------------------------------------------------------------ open inodes */

bool cfs_fs_ino_is_open(const struct cfs_fs *fs, uint64_t ino)
{
	return cfs_inomap_get(&fs->open, ino) != NULL;
}

int cfs_fs_ino_opened(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err)
{
	struct cfs_inomap_entry *entry = cfs_inomap_add(&fs->open, ino);

	if (!entry)
		return cfs_err_set(err, -ENOMEM, "inode %" PRIu64 ": no memory",
				   ino);
	assert(entry->a < UINT32_MAX);
	entry->a++;
	return 0;
}

static int open_ino_locked(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err)
{
	struct cfs_inode inode;
	int r = cfs_fs_inode_load(fs, ino, &inode, err);

	if (r < 0)
		return r;
	/* Nameless and not open: cfs_fs_reclaim may be at work on it. */
	if (inode.nlink == 0 && !cfs_fs_ino_is_open(fs, ino))
		return cfs_err_set(err, -ENOENT,
				   "inode %" PRIu64 ": was removed", ino);
	return cfs_fs_is_writable(fs) ? cfs_fs_ino_opened(fs, ino, err) : 0;
}

int cfs_fs_open_ino(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err)
{
	int r;

	if (fs->ops)
		return fs->ops->open_ino(fs->ops_arg, ino, err);
	cfs_fs_lock(fs);
	r = open_ino_locked(fs, ino, err);
	cfs_fs_unlock(fs);
	return r;
}

int cfs_fs_close_ino(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err)
{
	struct cfs_inode inode = { .nlink = 1 };
	struct cfs_inomap_entry *entry;
	bool is_last;
	int r = 0;

	if (fs->ops)
		return fs->ops->close_ino(fs->ops_arg, ino, err);
	if (!cfs_fs_is_writable(fs))
		return 0;
	cfs_fs_lock(fs);
	entry = cfs_inomap_get(&fs->open, ino);
	assert(entry);
	is_last = --entry->a == 0;
	if (is_last) {
		cfs_inomap_del(&fs->open, ino);
		r = cfs_fs_inode_load(fs, ino, &inode, err);
	}
	cfs_fs_unlock(fs);
	if (r == 0 && is_last && inode.nlink == 0)
		r = cfs_fs_reclaim(fs, ino, err);
	return r;
}

int cfs_fs_each_open(struct cfs_fs *fs,
		     int (*each)(void *arg, uint64_t ino, uint32_t count),
		     void *arg)
{
	const struct cfs_inomap_entry *entry;
	size_t index = 0;
	int r = 0;

	assert(!fs->ops);
	while (r == 0 && (entry = cfs_inomap_next(&fs->open, &index)))
		if (entry->a)
			r = each(arg, entry->ino, entry->a);
	return r;
}

void cfs_fs_leave_ino(struct cfs_fs *fs, uint64_t ino)
{
	struct cfs_inomap_entry *entry;

	assert(!fs->ops);
	if (!cfs_fs_is_writable(fs))
		return;
	cfs_fs_lock(fs);
	entry = cfs_inomap_get(&fs->open, ino);
	assert(entry);
	if (--entry->a == 0)
		cfs_inomap_del(&fs->open, ino);
	cfs_fs_unlock(fs);
}

/* -------------------------------------------------------------- attributes */

int cfs_fs_getattr(struct cfs_fs *fs, uint64_t ino, struct cfs_inode *ret,
		   struct cfs_err *err)
{
	int r;

	if (fs->ops)
		return fs->ops->getattr(fs->ops_arg, ino, ret, err);
	cfs_fs_lock(fs);
	r = cfs_fs_inode_load(fs, ino, ret, err);
	cfs_fs_unlock(fs);
	return r;
}

int cfs_fs_block_count(struct cfs_fs *fs, uint64_t ino, uint64_t *ret_count,
		       struct cfs_err *err)
{
	struct cfs_inode inode;
	int r;

	if (fs->ops)
		return fs->ops->block_count(fs->ops_arg, ino, ret_count, err);
	cfs_fs_lock(fs);
	r = cfs_fs_inode_load(fs, ino, &inode, err);
	if (r == 0 && !S_ISREG(inode.mode))
		*ret_count = 0;
	else if (r == 0)
		r = cfs_data_block_count(&fs->view, ino, ret_count, err);
	cfs_fs_unlock(fs);
	return r;
}

static int64_t time_or_now(int64_t time_ns, int64_t now_ns)
{
	return time_ns == CFS_FS_TIME_NOW ? now_ns : time_ns;
}

static void attr_apply(struct cfs_inode *inode, const struct cfs_fs_attr *attr,
		       int64_t now_ns)
{
	cfs_fs_inode_touch(inode, now_ns);
	if (attr->mask & CFS_FS_SET_MODE)
		inode->mode = (inode->mode & S_IFMT) | (attr->mode & 07777);
	if (attr->mask & CFS_FS_SET_UID)
		inode->uid = attr->uid;
	if (attr->mask & CFS_FS_SET_GID)
		inode->gid = attr->gid;
	if (attr->mask & CFS_FS_SET_ATIME)
		inode->atime_ns = time_or_now(attr->atime_ns, now_ns);
	if (attr->mask & CFS_FS_SET_MTIME)
		inode->mtime_ns = time_or_now(attr->mtime_ns, now_ns);
	if (attr->mask & CFS_FS_SET_BTIME)
		inode->btime_ns = time_or_now(attr->btime_ns, now_ns);
	if (attr->mask & CFS_FS_SET_CTIME)
		inode->ctime_ns = time_or_now(attr->ctime_ns, now_ns);
}

int cfs_fs_setattr(struct cfs_fs *fs, uint64_t ino,
		   const struct cfs_fs_attr *attr, struct cfs_inode *ret,
		   struct cfs_err *err)
{
	const uint32_t known = CFS_FS_SET_MODE | CFS_FS_SET_UID |
			       CFS_FS_SET_GID | CFS_FS_SET_ATIME |
			       CFS_FS_SET_MTIME | CFS_FS_SET_BTIME |
			       CFS_FS_SET_CTIME;
	struct cfs_inode inode;
	int r;

	if (fs->ops)
		return fs->ops->setattr(fs->ops_arg, ino, attr, ret, err);
	if (attr->mask & ~known)
		return cfs_err_set(err, -EINVAL, "unknown attribute");
	r = cfs_fs_op_begin(fs, CFS_OP_NORMAL, err);
	if (r < 0)
		return r;
	r = cfs_fs_inode_load(fs, ino, &inode, err);
	if (r == 0) {
		attr_apply(&inode, attr, cfs_fs_now_ns(fs));
		r = cfs_fs_inode_store(fs, ino, &inode, err);
	}
	if (r == 0 && ret)
		*ret = inode;
	return cfs_fs_op_finish(fs, r);
}
