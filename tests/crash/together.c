// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Snapshots of volumes in several containers, taken at one moment: whatever a
 * crash or a failing device does, afterwards all of them are there or none,
 * also for who only reads, and if a recovery is crashed in its turn.  Where
 * there is none their names are free.
 */
#include "crash_sequence.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define K        UINT64_C(1024)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct crash_op setup[] = {
	{ .kind = OP_CREATE, .volume = "a", .length = 256 * K },
	{ .kind = OP_WRITE, .volume = "a", .length = 64 * K, .seed = 1 },
	{ .kind = OP_SNAP, .volume = "a", .name = "s0" },
	{ .kind = OP_CLONE, .volume = "a", .name = "s0", .name2 = "c" },
	{ .kind = OP_CREATE, .volume = "t", .is_tree = true },
	{ .kind = OP_TCREATE, .volume = "t", .name = "f" },
	{ .kind = OP_CREATE, .volume = "b", .length = 128 * K },
	{ .kind = OP_REOPEN },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 4 * K,
	  .length = 8 * K,
	  .seed = 2 },
	{ .kind = OP_TWRITE,
	  .volume = "t",
	  .name = "f",
	  .length = 9000,
	  .seed = 3 },
	{ .kind = OP_WRITE,
	  .volume = "b",
	  .offset = 32 * K,
	  .length = 4 * K,
	  .seed = 4 },
};

/* Then nothing waits in memory when the snapshots are taken. */
static const struct crash_op syncs[] = {
	{ .kind = OP_SYNC, .volume = "a" },
	{ .kind = OP_COMMIT, .volume = "t" },
	{ .kind = OP_SYNC, .volume = "b" },
};

static const struct cfs_snap_name two_names[] = {
	{ "t", "x" },
	{ "a", "x" },
};
static const struct cfs_snap_name four_names[] = {
	{ "b", "x" },
	{ "a", "x" },
	{ "t", "x" },
	{ "a/c", "x" },
};

struct scenario {
	const char *name;
	const struct cfs_snap_name *names;
	size_t count;
	bool is_synced;
};

static const struct scenario scenarios[] = {
	{ "two", two_names, COUNT(two_names), false },
	{ "two-synced", two_names, COUNT(two_names), true },
	{ "four", four_names, COUNT(four_names), false },
	{ "four-synced", four_names, COUNT(four_names), true },
};

struct trial {
	const struct scenario *sc;
	struct crash_world w; /* closed when it is judged */
	struct crash_view before, after;
	size_t first, acked; /* events */
	uint64_t judged, all, nested;
	uint64_t seed;
};

/* ---- what there is ------------------------------------------------------- */

static int count_x(void *arg, const struct cfs_snapshot_info *info)
{
	size_t *n = arg;

	*n += strcmp(info->name, "x") == 0;
	return 0;
}

static bool is_same(const struct crash_view *a, const struct crash_view *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->texts[i], b->texts[i]) != 0)
			return false;
	return true;
}

/* All of them or none, and what belongs to that; @w is open. */
static int look(const struct trial *t, struct crash_world *w, bool *ret_all,
		struct cfs_err *err)
{
	struct crash_view view;
	size_t n = 0;
	int r = cfs_session_snapshots(w->s, NULL, false, count_x, &n, err);

	if (r < 0)
		return r;
	if (n != 0 && n != t->sc->count)
		return cfs_err_set(err, -EUCLEAN, "%zu of %zu snapshots", n,
				   t->sc->count);
	*ret_all = n > 0;
	r = crash_view_get(w->s, &view, err);
	if (r < 0)
		return r;
	if (n > 0 && !is_same(&view, &t->after))
		r = cfs_err_set(err, -EUCLEAN, "it is not what was taken");
	if (n == 0 && t->sc->is_synced && !is_same(&view, &t->before))
		r = cfs_err_set(err, -EUCLEAN, "it is not what was before");
	crash_view_done(&view);
	return r < 0 ? r : crash_session_check(w->s, err);
}

static int open_and_look(const struct trial *t, struct crash_world *w,
			 bool *ret_all, struct cfs_err *err)
{
	int r = crash_world_open(w, err);

	return r < 0 ? r : look(t, w, ret_all, err);
}

