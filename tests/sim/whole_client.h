/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A client of whole.c: a connection, the real client of leases, and two
 * containers in client mode, whose owner is behind the connection.
 */
#pragma once

#include "whole_actor.h"

/* ---- connecting --------------------------------------------------------- */

static void client_kick(struct client_proc *c);
static void client_run(void *arg);

static void connect_try(void *arg, uint64_t life, uint64_t b, void *data);

static void connect_later(struct client_proc *c)
{
	struct sim *sim = c->w->sim;

	if (c->is_connecting)
		return;
	c->is_connecting = true;
	sim_at(sim, sim->now_ns + sim_skewed(sim, 0, c->w->plan.period_ns / 8),
	       c->a.p->node, connect_try, c, c->lives, 0, NULL);
}

static void connect_try(void *arg, uint64_t life, uint64_t b, void *data)
{
	struct client_proc *c = arg;
	struct whole *w = c->w;
	struct boss *boss = boss_now(w);

	(void)b;
	(void)data;
	if (c->lives != life)
		return;
	c->is_connecting = false;
	if (!c->a.lc || c->conn || c->has_left)
		return;
	/* An old address, now and then. */
	if (!w->plan.is_quiet && boss->index && sim_one_in(w->sim, 6))
		boss--;
	if (!boss->owner || c->out_until_ns > w->sim->now_ns) {
		connect_later(c);
		return;
	}
	c->conn = conn_new(w, c, boss);
	say(w, "%s connects to m%u", c->a.name, boss->index);
	c->must_reconcile = true;
	cfs_lease_client_connected(c->a.lc);
	client_kick(c);
}

static void client_closed(struct client_proc *c)
{
	c->conn = NULL;
	cfs_lease_client_disconnected(c->a.lc);
	connect_later(c);
	client_kick(c);
	fiber_wake(c->a.p);
}

static int client_send(void *arg, const void *msg, size_t bytes)
{
	struct client_proc *c = arg;

	if (!c->conn || c->a.p->is_dead)
		return -ENOTCONN;
	return net_send(c->w, c->conn, true, false, msg, bytes);
}

static void client_receive(struct client_proc *c, const struct message *m)
{
	const struct rpc *q = (const struct rpc *)(const void *)m->data;

	if (!m->is_rpc) {
		MUST(c->w->sim,
		     cfs_lease_client_receive(c->a.lc, m->data, m->bytes) == 0,
		     "the client takes a message for none");
	} else if (q->type == RPC_HOLD) {
		c->hold_serial = q->value;
	} else if (q->type != RPC_GO_ON) {
		cfs_lease_client_replied(c->a.lc, q->id, q->status);
		if (c->waits_for == q->id && !c->reply) {
			c->reply = malloc(m->bytes);
			assert_non_null(c->reply);
			memcpy(c->reply, q, m->bytes);
			fiber_wake(c->a.p);
		}
	}
	client_kick(c);
}

/* ---- what the lease client says ----------------------------------------- */

static void client_lost(void *arg, struct cfs_lease *lease)
{
	struct client_proc *c = arg;

	say(c->w, "%s has lost %s", c->a.name, lease ? "a lease" : "all");
	c->a.is_lost = true;
	fiber_wake(c->a.p);
}

static void client_recall_hook(void *arg, struct cfs_lease *lease,
			       uint64_t grant_id,
			       const struct cfs_lock_resource *resource,
			       uint32_t mode)
{
	struct client_proc *c = arg;

	/* What is only kept was settled before. */
	if (lease)
		actor_recalled(&c->a, lease, grant_id, resource, mode);
	else
		cfs_lease_client_yield(c->a.lc, grant_id);
}

static void client_changed(void *arg, int status, const struct cfs_err *err)
{
	struct client_proc *c = arg;

	(void)err;
	say(c->w, "%s is %llx: %d", c->a.name,
	    (unsigned long long)cfs_lease_client_id(c->a.lc), status);
	if (status < 0)
		c->a.is_lost = true;
}

static void client_wake(void *arg, uint64_t life, uint64_t at_ns, void *data)
{
	struct client_proc *c = arg;

	(void)data;
	if (c->lives == life && c->wake_ns == at_ns && c->a.lc)
		client_kick(c);
}

