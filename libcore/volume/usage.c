/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Space of a volume and its snapshots, by one walk over the maps.
 *
 * A version is seen by the pins p with birth <= p < death: for the stamps of a
 * branch, sorted, those are a range, so adding up is two numbers a version
 * (where the range begins, where it ends) and one running sum at the end.  Of
 * a version that one pin alone sees, that pin has it exclusively.
 */
#include "volume/volume_priv.h"

#include <stdlib.h>

struct pin {
	uint64_t stamp;
	uint16_t branch;
	bool is_snapshot;     /* else the fork of a child branch */
	int64_t begins, ends; /* sums of blocks */
	uint64_t exclusive;
};

struct walk {
	struct cfs_vols *v;
	struct branch *b;
	struct pin *pins; /* of this branch, sorted by stamp */
	size_t count;
	bool is_head;
	uint64_t live, live_shared, inodes;
};

static int pins_of(struct cfs_vols *v, struct branch *b, struct pin **ret,
		   size_t *ret_count, struct cfs_err *err)
{
	size_t n = 0, s = 0, f = 0;
	struct pin *list;
	int r = cfs_branch_load(v, b, err);

	if (r < 0)
		return r;
	list = calloc(b->snaps.count + b->forks.count + 1, sizeof(*list));
	if (!list)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	while (s < b->snaps.count || f < b->forks.count) {
		const bool is_snapshot = f == b->forks.count ||
					 (s < b->snaps.count &&
					  b->snaps.list[s] <= b->forks.list[f]);

		list[n++] = (struct pin){
			.stamp = is_snapshot ? b->snaps.list[s++]
					     : b->forks.list[f++],
			.branch = b->id,
			.is_snapshot = is_snapshot,
		};
	}
	*ret = list;
	*ret_count = n;
	return 0;
}

/* The index of the first pin >= @stamp. */
static size_t first_pin(const struct walk *w, uint64_t stamp)
{
	size_t lo = 0, hi = w->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (w->pins[mid].stamp < stamp)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void count_version(struct walk *w, const struct cfs_version *version,
			  uint64_t death, int64_t blocks, bool is_live)
{
	size_t from = first_pin(w, version->stamp);
	size_t to = first_pin(w, death); /* one behind the last */

	if (is_live && w->is_head) {
		w->live += (uint64_t)blocks;
		if (from < to)
			w->live_shared += (uint64_t)blocks;
	}
	if (from == to)
		return;
	w->pins[from].begins += blocks;
	w->pins[to - 1].ends += blocks;
	if (to - from == 1 && !(is_live && w->is_head))
		w->pins[from].exclusive += (uint64_t)blocks;
}

static int walk_tree(struct walk *w, unsigned int tree_id, struct cfs_err *err)
{
	struct cfs_key from = { { (uint64_t)w->b->id << 48, 0, 0 } };
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, cfs_container_tree(w->v->c, tree_id), &from,
			      err);

	while (r == 0 && cur.key.w[0] >> 48 == w->b->id) {
		uint64_t class = cur.key.w[1] >> CFS_MAP_OFF_BITS;
		bool is_live = tree_id == CFS_TREE_LIVE;

		if (class == CFS_MAP_EXTENT) {
			struct cfs_extent_rec rec;

			r = cfs_extent_rec_unpack(cur.value, cur.value_bytes,
						  &rec, err);
			if (r < 0)
				return r;
			if (rec.vaddr)
				count_version(w, &rec.version,
					      is_live ? UINT64_MAX
						      : rec.version.death,
					      rec.count, is_live);
		} else if (class == CFS_MAP_INODE && is_live && w->is_head) {
			w->inodes++;
		}
		r = cfs_cursor_next(&cur, err);
	}
	return r == -ENOENT ? 0 : r;
}

/* What @stamp of @branch sees in its parents. */
static int parents_blocks(struct cfs_vols *v, uint16_t branch, uint64_t *ret,
			  struct cfs_err *err)
{
	struct branch *b = cfs_branch_find(v, branch);

