/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session/serve_lease.h"

#include "base/clock.h"
#include "session/serve.h"
#include "session/session_priv.h"

#include <inttypes.h>
#include <string.h>

static const char client_name[] = "volumes in use";

static uint32_t mode_of(enum cfs_use_mode mode)
{
	return mode == CFS_USE_READ    ? CFS_LOCK_IS
	       : mode == CFS_USE_WRITE ? CFS_LOCK_IX
				       : CFS_LOCK_X;
}

/* ---- who has it ---------------------------------------------------------- */

struct search {
	const struct cfs_lock_resource *res;
	uint32_t mode;
	struct cfs_lease_record client; /* of the records that follow */
	bool is_found;
};

/* What a lock below the volume is on the volume itself. */
static uint32_t at_volume(const struct cfs_lock_resource *res, uint32_t mode)
{
	if (!res->ino)
		return mode;
	return mode == CFS_LOCK_S || mode == CFS_LOCK_IS ? CFS_LOCK_IS
							 : CFS_LOCK_IX;
}

static bool look_at(void *arg, const struct cfs_lease_record *r)
{
	struct search *q = arg;
	const struct cfs_lock_resource *res = &r->u.lease.resource;

	if (r->kind == CFS_RECORD_CLIENT) {
		q->client = *r;
		return true;
	}
	q->is_found = res->container == q->res->container &&
		      (!res->volume || !q->res->volume ||
		       res->volume == q->res->volume) &&
		      !cfs_lock_modes_agree(q->mode,
					    at_volume(res, r->u.lease.mode)) &&
		      strcmp(q->client.u.client.name, client_name) != 0;
	return !q->is_found;
}

static int name_holder(struct cfs_session *s,
		       const struct cfs_lock_resource *res, uint32_t mode,
		       struct cfs_err *err)
{
	struct search q = { .res = res, .mode = mode };
	struct cfs_owner *owner = cfs_serve_lock(s->serve);
	bool is_in_grace = cfs_owner_is_in_grace_of(owner, res->container);

	cfs_owner_each(owner, 0, 0, look_at, &q);
	cfs_serve_unlock(s->serve);
	if (q.is_found)
		return cfs_err_set(
			err, -EBUSY, "leased by %s, process %" PRIu64 " on %s",
			q.client.u.client.name, q.client.u.client.pid,
			q.client.u.client.host);
	return cfs_err_set(
		err, -EBUSY, "%s",
		is_in_grace
			? "those who had leases of a manager, or of another "
			  "owner, that has died may still come back"
			: "in use by another process");
}

/* ---- taking -------------------------------------------------------------- */

static int make_client(struct cfs_session *s, struct cfs_err *err)
{
	struct cfs_lease_client_config config = { .cached_max = 0 };

	memcpy(config.hello.name, client_name, sizeof(client_name));
	return cfs_serve_add_client(s->serve, &config, NULL, NULL, &s->users,
				    err);
}

static struct cfs_lease_request request_of(const struct cfs_use_of *of,
					   const struct cfs_use_actor *a)
{
	struct cfs_lease_request req = {
		.resource = {
			.container = of->container,
			.volume = of->volume,
			.length_bytes = CFS_LOCK_LENGTH_WHOLE,
		},
		.mode = mode_of(of->mode),
		.key = a ? (uint64_t)(uintptr_t)a->id : 1,
	};

	if (a && a->lender.lease_id) {
		req.lender_lease = a->lender.lease_id;
		memcpy(req.lender_secret, a->lender.secret,
		       sizeof(req.lender_secret));
	}
	return req;
}

/* What this thread did not get, for cfs_serve_patiently. */
static __thread bool has_missed;
static __thread struct cfs_lease_request missed;

static int take(struct cfs_session *s, const struct cfs_use_of *of,
		const struct cfs_use_actor *a, struct cfs_held **ret,
		struct cfs_err *err)
{
	const struct cfs_lease_request req = request_of(of, a);
	int r = s->users ? 0 : make_client(s, err);

