/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Containers that are away: the table, requests, and hooks. */
#include "session/serve_delegate_priv.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/uuid.h"
#include "lease/period.h"
#include "session/serve_direct.h"
#include "session/serve_onward.h"
#include "session/serve_priv.h"
#include "session/serve_run_priv.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

uint64_t away_now(void)
{
	return cfs_clock_elapsed_ns(cfs_clock_system());
}

/* ---- the table ----------------------------------------------------------- */

struct away *away_find(struct cfs_serve_delegate *sd, uint64_t container,
		       uint32_t epoch)
{
	struct away *a;

	for (a = sd->list; a; a = a->next)
		if (a->d.container == container && a->d.epoch == epoch)
			break;
	return a;
}

struct away *away_add(struct cfs_serve_delegate *sd,
		      const struct cfs_delegation *d)
{
	struct away *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->d = *d;
	a->step = d->rec.state == CFS_DELEGATION_HELD ? AWAY_OUT : AWAY_FROZEN;
	a->until_ns = UINT64_MAX;
	a->look_ns = UINT64_MAX;
	a->next = sd->list;
	sd->list = a;
	if (a->step != AWAY_FROZEN)
		__atomic_add_fetch(&sd->count, 1, __ATOMIC_SEQ_CST);
	return a;
}

void away_step(struct cfs_serve_delegate *sd, struct away *a,
	       enum away_step step)
{
	if (step == AWAY_FROZEN && a->step != AWAY_FROZEN)
		__atomic_sub_fetch(&sd->count, 1, __ATOMIC_SEQ_CST);
	a->step = step;
	pthread_cond_broadcast(&sd->changed);
}

void away_put(struct cfs_serve_delegate *sd, struct away *a)
{
	(void)sd;
	if (--a->users == 0 && a->is_dropped)
		away_free(a);
}

void away_drop(struct cfs_serve_delegate *sd, struct away *a)
{
	struct away **at;

	for (at = &sd->list; *at != a; at = &(*at)->next)
		;
	*at = a->next;
	if (a->step != AWAY_FROZEN)
		__atomic_sub_fetch(&sd->count, 1, __ATOMIC_SEQ_CST);
	a->is_dropped = true;
	a->users++;
	away_put(sd, a);
	pthread_cond_broadcast(&sd->changed);
}

bool cfs_serve_delegate_has_any(struct cfs_serve_delegate *sd)
{
	return sd && __atomic_load_n(&sd->count, __ATOMIC_SEQ_CST) > 0;
}

uint64_t away_grace(struct cfs_serve_delegate *sd)
{
	return cfs_deadline_add(
		away_now(), __atomic_load_n(&sd->grace_ns, __ATOMIC_RELAXED));
}

uint64_t away_patience(struct cfs_serve_delegate *sd)
{
	return cfs_deadline_add(away_now(), __atomic_load_n(&sd->patience_ns,
							    __ATOMIC_RELAXED));
}

static void raise_to(uint64_t *value, uint64_t ns)
{
	if (ns > __atomic_load_n(value, __ATOMIC_RELAXED))
		__atomic_store_n(value, ns, __ATOMIC_RELAXED);
}

void away_learn_patience(struct cfs_serve_delegate *sd)
{
	struct cfs_pool_rec rec;
	uint64_t period_ns;
	uint32_t drift_ppm;

	if (cfs_pool_rec_get(sd->s->pool, &rec, NULL) < 0)
		return;
	drift_ppm = (uint32_t)rec.config[CFS_POOL_CONFIG_DRIFT_PPM];
	period_ns = CFS_MAX(rec.config[CFS_POOL_CONFIG_LEASE_NS],
			    rec.config[CFS_POOL_CONFIG_LONGEST_NS]);
	/* Those who came before it was made shorter have the longer one. */
	raise_to(&sd->grace_ns, cfs_period_owner_ns(period_ns, drift_ppm));
	raise_to(
		&sd->patience_ns,
		cfs_period_owner_ns(cfs_period_short_ns(period_ns), drift_ppm));
}

/* ---- what it asks -------------------------------------------------------- */

