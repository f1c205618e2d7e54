/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The slice table: taking back what is empty, counting, discarding. */
#include "volume/pool_delegate_priv.h"
#include "volume/pool_slices_priv.h"

#include "ondisk/slice_header.h"
#include "pool/metavolume.h"
#include "tree/tree.h"

#include <assert.h>

/* But for its headers, which stay until the tables say otherwise. */
void cfs_pool_slices_discard(struct cfs_pool *pool,
			     const struct cfs_piece pieces[CFS_PIECES_MAX])
{
	const struct cfs_label *label = cfs_devset_label(pool->set, 0);

	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		const struct cfs_piece *p = &pieces[i];
		struct cfs_dev *dev;

		if (!(p->flags & CFS_PIECE_USED))
			continue;
		dev = cfs_devset_dev(pool->set, p->device_index);
		if (dev)
			(void)cfs_dev_discard(
				dev,
				label->slices_offset_bytes +
					p->slice_index * label->slice_bytes +
					CFS_BLOCK_BYTES,
				label->slice_bytes - 2 * CFS_BLOCK_BYTES, NULL);
	}
}

void cfs_pool_slices_came_back(struct cfs_pool *pool,
			       const struct cfs_piece pieces[CFS_PIECES_MAX])
{
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		if (pieces[i].flags & CFS_PIECE_USED)
			pool->devices[pieces[i].device_index].free_used++;
	cfs_pool_slices_changed(pool);
}

/* Out of the map, and ours alone: what stands there goes. */
static int return_begin(struct cfs_pool *pool, uint64_t container_id,
			uint64_t lslice, struct cfs_piece *pieces,
			struct cfs_err *err)
{
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		pieces[i].generation += (pieces[i].flags & CFS_PIECE_USED) != 0;
	return cfs_pool_slice_freeze(pool, container_id, lslice, pieces, false,
				     err);
}

/* On a shared pool: late writes of this would hit its next life. */
static int return_end(struct cfs_pool *pool, uint64_t container_id,
		      const uint8_t uuid[16], uint64_t lslice,
		      const struct cfs_piece *pieces, struct cfs_err *err)
{
	struct cfs_table_change changes[CFS_PIECES_MAX + 1];
	struct slice_change sc;
	size_t n = cfs_pool_slice_changes(pool, container_id, lslice, pieces,
					  false, &sc, changes);
	int r;

	cfs_pool_slices_discard(pool, pieces);
	r = cfs_pool_slice_headers(pool, container_id, uuid, lslice, pieces,
				   CFS_SLICE_FREE, err);
	if (r == 0)
		r = cfs_pool_flush_devices(pool, err);
	/* Without the last one: it is out of the map. */
	if (r == 0)
		r = cfs_container_put_now(pool->c0, changes, n - 1, err);
	if (r == 0)
		cfs_pool_slices_came_back(pool, pieces);
	return r;
}

/*
 * On a shared pool the slice leaves the map first, and is ours alone until its
 * discard and its headers have ended: late ones would hit its next life.
 */
int cfs_pool_slice_return(struct cfs_pool *pool, uint64_t container_id,
			  const uint8_t uuid[16], uint64_t lslice,
			  struct cfs_piece *pieces, struct cfs_err *err)
{
	int r = cfs_pieces_check(pool->set, lslice, pieces, err);

	if (r == 0)
		r = return_begin(pool, container_id, lslice, pieces, err);
	if (r < 0)
		return r;
	if (pool->is_shared)
		return return_end(pool, container_id, uuid, lslice, pieces,
				  err);
	cfs_pool_slices_discard(pool, pieces);
	r = cfs_pool_slice_record(pool, container_id, lslice, pieces, false,
				  err);
	if (r == 0)
		r = cfs_pool_slice_headers(pool, container_id, uuid, lslice,
					   pieces, CFS_SLICE_FREE, err);
	if (r == 0)
		cfs_pool_slices_came_back(pool, pieces);
	return r;
}

/* Container 0's own: its map stands in its root, which is to say so before the
 * slice is anybody else's. */
static int return_own(struct cfs_pool *pool, uint64_t lslice,
		      struct cfs_err *err)
{
	struct cfs_container *c = pool->c0;
	struct cfs_piece pieces[CFS_PIECES_MAX];
	int r = 0;

	if (!cfs_metavolume_get(pool->c0_mv, lslice, pieces))
		return 0;
	cfs_container_lock(c);
	r = return_begin(pool, 0, lslice, pieces, err);
	cfs_container_unlock(c);
	if (r == 0)
		r = cfs_container_commit(c, err);
	if (r < 0)
		return r;
	cfs_container_lock(c);
	r = return_end(pool, 0, cfs_container_uuid(c), lslice, pieces, err);
	cfs_container_unlock(c);
	if (r == 0)
		cfs_container_slice_gone(c, lslice);
	return r;
}

