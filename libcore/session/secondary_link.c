/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A secondary's connection to the manager of the pool, whoever that is, and its
 * end.
 *
 * Bound is the lease client that AGAIN (or TAKE) was answered to over the
 * present connection: a manager that has not heard it yet may take the
 * container for abandoned, however alive that client is to it.
 */
#include "session/secondary_priv.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/le.h"
#include "session/dial.h"
#include "session/remote.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MS  2000u
#define RETRY_NS   (50 * CFS_NS_PER_MS)
#define GOODBYE_NS (10 * CFS_NS_PER_S)

/* ---- being told ---------------------------------------------------------- */

static void tell(struct cfs_secondary *sec, const char *why)
{
	bool is_first;

	pthread_mutex_lock(&sec->mutex);
	is_first = !sec->is_told;
	sec->is_told = true;
	pthread_mutex_unlock(&sec->mutex);
	if (is_first && sec->own.wanted)
		sec->own.wanted(sec->own.arg, why);
}

void secondary_over(struct cfs_secondary *sec, const char *why)
{
	pthread_mutex_lock(&sec->mutex);
	sec->is_over = true;
	sec->bound_client = 0;
	pthread_cond_broadcast(&sec->changed);
	pthread_mutex_unlock(&sec->mutex);
	tell(sec, why);
}

static void on_gone(void *arg, const struct cfs_err *why)
{
	struct cfs_secondary *sec = arg;

	(void)why;
	pthread_mutex_lock(&sec->mutex);
	pthread_cond_broadcast(&sec->changed);
	pthread_mutex_unlock(&sec->mutex);
}

static void on_notice(void *arg, const void *msg, size_t bytes)
{
	struct cfs_secondary *sec = arg;
	struct cfs_wire_get body;
	struct cfs_msg_head head;

	if (cfs_msg_open(msg, bytes, &head, &body, NULL) < 0 ||
	    head.type != CFS_DELEGATE_WANTED)
		return;
	if (cfs_wire_get_u64(&body) == sec->container &&
	    cfs_wire_get_u64(&body) == sec->epoch && !body.is_bad)
		tell(sec, "the manager of the pool wants it back");
}

/* ---- the connection ------------------------------------------------------ */

static const struct cfs_conn_wait answer_wait = {
	.timeout_ns = ANSWER_MS * CFS_NS_PER_MS,
};

static int say_hello(void *arg, struct cfs_link *link, struct cfs_err *err)
{
	struct cfs_secondary *sec = arg;
	struct cfs_lease_client_config config = { .cached_max = 0 };
	const struct cfs_leaser_hooks hooks = {
		.notice = on_notice,
		.gone = on_gone,
		.arg = sec,
	};

	cfs_remote_hello_fill(cfs_devset_label(sec->set, 0)->pool_uuid,
			      &config.hello);
	config.hello.flags = CFS_HELLO_DURABLE | CFS_HELLO_SECONDARY;
	return cfs_leaser_connect(link, &config, &hooks, &answer_wait,
				  &sec->leaser, err);
}

static int say_again(void *arg, struct cfs_link *link, struct cfs_err *err)
{
	struct cfs_secondary *sec = arg;

	return cfs_leaser_reconnect(sec->leaser, link, &answer_wait, err);
}

/* With the link. */
static bool is_connected(const struct cfs_secondary *sec)
{
	struct cfs_conn *conn = sec->leaser ? cfs_leaser_conn(sec->leaser)
					    : NULL;

	return conn && !cfs_conn_is_gone(conn) && !sec->is_down;
}

static bool has_link(struct cfs_secondary *sec)
{
	bool has;

	pthread_rwlock_rdlock(&sec->link);
	has = is_connected(sec);
	pthread_rwlock_unlock(&sec->link);
	return has;
}

