/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the owner granted: cached, recalled, given back, lost. */
#include "lease/client_priv.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"
#include "base/cleanup.h"

/*
 * For so long, as a part of the period, a recalled grant still serves
 * requests of its key while others use it: whoever holds one part of what it
 * needs gets the rest.  Later ones ask behind whoever waits.
 */
#define RECALLED_USE_PART 8u

static uint64_t id_hash(uint64_t id)
{
	return cfs_hash_mix(12, id);
}

static uint64_t place_hash(const struct cfs_lease_request *req)
{
	return cfs_hash_mix(
		cfs_hash_mix(
			cfs_hash_mix(cfs_hash_mix(13, req->resource.container),
				     req->resource.volume),
			req->resource.ino),
		req->key);
}

struct client_grant *client_grant_new(void)
{
	struct client_grant *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	cfs_list_init(&g->link);
	cfs_list_init(&g->idle);
	cfs_list_init(&g->tokens);
	cfs_list_init(&g->deferred);
	g->end_ns = UINT64_MAX;
	g->unlock = client_call_reserve();
	if (!g->unlock) {
		free(g);
		return NULL;
	}
	return g;
}

void client_grant_free(struct client_grant *grant)
{
	if (!grant)
		return;
	free(grant->unlock);
	free(grant);
}

void client_grant_add(struct cfs_lease_client *client,
		      struct client_grant *grant)
{
	cfs_hash_add(&client->grants_by_id, &grant->by_id, id_hash(grant->id));
	cfs_hash_add(&client->grants_by_place, &grant->by_place,
		     place_hash(&grant->request));
	cfs_list_add_tail(&client->grants, &grant->link);
}

struct client_grant *client_grant_find(struct cfs_lease_client *client,
				       uint64_t id)
{
	uint64_t hash = id_hash(id);

	for (struct cfs_hash_link *l =
		     cfs_hash_first(&client->grants_by_id, hash);
	     l; l = cfs_hash_skip(l->next, hash)) {
		struct client_grant *g = CFS_CONTAINER_OF(
			l, struct client_grant, by_id);

		if (g->id == id)
			return g;
	}
	return NULL;
}

static void grant_set_idle(struct cfs_lease_client *client,
			   struct client_grant *grant, bool is_idle)
{
	bool was_idle = !cfs_list_is_empty(&grant->idle);

	if (was_idle == is_idle)
		return;
	if (is_idle) {
		cfs_list_add_tail(&client->idle, &grant->idle);
		client->idle_count++;
	} else {
		cfs_list_del(&grant->idle);
		client->idle_count--;
	}
}

void client_grant_unlink(struct cfs_lease_client *client,
			 struct client_grant *grant)
{
	grant_set_idle(client, grant, false);
	cfs_hash_del(&client->grants_by_id, &grant->by_id);
	cfs_hash_del(&client->grants_by_place, &grant->by_place);
	cfs_list_del(&grant->link);
	if (grant->call)
		client_call_free(client, grant->call);
	if (!grant->needs_reclaim)
		return;
	CFS_LIST_EACH(l, &client->calls)
	{
		struct client_call *call = CFS_CONTAINER_OF(
			l, struct client_call, link);

		if (call->type == CFS_MSG_RECLAIM && call->grant == grant)
			client_call_free(client, call);
	}
}

static bool is_same_lender(const struct cfs_lease_request *a,
			   const struct cfs_lease_request *b)
{
	return a->lender_lease == b->lender_lease;
}

static bool may_use(const struct cfs_lease_client *client,
		    const struct client_grant *g)
{
	uint64_t now_ns;

	if (!g->is_recalled)
		return true;
	now_ns = client_now(client);
	return !cfs_list_is_empty(&g->tokens) &&
	       now_ns - g->recalled_ns <
		       client->period.period_ns / RECALLED_USE_PART;
}

struct client_grant *client_grant_cached(struct cfs_lease_client *client,
					 const struct cfs_lease_request *req,
					 struct client_grant **ret_busy)
{
	struct cfs_lease_request whole = *req;

	*ret_busy = NULL;
	if (!(req->flags & CFS_MSG_LOCK_RECALLABLE))
		return NULL;
	/* In the same file, then in what contains it. */
	for (unsigned int level = 0; level < 3; level++) {
		uint64_t hash;

		if (level == 1)
			whole.resource.ino = 0;
		if (level == 2)
			whole.resource.volume = 0;
		hash = place_hash(&whole);
		for (struct cfs_hash_link *l =
			     cfs_hash_first(&client->grants_by_place, hash);
		     l; l = cfs_hash_skip(l->next, hash)) {
			struct client_grant *g = CFS_CONTAINER_OF(
				l, struct client_grant, by_place);
			const struct cfs_lease_request *r = &g->request;

			if (!(r->flags & CFS_MSG_LOCK_RECALLABLE) ||
			    r->key != req->key || g->end_ns != UINT64_MAX ||
			    !is_same_lender(r, req) ||
			    !cfs_lock_resource_contains(&r->resource,
							&req->resource) ||
			    !cfs_lock_mode_covers(r->mode, req->mode))
				continue;
			if (may_use(client, g))
				return g;
			*ret_busy = g;
		}
	}
	return NULL;
}

