/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Walk over the committed nodes, past the cache: it reads what is on the
 * device, and a check of everything does not push out what is in use.
 *
 * Terminates on any input: a child's level is one less than its parent's, and
 * its range is exactly its record's (N3), so no node is come by twice.
 */
#include "tree/tree_priv.h"

#include <inttypes.h>
#include <stdlib.h>

struct walk {
	const struct cfs_tree *tree;
	int (*visit)(void *arg, const struct cfs_node_ref *ref,
		     unsigned int level, const void *node, struct cfs_err *err);
	void (*damaged)(void *arg, const struct cfs_node_ref *ref,
			unsigned int level, const struct cfs_err *why);
	void *arg;
	uint8_t *images; /* one for each level */
	uint64_t damaged_count;
};

static const uint8_t *image_record(const uint8_t *image, unsigned int slot)
{
	le16 at;

	memcpy(&at,
	       image + sizeof(struct cfs_node_header_disk) +
		       CFS_SLOT_BYTES * slot,
	       sizeof(at));
	return image + le16_get(at);
}

/* Range of the child at @slot of a node with @range. */
static struct cfs_trange child_range(const struct walk *walk,
				     const uint8_t *image, unsigned int count,
				     unsigned int slot,
				     const struct cfs_trange *range)
{
	unsigned int words = walk->tree->config.key_words;
	struct cfs_trange child = *range;

	child.low = cfs_tkey_load(image_record(image, slot), words);
	if (slot + 1 < count) {
		child.high = cfs_tkey_load(image_record(image, slot + 1),
					   words);
		child.is_open = false;
	}
	return child;
}

static int node_walk(struct walk *walk, const struct cfs_node_ref *ref,
		     unsigned int level, const struct cfs_trange *range,
		     bool is_root, struct cfs_err *err)
{
	uint8_t *image = walk->images + (size_t)level * CFS_NODE_BYTES;
	struct cfs_err why = CFS_ERR_INIT;
	struct cfs_node_ref_disk disk;
	struct cfs_tnode_facts facts;
	int r;

	r = cfs_tnode_read(walk->tree, ref, level, range, is_root, image,
			   &facts, &why);
	if (r == -ENOMEM || r == -EINTR)
		return cfs_err_set(err, r, "%s", why.msg);
	if (r < 0) {
		walk->damaged_count++;
		if (walk->damaged)
			walk->damaged(walk->arg, ref, level, &why);
		return 0;
	}
	r = walk->visit(walk->arg, ref, level, image, err);
	if (r != 0 || level == 0)
		return r;
	for (unsigned int i = 0; i < facts.record_count; i++) {
		struct cfs_trange child = child_range(
			walk, image, facts.record_count, i, range);
		struct cfs_node_ref child_ref;

		memcpy(&disk,
		       image_record(image, i) + cfs_tkey_bytes(walk->tree),
		       sizeof(disk));
		cfs_node_ref_unpack(&disk, &child_ref);
		r = node_walk(walk, &child_ref, level - 1, &child, false, err);
		if (r != 0)
			return r;
	}
	return 0;
}

int cfs_tree_walk(struct cfs_tree *tree,
		  int (*visit)(void *arg, const struct cfs_node_ref *ref,
			       unsigned int level, const void *node,
			       struct cfs_err *err),
		  void (*damaged)(void *arg, const struct cfs_node_ref *ref,
				  unsigned int level,
				  const struct cfs_err *why),
		  void *arg, struct cfs_err *err)
{
	static const struct cfs_trange all = { .is_open = true };
	const struct cfs_tree_root *root = &tree->committed;
	struct walk walk = {
		.tree = tree,
		.visit = visit,
		.damaged = damaged,
		.arg = arg,
	};
	void *images;
	int r;

	if (root->ref.vaddr[0] == 0)
		return 0;
	if (posix_memalign(&images, CFS_NODE_BYTES,
			   (size_t)(root->level + 1) * CFS_NODE_BYTES))
		return cfs_err_set(err, -ENOMEM, "no memory for a walk");
	walk.images = images;
	r = node_walk(&walk, &root->ref, root->level, &all, true, err);
	free(walk.images);
	if (r == 0 && walk.damaged_count > 0)
		r = cfs_err_set(err, -EUCLEAN,
				"tree %u: %" PRIu64 " damaged nodes",
				tree->config.tree_id, walk.damaged_count);
	return r;
}
