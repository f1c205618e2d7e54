// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Crashes of a pool that receives streams: a whole one and an increment, each
 * cut a few times before all of it comes.  The power is cut behind each event,
 * with some of what had not been flushed.  Whoever opens the pool next sees the
 * volume as it was at one of the snapshots, and nothing between; check finds
 * nothing; what was acknowledged is there; and the same streams, from their
 * beginnings, make it what it should be.
 */
#include "crash_sequence.h"

#include "base/cleanup.h"
#include "session/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define K    UINT64_C(1024)
#define CUTS 4u

static const struct crash_op lun_story[] = {
	{ .kind = OP_CREATE, .volume = "a", .length = 512 * K },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 0,
	  .length = 200 * K,
	  .seed = 1 },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 300 * K,
	  .length = 8 * K,
	  .seed = 2 },
	{ .kind = OP_SNAP, .volume = "a", .name = "s0" },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 4 * K,
	  .length = 160 * K,
	  .seed = 3 },
	{ .kind = OP_PUNCH, .volume = "a", .offset = 296 * K, .length = 8 * K },
	{ .kind = OP_RESIZE, .volume = "a", .length = 400 * K },
	{ .kind = OP_SNAP, .volume = "a", .name = "s1" },
};

static const struct crash_op tree_story[] = {
	{ .kind = OP_CREATE, .volume = "a", .is_tree = true },
	{ .kind = OP_TMKDIR, .volume = "a", .name = "/d" },
	{ .kind = OP_TCREATE, .volume = "a", .name = "/d/f" },
	{ .kind = OP_TWRITE,
	  .volume = "a",
	  .name = "/d/f",
	  .offset = 100,
	  .length = 150 * K,
	  .seed = 1 },
	{ .kind = OP_TCREATE, .volume = "a", .name = "/g" },
	{ .kind = OP_TWRITE,
	  .volume = "a",
	  .name = "/g",
	  .length = 5 * K,
	  .seed = 2 },
	{ .kind = OP_SNAP, .volume = "a", .name = "s0" },
	{ .kind = OP_TRENAME, .volume = "a", .name = "/g", .name2 = "/d/h" },
	{ .kind = OP_TUNLINK, .volume = "a", .name = "/d/f" },
	{ .kind = OP_TSYMLINK, .volume = "a", .name = "/l", .name2 = "d/h" },
	{ .kind = OP_TCREATE, .volume = "a", .name = "/n" },
	{ .kind = OP_TWRITE,
	  .volume = "a",
	  .name = "/n",
	  .length = 140 * K,
	  .seed = 4 },
	{ .kind = OP_SNAP, .volume = "a", .name = "s1" },
};

struct story {
	const char *name;
	struct cfs_buf streams[2]; /* of s0; of what follows up to s1 */
	char *views[2];            /* the container with s0; with both */
	size_t acked[2];           /* events, when each was received */
	uint64_t crashes;
};

/* ---- the streams --------------------------------------------------------- */

static int append(void *arg, const void *bytes, size_t n, struct cfs_err *err)
{
	(void)err;
	return cfs_buf_append(arg, bytes, n);
}

static int make_stream(struct cfs_session *s, const char *base,
		       const char *snap, struct cfs_buf *ret,
		       struct cfs_err *err)
{
	const struct cfs_send_options opt = {
		.volume = "a",
		.snap = snap,
		.base = base,
	};
	struct cfs_stream_totals totals;

	return cfs_session_send(s, &opt, append, ret, &totals, err);
}

/* The only container there is, as text. */
static int view_of(struct cfs_session *s, char **ret, struct cfs_err *err)
{
	struct crash_view view = { .count = 0 };
	int r = crash_view_get(s, &view, err);

	if (r == 0 && view.count != 1)
		r = cfs_err_set(err, -EINVAL, "%zu containers", view.count);
	if (r == 0)
		*ret = strdup(view.texts[0]);
	crash_view_done(&view);
	return r;
}

static int tell_source(struct story *st, const struct crash_op *ops,
		       size_t count, struct cfs_err *err)
{
	struct crash_world w;
	unsigned int snaps = 0;
	int r = crash_world_init(&w, &crash_shape_two, err);

	if (r == 0)
		r = crash_world_open(&w, err);
	for (size_t i = 0; r == 0 && i < count; i++) {
		r = crash_world_apply(&w, &ops[i], err);
		if (r < 0 || ops[i].kind != OP_SNAP)
			continue;
		r = view_of(w.s, &st->views[snaps], err);
		if (r == 0)
			r = make_stream(w.s, snaps ? "s0" : NULL, ops[i].name,
					&st->streams[snaps], err);
		snaps++;
	}
	crash_world_done(&w);
	return r;
}

/* ---- receiving ----------------------------------------------------------- */

/* The first @bytes; -ENODATA: that was not all. */
static int receive(struct cfs_session *s, const struct cfs_buf *stream,
		   size_t bytes, struct cfs_err *err)
{
	struct cfs_io_volume *v;
	int r = cfs_session_recv(s, "a", false, stream->data, bytes, &v, err);

	if (r < 0)
		return r;
	r = cfs_io_write(v, 0, stream->data, bytes, err);
	if (r == 0)
		r = cfs_io_sync(v, err);
	cfs_io_close(v);
	return r;
}

static int tell_receiver(struct story *st, struct crash_world *w,
			 struct cfs_err *err)
{
	int r = crash_world_open(w, err);

