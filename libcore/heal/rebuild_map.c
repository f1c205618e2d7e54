/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Extents from tags, by the rule in rebuild.h.
 *
 * For each inode of each branch, runs and tombstones are swept from the front:
 * between two places where one begins or ends, the same ones cover every
 * block, so the rule is applied once for each such part.
 */
#include "heal/rebuild_priv.h"

#include "base/cleanup.h"
#include "device/device.h"

#include <stdlib.h>
#include <string.h>

/* A run or a tombstone (vaddr 0) that covers the part under way. */
struct cover {
	uint64_t offset, end;
	uint64_t vaddr; /* of @offset */
	uint64_t stamp;
	uint64_t csum;
	uint16_t seq;
};

struct sweep {
	struct rebuild *b;
	struct rebuild_branch *branch;
	uint64_t branch_ino;
	uint64_t parent_end;          /* behind all that ancestors have */
	CFS_VEC(struct cover) covers; /* newest first */
	/* A live extent that may still grow. */
	struct cfs_extent_rec live;
	uint64_t live_offset;
	bool has_live;
};

/* ---- branches and their pins --------------------------------------------- */

static int no_memory(struct rebuild *b)
{
	return cfs_err_set(b->err, -ENOMEM, "out of memory");
}

static struct rebuild_branch *branch_of(struct rebuild *b, uint64_t id)
{
	for (size_t i = 0; i < b->branches.count; i++)
		if (b->branches.items[i].id == id)
			return &b->branches.items[i];
	return NULL;
}

static bool is_pinned(const struct rebuild_branch *br, uint64_t lo, uint64_t hi)
{
	size_t from = 0, to = br->pins.count;

	while (from < to) {
		size_t mid = from + (to - from) / 2;

		if (br->pins.items[mid] < lo)
			from = mid + 1;
		else
			to = mid;
	}
	return from < br->pins.count && br->pins.items[from] < hi;
}

static bool has_ended(const struct rebuild_branch *br)
{
	return br->rec.end_stamp || br->rec.state == CFS_OBJECT_DELETING;
}

static int add_record(struct rebuild *b, const struct cfs_cursor *cur)
{
	const uint64_t low = cur->key.w[0] & ((UINT64_C(1) << 56) - 1);
	struct rebuild_branch br = { .id = (uint16_t)low };
	struct rebuild_tombstone t = {
		.branch_ino = cfs_map_word0((uint16_t)low, cur->key.w[1]),
		.offset = cfs_tombstone_offset(cur->key.w[2]),
	};
	struct cfs_tombstone_rec rec;
	struct rebuild_branch *at;

	switch (cur->key.w[0] >> 56) {
	case CFS_TABLE_BRANCH:
		if (cfs_branch_rec_unpack(cur->value, cur->value_bytes, &br.rec,
					  NULL) < 0)
			return 0;
		return cfs_vec_push(&b->branches, br) < 0 ? no_memory(b) : 0;
	case CFS_TABLE_SNAPSHOT:
		at = branch_of(b, low);
		return at && cfs_vec_push(&at->pins, cur->key.w[1]) < 0
			       ? no_memory(b)
			       : 0;
	case CFS_TABLE_TOMBSTONE:
		if (cfs_tombstone_rec_unpack(cur->value, cur->value_bytes, &rec,
					     NULL) < 0)
			return 0;
		t.count = rec.count;
		t.stamp = rec.stamp;
		t.seq = rec.seq;
		b->stamp_max = CFS_MAX(b->stamp_max, rec.stamp);
		return cfs_vec_push(&b->tombstones, t) < 0 ? no_memory(b) : 0;
	default:
		return 0;
	}
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* A LUN has one inode; a branch of it has nothing else. */
static int load_volumes(struct rebuild *b, struct cfs_tree *table)
{
	struct cfs_key from = { { cfs_table_word(CFS_TABLE_VOLUME, 0), 0, 0 } };
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, table, &from, b->err);

	while (r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_VOLUME) {
		uint64_t id = cur.key.w[0] & ((UINT64_C(1) << 56) - 1);
		struct cfs_volume_rec rec;

		if (cfs_volume_rec_unpack(cur.value, cur.value_bytes, &rec,
					  NULL) == 0) {
			b->ino_max = CFS_MAX(b->ino_max, rec.ino);
			for (size_t i = 0; i < b->branches.count; i++)
				if (b->branches.items[i].rec.volume == id &&
				    rec.kind == CFS_VOLUME_LUN)
					b->branches.items[i].only_ino = rec.ino;
		}
		r = cfs_cursor_next(&cur, b->err);
	}
	return r == -ENOENT ? 0 : r;
}

