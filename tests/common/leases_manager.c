/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A machine that may be the manager.
 *
 * It manages while the period of its seat runs, which begins before each
 * renewal is sent to the device; nothing is handled when it does not.  Whoever
 * sees the seat unchanged for longer than that takes it, with the next epoch
 * and a grace of one owner's period.
 */
#include "leases_world.h"

#include <stdlib.h>
#include <string.h>

static uint64_t seat_period_ns(const struct leases_world *w)
{
	return w->plan.period_ns / 2;
}

static uint64_t seat_io_ns(struct leases_world *w)
{
	return sim_skewed(w->sim, 1000, seat_period_ns(w) / 16);
}

static uint64_t io_ns(struct leases_world *w)
{
	return sim_skewed(w->sim, 1000, w->plan.access_ns);
}

/* ---- what the owner wants ------------------------------------------------ */

static int owner_send(void *arg, uint64_t peer, const void *msg, size_t bytes)
{
	struct leases_manager *m = arg;
	struct leases_conn *conn = leases_conn(m->w, peer);

	leases_judge_sent(m, cfs_owner_peer_client(m->owner, peer), msg, bytes);
	return conn->manager_open ? leases_send(m->w, conn, false, msg, bytes)
				  : -ENOTCONN;
}

static void owner_event(void *arg, const struct cfs_lease_event *event)
{
	leases_judge_event(arg, event);
}

static void owner_ended(void *arg, uint64_t client, enum cfs_owner_end end)
{
	struct leases_manager *m = arg;
	struct leases_log *log = leases_store_log(m->w, client);

	(void)end;
	if (log && log->state == LOG_OPEN)
		log->state = LOG_CLOSED;
}

struct sealing {
	uint64_t client, lease;
	uint32_t term;
	unsigned int step;
};

static void seal_step(void *arg, uint64_t a, uint64_t b, void *data)
{
	struct leases_manager *m = arg;
	struct leases_world *w = m->w;
	struct sealing *s = data, *next;
	struct leases_log *log = leases_store_log(w, s->client);

	(void)a;
	(void)b;
	/* What it began it may do late: a zombie. */
	if (s->step == 0 && log && !s->lease)
		leases_store_bury(w, log);
	if (s->step == 1 && log) {
		leases_store_fold(w, log);
		if (!s->lease)
			log->state = LOG_SEALED;
	}
	if (s->step < 2) {
		next = malloc(sizeof(*next));
		if (!next)
			abort();
		*next = *s;
		next->step++;
		sim_at(w->sim,
		       w->sim->now_ns + (w->plan.is_quick ? 0 : io_ns(w)),
		       m->node, seal_step, m, 0, 0, next);
		return;
	}
	if (m->term != s->term || !leases_manager_guard(m))
		return;
	leases_count(w, COUNT_SEAL);
	cfs_owner_sealed(m->owner, s->client, s->lease);
	leases_manager_kick(m);
}

static void owner_seal(void *arg, uint64_t client, uint64_t lease,
		       enum cfs_owner_end end)
{
	struct leases_manager *m = arg;
	struct sealing *s = malloc(sizeof(*s));

	if (!s)
		abort();
	sim_say(m->w->sim, "m%u seals %llx lease %llx, end %d", m->index,
		(unsigned long long)client, (unsigned long long)lease, end);
	*s = (struct sealing){ .client = client,
			       .lease = lease,
			       .term = m->term };
	sim_at(m->w->sim,
	       m->w->sim->now_ns +
		       (m->w->plan.is_quick
				? 0
				: sim_skewed(m->w->sim, 0, io_ns(m->w))),
	       m->node, seal_step, m, 0, 0, s);
}

static void owner_random(void *arg, void *p, size_t n)
{
	struct leases_manager *m = arg;

	cfs_rng_fill(&m->w->sim->rng, p, n);
}

/* ---- being the manager --------------------------------------------------- */

static void retire(struct leases_manager *m, const char *why)
{
	struct leases_world *w = m->w;

	if (!m->owner)
		return;
	sim_say(w->sim, "m%u is not the manager any more: %s", m->index, why);
	cfs_owner_free(m->owner);
	m->owner = NULL;
	m->wake_ns = UINT64_MAX;
	for (size_t i = 0; i < w->conn_count; i++)
		if (w->conns[i]->manager == m->index &&
		    w->conns[i]->term == m->term) {
			w->conns[i]->manager_open = false;
			if (w->conns[i]->client_open)
				leases_cut(w, w->conns[i]);
		}
	m->seen_epoch = 0;
}

