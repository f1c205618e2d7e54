/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The containers of a pool: removing, and what was not finished. */
#include "volume/pool_containers_priv.h"
#include "volume/pool_delegate_priv.h"

#include "base/cleanup.h"
#include "pool/shared.h"
#include "tree/container_takeover.h"
#include "tree/lend.h"
#include "tree/tree.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

/* The next slice of a container's map, from *lslice on; -ENOENT: none is left.
 */
static int next_mapped(struct cfs_pool *pool, uint64_t id, uint64_t *lslice,
		       struct cfs_smap_rec *ret, struct cfs_err *err)
{
	struct cfs_key from = { { cfs_table_word(CFS_TABLE_SMAP, id), *lslice,
				  0 } };
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(
		&cur, cfs_container_tree(pool->c0, CFS_TREE_TABLE), &from, err);

	if (r < 0)
		return r;
	if (cur.key.w[0] != from.w[0])
		return -ENOENT;
	*lslice = cur.key.w[1];
	return cfs_smap_rec_unpack(cur.value, cur.value_bytes, ret, err);
}

static bool is_kept(const uint64_t *kept, size_t kept_count, uint64_t lslice)
{
	for (size_t i = 0; i < kept_count; i++)
		if (kept[i] == lslice)
			return true;
	return false;
}

/* One slice at a time, but for those on the list; the record of the container
 * goes last, when none is left. */
static int give_back(struct cfs_pool *pool, uint64_t id,
		     const struct cfs_container_rec *rec, const uint64_t *kept,
		     size_t kept_count, struct cfs_err *err)
{
	struct cfs_table_change gone = { .key = container_key(id) };
	struct cfs_smap_rec smap;
	uint64_t lslice = 0;
	int r;

	cfs_container_lock(pool->c0);
	for (; (r = next_mapped(pool, id, &lslice, &smap, err)) == 0;
	     lslice++) {
		if (is_kept(kept, kept_count, lslice))
			continue;
		r = cfs_container_ready(pool->c0, err);
		if (r == 0)
			r = cfs_pool_slice_return(pool, id, rec->uuid, lslice,
						  smap.pieces, err);
		if (r < 0)
			break;
	}
	if (r == -ENOENT)
		r = kept_count ? 0 : cfs_container_ready(pool->c0, err);
	if (r == 0 && !kept_count)
		r = cfs_container_put_now(pool->c0, &gone, 1, err);
	if (r == 0) {
		pool->container_count -= !kept_count;
		cfs_pool_slices_changed(pool);
	}
	cfs_container_unlock(pool->c0);
	return r;
}

int cfs_pool_give_back_all(struct cfs_pool *pool, uint64_t id,
			   const struct cfs_container_rec *rec,
			   struct cfs_err *err)
{
	return give_back(pool, id, rec, NULL, 0, err);
}

/* The first epoch whose holder may still write; ours if there is none. */
static uint32_t oldest_live(const struct cfs_pool *pool)
{
	const uint32_t n = pool->holder ? cfs_holder_live_count(pool->holder)
					: 0;
	uint32_t oldest = pool->epoch;

	for (uint32_t i = 0; i < n; i++) {
		struct cfs_place plan[CFS_ROOT_PLACES_MAX];
		uint32_t epoch;
		bool is_gone;

		cfs_holder_live_epoch(pool->holder, i, &epoch, &is_gone, plan);
		if (!is_gone)
			oldest = CFS_MIN(oldest, epoch);
	}
	return oldest;
}

/* Slices that a silent one may still write to stay the container's own until
 * that one is gone: see cfs_pool_finish_work. */
