/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Damaged and forged nodes: an operation that meets one fails with -EUCLEAN,
 * the rest of the tree stays usable, and nothing loops or crashes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "tree_store.h"

#define RECORDS 400u

struct fixture {
	struct store *store;
	struct cfs_node_cache *cache;
	struct cfs_tree *tree;
	struct cfs_tree_root root;
	struct model model;
};

/* A tree of three levels; checksums of addresses are no longer looked at. */
static void setup(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->store = store_new();
	f->cache = cache_new(1 << 20);
	f->tree = tree_open(f->store, f->cache, 1, 3, NULL);
	for (uint32_t i = 0; i < RECORDS; i++) {
		struct cfs_key key = { .w = { 7, i, 0 } };

		model_put(&f->model, &key, i, 800);
		assert_int_equal(tree_put_seeded(f->tree, &key, i, 800, NULL),
				 0);
	}
	tree_commit(f->store, f->tree);
	cfs_tree_root(f->tree, &f->root);
	assert_int_equal(f->root.level, 2);
	f->store->is_hostile = true;
}

static void reopen(struct fixture *f)
{
	cfs_tree_close(f->tree);
	f->tree = tree_open(f->store, f->cache, 1, 3, &f->root);
}

static void teardown(struct fixture *f)
{
	cfs_tree_close(f->tree);
	cfs_node_cache_free(f->cache);
	store_free(f->store);
	model_done(&f->model);
}

static struct cfs_node_header_disk *header(uint8_t *node)
{
	return (void *)node;
}

static uint8_t *record_at(uint8_t *node, unsigned int slot)
{
	le16 at;

	memcpy(&at, node + sizeof(struct cfs_node_header_disk) + 2 * slot,
	       sizeof(at));
	return node + le16_get(at);
}

static struct cfs_node_ref_disk *ref_at(uint8_t *node, unsigned int slot)
{
	return (void *)(record_at(node, slot) + 24);
}

static uint8_t *child_at(struct fixture *f, uint8_t *node, unsigned int slot)
{
	return store_block(f->store, le64_get(ref_at(node, slot)->vaddr[0]));
}

/* The nodes that are forged: all the way down at slot 1. */
struct victims {
	uint8_t *root, *middle, *leaf;
};

static struct victims victims(struct fixture *f)
{
	struct victims v;

	v.root = store_block(f->store, f->root.ref.vaddr[0]);
	v.middle = child_at(f, v.root, 1);
	v.leaf = child_at(f, v.middle, 1);
	return v;
}

static void slot_set(uint8_t *node, unsigned int slot, unsigned int value)
{
	le16 at = le16_put((uint16_t)value);

	memcpy(node + sizeof(struct cfs_node_header_disk) + 2 * slot, &at,
	       sizeof(at));
}

static unsigned int slot_get(const uint8_t *node, unsigned int slot)
{
	le16 at;

	memcpy(&at, node + sizeof(struct cfs_node_header_disk) + 2 * slot,
	       sizeof(at));
	return le16_get(at);
}

/* Each forges one thing and returns the node that is no longer accepted. */

static uint8_t *forge_cycle(struct fixture *f, struct victims *v)
{
	(void)f;
	ref_at(v->middle, 1)->vaddr[0] = le64_put(f->root.ref.vaddr[0]);
	return v->middle;
}

static uint8_t *forge_self(struct fixture *f, struct victims *v)
{
	(void)f;
	ref_at(v->middle, 1)->vaddr[0] = ref_at(v->root, 1)->vaddr[0];
	return v->middle;
}

static uint8_t *forge_duplicate(struct fixture *f, struct victims *v)
{
	(void)f;
	*ref_at(v->middle, 1) = *ref_at(v->middle, 2);
	return v->middle;
}

static uint8_t *forge_no_address(struct fixture *f, struct victims *v)
{
	(void)f;
	ref_at(v->middle, 1)->vaddr[0] = le64_put(0);
	return v->middle;
}

static uint8_t *forge_stamp(struct fixture *f, struct victims *v)
{
	(void)f;
	header(v->leaf)->stamp = le64_put(9);
	return v->leaf;
}

static uint8_t *forge_level(struct fixture *f, struct victims *v)
{
	(void)f;
	header(v->leaf)->level = 1;
	return v->leaf;
}