/*
 * The owner may have heard the RECLAIM whose answer we never saw, and think
 * that we hold it.  To give it back would say that all is in order; so it is
 * to be revoked, and sealed.
 */
static bool is_perhaps_reclaimed(const struct cfs_lease_client *client,
				 const struct client_grant *grant)
{
	if (!grant->needs_reclaim)
		return false;
	CFS_LIST_EACH(l, &client->calls)
	{
		const struct client_call *call = CFS_CONTAINER_OF(
			l, struct client_call, link);

		if (call->type == CFS_MSG_RECLAIM && call->grant == grant)
			return call->was_sent;
	}
	return false;
}

/* ---- back ---------------------------------------------------------------- */

/* Those that were put behind @grant, which goes or got weaker. */
static void deferred_take(struct client_grant *grant, struct cfs_link_node *ret)
{
	cfs_list_init(ret);
	CFS_LIST_EACH(l, &grant->deferred)
	{
		CFS_CONTAINER_OF(l, struct cfs_lease, in_grant)->grant = NULL;
		cfs_list_del(l);
		cfs_list_add_tail(ret, l);
	}
}

static void deferred_ask(struct cfs_lease_client *client,
			 struct cfs_link_node *deferred)
{
	while (!cfs_list_is_empty(deferred)) {
		struct cfs_lease *token = CFS_CONTAINER_OF(
			deferred->next, struct cfs_lease, in_grant);

		cfs_list_del(&token->in_grant);
		client_token_ask(client, token);
	}
}

void client_grant_give_back(struct cfs_lease_client *client,
			    struct client_grant *grant)
{
	struct client_call *call = grant->unlock;
	struct cfs_link_node deferred;
	uint64_t id = grant->id;
	struct cfs_lock_resource res = grant->request.resource;

	assert(cfs_list_is_empty(&grant->tokens));
	client_grant_unlink(client, grant);
	grant->unlock = NULL;
	deferred_take(grant, &deferred);
	client_grant_free(grant);
	if (client->ops.dropped)
		client->ops.dropped(client->arg, id, &res);
	client_call_start(client, call, CFS_MSG_UNLOCK);
	call->lease_id = id;
	client_call_send(client, call);
	deferred_ask(client, &deferred);
}

static void grant_downgrade(struct cfs_lease_client *client,
			    struct client_grant *grant)
{
	struct client_call *call = client_call_new(client, CFS_MSG_CHANGE);
	struct cfs_link_node deferred;

	if (!call)
		return; /* it stays recalled, and is taken */
	deferred_take(grant, &deferred);
	call->grant = grant;
	call->mode = grant->recall_mode;
	grant->call = call;
	grant->request.mode = grant->recall_mode;
	grant->is_recalled = false;
	grant->is_yielded = false;
	if (cfs_list_is_empty(&grant->tokens))
		grant_set_idle(client, grant, true);
	client_call_send(client, call);
	deferred_ask(client, &deferred);
}

void client_grant_try_yield(struct cfs_lease_client *client,
			    struct client_grant *grant)
{
	uint32_t used = CFS_LOCK_NONE;

	if (!grant->is_recalled || !grant->is_yielded || grant->call)
		return;
	CFS_LIST_EACH(l, &grant->tokens)
	used = cfs_lock_mode_join(
		used,
		CFS_CONTAINER_OF(l, struct cfs_lease, in_grant)->request.mode);
	if (!cfs_lock_mode_covers(grant->recall_mode, used))
		return;
	if (grant->recall_mode == CFS_LOCK_NONE)
		client_grant_give_back(client, grant);
	else
		grant_downgrade(client, grant);
}

void client_grant_unused(struct cfs_lease_client *client,
			 struct client_grant *grant)
{
	if (grant->is_recalled) {
		/* One that is not cached has nothing to make durable. */
		if (!(grant->request.flags & CFS_MSG_LOCK_RECALLABLE))
			grant->is_yielded = true;
		client_grant_try_yield(client, grant);
		return;
	}
	if (!cfs_list_is_empty(&grant->tokens))
		return;
	if (!(grant->request.flags & CFS_MSG_LOCK_RECALLABLE)) {
		client_grant_give_back(client, grant);
		return;
	}
	grant_set_idle(client, grant, true);
	if (client->idle_count > client->config.cached_max)
		client_grant_give_back(
			client, CFS_CONTAINER_OF(client->idle.next,
						 struct client_grant, idle));
}

void client_token_held(struct cfs_lease_client *client, struct cfs_lease *token,
		       struct client_grant *grant)
{
	grant_set_idle(client, grant, false);
	token->grant = grant;
	token->call = NULL;
	token->state = CFS_LEASE_HELD;
	cfs_list_add_tail(&grant->tokens, &token->in_grant);
}

/* ---- recalled, lost ------------------------------------------------------ */

static struct cfs_lease *token_to_tell(struct client_grant *grant)
{
	CFS_LIST_EACH(l, &grant->tokens)
	{
		struct cfs_lease *token = CFS_CONTAINER_OF(l, struct cfs_lease,
							   in_grant);

		if (token->is_to_be_told)
			return token;
	}
	return NULL;
}

