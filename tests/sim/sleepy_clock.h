/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A manual clock of which each sleep is long: who watches whether another host
 * stands still looks at all seats a few times, not a hundred.
 */
#pragma once

#include "base/clock.h"

#define SLEEPY_NS (3 * CFS_NS_PER_S)

static void sleepy_sleep_until(struct cfs_clock *clock, uint64_t deadline_ns)
{
	struct cfs_clock_manual *manual = (struct cfs_clock_manual *)clock;

	cfs_clock_manual_advance(
		manual, SLEEPY_NS + (deadline_ns > manual->elapsed_ns
					     ? deadline_ns - manual->elapsed_ns
					     : 0));
}

static void sleepy_clock_init(struct cfs_clock_manual *manual)
{
	static struct cfs_clock_ops ops;

	cfs_clock_manual_init(manual, 1, UINT64_C(1700000000000000000));
	ops = *manual->clock.ops;
	ops.sleep_until = sleepy_sleep_until;
	manual->clock.ops = &ops;
}
