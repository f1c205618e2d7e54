// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Short workloads on a directory tree, all of them: names, links, bytes and
 * attributes, with snapshots between.
 */
#include "crash_sequence.h"

#define K    UINT64_C(1024)
#define IN_T .volume = "t"

static const struct crash_op setup[] = {
	{ .kind = OP_CREATE, IN_T, .is_tree = true },
	{ .kind = OP_TMKDIR, IN_T, .name = "d" },
	{ .kind = OP_TMKDIR, IN_T, .name = "e" },
	{ .kind = OP_TCREATE, IN_T, .name = "d/f" },
	{ .kind = OP_TWRITE, IN_T, .name = "d/f", .length = 10 * K, .seed = 1 },
	{ .kind = OP_TLINK, IN_T, .name = "d/f", .name2 = "l" },
	{ .kind = OP_TCREATE, IN_T, .name = "big" },
	{ .kind = OP_TWRITE,
	  IN_T,
	  .name = "big",
	  .length = 200 * K,
	  .seed = 2 },
	{ .kind = OP_SNAP, IN_T, .name = "s0" },
	{ .kind = OP_REOPEN },
	{ .kind = OP_TCREATE, IN_T, .name = "g" },
	{ .kind = OP_TWRITE, IN_T, .name = "g", .length = 5000, .seed = 3 },
	{ .kind = OP_SYNC, IN_T },
};

static const struct crash_op alphabet[] = {
	/* The core: triples are made of these. */
	{ .kind = OP_SYNC, IN_T },
	{ .kind = OP_TCREATE, IN_T, .name = "d/n" },
	{ .kind = OP_TRENAME, IN_T, .name = "g", .name2 = "d/f" },
	{ .kind = OP_TUNLINK, IN_T, .name = "d/f" },
	{ .kind = OP_COMMIT, IN_T },
	/* The rest. */
	{ .kind = OP_TWRITE,
	  IN_T,
	  .name = "d/f",
	  .offset = 3000,
	  .length = 4 * K,
	  .seed = 4 },
	{ .kind = OP_TWRITE,
	  IN_T,
	  .name = "g",
	  .offset = 12 * K,
	  .length = 140 * K,
	  .seed = 5 },
	{ .kind = OP_TRENAME, IN_T, .name = "d", .name2 = "e" },
	{ .kind = OP_TRENAME, IN_T, .name = "d/f", .name2 = "e/h" },
	{ .kind = OP_TLINK, IN_T, .name = "g", .name2 = "e/i" },
	{ .kind = OP_TUNLINK, IN_T, .name = "big" },
	{ .kind = OP_TMKDIR, IN_T, .name = "d/k" },
	{ .kind = OP_TRMDIR, IN_T, .name = "e" },
	{ .kind = OP_TTRUNCATE, IN_T, .name = "big", .length = 5000 },
	{ .kind = OP_TTRUNCATE, IN_T, .name = "g", .length = 90000 },
	{ .kind = OP_TXATTR, IN_T, .name = "g", .length = 200, .seed = 6 },
	{ .kind = OP_TSYMLINK, IN_T, .name = "y", .name2 = "d/f" },
	{ .kind = OP_TPUNCH,
	  IN_T,
	  .name = "big",
	  .offset = 5000,
	  .length = 100 * K },
	{ .kind = OP_SNAP, IN_T, .name = "s1" },
	{ .kind = OP_ROLLBACK, IN_T, .name = "s0" },
	{ .kind = OP_CLONE, IN_T, .name = "s0", .name2 = "c" },
	{ .kind = OP_TUNLINK, .volume = "t/c", .name = "l" },
	{ .kind = OP_REOPEN },
	{ .kind = OP_KILL },
};

#define CORE 5u

static const struct crash_op ends[] = {
	{ .kind = OP_SYNC, IN_T },
	{ .kind = OP_COMMIT, IN_T },
	{ .kind = OP_KILL },
};

int main(void)
{
	const struct crash_alphabet a = {
		"tree",
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
