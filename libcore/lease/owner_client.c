/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clients of the owner: how they come, stay and end. */
#include "lease/owner_priv.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"
#include "base/rng.h"

static uint64_t client_hash(uint64_t id)
{
	return cfs_hash_mix(5, id);
}

struct owner_client *owner_client_find(const struct cfs_owner *owner,
				       uint64_t id)
{
	uint64_t hash = client_hash(id);

	for (struct cfs_hash_link *l = cfs_hash_first(&owner->clients, hash); l;
	     l = cfs_hash_skip(l->next, hash)) {
		struct owner_client *c = CFS_CONTAINER_OF(
			l, struct owner_client, hash);

		if (c->id == id)
			return c;
	}
	return NULL;
}

/* As long as they differ, however much of them is the same. */
static bool secret_is_equal(const uint8_t *a, const uint8_t *b)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < CFS_LEASE_SECRET_BYTES; i++)
		sum |= a[i] ^ b[i];
	return sum == 0;
}

static bool secret_is_null(const uint8_t *secret)
{
	static const uint8_t null[CFS_LEASE_SECRET_BYTES];

	return secret_is_equal(secret, null);
}

struct owner_client *owner_client_by_secret(const struct cfs_owner *owner,
					    uint64_t id, const uint8_t *secret)
{
	struct owner_client *c = owner_client_find(owner, id);

	return c && c->state == OWNER_CLIENT_ALIVE &&
			       secret_is_equal(c->secret, secret)
		       ? c
		       : NULL;
}

struct owner_client *owner_client_by_word(const struct cfs_owner *owner,
					  uint64_t id, const uint8_t *secret)
{
	struct owner_client *c;

	if (!secret_is_null(secret))
		return owner_client_by_secret(owner, id, secret);
	c = owner_client_find(owner, id);
	return c && c->state == OWNER_CLIENT_ALIVE && !c->peer &&
			       (c->hello.flags & CFS_HELLO_STANDING)
		       ? c
		       : NULL;
}

struct owner_client *owner_client_new(struct cfs_owner *owner, uint64_t id,
				      struct cfs_err *err)
{
	struct cfs_link_node *at = owner->client_list.prev;
	struct owner_client *c;

	if (owner->client_count >= owner->config.clients_max) {
		cfs_err_set(err, -EAGAIN, "the manager has too many clients");
		return NULL;
	}
	c = calloc(1, sizeof(*c));
	if (!c || cfs_hash_reserve(&owner->clients) < 0 ||
	    owner_timer_reserve(owner) < 0) {
		free(c);
		cfs_err_set(err, -ENOMEM, "client: no memory");
		return NULL;
	}
	c->id = id;
	c->timer.kind = OWNER_TIMER_CLIENT;
	c->period_ns = owner->config.period_ns;
	c->owner_period_ns = owner->period_ns;
	c->state = OWNER_CLIENT_ALIVE;
	cfs_list_init(&c->leases);
	cfs_list_init(&c->lenders);
	cfs_hash_add(&owner->clients, &c->hash, client_hash(id));
	while (at != &owner->client_list &&
	       CFS_CONTAINER_OF(at, struct owner_client, link)->id > id)
		at = at->prev;
	cfs_list_add_behind(at, &c->link);
	owner->client_count++;
	return c;
}

void owner_client_renew(struct cfs_owner *owner, struct owner_client *client)
{
	if (client->state != OWNER_CLIENT_ALIVE || client->is_stopped)
		return;
	client->deadline_ns = cfs_deadline_add(owner->now_ns,
					       client->owner_period_ns);
	if (!client->timer.place)
		owner_timer_set(owner, &client->timer, client->deadline_ns);
}

/* ---- HELLO --------------------------------------------------------------- */

static int hello_known(struct cfs_owner *owner, struct owner_client *c,
		       const struct cfs_msg_hello *m, uint32_t *flags,
		       struct cfs_err *err)
{
	bool is_same = m->pid == c->hello.pid &&
		       m->process_start == c->hello.process_start &&
		       cfs_uuid_is_equal(m->boot_id, c->hello.boot_id) &&
		       strcmp(m->host, c->hello.host) == 0;

	if (secret_is_null(c->secret) ? !is_same
				      : !secret_is_equal(m->secret, c->secret))
		return cfs_err_set(err, -EPERM, "not that client's secret");
	memcpy(c->secret, m->secret, sizeof(c->secret));
	if (c->state == OWNER_CLIENT_SILENT) {
		c->state = OWNER_CLIENT_ALIVE;
		c->hello = *m;
		c->may_reclaim = true;
	}
	*flags = c->may_reclaim ? CFS_WELCOME_RECLAIM : CFS_WELCOME_KNOWN;
	/* The epoch does not tell him. */
	if (c->may_reclaim && m->epoch == owner->config.epoch &&
	    !c->has_claimed)
		*flags |= CFS_WELCOME_ANEW;
	owner_event(owner, CFS_EVENT_RENEW, c, NULL);
	return 0;
}

