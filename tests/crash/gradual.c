// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Gradual commits: short workloads of small writes and syncs on a LUN, all of
 * them, where each sync does a little of one; crashed at each event of the last
 * call.  How much a sync does makes different pairs of calls meet different
 * stages, so several are tried.
 */
#include "crash_sequence.h"
#include "tree/container_gradual.h"

#include <stdio.h>

#define LUN_BYTES (256u << 10)

#define K         UINT64_C(1024)

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
	  .length = 12 * K,
	  .seed = 2 },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 100 * K,
	  .length = 8 * K,
	  .seed = 3 },
	{ .kind = OP_SYNC, .volume = "a" },
};

static const struct crash_op alphabet[] = {
	/* The core: what goes on beside one. */
	{ .kind = OP_SYNC, .volume = "a" },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 12 * K,
	  .length = 4 * K,
	  .seed = 4 },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 8 * K,
	  .length = 24 * K,
	  .seed = 5 },
	/* What ends it: */
	{ .kind = OP_SNAP, .volume = "a", .name = "s1" },
	{ .kind = OP_PUNCH, .volume = "a", .offset = 3 * K, .length = 21 * K },
	{ .kind = OP_COMMIT, .volume = "a" },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 64 * K,
	  .length = 132 * K,
	  .seed = 6 },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 12 * K + 700,
	  .length = 900,
	  .seed = 7 },
	{ .kind = OP_WRITE,
	  .volume = "a/c0",
	  .offset = 4 * K,
	  .length = 4 * K,
	  .seed = 8 },
	{ .kind = OP_RM, .volume = "a/c0" },
	{ .kind = OP_ROLLBACK, .volume = "a", .name = "s0" },
	{ .kind = OP_REOPEN },
	{ .kind = OP_KILL },
};

#define CORE 4u

static const struct crash_op ends[] = {
	{ .kind = OP_SYNC, .volume = "a" },
	{ .kind = OP_COMMIT, .volume = "a" },
	{ .kind = OP_KILL },
};

int main(void)
{
	static const unsigned int works[] = { 5, 12, 1000 };
	const struct crash_plan plan = crash_plan_default();
	const unsigned int some = crash_is_long() ? 1 : 12;
	int bad = 0;

	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
		char name[32];
		const struct crash_alphabet a = {
			name,
			setup,
			sizeof(setup) / sizeof(setup[0]),
			alphabet,
			sizeof(alphabet) / sizeof(alphabet[0]),
			ends,
			sizeof(ends) / sizeof(ends[0]),
		};

		(void)snprintf(name, sizeof(name), "gradual-%u", works[i]);
		cfs_gradual_set(1, works[i]);
		bad += crash_sequences(&a, &crash_shape_one, 2, 0, some, &plan);
		bad += crash_sequences(&a, &crash_shape_two, 4, CORE, some * 3,
				       &plan);
		bad += crash_sequences(&a, &crash_shape_one, 5, CORE, some * 9,
				       &plan);
		bad += crash_ended_sequences(&a, &crash_shape_mirror, 3, CORE,
					     some * 4, &plan);
	}
	cfs_gradual_set(0, 0);
	return bad != 0;
}
