/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Managers and secondaries of delegate.c: connections, the owner of leases, and
 * what is done when a client ends.  As session/serve*.c does it.
 */
#pragma once

#include "delegate_world.h"

/* ---- connections --------------------------------------------------------- */

/* What waits for one who stands still. */
struct message {
	struct message *next;
	size_t bytes;
	uint8_t data[];
};

struct conn {
	struct conn *next;
	struct server *server;
	struct node *end;
	struct cfs_lease_client *lc;
	uint64_t peer;
	bool is_cut, is_closed;   /* for the client; for the server */
	struct message *waits[2]; /* for the client; for the server */
};

static struct conn *conns; /* of this seed */

static bool server_has_it(struct server *s);
static bool has_container(const struct server *s);

static struct conn *conn_new(struct server *s, struct node *end,
			     struct cfs_lease_client *lc)
{
	struct conn *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	*c = (struct conn){
		.next = conns,
		.server = s,
		.end = end,
		.lc = lc,
		.peer = ++s->peers,
	};
	conns = c;
	return c;
}

static void conn_cut(struct conn *c)
{
	if (c && !c->is_cut)
		count(COUNT_CUT);
	if (c)
		c->is_cut = true;
}

static struct conn *conn_find(const struct server *s, uint64_t peer)
{
	struct conn *c = conns;

	while (c && (c->server != s || c->peer != peer))
		c = c->next;
	return c;
}

/* The one by which @lc hears of somebody; NULL: none that holds. */
static struct conn *conn_of(const struct cfs_lease_client *lc)
{
	struct conn *c = conns;

	while (c && (c->is_cut || c->lc != lc))
		c = c->next;
	return c;
}

static bool conn_loses(struct conn *c)
{
	if (!world->is_quiet && one_in(300))
		conn_cut(c);
	return c->is_cut;
}

/* Not dead, and not cut off: it hears it when it goes on. */
static bool will_hear(const struct node *a, const struct node *b)
{
	return !b->is_dead && !b->w.has_stopped &&
	       a->out_until_ns <= world->sim->now_ns &&
	       b->out_until_ns <= world->sim->now_ns;
}

static int conn_wait(struct conn *c, bool to_server, const void *msg,
		     size_t bytes)
{
	struct message *m = malloc(sizeof(*m) + bytes);
	struct message **at = &c->waits[to_server];

	assert_non_null(m);
	m->next = NULL;
	m->bytes = bytes;
	memcpy(m->data, msg, bytes);
	while (*at)
		at = &(*at)->next;
	*at = m;
	return 0;
}

static void conn_free(struct conn *c)
{
	for (unsigned int i = 0; i < 2; i++)
		while (c->waits[i]) {
			struct message *m = c->waits[i];

			c->waits[i] = m->next;
			free(m);
		}
	free(c);
}

static int receive_at_server(struct conn *c, const void *msg, size_t bytes)
{
	/* Whoever is told that it has a lease believes it for a period. */
	if (!c->server->owner || !server_has_it(c->server)) {
		conn_cut(c);
		return -ENOTCONN;
	}
	/* Of a client that has ended there, or was handed over. */
	if (cfs_owner_receive(c->server->owner, c->peer, msg, bytes) < 0)
		conn_cut(c);
	return 0;
}

/* One goes on: what was said to it meanwhile.  @lc: to that client; else to
 * @s. */
static void hear_what_waits(struct server *s, const struct cfs_lease_client *lc)
{
	for (struct conn *c = conns; c; c = c->next) {
		struct message **at = &c->waits[!lc], *m;

		while ((lc ? c->lc == lc : c->server == s) && (m = *at)) {
			*at = m->next;
			if (lc)
				(void)cfs_lease_client_receive(c->lc, m->data,
							       m->bytes);
			else if (!c->is_cut)
				(void)receive_at_server(c, m->data, m->bytes);
			free(m);
		}
	}
}

static int to_server(void *arg, const void *msg, size_t bytes)
{
	struct conn *c = conn_of(*(struct cfs_lease_client **)arg);

	if (!c)
		return -ENOTCONN;
	if (conn_loses(c) || !will_hear(c->end, &c->server->n)) {
		conn_cut(c);
		return -ENOTCONN;
	}
	if (!is_awake(&c->server->n) || c->waits[1])
		return conn_wait(c, true, msg, bytes);
	return receive_at_server(c, msg, bytes);
}

