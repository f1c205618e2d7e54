/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The slice table: what is free, and picking from it.  Container 0's lock is
 * held in all of it.
 */
#include "volume/pool_slices_priv.h"

#include "pool/metavolume.h"
#include "tree/tree.h"

#include <stdlib.h>

#define KEPT_PER_CONTAINER 4u
#define KEPT_MIN           8u
#define KEPT_LEAST         1u /* from deletions, too: for container 0 */

unsigned int cfs_pool_piece_count(const struct cfs_pool *pool)
{
	return pool->is_mirror ? 2 : 1;
}

int cfs_pool_flush_devices(struct cfs_pool *pool, struct cfs_err *err)
{
	for (uint32_t i = 0; i < cfs_devset_count(pool->set); i++) {
		struct cfs_dev *dev = cfs_devset_dev(pool->set, i);
		int r = dev ? cfs_dev_flush(dev, err) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

/* What cannot be read is not kept for. */
static uint64_t count_containers(struct cfs_pool *pool)
{
	const struct cfs_key from = { { cfs_table_word(CFS_TABLE_CONTAINER, 0),
					0, 0 } };
	struct cfs_cursor cur;
	uint64_t n = 0;
	int r = cfs_cursor_ge(&cur,
			      cfs_container_tree(pool->c0, CFS_TREE_TABLE),
			      &from, NULL);

	for (; r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_CONTAINER; n++)
		r = cfs_cursor_next(&cur, NULL);
	return n;
}

static bool is_reserved(const struct cfs_pool *pool, uint32_t device,
			uint64_t slice)
{
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		if (pool->reserved[i].flags & CFS_PIECE_USED &&
		    pool->reserved[i].device_index == device &&
		    pool->reserved[i].slice_index == slice)
			return true;
	return false;
}

/* They have no records yet, or those of before. */
static void count_reserved(struct cfs_pool *pool)
{
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		const struct cfs_piece *p = &pool->reserved[i];
		struct device_slices *d;

		if (!(p->flags & CFS_PIECE_USED) ||
		    p->device_index >= pool->device_count)
			continue;
		d = &pool->devices[p->device_index];
		if (p->slice_index >= d->virgin_from)
			d->virgin_from = p->slice_index + 1;
		else if (d->free_used > 0)
			d->free_used--;
	}
}

/* What the records say of each device's slices. */
int cfs_pool_slices_load(struct cfs_pool *pool, struct cfs_err *err)
{
	uint32_t count = cfs_devset_count(pool->set);
	struct device_slices *list = calloc(count, sizeof(*list));
	struct cfs_key from = cfs_pool_slice_key(0, 0);
	struct cfs_cursor cur;
	int r;

	if (!list)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < count; i++) {
		struct cfs_device_rec rec;

		list[i].slice_count = cfs_devset_slice_count(pool->set, i);
		if (pool->c0 &&
		    cfs_pool_device_rec_locked(pool, i, &rec, NULL) == 0) {
			list[i].slice_count = rec.slice_count;
			list[i].is_usable = rec.state == CFS_DEVICE_OK;
			list[i].is_removed = rec.state == CFS_DEVICE_REMOVED;
		} else {
			list[i].is_usable = true;
		}
		if (!cfs_devset_dev(pool->set, i))
			list[i].is_usable = false;
	}
	free(pool->devices);
	pool->devices = list;
	pool->device_count = count;
	if (!pool->c0)
		return 0;
	pool->container_count = count_containers(pool);
	r = cfs_cursor_ge(&cur, cfs_container_tree(pool->c0, CFS_TREE_TABLE),
			  &from, err);
	while (r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_SLICE) {
		uint64_t d = cur.key.w[0] & UINT32_MAX;
		struct cfs_slice_rec rec;

		r = cfs_slice_rec_unpack(cur.value, cur.value_bytes, &rec, err);
		if (r == 0 &&
		    (d >= count || cur.key.w[1] >= list[d].slice_count))
			r = cfs_err_set(err, -EUCLEAN,
					"slice table: a slice outside the "
					"devices");
		if (r < 0)
			return r;
		list[d].virgin_from = CFS_MAX(list[d].virgin_from,
					      cur.key.w[1] + 1);
		if (rec.use == CFS_SLICE_USE_FREE)
			list[d].free_used++;
		r = cfs_cursor_next(&cur, err);
	}
	count_reserved(pool);
	cfs_pool_slices_changed(pool);
	return r == -ENOENT ? 0 : r;
}

