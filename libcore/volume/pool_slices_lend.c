/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The slice table: lending to containers. */
#include "volume/pool_delegate_priv.h"
#include "volume/pool_slices_priv.h"

#include "ondisk/slice_header.h"
#include "pool/metavolume.h"
#include "tree/tree.h"

#include <stdlib.h>

/* The lowest logical slice that is a hole. */
uint64_t cfs_pool_free_lslice(const struct cfs_metavolume *mv, uint64_t from)
{
	struct cfs_piece pieces[CFS_PIECES_MAX];

	while (cfs_metavolume_get(mv, from, pieces))
		from++;
	return from;
}

#define LEND_AT_ONCE 64u

struct lending {
	uint64_t lslice;
	struct cfs_piece pieces[CFS_PIECES_MAX];
	struct slice_change sc;
};

/* The host's space for a slice; a full host file system shows itself here, and
 * not when a commit is under way. */
static int allocate(struct cfs_pool *pool, const struct cfs_piece *pieces,
		    struct cfs_err *err)
{
	const struct cfs_label *label = cfs_devset_label(pool->set, 0);

	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		const struct cfs_piece *p = &pieces[i];
		struct cfs_dev *dev = cfs_devset_dev(pool->set,
						     p->device_index);
		int r;

		if (!(p->flags & CFS_PIECE_USED) || !dev)
			continue;
		r = cfs_dev_allocate(dev,
				     label->slices_offset_bytes +
					     p->slice_index *
						     label->slice_bytes,
				     label->slice_bytes, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A slice that was picked and is not lent after all. */
static void put_back(struct cfs_pool *pool, const struct cfs_piece *pieces)
{
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		const struct cfs_piece *p = &pieces[i];
		struct device_slices *d = &pool->devices[p->device_index];

		if (!(p->flags & CFS_PIECE_USED))
			continue;
		/* The last virgin one is virgin again; others have records. */
		if (p->generation == 1 && d->virgin_from == p->slice_index + 1)
			d->virgin_from--;
		else if (p->generation > 1)
			d->free_used++;
	}
}

int cfs_pool_slice_lend(struct cfs_pool *pool, uint64_t id,
			const uint8_t uuid[16], struct cfs_metavolume *mv,
			uint64_t lslice, struct cfs_err *err)
{
	struct cfs_piece pieces[CFS_PIECES_MAX];
	int r = cfs_container_ready(pool->c0, err);

	if (r == 0)
		r = cfs_pool_slice_pick(pool, pieces, err);
	if (r == 0)
		r = cfs_pool_slice_freeze(pool, id, lslice, pieces, true, err);
	if (r == 0)
		r = cfs_pool_slice_headers(pool, id, uuid, lslice, pieces,
					   CFS_SLICE_OWNED, err);
	if (r == 0)
		r = cfs_pool_flush_devices(pool, err);
	if (r == 0)
		r = cfs_pool_slice_record(pool, id, lslice, pieces, true, err);
	return r < 0 ? r : cfs_metavolume_set(mv, lslice, pieces, err);
}

/* Pick slices; fewer than @count if there are no more. */
static int pick_some(struct cfs_pool *pool, struct cfs_container *c,
		     unsigned int count, struct lending *list,
		     unsigned int *ret_count, struct cfs_err *err)
{
	const struct cfs_metavolume *mv = cfs_container_metavolume(c);
	/* Container 0 must be able to say what has changed. */
	const bool may_all = c == pool->c0 || cfs_container_is_taking(c);
	uint64_t lslice = 0;
	unsigned int n = 0;
	int r = 0;

	for (; n < count; n++, lslice++) {
		lslice = cfs_pool_free_lslice(mv, lslice);
		if (lslice > CFS_LSLICE_MAX) {
			r = cfs_err_set(err, -ENOSPC, "the container is full");
			break;
		}
		list[n].lslice = lslice;
		r = may_all ? 0
			    : cfs_pool_slice_may_pick(
				      pool, cfs_container_is_freeing(c), err);
		if (r == 0)
			r = cfs_pool_slice_pick(pool, list[n].pieces, err);
		if (r < 0)
			break;
		r = allocate(pool, list[n].pieces, err);
		if (r < 0) {
			put_back(pool, list[n].pieces);
			break;
		}
	}
	*ret_count = n;
	return r == -ENOSPC && n > 0 ? 0 : r;
}

/* Their headers; on a shared pool behind a record that they are ours. */
static int head_some(struct cfs_pool *pool, const struct cfs_container *c,
		     const struct lending *list, unsigned int count,
		     struct slice_change *sc, struct cfs_table_change *changes,
		     struct cfs_err *err)
{
	size_t n = 0;
	int r = 0;

