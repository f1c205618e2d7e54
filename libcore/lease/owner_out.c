/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What leaves the owner: messages, calls, events; and the peers they go to. */
#include "lease/owner_priv.h"

#include <assert.h>
#include <string.h>

/* ---- the queue ----------------------------------------------------------- */

static bool may_say(const struct cfs_owner *owner, uint64_t peer)
{
	return !owner->ops.may_say || owner->ops.may_say(owner->arg, peer);
}

static void out_send(struct cfs_owner *owner, const struct owner_out *out)
{
	struct owner_peer *peer = owner_peer_find(owner, out->peer);

	if (!peer || peer->is_broken)
		return;
	if (!may_say(owner, out->peer) ||
	    owner->ops.send(owner->arg, out->peer, out->data, out->bytes) < 0) {
		/* It may have been closed from in there. */
		peer = owner_peer_find(owner, out->peer);
		if (peer)
			owner_peer_break(owner, peer);
	}
}

static void out_do(struct cfs_owner *owner, const struct owner_out *out)
{
	switch (out->kind) {
	case OWNER_OUT_MESSAGE:
		out_send(owner, out);
		break;
	case OWNER_OUT_SEAL:
		owner->ops.seal(owner->arg, out->client, out->lease, out->end);
		break;
	case OWNER_OUT_ENDED:
		owner->ops.ended(owner->arg, out->client, out->end);
		break;
	}
}

void owner_enter(struct cfs_owner *owner)
{
	owner->depth++;
	owner->now_ns = cfs_clock_elapsed_ns(owner->clock);
	if (owner->config.grace_ns && !owner->has_told_takeover) {
		owner->has_told_takeover = true;
		owner_event(owner, CFS_EVENT_TAKEOVER, NULL, NULL);
	}
}

void owner_leave(struct cfs_owner *owner)
{
	assert(owner->depth > 0);
	if (--owner->depth || owner->is_flushing)
		return;
	owner->is_flushing = true;
	while (!cfs_list_is_empty(&owner->out)) {
		struct owner_out *out = CFS_CONTAINER_OF(
			owner->out.next, struct owner_out, link);

		cfs_list_del(&out->link);
		out_do(owner, out);
		free(out);
	}
	owner->is_flushing = false;
}

bool owner_out_call(struct cfs_owner *owner, enum owner_out_kind kind,
		    uint64_t client, uint64_t lease, enum cfs_owner_end end)
{
	struct owner_out *out = calloc(1, sizeof(*out));

	if (!out)
		return false;
	out->kind = kind;
	out->client = client;
	out->lease = lease;
	out->end = end;
	cfs_list_add_tail(&owner->out, &out->link);
	return true;
}

/* ---- messages ------------------------------------------------------------ */

void owner_put_begin(struct cfs_owner *owner, struct cfs_wire_put *put,
		     uint16_t type, uint64_t id)
{
	cfs_wire_put_init(put, owner->buf, sizeof(owner->buf));
	cfs_msg_begin(put, type, id);
}

void owner_put_end(struct cfs_owner *owner, struct cfs_wire_put *put,
		   uint64_t peer_id)
{
	struct owner_peer *peer = owner_peer_find(owner, peer_id);
	struct owner_out *out;
	int r = cfs_msg_end(put);

	assert(r == 0);
	(void)r;
	if (!peer || peer->is_broken)
		return;
	out = malloc(sizeof(*out) + put->bytes);
	if (!out) {
		/* It might have been what stops a lease: then nothing may
		 * reach the client that extends it. */
		owner_peer_break(owner, peer);
		return;
	}
	out->kind = OWNER_OUT_MESSAGE;
	out->peer = peer_id;
	out->bytes = put->bytes;
	memcpy(out->data, put->data, put->bytes);
	cfs_list_add_tail(&owner->out, &out->link);
}

