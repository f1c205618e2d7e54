/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Graces: of all, after a manager's death, and of a container whose owner has
 * gone.  In one what was granted by the former owner is reclaimed, and nothing
 * new is granted, of that container or of any; behind it there is still nothing
 * new until those who were told of by cfs_owner_preload are settled.
 */
#include "lease/owner_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ondisk/delegation.h"

static struct owner_grace *grace_of(struct cfs_link_node *l)
{
	return CFS_CONTAINER_OF(l, struct owner_grace, link);
}

/* Ids of containers' owners are numbers of their own: they are former ones to
 * whoever manages the pool. */
static bool is_before(const struct cfs_owner *owner, uint64_t epoch)
{
	return epoch < owner->config.epoch ||
	       (cfs_epoch_is_delegated((uint32_t)epoch) &&
		!cfs_epoch_is_delegated((uint32_t)owner->config.epoch));
}

struct owner_grace *owner_grace_of(struct cfs_owner *owner, uint64_t container)
{
	CFS_LIST_EACH(l, &owner->graces)
	if (grace_of(l)->container == container)
		return grace_of(l);
	return NULL;
}

struct owner_grace *owner_grace_find(struct cfs_owner *owner, uint64_t epoch)
{
	if (!cfs_epoch_is_delegated((uint32_t)epoch))
		return is_before(owner, epoch) ? &owner->grace : NULL;
	CFS_LIST_EACH(l, &owner->graces)
	if (grace_of(l)->epoch == epoch)
		return grace_of(l);
	return NULL;
}

struct owner_grace *owner_grace_for(struct cfs_owner *owner,
				    const struct cfs_msg_hello *m)
{
	const uint64_t moved_with = owner_moved_with(owner, m);
	struct owner_grace *g = moved_with ? owner_grace_of(owner, moved_with)
					   : owner_grace_find(owner, m->epoch);
	const uint64_t from = m->client_id >> 32;

	if (!g || !g->is_in_grace || !from)
		return NULL;
	/* An id is kept from one owner to the next, and so may be of any. */
	return from <= m->epoch || cfs_epoch_is_delegated((uint32_t)from)
		       ? g
		       : NULL;
}

bool owner_grace_is_to_come(struct cfs_owner *owner,
			    const struct cfs_msg_hello *m)
{
	const uint64_t moved_with = owner_moved_with(owner, m);

	if (!m->client_id || owner_client_find(owner, m->client_id))
		return false;
	if (moved_with)
		return !owner_grace_of(owner, moved_with);
	return m->epoch != owner->config.epoch &&
	       cfs_epoch_is_delegated((uint32_t)m->epoch) &&
	       !cfs_epoch_is_delegated((uint32_t)owner->config.epoch) &&
	       !owner_grace_find(owner, m->epoch);
}

bool owner_grace_takes(const struct cfs_owner *owner,
		       const struct owner_client *c,
		       const struct cfs_msg_reclaim *m)
{
	const struct owner_grace *g = c->grace;

	if (!g || !g->is_in_grace || !c->may_reclaim)
		return false;
	return g->container ? m->lock.resource.container == g->container
			    : is_before(owner, m->lease_id >> 32);
}

static bool has_lease_of(const struct owner_client *c, uint64_t container)
{
	CFS_LIST_EACH(l, &((struct owner_client *)c)->leases)
	{
		const struct owner_lease *lease = CFS_CONTAINER_OF(
			l, struct owner_lease, link);

		if (!lease->is_waiting &&
		    cfs_lock_resource_of(lease->lock)->container == container)
			return true;
	}
	return false;
}

bool owner_grace_is_crowded(const struct cfs_owner *owner,
			    const struct owner_client *c)
{
	const struct owner_grace *g = c->grace;

	if (!g || !g->container)
		return false;
	CFS_LIST_EACH(l, &((struct cfs_owner *)owner)->client_list)
	{
		const struct owner_client *other = CFS_CONTAINER_OF(
			l, struct owner_client, link);

		if (other->grace != g && has_lease_of(other, g->container))
			return true;
	}
	return false;
}

bool cfs_owner_is_in_grace_of(const struct cfs_owner *owner, uint64_t container)
{
	bool is = owner->grace.is_on_hold;

	CFS_LIST_EACH(l, &((struct cfs_owner *)owner)->graces)
	is |= !container || grace_of(l)->container == container;
	return is;
}

/* ---- life ---------------------------------------------------------------- */

void owner_grace_settle(struct cfs_owner *owner, struct owner_grace *g)
{
	const uint64_t container = g->container;

	if (!container && g->is_in_grace && !g->preloaded_count &&
	    owner->config.knows_clients) {
		owner_grace_due(owner, g);
		return;
	}
	if (!g->is_on_hold || g->is_in_grace || g->preloaded_count)
		return;
	g->is_on_hold = false;
	if (!container) {
		cfs_lock_table_set_hold(owner->table, false);
		return;
	}
	CFS_LIST_EACH(l, &owner->client_list)
	{
		struct owner_client *c = CFS_CONTAINER_OF(
			l, struct owner_client, link);

		if (c->grace == g)
			c->grace = NULL;
	}
	cfs_list_del(&g->link);
	owner->grace_count--;
	free(g);
	owner_moved_forget(owner, container);
	cfs_lock_table_unhold(owner->table, container);
}

void owner_grace_due(struct cfs_owner *owner, struct owner_grace *g)
{
	owner_timer_set(owner, &g->timer, UINT64_MAX);
	g->is_in_grace = false;
	CFS_LIST_EACH(l, &owner->client_list)
	{
		struct owner_client *c = CFS_CONTAINER_OF(
			l, struct owner_client, link);

		if (c->grace != g)
			continue;
		c->may_reclaim = false;
		if (c->is_preloaded && c->state == OWNER_CLIENT_ALIVE)
			owner_client_stop(owner, c);
	}
	owner_grace_settle(owner, g);
}