	*ret = 0;
	for (unsigned int depth = 0; b && b->rec.parent && depth < UINT16_MAX;
	     depth++) {
		struct branch *parent = cfs_branch_find(
			v, (uint16_t)b->rec.parent);
		struct walk w = { .v = v, .b = parent };
		int64_t sum = 0;
		int r;

		if (!parent)
			break;
		r = pins_of(v, parent, &w.pins, &w.count, err);
		if (r == 0)
			r = walk_tree(&w, CFS_TREE_LIVE, err);
		if (r == 0)
			r = walk_tree(&w, CFS_TREE_HISTORY, err);
		for (size_t i = 0; i < w.count; i++) {
			sum += w.pins[i].begins;
			if (w.pins[i].stamp == b->rec.fork_stamp) {
				*ret += (uint64_t)sum;
				break;
			}
			sum -= w.pins[i].ends;
		}
		free(w.pins);
		if (r < 0)
			return r;
		b = parent;
	}
	return 0;
}

static int add_snapshots(struct cfs_volume_space *ret, const struct walk *w,
			 uint64_t inherited, struct cfs_err *err)
{
	size_t room = ret->snapshot_count + w->count + 1;
	struct cfs_snapshot_space *list = realloc(ret->snapshots,
						  room * sizeof(*list));
	int64_t sum = 0;

	if (!list)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	ret->snapshots = list;
	for (size_t i = 0; i < w->count; i++) {
		const struct pin *p = &w->pins[i];

		sum += p->begins;
		if (p->is_snapshot)
			list[ret->snapshot_count++] =
				(struct cfs_snapshot_space){
					.stamp = p->stamp,
					.branch = p->branch,
					.seen_blocks = (uint64_t)sum +
						       inherited,
					.exclusive_blocks = p->exclusive,
				};
		sum -= p->ends;
	}
	return 0;
}

static int by_snapshot_stamp(const void *a, const void *b)
{
	const struct cfs_snapshot_space *x = a, *y = b;

	return (x->stamp > y->stamp) - (x->stamp < y->stamp);
}

static bool is_in_order(const struct cfs_volume_space *space)
{
	for (size_t i = 1; i < space->snapshot_count; i++)
		if (space->snapshots[i - 1].stamp > space->snapshots[i].stamp)
			return false;
	return true;
}

static int space_of_branch(struct cfs_vols *v, struct branch *b, bool is_head,
			   struct cfs_volume_space *ret, struct cfs_err *err)
{
	struct walk w = { .v = v, .b = b, .is_head = is_head };
	uint64_t inherited = 0;
	int r = pins_of(v, b, &w.pins, &w.count, err);

	if (r == 0)
		r = walk_tree(&w, CFS_TREE_LIVE, err);
	if (r == 0)
		r = walk_tree(&w, CFS_TREE_HISTORY, err);
	if (r == 0)
		r = parents_blocks(v, b->id, &inherited, err);
	if (r == 0)
		r = add_snapshots(ret, &w, inherited, err);
	if (r == 0 && is_head) {
		ret->used_blocks = w.live + inherited;
		ret->shared_blocks = w.live_shared + inherited;
		ret->inode_count = w.inodes;
	}
	free(w.pins);
	return r;
}

int cfs_volume_space(struct cfs_member *m, uint64_t volume,
		     struct cfs_volume_space *ret, struct cfs_err *err)
{
	struct cfs_volume_rec rec;
	struct branch *b, *tmp;
	int r;

	memset(ret, 0, sizeof(*ret));
	/* Pages that wait in memory count when they are home. */
	r = cfs_container_is_writable(m->container)
		    ? cfs_container_commit(m->container, err)
		    : 0;
	if (r < 0)
		return r;
	cfs_container_lock(m->container);
	r = cfs_volume_get_locked(m, volume, &rec, err);
	HASH_ITER(hh, m->vols->branches, b, tmp)
		if (r == 0 && b->rec.volume == volume)
			r = space_of_branch(m->vols, b,
					    b->id == rec.head_branch, ret, err);
	cfs_container_unlock(m->container);
	/* A branch alone brings them in order. */
	if (r == 0 && !is_in_order(ret))
		qsort(ret->snapshots, ret->snapshot_count,
		      sizeof(*ret->snapshots), by_snapshot_stamp);
	if (r < 0) {
		free(ret->snapshots);
		ret->snapshots = NULL;
	}
	return r;
}
