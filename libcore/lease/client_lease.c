/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tokens: what the callers of the client hold. */
#include "lease/client_priv.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"

void client_token_done(struct cfs_lease_client *client, struct cfs_lease *token,
		       int status, const struct cfs_err *err)
{
	if (client->ops.done && !token->is_quiet)
		client->ops.done(client->arg, token, status, err);
}

void client_token_refused(struct cfs_lease_client *client,
			  struct cfs_lease *token, int status,
			  const struct cfs_err *err)
{
	token->state = CFS_LEASE_REFUSED;
	token->refused = status;
	if (token->is_quiet)
		cfs_err_set(token->err, status, "%s",
			    err && err->msg[0] ? err->msg : "refused");
	client_token_done(client, token, status, err);
}

void client_token_ask(struct cfs_lease_client *client, struct cfs_lease *token)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct client_call *call = NULL;
	struct client_grant *grant = NULL;

	token->is_deferred = false;
	/* Room for the grant, for its UNLOCK, and for those behind. */
	if (cfs_hash_reserve(&client->grants_by_id) == 0 &&
	    cfs_hash_reserve(&client->grants_by_place) == 0)
		grant = client_grant_new();
	if (grant)
		call = client_call_new(client, CFS_MSG_LOCK);
	if (!call) {
		client_grant_free(grant);
		cfs_err_set(&err, -ENOMEM, "lease: no memory");
		client_token_refused(client, token, -ENOMEM, &err);
		return;
	}
	grant->request = token->request;
	call->grant = grant;
	call->token = token;
	token->call = call;
	client_call_send(client, call);
}

int cfs_lease_client_acquire(struct cfs_lease_client *client,
			     const struct cfs_lease_request *req,
			     struct cfs_lease **ret, struct cfs_err *err)
{
	struct client_grant *grant, *busy;
	struct cfs_lease *token;
	int r;

	if (!cfs_lock_resource_is_valid(&req->resource, req->mode))
		return cfs_err_set(err, -EINVAL, "no such resource or mode");
	client_check_period(client);
	if (client->token_count >= client->config.tokens_max)
		return cfs_err_set(err, -EAGAIN, "too many leases");
	token = calloc(1, sizeof(*token));
	if (!token)
		return cfs_err_set(err, -ENOMEM, "lease: no memory");
	token->client = client;
	token->request = *req;
	token->state = CFS_LEASE_ASKED;
	cfs_list_init(&token->in_grant);
	cfs_list_add_tail(&client->tokens, &token->link);
	client->token_count++;
	token->is_quiet = true;
	token->err = err;
	grant = client_grant_cached(client, req, &busy);
	if (grant) {
		client_token_held(client, token, grant);
	} else if (busy) {
		/* It goes back first, or whoever waits would wait for ever. */
		token->grant = busy;
		token->is_deferred = true;
		cfs_list_add_tail(&busy->deferred, &token->in_grant);
	} else {
		client_token_ask(client, token);
	}
	token->is_quiet = false;
	token->err = NULL;
	if (token->state == CFS_LEASE_REFUSED) {
		r = token->refused;
		cfs_lease_client_release(token);
		return r;
	}
	*ret = token;
	return 0;
}

void cfs_lease_client_release(struct cfs_lease *token)
{
	struct cfs_lease_client *client = token->client;
	struct client_call *call = token->call;
	struct client_grant *grant = token->is_deferred ? NULL : token->grant;

	cfs_list_del(&token->link);
	cfs_list_del(&token->in_grant);
	client->token_count--;
	if (call)
		call->token = NULL;
	free(token);
	if (call && call->type == CFS_MSG_LOCK) {
		/* The grant, if it comes all the same, goes straight back. */
		if (call->was_sent)
			client_cancel_send(client, call->serial);
		else
			client_call_free(client, call);
	} else if (call) {
		uint64_t id;

		assert(grant); /* a change is of what is held */
		id = grant->id;
		client_cancel_send(client, call->serial);
		grant = client_grant_find(client, id);
	}
	if (grant)
		client_grant_unused(client, grant);
}

/* ---- changes ------------------------------------------------------------- */

static void change_down(struct cfs_lease_client *client,
			struct cfs_lease *token, uint32_t mode)
{
	struct client_grant *grant = token->grant;
	struct client_call *call;

	token->request.mode = mode;
	if (grant->request.flags & CFS_MSG_LOCK_RECALLABLE) {
		client_grant_try_yield(client, grant);
		return;
	}
	call = client_call_new(client, CFS_MSG_CHANGE);
	if (!call)
		return; /* more is held than is needed */
	call->grant = grant;
	call->mode = mode;
	grant->call = call;
	grant->request.mode = mode;
	client_call_send(client, call);
}

