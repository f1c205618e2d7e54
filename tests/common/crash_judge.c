// SPDX-License-Identifier: GPL-3.0-or-later
/* Crashing a story at each event, and judging what is left. */
#include "crash_story.h"

#include "base/bits.h"
#include "base/cleanup.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- comparing ----------------------------------------------------------- */

/* The first line that differs, with what was wanted. */
static void show_difference(const char *got, const char *want,
			    struct cfs_buf *ret)
{
	const char *header = got;

	while (*got && *want) {
		int n = (int)strcspn(got, "\n"), k = (int)strcspn(want, "\n");

		if (n != k || memcmp(got, want, (size_t)n) != 0)
			break;
		if (*got != ' ')
			header = got;
		got += n + (got[n] == '\n');
		want += k + (want[k] == '\n');
	}
	cfs_buf_printf(ret, "   in %.*s: has '%.*s', not '%.*s'\n",
		       (int)strcspn(header, "\n"), header,
		       (int)strcspn(got, "\n"), got, (int)strcspn(want, "\n"),
		       want);
}

static bool find_text(const struct crash_story *st, unsigned int slot,
		      const struct crash_window *window, const char *text,
		      size_t *ret)
{
	/* The newest first: with equal ones the later is meant. */
	for (size_t k = window->last[slot] + 1; k-- > window->first[slot];) {
		if (strcmp(st->slots[slot].texts[k], text) == 0) {
			*ret = k;
			return true;
		}
	}
	return false;
}

static void explain(const struct crash_story *st, const char *text,
		    const struct crash_window *window, struct cfs_buf *why)
{
	cfs_buf_printf(why, "no such state of %.*s was ever to be seen\n",
		       (int)strcspn(text, "\n"), text);
	for (unsigned int i = 0; i < MODEL_CONTAINERS; i++) {
		for (size_t k = window->first[i]; k <= window->last[i]; k++) {
			const char *want = st->slots[i].texts[k];

			/* Containers by their first word and name. */
			if (strncmp(want, text, strcspn(text, " ")) != 0)
				continue;
			cfs_buf_printf(why,
				       "  against container %u state %zu "
				       "(%zu..%zu)\n",
				       i, k, window->first[i], window->last[i]);
			show_difference(text, want, why);
		}
	}
}

static int match_view(const struct crash_story *st,
		      const struct crash_view *view,
		      const struct crash_window *window,
		      size_t ret_index[MODEL_CONTAINERS], struct cfs_buf *why)
{
	bool is_taken[MODEL_CONTAINERS] = { false };

	for (size_t n = 0; n < view->count; n++) {
		unsigned int i = 0;

		while (i < MODEL_CONTAINERS &&
		       (is_taken[i] || !find_text(st, i, window, view->texts[n],
						  &ret_index[i])))
			i++;
		if (i == MODEL_CONTAINERS) {
			explain(st, view->texts[n], window, why);
			return -EUCLEAN;
		}
		is_taken[i] = true;
	}
	for (unsigned int i = 0; i < MODEL_CONTAINERS; i++) {
		if (is_taken[i] || find_text(st, i, window, "", &ret_index[i]))
			continue;
		cfs_buf_printf(why, "container %u is gone:\n%s", i,
			       st->slots[i].texts[window->last[i]]);
		return -EUCLEAN;
	}
	return 0;
}

int crash_story_match(const struct crash_story *st, struct cfs_session *s,
		      const struct crash_window *window,
		      size_t ret_index[MODEL_CONTAINERS],
		      struct cfs_buf *ret_why)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct crash_view view;
	int r = crash_view_get(s, &view, &err);

	if (r < 0) {
		cfs_buf_printf(ret_why, "view: %s\n", err.msg);
		return r;
	}
	r = match_view(st, &view, window, ret_index, ret_why);
	crash_view_done(&view);
	return r;
}

/* ---- one image ----------------------------------------------------------- */