bool leases_manager_guard(struct leases_manager *m)
{
	if (!m->owner)
		return false;
	if (cfs_period_still_runs(m->seat.end_ns, sim_clock_now(&m->clock)))
		return true;
	if (m->w->store.seat.epoch != m->epoch)
		leases_count(m->w, COUNT_ZOMBIE_MANAGER);
	retire(m, "its period is over");
	return false;
}

static void wake(void *arg, uint64_t term, uint64_t at_ns, void *data)
{
	struct leases_manager *m = arg;

	(void)data;
	if (m->term != term || m->wake_ns != at_ns)
		return;
	m->wake_ns = UINT64_MAX;
	if (leases_manager_guard(m))
		leases_manager_kick(m);
}

void leases_manager_kick(struct leases_manager *m)
{
	struct sim *sim = m->w->sim;
	uint64_t next_ns = cfs_owner_tick(m->owner), at_ns;

	m->w->touched = m;
	leases_judge_stopped(m, true);
	/* Sometimes a little early, which must do nothing, or late. */
	if (next_ns != UINT64_MAX && sim_one_in(sim, 2))
		next_ns -= 1 + sim_below(sim, 2);
	at_ns = sim_clock_when(&m->clock, next_ns);
	if (at_ns == UINT64_MAX)
		return;
	if (sim_one_in(sim, 8))
		at_ns += sim_skewed(sim, 0, m->w->plan.period_ns / 4);
	if (at_ns <= sim->now_ns)
		at_ns = sim->now_ns + 1;
	if (m->wake_ns <= at_ns && m->wake_ns > sim->now_ns)
		return;
	m->wake_ns = at_ns;
	sim_at(sim, at_ns, m->node, wake, m, m->term, at_ns, NULL);
}

static void preload(struct leases_manager *m)
{
	struct leases_store *st = &m->w->store;

	for (unsigned int i = 0; i < st->log_count; i++) {
		if (st->logs[i].state != LOG_OPEN)
			continue;
		if (cfs_owner_preload(m->owner, &st->logs[i].known, NULL) < 0)
			sim_fail(m->w->sim, "%llx cannot be preloaded",
				 (unsigned long long)st->logs[i].client_id);
		leases_count(m->w, COUNT_PRELOAD);
	}
}

static void begin(struct leases_manager *m, uint64_t epoch)
{
	static const struct cfs_owner_ops ops = {
		.send = owner_send,
		.event = owner_event,
		.seal = owner_seal,
		.ended = owner_ended,
		.random = owner_random,
	};
	const struct leases_plan *plan = &m->w->plan;
	const struct cfs_owner_config config = {
		.epoch = epoch,
		.period_ns = plan->period_ns,
		.drift_ppm = plan->drift_ppm,
		.recall_ns = plan->recall_ns,
		.grace_ns = epoch == 1 ? 0
				       : cfs_period_owner_ns(plan->period_ns,
							     plan->drift_ppm),
	};

	if (cfs_owner_new(&config, &ops, m, &m->clock.clock, &m->owner, NULL) <
	    0)
		abort();
	m->epoch = epoch;
	m->term++;
	m->wake_ns = UINT64_MAX;
	memset(m->handled, 0, sizeof(m->handled));
	m->granted_count = 0;
	sim_say(m->w->sim, "m%u is the manager, epoch %llu", m->index,
		(unsigned long long)epoch);
	if (epoch > 1) {
		leases_count(m->w, COUNT_TAKEOVER);
		preload(m);
	}
	leases_manager_kick(m);
}

/* ---- the seat ------------------------------------------------------------ */

static void seat_look(void *arg, uint64_t a, uint64_t b, void *data);

