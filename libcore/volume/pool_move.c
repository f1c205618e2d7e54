/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Moving one logical slice; the order of writes is told in pool_move.h. */
#include "volume/pool_move_priv.h"

#include "ondisk/slice_header.h"
#include "pool/commit_hold.h"
#include "pool/metavolume_watch.h"
#include "tree/container_move.h"
#include "tree/tree.h"
#include "volume/slice_copy.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- what goes where ----------------------------------------------------- */

static unsigned int first_used(const struct cfs_piece *pieces)
{
	unsigned int i = 0;

	while (i < CFS_PIECES_MAX - 1 && !(pieces[i].flags & CFS_PIECE_USED))
		i++;
	return i;
}

/* A new place for piece @i, apart from those of @next; tag pages of what stays
 * count with the number of the first piece's life. */
static int pick(struct cfs_pool *pool, const struct slice_move *mv,
		unsigned int i, bool all_move, struct cfs_piece *next,
		struct cfs_err *err)
{
	const unsigned int first = first_used(mv->old);
	const bool is_bound = i == first && !all_move;
	struct cfs_piece piece = { .flags = 0 };
	int r = cfs_pool_piece_pick(pool, next,
				    is_bound ? mv->old[first].generation : 0,
				    mv->old[i].generation, &piece, err);

	if (r < 0)
		return r;
	next[i] = piece;
	return 0;
}

/* All pieces anew, since the first one's life can have no number that the
 * others' tag pages have. */
static int plan_all(struct cfs_pool *pool, struct slice_move *mv,
		    struct cfs_err *err)
{
	int r = 0;

	memset(mv->next, 0, sizeof(mv->next));
	for (unsigned int i = 0; r == 0 && i < mv->want; i++)
		r = pick(pool, mv, i, true, mv->next, err);
	return r;
}

static int plan(struct cfs_pool *pool, struct slice_move *mv,
		struct cfs_err *err)
{
	unsigned int kept = 0, left;
	int r = 0;

	memcpy(mv->next, mv->old, sizeof(mv->next));
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		if (!(mv->old[i].flags & CFS_PIECE_USED))
			continue;
		if (mv->old[i].device_index == mv->off_device)
			mv->next[i].flags = 0;
		else
			kept++;
	}
	mv->want = CFS_MAX(mv->want, kept);
	left = mv->want - kept;
	for (unsigned int i = 0; r == 0 && left > 0 && i < CFS_PIECES_MAX;
	     i++) {
		if (mv->next[i].flags & CFS_PIECE_USED)
			continue;
		r = pick(pool, mv, i, kept == 0, mv->next, err);
		left--;
	}
	if (r == -ENOSPC && kept > 0)
		r = plan_all(pool, mv, err);
	return r;
}

static bool is_same_place(const struct cfs_piece *a, const struct cfs_piece *b)
{
	return (a->flags & CFS_PIECE_USED) && (b->flags & CFS_PIECE_USED) &&
	       a->device_index == b->device_index &&
	       a->slice_index == b->slice_index;
}

/* Pieces of @ret that are only in @these, not in @those. */
static void only_in(const struct cfs_piece *these,
		    const struct cfs_piece *those, struct cfs_piece *ret)
{
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		ret[i] = these[i];
		for (unsigned int k = 0; k < CFS_PIECES_MAX; k++)
			if (is_same_place(&these[i], &those[k]))
				ret[i].flags = 0;
	}
}

/* ---- copying it ---------------------------------------------------------- */

struct copying {
	struct cfs_pool *pool;
	struct slice_move *mv;
	struct cfs_metavolume *of; /* watched; NULL: nobody writes to it */
	struct cfs_piece fresh[CFS_PIECES_MAX];
	uint8_t *groups; /* to be copied again */
	size_t groups_bytes;
};

static void copying_done(struct copying *k)
{
	if (k->of)
		cfs_metavolume_watch_end(k->of);
	free(k->groups);
}

/*
 * All groups, or those of k->groups.  @c: as in cfs_slice_copy.  What does not
 * verify while it is being written to is to be looked at again.
 */
