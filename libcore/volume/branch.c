/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Branches in memory, and their pins: the stamps at which a snapshot, or a
 * child branch, looks at them.  Kept in step with the small tables by the
 * table_changed hook, so that an abort and a replay take the same way.
 *
 * There may be a hundred thousand snapshots, and who opens a container to take
 * one more looks at none of them.  So they are not read with the branches.
 * What dies now is pinned or not by the newest one alone, which is looked up
 * and kept; other ranges are looked up in the table, where a branch's
 * snapshots stand by their stamps.  Who asks for each of many versions loads
 * them all.
 */
#include "volume/vols_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

/* The index of the first stamp >= @stamp. */
static size_t stamps_find(const struct stamps *s, uint64_t stamp)
{
	size_t lo = 0, hi = s->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->list[mid] < stamp)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int stamps_add(struct stamps *s, uint64_t stamp, struct cfs_err *err)
{
	size_t i = stamps_find(s, stamp);

	if (s->skipped && s->skipped + s->count == s->room) {
		memmove(s->list - s->skipped, s->list,
			s->count * sizeof(*s->list));
		s->list -= s->skipped;
		s->skipped = 0;
	}
	if (s->count == s->room) {
		size_t room = s->room ? 2 * s->room : 8;
		uint64_t *list = realloc(s->list, room * sizeof(*list));

		if (!list)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		s->list = list;
		s->room = room;
	}
	memmove(s->list + i + 1, s->list + i,
		(s->count - i) * sizeof(*s->list));
	s->list[i] = stamp;
	s->count++;
	return 0;
}

static void stamps_remove(struct stamps *s, uint64_t stamp)
{
	size_t i = stamps_find(s, stamp);

	if (i == s->count || s->list[i] != stamp)
		return;
	s->count--;
	if (i < s->count / 2) {
		memmove(s->list + 1, s->list, i * sizeof(*s->list));
		s->list++;
		s->skipped++;
		return;
	}
	memmove(s->list + i, s->list + i + 1,
		(s->count - i) * sizeof(*s->list));
}

static void stamps_done(struct stamps *s)
{
	if (s->list)
		free(s->list - s->skipped);
}

static bool stamps_has(const struct stamps *s, uint64_t lo, uint64_t hi)
{
	size_t i = stamps_find(s, lo);

	return i < s->count && s->list[i] < hi;
}

static struct cfs_key snapshot_key(const struct branch *b, uint64_t stamp)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_SNAPSHOT, b->id),
				   stamp, 0 } };
}

static int find_newest(struct cfs_vols *v, struct branch *b,
		       struct cfs_err *err)
{
	const struct cfs_key last = snapshot_key(b, UINT64_MAX);
	struct cfs_cursor cur;
	int r;

	if (b->has_newest)
		return 0;
	r = cfs_cursor_le(&cur, cfs_container_tree(v->c, CFS_TREE_TABLE), &last,
			  err);
	if (r < 0 && r != -ENOENT)
		return r;
	b->newest = r == 0 && cur.key.w[0] == last.w[0] ? cur.key.w[1] : 0;
	b->has_newest = true;
	return 0;
}

