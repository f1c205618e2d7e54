/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Events in the order of true time, nodes that pause, clocks that drift. */
#include "sim_engine.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PPM 1000000

uint64_t sim_below(struct sim *sim, uint64_t n)
{
	return n ? cfs_rng_below(&sim->rng, n) : 0;
}

bool sim_one_in(struct sim *sim, uint64_t n)
{
	return n && cfs_rng_below(&sim->rng, n) == 0;
}

uint64_t sim_skewed(struct sim *sim, uint64_t min, uint64_t max)
{
	uint64_t width = max - min;

	for (uint64_t n = sim_below(sim, 4); n > 0; n--)
		width = sim_below(sim, width + 1);
	return min + width;
}

/* ---- the heap ------------------------------------------------------------ */

static bool event_is_before(const struct sim_event *a,
			    const struct sim_event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void heap_push(struct sim *sim, const struct sim_event *e)
{
	size_t i;

	if (sim->count == sim->room) {
		sim->room = sim->room ? 2 * sim->room : 256;
		sim->heap = reallocarray(sim->heap, sim->room,
					 sizeof(*sim->heap));
		if (!sim->heap)
			abort();
	}
	for (i = sim->count++; i > 0; i = (i - 1) / 2) {
		if (!event_is_before(e, &sim->heap[(i - 1) / 2]))
			break;
		sim->heap[i] = sim->heap[(i - 1) / 2];
	}
	sim->heap[i] = *e;
}

static struct sim_event heap_pop(struct sim *sim)
{
	struct sim_event top = sim->heap[0];
	struct sim_event last = sim->heap[--sim->count];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= sim->count)
			break;
		if (child + 1 < sim->count &&
		    event_is_before(&sim->heap[child + 1], &sim->heap[child]))
			child++;
		if (!event_is_before(&sim->heap[child], &last))
			break;
		sim->heap[i] = sim->heap[child];
		i = child;
	}
	if (sim->count)
		sim->heap[i] = last;
	return top;
}

void sim_at(struct sim *sim, uint64_t at_ns, uint32_t node, sim_fn fn,
	    void *arg, uint64_t a, uint64_t b, void *data)
{
	struct sim_event e = {
		.at_ns = at_ns < sim->now_ns ? sim->now_ns : at_ns,
		.order = sim->order++,
		.node = node,
		.fn = fn,
		.arg = arg,
		.a = a,
		.b = b,
		.data = data,
	};

	if (node != SIM_NOBODY)
		e.life = sim->nodes[node].life;
	heap_push(sim, &e);
}

bool sim_step(struct sim *sim)
{
	while (sim->count) {
		struct sim_event e = heap_pop(sim);
		const struct sim_node *n = e.node == SIM_NOBODY
						   ? NULL
						   : &sim->nodes[e.node];

		sim->now_ns = e.at_ns;
		if (n && n->life != e.life) {
			free(e.data);
			continue;
		}
		if (n && n->paused_until_ns > sim->now_ns) {
			e.at_ns = n->paused_until_ns;
			heap_push(sim, &e);
			continue;
		}
		sim->steps++;
		e.fn(e.arg, e.a, e.b, e.data);
		free(e.data);
		return true;
	}
	return false;
}

void sim_pause(struct sim *sim, uint32_t node, uint64_t for_ns)
{
	struct sim_node *n = &sim->nodes[node];

	if (n->paused_until_ns <= sim->now_ns)
		n->paused_since_ns = sim->now_ns;
	/* Never shorter: what is put off comes in order. */
	if (n->paused_until_ns < sim->now_ns + for_ns)
		n->paused_until_ns = sim->now_ns + for_ns;
}

void sim_crash(struct sim *sim, uint32_t node)
{
	sim->nodes[node].life++;
	sim->nodes[node].paused_until_ns = 0;
}

/* ---- the story ----------------------------------------------------------- */

void sim_tell(struct sim *sim, const char *fmt, ...)
{
	va_list ap;

	printf("# %4" PRIu64 ".%09" PRIu64 "  ", sim->now_ns / CFS_NS_PER_S,
	       sim->now_ns % CFS_NS_PER_S);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void sim_fail(struct sim *sim, const char *fmt, ...)
{
	va_list ap;

	if (sim->has_failed)
		return;
	sim->has_failed = true;
	va_start(ap, fmt);
	vsnprintf(sim->why, sizeof(sim->why), fmt, ap);
	va_end(ap);
	sim_say(sim, "FAILED: %s", sim->why);
}

/* ---- clocks -------------------------------------------------------------- */

uint64_t sim_clock_now(const struct sim_clock *c)
{
	__extension__ unsigned __int128 x = c->sim->now_ns - c->since_ns;

	if (c->is_stopped)
		return c->base_ns;
	return c->base_ns + (uint64_t)(x * (uint64_t)(PPM + c->ppm) / PPM);
}

static void clock_rebase(struct sim_clock *c)
{
	c->base_ns = sim_clock_now(c);
	c->since_ns = c->sim->now_ns;
}

uint64_t sim_clock_when(const struct sim_clock *c, uint64_t shows_ns)
{
	uint64_t rate = (uint64_t)(PPM + c->ppm);
	__extension__ unsigned __int128 x;

	if (shows_ns <= c->base_ns)
		return c->since_ns;
	if (c->is_stopped || shows_ns == UINT64_MAX)
		return UINT64_MAX;
	x = shows_ns - c->base_ns;
	x = (x * PPM + rate - 1) / rate;
	return x > UINT64_MAX - c->since_ns ? UINT64_MAX
					    : c->since_ns + (uint64_t)x;
}

void sim_clock_rate(struct sim_clock *c, int64_t ppm)
{
	clock_rebase(c);
	c->ppm = ppm;
}

void sim_clock_jump(struct sim_clock *c, uint64_t ns)
{
	clock_rebase(c);
	c->base_ns += ns;
}

void sim_clock_stop(struct sim_clock *c, bool is_stopped)
{
	clock_rebase(c);
	c->is_stopped = is_stopped;
}

static uint64_t clock_elapsed(struct cfs_clock *clock)
{
	return sim_clock_now((const struct sim_clock *)clock);
}

static void clock_sleep(struct cfs_clock *clock, uint64_t deadline_ns)
{
	(void)clock;
	(void)deadline_ns;
}

void sim_clock_init(struct sim_clock *clock, struct sim *sim, uint64_t shows_ns,
		    int64_t ppm)
{
	static const struct cfs_clock_ops ops = {
		.elapsed_ns = clock_elapsed,
		.realtime_ns = clock_elapsed,
		.sleep_until = clock_sleep,
	};

	*clock = (struct sim_clock){
		.clock.ops = &ops,
		.sim = sim,
		.since_ns = sim->now_ns,
		.base_ns = shows_ns,
		.ppm = ppm,
	};
}
