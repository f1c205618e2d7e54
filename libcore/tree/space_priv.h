/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files about groups on loan share. */
#pragma once

#include "tree/container_priv.h"

/* A group that may be lent. */
struct cfs_candidate {
	uint64_t key;
	uint64_t allowed[2];
	bool was_used;
};

/* Of a group's blocks these, @first + @count of at most 128. */
static inline void cfs_space_bits_range(uint64_t bits[2], uint32_t first,
					uint32_t count)
{
	for (uint32_t i = 0; i < 2; i++) {
		const uint32_t from = CFS_MIN(CFS_MAX(first, 64 * i) - 64 * i,
					      64);
		const uint32_t end = CFS_MIN(
			CFS_MAX(first + count, 64 * i) - 64 * i, 64);

		bits[i] = end > from ? UINT64_MAX >> (64 - (end - from)) << from
				     : 0;
	}
}

/* Groups that were chosen so far, and when it is enough. */
struct cfs_choice {
	struct cfs_candidate *list;
	struct open_group **groups; /* of them, once they are loaded */
	size_t count, room;
	size_t groups_min;
	uint64_t blocks, blocks_min;
	bool is_long; /* long runs are wanted */
};

#define CFS_SPACE_BATCH_MIN 4u  /* groups */
#define CFS_SPACE_LONG      32u /* blocks: what a long run is */
#define CFS_SPACE_RUN_MIN   16u /* a shorter one is no use to it */

/*
 * The lowest run in @bits, of at most @count.  With @is_long the lowest of
 * @count blocks, or else the longest.  0: no bit is set.
 */
uint32_t cfs_space_find_run(const uint64_t bits[2], uint32_t count,
			    bool is_long, uint32_t *ret_first);
uint32_t cfs_space_longest_run(const uint64_t bits[2]);
/* Does its last run go on in the next group, which is open too? */
bool cfs_space_goes_on(const struct cfs_container *c,
		       const struct open_group *g);
/* Blocks of the group, or the group, may be lent from now on. */
void cfs_space_group_released(struct cfs_container *c, uint64_t key);
/* Fill @ch with groups to lend; none if there are none. */
int cfs_space_choose(struct cfs_container *c, unsigned int stream,
		     struct cfs_choice *ch, struct cfs_err *err);
/* What was chosen is not lent after all. */
void cfs_space_choose_failed(struct cfs_container *c);
bool cfs_space_slice_suits(const struct cfs_container *c, unsigned int stream,
			   uint64_t lslice, bool is_strict);
struct cfs_key cfs_space_loan_key(uint64_t key);
/* Blocks of a group that are neither in use nor held. */
int cfs_space_free_bits(struct cfs_container *c, uint64_t key, uint64_t ret[2],
			bool *ret_was_used, struct cfs_err *err);
/* Those that may be written in a loan that begins now: not the bad ones. */
int cfs_space_allowed_bits(struct cfs_container *c, uint64_t key,
			   uint64_t ret[2], bool *ret_was_used,
			   struct cfs_err *err);
/* Bring a group into memory, with its tags, and let reads see them. */
int cfs_space_group_open(struct cfs_container *c, uint64_t key, bool was_used,
			 struct open_group **ret, struct cfs_err *err);
/*
 * The same for many, their pages read in parallel; before they are opened one
 * by one.  One that cannot be opened is left out.
 */
int cfs_space_open_groups(struct cfs_container *c, const uint64_t *keys,
			  size_t count, struct cfs_err *err);
/*
 * Bring groups that are not open into memory, with their tags, and hand out
 * what they allow.  Those whose tag page is damaged are added to c->unfit
 * instead.
 */
int cfs_space_groups_open(struct cfs_container *c,
			  const struct cfs_candidate *list, size_t count,
			  struct cfs_err *err);
/* The loans of these groups, durable; the tree has them in the next commit. */
int cfs_space_lend(struct cfs_container *c, const struct cfs_candidate *list,
		   size_t count, struct cfs_err *err);
