/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Taking data over that somebody else's log names and who may still write it:
 * it is copied into groups of our own, with tags of ours (lend_seal.c,
 * container_takeover.c).
 */
#pragma once

#include "tree/container_priv.h"

struct cfs_adopt_ops {
	/* Room for @blocks, and for the commit behind. */
	int (*ensure)(struct cfs_container *c, uint64_t blocks,
		      struct cfs_err *err);
	/* Apply a part of the record; @is_copied: it is at a place of ours,
	 * else where it stood. */
	int (*replay)(struct cfs_container *c, const struct cfs_rec *part,
		      bool is_copied, struct cfs_err *err);
};

/*
 * The blocks of the EXTENT record @rec, copied.  One that is damaged is named
 * where it stands, so that reading it says so.
 */
int cfs_adopt_extent(struct cfs_container *c, const struct cfs_rec *rec,
		     const struct cfs_adopt_ops *ops, struct cfs_err *err);
