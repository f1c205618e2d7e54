/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Leases of the owner: asked for, granted, changed, given back. */
#include "lease/hand.h"
#include "lease/owner_priv.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"

static uint64_t lease_hash(uint64_t id)
{
	return cfs_hash_mix(6, id);
}

struct owner_lease *owner_lease_find(const struct cfs_owner *owner, uint64_t id)
{
	uint64_t hash = lease_hash(id);

	for (struct cfs_hash_link *l = cfs_hash_first(&owner->leases, hash); l;
	     l = cfs_hash_skip(l->next, hash)) {
		struct owner_lease *lease = CFS_CONTAINER_OF(
			l, struct owner_lease, hash);

		if (lease->id == id)
			return lease;
	}
	return NULL;
}

/* ---- serials ------------------------------------------------------------- */

static uint64_t serial_hash(uint64_t client, uint64_t serial)
{
	return cfs_hash_mix(cfs_hash_mix(8, client), serial);
}

static struct owner_serial *serial_find(const struct cfs_owner *owner,
					const struct owner_client *client,
					uint64_t serial)
{
	uint64_t hash = serial_hash(client->id, serial);

	for (struct cfs_hash_link *l = cfs_hash_first(&owner->serials, hash); l;
	     l = cfs_hash_skip(l->next, hash)) {
		struct owner_serial *s = CFS_CONTAINER_OF(
			l, struct owner_serial, hash);

		if (s->serial == serial && s->lease->client == client)
			return s;
	}
	return NULL;
}

static void serial_del(struct cfs_owner *owner, struct owner_serial *s)
{
	if (s->serial)
		cfs_hash_del(&owner->serials, &s->hash);
	s->serial = 0;
}

/* Room was reserved.  @serial is not 0. */
static void serial_set(struct cfs_owner *owner, struct owner_lease *lease,
		       struct owner_serial *s, uint64_t serial,
		       uint64_t message)
{
	serial_del(owner, s);
	s->lease = lease;
	s->serial = serial;
	s->message = message;
	cfs_hash_add(&owner->serials, &s->hash,
		     serial_hash(lease->client->id, serial));
}

/* ---- making and ending --------------------------------------------------- */

static int lease_new(struct cfs_owner *owner, struct owner_client *client,
		     uint64_t id, struct owner_lease **ret, struct cfs_err *err)
{
	struct cfs_link_node *at = client->leases.prev;
	struct owner_lease *lease;

	if (client->lease_count >= owner->config.leases_per_client_max ||
	    owner->lease_count >= owner->config.leases_max)
		return cfs_err_set(err, -ENOBUFS, "too many leases");
	lease = calloc(1, sizeof(*lease));
	if (!lease || cfs_hash_reserve(&owner->leases) < 0 ||
	    cfs_hash_reserve(&owner->serials) < 0 ||
	    owner_timer_reserve(owner) < 0) {
		free(lease);
		return cfs_err_set(err, -ENOMEM, "lease: no memory");
	}
	lease->id = id;
	lease->client = client;
	cfs_list_init(&lease->lent);
	lease->timer.kind = OWNER_TIMER_LEASE;
	cfs_hash_add(&owner->leases, &lease->hash, lease_hash(id));
	while (at != &client->leases &&
	       CFS_CONTAINER_OF(at, struct owner_lease, link)->id > id)
		at = at->prev;
	cfs_list_add_behind(at, &lease->link);
	client->lease_count++;
	owner->lease_count++;
	*ret = lease;
	return 0;
}

static void lease_set_waiting(struct owner_lease *lease, bool is_waiting)
{
	if (lease->is_waiting != is_waiting)
		lease->client->waiting_count += is_waiting ? 1 : UINT32_MAX;
	lease->is_waiting = is_waiting;
}

void owner_lease_end(struct cfs_owner *owner, struct owner_lease *lease)
{
	struct cfs_lock *lock = lease->lock;

	owner_recall_clear(owner, lease);
	owner_timer_set(owner, &lease->timer, UINT64_MAX);
	lease_set_waiting(lease, false);
	serial_del(owner, &lease->asked);
	serial_del(owner, &lease->changed);
	cfs_hash_del(&owner->leases, &lease->hash);
	cfs_list_del(&lease->link);
	cfs_list_del(&lease->lent);
	lease->client->lease_count--;
	owner->lease_count--;
	free(lease);
	if (lock)
		cfs_lock_release(lock);
}

/* ---- answers ------------------------------------------------------------- */

