/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rebuild: a container's trees anew, when nodes and roots are lost, from what
 * stands beside and in the blocks themselves:
 *
 *   small tables       their leaves, found by tags of type TABLE; of two that
 *                      cover a key the one with the higher stamp counts
 *   extents            tags of type DATA with branches, pins and tombstones
 *   inodes and names   leaves of the maps, as far as they are there
 *   space              all of the above
 *   slices, maps       slice headers (the pool's own container)
 *
 * The rule for extents: a tag counts if its branch exists and its stamp is
 * above that branch's creation.  Of one block of a branch, tags and tombstones
 * are put in the order of (stamp, seq).  The newest is live, unless it is a
 * tombstone (in a branch with a parent that is a whiteout) or the branch has
 * ended and no pin is behind its birth; an older one is history if a pin lies
 * between its birth and that of the next one.  Everything else is garbage.
 *
 * The new trees are written to blocks that nothing old stands in, and one root
 * makes them count: a crash on the way leaves what there was, to be rebuilt
 * again.  What was in the log only is lost.
 *
 * Memory: 56 bytes for each run of adjacent blocks of one version, all at
 * once.
 */
#pragma once

#include "base/err.h"
#include "ondisk/seat.h"

#include <stdint.h>

struct cfs_pool;
struct cfs_devset;

struct cfs_rebuild_result {
	uint64_t leaves; /* that were used */
	uint64_t live_blocks, history_blocks, garbage_blocks;
	uint64_t lost_groups; /* without a good tag page */
};

/*
 * A container of an open pool, which is not open itself: its slices and its
 * record are in the pool's tables.  After it, it opens as any other.
 * -ENOENT; -EBUSY: it is open; -EUCLEAN: there is not enough to go by;
 * -ENOSPC, -EIO, -ENOMEM.
 */
int cfs_rebuild_container(struct cfs_pool *pool, uint64_t id,
			  struct cfs_rebuild_result *ret, struct cfs_err *err);

/*
 * The pool's own container, before the pool is opened.
 * @roots: where its root is to stand, as the seat has it.
 */
int cfs_rebuild_pool(struct cfs_devset *set, uint32_t epoch,
		     const struct cfs_place roots[CFS_ROOT_PLACES_MAX],
		     struct cfs_rebuild_result *ret, struct cfs_err *err);
