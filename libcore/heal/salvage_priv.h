/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a tag page that is not valid as a whole still says of single blocks.  A
 * page is lost by one flipped bit, but the tags in it carry checksums of their
 * own: one that fits the content proves it, and one that names the same block
 * and does not fit says that the content is not what was written.  Without
 * this, tags made anew would call a block good that is not.
 */
#pragma once

#include "heal/scrub_priv.h"

struct salvage {			/* of one group */
	struct cfs_page_disk	*pages;	/* as read, of both slots and each piece */
	unsigned int		count;
};

enum salvage_answer {
	SALVAGE_NOTHING,	/* no page says anything of this block */
	SALVAGE_PROVEN,		/* the content is what was written */
	SALVAGE_CONTRADICTED,	/* it is not */
};

/* Read the pages; those that cannot be read are left out.  0 or -ENOMEM. */
int cfs_salvage_load(const struct scrub *s, uint64_t lslice, uint32_t group,
		     struct salvage *ret);
void cfs_salvage_donep(struct salvage *salvage);

/*
 * Judge a block.
 * @index     of the block in its group
 * @want      what the record says that the block is
 * @csum      that belongs to its content as that
 * @ret_csum  set if contradicted: the checksum that was written
 */
enum salvage_answer cfs_salvage_ask(const struct salvage *salvage,
				    uint32_t index, const struct cfs_tag *want,
				    uint64_t csum, uint64_t *ret_csum);

/* The same block in the same version; checksum and flags do not count. */
bool cfs_salvage_is_same(const struct cfs_tag *a, const struct cfs_tag *b);
