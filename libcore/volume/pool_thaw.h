/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A shared pool in service, when a host before us turns out to be gone
 * (pool/shared.h, cfs_holder_host_gone): what that host kept comes back, as it
 * would at the next opening.  Other than there, nothing of a container but its
 * nodes is moved, as its clients may have leases.
 *
 * Each call ends durably, and each does what is left of it when it is called
 * again; so does the next opening, whoever does that: it learns from the seats
 * that the host is gone.
 *
 * Our epoch is never meant: what it has frozen is being lent or returned.
 */
#pragma once

#include "volume/pool.h"

/* The slice table and container 0. */
int cfs_pool_thaw(struct cfs_pool *pool, struct cfs_err *err);
/*
 * One more container, which is opened for it.  What others have, as it is
 * delegated, comes back when it is home.  Its object stays meanwhile: the
 * caller sees to that.
 */
int cfs_pool_thaw_container(struct cfs_pool *pool, uint64_t id,
			    struct cfs_err *err);
/*
 * Containers that are removed, all but for the slices that the host might have
 * written to.  Nobody makes or removes any meanwhile.
 */
int cfs_pool_thaw_removed(struct cfs_pool *pool, struct cfs_err *err);
