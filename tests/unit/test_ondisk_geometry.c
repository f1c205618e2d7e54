/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Geometry of every slice size, and the places on a device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ondisk/geometry.h"
#include "ondisk/tag.h"
#include "ondisk_image.h"

static void sizes(void (*fn)(const struct cfs_slice_geometry *g))
{
	for (uint64_t b = CFS_SLICE_BYTES_MIN; b <= CFS_SLICE_BYTES_MAX;
	     b *= 2) {
		struct cfs_slice_geometry g;

		assert_int_equal(cfs_slice_geometry_init(b, &g, NULL), 0);
		assert_true(g.slice_bytes == b);
		assert_int_equal(g.block_count, b / 4096);
		fn(&g);
	}
}

/* Computed by hand from the rules. */
static void test_known(void **state)
{
	static const struct {
		uint64_t slice_bytes;
		uint32_t groups, start, data;
	} known[] = {
		{ UINT64_C(1) << 20, 2, 3, 250 },
		{ UINT64_C(2) << 20, 4, 5, 502 },
		{ UINT64_C(4) << 20, 8, 9, 1006 },
		{ UINT64_C(8) << 20, 16, 17, 2014 },
		{ UINT64_C(16) << 20, 32, 48, 4015 },
		{ UINT64_C(64) << 20, 128, 144, 16111 },
	};
	struct cfs_slice_geometry g;

	(void)state;
	for (size_t i = 0; i < CFS_ARRAY_COUNT(known); i++) {
		assert_int_equal(
			cfs_slice_geometry_init(known[i].slice_bytes, &g, NULL),
			0);
		assert_int_equal(g.group_count, known[i].groups);
		assert_int_equal(g.data_start, known[i].start);
		assert_int_equal(g.data_count, known[i].data);
	}
}

static uint32_t data_with(const struct cfs_slice_geometry *g, uint32_t t)
{
	uint32_t start = 1 + t;

	if (g->slice_bytes >= CFS_SLICE_PAD_FROM)
		start = (start + 15) / 16 * 16;
	return g->block_count - 1 - t - start;
}

static void check_minimal(const struct cfs_slice_geometry *g)
{
	uint32_t over = g->block_count - g->data_count;

	assert_true(g->data_count <= 126 * g->group_count);
	assert_int_equal(g->data_count, data_with(g, g->group_count));
	for (uint32_t t = 0; t < g->group_count; t++)
		assert_true(data_with(g, t) > 126 * t);
	if (g->slice_bytes >= CFS_SLICE_BYTES_MIN * 2)
		assert_true((uint64_t)over * 100 <= g->block_count * 2ull);
	else
		assert_true((uint64_t)over * 1000 <= g->block_count * 24ull);
	if (g->slice_bytes >= CFS_SLICE_PAD_FROM)
		assert_int_equal(g->data_start % 16, 0);
}

static void test_minimal(void **state)
{
	(void)state;
	sizes(check_minimal);
}

/* Each block has one use at most, each data block one group and index. */
static void check_cover(const struct cfs_slice_geometry *g)
{
	uint8_t *use = calloc(g->block_count, 1);
	uint32_t covered = 0;

	assert_non_null(use);
	for (unsigned int slot = 0; slot < 2; slot++) {
		use[cfs_geometry_header_block(g, slot)]++;
		for (uint32_t t = 0; t < g->group_count; t++)
			use[cfs_geometry_tags_block(g, t, slot)]++;
	}
	for (uint32_t t = 0; t < g->group_count; t++) {
		uint32_t start = cfs_geometry_group_start(g, t);
		uint32_t n = cfs_geometry_group_blocks(g, t);

		assert_true(n <= 126);
		assert_true(t == g->group_count - 1 || n == 126);
		for (uint32_t i = 0; i < n; i++) {
			assert_true(cfs_geometry_is_data(g, start + i));
			assert_int_equal(cfs_geometry_group(g, start + i), t);
			assert_int_equal(cfs_geometry_index(g, start + i), i);
			use[start + i]++;
		}
		covered += n;
	}
	assert_int_equal(covered, g->data_count);
	for (uint32_t b = 0; b < g->block_count; b++) {
		bool is_pad = b > g->group_count && b < g->data_start;

		assert_int_equal(use[b], is_pad ? 0 : 1);
		assert_int_equal(cfs_geometry_is_data(g, b),
				 b >= g->data_start &&
					 b < g->data_start + g->data_count);
	}
	assert_false(cfs_geometry_is_data(g, g->block_count));
	assert_false(cfs_geometry_is_data(g, UINT32_MAX));
	free(use);
}

static void test_cover(void **state)
{
	(void)state;
	sizes(check_cover);
}

