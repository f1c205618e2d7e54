/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening a tree, and what is asked of it without changing it. */
#include "base/bits.h"
#include "tree/tree_priv.h"

#include <stdlib.h>

int cfs_tree_open(const struct cfs_tree_config *config,
		  const struct cfs_tree_root *root,
		  struct cfs_node_cache *cache, struct cfs_tree **ret,
		  struct cfs_err *err)
{
	struct cfs_tree *tree;

	assert(config->tree_id >= 1 && config->tree_id <= 255);
	assert(config->key_words >= 1 &&
	       config->key_words <= CFS_KEY_WORDS_MAX);
	if (root->ref.vaddr[0] != 0 && root->level > CFS_NODE_LEVEL_MAX)
		return cfs_err_set(err, -EUCLEAN, "tree %u: level %u",
				   config->tree_id, root->level);
	tree = calloc(1, sizeof(*tree));
	if (!tree)
		return cfs_err_set(err, -ENOMEM, "no memory for a tree");
	tree->config = *config;
	tree->cache = cache;
	tree->info = *root;
	tree->committed = *root;
	cache->tree_count++;
	*ret = tree;
	return 0;
}

void cfs_tree_close(struct cfs_tree *tree)
{
	if (!tree)
		return;
	assert(!tree->is_placing && !tree->cache->is_reading);
	if (tree->root)
		cfs_tnode_free_below(tree->root);
	cfs_vec_done(&tree->given_up);
	tree->cache->tree_count--;
	free(tree);
}

void cfs_tree_root(const struct cfs_tree *tree, struct cfs_tree_root *ret)
{
	*ret = tree->info;
}

uint64_t cfs_tree_record_count(const struct cfs_tree *tree)
{
	return tree->info.record_count;
}

size_t cfs_tree_dirty_count(const struct cfs_tree *tree)
{
	return tree->unplaced.count + tree->placed.count;
}

size_t cfs_tree_unplaced_count(const struct cfs_tree *tree)
{
	return tree->unplaced.count + tree->given_up.count;
}

int cfs_tree_get(struct cfs_tree *tree, const struct cfs_key *key, void *buf,
		 size_t buf_bytes, size_t *ret_bytes, struct cfs_err *err)
{
	struct cfs_key k = *key;
	struct cfs_tnode *leaf;
	const uint8_t *value;
	unsigned int slot;
	size_t n;
	bool is_found;
	int r;

	cfs_tree_enter(tree);
	r = cfs_tree_descend(tree, &k, &leaf, err);
	if (r < 0)
		return r;
	slot = cfs_tnode_search(leaf, &k, &is_found);
	if (!is_found)
		return -ENOENT;
	value = cfs_tnode_value(leaf, slot, &n);
	if (CFS_MIN(n, buf_bytes) > 0)
		memcpy(buf, value, CFS_MIN(n, buf_bytes));
	*ret_bytes = n;
	return 0;
}
