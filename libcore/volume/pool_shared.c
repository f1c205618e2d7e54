/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Taking over a shared pool, and its containers, one by one. */
#include "volume/pool_delegate_priv.h"

#include "ondisk/slice_header.h"
#include "pool/metavolume.h"
#include "tree/tree.h"

#include <inttypes.h>
#include <stdlib.h>

#define SLICES_WANTED   2u /* for root and log of a new epoch */
/* That many of its own, while nobody before us is known to be gone. */
#define SMAP_SILENT_MAX (CFS_ROOT_SMAP_MAX - 2 * SLICES_WANTED)
#define MARGIN          2u /* blocks: placing nodes dirties some more */

/* ---- the fence ----------------------------------------------------------- */

static bool is_gone(void *ctx, uint32_t first, uint32_t last)
{
	struct cfs_pool *pool = ctx;

	if (cfs_epoch_is_delegated(first))
		return cfs_pool_delegate_is_gone(pool, first);
	/* On a pool of one host nobody is the primary but us. */
	return !pool->holder || cfs_holder_are_gone(pool->holder, first, last);
}

static bool may_ack(void *ctx)
{
	struct cfs_pool *pool = ctx;

	return !pool->holder || cfs_holder_may_ack(pool->holder);
}

static bool may_reach(void *ctx, uint32_t epoch, uint32_t device_index)
{
	struct cfs_pool *pool = ctx;

	if (pool->holder && cfs_holder_found_absent(pool->holder, device_index))
		return false;
	return !is_gone(ctx, epoch, epoch);
}

void cfs_pool_shared_init(struct cfs_pool *pool, struct cfs_holder *holder)
{
	if (cfs_devset_is_overlay(pool->set))
		return;
	if (holder && cfs_holder_is_shared(holder))
		pool->holder = holder;
	/* On a pool of one host only for what was delegated. */
	pool->fence = (struct cfs_fence){
		.is_gone = is_gone,
		.may_ack = may_ack,
		.may_reach = may_reach,
		.ctx = pool,
	};
}

/* ---- container 0 --------------------------------------------------------- */

static struct cfs_key slice_key(uint32_t device, uint64_t slice)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_SLICE, device),
				   slice, 0 } };
}

/* In the tree alone: the commit of the takeover has it. */
static int put(struct cfs_container *c, const struct cfs_key *key,
	       const void *value, size_t bytes, struct cfs_err *err)
{
	return cfs_tree_put(cfs_container_tree(c, CFS_TREE_TABLE), key, value,
			    bytes, NULL, err);
}

static int get_slice(struct cfs_container *c, const struct cfs_key *key,
		     struct cfs_slice_rec *ret, struct cfs_err *err)
{
	struct cfs_slice_rec_disk disk;
	size_t bytes = 0;
	int r = cfs_container_get(c, key, &disk, sizeof(disk), &bytes, err);

	if (r == -ENOENT) {
		memset(ret, 0, sizeof(*ret));
		return 0;
	}
	return r < 0 ? r
		     : cfs_slice_rec_unpack(&disk, CFS_MIN(bytes, sizeof(disk)),
					    ret, err);
}

/*
 * A slice that somebody between the last root and us meant to use.  The holder
 * before may have lent it, as its log says, but it has not used it then: it
 * looked at its gravestone first.
 */
static int exclude(struct cfs_pool *pool, struct cfs_container *c,
		   uint32_t epoch, bool is_over, const struct cfs_place *p,
		   struct cfs_err *err)
{
	const struct cfs_label *label = cfs_devset_label(pool->set, 0);
	struct cfs_slice_rec rec;
	struct cfs_slice_rec_disk disk;
	struct cfs_key key;
	uint64_t slice;
	int r;

