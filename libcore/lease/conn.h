/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The client's side of a connection to a manager, for many threads: requests
 * are multiplexed by the id in the header, and each caller waits for its own
 * answer.
 *
 * Whoever waits reads: one of the callers receives for all, so that a lone
 * caller sends and receives in its own thread, without a switch to another.
 * While nobody waits, a background thread of the connection ("cfs-conn")
 * reads: recalls and other notices; it also sends renewals when they are due.
 * All signals are blocked in it.
 *
 * A connection that has broken stays broken: every call that waits, and every
 * one after, returns -ECONNRESET, and the gone hook is called once.  Whether to
 * connect anew or to take the pool over is the caller's to decide.
 *
 * Thread safety: everything but close may be called from any thread; hooks
 * are called without locks of the connection, in the background thread or
 * in that of any caller, one at a time and in the order of arrival.  A hook
 * may send, but must not call (it would wait for itself).
 */
#pragma once

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "lease/link.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cfs_conn;

struct cfs_conn_options {
	/*
	 * A message that is no answer to a call: notices (id 0), and answers
	 * of the lease protocol.  @msg: header and body.  Any may be NULL.
	 */
	void (*message)(void *arg, const void *msg, size_t bytes);
	/* The connection has broken. */
	void (*gone)(void *arg, const struct cfs_err *why);
	/*
	 * Due things (renewals), in the background thread.  Returns the time
	 * of @clock at which to be called next; UINT64_MAX: after a kick.
	 */
	uint64_t (*tick)(void *arg, uint64_t now_ns);
	/* The request of a call leaves just behind this; its (last) answer
	 * has come, with 0 or a negative errno.  They renew leases
	 * (cfs_lease_client_sent, _replied); not for those of the lease
	 * protocol itself. */
	void (*sent)(void *arg, uint64_t id);
	void (*replied)(void *arg, uint64_t id, int status);
	void *arg;
	struct cfs_clock *clock; /* NULL: the system's */
	unsigned int calls_max;  /* under way at once; more wait their
				  * turn; 0: 32 */
};

/* @link, ready, becomes the connection's, also when this fails. */
int cfs_conn_new(struct cfs_link *link, const struct cfs_conn_options *opt,
		 struct cfs_conn **ret, struct cfs_err *err);
/* Close it; no call may be under way.  NULL is allowed. */
void cfs_conn_free(struct cfs_conn *conn);

/* How long, and until what, a call waits. */
struct cfs_conn_wait {
	uint64_t timeout_ns;     /* 0: without limit */
	bool (*stop)(void *arg); /* may be NULL; asked every
				  * 100 ms and after signals */
	void *arg;
};

/*
 * Send a request and wait for its answer.
 * @wait: NULL: for as long as the connection lives.
 * @reply: its body is appended; may be NULL.
 * Returns 0, or the error that the answer carries (its text in @err);
 * -ETIMEDOUT, -EINTR (the request is cancelled at the manager, which may have
 * done it all the same); -ECONNRESET; -EMSGSIZE: over CFS_MSG_BODY_MAX.
 */
int cfs_conn_call(struct cfs_conn *conn, uint16_t type, const void *body,
		  size_t bytes, const struct cfs_conn_wait *wait,
		  struct cfs_buf *reply, struct cfs_err *err);

/* One part of a streamed answer.  Another value than 0 ends the call: it is
 * cancelled at the manager, and the value is what the call returns. */
typedef int (*cfs_conn_part_fn)(void *arg, const uint8_t *body, size_t bytes,
				struct cfs_err *err);
/* The same with an answer in parts; the last one, which may be empty, goes to
 * @reply.  @part is called in the caller's thread and may call. */
int cfs_conn_stream(struct cfs_conn *conn, uint16_t type, const void *body,
		    size_t bytes, const struct cfs_conn_wait *wait,
		    cfs_conn_part_fn part, void *arg, struct cfs_buf *reply,
		    struct cfs_err *err);

/*
 * Send one packed message and wait for nothing.  What comes back goes to the
 * message hook, so its id must not be one of a call: cfs_conn_next_id.
 * May wait for room in the socket.  -ECONNRESET.
 */
int cfs_conn_send(struct cfs_conn *conn, const void *msg, size_t bytes,
		  struct cfs_err *err);
/* An id that no call uses. */
uint64_t cfs_conn_next_id(struct cfs_conn *conn);

/*
 * Wait until @is_done(@arg) says so, which is asked after each message: for
 * things that answers to cfs_conn_send bring about.  As long as it waits, it
 * reads.  0; -ETIMEDOUT, -EINTR, -ECONNRESET.
 */
int cfs_conn_wait(struct cfs_conn *conn, bool (*is_done)(void *arg), void *arg,
		  const struct cfs_conn_wait *wait, struct cfs_err *err);

/*
 * What is sent now will soon be waited for, by this thread: so that the
 * background thread does not take the answer.  In pairs; in between it waits
 * or does nothing else.
 */
void cfs_conn_expect(struct cfs_conn *conn);
void cfs_conn_expect_end(struct cfs_conn *conn);

/* Call tick soon. */
void cfs_conn_kick(struct cfs_conn *conn);
bool cfs_conn_is_gone(const struct cfs_conn *conn);
/* It has broken, says the caller, who knows it from elsewhere. */
void cfs_conn_break(struct cfs_conn *conn);
const struct cfs_link_peer *cfs_conn_peer(const struct cfs_conn *conn);
void cfs_conn_stats(struct cfs_conn *conn, struct cfs_link_stats *ret);
