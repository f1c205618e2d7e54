/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A manager of whole.c: it opens the pool in its fiber, answers about leases at
 * once and about data in its fiber, one request after another, and reads and
 * writes itself, as a client of its own table.
 *
 * It manages while the period of its seat runs, and looks at that before each
 * thing that it does.  What it has begun by then goes on: it cannot be stopped.
 */
#pragma once

#include "whole_client.h"

#define LOCAL_PEER (UINT64_C(1) << 60) /* its own client of leases */

static void boss_kick(struct boss *b);

static uint64_t seat_ns(const struct whole *w)
{
	return w->plan.period_ns / 2;
}

static void boss_retire(struct boss *b, const char *text)
{
	struct whole *w = b->w;

	if (b->is_retired)
		return;
	say(w, "m%u is not the manager any more: %s", b->index, text);
	b->is_retired = true;
	b->a.is_lost = true;
	cfs_lease_client_free(b->a.lc);
	b->a.lc = NULL;
	cfs_owner_free(b->owner);
	b->owner = NULL;
	for (struct conn *conn = w->conns; conn; conn = conn->next)
		if (conn->boss == b->index) {
			conn->boss_open = false;
			if (conn->client_open)
				conn_cut(w, conn);
		}
	fiber_wake(b->a.p);
}

static bool boss_is_seated(const struct boss *b)
{
	return !b->is_retired && !b->a.p->is_dead &&
	       cfs_period_still_runs(b->seat_end_ns, sim_clock_now(&b->clock));
}

/*
 * One that has not got the pool yet does not go on against who came behind it:
 * it would see that that one lives.
 */
static bool boss_may_go_on(const void *arg)
{
	const struct boss *b = arg;

	return b->mgr.holder || (boss_is_seated(b) && boss_now(b->w) == b);
}

static bool boss_guard(struct boss *b)
{
	if (!b->owner)
		return false;
	if (boss_is_seated(b))
		return true;
	boss_retire(b, "its period is over");
	return false;
}

/* ---- what the owner wants ----------------------------------------------- */

static void job_add(struct boss *b, const struct job *job)
{
	struct job *own = malloc(sizeof(*own)), **at;

	assert_non_null(own);
	*own = *job;
	own->next = NULL;
	for (at = &b->jobs; *at; at = &(*at)->next)
		;
	*at = own;
	fiber_wake(b->a.p);
}

static int owner_send(void *arg, uint64_t peer, const void *msg, size_t bytes)
{
	struct boss *b = arg;
	struct conn *conn;

	if (peer == LOCAL_PEER)
		return cfs_lease_client_receive(b->a.lc, msg, bytes);
	conn = conn_of(b->w, peer);
	return conn->boss_open ? net_send(b->w, conn, false, false, msg, bytes)
			       : -ENOTCONN;
}

static void owner_event(void *arg, const struct cfs_lease_event *e)
{
	struct boss *b = arg;

	say(b->w, "m%u: %s %llx lease %llx %s on %llu of %llu", b->index,
	    cfs_lease_event_name(e->kind), (unsigned long long)e->client_id,
	    (unsigned long long)e->lease_id, cfs_lock_mode_name(e->mode),
	    (unsigned long long)e->resource.ino,
	    (unsigned long long)e->resource.container);
	if (e->kind == CFS_EVENT_EXPIRE)
		count(b->w, COUNT_EXPIRE);
	if (e->kind == CFS_EVENT_REVOKE) {
		b->revoked[b->revoked_count++ % 16] = e->client_id;
		count(b->w, COUNT_REVOKE);
	}
}

static void owner_seal(void *arg, uint64_t client, uint64_t lease,
		       enum cfs_owner_end end)
{
	const struct job job = { .client = client, .lease = lease, .end = end };

	job_add(arg, &job);
}

static void owner_ended(void *arg, uint64_t client, enum cfs_owner_end end)
{
	const struct job job = { .client = client,
				 .end = end,
				 .has_ended = true };

	job_add(arg, &job);
}

static void owner_random(void *arg, void *p, size_t n)
{
	struct boss *b = arg;

	cfs_rng_fill(&b->w->sim->rng, p, n);
}

static void boss_wake(void *arg, uint64_t at_ns, uint64_t y, void *data)
{
	struct boss *b = arg;

	(void)y;
	(void)data;
	if (b->wake_ns == at_ns && boss_guard(b))
		boss_kick(b);
}