static int copy_pieces(struct copying *k, struct cfs_container *c,
		       bool is_locked, bool is_all, bool is_live,
		       struct cfs_err *err)
{
	struct slice_move *mv = k->mv;
	struct cfs_slice_copy sc = {
		.set = k->pool->set,
		.container_id = mv->container_id,
		.lslice = mv->lslice,
		.from = mv->old,
		.from_generation = mv->old[first_used(mv->old)].generation,
		.to_generation = mv->next[first_used(mv->next)].generation,
		.c = c,
		.is_locked = is_locked,
		.ret_doubtful = is_live ? k->groups : NULL,
	};
	unsigned int done = 0;
	int r = 0;

	memcpy(sc.uuid, mv->uuid, sizeof(sc.uuid));
	for (unsigned int i = 0; r == 0 && i < CFS_PIECES_MAX; i++) {
		if (!(k->fresh[i].flags & CFS_PIECE_USED))
			continue;
		/* Each block is counted once. */
		if (done++)
			sc.c = NULL;
		r = cfs_slice_copy(&sc, &k->fresh[i], i,
				   is_all ? NULL : k->groups, err);
		mv->written += is_all;
	}
	mv->damaged_blocks += sc.damaged_blocks;
	return r;
}

/* Those that were written since they were copied last; 1: there were some. */
static int copy_again(struct copying *k, struct cfs_container *c,
		      bool is_locked, bool has_doubts, struct cfs_err *err)
{
	bool has_some = cfs_metavolume_take_written(k->of, k->groups);
	int r;

	if (!has_some && !has_doubts)
		return 0;
	r = copy_pieces(k, c, is_locked, false, false, err);
	memset(k->groups, 0, k->groups_bytes);
	return r < 0 ? r : 1;
}

/* Headers of the new life, and the first copy.  @of: NULL: it does not change;
 * then @c says what is in use. */
static int copy_begin(struct copying *k, struct cfs_metavolume *of,
		      struct cfs_err *err)
{
	struct slice_move *mv = k->mv;
	const struct cfs_slice_geometry *geo;
	unsigned int mask = 0;
	int r = 0;

	only_in(mv->next, mv->old, k->fresh);
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		mask |= k->fresh[i].flags & CFS_PIECE_USED ? 1u << i : 0;
	if (of) {
		geo = cfs_metavolume_geometry(of);
		k->groups_bytes = (geo->group_count + 7) / 8;
		k->groups = calloc(1, k->groups_bytes);
		r = k->groups ? cfs_metavolume_watch(of, mv->lslice, err)
			      : cfs_err_set(err, -ENOMEM, "out of memory");
		k->of = r == 0 ? of : NULL;
	}
	if (r == 0)
		r = cfs_pool_slice_headers_of(k->pool, mv->container_id,
					      mv->uuid, mv->lslice, mv->next,
					      mask, CFS_SLICE_OWNED, err);
	return r < 0 ? r : copy_pieces(k, NULL, false, true, k->of, err);
}

/* ---- writing it ---------------------------------------------------------- */

/* The records of step 2.  -> how many; at most MOVE_CHANGES. */
static size_t changes_of(struct cfs_pool *pool, struct slice_move *mv,
			 struct move_changes *ch)
{
	struct cfs_piece gone[CFS_PIECES_MAX];
	size_t n = cfs_pool_slice_changes(pool, mv->container_id, mv->lslice,
					  mv->next, true, &ch->next,
					  ch->changes);

	only_in(mv->old, mv->next, gone);
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		const struct cfs_slice_rec rec = {
			.use = CFS_SLICE_USE_FREE,
			.generation = gone[i].generation + 1,
		};

		if (!(gone[i].flags & CFS_PIECE_USED))
			continue;
		cfs_slice_rec_pack(&rec, &ch->old[i]);
		ch->changes[n++] = (struct cfs_table_change){
			.key = cfs_pool_slice_key(gone[i].device_index,
						  gone[i].slice_index),
			.value = &ch->old[i],
			.value_bytes = sizeof(ch->old[i]),
		};
	}
	if (!mv->has_cursor)
		return n;
	cfs_device_rec_pack(&mv->device, &ch->device);
	ch->changes[n++] = (struct cfs_table_change){
		.key = { { cfs_table_word(CFS_TABLE_DEVICE, mv->off_device), 0,
			   0 } },
		.value = &ch->device,
		.value_bytes = sizeof(ch->device),
	};
	return n;
}

/*
 * Step 3: nobody's any more.  A device that fails is evacuated all the same:
 * what its headers say counts for nothing beside the tables.
 */
