/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How the container of delegate.c goes to a secondary and comes home, and how
 * another manager takes the pool: as session/serve_delegate*.c and secondary.c.
 */
#pragma once

#include "delegate_server.h"

/* ---- another manager ----------------------------------------------------- */

static int find_held(void *arg, const struct cfs_delegation *d,
		     struct cfs_err *err)
{
	struct server *b = arg;

	(void)err;
	if (d->rec.state != CFS_DELEGATION_HELD)
		return 0;
	b->away = AWAY_OUT;
	b->away_epoch = d->epoch;
	/* It has to find us first. */
	b->away_until_ns = sim_clock_now(&b->n.clock) +
			   owner_period_ns(
				   cfs_period_short_ns(world->period_ns));
	return 0;
}

static void boss_begin(void)
{
	struct server *b = &world->servers[world->server_count++];
	struct server *former = world->boss;
	int r;

	b->is_boss = true;
	node_init(&b->n, "m", world->bosses++);
	manager_init(&world->p, &b->m, b->n.name, (uint8_t)world->bosses,
		     NO_DEVICE, &b->n.w);
	r = manager_hold(&world->p, &b->m, 0, NULL, &why);
	if (r == 0)
		r = manager_pool(&b->m, false, &why);
	MUST(r == 0, "%s cannot take the pool: %s", b->n.name, why.msg);
	b->pool = b->m.pool;
	world->boss = b;
	say("%s has the pool", b->n.name);
	r = cfs_pool_delegations(b->pool, find_held, b, &why);
	if (r == 0 && b->away == AWAY_NONE)
		r = cfs_pool_member(b->pool, "lun", &b->lun, &why);
	MUST(r == 0, "%s cannot open: %s", b->n.name, why.msg);
	server_serve(b, former != NULL);
	if (former && b->lun)
		preload(b, 0);
	server_join_itself(b);
	if (former) {
		former->is_over = true;
		count(COUNT_TAKEOVER);
	}
	if (b->away == AWAY_OUT)
		count(COUNT_AWAY);
}

/* False: there is no other host. */
static bool take_over(void)
{
	if (world->bosses == MANAGERS)
		return false;
	boss_begin();
	return true;
}

/* ---- home ---------------------------------------------------------------- */

static void come_home(struct server *b)
{
	const uint32_t epoch = b->away_epoch;
	struct cfs_member *m = NULL;
	int r;

	server_arm(b);
	b->n.is_busy = true;
	if (b->away_is_gone)
		r = cfs_pool_delegation_end(b->pool, world->container, epoch,
					    &why);
	else
		r = cfs_pool_delegation_seal(b->pool, world->container, epoch,
					     &why);
	if (r == 0)
		r = cfs_pool_member(b->pool, "lun", &m, &why);
	b->n.is_busy = false;
	if (r < 0) {
		server_failed(b, r, "take the container home");
		return;
	}
	b->lun = m;
	if (b->is_over || !b->owner)
		return;
	say("%s: it is home", b->n.name);
	count(b->away_is_gone ? COUNT_HOME_GONE : COUNT_HOME_SILENT);
	b->away = AWAY_NONE;
	r = cfs_owner_begin_grace(b->owner, world->container, epoch,
				  owner_period_ns(world->period_ns), &why);
	MUST(r == 0, "%s: no grace: %s", b->n.name, why.msg);
	preload(b, world->container);
	if (b->owner)
		cfs_owner_is_home(b->owner, world->container);
}

/* What a manager does by itself. */
static void boss_work(struct server *b)
{
	if (!can_run(&b->n) || b->is_over)
		return;
	server_jobs(b);
	if (b->away == AWAY_OUT && b->away_until_ns &&
	    sim_clock_now(&b->n.clock) >= b->away_until_ns)
		b->away = AWAY_COMING;
	if (b->away == AWAY_COMING && can_run(&b->n) && !b->is_over)
		come_home(b);
}

