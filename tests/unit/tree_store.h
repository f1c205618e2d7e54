/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the tests of the tree share: a block store that holds the tree to its
 * word (a block is written once, read only while it counts, given up once),
 * and a model of what a tree holds: a sorted array.
 *
 * Include after <cmocka.h>.  Functions are inline, for no test uses them all.
 */
#pragma once

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/xxh.h"
#include "tree/tree.h"

#define STORE_BLOCKS    20000u
#define STORE_CONTAINER 77u

enum block_state {
	BLOCK_FREE,
	BLOCK_PROMISED, /* by alloc, in this commit */
	BLOCK_WRITTEN,  /* in this commit */
	BLOCK_LIVE,     /* of the last commit */
	BLOCK_RELEASED, /* free when this commit is done */
};

struct store {
	uint8_t *data;               /* STORE_BLOCKS of them */
	uint8_t state[STORE_BLOCKS]; /* by vaddr; 0 is not one */
	uint32_t hint;
	uint64_t stamp;
	bool two_copies;
	bool is_hostile; /* checksums of refs do not matter */
	uint64_t read_count;
	uint64_t fail_read_at; /* the n-th from now; 0: none */
	int fail_code;
	uint64_t alloc_count, release_count, write_count;
	/* Called behind each alloc (is_used) and release. */
	int (*changed)(void *arg, uint64_t vaddr, bool is_used,
		       struct cfs_err *err);
	void *arg;
};

static inline uint8_t *store_block(struct store *store, uint64_t vaddr)
{
	assert_in_range(vaddr, 1, STORE_BLOCKS - 1);
	return store->data + vaddr * CFS_NODE_BYTES;
}

static inline int store_read(void *ctx, unsigned int tree_id,
			     const struct cfs_node_ref *ref, void *buf,
			     struct cfs_err *err)
{
	struct store *store = ctx;
	const uint8_t *block;

	(void)tree_id;
	store->read_count++;
	if (store->fail_read_at && --store->fail_read_at == 0)
		return cfs_err_set(err, store->fail_code, "injected");
	if (store->is_hostile) {
		if (ref->vaddr[0] >= STORE_BLOCKS)
			return cfs_err_set(err, -EIO, "no such block");
		memcpy(buf, store_block(store, ref->vaddr[0]), CFS_NODE_BYTES);
		return 0;
	}
	block = store_block(store, ref->vaddr[0]);
	assert_int_equal((uintptr_t)buf % CFS_NODE_BYTES, 0);
	assert_int_not_equal(store->state[ref->vaddr[0]], BLOCK_FREE);
	assert_int_not_equal(store->state[ref->vaddr[0]], BLOCK_PROMISED);
	assert_int_equal(cfs_xxh3(block, CFS_NODE_BYTES), ref->csum);
	memcpy(buf, block, CFS_NODE_BYTES);
	return 0;
}

static inline uint64_t store_find(struct store *store)
{
	for (uint32_t i = 0; i < STORE_BLOCKS; i++) {
		store->hint = store->hint % (STORE_BLOCKS - 1) + 1;
		if (store->state[store->hint] == BLOCK_FREE) {
			store->state[store->hint] = BLOCK_PROMISED;
			return store->hint;
		}
	}
	fail_msg("the store is full");
	return 0;
}

static inline int store_alloc(void *ctx, unsigned int tree_id,
			      uint64_t node_number, struct cfs_node_ref *ret,
			      struct cfs_err *err)
{
	struct store *store = ctx;
	int r = 0;

	(void)tree_id;
	(void)node_number;
	store->alloc_count++;
	ret->vaddr[0] = store_find(store);
	ret->vaddr[1] = store->two_copies ? store_find(store) : 0;
	ret->stamp = store->stamp;
	for (int i = 0; store->changed && i < 2 && r == 0; i++)
		if (ret->vaddr[i])
			r = store->changed(store->arg, ret->vaddr[i], true,
					   err);
	return r;
}

static inline int store_release(void *ctx, unsigned int tree_id,
				const struct cfs_node_ref *ref,
				struct cfs_err *err)
{
	struct store *store = ctx;
	int r = 0;

	(void)tree_id;
	store->release_count++;
	for (int i = 0; i < 2; i++) {
		uint64_t vaddr = ref->vaddr[i];

		if (!vaddr) {
			assert_true(i == 1 && !store->two_copies);
			continue;
		}
		store_block(store, vaddr);
		assert_true(store->state[vaddr] == BLOCK_LIVE ||
			    store->state[vaddr] == BLOCK_PROMISED);
		store->state[vaddr] = BLOCK_RELEASED;
	}
	for (int i = 0; store->changed && i < 2 && r == 0; i++)
		if (ref->vaddr[i])
			r = store->changed(store->arg, ref->vaddr[i], false,
					   err);
	return r;
}

