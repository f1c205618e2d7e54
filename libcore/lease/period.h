/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Periods: how long a client may use what it holds, and how long its owner
 * waits before somebody else may.
 *
 * Each side measures with its own clock, whose rate is within r of real time
 * (the drift bound, in parts per million).
 *
 *  - The client's period of T begins just before it SENDS a request and
 *    counts once the reply to that very request is there.  An access of at
 *    most D may begin at t if t + D(1+r) < t_send + T.
 *  - The owner's period of M begins when it HANDLES the request, later than
 *    t_send.  What was granted is free when now > t_handled + M, strictly.
 *
 * In real time the client's use ends by s + T/(1-r), and the owner frees
 * behind g + M/(1+r) with g >= s.  So M >= T(1+r)/(1-r) is needed;
 * cfs_period_owner_ns rounds it up and adds a nanosecond, as each clock may
 * be read just before it ticks.  Worked through: T = 10 s, r = 2000 ppm:
 * M = 10.040080162 s.
 *
 * What must stay true: nothing but a reply with the id of a remembered
 * request extends a client's period, and then from that request's send time;
 * late, doubled and made-up replies extend nothing.  A clock that jumps
 * forward, a pause or a suspended machine only makes a period end early.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define CFS_PERIOD_NS_DEFAULT (10 * CFS_NS_PER_S)
#define CFS_PERIOD_NS_MIN     (10 * CFS_NS_PER_MS)
#define CFS_PERIOD_NS_MAX     (3600 * CFS_NS_PER_S)
#define CFS_DRIFT_PPM_DEFAULT 2000u
#define CFS_DRIFT_PPM_MAX     500000u

/*
 * M: the owner's period for the client's @period_ns.  Values outside the
 * limits above are taken as the nearest limit.
 */
uint64_t cfs_period_owner_ns(uint64_t period_ns, uint32_t drift_ppm);

/*
 * For who has clients with periods of @period_ns: a third of that.  A client
 * has at least two thirds left when it dies (it renews after one), so the next
 * one is there before they are over, and the client goes on with what it has.
 * A disk may be slow for a second, so that it is that at least.
 */
uint64_t cfs_period_short_ns(uint64_t period_ns);

/*
 * What an access that lasts @duration_ns of real time takes on a clock that
 * runs fast: D(1+r) rounded up; UINT64_MAX if that overflows.
 */
uint64_t cfs_period_access_ns(uint64_t duration_ns, uint32_t drift_ppm);

/* Requests whose reply may extend a period; older ones are forgotten. */
#define CFS_PERIOD_SENT_MAX 256u

/* The client's side.  Plain data, owns nothing. */
struct cfs_period {
	uint64_t period_ns; /* T; 0 until it is known */
	uint32_t drift_ppm;
	uint64_t end_ns;    /* elapsed; 0: no period runs */
	uint32_t sent_next; /* place in the ring */
	struct {
		uint64_t id; /* 0: free */
		uint64_t at_ns;
	} sent[CFS_PERIOD_SENT_MAX];
};

/* No period runs, nothing is remembered, T and r are not known. */
void cfs_period_init(struct cfs_period *p);

/*
 * What the owner said (WELCOME).  A T that shrinks counts for what is
 * extended from now on.
 */
void cfs_period_set(struct cfs_period *p, uint64_t period_ns,
		    uint32_t drift_ppm);

/* Request @id (not 0) leaves at @now_ns: call just BEFORE it is sent. */
void cfs_period_sent(struct cfs_period *p, uint64_t id, uint64_t now_ns);

/*
 * A reply to @id came.  Extends the period if the request is remembered; the
 * first reply to a request forgets it.  Returns true if it was remembered.
 */
bool cfs_period_replied(struct cfs_period *p, uint64_t id);

/* Forget all requests and end the period. */
void cfs_period_stop(struct cfs_period *p);

/*
 * May an access that lasts at most @duration_ns begin at @now_ns?
 * @end_ns  the end that counts: p->end_ns, or an earlier one
 */
bool cfs_period_may_start(const struct cfs_period *p, uint64_t end_ns,
			  uint64_t now_ns, uint64_t duration_ns);

/* What was read, may it be handed on; a sync, acknowledged: now < end. */
static inline bool cfs_period_still_runs(uint64_t end_ns, uint64_t now_ns)
{
	return now_ns < end_ns;
}

/* Owner: is what was granted until @deadline_ns free at @now_ns? */
static inline bool cfs_period_is_over(uint64_t deadline_ns, uint64_t now_ns)
{
	return now_ns > deadline_ns;
}

/*
 * The clock of leases: elapsed = the larger of what CLOCK_BOOTTIME and
 * CLOCK_MONOTONIC_RAW counted since it was made.  BOOTTIME counts suspend,
 * RAW is not slewed: whichever has run more ends a lease.  Thread-safe.
 */
struct cfs_lease_clock {
	struct cfs_clock clock;   /* hand this on */
	uint64_t boot_ns, raw_ns; /* when it was made */
};

void cfs_lease_clock_init(struct cfs_lease_clock *ret);

/* The rule in it. */
uint64_t cfs_lease_clock_elapsed(uint64_t boot_delta_ns, uint64_t raw_delta_ns);