void owner_reply_empty(struct cfs_owner *owner, uint64_t peer, uint16_t type,
		       uint64_t id)
{
	struct cfs_wire_put put;

	owner_put_begin(owner, &put, type | CFS_MSG_TYPE_REPLY, id);
	owner_put_end(owner, &put, peer);
}

void owner_reply_error(struct cfs_owner *owner, uint64_t peer, uint16_t type,
		       uint64_t id, int code, const struct cfs_err *err)
{
	struct cfs_wire_put put;

	cfs_wire_put_init(&put, owner->buf, sizeof(owner->buf));
	cfs_msg_error(&put, type, id, code, err);
	owner_put_end(owner, &put, peer);
}

/* ---- peers --------------------------------------------------------------- */

static uint64_t peer_hash(uint64_t id)
{
	return cfs_hash_mix(7, id);
}

struct owner_peer *owner_peer_find(const struct cfs_owner *owner, uint64_t id)
{
	uint64_t hash = peer_hash(id);

	for (struct cfs_hash_link *l = cfs_hash_first(&owner->peers, hash); l;
	     l = cfs_hash_skip(l->next, hash)) {
		struct owner_peer *peer = CFS_CONTAINER_OF(l, struct owner_peer,
							   hash);

		if (peer->id == id)
			return peer;
	}
	return NULL;
}

struct owner_peer *owner_peer_get(struct cfs_owner *owner, uint64_t id)
{
	struct owner_peer *peer = owner_peer_find(owner, id);

	if (peer)
		return peer;
	if (cfs_hash_reserve(&owner->peers) < 0)
		return NULL;
	peer = calloc(1, sizeof(*peer));
	if (!peer)
		return NULL;
	peer->id = id;
	cfs_list_init(&peer->watch);
	cfs_hash_add(&owner->peers, &peer->hash, peer_hash(id));
	return peer;
}

static void peer_detach(struct cfs_owner *owner, struct owner_peer *peer)
{
	if (peer->client && peer->client->peer == peer->id)
		peer->client->peer = 0;
	peer->client = NULL;
	if (peer->watch_message) {
		peer->watch_message = 0;
		cfs_list_del(&peer->watch);
		owner->watcher_count--;
	}
}

void owner_peer_break(struct cfs_owner *owner, struct owner_peer *peer)
{
	peer_detach(owner, peer);
	peer->is_broken = true;
}

void owner_peer_free(struct cfs_owner *owner, struct owner_peer *peer)
{
	peer_detach(owner, peer);
	cfs_hash_del(&owner->peers, &peer->hash);
	free(peer);
}

/* ---- events -------------------------------------------------------------- */

void owner_event(struct cfs_owner *owner, enum cfs_lease_event_kind kind,
		 const struct owner_client *client,
		 const struct owner_lease *lease)
{
	struct cfs_lease_event e = { .kind = kind };
	struct cfs_wire_put put;

	if (!owner->ops.event && !owner->watcher_count)
		return;
	e.realtime_ns = cfs_clock_realtime_ns(owner->clock);
	e.epoch = owner->config.epoch;
	if (client) {
		e.client_id = client->id;
		memcpy(e.host, client->hello.host, sizeof(e.host));
		memcpy(e.name, client->hello.name, sizeof(e.name));
	}
	if (lease) {
		e.lease_id = lease->id;
		e.resource = *cfs_lock_resource_of(lease->lock);
		e.mode = cfs_lock_mode_of(lease->lock);
		e.generation = lease->generation;
	}
	if (owner->ops.event)
		owner->ops.event(owner->arg, &e);
	CFS_LIST_EACH(l, &owner->watchers)
	{
		const struct owner_peer *peer = CFS_CONTAINER_OF(
			l, struct owner_peer, watch);

		owner_put_begin(owner, &put,
				CFS_MSG_WATCH | CFS_MSG_TYPE_REPLY |
					CFS_MSG_TYPE_MORE,
				peer->watch_message);
		cfs_msg_event_pack(&e, &put);
		owner_put_end(owner, &put, peer->id);
	}
}
