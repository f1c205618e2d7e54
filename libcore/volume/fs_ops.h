/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The seam below cfs_fs_*: where the tree is.  A tree without a table is in
 * this process, on a container; with one, each call goes to the table instead,
 * with the arguments and the promises of volume/fs.h.  What is no more than a
 * combination of others (cfs_fs_create and its like, cfs_fs_resolve_parent) is
 * made of them and has no row here.
 */
#pragma once

#include "volume/fs.h"

struct cfs_fs_ops {
	void (*close)(void *arg);
	int (*open_ino)(void *arg, uint64_t ino, struct cfs_err *err);
	int (*close_ino)(void *arg, uint64_t ino, struct cfs_err *err);
	int (*sync)(void *arg, uint64_t ino, struct cfs_err *err);
	int (*statfs)(void *arg, struct cfs_fs_space *ret, struct cfs_err *err);
	int (*getattr)(void *arg, uint64_t ino, struct cfs_inode *ret,
		       struct cfs_err *err);
	int (*block_count)(void *arg, uint64_t ino, uint64_t *ret_count,
			   struct cfs_err *err);
	int (*setattr)(void *arg, uint64_t ino, const struct cfs_fs_attr *attr,
		       struct cfs_inode *ret, struct cfs_err *err);
	int (*lookup)(void *arg, uint64_t dir_ino, const void *name,
		      size_t name_bytes, uint64_t *ret_ino,
		      struct cfs_inode *ret_inode, struct cfs_err *err);
	/* NULL: by steps of the others. */
	int (*resolve)(void *arg, uint64_t start_ino, const void *path,
		       size_t path_bytes, enum cfs_fs_follow follow,
		       uint64_t *ret_ino, struct cfs_err *err);
	int (*path_of)(void *arg, uint64_t ino, struct cfs_buf *ret,
		       struct cfs_err *err);
	int (*create_with)(void *arg, uint64_t dir_ino, const void *name,
			   size_t name_bytes, const struct cfs_fs_spec *spec,
			   uint64_t *ret_ino, struct cfs_inode *ret_inode,
			   struct cfs_err *err);
	int (*create_nameless)(void *arg, uint64_t dir_ino,
			       const struct cfs_fs_spec *spec,
			       uint64_t *ret_ino, struct cfs_err *err);
	int (*name)(void *arg, uint64_t ino, uint64_t dir_ino, const void *name,
		    size_t name_bytes, struct cfs_err *err);
	int (*link)(void *arg, uint64_t ino, uint64_t dir_ino, const void *name,
		    size_t name_bytes, struct cfs_err *err);
	int (*remove)(void *arg, uint64_t dir_ino, const void *name,
		      size_t name_bytes, bool is_rmdir, struct cfs_err *err);
	int (*rename)(void *arg, uint64_t old_dir_ino, const void *old_name,
		      size_t old_name_bytes, uint64_t new_dir_ino,
		      const void *new_name, size_t new_name_bytes,
		      uint32_t flags, struct cfs_err *err);
	int (*readdir)(void *arg, uint64_t dir_ino, uint64_t cookie,
		       struct cfs_fs_entry *entries, size_t entry_count,
		       size_t *ret_count, struct cfs_err *err);
	int (*readlink)(void *arg, uint64_t ino, void *buf, size_t buf_bytes,
			size_t *ret_bytes, struct cfs_err *err);
	int (*xattr_get)(void *arg, uint64_t ino, const char *name, void *buf,
			 size_t buf_bytes, size_t *ret_bytes,
			 struct cfs_err *err);
	int (*xattr_set)(void *arg, uint64_t ino, const char *name,
			 const void *value, size_t value_bytes, uint32_t flags,
			 struct cfs_err *err);
	int (*xattr_list)(void *arg, uint64_t ino, char *buf, size_t buf_bytes,
			  size_t *ret_bytes, struct cfs_err *err);
	int (*xattr_remove)(void *arg, uint64_t ino, const char *name,
			    struct cfs_err *err);
	int (*read)(void *arg, uint64_t ino, uint64_t offset_bytes, void *buf,
		    size_t length_bytes, size_t *ret_bytes,
		    struct cfs_err *err);
	int (*write)(void *arg, uint64_t ino, uint64_t offset_bytes,
		     const void *buf, size_t length_bytes, size_t *ret_bytes,
		     struct cfs_err *err);
	int (*truncate)(void *arg, uint64_t ino, uint64_t size_bytes,
			struct cfs_err *err);
	int (*punch_hole)(void *arg, uint64_t ino, uint64_t offset_bytes,
			  uint64_t length_bytes, struct cfs_err *err);
	int (*zero_range)(void *arg, uint64_t ino, uint64_t offset_bytes,
			  uint64_t length_bytes, bool keep_size,
			  struct cfs_err *err);
	int (*seek)(void *arg, uint64_t ino, uint64_t offset_bytes, bool data,
		    uint64_t *ret_offset_bytes, struct cfs_err *err);
};

/*
 * A tree that is elsewhere.  @ops outlives it; cfs_fs_close calls ops->close
 * with @arg.
 */
int cfs_fs_open_with(const struct cfs_fs_ops *ops, void *arg, uint64_t root_ino,
		     bool is_writable, struct cfs_fs **ret,
		     struct cfs_err *err);
/* What was given with it; NULL: it has another table, or none. */
void *cfs_fs_ops_arg(const struct cfs_fs *fs, const struct cfs_fs_ops *ops);
