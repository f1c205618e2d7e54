/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looking at the owner: status in pages, watching, and orders. */
#include "lease/owner_priv.h"

#include <string.h>

static uint64_t left_ns(const struct cfs_owner *owner, uint64_t at_ns)
{
	return at_ns > owner->now_ns ? at_ns - owner->now_ns : 0;
}

static void record_client(const struct cfs_owner *owner,
			  const struct owner_client *c,
			  struct cfs_lease_record *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->kind = CFS_RECORD_CLIENT;
	ret->client_id = c->id;
	ret->flags =
		(c->peer ? CFS_CLIENT_CONNECTED : 0u) |
		(c->hello.flags & CFS_HELLO_STANDING ? CFS_CLIENT_STANDING
						     : 0u) |
		(c->hello.flags & CFS_HELLO_DURABLE ? CFS_CLIENT_DURABLE : 0u) |
		(c->state == OWNER_CLIENT_SILENT ? CFS_CLIENT_SILENT : 0u) |
		(c->state == OWNER_CLIENT_SEALING ? CFS_CLIENT_SEALING : 0u);
	ret->ends_in_ns = left_ns(owner, c->deadline_ns);
	memcpy(ret->u.client.host, c->hello.host, sizeof(ret->u.client.host));
	memcpy(ret->u.client.name, c->hello.name, sizeof(ret->u.client.name));
	ret->u.client.pid = c->hello.pid;
	ret->u.client.lease_count = c->lease_count;
}

static void record_lease(const struct cfs_owner *owner,
			 const struct owner_lease *lease,
			 struct cfs_lease_record *ret)
{
	bool is_sealing = lease->is_sealing ||
			  lease->client->state == OWNER_CLIENT_SEALING;

	memset(ret, 0, sizeof(*ret));
	ret->kind = CFS_RECORD_LEASE;
	ret->client_id = lease->client->id;
	ret->flags = (lease->is_waiting ? CFS_LEASE_WAITING : 0u) |
		     (cfs_lock_is_recallable(lease->lock) ? CFS_LEASE_RECALLABLE
							  : 0u) |
		     (lease->is_recalled ? CFS_LEASE_RECALLED : 0u) |
		     (lease->is_stopped ? CFS_LEASE_STOPPED : 0u) |
		     (lease->is_borrowed ? CFS_LEASE_BORROWED : 0u) |
		     (is_sealing ? CFS_LEASE_SEALING : 0u);
	if (!lease->is_waiting && !is_sealing)
		ret->ends_in_ns = left_ns(
			owner, lease->is_stopped ? lease->end_ns
						 : lease->client->deadline_ns);
	ret->u.lease.lease_id = lease->id;
	ret->u.lease.resource = *cfs_lock_resource_of(lease->lock);
	ret->u.lease.mode = cfs_lock_mode_of(lease->lock);
	ret->u.lease.key = lease->key;
	ret->u.lease.generation = lease->generation;
}

/* Those of @c behind @after. */
static bool each_lease(const struct cfs_owner *owner,
		       const struct owner_client *c, uint64_t after,
		       cfs_owner_record_fn fn, void *arg)
{
	struct cfs_lease_record rec;

	CFS_LIST_EACH(l, &c->leases)
	{
		const struct owner_lease *lease = CFS_CONTAINER_OF(
			l, struct owner_lease, link);

		if (lease->id <= after)
			continue;
		record_lease(owner, lease, &rec);
		if (!fn(arg, &rec))
			return false;
	}
	return true;
}

static void each(struct cfs_owner *owner, uint64_t after_client,
		 uint64_t after_lease, cfs_owner_record_fn fn, void *arg)
{
	struct cfs_lease_record rec;
	struct cfs_link_node *from = &owner->client_list;
	struct owner_client *first =
		after_client ? owner_client_find(owner, after_client) : NULL;

	/* The client of the cursor was told of; the rest of its leases not. */
	if (first) {
		from = &first->link;
		if (!each_lease(owner, first, after_lease, fn, arg))
			return;
	}
	for (struct cfs_link_node *l = from->next; l != &owner->client_list;
	     l = l->next) {
		const struct owner_client *c = CFS_CONTAINER_OF(
			l, struct owner_client, link);

		if (c->id <= after_client)
			continue; /* the cursor's client is gone */
		record_client(owner, c, &rec);
		if (!fn(arg, &rec) || !each_lease(owner, c, 0, fn, arg))
			return;
	}
}

