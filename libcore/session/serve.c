// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The lock table of a session, behind its lock, and how messages reach it.
 *
 * One lock for the owner and for the clients of this process: an owner's
 * message to one of these is a call into it, and its answer a call back.  The
 * order: this lock, then the server's; the server calls us with none.
 */
#include "session/serve_run_priv.h"

#include "base/cond.h"

#include "lease/hand.h"
#include "lease/period.h"
#include "pool/holder.h"
#include "session/secondary.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Peers of this process: above all that a server ever counts to. */
#define LOCAL_PEER (UINT64_C(1) << 63)
#define LOOK_NS    (100 * CFS_NS_PER_MS) /* whether some live still */

struct cfs_owner *cfs_serve_lock(struct cfs_serve *serve)
{
	pthread_mutex_lock(&serve->lock);
	return serve->owner;
}

/* Local callers that wait look again: something may have been granted. */
static void unlock_quietly(struct cfs_serve *serve)
{
	if (serve->locals)
		pthread_cond_broadcast(&serve->news);
	pthread_mutex_unlock(&serve->lock);
}

void cfs_serve_unlock(struct cfs_serve *serve)
{
	unlock_quietly(serve);
	cfs_server_kick(serve->server);
}

void cfs_serve_unlock_unchanged(struct cfs_serve *serve)
{
	pthread_mutex_unlock(&serve->lock);
}

bool cfs_serve_may_answer(const struct cfs_session *s)
{
	return !s->holder || !cfs_holder_is_shared(s->holder) ||
	       cfs_holder_may_ack(s->holder);
}

/* Not if another may have the pool by now, or the container. */
static bool may_say(const struct cfs_session *s)
{
	return cfs_serve_may_answer(s) &&
	       (!s->secondary ||
		cfs_secondary_may_answer(s->secondary, NULL) == 0);
}

/* ---- what the owner wants ------------------------------------------------ */

static struct cfs_local *find_local(struct cfs_serve *serve, uint64_t peer)
{
	struct cfs_local *l;

	for (l = serve->locals; l && l->peer != peer; l = l->next)
		;
	return l;
}

static int on_send(void *arg, uint64_t peer, const void *msg, size_t bytes)
{
	struct cfs_serve *serve = arg;
	struct cfs_local *l;

	if (!(peer & LOCAL_PEER))
		return cfs_server_send(serve->server, peer, msg, bytes);
	l = find_local(serve, peer);
	if (!l || !l->leaser)
		return -ENOTCONN;
	cfs_leaser_receive(l->leaser, msg, bytes);
	return 0;
}

/* Behind what a timer or somebody's end let us decide, as behind a message. */
static bool on_may_say(void *arg, uint64_t peer)
{
	struct cfs_serve *serve = arg;

	if (peer & LOCAL_PEER || may_say(serve->session))
		return true;
	cfs_server_drop_peer(serve->server, peer, false);
	return false;
}

static void on_event(void *arg, const struct cfs_lease_event *event)
{
	struct cfs_serve *serve = arg;

	if (serve->hooks.event)
		serve->hooks.event(serve->hooks.arg, event);
	/* It has a period left to return what it has. */
	if (event->kind == CFS_EVENT_STOP)
		cfs_serve_delegate_want(serve->delegate, event->client_id);
}

static void on_seal(void *arg, uint64_t client, uint64_t lease,
		    enum cfs_owner_end end)
{
	struct cfs_serve *serve = arg;

	if (serve->hooks.seal)
		serve->hooks.seal(serve->hooks.arg, client, lease, end);
	else
		cfs_owner_sealed(serve->owner, client, lease);
}

static void on_lost(void *arg, uint64_t client, enum cfs_owner_end end)
{
	struct cfs_serve *serve = arg;

	if (serve->former)
		cfs_former_ended(serve->former, client);
	if (serve->hooks.lost)
		serve->hooks.lost(serve->hooks.arg, client, end);
	cfs_serve_delegate_ended(serve->delegate, client, end);
}

static int on_operator_gone(void *arg, uint64_t client, const char *host)
{
	struct cfs_serve *serve = arg;
	int r = serve->hooks.gone
			? serve->hooks.gone(serve->hooks.arg, client, host)
			: -ENOENT;
	int r2 = cfs_serve_delegate_gone(serve->delegate, client, host);
	int r3 = client ? -ENOENT
			: cfs_serve_gone_host(serve, &serve->gone, host);

	if (r3 != -ENOENT)
		return r3;
	return r == -ENOENT ? r2 : r;
}

