/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making and removing names.  Each call is one operation over the directory,
 * its entry and the inode, so that the three never disagree.
 */
#include "volume/fs_priv.h"

#include <inttypes.h>

static int no_such(const void *name, size_t name_bytes, struct cfs_err *err)
{
	return cfs_err_set(err, -ENOENT, "%.*s: no such file or directory",
			   (int)name_bytes, (const char *)name);
}

/* A name that may become one: the directory, and where its entry goes. */
static int find_place(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		      size_t name_bytes, struct cfs_inode *ret_dir,
		      uint64_t *ret_offset, struct cfs_err *err)
{
	struct cfs_fs_slot slot;
	int r;

	r = cfs_fs_dir_load(fs, dir_ino, true, ret_dir, err);
	if (r < 0)
		return r;
	r = cfs_fs_entry_find(fs, dir_ino, name, name_bytes, &slot, err);
	if (r == 0)
		return cfs_err_set(err, -EEXIST, "%.*s: exists",
				   (int)name_bytes, (const char *)name);
	if (r != -ENOENT)
		return r;
	if (slot.free_offset == CFS_FS_NO_OFFSET)
		return cfs_err_set(err, -ENOSPC,
				   "%.*s: the directory has %u "
				   "names of the same hash",
				   (int)name_bytes, (const char *)name,
				   CFS_FS_NAME_WHICH_COUNT);
	*ret_offset = slot.free_offset;
	return 0;
}

/* Put the entry and count it in the directory, which is stored. */
static int entry_add(struct cfs_fs *fs, uint64_t dir_ino, struct cfs_inode *dir,
		     uint64_t offset, const struct cfs_dirent *entry,
		     int64_t now_ns, struct cfs_err *err)
{
	int r;

	if (entry->type == cfs_fs_type_of(S_IFDIR)) {
		if (dir->nlink >= CFS_FS_LINKS_MAX)
			return cfs_err_set(err, -EMLINK,
					   "directory %" PRIu64
					   ": too many subdirectories",
					   dir_ino);
		dir->nlink++;
	}
	dir->entry_count++;
	cfs_fs_inode_touch_data(dir, now_ns);
	r = cfs_fs_entry_put(fs, dir_ino, offset, entry, err);
	return r < 0 ? r : cfs_fs_inode_store(fs, dir_ino, dir, err);
}

/* ----------------------------------------------------------------- create */

int cfs_fs_spec_check(const struct cfs_fs_spec *spec, struct cfs_err *err)
{
	size_t i;
	int r = 0;

	switch (spec->mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		break;
	default:
		return cfs_err_set(err, -EINVAL, "no type for a file");
	}
	if (spec->mode & ~(uint32_t)(S_IFMT | 07777))
		return cfs_err_set(err, -EINVAL, "no mode for a file");
	if (spec->data_bytes &&
	    (!S_ISREG(spec->mode) || spec->data_bytes > CFS_FS_WRITE_BYTES_MAX))
		return cfs_err_set(err, -EINVAL, "data that cannot be");
	if (S_ISLNK(spec->mode))
		r = cfs_fs_target_check(spec->target, spec->target_bytes, err);
	for (i = 0; r == 0 && i < spec->xattr_count; i++)
		r = cfs_fs_xattr_check(&spec->xattrs[i], err);
	return r;
}

static void inode_init(struct cfs_inode *inode, const struct cfs_fs_spec *spec,
		       uint64_t dir_ino, int64_t now_ns)
{
	*inode = (struct cfs_inode){
		.mode = spec->mode,
		.uid = spec->uid,
		.gid = spec->gid,
		.atime_ns = spec->has_times ? spec->atime_ns : now_ns,
		.mtime_ns = spec->has_times ? spec->mtime_ns : now_ns,
		.ctime_ns = now_ns,
		.btime_ns = now_ns,
		.parent = dir_ino,
		.change = 1,
	};
	if (S_ISCHR(spec->mode) || S_ISBLK(spec->mode))
		inode->rdev = spec->rdev;
	if (S_ISLNK(spec->mode))
		inode->size_bytes = spec->target_bytes;
	if (S_ISREG(spec->mode))
		inode->size_bytes = spec->data_bytes;
}