/* @type: LOCK, CHANGE or RECLAIM; @more: it waits. */
static void reply_grant(struct cfs_owner *owner,
			const struct owner_lease *lease, uint16_t type,
			const struct owner_serial *s, bool more)
{
	const struct cfs_msg_grant m = {
		.lease_id = lease->id,
		.generation = lease->generation,
		.mode = lease->is_waiting ? CFS_LOCK_NONE
					  : cfs_lock_mode_of(lease->lock),
		.serial = s->serial,
	};
	struct cfs_wire_put put;

	owner_put_begin(owner, &put,
			type | CFS_MSG_TYPE_REPLY |
				(more ? CFS_MSG_TYPE_MORE : 0),
			s->message);
	cfs_msg_grant_pack(&m, &put);
	owner_put_end(owner, &put, lease->client->peer);
}

/* It has a (new) mode; @s says who waits for that. */
static void lease_got(struct cfs_owner *owner, struct owner_lease *lease,
		      uint16_t type, const struct owner_serial *s)
{
	const struct cfs_lock_resource *res = cfs_lock_resource_of(lease->lock);
	uint32_t mode = cfs_lock_mode_of(lease->lock);

	if (mode >= CFS_LOCK_S && owner->ops.generation)
		lease->generation = owner->ops.generation(
			owner->arg, lease->client->id, res, mode);
	else if (mode >= CFS_LOCK_S)
		lease->generation = owner->next_generation++;
	reply_grant(owner, lease, type, s, false);
	owner_event(owner,
		    type == CFS_MSG_LOCK ? CFS_EVENT_GRANT : CFS_EVENT_CHANGE,
		    lease->client, lease);
	owner_recall_if_wanted(owner, lease);
}

void owner_lease_granted(void *arg, struct cfs_lock *lock)
{
	struct cfs_owner *owner = arg;
	struct owner_lease *lease = cfs_lock_user(lock);

	if (lease->is_waiting) {
		lease_set_waiting(lease, false);
		lease_got(owner, lease, CFS_MSG_LOCK, &lease->asked);
	} else if (lease->is_changing) {
		lease->is_changing = false;
		lease_got(owner, lease, CFS_MSG_CHANGE, &lease->changed);
	}
}

/*
 * A serial that was seen before and has left no lease: a late double, which
 * is dropped (1), or sent again on purpose: the sender asks anew.
 */
static int serial_check(struct owner_client *client, uint64_t serial,
			uint32_t flags, struct cfs_err *err)
{
	if (serial == 0)
		return cfs_err_set(err, -EINVAL, "serial 0");
	if (serial > client->last_serial) {
		client->last_serial = serial;
		return 0;
	}
	return flags & CFS_MSG_LOCK_RESENT
		       ? cfs_err_set(err, -ERESTART, "ask again")
		       : 1;
}

/* ---- LOCK ---------------------------------------------------------------- */

static bool is_granted(const struct owner_lease *lease)
{
	return !lease->is_waiting && !lease->is_sealing &&
	       lease->client->state == OWNER_CLIENT_ALIVE;
}

/* What somebody has taken for @client that @res is part of, or NULL. */
static const struct owner_lease *lender_for(struct owner_client *client,
					    const struct cfs_lock_resource *res)
{
	CFS_LIST_EACH(l, &client->lenders)
	{
		const struct owner_lease *lease = CFS_CONTAINER_OF(
			l, struct owner_lease, lent);

		if (is_granted(lease) &&
		    cfs_lock_resource_contains(
			    cfs_lock_resource_of(lease->lock), res))
			return lease;
	}
	return NULL;
}

int cfs_owner_lend(struct cfs_owner *owner, uint64_t lease_id,
		   uint64_t client_id)
{
	struct owner_lease *lease = owner_lease_find(owner, lease_id);
	struct owner_client *client = owner_client_find(owner, client_id);

	if (!lease || !client || !is_granted(lease))
		return -ENOENT;
	cfs_list_del(&lease->lent);
	cfs_list_add_tail(&client->lenders, &lease->lent);
	return 0;
}

/* The holder under which a borrower works. */
static int lender_of(const struct cfs_owner *owner, struct owner_client *client,
		     const struct cfs_msg_lock *m, struct cfs_lock_holder *ret,
		     struct cfs_err *err)
{
	const struct owner_lease *lease;