static void boss_kick(struct boss *b)
{
	struct sim *sim = b->w->sim;
	uint64_t at_ns;

	if (!b->owner)
		return;
	at_ns = sim_clock_when(&b->clock,
			       CFS_MIN(cfs_lease_client_tick(b->a.lc),
				       cfs_owner_tick(b->owner)));
	if (at_ns == UINT64_MAX)
		return;
	if (at_ns <= sim->now_ns)
		at_ns = sim->now_ns + 1000;
	if (b->wake_ns <= at_ns && b->wake_ns > sim->now_ns)
		return;
	b->wake_ns = at_ns;
	sim_at(sim, b->wake_ns, b->a.p->node, boss_wake, b, b->wake_ns, 0,
	       NULL);
}

/* ---- messages ----------------------------------------------------------- */

static void reply_send(struct boss *b, struct conn *conn, const struct rpc *q,
		       int status, const void *data, size_t bytes)
{
	struct rpc *reply = rpc_new(q->type, q->id, bytes + 1);

	reply->status = status;
	reply->bytes = (uint32_t)bytes;
	if (bytes)
		memcpy(reply->data, data, bytes);
	if (conn->boss_open)
		(void)net_send(b->w, conn, false, true, reply,
			       sizeof(*reply) + bytes + 1);
	free(reply);
}

static void boss_receive_rpc(struct boss *b, struct conn *conn,
			     const struct rpc *q)
{
	struct job job = { .peer = conn->id };
	int r = cfs_owner_touch(b->owner, conn->id, &job.client);

	if (r < 0) {
		reply_send(b, conn, q, r, NULL, 0);
		return;
	}
	job.rpc = malloc(sizeof(*q) + q->bytes);
	assert_non_null(job.rpc);
	memcpy(job.rpc, q, sizeof(*q) + q->bytes);
	job_add(b, &job);
}

static void boss_receive(struct boss *b, struct conn *conn,
			 const struct message *m)
{
	if (!boss_guard(b))
		return;
	if (m->is_rpc) {
		boss_receive_rpc(b, conn, (const void *)m->data);
	} else if (cfs_owner_receive(b->owner, conn->id, m->data, m->bytes) <
		   0) {
		conn->boss_open = false;
		conn_cut(b->w, conn);
		cfs_owner_closed(b->owner, conn->id);
	}
	boss_kick(b);
}

static void boss_closed(struct boss *b, struct conn *conn)
{
	if (!boss_guard(b))
		return;
	cfs_owner_closed(b->owner, conn->id);
	boss_kick(b);
}

/* ---- records of clients ------------------------------------------------- */

static struct cfs_container *boss_container(const struct boss *b,
					    unsigned int which)
{
	return which ? b->a.tree->container : b->a.lun->container;
}

/* Clients of one container: all, or of one client of leases. */
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
	if (rs->count < 64 &&
	    (!rs->lease_client ||
	     rs->lease_client == instance_id(i->rec.who.instance)))
		rs->items[rs->count++] = *i;
	return 0;
}

static void records_of(struct boss *b, unsigned int which,
		       uint64_t lease_client, struct records *ret)
{
	ret->lease_client = lease_client;
	ret->count = 0;
	(void)cfs_container_clients(boss_container(b, which), record_each, ret,
				    &why);
}

/* Of which container is it, and may one write under it? */
struct leased {
	uint64_t lease_id, container;
	uint32_t mode;
};

static bool find_leased(void *arg, const struct cfs_lease_record *rec)
{
	struct leased *of = arg;

	if (rec->kind != CFS_RECORD_LEASE ||
	    rec->u.lease.lease_id != of->lease_id)
		return true;
	of->container = rec->u.lease.resource.container;
	of->mode = rec->u.lease.mode;
	return false;
}

/* Seal, or take over, what that client has; 0, or it cannot be now. */
static int boss_end_client(struct boss *b, uint64_t client, uint64_t lease,
			   bool is_gone)
{
	struct records *rs = malloc(sizeof(*rs));
	struct leased of = { .lease_id = lease };
	int r = 0;

	assert_non_null(rs);
	if (lease && b->owner)
		cfs_owner_each(b->owner, 0, 0, find_leased, &of);
	for (unsigned int which = 0; which < 2 && r == 0; which++) {
		if (of.container &&
		    (of.mode == CFS_LOCK_S || of.mode == CFS_LOCK_IS ||
		     of.container != (which ? b->a.tree : b->a.lun)->id))
			continue;
		records_of(b, which, client, rs);
		for (size_t i = 0; i < rs->count && r == 0; i++) {
			const uint64_t id = rs->items[i].id;
			struct cfs_container *c = boss_container(b, which);

			if (is_gone)
				r = cfs_container_client_gone(c, id, NULL,
							      &why);
			else
				r = cfs_container_client_seal(c, id, false,
							      NULL, &why);
			count(b->w, is_gone ? COUNT_GONE : COUNT_SEAL);
			if (r == -ENOENT)
				r = 0;
		}
	}
	free(rs);
	return r;
}

