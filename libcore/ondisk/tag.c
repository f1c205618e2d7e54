/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tags.  cfs_tag_csum runs for each block that is read or written; what it
 * costs beside the hash of the block must stay negligible.
 */
#include "ondisk/tag.h"

#include <assert.h>
#include <string.h>

#include "base/xxh.h"
#include "ondisk/field_priv.h"

#define TYPE_MASK  0x3fu
#define FLAGS_BITS 10u
#define FLAGS_MASK 0x3ffu

static uint16_t type_flags(const struct cfs_tag *tag)
{
	return (uint16_t)((tag->type & TYPE_MASK) << FLAGS_BITS |
			  (tag->flags & FLAGS_MASK));
}

void cfs_tag_pack(const struct cfs_tag *tag, struct cfs_tag_disk *disk)
{
	assert(tag->ino <= CFS_INO_MAX && tag->offset <= CFS_OFF_MAX &&
	       tag->stamp <= CFS_STAMP_MAX && tag->type <= TYPE_MASK &&
	       tag->flags <= FLAGS_MASK);
	disk->csum = le64_put(tag->csum);
	disk->ino_seq = cfs_field_48_16(tag->ino, tag->seq);
	disk->off_type = cfs_field_48_16(tag->offset, type_flags(tag));
	disk->stamp_branch = cfs_field_48_16(tag->stamp, tag->branch);
}

void cfs_tag_unpack(const struct cfs_tag_disk *disk, struct cfs_tag *ret)
{
	uint64_t ino_seq = le64_get(disk->ino_seq);
	uint64_t off_type = le64_get(disk->off_type);
	uint64_t stamp_branch = le64_get(disk->stamp_branch);

	*ret = (struct cfs_tag){
		.csum = le64_get(disk->csum),
		.ino = ino_seq >> 16,
		.offset = off_type >> 16,
		.stamp = stamp_branch >> 16,
		.seq = (uint16_t)ino_seq,
		.branch = (uint16_t)stamp_branch,
		.type = (uint8_t)(off_type >> FLAGS_BITS & TYPE_MASK),
		.flags = (uint16_t)(off_type & FLAGS_MASK),
	};
}

bool cfs_tag_is_free(const struct cfs_tag *tag)
{
	return !(tag->csum | tag->ino | tag->offset | tag->stamp | tag->seq |
		 tag->branch | tag->type | tag->flags);
}

bool cfs_tags_are_run(const struct cfs_tag_disk *tags, uint32_t count,
		      const struct cfs_tag *first, const void *csums)
{
	const uint8_t *csum = csums;
	uint64_t ino_seq, off_type, stamp_branch, wrong = 0;

	/* Also what comes from others, so nothing of it is asserted. */
	if (first->ino > CFS_INO_MAX || first->stamp > CFS_STAMP_MAX ||
	    first->offset > CFS_OFF_MAX ||
	    count > CFS_OFF_MAX + 1 - first->offset ||
	    first->type > TYPE_MASK || first->flags > FLAGS_MASK)
		return false;
	ino_seq = first->ino << 16 | first->seq;
	off_type = first->offset << 16 | type_flags(first);
	stamp_branch = first->stamp << 16 | first->branch;
	for (uint32_t i = 0; i < count; i++) {
		le64 c;

		memcpy(&c, csum + 8 * (size_t)i, sizeof(c));
		wrong |= le64_get(tags[i].csum) ^ le64_get(c);
		wrong |= le64_get(tags[i].ino_seq) ^ ino_seq;
		wrong |= le64_get(tags[i].off_type) ^
			 (off_type + ((uint64_t)i << 16));
		wrong |= le64_get(tags[i].stamp_branch) ^ stamp_branch;
	}
	return !wrong;
}

uint64_t cfs_tag_container_seed(const uint8_t container_uuid[16])
{
	return cfs_xxh3(container_uuid, 16);
}

uint64_t cfs_tag_identity_hash(const struct cfs_tag *tag,
			       uint64_t container_seed)
{
	le64 identity[4] = {
		le64_put(container_seed),
		cfs_field_48_16(tag->ino, tag->seq),
		cfs_field_48_16(tag->offset,
				(uint16_t)(type_flags(tag) & ~FLAGS_MASK)),
		cfs_field_48_16(tag->stamp, tag->branch),
	};

	return cfs_xxh3(identity, sizeof(identity));
}

uint64_t cfs_tag_csum_of(const struct cfs_tag *tag, uint64_t container_seed,
			 uint64_t block_hash)
{
	uint64_t csum = block_hash ^ cfs_tag_identity_hash(tag, container_seed);

	return csum ? csum : 1;
}

uint64_t cfs_tag_csum(const struct cfs_tag *tag, uint64_t container_seed,
		      const void *block)
{
	return cfs_tag_csum_of(tag, container_seed,
			       cfs_xxh3(block, CFS_BLOCK_BYTES));
}