/* ---- the owner of leases ------------------------------------------------- */

static int owner_send(void *arg, uint64_t peer, const void *msg, size_t bytes)
{
	struct server *s = arg;
	struct conn *c = conn_find(s, peer);

	if (peer == LOCAL_PEER)
		return cfs_lease_client_receive(s->a.lc, msg, bytes);
	if (!c || conn_loses(c) || !c->lc || !will_hear(&s->n, c->end)) {
		conn_cut(c);
		return -ENOTCONN;
	}
	if (!is_awake(c->end) || c->waits[0])
		return conn_wait(c, false, msg, bytes);
	return cfs_lease_client_receive(c->lc, msg, bytes);
}

static bool owner_may_say(void *arg, uint64_t peer)
{
	return peer == LOCAL_PEER || server_has_it(arg);
}

static void job_add(struct server *s, const struct job *job)
{
	MUST(s->job_count < JOBS_MAX, "%s has too much to do", s->n.name);
	s->jobs[s->job_count++] = *job;
}

static void owner_seal(void *arg, uint64_t client, uint64_t lease,
		       enum cfs_owner_end end)
{
	const struct job job = { client, lease, end, false };

	job_add(arg, &job);
}

static void owner_ended(void *arg, uint64_t client, enum cfs_owner_end end)
{
	const struct job job = { client, 0, end, true };

	job_add(arg, &job);
}

static void owner_event(void *arg, const struct cfs_lease_event *e)
{
	const struct server *s = arg;

	if (e->kind == CFS_EVENT_GRANT)
		count(COUNT_GRANT);
	if (e->kind == CFS_EVENT_GRANT && !s->is_boss && !has_container(s))
		count(COUNT_LATE_GRANT);
	if (e->kind == CFS_EVENT_RENEW)
		count(COUNT_RECLAIM);
	say("%s: %s %llx lease %llx %s at %llu", s->n.name,
	    cfs_lease_event_name(e->kind), (unsigned long long)e->client_id,
	    (unsigned long long)e->lease_id, cfs_lock_mode_name(e->mode),
	    (unsigned long long)e->resource.offset_bytes / HEAL_BLOCK /
		    PART_BLOCKS);
}

static void owner_random(void *arg, void *p, size_t n)
{
	(void)arg;
	cfs_rng_fill(&world->sim->rng, p, n);
}

static int local_send(void *arg, const void *msg, size_t bytes)
{
	const struct actor *a = arg;
	struct server *s = a->server;

	return s->owner ? cfs_owner_receive(s->owner, LOCAL_PEER, msg, bytes)
			: -ENOTCONN;
}

static uint64_t owner_period_ns(uint64_t period_ns)
{
	return cfs_period_owner_ns(period_ns, world->drift_ppm);
}

/* Its lease table; @has_former: who was another's comes to it. */
static void server_serve(struct server *s, bool has_former)
{
	static const struct cfs_owner_ops ops = {
		.send = owner_send,
		.may_say = owner_may_say,
		.event = owner_event,
		.seal = owner_seal,
		.ended = owner_ended,
		.random = owner_random,
	};
	static const struct cfs_lease_client_ops local_ops = {
		.send = local_send,
		.recall = actor_recall,
		.lost = actor_lost,
	};
	const struct cfs_owner_config config = {
		.epoch = s->is_boss ? s->m.seat.epoch : s->epoch,
		.period_ns = world->period_ns,
		.drift_ppm = world->drift_ppm,
		.grace_ns = has_former ? owner_period_ns(world->period_ns) : 0,
	};
	const struct cfs_lease_client_config local = {
		.hello = { .pid = 99, .name = "itself" },
		.is_ordered = true,
	};

	s->a.node = &s->n;
	s->a.server = s;
	HEAL_OK(cfs_owner_new(&config, &ops, s, &s->n.clock.clock, &s->owner,
			      &err_));
	HEAL_OK(cfs_lease_client_new(&local, &local_ops, &s->a,
				     &s->n.clock.clock, &s->a.lc, &err_));
}

