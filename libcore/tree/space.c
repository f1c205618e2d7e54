/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The allocator: bitmaps, held blocks, runs for data, counts and promises.
 * Opening and lending groups is in space_group.c, slices in space_slice.c.
 */
#include "tree/container_client_priv.h"
#include "tree/container_priv.h"
#include "tree/container_takeover.h"
#include "tree/lend_priv.h"
#include "tree/space_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define SPACE_GROUP (UINT64_C(2) << 56)

/* ---- bits ---------------------------------------------------------------- */

static unsigned int bits_count(const uint64_t bits[2])
{
	return (unsigned int)__builtin_popcountll(bits[0]) +
	       (unsigned int)__builtin_popcountll(bits[1]);
}

static struct cfs_key group_record_key(uint64_t key)
{
	return (struct cfs_key){ { SPACE_GROUP | cfs_vaddr_lslice(key),
				   cfs_vaddr_block(key), 0 } };
}

static uint64_t key_of(const struct cfs_container *c, uint64_t vaddr)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);

	return cfs_vaddr(cfs_vaddr_lslice(vaddr),
			 cfs_geometry_group(geo, cfs_vaddr_block(vaddr)));
}

static uint32_t index_of(const struct cfs_container *c, uint64_t vaddr)
{
	return cfs_geometry_index(cfs_metavolume_geometry(c->mv),
				  cfs_vaddr_block(vaddr));
}

int cfs_space_bits_load(struct cfs_container *c, uint64_t key, uint64_t used[2],
			bool *ret_is_there, struct cfs_err *err)
{
	struct cfs_key k = group_record_key(key);
	struct cfs_space_group_disk disk;
	le64 words[2];
	size_t bytes;
	int r = cfs_tree_get(c->trees[CFS_TREE_SPACE - 1], &k, &disk,
			     sizeof(disk), &bytes, err);

	used[0] = used[1] = 0;
	*ret_is_there = r == 0;
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (bytes != sizeof(disk))
		return cfs_err_set(err, -EUCLEAN,
				   "space: a record has the wrong length");
	memcpy(words, disk.used, sizeof(words));
	used[0] = le64_get(words[0]);
	used[1] = le64_get(words[1]);
	return 0;
}

int cfs_space_bits_store(struct cfs_container *c, uint64_t key,
			 const uint64_t used[2], struct cfs_err *err)
{
	struct cfs_key k = group_record_key(key);
	const le64 words[2] = { le64_put(used[0]), le64_put(used[1]) };
	struct cfs_space_group_disk disk;

	memcpy(disk.used, words, sizeof(disk.used));
	return cfs_container_tree_put(c, CFS_TREE_SPACE, &k, &disk,
				      sizeof(disk), err);
}

void cfs_space_held_bits(struct cfs_container *c, uint64_t key, uint64_t ret[2])
{
	struct held_group *h;

	ret[0] = ret[1] = 0;
	HASH_FIND(hh, c->held, &key, sizeof(key), h);
	if (h) {
		ret[0] = h->now[0] | h->before[0] | h->waiting[0];
		ret[1] = h->now[1] | h->before[1] | h->waiting[1];
	}
}

/* Counters follow the bitmaps; an abort takes them back by these calls. */
static void undo_used(void *arg, uint64_t value)
{
	struct cfs_container *c = arg;
	uint64_t lslice = value >> 9;
	int delta = (int)(value & 511) - 256;

	c->slices[lslice].used_blocks -= (uint32_t)delta;
	c->used_blocks -= (uint64_t)(int64_t)delta;
}

static int count_used(struct cfs_container *c, uint64_t lslice, int delta,
		      struct cfs_err *err)
{
	c->slices[lslice].used_blocks += (uint32_t)delta;
	c->slices[lslice].is_changed = true;
	c->used_blocks += (uint64_t)(int64_t)delta;
	return cfs_op_on_abort(c, undo_used, c,
			       lslice << 9 | (uint64_t)(delta + 256), err);
}

/* Set or clear @mask in a group's bitmap; all of it must change. */
static int bits_change(struct cfs_container *c, uint64_t key,
		       const uint64_t mask[2], bool is_used,
		       struct cfs_err *err)
{
	uint64_t used[2];
	bool is_there;
	int n = (int)bits_count(mask);
	int r = cfs_space_bits_load(c, key, used, &is_there, err);

	if (r < 0)
		return r;
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t wrong = is_used ? used[i] & mask[i]
					 : ~used[i] & mask[i];

