// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Moving slices, broken off at each write: a device evacuated and taken out, on
 * a plain pool and on a mirror; a mirror's lost device replaced by what is
 * there; a plain pool made a mirror.  Whatever the crash leaves opens, shows
 * all that was there and is sound; the same calls then come to their end, and
 * the pool opens without the device that left.
 *
 * And the same while a thread writes what stands there already over and over,
 * to other blocks each time, and makes it durable: whatever of that a crash
 * leaves, nothing is seen to have changed.
 */
#include "crash_sequence.h"

#include "base/cleanup.h"
#include "base/uuid.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define K             UINT64_C(1024)
/* Crashes of a scene with a writer, about. */
#define WRITES_JUDGED 60u
#define COUNT(a)      (sizeof(a) / sizeof((a)[0]))

static const struct crash_shape plain = {
	.name = "plain",
	.device_count = 3,
	.device_bytes = CFS_DEVICE_BYTES_MIN,
	.slice_bytes = CFS_SLICE_BYTES_MIN,
};
static const struct crash_shape mirror = {
	.name = "mirror",
	.device_count = 3,
	.is_mirror = true,
	.device_bytes = CFS_DEVICE_BYTES_MIN,
	.slice_bytes = CFS_SLICE_BYTES_MIN,
};

static const struct crash_op setup[] = {
	{ .kind = OP_CREATE, .volume = "a", .length = 1024 * K },
	{ .kind = OP_WRITE, .volume = "a", .length = 600 * K, .seed = 1 },
	{ .kind = OP_SNAP, .volume = "a", .name = "s0" },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 8 * K,
	  .length = 300 * K,
	  .seed = 2 },
	{ .kind = OP_CREATE, .volume = "t", .is_tree = true },
	{ .kind = OP_TCREATE, .volume = "t", .name = "f" },
	{ .kind = OP_TWRITE,
	  .volume = "t",
	  .name = "f",
	  .length = 90000,
	  .seed = 4 },
	{ .kind = OP_SYNC, .volume = "t" },
};

struct scene {
	const char *name;
	const struct crash_shape *shape;
	bool is_lost;      /* device 0 is gone before it begins */
	bool makes_mirror; /* instead of taking device 0 out */
	bool writes;       /* a thread does, meanwhile */
	bool gathers;      /* first all goes to device 0: both roots,
			    * all of the log */
	/* Set by the run. */
	struct crash_world w;
	struct crash_view view;
	uint64_t crashes;
};

static const char *name_of(unsigned int device, char text[CFS_UUID_TEXT_BYTES])
{
	uint8_t uuid[16];

	memset(uuid, 0xd0 + (int)device, sizeof(uuid));
	return cfs_uuid_format(uuid, text);
}

/* What is crashed, and what is done again behind it. */
static int act(const struct scene *sc, struct cfs_session *s,
	       struct cfs_err *err)
{
	struct cfs_move_result moved;
	char uuid[CFS_UUID_TEXT_BYTES];
	int r;

	if (sc->makes_mirror)
		return cfs_session_make_mirror(s, &moved, err);
	r = cfs_session_evacuate(s, name_of(0, uuid), &moved, err);
	if (r == 0 && sc->is_lost)
		r = cfs_session_make_mirror(s, &moved, err);
	if (r == 0)
		r = cfs_session_remove_device(s, uuid, false, err);
	/* It was taken out before the crash. */
	return r == -ENOENT ? 0 : r;
}

#define REWRITTEN_BYTES (256 * K)

struct writer {
	struct cfs_session *s;
	pthread_t thread;
	atomic_bool ends;
	atomic_uint count;
	atomic_int code;
	struct cfs_err err;
};

static int rewrite(struct writer *wr, struct cfs_io_volume *v)
{
	static uint8_t buf[REWRITTEN_BYTES];
	int r = cfs_io_read(v, 0, buf, sizeof(buf), NULL, &wr->err);

	/* In small pieces, which go to the log, and in a large one. */
	while (r == 0 && !atomic_load(&wr->ends)) {
		const unsigned int n = atomic_load(&wr->count);
		const uint64_t at = n * 12 * K % (200 * K);

		r = n % 4 ? cfs_io_write(v, at, buf + at, 8 * K, &wr->err)
			  : cfs_io_write(v, 0, buf, sizeof(buf), &wr->err);
		if (r == 0)
			r = cfs_io_sync(v, &wr->err);
		atomic_store(&wr->count, n + 1);
	}
	return r;
}

