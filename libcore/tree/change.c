/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Putting and removing records.
 *
 * Each operation has two halves.  The first finds out which nodes it will
 * need, reads them and allocates the new ones; it may fail and has changed
 * nothing.  The second changes and cannot fail.  Nothing is evicted in
 * between: the cache is only shrunk when an operation begins.
 */
#include "base/bits.h"
#include "ondisk/tag.h"
#include "tree/tree_priv.h"

void cfs_tree_enter(struct cfs_tree *tree)
{
	assert(!tree->cache->is_reading);
	cfs_node_cache_shrink(tree->cache);
}

int cfs_tree_enter_change(struct cfs_tree *tree, struct cfs_err *err)
{
	assert(!tree->is_written);
	cfs_tree_enter(tree);
	if (cfs_vec_reserve(&tree->given_up, CFS_GIVEN_UP_PER_OP) < 0)
		return cfs_err_set(err, -ENOMEM, "no memory for nodes");
	return 0;
}

static void give_up(struct cfs_tree *tree, const struct cfs_node_ref *ref)
{
	assert(tree->given_up.count < tree->given_up.room);
	tree->given_up.items[tree->given_up.count++] = *ref;
}

void cfs_tnode_dirty(struct cfs_tnode *node)
{
	for (; node && !node->is_dirty; node = node->parent) {
		cfs_tnode_unclean(node);
		give_up(node->tree, &node->ref);
		node->ref = (struct cfs_node_ref){ .csum = 0 };
		node->is_dirty = true;
		node->is_placed = false;
		cfs_tnode_list_push(&node->tree->unplaced, node);
	}
}

void cfs_tnode_adopt(struct cfs_tnode *node)
{
	struct cfs_tree *tree = node->tree;

	node->number = tree->info.next_node++;
	tree->info.node_count++;
	node->is_dirty = true;
	cfs_tnode_list_push(&tree->unplaced, node);
}

void cfs_tnode_drop(struct cfs_tnode *node)
{
	struct cfs_tree *tree = node->tree;

	assert(node->cached_count == 0);
	if (!node->is_dirty) {
		cfs_tnode_unclean(node);
		give_up(tree, &node->ref);
	} else {
		cfs_tnode_list_remove(node);
		if (node->is_placed)
			give_up(tree, &node->ref);
	}
	if (tree->placing == node)
		tree->placing = NULL;
	/* Counts come from a root that nobody has checked. */
	if (tree->info.node_count > 0)
		tree->info.node_count--;
	cfs_tnode_free(node);
}

/* Record of an interior node; its address is filled in when written. */
static unsigned int interior_pack(const struct cfs_tnode *child, uint8_t *ret)
{
	unsigned int key_bytes = cfs_tkey_bytes(child->tree);

	cfs_tkey_store(ret, &child->range.low, child->tree->config.key_words);
	memset(ret + key_bytes, 0, CFS_REF_BYTES);
	return key_bytes + CFS_REF_BYTES;
}

static unsigned int leaf_pack(const struct cfs_tree *tree,
			      const struct cfs_key *key, const void *value,
			      size_t value_bytes, uint8_t *ret)
{
	unsigned int key_bytes = cfs_tkey_bytes(tree);
	le16 n = le16_put((uint16_t)value_bytes);

	cfs_tkey_store(ret, key, tree->config.key_words);
	memcpy(ret + key_bytes, &n, sizeof(n));
	if (value_bytes > 0)
		memcpy(ret + key_bytes + sizeof(n), value, value_bytes);
	return key_bytes + (unsigned int)(sizeof(n) + value_bytes);
}

static int check_numbers(const struct cfs_tree *tree, unsigned int count,
			 struct cfs_err *err)
{
	if (tree->info.next_node > CFS_OFF_MAX - count)
		return cfs_err_set(err, -EOVERFLOW,
				   "tree %u: out of node numbers",
				   tree->config.tree_id);
	return 0;
}

/* The first leaf of an empty tree: it covers everything. */
static int plant(struct cfs_tree *tree, struct cfs_err *err)
{
	struct cfs_tnode *root;
	int r;

	r = check_numbers(tree, 1, err);
	if (r < 0)
		return r;
	if (cfs_tnode_new(tree, 0, &root) < 0)
		return cfs_err_set(err, -ENOMEM, "no memory for nodes");
	root->range.is_open = true;
	cfs_tnode_adopt(root);
	tree->root = root;
	tree->info.level = 0;
	return 0;
}