		if (wrong)
			return cfs_err_set(err, -EUCLEAN,
					   "space: a block of group %#" PRIx64
					   " is %s twice",
					   key, is_used ? "used" : "freed");
		used[i] ^= mask[i];
	}
	c->bad_is_stale = true;
	r = cfs_space_bits_store(c, key, used, err);
	if (r < 0)
		return r;
	return count_used(c, cfs_vaddr_lslice(key), is_used ? n : -n, err);
}

int cfs_space_mark_used(struct cfs_container *c, uint64_t key,
			const uint64_t mask[2], struct cfs_err *err)
{
	return bits_change(c, key, mask, true, err);
}

/* ---- handing out --------------------------------------------------------- */

/* Is the group of no use to a write that wants a run of @run blocks? */
static bool is_too_short(const struct cfs_container *c,
			 const struct open_group *g, uint32_t run)
{
	return run && !c->lacks_runs &&
	       cfs_space_longest_run(g->allowed) <
		       CFS_MIN(run, CFS_SPACE_RUN_MIN) &&
	       !cfs_space_goes_on(c, g);
}

/* A run from the stream's group, opening the next ones as needed. */
int cfs_space_alloc_stream(struct cfs_container *c, unsigned int stream,
			   uint32_t count, bool is_long, uint64_t *ret_vaddr,
			   uint32_t *ret_count, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	const uint32_t run = is_long ? CFS_MIN(count, CFS_SPACE_LONG) : 0;
	struct open_group *g = c->current[stream];
	uint64_t mask[2];
	uint32_t first = 0, n;
	int r;

	if (!g || !(g->allowed[0] | g->allowed[1]) || is_too_short(c, g, run)) {
		r = cfs_space_widen(c, stream, count, run, err);
		if (r < 0)
			return r;
		g = c->current[stream];
	}
	n = cfs_space_find_run(g->allowed, count, is_long, &first);
	assert(n > 0);
	cfs_space_bits_range(mask, first, n);
	/* The owner keeps the books on what it lends. */
	if (c->client)
		c->client->allowed_blocks -= n;
	r = c->client ? 0 : bits_change(c, g->key, mask, true, err);
	if (r < 0)
		return r;
	/* Spent for this loan, whatever becomes of the operation. */
	g->allowed[0] &= ~mask[0];
	g->allowed[1] &= ~mask[1];
	*ret_vaddr = cfs_vaddr(
		g->g.lslice, cfs_geometry_group_start(geo, g->g.index) + first);
	*ret_count = n;
	return 0;
}

/*
 * The tags of an operation that was undone: with them a rebuild would take its
 * blocks for newer versions.
 */
static void undo_tags(void *arg, uint64_t value)
{
	const struct cfs_tag none = { .type = CFS_TAG_FREE };
	struct cfs_container *c = arg;

	for (uint32_t i = 0; i < (value & 127); i++)
		cfs_space_set_tag(c, (value >> 7) + i, &none);
}

static int alloc_data(struct cfs_container *c, uint32_t count, bool is_long,
		      uint64_t *ret_vaddr, uint32_t *ret_count,
		      struct cfs_err *err)
{
	int r = cfs_space_alloc_stream(c, CFS_STREAM_DATA, count, is_long,
				       ret_vaddr, ret_count, err);

	if (r == 0)
		r = cfs_op_on_abort(c, undo_tags, c,
				    *ret_vaddr << 7 | *ret_count, err);
	return r;
}

int cfs_space_alloc_data(struct cfs_container *c, uint32_t count,
			 uint64_t *ret_vaddr, uint32_t *ret_count,
			 struct cfs_err *err)
{
	return alloc_data(c, count, false, ret_vaddr, ret_count, err);
}

int cfs_space_alloc_long(struct cfs_container *c, uint32_t count,
			 uint64_t *ret_vaddr, uint32_t *ret_count,
			 struct cfs_err *err)
{
	return alloc_data(c, count, true, ret_vaddr, ret_count, err);
}

void cfs_space_set_tag(struct cfs_container *c, uint64_t vaddr,
		       const struct cfs_tag *tag)
{
	struct open_group *g = cfs_space_group(c, vaddr);

	assert(g); /* the block was handed out, so its group is open */
	cfs_blocks_set_tag(c->blocks, &g->g, index_of(c, vaddr), tag);
	g->is_dirty = true;
}

/* ---- giving back --------------------------------------------------------- */

