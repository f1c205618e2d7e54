/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Extents: changing the live ones, and keeping what snapshots see.
 *
 * Live extents of one inode of one branch do not overlap.  Where a part of
 * one is overwritten, that part dies: into the history, cut into aligned
 * pieces, if a pin sees it; else its blocks are freed.  The rest stays, as one
 * or two shorter extents.
 */
#include "volume/vols_priv.h"

#include <assert.h>
#include <inttypes.h>

/* Leaves that are read at a time beside others: few hold nobody up. */
#define LATER_MAX 16u

static struct cfs_key live_key(uint16_t branch, uint64_t ino, uint64_t offset)
{
	return (struct cfs_key){ { cfs_map_word0(branch, ino),
				   cfs_map_word1(CFS_MAP_EXTENT, offset), 0 } };
}

static struct cfs_tree *live_tree(const struct cfs_vols *v)
{
	return cfs_container_tree(v->c, CFS_TREE_LIVE);
}

/* A live record, as found by a cursor; -ENOENT if it is something else. */
static int parse(const struct cfs_cursor *cur, uint16_t branch, uint64_t ino,
		 struct extent *ret, struct cfs_err *err)
{
	struct cfs_extent_rec rec;
	int r;

	if (cur->key.w[0] != cfs_map_word0(branch, ino) ||
	    cur->key.w[1] >> CFS_MAP_OFF_BITS != CFS_MAP_EXTENT)
		return -ENOENT;
	r = cfs_extent_rec_unpack(cur->value, cur->value_bytes, &rec, err);
	if (r < 0)
		return r;
	*ret = (struct extent){
		.offset = cur->key.w[1] & CFS_MAP_OFF_MASK,
		.count = rec.count,
		.vaddr = rec.vaddr,
		.stamp = rec.version.stamp,
		.seq = rec.version.seq,
		.csum = rec.csum,
	};
	if (ret->offset > CFS_OFF_MAX ||
	    ret->count > CFS_OFF_MAX - ret->offset + 1)
		return cfs_err_set(err, -EUCLEAN,
				   "map: an extent makes no sense");
	return 0;
}

/* The live extent that covers @offset, or the first behind it. */
int cfs_extent_at(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		  uint64_t offset, struct extent *ret, struct cfs_err *err)
{
	struct cfs_key key = live_key(branch, ino, offset);
	struct cfs_cursor cur;
	int r = cfs_cursor_le(&cur, live_tree(v), &key, err);

	if (r == 0) {
		r = parse(&cur, branch, ino, ret, err);
		if (r == 0 && ret->offset + ret->count > offset)
			return 0;
	}
	if (r < 0 && r != -ENOENT)
		return r;
	r = cfs_cursor_ge(&cur, live_tree(v), &key, err);
	return r < 0 ? r : parse(&cur, branch, ino, ret, err);
}

static int live_set(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		    const struct extent *e, struct cfs_err *err)
{
	struct cfs_key key = live_key(branch, ino, e->offset);
	struct cfs_extent_rec rec = {
		.version = { .stamp = e->stamp, .seq = e->seq },
		.vaddr = e->vaddr,
		.count = (uint32_t)e->count,
		.csum = e->count == 1 ? e->csum : 0,
	};
	struct cfs_extent_rec_disk disk;

	if (!e->vaddr)
		rec.version.flags = CFS_VERSION_WHITEOUT;
	cfs_extent_rec_pack(&rec, &disk);
	return cfs_container_tree_set(v->c, CFS_TREE_LIVE, &key, &disk,
				      sizeof(disk), err);
}

/* The part [offset, offset + count) of an extent. */
static struct extent part_of(const struct extent *e, uint64_t offset,
			     uint64_t count)
{
	struct extent part = *e;

	part.offset = offset;
	part.count = count;
	if (e->vaddr)
		part.vaddr = e->vaddr + (offset - e->offset);
	if (count != e->count)
		part.csum = 0;
	return part;
}

/* ---- dying --------------------------------------------------------------- */

/* The largest aligned piece at the front of [offset, offset + count). */
static unsigned int front_level(uint64_t offset, uint64_t count)
{
	unsigned int level = 0;

	while (level < CFS_HISTORY_LEVEL_MAX &&
	       (offset & ((UINT64_C(2) << level) - 1)) == 0 &&
	       count >= UINT64_C(2) << level)
		level++;
	return level;
}