int crash_story_look(const struct crash_story *st, struct crash_world *w,
		     struct crash_window *window, const char *when,
		     struct cfs_buf *why)
{
	size_t index[MODEL_CONTAINERS];
	struct cfs_err err = CFS_ERR_INIT;
	int r = crash_world_open(w, &err);

	if (r < 0) {
		cfs_buf_printf(why, "%s: open: %s\n", when, err.msg);
		return r;
	}
	r = crash_story_match(st, w->s, window, index, why);
	if (r < 0) {
		cfs_buf_printf(why, "(%s)\n", when);
		return r;
	}
	/* From now on it is this and nothing else. */
	for (unsigned int i = 0; i < MODEL_CONTAINERS; i++)
		window->first[i] = window->last[i] = index[i];
	r = crash_session_check(w->s, &err);
	if (r < 0)
		cfs_buf_printf(why, "%s: %s\n", when, err.msg);
	return r;
}

/*
 * Crashes at the events of a recovery that was just recorded.  Before its end
 * nobody has seen anything: it may still turn out as @before says; after it,
 * only as @found.
 */
static int crash_recovery(struct crash_story *st, struct crash_world *w,
			  const struct crash_window *before,
			  const struct crash_window *found, uint64_t seed,
			  struct cfs_buf *why)
{
	size_t count = cfs_sim_event_count(w->sim);
	int r = 0;

	for (size_t n = 1; r == 0 && n <= count; n++) {
		const struct cfs_sim_crash crash = {
			.event_count = n,
			.seed = n % 3 == 0   ? 0
				: n % 3 == 1 ? UINT64_MAX
					     : seed + n,
		};
		struct crash_window again = n < count ? *before : *found;
		struct crash_world inner;
		struct cfs_err err = CFS_ERR_INIT;

		r = crash_world_fork(w, &crash, &inner, &err);
		if (r == 0)
			r = crash_story_look(st, &inner, &again,
					     "after a crash in recovery", why);
		st->judged++;
		if (r < 0)
			cfs_buf_printf(why,
				       "at event %zu of %zu of the "
				       "recovery, seed %" PRIu64 "\n",
				       n, count, crash.seed);
		crash_world_done(&inner);
	}
	return r;
}

/* Everything of @before but the heads must stand in @after. */
static int compare_lives(const char *before, const char *after,
			 struct cfs_buf *why)
{
	bool is_head = true;

	while (*before) {
		const char *end = before;
		char *section;
		bool is_there;

		do
			end += strcspn(end, "\n") + 1;
		while (*end == ' ');
		section = strndup(before, (size_t)(end - before));
		assert(section);
		is_head = !memchr(section, '@', strcspn(section, "\n"));
		is_there = is_head || strstr(after, section);
		if (!is_there)
			cfs_buf_printf(why, "lost later:\n%s", section);
		free(section);
		if (!is_there)
			return -EUCLEAN;
		before = end;
	}
	return 0;
}

/* A snapshot of each container, then its head is written all over. */
static int live_on(struct cfs_session *s, const struct crash_view *view,
		   struct cfs_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < view->count; i++) {
		const char *text = view->texts[i];
		struct crash_op op = { .kind = OP_SNAP, .name = "later" };
		bool is_tree = text[0] == 't';
		const char *name = strchr(text, ' ') + 1;
		uint64_t size_bytes;

		snprintf(op.volume, sizeof(op.volume), "%.*s",
			 (int)strcspn(name, " "), name);
		size_bytes = strtoull(strchr(name, ' '), NULL, 10);
		r = crash_session_apply(s, &op, err);
		strcpy(op.name, "later-file");
		op.kind = is_tree ? OP_TCREATE : OP_SYNC;
		if (r == 0)
			r = crash_session_apply(s, &op, err);
		op.kind = is_tree ? OP_TWRITE : OP_WRITE;
		op.seed = 99;
		for (op.offset = 0;
		     r == 0 &&
		     op.offset + 4096 <=
			     CFS_MIN(size_bytes ? size_bytes : 80000, 80000);
		     op.offset += 4096) {
			op.length = 4096;
			r = crash_session_apply(s, &op, err);
		}
		op.offset = 0;
		op.length = is_tree ? 300000 : size_bytes;
		if (r == 0)
			r = crash_session_apply(s, &op, err);
		op.kind = OP_COMMIT;
		if (r == 0)
			r = crash_session_apply(s, &op, err);
	}
	return r;
}