	if (!p->is_used || p->device_index >= cfs_devset_count(pool->set) ||
	    p->slot_bytes[0] < label->slices_offset_bytes)
		return 0;
	slice = (p->slot_bytes[0] - label->slices_offset_bytes) /
		label->slice_bytes;
	if (slice >= cfs_devset_slice_count(pool->set, p->device_index))
		return 0;
	key = slice_key(p->device_index, slice);
	r = get_slice(c, &key, &rec, err);
	if (r == 0 && rec.use == CFS_SLICE_USE_OWNED) {
		const struct cfs_key map = { { cfs_table_word(CFS_TABLE_SMAP,
							      rec.container_id),
					       rec.lslice, 0 } };

		r = cfs_tree_del(cfs_container_tree(c, CFS_TREE_TABLE), &map,
				 err);
		if (r == -ENOENT)
			r = 0;
		if (r == 0 && rec.container_id == 0) {
			cfs_metavolume_clear(cfs_container_metavolume(c),
					     rec.lslice);
			cfs_container_slice_went(c, rec.lslice);
		}
	}
	if (r < 0)
		return r;
	/* Its headers and tags are of the next life; ours are of another. */
	rec = (struct cfs_slice_rec){
		.use = is_over ? CFS_SLICE_USE_FREE : CFS_SLICE_USE_FROZEN,
		.generation = rec.generation + 1,
		.lslice = epoch,
	};
	cfs_slice_rec_pack(&rec, &disk);
	return put(c, &key, &disk, sizeof(disk), err);
}

static int exclude_all(struct cfs_pool *pool, struct cfs_container *c,
		       struct cfs_err *err)
{
	int r = 0;

	for (uint32_t i = 0; i < cfs_holder_live_count(pool->holder); i++) {
		struct cfs_place plan[CFS_ROOT_PLACES_MAX];
		uint32_t epoch;
		bool is_over;

		cfs_holder_live_epoch(pool->holder, i, &epoch, &is_over, plan);
		/* Older plans were known to whoever wrote the last root, or
		 * came too late to be followed. */
		if (epoch <= cfs_holder_base_epoch(pool->holder))
			continue;
		for (unsigned int k = 0; r == 0 && k < CFS_ROOT_PLACES_MAX; k++)
			r = exclude(pool, c, epoch, is_over, &plan[k], err);
	}
	return r;
}

/* One will do where there are but those that are kept for this. */
static unsigned int slices_wanted(const struct cfs_pool *pool)
{
	return cfs_pool_slice_may_pick(pool, false, NULL) < 0 ? 1
							      : SLICES_WANTED;
}

/* How many slices hold @blocks beside their log, if there are places enough. */
static unsigned int slices_for(const struct cfs_pool *pool,
			       const struct cfs_slice_geometry *geo,
			       uint64_t blocks)
{
	const unsigned int most = CFS_ROOT_PLACES_MAX /
				  cfs_pool_piece_count(pool);
	const uint64_t log = CFS_MIN(CFS_MAX(geo->group_count / 4, 1), 4) *
			     CFS_TAGS_PER_PAGE;
	unsigned int n = CFS_MIN(slices_wanted(pool), most);

	while (n < most && n * (uint64_t)geo->data_count <
				   CFS_MIN(n, 2) * (log + 3) + blocks + MARGIN)
		n++;
	return n;
}

unsigned int cfs_pool_takeovers_left(struct cfs_pool *pool)
{
	uint64_t count;

	if (!cfs_devset_is_shared(pool->set))
		return 0;
	cfs_container_lock(pool->c0);
	count = cfs_metavolume_slice_count(pool->c0_mv);
	cfs_container_unlock(pool->c0);
	return count < SMAP_SILENT_MAX
		       ? (unsigned int)(SMAP_SILENT_MAX - count) / SLICES_WANTED
		       : 0;
}

