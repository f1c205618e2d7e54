/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a branch has of its own where its parent shows something: from then on
 * it does not see the parent's.
 */
#pragma once

#include "volume/vols_priv.h"

struct cfs_usage_cover {
	uint64_t birth;  /* stamp at which the branch first had it */
	uint64_t blocks; /* that the parent shows there */
	uint64_t inodes; /* likewise */
};
/* Non-zero stops and is returned. */
typedef int (*cfs_usage_cover_fn)(void *arg, const struct cfs_usage_cover *c,
				  struct cfs_err *err);

/*
 * Each part of @b's map that hides something of its parent, which it has.  It
 * takes as long as @b's own map is, and what that hides; memory does not grow.
 */
int cfs_usage_covers(struct cfs_vols *v, const struct branch *b,
		     cfs_usage_cover_fn each, void *arg, struct cfs_err *err);
