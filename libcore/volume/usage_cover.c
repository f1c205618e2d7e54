/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a branch hides of its parent.
 *
 * A child that has any version of a block, a whiteout included, sees its
 * parent's no more from that version's birth on, whatever became of it.  (A
 * first version that nobody saw may be gone; then no pin lies before the birth
 * of the one behind it, and it is all the same.)  So what counts is the lowest
 * birth of any version, block by block.  Versions lie in LIVE, by offset, and
 * in HISTORY, by level and then by offset: each of these is a source that gives
 * ranges in rising order which do not overlap, and the sources are merged.
 */
#include "volume/usage_priv.h"

#include <stdlib.h>

/* LIVE, the levels, and a place to look for one more in. */
#define SOURCES_MAX (CFS_HISTORY_LEVEL_MAX + 3u)

/* Ranges of one level of HISTORY, or of LIVE. */
struct source {
	struct cfs_cursor cur;
	bool is_on;        /* the cursor is on a record of this source */
	uint64_t level;    /* with its place in a key's word */
	uint64_t from, to; /* blocks; to is 0: none is left */
	uint64_t birth;
};

struct covers {
	struct cfs_vols *v;
	uint16_t branch;
	struct cfs_view parent;
	cfs_usage_cover_fn each;
	void *arg;
	uint64_t ino;
	struct source sources[SOURCES_MAX];
	size_t count;
};

static struct cfs_tree *tree_of(const struct covers *cv, unsigned int tree_id)
{
	return cfs_container_tree(cv->v->c, tree_id);
}

/* ---- sources ------------------------------------------------------------- */

static bool is_of_source(const struct covers *cv, const struct source *s)
{
	const uint64_t word = s->cur.key.w[1];

	return s->cur.key.w[0] == cfs_map_word0(cv->branch, cv->ino) &&
	       word >> CFS_MAP_OFF_BITS == CFS_MAP_EXTENT &&
	       (word & CFS_MAP_OFF_MASK & ~CFS_OFF_MAX) == s->level;
}

static int source_step(struct covers *cv, struct source *s, struct cfs_err *err)
{
	int r = cfs_cursor_next(&s->cur, err);

	s->is_on = r == 0 && is_of_source(cv, s);
	return r == -ENOENT ? 0 : r;
}

/* The next range: all versions that begin where the first one does. */
static int source_next(struct covers *cv, struct source *s, struct cfs_err *err)
{
	int r = 0;

	s->from = s->to;
	s->to = 0;
	s->birth = UINT64_MAX;
	while (r == 0 && s->is_on) {
		const uint64_t at = s->cur.key.w[1] & CFS_OFF_MAX;
		struct cfs_extent_rec rec;

		if (s->to && at != s->from)
			break;
		r = cfs_extent_rec_unpack(s->cur.value, s->cur.value_bytes,
					  &rec, err);
		if (r < 0)
			return r;
		s->from = at;
		s->to = CFS_MAX(s->to, at + rec.count);
		s->birth = CFS_MIN(s->birth, rec.version.stamp);
		r = source_step(cv, s, err);
	}
	return r;
}

/* The first source of a tree from the key's word @word1 on, if there is one;
 * *ret_level: which. */
static int source_open(struct covers *cv, unsigned int tree_id, uint64_t word1,
		       uint64_t *ret_level, bool *ret_is_open,
		       struct cfs_err *err)
{
	struct cfs_key from = { { cfs_map_word0(cv->branch, cv->ino), word1,
				  0 } };
	struct source *s = &cv->sources[cv->count];
	int r = cfs_cursor_ge(&s->cur, tree_of(cv, tree_id), &from, err);

	*ret_is_open = false;
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	s->level = s->cur.key.w[1] & CFS_MAP_OFF_MASK & ~CFS_OFF_MAX;
	s->is_on = is_of_source(cv, s);
	if (!s->is_on)
		return 0;
	s->to = 0;
	cv->count++;
	*ret_level = s->level;
	*ret_is_open = true;
	return source_next(cv, s, err);
}

static int sources_open(struct covers *cv, struct cfs_err *err)
{
	const uint64_t first = cfs_map_word1(CFS_MAP_EXTENT, 0);
	uint64_t level = 0;
	bool is_open;
	int r;

	cv->count = 0;
	r = source_open(cv, CFS_TREE_LIVE, first, &level, &is_open, err);
	if (r < 0)
		return r;
	level = 0;
	do {
		if (cv->count == SOURCES_MAX)
			return cfs_err_set(err, -EUCLEAN,
					   "history: too many levels");
		r = source_open(cv, CFS_TREE_HISTORY, first | level, &level,
				&is_open, err);
		level += CFS_OFF_MAX + 1;
	} while (r == 0 && is_open);
	return r;
}

/* ---- what is hidden ------------------------------------------------------ */

static int add_shown(void *arg, const struct segment *s, struct cfs_err *err)
{
	struct cfs_usage_cover *c = arg;

	(void)err;
	if (s->kind == SEGMENT_DISK)
		c->blocks += s->count;
	return 0;
}