	if (!m->lender_lease) {
		lease = lender_for(client, &m->resource);
		if (lease)
			*ret = cfs_lock_holder_of(lease->lock);
		return 0;
	}
	lease = owner_lease_find(owner, m->lender_lease);
	if (!lease || !is_granted(lease))
		return cfs_err_set(
			err,
			cfs_owner_is_in_grace_of(owner, m->resource.container)
				? -EAGAIN
				: -ESTALE,
			"the lease to work under is gone");
	if (owner_client_by_secret(owner, lease->client->id,
				   m->lender_secret) != lease->client)
		return cfs_err_set(err, -EPERM, "not that lease's secret");
	*ret = cfs_lock_holder_of(lease->lock);
	return 0;
}

static int lease_lock(struct cfs_owner *owner, struct owner_lease *lease,
		      const struct cfs_msg_lock *m, uint32_t flags,
		      struct cfs_err *err)
{
	struct cfs_lock_request req = {
		.resource = m->resource,
		.mode = m->mode,
		.flags = flags,
		.holder = { lease->client->id, m->key },
		.user = lease,
	};
	struct cfs_lock *lock = NULL;
	int r = lender_of(owner, lease->client, m, &req.lender, err);

	if (r != 0)
		return r;
	/* Who has borrowed from itself works as itself. */
	if (req.lender.client == req.holder.client &&
	    req.lender.key == req.holder.key)
		req.lender = (struct cfs_lock_holder){ 0, 0 };
	if (m->flags & CFS_MSG_LOCK_RECALLABLE)
		req.flags |= CFS_LOCK_REQ_RECALLABLE;
	lease->key = m->key;
	lease->is_borrowed = m->lender_lease && req.lender.client;
	r = cfs_lock_request(owner->table, &req, &lock, err);
	if (r == 0)
		lease->lock = lock;
	return r;
}

/*
 * The reply may be the first that the client sees of this lease: whatever it
 * was told of it meanwhile it has not understood.
 */
static int lock_again(struct owner_request *rq, struct owner_serial *s,
		      struct cfs_err *err)
{
	bool is_asked = s == &s->lease->asked;

	if (s->lease->is_stopped || s->lease->is_sealing)
		return is_asked ? cfs_err_set(err, -ERESTART, "ask again")
				: cfs_err_set(err, -ESTALE,
					      "the lease is revoked");
	s->message = rq->head.id;
	reply_grant(rq->owner, s->lease, rq->head.type, s,
		    is_asked ? s->lease->is_waiting : s->lease->is_changing);
	owner_recall_remind(rq->owner, s->lease);
	return 0;
}

int owner_lock(struct owner_request *rq, struct cfs_err *err)
{
	struct cfs_owner *owner = rq->owner;
	struct owner_client *c = rq->client;
	struct owner_serial *again;
	struct owner_lease *lease;
	struct cfs_msg_lock m;
	int r = cfs_msg_lock_unpack(&rq->body, &m, err);

	if (r != 0)
		return r;
	again = serial_find(owner, c, m.serial);
	if (again)
		return lock_again(rq, again, err);
	r = serial_check(c, m.serial, m.flags, err);
	if (r != 0)
		return r < 0 ? r : 0;
	if (c->waiting_count >= owner->config.waiting_per_client_max)
		return cfs_err_set(err, -EAGAIN, "too many requests wait");
	r = lease_new(owner, c, owner->config.epoch << 32 | owner->next_id,
		      &lease, err);
	if (r != 0)
		return r;
	owner->next_id++;
	serial_set(owner, lease, &lease->asked, m.serial, rq->head.id);
	r = lease_lock(owner, lease, &m,
		       m.flags & CFS_MSG_LOCK_WAIT ? CFS_LOCK_REQ_WAIT : 0,
		       err);
	if (r != 0) {
		owner_lease_end(owner, lease);
		return r;
	}
	if (!cfs_lock_is_waiting(lease->lock)) {
		lease_got(owner, lease, CFS_MSG_LOCK, &lease->asked);
		return 0;
	}
	lease_set_waiting(lease, true);
	reply_grant(owner, lease, CFS_MSG_LOCK, &lease->asked, true);
	owner_recall_blockers(owner, lease);
	return 0;
}

/* ---- RECLAIM ------------------------------------------------------------- */