/* What is there stays there while others write: no block has two owners. */
static int judge_life(struct crash_world *w, struct cfs_buf *why)
{
	struct crash_view before = { .count = 0 }, after = { .count = 0 };
	struct cfs_err err = CFS_ERR_INIT;
	int r = crash_view_get(w->s, &before, &err);

	if (r == 0)
		r = live_on(w->s, &before, &err);
	/* A full pool refuses; what is there stays all the same. */
	if (r == -ENOSPC)
		r = 0;
	crash_world_drop(w);
	if (r == 0)
		r = crash_world_open(w, &err);
	if (r == 0)
		r = crash_view_get(w->s, &after, &err);
	if (r == 0)
		r = crash_session_check(w->s, &err);
	if (r < 0)
		cfs_buf_printf(why, "later: %s\n", err.msg);
	for (size_t i = 0; r == 0 && i < before.count; i++) {
		r = i < after.count ? compare_lives(before.texts[i],
						    after.texts[i], why)
				    : -EUCLEAN;
	}
	crash_view_done(&before);
	crash_view_done(&after);
	return r;
}

static bool is_chosen(const struct crash_plan *plan, unsigned int one_in,
		      uint64_t salt)
{
	uint64_t x = (plan->seed + salt) * UINT64_C(0x9e3779b97f4a7c15);

	return one_in && (x >> 33) % one_in == 0;
}

/* Who only reads sees one of the states too, and writes nothing. */
static int judge_readonly(const struct crash_story *st, struct crash_world *w,
			  const struct crash_window *window,
			  struct cfs_buf *why)
{
	struct crash_window any = *window;
	size_t count = cfs_sim_event_count(w->sim);
	int r;

	w->is_readonly = true;
	r = crash_story_look(st, w, &any, "opened to read only", why);
	crash_world_drop(w);
	w->is_readonly = false;
	if (r == 0 && cfs_sim_event_count(w->sim) != count) {
		cfs_buf_append_text(why, "a reader has written\n");
		r = -EUCLEAN;
	}
	return r;
}

static int judge_world(struct crash_story *st, struct crash_world *w,
		       const struct cfs_sim_crash *crash,
		       const struct crash_window *window,
		       const struct crash_plan *plan, struct cfs_buf *why)
{
	struct crash_window now = *window;
	struct cfs_err err = CFS_ERR_INIT;
	uint64_t salt = st->judged + crash->event_count * 977;
	int r = 0;

	if (is_chosen(plan, plan->readonly_one_in, salt + 3))
		r = judge_readonly(st, w, window, why);
	if (r == 0)
		r = crash_story_look(st, w, &now, "after the crash", why);

	if (r == 0 && is_chosen(plan, plan->nested_one_in, salt)) {
		crash_world_drop(w);
		r = crash_recovery(st, w, window, &now, plan->seed + salt, why);
		if (r == 0)
			r = crash_story_look(st, w, &now, "killed again", why);
	}
	if (r == 0 && is_chosen(plan, plan->life_one_in, salt + 1))
		return judge_life(w, why);
	if (r < 0 || !is_chosen(plan, plan->again_one_in, salt + 2))
		return r;
	r = crash_world_close(w, &err);
	if (r < 0)
		cfs_buf_printf(why, "close: %s\n", err.msg);
	if (r == 0)
		r = crash_story_look(st, w, &now, "opened a second time", why);
	return r;
}

