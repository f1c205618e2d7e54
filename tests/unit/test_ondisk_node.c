/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Nodes: what a verified one guarantees to the tree code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/xxh.h"
#include "ondisk/node.h"
#include "ondisk_image.h"

#define TREE      2u
#define CONTAINER 0x5152535455565758u
#define NO_HIGH   1u

/*
 * A leaf by hand: keys of two words (1, i), values of i + 1 bytes, in a range
 * that begins at (1, 0) and ends before (1, 9).
 */
static void leaf_make(uint8_t *n, unsigned int count)
{
	size_t at = 4096;

	memset(n, 0, 4096);
	image_put(n, 0, 4, 0x444e4643);
	image_put(n, 4, 2, 1);
	n[6] = TREE;
	n[8] = 2;
	image_put(n, 10, 2, count);
	image_put(n, 16, 8, 0x1122);
	image_put(n, 24, 8, 0x3344);
	image_put(n, 32, 8, CONTAINER);
	image_put(n, 40, 8, 1);
	image_put(n, 64, 8, 1);
	image_put(n, 72, 8, 9);
	for (unsigned int i = 0; i < count; i++) {
		at -= 16 + 2 + i + 1;
		image_put(n, at, 8, 1);
		image_put(n, at + 8, 8, i);
		image_put(n, at + 16, 2, i + 1);
		image_put(n, 96 + 2 * i, 2, at);
	}
	image_put(n, 12, 2, at);
	cfs_node_seal(n);
}

static void interior_make(uint8_t *n, unsigned int count)
{
	size_t at = 4096;

	leaf_make(n, 0);
	n[7] = 1;
	image_put(n, 10, 2, count);
	for (unsigned int i = 0; i < count; i++) {
		at -= 16 + 32;
		image_put(n, at, 8, 1);
		image_put(n, at + 8, 8, i);
		image_put(n, at + 16, 8, 0x400000 + i);
		image_put(n, 96 + 2 * i, 2, at);
	}
	image_put(n, 12, 2, at);
	cfs_node_seal(n);
}

static int verify(const uint8_t *n, int level)
{
	return cfs_node_verify(n, TREE, level, 2, CONTAINER, NULL);
}

static int poked(size_t offset, unsigned int bytes, uint64_t value)
{
	uint8_t n[4096];

	leaf_make(n, 4);
	image_put(n, offset, bytes, value);
	cfs_node_seal(n);
	return verify(n, 0);
}

static void test_sound(void **state)
{
	uint8_t n[4096], copy[4096];

	(void)state;
	leaf_make(n, 4);
	assert_int_equal(verify(n, 0), 0);
	assert_int_equal(verify(n, -1), 0);
	assert_int_equal(verify(n, 1), -EUCLEAN);
	memcpy(copy, n, 4096);
	image_put(copy, 88, 8, 0);
	assert_true(image_get(n, 88, 8) == cfs_xxh3(copy, 4096));
	leaf_make(n, 0);
	assert_int_equal(verify(n, 0), 0);
	interior_make(n, 4);
	assert_int_equal(verify(n, 1), 0);
	interior_make(n, 0);
	assert_int_equal(verify(n, 1), -EUCLEAN);
}

