/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Random histories of a tree beside a sorted array, with commits in between:
 * after each, the tree opened anew holds the same, the previous commit could
 * still be read until then, and the blocks in use are those of the nodes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "base/bits.h"
#include "tree_store.h"

enum pattern { SCATTERED, CLUSTERED, ASCENDING, DESCENDING, PATTERN_COUNT };

struct history {
	struct store *store;
	struct cfs_node_cache *cache;
	struct cfs_tree *tree;
	struct model now, before;
	struct cfs_tree_root root_before;
	struct cfs_rng rng;
	enum pattern pattern;
	unsigned int key_words;
	uint32_t value_bytes_max;
	uint64_t cache_bytes;
	uint64_t serial;
};

static struct cfs_key key_make(struct history *h)
{
	struct cfs_key key = { .w = { 0 } };
	unsigned int last = h->key_words - 1;

	switch (h->pattern) {
	case ASCENDING:
		key.w[last] = h->serial++;
		break;
	case DESCENDING:
		key.w[last] = UINT64_MAX - h->serial++;
		break;
	case CLUSTERED:
		key.w[0] = cfs_rng_below(&h->rng, 5) << 32;
		key.w[last] += cfs_rng_below(&h->rng, 2000);
		break;
	default:
		for (unsigned int i = 0; i < h->key_words; i++)
			key.w[i] = cfs_rng_below(&h->rng, 20000) *
				   UINT64_C(0x9e3779b97f4a7c15);
		break;
	}
	return key;
}

/* An existing key most of the time, if there is one. */
static struct cfs_key key_pick(struct history *h)
{
	struct cfs_key key;

	if (h->now.count && cfs_rng_below(&h->rng, 8) > 0)
		return h->now.records[cfs_rng_below(&h->rng, h->now.count)].key;
	key = key_make(h);
	return key;
}

static void step_put(struct history *h, const struct cfs_key *key)
{
	uint32_t seed = (uint32_t)cfs_rng_u64(&h->rng);
	uint32_t n = (uint32_t)cfs_rng_below(&h->rng, h->value_bytes_max + 1);
	size_t i = model_ge(&h->now, key), old_bytes = 1, want = SIZE_MAX;
	uint8_t value[CFS_VALUE_BYTES_MAX];
	struct cfs_err err = CFS_ERR_INIT;

	if (model_has(&h->now, i, key))
		want = h->now.records[i].value_bytes;
	value_make(seed, n, value);
	if (cfs_tree_put(h->tree, key, value, n, &old_bytes, &err) < 0)
		fail_msg("put: %s", err.msg);
	assert_int_equal(old_bytes, want);
	model_put(&h->now, key, seed, n);
}

static void step_del(struct history *h)
{
	struct cfs_key key = key_pick(h);
	size_t i = model_ge(&h->now, &key);
	struct cfs_err err = CFS_ERR_INIT;
	int r = cfs_tree_del(h->tree, &key, &err);

	if (model_has(&h->now, i, &key)) {
		if (r < 0)
			fail_msg("del: %s", err.msg);
		model_del(&h->now, i);
	} else {
		assert_int_equal(r, -ENOENT);
		assert_int_equal(err.code, 0);
	}
}

static void step_get(struct history *h)
{
	struct cfs_key key = key_pick(h);
	size_t i = model_ge(&h->now, &key), n = 0;
	uint8_t value[CFS_VALUE_BYTES_MAX];
	int r = cfs_tree_get(h->tree, &key, value, sizeof(value), &n, NULL);

	if (model_has(&h->now, i, &key)) {
		assert_int_equal(r, 0);
		assert_record(&h->now.records[i], &key, value, n);
	} else {
		assert_int_equal(r, -ENOENT);
	}
}

/* A cursor that goes some way, with changes under it. */
static void step_cursor(struct history *h)
{
	struct cfs_key key = key_pick(h);
	bool is_ge = cfs_rng_below(&h->rng, 2);
	struct cfs_cursor cur;
	size_t i = model_ge(&h->now, &key);
	int r;

	if (is_ge) {
		r = cfs_cursor_ge(&cur, h->tree, &key, NULL);
	} else {
		i = model_has(&h->now, i, &key) ? i : i - 1;
		r = cfs_cursor_le(&cur, h->tree, &key, NULL);
	}
	for (int n = 0; n < 20; n++) {
		uint64_t dice = cfs_rng_below(&h->rng, 10);

		if (i >= h->now.count) { /* or before the first */
			assert_int_equal(r, -ENOENT);
			return;
		}
		assert_int_equal(r, 0);
		assert_record(&h->now.records[i], &cur.key, cur.value,
			      cur.value_bytes);
		if (dice == 0) {
			step_del(h);
		} else if (dice == 1) {
			key = key_make(h);
			step_put(h, &key);
		} else if (dice == 2) {
			assert_int_equal(cfs_tree_del(h->tree, &cur.key, NULL),
					 0);
			model_del(&h->now, model_ge(&h->now, &cur.key));
		}
		i = model_ge(&h->now, &cur.key);
		if (cfs_rng_below(&h->rng, 3) > 0) {
			i += model_has(&h->now, i, &cur.key);
			r = cfs_cursor_next(&cur, NULL);
		} else {
			i--;
			r = cfs_cursor_prev(&cur, NULL);
		}
	}
}

