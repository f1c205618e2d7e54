/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Clients of delegate.c: each has leases, and the container in client mode,
 * and asks whoever has the container.  Some only read, and have no log.
 */
#pragma once

#include "delegate_home.h"

/* ---- who is asked -------------------------------------------------------- */

/* It has the container, hears us, and knows us; NULL: there is nobody. */
static struct server *asked(struct writer *wr)
{
	struct server *s = wr->server;
	uint64_t client;

	if (!s || !s->owner || !s->lun || s->is_over || !can_run(&s->n) ||
	    wr->n.out_until_ns > world->sim->now_ns ||
	    s->n.out_until_ns > world->sim->now_ns || !conn_of(wr->a.lc) ||
	    cfs_owner_touch(s->owner, wr->peer, &client) < 0)
		return NULL;
	wr->cl.owner = s->lun->container;
	s->n.is_busy = true;
	return s;
}

/* What it did counts if the container was its own when it had done it. */
static int answered(struct server *s, int r, struct cfs_err *err)
{
	s->n.is_busy = false;
	if (!s->owner || s->is_over || !server_has_it(s))
		return cfs_err_set(err, -ESTALE, "another has the container");
	return r;
}

static int nobody(struct cfs_err *err)
{
	return cfs_err_set(err, -ESTALE, "nobody answers");
}

static struct writer *writer_of(void *ctx)
{
	return ctx;
}

static int source_lend(void *ctx, uint32_t n, struct cfs_loans *loans,
		       struct cfs_err *err)
{
	struct server *s = asked(writer_of(ctx));

	return s ? answered(s, client_lend(ctx, n, loans, err), err)
		 : nobody(err);
}

static int source_inos(void *ctx, uint32_t n, uint64_t *ret_first,
		       uint64_t *ret_end, struct cfs_err *err)
{
	struct server *s = asked(writer_of(ctx));

	return s ? answered(s,
			    client_lend_inos(ctx, n, ret_first, ret_end, err),
			    err)
		 : nobody(err);
}

static int source_view(void *ctx, uint64_t map_change,
		       struct cfs_client_view *ret, struct cfs_err *err)
{
	struct server *s = asked(writer_of(ctx));
	int r = s ? client_view(ctx, map_change, ret, err) : nobody(err);

	if (s && answered(s, r, err) < 0 && r == 0) {
		cfs_client_view_donep(ret);
		r = -ESTALE;
	}
	return r;
}

/* Whose fold is being taken. */
struct may {
	struct server *s;
	uint64_t client;
};

static bool fold_may(void *ctx, uint16_t branch, uint64_t ino, uint64_t first,
		     uint64_t n)
{
	const struct may *m = ctx;
	struct cfs_lock_resource res;

	(void)branch;
	for (uint64_t i = first; i < first + CFS_MAX(n, (uint64_t)1); i++) {
		resource_of((unsigned int)(i / PART_BLOCKS), &res);
		if (i >= BLOCKS || !m->s->owner ||
		    cfs_owner_holds(m->s->owner, m->client, &res, CFS_LOCK_X) <
			    0)
			return false;
	}
	return ino == world->ino;
}

static int source_fold(void *ctx, const struct cfs_fold *fold,
		       struct cfs_client_view *ret, struct cfs_err *err)
{
	struct writer *wr = writer_of(ctx);
	struct server *s = asked(wr);
	struct may may = { s, cfs_lease_client_id(wr->a.lc) };
	const struct cfs_fold_rules rules = { fold_may, &may };
	int r;

	if (!s)
		return nobody(err);
	wr->cl.rules = &rules;
	r = client_fold(ctx, fold, ret, err);
	wr->cl.rules = NULL;
	if (answered(s, r, err) < 0 && r == 0) {
		cfs_client_view_donep(ret);
		r = -ESTALE;
	}
	/* Its period ended there while it was about to. */
	return r == -EPERM ? cfs_err_set(err, -ESTALE, "not its lease any more")
			   : r;
}