/* It is known of one that is dead, and behind all that it wrote. */
static void tell_gone(struct server *s)
{
	struct server *b = world->boss;
	int r;

	if (!s->n.is_dead || s->is_told || !can_run(&b->n) || b->is_over)
		return;
	(void)gate_release(&s->n.w);
	say("%s is known to be gone", s->n.name);
	s->is_told = true;
	if (has_container(s)) {
		b->away_is_gone = true;
		b->away_client = 0;
		b->away = AWAY_COMING;
		return;
	}
	if (b->away == AWAY_COMING && b->away_epoch == s->epoch) {
		b->away_is_gone = true;
		return;
	}
	b->n.is_busy = true;
	r = cfs_pool_delegation_end(b->pool, world->container, s->epoch, &why);
	b->n.is_busy = false;
	if (r < 0) {
		s->is_told = false;
		server_failed(b, r, "note that one is gone");
	}
}

/* ---- a secondary --------------------------------------------------------- */

static bool hears_boss(struct server *s)
{
	return can_hear(&s->n, &world->boss->n) && !world->boss->is_over;
}

static int lender_more(void *ctx, unsigned int n, struct cfs_lent_slices *ret,
		       struct cfs_err *err)
{
	struct server *s = ctx, *b = world->boss;
	int r;

	/* It stands in a call itself, so only the other side counts. */
	if (!can_run(&b->n) || b->is_over ||
	    s->n.out_until_ns > world->sim->now_ns)
		return cfs_err_set(err, -ENOSPC, "nobody answers");
	b->n.is_busy = true;
	r = cfs_pool_delegation_lend(b->pool, world->container, s->epoch,
				     CFS_MIN(n, 2u), ret, err);
	b->n.is_busy = false;
	/* One that was taken over meanwhile has nothing to say. */
	return r < 0 && b != world->boss
		       ? cfs_err_set(err, -ENOSPC, "nobody answers")
		       : r;
}

static int lender_give(void *ctx, uint64_t lslice, struct cfs_err *err)
{
	struct server *s = ctx, *b = world->boss;
	int r;

	if (!can_run(&b->n) || b->is_over)
		return cfs_err_set(err, -EIO, "nobody answers");
	b->n.is_busy = true;
	r = cfs_pool_delegation_take(b->pool, world->container, s->epoch,
				     lslice, err);
	b->n.is_busy = false;
	return r < 0 && b != world->boss
		       ? cfs_err_set(err, -EIO, "nobody answers")
		       : r;
}

static bool lender_may_ack(void *ctx)
{
	return is_bound(ctx);
}

static int second_open(struct server *s)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	const struct cfs_pool_lender lender = {
		.more = lender_more,
		.give = lender_give,
		.may_ack = lender_may_ack,
		.ctx = s,
	};
	const struct cfs_pool_options opt = { .was_clean = true };
	struct cfs_pool_grant grant, said;
	int r = cfs_pool_delegation_grant(world->boss->pool, world->container,
					  s->epoch, &said, &why);

	if (r < 0)
		return r;
	assert_int_equal(cfs_pool_grant_pack(&said, &buf), 0);
	cfs_pool_grant_donep(&said);
	HEAL_OK(cfs_pool_grant_unpack(buf.data, buf.bytes, &grant, &err_));
	s->n.is_busy = true;
	r = cfs_pool_open_delegated(s->set, &grant, &lender, &opt, &s->pool,
				    &why);
	cfs_pool_grant_donep(&grant);
	if (r == 0)
		r = cfs_pool_member(s->pool, "lun", &s->lun, &why);
	s->n.is_busy = false;
	return r;
}

static void up_connect(struct server *s)
{
	struct conn *c = conn_of(s->up);

	if (c && c->server != world->boss) {
		conn_cut(c);
		c->lc = NULL;
		s->bound = 0;
		cfs_lease_client_disconnected(s->up);
		c = NULL;
	}
	if (c || !hears_boss(s) || !world->boss->owner)
		return;
	s->up_server = world->boss;
	s->up_peer = conn_new(world->boss, &s->n, s->up)->peer;
	cfs_lease_client_connected(s->up);
}

