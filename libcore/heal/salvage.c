/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Single tags out of tag pages that are not valid. */
#include "heal/salvage_priv.h"

#include <stdlib.h>

/*
 * Bits of a tag's checksum that may have flipped with the page: content that
 * is not the same differs in about half of them.
 */
#define FLIPPED_BITS_MAX 2

int cfs_salvage_load(const struct scrub *s, uint64_t lslice, uint32_t group,
		     struct salvage *ret)
{
	struct salvage salvage = { .count = 0 };

	salvage.pages = cfs_dev_buf_alloc(2 * CFS_PIECES_MAX *
					  sizeof(*salvage.pages));
	if (!salvage.pages)
		return -ENOMEM;
	for (unsigned int i = 0; i < 2 * CFS_PIECES_MAX; i++) {
		uint64_t vaddr = cfs_vaddr(lslice, cfs_geometry_tags_block(
						s->geo, group, i & 1));

		if (cfs_metavolume_read(s->mv, vaddr, 1, i / 2,
					&salvage.pages[salvage.count],
					NULL) == 0)
			salvage.count++;
	}
	*ret = salvage;
	return 0;
}

void cfs_salvage_donep(struct salvage *salvage)
{
	free(salvage->pages);
}

bool cfs_salvage_is_same(const struct cfs_tag *a, const struct cfs_tag *b)
{
	return a->type == b->type && a->ino == b->ino &&
	       a->offset == b->offset && a->stamp == b->stamp &&
	       a->seq == b->seq && a->branch == b->branch;
}

enum salvage_answer cfs_salvage_ask(const struct salvage *salvage,
				    uint32_t index, const struct cfs_tag *want,
				    uint64_t csum, uint64_t *ret_csum)
{
	enum salvage_answer answer = SALVAGE_NOTHING;

	for (unsigned int i = 0; i < salvage->count; i++) {
		const struct cfs_tags_payload_disk *payload =
			(const void *)salvage->pages[i].payload;
		struct cfs_tag tag;

		cfs_tag_unpack(&payload->tags[index], &tag);
		/* Fits although bits of its own identity may be wrong. */
		if (tag.csum == csum)
			return SALVAGE_PROVEN;
		if (tag.csum == 0 || !cfs_salvage_is_same(&tag, want))
			continue;
		if (__builtin_popcountll(tag.csum ^ csum) <= FLIPPED_BITS_MAX)
			return SALVAGE_PROVEN;
		answer = SALVAGE_CONTRADICTED;
		*ret_csum = tag.csum;
	}
	return answer;
}
