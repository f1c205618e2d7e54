/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lease/client_priv.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"

int cfs_lease_client_new(const struct cfs_lease_client_config *config,
			 const struct cfs_lease_client_ops *ops, void *arg,
			 struct cfs_clock *clock, struct cfs_lease_client **ret,
			 struct cfs_err *err)
{
	struct cfs_lease_client *c;

	if (!ops->send || (config->hello.flags & CFS_HELLO_OBSERVER))
		return cfs_err_set(err, -EINVAL, "lease client: bad config");
	c = calloc(1, sizeof(*c));
	if (!c)
		return cfs_err_set(err, -ENOMEM, "lease client: no memory");
	c->config = *config;
	if (!c->config.tokens_max)
		c->config.tokens_max = 1u << 20;
	if (!c->config.cached_max)
		c->config.cached_max = 4096;
	c->hello = config->hello;
	c->ops = *ops;
	c->arg = arg;
	c->clock = clock;
	c->next_id = 1;
	c->next_serial = 1;
	cfs_period_init(&c->period);
	cfs_list_init(&c->tokens);
	cfs_list_init(&c->grants);
	cfs_list_init(&c->idle);
	cfs_list_init(&c->calls);
	cfs_list_init(&c->silent);
	*ret = c;
	return 0;
}

void cfs_lease_client_free(struct cfs_lease_client *client)
{
	if (!client)
		return;
	client_silent_unsend(client);
	while (!cfs_list_is_empty(&client->calls))
		client_call_free(client,
				 CFS_CONTAINER_OF(client->calls.next,
						  struct client_call, link));
	CFS_LIST_EACH(l, &client->grants)
	client_grant_free(CFS_CONTAINER_OF(l, struct client_grant, link));
	CFS_LIST_EACH(l, &client->tokens)
	free(CFS_CONTAINER_OF(l, struct cfs_lease, link));
	cfs_hash_done(&client->calls_by_id);
	cfs_hash_done(&client->calls_by_serial);
	cfs_hash_done(&client->grants_by_id);
	cfs_hash_done(&client->grants_by_place);
	free(client);
}

static uint64_t next_message(struct cfs_lease_client *client)
{
	return client->ops.next_id ? client->ops.next_id(client->arg)
				   : client->next_id++;
}

uint64_t client_message_id(struct cfs_lease_client *client)
{
	uint64_t id = next_message(client);

	client->last_id = id;
	cfs_period_sent(&client->period, id, client_now(client));
	return id;
}

/* ---- HELLO and WELCOME --------------------------------------------------- */

static void hello_send(struct cfs_lease_client *client)
{
	uint8_t buf[CFS_MSG_HEAD_BYTES + 512];
	struct cfs_wire_put put;

	client->is_welcome = false;
	client->hello_ns = client_now(client);
	client->hello_id = client_message_id(client);
	cfs_wire_put_init(&put, buf, sizeof(buf));
	cfs_msg_begin(&put, CFS_MSG_HELLO, client->hello_id);
	cfs_msg_hello_pack(&client->hello, &put);
	cfs_msg_end(&put);
	client->ops.send(client->arg, buf, put.bytes);
}

/* Answers on a former connection do not come any more. */
static void calls_unsend(struct cfs_lease_client *client)
{
	client_silent_unsend(client);
	CFS_LIST_EACH(l, &client->calls)
	{
		struct client_call *call = CFS_CONTAINER_OF(
			l, struct client_call, link);

		if (call->is_sent)
			cfs_hash_del(&client->calls_by_id, &call->by_id);
		call->is_sent = false;
		call->is_queued = false;
	}
}

void cfs_lease_client_connected(struct cfs_lease_client *client)
{
	client_check_period(client);
	calls_unsend(client);
	client->is_connected = true;
	hello_send(client);
}

void cfs_lease_client_disconnected(struct cfs_lease_client *client)
{
	client->is_connected = false;
	client->is_welcome = false;
	client->hello_id = 0;
	memset(client->period.sent, 0, sizeof(client->period.sent));
	calls_unsend(client);
}

/*
 * A new owner knows nothing of ours: each grant has to be reclaimed, and until
 * it is it ends with the period that the former owner gave.  What we gave back
 * it does not hold against us.
 */
