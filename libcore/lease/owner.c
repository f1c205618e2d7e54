/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lease/owner_priv.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"
#include "base/err.h"

static void config_default(struct cfs_owner_config *c)
{
#define DEFAULT(field, value) (c->field = c->field ? c->field : (value))
	DEFAULT(period_ns, CFS_PERIOD_NS_DEFAULT);
	DEFAULT(drift_ppm, CFS_DRIFT_PPM_DEFAULT);
	DEFAULT(recall_ns, c->period_ns);
	DEFAULT(clients_max, 4096);
	DEFAULT(leases_max, 1u << 20);
	DEFAULT(leases_per_client_max, 1u << 16);
	DEFAULT(waiting_max, 1u << 14);
	DEFAULT(waiting_per_client_max, 256);
	DEFAULT(watchers_max, 64);
	DEFAULT(deadlock_steps_max, 4096);
#undef DEFAULT
}

static bool config_is_valid(const struct cfs_owner_config *c)
{
	return c->epoch && c->epoch < UINT64_C(1) << 32 &&
	       c->period_ns >= CFS_PERIOD_NS_MIN &&
	       c->period_ns <= CFS_PERIOD_NS_MAX &&
	       c->drift_ppm <= CFS_DRIFT_PPM_MAX;
}

int cfs_owner_new(const struct cfs_owner_config *config,
		  const struct cfs_owner_ops *ops, void *arg,
		  struct cfs_clock *clock, struct cfs_owner **ret,
		  struct cfs_err *err)
{
	struct cfs_lock_config locks;
	struct cfs_owner *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return cfs_err_set(err, -ENOMEM, "owner: no memory");
	o->config = *config;
	config_default(&o->config);
	o->ops = *ops;
	o->arg = arg;
	o->clock = clock;
	o->now_ns = cfs_clock_elapsed_ns(clock);
	o->next_id = 1;
	o->next_generation = (config->epoch << 32) + 1;
	cfs_list_init(&o->graces);
	cfs_list_init(&o->moved);
	cfs_list_init(&o->client_list);
	cfs_list_init(&o->watchers);
	cfs_list_init(&o->gone_waits);
	cfs_list_init(&o->out);
	locks = (struct cfs_lock_config){
		.locks_max = o->config.leases_max,
		.waiting_max = o->config.waiting_max,
		.deadlock_steps_max = o->config.deadlock_steps_max,
	};
	if (!config_is_valid(&o->config))
		r = cfs_err_set(err, -EINVAL, "owner: bad configuration");
	else if (owner_timer_reserve(o) < 0)
		r = cfs_err_set(err, -ENOMEM, "owner: no memory");
	else
		r = cfs_lock_table_new(&locks, owner_lease_granted, o,
				       &o->table, err);
	if (r != 0) {
		cfs_owner_free(o);
		return r;
	}
	o->period_ns = cfs_period_owner_ns(o->config.period_ns,
					   o->config.drift_ppm);
	if (config->grace_ns)
		owner_grace_start(o, config->grace_ns);
	*ret = o;
	return 0;
}

int cfs_owner_set_period(struct cfs_owner *owner, uint64_t period_ns,
			 struct cfs_err *err)
{
	struct cfs_owner_config config = owner->config;

	config.period_ns = period_ns;
	if (!config_is_valid(&config))
		return cfs_err_set(err, -EINVAL, "owner: no such period");
	owner->config.period_ns = period_ns;
	owner->period_ns = cfs_period_owner_ns(period_ns, config.drift_ppm);
	return 0;
}