static int must_be(bool all, bool want, const char *when, struct cfs_err *err)
{
	if (all == want)
		return 0;
	return cfs_err_set(err, -EUCLEAN, "%s: %s", when,
			   all ? "all, not none" : "none, not all");
}

/* ---- one crash ----------------------------------------------------------- */

static int judge_readonly(const struct trial *t, struct crash_world *w,
			  bool *ret_all, struct cfs_err *err)
{
	int r;

	w->is_readonly = true;
	r = open_and_look(t, w, ret_all, err);
	crash_world_drop(w);
	w->is_readonly = false;
	if (r == 0 && cfs_sim_event_count(w->sim) != 0)
		r = cfs_err_set(err, -EUCLEAN, "a reader has written");
	return r < 0 ? cfs_err_wrap(err, r, "read only") : 0;
}

/* A recovery that is crashed comes to the same end. */
static int judge_nested(struct trial *t, const struct crash_world *w, bool all,
			struct cfs_err *err)
{
	size_t count = cfs_sim_event_count(w->sim);
	size_t step = crash_is_long() ? 1 : 1 + count / 8;
	int r = 0;

	for (size_t n = 1 + t->judged % step; r == 0 && n <= count; n += step) {
		const struct cfs_sim_crash crash = {
			.event_count = n,
			.seed = n % 3 == 0   ? 0
				: n % 3 == 1 ? UINT64_MAX
					     : n,
		};
		struct crash_world inner;
		bool inner_all = false;

		r = crash_world_fork(w, &crash, &inner, err);
		if (r == 0)
			r = open_and_look(t, &inner, &inner_all, err);
		if (r == 0)
			r = must_be(inner_all, all, "then", err);
		crash_world_done(&inner);
		if (r < 0)
			cfs_err_wrap(err, r, "recovery crashed at %zu of %zu",
				     n, count);
		t->nested++;
	}
	return r;
}

/* Names that are free can be taken; all of it stays. */
static int judge_life(const struct trial *t, struct crash_world *w, bool all,
		      struct cfs_err *err)
{
	int r = cfs_session_snap_take(w->s, t->sc->names, t->sc->count, NULL,
				      err);

	if (all)
		r = r == -EEXIST ? 0
				 : cfs_err_set(err, -EUCLEAN, "taken twice");
	if (r == 0)
		r = crash_world_close(w, err);
	if (r == 0)
		r = crash_world_open(w, err);
	if (r == 0 && (all || t->sc->is_synced))
		r = look(t, w, &all, err);
	return r < 0 ? cfs_err_wrap(err, r, "later")
		     : must_be(all, true, "later", err);
}

static int judge_world(struct trial *t, struct crash_world *w, bool is_acked,
		       bool is_nested, struct cfs_err *err)
{
	bool all = false, seen = false;
	int r = judge_readonly(t, w, &seen, err);

	if (r == 0)
		r = open_and_look(t, w, &all, err);
	if (r == 0)
		r = must_be(all, seen, "a reader saw another", err);
	if (r == 0 && is_acked)
		r = must_be(all, true, "acknowledged", err);
	t->all += all;
	if (r == 0 && is_nested) {
		crash_world_drop(w);
		r = judge_nested(t, w, all, err);
		if (r == 0)
			r = open_and_look(t, w, &seen, err);
		if (r == 0)
			r = must_be(seen, all, "killed behind that", err);
	}
	/* Without a sync before, the heads may be what they like. */
	return r < 0 || (!all && !t->sc->is_synced)
		       ? r
		       : judge_life(t, w, all, err);
}

static int judge(struct trial *t, const struct cfs_sim_crash *crash)
{
	const bool is_acked = crash->event_count >= t->acked;
	struct cfs_err err = CFS_ERR_INIT;
	struct crash_world w;
	int r = crash_world_fork(&t->w, crash, &w, &err);

	if (r == 0)
		r = judge_world(t, &w, is_acked,
				crash_is_long() ||
					(!is_acked && t->judged % 3 == 0),
				&err);
	crash_world_done(&w);
	t->judged++;
	if (r < 0)
		printf("# %s, pool %s: crash after event %zu (%zu..%zu), %s %#" PRIx64
		       ": %s\n",
		       t->sc->name, t->w.shape->name, crash->event_count,
		       t->first, t->acked, crash->use_mask ? "mask" : "seed",
		       crash->use_mask ? crash->mask : crash->seed, err.msg);
	return r;
}

