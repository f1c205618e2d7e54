/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * When changes that nobody syncs are committed: with few dirty nodes not before
 * their records are many, however often a little is changed; and a sync of more
 * than a frame takes makes them durable all the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "heal_fixture.h"

#define LUN_BYTES   ((uint64_t)1024 * HEAL_BLOCK)
#define VALUE_BYTES 1024u
/* A table of nobody's. */
#define TABLE       0x7fu

static const struct cfs_key key = { { (uint64_t)TABLE << 56, 1, 0 } };

/* @count operations with a record of a little above 1 KiB each. */
static void change(struct cfs_container *c, unsigned int count, uint8_t fill)
{
	uint8_t value[VALUE_BYTES];

	memset(value, fill, sizeof(value));
	for (unsigned int i = 0; i < count; i++) {
		HEAL_OK(cfs_op_begin(c, CFS_OP_FREEING, &err_));
		HEAL_OK(cfs_container_put(c, &key, value, sizeof(value),
					  &err_));
		cfs_op_end(c);
	}
}

static void assert_value(struct cfs_container *c, uint8_t fill)
{
	uint8_t value[VALUE_BYTES], want[VALUE_BYTES];
	size_t bytes = 0;

	memset(want, fill, sizeof(want));
	cfs_container_lock(c);
	HEAL_OK(cfs_container_get(c, &key, value, sizeof(value), &bytes,
				  &err_));
	cfs_container_unlock(c);
	assert_int_equal(bytes, sizeof(want));
	assert_memory_equal(value, want, sizeof(want));
}

static void forget(struct cfs_container *c)
{
	HEAL_OK(cfs_op_begin(c, CFS_OP_FREEING, &err_));
	HEAL_OK(cfs_container_del(c, &key, &err_));
	cfs_op_end(c);
}

static void test_few_nodes(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	struct cfs_container *c = h.lun->container;
	uint64_t seq;

	(void)state;
	HEAL_OK(cfs_container_commit(c, &err_));
	seq = cfs_container_root_seq(c);
	change(c, 3 * 1024, 1);
	assert_int_equal(cfs_container_root_seq(c), seq);
	change(c, 2 * 1024, 2);
	assert_int_equal(cfs_container_root_seq(c), seq + 1);
	assert_value(c, 2);
	forget(c);
	heal_check_clean(&h);
	heal_free(&h);
}

/* Much is not kept in memory while nobody is at work; a little is. */
static void test_rest(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	struct cfs_container *c = h.lun->container;
	uint64_t seq;

	(void)state;
	HEAL_OK(cfs_container_commit(c, &err_));
	seq = cfs_container_root_seq(c);
	change(c, 512, 1);
	cfs_pool_rest(h.pool);
	assert_int_equal(cfs_container_root_seq(c), seq);
	change(c, 2 * 1024, 2);
	cfs_pool_rest(h.pool);
	assert_int_equal(cfs_container_root_seq(c), seq + 1);
	assert_value(c, 2);
	forget(c);
	heal_check_clean(&h);
	heal_free(&h);
}

/* What a crash leaves is what was synced. */
static void test_sync_of_many(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	struct cfs_container *c = h.lun->container;
	uint64_t seq;

	(void)state;
	HEAL_OK(cfs_container_commit(c, &err_));
	seq = cfs_container_root_seq(c);
	change(c, 3 * 1024, 3);
	HEAL_OK(cfs_container_sync(c, &err_));
	assert_int_equal(cfs_container_root_seq(c), seq + 1);
	change(c, 100, 4);
	HEAL_OK(cfs_container_sync(c, &err_));
	change(c, 100, 5);
	/* From here on it is as after a crash. */
	cfs_container_lock(c);
	cfs_container_close_for_writing(c, "the test is over");
	cfs_container_unlock(c);
	(void)cfs_pool_close(h.pool, NULL);
	heal_open(&h, false);
	heal_members(&h);
	c = h.lun->container;
	assert_value(c, 4);
	forget(c);
	heal_check_clean(&h);
	heal_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_few_nodes),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_sync_of_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
