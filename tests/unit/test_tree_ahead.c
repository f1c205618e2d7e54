/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Nodes that are read before they are asked for: of keys that were announced
 * no node is read again, a level is read at once, and what fails then is as if
 * nothing had been announced.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "tree_store.h"

#define RECORDS     12000u
#define VALUE_BYTES 120u
#define STEP        (RECORDS / CFS_TREE_AHEAD_MAX)

struct world {
	struct store *store;
	struct cfs_node_cache *cache;
	struct cfs_tree_root root;
	struct cfs_tree *tree;
};

static unsigned int batches, largest;

static void count_ahead(void *ctx, const struct cfs_node_ref *refs,
			unsigned int count)
{
	(void)ctx;
	assert_in_range(count, 2, CFS_TREE_AHEAD_MAX);
	for (unsigned int i = 0; i < count; i++)
		for (unsigned int k = 0; k < i; k++)
			assert_int_not_equal(refs[i].vaddr[0],
					     refs[k].vaddr[0]);
	batches++;
	if (count > largest)
		largest = count;
}

/* The tree as committed, nothing of it in memory. */
static void open_cold(struct world *w)
{
	static struct cfs_tree_ops ops;
	struct cfs_tree_config config = {
		.tree_id = 1,
		.key_words = 1,
		.container_id = STORE_CONTAINER,
		.ops = &ops,
		.ctx = w->store,
	};

	ops = store_ops;
	ops.ahead = count_ahead;
	cfs_tree_close(w->tree);
	assert_int_equal(
		cfs_tree_open(&config, &w->root, w->cache, &w->tree, NULL), 0);
	batches = largest = 0;
	w->store->read_count = 0;
}

static struct cfs_key key_of(unsigned int i)
{
	return (struct cfs_key){ .w = { i } };
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->store = store_new();
	w->cache = cache_new(1000 * CFS_NODE_BYTES);
	w->tree = tree_open(w->store, w->cache, 1, 1, NULL);
	for (unsigned int i = 0; i < RECORDS; i++) {
		const struct cfs_key key = key_of(i);

		assert_int_equal(
			tree_put_seeded(w->tree, &key, i, VALUE_BYTES, NULL),
			0);
	}
	tree_commit(w->store, w->tree);
	cfs_tree_root(w->tree, &w->root);
	assert_true(w->root.level >= 2);
	open_cold(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	cfs_tree_close(w->tree);
	cfs_node_cache_free(w->cache);
	store_free(w->store);
	free(w);
	return 0;
}

static void announce(struct world *w)
{
	struct cfs_key keys[CFS_TREE_AHEAD_MAX];

	for (unsigned int i = 0; i < CFS_TREE_AHEAD_MAX; i++)
		keys[i] = key_of(i * STEP);
	cfs_tree_expect(w->tree, keys, CFS_TREE_AHEAD_MAX);
}

static void get_all(struct world *w)
{
	uint8_t value[VALUE_BYTES];
	size_t bytes;

	for (unsigned int i = 0; i < CFS_TREE_AHEAD_MAX; i++) {
		const struct cfs_key key = key_of(i * STEP);

		assert_int_equal(cfs_tree_get(w->tree, &key, value,
					      sizeof(value), &bytes, NULL),
				 0);
		assert_int_equal(bytes, VALUE_BYTES);
	}
}

static void test_announced(void **state)
{
	struct world *w = *state;
	uint64_t reads;

	announce(w);
	reads = w->store->read_count;
	/* A level at once, below the root. */
	assert_true(batches <= w->root.level);
	assert_int_equal(largest, CFS_TREE_AHEAD_MAX);
	get_all(w);
	assert_int_equal(w->store->read_count, reads);
	announce(w);
	assert_int_equal(w->store->read_count, reads);

	/* As many nodes as without a word of it. */
	open_cold(w);
	get_all(w);
	assert_int_equal(w->store->read_count, reads);
	assert_int_equal(batches, 0);
}

static void test_a_read_fails(void **state)
{
	struct world *w = *state;
	uint64_t reads;

	announce(w);
	reads = w->store->read_count;
	for (uint64_t at = 1; at <= reads; at++) {
		open_cold(w);
		w->store->fail_read_at = at;
		announce(w);
		assert_int_equal(w->store->fail_read_at, 0);
		assert_int_equal(w->store->read_count, at);
		get_all(w);
		assert_int_equal(w->store->read_count, reads + 1);
	}
}

static void test_nothing_there(void **state)
{
	struct world *w = *state;
	const struct cfs_key far[] = { key_of(RECORDS), key_of(9 * RECORDS) };
	struct cfs_tree *none = tree_open(w->store, w->cache, 2, 1, NULL);

	cfs_tree_expect(none, far, 2);
	cfs_tree_close(none);
	cfs_tree_expect(w->tree, far, 0);
	/* Both are in the last leaf: the way down to it. */
	cfs_tree_expect(w->tree, far, 2);
	assert_int_equal(w->store->read_count, w->root.level + 1u);
	assert_int_equal(batches, 0);
}

static void test_left_to_right(void **state)
{
	struct world *w = *state;
	const struct cfs_key zero = key_of(0);
	struct cfs_cursor cur;
	unsigned int count = 0;
	int r;

	for (r = cfs_cursor_ge(&cur, w->tree, &zero, NULL); r == 0;
	     r = cfs_cursor_next(&cur, NULL))
		count++;
	assert_int_equal(r, -ENOENT);
	assert_int_equal(count, RECORDS);
	assert_int_equal(w->store->read_count, w->root.node_count);
	assert_true(batches > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_announced, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_read_fails, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_nothing_there, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_left_to_right, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
