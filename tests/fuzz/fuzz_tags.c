/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Pages of tags: any bits unpack, and pack to the same bits. */
#include "fuzz_input.h"
#include "ondisk/tag.h"

static void judge(struct cfs_page_disk *disk, bool mend)
{
	const struct cfs_tags_payload_disk *p = (const void *)disk->payload;
	static const uint8_t block[CFS_BLOCK_BYTES];
	struct cfs_tag_disk again;
	struct cfs_tag tag;

	if (!fuzz_page(disk, CFS_PAGE_TAGS, mend))
		return;
	for (unsigned int i = 0; i < CFS_TAGS_PER_PAGE; i++) {
		cfs_tag_unpack(&p->tags[i], &tag);
		cfs_tag_pack(&tag, &again);
		FUZZ_CHECK(memcmp(&again, &p->tags[i], sizeof(again)) == 0);
		if (!cfs_tag_is_free(&tag))
			FUZZ_CHECK(cfs_tag_csum(&tag, 1, block) != 0);
	}
}

/* Two slots: whichever is chosen is sound and of its slot. */
static void choose(const uint8_t *data, size_t size)
{
	const struct cfs_page_expect expect = {
		.kind = CFS_PAGE_TAGS,
		.any_pool = true,
		.any_owner = true,
	};
	struct cfs_page_disk slots[2];
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_page page;
	unsigned int slot = 2;
	int r;

	fuzz_fill(slots, sizeof(slots), data, size);
	for (unsigned int i = 0; i < 2; i++)
		if (slots[i].payload[0] & 1)
			fuzz_page_mend(&slots[i], CFS_PAGE_TAGS);
	r = cfs_page_choose(slots, &expect, &slot, &page, &err);
	fuzz_check_result(r);
	FUZZ_CHECK(r == 0 ? slot < 2 && (page.seq & 1) == slot : slot == 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cfs_page_disk disk;

	fuzz_fill(&disk, sizeof(disk), data, size);
	judge(&disk, false);
	judge(&disk, true);
	choose(data, size);
	return 0;
}
