/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Nodes in memory.  A node and its image come from chunks, because images are
 * aligned to their own length (for direct I/O), which one allocation each
 * would pay with as much again in lost space.  A chunk goes back when all its
 * nodes are free and another one has free nodes.
 *
 * Clean nodes without children in memory are on one list for all trees, most
 * recently used first.  A parent gets on the list when its last child has left
 * the memory, so the list is empty only if nothing can be evicted.
 */
#include "tree/tree_priv.h"

#include <stdlib.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#define CHUNK_NODES 64u

struct cfs_tnode_chunk {
	struct cfs_tnode_chunk *prev, *next; /* those with free nodes */
	uint8_t *images;
	struct cfs_tnode *free; /* linked by @next */
	unsigned int free_count;
	struct cfs_tnode nodes[CHUNK_NODES];
};

int cfs_node_cache_new(uint64_t clean_bytes_max, struct cfs_node_cache **ret,
		       struct cfs_err *err)
{
	struct cfs_node_cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return cfs_err_set(err, -ENOMEM, "no memory for nodes");
	clean_bytes_max /= CFS_NODE_BYTES;
	cache->clean_count_max = clean_bytes_max > SIZE_MAX
					 ? SIZE_MAX
					 : (size_t)clean_bytes_max;
	*ret = cache;
	return 0;
}

static void chunk_free(struct cfs_tnode_chunk *chunk)
{
	UNPOISON(chunk->images, (size_t)CHUNK_NODES * CFS_NODE_BYTES);
	free(chunk->images);
	free(chunk);
}

void cfs_node_cache_free(struct cfs_node_cache *cache)
{
	struct cfs_tnode_chunk *next;

	if (!cache)
		return;
	assert(cache->tree_count == 0);
	for (struct cfs_tnode_chunk *c = cache->chunks; c; c = next) {
		assert(c->free_count == CHUNK_NODES);
		next = c->next;
		chunk_free(c);
	}
	free(cache);
}

static void chunk_push(struct cfs_node_cache *cache,
		       struct cfs_tnode_chunk *chunk)
{
	chunk->prev = NULL;
	chunk->next = cache->chunks;
	if (chunk->next)
		chunk->next->prev = chunk;
	cache->chunks = chunk;
}

static void chunk_remove(struct cfs_node_cache *cache,
			 struct cfs_tnode_chunk *chunk)
{
	if (chunk->next)
		chunk->next->prev = chunk->prev;
	if (chunk->prev)
		chunk->prev->next = chunk->next;
	else
		cache->chunks = chunk->next;
}

static int chunk_new(struct cfs_node_cache *cache)
{
	struct cfs_tnode_chunk *chunk = calloc(1, sizeof(*chunk));
	void *images;

	if (!chunk)
		return -ENOMEM;
	if (posix_memalign(&images, CFS_NODE_BYTES,
			   (size_t)CHUNK_NODES * CFS_NODE_BYTES)) {
		free(chunk);
		return -ENOMEM;
	}
	chunk->images = images;
	for (unsigned int i = CHUNK_NODES; i--;) {
		struct cfs_tnode *node = &chunk->nodes[i];

		node->image = chunk->images + (size_t)i * CFS_NODE_BYTES;
		node->chunk = chunk;
		node->next = chunk->free;
		chunk->free = node;
	}
	chunk->free_count = CHUNK_NODES;
	POISON(chunk->images, (size_t)CHUNK_NODES * CFS_NODE_BYTES);
	chunk_push(cache, chunk);
	return 0;
}

int cfs_tnode_new(struct cfs_tree *tree, unsigned int level,
		  struct cfs_tnode **ret)
{
	struct cfs_node_cache *cache = tree->cache;
	struct cfs_tnode **children = NULL;
	struct cfs_tnode_chunk *chunk;
	struct cfs_tnode *node;
	uint8_t *image;

	if (!cache->chunks && chunk_new(cache) < 0)
		return -ENOMEM;
	if (level > 0) {
		children = calloc(CFS_TNODE_CHILDREN_MAX, sizeof(*children));
		if (!children)
			return -ENOMEM;
	}
	chunk = cache->chunks;
	node = chunk->free;
	chunk->free = node->next;
	if (--chunk->free_count == 0)
		chunk_remove(cache, chunk);
	image = node->image;
	UNPOISON(image, CFS_NODE_BYTES);
	memset(image, 0, CFS_NODE_BYTES);
	*node = (struct cfs_tnode){
		.image = image,
		.children = children,
		.records_start = CFS_NODE_BYTES,
		.last_slot = CFS_TNODE_NO_SLOT,
		.level = (uint8_t)level,
		.tree = tree,
		.chunk = chunk,
	};
	*ret = node;
	return 0;
}