	if (r < 0)
		return r;
	r = cfs_leaser_acquire(s->users, &req, NULL, ret, err);
	if (r != -EBUSY)
		return r;
	has_missed = true;
	missed = req;
	return name_holder(s, &req.resource, req.mode, err);
}

int cfs_serve_lease_take(struct cfs_session *s, const struct cfs_use_of *of,
			 const struct cfs_use_actor *a, struct cfs_held **ret,
			 struct cfs_err *err)
{
	const bool is_alone = of->mode == CFS_USE_ALONE;
	int r = 0;

	*ret = NULL;
	/* A snapshot needs nobody's lease; nor does a look at all of them. */
	if (!of->container || (!is_alone && (of->stamp || !of->volume)) ||
	    (is_alone && of->stamp && of->stamp != CFS_USE_ANY_STAMP))
		return 0;
	pthread_mutex_lock(&s->users_lock);
	if (s->serve)
		r = take(s, of, a, ret, err);
	pthread_mutex_unlock(&s->users_lock);
	return r;
}

void cfs_serve_lease_give(struct cfs_session *s, struct cfs_held **held)
{
	pthread_mutex_lock(&s->users_lock);
	if (*held && s->users)
		cfs_leaser_release(*held);
	*held = NULL;
	pthread_mutex_unlock(&s->users_lock);
}

void cfs_serve_lease_lend(struct cfs_session *s, struct cfs_held *held,
			  uint64_t client)
{
	struct cfs_lease_name name;

	pthread_mutex_lock(&s->users_lock);
	if (held && s->users) {
		cfs_leaser_name(held, &name);
		(void)cfs_owner_lend(cfs_serve_lock(s->serve), name.lease_id,
				     client);
		cfs_serve_unlock(s->serve);
	}
	pthread_mutex_unlock(&s->users_lock);
}

void cfs_serve_lease_borrow(struct cfs_session *s, struct cfs_held *held,
			    struct cfs_lease_request *req)
{
	struct cfs_lease_name name;

	pthread_mutex_lock(&s->users_lock);
	if (held && s->users) {
		cfs_leaser_name(held, &name);
		req->lender_lease = name.lease_id;
		memcpy(req->lender_secret, name.secret,
		       sizeof(req->lender_secret));
	}
	pthread_mutex_unlock(&s->users_lock);
}

int cfs_serve_lease_words(int r, struct cfs_err *err)
{
	if (r != -ETIMEDOUT)
		return r;
	return cfs_err_set(err, r,
			   "leased by somebody else, who has not given "
			   "it back in time");
}

/* ---- waiting ------------------------------------------------------------- */

struct queueing {
	struct cfs_session *s;
	const struct cfs_conn_wait *wait;
};

/* Asked with the lock table's lock, behind which no other is taken. */
static bool has_given_up(void *arg)
{
	const struct queueing *q = arg;

	return __atomic_load_n(&q->s->ends_queue, __ATOMIC_SEQ_CST) ||
	       cfs_serve_is_cancelled() ||
	       (q->wait->stop && q->wait->stop(q->wait->arg));
}

/* The client's own, for as long as it is not freed (leave_queue). */
static struct cfs_leaser *enter_queue(struct cfs_session *s)
{
	struct cfs_leaser *users;

	pthread_mutex_lock(&s->users_lock);
	users = s->ends_queue ? NULL : s->users;
	if (users)
		s->users_waiting++;
	pthread_mutex_unlock(&s->users_lock);
	return users;
}

/* What was got while all ends goes back. */
static void leave_queue(struct cfs_session *s, struct cfs_held **held)
{
	pthread_mutex_lock(&s->users_lock);
	if (s->ends_queue) {
		cfs_leaser_release(*held);
		*held = NULL;
	}
	if (--s->users_waiting == 0)
		pthread_cond_broadcast(&s->users_changed);
	pthread_mutex_unlock(&s->users_lock);
}

