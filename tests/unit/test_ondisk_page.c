/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The page: bytes, checksum, identity, and which slot counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "ondisk/page.h"
#include "base/xxh.h"
#include "ondisk_image.h"

static const struct cfs_page PAGE = {
	.kind = CFS_PAGE_ROOT,
	.seq = 0x1112131415161718,
	.pool_lo = 0x2122232425262728,
	.owner = 0x3132333435363738,
	.address = 0x4142434445464748,
	.stamp = 0x515253545556,
	.epoch = 0x61626364,
	.generation = 0x71727374,
};

static const struct cfs_page_expect EXPECT = {
	.kind = CFS_PAGE_ROOT,
	.pool_lo = 0x2122232425262728,
	.owner = 0x3132333435363738,
	.address = 0x4142434445464748,
};

static const struct image_field FIELDS[] = {
	{ 0, 4, 0x47504643, NULL },
	{ 4, 2, 1, NULL },
	{ 6, 2, 5, NULL },
	{ 8, 8, 0x1112131415161718, NULL },
	{ 16, 8, 0x2122232425262728, NULL },
	{ 24, 8, 0x3132333435363738, NULL },
	{ 32, 8, 0x4142434445464748, NULL },
	{ 40, 8, 0x515253545556, NULL },
	{ 48, 4, 0x61626364, NULL },
	{ 52, 4, 0x71727374, NULL },
	{ 64, 0, 0, "payload" },
};

static void page_make(struct cfs_page_disk *disk, uint64_t seq)
{
	struct cfs_page page = PAGE;

	page.seq = seq;
	memset(disk, 0, sizeof(*disk));
	memcpy(disk->payload, "payload", 7);
	cfs_page_pack(&page, disk);
}

/* Anew, after a byte was changed on purpose. */
static void reseal(struct cfs_page_disk *disk)
{
	disk->csum = le64_put(0);
	disk->csum = le64_put(cfs_xxh3(disk, sizeof(*disk)));
}

static int unpack(const struct cfs_page_disk *disk,
		  const struct cfs_page_expect *expect)
{
	struct cfs_page_disk own = *disk;
	struct cfs_page page = { .seq = 0 }, own_page = { .seq = 0 };
	int r = cfs_page_unpack(disk, expect, &page, NULL);

	/* Both say the same, whatever they are asked here. */
	assert_int_equal(cfs_page_unpack_own(&own, expect, &own_page, NULL), r);
	assert_memory_equal(&own, disk, sizeof(own));
	assert_true(own_page.seq == page.seq && own_page.kind == page.kind);
	return r;
}

static void test_bytes(void **state)
{
	struct cfs_page_disk disk;
	uint8_t image[4096];

	(void)state;
	IMAGE_MAKE(image, FIELDS);
	/* Over the image with bytes 56..63 as zero. */
	image_put(image, 56, 8, cfs_xxh3(image, sizeof(image)));
	page_make(&disk, PAGE.seq);
	assert_true(image_is_equal(&disk, image, sizeof(image)));
	assert_true(le64_get(disk.csum) == UINT64_C(0x5522b325826e7b57));
}

static void test_round_trip(void **state)
{
	struct cfs_page_disk disk;
	struct cfs_page page;

	(void)state;
	page_make(&disk, PAGE.seq);
	assert_int_equal(unpack(&disk, &EXPECT), 0);
	assert_int_equal(cfs_page_unpack(&disk, &EXPECT, &page, NULL), 0);
	assert_int_equal(page.kind, PAGE.kind);
	assert_true(page.seq == PAGE.seq && page.owner == PAGE.owner);
	assert_true(page.pool_lo == PAGE.pool_lo);
	assert_true(page.address == PAGE.address);
	assert_true(page.stamp == PAGE.stamp && page.epoch == PAGE.epoch);
	assert_true(page.generation == PAGE.generation);
}

