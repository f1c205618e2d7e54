// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Every device call failed once: a scenario is repeated with its first,
 * second, ... call failing, until none is hit.  A call of ours must then fail
 * with a message or have been done; what was acknowledged, before and after,
 * is found by the next open, and the check is clean.
 */
#include "crash_sequence.h"

#include <inttypes.h>
#include <stdio.h>

#define K        UINT64_C(1024)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct crash_op setup[] = {
	{ .kind = OP_CREATE, .volume = "a", .length = 256 * K },
	{ .kind = OP_WRITE, .volume = "a", .length = 80 * K, .seed = 1 },
	{ .kind = OP_SNAP, .volume = "a", .name = "s0" },
	{ .kind = OP_CREATE, .volume = "t", .is_tree = true },
	{ .kind = OP_TMKDIR, .volume = "t", .name = "d" },
	{ .kind = OP_TCREATE, .volume = "t", .name = "d/f" },
	{ .kind = OP_TWRITE,
	  .volume = "t",
	  .name = "d/f",
	  .length = 20 * K,
	  .seed = 2 },
};

static const struct crash_op data_calls[] = {
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 4 * K,
	  .length = 8 * K,
	  .seed = 3 },
	{ .kind = OP_SYNC, .volume = "a" },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 20 * K + 5,
	  .length = 700,
	  .seed = 4 },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 64 * K,
	  .length = 140 * K,
	  .seed = 5 },
	{ .kind = OP_SYNC, .volume = "a" },
	{ .kind = OP_PUNCH, .volume = "a", .offset = 3 * K, .length = 70 * K },
	{ .kind = OP_COMMIT, .volume = "a" },
	{ .kind = OP_RESIZE, .volume = "a", .length = 32 * K },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 0,
	  .length = 4 * K,
	  .seed = 6 },
	{ .kind = OP_SYNC, .volume = "a" },
	{ .kind = OP_REOPEN },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 8 * K,
	  .length = 4 * K,
	  .seed = 7 },
	{ .kind = OP_SYNC, .volume = "a" },
};

static const struct crash_op version_calls[] = {
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 4 * K,
	  .length = 8 * K,
	  .seed = 3 },
	{ .kind = OP_SNAP, .volume = "a", .name = "s1" },
	{ .kind = OP_CLONE, .volume = "a", .name = "s0", .name2 = "c" },
	{ .kind = OP_WRITE,
	  .volume = "a/c",
	  .offset = 0,
	  .length = 4 * K,
	  .seed = 4 },
	{ .kind = OP_ROLLBACK, .volume = "a", .name = "s0", .name2 = "s2" },
	{ .kind = OP_SNAP_RM, .volume = "a", .name = "s1" },
	{ .kind = OP_RM, .volume = "a/c" },
	{ .kind = OP_CREATE, .volume = "b", .length = 64 * K },
	{ .kind = OP_RENAME, .volume = "b", .name = "b2" },
	{ .kind = OP_TRIM, .volume = "a" },
	{ .kind = OP_RM, .volume = "a" },
	{ .kind = OP_REOPEN },
};

static const struct crash_op tree_calls[] = {
	{ .kind = OP_TCREATE, .volume = "t", .name = "d/g" },
	{ .kind = OP_TWRITE,
	  .volume = "t",
	  .name = "d/g",
	  .length = 150 * K,
	  .seed = 3 },
	{ .kind = OP_SYNC, .volume = "t" },
	{ .kind = OP_TLINK, .volume = "t", .name = "d/g", .name2 = "h" },
	{ .kind = OP_TRENAME, .volume = "t", .name = "h", .name2 = "d/f" },
	{ .kind = OP_TXATTR,
	  .volume = "t",
	  .name = "d/g",
	  .length = 100,
	  .seed = 4 },
	{ .kind = OP_COMMIT, .volume = "t" },
	{ .kind = OP_TTRUNCATE, .volume = "t", .name = "d/g", .length = 3000 },
	{ .kind = OP_TUNLINK, .volume = "t", .name = "d/f" },
	{ .kind = OP_SYNC, .volume = "t" },
	{ .kind = OP_TUNLINK, .volume = "t", .name = "d/g" },
	{ .kind = OP_TRMDIR, .volume = "t", .name = "d" },
	{ .kind = OP_REOPEN },
};

struct scenario {
	const char *name;
	const struct crash_op *calls;
	unsigned int count;
};

