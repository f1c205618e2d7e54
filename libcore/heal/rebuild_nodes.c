/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Leaves without their parents: put into the new trees in the order of their
 * stamps, each taking the place of all that stood in its range.  The leaves of
 * the last commit cut the keys into ranges without a gap, and each is newer
 * than any other that ever covered a part of its range.
 */
#include "heal/rebuild_priv.h"

#include "base/cleanup.h"
#include "device/device.h"

#include <stdlib.h>
#include <string.h>

static const unsigned int key_words[CFS_TREE_COUNT] = {
	[CFS_TREE_TABLE - 1] = 3,
	[CFS_TREE_LIVE - 1] = 2,
	[CFS_TREE_HISTORY - 1] = 3,
	[CFS_TREE_SPACE - 1] = 2,
};

static int by_stamp(const void *a, const void *b)
{
	const struct rebuild_node *x = a, *y = b;

	if (x->tag.stamp != y->tag.stamp)
		return x->tag.stamp < y->tag.stamp ? -1 : 1;
	if (x->tag.ino != y->tag.ino)
		return x->tag.ino < y->tag.ino ? -1 : 1;
	return (x->tag.offset > y->tag.offset) -
	       (x->tag.offset < y->tag.offset);
}

/* The node, if it is a leaf that has what its tag says. */
static bool read_leaf(struct rebuild *b, struct rebuild_node *node, void *buf)
{
	const unsigned int tree_id = (unsigned int)node->tag.ino;
	const struct cfs_node_header_disk *h = buf;

	if (!key_words[tree_id - 1] ||
	    (tree_id == CFS_TREE_TABLE) != (node->tag.type == CFS_TAG_TABLE) ||
	    !cfs_rebuild_read(b, node->vaddr, &node->tag, buf) ||
	    cfs_node_verify(
		    buf, tree_id, -1, key_words[tree_id - 1],
		    cfs_metavolume_container_id(cfs_container_metavolume(b->c)),
		    NULL) < 0)
		return false;
	return h->level == 0 && le64_get(h->number) == node->tag.offset &&
	       le64_get(h->stamp) == node->tag.stamp;
}

static void range_of(const void *node, struct cfs_key *low,
		     struct cfs_key *high, bool *is_open)
{
	const struct cfs_node_header_disk *h = node;

	*is_open = h->flags & CFS_NODE_FLAG_NO_HIGH;
	for (unsigned int i = 0; i < CFS_KEY_WORDS_MAX; i++) {
		low->w[i] = le64_get(h->low[i]);
		high->w[i] = le64_get(h->high[i]);
	}
}

/* All that stands in the leaf's range goes. */
static int clear_range(struct cfs_tree *tree, const void *node,
		       struct cfs_err *err)
{
	struct cfs_key low, high;
	struct cfs_cursor cur;
	bool is_open;
	int r;

	range_of(node, &low, &high, &is_open);
	while ((r = cfs_cursor_ge(&cur, tree, &low, err)) == 0) {
		struct cfs_key key = cur.key;

		if (!is_open && cfs_key_cmp(&key, &high) >= 0)
			return 0;
		r = cfs_tree_del(tree, &key, err);
		if (r < 0)
			return r;
	}
	return r == -ENOENT ? 0 : r;
}

/* Extents follow from the tags, names from the snapshots; and loans and clients
 * are over: what stood in their logs is lost with the others'. */
static bool is_wanted(unsigned int tree_id, const struct cfs_leaf_record *rec)
{
	if (tree_id == CFS_TREE_TABLE)
		return rec->key.w[0] >> 56 != CFS_TABLE_LOAN &&
		       rec->key.w[0] >> 56 != CFS_TABLE_CLIENT &&
		       rec->key.w[0] >> 56 != CFS_TABLE_NAME;
	return rec->key.w[1] >> CFS_MAP_OFF_BITS != CFS_MAP_EXTENT;
}

static int put_leaf(struct rebuild *b, unsigned int tree_id, const void *node)
{
	struct cfs_tree *tree = cfs_container_tree(b->c, tree_id);
	int r = clear_range(tree, node, b->err);

	for (unsigned int i = 0; r == 0 && i < cfs_repair_record_count(node);
	     i++) {
		struct cfs_leaf_record rec;

		cfs_repair_record(node, i, &rec);
		if (tree_id != CFS_TREE_TABLE)
			b->ino_max = CFS_MAX(b->ino_max,
					     rec.key.w[0] & CFS_INO_MAX);
		if (is_wanted(tree_id, &rec))
			r = cfs_tree_put(tree, &rec.key, rec.value,
					 rec.value_bytes, NULL, b->err);
	}
	b->result->leaves++;
	return r;
}

int cfs_rebuild_leaves(struct rebuild *b)
{
	CFS_CLEANUP(cfs_freep) void *buf = cfs_dev_buf_alloc(CFS_NODE_BYTES);
	const struct rebuild_node *last = NULL;
	int r = 0;

	if (!buf)
		return cfs_err_set(b->err, -ENOMEM, "out of memory");
	if (b->nodes.count > 0)
		qsort(b->nodes.items, b->nodes.count, sizeof(*b->nodes.items),
		      by_stamp);
	for (size_t i = 0; i < b->nodes.count && r == 0; i++) {
		struct rebuild_node *node = &b->nodes.items[i];

		/* Space is made anew. */
		if (node->tag.ino == CFS_TREE_SPACE || !read_leaf(b, node, buf))
			continue;
		node->is_leaf = true;
		/* The second copy of the one before says the same. */
		if (last && by_stamp(last, node) == 0)
			continue;
		r = put_leaf(b, (unsigned int)node->tag.ino, buf);
		last = node;
	}
	return r;
}
