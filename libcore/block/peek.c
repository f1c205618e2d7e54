/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tags of many groups for one who expects something there and only wants to see
 * it, as an owner does when a client gives back what it wrote: one piece is
 * read, and of its two slots only the newer one is verified.  Where that does
 * not hold nothing is said, and the group has to be loaded (group.c), which
 * asks all copies.  So what is shown here is a page of the group that was whole
 * on a device; whether another copy is newer, or damaged, it does not tell.
 *
 * Where it is known which page of a group was the last one, the next one is in
 * the other slot and has the next number: that one alone is read then.  What is
 * known is a hint, of as many groups as there is room for.  It follows what
 * this process reads and writes.  Where others wrote more often than once,
 * which is rare, the page shows less than what is looked for: then the group
 * is loaded, and that sets the hint right.
 */
#include "block/blocks_priv.h"

#include "base/cleanup.h"

#include <stdlib.h>

#define HINTS    8192u /* 4 GiB of data, in 64 KiB */
#define SEQ_BITS 16u
#define SEQ_MASK ((UINT64_C(1) << SEQ_BITS) - 1)
#define BOTH     3u /* slots, by bit */

/* Each is a group's key and the low bits of its page's seq; 0: nothing.  Any
 * thread may read or write them at any time. */
struct cfs_peek_hints {
	_Atomic uint64_t words[HINTS];
};

static _Atomic uint64_t *hint_of(const struct cfs_blocks *b,
				 struct cfs_peek_hints *h, uint64_t lslice,
				 uint32_t index)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(b->mv);

	return &h->words[(lslice * geo->group_count + index) % HINTS];
}

static void note(const struct cfs_blocks *b, uint64_t lslice, uint32_t index,
		 uint64_t seq)
{
	struct cfs_peek_hints *h = atomic_load(&b->hints);

	if (h)
		atomic_store_explicit(hint_of(b, h, lslice, index),
				      cfs_group_key(lslice, index) << SEQ_BITS |
					      (seq & SEQ_MASK),
				      memory_order_relaxed);
}

void cfs_peek_note(const struct cfs_blocks *b, const struct cfs_group *g)
{
	note(b, g->lslice, g->index, g->seq);
}

/* The low bits of the next page's seq; false: nothing is known. */
static bool next_seq(const struct cfs_blocks *b,
		     const struct cfs_group_peek *peek, uint64_t *ret)
{
	struct cfs_peek_hints *h = atomic_load(&b->hints);
	uint64_t word;

	if (!h)
		return false;
	word = atomic_load_explicit(hint_of(b, h, peek->lslice, peek->index),
				    memory_order_relaxed);
	if (!word ||
	    word >> SEQ_BITS != cfs_group_key(peek->lslice, peek->index))
		return false;
	*ret = (word + 1) & SEQ_MASK;
	return true;
}

/* From the first peek on; without memory there are none. */
static void hints_begin(struct cfs_blocks *b)
{
	struct cfs_peek_hints *none = NULL, *h;

	if (atomic_load(&b->hints))
		return;
	h = calloc(1, sizeof(*h));
	if (h && !atomic_compare_exchange_strong(&b->hints, &none, h))
		free(h);
}

void cfs_peek_hints_free(struct cfs_blocks *b)
{
	free(atomic_load(&b->hints));
}

/* ---- reading ------------------------------------------------------------- */

/* Groups that follow each other in a slice. */
struct peek_run {
	size_t first;
	uint32_t count;
	uint32_t generation;
	unsigned int slots;
	struct cfs_mv_read *reads; /* one for each slot, or both */
};

struct peek_plan {
	struct cfs_mv_read *reads;
	size_t read_count;
	struct peek_run *runs;
	size_t run_count;
};

static void plan_done(struct peek_plan *plan)
{
	free(plan->reads);
	free(plan->runs);
}

static uint32_t run_length(const struct cfs_group_peek *peeks, size_t count)
{
	uint32_t n = 1;

	while (n < count && peeks[n].lslice == peeks[0].lslice &&
	       peeks[n].index == peeks[0].index + n)
		n++;
	return n;
}

/* One slot is enough if that is so for all of them: a read more costs more
 * than pages more in a read. */
static unsigned int slots_of(const struct cfs_blocks *b,
			     const struct cfs_group_peek *peeks, uint32_t count)
{
	unsigned int slots = 0;
	uint64_t seq;

	for (uint32_t i = 0; i < count && slots != BOTH; i++)
		slots |= next_seq(b, &peeks[i], &seq) ? 1u << (seq & 1) : BOTH;
	return slots;
}

static void plan_run(const struct cfs_blocks *b,
		     const struct cfs_group_peek *first, unsigned int pieces,
		     struct peek_run *run, struct peek_plan *plan,
		     uint8_t **pages)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(b->mv);

	run->reads = &plan->reads[plan->read_count];
	for (unsigned int slot = 0; slot < 2; slot++) {
		if (!(run->slots & 1u << slot))
			continue;
		plan->reads[plan->read_count++] = (struct cfs_mv_read){
			.vaddr = cfs_vaddr(first->lslice,
					   cfs_geometry_tags_block(
						   geo, first->index, slot)),
			.count = run->count,
			.piece = (unsigned int)__builtin_ctz(pieces),
			.buf = *pages,
		};
		*pages += (size_t)run->count * CFS_PAGE_BYTES;
	}
}