static void *run_writer(void *arg)
{
	struct writer *wr = arg;
	struct cfs_io_volume *v = NULL;

	int r = cfs_io_open(wr->s, "a", NULL, true, &v, &wr->err);

	if (r == 0)
		r = rewrite(wr, v);
	atomic_store(&wr->code, r);
	cfs_io_close(v);
	return NULL;
}

/* What act does, beside the writer. */
static int act_beside(const struct scene *sc, struct cfs_session *s,
		      struct cfs_err *err)
{
	struct writer wr = { .s = s };
	int r, created;

	if (!sc->writes)
		return act(sc, s, err);
	created = pthread_create(&wr.thread, NULL, run_writer, &wr);
	assert(created == 0);
	(void)created;
	while (atomic_load(&wr.count) < 2 && atomic_load(&wr.code) == 0)
		sched_yield();
	r = act(sc, s, err);
	atomic_store(&wr.ends, true);
	pthread_join(wr.thread, NULL);
	if (r == 0 && wr.code < 0) {
		*err = wr.err;
		r = wr.code;
	}
	return r;
}

static int same_view(const struct scene *sc, struct cfs_session *s,
		     struct cfs_err *err)
{
	struct crash_view view = { .count = 0 };
	int r = crash_view_get(s, &view, err);

	if (r == 0 && view.count != sc->view.count)
		r = cfs_err_set(err, -EUCLEAN, "%zu containers, not %zu",
				view.count, sc->view.count);
	for (size_t i = 0; r == 0 && i < view.count; i++)
		if (strcmp(view.texts[i], sc->view.texts[i]) != 0)
			r = cfs_err_set(err, -EUCLEAN,
					"another content: %.200s",
					view.texts[i]);
	crash_view_done(&view);
	return r;
}

/* All is there; and sound, if no device is missing. */
static int look(const struct scene *sc, struct crash_world *w, bool is_whole,
		struct cfs_err *err)
{
	int r = same_view(sc, w->s, err);

	return r == 0 && is_whole ? crash_session_check(w->s, err) : r;
}

/* Behind the end of it: each of these devices may be away. */
static int without(const struct scene *sc, struct crash_world *w,
		   unsigned int absent, bool is_whole, struct cfs_err *err)
{
	int r;

	w->absent = absent;
	r = crash_world_open(w, err);
	if (r == 0)
		r = look(sc, w, is_whole, err);
	crash_world_drop(w);
	return r < 0 ? cfs_err_wrap(err, r, "devices %#x away", absent) : r;
}

static int at_the_end(const struct scene *sc, struct crash_world *w,
		      struct cfs_err *err)
{
	int r;

	if (!sc->makes_mirror)
		return without(sc, w, 1, true, err);
	w->is_readonly = true;
	r = without(sc, w, 1, false, err);
	if (r == 0)
		r = without(sc, w, 2, false, err);
	w->is_readonly = false;
	return r;
}

static int judge(struct scene *sc, const struct cfs_sim_crash *crash)
{
	struct cfs_err err = CFS_ERR_INIT;
	const char *when = "opened again";
	struct crash_world w;
	int r = crash_world_fork(&sc->w, crash, &w, &err);

	assert(r == 0);
	sc->crashes++;
	w.absent = sc->is_lost ? 1 : 0;
	r = crash_world_open(&w, &err);
	/* Taken out, and wiped or not: the pool is not opened by it. */
	if ((r == -EUCLEAN || r == -EMEDIUMTYPE) && !sc->makes_mirror) {
		w.absent = 1;
		r = crash_world_open(&w, &err);
	}
	if (r == 0)
		r = look(sc, &w, !sc->is_lost, &err);
	if (r == 0) {
		when = "done again";
		r = act(sc, w.s, &err);
	}
	if (r == 0)
		r = look(sc, &w, true, &err);
	if (r == 0)
		r = crash_world_close(&w, &err);
	if (r == 0) {
		when = "at the end";
		r = at_the_end(sc, &w, &err);
	}
	crash_world_done(&w);
	if (r == 0)
		return 0;
	printf("# %s, crash after event %zu, %s %#" PRIx64 ": %s: %s\n",
	       sc->name, crash->event_count, crash->use_mask ? "mask" : "seed",
	       crash->use_mask ? crash->mask : crash->seed, when, err.msg);
	return r;
}