/*
 * How many nodes have to be split from the leaf up, all of them including the
 * root if it is one more than the root's level.
 */
static unsigned int split_count(const struct cfs_tree *tree,
				const struct cfs_tpath *path)
{
	unsigned int need = cfs_tkey_bytes(tree) + CFS_REF_BYTES +
			    CFS_SLOT_BYTES;
	unsigned int count = 1;

	while (count <= tree->root->level &&
	       cfs_tnode_free_bytes(path->nodes[count]) < need)
		count++;
	return count;
}

/* New nodes, one for each level up to @count. */
static int spares_new(struct cfs_tree *tree, unsigned int count,
		      struct cfs_tnode **spares, struct cfs_err *err)
{
	assert(count > 0);
	for (unsigned int i = 0; i < count; i++) {
		if (cfs_tnode_new(tree, i, &spares[i]) == 0)
			continue;
		while (i--)
			cfs_tnode_free(spares[i]);
		return cfs_err_set(err, -ENOMEM, "no memory for nodes");
	}
	return 0;
}

/* A new root above the old one and @right, its new sibling. */
static void root_grow(struct cfs_tree *tree, struct cfs_tnode *root,
		      struct cfs_tnode *right)
{
	uint8_t rec[CFS_TREC_BYTES_MAX];
	struct cfs_tnode *left = tree->root;

	root->range.is_open = true;
	cfs_tnode_adopt(root);
	cfs_tnode_insert(root, 0, rec, interior_pack(left, rec), left);
	cfs_tnode_insert(root, 1, rec, interior_pack(right, rec), right);
	tree->root = root;
	tree->info.level = root->level;
}

/* Put a record into a leaf that has no room for it. */
static int put_split(struct cfs_tree *tree, const struct cfs_tpath *path,
		     unsigned int slot, bool is_replace, const uint8_t *rec,
		     unsigned int n, struct cfs_err *err)
{
	struct cfs_tnode *spares[CFS_TREE_HEIGHT_MAX + 1];
	unsigned int count = split_count(tree, path), spare_count = count;
	unsigned int l = 0;
	uint8_t interior_rec[CFS_TREC_BYTES_MAX];
	struct cfs_tnode *child = NULL;
	int r;

	if (count > tree->root->level)
		spare_count++;
	if (spare_count > CFS_TREE_HEIGHT_MAX)
		return cfs_err_set(err, -EOVERFLOW, "tree %u is too high",
				   tree->config.tree_id);
	r = check_numbers(tree, spare_count, err);
	if (r < 0)
		return r;
	r = spares_new(tree, spare_count, spares, err);
	if (r < 0)
		return r;
	cfs_tnode_dirty(path->nodes[0]);
	do {
		cfs_tnode_adopt(spares[l]);
		cfs_tnode_split(path->nodes[l], spares[l], slot, is_replace,
				rec, n, child);
		child = spares[l];
		n = interior_pack(child, interior_rec);
		rec = interior_rec;
		is_replace = false;
		if (l < tree->root->level)
			slot = path->slots[l + 1] + 1;
	} while (++l < count);
	if (spare_count > count)
		root_grow(tree, spares[count], child);
	else
		cfs_tnode_insert(path->nodes[count], slot, rec, n, child);
	return 0;
}

int cfs_tree_put(struct cfs_tree *tree, const struct cfs_key *key,
		 const void *value, size_t value_bytes, size_t *ret_old_bytes,
		 struct cfs_err *err)
{
	return cfs_tree_swap(tree, key, value, value_bytes, NULL, ret_old_bytes,
			     err);
}

