/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How many slices there are of each kind.  A slice in which groups are frozen
 * counts as frozen: nothing in them is handed out until their writer is gone.
 * That is known of the containers that are open.
 */
#include "volume/pool_slices_priv.h"

#include "base/cleanup.h"
#include "base/vec.h"
#include "tree/lend.h"

#include <stdlib.h>
#include <string.h>

struct frozen_slice {
	uint64_t container_id, lslice;
};

struct count_state {
	uint32_t device;
	struct cfs_slice_counts *counts;
	CFS_VEC(struct frozen_slice) frozen;
};

static bool is_frozen(const struct count_state *st,
		      const struct cfs_slice_rec *rec)
{
	for (size_t i = 0; i < st->frozen.count; i++)
		if (st->frozen.items[i].container_id == rec->container_id &&
		    st->frozen.items[i].lslice == rec->lslice)
			return true;
	return false;
}

static int count_slice(void *arg, uint32_t device, uint64_t slice,
		       const struct cfs_slice_rec *rec, struct cfs_err *err)
{
	struct count_state *st = arg;

	(void)slice;
	(void)err;
	if (st->device != UINT32_MAX && st->device != device)
		return 0;
	if (rec->use == CFS_SLICE_USE_OWNED && is_frozen(st, rec))
		st->counts->frozen++;
	else if (rec->use == CFS_SLICE_USE_OWNED)
		st->counts->used++;
	else if (rec->use == CFS_SLICE_USE_FROZEN)
		st->counts->frozen++;
	else if (rec->use == CFS_SLICE_USE_BAD)
		st->counts->bad++;
	return 0;
}

static int find_frozen_of(const struct cfs_member *m, struct count_state *st,
			  struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) uint64_t *list = NULL;
	size_t count = 0;
	int r = cfs_container_frozen_slices(m->container, &list, &count, err);

	for (size_t i = 0; i < count && r == 0; i++)
		if (cfs_vec_push(&st->frozen,
				 (struct frozen_slice){ m->id, list[i] }) < 0)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
	return r;
}

/*
 * Container 0's lock is taken last: these are asked before.  Without that of
 * the list of them: who has a container's and needs space looks others up.
 */
static int find_frozen(struct cfs_pool *pool, struct count_state *st,
		       struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) struct cfs_member **list = NULL;
	struct member_entry *m, *tmp;
	size_t count = 0;
	int r = 0;

	pthread_mutex_lock(&pool->lock);
	list = calloc(HASH_COUNT(pool->members) + 1,
		      sizeof(struct cfs_member *));
	HASH_ITER(hh, pool->members, m, tmp)
		if (list)
			list[count++] = &m->m;
	pthread_mutex_unlock(&pool->lock);
	if (!list)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count && r == 0; i++)
		r = find_frozen_of(list[i], st, err);
	return r;
}

/*
 * Of one device what is not in use is free; of the pool that is only what can
 * be had: not on devices that are missing or being evacuated.
 */
static void count_free(const struct cfs_pool *pool, uint32_t device_index,
		       struct cfs_slice_counts *ret)
{
	const uint64_t taken = ret->used + ret->frozen + ret->bad;

	if (device_index == UINT32_MAX) {
		for (uint32_t i = 0; i < pool->device_count; i++)
			ret->free += cfs_pool_device_free(pool, i);
		ret->total = taken + ret->free;
		ret->usable = cfs_pool_slices_free(pool);
		return;
	}
	if (device_index < pool->device_count &&
	    !pool->devices[device_index].is_removed)
		ret->total = pool->devices[device_index].slice_count;
	ret->free = ret->total > taken ? ret->total - taken : 0;
	ret->usable = cfs_pool_device_free(pool, device_index);
}

int cfs_pool_slice_counts(struct cfs_pool *pool, uint32_t device_index,
			  struct cfs_slice_counts *ret, struct cfs_err *err)
{
	struct count_state st = { .device = device_index, .counts = ret };
	int r;

	memset(ret, 0, sizeof(*ret));
	r = find_frozen(pool, &st, err);
	if (r == 0 && cfs_pool_slices(pool, count_slice, &st, err) < 0)
		r = -EUCLEAN;
	cfs_vec_done(&st.frozen);
	cfs_container_lock(pool->c0);
	count_free(pool, device_index, ret);
	ret->kept = CFS_MIN(cfs_pool_slices_kept(pool) *
				    cfs_pool_piece_count(pool),
			    ret->free);
	cfs_container_unlock(pool->c0);
	return r;
}