/* What the inode has beside itself. */
static int content_put(struct cfs_fs *fs, uint64_t ino,
		       const struct cfs_fs_spec *spec, struct cfs_err *err)
{
	size_t i;
	int r = 0;

	if (S_ISLNK(spec->mode))
		r = cfs_fs_target_put(fs, ino, spec->target, spec->target_bytes,
				      err);
	for (i = 0; r == 0 && i < spec->xattr_count; i++)
		r = cfs_fs_xattr_put(fs, ino, &spec->xattrs[i],
				     CFS_FS_XATTR_CREATE, err);
	if (r == 0 && spec->data_bytes)
		r = cfs_data_write(cfs_fs_container(fs), fs->view.branch, ino,
				   0, spec->data, spec->data_bytes, err);
	return r;
}

int cfs_fs_inode_make(struct cfs_fs *fs, uint64_t dir_ino, uint32_t nlink,
		      const struct cfs_fs_spec *spec, uint64_t *ret_ino,
		      struct cfs_inode *ret, struct cfs_err *err)
{
	int r = cfs_container_new_ino(cfs_fs_container(fs), ret_ino, err);

	if (r < 0)
		return r;
	inode_init(ret, spec, dir_ino, cfs_fs_now_ns(fs));
	ret->nlink = nlink;
	/* First of all: a manager that is told of data wants to know whose. */
	r = cfs_fs_inode_store(fs, *ret_ino, ret, err);
	return r < 0 ? r : content_put(fs, *ret_ino, spec, err);
}

static int create_in_op(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
			size_t name_bytes, const struct cfs_fs_spec *spec,
			uint64_t *ret_ino, struct cfs_inode *ret_inode,
			struct cfs_err *err)
{
	int64_t now_ns = cfs_fs_now_ns(fs);
	struct cfs_dirent entry = {
		.type = cfs_fs_type_of(spec->mode),
		.name_bytes = (uint16_t)name_bytes,
		.name = name,
	};
	uint64_t offset = 0;
	struct cfs_inode dir;
	int r;

	r = find_place(fs, dir_ino, name, name_bytes, &dir, &offset, err);
	if (r == 0)
		r = cfs_fs_inode_make(fs, dir_ino, S_ISDIR(spec->mode) ? 2 : 1,
				      spec, &entry.ino, ret_inode, err);
	if (r == 0)
		r = entry_add(fs, dir_ino, &dir, offset, &entry, now_ns, err);
	*ret_ino = entry.ino;
	return r;
}

int cfs_fs_create_with(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		       size_t name_bytes, const struct cfs_fs_spec *spec,
		       uint64_t *ret_ino, struct cfs_inode *ret_inode,
		       struct cfs_err *err)
{
	struct cfs_inode inode;
	uint64_t ino = 0;
	int r;

	if (fs->ops)
		return fs->ops->create_with(fs->ops_arg, dir_ino, name,
					    name_bytes, spec, ret_ino,
					    ret_inode, err);
	r = cfs_fs_name_check(name, name_bytes, err);
	if (r == 0)
		r = cfs_fs_spec_check(spec, err);
	if (r == 0)
		r = cfs_fs_op_begin(fs, CFS_OP_NORMAL, err);
	if (r < 0)
		return r;
	r = create_in_op(fs, dir_ino, name, name_bytes, spec, &ino, &inode,
			 err);
	r = cfs_fs_op_finish(fs, r);
	if (r < 0)
		return r;
	if (ret_ino)
		*ret_ino = ino;
	if (ret_inode)
		*ret_inode = inode;
	return 0;
}

