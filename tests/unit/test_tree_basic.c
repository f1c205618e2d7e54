/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The tree's promises one by one: limits, cursors, cache, and that an
 * operation that fails has changed nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "tree_store.h"

struct fixture {
	struct store *store;
	struct cfs_node_cache *cache;
	struct cfs_tree *tree;
};

static struct fixture *setup_with(uint64_t cache_bytes, unsigned int key_words)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->store = store_new();
	f->cache = cache_new(cache_bytes);
	f->tree = tree_open(f->store, f->cache, 1, key_words, NULL);
	return f;
}

static void teardown(struct fixture *f)
{
	cfs_tree_close(f->tree);
	cfs_node_cache_free(f->cache);
	store_free(f->store);
	free(f);
}

static struct cfs_key key1(uint64_t w)
{
	return (struct cfs_key){ .w = { w } };
}

static void put_range(struct cfs_tree *tree, uint64_t first, uint64_t count,
		      uint64_t step, uint32_t n)
{
	for (uint64_t i = 0; i < count; i++) {
		struct cfs_key key = key1(first + i * step);

		assert_int_equal(
			tree_put_seeded(tree, &key, (uint32_t)i, n, NULL), 0);
	}
}

static void test_key_order(void **state)
{
	struct cfs_key a = { .w = { 1, 9, 9 } }, b = { .w = { 2, 0, 0 } };
	struct cfs_key c = { .w = { 2, 0, 1 } };

	(void)state;
	assert_true(cfs_key_cmp(&a, &b) < 0);
	assert_true(cfs_key_cmp(&c, &b) > 0);
	assert_int_equal(cfs_key_cmp(&c, &c), 0);
}

static void test_empty(void **state)
{
	struct fixture *f = setup_with(1 << 20, 1);
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_tree_root root;
	struct cfs_cursor cur;
	struct cfs_key key = key1(5);
	size_t n;

	(void)state;
	assert_int_equal(cfs_tree_get(f->tree, &key, NULL, 0, &n, &err),
			 -ENOENT);
	assert_int_equal(cfs_tree_del(f->tree, &key, &err), -ENOENT);
	assert_int_equal(cfs_cursor_ge(&cur, f->tree, &key, &err), -ENOENT);
	assert_int_equal(cfs_cursor_le(&cur, f->tree, &key, &err), -ENOENT);
	assert_int_equal(err.code, 0);
	/* Untouched it needs no node; a commit writes none. */
	tree_commit(f->store, f->tree);
	assert_int_equal(f->store->write_count, 0);
	cfs_tree_root(f->tree, &root);
	assert_int_equal(root.ref.vaddr[0], 0);
	/* Emptied again it keeps its root. */
	put_range(f->tree, 5, 1, 1, 10);
	tree_commit(f->store, f->tree);
	assert_int_equal(cfs_tree_del(f->tree, &key, NULL), 0);
	tree_commit(f->store, f->tree);
	cfs_tree_root(f->tree, &root);
	assert_int_not_equal(root.ref.vaddr[0], 0);
	assert_int_equal(root.node_count, 1);
	assert_int_equal(root.record_count, 0);
	assert_int_equal(cfs_cursor_ge(&cur, f->tree, &key, &err), -ENOENT);
	assert_int_equal(store_live_count(f->store), 1);
	teardown(f);
}

static void test_values(void **state)
{
	struct fixture *f = setup_with(1 << 20, 2);
	uint8_t value[CFS_VALUE_BYTES_MAX + 1], buf[sizeof(value)];
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_key key = { .w = { 1, 2 } };
	size_t n = 0, old_bytes = 0;

	(void)state;
	value_make(1, sizeof(value), value);
	assert_int_equal(
		cfs_tree_put(f->tree, &key, value, sizeof(value), NULL, &err),
		-EINVAL);
	assert_int_equal(cfs_tree_dirty_count(f->tree), 0);
	assert_int_equal(cfs_tree_put(f->tree, &key, NULL, 0, &old_bytes, NULL),
			 0);
	assert_true(old_bytes == SIZE_MAX);
	assert_int_equal(
		cfs_tree_put(f->tree, &key, value, 1200, &old_bytes, NULL), 0);
	assert_int_equal(old_bytes, 0);
	/* A buffer that is too short gets the beginning. */
	memset(buf, 0, sizeof(buf));
	assert_int_equal(cfs_tree_get(f->tree, &key, buf, 3, &n, NULL), 0);
	assert_int_equal(n, 1200);
	assert_memory_equal(buf, value, 3);
	assert_int_equal(buf[3], 0);
	assert_int_equal(
		cfs_tree_put(f->tree, &key, value, 7, &old_bytes, NULL), 0);
	assert_int_equal(old_bytes, 1200);
	assert_int_equal(cfs_tree_record_count(f->tree), 1);
	teardown(f);
}

