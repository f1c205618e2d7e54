/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A mount that is gone, whose process holds the pool for others: it stays, as
 * the manager that leasectl leaves behind does, until the last of them has gone
 * or a signal asks it to end.  All that the mount had is durable by then.
 */
#include "cfsmount/cfsmount.h"

#include "base/clock.h"

#include <sys/prctl.h>

#define LOOK_NS (50 * CFS_NS_PER_MS)

void mnt_linger(struct mnt *m)
{
	struct cfs_clock *clock = cfs_clock_system();

	if (!m->serve || cfs_cmd_is_stopped(NULL) ||
	    cfs_serve_end_unneeded(m->serve))
		return;
	/* Whoever waits for the mount's end need not wait for this. */
	(void)prctl(PR_SET_NAME, MNT_LINGERS_NAME);
	while (!cfs_cmd_is_stopped(NULL) && !cfs_serve_end_unneeded(m->serve))
		cfs_clock_sleep_until(clock,
				      cfs_clock_elapsed_ns(clock) + LOOK_NS);
}
