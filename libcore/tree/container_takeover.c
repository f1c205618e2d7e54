/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening a container whose last writer may still write. */
#include "tree/container_takeover.h"

#include "base/cleanup.h"
#include "base/rng.h"
#include "tree/adopt_priv.h"
#include "tree/container_grave.h"
#include "tree/lend_priv.h"
#include "tree/space_priv.h"

#include <assert.h>
#include <stdlib.h>

#define ROOT_READS	8u	/* its log may begin anew while we look */
#define STAMPS_BEYOND	(UINT64_C(1) << 20)	/* as a root promises ahead */
#define SPARE_BLOCKS	64u

enum takeover_adopt { ADOPT_COPIED, ADOPT_IN_PLACE };

struct takeover {
	const struct cfs_container_move *move;
	bool		fills_log;
	struct cfs_root	old;		/* of the old writer */
	uint64_t	old_places[CFS_ROOT_PLACES_MAX];
	enum takeover_adopt adopt;
};

int cfs_takeover_log_id(uint64_t *ret, struct cfs_err *err)
{
	struct cfs_rng rng;
	int r = cfs_rng_init_random(&rng, err);

	if (r == 0)
		*ret = 1 + cfs_rng_below(&rng, CFS_INO_MAX);
	return r;
}

/* ---- the old root -------------------------------------------------------- */

/*
 * The root behind the gravestone.  A writer that has not seen that yet may
 * write one more, and give its log another id with it: then that one is dead.
 */
static int seal(struct cfs_container *c, struct takeover *t,
		struct cfs_err *err)
{
	uint64_t seq = 0, log_id;
	int r = cfs_container_read_root(c->mv, c->id, t->old_places, &t->old,
					&seq, NULL, err);

	for (unsigned int i = 0; r == 0 && i < ROOT_READS; i++) {
		log_id = t->old.log_id;
		r = cfs_grave_set(c, &t->old, t->move->base_epoch, err);
		if (r == 0)
			r = cfs_container_read_root(c->mv, c->id,
						    t->old_places, &t->old,
						    &seq, NULL, err);
		if (r == 0 && t->old.log_id == log_id) {
			c->root = t->old;
			c->root_seq = seq + 1;
			return 0;
		}
	}
	return r < 0 ? r : cfs_err_set(err, -EBUSY, "its root changes all the "
				       "time");
}

/* ---- new places ---------------------------------------------------------- */

static uint64_t fresh_blocks(const struct cfs_container *c)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	uint64_t n = 0;

	for (uint64_t l = 0; l < c->slice_room; l++)
		if (c->slices[l].is_mapped && c->slices[l].is_fresh)
			n += geo->data_count - c->slices[l].used_blocks;
	return n;
}

/* What the commit will write. */
static uint64_t commit_blocks(struct cfs_container *c)
{
	const int64_t left = cfs_space_left(c);
	const int64_t all = (int64_t)(c->total_blocks - c->used_blocks -
				      c->held_blocks - cfs_space_bad_free(c) -
				      cfs_lend_claim(c));

	return all > left ? (uint64_t)(all - left) : 0;
}

/* Room in fresh slices for @blocks and the commit behind. */
static int ensure(struct cfs_container *c, uint64_t blocks,
		  struct cfs_err *err)
{
	int r = 0;

	while (r == 0 && fresh_blocks(c) < blocks + commit_blocks(c) +
						SPARE_BLOCKS) {
		if (c->id == 0 || !c->source)
			return cfs_err_set(err, -ENOSPC, "no room to take it "
					   "over");
		r = c->source->more(c->source_ctx, c, 1, err);
	}
	return r;
}

/* One fresh slice: root pages, and in the first two gravestone and log. */
static int take_slice(struct cfs_container *c, const struct takeover *t,
		      uint64_t lslice, unsigned int i, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	const uint32_t groups = CFS_MIN(CFS_MAX(geo->group_count / 4, 1), 4);
	int r = 0;

	if (lslice >= c->slice_room || !c->slices[lslice].is_mapped)
		r = cfs_space_add_slice(c, lslice, err);
	if (r < 0)
		return r;
	c->slices[lslice].is_fresh = true;
	r = cfs_space_take_root(c, lslice, &c->root_vaddr[i], err);
	if (r < 0 || i > 1)
		return r;
	r = cfs_grave_take(c, c->root_vaddr[i], &c->root.grave_vaddr[i], err);
	if (r == 0)
		r = cfs_space_take_log(c, lslice, groups, t->fills_log,
				       &c->root.log_extents[i], err);
	if (r == 0)
		c->root.log_extent_count++;
	return r;
}