static void assert_readable(struct history *h, const struct cfs_tree_root *root,
			    const struct model *model)
{
	struct cfs_node_cache *cache = cache_new(1 << 20);
	struct cfs_tree *tree = tree_open(h->store, cache, 1, h->key_words,
					  root);

	assert_tree_is(tree, model);
	cfs_tree_close(tree);
	cfs_node_cache_free(cache);
}

static void step_commit(struct history *h)
{
	struct walk_sums sums;

	if (cfs_rng_below(&h->rng, 2))
		assert_tree_is(h->tree, &h->now);
	trees_write(&h->tree, 1);
	/* Reading goes on in between, and the last commit is untouched. */
	step_get(h);
	assert_readable(h, &h->root_before, &h->before);
	store_committed(h->store);
	cfs_tree_committed(h->tree);
	cfs_tree_root(h->tree, &h->root_before);
	model_copy(&h->before, &h->now);
	assert_readable(h, &h->root_before, &h->now);
	sums = tree_sums(h->store, h->tree);
	assert_int_equal(sums.block_count, store_live_count(h->store));
	if (cfs_rng_below(&h->rng, 3) == 0) {
		cfs_tree_close(h->tree);
		h->tree = tree_open(h->store, h->cache, 1, h->key_words,
				    &h->root_before);
	}
}

/* Lose what was not committed. */
static void step_crash(struct history *h)
{
	cfs_tree_close(h->tree);
	h->tree = tree_open(h->store, h->cache, 1, h->key_words,
			    &h->root_before);
	model_copy(&h->now, &h->before);
}

static void run(struct history *h, unsigned int steps)
{
	/* Of ten: how many put; it grows, then shrinks, and so on. */
	unsigned int put_weight = 8;

	h->cache = cache_new(h->cache_bytes);
	h->tree = tree_open(h->store, h->cache, 1, h->key_words, NULL);
	for (unsigned int i = 0; i < steps; i++) {
		uint64_t dice = cfs_rng_below(&h->rng, 1000);
		struct cfs_key key;

		if (i % (steps / 4) == steps / 4 - 1)
			put_weight = put_weight == 8 ? 2 : 8;
		if (dice < 2) {
			step_commit(h);
		} else if (dice == 2 && cfs_rng_below(&h->rng, 5) == 0) {
			step_crash(h);
		} else if (dice < 50) {
			step_cursor(h);
		} else if (dice < 150) {
			step_get(h);
		} else if (dice % 10 < put_weight) {
			key = cfs_rng_below(&h->rng, 4) ? key_make(h)
							: key_pick(h);
			step_put(h, &key);
		} else {
			step_del(h);
		}
	}
	step_commit(h);
	while (h->now.count > 0) {
		size_t i = (size_t)cfs_rng_below(&h->rng, h->now.count);

		assert_int_equal(
			cfs_tree_del(h->tree, &h->now.records[i].key, NULL), 0);
		model_del(&h->now, i);
	}
	step_commit(h);
	assert_int_equal(h->root_before.node_count, 1);
	assert_int_equal(h->root_before.level, 0);
	cfs_tree_close(h->tree);
	cfs_node_cache_free(h->cache);
}

static void history(enum pattern pattern, unsigned int key_words,
		    uint32_t value_bytes_max, uint64_t cache_bytes,
		    bool two_copies)
{
	struct history h = {
		.store = store_new(),
		.pattern = pattern,
		.key_words = key_words,
		.value_bytes_max = value_bytes_max,
		.cache_bytes = cache_bytes,
	};

	h.store->two_copies = two_copies;
	cfs_rng_init(&h.rng,
		     pattern * 1000 + key_words * 100 + value_bytes_max);
	run(&h, 24000);
	/* What was taken and not given back is the last leaf. */
	assert_int_equal(store_live_count(h.store), two_copies ? 2 : 1);
	model_done(&h.now);
	model_done(&h.before);
	store_free(h.store);
}

static void test_scattered(void **state)
{
	(void)state;
	history(SCATTERED, 1, 40, 1 << 20, false);
	history(SCATTERED, 2, CFS_VALUE_BYTES_MAX, 1 << 20, true);
	history(SCATTERED, 3, 300, 10 * CFS_NODE_BYTES, false);
	history(SCATTERED, 1, 0, 1 << 20, true);
}

static void test_clustered(void **state)
{
	(void)state;
	history(CLUSTERED, 1, 120, 1 << 20, true);
	history(CLUSTERED, 2, CFS_VALUE_BYTES_MAX, 0, false);
	history(CLUSTERED, 3, 20, 1 << 20, false);
}