static int plan0(void *ctx, struct cfs_container *c, uint64_t blocks,
		 uint64_t ret_lslices[CFS_ROOT_PLACES_MAX],
		 unsigned int *ret_count, struct cfs_err *err)
{
	struct cfs_pool *pool = ctx;
	struct cfs_metavolume *mv = cfs_container_metavolume(c);
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(mv);
	struct cfs_piece pieces[CFS_ROOT_PLACES_MAX][CFS_PIECES_MAX];
	uint64_t vaddr[CFS_ROOT_PLACES_MAX] = { 0 };
	struct cfs_place plan[CFS_ROOT_PLACES_MAX];
	unsigned int n = 0, want = 0;
	int r = exclude_all(pool, c, err);

	if (r == 0)
		r = cfs_pool_slices_load(pool, err);
	if (r == 0)
		want = slices_for(pool, geo, blocks);
	/* The last ones are for a takeover behind which there are more. */
	if (r == 0 && cfs_metavolume_slice_count(mv) + want >
			      (cfs_container_has_gone(c) ? CFS_ROOT_SMAP_MAX
							 : SMAP_SILENT_MAX))
		r = cfs_err_set(err, -ENOSPC,
				"too many hosts that had the "
				"pool may still write: say with leasectl gone "
				"which do not");
	for (; r == 0 && n < want; n++) {
		ret_lslices[n] = cfs_pool_free_lslice(mv, 0);
		r = cfs_pool_slice_pick(pool, pieces[n], err);
		if (r == 0)
			r = cfs_metavolume_set(mv, ret_lslices[n], pieces[n],
					       err);
		if (r < 0)
			break;
		vaddr[n] = cfs_vaddr(ret_lslices[n], geo->data_start);
	}
	if (r == -ENOSPC && n > 0)
		r = 0;
	if (r < 0)
		return r;
	cfs_pool_root_places(mv, vaddr, plan);
	r = cfs_holder_plan(pool->holder, plan, err);
	for (unsigned int i = 0; r == 0 && i < n; i++) {
		r = cfs_pool_slice_headers(pool, 0, cfs_container_uuid(c),
					   ret_lslices[i], pieces[i],
					   CFS_SLICE_OWNED, err);
		if (r == 0)
			r = cfs_pool_slice_changes_put(pool, 0, ret_lslices[i],
						       pieces[i], err);
	}
	*ret_count = n;
	return r;
}

void cfs_pool_shared_move0(struct cfs_pool *pool,
			   struct cfs_container_config *config,
			   struct cfs_container_move *ret)
{
	if (!pool->holder || !cfs_holder_must_move(pool->holder))
		return;
	*ret = (struct cfs_container_move){
		.base_epoch = cfs_holder_base_epoch(pool->holder),
		.plan = plan0,
		.ctx = pool,
	};
	memcpy(ret->base_vaddr, config->root_vaddr, sizeof(ret->base_vaddr));
	config->move = ret;
}

int cfs_pool_shared_moved0(struct cfs_pool *pool, struct cfs_err *err)
{
	struct cfs_place roots[CFS_ROOT_PLACES_MAX];

	if (!pool->holder || !cfs_holder_must_move(pool->holder))
		return 0;
	cfs_pool_root_places(cfs_container_metavolume(pool->c0),
			     cfs_container_root_places(pool->c0), roots);
	return cfs_holder_moved(pool->holder, roots, err);
}

/*
 * The next frozen slice whose epoch is gone, from @from on.  -ENOENT.  What our
 * own epoch froze is being lent, or returned, right now.
 */
static int next_thawed(struct cfs_pool *pool, struct cfs_key *from,
		       struct cfs_slice_rec *ret, struct cfs_err *err)
{
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(
		&cur, cfs_container_tree(pool->c0, CFS_TREE_TABLE), from, err);

	for (; r == 0; r = cfs_cursor_next(&cur, err)) {
		if (cur.key.w[0] >> 56 != CFS_TABLE_SLICE)
			return -ENOENT;
		r = cfs_slice_rec_unpack(cur.value, cur.value_bytes, ret, err);
		if (r < 0)
			return r;
		*from = cur.key;
		if (ret->use == CFS_SLICE_USE_FROZEN &&
		    ret->lslice != pool->epoch &&
		    is_gone(pool, (uint32_t)ret->lslice, (uint32_t)ret->lslice))
			return 0;
	}
	return r;
}