	for (unsigned int i = 0; pool->is_shared && i < count; i++)
		n += cfs_pool_freeze_changes(pool, list[i].pieces, &sc[i],
					     changes + n);
	if (n > 0)
		r = cfs_container_put_now(pool->c0, changes, n, err);
	for (unsigned int i = 0; r == 0 && i < count; i++)
		r = cfs_pool_slice_headers(
			pool, cfs_container_id(c), cfs_container_uuid(c),
			list[i].lslice, list[i].pieces, CFS_SLICE_OWNED, err);
	return r < 0 ? r : cfs_pool_flush_devices(pool, err);
}

/* Several slices, in two flushes: one behind the headers, one for the frame. */
static int lend_batch(struct cfs_pool *pool, struct cfs_container *c,
		      unsigned int count, unsigned int *ret_count,
		      struct cfs_err *err)
{
	struct cfs_metavolume *mv = cfs_container_metavolume(c);
	struct lending *list = calloc(count, sizeof(*list));
	struct cfs_table_change *changes = calloc(
		(size_t)count * (CFS_PIECES_MAX + 1), sizeof(*changes));
	struct slice_change *sc = calloc(count, sizeof(*sc));
	unsigned int n = 0;
	size_t change_count = 0;
	int r = -ENOMEM;

	if (!list || !changes || !sc)
		cfs_err_set(err, r, "out of memory");
	else
		r = pick_some(pool, c, count, list, &n, err);
	if (r == 0)
		r = head_some(pool, c, list, n, sc, changes, err);
	for (unsigned int i = 0; i < n && r == 0; i++)
		change_count += cfs_pool_slice_changes(
			pool, cfs_container_id(c), list[i].lslice,
			list[i].pieces, true, &list[i].sc,
			changes + change_count);
	if (r == 0)
		r = cfs_container_put_now(pool->c0, changes, change_count, err);
	for (unsigned int i = 0; i < n && r == 0; i++) {
		/* The hook of container 0 has mapped its own. */
		if (c != pool->c0)
			r = cfs_metavolume_set(mv, list[i].lslice,
					       list[i].pieces, err);
		if (r == 0)
			cfs_container_slice_added(c, list[i].lslice);
	}
	free(list);
	free(changes);
	free(sc);
	if (r == 0)
		*ret_count = n;
	return r;
}

static int lend_some(struct cfs_pool *pool, struct cfs_container *c,
		     unsigned int count, unsigned int *got, struct cfs_err *err)
{
	const bool is_own = c == pool->c0;
	int r = 0;

	/* Container 0 grows for itself with its lock held. */
	if (!is_own)
		cfs_container_lock(pool->c0);
	while (*got < count && r == 0) {
		unsigned int n = 0;

		if (!is_own)
			r = cfs_container_ready(pool->c0, err);
		if (r == 0)
			r = lend_batch(pool, c,
				       CFS_MIN(count - *got, LEND_AT_ONCE), &n,
				       err);
		*got += n;
	}
	if (!is_own)
		cfs_container_unlock(pool->c0);
	return r;
}

struct others {
	struct cfs_pool *pool;
	struct cfs_container *but;
	uint64_t slices;
};

static int reclaim_other(void *arg, uint64_t id,
			 const struct cfs_container_rec *rec,
			 struct cfs_err *err)
{
	struct others *o = arg;
	struct cfs_member *m;
	uint64_t slices = 0;

