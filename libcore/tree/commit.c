/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commit: addresses, then bytes, then peace.
 *
 *   clean --change--> unplaced --place--> placed --write, committed--> clean
 *                                         placed --change--> placed
 *
 * While a callback of cfs_tree_place runs, this tree may be changed: nodes
 * may become dirty, and the very node that is being placed may go away.  So
 * nothing is held over a callback but tree->placing, which is taken back when
 * that node is dropped, and positions in given_up, which only grows.
 */
#include "base/xxh.h"
#include "ondisk/tag.h"
#include "tree/tree_priv.h"

static int release_one(struct cfs_tree *tree, struct cfs_err *err)
{
	size_t i = tree->given_up.count - 1;
	struct cfs_node_ref ref = tree->given_up.items[i];
	int r;

	r = tree->config.ops->release(tree->config.ctx, tree->config.tree_id,
				      &ref, err);
	if (r < 0)
		return r;
	tree->given_up.items[i] = tree->given_up.items[--tree->given_up.count];
	return 0;
}

static int place_one(struct cfs_tree *tree, struct cfs_err *err)
{
	struct cfs_tnode *node = tree->unplaced.last; /* oldest change */
	struct cfs_node_ref ref = { .csum = 0 };
	int r;

	tree->placing = node;
	r = tree->config.ops->alloc(tree->config.ctx, tree->config.tree_id,
				    node->number, &ref, err);
	node = tree->placing;
	tree->placing = NULL;
	if (r < 0)
		return r;
	assert(ref.vaddr[0] != 0 && ref.stamp <= CFS_STAMP_MAX);
	/* The callback's own changes have made the node go away. */
	if (!node)
		return tree->config.ops->release(
			tree->config.ctx, tree->config.tree_id, &ref, err);
	ref.csum = 0;
	node->ref = ref;
	node->is_placed = true;
	cfs_tnode_list_remove(node);
	cfs_tnode_list_push(&tree->placed, node);
	return 0;
}

int cfs_tree_place(struct cfs_tree *tree, uint64_t *budget, struct cfs_err *err)
{
	int r = 0;

	assert(!tree->is_written && !tree->is_placing);
	tree->is_placing = true;
	while (r == 0 && *budget > 0) {
		if (tree->given_up.count > 0)
			r = release_one(tree, err);
		else if (tree->unplaced.count > 0)
			r = place_one(tree, err);
		else
			break;
		--*budget;
	}
	tree->is_placing = false;
	return r < 0 ? cfs_err_wrap(err, r, "tree %u", tree->config.tree_id)
		     : 0;
}

static void header_pack(const struct cfs_tnode *node)
{
	struct cfs_node_header_disk *h = (void *)node->image;
	const struct cfs_tree_config *config = &node->tree->config;

	memset(h, 0, sizeof(*h));
	h->magic = le32_put(CFS_NODE_MAGIC);
	h->version = le16_put(CFS_NODE_VERSION);
	h->tree_id = (uint8_t)config->tree_id;
	h->level = node->level;
	h->key_words = (uint8_t)config->key_words;
	h->flags = node->range.is_open ? CFS_NODE_FLAG_NO_HIGH : 0;
	h->record_count = le16_put(node->record_count);
	h->records_start = le16_put(node->records_start);
	h->number = le64_put(node->number);
	h->stamp = le64_put(node->ref.stamp);
	h->container_id = le64_put(config->container_id);
	for (unsigned int i = 0; i < CFS_KEY_WORDS_MAX; i++) {
		h->low[i] = le64_put(node->range.low.w[i]);
		h->high[i] = le64_put(
			node->range.is_open ? 0 : node->range.high.w[i]);
	}
	cfs_node_seal(node->image);
}

/*
 * Children first: a node's checksum is in its parent.  1: the budget is used
 * up; what is written stays so, and the next call goes on behind it.
 */
static int node_write(struct cfs_tnode *node, uint64_t *budget,
		      struct cfs_err *err)
{
	const struct cfs_tree_config *config = &node->tree->config;
	struct cfs_node_ref_disk disk;
	int r;

	for (unsigned int i = 0; node->children && i < node->record_count;
	     i++) {
		struct cfs_tnode *child = node->children[i];

		if (!child || !child->is_dirty || child->is_sealed)
			continue;
		r = node_write(child, budget, err);
		if (r != 0)
			return r;
		cfs_node_ref_pack(&child->ref, &disk);
		memcpy(cfs_tnode_record(node, i) + 8 * config->key_words, &disk,
		       sizeof(disk));
	}
	if (*budget == 0)
		return 1;
	--*budget;
	header_pack(node);
	node->ref.csum = cfs_xxh3(node->image, CFS_NODE_BYTES);
	node->is_sealed = true;
	return config->ops->write(config->ctx, config->tree_id, node->number,
				  &node->ref, node->image, err);
}

int cfs_tree_write(struct cfs_tree *tree, uint64_t *budget, struct cfs_err *err)
{
	int r;

	assert(!tree->is_placing);
	assert(tree->unplaced.count == 0 && tree->given_up.count == 0);
	tree->is_written = true;
	if (tree->placed.count == 0 || tree->root->is_sealed)
		return 0;
	r = node_write(tree->root, budget, err);
	if (r < 0)
		return cfs_err_wrap(err, r, "tree %u", tree->config.tree_id);
	if (r == 0)
		tree->info.ref = tree->root->ref;
	return r;
}

void cfs_tree_committed(struct cfs_tree *tree)
{
	assert(tree->is_written);
	while (tree->placed.first) {
		struct cfs_tnode *node = tree->placed.last;

		cfs_tnode_list_remove(node);
		cfs_tnode_clean(node);
	}
	tree->committed = tree->info;
	tree->is_written = false;
	cfs_node_cache_shrink(tree->cache);
}
