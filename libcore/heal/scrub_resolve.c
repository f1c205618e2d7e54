/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What no other piece had: the trees are asked, in one walk for all of it.
 *
 * The walk reads every copy of every node, so a node whose other copy is good
 * is healed on the way.  For blocks whose tag is lost or says something else,
 * the records say what the tag must be, and for single blocks and nodes also
 * the checksum; else the lost page may still have it.  Where nothing tells the
 * checksum, the tag is made from the content and marked as not proved.
 */
#include "heal/resolve_priv.h"
#include "heal/salvage_priv.h"

#include "base/cleanup.h"
#include "ondisk/map.h"
#include "pool/metavolume.h"
#include "tree/lend.h"

#include <stdlib.h>
#include <string.h>

static int by_vaddr(const void *a, const void *b)
{
	const struct scrub_bad *x = a, *y = b;

	return (x->vaddr > y->vaddr) - (x->vaddr < y->vaddr);
}

static int by_group(const void *a, const void *b)
{
	const struct scrub_group *x = a, *y = b;

	if (x->lslice != y->lslice)
		return x->lslice < y->lslice ? -1 : 1;
	return (x->group > y->group) - (x->group < y->group);
}

static int wanted_by_vaddr(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;

	return (x->vaddr > y->vaddr) - (x->vaddr < y->vaddr);
}

