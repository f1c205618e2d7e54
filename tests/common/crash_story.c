// SPDX-License-Identifier: GPL-3.0-or-later
/* Telling a story: calls, and what they make acceptable. */
#include "crash_story.h"

#include "base/cleanup.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t crash_env(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : fallback;
}

bool crash_is_long(void)
{
	return crash_env("CFS_LONG", 0) != 0;
}

bool crash_report(bool is_ok, const char *fmt, ...)
{
	va_list ap;

	printf(is_ok ? "ok " : "not ok ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	return is_ok;
}

void crash_story_complain(struct crash_story *st, const char *where,
			  const char *why)
{
	st->has_failed = true;
	printf("# %s, pool %s\n# calls:\n%s", where, st->w.shape->name,
	       cfs_buf_text(&st->log));
	printf("# found:\n");
	for (const char *at = why; *at;) {
		int n = (int)strcspn(at, "\n");

		printf("#   %.*s\n", n, at);
		at += n + (at[n] == '\n');
	}
	fflush(stdout);
}

/* ---- texts ------------------------------------------------------------------
 */

/* The container's text as the model has it now, if it is another. */
static void push_text(struct crash_story *st, unsigned int slot)
{
	struct crash_text *t = &st->slots[slot];
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	const char *text;

	model_render(st->m, slot, &buf);
	text = cfs_buf_text(&buf);
	assert(text);
	if (t->count > 0 && strcmp(t->texts[t->count - 1], text) == 0)
		return;
	t->texts = realloc(t->texts, (t->count + 1) * sizeof(*t->texts));
	assert(t->texts);
	t->states = realloc(t->states, (t->count + 1) * sizeof(*t->states));
	assert(t->states);
	t->texts[t->count] = strdup(text);
	assert(t->texts[t->count]);
	t->states[t->count++] = model_slot_copy(st->m, slot);
}

/* Keep only those from @first on. */
static void drop_texts(struct crash_text *t, size_t first)
{
	for (size_t k = 0; k < first; k++) {
		free(t->texts[k]);
		model_slot_free(t->states[k]);
	}
	t->count -= first;
	memmove(t->texts, t->texts + first, t->count * sizeof(*t->texts));
	memmove(t->states, t->states + first, t->count * sizeof(*t->states));
}

static void pop_text(struct crash_text *t)
{
	t->count--;
	free(t->texts[t->count]);
	model_slot_free(t->states[t->count]);
}

/* It was found in these states: they are what is, durably. */
static void settle(struct crash_story *st, const size_t index[MODEL_CONTAINERS])
{
	for (unsigned int i = 0; i < MODEL_CONTAINERS; i++) {
		model_slot_set(st->m, i, st->slots[i].states[index[i]]);
		push_text(st, i);
		st->slots[i].acked = st->slots[i].count - 1;
	}
}

static struct crash_window window_now(const struct crash_story *st)
{
	struct crash_window w;

	for (unsigned int i = 0; i < MODEL_CONTAINERS; i++) {
		w.first[i] = st->slots[i].acked;
		w.last[i] = st->slots[i].count - 1;
	}
	return w;
}

static struct crash_step *new_step(struct crash_story *st)
{
	if (st->step_count == st->step_room) {
		st->step_room = st->step_room ? 2 * st->step_room : 64;
		st->steps = realloc(st->steps,
				    st->step_room * sizeof(*st->steps));
		assert(st->steps);
	}
	return &st->steps[st->step_count++];
}

/* ---- life
 * --------------------------------------------------------------------- */

int crash_story_init(struct crash_story *st, const struct crash_shape *shape)
{
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	memset(st, 0, sizeof(*st));
	r = crash_world_init(&st->w, shape, &err);
	if (r == 0)
		r = crash_world_open(&st->w, &err);
	st->m = model_new();
	for (unsigned int i = 0; i < MODEL_CONTAINERS; i++)
		push_text(st, i);
	if (r < 0)
		crash_story_complain(st, "format", err.msg);
	return r;
}

void crash_story_done(struct crash_story *st)
{
	crash_world_done(&st->w);
	model_free(st->m);
	for (unsigned int i = 0; i < MODEL_CONTAINERS; i++) {
		drop_texts(&st->slots[i], st->slots[i].count);
		free(st->slots[i].texts);
		free(st->slots[i].states);
	}
	free(st->steps);
	cfs_buf_donep(&st->log);
	memset(st, 0, sizeof(*st));
}

void crash_story_kill(struct crash_story *st)
{
	crash_world_drop(&st->w);
}

/* The process is gone, and the next one finds what it left. */
static int kill_and_open(struct crash_story *st)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf why = CFS_BUF_INIT;
	const struct crash_window window = window_now(st);
	struct crash_step *step = new_step(st);
	size_t index[MODEL_CONTAINERS];
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	crash_world_drop(&st->w);
	r = crash_world_open(&st->w, &err);
	if (r < 0)
		cfs_buf_printf(&why, "open: %s\n", err.msg);
	else
		r = crash_story_match(st, st->w.s, &window, index, &why);
	if (r < 0) {
		crash_story_complain(st, "a kill", cfs_buf_text(&why));
		return r;
	}
	step->during = window;
	step->event_end = cfs_sim_event_count(st->w.sim);
	settle(st, index);
	step->after = window_now(st);
	return 0;
}

int crash_story_fork(const struct crash_story *st, struct crash_story *ret)
{
	const struct cfs_sim_crash all = {
		.event_count = cfs_sim_event_count(st->w.sim),
		.seed = UINT64_MAX,
	};
	struct cfs_err err = CFS_ERR_INIT;

	assert(!st->w.s);
	memset(ret, 0, sizeof(*ret));
	ret->m = model_new();
	for (unsigned int i = 0; i < MODEL_CONTAINERS; i++) {
		const struct crash_text *t = &st->slots[i];

		model_slot_set(ret->m, i, t->states[t->count - 1]);
		push_text(ret, i);
	}
	cfs_buf_append(&ret->log, st->log.data, st->log.bytes);
	return crash_world_fork(&st->w, &all, &ret->w, &err);
}

