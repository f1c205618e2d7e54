/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The small tables: records of the tree CFS_TREE_TABLE.  Its nodes are tagged
 * as a kind of their own (CFS_TAG_TABLE), in two copies, since rebuild needs
 * them beside the tags.
 *
 * Keys are three words.  The first begins with the class in its top byte.
 * In the pool's own container (id 0): POOL, DEVICE, SLICE, SMAP, CONTAINER,
 * SNAPSET.
 * In every container: LOAN, BAD.  In the others: VOLUME, BRANCH, SNAPSHOT,
 * TOMBSTONE, ORPHAN.
 *
 *   class      word 0 below the class      word 1              word 2
 *   POOL       0                           0                   0
 *   DEVICE     device index                0                   0
 *   SLICE      device index                slice index         0
 *   SMAP       container id                lslice              0
 *   CONTAINER  container id                0                   0
 *   SNAPSET    container id                branch              stamp
 *   LOAN       0                           lslice << 22 | group  0
 *   BAD        0                           vaddr               0
 *   VOLUME     volume id                   0                   0
 *   BRANCH     branch                      0                   0
 *   SNAPSHOT   branch                      stamp               0
 *   TOMBSTONE  branch                      inode               offset 48 |
 * index 16 ORPHAN     branch                      inode               0 SCRUB
 * 0                           0                   0 CLIENT     0 client id 0
 *   RETIRED    0                           epoch               index
 *   DELEGATION container id                epoch               0
 *   RECEIVE    volume id                   0                   0
 *   NAME       volume id                   hash of the name    its end
 *
 * Each value is one struct below; strings are UTF-8 or any bytes, filled with
 * zeroes.  A value may grow at its end: a longer one is read by its known
 * part, a shorter one than version 1's is damage.
 */
#pragma once

#include "ondisk/node.h"
#include "ondisk/root.h"
#include "ondisk/seat.h"
#include "ondisk/tag.h"

enum cfs_table_class {
	CFS_TABLE_POOL = 0x01,
	CFS_TABLE_DEVICE = 0x02,
	CFS_TABLE_SLICE = 0x03,
	CFS_TABLE_SMAP = 0x04,
	CFS_TABLE_CONTAINER = 0x05,
	CFS_TABLE_SNAPSET = 0x06,
	CFS_TABLE_DELEGATION = 0x07, /* ondisk/delegation.h */
	CFS_TABLE_LOAN = 0x10,
	CFS_TABLE_BAD = 0x11,
	CFS_TABLE_SCRUB = 0x12,
	CFS_TABLE_RETIRED = 0x13,
	CFS_TABLE_CLIENT = 0x14, /* ondisk/client.h */
	CFS_TABLE_VOLUME = 0x20,
	CFS_TABLE_BRANCH = 0x21,
	CFS_TABLE_SNAPSHOT = 0x22,
	CFS_TABLE_TOMBSTONE = 0x23,
	CFS_TABLE_ORPHAN = 0x24,
	CFS_TABLE_RECEIVE = 0x25, /* ondisk/receive.h */
	CFS_TABLE_NAME = 0x26,    /* ondisk/snapname.h */
};

static inline uint64_t cfs_table_word(enum cfs_table_class c, uint64_t low)
{
	return (uint64_t)c << 56 | low;
}

/* Word 2 of a tombstone: several may stand at one offset. */
static inline uint64_t cfs_tombstone_word(uint64_t offset, uint16_t index)
{
	return offset << 16 | index;
}
static inline uint64_t cfs_tombstone_offset(uint64_t word2)
{
	return word2 >> 16;
}
static inline uint16_t cfs_tombstone_index(uint64_t word2)
{
	return (uint16_t)word2;
}

#define CFS_NAME_BYTES 128u /* a name of 1..127 bytes and its NUL */
#define CFS_NOTE_BYTES 256u

struct cfs_pool_rec_disk { /* POOL */
	uint8_t name[64];  /* the pool's label, as it is now */
	le64 next_container;
	le64 config[8]; /* lease_period ns, clock_drift ppm, ... */
};
CFS_ASSERT_SIZE(struct cfs_pool_rec_disk, 136);
#define CFS_POOL_CONFIG_LEASE_NS    0u
#define CFS_POOL_CONFIG_DRIFT_PPM   1u
#define CFS_POOL_CONFIG_CACHE_BYTES 2u
/* Clients of a manager that served when the period was changed may have one as
 * long as this; 0: it was not. */
