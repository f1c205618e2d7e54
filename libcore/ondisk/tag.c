/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tags.  cfs_tag_csum runs for each block that is read or written; what it
 * costs beside the hash of the block must stay negligible.
 */
#include "ondisk/tag.h"

#include <assert.h>

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
