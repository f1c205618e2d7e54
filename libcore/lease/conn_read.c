// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The receiving side of a connection, and its background thread.
 */
#include "lease/conn_priv.h"

#include "base/bits.h"

#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* A burst of calls has ended when there was none for so long. */
#define LINGER_NS 1000000

/* ---- giving out ---------------------------------------------------------- */

/* Everybody that waits for more than an answer looks again.  With the lock. */
static void tell_news(struct cfs_conn *conn)
{
	struct cfs_conn_waiter *w;

	conn->news++;
	LIST_FOREACH(w, &conn->waiters, link)
	if (!w->id)
		pthread_cond_signal(&w->cond);
}

static void set_gone(struct cfs_conn *conn, const struct cfs_err *why)
{
	struct cfs_conn_waiter *w;
	bool is_first;

	pthread_mutex_lock(&conn->lock);
	is_first = !conn->is_gone;
	if (is_first)
		conn->why = *why;
	atomic_store(&conn->is_gone, true);
	cfs_conn_set_watched(conn, false);
	conn->news++;
	LIST_FOREACH(w, &conn->waiters, link)
	pthread_cond_signal(&w->cond);
	pthread_cond_broadcast(&conn->turn);
	pthread_mutex_unlock(&conn->lock);
	if (is_first && conn->opt.gone)
		conn->opt.gone(conn->opt.arg, why);
}

static struct cfs_conn_waiter *find_call(struct cfs_conn *conn, uint64_t id)
{
	struct cfs_conn_waiter *w;

	LIST_FOREACH(w, &conn->waiters, link)
	if (w->id == id && !w->is_done)
		return w;
	return NULL;
}

/* With the lock.  No memory: the call fails, not the connection. */
static void answer_call(struct cfs_conn_waiter *w,
			const struct cfs_msg_head *head, const uint8_t *body,
			size_t bytes)
{
	struct cfs_conn_part *part;

	if (head->has_more) {
		part = malloc(sizeof(*part) + bytes);
		if (part) {
			part->bytes = bytes;
			memcpy(part->data, body, bytes);
			STAILQ_INSERT_TAIL(&w->parts, part, link);
		} else {
			w->code = -ENOMEM;
		}
	} else {
		int r = cfs_msg_reply_status(head, body, bytes, &w->err);

		if (r == 0 && w->reply)
			r = cfs_buf_append(w->reply, body, bytes);
		w->code = w->code ? w->code : r;
		w->is_done = true;
	}
	pthread_cond_signal(&w->cond);
}

static bool is_answer(struct cfs_conn *conn, const struct cfs_msg_head *head,
		      const uint8_t *body, size_t bytes)
{
	struct cfs_conn_waiter *w = NULL;

	if (!head->is_reply || !head->id)
		return false;
	/* Before the caller knows: its period counts already then.  Those of
	 * the lease protocol are told by the message hook. */
	if (!head->has_more && head->type > CFS_MSG_TYPE_LEASE_LAST &&
	    conn->opt.replied)
		conn->opt.replied(conn->opt.arg, head->id, -(int)head->status);
	pthread_mutex_lock(&conn->lock);
	w = find_call(conn, head->id);
	if (w)
		answer_call(w, head, body, bytes);
	pthread_mutex_unlock(&conn->lock);
	/* To a call that was given up: nobody wants it. */
	return w || head->type > CFS_MSG_TYPE_LEASE_LAST;
}

static int give_out(struct cfs_conn *conn, size_t bytes, struct cfs_err *err)
{
	struct cfs_msg_head head;
	int r = cfs_msg_head_unpack(conn->msg, bytes, &head, err);

	if (r < 0)
		return r;
	if (is_answer(conn, &head, conn->msg + CFS_MSG_HEAD_BYTES,
		      bytes - CFS_MSG_HEAD_BYTES))
		return 0;
	if (conn->opt.message)
		conn->opt.message(conn->opt.arg, conn->msg, bytes);
	pthread_mutex_lock(&conn->lock);
	tell_news(conn);
	pthread_mutex_unlock(&conn->lock);
	return 0;
}

/* ---- reading ------------------------------------------------------------- */

static void drain(int fd)
{
	uint64_t count;
	ssize_t n = read(fd, &count, sizeof(count));

	(void)n; /* only to make it silent */
}

static bool is_readable(struct cfs_conn *conn, uint64_t timeout_ns)
{
	const struct timespec limit = {
		.tv_sec = (time_t)(timeout_ns / CFS_NS_PER_S),
		.tv_nsec = (long)(timeout_ns % CFS_NS_PER_S),
	};
	struct pollfd fds[2] = {
		{ .fd = cfs_link_fd(conn->link), .events = POLLIN },
		{ .fd = conn->nudge_fd, .events = POLLIN },
	};

	if (cfs_link_has_pending(conn->link))
		return true;
	if (ppoll(fds, 2, &limit, NULL) <= 0)
		return false;
	if (fds[1].revents)
		drain(conn->nudge_fd);
	return fds[0].revents != 0;
}

