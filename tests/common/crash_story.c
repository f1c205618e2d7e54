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

/* ---- texts ------------------------------------------------------------------ */

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
	t->texts[t->count] = strdup(text);
	assert(t->texts[t->count]);
	t->count++;
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

/* ---- life --------------------------------------------------------------------- */

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
		for (size_t k = 0; k < st->slots[i].count; k++)
			free(st->slots[i].texts[k]);
		free(st->slots[i].texts);
	}
	free(st->steps);
	cfs_buf_donep(&st->log);
	memset(st, 0, sizeof(*st));
}

void crash_story_kill(struct crash_story *st)
{
	crash_world_drop(&st->w);
}

int crash_story_do(struct crash_story *st, const struct crash_op *op)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct crash_step *step;
	int slot, want, r;

	cfs_buf_append_text(&st->log, "#   ");
	crash_op_text(op, &st->log);
	want = model_apply(st->m, op, &slot);
	if (slot >= 0)
		push_text(st, (unsigned int)slot);
	step = new_step(st);
	step->during = window_now(st);
	r = crash_world_apply(&st->w, op, &err);
	cfs_buf_printf(&st->log, " = %d\n", r);
	for (unsigned int i = 0; i < MODEL_CONTAINERS && r == 0; i++)
		if (op->kind == OP_REOPEN ||
		    (crash_op_is_durable(op) && (int)i == slot))
			st->slots[i].acked = st->slots[i].count - 1;
	step->after = window_now(st);
	step->event_end = cfs_sim_event_count(st->w.sim);
	if ((r < 0) == (want < 0))
		return 0;
	crash_story_complain(st, "a call", r < 0 ? err.msg :
			     "it succeeds, and should not");
	return -EUCLEAN;
}
