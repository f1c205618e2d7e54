/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lease/period.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"

#define PPM UINT64_C(1000000)

/* Rounded up; UINT64_MAX if it does not fit.  @by is not 0. */
static uint64_t scale_up(uint64_t v, uint64_t mul, uint64_t by)
{
	__extension__ unsigned __int128 x = v;

	x = (x * mul + by - 1) / by;
	return x > UINT64_MAX ? UINT64_MAX : (uint64_t)x;
}

static uint64_t period_bound(uint64_t period_ns)
{
	return CFS_MIN(CFS_MAX(period_ns, CFS_PERIOD_NS_MIN),
		       CFS_PERIOD_NS_MAX);
}

uint64_t cfs_period_owner_ns(uint64_t period_ns, uint32_t drift_ppm)
{
	uint64_t r = CFS_MIN(drift_ppm, CFS_DRIFT_PPM_MAX);

	return scale_up(period_bound(period_ns), PPM + r, PPM - r) + 1;
}

uint64_t cfs_period_access_ns(uint64_t duration_ns, uint32_t drift_ppm)
{
	uint64_t r = CFS_MIN(drift_ppm, CFS_DRIFT_PPM_MAX);

	return scale_up(duration_ns, PPM + r, PPM);
}

uint64_t cfs_period_short_ns(uint64_t period_ns)
{
	return CFS_MAX(period_ns / 3, CFS_MIN(period_ns, CFS_NS_PER_S));
}

void cfs_period_init(struct cfs_period *p)
{
	memset(p, 0, sizeof(*p));
}

void cfs_period_set(struct cfs_period *p, uint64_t period_ns,
		    uint32_t drift_ppm)
{
	p->period_ns = period_bound(period_ns);
	p->drift_ppm = CFS_MIN(drift_ppm, CFS_DRIFT_PPM_MAX);
}

void cfs_period_sent(struct cfs_period *p, uint64_t id, uint64_t now_ns)
{
	uint32_t at = p->sent_next;

	assert(id != 0);
	p->sent[at].id = id;
	p->sent[at].at_ns = now_ns;
	p->sent_next = (at + 1) % CFS_PERIOD_SENT_MAX;
}

bool cfs_period_replied(struct cfs_period *p, uint64_t id)
{
	uint32_t at = p->sent_next;

	if (id == 0)
		return false;
	/* The youngest first: most replies are to what was just sent. */
	for (uint32_t i = 0; i < CFS_PERIOD_SENT_MAX; i++) {
		at = (at ? at : CFS_PERIOD_SENT_MAX) - 1;
		if (p->sent[at].id != id)
			continue;
		p->sent[at].id = 0;
		p->end_ns = CFS_MAX(
			p->end_ns,
			cfs_deadline_add(p->sent[at].at_ns, p->period_ns));
		return true;
	}
	return false;
}

void cfs_period_stop(struct cfs_period *p)
{
	p->end_ns = 0;
	memset(p->sent, 0, sizeof(p->sent));
}

bool cfs_period_may_start(const struct cfs_period *p, uint64_t end_ns,
			  uint64_t now_ns, uint64_t duration_ns)
{
	uint64_t access_ns = cfs_period_access_ns(duration_ns, p->drift_ppm);

	return now_ns < end_ns && access_ns < end_ns - now_ns;
}

/* ---- the clock ----------------------------------------------------------- */

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts = { 0 };

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * CFS_NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t cfs_lease_clock_elapsed(uint64_t boot_delta_ns, uint64_t raw_delta_ns)
{
	return CFS_MAX(boot_delta_ns, raw_delta_ns);
}

static uint64_t clock_elapsed_ns(struct cfs_clock *clock)
{
	const struct cfs_lease_clock *c = (struct cfs_lease_clock *)clock;

	return cfs_lease_clock_elapsed(read_clock(CLOCK_BOOTTIME) - c->boot_ns,
				       read_clock(CLOCK_MONOTONIC_RAW) -
					       c->raw_ns);
}

static uint64_t clock_realtime_ns(struct cfs_clock *clock)
{
	(void)clock;
	return read_clock(CLOCK_REALTIME);
}

static void clock_sleep_until(struct cfs_clock *clock, uint64_t deadline_ns)
{
	uint64_t now_ns = clock_elapsed_ns(clock);
	uint64_t until_ns;
	struct timespec ts;

	if (deadline_ns <= now_ns)
		return;
	until_ns = cfs_deadline_add(read_clock(CLOCK_BOOTTIME),
				    deadline_ns - now_ns);
	ts.tv_sec = (time_t)(until_ns / CFS_NS_PER_S);
	ts.tv_nsec = (long)(until_ns % CFS_NS_PER_S);
	clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &ts, NULL);
}

void cfs_lease_clock_init(struct cfs_lease_clock *ret)
{
	static const struct cfs_clock_ops ops = {
		.elapsed_ns = clock_elapsed_ns,
		.realtime_ns = clock_realtime_ns,
		.sleep_until = clock_sleep_until,
	};

	ret->clock.ops = &ops;
	ret->boot_ns = read_clock(CLOCK_BOOTTIME);
	ret->raw_ns = read_clock(CLOCK_MONOTONIC_RAW);
}
