// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Crashes of a pool in which a clone becomes a container of its own.  The power
 * is cut behind each event, with some of what had not been flushed.  Whoever
 * opens the pool next finds the clone as it was, or the new container whole:
 * never both, and neither with anything missing; check finds nothing.  From
 * there the command that is run again makes the same of it, also if something
 * was written meanwhile, and --undo leaves the clone as it was.
 */
#include "crash_sequence.h"

#include "base/buf.h"
#include "base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define K     UINT64_C(1024)
#define CLONE "a/k"
#define NEW   "b"

static const struct crash_op lun_story[] = {
	{ .kind = OP_CREATE, .volume = "a", .length = 512 * K },
	{ .kind = OP_WRITE, .volume = "a", .length = 200 * K, .seed = 1 },
	{ .kind = OP_SNAP, .volume = "a", .name = "s0" },
	{ .kind = OP_CLONE, .volume = "a", .name = "s0", .name2 = "k" },
	{ .kind = OP_WRITE,
	  .volume = "a",
	  .offset = 4 * K,
	  .length = 160 * K,
	  .seed = 3 },
	{ .kind = OP_WRITE,
	  .volume = CLONE,
	  .offset = 300 * K,
	  .length = 8 * K,
	  .seed = 4 },
	{ .kind = OP_PUNCH, .volume = CLONE, .offset = 8 * K, .length = 8 * K },
	{ .kind = OP_SNAP, .volume = CLONE, .name = "k0" },
	{ .kind = OP_WRITE,
	  .volume = CLONE,
	  .offset = 100 * K,
	  .length = 40 * K,
	  .seed = 5 },
	{ .kind = OP_SNAP, .volume = CLONE, .name = "k1" },
	{ .kind = OP_ROLLBACK, .volume = CLONE, .name = "k0" },
	{ .kind = OP_WRITE, .volume = CLONE, .length = 4 * K, .seed = 6 },
};
static const struct crash_op lun_write = {
	.kind = OP_WRITE,
	.volume = CLONE,
	.offset = 20 * K,
	.length = 12 * K,
	.seed = 7,
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
	{ .kind = OP_SNAP, .volume = "a", .name = "s0" },
	{ .kind = OP_CLONE, .volume = "a", .name = "s0", .name2 = "k" },
	{ .kind = OP_TRENAME, .volume = CLONE, .name = "/g", .name2 = "/d/h" },
	{ .kind = OP_TUNLINK, .volume = "a", .name = "/d/f" },
	{ .kind = OP_TSYMLINK, .volume = CLONE, .name = "/l", .name2 = "d/h" },
	{ .kind = OP_SNAP, .volume = CLONE, .name = "k0" },
	{ .kind = OP_TCREATE, .volume = CLONE, .name = "/n" },
	{ .kind = OP_TWRITE,
	  .volume = CLONE,
	  .name = "/n",
	  .length = 14 * K,
	  .seed = 4 },
};
static const struct crash_op tree_write = {
	.kind = OP_TWRITE,
	.volume = CLONE,
	.name = "/d/f",
	.offset = 300,
	.length = 3 * K,
	.seed = 9,
};

struct story {
	const char *name;
	const struct crash_op *write; /* to the clone, before it goes on */
	char *before, *after;         /* what there is then */
	size_t acked;                 /* events, when it was done */
	uint64_t crashes, resumed, undone;
};

/* ---- what there is ------------------------------------------------------- */

/*
 * All containers, as one text, but for snapshots that the command takes for
 * itself.  @is_promoted: as it is to be: the clone has become the container,
 * which stands behind the other one.
 */
static int view_of(struct cfs_session *s, bool is_promoted, char **ret,
		   struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	struct crash_view view = { .count = 0 };
	bool is_own = false;
	int r = crash_view_get(s, &view, err);

	for (size_t i = 0; r == 0 && i < view.count; i++) {
		char *rest = view.texts[i], *line;

		while ((line = strsep(&rest, "\n"))) {
			const char *name = strchr(line, ' ');

			if (!name)
				continue;
			if (name != line) /* not a block, nor a file */
				is_own = strstr(line, "@promote.") != NULL;
			if (is_own)
				continue;
			if (is_promoted && name != line &&
			    strncmp(name + 1, CLONE, strlen(CLONE)) == 0)
				cfs_buf_printf(&buf, "%.*s " NEW "%s\n",
					       (int)(name - line), line,
					       name + 1 + strlen(CLONE));
			else
				cfs_buf_printf(&buf, "%s\n", line);
		}
	}
	crash_view_done(&view);
	if (r == 0)
		*ret = strdup(cfs_buf_text(&buf));
	return r;
}

static int must_be(struct cfs_session *s, const char *expected,
		   const char *when, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) char *view = NULL;
	int r = view_of(s, false, &view, err);

	if (r == 0 && strcmp(view, expected) != 0)
		r = cfs_err_set(err, -EINVAL, "%s it shows something else",
				when);
	if (r < 0 && crash_is_long())
		printf("# expected:\n%s# got:\n%s", expected, view);
	return r;
}

static int promote(struct cfs_session *s, struct cfs_err *err)
{
	uint64_t bytes = 0;

	return cfs_session_promote(s, CLONE, NEW, &bytes, err);
}

static int tell(struct story *st, const struct crash_op *ops, size_t count,
		struct crash_world *w, size_t *ret_first, struct cfs_err *err)
{
	int r = crash_world_open(w, err);

