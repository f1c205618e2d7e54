// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A mirror after a crash: one piece ahead of the other, a device lost before
 * or after recovery, and coming back.  What was acknowledged is on each piece;
 * what was seen once is seen by whoever is left; a device that missed writes
 * is never taken for the truth.
 */
#include "crash_sequence.h"

#include "base/cleanup.h"

#include <assert.h>
#include <inttypes.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define K        UINT64_C(1024)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct crash_op setup[] = {
	{ .kind = OP_CREATE, .volume = "a", .length = 256 * K },
	{ .kind = OP_WRITE, .volume = "a", .length = 64 * K, .seed = 1 },
	{ .kind = OP_SNAP, .volume = "a", .name = "s0" },
	{ .kind = OP_CREATE, .volume = "t", .is_tree = true },
	{ .kind = OP_TCREATE, .volume = "t", .name = "f" },
	{ .kind = OP_REOPEN },
};

static const struct crash_op calls[] = {
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 4 * K,
	  .length = 8 * K,
	  .seed = 2 },
	{ .kind = OP_SYNC, .volume = "a" },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 64 * K,
	  .length = 132 * K,
	  .seed = 3 },
	{ .kind = OP_SYNC, .volume = "a" },
	{ .kind = OP_SNAP, .volume = "a", .name = "s1" },
	{ .kind = OP_TWRITE,
	  .volume = "t",
	  .name = "f",
	  .length = 9000,
	  .seed = 4 },
	{ .kind = OP_SYNC, .volume = "t" },
	{ .kind = OP_PUNCH, .volume = "a", .offset = 3 * K, .length = 21 * K },
	{ .kind = OP_SYNC, .volume = "a" },
	{ .kind = OP_CLONE, .volume = "a", .name = "s0", .name2 = "c" },
	{ .kind = OP_ROLLBACK, .volume = "a", .name = "s0", .name2 = "s2" },
	{ .kind = OP_COMMIT, .volume = "a" },
	{ .kind = OP_TRENAME, .volume = "t", .name = "f", .name2 = "g" },
	{ .kind = OP_COMMIT, .volume = "t" },
	{ .kind = OP_SNAP_RM, .volume = "a", .name = "s1" },
	{ .kind = OP_CREATE, .volume = "b", .length = 64 * K },
	{ .kind = OP_RM, .volume = "b" },
	{ .kind = OP_REOPEN },
};

/* The unflushed writes of one device, as a mask over all of them. */
static uint64_t mask_of(const struct crash_story *st, size_t event_count,
			unsigned int device)
{
	size_t flushed[CRASH_DEVICES_MAX] = { 0 };
	unsigned int n = 0;
	uint64_t mask = 0;

	for (size_t i = 0; i < event_count; i++) {
		struct cfs_sim_event e = cfs_sim_event(st->w.sim, i);

		if (e.kind == CFS_SIM_FLUSH)
			flushed[e.device_index] = i + 1;
	}
	for (size_t i = 0; i < event_count && n < 64; i++) {
		struct cfs_sim_event e = cfs_sim_event(st->w.sim, i);

		if (e.kind != CFS_SIM_WRITE || i < flushed[e.device_index])
			continue;
		if (e.device_index == device)
			mask |= UINT64_C(1) << n;
		n++;
	}
	return mask;
}

/* A state as of @w, which is closed. */
static void fork_world(const struct crash_world *w, struct crash_world *ret)
{
	const struct cfs_sim_crash all = {
		.event_count = cfs_sim_event_count(w->sim),
		.seed = UINT64_MAX,
	};
	struct cfs_err err = CFS_ERR_INIT;
	int r = crash_world_fork(w, &all, ret, &err);

	assert(r == 0);
}

/* @w, closed, loses @device; lives without it; gets it back as it was. */
static int lose(const struct crash_story *st, const struct crash_world *w,
		unsigned int device, const struct crash_window *window,
		struct cfs_buf *why)
{
	const struct crash_op snap = { .kind = OP_SNAP,
				       .volume = "t",
				       .name = "alone" };
	struct crash_window now = *window;
	struct cfs_err err = CFS_ERR_INIT;
	struct crash_view before = { .count = 0 }, after = { .count = 0 };
	struct crash_world left;
	int r;

