/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tag area of one slice, read whole: both slots of every group's page from
 * every piece, judged, and the best of each.  Check, scrub and rebuild look at
 * tags in this way, front to back, and not page by page.
 */
#pragma once

#include "ondisk/tag.h"
#include "pool/metavolume.h"

enum tag_slot_state {
	TAG_SLOT_GONE, /* no such piece, or its device is missing */
	TAG_SLOT_NONE, /* nothing of this life of the slice */
	TAG_SLOT_GOOD,
	TAG_SLOT_DAMAGED, /* ours, of this life, and not valid */
	TAG_SLOT_UNREADABLE,
};

struct tag_slot {
	enum tag_slot_state state;
	uint64_t seq; /* GOOD */
};

struct tag_group {
	const struct cfs_page_disk *best; /* NULL: no slot is good */
	struct cfs_page head;             /* of the best */
	bool is_doubtful; /* a slot is damaged or unreadable: there
			   * may have been a newer one */
	struct tag_slot slots[CFS_PIECES_MAX][2];
};

struct tag_area {
	uint64_t lslice;
	uint32_t generation;
	uint32_t group_count;
	struct tag_group *groups;
	uint8_t *pages[CFS_PIECES_MAX][2]; /* as read */
};

void cfs_tag_area_done(struct tag_area *area);
/* Read and judge.  Errors of devices are states; -ENOMEM. */
int cfs_tag_area_load(struct cfs_metavolume *mv, uint64_t lslice,
		      struct tag_area *ret, struct cfs_err *err);
/* The page of one slot, as read. */
const struct cfs_page_disk *cfs_tag_area_page(const struct tag_area *area,
					      unsigned int piece,
					      unsigned int slot,
					      uint32_t group);
/* The tag of a block of a group, from the best page; false: no page. */
bool cfs_tag_area_get(const struct tag_area *area, uint32_t group,
		      unsigned int index, struct cfs_tag *ret);
