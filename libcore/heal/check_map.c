/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * LIVE and HISTORY: each record makes sense, belongs to a branch and is seen
 * by somebody; live extents do not overlap; no two versions of one thing live
 * at the same time.
 *
 * A piece of the history can only meet others in a few places: at its own key,
 * at the keys of the larger pieces around it, and in the live extents of its
 * range.  So each is looked up there, and nothing is sorted or kept.
 */
#include "heal/check_priv.h"

#include <inttypes.h>
#include <string.h>

struct version_at {
	const struct cfs_leaf_record *rec;
	unsigned int tree_id;
	struct check_branch *b;
	uint64_t ino;
	unsigned int class;
	struct cfs_version version;
};

static void bad(struct check *k, const struct version_at *v, const char *text)
{
	cfs_check_say(k, "map",
		      "%s: branch %u, inode %" PRIu64 ", class %u, "
		      "offset %#" PRIx64 ", birth %" PRIu64 ": %s",
		      v->tree_id == CFS_TREE_LIVE ? "live" : "history",
		      (unsigned int)(v->rec->key.w[0] >> 48), v->ino, v->class,
		      v->rec->key.w[1] & CFS_MAP_OFF_MASK, v->version.stamp,
		      text);
}

static bool has_ended(const struct check_branch *b)
{
	return b->rec.end_stamp || b->rec.state == CFS_OBJECT_DELETING;
}

/* What all records have.  False: nothing more can be said of it. */
static bool check_version(struct check *k, struct version_at *v)
{
	const bool is_live = v->tree_id == CFS_TREE_LIVE;
	struct cfs_err why = CFS_ERR_INIT;

	v->ino = v->rec->key.w[0] & CFS_INO_MAX;
	v->class = (unsigned int)(v->rec->key.w[1] >> CFS_MAP_OFF_BITS);
	v->b = cfs_check_branch(k, (uint16_t)(v->rec->key.w[0] >> 48));
	if (cfs_version_unpack(v->rec->value, v->rec->value_bytes, &v->version,
			       &why) < 0) {
		bad(k, v, why.msg);
		return false;
	}
	if (v->class != CFS_MAP_EXTENT &&
	    (v->class < CFS_MAP_INODE || v->class > CFS_MAP_SYMLINK)) {
		bad(k, v, "there is no such class");
		return false;
	}
	if (!v->b) {
		bad(k, v, "its branch is not there");
		return true;
	}
	if (is_live != (v->version.death == 0))
		bad(k, v, is_live ? "it is dead" : "it is not dead");
	if (v->version.stamp > k->stamp || v->version.death > k->stamp)
		bad(k, v, "it is newer than the root");
	if (v->version.stamp <= v->b->rec.created_stamp)
		bad(k, v, "it is older than its branch");
	if ((v->version.flags & CFS_VERSION_WHITEOUT) && !v->b->rec.parent)
		bad(k, v, "a whiteout, and the branch has no parent");
	if (v->ino >= k->next_ino)
		bad(k, v, "the inode number was never handed out");
	if (v->b->has_mark) /* a sweep will take what nobody sees */
		return true;
	if (is_live ? has_ended(v->b) &&
			      !cfs_check_is_pinned(v->b, v->version.stamp,
						   UINT64_MAX)
		    : !cfs_check_is_pinned(v->b, v->version.stamp,
					   v->version.death))
		bad(k, v, "nobody sees it, and it is kept");
	return true;
}

/* The blocks of an extent: owner, and what their tags are to say. */
static int own_extent(struct check *k, const struct version_at *v,
		      uint64_t offset, const struct cfs_extent_rec *rec)
{
	const struct check_run run = {
		.vaddr = rec->vaddr,
		.count = rec->count,
		.tag = {
			.csum = rec->csum,
			.type = CFS_TAG_DATA,
			.ino = v->ino,
			.offset = offset,
			.stamp = rec->version.stamp,
			.seq = rec->version.seq,
			.branch = (uint16_t)(v->rec->key.w[0] >> 48),
		},
	};

	if (!rec->vaddr)
		return 0;
	if (!cfs_check_own(k, rec->vaddr, rec->count, "an extent"))
		return 0;
	return cfs_check_expect(k, &run);
}

