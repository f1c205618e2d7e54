/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading and writing the devices of a pool that another process holds: a LUN
 * is opened, and its bytes never pass through that process.
 *
 * One of these is of one container, which may get another owner
 * (serve_delegate.h): then it goes there, with all that it has.  It is a client
 * of the lease table, with its own handles of the devices, its own connection,
 * and the container in client mode (tree/container_client.h).  What stands
 * between it and the others:
 *
 *   leases	on ranges of the LUN, cached (direct_lock.h); each read is begun
 *		and handed on only while its lease is held, and a sync is
 *		acknowledged only then
 *   recall	what was written is folded, then the lease goes
 *   view	before the first access under a new lease a new view is got, so
 *		all that others folded is seen
 *   owner gone	the connection is made anew, to it or to the next one, as long
 *		as the period runs (direct_where.c); leases are reclaimed and
 *		requests sent again
 *   lost	the container is closed for good: everything after that is
 *		-ESTALE, and what was not synced is lost
 *
 * The mark on the devices (device/device.h) is taken before anything is asked
 * for, so that others know when we are gone.
 *
 * Thread safety: any, but free.
 */
#pragma once

#include "session/session.h"

struct cfs_direct;

/*
 * As cfs_io_open.  Made for the session when it is called first.  @wait_ns: for
 * a lease that somebody else has.
 * -ENOTSUP: not a LUN, or the devices cannot be reached from here; others may
 * be told by forwarding, too, but -EBUSY (somebody has a lease on it), -EINTR
 * and -ENOENT are final.
 */
int cfs_direct_io_open(struct cfs_session *s, const char *volume,
		       const char *snap, bool is_writable, uint64_t wait_ns,
		       struct cfs_io_volume **ret, struct cfs_err *err);
/*
 * Of all of the session.  Everything written is folded, given back, and goodbye
 * said; volumes were closed.  The first failure since it was made is returned.
 * NULL is allowed.
 */
int cfs_direct_close(struct cfs_direct *d, struct cfs_err *err);
/* cfs_container_rest_locked, of all of the session. */
void cfs_direct_rest(struct cfs_session *s);

/* For tests and figures; of the one that was made last. */
struct cfs_direct_stats {
	uint64_t sent_bytes, received_bytes;
	uint64_t sent_messages, received_messages;
	uint64_t reconnects, folds, views, lends;
};
void cfs_direct_stats(struct cfs_direct *d, struct cfs_direct_stats *ret);