static void let_go(struct cfs_pool *pool, const struct slice_move *mv)
{
	struct cfs_piece gone[CFS_PIECES_MAX];

	only_in(mv->old, mv->next, gone);
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		struct cfs_piece old[CFS_PIECES_MAX];
		struct cfs_dev *dev;

		if (!(gone[i].flags & CFS_PIECE_USED))
			continue;
		dev = cfs_devset_dev(pool->set, gone[i].device_index);
		memcpy(old, mv->old, sizeof(old));
		old[i].generation++;
		if (dev && cfs_pool_slice_headers_of(
				   pool, mv->container_id, mv->uuid, mv->lslice,
				   old, 1u << i, CFS_SLICE_FREE, NULL) == 0)
			(void)cfs_dev_flush(dev, NULL);
	}
	cfs_pool_slices_discard(pool, gone);
	cfs_container_lock(pool->c0);
	cfs_pool_slices_came_back(pool, gone);
	cfs_container_unlock(pool->c0);
}

/* ---- of a container ------------------------------------------------------ */

/* Slices for what is to be written are nobody else's from now on. */
static int reserve(struct cfs_pool *pool, struct slice_move *mv,
		   struct cfs_err *err)
{
	int r;

	cfs_container_lock(pool->c0);
	r = cfs_container_ready(pool->c0, err);
	if (r == 0)
		r = plan(pool, mv, err);
	if (r == 0)
		only_in(mv->next, mv->old, pool->reserved);
	else
		(void)cfs_pool_slices_load(pool, NULL);
	cfs_container_unlock(pool->c0);
	return r;
}

/* They have records now; or are free after all. */
static void unreserve(struct cfs_pool *pool, bool is_done)
{
	cfs_container_lock(pool->c0);
	memset(pool->reserved, 0, sizeof(pool->reserved));
	if (!is_done)
		(void)cfs_pool_slices_load(pool, NULL);
	cfs_container_unlock(pool->c0);
}

/* The map is what it was when we began; container 0 locked.  -EAGAIN. */
static int same_map(struct cfs_pool *pool, const struct slice_move *mv,
		    struct cfs_err *err)
{
	const struct cfs_key key = cfs_pool_smap_key(mv->container_id,
						     mv->lslice);
	struct cfs_smap_rec_disk disk = { 0 };
	struct cfs_smap_rec rec;
	size_t bytes = 0;
	int r = cfs_container_get(pool->c0, &key, &disk, sizeof(disk), &bytes,
				  err);

	if (r == 0)
		r = cfs_smap_rec_unpack(&disk, CFS_MIN(bytes, sizeof(disk)),
					&rec, err);
	for (unsigned int i = 0; r == 0 && i < CFS_PIECES_MAX; i++)
		if (rec.pieces[i].flags != mv->old[i].flags ||
		    rec.pieces[i].device_index != mv->old[i].device_index ||
		    rec.pieces[i].slice_index != mv->old[i].slice_index ||
		    rec.pieces[i].generation != mv->old[i].generation)
			r = -EAGAIN;
	if (r == -ENOENT)
		r = -EAGAIN;
	if (r == -EAGAIN)
		cfs_err_set(err, r, "slice %" PRIu64 " went meanwhile",
			    mv->lslice);
	return r;
}

/* Step 2; container 0 locked. */
static int record(struct cfs_pool *pool, struct slice_move *mv,
		  struct cfs_err *err)
{
	struct move_changes ch;
	size_t n = changes_of(pool, mv, &ch);

	return cfs_container_put_now(pool->c0, ch.changes, n, err);
}

/* One that is too damaged to be opened moves as it is. */
static int move_closed(struct cfs_pool *pool, struct slice_move *mv,
		       struct cfs_err *err)
{
	struct copying k = { .pool = pool, .mv = mv };
	int r = copy_begin(&k, NULL, err);

	if (r == 0) {
		cfs_container_lock(pool->c0);
		r = cfs_container_ready(pool->c0, err);
		if (r == 0)
			r = same_map(pool, mv, err);
		if (r == 0)
			r = record(pool, mv, err);
		cfs_container_unlock(pool->c0);
	}
	copying_done(&k);
	return r;
}

/*
 * The last of it, with both locks.  What the commit before has left to be read
 * is read no more while all is stopped: so what is in use is not asked for.
 */
static int switch_locked(struct copying *k, struct cfs_container *c,
			 struct cfs_err *err)
{
	int r = cfs_container_ready(k->pool->c0, err);

