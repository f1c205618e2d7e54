/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which groups are lent next, and which run of a group is handed out.
 *
 * A run that is long is one write, and one record; so a long write looks for
 * groups with long runs first, and the others leave them alone where they can.
 * Beyond that a group is worth more the more of it is free: each takes a tag
 * page, however few blocks are written in it.
 *
 * For each slice it is known what its best group can have at most, so that
 * slices are not looked at in vain.  What must stay true: that bound is raised
 * whenever blocks of a group come back, or a group itself.
 */
#include "tree/container_priv.h"
#include "tree/lend_priv.h"
#include "tree/space_priv.h"

#include <assert.h>

#define BATCH_WITHOUT_RUNS 16u /* groups */

/* ---- runs ---------------------------------------------------------------- */

/* The first bit from @from on that is set, or clear; 128 if there is none. */
static uint32_t next_bit(const uint64_t bits[2], uint32_t from, bool is_set)
{
	for (uint32_t i = from / 64; i < 2; i++, from = 64 * i) {
		uint64_t word = is_set ? bits[i] : ~bits[i];

		word &= UINT64_MAX << (from % 64);
		if (word)
			return 64 * i + (uint32_t)__builtin_ctzll(word);
	}
	return 128;
}

uint32_t cfs_space_find_run(const uint64_t bits[2], uint32_t count,
			    bool is_long, uint32_t *ret_first)
{
	uint32_t first = next_bit(bits, 0, true), best = 0;

	while (first < 128 && best < count) {
		uint32_t end = next_bit(bits, first, false);

		if (end - first > best) {
			best = end - first;
			*ret_first = first;
		}
		if (!is_long)
			break;
		first = end < 128 ? next_bit(bits, end, true) : 128;
	}
	return CFS_MIN(best, count);
}

uint32_t cfs_space_longest_run(const uint64_t bits[2])
{
	uint32_t first;

	return cfs_space_find_run(bits, CFS_TAGS_PER_PAGE, true, &first);
}

static uint32_t bits_count(const uint64_t bits[2])
{
	return (uint32_t)__builtin_popcountll(bits[0]) +
	       (uint32_t)__builtin_popcountll(bits[1]);
}

/* ---- what slices can have ------------------------------------------------ */

void cfs_space_look_again(struct slice_state *s)
{
	s->run_most = s->free_most = CFS_TAGS_PER_PAGE;
}

void cfs_space_group_released(struct cfs_container *c, uint64_t key)
{
	struct slice_state *s = &c->slices[cfs_vaddr_lslice(key)];
	uint64_t bits[2];
	bool was_used;

	if (s->run_most == CFS_TAGS_PER_PAGE)
		return;
	if (cfs_space_free_bits(c, key, bits, &was_used, NULL) < 0) {
		cfs_space_look_again(s);
		return;
	}
	s->run_most = (uint8_t)CFS_MAX(s->run_most,
				       cfs_space_longest_run(bits));
	s->free_most = (uint8_t)CFS_MAX(s->free_most, bits_count(bits));
}

/* ---- choosing ------------------------------------------------------------ */

/* What groups a pass looks for; the first that finds enough is the last. */
struct wish {
	uint8_t run_min, free_min; /* blocks */
	bool is_home;              /* only where the container's root is */
	bool is_for_long;          /* only if a long write asks */
	bool is_soft;              /* too few of them: some others as well */
	bool is_strict;            /* only on the stream's side */
	bool takes_leaving;        /* in slices that should become empty, too */
};

static const struct wish wishes[] = {
	{ .run_min = 1, .free_min = 1, .is_home = true, .is_strict = true },
	{ .run_min = CFS_SPACE_LONG,
	  .free_min = CFS_SPACE_LONG,
	  .is_for_long = true,
	  .is_soft = true,
	  .is_strict = true },
	{ .run_min = 1, .free_min = 64, .is_soft = true, .is_strict = true },
	{ .run_min = 1, .free_min = 32, .is_strict = true },
	{ .run_min = 1, .free_min = 1, .is_strict = true },
	{ .run_min = 1, .free_min = 32 },
	{ .run_min = 1, .free_min = 1 },
	{ .run_min = 1, .free_min = 1, .takes_leaving = true },
};

/*
 * Second copies of nodes stay in other slices than the first ones, on other
 * devices where there are several: slices have a side, by device or by number.
 */
static unsigned int slice_side(const struct cfs_container *c, uint64_t lslice)
{
	if (c->copies == 1)
		return 0;
	if (cfs_devset_count(cfs_metavolume_devset(c->mv)) > 1)
		return cfs_metavolume_device(c->mv, lslice) & 1;
	return (unsigned int)(lslice & 1);
}

bool cfs_space_slice_suits(const struct cfs_container *c, unsigned int stream,
			   uint64_t lslice, bool is_strict)
{
	if (!is_strict || c->copies == 1)
		return true;
	if (stream == CFS_STREAM_META0)
		return slice_side(c, lslice) == 0;
	if (stream == CFS_STREAM_META1)
		return slice_side(c, lslice) == 1;
	return true;
}

static bool is_enough(const struct cfs_choice *ch)
{
	return ch->count == ch->room ||
	       (ch->count >= ch->groups_min && ch->blocks >= ch->blocks_min);
}