static void test_every_bit_counts(void **state)
{
	uint8_t n[4096];

	(void)state;
	leaf_make(n, 4);
	for (size_t bit = 0; bit < 4096 * 8; bit++) {
		n[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		assert_int_equal(verify(n, -1), -EUCLEAN);
		n[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	assert_int_equal(verify(n, -1), 0);
}

static void test_identity(void **state)
{
	uint8_t n[4096];

	(void)state;
	assert_int_equal(poked(4, 2, 2), -ENOTSUP);
	assert_int_equal(poked(4, 2, 0), -EUCLEAN);
	assert_int_equal(poked(6, 1, 3), -EUCLEAN);
	assert_int_equal(poked(8, 1, 3), -EUCLEAN);
	assert_int_equal(poked(9, 1, 2), -EUCLEAN);
	assert_int_equal(poked(32, 8, 1), -EUCLEAN);
	leaf_make(n, 4);
	assert_int_equal(cfs_node_verify(n, TREE, 0, 3, CONTAINER, NULL),
			 -EUCLEAN);
	n[7] = 13;
	cfs_node_seal(n);
	assert_int_equal(verify(n, -1), -EUCLEAN);
}

static void test_bounds(void **state)
{
	(void)state;
	assert_int_equal(poked(10, 2, 0xffff), -EUCLEAN); /* count */
	assert_int_equal(poked(12, 2, 0xffff), -EUCLEAN); /* start */
	assert_int_equal(poked(12, 2, 4096), -EUCLEAN);
	assert_int_equal(poked(12, 2, 96), -EUCLEAN); /* over the slots */
	assert_int_equal(poked(12, 2, 103), -EUCLEAN);
	assert_int_equal(poked(12, 2, 104), 0);
	assert_int_equal(poked(96, 2, 0), -EUCLEAN); /* slot: header */
	assert_int_equal(poked(96, 2, 4096), -EUCLEAN);
	assert_int_equal(poked(96, 2, 4095), -EUCLEAN);
	assert_int_equal(poked(96, 2, 4080), -EUCLEAN);
	/* The first record is at 4096 - 19, its length at + 16. */
	assert_int_equal(poked(4096 - 19 + 16, 2, 2), -EUCLEAN);
	assert_int_equal(poked(4096 - 19 + 16, 2, 0xffff), -EUCLEAN);
	assert_int_equal(poked(4096 - 19 + 16, 2, 0), 0);
}

static void test_long_value(void **state)
{
	uint8_t n[4096];

	(void)state;
	leaf_make(n, 1);
	image_put(n, 12, 2, 1000);
	image_put(n, 96, 2, 1000);
	image_put(n, 1000, 8, 1);
	image_put(n, 1016, 2, CFS_VALUE_BYTES_MAX);
	cfs_node_seal(n);
	assert_int_equal(verify(n, 0), 0);
	image_put(n, 1016, 2, CFS_VALUE_BYTES_MAX + 1);
	cfs_node_seal(n);
	assert_int_equal(verify(n, 0), -EUCLEAN);
}

/* Slots may not name one record twice, whatever its key. */
static void test_keys(void **state)
{
	uint8_t n[4096];

	(void)state;
	leaf_make(n, 4);
	image_put(n, 98, 2, image_get(n, 96, 2));
	cfs_node_seal(n);
	assert_int_equal(verify(n, 0), -EUCLEAN);
	leaf_make(n, 4);
	image_put(n, 96, 2, image_get(n, 98, 2));
	cfs_node_seal(n);
	assert_int_equal(verify(n, 0), -EUCLEAN);
	/* low and high: the first key is (1, 0), the last (1, 3). */
	assert_int_equal(poked(48, 8, 1), -EUCLEAN);
	assert_int_equal(poked(40, 8, 0), 0);
	assert_int_equal(poked(72, 8, 3), -EUCLEAN);
	assert_int_equal(poked(72, 8, 4), 0);
	assert_int_equal(poked(64, 8, 0), -EUCLEAN);
	leaf_make(n, 4);
	n[9] = NO_HIGH;
	image_put(n, 72, 8, 0);
	cfs_node_seal(n);
	assert_int_equal(verify(n, 0), 0);
}

static void test_interior_bounds(void **state)
{
	uint8_t n[4096];

	(void)state;
	interior_make(n, 4);
	image_put(n, 96, 2, 4096 - 47);
	cfs_node_seal(n);
	assert_int_equal(verify(n, 1), -EUCLEAN);
	/* As many as fit: 80 records of 48 bytes and 80 slots. */
	interior_make(n, 80);
	image_put(n, 72, 8, 80);
	cfs_node_seal(n);
	assert_int_equal(verify(n, 1), 0);
}

static const struct CMUnitTest TESTS[] = {
	cmocka_unit_test(test_sound),
	cmocka_unit_test(test_every_bit_counts),
	cmocka_unit_test(test_identity),
	cmocka_unit_test(test_bounds),
	cmocka_unit_test(test_long_value),
	cmocka_unit_test(test_keys),
	cmocka_unit_test(test_interior_bounds),
};

CMOCKA_MAIN(TESTS)