static inline int store_write(void *ctx, unsigned int tree_id,
			      uint64_t node_number,
			      const struct cfs_node_ref *ref, const void *node,
			      struct cfs_err *err)
{
	struct store *store = ctx;
	const struct cfs_node_header_disk *h = node;

	(void)err;
	assert_int_equal((uintptr_t)node % CFS_NODE_BYTES, 0);
	assert_int_equal(h->tree_id, tree_id);
	assert_int_equal(le64_get(h->number), node_number);
	assert_int_equal(le64_get(h->stamp), store->stamp);
	assert_int_equal(ref->stamp, store->stamp);
	assert_int_equal(cfs_xxh3(node, CFS_NODE_BYTES), ref->csum);
	store->write_count++;
	for (int i = 0; i < 2; i++) {
		if (!ref->vaddr[i])
			continue;
		assert_int_equal(store->state[ref->vaddr[i]], BLOCK_PROMISED);
		store->state[ref->vaddr[i]] = BLOCK_WRITTEN;
		memcpy(store_block(store, ref->vaddr[i]), node, CFS_NODE_BYTES);
	}
	return 0;
}

static const struct cfs_tree_ops store_ops = {
	.read = store_read,
	.alloc = store_alloc,
	.release = store_release,
	.write = store_write,
};

static inline struct store *store_new(void)
{
	struct store *store = calloc(1, sizeof(*store));

	assert_non_null(store);
	store->data = calloc(STORE_BLOCKS, CFS_NODE_BYTES);
	assert_non_null(store->data);
	store->stamp = 1;
	store->fail_code = -EIO;
	return store;
}

static inline void store_free(struct store *store)
{
	free(store->data);
	free(store);
}

/* The root page is durable. */
static inline void store_committed(struct store *store)
{
	for (uint32_t i = 0; i < STORE_BLOCKS; i++) {
		assert_int_not_equal(store->state[i], BLOCK_PROMISED);
		if (store->state[i] == BLOCK_WRITTEN)
			store->state[i] = BLOCK_LIVE;
		else if (store->state[i] == BLOCK_RELEASED)
			store->state[i] = BLOCK_FREE;
	}
	store->stamp++;
}

static inline size_t store_live_count(const struct store *store)
{
	size_t count = 0;

	for (uint32_t i = 0; i < STORE_BLOCKS; i++)
		count += store->state[i] == BLOCK_LIVE;
	return count;
}

static inline struct cfs_node_cache *cache_new(uint64_t clean_bytes_max)
{
	struct cfs_node_cache *cache;

	assert_int_equal(cfs_node_cache_new(clean_bytes_max, &cache, NULL), 0);
	return cache;
}

static inline struct cfs_tree *tree_open(struct store *store,
					 struct cfs_node_cache *cache,
					 unsigned int tree_id,
					 unsigned int key_words,
					 const struct cfs_tree_root *root)
{
	static const struct cfs_tree_root empty;
	struct cfs_tree_config config = {
		.tree_id = tree_id,
		.key_words = key_words,
		.container_id = STORE_CONTAINER,
		.ops = &store_ops,
		.ctx = store,
	};
	struct cfs_tree *tree;

	assert_int_equal(cfs_tree_open(&config, root ? root : &empty, cache,
				       &tree, NULL),
			 0);
	return tree;
}

/* Place until nothing moves, write; not yet committed. */
static inline void trees_write(struct cfs_tree **trees, size_t count)
{
	struct cfs_err err = CFS_ERR_INIT;
	uint64_t budget;
	int rounds = 0;

	do {
		budget = UINT64_MAX;
		for (size_t i = 0; i < count; i++)
			if (cfs_tree_place(trees[i], &budget, &err) < 0)
				fail_msg("place: %s", err.msg);
		assert_true(++rounds < 100);
	} while (budget < UINT64_MAX);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(cfs_tree_unplaced_count(trees[i]), 0);
		if (cfs_tree_write(trees[i], &budget, &err) != 0)
			fail_msg("write: %s", err.msg);
	}
}

static inline void tree_commit(struct store *store, struct cfs_tree *tree)
{
	trees_write(&tree, 1);
	store_committed(store);
	cfs_tree_committed(tree);
	assert_int_equal(cfs_tree_dirty_count(tree), 0);
}

/* The model. */

struct model_record {
	struct cfs_key key;
	uint32_t value_seed;
	uint32_t value_bytes;
};

struct model {
	struct model_record *records;
	size_t count, room;
};

static inline void model_done(struct model *model)
{
	free(model->records);
	memset(model, 0, sizeof(*model));
}

static inline void model_copy(struct model *dst, const struct model *src)
{
	free(dst->records);
	dst->count = dst->room = src->count;
	dst->records = malloc((src->count + 1) * sizeof(*src->records));
	assert_non_null(dst->records);
	if (src->count)
		memcpy(dst->records, src->records,
		       src->count * sizeof(*src->records));
}