/* All keys may be used, and cursors stop at both ends. */
static void test_key_ends(void **state)
{
	static const struct cfs_key ends[] = {
		{ .w = { 0, 0, 0 } },
		{ .w = { 0, 0, UINT64_MAX } },
		{ .w = { 0, 1, 0 } },
		{ .w = { UINT64_MAX, UINT64_MAX, UINT64_MAX } },
	};
	struct fixture *f = setup_with(1 << 20, 3);
	struct cfs_cursor cur;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(
			tree_put_seeded(f->tree, &ends[i], 1, 1200, NULL), 0);
	assert_int_equal(cfs_cursor_ge(&cur, f->tree, &ends[0], NULL), 0);
	for (int i = 1; i < 4; i++) {
		/* Each time once from the key and once from the leaf. */
		assert_int_equal(
			tree_put_seeded(f->tree, &ends[0], 2, 1200, NULL), 0);
		assert_int_equal(cfs_cursor_next(&cur, NULL), 0);
		assert_int_equal(cfs_key_cmp(&cur.key, &ends[i]), 0);
		assert_int_equal(cfs_cursor_prev(&cur, NULL), 0);
		assert_int_equal(cfs_key_cmp(&cur.key, &ends[i - 1]), 0);
		assert_int_equal(cfs_cursor_next(&cur, NULL), 0);
	}
	assert_int_equal(cfs_cursor_next(&cur, NULL), -ENOENT);
	assert_int_equal(tree_put_seeded(f->tree, &ends[0], 3, 1200, NULL), 0);
	assert_int_equal(cfs_cursor_next(&cur, NULL), -ENOENT);
	/* A cursor that found nothing stays where it was. */
	assert_int_equal(cfs_cursor_prev(&cur, NULL), 0);
	assert_int_equal(cfs_key_cmp(&cur.key, &ends[2]), 0);
	assert_int_equal(cfs_cursor_le(&cur, f->tree, &ends[0], NULL), 0);
	assert_int_equal(cfs_cursor_prev(&cur, NULL), -ENOENT);
	assert_int_equal(tree_put_seeded(f->tree, &ends[0], 4, 1200, NULL), 0);
	assert_int_equal(cfs_cursor_prev(&cur, NULL), -ENOENT);
	teardown(f);
}

/* "Find, change, next": each record is come by once. */
static void test_cursor_while_changing(void **state)
{
	struct fixture *f = setup_with(4 * CFS_NODE_BYTES, 1);
	struct cfs_key key = key1(0);
	struct cfs_cursor cur;
	uint64_t seen = 0;
	int r;

	(void)state;
	put_range(f->tree, 0, 2000, 10, 30);
	tree_commit(f->store, f->tree);
	r = cfs_cursor_ge(&cur, f->tree, &key, NULL);
	while (r == 0) {
		assert_int_equal(cur.key.w[0], seen * 10);
		seen++;
		if (seen % 3 == 0) {
			assert_int_equal(cfs_tree_del(f->tree, &cur.key, NULL),
					 0);
		} else {
			/* Its own value, put under a key before it. */
			key = key1(cur.key.w[0] - 5);
			assert_int_equal(cfs_tree_put(f->tree, &key, cur.value,
						      cur.value_bytes, NULL,
						      NULL),
					 0);
		}
		if (seen % 500 == 0)
			tree_commit(f->store, f->tree);
		r = cfs_cursor_next(&cur, NULL);
		/* The one at -5 before key 0 is the last of all. */
		if (r == 0 && cur.key.w[0] == UINT64_MAX - 4)
			break;
	}
	assert_int_equal(r, 0);
	assert_int_equal(seen, 2000);
	teardown(f);
}