int cfs_pool_shared_thaw(struct cfs_pool *pool, struct cfs_err *err)
{
	struct cfs_key key = slice_key(0, 0);
	struct cfs_slice_rec rec;
	unsigned int n = 0;
	int r;

	if (!pool->holder)
		return 0;
	r = cfs_op_begin(pool->c0, CFS_OP_FREEING, err);
	if (r < 0)
		return r;
	while ((r = next_thawed(pool, &key, &rec, err)) == 0) {
		struct cfs_slice_rec_disk disk;

		rec.use = CFS_SLICE_USE_FREE;
		rec.container_id = rec.lslice = rec.piece = 0;
		cfs_slice_rec_pack(&rec, &disk);
		r = cfs_container_put(pool->c0, &key, &disk, sizeof(disk), err);
		if (r < 0)
			break;
		n++;
	}
	if (r < 0 && r != -ENOENT) {
		cfs_op_abort(pool->c0);
		return r;
	}
	cfs_op_end(pool->c0);
	if (n == 0)
		return 0;
	r = cfs_container_commit(pool->c0, err);
	if (r < 0)
		return r;
	return cfs_pool_slices_reload(pool, err);
}

int cfs_pool_shared_settle(struct cfs_pool *pool, struct cfs_member *m,
			   struct cfs_err *err)
{
	struct cfs_container *c = m ? m->container : pool->c0;
	bool is_any = false;
	int r;

	if (!m && !pool->holder)
		return 0;
	r = cfs_container_take_gone(c, &is_any, err);
	if (r < 0)
		return r == -ENOSPC ? 0 : r;
	if (!is_any)
		return 0;
	cfs_pool_leave_slices(pool, m);
	(void)(m ? cfs_pool_reclaim(pool, m, NULL, NULL)
		 : cfs_pool_reclaim_own(pool, NULL));
	return 0;
}

/* ---- other containers ---------------------------------------------------- */

void cfs_pool_move_donep(struct cfs_pool_move *m)
{
	free(m->their_epoch);
	m->their_epoch = NULL;
}

static int put_rec(struct cfs_pool *pool, uint64_t id,
		   const struct cfs_container_rec *rec, struct cfs_err *err)
{
	struct cfs_container_rec_disk disk;
	const struct cfs_table_change change = {
		.key = { { cfs_table_word(CFS_TABLE_CONTAINER, id), 0, 0 } },
		.value = &disk,
		.value_bytes = sizeof(disk),
	};
	int r;

	cfs_container_rec_pack(rec, &disk);
	cfs_container_lock(pool->c0);
	r = cfs_container_ready(pool->c0, err);
	if (r == 0)
		r = cfs_container_put_now(pool->c0, &change, 1, err);
	cfs_container_unlock(pool->c0);
	return r;
}

static bool slice_is_theirs(void *ctx, uint64_t lslice, uint32_t *ret_epoch)
{
	const struct cfs_pool_move *m = ctx;

	if (lslice >= m->end || !m->their_epoch[lslice])
		return false;
	*ret_epoch = m->their_epoch[lslice];
	return true;
}

/* Slices that takeovers which did not end had lent to it. */
static int find_theirs(struct cfs_pool *pool, uint64_t id,
		       const struct cfs_container_rec *rec,
		       const struct cfs_metavolume *mv, struct cfs_pool_move *m,
		       struct cfs_err *err)
{
	struct cfs_key from = { { cfs_table_word(CFS_TABLE_SMAP, id), 0, 0 } };
	struct cfs_cursor cur;
	int r;

