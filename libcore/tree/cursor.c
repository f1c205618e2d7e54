/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Cursors.  One knows its leaf and slot only as long as the tree's change
 * count is what it was; otherwise it seeks from its key again.  There are no
 * links between leaves: the neighbour is found from the root, by the key at
 * which this leaf ends.
 */
#include "tree/tree_priv.h"

static int cursor_set(struct cfs_cursor *cur, struct cfs_tree *tree,
		      struct cfs_tnode *leaf, unsigned int slot)
{
	cur->tree = tree;
	cur->leaf = leaf;
	cur->slot = slot;
	cur->change = tree->change;
	cur->key = cfs_tkey_load(cfs_tnode_record(leaf, slot),
				 tree->config.key_words);
	cur->value = cfs_tnode_value(leaf, slot, &cur->value_bytes);
	return 0;
}

int cfs_cursor_ge(struct cfs_cursor *cur, struct cfs_tree *tree,
		  const struct cfs_key *key, struct cfs_err *err)
{
	struct cfs_key k = *key;
	struct cfs_tnode *leaf;
	unsigned int slot;
	bool is_equal;
	int r;

	cfs_tree_enter(tree);
	/* Ends: the keys rise, and leaves but the root have records. */
	for (;;) {
		r = cfs_tree_descend(tree, &k, &leaf, err);
		if (r < 0)
			return r;
		slot = cfs_tnode_search(leaf, &k, &is_equal);
		if (slot < leaf->record_count)
			return cursor_set(cur, tree, leaf, slot);
		if (leaf->range.is_open)
			return -ENOENT;
		k = leaf->range.high;
	}
}

int cfs_cursor_le(struct cfs_cursor *cur, struct cfs_tree *tree,
		  const struct cfs_key *key, struct cfs_err *err)
{
	unsigned int words = tree->config.key_words;
	struct cfs_key k = *key;
	struct cfs_tnode *leaf;
	unsigned int slot;
	bool is_equal;
	int r;

	cfs_tree_enter(tree);
	for (;;) {
		r = cfs_tree_descend(tree, &k, &leaf, err);
		if (r < 0)
			return r;
		slot = cfs_tnode_search(leaf, &k, &is_equal);
		if (is_equal)
			return cursor_set(cur, tree, leaf, slot);
		if (slot > 0)
			return cursor_set(cur, tree, leaf, slot - 1);
		k = leaf->range.low;
		if (!cfs_tkey_dec(&k, words))
			return -ENOENT;
	}
}

int cfs_cursor_next(struct cfs_cursor *cur, struct cfs_err *err)
{
	struct cfs_tree *tree = cur->tree;
	struct cfs_tnode *leaf = cur->leaf;
	struct cfs_key key = cur->key;

	if (cur->change == tree->change) {
		if (cur->slot + 1 < leaf->record_count)
			return cursor_set(cur, tree, leaf, cur->slot + 1);
		if (leaf->range.is_open)
			return -ENOENT;
		key = leaf->range.high;
	} else if (!cfs_tkey_inc(&key, tree->config.key_words)) {
		return -ENOENT;
	}
	return cfs_cursor_ge(cur, tree, &key, err);
}

int cfs_cursor_prev(struct cfs_cursor *cur, struct cfs_err *err)
{
	struct cfs_tree *tree = cur->tree;
	struct cfs_tnode *leaf = cur->leaf;
	struct cfs_key key = cur->key;

	if (cur->change == tree->change) {
		if (cur->slot > 0)
			return cursor_set(cur, tree, leaf, cur->slot - 1);
		key = leaf->range.low;
	}
	if (!cfs_tkey_dec(&key, tree->config.key_words))
		return -ENOENT;
	return cfs_cursor_le(cur, tree, &key, err);
}
