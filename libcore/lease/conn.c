// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Calls over a connection: registered, sent, waited for.
 */
#include "lease/conn_priv.h"

#include "base/bits.h"
#include "base/cond.h"

#include <assert.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define CALLS_MAX   32u
#define STOP_ASK_NS (100 * CFS_NS_PER_MS)
/* A manager that takes nothing for so long is gone. */
#define SEND_MS     30000

/* What conditions measure with. */
static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * CFS_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* ---- life ---------------------------------------------------------------- */

static int open_descriptors(struct cfs_conn *conn, struct cfs_err *err)
{
	struct epoll_event event = { .events = EPOLLIN };

	conn->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	conn->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	conn->nudge_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	conn->timer_fd = timerfd_create(CLOCK_MONOTONIC,
					TFD_CLOEXEC | TFD_NONBLOCK);
	event.data.fd = conn->wake_fd;
	if (conn->epoll_fd < 0 || conn->wake_fd < 0 || conn->nudge_fd < 0 ||
	    conn->timer_fd < 0 ||
	    epoll_ctl(conn->epoll_fd, EPOLL_CTL_ADD, conn->wake_fd, &event) < 0)
		return cfs_err_errno(err, -errno, "connection");
	event.data.fd = conn->timer_fd;
	if (epoll_ctl(conn->epoll_fd, EPOLL_CTL_ADD, conn->timer_fd, &event) <
	    0)
		return cfs_err_errno(err, -errno, "connection");
	return 0;
}

static void conn_done(struct cfs_conn *conn)
{
	if (conn->epoll_fd >= 0)
		close(conn->epoll_fd);
	if (conn->wake_fd >= 0)
		close(conn->wake_fd);
	if (conn->nudge_fd >= 0)
		close(conn->nudge_fd);
	if (conn->timer_fd >= 0)
		close(conn->timer_fd);
	cfs_link_free(conn->link);
	pthread_cond_destroy(&conn->turn);
	pthread_mutex_destroy(&conn->lock);
	pthread_mutex_destroy(&conn->send_lock);
	free(conn);
}

static int start_thread(struct cfs_conn *conn, struct cfs_err *err)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&conn->thread, NULL, cfs_conn_loop, conn);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0)
		return cfs_err_errno(err, -r, "connection");
	(void)pthread_setname_np(conn->thread, "cfs-conn");
	return 0;
}

int cfs_conn_new(struct cfs_link *link, const struct cfs_conn_options *opt,
		 struct cfs_conn **ret, struct cfs_err *err)
{
	struct cfs_conn *conn = calloc(1, sizeof(*conn));
	int r;

	if (!conn) {
		cfs_link_free(link);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	conn->opt = *opt;
	conn->link = link;
	if (!conn->opt.clock)
		conn->opt.clock = cfs_clock_system();
	if (!conn->opt.calls_max)
		conn->opt.calls_max = CALLS_MAX;
	conn->epoll_fd = conn->wake_fd = -1;
	conn->nudge_fd = conn->timer_fd = -1;
	pthread_mutex_init(&conn->send_lock, NULL);
	pthread_mutex_init(&conn->lock, NULL);
	cfs_cond_init(&conn->turn);
	LIST_INIT(&conn->waiters);
	r = open_descriptors(conn, err);
	if (r == 0) {
		cfs_conn_set_watched(conn, true);
		r = start_thread(conn, err);
	}
	if (r < 0) {
		conn_done(conn);
		return r;
	}
	*ret = conn;
	return 0;
}

static void wake(const struct cfs_conn *conn)
{
	const uint64_t one = 1;
	ssize_t n = write(conn->wake_fd, &one, sizeof(one));

	(void)n; /* it can only fail by being awake already */
}

void cfs_conn_kick(struct cfs_conn *conn)
{
	atomic_store(&conn->is_kicked, true);
	wake(conn);
}

void cfs_conn_free(struct cfs_conn *conn)
{
	if (!conn)
		return;
	assert(conn->waiter_count == 0);
	atomic_store(&conn->is_ending, true);
	wake(conn);
	pthread_join(conn->thread, NULL);
	conn_done(conn);
}

void cfs_conn_break(struct cfs_conn *conn)
{
	/* Whoever reads next sees the end, and tells it. */
	(void)shutdown(cfs_link_fd(conn->link), SHUT_RDWR);
}

bool cfs_conn_is_gone(const struct cfs_conn *conn)
{
	return conn->is_gone;
}

const struct cfs_link_peer *cfs_conn_peer(const struct cfs_conn *conn)
{
	return cfs_link_peer(conn->link);
}

void cfs_conn_stats(struct cfs_conn *conn, struct cfs_link_stats *ret)
{
	cfs_link_stats(conn->link, ret);
}

uint64_t cfs_conn_next_id(struct cfs_conn *conn)
{
	return atomic_fetch_add(&conn->next_id, 1) + 1;
}

/* ---- sending ------------------------------------------------------------- */

static int gone_error(struct cfs_conn *conn, struct cfs_err *err)
{
	char why[CFS_ERR_BYTES];
	int code;

	pthread_mutex_lock(&conn->lock);
	memcpy(why, conn->why.msg, sizeof(why));
	code = conn->why.code;
	pthread_mutex_unlock(&conn->lock);
	if (code == -EACCES) /* of TLS: no other connection will do */
		return cfs_err_set(err, code, "%s", why);
	return cfs_err_set(err, -ECONNRESET, "the manager is gone: %s",
			   why[0] ? why : "the connection has broken");
}

/* Until the socket takes more. */
static int wait_for_room(struct cfs_conn *conn)
{
	struct pollfd p = {
		.fd = cfs_link_fd(conn->link),
		.events = POLLOUT,
	};
	int r = poll(&p, 1, SEND_MS);

	return r > 0 || (r < 0 && errno == EINTR) ? 0 : -ETIMEDOUT;
}

/* Whole, so that nothing is left in the link when the lock is free. */
int cfs_conn_send(struct cfs_conn *conn, const void *msg, size_t bytes,
		  struct cfs_err *err)
{
	bool is_taken = false;
	int r;

