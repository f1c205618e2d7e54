/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The radix tree behind memory and simulated devices.
 *
 * What must stay true: whoever is reachable by a reference count above one is
 * never changed, only copied; a pointer at level 0 is a chunk, above it a
 * node; a NULL pointer stands for zeroes.
 */
#include "device/sparse.h"

#include "base/bits.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NODE_SHIFT 6u
#define NODE_SLOTS (1u << NODE_SHIFT)

struct chunk {
	unsigned int refs; /* atomic; first, as in struct node */
	unsigned char bytes[CFS_SPARSE_CHUNK_BYTES];
};

struct node {
	unsigned int refs; /* atomic */
	void *slots[NODE_SLOTS];
};

static void *ref(void *p)
{
	if (p)
		__atomic_add_fetch((unsigned int *)p, 1, __ATOMIC_RELAXED);
	return p;
}

static bool is_shared(const void *p)
{
	return __atomic_load_n((const unsigned int *)p, __ATOMIC_ACQUIRE) > 1;
}

static void unref(void *p, unsigned int level)
{
	struct node *node = p;
	unsigned int i;

	if (!p || __atomic_sub_fetch((unsigned int *)p, 1, __ATOMIC_ACQ_REL))
		return;
	if (level > 0) {
		for (i = 0; i < NODE_SLOTS; i++)
			unref(node->slots[i], level - 1);
	}
	free(p);
}

/* How many chunks a tree of @height addresses; saturates. */
static uint64_t capacity(unsigned int height)
{
	unsigned int shift = height * NODE_SHIFT;

	return shift >= 64 ? UINT64_MAX : UINT64_C(1) << shift;
}

static unsigned int slot_of(uint64_t chunk_index, unsigned int level)
{
	return (unsigned int)(chunk_index >> ((level - 1) * NODE_SHIFT)) &
	       (NODE_SLOTS - 1);
}

/* A private copy of *@slot in its place, made of zeroes if there is none. */
static int own(void **slot, unsigned int level)
{
	size_t bytes = level ? sizeof(struct node) : sizeof(struct chunk);
	void *copy;
	unsigned int i;

	if (*slot && !is_shared(*slot))
		return 0;
	if (!*slot) {
		copy = calloc(1, bytes);
		if (!copy)
			return -ENOMEM;
	} else {
		copy = malloc(bytes);
		if (!copy)
			return -ENOMEM;
		if (level) {
			struct node *to = copy, *from = *slot;

			for (i = 0; i < NODE_SLOTS; i++)
				to->slots[i] = ref(from->slots[i]);
		} else {
			memcpy(((struct chunk *)copy)->bytes,
			       ((struct chunk *)*slot)->bytes,
			       CFS_SPARSE_CHUNK_BYTES);
		}
		unref(*slot, level);
	}
	*(unsigned int *)copy = 1;
	*slot = copy;
	return 0;
}

/* Raise the tree until it addresses @chunk_index. */
static int grow(struct cfs_sparse *sparse, uint64_t chunk_index)
{
	while (chunk_index >= capacity(sparse->height)) {
		if (sparse->root) {
			struct node *node = calloc(1, sizeof(*node));

			if (!node)
				return -ENOMEM;
			node->refs = 1;
			node->slots[0] = sparse->root;
			sparse->root = node;
		}
		sparse->height++;
	}
	return 0;
}

static const struct chunk *find(const struct cfs_sparse *sparse,
				uint64_t chunk_index)
{
	const void *p = sparse->root;
	unsigned int level;

	if (chunk_index >= capacity(sparse->height))
		return NULL;
	for (level = sparse->height; p && level > 0; level--)
		p = ((const struct node *)p)
			    ->slots[slot_of(chunk_index, level)];
	return p;
}

/* The chunk, private to this tree, made if it is missing; NULL: no memory. */
static struct chunk *find_owned(struct cfs_sparse *sparse, uint64_t chunk_index)
{
	void **slot = &sparse->root;
	unsigned int level;

	if (grow(sparse, chunk_index) < 0)
		return NULL;
	for (level = sparse->height; level > 0; level--) {
		if (own(slot, level) < 0)
			return NULL;
		slot = &((struct node *)*slot)
				->slots[slot_of(chunk_index, level)];
	}
	return own(slot, 0) < 0 ? NULL : *slot;
}

