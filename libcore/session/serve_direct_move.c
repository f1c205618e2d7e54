/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A container gets another owner while clients work in it: they are handed over
 * with it, and go on there with what they have.
 *
 *	begin	what they ask is refused (they ask again) until the end; what
 *		is under way is waited for, for a while
 *	check	nobody else uses the container, whoever has a lease in it can
 *		go too, and the lock table grants nothing more in it
 *	done	it is the other one's, durably: they are told to go there by
 *		the end of their connections, and nothing of them is known here
 *	end	or nothing has happened
 *
 * Who is handed over has nothing here but in that container.  His period runs
 * on, and the new owner waits for him (lease/owner_grace.c).
 */
#include "session/serve_direct_priv.h"

#include "base/clock.h"
#include "base/cond.h"
#include "base/vec.h"
#include "lease/hand.h"
#include "session/serve_run_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_NS (500 * CFS_NS_PER_MS) /* for what is under way */

bool beside_is_moving(const struct cfs_serve_direct *sd,
		      const struct beside_client *c, uint64_t container)
{
	return sd->moving && (c ? c->is_moving : container == sd->moving);
}

/* ---- who ----------------------------------------------------------------- */

static bool is_of(const struct beside_client *c, uint64_t container)
{
	for (const struct beside_member *dm = c->members; dm; dm = dm->next)
		if (dm->m->id == container)
			return true;
	for (const struct beside_use *u = c->uses; u; u = u->next)
		if (u->container == container)
			return true;
	return false;
}

static bool is_of_another(const struct beside_client *c, uint64_t container)
{
	for (const struct beside_member *dm = c->members; dm; dm = dm->next)
		if (dm->m->id != container)
			return true;
	for (const struct beside_use *u = c->uses; u; u = u->next)
		if (u->container != container)
			return true;
	return false;
}

/* With the mutex. */
static int mark_them(struct cfs_serve_direct *sd, uint64_t container,
		     struct cfs_err *err)
{
	for (struct beside_client *c = sd->clients; c; c = c->next)
		if (is_of(c, container) && is_of_another(c, container))
			return cfs_err_set(err, -EBUSY,
					   "in use by %s, with "
					   "other containers",
					   c->actor.who);
	for (struct beside_client *c = sd->clients; c; c = c->next)
		c->is_moving = is_of(c, container);
	sd->moving = container;
	return 0;
}

static void unmark_them(struct cfs_serve_direct *sd)
{
	for (struct beside_client *c = sd->clients; c; c = c->next)
		c->is_moving = false;
	sd->moving = sd->moving_leased = 0;
	pthread_cond_broadcast(&sd->changed);
}

static bool is_busy(const struct cfs_serve_direct *sd)
{
	bool is = sd->is_holding || sd->opening > 0;

	for (const struct beside_client *c = sd->clients; c; c = c->next)
		is |= c->is_moving && c->users > 0;
	return is;
}

static void wait_a_little(struct cfs_serve_direct *sd)
{
	(void)cfs_cond_wait_ns(&sd->changed, &sd->mutex, 5 * CFS_NS_PER_MS);
}

int cfs_serve_direct_move_begin(struct cfs_serve_direct *sd, uint64_t container,
				struct cfs_err *err)
{
	const uint64_t end_ns = beside_now() + WAIT_NS;
	int r;

	if (!sd)
		return 0;
	pthread_mutex_lock(&sd->mutex);
	r = sd->moving ? cfs_err_set(err, -EBUSY,
				     "another container is being "
				     "given away")
		       : mark_them(sd, container, err);
	if (r == 0) {
		while (is_busy(sd) && beside_now() < end_ns)
			wait_a_little(sd);
		if (is_busy(sd)) {
			unmark_them(sd);
			r = cfs_err_set(err, -EBUSY,
					"clients are in the "
					"middle of something");
		}
	}
	pthread_mutex_unlock(&sd->mutex);
	return r;
}

/* ---- check --------------------------------------------------------------- */

/* An actor of a use.  With the mutex, or while none of them can change. */
static bool is_ours(void *arg, const void *actor)
{
	const struct cfs_serve_direct *sd = arg;

	for (const struct beside_client *c = sd->clients; c; c = c->next)
		if (c->is_moving && (const void *)c->actor.id == actor)
			return true;
	return false;
}

/* Leases of this process are of uses, which are looked at by themselves. */
static bool stays(void *arg, uint64_t client)
{
	struct cfs_serve_direct *sd = arg;

	return cfs_serve_is_local(sd->serve, client);
}

/* Or goes, as one who works in it. */
static bool has_own_way(void *arg, uint64_t client)
{
	struct cfs_serve_direct *sd = arg;
	const struct beside_client *c = beside_client_find(sd, client);

	return (c && c->is_moving) || stays(arg, client);
}

struct look {
	struct cfs_serve_direct *sd;
	bool goes; /* of whom the records that follow are */
	int code;
	struct cfs_err *err;
};

/* Of those who work in it nothing is to be on its way to somebody else. */
static bool look_at(void *arg, const struct cfs_lease_record *rec)
{
	struct look *l = arg;
	const struct beside_client *c;

	if (rec->kind == CFS_RECORD_CLIENT) {
		c = beside_client_find(l->sd, rec->client_id);
		l->goes = c && c->is_moving;
		if (l->goes && rec->flags & CFS_CLIENT_SEALING)
			l->code = cfs_err_set(l->err, -EBUSY,
					      "the log of a "
					      "client is being read");
		return l->code == 0;
	}
	if (l->goes && rec->flags & (CFS_LEASE_STOPPED | CFS_LEASE_SEALING))
		l->code = cfs_err_set(l->err, -EBUSY,
				      "a lease in it is being "
				      "taken back");
	return l->code == 0;
}

