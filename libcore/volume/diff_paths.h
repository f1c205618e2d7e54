/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What changed between two views, for people: ranges of a LUN, paths of a tree.
 */
#pragma once

#include "volume/diff.h"

struct cfs_diff_item {
	/* A tree: "added", "removed", "modified", "renamed"; a LUN: NULL. */
	const char *change;
	const char *path;     /* "/a/b"; removed: as it was */
	const char *old_path; /* renamed: what it was; else NULL */
	uint64_t offset_bytes, length_bytes; /* a LUN */
};
/* Non-zero stops, and is returned. */
typedef int (*cfs_diff_item_fn)(void *arg, const struct cfs_diff_item *item);

/*
 * Ranges in order, to the block, those that touch joined: all that was written
 * or given up.  of->from and of->to are both there.  Lock not held, and not
 * while @each is called.
 */
int cfs_diff_ranges(const struct cfs_diff_of *of, cfs_diff_item_fn each,
		    void *arg, bool (*stop)(void *arg), void *stop_arg,
		    struct cfs_err *err);

/*
 * Paths in the order of their bytes.  A file is modified if its content, mode,
 * owner, device, attributes or modification time are others, a directory if
 * its mode, owner or attributes are; what happened to its entries is told of
 * them.  One that took the name of another one is modified, or renamed.  Of a
 * file with several names one is told.
 * @hash_seed: of the volume's record.
 */
int cfs_diff_paths(const struct cfs_diff_of *of, uint64_t hash_seed,
		   cfs_diff_item_fn each, void *arg, bool (*stop)(void *arg),
		   void *stop_arg, struct cfs_err *err);