static int history_add(struct cfs_vols *v, struct branch *b, uint64_t ino,
		       const struct extent *dead, uint64_t death,
		       struct cfs_err *err)
{
	uint64_t at = dead->offset, left = dead->count;

	while (left > 0) {
		unsigned int level = front_level(at, left);
		struct extent piece = part_of(dead, at, UINT64_C(1) << level);
		struct cfs_key key = { {
			cfs_map_word0(b->id, ino),
			cfs_map_word1(CFS_MAP_EXTENT,
				      (uint64_t)level << CFS_MAP_LEVEL_SHIFT |
					      at),
			cfs_map_version_word(dead->stamp, dead->seq),
		} };
		struct cfs_extent_rec rec = {
			.version = {
				.stamp = dead->stamp,
				.seq = dead->seq,
				.death = death,
			},
			.vaddr = piece.vaddr,
			.count = (uint32_t)piece.count,
			.csum = piece.csum,
		};
		struct cfs_extent_rec_disk disk;
		int r;

		if (!dead->vaddr)
			rec.version.flags = CFS_VERSION_WHITEOUT;
		cfs_extent_rec_pack(&rec, &disk);
		r = cfs_container_tree_set(v->c, CFS_TREE_HISTORY, &key, &disk,
					   sizeof(disk), err);
		if (r < 0)
			return r;
		b->rec.level_mask |= UINT64_C(1) << level;
		b->is_changed = true;
		at += piece.count;
		left -= piece.count;
	}
	return 0;
}

static int die(struct cfs_vols *v, struct branch *b, uint64_t ino,
	       const struct extent *dead, uint64_t death, struct cfs_err *err)
{
	int64_t blocks = dead->vaddr ? (int64_t)dead->count : 0;
	int is_kept = cfs_branch_is_pinned(v, b, dead->stamp, death, err);
	int r;

	if (is_kept < 0)
		return is_kept;
	if (is_kept)
		r = history_add(v, b, ino, dead, death, err);
	else
		r = dead->vaddr ? cfs_space_free(v->c, dead->vaddr,
						 (uint32_t)dead->count, err)
				: 0;
	if (r == 0)
		r = cfs_branch_count(v, b, -blocks, is_kept ? blocks : 0, err);
	return r;
}

/* Cut what lies in [offset, end) out of one live extent. */
static int cut_one(struct cfs_vols *v, struct branch *b, uint64_t ino,
		   const struct extent *e, uint64_t offset, uint64_t end,
		   uint64_t death, struct cfs_err *err)
{
	uint64_t e_end = e->offset + e->count;
	uint64_t from = CFS_MAX(offset, e->offset), to = CFS_MIN(end, e_end);
	struct extent dead = part_of(e, from, to - from);
	struct extent rest;
	int r = 0;

	if (e->offset < from) {
		rest = part_of(e, e->offset, from - e->offset);
		r = live_set(v, b->id, ino, &rest, err);
	} else {
		struct cfs_key key = live_key(b->id, ino, e->offset);

		r = cfs_container_tree_remove(v->c, CFS_TREE_LIVE, &key, err);
	}
	if (r == 0 && to < e_end) {
		rest = part_of(e, to, e_end - to);
		r = live_set(v, b->id, ino, &rest, err);
	}
	if (r == 0)
		r = die(v, b, ino, &dead, death, err);
	return r;
}

int cfs_extent_cut(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		   uint64_t offset, uint64_t count, uint64_t death,
		   bool *ret_had_some, struct cfs_err *err)
{
	uint64_t end = offset + count;
	struct branch *b;
	struct extent e;
	int r = cfs_branch_get(v, branch, &b, err);

	while (r == 0) {
		r = cfs_extent_at(v, branch, ino, offset, &e, err);
		if (r < 0 || e.offset >= end)
			break;
		if (ret_had_some)
			*ret_had_some = true;
		r = cut_one(v, b, ino, &e, offset, end, death, err);
		offset = CFS_MIN(end, e.offset + e.count);
		if (offset == end)
			break;
	}
	return r == -ENOENT ? 0 : r;
}

/* ---- being born ---------------------------------------------------------- */

