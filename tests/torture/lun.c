/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A LUN with snapshots.  After a crash each block has the content of its last
 * sync, or of a write since; a snapshot that was acknowledged is exactly what
 * the LUN was, and one that was not is that or is not there.
 */
#include "torture.h"

#include "base/bits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN_MAX 32u

static void lun_name(char name[16], uint32_t number)
{
	(void)snprintf(name, 16, "lun%u", number);
}

static void snap_name(char name[16], const struct lun_snap *snap)
{
	(void)snprintf(name, 16, "s%u", snap->number);
}

static uint32_t last_of(const struct lun_state *l, uint32_t block)
{
	uint32_t n = l->pending_count[block];

	return n ? l->pending[block][n - 1] : l->synced[block];
}

int lun_make(struct torture *t, struct cfs_session *s, uint32_t number,
	     struct cfs_err *err)
{
	char name[16];

	lun_name(name, number);
	t->luns[number].number = number;
	t->luns[number].next_version = 1;
	return cfs_session_create(s, name, CFS_VOLUME_LUN, LUN_BLOCKS * BLOCK,
				  0, false, err);
}

/* ---- operations ---------------------------------------------------------- */

struct lun_work {
	struct torture *t;
	struct cfs_session *s;
	struct lun_state *l;
	struct cfs_rng *rng;
	struct cfs_io_volume *io; /* NULL: to be opened */
	char name[16];
	uint8_t buf[RUN_MAX * BLOCK];
};

static int do_sync(struct lun_work *w, struct cfs_err *err)
{
	int r = cfs_io_sync(w->io, err);

	if (r != 0)
		return r;
	for (uint32_t b = 0; b < LUN_BLOCKS; b++) {
		w->l->synced[b] = last_of(w->l, b);
		w->l->pending_count[b] = 0;
	}
	return 0;
}

static void pick_run(struct lun_work *w, uint32_t *ret_first,
		     uint32_t *ret_count)
{
	*ret_count = 1 + (uint32_t)cfs_rng_below(w->rng, RUN_MAX);
	if (cfs_rng_below(w->rng, 2))
		*ret_count = 1;
	*ret_first = (uint32_t)cfs_rng_below(w->rng,
					     LUN_BLOCKS - *ret_count + 1);
}

/* Say that these blocks may have this version from now on. */
static int announce(struct lun_work *w, uint32_t first, uint32_t count,
		    uint32_t version, struct cfs_err *err)
{
	for (uint32_t b = first; b < first + count; b++) {
		if (w->l->pending_count[b] == PENDING_MAX) {
			int r = do_sync(w, err);

			if (r != 0)
				return r;
			break;
		}
	}
	for (uint32_t b = first; b < first + count; b++) {
		w->l->pending[b][w->l->pending_count[b]] = version;
		atomic_signal_fence(memory_order_seq_cst);
		w->l->pending_count[b]++;
	}
	return 0;
}

/* What failed may have happened in part: see what is there.  Returns @failed.
 */
static int ask(struct lun_work *w, uint32_t first, uint32_t count, int failed)
{
	int r;

	if (failed != -ENOSPC)
		return failed;
	r = cfs_io_read(w->io, (uint64_t)first * BLOCK, w->buf,
			(size_t)count * BLOCK, NULL, NULL);
	for (uint32_t i = 0; i < count && r == 0; i++) {
		uint32_t *n = &w->l->pending_count[first + i];
		uint32_t version = torture_version(w->buf + (size_t)i * BLOCK,
						   w->l->number, first + i);

		if (*n)
			w->l->pending[first + i][*n - 1] = version;
	}
	return r ? r : failed;
}

static int do_write(struct lun_work *w, struct cfs_err *err)
{
	uint32_t first, count, version = w->l->next_version++;
	int r;

	pick_run(w, &first, &count);
	r = announce(w, first, count, version, err);
	if (r != 0)
		return r;
	for (uint32_t i = 0; i < count; i++)
		torture_fill(w->buf + (size_t)i * BLOCK, w->l->number,
			     first + i, version);
	r = cfs_io_write(w->io, (uint64_t)first * BLOCK, w->buf,
			 (size_t)count * BLOCK, err);
	return r ? ask(w, first, count, r) : 0;
}

static int do_discard(struct lun_work *w, struct cfs_err *err)
{
	uint32_t first, count;
	int r;

	pick_run(w, &first, &count);
	r = announce(w, first, count, 0, err);
	if (r == 0)
		r = cfs_io_discard(w->io, (uint64_t)first * BLOCK,
				   (uint64_t)count * BLOCK, err);
	return r ? ask(w, first, count, r) : 0;
}