static uint64_t on_generation(void *arg, uint64_t client,
			      const struct cfs_lock_resource *resource,
			      uint32_t mode)
{
	struct cfs_serve *serve = arg;

	if (serve->hooks.generation)
		return serve->hooks.generation(serve->hooks.arg, client,
					       resource, mode);
	return ++serve->generation;
}

void cfs_serve_set_hooks(struct cfs_serve *serve,
			 const struct cfs_serve_hooks *hooks)
{
	pthread_mutex_lock(&serve->lock);
	serve->hooks = hooks ? *hooks : (struct cfs_serve_hooks){ .arg = NULL };
	pthread_mutex_unlock(&serve->lock);
}

/* ---- what peers say ------------------------------------------------------ */

/*
 * Before the first client is welcome it is durable that there is one: a
 * holder that comes after us has to know.  An observer has no leases.
 * -EINPROGRESS: it is not yet, and the message comes again.
 */
static int prepare_hello(struct cfs_serve *serve, uint64_t peer,
			 const void *msg, size_t bytes)
{
	struct cfs_link_peer identity = { .is_local = false };
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_msg_hello hello;
	struct cfs_wire_get body;
	struct cfs_msg_head head;
	int r;

	if (cfs_msg_open(msg, bytes, &head, &body, NULL) < 0 ||
	    head.type != CFS_MSG_HELLO ||
	    cfs_msg_hello_unpack(&body, &hello, NULL) < 0 ||
	    (hello.flags & CFS_HELLO_OBSERVER))
		return 0;
	if (serve->former) {
		(void)cfs_server_peer_identity(serve->server, peer, &identity);
		cfs_former_hello(serve->former, &identity, &hello);
	}
	r = cfs_serve_mark(serve, peer, msg, bytes, &err);
	if (r < 0 && r != -EINPROGRESS)
		cfs_logger_printf(serve->logger, CFS_LOG_WARNING,
				  "a client was turned away: %s", err.msg);
	return r;
}

/*
 * Locks of a container that is away are its secondary's to grant.  Who asks us
 * for one learned of the container before it went, and has nothing in it that
 * went with it: by the end of its connection it is told to look for the owner
 * again, as are those who do.  Asked under the lock, with which they are handed
 * over: whoever is let through is handed over, too.
 */
static bool asks_elsewhere(struct cfs_serve *serve, const void *msg,
			   size_t bytes)
{
	struct cfs_msg_reclaim m = { .lease_id = 0 };
	struct cfs_wire_get body;
	struct cfs_msg_head head;

	if (!cfs_serve_delegate_has_any(serve->delegate) ||
	    cfs_msg_open(msg, bytes, &head, &body, NULL) < 0 || head.is_reply)
		return false;
	if (head.type == CFS_MSG_LOCK
		    ? cfs_msg_lock_unpack(&body, &m.lock, NULL) < 0
		    : head.type != CFS_MSG_RECLAIM ||
			      cfs_msg_reclaim_unpack(&body, &m, NULL) < 0)
		return false;
	return cfs_serve_delegate_is_away(serve->delegate,
					  m.lock.resource.container);
}

static bool is_hello(const void *msg, size_t bytes)
{
	struct cfs_msg_head head;

	return cfs_msg_head_unpack(msg, bytes, &head, NULL) == 0 &&
	       head.type == CFS_MSG_HELLO;
}

/* A process of ours that says who it is can be looked for when it is silent. */
static void see(struct cfs_serve *serve, uint64_t peer)
{
	struct cfs_link_peer identity = { .is_local = false };

	(void)cfs_server_peer_identity(serve->server, peer, &identity);
	cfs_owner_see(serve->owner, peer, identity.is_local ? identity.pid : 0);
}