void cfs_owner_free(struct cfs_owner *owner)
{
	if (!owner)
		return;
	cfs_lock_table_free(owner->table);
	owner_gone_forget(owner, 0);
	CFS_LIST_EACH(l, &owner->client_list)
	{
		struct owner_client *c = CFS_CONTAINER_OF(
			l, struct owner_client, link);

		CFS_LIST_EACH(m, &c->leases)
		free(CFS_CONTAINER_OF(m, struct owner_lease, link));
		free(c);
	}
	for (size_t i = 0; i < owner->peers.slot_count; i++) {
		while (owner->peers.slots[i]) {
			struct cfs_hash_link *l = owner->peers.slots[i];

			owner->peers.slots[i] = l->next;
			free(CFS_CONTAINER_OF(l, struct owner_peer, hash));
		}
	}
	CFS_LIST_EACH(l, &owner->out)
	free(CFS_CONTAINER_OF(l, struct owner_out, link));
	owner_graces_free(owner);
	owner_moved_forget(owner, 0);
	cfs_hash_done(&owner->clients);
	cfs_hash_done(&owner->leases);
	cfs_hash_done(&owner->peers);
	cfs_hash_done(&owner->serials);
	free(owner->heap);
	free(owner);
}

/* ---- requests ------------------------------------------------------------ */

static int handle_goodbye(struct owner_request *rq, struct cfs_err *err)
{
	(void)err;
	owner_reply_empty(rq->owner, rq->peer->id, rq->head.type, rq->head.id);
	owner_event(rq->owner, CFS_EVENT_LEAVE, rq->client, NULL);
	owner_client_end(rq->owner, rq->client, CFS_OWNER_END_GOODBYE);
	return 0;
}

/* Has @c the lease that the rest of the request names, if it names one?  What
 * is revoked is not, though its time is not over. */
static int names_living(struct owner_request *rq, const struct owner_client *c,
			struct cfs_err *err)
{
	struct cfs_msg_renew_lease m;
	const struct owner_lease *lease;
	int r;

	if (!cfs_wire_get_left(&rq->body))
		return 0;
	r = cfs_msg_renew_lease_unpack(&rq->body, &m, err);
	if (r != 0)
		return r;
	lease = owner_lease_find(rq->owner, m.lease_id);
	return lease && lease->client == c && !lease->is_waiting &&
			       !lease->is_stopped && !lease->is_sealing
		       ? 0
		       : cfs_err_set(err, -ESTALE, "that lease has ended");
}

static int handle_renew(struct owner_request *rq, struct cfs_err *err)
{
	struct owner_client *c;
	struct cfs_msg_renew m;
	int r;

	if (cfs_wire_get_left(&rq->body)) {
		r = cfs_msg_renew_unpack(&rq->body, &m, err);
		if (r != 0)
			return r;
		if (m.client_id) {
			c = owner_client_by_word(rq->owner, m.client_id,
						 m.secret);
			if (!c &&
			    owner_moved_is(rq->owner, m.client_id, m.secret))
				return cfs_err_set(err, -EREMOTE,
						   "another owner has it");
			if (!c || c->is_stopped)
				return cfs_err_set(err, -ESTALE,
						   "that lease has ended");
			r = names_living(rq, c, err);
			if (r != 0)
				return r;
			owner_client_renew(rq->owner, c);
			owner_event(rq->owner, CFS_EVENT_RENEW, c, NULL);
		}
	}
	owner_reply_empty(rq->owner, rq->peer->id, rq->head.type, rq->head.id);
	return 0;
}

static const struct handler {
	int (*fn)(struct owner_request *rq, struct cfs_err *err);
	bool is_for_observers;
} handlers[] = {
	[CFS_MSG_GOODBYE] = { handle_goodbye, false },
	[CFS_MSG_RENEW] = { handle_renew, true },
	[CFS_MSG_LOCK] = { owner_lock, false },
	[CFS_MSG_UNLOCK] = { owner_unlock, true },
	[CFS_MSG_CHANGE] = { owner_change, false },
	[CFS_MSG_CANCEL] = { owner_cancel, false },
	[CFS_MSG_RECLAIM] = { owner_reclaim, false },
	[CFS_MSG_RECLAIMED] = { owner_reclaimed, false },
	[CFS_MSG_REVOKE] = { owner_revoke, true },
	[CFS_MSG_GONE] = { owner_gone, true },
	[CFS_MSG_STATUS] = { owner_status, true },
	[CFS_MSG_WATCH] = { owner_watch, true },
};