static void reclaim_all(struct cfs_lease_client *client)
{
	CFS_LIST_EACH(l, &client->calls)
	{
		struct client_call *call = CFS_CONTAINER_OF(
			l, struct client_call, link);

		call->was_sent = false;
		/* A downgrade is noted in the grant that is reclaimed. */
		if (call->type == CFS_MSG_UNLOCK ||
		    call->type == CFS_MSG_RECLAIM ||
		    call->type == CFS_MSG_RECLAIMED ||
		    (call->type == CFS_MSG_CHANGE && !call->token) ||
		    (call->type == CFS_MSG_LOCK && !call->token))
			client_call_free(client, call);
	}
	CFS_LIST_EACH(l, &client->grants)
	{
		struct client_grant *g = CFS_CONTAINER_OF(
			l, struct client_grant, link);
		struct client_call *call;

		g->needs_reclaim = true;
		g->end_ns = CFS_MIN(g->end_ns, client->period.end_ns);
		client_grant_unrecall(client, g);
		call = client_call_new(client, CFS_MSG_RECLAIM);
		if (call) /* else it just ends */
			call->grant = g;
	}
}

static void welcome_take(struct cfs_lease_client *client,
			 const struct cfs_msg_welcome *m)
{
	uint64_t had_id = client->hello.client_id;
	bool is_ours = had_id && m->client_id == had_id &&
		       (m->flags & (CFS_WELCOME_KNOWN | CFS_WELCOME_RECLAIM));

	if (!is_ours && had_id)
		client_lose_all(client,
				"the manager does not know us any more");
	if (is_ours && (m->flags & CFS_WELCOME_RECLAIM) &&
	    (m->epoch != client->hello.epoch || m->flags & CFS_WELCOME_ANEW))
		reclaim_all(client);
	client->is_reclaiming = is_ours && (m->flags & CFS_WELCOME_RECLAIM);
	if (!is_ours)
		cfs_period_sent(&client->period, client->hello_id,
				client->hello_ns);
	client->welcome = *m;
	client->hello.client_id = m->client_id;
	client->hello.epoch = m->epoch;
	memcpy(client->hello.secret, m->secret, sizeof(m->secret));
	client->next_serial = CFS_MAX(client->next_serial, m->last_serial + 1);
	cfs_period_set(&client->period, m->period_ns, m->drift_ppm);
}

static int welcome_got(struct cfs_lease_client *client,
		       struct cfs_wire_get *body)
{
	struct cfs_msg_welcome m;

	if (cfs_msg_welcome_unpack(body, &m, NULL) < 0 || m.client_id == 0)
		return -EPROTO;
	welcome_take(client, &m);
	/* From here on what was sent counts: HELLO was its first. */
	cfs_period_replied(&client->period, client->hello_id);
	client->hello_id = 0;
	client->is_welcome = true;
	client->renewed_ns = client_now(client);
	client_calls_send(client);
	client_reclaim_settle(client);
	if (client->ops.changed)
		client->ops.changed(client->arg, 0, NULL);
	return 0;
}

/* ---- losing all ---------------------------------------------------------- */

/* Of the calls only what asks for something new is left. */
static void calls_forget(struct cfs_lease_client *client)
{
	struct cfs_link_node keep;

	cfs_list_init(&keep);
	client_silent_unsend(client);
	while (!cfs_list_is_empty(&client->calls)) {
		struct client_call *call = CFS_CONTAINER_OF(
			client->calls.next, struct client_call, link);

		if (call->type == CFS_MSG_LOCK && call->token) {
			cfs_list_del(&call->link);
			cfs_list_add_tail(&keep, &call->link);
		} else {
			client_call_free(client, call);
		}
	}
	while (!cfs_list_is_empty(&keep))
		client_call_renumber(
			client,
			CFS_CONTAINER_OF(keep.next, struct client_call, link));
}

