/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Slices of a container, as the allocator knows them: coming, going, and their
 * sums at open.
 */
#include "tree/container_priv.h"
#include "tree/lend_priv.h"

#include <stdlib.h>

#define SPACE_SLICE (UINT64_C(1) << 56)
#define SPACE_GROUP (UINT64_C(2) << 56)

int cfs_space_add_slice(struct cfs_container *c, uint64_t lslice,
			struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);

	if (lslice >= c->slice_room) {
		uint64_t room = CFS_MAX(lslice + 64, 2 * c->slice_room);
		struct slice_state *s = realloc(c->slices, room * sizeof(*s));

		if (!s)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		memset(s + c->slice_room, 0,
		       (room - c->slice_room) * sizeof(*s));
		c->slices = s;
		c->slice_room = room;
	}
	if (!c->slices[lslice].is_mapped)
		c->total_blocks += geo->data_count;
	c->slices[lslice] = (struct slice_state){ .is_mapped = true };
	cfs_space_look_again(&c->slices[lslice]);
	c->lacks_runs = c->grows_for_runs = false;
	c->map_change++;
	return 0;
}

void cfs_space_drop_slice(struct cfs_container *c, uint64_t lslice)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);

	c->total_blocks -= geo->data_count;
	c->slices[lslice].is_mapped = false;
	c->map_change++;
}

int cfs_space_group_used(struct cfs_container *c, uint64_t lslice,
			 uint32_t group, uint64_t ret[2], struct cfs_err *err)
{
	uint64_t used[2];
	bool is_there;
	int r = cfs_space_bits_load(c, cfs_vaddr(lslice, group), used,
				    &is_there, err);

	if (r == 0)
		memcpy(ret, used, sizeof(used));
	return r;
}

static bool slice_is_idle(struct cfs_container *c, uint64_t lslice)
{
	struct open_group *g, *gtmp;
	struct held_group *h, *htmp;

	if (lslice >= c->slice_room || !c->slices[lslice].is_mapped ||
	    c->slices[lslice].used_blocks)
		return false;
	/* Whoever got it next would not know of them. */
	if (cfs_space_bad_in_slice(c, lslice))
		return false;
	if (c->lender && cfs_lend_in_slice(c, lslice))
		return false;
	HASH_ITER(hh, c->held, h, htmp)
		if (cfs_vaddr_lslice(h->key) == lslice)
			return false;
	HASH_ITER(hh, c->groups, g, gtmp)
		if (g->g.lslice == lslice)
			return false;
	return true;
}

void cfs_container_spare_empty(struct cfs_container *c)
{
	cfs_container_lock(c);
	for (uint64_t l = 0; l < c->slice_room; l++)
		if (c->slices[l].is_mapped && c->slices[l].used_blocks == 0)
			c->slices[l].is_leaving = true;
	cfs_container_unlock(c);
}

/*
 * The record of the slice goes.  Those of its groups stay until it is really
 * gone: a crash before that leaves it ours, in the same life, and its groups
 * must be known as used, or their next pages would begin at sequence 1 and old
 * ones pass for newer.
 */
static int forget_slice(struct cfs_container *c, uint64_t lslice,
			struct cfs_err *err)
{
	struct cfs_key key = { { SPACE_SLICE | lslice, 0, 0 } };
	int r = cfs_tree_del(c->trees[CFS_TREE_SPACE - 1], &key, err);

	return r == -ENOENT ? 0 : r;
}

void cfs_container_slice_gone(struct cfs_container *c, uint64_t lslice)
{
	const struct cfs_key first = { { SPACE_GROUP | lslice, 0, 0 } };
	struct cfs_tree *tree = c->trees[CFS_TREE_SPACE - 1];
	struct cfs_cursor cur;

	cfs_container_lock(c);
	/* Another thread may have needed one and got it, before we are told:
	 * then its groups have records of that life, and those that are older
	 * say "nothing in use" of groups that have no page yet. */
	if (lslice < c->slice_room && c->slices[lslice].is_mapped) {
		cfs_container_unlock(c);
		return;
	}
	/* Where that fails, a record that says "nothing in use" stays. */
	while (!c->is_readonly &&
	       cfs_cursor_ge(&cur, tree, &first, NULL) == 0 &&
	       cur.key.w[0] == first.w[0])
		if (cfs_tree_del(tree, &cur.key, NULL) < 0)
			break;
	cfs_container_unlock(c);
}

int cfs_container_give_slice(struct cfs_container *c, uint64_t lslice,
			     bool *ret_given, struct cfs_err *err)
{
	int r = 0;

	*ret_given = false;
	cfs_container_lock(c);
	/* Groups that are on loan but idle keep a slice busy: give them back
	 * with the commit. */
	if (!c->is_readonly && slice_is_idle(c, lslice)) {
		c->slices[lslice].is_leaving = true;
		r = forget_slice(c, lslice, err);
		if (r == 0)
			r = cfs_container_commit_locked(c, err);
		if (r == 0 && slice_is_idle(c, lslice)) {
			cfs_space_drop_slice(c, lslice);
			cfs_blocks_forget(c->blocks, lslice);
			*ret_given = true;
		}
	}
	if (lslice < c->slice_room)
		c->slices[lslice].is_leaving = false;
	cfs_container_unlock(c);
	return r;
}

/* The sums of all slices, at open. */
int cfs_space_load(struct cfs_container *c, struct cfs_err *err)
{
	uint64_t end = cfs_metavolume_end(c->mv);
	struct cfs_key from = { { SPACE_SLICE, 0, 0 } };
	struct cfs_cursor cur;
	struct cfs_piece pieces[CFS_PIECES_MAX];
	int r;

	for (uint64_t i = 0; i < end; i++) {
		if (!cfs_metavolume_get(c->mv, i, pieces))
			continue;
		r = cfs_space_add_slice(c, i, err);
		if (r < 0)
			return r;
	}
	r = cfs_cursor_ge(&cur, c->trees[CFS_TREE_SPACE - 1], &from, err);
	while (r == 0 && cur.key.w[0] < SPACE_GROUP) {
		uint64_t lslice = cur.key.w[0] & ~SPACE_SLICE;
		struct cfs_space_slice_disk disk;

		if (cur.value_bytes < sizeof(disk) || lslice >= c->slice_room ||
		    !c->slices[lslice].is_mapped)
			return cfs_err_set(
				err, -EUCLEAN,
				"space: a slice's record makes no sense");
		memcpy(&disk, cur.value, sizeof(disk));
		c->slices[lslice].used_blocks = le32_get(disk.used_blocks);
		c->used_blocks += le32_get(disk.used_blocks);
		r = cfs_cursor_next(&cur, err);
	}
	return r == -ENOENT ? 0 : r;
}

void cfs_space_done(struct cfs_container *c)
{
	struct open_group *g, *gtmp;
	struct held_group *h, *htmp;

	HASH_ITER(hh, c->groups, g, gtmp) {
		HASH_DEL(c->groups, g);
		cfs_blocks_unregister(c->blocks, &g->g);
		free(g);
	}
	HASH_ITER(hh, c->held, h, htmp) {
		HASH_DEL(c->held, h);
		free(h);
	}
	cfs_space_bad_done(c);
	cfs_vec_done(&c->unfit);
	free(c->slices);
}