/* The write of the seat came to the device, @epoch in it. */
static void seat_answer(void *arg, uint64_t id, uint64_t epoch, void *data)
{
	struct leases_manager *m = arg;
	bool is_won = m->w->store.seat.epoch == epoch &&
		      m->w->store.seat.manager == m->index;

	(void)data;
	if (is_won)
		cfs_period_replied(&m->seat, id);
	if (!is_won)
		retire(m, "the seat is another's");
	else if (!m->owner && epoch > m->epoch &&
		 cfs_period_still_runs(m->seat.end_ns,
				       sim_clock_now(&m->clock)))
		begin(m, epoch);
	sim_at(m->w->sim, m->w->sim->now_ns + seat_period_ns(m->w) / 4, m->node,
	       seat_look, m, 0, 0, NULL);
}

/* At the device: nobody can stop it there. */
static void seat_write(void *arg, uint64_t id, uint64_t epoch, void *data)
{
	struct leases_manager *m = arg;
	struct leases_world *w = m->w;

	(void)data;
	if (w->store.seat.epoch + 1 == epoch) {
		w->store.seat.epoch = epoch;
		w->store.seat.manager = m->index;
	}
	if (w->store.seat.epoch == epoch && w->store.seat.manager == m->index)
		w->store.seat.seq++;
	sim_at(w->sim, w->sim->now_ns + seat_io_ns(w), m->node, seat_answer, m,
	       id, epoch, NULL);
}

static void seat_claim(struct leases_manager *m, uint64_t epoch)
{
	if (!m->owner)
		cfs_period_stop(&m->seat);
	cfs_period_sent(&m->seat, ++m->seat_id, sim_clock_now(&m->clock));
	sim_at(m->w->sim, m->w->sim->now_ns + seat_io_ns(m->w), SIM_NOBODY,
	       seat_write, m, m->seat_id, epoch, NULL);
}

static void seat_look(void *arg, uint64_t a, uint64_t b, void *data)
{
	struct leases_manager *m = arg;
	struct leases_world *w = m->w;
	uint64_t now_ns = sim_clock_now(&m->clock);
	uint64_t wait_ns = cfs_period_owner_ns(seat_period_ns(w),
					       w->plan.drift_ppm);

	(void)a;
	(void)b;
	(void)data;
	if (leases_manager_guard(m)) {
		seat_claim(m, m->epoch);
		return;
	}
	if (m->seen_epoch != w->store.seat.epoch ||
	    m->seen_seq != w->store.seat.seq || !m->seen_ns) {
		m->seen_epoch = w->store.seat.epoch;
		m->seen_seq = w->store.seat.seq;
		m->seen_ns = now_ns;
	} else if (cfs_period_is_over(m->seen_ns + wait_ns, now_ns)) {
		seat_claim(m, m->seen_epoch + 1);
		return;
	}
	sim_at(w->sim,
	       w->sim->now_ns + sim_skewed(w->sim, 1000, seat_period_ns(w) / 3),
	       m->node, seat_look, m, 0, 0, NULL);
}

struct leases_manager *leases_manager_current(struct leases_world *w)
{
	struct leases_manager *m = &w->managers[w->store.seat.manager];

	return w->store.seat.epoch && m->owner &&
			       m->epoch == w->store.seat.epoch
		       ? m
		       : NULL;
}

/* ---- life ---------------------------------------------------------------- */

static void manager_boot(void *arg, uint64_t a, uint64_t b, void *data)
{
	struct leases_manager *m = arg;

	(void)a;
	(void)b;
	(void)data;
	cfs_period_init(&m->seat);
	cfs_period_set(&m->seat, seat_period_ns(m->w), m->w->plan.drift_ppm);
	m->seen_ns = 0;
	/* The very first one need not wait. */
	if (m->w->store.seat.epoch == 0 && m->index == 0)
		seat_claim(m, 1);
	else
		seat_look(m, 0, 0, NULL);
}

void leases_manager_init(struct leases_world *w, uint32_t index)
{
	struct leases_manager *m = &w->managers[index];
	int64_t r = w->plan.drift_ppm;

	m->w = w;
	m->index = index;
	m->node = LEASES_CLIENTS + index;
	m->wake_ns = UINT64_MAX;
	/* Mostly as fast, or as slow, as it may be. */
	sim_clock_init(&m->clock, w->sim, 1 + sim_below(w->sim, CFS_NS_PER_S),
		       sim_one_in(w->sim, 3) ? -r : r);
	sim_at(w->sim, index ? w->plan.period_ns / 8 : 0, m->node, manager_boot,
	       m, 0, 0, NULL);
}