/* Nobody waits any more, nor will. */
static void end_queue(struct cfs_session *s)
{
	pthread_mutex_lock(&s->users_lock);
	__atomic_store_n(&s->ends_queue, true, __ATOMIC_SEQ_CST);
	while (s->users_waiting > 0)
		pthread_cond_wait(&s->users_changed, &s->users_lock);
	pthread_mutex_unlock(&s->users_lock);
}

/* Until @req is granted.  -ETIMEDOUT, -EINTR; -EAGAIN: too many wait. */
static int queue_for(struct cfs_session *s, struct cfs_lease_request req,
		     const struct cfs_conn_wait *wait, uint64_t left_ns,
		     struct cfs_held **ret, struct cfs_err *err)
{
	struct queueing q = { .s = s, .wait = wait };
	const struct cfs_conn_wait own = {
		.timeout_ns = left_ns,
		.stop = has_given_up,
		.arg = &q,
	};
	struct cfs_leaser *users;
	int r;

	if (!cfs_serve_will_wait())
		return -EAGAIN;
	users = enter_queue(s);
	if (!users)
		return -EAGAIN;
	req.flags = CFS_MSG_LOCK_WAIT;
	r = cfs_leaser_acquire(users, &req, &own, ret, err);
	leave_queue(s, ret);
	return r == -EINTR ? cfs_err_set(err, r,
					 "stopped while waiting for "
					 "it")
			   : r;
}

int cfs_serve_patiently(struct cfs_session *s, const struct cfs_conn_wait *wait,
			int (*try)(void *arg, struct cfs_err *err), void *arg,
			struct cfs_err *err)
{
	struct cfs_clock *clock = cfs_clock_system();
	uint64_t now_ns = cfs_clock_elapsed_ns(clock);
	const uint64_t end_ns = cfs_deadline_add(now_ns, wait->timeout_ns);
	struct cfs_held *held = NULL;
	struct cfs_err why = CFS_ERR_INIT;
	int r, r2 = 0;

	for (;;) {
		has_missed = false;
		r = try(arg, err);
		cfs_serve_lease_give(s, &held);
		now_ns = cfs_clock_elapsed_ns(clock);
		if (r != -EBUSY || !has_missed || now_ns >= end_ns || r2 < 0)
			return r;
		r2 = queue_for(s, missed, wait, end_ns - now_ns, &held, &why);
		if (r2 != -EINTR)
			continue; /* one last time, if it was too long */
		if (err)
			*err = why;
		return r2;
	}
}

void cfs_serve_lease_set_period(struct cfs_session *s, uint64_t period_ns)
{
	pthread_mutex_lock(&s->users_lock);
	if (s->serve) {
		(void)cfs_owner_set_period(cfs_serve_lock(s->serve), period_ns,
					   NULL);
		cfs_serve_unlock(s->serve);
	}
	pthread_mutex_unlock(&s->users_lock);
}

/* ---- life ---------------------------------------------------------------- */

void cfs_serve_lease_start(struct cfs_session *s, struct cfs_serve *serve)
{
	pthread_mutex_lock(&s->users_lock);
	s->serve = serve;
	__atomic_store_n(&s->ends_queue, false, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&s->users_lock);
}

void cfs_serve_lease_stop(struct cfs_session *s)
{
	struct cfs_leaser *users, *lockers;
	struct cfs_serve *serve;

	cfs_serve_volume_drop_leases(s);
	end_queue(s);
	pthread_mutex_lock(&s->users_lock);
	users = s->users;
	lockers = s->lockers;
	serve = s->serve;
	s->users = NULL;
	s->lockers = NULL;
	s->serve = NULL;
	pthread_mutex_unlock(&s->users_lock);
	if (users)
		cfs_serve_drop_client(serve, users);
	if (lockers)
		cfs_serve_drop_client(serve, lockers);
}