/* Of who asks, with a user more; or -EREMCHG. */
static int get_away(struct cfs_serve_delegate *sd,
		    const struct cfs_delegate_request *q,
		    const struct cfs_server_request *request, bool binds,
		    struct away **ret, struct cfs_err *err)
{
	struct away *a;
	bool is_his;

	pthread_mutex_lock(&sd->mutex);
	a = away_find(sd, q->container, q->epoch);
	is_his = a && a->step == AWAY_OUT &&
		 (binds ? memcmp(a->d.rec.who.instance, q->who.instance, 16) ==
				  0
			: a->client == request->client);
	if (is_his)
		a->users++;
	if (is_his && binds)
		away_bind(a, request);
	pthread_mutex_unlock(&sd->mutex);
	if (!is_his)
		return cfs_err_set(err, -EREMCHG,
				   "the container is not "
				   "delegated to you any more");
	*ret = a;
	return 0;
}

static void put_away(struct cfs_serve_delegate *sd, struct away *a)
{
	pthread_mutex_lock(&sd->mutex);
	away_put(sd, a);
	pthread_mutex_unlock(&sd->mutex);
}

/* What we serve of it comes back before it does. */
static void leave_it(struct cfs_serve_delegate *sd, struct away *a)
{
	pthread_mutex_lock(&sd->mutex);
	a->is_joining = false;
	while (a->joins)
		pthread_cond_wait(&sd->changed, &sd->mutex);
	pthread_mutex_unlock(&sd->mutex);
	cfs_onward_drain(sd->serve->rpc, a->d.container, a->d.epoch);
}

static int do_again(struct cfs_serve_delegate *sd, struct away *a,
		    const struct cfs_delegate_request *q, struct cfs_buf *reply,
		    struct cfs_err *err)
{
	struct cfs_delegation_rec rec;
	bool is_other;
	le64 flags;
	int r = 0;

	pthread_mutex_lock(&sd->mutex);
	rec = a->d.rec;
	flags = le64_put(a->is_wanted ? CFS_DELEGATE_IS_WANTED : 0);
	pthread_mutex_unlock(&sd->mutex);
	is_other = strcmp(rec.address, q->address) != 0 ||
		   rec.has_clients != !!(q->flags & CFS_DELEGATE_HAS_CLIENTS);
	strcpy(rec.address, q->address);
	rec.has_clients = q->flags & CFS_DELEGATE_HAS_CLIENTS;
	if (is_other)
		r = cfs_pool_delegation_update(sd->s->pool, q->container,
					       q->epoch, &rec, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&sd->mutex);
	a->d.rec = rec;
	pthread_cond_broadcast(&sd->changed);
	pthread_mutex_unlock(&sd->mutex);
	if (q->flags & CFS_DELEGATE_IS_LEAVING)
		leave_it(sd, a);
	return cfs_buf_append(reply, &flags, sizeof(flags)) < 0
		       ? cfs_err_set(err, -ENOMEM, "out of memory")
		       : 0;
}

static int do_lend(struct cfs_serve_delegate *sd,
		   const struct cfs_delegate_request *q, struct cfs_buf *reply,
		   struct cfs_err *err)
{
	CFS_CLEANUP(cfs_lent_slices_donep)
	struct cfs_lent_slices slices = { .list = CFS_VEC_INIT };
	int r = cfs_pool_delegation_lend(sd->s->pool, q->container, q->epoch,
					 (unsigned int)CFS_MIN(q->value, 64),
					 &slices, err);

	if (r == 0 && cfs_lent_slices_pack(&slices, reply) < 0)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	return r;
}

/* It comes home while others wait for nothing; see serve_delegate_home.c. */
static int do_return(struct cfs_serve_delegate *sd, struct away *a,
		     const struct cfs_delegate_request *q)
{
	pthread_mutex_lock(&sd->mutex);
	if (a->step == AWAY_OUT) {
		a->is_gone = true;
		a->d.rec.has_clients = q->flags & CFS_DELEGATE_HAS_CLIENTS;
		a->client = a->peer = 0;
		away_step(sd, a, AWAY_COMING);
	}
	/* It is told when we have it. */
	while (!a->is_dropped && a->step == AWAY_COMING && !sd->is_ending)
		pthread_cond_wait(&sd->changed, &sd->mutex);
	pthread_mutex_unlock(&sd->mutex);
	return 0;
}