int cfs_pool_container_remove(struct cfs_pool *pool, struct cfs_member *m,
			      struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) uint64_t *kept = NULL;
	struct cfs_container_rec rec = m->rec;
	struct cfs_lent_counts lent;
	struct member_entry *e;
	uint64_t id = m->id;
	size_t kept_count;
	int r;

	/* Its slices would get another life under their hands. */
	cfs_container_lent_counts(m->container, &lent);
	if (lent.clients)
		return cfs_err_set(err, -EBUSY,
				   "%" PRIu64 " clients may still "
				   "write to it",
				   lent.clients);
	r = cfs_container_anothers_slices(m->container, &kept, &kept_count,
					  err);
	if (r < 0)
		return r;
	rec.state = CFS_OBJECT_DELETING;
	if (kept_count)
		rec.epoch = CFS_MIN(rec.epoch, oldest_live(pool));
	r = cfs_pool_container_update(pool, m, &rec, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&pool->lock);
	HASH_FIND(hh, pool->members, &id, sizeof(id), e);
	if (e)
		HASH_DEL(pool->members, e);
	pthread_mutex_unlock(&pool->lock);
	assert(e);
	cfs_pool_member_left(&e->m);
	/* Nothing of it needs to be written any more. */
	cfs_container_drop(e->m.container);
	cfs_vols_free(e->m.vols);
	free(e);
	return give_back(pool, id, &rec, kept, kept_count, err);
}

struct all_listed {
	const struct listed *list;
	size_t count;
};

static bool is_live(const void *arg, uint64_t id)
{
	const struct all_listed *all = arg;

	for (size_t i = 0; i < all->count; i++)
		if (all->list[i].id == id)
			return all->list[i].rec.state == CFS_OBJECT_LIVE;
	return false;
}

/* A clone becomes it, or did; if its container goes, so does what was copied
 * so far. */
static bool is_promoted(const struct all_listed *all,
			const struct cfs_container_rec *rec)
{
	return rec->source_container && (rec->state == CFS_OBJECT_LIVE ||
					 (rec->state == CFS_OBJECT_MAKING &&
					  is_live(all, rec->source_container)));
}

/* Its name is free, and nobody opens it. */
static int mark_deleting(struct cfs_pool *pool, uint64_t id,
			 struct cfs_container_rec *rec, struct cfs_err *err)
{
	const struct cfs_key key = container_key(id);
	struct cfs_container_rec_disk disk;
	int r = cfs_op_begin(pool->c0, CFS_OP_FREEING, err);

	if (r < 0)
		return r;
	rec->state = CFS_OBJECT_DELETING;
	cfs_container_rec_pack(rec, &disk);
	r = cfs_container_put(pool->c0, &key, &disk, sizeof(disk), err);
	if (r < 0) {
		cfs_op_abort(pool->c0);
		return r;
	}
	cfs_op_end(pool->c0);
	return cfs_container_sync(pool->c0, err);
}

/* Who made it, or had it, may be writing to its slices still: then they stay
 * its own until that one is gone. */
static int finish_one(struct cfs_pool *pool, uint64_t id,
		      struct cfs_container_rec *rec, struct cfs_err *err)
{
	const struct cfs_fence *f = &pool->fence;
	int r = cfs_pool_delegate_opened(pool, id, err);

	if (r < 0)
		return r;
	if (!cfs_pool_delegate_is_left(pool, id) &&
	    (rec->epoch >= pool->epoch || !f->is_gone ||
	     f->is_gone(f->ctx, rec->epoch, pool->epoch - 1)))
		return cfs_pool_give_back_all(pool, id, rec, err);
	return rec->state == CFS_OBJECT_DELETING
		       ? 0
		       : mark_deleting(pool, id, rec, err);
}

/*
 * Containers that were not finished, or whose removal broke off.  What is left
 * of a set of snapshots is undone when its containers are opened.
 */
int cfs_pool_finish_work(struct cfs_pool *pool, struct cfs_err *err)
{
	struct listed *list;
	size_t count;
	int r = cfs_pool_container_list(pool, &list, &count, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count && r == 0; i++) {
		const struct all_listed all = { list, count };

		if (is_promoted(&all, &list[i].rec))
			pool->promoted_count += list[i].rec.state ==
						CFS_OBJECT_LIVE;
		else if (list[i].rec.state != CFS_OBJECT_LIVE)
			r = finish_one(pool, list[i].id, &list[i].rec, err);
	}
	if (r == 0) {
		const struct all_listed all = { list, count };

		r = cfs_snapset_forget(pool, is_live, &all, err);
	}
	free(list);
	return r;
}