static struct held_group *held_get(struct cfs_container *c, uint64_t key,
				   struct cfs_err *err)
{
	struct held_group *h;

	HASH_FIND(hh, c->held, &key, sizeof(key), h);
	if (h)
		return h;
	h = calloc(1, sizeof(*h));
	if (!h) {
		cfs_err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	h->key = key;
	if (CFS_HASH_ADD(c->held, key, h) < 0) {
		free(h);
		cfs_err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	return h;
}

static int free_in_group(struct cfs_container *c, uint64_t key,
			 const uint64_t mask[2], struct cfs_err *err)
{
	struct undo_entry undo = {
		.kind = UNDO_HELD,
		.held_key = key,
		.held_mask = { mask[0], mask[1] },
	};
	struct held_group *h = held_get(c, key, err);
	int r;

	if (!h)
		return -ENOMEM;
	r = bits_change(c, key, mask, false, err);
	if (r == 0)
		r = cfs_container_undo_push(c, &undo, err);
	if (r < 0)
		return r;
	h->now[0] |= mask[0];
	h->now[1] |= mask[1];
	c->held_blocks += bits_count(mask);
	if (c->slices[cfs_vaddr_lslice(key)].is_fresh)
		c->held_fresh += bits_count(mask);
	return 0;
}

int cfs_space_free(struct cfs_container *c, uint64_t vaddr, uint32_t count,
		   struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);

	if (c->client) { /* the owner does, when it takes the fold */
		c->client->freed_blocks += count;
		return 0;
	}
	if (count == 0 || cfs_vaddr_lslice(vaddr) >= c->slice_room ||
	    !c->slices[cfs_vaddr_lslice(vaddr)].is_mapped ||
	    !cfs_geometry_is_data(geo, cfs_vaddr_block(vaddr)) ||
	    !cfs_geometry_is_data(geo, cfs_vaddr_block(vaddr) + count - 1))
		return cfs_err_set(err, -EUCLEAN,
				   "space: address %#" PRIx64
				   " is in no slice of this container",
				   vaddr);
	while (count > 0) {
		uint32_t first = index_of(c, vaddr);
		uint32_t n = CFS_MIN(count, CFS_TAGS_PER_PAGE - first);
		uint64_t mask[2];
		int r;

		cfs_space_bits_range(mask, first, n);
		r = free_in_group(c, key_of(c, vaddr), mask, err);
		if (r < 0)
			return r;
		vaddr += n;
		count -= n;
	}
	return 0;
}

/* What was freed before the last commit may be handed out again. */
/*
 * One step: what comes back is in @back.  With clients it takes one more, and
 * none is taken while the view of one of them names what waits.
 */
static void held_step(const struct cfs_container *c, struct held_group *h,
		      bool is_passed, uint64_t back[2])
{
	for (unsigned int i = 0; i < 2; i++) {
		back[i] = 0;
		if (!c->lender) {
			back[i] = h->before[i];
			h->before[i] = h->now[i];
		} else if (is_passed) {
			back[i] = h->waiting[i];
			h->waiting[i] = h->before[i];
			h->before[i] = h->now[i];
		} else {
			h->before[i] |= h->now[i];
		}
		h->now[i] = 0;
	}
}

void cfs_space_committed(struct cfs_container *c)
{
	const bool is_passed = !c->lender || cfs_lend_views_passed(c);
	struct held_group *h, *tmp;

	HASH_ITER(hh, c->held, h, tmp) {
		uint64_t back[2];

		held_step(c, h, is_passed, back);
		if (back[0] | back[1]) {
			c->held_blocks -= bits_count(back);
			c->bad_is_stale = true;
			if (c->lender)
				cfs_lend_released(c, h->key, back);
			cfs_space_group_released(c, h->key);
		}
		if (!(h->before[0] | h->before[1] | h->waiting[0] |
		      h->waiting[1])) {
			HASH_DEL(c->held, h);
			free(h);
		}
	}
}

/* Blocks of one group, the first of which is block @done of the run. */
static int adopt_in_group(struct cfs_container *c, uint64_t vaddr,
			  const struct cfs_tag *first, uint32_t done,
			  uint32_t count, const uint8_t *csums,
			  struct cfs_err *err)
{
	struct open_group *g;
	uint64_t mask[2];
	int r = cfs_space_open_group(c, key_of(c, vaddr), &g, err);