/* ---- live ---------------------------------------------------------------- */

static int live_record(struct check *k, const struct cfs_leaf_record *rec)
{
	struct version_at v = { .rec = rec, .tree_id = CFS_TREE_LIVE };
	const uint64_t offset = rec->key.w[1] & CFS_MAP_OFF_MASK;
	struct cfs_extent_rec extent;
	struct cfs_err why = CFS_ERR_INIT;

	if (!check_version(k, &v) || v.class != CFS_MAP_EXTENT)
		return 0;
	if (cfs_extent_rec_unpack(rec->value, rec->value_bytes, &extent, &why) <
		    0 ||
	    !cfs_range_fits(offset, extent.count, CFS_OFF_MAX + 1)) {
		bad(k, &v, why.code ? why.msg : "it ends behind all offsets");
		return 0;
	}
	if (k->last.is_set && k->last.w0 == rec->key.w[0] &&
	    offset < k->last.end)
		bad(k, &v, "it overlaps the one before");
	k->last.is_set = true;
	k->last.w0 = rec->key.w[0];
	k->last.end = offset + extent.count;
	return own_extent(k, &v, offset, &extent);
}

/* ---- history ------------------------------------------------------------- */

/* Do versions at one key of the history live while @v does? */
static int meets_key(struct check *k, const struct version_at *v,
		     uint64_t word1, bool *ret, struct cfs_err *err)
{
	struct cfs_key from = { { v->rec->key.w[0], word1, 0 } };
	struct cfs_tree *tree = cfs_container_tree(k->c, CFS_TREE_HISTORY);
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, tree, &from, err);

	while (r == 0 && cur.key.w[0] == from.w[0] && cur.key.w[1] == word1) {
		struct cfs_version other;

		if (cfs_version_unpack(cur.value, cur.value_bytes, &other,
				       NULL) == 0 &&
		    CFS_MAX(other.stamp, v->version.stamp) <
			    CFS_MIN(other.death, v->version.death))
			*ret = true;
		r = cfs_cursor_next(&cur, err);
	}
	return r == -ENOENT ? 0 : r;
}

/* Is a live record of [offset, offset + count) born before @v has died? */
static int meets_live(struct check *k, const struct version_at *v,
		      uint64_t offset, uint64_t count, bool *ret,
		      struct cfs_err *err)
{
	struct cfs_key at = {
		{ v->rec->key.w[0],
		  cfs_map_word1((enum cfs_map_class)v->class, offset), 0 }
	};
	struct cfs_tree *tree = cfs_container_tree(k->c, CFS_TREE_LIVE);
	struct cfs_cursor cur;
	int r = cfs_cursor_le(&cur, tree, &at, err);

	if (r == -ENOENT || (r == 0 && cur.key.w[0] != at.w[0]))
		r = cfs_cursor_ge(&cur, tree, &at, err);
	while (r == 0 && cur.key.w[0] == at.w[0] &&
	       cur.key.w[1] < at.w[1] + count) {
		struct cfs_version live;
		uint64_t end = cur.key.w[1] + 1;
		struct cfs_extent_rec rec;

		if (v->class == CFS_MAP_EXTENT &&
		    cur.key.w[1] >> CFS_MAP_OFF_BITS == v->class &&
		    cfs_extent_rec_unpack(cur.value, cur.value_bytes, &rec,
					  NULL) == 0)
			end = cur.key.w[1] + rec.count;
		if (end > at.w[1] &&
		    cfs_version_unpack(cur.value, cur.value_bytes, &live,
				       NULL) == 0 &&
		    live.stamp < v->version.death)
			*ret = true;
		r = cfs_cursor_next(&cur, err);
	}
	return r == -ENOENT ? 0 : r;
}

/* Against the larger pieces around it, and what is live. */
static int check_meetings(struct check *k, const struct version_at *v,
			  unsigned int level, uint64_t offset,
			  struct cfs_err *err)
{
	bool meets = false;
	int r = 0;

