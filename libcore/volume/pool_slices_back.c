/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The slice table: taking back what is empty, counting, discarding. */
#include "volume/pool_delegate_priv.h"

#include "pool/metavolume.h"
#include "tree/tree.h"

static struct cfs_key slice_key(uint32_t device, uint64_t slice)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_SLICE, device),
				   slice, 0 } };
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
	uint64_t end, done = 0;
	int r;

	/* Two commits: what was freed is named by no root any more. */
	r = cfs_container_commit_idle(c, err);
	end = cfs_metavolume_end(cfs_container_metavolume(c));
	for (uint64_t l = 2; r == 0 && l < end; l++) {
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
	struct cfs_key from = slice_key(0, 0);
	struct cfs_cursor cur;
	int r;

	cfs_container_lock(pool->c0);
	r = cfs_cursor_ge(&cur, cfs_container_tree(pool->c0, CFS_TREE_TABLE),
			  &from, err);
	while (r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_SLICE) {
		struct cfs_slice_rec rec;

		r = cfs_slice_rec_unpack(cur.value, cur.value_bytes, &rec,
					 err);
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
	struct cfs_key from = slice_key(0, 0);
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

		r = cfs_slice_rec_unpack(cur.value, cur.value_bytes, &rec,
					 err);
		/* All but the first block: the header says that it is free. */
		if (r == 0 && dev && rec.use == CFS_SLICE_USE_FREE &&
		    cfs_dev_discard(dev, label->slices_offset_bytes +
				    cur.key.w[1] * label->slice_bytes +
				    CFS_BLOCK_BYTES, label->slice_bytes -
				    2 * CFS_BLOCK_BYTES, NULL) == 0)
			*ret_bytes += label->slice_bytes - 2 * CFS_BLOCK_BYTES;
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	cfs_container_unlock(pool->c0);
	return r == -ENOENT ? 0 : r;
}
