/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Taking a device out of the tables. */
#include "volume/pool_move_priv.h"

#include "base/text.h"
#include "pool/metavolume_watch.h"
#include "tree/tree.h"

#include <inttypes.h>

struct census {
	uint32_t device;
	uint64_t used, frozen;
};

static int count_left(void *arg, uint32_t device, uint64_t slice,
		      const struct cfs_slice_rec *rec, struct cfs_err *err)
{
	struct census *c = arg;

	(void)slice;
	(void)err;
	if (device == c->device) {
		c->used += rec->use == CFS_SLICE_USE_OWNED;
		c->frozen += rec->use == CFS_SLICE_USE_FROZEN;
	}
	return 0;
}

#define FORGET_AT_ONCE 256u

/* Some of its records.  1: there may be more. */
static int forget_some(struct cfs_pool *pool, uint32_t device,
		       struct cfs_err *err)
{
	const struct cfs_key from = cfs_pool_slice_key(device, 0);
	unsigned int n = 0;
	int r = cfs_op_begin(pool->c0, CFS_OP_FREEING, err);

	if (r < 0)
		return r;
	for (; r == 0 && n < FORGET_AT_ONCE; n++) {
		struct cfs_cursor cur;

		r = cfs_cursor_ge(&cur,
				  cfs_container_tree(pool->c0, CFS_TREE_TABLE),
				  &from, err);
		if (r == -ENOENT || (r == 0 && cur.key.w[0] != from.w[0]))
			break;
		if (r == 0)
			r = cfs_container_del(pool->c0, &cur.key, err);
	}
	if (r < 0 && r != -ENOENT) {
		cfs_op_abort(pool->c0);
		return r;
	}
	cfs_op_end(pool->c0);
	r = cfs_container_sync(pool->c0, err);
	return r < 0 ? r : n == FORGET_AT_ONCE;
}

int cfs_pool_device_remove(struct cfs_pool *pool, uint32_t device,
			   bool is_forced, struct cfs_err *err)
{
	struct census left = { .device = device };
	struct cfs_device_rec rec;
	int r = cfs_pool_slices(pool, count_left, &left, err);

	if (r == 0)
		r = cfs_pool_device_rec(pool, device, &rec, err);
	if (r < 0)
		return r;
	if (left.used)
		return cfs_err_set(err, -EBUSY,
				   "%" PRIu64 " of its slices %s "
				   "in use: evacuate it first",
				   left.used,
				   cfs_plural(left.used, "is", "are"));
	if (left.frozen && !is_forced)
		return cfs_err_set(err, -EPERM,
				   "%" PRIu64 " of its slices %s "
				   "frozen, and whoever had them may still "
				   "write there: -f takes it out all the same",
				   left.frozen,
				   cfs_plural(left.frozen, "is", "are"));
	/* Its size stays: records of its slices are looked at by it until the
	 * last one is gone. */
	rec.state = CFS_DEVICE_REMOVED;
	r = cfs_pool_device_update(pool, device, &rec, err);
	do {
		if (r >= 0)
			r = forget_some(pool, device, err);
	} while (r > 0);
	return r < 0 ? r : cfs_pool_slices_reload(pool, err);
}

static void wait_for(struct cfs_metavolume *mv)
{
	cfs_metavolume_stop(mv);
	cfs_metavolume_go_on(mv);
}

void cfs_pool_wait_for_io(struct cfs_pool *pool)
{
	struct member_entry *e, *tmp;

	wait_for(pool->c0_mv);
	pthread_mutex_lock(&pool->lock);
	HASH_ITER(hh, pool->members, e, tmp)
		if (e->m.container)
			wait_for(cfs_container_metavolume(e->m.container));
	pthread_mutex_unlock(&pool->lock);
}