	pthread_mutex_lock(&conn->send_lock);
	do {
		r = conn->is_gone ? -ECONNRESET
		    : is_taken    ? cfs_link_flush(conn->link, NULL)
				  : cfs_link_send(conn->link, msg, bytes, NULL);
		is_taken |= r == 0;
		if (r == 0 && (cfs_link_events(conn->link) & POLLOUT))
			r = -EAGAIN;
		if (r == -EAGAIN && wait_for_room(conn) < 0)
			r = -ETIMEDOUT;
	} while (r == -EAGAIN);
	pthread_mutex_unlock(&conn->send_lock);
	if (r == 0)
		return 0;
	cfs_conn_break(conn);
	return gone_error(conn, err);
}

static void fill_head(struct cfs_msg_head_disk *head, uint16_t type,
		      uint64_t id, size_t body_bytes)
{
	head->magic = le32_put(CFS_MSG_MAGIC);
	head->version = le16_put(CFS_MSG_VERSION);
	head->type = le16_put(type);
	head->bytes = le32_put((uint32_t)(CFS_MSG_HEAD_BYTES + body_bytes));
	head->status = le32_put(0);
	head->id = le64_put(id);
}

static int send_request(struct cfs_conn *conn, uint16_t type, uint64_t id,
			const void *body, size_t bytes, struct cfs_err *err)
{
	uint8_t small[CFS_MSG_HEAD_BYTES + 512], *msg = small;
	struct cfs_msg_head_disk head;
	int r;

	if (CFS_MSG_HEAD_BYTES + bytes > sizeof(small))
		msg = malloc(CFS_MSG_HEAD_BYTES + bytes);
	if (!msg)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	fill_head(&head, type, id, bytes);
	memcpy(msg, &head, sizeof(head));
	if (bytes)
		memcpy(msg + sizeof(head), body, bytes);
	if (conn->opt.sent && type > CFS_MSG_TYPE_LEASE_LAST &&
	    type != CFS_MSG_REQUEST_CANCEL)
		conn->opt.sent(conn->opt.arg, id);
	r = cfs_conn_send(conn, msg, CFS_MSG_HEAD_BYTES + bytes, err);
	if (msg != small)
		free(msg);
	return r;
}

/* ---- waiting ------------------------------------------------------------- */

/* What is left of a wait. */
struct limit {
	const struct cfs_conn_wait *wait; /* may be NULL */
	uint64_t until_ns;
};

static struct limit limit_of(const struct cfs_conn_wait *wait)
{
	struct limit limit = { .wait = wait, .until_ns = UINT64_MAX };