	for (unsigned int i = 0; r == 0 && i < 2; i++) {
		const struct cfs_buf *stream = &st->streams[i];

		for (unsigned int k = 1; r == 0 && k < CUTS; k++) {
			r = receive(w->s, stream,
				    1000 + (stream->bytes - 1000) * k / CUTS,
				    err);
			r = r == -ENODATA ? 0 : r == 0 ? -EINVAL : r;
		}
		if (r == 0)
			r = receive(w->s, stream, stream->bytes, err);
		st->acked[i] = cfs_sim_event_count(w->sim);
	}
	return r == 0 ? crash_world_close(w, err) : r;
}

/* ---- judging ------------------------------------------------------------- */

static int count_one(void *arg, const struct cfs_snapshot_info *info)
{
	unsigned int *n = arg;

	(void)info;
	(*n)++;
	return 0;
}

/* How many of the streams have come; what is shown is right for that. */
static int judge_state(const struct story *st, struct cfs_session *s,
		       size_t event_count, unsigned int *ret,
		       struct cfs_err *err)
{
	unsigned int n = 0, least = 0;
	CFS_CLEANUP(cfs_freep) char *view = NULL;
	int r = cfs_session_snapshots(s, "a", false, count_one, &n, err);

	for (; least < 2 && event_count >= st->acked[least]; least++)
		;
	if (r == -ENOENT)
		r = 0;
	if (r == 0 && n < least)
		r = cfs_err_set(err, -EINVAL,
				"of %u snapshots that were "
				"acknowledged %u are there",
				least, n);
	if (r == 0 && n > 0)
		r = view_of(s, &view, err);
	if (r == 0 && n > 0 && strcmp(view, st->views[n - 1]) != 0)
		r = cfs_err_set(err, -EINVAL,
				"with %u snapshots it shows "
				"something else",
				n);
	*ret = n;
	return r;
}

static int go_on(const struct story *st, struct cfs_session *s,
		 unsigned int done, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) char *view = NULL;
	int r = 0;

	for (; r == 0 && done < 2; done++)
		r = receive(s, &st->streams[done], st->streams[done].bytes,
			    err);
	if (r == 0)
		r = view_of(s, &view, err);
	if (r == 0 && strcmp(view, st->views[1]) != 0)
		r = cfs_err_set(err, -EINVAL,
				"in the end it shows something "
				"else");
	return r == 0 ? crash_session_check(s, err) : r;
}

static int judge(struct story *st, const struct crash_world *w,
		 const struct cfs_sim_crash *crash, bool goes_on,
		 struct cfs_err *err)
{
	struct crash_world after;
	unsigned int done = 0;
	int r = crash_world_fork(w, crash, &after, err);

	if (r < 0)
		return r;
	st->crashes++;
	r = crash_world_open(&after, err);
	if (r == 0)
		r = crash_session_check(after.s, err);
	if (r == 0)
		r = judge_state(st, after.s, crash->event_count, &done, err);
	if (r == 0 && goes_on)
		r = go_on(st, after.s, done, err);
	crash_world_drop(&after);
	crash_world_done(&after);
	return r;
}

static int judge_all(struct story *st, const struct crash_world *w,
		     struct cfs_err *err)
{
	const size_t count = cfs_sim_event_count(w->sim);
	const uint64_t seeds = crash_is_long() ? 20 : 5;
	int r = 0;

	for (size_t i = 0; r == 0 && i <= count; i++) {
		for (uint64_t seed = 0; r == 0 && seed < seeds; seed++) {
			const struct cfs_sim_crash crash = {
				.event_count = i,
				.seed = seed * i,
			};

			r = judge(st, w, &crash, (i + seed) % 3 == 0, err);
			if (r < 0)
				printf("# %s: event %zu of %zu, seed %" PRIu64
				       ": %s\n",
				       st->name, i, count, crash.seed,
				       err->msg);
		}
	}
	return r;
}

static int one(const char *name, const struct crash_op *ops, size_t count,
	       const struct crash_shape *shape)
{
	struct story st = { .name = name };
	struct cfs_err err = CFS_ERR_INIT;
	struct crash_world w;
	int r = tell_source(&st, ops, count, &err);

	if (r == 0)
		r = crash_world_init(&w, shape, &err);
	if (r == 0) {
		r = tell_receiver(&st, &w, &err);
		if (r < 0)
			printf("# %s: %s\n", name, err.msg);
		if (r == 0)
			r = judge_all(&st, &w, &err);
		crash_world_done(&w);
	} else {
		printf("# %s: %s\n", name, err.msg);
	}
	crash_report(r == 0, "recv-%s-%s: %" PRIu64 " crashes", name,
		     shape->name, st.crashes);
	for (unsigned int i = 0; i < 2; i++) {
		cfs_buf_donep(&st.streams[i]);
		free(st.views[i]);
	}
	return r < 0;
}

int main(void)
{
	int bad = 0;

	bad += one("lun", lun_story, sizeof(lun_story) / sizeof(*lun_story),
		   &crash_shape_one);
	bad += one("tree", tree_story, sizeof(tree_story) / sizeof(*tree_story),
		   &crash_shape_one);
	bad += one("tree", tree_story, sizeof(tree_story) / sizeof(*tree_story),
		   &crash_shape_mirror);
	return bad != 0;
}
