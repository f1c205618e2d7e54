/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tag pages on the device.  The caller of cfs_group_page writes a slot only
 * after a flush has covered the other one: each commit ends with a flush and
 * writes each page at most once.
 */
#include "block/blocks_priv.h"

#include "base/cleanup.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

static uint64_t page_vaddr(const struct cfs_blocks *b, uint64_t lslice,
			   uint32_t index, unsigned int slot)
{
	return cfs_vaddr(lslice,
			 cfs_geometry_tags_block(cfs_metavolume_geometry(b->mv),
						 index, slot));
}

#define COPIES_MAX (2 * CFS_PIECES_MAX) /* 2 * piece + slot */

/* What one pass over all copies found. */
struct load_state {
	uint64_t seqs[COPIES_MAX]; /* 0: not valid */
	bool is_seen[COPIES_MAX];
	bool is_damaged[COPIES_MAX];
	bool has_valid;
	bool has_damage; /* a page of this life that is not valid */
	uint64_t best_seq;
	unsigned int copies; /* that were to be read */
	int io_error;
};

/*
 * A page that is not valid may be damage or the leftovers of an earlier life
 * (or of another file system).  Only the first matters, and it still carries
 * our magic, pool and address.
 */
static bool is_ours_but_damaged(const struct cfs_blocks *b,
				const struct cfs_page_disk *page,
				uint64_t address, uint32_t generation)
{
	return le32_get(page->magic) == CFS_PAGE_MAGIC &&
	       le16_get(page->kind) == CFS_PAGE_TAGS &&
	       le64_get(page->pool_lo) == cfs_metavolume_pool_lo(b->mv) &&
	       le64_get(page->address) == address &&
	       le32_get(page->generation) == generation;
}

static void look_at(const struct cfs_blocks *b,
		    const struct cfs_page_disk *page, unsigned int copy,
		    struct cfs_group *g, struct load_state *st)
{
	const uint64_t address = cfs_vaddr(g->lslice, g->index);
	const uint32_t generation = cfs_metavolume_generation(b->mv, g->lslice);
	const struct cfs_page_expect expect = {
		.kind = CFS_PAGE_TAGS,
		.pool_lo = cfs_metavolume_pool_lo(b->mv),
		.owner = cfs_metavolume_container_id(b->mv),
		.address = address,
	};
	struct cfs_page head;

	st->is_seen[copy] = true;
	if (cfs_page_unpack(page, &expect, &head, NULL) < 0) {
		if (is_ours_but_damaged(b, page, address, generation))
			st->has_damage = st->is_damaged[copy] = true;
		return;
	}
	if (head.generation != generation)
		return;
	st->seqs[copy] = head.seq;
	if (st->has_valid && head.seq <= st->best_seq)
		return;
	st->has_valid = true;
	st->best_seq = head.seq;
	g->seq = head.seq;
	memcpy(g->tags, page->payload, sizeof(g->tags));
}

/* What the copies that were read say of one group. */
static int judge(const struct load_state *st, const struct cfs_group *g,
		 struct cfs_err *err)
{
	if (st->has_valid)
		return 0;
	if (st->io_error)
		return cfs_err_set(err, st->io_error,
				   "slice %" PRIu64 ": tag page %" PRIu32
				   " cannot be read",
				   g->lslice, g->index);
	if (st->has_damage)
		return cfs_err_set(err, -EUCLEAN,
				   "slice %" PRIu64 ": tag page %" PRIu32
				   ": no copy is valid",
				   g->lslice, g->index);
	return -ENOENT;
}

/*
 * A crash may have come between the pieces of the newest page, or torn it: then
 * the newest that is whole is missing in some pieces, or the slot beside it
 * holds different things.
 */
static void compare(const struct load_state *st, struct cfs_group *g)
{
	const unsigned int slot = g->seq & 1;
	bool has_other = false, is_read = false;
	uint64_t other = 0;

	for (unsigned int p = 0; p < CFS_PIECES_MAX; p++) {
		const unsigned int newest = 2 * p + slot;
		const unsigned int before = 2 * p + !slot;

		if (st->is_seen[newest] && st->seqs[newest] != g->seq)
			g->stale_pieces |= 1u << p;
		if (!st->is_seen[before])
			continue;
		is_read = true;
		if (st->is_damaged[before] ||
		    (has_other && st->seqs[before] != other))
			g->is_uneven = true;
		other = st->seqs[before];
		has_other = true;
	}
	g->is_doubtful = st->io_error && !is_read;
}

/* One slot, on one piece, of groups that follow each other in a slice. */
struct load_run {
	size_t first;
	uint32_t count;
	unsigned int copy;
};