static void test_ascending(void **state)
{
	(void)state;
	history(ASCENDING, 3, 40, 1 << 20, true);
	history(ASCENDING, 1, CFS_VALUE_BYTES_MAX, 3 * CFS_NODE_BYTES, false);
}

static void test_descending(void **state)
{
	(void)state;
	history(DESCENDING, 2, 100, 1 << 20, true);
	history(DESCENDING, 3, CFS_VALUE_BYTES_MAX, 0, false);
}

/* Records in order leave full leaves behind, up, down and side by side. */
static void bulk(int direction, unsigned int streams)
{
	struct store *store = store_new();
	struct cfs_node_cache *cache = cache_new(8 << 20);
	struct cfs_tree *tree = tree_open(store, cache, 1, 3, NULL);
	struct cfs_tree_root root;
	struct walk_sums sums;
	uint64_t fill_percent;

	for (uint64_t i = 0; i < 40000; i++) {
		struct cfs_key key = { .w = { 10 + i % streams, 1u << 30 } };

		key.w[1] += direction > 0 ? i : 0 - i;
		assert_int_equal(tree_put_seeded(tree, &key, 1, 40, NULL), 0);
		if (i % 5000 == 4999)
			tree_commit(store, tree);
	}
	sums = tree_sums(store, tree);
	fill_percent = 100 * sums.leaf_used_bytes /
		       (sums.leaf_count * CFS_NODE_BYTES);
	assert_in_range(fill_percent, 95, 100);
	cfs_tree_root(tree, &root);
	assert_int_equal(root.record_count, 40000);
	assert_int_equal(root.level, 2);
	cfs_tree_close(tree);
	cfs_node_cache_free(cache);
	store_free(store);
}

static void test_bulk(void **state)
{
	(void)state;
	bulk(1, 1);
	bulk(-1, 1);
	bulk(1, 7);
	bulk(-1, 7);
}

/* Half of the records go, in no order: the others do not keep all nodes. */
static void test_shrinks(void **state)
{
	struct store *store = store_new();
	struct cfs_node_cache *cache = cache_new(8 << 20);
	struct cfs_tree *tree = tree_open(store, cache, 1, 1, NULL);
	struct cfs_key key = { .w = { 0 } };
	struct walk_sums full, sparse;

	(void)state;
	for (key.w[0] = 0; key.w[0] < 20000; key.w[0]++)
		assert_int_equal(tree_put_seeded(tree, &key, 1, 40, NULL), 0);
	tree_commit(store, tree);
	full = tree_sums(store, tree);
	for (key.w[0] = 0; key.w[0] < 20000; key.w[0]++)
		if (key.w[0] % 8 != 3)
			assert_int_equal(cfs_tree_del(tree, &key, NULL), 0);
	tree_commit(store, tree);
	sparse = tree_sums(store, tree);
	assert_int_equal(cfs_tree_record_count(tree), 2500);
	/* An eighth of the records in nodes that are a quarter full or more. */
	assert_true(sparse.leaf_count * 2 <= full.leaf_count + 2);
	cfs_tree_close(tree);
	cfs_node_cache_free(cache);
	store_free(store);
}

/* Four levels up and down again. */
static void test_deep(void **state)
{
	enum { COUNT = 16384 };
	struct store *store = store_new();
	struct cfs_node_cache *cache = cache_new(64 * CFS_NODE_BYTES);
	struct cfs_tree *tree = tree_open(store, cache, 1, 3, NULL);
	struct cfs_key key = { .w = { 1, 2, 0 } };
	struct cfs_tree_root root;

	(void)state;
	for (uint64_t i = 0; i < COUNT; i++) {
		key.w[2] = i * 5003 % COUNT;
		assert_int_equal(tree_put_seeded(tree, &key, 1, 1000, NULL), 0);
	}
	tree_commit(store, tree);
	tree_sums(store, tree);
	cfs_tree_root(tree, &root);
	assert_int_equal(root.level, 3);
	for (uint64_t i = 0; i < COUNT; i++) {
		key.w[2] = i * 4001 % COUNT;
		assert_int_equal(cfs_tree_del(tree, &key, NULL), 0);
		if (i % 6000 != 5999)
			continue;
		tree_commit(store, tree);
		tree_sums(store, tree);
	}
	tree_commit(store, tree);
	tree_sums(store, tree);
	cfs_tree_root(tree, &root);
	assert_int_equal(root.level, 0);
	assert_int_equal(root.node_count, 1);
	cfs_tree_close(tree);
	cfs_node_cache_free(cache);
	store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scattered),
		cmocka_unit_test(test_clustered),
		cmocka_unit_test(test_ascending),
		cmocka_unit_test(test_descending),
		cmocka_unit_test(test_bulk),
		cmocka_unit_test(test_shrinks),
		cmocka_unit_test(test_deep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
