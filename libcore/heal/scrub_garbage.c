/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tombstones that a scrub can drop, and the garbage tags that stand in the way.
 *
 * A tombstone is for rebuild alone: it keeps older tags of its range from
 * passing for data, and in a branch with a parent it hides what the ancestors
 * have.  So it may go when
 *
 *  - no older tag of its branch is left in its range, of whatever block, and
 *  - no ancestor of its branch has any tag in its range,
 *
 * in neither slot of any page of any piece.  Tags of blocks that are neither in
 * use nor held are garbage, and are cleared from both slots where they would
 * keep a tombstone; all others stay, and keep it: what a snapshot sees, and
 * all that a group has that we have open, which may be written at any time.
 * If one page could not be looked at, in a slot or a piece that may come back,
 * or in the memory of another who has the group on loan, no tombstone is
 * dropped.
 *
 * Everything that is only in memory is committed before, and only tombstones
 * older than that count.  What is written later is newer than they are, so a
 * slice that was looked at gets no tag that could matter.  A cleared page is
 * durable before a tombstone goes.
 */
#include "heal/scrub_priv.h"

#include "base/cleanup.h"
#include "ondisk/map.h"
#include "pool/metavolume.h"
#include "tree/hooks.h"

#include <stdlib.h>
#include <string.h>

#define DROPS_AT_ONCE 256u

struct tomb {
	struct cfs_key key;
	uint64_t ino, offset, end;
	uint64_t end_max; /* of this inode's, up to here */
	uint64_t stamp;
	uint16_t seq, branch;
	bool is_needed;
};

struct lineage {
	uint16_t branch, parent;
};

/* A group whose page is written anew. */
struct clearing {
	struct cfs_group g;
	struct cfs_page_disk *page;
};

struct garbage {
	struct scrub *s;
	uint64_t stamp;             /* tombstones are older */
	CFS_VEC(struct tomb) tombs; /* by inode and offset */
	CFS_VEC(struct lineage) branches;
	bool is_incomplete; /* a page was not looked at */

	/* Of the slice under way. */
	struct tag_area area;
	CFS_VEC(struct clearing) clearings;
};

static int no_memory(struct garbage *g)
{
	return cfs_err_set(g->s->err, -ENOMEM, "out of memory");
}

/* ---- tombstones and branches --------------------------------------------- */

