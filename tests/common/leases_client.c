/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A client process: a connection to whoever manages, a log for what it
 * writes, and the work that a recall asks for: what was written under the
 * lease is folded by the owner before it is given back.
 */
#include "leases_world.h"

#include <stdlib.h>
#include <string.h>

#define RPC_OPEN 0x0201u
#define RPC_FOLD 0x0202u

/* ---- the connection ------------------------------------------------------ */

static void connect_try(void *arg, uint64_t a, uint64_t b, void *data);

static void connect_later(struct leases_client *c, uint64_t max_ns)
{
	struct sim *sim = c->w->sim;

	if (c->is_connecting)
		return;
	c->is_connecting = true;
	sim_at(sim, sim->now_ns + sim_skewed(sim, 0, max_ns), c->node,
	       connect_try, c, 0, 0, NULL);
}

static void connect_try(void *arg, uint64_t a, uint64_t b, void *data)
{
	struct leases_client *c = arg;
	struct leases_world *w = c->w;
	struct leases_manager *m = leases_manager_current(w);

	(void)a;
	(void)b;
	(void)data;
	c->is_connecting = false;
	if (!c->lc || c->conn || c->has_left)
		return;
	/* An old address, now and then: that of a zombie, perhaps. */
	if (!w->plan.is_quiet && sim_one_in(w->sim, 6))
		m = &w->managers[sim_below(w->sim, w->plan.managers)];
	if (!m || !m->owner || c->out_until_ns > w->sim->now_ns) {
		connect_later(c, w->plan.period_ns / 6);
		return;
	}
	c->conn = leases_connect(w, c, m);
	sim_say(w->sim, "c%u connects to m%u: %u", c->index, m->index,
		(unsigned int)c->conn->id);
	cfs_lease_client_connected(c->lc);
	leases_client_kick(c);
}

void leases_client_disconnected(struct leases_client *c,
				struct leases_conn *conn)
{
	if (!c->lc || c->conn != conn)
		return;
	c->conn = NULL;
	c->open_id = 0;
	c->fold_id = 0;
	cfs_lease_client_disconnected(c->lc);
	connect_later(c, c->w->plan.period_ns / 8);
	leases_client_kick(c);
}

static int client_send(void *arg, const void *msg, size_t bytes)
{
	struct leases_client *c = arg;

	return c->conn ? leases_send(c->w, c->conn, true, msg, bytes)
		       : -ENOTCONN;
}

/* ---- requests about data ------------------------------------------------- */

static uint64_t rpc_send(struct leases_client *c, uint16_t type)
{
	/* Apart from the ids that the lease client counts itself. */
	uint64_t id = UINT64_C(1) << 62 | ++c->rpc_id;
	struct cfs_wire_put put;
	uint8_t buf[64];

	cfs_wire_put_init(&put, buf, sizeof(buf));
	cfs_msg_begin(&put, type, id);
	cfs_msg_end(&put);
	cfs_lease_client_sent(c->lc, id);
	leases_send(c->w, c->conn, true, buf, put.bytes);
	return id;
}

static bool can_send(const struct leases_client *c)
{
	return c->conn && cfs_lease_client_is_welcome(c->lc);
}

void leases_client_fold(struct leases_client *c)
{
	if (!can_send(c) || c->fold_id ||
	    c->log_client != cfs_lease_client_id(c->lc))
		return;
	c->fold_count = c->acked_count;
	memcpy(c->yielding, c->recalled, sizeof(c->yielding));
	/* What is being written goes with a later one. */
	c->yielding_count = c->writes_active ? 0 : c->recalled_count;
	c->fold_id = rpc_send(c, RPC_FOLD);
}

static void folded(struct leases_client *c)
{
	unsigned int kept = 0;

	if (c->fold_count > c->folded_count)
		c->folded_count = c->fold_count;
	for (unsigned int i = 0; i < c->recalled_count; i++) {
		bool is_done = false;

		for (unsigned int k = 0; k < c->yielding_count; k++)
			is_done |= c->yielding[k] == c->recalled[i];
		/* What was acknowledged since goes with the next one. */
		if (!is_done || c->acked_count > c->folded_count)
			c->recalled[kept++] = c->recalled[i];
		else
			cfs_lease_client_yield(c->lc, c->recalled[i]);
	}
	c->recalled_count = kept;
}

static void rpc_reply(struct leases_client *c, const struct cfs_msg_head *head,
		      struct cfs_wire_get *body)
{
	uint64_t client_id = cfs_wire_get_u64(body);
	uint64_t log = cfs_wire_get_u64(body);

	cfs_lease_client_replied(c->lc, head->id, -(int)head->status);
	if (head->id == c->open_id) {
		c->open_id = 0;
		if (head->status == 0 &&
		    client_id == cfs_lease_client_id(c->lc)) {
			c->log_client = client_id;
			c->log = (uint32_t)log;
			c->slot = 0;
			memset(c->own, 0, sizeof(c->own));
		} else if (head->status == ENOSPC) {
			c->is_leaving = true;
		}
	} else if (head->id == c->fold_id) {
		c->fold_id = 0;
		if (head->status == 0 && client_id == c->log_client &&
		    client_id == cfs_lease_client_id(c->lc))
			folded(c);
	}
}