/* Values of a cursor may be put, also when the node they are in splits. */
static void test_put_own_value(void **state)
{
	struct fixture *f = setup_with(0, 1);
	struct cfs_key key = key1(1000);
	uint8_t want[1200], buf[1200];
	struct cfs_cursor cur;
	size_t n;

	(void)state;
	value_make(9, sizeof(want), want);
	assert_int_equal(tree_put_seeded(f->tree, &key, 9, 1200, NULL), 0);
	tree_commit(f->store, f->tree);
	for (uint64_t i = 0; i < 40; i++) {
		assert_int_equal(cfs_cursor_ge(&cur, f->tree, &key, NULL), 0);
		key = key1(999 - i);
		assert_int_equal(cfs_tree_put(f->tree, &key, cur.value,
					      cur.value_bytes, NULL, NULL),
				 0);
		assert_int_equal(
			cfs_tree_get(f->tree, &key, buf, sizeof(buf), &n, NULL),
			0);
		assert_int_equal(n, sizeof(want));
		assert_memory_equal(buf, want, n);
		if (i % 5 == 0)
			tree_commit(f->store, f->tree);
	}
	teardown(f);
}

/* What fits into the cache is read once, and the cap is kept. */
static void test_cache(void **state)
{
	struct fixture *f = setup_with(1 << 20, 1);
	struct cfs_tree_root root;
	uint64_t before, node_count;
	size_t n;

	(void)state;
	put_range(f->tree, 0, 5000, 1, 60);
	tree_commit(f->store, f->tree);
	cfs_tree_root(f->tree, &root);
	node_count = root.node_count;
	assert_in_range(node_count, 60, 200);
	for (int round = 0; round < 2; round++) {
		/* Cached for all of it, then for a part. */
		cfs_tree_close(f->tree);
		cfs_node_cache_free(f->cache);
		f->cache = cache_new(round == 0 ? 1 << 20 : 8 * CFS_NODE_BYTES);
		f->tree = tree_open(f->store, f->cache, 1, 1, &root);
		before = f->store->read_count;
		for (uint64_t i = 0; i < 20000; i++) {
			struct cfs_key key = key1(i * 2377 % 5000);

			assert_int_equal(
				cfs_tree_get(f->tree, &key, NULL, 0, &n, NULL),
				0);
		}
		if (round == 0)
			assert_int_equal(f->store->read_count - before,
					 node_count);
		else
			assert_true(f->store->read_count - before > 10000);
	}
	/* A small working set stays although others were used before. */
	before = f->store->read_count;
	for (uint64_t i = 0; i < 1000; i++) {
		struct cfs_key key = key1(i % 2 * 4000);

		assert_int_equal(cfs_tree_get(f->tree, &key, NULL, 0, &n, NULL),
				 0);
	}
	assert_true(f->store->read_count - before <= 4);
	teardown(f);
}

/* What is used again and again is not pushed out by what is used once. */
static void test_cache_keeps_used(void **state)
{
	struct fixture *f = setup_with(16 * CFS_NODE_BYTES, 1);
	struct cfs_key hot = key1(2500);
	uint64_t hot_reads = 0, before;
	size_t n;

	(void)state;
	put_range(f->tree, 0, 5000, 1, 60);
	tree_commit(f->store, f->tree);
	for (uint64_t i = 0; i < 1000; i++) {
		struct cfs_key key = key1(i * 2377 % 5000);

		assert_int_equal(cfs_tree_get(f->tree, &key, NULL, 0, &n, NULL),
				 0);
		before = f->store->read_count;
		assert_int_equal(cfs_tree_get(f->tree, &hot, NULL, 0, &n, NULL),
				 0);
		hot_reads += f->store->read_count - before;
	}
	assert_true(hot_reads <= 2);
	teardown(f);
}

/* Two trees of one cache push each other out, dirty nodes stay. */
static void test_cache_shared(void **state)
{
	struct fixture *f = setup_with(6 * CFS_NODE_BYTES, 1);
	struct cfs_tree *other = tree_open(f->store, f->cache, 2, 1, NULL);
	struct model model = { .count = 0 };
	struct cfs_tree *trees[2] = { f->tree, other };

	(void)state;
	for (uint32_t i = 0; i < 3000; i++) {
		struct cfs_key key = key1(i * 7919 % 3001);

		model_put(&model, &key, i, 40);
		assert_int_equal(tree_put_seeded(f->tree, &key, i, 40, NULL),
				 0);
		assert_int_equal(tree_put_seeded(other, &key, i, 40, NULL), 0);
		if (i % 1000 != 999)
			continue;
		trees_write(trees, 2);
		store_committed(f->store);
		cfs_tree_committed(f->tree);
		cfs_tree_committed(other);
		assert_tree_is(f->tree, &model);
		assert_tree_is(other, &model);
	}
	cfs_tree_close(other);
	model_done(&model);
	teardown(f);
}