bool cfs_space_is_unfit(const struct cfs_container *c, uint64_t key)
{
	for (size_t i = 0; i < c->unfit.count; i++)
		if (c->unfit.items[i] == key)
			return true;
	return false;
}

/* By one of the passes before; @count of them. */
static bool is_chosen(const struct cfs_choice *ch, size_t count, uint64_t key)
{
	for (size_t i = 0; i < count; i++)
		if (ch->list[i].key == key)
			return true;
	return false;
}

/* Groups of one slice that are worth opening, from its cursor on. */
static int scan_slice(struct cfs_container *c, uint64_t lslice,
		      const struct wish *w, struct cfs_choice *ch,
		      size_t before, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	struct slice_state *s = &c->slices[lslice];
	uint32_t run_most = 0, free_most = 0;

	for (uint32_t n = 0; n < geo->group_count; n++) {
		uint32_t index = (s->cursor + n) % geo->group_count;
		uint64_t key = cfs_vaddr(lslice, index);
		struct cfs_candidate *cand = &ch->list[ch->count];
		struct open_group *g;
		uint32_t free_blocks, run;
		int r;

		HASH_FIND(hh, c->groups, &key, sizeof(key), g);
		if (g || cfs_space_is_unfit(c, key) ||
		    (c->lender && cfs_lend_has_group(c, key)) ||
		    is_chosen(ch, before, key))
			continue;
		r = cfs_space_allowed_bits(c, key, cand->allowed,
					   &cand->was_used, err);
		if (r < 0)
			return r;
		free_blocks = bits_count(cand->allowed);
		run = cfs_space_longest_run(cand->allowed);
		if (free_blocks < w->free_min || run < w->run_min) {
			run_most = CFS_MAX(run_most, run);
			free_most = CFS_MAX(free_most, free_blocks);
			continue;
		}
		cand->key = key;
		ch->count++;
		ch->blocks += free_blocks;
		if (is_enough(ch)) {
			s->cursor = (index + 1) % geo->group_count;
			return 0;
		}
	}
	s->run_most = (uint8_t)run_most;
	s->free_most = (uint8_t)free_most;
	return 0;
}

/*
 * The pool's own container stays where its root is, on shared pools: so what
 * takeovers have left behind can be given back.
 */
static bool is_home(const struct cfs_container *c, uint64_t lslice)
{
	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++)
		if (c->root_vaddr[i] &&
		    cfs_vaddr_lslice(c->root_vaddr[i]) == lslice)
			return true;
	return false;
}

static bool may_have(const struct cfs_container *c, unsigned int stream,
		     uint64_t lslice, const struct wish *w)
{
	const struct slice_state *s = &c->slices[lslice];

	return s->is_mapped && s->run_most >= w->run_min &&
	       s->free_most >= w->free_min &&
	       (!s->is_leaving || w->takes_leaving) &&
	       (!w->is_home || is_home(c, lslice)) &&
	       (!c->takeover || s->is_fresh) &&
	       cfs_space_slice_suits(c, stream, lslice, w->is_strict);
}

/* Long runs, and more than a few, of what comes back with the next commits? */
static bool will_bring_runs(const struct cfs_container *c)
{
	const struct held_group *h;
	unsigned int count = 0;

	for (h = c->held; h && count < CFS_SPACE_BATCH_MIN; h = h->hh.next) {
		const uint64_t bits[2] = {
			h->now[0] | h->before[0] | h->waiting[0],
			h->now[1] | h->before[1] | h->waiting[1],
		};

		count += cfs_space_longest_run(bits) >= CFS_SPACE_LONG;
	}
	return count == CFS_SPACE_BATCH_MIN;
}

int cfs_space_choose(struct cfs_container *c, unsigned int stream,
		     struct cfs_choice *ch, struct cfs_err *err)
{
	const uint64_t end = CFS_MIN(cfs_metavolume_end(c->mv), c->slice_room);
	const bool has_home = c->fence && c->id == 0;

	for (size_t i = 0; i < CFS_ARRAY_COUNT(wishes); i++) {
		const struct wish *w = &wishes[i];
		const size_t before = ch->count;

		if ((w->is_home && !has_home) ||
		    (w->is_for_long && !ch->is_long))
			continue;
		for (uint64_t l = 0; l < end && !is_enough(ch); l++) {
			int r = may_have(c, stream, l, w)
					? scan_slice(c, l, w, ch, before, err)
					: 0;

			if (r < 0)
				return r;
		}
		if (w->is_for_long && ch->count == 0) {
			/* Some others, until there are such again. */
			c->lacks_runs = true;
			c->grows_for_runs = !will_bring_runs(c);
			ch->groups_min = CFS_MIN(ch->groups_min,
						 BATCH_WITHOUT_RUNS);
		}
		if (w->is_soft ? ch->count >= CFS_SPACE_BATCH_MIN &&
					 ch->blocks >= ch->blocks_min
			       : ch->count > 0)
			break;
	}
	return 0;
}

void cfs_space_choose_failed(struct cfs_container *c)
{
	for (uint64_t l = 0; l < c->slice_room; l++)
		cfs_space_look_again(&c->slices[l]);
}
