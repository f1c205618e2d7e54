/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A tree that several processes use at once, each with the ordinary code of
 * trees on its own container in client mode (tree/container_client.h), or the
 * manager on its own: here each call gets the leases on the inodes that it
 * reads or changes first (session/tree_locks.h).
 *
 *   S on the inode       getattr, block_count, readlink, read, seek, xattrs
 * that are read, open_ino; of a directory: lookup, readdir, create_nameless X
 * on the inode       setattr, write, truncate, punch_hole, zero_range, xattrs
 * that are changed X on the directory   create_with; the new inode is ours
 * without a lease X on all of them     remove, rename, link, name: directories,
 * and inodes that get or lose a name CFS_TREE_LOCK_RENAME as well, where a
 * directory gets another parent: nobody else makes a loop meanwhile, and what
 * others did so is seen
 *
 * What a name stands for is found under the directory's lock; then all is
 * locked in order and looked at again, until it is the same.
 *
 * What an old view names may not verify; then there is a new view, and the call
 * is made again (tree/container_client.h, C4).
 *
 * cfs_fs_path_of sees the tree as it was not long ago: the names above an inode
 * may have changed meanwhile.
 */
#pragma once

#include "session/tree_locks.h"
#include "volume/fs_open.h"

/*
 * @inner: the tree at @view; taken, also on failure.
 * @config: how leases are got.  Of its ops settle may be NULL: it is for
 * closing a tree whose changes cannot be given back, and has our log read;
 *          fresh is not used.  @config NULL: a snapshot, which needs no leases:
 *          it is read again where the view is old;
 *          or a tree of whoever holds the pool, until
 * cfs_direct_fs_begin_leases.
 */
int cfs_direct_fs_open(struct cfs_fs *inner, const struct cfs_view *view,
		       const struct cfs_tree_locks_config *config,
		       struct cfs_fs **ret, struct cfs_err *err);
/*
 * One that was made without @config takes leases from now on.  What is open is
 * kept so.  Calls that run are waited for.  Of a writable tree; once.
 */
int cfs_direct_fs_begin_leases(struct cfs_fs *fs,
			       const struct cfs_tree_locks_config *config,
			       struct cfs_err *err);
/* As cfs_io_watch and cfs_io_may_keep, of one that cfs_direct_fs_open made. */
struct cfs_io_watch;
void cfs_direct_fs_watch(struct cfs_fs *fs, const struct cfs_io_watch *watch);
bool cfs_direct_fs_may_keep(struct cfs_fs *fs, uint64_t *ret_serial,
			    uint64_t *ret_ns);
/* Of one that cfs_direct_fs_open made; NULL for a snapshot. */
struct cfs_tree_locks *cfs_direct_fs_locks(struct cfs_fs *fs);
