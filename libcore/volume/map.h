/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The versioned map of a container: what each branch holds now and what each
 * snapshot still sees.
 *
 * A version is born with the container's stamp.  When a newer one takes its
 * place (or it is deleted), the old one moves to HISTORY if a pin (a snapshot,
 * or the fork of a child branch) sees it, that is birth <= pin < death, and is
 * freed else.  Reading branch b as of stamp t: the live record if it was born
 * by then, else the one in HISTORY that lived then, else what the parent
 * branch had when b was forked.  In a branch with a parent a deletion leaves a
 * whiteout.
 *
 * Thread safety: the container's lock is held by the caller of everything
 * here; what changes something is called within an operation.
 */
#pragma once

#include "ondisk/map.h"
#include "tree/container.h"

#define CFS_STAMP_HEAD UINT64_MAX /* as it is now */

struct cfs_view {
	struct cfs_container *container;
	uint16_t branch;
	uint64_t stamp; /* or CFS_STAMP_HEAD */
};

/*
 * The bytes of a record (not extents) as the view shows it.  Whole length in
 * @ret_bytes, also when the buffer is shorter.  -ENOENT without @err.
 */
int cfs_map_get(const struct cfs_view *view, uint64_t ino,
		enum cfs_map_class class, uint64_t offset, void *buf,
		size_t buf_bytes, size_t *ret_bytes, struct cfs_err *err);

/*
 * The first record of (ino, class) with an offset >= *offset; sets *offset.
 * -ENOENT without @err when there is none.
 */
int cfs_map_next(const struct cfs_view *view, uint64_t ino,
		 enum cfs_map_class class, uint64_t *offset, void *buf,
		 size_t buf_bytes, size_t *ret_bytes, struct cfs_err *err);

/*
 * The first inode >= *ino that the view shows; sets *ino.  -ENOENT without
 * @err: there is none.
 */
int cfs_map_next_inode(const struct cfs_view *view, uint64_t *ino,
		       struct cfs_err *err);

/* Set or delete (-ENOENT without @err: it is not there) at a branch's head. */
int cfs_map_put(struct cfs_container *c, uint16_t branch, uint64_t ino,
		enum cfs_map_class class, uint64_t offset, const void *value,
		size_t value_bytes, struct cfs_err *err);
int cfs_map_del(struct cfs_container *c, uint16_t branch, uint64_t ino,
		enum cfs_map_class class, uint64_t offset, struct cfs_err *err);