/* Is there a snapshot s with lo <= s < hi?  As cfs_branch_is_pinned. */
static int has_snap(struct cfs_vols *v, struct branch *b, uint64_t lo,
		    uint64_t hi, struct cfs_err *err)
{
	const struct cfs_key from = snapshot_key(b, lo);
	struct cfs_cursor cur;
	int r;

	if (b->has_snaps)
		return stamps_has(&b->snaps, lo, hi);
	r = find_newest(v, b, err);
	if (r < 0)
		return r;
	if (b->newest < lo || b->newest < hi)
		return b->newest >= lo && b->newest;
	r = cfs_cursor_ge(&cur, cfs_container_tree(v->c, CFS_TREE_TABLE), &from,
			  err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return cur.key.w[0] == from.w[0] && cur.key.w[1] < hi;
}

int cfs_branch_is_pinned(struct cfs_vols *v, struct branch *b, uint64_t lo,
			 uint64_t hi, struct cfs_err *err)
{
	if (lo >= hi)
		return 0;
	return stamps_has(&b->forks, lo, hi) ? 1 : has_snap(v, b, lo, hi, err);
}

int cfs_branch_has_snapshot(struct cfs_vols *v, struct branch *b,
			    uint64_t stamp, struct cfs_err *err)
{
	return has_snap(v, b, stamp, stamp + 1, err);
}

int cfs_branch_load(struct cfs_vols *v, struct branch *b, struct cfs_err *err)
{
	const struct cfs_key from = snapshot_key(b, 0);
	struct stamps snaps = { .list = NULL };
	struct cfs_cursor cur;
	int r;

	if (b->has_snaps)
		return 0;
	r = cfs_cursor_ge(&cur, cfs_container_tree(v->c, CFS_TREE_TABLE), &from,
			  err);
	while (r == 0 && cur.key.w[0] == from.w[0]) {
		r = stamps_add(&snaps, cur.key.w[1], err);
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	if (r < 0 && r != -ENOENT) {
		stamps_done(&snaps);
		return r;
	}
	b->snaps = snaps;
	b->has_snaps = true;
	return 0;
}

bool cfs_branch_pins_have(const struct branch *b, uint64_t lo, uint64_t hi)
{
	assert(b->has_snaps);
	return stamps_has(&b->snaps, lo, hi) || stamps_has(&b->forks, lo, hi);
}

struct branch *cfs_branch_find(struct cfs_vols *v, uint16_t id)
{
	struct branch *b;

	HASH_FIND(hh, v->branches, &id, sizeof(id), b);
	return b;
}

int cfs_branch_get(struct cfs_vols *v, uint16_t id, struct branch **ret,
		   struct cfs_err *err)
{
	*ret = cfs_branch_find(v, id);
	if (!*ret)
		return cfs_err_set(err, -EUCLEAN,
				   "branch %u is not in the tables",
				   (unsigned int)id);
	return 0;
}

static struct branch *branch_make(struct cfs_vols *v, uint16_t id,
				  struct cfs_err *err)
{
	struct branch *b = cfs_branch_find(v, id);

	if (b)
		return b;
	b = calloc(1, sizeof(*b));
	if (!b) {
		cfs_err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	b->id = id;
	if (CFS_HASH_ADD(v->branches, id, b) < 0) {
		free(b);
		cfs_err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	return b;
}

static void branch_free(struct cfs_vols *v, struct branch *b)
{
	HASH_DEL(v->branches, b);
	stamps_done(&b->snaps);
	stamps_done(&b->forks);
	free(b);
}

/*
 * An entry whose record is not there (any more) may be kept for its forks: the
 * records of a branch and its children come in any order.
 */
static bool is_known(const struct branch *b)
{
	return b->rec.volume != 0;
}

static void release_if_empty(struct cfs_vols *v, struct branch *b)
{
	if (!is_known(b) && b->forks.count == 0)
		branch_free(v, b);
}

static int branch_record(struct cfs_vols *v, uint16_t id, const void *value,
			 size_t value_bytes, struct cfs_err *err)
{
	struct cfs_branch_rec rec = { 0 };
	struct branch *b, *parent;
	int r = 0;

	if (value) {
		r = cfs_branch_rec_unpack(value, value_bytes, &rec, err);
		if (r < 0)
			return r;
	}
	b = branch_make(v, id, err);
	if (!b)
		return -ENOMEM;
	if (is_known(b) && b->rec.parent) {
		parent = cfs_branch_find(v, (uint16_t)b->rec.parent);
		if (parent) {
			stamps_remove(&parent->forks, b->rec.fork_stamp);
			if (parent != b)
				release_if_empty(v, parent);
		}
	}
	b->rec = rec;
	if (is_known(b) && rec.parent) {
		parent = branch_make(v, (uint16_t)rec.parent, err);
		if (!parent)
			return -ENOMEM;
		r = stamps_add(&parent->forks, rec.fork_stamp, err);
	}
	release_if_empty(v, b);
	return r;
}

static int snapshot_record(struct cfs_vols *v, uint16_t id, uint64_t stamp,
			   bool is_there, struct cfs_err *err)
{
	struct branch *b = cfs_branch_find(v, id);

	if (!b)
		return 0;
	if (is_there && stamp > b->newest)
		b->newest = stamp;
	/* Which one it is now is looked up when somebody asks. */
	else if (!is_there && stamp == b->newest)
		b->has_newest = false;
	if (!b->has_newest)
		b->newest = 0;
	if (!b->has_snaps)
		return 0;
	if (!is_there)
		stamps_remove(&b->snaps, stamp);
	else if (!stamps_has(&b->snaps, stamp, stamp + 1))
		return stamps_add(&b->snaps, stamp, err);
	return 0;
}

int cfs_branch_changed(struct cfs_vols *v, const struct cfs_key *key,
		       const void *value, size_t value_bytes,
		       struct cfs_err *err)
{
	uint64_t low = key->w[0] & ((UINT64_C(1) << 56) - 1);

	switch (key->w[0] >> 56) {
	case CFS_TABLE_BRANCH:
		return branch_record(v, (uint16_t)low, value, value_bytes, err);
	case CFS_TABLE_SNAPSHOT:
		cfs_names_changed(v, (uint16_t)low, key->w[1], value,
				  value_bytes);
		return snapshot_record(v, (uint16_t)low, key->w[1],
				       value != NULL, err);
	default:
		return 0;
	}
}

/* Counters and levels that changed, into the tree: part of a commit. */
int cfs_branches_store(struct cfs_vols *v, struct cfs_err *err)
{
	struct branch *b, *tmp;

	HASH_ITER(hh, v->branches, b, tmp) {
		struct cfs_key key = {
			{ cfs_table_word(CFS_TABLE_BRANCH, b->id), 0, 0 }
		};
		struct cfs_branch_rec_disk disk;
		int r;

		if (!b->is_changed || !is_known(b))
			continue;
		cfs_branch_rec_pack(&b->rec, &disk);
		r = cfs_container_tree_set(v->c, CFS_TREE_TABLE, &key, &disk,
					   sizeof(disk), err);
		if (r < 0)
			return r;
		b->is_changed = false;
	}
	return 0;
}

void cfs_branches_done(struct cfs_vols *v)
{
	struct branch *b, *tmp;

	HASH_ITER(hh, v->branches, b, tmp)
		branch_free(v, b);
}

/* Counters follow the maps; the branch is found again by its number. */
static void undo_live(void *arg, uint64_t value)
{
	struct cfs_vols *v = arg;
	struct branch *b = cfs_branch_find(v, (uint16_t)(value >> 48));

	if (b)
		b->rec.live_blocks -= (uint64_t)(int64_t)(int32_t)value;
}

static void undo_history(void *arg, uint64_t value)
{
	struct cfs_vols *v = arg;
	struct branch *b = cfs_branch_find(v, (uint16_t)(value >> 48));

	if (b)
		b->rec.history_blocks -= (uint64_t)(int64_t)(int32_t)value;
}

int cfs_branch_count(struct cfs_vols *v, struct branch *b, int64_t live,
		     int64_t history, struct cfs_err *err)
{
	int r = 0;

	b->is_changed = true;
	b->rec.live_blocks += (uint64_t)live;
	b->rec.history_blocks += (uint64_t)history;
	if (live)
		r = cfs_op_on_abort(
			v->c, undo_live, v,
			(uint64_t)b->id << 48 | (uint32_t)(int32_t)live, err);
	if (r == 0 && history)
		r = cfs_op_on_abort(v->c, undo_history, v,
				    (uint64_t)b->id << 48 |
					    (uint32_t)(int32_t)history,
				    err);
	return r;
}

bool cfs_branch_parent_view(struct cfs_vols *v, const struct cfs_view *view,
			    struct cfs_view *ret)
{
	const struct branch *b = cfs_branch_find(v, view->branch);

	/* A parent is older than its child, so this cannot go in circles. */
	if (!b || !b->rec.parent)
		return false;
	*ret = (struct cfs_view){
		.container = view->container,
		.branch = (uint16_t)b->rec.parent,
		.stamp = b->rec.fork_stamp,
	};
	return true;
}