static void client_kick(struct client_proc *c)
{
	struct sim *sim = c->w->sim;
	uint64_t at_ns;

	if (!c->a.lc)
		return;
	at_ns = sim_clock_when(&c->clock, cfs_lease_client_tick(c->a.lc));
	if (at_ns == UINT64_MAX)
		return;
	if (at_ns <= sim->now_ns)
		at_ns = sim->now_ns + 1000;
	if (c->wake_ns <= at_ns && c->wake_ns > sim->now_ns)
		return;
	c->wake_ns = at_ns;
	sim_at(sim, c->wake_ns, c->a.p->node, client_wake, c, c->lives,
	       c->wake_ns, NULL);
}

/* ---- requests about data ------------------------------------------------ */

static bool client_is_gone(const struct client_proc *c)
{
	return c->a.p->is_dead || c->a.is_lost;
}

/*
 * Ask the manager, whoever that is by now; in the fiber.  The answer is to be
 * freed.
 */
static int client_call(struct client_proc *c, const struct rpc *q,
		       struct rpc **ret, struct cfs_err *err)
{
	const uint64_t nap_ns = c->w->plan.period_ns / 20;
	struct conn *conn;
	struct rpc *reply;
	struct rpc *own = malloc(sizeof(*q) + q->bytes);
	int r = -EAGAIN;

	assert_non_null(own);
	memcpy(own, q, sizeof(*q) + q->bytes);
	while (r == -EAGAIN) {
		while (!client_is_gone(c) &&
		       (!c->conn || !cfs_lease_client_is_welcome(c->a.lc)))
			fiber_sleep(c->a.p, nap_ns);
		if (client_is_gone(c)) {
			r = cfs_err_set(err, -ESTALE, "the lease is lost");
			break;
		}
		conn = c->conn;
		own->id = UINT64_C(1) << 62 | ++c->rpc_id;
		c->waits_for = own->id;
		free(c->reply);
		c->reply = NULL;
		cfs_lease_client_sent(c->a.lc, own->id);
		rpc_send(c->w, conn, true, own);
		while (!c->reply && c->conn == conn && !client_is_gone(c))
			fiber_sleep(c->a.p, nap_ns);
		reply = c->reply;
		c->reply = NULL;
		c->waits_for = 0;
		if (!reply)
			continue;
		r = reply->status == -ENOTCONN ? -EAGAIN : reply->status;
		if (r == 0) {
			*ret = reply;
		} else {
			cfs_err_set(err, r, "%s", (char *)reply->data);
			free(reply);
		}
		if (r == -EAGAIN)
			fiber_sleep(c->a.p, nap_ns);
	}
	free(own);
	return r;
}

/* Which of the two containers: the context of its source. */
struct source_ctx {
	struct client_proc *c;
	unsigned int which;
};

static int source_call(void *ctx, uint32_t type, uint64_t value,
		       const void *data, size_t bytes, struct rpc **ret,
		       struct cfs_err *err)
{
	struct source_ctx *s = ctx;
	struct rpc *q = rpc_new(type, 0, bytes);
	int r;

	q->container = s->which;
	q->client = s->c->ids[s->which];
	q->value = value;
	if (bytes)
		memcpy(q->data, data, bytes);
	r = client_call(s->c, q, ret, err);
	free(q);
	return r;
}

static int source_lend(void *ctx, uint32_t n, struct cfs_loans *loans,
		       struct cfs_err *err)
{
	struct rpc *reply = NULL;
	int r = source_call(ctx, RPC_LEND, n, NULL, 0, &reply, err);

	if (r == 0)
		r = cfs_loans_unpack(reply->data, reply->bytes, loans, err);
	free(reply);
	return r;
}

static int source_inos(void *ctx, uint32_t n, uint64_t *ret_first,
		       uint64_t *ret_end, struct cfs_err *err)
{
	struct rpc *reply = NULL;
	int r = source_call(ctx, RPC_INOS, n, NULL, 0, &reply, err);

	if (r == 0) {
		memcpy(ret_first, reply->data, sizeof(*ret_first));
		memcpy(ret_end, reply->data + 8, sizeof(*ret_end));
	}
	free(reply);
	return r;
}

