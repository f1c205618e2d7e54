/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a tree comes to be: what needs the container below it.  Whoever only
 * uses a tree needs fs.h alone.  What is said there of threads and errors
 * holds here too.
 */
#pragma once

#include "volume/fs.h"
#include "volume/map.h"

/*
 * Open the tree whose root directory is @root_ino; reads that inode.
 * @view       copied; its container must outlive the tree
 * @hash_seed  of the volume's record
 * -ENOENT, -ENOTDIR: the root is not there, or no directory.
 */
int cfs_fs_open(const struct cfs_view *view, uint64_t root_ino,
		uint64_t hash_seed, struct cfs_fs **ret, struct cfs_err *err);

/*
 * Make the root directory of a new tree in @branch; within the caller's
 * operation.  @mode: permissions.  @ret_ino is for the volume's record.
 */
int cfs_fs_make_root(struct cfs_container *c, uint16_t branch, uint32_t mode,
		     uint32_t uid, uint32_t gid, int64_t now_ns,
		     uint64_t *ret_ino, struct cfs_err *err);

/*
 * Each inode that is open, and how often; by the tree itself, and nothing is
 * opened or closed meanwhile.  A value of @each that is not 0 ends it.
 */
int cfs_fs_each_open(struct cfs_fs *fs,
		     int (*each)(void *arg, uint64_t ino, uint32_t count),
		     void *arg);

/*
 * Finish what a crash has left: free inodes without a name, and what lies
 * behind the end of files that were being cut.  No tree of the branch is open,
 * lock not held; many operations.
 * @ret_count  inodes dealt with; may be NULL
 */
int cfs_fs_reclaim_orphans(struct cfs_container *c, uint16_t branch,
			   uint64_t *ret_count, struct cfs_err *err);