#define CFS_POOL_CONFIG_LONGEST_NS  3u
/* Not 0: every sync is checked (CFS_CONTAINER_CHECKED). */
#define CFS_POOL_CONFIG_CHECKED     4u

enum cfs_device_state {
	CFS_DEVICE_OK = 1,
	CFS_DEVICE_OUT = 2, /* left out: missed writes */
	CFS_DEVICE_EVACUATING = 3,
	CFS_DEVICE_REMOVED = 4,
};

struct cfs_device_rec_disk { /* DEVICE */
	uint8_t uuid[16];
	le32 state;
	le32 reserved;
	le64 size_bytes;
	le64 slice_count;
	le64 out_since_stamp; /* of container 0 */
	le64 cursor;          /* evacuation */
};
CFS_ASSERT_SIZE(struct cfs_device_rec_disk, 56);

enum cfs_slice_use {
	CFS_SLICE_USE_FREE = 0, /* used once; a slice without a record is
				 * free and was never used */
	CFS_SLICE_USE_OWNED = 1,
	CFS_SLICE_USE_FROZEN = 2,
	CFS_SLICE_USE_BAD = 3,
};

struct cfs_slice_rec_disk { /* SLICE */
	le32 use;
	le32 generation; /* of its present or last life */
	le64 container_id;
	le64 lslice;
	le32 piece;
	le32 reserved;
};
CFS_ASSERT_SIZE(struct cfs_slice_rec_disk, 32);

struct cfs_smap_rec_disk { /* SMAP */
	struct cfs_piece_disk pieces[CFS_PIECES_MAX];
	le32 epoch; /* in which it was lent; shared pools */
};
CFS_ASSERT_SIZE(struct cfs_smap_rec_disk, 40);

enum cfs_volume_kind {
	CFS_VOLUME_LUN = 1,
	CFS_VOLUME_TREE = 2,
};

enum cfs_object_state {
	CFS_OBJECT_LIVE = 1,
	CFS_OBJECT_MAKING = 2,   /* removed by the next opener if found,
				  * but for a container that has a source */
	CFS_OBJECT_DELETING = 3, /* work on it goes on at open */
};

struct cfs_container_rec_disk { /* CONTAINER */
	uint8_t uuid[16];
	uint8_t name[CFS_NAME_BYTES];
	le32 kind; /* of its production volume */
	le32 state;
	le32 epoch;      /* of its present owner */
	le32 base_epoch; /* of the root in base_vaddr */
	le64 created_ns;
	le64 limit_bytes; /* 0: none */
	le64 provision_bytes;
	le64 root_vaddr[CFS_ROOT_PLACES_MAX]; /* first slot; the second is
					       * the next block; 0: unused */
	/* Shared pools: this epoch begins from the root in these places, and
	 * has none of its own yet; 0: it has. */
	le64 base_vaddr[CFS_ROOT_PLACES_MAX];
	le32 flags; /* CFS_CONTAINER_* */
	le32 reserved;
	/* It is made of this clone, or was; 0: of none. */
	le64 source_container;
	le64 source_volume;
	le64 source_created_ns; /* ids of volumes come again */
};
CFS_ASSERT_SIZE(struct cfs_container_rec_disk, 280);
CFS_ASSERT_OFFSET(struct cfs_container_rec_disk, source_container, 256);
#define CFS_CONTAINER_REC_BYTES_MIN 216u /* without the last fields */
/* Who syncs looks at its gravestone before it says so. */
#define CFS_CONTAINER_CHECKED       0x1u

struct cfs_snapset_rec_disk { /* SNAPSET: of a set not taken yet */
	le64 begun_ns;
	le32 count; /* snapshots of the set */
	le32 reserved;
};
CFS_ASSERT_SIZE(struct cfs_snapset_rec_disk, 16);

struct cfs_loan_rec_disk { /* LOAN: a group lent to a writer */
	le64 loan;         /* number of the lending, rising */
	le64 holder;       /* 0: the owner itself */
	le32 epoch;
	le32 state; /* CFS_LOAN_* */
};
CFS_ASSERT_SIZE(struct cfs_loan_rec_disk, 24);
#define CFS_LOAN_OPEN   1u
#define CFS_LOAN_FROZEN 2u

