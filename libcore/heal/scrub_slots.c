/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Scrub of tag pages: each group's, in both slots of each piece.  The newest
 * good one is what the others are measured by.
 *
 * The page of a group that a living client has on loan is its own: which slot
 * is to hold what nobody else knows, and each may be half written when it is
 * read.  It is counted, and not judged; the blocks that the trees name have
 * their tags in the slot that is not being written, since a slot is written
 * only when the other is durable, and a fold comes behind that.  Where the
 * holder is silent and may come back (a frozen group), a page that stays the
 * same is judged: behind the other piece it is as the holder left it, and
 * counted; what is damaged is told, and left until the holder is gone.
 */
#include "heal/scrub_priv.h"

#include "base/cleanup.h"
#include "device/device.h"
#include "heal/tags_priv.h"

#include <string.h>

/* ---- tag pages ----------------------------------------------------------- */

/* The seq that a slot must have, beside a best page of @best. */
static uint64_t slot_seq(uint64_t best, unsigned int slot)
{
	return (best & 1) == slot ? best : best - 1;
}

static bool slot_is_good(const struct tag_slot *ts, uint64_t best,
			 unsigned int slot)
{
	uint64_t want = slot_seq(best, slot);

	if (want == 0 || ts->state == TAG_SLOT_GONE)
		return true;
	if (ts->state == TAG_SLOT_GOOD)
		return ts->seq == want;
	/* The older slot may never have been written: other things stand
	 * there then.  Only what is ours and damaged was. */
	return want != best && ts->state == TAG_SLOT_NONE;
}

/* A slot that was bad; told when the lock is given back. */
struct bad_slot {
	uint64_t vaddr;
	unsigned int piece;
	uint32_t cause;
	bool is_healed;
	bool is_behind;
	bool is_away;
};

/* Does the page of a slot have all the tags of these blocks? */
static bool has_tags(const struct tag_area *area, uint32_t group,
		     unsigned int piece, unsigned int slot,
		     const uint64_t kept[2])
{
	const struct tag_group *g = &area->groups[group];
	const struct cfs_tags_payload_disk *page, *best;

	page = (const void *)cfs_tag_area_page(area, piece, slot, group)
		       ->payload;
	best = (const void *)g->best->payload;
	for (unsigned int i = 0; i < CFS_TAGS_PER_PAGE; i++)
		if (kept[i / 64] >> i % 64 & 1 &&
		    memcmp(&page->tags[i], &best->tags[i],
			   sizeof(page->tags[i])) != 0)
			return false;
	return true;
}

/* Is the page before the newest there, in the other slot of the piece? */
static bool has_one_before(const struct tag_group *g, unsigned int piece,
			   unsigned int slot)
{
	const struct tag_slot *other = &g->slots[piece][!slot];

	return slot_seq(g->head.seq, slot) == g->head.seq &&
	       other->state == TAG_SLOT_GOOD && other->seq + 1 == g->head.seq;
}

/*
 * A page that is a write behind: of two pieces one was written.  What recovery
 * takes over it makes the same on both; but who clears tags of what is free has
 * no loan, and may have died between the two.  What is on loan to somebody else
 * is written while we look, or as its holder left it when it died, until it
 * comes back.  Anything else is no damage if the piece lacks no tag that
 * anything in use needs, and is brought up to the other.
 */
static bool is_behind(struct scrub *s, const struct tag_area *area,
		      uint32_t group, unsigned int piece, unsigned int slot)
{
	const struct tag_group *g = &area->groups[group];
	const struct tag_slot *ts = &g->slots[piece][slot];
	uint64_t kept[2] = { 0, 0 };
	bool is_known = false;

	if (ts->state != TAG_SLOT_NONE &&
	    (ts->state != TAG_SLOT_GOOD ||
	     ts->seq >= slot_seq(g->head.seq, slot)))
		return false;
	/* Something else stands where nothing of it was written yet, only. */
	if (cfs_repair_is_away(s->c, area->lslice, group))
		return ts->state == TAG_SLOT_GOOD ||
		       slot_seq(g->head.seq, slot) <= 2;
	if (cfs_repair_kept(s->c, area->lslice, group, kept, &is_known, NULL) <
	    0)
		return false;
	if (!is_known || !(kept[0] | kept[1]))
		return true;
	if (ts->state == TAG_SLOT_NONE)
		return false;
	return has_tags(area, group, piece, slot, kept) ||
	       (has_one_before(g, piece, slot) &&
		has_tags(area, group, piece, !slot, kept));
}

/*
 * Make the page of one slot good.  The older slot gets the newest tags under
 * its own seq: whoever has to fall back to it then loses nothing.
 */
static int heal_tag_slot(struct scrub *s, const struct tag_area *area,
			 uint32_t group, unsigned int piece, unsigned int slot,
			 struct bad_slot *ret)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	const struct tag_group *g = &area->groups[group];
	struct cfs_page head = g->head;

	if (!page)
		return cfs_err_set(s->err, -ENOMEM, "out of memory");
	ret->vaddr = cfs_vaddr(area->lslice,
			       cfs_geometry_tags_block(s->geo, group, slot));
	ret->piece = piece;
	ret->is_healed = false;
	ret->is_behind = is_behind(s, area, group, piece, slot);
	ret->is_away = cfs_repair_is_away(s->c, area->lslice, group);
	ret->cause = g->slots[piece][slot].state == TAG_SLOT_UNREADABLE
			     ? CFS_BAD_UNREADABLE
			     : CFS_BAD_CONTENT;
	memcpy(page, g->best, sizeof(*page));
	head.seq = slot_seq(g->head.seq, slot);
	cfs_page_pack(&head, page);
	if (!s->heals || !cfs_repair_hold(s->c, area->lslice, group))
		return 0;
	ret->is_healed = cfs_metavolume_write_piece(s->mv, ret->vaddr, 1, piece,
						    page, NULL) == 0 &&
			 cfs_metavolume_flush(s->mv, NULL) == 0;
	cfs_repair_release(s->c, area->lslice, group);
	return 0;
}

