/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the block store share. */
#pragma once

#include "base/hash.h"
#include "block/blocks.h"

#include <pthread.h>

struct csum_entry {
	uint64_t key; /* lslice << 22 | group */
	uint64_t csums[CFS_TAGS_PER_PAGE];
	UT_hash_handle hh;
};

struct open_entry {
	uint64_t key;
	struct cfs_group *group; /* the allocator's */
	UT_hash_handle hh;
};

struct cfs_ahead;

struct cfs_blocks {
	struct cfs_metavolume *mv;
	struct cfs_ahead *ahead;
	uint64_t seed;
	uint32_t epoch;
	pthread_mutex_t lock; /* guards what follows */
	/* Counts what makes cached entries void: what was loaded before may
	 * be old, and is not cached. */
	uint64_t changes;
	struct csum_entry *cache;
	struct open_entry *open;
};

int cfs_blocks_csums(struct cfs_blocks *b, uint64_t lslice, uint32_t index,
		     uint32_t first, uint32_t count, uint64_t *ret,
		     struct cfs_err *err);

/* ahead.c: the bytes of @rd, not verified; false: read them from the device. */
struct cfs_ahead *cfs_ahead_new(void);
void cfs_ahead_free(struct cfs_ahead *a);
bool cfs_ahead_read(struct cfs_blocks *b, const struct cfs_block_read *rd);
