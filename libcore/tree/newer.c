/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Cursors over what was changed since a stamp.
 *
 * A node is written anew with all that is above it, so the stamp that its
 * parent's record has of it is that of the last commit that changed anything
 * below.  A record is born, or dies, at a stamp that is not above that of the
 * commit which writes it.  So what was born or died behind a stamp lies below
 * nodes with stamps behind it, or in dirty ones; everything else is passed
 * over.
 */
#include "tree/tree_priv.h"

/* Was something below this child changed behind @stamp? */
static bool is_newer(const struct cfs_tnode *node, unsigned int slot,
		     uint64_t stamp)
{
	const struct cfs_tnode *child = node->children[slot];
	struct cfs_node_ref_disk disk;
	struct cfs_node_ref ref;

	if (child && child->is_dirty)
		return true;
	memcpy(&disk, cfs_tnode_record(node, slot) + cfs_tkey_bytes(node->tree),
	       sizeof(disk));
	cfs_node_ref_unpack(&disk, &ref);
	return ref.stamp > stamp;
}

/*
 * Down to the leaf for *key.  1: a part that is not newer was met, and *key is
 * where it ends; -ENOENT: there is nothing behind it either.
 */
static int descend_newer(struct cfs_tree *tree, struct cfs_key *key,
			 uint64_t stamp, struct cfs_tnode **ret,
			 struct cfs_err *err)
{
	struct cfs_tnode *node;
	int r = cfs_tree_load_root(tree, err);

	if (r < 0)
		return r;
	node = tree->root;
	if (!node || (!node->is_dirty && tree->info.ref.stamp <= stamp))
		return -ENOENT;
	while (node->level > 0) {
		unsigned int slot = cfs_tnode_child_slot(node, key);

		while (slot < node->record_count &&
		       !is_newer(node, slot, stamp))
			slot++;
		if (slot == node->record_count) {
			*key = node->range.high;
			return node->range.is_open ? -ENOENT : 1;
		}
		if (slot != cfs_tnode_child_slot(node, key))
			*key = cfs_tkey_load(cfs_tnode_record(node, slot),
					     tree->config.key_words);
		r = cfs_tnode_child(node, slot, &node, err);
		if (r < 0)
			return r;
	}
	cfs_tnode_touch(node);
	*ret = node;
	return 0;
}

int cfs_cursor_ge_newer(struct cfs_cursor *cur, struct cfs_tree *tree,
			const struct cfs_key *key, uint64_t stamp,
			struct cfs_err *err)
{
	struct cfs_key k = *key;
	struct cfs_tnode *leaf;
	unsigned int slot;
	bool is_equal;
	int r;

	cfs_tree_enter(tree);
	/* Ends: the keys rise. */
	for (;;) {
		r = descend_newer(tree, &k, stamp, &leaf, err);
		if (r < 0)
			return r;
		if (r == 1)
			continue;
		slot = cfs_tnode_search(leaf, &k, &is_equal);
		if (slot < leaf->record_count)
			break;
		if (leaf->range.is_open)
			return -ENOENT;
		k = leaf->range.high;
	}
	*cur = (struct cfs_cursor){
		.tree = tree,
		.leaf = leaf,
		.slot = slot,
		.change = tree->change,
		.key = cfs_tkey_load(cfs_tnode_record(leaf, slot),
				     tree->config.key_words),
	};
	cur->value = cfs_tnode_value(leaf, slot, &cur->value_bytes);
	return 0;
}

int cfs_cursor_next_newer(struct cfs_cursor *cur, uint64_t stamp,
			  struct cfs_err *err)
{
	struct cfs_tree *tree = cur->tree;
	struct cfs_tnode *leaf = cur->leaf;
	struct cfs_key key = cur->key;

	if (cur->change == tree->change && cur->slot + 1 < leaf->record_count) {
		cur->slot++;
		cur->key = cfs_tkey_load(cfs_tnode_record(leaf, cur->slot),
					 tree->config.key_words);
		cur->value = cfs_tnode_value(leaf, cur->slot,
					     &cur->value_bytes);
		return 0;
	}
	if (!cfs_tkey_inc(&key, tree->config.key_words))
		return -ENOENT;
	return cfs_cursor_ge_newer(cur, tree, &key, stamp, err);
}

uint64_t cfs_tree_edit_count(const struct cfs_tree *tree)
{
	return tree->edits;
}
