/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The walk over all copies of all nodes of a tree, for check and scrub.
 *
 * Most nodes are leaves: those below one node are read many at a time, in the
 * order in which they are then asked for.  What is repaired meanwhile is a node
 * that has been visited, so nothing here is older than it would have been.
 */
#include "tree/repair.h"

#include "base/cleanup.h"
#include "base/xxh.h"
#include "tree/container_priv.h"
#include "tree/tree_priv.h"

#include <stdlib.h>

#define AHEAD_NODES 64u
#define AHEAD_READS (AHEAD_NODES * 2 * CFS_PIECES_MAX)

struct ahead {
	struct cfs_mv_read reads[AHEAD_READS];
	unsigned int count, next;
	uint8_t *images; /* of @room reads */
	unsigned int room;
};

static void ahead_freep(struct ahead **a)
{
	if (*a)
		free((*a)->images);
	free(*a);
}

struct repair_walk {
	struct cfs_container *c;
	struct cfs_tree *tree;
	unsigned int tree_id;
	uint8_t *images; /* one for each level */
	uint8_t *copy;
	struct ahead *ahead;
	int (*visit)(void *arg, const struct cfs_node_found *node,
		     struct cfs_err *err);
	void *arg;
};

static void ahead_add(struct repair_walk *w, const struct cfs_node_ref *ref)
{
	struct ahead *a = w->ahead;

	for (unsigned int i = 0; i < 2; i++) {
		const unsigned int readable =
			ref->vaddr[i] ? cfs_metavolume_readable(
						w->c->mv,
						cfs_vaddr_lslice(ref->vaddr[i]))
				      : 0;

		for (unsigned int p = 0; p < CFS_PIECES_MAX; p++) {
			if (!(readable & 1u << p))
				continue;
			a->reads[a->count] = (struct cfs_mv_read){
				.vaddr = ref->vaddr[i],
				.count = 1,
				.piece = p,
			};
			a->count++;
		}
	}
}

/* The copy of a node on a piece: as it was read ahead, or now.  NULL: no. */
static const uint8_t *read_copy(struct repair_walk *w, uint64_t vaddr,
				unsigned int piece)
{
	struct ahead *a = w->ahead;
	const struct cfs_mv_read *rd = &a->reads[a->next];

	if (a->next < a->count && rd->vaddr == vaddr && rd->piece == piece) {
		a->next++;
		return rd->result == 0 ? rd->buf : NULL;
	}
	return cfs_metavolume_read(w->c->mv, vaddr, 1, piece, w->copy, NULL) < 0
		       ? NULL
		       : w->copy;
}

/* Read all copies; the first good one stands in @image then. */
static void read_copies(struct repair_walk *w, struct cfs_node_found *f,
			uint8_t *image, struct cfs_err *why)
{
	struct cfs_metavolume *mv = w->c->mv;

	cfs_err_set(why, -EUCLEAN, "no copy has the content its parent names");
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t vaddr = f->ref.vaddr[i];
		unsigned int readable = vaddr ? cfs_metavolume_readable(
							mv,
							cfs_vaddr_lslice(vaddr))
					      : 0;

		if (vaddr && !readable)
			f->bad[i] = 1;
		for (unsigned int p = 0; p < CFS_PIECES_MAX; p++) {
			const uint8_t *copy;

			if (!(readable & 1u << p))
				continue;
			copy = read_copy(w, vaddr, p);
			if (!copy ||
			    cfs_xxh3(copy, CFS_NODE_BYTES) != f->ref.csum) {
				f->bad[i] |= 1u << p;
				continue;
			}
			f->good[i] |= 1u << p;
			if (!f->node)
				memcpy(image, copy, CFS_NODE_BYTES);
			f->node = image;
		}
	}
}

static int walk_node(struct repair_walk *w, const struct cfs_node_ref *ref,
		     unsigned int level, const struct cfs_trange *range,
		     bool is_root, struct cfs_err *err);

static void child_ref(const uint8_t *image, unsigned int slot,
		      struct cfs_key *ret_low, struct cfs_node_ref *ret)
{
	struct cfs_leaf_record rec;
	struct cfs_node_ref_disk disk;

	cfs_repair_record(image, slot, &rec);
	*ret_low = rec.key;
	/* Of an interior node the reference follows the key at once. */
	memcpy(&disk, rec.value - 2, sizeof(disk));
	cfs_node_ref_unpack(&disk, ret);
}

