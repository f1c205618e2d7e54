// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Long random lives: calls on LUNs, trees, snapshots and clones; now and then
 * the power goes at some event, with any subset of what was not flushed and
 * with torn sectors, and life goes on from there.  Each generation is also
 * crashed at some of its other events, to look.
 *
 * SEED=N runs that life alone, SEEDS=N so many, CALLS=N calls in each.
 */
#include "crash_random.h"
#include "crash_sequence.h"
#include "tree/container_gradual.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

struct life {
	struct crash_story st;
	struct crash_dice dice;
	uint64_t calls, generations;
};

static int generation(struct life *l, uint64_t calls)
{
	struct crash_op op;
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < calls; i++) {
		crash_dice_roll(&l->dice, l->st.m, &op);
		r = crash_story_do(&l->st, &op);
		l->calls++;
	}
	crash_story_kill(&l->st);
	return r;
}

/* At some events, or at the last one. */
static size_t roll_event(struct life *l)
{
	size_t count = cfs_sim_event_count(l->st.w.sim);

	return crash_dice_below(&l->dice, 3) == 0
		       ? count
		       : (size_t)crash_dice_below(&l->dice, count + 1);
}

static uint64_t roll_luck(struct life *l)
{
	uint64_t x = crash_dice_below(&l->dice, 6);

	return x == 0   ? 0
	       : x == 1 ? UINT64_MAX
			: 1 + crash_dice_below(&l->dice, UINT64_C(1) << 40);
}

static int look_around(struct life *l)
{
	struct crash_plan plan = {
		.seed = crash_dice_below(&l->dice, 1000000),
		.readonly_one_in = 3,
		.again_one_in = 3,
		.nested_one_in = 8,
		.life_one_in = 8,
	};
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < 3; i++) {
		const struct cfs_sim_crash crash = {
			.event_count = roll_event(l),
			.seed = roll_luck(l),
		};
		const struct crash_window window = crash_story_window(
			&l->st, crash.event_count);

		r = crash_story_judge(&l->st, &crash, &window, &plan);
	}
	return r;
}

/* Every fifth life is one in a pool that is nearly full. */
static int load_ballast(struct life *l, const struct crash_shape *shape)
{
	unsigned int devices = shape->is_mirror ? 1 : shape->device_count;
	struct crash_op op = {
		.kind = OP_CREATE,
		.volume = CRASH_BALLAST,
		.length = (UINT64_C(59) * devices - 12) << 20,
		.seed = 1,
	};
	struct cfs_err err = CFS_ERR_INIT;
	int r = crash_session_apply(l->st.w.s, &op, &err);

	op.kind = OP_WRITE;
	if (r == 0)
		r = crash_session_apply(l->st.w.s, &op, &err);
	op.kind = OP_COMMIT;
	if (r == 0)
		r = crash_session_apply(l->st.w.s, &op, &err);
	if (r < 0)
		crash_story_complain(&l->st, "ballast", err.msg);
	l->dice.is_greedy = true;
	l->dice.lun_bytes_max = 3u << 20;
	return r;
}

static int one_life(const struct crash_shape *shape, uint64_t seed,
		    uint64_t calls, struct life *l)
{
	int r = crash_story_init(&l->st, shape);

	/* In every fourth life each sync does a little of a commit. */
	cfs_gradual_set(seed % 4 == 2, seed % 4 == 2 ? 1 + seed / 4 % 16 : 0);
	l->st.allows_enospc = true;
	crash_dice_init(&l->dice, seed);
	if (r == 0 && seed % 5 == 4)
		r = load_ballast(l, shape);
	while (r == 0 && l->calls < calls) {
		struct cfs_sim_crash crash = { .event_count = 0 };

		/* The story so far is told by the seed. */
		r = generation(l, 1 + crash_dice_below(&l->dice, 80));
		if (r == 0)
			r = look_around(l);
		crash.event_count = roll_event(l);
		crash.seed = roll_luck(l);
		if (r == 0)
			r = crash_story_go_on(&l->st, &crash);
		l->generations++;
	}
	return r;
}

int main(void)
{
	static const struct crash_shape *const shapes[] = {
		&crash_shape_one,
		&crash_shape_mirror,
		&crash_shape_two,
	};
	uint64_t only = crash_env("SEED", 0);
	uint64_t seeds = crash_env("SEEDS", crash_is_long() ? 300 : 1000);
	uint64_t calls = crash_env("CALLS", crash_is_long() ? 4000 : 600);
	/* As many as there is time for. */
	uint64_t seconds = crash_env("SECONDS_MAX",
				     crash_is_long() ? 1500 : 25);
	uint64_t first = only ? only : crash_env("FIRST", 1);
	time_t end = time(NULL) + (time_t)seconds;
	int bad = 0;

	for (uint64_t i = 0; i < (only ? 1 : seeds) && bad < 3; i++) {
		uint64_t seed = first + i;
		struct life l = { .calls = 0 };
		int r;

		if (!only && i >= 3 && time(NULL) > end)
			break;
		r = one_life(shapes[seed % 3], seed, calls, &l);
		crash_report(r == 0,
			     "history-%s-seed-%" PRIu64 ": %" PRIu64
			     " calls, %" PRIu64 " generations, %" PRIu64
			     " crashes, %" PRIu64 " times full",
			     shapes[seed % 3]->name, seed, l.calls,
			     l.generations, l.st.judged, l.st.full_count);
		bad += r < 0;
		crash_story_done(&l.st);
	}
	return bad != 0;
}