static int new_places(struct cfs_container *c, struct takeover *t,
		      const uint64_t *lslices, unsigned int count,
		      struct cfs_err *err)
{
	int r = cfs_takeover_log_id(&c->root.log_id, err);

	c->root.log_seq = 1;
	c->root.log_chain = 0;
	c->root.log_extent = c->root.log_block = 0;
	c->root.log_extent_count = 0;
	memset(c->root.log_extents, 0, sizeof(c->root.log_extents));
	memset(c->root.grave_vaddr, 0, sizeof(c->root.grave_vaddr));
	memset(c->root_vaddr, 0, sizeof(c->root_vaddr));
	for (unsigned int i = 0; r == 0 && i < count; i++)
		r = take_slice(c, t, lslices[i], i, err);
	if (r == 0)
		r = cfs_log_new(c->mv, c->epoch, &c->root, &c->log, err);
	return r;
}

/* ---- the old log --------------------------------------------------------- */

int cfs_takeover_adopt(struct cfs_container *c, uint64_t vaddr,
		       uint32_t count, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);

	if (c->takeover->adopt == ADOPT_COPIED)
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t block = cfs_vaddr_block(vaddr + i);
		const uint32_t index = cfs_geometry_index(geo, block);
		uint64_t mask[2] = { 0, 0 };
		int r;

		mask[index / 64] = UINT64_C(1) << (index % 64);
		r = cfs_space_mark_used(c, cfs_vaddr(cfs_vaddr_lslice(vaddr),
					cfs_geometry_group(geo, block)), mask,
					err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int replay_part(struct cfs_container *c, const struct cfs_rec *part,
		       bool is_copied, struct cfs_err *err)
{
	c->takeover->adopt = is_copied ? ADOPT_COPIED : ADOPT_IN_PLACE;
	return c->hooks->replay(c->hooks_ctx, part, err);
}

static const struct cfs_adopt_ops adopt_ops = { ensure, replay_part };

static int verify_frame(void *arg, const struct cfs_frame *frame,
			const void *buf, struct cfs_err *err)
{
	return cfs_container_verify_frame(arg, frame, buf, false, err);
}

static int apply_frame(void *arg, const struct cfs_frame *frame,
		       const void *buf, struct cfs_err *err)
{
	struct cfs_container *c = arg;
	struct cfs_rec rec;
	uint32_t pos = 0;
	int r;

	while ((r = cfs_frame_next(buf, frame, &pos, &rec, err)) == 1) {
		if (rec.type == CFS_REC_EXTENT && c->hooks && c->id != 0) {
			if (rec.ino >= c->next_ino)
				c->next_ino = rec.ino + 1;
			r = cfs_adopt_extent(c, &rec, &adopt_ops, err);
		} else {
			r = cfs_container_replay_record(c, &rec, err);
		}
		if (r < 0)
			break;
	}
	return r;
}

/* No look for damage behind its end: its writer may write on. */
static int read_log(struct cfs_container *c, struct takeover *t,
		    struct cfs_err *err)
{
	const struct cfs_log_replay how = {
		.verify = verify_frame,
		.apply = apply_frame,
		.arg = c,
	};
	struct cfs_log *log = NULL;
	int r = cfs_log_new(c->mv, c->epoch, &t->old, &log, err);

	if (r == 0)
		r = cfs_log_replay(log, &how, NULL, err);
	cfs_log_free(log);
	return r;
}

/* ---- what was the old writer's ------------------------------------------- */

int cfs_takeover_freeze(struct cfs_container *c, uint64_t key, uint64_t loan,
			struct cfs_err *err)
{
	struct lent_group *g;
	uint64_t bits[2];
	bool was_used;
	int r = cfs_lend_init(c, err);

	if (r == 0)
		r = cfs_space_allowed_bits(c, key, bits, &was_used, err);
	if (r == 0)
		r = cfs_lend_group_new(c, key, 0, bits, &g, err);
	if (r < 0)
		return r;
	g->number = loan;
	g->is_frozen = true;
	return 0;
}

/* The same, and its record. */
static int freeze(struct cfs_container *c, uint64_t key, uint64_t loan,
		  uint32_t epoch, struct cfs_err *err)
{
	const struct cfs_key k = cfs_space_loan_key(key);
	const struct cfs_loan_rec rec = {
		.loan = loan, .epoch = epoch, .state = CFS_LOAN_FROZEN,
	};
	struct cfs_loan_rec_disk disk;
	int r = cfs_takeover_freeze(c, key, loan, err);

	cfs_loan_rec_pack(&rec, &disk);
	return r < 0 ? r : cfs_tree_put(c->trees[CFS_TREE_TABLE - 1], &k,
					&disk, sizeof(disk), NULL, err);
}

/* What clients have on loan stays theirs. */
static int load_client_loans(struct cfs_container *c, struct cfs_err *err)
{
	const struct cfs_key from = cfs_space_loan_key(0);
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, c->trees[CFS_TREE_TABLE - 1], &from, err);

	while (r == 0 && cur.key.w[0] == from.w[0]) {
		struct cfs_loan_rec loan;

		r = cfs_loan_rec_unpack(cur.value, cur.value_bytes, &loan,
					err);
		c->next_loan = r < 0 ? c->next_loan :
			CFS_MAX(c->next_loan, loan.loan + 1);
		if (r == 0 && loan.holder && cfs_lend_knows(c, loan.holder))
			r = cfs_lend_load_loan(c, &cur, err);
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	return r == -ENOENT ? 0 : r;
}

/* The next loan of an owner, from @from on.  -ENOENT. */
static int next_loan(struct cfs_container *c, uint64_t from, uint64_t *ret_key,
		     struct cfs_loan_rec *ret, struct cfs_err *err)
{
	struct cfs_key k = cfs_space_loan_key(from);
	const uint64_t class = k.w[0];
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, c->trees[CFS_TREE_TABLE - 1], &k, err);

	for (; r == 0; r = cfs_cursor_next(&cur, err)) {
		if (cur.key.w[0] != class)
			return -ENOENT;
		r = cfs_loan_rec_unpack(cur.value, cur.value_bytes, ret, err);
		*ret_key = cur.key.w[1];
		if (r < 0 || !ret->holder || !cfs_lend_knows(c, ret->holder))
			return r;
	}
	return r;
}