static int handle(struct owner_request *rq, struct cfs_err *err)
{
	const struct handler *h = rq->head.type < CFS_ARRAY_COUNT(handlers)
					  ? &handlers[rq->head.type]
					  : NULL;

	if (rq->head.type == CFS_MSG_HELLO)
		return owner_hello(rq, err);
	if (!rq->client && !rq->peer->is_observer)
		return cfs_err_set(err, -ENOTCONN,
				   rq->peer->was_client
					   ? "the client's period is over"
					   : "no HELLO was said");
	if (rq->client)
		owner_client_renew(rq->owner, rq->client);
	if (!h || !h->fn)
		return cfs_err_set(err, -ENOTSUP, "unknown request %u",
				   rq->head.type);
	if (!rq->client && !h->is_for_observers)
		return cfs_err_set(err, -EPERM, "not for observers");
	return h->fn(rq, err);
}

int cfs_owner_receive(struct cfs_owner *owner, uint64_t peer, const void *msg,
		      size_t bytes)
{
	struct owner_request rq = { .owner = owner };
	struct cfs_err err = CFS_ERR_INIT;
	int r = cfs_msg_open(msg, bytes, &rq.head, &rq.body, &err);

	if (r == -EPROTO)
		return r;
	if (r == 0 && (rq.head.is_reply ||
		       (rq.head.id == 0 && rq.head.type != CFS_MSG_UNLOCK)))
		return 0; /* nothing that is for us */
	owner_enter(owner);
	owner_run_due(owner);
	rq.peer = owner_peer_get(owner, peer);
	if (!rq.peer || rq.peer->is_broken) {
		r = -EPROTO;
	} else if (r != 0) {
		/* A newer version: its head can still be answered. */
		struct cfs_msg_head_disk d;

		memcpy(&d, msg, sizeof(d));
		owner_reply_error(owner, peer, le16_get(d.type), le64_get(d.id),
				  r, &err);
		r = 0;
	} else {
		rq.client = rq.peer->client;
		r = handle(&rq, &err);
		if (r != 0 && rq.head.id)
			owner_reply_error(owner, peer, rq.head.type, rq.head.id,
					  r, &err);
		r = 0;
	}
	owner_leave(owner);
	return r;
}

int cfs_owner_touch(struct cfs_owner *owner, uint64_t peer_id,
		    uint64_t *ret_client)
{
	const struct owner_peer *peer;
	int r = 0;

	owner_enter(owner);
	owner_run_due(owner);
	peer = owner_peer_find(owner, peer_id);
	if (peer && peer->client) {
		owner_client_renew(owner, peer->client);
		*ret_client = peer->client->id;
	} else if (peer && peer->is_observer) {
		*ret_client = 0;
	} else {
		r = peer && peer->is_moved     ? -ESHUTDOWN
		    : peer && peer->was_client ? -ESTALE
					       : -ENOTCONN;
	}
	owner_leave(owner);
	return r;
}

void cfs_owner_closed(struct cfs_owner *owner, uint64_t peer_id)
{
	struct owner_peer *peer = owner_peer_find(owner, peer_id);

	owner_gone_forget(owner, peer_id);
	if (peer)
		owner_peer_free(owner, peer);
}

void cfs_owner_sealed(struct cfs_owner *owner, uint64_t client_id,
		      uint64_t lease_id)
{
	struct owner_client *c;
	struct owner_lease *lease;

	owner_enter(owner);
	c = owner_client_find(owner, client_id);
	lease = lease_id ? owner_lease_find(owner, lease_id) : NULL;
	if (c && lease && lease->client == c && lease->is_sealing) {
		owner_event(owner, CFS_EVENT_SEALED, c, lease);
		owner_lease_end(owner, lease);
	} else if (c && !lease_id && c->state == OWNER_CLIENT_SEALING) {
		owner_event(owner, CFS_EVENT_SEALED, c, NULL);
		owner_client_end(owner, c, c->end);
	}
	owner_leave(owner);
}