void cfs_owner_each(struct cfs_owner *owner, uint64_t after_client,
		    uint64_t after_lease, cfs_owner_record_fn fn, void *arg)
{
	owner_enter(owner);
	each(owner, after_client, after_lease, fn, arg);
	owner_leave(owner);
}

/* ---- messages ------------------------------------------------------------ */

struct page {
	struct cfs_wire_put put;
	struct cfs_msg_status_head head;
	uint64_t last_client, last_lease;
	uint8_t data[CFS_MSG_BODY_MAX];
};

static bool page_add(void *arg, const struct cfs_lease_record *rec)
{
	struct page *p = arg;

	if (p->put.room_bytes - p->put.bytes < CFS_LEASE_RECORD_BYTES_MAX) {
		p->head.next_client = p->last_client;
		p->head.next_lease = p->last_lease;
		return false;
	}
	cfs_msg_record_pack(rec, &p->put);
	p->head.record_count++;
	p->last_client = rec->client_id;
	p->last_lease = rec->kind == CFS_RECORD_LEASE ? rec->u.lease.lease_id
						      : 0;
	return true;
}

int owner_status(struct owner_request *rq, struct cfs_err *err)
{
	struct cfs_owner *owner = rq->owner;
	struct cfs_msg_status m;
	struct cfs_wire_put put;
	struct page *p;
	int r = cfs_msg_status_unpack(&rq->body, &m, err);

	if (r != 0)
		return r;
	p = calloc(1, sizeof(*p));
	if (!p)
		return cfs_err_set(err, -ENOMEM, "status: no memory");
	/* Behind the head, whose length is the same whatever it says. */
	cfs_wire_put_init(&p->put, p->data, sizeof(p->data));
	cfs_msg_status_head_pack(&p->head, &p->put);
	p->put.room_bytes -= p->put.bytes;
	cfs_wire_put_init(&p->put, p->data, p->put.room_bytes);
	p->head.epoch = owner->config.epoch;
	p->head.period_ns = owner->config.period_ns;
	p->head.grace_ns = owner->grace.is_in_grace
				   ? left_ns(owner, owner->grace.timer.at_ns)
				   : 0;
	p->head.client_count = owner->client_count;
	p->head.lease_count = owner->lease_count;
	p->head.waiting_count = cfs_lock_table_waiting_count(owner->table);
	each(owner, m.after_client, m.after_lease, page_add, p);
	owner_put_begin(owner, &put, rq->head.type | CFS_MSG_TYPE_REPLY,
			rq->head.id);
	cfs_msg_status_head_pack(&p->head, &put);
	cfs_wire_put_bytes(&put, p->put.data, p->put.bytes);
	owner_put_end(owner, &put, rq->peer->id);
	free(p);
	return 0;
}

int owner_watch(struct owner_request *rq, struct cfs_err *err)
{
	struct cfs_owner *owner = rq->owner;
	struct cfs_wire_put put;

	if (!rq->peer->watch_message) {
		if (owner->watcher_count >= owner->config.watchers_max)
			return cfs_err_set(err, -EAGAIN,
					   "too many are watching");
		owner->watcher_count++;
		cfs_list_add_tail(&owner->watchers, &rq->peer->watch);
	}
	rq->peer->watch_message = rq->head.id;
	/* The first has no body: it says that events follow. */
	owner_put_begin(owner, &put,
			CFS_MSG_WATCH | CFS_MSG_TYPE_REPLY | CFS_MSG_TYPE_MORE,
			rq->head.id);
	owner_put_end(owner, &put, rq->peer->id);
	return 0;
}

int owner_revoke(struct owner_request *rq, struct cfs_err *err)
{
	struct cfs_msg_end m;
	int r = cfs_msg_end_unpack(&rq->body, &m, err);

	if (r != 0)
		return r;
	if (m.host[0])
		return cfs_err_set(err, -EINVAL, "a lease or a client");
	r = m.lease_id ? cfs_owner_revoke_lease(rq->owner, m.lease_id)
		       : cfs_owner_revoke_client(rq->owner, m.client_id);
	if (r != 0)
		return cfs_err_set(err, r, "no such lease or client");
	owner_reply_empty(rq->owner, rq->peer->id, rq->head.type, rq->head.id);
	return 0;
}
