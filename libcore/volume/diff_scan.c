/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keys that may have changed between two views: see diff_priv.h. */
#include "volume/diff_priv.h"

#include <assert.h>
#include <stdlib.h>

#define EXTENT_WORD ((uint64_t)CFS_MAP_EXTENT << CFS_MAP_OFF_BITS)

/* ---- legs ---------------------------------------------------------------- */

struct chain {
	struct cfs_view *views;
	size_t count;
};

static int chain_of(struct cfs_vols *v, const struct cfs_view *view,
		    struct chain *ret, struct cfs_err *err)
{
	struct cfs_view at = *view;

	ret->views = calloc(DIFF_LEGS_MAX, sizeof(*ret->views));
	if (!ret->views)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	do {
		if (ret->count == DIFF_LEGS_MAX)
			return cfs_err_set(err, -EUCLEAN,
					   "branches: the chain is too long");
		ret->views[ret->count++] = at;
	} while (cfs_branch_parent_view(v, &at, &at));
	return 0;
}

/* Where two chains meet; false: nowhere. */
static bool meet(const struct chain *a, const struct chain *b, size_t *ret_a,
		 size_t *ret_b)
{
	for (size_t i = 0; i < a->count; i++) {
		for (size_t k = 0; k < b->count; k++) {
			if (a->views[i].branch != b->views[k].branch)
				continue;
			*ret_a = i;
			*ret_b = k;
			return true;
		}
	}
	return false;
}

static void add_leg(struct diff_scan *s, uint16_t branch, uint64_t lo,
		    uint64_t hi)
{
	if (lo < hi)
		s->legs[s->leg_count++] = (struct diff_leg){
			.branch = branch,
			.lo = lo,
			.hi = hi,
		};
}

/* Branches before the one they meet in: all that was born in them. */
static void add_own(struct diff_scan *s, const struct chain *c, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct branch *b = cfs_branch_find(s->v,
							 c->views[i].branch);

		add_leg(s, c->views[i].branch, b ? b->rec.fork_stamp : 0,
			c->views[i].stamp);
	}
}

static int find_legs(struct diff_scan *s, const struct chain *from,
		     const struct chain *to, struct cfs_err *err)
{
	size_t f = 0, t = 0;
	uint64_t a, b;

	if (!meet(from, to, &f, &t))
		return cfs_err_set(err, -EINVAL,
				   "the two have no ancestor in common");
	s->legs = calloc(f + t + 1, sizeof(*s->legs));
	if (!s->legs)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	add_own(s, from, f);
	add_own(s, to, t);
	a = from->views[f].stamp;
	b = to->views[t].stamp;
	add_leg(s, to->views[t].branch, CFS_MIN(a, b), CFS_MAX(a, b));
	return 0;
}

int cfs_diff_scan_init(struct diff_scan *s, const struct cfs_view *from,
		       const struct cfs_view *to, struct cfs_err *err)
{
	struct chain a = { NULL, 0 }, b = { NULL, 0 };
	int r;

	s->v = cfs_vols_of(to->container);
	r = chain_of(s->v, from, &a, err);
	if (r == 0)
		r = chain_of(s->v, to, &b, err);
	if (r == 0)
		r = find_legs(s, &a, &b, err);
	free(a.views);
	free(b.views);
	return r;
}

void cfs_diff_scan_done(struct diff_scan *s)
{
	free(s->legs);
}

/* ---- sources ------------------------------------------------------------- */

static bool is_in(const struct diff_leg *leg, uint64_t stamp)
{
	return stamp > leg->lo && stamp <= leg->hi;
}

/* Was the version born on the leg, or did it die there? */
static int is_candidate(const struct diff_leg *leg,
			const struct cfs_cursor *cur, bool is_live,
			struct cfs_err *err)
{
	struct cfs_version version;
	int r = cfs_version_unpack(cur->value, cur->value_bytes, &version, err);

	if (r < 0)
		return r;
	if (is_in(leg, version.stamp))
		return 1;
	return !is_live && is_in(leg, version.death);
}

static int extent_count(const struct cfs_cursor *cur, uint64_t *ret,
			struct cfs_err *err)
{
	struct cfs_extent_rec rec;
	int r = cfs_extent_rec_unpack(cur->value, cur->value_bytes, &rec, err);

	if (r == 0)
		*ret = rec.count;
	return r;
}

static uint64_t ino_of(const struct cfs_cursor *cur)
{
	return cur->key.w[0] & CFS_INO_MAX;
}

/* An extent that covers @at->word from before, in LIVE: 1. */
static int live_before(struct diff_scan *s, struct diff_leg *leg,
		       const struct cfs_stream_position *at,
		       struct diff_key *ret, struct cfs_err *err)
{
	const uint64_t offset = at->word & CFS_MAP_OFF_MASK;
	struct extent e;
	int r;