int cfs_fs_create(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		  size_t name_bytes, uint32_t mode, uint32_t uid, uint32_t gid,
		  uint64_t *ret_ino, struct cfs_err *err)
{
	struct cfs_fs_spec spec = {
		.mode = S_IFREG | (mode & 07777),
		.uid = uid,
		.gid = gid,
	};

	return cfs_fs_create_with(fs, dir_ino, name, name_bytes, &spec, ret_ino,
				  NULL, err);
}

int cfs_fs_mkdir(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		 size_t name_bytes, uint32_t mode, uint32_t uid, uint32_t gid,
		 uint64_t *ret_ino, struct cfs_err *err)
{
	struct cfs_fs_spec spec = {
		.mode = S_IFDIR | (mode & 07777),
		.uid = uid,
		.gid = gid,
	};

	return cfs_fs_create_with(fs, dir_ino, name, name_bytes, &spec, ret_ino,
				  NULL, err);
}

int cfs_fs_mknod(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		 size_t name_bytes, uint32_t mode, uint64_t rdev, uint32_t uid,
		 uint32_t gid, uint64_t *ret_ino, struct cfs_err *err)
{
	struct cfs_fs_spec spec = {
		.mode = mode,
		.uid = uid,
		.gid = gid,
		.rdev = rdev,
	};

	if (S_ISDIR(mode) || S_ISLNK(mode))
		return cfs_err_set(err, -EINVAL, "no type for a node");
	return cfs_fs_create_with(fs, dir_ino, name, name_bytes, &spec, ret_ino,
				  NULL, err);
}

int cfs_fs_symlink(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		   size_t name_bytes, const void *target, size_t target_bytes,
		   uint32_t uid, uint32_t gid, uint64_t *ret_ino,
		   struct cfs_err *err)
{
	struct cfs_fs_spec spec = {
		.mode = S_IFLNK | 0777,
		.uid = uid,
		.gid = gid,
		.target = target,
		.target_bytes = target_bytes,
	};

	return cfs_fs_create_with(fs, dir_ino, name, name_bytes, &spec, ret_ino,
				  NULL, err);
}

/* ------------------------------------------------------------------- link */

static int link_in_op(struct cfs_fs *fs, uint64_t ino, uint64_t dir_ino,
		      const void *name, size_t name_bytes, struct cfs_err *err)
{
	int64_t now_ns = cfs_fs_now_ns(fs);
	struct cfs_inode inode, dir;
	struct cfs_dirent entry;
	uint64_t offset = 0;
	int r;

	r = cfs_fs_inode_load(fs, ino, &inode, err);
	if (r < 0)
		return r;
	if (S_ISDIR(inode.mode))
		return cfs_err_set(
			err, -EPERM,
			"inode %" PRIu64 ": a directory has one name", ino);
	if (inode.nlink == 0)
		return cfs_err_set(err, -ENOENT,
				   "inode %" PRIu64 ": was removed", ino);
	if (inode.nlink >= CFS_FS_LINKS_MAX)
		return cfs_err_set(err, -EMLINK,
				   "inode %" PRIu64 ": too many names", ino);
	r = find_place(fs, dir_ino, name, name_bytes, &dir, &offset, err);
	if (r < 0)
		return r;
	entry = (struct cfs_dirent){
		.ino = ino,
		.type = cfs_fs_type_of(inode.mode),
		.name_bytes = (uint16_t)name_bytes,
		.name = name,
	};
	inode.nlink++;
	cfs_fs_inode_touch(&inode, now_ns);
	r = cfs_fs_inode_store(fs, ino, &inode, err);
	if (r == 0)
		r = entry_add(fs, dir_ino, &dir, offset, &entry, now_ns, err);
	return r;
}

int cfs_fs_link(struct cfs_fs *fs, uint64_t ino, uint64_t dir_ino,
		const void *name, size_t name_bytes, struct cfs_err *err)
{
	int r = cfs_fs_name_check(name, name_bytes, err);

	if (fs->ops)
		return fs->ops->link(fs->ops_arg, ino, dir_ino, name,
				     name_bytes, err);
	if (r == 0)
		r = cfs_fs_op_begin(fs, CFS_OP_NORMAL, err);
	if (r < 0)
		return r;
	return cfs_fs_op_finish(
		fs, link_in_op(fs, ino, dir_ino, name, name_bytes, err));
}