void leases_manager_crash(struct leases_manager *m)
{
	struct leases_world *w = m->w;

	retire(m, "crashed");
	sim_crash(w->sim, m->node);
	sim_clock_jump(&m->clock, sim_skewed(w->sim, 0, CFS_NS_PER_S));
	sim_at(w->sim,
	       w->sim->now_ns + sim_skewed(w->sim, 0, 3 * w->plan.period_ns),
	       m->node, manager_boot, m, 0, 0, NULL);
}

void leases_manager_done(struct leases_manager *m)
{
	cfs_owner_free(m->owner);
}

/* ---- messages ------------------------------------------------------------ */

static void known_of(struct leases_manager *m, uint64_t client_id,
		     const struct leases_conn *conn,
		     struct cfs_owner_known *ret)
{
	/* As the client's HELLO says it: see leases_client.c. */
	*ret = (struct cfs_owner_known){
		.client_id = client_id,
		.pid = conn->client + 1,
		.process_start = (uint64_t)conn->client_life + 1,
	};
	(void)m;
	ret->host[0] = (char)('a' + conn->client);
}

/* The requests of data: 0x0201 open a log, 0x0202 fold it. */
static void receive_rpc(struct leases_manager *m, struct leases_conn *conn,
			const struct cfs_msg_head *head)
{
	uint8_t buf[256];
	struct cfs_wire_put put;
	struct cfs_owner_known known;
	uint64_t client_id = 0;
	int r = cfs_owner_touch(m->owner, conn->id, &client_id);

	if (r == 0 && client_id == 0)
		r = -EPERM;
	leases_judge_stopped(m, true);
	if (r == 0)
		leases_judge_handled(m, client_id);
	if (r == 0 && head->type == 0x0201) {
		known_of(m, client_id, conn, &known);
		r = leases_store_open_log(m->w, &known);
	} else if (r == 0 && leases_store_log(m->w, client_id)) {
		leases_store_fold(m->w, leases_store_log(m->w, client_id));
	}
	cfs_wire_put_init(&put, buf, sizeof(buf));
	if (r < 0) {
		cfs_msg_error(&put, head->type, head->id, r, NULL);
	} else {
		cfs_msg_begin(&put, head->type | CFS_MSG_TYPE_REPLY, head->id);
		cfs_wire_put_u64(&put, client_id);
		cfs_wire_put_u64(&put, (uint64_t)r);
		cfs_msg_end(&put);
	}
	leases_send(m->w, conn, false, put.data, put.bytes);
}

void leases_manager_receive(struct leases_manager *m, struct leases_conn *conn,
			    const void *msg, size_t bytes)
{
	struct cfs_msg_head head;
	struct cfs_wire_get body;
	uint64_t client_id;
	bool is_early;

	if (!leases_manager_guard(m))
		return;
	if (cfs_msg_open(msg, bytes, &head, &body, NULL) < 0) {
		sim_fail(m->w->sim, "the client sent what is no message");
		return;
	}
	if (head.type > CFS_MSG_TYPE_LEASE_LAST) {
		receive_rpc(m, conn, &head);
		if (m->owner)
			leases_manager_kick(m);
		return;
	}
	/* What is due it does itself; or it was done before. */
	is_early = sim_one_in(m->w->sim, 2);
	if (is_early) {
		cfs_owner_tick(m->owner);
		leases_judge_stopped(m, true);
	}
	if (cfs_owner_receive(m->owner, conn->id, msg, bytes) < 0) {
		/* It has broken with this peer. */
		conn->manager_open = false;
		leases_cut(m->w, conn);
		cfs_owner_closed(m->owner, conn->id);
	}
	leases_judge_stopped(m, is_early || head.type != CFS_MSG_HELLO);
	client_id = cfs_owner_peer_client(m->owner, conn->id);
	if (client_id && head.type != CFS_MSG_HELLO)
		leases_judge_handled(m, client_id);
	leases_manager_kick(m);
}

void leases_manager_closed(struct leases_manager *m, uint64_t peer)
{
	if (!leases_manager_guard(m))
		return;
	cfs_owner_closed(m->owner, peer);
	leases_manager_kick(m);
}
