/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tag: 32 bytes kept beside each block that say what the block is, and
 * its checksum over content and identity together.  The record of the map
 * trees for that block has the same fields, so a tree is only an index over
 * the tags: traced and rebuilt without any tree.
 *
 * csum = XXH3-64(content) XOR XXH3-64(identity), where identity is 32 bytes:
 * { container seed 8, ino_seq 8, off_type with the flags as zero 8,
 *   stamp_branch 8 }, all little-endian; the container seed is the XXH3-64 of
 * its 16-byte UUID.  A csum that comes out as 0 is stored as 1.
 *
 * A tag of all zeroes: the block was never written, or is known to be free.
 */
#pragma once

#include "ondisk/page.h"

#define CFS_TAG_BYTES     32u
#define CFS_TAGS_PER_PAGE 126u /* a group: one tag page and its blocks */

enum cfs_tag_type {
	CFS_TAG_FREE = 0,
	CFS_TAG_DATA = 1,  /* ino: inode or LUN, off: block in it */
	CFS_TAG_NODE = 2,  /* node of a map tree; ino: tree, off: node number */
	CFS_TAG_TABLE = 3, /* node of the small tables; likewise */
	CFS_TAG_ROOT = 4,  /* root page: carries its own checksum, csum 0 */
	CFS_TAG_LOG = 5,   /* log block: frames carry theirs, csum 0;
			    * ino: log id */
};

#define CFS_TAG_FLAG_UNVERIFIED                                                \
	0x001u /* made anew from content, not proved                           \
		*/

#define CFS_INO_MAX   ((UINT64_C(1) << 48) - 1)
#define CFS_OFF_MAX   ((UINT64_C(1) << 48) - 1) /* in blocks */
#define CFS_STAMP_MAX ((UINT64_C(1) << 48) - 1)

struct cfs_tag_disk {
	le64 csum;
	le64 ino_seq;      /* inode 48 | seq 16 */
	le64 off_type;     /* block offset 48 | type 6 | flags 10 */
	le64 stamp_branch; /* stamp 48 | branch 16 */
};
CFS_ASSERT_SIZE(struct cfs_tag_disk, 32);

struct cfs_tag {
	uint64_t csum;
	uint64_t ino;
	uint64_t offset; /* in blocks */
	uint64_t stamp;
	uint16_t seq; /* orders rewrites within one stamp */
	uint16_t branch;
	uint8_t type;
	uint16_t flags;
};

struct cfs_tags_payload_disk {
	struct cfs_tag_disk tags[CFS_TAGS_PER_PAGE];
};
CFS_ASSERT_SIZE(struct cfs_tags_payload_disk, CFS_PAGE_PAYLOAD_BYTES);

void cfs_tag_pack(const struct cfs_tag *tag, struct cfs_tag_disk *disk);
/* Any bits unpack; the type may be one that this version does not know. */
void cfs_tag_unpack(const struct cfs_tag_disk *disk, struct cfs_tag *ret);
bool cfs_tag_is_free(const struct cfs_tag *tag);
/*
 * Are these the tags of @count blocks in a row, of which @first is the first
 * but for the csum?  Those are at @csums, le64.  As cfs_tag_unpack and a look
 * at each field; what no tag can hold is no tag's.
 */
bool cfs_tags_are_run(const struct cfs_tag_disk *tags, uint32_t count,
		      const struct cfs_tag *first, const void *csums);

/* The container's part of the identity. */
uint64_t cfs_tag_container_seed(const uint8_t container_uuid[16]);
/* The identity's part of the checksum (the tag's csum and flags don't count).
 */
uint64_t cfs_tag_identity_hash(const struct cfs_tag *tag,
			       uint64_t container_seed);
/* The csum that belongs to @block (4096 bytes) under that identity. */
uint64_t cfs_tag_csum(const struct cfs_tag *tag, uint64_t container_seed,
		      const void *block);
/* The same from the block's XXH3, which needs no identity. */
uint64_t cfs_tag_csum_of(const struct cfs_tag *tag, uint64_t container_seed,
			 uint64_t block_hash);