struct cfs_retired_rec_disk { /* RETIRED: blocks of root, log or
			       * gravestone of an epoch that is over;
			       * free once its holder is gone */
	le64 vaddr;
	le32 count;
	le32 type;  /* of the blocks' tags: root or log */
	le32 until; /* epoch; see struct cfs_retired_rec */
	le32 reserved;
};
CFS_ASSERT_SIZE(struct cfs_retired_rec_disk, 24);

struct cfs_bad_rec_disk { /* BAD: a place that failed */
	le64 found_ns;
	le32 piece_mask;         /* which copies */
	le32 cause;              /* CFS_BAD_* */
	struct cfs_tag_disk tag; /* what stood there, if it is known */
};
CFS_ASSERT_SIZE(struct cfs_bad_rec_disk, 48);
#define CFS_BAD_UNREADABLE 1u
#define CFS_BAD_CONTENT    2u
#define CFS_BAD_TAG        3u

struct cfs_scrub_rec_disk { /* SCRUB: the last one, and its cursor */
	le64 started_ns;
	le64 ended_ns; /* 0: under way or broken off */
	le64 cursor_lslice;
	le64 cursor_block;
	le64 read_blocks;
	le64 bad_blocks;
	le64 healed_blocks;
	le64 flags;
};
CFS_ASSERT_SIZE(struct cfs_scrub_rec_disk, 64);

struct cfs_volume_rec_disk {          /* VOLUME: id 1 is the production one */
	uint8_t name[CFS_NAME_BYTES]; /* of a clone; empty for id 1 */
	le32 kind;
	le32 state;
	le32 head_branch;
	le32 reserved;
	le64 ino;        /* the LUN, or the tree's root directory */
	le64 size_bytes; /* LUN */
	le64 created_ns;
	le64 limit_bytes;
	le64 origin_volume; /* clone: whose snapshot; 0: none */
	le64 origin_stamp;
	le64 hash_seed; /* of directory names */
};
CFS_ASSERT_SIZE(struct cfs_volume_rec_disk, 200);

struct cfs_branch_rec_disk { /* BRANCH */
	le64 volume;
	le32 parent;        /* branch; 0: none */
	le32 state;         /* LIVE, DELETING */
	le64 fork_stamp;    /* sees the parent as of here */
	le64 created_stamp; /* older tags of this number are void */
	le64 end_stamp;     /* 0: the head of a volume */
	le64 live_blocks;   /* counters: hints */
	le64 history_blocks;
	le64 level_mask; /* piece sizes seen in its history */
};
CFS_ASSERT_SIZE(struct cfs_branch_rec_disk, 64);

#define CFS_SNAPSHOT_HELD     0x1u
/* It came with a stream: struct cfs_snapshot_origin_disk follows the note. */
#define CFS_SNAPSHOT_RECEIVED 0x2u
/*
 * A snapshot is written by its branch and stamp, and is short, since there may
 * be a hundred thousand: the name and the note follow, without a NUL.
 */
struct cfs_snapshot_rec_disk { /* SNAPSHOT */
	le64 created_ns;
	le64 size_bytes; /* LUN */
	le16 flags;
	uint8_t name_bytes; /* 1..127 */
	uint8_t note_bytes; /* 0..255 */
};
CFS_ASSERT_SIZE(struct cfs_snapshot_rec_disk, 20);
struct cfs_snapshot_origin_disk { /* where it was first taken */
	uint8_t container[16];
	le64 stamp;
};
CFS_ASSERT_SIZE(struct cfs_snapshot_origin_disk, 24);
#define CFS_SNAPSHOT_REC_BYTES_MAX                                             \
	(sizeof(struct cfs_snapshot_rec_disk) + CFS_NAME_BYTES +               \
	 CFS_NOTE_BYTES + sizeof(struct cfs_snapshot_origin_disk))

struct cfs_tombstone_rec_disk { /* TOMBSTONE: a range became a hole */
	le64 count;             /* blocks */
	le64 stamp_seq;
};
CFS_ASSERT_SIZE(struct cfs_tombstone_rec_disk, 16);

struct cfs_orphan_rec_disk { /* ORPHAN: unlinked, to be freed */
	le64 stamp;
	le64 flags;
};
CFS_ASSERT_SIZE(struct cfs_orphan_rec_disk, 16);

/*
 * The same records in host order, field by field.  pack takes any host record
 * (names are cut to their field and always end in a NUL) and sets all bytes
 * of @disk.  unpack reads @value_bytes at @value and nothing else, keeps no
 * pointer, and sets @ret on success only.
 * It returns 0; -EUCLEAN: shorter than version 1's record, or a field makes no
 * sense (unknown state or kind, a name that breaks the rules, no NUL).
 */