void cfs_conn_read(struct cfs_conn *conn, uint64_t timeout_ns)
{
	struct cfs_err err = CFS_ERR_INIT;
	size_t bytes;
	int r;

	if (!is_readable(conn, timeout_ns))
		return;
	do {
		r = cfs_link_recv(conn->link, conn->msg, &bytes, &err);
		if (r == 0)
			r = give_out(conn, bytes, &err);
		/* What epoll would not tell of goes at once. */
	} while (r == 0 && cfs_link_has_pending(conn->link));
	if (r < 0 && r != -EAGAIN)
		set_gone(conn, &err);
}

void cfs_conn_hand_on(struct cfs_conn *conn)
{
	struct cfs_conn_waiter *w;

	LIST_FOREACH(w, &conn->waiters, link)
	{
		if (w->is_sleeping && !w->is_done) {
			pthread_cond_signal(&w->cond);
			return;
		}
	}
}

void cfs_conn_set_watched(struct cfs_conn *conn, bool is_watched)
{
	struct epoll_event event = {
		.data.fd = cfs_link_fd(conn->link),
	};
	bool may = is_watched && !conn->is_gone;

	if (may == conn->is_watched)
		return;
	event.events = may ? EPOLLIN : 0;
	/* 0 still reports a hang-up: then it is taken out. */
	(void)epoll_ctl(conn->epoll_fd, may ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
			cfs_link_fd(conn->link), &event);
	conn->is_watched = may;
}

void cfs_conn_watch_soon(struct cfs_conn *conn)
{
	const struct itimerspec soon = { .it_value.tv_nsec = LINGER_NS };

	conn->was_used = true;
	if (conn->is_watched || conn->is_timed)
		return;
	if (timerfd_settime(conn->timer_fd, 0, &soon, NULL) == 0)
		conn->is_timed = true;
	else
		cfs_conn_set_watched(conn, true);
}

/* ---- the background thread ----------------------------------------------- */

/* Nobody has called for a while: what comes now is for us. */
static void on_timer(struct cfs_conn *conn)
{
	pthread_mutex_lock(&conn->lock);
	conn->is_timed = false;
	if (conn->waiter_count == 0 && conn->was_used) {
		cfs_conn_watch_soon(conn);
		conn->was_used = false;
	} else if (conn->waiter_count == 0) {
		cfs_conn_set_watched(conn, true);
	}
	pthread_mutex_unlock(&conn->lock);
}

/* Messages while nobody waits. */
static void read_in_background(struct cfs_conn *conn)
{
	bool may;

	pthread_mutex_lock(&conn->lock);
	may = !conn->has_reader && !conn->is_gone && conn->waiter_count == 0;
	conn->has_reader |= may;
	pthread_mutex_unlock(&conn->lock);
	if (!may)
		return;
	cfs_conn_read(conn, 0);
	pthread_mutex_lock(&conn->lock);
	conn->has_reader = false;
	cfs_conn_hand_on(conn);
	pthread_mutex_unlock(&conn->lock);
}

/* Returns how long to sleep, in milliseconds; -1: until woken. */
static int see_to_due(struct cfs_conn *conn)
{
	const uint64_t one = 1;
	uint64_t now, next;
	ssize_t n;

	if (!conn->opt.tick)
		return -1;
	next = conn->opt.tick(conn->opt.arg,
			      cfs_clock_elapsed_ns(conn->opt.clock));
	pthread_mutex_lock(&conn->lock);
	tell_news(conn);
	if (conn->waiter_count > conn->call_count) {
		n = write(conn->nudge_fd, &one, sizeof(one));
		(void)n;
	}
	pthread_mutex_unlock(&conn->lock);
	if (next == UINT64_MAX)
		return -1;
	now = cfs_clock_elapsed_ns(conn->opt.clock);
	if (next <= now)
		return 0;
	return (int)CFS_MIN((next - now) / CFS_NS_PER_MS + 1,
			    (uint64_t)INT_MAX);
}

void *cfs_conn_loop(void *arg)
{
	struct cfs_conn *conn = arg;
	struct epoll_event events[3];
	uint64_t wake_ns = 0; /* tick is due then */

	while (!conn->is_ending) {
		uint64_t now = cfs_clock_elapsed_ns(conn->opt.clock);
		int timeout = -1, n, i;

		if (atomic_exchange(&conn->is_kicked, false) ||
		    now >= wake_ns) {
			timeout = see_to_due(conn);
			now = cfs_clock_elapsed_ns(conn->opt.clock);
			wake_ns = timeout < 0 ? UINT64_MAX
					      : now + (uint64_t)timeout *
								CFS_NS_PER_MS;
		} else if (wake_ns != UINT64_MAX) {
			timeout = (int)CFS_MIN((wake_ns - now) / CFS_NS_PER_MS +
						       1,
					       (uint64_t)INT_MAX);
		}
		n = epoll_wait(conn->epoll_fd, events, 3, timeout);
		for (i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == conn->wake_fd || fd == conn->timer_fd)
				drain(fd);
			else
				read_in_background(conn);
			if (fd == conn->timer_fd)
				on_timer(conn);
		}
	}
	return NULL;
}