/* First record with a key >= @key. */
static inline size_t model_ge(const struct model *model,
			      const struct cfs_key *key)
{
	size_t low = 0, high = model->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (cfs_key_cmp(&model->records[middle].key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static inline bool model_has(const struct model *model, size_t i,
			     const struct cfs_key *key)
{
	return i < model->count &&
	       cfs_key_cmp(&model->records[i].key, key) == 0;
}

static inline void model_put(struct model *model, const struct cfs_key *key,
			     uint32_t value_seed, uint32_t value_bytes)
{
	size_t i = model_ge(model, key);

	if (!model_has(model, i, key)) {
		if (model->count == model->room) {
			model->room = model->room * 2 + 64;
			model->records = realloc(
				model->records,
				model->room * sizeof(*model->records));
			assert_non_null(model->records);
		}
		memmove(&model->records[i + 1], &model->records[i],
			(model->count - i) * sizeof(*model->records));
		model->count++;
	}
	model->records[i] = (struct model_record){
		.key = *key,
		.value_seed = value_seed,
		.value_bytes = value_bytes,
	};
}

static inline void model_del(struct model *model, size_t i)
{
	memmove(&model->records[i], &model->records[i + 1],
		(model->count - i - 1) * sizeof(*model->records));
	model->count--;
}

static inline void value_make(uint32_t seed, uint32_t n, uint8_t *ret)
{
	for (uint32_t i = 0; i < n; i++) {
		seed = seed * 1664525u + 1013904223u;
		ret[i] = (uint8_t)(seed >> 24);
	}
}

static inline void assert_record(const struct model_record *record,
				 const struct cfs_key *key,
				 const uint8_t *value, size_t value_bytes)
{
	uint8_t want[CFS_VALUE_BYTES_MAX];

	assert_int_equal(cfs_key_cmp(key, &record->key), 0);
	assert_int_equal(value_bytes, record->value_bytes);
	value_make(record->value_seed, record->value_bytes, want);
	assert_memory_equal(value, want, value_bytes);
}

static inline int tree_put_seeded(struct cfs_tree *tree,
				  const struct cfs_key *key, uint32_t seed,
				  uint32_t n, struct cfs_err *err)
{
	uint8_t value[CFS_VALUE_BYTES_MAX];

	value_make(seed, n, value);
	return cfs_tree_put(tree, key, value, n, NULL, err);
}

/* The tree holds what the model does, read in both directions. */
static inline void assert_tree_is(struct cfs_tree *tree,
				  const struct model *model)
{
	const struct cfs_key first = { .w = { 0 } };
	const struct cfs_key last = { .w = { UINT64_MAX, UINT64_MAX,
					     UINT64_MAX } };
	struct cfs_cursor cur;
	struct cfs_err err = CFS_ERR_INIT;
	size_t i;
	int r;

	assert_int_equal(cfs_tree_record_count(tree), model->count);
	r = cfs_cursor_ge(&cur, tree, &first, &err);
	for (i = 0; i < model->count; i++) {
		if (r < 0)
			fail_msg("record %zu: %d %s", i, r, err.msg);
		assert_record(&model->records[i], &cur.key, cur.value,
			      cur.value_bytes);
		r = cfs_cursor_next(&cur, &err);
	}
	assert_int_equal(r, -ENOENT);
	r = cfs_cursor_le(&cur, tree, &last, &err);
	for (i = model->count; i--;) {
		if (r < 0)
			fail_msg("record %zu: %d %s", i, r, err.msg);
		assert_record(&model->records[i], &cur.key, cur.value,
			      cur.value_bytes);
		r = cfs_cursor_prev(&cur, &err);
	}
	assert_int_equal(r, -ENOENT);
}

struct walk_sums {
	struct store *store; /* NULL: do not count blocks */
	uint64_t node_count, leaf_count, block_count;
	uint64_t leaf_used_bytes;
};

static inline int walk_sum(void *arg, const struct cfs_node_ref *ref,
			   unsigned int level, const void *node,
			   struct cfs_err *err)
{
	const struct cfs_node_header_disk *h = node;
	struct walk_sums *sums = arg;

	(void)err;
	sums->node_count++;
	for (int i = 0; sums->store && i < 2; i++) {
		if (!ref->vaddr[i])
			continue;
		assert_int_equal(sums->store->state[ref->vaddr[i]], BLOCK_LIVE);
		sums->block_count++;
	}
	if (level == 0) {
		sums->leaf_count++;
		sums->leaf_used_bytes += CFS_NODE_BYTES -
					 le16_get(h->records_start) +
					 2u * le16_get(h->record_count) + 96;
	}
	return 0;
}

static inline struct walk_sums tree_sums(struct store *store,
					 struct cfs_tree *tree)
{
	struct walk_sums sums = { .store = store };
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_tree_root root;

	if (cfs_tree_walk(tree, walk_sum, NULL, &sums, &err) != 0)
		fail_msg("walk: %s", err.msg);
	cfs_tree_root(tree, &root);
	assert_int_equal(sums.node_count, root.node_count);
	return sums;
}