/* The events of the last flushes before the crash. */
void crash_story_tell_events(const struct crash_story *st, size_t event_count)
{
	size_t first = event_count > 24 ? event_count - 24 : 0;

	for (size_t i = first; i < event_count; i++) {
		struct cfs_sim_event e = cfs_sim_event(st->w.sim, i);

		if (e.kind == CFS_SIM_FLUSH)
			printf("# event %zu: device %u flush\n", i,
			       e.device_index);
		else
			printf("# event %zu: device %u write %#" PRIx64
			       "+%#" PRIx64 "\n",
			       i, e.device_index, e.offset_bytes,
			       e.length_bytes);
	}
}

int crash_story_judge(struct crash_story *st, const struct cfs_sim_crash *crash,
		      const struct crash_window *window,
		      const struct crash_plan *plan)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf why = CFS_BUF_INIT;
	struct cfs_err err = CFS_ERR_INIT;
	struct crash_world w;
	char where[128];
	int r = crash_world_fork(&st->w, crash, &w, &err);

	assert(r == 0);
	st->judged++;
	r = judge_world(st, &w, crash, window, plan, &why);
	crash_world_done(&w);
	if (r == 0)
		return 0;
	snprintf(where, sizeof(where),
		 "crash after event %zu of %zu, %s %#" PRIx64,
		 crash->event_count, cfs_sim_event_count(st->w.sim),
		 crash->use_mask ? "mask" : "seed",
		 crash->use_mask ? crash->mask : crash->seed);
	crash_story_complain(st, where, cfs_buf_text(&why));
	crash_story_tell_events(st, crash->event_count);
	return r;
}

/* ---- all crashes --------------------------------------------------------- */

static int judge_some(struct crash_story *st, struct cfs_sim_crash *crash,
		      const struct crash_window *window,
		      const struct crash_plan *plan)
{
	if (plan->one_in > 1 &&
	    !is_chosen(plan, plan->one_in,
		       crash->event_count * 131 + crash->mask * 31 +
			       crash->seed * 7))
		return 0;
	return crash_story_judge(st, crash, window, plan);
}

/* Few unflushed writes: each subset.  Many: the extremes, and torn ones. */
static int judge_event(struct crash_story *st, size_t event_count,
		       const struct crash_window *window, bool is_last,
		       const struct crash_plan *plan)
{
	size_t n = cfs_sim_unflushed_count(st->w.sim, event_count);
	struct cfs_sim_crash crash = { .event_count = event_count,
				       .use_mask = true };
	/* Without the newest write it is what the event before has had. */
	uint64_t newest = n && n <= 64 && !is_last ? UINT64_C(1) << (n - 1) : 0;
	int r = 0;

	if (n <= plan->mask_max) {
		for (crash.mask = newest; r == 0 && crash.mask >> n == 0;
		     crash.mask++)
			r = judge_some(st, &crash, window, plan);
	} else if (n <= 64) {
		uint64_t all = n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;

		for (size_t i = 0; r == 0 && i < n; i++) {
			crash.mask = all & ~(UINT64_C(1) << i);
			r = judge_some(st, &crash, window, plan);
			crash.mask = newest | UINT64_C(1) << i;
			if (r == 0)
				r = judge_some(st, &crash, window, plan);
		}
	}
	crash.use_mask = false;
	crash.mask = 0;
	crash.seed = UINT64_MAX;
	if (r == 0 && n > plan->mask_max)
		r = judge_some(st, &crash, window, plan);
	for (unsigned int i = 0; r == 0 && n && i < plan->seeds; i++) {
		crash.seed = plan->seed * 1000 + i + 1;
		r = judge_some(st, &crash, window, plan);
	}
	return r;
}

int crash_story_judge_all(struct crash_story *st, size_t first_step,
			  const struct crash_plan *plan)
{
	size_t event = first_step ? st->steps[first_step - 1].event_end : 0;
	int r = 0;

	assert(!st->w.s);
	for (size_t i = first_step; r == 0 && i < st->step_count; i++) {
		const struct crash_step *step = &st->steps[i];

		for (event++; r == 0 && event < step->event_end; event++)
			r = judge_event(st, event, &step->during, false, plan);
		event = step->event_end;
		if (r == 0)
			r = judge_event(st, event, &step->after, true, plan);
	}
	return r;
}