/* The first bad block at or behind @vaddr. */
static size_t bad_from(const struct scrub *s, uint64_t vaddr)
{
	size_t lo = 0, hi = s->bad.count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->bad.items[mid].vaddr < vaddr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool group_is_lost(const struct scrub *s, uint64_t vaddr)
{
	const struct scrub_group key = {
		.lslice = cfs_vaddr_lslice(vaddr),
		.group = cfs_geometry_group(s->geo, cfs_vaddr_block(vaddr)),
	};

	return s->groups.count > 0 &&
	       bsearch(&key, s->groups.items, s->groups.count, sizeof(key),
		       by_group);
}

/* @vaddr comes from a record, and may be nowhere. */
static bool is_asked(const struct scrub *s, uint64_t vaddr)
{
	size_t i = bad_from(s, vaddr);

	if (!cfs_geometry_is_data(s->geo, cfs_vaddr_block(vaddr)))
		return false;
	return (i < s->bad.count && s->bad.items[i].vaddr == vaddr) ||
	       group_is_lost(s, vaddr);
}

static int want(struct resolve *v, uint64_t vaddr, const struct cfs_tag *tag,
		bool has_csum)
{
	const struct wanted w = { vaddr, *tag, has_csum };

	if (cfs_vec_push(&v->wanted, w) < 0)
		return cfs_err_set(v->s->err, -ENOMEM, "out of memory");
	return 0;
}

/* ---- the walk ------------------------------------------------------------ */

static int want_node(struct resolve *v, const struct cfs_node_found *node,
		     unsigned int copy)
{
	struct cfs_tag tag = {
		.type = node->tree_id == CFS_TREE_TABLE ? CFS_TAG_TABLE
							: CFS_TAG_NODE,
		.ino = node->tree_id,
		.offset = node->number,
		.stamp = node->ref.stamp,
	};
	uint64_t seed = cfs_blocks_seed(cfs_container_blocks(v->s->c));

	if (!node->node || !is_asked(v->s, node->ref.vaddr[copy]))
		return 0;
	tag.csum = cfs_tag_csum(&tag, seed, node->node);
	return want(v, node->ref.vaddr[copy], &tag, true);
}

/* In place where the group is ours, else the whole node elsewhere. */
static bool write_node(struct scrub *s, const struct cfs_healed_node *h,
		       const void *buf)
{
	const uint64_t lslice = cfs_vaddr_lslice(h->vaddr);
	const uint32_t group = cfs_geometry_group(s->geo,
						  cfs_vaddr_block(h->vaddr));
	bool is_done;

	if (!cfs_repair_hold(s->c, lslice, group))
		return cfs_repair_move_node(s->c, h->vaddr, NULL) == 0;
	is_done = cfs_metavolume_write_piece(s->mv, h->vaddr, 1, h->piece, buf,
					     NULL) == 0;
	/* The write has ended; what it needs to be durable a flush does. */
	cfs_repair_release(s->c, lslice, group);
	return is_done;
}

/* Copies that are bad while another is good: the same content again. */
static int heal_node(struct resolve *v, const struct cfs_node_found *node)
{
	struct scrub *s = v->s;
	CFS_CLEANUP(cfs_freep) void *buf = NULL;
	int r = 0;

	if (!node->node || !(node->bad[0] | node->bad[1]))
		return 0;
	buf = cfs_dev_buf_alloc(CFS_NODE_BYTES);
	if (!buf)
		return cfs_err_set(s->err, -ENOMEM, "out of memory");
	memcpy(buf, node->node, CFS_NODE_BYTES);
	for (unsigned int i = 0; i < 2 * CFS_PIECES_MAX && r == 0; i++) {
		struct cfs_healed_node h = {
			.tree_id = node->tree_id,
			.vaddr = node->ref.vaddr[i / CFS_PIECES_MAX],
			.piece = i % CFS_PIECES_MAX,
		};
		size_t at;

		if (!(node->bad[i / CFS_PIECES_MAX] >> h.piece & 1) ||
		    !s->heals || !write_node(s, &h, buf))
			continue;
		at = bad_from(s, h.vaddr);
		if (at < s->bad.count && s->bad.items[at].vaddr == h.vaddr)
			s->bad.items[at].is_healed = true;
		else if (cfs_vec_push(&v->healed, h) < 0)
			r = cfs_err_set(s->err, -ENOMEM, "out of memory");
	}
	return r;
}

static int want_extent(struct resolve *v, const struct cfs_leaf_record *at)
{
	struct cfs_extent_rec rec;
	int r = 0;

	if (at->key.w[1] >> CFS_MAP_OFF_BITS != CFS_MAP_EXTENT ||
	    cfs_extent_rec_unpack(at->value, at->value_bytes, &rec, NULL) < 0 ||
	    !rec.vaddr)
		return 0;
	for (uint32_t i = 0; i < rec.count && r == 0; i++) {
		const struct cfs_tag tag = {
			.csum = rec.csum,
			.type = CFS_TAG_DATA,
			.ino = at->key.w[0] & CFS_INO_MAX,
			.offset = (at->key.w[1] & CFS_OFF_MAX) + i,
			.stamp = rec.version.stamp,
			.seq = rec.version.seq,
			.branch = (uint16_t)(at->key.w[0] >> 48),
		};

		if (is_asked(v->s, rec.vaddr + i))
			r = want(v, rec.vaddr + i, &tag, rec.csum != 0);
	}
	return r;
}

static int visit(void *arg, const struct cfs_node_found *node,
		 struct cfs_err *err)
{
	struct resolve *v = arg;
	int r = heal_node(v, node);

	(void)err;
	for (unsigned int i = 0; i < 2 && r == 0; i++)
		if (node->ref.vaddr[i])
			r = want_node(v, node, i);
	if (r < 0 || !node->node || node->level > 0 ||
	    (node->tree_id != CFS_TREE_LIVE &&
	     node->tree_id != CFS_TREE_HISTORY))
		return r;
	for (unsigned int i = 0;
	     r == 0 && i < cfs_repair_record_count(node->node); i++) {
		struct cfs_leaf_record rec;

		cfs_repair_record(node->node, i, &rec);
		r = want_extent(v, &rec);
	}
	return r;
}

/* Roots and log have tags too, which say nothing but what they are. */
static int want_others(struct resolve *v)
{
	const uint64_t *places = cfs_container_root_places(v->s->c);
	const struct cfs_root *root = cfs_container_root(v->s->c);
	int r = 0;

	for (unsigned int i = 0; i < 2 * CFS_ROOT_PLACES_MAX && r == 0; i++) {
		const struct cfs_tag tag = {
			.type = CFS_TAG_ROOT,
			.offset = i & 1,
			.stamp = 1,
		};

		if (places[i / 2] && is_asked(v->s, places[i / 2] + (i & 1)))
			r = want(v, places[i / 2] + (i & 1), &tag, true);
	}
	for (uint32_t e = 0; e < root->log_extent_count && r == 0; e++) {
		const struct cfs_log_extent *at = &root->log_extents[e];

		for (uint32_t i = 0; i < at->block_count && r == 0; i++) {
			const struct cfs_tag tag = {
				.type = CFS_TAG_LOG,
				.ino = root->log_id,
				.offset = i % CFS_TAGS_PER_PAGE,
				.stamp = 1,
			};

			if (is_asked(v->s, at->vaddr + i))
				r = want(v, at->vaddr + i, &tag, true);
		}
	}
	return r;
}

static int want_client(void *arg, const struct cfs_client_info *info,
		       struct cfs_err *err)
{
	const struct cfs_client_rec *rec = &info->rec;
	struct resolve *v = arg;
	struct cfs_tag tag = {
		.type = CFS_TAG_LOG,
		.ino = rec->log_id,
		.stamp = 1,
	};
	int r = 0;

	(void)err;
	for (uint32_t e = 0; e < rec->extent_count; e++)
		for (uint32_t i = 0; i < rec->extents[e].block_count && r == 0;
		     i++, tag.offset++)
			if (is_asked(v->s, rec->extents[e].vaddr + i))
				r = want(v, rec->extents[e].vaddr + i, &tag,
					 true);
	for (unsigned int i = 0; i < 2 && r == 0; i++, tag.offset++)
		if (is_asked(v->s, rec->grave_vaddr[i]))
			r = want(v, rec->grave_vaddr[i], &tag, true);
	return r;
}

const struct wanted *cfs_resolve_wanted(const struct resolve *v, uint64_t vaddr)
{
	const struct wanted key = { .vaddr = vaddr };

	return v->wanted.count == 0
		       ? NULL
		       : bsearch(&key, v->wanted.items, v->wanted.count,
				 sizeof(key), wanted_by_vaddr);
}

/* ---- blocks -------------------------------------------------------------- */

/*
 * A bad block whose record names another identity than its tag: the tag is an
 * old one (its page fell back to the slot before), and the whole group is.
 */
static int find_stale_tags(struct resolve *v)
{
	struct scrub *s = v->s;
	size_t count = s->groups.count;

	for (size_t i = 0; i < s->bad.count; i++) {
		struct scrub_bad *b = &s->bad.items[i];
		const struct wanted *w = cfs_resolve_wanted(v, b->vaddr);
		struct scrub_group g = {
			.lslice = cfs_vaddr_lslice(b->vaddr),
			.group = cfs_geometry_group(s->geo,
						    cfs_vaddr_block(b->vaddr)),
		};
		bool is_known = false;

		if (!w || b->is_healed || cfs_salvage_is_same(&w->tag, &b->tag))
			continue;
		for (size_t k = 0; k < s->groups.count; k++)
			is_known |= by_group(&s->groups.items[k], &g) == 0;
		if (!is_known && cfs_vec_push(&s->groups, g) < 0)
			return cfs_err_set(s->err, -ENOMEM, "out of memory");
	}
	if (s->groups.count > 0)
		qsort(s->groups.items, s->groups.count,
		      sizeof(*s->groups.items), by_group);
	return s->groups.count > count;
}

/* Once more, with whatever tags there are now. */
static bool verifies_now(struct scrub *s, const struct scrub_bad *b)
{
	CFS_CLEANUP(cfs_freep) void *buf = cfs_dev_buf_alloc(CFS_BLOCK_BYTES);
	unsigned int readable = cfs_metavolume_readable(
		s->mv, cfs_vaddr_lslice(b->vaddr));
	struct cfs_tag tag;
	bool is_good = buf != NULL;

	if (!buf ||
	    cfs_block_tag(cfs_container_blocks(s->c), b->vaddr, &tag, NULL) < 0)
		return false;
	for (unsigned int p = 0; p < CFS_PIECES_MAX; p++)
		if (readable & 1u << p)
			is_good &= cfs_metavolume_read(s->mv, b->vaddr, 1, p,
						       buf, NULL) == 0 &&
				   cfs_block_is_good(cfs_container_blocks(s->c),
						     &tag, buf);
	return is_good;
}

static int tell_bad(struct scrub *s)
{
	int r = 0;

	if (s->heals && s->bad.count > 0 &&
	    cfs_metavolume_flush(s->mv, s->err) < 0)
		return -EIO;
	for (size_t i = 0; i < s->bad.count && r == 0; i++) {
		struct scrub_bad *b = &s->bad.items[i];

		cfs_container_lock(s->c);
		b->is_healed = s->heals && verifies_now(s, b);
		cfs_container_unlock(s->c);
		/* It was the tag that was bad, and that is told. */
		if (b->is_healed && group_is_lost(s, b->vaddr))
			continue;
		r = cfs_scrub_tell_piece(
			s, cfs_tag_kind_name(b->tag.type), b->cause, b->vaddr,
			(unsigned int)__builtin_ctz(b->piece_mask), &b->tag,
			b->is_healed);
	}
	return r;
}

static int walk_trees(struct resolve *v)
{
	struct scrub *s = v->s;
	int r = 0;

	cfs_container_lock(s->c);
	for (unsigned int t = CFS_TREE_TABLE; t <= CFS_TREE_SPACE && r == 0;
	     t++)
		r = cfs_repair_walk(s->c, t, visit, v, s->err);
	if (r == 0)
		r = want_others(v);
	cfs_container_unlock(s->c);
	if (r == 0)
		r = cfs_container_clients(s->c, want_client, v, s->err);
	if (v->wanted.count > 0)
		qsort(v->wanted.items, v->wanted.count,
		      sizeof(*v->wanted.items), wanted_by_vaddr);
	return r;
}

static int tell_nodes(struct resolve *v)
{
	int r = 0;

	for (size_t i = 0; i < v->healed.count && r == 0; i++) {
		const struct cfs_healed_node *h = &v->healed.items[i];

		r = cfs_scrub_tell_piece(
			v->s, h->tree_id == CFS_TREE_TABLE ? "table" : "node",
			CFS_BAD_CONTENT, h->vaddr, h->piece, NULL, true);
	}
	return r;
}

int cfs_scrub_resolve(struct scrub *s)
{
	struct resolve v = { .s = s };
	int r;

	if (s->bad.count == 0 && s->groups.count == 0)
		return 0;
	if (s->bad.count > 0)
		qsort(s->bad.items, s->bad.count, sizeof(*s->bad.items),
		      by_vaddr);
	if (s->groups.count > 0)
		qsort(s->groups.items, s->groups.count,
		      sizeof(*s->groups.items), by_group);
	r = walk_trees(&v);
	if (r == 0)
		r = find_stale_tags(&v);
	if (r > 0) { /* all of those groups' blocks are asked for */
		v.wanted.count = 0;
		r = walk_trees(&v);
	}
	if (r == 0)
		r = cfs_resolve_groups(&v);
	if (r == 0)
		r = tell_nodes(&v);
	if (r == 0)
		r = tell_bad(s);
	cfs_vec_done(&v.wanted);
	cfs_vec_done(&v.healed);
	return r;
}

/* ---- the table ----------------------------------------------------------- */

static int note_left(struct scrub *s)
{
	int r = 0;

	for (size_t i = 0; i < s->bad.count && r == 0; i++) {
		const struct scrub_bad *b = &s->bad.items[i];
		const struct cfs_bad_rec rec = {
			.found_ns = cfs_clock_realtime_ns(s->clock),
			.piece_mask = b->piece_mask,
			.cause = b->cause,
			.tag = b->tag,
		};

		if (b->is_healed)
			continue;
		r = cfs_op_begin(s->c, CFS_OP_FREEING, s->err);
		if (r < 0)
			return r;
		r = cfs_bad_put(s->c, b->vaddr, &rec, s->err);
		if (r < 0)
			cfs_op_abort(s->c);
		else
			cfs_op_end(s->c);
	}
	return r;
}

/* A free place that still cannot be read is kept out of use. */
static int is_unreadable(struct scrub *s, const struct bad_entry *b, bool *ret)
{
	CFS_CLEANUP(cfs_freep) void *buf = cfs_dev_buf_alloc(CFS_BLOCK_BYTES);
	unsigned int readable = cfs_metavolume_readable(
		s->mv, cfs_vaddr_lslice(b->vaddr));

	if (!buf)
		return cfs_err_set(s->err, -ENOMEM, "out of memory");
	*ret = false;
	for (unsigned int p = 0; p < CFS_PIECES_MAX; p++)
		if (readable & b->rec.piece_mask & 1u << p)
			*ret |= cfs_metavolume_read(s->mv, b->vaddr, 1, p, buf,
						    NULL) < 0;
	return 0;
}

int cfs_scrub_keep_bad(struct scrub *s, uint64_t to)
{
	struct bad_list list = { .items = NULL };
	int r;

	if (!s->heals)
		return 0;
	r = cfs_bad_load(s->c, &list, s->err);
	for (size_t i = 0; i < list.count && r == 0; i++) {
		const struct bad_entry *old = &list.items[i];
		size_t at = bad_from(s, old->vaddr);
		bool is_still_bad = at < s->bad.count &&
				    s->bad.items[at].vaddr == old->vaddr &&
				    !s->bad.items[at].is_healed;
		bool was_seen = old->vaddr >= s->from && old->vaddr < to;

		if (old->is_free)
			r = is_unreadable(s, old, &is_still_bad);
		if (r < 0)
			break;
		if (is_still_bad || (old->is_current && !was_seen))
			continue;
		r = cfs_op_begin(s->c, CFS_OP_FREEING, s->err);
		if (r < 0)
			break;
		r = cfs_bad_del(s->c, old->vaddr, s->err);
		if (r < 0)
			cfs_op_abort(s->c);
		else
			cfs_op_end(s->c);
	}
	cfs_vec_done(&list);
	return r == 0 ? note_left(s) : r;
}
