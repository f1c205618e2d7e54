/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Scrub: read and verify every block that is in use, of every piece, and heal
 * what is bad from a good copy.
 *
 * Container by container (the pool's own first), slice by slice, front to
 * back: header, tag pages (both slots), blocks in reads of up to 1 MiB.  A
 * block is judged by its tag, roots by their own checksums; blocks of the log
 * are not read, since only what a root still needs of them counts.  What is
 * bad is read again with the container's lock held before it is believed.
 *
 * Sources, in this order: another piece of a mirror (written in place: the
 * same content); the other copy of a node; for tag pages the other slots and
 * pieces, else the records of the trees; for headers the slice table.  What
 * has no good copy is noted in the bad-block table, and told with what it
 * belongs to; it leaves the table when it verifies again, or is free and can
 * be read.  Until then the place is not handed out.
 *
 * Slices that are free are not read.  Their headers witness that former lives
 * are over, which the slice table says too; a crash between the two leaves the
 * former header standing, so one that differs is no damage.  On a shared pool
 * nobody may write there before a record says whose the slice is.
 *
 * Behind a whole pass without lost tag pages come the tombstones: those that
 * nothing needs any more are dropped (see scrub_garbage.c).
 *
 * Where the last scrub stopped is kept in each container, every few seconds.
 */
#pragma once

#include "heal/check.h"
#include "heal/trace.h"

struct cfs_scrub_options {
	uint64_t rate_bytes; /* a second; 0: no limit */
	bool heals;
	bool is_full;   /* connectivity too */
	bool continues; /* from the cursor of the last one */
};
struct cfs_scrub_result {
	uint64_t read_bytes, verified_blocks;
	uint64_t bad_blocks, healed_blocks, left_blocks;
	uint64_t skipped_groups; /* whose tag pages another may write */
	uint64_t started_ns, ended_ns;
};

struct cfs_clock;

struct cfs_scrub_calls {
	cfs_damage_each_fn each;
	void *arg;
	cfs_problem_each_fn problem; /* is_full: what check finds; or NULL */
	bool (*stop)(void *arg);     /* may be NULL */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *session_arg;       /* for the two */
	struct cfs_clock *clock; /* NULL: the system's */
};

/*
 * @container: NULL for all.  @ret: set also on failure.
 * 0 also when damage is left; -EINTR: stopped, and `continues` goes on from
 * there; -ENOENT; what a callback returned; -ENOMEM, -EIO.
 * Without opt->heals nothing is written.
 */
int cfs_pool_scrub(struct cfs_pool *pool, const char *container,
		   const struct cfs_scrub_options *opt,
		   const struct cfs_scrub_calls *calls,
		   struct cfs_scrub_result *ret, struct cfs_err *err);
