/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Nodes from the device, and the way down to a leaf.
 *
 * The one place where bytes of a device become a node.  What cfs_node_verify
 * accepts is sound in itself; here it is held against what its parent says:
 * level, stamp and exactly the range of its record (N3).  Behind this point
 * the code relies on all of it.
 */
#include "base/bits.h"
#include "tree/tree_priv.h"

static bool range_is_equal(const struct cfs_trange *a,
			   const struct cfs_trange *b)
{
	return a->is_open == b->is_open && cfs_key_cmp(&a->low, &b->low) == 0 &&
	       (a->is_open || cfs_key_cmp(&a->high, &b->high) == 0);
}

/*
 * Bytes of all records of a verified node, 0 if some overlap: changing one
 * would change another, and lengths could not be trusted any more.
 */
static unsigned int records_bytes(const uint8_t *image, unsigned int level,
				  unsigned int count, unsigned int key_bytes)
{
	uint64_t taken[CFS_NODE_BYTES / 64] = { 0 };
	unsigned int sum = 0;
	le16 slot, value_bytes;

	for (unsigned int i = 0; i < count; i++) {
		unsigned int n = key_bytes + CFS_REF_BYTES;
		unsigned int at;

		memcpy(&slot,
		       image + sizeof(struct cfs_node_header_disk) +
			       CFS_SLOT_BYTES * i,
		       sizeof(slot));
		at = le16_get(slot);
		if (level == 0) {
			memcpy(&value_bytes, image + at + key_bytes,
			       sizeof(value_bytes));
			n = key_bytes + (unsigned int)sizeof(value_bytes) +
			    le16_get(value_bytes);
		}
		sum += n;
		while (n > 0) {
			unsigned int bits = CFS_MIN(n, 64 - at % 64);
			/* n > 0, so bits is 1 to 64. */
			/* cppcheck-suppress shiftTooManyBits */
			uint64_t mask = UINT64_MAX >> (64 - bits) << at % 64;

			if (taken[at / 64] & mask)
				return 0;
			taken[at / 64] |= mask;
			at += bits;
			n -= bits;
		}
	}
	return sum;
}

/* The first child begins where its node does: N3. */
static bool first_key_is_low(const uint8_t *image,
			     const struct cfs_trange *range, unsigned int words)
{
	struct cfs_key key;
	le16 at;

	memcpy(&at, image + sizeof(struct cfs_node_header_disk), sizeof(at));
	key = cfs_tkey_load(image + le16_get(at), words);
	return cfs_key_cmp(&key, &range->low) == 0;
}

int cfs_tnode_check(const struct cfs_tree *tree, const void *image,
		    const struct cfs_node_ref *ref, unsigned int level,
		    const struct cfs_trange *range, bool is_root,
		    struct cfs_tnode_facts *ret, struct cfs_err *err)
{
	const struct cfs_node_header_disk *h = image;
	unsigned int words = tree->config.key_words;
	unsigned int count, bytes;
	struct cfs_trange own;
	int r;

	r = cfs_node_verify(image, tree->config.tree_id, (int)level, words,
			    tree->config.container_id, err);
	if (r < 0)
		return r;
	if (le64_get(h->stamp) != ref->stamp)
		return cfs_err_set(err, -EUCLEAN, "node: of another commit");
	own.low = cfs_tkey_load(h->low[0].b, CFS_KEY_WORDS_MAX);
	own.high = cfs_tkey_load(h->high[0].b, CFS_KEY_WORDS_MAX);
	own.is_open = h->flags & CFS_NODE_FLAG_NO_HIGH;
	if (!range_is_equal(&own, range))
		return cfs_err_set(err, -EUCLEAN, "node: of another range");
	count = le16_get(h->record_count);
	if (level > 0 ? count < 2 : count < 1 && !is_root)
		return cfs_err_set(err, -EUCLEAN, "node: %u records", count);
	if (level > 0 && !first_key_is_low(image, range, words))
		return cfs_err_set(err, -EUCLEAN,
				   "node: first child begins elsewhere");
	bytes = records_bytes(image, level, count, 8 * words);
	if (count > 0 && bytes == 0)
		return cfs_err_set(err, -EUCLEAN, "node: records overlap");
	ret->number = le64_get(h->number);
	ret->record_count = count;
	ret->records_start = le16_get(h->records_start);
	ret->live_bytes = bytes;
	return 0;
}

int cfs_tnode_read(const struct cfs_tree *tree, const struct cfs_node_ref *ref,
		   unsigned int level, const struct cfs_trange *range,
		   bool is_root, void *image, struct cfs_tnode_facts *ret,
		   struct cfs_err *err)
{
	int r;

	if (ref->vaddr[0] == 0)
		return cfs_err_set(err, -EUCLEAN,
				   "tree %u: a node has no address",
				   tree->config.tree_id);
	/* The callback must not come back here: nodes are in use. */
	tree->cache->is_reading = true;
	r = tree->config.ops->read(tree->config.ctx, tree->config.tree_id, ref,
				   image, err);
	tree->cache->is_reading = false;
	if (r == 0)
		r = cfs_tnode_check(tree, image, ref, level, range, is_root,
				    ret, err);
	/* That is what says that a record does not exist. */
	if (r == -ENOENT)
		r = -EIO;
	if (r != 0)
		return cfs_err_wrap(err, r, "tree %u: level %u at %#llx",
				    tree->config.tree_id, level,
				    (unsigned long long)ref->vaddr[0]);
	return 0;
}