static void server_join_itself(struct server *s)
{
	if (!cfs_lease_client_is_welcome(s->a.lc))
		cfs_lease_client_connected(s->a.lc);
}

/* ---- may it say something? ----------------------------------------------- */

static bool is_bound(struct server *s)
{
	return s->bound && s->up && cfs_lease_client_is_alive(s->up) &&
	       cfs_lease_client_id(s->up) == s->bound;
}

static void server_is_over(struct server *s, const char *text)
{
	if (s->is_over)
		return;
	say("%s is over: %s", s->n.name, text);
	count(COUNT_OVER);
	s->is_over = true;
}

/* Behind what it did: is the container its own? */
static bool server_has_it(struct server *s)
{
	int r;

	if (s->is_boss || s->is_over || is_bound(s))
		return !s->is_over;
	count(COUNT_UNBOUND);
	r = cfs_container_look(s->lun->container, &why);
	if (r < 0)
		server_is_over(s, why.msg);
	return r == 0;
}

/* Does the manager think that it has the container? */
static bool has_container(const struct server *s)
{
	const struct server *b = world->boss;

	return b->away == AWAY_OUT && b->away_epoch == s->epoch;
}

static void server_failed(struct server *s, int r, const char *what)
{
	say("%s cannot %s: %d: %s", s->n.name, what, r, why.msg);
	count(COUNT_FAILED);
	if (s->is_boss) {
		MUST(s->n.w.has_stopped || s != world->boss,
		     "%s manages, and cannot %s: %d: %s", s->n.name, what, r,
		     why.msg);
		s->is_over = true;
		return;
	}
	MUST(s->n.w.has_stopped || s->is_over || !has_container(s) ||
		     r == -ENOSPC || r == -EIO,
	     "%s has the container, and cannot %s: %d: %s", s->n.name, what, r,
	     why.msg);
	server_is_over(s, what);
}

/* ---- records of clients -------------------------------------------------- */

struct records {
	uint64_t lease_client; /* 0: all */
	size_t count;
	struct cfs_client_info items[64];
};

static uint64_t instance_id(const uint8_t instance[16])
{
	uint64_t id;

	memcpy(&id, instance, sizeof(id));
	return id;
}

static int record_each(void *arg, const struct cfs_client_info *i,
		       struct cfs_err *err)
{
	struct records *rs = arg;

	(void)err;
	MUST(rs->count < 64, "too many clients");
	if (!rs->lease_client ||
	    rs->lease_client == instance_id(i->rec.who.instance))
		rs->items[rs->count++] = *i;
	return 0;
}

/* To be freed. */
static struct records *records_of(struct cfs_container *c,
				  uint64_t lease_client)
{
	struct records *rs = calloc(1, sizeof(*rs));

	assert_non_null(rs);
	rs->lease_client = lease_client;
	(void)cfs_container_clients(c, record_each, rs, &why);
	return rs;
}

/* They may come back: to a grace of all, or of the container. */
static void preload(struct server *s, uint64_t container)
{
	struct records *rs = records_of(s->lun->container, 0);

	for (size_t i = 0; i < rs->count; i++) {
		const struct cfs_client_rec *rec = &rs->items[i].rec;
		struct cfs_owner_known k = {
			.client_id = instance_id(rec->who.instance),
			.container = container,
			.pid = rec->who.pid,
			.process_start = rec->who.process_start,
		};
		int r;

		memcpy(k.host, rec->who.host, sizeof(k.host));
		if (rec->state != CFS_CLIENT_OPEN)
			continue;
		r = cfs_owner_preload(s->owner, &k, &why);
		say("%s awaits %llx: %d", s->n.name,
		    (unsigned long long)k.client_id, r);
		if (r == 0)
			continue;
		/* It is known here as one who lives, or ended: as
		 * serve_direct_load.c, sealed at once. */
		s->n.is_busy = true;
		r = cfs_container_client_seal(
			s->lun->container, rs->items[i].id, false, NULL, &why);
		s->n.is_busy = false;
		if (r < 0)
			server_failed(s, r, "seal a client");
	}
	free(rs);
}