	if (at->word >> CFS_MAP_OFF_BITS != CFS_MAP_EXTENT || offset == 0 ||
	    offset > CFS_OFF_MAX)
		return 0;
	r = cfs_extent_at(s->v, leg->branch, at->ino, offset, &e, err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (e.offset >= offset || !is_in(leg, e.stamp))
		return 0;
	*ret = (struct diff_key){ at->ino, at->word,
				  e.offset + e.count - offset };
	return 1;
}

static int scan_live(struct diff_scan *s, struct diff_leg *leg,
		     const struct cfs_stream_position *at, struct diff_key *ret,
		     struct cfs_err *err)
{
	struct cfs_tree *tree = cfs_container_tree(s->v->c, CFS_TREE_LIVE);
	const struct cfs_key key = { { cfs_map_word0(leg->branch, at->ino),
				       at->word, 0 } };
	struct cfs_cursor cur;
	int r = live_before(s, leg, at, ret, err);

	if (r != 0)
		return r;
	r = cfs_cursor_ge_newer(&cur, tree, &key, leg->lo, err);
	while (r == 0 && cur.key.w[0] >> 48 == leg->branch) {
		r = is_candidate(leg, &cur, true, err);
		if (r < 0)
			return r;
		if (r == 1) {
			*ret = (struct diff_key){ ino_of(&cur), cur.key.w[1],
						  0 };
			if (ret->word >> CFS_MAP_OFF_BITS == CFS_MAP_EXTENT)
				r = extent_count(&cur, &ret->count, err);
			return r < 0 ? r : 1;
		}
		r = cfs_cursor_next_newer(&cur, leg->lo, err);
	}
	return r == -ENOENT || r == 0 ? 0 : r;
}

/*
 * What is no extent, in HISTORY; of an inode that has extents there, the first
 * place where one may be, which only says that they are to be looked at: the
 * count is 0 then.
 */
static int scan_meta(struct diff_scan *s, struct diff_leg *leg,
		     const struct cfs_stream_position *at, struct diff_key *ret,
		     struct cfs_err *err)
{
	struct cfs_tree *tree = cfs_container_tree(s->v->c, CFS_TREE_HISTORY);
	struct cfs_key key = { { cfs_map_word0(leg->branch, at->ino), at->word,
				 0 } };
	struct cfs_cursor cur;
	int r;

	if (at->word >= EXTENT_WORD)
		key.w[1] = EXTENT_WORD;
	r = cfs_cursor_ge_newer(&cur, tree, &key, leg->lo, err);
	while (r == 0 && cur.key.w[0] >> 48 == leg->branch) {
		r = is_candidate(leg, &cur, false, err);
		if (r < 0)
			return r;
		if (r == 1) {
			*ret = (struct diff_key){ ino_of(&cur), cur.key.w[1],
						  0 };
			if (ret->word >= EXTENT_WORD)
				ret->word = EXTENT_WORD;
			return 1;
		}
		r = cfs_cursor_next_newer(&cur, leg->lo, err);
	}
	return r == -ENOENT || r == 0 ? 0 : r;
}

/* Pieces of one level, of the inode at @at, in HISTORY. */
static int scan_level(struct diff_scan *s, struct diff_leg *leg,
		      unsigned int level, const struct cfs_stream_position *at,
		      struct diff_key *ret, struct cfs_err *err)
{
	struct cfs_tree *tree = cfs_container_tree(s->v->c, CFS_TREE_HISTORY);
	const uint64_t of_level = (uint64_t)level << CFS_MAP_LEVEL_SHIFT;
	const uint64_t size = UINT64_C(1) << level;
	const uint64_t from = at->word & CFS_MAP_OFF_MASK;
	const struct cfs_key key = { {
		cfs_map_word0(leg->branch, at->ino),
		cfs_map_word1(CFS_MAP_EXTENT, of_level | (from & ~(size - 1))),
		0,
	} };
	struct cfs_cursor cur;
	int r;

