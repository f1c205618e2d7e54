/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session/session_priv.h"

#include "lease/server.h"
#include "session/serve_direct.h"
#include "session/serve_lease.h"
#include "session/serve_use.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct cfs_use {
	struct cfs_use *next;
	struct cfs_use_of of;
	const void *id;        /* of the actor; NULL: this process */
	struct cfs_held *held; /* its lease, or NULL */
	bool is_moving;        /* it goes elsewhere with its container */
	char who[CFS_USE_WHO_BYTES];
};

static __thread const struct cfs_use_actor *actor;

void cfs_serve_act_for(const struct cfs_use_actor *a)
{
	actor = a;
}

const struct cfs_use_actor *cfs_serve_actor(void)
{
	return actor;
}

static __thread struct cfs_server_request *answered;

void cfs_serve_answer(struct cfs_server_request *request)
{
	answered = request;
}

bool cfs_serve_will_wait(void)
{
	return !answered || cfs_server_request_set_long(answered, NULL) == 0;
}

static __thread uint64_t patience;

void cfs_serve_set_patience(uint64_t patience_ns)
{
	patience = patience_ns;
}

uint64_t cfs_serve_patience(void)
{
	return patience;
}

bool cfs_serve_is_cancelled(void)
{
	return answered && cfs_server_request_is_cancelled(answered);
}

static bool meet(const struct cfs_use_of *a, const struct cfs_use_of *b)
{
	if (a->container && b->container && a->container != b->container)
		return false;
	if (a->volume && b->volume && a->volume != b->volume)
		return false;
	return a->stamp == b->stamp || a->stamp == CFS_USE_ANY_STAMP ||
	       b->stamp == CFS_USE_ANY_STAMP;
}

static bool conflict(const struct cfs_use *u, const struct cfs_use *other)
{
	if (u->of.mode != CFS_USE_ALONE && other->of.mode != CFS_USE_ALONE)
		return false;
	/* Only the removal of a whole container asks for no volume. */
	if ((u->of.mode == CFS_USE_PIN || other->of.mode == CFS_USE_PIN) &&
	    u->of.volume + other->of.volume > 0)
		return false;
	if (u->id == other->id && (u->of.but_own || other->of.but_own))
		return false;
	return meet(&u->of, &other->of);
}

static const struct cfs_use *find_conflict(const struct cfs_session *s,
					   const struct cfs_use *use)
{
	for (const struct cfs_use *u = s->uses; u; u = u->next)
		if (conflict(use, u))
			return u;
	return NULL;
}

int cfs_serve_volume_is_free(struct cfs_session *s, uint64_t container,
			     bool (*is_mine)(void *arg, const void *actor),
			     void *arg, struct cfs_err *err)
{
	const struct cfs_use use = {
		.of = { .container = container,
			.stamp = CFS_USE_ANY_STAMP,
			.mode = CFS_USE_ALONE },
		.id = &use,
	};
	int r = 0;

	pthread_mutex_lock(&s->lock);
	for (const struct cfs_use *u = s->uses; u && r == 0; u = u->next)
		if (conflict(&use, u) && !u->is_moving && !is_mine(arg, u->id))
			r = cfs_err_set(err, -EBUSY, "in use by %s", u->who);
	pthread_mutex_unlock(&s->lock);
	return r;
}

void cfs_serve_volume_set_moving(struct cfs_session *s, struct cfs_use *use,
				 bool is_moving)
{
	pthread_mutex_lock(&s->lock);
	use->is_moving = is_moving;
	pthread_mutex_unlock(&s->lock);
}

static int enter(struct cfs_session *s, struct cfs_use *use,
		 struct cfs_err *err)
{
	const struct cfs_use *other;
	int r = 0;

	pthread_mutex_lock(&s->lock);
	other = find_conflict(s, use);
	if (other) {
		r = cfs_err_set(err, -EBUSY, "in use by %s", other->who);
	} else {
		use->next = s->uses;
		s->uses = use;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

static void leave(struct cfs_session *s, struct cfs_use *use)
{
	struct cfs_use **at;

	pthread_mutex_lock(&s->lock);
	for (at = &s->uses; *at != use; at = &(*at)->next)
		;
	*at = use->next;
	pthread_mutex_unlock(&s->lock);
}

int cfs_serve_volume_enter(struct cfs_session *s, const struct cfs_use_of *of,
			   struct cfs_use **ret, struct cfs_err *err)
{
	struct cfs_use *use = calloc(1, sizeof(*use));
	int r;

	if (!use)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	use->of = *of;
	use->id = actor ? actor->id : NULL;
	if (actor)
		memcpy(use->who, actor->who, sizeof(use->who));
	else
		snprintf(use->who, sizeof(use->who), "process %ld on this host",
			 (long)getpid());
	r = enter(s, use, err);
	if (r == 0 && of->mode == CFS_USE_ALONE)
		cfs_serve_direct_drop(s->beside_us, of->container, of->volume);
	if (r == 0) {
		r = cfs_serve_lease_take(s, of, actor, &use->held, err);
		if (r < 0)
			leave(s, use);
	}
	if (r < 0)
		free(use);
	else
		*ret = use;
	return r;
}

int cfs_serve_volume_keep(struct cfs_session *s, const struct cfs_use_of *of,
			  const struct cfs_use_actor *a, struct cfs_use **ret)
{
	struct cfs_use *use = calloc(1, sizeof(*use));

	if (!use)
		return -ENOMEM;
	use->of = *of;
	use->id = a->id;
	memcpy(use->who, a->who, sizeof(use->who));
	pthread_mutex_lock(&s->lock);
	use->next = s->uses;
	s->uses = use;
	pthread_mutex_unlock(&s->lock);
	*ret = use;
	return 0;
}

void cfs_serve_volume_lend(struct cfs_session *s, struct cfs_use *use,
			   uint64_t client)
{
	pthread_mutex_lock(&s->lock);
	cfs_serve_lease_lend(s, use->held, client);
	pthread_mutex_unlock(&s->lock);
}

void cfs_serve_volume_borrow(struct cfs_session *s,
			     struct cfs_lease_request *req)
{
	const void *id = actor ? actor->id : NULL;
	struct cfs_use *u;

	if (req->lender_lease)
		return;
	pthread_mutex_lock(&s->lock);
	for (u = s->uses; u; u = u->next)
		if (u->id == id && u->held &&
		    u->of.container == req->resource.container &&
		    u->of.volume == req->resource.volume)
			break;
	if (u)
		cfs_serve_lease_borrow(s, u->held, req);
	pthread_mutex_unlock(&s->lock);
}

void cfs_serve_volume_leave(struct cfs_session *s, struct cfs_use *use)
{
	if (!use)
		return;
	leave(s, use);
	cfs_serve_lease_give(s, &use->held);
	free(use);
}

void cfs_serve_volume_drop_leases(struct cfs_session *s)
{
	pthread_mutex_lock(&s->lock);
	for (struct cfs_use *u = s->uses; u; u = u->next)
		cfs_serve_lease_give(s, &u->held);
	pthread_mutex_unlock(&s->lock);
}
