/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a seed has in store, and everything that goes wrong. */
#include "leases_world.h"

#include <stdlib.h>

void leases_plan_make(struct leases_world *w)
{
	static const uint64_t periods[] = {
		100 * CFS_NS_PER_MS,
		CFS_NS_PER_S,
		10 * CFS_NS_PER_S,
	};
	static const uint32_t drifts[] = { 1, 500, 2000, 50000, 300000 };
	static const uint64_t delays[] = { 3000, 100, 20, 4, 1 };
	struct leases_plan *p = &w->plan;
	struct sim *sim = w->sim;

	p->period_ns = periods[sim_below(sim, 3)];
	p->drift_ppm = drifts[sim_below(sim, 5)];
	p->access_ns = p->period_ns / (4 + sim_below(sim, 30));
	p->delay_ns = p->period_ns / delays[sim_below(sim, 5)];
	p->think_ns = p->period_ns * (1 + sim_below(sim, 3));
	p->trouble_ns = p->period_ns / 2 * (1 + sim_below(sim, 6));
	p->quiet_ns = p->period_ns * (10 + sim_below(sim, 15));
	p->clients = 2 + (unsigned int)sim_below(sim, LEASES_CLIENTS - 1);
	p->managers = 1 + (unsigned int)sim_below(sim, LEASES_MANAGERS);
	p->actors = 1 + (unsigned int)sim_below(sim, LEASES_ACTORS);
	p->cut_in = sim_one_in(sim, 3) ? 0
				       : 20 + (unsigned int)sim_below(sim, 200);
	p->double_in = sim_one_in(sim, 2) ? 0 : 10;
	p->late_in = sim_one_in(sim, 2) ? 0 : 4;
	p->has_stops = sim_one_in(sim, 5);
	p->accesses = sim_one_in(sim, 3) ? 40 : 4;
	p->is_quick = sim_one_in(sim, 3);
	p->is_contended = sim_one_in(sim, 4);
	if (p->is_contended) {
		p->accesses = 200;
		p->is_quick = true;
		p->delay_ns = p->period_ns / 3000;
	}
	p->recall_ns = p->period_ns / 4 * (1 + sim_below(sim, 8));
	/* A lease that alone is taken back leaves no gravestone for a client
	 * whose clock stands still to see. */
	if (p->has_stops)
		p->recall_ns = 1000 * p->period_ns;
}

static uint64_t long_ns(struct leases_world *w)
{
	return sim_skewed(w->sim, 0, 4 * w->plan.period_ns);
}

/* ---- clients ------------------------------------------------------------- */

static void clock_goes(void *arg, uint64_t a, uint64_t b, void *data)
{
	struct leases_client *c = arg;

	(void)a;
	(void)b;
	(void)data;
	sim_say(c->w->sim, "c%u: its clock goes on", c->index);
	sim_clock_stop(&c->clock, false);
	c->taint_ns = sim_clock_now(&c->clock) + c->w->plan.period_ns;
	c->wake_ns = UINT64_MAX;
	leases_client_kick(c);
}

/* The machine stands still and so does its clock: a paused guest. */
static void stop_machine(struct leases_client *c)
{
	struct leases_world *w = c->w;
	uint64_t for_ns = long_ns(w);

	if (c->clock.is_stopped || sim_is_paused(w->sim, c->node))
		return;
	leases_count(w, COUNT_STOPPED);
	sim_say(w->sim, "c%u stands still with its clock", c->index);
	sim_clock_stop(&c->clock, true);
	for (struct leases_flight *f = w->flights; f; f = f->next)
		f->is_tainted |= f->client == c->index;
	sim_pause(w->sim, c->node, for_ns);
	sim_at(w->sim, w->sim->now_ns + for_ns, SIM_NOBODY, clock_goes, c, 0, 0,
	       NULL);
}

static void start_again(void *arg, uint64_t a, uint64_t b, void *data)
{
	(void)a;
	(void)b;
	(void)data;
	leases_client_start(arg);
}

static void crash_client(struct leases_client *c)
{
	struct leases_world *w = c->w;

	if (!c->lc)
		return;
	sim_say(w->sim, "c%u crashes", c->index);
	leases_client_crash(c);
	sim_at(w->sim, w->sim->now_ns + long_ns(w) / 2, c->node, start_again, c,
	       0, 0, NULL);
}

static void cut_off(struct leases_client *c)
{
	struct leases_world *w = c->w;

	if (c->conn)
		leases_cut(w, c->conn);
	c->out_until_ns = w->sim->now_ns + long_ns(w);
	sim_say(w->sim, "c%u is cut off", c->index);
}

