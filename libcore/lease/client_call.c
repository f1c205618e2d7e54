/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests of the client: sent, sent again, answered. */
#include "lease/client_priv.h"

#include <string.h>

#include "base/bits.h"

static uint64_t number_hash(uint64_t n)
{
	return cfs_hash_mix(11, n);
}

struct client_call *client_call_reserve(void)
{
	struct client_call *call = calloc(1, sizeof(*call));

	if (call)
		cfs_list_init(&call->link);
	return call;
}

static void call_number(struct cfs_lease_client *client,
			struct client_call *call)
{
	call->serial = client->next_serial++;
	cfs_hash_add(&client->calls_by_serial, &call->by_serial,
		     number_hash(call->serial));
	cfs_list_add_tail(&client->calls, &call->link);
}

void client_call_start(struct cfs_lease_client *client,
		       struct client_call *call, uint16_t type)
{
	call->type = type;
	call_number(client, call);
}

struct client_call *client_call_new(struct cfs_lease_client *client,
				    uint16_t type)
{
	struct client_call *call = NULL;

	if (cfs_hash_reserve(&client->calls_by_id) == 0 &&
	    cfs_hash_reserve(&client->calls_by_serial) == 0)
		call = client_call_reserve();
	if (call)
		client_call_start(client, call, type);
	return call;
}

static void call_unsend(struct cfs_lease_client *client,
			struct client_call *call)
{
	if (call->is_sent)
		cfs_hash_del(&client->calls_by_id, &call->by_id);
	call->is_sent = false;
}

static void call_unlink(struct cfs_lease_client *client,
			struct client_call *call)
{
	call_unsend(client, call);
	if (call->serial) {
		cfs_hash_del(&client->calls_by_serial, &call->by_serial);
		cfs_list_del(&call->link);
	}
	call->serial = 0;
}

void client_call_free(struct cfs_lease_client *client, struct client_call *call)
{
	if (!call)
		return;
	call_unlink(client, call);
	if (call->token && call->token->call == call)
		call->token->call = NULL;
	if (call->type == CFS_MSG_LOCK)
		client_grant_free(call->grant);
	else if (call->grant && call->grant->call == call)
		call->grant->call = NULL;
	free(call);
}

void client_call_renumber(struct cfs_lease_client *client,
			  struct client_call *call)
{
	call_unlink(client, call);
	call_number(client, call);
	call->was_sent = false;
	call->is_queued = false;
}

static struct client_call *call_by_id(const struct cfs_lease_client *client,
				      uint64_t id)
{
	uint64_t hash = number_hash(id);

	for (struct cfs_hash_link *l =
		     cfs_hash_first(&client->calls_by_id, hash);
	     l; l = cfs_hash_skip(l->next, hash)) {
		struct client_call *call = CFS_CONTAINER_OF(
			l, struct client_call, by_id);

		if (call->id == id)
			return call;
	}
	return NULL;
}

static struct client_call *call_by_serial(const struct cfs_lease_client *client,
					  uint64_t serial)
{
	uint64_t hash = number_hash(serial);

	for (struct cfs_hash_link *l =
		     cfs_hash_first(&client->calls_by_serial, hash);
	     l; l = cfs_hash_skip(l->next, hash)) {
		struct client_call *call = CFS_CONTAINER_OF(
			l, struct client_call, by_serial);

		if (call->serial == serial)
			return call;
	}
	return NULL;
}

/* ---- sending ------------------------------------------------------------- */

static struct cfs_msg_lock lock_body(const struct cfs_lease_request *req,
				     uint64_t serial, bool is_resent)
{
	struct cfs_msg_lock m = {
		.resource = req->resource,
		.mode = req->mode,
		.flags = req->flags | (is_resent ? CFS_MSG_LOCK_RESENT : 0u),
		.key = req->key,
		.serial = serial,
		.lender_lease = req->lender_lease,
	};

	memcpy(m.lender_secret, req->lender_secret, sizeof(m.lender_secret));
	return m;
}