/* While nobody writes it is what was written last. */
static int do_read(struct lun_work *w, struct cfs_err *err)
{
	uint32_t first, count, version;
	int r;

	pick_run(w, &first, &count);
	r = cfs_io_read(w->io, (uint64_t)first * BLOCK, w->buf,
			(size_t)count * BLOCK, NULL, err);
	for (uint32_t i = 0; i < count && r == 0; i++) {
		version = torture_version(w->buf + (size_t)i * BLOCK,
					  w->l->number, first + i);
		if (version != last_of(w->l, first + i))
			torture_fail(w->t, "%s block %u: read %u, written %u",
				     w->name, first + i, version,
				     last_of(w->l, first + i));
	}
	return r;
}

static int do_snap(struct lun_work *w, struct cfs_err *err)
{
	struct lun_snap *snap = &w->l->snaps[cfs_rng_below(w->rng, SNAPS)];
	struct cfs_snap_name what = { .volume = w->name };
	uint64_t freed;
	char name[16];
	int r;

	what.snap = name;
	if (snap->state == SNAP_NONE) {
		snap->number = w->l->next_snap++;
		snap_name(name, snap);
		for (uint32_t b = 0; b < LUN_BLOCKS; b++)
			snap->at[b] = last_of(w->l, b);
		snap->state = SNAP_TAKING;
		r = cfs_session_snap_take(w->s, &what, 1, NULL, err);
		if (r == 0)
			snap->state = SNAP_THERE;
		return r;
	}
	if (snap->state != SNAP_THERE)
		return 0;
	snap_name(name, snap);
	snap->state = SNAP_GOING;
	r = cfs_session_snap_remove(w->s, w->name, name, &freed, err);
	if (r == 0)
		snap->state = SNAP_NONE;
	return r;
}

static int do_rollback(struct lun_work *w, struct cfs_err *err)
{
	uint32_t which = (uint32_t)cfs_rng_below(w->rng, SNAPS);
	const struct lun_snap *snap = &w->l->snaps[which];
	char name[16];
	int r;

	if (snap->state != SNAP_THERE)
		return 0;
	snap_name(name, snap);
	/* Not beside a writer, not even this one. */
	cfs_io_close(w->io);
	w->io = NULL;
	w->l->rolling = which + 1;
	r = cfs_session_snap_rollback(w->s, w->name, name, NULL, err);
	if (r != 0)
		return r;
	memcpy(w->l->synced, snap->at, sizeof(w->l->synced));
	memset(w->l->pending_count, 0, sizeof(w->l->pending_count));
	w->l->rolling = 0;
	return 0;
}

static int read_snap(struct torture *t, struct cfs_session *s,
		     struct lun_state *l, struct lun_snap *snap,
		     struct cfs_err *err);

static int do_read_snap(struct lun_work *w, struct cfs_err *err)
{
	struct lun_snap *snap = &w->l->snaps[cfs_rng_below(w->rng, SNAPS)];

	return snap->state == SNAP_THERE
		       ? read_snap(w->t, w->s, w->l, snap, err)
		       : 0;
}

static const struct {
	int (*fn)(struct lun_work *w, struct cfs_err *err);
	const char *name;
	unsigned int weight;
} lun_ops[] = {
	{ do_write, "write", 60 },      { do_sync, "sync", 12 },
	{ do_read, "read", 12 },        { do_discard, "discard", 6 },
	{ do_snap, "snapshot", 6 },     { do_read_snap, "read a snapshot", 3 },
	{ do_rollback, "rollback", 1 },
};

static unsigned int pick_op(struct cfs_rng *rng)
{
	uint64_t at = cfs_rng_below(rng, 100);
	unsigned int i = 0;

	while (at >= lun_ops[i].weight)
		at -= lun_ops[i++].weight;
	return i;
}

void lun_work(struct torture *t, struct cfs_session *s, uint32_t number,
	      struct cfs_rng *rng)
{
	struct lun_work *w = calloc(1, sizeof(*w));
	struct cfs_err err = CFS_ERR_INIT;
	const char *what;
	int r = 0;