static void trouble_client(struct leases_world *w, struct leases_client *c)
{
	int64_t r = w->plan.drift_ppm;

	switch (sim_below(w->sim, 8)) {
	case 0:
	case 1:
		sim_say(w->sim, "c%u is paused", c->index);
		sim_pause(w->sim, c->node, long_ns(w));
		break;
	case 2:
		crash_client(c);
		break;
	case 3:
		if (c->conn)
			leases_cut(w, c->conn);
		break;
	case 4:
		cut_off(c);
		break;
	case 5:
		if (c->clock.is_stopped)
			break;
		sim_say(w->sim, "c%u: its clock jumps", c->index);
		sim_clock_jump(&c->clock, long_ns(w) / 2);
		c->wake_ns = UINT64_MAX;
		leases_client_kick(c);
		break;
	case 6:
		if (!c->clock.is_stopped)
			sim_clock_rate(&c->clock,
				       sim_one_in(w->sim, 2) ? r : -r);
		c->wake_ns = UINT64_MAX;
		leases_client_kick(c);
		break;
	case 7:
		if (w->plan.has_stops)
			stop_machine(c);
		break;
	}
}

/* ---- managers ------------------------------------------------------------ */

struct one {
	uint64_t id;
	uint64_t left;
	bool is_lease;
};

static bool choose_record(void *arg, const struct cfs_lease_record *record)
{
	struct one *one = arg;
	bool is_lease = record->kind == CFS_RECORD_LEASE;

	if (is_lease == one->is_lease)
		one->id = is_lease ? record->u.lease.lease_id
				   : record->client_id;
	return one->id == 0 || one->left-- > 0;
}

/* Somebody takes a lease, or a client, away. */
static void revoke(struct leases_world *w, struct leases_manager *m)
{
	struct one one = {
		.left = sim_below(w->sim, 6),
		.is_lease = !w->plan.has_stops && !sim_one_in(w->sim, 3),
	};

	if (!leases_manager_guard(m))
		return;
	cfs_owner_each(m->owner, 0, 0, choose_record, &one);
	if (!one.id)
		return;
	sim_say(w->sim, "m%u is told to revoke %llx", m->index,
		(unsigned long long)one.id);
	if (one.is_lease)
		cfs_owner_revoke_lease(m->owner, one.id);
	else
		cfs_owner_revoke_client(m->owner, one.id);
	leases_manager_kick(m);
}

/* It is known that one that crashed is gone, with all it had under way. */
static void tell_gone(struct leases_world *w, struct leases_manager *m)
{
	uint64_t id;

	if (!w->dead_count || !leases_manager_guard(m))
		return;
	for (uint32_t i = 0; i < w->plan.clients; i++)
		if (leases_flight_exists(w, i, w->sim->nodes[i].life))
			return;
	id = w->dead[sim_below(w->sim, w->dead_count)];
	if (cfs_owner_gone(m->owner, id) == 0)
		leases_count(w, COUNT_GONE);
	leases_manager_kick(m);
}

static void trouble_manager(struct leases_world *w, struct leases_manager *m)
{
	int64_t r = w->plan.drift_ppm;
	bool is_here = m->owner && !sim_is_paused(w->sim, m->node);

	switch (sim_below(w->sim, 7)) {
	case 0:
	case 1:
		sim_say(w->sim, "m%u is paused", m->index);
		sim_pause(w->sim, m->node, long_ns(w));
		break;
	case 2:
		sim_say(w->sim, "m%u crashes", m->index);
		leases_manager_crash(m);
		break;
	case 3:
		sim_clock_rate(&m->clock, sim_one_in(w->sim, 2) ? r : -r);
		m->wake_ns = UINT64_MAX;
		if (is_here && leases_manager_guard(m))
			leases_manager_kick(m);
		break;
	case 4:
	case 5:
		if (is_here)
			revoke(w, m);
		break;
	case 6:
		if (is_here)
			tell_gone(w, m);
		break;
	}
}

/* ---- when ---------------------------------------------------------------- */

/* Everybody is well from now on. */
static void quiet(struct leases_world *w)
{
	sim_say(w->sim, "no more trouble");
	w->plan.is_quiet = true;
	w->plan.cut_in = 0;
	w->plan.double_in = 0;
	w->plan.delay_ns = w->plan.period_ns / 1000;
	for (uint32_t i = 0; i < w->plan.clients; i++)
		w->clients[i].out_until_ns = 0;
}

static void trouble(void *arg, uint64_t a, uint64_t b, void *data)
{
	struct leases_world *w = arg;
	struct sim *sim = w->sim;

	(void)a;
	(void)b;
	(void)data;
	if (sim->now_ns >= w->plan.quiet_ns) {
		quiet(w);
		return;
	}
	if (sim_one_in(sim, 3))
		trouble_manager(w,
				&w->managers[sim_below(sim, w->plan.managers)]);
	else
		trouble_client(w, &w->clients[sim_below(sim, w->plan.clients)]);
	sim_at(sim, sim->now_ns + sim_skewed(sim, 0, 2 * w->plan.trouble_ns),
	       SIM_NOBODY, trouble, w, 0, 0, NULL);
}

void leases_trouble_start(struct leases_world *w)
{
	sim_at(w->sim, w->plan.trouble_ns, SIM_NOBODY, trouble, w, 0, 0, NULL);
}