static bool source_holds(void *ctx)
{
	const struct actor *a = &writer_of(ctx)->a;

	if (a->is_lost || !cfs_lease_client_is_alive(a->lc))
		return false;
	for (unsigned int p = 0; p < PARTS; p++)
		if (a->tokens[p].lease &&
		    cfs_lease_state_of(a->tokens[p].lease) != CFS_LEASE_ASKED &&
		    token_mode(a, p) == CFS_LOCK_NONE)
			return false;
	return true;
}

static const struct cfs_client_source delegate_source = {
	.lend = source_lend,
	.lend_inos = source_inos,
	.fold = source_fold,
	.view = source_view,
	.holds = source_holds,
};

/* ---- life ---------------------------------------------------------------- */

static int writer_send(void *arg, const void *msg, size_t bytes)
{
	struct actor *a = arg;

	return to_server(&a->lc, msg, bytes);
}

static void writer_new(unsigned int index)
{
	static const struct cfs_lease_client_ops ops = {
		.send = writer_send,
		.recall = actor_recall,
		.lost = actor_lost,
	};
	struct writer *wr = calloc(1, sizeof(*wr));
	const unsigned int n = world->writer_count++;
	const bool is_plain = one_in(4);
	const struct cfs_lease_client_config config = {
		.hello = { .pid = n + 1,
			   .process_start = 1,
			   .flags = is_plain ? 0 : CFS_HELLO_DURABLE,
			   .host = "c" },
		.is_ordered = true,
	};

	assert_non_null(wr);
	MUST(n < WRITERS_MAX, "too many clients");
	world->writers[n] = world->now[index] = wr;
	wr->index = index;
	wr->is_plain = is_plain;
	wr->is_reader = is_plain || one_in(4);
	node_init(&wr->n, "c", n);
	wr->a.node = &wr->n;
	wr->set = node_devices(&wr->n, wr->gates);
	HEAL_OK(cfs_lease_client_new(&config, &ops, &wr->a, &wr->n.clock.clock,
				     &wr->a.lc, &err_));
}

/* Its process ends; what it had written may land later. */
static void writer_kill(struct writer *wr)
{
	if (wr->n.is_dead)
		return;
	say("%s is dead", wr->n.name);
	wr->n.is_dead = true;
	lc_end(&wr->a.lc);
	memset(wr->a.tokens, 0, sizeof(wr->a.tokens));
	if (wr->is_open)
		cfs_client_member_drop(wr->cl.m);
	wr->is_open = false;
}

static bool has_room(void)
{
	return world->writer_count + 1 < WRITERS_MAX;
}

/* Something that it did failed, or it has lost what it had. */
static void writer_failed(struct writer *wr, int r, const char *what)
{
	say("%s: %s: %d: %s", wr->n.name, what, r, why.msg);
	count(COUNT_FAILED);
	MUST(r == -ESTALE || r == -EROFS || r == -EIO || r == -ENOSPC ||
		     r == -ENOENT || r == -EAGAIN || wr->a.is_lost,
	     "%s cannot %s: %d: %s", wr->n.name, what, r, why.msg);
	wr->a.is_lost = true;
}

static void writer_connect(struct writer *wr)
{
	struct server *b = world->boss, *s = b;

	if (b->away != AWAY_NONE)
		s = world->second;
	/* An old address, now and then. */
	if (!world->is_quiet && one_in(5))
		s = &world->servers[below(world->server_count)];
	if (!s || !s->owner || !can_hear(&wr->n, &s->n) || !server_has_it(s) ||
	    (s->is_boss && !s->lun))
		return;
	wr->server = s;
	wr->peer = conn_new(s, &wr->n, wr->a.lc)->peer;
	wr->must_reconcile = wr->is_open;
	cfs_lease_client_connected(wr->a.lc);
}

/* As leasectl run: one that says nothing for half a period may never again,
 * whether its connection stays or not. */
static void look_for_another(struct writer *wr)
{
	const uint64_t now = sim_clock_now(&wr->n.clock);

	if (wr->is_plain && wr->server && cfs_lease_client_is_alive(wr->a.lc) &&
	    cfs_lease_client_ends_ns(wr->a.lc) < now + world->period_ns / 2)
		conn_cut(conn_of(wr->a.lc));
}

