/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A stream: what makes a volume, as it is at one snapshot, of nothing or of
 * what it was at another one.  It is a row of records, in the order of keys:
 *
 *   BEGIN, { META | GONE | DATA | HOLE }, END
 *
 * Each record has a head of 32 bytes, whose checksum covers the head and the
 * payload, but for the blocks of DATA: each of those is covered by the
 * checksum of the tag that it has where it comes from, under the identity that
 * the record gives, so that what was wrong there is found wherever it gets to.
 * Checksums are seeded with the stream's id, the XXH3-64 of BEGIN's payload
 * (BEGIN's own with 0): a record of another stream does not verify.  Sequence
 * numbers are without gaps from 0, END has a hash over all, and keys rise, so
 * that nothing can be lost, doubled or moved.
 *
 * The key of a record is an inode and the word 1 of the map trees
 * (ondisk/map.h); a GONE has the word 0.  A stream that begins behind its
 * first record has in BEGIN the key from which it goes on.
 */
#pragma once

#include "ondisk/map.h"
#include "ondisk/table.h"

#define CFS_STREAM_MAGIC   0x54534643u /* "CFST" in byte order */
#define CFS_STREAM_VERSION 1u

enum cfs_stream_type {
	CFS_STREAM_BEGIN = 1,
	CFS_STREAM_META = 2, /* a record of the map, or none there */
	CFS_STREAM_GONE = 3, /* an inode, with all it has */
	CFS_STREAM_DATA = 4, /* blocks */
	CFS_STREAM_HOLE = 5, /* no blocks */
	CFS_STREAM_END = 6,
};

#define CFS_STREAM_BLOCKS_MAX 256u /* of a DATA record */
/* Inode numbers are below; the others are the receiver's own. */
#define CFS_STREAM_INO_END    (UINT64_C(1) << 47)

struct cfs_stream_head_disk {
	le32 magic;
	le16 version;
	le16 type;
	le32 payload_bytes; /* blocks of DATA included */
	le32 reserved;      /* 0 */
	le64 sequence;
	le64 csum; /* this field as 0 */
};
CFS_ASSERT_SIZE(struct cfs_stream_head_disk, 32);
CFS_ASSERT_OFFSET(struct cfs_stream_head_disk, csum, 24);

/* Which moment of which volume: that of a snapshot where it was first taken,
 * whatever it is called now and wherever it was received. */
struct cfs_stream_identity_disk {
	uint8_t container[16]; /* all zeroes: none */
	le64 stamp;
};
CFS_ASSERT_SIZE(struct cfs_stream_identity_disk, 24);

#define CFS_STREAM_VOLUME_BYTES 256u

struct cfs_stream_begin_disk {
	le64 compat, ro_compat, incompat;
	le32 kind; /* enum cfs_volume_kind */
	le32 reserved;
	struct cfs_stream_identity_disk to, from;
	uint8_t pool_uuid[16];
	uint8_t container_uuid[16];       /* of the tags' identities */
	le64 size_bytes;                  /* LUN */
	le64 root_ino;                    /* the LUN, or the root directory */
	le64 hash_seed;                   /* of directory names */
	le64 created_ns;                  /* the snapshot */
	le64 position_ino, position_word; /* 0: the beginning */
	le64 data_bytes;                  /* about so many; 0: not known */
	uint8_t volume[CFS_STREAM_VOLUME_BYTES]; /* names: hints */
	uint8_t snap[CFS_NAME_BYTES];
	uint8_t from_snap[CFS_NAME_BYTES];
	uint8_t note[CFS_NOTE_BYTES];
	uint8_t reserved2[32];
};
CFS_ASSERT_SIZE(struct cfs_stream_begin_disk, 968);
CFS_ASSERT_OFFSET(struct cfs_stream_begin_disk, to, 32);
CFS_ASSERT_OFFSET(struct cfs_stream_begin_disk, size_bytes, 112);
CFS_ASSERT_OFFSET(struct cfs_stream_begin_disk, volume, 168);

#define CFS_STREAM_META_DELETE 0x1u
struct cfs_stream_meta_disk { /* the value follows */
	le64 ino;
	le64 word;  /* class 4 | offset 60 */
	le32 flags; /* CFS_STREAM_META_* */
	le32 reserved;
};
CFS_ASSERT_SIZE(struct cfs_stream_meta_disk, 24);

struct cfs_stream_gone_disk {
	le64 ino;
};
CFS_ASSERT_SIZE(struct cfs_stream_gone_disk, 8);

/* Then as many checksums (le64) as blocks, then the blocks. */
struct cfs_stream_data_disk {
	le64 ino;
	le64 offset;       /* of the first block */
	le64 stamp_branch; /* of the tags: stamp 48 | branch 16 */
	le16 seq;
	le16 reserved;
	le32 count;
};
CFS_ASSERT_SIZE(struct cfs_stream_data_disk, 32);

struct cfs_stream_hole_disk {
	le64 ino;
	le64 offset;
	le64 count; /* blocks */
};
CFS_ASSERT_SIZE(struct cfs_stream_hole_disk, 24);

struct cfs_stream_end_disk {
	le64 record_count; /* before this one */
	le64 block_count;  /* of all DATA */
	le64 chain;        /* see cfs_stream_chain */
};
CFS_ASSERT_SIZE(struct cfs_stream_end_disk, 24);

/* What the checksum of a head covers, and what follows it at most. */
#define CFS_STREAM_FRONT_BYTES_MAX                                             \
	(sizeof(struct cfs_stream_data_disk) + 8 * CFS_STREAM_BLOCKS_MAX)
_Static_assert(CFS_STREAM_FRONT_BYTES_MAX >=
		       sizeof(struct cfs_stream_meta_disk) +
			       CFS_VALUE_BYTES_MAX,
	       "a META fits");
_Static_assert(CFS_STREAM_FRONT_BYTES_MAX >=
		       sizeof(struct cfs_stream_begin_disk),
	       "a BEGIN fits");

struct cfs_stream_head {
	uint16_t type;        /* enum cfs_stream_type */
	uint32_t front_bytes; /* of the payload, covered */
	uint32_t block_count; /* that follow it */
	uint64_t sequence;
	uint64_t csum;
};

struct cfs_stream_identity {
	uint8_t container[16];
	uint64_t stamp;
};

/* A place in a stream: of the next record's key, or before it. */
struct cfs_stream_position {
	uint64_t ino;
	uint64_t word;
};

struct cfs_stream_begin {
	uint32_t kind;
	struct cfs_stream_identity to, from;
	uint8_t pool_uuid[16];
	uint8_t container_uuid[16];
	uint64_t size_bytes;
	uint64_t root_ino;
	uint64_t hash_seed;
	uint64_t created_ns;
	struct cfs_stream_position position;
	uint64_t data_bytes;
	char volume[CFS_STREAM_VOLUME_BYTES];
	char snap[CFS_NAME_BYTES];
	char from_snap[CFS_NAME_BYTES]; /* may be empty */
	char note[CFS_NOTE_BYTES];
};

struct cfs_stream_meta {
	uint64_t ino, word;
	bool is_delete;
	const uint8_t *value; /* leads into the payload */
	size_t value_bytes;
};
struct cfs_stream_data {
	uint64_t ino, offset;
	uint64_t stamp;
	uint16_t branch, seq;
	uint32_t count; /* 1..CFS_STREAM_BLOCKS_MAX */
};
struct cfs_stream_hole {
	uint64_t ino, offset, count;
};
struct cfs_stream_end {
	uint64_t record_count, block_count, chain;
};

bool cfs_stream_identity_is_none(const struct cfs_stream_identity *id);
bool cfs_stream_identity_is_same(const struct cfs_stream_identity *a,
				 const struct cfs_stream_identity *b);
void cfs_stream_identity_pack(const struct cfs_stream_identity *id,
			      struct cfs_stream_identity_disk *disk);
void cfs_stream_identity_unpack(const struct cfs_stream_identity_disk *disk,
				struct cfs_stream_identity *ret);
/* < 0, 0, > 0 */
int cfs_stream_position_cmp(const struct cfs_stream_position *a,
			    const struct cfs_stream_position *b);

/*
 * The head of a record, its checksum too.  @front: what the checksum covers;
 * @block_count: of DATA, else 0.
 */
void cfs_stream_head_pack(struct cfs_stream_head_disk *disk,
			  enum cfs_stream_type type, uint64_t sequence,
			  uint64_t stream_id, const void *front,
			  size_t front_bytes, uint32_t block_count);
/*
 * What a head says of what follows; the checksum is looked at when that is
 * there, by cfs_stream_head_verify.
 * -EMEDIUMTYPE: no such magic; -ENOTSUP: a newer version; -EUCLEAN: a type or
 * length that cannot be.
 */
int cfs_stream_head_unpack(const struct cfs_stream_head_disk *disk,
			   struct cfs_stream_head *ret, struct cfs_err *err);
/* -EUCLEAN */
int cfs_stream_head_verify(const struct cfs_stream_head_disk *disk,
			   uint64_t stream_id, const void *front,
			   size_t front_bytes, struct cfs_err *err);
/* The stream's id, from BEGIN's payload as it is packed. */
uint64_t cfs_stream_id(const struct cfs_stream_begin_disk *disk);
/* The hash over all checksums up to one, from that up to the one before; it
 * begins with 0. */
uint64_t cfs_stream_chain(uint64_t chain, uint64_t csum);

void cfs_stream_begin_pack(const struct cfs_stream_begin *begin,
			   struct cfs_stream_begin_disk *disk);
/* The payloads: -EUCLEAN, a field that cannot be; -ENOTSUP: a feature that is
 * not known. */
int cfs_stream_begin_unpack(const void *front, size_t front_bytes,
			    struct cfs_stream_begin *ret, struct cfs_err *err);
/* Head and value into @buf: CFS_STREAM_FRONT_BYTES_MAX.  Returns the bytes. */
size_t cfs_stream_meta_pack(const struct cfs_stream_meta *meta, uint8_t *buf);
int cfs_stream_meta_unpack(const void *front, size_t front_bytes,
			   struct cfs_stream_meta *ret, struct cfs_err *err);
int cfs_stream_gone_unpack(const void *front, size_t front_bytes,
			   uint64_t *ret_ino, struct cfs_err *err);
/* @csums: data->count of them. */
size_t cfs_stream_data_pack(const struct cfs_stream_data *data,
			    const uint64_t *csums, uint8_t *buf);
/* The checksums follow in @front: cfs_stream_data_csum. */
int cfs_stream_data_unpack(const void *front, size_t front_bytes,
			   struct cfs_stream_data *ret, struct cfs_err *err);
uint64_t cfs_stream_data_csum(const void *front, uint32_t index);
size_t cfs_stream_hole_pack(const struct cfs_stream_hole *hole, uint8_t *buf);
int cfs_stream_hole_unpack(const void *front, size_t front_bytes,
			   struct cfs_stream_hole *ret, struct cfs_err *err);
int cfs_stream_end_unpack(const void *front, size_t front_bytes,
			  struct cfs_stream_end *ret, struct cfs_err *err);