/* Tokens of a lost grant are lost; what was deferred asks anew. */
static void grants_forget(struct cfs_lease_client *client,
			  struct cfs_link_node *deferred)
{
	while (!cfs_list_is_empty(&client->grants)) {
		struct client_grant *g = CFS_CONTAINER_OF(
			client->grants.next, struct client_grant, link);

		CFS_LIST_EACH(l, &g->tokens)
		{
			struct cfs_lease *token = CFS_CONTAINER_OF(
				l, struct cfs_lease, in_grant);

			cfs_list_del(l);
			token->grant = NULL;
			token->call = NULL;
			token->state = CFS_LEASE_LOST;
		}
		CFS_LIST_EACH(l, &g->deferred)
		{
			CFS_CONTAINER_OF(l, struct cfs_lease, in_grant)->grant =
				NULL;
			cfs_list_del(l);
			cfs_list_add_tail(deferred, l);
		}
		client_grant_unlink(client, g);
		client_grant_free(g);
	}
}

void client_lose_all(struct cfs_lease_client *client, const char *why)
{
	struct cfs_link_node deferred;

	cfs_list_init(&deferred);
	client->is_welcome = false;
	client->is_reclaiming = false;
	client->has_missed_reclaim = false;
	calls_forget(client);
	grants_forget(client, &deferred);
	cfs_period_stop(&client->period);
	client->hello.client_id = 0;
	client->hello.epoch = 0;
	memset(client->hello.secret, 0, sizeof(client->hello.secret));
	client->why_lost = why;
	/* First of all they are told; nothing new leaves before. */
	if (client->ops.lost)
		client->ops.lost(client->arg, NULL);
	while (!cfs_list_is_empty(&deferred)) {
		struct cfs_lease *token = CFS_CONTAINER_OF(
			deferred.next, struct cfs_lease, in_grant);

		cfs_list_del(&token->in_grant);
		client_token_ask(client, token);
	}
}

/* Lost, and begun anew if there is a connection. */
static void start_anew(struct cfs_lease_client *client, const char *why)
{
	struct cfs_err err = CFS_ERR_INIT;

	client_lose_all(client, why);
	cfs_err_set(&err, -ESTALE, "%s", why);
	if (client->ops.changed)
		client->ops.changed(client->arg, -ESTALE, &err);
	if (client->is_connected && !client->is_welcome && !client->hello_id)
		hello_send(client);
}

bool client_check_period(struct cfs_lease_client *client)
{
	if (client->period.end_ns == 0 ||
	    cfs_period_still_runs(client->period.end_ns, client_now(client)))
		return false;
	client->hello_id = 0; /* a WELCOME to the old id is no use now */
	start_anew(client, "its period ended before the manager answered");
	return true;
}

/* ---- receiving ----------------------------------------------------------- */

static int notice(struct cfs_lease_client *client, uint16_t type,
		  struct cfs_wire_get *body)
{
	struct client_grant *grant;
	struct cfs_msg_recall m;

	if (type != CFS_MSG_RECALL && type != CFS_MSG_REVOKED)
		return 0;
	if (cfs_msg_recall_unpack(body, &m, NULL) < 0)
		return -EPROTO;
	grant = client_grant_find(client, m.lease_id);
	if (!grant)
		return 0;
	if (type == CFS_MSG_RECALL)
		client_grant_recalled(client, grant, &m);
	else
		client_grant_lose(client, grant,
				  "the manager has taken it away");
	return 0;
}

static int hello_answered(struct cfs_lease_client *client, int status,
			  struct cfs_wire_get *body, const struct cfs_err *err)
{
	if (status == 0)
		return welcome_got(client, body);
	client->hello_id = 0;
	if (client->ops.changed)
		client->ops.changed(client->arg, status, err);
	return 0;
}

int cfs_lease_client_receive(struct cfs_lease_client *client, const void *msg,
			     size_t bytes)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_msg_head head;
	struct cfs_wire_get body;
	int status;

	if (cfs_msg_open(msg, bytes, &head, &body, NULL) < 0 ||
	    head.type > CFS_MSG_TYPE_LEASE_LAST)
		return -EPROTO;
	client_check_period(client);
	if (!head.is_reply)
		return head.id == 0 ? notice(client, head.type, &body) : 0;
	status = cfs_msg_reply_status(&head, body.data, body.bytes, &err);
	if (head.type == CFS_MSG_HELLO)
		return head.id == client->hello_id
			       ? hello_answered(client, status, &body, &err)
			       : 0;
	if (!client->is_welcome)
		return 0; /* of a connection, or a client, that was */
	client_silent_arrived(client, head.id);
	if (status == -ENOTCONN) {
		start_anew(client, "the manager does not know us any more");
		return 0;
	}
	if (status != -ESTALE)
		cfs_period_replied(&client->period, head.id);
	return client_reply(client, &head, &body, status, &err);
}

