/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The check of a tree in two halves: what one inode has (fs_check_inode.c) and
 * how inodes name each other (fs_check.c).  All functions take the lock
 * themselves, for a record at a time, and report without it.
 */
#pragma once

#include "volume/fs_priv.h"

struct cfs_fs_checking {
	struct cfs_fs *fs;
	const struct cfs_fs_check *check;
	struct cfs_inomap inodes;
	struct cfs_err *err;
	uint64_t inode_count;
	bool is_clone; /* of a branch with a parent */
};

/* Report.  Returns 0, or what ends the check: negative. */
int cfs_fs_check_say(struct cfs_fs_checking *c, enum cfs_fs_problem kind,
		     uint64_t ino, const char *fmt, ...) CFS_PRINTF(4, 5);

/*
 * cfs_map_next for a check.  Returns 1 with a record; 0: no more (also when
 * the map is damaged here, which is reported); else the check ends with it.
 */
int cfs_fs_check_next(struct cfs_fs_checking *c, uint64_t ino,
		      enum cfs_map_class class, uint64_t *offset, void *buf,
		      size_t buf_bytes, size_t *ret_bytes);

/* Size, target, attributes, data, and nothing of another type. */
int cfs_fs_check_inode(struct cfs_fs_checking *c, uint64_t ino,
		       const struct cfs_inode *inode);