static int by_offset(const void *a, const void *b)
{
	const struct tomb *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

static int add_record(struct garbage *g, const struct cfs_cursor *cur)
{
	const uint16_t branch = (uint16_t)cur->key.w[0];
	struct cfs_branch_rec rec;
	struct cfs_tombstone_rec t;
	int r;

	if (cur->key.w[0] >> 56 == CFS_TABLE_BRANCH) {
		r = cfs_branch_rec_unpack(cur->value, cur->value_bytes, &rec,
					  g->s->err);
		if (r == 0 &&
		    cfs_vec_push(&g->branches,
				 (struct lineage){ branch,
						   (uint16_t)rec.parent }) < 0)
			r = no_memory(g);
		return r;
	}
	if (cur->key.w[0] >> 56 != CFS_TABLE_TOMBSTONE)
		return 0;
	r = cfs_tombstone_rec_unpack(cur->value, cur->value_bytes, &t,
				     g->s->err);
	if (r == 0 && t.stamp < g->stamp) {
		const struct tomb tomb = {
			.key = cur->key,
			.ino = cur->key.w[1],
			.offset = cfs_tombstone_offset(cur->key.w[2]),
			.end = cfs_tombstone_offset(cur->key.w[2]) + t.count,
			.stamp = t.stamp,
			.seq = t.seq,
			.branch = branch,
		};

		if (cfs_vec_push(&g->tombs, tomb) < 0)
			r = no_memory(g);
	}
	return r;
}

static int load_tombs(struct garbage *g)
{
	struct cfs_container *c = g->s->c;
	struct cfs_key from = { { cfs_table_word(CFS_TABLE_BRANCH, 0), 0, 0 } };
	struct cfs_cursor cur;
	int r;

	cfs_container_lock(c);
	g->stamp = cfs_container_stamp(c);
	r = cfs_cursor_ge(&cur, cfs_container_tree(c, CFS_TREE_TABLE), &from,
			  g->s->err);
	while (r == 0) {
		r = add_record(g, &cur);
		if (r == 0)
			r = cfs_cursor_next(&cur, g->s->err);
	}
	cfs_container_unlock(c);
	if (r != -ENOENT)
		return r;
	if (g->tombs.count > 0)
		qsort(g->tombs.items, g->tombs.count, sizeof(*g->tombs.items),
		      by_offset);
	for (size_t i = 0; i < g->tombs.count; i++) {
		struct tomb *t = &g->tombs.items[i];

		t->end_max = t->end;
		if (i > 0 && t[-1].ino == t->ino)
			t->end_max = CFS_MAX(t->end, t[-1].end_max);
	}
	return 0;
}

static uint16_t parent_of(const struct garbage *g, uint16_t branch)
{
	size_t lo = 0, hi = g->branches.count;

	while (lo < hi) { /* in the order of their keys */
		size_t mid = lo + (hi - lo) / 2;

		if (g->branches.items[mid].branch < branch)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < g->branches.count && g->branches.items[lo].branch == branch
		       ? g->branches.items[lo].parent
		       : 0;
}

/* Would the tag show, or count, if the tombstone were not there? */
static bool needs(const struct garbage *g, const struct tomb *t,
		  const struct cfs_tag *tag)
{
	uint16_t branch = t->branch;

	if (tag->branch == branch)
		return tag->stamp < t->stamp ||
		       (tag->stamp == t->stamp && tag->seq <= t->seq);
	for (size_t depth = 0; branch && depth <= g->branches.count; depth++) {
		branch = parent_of(g, branch);
		if (branch == tag->branch)
			return true;
	}
	return false;
}

/*
 * Does the tag keep a tombstone?  @marks: those that it keeps are marked, all
 * of them.
 */
static bool keeps_some(struct garbage *g, const struct cfs_tag *tag, bool marks)
{
	size_t lo = 0, hi = g->tombs.count;
	bool keeps = false;

	if (tag->type != CFS_TAG_DATA)
		return false;
	while (lo < hi) { /* the first behind it */
		const struct tomb *t = &g->tombs.items[lo + (hi - lo) / 2];

		if (t->ino < tag->ino ||
		    (t->ino == tag->ino && t->offset <= tag->offset))
			lo += (hi - lo) / 2 + 1;
		else
			hi = lo + (hi - lo) / 2;
	}
	while (lo-- > 0) {
		struct tomb *t = &g->tombs.items[lo];

		if (t->ino != tag->ino || t->end_max <= tag->offset)
			break;
		if (t->end <= tag->offset || !needs(g, t, tag))
			continue;
		keeps = true;
		if (!marks)
			break;
		t->is_needed = true;
	}
	return keeps;
}

/* ---- a group ------------------------------------------------------------- */

static void mark_tags(struct garbage *g,
		      const struct cfs_tag_disk tags[CFS_TAGS_PER_PAGE])
{
	for (unsigned int i = 0; i < CFS_TAGS_PER_PAGE; i++) {
		struct cfs_tag tag;

		cfs_tag_unpack(&tags[i], &tag);
		(void)keeps_some(g, &tag, true);
	}
}

/* The tags of a slot of a piece, if it is good. */
static bool slot_tags(const struct garbage *g, uint32_t group, unsigned int i,
		      struct cfs_tag_disk ret[CFS_TAGS_PER_PAGE])
{
	if (g->area.groups[group].slots[i / 2][i & 1].state != TAG_SLOT_GOOD)
		return false;
	memcpy(ret, cfs_tag_area_page(&g->area, i / 2, i & 1, group)->payload,
	       CFS_TAGS_PER_PAGE * sizeof(*ret));
	return true;
}

/* All that its pages say stays. */
static void mark_slots(struct garbage *g, uint32_t group)
{
	struct cfs_tag_disk tags[CFS_TAGS_PER_PAGE];

	for (unsigned int i = 0; i < 2 * CFS_PIECES_MAX; i++)
		if (slot_tags(g, group, i, tags))
			mark_tags(g, tags);
}

/* Is a tag of data somewhere in a slot, other than in @want, in the way? */
static bool has_garbage(struct garbage *g, uint32_t group,
			const struct cfs_tag_disk want[CFS_TAGS_PER_PAGE])
{
	struct cfs_tag_disk tags[CFS_TAGS_PER_PAGE];

	for (unsigned int i = 0; i < 2 * CFS_PIECES_MAX; i++) {
		if (!slot_tags(g, group, i, tags))
			continue;
		for (unsigned int k = 0; k < CFS_TAGS_PER_PAGE; k++) {
			struct cfs_tag tag;

			if (memcmp(&tags[k], &want[k], sizeof(tags[k])) == 0)
				continue;
			cfs_tag_unpack(&tags[k], &tag);
			if (keeps_some(g, &tag, false))
				return true;
		}
	}
	return false;
}

/* The newest page's tags, without those of data that nothing names. */
static void wanted_tags(const struct garbage *g, uint32_t group,
			const uint64_t kept[2],
			struct cfs_tag_disk ret[CFS_TAGS_PER_PAGE])
{
	memcpy(ret, g->area.groups[group].best->payload,
	       CFS_TAGS_PER_PAGE * sizeof(*ret));
	for (unsigned int i = 0; i < CFS_TAGS_PER_PAGE; i++) {
		struct cfs_tag tag;

		cfs_tag_unpack(&ret[i], &tag);
		if (tag.type == CFS_TAG_DATA && !(kept[i / 64] >> (i % 64) & 1))
			memset(&ret[i], 0, sizeof(ret[i]));
	}
}

static int add_clearing(struct garbage *g, uint32_t group,
			const struct cfs_tag_disk want[CFS_TAGS_PER_PAGE])
{
	struct clearing *cl;

	if (cfs_vec_reserve(&g->clearings, 1) < 0)
		return no_memory(g);
	cl = &g->clearings.items[g->clearings.count];
	cl->page = cfs_dev_buf_alloc(sizeof(*cl->page));
	if (!cl->page)
		return no_memory(g);
	g->clearings.count++;
	cl->g.lslice = g->area.lslice;
	cl->g.index = group;
	cl->g.seq = g->area.groups[group].head.seq;
	memcpy(cl->g.tags, want, sizeof(cl->g.tags));
	return 0;
}

/* The lock is held. */
static int look_at_group(struct garbage *g, uint32_t group)
{
	struct cfs_container *c = g->s->c;
	struct cfs_tag_disk tags[CFS_TAGS_PER_PAGE];
	uint64_t kept[2];
	bool is_known = false, is_lent = false;
	int r;

	g->is_incomplete |= g->area.groups[group].is_doubtful;
	if (cfs_repair_open_tags(c, g->area.lslice, group, tags)) {
		mark_tags(g, tags);
		mark_slots(g, group);
		return 0;
	}
	/* Its holder may have tags that no page has yet. */
	r = cfs_repair_is_lent(c, g->area.lslice, group, &is_lent, g->s->err);
	g->is_incomplete |= is_lent;
	if (r < 0 || is_lent || !g->area.groups[group].best)
		return r;
	r = cfs_repair_kept(c, g->area.lslice, group, kept, &is_known,
			    g->s->err);
	if (r < 0)
		return r;
	wanted_tags(g, group, kept, tags);
	if (is_known && has_garbage(g, group, tags))
		return add_clearing(g, group, tags);
	mark_slots(g, group);
	return 0;
}

/* ---- a slice ------------------------------------------------------------- */

/* One slot of each group on the list, on all pieces, durable. */
static int write_slots(struct garbage *g)
{
	const size_t count = g->clearings.count;
	struct cfs_container *c = g->s->c;
	struct cfs_mv_write *writes = calloc(count, sizeof(*writes));
	int r;

	if (!writes)
		return no_memory(g);
	for (size_t i = 0; i < count; i++) {
		struct clearing *cl = &g->clearings.items[i];

		writes[i] = (struct cfs_mv_write){
			.count = 1,
			.buf = cl->page,
		};
		cfs_group_page(cfs_container_blocks(c), &cl->g,
			       cfs_container_root(c)->stamp, cl->page,
			       &writes[i].vaddr);
	}
	r = cfs_metavolume_write(g->s->mv, writes, count, g->s->err);
	if (r == 0)
		r = cfs_metavolume_flush(g->s->mv, g->s->err);
	free(writes);
	return r;
}

/* Both slots, the other one only when the first is durable. */
static int clear_groups(struct garbage *g)
{
	int r = 0;

	if (g->clearings.count == 0)
		return 0;
	for (size_t i = 0; i < g->clearings.count && r == 0; i++)
		if (!cfs_repair_hold(g->s->c, g->area.lslice,
				     g->clearings.items[i].g.index))
			r = cfs_err_set(g->s->err, -EIO,
					"a group could not be "
					"held");
	for (unsigned int i = 0; i < 2 && r == 0; i++)
		r = write_slots(g);
	for (size_t i = 0; i < g->clearings.count; i++)
		cfs_repair_release(g->s->c, g->area.lslice,
				   g->clearings.items[i].g.index);
	cfs_blocks_forget(cfs_container_blocks(g->s->c), g->area.lslice);
	for (size_t i = 0; i < g->clearings.count && r == 0; i++)
		mark_tags(g, g->clearings.items[i].g.tags);
	return r;
}

static void clearings_done(struct garbage *g)
{
	for (size_t i = 0; i < g->clearings.count; i++)
		free(g->clearings.items[i].page);
	g->clearings.count = 0;
}

/* Pieces that are missing may come back, with tags of then. */
static bool is_whole(const struct scrub *s, uint64_t lslice,
		     const struct cfs_piece pieces[CFS_PIECES_MAX])
{
	unsigned int readable = cfs_metavolume_readable(s->mv, lslice);

	for (unsigned int p = 0; p < CFS_PIECES_MAX; p++)
		if ((pieces[p].flags & CFS_PIECE_USED) && !(readable & 1u << p))
			return false;
	return true;
}

static int look_at_slice(struct garbage *g, uint64_t lslice)
{
	struct scrub *s = g->s;
	struct cfs_piece pieces[CFS_PIECES_MAX];
	uint64_t bytes = 0;
	int r = 0;

	cfs_container_lock(s->c);
	if (cfs_metavolume_get(s->mv, lslice, pieces)) {
		g->is_incomplete |= !is_whole(s, lslice, pieces) ||
				    !cfs_container_is_writable(s->c);
		if (!g->is_incomplete)
			r = cfs_tag_area_load(s->mv, lslice, &g->area, s->err);
		bytes = (uint64_t)2 * g->area.group_count * CFS_PAGE_BYTES;
		for (uint32_t i = 0; i < g->area.group_count && r == 0; i++)
			r = look_at_group(g, i);
		if (r == 0)
			r = clear_groups(g);
		clearings_done(g);
		cfs_tag_area_done(&g->area);
	}
	cfs_container_unlock(s->c);
	return r < 0 ? r : cfs_scrub_account(s, bytes);
}

/* ---- dropping ------------------------------------------------------------ */

/* Unless another took its place meanwhile. */
static int drop_one(struct garbage *g, const struct tomb *t)
{
	struct cfs_tombstone_rec_disk disk;
	struct cfs_tombstone_rec rec;
	size_t bytes = 0;
	int r = cfs_container_get(g->s->c, &t->key, &disk, sizeof(disk), &bytes,
				  g->s->err);

	if (r == 0)
		r = cfs_tombstone_rec_unpack(
			&disk, CFS_MIN(bytes, sizeof(disk)), &rec, g->s->err);
	if (r == 0 && rec.stamp == t->stamp)
		r = cfs_container_del(g->s->c, &t->key, g->s->err);
	return r == -ENOENT ? 0 : r;
}

static int drop_tombs(struct garbage *g)
{
	struct cfs_container *c = g->s->c;
	size_t i = 0;
	int r = 0;

	while (i < g->tombs.count && r == 0) {
		r = cfs_op_begin(c, CFS_OP_FREEING, g->s->err);
		if (r < 0)
			return r;
		for (unsigned int n = 0;
		     n < DROPS_AT_ONCE && r == 0 && i < g->tombs.count; i++) {
			if (g->tombs.items[i].is_needed)
				continue;
			r = drop_one(g, &g->tombs.items[i]);
			n++;
		}
		if (r < 0)
			cfs_op_abort(c);
		else
			cfs_op_end(c);
	}
	return r;
}

int cfs_scrub_garbage(struct scrub *s)
{
	struct garbage g = { .s = s };
	int r;

	/* The pool's own container has neither data nor tombstones. */
	if (!s->heals || !s->m || s->groups.count > 0)
		return 0;
	r = load_tombs(&g);
	if (r == 0 && g.tombs.count > 0) {
		g.tombs.count = g.branches.count = 0;
		/* No group stays open, and what was freed is no longer held. */
		r = cfs_container_commit_idle(s->c, s->err);
		if (r == 0)
			r = load_tombs(&g);
		for (uint64_t l = 0; l < cfs_metavolume_end(s->mv) && r == 0 &&
				     !g.is_incomplete;
		     l++)
			r = look_at_slice(&g, l);
		if (r == 0 && !g.is_incomplete)
			r = drop_tombs(&g);
	}
	cfs_vec_done(&g.tombs);
	cfs_vec_done(&g.branches);
	cfs_vec_done(&g.clearings);
	return r;
}
