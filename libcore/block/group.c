/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tag pages on the device.  The caller of cfs_group_page writes a slot only
 * after a flush has covered the other one: each commit ends with a flush and
 * writes each page at most once.
 */
#include "block/blocks_priv.h"

#include "base/cleanup.h"

#include <inttypes.h>
#include <stdlib.h>

static uint64_t page_vaddr(const struct cfs_blocks *b, uint64_t lslice,
			   uint32_t index, unsigned int slot)
{
	return cfs_vaddr(lslice, cfs_geometry_tags_block(
				cfs_metavolume_geometry(b->mv), index, slot));
}

/* What one pass over all copies found. */
struct load_state {
	bool		has_valid;
	bool		has_damage;	/* a page of this life that is not valid */
	uint64_t	best_seq;
	int		io_error;
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
		    const struct cfs_page_disk *page, uint64_t address,
		    uint32_t generation, struct cfs_group *g,
		    struct load_state *st)
{
	const struct cfs_page_expect expect = {
		.kind = CFS_PAGE_TAGS,
		.pool_lo = cfs_metavolume_pool_lo(b->mv),
		.owner = cfs_metavolume_container_id(b->mv),
		.address = address,
	};
	struct cfs_page head;

	if (cfs_page_unpack(page, &expect, &head, NULL) < 0) {
		if (is_ours_but_damaged(b, page, address, generation))
			st->has_damage = true;
		return;
	}
	if (head.generation != generation)
		return;
	if (st->has_valid && head.seq <= st->best_seq)
		return;
	st->has_valid = true;
	st->best_seq = head.seq;
	g->seq = head.seq;
	memcpy(g->tags, page->payload, sizeof(g->tags));
}

int cfs_group_load(struct cfs_blocks *b, uint64_t lslice, uint32_t index,
		   struct cfs_group *ret, struct cfs_err *err)
{
	uint32_t generation = cfs_metavolume_generation(b->mv, lslice);
	unsigned int readable = cfs_metavolume_readable(b->mv, lslice);
	struct load_state st = { 0 };
	CFS_CLEANUP(cfs_freep) struct cfs_page_disk *page =
		cfs_dev_buf_alloc(sizeof(*page));

	if (!page)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	if (!readable)
		return cfs_err_set(err, -EUCLEAN,
				   "slice %" PRIu64 " is not there", lslice);
	memset(ret, 0, sizeof(*ret));
	ret->lslice = lslice;
	ret->index = index;
	for (unsigned int piece = 0; piece < CFS_PIECES_MAX; piece++) {
		if (!(readable & 1u << piece))
			continue;
		for (unsigned int slot = 0; slot < 2; slot++) {
			int r = cfs_metavolume_read(b->mv,
				page_vaddr(b, lslice, index, slot), 1, piece,
				page, err);

			if (r < 0)
				st.io_error = r;
			else
				look_at(b, page, cfs_vaddr(lslice, index),
					generation, ret, &st);
		}
	}
	if (st.has_valid)
		return 0;
	if (st.io_error)
		return st.io_error;
	if (st.has_damage)
		return cfs_err_set(err, -EUCLEAN,
				   "slice %" PRIu64 ": tag page %" PRIu32
				   ": no copy is valid", lslice, index);
	return -ENOENT;
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
}