int cfs_serve_direct_move_check(struct cfs_serve_direct *sd,
				struct cfs_err *err)
{
	struct look l = { .sd = sd, .err = err };
	struct cfs_owner *owner;
	int r;

	cfs_direct_locks_drop(sd->locks, sd->moving, 0);
	r = cfs_serve_volume_is_free(sd->s, sd->moving, is_ours, sd, err);
	if (r < 0)
		return r;
	owner = cfs_serve_lock(sd->serve);
	r = cfs_owner_is_in_grace_of(owner, sd->moving)
		    ? cfs_err_set(err, -EBUSY,
				  "clients of its last owner may still come "
				  "back")
		    : cfs_owner_hold(owner, sd->moving, err);
	if (r == 0) {
		cfs_owner_each(owner, 0, 0, look_at, &l);
		r = l.code;
		if (r == 0)
			r = cfs_owner_may_hand(owner, sd->moving, has_own_way,
					       sd, &sd->moving_leased, err);
		if (r < 0)
			cfs_owner_unhold(owner, sd->moving);
	}
	cfs_serve_unlock(sd->serve);
	return r;
}

uint64_t cfs_serve_direct_move_count(struct cfs_serve_direct *sd)
{
	uint64_t count = sd->moving_leased;

	pthread_mutex_lock(&sd->mutex);
	for (const struct beside_client *c = sd->clients; c; c = c->next)
		count += c->is_moving;
	pthread_mutex_unlock(&sd->mutex);
	return count;
}

/* ---- end ----------------------------------------------------------------- */

/* What it has here, off it; the uses are given back without the mutex. */
static struct beside_use *strip(struct cfs_serve_direct *sd,
				struct beside_client *c)
{
	struct beside_use *uses = c->uses;

	c->uses = NULL;
	while (c->members)
		beside_member_drop(sd, c, c->members);
	return uses;
}

static void leave_all(struct cfs_serve_direct *sd, struct beside_use *uses)
{
	struct beside_use *u;

	while ((u = uses)) {
		uses = u->next;
		cfs_serve_volume_leave(sd->s, u->use);
		free(u);
	}
}

/* The next one that is to go; its id, and what it used. */
static uint64_t next_to_go(struct cfs_serve_direct *sd,
			   struct beside_use **ret_uses, uint64_t *ret_peer,
			   bool *ret_has_ended)
{
	struct beside_client *c;
	uint64_t id = 0;

	pthread_mutex_lock(&sd->mutex);
	for (c = sd->clients; c; c = c->next)
		if (c->is_moving)
			break;
	if (c) {
		id = c->id;
		c->is_moving = false;
		*ret_uses = strip(sd, c);
		*ret_peer = c->peer;
		*ret_has_ended = c->has_ended;
		c->has_ended = true;
		c->users++;
		beside_client_put(sd, c);
	}
	pthread_mutex_unlock(&sd->mutex);
	return id;
}

/* It is reopened, after all: what is known of it names the new object. */
static void follow_member(struct cfs_serve_direct *sd, struct cfs_member *m)
{
	pthread_mutex_lock(&sd->mutex);
	for (struct beside_client *c = sd->clients; c; c = c->next) {
		if (!c->is_moving)
			continue;
		for (struct beside_member *dm = c->members; dm; dm = dm->next)
			dm->m = m;
		for (struct beside_use *u = c->uses; u; u = u->next)
			u->tree.container = m->container;
	}
	pthread_mutex_unlock(&sd->mutex);
}

/* Those who have nothing but leases in it, or wait for one. */
static void hand_leased(struct cfs_serve_direct *sd,
			struct cfs_handed_list *list)
{
	cfs_owner_hand(cfs_serve_lock(sd->serve), sd->moving, stays, sd, list);
	cfs_serve_unlock(sd->serve);
	list->space = cfs_handed_space();
	for (size_t i = 0; i < list->peers.count; i++)
		cfs_server_drop_peer(cfs_serve_server(sd->serve),
				     list->peers.items[i], false);
}

void cfs_serve_direct_move_end(struct cfs_serve_direct *sd, bool has_hold,
			       bool is_done, struct cfs_member *m,
			       struct cfs_handed_list *ret_handed)
{
	struct beside_use *uses = NULL;
	uint64_t id, peer = 0;
	bool has_ended = false;

	if (!sd)
		return;
	if (is_done || m)
		cfs_serve_direct_forget(sd, sd->moving);
	if (m)
		follow_member(sd, m);
	while (is_done && (id = next_to_go(sd, &uses, &peer, &has_ended))) {
		leave_all(sd, uses);
		if (has_ended)
			continue;
		(void)cfs_owner_moved(cfs_serve_lock(sd->serve), id,
				      sd->moving);
		cfs_serve_unlock(sd->serve);
		if (peer)
			cfs_server_drop_peer(cfs_serve_server(sd->serve), peer,
					     false);
	}
	if (is_done)
		hand_leased(sd, ret_handed);
	if (has_hold) {
		cfs_owner_unhold(cfs_serve_lock(sd->serve), sd->moving);
		cfs_serve_unlock(sd->serve);
	}
	pthread_mutex_lock(&sd->mutex);
	unmark_them(sd);
	pthread_mutex_unlock(&sd->mutex);
}
