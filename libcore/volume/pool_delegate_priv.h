/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What delegations are to the files of an open pool. */
#pragma once

#include "volume/pool_delegate.h"
#include "volume/pool_shared.h"

/* ---- pool_delegate.c: at the primary ------------------------------------- */

/* May this process open the container?  -EREMOTE: it is delegated. */
int cfs_pool_delegate_may_open(struct cfs_pool *pool, uint64_t id,
			       const char *name, struct cfs_err *err);
/* Is there a writer of it, from a delegation, that may still write? */
bool cfs_pool_delegate_has_fence(struct cfs_pool *pool, uint64_t id,
				 const struct cfs_container_rec *rec);
/* It was opened in place: what is known to be gone had its groups given back.*/
int cfs_pool_delegate_opened(struct cfs_pool *pool, uint64_t id,
			     struct cfs_err *err);
/* Has any delegation of it a record still, whose holder may write? */
bool cfs_pool_delegate_is_left(struct cfs_pool *pool, uint64_t id);
/* For the fence. */
bool cfs_pool_delegate_is_gone(struct cfs_pool *pool, uint32_t epoch);

/* ---- pool_delegated.c: at the secondary; pool->lender -------------------- */

int cfs_pool_delegated_more(struct cfs_pool *pool, struct cfs_container *c,
			    unsigned int count, struct cfs_err *err);
int cfs_pool_delegated_take_back(struct cfs_pool *pool, struct cfs_member *m,
				 uint64_t lslice, struct cfs_err *err);
bool cfs_pool_delegated_has_plenty(struct cfs_pool *pool);
uint64_t cfs_pool_delegated_spare(struct cfs_pool *pool);
/* -EBUSY, in words, at a secondary: only the primary does that. */
int cfs_pool_delegated_refuse(const struct cfs_pool *pool, struct cfs_err *err);