int secondary_connect(struct cfs_secondary *sec, struct cfs_err *err)
{
	struct cfs_seat seat;
	int r = 0;

	pthread_rwlock_wrlock(&sec->link);
	if (is_connected(sec))
		goto out;
	/* Whoever it is now, it does not know us yet. */
	pthread_mutex_lock(&sec->mutex);
	sec->bound_client = 0;
	pthread_mutex_unlock(&sec->mutex);
	sec->is_down = true;
	r = cfs_seat_read(sec->set, &seat, err);
	if (r == 0 && (seat.state != CFS_SEAT_OPEN || !seat.address[0]))
		r = cfs_err_set(err, -EBUSY,
				"nobody manages the pool, or does "
				"not answer: start cfsd");
	if (r == 0)
		r = cfs_dial(seat.address, &sec->s->opt, ANSWER_MS,
			     "its manager", sec->leaser ? say_again : say_hello,
			     sec, err);
	if (r == 0)
		sec->is_down = false;
out:
	pthread_rwlock_unlock(&sec->link);
	return r;
}

static int take_part(void *arg, const uint8_t *body, size_t bytes,
		     struct cfs_err *err)
{
	return cfs_buf_append(arg, body, bytes) < 0
		       ? cfs_err_set(err, -ENOMEM, "out of memory")
		       : 0;
}

/* Who we are to the manager, and whether that lives. */
static uint64_t living_client(struct cfs_secondary *sec)
{
	struct cfs_lease_client *client = cfs_leaser_lock(sec->leaser);
	uint64_t id = cfs_lease_client_is_alive(client)
			      ? cfs_lease_client_id(client)
			      : 0;

	cfs_leaser_unlock(sec->leaser);
	return id;
}

static void link_is_down(struct cfs_secondary *sec)
{
	pthread_rwlock_wrlock(&sec->link);
	sec->is_down = true;
	pthread_rwlock_unlock(&sec->link);
}

/* A manager that has answered no renewal for a period of ours may stand still,
 * with a connection that stays; there may be another one by now. */
static bool is_given_up(void *arg)
{
	return !living_client(arg);
}

/* Over the connection as it is.  -ECONNRESET: there is none. */
static int call_once(struct cfs_secondary *sec, uint16_t type,
		     const struct cfs_delegate_request *q,
		     struct cfs_buf *reply, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf body = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf parts = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf last = CFS_BUF_INIT;
	const struct cfs_conn_wait wait = {
		.stop = is_given_up,
		.arg = sec,
	};
	int r = cfs_delegate_request_pack(q, &body);

	if (r < 0)
		return cfs_err_set(err, r, "out of memory");
	pthread_rwlock_rdlock(&sec->link);
	r = is_connected(sec)
		    ? cfs_conn_stream(cfs_leaser_conn(sec->leaser), type,
				      body.data, body.bytes, &wait, take_part,
				      &parts, &last, err)
		    : cfs_err_set(err, -ECONNRESET, "no connection");
	pthread_rwlock_unlock(&sec->link);
	if (r == -EINTR) {
		link_is_down(sec);
		return cfs_err_set(err, -ECONNRESET, "no answer");
	}
	if (r == 0 && reply &&
	    (cfs_buf_append(reply, parts.data, parts.bytes) < 0 ||
	     cfs_buf_append(reply, last.data, last.bytes) < 0))
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	return r;
}

/* Or of the client that we are there: it was ended, and we come back as a new
 * one. */
static bool is_of_link(int r)
{
	return r == -ECONNRESET || r == -ESHUTDOWN || r == -EPIPE ||
	       r == -ENOTCONN || r == -EAGAIN || r == -ESTALE;
}

static bool must_stop(struct cfs_secondary *sec)
{
	bool must;

	pthread_mutex_lock(&sec->mutex);
	must = sec->is_over;
	pthread_mutex_unlock(&sec->mutex);
	return must;
}

int secondary_call(struct cfs_secondary *sec, uint16_t type,
		   const struct cfs_delegate_request *q, uint64_t patience_ns,
		   struct cfs_buf *reply, struct cfs_err *err)
{
	struct cfs_clock *clock = cfs_clock_system();
	const uint64_t end_ns = cfs_deadline_add(cfs_clock_elapsed_ns(clock),
						 patience_ns);
	int r;

