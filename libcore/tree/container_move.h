/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A container of which a slice gets another place (volume/pool_move.h), while
 * clients may have groups of it on loan.  Locked, all of it.
 */
#pragma once

#include "tree/container.h"

/*
 * Does nobody else write to the slice now?  That is so if each client that may
 * write at all holds (lend.h), and none of those that were sealed, and are not
 * known to be gone, had anything of it.  It stays so while the container is
 * frozen.  -EBUSY.
 */
int cfs_container_may_move(struct cfs_container *c, uint64_t lslice,
			   struct cfs_err *err);
/* What clients have of the slice is noted as written (metavolume_watch.h); what
 * is lent or comes back during a watch is by itself. */
void cfs_container_touch_lent(struct cfs_container *c, uint64_t lslice);
/* The map has it elsewhere: clients learn of it with their next view. */
void cfs_container_slice_moved(struct cfs_container *c, uint64_t lslice);
/* cfs_container_commit, for whoever has the lock. */
int cfs_container_commit_held(struct cfs_container *c, struct cfs_err *err);