/* Who owns a container has clients, who have to outlive it by some time. */
static void client_set_short(struct cfs_owner *owner, struct owner_client *c)
{
	c->period_ns = cfs_period_short_ns(owner->config.period_ns);
	c->owner_period_ns = cfs_period_owner_ns(c->period_ns,
						 owner->config.drift_ppm);
}

/* A client that nobody knows: of the former owner, or a new one. */
static struct owner_client *hello_new(struct cfs_owner *owner,
				      const struct cfs_msg_hello *m,
				      uint32_t *flags, struct cfs_err *err)
{
	struct owner_grace *grace = owner_grace_for(owner, m);
	bool is_former = grace && !secret_is_null(m->secret) &&
			 !owner_client_find(owner, m->client_id);
	uint64_t id = is_former ? m->client_id
				: owner->config.epoch << 32 | owner->next_id++;
	struct owner_client *c = owner_client_new(owner, id, err);

	if (!c)
		return NULL;
	c->hello = *m;
	c->grace = is_former ? grace : NULL;
	if (m->flags & CFS_HELLO_SECONDARY)
		client_set_short(owner, c);
	c->may_reclaim = is_former;
	if (is_former) {
		*flags = CFS_WELCOME_RECLAIM;
		if (m->epoch == owner->config.epoch)
			*flags |= CFS_WELCOME_ANEW;
		memcpy(c->secret, m->secret, sizeof(c->secret));
	} else if (owner->ops.random) {
		owner->ops.random(owner->arg, c->secret, sizeof(c->secret));
	} else if (cfs_random_bytes(c->secret, sizeof(c->secret), err) < 0) {
		owner_client_end(owner, c, CFS_OWNER_END_GOODBYE);
		return NULL;
	}
	owner_event(owner, CFS_EVENT_JOIN, c, NULL);
	return c;
}

static void welcome(struct owner_request *rq, uint32_t flags)
{
	struct cfs_owner *owner = rq->owner;
	const struct owner_client *c = rq->client;
	struct cfs_msg_welcome m = {
		.epoch = owner->config.epoch,
		.period_ns = c ? c->period_ns : owner->config.period_ns,
		.drift_ppm = owner->config.drift_ppm,
		.flags = flags,
	};
	const struct owner_grace *g = c && c->grace ? c->grace : &owner->grace;
	struct cfs_wire_put put;

	if (owner->grace.is_on_hold)
		m.flags |= CFS_WELCOME_GRACE;
	if (g->is_in_grace && g->timer.at_ns > owner->now_ns)
		m.grace_ns = g->timer.at_ns - owner->now_ns;
	if (c) {
		m.client_id = c->id;
		m.last_serial = c->last_serial;
		memcpy(m.secret, c->secret, sizeof(m.secret));
	}
	owner_put_begin(owner, &put, CFS_MSG_HELLO | CFS_MSG_TYPE_REPLY,
			rq->head.id);
	cfs_msg_welcome_pack(&m, &put);
	owner_put_end(owner, &put, rq->peer->id);
}

static void client_attach(struct cfs_owner *owner, struct owner_client *c,
			  struct owner_peer *peer)
{
	struct owner_peer *old;

	if (peer->client && peer->client != c)
		peer->client->peer = 0;
	if (c->peer && c->peer != peer->id) {
		/* What is under way there must not reach it any more. */
		old = owner_peer_find(owner, c->peer);
		if (old)
			owner_peer_break(owner, old);
	}
	peer->client = c;
	peer->was_client = true;
	peer->is_observer = false;
	c->peer = peer->id;
}

int owner_hello(struct owner_request *rq, struct cfs_err *err)
{
	struct cfs_owner *owner = rq->owner;
	struct owner_client *c;
	struct cfs_msg_hello m;
	uint32_t flags = 0;
	int r = cfs_msg_hello_unpack(&rq->body, &m, err);

	if (r != 0)
		return r;
	if (!cfs_uuid_is_equal(m.pool_uuid, owner->config.pool_uuid))
		return cfs_err_set(err, -ENOENT, "another pool is held here");
	if (rq->peer->client && rq->peer->hello_message == rq->head.id) {
		rq->client = rq->peer->client;
		welcome(rq, CFS_WELCOME_KNOWN);
		return 0;
	}
	/* A late double of what was said before: it says nothing now. */
	if (rq->head.id <= rq->peer->hello_message)
		return 0;
	if (m.flags & CFS_HELLO_OBSERVER) {
		if (rq->peer->client)
			return cfs_err_set(err, -EINVAL, "already a client");
		rq->peer->is_observer = true;
		rq->client = NULL;
		welcome(rq, 0);
		return 0;
	}
	/* Its owner has gone, or may have: we have not taken over yet. */
	if (owner_grace_is_to_come(owner, &m))
		return cfs_err_set(err, -EAGAIN,
				   "the container has another "
				   "owner, as far as is known here");
	c = m.client_id ? owner_client_find(owner, m.client_id) : NULL;
	if (c && (c->state == OWNER_CLIENT_SEALING || c->is_stopped))
		c = NULL;
	r = 0;
	if (c)
		r = hello_known(owner, c, &m, &flags, err);
	else
		c = hello_new(owner, &m, &flags, err);
	if (r != 0 || !c)
		return r != 0 ? r : err->code;
	client_attach(owner, c, rq->peer);
	rq->client = c;
	rq->peer->hello_message = rq->head.id;
	owner_client_renew(owner, c);
	owner_recall_again(owner, c);
	welcome(rq, flags);
	return 0;
}

