/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gravestones of containers on shared pools: two pages beside the root, one in
 * each of its first two places, that the container's writer only ever reads.
 * A successor sets both to "dead" with the id of the log, flushes, and only
 * then reads the log; the writer reads them behind the flush of a frame or root
 * and before it acts on that.  One of the two sees the other, without clocks.
 *
 * All that anybody ever writes there about one log are the same bytes.
 */
#pragma once

#include "tree/container_priv.h"

/* Set aside the block behind the root pages at @root_vaddr of a container, or
 * epoch, that begins; written as "nobody is dead". */
int cfs_grave_take(struct cfs_container *c, uint64_t root_vaddr,
		   uint64_t *ret_vaddr, struct cfs_err *err);

/*
 * The writer of @root's log, the holder of @epoch, is dead; durable.
 * -ENOTSUP: the container has no gravestone; -EIO: a copy is out of our reach
 * that may be in its.
 */
int cfs_grave_set(struct cfs_container *c, const struct cfs_root *root,
		  uint32_t epoch, struct cfs_err *err);

/*
 * Are we dead?  0: no, or not on a shared pool; -ESTALE: yes, and the container
 * is closed for writing; -EIO: it can't be known.  @log_id: besides the present
 * one; 0: none.
 */
int cfs_grave_look(struct cfs_container *c, uint64_t log_id,
		   struct cfs_err *err);
/* The root is another one: for who looks without the lock.  With it. */
void cfs_grave_note(struct cfs_container *c);
/*
 * As cfs_grave_look, without the lock of the container, which is held for as
 * long as somebody there waits for space.  By others than who changes it: one
 * that is dead is closed for writing here only if nobody works in it; who does
 * looks himself.
 */
int cfs_grave_look_beside(struct cfs_container *c, struct cfs_err *err);
/* Does any copy of a gravestone, @vaddr each of its pages, name one of the
 * logs? 0: none.  -EIO: no copy can be read. */
int cfs_grave_is_set(struct cfs_container *c, const uint64_t vaddr[2],
		     uint64_t log_id, uint64_t or_log_id, bool *ret_is_set,
		     struct cfs_err *err);
/* Before a sync is acknowledged: nothing, as long as our period runs. */
int cfs_grave_may_ack(struct cfs_container *c, struct cfs_err *err);