static int end_client(struct server *s, uint64_t client, bool is_gone)
{
	struct records *rs;
	int r = 0;

	if (!s->lun)
		return 0;
	rs = records_of(s->lun->container, client);
	s->n.is_busy = true;
	for (size_t i = 0; i < rs->count && r == 0; i++) {
		r = is_gone ? cfs_container_client_gone(s->lun->container,
							rs->items[i].id, NULL,
							&why)
			    : cfs_container_client_seal(s->lun->container,
							rs->items[i].id, false,
							NULL, &why);
		count(COUNT_SEAL);
		r = r == -ENOENT ? 0 : r;
	}
	s->n.is_busy = false;
	free(rs);
	return r;
}

/* One that had the container is heard of no more. */
static void away_ended(struct server *s, const struct job *job)
{
	if (!s->is_boss || s->away != AWAY_OUT || s->away_client != job->client)
		return;
	s->away_client = 0;
	s->away_is_gone = job->end == CFS_OWNER_END_GOODBYE ||
			  job->end == CFS_OWNER_END_GONE;
	s->away = AWAY_COMING;
	say("%s: the secondary is %s", s->n.name,
	    s->away_is_gone ? "gone" : "silent");
}

static void server_job(struct server *s, const struct job *job)
{
	const bool is_gone = job->end == CFS_OWNER_END_GONE ||
			     (job->has_ended &&
			      job->end == CFS_OWNER_END_GOODBYE);
	int r = 0;

	if (job->has_ended)
		away_ended(s, job);
	if (job->end != CFS_OWNER_END_MOVED)
		r = end_client(s, job->client, is_gone);
	if (r < 0)
		server_failed(s, r, "end a client");
	else if (!job->has_ended && s->owner && !s->is_over)
		cfs_owner_sealed(s->owner, job->client, job->lease);
}

/* It may stand still soon, if there is somebody to go on. */
static void server_arm(struct server *s)
{
	if (!s->is_boss || world->bosses < MANAGERS)
		arm(&s->n);
}

static void server_jobs(struct server *s)
{
	while (s->job_count && can_run(&s->n) && !s->is_over) {
		const struct job job = s->jobs[0];

		memmove(s->jobs, s->jobs + 1,
			--s->job_count * sizeof(s->jobs[0]));
		server_arm(s);
		server_job(s, &job);
	}
}

/* ---- the end of one ------------------------------------------------------ */

static void lc_end(struct cfs_lease_client **lc)
{
	for (struct conn *c = conns; c; c = c->next)
		if (*lc && c->lc == *lc) {
			conn_cut(c);
			c->lc = NULL;
		}
	cfs_lease_client_free(*lc);
	*lc = NULL;
}

static void server_ends_service(struct server *s)
{
	for (struct conn *c = conns; c; c = c->next)
		if (c->server == s)
			conn_cut(c);
	cfs_lease_client_free(s->a.lc);
	cfs_owner_free(s->owner);
	memset(s->a.tokens, 0, sizeof(s->a.tokens));
	s->a.lc = NULL;
	s->owner = NULL;
	s->job_count = 0;
}

/* Its process ends; what it had written may land later. */
static void server_kill(struct server *s)
{
	if (s->n.is_dead)
		return;
	say("%s is dead", s->n.name);
	s->n.is_dead = true;
	s->is_over = true;
	server_ends_service(s);
	lc_end(&s->up);
	if (s->pool)
		cfs_pool_drop(s->pool);
	s->pool = s->m.pool = NULL;
	s->lun = NULL;
	if (s->m.holder)
		(void)cfs_holder_release(s->m.holder, false, NULL);
	s->m.holder = NULL;
}

static void server_tick(struct server *s)
{
	if (!s->owner || !is_awake(&s->n))
		return;
	for (struct conn *c = conns; c; c = c->next) {
		if (c->server != s || !c->is_cut || c->is_closed)
			continue;
		c->is_closed = true;
		cfs_owner_closed(s->owner, c->peer);
	}
	if (one_in(2))
		hear_what_waits(s, NULL);
	(void)cfs_lease_client_tick(s->a.lc);
	(void)cfs_owner_tick(s->owner);
	hear_what_waits(s, NULL);
}