	for (size_t i = 0; r == 0 && i < count; i++)
		r = crash_world_apply(w, &ops[i], err);
	if (r == 0)
		r = crash_world_close(w, err);
	if (r == 0)
		r = crash_world_open(w, err);
	if (r == 0)
		r = view_of(w->s, false, &st->before, err);
	if (r == 0)
		r = view_of(w->s, true, &st->after, err);
	*ret_first = cfs_sim_event_count(w->sim);
	if (r == 0)
		r = promote(w->s, err);
	st->acked = cfs_sim_event_count(w->sim);
	if (r == 0)
		r = must_be(w->s, st->after, "without a crash", err);
	return r == 0 ? crash_world_close(w, err) : r;
}

/* ---- judging ------------------------------------------------------------- */

static int is_there(struct cfs_session *s, const char *volume, bool *ret,
		    struct cfs_err *err)
{
	struct cfs_volume_info info;
	int r = cfs_session_volume(s, volume, &info, err);

	*ret = r == 0;
	return r == -ENOENT ? 0 : r;
}

static int judge_state(const struct story *st, struct cfs_session *s,
		       size_t event_count, bool *ret_is_promoted,
		       struct cfs_err *err)
{
	bool clone = false;
	int r = is_there(s, NEW, ret_is_promoted, err);

	if (r == 0)
		r = is_there(s, CLONE, &clone, err);
	if (r == 0 && clone == *ret_is_promoted)
		r = cfs_err_set(err, -EINVAL, "there is %s",
				clone ? "both" : "neither");
	if (r == 0 && !*ret_is_promoted && event_count >= st->acked)
		r = cfs_err_set(err, -EINVAL, "it was done, and is not");
	if (r == 0)
		r = must_be(s, *ret_is_promoted ? st->after : st->before,
			    "then", err);
	return r;
}

/* Again, at once (0), behind a write (1), or not at all (2). */
static int go_on(struct story *st, struct crash_world *w, unsigned int how,
		 struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) char *expected = NULL;
	int r = 0;

	if (how == 1)
		r = crash_world_apply(w, st->write, err);
	if (r == 0 && how == 2)
		r = cfs_session_promote_undo(w->s, CLONE, err);
	else if (r == 0)
		r = view_of(w->s, true, &expected, err);
	if (r == 0 && how != 2)
		r = promote(w->s, err);
	if (r == 0)
		r = must_be(w->s, how == 2 ? st->before : expected,
			    "in the end", err);
	/* Nothing is left of it: neither the name nor the room. */
	if (r == 0 && how == 2)
		r = cfs_session_create(w->s, NEW, CFS_VOLUME_LUN, 64 * K, 0,
				       false, err);
	st->resumed += how != 2;
	st->undone += how == 2;
	return r;
}

static int judge(struct story *st, const struct crash_world *w,
		 const struct cfs_sim_crash *crash, unsigned int how,
		 struct cfs_err *err)
{
	struct crash_world after;
	bool is_promoted = false;
	int r = crash_world_fork(w, crash, &after, err);

	if (r < 0)
		return r;
	st->crashes++;
	r = crash_world_open(&after, err);
	if (r == 0)
		r = crash_session_check(after.s, err);
	if (r == 0)
		r = judge_state(st, after.s, crash->event_count, &is_promoted,
				err);
	if (r == 0 && !is_promoted && how < 3)
		r = go_on(st, &after, how, err);
	if (r == 0)
		r = crash_world_close(&after, err);
	if (r == 0)
		r = crash_world_open(&after, err);
	if (r == 0)
		r = crash_session_check(after.s, err);
	crash_world_drop(&after);
	crash_world_done(&after);
	return r;
}

static int judge_all(struct story *st, const struct crash_world *w,
		     size_t first, struct cfs_err *err)
{
	const size_t count = cfs_sim_event_count(w->sim);
	const uint64_t seeds = crash_is_long() ? 20 : 1;
	int r = 0;

	for (size_t i = first; r == 0 && i <= count; i++) {
		for (uint64_t seed = 0; r == 0 && seed < seeds; seed++) {
			const struct cfs_sim_crash crash = {
				.event_count = i,
				.seed = (seed + 1) * i,
			};

			r = judge(st, w, &crash, (unsigned int)(i + seed) % 5,
				  err);
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
	       const struct crash_op *write, const struct crash_shape *shape)
{
	struct story st = { .name = name, .write = write };
	struct cfs_err err = CFS_ERR_INIT;
	struct crash_world w;
	size_t first = 0;
	int r = crash_world_init(&w, shape, &err);

	if (r == 0) {
		r = tell(&st, ops, count, &w, &first, &err);
		if (r < 0)
			printf("# %s: %s\n", name, err.msg);
		if (r == 0)
			r = judge_all(&st, &w, first, &err);
		crash_world_done(&w);
	}
	crash_report(r == 0,
		     "promote-%s-%s: %" PRIu64 " crashes, %" PRIu64
		     " gone on with, %" PRIu64 " undone",
		     name, shape->name, st.crashes, st.resumed, st.undone);
	free(st.before);
	free(st.after);
	return r < 0;
}

int main(void)
{
	int bad = 0;

	bad += one("lun", lun_story, sizeof(lun_story) / sizeof(*lun_story),
		   &lun_write, &crash_shape_one);
	bad += one("tree", tree_story, sizeof(tree_story) / sizeof(*tree_story),
		   &tree_write, &crash_shape_one);
	bad += one("tree", tree_story, sizeof(tree_story) / sizeof(*tree_story),
		   &tree_write, &crash_shape_mirror);
	return bad != 0;
}
