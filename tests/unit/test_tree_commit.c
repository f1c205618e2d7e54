/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The three steps of a commit when the callbacks themselves change trees:
 * which blocks are in use is kept in a tree whose own nodes take blocks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "tree_store.h"

/* Blocks of one record, and the length that makes the tree wide. */
#define SPACE_BLOCKS 4u
#define SPACE_BYTES  220u

struct account {
	struct cfs_tree *space;
	uint64_t fail_at; /* the n-th call from now; 0: none */
};

static int account_changed(void *arg, uint64_t vaddr, bool is_used,
			   struct cfs_err *err)
{
	struct account *account = arg;
	struct cfs_key key = { .w = { vaddr / SPACE_BLOCKS } };
	uint8_t value[SPACE_BYTES] = { 0 };
	uint8_t bit = (uint8_t)(1u << vaddr % SPACE_BLOCKS);
	size_t n;
	int r;

	if (account->fail_at && --account->fail_at == 0)
		return cfs_err_set(err, -ENOSPC, "no space");
	r = cfs_tree_get(account->space, &key, value, sizeof(value), &n, err);
	if (r < 0 && r != -ENOENT)
		return r;
	assert_int_equal(!!(value[0] & bit), !is_used);
	value[0] ^= bit;
	if (value[0])
		return cfs_tree_put(account->space, &key, value, sizeof(value),
				    NULL, err);
	return cfs_tree_del(account->space, &key, err);
}

/* The space tree says exactly what the store does. */
static void assert_account(const struct store *store, struct cfs_tree *space)
{
	uint8_t used[STORE_BLOCKS] = { 0 };
	struct cfs_key key = { .w = { 0 } };
	struct cfs_cursor cur;
	int r;

	r = cfs_cursor_ge(&cur, space, &key, NULL);
	while (r == 0) {
		assert_int_equal(cur.value_bytes, SPACE_BYTES);
		for (unsigned int i = 0; i < SPACE_BLOCKS; i++)
			used[cur.key.w[0] * SPACE_BLOCKS + i] =
				cur.value[0] >> i & 1;
		r = cfs_cursor_next(&cur, NULL);
	}
	assert_int_equal(r, -ENOENT);
	for (uint32_t i = 0; i < STORE_BLOCKS; i++)
		assert_int_equal(used[i], store->state[i] == BLOCK_LIVE);
}

struct world {
	struct store *store;
	struct cfs_node_cache *cache;
	struct account account;
	struct cfs_tree *trees[2]; /* data, space */
	struct model model;
	struct cfs_rng rng;
};

static void world_init(struct world *w, uint64_t cache_bytes, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->store = store_new();
	w->cache = cache_new(cache_bytes);
	w->trees[0] = tree_open(w->store, w->cache, 1, 2, NULL);
	w->trees[1] = tree_open(w->store, w->cache, CFS_TREE_SPACE, 1, NULL);
	w->account.space = w->trees[1];
	w->store->changed = account_changed;
	w->store->arg = &w->account;
	cfs_rng_init(&w->rng, seed);
}

static void world_done(struct world *w)
{
	cfs_tree_close(w->trees[0]);
	cfs_tree_close(w->trees[1]);
	cfs_node_cache_free(w->cache);
	store_free(w->store);
	model_done(&w->model);
}

static void world_change(struct world *w, unsigned int count,
			 unsigned int put_weight)
{
	for (unsigned int i = 0; i < count; i++) {
		struct cfs_key key = { .w = { cfs_rng_below(&w->rng, 1500) } };
		uint32_t seed = (uint32_t)cfs_rng_u64(&w->rng);
		uint32_t n = (uint32_t)cfs_rng_below(&w->rng, 600);
		size_t at = model_ge(&w->model, &key);

		if (cfs_rng_below(&w->rng, 10) < put_weight) {
			assert_int_equal(tree_put_seeded(w->trees[0], &key,
							 seed, n, NULL),
					 0);
			model_put(&w->model, &key, seed, n);
		} else if (model_has(&w->model, at, &key)) {
			assert_int_equal(cfs_tree_del(w->trees[0], &key, NULL),
					 0);
			model_del(&w->model, at);
		}
	}
}

static void world_finish(struct world *w)
{
	struct walk_sums data, space;

	store_committed(w->store);
	cfs_tree_committed(w->trees[0]);
	cfs_tree_committed(w->trees[1]);
	assert_account(w->store, w->trees[1]);
	assert_tree_is(w->trees[0], &w->model);
	data = tree_sums(w->store, w->trees[0]);
	space = tree_sums(w->store, w->trees[1]);
	assert_int_equal(data.block_count + space.block_count,
			 store_live_count(w->store));
}

/*
 * Every block that is taken or given up changes the space tree, and it grows
 * to hundreds of nodes and back to one while it is being placed.
 */