static int serve_his(struct cfs_serve_delegate *sd,
		     const struct cfs_delegate_request *q,
		     struct cfs_server_request *request, struct cfs_buf *reply,
		     struct cfs_err *err)
{
	struct away *a = NULL;
	int r;

	if (request->client == 0)
		return cfs_err_set(err, -EPERM, "only for clients");
	if (request->type == CFS_DELEGATE_TAKE)
		return away_take(sd, q, request, reply, err);
	r = get_away(sd, q, request, request->type == CFS_DELEGATE_AGAIN, &a,
		     err);
	if (r < 0)
		return request->type == CFS_DELEGATE_RETURN ? 0 : r;
	if (request->type == CFS_DELEGATE_AGAIN)
		r = do_again(sd, a, q, reply, err);
	else if (request->type == CFS_DELEGATE_LEND)
		r = do_lend(sd, q, reply, err);
	else if (request->type == CFS_DELEGATE_GIVE)
		r = cfs_pool_delegation_take(sd->s->pool, q->container,
					     q->epoch, q->value, err);
	else if (request->type == CFS_DELEGATE_CLIENTS)
		r = away_clients(sd, a, request, reply, err);
	else if (request->type == CFS_DELEGATE_LEFT)
		r = away_left(sd, a, q, err);
	else if (request->type == CFS_DELEGATE_RETURN)
		r = do_return(sd, a, q);
	else
		r = cfs_err_set(err, -ENOTSUP, "request %#x is not known",
				request->type);
	put_away(sd, a);
	if (r == -ESTALE && err)
		err->code = -EREMCHG;
	return r == -ESTALE ? -EREMCHG : r;
}

/* ---- wanted back --------------------------------------------------------- */

/* With the mutex: it is to return it, within a period. */
static void want(struct cfs_serve_delegate *sd, struct away *a)
{
	struct cfs_wire_put put;
	uint8_t msg[64];

	if (a->step != AWAY_OUT)
		return;
	if (!a->is_wanted)
		a->until_ns = away_grace(sd);
	a->is_wanted = true;
	pthread_cond_broadcast(&sd->changed);
	if (!a->peer)
		return;
	cfs_wire_put_init(&put, msg, sizeof(msg));
	cfs_msg_begin(&put, CFS_DELEGATE_WANTED, 0);
	cfs_wire_put_u64(&put, a->d.container);
	cfs_wire_put_u64(&put, a->d.epoch);
	if (cfs_msg_end(&put) == 0)
		(void)cfs_server_send(cfs_serve_server(sd->serve), a->peer,
				      put.data, put.bytes);
}

int cfs_serve_delegate_request(void *arg, struct cfs_server_request *request,
			       struct cfs_buf *reply, struct cfs_err *err)
{
	struct cfs_serve_delegate *sd = arg;
	struct cfs_delegate_request q;
	struct cfs_err own = CFS_ERR_INIT;
	int r;

	err = err ? err : &own;
	r = cfs_delegate_request_unpack(request->body, request->body_bytes, &q,
					err);
	if (r < 0)
		return r;
	if (request->type == CFS_DELEGATE_LIST)
		return away_list(sd, request, reply, err);
	r = serve_his(sd, &q, request, reply, err);
	/* It is the next manager's to say: what we were refused as one whose
	 * pool was taken says nothing about the container. */
	if (r < 0 && !cfs_serve_may_answer(sd->s))
		r = cfs_err_set(err, -ESHUTDOWN,
				"another host may have the "
				"pool");
	return r;
}

/* ---- hooks --------------------------------------------------------------- */

void cfs_serve_delegate_ended(struct cfs_serve_delegate *sd, uint64_t client,
			      enum cfs_owner_end end)
{
	struct away *a;

	if (!sd)
		return;
	pthread_mutex_lock(&sd->mutex);
	for (a = sd->list; a; a = a->next) {
		if (a->client != client || a->step != AWAY_OUT)
			continue;
		a->client = 0;
		/* It may have a period left, in which it may be told that
		 * something is durable; and it comes back to return it. */
		if (end == CFS_OWNER_END_REVOKED) {
			want(sd, a);
			continue;
		}
		a->is_gone = end == CFS_OWNER_END_GOODBYE ||
			     end == CFS_OWNER_END_GONE;
		away_step(sd, a, AWAY_COMING);
	}
	pthread_mutex_unlock(&sd->mutex);
}