	if (r == 0)
		r = same_map(k->pool, k->mv, err);
	if (r < 0)
		return r;
	cfs_metavolume_stop(k->of);
	r = copy_again(k, NULL, false, false, err);
	if (r >= 0)
		r = record(k->pool, k->mv, err);
	if (r == 0)
		r = cfs_metavolume_set(k->of, k->mv->lslice, k->mv->next, err);
	cfs_metavolume_go_on(k->of);
	if (r == 0)
		cfs_container_slice_moved(c, k->mv->lslice);
	return r;
}

/* The container is frozen: what is left, and the other place. */
static int move_frozen(struct copying *k, struct cfs_container *c,
		       struct cfs_err *err)
{
	int r;

	cfs_container_lock(c);
	r = cfs_container_may_move(c, k->mv->lslice, err);
	cfs_container_touch_lent(c, k->mv->lslice);
	cfs_container_unlock(c);
	if (r == 0)
		r = copy_again(k, c, false, true, err);
	if (r < 0)
		return r;
	cfs_container_lock(c);
	cfs_container_lock(k->pool->c0);
	r = switch_locked(k, c, err);
	cfs_container_unlock(k->pool->c0);
	cfs_container_unlock(c);
	return r;
}

/* Behind the copy that was made while it was written to. */
static int move_open(struct copying *k, struct cfs_member *m,
		     const struct cfs_pool_move_options *opt,
		     struct cfs_err *err)
{
	int r = opt->hold ? opt->hold(opt->arg, m, err) : 0;

	if (r < 0)
		return r;
	r = cfs_container_freeze(m->container, err);
	if (r == 0)
		r = move_frozen(k, m->container, err);
	cfs_container_thaw(m->container);
	if (opt->hold)
		opt->go_on(opt->arg);
	return r;
}

static int move_of_member(struct cfs_pool *pool, struct slice_move *mv,
			  const struct cfs_pool_move_options *opt,
			  struct cfs_err *err)
{
	struct cfs_commit_holds *holds = cfs_devset_holds(pool->set);
	struct copying k = { .pool = pool, .mv = mv };
	struct cfs_member *m = NULL;
	int r = cfs_pool_member_by_id(pool, mv->container_id, &m, err);

	if (r < 0 && r != -EUCLEAN && r != -EIO && r != -ENOTSUP)
		return r;
	if (r < 0)
		m = NULL;
	r = reserve(pool, mv, err);
	if (r < 0)
		return r;
	if (m)
		r = copy_begin(&k, cfs_container_metavolume(m->container), err);
	/* Whoever looks at the devices beside us finds what the last commit
	 * names, and where, until it has seen all. */
	cfs_commit_begin(holds);
	if (!m)
		r = move_closed(pool, mv, err);
	else if (r == 0)
		r = move_open(&k, m, opt, err);
	unreserve(pool, r == 0);
	if (r == 0)
		let_go(pool, mv);
	cfs_commit_end(holds);
	copying_done(&k);
	return r;
}

/* ---- of container 0 itself ----------------------------------------------- */

void cfs_pool_roots(struct cfs_pool *pool,
		    struct cfs_place ret[CFS_ROOT_PLACES_MAX])
{
	cfs_pool_root_places(cfs_container_metavolume(pool->c0),
			     cfs_container_root_places(pool->c0), ret);
}

/* The places as they will be, and behind them those that are, as far as there
 * is room. */
static int name_both(struct cfs_pool *pool, const struct slice_move *mv,
		     const struct cfs_pool_move_options *opt,
		     struct cfs_err *err)
{
	const struct cfs_label *label = cfs_devset_label(pool->set, 0);
	struct cfs_place was[CFS_ROOT_PLACES_MAX], roots[CFS_ROOT_PLACES_MAX];
	unsigned int n = 0;