	for (unsigned int l = level + 1; v->class == CFS_MAP_EXTENT && v->b &&
					 r == 0 && l <= CFS_HISTORY_LEVEL_MAX;
	     l++) {
		uint64_t start = offset & ~((UINT64_C(1) << l) - 1);

		if (v->b->rec.level_mask >> l & 1)
			r = meets_key(
				k, v,
				cfs_map_word1(
					CFS_MAP_EXTENT,
					(uint64_t)l << CFS_MAP_LEVEL_SHIFT |
						start),
				&meets, err);
	}
	if (r == 0 && meets)
		bad(k, v, "a larger piece lives at the same time");
	meets = false;
	if (r == 0)
		r = meets_live(k, v, offset, UINT64_C(1) << level, &meets, err);
	if (r == 0 && meets)
		bad(k, v, "the live version was born before this one died");
	return r;
}

/* Of one key the newest comes first. */
static void check_neighbour(struct check *k, const struct version_at *v)
{
	const struct cfs_key *key = &v->rec->key;

	if (k->last.is_set && k->last.w0 == key->w[0] &&
	    k->last.w1 == key->w[1] && v->version.death > k->last.birth)
		bad(k, v, "it lives while a newer one does");
	k->last.is_set = true;
	k->last.w0 = key->w[0];
	k->last.w1 = key->w[1];
	k->last.birth = v->version.stamp;
}

static int history_extent(struct check *k, const struct version_at *v,
			  unsigned int *ret_level, uint64_t *ret_offset)
{
	const uint64_t word = v->rec->key.w[1] & CFS_MAP_OFF_MASK;
	const unsigned int level = (unsigned int)(word >> CFS_MAP_LEVEL_SHIFT);
	const uint64_t offset = word & CFS_OFF_MAX;
	struct cfs_extent_rec rec;
	struct cfs_err why = CFS_ERR_INIT;

	if (cfs_extent_rec_unpack(v->rec->value, v->rec->value_bytes, &rec,
				  &why) < 0) {
		bad(k, v, why.msg);
		return 0;
	}
	if (level > CFS_HISTORY_LEVEL_MAX ||
	    rec.count != UINT64_C(1) << level ||
	    (offset & ((UINT64_C(1) << level) - 1)))
		bad(k, v, "a piece of the wrong length or place");
	else if (v->b && !(v->b->rec.level_mask >> level & 1))
		bad(k, v, "its branch does not know of pieces that long");
	*ret_level = level;
	*ret_offset = offset;
	return own_extent(k, v, offset, &rec);
}

static int history_record(struct check *k, const struct cfs_leaf_record *rec,
			  struct cfs_err *err)
{
	struct version_at v = { .rec = rec, .tree_id = CFS_TREE_HISTORY };
	uint64_t offset = rec->key.w[1] & CFS_MAP_OFF_MASK;
	unsigned int level = 0;
	int r = 0;

	if (!check_version(k, &v))
		return 0;
	if (rec->key.w[2] !=
	    cfs_map_version_word(v.version.stamp, v.version.seq))
		bad(k, &v, "its key is of another birth");
	check_neighbour(k, &v);
	if (v.class == CFS_MAP_EXTENT)
		r = history_extent(k, &v, &level, &offset);
	/* Half of the maps proves nothing. */
	if (r < 0 || k->has_lost_nodes || level > CFS_HISTORY_LEVEL_MAX)
		return r;
	r = check_meetings(k, &v, level, offset, err);
	return r == -EUCLEAN ? 0 : r; /* what it met is told elsewhere */
}

/* ---- both ---------------------------------------------------------------- */

static int visit(void *arg, const struct cfs_node_found *node,
		 struct cfs_err *err)
{
	struct check *k = arg;
	int r = cfs_check_node(k, node);

	if (r != 1)
		return r;
	r = 0;
	for (unsigned int i = 0;
	     r == 0 && i < cfs_repair_record_count(node->node); i++) {
		struct cfs_leaf_record rec;

		cfs_repair_record(node->node, i, &rec);
		r = node->tree_id == CFS_TREE_LIVE
			    ? live_record(k, &rec)
			    : history_record(k, &rec, err);
	}
	return r;
}

int cfs_check_maps(struct check *k)
{
	int r;

	k->last.is_set = false;
	r = cfs_repair_walk(k->c, CFS_TREE_LIVE, visit, k, k->err);
	k->last.is_set = false;
	if (r == 0)
		r = cfs_repair_walk(k->c, CFS_TREE_HISTORY, visit, k, k->err);
	return r;
}