static int load_tables(struct rebuild *b)
{
	struct cfs_tree *table = cfs_container_tree(b->c, CFS_TREE_TABLE);
	/* Branches stand before snapshots and tombstones. */
	struct cfs_key from = { { cfs_table_word(CFS_TABLE_BRANCH, 0), 0, 0 } };
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur, table, &from, b->err);

	while (r == 0) {
		r = add_record(b, &cur);
		if (r == 0)
			r = cfs_cursor_next(&cur, b->err);
	}
	if (r != -ENOENT)
		return r;
	r = load_volumes(b, table);
	for (size_t i = 0; r == 0 && i < b->branches.count; i++) {
		const struct cfs_branch_rec *rec = &b->branches.items[i].rec;
		struct rebuild_branch *parent =
			rec->parent ? branch_of(b, rec->parent) : NULL;

		if (parent && cfs_vec_push(&parent->pins, rec->fork_stamp) < 0)
			r = no_memory(b);
	}
	for (size_t i = 0; i < b->branches.count; i++) {
		struct rebuild_branch *br = &b->branches.items[i];

		if (br->pins.count > 0)
			qsort(br->pins.items, br->pins.count,
			      sizeof(*br->pins.items), by_value);
	}
	return r;
}

/* ---- records ------------------------------------------------------------- */

static int put_extent(struct rebuild *b, unsigned int tree_id,
		      const struct cfs_key *key,
		      const struct cfs_extent_rec *rec)
{
	struct cfs_extent_rec_disk disk;
	int r = 0;

	cfs_extent_rec_pack(rec, &disk);
	r = cfs_tree_put(cfs_container_tree(b->c, tree_id), key, &disk,
			 sizeof(disk), NULL, b->err);
	if (r == 0 && rec->vaddr)
		r = cfs_repair_mark_used(b->c, rec->vaddr, rec->count, b->err);
	return r;
}

static int flush_live(struct sweep *s)
{
	struct cfs_key key = { { s->branch_ino,
				 cfs_map_word1(CFS_MAP_EXTENT, s->live_offset),
				 0 } };

	if (!s->has_live)
		return 0;
	s->has_live = false;
	if (s->live.vaddr) {
		s->branch->live_blocks += s->live.count;
		s->b->result->live_blocks += s->live.count;
	}
	return put_extent(s->b, CFS_TREE_LIVE, &key, &s->live);
}

static bool goes_on(const struct sweep *s, uint64_t offset, uint32_t count,
		    const struct cfs_extent_rec *rec)
{
	const struct cfs_extent_rec *l = &s->live;

	return s->has_live && s->live_offset + l->count == offset &&
	       l->version.stamp == rec->version.stamp &&
	       l->version.seq == rec->version.seq && !l->vaddr == !rec->vaddr &&
	       (!rec->vaddr || l->vaddr + l->count == rec->vaddr) &&
	       l->count + count <= CFS_EXTENT_BLOCKS_MAX;
}

/* The record of [offset, offset + count) of a cover, without its death. */
static struct cfs_extent_rec record_of(const struct cover *c, uint64_t offset,
				       uint32_t count)
{
	struct cfs_extent_rec rec = {
		.version = { .stamp = c->stamp, .seq = c->seq },
		.count = count,
	};

	if (!c->vaddr) {
		rec.version.flags = CFS_VERSION_WHITEOUT;
		return rec;
	}
	rec.vaddr = c->vaddr + (offset - c->offset);
	if (count == 1 && c->end - c->offset == 1)
		rec.csum = c->csum;
	return rec;
}