void cfs_lease_client_sent(struct cfs_lease_client *client, uint64_t id)
{
	cfs_period_sent(&client->period, id, client_now(client));
}

void cfs_lease_client_replied(struct cfs_lease_client *client, uint64_t id,
			      int status)
{
	if (!client_check_period(client) && client->is_welcome &&
	    status != -ESTALE && status != -ENOTCONN)
		cfs_period_replied(&client->period, id);
}

/* ---- time ---------------------------------------------------------------- */

/*
 * A third of the period after the youngest request that was answered, and
 * then more often until there is an answer.
 */
static uint64_t renew_due_ns(const struct cfs_lease_client *client)
{
	uint64_t period_ns = client->period.period_ns;
	uint64_t end_ns = client->period.end_ns;
	uint64_t due_ns = end_ns > period_ns / 3 * 2
				  ? end_ns - period_ns / 3 * 2
				  : 0;

	return CFS_MAX(due_ns,
		       cfs_deadline_add(client->renewed_ns, period_ns / 6));
}

static void renew_send(struct cfs_lease_client *client, uint64_t now_ns)
{
	struct cfs_wire_put put;

	client->renewed_ns = now_ns;
	cfs_wire_put_init(&put, client->buf, sizeof(client->buf));
	cfs_msg_begin(&put, CFS_MSG_RENEW, client_message_id(client));
	cfs_msg_end(&put);
	client->ops.send(client->arg, put.data, put.bytes);
}

uint64_t cfs_lease_client_tick(struct cfs_lease_client *client)
{
	uint64_t now_ns = client_now(client);
	uint64_t next_ns;

	client_check_period(client);
	next_ns = client_grants_tick(client, now_ns);
	next_ns = CFS_MIN(next_ns, client_calls_tick(client, now_ns));
	if (client->is_welcome && renew_due_ns(client) <= now_ns)
		renew_send(client, now_ns);
	if (client->is_welcome)
		next_ns = CFS_MIN(next_ns, renew_due_ns(client));
	if (client->period.end_ns)
		next_ns = CFS_MIN(next_ns, client->period.end_ns);
	return next_ns;
}

/* ---- the rest ------------------------------------------------------------ */

void cfs_lease_client_goodbye(struct cfs_lease_client *client)
{
	struct client_call *call;

	assert(cfs_list_is_empty(&client->tokens));
	cfs_lease_client_drop_cached(client);
	call = client_call_new(client, CFS_MSG_GOODBYE);
	if (call)
		client_call_send(client, call);
}

bool cfs_lease_client_is_alive(struct cfs_lease_client *client)
{
	return cfs_period_still_runs(client->period.end_ns, client_now(client));
}

bool cfs_lease_client_is_unanswered(struct cfs_lease_client *client)
{
	return client->period.end_ns <=
	       cfs_deadline_add(client_now(client),
				client->period.period_ns / 2);
}

bool cfs_lease_client_is_welcome(const struct cfs_lease_client *client)
{
	return client->is_welcome;
}

uint64_t cfs_lease_client_id(const struct cfs_lease_client *client)
{
	return client->hello.client_id;
}

const char *cfs_lease_client_why_lost(const struct cfs_lease_client *client)
{
	return client->why_lost ? client->why_lost : "nothing is";
}

const struct cfs_msg_welcome *cfs_lease_client_welcome(
	const struct cfs_lease_client *client)
{
	return &client->welcome;
}

uint64_t cfs_lease_client_ends_ns(const struct cfs_lease_client *client)
{
	return client->period.end_ns;
}

uint64_t cfs_lease_client_left_ns(const struct cfs_lease_client *client)
{
	const uint64_t now_ns = client_now(client);

	return cfs_period_still_runs(client->period.end_ns, now_ns)
		       ? client->period.end_ns - now_ns
		       : 0;
}