int cfs_tree_swap(struct cfs_tree *tree, const struct cfs_key *key,
		  const void *value, size_t value_bytes, void *old,
		  size_t *ret_old_bytes, struct cfs_err *err)
{
	/* Packed first: @value may be in a node that is evicted or moved. */
	uint8_t rec[CFS_TREC_BYTES_MAX];
	struct cfs_key k = *key;
	size_t old_bytes = SIZE_MAX;
	const uint8_t *old_value;
	struct cfs_tpath path;
	struct cfs_tnode *leaf;
	unsigned int n, slot, room;
	bool is_replace;
	int r;

	if (value_bytes > CFS_VALUE_BYTES_MAX)
		return cfs_err_set(err, -EINVAL,
				   "tree %u: a value of %zu bytes",
				   tree->config.tree_id, value_bytes);
	n = leaf_pack(tree, &k, value, value_bytes, rec);
	r = cfs_tree_enter_change(tree, err);
	if (r < 0)
		return r;
	r = cfs_tree_descend(tree, &k, &leaf, err);
	if (r == -ENOENT && !tree->root) {
		r = plant(tree, err);
		if (r == 0)
			r = cfs_tree_descend(tree, &k, &leaf, err);
	}
	if (r < 0)
		return r;
	slot = cfs_tnode_search(leaf, &k, &is_replace);
	room = cfs_tnode_free_bytes(leaf);
	if (is_replace) {
		old_value = cfs_tnode_value(leaf, slot, &old_bytes);
		/* Nothing that was read is longer than what may be put. */
		if (old && old_bytes > 0)
			memcpy(old, old_value, old_bytes);
		room += cfs_tnode_record_bytes(leaf, slot) + CFS_SLOT_BYTES;
	}
	if (n + CFS_SLOT_BYTES > room) {
		cfs_tnode_path(leaf, &path);
		r = put_split(tree, &path, slot, is_replace, rec, n, err);
		if (r < 0)
			return r;
	} else {
		cfs_tnode_dirty(leaf);
		if (is_replace)
			cfs_tnode_replace(leaf, slot, rec, n);
		else
			cfs_tnode_insert(leaf, slot, rec, n, NULL);
	}
	tree->info.record_count += !is_replace;
	tree->change++;
	tree->edits++;
	if (ret_old_bytes)
		*ret_old_bytes = old_bytes;
	return 0;
}

/* What happens to a node that has become too empty. */
struct fix {
	struct cfs_tnode *left, *right; /* it and a sibling */
	unsigned int right_slot;        /* in their parent */
	bool is_merge;
};

/*
 * Find a sibling for the node below @parent at @slot, one that is in memory
 * if there is a choice.
 */
static int sibling_find(struct cfs_tnode *parent, unsigned int slot,
			struct cfs_tnode **ret, bool *ret_is_left,
			struct cfs_err *err)
{
	bool has_left = slot > 0;
	bool has_right = slot + 1 < parent->record_count;
	bool is_left = has_left && (parent->children[slot - 1] || !has_right ||
				    !parent->children[slot + 1]);
	int r;

	r = cfs_tnode_child(parent, is_left ? slot - 1 : slot + 1, ret, err);
	/* A damaged sibling is left alone while there is another. */
	if (r < 0 && r != -ENOMEM && has_left && has_right) {
		is_left = !is_left;
		r = cfs_tnode_child(parent, is_left ? slot - 1 : slot + 1, ret,
				    err);
	}
	if (r == 0)
		*ret_is_left = is_left;
	return r;
}

/* Does the leaf have to do with its siblings when it loses that record? */
static bool becomes_empty(const struct cfs_tnode *leaf, unsigned int slot)
{
	return leaf->parent &&
	       cfs_tnode_used_bytes(leaf) - cfs_tnode_record_bytes(leaf, slot) -
			       CFS_SLOT_BYTES <
		       CFS_TNODE_USED_MIN;
}

/*
 * What is to be done from the leaf up when it loses the record at @slot.
 * Reads the siblings; changes nothing.
 */