static int add_live(struct sweep *s, const struct cover *c, uint64_t offset,
		    uint64_t end)
{
	if (!c->vaddr) { /* nothing to hide behind the parent's end */
		if (!s->branch->rec.parent)
			return 0;
		end = CFS_MIN(end, s->parent_end);
	}
	while (offset < end) {
		uint32_t count = (uint32_t)CFS_MIN(end - offset,
						   CFS_EXTENT_BLOCKS_MAX);
		struct cfs_extent_rec rec = record_of(c, offset, count);
		int r;

		if (goes_on(s, offset, count, &rec)) {
			s->live.count += count;
			s->live.csum = 0;
		} else {
			r = flush_live(s);
			if (r < 0)
				return r;
			s->has_live = true;
			s->live = rec;
			s->live_offset = offset;
		}
		offset += count;
	}
	return 0;
}

/* In pieces of powers of two, each at a multiple of its length. */
static int add_history(struct sweep *s, const struct cover *c, uint64_t offset,
		       uint64_t end, uint64_t death)
{
	if (!c->vaddr) {
		if (!s->branch->rec.parent)
			return 0;
		end = CFS_MIN(end, s->parent_end);
	}
	while (offset < end) {
		unsigned int level = 0;
		struct cfs_extent_rec rec;
		struct cfs_key key;
		int r;

		while (level < CFS_HISTORY_LEVEL_MAX &&
		       (offset & ((UINT64_C(2) << level) - 1)) == 0 &&
		       end - offset >= UINT64_C(2) << level)
			level++;
		rec = record_of(c, offset, 1u << level);
		rec.version.death = death;
		key = (struct cfs_key){
			{ s->branch_ino,
			  cfs_map_word1(CFS_MAP_EXTENT,
					(uint64_t)level << CFS_MAP_LEVEL_SHIFT |
						offset),
			  cfs_map_version_word(c->stamp, c->seq) }
		};
		r = put_extent(s->b, CFS_TREE_HISTORY, &key, &rec);
		if (r < 0)
			return r;
		s->branch->level_mask |= UINT64_C(1) << level;
		if (rec.vaddr) {
			s->branch->history_blocks += rec.count;
			s->b->result->history_blocks += rec.count;
		}
		offset += rec.count;
	}
	return 0;
}

/* ---- the rule ------------------------------------------------------------ */

/* Of two with one identity: does this one's block verify? */
static bool verifies(struct sweep *s, const struct cover *c, uint64_t offset,
		     void *buf)
{
	const uint64_t vaddr = c->vaddr + (offset - c->offset);
	struct cfs_block_read rd = {
		.vaddr = vaddr,
		.count = 1,
		.first = {
			.type = CFS_TAG_DATA,
			.ino = s->branch_ino & CFS_INO_MAX,
			.offset = offset,
			.stamp = c->stamp,
			.seq = c->seq,
			.branch = (uint16_t)(s->branch_ino >> 48),
		},
		.buf = buf,
	};

	return cfs_block_read(cfs_container_blocks(s->b->c), &rd, false, NULL,
			      NULL) == 0;
}

/* One part, all of whose blocks have the same covers. */
static int judge_part(struct sweep *s, uint64_t offset, uint64_t end,
		      const struct cover *covers, size_t count)
{
	uint64_t death = 0; /* none: the first is the newest */
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		const struct cover *c = &covers[i];

		if (i == 0 && (!has_ended(s->branch) ||
			       is_pinned(s->branch, c->stamp, UINT64_MAX)))
			r = add_live(s, c, offset, end);
		else if (i > 0 && is_pinned(s->branch, c->stamp, death))
			r = add_history(s, c, offset, end, death);
		else if (c->vaddr)
			s->b->result->garbage_blocks += end - offset;
		death = c->stamp;
	}
	return r;
}

/* Where two have one identity, block by block: one that verifies is kept. */
static int judge_twins(struct sweep *s, uint64_t offset)
{
	CFS_CLEANUP(cfs_freep) void *buf = cfs_dev_buf_alloc(CFS_BLOCK_BYTES);
	CFS_CLEANUP(cfs_freep)
	struct cover *kept = calloc(s->covers.count, sizeof(*kept));
	size_t n = 0;

	if (!buf || !kept)
		return no_memory(s->b);
	for (size_t i = 0; i < s->covers.count; i++) {
		const struct cover *c = &s->covers.items[i];
		bool is_twin = n > 0 && kept[n - 1].stamp == c->stamp &&
			       kept[n - 1].seq == c->seq;

		if (!is_twin) {
			kept[n++] = *c;
			continue;
		}
		s->b->result->garbage_blocks++;
		if (kept[n - 1].vaddr && c->vaddr &&
		    !verifies(s, &kept[n - 1], offset, buf))
			kept[n - 1] = *c;
	}
	return judge_part(s, offset, offset + 1, kept, n);
}

