/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Clients that go to another owner, and come from one: see hand.h.
 *
 * What stands by itself is installed as if it had come and reclaimed, before
 * anybody else can ask.  Its period begins anew with that, later than any that
 * the former owner granted.
 */
#include "lease/hand.h"
#include "lease/owner_priv.h"

#include "base/bits.h"

#include <inttypes.h>
#include <string.h>

static struct owner_client *client_of(struct cfs_link_node *l)
{
	return CFS_CONTAINER_OF(l, struct owner_client, link);
}

static struct owner_lease *lease_of(struct cfs_link_node *l)
{
	return CFS_CONTAINER_OF(l, struct owner_lease, link);
}

static bool is_standing(const struct owner_client *c)
{
	return c->hello.flags & CFS_HELLO_STANDING;
}

static bool is_of(const struct owner_lease *lease, uint64_t container)
{
	return cfs_lock_resource_of(lease->lock)->container == container;
}

/* What one has, as far as it matters here. */
struct sum {
	unsigned int of, of_others, stopped, borrowed;
};

static struct sum sum_of(const struct owner_client *c, uint64_t container)
{
	struct sum s = { 0 };

	CFS_LIST_EACH(l, &((struct owner_client *)c)->leases)
	{
		const struct owner_lease *lease = lease_of(l);

		s.of += is_of(lease, container);
		s.of_others += !is_of(lease, container);
		s.stopped += lease->is_stopped || lease->is_sealing;
		s.borrowed += lease->is_borrowed;
	}
	return s;
}

/* ---- going --------------------------------------------------------------- */

static int busy(const struct owner_client *c, const char *why,
		struct cfs_err *err)
{
	return cfs_err_set(err, -EBUSY,
			   "leased by %s, process %" PRIu64 " on %s%s",
			   c->hello.name, c->hello.pid, c->hello.host, why);
}

static int may_go(const struct owner_client *c, const struct sum *s,
		  struct cfs_err *err)
{
	if (c->state != OWNER_CLIENT_ALIVE || c->is_stopped || s->stopped)
		return busy(c, ", which is about to lose it", err);
	if (s->of_others)
		return busy(c, ", with other containers", err);
	if (s->borrowed && is_standing(c))
		return busy(c, ", under another lease", err);
	return 0;
}

int cfs_owner_may_hand(struct cfs_owner *owner, uint64_t container,
		       cfs_hand_skips_fn skips, void *arg, uint64_t *ret_count,
		       struct cfs_err *err)
{
	uint64_t count = 0;
	int r = 0;

	CFS_LIST_EACH(l, &owner->client_list)
	{
		const struct owner_client *c = client_of(l);
		const struct sum s = sum_of(c, container);

		if (!s.of || skips(arg, c->id))
			continue;
		r = may_go(c, &s, err);
		if (r < 0)
			return r;
		count++;
	}
	*ret_count = count;
	return 0;
}

static int add_lease(struct cfs_handed *h, const struct owner_lease *lease)
{
	const struct cfs_handed_lease one = {
		.lease_id = lease->id,
		.key = lease->key,
		.generation = lease->generation,
		.mode = cfs_lock_mode_of(lease->lock),
		.is_recallable = cfs_lock_is_recallable(lease->lock),
		.resource = *cfs_lock_resource_of(lease->lock),
	};

	return cfs_vec_push(&h->leases, one);
}

static int add_client(struct cfs_handed_list *list,
		      const struct owner_client *c)
{
	struct cfs_handed h = {
		.known = {
			.client_id = c->id,
			.pid = c->hello.pid,
			.process_start = c->hello.process_start,
		},
		.hello_flags = c->hello.flags,
		.period_ns = c->period_ns,
		.is_seen = c->is_seen,
		.leases = CFS_VEC_INIT,
	};
	int r = 0;

	memcpy(h.known.secret, c->secret, sizeof(h.known.secret));
	memcpy(h.known.host, c->hello.host, sizeof(h.known.host));
	memcpy(h.known.boot_id, c->hello.boot_id, sizeof(h.known.boot_id));
	memcpy(h.name, c->hello.name, sizeof(h.name));
	CFS_LIST_EACH(l, &((struct owner_client *)c)->leases)
	if (is_standing(c) && r == 0)
		r = add_lease(&h, lease_of(l));
	if (r == 0)
		r = cfs_vec_push(&list->v, h);
	if (r < 0)
		cfs_vec_done(&h.leases);
	return r;
}

/* Who only waits has nothing; nor has, in the end, one that would stand by
 * itself and has not all that it asked for: it asks anew. */
static bool has_something(const struct owner_client *c)
{
	return is_standing(c) ? c->waiting_count == 0 && c->lease_count > 0
			      : c->lease_count > c->waiting_count;
}