	fork_world(w, &left);
	left.absent = 1u << device;
	r = crash_story_look(st, &left, &now, "with one device", why);
	/* What it does alone the other one must not undo. */
	if (r == 0)
		r = crash_session_apply(left.s, &snap, &err);
	if (r == 0)
		r = crash_view_get(left.s, &before, &err);
	if (r == 0)
		r = crash_world_close(&left, &err);
	crash_world_drop(&left);
	left.absent = 0;
	if (r == 0)
		r = crash_world_open(&left, &err);
	if (r == 0)
		r = crash_view_get(left.s, &after, &err);
	for (size_t i = 0; r == 0 && i < before.count; i++)
		if (i >= after.count ||
		    strcmp(before.texts[i], after.texts[i]) != 0)
			r = cfs_err_set(&err, -EUCLEAN,
					"it shows another "
					"state when the device is back");
	if (r == 0)
		r = crash_world_close(&left, &err);
	if (r < 0)
		cfs_buf_printf(why, "device %u lost: %s\n", device, err.msg);
	crash_view_done(&before);
	crash_view_done(&after);
	crash_world_done(&left);
	return r;
}

/* Nothing is damaged: a crash between the pieces of a page is none. */
static int scrub(struct crash_world *w, struct cfs_buf *why)
{
	struct cfs_err err = CFS_ERR_INIT;
	int r = crash_session_scrub(w->s, &err);

	if (r < 0)
		cfs_buf_printf(why, "with both: %s\n", err.msg);
	return r;
}

static int judge_lost(const struct crash_story *st, struct crash_world *w,
		      const struct crash_window *window, struct cfs_buf *why)
{
	struct crash_window now = *window;
	int r = 0;

	for (unsigned int d = 0; r == 0 && d < 2; d++)
		r = lose(st, w, d, window, why);
	if (r == 0)
		r = crash_story_look(st, w, &now, "with both", why);
	if (r == 0)
		r = scrub(w, why);
	crash_world_drop(w);
	for (unsigned int d = 0; r == 0 && d < 2; d++)
		r = lose(st, w, d, &now, why);
	if (r < 0)
		cfs_buf_printf(why, "(lost %s recovery)\n",
			       w->s ? "before" : "before or behind");
	return r;
}

static int judge(struct crash_story *st, const struct cfs_sim_crash *crash)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf why = CFS_BUF_INIT;
	const struct crash_window window = crash_story_window(
		st, crash->event_count);
	struct cfs_err err = CFS_ERR_INIT;
	struct crash_world w;
	char where[128];
	int r = crash_world_fork(&st->w, crash, &w, &err);

	assert(r == 0);
	st->judged++;
	r = judge_lost(st, &w, &window, &why);
	crash_world_done(&w);
	if (r == 0)
		return 0;
	snprintf(where, sizeof(where), "crash after event %zu, %s %#" PRIx64,
		 crash->event_count, crash->use_mask ? "mask" : "seed",
		 crash->use_mask ? crash->mask : crash->seed);
	crash_story_complain(st, where, cfs_buf_text(&why));
	crash_story_tell_events(st, crash->event_count);
	return r;
}

static int judge_event(struct crash_story *st, size_t event, uint64_t seed)
{
	struct cfs_sim_crash crash = { .event_count = event };
	int r = 0;

	/* One piece has all, the other none. */
	crash.use_mask = true;
	for (unsigned int d = 0; r == 0 && d < 2; d++) {
		crash.mask = mask_of(st, event, d);
		r = judge(st, &crash);
	}
	crash.use_mask = false;
	crash.seed = seed + event;
	if (r == 0 && cfs_sim_unflushed_count(st->w.sim, event))
		r = judge(st, &crash);
	return r;
}

int main(void)
{
	const struct crash_plan plan = crash_plan_default();
	const uint64_t one_in = crash_is_long() ? 1 : 2;
	struct crash_story st;
	int bad = 0, r = crash_story_init(&st, &crash_shape_mirror);

	for (unsigned int i = 0; r == 0 && i < COUNT(setup); i++)
		r = crash_story_do(&st, &setup[i]);
	for (unsigned int i = 0; r == 0 && i < COUNT(calls); i++)
		r = crash_story_do(&st, &calls[i]);
	crash_story_kill(&st);
	bad += r < 0;
	for (size_t i = st.steps[COUNT(setup) - 1].event_end;
	     r == 0 && i <= cfs_sim_event_count(st.w.sim) && bad < 3; i++)
		if ((i + plan.seed) % one_in == 0)
			bad += judge_event(&st, i, plan.seed) < 0;
	crash_report(bad == 0, "mirror-device-lost: %" PRIu64 " crashes",
		     st.judged);
	crash_story_done(&st);
	return bad != 0;
}