static void test_space(void **state)
{
	static const uint64_t cache_bytes[] = { 1 << 20, 0 };

	(void)state;
	for (unsigned int c = 0; c < 2; c++) {
		struct world w;

		world_init(&w, cache_bytes[c], c);
		w.store->two_copies = c == 0;
		for (unsigned int i = 0; i < 60; i++) {
			unsigned int count = (unsigned int)cfs_rng_below(
				&w.rng, i % 3 ? 20 : 600);

			world_change(&w, count, i < 30 ? 8 : 1);
			trees_write(w.trees, 2);
			world_finish(&w);
		}
		world_done(&w);
	}
}

/* A commit without changes moves nothing. */
static void test_nothing(void **state)
{
	struct world w;
	uint64_t count;

	(void)state;
	world_init(&w, 1 << 20, 3);
	world_change(&w, 500, 9);
	trees_write(w.trees, 2);
	world_finish(&w);
	count = w.store->alloc_count;
	trees_write(w.trees, 2);
	world_finish(&w);
	assert_int_equal(w.store->alloc_count, count);
	world_done(&w);
}

/* Only the changed path is written, and nodes keep their numbers. */
static void test_path_only(void **state)
{
	struct store *store = store_new();
	struct cfs_node_cache *cache = cache_new(1 << 20);
	struct cfs_tree *tree = tree_open(store, cache, 1, 1, NULL);
	struct cfs_key key = { .w = { 0 } };
	struct cfs_tree_root root, after;

	(void)state;
	for (key.w[0] = 0; key.w[0] < 1000; key.w[0]++)
		assert_int_equal(tree_put_seeded(tree, &key, 1, 1000, NULL), 0);
	tree_commit(store, tree);
	cfs_tree_root(tree, &root);
	assert_int_equal(root.level, 2);
	store->write_count = store->alloc_count = store->release_count = 0;
	key.w[0] = 500;
	assert_int_equal(tree_put_seeded(tree, &key, 2, 1000, NULL), 0);
	assert_int_equal(tree_put_seeded(tree, &key, 3, 1000, NULL), 0);
	assert_int_equal(cfs_tree_dirty_count(tree), 3);
	tree_commit(store, tree);
	assert_int_equal(store->write_count, 3);
	assert_int_equal(store->alloc_count, 3);
	assert_int_equal(store->release_count, 3);
	cfs_tree_root(tree, &after);
	assert_int_equal(after.next_node, root.next_node);
	assert_int_not_equal(after.ref.vaddr[0], root.ref.vaddr[0]);
	cfs_tree_close(tree);
	cfs_node_cache_free(cache);
	store_free(store);
}

/*
 * Nodes that were placed and then merged away give their new blocks back; a
 * placed node that changes keeps its place.
 */
static void test_placed_changes(void **state)
{
	struct store *store = store_new();
	struct cfs_node_cache *cache = cache_new(1 << 20);
	struct cfs_tree *tree = tree_open(store, cache, 1, 1, NULL);
	struct model model = { .count = 0 };
	uint64_t budget = UINT64_MAX, allocs;
	struct cfs_tree_root root;

	(void)state;
	for (uint32_t i = 0; i < 400; i++) {
		struct cfs_key key = { .w = { i } };

		model_put(&model, &key, i, 900);
		assert_int_equal(tree_put_seeded(tree, &key, i, 900, NULL), 0);
	}
	assert_int_equal(cfs_tree_unplaced_count(tree),
			 cfs_tree_dirty_count(tree));
	assert_int_equal(cfs_tree_place(tree, &budget, NULL), 0);
	assert_int_equal(UINT64_MAX - budget, cfs_tree_dirty_count(tree));
	assert_int_equal(cfs_tree_unplaced_count(tree), 0);
	allocs = store->alloc_count;
	/* In place: nothing to do. */
	assert_int_equal(
		tree_put_seeded(tree, &model.records[7].key, 99, 900, NULL), 0);
	model.records[7].value_seed = 99;
	budget = UINT64_MAX;
	assert_int_equal(cfs_tree_place(tree, &budget, NULL), 0);
	assert_int_equal(budget, UINT64_MAX);
	assert_int_equal(store->alloc_count, allocs);
	while (model.count > 100) {
		size_t i = model.count * 7 / 11;

		assert_int_equal(
			cfs_tree_del(tree, &model.records[i].key, NULL), 0);
		model_del(&model, i);
	}
	assert_int_not_equal(cfs_tree_unplaced_count(tree), 0);
	tree_commit(store, tree);
	cfs_tree_root(tree, &root);
	assert_int_equal(store->alloc_count, allocs);
	assert_int_equal(store->write_count, root.node_count);
	assert_int_equal(store->release_count, allocs - root.node_count);
	assert_int_equal(store_live_count(store), root.node_count);
	assert_tree_is(tree, &model);
	tree_sums(store, tree);
	model_done(&model);
	cfs_tree_close(tree);
	cfs_node_cache_free(cache);
	store_free(store);
}

/*
 * A place that failed may be repeated: no block is taken or given up twice
 * for one node.  (The store counts the call that failed as done, so the
 * failure is put before it.)
 */
