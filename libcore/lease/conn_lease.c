// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Waiting callers on top of the client's state machine.
 *
 * The lock order: the leaser's, then those of the connection, whose hooks are
 * called without any.
 */
#include "lease/conn_lease.h"

#include "lease/period.h"

#include <stdlib.h>
#include <string.h>

#define GOODBYE_NS	CFS_NS_PER_S

struct cfs_leaser {
	struct cfs_leaser_via via;
	struct cfs_leaser_hooks hooks;
	struct cfs_lease_client *client;
	struct cfs_conn	*conn;		/* NULL: another way */
	struct cfs_lease_clock clock;	/* over a connection */
	pthread_mutex_t	lock;		/* over a connection */
	int		status;		/* of the hello: 1: none yet */
	struct cfs_err	why;
	bool		has_left;	/* goodbye was answered */
};

static void lock(struct cfs_leaser *leaser)
{
	pthread_mutex_lock(leaser->via.lock);
}

static void unlock(struct cfs_leaser *leaser)
{
	pthread_mutex_unlock(leaser->via.lock);
}

/*
 * What was called may have changed when something is due.  Requests do not:
 * they only put the next renewal off.
 */
static void unlock_and_kick(struct cfs_leaser *leaser)
{
	unlock(leaser);
	if (leaser->via.kick)
		leaser->via.kick(leaser->via.arg);
}

/* ---- calls out of the state machine -------------------------------------- */

static int on_send(void *arg, const void *msg, size_t bytes)
{
	struct cfs_leaser *leaser = arg;

	return leaser->via.send(leaser->via.arg, msg, bytes);
}

static uint64_t on_next_id(void *arg)
{
	struct cfs_leaser *leaser = arg;

	return leaser->via.next_id(leaser->via.arg);
}

static void on_done(void *arg, struct cfs_lease *lease, int status,
		    const struct cfs_err *err)
{
	struct cfs_held *held = cfs_lease_user_of(lease);

	(void)arg;
	held->status = status;
	held->is_waiting = false;
	if (err)
		held->err = *err;
	else
		held->err.code = 0;
}

static void on_recall(void *arg, struct cfs_lease *lease, uint64_t grant_id,
		      const struct cfs_lock_resource *resource, uint32_t mode)
{
	struct cfs_leaser *leaser = arg;

	leaser->hooks.recall(leaser->hooks.arg,
			     lease ? cfs_lease_user_of(lease) : NULL, grant_id,
			     resource, mode);
}

static void on_lost(void *arg, struct cfs_lease *lease)
{
	struct cfs_leaser *leaser = arg;

	if (leaser->hooks.lost)
		leaser->hooks.lost(leaser->hooks.arg,
				   lease ? cfs_lease_user_of(lease) : NULL);
}

static void on_dropped(void *arg, uint64_t grant_id,
		       const struct cfs_lock_resource *resource)
{
	struct cfs_leaser *leaser = arg;

	if (leaser->hooks.dropped)
		leaser->hooks.dropped(leaser->hooks.arg, grant_id, resource);
}

static void on_changed(void *arg, int status, const struct cfs_err *err)
{
	struct cfs_leaser *leaser = arg;

	leaser->has_left = true;
	leaser->status = status;
	if (err)
		leaser->why = *err;
	else
		leaser->why.code = 0;
	if (leaser->hooks.changed)
		leaser->hooks.changed(leaser->hooks.arg, status, err);
	/* A period has begun: there is something to renew. */
	if (leaser->via.kick)
		leaser->via.kick(leaser->via.arg);
}

/* ---- life ---------------------------------------------------------------- */

static int make_client(struct cfs_leaser *leaser,
		       const struct cfs_lease_client_config *config,
		       struct cfs_err *err)
{
	const struct cfs_lease_client_ops ops = {
		.send = on_send,
		.next_id = on_next_id,
		.done = on_done,
		.recall = leaser->hooks.recall ? on_recall : NULL,
		.lost = on_lost,
		.dropped = on_dropped,
		.changed = on_changed,
	};

	leaser->status = 1;
	return cfs_lease_client_new(config, &ops, leaser, leaser->via.clock,
				    &leaser->client, err);
}

int cfs_leaser_new(const struct cfs_leaser_via *via,
		   const struct cfs_lease_client_config *config,
		   const struct cfs_leaser_hooks *hooks,
		   struct cfs_leaser **ret, struct cfs_err *err)
{
	struct cfs_leaser *leaser = calloc(1, sizeof(*leaser));
	int r;

