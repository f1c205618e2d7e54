/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bringing a container to rest, for another owner: what its next writer needs
 * there, and its last one does not.
 */
#pragma once

#include "tree/container.h"

/*
 * Gravestones, where the container has none: that of the log of who owns it
 * next.  Durable with the next commit.  Lock not held.
 */
int cfs_container_make_graves(struct cfs_container *c, struct cfs_err *err);
/* Free blocks that are not set aside for anything; for how many slices more it
 * is to get. */
uint64_t cfs_container_free_blocks(struct cfs_container *c);
/* Is our log dead?  0: no; -ESTALE: yes; -EIO.  One read, beside whoever has
 * the lock; if that is nobody, the container is closed for writing. */
int cfs_container_look(struct cfs_container *c, struct cfs_err *err);
