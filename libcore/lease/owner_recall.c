/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Getting leases back: recall, stop, revoke.
 *
 *	t0	RECALL; the client has recall_ns
 *	t1	no answer: the lease is not extended any more, RECALL with
 *		FINAL; end = the client's deadline as it is at t1
 *	t2	now > end: REVOKED, seal, and then it passes on
 *
 * What the client knows of its period when it reads the FINAL comes from
 * replies to requests that were handled before t1, so it ends before `end`;
 * and links keep the order, so it reads it before any reply of later.
 */
#include "lease/owner_priv.h"

#include <errno.h>
#include <string.h>

static void recall_send(struct cfs_owner *owner,
			const struct owner_lease *lease, uint16_t type)
{
	const struct cfs_msg_recall m = {
		.lease_id = lease->id,
		.mode = lease->recall_mode,
		.flags = lease->is_stopped ? CFS_RECALL_FINAL : 0,
	};
	struct cfs_wire_put put;

	if (!lease->client->peer)
		return;
	owner_put_begin(owner, &put, type, 0);
	cfs_msg_recall_pack(&m, &put);
	owner_put_end(owner, &put, lease->client->peer);
}

static void lease_recall(struct cfs_owner *owner, struct owner_lease *lease,
			 uint32_t mode)
{
	if (!cfs_lock_is_recallable(lease->lock) || lease->is_stopped ||
	    lease->is_sealing || lease->client->state != OWNER_CLIENT_ALIVE ||
	    (lease->is_recalled &&
	     cfs_lock_mode_covers(mode, lease->recall_mode)))
		return;
	if (!lease->is_recalled)
		lease->client->recalled_count++;
	lease->is_recalled = true;
	lease->recall_mode = mode;
	owner_timer_set(
		owner, &lease->timer,
		cfs_deadline_add(owner->now_ns, owner->config.recall_ns));
	recall_send(owner, lease, CFS_MSG_RECALL);
	owner_event(owner, CFS_EVENT_RECALL, lease->client, lease);
}

static bool recall_blocker(void *arg, struct cfs_lock *blocker, uint32_t wanted)
{
	lease_recall(arg, cfs_lock_user(blocker), wanted);
	return true;
}

void owner_recall_blockers(struct cfs_owner *owner, struct owner_lease *lease)
{
	cfs_lock_blockers(lease->lock, recall_blocker, owner);
}

void owner_recall_if_wanted(struct cfs_owner *owner, struct owner_lease *lease)
{
	uint32_t mode;

	if (cfs_lock_is_recallable(lease->lock) &&
	    cfs_lock_is_wanted(lease->lock, &mode))
		lease_recall(owner, lease, mode);
}

void owner_recall_clear(struct cfs_owner *owner, struct owner_lease *lease)
{
	if (!lease->is_recalled)
		return;
	lease->is_recalled = false;
	lease->client->recalled_count--;
	owner_timer_set(owner, &lease->timer, UINT64_MAX);
}

void owner_lease_stop(struct cfs_owner *owner, struct owner_lease *lease)
{
	if (lease->is_stopped || lease->is_sealing)
		return;
	if (!lease->is_recalled) {
		lease->is_recalled = true;
		lease->client->recalled_count++;
	}
	lease->recall_mode = CFS_LOCK_NONE;
	lease->is_stopped = true;
	lease->end_ns = lease->client->deadline_ns;
	owner_timer_set(owner, &lease->timer, lease->end_ns);
	if (lease->is_changing) {
		lease->is_changing = false;
		owner_reply_error(owner, lease->client->peer, CFS_MSG_CHANGE,
				  lease->changed.message, -ESTALE, NULL);
		cfs_lock_upgrade_cancel(lease->lock);
	}
	recall_send(owner, lease, CFS_MSG_RECALL);
	owner_event(owner, CFS_EVENT_STOP, lease->client, lease);
}

static void lease_revoke(struct cfs_owner *owner, struct owner_lease *lease)
{
	owner_timer_set(owner, &lease->timer, UINT64_MAX);
	if (!lease->is_sealing) {
		lease->is_sealing = true;
		recall_send(owner, lease, CFS_MSG_REVOKED);
		owner_event(owner, CFS_EVENT_REVOKE, lease->client, lease);
	}
	if (!owner->ops.seal)
		owner_lease_end(owner, lease);
	else if (!owner_out_call(owner, OWNER_OUT_SEAL, lease->client->id,
				 lease->id, CFS_OWNER_END_REVOKED))
		owner_timer_set(owner, &lease->timer,
				owner->now_ns + CFS_NS_PER_S);
}

void owner_lease_due(struct cfs_owner *owner, struct owner_lease *lease)
{
	if (lease->is_stopped)
		lease_revoke(owner, lease);
	else
		owner_lease_stop(owner, lease);
}

void owner_recall_remind(struct cfs_owner *owner,
			 const struct owner_lease *lease)
{
	if (lease->is_recalled)
		recall_send(owner, lease,
			    lease->is_sealing ? CFS_MSG_REVOKED
					      : CFS_MSG_RECALL);
}

void owner_recall_again(struct cfs_owner *owner, struct owner_client *client)
{
	if (!client->recalled_count)
		return;
	CFS_LIST_EACH(l, &client->leases)
	owner_recall_remind(owner,
			    CFS_CONTAINER_OF(l, struct owner_lease, link));
}

/* ---- by order ------------------------------------------------------------ */

int cfs_owner_revoke_lease(struct cfs_owner *owner, uint64_t id)
{
	struct owner_lease *lease;

	owner_enter(owner);
	lease = owner_lease_find(owner, id);
	if (lease && lease->is_waiting) {
		owner_reply_error(owner, lease->client->peer, CFS_MSG_LOCK,
				  lease->asked.message, -ECANCELED, NULL);
		owner_lease_end(owner, lease);
	} else if (lease && lease->client->state == OWNER_CLIENT_ALIVE) {
		owner_lease_stop(owner, lease);
	}
	owner_leave(owner);
	return lease ? 0 : -ENOENT;
}

/* A return is a new client's. */
int cfs_owner_revoke_client(struct cfs_owner *owner, uint64_t id)
{
	struct owner_client *c;

	owner_enter(owner);
	c = owner_client_find(owner, id);
	if (c && c->state != OWNER_CLIENT_SEALING) {
		if (!c->is_stopped)
			owner_event(owner, CFS_EVENT_STOP, c, NULL);
		owner_client_stop(owner, c);
	}
	owner_leave(owner);
	return c ? 0 : -ENOENT;
}