	if (wait && wait->timeout_ns)
		limit.until_ns = cfs_deadline_add(monotonic_ns(),
						  wait->timeout_ns);
	return limit;
}

/* 0: wait for at most *ret_ns, then ask again. */
static int limit_ask(const struct limit *limit, uint64_t *ret_ns,
		     struct cfs_err *err)
{
	const struct cfs_conn_wait *wait = limit->wait;
	uint64_t now, left;

	/* An hour: nothing depends on it. */
	left = 3600 * CFS_NS_PER_S;
	if (limit->until_ns != UINT64_MAX) {
		now = monotonic_ns();
		if (now >= limit->until_ns)
			return cfs_err_set(err, -ETIMEDOUT,
					   "the manager does "
					   "not answer");
		left = CFS_MIN(left, limit->until_ns - now);
	}
	if (wait && wait->stop) {
		if (wait->stop(wait->arg))
			return cfs_err_set(err, -EINTR, "stopped");
		left = CFS_MIN(left, STOP_ASK_NS);
	}
	*ret_ns = left;
	return 0;
}

/* With the lock. */
static void enter(struct cfs_conn *conn, struct cfs_conn_waiter *w)
{
	cfs_cond_init(&w->cond);
	STAILQ_INIT(&w->parts);
	LIST_INSERT_HEAD(&conn->waiters, w, link);
	conn->call_count += w->id != 0;
	if (conn->waiter_count++ == 0)
		cfs_conn_set_watched(conn, false);
}

/* With the lock. */
static void leave(struct cfs_conn *conn, struct cfs_conn_waiter *w)
{
	struct cfs_conn_part *part;

	LIST_REMOVE(w, link);
	if (w->id) {
		conn->call_count--;
		pthread_cond_signal(&conn->turn);
	}
	if (--conn->waiter_count == 0)
		cfs_conn_watch_soon(conn);
	else if (!conn->has_reader)
		cfs_conn_hand_on(conn);
	pthread_cond_destroy(&w->cond);
	while ((part = STAILQ_FIRST(&w->parts))) {
		STAILQ_REMOVE_HEAD(&w->parts, link);
		free(part);
	}
}

/* Read, if nobody does; else sleep.  With the lock, which is let go. */
static void wait_once(struct cfs_conn *conn, struct cfs_conn_waiter *w,
		      uint64_t wait_ns)
{
	if (conn->has_reader) {
		w->is_sleeping = true;
		(void)cfs_cond_wait_ns(&w->cond, &conn->lock, wait_ns);
		w->is_sleeping = false;
		return;
	}
	conn->has_reader = true;
	pthread_mutex_unlock(&conn->lock);
	cfs_conn_read(conn, wait_ns);
	pthread_mutex_lock(&conn->lock);
	conn->has_reader = false;
	if (w->is_done)
		cfs_conn_hand_on(conn);
}

/* ---- calls --------------------------------------------------------------- */

/* Until there are fewer calls.  With the lock. */
static int wait_for_turn(struct cfs_conn *conn, const struct limit *limit,
			 struct cfs_err *err)
{
	while (!conn->is_gone && conn->call_count >= conn->opt.calls_max) {
		uint64_t wait_ns;
		int r = limit_ask(limit, &wait_ns, err);

		if (r < 0)
			return r;
		(void)cfs_cond_wait_ns(&conn->turn, &conn->lock, wait_ns);
	}
	return 0;
}

/* Those parts that have come, without the lock meanwhile. */
static int take_parts(struct cfs_conn *conn, struct cfs_conn_waiter *w,
		      cfs_conn_part_fn fn, void *arg, struct cfs_err *err)
{
	struct cfs_conn_part *part;
	int r = 0;

	while (r == 0 && (part = STAILQ_FIRST(&w->parts))) {
		STAILQ_REMOVE_HEAD(&w->parts, link);
		pthread_mutex_unlock(&conn->lock);
		r = fn ? fn(arg, part->data, part->bytes, err)
		       : cfs_err_set(err, -EPROTO, "an answer in parts");
		free(part);
		pthread_mutex_lock(&conn->lock);
	}
	return r;
}

/* With the lock.  @ret_is_open: the manager still works at it. */
static int wait_for_answer(struct cfs_conn *conn, struct cfs_conn_waiter *w,
			   const struct limit *limit, cfs_conn_part_fn fn,
			   void *arg, bool *ret_is_open, struct cfs_err *err)
{
	*ret_is_open = true;
	for (;;) {
		uint64_t wait_ns;
		int r = take_parts(conn, w, fn, arg, err);

		if (r != 0)
			return r;
		if (w->is_done)
			break;
		if (conn->is_gone) {
			*ret_is_open = false;
			return -ECONNRESET; /* said without the lock */
		}
		pthread_mutex_unlock(&conn->lock);
		r = limit_ask(limit, &wait_ns, err);
		pthread_mutex_lock(&conn->lock);
		if (r < 0)
			return r;
		if (!w->is_done && STAILQ_EMPTY(&w->parts) && !conn->is_gone)
			wait_once(conn, w, wait_ns);
	}
	*ret_is_open = false;
	if (w->code == 0)
		return 0;
	if (w->err.code == w->code)
		return cfs_err_set(err, w->code, "%s", w->err.msg);
	return cfs_err_errno(err, w->code, "answer");
}

static int enter_call(struct cfs_conn *conn, struct cfs_conn_waiter *w,
		      const struct limit *limit, struct cfs_err *err)
{
	int r;

	pthread_mutex_lock(&conn->lock);
	r = wait_for_turn(conn, limit, err);
	if (r == 0)
		enter(conn, w);
	pthread_mutex_unlock(&conn->lock);
	return r;
}

int cfs_conn_stream(struct cfs_conn *conn, uint16_t type, const void *body,
		    size_t bytes, const struct cfs_conn_wait *wait,
		    cfs_conn_part_fn part, void *arg, struct cfs_buf *reply,
		    struct cfs_err *err)
{
	struct cfs_conn_waiter w = {
		.id = cfs_conn_next_id(conn),
		.reply = reply,
	};
	const struct limit limit = limit_of(wait);
	bool is_open = false;
	int r;