	if (from > CFS_OFF_MAX)
		return 0;
	r = cfs_cursor_ge_newer(&cur, tree, &key, leg->lo, err);
	while (r == 0 && cur.key.w[0] == key.w[0] &&
	       cur.key.w[1] <=
		       cfs_map_word1(CFS_MAP_EXTENT, of_level | CFS_OFF_MAX)) {
		r = is_candidate(leg, &cur, false, err);
		if (r < 0)
			return r;
		if (r == 1) {
			const uint64_t offset = cur.key.w[1] & CFS_OFF_MAX;
			const uint64_t first = CFS_MAX(offset, from);

			*ret = (struct diff_key){
				at->ino,
				EXTENT_WORD | first,
				offset + size - first,
			};
			return 1;
		}
		r = cfs_cursor_next_newer(&cur, leg->lo, err);
	}
	return r == -ENOENT || r == 0 ? 0 : r;
}

/* ---- the first of all ---------------------------------------------------- */

static bool is_behind(const struct diff_key *key,
		      const struct cfs_stream_position *at)
{
	const struct cfs_stream_position of = { key->ino, key->word };

	return cfs_stream_position_cmp(&of, at) >= 0;
}

/* What a source has found, cut at its front; false: it must look again. */
static bool still_good(struct diff_source *src,
		       const struct cfs_stream_position *at)
{
	struct diff_key *key = &src->next;

	if (!src->is_known)
		return false;
	if (src->is_over || is_behind(key, at))
		return true;
	if (key->ino != at->ino || key->count == 0 ||
	    at->word - key->word >= key->count)
		return false;
	key->count -= at->word - key->word;
	key->word = at->word;
	return true;
}

static int take(struct diff_source *src, int r)
{
	src->is_known = r >= 0;
	src->is_over = r == 0;
	return r < 0 ? r : 0;
}

static void least(const struct diff_source *src, struct diff_key *best,
		  bool *is_found)
{
	const struct diff_key *key = &src->next;

	if (src->is_over)
		return;
	if (!*is_found || key->ino < best->ino ||
	    (key->ino == best->ino &&
	     (key->word < best->word ||
	      (key->word == best->word && key->count > best->count))))
		*best = *key;
	*is_found = true;
}

/* The extents that HISTORY has of one inode from @at on. */
static int levels_of(struct diff_scan *s, struct diff_leg *leg,
		     const struct cfs_stream_position *at,
		     struct diff_key *best, bool *is_found, struct cfs_err *err)
{
	const struct branch *b = cfs_branch_find(s->v, leg->branch);
	const uint64_t mask = b ? b->rec.level_mask : 0;

	for (unsigned int level = 0; level <= CFS_HISTORY_LEVEL_MAX; level++) {
		struct diff_source *src = &leg->levels[level];
		int r = 0;

		if (!(mask >> level & 1))
			continue;
		if (leg->levels_ino != at->ino)
			src->is_known = false;
		if (!still_good(src, at))
			r = take(src, scan_level(s, leg, level, at, &src->next,
						 err));
		if (r < 0)
			return r;
		least(src, best, is_found);
	}
	leg->levels_ino = at->ino;
	return 0;
}

/* What HISTORY has: records, and extents of the inode that comes first. */
static int history_next(struct diff_scan *s, struct diff_leg *leg,
			const struct cfs_stream_position *from,
			struct diff_key *best, bool *is_found,
			struct cfs_err *err)
{
	struct cfs_stream_position at = *from;

	for (;;) {
		struct diff_key found = { 0, 0, 0 };
		bool has_extent = false;
		int r = 0;

		/* It cannot say whether extents follow at a later offset. */
		if (at.word >= EXTENT_WORD) {
			r = levels_of(s, leg, &at, &found, &has_extent, err);
			if (r < 0)
				return r;
			if (has_extent) {
				const struct diff_source src = {
					.next = found,
				};

				least(&src, best, is_found);
				return 0;
			}
			at.ino++;
			at.word = 0;
		}
		if (!still_good(&leg->meta, &at))
			r = take(&leg->meta,
				 scan_meta(s, leg, &at, &leg->meta.next, err));
		if (r < 0)
			return r;
		if (leg->meta.is_over)
			return 0;
		if (leg->meta.next.word < EXTENT_WORD) {
			least(&leg->meta, best, is_found);
			return 0;
		}
		if (*is_found && leg->meta.next.ino > best->ino)
			return 0;
		at.ino = leg->meta.next.ino;
		at.word = EXTENT_WORD;
	}
}

static void forget(struct diff_scan *s)
{
	const uint64_t live = cfs_tree_edit_count(
		cfs_container_tree(s->v->c, CFS_TREE_LIVE));
	const uint64_t history = cfs_tree_edit_count(
		cfs_container_tree(s->v->c, CFS_TREE_HISTORY));

	if (live == s->live_edits && history == s->history_edits)
		return;
	s->live_edits = live;
	s->history_edits = history;
	for (size_t i = 0; i < s->leg_count; i++) {
		struct diff_leg *leg = &s->legs[i];

		leg->live.is_known = leg->meta.is_known = false;
		leg->levels_ino = 0;
	}
}

int cfs_diff_scan_next(struct diff_scan *s,
		       const struct cfs_stream_position *at,
		       struct diff_key *ret, struct cfs_err *err)
{
	bool is_found = false;
	int r = 0;

	forget(s);
	for (size_t i = 0; i < s->leg_count && r == 0; i++) {
		struct diff_leg *leg = &s->legs[i];

		if (!still_good(&leg->live, at))
			r = take(&leg->live,
				 scan_live(s, leg, at, &leg->live.next, err));
		if (r < 0)
			return r;
		least(&leg->live, ret, &is_found);
		r = history_next(s, leg, at, ret, &is_found, err);
	}
	return r < 0 ? r : is_found;
}
