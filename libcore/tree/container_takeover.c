/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening a container whose last writer may still write. */
#include "tree/container_takeover.h"

#include "base/cleanup.h"
#include "base/rng.h"
#include "tree/adopt_priv.h"
#include "tree/container_grave.h"
#include "tree/lend_priv.h"
#include "tree/takeover_priv.h"

#include <assert.h>
#include <stdlib.h>

#define ROOT_READS    8u /* its log may begin anew while we look */
#define STAMPS_BEYOND (UINT64_C(1) << 20) /* as a root promises ahead */
#define SPARE_BLOCKS  32u

bool cfs_container_is_taking(const struct cfs_container *c)
{
	return c->takeover != NULL;
}

bool cfs_container_is_freeing(const struct cfs_container *c)
{
	return c->is_freeing;
}

bool cfs_container_is_opening(const struct cfs_container *c)
{
	return c->is_opening;
}

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
					&seq, &t->old_epoch, NULL, err);

	for (unsigned int i = 0; r == 0 && i < ROOT_READS; i++) {
		log_id = t->old.log_id;
		r = cfs_grave_set(c, &t->old, t->move->base_epoch, err);
		if (r == 0)
			r = cfs_container_read_root(c->mv, c->id, t->old_places,
						    &t->old, &seq,
						    &t->old_epoch, NULL, err);
		if (r == 0 && t->old.log_id == log_id) {
			c->root = t->old;
			c->root_seq = seq + 1;
			return 0;
		}
	}
	return r < 0 ? r
		     : cfs_err_set(err, -EBUSY,
				   "its root changes all the "
				   "time");
}

/* ---- new places ---------------------------------------------------------- */

/* What was copied and freed again is no room before the commit. */
static uint64_t fresh_blocks(const struct cfs_container *c)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	uint64_t n = 0;

	for (uint64_t l = 0; l < c->slice_room; l++)
		if (c->slices[l].is_mapped && c->slices[l].is_fresh)
			n += geo->data_count - c->slices[l].used_blocks;
	return n - CFS_MIN(n, c->held_fresh);
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
static int ensure(struct cfs_container *c, uint64_t blocks, struct cfs_err *err)
{
	int r = 0;

	while (r == 0 &&
	       fresh_blocks(c) < blocks + commit_blocks(c) + SPARE_BLOCKS) {
		if (c->id == 0 || !c->source)
			return cfs_err_set(err, -ENOSPC,
					   "no room to take it "
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

int cfs_takeover_adopt(struct cfs_container *c, uint64_t vaddr, uint32_t count,
		       struct cfs_err *err)
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
		r = cfs_space_mark_used(
			c,
			cfs_vaddr(cfs_vaddr_lslice(vaddr),
				  cfs_geometry_group(geo, block)),
			mask, err);
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

/* Container 0's slices came and went since whoever opens it looked. */
static int map_again(struct cfs_container *c, const struct cfs_root *root,
		     struct cfs_err *err)
{
	const uint64_t end = cfs_metavolume_end(c->mv);
	int r = 0;

	for (uint64_t l = 0; l < end; l++)
		cfs_metavolume_clear(c->mv, l);
	for (uint32_t i = 0; r == 0 && i < root->smap_count; i++)
		r = cfs_metavolume_set(c->mv, root->smap[i].lslice,
				       root->smap[i].pieces, err);
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
	r = c->id == 0 ? map_again(c, &t->old, err) : 0;
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
		r = cfs_takeover_freeze_all(c, t, err);
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
	memcpy(t->old_places, config->move->base_vaddr, sizeof(t->old_places));
	c->takeover = t;
	r = steps(c, t, err);
	c->takeover = NULL;
	for (uint64_t l = 0; l < c->slice_room; l++)
		c->slices[l].is_fresh = false;
	c->held_fresh = 0;
	return r;
}