/* Groups of which no piece can be read are in no run. */
static int plan_make(const struct cfs_blocks *b,
		     const struct cfs_group_peek *peeks, size_t count,
		     uint8_t *pages, struct peek_plan *plan,
		     struct cfs_err *err)
{
	uint32_t n;

	plan->reads = calloc(2 * count, sizeof(*plan->reads));
	plan->runs = calloc(count, sizeof(*plan->runs));
	if (!plan->reads || !plan->runs)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i += n) {
		const uint64_t lslice = peeks[i].lslice;
		unsigned int pieces = cfs_metavolume_readable(b->mv, lslice);
		struct peek_run *run = &plan->runs[plan->run_count];

		n = run_length(peeks + i, count - i);
		if (!pieces)
			continue;
		*run = (struct peek_run){
			.first = i,
			.count = n,
			.generation = cfs_metavolume_generation(b->mv, lslice),
			.slots = slots_of(b, peeks + i, n),
		};
		plan_run(b, &peeks[i], pieces, run, plan, &pages);
		plan->run_count++;
	}
	return 0;
}

/* ---- looking ------------------------------------------------------------- */

/* The seq of what may be a page of the group, by its header; else 0. */
static uint64_t seq_of(const struct cfs_blocks *b,
		       const struct cfs_page_disk *page,
		       const struct cfs_group_peek *peek, uint32_t generation)
{
	if (le32_get(page->magic) != CFS_PAGE_MAGIC ||
	    le16_get(page->kind) != CFS_PAGE_TAGS ||
	    le32_get(page->generation) != generation ||
	    le64_get(page->address) != cfs_vaddr(peek->lslice, peek->index) ||
	    le64_get(page->pool_lo) != cfs_metavolume_pool_lo(b->mv))
		return 0;
	return le64_get(page->seq);
}

/* Of both slots the newer one, of one alone what is expected there. */
static struct cfs_page_disk *choose(const struct cfs_blocks *b,
				    const struct peek_run *run, uint32_t i,
				    const struct cfs_group_peek *peek)
{
	struct cfs_page_disk *page = run->reads[0].buf, *other;
	uint64_t seq, other_seq, next = 0;

	page += i;
	seq = seq_of(b, page, peek, run->generation);
	if (run->slots != BOTH)
		return next_seq(b, peek, &next) && (seq & SEQ_MASK) == next
			       ? page
			       : NULL;
	other = (struct cfs_page_disk *)run->reads[1].buf + i;
	other_seq = seq_of(b, other, peek, run->generation);
	if (other_seq > seq)
		return other;
	return seq ? page : NULL;
}

static void look(const struct cfs_blocks *b, const struct peek_run *run,
		 uint32_t i, struct cfs_group_peek *peek)
{
	const struct cfs_page_expect expect = {
		.kind = CFS_PAGE_TAGS,
		.pool_lo = cfs_metavolume_pool_lo(b->mv),
		.owner = cfs_metavolume_container_id(b->mv),
		.address = cfs_vaddr(peek->lslice, peek->index),
	};
	struct cfs_page_disk *page = choose(b, run, i, peek);
	struct cfs_page head;

	if (!page || cfs_page_unpack_own(page, &expect, &head, NULL) < 0)
		return;
	note(b, peek->lslice, peek->index, head.seq);
	peek->tags = (const struct cfs_tag_disk *)page->payload;
}

static void look_at_run(const struct cfs_blocks *b, const struct peek_run *run,
			struct cfs_group_peek *peeks)
{
	/* Of two slots of which one is not known none is the newer one. */
	if (run->reads[0].result < 0 ||
	    (run->slots == BOTH && run->reads[1].result < 0))
		return;
	for (uint32_t i = 0; i < run->count; i++)
		look(b, run, i, &peeks[run->first + i]);
}

static int pages_reserve(struct cfs_peek_pages *pages, size_t bytes)
{
	size_t room = CFS_PAGE_BYTES;

	if (pages->bytes >= bytes)
		return 0;
	/* Seldom: what is new to a process may be new to its machine. */
	while (room < bytes)
		room *= 2;
	cfs_peek_pages_done(pages);
	pages->data = cfs_dev_buf_alloc_huge(room);
	if (!pages->data)
		return -ENOMEM;
	pages->bytes = room;
	return 0;
}

void cfs_peek_pages_done(struct cfs_peek_pages *pages)
{
	free(pages->data);
	*pages = (struct cfs_peek_pages){ .data = NULL };
}

int cfs_groups_peek(struct cfs_blocks *b, struct cfs_group_peek *peeks,
		    size_t count, struct cfs_peek_pages *pages,
		    struct cfs_err *err)
{
	CFS_CLEANUP(plan_done) struct peek_plan plan = { .run_count = 0 };
	int r;

	for (size_t i = 0; i < count; i++)
		peeks[i].tags = NULL;
	if (count == 0)
		return 0;
	hints_begin(b);
	if (pages_reserve(pages, 2 * count * CFS_PAGE_BYTES) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = plan_make(b, peeks, count, pages->data, &plan, err);
	if (r == 0)
		r = cfs_metavolume_read_batch(b->mv, plan.reads,
					      plan.read_count, err);
	for (size_t i = 0; r == 0 && i < plan.run_count; i++)
		look_at_run(b, &plan.runs[i], peeks);
	return r;
}
