/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One slice: the header of each piece, the tag pages, the blocks.
 *
 * Blocks are read without the container's lock, while it may be written to.
 * So what does not verify is looked at again with the lock held, with the tag
 * and the use that it has then; only what is bad again is bad.  What is
 * written here is the content that stood there already, or a tag page that
 * says what the group's newest says, so it harms no reader or writer.
 */
#include "heal/scrub_priv.h"

#include "base/cleanup.h"
#include "heal/header_priv.h"
#include "pool/metavolume.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW_GROUPS 2u
#define WINDOW_BLOCKS (WINDOW_GROUPS * CFS_TAGS_PER_PAGE) /* 1 MiB */

/* ---- the header ---------------------------------------------------------- */

static bool header_is_good(struct scrub *s, const struct header_place *at,
			   const struct cfs_slice_header *want)
{
	struct cfs_slice_header h;

	return cfs_header_read(cfs_pool_devset(s->pool), at, want->container_id,
			       &h, NULL) == 0 &&
	       h.state == want->state && h.lslice == want->lslice &&
	       h.piece == want->piece &&
	       memcmp(h.container_uuid, want->container_uuid, 16) == 0;
}

/* A late one must not hit the slice's next life: it has none while a group of
 * it is on loan to us, or frozen. */
static bool header_heal(struct scrub *s, const struct header_place *at,
			const struct cfs_slice_header *want)
{
	const struct cfs_devset *set = cfs_pool_devset(s->pool);
	uint32_t group;
	bool is_healed;

	if (!s->heals || !cfs_repair_hold_slice(s->c, want->lslice, &group))
		return false;
	is_healed = cfs_header_write(set, at, cfs_pool_epoch(s->pool), want,
				     NULL) == 0 &&
		    cfs_dev_flush(cfs_devset_dev(set, at->device), NULL) == 0 &&
		    header_is_good(s, at, want);
	cfs_repair_release(s->c, want->lslice, group);
	return is_healed;
}

/* Bad, and with the lock held still so, and still the slice's header? */
static bool header_look_again(struct scrub *s, const struct header_place *at,
			      const struct cfs_slice_header *want,
			      bool *ret_is_healed)
{
	struct cfs_piece pieces[CFS_PIECES_MAX];
	bool is_bad;

	cfs_container_lock(s->c);
	is_bad = cfs_metavolume_get(s->mv, want->lslice, pieces) &&
		 pieces[want->piece].device_index == at->device &&
		 pieces[want->piece].slice_index == at->slice &&
		 pieces[want->piece].generation == at->generation &&
		 !header_is_good(s, at, want);
	*ret_is_healed = is_bad && header_heal(s, at, want);
	cfs_container_unlock(s->c);
	return is_bad;
}

static int scrub_headers(struct scrub *s, uint64_t lslice)
{
	struct cfs_piece pieces[CFS_PIECES_MAX];
	struct cfs_slice_header want = {
		.container_id = cfs_container_id(s->c),
		.lslice = lslice,
		.state = CFS_SLICE_OWNED,
	};
	int r = 0;

	memcpy(want.container_uuid, cfs_container_uuid(s->c), 16);
	if (!cfs_metavolume_get(s->mv, lslice, pieces))
		return 0;
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		want.piece_count += (pieces[i].flags & CFS_PIECE_USED) != 0;
	for (unsigned int i = 0; i < CFS_PIECES_MAX && r == 0; i++) {
		const struct header_place at = {
			.device = pieces[i].device_index,
			.slice = pieces[i].slice_index,
			.generation = pieces[i].generation,
		};
		bool is_healed;

		want.piece = i;
		if (!(cfs_metavolume_readable(s->mv, lslice) & 1u << i) ||
		    header_is_good(s, &at, &want) ||
		    !header_look_again(s, &at, &want, &is_healed))
			continue;
		r = cfs_scrub_tell_piece(
			s, "header", CFS_BAD_CONTENT,
			cfs_vaddr(lslice, cfs_geometry_header_block(
						  s->geo, at.generation & 1)),
			i, NULL, is_healed);
	}
	return r;
}

/* ---- blocks -------------------------------------------------------------- */

struct window {
	uint64_t lslice;
	uint32_t group;        /* the first */
	uint32_t start, count; /* blocks of the slice */
	uint64_t used[WINDOW_GROUPS][2];
	struct cfs_tag tags[WINDOW_BLOCKS];
	size_t first_bad; /* index in s->bad */
	uint8_t *buf;
};