/*
 * Names of containers, volumes and snapshots: 1 to 127 bytes of
 * A-Z a-z 0-9 . _ - and not beginning with '-' or '.'.
 */
bool cfs_name_is_valid(const char *name);

struct cfs_pool_rec {
	char name[64]; /* may be empty */
	uint64_t next_container;
	uint64_t config[8];
};

struct cfs_device_rec {
	uint8_t uuid[16];
	uint32_t state; /* enum cfs_device_state */
	uint64_t size_bytes;
	uint64_t slice_count;
	uint64_t out_since_stamp;
	uint64_t cursor;
};

struct cfs_slice_rec {
	uint32_t use; /* enum cfs_slice_use */
	uint32_t generation;
	uint64_t container_id;
	uint64_t lslice;
	uint32_t piece;
};

struct cfs_smap_rec {
	struct cfs_piece pieces[CFS_PIECES_MAX];
	uint32_t epoch;
};

struct cfs_container_rec {
	uint8_t uuid[16];
	char name[CFS_NAME_BYTES];
	uint32_t kind;  /* enum cfs_volume_kind */
	uint32_t state; /* enum cfs_object_state */
	uint32_t epoch;
	uint32_t base_epoch;
	uint64_t created_ns;
	uint64_t limit_bytes;
	uint64_t provision_bytes;
	uint64_t root_vaddr[CFS_ROOT_PLACES_MAX];
	uint64_t base_vaddr[CFS_ROOT_PLACES_MAX];
	uint32_t flags; /* CFS_CONTAINER_* */
	/* Being made: a clone becomes this container, and whoever opens the
	 * pool keeps it.  Live: it did, and the clone is to be removed. */
	uint64_t source_container; /* 0: neither */
	uint64_t source_volume;
	uint64_t source_created_ns;
};

struct cfs_snapset_rec {
	uint64_t begun_ns;
	uint32_t count; /* at least 2 */
};

struct cfs_loan_rec {
	uint64_t loan;
	uint64_t holder;
	uint32_t epoch;
	uint32_t state; /* CFS_LOAN_* */
};

struct cfs_retired_rec {
	uint64_t vaddr;
	uint32_t count;
	uint32_t type;
	uint32_t until; /* the last epoch that may write there;
			 * the first one is in the key */
};

struct cfs_bad_rec {
	uint64_t found_ns;
	uint32_t piece_mask;
	uint32_t cause; /* CFS_BAD_* */
	struct cfs_tag tag;
};

struct cfs_scrub_rec {
	uint64_t started_ns;
	uint64_t ended_ns;
	uint64_t cursor_lslice;
	uint64_t cursor_block;
	uint64_t read_blocks;
	uint64_t bad_blocks;
	uint64_t healed_blocks;
	uint64_t flags;
};

struct cfs_volume_rec {
	char name[CFS_NAME_BYTES]; /* may be empty */
	uint32_t kind;             /* enum cfs_volume_kind */
	uint32_t state;            /* enum cfs_object_state */
	uint32_t head_branch;      /* 1..65535 */
	uint64_t ino;
	uint64_t size_bytes;
	uint64_t created_ns;
	uint64_t limit_bytes;
	uint64_t origin_volume;
	uint64_t origin_stamp;
	uint64_t hash_seed;
};

struct cfs_branch_rec {
	uint64_t volume;
	uint32_t parent; /* 0..65535 */
	uint32_t state;  /* enum cfs_object_state */
	uint64_t fork_stamp;
	uint64_t created_stamp;
	uint64_t end_stamp;
	uint64_t live_blocks;
	uint64_t history_blocks;
	uint64_t level_mask;
};

struct cfs_snapshot_rec {
	char name[CFS_NAME_BYTES];
	char note[CFS_NOTE_BYTES]; /* any bytes but NUL */
	uint32_t branch;           /* of the key: unpack leaves it 0 */
	uint32_t flags;            /* CFS_SNAPSHOT_* */
	uint64_t created_ns;
	uint64_t size_bytes;
	/* RECEIVED: where it was first taken; else zeroes */
	uint8_t origin_container[16];
	uint64_t origin_stamp;
};

struct cfs_tombstone_rec {
	uint64_t count; /* blocks, at least 1 */
	uint64_t stamp;
	uint16_t seq;
};