	if (!w)
		return;
	*w = (struct lun_work){
		.t = t, .s = s, .rng = rng, .l = &t->luns[number]
	};
	lun_name(w->name, number);
	while (!atomic_load(&t->has_failed)) {
		unsigned int i = pick_op(rng);

		what = "open";
		if (!w->io)
			r = cfs_io_open(s, w->name, NULL, true, &w->io, &err);
		if (r == 0) {
			what = lun_ops[i].name;
			r = lun_ops[i].fn(w, &err);
			atomic_fetch_add(&t->done, 1);
			atomic_fetch_or(&t->kinds, 1u << i);
		}
		if (r != 0 && torture_excuse(t, r, what, &err))
			break;
		if (r != 0 && w->l->rolling)
			break; /* done or not: nobody knows */
		r = 0;
	}
	cfs_io_close(w->io);
	free(w);
}

/* ---- the judge ----------------------------------------------------------- */

static int read_all(struct cfs_session *s, const struct lun_state *l,
		    const char *snap, uint32_t versions[LUN_BLOCKS],
		    struct cfs_err *err)
{
	struct cfs_io_volume *io;
	uint8_t *buf;
	char name[16];
	int r;

	lun_name(name, l->number);
	r = cfs_io_open(s, name, snap, false, &io, err);
	if (r != 0)
		return r;
	buf = malloc((size_t)LUN_BLOCKS * BLOCK);
	if (!buf)
		abort();
	r = cfs_io_read(io, 0, buf, (size_t)LUN_BLOCKS * BLOCK, NULL, err);
	for (uint32_t b = 0; b < LUN_BLOCKS && r == 0; b++)
		versions[b] = torture_version(buf + (size_t)b * BLOCK,
					      l->number, b);
	free(buf);
	cfs_io_close(io);
	return r;
}

static bool may_be(const struct lun_state *l, uint32_t block, uint32_t version)
{
	if (version == l->synced[block])
		return true;
	for (uint32_t i = 0; i < l->pending_count[block]; i++)
		if (version == l->pending[block][i])
			return true;
	return false;
}

/*
 * What was acknowledged is exactly what the LUN was.  What was not may be less:
 * a manager goes on with it without what a dead client had not synced.
 */
static int read_snap(struct torture *t, struct cfs_session *s,
		     struct lun_state *l, struct lun_snap *snap,
		     struct cfs_err *err)
{
	uint32_t found[LUN_BLOCKS];
	char name[16];
	int r;

	snap_name(name, snap);
	r = read_all(s, l, name, found, err);
	for (uint32_t b = 0; b < LUN_BLOCKS && r == 0; b++)
		if (found[b] != snap->at[b] &&
		    (snap->state != SNAP_TAKING || !may_be(l, b, found[b])))
			torture_fail(t, "lun%u@%s block %u: %u, was %u",
				     l->number, name, b, found[b], snap->at[b]);
	if (r == 0 && snap->state == SNAP_TAKING)
		memcpy(snap->at, found, sizeof(snap->at));
	return r;
}

static void judge_snap(struct torture *t, struct cfs_session *s,
		       struct lun_state *l, struct lun_snap *snap)
{
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	if (snap->state == SNAP_NONE)
		return;
	r = read_snap(t, s, l, snap, &err);
	if (r == -ENOENT && snap->state != SNAP_THERE) {
		snap->state = SNAP_NONE;
		return;
	}
	if (r != 0)
		torture_fail(t, "lun%u@s%u: %s", l->number, snap->number,
			     err.msg);
	snap->state = SNAP_THERE;
}

/* All of it is a snapshot's, after a rollback that was not heard of. */
static bool is_rolled(const struct lun_state *l, const uint32_t *found)
{
	return l->rolling && memcmp(found, l->snaps[l->rolling - 1].at,
				    sizeof(l->synced)) == 0;
}

void lun_judge(struct torture *t, struct cfs_session *s, uint32_t number)
{
	struct lun_state *l = &t->luns[number];
	uint32_t found[LUN_BLOCKS];
	struct cfs_err err = CFS_ERR_INIT;
	int r = read_all(s, l, NULL, found, &err);

	if (r != 0) {
		torture_fail(t, "lun%u: %s", number, err.msg);
		return;
	}
	for (uint32_t b = 0; b < LUN_BLOCKS && !is_rolled(l, found); b++)
		if (!may_be(l, b, found[b]))
			torture_fail(t,
				     "lun%u block %u: %u, synced %u, last "
				     "written %u",
				     number, b, found[b], l->synced[b],
				     last_of(l, b));
	for (unsigned int i = 0; i < SNAPS; i++)
		judge_snap(t, s, l, &l->snaps[i]);
	memcpy(l->synced, found, sizeof(l->synced));
	memset(l->pending_count, 0, sizeof(l->pending_count));
	l->rolling = 0;
}
