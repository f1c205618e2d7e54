/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a tag page that is not valid as a whole still says of its blocks.  One
 * flipped bit loses a page, but then nearly all of it is as it was written:
 *
 *  - If the page is valid with the tags that fit the contents in place of some
 *    that do not, then those were what was damaged, and every content is proved
 *    by the checksum of the page.
 *  - Else each tag stands for itself: one that fits the content proves it, and
 *    one that names the same block and does not fit says that the content is
 *    not what was written.
 *
 * Without this, tags made anew would call a block good that is not.
 */
#pragma once

#include "heal/scrub_priv.h"

enum salvage_answer {
	SALVAGE_NOTHING,      /* no page says anything of this block */
	SALVAGE_PROVEN,       /* the content is what was written */
	SALVAGE_CONTRADICTED, /* it is not */
};

struct salvage { /* of one group */
	/* In: what a block is by its record, with the checksum of its content;
	 * of type FREE where that is not known. */
	struct cfs_tag want[CFS_TAGS_PER_PAGE];
	/* Out; and the checksum that was written where it is contradicted. */
	enum salvage_answer answer[CFS_TAGS_PER_PAGE];
	uint64_t csum[CFS_TAGS_PER_PAGE];
};

/* Ask all pages of the group that can be read.  0 or -ENOMEM. */
int cfs_salvage_group(const struct scrub *s, uint64_t lslice, uint32_t group,
		      struct salvage *salvage);

/* The same block in the same version; checksum and flags do not count. */
bool cfs_salvage_is_same(const struct cfs_tag *a, const struct cfs_tag *b);