static bool is_used(const struct window *w, uint32_t i)
{
	uint32_t in = i % CFS_TAGS_PER_PAGE;

	return w->used[i / CFS_TAGS_PER_PAGE][in / 64] >> (in % 64) & 1;
}

static bool is_verified_by_tag(const struct cfs_tag *tag)
{
	return tag->type == CFS_TAG_DATA || tag->type == CFS_TAG_NODE ||
	       tag->type == CFS_TAG_TABLE;
}

static int note_group(struct scrub *s, uint64_t lslice, uint32_t group,
		      uint64_t seq)
{
	const struct scrub_group g = { lslice, group, seq };

	for (size_t i = s->groups.count; i-- > 0;)
		if (s->groups.items[i].lslice == lslice &&
		    s->groups.items[i].group == group) {
			s->groups.items[i].seq = CFS_MAX(
				seq, s->groups.items[i].seq);
			return 0;
		}
	if (cfs_vec_push(&s->groups, g) < 0)
		return cfs_err_set(s->err, -ENOMEM, "out of memory");
	return 0;
}

/* Use and tags of the window's groups, as of now. */
static int window_tags(struct scrub *s, const struct tag_area *area,
		       struct window *w)
{
	struct cfs_tag_disk open[CFS_TAGS_PER_PAGE];
	int r = 0;

	memset(w->used, 0, sizeof(w->used));
	memset(w->tags, 0, sizeof(w->tags));
	cfs_container_lock(s->c);
	for (uint32_t g = 0;
	     g < WINDOW_GROUPS && r == 0 && w->group + g < area->group_count;
	     g++) {
		bool is_open = cfs_repair_open_tags(s->c, w->lslice,
						    w->group + g, open);

		r = cfs_repair_used(s->c, w->lslice, w->group + g, w->used[g],
				    s->err);
		for (uint32_t i = 0; i < CFS_TAGS_PER_PAGE; i++) {
			struct cfs_tag *tag =
				&w->tags[g * CFS_TAGS_PER_PAGE + i];

			if (is_open)
				cfs_tag_unpack(&open[i], tag);
			else
				(void)cfs_tag_area_get(area, w->group + g, i,
						       tag);
		}
	}
	cfs_container_unlock(s->c);
	return r;
}

static int add_bad(struct scrub *s, const struct window *w, uint64_t vaddr,
		   unsigned int piece, uint32_t cause,
		   const struct cfs_tag *tag)
{
	const struct scrub_bad b = {
		.vaddr = vaddr,
		.piece_mask = 1u << piece,
		.cause = cause,
		.tag = *tag,
	};

	for (size_t i = w->first_bad; i < s->bad.count; i++) {
		if (s->bad.items[i].vaddr == vaddr) {
			s->bad.items[i].piece_mask |= 1u << piece;
			return 0;
		}
	}
	if (cfs_vec_push(&s->bad, b) < 0)
		return cfs_err_set(s->err, -ENOMEM, "out of memory");
	return 0;
}

/* Good content of the block from another piece, into @buf. */
static bool find_copy(struct scrub *s, uint64_t vaddr, unsigned int piece,
		      const struct cfs_tag *tag, void *buf)
{
	unsigned int readable = cfs_metavolume_readable(
		s->mv, cfs_vaddr_lslice(vaddr));

	for (unsigned int p = 0; p < CFS_PIECES_MAX; p++)
		if (p != piece && (readable & 1u << p) &&
		    cfs_metavolume_read(s->mv, vaddr, 1, p, buf, NULL) == 0 &&
		    cfs_block_is_good(cfs_container_blocks(s->c), tag, buf))
			return true;
	return false;
}

static bool write_copy(struct scrub *s, uint64_t vaddr, unsigned int piece,
		       const struct cfs_tag *tag, void *buf)
{
	const uint64_t lslice = cfs_vaddr_lslice(vaddr);
	const uint32_t group = cfs_geometry_group(s->geo,
						  cfs_vaddr_block(vaddr));
	bool is_done;

	if (!s->heals || !cfs_repair_hold(s->c, lslice, group))
		return false;
	is_done = cfs_metavolume_write_piece(s->mv, vaddr, 1, piece, buf,
					     NULL) == 0 &&
		  cfs_metavolume_flush(s->mv, NULL) == 0 &&
		  cfs_metavolume_read(s->mv, vaddr, 1, piece, buf, NULL) == 0 &&
		  cfs_block_is_good(cfs_container_blocks(s->c), tag, buf);
	cfs_repair_release(s->c, lslice, group);
	return is_done;
}

