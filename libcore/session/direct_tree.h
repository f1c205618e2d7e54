/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Trees of direct access: which of the leases of a connection are of which
 * tree.
 *
 * Locks: the leaser's, then ours, then those of a table of locks.
 */
#pragma once

#include "session/direct_priv.h"

struct direct_tree;

/* For a volume whose container and view are there; sets v->tree and v->v.fs. */
int direct_tree_open(struct direct_volume *v, struct cfs_err *err);
/* What was done is everybody's, and the leases have gone.  NULL: nothing. */
void direct_tree_close(struct direct_tree *t);

/* For the leaser's hooks; false: not of a tree. */
bool direct_tree_recall(struct cfs_direct *d, struct cfs_held *held,
			uint64_t grant_id,
			const struct cfs_lock_resource *resource,
			uint32_t mode);
/* @held NULL: all are lost. */
bool direct_tree_lost(struct cfs_direct *d, struct cfs_held *held);
/* Is all held still under which something of the container was written? */
bool direct_trees_hold(struct direct_container *dc);
