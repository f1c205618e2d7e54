/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session/serve_lease.h"

#include "session/serve.h"
#include "session/session_priv.h"

#include <inttypes.h>
#include <string.h>

static const char client_name[] = "volumes in use";

static uint32_t mode_of(enum cfs_use_mode mode)
{
	return mode == CFS_USE_READ ? CFS_LOCK_IS :
	       mode == CFS_USE_WRITE ? CFS_LOCK_IX : CFS_LOCK_X;
}

/* ---- who has it ---------------------------------------------------------- */

struct search {
	const struct cfs_lock_resource *res;
	uint32_t	mode;
	struct cfs_lease_record client;		/* of the records that follow */
	bool		is_found;
};

/* What a lock below the volume is on the volume itself. */
static uint32_t at_volume(const struct cfs_lock_resource *res, uint32_t mode)
{
	if (!res->ino)
		return mode;
	return mode == CFS_LOCK_S || mode == CFS_LOCK_IS ? CFS_LOCK_IS :
							   CFS_LOCK_IX;
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
	bool is_in_grace = cfs_owner_is_in_grace(owner);

	cfs_owner_each(owner, 0, 0, look_at, &q);
	cfs_serve_unlock(s->serve);
	if (q.is_found)
		return cfs_err_set(err, -EBUSY, "leased by %s, process %" PRIu64
				   " on %s", q.client.u.client.name,
				   q.client.u.client.pid,
				   q.client.u.client.host);
	return cfs_err_set(err, -EBUSY, "%s", is_in_grace ?
			   "those who had leases of a manager that has died "
			   "may still come back" : "in use by another process");
}

/* ---- taking -------------------------------------------------------------- */

static int make_client(struct cfs_session *s, struct cfs_err *err)
{
	struct cfs_lease_client_config config = { .cached_max = 0 };

	memcpy(config.hello.name, client_name, sizeof(client_name));
	return cfs_serve_add_client(s->serve, &config, NULL, NULL, &s->users,
				    err);
}

static int take(struct cfs_session *s, const struct cfs_use_of *of,
		const struct cfs_use_actor *a, struct cfs_held **ret,
		struct cfs_err *err)
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
	int r = s->users ? 0 : make_client(s, err);

	if (r < 0)
		return r;
	if (a && a->lender.lease_id) {
		req.lender_lease = a->lender.lease_id;
		memcpy(req.lender_secret, a->lender.secret,
		       sizeof(req.lender_secret));
	}
	r = cfs_leaser_acquire(s->users, &req, NULL, ret, err);
	if (r == -EBUSY)
		return name_holder(s, &req.resource, req.mode, err);
	return r;
}

int cfs_serve_lease_take(struct cfs_session *s, const struct cfs_use_of *of,
			 const struct cfs_use_actor *a,
			 struct cfs_held **ret, struct cfs_err *err)
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
	pthread_mutex_unlock(&s->users_lock);
}

void cfs_serve_lease_stop(struct cfs_session *s)
{
	struct cfs_leaser *users;
	struct cfs_serve *serve;

	cfs_serve_volume_drop_leases(s);
	pthread_mutex_lock(&s->users_lock);
	users = s->users;
	serve = s->serve;
	s->users = NULL;
	s->serve = NULL;
	pthread_mutex_unlock(&s->users_lock);
	if (users)
		cfs_serve_drop_client(serve, users);
}