int cfs_lease_client_change(struct cfs_lease *token, uint32_t mode, bool wait,
			    struct cfs_err *err)
{
	struct cfs_lease_client *client = token->client;
	struct client_grant *grant = token->grant;
	struct client_call *call;

	if (client_check_period(client) || token->state == CFS_LEASE_LOST)
		return cfs_err_set(err, -ESTALE, "the lease is lost");
	if (token->state != CFS_LEASE_HELD)
		return cfs_err_set(err, -EINVAL, "the lease is not held");
	if (token->call || grant->call)
		return cfs_err_set(err, -EALREADY, "a change is under way");
	if (!cfs_lock_resource_is_valid(&token->request.resource, mode))
		return cfs_err_set(err, -EINVAL, "no such mode");
	if (cfs_lock_mode_covers(token->request.mode, mode)) {
		change_down(client, token, mode);
		return 0;
	}
	mode = cfs_lock_mode_join(token->request.mode, mode);
	if (!cfs_lock_resource_is_valid(&token->request.resource, mode))
		return cfs_err_set(err, -EINVAL, "no such mode");
	if (cfs_lock_mode_covers(grant->request.mode, mode)) {
		token->request.mode = mode;
		return 0;
	}
	call = client_call_new(client, CFS_MSG_CHANGE);
	if (!call)
		return cfs_err_set(err, -ENOMEM, "lease: no memory");
	call->grant = grant;
	call->token = token;
	call->mode = mode;
	call->flags = wait ? CFS_MSG_LOCK_WAIT : 0;
	grant->call = call;
	token->call = call;
	client_call_send(client, call);
	return 0;
}

void cfs_lease_client_change_cancel(struct cfs_lease *token)
{
	if (token->call && token->call->type == CFS_MSG_CHANGE)
		client_cancel_send(token->client, token->call->serial);
}

void cfs_lease_client_yield(struct cfs_lease_client *client, uint64_t grant_id)
{
	struct client_grant *grant = client_grant_find(client, grant_id);

	if (!grant || !grant->is_recalled)
		return;
	grant->is_yielded = true;
	client_grant_try_yield(client, grant);
}

void cfs_lease_client_drop_cached(struct cfs_lease_client *client)
{
	while (!cfs_list_is_empty(&client->idle))
		client_grant_give_back(
			client, CFS_CONTAINER_OF(client->idle.next,
						 struct client_grant, idle));
}

/* ---- the two questions --------------------------------------------------- */

static uint64_t token_end_ns(const struct cfs_lease *token)
{
	return CFS_MIN(token->client->period.end_ns, token->grant->end_ns);
}

bool cfs_lease_client_may_start(struct cfs_lease *token, uint64_t duration_ns)
{
	return token->state == CFS_LEASE_HELD &&
	       cfs_period_may_start(&token->client->period, token_end_ns(token),
				    client_now(token->client), duration_ns);
}

bool cfs_lease_client_still_holds(struct cfs_lease *token)
{
	return token->state == CFS_LEASE_HELD &&
	       cfs_period_still_runs(token_end_ns(token),
				     client_now(token->client));
}

/* ---- looking ------------------------------------------------------------- */

enum cfs_lease_state cfs_lease_state_of(const struct cfs_lease *token)
{
	return token->state;
}

uint32_t cfs_lease_mode_of(const struct cfs_lease *token)
{
	return token->request.mode;
}

const struct cfs_lock_resource *cfs_lease_resource_of(
	const struct cfs_lease *token)
{
	return &token->request.resource;
}

uint64_t cfs_lease_generation_of(const struct cfs_lease *token)
{
	return token->state == CFS_LEASE_HELD ? token->grant->generation : 0;
}

void *cfs_lease_user_of(const struct cfs_lease *token)
{
	return token->request.user;
}

uint64_t cfs_lease_grant_of(const struct cfs_lease *token)
{
	return token->state == CFS_LEASE_HELD ? token->grant->id : 0;
}

void cfs_lease_name_of(const struct cfs_lease *token,
		       struct cfs_lease_name *ret)
{
	ret->client_id = token->client->welcome.client_id;
	ret->lease_id = cfs_lease_grant_of(token);
	memcpy(ret->secret, token->client->welcome.secret, sizeof(ret->secret));
}

bool cfs_lease_is_recalled(const struct cfs_lease *token, uint32_t *ret_mode)
{
	if (token->state != CFS_LEASE_HELD || !token->grant->is_recalled)
		return false;
	if (ret_mode)
		*ret_mode = token->grant->recall_mode;
	return true;
}
