/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tags: bytes, and a checksum that binds content to identity. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/xxh.h"
#include "ondisk/tag.h"
#include "ondisk_image.h"

static const struct cfs_tag TAG = {
	.csum = 0x0102030405060708,
	.ino = 0x111213141516,
	.seq = 0x2122,
	.offset = 0x313233343536,
	.type = 0x2a,
	.flags = 0x201,
	.stamp = 0x414243444546,
	.branch = 0x5152,
};

static void test_bytes(void **state)
{
	static const uint8_t image[32] = {
		0x08,
		0x07,
		0x06,
		0x05,
		0x04,
		0x03,
		0x02,
		0x01,
		0x22,
		0x21,
		0x16,
		0x15,
		0x14,
		0x13,
		0x12,
		0x11,
		/* type 0x2a << 10 | flags 0x201 = 0xaa01 */
		0x01,
		0xaa,
		0x36,
		0x35,
		0x34,
		0x33,
		0x32,
		0x31,
		0x52,
		0x51,
		0x46,
		0x45,
		0x44,
		0x43,
		0x42,
		0x41,
	};
	struct cfs_tag_disk disk;
	struct cfs_tag tag;

	(void)state;
	cfs_tag_pack(&TAG, &disk);
	assert_true(image_is_equal(&disk, image, sizeof(image)));
	cfs_tag_unpack(&disk, &tag);
	assert_true(tag.csum == TAG.csum && tag.ino == TAG.ino);
	assert_true(tag.seq == TAG.seq && tag.offset == TAG.offset);
	assert_true(tag.type == TAG.type && tag.flags == TAG.flags);
	assert_true(tag.stamp == TAG.stamp && tag.branch == TAG.branch);
}

static void test_limits(void **state)
{
	static const struct cfs_tag max = {
		.csum = UINT64_MAX,
		.ino = CFS_INO_MAX,
		.seq = 0xffff,
		.offset = CFS_OFF_MAX,
		.type = 63,
		.flags = 0x3ff,
		.stamp = CFS_STAMP_MAX,
		.branch = 0xffff,
	};
	struct cfs_tag_disk disk, ones;
	struct cfs_tag tag;

	(void)state;
	memset(&ones, 0xff, sizeof(ones));
	cfs_tag_pack(&max, &disk);
	assert_memory_equal(&disk, &ones, sizeof(disk));
	cfs_tag_unpack(&ones, &tag);
	assert_true(tag.ino == CFS_INO_MAX && tag.type == 63);
}

#define RUN 5u

static struct cfs_tag run_tag(uint64_t offset)
{
	struct cfs_tag tag = TAG;

	tag.offset = offset;
	return tag;
}

static void run_pack(struct cfs_tag_disk tags[RUN], le64 csums[RUN])
{
	for (uint32_t i = 0; i < RUN; i++) {
		struct cfs_tag tag = run_tag(1000 + i);

		tag.csum = 77 * (i + 1);
		cfs_tag_pack(&tag, &tags[i]);
		csums[i] = le64_put(tag.csum);
	}
}

