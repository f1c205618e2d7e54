/* SPDX-License-Identifier: GPL-3.0-or-later */
/* NAME records: keys as cfs(5) has them, and lists of places. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/xxh.h"
#include "ondisk/snapname.h"

#include <errno.h>
#include <string.h>

static void words_are(const char *name, const char *head, uint64_t tail)
{
	uint64_t w1, w2;

	cfs_snapname_words(name, strlen(name), &w1, &w2);
	assert_true(w1 == cfs_xxh3(head, strlen(head)));
	assert_true(w2 == tail);
}

static void test_words(void **state)
{
	(void)state;
	words_are("a", "", UINT64_C(0x6100000000000000));
	words_are("12345678", "", UINT64_C(0x3132333435363738));
	words_are("n12345678", "n", UINT64_C(0x3132333435363738));
	words_are("daily-2026-01-01", "daily-20", UINT64_C(0x32362d30312d3031));
}

static void test_places(void **state)
{
	struct cfs_snapname_rec rec = { .count = 0 }, back;
	uint8_t value[CFS_VALUE_BYTES_MAX];

	(void)state;
	assert_true(cfs_snapname_rec_add(&rec, cfs_snapname_place(7, 500)));
	assert_true(cfs_snapname_rec_add(&rec, cfs_snapname_place(9, 20)));
	assert_true(cfs_snapname_rec_add(&rec, cfs_snapname_place(7, 500)));
	assert_int_equal(rec.count, 2);
	assert_int_equal(cfs_snapname_rec_pack(&rec, value), 16);
	/* Stamp 20, branch 9. */
	assert_memory_equal(value, "\x09\0\x14\0\0\0\0\0", 8);
	assert_int_equal(cfs_snapname_rec_unpack(value, 16, &back, NULL), 0);
	assert_int_equal(back.count, 2);
	assert_int_equal(cfs_snapname_branch(back.places[1]), 7);
	assert_int_equal(cfs_snapname_stamp(back.places[1]), 500);
	assert_false(cfs_snapname_rec_remove(&rec, cfs_snapname_place(7, 20)));
	assert_true(cfs_snapname_rec_remove(&rec, cfs_snapname_place(9, 20)));
	assert_int_equal(rec.count, 1);
	assert_int_equal(cfs_snapname_stamp(rec.places[0]), 500);
}

static void test_full(void **state)
{
	struct cfs_snapname_rec rec = { .count = 0 }, back;
	uint8_t value[CFS_VALUE_BYTES_MAX];

	(void)state;
	for (uint64_t i = 0; i < CFS_SNAPNAME_PLACES_MAX; i++)
		assert_true(cfs_snapname_rec_add(&rec, 1000 - i));
	assert_false(cfs_snapname_rec_add(&rec, 5));
	assert_true(cfs_snapname_rec_add(&rec, 1000));
	assert_int_equal(
		cfs_snapname_rec_unpack(
			value, cfs_snapname_rec_pack(&rec, value), &back, NULL),
		0);
	assert_int_equal(back.count, CFS_SNAPNAME_PLACES_MAX);
}

static void test_bad(void **state)
{
	const uint8_t falling[16] = { [0] = 2, [8] = 1 };
	uint8_t much[CFS_VALUE_BYTES_MAX + 8] = { 0 };
	struct cfs_snapname_rec rec;

	(void)state;
	assert_int_equal(cfs_snapname_rec_unpack(much, 0, &rec, NULL),
			 -EUCLEAN);
	assert_int_equal(cfs_snapname_rec_unpack(much, 12, &rec, NULL),
			 -EUCLEAN);
	assert_int_equal(cfs_snapname_rec_unpack(falling, 16, &rec, NULL),
			 -EUCLEAN);
	/* Twice the same. */
	assert_int_equal(cfs_snapname_rec_unpack(much, 16, &rec, NULL),
			 -EUCLEAN);
	assert_int_equal(
		cfs_snapname_rec_unpack(much, sizeof(much), &rec, NULL),
		-EUCLEAN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
