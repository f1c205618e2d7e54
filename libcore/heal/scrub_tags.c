/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tag pages made anew: what a block is comes from its record, its checksum
 * from the record, from what is left of the lost page, or from the content; and
 * only in the last case is the content not proved.
 */
#include "heal/resolve_priv.h"
#include "heal/salvage_priv.h"

#include "base/cleanup.h"
#include "pool/metavolume.h"

#include <stdlib.h>
#include <string.h>

/* Not seen when its slice was read, as it had no tag: a bad block after all. */
static int note_bad(struct scrub *s, uint64_t vaddr, const struct cfs_tag *tag)
{
	const struct scrub_bad bad = {
		.vaddr = vaddr,
		.piece_mask = cfs_metavolume_readable(s->mv,
						      cfs_vaddr_lslice(vaddr)),
		.cause = CFS_BAD_CONTENT,
		.tag = *tag,
	};

	for (size_t i = 0; i < s->bad.count; i++)
		if (s->bad.items[i].vaddr == vaddr)
			return 0;
	return cfs_vec_push(&s->bad, bad);
}

/*
 * What the tag of a block is, with the checksum that its record names or, if
 * that names none, the content's own.  False: the content cannot be read, or
 * is not what the record says.
 */
static bool want_tag(struct scrub *s, const struct wanted *w, void *buf,
		     struct cfs_tag *ret)
{
	uint64_t seed = cfs_blocks_seed(cfs_container_blocks(s->c));

	*ret = w->tag;
	if (w->tag.type == CFS_TAG_ROOT || w->tag.type == CFS_TAG_LOG)
		return true;
	if (cfs_metavolume_read_any(s->mv, w->vaddr, 1, buf, NULL, NULL) < 0)
		return false;
	if (w->has_csum)
		return cfs_tag_csum(&w->tag, seed, buf) == w->tag.csum;
	ret->csum = cfs_tag_csum(&w->tag, seed, buf);
	return true;
}

/* What the blocks of the group are; @good: those with a tag that may be set. */
static void want_group(struct resolve *v, const struct scrub_group *at,
		       const uint64_t used[2], void *buf,
		       struct salvage *salvage, bool *good)
{
	uint32_t start = cfs_geometry_group_start(v->s->geo, at->group);

	for (uint32_t i = 0; i < CFS_TAGS_PER_PAGE; i++) {
		const struct wanted *w = cfs_resolve_wanted(
			v, cfs_vaddr(at->lslice, start + i));

		if (used[i / 64] >> (i % 64) & 1 && w)
			good[i] = want_tag(v->s, w, buf, &salvage->want[i]);
	}
}

/* The tag that is set in the end.  Out of memory is -ENOMEM. */
static int decide_tag(struct scrub *s, const struct wanted *w,
		      const struct salvage *salvage, uint32_t index,
		      struct cfs_tag *ret)
{
	*ret = salvage->want[index];
	if (w->has_csum || ret->type == CFS_TAG_ROOT ||
	    ret->type == CFS_TAG_LOG)
		return 0;
	if (salvage->answer[index] == SALVAGE_NOTHING) {
		ret->flags |= CFS_TAG_FLAG_UNVERIFIED;
	} else if (salvage->answer[index] == SALVAGE_CONTRADICTED) {
		ret->csum = salvage->csum[index]; /* reads fail */
		return note_bad(s, w->vaddr, ret) < 0 ? -ENOMEM : 0;
	}
	return 0;
}

/* Both slots of a group that is not open get these tags. */
static int write_group(struct scrub *s, struct cfs_group *g)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	int r = 0;

	if (!page)
		return cfs_err_set(s->err, -ENOMEM, "out of memory");
	for (unsigned int i = 0; i < 2 && r == 0; i++) {
		struct cfs_mv_write w = { .count = 1, .buf = page };

		cfs_group_page(cfs_container_blocks(s->c), g,
			       cfs_container_root(s->c)->stamp, page, &w.vaddr);
		r = cfs_metavolume_write(s->mv, &w, 1, s->err);
		if (r == 0)
			r = cfs_metavolume_flush(s->mv, s->err);
	}
	cfs_blocks_forget(cfs_container_blocks(s->c), g->lslice);
	cfs_repair_tags_healed(s->c);
	return r;
}

