/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Leaving a slice in which little is left, so that it can go back to the pool:
 * what stands there is written elsewhere.  Which nodes and data that is tags
 * and blocks themselves say, so that the work is in proportion to the slice.
 * What they say is only looked for: nothing is believed that the tree does not
 * confirm.
 */
#include "tree/container_priv.h"

#include "base/cleanup.h"
#include "tree/lend_priv.h"
#include "tree/repair.h"
#include "tree/space_priv.h"
#include "tree/tree_priv.h"

#include <stdlib.h>

#define SPARE_BLOCKS 64u
#define MOVED_MAX    1024u /* blocks of one slice */

static bool is_in(uint64_t vaddr, uint64_t lslice)
{
	return vaddr && cfs_vaddr_lslice(vaddr) == lslice;
}

/* Root, gravestone and log stay where they are. */
static bool holds_places(const struct cfs_container *c, uint64_t lslice)
{
	bool holds = is_in(c->root.grave_vaddr[0], lslice) ||
		     is_in(c->root.grave_vaddr[1], lslice);

	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++)
		holds |= is_in(c->root_vaddr[i], lslice);
	for (uint32_t i = 0; i < c->root.log_extent_count; i++)
		holds |= is_in(c->root.log_extents[i].vaddr, lslice);
	return holds;
}

static bool may_leave(struct cfs_container *c, uint64_t lslice)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	const struct slice_state *s = &c->slices[lslice];
	const int64_t need = 2 * (int64_t)s->used_blocks + SPARE_BLOCKS +
			     (int64_t)cfs_space_reserve(c) +
			     (int64_t)geo->data_count;

	return lslice < c->slice_room && s->is_mapped && s->used_blocks > 0 &&
	       s->used_blocks <= CFS_MIN(geo->data_count / 4, MOVED_MAX) &&
	       cfs_space_left(c) >= need && !holds_places(c, lslice) &&
	       !(c->lender && cfs_lend_in_slice(c, lslice)) &&
	       !cfs_space_bad_in_slice(c, lslice);
}

struct found_node {
	uint64_t vaddr;
	unsigned int tree_id, level;
	struct cfs_key low;
};

static int look_at_piece(struct cfs_container *c, uint64_t vaddr,
			 unsigned int piece, void *buf, struct found_node *ret)
{
	const struct cfs_node_header_disk *h = buf;
	unsigned int words;

	if (cfs_metavolume_read(c->mv, vaddr, 1, piece, buf, NULL) < 0 ||
	    h->tree_id < 1 || h->tree_id > CFS_TREE_COUNT ||
	    !c->trees[h->tree_id - 1])
		return -ENOENT;
	words = c->trees[h->tree_id - 1]->config.key_words;
	if (cfs_node_verify(buf, h->tree_id, -1, words, c->id, NULL) < 0)
		return -ENOENT;
	*ret = (struct found_node){
		.vaddr = vaddr,
		.tree_id = h->tree_id,
		.level = h->level,
	};
	for (unsigned int i = 0; i < words; i++)
		ret->low.w[i] = le64_get(h->low[i]);
	return 0;
}

/* What the block at @vaddr looks like.  -ENOENT: no node. */
static int look_at(struct cfs_container *c, uint64_t vaddr, void *buf,
		   struct found_node *ret)
{
	const unsigned int readable = cfs_metavolume_readable(
		c->mv, cfs_vaddr_lslice(vaddr));
	int r = -ENOENT;

	for (unsigned int p = 0; r < 0 && p < CFS_PIECES_MAX; p++)
		if (readable & 1u << p)
			r = look_at_piece(c, vaddr, p, buf, ret);
	return r;
}

int cfs_repair_move_node(struct cfs_container *c, uint64_t vaddr,
			 struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) void *buf = cfs_dev_buf_alloc(CFS_NODE_BYTES);
	struct found_node node;
	int r = buf ? look_at(c, vaddr, buf, &node)
		    : cfs_err_set(err, -ENOMEM, "out of memory");

	if (r == 0)
		r = cfs_tree_rewrite(c->trees[node.tree_id - 1], &node.low,
				     node.level, vaddr, err);
	return r;
}

struct found_data {
	uint64_t vaddr;
	struct cfs_tag tag;
};

struct found {
	CFS_VEC(struct found_node) nodes;
	CFS_VEC(struct found_data) data;
};

static void found_done(struct found *f)
{
	cfs_vec_done(&f->nodes);
	cfs_vec_done(&f->data);
}

/* One block in use.  -ENOENT: it is neither a node nor data. */
static int find_block(struct cfs_container *c, uint64_t vaddr, bool moves_data,
		      const struct cfs_tag *tag, void *buf, struct found *f,
		      struct cfs_err *err)
{
	struct found_data data = { vaddr, *tag };
	struct found_node node;
	int r = 0;

	if (tag->type == CFS_TAG_DATA)
		r = moves_data ? cfs_vec_push(&f->data, data) : -ENOENT;
	else if (look_at(c, vaddr, buf, &node) == 0)
		r = cfs_vec_push(&f->nodes, node);
	else
		r = -ENOENT;
	return r < 0 && r != -ENOENT
		       ? cfs_err_set(err, -ENOMEM, "out of memory")
		       : r;
}