int owner_reclaim(struct owner_request *rq, struct cfs_err *err)
{
	struct cfs_owner *owner = rq->owner;
	struct owner_client *c = rq->client;
	struct owner_lease *lease;
	struct cfs_msg_reclaim m;
	int r = cfs_msg_reclaim_unpack(&rq->body, &m, err);

	if (r != 0)
		return r;
	c->has_claimed = true;
	lease = owner_lease_find(owner, m.lease_id);
	if (lease && (lease->client != c || lease->is_waiting))
		return cfs_err_set(err, -ESTALE, "that lease is another's");
	if (lease && (lease->is_stopped || lease->is_sealing))
		return cfs_err_set(err, -ESTALE, "that lease is revoked");
	if (!lease) {
		if (!owner_grace_takes(owner, c, &m))
			return cfs_err_set(err, -ESTALE,
					   "too late to reclaim it");
		r = lease_new(owner, c, m.lease_id, &lease, err);
		if (r != 0)
			return r;
		r = lease_lock(owner, lease, &m.lock, CFS_LOCK_REQ_RECLAIM,
			       err);
		if (r != 0) {
			owner_lease_end(owner, lease);
			if (r == -EBUSY && owner_grace_is_crowded(owner, c))
				return cfs_err_set(err, -EAGAIN,
						   "the container is just "
						   "being opened");
			return r == -EBUSY
				       ? cfs_err_set(
						 err, -ESTALE,
						 "somebody else has reclaimed it")
				       : r;
		}
		lease->generation = m.generation;
		owner->next_generation = CFS_MAX(owner->next_generation,
						 m.generation + 1);
		owner_event(owner, CFS_EVENT_GRANT, c, lease);
	}
	reply_grant(owner, lease, CFS_MSG_RECLAIM,
		    &(struct owner_serial){ .serial = m.lock.serial,
					    .message = rq->head.id },
		    false);
	owner_recall_if_wanted(owner, lease);
	return 0;
}

/* An id of ours that we have not given yet we shall give. */
static bool may_install(const struct cfs_owner *owner, uint64_t id)
{
	return !owner_lease_find(owner, id) &&
	       (id >> 32 != owner->config.epoch ||
		id < (owner->config.epoch << 32 | owner->next_id));
}

int owner_lease_install(struct cfs_owner *owner, struct owner_client *c,
			const struct cfs_handed_lease *from,
			struct cfs_err *err)
{
	const struct cfs_msg_lock m = {
		.resource = from->resource,
		.mode = from->mode,
		.flags = from->is_recallable ? CFS_MSG_LOCK_RECALLABLE : 0,
		.key = from->key,
	};
	struct owner_lease *lease;
	int r = may_install(owner, from->lease_id)
			? lease_new(owner, c, from->lease_id, &lease, err)
			: cfs_err_set(err, -EINVAL, "no lease of another");

	if (r != 0)
		return r;
	r = lease_lock(owner, lease, &m, CFS_LOCK_REQ_RECLAIM, err);
	if (r != 0) {
		owner_lease_end(owner, lease);
		return r;
	}
	lease->generation = from->generation;
	owner->next_generation = CFS_MAX(owner->next_generation,
					 from->generation + 1);
	owner_event(owner, CFS_EVENT_GRANT, c, lease);
	return 0;
}

/* ---- UNLOCK, CHANGE, CANCEL ---------------------------------------------- */

int owner_unlock(struct owner_request *rq, struct cfs_err *err)
{
	struct cfs_owner *owner = rq->owner;
	struct owner_client *c = rq->client;
	struct owner_lease *lease;
	struct cfs_msg_lease m;
	int r = cfs_msg_lease_unpack(&rq->body, &m, err);

	if (r != 0)
		return r;
	if (m.client_id)
		c = owner_client_by_word(owner, m.client_id, m.secret);
	lease = owner_lease_find(owner, m.lease_id);
	if (!c && owner_moved_is(owner, m.client_id, m.secret))
		return cfs_err_set(err, -EREMOTE, "another owner has it");
	if (!c || !lease || lease->client != c)
		return cfs_err_set(err, -ENOENT, "no such lease");
	if (rq->head.id)
		owner_reply_empty(owner, rq->peer->id, rq->head.type,
				  rq->head.id);
	if (lease->is_sealing)
		return 0; /* too late: it ends when it is sealed */
	if (!lease->is_waiting)
		owner_event(owner, CFS_EVENT_RELEASE, c, lease);
	owner_lease_end(owner, lease);
	if ((c->hello.flags & CFS_HELLO_STANDING) && c->lease_count == 0 &&
	    !c->peer)
		owner_client_end(owner, c, CFS_OWNER_END_GOODBYE);
	return 0;
}