static void test_ends(void **state)
{
	struct cfs_slice_geometry g;

	(void)state;
	cfs_slice_geometry_init(CFS_SLICE_BYTES_MIN, &g, NULL);
	assert_int_equal(cfs_geometry_header_block(&g, 0), 0);
	assert_int_equal(cfs_geometry_header_block(&g, 1), 255);
	assert_int_equal(cfs_geometry_tags_block(&g, 0, 0), 1);
	assert_int_equal(cfs_geometry_tags_block(&g, 1, 0), 2);
	assert_int_equal(cfs_geometry_tags_block(&g, 0, 1), 253);
	assert_int_equal(cfs_geometry_tags_block(&g, 1, 1), 254);
}

static void test_refused(void **state)
{
	static const uint64_t bad[] = {
		0,
		1,
		4096,
		CFS_SLICE_BYTES_MIN - 1,
		CFS_SLICE_BYTES_MIN + 4096,
		CFS_SLICE_BYTES_MIN / 2,
		CFS_SLICE_BYTES_MAX * 2,
		3 * CFS_SLICE_BYTES_MIN,
		UINT64_MAX,
		UINT64_C(1) << 63,
	};
	struct cfs_slice_geometry g;

	(void)state;
	for (size_t i = 0; i < CFS_ARRAY_COUNT(bad); i++)
		assert_int_equal(cfs_slice_geometry_init(bad[i], &g, NULL),
				 -EINVAL);
}

static void test_labels(void **state)
{
	static const uint64_t size = UINT64_C(100) << 20;

	(void)state;
	for (uint64_t odd = 0; odd < 4096; odd += 511) {
		assert_true(cfs_label_offset_bytes(0, size + odd) == 4096);
		assert_true(cfs_label_offset_bytes(1, size + odd) == 32768);
		assert_true(cfs_label_offset_bytes(2, size + odd) ==
			    size - 65536);
		assert_true(cfs_label_offset_bytes(3, size + odd) ==
			    size - 4096);
	}
	assert_true(cfs_label_offset_bytes(3, size + 4096) == size);
}

static void test_seats(void **state)
{
	(void)state;
	assert_true(cfs_seat_offset_bytes(0, 0) == 65536);
	assert_true(cfs_seat_offset_bytes(0, 1) == 69632);
	assert_true(cfs_seat_offset_bytes(1, 0) == 73728);
	assert_true(cfs_seat_offset_bytes(CFS_SEAT_COUNT_LOCAL, 0) <=
		    CFS_SLICES_OFFSET_LOCAL);
	assert_true(cfs_seat_offset_bytes(CFS_SEAT_COUNT_SHARED, 0) <=
		    CFS_SLICES_OFFSET_SHARED);
}

static void test_slice_count(void **state)
{
	static const uint64_t mib = UINT64_C(1) << 20;

	(void)state;
	/* 64 MiB: 1 MiB before, 64 KiB behind, so 62 whole ones. */
	assert_true(cfs_device_slice_count(64 * mib, mib, mib) == 62);
	assert_true(cfs_device_slice_count(64 * mib + 65536, mib, mib) == 63);
	assert_true(cfs_device_slice_count(64 * mib + 65535, mib, mib) == 62);
	assert_true(cfs_device_slice_count(mib, mib, mib) == 0);
	assert_true(cfs_device_slice_count(0, mib, mib) == 0);
	assert_true(cfs_device_slice_count(65536, 0, mib) == 0);
	assert_true(cfs_device_slice_count(UINT64_MAX, UINT64_MAX, mib) == 0);
	assert_true(cfs_device_slice_count(64 * mib, mib, 0) == 0);
}

static void test_slice_default(void **state)
{
	static const uint64_t gib = UINT64_C(1) << 30;
	static const uint64_t mib = UINT64_C(1) << 20;

	(void)state;
	assert_true(cfs_slice_bytes_default(0) == mib);
	assert_true(cfs_slice_bytes_default(64 * mib) == mib);
	assert_true(cfs_slice_bytes_default(2 * gib - 1) == mib);
	assert_true(cfs_slice_bytes_default(2 * gib) == 2 * mib);
	assert_true(cfs_slice_bytes_default(100 * gib) == 64 * mib);
	assert_true(cfs_slice_bytes_default(UINT64_MAX) == 256 * mib);
}

static void test_vaddr(void **state)
{
	uint64_t v = cfs_vaddr(CFS_LSLICE_MAX, 0x3fffff);

	(void)state;
	assert_true(v == (UINT64_C(1) << 48) - 1);
	assert_true(cfs_vaddr_lslice(v) == CFS_LSLICE_MAX);
	assert_int_equal(cfs_vaddr_block(v), 0x3fffff);
	assert_true(cfs_vaddr(3, 5) == (UINT64_C(3) << 22 | 5));
}

static const struct CMUnitTest TESTS[] = {
	cmocka_unit_test(test_known),
	cmocka_unit_test(test_minimal),
	cmocka_unit_test(test_cover),
	cmocka_unit_test(test_ends),
	cmocka_unit_test(test_refused),
	cmocka_unit_test(test_labels),
	cmocka_unit_test(test_seats),
	cmocka_unit_test(test_slice_count),
	cmocka_unit_test(test_slice_default),
	cmocka_unit_test(test_vaddr),
};

CMOCKA_MAIN(TESTS)