/*
 * The tags of a group anew: those that the records name, and of what else
 * there was whatever the page still says.  The lock is held.
 */
static int rebuild_group(struct resolve *v, const struct scrub_group *at,
			 bool *ret_is_healed)
{
	struct scrub *s = v->s;
	CFS_CLEANUP(cfs_freep)
	struct salvage *salvage = calloc(1, sizeof(*salvage));
	CFS_CLEANUP(cfs_freep) struct cfs_group *g = calloc(1, sizeof(*g));
	CFS_CLEANUP(cfs_freep) void *buf = cfs_dev_buf_alloc(CFS_BLOCK_BYTES);
	bool is_open = cfs_repair_has_group(s->c, at->lslice, at->group);
	/* Whose page it is has the tags, and will write them. */
	bool heals = s->heals &&
		     !cfs_repair_is_away(s->c, at->lslice, at->group);
	uint32_t start = cfs_geometry_group_start(s->geo, at->group);
	bool good[CFS_TAGS_PER_PAGE] = { false };
	uint64_t used[2];
	int r;

	if (!salvage || !g || !buf)
		return cfs_err_set(s->err, -ENOMEM, "out of memory");
	if (cfs_group_load(cfs_container_blocks(s->c), at->lslice, at->group, g,
			   NULL) < 0) {
		memset(g, 0, sizeof(*g));
		g->seq = at->seq;
	}
	g->lslice = at->lslice;
	g->index = at->group;
	r = cfs_repair_used(s->c, at->lslice, at->group, used, s->err);
	if (r < 0)
		return r; /* cppcheck-suppress memleak */
	want_group(v, at, used, buf, salvage, good);
	r = cfs_salvage_group(s, at->lslice, at->group, salvage);
	*ret_is_healed = heals;
	for (uint32_t i = 0; i < CFS_TAGS_PER_PAGE && r == 0; i++) {
		uint64_t vaddr = cfs_vaddr(at->lslice, start + i);
		const struct wanted *w = cfs_resolve_wanted(v, vaddr);
		struct cfs_tag tag;

		if (!(used[i / 64] >> (i % 64) & 1))
			continue;
		*ret_is_healed &= good[i];
		if (!w)
			continue;
		tag = w->tag; /* reads of it say that it is bad */
		if (good[i])
			r = decide_tag(s, w, salvage, i, &tag);
		cfs_tag_pack(&tag, &g->tags[i]);
		if (r == 0 && heals && is_open)
			cfs_repair_set_open_tag(s->c, vaddr, &tag);
	}
	if (r < 0)
		return cfs_err_set(s->err, r, "out of memory");
	if (!heals || is_open)
		return 0;
	if (!cfs_repair_hold(s->c, at->lslice, at->group)) {
		*ret_is_healed = false;
		return 0;
	}
	r = write_group(s, g);
	cfs_repair_release(s->c, at->lslice, at->group);
	return r;
}

int cfs_resolve_groups(struct resolve *v)
{
	struct scrub *s = v->s;
	int r = 0;

	for (size_t i = 0; i < s->groups.count && r == 0; i++) {
		const struct scrub_group *at = &s->groups.items[i];
		bool is_healed = false;

		cfs_container_lock(s->c);
		r = rebuild_group(v, at, &is_healed);
		cfs_container_unlock(s->c);
		if (r == 0)
			r = cfs_scrub_tell_piece(
				s, "tags", CFS_BAD_TAG,
				cfs_vaddr(at->lslice,
					  cfs_geometry_tags_block(
						  s->geo, at->group, 0)),
				0, NULL, is_healed);
	}
	return r;
}
