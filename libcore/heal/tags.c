/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading whole tag areas; see tags_priv.h. */
#include "heal/tags_priv.h"

#include "base/cleanup.h"
#include "device/device.h"

#include <stdlib.h>

void cfs_tag_area_done(struct tag_area *area)
{
	for (unsigned int p = 0; p < CFS_PIECES_MAX; p++)
		for (unsigned int s = 0; s < 2; s++)
			free(area->pages[p][s]);
	free(area->groups);
	memset(area, 0, sizeof(*area));
}

const struct cfs_page_disk *cfs_tag_area_page(const struct tag_area *area,
					      unsigned int piece,
					      unsigned int slot, uint32_t group)
{
	return (const void *)(area->pages[piece][slot] +
			      (size_t)group * CFS_PAGE_BYTES);
}

/*
 * A page that is not valid may be damage or what an earlier life of the slice
 * (or another file system) left: only the first has all of our marks.
 */
static bool is_ours_but_damaged(const struct cfs_metavolume *mv,
				const struct cfs_page_disk *page,
				uint64_t address, uint32_t generation)
{
	return le32_get(page->magic) == CFS_PAGE_MAGIC &&
	       le16_get(page->kind) == CFS_PAGE_TAGS &&
	       le64_get(page->pool_lo) == cfs_metavolume_pool_lo(mv) &&
	       le64_get(page->address) == address &&
	       le32_get(page->generation) == generation;
}

static void judge(const struct cfs_metavolume *mv, struct tag_area *area,
		  unsigned int piece, unsigned int slot, uint32_t group)
{
	const struct cfs_page_disk *page = cfs_tag_area_page(area, piece, slot,
							     group);
	const struct cfs_page_expect expect = {
		.kind = CFS_PAGE_TAGS,
		.pool_lo = cfs_metavolume_pool_lo(mv),
		.owner = cfs_metavolume_container_id(mv),
		.address = cfs_vaddr(area->lslice, group),
	};
	struct tag_group *g = &area->groups[group];
	struct tag_slot *ts = &g->slots[piece][slot];
	struct cfs_page head;

	if (ts->state == TAG_SLOT_UNREADABLE) {
		g->is_doubtful = true;
		return;
	}
	if (cfs_page_unpack(page, &expect, &head, NULL) < 0) {
		ts->state = TAG_SLOT_NONE;
		if (is_ours_but_damaged(mv, page, expect.address,
					area->generation)) {
			ts->state = TAG_SLOT_DAMAGED;
			g->is_doubtful = true;
		}
		return;
	}
	if (head.generation != area->generation || (head.seq & 1) != slot) {
		ts->state = TAG_SLOT_NONE;
		return;
	}
	ts->state = TAG_SLOT_GOOD;
	ts->seq = head.seq;
	if (!g->best || head.seq > g->head.seq) {
		g->best = page;
		g->head = head;
	}
}

/* One slot of all groups of one piece. */
static int load_slot(struct cfs_metavolume *mv, struct tag_area *area,
		     unsigned int piece, unsigned int slot, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(mv);
	uint64_t vaddr = cfs_vaddr(area->lslice,
				   cfs_geometry_tags_block(geo, 0, slot));
	uint8_t *buf = cfs_dev_buf_alloc((size_t)geo->group_count *
					 CFS_PAGE_BYTES);
	int r;

	if (!buf)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	area->pages[piece][slot] = buf;
	r = cfs_metavolume_read(mv, vaddr, geo->group_count, piece, buf, NULL);
	for (uint32_t i = 0; i < geo->group_count; i++) {
		struct tag_slot *ts = &area->groups[i].slots[piece][slot];

		ts->state = TAG_SLOT_NONE;
		if (r < 0 &&
		    cfs_metavolume_read(mv, vaddr + i, 1, piece,
					buf + (size_t)i * CFS_PAGE_BYTES,
					NULL) < 0)
			ts->state = TAG_SLOT_UNREADABLE;
		judge(mv, area, piece, slot, i);
	}
	return 0;
}

int cfs_tag_area_load(struct cfs_metavolume *mv, uint64_t lslice,
		      struct tag_area *ret, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(mv);
	unsigned int readable = cfs_metavolume_readable(mv, lslice);
	struct tag_area area = {
		.lslice = lslice,
		.generation = cfs_metavolume_generation(mv, lslice),
		.group_count = geo->group_count,
	};
	int r = 0;

	area.groups = calloc(geo->group_count, sizeof(*area.groups));
	if (!area.groups)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (unsigned int p = 0; p < CFS_PIECES_MAX && r == 0; p++)
		for (unsigned int s = 0; s < 2 && r == 0; s++)
			if (readable & 1u << p)
				r = load_slot(mv, &area, p, s, err);
	if (r < 0) {
		cfs_tag_area_done(&area);
		return r;
	}
	*ret = area;
	return 0;
}

bool cfs_tag_area_get(const struct tag_area *area, uint32_t group,
		      unsigned int index, struct cfs_tag *ret)
{
	const struct cfs_page_disk *page = area->groups[group].best;
	struct cfs_tag_disk disk;

	if (!page)
		return false;
	memcpy(&disk, page->payload + index * sizeof(disk), sizeof(disk));
	cfs_tag_unpack(&disk, ret);
	return true;
}