void leases_client_receive(struct leases_client *c, struct leases_conn *conn,
			   const void *msg, size_t bytes)
{
	struct cfs_msg_head head;
	struct cfs_wire_get body;

	(void)conn;
	if (cfs_msg_open(msg, bytes, &head, &body, NULL) < 0) {
		sim_fail(c->w->sim, "the owner sent what is no message");
		return;
	}
	if (head.type > CFS_MSG_TYPE_LEASE_LAST)
		rpc_reply(c, &head, &body);
	else if (cfs_lease_client_receive(c->lc, msg, bytes) < 0)
		sim_fail(c->w->sim, "the client takes a message for none");
	leases_client_kick(c);
}

/* ---- what the lease client says ------------------------------------------ */

static void client_done(void *arg, struct cfs_lease *lease, int status,
			const struct cfs_err *err)
{
	struct leases_client *c = arg;
	struct leases_actor *a = cfs_lease_user_of(lease);

	(void)err;
	if (status)
		sim_say(c->w->sim, "c%u.%u: %d", c->index, a->index, status);
	if (status == -EDEADLK)
		leases_count(c->w, COUNT_DEADLOCK);
	a->is_answered = true;
	leases_actor_wake(a);
}

static void client_recall(void *arg, struct cfs_lease *lease, uint64_t grant_id,
			  const struct cfs_lock_resource *resource,
			  uint32_t mode)
{
	struct leases_client *c = arg;

	(void)resource;
	(void)mode;
	for (unsigned int i = 0; i < c->recalled_count; i++)
		if (c->recalled[i] == grant_id)
			return;
	if (c->recalled_count < 64)
		c->recalled[c->recalled_count++] = grant_id;
	else
		sim_fail(c->w->sim, "more recalls than grants");
	if (lease)
		leases_actor_wake(cfs_lease_user_of(lease));
}

static void client_lost(void *arg, struct cfs_lease *lease)
{
	struct leases_client *c = arg;

	if (lease) {
		leases_actor_wake(cfs_lease_user_of(lease));
		return;
	}
	sim_say(c->w->sim, "c%u has lost all", c->index);
	c->recalled_count = 0;
	c->yielding_count = 0;
	c->folded_count = c->acked_count; /* by the owner's seal */
	for (unsigned int i = 0; i < c->w->plan.actors; i++)
		leases_actor_wake(&c->actors[i]);
}

static void client_changed(void *arg, int status, const struct cfs_err *err)
{
	struct leases_client *c = arg;

	(void)err;
	sim_say(c->w->sim, "c%u is %llx: %d", c->index,
		(unsigned long long)cfs_lease_client_id(c->lc), status);
	/* Welcome as a new one before goodbye was heard: once more. */
	if (status == 0 && cfs_lease_client_id(c->lc))
		c->has_left = false;
}

/* ---- after each call ----------------------------------------------------- */

static void wake(void *arg, uint64_t life, uint64_t at_ns, void *data)
{
	struct leases_client *c = arg;

	(void)life;
	(void)data;
	if (!c->lc || c->wake_ns != at_ns)
		return;
	c->wake_ns = UINT64_MAX;
	leases_client_kick(c);
}

static bool is_idle(const struct leases_client *c)
{
	for (unsigned int i = 0; i < c->w->plan.actors; i++)
		if (c->actors[i].token)
			return false;
	return true;
}

static void leave_or_work(struct leases_client *c)
{
	if (c->slot >= LEASES_SLOTS - 4)
		c->is_leaving = true;
	if (can_send(c) && !c->open_id && !c->is_leaving && !c->is_reader &&
	    c->log_client != cfs_lease_client_id(c->lc))
		c->open_id = rpc_send(c, RPC_OPEN);
	/* Whoever never writes needs no fold to yield. */
	while (c->is_reader && c->recalled_count)
		cfs_lease_client_yield(c->lc, c->recalled[--c->recalled_count]);
	if (c->recalled_count && !c->writes_active)
		leases_client_fold(c);
	if (!c->is_leaving || !can_send(c) || !is_idle(c) || c->writes_active ||
	    c->has_left)
		return;
	if (c->acked_count > c->folded_count &&
	    c->log_client == cfs_lease_client_id(c->lc)) {
		leases_client_fold(c);
		return;
	}
	leases_count(c->w, COUNT_GOODBYE);
	sim_say(c->w->sim, "c%u says goodbye", c->index);
	c->has_left = true;
	cfs_lease_client_goodbye(c->lc);
}

static void restart(void *arg, uint64_t a, uint64_t b, void *data)
{
	(void)a;
	(void)b;
	(void)data;
	leases_client_start(arg);
}