	cfs_pool_roots(pool, was);
	memset(roots, 0, sizeof(roots));
	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++) {
		const uint64_t lslice = cfs_vaddr_lslice(was[i].vaddr[0]);

		if (was[i].is_used && lslice != mv->lslice)
			roots[n++] = was[i];
	}
	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++) {
		const uint64_t vaddr = cfs_container_root_places(pool->c0)[i];

		if (!vaddr || cfs_vaddr_lslice(vaddr) != mv->lslice)
			continue;
		for (unsigned int p = 0;
		     p < CFS_PIECES_MAX && n < CFS_ROOT_PLACES_MAX; p++) {
			struct cfs_place *at = &roots[n];

			if (!(mv->next[p].flags & CFS_PIECE_USED))
				continue;
			at->is_used = true;
			at->device_index = mv->next[p].device_index;
			at->slot_bytes[0] = label->slices_offset_bytes +
					    mv->next[p].slice_index *
						    label->slice_bytes +
					    (uint64_t)CFS_BLOCK_BYTES *
						    cfs_vaddr_block(vaddr);
			at->slot_bytes[1] = at->slot_bytes[0] + CFS_BLOCK_BYTES;
			at->vaddr[0] = vaddr;
			at->vaddr[1] = vaddr + 1;
			n++;
		}
	}
	for (unsigned int i = 0;
	     i < CFS_ROOT_PLACES_MAX && n < CFS_ROOT_PLACES_MAX; i++)
		if (was[i].is_used &&
		    cfs_vaddr_lslice(was[i].vaddr[0]) == mv->lslice)
			roots[n++] = was[i];
	return opt->store_roots(opt->arg, roots, err);
}

/* Step 2b, before the commit; locked. */
static int map_own(struct cfs_pool *pool, struct slice_move *mv,
		   struct cfs_err *err)
{
	struct cfs_tree *table = cfs_container_tree(pool->c0, CFS_TREE_TABLE);
	struct move_changes ch;
	size_t n = changes_of(pool, mv, &ch);
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = cfs_tree_put(table, &ch.changes[i].key, ch.changes[i].value,
				 ch.changes[i].value_bytes, NULL, err);
	cfs_metavolume_stop(pool->c0_mv);
	if (r == 0)
		r = cfs_metavolume_set(pool->c0_mv, mv->lslice, mv->next, err);
	cfs_metavolume_go_on(pool->c0_mv);
	if (r < 0)
		cfs_container_close_for_writing(pool->c0, "its map is half "
							  "changed");
	return r;
}

/* With its lock from the commit on: nothing of it is on its way then, and nobody
 * changes it. */
static int move_own_locked(struct copying *k,
			   const struct cfs_pool_move_options *opt,
			   struct cfs_err *err)
{
	struct cfs_pool *pool = k->pool;
	int r = cfs_container_commit_held(pool->c0, err);

	if (r == 0)
		r = copy_again(k, pool->c0, true, true, err);
	if (r >= 0)
		r = name_both(pool, k->mv, opt, err);
	if (r == 0)
		r = map_own(pool, k->mv, err);
	/* And two more: no slot of its root names the old place, nor what was freed
	 * there. */
	for (int i = 0; r == 0 && i < 3; i++)
		r = cfs_container_commit_held(pool->c0, err);
	return r;
}

static int move_own(struct cfs_pool *pool, struct slice_move *mv,
		    const struct cfs_pool_move_options *opt,
		    struct cfs_err *err)
{
	struct cfs_commit_holds *holds = cfs_devset_holds(pool->set);
	struct copying k = { .pool = pool, .mv = mv };
	struct cfs_place roots[CFS_ROOT_PLACES_MAX];
	int r = reserve(pool, mv, err);

	if (r < 0)
		return r;
	r = copy_begin(&k, cfs_container_metavolume(pool->c0), err);
	cfs_commit_begin(holds);
	if (r == 0) {
		cfs_container_lock(pool->c0);
		r = move_own_locked(&k, opt, err);
		cfs_container_unlock(pool->c0);
	}
	unreserve(pool, r == 0);
	if (r == 0) {
		cfs_pool_roots(pool, roots);
		r = opt->store_roots(opt->arg, roots, err);
	}
	if (r == 0)
		let_go(pool, mv);
	cfs_commit_end(holds);
	copying_done(&k);
	return r;
}

int cfs_pool_slice_move(struct cfs_pool *pool, struct slice_move *mv,
			const struct cfs_pool_move_options *opt,
			struct cfs_err *err)
{
	if (slice_used_count(mv->old) == 0)
		return cfs_err_set(err, -EUCLEAN,
				   "slice %" PRIu64 " of "
				   "container %" PRIu64 " has no piece",
				   mv->lslice, mv->container_id);
	return mv->container_id == 0 ? move_own(pool, mv, opt, err)
				     : move_of_member(pool, mv, opt, err);
}