int cfs_pool_slices_reload(struct cfs_pool *pool, struct cfs_err *err)
{
	int r;

	cfs_container_lock(pool->c0);
	r = cfs_pool_slices_load(pool, err);
	cfs_container_unlock(pool->c0);
	return r;
}

static uint64_t device_free(const struct device_slices *d)
{
	if (!d->is_usable)
		return 0;
	return d->slice_count - d->virgin_from + d->free_used;
}

uint64_t cfs_pool_slices_free(const struct cfs_pool *pool)
{
	uint64_t all = 0, most = 0;

	for (uint32_t i = 0; i < pool->device_count; i++) {
		const uint64_t n = device_free(&pool->devices[i]);

		all += n;
		most = CFS_MAX(most, n);
	}
	/* Each of a mirror's pieces is on a device of its own. */
	if (pool->is_mirror && cfs_pool_devices_usable(pool) > 1)
		all = CFS_MIN(all / 2, all - most);
	return all;
}

/*
 * Each takeover needs a slice for each container that is opened then, and two
 * for container 0; and what those before it had comes back three takeovers
 * later, when even who may have set the last gravestone is known to be gone.
 * A pool with more containers than that has room for keeps less for each.
 */
uint64_t cfs_pool_slices_kept(const struct cfs_pool *pool)
{
	uint64_t total = 0;

	if (!pool->is_shared || pool->lender)
		return 0;
	for (uint32_t i = 0; i < pool->device_count; i++)
		total += pool->devices[i].slice_count;
	total /= cfs_pool_piece_count(pool);
	return CFS_MIN(KEPT_PER_CONTAINER * (1 + pool->container_count),
		       CFS_MAX(total / 8, KEPT_MIN));
}

uint64_t cfs_pool_slices_lack(const struct cfs_pool *pool)
{
	const uint64_t has = cfs_pool_slices_free(pool);
	const uint64_t kept = cfs_pool_slices_kept(pool);

	return has < kept ? kept - has : 0;
}

/* A quarter of the slices that each container can count on: the rest is for
 * its log, its nodes, and whoever takes over next. */
static uint64_t copy_slices_x4(const struct cfs_pool *pool)
{
	const uint64_t each = cfs_pool_slices_free(pool) /
			      (2 * CFS_MAX(pool->container_count, 1));

	return CFS_MAX(each, 2);
}

/* For those who ask without a lock. */
void cfs_pool_slices_changed(struct cfs_pool *pool)
{
	__atomic_store_n(&pool->copy_slices_x4, copy_slices_x4(pool),
			 __ATOMIC_RELAXED);
	__atomic_store_n(&pool->slices_lack, cfs_pool_slices_lack(pool),
			 __ATOMIC_RELAXED);
}

/* A free slice of a device, used once before: the next behind the cursor whose
 * last life was before @below. */
