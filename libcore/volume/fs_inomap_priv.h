/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A table in memory from inode numbers to a few words, for what must be known
 * about many inodes at once: which are open, and what a check has seen.
 * Entries stand in one array, so an inode costs 24 to 55 bytes.
 *
 * Thread safety: none.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct cfs_inomap_entry {
	uint64_t ino; /* 0: an empty place */
	uint64_t word;
	uint32_t a, b;
};

struct cfs_inomap { /* {0}: an empty one */
	struct cfs_inomap_entry *entries;
	size_t room; /* power of two, or 0 */
	size_t count;
};

void cfs_inomap_done(struct cfs_inomap *map);
/* NULL: not there.  Valid until the next add or del. */
struct cfs_inomap_entry *cfs_inomap_get(const struct cfs_inomap *map,
					uint64_t ino);
/* The entry of @ino, a zeroed new one if need be.  NULL: no memory. */
struct cfs_inomap_entry *cfs_inomap_add(struct cfs_inomap *map, uint64_t ino);
void cfs_inomap_del(struct cfs_inomap *map, uint64_t ino);
/* All entries, in no order: *index begins with 0.  NULL: the end. */
struct cfs_inomap_entry *cfs_inomap_next(const struct cfs_inomap *map,
					 size_t *index);