static uint8_t *forge_low(struct fixture *f, struct victims *v)
{
	(void)f;
	header(v->leaf)->low[0] = le64_put(6);
	return v->leaf;
}

static uint8_t *forge_high(struct fixture *f, struct victims *v)
{
	(void)f;
	header(v->leaf)->high[2] = le64_put(1);
	return v->leaf;
}

static uint8_t *forge_no_high(struct fixture *f, struct victims *v)
{
	(void)f;
	header(v->leaf)->flags = CFS_NODE_FLAG_NO_HIGH;
	return v->leaf;
}

static uint8_t *forge_unused_word(struct fixture *f, struct victims *v)
{
	(void)f;
	header(v->leaf)->key_words = 2;
	return v->leaf;
}

static uint8_t *forge_empty_leaf(struct fixture *f, struct victims *v)
{
	(void)f;
	header(v->leaf)->record_count = le16_put(0);
	return v->leaf;
}

static uint8_t *forge_single_child(struct fixture *f, struct victims *v)
{
	(void)f;
	header(v->middle)->record_count = le16_put(1);
	return v->middle;
}

static uint8_t *forge_first_key(struct fixture *f, struct victims *v)
{
	unsigned int count = le16_get(header(v->middle)->record_count);

	(void)f;
	/* The first child is left out. */
	for (unsigned int i = 1; i < count; i++)
		slot_set(v->middle, i - 1, slot_get(v->middle, i));
	header(v->middle)->record_count = le16_put((uint16_t)(count - 1));
	return v->middle;
}

/* Two records that share bytes but are in order and in the node. */
static uint8_t *forge_overlap(struct fixture *f, struct victims *v)
{
	unsigned int at = slot_get(v->leaf, 0), after = at + 100;
	uint8_t *a = v->leaf + at, *b = v->leaf + after;
	le16 n = le16_put(300);

	(void)f;
	memcpy(b, a, 24);
	b[16] = 1; /* the key's last word: one more */
	memcpy(b + 24, &n, sizeof(n));
	memcpy(a + 24, &n, sizeof(n));
	slot_set(v->leaf, 1, after);
	header(v->leaf)->record_count = le16_put(2);
	header(v->leaf)->records_start = le16_put((uint16_t)at);
	return v->leaf;
}

static uint8_t *forge_checksum(struct fixture *f, struct victims *v)
{
	(void)f;
	v->leaf[4000] ^= 1;
	return NULL;
}

static const struct {
	const char *what;
	uint8_t *(*forge)(struct fixture *f, struct victims *v);
} forgeries[] = {
	{ "bad magic or level", forge_cycle },
	{ "self", forge_self },
	{ "duplicate", forge_duplicate },
	{ "no address", forge_no_address },
	{ "stamp", forge_stamp },
	{ "level", forge_level },
	{ "low", forge_low },
	{ "high", forge_high },
	{ "no high", forge_no_high },
	{ "unused word", forge_unused_word },
	{ "empty leaf", forge_empty_leaf },
	{ "single child", forge_single_child },
	{ "first key", forge_first_key },
	{ "overlap", forge_overlap },
	{ "checksum", forge_checksum },
};

struct damage {
	unsigned int count;
	unsigned int visited;
};

static void damage_count(void *arg, const struct cfs_node_ref *ref,
			 unsigned int level, const struct cfs_err *why)
{
	struct damage *damage = arg;

	(void)ref;
	assert_true(level <= 2);
	assert_int_equal(why->code, -EUCLEAN);
	damage->count++;
}

static int visit_count(void *arg, const struct cfs_node_ref *ref,
		       unsigned int level, const void *node,
		       struct cfs_err *err)
{
	struct damage *damage = arg;

	(void)ref;
	(void)level;
	(void)node;
	(void)err;
	damage->visited++;
	return 0;
}