/* Not in place: the group is somebody else's who may write it.  A good copy is
 * read, and written elsewhere; what is left of it is nobody's. */
static bool move_copy(struct scrub *s, uint64_t vaddr,
		      const struct cfs_tag *tag)
{
	bool is_done;

	if (!s->heals)
		return false;
	if (tag->type == CFS_TAG_DATA)
		return s->m &&
		       cfs_pool_move_block(s->m, vaddr, tag, NULL) == 0 &&
		       cfs_container_commit(s->c, NULL) == 0;
	cfs_container_lock(s->c);
	is_done = cfs_repair_move_node(s->c, vaddr, NULL) == 0;
	cfs_container_unlock(s->c);
	return is_done && cfs_container_commit(s->c, NULL) == 0;
}

enum verdict { IS_GOOD, IS_HEALED, IS_HEALABLE, IS_BAD };

/* The lock is held: nothing moves under us. */
static int judge_again(struct scrub *s, uint64_t vaddr, unsigned int piece,
		       struct cfs_tag *ret_tag, uint32_t *ret_cause,
		       enum verdict *ret)
{
	CFS_CLEANUP(cfs_freep) void *buf = cfs_dev_buf_alloc(CFS_BLOCK_BYTES);
	uint32_t block = cfs_vaddr_block(vaddr);
	uint32_t at = cfs_geometry_index(s->geo, block);
	uint64_t used[2];
	int r;

	*ret = IS_GOOD;
	if (!buf)
		return cfs_err_set(s->err, -ENOMEM, "out of memory");
	r = cfs_repair_used(s->c, cfs_vaddr_lslice(vaddr),
			    cfs_geometry_group(s->geo, block), used, s->err);
	if (r < 0 || !(used[at / 64] >> (at % 64) & 1))
		return r;
	if (cfs_block_tag(cfs_container_blocks(s->c), vaddr, ret_tag, NULL) <
		    0 ||
	    !is_verified_by_tag(ret_tag))
		return 0; /* the tag is what is bad: dealt with there */
	r = cfs_metavolume_read(s->mv, vaddr, 1, piece, buf, NULL);
	if (r == 0 &&
	    cfs_block_is_good(cfs_container_blocks(s->c), ret_tag, buf))
		return 0;
	*ret_cause = r < 0 ? CFS_BAD_UNREADABLE : CFS_BAD_CONTENT;
	*ret = IS_BAD;
	if (find_copy(s, vaddr, piece, ret_tag, buf))
		*ret = write_copy(s, vaddr, piece, ret_tag, buf) ? IS_HEALED
								 : IS_HEALABLE;
	return 0;
}

static int look_again(struct scrub *s, const struct window *w, uint32_t i,
		      unsigned int piece)
{
	uint64_t vaddr = cfs_vaddr(w->lslice, w->start + i);
	enum verdict verdict = IS_GOOD;
	struct cfs_tag tag = { .type = CFS_TAG_FREE };
	uint32_t cause = 0;
	int r;

	cfs_container_lock(s->c);
	r = judge_again(s, vaddr, piece, &tag, &cause, &verdict);
	cfs_container_unlock(s->c);
	if (r < 0 || verdict == IS_GOOD)
		return r;
	if (verdict == IS_HEALABLE && move_copy(s, vaddr, &tag))
		verdict = IS_HEALED;
	if (verdict == IS_BAD)
		return add_bad(s, w, vaddr, piece, cause, &tag);
	return cfs_scrub_tell_piece(s, cfs_tag_kind_name(tag.type), cause,
				    vaddr, piece, &tag, verdict == IS_HEALED);
}