static int source_view(void *ctx, uint64_t map_change,
		       struct cfs_client_view *ret, struct cfs_err *err)
{
	struct rpc *reply = NULL;
	int r = source_call(ctx, RPC_VIEW, map_change, NULL, 0, &reply, err);

	if (r == 0)
		r = cfs_client_view_unpack(reply->data, reply->bytes, ret, err);
	free(reply);
	return r;
}

static int source_fold(void *ctx, const struct cfs_fold *fold,
		       struct cfs_client_view *ret, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	struct rpc *reply = NULL;
	int r;

	assert_int_equal(cfs_fold_pack(fold, &buf), 0);
	r = source_call(ctx, RPC_FOLD, 0, buf.data, buf.bytes, &reply, err);
	if (r == 0)
		r = cfs_client_view_unpack(reply->data, reply->bytes, ret, err);
	free(reply);
	return r;
}

static bool source_holds(void *ctx)
{
	const struct source_ctx *s = ctx;

	return actor_holds(&s->c->a);
}

static const struct cfs_client_source whole_source = {
	.lend = source_lend,
	.lend_inos = source_inos,
	.fold = source_fold,
	.view = source_view,
	.holds = source_holds,
};

/* ---- opening and closing ------------------------------------------------ */

static struct source_ctx source_ctxs[CLIENTS][2];

static int client_open_one(struct client_proc *c, unsigned int which,
			   struct cfs_member **ret)
{
	struct source_ctx *ctx = &source_ctxs[c->index][which];
	CFS_CLEANUP(cfs_client_view_donep)
	struct cfs_client_view view = { .smap = NULL };
	struct cfs_client_config config = {
		.source = &whole_source,
		.source_ctx = ctx,
		.is_checked = c->w->plan.is_checked,
	};
	struct cfs_devset *set = NULL;
	struct rpc *reply = NULL;
	int r;

	*ctx = (struct source_ctx){ c, which };
	for (unsigned int i = 0; i < c->w->process_count; i++)
		if (c->w->processes[i] == c->a.p)
			set = c->w->sets[i];
	r = source_call(ctx, RPC_MAKE, 0, NULL, 0, &reply, &why);
	if (r == 0) {
		memcpy(&c->ids[which], reply->data, 8);
		memcpy(&config.rec, reply->data + 8, sizeof(config.rec));
		config.client_id = c->ids[which];
	}
	free(reply);
	if (r == 0)
		r = source_view(ctx, 0, &view, &why);
	if (r == 0)
		r = cfs_client_member_open(set, &config, &view, 1u << 20, ret,
					   &why);
	return r;
}

static int client_open(struct client_proc *c)
{
	struct actor *a = &c->a;
	struct cfs_volume_rec rec;
	int r = client_open_one(c, 0, &a->lun);

	if (r == 0)
		r = client_open_one(c, 1, &a->tree);
	if (r == 0)
		AGAIN(a->tree->container, r,
		      cfs_volume_get(a->tree, CFS_VOLUME_FIRST, &rec, &why));
	if (r == 0) {
		const struct cfs_view view = { a->tree->container,
					       (uint16_t)rec.head_branch,
					       CFS_STAMP_HEAD };

		AGAIN(a->tree->container, r,
		      cfs_fs_open(&view, rec.ino, rec.hash_seed, &a->fs, &why));
	}
	if (r == 0)
		cfs_fs_set_clock(a->fs, &a->clock.clock);
	return r;
}

static void client_drop(struct client_proc *c)
{
	if (c->a.fs)
		cfs_fs_close(c->a.fs);
	if (c->a.tree)
		cfs_client_member_drop(c->a.tree);
	if (c->a.lun)
		cfs_client_member_drop(c->a.lun);
	c->a.fs = NULL;
	c->a.tree = c->a.lun = NULL;
	c->ids[0] = c->ids[1] = 0;
}