static int judge(struct sweep *s, uint64_t offset, uint64_t end)
{
	bool has_twins = false;
	int r = 0;

	for (size_t i = 1; i < s->covers.count; i++)
		has_twins |= s->covers.items[i].stamp ==
				     s->covers.items[i - 1].stamp &&
			     s->covers.items[i].seq ==
				     s->covers.items[i - 1].seq;
	if (!has_twins)
		return judge_part(s, offset, end, s->covers.items,
				  s->covers.count);
	for (; offset < end && r == 0; offset++)
		r = judge_twins(s, offset);
	return r;
}

/* ---- the sweep ----------------------------------------------------------- */

static bool is_newer(const struct cover *a, const struct cover *b)
{
	return a->stamp != b->stamp ? a->stamp > b->stamp : a->seq > b->seq;
}

static int cover_add(struct sweep *s, const struct cover *c)
{
	size_t i;

	if (cfs_vec_reserve(&s->covers, 1) < 0)
		return no_memory(s->b);
	for (i = s->covers.count; i > 0 && is_newer(c, &s->covers.items[i - 1]);
	     i--)
		s->covers.items[i] = s->covers.items[i - 1];
	s->covers.items[i] = *c;
	s->covers.count++;
	return 0;
}

static void covers_end(struct sweep *s, uint64_t at)
{
	size_t n = 0;

	for (size_t i = 0; i < s->covers.count; i++)
		if (s->covers.items[i].end > at)
			s->covers.items[n++] = s->covers.items[i];
	s->covers.count = n;
}

/* The next of the two lists, both sorted by offset. */
static bool next_cover(const struct rebuild *b, uint64_t branch_ino,
		       size_t *run, size_t *tomb, struct cover *ret, bool takes)
{
	const struct rebuild_run *r =
		*run < b->runs.count &&
				b->runs.items[*run].branch_ino == branch_ino
			? &b->runs.items[*run]
			: NULL;
	const struct rebuild_tombstone *t =
		*tomb < b->tombstones.count &&
				b->tombstones.items[*tomb].branch_ino ==
					branch_ino
			? &b->tombstones.items[*tomb]
			: NULL;

	if (!r && !t)
		return false;
	if (r && (!t || r->offset <= t->offset)) {
		*ret = (struct cover){
			.offset = r->offset,
			.end = r->offset + r->count,
			.vaddr = r->vaddr,
			.stamp = r->stamp,
			.seq = r->seq,
			.csum = r->csum,
		};
		*run += takes;
	} else {
		*ret = (struct cover){
			.offset = t->offset,
			.end = t->offset + t->count,
			.stamp = t->stamp,
			.seq = t->seq,
		};
		*tomb += takes;
	}
	return true;
}

/* One inode of one branch. */
static int sweep_inode(struct sweep *s, size_t *run, size_t *tomb)
{
	struct cover next;
	uint64_t at = 0;
	int r = 0;

	s->covers.count = 0;
	while (r == 0) {
		bool has_next = next_cover(s->b, s->branch_ino, run, tomb,
					   &next, false);
		uint64_t end = has_next ? next.offset : UINT64_MAX;

		for (size_t i = 0; i < s->covers.count; i++)
			end = CFS_MIN(end, s->covers.items[i].end);
		if (s->covers.count > 0 && end > at)
			r = judge(s, at, end);
		if (end == UINT64_MAX)
			break;
		at = end;
		covers_end(s, at);
		while (r == 0 && has_next && next.offset == at) {
			(void)next_cover(s->b, s->branch_ino, run, tomb, &next,
					 true);
			r = cover_add(s, &next);
			has_next = next_cover(s->b, s->branch_ino, run, tomb,
					      &next, false);
		}
	}
	return r == 0 ? flush_live(s) : r;
}

