/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Holding commits back: between two commits no block that the last root names
 * is written again, so somebody else who opens the devices to read finds one
 * moment of the pool, whole, for as long as none is made.  Operations and the
 * log go on meanwhile; who needs a commit waits.
 *
 * A hold ends by itself after its time: a reader that died, or forgot, does
 * not stop the pool.
 *
 * What must stay true: a commit within another one (of the pool's own container
 * for a slice that the first needs) never waits, and a hold begins only when
 * no commit is under way.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct cfs_commit_hold { /* the holder's; not copied */
	struct cfs_commit_hold *next;
	uint64_t until_ns; /* elapsed */
};

struct cfs_commit_holds { /* of a set of devices */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct cfs_commit_hold *first;
	unsigned int committing; /* under way */
};

void cfs_commit_holds_init(struct cfs_commit_holds *h);
void cfs_commit_holds_done(struct cfs_commit_holds *h);

/* Around a commit; begin waits. */
void cfs_commit_begin(struct cfs_commit_holds *h);
void cfs_commit_end(struct cfs_commit_holds *h);

/*
 * Hold for @max_ns at most, from a moment at which no commit is under way:
 * waited for, and not made, since a commit may itself wait for somebody who
 * wants one.  -EBUSY: there was none in @wait_ns.
 */
int cfs_commit_hold(struct cfs_commit_holds *h, struct cfs_commit_hold *hold,
		    uint64_t wait_ns, uint64_t max_ns);
/* True: it held until now. */
bool cfs_commit_release(struct cfs_commit_holds *h,
			struct cfs_commit_hold *hold);
