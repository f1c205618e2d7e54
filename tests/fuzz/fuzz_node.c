/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Nodes.  A verified node is walked here as the tree code walks it, without
 * any check: a sanitizer sees what a check left out.
 */
#include "fuzz_input.h"
#include "ondisk/node.h"

static volatile uint64_t sink;

static unsigned int u16_at(const uint8_t *p)
{
	return p[0] | (unsigned int)p[1] << 8;
}

static void walk(const uint8_t *node)
{
	const struct cfs_node_header_disk *h = (const void *)node;
	size_t key_bytes = h->key_words * sizeof(le64);
	unsigned int count = le16_get(h->record_count);

	for (unsigned int i = 0; i < count; i++) {
		size_t at = u16_at(node + sizeof(*h) + 2 * i);
		size_t bytes = sizeof(struct cfs_node_ref_disk);

		for (size_t k = 0; k < key_bytes; k++)
			sink += node[at + k];
		at += key_bytes;
		if (h->level == 0) {
			bytes = u16_at(node + at);
			at += 2;
		}
		for (size_t k = 0; k < bytes; k++)
			sink += node[at + k];
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* From the heap, and of that size: a step past its end is seen. */
	uint8_t *node = malloc(CFS_NODE_BYTES);
	struct cfs_node_header_disk *h = (void *)node;
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	FUZZ_CHECK(node);
	fuzz_fill(node, CFS_NODE_BYTES, data, size);
	r = cfs_node_verify(node, h->tree_id, -1, h->key_words,
			    le64_get(h->container_id), &err);
	fuzz_check_result(r);
	if (r == 0)
		walk(node);
	h->magic = le32_put(CFS_NODE_MAGIC);
	h->version = le16_put(CFS_NODE_VERSION);
	cfs_node_seal(node);
	r = cfs_node_verify(node, h->tree_id, -1, h->key_words,
			    le64_get(h->container_id), &err);
	FUZZ_CHECK(r == 0 || r == -EUCLEAN);
	if (r == 0)
		walk(node);
	free(node);
	return 0;
}