/* The used blocks of one piece, in one read if that goes. */
static int scrub_piece(struct scrub *s, struct window *w, unsigned int piece)
{
	uint32_t first = UINT32_MAX, last = 0;
	bool is_read;
	int r;

	for (uint32_t i = 0; i < w->count; i++) {
		if (!is_used(w, i) || !is_verified_by_tag(&w->tags[i]))
			continue;
		first = CFS_MIN(first, i);
		last = i;
	}
	if (first == UINT32_MAX)
		return 0;
	is_read = cfs_metavolume_read(
			  s->mv, cfs_vaddr(w->lslice, w->start + first),
			  last - first + 1, piece,
			  w->buf + (size_t)first * CFS_BLOCK_BYTES, NULL) == 0;
	r = cfs_scrub_account(s,
			      (uint64_t)(last - first + 1) * CFS_BLOCK_BYTES);
	for (uint32_t i = first; i <= last && r == 0; i++) {
		uint8_t *at = w->buf + (size_t)i * CFS_BLOCK_BYTES;

		if (!is_used(w, i) || !is_verified_by_tag(&w->tags[i]))
			continue;
		if ((is_read ||
		     cfs_metavolume_read(s->mv,
					 cfs_vaddr(w->lslice, w->start + i), 1,
					 piece, at, NULL) == 0) &&
		    cfs_block_is_good(cfs_container_blocks(s->c), &w->tags[i],
				      at)) {
			s->result->verified_blocks++;
			continue;
		}
		r = look_again(s, w, i, piece);
	}
	return r;
}

/* Blocks in use whose tag says nothing. */
static int find_untagged(struct scrub *s, const struct tag_area *area,
			 const struct window *w)
{
	for (uint32_t i = 0; i < w->count; i++) {
		uint32_t group = w->group + i / CFS_TAGS_PER_PAGE;
		uint64_t vaddr = cfs_vaddr(w->lslice, w->start + i);
		struct cfs_tag tag;
		uint64_t used[2];
		uint32_t in = i % CFS_TAGS_PER_PAGE;
		int r;

		if (!is_used(w, i) || (w->tags[i].type >= CFS_TAG_DATA &&
				       w->tags[i].type <= CFS_TAG_LOG))
			continue;
		cfs_container_lock(s->c);
		r = cfs_repair_used(s->c, w->lslice, group, used, s->err);
		/* Of a client that lives both slots may be under way. */
		if (r == 0 && (used[in / 64] >> (in % 64) & 1) &&
		    !cfs_scrub_is_written(s, w->lslice, group) &&
		    (cfs_block_tag(cfs_container_blocks(s->c), vaddr, &tag,
				   NULL) < 0 ||
		     cfs_tag_is_free(&tag)))
			r = note_group(s, w->lslice, group,
				       area->groups[group].best
					       ? area->groups[group].head.seq
					       : 0);
		cfs_container_unlock(s->c);
		if (r < 0)
			return r;
	}
	return 0;
}

static int scrub_window(struct scrub *s, const struct tag_area *area,
			struct window *w)
{
	unsigned int readable = cfs_metavolume_readable(s->mv, w->lslice);
	int r = window_tags(s, area, w);

	w->first_bad = s->bad.count;
	if (r == 0)
		r = find_untagged(s, area, w);
	for (unsigned int p = 0; p < CFS_PIECES_MAX && r == 0; p++)
		if (readable & 1u << p)
			r = scrub_piece(s, w, p);
	return r;
}

static int scrub_blocks(struct scrub *s, const struct tag_area *area,
			uint32_t from)
{
	CFS_CLEANUP(cfs_freep) struct window *w = calloc(1, sizeof(*w));
	CFS_CLEANUP(cfs_freep)
	uint8_t *buf = cfs_dev_buf_alloc((size_t)WINDOW_BLOCKS *
					 CFS_BLOCK_BYTES);
	uint32_t end = s->geo->data_start + s->geo->data_count;
	int r = 0;

	if (!w || !buf)
		return cfs_err_set(s->err, -ENOMEM, "out of memory");
	w->buf = buf;
	w->lslice = area->lslice;
	for (uint32_t g = 0; g < area->group_count && r == 0;
	     g += WINDOW_GROUPS) {
		w->group = g;
		w->start = cfs_geometry_group_start(s->geo, g);
		w->count = CFS_MIN(WINDOW_BLOCKS, end - w->start);
		if (w->start + w->count <= from)
			continue;
		r = scrub_window(s, area, w);
		if (r == 0)
			r = cfs_scrub_save(s, area->lslice, w->start + w->count,
					   false);
	}
	return r;
}