static const struct scenario scenarios[] = {
	{ "data", data_calls, COUNT(data_calls) },
	{ "versions", version_calls, COUNT(version_calls) },
	{ "tree", tree_calls, COUNT(tree_calls) },
};

struct mode {
	const char *name;
	struct cfs_sim_fault fault;
};

static const struct mode modes[] = {
	{ "once", { .code = -EIO } },
	{ "for-good", { .code = -EIO, .is_sticky = true } },
	{ "partly", { .code = -EIO, .is_partial = true } },
	{ "no-space", { .code = -ENOSPC } },
};

/* What is left, with and without what was not flushed. */
static int judge(struct crash_story *st, uint64_t salt)
{
	const uint64_t seeds[] = { UINT64_MAX, 0, salt + 1 };
	const struct crash_plan plan = { .seed = salt,
					 .again_one_in = 2,
					 .life_one_in = 10 };
	size_t count = cfs_sim_event_count(st->w.sim);
	const struct crash_window window = crash_story_window(st, SIZE_MAX);
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < COUNT(seeds); i++) {
		const struct cfs_sim_crash crash = {
			.event_count = count,
			.seed = seeds[i],
		};

		r = crash_story_judge(st, &crash, &window, &plan);
	}
	return r;
}

/* 1: the fault was hit; 0: there are not so many calls. */
static int one_fault(const struct crash_story *base, const struct scenario *s,
		     const struct cfs_sim_fault *fault, uint64_t *judged)
{
	struct crash_story st;
	bool was_hit;
	int r = crash_story_fork(base, &st);

	st.tolerates = true;
	cfs_sim_fault_arm(st.w.sim, fault);
	if (r == 0)
		r = crash_story_open(&st);
	for (unsigned int i = 0; r == 0 && i < s->count && !st.is_over; i++)
		r = crash_story_do(&st, &s->calls[i]);
	crash_story_kill(&st);
	was_hit = cfs_sim_fault_was_hit(st.w.sim);
	cfs_sim_fault_disarm(st.w.sim);
	if (r == 0 && was_hit)
		r = judge(&st, fault->call_index);
	if (r < 0)
		printf("# with call %" PRIu64 " failing%s%s\n",
		       fault->call_index, fault->is_sticky ? " for good" : "",
		       fault->is_partial ? " partly" : "");
	*judged += st.judged;
	crash_story_done(&st);
	return r < 0 ? r : was_hit;
}

static int sweep(const struct crash_story *base, const struct scenario *s,
		 const struct mode *mode, unsigned int stride)
{
	struct cfs_sim_fault fault = mode->fault;
	uint64_t judged = 0, only = crash_env("CALL", UINT64_MAX);
	int r = 1, bad = 0;

	fault.call_index = only != UINT64_MAX ? only
					      : crash_env("SEED", 0) % stride;
	for (; r != 0 && bad < 3; fault.call_index += stride) {
		r = one_fault(base, s, &fault, &judged);
		bad += r < 0;
		if (only != UINT64_MAX)
			break;
	}
	crash_report(bad == 0,
		     "faults-%s-%s-%s: calls up to %" PRIu64 ", %" PRIu64
		     " states",
		     base->w.shape->name, s->name, mode->name, fault.call_index,
		     judged);
	return bad;
}

static int sweep_shape(const struct crash_shape *shape, unsigned int stride)
{
	struct crash_story base;
	int r = crash_story_init(&base, shape), bad = 0;

	for (unsigned int i = 0; r == 0 && i < COUNT(setup); i++)
		r = crash_story_do(&base, &setup[i]);
	if (r == 0)
		r = crash_world_close(&base.w, NULL);
	bad += r < 0;
	for (unsigned int i = 0; r == 0 && i < COUNT(scenarios); i++)
		for (unsigned int k = 0; k < COUNT(modes); k++)
			bad += sweep(&base, &scenarios[i], &modes[k], stride);
	crash_story_done(&base);
	return bad;
}

int main(void)
{
	const unsigned int few = crash_is_long() ? 1 : 4;
	const unsigned int one_in = (unsigned int)crash_env("ONE_IN", 1);
	const unsigned int stride = one_in *
				    (unsigned int)crash_env(
					    "STRIDE", crash_is_long() ? 1 : 3);
	int bad = 0;

	bad += sweep_shape(&crash_shape_one, stride);
	bad += sweep_shape(&crash_shape_mirror, stride * few);
	return bad != 0;
}