static int fixes_plan(struct cfs_tree *tree, const struct cfs_tpath *path,
		      unsigned int slot, struct fix *fixes,
		      unsigned int *ret_count, struct cfs_err *err)
{
	unsigned int lost = cfs_tnode_record_bytes(path->nodes[0], slot) +
			    CFS_SLOT_BYTES;
	unsigned int used, l;

	for (l = 0; l < tree->root->level; l++) {
		struct cfs_tnode *node = path->nodes[l], *sibling;
		unsigned int at = path->slots[l + 1];
		struct cfs_err why = CFS_ERR_INIT;
		bool is_left = false;
		int r;

		used = cfs_tnode_used_bytes(node) - lost;
		if (used >= CFS_TNODE_USED_MIN)
			break;
		r = sibling_find(path->nodes[l + 1], at, &sibling, &is_left,
				 &why);
		/*
		 * Damage beside must not keep records from being removed, as
		 * long as N4 holds without the sibling.
		 */
		if (r < 0 && r != -ENOMEM &&
		    node->record_count > (l == 0 ? 1 : 2))
			break;
		if (r < 0)
			return cfs_err_set(err, r, "%s", why.msg);
		fixes[l] = (struct fix){
			.left = is_left ? sibling : node,
			.right = is_left ? node : sibling,
			.right_slot = is_left ? at : at + 1,
			.is_merge = used + cfs_tnode_used_bytes(sibling) <=
				    CFS_TNODE_MERGED_MAX,
		};
		if (!fixes[l].is_merge) {
			l++;
			break;
		}
		lost = cfs_tkey_bytes(tree) + CFS_REF_BYTES + CFS_SLOT_BYTES;
	}
	*ret_count = l;
	return 0;
}

static void fix_apply(const struct fix *fix)
{
	struct cfs_tnode *parent = fix->left->parent;

	cfs_tnode_dirty(fix->left);
	if (!fix->is_merge) {
		cfs_tnode_dirty(fix->right);
		cfs_tnode_even_out(fix->left, fix->right);
		cfs_tnode_rekey(parent, fix->right_slot,
				&fix->right->range.low);
		return;
	}
	cfs_tnode_merge(fix->left, fix->right);
	cfs_tnode_unlink(fix->right);
	cfs_tnode_remove(parent, fix->right_slot);
	cfs_tnode_drop(fix->right);
}

/* A root with a single child is not needed any more. */
static void root_shrink(struct cfs_tree *tree)
{
	while (tree->root->level > 0 && tree->root->record_count == 1) {
		struct cfs_tnode *root = tree->root;

		/* It was merged just now, so it is in memory. */
		tree->root = root->children[0];
		tree->root->parent = NULL;
		tree->info.level = tree->root->level;
		root->cached_count = 0;
		cfs_tnode_drop(root);
	}
}

int cfs_tree_del(struct cfs_tree *tree, const struct cfs_key *key,
		 struct cfs_err *err)
{
	struct fix fixes[CFS_TREE_HEIGHT_MAX];
	unsigned int slot, fix_count = 0;
	struct cfs_key k = *key;
	struct cfs_tpath path;
	struct cfs_tnode *leaf;
	bool is_found;
	int r;

	r = cfs_tree_enter_change(tree, err);
	if (r < 0)
		return r;
	r = cfs_tree_descend(tree, &k, &leaf, err);
	if (r < 0)
		return r;
	slot = cfs_tnode_search(leaf, &k, &is_found);
	if (!is_found)
		return -ENOENT;
	if (becomes_empty(leaf, slot)) {
		cfs_tnode_path(leaf, &path);
		r = fixes_plan(tree, &path, slot, fixes, &fix_count, err);
	}
	if (r < 0)
		return r;
	cfs_tnode_dirty(leaf);
	cfs_tnode_remove(leaf, slot);
	for (unsigned int i = 0; i < fix_count; i++)
		fix_apply(&fixes[i]);
	if (fix_count > 0)
		root_shrink(tree);
	/* As in cfs_tnode_drop. */
	if (tree->info.record_count > 0)
		tree->info.record_count--;
	tree->change++;
	tree->edits++;
	return 0;
}

int cfs_tree_rewrite(struct cfs_tree *tree, const struct cfs_key *low,
		     unsigned int level, uint64_t vaddr, struct cfs_err *err)
{
	struct cfs_tnode *node;
	int r = cfs_tree_enter_change(tree, err);

	if (r == 0)
		r = cfs_tree_load_root(tree, err);
	node = tree->root;
	while (r == 0 && node && node->level > level)
		r = cfs_tnode_child(node, cfs_tnode_child_slot(node, low),
				    &node, err);
	if (r == 0 && node && node->level == level && !node->is_dirty &&
	    (node->ref.vaddr[0] == vaddr || node->ref.vaddr[1] == vaddr))
		cfs_tnode_dirty(node);
	return r;
}
