/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * NAME (a small table of a container): the snapshots of a volume by their
 * names, so that one is found, or found to be missing, without a look at the
 * others.  Each record follows from the SNAPSHOT records, and is not logged.
 *
 * The key is class | volume, the hash of all of the name but its last 8 bytes,
 * and those bytes: names that are counted up stand beside each other.  Where
 * two names have one key, the record tells of both; whoever looks compares
 * with the SNAPSHOT record.
 */
#pragma once

#include "ondisk/node.h"

/* As many as a value has room for. */
#define CFS_SNAPNAME_PLACES_MAX (CFS_VALUE_BYTES_MAX / 8)

struct cfs_snapname_rec { /* places, rising; at least one */
	size_t count;
	uint64_t places[CFS_SNAPNAME_PLACES_MAX]; /* stamp 48 | branch 16 */
};

static inline uint64_t cfs_snapname_place(uint16_t branch, uint64_t stamp)
{
	return stamp << 16 | branch;
}
static inline uint16_t cfs_snapname_branch(uint64_t place)
{
	return (uint16_t)place;
}
static inline uint64_t cfs_snapname_stamp(uint64_t place)
{
	return place >> 16;
}

/* The words of the key behind the first.  @name has no NUL in it. */
void cfs_snapname_words(const void *name, size_t name_bytes,
			uint64_t *ret_word1, uint64_t *ret_word2);

/* Returns how many bytes of @value are set. */
size_t cfs_snapname_rec_pack(const struct cfs_snapname_rec *rec,
			     uint8_t value[CFS_VALUE_BYTES_MAX]);
/* -EUCLEAN: of no place, of half of one, or places that do not rise. */
int cfs_snapname_rec_unpack(const void *value, size_t value_bytes,
			    struct cfs_snapname_rec *ret, struct cfs_err *err);
/* False: there is no room for it. */
bool cfs_snapname_rec_add(struct cfs_snapname_rec *rec, uint64_t place);
/* False: it was not there. */
bool cfs_snapname_rec_remove(struct cfs_snapname_rec *rec, uint64_t place);
