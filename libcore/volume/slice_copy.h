/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copying a slice to another place, block by block, with each block judged by
 * its tag: where one piece has it bad or unreadable, another one's is taken.
 * What is bad everywhere is copied as it is, so that it stays known as damage;
 * what cannot be read anywhere becomes zeroes, which do not verify either.
 *
 * Tag pages name the life of the slice in which they count.  Those of the
 * source's present life are written with that of the target; what else stands
 * in their places is not taken along, or it could come to count.
 *
 * What is written to the slice meanwhile may be missing in the copy, or be there
 * in part: the caller has those groups copied again (pool/metavolume_watch.h).
 */
#pragma once

#include "ondisk/root.h"
#include "pool/devset.h"

struct cfs_container;

struct cfs_slice_copy {
	struct cfs_devset *set;
	uint64_t container_id;
	uint8_t uuid[16]; /* of the container */
	uint64_t lslice;
	const struct cfs_piece *from; /* CFS_PIECES_MAX of them */
	uint32_t from_generation;     /* which tag pages count there */
	uint32_t to_generation;
	/* Open, and nothing of it is only in memory; NULL: what of it is in use
	 * is not known. */
	struct cfs_container *c;
	bool is_locked;          /* the container, by the caller */
	uint64_t damaged_blocks; /* adds to it: in use, bad everywhere */
	/* Bits of groups in which not all is right, or was not yet; may be
	 * NULL. */
	uint8_t *ret_doubtful;
};

/*
 * Make @to, a slice that is nobody's, the same as the pieces of @copy; @prefer
 * is looked at first.  @groups: bits of the groups to be copied; NULL: all.  Its
 * headers are not touched.  Flushed on return.
 * -EIO and the like: of the target; -ENODEV: no piece can be read at all.
 */
int cfs_slice_copy(struct cfs_slice_copy *copy, const struct cfs_piece *to,
		   unsigned int prefer, const uint8_t *groups,
		   struct cfs_err *err);