	for (;;) {
		if (must_stop(sec))
			return cfs_err_set(err, -ESTALE,
					   "another process has "
					   "the container");
		r = call_once(sec, type, q, reply, err);
		if (r == -ESTALE)
			link_is_down(sec);
		/* A manager that has just come does not know us by this
		 * client; the thread tells it. */
		if (!is_of_link(r) && (r != -EREMCHG || !sec->has_thread ||
				       secondary_is_bound(sec)))
			return r == -EREMCHG ? -ESTALE : r;
		if (cfs_clock_elapsed_ns(clock) >= end_ns)
			return cfs_err_set(err, -EBUSY,
					   "the manager of the "
					   "pool does not answer");
		cfs_clock_sleep_until(clock,
				      cfs_clock_elapsed_ns(clock) + RETRY_NS);
	}
}

/* ---- bound --------------------------------------------------------------- */

void secondary_bind(struct cfs_secondary *sec)
{
	const uint64_t id = living_client(sec);

	pthread_mutex_lock(&sec->mutex);
	sec->bound_client = sec->is_over ? 0 : id;
	pthread_mutex_unlock(&sec->mutex);
}

bool secondary_is_bound(struct cfs_secondary *sec)
{
	uint64_t bound;

	pthread_mutex_lock(&sec->mutex);
	bound = sec->bound_client;
	pthread_mutex_unlock(&sec->mutex);
	return bound && living_client(sec) == bound;
}

static struct cfs_delegate_request about_us(struct cfs_secondary *sec)
{
	struct cfs_delegate_request q = {
		.container = sec->container,
		.epoch = sec->epoch,
		.who = sec->who,
	};

	pthread_mutex_lock(&sec->mutex);
	memcpy(q.address, sec->address, sizeof(q.address));
	q.flags = sec->has_clients ? CFS_DELEGATE_HAS_CLIENTS : 0;
	pthread_mutex_unlock(&sec->mutex);
	return q;
}

/* Once.  Bound is who we were when it was sent, if that is who we are. */
static int again_once(struct cfs_secondary *sec, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf reply = CFS_BUF_INIT;
	const struct cfs_delegate_request q = about_us(sec);
	const uint64_t id = living_client(sec);
	le64 flags;
	int r = call_once(sec, CFS_DELEGATE_AGAIN, &q, &reply, err);

	if (r == -ESTALE)
		link_is_down(sec);
	if (r == -EREMCHG)
		secondary_over(sec, "the manager of the pool has taken the "
				    "container over");
	if (r < 0)
		return r;
	if (reply.bytes != sizeof(flags))
		return cfs_err_set(err, -EPROTO,
				   "an answer that makes no "
				   "sense");
	memcpy(&flags, reply.data, sizeof(flags));
	pthread_mutex_lock(&sec->mutex);
	if (!sec->is_over)
		sec->bound_client = id;
	pthread_mutex_unlock(&sec->mutex);
	if (le64_get(flags) & CFS_DELEGATE_IS_WANTED)
		tell(sec, "the manager of the pool wants it back");
	return 0;
}

int secondary_again(struct cfs_secondary *sec, uint64_t patience_ns,
		    struct cfs_err *err)
{
	struct cfs_clock *clock = cfs_clock_system();
	const uint64_t end_ns = cfs_deadline_add(cfs_clock_elapsed_ns(clock),
						 patience_ns);
	int r;

	while ((r = again_once(sec, err)) < 0 && !must_stop(sec) &&
	       is_of_link(r)) {
		if (cfs_clock_elapsed_ns(clock) >= end_ns)
			return r;
		cfs_clock_sleep_until(clock,
				      cfs_clock_elapsed_ns(clock) + RETRY_NS);
	}
	return r;
}

/* ---- the thread ---------------------------------------------------------- */

void cfs_secondary_wake(struct cfs_secondary *sec)
{
	pthread_mutex_lock(&sec->mutex);
	sec->is_woken = true;
	pthread_cond_broadcast(&sec->changed);
	pthread_mutex_unlock(&sec->mutex);
}

/* -1: nothing.  What it is goes with all that the manager hears from now on. */
static int mark_wanted(struct cfs_secondary *sec)
{
	struct cfs_session *s = sec->s;
	int wanted;

	pthread_mutex_lock(&s->users_lock);
	wanted = s->serve ? cfs_serve_mark_wanted(s->serve) : -1;
	pthread_mutex_unlock(&s->users_lock);
	if (wanted < 0)
		return wanted;
	pthread_mutex_lock(&sec->mutex);
	sec->has_clients = wanted;
	pthread_mutex_unlock(&sec->mutex);
	return wanted;
}