void cfs_sparse_done(struct cfs_sparse *sparse)
{
	unref(sparse->root, sparse->height);
	*sparse = (struct cfs_sparse){ 0 };
}

void cfs_sparse_clone(const struct cfs_sparse *sparse, struct cfs_sparse *ret)
{
	*ret = *sparse;
	ref(ret->root);
}

void cfs_sparse_read(const struct cfs_sparse *sparse, uint64_t offset_bytes,
		     void *buf, size_t length_bytes)
{
	unsigned char *to = buf;

	while (length_bytes) {
		size_t at = (size_t)(offset_bytes % CFS_SPARSE_CHUNK_BYTES);
		size_t n = CFS_MIN(length_bytes, CFS_SPARSE_CHUNK_BYTES - at);
		const struct chunk *chunk;

		chunk = find(sparse, offset_bytes / CFS_SPARSE_CHUNK_BYTES);
		if (chunk)
			memcpy(to, chunk->bytes + at, n);
		else
			memset(to, 0, n);
		to += n;
		offset_bytes += n;
		length_bytes -= n;
	}
}

int cfs_sparse_write(struct cfs_sparse *sparse, uint64_t offset_bytes,
		     const void *buf, size_t length_bytes)
{
	const unsigned char *from = buf;

	while (length_bytes) {
		size_t at = (size_t)(offset_bytes % CFS_SPARSE_CHUNK_BYTES);
		size_t n = CFS_MIN(length_bytes, CFS_SPARSE_CHUNK_BYTES - at);
		struct chunk *chunk;

		chunk = find_owned(sparse,
				   offset_bytes / CFS_SPARSE_CHUNK_BYTES);
		if (!chunk)
			return -ENOMEM;
		memcpy(chunk->bytes + at, from, n);
		from += n;
		offset_bytes += n;
		length_bytes -= n;
	}
	return 0;
}

/* Drop the chunks [first, end) below *@slot; both count from its start. */
static int drop(void **slot, unsigned int level, uint64_t first, uint64_t end)
{
	uint64_t each;
	unsigned int i;
	int r;

	if (!*slot || first >= end)
		return 0;
	if (first == 0 && end >= capacity(level)) {
		unref(*slot, level);
		*slot = NULL;
		return 0;
	}
	r = own(slot, level);
	if (r < 0)
		return r;
	each = capacity(level - 1);
	for (i = (unsigned int)(first / each);
	     i < NODE_SLOTS && (uint64_t)i * each < end; i++) {
		uint64_t base = (uint64_t)i * each;

		r = drop(&((struct node *)*slot)->slots[i], level - 1,
			 first > base ? first - base : 0,
			 CFS_MIN(end - base, each));
		if (r < 0)
			return r;
	}
	return 0;
}

static int zero_part(struct cfs_sparse *sparse, uint64_t offset_bytes,
		     size_t length_bytes)
{
	uint64_t chunk_index = offset_bytes / CFS_SPARSE_CHUNK_BYTES;
	struct chunk *chunk;

	if (!length_bytes || !find(sparse, chunk_index))
		return 0;
	chunk = find_owned(sparse, chunk_index);
	if (!chunk)
		return -ENOMEM;
	memset(chunk->bytes + offset_bytes % CFS_SPARSE_CHUNK_BYTES, 0,
	       length_bytes);
	return 0;
}

int cfs_sparse_zero(struct cfs_sparse *sparse, uint64_t offset_bytes,
		    uint64_t length_bytes)
{
	uint64_t end = offset_bytes + length_bytes;
	uint64_t first = cfs_div_up(offset_bytes, CFS_SPARSE_CHUNK_BYTES);
	uint64_t last = end / CFS_SPARSE_CHUNK_BYTES;
	uint64_t limit = capacity(sparse->height);
	int r;

	if (first > last) /* inside one chunk */
		return zero_part(sparse, offset_bytes, (size_t)length_bytes);
	r = zero_part(sparse, offset_bytes,
		      (size_t)(first * CFS_SPARSE_CHUNK_BYTES - offset_bytes));
	if (r == 0)
		r = zero_part(sparse, last * CFS_SPARSE_CHUNK_BYTES,
			      (size_t)(end - last * CFS_SPARSE_CHUNK_BYTES));
	if (r == 0 && first < limit)
		r = drop(&sparse->root, sparse->height, first,
			 CFS_MIN(last, limit));
	return r;
}