/* The client that it is now is the one that has the container. */
static void up_again(struct server *s)
{
	struct server *b = world->boss;
	const uint64_t id = cfs_lease_client_id(s->up);
	struct cfs_delegation d;
	uint64_t client;

	if (s->bound == id || !conn_of(s->up) || !hears_boss(s) ||
	    !cfs_lease_client_is_welcome(s->up) ||
	    cfs_owner_touch(b->owner, s->up_peer, &client) < 0)
		return;
	if (!has_container(s) ||
	    cfs_pool_delegation_find(b->pool, world->container, &d, &why) < 0 ||
	    d.epoch != s->epoch) {
		server_is_over(s, "the manager says so");
		return;
	}
	b->away_client = s->bound = client;
	b->away_until_ns = 0;
	say("%s is bound to %s", s->n.name, b->n.name);
	count(COUNT_AGAIN);
}

static void second_make(struct server *s)
{
	static const struct cfs_lease_client_ops ops = { .send = to_server };
	const struct cfs_lease_client_config config = {
		.hello = { .pid = 1000 + world->seconds,
			   .flags = CFS_HELLO_DURABLE | CFS_HELLO_SECONDARY,
			   .host = "s" },
		.is_ordered = true,
	};

	node_init(&s->n, "s", world->seconds++);
	s->set = node_devices(&s->n, s->gates);
	HEAL_OK(cfs_lease_client_new(&config, &ops, &s->up, &s->n.clock.clock,
				     &s->up, &err_));
	up_connect(s);
}

/* Nothing stands in the way of another owner. */
static bool can_delegate(struct server *b)
{
	if (!can_run(&b->n) || b->is_over || !b->lun || b->job_count ||
	    cfs_owner_is_in_grace_of(b->owner, world->container) ||
	    world->seconds == SECONDARIES)
		return false;
	for (unsigned int i = 0; i < world->writer_count; i++)
		if (world->writers[i]->n.is_busy)
			return false;
	return true;
}

/* What it has itself it gives back first. */
static bool gives_back(struct server *b)
{
	int r;

	b->n.is_busy = true;
	r = cfs_container_commit(b->lun->container, &why);
	b->n.is_busy = false;
	if (r < 0)
		server_failed(b, r, "commit");
	if (r < 0 || b->is_over)
		return false;
	acked(&b->a);
	for (unsigned int p = 0; p < PARTS; p++) {
		if (b->a.recalled[p])
			cfs_lease_client_yield(b->a.lc, b->a.recalled[p]);
		b->a.recalled[p] = 0;
		actor_release(&b->a, p);
	}
	cfs_lease_client_drop_cached(b->a.lc);
	return true;
}

struct movers {
	uint64_t ids[64];
	unsigned int count;
	bool is_ending;
	uint64_t but; /* itself */
};

static bool is_secondary(uint64_t client)
{
	for (unsigned int i = 0; i < world->server_count; i++)
		if (world->servers[i].up &&
		    cfs_lease_client_id(world->servers[i].up) == client)
			return true;
	return false;
}

static bool move_look(void *arg, const struct cfs_lease_record *rec)
{
	struct movers *m = arg;

	if (rec->kind == CFS_RECORD_LEASE) {
		m->is_ending |= (rec->flags &
				 (CFS_LEASE_STOPPED | CFS_LEASE_SEALING)) != 0;
		return true;
	}
	m->is_ending |= (rec->flags & CFS_CLIENT_SEALING) != 0;
	if (rec->client_id != m->but && m->count < 64 &&
	    !is_secondary(rec->client_id))
		m->ids[m->count++] = rec->client_id;
	return true;
}