static int find_free_used(struct cfs_pool *pool, uint32_t device,
			  uint32_t below, uint64_t *ret_slice,
			  uint32_t *ret_generation, struct cfs_err *err)
{
	struct device_slices *d = &pool->devices[device];

	for (unsigned int lap = 0; lap < 2; lap++) {
		struct cfs_key from = cfs_pool_slice_key(device,
							 lap ? 0 : d->cursor);
		struct cfs_cursor cur;
		int r = cfs_cursor_ge(
			&cur, cfs_container_tree(pool->c0, CFS_TREE_TABLE),
			&from, err);

		while (r == 0 && cur.key.w[0] == from.w[0]) {
			struct cfs_slice_rec rec;

			r = cfs_slice_rec_unpack(cur.value, cur.value_bytes,
						 &rec, err);
			if (r < 0)
				return r;
			if (rec.use == CFS_SLICE_USE_FREE &&
			    rec.generation < below &&
			    !is_reserved(pool, device, cur.key.w[1])) {
				*ret_slice = cur.key.w[1];
				*ret_generation = rec.generation;
				d->cursor = cur.key.w[1] + 1;
				return 0;
			}
			r = cfs_cursor_next(&cur, err);
		}
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return cfs_err_set(err, -ENOSPC, "no free slice");
}

/* One slice of @device, whose last life was before @below; it counts as taken
 * from now on. */
static int take_from(struct cfs_pool *pool, uint32_t device, uint32_t below,
		     struct cfs_piece *ret, struct cfs_err *err)
{
	struct device_slices *d = &pool->devices[device];
	uint64_t slice = d->virgin_from;
	uint32_t generation = 0;

	if (d->virgin_from < d->slice_count) {
		d->virgin_from++;
	} else {
		int r = find_free_used(pool, device, below, &slice, &generation,
				       err);

		if (r < 0)
			return r;
		d->free_used--;
	}
	*ret = (struct cfs_piece){
		.device_index = (uint16_t)device,
		.flags = CFS_PIECE_USED,
		.slice_index = (uint32_t)slice,
		.generation = generation + 1,
	};
	return 0;
}

/* The device with the most free slices that none of the pieces is on. */
static uint32_t best_device(const struct cfs_pool *pool,
			    const struct cfs_piece *pieces, unsigned int count)
{
	uint32_t best = UINT32_MAX;
	uint64_t most = 0;

	for (uint32_t i = 0; i < pool->device_count; i++) {
		bool is_taken = false;

		for (unsigned int p = 0; p < count; p++)
			is_taken |= pieces[p].device_index == i;
		if (!is_taken && device_free(&pool->devices[i]) > most) {
			most = device_free(&pool->devices[i]);
			best = i;
		}
	}
	return best;
}

int cfs_pool_slice_may_pick(const struct cfs_pool *pool, bool for_freeing,
			    struct cfs_err *err)
{
	const uint64_t kept = cfs_pool_slices_kept(pool);

	if (cfs_pool_slices_free(pool) >
		    (for_freeing ? CFS_MIN(kept, KEPT_LEAST) : kept) ||
	    kept == 0)
		return 0;
	return cfs_err_set(err, -ENOSPC,
			   "no free slice in the pool, but those "
			   "kept for takeovers");
}

int cfs_pool_slice_pick(struct cfs_pool *pool, struct cfs_piece *pieces,
			struct cfs_err *err)
{
	unsigned int want = cfs_pool_piece_count(pool), got = 0;

	memset(pieces, 0, CFS_PIECES_MAX * sizeof(*pieces));
	while (got < want) {
		uint32_t device = best_device(pool, pieces, got);
		int r;

		if (device == UINT32_MAX)
			break;
		r = take_from(pool, device, UINT32_MAX, &pieces[got], err);
		if (r < 0)
			return r;
		got++;
	}
	/* A mirror that lost a device goes on with one piece. */
	if (got == 0 ||
	    (got < want && pool->device_count == cfs_pool_devices_usable(pool)))
		return cfs_err_set(err, -ENOSPC, "no free slice in the pool");
	cfs_pool_slices_changed(pool);
	return 0;
}

/* The usable device with the most free slices that is not marked. */
static uint32_t best_unmarked(const struct cfs_pool *pool, const bool *marks)
{
	uint32_t best = UINT32_MAX;
	uint64_t most = 0;

	for (uint32_t i = 0; i < pool->device_count; i++) {
		if (!marks[i] && device_free(&pool->devices[i]) > most) {
			most = device_free(&pool->devices[i]);
			best = i;
		}
	}
	return best;
}

int cfs_pool_piece_pick(struct cfs_pool *pool,
			const struct cfs_piece apart[CFS_PIECES_MAX],
			uint32_t exact, uint32_t floor, struct cfs_piece *ret,
			struct cfs_err *err)
{
	bool *marks = calloc(pool->device_count, sizeof(*marks));
	int r = -ENOSPC;

	if (!marks)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		if (apart[i].flags & CFS_PIECE_USED &&
		    apart[i].device_index < pool->device_count)
			marks[apart[i].device_index] = true;
	while (r == -ENOSPC) {
		const uint32_t device = best_unmarked(pool, marks);

		if (device == UINT32_MAX) {
			cfs_err_set(err, r, "no free slice on another device");
			break;
		}
		r = take_from(pool, device, exact ? exact : UINT32_MAX, ret,
			      err);
		marks[device] = true;
	}
	free(marks);
	if (r == 0)
		ret->generation = exact ? exact
					: CFS_MAX(ret->generation, floor + 1);
	cfs_pool_slices_changed(pool);
	return r;
}

uint64_t cfs_pool_device_free(const struct cfs_pool *pool, uint32_t device)
{
	return device < pool->device_count ? device_free(&pool->devices[device])
					   : 0;
}

uint32_t cfs_pool_devices_usable(const struct cfs_pool *pool)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < pool->device_count; i++)
		n += pool->devices[i].is_usable;
	return n;
}
