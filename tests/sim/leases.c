// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Leases in made-up worlds: the real owner and client, with clocks that drift
 * to the bound, jump and stop, machines that pause and die at every step,
 * managers that take over and come back late, and messages that are lost,
 * delayed and doubled.  What is judged: leases_judge.c.
 */
#include "leases_world.h"

#include <stdlib.h>

#define STEPS_MAX 500000u

static bool is_over(const struct leases_world *w)
{
	for (uint32_t i = 0; i < w->plan.clients; i++)
		for (uint32_t k = 0; k < w->plan.actors; k++)
			if (w->clients[i].actors[k].state != ACTOR_DONE)
				return false;
	return true;
}

/* Nobody wants anything any more: nothing may be left. */
static void leave_all(struct leases_world *w)
{
	uint64_t end_ns = w->sim->now_ns + 30 * w->plan.period_ns;
	struct leases_manager *m;

	for (uint32_t i = 0; i < w->plan.clients; i++) {
		w->clients[i].is_leaving = true;
		leases_client_kick(&w->clients[i]);
	}
	while (!w->sim->has_failed && w->sim->now_ns < end_ns &&
	       sim_step(w->sim))
		leases_judge_step(w);
	m = leases_manager_current(w);
	if (!w->sim->has_failed && !m)
		sim_fail(w->sim, "nobody manages in the end");
	else if (!w->sim->has_failed && (cfs_owner_client_count(m->owner) ||
					 cfs_owner_lease_count(m->owner))) {
		leases_tell_owner(w, m);
		sim_fail(w->sim, "%u clients, %u leases are left",
			 cfs_owner_client_count(m->owner),
			 cfs_owner_lease_count(m->owner));
	}
}

static void run(struct sim *sim)
{
	struct leases_world w = { .sim = sim };
	uint64_t end_ns;

	leases_plan_make(&w);
	leases_store_init(&w);
	for (uint32_t i = 0; i < w.plan.managers; i++)
		leases_manager_init(&w, i);
	for (uint32_t i = 0; i < w.plan.clients; i++)
		leases_client_init(&w, i);
	leases_trouble_start(&w);
	sim_say(sim,
		"period %llu ns, drift %u ppm, access %llu ns, delay "
		"%llu ns, %u clients, %u managers, %u actors",
		(unsigned long long)w.plan.period_ns, w.plan.drift_ppm,
		(unsigned long long)w.plan.access_ns,
		(unsigned long long)w.plan.delay_ns, w.plan.clients,
		w.plan.managers, w.plan.actors);
	end_ns = w.plan.quiet_ns + 120 * w.plan.period_ns;
	while (!sim->has_failed && sim->now_ns < end_ns && sim_step(sim)) {
		leases_judge_step(&w);
		if (sim->steps > STEPS_MAX)
			sim_fail(sim, "it does not come to an end");
		if (w.plan.is_quiet && is_over(&w))
			break;
	}
	if (!sim->has_failed)
		leave_all(&w);
	if (!sim->has_failed)
		leases_judge_end(&w);
	for (uint32_t i = 0; i < w.plan.clients; i++)
		leases_client_done(&w.clients[i]);
	for (uint32_t i = 0; i < w.plan.managers; i++)
		leases_manager_done(&w.managers[i]);
	while (w.flights) {
		struct leases_flight *f = w.flights;

		w.flights = f->next;
		cfs_dev_close(f->dev);
		free(f);
	}
	for (size_t i = 0; i < w.conn_count; i++)
		free(w.conns[i]);
	free(w.conns);
	for (unsigned int i = 0; i < LEASES_BLOCKS; i++)
		sim_history_done(&w.histories[i]);
	leases_store_done(&w);
}

int main(void)
{
	static const struct sim_suite suite = {
		.name = "leases",
		.seeds = 10000,
		.run = run,
		.counters = {
			[COUNT_GRANT] = { "grants", true },
			[COUNT_CACHED] = { "grants from the cache", true },
			[COUNT_QUEUED] = { "requests that waited", true },
			[COUNT_EXPIRE] = { "clients that expired", true },
			[COUNT_REVOKE] = { "leases revoked", true },
			[COUNT_FINAL] = { "final recalls", true },
			[COUNT_RECALL] = { "recalls", true },
			[COUNT_TAKEOVER] = { "takeovers", true },
			[COUNT_ZOMBIE_MANAGER] = { "zombie managers", true },
			[COUNT_RECLAIM] = { "leases reclaimed", true },
			[COUNT_PRELOAD] = { "clients preloaded", true },
			[COUNT_SEAL] = { "seals", true },
			[COUNT_WRITE] = { "writes acknowledged", true },
			[COUNT_READ] = { "reads", true },
			[COUNT_REFUSED] = { "requests refused", true },
			[COUNT_LATE_ACCESS] = { "late accesses", true },
			[COUNT_LATE_RECORD] = { "writes of the dead", true },
			[COUNT_GONE] = { "clients known gone", true },
			[COUNT_CHANGE] = { "changes of mode", true },
			[COUNT_GOODBYE] = { "goodbyes", true },
			[COUNT_DOUBLE] = { "messages doubled", true },
			[COUNT_CUT] = { "connections cut", true },
			[COUNT_STOPPED] = { "clocks stopped", true },
			[COUNT_DEADLOCK] = { "deadlocks refused", false },
			[COUNT_NOT_KNOWN] = { "histories not judged", false },
		},
	};

	return sim_main(&suite);
}