void cfs_owner_hand(struct cfs_owner *owner, uint64_t container,
		    cfs_hand_skips_fn skips, void *arg,
		    struct cfs_handed_list *list)
{
	owner_enter(owner);
	CFS_LIST_EACH(l, &owner->client_list)
	{
		const struct owner_client *c = client_of(l);

		if (!sum_of(c, container).of || skips(arg, c->id))
			continue;
		if (has_something(c) && add_client(list, c) < 0)
			list->is_all = false;
		/* Without memory it hears it when it asks for something. */
		if (c->peer)
			(void)cfs_vec_push(&list->peers, c->peer);
		(void)cfs_owner_moved(owner, c->id, container);
	}
	owner_leave(owner);
}

/* One that has nothing but a connection comes back, too, and is not missed. */
static bool may_return(const struct owner_client *c)
{
	return c->state == OWNER_CLIENT_SILENT || has_something(c);
}

void cfs_owner_hand_all(struct cfs_owner *owner, cfs_hand_skips_fn skips,
			void *arg, struct cfs_handed_list *list)
{
	if (owner->grace.is_in_grace && !owner->config.knows_clients)
		list->is_all = false;
	CFS_LIST_EACH(l, &owner->client_list)
	{
		const struct owner_client *c = client_of(l);

		if (skips(arg, c->id) || c->state == OWNER_CLIENT_SEALING)
			continue;
		if (c->is_stopped || sum_of(c, 0).stopped)
			list->is_all = false;
		if (!c->is_stopped && may_return(c) && add_client(list, c) < 0)
			list->is_all = false;
	}
}

/* ---- coming -------------------------------------------------------------- */

static void fill(struct owner_client *c, const struct cfs_handed *h)
{
	memcpy(c->secret, h->known.secret, sizeof(c->secret));
	memcpy(c->hello.host, h->known.host, sizeof(c->hello.host));
	memcpy(c->hello.boot_id, h->known.boot_id, sizeof(c->hello.boot_id));
	memcpy(c->hello.name, h->name, sizeof(c->hello.name));
	c->hello.pid = h->known.pid;
	c->hello.process_start = h->known.process_start;
	c->hello.flags = h->hello_flags;
	c->is_seen = h->is_seen;
}

/* Its own words about its period are no more than that. */
static void fill_period(struct cfs_owner *owner, struct owner_client *c,
			const struct cfs_handed *h)
{
	c->period_ns = CFS_MIN(CFS_MAX(h->period_ns, CFS_PERIOD_NS_MIN),
			       CFS_PERIOD_NS_MAX);
	c->owner_period_ns = cfs_period_owner_ns(c->period_ns,
						 owner->config.drift_ppm);
}

static int stand(struct cfs_owner *owner, uint64_t container,
		 const struct cfs_handed *h, struct cfs_err *err)
{
	struct owner_client *c = owner_client_new(owner, h->known.client_id,
						  err);
	int r = 0;

	if (!c)
		return -ENOMEM;
	fill(c, h);
	fill_period(owner, c, h);
	c->has_claimed = true;
	c->grace = container ? owner_grace_of(owner, container) : NULL;
	owner_event(owner, CFS_EVENT_JOIN, c, NULL);
	for (size_t i = 0; i < h->leases.count && r == 0; i++) {
		const struct cfs_handed_lease *l = &h->leases.items[i];

		if (container && l->resource.container != container)
			continue;
		r = owner_lease_install(owner, c, l, err);
	}
	owner_client_renew(owner, c);
	/* What one has is to be given back together. */
	if (r < 0 || c->lease_count == 0)
		owner_client_end(owner, c, CFS_OWNER_END_EXPIRED);
	return r;
}

/* An id of ours is only of somebody whom we gave away. */
static bool may_be(const struct cfs_owner *owner, const struct cfs_handed *h)
{
	struct cfs_msg_hello m = { .client_id = h->known.client_id };

	memcpy(m.secret, h->known.secret, sizeof(m.secret));
	return h->known.client_id >> 32 != owner->config.epoch ||
	       owner_moved_with(owner, &m);
}

int cfs_owner_take_handed(struct cfs_owner *owner, uint64_t container,
			  const struct cfs_handed *h, struct cfs_err *err)
{
	struct cfs_owner_known known = h->known;
	int r = 0;

	if (!may_be(owner, h))
		return cfs_err_set(err, -EINVAL,
				   "client %" PRIx64 " cannot be known",
				   h->known.client_id);
	if (owner_client_find(owner, h->known.client_id))
		return cfs_err_set(err, -EEXIST, "client %" PRIx64 " is known",
				   h->known.client_id);
	known.container = container;
	owner_enter(owner);
	if (h->hello_flags & CFS_HELLO_STANDING) {
		r = stand(owner, container, h, err);
	} else {
		r = cfs_owner_preload(owner, &known, err);
		if (r == 0)
			fill(owner_client_find(owner, h->known.client_id), h);
	}
	owner_leave(owner);
	return r;
}

void cfs_owner_see(struct cfs_owner *owner, uint64_t peer, uint64_t pid)
{
	const struct owner_peer *p = owner_peer_find(owner, peer);

	if (p && p->client && p->client->hello.process_start)
		p->client->is_seen = pid && p->client->hello.pid == pid;
}