/*
 * Whoever has the container next waits for our clients, if there are any: the
 * manager knows it before the first one is welcome, and when the last one has
 * gone.  Told by this thread, with no lock that others want meanwhile.
 */
static void see_to_mark(struct cfs_secondary *sec)
{
	struct cfs_session *s = sec->s;
	const int wanted = mark_wanted(sec);
	int r;

	if (wanted < 0)
		return;
	r = again_once(sec, NULL);
	pthread_mutex_lock(&s->users_lock);
	if (s->serve)
		cfs_serve_mark_told(s->serve, wanted, r);
	pthread_mutex_unlock(&s->users_lock);
}

static void *run(void *arg)
{
	struct cfs_secondary *sec = arg;
	uint64_t pause = CFS_NS_PER_S;

	pthread_mutex_lock(&sec->mutex);
	while (!sec->is_ending && !sec->is_over) {
		sec->is_woken = false;
		pthread_mutex_unlock(&sec->mutex);
		pause = CFS_NS_PER_S / 5;
		if (!secondary_is_bound(sec) || !has_link(sec)) {
			pause = RETRY_NS;
			if (secondary_connect(sec, NULL) == 0)
				(void)again_once(sec, NULL);
		} else {
			see_to_mark(sec);
		}
		pthread_mutex_lock(&sec->mutex);
		if (!sec->is_ending && !sec->is_over && !sec->is_woken)
			(void)cfs_cond_wait_ns(&sec->changed, &sec->mutex,
					       pause);
	}
	pthread_mutex_unlock(&sec->mutex);
	return NULL;
}

int secondary_start(struct cfs_secondary *sec, struct cfs_err *err)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&sec->thread, NULL, run, sec);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	sec->has_thread = r == 0;
	return r < 0 ? cfs_err_errno(err, r, "thread") : 0;
}

/* ---- life ---------------------------------------------------------------- */

struct cfs_secondary *secondary_new(struct cfs_session *s,
				    const struct cfs_secondary_options *own)
{
	struct cfs_secondary *sec = calloc(1, sizeof(*sec));

	if (!sec)
		return NULL;
	sec->s = s;
	sec->own = *own;
	pthread_rwlock_init(&sec->link, NULL);
	pthread_mutex_init(&sec->mutex, NULL);
	cfs_cond_init(&sec->changed);
	return sec;
}

void cfs_secondary_retire(struct cfs_secondary *sec)
{
	struct cfs_delegate_request q = about_us(sec);

	q.flags |= CFS_DELEGATE_IS_LEAVING;
	if (sec->container && secondary_is_bound(sec))
		(void)call_once(sec, CFS_DELEGATE_AGAIN, &q, NULL, NULL);
}

static void give_back(struct cfs_secondary *sec)
{
	const struct cfs_delegate_request about = about_us(sec);

	if (sec->container && !must_stop(sec))
		secondary_tell_left(sec);
	if (sec->container && !must_stop(sec))
		(void)secondary_call(sec, CFS_DELEGATE_RETURN, &about,
				     GOODBYE_NS, NULL, NULL);
}

void cfs_secondary_close(struct cfs_secondary *sec)
{
	if (!sec)
		return;
	give_back(sec);
	pthread_mutex_lock(&sec->mutex);
	sec->is_ending = true;
	pthread_cond_broadcast(&sec->changed);
	pthread_mutex_unlock(&sec->mutex);
	if (sec->has_thread)
		pthread_join(sec->thread, NULL);
	/* No goodbye: what the manager has not heard by now it learns from our
	 * mark, or when our period is over. */
	cfs_leaser_free(sec->leaser, sec->leaser && is_connected(sec));
	cfs_handed_list_donep(&sec->given);
	cfs_buf_donep(&sec->left);
	pthread_cond_destroy(&sec->changed);
	pthread_mutex_destroy(&sec->mutex);
	pthread_rwlock_destroy(&sec->link);
	free(sec);
}