static void writer_tick(struct writer *wr)
{
	if (!is_awake(&wr->n))
		return;
	hear_what_waits(NULL, wr->a.lc);
	look_for_another(wr);
	for (struct conn *c = conns; c; c = c->next)
		if (c->lc == wr->a.lc && c->is_cut) {
			c->lc = NULL;
			wr->server = NULL;
			cfs_lease_client_disconnected(wr->a.lc);
		}
	(void)cfs_lease_client_tick(wr->a.lc);
}

static int writer_open(struct writer *wr)
{
	struct cfs_client_config config = {
		.source = &delegate_source,
		.source_ctx = &wr->cl,
		.is_checked = one_in(2),
	};
	CFS_CLEANUP(cfs_client_view_donep)
	struct cfs_client_view view = { .smap = NULL };
	struct cfs_client_identity who = { .host = "c",
					   .process_start = 1,
					   .pid = wr->cl.id };
	const uint64_t id = cfs_lease_client_id(wr->a.lc);
	struct server *s = asked(wr);
	int r = 0;

	if (!s)
		return 0;
	for (unsigned int i = 0; i < world->writer_count; i++)
		if (world->writers[i] == wr)
			who.pid = i + 1;
	memcpy(who.instance, &id, sizeof(id));
	if (!wr->is_reader)
		r = cfs_container_client_make(s->lun->container, &who, 64,
					      &wr->cl.id, &wr->cl.rec, &why);
	r = answered(s, r, &why);
	config.client_id = wr->cl.id;
	config.rec = wr->cl.rec;
	if (r == 0)
		r = source_view(&wr->cl, 0, &view, &why);
	if (r == 0)
		r = cfs_client_member_open(wr->set, &config, &view, 1u << 20,
					   &wr->cl.m, &why);
	if (r < 0)
		return r;
	wr->cl.c = wr->cl.m->container;
	wr->is_open = true;
	return 0;
}

/* Another server: what it has lent, and what we know of. */
static int writer_reconcile(struct writer *wr)
{
	CFS_CLEANUP(cfs_loans_donep) struct cfs_loans loans = { .count = 0 };
	struct server *s = asked(wr);
	int r;

	if (!s)
		return 0;
	wr->must_reconcile = false;
	if (wr->is_reader)
		return answered(s, 0, &why);
	r = cfs_container_loans(s->lun->container, wr->cl.id, &loans, &why);
	r = answered(s, r, &why);
	return r < 0 ? r : cfs_container_reconcile(wr->cl.c, &loans, &why);
}

/* ---- steps --------------------------------------------------------------- */

static void ask_for(struct actor *a, unsigned int part, bool only_reads)
{
	struct cfs_lease_request req = {
		.mode = only_reads || one_in(8) ? CFS_LOCK_S : CFS_LOCK_X,
		.flags = CFS_MSG_LOCK_WAIT | CFS_MSG_LOCK_RECALLABLE,
		.key = 1,
	};

	resource_of(part, &req.resource);
	a->tokens[part].has_looked = false;
	if (cfs_lease_client_acquire(a->lc, &req, &a->tokens[part].lease,
				     &why) < 0)
		a->tokens[part].lease = NULL;
}

/* Behind a fold or a commit: what was recalled goes. */
static void yield(struct actor *a)
{
	for (unsigned int p = 0; p < PARTS; p++) {
		if (!a->recalled[p])
			continue;
		cfs_lease_client_yield(a->lc, a->recalled[p]);
		a->recalled[p] = 0;
		actor_release(a, p);
	}
}

static bool is_recalled(const struct actor *a)
{
	for (unsigned int p = 0; p < PARTS; p++)
		if (a->recalled[p])
			return true;
	return false;
}

/* Rather one that it has. */
static unsigned int choose_part(const struct actor *a)
{
	unsigned int part = (unsigned int)below(PARTS);

	for (unsigned int i = 0; i < PARTS && !one_in(4); i++)
		if (token_mode(a, part) == CFS_LOCK_NONE)
			part = (part + 1) % PARTS;
	return part;
}