/* ---- ends ---------------------------------------------------------------- */

int owner_reclaimed(struct owner_request *rq, struct cfs_err *err)
{
	(void)err;
	owner_reply_empty(rq->owner, rq->peer->id, rq->head.type, rq->head.id);
	owner_client_settled(rq->owner, rq->client);
	return 0;
}

/* It gets no reply any more, so its period cannot grow. */
void owner_client_stop(struct cfs_owner *owner, struct owner_client *client)
{
	struct owner_peer *peer = owner_peer_find(owner, client->peer);

	client->is_stopped = true;
	if (peer)
		owner_peer_break(owner, peer);
}

void owner_client_end(struct cfs_owner *owner, struct owner_client *client,
		      enum cfs_owner_end end)
{
	struct owner_peer *peer = owner_peer_find(owner, client->peer);
	struct owner_grace *grace = client->is_preloaded ? client->grace : NULL;
	uint64_t id = client->id;

	if (peer)
		peer->client = NULL;
	client->peer = 0;
	while (!cfs_list_is_empty(&client->lenders))
		cfs_list_del(client->lenders.next);
	while (!cfs_list_is_empty(&client->leases))
		owner_lease_end(owner,
				CFS_CONTAINER_OF(client->leases.next,
						 struct owner_lease, link));
	owner_timer_set(owner, &client->timer, UINT64_MAX);
	cfs_hash_del(&owner->clients, &client->hash);
	cfs_list_del(&client->link);
	owner->client_count--;
	free(client);
	/* Without memory the caller hears it by asking for the client. */
	if (owner->ops.ended)
		owner_out_call(owner, OWNER_OUT_ENDED, id, 0, end);
	owner_gone_settle(owner);
	if (!grace)
		return;
	grace->preloaded_count--;
	owner_grace_settle(owner, grace);
}

void owner_client_expire(struct cfs_owner *owner, struct owner_client *client,
			 enum cfs_owner_end end)
{
	struct owner_peer *peer = owner_peer_find(owner, client->peer);

	if (client->state == OWNER_CLIENT_SEALING)
		return;
	client->state = OWNER_CLIENT_SEALING;
	client->end = end;
	owner_timer_set(owner, &client->timer, UINT64_MAX);
	owner_event(owner,
		    end == CFS_OWNER_END_GONE      ? CFS_EVENT_GONE
		    : end == CFS_OWNER_END_REVOKED ? CFS_EVENT_REVOKE
						   : CFS_EVENT_EXPIRE,
		    client, NULL);
	/* The connection stays: it may say HELLO again, as a new client. */
	if (peer)
		peer->client = NULL;
	client->peer = 0;
	/* What it waits for it shall not get any more. */
	CFS_LIST_EACH(l, &client->leases)
	{
		struct owner_lease *lease = CFS_CONTAINER_OF(
			l, struct owner_lease, link);

		owner_timer_set(owner, &lease->timer, UINT64_MAX);
		if (lease->is_waiting)
			owner_lease_end(owner, lease);
		else
			cfs_lock_upgrade_cancel(lease->lock);
	}
	if (!owner->ops.seal)
		owner_client_end(owner, client, end);
	else if (!owner_out_call(owner, OWNER_OUT_SEAL, client->id, 0, end))
		/* No memory: again a little later. */
		owner_timer_set(owner, &client->timer, owner->now_ns);
}

void owner_client_due(struct cfs_owner *owner, struct owner_client *client)
{
	if (client->state == OWNER_CLIENT_SEALING) {
		bool is_out = owner_out_call(owner, OWNER_OUT_SEAL, client->id,
					     0, client->end);

		owner_timer_set(owner, &client->timer,
				is_out ? UINT64_MAX
				       : owner->now_ns + CFS_NS_PER_S);
		return;
	}
	if (!cfs_period_is_over(client->deadline_ns, owner->now_ns)) {
		owner_timer_set(owner, &client->timer, client->deadline_ns);
		return;
	}
	owner_client_expire(owner, client,
			    client->is_stopped ? CFS_OWNER_END_REVOKED
					       : CFS_OWNER_END_EXPIRED);
}