/* Fold, give all back, and say so. */
static int client_leave(struct client_proc *c)
{
	struct actor *a = &c->a;
	struct rpc *reply = NULL;
	int r = actor_settle(a);

	if (r < 0 || !actor_may(a))
		return r < 0 ? r : -ESTALE;
	if (a->fs)
		cfs_fs_close(a->fs);
	a->fs = NULL;
	r = cfs_client_member_close(a->tree, &why);
	a->tree = NULL;
	if (r == 0) {
		r = cfs_client_member_close(a->lun, &why);
		a->lun = NULL;
	}
	for (unsigned int i = 0; i < 2 && r == 0; i++) {
		r = source_call(&source_ctxs[c->index][i], RPC_CLOSE, 0, NULL,
				0, &reply, &why);
		free(reply);
		reply = NULL;
	}
	c->ids[0] = c->ids[1] = 0;
	for (unsigned int i = 0; i < TOKENS; i++)
		token_release(&a->tokens[i]);
	cfs_lease_client_drop_cached(a->lc);
	return r;
}

/* ---- the fiber ---------------------------------------------------------- */

static int client_held(struct client_proc *c)
{
	const uint64_t serial = c->hold_serial;
	struct rpc *reply = NULL;
	int r = cfs_container_hold(c->a.lun->container, &why);

	if (r == 0)
		r = cfs_container_hold(c->a.tree->container, &why);
	if (r == 0) {
		/* A fold, as any. */
		if (actor_may(&c->a)) {
			acknowledged(&c->a, false, c->a.dirty_count);
			acknowledged(&c->a, true, c->a.dirty_count);
		}
		r = source_call(&source_ctxs[c->index][0], RPC_HELD, serial,
				NULL, 0, &reply, &why);
	}
	free(reply);
	if (c->hold_serial == serial)
		c->hold_serial = 0;
	return r;
}

static int client_reconcile(struct client_proc *c)
{
	struct cfs_container *both[2] = { c->a.lun->container,
					  c->a.tree->container };
	int r = 0;

	c->must_reconcile = false;
	for (unsigned int i = 0; i < 2 && r == 0; i++) {
		CFS_CLEANUP(cfs_loans_donep)
		struct cfs_loans loans = { .count = 0 };
		struct rpc *reply = NULL;

		r = source_call(&source_ctxs[c->index][i], RPC_LOANS, 0, NULL,
				0, &reply, &why);
		if (r == 0 && reply->bytes)
			r = cfs_loans_unpack(reply->data, reply->bytes, &loans,
					     &why);
		if (r == 0)
			r = cfs_container_reconcile(both[i], &loans, &why);
		free(reply);
	}
	return r;
}

/*
 * It has lost a lease, and is a client still: what was synced is in its logs,
 * which have to be read before anything else that it holds is given back.
 */
static void client_close_lost(struct client_proc *c)
{
	struct rpc *reply = NULL;

	/* It writes no more: that is what it says with this. */
	flights_land(c->a.p);
	c->a.is_lost = false;
	for (unsigned int i = 0; i < 2 && !c->a.p->is_dead; i++) {
		struct source_ctx ctx = { c, i };

		if (c->ids[i])
			(void)source_call(&ctx, RPC_CLOSE, 0, NULL, 0, &reply,
					  &why);
		free(reply);
		reply = NULL;
	}
	c->a.is_lost = true;
}

static int client_step(struct client_proc *c)
{
	struct sim *sim = c->w->sim;
	int r;

	if (!c->a.fs)
		return client_open(c);
	if (c->must_reconcile && c->conn)
		return client_reconcile(c);
	if (c->hold_serial)
		return client_held(c);
	if (c->a.recalled_count)
		return actor_yield(&c->a);
	if (c->is_leaving) {
		r = client_leave(c);
		if (r == 0) {
			c->has_left = true;
			say(c->w, "%s says goodbye", c->a.name);
			cfs_lease_client_goodbye(c->a.lc);
		}
		return r;
	}
	if (sim_one_in(sim, 30))
		return cfs_container_give_back(c->a.lun->container,
					       sim_one_in(sim, 2), &why);
	return actor_step(&c->a);
}

/* Is that an end that a client may come to? */
static void judge_failure(struct client_proc *c, int r)
{
	say(c->w, "%s: %d: %s", c->a.name, r, why.msg);
	count(c->w, COUNT_REFUSED);
	MUST(c->w->sim,
	     c->a.p->is_dead || c->a.is_lost || r == -ESTALE || r == -EROFS ||
		     r == -EIO || r == -ENOSPC || r == -ENOENT,
	     "%s is well and fails: %d: %s", c->a.name, r, why.msg);
}