/* 0, or what failed. */
static int look_at(struct writer *wr, unsigned int part)
{
	struct token *t = &wr->a.tokens[part];
	uint8_t buf[PART_BLOCKS * HEAL_BLOCK];
	const bool is_new = !t->has_looked;
	int r = is_new ? cfs_container_refresh(wr->cl.c, &why) : 0;

	if (r == 0)
		r = read_part(wr->cl.c, part, buf);
	if (r < 0 || token_mode(&wr->a, part) == CFS_LOCK_NONE)
		return r;
	/* A refresh is a fold. */
	if (is_new)
		acked(&wr->a);
	judge_part(part, buf, wr->n.name, is_new);
	t->has_looked = true;
	return 0;
}

static int writer_access(struct writer *wr, unsigned int part)
{
	const uint32_t mode = token_mode(&wr->a, part);
	bool is_durable = false;
	int r = 0;

	if (!wr->a.tokens[part].has_looked || mode == CFS_LOCK_S || one_in(6))
		return look_at(wr, part);
	switch (below(9)) {
	case 0:
	case 1:
	case 2:
	case 8:
		return write_part(&wr->a, wr->cl.c, part);
	case 3:
	case 4:
		r = cfs_container_sync(wr->cl.c, &why);
		count(COUNT_SYNC);
		is_durable = true;
		break;
	case 5:
		r = cfs_container_give_back(wr->cl.c, one_in(2), &why);
		is_durable = true;
		break;
	default:
		r = cfs_container_fold(wr->cl.c, &why);
		count(COUNT_FOLD);
		is_durable = true;
	}
	if (r == 0 && is_durable)
		acked(&wr->a);
	return r;
}

/* It is sure of what it has, and does nothing there. */
static int plain_do(struct writer *wr)
{
	struct actor *a = &wr->a;
	const unsigned int part = choose_part(a);

	if (is_recalled(a) && one_in(3))
		yield(a);
	else if (!a->tokens[part].lease && one_in(3))
		ask_for(a, part, false);
	else if (token_mode(a, part) != CFS_LOCK_NONE)
		count(COUNT_PLAIN);
	if (one_in(20))
		actor_release(a, part);
	return 0;
}

static int writer_do(struct writer *wr)
{
	struct actor *a = &wr->a;
	const unsigned int part = choose_part(a);
	int r = 0;

	if (wr->is_plain)
		return plain_do(wr);
	if (!wr->is_open)
		return writer_open(wr);
	if (wr->must_reconcile)
		return writer_reconcile(wr);
	if (is_recalled(a) && one_in(3)) {
		if (!wr->is_reader)
			r = cfs_container_fold(wr->cl.c, &why);
		if (r == 0 && !a->is_lost) {
			acked(a);
			yield(a);
		}
		return r;
	}
	if (!a->tokens[part].lease) {
		if (one_in(3))
			ask_for(a, part, wr->is_reader);
		return 0;
	}
	if (token_mode(a, part) == CFS_LOCK_NONE ||
	    !cfs_lease_client_may_start(a->tokens[part].lease,
					world->period_ns / 20))
		return 0;
	/* It stays ours, without a user, until it is recalled: as what was
	 * written under it stays here. */
	return writer_access(wr, part);
}

static void writer_step(struct writer *wr)
{
	int r;

	if (!can_run(&wr->n))
		return;
	if (wr->a.is_lost) {
		if (has_room()) {
			writer_kill(wr);
			writer_new(wr->index);
		}
		return;
	}
	if (!wr->server)
		writer_connect(wr);
	if (!wr->server || !cfs_lease_client_is_welcome(wr->a.lc))
		return;
	/* It waits for an answer, and for a lease. */
	if (!is_awake(&wr->server->n) && !one_in(10))
		return;
	arm(&wr->n);
	wr->n.is_busy = true;
	r = writer_do(wr);
	wr->n.is_busy = false;
	if (r < 0)
		writer_failed(wr, r, "go on");
}
