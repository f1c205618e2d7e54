/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading many nodes at once, since a device serves many at a time as fast as
 * one: of who goes through leaves from left to right, those that follow; and
 * of who knows what it will ask for, all that leads there.
 *
 * What goes wrong here is not told.  The node is read again when it is asked
 * for, and that says what is the matter with it.
 */
#include "tree/tree_priv.h"

void cfs_tnode_look_ahead(struct cfs_tnode *node, unsigned int slot)
{
	struct cfs_tree *tree = node->tree;
	const bool follows = tree->scan.parent == (uintptr_t)node
				     ? slot == tree->scan.slot + 1
				     : slot == 0 && tree->scan.run > 0;
	struct cfs_node_ref refs[CFS_TREE_AHEAD_MAX];
	unsigned int count = 0, at_once;

	if (node->level != 1 || !tree->config.ops->ahead)
		return;
	if (tree->scan.parent != (uintptr_t)node || !follows)
		tree->scan.asked = 0;
	tree->scan.run = follows ? tree->scan.run + 1 : 0;
	tree->scan.parent = (uintptr_t)node;
	tree->scan.slot = slot;
	if (tree->scan.run < 2 || slot < tree->scan.asked)
		return;
	at_once = CFS_MIN(tree->scan.run * 2, CFS_TREE_AHEAD_MAX);
	for (; slot < node->record_count && count < at_once; slot++)
		if (!node->children[slot])
			refs[count++] = cfs_tnode_child_ref(node, slot);
	tree->scan.asked = slot;
	if (count > 1)
		tree->config.ops->ahead(tree->config.ctx, refs, count);
}

struct place {
	struct cfs_tnode *parent;
	unsigned int slot;
};

/* The first nodes that are missing in memory on the ways to @keys. */
static unsigned int find_missing(const struct cfs_tree *tree,
				 const struct cfs_key *keys, unsigned int count,
				 struct place *ret)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < count; i++) {
		struct cfs_tnode *node = tree->root;

		while (node && node->level > 0) {
			unsigned int slot = cfs_tnode_child_slot(node,
								 &keys[i]);
			struct cfs_tnode *child = node->children[slot];

			if (!child && (n == 0 || ret[n - 1].parent != node ||
				       ret[n - 1].slot != slot))
				ret[n++] = (struct place){ node, slot };
			node = child;
		}
	}
	return n;
}

static void ask(struct cfs_tree *tree, const struct place *places,
		unsigned int count)
{
	struct cfs_node_ref refs[CFS_TREE_AHEAD_MAX];

	for (unsigned int i = 0; i < count; i++)
		refs[i] = cfs_tnode_child_ref(places[i].parent, places[i].slot);
	tree->config.ops->ahead(tree->config.ctx, refs, count);
}

static int load(struct cfs_tree *tree, const struct place *places,
		unsigned int count)
{
	struct cfs_tnode *child;
	int r = 0;

	if (count > 1)
		ask(tree, places, count);
	for (unsigned int i = 0; i < count && r == 0; i++)
		r = cfs_tnode_load_child(places[i].parent, places[i].slot,
					 &child, NULL);
	return r;
}

void cfs_tree_expect_later(struct cfs_tree *tree, const struct cfs_key *keys,
			   unsigned int count)
{
	struct place places[CFS_TREE_AHEAD_MAX];
	unsigned int n;

	assert(count <= CFS_TREE_AHEAD_MAX);
	cfs_tree_enter(tree);
	if (!tree->config.ops->ahead || cfs_tree_load_root(tree, NULL) < 0)
		return;
	n = find_missing(tree, keys, count, places);
	if (n > 0)
		ask(tree, places, n);
}

void cfs_tree_expect(struct cfs_tree *tree, const struct cfs_key *keys,
		     unsigned int count)
{
	struct place places[CFS_TREE_AHEAD_MAX];
	unsigned int n;

	assert(count <= CFS_TREE_AHEAD_MAX);
	cfs_tree_enter(tree);
	if (!tree->config.ops->ahead || cfs_tree_load_root(tree, NULL) < 0)
		return;
	/* Level by level; keys are ascending, so equal ones are neighbours. */
	while ((n = find_missing(tree, keys, count, places)) > 0)
		if (load(tree, places, n) < 0)
			return;
}