static void client_run(void *arg)
{
	struct client_proc *c = arg;
	struct whole *w = c->w;
	int r;

	while (!c->a.p->is_dead && !c->has_left) {
		r = 0;
		if (c->a.is_lost) {
			client_close_lost(c);
			actor_lost(&c->a);
			client_drop(c);
			c->hold_serial = 0;
			c->a.is_lost = false;
		} else if (c->conn && cfs_lease_client_is_welcome(c->a.lc)) {
			r = client_step(c);
		}
		if (r < 0) {
			judge_failure(c, r);
			c->a.is_lost = true;
		}
		client_kick(c);
		fiber_sleep(c->a.p,
			    sim_skewed(w->sim, 1,
				       w->plan.is_quiet ? w->plan.period_ns / 50
							: w->plan.think_ns));
	}
	actor_lost(&c->a);
	client_drop(c);
}

/* ---- life --------------------------------------------------------------- */

static void client_start(void *arg, uint64_t x, uint64_t y, void *data)
{
	static const struct cfs_lease_client_ops ops = {
		.send = client_send,
		.recall = client_recall_hook,
		.lost = client_lost,
		.changed = client_changed,
	};
	struct client_proc *c = arg;
	struct whole *w = c->w;
	struct cfs_lease_client_config config = {
		.hello = { .pid = c->index + 1, .flags = CFS_HELLO_DURABLE },
		.is_ordered = true,
	};

	(void)x;
	(void)y;
	(void)data;
	if (w->plan.is_quiet)
		return;
	c->lives++;
	config.hello.process_start = c->lives;
	config.hello.host[0] = (char)('a' + c->index);
	memcpy(config.hello.name, c->a.name, sizeof(c->a.name));
	(void)process_new(w, c->index, &c->a.p);
	c->a.p->pause_in = &w->plan.pause_in;
	c->a.dirty_count = c->a.recalled_count = 0;
	c->a.is_lost = false;
	c->is_connecting = c->has_left = false;
	c->hold_serial = 0;
	c->wake_ns = 0;
	c->waits_for = 0;
	c->conn = NULL;
	HEAL_OK(cfs_lease_client_new(&config, &ops, c, &c->clock.clock,
				     &c->a.lc, &err_));
	fiber_start(c->a.p, client_run, c);
	connect_later(c);
}

static void client_init(struct whole *w, unsigned int index)
{
	struct client_proc *c = &w->clients[index];
	const int64_t r = w->plan.drift_ppm;

	c->w = c->a.w = w;
	c->index = c->a.who = index;
	(void)snprintf(c->a.name, sizeof(c->a.name), "c%u", index);
	cfs_clock_manual_init(&c->a.clock, 1, 1);
	/* Mostly as fast, or as slow, as it may be. */
	sim_clock_init(&c->clock, w->sim, 1 + sim_below(w->sim, CFS_NS_PER_S),
		       sim_one_in(w->sim, 3) ? r : -r);
	client_start(c, 0, 0, NULL);
}

static void client_end_process(struct client_proc *c)
{
	if (!c->a.lc)
		return;
	process_die(c->a.p);
	cfs_lease_client_free(c->a.lc);
	c->a.lc = NULL;
	if (c->conn)
		conn_cut(c->w, c->conn);
	c->conn = NULL;
	free(c->reply);
	c->reply = NULL;
}

static void client_crash(struct client_proc *c)
{
	struct whole *w = c->w;
	uint64_t id;

	if (!c->a.lc || c->has_left)
		return;
	id = cfs_lease_client_id(c->a.lc);
	say(w, "%s crashes", c->a.name);
	count(w, COUNT_CRASH);
	client_end_process(c);
	if (id && w->dead_count < 32)
		w->dead[w->dead_count++] = id;
	sim_at(w->sim,
	       w->sim->now_ns + sim_skewed(w->sim, 0, 2 * w->plan.period_ns),
	       SIM_NOBODY, client_start, c, 0, 0, NULL);
}
