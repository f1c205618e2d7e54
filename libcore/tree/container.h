/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A container at work: its trees, log, space and commits, with one owner.
 *
 * Changes are made in operations.  An operation is atomic: after a crash all
 * of it is there or nothing.  It changes the trees in memory and adds records
 * to the pending ones; cfs_container_sync makes everything up to now durable
 * with one frame and one flush, cfs_container_commit writes trees and root and
 * lets the log start anew.  Space is promised when an operation begins.
 * Where small writes and syncs are all that comes, the commit is made in small
 * steps between them (tree/container_gradual.h).
 *
 * An operation that fails is undone by cfs_op_abort, in memory.  When undoing
 * fails, or a write or flush of the log, the trees or the root, the container
 * is closed for writing (-EROFS from then on): nothing is acknowledged any
 * more, and what was acknowledged is found by the next open.
 *
 * Order of writes in a commit, with the state that a crash leaves:
 *
 *   1. data, nodes and tag pages to places that the last root does not name
 *                                          -> last root, log replayed
 *   2. flush of all devices
 *   3. root page with seq + 1 to one slot of each of its places
 *                                          -> last root, or (any place has it
 *                                             whole) the new one
 *   4. flush                               -> the new root
 *   5. log space before the new log_seq, and blocks freed by the commit before
 *      this one, may be written again
 *
 * Thread safety: one lock per container.  cfs_op_begin takes it, cfs_op_end
 * and cfs_op_abort give it back; readers take it with cfs_container_lock.
 * Whoever needs two containers takes the pool's own (id 0) last.  Functions
 * say "locked" when the caller must hold the lock.
 */
#pragma once

#include "base/err.h"
#include "ondisk/table.h"
#include "tree/tree.h"

#include <stdbool.h>

struct cfs_container;

void cfs_container_lock(struct cfs_container *c);
/* The same beside data that is on its way (cfs_container_depart): it may not be
 * where records say that it is. */
void cfs_container_lock_beside(struct cfs_container *c);
/* The same for a look at trees and data that changes nothing: unlike the first,
 * it does not make a gradual commit come to its end. */
void cfs_container_lock_to_read(struct cfs_container *c);
void cfs_container_unlock(struct cfs_container *c);
/*
 * Nobody is at work: memory goes back to the system (cfs_node_cache_rest).  Many
 * dirty nodes are committed first; a failure of that is for the next change.
 */
void cfs_container_rest_locked(struct cfs_container *c);

/* Facts; locked, or constant over the container's life (id, uuid). */
uint64_t cfs_container_id(const struct cfs_container *c);
bool cfs_container_is_writable(const struct cfs_container *c);
/* The stamp that births get now. */
uint64_t cfs_container_stamp(const struct cfs_container *c);
/* Number of the last commit; without the lock, it may rise meanwhile. */
uint64_t cfs_container_root_seq(const struct cfs_container *c);
struct cfs_tree *cfs_container_tree(struct cfs_container *c,
				    unsigned int tree_id);

enum cfs_op_kind {
	CFS_OP_NORMAL,  /* needs free space beyond the reserve */
	CFS_OP_FREEING, /* deletes: may use the reserve */
	CFS_OP_ZEROING, /* deletes, and zeroes parts of blocks: that may
			 * use half of the reserve */
};

/*
 * Begin an operation: takes the lock.  May commit first, to make room in the
 * log or to get freed blocks back.
 * Returns 0 with the lock held; else without it: -EROFS, -ENOSPC, or what made
 * a commit fail.
 */
int cfs_op_begin(struct cfs_container *c, enum cfs_op_kind kind,
		 struct cfs_err *err);
/*
 * The same for an operation that will want @blocks: the commits that it takes
 * to have them are made before it begins, since within it none is possible.
 */
int cfs_op_begin_for(struct cfs_container *c, enum cfs_op_kind kind,
		     uint64_t blocks, struct cfs_err *err);
/*
 * The same for a write of whole blocks whose data may be written behind the
 * operation, when the lock is given back (cfs_container_depart).  Such
 * operations alone run while data of others is on its way: nothing that reads
 * data may be done in them.
 */
int cfs_op_begin_beside(struct cfs_container *c, uint64_t blocks,
			struct cfs_err *err);
/* The same for a write of whole blocks, each of which is kept in memory: it may
 * go beside a gradual commit, so nothing else may be done in it. */
int cfs_op_begin_pages(struct cfs_container *c, uint64_t blocks,
		       struct cfs_err *err);
/* Within cfs_op_begin_beside: data that the operation has made records of will
 * be written.  No commit and no sync begins, and nobody has the lock, before it
 * has landed.
 */
void cfs_container_depart(struct cfs_container *c);
/* All of it is written.  Without the lock. */
void cfs_container_land(struct cfs_container *c);
/*
 * It could not be written: begin an operation that says so, before landing.
 * Takes the lock, and makes no room.  -EROFS.
 */
int cfs_op_begin_landing(struct cfs_container *c, struct cfs_err *err);
/* The operation is done: gives the lock back.  Not durable yet. */
void cfs_op_end(struct cfs_container *c);
/* Undo everything since cfs_op_begin and give the lock back. */
void cfs_op_abort(struct cfs_container *c);

/* Within an operation: records of the small tables (logged as they are). */
int cfs_container_put(struct cfs_container *c, const struct cfs_key *key,
		      const void *value, size_t value_bytes,
		      struct cfs_err *err);
int cfs_container_del(struct cfs_container *c, const struct cfs_key *key,
		      struct cfs_err *err);
/* Locked.  -ENOENT without @err. */
int cfs_container_get(struct cfs_container *c, const struct cfs_key *key,
		      void *buf, size_t buf_bytes, size_t *ret_bytes,
		      struct cfs_err *err);

/* An inode number that was never used before; within an operation. */
int cfs_container_new_ino(struct cfs_container *c, uint64_t *ret,
			  struct cfs_err *err);
/*
 * This number is used, as a record says that is logged in the same operation:
 * none that is handed out from now on is as low.  Not in client mode.
 */
int cfs_container_raise_ino(struct cfs_container *c, uint64_t ino,
			    struct cfs_err *err);

/*
 * Make all operations that have ended durable.  Not within an operation, lock
 * not held.  -EROFS, -EIO, -ENOSPC (never for what was accepted before).
 */
int cfs_container_sync(struct cfs_container *c, struct cfs_err *err);
/* The same by a full commit. */
int cfs_container_commit(struct cfs_container *c, struct cfs_err *err);

/*
 * For a look at everything while it is used: commit, and from then on no
 * operation but this thread's begins, and nothing is lent or folded, until the
 * thaw.  Readers go on.  Lock not held; waits for another one's thaw.
 * What made the commit fail: it is frozen all the same.
 */
int cfs_container_freeze(struct cfs_container *c, struct cfs_err *err);
void cfs_container_thaw(struct cfs_container *c);