/* ---- requests about data ------------------------------------------------ */

struct may_ctx {
	struct boss *b;
	uint64_t client;
	bool is_tree, is_stale;
};

static bool holds_x(struct may_ctx *m, unsigned int resource)
{
	struct cfs_lock_resource res;
	int r;

	resource_of(m->b->w, &m->b->a, resource, &res);
	r = cfs_owner_holds(m->b->owner, m->client, &res, CFS_LOCK_X);
	/* Its period ended while the request waited for its turn. */
	m->is_stale |= r == -ESTALE;
	return r == 0;
}

static bool fold_may(void *ctx, uint16_t branch, uint64_t ino, uint64_t first,
		     uint64_t n)
{
	struct may_ctx *m = ctx;

	(void)branch;
	if (!m->b->owner)
		return false;
	/* Of a file it is not known here in which directory it is. */
	if (m->is_tree) {
		for (unsigned int d = 0; d < DIRS; d++)
			if (holds_x(m, PARTS + d) &&
			    (ino == m->b->w->dir_inos[d] ||
			     (ino != m->b->w->dir_inos[!d])))
				return true;
		return false;
	}
	for (uint64_t i = first; i < first + CFS_MAX(n, (uint64_t)1); i++)
		if (i / PART_BLOCKS >= PARTS ||
		    !holds_x(m, (unsigned int)(i / PART_BLOCKS)))
			return false;
	return ino == m->b->w->lun_ino;
}

static int do_make(struct boss *b, const struct job *job, struct cfs_buf *ret)
{
	struct conn *conn = conn_of(b->w, job->peer);
	struct cfs_client_identity who = {
		.pid = conn->client + 1,
		.process_start = conn->life,
	};
	struct cfs_client_rec rec;
	uint64_t id;
	int r;

	memcpy(who.instance, &job->client, sizeof(job->client));
	who.host[0] = (char)('a' + conn->client);
	r = cfs_container_client_make(boss_container(b, job->rpc->container),
				      &who, 64, &id, &rec, &why);
	if (r == 0 && (cfs_buf_append(ret, &id, sizeof(id)) < 0 ||
		       cfs_buf_append(ret, &rec, sizeof(rec)) < 0))
		r = -ENOMEM;
	return r;
}

static int do_fold(struct boss *b, const struct job *job, struct cfs_buf *ret)
{
	CFS_CLEANUP(cfs_client_view_donep)
	struct cfs_client_view view = { .smap = NULL };
	CFS_CLEANUP(cfs_fold_donep) struct cfs_fold fold = { .owned = NULL };
	struct may_ctx m = { b, job->client, job->rpc->container, false };
	const struct cfs_fold_rules rules = { fold_may, &m };
	int r = cfs_fold_unpack(job->rpc->data, job->rpc->bytes, &fold, &why);

	if (r == 0)
		r = cfs_container_take_fold(
			boss_container(b, job->rpc->container),
			job->rpc->client, &fold, &rules, &view, &why);
	/* It was taken away meanwhile. */
	for (unsigned int i = 0; i < 16; i++)
		m.is_stale |= b->revoked[i] == job->client;
	if (r == -EPERM && m.is_stale)
		return -ESTALE;
	return r < 0 ? r : cfs_client_view_pack(&view, ret);
}

static int do_view(struct boss *b, const struct job *job, struct cfs_buf *ret)
{
	CFS_CLEANUP(cfs_client_view_donep)
	struct cfs_client_view view = { .smap = NULL };
	int r;

	if (b->is_holding)
		return cfs_err_set(&why, -EAGAIN, "a snapshot is being taken");
	r = cfs_container_view(boss_container(b, job->rpc->container),
			       job->rpc->client, job->rpc->value, &view, &why);
	return r < 0 ? r : cfs_client_view_pack(&view, ret);
}

