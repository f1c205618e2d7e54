/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A story: calls on a pool and on the model, what each container may look like
 * after a crash at any event, and the crashes themselves.
 *
 * The rule: operations reach the devices in their order, each whole.  So a
 * container is as it was behind some call between the last acknowledged one
 * and the last one begun; containers do not wait for each other.  A crash is
 * judged by opening the pool, comparing everything it shows, checking it,
 * closing it and looking again.
 */
#pragma once

#include "crash_world.h"

struct crash_text {
	char **texts;              /* what it was, call by call */
	struct container **states; /* the same, to go on from */
	size_t count;
	size_t acked; /* index: older ones can't be */
};

/* Which texts of a container may be found: first and last index. */
struct crash_window {
	size_t first[MODEL_CONTAINERS], last[MODEL_CONTAINERS];
};

struct crash_step {
	size_t event_end; /* events when it had returned */
	struct crash_window during, after;
};

struct crash_story {
	struct crash_world w;
	struct model *m;
	struct crash_text slots[MODEL_CONTAINERS];
	struct crash_step *steps;
	size_t step_count, step_room;
	struct cfs_buf log;  /* the calls, for messages */
	bool allows_enospc;  /* a full pool is no failure */
	uint64_t full_count; /* how often it was */
	/* A call may fail though the model says that it would not: then it was
	 * done or not, as the pool shows. */
	bool tolerates;
	uint64_t tolerated;
	bool is_over; /* nothing can be seen any more */
	bool has_failed;
	uint64_t judged; /* images looked at */
};

/* What to do at each event. */
struct crash_plan {
	unsigned int mask_max;        /* all subsets up to so many writes */
	unsigned int seeds;           /* torn ones beyond that */
	uint64_t seed;                /* of the choices below */
	unsigned int one_in;          /* images: 1 all, else a sample */
	unsigned int readonly_one_in; /* first by who only reads; 0: never */
	unsigned int again_one_in;    /* close, and look again; 0: never */
	unsigned int nested_one_in;   /* crash in recovery too; 0: never */
	unsigned int life_one_in;     /* go on living behind it; 0: never */
};

/* A new pool, open. */
int crash_story_init(struct crash_story *st, const struct crash_shape *shape);
void crash_story_done(struct crash_story *st);
/* Another story that begins where @st is, which is closed; not open. */
int crash_story_fork(const struct crash_story *st, struct crash_story *ret);
/* Open the pool; a failure counts as one of a call. */
int crash_story_open(struct crash_story *st);
/*
 * One call on both.  They must agree whether it fails.  0, or negative when
 * the story has failed (a message has been printed).
 */
int crash_story_do(struct crash_story *st, const struct crash_op *op);
/* Let go as a killed process does; the story can be crashed from now on. */
void crash_story_kill(struct crash_story *st);
/*
 * Go on from what @crash leaves of a killed story: the pool is opened, found
 * in one of the states that are acceptable then, checked, and that state is
 * the only one from now on.  Record and steps begin anew.
 */
int crash_story_go_on(struct crash_story *st,
		      const struct cfs_sim_crash *crash);
/* Which states are acceptable after @event_count events. */
struct crash_window crash_story_window(const struct crash_story *st,
				       size_t event_count);
/* Crash it at each event from step @first_step on. */
int crash_story_judge_all(struct crash_story *st, size_t first_step,
			  const struct crash_plan *plan);
/* One crash. */
int crash_story_judge(struct crash_story *st, const struct cfs_sim_crash *crash,
		      const struct crash_window *window,
		      const struct crash_plan *plan);

/*
 * Does the session show, container by container, texts within @window?
 * @ret_index: which.  0, or -EUCLEAN with the difference in @ret_why.
 */
int crash_story_match(const struct crash_story *st, struct cfs_session *s,
		      const struct crash_window *window,
		      size_t ret_index[MODEL_CONTAINERS],
		      struct cfs_buf *ret_why);

/*
 * Open @w, compare and check; it stays open.  @window is narrowed to what was
 * found: from now on it is this and nothing else.
 */
int crash_story_look(const struct crash_story *st, struct crash_world *w,
		     struct crash_window *window, const char *when,
		     struct cfs_buf *why);
/* The last events before a crash, as comment lines. */
void crash_story_tell_events(const struct crash_story *st, size_t event_count);

/* "not ok" lines' explanation: the calls, and @why. */
void crash_story_complain(struct crash_story *st, const char *where,
			  const char *why);

/* A number of the environment, or @fallback. */
uint64_t crash_env(const char *name, uint64_t fallback);
/* Under `make check-long`. */
bool crash_is_long(void);
/* One line of a test's outcome; returns whether it is good. */
bool crash_report(bool is_ok, const char *fmt, ...) CFS_PRINTF(2, 3);
