// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Clients of the lock table in the process that has it: no socket, and no
 * thread but the service's, which sees to their periods too.
 */
#include "session/serve_run_priv.h"

#include "base/clock.h"
#include "base/cond.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STOP_ASK_NS (100 * CFS_NS_PER_MS)

static int via_send(void *arg, const void *msg, size_t bytes)
{
	struct cfs_local *l = arg;

	return cfs_owner_receive(l->serve->owner, l->peer, msg, bytes);
}

static uint64_t via_next_id(void *arg)
{
	struct cfs_local *l = arg;

	return ++l->next_id;
}

static void via_kick(void *arg)
{
	struct cfs_local *l = arg;

	cfs_server_kick(l->serve->server);
}

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * CFS_NS_PER_S + (uint64_t)now.tv_nsec;
}

static int ask_limit(const struct cfs_conn_wait *wait, uint64_t until_ns,
		     struct cfs_err *err)
{
	if (monotonic_ns() >= until_ns)
		return cfs_err_set(err, -ETIMEDOUT, "not granted in time");
	if (wait && wait->stop && wait->stop(wait->arg))
		return cfs_err_set(err, -EINTR, "stopped");
	return 0;
}

static int via_wait(void *arg, bool (*is_done)(void *done_arg), void *done_arg,
		    const struct cfs_conn_wait *wait, struct cfs_err *err)
{
	struct cfs_local *l = arg;
	struct cfs_serve *serve = l->serve;
	uint64_t until = UINT64_MAX, now;
	int r = 0;

	if (wait && wait->timeout_ns)
		until = cfs_deadline_add(monotonic_ns(), wait->timeout_ns);
	pthread_mutex_lock(&serve->lock);
	while (!is_done(done_arg)) {
		r = ask_limit(wait, until, err);
		if (r < 0)
			break;
		now = monotonic_ns();
		(void)cfs_cond_wait_ns(
			&serve->news, &serve->lock,
			until > now ? CFS_MIN(STOP_ASK_NS, until - now) : 0);
	}
	pthread_mutex_unlock(&serve->lock);
	return r;
}

static struct cfs_local *add_local(struct cfs_serve *serve)
{
	struct cfs_local *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->serve = serve;
	pthread_mutex_lock(&serve->lock);
	l->peer = ++serve->next_local;
	l->next = serve->locals;
	serve->locals = l;
	pthread_mutex_unlock(&serve->lock);
	return l;
}

static void drop_local(struct cfs_local *l)
{
	struct cfs_serve *serve = l->serve;
	struct cfs_local **at;

	pthread_mutex_lock(&serve->lock);
	cfs_owner_closed(serve->owner, l->peer);
	for (at = &serve->locals; *at != l; at = &(*at)->next)
		;
	*at = l->next;
	pthread_mutex_unlock(&serve->lock);
	free(l);
}

/* Who says hello: this process. */
static void identify(struct cfs_serve *serve, struct cfs_msg_hello *hello)
{
	struct cfs_identity self;

	memset(&self, 0, sizeof(self));
	cfs_identity_host.self(cfs_identity_host.arg, &self);
	memcpy(hello->pool_uuid,
	       cfs_devset_label(serve->session->set, 0)->pool_uuid, 16);
	memcpy(hello->boot_id, self.boot_id, 16);
	_Static_assert(sizeof(hello->host) == sizeof(self.host), "host");
	memcpy(hello->host, self.host, sizeof(self.host));
	if (!hello->host[0])
		strcpy(hello->host, "localhost");
	hello->pid = self.pid;
	hello->process_start = self.process_start;
}

int cfs_serve_add_client(struct cfs_serve *serve,
			 const struct cfs_lease_client_config *config,
			 const struct cfs_leaser_hooks *hooks,
			 const struct cfs_conn_wait *wait,
			 struct cfs_leaser **ret, struct cfs_err *err)
{
	struct cfs_lease_client_config mine = *config;
	struct cfs_leaser *leaser = NULL;
	struct cfs_local *l;
	int r = cfs_serve_run(serve, err);

	if (r < 0)
		return r;
	l = add_local(serve);
	if (!l)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	const struct cfs_leaser_via via = {
		.send = via_send,
		.next_id = via_next_id,
		.wait = via_wait,
		.kick = via_kick,
		.lock = &serve->lock,
		.clock = &serve->clock.clock,
		.arg = l,
	};

	identify(serve, &mine.hello);
	r = cfs_leaser_new(&via, &mine, hooks, &leaser, err);
	if (r < 0) {
		drop_local(l);
		return r;
	}
	pthread_mutex_lock(&serve->lock);
	l->leaser = leaser;
	pthread_mutex_unlock(&serve->lock);
	r = cfs_leaser_hello(leaser, wait, err);
	if (r < 0) {
		cfs_serve_drop_client(serve, leaser);
		return r;
	}
	*ret = leaser;
	return 0;
}

void cfs_serve_drop_client(struct cfs_serve *serve, struct cfs_leaser *leaser)
{
	struct cfs_local *l;

	if (!leaser)
		return;
	pthread_mutex_lock(&serve->lock);
	for (l = serve->locals; l->leaser != leaser; l = l->next)
		;
	pthread_mutex_unlock(&serve->lock);
	/* Still reachable: the answer to the goodbye comes to it. */
	cfs_leaser_goodbye(leaser);
	pthread_mutex_lock(&serve->lock);
	l->leaser = NULL;
	pthread_mutex_unlock(&serve->lock);
	cfs_leaser_free(leaser, false);
	drop_local(l);
}

bool cfs_serve_is_local(struct cfs_serve *serve, uint64_t client)
{
	bool is = false;

	for (const struct cfs_local *l = serve->locals; l && !is; l = l->next) {
		if (!l->leaser)
			continue;
		is = cfs_lease_client_id(cfs_leaser_lock(l->leaser)) == client;
		cfs_leaser_unlock(l->leaser);
	}
	return is;
}