int cfs_extent_next_seq(struct cfs_vols *v, uint16_t branch, uint64_t ino,
			uint64_t offset, uint64_t count, uint64_t stamp,
			uint16_t *ret, struct cfs_err *err)
{
	uint64_t end = offset + count;
	uint32_t seq = 0;
	struct extent e;
	int r;

	while ((r = cfs_extent_at(v, branch, ino, offset, &e, err)) == 0 &&
	       e.offset < end) {
		if (e.stamp == stamp)
			seq = CFS_MAX(seq, (uint32_t)e.seq + 1);
		offset = e.offset + e.count;
		if (offset >= end)
			break;
	}
	if (r < 0 && r != -ENOENT)
		return r;
	if (seq > UINT16_MAX)
		return cfs_err_set(err, -EAGAIN,
				   "a block was written too often at once");
	*ret = (uint16_t)seq;
	return 0;
}

/* Join with the live extent before, if it goes on in @e. */
static int join_left(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		     struct extent *e, struct cfs_err *err)
{
	struct cfs_key key = live_key(branch, ino, e->offset);
	struct cfs_cursor cur;
	struct extent left;
	int r = cfs_cursor_le(&cur, live_tree(v), &key, err);

	if (r == 0)
		r = parse(&cur, branch, ino, &left, err);
	if (r != 0)
		return r == -ENOENT ? 0 : r;
	if (left.offset + left.count != e->offset || left.stamp != e->stamp ||
	    left.seq != e->seq || !left.vaddr != !e->vaddr ||
	    (e->vaddr && left.vaddr + left.count != e->vaddr) ||
	    left.count + e->count > CFS_EXTENT_BLOCKS_MAX)
		return 0;
	left.count += e->count;
	left.csum = 0;
	*e = left;
	return 0;
}

int cfs_extent_put(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		   const struct extent *e, struct cfs_err *err)
{
	struct extent now = *e;
	struct branch *b;
	int r = cfs_branch_get(v, branch, &b, err);

	assert(e->count > 0 && e->count <= CFS_EXTENT_BLOCKS_MAX);
	if (r == 0)
		r = cfs_extent_cut(v, branch, ino, e->offset, e->count,
				   e->stamp, NULL, err);
	if (r == 0)
		r = join_left(v, branch, ino, &now, err);
	if (r == 0)
		r = live_set(v, branch, ino, &now, err);
	if (r == 0 && e->vaddr)
		r = cfs_branch_count(v, b, (int64_t)e->count, 0, err);
	return r;
}

/* ---- reading ahead ------------------------------------------------------- */

static bool follows(const struct page *a, const struct page *b)
{
	return a->key.branch_ino == b->key.branch_ino &&
	       a->key.offset + 1 == b->key.offset;
}

/* Level 0 is where a block that is overwritten alone goes. */
static void expect_history(struct cfs_vols *v, struct cfs_key *keys,
			   unsigned int count)
{
	bool is_pinned = false;

	for (unsigned int i = 0; i < count && !is_pinned; i++) {
		struct branch *b = cfs_branch_find(
			v, (uint16_t)(keys[i].w[0] >> 48));

		/* Only a hint: who needs to know it is told what is wrong. */
		is_pinned = b &&
			    cfs_branch_is_pinned(v, b, 0, UINT64_MAX, NULL) > 0;
	}
	if (is_pinned)
		cfs_tree_expect(cfs_container_tree(v->c, CFS_TREE_HISTORY),
				keys, count);
}

static size_t keys_of(struct page *const *pages, size_t count,
		      unsigned int most, struct cfs_key *ret,
		      unsigned int *ret_count)
{
	unsigned int n = 0;
	size_t i;

	for (i = 0; i < count; i++) {
		if (i > 0 && follows(pages[i - 1], pages[i]))
			continue;
		if (n == most)
			break;
		ret[n++] = (struct cfs_key){
			{ pages[i]->key.branch_ino,
			  cfs_map_word1(CFS_MAP_EXTENT, pages[i]->key.offset),
			  0 }
		};
	}
	*ret_count = n;
	return i;
}

size_t cfs_extents_expect(struct cfs_vols *v, struct page *const *pages,
			  size_t count)
{
	struct cfs_key keys[CFS_TREE_AHEAD_MAX];
	unsigned int n;
	const size_t i = keys_of(pages, count, CFS_TREE_AHEAD_MAX, keys, &n);

	cfs_tree_expect(live_tree(v), keys, n);
	expect_history(v, keys, n);
	return i;
}

size_t cfs_extents_expect_later(struct cfs_vols *v, struct page *const *pages,
				size_t count)
{
	struct cfs_key keys[LATER_MAX];
	unsigned int n;
	const size_t i = keys_of(pages, count, LATER_MAX, keys, &n);

	cfs_tree_expect_later(live_tree(v), keys, n);
	return i;
}