/*
 * A call failed that need not have: was it done?  The model becomes what the
 * pool shows, which must be one of the states that are possible.  What cannot
 * be read any more is judged by the next who opens it.
 */
static int look_what_is(struct crash_story *st, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf why = CFS_BUF_INIT;
	const struct crash_window window = window_now(st);
	size_t index[MODEL_CONTAINERS];
	struct crash_view view;
	int r;

	st->tolerated++;
	if (!err->code || !err->msg[0]) {
		crash_story_complain(st, "a failure", "it has no message");
		return -EUCLEAN;
	}
	if (!st->w.s || crash_view_get(st->w.s, &view, err) < 0) {
		st->is_over = true;
		return 0;
	}
	crash_view_done(&view);
	r = crash_story_match(st, st->w.s, &window, index, &why);
	if (r < 0) {
		crash_story_complain(st, "after a failed call",
				     cfs_buf_text(&why));
		return r;
	}
	for (unsigned int i = 0; i < MODEL_CONTAINERS; i++) {
		model_slot_set(st->m, i, st->slots[i].states[index[i]]);
		push_text(st, i);
	}
	return 0;
}

int crash_story_open(struct crash_story *st)
{
	struct cfs_err err = CFS_ERR_INIT;
	int r = crash_world_open(&st->w, &err);

	if (r == 0)
		return 0;
	if (st->tolerates)
		return look_what_is(st, &err);
	crash_story_complain(st, "open", err.msg);
	return r;
}

static int finish(struct crash_story *st, const struct crash_op *op, int slot,
		  int want, int r, struct cfs_err *err)
{
	cfs_buf_printf(&st->log, " = %d\n", r);
	for (unsigned int i = 0; i < MODEL_CONTAINERS && r == 0; i++)
		if (op->kind == OP_REOPEN ||
		    (crash_op_is_durable(op) && (int)i == slot))
			st->slots[i].acked = st->slots[i].count - 1;
	if ((r < 0) == (want < 0))
		return 0;
	if (r < 0 && st->tolerates)
		return look_what_is(st, err);
	crash_story_complain(st, "a call",
			     r < 0 ? err->msg : "it succeeds, and should not");
	return -EUCLEAN;
}

int crash_story_do(struct crash_story *st, const struct crash_op *op)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct crash_text *t = NULL;
	size_t count = 0;
	size_t step;
	int slot, want, r;

	cfs_buf_append_text(&st->log, "#   ");
	crash_op_text(op, &st->log);
	if (op->kind == OP_KILL) {
		cfs_buf_append_text(&st->log, "\n");
		return kill_and_open(st);
	}
	want = model_apply(st->m, op, &slot);
	if (slot >= 0) {
		t = &st->slots[slot];
		count = t->count;
		push_text(st, (unsigned int)slot);
	}
	step = st->step_count;
	new_step(st)->during = window_now(st);
	r = crash_world_apply(&st->w, op, &err);
	if (r == -ENOSPC && want == 0 && st->allows_enospc && t) {
		/* Refused, so undone. */
		st->full_count++;
		if (t->count > count)
			pop_text(t);
		model_slot_set(st->m, (unsigned int)slot,
			       t->states[t->count - 1]);
		st->steps[step].during = window_now(st);
		want = r;
	}
	r = finish(st, op, slot, want, r, &err);
	st->steps[step].after = window_now(st);
	st->steps[step].event_end = cfs_sim_event_count(st->w.sim);
	return r;
}

struct crash_window crash_story_window(const struct crash_story *st,
				       size_t event_count)
{
	size_t i = 0;

	while (i < st->step_count && st->steps[i].event_end < event_count)
		i++;
	if (i == st->step_count)
		return window_now(st);
	if (st->steps[i].event_end > event_count)
		return st->steps[i].during;
	/* The last step that ended there. */
	while (i + 1 < st->step_count &&
	       st->steps[i + 1].event_end == event_count)
		i++;
	return st->steps[i].after;
}

int crash_story_go_on(struct crash_story *st, const struct cfs_sim_crash *crash)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf why = CFS_BUF_INIT;
	const struct crash_window window = crash_story_window(
		st, crash->event_count);
	size_t index[MODEL_CONTAINERS];
	struct cfs_err err = CFS_ERR_INIT;
	struct crash_world next;
	int r = crash_world_fork(&st->w, crash, &next, &err);

	assert(r == 0 && !st->w.s);
	crash_world_done(&st->w);
	st->w = next;
	st->judged++;
	cfs_buf_printf(&st->log,
		       "#   -- crash after event %zu, seed %#" PRIx64 "\n",
		       crash->event_count, crash->seed);
	r = crash_world_open(&st->w, &err);
	if (r < 0)
		cfs_buf_printf(&why, "open: %s\n", err.msg);
	else
		r = crash_story_match(st, st->w.s, &window, index, &why);
	if (r == 0) {
		r = crash_session_check(st->w.s, &err);
		if (r < 0)
			cfs_buf_printf(&why, "%s\n", err.msg);
	}
	if (r < 0) {
		crash_story_complain(st, "going on", cfs_buf_text(&why));
		return r;
	}
	settle(st, index);
	for (unsigned int i = 0; i < MODEL_CONTAINERS; i++) {
		drop_texts(&st->slots[i], st->slots[i].count - 1);
		st->slots[i].acked = 0;
	}
	st->step_count = 0;
	return 0;
}