void cfs_serve_delegate_want(struct cfs_serve_delegate *sd, uint64_t client)
{
	struct away *a;

	if (!sd)
		return;
	pthread_mutex_lock(&sd->mutex);
	for (a = sd->list; a; a = a->next)
		if (a->client == client)
			want(sd, a);
	pthread_mutex_unlock(&sd->mutex);
}

int cfs_serve_delegate_gone(struct cfs_serve_delegate *sd, uint64_t client,
			    const char *host)
{
	struct away *a;
	int r = -ENOENT;

	if (!sd)
		return r;
	pthread_mutex_lock(&sd->mutex);
	for (a = sd->list; a; a = a->next) {
		if (client ? a->client != client
			   : !host || strcmp(a->d.rec.who.host, host) != 0)
			continue;
		r = 0;
		a->is_gone = true;
		if (a->step == AWAY_OUT)
			away_step(sd, a, AWAY_COMING);
		a->look_ns = 0;
		pthread_cond_broadcast(&sd->changed);
	}
	pthread_mutex_unlock(&sd->mutex);
	return r;
}

void cfs_serve_delegate_peer_ended(struct cfs_serve_delegate *sd, uint64_t peer)
{
	struct away *a;

	if (!sd)
		return;
	pthread_mutex_lock(&sd->mutex);
	for (a = sd->list; a; a = a->next) {
		if (a->peer != peer)
			continue;
		a->peer = 0;
		a->look_ns = a->look_step_ns = 0;
		pthread_cond_broadcast(&sd->changed);
	}
	pthread_mutex_unlock(&sd->mutex);
}

/* ---- life ---------------------------------------------------------------- */

static int load_one(void *arg, const struct cfs_delegation *d,
		    struct cfs_err *err)
{
	struct cfs_serve_delegate *sd = arg;
	struct away *a = away_add(sd, d);

	if (!a)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	/* It has to find us first. */
	if (a->step == AWAY_OUT)
		a->until_ns = away_patience(sd);
	a->is_gone = d->rec.state == CFS_DELEGATION_GONE;
	a->look_ns = 0;
	return 0;
}

static int start_thread(struct cfs_serve_delegate *sd, struct cfs_err *err)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&sd->thread, NULL, away_run, sd);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	sd->has_thread = r == 0;
	return r < 0 ? cfs_err_errno(err, r, "thread") : 0;
}

int cfs_serve_delegate_new(struct cfs_serve *serve,
			   const struct cfs_logger *logger,
			   struct cfs_serve_delegate **ret, struct cfs_err *err)
{
	struct cfs_serve_delegate *sd = calloc(1, sizeof(*sd));
	int r;

	if (!sd)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	sd->serve = serve;
	sd->s = cfs_serve_session(serve);
	sd->logger = logger;
	sd->structure = &serve->rpc->structure;
	pthread_mutex_init(&sd->mutex, NULL);
	cfs_cond_init(&sd->changed);
	away_learn_patience(sd);
	r = cfs_pool_delegations(sd->s->pool, load_one, sd, err);
	if (r == 0)
		r = start_thread(sd, err);
	if (r < 0)
		cfs_serve_delegate_free(sd);
	else
		*ret = sd;
	return r;
}

void cfs_serve_delegate_stop(struct cfs_serve_delegate *sd)
{
	if (!sd)
		return;
	pthread_mutex_lock(&sd->mutex);
	sd->is_ending = true;
	pthread_cond_broadcast(&sd->changed);
	pthread_mutex_unlock(&sd->mutex);
	if (sd->has_thread)
		pthread_join(sd->thread, NULL);
	sd->has_thread = false;
}

void cfs_serve_delegate_free(struct cfs_serve_delegate *sd)
{
	struct away *a;

	if (!sd)
		return;
	cfs_serve_delegate_stop(sd);
	while ((a = sd->list)) {
		sd->list = a->next;
		away_free(a);
	}
	pthread_cond_destroy(&sd->changed);
	pthread_mutex_destroy(&sd->mutex);
	free(sd);
}