int cfs_pool_reclaim_own(struct cfs_pool *pool, struct cfs_err *err)
{
	uint64_t end;
	int r;

	assert(pool->is_shared);
	cfs_container_spare_empty(pool->c0);
	r = cfs_container_commit_idle(pool->c0, err);
	end = cfs_metavolume_end(pool->c0_mv);
	for (uint64_t l = 0; r == 0 && l < end; l++) {
		bool is_given;

		r = cfs_container_give_slice(pool->c0, l, &is_given, err);
		if (r == 0 && is_given)
			r = return_own(pool, l, err);
	}
	return r;
}

/* The slice's next life begins as free. */
static int take_back(struct cfs_pool *pool, struct cfs_member *m,
		     uint64_t lslice, struct cfs_err *err)
{
	struct cfs_metavolume *mv = cfs_container_metavolume(m->container);
	struct cfs_piece pieces[CFS_PIECES_MAX];
	int r;

	if (!cfs_metavolume_get(mv, lslice, pieces))
		return 0;
	if (pool->lender)
		return cfs_pool_delegated_take_back(pool, m, lslice, err);
	cfs_container_lock(pool->c0);
	r = cfs_pool_slice_return(pool, m->id, m->rec.uuid, lslice, pieces,
				  err);
	if (r == 0)
		cfs_metavolume_clear(mv, lslice);
	cfs_container_unlock(pool->c0);
	if (r == 0)
		cfs_container_slice_gone(m->container, lslice);
	return r;
}

int cfs_pool_reclaim(struct cfs_pool *pool, struct cfs_member *m,
		     uint64_t *ret_slices, struct cfs_err *err)
{
	struct cfs_container *c = m->container;
	const struct cfs_metavolume *mv = cfs_container_metavolume(c);
	const uint64_t keep = cfs_pool_provision_slices(pool,
							m->rec.provision_bytes);
	uint64_t end, done = 0;
	int r;

	cfs_container_spare_empty(c);
	/* Two commits: what was freed is named by no root any more. */
	r = cfs_container_commit_idle(c, err);
	end = cfs_metavolume_end(mv);
	for (uint64_t l = 0;
	     r == 0 && l < end && cfs_metavolume_slice_count(mv) > keep; l++) {
		bool is_given;

		r = cfs_container_give_slice(c, l, &is_given, err);
		if (r == 0 && is_given) {
			r = take_back(pool, m, l, err);
			done++;
		}
	}
	if (ret_slices)
		*ret_slices = done;
	return r;
}

/* ---- looking ------------------------------------------------------------- */

int cfs_pool_slices(struct cfs_pool *pool, cfs_slice_rec_each_fn each,
		    void *arg, struct cfs_err *err)
{
	struct cfs_key from = cfs_pool_slice_key(0, 0);
	struct cfs_cursor cur;
	int r;

	cfs_container_lock(pool->c0);
	r = cfs_cursor_ge(&cur, cfs_container_tree(pool->c0, CFS_TREE_TABLE),
			  &from, err);
	while (r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_SLICE) {
		struct cfs_slice_rec rec;

		r = cfs_slice_rec_unpack(cur.value, cur.value_bytes, &rec, err);
		if (r == 0)
			r = each(arg, (uint32_t)cur.key.w[0], cur.key.w[1],
				 &rec, err);
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	cfs_container_unlock(pool->c0);
	return r == -ENOENT ? 0 : r;
}

/* Free ones that were never used are holes of the file already, mostly; they
 * are discarded all the same, in one go. */
int cfs_pool_discard_free(struct cfs_pool *pool, uint64_t *ret_bytes,
			  struct cfs_err *err)
{
	const struct cfs_label *label = cfs_devset_label(pool->set, 0);
	struct cfs_key from = cfs_pool_slice_key(0, 0);
	struct cfs_cursor cur;
	int r;

	*ret_bytes = 0;
	/* There it is done as they come back, while nobody else can have
	 * them. */
	if (pool->is_shared)
		return 0;
	cfs_container_lock(pool->c0);
	r = cfs_cursor_ge(&cur, cfs_container_tree(pool->c0, CFS_TREE_TABLE),
			  &from, err);
	while (r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_SLICE) {
		struct cfs_dev *dev = cfs_devset_dev(pool->set,
						     (uint32_t)cur.key.w[0]);
		struct cfs_slice_rec rec;

		r = cfs_slice_rec_unpack(cur.value, cur.value_bytes, &rec, err);
		/* All but the first block: the header says that it is free. */
		if (r == 0 && dev && rec.use == CFS_SLICE_USE_FREE &&
		    cfs_dev_discard(dev,
				    label->slices_offset_bytes +
					    cur.key.w[1] * label->slice_bytes +
					    CFS_BLOCK_BYTES,
				    label->slice_bytes - 2 * CFS_BLOCK_BYTES,
				    NULL) == 0)
			*ret_bytes += label->slice_bytes - 2 * CFS_BLOCK_BYTES;
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	cfs_container_unlock(pool->c0);
	return r == -ENOENT ? 0 : r;
}