static int freeze_loans(struct cfs_container *c, const struct takeover *t,
			struct cfs_err *err)
{
	struct cfs_loan_rec loan;
	uint64_t key = 0;
	int r;

	for (; (r = next_loan(c, key, &key, &loan, err)) == 0; key++) {
		struct open_group *g;

		HASH_FIND(hh, c->groups, &key, sizeof(key), g);
		/* Ours, in a fresh slice. */
		if (g)
			continue;
		c->next_loan = CFS_MAX(c->next_loan, loan.loan + 1);
		/* Whoever had the root may have taken it over. */
		r = freeze(c, key, loan.loan, t->move->base_epoch, err);
		if (r < 0)
			return r;
	}
	return r == -ENOENT ? 0 : r;
}

/* Slices that somebody between the old writer and us had taken. */
static int freeze_slices(struct cfs_container *c, const struct takeover *t,
			 struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	int r = 0;

	for (uint64_t l = 0; r == 0 && l < c->slice_room; l++) {
		uint32_t epoch = 0;

		if (!c->slices[l].is_mapped || c->slices[l].is_fresh ||
		    !t->move->is_theirs ||
		    !t->move->is_theirs(t->move->ctx, l, &epoch))
			continue;
		for (uint32_t i = 0; r == 0 && i < geo->group_count; i++)
			if (!cfs_lend_group(c, cfs_vaddr(l, i)))
				r = freeze(c, cfs_vaddr(l, i), c->next_loan,
					   epoch, err);
	}
	return r;
}

static int retire_one(struct cfs_container *c, const struct takeover *t,
		      uint64_t index, uint64_t vaddr, uint32_t count,
		      uint32_t type, struct cfs_err *err)
{
	const struct cfs_key key = { {
		cfs_table_word(CFS_TABLE_RETIRED, 0), t->move->base_epoch,
		index
	} };
	const struct cfs_retired_rec rec = {
		.vaddr = vaddr, .count = count, .type = type,
	};
	struct cfs_retired_rec_disk disk;

	if (!vaddr)
		return 0;
	cfs_retired_rec_pack(&rec, &disk);
	return cfs_tree_put(c->trees[CFS_TREE_TABLE - 1], &key, &disk,
			    sizeof(disk), NULL, err);
}

static int retire(struct cfs_container *c, const struct takeover *t,
		  struct cfs_err *err)
{
	const struct cfs_root *old = &t->old;
	uint64_t n = 0;
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < CFS_ROOT_PLACES_MAX; i++)
		r = retire_one(c, t, n++, t->old_places[i], 2, CFS_TAG_ROOT,
			       err);
	for (unsigned int i = 0; r == 0 && i < 2; i++)
		r = retire_one(c, t, n++, old->grave_vaddr[i], 1, CFS_TAG_ROOT,
			       err);
	for (uint32_t i = 0; r == 0 && i < old->log_extent_count; i++)
		r = retire_one(c, t, n++, old->log_extents[i].vaddr,
			       old->log_extents[i].block_count, CFS_TAG_LOG,
			       err);
	return r;
}

