/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An operation that finds no memory leaves the tree as it was.  Nodes come
 * from posix_memalign, which is taken over here; with a cache whose chunks are
 * full each operation that needs a node asks for a new chunk.  And a cache at
 * rest gives the pages of its free nodes back, each once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tree_store.h"

static bool no_memory;
static uint64_t refused;
static uint64_t given; /* pages */

int posix_memalign(void **ret, size_t alignment, size_t n)
{
	if (no_memory) {
		refused++;
		return ENOMEM;
	}
	*ret = aligned_alloc(alignment,
			     (n + alignment - 1) / alignment * alignment);
	return *ret ? 0 : ENOMEM;
}

int madvise(void *at, size_t bytes, int how)
{
	if (how == MADV_DONTNEED && bytes == CFS_NODE_BYTES)
		given++;
	return (int)syscall(SYS_madvise, at, bytes, how);
}

static void rest(struct cfs_node_cache *cache)
{
	uint64_t before = given;

	cfs_node_cache_rest(cache);
	assert_true(given > before);
	before = given;
	cfs_node_cache_rest(cache);
	assert_int_equal(given, before);
}

static void test_no_chunk(void **state)
{
	struct store *store = store_new();
	struct cfs_node_cache *cache = cache_new(12 * CFS_NODE_BYTES);
	struct cfs_tree *tree = tree_open(store, cache, 1, 1, NULL);
	struct model model = { .count = 0 };
	struct cfs_rng rng;
	unsigned int failures = 0;

	(void)state;
	cfs_rng_init(&rng, 21);
	for (unsigned int i = 0; i < 20000; i++) {
		struct cfs_key key = { .w = { cfs_rng_below(&rng, 30000) } };
		struct cfs_err err = CFS_ERR_INIT;
		struct cfs_tree_root before, after;
		size_t at = model_ge(&model, &key), dirty;
		unsigned int put_weight = i < 14000 ? 8 : 2;
		bool is_put = cfs_rng_below(&rng, 10) < put_weight;
		int r;

		cfs_tree_root(tree, &before);
		dirty = cfs_tree_dirty_count(tree);
		no_memory = true;
		r = is_put ? tree_put_seeded(tree, &key, i, 1000, &err)
			   : cfs_tree_del(tree, &key, &err);
		no_memory = false;
		if (r == -ENOMEM) {
			assert_int_equal(err.code, -ENOMEM);
			cfs_tree_root(tree, &after);
			assert_memory_equal(&before, &after, sizeof(before));
			assert_int_equal(cfs_tree_dirty_count(tree), dirty);
			if (failures++ % 20 == 0)
				assert_tree_is(tree, &model);
			r = is_put ? tree_put_seeded(tree, &key, i, 1000, &err)
				   : cfs_tree_del(tree, &key, &err);
		}
		if (is_put) {
			assert_int_equal(r, 0);
			model_put(&model, &key, i, 1000);
		} else if (model_has(&model, at, &key)) {
			assert_int_equal(r, 0);
			model_del(&model, at);
		} else {
			assert_int_equal(r, -ENOENT);
		}
		if (i % 2000 == 1999) {
			tree_commit(store, tree);
			rest(cache);
			tree_sums(store, tree);
		}
	}
	assert_true(failures > 50);
	assert_true(refused >= failures);
	assert_tree_is(tree, &model);
	model_done(&model);
	cfs_tree_close(tree);
	cfs_node_cache_free(cache);
	store_free(store);
}

static void test_no_walk(void **state)
{
	struct store *store = store_new();
	struct cfs_node_cache *cache = cache_new(0);
	struct cfs_tree *tree = tree_open(store, cache, 1, 1, NULL);
	struct cfs_key key = { .w = { 1 } };
	struct walk_sums sums = { .store = store };

	(void)state;
	assert_int_equal(tree_put_seeded(tree, &key, 1, 10, NULL), 0);
	tree_commit(store, tree);
	no_memory = true;
	assert_int_equal(cfs_tree_walk(tree, walk_sum, NULL, &sums, NULL),
			 -ENOMEM);
	no_memory = false;
	assert_int_equal(cfs_tree_walk(tree, walk_sum, NULL, &sums, NULL), 0);
	cfs_tree_close(tree);
	cfs_node_cache_free(cache);
	store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_chunk),
		cmocka_unit_test(test_no_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