/* Whatever one bit of one tag, or of what is asked, says else: it is none. */
static void test_run(void **state)
{
	struct cfs_tag_disk tags[RUN];
	struct cfs_tag first = run_tag(1000);
	le64 csums[RUN];
	uint8_t *bytes = (uint8_t *)tags;

	(void)state;
	run_pack(tags, csums);
	assert_true(cfs_tags_are_run(tags, RUN, &first, csums));
	assert_true(cfs_tags_are_run(tags, 0, &first, csums));
	for (unsigned int bit = 0; bit < 8 * sizeof(tags); bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		assert_false(cfs_tags_are_run(tags, RUN, &first, csums));
		bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	csums[RUN - 1] = le64_put(1);
	assert_false(cfs_tags_are_run(tags, RUN, &first, csums));
	assert_true(cfs_tags_are_run(tags, RUN - 1, &first, csums));
}

/* What has more bits than a tag holds is not cut to what stands there. */
static void test_run_limits(void **state)
{
	struct cfs_tag_disk tags[RUN];
	struct cfs_tag first = run_tag(1000);
	le64 csums[RUN];

	(void)state;
	run_pack(tags, csums);
	first.offset = CFS_OFF_MAX + 1 + 1000;
	assert_false(cfs_tags_are_run(tags, RUN, &first, csums));
	first = run_tag(1000);
	first.ino += CFS_INO_MAX + 1;
	assert_false(cfs_tags_are_run(tags, RUN, &first, csums));
	first = run_tag(1000);
	first.stamp += CFS_STAMP_MAX + 1;
	assert_false(cfs_tags_are_run(tags, RUN, &first, csums));
	first = run_tag(1000);
	first.type += 64;
	assert_false(cfs_tags_are_run(tags, RUN, &first, csums));
	first = run_tag(1000);
	first.flags = (uint16_t)(first.flags + 0x400);
	assert_false(cfs_tags_are_run(tags, RUN, &first, csums));
	/* A run that goes on behind the last block there can be. */
	first = run_tag(CFS_OFF_MAX);
	cfs_tag_pack(&first, &tags[0]);
	first = run_tag(0);
	cfs_tag_pack(&first, &tags[1]);
	first = run_tag(CFS_OFF_MAX);
	csums[0] = csums[1] = le64_put(TAG.csum);
	assert_true(cfs_tags_are_run(tags, 1, &first, csums));
	assert_false(cfs_tags_are_run(tags, 2, &first, csums));
}

static void test_is_free(void **state)
{
	struct cfs_tag_disk disk;
	struct cfs_tag tag;
	uint8_t *bytes = (uint8_t *)&disk;

	(void)state;
	memset(&disk, 0, sizeof(disk));
	cfs_tag_unpack(&disk, &tag);
	assert_true(cfs_tag_is_free(&tag));
	for (unsigned int bit = 0; bit < 256; bit++) {
		memset(&disk, 0, sizeof(disk));
		bytes[bit / 8] = (uint8_t)(1u << (bit % 8));
		cfs_tag_unpack(&disk, &tag);
		assert_false(cfs_tag_is_free(&tag));
	}
}

/* The identity's 32 bytes by hand. */
static void test_csum_definition(void **state)
{
	uint8_t block[4096], uuid[16], identity[32];
	uint64_t seed, csum;

	(void)state;
	image_run(block, 3, sizeof(block));
	image_run(uuid, 0xa0, sizeof(uuid));
	seed = cfs_tag_container_seed(uuid);
	assert_true(seed == cfs_xxh3(uuid, 16));
	image_put(identity, 0, 8, seed);
	image_put(identity, 8, 8, 0x1112131415162122);
	image_put(identity, 16, 8, 0x313233343536a800);
	image_put(identity, 24, 8, 0x4142434445465152);
	csum = cfs_xxh3(block, 4096) ^ cfs_xxh3(identity, 32);
	assert_true(cfs_tag_identity_hash(&TAG, seed) ==
		    cfs_xxh3(identity, 32));
	assert_true(cfs_tag_csum(&TAG, seed, block) == csum);
	assert_true(csum == UINT64_C(0x37aea0e89822d4a3));
}

static void test_csum_depends(void **state)
{
	uint8_t block[4096] = { 0 };
	struct cfs_tag_disk disk;
	uint64_t csum = cfs_tag_csum(&TAG, 5, block);
	struct cfs_tag tag;
	uint8_t *bytes = (uint8_t *)&disk;

	(void)state;
	assert_true(cfs_tag_csum(&TAG, 6, block) != csum);
	for (unsigned int i = 0; i < 4096; i++) {
		block[i] ^= 0x10;
		assert_true(cfs_tag_csum(&TAG, 5, block) != csum);
		block[i] ^= 0x10;
	}
	/* Each bit of the identity; not the csum, not the flags. */
	for (unsigned int bit = 0; bit < 256; bit++) {
		bool counts = bit >= 64 && (bit < 128 || bit >= 138);

		cfs_tag_pack(&TAG, &disk);
		bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		cfs_tag_unpack(&disk, &tag);
		assert_int_equal(cfs_tag_csum(&tag, 5, block) != csum, counts);
	}
}

static const struct CMUnitTest TESTS[] = {
	cmocka_unit_test(test_bytes),
	cmocka_unit_test(test_limits),
	cmocka_unit_test(test_is_free),
	cmocka_unit_test(test_run),
	cmocka_unit_test(test_run_limits),
	cmocka_unit_test(test_csum_definition),
	cmocka_unit_test(test_csum_depends),
};

CMOCKA_MAIN(TESTS)