	(void)err;
	if (id == cfs_container_id(o->but) || rec->state != CFS_OBJECT_LIVE)
		return 0;
	/* One that cannot be opened has nothing; one that is at work, perhaps
	 * in this very thread, is left alone. */
	if (cfs_pool_member_by_id(o->pool, id, &m, NULL) == 0 &&
	    cfs_container_is_idle(m->container))
		(void)cfs_pool_reclaim(o->pool, m, &slices, NULL);
	o->slices += slices;
	return 0;
}

/*
 * The pool has no free slice: what deletions emptied in other containers comes
 * back now.  We hold one container's lock and take others': that cannot go in
 * a circle, since only one thread at a time does it, and nobody else who holds
 * a container waits for another one.
 */
static bool reclaim_others(struct cfs_pool *pool, struct cfs_container *c)
{
	struct others o = { pool, c, 0 };

	if (pthread_mutex_trylock(&pool->reclaim_lock) != 0)
		return false;
	(void)cfs_pool_containers(pool, reclaim_other, &o, NULL);
	pthread_mutex_unlock(&pool->reclaim_lock);
	return o.slices > 0;
}

static int source_more(void *ctx, struct cfs_container *c, unsigned int count,
		       struct cfs_err *err)
{
	struct cfs_pool *pool = ctx;
	unsigned int got = 0;
	int r;

	if (pool->lender)
		return cfs_pool_delegated_more(pool, c, count, err);
	r = lend_some(pool, c, count, &got, err);
	/* Who opens a container holds what opening another one takes. */
	if (r == -ENOSPC && got == 0 && c != pool->c0 &&
	    !cfs_container_is_opening(c) && reclaim_others(pool, c))
		r = lend_some(pool, c, count, &got, err);
	return got > 0 && r == -ENOSPC ? 0 : r;
}

/* Asked by containers with their own lock held: a moment's answer will do. */
static bool source_has_plenty(void *ctx)
{
	struct cfs_pool *pool = ctx;
	uint64_t total = 0;
	bool has;

	if (pool->lender)
		return cfs_pool_delegated_has_plenty(pool);
	cfs_container_lock(pool->c0);
	for (uint32_t i = 0; i < pool->device_count; i++)
		total += pool->devices[i].slice_count;
	total /= cfs_pool_piece_count(pool);
	has = cfs_pool_slices_free(pool) >=
	      total / 4 + cfs_pool_slices_kept(pool);
	cfs_container_unlock(pool->c0);
	return has;
}

static uint64_t slices_to_blocks(const struct cfs_pool *pool, uint64_t slices)
{
	return slices *
	       (cfs_devset_label(pool->set, 0)->slice_bytes / CFS_BLOCK_BYTES);
}

static uint64_t source_spare_blocks(void *ctx)
{
	struct cfs_pool *pool = ctx;
	uint64_t left, kept;

	if (pool->lender)
		return cfs_pool_delegated_spare(pool);
	cfs_container_lock(pool->c0);
	left = cfs_pool_slices_free(pool);
	kept = cfs_pool_slices_kept(pool);
	cfs_container_unlock(pool->c0);
	return slices_to_blocks(pool, left > kept ? left - kept : 0);
}

static uint64_t source_lack_blocks(void *ctx)
{
	const struct cfs_pool *pool = ctx;

	return slices_to_blocks(
		pool, __atomic_load_n(&pool->slices_lack, __ATOMIC_RELAXED));
}

static uint64_t source_copy_blocks(void *ctx)
{
	struct cfs_pool *pool = ctx;

	if (pool->lender)
		return CFS_MAX(cfs_pool_delegated_spare(pool) / 8,
			       slices_to_blocks(pool, 1) / 2);
	return slices_to_blocks(pool, __atomic_load_n(&pool->copy_slices_x4,
						      __ATOMIC_RELAXED)) /
	       4;
}

const struct cfs_slice_source cfs_pool_source = {
	.more = source_more,
	.has_plenty = source_has_plenty,
	.spare_blocks = source_spare_blocks,
	.lack_blocks = source_lack_blocks,
	.copy_blocks = source_copy_blocks,
};
