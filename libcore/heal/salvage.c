/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tags out of tag pages that are not valid. */
#include "heal/salvage_priv.h"

#include "base/cleanup.h"

#include <stdlib.h>

/* Tags of a page that are tried both ways: 2^10 checksums of 4 KiB. */
#define DOUBTS_MAX       10u
/*
 * Bits of a tag's checksum that may have flipped with the page: content that
 * is not the same differs in about half of them.
 */
#define FLIPPED_BITS_MAX 2

bool cfs_salvage_is_same(const struct cfs_tag *a, const struct cfs_tag *b)
{
	return a->type == b->type && a->ino == b->ino &&
	       a->offset == b->offset && a->stamp == b->stamp &&
	       a->seq == b->seq && a->branch == b->branch;
}

static bool is_known(const struct cfs_tag *want)
{
	return want->type >= CFS_TAG_DATA && want->type <= CFS_TAG_LOG;
}

static struct cfs_tags_payload_disk *payload_of(struct cfs_page_disk *page)
{
	return (void *)page->payload;
}

/* -------------------------------------------------------- the whole page */

/* A tag of the page that does not fit the content of its block. */
struct doubt {
	uint32_t index;
	struct cfs_tag_disk written, fitting;
};

/* Returns how many, or more than DOUBTS_MAX. */
static unsigned int find_doubts(struct cfs_page_disk *page,
				const struct salvage *salvage,
				struct doubt doubts[DOUBTS_MAX])
{
	struct cfs_tags_payload_disk *payload = payload_of(page);
	unsigned int count = 0;

	for (uint32_t i = 0; i < CFS_TAGS_PER_PAGE; i++) {
		struct cfs_tag want = salvage->want[i], tag;

		cfs_tag_unpack(&payload->tags[i], &tag);
		if (!is_known(&want) ||
		    (cfs_salvage_is_same(&tag, &want) && tag.csum == want.csum))
			continue;
		if (count == DOUBTS_MAX)
			return count + 1;
		if (cfs_salvage_is_same(&tag, &want))
			want.flags = tag.flags;
		doubts[count].index = i;
		doubts[count].written = payload->tags[i];
		cfs_tag_pack(&want, &doubts[count++].fitting);
	}
	return count;
}

/* The page proves all but those doubts that were left as written. */
static void take_proof(const struct doubt *doubts, unsigned int count,
		       unsigned int replaced, struct salvage *salvage)
{
	for (uint32_t i = 0; i < CFS_TAGS_PER_PAGE; i++)
		if (is_known(&salvage->want[i]))
			salvage->answer[i] = SALVAGE_PROVEN;
	for (unsigned int i = 0; i < count; i++) {
		struct cfs_tag tag;

		if (replaced & 1u << i)
			continue;
		cfs_tag_unpack(&doubts[i].written, &tag);
		salvage->answer[doubts[i].index] = SALVAGE_CONTRADICTED;
		salvage->csum[doubts[i].index] = tag.csum;
	}
}

/* Is the page valid with fitting tags in place of some? */
static bool prove_by_page(struct cfs_page_disk *page,
			  const struct cfs_page_expect *expect,
			  struct salvage *salvage)
{
	struct doubt doubts[DOUBTS_MAX];
	unsigned int count = find_doubts(page, salvage, doubts);
	struct cfs_page header;

	if (count > DOUBTS_MAX)
		return false;
	for (unsigned int set = 1; set < 1u << count; set++) {
		for (unsigned int i = 0; i < count; i++)
			payload_of(page)->tags[doubts[i].index] =
				set & 1u << i ? doubts[i].fitting
					      : doubts[i].written;
		if (cfs_page_unpack(page, expect, &header, NULL) == 0) {
			take_proof(doubts, count, set, salvage);
			return true;
		}
	}
	for (unsigned int i = 0; i < count; i++)
		payload_of(page)->tags[doubts[i].index] = doubts[i].written;
	return false;
}

/* ------------------------------------------------------------ single tags */

static void ask_tags(struct cfs_page_disk *page, struct salvage *salvage)
{
	for (uint32_t i = 0; i < CFS_TAGS_PER_PAGE; i++) {
		const struct cfs_tag *want = &salvage->want[i];
		struct cfs_tag tag;

		cfs_tag_unpack(&payload_of(page)->tags[i], &tag);
		if (!is_known(want) || tag.csum == 0 ||
		    salvage->answer[i] == SALVAGE_PROVEN)
			continue;
		/* It fits although bits of its own identity may be wrong. */
		if (tag.csum == want->csum) {
			salvage->answer[i] = SALVAGE_PROVEN;
		} else if (cfs_salvage_is_same(&tag, want)) {
			salvage->answer[i] = __builtin_popcountll(tag.csum ^
								  want->csum) <=
							     FLIPPED_BITS_MAX
						     ? SALVAGE_PROVEN
						     : SALVAGE_CONTRADICTED;
			salvage->csum[i] = tag.csum;
		}
	}
}

/* ----------------------------------------------------------------- both */

int cfs_salvage_group(const struct scrub *s, uint64_t lslice, uint32_t group,
		      struct salvage *salvage)
{
	const struct cfs_page_expect expect = {
		.kind = CFS_PAGE_TAGS,
		.any_pool = true,
		.any_owner = true,
		.address = cfs_vaddr(lslice, group),
	};
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));

	if (!page)
		return -ENOMEM;
	for (unsigned int i = 0; i < 2 * CFS_PIECES_MAX; i++) {
		uint64_t vaddr = cfs_vaddr(
			lslice, cfs_geometry_tags_block(s->geo, group, i & 1));

		if (cfs_metavolume_read(s->mv, vaddr, 1, i / 2, page, NULL) < 0)
			continue;
		if (prove_by_page(page, &expect, salvage))
			return 0;
		ask_tags(page, salvage);
	}
	return 0;
}