/* The reads of many groups' copies, and whose each is. */
struct cfs_groups_plan {
	struct cfs_mv_read reads[CFS_GROUPS_AT_ONCE * COPIES_MAX];
	struct load_run runs[CFS_GROUPS_AT_ONCE * COPIES_MAX];
	size_t count;
	struct load_state states[CFS_GROUPS_AT_ONCE];
	uint8_t *pages; /* as many as all have copies */
};

static uint32_t run_length(struct cfs_group *const *groups, size_t count)
{
	uint32_t n = 1;

	while (n < count && groups[n]->lslice == groups[0]->lslice &&
	       groups[n]->index == groups[0]->index + n)
		n++;
	return n;
}

/* Pages of neighbours lie side by side: one read, if they come in order. */
static void plan_reads(const struct cfs_blocks *b,
		       struct cfs_group *const *groups, size_t count,
		       struct cfs_groups_plan *plan)
{
	uint8_t *at = plan->pages;
	uint32_t n;

	plan->count = 0;
	for (size_t i = 0; i < count; i += n) {
		const struct cfs_group *g = groups[i];
		unsigned int readable = cfs_metavolume_readable(b->mv,
								g->lslice);

		n = run_length(groups + i, count - i);
		for (unsigned int k = 0; k < COPIES_MAX; k++) {
			if (!(readable & 1u << k / 2))
				continue;
			plan->runs[plan->count] = (struct load_run){ i, n, k };
			plan->reads[plan->count++] = (struct cfs_mv_read){
				.vaddr = page_vaddr(b, g->lslice, g->index,
						    k & 1),
				.count = n,
				.piece = k / 2,
				.buf = at,
			};
			at += (size_t)n * CFS_PAGE_BYTES;
		}
	}
}

/* What was read of one page, or why it was not. */
static void see_page(const struct cfs_blocks *b, struct cfs_group *g,
		     const struct cfs_page_disk *page, unsigned int copy,
		     int result, struct load_state *st)
{
	st->copies++;
	if (result < 0)
		st->io_error = result;
	else
		look_at(b, page, copy, g, st);
}

/* One read's pages; where several failed together, each for itself. */
static int see_run(struct cfs_blocks *b, struct cfs_group *const *groups,
		   const struct cfs_mv_read *rd, const struct load_run *run,
		   struct cfs_groups_plan *plan, struct cfs_err *err)
{
	for (uint32_t i = 0; i < run->count; i++) {
		struct cfs_page_disk *page = (struct cfs_page_disk *)rd->buf +
					     i;
		struct cfs_mv_read one = {
			.vaddr = rd->vaddr + i,
			.count = 1,
			.piece = rd->piece,
			.buf = page,
			.result = rd->result,
		};

		if (rd->result < 0 && run->count > 1) {
			int r = cfs_metavolume_read_batch(b->mv, &one, 1, err);

			if (r < 0)
				return r;
		}
		see_page(b, groups[run->first + i], page, run->copy, one.result,
			 &plan->states[run->first + i]);
	}
	return 0;
}

int cfs_groups_plan_new(struct cfs_groups_plan **ret, struct cfs_err *err)
{
	struct cfs_groups_plan *plan = malloc(sizeof(*plan));

	if (!plan)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	plan->pages = NULL;
	*ret = plan;
	return 0;
}

void cfs_groups_plan_free(struct cfs_groups_plan *plan)
{
	if (!plan)
		return;
	free(plan->pages);
	free(plan);
}

void cfs_groups_plan_freep(struct cfs_groups_plan **plan)
{
	cfs_groups_plan_free(*plan);
}

int cfs_groups_plan_make(const struct cfs_blocks *b,
			 struct cfs_group *const *groups, size_t count,
			 struct cfs_groups_plan *plan, struct cfs_err *err)
{
	assert(count <= CFS_GROUPS_AT_ONCE);
	free(plan->pages);
	plan->pages = cfs_dev_buf_alloc_unset(count * COPIES_MAX *
					      CFS_PAGE_BYTES);
	if (!plan->pages)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		plan->states[i] = (struct load_state){ .copies = 0 };
		groups[i]->seq = 0;
		groups[i]->stale_pieces = 0;
		groups[i]->is_uneven = groups[i]->is_doubtful = false;
	}
	plan_reads(b, groups, count, plan);
	return 0;
}

struct cfs_mv_read *cfs_groups_plan_reads(struct cfs_groups_plan *plan,
					  size_t *ret_count)
{
	*ret_count = plan->count;
	return plan->reads;
}

