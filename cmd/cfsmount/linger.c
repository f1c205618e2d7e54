/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A mount that is gone, whose process holds the pool for others: it stays, as
 * the manager that leasectl leaves behind does, until the last of them has gone
 * or a signal asks it to end.  All that the mount had is durable by then.
 */
#include "cfsmount/cfsmount.h"

#include "base/clock.h"

#include <sys/prctl.h>
#include <unistd.h>

#define LOOK_NS		(50 * CFS_NS_PER_MS)

/* Those of other processes: this one's own uses are clients too. */
static bool is_foreign(void *arg, const struct cfs_lease_record *record)
{
	bool *is = arg;

	*is = record->kind == CFS_RECORD_CLIENT &&
	      record->u.client.pid != (uint64_t)getpid();
	return !*is;
}

static bool has_clients(struct cfs_serve *serve)
{
	struct cfs_owner *owner = cfs_serve_lock(serve);
	bool is = false;

	cfs_owner_each(owner, 0, 0, is_foreign, &is);
	cfs_serve_unlock(serve);
	return is;
}

void mnt_linger(struct mnt *m)
{
	struct cfs_clock *clock = cfs_clock_system();

	if (!m->serve || cfs_cmd_is_stopped(NULL) || !has_clients(m->serve))
		return;
	/* Whoever waits for the mount's end need not wait for this. */
	(void)prctl(PR_SET_NAME, MNT_LINGERS_NAME);
	while (!cfs_cmd_is_stopped(NULL) && has_clients(m->serve))
		cfs_clock_sleep_until(clock, cfs_clock_elapsed_ns(clock) +
					     LOOK_NS);
}