static int delegate_it(struct server *b, struct server *s)
{
	struct cfs_delegation_rec rec = delegate_who((uint8_t)world->seconds);
	struct movers movers = { .but = cfs_lease_client_id(b->a.lc) };
	struct cfs_lent_counts lent;
	int r = cfs_owner_hold(b->owner, world->container, &why);

	cfs_owner_each(b->owner, 0, 0, move_look, &movers);
	if (r == 0 && movers.is_ending)
		r = cfs_err_set(&why, -EBUSY, "a client is ending");
	if (r < 0) {
		cfs_owner_unhold(b->owner, world->container);
		return r;
	}
	cfs_container_lent_counts(b->lun->container, &lent);
	rec.has_clients = movers.count > 0 || lent.clients > 0;
	b->n.is_busy = true;
	r = cfs_pool_delegate(b->pool, b->lun, &rec, 4, &s->epoch, &why);
	b->n.is_busy = false;
	b->lun = NULL;
	if (r < 0 || b->is_over)
		return r < 0 ? r : -ESTALE;
	for (unsigned int i = 0; i < movers.count; i++)
		(void)cfs_owner_moved(b->owner, movers.ids[i],
				      world->container);
	for (struct conn *c = conns; c; c = c->next)
		if (c->server == b && c->lc != s->up)
			conn_cut(c);
	cfs_owner_unhold(b->owner, world->container);
	b->away = AWAY_OUT;
	b->away_epoch = s->epoch;
	b->away_is_gone = false;
	b->away_client = s->bound = cfs_lease_client_id(s->up);
	b->away_until_ns = 0;
	return 0;
}

static void delegate_to_another(void)
{
	struct server *b = world->boss;
	struct server *s;
	int r;

	if (!can_delegate(b) || !gives_back(b) || !can_delegate(b))
		return;
	s = &world->servers[world->server_count++];
	second_make(s);
	world->second = s;
	if (!cfs_lease_client_is_welcome(s->up)) {
		server_kill(s);
		s->is_told = true;
		return;
	}
	server_arm(b);
	r = delegate_it(b, s);
	if (r == -EBUSY) {
		server_kill(s);
		s->is_told = true;
		return;
	}
	if (r < 0) {
		server_kill(s);
		server_failed(b, r, "delegate");
		return;
	}
	say("%s has the container, epoch %x", s->n.name, s->epoch);
	count(COUNT_DELEGATE);
	arm(&s->n);
	r = second_open(s);
	if (r < 0 || s->is_over) {
		MUST(r == 0 || s->n.w.has_stopped || !has_container(s),
		     "%s cannot open it: %d: %s", s->n.name, r, why.msg);
		server_kill(s);
		return;
	}
	server_serve(s, true);
	preload(s, 0);
	server_join_itself(s);
}

/* It closes the container, and says so. */
static void second_return(struct server *s)
{
	struct server *b;
	int r;

	if (!can_run(&s->n) || s->is_over || s->job_count ||
	    !has_container(s) || !hears_boss(s) || !is_bound(s))
		return;
	for (unsigned int i = 0; i < world->writer_count; i++)
		if (world->writers[i]->n.is_busy)
			return;
	say("%s returns it", s->n.name);
	arm(&s->n);
	server_ends_service(s);
	s->n.is_busy = true;
	r = cfs_pool_close(s->pool, &why);
	s->n.is_busy = false;
	s->pool = NULL;
	s->lun = NULL;
	if (s->n.w.has_stopped || r < 0) {
		MUST(s->n.w.has_stopped || !has_container(s),
		     "%s cannot close: %d: %s", s->n.name, r, why.msg);
		server_kill(s);
		return;
	}
	server_kill(s);
	disarm(&s->n);
	b = world->boss;
	if (!has_container(s) || !can_run(&b->n) || b->is_over)
		return;
	s->is_told = true;
	count(COUNT_RETURN);
	b->away_client = 0;
	b->away_is_gone = true;
	b->away = AWAY_COMING;
}

static void second_work(struct server *s)
{
	struct conn *c;

	if (!is_awake(&s->n) || !s->up)
		return;
	hear_what_waits(NULL, s->up);
	for (c = conns; c; c = c->next)
		if (c->lc == s->up && c->is_cut) {
			c->lc = NULL;
			s->bound = 0;
			cfs_lease_client_disconnected(s->up);
		}
	(void)cfs_lease_client_tick(s->up);
	up_connect(s);
	up_again(s);
	if (!s->is_over && s->owner && can_run(&s->n))
		server_jobs(s);
}
