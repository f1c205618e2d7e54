/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Time as an interface, so that a simulation can stand in for it.
 *
 * Two clocks that must not be mixed.  Elapsed time (CLOCK_BOOTTIME) never
 * jumps and counts the time in which the host slept: leases and deadlines are
 * measured with it, and it means nothing on another host or after a reboot.
 * Real time is for what people read; safety never rests on it.
 *
 * Thread safety: the system clock may be used from any thread; a manual
 * clock by one at a time unless its owner locks.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CFS_NS_PER_US UINT64_C(1000)
#define CFS_NS_PER_MS UINT64_C(1000000)
#define CFS_NS_PER_S  UINT64_C(1000000000)

struct cfs_clock;

struct cfs_clock_ops {
	uint64_t (*elapsed_ns)(struct cfs_clock *clock);
	uint64_t (*realtime_ns)(struct cfs_clock *clock);
	/* Return when @deadline_ns of elapsed time is reached, or before
	 * (a signal): the caller looks at the clock again. */
	void (*sleep_until)(struct cfs_clock *clock, uint64_t deadline_ns);
};

/* An implementation puts this first in a struct of its own. */
struct cfs_clock {
	const struct cfs_clock_ops *ops;
};

/* The host's clocks.  Static: not to be freed. */
struct cfs_clock *cfs_clock_system(void);

/* Nanoseconds since an unspecified moment; never goes back. */
static inline uint64_t cfs_clock_elapsed_ns(struct cfs_clock *clock)
{
	return clock->ops->elapsed_ns(clock);
}

/* Nanoseconds since 1970-01-01T00:00:00Z; may jump in both directions. */
static inline uint64_t cfs_clock_realtime_ns(struct cfs_clock *clock)
{
	return clock->ops->realtime_ns(clock);
}

static inline void cfs_clock_sleep_until(struct cfs_clock *clock,
					 uint64_t deadline_ns)
{
	clock->ops->sleep_until(clock, deadline_ns);
}

/*
 * @ns plus @add_ns, or UINT64_MAX: a deadline that overflows is never
 * reached, rather than long past.
 */
static inline uint64_t cfs_deadline_add(uint64_t ns, uint64_t add_ns)
{
	return add_ns > UINT64_MAX - ns ? UINT64_MAX : ns + add_ns;
}

/* A clock that moves when it is told to; sleeping moves it. */
struct cfs_clock_manual {
	struct cfs_clock clock;
	uint64_t elapsed_ns;
	uint64_t realtime_ns;
};

void cfs_clock_manual_init(struct cfs_clock_manual *manual, uint64_t elapsed_ns,
			   uint64_t realtime_ns);
void cfs_clock_manual_advance(struct cfs_clock_manual *manual, uint64_t ns);

#define CFS_TIME_TEXT_BYTES 64u

/*
 * RFC 3339 in UTC with nanoseconds: "2024-02-29T12:00:00.000000001Z".
 * @seconds  since 1970; any value.  Years that RFC 3339 has no form for are
 *           written with a sign and as many digits as they need.
 * @ns       below 1000000000; other values (from a damaged record) are taken
 *           as 999999999
 * Returns @ret.
 */
char *cfs_time_format(int64_t seconds, uint32_t ns,
		      char ret[CFS_TIME_TEXT_BYTES]);

/* The same for nanoseconds since 1970. */
char *cfs_time_format_ns(uint64_t realtime_ns, char ret[CFS_TIME_TEXT_BYTES]);
