/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Log frame: what one sync makes durable, in one contiguous write.
 *
 *   header (104 bytes) and records, padded with zeroes to a whole block, then
 *   inline_count blocks of inline data.
 *
 * Frames follow each other in the log's extents, in order; a frame never
 * crosses an extent's end.  The next frame is looked for right behind the
 * last one and, if no valid one is there, at the start of the next extent (the
 * first follows the last).  It is valid if log id and seq are the expected
 * ones, chain equals the low 64 bits of the last frame's checksum, and its own
 * checksum is right.
 *
 * durable_seq is the highest seq that was known to be flushed when the frame
 * was made.  An invalid frame at or below the highest durable_seq seen is
 * damage; above it, the end of the log.  A frame above it counts only if the
 * blocks that its extent records name verify.
 */
#pragma once

#include "base/err.h"
#include "base/le.h"
#include "ondisk/tag.h"

#define CFS_FRAME_MAGIC        0x52464643u /* "CFFR" in byte order */
#define CFS_FRAME_VERSION      1u
#define CFS_FRAME_HEADER_BYTES 104u
#define CFS_FRAME_BLOCKS_MAX   512u /* 2 MiB, header and all */

struct cfs_frame_header_disk {
	le32 magic;
	le16 version;
	le16 flags;
	le64 log_id;
	le64 seq;
	le64 chain;
	le64 durable_seq;
	le64 pool_lo;
	le64 container_id;
	le64 stamp; /* current when it was made */
	le32 epoch;
	le32 block_count; /* of the whole frame */
	le32 record_bytes;
	le32 record_count;
	le32 inline_count;
	le32 reserved;
	uint8_t csum[16]; /* XXH3-128 of the frame, this as zero,
			   * low 64 bits first, little-endian */
};
CFS_ASSERT_SIZE(struct cfs_frame_header_disk, CFS_FRAME_HEADER_BYTES);

struct cfs_frame {
	uint64_t log_id;
	uint64_t seq;
	uint64_t chain;
	uint64_t durable_seq;
	uint64_t pool_lo;
	uint64_t container_id;
	uint64_t stamp;
	uint32_t epoch;
	uint32_t block_count;
	uint32_t record_bytes;
	uint32_t record_count;
	uint32_t inline_count;
	uint64_t csum_lo; /* for the next frame's chain */
};

/* Records: 8-byte aligned, each begins with this. */
enum cfs_rec_type {
	CFS_REC_SET = 1, /* a record of a tree, as it is */
	CFS_REC_DEL = 2,
	CFS_REC_META = 3,   /* a versioned record of the live tree */
	CFS_REC_EXTENT = 4, /* data at home: blocks with their csums */
	CFS_REC_INLINE = 5, /* data in this frame */
	CFS_REC_PUNCH = 6,  /* a range became a hole */
	CFS_REC_STAMP = 7,  /* the stamp rose */
};

struct cfs_rec_head_disk {
	le16 type;
	le16 flags;
	le32 bytes; /* of the record, head and padding too */
};
CFS_ASSERT_SIZE(struct cfs_rec_head_disk, 8);

struct cfs_rec_set_disk { /* SET, DEL (without value) */
	struct cfs_rec_head_disk head;
	le32 tree_id;
	le32 value_bytes;
	le64 key[3];
	/* value, padded with zeroes to 8 bytes */
};
CFS_ASSERT_SIZE(struct cfs_rec_set_disk, 40);

#define CFS_REC_META_DELETE 0x1u /* in head.flags */
struct cfs_rec_meta_disk {
	struct cfs_rec_head_disk head;
	le64 branch_ino; /* branch 16 | inode 48 */
	le64 class_off;  /* class 4 | offset 60 */
	le64 stamp_seq;  /* stamp 48 | seq 16 */
	le32 value_bytes;
	le32 reserved;
	/* value, padded */
};
CFS_ASSERT_SIZE(struct cfs_rec_meta_disk, 40);

#define CFS_REC_PUNCH_WHITEOUT                                                 \
	0x1u                 /* in head.flags: and what a parent branch        \
			      * has here is hidden */
struct cfs_rec_extent_disk { /* EXTENT, INLINE, PUNCH */
	struct cfs_rec_head_disk head;
	le64 branch_ino;
	le64 off;   /* blocks */
	le64 count; /* blocks */
	le64 stamp_seq;
	le64 vaddr; /* EXTENT: where; INLINE: index of its
		     * first inline block; PUNCH: 0 */
		    /* EXTENT: count times le64 csum, as in the tags */
};
CFS_ASSERT_SIZE(struct cfs_rec_extent_disk, 48);

/* STAMP: a bare head and le64 stamp. */

/*
 * Seal: @buf holds block_count blocks with records and inline data in place;
 * writes the header with its checksum and sets @frame->csum_lo.
 */
void cfs_frame_pack(struct cfs_frame *frame, void *buf);

/*
 * Look at the first block of what may be a frame: everything in the header but
 * the checksum.  Tells how many blocks to read (at most CFS_FRAME_BLOCKS_MAX).
 * -EUCLEAN: no frame, or not the expected one.
 */
int cfs_frame_peek(const void *block, const struct cfs_frame *expect,
		   struct cfs_frame *ret, struct cfs_err *err);
/* Verify the whole frame of ret->block_count blocks at @buf; sets csum_lo. */
int cfs_frame_verify(const void *buf, struct cfs_frame *frame,
		     struct cfs_err *err);

/* One record, decoded; pointers lead into the frame's buffer. */
struct cfs_rec {
	enum cfs_rec_type type;
	uint16_t flags;
	uint32_t tree_id; /* SET, DEL */
	uint64_t key[3];
	const uint8_t *value; /* SET, META */
	uint32_t value_bytes;
	uint64_t ino; /* META, EXTENT, INLINE, PUNCH */
	uint16_t branch;
	uint64_t class_off; /* META */
	uint64_t offset;    /* blocks */
	uint64_t count;     /* blocks */
	uint64_t stamp;
	uint16_t seq;
	uint64_t vaddr;       /* EXTENT */
	const uint8_t *csums; /* EXTENT: count le64, may be unaligned */
	const uint8_t *data;  /* INLINE: count blocks */
};

/*
 * Step through a verified frame's records: *pos is 0 at the beginning and is
 * advanced.  Returns 1 with @ret set, 0 at the end, -EUCLEAN for a record that
 * does not fit or makes no sense.
 */
int cfs_frame_next(const void *buf, const struct cfs_frame *frame,
		   uint32_t *pos, struct cfs_rec *ret, struct cfs_err *err);
/* The same for records that are in no frame; so none may have inline data. */
int cfs_rec_next(const void *records, uint32_t record_bytes, uint32_t *pos,
		 struct cfs_rec *ret, struct cfs_err *err);

/*
 * Append one record to @buf (base/buf.h), padded.  The csums of an EXTENT are
 * host order, @rec->csums is not read then: pass them in @csums.
 * For INLINE, @inline_index is the index of its first inline block.
 * Returns 0 or -ENOMEM.
 */
struct cfs_buf;
int cfs_rec_append(struct cfs_buf *buf, const struct cfs_rec *rec,
		   const uint64_t *csums, uint64_t inline_index,
		   struct cfs_err *err);