static bool group_is_good(const struct tag_group *g)
{
	for (unsigned int p = 0; p < CFS_PIECES_MAX && g->best; p++)
		for (unsigned int slot = 0; slot < 2; slot++)
			if (!slot_is_good(&g->slots[p][slot], g->head.seq,
					  slot))
				return false;
	return g->best != NULL;
}

bool cfs_scrub_is_written(struct scrub *s, uint64_t lslice, uint32_t group)
{
	return cfs_repair_is_away(s->c, lslice, group) &&
	       !cfs_repair_is_frozen(s->c, lslice, group);
}

/* Did a slot change between two looks at it? */
static bool has_changed(const struct tag_area *before,
			const struct tag_area *now, uint32_t group)
{
	for (unsigned int i = 0; i < 2 * CFS_PIECES_MAX; i++) {
		const struct tag_slot *a =
			&before->groups[group].slots[i / 2][i & 1];
		const struct tag_slot *b =
			&now->groups[group].slots[i / 2][i & 1];

		if (a->state != b->state || a->seq != b->seq)
			return true;
		if (a->state != TAG_SLOT_GONE &&
		    a->state != TAG_SLOT_UNREADABLE &&
		    memcmp(cfs_tag_area_page(before, i / 2, i & 1, group),
			   cfs_tag_area_page(now, i / 2, i & 1, group),
			   CFS_PAGE_BYTES) != 0)
			return true;
	}
	return false;
}

/* What of a frozen group is wrong only because its holder stopped there. */
static bool is_as_left(struct scrub *s, const struct tag_area *now,
		       uint32_t group)
{
	const struct tag_group *g = &now->groups[group];

	for (unsigned int i = 0; g->best && i < 2 * CFS_PIECES_MAX; i++)
		if (!slot_is_good(&g->slots[i / 2][i & 1], g->head.seq,
				  i & 1) &&
		    !is_behind(s, now, group, i / 2, i & 1))
			return false;
	return g->best != NULL;
}

/* Is the group not to be judged, as another may be writing its page?  The lock
 * is held. */
static bool is_anothers(struct scrub *s, const struct tag_area *before,
			const struct tag_area *now, uint32_t group)
{
	if (!cfs_repair_is_frozen(s->c, now->lslice, group))
		return false;
	return has_changed(before, now, group) || is_as_left(s, now, group);
}

/*
 * A group with something wrong, looked at again with the lock held.  A group
 * without any good page is left to the resolver, if anything in it is in use.
 */
static int scrub_group(struct scrub *s, const struct tag_area *now,
		       uint32_t group, struct bad_slot ret[2 * CFS_PIECES_MAX],
		       unsigned int *ret_count)
{
	const struct tag_group *g = &now->groups[group];
	uint64_t used[2] = { 0, 0 };
	int r = 0;

	for (unsigned int i = 0; g->best && i < 2 * CFS_PIECES_MAX && r == 0;
	     i++)
		if (!slot_is_good(&g->slots[i / 2][i & 1], g->head.seq, i & 1))
			r = heal_tag_slot(s, now, group, i / 2, i & 1,
					  &ret[(*ret_count)++]);
	if (g->best || cfs_repair_has_group(s->c, now->lslice, group))
		return r;
	r = cfs_repair_used(s->c, now->lslice, group, used, s->err);
	if (r == 0 && (used[0] | used[1])) {
		const struct scrub_group lost = { now->lslice, group, 0 };

		if (cfs_vec_push(&s->groups, lost) < 0)
			r = cfs_err_set(s->err, -ENOMEM, "out of memory");
	}
	return r;
}

/* Nothing to be done, as far as pages alone tell.  A group in use without any
 * page of this life is found by its blocks, which have no tags. */
static bool is_left_alone(const struct tag_group *g)
{
	return group_is_good(g) || (!g->best && !g->is_doubtful);
}

static int look_at_group(struct scrub *s, const struct tag_area *before,
			 uint32_t group, struct bad_slot *ret,
			 unsigned int *ret_count)
{
	struct tag_area now;
	int r = cfs_tag_area_load(s->mv, before->lslice, &now, s->err);

	if (r < 0)
		return r;
	if (is_anothers(s, before, &now, group))
		s->result->skipped_groups++;
	else if (!is_left_alone(&now.groups[group]))
		r = scrub_group(s, &now, group, ret, ret_count);
	cfs_tag_area_done(&now);
	return r;
}

int cfs_scrub_tag_pages(struct scrub *s, const struct tag_area *area)
{
	struct bad_slot bad[2 * CFS_PIECES_MAX];
	int r = 0;

	for (uint32_t i = 0; i < area->group_count && r == 0; i++) {
		unsigned int count = 0;

		cfs_container_lock(s->c);
		if (cfs_scrub_is_written(s, area->lslice, i))
			s->result->skipped_groups++;
		else if (!is_left_alone(&area->groups[i]))
			r = look_at_group(s, area, i, bad, &count);
		cfs_container_unlock(s->c);
		for (unsigned int k = 0; k < count && r == 0; k++) {
			if (bad[k].is_behind &&
			    (bad[k].is_healed || bad[k].is_away || !s->heals))
				continue;
			r = cfs_scrub_tell_piece(s, "tags", bad[k].cause,
						 bad[k].vaddr, bad[k].piece,
						 NULL, bad[k].is_healed);
		}
	}
	return r;
}
