/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A container in client mode with its volumes (tree/container_client.h), as the
 * functions on volumes, data and trees want it.
 */
#pragma once

#include "tree/container_client.h"
#include "volume/pool.h"

/*
 * Open what @view shows.  @set: the devices, which outlive it; @client and
 * @view are read only.  The member has no pool, and no record but the id and
 * the UUID: its name is known to whoever asked the owner for the view.
 */
int cfs_client_member_open(struct cfs_devset *set,
			   const struct cfs_client_config *client,
			   const struct cfs_client_view *view,
			   uint64_t cache_bytes, struct cfs_member **ret,
			   struct cfs_err *err);
/* Fold what there is, give all groups back, and free.  NULL is allowed. */
int cfs_client_member_close(struct cfs_member *m, struct cfs_err *err);
/* Free without writing anything. */
void cfs_client_member_drop(struct cfs_member *m);
