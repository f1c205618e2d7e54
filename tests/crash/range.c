// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Many snapshots of a volume, on two branches, removed at once: after a crash
 * all of them are there or none, whole, and what stays is as it was.  It takes
 * no more flushes than fewer of them do, and gives back what removing them one
 * by one would.
 */
#include "crash_sequence.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define K        UINT64_C(1024)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const names[] = {
	"s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8",
};

static int apply(struct crash_world *w, const struct crash_op *op,
		 struct cfs_err *err)
{
	return crash_world_apply(w, op, err);
}

/* Versions that die at different snapshots; behind s5 another branch. */
static int tell(struct crash_world *w, struct cfs_err *err)
{
	struct crash_op op = { .kind = OP_CREATE,
			       .volume = "a",
			       .length = 256 * K };
	int r = apply(w, &op, err);

	for (unsigned int i = 0; r == 0 && i < 10; i++) {
		op.kind = OP_WRITE;
		op.seed = i + 1;
		op.offset = i % 4 * 8 * K;
		op.length = (4 + 4 * (i % 3)) * K;
		r = apply(w, &op, err);
		op.kind = OP_SNAP;
		snprintf(op.name, sizeof(op.name), "s%u", i);
		if (r == 0)
			r = apply(w, &op, err);
		op.kind = OP_ROLLBACK;
		strcpy(op.name, "s4");
		if (r == 0 && i == 5)
			r = apply(w, &op, err);
	}
	op.kind = OP_REOPEN;
	return r < 0 ? r : apply(w, &op, err);
}

static bool is_same(const struct crash_view *a, const struct crash_view *b)
{
	return a->count == 1 && b->count == 1 &&
	       strcmp(a->texts[0], b->texts[0]) == 0;
}

struct life {
	struct crash_world w;
	struct crash_view before, after;
	size_t begun, done; /* events */
	uint64_t freed[COUNT(names)];
};

/* The pool, and @count of the snapshots removed, at once or not. */
static int live(struct life *l, const struct crash_shape *shape, size_t count,
		bool at_once, struct cfs_err *err)
{
	int r;

	*l = (struct life){ .begun = 0 };
	r = crash_world_init(&l->w, shape, err);
	if (r == 0)
		r = crash_world_open(&l->w, err);
	if (r == 0)
		r = tell(&l->w, err);
	if (r == 0)
		r = crash_view_get(l->w.s, &l->before, err);
	l->begun = cfs_sim_event_count(l->w.sim);
	if (r == 0 && at_once)
		r = cfs_session_snap_remove_many(l->w.s, "a", names, count,
						 l->freed, err);
	for (size_t i = 0; r == 0 && !at_once && i < count; i++)
		r = cfs_session_snap_remove(l->w.s, "a", names[i], &l->freed[i],
					    err);
	l->done = cfs_sim_event_count(l->w.sim);
	if (r == 0)
		r = crash_view_get(l->w.s, &l->after, err);
	crash_world_drop(&l->w);
	return r;
}

static void life_done(struct life *l)
{
	crash_view_done(&l->before);
	crash_view_done(&l->after);
	crash_world_done(&l->w);
}

/* Before, or after, and nothing else; then once more. */
static int look(const struct life *l, struct crash_world *w, bool is_acked,
		struct cfs_err *err)
{
	struct crash_view view;
	bool is_before, is_after;
	int r = crash_view_get(w->s, &view, err);

	if (r < 0)
		return r;
	is_before = is_same(&view, &l->before);
	is_after = is_same(&view, &l->after);
	crash_view_done(&view);
	if (!is_after && (is_acked || !is_before))
		return cfs_err_set(err, -EUCLEAN,
				   is_before ? "they are back"
					     : "some are gone");
	return crash_session_check(w->s, err);
}

static int judge(const struct life *l, const struct cfs_sim_crash *crash,
		 struct cfs_err *err)
{
	struct crash_world w;
	int r = crash_world_fork(&l->w, crash, &w, err);