static int hide_range(struct covers *cv, uint64_t from, uint64_t to,
		      uint64_t birth, struct cfs_err *err)
{
	struct cfs_usage_cover c = { .birth = birth };
	int r = cfs_segments(&cv->parent, cv->ino, from, to - from, add_shown,
			     &c, err);

	return r == 0 && c.blocks ? cv->each(cv->arg, &c, err) : r;
}

/*
 * From @pos on: how far the same sources cover all of it, and the lowest birth
 * there; UINT64_MAX: nothing covers it.  False: nothing is left.
 */
static bool next_part(const struct covers *cv, uint64_t pos, uint64_t *ret_to,
		      uint64_t *ret_birth)
{
	uint64_t to = UINT64_MAX, birth = UINT64_MAX;

	for (size_t i = 0; i < cv->count; i++) {
		const struct source *s = &cv->sources[i];

		if (!s->to)
			continue;
		if (s->from > pos) {
			to = CFS_MIN(to, s->from);
		} else {
			to = CFS_MIN(to, s->to);
			birth = CFS_MIN(birth, s->birth);
		}
	}
	*ret_to = to;
	*ret_birth = birth;
	return to != UINT64_MAX;
}

/* Blocks of one inode. */
static int hide_blocks(struct covers *cv, struct cfs_err *err)
{
	uint64_t pos = 0, to, birth;
	int r = sources_open(cv, err);

	while (r == 0 && next_part(cv, pos, &to, &birth)) {
		if (birth != UINT64_MAX)
			r = hide_range(cv, pos, to, birth, err);
		pos = to;
		for (size_t i = 0; r == 0 && i < cv->count; i++)
			while (r == 0 && cv->sources[i].to &&
			       cv->sources[i].to <= pos)
				r = source_next(cv, &cv->sources[i], err);
	}
	return r;
}

/* The lowest birth of any version of the inode's own record in a tree. */
static int inode_birth(const struct covers *cv, unsigned int tree_id,
		       uint64_t *birth, struct cfs_err *err)
{
	const struct cfs_key last = { { cfs_map_word0(cv->branch, cv->ino),
					cfs_map_word1(CFS_MAP_INODE, 0),
					UINT64_MAX } };
	struct cfs_version version;
	struct cfs_cursor cur;
	int r = cfs_cursor_le(&cur, tree_of(cv, tree_id), &last, err);

	if (r == -ENOENT || (r == 0 && (cur.key.w[0] != last.w[0] ||
					cur.key.w[1] != last.w[1])))
		return 0;
	if (r == 0)
		r = cfs_version_unpack(cur.value, cur.value_bytes, &version,
				       err);
	if (r == 0)
		*birth = CFS_MIN(*birth, version.stamp);
	return r;
}

static int hide_inode(struct covers *cv, struct cfs_err *err)
{
	struct cfs_usage_cover c = { .birth = UINT64_MAX, .inodes = 1 };
	size_t bytes;
	int r = inode_birth(cv, CFS_TREE_LIVE, &c.birth, err);

	if (r == 0)
		r = inode_birth(cv, CFS_TREE_HISTORY, &c.birth, err);
	if (r < 0 || c.birth == UINT64_MAX)
		return r;
	r = cfs_map_get(&cv->parent, cv->ino, CFS_MAP_INODE, 0, NULL, 0, &bytes,
			err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return cv->each(cv->arg, &c, err);
}

/* ---- all inodes ---------------------------------------------------------- */

/* The lowest inode >= *ino that a tree has anything of. */
static int next_of_tree(const struct covers *cv, unsigned int tree_id,
			uint64_t ino, uint64_t *ret, struct cfs_err *err)
{
	const struct cfs_key from = { { cfs_map_word0(cv->branch, ino), 0,
					0 } };
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, tree_of(cv, tree_id), &from, err);

	if (r == 0 && cur.key.w[0] >> 48 == cv->branch)
		*ret = CFS_MIN(*ret, cur.key.w[0] & CFS_INO_MAX);
	return r == -ENOENT ? 0 : r;
}

int cfs_usage_covers(struct cfs_vols *v, const struct branch *b,
		     cfs_usage_cover_fn each, void *arg, struct cfs_err *err)
{
	const struct cfs_view head = {
		.container = v->c,
		.branch = b->id,
		.stamp = CFS_STAMP_HEAD,
	};
	struct covers *cv = calloc(1, sizeof(*cv));
	int r = 0;

	if (!cv)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	cv->v = v;
	cv->branch = b->id;
	cv->each = each;
	cv->arg = arg;
	if (!cfs_branch_parent_view(v, &head, &cv->parent))
		cv->ino = UINT64_MAX; /* it hides nothing */
	while (r == 0 && cv->ino <= CFS_INO_MAX) {
		uint64_t ino = UINT64_MAX;

		r = next_of_tree(cv, CFS_TREE_LIVE, cv->ino, &ino, err);
		if (r == 0)
			r = next_of_tree(cv, CFS_TREE_HISTORY, cv->ino, &ino,
					 err);
		cv->ino = ino;
		if (r < 0 || ino == UINT64_MAX)
			break;
		r = hide_inode(cv, err);
		if (r == 0)
			r = hide_blocks(cv, err);
		cv->ino++;
	}
	free(cv);
	return r;
}