struct cfs_orphan_rec {
	uint64_t stamp;
	uint64_t flags;
};

void cfs_pool_rec_pack(const struct cfs_pool_rec *rec,
		       struct cfs_pool_rec_disk *disk);
int cfs_pool_rec_unpack(const void *value, size_t value_bytes,
			struct cfs_pool_rec *ret, struct cfs_err *err);
void cfs_device_rec_pack(const struct cfs_device_rec *rec,
			 struct cfs_device_rec_disk *disk);
int cfs_device_rec_unpack(const void *value, size_t value_bytes,
			  struct cfs_device_rec *ret, struct cfs_err *err);
void cfs_slice_rec_pack(const struct cfs_slice_rec *rec,
			struct cfs_slice_rec_disk *disk);
int cfs_slice_rec_unpack(const void *value, size_t value_bytes,
			 struct cfs_slice_rec *ret, struct cfs_err *err);
void cfs_smap_rec_pack(const struct cfs_smap_rec *rec,
		       struct cfs_smap_rec_disk *disk);
int cfs_smap_rec_unpack(const void *value, size_t value_bytes,
			struct cfs_smap_rec *ret, struct cfs_err *err);
void cfs_container_rec_pack(const struct cfs_container_rec *rec,
			    struct cfs_container_rec_disk *disk);
int cfs_container_rec_unpack(const void *value, size_t value_bytes,
			     struct cfs_container_rec *ret,
			     struct cfs_err *err);
void cfs_snapset_rec_pack(const struct cfs_snapset_rec *rec,
			  struct cfs_snapset_rec_disk *disk);
int cfs_snapset_rec_unpack(const void *value, size_t value_bytes,
			   struct cfs_snapset_rec *ret, struct cfs_err *err);
void cfs_loan_rec_pack(const struct cfs_loan_rec *rec,
		       struct cfs_loan_rec_disk *disk);
int cfs_loan_rec_unpack(const void *value, size_t value_bytes,
			struct cfs_loan_rec *ret, struct cfs_err *err);
void cfs_retired_rec_pack(const struct cfs_retired_rec *rec,
			  struct cfs_retired_rec_disk *disk);
int cfs_retired_rec_unpack(const void *value, size_t value_bytes,
			   struct cfs_retired_rec *ret, struct cfs_err *err);
void cfs_bad_rec_pack(const struct cfs_bad_rec *rec,
		      struct cfs_bad_rec_disk *disk);
int cfs_bad_rec_unpack(const void *value, size_t value_bytes,
		       struct cfs_bad_rec *ret, struct cfs_err *err);
void cfs_scrub_rec_pack(const struct cfs_scrub_rec *rec,
			struct cfs_scrub_rec_disk *disk);
int cfs_scrub_rec_unpack(const void *value, size_t value_bytes,
			 struct cfs_scrub_rec *ret, struct cfs_err *err);
void cfs_volume_rec_pack(const struct cfs_volume_rec *rec,
			 struct cfs_volume_rec_disk *disk);
int cfs_volume_rec_unpack(const void *value, size_t value_bytes,
			  struct cfs_volume_rec *ret, struct cfs_err *err);
void cfs_branch_rec_pack(const struct cfs_branch_rec *rec,
			 struct cfs_branch_rec_disk *disk);
int cfs_branch_rec_unpack(const void *value, size_t value_bytes,
			  struct cfs_branch_rec *ret, struct cfs_err *err);
/* @buf: CFS_SNAPSHOT_REC_BYTES_MAX bytes.  Returns how many are used. */
size_t cfs_snapshot_rec_pack(const struct cfs_snapshot_rec *rec, uint8_t *buf);
int cfs_snapshot_rec_unpack(const void *value, size_t value_bytes,
			    struct cfs_snapshot_rec *ret, struct cfs_err *err);
void cfs_tombstone_rec_pack(const struct cfs_tombstone_rec *rec,
			    struct cfs_tombstone_rec_disk *disk);
int cfs_tombstone_rec_unpack(const void *value, size_t value_bytes,
			     struct cfs_tombstone_rec *ret,
			     struct cfs_err *err);
void cfs_orphan_rec_pack(const struct cfs_orphan_rec *rec,
			 struct cfs_orphan_rec_disk *disk);
int cfs_orphan_rec_unpack(const void *value, size_t value_bytes,
			  struct cfs_orphan_rec *ret, struct cfs_err *err);