/* All that is not flushed lands, nothing of it, or some. */
static int judge_event(struct scene *sc, size_t event, uint64_t seed)
{
	struct cfs_sim_crash crash = { .event_count = event };
	int r;

	crash.seed = UINT64_MAX;
	r = judge(sc, &crash);
	if (r < 0 || !cfs_sim_unflushed_count(sc->w.sim, event))
		return r;
	crash.use_mask = true;
	r = judge(sc, &crash);
	crash.use_mask = false;
	crash.seed = seed + event;
	return r < 0 ? r : judge(sc, &crash);
}

/* Off the others, which then take slices again. */
static int gather(struct crash_world *w, struct cfs_err *err)
{
	struct cfs_move_result moved;
	char uuid[CFS_UUID_TEXT_BYTES];
	uint64_t before, after;
	int r = 0;

	for (unsigned int d = 1; r == 0 && d < w->shape->device_count; d++)
		r = cfs_session_evacuate(w->s, name_of(d, uuid), &moved, err);
	for (unsigned int d = 1; r == 0 && d < w->shape->device_count; d++)
		r = cfs_session_resize_device(w->s, name_of(d, uuid), &before,
					      &after, err);
	return r;
}

static int prepare(struct scene *sc, struct cfs_err *err)
{
	int r = crash_world_init(&sc->w, sc->shape, err);

	if (r == 0)
		r = crash_world_open(&sc->w, err);
	for (unsigned int i = 0; r == 0 && i < COUNT(setup); i++)
		r = crash_world_apply(&sc->w, &setup[i], err);
	if (r == 0 && sc->gathers)
		r = gather(&sc->w, err);
	if (r == 0)
		r = crash_view_get(sc->w.s, &sc->view, err);
	if (r == 0)
		r = crash_world_close(&sc->w, err);
	sc->w.absent = sc->is_lost ? 1 : 0;
	return r;
}

static int run(struct scene *sc, uint64_t seed, uint64_t one_in)
{
	struct cfs_err err = CFS_ERR_INIT;
	size_t begin, end;
	int r = prepare(sc, &err), bad = 0;

	if (r == 0)
		r = crash_world_open(&sc->w, &err);
	begin = cfs_sim_event_count(sc->w.sim);
	if (r == 0)
		r = act_beside(sc, sc->w.s, &err);
	if (r == 0)
		r = look(sc, &sc->w, true, &err);
	if (r == 0)
		r = crash_world_close(&sc->w, &err);
	if (r < 0)
		printf("# %s: %s\n", sc->name, err.msg);
	end = cfs_sim_event_count(sc->w.sim);
	/* There are as many as the writer has had time for. */
	if (sc->writes)
		one_in = CFS_MAX(one_in, (end - begin) / WRITES_JUDGED);
	for (size_t i = begin; r == 0 && i <= end && bad < 3; i++)
		if ((i + seed) % one_in == 0)
			bad += judge_event(sc, i, seed) < 0;
	crash_report(r == 0 && bad == 0,
		     "devices-%s: %" PRIu64 " crashes at %zu "
		     "events",
		     sc->name, sc->crashes, end - begin);
	crash_view_done(&sc->view);
	crash_world_done(&sc->w);
	return r < 0 || bad;
}

int main(void)
{
	struct scene scenes[] = {
		{ .name = "evacuate", .shape = &plain },
		{ .name = "evacuate-all", .shape = &plain, .gathers = true },
		{ .name = "evacuate-mirror", .shape = &mirror },
		{ .name = "replace-lost", .shape = &mirror, .is_lost = true },
		{ .name = "evacuate-beside", .shape = &plain, .writes = true },
		{ .name = "evacuate-mirror-beside",
		  .shape = &mirror,
		  .writes = true },
		{ .name = "make-mirror",
		  .shape = &crash_shape_two,
		  .makes_mirror = true },
	};
	const struct crash_plan plan = crash_plan_default();
	const uint64_t one_in = crash_env("ONE_IN", crash_is_long() ? 1 : 3);
	int bad = 0;

	for (unsigned int i = 0; i < COUNT(scenes); i++)
		bad += run(&scenes[i], plan.seed, one_in);
	return bad != 0;
}