	if (bytes > CFS_MSG_BODY_MAX)
		return cfs_err_errno(err, -EMSGSIZE, "request");
	r = enter_call(conn, &w, &limit, err);
	if (r < 0)
		return r;
	r = send_request(conn, type, w.id, body, bytes, err);
	pthread_mutex_lock(&conn->lock);
	if (r == 0)
		r = wait_for_answer(conn, &w, &limit, part, arg, &is_open, err);
	leave(conn, &w);
	pthread_mutex_unlock(&conn->lock);
	if (is_open)
		(void)send_request(conn, CFS_MSG_REQUEST_CANCEL, w.id, NULL, 0,
				   NULL);
	if (r == -ECONNRESET && conn->is_gone)
		return gone_error(conn, err);
	return r;
}

int cfs_conn_call(struct cfs_conn *conn, uint16_t type, const void *body,
		  size_t bytes, const struct cfs_conn_wait *wait,
		  struct cfs_buf *reply, struct cfs_err *err)
{
	return cfs_conn_stream(conn, type, body, bytes, wait, NULL, NULL, reply,
			       err);
}

void cfs_conn_expect(struct cfs_conn *conn)
{
	pthread_mutex_lock(&conn->lock);
	if (conn->waiter_count++ == 0)
		cfs_conn_set_watched(conn, false);
	pthread_mutex_unlock(&conn->lock);
}

void cfs_conn_expect_end(struct cfs_conn *conn)
{
	pthread_mutex_lock(&conn->lock);
	if (--conn->waiter_count == 0)
		cfs_conn_watch_soon(conn);
	pthread_mutex_unlock(&conn->lock);
}

int cfs_conn_wait(struct cfs_conn *conn, bool (*is_done)(void *arg), void *arg,
		  const struct cfs_conn_wait *wait, struct cfs_err *err)
{
	const struct limit limit = limit_of(wait);
	struct cfs_conn_waiter w = { .id = 0 };
	bool is_gone = false, has_come = false;
	int r = 0;

	pthread_mutex_lock(&conn->lock);
	enter(conn, &w);
	for (;;) {
		uint64_t news = conn->news, wait_ns = 0;

		is_gone = conn->is_gone;
		pthread_mutex_unlock(&conn->lock);
		has_come = is_done(arg);
		if (!has_come && !is_gone)
			r = limit_ask(&limit, &wait_ns, err);
		pthread_mutex_lock(&conn->lock);
		if (has_come || is_gone || r < 0)
			break;
		if (news == conn->news)
			wait_once(conn, &w, wait_ns);
	}
	leave(conn, &w);
	pthread_mutex_unlock(&conn->lock);
	if (has_come)
		return 0;
	return is_gone ? gone_error(conn, err) : r;
}