	m->end = cfs_metavolume_end(mv);
	m->their_epoch = calloc(m->end + 1, sizeof(*m->their_epoch));
	if (!m->their_epoch)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	cfs_container_lock(pool->c0);
	r = cfs_cursor_ge(&cur, cfs_container_tree(pool->c0, CFS_TREE_TABLE),
			  &from, err);
	while (r == 0 && cur.key.w[0] == from.w[0]) {
		struct cfs_smap_rec smap;

		r = cfs_smap_rec_unpack(cur.value, cur.value_bytes, &smap, err);
		if (r == 0 && cur.key.w[1] < m->end &&
		    (smap.epoch > rec->base_epoch || smap.epoch == rec->epoch))
			m->their_epoch[cur.key.w[1]] = smap.epoch;
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	cfs_container_unlock(pool->c0);
	return r == -ENOENT ? 0 : r;
}

/* Fresh slices for its root and log; one will do. */
static int lend_fresh(struct cfs_pool *pool, uint64_t id,
		      const struct cfs_container_rec *rec,
		      struct cfs_metavolume *mv, struct cfs_container_move *m,
		      struct cfs_err *err)
{
	int r = 0;

	cfs_container_lock(pool->c0);
	while (r == 0 && m->lslice_count < slices_wanted(pool)) {
		const uint64_t l = cfs_pool_free_lslice(mv, 0);

		r = cfs_pool_slice_lend(pool, id, rec->uuid, mv, l, err);
		if (r == 0)
			m->lslices[m->lslice_count++] = l;
	}
	cfs_container_unlock(pool->c0);
	return r == -ENOSPC && m->lslice_count > 0 ? 0 : r;
}

static int enter_anew(struct cfs_pool *pool, uint64_t id,
		      struct cfs_container_rec *rec,
		      struct cfs_container_config *config,
		      struct cfs_pool_move *ret, struct cfs_err *err)
{
	const uint64_t start = cfs_metavolume_geometry(config->mv)->data_start;
	struct cfs_container_move *m = &ret->move;
	const bool was_moving = rec->base_vaddr[0] != 0;
	int r = 0;

	if (was_moving)
		r = find_theirs(pool, id, rec, config->mv, ret, err);
	if (r == 0)
		r = lend_fresh(pool, id, rec, config->mv, m, err);
	if (r < 0)
		return r;
	if (!was_moving) {
		memcpy(rec->base_vaddr, rec->root_vaddr,
		       sizeof(rec->base_vaddr));
		rec->base_epoch = rec->epoch;
	}
	rec->epoch = pool->epoch;
	memset(rec->root_vaddr, 0, sizeof(rec->root_vaddr));
	for (unsigned int i = 0; i < m->lslice_count; i++)
		rec->root_vaddr[i] = cfs_vaddr(m->lslices[i], (uint32_t)start);
	memcpy(m->base_vaddr, rec->base_vaddr, sizeof(m->base_vaddr));
	m->base_epoch = rec->base_epoch;
	if (was_moving)
		m->is_theirs = slice_is_theirs;
	m->ctx = ret;
	config->move = m;
	return put_rec(pool, id, rec, err);
}

int cfs_pool_shared_enter(struct cfs_pool *pool, uint64_t id,
			  struct cfs_container_rec *rec,
			  struct cfs_container_config *config,
			  struct cfs_pool_move *ret, struct cfs_err *err)
{
	if (cfs_devset_is_overlay(pool->set) ||
	    (!rec->base_vaddr[0] &&
	     (rec->epoch == pool->epoch ||
	      (!pool->holder && !cfs_epoch_is_delegated(rec->epoch)))))
		return 0;
	if (rec->base_vaddr[0] || !is_gone(pool, rec->epoch, rec->epoch))
		return enter_anew(pool, id, rec, config, ret, err);
	rec->epoch = pool->epoch;
	return put_rec(pool, id, rec, err);
}

int cfs_pool_shared_entered(struct cfs_pool *pool, uint64_t id,
			    struct cfs_container_rec *rec, struct cfs_err *err)
{
	if (cfs_devset_is_overlay(pool->set) || !rec->base_vaddr[0])
		return 0;
	memset(rec->base_vaddr, 0, sizeof(rec->base_vaddr));
	rec->base_epoch = 0;
	return put_rec(pool, id, rec, err);
}
