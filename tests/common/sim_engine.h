/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Deterministic simulation: true time, events, hosts with clocks of their own.
 *
 * One process and one seed: everything that happens comes from the seed, so a
 * seed that fails is a story that can be told again (FIRST=N SEEDS=1
 * VERBOSE=1).
 *
 * Events belong to a node (or to nobody).  A paused node has no events; they
 * happen, in their order, when it goes on.  A node that crashed never sees
 * those of its former life.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/rng.h"

#define SIM_NODES    16u
#define SIM_NOBODY   UINT32_MAX
#define SIM_COUNTERS 32u

struct sim;

/* @data is freed by the engine behind the call. */
typedef void (*sim_fn)(void *arg, uint64_t a, uint64_t b, void *data);

struct sim_event {
	uint64_t at_ns, order;
	uint32_t node, life;
	sim_fn fn;
	void *arg;
	uint64_t a, b;
	void *data;
};

struct sim_node {
	uint32_t life;            /* grows with each crash */
	uint64_t paused_until_ns; /* true time */
	uint64_t paused_since_ns; /* the last pause began */
};

struct sim {
	uint64_t seed;
	uint64_t now_ns; /* true time */
	struct cfs_rng rng;
	struct sim_node nodes[SIM_NODES];
	struct sim_event *heap;
	size_t count, room;
	uint64_t order, steps;
	bool is_verbose;
	bool has_failed;
	char why[512];
	uint64_t counters[SIM_COUNTERS];
};

/* 0 .. @n - 1; 0 if @n is 0. */
uint64_t sim_below(struct sim *sim, uint64_t n);
/* True once in @n; never if @n is 0. */
bool sim_one_in(struct sim *sim, uint64_t n);
/* Between @min and @max, both possible; small values are more frequent. */
uint64_t sim_skewed(struct sim *sim, uint64_t min, uint64_t max);

void sim_at(struct sim *sim, uint64_t at_ns, uint32_t node, sim_fn fn,
	    void *arg, uint64_t a, uint64_t b, void *data);
/* Take the next event.  False: there is none. */
bool sim_step(struct sim *sim);

void sim_pause(struct sim *sim, uint32_t node, uint64_t for_ns);
/* Its events are void; it is not paused any more. */
void sim_crash(struct sim *sim, uint32_t node);
static inline bool sim_is_paused(const struct sim *sim, uint32_t node)
{
	return sim->nodes[node].paused_until_ns > sim->now_ns;
}

/* A line of the story, and the end of it. */
void sim_tell(struct sim *sim, const char *fmt, ...) CFS_PRINTF(2, 3);
void sim_fail(struct sim *sim, const char *fmt, ...) CFS_PRINTF(2, 3);
#define sim_say(sim, ...)                                                      \
	do {                                                                   \
		if ((sim)->is_verbose)                                         \
			sim_tell(sim, __VA_ARGS__);                            \
	} while (0)

/* ---- a node's clock ------------------------------------------------------ */

struct sim_clock {
	struct cfs_clock clock;
	struct sim *sim;
	uint64_t since_ns, base_ns; /* true time, and what it showed */
	int64_t ppm;                /* rate: 1 + ppm / 10^6 */
	bool is_stopped;
};

void sim_clock_init(struct sim_clock *clock, struct sim *sim, uint64_t shows_ns,
		    int64_t ppm);
void sim_clock_rate(struct sim_clock *clock, int64_t ppm);
void sim_clock_jump(struct sim_clock *clock, uint64_t ns);
void sim_clock_stop(struct sim_clock *clock, bool is_stopped);
uint64_t sim_clock_now(const struct sim_clock *clock);
/* True time at which it will show @shows_ns; UINT64_MAX: never. */
uint64_t sim_clock_when(const struct sim_clock *clock, uint64_t shows_ns);

/* ---- many seeds ---------------------------------------------------------- */

struct sim_suite {
	const char *name;
	uint64_t seeds; /* by default */
	void (*run)(struct sim *sim);
	/* Names of the counters; @is_needed: 0 in a long run is a failure. */
	struct {
		const char *name;
		bool is_needed;
	} counters[SIM_COUNTERS];
};

/*
 * Run seeds FIRST .. FIRST + SEEDS - 1 in JOBS processes (2), print TAP.  With
 * VERBOSE=1 the stories too.  Returns the exit status.
 */
int sim_main(const struct sim_suite *suite);
/* A number of the environment, or @fallback. */
uint64_t sim_env(const char *name, uint64_t fallback);
