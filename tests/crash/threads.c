// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Threads that write to one LUN, each to places of its own, and sync: many
 * share a frame, and writes go on while one is on its way.  Crashed at some of
 * the events: what each of them was told is durable is there, and of each
 * write all or nothing.
 */
#include "crash_sequence.h"
#include "crash_world.h"

#include "base/cleanup.h"
#include "base/rng.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK               4096u
#define WORDS               (BLOCK / sizeof(uint64_t))
#define THREADS             4u
#define AREA_BLOCKS         64u
#define LUN_BYTES           ((uint64_t)THREADS * AREA_BLOCKS * BLOCK)
#define MARK(thread, round) ((uint64_t)(thread) << 32 | (round))

/* What a round writes: a page or two, or a run that goes home at once. */
static const struct cell {
	uint32_t block, count;
} cells[] = {
	{ 0, 2 },
	{ 8, 40 },
	{ 50, 1 },
};
#define CELLS (sizeof(cells) / sizeof(cells[0]))

struct story {
	struct crash_world w;
	struct cfs_io_volume *io;
	unsigned int rounds;
	unsigned int failed;
};

struct writer {
	struct story *st;
	unsigned int index;
};

static uint64_t place_of(unsigned int thread, const struct cell *cell)
{
	return ((uint64_t)thread * AREA_BLOCKS + cell->block) * BLOCK;
}

static void *write_rounds(void *arg)
{
	const struct writer *w = arg;
	struct story *st = w->st;
	uint64_t *buf = aligned_alloc(BLOCK, AREA_BLOCKS * BLOCK);
	struct cfs_err err = CFS_ERR_INIT;
	int r = buf ? 0 : -ENOMEM;

	for (uint64_t i = 1; i <= st->rounds && r == 0; i++) {
		const struct cell *cell = &cells[i % CELLS];

		for (size_t k = 0; k < cell->count * WORDS; k++)
			buf[k] = i;
		r = cfs_io_write(st->io, place_of(w->index, cell), buf,
				 (size_t)cell->count * BLOCK, &err);
		if (r == 0)
			r = cfs_io_sync(st->io, &err);
		if (r == 0)
			cfs_sim_mark(st->w.sim, MARK(w->index, i));
	}
	if (r < 0) {
		printf("# thread %u: %s\n", w->index, err.msg);
		__atomic_add_fetch(&st->failed, 1, __ATOMIC_RELAXED);
	}
	free(buf);
	return NULL;
}

static int live(struct story *st, struct cfs_err *err)
{
	const struct crash_op create = {
		.kind = OP_CREATE,
		.volume = "a",
		.length = LUN_BYTES,
	};
	struct writer writers[THREADS];
	pthread_t threads[THREADS];
	int r = crash_world_init(&st->w, &crash_shape_one, err);

	if (r == 0)
		r = crash_world_open(&st->w, err);
	if (r == 0)
		r = crash_world_apply(&st->w, &create, err);
	if (r == 0)
		r = cfs_io_open(st->w.s, "a", NULL, true, &st->io, err);
	if (r == 0)
		r = cfs_io_sync(st->io, err);
	if (r < 0)
		return r;
	cfs_sim_checkpoint(st->w.sim);
	for (unsigned int i = 0; i < THREADS; i++) {
		writers[i] = (struct writer){ .st = st, .index = i };
		if (pthread_create(&threads[i], NULL, write_rounds,
				   &writers[i]) != 0)
			abort();
	}
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	cfs_io_close(st->io);
	crash_world_drop(&st->w);
	return st->failed ? cfs_err_set(err, -EIO, "a thread failed") : 0;
}

/* The last round that had been answered for this place. */
static uint64_t answered(const struct story *st, size_t event_count,
			 unsigned int thread, size_t cell)
{
	uint64_t last = 0;

	for (size_t i = 0; i < event_count; i++) {
		const struct cfs_sim_event e = cfs_sim_event(st->w.sim, i);

		if (e.kind == CFS_SIM_MARK && e.mark >> 32 == thread &&
		    (uint32_t)e.mark % CELLS == cell)
			last = (uint32_t)e.mark;
	}
	return last;
}

static int judge_cell(const struct story *st, struct cfs_io_volume *io,
		      size_t event_count, unsigned int thread, size_t cell,
		      struct cfs_err *err)
{
	static uint64_t buf[AREA_BLOCKS * WORDS]
		__attribute__((aligned(BLOCK)));
	const size_t words = cells[cell].count * WORDS;
	const uint64_t least = answered(st, event_count, thread, cell);
	int r = cfs_io_read(io, place_of(thread, &cells[cell]), buf,
			    words * sizeof(*buf), NULL, err);

	for (size_t i = 1; i < words && r == 0; i++)
		if (buf[i] != buf[0])
			r = cfs_err_set(err, -EUCLEAN,
					"thread %u, cell %zu: "
					"half a write",
					thread, cell);
	if (r == 0 && (buf[0] < least || buf[0] > st->rounds ||
		       (buf[0] && buf[0] % CELLS != cell)))
		r = cfs_err_set(err, -EUCLEAN,
				"thread %u, cell %zu: round %" PRIu64
				", but %" PRIu64 " was durable",
				thread, cell, buf[0], least);
	return r;
}

static int judge_world(const struct story *st, struct crash_world *w,
		       size_t event_count, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_io_closep) struct cfs_io_volume *io = NULL;
	int r = crash_world_open(w, err);

	if (r == 0)
		r = crash_session_check(w->s, err);
	if (r == 0)
		r = cfs_io_open(w->s, "a", NULL, false, &io, err);
	for (unsigned int i = 0; i < THREADS && r == 0; i++)
		for (size_t k = 0; k < CELLS && r == 0; k++)
			r = judge_cell(st, io, event_count, i, k, err);
	return r;
}

static int judge(const struct story *st, const struct cfs_sim_crash *crash,
		 struct cfs_err *err)
{
	struct crash_world w;
	int r = crash_world_fork(&st->w, crash, &w, err);

	if (r < 0)
		return r;
	r = judge_world(st, &w, crash->event_count, err);
	crash_world_done(&w);
	return r;
}

int main(void)
{
	const bool is_long = getenv("CFS_LONG");
	const char *text = getenv("SEED");
	const uint64_t seed = text ? strtoull(text, NULL, 0) : 1;
	struct story st = { .rounds = is_long ? 200 : 40 };
	struct cfs_err err = CFS_ERR_INIT;
	unsigned int bad = 0, count = 0;
	struct cfs_rng rng;
	size_t events;
	int r = live(&st, &err);

	cfs_rng_init(&rng, seed);
	events = st.w.sim ? cfs_sim_event_count(st.w.sim) : 0;
	for (unsigned int i = 0; r == 0 && i < (is_long ? 3000u : 200u); i++) {
		const struct cfs_sim_crash crash = {
			.event_count = cfs_rng_below(&rng, events + 1),
			.seed = i % 5 == 0 ? 0
				: i % 5 == 1
					? UINT64_MAX
					: cfs_rng_below(&rng, UINT64_C(1)
								      << 40) +
						  1,
		};

		count++;
		if (judge(&st, &crash, &err) == 0)
			continue;
		bad++;
		printf("# event %zu of %zu, luck %" PRIu64 ": %s\n",
		       crash.event_count, events, crash.seed, err.msg);
	}
	if (r < 0)
		printf("# %s\n", err.msg);
	printf("%s threads: %u crashes of %zu events, seed %" PRIu64 "\n",
	       r == 0 && !bad ? "ok" : "not ok", count, events, seed);
	crash_world_done(&st.w);
	return r < 0 || bad;
}