	if (!leaser)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	leaser->via = *via;
	if (hooks)
		leaser->hooks = *hooks;
	r = make_client(leaser, config, err);
	if (r < 0) {
		free(leaser);
		return r;
	}
	*ret = leaser;
	return 0;
}

static bool has_answer(void *arg)
{
	struct cfs_leaser *leaser = arg;
	bool has;

	lock(leaser);
	has = leaser->status != 1;
	unlock(leaser);
	return has;
}

int cfs_leaser_hello(struct cfs_leaser *leaser,
		     const struct cfs_conn_wait *wait, struct cfs_err *err)
{
	int r;

	lock(leaser);
	leaser->status = 1;
	cfs_lease_client_connected(leaser->client);
	unlock_and_kick(leaser);
	r = leaser->via.wait(leaser->via.arg, has_answer, leaser, wait, err);
	if (r < 0)
		return r;
	lock(leaser);
	r = leaser->status;
	if (r < 0 && leaser->why.code == r && err)
		*err = leaser->why;
	else if (r < 0)
		cfs_err_errno(err, r, "the manager");
	unlock(leaser);
	return r;
}

static bool said_goodbye(void *arg)
{
	struct cfs_leaser *leaser = arg;
	bool has_left;

	lock(leaser);
	has_left = leaser->has_left;
	unlock(leaser);
	return has_left;
}

void cfs_leaser_goodbye(struct cfs_leaser *leaser)
{
	const struct cfs_conn_wait wait = { .timeout_ns = GOODBYE_NS };
	bool is_known;

	if (leaser->conn && cfs_conn_is_gone(leaser->conn))
		return;
	lock(leaser);
	is_known = cfs_lease_client_is_welcome(leaser->client);
	leaser->has_left = false;
	if (is_known)
		cfs_lease_client_goodbye(leaser->client);
	unlock(leaser);
	if (is_known)
		(void)leaser->via.wait(leaser->via.arg, said_goodbye, leaser,
				       &wait, NULL);
}

void cfs_leaser_free(struct cfs_leaser *leaser, bool says_goodbye)
{
	bool is_over_conn;

	if (!leaser)
		return;
	is_over_conn = leaser->via.lock == &leaser->lock;
	if (says_goodbye && (!is_over_conn || leaser->conn))
		cfs_leaser_goodbye(leaser);
	cfs_conn_free(leaser->conn);
	cfs_lease_client_free(leaser->client);
	if (is_over_conn)
		pthread_mutex_destroy(&leaser->lock);
	free(leaser);
}

struct cfs_conn *cfs_leaser_conn(struct cfs_leaser *leaser)
{
	return leaser->conn;
}

struct cfs_lease_client *cfs_leaser_lock(struct cfs_leaser *leaser)
{
	lock(leaser);
	return leaser->client;
}

void cfs_leaser_unlock(struct cfs_leaser *leaser)
{
	unlock_and_kick(leaser);
}

void cfs_leaser_receive(struct cfs_leaser *leaser, const void *msg,
			size_t bytes)
{
	lock(leaser);
	(void)cfs_lease_client_receive(leaser->client, msg, bytes);
	unlock(leaser);
}

uint64_t cfs_leaser_tick(struct cfs_leaser *leaser)
{
	uint64_t next;

	lock(leaser);
	next = cfs_lease_client_tick(leaser->client);
	unlock(leaser);
	return next;
}

/* ---- over a connection --------------------------------------------------- */

static int conn_send(void *arg, const void *msg, size_t bytes)
{
	struct cfs_leaser *leaser = arg;

	if (!leaser->conn)
		return -ECONNRESET;
	return cfs_conn_send(leaser->conn, msg, bytes, NULL);
}

static uint64_t conn_next_id(void *arg)
{
	struct cfs_leaser *leaser = arg;
	static _Atomic uint64_t without;

	return leaser->conn ? cfs_conn_next_id(leaser->conn) : ++without;
}

static int conn_wait(void *arg, bool (*is_done)(void *done_arg),
		     void *done_arg, const struct cfs_conn_wait *wait,
		     struct cfs_err *err)
{
	struct cfs_leaser *leaser = arg;

	return cfs_conn_wait(leaser->conn, is_done, done_arg, wait, err);
}

static void conn_kick(void *arg)
{
	struct cfs_leaser *leaser = arg;

	if (leaser->conn)
		cfs_conn_kick(leaser->conn);
}

static void conn_expect(void *arg, bool begins)
{
	struct cfs_leaser *leaser = arg;

	if (begins)
		cfs_conn_expect(leaser->conn);
	else
		cfs_conn_expect_end(leaser->conn);
}

