/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Single blocks of the versioned map, for whoever comes from a place on a
 * device and asks what it is.  The container's lock is held by the caller.
 */
#pragma once

#include "volume/map.h"

struct cfs_look {
	uint64_t vaddr;  /* 0: a hole, or in memory only */
	uint16_t branch; /* whose version it is */
	uint64_t stamp;
	uint16_t seq;
	uint64_t csum; /* 0: ask the tag */
};
/* What a view shows of one block of an inode. */
int cfs_look_block(const struct cfs_view *view, uint64_t ino, uint64_t offset,
		   struct cfs_look *ret, struct cfs_err *err);

/*
 * Is the block at @vaddr, whose tag says @stamp and @seq, the version of
 * (ino, offset) that the branch has or had?
 * @ret_death: the stamp at which it died, UINT64_MAX if it has not.
 * -ENOENT without @err: nothing names it.
 */
int cfs_look_version(struct cfs_container *c, uint16_t branch, uint64_t ino,
		     uint64_t offset, uint64_t vaddr, uint64_t stamp,
		     uint16_t seq, uint64_t *ret_death, struct cfs_err *err);