int cfs_groups_plan_end(struct cfs_blocks *b, struct cfs_group *const *groups,
			size_t count, struct cfs_groups_plan *plan,
			int *results, struct cfs_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->count; i++)
		r = see_run(b, groups, &plan->reads[i], &plan->runs[i], plan,
			    err);
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (!plan->states[i].copies)
			plan->states[i].io_error = -ENODEV;
		results[i] = judge(&plan->states[i], groups[i], err);
		if (results[i] == 0) {
			compare(&plan->states[i], groups[i]);
			cfs_peek_note(b, groups[i]);
		} else {
			memset(groups[i]->tags, 0, sizeof(groups[i]->tags));
		}
	}
	return r;
}

int cfs_groups_load(struct cfs_blocks *b, struct cfs_group *const *groups,
		    size_t count, int *results, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_groups_plan_freep) struct cfs_groups_plan *plan = NULL;
	int r = cfs_groups_plan_new(&plan, err);

	for (size_t i = 0; i < count && r == 0; i += CFS_GROUPS_AT_ONCE) {
		const size_t n = CFS_MIN(count - i, (size_t)CFS_GROUPS_AT_ONCE);

		r = cfs_groups_plan_make(b, groups + i, n, plan, err);
		if (r == 0)
			r = cfs_metavolume_read_batch(b->mv, plan->reads,
						      plan->count, err);
		if (r == 0)
			r = cfs_groups_plan_end(b, groups + i, n, plan,
						results + i, err);
	}
	return r;
}

int cfs_group_load(struct cfs_blocks *b, uint64_t lslice, uint32_t index,
		   struct cfs_group *ret, struct cfs_err *err)
{
	int result = 0, r;

	memset(ret, 0, sizeof(*ret));
	ret->lslice = lslice;
	ret->index = index;
	r = cfs_groups_load(b, &ret, 1, &result, err);
	return r < 0 ? r : result;
}

/* The page that @g was loaded from, of a piece that has it. */
static int read_newest(struct cfs_blocks *b, const struct cfs_group *g,
		       struct cfs_page_disk *ret, struct cfs_err *err)
{
	const uint64_t vaddr = page_vaddr(b, g->lslice, g->index, g->seq & 1);
	const unsigned int readable = cfs_metavolume_readable(b->mv, g->lslice);
	const struct cfs_page_expect expect = {
		.kind = CFS_PAGE_TAGS,
		.pool_lo = cfs_metavolume_pool_lo(b->mv),
		.owner = cfs_metavolume_container_id(b->mv),
		.address = cfs_vaddr(g->lslice, g->index),
	};
	struct cfs_page head;

	for (unsigned int p = 0; p < CFS_PIECES_MAX; p++)
		if ((readable & ~g->stale_pieces & 1u << p) &&
		    cfs_metavolume_read(b->mv, vaddr, 1, p, ret, err) == 0 &&
		    cfs_page_unpack(ret, &expect, &head, err) == 0 &&
		    head.seq == g->seq)
			return 0;
	return cfs_err_set(err, -EIO,
			   "slice %" PRIu64 ": tag page %" PRIu32
			   " cannot be read again",
			   g->lslice, g->index);
}

int cfs_group_spread(struct cfs_blocks *b, const struct cfs_group *g,
		     struct cfs_err *err)
{
	const uint64_t vaddr = page_vaddr(b, g->lslice, g->index, g->seq & 1);
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	int r;

	if (!page)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = read_newest(b, g, page, err);
	for (unsigned int p = 0; p < CFS_PIECES_MAX && r == 0; p++)
		if (g->stale_pieces & 1u << p)
			r = cfs_metavolume_write_piece(b->mv, vaddr, 1, p, page,
						       err);
	return r;
}

void cfs_group_page(struct cfs_blocks *b, struct cfs_group *g, uint64_t stamp,
		    struct cfs_page_disk *page, uint64_t *ret_vaddr)
{
	struct cfs_page head = {
		.kind = CFS_PAGE_TAGS,
		.seq = ++g->seq,
		.pool_lo = cfs_metavolume_pool_lo(b->mv),
		.owner = cfs_metavolume_container_id(b->mv),
		.address = cfs_vaddr(g->lslice, g->index),
		.stamp = stamp,
		.epoch = b->epoch,
		.generation = cfs_metavolume_generation(b->mv, g->lslice),
	};

	memcpy(page->payload, g->tags, sizeof(g->tags));
	cfs_page_pack(&head, page);
	*ret_vaddr = page_vaddr(b, g->lslice, g->index, g->seq & 1);
	cfs_peek_note(b, g);
}