/* Every operation beside the damage works, every one on it fails. */
static void assert_contained(struct fixture *f, const char *what)
{
	struct damage damage = { .count = 0 };
	struct cfs_err err = CFS_ERR_INIT;
	unsigned int bad = 0;

	for (size_t i = 0; i < f->model.count; i++) {
		const struct model_record *record = &f->model.records[i];
		uint8_t value[CFS_VALUE_BYTES_MAX];
		struct cfs_cursor cur;
		size_t n = 0;
		int r = cfs_tree_get(f->tree, &record->key, value,
				     sizeof(value), &n, &err);

		if (r == 0) {
			assert_record(record, &record->key, value, n);
			continue;
		}
		if (r != -EUCLEAN)
			fail_msg("%s: %d", what, r);
		assert_int_equal(err.code, -EUCLEAN);
		bad++;
		assert_int_equal(cfs_tree_del(f->tree, &record->key, &err),
				 -EUCLEAN);
		assert_int_equal(
			tree_put_seeded(f->tree, &record->key, 1, 1, &err),
			-EUCLEAN);
		assert_int_equal(
			cfs_cursor_ge(&cur, f->tree, &record->key, &err),
			-EUCLEAN);
		assert_int_equal(
			cfs_cursor_le(&cur, f->tree, &record->key, &err),
			-EUCLEAN);
	}
	if (bad == 0 || bad > RECORDS / 2)
		fail_msg("%s: %u records lost", what, bad);
	assert_int_equal(cfs_tree_dirty_count(f->tree), 0);
	assert_int_equal(cfs_tree_walk(f->tree, visit_count, damage_count,
				       &damage, &err),
			 -EUCLEAN);
	assert_int_equal(damage.count, 1);
	assert_true(damage.visited + 1 <= f->root.node_count);
	assert_true(damage.visited > 10);
	assert_int_equal(
		cfs_tree_walk(f->tree, visit_count, NULL, &damage, NULL),
		-EUCLEAN);
}

static void test_forged(void **state)
{
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < sizeof(forgeries) / sizeof(*forgeries); i++) {
		struct victims v;
		uint8_t *node;

		setup(&f);
		v = victims(&f);
		node = forgeries[i].forge(&f, &v);
		if (node)
			cfs_node_seal(node);
		reopen(&f);
		assert_contained(&f, forgeries[i].what);
		teardown(&f);
	}
}

static void test_root(void **state)
{
	struct fixture f;
	struct cfs_tree_root root;
	struct cfs_tree_config config = {
		.tree_id = 1,
		.key_words = 3,
		.container_id = STORE_CONTAINER,
		.ops = &store_ops,
	};
	struct cfs_tree *tree;
	size_t n;

	(void)state;
	setup(&f);
	root = f.root;
	config.ctx = f.store;
	/* A level that the root node does not have, and one that none has. */
	f.root.level = 1;
	reopen(&f);
	assert_int_equal(cfs_tree_get(f.tree, &f.model.records[0].key, NULL, 0,
				      &n, NULL),
			 -EUCLEAN);
	f.root.level = CFS_NODE_LEVEL_MAX + 1;
	assert_int_equal(cfs_tree_open(&config, &f.root, f.cache, &tree, NULL),
			 -EUCLEAN);
	/* A node from inside the tree does not cover all keys. */
	f.root = root;
	f.root.ref.vaddr[0] = (uint64_t)(victims(&f).middle - f.store->data) /
			      CFS_NODE_BYTES;
	f.root.level = 1;
	reopen(&f);
	assert_int_equal(cfs_tree_get(f.tree, &f.model.records[0].key, NULL, 0,
				      &n, NULL),
			 -EUCLEAN);
	f.root = root;
	reopen(&f);
	assert_tree_is(f.tree, &f.model);
	teardown(&f);
}

/* Hostile counters of the root do not run below nothing. */
static void test_root_counters(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f);
	f.root.record_count = 3;
	f.root.node_count = 1;
	reopen(&f);
	for (size_t i = 0; i < f.model.count; i++)
		assert_int_equal(
			cfs_tree_del(f.tree, &f.model.records[i].key, NULL), 0);
	assert_int_equal(cfs_tree_record_count(f.tree), 0);
	cfs_tree_root(f.tree, &f.root);
	assert_true(f.root.node_count <= 1);
	teardown(&f);
}

/*
 * A damaged leaf does not keep the records of its neighbours from being
 * removed, down to the last of each leaf.
 */
