/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the block store share. */
#pragma once

#include "base/hash.h"
#include "block/blocks.h"
#include "block/csum_cache.h"

#include <pthread.h>
#include <stdatomic.h>

struct open_entry {
	uint64_t key;
	struct cfs_group *group; /* the allocator's */
	UT_hash_handle hh;
};

struct cfs_ahead;
struct cfs_peek_hints;

/* A row of tag pages that are read one behind the other. */
struct tag_track {
	uint64_t next; /* key of the first group that was not asked for */
	uint32_t length;
};

#define TAG_TRACKS     4u
#define CHANGE_BUCKETS 64u

/* A piece that is read behind a row of long reads, or was. */
struct cfs_row_piece {
	uint64_t vaddr;               /* of what was not handed out yet */
	uint32_t count;               /* 0: nothing */
	uint32_t skip;                /* blocks of buf that were handed out */
	uint8_t *buf;                 /* its part of the row's */
	struct cfs_mv_flight *flight; /* NULL: it has been read */
	bool is_awaited; /* by who takes some of it: he alone touches it */
};

#define CFS_ROW_PIECES 2u

struct cfs_row {
	pthread_mutex_t lock;
	uint64_t end; /* where the last read ended */
	unsigned int run;
	uint8_t *buf; /* of all pieces; NULL: none was asked for yet */
	struct cfs_row_piece pieces[CFS_ROW_PIECES];
};

struct cfs_blocks {
	struct cfs_metavolume *mv;
	struct cfs_ahead *ahead;
	struct cfs_row row;
	atomic_uint readers;                    /* beside others, just now */
	_Atomic(struct cfs_peek_hints *) hints; /* NULL: nobody peeked */
	uint64_t seed;
	uint32_t epoch;
	pthread_mutex_t lock; /* guards what follows */
	/* Count what makes cached entries void, by the key
	 * (cfs_blocks_changes): what was loaded before may be old, and is not
	 * cached. */
	uint64_t changes[CHANGE_BUCKETS];
	struct tag_track tracks[TAG_TRACKS];
	unsigned int track_next;
	struct cfs_csum_cache cache;
	struct open_entry *open;
};

/* Each read takes it for less time than it takes to sleep. */
void cfs_blocks_lock_init(pthread_mutex_t *lock);

static inline uint64_t cfs_group_key(uint64_t lslice, uint32_t index)
{
	return cfs_vaddr(lslice, index);
}

static inline uint64_t *cfs_blocks_changes(struct cfs_blocks *b, uint64_t key)
{
	return &b->changes[key % CHANGE_BUCKETS];
}

int cfs_blocks_csums(struct cfs_blocks *b, uint64_t lslice, uint32_t index,
		     uint32_t first, uint32_t count, uint64_t *ret,
		     struct cfs_err *err);
/* The checksums of @count blocks of a group, if they are in memory, with
 * b->lock; false: they are not.  @ret may be NULL if that is all that is asked. */
bool cfs_blocks_known(struct cfs_blocks *b, uint64_t key, uint32_t first,
		      uint32_t count, uint64_t *ret);
/* Keep a group's checksums.  @changes: as many as there were before the group
 * was loaded. */
void cfs_blocks_cache(struct cfs_blocks *b, const struct cfs_group *g,
		      uint64_t changes);

/* read.c: the piece to read an address's slice from, as far as that is known
 * beforehand. */
unsigned int cfs_blocks_first_piece(const struct cfs_blocks *b, uint64_t vaddr);

/*
 * group.c: what cfs_groups_load does, around the reads, which the caller does
 * (together with others of its own).  make sets @groups to nothing and plans
 * their reads, end looks at what these have brought: each has its result then.
 * A plan may be used again.
 */
#define CFS_GROUPS_AT_ONCE 64u
struct cfs_groups_plan;
int cfs_groups_plan_new(struct cfs_groups_plan **ret, struct cfs_err *err);
void cfs_groups_plan_free(struct cfs_groups_plan *plan); /* or NULL */
void cfs_groups_plan_freep(struct cfs_groups_plan **plan);
int cfs_groups_plan_make(const struct cfs_blocks *b,
			 struct cfs_group *const *groups, size_t count,
			 struct cfs_groups_plan *plan, struct cfs_err *err);
struct cfs_mv_read *cfs_groups_plan_reads(struct cfs_groups_plan *plan,
					  size_t *ret_count);
int cfs_groups_plan_end(struct cfs_blocks *b, struct cfs_group *const *groups,
			size_t count, struct cfs_groups_plan *plan,
			int *results, struct cfs_err *err);

/*
 * fetch.c: tag pages that are read beside the data that they verify.  NULL:
 * all that @reads need is in memory, and @csums (as many as they have blocks)
 * is set, or there is no memory.  What is not known is 0 in @csums at a read's
 * first block.
 */
struct cfs_fetch;
struct cfs_fetch *cfs_fetch_new(struct cfs_blocks *b,
				const struct cfs_block_read *reads,
				size_t count, uint64_t *csums);
struct cfs_mv_read *cfs_fetch_reads(struct cfs_fetch *f, size_t *ret_count);
/* The reads have ended: what they brought is in the cache. */
void cfs_fetch_end(struct cfs_blocks *b, struct cfs_fetch *f);
void cfs_fetch_free(struct cfs_fetch *f); /* NULL is allowed */
void cfs_fetch_freep(struct cfs_fetch **f);

/* peek.c: this page of the group is its newest. */
void cfs_peek_note(const struct cfs_blocks *b, const struct cfs_group *g);
void cfs_peek_hints_free(struct cfs_blocks *b);

/* ahead.c: the bytes of @rd, not verified; false: read them from the device. */
struct cfs_ahead *cfs_ahead_new(void);
void cfs_ahead_free(struct cfs_ahead *a);
bool cfs_ahead_read(struct cfs_blocks *b, const struct cfs_block_read *rd);

/*
 * row.c: true: @rd has its bytes, not verified.  Whatever it is, what lies
 * behind @rd may be on its way when it returns.
 */
void cfs_row_init(struct cfs_row *row);
void cfs_row_done(struct cfs_row *row);
bool cfs_row_read(struct cfs_blocks *b, const struct cfs_mv_read *rd,
		  bool is_alone);