void cfs_serve_on_lease(void *arg, uint64_t peer, const void *msg, size_t bytes)
{
	struct cfs_serve *serve = arg;
	bool is_accepted = false, says_hello = is_hello(msg, bytes);
	uint64_t client;
	int r = 0;

	/* Whoever is told that it has a lease believes it for a period. */
	if (!may_say(serve->session)) {
		cfs_server_drop_peer(serve->server, peer, false);
		return;
	}
	pthread_mutex_lock(&serve->lock);
	if (says_hello)
		r = prepare_hello(serve, peer, msg, bytes);
	else if (asks_elsewhere(serve, msg, bytes))
		r = -EREMOTE;
	if (r == 0)
		r = cfs_owner_receive(serve->owner, peer, msg, bytes);
	if (r == -EINPROGRESS) {
		unlock_quietly(serve);
		cfs_secondary_wake(serve->session->secondary);
		return;
	}
	if (says_hello && serve->former)
		cfs_former_welcome(
			serve->former,
			r < 0 ? 0 : cfs_owner_peer_client(serve->owner, peer));
	if (r == 0 && says_hello)
		is_accepted = cfs_owner_touch(serve->owner, peer, &client) == 0;
	if (is_accepted)
		see(serve, peer);
	unlock_quietly(serve);
	if (is_accepted)
		cfs_server_accept_peer(serve->server, peer);
	if (r < 0)
		cfs_server_drop_peer(serve->server, peer, false);
}

int cfs_serve_on_admit(void *arg, uint64_t peer, uint64_t *ret_client)
{
	struct cfs_serve *serve = arg;
	int r;

	if (!cfs_serve_may_answer(serve->session))
		return -ESHUTDOWN;
	pthread_mutex_lock(&serve->lock);
	r = cfs_owner_touch(serve->owner, peer, ret_client);
	pthread_mutex_unlock(&serve->lock);
	return r;
}

void cfs_serve_on_closed(void *arg, uint64_t peer)
{
	struct cfs_serve *serve = arg;

	pthread_mutex_lock(&serve->lock);
	cfs_serve_unpark_peer(serve, peer);
	cfs_owner_closed(serve->owner, peer);
	unlock_quietly(serve);
}

/* Its leases, and what it had open on the devices. */
static bool has_all(void *arg, uint64_t client)
{
	struct cfs_serve *serve = arg;

	return cfs_owner_has_reclaimed(serve->owner, client) &&
	       cfs_serve_direct_is_back(serve->direct, client);
}

void cfs_serve_look_for_former(struct cfs_serve *serve)
{
	const uint64_t now_ns = cfs_clock_elapsed_ns(&serve->clock.clock);

	if (!cfs_owner_is_in_grace(serve->owner)) {
		cfs_former_forget(serve->former);
		serve->look_ns = UINT64_MAX;
	} else if (cfs_former_are_settled(serve->former, has_all, serve)) {
		serve->look_ns = UINT64_MAX;
		cfs_former_forget(serve->former);
		cfs_owner_end_grace(serve->owner);
	} else {
		serve->look_ns = now_ns + LOOK_NS;
	}
}

uint64_t cfs_serve_on_tick(void *arg, uint64_t now_ns)
{
	struct cfs_serve *serve = arg;
	struct cfs_local *l;
	uint64_t next, own;

	cfs_serve_unpark(serve);
	pthread_mutex_lock(&serve->lock);
	if (serve->former && now_ns >= serve->look_ns)
		cfs_serve_look_for_former(serve);
	next = serve->look_ns;
	for (l = serve->locals; l; l = l->next) {
		own = l->leaser ? cfs_leaser_tick(l->leaser) : UINT64_MAX;
		if (own < next)
			next = own;
	}
	/* Behind those of this process: they are not to be too late by us. */
	own = cfs_owner_tick(serve->owner);
	if (own < next)
		next = own;
	unlock_quietly(serve);
	return next;
}

/* ---- whether anybody needs us -------------------------------------------- */

/* Those of other processes: this one's own uses are clients too. */
static bool is_foreign(void *arg, const struct cfs_lease_record *record)
{
	bool *is = arg;

	*is = record->kind == CFS_RECORD_CLIENT &&
	      record->u.client.pid != (uint64_t)getpid();
	return !*is;
}

bool cfs_serve_end_unneeded(struct cfs_serve *serve)
{
	bool has_clients = false;

	/* Who asks only, and has nothing, is seen by its connection alone. */
	if (!cfs_server_close_idle(serve->server))
		return false;
	pthread_mutex_lock(&serve->lock);
	cfs_owner_each(serve->owner, 0, 0, is_foreign, &has_clients);
	pthread_mutex_unlock(&serve->lock);
	if (has_clients)
		cfs_server_open_again(serve->server);
	return !has_clients;
}

/* ---- life ---------------------------------------------------------------- */