/* Every subset of what was not flushed; where those are many, torn ones. */
static int judge_event(struct trial *t, size_t event)
{
	const size_t mask_max = crash_is_long() ? 6 : 4;
	size_t n = cfs_sim_unflushed_count(t->w.sim, event);
	struct cfs_sim_crash crash = { .event_count = event };
	int r = 0;

	/* Behind it, a sample: that is about commits, as everywhere. */
	if (event > t->acked && !crash_is_long()) {
		crash.seed = t->seed * 1000 + event;
		return event % 8 ? 0 : judge(t, &crash);
	}
	crash.use_mask = n <= mask_max;
	for (; r == 0 && crash.use_mask && crash.mask >> n == 0; crash.mask++)
		r = judge(t, &crash);
	crash.use_mask = false;
	crash.seed = UINT64_MAX;
	if (r == 0 && n > mask_max)
		r = judge(t, &crash);
	crash.seed = 0;
	if (r == 0 && n > mask_max)
		r = judge(t, &crash);
	for (uint64_t i = 1; r == 0 && n > 0 && i <= 2; i++) {
		crash.seed = t->seed * 1000 + event * 2 + i;
		r = judge(t, &crash);
	}
	return r;
}

/* ---- trials -------------------------------------------------------------- */

static int apply(struct crash_world *w, const struct crash_op *ops,
		 size_t count, struct cfs_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = crash_world_apply(w, &ops[i], err);
	return r;
}

/* The pool, open, ready for the snapshots. */
static int prepare(struct trial *t, const struct scenario *sc,
		   const struct crash_shape *shape, struct cfs_err *err)
{
	int r;

	*t = (struct trial){ .sc = sc, .seed = crash_env("SEED", 1) };
	r = crash_world_init(&t->w, shape, err);
	if (r == 0)
		r = crash_world_open(&t->w, err);
	if (r == 0)
		r = apply(&t->w, setup, COUNT(setup), err);
	if (r == 0 && sc->is_synced)
		r = apply(&t->w, syncs, COUNT(syncs), err);
	return r < 0 ? r : crash_view_get(t->w.s, &t->before, err);
}

static void trial_done(struct trial *t)
{
	crash_world_done(&t->w);
	crash_view_done(&t->before);
	crash_view_done(&t->after);
}

static int crashes(const struct scenario *sc, const struct crash_shape *shape)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct trial t;
	int r = prepare(&t, sc, shape, &err);

	t.first = cfs_sim_event_count(t.w.sim);
	if (r == 0)
		r = cfs_session_snap_take(t.w.s, sc->names, sc->count, "note",
					  &err);
	t.acked = cfs_sim_event_count(t.w.sim);
	if (r == 0)
		r = crash_view_get(t.w.s, &t.after, &err);
	if (r == 0)
		r = crash_world_close(&t.w, &err);
	if (r < 0)
		printf("# %s: %s\n", sc->name, err.msg);
	for (size_t i = t.first; r == 0 && i <= cfs_sim_event_count(t.w.sim);
	     i++)
		r = judge_event(&t, i);
	crash_report(r == 0,
		     "together-%s-%s: %" PRIu64 " crashes, %" PRIu64
		     " with all, %" PRIu64 " of recoveries",
		     sc->name, shape->name, t.judged, t.all, t.nested);
	trial_done(&t);
	return r < 0;
}

/* ---- failures ------------------------------------------------------------ */

/* One call of a device fails while they are taken.  1: none was hit. */
static int fail_once(const struct trial *t, const struct cfs_sim_fault *fault,
		     bool is_killed, struct cfs_err *err)
{
	const struct cfs_sim_crash all_of_it = {
		.event_count = cfs_sim_event_count(t->w.sim),
		.seed = UINT64_MAX,
	};
	struct crash_world w;
	bool was_hit, all = false;
	int r = crash_world_fork(&t->w, &all_of_it, &w, err), taken = 0;

	if (r == 0)
		r = crash_world_open(&w, err);
	/* They are open: what fails is the call. */
	if (r == 0)
		r = look(t, &w, &all, err);
	if (r == 0) {
		cfs_sim_fault_arm(w.sim, fault);
		taken = cfs_session_snap_take(w.s, t->sc->names, t->sc->count,
					      NULL, NULL);
		was_hit = cfs_sim_fault_was_hit(w.sim);
		cfs_sim_fault_disarm(w.sim);
		if (is_killed)
			crash_world_drop(&w);
		else
			(void)crash_world_close(&w, NULL);
		r = open_and_look(t, &w, &all, err);
		if (r == 0 && taken == 0)
			r = must_be(all, true, "it succeeded", err);
		if (r == 0)
			r = judge_life(t, &w, all, err);
		if (r == 0)
			r = !was_hit;
	}
	crash_world_done(&w);
	return r;
}