static int run_order(const void *a, const void *b)
{
	const struct rebuild_run *x = a, *y = b;

	if (x->branch_ino != y->branch_ino)
		return x->branch_ino < y->branch_ino ? -1 : 1;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

static int tomb_order(const void *a, const void *b)
{
	const struct rebuild_tombstone *x = a, *y = b;

	if (x->branch_ino != y->branch_ino)
		return x->branch_ino < y->branch_ino ? -1 : 1;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Tags that do not count: of branches that are gone, or of older lives of
 * their numbers, or of no inode that the volume has. */
static void drop_garbage(struct rebuild *b)
{
	const struct rebuild_branch *br = NULL;
	size_t n = 0;

	for (size_t i = 0; i < b->runs.count; i++) {
		const struct rebuild_run *run = &b->runs.items[i];
		uint64_t ino = run->branch_ino & CFS_INO_MAX;

		if (!br || br->id != run->branch_ino >> 48)
			br = branch_of(b, run->branch_ino >> 48);
		if (!br || run->stamp <= br->rec.created_stamp ||
		    (br->only_ino && br->only_ino != ino))
			b->result->garbage_blocks += run->count;
		else
			b->runs.items[n++] = *run;
	}
	b->runs.count = n;
}

/* Behind the last block that a branch's ancestors ever had of an inode. */
static uint64_t parent_end(struct rebuild *b, const struct rebuild_branch *br,
			   uint64_t ino)
{
	uint64_t end = 0;

	for (size_t depth = 0;
	     br && br->rec.parent && depth <= b->branches.count; depth++) {
		const uint64_t want = cfs_map_word0((uint16_t)br->rec.parent,
						    ino);
		size_t lo = 0, hi = b->runs.count;

		while (lo < hi) {
			size_t mid = lo + (hi - lo) / 2;

			if (b->runs.items[mid].branch_ino < want)
				lo = mid + 1;
			else
				hi = mid;
		}
		for (;
		     lo < b->runs.count && b->runs.items[lo].branch_ino == want;
		     lo++)
			end = CFS_MAX(end, b->runs.items[lo].offset +
						   b->runs.items[lo].count);
		br = branch_of(b, br->rec.parent);
	}
	return end;
}

static int sweep_all(struct rebuild *b)
{
	struct sweep s = { .b = b };
	size_t run = 0, tomb = 0;
	int r = 0;

	while (r == 0) {
		s.branch_ino = UINT64_MAX;
		if (run < b->runs.count)
			s.branch_ino = b->runs.items[run].branch_ino;
		if (tomb < b->tombstones.count)
			s.branch_ino = CFS_MIN(
				s.branch_ino,
				b->tombstones.items[tomb].branch_ino);
		if (s.branch_ino == UINT64_MAX)
			break;
		s.branch = branch_of(b, s.branch_ino >> 48);
		if (!s.branch) { /* tombstones of a branch that is gone */
			tomb++;
			continue;
		}
		s.parent_end = parent_end(b, s.branch,
					  s.branch_ino & CFS_INO_MAX);
		r = sweep_inode(&s, &run, &tomb);
	}
	cfs_vec_done(&s.covers);
	return r;
}

/* Counters and levels that were made anew. */
static int put_branches(struct rebuild *b)
{
	int r = 0;

	for (size_t i = 0; i < b->branches.count && r == 0; i++) {
		struct rebuild_branch *br = &b->branches.items[i];
		struct cfs_key key = {
			{ cfs_table_word(CFS_TABLE_BRANCH, br->id), 0, 0 }
		};
		struct cfs_branch_rec_disk disk;

		br->rec.live_blocks = br->live_blocks;
		br->rec.history_blocks = br->history_blocks;
		br->rec.level_mask = br->level_mask;
		cfs_branch_rec_pack(&br->rec, &disk);
		r = cfs_tree_put(cfs_container_tree(b->c, CFS_TREE_TABLE), &key,
				 &disk, sizeof(disk), NULL, b->err);
	}
	return r;
}

int cfs_rebuild_map(struct rebuild *b)
{
	int r = load_tables(b);

	if (r < 0)
		return r;
	if (b->branches.count == 0)
		return cfs_err_set(b->err, -EUCLEAN,
				   "no leaf of the small tables is left: "
				   "nothing says which branches there are");
	drop_garbage(b);
	if (b->runs.count > 0)
		qsort(b->runs.items, b->runs.count, sizeof(*b->runs.items),
		      run_order);
	if (b->tombstones.count > 0)
		qsort(b->tombstones.items, b->tombstones.count,
		      sizeof(*b->tombstones.items), tomb_order);
	r = sweep_all(b);
	return r == 0 ? put_branches(b) : r;
}