int cfs_takeover_thaw(struct cfs_container *c, struct cfs_err *err)
{
	struct cfs_key key = { { cfs_table_word(CFS_TABLE_RETIRED, 0), 0, 0 } };
	struct cfs_tree *tree = c->trees[CFS_TREE_TABLE - 1];
	const uint64_t class = key.w[0];
	struct cfs_cursor cur;
	int r;

	while ((r = cfs_cursor_ge(&cur, tree, &key, err)) == 0 &&
	       cur.key.w[0] == class) {
		struct cfs_retired_rec rec;

		key = cur.key;
		if (c->fence && !c->fence->is_gone(c->fence->ctx,
						   (uint32_t)key.w[1])) {
			key.w[1]++;
			key.w[2] = 0;
			continue;
		}
		r = cfs_retired_rec_unpack(cur.value, cur.value_bytes, &rec,
					   err);
		if (r == 0)
			r = cfs_space_free(c, rec.vaddr, rec.count, err);
		if (r == 0)
			r = cfs_tree_del(tree, &key, err);
		if (r < 0)
			return r;
		c->forces_commit = true;
	}
	return r == -ENOENT ? 0 : r;
}

/* ---- all of it ----------------------------------------------------------- */

static int load(struct cfs_container *c, struct cfs_err *err)
{
	int r = cfs_container_open_trees(c, err);

	if (r == 0)
		r = cfs_space_load(c, err);
	if (r == 0)
		r = cfs_space_bad_load(c, err);
	if (r == 0 && c->hooks && c->hooks->opened)
		r = c->hooks->opened(c->hooks_ctx, c, err);
	return r;
}

static int plan_places(struct cfs_container *c, struct takeover *t,
		       struct cfs_err *err)
{
	uint64_t lslices[CFS_ROOT_PLACES_MAX];
	unsigned int count = 0;
	int r = t->move->plan(t->move->ctx, c, commit_blocks(c) + SPARE_BLOCKS,
			      lslices, &count, err);

	return r < 0 ? r : new_places(c, t, lslices, count, err);
}

static int commit(struct cfs_container *c, struct cfs_err *err)
{
	int r = ensure(c, 0, err);

	if (r < 0)
		return r;
	c->forces_commit = true;
	/* Of what was not lent by any record nothing may stay open. */
	c->is_sealing = true;
	r = cfs_container_commit_locked(c, err);
	c->is_sealing = false;
	return r;
}

static int steps(struct cfs_container *c, struct takeover *t,
		 struct cfs_err *err)
{
	const struct cfs_container_move *m = t->move;
	int r = seal(c, t, err);

	if (r < 0)
		return r;
	if (memcmp(t->old.container_uuid, c->uuid, sizeof(c->uuid)) != 0)
		return cfs_err_set(err, -EUCLEAN,
				   "the root is another container's");
	/* It may have got a slice since whoever opens it looked. */
	for (uint32_t i = 0; c->id == 0 && r == 0 && i < t->old.smap_count;
	     i++)
		r = cfs_metavolume_set(c->mv, t->old.smap[i].lslice,
				       t->old.smap[i].pieces, err);
	if (r < 0)
		return r;
	/* Above all that the old writer may use. */
	c->stamp = t->old.stamp_ceiling + STAMPS_BEYOND;
	c->next_ino = t->old.next_ino;
	c->next_loan = c->stamp << 12;
	c->is_replaying = true;
	r = load(c, err);
	if (r == 0 && !m->plan)
		r = new_places(c, t, m->lslices, m->lslice_count, err);
	if (r == 0)
		r = read_log(c, t, err);
	if (r == 0)
		r = cfs_lend_load(c, err);
	if (r == 0)
		r = load_client_loans(c, err);
	if (r == 0)
		r = freeze_loans(c, t, err);
	if (r == 0)
		r = freeze_slices(c, t, err);
	if (r == 0)
		r = retire(c, t, err);
	if (r == 0 && m->plan)
		r = plan_places(c, t, err);
	c->is_replaying = false;
	return r < 0 ? r : commit(c, err);
}

int cfs_takeover_open(struct cfs_container *c,
		      const struct cfs_container_config *config,
		      struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) struct takeover *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	assert(c->fence);
	t->move = config->move;
	t->fills_log = config->fills_log;
	memcpy(t->old_places, config->move->base_vaddr,
	       sizeof(t->old_places));
	c->takeover = t;
	r = steps(c, t, err);
	c->takeover = NULL;
	for (uint64_t l = 0; l < c->slice_room; l++)
		c->slices[l].is_fresh = false;
	return r;
}
