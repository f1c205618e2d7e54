/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Groups on loan at a commit, behind it, and when their writer has died.
 */
#include "tree/container_takeover.h"
#include "tree/lend_priv.h"
#include "tree/space_priv.h"

#include <stdlib.h>

#define GROUPS_KEPT 256u /* open, whatever is left in them */

/* ---- commit -------------------------------------------------------------- */

/*
 * Only short runs are left of the loan.  Where more of the group has come free
 * since, it may be lent anew with that; and where many groups are open, it is
 * not worth the memory and a tag page.
 */
static bool is_crumbs(struct cfs_container *c, const struct open_group *g)
{
	uint64_t bits[2];
	bool was_used;

	if (g->is_assigned || !(g->allowed[0] | g->allowed[1]) ||
	    cfs_space_longest_run(g->allowed) >= CFS_SPACE_RUN_MIN)
		return false;
	if (HASH_COUNT(c->groups) > GROUPS_KEPT)
		return true;
	return cfs_space_free_bits(c, g->key, bits, &was_used, NULL) == 0 &&
	       cfs_space_longest_run(bits) >= CFS_SPACE_LONG;
}

/* Groups that are used up go back with this commit; sums of slices. */
int cfs_space_commit_begin(struct cfs_container *c, struct cfs_err *err)
{
	struct open_group *g, *tmp;

	HASH_ITER(hh, c->groups, g, tmp) {
		struct cfs_key key = cfs_space_loan_key(g->key);
		int r;

		if (is_crumbs(c, g))
			g->allowed[0] = g->allowed[1] = 0;
		if (!c->is_sealing && (g->allowed[0] | g->allowed[1]))
			continue;
		r = cfs_tree_del(c->trees[CFS_TREE_TABLE - 1], &key, err);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	for (uint64_t l = 0; l < c->slice_room; l++) {
		struct cfs_space_slice_disk disk;
		struct cfs_key key = { { UINT64_C(1) << 56 | l, 0, 0 } };
		int r;

		if (!c->slices[l].is_changed || !c->slices[l].is_mapped)
			continue;
		memset(&disk, 0, sizeof(disk));
		disk.used_blocks = le32_put(c->slices[l].used_blocks);
		r = cfs_tree_put(c->trees[CFS_TREE_SPACE - 1], &key, &disk,
				 sizeof(disk), NULL, err);
		if (r < 0)
			return r;
		c->slices[l].is_changed = false;
	}
	return 0;
}

/* The tag pages of all groups that changed, into the commit's writes. */
int cfs_space_commit_pages(struct cfs_container *c, struct cfs_err *err)
{
	struct open_group *g, *tmp;

	/* A slot is written only when a flush has covered the other one. */
	if (c->has_spread) {
		int r = cfs_metavolume_flush(c->mv, err);

		if (r < 0)
			return r;
		c->has_spread = false;
	}
	HASH_ITER(hh, c->groups, g, tmp) {
		struct cfs_page_disk *page;
		uint64_t vaddr;
		int r;

		if (!g->is_dirty)
			continue;
		page = cfs_dev_buf_alloc(sizeof(*page));
		if (!page ||
		    cfs_buf_append(&c->page_bufs, &page, sizeof(page)) < 0) {
			free(page);
			return cfs_err_set(err, -ENOMEM, "out of memory");
		}
		cfs_group_page(c->blocks, &g->g, c->commit_stamp, page, &vaddr);
		r = cfs_container_add_write(c, vaddr, 1, page, err);
		if (r < 0)
			return r;
		g->is_dirty = false;
	}
	return 0;
}

static void forget_group(struct cfs_container *c, struct open_group *g)
{
	for (unsigned int s = 0; s < CFS_STREAM_COUNT; s++)
		if (c->current[s] == g)
			c->current[s] = NULL;
	HASH_DEL(c->groups, g);
	cfs_blocks_unregister(c->blocks, &g->g);
	cfs_space_group_released(c, g->key);
	free(g);
}

void cfs_space_group_forget(struct cfs_container *c, uint64_t key)
{
	struct open_group *g;

	HASH_FIND(hh, c->groups, &key, sizeof(key), g);
	if (g)
		forget_group(c, g);
}

/* Behind the root: forget groups whose loan is over. */
void cfs_space_close_groups(struct cfs_container *c)
{
	struct open_group *g, *tmp;

	HASH_ITER(hh, c->groups, g, tmp) {
		struct cfs_key key = cfs_space_loan_key(g->key);

		if (!c->is_sealing && (g->allowed[0] | g->allowed[1]))
			continue;
		/* Used up while the commit placed its nodes: next time. */
		if (cfs_tree_get(c->trees[CFS_TREE_TABLE - 1], &key, NULL, 0,
				 &(size_t){ 0 }, NULL) != -ENOENT)
			continue;
		forget_group(c, g);
	}
}

/* ---- recovery ------------------------------------------------------------ */

/*
 * A group that was on loan when its writer died: tags of a commit that did
 * not come to its root would pass for newest versions once the stamp has
 * overtaken them.  Blocks in use keep theirs (as of the root, or put there by
 * the replay); the others are free, and so are their tags.
 */
int cfs_space_take_over(struct cfs_container *c, uint64_t key,
			struct cfs_err *err)
{
	const struct cfs_tag_disk zero = { 0 };
	struct open_group *g;
	uint64_t free_bits[2], bad[2];
	bool was_used;
	int r = cfs_space_open_group(c, key, &g, err);

	if (r == 0)
		r = cfs_space_free_bits(c, key, free_bits, &was_used, err);
	if (r != 0)
		return r;
	/*
	 * The dead writer's page is there, though no block of it came to count:
	 * unless the group is known as used, its next loan would begin at
	 * sequence 1 again, and this page would pass for the newer one.
	 */
	if (!was_used && g->g.seq > 0) {
		const uint64_t none[2] = { 0, 0 };

		r = cfs_space_bits_store(c, key, none, err);
		if (r < 0)
			return r;
	}
	/* What the replay freed is held: the last root may still name it. */
	for (unsigned int i = 0; i < CFS_TAGS_PER_PAGE; i++) {
		if (!(free_bits[i / 64] >> (i % 64) & 1) ||
		    memcmp(&g->g.tags[i], &zero, sizeof(zero)) == 0)
			continue;
		g->g.tags[i] = zero;
		g->is_dirty = true;
	}
	/* The old writer is gone, so its loan goes on as ours. */
	cfs_space_bad_bits(c, key, bad);
	g->allowed[0] = free_bits[0] & ~bad[0];
	g->allowed[1] = free_bits[1] & ~bad[1];
	return 0;
}

static bool is_group(const struct cfs_container *c, uint64_t key)
{
	return cfs_vaddr_lslice(key) < c->slice_room &&
	       c->slices[cfs_vaddr_lslice(key)].is_mapped &&
	       cfs_vaddr_block(key) <
		       cfs_metavolume_geometry(c->mv)->group_count;
}

/* For who takes over from us: that it is not the one's before us any more. */
static int make_ours(struct cfs_container *c, uint64_t key,
		     const struct cfs_loan_rec *loan, struct cfs_err *err)
{
	const struct cfs_key k = cfs_space_loan_key(key);
	const struct cfs_loan_rec ours = {
		.loan = loan->loan,
		.epoch = c->epoch,
		.state = CFS_LOAN_OPEN,
	};
	struct cfs_loan_rec_disk disk;

	cfs_loan_rec_pack(&ours, &disk);
	return cfs_tree_put(c->trees[CFS_TREE_TABLE - 1], &k, &disk,
			    sizeof(disk), NULL, err);
}

static int recover_loan(struct cfs_container *c, const struct cfs_cursor *cur,
			const struct cfs_loan_rec *loan, struct cfs_err *err)
{
	const uint64_t key = cur->key.w[1];
	int r;

	if (loan->holder && cfs_lend_knows(c, loan->holder))
		return cfs_lend_load_loan(c, cur, err);
	if (c->fence &&
	    !c->fence->is_gone(c->fence->ctx, loan->epoch, loan->epoch))
		return cfs_takeover_freeze(c, key, loan->loan, err);
	r = c->fence ? make_ours(c, key, loan, err) : 0;
	return r < 0 ? r : cfs_space_take_over(c, key, err);
}

int cfs_space_recover(struct cfs_container *c, struct cfs_err *err)
{
	struct cfs_key from = cfs_space_loan_key(0);
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, c->trees[CFS_TREE_TABLE - 1], &from, err);

	while (r == 0 && cur.key.w[0] == from.w[0]) {
		struct cfs_loan_rec loan;

		r = cfs_loan_rec_unpack(cur.value, cur.value_bytes, &loan, err);
		if (r == 0 && !is_group(c, cur.key.w[1]))
			r = cfs_err_set(err, -EUCLEAN,
					"a loan of a group that is not there");
		if (r == 0) {
			c->next_loan = CFS_MAX(c->next_loan, loan.loan + 1);
			r = recover_loan(c, &cur, &loan, err);
		}
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	return r == -ENOENT ? 0 : r;
}