static void assert_root_is(const struct cfs_tree *tree,
			   const struct cfs_tree_root *want)
{
	struct cfs_tree_root root;

	cfs_tree_root(tree, &root);
	assert_int_equal(root.record_count, want->record_count);
	assert_int_equal(root.node_count, want->node_count);
	assert_int_equal(root.next_node, want->next_node);
	assert_int_equal(root.level, want->level);
}

/*
 * Let the 1st, 2nd, ... read of each operation fail until none is hit: each
 * time it must fail and leave the tree as it was.
 */
static void test_reads_fail(void **state)
{
	struct fixture *f = setup_with(0, 1);
	struct model model = { .count = 0 };
	struct cfs_err err = CFS_ERR_INIT;
	unsigned int failures = 0;
	struct cfs_rng rng;

	(void)state;
	cfs_rng_init(&rng, 4);
	for (uint32_t i = 0; i < 1200; i++) {
		struct cfs_key key = key1(i * 7919 % 1201);

		model_put(&model, &key, i, 900);
		assert_int_equal(tree_put_seeded(f->tree, &key, i, 900, NULL),
				 0);
	}
	for (unsigned int step = 0; step < 1500; step++) {
		struct cfs_key key = key1(cfs_rng_below(&rng, 1300));
		unsigned int op = (unsigned int)cfs_rng_below(&rng, 6);
		size_t i = model_ge(&model, &key), n;
		struct cfs_tree_root root;
		struct cfs_cursor cur;
		int r = -EIO;

		/* Clean, so that each step has to read. */
		tree_commit(f->store, f->tree);
		cfs_tree_root(f->tree, &root);
		for (uint64_t at = 1; r == -EIO; at++) {
			f->store->fail_read_at = at;
			f->store->fail_code = at % 2 ? -EIO : -ENOENT;
			if (op == 0)
				r = cfs_tree_get(f->tree, &key, NULL, 0, &n,
						 &err);
			else if (op == 1)
				r = cfs_cursor_ge(&cur, f->tree, &key, &err);
			else if (op == 2)
				r = tree_put_seeded(f->tree, &key, step, 1100,
						    &err);
			else
				r = cfs_tree_del(f->tree, &key, &err);
			if (r != -EIO)
				break;
			assert_int_equal(err.code, -EIO);
			assert_non_null(strstr(err.msg, "tree 1: level "));
			assert_root_is(f->tree, &root);
			assert_int_equal(cfs_tree_dirty_count(f->tree), 0);
			failures++;
		}
		f->store->fail_read_at = 0;
		assert_true(r == 0 || r == -ENOENT);
		if (op == 2)
			model_put(&model, &key, step, 1100);
		else if (op > 2 && model_has(&model, i, &key))
			model_del(&model, i);
		if (step % 300 == 299)
			assert_tree_is(f->tree, &model);
	}
	assert_true(failures > 3000);
	model_done(&model);
	teardown(f);
}

static void test_node_numbers(void **state)
{
	struct cfs_tree_root root = { .next_node = (UINT64_C(1) << 48) - 3 };
	struct fixture *f = setup_with(1 << 20, 1);
	struct cfs_err err = CFS_ERR_INIT;
	uint64_t i;
	int r = 0;

	(void)state;
	cfs_tree_close(f->tree);
	f->tree = tree_open(f->store, f->cache, 1, 1, &root);
	for (i = 0; r == 0; i++) {
		struct cfs_key key = key1(i);

		assert_true(i < 10);
		r = tree_put_seeded(f->tree, &key, 1, 1200, &err);
	}
	/* One leaf, and not two more for a split. */
	assert_int_equal(r, -EOVERFLOW);
	assert_int_equal(cfs_tree_record_count(f->tree), i - 1);
	tree_commit(f->store, f->tree);
	teardown(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key_order),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_key_ends),
		cmocka_unit_test(test_cursor_while_changing),
		cmocka_unit_test(test_put_own_value),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_cache_keeps_used),
		cmocka_unit_test(test_cache_shared),
		cmocka_unit_test(test_reads_fail),
		cmocka_unit_test(test_node_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