static int do_loans(struct boss *b, const struct job *job, struct cfs_buf *ret)
{
	CFS_CLEANUP(cfs_loans_donep) struct cfs_loans loans = { .count = 0 };
	struct cfs_container *c = boss_container(b, job->rpc->container);
	int r = job->rpc->type == RPC_LOANS
			? cfs_container_loans(c, job->rpc->client, &loans, &why)
			: cfs_container_lend(c, job->rpc->client,
					     (uint32_t)job->rpc->value, &loans,
					     &why);

	return r < 0 ? r : cfs_loans_pack(&loans, ret);
}

static int do_inos(struct boss *b, const struct job *job, struct cfs_buf *ret)
{
	uint64_t range[2];
	int r = cfs_container_lend_inos(
		boss_container(b, job->rpc->container), job->rpc->client,
		(uint32_t)job->rpc->value, &range[0], &range[1], &why);

	return r < 0 ? r : cfs_buf_append(ret, range, sizeof(range));
}

static int do_rpc(struct boss *b, const struct job *job, struct cfs_buf *ret)
{
	const struct rpc *q = job->rpc;
	int r;

	switch (q->type) {
	case RPC_MAKE:
		return do_make(b, job, ret);
	case RPC_VIEW:
		return do_view(b, job, ret);
	case RPC_LEND:
	case RPC_LOANS:
		return do_loans(b, job, ret);
	case RPC_INOS:
		return do_inos(b, job, ret);
	case RPC_FOLD:
		return do_fold(b, job, ret);
	case RPC_HELD: /* the containers know */
		return 0;
	default:
		r = cfs_container_client_gone(boss_container(b, q->container),
					      q->client, NULL, &why);
		return r == -ENOENT ? 0 : r;
	}
}

/* ---- the fiber ---------------------------------------------------------- */

/* It is not what it was told: nobody but a dead or former one fails. */
static void boss_failed(struct boss *b, int r, const char *what)
{
	say(b->w, "m%u: %s: %d: %s", b->index, what, r, why.msg);
	/* One who was about to take the pool before us went on with that. */
	for (unsigned int i = 0; i < b->index; i++)
		if (b->w->bosses[i].mgr.seat.epoch > b->mgr.seat.epoch &&
		    !b->w->bosses[i].is_open)
			boss_retire(b, "another was quicker");
	MUST(b->w->sim, !boss_is_seated(b) || r == -ENOSPC,
	     "m%u is the manager, and cannot %s: %d: %s", b->index, what, r,
	     why.msg);
}

static void boss_rpc(struct boss *b, const struct job *job)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	struct conn *conn = conn_of(b->w, job->peer);
	int r;

	memset(&why, 0, sizeof(why));
	r = do_rpc(b, job, &buf);
	if (b->a.p->is_dead || !boss_guard(b))
		return;
	if (r < 0 && r != -EAGAIN && r != -ESTALE && r != -EPERM &&
	    r != -ENOSPC && r != -ENOENT)
		boss_failed(b, r, "answer");
	if (!boss_guard(b))
		return;
	reply_send(b, conn, job->rpc, r,
		   r < 0 ? (void *)why.msg : (void *)buf.data,
		   r < 0 ? strlen(why.msg) : buf.bytes);
}

static void boss_job(struct boss *b, const struct job *job)
{
	bool is_gone = job->end == CFS_OWNER_END_GONE ||
		       (job->has_ended && job->end == CFS_OWNER_END_GOODBYE);
	int r;

	if (job->rpc) {
		boss_rpc(b, job);
		return;
	}
	say(b->w, "m%u ends %llx: %d", b->index,
	    (unsigned long long)job->client, (int)job->end);
	r = boss_end_client(b, job->client, job->lease, is_gone);
	if (r < 0)
		boss_failed(b, r, "end a client");
	if (!job->has_ended && !b->a.p->is_dead && boss_guard(b)) {
		/* Nothing passes on before it is done. */
		if (r < 0)
			job_add(b, job);
		else
			cfs_owner_sealed(b->owner, job->client, job->lease);
	}
	boss_kick(b);
}

static bool boss_next_job(struct boss *b)
{
	struct job *job = b->jobs;

	if (!job)
		return false;
	b->jobs = job->next;
	boss_job(b, job);
	free(job->rpc);
	free(job);
	return true;
}

/* ---- taking the pool ---------------------------------------------------- */

static int local_send(void *arg, const void *msg, size_t bytes)
{
	struct boss *b = arg;

	if (!b->owner)
		return -ENOTCONN;
	return cfs_owner_receive(b->owner, LOCAL_PEER, msg, bytes);
}

