/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Check: proof that the metadata of a pool is whole and fits together.  It
 * changes nothing.
 *
 * What it proves: labels, seats and slice headers are good; slice table and
 * slice maps say the same and no slice has two owners; the newest root stands
 * in all of its places; every node is good in every copy and has its tag;
 * records make sense and agree with each other; live extents do not overlap,
 * versions of one block do not live at the same time, and each that is kept is
 * seen by somebody; no block has two owners and space accounting is what is
 * reachable; every referenced block has the tag that its record names; trees
 * hold together at their heads, and in the newest 16 snapshots of each volume.
 * It does not read data blocks: scrub does.
 *
 * Memory: a bit for each block of a container, and a bounded batch of what is
 * compared with tags (about 64 MiB).
 *
 * It works beside others who use the pool: what they have changed is committed
 * first, and each container is frozen while it is looked at
 * (cfs_container_freeze): who reads goes on, who writes to it waits.  So what
 * is told of it does not wait for anybody who might not listen.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct cfs_pool;

struct cfs_problem {
	const char *kind; /* "space", "node", "tag", "link", "slice",
			   * "root", "log", "label", "snapshot", ... */
	char container[128];
	char volume[260]; /* or empty */
	char path[4096];  /* or empty */
	char text[400];   /* one line */
	bool is_healed;
};
/* Non-zero ends the check with that value. */
typedef int (*cfs_problem_each_fn)(void *arg, const struct cfs_problem *p);

struct cfs_check_result {
	uint64_t containers, nodes, records, blocks, inodes, problems;
};

struct cfs_check_options {
	const char *container;    /* NULL: all, and the pool's own */
	cfs_problem_each_fn each; /* without locks held */
	void *arg;
	/* Asked now and then; true: end with -EINTR.  May be NULL. */
	bool (*stop)(void *arg);
	void *stop_arg;
};

/*
 * @ret: set also on failure, with what was counted.
 * 0 also when problems were found; -ENOENT: no such container; -EINTR; what
 * @each returned; -ENOMEM, -EIO.
 */
int cfs_pool_check(struct cfs_pool *pool, const struct cfs_check_options *opt,
		   struct cfs_check_result *ret, struct cfs_err *err);
