/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Emptying slices of a container in which little is left.  Data is moved by
 * writing the same bytes again, as anybody would: only what no snapshot sees,
 * or it would be there twice.
 */
#include "volume/pool_shared.h"

#include "base/cleanup.h"
#include "pool/metavolume.h"
#include "tree/lend.h"
#include "tree/tree.h"
#include "volume/data.h"
#include "volume/vols_priv.h"

#define LEFT_AT_ONCE 8u /* slices that are emptied at one opening */

/* Does the head of its branch show it there, and nothing else?  In an
 * operation. */
static bool is_newest(struct cfs_member *m, uint64_t vaddr,
		      const struct cfs_tag *tag)
{
	const struct cfs_key key = {
		{ (uint64_t)tag->branch << 48 | tag->ino,
		  (uint64_t)CFS_MAP_EXTENT << CFS_MAP_OFF_BITS | tag->offset,
		  0 }
	};
	struct branch *b = cfs_branch_find(m->vols, tag->branch);
	struct cfs_extent_rec rec;
	struct cfs_cursor cur;

	return b &&
	       cfs_branch_is_pinned(m->vols, b, tag->stamp, UINT64_MAX, NULL) ==
		       0 &&
	       cfs_cursor_le(&cur,
			     cfs_container_tree(m->container, CFS_TREE_LIVE),
			     &key, NULL) == 0 &&
	       cur.key.w[0] == key.w[0] &&
	       cur.key.w[1] >> CFS_MAP_OFF_BITS == CFS_MAP_EXTENT &&
	       cfs_extent_rec_unpack(cur.value, cur.value_bytes, &rec, NULL) ==
		       0 &&
	       rec.vaddr && key.w[1] - cur.key.w[1] < rec.count &&
	       rec.vaddr + (key.w[1] - cur.key.w[1]) == vaddr;
}

static int move(void *ctx, struct cfs_container *c, uint64_t vaddr,
		const struct cfs_tag *tag, struct cfs_err *err)
{
	const struct cfs_view view = {
		.container = c,
		.branch = tag->branch,
		.stamp = CFS_STAMP_HEAD,
	};
	CFS_CLEANUP(cfs_freep) void *buf = cfs_dev_buf_alloc(CFS_BLOCK_BYTES);
	int r = buf ? cfs_op_begin(c, CFS_OP_NORMAL, err)
		    : cfs_err_set(err, -ENOMEM, "out of memory");

	if (r < 0)
		return r;
	if (!is_newest(ctx, vaddr, tag))
		r = cfs_err_set(err, -EBUSY, "a snapshot sees it");
	if (r == 0)
		r = cfs_data_read(&view, tag->ino,
				  tag->offset * CFS_BLOCK_BYTES, buf,
				  CFS_BLOCK_BYTES, NULL, err);
	if (r == 0)
		r = cfs_data_write(c, tag->branch, tag->ino,
				   tag->offset * CFS_BLOCK_BYTES, buf,
				   CFS_BLOCK_BYTES, err);
	if (r == 0)
		cfs_op_end(c);
	else
		cfs_op_abort(c);
	return r;
}

int cfs_pool_move_block(struct cfs_member *m, uint64_t vaddr,
			const struct cfs_tag *tag, struct cfs_err *err)
{
	struct cfs_lent_counts lent;

	cfs_container_lent_counts(m->container, &lent);
	return lent.clients ? cfs_err_set(err, -EBUSY, "clients may write it")
			    : move(m, m->container, vaddr, tag, err);
}

/*
 * What cannot be moved stays, and the next slice is tried.  Where clients may
 * write, data is theirs.
 */
void cfs_pool_leave_slices(struct cfs_pool *pool, struct cfs_member *m)
{
	struct cfs_container *c = m ? m->container : pool->c0;
	const uint64_t end = cfs_metavolume_end(cfs_container_metavolume(c));
	const struct cfs_slice_leaver leaver = { .move = move, .ctx = m };
	struct cfs_lent_counts lent = { 0 };
	unsigned int n = 0;

	if (m)
		cfs_container_lent_counts(c, &lent);
	for (uint64_t l = 0; l < end && n < LEFT_AT_ONCE; l++) {
		bool has_left = false;

		(void)cfs_container_leave_slice(
			c, l, m && !lent.clients ? &leaver : NULL, &has_left,
			NULL);
		n += has_left;
	}
}
