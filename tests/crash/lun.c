// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Short workloads on a LUN, all of them: each sequence of calls from a small
 * alphabet, crashed at each event of its last call with each subset of what
 * had not been flushed.
 */
#include "crash_story.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define LUN_BYTES	(256u << 10)

#define K UINT64_C(1024)

/* What the sequences begin with: some of it committed, some only logged. */
static const struct crash_op setup[] = {
	{ .kind = OP_CREATE, .volume = "a", .length = LUN_BYTES },
	{ .kind = OP_WRITE, .volume = "a", .offset = 0, .length = 64 * K,
	  .seed = 1 },
	{ .kind = OP_SNAP, .volume = "a", .name = "s0" },
	{ .kind = OP_CLONE, .volume = "a", .name = "s0", .name2 = "c0" },
	{ .kind = OP_REOPEN },
	{ .kind = OP_WRITE, .volume = "a", .offset = 8 * K, .length = 8 * K,
	  .seed = 2 },
	{ .kind = OP_SYNC, .volume = "a" },
};

static const struct crash_op alphabet[] = {
	/* The core: triples are made of these. */
	{ .kind = OP_WRITE, .volume = "a", .offset = 4 * K, .length = 4 * K,
	  .seed = 3 },
	{ .kind = OP_SYNC, .volume = "a" },
	{ .kind = OP_SNAP, .volume = "a", .name = "s1" },
	{ .kind = OP_COMMIT, .volume = "a" },
	{ .kind = OP_WRITE, .volume = "a", .offset = 64 * K,
	  .length = 132 * K, .seed = 4 },
	/* The rest. */
	{ .kind = OP_WRITE, .volume = "a", .offset = 4 * K + 700,
	  .length = 900, .seed = 5 },
	{ .kind = OP_WRITE, .volume = "a/c0", .offset = 4 * K,
	  .length = 4 * K, .seed = 6 },
	{ .kind = OP_PUNCH, .volume = "a", .offset = 3 * K, .length = 21 * K },
	{ .kind = OP_RESIZE, .volume = "a", .length = 6 * 4 * K },
	{ .kind = OP_RESIZE, .volume = "a", .length = 2 * LUN_BYTES },
	{ .kind = OP_SNAP_RM, .volume = "a", .name = "s1" },
	{ .kind = OP_CLONE, .volume = "a", .name = "s0", .name2 = "c1" },
	{ .kind = OP_ROLLBACK, .volume = "a", .name = "s0" },
	{ .kind = OP_ROLLBACK, .volume = "a", .name = "s0", .name2 = "s2" },
	{ .kind = OP_RM, .volume = "a/c0" },
	{ .kind = OP_RM, .volume = "a" },
	{ .kind = OP_CREATE, .volume = "b", .length = LUN_BYTES },
	{ .kind = OP_RENAME, .volume = "a/c0", .name = "c2" },
	{ .kind = OP_REOPEN },
};

#define CORE	5u
#define ALL	(sizeof(alphabet) / sizeof(alphabet[0]))
#define SETUP	(sizeof(setup) / sizeof(setup[0]))

/* 0 or negative: a message was printed. */
static int one_sequence(const struct crash_shape *shape,
			const unsigned int *letters, unsigned int count,
			const struct crash_plan *plan, uint64_t *judged)
{
	struct crash_story st;
	int r = crash_story_init(&st, shape);

	for (unsigned int i = 0; r == 0 && i < SETUP; i++)
		r = crash_story_do(&st, &setup[i]);
	for (unsigned int i = 0; r == 0 && i < count; i++)
		r = crash_story_do(&st, &alphabet[letters[i]]);
	crash_story_kill(&st);
	if (r == 0)
		r = crash_story_judge_all(&st, SETUP + count - 1, plan);
	*judged += st.judged;
	crash_story_done(&st);
	return r;
}

static int sequences(const struct crash_shape *shape, unsigned int length,
		     unsigned int letters, const struct crash_plan *plan)
{
	unsigned int at[3] = { 0, 0, 0 };
	uint64_t judged = 0, total = 1, n = 0;
	int r = 0, bad = 0;

	for (unsigned int i = 0; i < length; i++)
		total *= letters;
	for (n = 0; n < total; n++) {
		uint64_t rest = n;

		for (unsigned int i = 0; i < length; i++) {
			at[i] = (unsigned int)(rest % letters);
			rest /= letters;
		}
		r = one_sequence(shape, at, length, plan, &judged);
		bad += r < 0;
		if (bad >= 3)
			break;
	}
	crash_report(bad == 0, "lun-%s-%u-of-%u: %llu sequences, %llu crashes",
		     shape->name, length, letters, (unsigned long long)n,
		     (unsigned long long)judged);
	return bad;
}

int main(void)
{
	struct crash_plan plan = {
		.mask_max = 4,
		.seeds = 2,
		.seed = crash_env("SEED", 1),
		.one_in = (unsigned int)crash_env("ONE_IN", 1),
		.nested_one_in = 40,
		.life_one_in = 10,
	};
	int bad = 0;

	bad += sequences(&crash_shape_one, 1, ALL, &plan);
	bad += sequences(&crash_shape_one, 2, ALL, &plan);
	bad += sequences(&crash_shape_one, 3, CORE, &plan);
	return bad != 0;
}