/* All that is in use there, by the tags as they stand. */
static int find_blocks(struct cfs_container *c, uint64_t lslice,
		       bool moves_data, struct found *f, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(c->mv);
	CFS_CLEANUP(cfs_freep) void *buf = cfs_dev_buf_alloc(CFS_NODE_BYTES);
	CFS_CLEANUP(cfs_freep) struct cfs_group *page = malloc(sizeof(*page));
	int r = buf && page ? 0 : cfs_err_set(err, -ENOMEM, "out of memory");

	for (uint32_t i = 0; r == 0 && i < geo->group_count; i++) {
		const uint32_t start = cfs_geometry_group_start(geo, i);
		const struct open_group *g = cfs_space_group(
			c, cfs_vaddr(lslice, start));
		const struct cfs_tag_disk *tags = g ? g->g.tags : page->tags;
		uint64_t used[2];
		bool is_there;

		r = cfs_space_bits_load(c, cfs_vaddr(lslice, i), used,
					&is_there, err);
		if (r == 0 && !g && (used[0] | used[1]))
			r = cfs_group_load(c->blocks, lslice, i, page, err);
		for (uint32_t k = 0; r == 0 && k < CFS_TAGS_PER_PAGE; k++) {
			struct cfs_tag tag;

			if (!(used[k / 64] >> (k % 64) & 1))
				continue;
			cfs_tag_unpack(&tags[k], &tag);
			r = find_block(c, cfs_vaddr(lslice, start + k),
				       moves_data, &tag, buf, f, err);
		}
	}
	return r;
}

/* Data is moved by who knows what it is: with the lock not held. */
static int move_data(struct cfs_container *c, const struct found *f,
		     const struct cfs_slice_leaver *leaver, struct cfs_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < f->data.count; i++)
		r = leaver->move(leaver->ctx, c, f->data.items[i].vaddr,
				 &f->data.items[i].tag, err);
	return r;
}

static int move_nodes(struct cfs_container *c, const struct found *f,
		      struct cfs_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < f->nodes.count; i++) {
		const struct found_node *n = &f->nodes.items[i];

		r = cfs_tree_rewrite(c->trees[n->tree_id - 1], &n->low,
				     n->level, n->vaddr, err);
	}
	return r;
}

static int commit_now(struct cfs_container *c, struct cfs_err *err)
{
	c->forces_commit = true;
	return cfs_container_commit_locked(c, err);
}

/* Groups that are open there are given up; what is to be moved. */
static int begin(struct cfs_container *c, uint64_t lslice, bool moves_data,
		 struct found *f, struct cfs_err *err)
{
	int r;

	if (c->is_readonly || lslice >= c->slice_room || !may_leave(c, lslice))
		return -ENOENT;
	r = find_blocks(c, lslice, moves_data, f, err);
	if (r < 0)
		return r;
	c->slices[lslice].is_leaving = true;
	c->is_sealing = true;
	r = commit_now(c, err);
	c->is_sealing = false;
	return r;
}

/* Pages that were moved go home with the first commit, nodes with both. */
static int end(struct cfs_container *c, uint64_t lslice, const struct found *f,
	       bool *ret_has_left, struct cfs_err *err)
{
	struct slice_state *s = &c->slices[lslice];
	int r = c->is_readonly ? -EROFS : 0;

	c->is_sealing = true;
	if (r == 0 && f->data.count > 0)
		r = commit_now(c, err);
	if (r == 0)
		r = move_nodes(c, f, err);
	if (r == 0)
		r = commit_now(c, err);
	c->is_sealing = false;
	*ret_has_left = r == 0 && s->used_blocks == 0;
	return r;
}

int cfs_container_leave_slice(struct cfs_container *c, uint64_t lslice,
			      const struct cfs_slice_leaver *leaver,
			      bool *ret_has_left, struct cfs_err *err)
{
	CFS_CLEANUP(found_done) struct found f = { .nodes = { 0 } };
	bool is_begun;
	int r;

	*ret_has_left = false;
	cfs_container_lock_to_change(c);
	r = begin(c, lslice, leaver != NULL, &f, err);
	is_begun = lslice < c->slice_room && c->slices[lslice].is_leaving;
	pthread_mutex_unlock(&c->lock);
	if (r == 0 && leaver)
		r = move_data(c, &f, leaver, err);
	cfs_container_lock_to_change(c);
	if (r == 0)
		r = end(c, lslice, &f, ret_has_left, err);
	if (is_begun) {
		c->slices[lslice].is_leaving = *ret_has_left;
		cfs_space_look_again(&c->slices[lslice]);
	}
	pthread_mutex_unlock(&c->lock);
	return r == -ENOENT ? 0 : r;
}

void cfs_container_slice_came(struct cfs_container *c, uint64_t lslice)
{
	if (lslice >= c->slice_room || !c->slices[lslice].is_mapped)
		(void)cfs_space_add_slice(c, lslice, NULL);
}

void cfs_container_slice_went(struct cfs_container *c, uint64_t lslice)
{
	if (lslice >= c->slice_room || !c->slices[lslice].is_mapped)
		return;
	c->used_blocks -= c->slices[lslice].used_blocks;
	c->slices[lslice].used_blocks = 0;
	cfs_space_drop_slice(c, lslice);
}
