/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Moving one logical slice; the order of writes is told in pool_move.h. */
#include "volume/pool_move_priv.h"

#include "ondisk/slice_header.h"
#include "tree/tree.h"
#include "volume/slice_copy.h"

#include <inttypes.h>

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

/* ---- writing it ---------------------------------------------------------- */

/* Step 1.  @c: the slice's container, which nobody changes; NULL: it can't be
 * opened. */
static int copy(struct cfs_pool *pool, struct slice_move *mv,
		struct cfs_container *c, struct cfs_err *err)
{
	struct cfs_slice_copy sc = {
		.set = pool->set,
		.container_id = mv->container_id,
		.lslice = mv->lslice,
		.from = mv->old,
		.from_generation = mv->old[first_used(mv->old)].generation,
		.to_generation = mv->next[first_used(mv->next)].generation,
		.c = c,
	};
	struct cfs_piece fresh[CFS_PIECES_MAX];
	unsigned int mask = 0;
	int r;

	memcpy(sc.uuid, mv->uuid, sizeof(sc.uuid));
	only_in(mv->next, mv->old, fresh);
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		mask |= fresh[i].flags & CFS_PIECE_USED ? 1u << i : 0;
	r = cfs_pool_slice_headers_of(pool, mv->container_id, mv->uuid,
				      mv->lslice, mv->next, mask,
				      CFS_SLICE_OWNED, err);
	for (unsigned int i = 0; r == 0 && i < CFS_PIECES_MAX; i++) {
		if (!(fresh[i].flags & CFS_PIECE_USED))
			continue;
		r = cfs_slice_copy(&sc, &fresh[i], i, err);
		mv->written++;
	}
	mv->damaged_blocks = sc.damaged_blocks;
	return r;
}

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

/* Steps 1 and 2, container 0 locked. */
static int move_locked(struct cfs_pool *pool, struct slice_move *mv,
		       struct cfs_member *m, struct cfs_err *err)
{
	struct move_changes ch;
	size_t n;
	int r = cfs_container_ready(pool->c0, err);

	if (r == 0)
		r = plan(pool, mv, err);
	if (r == 0)
		r = copy(pool, mv, m ? m->container : NULL, err);
	if (r < 0)
		return r;
	n = changes_of(pool, mv, &ch);
	r = cfs_container_put_now(pool->c0, ch.changes, n, err);
	if (r == 0 && m)
		r = cfs_metavolume_set(cfs_container_metavolume(m->container),
				       mv->lslice, mv->next, err);
	return r;
}

static int move_of_member(struct cfs_pool *pool, struct slice_move *mv,
			  struct cfs_err *err)
{
	struct cfs_member *m = NULL;
	int r = cfs_pool_member_by_id(pool, mv->container_id, &m, err);

	if (r < 0 && r != -EUCLEAN && r != -EIO && r != -ENOTSUP)
		return r;
	/* One that is too damaged to be opened moves as it is. */
	if (r < 0)
		m = NULL;
	r = m ? cfs_container_freeze(m->container, err) : 0;
	if (r == 0) {
		cfs_container_lock(pool->c0);
		r = move_locked(pool, mv, m, err);
		/* What was picked is free after all. */
		if (r < 0)
			(void)cfs_pool_slices_load(pool, NULL);
		cfs_container_unlock(pool->c0);
	}
	if (m)
		cfs_container_thaw(m->container);
	if (r == 0)
		let_go(pool, mv);
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

/* Step 2b, before the commit. */
static int map_own(struct cfs_pool *pool, struct slice_move *mv,
		   struct cfs_err *err)
{
	struct cfs_tree *table = cfs_container_tree(pool->c0, CFS_TREE_TABLE);
	struct move_changes ch;
	size_t n;
	int r = 0;

	cfs_container_lock(pool->c0);
	n = changes_of(pool, mv, &ch);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = cfs_tree_put(table, &ch.changes[i].key, ch.changes[i].value,
				 ch.changes[i].value_bytes, NULL, err);
	if (r == 0)
		r = cfs_metavolume_set(pool->c0_mv, mv->lslice, mv->next, err);
	if (r < 0)
		cfs_container_close_for_writing(pool->c0, "its map is half "
							  "changed");
	cfs_container_unlock(pool->c0);
	return r;
}

static int move_own(struct cfs_pool *pool, struct slice_move *mv,
		    const struct cfs_pool_move_options *opt,
		    struct cfs_err *err)
{
	struct cfs_place roots[CFS_ROOT_PLACES_MAX];
	int r;

	cfs_container_lock(pool->c0);
	r = cfs_container_ready(pool->c0, err);
	if (r == 0)
		r = plan(pool, mv, err);
	if (r == 0)
		r = copy(pool, mv, pool->c0, err);
	if (r < 0)
		(void)cfs_pool_slices_load(pool, NULL);
	cfs_container_unlock(pool->c0);
	if (r == 0)
		r = name_both(pool, mv, opt, err);
	if (r == 0)
		r = map_own(pool, mv, err);
	if (r == 0)
		r = cfs_container_commit_idle(pool->c0, err);
	if (r < 0)
		return r;
	cfs_pool_roots(pool, roots);
	r = opt->store_roots(opt->arg, roots, err);
	if (r == 0)
		let_go(pool, mv);
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
				     : move_of_member(pool, mv, err);
}