/* Memory for what is to be read; false: there is none. */
static bool ahead_grow(struct ahead *a)
{
	if (a->count > a->room) {
		free(a->images);
		a->room = 0;
		a->images = cfs_dev_buf_alloc_unset((size_t)a->count *
						    CFS_NODE_BYTES);
		if (!a->images)
			return false;
		a->room = a->count;
	}
	for (unsigned int i = 0; i < a->count; i++)
		a->reads[i].buf = a->images + (size_t)i * CFS_NODE_BYTES;
	return true;
}

/* The leaves from @slot on are going to be asked for: some of them, now. */
static void look_ahead(struct repair_walk *w, const uint8_t *image,
		       unsigned int slot, unsigned int count)
{
	struct ahead *a = w->ahead;
	struct cfs_node_ref ref;
	struct cfs_key low;

	a->count = a->next = 0;
	for (count = CFS_MIN(count, slot + AHEAD_NODES); slot < count; slot++) {
		child_ref(image, slot, &low, &ref);
		ahead_add(w, &ref);
	}
	if (!ahead_grow(a) ||
	    cfs_metavolume_read_batch(w->c->mv, a->reads, a->count, NULL) ==
		    -ENOMEM)
		a->count = 0;
}

static int walk_children(struct repair_walk *w, const uint8_t *image,
			 const struct cfs_tnode_facts *facts,
			 unsigned int level, const struct cfs_trange *range,
			 struct cfs_err *err)
{
	for (unsigned int i = 0; i < facts->record_count; i++) {
		struct cfs_trange child = *range;
		struct cfs_node_ref ref, next;
		int r;

		if (level == 1 && i % AHEAD_NODES == 0)
			look_ahead(w, image, i, facts->record_count);
		child_ref(image, i, &child.low, &ref);
		if (i + 1 < facts->record_count) {
			child_ref(image, i + 1, &child.high, &next);
			child.is_open = false;
		}
		r = walk_node(w, &ref, level - 1, &child, false, err);
		if (r != 0)
			return r;
	}
	return 0;
}

static int walk_node(struct repair_walk *w, const struct cfs_node_ref *ref,
		     unsigned int level, const struct cfs_trange *range,
		     bool is_root, struct cfs_err *err)
{
	uint8_t *image = w->images + (size_t)level * CFS_NODE_BYTES;
	struct cfs_node_found f = {
		.tree_id = w->tree_id,
		.level = level,
		.ref = *ref,
	};
	struct cfs_tnode_facts facts = { 0 };
	struct cfs_err why = CFS_ERR_INIT;
	int r;

	read_copies(w, &f, image, &why);
	if (f.node && cfs_tnode_check(w->tree, image, ref, level, range,
				      is_root, &facts, &why) < 0)
		f.node = NULL;
	f.number = facts.number;
	f.why = why.msg;
	r = w->visit(w->arg, &f, err);
	if (r != 0 || level == 0 || !f.node)
		return r;
	return walk_children(w, image, &facts, level, range, err);
}

int cfs_repair_walk(struct cfs_container *c, unsigned int tree_id,
		    int (*visit)(void *arg, const struct cfs_node_found *node,
				 struct cfs_err *err),
		    void *arg, struct cfs_err *err)
{
	static const struct cfs_trange all = { .is_open = true };
	struct cfs_tree *tree = c->trees[tree_id - 1];
	struct repair_walk w = {
		.c = c,
		.tree = tree,
		.tree_id = tree_id,
		.visit = visit,
		.arg = arg,
	};
	CFS_CLEANUP(cfs_freep) uint8_t *images = NULL;
	CFS_CLEANUP(cfs_freep) uint8_t *copy = NULL;
	CFS_CLEANUP(ahead_freep) struct ahead *ahead = NULL;
	const struct cfs_tree_root *root;

	if (!tree || tree->committed.ref.vaddr[0] == 0)
		return 0;
	root = &tree->committed;
	images = cfs_dev_buf_alloc((size_t)(root->level + 1) * CFS_NODE_BYTES);
	copy = cfs_dev_buf_alloc(CFS_NODE_BYTES);
	ahead = calloc(1, sizeof(*ahead));
	if (!images || !copy || !ahead)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	w.images = images;
	w.copy = copy;
	w.ahead = ahead;
	return walk_node(&w, &root->ref, root->level, &all, true, err);
}