static void local_recall(void *arg, struct cfs_lease *lease, uint64_t grant_id,
			 const struct cfs_lock_resource *res, uint32_t mode)
{
	struct boss *b = arg;

	if (lease)
		actor_recalled(&b->a, lease, grant_id, res, mode);
	else
		cfs_lease_client_yield(b->a.lc, grant_id);
	fiber_wake(b->a.p);
}

static void local_lost(void *arg, struct cfs_lease *lease)
{
	struct boss *b = arg;

	(void)lease;
	b->a.is_lost = true;
}

static int boss_open_tree(struct boss *b)
{
	struct actor *a = &b->a;
	struct cfs_volume_rec rec;
	int r = cfs_volume_get(a->tree, CFS_VOLUME_FIRST, &rec, &why);

	if (r == 0) {
		const struct cfs_view view = { a->tree->container,
					       (uint16_t)rec.head_branch,
					       CFS_STAMP_HEAD };

		r = cfs_fs_open(&view, rec.ino, rec.hash_seed, &a->fs, &why);
	}
	if (r == 0)
		cfs_fs_set_clock(a->fs, &a->clock.clock);
	return r < 0 ? r : actor_refresh(a, false);
}

static int boss_open(struct boss *b)
{
	int r;

	/* The kernel's lock may be another's for a moment. */
	while ((r = manager_hold(&b->w->pool, &b->mgr, 60, NULL, &why)) ==
		       -EBUSY &&
	       boss_is_seated(b)) {
		say(b->w, "m%u waits: %s", b->index, why.msg);
		fiber_sleep(b->a.p, b->w->plan.period_ns / 4);
	}
	if (r == 0)
		r = manager_pool(&b->mgr, false, &why);
	if (r == 0)
		r = cfs_pool_member(b->mgr.pool, "lun", &b->a.lun, &why);
	if (r == 0)
		r = cfs_pool_member(b->mgr.pool, "tree", &b->a.tree, &why);
	if (r == 0)
		r = cfs_volumes_finish_work(b->a.lun, &why);
	if (r == 0)
		r = cfs_volumes_finish_work(b->a.tree, &why);
	return r < 0 ? r : boss_open_tree(b);
}

static int boss_preload(struct boss *b)
{
	struct records *rs = malloc(sizeof(*rs));
	uint64_t known[64];
	size_t count_known = 0;
	int r = 0;

	assert_non_null(rs);
	for (unsigned int which = 0; which < 2; which++) {
		records_of(b, which, 0, rs);
		for (size_t i = 0; i < rs->count && r == 0; i++) {
			const struct cfs_client_rec *rec = &rs->items[i].rec;
			struct cfs_owner_known k = {
				.client_id = instance_id(rec->who.instance),
				.pid = rec->who.pid,
				.process_start = rec->who.process_start,
			};
			bool has = rec->state != CFS_CLIENT_OPEN;

			for (size_t n = 0; n < count_known; n++)
				has |= known[n] == k.client_id;
			if (has || count_known == 64)
				continue;
			memcpy(k.host, rec->who.host, sizeof(k.host));
			known[count_known++] = k.client_id;
			r = cfs_owner_preload(b->owner, &k, &why);
			count(b->w, COUNT_RECLAIM);
		}
	}
	free(rs);
	return r;
}

static int boss_serve(struct boss *b)
{
	static const struct cfs_owner_ops ops = {
		.send = owner_send,
		.event = owner_event,
		.seal = owner_seal,
		.ended = owner_ended,
		.random = owner_random,
	};
	static const struct cfs_lease_client_ops local_ops = {
		.send = local_send,
		.recall = local_recall,
		.lost = local_lost,
	};
	const struct plan *plan = &b->w->plan;
	const struct cfs_owner_config config = {
		.epoch = b->mgr.seat.epoch,
		.period_ns = plan->period_ns,
		.drift_ppm = plan->drift_ppm,
		.recall_ns = plan->recall_ns,
		.grace_ns = b->index == 0
				    ? 0
				    : cfs_period_owner_ns(plan->period_ns,
							  plan->drift_ppm),
	};
	struct cfs_lease_client_config local = {
		.hello = { .pid = 99, .name = "the manager" },
		.is_ordered = true,
	};
	int r = cfs_owner_new(&config, &ops, b, &b->clock.clock, &b->owner,
			      &why);

	if (r == 0 && b->index)
		r = boss_preload(b);
	if (r == 0)
		r = cfs_lease_client_new(&local, &local_ops, b, &b->clock.clock,
					 &b->a.lc, &why);
	if (r == 0)
		cfs_lease_client_connected(b->a.lc);
	return r;
}
