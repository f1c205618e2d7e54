/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records of the map trees.
 *
 * LIVE (2 key words): the newest version of everything, by branch.
 *   word 0  branch 16 | inode 48
 *   word 1  class 4 | offset 60
 * HISTORY (3 key words): versions that were superseded and that a snapshot
 * still sees.
 *   word 0  as above
 *   word 1  class 4 | level 8 | block offset 48 for EXTENT, else as above
 *   word 2  (2^48-1 - stamp) << 16 | (2^16-1 - seq): newest first
 * An extent that dies is cut into pieces of 2^level blocks, each aligned to its
 * size, so that one seek for each level finds the version of a block.
 * SPACE (2 key words): a cache of which blocks are in use.
 *   word 0  1 << 56 | lslice: a slice's sum;  2 << 56 | lslice: a group
 *   word 1  0, or the group
 */
#pragma once

#include "ondisk/geometry.h"
#include "ondisk/node.h"
#include "ondisk/tag.h"

enum cfs_map_class {
	CFS_MAP_INODE = 1,   /* offset 0 */
	CFS_MAP_DIRENT = 2,  /* offset: 56-bit hash of the name << 4 | which */
	CFS_MAP_XATTR = 3,   /* offset: 44-bit hash << 16 | which << 8 | part */
	CFS_MAP_SYMLINK = 4, /* offset: part of the target */
	CFS_MAP_EXTENT = 8,  /* offset: first block */
};

#define CFS_MAP_OFF_BITS      60u
#define CFS_MAP_OFF_MASK      ((UINT64_C(1) << CFS_MAP_OFF_BITS) - 1)
#define CFS_MAP_LEVEL_SHIFT   48u
#define CFS_EXTENT_BLOCKS_MAX 65535u
#define CFS_HISTORY_LEVEL_MAX 15u

static inline uint64_t cfs_map_word0(uint16_t branch, uint64_t ino)
{
	return (uint64_t)branch << 48 | ino;
}
static inline uint64_t cfs_map_word1(enum cfs_map_class c, uint64_t off)
{
	return (uint64_t)c << CFS_MAP_OFF_BITS | off;
}
static inline uint64_t cfs_map_version_word(uint64_t stamp, uint16_t seq)
{
	return (CFS_STAMP_MAX - stamp) << 16 | (uint64_t)(0xffff - seq);
}

/* Head of every LIVE and HISTORY value. */
#define CFS_VERSION_WHITEOUT 0x1u /* hides what a parent branch has here */
struct cfs_version_disk {
	le64 stamp_seq;   /* birth: stamp 48 | seq 16 */
	le64 death_flags; /* HISTORY: death stamp 48 | flags 16;
			   * LIVE: 0 | flags */
};
CFS_ASSERT_SIZE(struct cfs_version_disk, 16);

struct cfs_extent_rec_disk { /* EXTENT */
	struct cfs_version_disk version;
	le64 vaddr_count; /* vaddr 48 | blocks 16; 0 | blocks: a
			   * hole (whiteout) */
	le64 csum;        /* of the block if there is one, else 0 */
};
CFS_ASSERT_SIZE(struct cfs_extent_rec_disk, 32);

/* The others: struct cfs_version_disk, then the class's bytes (inode.h). */

struct cfs_space_slice_disk {
	le32 used_blocks;
	le32 flags;
};
CFS_ASSERT_SIZE(struct cfs_space_slice_disk, 8);

struct cfs_space_group_disk {
	uint8_t used[16]; /* bit i of byte i/8: block i in use */
};
CFS_ASSERT_SIZE(struct cfs_space_group_disk, 16);

struct cfs_version {
	uint64_t stamp; /* birth */
	uint16_t seq;
	uint64_t death; /* 0: live; else later than the birth */
	uint16_t flags; /* CFS_VERSION_* */
};

/* 16 bytes at @disk; @value is the head of a LIVE or HISTORY value. */
void cfs_version_pack(const struct cfs_version *version,
		      struct cfs_version_disk *disk);
/* -EUCLEAN: too short, or dead at or before its birth. */
int cfs_version_unpack(const void *value, size_t value_bytes,
		       struct cfs_version *ret, struct cfs_err *err);

struct cfs_extent_rec {
	struct cfs_version version;
	uint64_t vaddr; /* CFS_VADDR_NONE: a hole */
	uint32_t count; /* blocks, 1..CFS_EXTENT_BLOCKS_MAX */
	uint64_t csum;  /* where count is 1, else 0 */
};

void cfs_extent_rec_pack(const struct cfs_extent_rec *rec,
			 struct cfs_extent_rec_disk *disk);
/*
 * -EUCLEAN: too short, no blocks, a whiteout that has an address, or a run
 * that leaves its slice's addresses.
 */
int cfs_extent_rec_unpack(const void *value, size_t value_bytes,
			  struct cfs_extent_rec *ret, struct cfs_err *err);

/* Bits of a group; @index is 0..CFS_TAGS_PER_PAGE-1. */
static inline bool cfs_space_group_test(const struct cfs_space_group_disk *g,
					unsigned int index)
{
	return (g->used[index / 8] & 1u << (index % 8)) != 0;
}
static inline void cfs_space_group_set(struct cfs_space_group_disk *g,
				       unsigned int index)
{
	g->used[index / 8] = (uint8_t)(g->used[index / 8] | 1u << (index % 8));
}
static inline void cfs_space_group_clear(struct cfs_space_group_disk *g,
					 unsigned int index)
{
	g->used[index / 8] = (uint8_t)(g->used[index / 8] &
				       ~(1u << (index % 8)));
}
