// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Waiting callers on top of the client's state machine.
 *
 * The lock order: the leaser's, then those of the connection, whose hooks are
 * called without any.
 */
#include "lease/conn_lease_priv.h"

#include <stdlib.h>
#include <string.h>

#define GOODBYE_NS CFS_NS_PER_S

/*
 * What was called may have changed when something is due.  Requests do not:
 * they only put the next renewal off.
 */
static void unlock_and_kick(struct cfs_leaser *leaser)
{
	leaser_unlock(leaser);
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

	leaser_lock(leaser);
	has = leaser->status != 1;
	leaser_unlock(leaser);
	return has;
}

int cfs_leaser_hello(struct cfs_leaser *leaser,
		     const struct cfs_conn_wait *wait, struct cfs_err *err)
{
	int r;

	leaser_lock(leaser);
	leaser->status = 1;
	cfs_lease_client_connected(leaser->client);
	unlock_and_kick(leaser);
	r = leaser->via.wait(leaser->via.arg, has_answer, leaser, wait, err);
	if (r < 0)
		return r;
	leaser_lock(leaser);
	r = leaser->status;
	if (r < 0 && leaser->why.code == r && err)
		*err = leaser->why;
	else if (r < 0)
		cfs_err_errno(err, r, "the manager");
	leaser_unlock(leaser);
	return r;
}

static bool said_goodbye(void *arg)
{
	struct cfs_leaser *leaser = arg;
	bool has_left;

	leaser_lock(leaser);
	has_left = leaser->has_left;
	leaser_unlock(leaser);
	return has_left;
}

void cfs_leaser_goodbye(struct cfs_leaser *leaser)
{
	const struct cfs_conn_wait wait = { .timeout_ns = GOODBYE_NS };
	bool is_known;

	if (leaser->conn && cfs_conn_is_gone(leaser->conn))
		return;
	leaser_lock(leaser);
	is_known = cfs_lease_client_is_welcome(leaser->client);
	leaser->has_left = false;
	if (is_known)
		cfs_lease_client_goodbye(leaser->client);
	leaser_unlock(leaser);
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
	leaser_lock(leaser);
	return leaser->client;
}

void cfs_leaser_unlock(struct cfs_leaser *leaser)
{
	unlock_and_kick(leaser);
}

void cfs_leaser_receive(struct cfs_leaser *leaser, const void *msg,
			size_t bytes)
{
	leaser_lock(leaser);
	(void)cfs_lease_client_receive(leaser->client, msg, bytes);
	leaser_unlock(leaser);
}

uint64_t cfs_leaser_tick(struct cfs_leaser *leaser)
{
	uint64_t next;

	leaser_lock(leaser);
	next = cfs_lease_client_tick(leaser->client);
	leaser_unlock(leaser);
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

static int conn_wait(void *arg, bool (*is_done)(void *done_arg), void *done_arg,
		     const struct cfs_conn_wait *wait, struct cfs_err *err)
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

	leaser_lock(leaser);
	cfs_lease_client_disconnected(leaser->client);
	leaser_unlock(leaser);
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

	leaser_lock(leaser);
	cfs_lease_client_sent(leaser->client, id);
	leaser_unlock(leaser);
}

static void conn_replied(void *arg, uint64_t id, int status)
{
	struct cfs_leaser *leaser = arg;

	leaser_lock(leaser);
	cfs_lease_client_replied(leaser->client, id, status);
	leaser_unlock(leaser);
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
	leaser_lock(leaser);
	r = cfs_conn_new(link, &opt, &leaser->conn, err);
	leaser_unlock(leaser);
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
			 const struct cfs_conn_wait *wait, struct cfs_err *err)
{
	struct cfs_conn *old = leaser->conn;

	/* Its last hooks may still want the lock. */
	cfs_conn_free(old);
	leaser_lock(leaser);
	leaser->conn = NULL;
	cfs_lease_client_disconnected(leaser->client);
	leaser_unlock(leaser);
	return connect_over(leaser, link, wait, err);
}
