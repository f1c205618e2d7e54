/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An operator's word that a client or a host is dead.  The answer says that
 * what it held is free, so it comes when the last of those clients is
 * sealed, and when what a host kept that was the owner before is given back:
 * that may read a log, and is done by others meanwhile.
 */
#include "lease/owner_priv.h"

#include <string.h>

/* Who asked, and about whom. */
struct owner_gone_wait {
	struct cfs_link_node link; /* owner->gone_waits */
	uint64_t peer, message;
	uint64_t client; /* 0: the host's */
	bool is_held;    /* by ops.gone */
	char host[CFS_MSG_HOST_BYTES];
};

static bool has_sealing(const struct cfs_owner *owner, uint64_t client,
			const char *host)
{
	CFS_LIST_EACH(l, &owner->client_list)
	{
		const struct owner_client *c = CFS_CONTAINER_OF(
			l, struct owner_client, link);

		if (c->state == OWNER_CLIENT_SEALING &&
		    (client ? c->id == client
			    : strcmp(c->hello.host, host) == 0))
			return true;
	}
	return false;
}

static void wait_free(struct cfs_owner *owner, struct owner_gone_wait *wait)
{
	cfs_list_del(&wait->link);
	owner->gone_wait_count--;
	free(wait);
}

int cfs_owner_gone(struct cfs_owner *owner, uint64_t id)
{
	struct owner_client *c;
	int r = 0;

	owner_enter(owner);
	c = owner_client_find(owner, id);
	if (c)
		owner_client_expire(owner, c, CFS_OWNER_END_GONE);
	else
		r = -ENOENT;
	owner_leave(owner);
	if (r != 0 && owner->ops.gone)
		r = owner->ops.gone(owner->arg, id, "");
	return r;
}

int cfs_owner_gone_host(struct cfs_owner *owner, const char *host)
{
	int r = -ENOENT, r2 = -ENOENT;

	owner_enter(owner);
	CFS_LIST_EACH(l, &owner->client_list)
	{
		struct owner_client *c = CFS_CONTAINER_OF(
			l, struct owner_client, link);

		if (strcmp(c->hello.host, host) == 0) {
			owner_client_expire(owner, c, CFS_OWNER_END_GONE);
			r = 0;
		}
	}
	owner_leave(owner);
	if (owner->ops.gone)
		r2 = owner->ops.gone(owner->arg, 0, host);
	return r2 == -ENOENT ? r : r2;
}

void cfs_owner_host_is_gone(struct cfs_owner *owner, const char *host,
			    const struct cfs_err *why)
{
	owner_enter(owner);
	CFS_LIST_EACH(l, &owner->gone_waits)
	{
		struct owner_gone_wait *wait = CFS_CONTAINER_OF(
			l, struct owner_gone_wait, link);

		if (wait->client || strcmp(wait->host, host) != 0)
			continue;
		wait->is_held = false;
		if (!why)
			continue;
		owner_reply_error(owner, wait->peer, CFS_MSG_GONE,
				  wait->message, why->code, why);
		wait_free(owner, wait);
	}
	owner_gone_settle(owner);
	owner_leave(owner);
}

int owner_gone(struct owner_request *rq, struct cfs_err *err)
{
	struct cfs_owner *owner = rq->owner;
	struct owner_gone_wait *wait;
	struct cfs_msg_end m;
	int r = cfs_msg_end_unpack(&rq->body, &m, err);

	if (r != 0)
		return r;
	if (m.lease_id)
		return cfs_err_set(err, -EINVAL, "a client or a host");
	if (owner->gone_wait_count >= owner->config.watchers_max)
		return cfs_err_set(err, -EBUSY, "too many orders wait already");
	wait = calloc(1, sizeof(*wait));
	if (!wait)
		return cfs_err_set(err, -ENOMEM, "owner: no memory");
	r = m.client_id ? cfs_owner_gone(owner, m.client_id)
			: cfs_owner_gone_host(owner, m.host);
	if (r < 0) {
		free(wait);
		return cfs_err_set(err, r, "%s",
				   r == -ENOENT ? "no such client or host"
						: strerror(-r));
	}
	wait->is_held = r == 1;
	wait->peer = rq->peer->id;
	wait->message = rq->head.id;
	wait->client = m.client_id;
	memcpy(wait->host, m.host, sizeof(wait->host));
	cfs_list_add_tail(&owner->gone_waits, &wait->link);
	owner->gone_wait_count++;
	owner_gone_settle(owner);
	return 0;
}

void owner_gone_settle(struct cfs_owner *owner)
{
	CFS_LIST_EACH(l, &owner->gone_waits)
	{
		struct owner_gone_wait *wait = CFS_CONTAINER_OF(
			l, struct owner_gone_wait, link);

		if (wait->is_held ||
		    has_sealing(owner, wait->client, wait->host))
			continue;
		owner_reply_empty(owner, wait->peer, CFS_MSG_GONE,
				  wait->message);
		wait_free(owner, wait);
	}
}

void owner_gone_forget(struct cfs_owner *owner, uint64_t peer)
{
	CFS_LIST_EACH(l, &owner->gone_waits)
	{
		struct owner_gone_wait *wait = CFS_CONTAINER_OF(
			l, struct owner_gone_wait, link);

		if (!peer || wait->peer == peer)
			wait_free(owner, wait);
	}
}
