/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "volume/pool_thaw.h"

#include "volume/pool_containers_priv.h"
#include "volume/pool_delegate_priv.h"

int cfs_pool_thaw(struct cfs_pool *pool, struct cfs_err *err)
{
	bool is_any = false;
	int r;

	if (!pool->holder)
		return 0;
	r = cfs_pool_shared_thaw(pool, err);
	if (r == 0)
		r = cfs_container_take_gone(pool->c0, &is_any, err);
	if (r != 0 || !is_any)
		return r;
	/* There is a limit to its slices, or there would be one to takeovers;
	 * and nobody has leases in it. */
	cfs_pool_leave_slices(pool, NULL);
	(void)cfs_pool_reclaim_own(pool, NULL);
	return 0;
}

int cfs_pool_thaw_container(struct cfs_pool *pool, uint64_t id,
			    struct cfs_err *err)
{
	struct cfs_err why = CFS_ERR_INIT;
	struct cfs_member *m;
	bool is_any = false;
	int r;

	if (!pool->holder)
		return 0;
	/* One that was not open yet has all of it behind this. */
	r = cfs_pool_member_by_id(pool, id, &m, &why);
	if (r == -EREMOTE || r == -ENOENT)
		return 0;
	if (r == 0)
		r = cfs_container_take_gone(m->container, &is_any, &why);
	if (r == 0 && is_any)
		r = cfs_pool_reclaim(pool, m, NULL, &why);
	if (r != 0 && err)
		*err = why;
	return r;
}

/* Its removal has come as far as it could. */
static bool is_due(struct cfs_pool *pool, uint64_t id,
		   const struct cfs_container_rec *rec)
{
	const struct cfs_fence *f = &pool->fence;

	return rec->state == CFS_OBJECT_DELETING && rec->epoch < pool->epoch &&
	       !cfs_pool_delegate_is_left(pool, id) &&
	       f->is_gone(f->ctx, rec->epoch, pool->epoch - 1);
}

static int give_back(void *arg, uint64_t id,
		     const struct cfs_container_rec *rec, struct cfs_err *err)
{
	struct cfs_pool *pool = arg;

	return is_due(pool, id, rec)
		       ? cfs_pool_give_back_all(pool, id, rec, err)
		       : 0;
}

int cfs_pool_thaw_removed(struct cfs_pool *pool, struct cfs_err *err)
{
	return pool->holder ? cfs_pool_containers(pool, give_back, pool, err)
			    : 0;
}