/* ----------------------------------------------------------------- remove */

/* May what is there be removed by unlink (@is_rmdir: by rmdir)? */
static int removal_check(struct cfs_fs *fs, uint64_t ino,
			 const struct cfs_inode *inode, bool is_rmdir,
			 struct cfs_err *err)
{
	int r;

	if (!is_rmdir)
		return S_ISDIR(inode->mode) ? cfs_err_set(err, -EISDIR,
							  "inode %" PRIu64
							  ": is a directory",
							  ino)
					    : 0;
	if (!S_ISDIR(inode->mode))
		return cfs_err_set(err, -ENOTDIR,
				   "inode %" PRIu64 ": not a directory", ino);
	r = cfs_fs_dir_is_empty(fs, ino, err);
	if (r == -ENOTEMPTY)
		return cfs_err_set(
			err, r, "inode %" PRIu64 ": the directory is not empty",
			ino);
	return r;
}

static int remove_in_op(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
			size_t name_bytes, bool is_rmdir, uint64_t *ret_ino,
			bool *ret_rest, struct cfs_err *err)
{
	int64_t now_ns = cfs_fs_now_ns(fs);
	struct cfs_inode dir, inode;
	struct cfs_fs_slot slot;
	int r;

	r = cfs_fs_dir_load(fs, dir_ino, true, &dir, err);
	if (r < 0)
		return r;
	r = cfs_fs_entry_find(fs, dir_ino, name, name_bytes, &slot, err);
	if (r < 0)
		return r == -ENOENT ? no_such(name, name_bytes, err) : r;
	r = cfs_fs_named_load(fs, slot.ino, &inode, err);
	if (r == 0)
		r = removal_check(fs, slot.ino, &inode, is_rmdir, err);
	if (r == 0 && is_rmdir && dir.nlink < 3)
		r = cfs_err_set(err, -EUCLEAN,
				"directory %" PRIu64 ": too few links",
				dir_ino);
	if (r == 0)
		r = cfs_fs_entry_del(fs, dir_ino, slot.offset, err);
	if (r < 0)
		return r;
	dir.entry_count--;
	if (is_rmdir)
		dir.nlink--;
	cfs_fs_inode_touch_data(&dir, now_ns);
	r = cfs_fs_inode_store(fs, dir_ino, &dir, err);
	if (r == 0)
		r = cfs_fs_inode_unname(fs, slot.ino, &inode, now_ns, ret_rest,
					err);
	*ret_ino = slot.ino;
	return r;
}

static int name_remove(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		       size_t name_bytes, bool is_rmdir, struct cfs_err *err)
{
	bool has_rest = false;
	uint64_t ino = 0;
	int r;

	if (fs->ops)
		return fs->ops->remove(fs->ops_arg, dir_ino, name, name_bytes,
				       is_rmdir, err);
	r = cfs_fs_name_check(name, name_bytes, err);
	if (r == 0)
		r = cfs_fs_op_begin(fs, CFS_OP_FREEING, err);
	if (r < 0)
		return r;
	r = remove_in_op(fs, dir_ino, name, name_bytes, is_rmdir, &ino,
			 &has_rest, err);
	r = cfs_fs_op_finish(fs, r);
	/* The name is gone; a failure from here on leaves an orphan. */
	if (r == 0 && has_rest)
		cfs_fs_reclaim(fs, ino, NULL);
	return r;
}

int cfs_fs_unlink(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		  size_t name_bytes, struct cfs_err *err)
{
	return name_remove(fs, dir_ino, name, name_bytes, false, err);
}

int cfs_fs_rmdir(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		 size_t name_bytes, struct cfs_err *err)
{
	return name_remove(fs, dir_ino, name, name_bytes, true, err);
}