static void test_neighbours(void **state)
{
	struct fixture f;
	struct victims v;
	unsigned int removed = 0, kept = 0, damaged = 0;

	(void)state;
	setup(&f);
	v = victims(&f);
	v.leaf[4000] ^= 1;
	reopen(&f);
	for (size_t i = 0; i < f.model.count; i++) {
		struct cfs_err err = CFS_ERR_INIT;
		const struct cfs_key *key = &f.model.records[i].key;
		uint8_t value[CFS_VALUE_BYTES_MAX];
		size_t n;
		int r = cfs_tree_del(f.tree, key, &err);

		if (r == 0) {
			assert_int_equal(cfs_tree_get(f.tree, key, value,
						      sizeof(value), &n, &err),
					 -ENOENT);
			removed++;
			continue;
		}
		assert_int_equal(r, -EUCLEAN);
		assert_int_equal(err.code, -EUCLEAN);
		r = cfs_tree_get(f.tree, key, value, sizeof(value), &n, &err);
		damaged += r == -EUCLEAN;
		kept += r == 0;
	}
	/* Four records in a leaf; one stays on each side of it. */
	assert_in_range(damaged, 3, 5);
	assert_true(kept <= 2);
	assert_int_equal(removed, RECORDS - damaged - kept);
	assert_int_equal(cfs_tree_record_count(f.tree), damaged + kept);
	teardown(&f);
}

/* With a sound neighbour on the other side, a leaf may become empty. */
static void test_other_neighbour(void **state)
{
	struct fixture f;
	struct victims v;
	struct cfs_key key;

	(void)state;
	setup(&f);
	v = victims(&f);
	v.leaf[4000] ^= 1;
	reopen(&f);
	/* The leaf right of the damaged one: its left is looked at first. */
	for (unsigned int i = 0; i < 3; i++) {
		le64 w;

		memcpy(&w, record_at(v.middle, 2) + 8 * i, sizeof(w));
		key.w[i] = le64_get(w);
	}
	for (unsigned int i = 0; i < 4; i++, key.w[1]++)
		assert_int_equal(cfs_tree_del(f.tree, &key, NULL), 0);
	teardown(&f);
}

/*
 * Bytes changed at random under a good checksum: whatever comes out, the tree
 * answers, and what it wrote can be read again.
 */
static void test_flips(void **state)
{
	struct cfs_rng rng;

	(void)state;
	cfs_rng_init(&rng, 11);
	for (unsigned int round = 0; round < 150; round++) {
		struct fixture f;
		struct victims v;
		uint8_t *nodes[3], *node;
		struct damage damage = { .count = 0 };

		setup(&f);
		v = victims(&f);
		nodes[0] = v.root;
		nodes[1] = v.middle;
		nodes[2] = v.leaf;
		node = nodes[cfs_rng_below(&rng, 3)];
		for (unsigned int i = 0; i < 1 + round % 4; i++) {
			/* Rather in the header and the slots. */
			size_t at = 8 + (size_t)cfs_rng_below(
						&rng, round % 2 ? 4088 : 220);
			unsigned int bit = (unsigned int)cfs_rng_below(&rng, 8);

			node[at] = (uint8_t)(node[at] ^ 1u << bit);
		}
		cfs_node_seal(node);
		reopen(&f);
		cfs_tree_walk(f.tree, visit_count, NULL, &damage, NULL);
		assert_true(damage.visited <= f.root.node_count);
		for (size_t i = 0; i < RECORDS; i++) {
			struct cfs_key key = f.model.records[i].key;
			struct cfs_cursor cur;
			uint8_t value[64];
			size_t n;

			cfs_tree_get(f.tree, &key, value, sizeof(value), &n,
				     NULL);
			if (cfs_cursor_le(&cur, f.tree, &key, NULL) == 0)
				cfs_cursor_next(&cur, NULL);
			if (i % 3 == 0)
				cfs_tree_del(f.tree, &key, NULL);
			key.w[2] = i;
			if (i % 4 == 0)
				tree_put_seeded(f.tree, &key, 1, 1000, NULL);
		}
		/* The store's book of blocks is not true any more. */
		teardown(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forged),
		cmocka_unit_test(test_root),
		cmocka_unit_test(test_root_counters),
		cmocka_unit_test(test_neighbours),
		cmocka_unit_test(test_other_neighbour),
		cmocka_unit_test(test_flips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
