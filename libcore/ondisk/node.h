/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Node of a copy-on-write B+tree: 4096 bytes.
 *
 *   header (96 bytes), slots (2 bytes each, growing up), free space, records
 *   (growing down from the end).  A slot is the byte offset of its record;
 *   slots are in the order of the keys.
 *
 * A leaf's record is { key, le16 value_bytes, value }; an interior node's is
 * { key, struct cfs_node_ref_disk }, the key being the lowest that may stand
 * below that child (for the first child: the node's own low key).  Keys are 1
 * to 3 words of 64 bits, most significant first, each stored little-endian;
 * how many is fixed for each tree.
 *
 * Leaves know their range [low, high), the last one has no high end, so that
 * leaves found by their tags can be put together without their parents: of
 * two that cover one key, the one with the higher stamp counts.
 */
#pragma once

#include "base/err.h"
#include "base/le.h"
#include "ondisk/root.h"

#define CFS_NODE_MAGIC        0x444e4643u /* "CFND" in byte order */
#define CFS_NODE_VERSION      1u
#define CFS_NODE_BYTES        4096u
#define CFS_NODE_LEVEL_MAX    12u
#define CFS_KEY_WORDS_MAX     3u
#define CFS_VALUE_BYTES_MAX   1200u
#define CFS_NODE_FLAG_NO_HIGH 0x1u

struct cfs_node_header_disk {
	le32 magic;
	le16 version;
	uint8_t tree_id;
	uint8_t level;
	uint8_t key_words;
	uint8_t flags;
	le16 record_count;
	le16 records_start; /* lowest byte used by a record */
	le16 reserved;
	le64 number; /* of the node: the offset in its tag */
	le64 stamp;  /* of the commit that wrote it */
	le64 container_id;
	le64 low[CFS_KEY_WORDS_MAX];
	le64 high[CFS_KEY_WORDS_MAX];
	le64 csum; /* XXH3-64 of the node, this field as zero */
};
CFS_ASSERT_SIZE(struct cfs_node_header_disk, 96);

/*
 * Verify a node as read: magic, checksum, version, tree, level and key words
 * as expected (@level: -1 takes any), number and stamp as a tag can hold them,
 * slots and records inside the node and not overlapping the header, keys
 * strictly rising and inside [low, high).
 * Returns 0, -EUCLEAN or -ENOTSUP.
 */
int cfs_node_verify(const void *node, unsigned int tree_id, int level,
		    unsigned int key_words, uint64_t container_id,
		    struct cfs_err *err);
/* Set the header's checksum; everything else is in place. */
void cfs_node_seal(void *node);