static int fail_alloc(void *ctx, unsigned int tree_id, uint64_t node_number,
		      struct cfs_node_ref *ret, struct cfs_err *err)
{
	struct store *store = ctx;

	if (store->fail_read_at && --store->fail_read_at == 0)
		return cfs_err_set(err, -ENOSPC, "no space");
	return store_alloc(ctx, tree_id, node_number, ret, err);
}

static int fail_release(void *ctx, unsigned int tree_id,
			const struct cfs_node_ref *ref, struct cfs_err *err)
{
	struct store *store = ctx;

	if (store->fail_read_at && --store->fail_read_at == 0)
		return cfs_err_set(err, -EIO, "not now");
	return store_release(ctx, tree_id, ref, err);
}

static void test_place_again(void **state)
{
	static const struct cfs_tree_ops ops = {
		.read = store_read,
		.alloc = fail_alloc,
		.release = fail_release,
		.write = store_write,
	};
	struct store *store = store_new();
	struct cfs_node_cache *cache = cache_new(1 << 20);
	struct cfs_tree_config config = {
		.tree_id = 1,
		.key_words = 1,
		.container_id = STORE_CONTAINER,
		.ops = &ops,
		.ctx = store,
	};
	struct cfs_tree_root root = { .level = 0 };
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_tree *tree;
	uint64_t budget = UINT64_MAX;
	unsigned int failures = 0;
	int r;

	(void)state;
	assert_int_equal(cfs_tree_open(&config, &root, cache, &tree, NULL), 0);
	for (unsigned int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < 100; i++) {
			struct cfs_key key = { .w = { i } };

			assert_int_equal(
				tree_put_seeded(tree, &key, i, 900, NULL), 0);
		}
		do {
			store->fail_read_at = 4;
			r = cfs_tree_place(tree, &budget, &err);
			failures += r < 0;
		} while (r < 0);
		store->fail_read_at = 0;
		tree_commit(store, tree);
	}
	assert_true(failures > 10);
	assert_memory_equal(err.msg, "tree 1: ", 8);
	cfs_tree_root(tree, &root);
	assert_int_equal(store->alloc_count, 2 * root.node_count);
	assert_int_equal(store->release_count, root.node_count);
	assert_int_equal(store_live_count(store), root.node_count);
	cfs_tree_close(tree);
	cfs_node_cache_free(cache);
	store_free(store);
}

/*
 * The node that is being placed is merged away by the callback: what it just
 * got goes back.
 */
struct eater {
	struct cfs_tree *tree;
	uint64_t next, end;
};

static int eater_changed(void *arg, uint64_t vaddr, bool is_used,
			 struct cfs_err *err)
{
	struct eater *eater = arg;
	int r = 0;

	(void)vaddr;
	for (int i = 0; is_used && i < 9 && eater->next < eater->end && r == 0;
	     i++) {
		struct cfs_key key = { .w = { eater->next++ } };

		r = cfs_tree_del(eater->tree, &key, err);
	}
	return r;
}

static void test_placing_goes_away(void **state)
{
	struct store *store = store_new();
	struct cfs_node_cache *cache = cache_new(1 << 20);
	struct cfs_tree *tree = tree_open(store, cache, 1, 1, NULL);
	struct eater eater = { .tree = tree, .end = 1000 };
	struct model model = { .count = 0 };
	struct walk_sums sums;

	(void)state;
	for (uint32_t i = 0; i < 1003; i++) {
		/* Written in order, and so placed in order: first eaten. */
		struct cfs_key key = { .w = { i } };

		model_put(&model, &key, i, 700);
		assert_int_equal(tree_put_seeded(tree, &key, i, 700, NULL), 0);
	}
	store->changed = eater_changed;
	store->arg = &eater;
	tree_commit(store, tree);
	assert_in_range(eater.next, 900, 1000);
	while (model.count > 1003 - eater.next)
		model_del(&model, 0);
	assert_true(store->release_count > 0);
	sums = tree_sums(store, tree);
	assert_int_equal(sums.block_count, store_live_count(store));
	assert_int_equal(store->alloc_count - store->release_count,
			 sums.node_count);
	assert_tree_is(tree, &model);
	model_done(&model);
	cfs_tree_close(tree);
	cfs_node_cache_free(cache);
	store_free(store);
}

/* A container that could not commit is closed with its changes. */
static void test_close_in_between(void **state)
{
	struct world w;
	uint64_t budget = UINT64_MAX;

	(void)state;
	world_init(&w, 1 << 20, 5);
	world_change(&w, 500, 9);
	w.account.fail_at = 40;
	assert_int_equal(cfs_tree_place(w.trees[0], &budget, NULL), -ENOSPC);
	world_done(&w);
	world_init(&w, 1 << 20, 5);
	world_change(&w, 500, 9);
	trees_write(w.trees, 2);
	world_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_space),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_path_only),
		cmocka_unit_test(test_placed_changes),
		cmocka_unit_test(test_place_again),
		cmocka_unit_test(test_placing_goes_away),
		cmocka_unit_test(test_close_in_between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