	for (unsigned int i = 0; r == 0 && i < 3; i++) {
		w.is_readonly = i == 0;
		r = crash_world_open(&w, err);
		if (r == 0)
			r = look(l, &w, crash->event_count >= l->done, err);
		if (r == 0)
			r = crash_world_close(&w, err);
	}
	crash_world_done(&w);
	return r;
}

static int judge_event(const struct life *l, size_t event, uint64_t *judged,
		       struct cfs_err *err)
{
	size_t n = cfs_sim_unflushed_count(l->w.sim, event);
	struct cfs_sim_crash crash = { .event_count = event };
	int r = 0;

	crash.use_mask = n <= 4;
	for (; r == 0 && crash.use_mask && crash.mask >> n == 0; crash.mask++) {
		r = judge(l, &crash, err);
		++*judged;
	}
	crash.use_mask = false;
	for (uint64_t i = 0; r == 0 && n > 0 && i < 3; i++) {
		crash.seed = i == 0 ? UINT64_MAX : event * 3 + i;
		r = judge(l, &crash, err);
		++*judged;
	}
	return r;
}

static int crashes(const struct crash_shape *shape)
{
	struct cfs_err err = CFS_ERR_INIT;
	uint64_t judged = 0;
	struct life l;
	int r = live(&l, shape, COUNT(names), true, &err);

	for (size_t i = l.begun; r == 0 && i <= l.done; i++) {
		r = judge_event(&l, i, &judged, &err);
		if (r < 0)
			printf("# event %zu (%zu..%zu): %s\n", i, l.begun,
			       l.done, err.msg);
	}
	if (r < 0)
		printf("# pool %s: %s\n", shape->name, err.msg);
	crash_report(r == 0, "range-%s: %" PRIu64 " crashes", shape->name,
		     judged);
	life_done(&l);
	return r < 0;
}

static size_t flushes(const struct life *l)
{
	size_t n = 0;

	for (size_t i = l->begun; i < l->done; i++)
		n += cfs_sim_event(l->w.sim, i).kind == CFS_SIM_FLUSH;
	return n;
}

/* s1 to s5 are on one branch, so two of them cost as much as five. */
static int cost(void)
{
	struct cfs_err err = CFS_ERR_INIT;
	size_t two = 0, five = 1;
	struct life l;
	int r = live(&l, &crash_shape_one, 2, true, &err);

	two = flushes(&l);
	life_done(&l);
	if (r == 0) {
		r = live(&l, &crash_shape_one, 5, true, &err);
		five = flushes(&l);
		life_done(&l);
	}
	if (r < 0)
		printf("# %s\n", err.msg);
	return !crash_report(r == 0 && five <= two,
			     "range-cost: %zu flushes "
			     "for two, %zu for five",
			     two, five);
}

static int gain(void)
{
	struct cfs_err err = CFS_ERR_INIT;
	uint64_t total = 0;
	struct life many, each;
	int r = live(&many, &crash_shape_one, COUNT(names), true, &err);
	int r2 = live(&each, &crash_shape_one, COUNT(names), false, &err);
	bool is_same_gain = r == 0 && r2 == 0 &&
			    is_same(&many.after, &each.after);

	for (size_t i = 0; i < COUNT(names); i++) {
		if (many.freed[i] != each.freed[i]) {
			printf("# %s: %" PRIu64 " bytes, one by one %" PRIu64
			       "\n",
			       names[i], many.freed[i], each.freed[i]);
			is_same_gain = false;
		}
		total += many.freed[i];
	}
	if (r < 0 || r2 < 0)
		printf("# %s\n", err.msg);
	life_done(&many);
	life_done(&each);
	return !crash_report(is_same_gain && total > 0,
			     "range-gain: %" PRIu64 " bytes", total);
}

int main(void)
{
	int bad = cost() + gain();

	bad += crashes(&crash_shape_one);
	bad += crashes(&crash_shape_mirror);
	return bad != 0;
}
