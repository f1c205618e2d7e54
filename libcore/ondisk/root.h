/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Root of a container: where its trees and its log are.  One commit is one
 * write of this page to one slot of each of its places, behind a flush of all
 * that it names.
 *
 * The root of the pool's own container (id 0) also holds the slice map of
 * that container, so that everything else can be found from it.
 */
#pragma once

#include "ondisk/geometry.h"
#include "ondisk/page.h"

#define CFS_TREE_TABLE      1u /* small tables */
#define CFS_TREE_LIVE       2u /* newest versions */
#define CFS_TREE_HISTORY    3u /* superseded ones that a snapshot sees */
#define CFS_TREE_SPACE      4u /* which blocks are in use: a cache */
#define CFS_TREE_COUNT      8u /* places in the root, by tree id - 1 */

#define CFS_LOG_EXTENTS_MAX 80u
#define CFS_PIECES_MAX      3u
#define CFS_ROOT_SMAP_MAX   24u

struct cfs_node_ref_disk { /* how a node is named by its parent */
	le64 vaddr[2];     /* both copies; the second may be 0 */
	le64 csum;         /* XXH3-64 of the 4096 bytes */
	le64 stamp_seq;    /* stamp 48 | 0: of its writing */
};
CFS_ASSERT_SIZE(struct cfs_node_ref_disk, 32);

struct cfs_tree_root_disk {
	struct cfs_node_ref_disk ref; /* vaddr 0: the tree is empty */
	le32 level;                   /* of the root node; 0: a leaf */
	le32 reserved;
	le64 next_node; /* number for the next new node */
	le64 record_count;
	le64 node_count;
};
CFS_ASSERT_SIZE(struct cfs_tree_root_disk, 64);

struct cfs_log_extent_disk {
	le64 vaddr;
	le32 block_count;
	le32 reserved;
};
CFS_ASSERT_SIZE(struct cfs_log_extent_disk, 16);

struct cfs_piece_disk {
	le16 device_index;
	le16 flags; /* CFS_PIECE_* */
	le32 slice_index;
	le32 generation;
};
CFS_ASSERT_SIZE(struct cfs_piece_disk, 12);
#define CFS_PIECE_USED  0x1u
#define CFS_PIECE_STALE 0x2u /* missed writes; not read */

struct cfs_smap_entry_disk {
	le32 lslice;
	struct cfs_piece_disk pieces[CFS_PIECES_MAX];
};
CFS_ASSERT_SIZE(struct cfs_smap_entry_disk, 40);

struct cfs_root_payload_disk {
	uint8_t container_uuid[16];
	le64 features_compat;
	le64 features_ro_compat;
	le64 features_incompat;
	le64 stamp;         /* all of births up to here is in it */
	le64 stamp_ceiling; /* births may have gone up to here */
	le64 next_ino;      /* ceiling likewise */
	le64 used_blocks;   /* counters: hints, made anew by check */
	le64 log_id;
	le64 log_seq;    /* first frame to replay */
	le64 log_chain;  /* low 64 bits of the checksum before it */
	le32 log_extent; /* where that frame is looked for */
	le32 log_block;  /* within the extent */
	le32 log_extent_count;
	le32 smap_count; /* container 0 only */
	struct cfs_tree_root_disk trees[CFS_TREE_COUNT];
	struct cfs_log_extent_disk log_extents[CFS_LOG_EXTENTS_MAX];
	struct cfs_smap_entry_disk smap[CFS_ROOT_SMAP_MAX];
	le64 grave_vaddr[2]; /* the log's gravestone; 0: none */
	le64 names_of;       /* ref.csum of the small tables of which the NAME
			      * records are whole; 0: of none */
	uint8_t reserved[CFS_PAGE_PAYLOAD_BYTES - 112 - 512 - 1280 - 960 - 24];
};
CFS_ASSERT_OFFSET(struct cfs_root_payload_disk, trees, 112);
CFS_ASSERT_OFFSET(struct cfs_root_payload_disk, names_of, 2880);
CFS_ASSERT_SIZE(struct cfs_root_payload_disk, CFS_PAGE_PAYLOAD_BYTES);

struct cfs_node_ref {
	uint64_t vaddr[2];
	uint64_t csum;
	uint64_t stamp;
};

struct cfs_tree_root {
	struct cfs_node_ref ref;
	uint32_t level;
	uint64_t next_node;
	uint64_t record_count;
	uint64_t node_count;
};

struct cfs_log_extent {
	uint64_t vaddr;
	uint32_t block_count;
};

struct cfs_piece {
	uint16_t device_index;
	uint16_t flags;
	uint32_t slice_index;
	uint32_t generation;
};

struct cfs_smap_entry {
	uint64_t lslice;
	struct cfs_piece pieces[CFS_PIECES_MAX];
};

struct cfs_root {
	uint8_t container_uuid[16];
	uint64_t features_compat, features_ro_compat, features_incompat;
	uint64_t stamp;
	uint64_t stamp_ceiling;
	uint64_t next_ino;
	uint64_t used_blocks;
	uint64_t log_id;
	uint64_t log_seq;
	uint64_t log_chain;
	uint32_t log_extent;
	uint32_t log_block;
	uint32_t log_extent_count;
	uint32_t smap_count;
	struct cfs_tree_root trees[CFS_TREE_COUNT];
	struct cfs_log_extent log_extents[CFS_LOG_EXTENTS_MAX];
	struct cfs_smap_entry smap[CFS_ROOT_SMAP_MAX];
	uint64_t grave_vaddr[2];
	uint64_t names_of;
};

/* Fills the payload only; the page is sealed with cfs_page_pack. */
void cfs_root_pack(const struct cfs_root *root, struct cfs_page_disk *disk);
/*
 * Decode the payload of a page that cfs_page_unpack accepted.  Counts and
 * positions are checked against each other; addresses against nothing.
 * -EUCLEAN, or -ENOTSUP for an unknown incompatible feature.
 */
int cfs_root_unpack(const struct cfs_page_disk *disk, struct cfs_root *ret,
		    struct cfs_err *err);

void cfs_node_ref_pack(const struct cfs_node_ref *ref,
		       struct cfs_node_ref_disk *disk);
void cfs_node_ref_unpack(const struct cfs_node_ref_disk *disk,
			 struct cfs_node_ref *ret);
void cfs_piece_pack(const struct cfs_piece *piece, struct cfs_piece_disk *disk);
/* One that is not used is all zero. */
void cfs_piece_unpack(const struct cfs_piece_disk *disk, struct cfs_piece *ret);