void cfs_tnode_free(struct cfs_tnode *node)
{
	struct cfs_tnode_chunk *chunk = node->chunk;
	struct cfs_node_cache *cache = node->tree->cache;

	assert(!node->list);
	for (unsigned int i = 0; i < CFS_TREE_FINGERS; i++)
		if (node->tree->fingers[i] == node)
			node->tree->fingers[i] = NULL;
	free(node->children);
	node->children = NULL;
	node->tree = NULL;
	POISON(node->image, CFS_NODE_BYTES);
	node->next = chunk->free;
	chunk->free = node;
	if (chunk->free_count++ == 0)
		chunk_push(cache, chunk);
	if (chunk->free_count == CHUNK_NODES && (chunk->next || chunk->prev)) {
		chunk_remove(cache, chunk);
		chunk_free(chunk);
	}
}

/* A page that was given up reads as zeroes; a free node's image means nothing,
 * and is cleared before it does. */
void cfs_node_cache_rest(struct cfs_node_cache *cache)
{
	for (struct cfs_tnode_chunk *c = cache->chunks; c; c = c->next)
		for (struct cfs_tnode *n = c->free; n; n = n->next)
			if (!n->is_given)
				n->is_given = madvise(n->image, CFS_NODE_BYTES,
						      MADV_DONTNEED) == 0;
}

void cfs_tnode_list_push(struct cfs_tnode_list *list, struct cfs_tnode *node)
{
	assert(!node->list);
	node->list = list;
	node->prev = NULL;
	node->next = list->first;
	if (list->first)
		list->first->prev = node;
	else
		list->last = node;
	list->first = node;
	list->count++;
}

void cfs_tnode_list_remove(struct cfs_tnode *node)
{
	struct cfs_tnode_list *list = node->list;

	if (node->next)
		node->next->prev = node->prev;
	else
		list->last = node->prev;
	if (node->prev)
		node->prev->next = node->next;
	else
		list->first = node->next;
	list->count--;
	node->list = NULL;
}

void cfs_tnode_clean(struct cfs_tnode *node)
{
	struct cfs_node_cache *cache = node->tree->cache;

	node->is_dirty = false;
	node->is_placed = false;
	node->is_sealed = false;
	cache->clean_count++;
	if (node->cached_count == 0)
		cfs_tnode_list_push(&cache->lru, node);
}

void cfs_tnode_unclean(struct cfs_tnode *node)
{
	node->tree->cache->clean_count--;
	if (node->list)
		cfs_tnode_list_remove(node);
}

void cfs_tnode_touch(struct cfs_tnode *node)
{
	struct cfs_tnode_list *lru = &node->tree->cache->lru;

	if (node->list != lru || lru->first == node)
		return;
	cfs_tnode_list_remove(node);
	cfs_tnode_list_push(lru, node);
}

void cfs_tnode_link(struct cfs_tnode *parent, unsigned int slot,
		    struct cfs_tnode *node)
{
	assert(!parent->children[slot]);
	parent->children[slot] = node;
	parent->cached_count++;
	node->parent = parent;
	if (parent->list == &parent->tree->cache->lru)
		cfs_tnode_list_remove(parent);
}

void cfs_tnode_unlink(struct cfs_tnode *node)
{
	struct cfs_tnode *parent = node->parent;
	unsigned int slot;

	if (!parent) {
		node->tree->root = NULL;
		return;
	}
	slot = cfs_tnode_child_slot(parent, &node->range.low);
	assert(parent->children[slot] == node);
	parent->children[slot] = NULL;
	parent->cached_count--;
	node->parent = NULL;
	if (!parent->is_dirty && parent->cached_count == 0)
		cfs_tnode_list_push(&parent->tree->cache->lru, parent);
}

void cfs_tnode_free_below(struct cfs_tnode *node)
{
	for (unsigned int i = 0; node->children && i < node->record_count; i++)
		if (node->children[i])
			cfs_tnode_free_below(node->children[i]);
	if (!node->is_dirty)
		cfs_tnode_unclean(node);
	else
		cfs_tnode_list_remove(node);
	cfs_tnode_free(node);
}

void cfs_node_cache_shrink(struct cfs_node_cache *cache)
{
	while (cache->clean_count > cache->clean_count_max && cache->lru.last) {
		struct cfs_tnode *node = cache->lru.last;

		assert(node->list == &cache->lru);
		/* Cursors that stand in it have to seek again. */
		node->tree->change++;
		cfs_tnode_unclean(node);
		cfs_tnode_unlink(node);
		cfs_tnode_free(node);
	}
}
