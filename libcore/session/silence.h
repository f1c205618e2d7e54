/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Waiting for somebody who may have been followed by another.
 *
 * A process that stands still keeps its connections, and whoever waits for its
 * answer would wait for ever.  That it says nothing tells nothing, since a
 * request may take long; that another one has its place by now does.  So who
 * waits looks at times, and gives the wait up when that is so.
 *
 * Thread safety: a struct cfs_silence is one wait's own; is_old may be asked
 * by several waits at once.
 */
#pragma once

#include "lease/conn.h"

struct cfs_session;
struct cfs_seat;
struct cfs_devset;

struct cfs_silence {
	/* Has another one come?  May take a while, but not for ever. */
	bool (*is_old)(void *arg);
	void *arg;
	const struct cfs_conn_wait *of; /* whose wait it is; may be NULL */
	uint64_t look_ns;               /* when to ask */
	bool is_over;                   /* it was so */
};

/* @s, filled in up to of, outlives the wait; the wait ends as one that was
 * stopped (-EINTR) when its own is, and when @s->is_over. */
struct cfs_conn_wait cfs_silence_wait(struct cfs_silence *s);

/* @s asks all of the manager that @seat is about; of a pool that others can
 * take over while it stands still, it asks until they have. */
void cfs_session_watch_manager(struct cfs_session *s,
			       const struct cfs_devset *set,
			       const struct cfs_seat *seat);
