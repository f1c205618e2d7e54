/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Memory of pages: each has its own, aligned for direct I/O; those that are
 * given back serve again; and rest gives all of them back, but for those that
 * are in use, whose content stays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "volume/vols_priv.h"

#include <pthread.h>
#include <string.h>

#define COUNT   200u
#define THREADS 4u
#define ROUNDS  2000u

static void assert_filled(const uint8_t *data, unsigned int fill)
{
	uint8_t want[CFS_BLOCK_BYTES];

	memset(want, (int)fill, sizeof(want));
	assert_memory_equal(data, want, sizeof(want));
}

static void get_all(uint8_t **pages)
{
	for (unsigned int i = 0; i < COUNT; i++) {
		pages[i] = cfs_page_data_alloc();
		assert_non_null(pages[i]);
		assert_int_equal((uintptr_t)pages[i] % CFS_BLOCK_BYTES, 0);
		memset(pages[i], (int)i, CFS_BLOCK_BYTES);
	}
}

static void test_reuse(void **state)
{
	uint8_t *pages[COUNT];
	size_t most;

	(void)state;
	cfs_page_data_rest();
	assert_int_equal(cfs_page_data_count(), 0);
	get_all(pages);
	for (unsigned int i = 0; i < COUNT; i++)
		assert_filled(pages[i], i);
	most = cfs_page_data_count();
	assert_in_range(most, COUNT, 2 * COUNT);
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < COUNT; i++)
			cfs_page_data_free(pages[i]);
		get_all(pages);
	}
	assert_int_equal(cfs_page_data_count(), most);
	for (unsigned int i = 0; i < COUNT; i++)
		cfs_page_data_free(pages[i]);
	cfs_page_data_free(NULL);
	cfs_page_data_rest();
	assert_int_equal(cfs_page_data_count(), 0);
}

static void test_rest_beside_use(void **state)
{
	uint8_t *pages[COUNT];

	(void)state;
	get_all(pages);
	for (unsigned int i = 1; i < COUNT; i++)
		if (i != 100)
			cfs_page_data_free(pages[i]);
	cfs_page_data_rest();
	assert_true(cfs_page_data_count() > 0);
	assert_filled(pages[0], 0);
	assert_filled(pages[100], 100);
	cfs_page_data_free(pages[0]);
	cfs_page_data_free(pages[100]);
	get_all(pages);
	for (unsigned int i = 0; i < COUNT; i++) {
		assert_filled(pages[i], i);
		cfs_page_data_free(pages[i]);
	}
	cfs_page_data_rest();
	assert_int_equal(cfs_page_data_count(), 0);
}

/* Nobody has what another has. */
static void *take_turns(void *arg)
{
	const unsigned int fill = *(const unsigned int *)arg;
	uint8_t *pages[8];

	for (unsigned int i = 0; i < ROUNDS; i++) {
		for (unsigned int k = 0; k < 8; k++) {
			pages[k] = cfs_page_data_alloc();
			if (!pages[k])
				return NULL;
			memset(pages[k], (int)fill, CFS_BLOCK_BYTES);
		}
		for (unsigned int k = 0; k < 8; k++) {
			if (pages[k][0] != fill ||
			    pages[k][CFS_BLOCK_BYTES - 1] != fill)
				return NULL;
			cfs_page_data_free(pages[k]);
		}
		if (i % 100 == 0)
			cfs_page_data_rest();
	}
	return arg;
}

static void test_threads(void **state)
{
	unsigned int fills[THREADS];
	pthread_t threads[THREADS];
	void *done;

	(void)state;
	for (unsigned int i = 0; i < THREADS; i++) {
		fills[i] = i + 1;
		assert_int_equal(pthread_create(&threads[i], NULL, take_turns,
						&fills[i]),
				 0);
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &done), 0);
		assert_ptr_equal(done, &fills[i]);
	}
	cfs_page_data_rest();
	assert_int_equal(cfs_page_data_count(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_rest_beside_use),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