int cfs_scrub_slice(struct scrub *s, uint64_t lslice, uint32_t block)
{
	struct tag_area area;
	int r = block == 0 ? scrub_headers(s, lslice) : 0;

	if (r < 0)
		return r;
	r = cfs_tag_area_load(s->mv, lslice, &area, s->err);
	if (r < 0)
		return r;
	if (block == 0)
		r = cfs_scrub_account(
			s, (uint64_t)2 * area.group_count * CFS_PAGE_BYTES *
				   (unsigned int)__builtin_popcount(
					   cfs_metavolume_readable(s->mv,
								   lslice)));
	if (r == 0 && block == 0)
		r = cfs_scrub_tag_pages(s, &area);
	if (r == 0)
		r = scrub_blocks(s, &area, block);
	cfs_tag_area_done(&area);
	return r;
}

/* ---- roots --------------------------------------------------------------- */

/* The newest root page as it stands at @vaddr in @piece; false: it is bad. */
static bool root_read(struct scrub *s, uint64_t vaddr, unsigned int piece,
		      struct cfs_page_disk *page, struct cfs_page *ret)
{
	const struct cfs_page_expect expect = {
		.kind = CFS_PAGE_ROOT,
		.pool_lo = cfs_metavolume_pool_lo(s->mv),
		.owner = cfs_metavolume_container_id(s->mv),
		.address = vaddr,
	};

	return cfs_metavolume_read(s->mv, vaddr, 1, piece, page, NULL) == 0 &&
	       cfs_page_unpack(page, &expect, ret, NULL) == 0 &&
	       ret->seq == cfs_repair_root_seq(s->c);
}

/* Copies of the root that are bad, by place and piece. */
struct root_copies {
	uint64_t vaddr[CFS_ROOT_PLACES_MAX * CFS_PIECES_MAX];
	unsigned int piece[CFS_ROOT_PLACES_MAX * CFS_PIECES_MAX];
	bool is_healed[CFS_ROOT_PLACES_MAX * CFS_PIECES_MAX];
	unsigned int count;
};

static void find_roots(struct scrub *s, struct cfs_page_disk *page,
		       struct cfs_page_disk *good, struct cfs_page *good_head,
		       bool *has_good, struct root_copies *bad)
{
	const uint64_t *places = cfs_container_root_places(s->c);
	const uint64_t slot = cfs_repair_root_seq(s->c) & 1;

	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++) {
		unsigned int readable =
			places[i] ? cfs_metavolume_readable(
					    s->mv, cfs_vaddr_lslice(places[i]))
				  : 0;

		for (unsigned int p = 0; p < CFS_PIECES_MAX; p++) {
			struct cfs_page head;

			if (!(readable & 1u << p))
				continue;
			if (root_read(s, places[i] + slot, p, page, &head)) {
				memcpy(good, page, sizeof(*good));
				*good_head = head;
				*has_good = true;
				continue;
			}
			bad->vaddr[bad->count] = places[i] + slot;
			bad->piece[bad->count++] = p;
		}
	}
}

int cfs_scrub_roots(struct scrub *s)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *good = cfs_dev_buf_alloc(sizeof(*good));
	struct root_copies bad = { .count = 0 };
	struct cfs_page head = { .kind = 0 };
	bool has_good = false;
	int r = 0;

	if (!page || !good)
		return cfs_err_set(s->err, -ENOMEM, "out of memory");
	cfs_container_lock(s->c);
	find_roots(s, page, good, &head, &has_good, &bad);
	for (unsigned int i = 0; i < bad.count && has_good; i++) {
		struct cfs_page now;

		head.address = bad.vaddr[i];
		cfs_page_pack(&head, good);
		bad.is_healed[i] =
			s->heals &&
			cfs_metavolume_write_piece(s->mv, bad.vaddr[i], 1,
						   bad.piece[i], good,
						   NULL) == 0 &&
			cfs_metavolume_flush(s->mv, NULL) == 0 &&
			root_read(s, bad.vaddr[i], bad.piece[i], page, &now);
	}
	cfs_container_unlock(s->c);
	for (unsigned int i = 0; i < bad.count && r == 0; i++)
		r = cfs_scrub_tell_piece(s, "root", CFS_BAD_CONTENT,
					 bad.vaddr[i], bad.piece[i], NULL,
					 bad.is_healed[i]);
	return r;
}