static int failures(const struct scenario *sc, const struct crash_shape *shape)
{
	static const struct cfs_sim_fault faults[] = {
		{ .code = -EIO },
		{ .code = -EIO, .is_sticky = true },
		{ .code = -EIO, .is_partial = true },
	};
	struct cfs_err err = CFS_ERR_INIT;
	struct trial t;
	uint64_t tried = 0;
	int r = prepare(&t, sc, shape, &err);

	if (r == 0)
		r = crash_world_close(&t.w, &err);
	if (r == 0) {
		const struct cfs_sim_crash all_of_it = {
			.event_count = cfs_sim_event_count(t.w.sim),
			.seed = UINT64_MAX,
		};
		struct crash_world w;

		/* What it is if nothing fails. */
		r = crash_world_fork(&t.w, &all_of_it, &w, &err);
		if (r == 0)
			r = crash_world_open(&w, &err);
		if (r == 0)
			r = cfs_session_snap_take(w.s, sc->names, sc->count,
						  NULL, &err);
		if (r == 0)
			r = crash_view_get(w.s, &t.after, &err);
		crash_world_done(&w);
	}
	for (size_t f = 0; r == 0 && f < 2 * COUNT(faults); f++) {
		struct cfs_sim_fault fault = faults[f / 2];

		while (r == 0) {
			r = fail_once(&t, &fault, f % 2, &err);
			tried++;
			fault.call_index++;
		}
		r = r == 1 ? 0 : r;
		if (r < 0)
			printf("# fault %zu at call %" PRIu64 "\n", f,
			       fault.call_index - 1);
	}
	if (r < 0)
		printf("# %s, pool %s: %s\n", sc->name, shape->name, err.msg);
	crash_report(r == 0, "together-failing-%s-%s: %" PRIu64 " failures",
		     sc->name, shape->name, tried);
	trial_done(&t);
	return r < 0;
}

/* ---- cost ---------------------------------------------------------------- */

/* Of one container, however many: one write and one flush. */
static int cost(void)
{
	static const struct cfs_snap_name names[] = {
		{ "a", "x" },
		{ "a/c", "x" },
	};
	static const struct scenario sc = { "cost", names, 1, false };
	struct cfs_err err = CFS_ERR_INIT;
	size_t event = 0, writes = 0, flushes = 0;
	struct trial t;
	int r = prepare(&t, &sc, &crash_shape_one, &err);

	event = cfs_sim_event_count(t.w.sim);
	if (r == 0)
		r = cfs_session_snap_take(t.w.s, names, COUNT(names), NULL,
					  &err);
	for (; event < cfs_sim_event_count(t.w.sim); event++) {
		struct cfs_sim_event e = cfs_sim_event(t.w.sim, event);

		writes += e.kind == CFS_SIM_WRITE;
		flushes += e.kind == CFS_SIM_FLUSH;
	}
	if (r < 0)
		printf("# %s\n", err.msg);
	r = r == 0 && writes == 1 && flushes == 1;
	crash_report(r, "together-in-one-container: %zu writes, %zu flushes",
		     writes, flushes);
	trial_done(&t);
	return !r;
}

int main(void)
{
	static const struct crash_shape *const shapes[] = {
		&crash_shape_one,
		&crash_shape_two,
		&crash_shape_mirror,
	};
	int bad = cost();

	for (size_t i = 0; i < COUNT(scenarios); i++)
		for (size_t k = 0; k < COUNT(shapes); k++)
			bad += crashes(&scenarios[i], shapes[k]);
	for (size_t k = 0; k < COUNT(shapes); k++)
		bad += failures(&scenarios[3], shapes[k]);
	return bad != 0;
}
