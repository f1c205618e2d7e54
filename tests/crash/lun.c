// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Short workloads on a LUN, all of them: each sequence of calls from a small
 * alphabet, crashed at each event of its last call with each subset of what
 * had not been flushed.
 */
#include "crash_sequence.h"

#define LUN_BYTES (256u << 10)

#define K         UINT64_C(1024)

/* What the sequences begin with: some of it committed, some only logged. */
static const struct crash_op setup[] = {
	{ .kind = OP_CREATE, .volume = "a", .length = LUN_BYTES },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 0,
	  .length = 64 * K,
	  .seed = 1 },
	{ .kind = OP_SNAP, .volume = "a", .name = "s0" },
	{ .kind = OP_CLONE, .volume = "a", .name = "s0", .name2 = "c0" },
	{ .kind = OP_REOPEN },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 8 * K,
	  .length = 8 * K,
	  .seed = 2 },
	{ .kind = OP_SYNC, .volume = "a" },
};

static const struct crash_op alphabet[] = {
	/* The core: triples are made of these. */
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 4 * K,
	  .length = 4 * K,
	  .seed = 3 },
	{ .kind = OP_SYNC, .volume = "a" },
	{ .kind = OP_SNAP, .volume = "a", .name = "s1" },
	{ .kind = OP_COMMIT, .volume = "a" },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 64 * K,
	  .length = 132 * K,
	  .seed = 4 },
	/* The rest. */
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 4 * K + 700,
	  .length = 900,
	  .seed = 5 },
	{ .kind = OP_WRITE,
	  .volume = "a/c0",
	  .offset = 4 * K,
	  .length = 4 * K,
	  .seed = 6 },
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
	{ .kind = OP_KILL },
};

#define CORE 5u

static const struct crash_op ends[] = {
	{ .kind = OP_SYNC, .volume = "a" },
	{ .kind = OP_COMMIT, .volume = "a" },
	{ .kind = OP_KILL },
};

int main(void)
{
	const struct crash_alphabet a = {
		"lun",
		setup,
		sizeof(setup) / sizeof(setup[0]),
		alphabet,
		sizeof(alphabet) / sizeof(alphabet[0]),
		ends,
		sizeof(ends) / sizeof(ends[0]),
	};
	const struct crash_plan plan = crash_plan_default();
	const unsigned int some = crash_is_long() ? 1 : 9;
	int bad = 0;

	bad += crash_sequences(&a, &crash_shape_one, 1, 0, 1, &plan);
	bad += crash_sequences(&a, &crash_shape_two, 1, 0, some, &plan);
	bad += crash_sequences(&a, &crash_shape_one, 2, 0, some, &plan);
	bad += crash_sequences(&a, &crash_shape_one, 3, CORE, some, &plan);
	bad += crash_ended_sequences(&a, &crash_shape_one, 1, 0, some / 2 + 1,
				     &plan);
	bad += crash_ended_sequences(&a, &crash_shape_one, 2, 0, some * 6,
				     &plan);
	if (crash_is_long())
		bad += crash_sequences(&a, &crash_shape_two, 2, 0, 1, &plan);
	return bad != 0;
}