static void call_pack(const struct client_call *call, struct cfs_wire_put *put)
{
	struct cfs_msg_lock lock;

	switch (call->type) {
	case CFS_MSG_LOCK:
		lock = lock_body(&call->grant->request, call->serial,
				 call->was_sent);
		cfs_msg_lock_pack(&lock, put);
		break;
	case CFS_MSG_RECLAIM:
		lock = lock_body(&call->grant->request, call->grant->serial,
				 false);
		cfs_msg_reclaim_pack(
			&(struct cfs_msg_reclaim){
				.lock = lock,
				.lease_id = call->grant->id,
				.generation = call->grant->generation },
			put);
		break;
	case CFS_MSG_CHANGE:
		cfs_msg_change_pack(
			&(struct cfs_msg_change){
				.lease_id = call->grant->id,
				.mode = call->mode,
				.flags = call->flags |
					 (call->was_sent ? CFS_MSG_LOCK_RESENT
							 : 0u),
				.serial = call->serial },
			put);
		break;
	case CFS_MSG_UNLOCK:
		cfs_msg_lease_pack(
			&(struct cfs_msg_lease){ .lease_id = call->lease_id },
			put);
		break;
	case CFS_MSG_REVOKE:
		cfs_msg_end_pack(
			&(struct cfs_msg_end){ .lease_id = call->lease_id },
			put);
		break;
	default: /* GOODBYE: no body */
		break;
	}
}

/* A notice: see is_ordered. */
static void call_send_silently(struct cfs_lease_client *client,
			       struct client_call *call)
{
	struct cfs_wire_put put;

	call->id = client->last_id;
	call->was_sent = true;
	cfs_list_del(&call->link);
	cfs_list_add_tail(&client->silent, &call->link);
	cfs_wire_put_init(&put, client->buf, sizeof(client->buf));
	cfs_msg_begin(&put, call->type, 0);
	call_pack(call, &put);
	cfs_msg_end(&put);
	client->ops.send(client->arg, put.data, put.bytes);
}

void client_silent_arrived(struct cfs_lease_client *client, uint64_t id)
{
	while (!cfs_list_is_empty(&client->silent)) {
		struct client_call *call = CFS_CONTAINER_OF(
			client->silent.next, struct client_call, link);

		if (call->id >= id)
			return;
		client_call_free(client, call);
	}
}

void client_silent_unsend(struct cfs_lease_client *client)
{
	while (!cfs_list_is_empty(&client->silent)) {
		struct cfs_link_node *l = client->silent.next;

		cfs_list_del(l);
		cfs_list_add_tail(&client->calls, l);
	}
}

void client_call_send(struct cfs_lease_client *client, struct client_call *call)
{
	struct cfs_wire_put put;

	if (!client->is_welcome)
		return;
	if (call->type == CFS_MSG_UNLOCK && client->config.is_ordered) {
		call_send_silently(client, call);
		return;
	}
	/* One with a higher serial has overtaken it (a hook asked for
	 * something): said to be sent again, or it would pass for a double. */
	if (call->serial < client->sent_serial)
		call->was_sent = true;
	client->sent_serial = CFS_MAX(client->sent_serial, call->serial);
	call_unsend(client, call);
	call->id = client_message_id(client);
	call->sent_ns = client_now(client);
	cfs_wire_put_init(&put, client->buf, sizeof(client->buf));
	cfs_msg_begin(&put, call->type, call->id);
	call_pack(call, &put);
	cfs_hash_add(&client->calls_by_id, &call->by_id, number_hash(call->id));
	call->is_sent = true;
	call->was_sent = true;
	cfs_msg_end(&put);
	client->ops.send(client->arg, put.data, put.bytes);
}

