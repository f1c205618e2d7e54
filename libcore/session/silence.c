/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session/silence.h"

#include "base/clock.h"
#include "session/lease.h"
#include "session/remote.h"
#include "session/session_priv.h"

#define SILENT_NS (500 * CFS_NS_PER_MS) /* then we look who has it */

static bool ends(void *arg)
{
	struct cfs_silence *s = arg;
	struct cfs_clock *clock = cfs_clock_system();

	if (s->of && s->of->stop && s->of->stop(s->of->arg))
		return true;
	if (!s->is_over && s->is_old &&
	    cfs_clock_elapsed_ns(clock) >= s->look_ns) {
		s->is_over = s->is_old(s->arg);
		s->look_ns = cfs_clock_elapsed_ns(clock) + SILENT_NS;
	}
	return s->is_over;
}

struct cfs_conn_wait cfs_silence_wait(struct cfs_silence *s)
{
	s->look_ns = cfs_clock_elapsed_ns(cfs_clock_system()) + SILENT_NS;
	return (struct cfs_conn_wait){
		.timeout_ns = s->of ? s->of->timeout_ns : 0,
		.stop = ends,
		.arg = s,
	};
}

/* ---- the manager --------------------------------------------------------- */

/* Nobody takes a pool over that is not shared: there the kernel says who has
 * it, and does so until that process has ended. */
static bool manager_is_old(void *arg)
{
	const struct cfs_session *s = arg;
	struct cfs_manager_info now;

	return s->path && cfs_manager_find(s->path, &s->opt, &now, NULL) == 0 &&
	       now.is_held && now.epoch > s->asked_epoch;
}

void cfs_session_watch_manager(struct cfs_session *s,
			       const struct cfs_devset *set,
			       const struct cfs_seat *seat)
{
	s->asked_epoch = seat->epoch;
	if (cfs_devset_is_shared(set))
		cfs_remote_watch(s->remote, manager_is_old, s, false);
}