static void come_again(void *arg, uint64_t a, uint64_t b, void *data)
{
	struct leases_client *c = arg;
	struct sim *sim = c->w->sim;

	(void)a;
	(void)b;
	(void)data;
	if (!c->has_left || c->w->plan.is_quiet)
		return;
	leases_client_crash(c);
	sim_at(sim, sim->now_ns + sim_skewed(sim, 0, c->w->plan.period_ns),
	       c->node, restart, c, 0, 0, NULL);
}

void leases_client_kick(struct leases_client *c)
{
	struct sim *sim = c->w->sim;
	uint64_t at_ns, next_ns;

	if (!c->lc)
		return;
	leave_or_work(c);
	next_ns = cfs_lease_client_tick(c->lc);
	at_ns = sim_clock_when(&c->clock, next_ns);
	if (at_ns == UINT64_MAX)
		return;
	if (sim_one_in(sim, 6))
		at_ns += sim_skewed(sim, 0, c->w->plan.period_ns / 3);
	if (at_ns <= sim->now_ns)
		at_ns = sim->now_ns + 1000;
	if (c->wake_ns <= at_ns && c->wake_ns > sim->now_ns)
		return;
	c->wake_ns = at_ns;
	sim_at(sim, at_ns, c->node, wake, c, 0, at_ns, NULL);
	if (c->has_left)
		sim_at(sim, sim->now_ns + c->w->plan.period_ns, c->node,
		       come_again, c, 0, 0, NULL);
}

bool leases_client_is_tainted(const struct leases_client *c)
{
	return c->clock.is_stopped || sim_clock_now(&c->clock) < c->taint_ns;
}

/* ---- life ---------------------------------------------------------------- */

void leases_client_start(struct leases_client *c)
{
	static const struct cfs_lease_client_ops ops = {
		.send = client_send,
		.done = client_done,
		.recall = client_recall,
		.lost = client_lost,
		.changed = client_changed,
	};
	struct leases_world *w = c->w;
	struct cfs_lease_client_config config = {
		.hello = {
			.host = { (char)('a' + c->index) },
			.pid = c->index + 1,
			.process_start =
				(uint64_t)w->sim->nodes[c->node].life + 1,
			.flags = c->is_reader ? 0 : CFS_HELLO_DURABLE,
			.name = "sim",
		},
		/* The net of the simulation promises that too. */
		.is_ordered = true,
	};

	if (c->lc)
		return;
	if (cfs_lease_client_new(&config, &ops, c, &c->clock.clock, &c->lc,
				 NULL) < 0)
		abort();
	sim_say(w->sim, "c%u starts", c->index);
	c->is_leaving = c->has_left = false;
	c->is_connecting = false;
	c->conn = NULL;
	c->wake_ns = UINT64_MAX;
	c->open_id = c->fold_id = 0;
	c->log_client = 0;
	c->seq = c->acked_count = c->folded_count = c->stamp = 0;
	c->slot = 0;
	c->recalled_count = c->yielding_count = 0;
	c->writes_active = 0;
	memset(c->own, 0, sizeof(c->own));
	connect_later(c, w->plan.period_ns / 8);
	for (unsigned int i = 0; i < w->plan.actors; i++)
		leases_actor_start(&c->actors[i]);
}

static void start_event(void *arg, uint64_t a, uint64_t b, void *data)
{
	restart(arg, a, b, data);
}

void leases_client_init(struct leases_world *w, uint32_t index)
{
	struct leases_client *c = &w->clients[index];
	int64_t r = w->plan.drift_ppm;

	c->w = w;
	c->index = index;
	c->node = index;
	c->is_reader = !w->plan.has_stops && index && sim_one_in(w->sim, 4);
	sim_clock_init(&c->clock, w->sim, 1 + sim_below(w->sim, CFS_NS_PER_S),
		       sim_one_in(w->sim, 3) ? r : -r);
	for (unsigned int i = 0; i < LEASES_ACTORS; i++) {
		c->actors[i].w = w;
		c->actors[i].c = c;
		c->actors[i].index = i;
	}
	sim_at(w->sim, sim_skewed(w->sim, 0, w->plan.period_ns), c->node,
	       start_event, c, 0, 0, NULL);
}

void leases_client_crash(struct leases_client *c)
{
	struct leases_world *w = c->w;
	uint64_t id = c->lc ? cfs_lease_client_id(c->lc) : 0;

	if (!c->lc)
		return;
	if (id && w->dead_count < LEASES_KNOWN)
		w->dead[w->dead_count++] = id;
	for (unsigned int i = 0; i < LEASES_ACTORS; i++)
		leases_actor_drop(&c->actors[i]);
	if (c->conn) {
		struct leases_conn *conn = c->conn;

		c->conn = NULL;
		conn->client_open = false;
		leases_cut(w, conn);
	}
	cfs_lease_client_free(c->lc);
	c->lc = NULL;
	sim_crash(w->sim, c->node);
}

void leases_client_done(struct leases_client *c)
{
	cfs_lease_client_free(c->lc);
}
