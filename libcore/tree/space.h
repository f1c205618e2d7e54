/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Space of a container: which blocks are in use, and handing them out.
 *
 * The tree SPACE has a bitmap for each group that was ever used in this life
 * of its slice; it is only a cache of what trees and tags say.  A writer, the
 * owner too, writes only in groups on loan to it: a LOAN record is durable
 * before the first block of a group is written.  In one loan a block is handed
 * out once: one that is freed is held until the commit behind the one that
 * freed it is durable, and comes back with a later loan of its group.
 *
 *   free --alloc--> in use --free--> held (now) --commit n--> held (before)
 *     ^                                                        |
 *     +------------ next loan of the group <--- commit n+1 ----+
 *
 * All functions want the container's lock held.
 */
#pragma once

#include "ondisk/tag.h"
#include "tree/container.h"

/*
 * A run of up to @count adjacent blocks for data.  Fewer may be got; at least
 * one.  They are in use from now on (undone by an abort).
 * -ENOSPC should not happen for what was promised.
 */
int cfs_space_alloc_data(struct cfs_container *c, uint32_t count,
			 uint64_t *ret_vaddr, uint32_t *ret_count,
			 struct cfs_err *err);
/* The same for a long write, or what is left of one: a run that is as long as
 * there is one, wherever it is. */
int cfs_space_alloc_long(struct cfs_container *c, uint32_t count,
			 uint64_t *ret_vaddr, uint32_t *ret_count,
			 struct cfs_err *err);
/* The blocks are no longer named by anything as of now. */
int cfs_space_free(struct cfs_container *c, uint64_t vaddr, uint32_t count,
		   struct cfs_err *err);
/* Set the tag of a block that was just handed out. */
void cfs_space_set_tag(struct cfs_container *c, uint64_t vaddr,
		       const struct cfs_tag *tag);
/* Replay: these blocks are in use, and what was written there is this. */
int cfs_space_adopt(struct cfs_container *c, uint64_t vaddr,
		    const struct cfs_tag *first, uint32_t count,
		    const uint8_t *csums, struct cfs_err *err);

/* Promise @blocks for an operation under way; may grow the container.
 * -ENOSPC.  Outside of an operation it may also commit to get blocks back. */
int cfs_space_promise(struct cfs_container *c, uint64_t blocks,
		      struct cfs_err *err);

/*
 * The same for blocks of which a deletion zeroes a part: from half of the
 * reserve, so that the other half is there for deletions that need no block,
 * however often parts are zeroed that a snapshot keeps.
 */
int cfs_space_promise_zeroing(struct cfs_container *c, uint64_t blocks,
			      struct cfs_err *err);

/* Blocks that an operation wants beyond those that it writes. */
#define CFS_SPACE_OP_MARGIN 32u
/* Can so many blocks still be promised, those of the reserve among them?
 * Locked. */
bool cfs_space_has(struct cfs_container *c, uint64_t blocks);
/* What a container with so many blocks keeps for deletions. */
uint64_t cfs_space_reserve_of(uint64_t total_blocks);

struct cfs_space_counts {
	uint64_t total_blocks; /* of the slices it has */
	uint64_t used_blocks;
	uint64_t held_blocks; /* freed, back after the next commits */
	uint64_t reserve_blocks;
	uint64_t left_blocks; /* that can be promised now */
	uint64_t slice_count;
};
void cfs_space_counts(struct cfs_container *c, struct cfs_space_counts *ret);
/* Blocks in use of one slice. */
uint32_t cfs_space_slice_used(struct cfs_container *c, uint64_t lslice);
/* Bits of the blocks in use of one group. */
int cfs_space_group_used(struct cfs_container *c, uint64_t lslice,
			 uint32_t group, uint64_t ret[2], struct cfs_err *err);