static void conn_message(void *arg, const void *msg, size_t bytes)
{
	struct cfs_leaser *leaser = arg;
	struct cfs_msg_head head;

	if (cfs_msg_head_unpack(msg, bytes, &head, NULL) < 0)
		return;
	if (head.type <= CFS_MSG_TYPE_LEASE_LAST)
		cfs_leaser_receive(leaser, msg, bytes);
	else if (leaser->hooks.notice)
		leaser->hooks.notice(leaser->hooks.arg, msg, bytes);
}

static void conn_gone(void *arg, const struct cfs_err *why)
{
	struct cfs_leaser *leaser = arg;

	lock(leaser);
	cfs_lease_client_disconnected(leaser->client);
	unlock(leaser);
	if (leaser->hooks.gone)
		leaser->hooks.gone(leaser->hooks.arg, why);
}

static uint64_t conn_tick(void *arg, uint64_t now_ns)
{
	(void)now_ns;
	return cfs_leaser_tick(arg);
}

static void conn_sent(void *arg, uint64_t id)
{
	struct cfs_leaser *leaser = arg;

	lock(leaser);
	cfs_lease_client_sent(leaser->client, id);
	unlock(leaser);
}

static void conn_replied(void *arg, uint64_t id, int status)
{
	struct cfs_leaser *leaser = arg;

	lock(leaser);
	cfs_lease_client_replied(leaser->client, id, status);
	unlock(leaser);
}

/* The connection, and hello over it. */
static int connect_over(struct cfs_leaser *leaser, struct cfs_link *link,
			const struct cfs_conn_wait *wait, struct cfs_err *err)
{
	const struct cfs_conn_options opt = {
		.message = conn_message,
		.gone = conn_gone,
		.tick = conn_tick,
		.sent = conn_sent,
		.replied = conn_replied,
		.arg = leaser,
		.clock = leaser->via.clock,
	};
	int r;

	/* Its background thread may ask for it at once. */
	lock(leaser);
	r = cfs_conn_new(link, &opt, &leaser->conn, err);
	unlock(leaser);
	return r < 0 ? r : cfs_leaser_hello(leaser, wait, err);
}

static void recursive_init(pthread_mutex_t *mutex)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(mutex, &attr);
	pthread_mutexattr_destroy(&attr);
}

int cfs_leaser_connect(struct cfs_link *link,
		       const struct cfs_lease_client_config *config,
		       const struct cfs_leaser_hooks *hooks,
		       const struct cfs_conn_wait *wait,
		       struct cfs_leaser **ret, struct cfs_err *err)
{
	struct cfs_leaser *leaser = calloc(1, sizeof(*leaser));
	struct cfs_lease_client_config ordered = *config;
	int r;

	if (!leaser) {
		cfs_link_free(link);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	recursive_init(&leaser->lock);
	cfs_lease_clock_init(&leaser->clock);
	if (hooks)
		leaser->hooks = *hooks;
	leaser->via = (struct cfs_leaser_via){
		.send = conn_send,
		.next_id = conn_next_id,
		.wait = conn_wait,
		.kick = conn_kick,
		.expect = conn_expect,
		.lock = &leaser->lock,
		.clock = &leaser->clock.clock,
		.arg = leaser,
	};
	ordered.is_ordered = true;
	r = make_client(leaser, &ordered, err);
	if (r < 0)
		cfs_link_free(link);
	else
		r = connect_over(leaser, link, wait, err);
	if (r < 0) {
		cfs_leaser_free(leaser, false);
		return r;
	}
	*ret = leaser;
	return 0;
}

int cfs_leaser_reconnect(struct cfs_leaser *leaser, struct cfs_link *link,
			 const struct cfs_conn_wait *wait,
			 struct cfs_err *err)
{
	struct cfs_conn *old = leaser->conn;

	/* Its last hooks may still want the lock. */
	cfs_conn_free(old);
	lock(leaser);
	leaser->conn = NULL;
	cfs_lease_client_disconnected(leaser->client);
	unlock(leaser);
	return connect_over(leaser, link, wait, err);
}

/* ---- leases -------------------------------------------------------------- */

static void expect(struct cfs_leaser *leaser, bool begins)
{
	if (leaser->via.expect)
		leaser->via.expect(leaser->via.arg, begins);
}

static bool is_settled(void *arg)
{
	struct cfs_held *held = arg;
	bool is;

	lock(held->leaser);
	is = !held->is_waiting;
	unlock(held->leaser);
	return is;
}

/* What a request came to; @held is settled.  With the lock. */
static int outcome(const struct cfs_held *held, struct cfs_err *err)
{
	if (held->status == 0)
		return 0;
	if (held->err.code == held->status)
		return cfs_err_set(err, held->status, "%s", held->err.msg);
	return cfs_err_errno(err, held->status, "lease");
}

/* Until the request of @held has come to something. */
static int settle(struct cfs_held *held, const struct cfs_conn_wait *wait,
		  struct cfs_err *err)
{
	struct cfs_leaser *leaser = held->leaser;

