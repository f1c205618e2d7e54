/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cache of checksums that were read from tag pages: 8 bytes a block, in
 * whole groups.  Whoever has one guards it; a cache of zeroes with count_max
 * set is an empty one.
 */
#pragma once

#include "ondisk/geometry.h"
#include "ondisk/tag.h"

#include <stdbool.h>
#include <stddef.h>

/* An entry, its slots, and what malloc adds. */
#define CFS_CSUM_GROUP_BYTES (CFS_TAGS_PER_PAGE * 8u + 80u)

struct cfs_csum_entry;

struct cfs_csum_slot {
	uint64_t key;
	struct cfs_csum_entry *entry; /* NULL: empty */
};

struct cfs_csum_cache {
	size_t count_max;  /* in groups, at least 1 */
	size_t count;      /* the rest is csum_cache.c's */
	size_t slot_count; /* 0 or a power of two */
	struct cfs_csum_slot *slots;
	struct cfs_csum_entry *oldest, *newest;
};

/* The group's CFS_TAGS_PER_PAGE checksums, until the next change; or NULL. */
const uint64_t *cfs_csum_cache_find(const struct cfs_csum_cache *c,
				    uint64_t key);
/* Who looks for many first asks for the memory of all of them, in two steps:
 * the slots, then the checksums. */
void cfs_csum_cache_prefetch_slot(const struct cfs_csum_cache *c, uint64_t key);
void cfs_csum_cache_prefetch(const struct cfs_csum_cache *c, uint64_t key,
			     unsigned int index);
/*
 * A new entry in place of the one that @key may have, to be filled in; the
 * oldest goes if there are too many.  NULL: no memory, and no entry.
 */
uint64_t *cfs_csum_cache_add(struct cfs_csum_cache *c, uint64_t key);
void cfs_csum_cache_drop(struct cfs_csum_cache *c, uint64_t key);
/* All groups of a slice: those whose key is an address in it. */
void cfs_csum_cache_drop_slice(struct cfs_csum_cache *c, uint64_t lslice);
void cfs_csum_cache_done(struct cfs_csum_cache *c);
