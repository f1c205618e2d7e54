/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Space of a volume and its snapshots, by one walk over the maps.
 *
 * A version is seen by the pins p with birth <= p < death: for the stamps of a
 * branch, sorted, those are a range, so adding up is two numbers a version
 * (where the range begins, where it ends) and one running sum at the end.  Of
 * a version that one pin alone sees, that pin has it exclusively.
 *
 * A branch with a parent sees besides what the parent shows where it forks, but
 * for what it has put something of its own over: a number that begins at the
 * birth of that and never ends (usage_cover.c).
 */
#include "volume/usage_priv.h"
#include "volume/volume_priv.h"

#include "base/vec.h"

#include <stdlib.h>

struct count {
	uint64_t blocks, inodes;
};

struct pin {
	uint64_t stamp;
	bool is_snapshot; /* else the fork of a child branch */
	/* Sums that wrap: what begins here, what ends here. */
	struct count begins, ends;
	struct count hides; /* of the parent, from here on */
	uint64_t exclusive; /* blocks */
};

struct walk {
	struct cfs_vols *v;
	struct branch *b;
	struct pin *pins; /* of this branch, sorted by stamp */
	size_t count;
	bool is_head;      /* of its volume: it sees what lives in it */
	struct count live; /* its own */
	uint64_t live_shared;
	struct count hidden; /* of the parent, by now */
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

static void add(struct count *to, const struct count *n)
{
	to->blocks += n->blocks;
	to->inodes += n->inodes;
}

static void sub(struct count *from, const struct count *n)
{
	from->blocks -= n->blocks;
	from->inodes -= n->inodes;
}

static void count_version(struct walk *w, const struct cfs_version *version,
			  const struct count *n)
{
	const bool is_live = version->death == 0;
	size_t from = first_pin(w, version->stamp);
	/* One behind the last. */
	size_t to = is_live ? w->count : first_pin(w, version->death);

	if (is_live) {
		add(&w->live, n);
		if (from < to)
			w->live_shared += n->blocks;
	}
	if (from >= to)
		return;
	add(&w->pins[from].begins, n);
	add(&w->pins[to - 1].ends, n);
	if (to - from == 1 && !(is_live && w->is_head))
		w->pins[from].exclusive += n->blocks;
}

static int count_record(struct walk *w, const struct cfs_cursor *cur,
			struct cfs_err *err)
{
	const uint64_t class = cur->key.w[1] >> CFS_MAP_OFF_BITS;
	struct count n = { 0 };
	int r;

	if (class == CFS_MAP_EXTENT) {
		struct cfs_extent_rec rec;

		r = cfs_extent_rec_unpack(cur->value, cur->value_bytes, &rec,
					  err);
		n.blocks = rec.count;
		if (r == 0 && rec.vaddr)
			count_version(w, &rec.version, &n);
		return r;
	}
	if (class == CFS_MAP_INODE) {
		struct cfs_version version;

		r = cfs_version_unpack(cur->value, cur->value_bytes, &version,
				       err);
		n.inodes = 1;
		if (r == 0 && !(version.flags & CFS_VERSION_WHITEOUT))
			count_version(w, &version, &n);
		return r;
	}
	return 0;
}

static int walk_tree(struct walk *w, unsigned int tree_id, struct cfs_err *err)
{
	struct cfs_key from = { { (uint64_t)w->b->id << 48, 0, 0 } };
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, cfs_container_tree(w->v->c, tree_id), &from,
			      err);

	while (r == 0 && cur.key.w[0] >> 48 == w->b->id) {
		r = count_record(w, &cur, err);
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	return r == -ENOENT ? 0 : r;
}

static int note_cover(void *arg, const struct cfs_usage_cover *c,
		      struct cfs_err *err)
{
	const struct count n = { .blocks = c->blocks, .inodes = c->inodes };
	struct walk *w = arg;
	size_t from = first_pin(w, c->birth);

	(void)err;
	add(&w->hidden, &n);
	if (from < w->count)
		add(&w->pins[from].hides, &n);
	return 0;
}

/* All of one branch; w->pins is to be freed, whatever is returned. */
static int walk_branch(struct walk *w, struct cfs_vols *v, struct branch *b,
		       bool is_head, struct cfs_err *err)
{
	int r;

	*w = (struct walk){ .v = v, .b = b, .is_head = is_head };
	r = pins_of(v, b, &w->pins, &w->count, err);
	if (r == 0)
		r = walk_tree(w, CFS_TREE_LIVE, err);
	if (r == 0)
		r = walk_tree(w, CFS_TREE_HISTORY, err);
	if (r == 0)
		r = cfs_usage_covers(v, b, note_cover, w, err);
	return r;
}

/* What the first pin at @stamp sees, where the parent shows @shown. */
static struct count seen_at(const struct walk *w, const struct count *shown,
			    uint64_t stamp)
{
	struct count sum = *shown;

	for (size_t i = 0; i < w->count; i++) {
		add(&sum, &w->pins[i].begins);
		sub(&sum, &w->pins[i].hides);
		if (w->pins[i].stamp == stamp)
			return sum;
		sub(&sum, &w->pins[i].ends);
	}
	return (struct count){ 0 }; /* no fork is noted there: damage */
}

/* What a branch's parent shows where it forks; nothing if it has none.  From
 * the oldest ancestor on, as each needs what the one above shows. */
static int shown_by_parent(struct cfs_vols *v, struct branch *b,
			   struct count *ret, struct cfs_err *err)
{
	CFS_VEC(struct branch *) chain = CFS_VEC_INIT;
	struct count shown = { 0 };
	int r = 0;

	for (; r == 0 && b && chain.count <= UINT16_MAX;
	     b = b->rec.parent ? cfs_branch_find(v, (uint16_t)b->rec.parent)
			       : NULL)
		if (cfs_vec_push(&chain, b) < 0)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = chain.count; r == 0 && i-- > 1;) {
		struct walk w;

		r = walk_branch(&w, v, chain.items[i], false, err);
		if (r == 0)
			shown = seen_at(&w, &shown,
					chain.items[i - 1]->rec.fork_stamp);
		free(w.pins);
	}
	cfs_vec_done(&chain);
	if (r == 0)
		*ret = shown;
	return r;
}

static int add_snapshots(struct cfs_volume_space *ret, const struct walk *w,
			 const struct count *shown, struct cfs_err *err)
{
	size_t room = ret->snapshot_count + w->count + 1;
	struct cfs_snapshot_space *list = realloc(ret->snapshots,
						  room * sizeof(*list));
	struct count sum = *shown;

	if (!list)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	ret->snapshots = list;
	for (size_t i = 0; i < w->count; i++) {
		const struct pin *p = &w->pins[i];

		add(&sum, &p->begins);
		sub(&sum, &p->hides);
		if (p->is_snapshot)
			list[ret->snapshot_count++] =
				(struct cfs_snapshot_space){
					.stamp = p->stamp,
					.branch = w->b->id,
					.seen_blocks = sum.blocks,
					.exclusive_blocks = p->exclusive,
				};
		sub(&sum, &p->ends);
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
	struct count shown = { 0 };
	struct walk w;
	int r = walk_branch(&w, v, b, is_head, err);

	if (r == 0)
		r = shown_by_parent(v, b, &shown, err);
	if (r == 0)
		r = add_snapshots(ret, &w, &shown, err);
	if (r == 0 && is_head) {
		sub(&shown, &w.hidden);
		ret->used_blocks = w.live.blocks + shown.blocks;
		ret->shared_blocks = w.live_shared + shown.blocks;
		ret->inode_count = w.live.inodes + shown.inodes;
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