	cfs_space_bits_range(mask, index_of(c, vaddr), count);
	if (r == 0)
		r = bits_change(c, g->key, mask, true, err);
	if (r < 0)
		return r;
	g->allowed[0] &= ~mask[0];
	g->allowed[1] &= ~mask[1];
	for (uint32_t i = 0; i < count; i++) {
		struct cfs_tag tag = *first;
		le64 csum;

		memcpy(&csum, csums + 8 * (size_t)(done + i), sizeof(csum));
		tag.csum = le64_get(csum);
		tag.offset += done + i;
		cfs_space_set_tag(c, vaddr + i, &tag);
	}
	return 0;
}

int cfs_space_adopt(struct cfs_container *c, uint64_t vaddr,
		    const struct cfs_tag *first, uint32_t count,
		    const uint8_t *csums, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	int r;

	if (count == 0 || cfs_vaddr_lslice(vaddr) >= c->slice_room ||
	    !c->slices[cfs_vaddr_lslice(vaddr)].is_mapped ||
	    !cfs_geometry_is_data(geo, cfs_vaddr_block(vaddr)) ||
	    !cfs_geometry_is_data(geo, cfs_vaddr_block(vaddr) + count - 1))
		return cfs_err_set(err, -EUCLEAN,
				   "an extent lies outside its container");
	if (c->takeover)
		return cfs_takeover_adopt(c, vaddr, count, err);
	if (c->lender && cfs_lend_adopts(c))
		return cfs_lend_adopt(c, vaddr, count, err);
	for (uint32_t n, done = 0; done < count; done += n) {
		n = CFS_MIN(count - done,
			    CFS_TAGS_PER_PAGE - index_of(c, vaddr + done));
		r = adopt_in_group(c, vaddr + done, first, done, n, csums, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- counts and promises ------------------------------------------------- */

uint64_t cfs_space_reserve_of(uint64_t total_blocks)
{
	return CFS_MAX(total_blocks / 64, 96);
}

uint64_t cfs_space_reserve(const struct cfs_container *c)
{
	return cfs_space_reserve_of(c->total_blocks);
}

/* Records to a new leaf, about: those of live and history together. */
#define RECORDS_PER_NEW_NODE 12u

/* Nodes that the commit will write, at most about. */
static uint64_t commit_need(struct cfs_container *c)
{
	uint64_t nodes = 24, all = 16, blocks = 0, records = 0;
	struct cfs_tree_root roots[CFS_TREE_COUNT] = { { .node_count = 0 } };
	const struct cfs_tree_root *live = &roots[CFS_TREE_LIVE - 1];
	const struct cfs_tree_root *space = &roots[CFS_TREE_SPACE - 1];

	if (c->hooks)
		c->hooks->fold_need(c->hooks_ctx, &blocks, &records);
	for (unsigned int i = 0; i < CFS_TREE_COUNT; i++) {
		if (!c->trees[i])
			continue;
		nodes += cfs_tree_dirty_count(c->trees[i]);
		cfs_tree_root(c->trees[i], &roots[i]);
		all += roots[i].node_count;
	}
	if (records) {
		/* Live and history: a leaf each at worst, never more than
		 * there are, and what splitting adds. */
		nodes += 2 * (CFS_MIN(records, live->node_count) + 4) +
			 records / RECORDS_PER_NEW_NODE;
		nodes += CFS_MIN(records, space->node_count);
	}
	/* Where the nodes go, and come from, is in the space tree too. */
	nodes += CFS_MIN(2 * nodes, space->node_count);
	/* Each once, and new ones. */
	nodes = CFS_MIN(nodes, all + records / RECORDS_PER_NEW_NODE);
	return blocks + nodes * c->copies;
}

int64_t cfs_space_left(struct cfs_container *c)
{
	if (c->client)
		return cfs_client_space_left(c);
	return (int64_t)c->total_blocks - (int64_t)c->used_blocks -
	       (int64_t)c->held_blocks - (int64_t)cfs_space_bad_free(c) -
	       (int64_t)cfs_lend_claim(c) - (int64_t)commit_need(c);
}

bool cfs_space_has(struct cfs_container *c, uint64_t blocks)
{
	return cfs_space_left(c) >= (int64_t)blocks;
}

/*
 * While a quarter of the pool is free, a container keeps a quarter of itself
 * free, so that writes find groups with room: at 80 % full a group still takes
 * 25 blocks for each tag page; and more than half where only small pieces are
 * free and long writes come.  A comfort: if it fails, nothing does.
 */
static void grow_ahead(struct cfs_container *c)
{
	const uint64_t slices = cfs_metavolume_slice_count(c->mv);
	const int64_t kept = (int64_t)(c->grows_for_runs
					       ? c->total_blocks / 8 * 5
					       : c->total_blocks / 4);

	/* Container 0 is small, and its lock is the source's. */
	if (!c->source || c->id == 0 || slices < 16 || c->limit_blocks ||
	    cfs_space_left(c) > kept || !c->source->has_plenty(c->source_ctx))
		return;
	(void)c->source->more(c->source_ctx, c,
			      (unsigned int)CFS_MIN(slices / 8, 64), NULL);
}

uint64_t cfs_space_lack(const struct cfs_container *c)
{
	return c->id != 0 && c->source && c->source->lack_blocks
		       ? c->source->lack_blocks(c->source_ctx)
		       : 0;
}

/* How much of the reserve such an operation leaves alone. */
static uint64_t kept_blocks(const struct cfs_container *c,
			    enum cfs_op_kind kind)
{
	if (kind == CFS_OP_FREEING)
		return 0;
	return cfs_space_reserve(c) / (kind == CFS_OP_ZEROING ? 2 : 1);
}

int cfs_space_ensure(struct cfs_container *c, uint64_t blocks,
		     enum cfs_op_kind kind, struct cfs_err *err)
{
	const uint64_t kept = kept_blocks(c, kind);
	const uint64_t lack = kind == CFS_OP_FREEING ? 0 : cfs_space_lack(c);
	const int64_t want = (int64_t)(blocks + kept + lack);

	if (c->client)
		return cfs_client_ensure(c, blocks, err);
	/* What is not kept of the reserve may lie beyond the limit, too. */
	if (c->limit_blocks && kind != CFS_OP_FREEING &&
	    c->used_blocks + cfs_lend_claim(c) + blocks + commit_need(c) >
		    c->limit_blocks + (cfs_space_reserve(c) - kept))
		return cfs_err_set(err, -ENOSPC,
				   "the container's limit is reached");
	while (cfs_space_left(c) < want) {
		const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(
			c->mv);
		uint64_t slices = cfs_metavolume_slice_count(c->mv);
		uint64_t count = cfs_div_up(
			(uint64_t)(want - cfs_space_left(c)), geo->data_count);
		int r;

		if (!c->source)
			return cfs_err_set(err, -ENOSPC, "no space left");
		/* Ahead of need, in proportion to what it has. */
		if (c->id != 0 && c->source->has_plenty(c->source_ctx))
			count = CFS_MAX(count, CFS_MIN(slices / 4, 64));
		c->is_freeing = kind == CFS_OP_FREEING;
		r = c->source->more(c->source_ctx, c,
				    (unsigned int)CFS_MIN(count, 1024), err);
		c->is_freeing = false;
		if (r < 0)
			return r;
	}
	if (kind == CFS_OP_NORMAL)
		grow_ahead(c);
	return 0;
}

int cfs_space_promise(struct cfs_container *c, uint64_t blocks,
		      struct cfs_err *err)
{
	return cfs_space_ensure(c, blocks, CFS_OP_NORMAL, err);
}

int cfs_space_promise_zeroing(struct cfs_container *c, uint64_t blocks,
			      struct cfs_err *err)
{
	return cfs_space_ensure(c, blocks, CFS_OP_ZEROING, err);
}

void cfs_space_counts(struct cfs_container *c, struct cfs_space_counts *ret)
{
	int64_t left = cfs_space_left(c) - (int64_t)cfs_space_reserve(c) -
		       (int64_t)cfs_space_lack(c);

	if (c->client) {
		*ret = (struct cfs_space_counts){
			.total_blocks = c->client->total_blocks,
			.used_blocks = c->client->used_blocks,
			.left_blocks = c->client->left_blocks +
				       (uint64_t)CFS_MAX(cfs_space_left(c), 0),
			.slice_count = cfs_metavolume_slice_count(c->mv),
		};
		return;
	}
	*ret = (struct cfs_space_counts){
		.total_blocks = c->total_blocks,
		.used_blocks = c->used_blocks,
		.held_blocks = c->held_blocks,
		.reserve_blocks = cfs_space_reserve(c),
		.left_blocks = left > 0 ? (uint64_t)left : 0,
		.slice_count = cfs_metavolume_slice_count(c->mv),
	};
}

uint32_t cfs_space_slice_used(struct cfs_container *c, uint64_t lslice)
{
	return lslice < c->slice_room ? c->slices[lslice].used_blocks : 0;
}