static void grace_start(struct cfs_owner *owner, struct owner_grace *g,
			uint64_t grace_ns)
{
	g->timer.kind = OWNER_TIMER_GRACE;
	g->is_in_grace = g->is_on_hold = true;
	owner_timer_set(owner, &g->timer,
			cfs_deadline_add(owner->now_ns, grace_ns));
}

void owner_grace_start(struct cfs_owner *owner, uint64_t grace_ns)
{
	grace_start(owner, &owner->grace, grace_ns);
	cfs_lock_table_set_hold(owner->table, true);
}

int cfs_owner_begin_grace(struct cfs_owner *owner, uint64_t container,
			  uint32_t epoch, uint64_t grace_ns,
			  struct cfs_err *err)
{
	struct owner_grace *g;
	int r = 0;

	if (!container || !grace_ns || !cfs_epoch_is_delegated(epoch) ||
	    owner_grace_find(owner, epoch))
		return cfs_err_set(err, -EINVAL, "no such grace");
	g = calloc(1, sizeof(*g));
	owner_enter(owner);
	if (!g || owner_timer_reserve(owner) < 0 ||
	    cfs_lock_table_hold(owner->table, container) < 0) {
		r = cfs_err_set(err, -ENOMEM, "owner: no memory");
		free(g);
	} else {
		g->container = container;
		g->epoch = epoch;
		grace_start(owner, g, grace_ns);
		cfs_list_add_tail(&owner->graces, &g->link);
		owner->grace_count++;
	}
	owner_leave(owner);
	return r;
}

void owner_graces_free(struct cfs_owner *owner)
{
	CFS_LIST_EACH(l, &owner->graces)
	free(grace_of(l));
}

static void end_grace(struct cfs_owner *owner, struct owner_grace *g)
{
	if (!g->is_in_grace)
		return;
	CFS_LIST_EACH(l, &owner->client_list)
	{
		struct owner_client *c = CFS_CONTAINER_OF(
			l, struct owner_client, link);

		if (c->grace == g && c->state == OWNER_CLIENT_SILENT)
			owner_client_expire(owner, c, CFS_OWNER_END_EXPIRED);
	}
	owner_grace_due(owner, g);
}

void cfs_owner_end_grace(struct cfs_owner *owner)
{
	owner_enter(owner);
	end_grace(owner, &owner->grace);
	owner_leave(owner);
}

void cfs_owner_end_grace_of(struct cfs_owner *owner, uint64_t container)
{
	struct owner_grace *g;

	owner_enter(owner);
	g = owner_grace_of(owner, container);
	if (g)
		end_grace(owner, g);
	owner_leave(owner);
}

bool cfs_owner_is_awaiting(struct cfs_owner *owner, uint64_t container)
{
	const struct owner_grace *g = owner_grace_of(owner, container);

	return g && g->preloaded_count > 0;
}

void cfs_owner_settle_grace(struct cfs_owner *owner)
{
	owner_enter(owner);
	owner_grace_settle(owner, &owner->grace);
	owner_leave(owner);
}

int cfs_owner_hold(struct cfs_owner *owner, uint64_t container,
		   struct cfs_err *err)
{
	int r;

	owner_enter(owner);
	r = cfs_lock_table_hold(owner->table, container);
	owner_leave(owner);
	return r < 0 ? cfs_err_set(err, r, "owner: no memory") : 0;
}

void cfs_owner_unhold(struct cfs_owner *owner, uint64_t container)
{
	owner_enter(owner);
	cfs_lock_table_unhold(owner->table, container);
	owner_leave(owner);
}

/* ---- those who were here ------------------------------------------------- */

static struct owner_grace *known_in(struct cfs_owner *owner,
				    const struct cfs_owner_known *known)
{
	if (!known->container)
		return is_before(owner, known->client_id >> 32) ? &owner->grace
								: NULL;
	return owner_grace_of(owner, known->container);
}

int cfs_owner_preload(struct cfs_owner *owner,
		      const struct cfs_owner_known *known, struct cfs_err *err)
{
	struct owner_grace *g = known_in(owner, known);
	struct owner_client *c;

	if (!g || !g->is_in_grace || !known->client_id ||
	    owner_client_find(owner, known->client_id))
		return cfs_err_set(err, -EINVAL, "client %llx cannot be known",
				   (unsigned long long)known->client_id);
	c = owner_client_new(owner, known->client_id, err);
	if (!c)
		return -ENOMEM;
	memcpy(c->secret, known->secret, sizeof(c->secret));
	memcpy(c->hello.host, known->host, sizeof(c->hello.host));
	c->hello.host[sizeof(c->hello.host) - 1] = '\0';
	memcpy(c->hello.boot_id, known->boot_id, sizeof(c->hello.boot_id));
	c->hello.pid = known->pid;
	c->hello.process_start = known->process_start;
	c->hello.flags = CFS_HELLO_DURABLE;
	c->state = OWNER_CLIENT_SILENT;
	c->grace = g;
	c->is_preloaded = true;
	g->preloaded_count++;
	c->deadline_ns = g->timer.at_ns;
	owner_timer_set(owner, &c->timer, c->deadline_ns);
	return 0;
}

void owner_client_settled(struct cfs_owner *owner, struct owner_client *c)
{
	c->may_reclaim = false;
	c->has_claimed = true;
	/* Once revoked it is too late: it waits for its seal. */
	if (!c->is_preloaded || c->is_stopped)
		return;
	c->is_preloaded = false;
	c->grace->preloaded_count--;
	owner_grace_settle(owner, c->grace);
}
