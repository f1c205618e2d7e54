/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Map records: keys, versions, extents, space. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "ondisk/map.h"
#include "ondisk_image.h"

static const struct cfs_extent_rec EXTENT = {
	.version = { .stamp = 0x111213141516,
		     .seq = 0x1718,
		     .death = 0x212223242526,
		     .flags = 0x2728 & ~1 },
	.vaddr = 0x313233000003,
	.count = 0x3738,
	.csum = 0x4142434445464748,
};

static const struct image_field FIELDS[] = {
	{ 0, 8, 0x1112131415161718, NULL },
	{ 8, 8, 0x2122232425262728, NULL },
	{ 16, 8, 0x3132330000033738, NULL },
	{ 24, 8, 0x4142434445464748, NULL },
};

static void test_bytes(void **state)
{
	struct cfs_extent_rec_disk disk;
	struct cfs_extent_rec rec;
	uint8_t image[32];

	(void)state;
	IMAGE_MAKE(image, FIELDS);
	cfs_extent_rec_pack(&EXTENT, &disk);
	assert_true(image_is_equal(&disk, image, sizeof(image)));
	assert_int_equal(cfs_extent_rec_unpack(image, 32, &rec, NULL), 0);
	assert_true(rec.version.stamp == EXTENT.version.stamp);
	assert_true(rec.version.death == EXTENT.version.death);
	assert_true(rec.version.seq == EXTENT.version.seq);
	assert_true(rec.version.flags == EXTENT.version.flags);
	assert_true(rec.vaddr == EXTENT.vaddr && rec.csum == EXTENT.csum);
	assert_true(rec.count == EXTENT.count);
}

static int unpack(struct cfs_extent_rec rec, unsigned int count)
{
	struct cfs_extent_rec_disk disk;

	cfs_extent_rec_pack(&rec, &disk);
	disk.vaddr_count = le64_put(rec.vaddr << 16 | count);
	return cfs_extent_rec_unpack(&disk, sizeof(disk), &rec, NULL);
}

static void test_extent_fields(void **state)
{
	struct cfs_extent_rec rec = { .version.stamp = 5, .count = 1 };
	struct cfs_extent_rec_disk disk;

	(void)state;
	assert_int_equal(unpack(rec, 1), 0); /* a hole */
	assert_int_equal(unpack(rec, 0xffff), 0);
	assert_int_equal(unpack(rec, 0), -EUCLEAN);
	rec.version.flags = CFS_VERSION_WHITEOUT;
	assert_int_equal(unpack(rec, 9), 0);
	rec.vaddr = cfs_vaddr(1, 9);
	assert_int_equal(unpack(rec, 9), -EUCLEAN);
	rec.version.flags = 0;
	assert_int_equal(unpack(rec, 9), 0);
	rec.vaddr = cfs_vaddr(1, 0x3fffff);
	assert_int_equal(unpack(rec, 1), 0);
	assert_int_equal(unpack(rec, 2), -EUCLEAN);
	rec.version.death = 5;
	assert_int_equal(unpack(rec, 1), -EUCLEAN);
	rec.version.death = 6;
	assert_int_equal(unpack(rec, 1), 0);
	cfs_extent_rec_pack(&rec, &disk);
	for (size_t n = 0; n < sizeof(disk); n++)
		assert_int_equal(cfs_extent_rec_unpack(&disk, n, &rec, NULL),
				 -EUCLEAN);
}

static void test_version(void **state)
{
	struct cfs_version v = { .stamp = CFS_STAMP_MAX,
				 .seq = 0xffff,
				 .flags = 0xffff },
			   back;
	struct cfs_version_disk disk;
	uint8_t bytes[20] = { 0 };

	(void)state;
	cfs_version_pack(&v, &disk);
	memcpy(bytes + 1, &disk, sizeof(disk)); /* unaligned */
	assert_int_equal(cfs_version_unpack(bytes + 1, 19, &back, NULL), 0);
	assert_true(back.stamp == CFS_STAMP_MAX && back.seq == 0xffff);
	assert_true(back.death == 0 && back.flags == 0xffff);
	for (size_t n = 0; n < sizeof(disk); n++)
		assert_int_equal(cfs_version_unpack(&disk, n, &back, NULL),
				 -EUCLEAN);
}

/* Newest first: a higher stamp, then a higher seq, sorts lower. */
static void test_words(void **state)
{
	(void)state;
	assert_true(cfs_map_word0(0x1112, 0x212223242526) ==
		    0x1112212223242526);
	assert_true(cfs_map_word1(CFS_MAP_EXTENT, 7) ==
		    (UINT64_C(8) << 60 | 7));
	assert_true(cfs_map_version_word(0, 0) == UINT64_MAX);
	assert_true(cfs_map_version_word(CFS_STAMP_MAX, 0xffff) == 0);
	assert_true(cfs_map_version_word(5, 9) < cfs_map_version_word(5, 8));
	assert_true(cfs_map_version_word(6, 0) <
		    cfs_map_version_word(5, 0xffff));
}

static void test_space(void **state)
{
	struct cfs_space_group_disk g = { { 0 } };

	(void)state;
	cfs_space_group_set(&g, 0);
	cfs_space_group_set(&g, 9);
	cfs_space_group_set(&g, 125);
	assert_int_equal(g.used[0], 0x01);
	assert_int_equal(g.used[1], 0x02);
	assert_int_equal(g.used[15], 0x20);
	for (unsigned int i = 0; i < CFS_TAGS_PER_PAGE; i++)
		assert_int_equal(cfs_space_group_test(&g, i),
				 i == 0 || i == 9 || i == 125);
	cfs_space_group_clear(&g, 9);
	cfs_space_group_clear(&g, 10);
	assert_false(cfs_space_group_test(&g, 9));
	assert_int_equal(g.used[0], 0x01);
}

static const struct CMUnitTest TESTS[] = {
	cmocka_unit_test(test_bytes),   cmocka_unit_test(test_extent_fields),
	cmocka_unit_test(test_version), cmocka_unit_test(test_words),
	cmocka_unit_test(test_space),
};

CMOCKA_MAIN(TESTS)