uint64_t cfs_owner_tick(struct cfs_owner *owner)
{
	uint64_t next_ns;

	owner_enter(owner);
	owner_run_due(owner);
	owner_leave(owner);
	/* Due when now is behind it: a nanosecond later. */
	next_ns = owner->heap_count ? owner->heap[0]->at_ns : UINT64_MAX;
	return cfs_deadline_add(next_ns, 1);
}

/* ---- questions ----------------------------------------------------------- */

int cfs_owner_holds(struct cfs_owner *owner, uint64_t client,
		    const struct cfs_lock_resource *resource, uint32_t mode)
{
	const struct owner_client *c;
	int r = -ENOENT;

	owner_enter(owner);
	owner_run_due(owner);
	c = owner_client_find(owner, client);
	if (!c || c->state != OWNER_CLIENT_ALIVE)
		r = -ESTALE;
	for (struct cfs_link_node *l = c ? c->leases.next : NULL;
	     c && r == -ENOENT && l != &c->leases; l = l->next) {
		const struct owner_lease *lease = CFS_CONTAINER_OF(
			l, struct owner_lease, link);

		if (!lease->is_waiting && !lease->is_sealing &&
		    cfs_lock_mode_covers(cfs_lock_mode_of(lease->lock), mode) &&
		    cfs_lock_resource_contains(
			    cfs_lock_resource_of(lease->lock), resource))
			r = 0;
	}
	owner_leave(owner);
	return r;
}

uint32_t cfs_owner_client_count(const struct cfs_owner *owner)
{
	return owner->client_count;
}

uint32_t cfs_owner_lease_count(const struct cfs_owner *owner)
{
	return owner->lease_count;
}

bool cfs_owner_is_in_grace(const struct cfs_owner *owner)
{
	return owner->grace.is_on_hold;
}

bool cfs_owner_has_reclaimed(const struct cfs_owner *owner, uint64_t client)
{
	const struct owner_client *c = owner_client_find(owner, client);

	return c && c->state == OWNER_CLIENT_ALIVE && !c->is_stopped &&
	       !c->may_reclaim;
}

bool cfs_owner_has_client(const struct cfs_owner *owner, uint64_t client)
{
	return owner_client_find(owner, client) != NULL;
}

uint64_t cfs_owner_peer_client(const struct cfs_owner *owner, uint64_t peer)
{
	const struct owner_peer *p = owner_peer_find(owner, peer);

	return p && p->client ? p->client->id : 0;
}

static uint32_t count_preloaded(struct cfs_owner *owner)
{
	uint32_t count = owner->grace.preloaded_count;

	CFS_LIST_EACH(l, &owner->graces)
	count += CFS_CONTAINER_OF(l, struct owner_grace, link)->preloaded_count;
	return count;
}

const char *cfs_owner_check(struct cfs_owner *owner)
{
	uint32_t clients = 0, leases = 0, preloaded = 0;

	CFS_LIST_EACH(l, &owner->client_list)
	{
		const struct owner_client *c = CFS_CONTAINER_OF(
			l, struct owner_client, link);
		uint32_t count = 0, waiting = 0, recalled = 0;

		clients++;
		preloaded += c->is_preloaded;
		CFS_LIST_EACH(m, &c->leases)
		{
			const struct owner_lease *lease = CFS_CONTAINER_OF(
				m, struct owner_lease, link);

			count++;
			waiting += lease->is_waiting;
			recalled += lease->is_recalled;
			if (lease->client != c ||
			    cfs_lock_user(lease->lock) != lease ||
			    cfs_lock_is_waiting(lease->lock) !=
				    lease->is_waiting)
				return "a lease and its lock disagree";
		}
		if (count != c->lease_count || waiting != c->waiting_count ||
		    recalled != c->recalled_count)
			return "a client miscounts";
		if (!c->timer.place && c->state != OWNER_CLIENT_SEALING)
			return "a client has no end";
		leases += count;
	}
	if (clients != owner->client_count || leases != owner->lease_count ||
	    preloaded != count_preloaded(owner))
		return "the owner miscounts";
	return cfs_lock_table_check(owner->table);
}