static void test_every_bit_counts(void **state)
{
	struct cfs_page_disk disk;
	uint8_t *bytes = (uint8_t *)&disk;

	(void)state;
	page_make(&disk, 7);
	for (size_t bit = 0; bit < sizeof(disk) * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		assert_int_equal(unpack(&disk, &EXPECT), -EUCLEAN);
		bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	assert_int_equal(unpack(&disk, &EXPECT), 0);
}

static void test_identity(void **state)
{
	struct cfs_page_expect expect;
	struct cfs_page_disk disk;

	(void)state;
	page_make(&disk, 7);
	expect = EXPECT;
	expect.kind = CFS_PAGE_SEAT;
	assert_int_equal(unpack(&disk, &expect), -EUCLEAN);
	expect = EXPECT;
	expect.address++;
	assert_int_equal(unpack(&disk, &expect), -EUCLEAN);
	expect = EXPECT;
	expect.pool_lo++;
	assert_int_equal(unpack(&disk, &expect), -EUCLEAN);
	expect.any_pool = true;
	assert_int_equal(unpack(&disk, &expect), 0);
	expect = EXPECT;
	expect.owner++;
	assert_int_equal(unpack(&disk, &expect), -EUCLEAN);
	expect.any_owner = true;
	assert_int_equal(unpack(&disk, &expect), 0);
}

static void test_version(void **state)
{
	struct cfs_page_disk disk;

	(void)state;
	page_make(&disk, 7);
	disk.version = le16_put(2);
	assert_int_equal(unpack(&disk, &EXPECT), -EUCLEAN); /* torn */
	reseal(&disk);
	assert_int_equal(unpack(&disk, &EXPECT), -ENOTSUP);
	disk.version = le16_put(0);
	reseal(&disk);
	assert_int_equal(unpack(&disk, &EXPECT), -EUCLEAN);
	memset(&disk, 0, sizeof(disk));
	assert_int_equal(unpack(&disk, &EXPECT), -EUCLEAN);
}

static void test_choose(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_page_disk slots[2];
	unsigned int slot = 9;
	struct cfs_page page;

	(void)state;
	page_make(&slots[0], 8);
	page_make(&slots[1], 7);
	assert_int_equal(cfs_page_choose(slots, &EXPECT, &slot, &page, &err),
			 0);
	assert_int_equal(slot, 0);
	assert_true(page.seq == 8 && err.code == 0);
	page_make(&slots[1], 9);
	assert_int_equal(cfs_page_choose(slots, &EXPECT, &slot, &page, &err),
			 0);
	assert_int_equal(slot, 1);
	/* Torn: the other one counts, though it is older. */
	slots[1].payload[99] ^= 1;
	assert_int_equal(cfs_page_choose(slots, &EXPECT, &slot, &page, &err),
			 0);
	assert_int_equal(slot, 0);
	assert_int_equal(err.code, 0);
}

static void test_choose_none(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_page_disk slots[2];
	unsigned int slot = 9;
	struct cfs_page page;

	(void)state;
	memset(slots, 0, sizeof(slots));
	assert_int_equal(cfs_page_choose(slots, &EXPECT, &slot, &page, &err),
			 -EUCLEAN);
	/* In the other slot's place it is a misplaced write. */
	page_make(&slots[0], 7);
	assert_int_equal(cfs_page_choose(slots, &EXPECT, &slot, &page, &err),
			 -EUCLEAN);
	page_make(&slots[0], 8);
	slots[0].version = le16_put(2);
	reseal(&slots[0]);
	assert_int_equal(cfs_page_choose(slots, &EXPECT, &slot, &page, &err),
			 -ENOTSUP);
	assert_int_equal(err.code, -ENOTSUP);
	assert_int_equal(slot, 9);
}

static const struct CMUnitTest TESTS[] = {
	cmocka_unit_test(test_bytes),
	cmocka_unit_test(test_round_trip),
	cmocka_unit_test(test_every_bit_counts),
	cmocka_unit_test(test_identity),
	cmocka_unit_test(test_version),
	cmocka_unit_test(test_choose),
	cmocka_unit_test(test_choose_none),
};

CMOCKA_MAIN(TESTS)