static int node_load(struct cfs_tree *tree, const struct cfs_node_ref *ref,
		     unsigned int level, const struct cfs_trange *range,
		     bool is_root, struct cfs_tnode **ret, struct cfs_err *err)
{
	struct cfs_tnode_facts facts;
	struct cfs_tnode *node;
	int r;

	if (cfs_tnode_new(tree, level, &node) < 0)
		return cfs_err_set(err, -ENOMEM, "no memory for nodes");
	r = cfs_tnode_read(tree, ref, level, range, is_root, node->image,
			   &facts, err);
	if (r != 0) {
		cfs_tnode_free(node);
		return r;
	}
	node->ref = *ref;
	node->range = *range;
	node->number = facts.number;
	node->record_count = (uint16_t)facts.record_count;
	node->records_start = (uint16_t)facts.records_start;
	node->live_bytes = (uint16_t)facts.live_bytes;
	cfs_tnode_clean(node);
	*ret = node;
	return 0;
}

struct cfs_node_ref cfs_tnode_child_ref(const struct cfs_tnode *node,
					unsigned int slot)
{
	struct cfs_node_ref_disk disk;
	struct cfs_node_ref ref;

	memcpy(&disk, cfs_tnode_record(node, slot) + cfs_tkey_bytes(node->tree),
	       sizeof(disk));
	cfs_node_ref_unpack(&disk, &ref);
	return ref;
}

int cfs_tnode_load_child(struct cfs_tnode *node, unsigned int slot,
			 struct cfs_tnode **ret, struct cfs_err *err)
{
	const struct cfs_trange range = cfs_tnode_child_range(node, slot);
	const struct cfs_node_ref ref = cfs_tnode_child_ref(node, slot);
	struct cfs_tnode *child;
	int r = node_load(node->tree, &ref, node->level - 1u, &range, false,
			  &child, err);

	if (r != 0)
		return r;
	cfs_tnode_link(node, slot, child);
	*ret = child;
	return 0;
}

int cfs_tnode_child(struct cfs_tnode *node, unsigned int slot,
		    struct cfs_tnode **ret, struct cfs_err *err)
{
	if (node->children[slot]) {
		*ret = node->children[slot];
		return 0;
	}
	cfs_tnode_look_ahead(node, slot);
	return cfs_tnode_load_child(node, slot, ret, err);
}

int cfs_tree_load_root(struct cfs_tree *tree, struct cfs_err *err)
{
	static const struct cfs_trange all = { .is_open = true };

	if (tree->root || tree->info.ref.vaddr[0] == 0)
		return 0;
	return node_load(tree, &tree->info.ref, tree->info.level, &all, true,
			 &tree->root, err);
}

/* ---- the way down -------------------------------------------------------- */

static bool covers(const struct cfs_tnode *leaf, const struct cfs_key *key)
{
	return leaf && cfs_key_cmp(&leaf->range.low, key) <= 0 &&
	       (leaf->range.is_open || cfs_key_cmp(key, &leaf->range.high) < 0);
}

static struct cfs_tnode *finger_find(const struct cfs_tree *tree,
				     const struct cfs_key *key)
{
	for (unsigned int i = 0; i < CFS_TREE_FINGERS; i++)
		if (covers(tree->fingers[i], key))
			return tree->fingers[i];
	return NULL;
}

static void finger_put(struct cfs_tree *tree, struct cfs_tnode *leaf)
{
	memmove(tree->fingers + 1, tree->fingers,
		(CFS_TREE_FINGERS - 1) * sizeof(tree->fingers[0]));
	tree->fingers[0] = leaf;
}

static int descend(struct cfs_tree *tree, const struct cfs_key *key,
		   struct cfs_tnode **ret_leaf, struct cfs_err *err)
{
	struct cfs_tnode *node = tree->root;
	int r;

	if (!node) {
		r = cfs_tree_load_root(tree, err);
		if (r < 0)
			return r;
		node = tree->root;
		if (!node)
			return -ENOENT;
	}
	while (node->level > 0) {
		r = cfs_tnode_child(node, cfs_tnode_child_slot(node, key),
				    &node, err);
		if (r < 0)
			return r;
	}
	finger_put(tree, node);
	*ret_leaf = node;
	return 0;
}

int cfs_tree_descend(struct cfs_tree *tree, const struct cfs_key *key,
		     struct cfs_tnode **ret_leaf, struct cfs_err *err)
{
	struct cfs_tnode *leaf = finger_find(tree, key);
	int r = leaf ? 0 : descend(tree, key, &leaf, err);

	if (r < 0)
		return r;
	cfs_tnode_touch(leaf);
	*ret_leaf = leaf;
	return 0;
}

void cfs_tnode_path(struct cfs_tnode *leaf, struct cfs_tpath *ret)
{
	ret->nodes[0] = leaf;
	for (struct cfs_tnode *up = leaf->parent; up; up = up->parent) {
		ret->nodes[up->level] = up;
		ret->slots[up->level] = cfs_tnode_child_slot(up,
							     &leaf->range.low);
	}
}
