/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside of diff.h: which keys may have changed (diff_scan.c), and what of
 * that did (diff.c).
 *
 * The way from one view to the other is a few legs: of a branch, what was born
 * or died in (lo, hi].  Such versions stand in LIVE or, if they died, in
 * HISTORY; there the extents of an inode stand by level, each level in the
 * order of offsets.  So a leg has a source in LIVE, one in HISTORY for what
 * are no extents, and one for each level.
 *
 * What a source found stays found: a version that moves from LIVE to HISTORY
 * meanwhile was either seen before or is looked for again, since an edit of a
 * tree makes all sources look again from where the diff stands.
 */
#pragma once

#include "volume/diff.h"
#include "volume/vols_priv.h"

#define DIFF_SOURCES  (2u + CFS_HISTORY_LEVEL_MAX + 1)
#define DIFF_LEGS_MAX 1024u /* branches on the way: a chain of clones */

/* A key that may have changed. */
struct diff_key {
	uint64_t ino, word;
	uint64_t count; /* EXTENT: blocks from there on */
};

struct diff_source {
	bool is_known; /* @next is right */
	bool is_over;  /* there is none */
	struct diff_key next;
};

struct diff_leg {
	uint16_t branch;
	uint64_t lo, hi; /* stamps: behind lo, up to hi */
	struct diff_source live, meta, levels[CFS_HISTORY_LEVEL_MAX + 1];
	uint64_t levels_ino; /* that the levels were looked up for */
};

struct diff_scan {
	struct cfs_vols *v;
	struct diff_leg *legs;
	size_t leg_count;
	uint64_t live_edits, history_edits;
};

/* The legs between two views, or -EINVAL.  Lock held. */
int cfs_diff_scan_init(struct diff_scan *s, const struct cfs_view *from,
		       const struct cfs_view *to, struct cfs_err *err);
void cfs_diff_scan_done(struct diff_scan *s);
/*
 * The first key at or behind @at that may have changed: 1; 0: none.  An extent
 * that begins before @at and goes on behind it begins at @at.  Lock held.
 */
int cfs_diff_scan_next(struct diff_scan *s,
		       const struct cfs_stream_position *at,
		       struct diff_key *ret, struct cfs_err *err);