/* Each token once, though the hook may release any of them, and the grant. */
static void tell_recall(struct cfs_lease_client *client,
			struct client_grant *grant)
{
	struct cfs_lock_resource res = grant->request.resource;
	uint32_t mode = grant->recall_mode;
	uint64_t id = grant->id;
	struct cfs_lease *token;

	if (cfs_list_is_empty(&grant->tokens)) {
		client->ops.recall(client->arg, NULL, id, &res, mode);
		return;
	}
	CFS_LIST_EACH(l, &grant->tokens)
	CFS_CONTAINER_OF(l, struct cfs_lease, in_grant)->is_to_be_told = true;
	while ((grant = client_grant_find(client, id)) != NULL &&
	       (token = token_to_tell(grant)) != NULL) {
		token->is_to_be_told = false;
		client->ops.recall(client->arg, token, id, &res, mode);
	}
}

void client_grant_recalled(struct cfs_lease_client *client,
			   struct client_grant *grant,
			   const struct cfs_msg_recall *m)
{
	uint64_t id = grant->id;

	if (m->flags & CFS_RECALL_FINAL)
		grant->end_ns = CFS_MIN(grant->end_ns, client->period.end_ns);
	if (grant->is_recalled &&
	    cfs_lock_mode_covers(m->mode, grant->recall_mode) &&
	    !(m->flags & CFS_RECALL_FINAL))
		return;
	/* What the owner has not read yet, a downgrade, may answer it. */
	if (!grant->is_recalled && m->mode != CFS_LOCK_NONE &&
	    cfs_lock_mode_covers(m->mode, grant->request.mode))
		return;
	if (!grant->is_recalled)
		grant->recalled_ns = client_now(client);
	if (!grant->is_recalled ||
	    !cfs_lock_mode_covers(m->mode, grant->recall_mode))
		grant->is_yielded = false;
	grant->is_recalled = true;
	grant->recall_mode = m->mode;
	grant_set_idle(client, grant, false);
	if (client->ops.recall) {
		tell_recall(client, grant);
		grant = client_grant_find(client, id);
	} else {
		grant->is_yielded = true;
	}
	if (grant)
		client_grant_try_yield(client, grant);
}

void client_grant_unrecall(struct cfs_lease_client *client,
			   struct client_grant *grant)
{
	grant->is_recalled = false;
	grant->is_yielded = false;
	if (cfs_list_is_empty(&grant->tokens))
		grant_set_idle(client, grant, true);
}

void client_grant_lose(struct cfs_lease_client *client,
		       struct client_grant *grant, const char *why)
{
	struct cfs_lock_resource res = grant->request.resource;
	uint64_t id = grant->id;
	struct client_call *revoke = NULL;
	struct cfs_link_node lost, deferred;

	if (is_perhaps_reclaimed(client, grant))
		revoke = CFS_STEAL(grant->unlock);
	client_grant_unlink(client, grant);
	cfs_list_init(&lost);
	deferred_take(grant, &deferred);
	CFS_LIST_EACH(l, &grant->tokens)
	{
		struct cfs_lease *token = CFS_CONTAINER_OF(l, struct cfs_lease,
							   in_grant);

		token->grant = NULL;
		token->state = CFS_LEASE_LOST;
		cfs_list_del(l);
		cfs_list_add_tail(&lost, l);
	}
	client_grant_free(grant);
	if (revoke) {
		client_call_start(client, revoke, CFS_MSG_REVOKE);
		revoke->lease_id = id;
		client_call_send(client, revoke);
	}
	client->why_lost = why;
	while (!cfs_list_is_empty(&lost)) {
		struct cfs_lease *token = CFS_CONTAINER_OF(
			lost.next, struct cfs_lease, in_grant);

		cfs_list_del(&token->in_grant);
		if (client->ops.lost)
			client->ops.lost(client->arg, token);
	}
	if (client->ops.dropped)
		client->ops.dropped(client->arg, id, &res);
	deferred_ask(client, &deferred);
}

static struct client_grant *grant_over(struct cfs_lease_client *client,
				       uint64_t now_ns, uint64_t *next_ns)
{
	*next_ns = UINT64_MAX;
	CFS_LIST_EACH(l, &client->grants)
	{
		struct client_grant *g = CFS_CONTAINER_OF(
			l, struct client_grant, link);

		if (!cfs_period_still_runs(g->end_ns, now_ns))
			return g;
		*next_ns = CFS_MIN(*next_ns, g->end_ns);
	}
	return NULL;
}

uint64_t client_grants_tick(struct cfs_lease_client *client, uint64_t now_ns)
{
	struct client_grant *g;
	uint64_t next_ns;

	while ((g = grant_over(client, now_ns, &next_ns)) != NULL) {
		client->has_missed_reclaim |= g->needs_reclaim;
		client_grant_lose(client, g,
				  g->needs_reclaim
					  ? "the next manager did not answer "
					    "before its period ended"
					  : "it was wanted back, and not given "
					    "back in time");
	}
	return next_ns;
}
