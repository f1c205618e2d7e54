/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a view shows of a range: a walk over dirty pages, live extents and
 * history of a branch, and where it has nothing, of its parents.
 *
 * The walk steps down one branch at a time for each part that the branch
 * leaves open.  A parent is older than its child (its number may not be, but
 * the fork's stamp is checked), so that it ends.
 */
#include "volume/vols_priv.h"

#include <inttypes.h>

#define DEPTH_MAX 65536u

struct walk {
	struct cfs_vols *v;
	uint64_t ino;
	segment_fn each;
	void *arg;
	unsigned int depth;
};

static int walk_branch(struct walk *w, const struct cfs_view *view,
		       uint64_t offset, uint64_t count, struct cfs_err *err);

static int emit_hole(struct walk *w, uint64_t offset, uint64_t count,
		     struct cfs_err *err)
{
	const struct segment s = {
		.kind = SEGMENT_HOLE,
		.offset = offset,
		.count = count,
	};

	return w->each(w->arg, &s, err);
}

/* The branch has nothing here: its parent, or a hole. */
static int go_up(struct walk *w, const struct cfs_view *view, uint64_t offset,
		 uint64_t count, struct cfs_err *err)
{
	struct cfs_view parent;
	int r;

	if (!cfs_branch_parent_view(w->v, view, &parent))
		return emit_hole(w, offset, count, err);
	if (++w->depth > DEPTH_MAX)
		return cfs_err_set(err, -EUCLEAN, "branches: a circle");
	r = walk_branch(w, &parent, offset, count, err);
	w->depth--;
	return r;
}

static int emit_extent(struct walk *w, uint16_t branch, const struct extent *e,
		       uint64_t offset, uint64_t count, struct cfs_err *err)
{
	struct segment s = {
		.kind = SEGMENT_DISK,
		.offset = offset,
		.count = count,
		.branch = branch,
		.stamp = e->stamp,
		.seq = e->seq,
	};

	if (!e->vaddr)
		return emit_hole(w, offset, count, err);
	s.vaddr = e->vaddr + (offset - e->offset);
	s.csum = e->count == 1 ? e->csum : 0;
	return w->each(w->arg, &s, err);
}

/* ---- history ------------------------------------------------------------- */

static struct cfs_key history_key(uint16_t branch, uint64_t ino,
				  unsigned int level, uint64_t offset,
				  uint64_t version_word)
{
	return (struct cfs_key){ {
		cfs_map_word0(branch, ino),
		cfs_map_word1(CFS_MAP_EXTENT,
			      (uint64_t)level << CFS_MAP_LEVEL_SHIFT | offset),
		version_word,
	} };
}

/*
 * The piece of @level that covers @offset and lived at @stamp: 0.  Else
 * -ENOENT.
 */
static int history_piece(struct walk *w, const struct cfs_view *view,
			 unsigned int level, uint64_t offset,
			 struct extent *ret, struct cfs_err *err)
{
	uint64_t start = offset & ~((UINT64_C(1) << level) - 1);
	struct cfs_key key = history_key(
		view->branch, w->ino, level, start,
		cfs_map_version_word(view->stamp, 0xffff));
	struct cfs_extent_rec rec;
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(
		&cur, cfs_container_tree(w->v->c, CFS_TREE_HISTORY), &key, err);

	if (r < 0)
		return r;
	if (cur.key.w[0] != key.w[0] || cur.key.w[1] != key.w[1])
		return -ENOENT;
	r = cfs_extent_rec_unpack(cur.value, cur.value_bytes, &rec, err);
	if (r < 0)
		return r;
	if (rec.count != UINT64_C(1) << level)
		return cfs_err_set(err, -EUCLEAN,
				   "history: a piece has the wrong length");
	if (rec.version.death <= view->stamp)
		return -ENOENT;
	*ret = (struct extent){
		.offset = start,
		.count = rec.count,
		.vaddr = rec.vaddr,
		.stamp = rec.version.stamp,
		.seq = rec.version.seq,
		.csum = rec.csum,
	};
	return 0;
}

/* Where the next piece of @level behind @offset begins, of any time. */
static int history_next(struct walk *w, uint16_t branch, unsigned int level,
			uint64_t offset, uint64_t *ret, struct cfs_err *err)
{
	struct cfs_key key = history_key(branch, w->ino, level, offset + 1, 0);
	struct cfs_key last = history_key(branch, w->ino, level, CFS_OFF_MAX,
					  0);
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(
		&cur, cfs_container_tree(w->v->c, CFS_TREE_HISTORY), &key, err);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (cur.key.w[0] == key.w[0] && cur.key.w[1] <= last.w[1])
		*ret = CFS_MIN(*ret, cur.key.w[1] & CFS_OFF_MAX);
	return 0;
}

/* A part that the live extents do not answer for this view. */
static int walk_history(struct walk *w, const struct cfs_view *view,
			uint64_t offset, uint64_t count, struct cfs_err *err)
{
	const struct branch *b = cfs_branch_find(w->v, view->branch);
	uint64_t end = offset + count, mask = b ? b->rec.level_mask : 0;

	while (offset < end) {
		uint64_t next = end;
		struct extent best = { 0 };
		bool is_found = false;
		int r;

		for (unsigned int level = 0; level <= CFS_HISTORY_LEVEL_MAX;
		     level++) {
			struct extent e;

			if (!(mask >> level & 1))
				continue;
			r = history_piece(w, view, level, offset, &e, err);
			if (r == 0 && (!is_found || e.stamp > best.stamp)) {
				best = e;
				is_found = true;
			}
			if (r < 0 && r != -ENOENT)
				return r;
		}
		if (is_found) {
			next = CFS_MIN(end, best.offset + best.count);
			r = emit_extent(w, view->branch, &best, offset,
					next - offset, err);
		} else {
			for (unsigned int level = 0;
			     level <= CFS_HISTORY_LEVEL_MAX; level++) {
				if (!(mask >> level & 1))
					continue;
				r = history_next(w, view->branch, level, offset,
						 &next, err);
				if (r < 0)
					return r;
			}
			r = go_up(w, view, offset, next - offset, err);
		}
		if (r != 0)
			return r;
		offset = next;
	}
	return 0;
}

/* ---- one branch ---------------------------------------------------------- */

/* Live extents; no dirty page of this view lies in the range. */
static int walk_live(struct walk *w, const struct cfs_view *view,
		     uint64_t offset, uint64_t count, struct cfs_err *err)
{
	uint64_t end = offset + count;

	while (offset < end) {
		uint64_t next = end;
		bool is_covered = false;
		struct extent e;
		int r = cfs_extent_at(w->v, view->branch, w->ino, offset, &e,
				      err);

		if (r == 0 && e.offset <= offset) {
			is_covered = true;
			next = CFS_MIN(end, e.offset + e.count);
		} else if (r == 0) {
			next = CFS_MIN(end, e.offset);
		} else if (r != -ENOENT) {
			return r;
		}
		if (is_covered && e.stamp <= view->stamp)
			r = emit_extent(w, view->branch, &e, offset,
					next - offset, err);
		else if (view->stamp == CFS_STAMP_HEAD)
			r = go_up(w, view, offset, next - offset, err);
		else
			r = walk_history(w, view, offset, next - offset, err);
		if (r != 0)
			return r;
		offset = next;
	}
	return 0;
}

static int walk_branch(struct walk *w, const struct cfs_view *view,
		       uint64_t offset, uint64_t count, struct cfs_err *err)
{
	uint64_t end = offset + count;
	int r = 0;

	while (offset < end && r == 0) {
		uint64_t at = end, from = offset;
		struct page *p = NULL;

		/* The next page that this view sees. */
		while (cfs_pages_next(w->v, view->branch, w->ino, from, end,
				      &at)) {
			p = cfs_page_find(w->v, view->branch, w->ino, at);
			if (p->stamp <= view->stamp)
				break;
			p = NULL;
			from = at + 1;
			if (from == end)
				break;
		}
		if (!p)
			at = end;
		if (at > offset)
			r = walk_live(w, view, offset, at - offset, err);
		if (r == 0 && p) {
			const struct segment s = {
				.kind = SEGMENT_PAGE,
				.offset = at,
				.count = 1,
				.page = p->data,
				.branch = view->branch,
				.stamp = p->stamp,
			};

			r = w->each(w->arg, &s, err);
			at++;
		}
		offset = at;
	}
	return r;
}

int cfs_segments(const struct cfs_view *view, uint64_t ino, uint64_t offset,
		 uint64_t count, segment_fn each, void *arg,
		 struct cfs_err *err)
{
	struct walk w = {
		.v = cfs_vols_of(view->container),
		.ino = ino,
		.each = each,
		.arg = arg,
	};

	return walk_branch(&w, view, offset, count, err);
}

/* ---- the end of data ----------------------------------------------------- */

/* One behind the last block that a tree has any version of. */
static int branch_end(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		      uint64_t *ret, struct cfs_err *err)
{
	struct cfs_key last = { { cfs_map_word0(branch, ino),
				  cfs_map_word1(CFS_MAP_EXTENT, CFS_OFF_MAX),
				  0 } };
	struct cfs_extent_rec rec;
	struct cfs_cursor cur;
	int r = cfs_cursor_le(&cur, cfs_container_tree(v->c, CFS_TREE_LIVE),
			      &last, err);

	if (r == 0 && cur.key.w[0] == last.w[0] &&
	    cur.key.w[1] >> CFS_MAP_OFF_BITS == CFS_MAP_EXTENT) {
		r = cfs_extent_rec_unpack(cur.value, cur.value_bytes, &rec,
					  err);
		if (r == 0)
			*ret = CFS_MAX(*ret, (cur.key.w[1] & CFS_MAP_OFF_MASK) +
						     rec.count);
	}
	for (unsigned int level = 0;
	     (r == 0 || r == -ENOENT) && level <= CFS_HISTORY_LEVEL_MAX;
	     level++) {
		last = history_key(branch, ino, level, CFS_OFF_MAX, UINT64_MAX);
		r = cfs_cursor_le(&cur,
				  cfs_container_tree(v->c, CFS_TREE_HISTORY),
				  &last, err);
		if (r == 0 && cur.key.w[0] == last.w[0] &&
		    cur.key.w[1] >= history_key(branch, ino, level, 0, 0).w[1])
			*ret = CFS_MAX(*ret, (cur.key.w[1] & CFS_OFF_MAX) +
						     (UINT64_C(1) << level));
	}
	if (r < 0 && r != -ENOENT)
		return r;
	*ret = CFS_MAX(*ret, cfs_pages_end(v, branch, ino));
	return 0;
}

int cfs_extent_end(const struct cfs_view *view, uint64_t ino, uint64_t *ret_end,
		   struct cfs_err *err)
{
	struct cfs_vols *v = cfs_vols_of(view->container);
	struct cfs_view at = *view;
	unsigned int depth = 0;

	*ret_end = 0;
	do {
		int r = branch_end(v, at.branch, ino, ret_end, err);

		if (r < 0)
			return r;
	} while (cfs_branch_parent_view(v, &at, &at) && ++depth < DEPTH_MAX);
	return 0;
}