/* To a weaker mode: at once. */
static int change_down(struct owner_request *rq, struct owner_lease *lease,
		       uint32_t mode, struct cfs_err *err)
{
	struct cfs_owner *owner = rq->owner;
	int r = cfs_lock_downgrade(lease->lock, mode, err);

	if (r != 0)
		return r;
	lease->is_changing = false;
	if (lease->is_recalled && !lease->is_stopped &&
	    cfs_lock_mode_covers(lease->recall_mode, mode))
		owner_recall_clear(owner, lease);
	reply_grant(owner, lease, CFS_MSG_CHANGE, &lease->changed, false);
	owner_event(owner, CFS_EVENT_CHANGE, lease->client, lease);
	owner_recall_if_wanted(owner, lease);
	return 0;
}

static int change_up(struct owner_request *rq, struct owner_lease *lease,
		     const struct cfs_msg_change *m, struct cfs_err *err)
{
	struct cfs_owner *owner = rq->owner;
	uint32_t old = cfs_lock_mode_of(lease->lock);
	int r;

	if (lease->is_stopped)
		return cfs_err_set(err, -ESTALE, "the lease is revoked");
	r = cfs_lock_upgrade(lease->lock, m->mode, m->flags & CFS_MSG_LOCK_WAIT,
			     err);
	if (r != 0)
		return r;
	if (cfs_lock_is_upgrading(lease->lock)) {
		lease->is_changing = true;
		reply_grant(owner, lease, CFS_MSG_CHANGE, &lease->changed,
			    true);
		owner_recall_blockers(owner, lease);
	} else if (cfs_lock_mode_of(lease->lock) != old) {
		lease_got(owner, lease, CFS_MSG_CHANGE, &lease->changed);
	} else {
		reply_grant(owner, lease, CFS_MSG_CHANGE, &lease->changed,
			    false);
	}
	return 0;
}

int owner_change(struct owner_request *rq, struct cfs_err *err)
{
	struct cfs_owner *owner = rq->owner;
	struct owner_serial *again;
	struct owner_lease *lease;
	struct cfs_msg_change m;
	int r = cfs_msg_change_unpack(&rq->body, &m, err);

	if (r != 0)
		return r;
	again = serial_find(owner, rq->client, m.serial);
	if (again)
		return lock_again(rq, again, err);
	r = serial_check(rq->client, m.serial, m.flags, err);
	if (r != 0)
		return r < 0 ? r : 0;
	lease = owner_lease_find(owner, m.lease_id);
	if (!lease || lease->client != rq->client || lease->is_waiting ||
	    lease->is_sealing)
		return cfs_err_set(err, -ENOENT, "no such lease");
	if (lease->is_changing &&
	    !cfs_lock_mode_covers(cfs_lock_mode_of(lease->lock), m.mode))
		return cfs_err_set(err, -EALREADY, "a change is under way");
	if (cfs_hash_reserve(&owner->serials) < 0)
		return cfs_err_set(err, -ENOMEM, "lease: no memory");
	if (lease->is_changing) /* a downgrade ends it */
		owner_reply_error(owner, rq->peer->id, CFS_MSG_CHANGE,
				  lease->changed.message, -ECANCELED, NULL);
	serial_set(owner, lease, &lease->changed, m.serial, rq->head.id);
	if (cfs_lock_mode_covers(cfs_lock_mode_of(lease->lock), m.mode))
		r = change_down(rq, lease, m.mode, err);
	else
		r = change_up(rq, lease, &m, err);
	if (r != 0)
		serial_del(owner, &lease->changed);
	return r;
}

int owner_cancel(struct owner_request *rq, struct cfs_err *err)
{
	struct cfs_owner *owner = rq->owner;
	struct owner_serial *s;
	struct cfs_msg_cancel m;
	int r = cfs_msg_cancel_unpack(&rq->body, &m, err);
	uint64_t peer = rq->peer->id;

	if (r != 0)
		return r;
	s = serial_find(owner, rq->client, m.serial);
	if (s && s == &s->lease->asked && s->lease->is_waiting) {
		owner_reply_error(owner, peer, CFS_MSG_LOCK, s->message,
				  -ECANCELED, NULL);
		owner_lease_end(owner, s->lease);
	} else if (s && s == &s->lease->changed && s->lease->is_changing) {
		owner_reply_error(owner, peer, CFS_MSG_CHANGE, s->message,
				  -ECANCELED, NULL);
		s->lease->is_changing = false;
		cfs_lock_upgrade_cancel(s->lease->lock);
	} else {
		return cfs_err_set(err, -ENOENT, "nothing like it waits");
	}
	owner_reply_empty(owner, peer, rq->head.type, rq->head.id);
	return 0;
}