	return leaser->via.wait(leaser->via.arg, is_settled, held, wait, err);
}

/*
 * What the owner has asked back may still serve another of our requests for a
 * while; the owner says so once, so the new one is told here.  With the lock.
 */
static void tell_if_recalled(struct cfs_held *held)
{
	struct cfs_leaser *leaser = held->leaser;
	uint32_t mode;

	if (leaser->hooks.recall && cfs_lease_is_recalled(held->lease, &mode))
		leaser->hooks.recall(leaser->hooks.arg, held,
				     cfs_lease_grant_of(held->lease),
				     cfs_lease_resource_of(held->lease), mode);
}

int cfs_leaser_acquire(struct cfs_leaser *leaser,
		       const struct cfs_lease_request *req,
		       const struct cfs_conn_wait *wait,
		       struct cfs_held **ret, struct cfs_err *err)
{
	struct cfs_held *held = calloc(1, sizeof(*held));
	struct cfs_lease_request mine = *req;
	bool is_waiting;
	int r;

	if (!held)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	held->leaser = leaser;
	held->user = req->user;
	held->is_waiting = true;
	mine.user = held;
	expect(leaser, true);
	lock(leaser);
	r = cfs_lease_client_acquire(leaser->client, &mine, &held->lease, err);
	if (r == 0 && cfs_lease_state_of(held->lease) == CFS_LEASE_HELD)
		held->is_waiting = false;
	is_waiting = r == 0 && held->is_waiting;
	unlock(leaser);
	if (is_waiting)
		r = settle(held, wait, err);
	expect(leaser, false);
	if (!held->lease) {
		free(held);
		return r;
	}
	lock(leaser);
	/* It may have come while we gave up. */
	if (!held->is_waiting)
		r = outcome(held, err);
	if (r == 0)
		tell_if_recalled(held);
	unlock(leaser);
	if (r < 0)
		cfs_leaser_release(held);
	else
		*ret = held;
	return r;
}

int cfs_leaser_change(struct cfs_held *held, uint32_t mode, bool is_patient,
		      const struct cfs_conn_wait *wait, struct cfs_err *err)
{
	struct cfs_leaser *leaser = held->leaser;
	bool is_waiting;
	int r;

	expect(leaser, true);
	lock(leaser);
	held->is_waiting = true;
	held->status = 0;
	r = cfs_lease_client_change(held->lease, mode, is_patient, err);
	/* What covers it has it: a weaker mode is never waited for. */
	if (r < 0 || cfs_lock_mode_covers(cfs_lease_mode_of(held->lease),
					  mode))
		held->is_waiting = false;
	is_waiting = held->is_waiting;
	unlock(leaser);
	if (is_waiting)
		r = settle(held, wait, err);
	expect(leaser, false);
	lock(leaser);
	/* It may have come at once, or while we gave up. */
	if (!held->is_waiting)
		r = r < 0 && !is_waiting ? r : outcome(held, err);
	else if (is_waiting)
		cfs_lease_client_change_cancel(held->lease);
	unlock(leaser);
	return r;
}

void cfs_leaser_release(struct cfs_held *held)
{
	struct cfs_leaser *leaser;

	if (!held)
		return;
	leaser = held->leaser;
	lock(leaser);
	cfs_lease_client_release(held->lease);
	unlock(leaser);
	free(held);
}

bool cfs_leaser_may_start(struct cfs_held *held, uint64_t duration_ns)
{
	bool may;

	lock(held->leaser);
	may = cfs_lease_client_may_start(held->lease, duration_ns);
	unlock(held->leaser);
	return may;
}

bool cfs_leaser_still_holds(struct cfs_held *held)
{
	bool holds;

	lock(held->leaser);
	holds = cfs_lease_client_still_holds(held->lease);
	unlock(held->leaser);
	return holds;
}

void cfs_leaser_name(struct cfs_held *held, struct cfs_lease_name *ret)
{
	lock(held->leaser);
	cfs_lease_name_of(held->lease, ret);
	unlock(held->leaser);
}