void client_cancel_send(struct cfs_lease_client *client, uint64_t serial)
{
	struct cfs_wire_put put;

	if (!client->is_welcome)
		return;
	cfs_wire_put_init(&put, client->buf, sizeof(client->buf));
	cfs_msg_begin(&put, CFS_MSG_CANCEL, client_message_id(client));
	cfs_msg_cancel_pack(&(struct cfs_msg_cancel){ serial }, &put);
	cfs_msg_end(&put);
	client->ops.send(client->arg, put.data, put.bytes);
}

/* The first that is not sent, of the reclaims or of the others. */
static struct client_call *call_unsent(struct cfs_lease_client *client,
				       bool reclaims)
{
	CFS_LIST_EACH(l, &client->calls)
	{
		struct client_call *call = CFS_CONTAINER_OF(
			l, struct client_call, link);

		if (!call->is_sent &&
		    (call->type == CFS_MSG_RECLAIM) == reclaims)
			return call;
	}
	return NULL;
}

void client_calls_send(struct cfs_lease_client *client)
{
	struct client_call *call;

	/* From the start each time: a send may lead to anything. */
	while (client->is_welcome &&
	       ((call = call_unsent(client, true)) != NULL ||
		(call = call_unsent(client, false)) != NULL)) {
		uint64_t cancel = call->type == CFS_MSG_LOCK && !call->token
					  ? call->serial
					  : 0;

		client_call_send(client, call);
		if (cancel) /* it was cancelled when nobody listened */
			client_cancel_send(client, cancel);
	}
}

uint64_t client_calls_tick(struct cfs_lease_client *client, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX;
	uint64_t period_ns = client->period.period_ns;

	if (!client->is_welcome)
		return UINT64_MAX;
	CFS_LIST_EACH(l, &client->calls)
	{
		struct client_call *call = CFS_CONTAINER_OF(
			l, struct client_call, link);
		uint64_t due_ns = cfs_deadline_add(
			call->sent_ns,
			call->is_queued ? period_ns : period_ns / 3);

		if (!call->is_sent)
			continue;
		if (due_ns <= now_ns)
			call_unsend(client, call);
		else
			next_ns = CFS_MIN(next_ns, due_ns);
	}
	client_calls_send(client);
	return CFS_MIN(next_ns, cfs_deadline_add(now_ns, period_ns / 3));
}

/* ---- answers ------------------------------------------------------------- */

/*
 * A grant for nobody: away with it.  It may have been ours, and lost since,
 * with what we wrote under it in our log only: it must be sealed, as one that
 * is given back is not.
 */
static void grant_refuse(struct cfs_lease_client *client,
			 const struct cfs_msg_grant *m)
{
	struct client_call *call;

	if (m->mode == CFS_LOCK_NONE || client_grant_find(client, m->lease_id))
		return;
	call = client_call_new(client, CFS_MSG_REVOKE);
	if (!call)
		return; /* it ends with us */
	call->lease_id = m->lease_id;
	client_call_send(client, call);
}

static void lock_granted(struct cfs_lease_client *client,
			 struct client_call *call,
			 const struct cfs_msg_grant *m)
{
	struct client_grant *grant = call->grant;
	struct cfs_lease *token = call->token;

	call->grant = NULL;
	grant->id = m->lease_id;
	grant->generation = m->generation;
	grant->serial = m->serial;
	grant->request.mode = m->mode;
	client_call_free(client, call);
	client_grant_add(client, grant);
	if (!token) {
		client_grant_give_back(client, grant);
		return;
	}
	client_token_held(client, token, grant);
	client_token_done(client, token, 0, NULL);
}

static void change_granted(struct cfs_lease_client *client,
			   struct client_call *call,
			   const struct cfs_msg_grant *m)
{
	struct client_grant *grant = call->grant;
	struct cfs_lease *token = call->token;

	client_call_free(client, call);
	grant->generation = m->generation;
	grant->request.mode = m->mode;
	if (token)
		token->request.mode = m->mode;
	client_grant_try_yield(client, grant);
	if (token)
		client_token_done(client, token, 0, NULL);
}