/* What is left of it, if others have waited before us; at least a moment, as
 * there is no grace without. */
static uint64_t grace_left_ns(const struct cfs_session *s, uint64_t grace_ns)
{
	/* In this order: it is not in the future. */
	const uint64_t silent_ns = cfs_session_silent_ns(s);
	const uint64_t now_ns = cfs_clock_elapsed_ns(cfs_clock_system());
	const uint64_t gone_ns = now_ns - silent_ns;

	return gone_ns < grace_ns ? grace_ns - gone_ns : CFS_NS_PER_MS;
}

static int make_owner(struct cfs_serve *serve, struct cfs_err *err)
{
	const struct cfs_owner_ops ops = {
		.send = on_send,
		.may_say = on_may_say,
		.event = on_event,
		.seal = on_seal,
		.ended = on_lost,
		.gone = on_operator_gone,
		.generation = on_generation,
	};
	struct cfs_session *s = serve->session;
	struct cfs_owner_config config = { .epoch = s->seat.epoch };
	struct cfs_pool_rec rec;
	int r = cfs_pool_rec_get(s->pool, &rec, err);

	if (r < 0)
		return r;
	memcpy(config.pool_uuid, cfs_devset_label(s->set, 0)->pool_uuid, 16);
	config.period_ns = rec.config[CFS_POOL_CONFIG_LEASE_NS];
	config.drift_ppm = (uint32_t)rec.config[CFS_POOL_CONFIG_DRIFT_PPM];
	/* Elsewhere a dead one is known by its mark. */
	config.knows_clients = s->secondary &&
			       cfs_secondary_knows_clients(s->secondary);
	if (s->seat.has_clients)
		config.grace_ns = grace_left_ns(
			s,
			cfs_period_owner_ns(
				CFS_MAX(config.period_ns,
					rec.config[CFS_POOL_CONFIG_LONGEST_NS]),
				config.drift_ppm));
	return cfs_owner_new(&config, &ops, serve, &serve->clock.clock,
			     &serve->owner, err);
}

static void init_locks(struct cfs_serve *serve)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&serve->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	cfs_cond_init(&serve->news);
}

int cfs_serve_new(struct cfs_session *session, const struct cfs_logger *logger,
		  struct cfs_serve **ret, struct cfs_err *err)
{
	struct cfs_serve *serve;
	int r = cfs_session_may_write(session, err);

	if (r < 0)
		return r;
	serve = calloc(1, sizeof(*serve));
	if (!serve)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	serve->session = session;
	serve->logger = logger;
	serve->generation = (uint64_t)session->seat.epoch << 32;
	serve->next_local = LOCAL_PEER;
	serve->look_ns = UINT64_MAX;
	serve->is_marked = session->seat.has_clients;
	init_locks(serve);
	cfs_lease_clock_init(&serve->clock);
	r = make_owner(serve, err);
	if (r == 0)
		r = cfs_serve_make_server(serve, err);
	if (r == 0)
		r = cfs_serve_make_direct(serve, err);
	if (r == 0 && !session->secondary)
		r = cfs_serve_make_delegate(serve, err);
	else if (r == 0 && session->seat.has_clients)
		cfs_secondary_expect(session->secondary, serve->owner);
	if (r < 0) {
		cfs_serve_free(serve);
		return r;
	}
	*ret = serve;
	return 0;
}

void cfs_serve_free(struct cfs_serve *serve)
{
	if (!serve)
		return;
	if (serve->owner && serve->server)
		(void)cfs_serve_stop(serve, 0, NULL);
	cfs_serve_delegate_free(serve->delegate);
	serve->delegate = NULL;
	cfs_serve_direct_free(serve->direct);
	cfs_server_free(serve->server);
	cfs_serve_rpc_free(serve->rpc);
	cfs_tls_free(serve->tls);
	cfs_owner_free(serve->owner);
	cfs_former_close(serve->former);
	while (serve->parked)
		cfs_serve_unpark_peer(serve, serve->parked->peer);
	pthread_cond_destroy(&serve->news);
	pthread_mutex_destroy(&serve->lock);
	free(serve);
}

struct cfs_session *cfs_serve_session(struct cfs_serve *serve)
{
	return serve->session;
}

struct cfs_server *cfs_serve_server(struct cfs_serve *serve)
{
	return serve->server;
}

const char *cfs_serve_address(const struct cfs_serve *serve)
{
	return serve->address;
}