void client_reclaim_settle(struct cfs_lease_client *client)
{
	struct client_call *call;

	if (!client->is_reclaiming || client->has_missed_reclaim ||
	    !client->is_welcome)
		return;
	CFS_LIST_EACH(l, &client->calls)
	if (CFS_CONTAINER_OF(l, struct client_call, link)->type ==
	    CFS_MSG_RECLAIM)
		return;
	call = client_call_new(client, CFS_MSG_RECLAIMED);
	if (!call)
		return; /* we are revoked, and come anew */
	client->is_reclaiming = false;
	client_call_send(client, call);
}

static void call_failed(struct cfs_lease_client *client,
			struct client_call *call, int status,
			const struct cfs_err *err)
{
	struct client_grant *grant = call->grant;
	struct cfs_lease *token = call->token;
	uint16_t type = call->type;

	if (status == -ERESTART && (token || type == CFS_MSG_CHANGE)) {
		client_call_renumber(client, call);
		client_call_send(client, call);
		return;
	}
	/* Reclaimed a little later: its lender is not back yet. */
	if (type == CFS_MSG_RECLAIM && status == -EAGAIN)
		return;
	client_call_free(client, call);
	if (type == CFS_MSG_RECLAIM) {
		/* The owner has dealt with it. */
		grant->needs_reclaim = false;
		client_reclaim_settle(client);
		client_grant_lose(client, grant,
				  "the next manager does not let it be taken "
				  "up again");
	} else if (type == CFS_MSG_LOCK && token)
		client_token_refused(client, token, status, err);
	else if (type == CFS_MSG_CHANGE) {
		client_grant_try_yield(client, grant);
		if (token)
			client_token_done(client, token, status, err);
	}
}

static void goodbye_done(struct cfs_lease_client *client)
{
	cfs_period_stop(&client->period);
	client->is_welcome = false;
	client->hello.client_id = 0;
	if (client->ops.changed)
		client->ops.changed(client->arg, 0, NULL);
}

static void call_answered(struct cfs_lease_client *client,
			  struct client_call *call,
			  const struct cfs_msg_grant *m)
{
	struct client_grant *grant = call->grant;

	switch (call->type) {
	case CFS_MSG_LOCK:
		lock_granted(client, call, m);
		break;
	case CFS_MSG_CHANGE:
		change_granted(client, call, m);
		break;
	case CFS_MSG_RECLAIM:
		client_call_free(client, call);
		grant->needs_reclaim = false;
		grant->end_ns = UINT64_MAX;
		client_reclaim_settle(client);
		client_grant_try_yield(client, grant);
		break;
	case CFS_MSG_GOODBYE:
		client_call_free(client, call);
		goodbye_done(client);
		break;
	default:
		client_call_free(client, call);
		break;
	}
}

int client_reply(struct cfs_lease_client *client,
		 const struct cfs_msg_head *head, struct cfs_wire_get *body,
		 int status, const struct cfs_err *err)
{
	struct client_call *call = call_by_id(client, head->id);
	struct cfs_msg_grant m = { .lease_id = 0 };
	bool has_grant = head->type == CFS_MSG_LOCK ||
			 head->type == CFS_MSG_CHANGE ||
			 head->type == CFS_MSG_RECLAIM;

	if (status == 0 && has_grant) {
		if (cfs_msg_grant_unpack(body, &m, NULL) < 0)
			return -EPROTO;
		/* To an earlier sending of the same call. */
		if (!call && head->type != CFS_MSG_RECLAIM)
			call = call_by_serial(client, m.serial);
	}
	if (call && call->type != head->type)
		return -EPROTO;
	if (!call) {
		if (status == 0 && head->type == CFS_MSG_LOCK &&
		    !head->has_more)
			grant_refuse(client, &m);
	} else if (status != 0) {
		call_failed(client, call, status, err);
	} else if (head->has_more) {
		call->is_queued = true;
	} else {
		call_answered(client, call, &m);
	}
	return 0;
}
