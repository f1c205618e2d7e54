/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The root: bytes, and counts and positions against each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ondisk/root.h"
#include "ondisk/tag.h"
#include "ondisk_image.h"

static const struct image_field FIELDS[] = {
	{ 16, 8, 0x11, NULL },
	{ 24, 8, 0x22, NULL },
	{ 40, 8, 0x3333, NULL },
	{ 48, 8, 0x4444, NULL },
	{ 56, 8, 0x5555, NULL },
	{ 64, 8, 0x6666, NULL },
	{ 72, 8, 0x7777, NULL },
	{ 80, 8, 0x8888, NULL },
	{ 88, 8, 0x9999, NULL },
	{ 96, 4, 1, NULL },
	{ 100, 4, 7, NULL },
	{ 104, 4, 2, NULL },
	{ 108, 4, 2, NULL },
	/* tree 2 at 112 + 64 */
	{ 176, 8, 0x400001, NULL },
	{ 184, 8, 0x800001, NULL },
	{ 192, 8, 0xabcdef, NULL },
	{ 200, 8, 0x33330000, NULL },
	{ 208, 4, 3, NULL },
	{ 216, 8, 0x1234, NULL },
	{ 224, 8, 0x2345, NULL },
	{ 232, 8, 0x3456, NULL },
	/* log extents at 624 */
	{ 624, 8, 0x400010, NULL },
	{ 632, 4, 126, NULL },
	{ 640, 8, 0x800010, NULL },
	{ 648, 4, 64, NULL },
	/* slice map at 1904: 40 bytes an entry, 12 a piece */
	{ 1944, 4, 0x55, NULL },
	{ 1960, 2, 0x66, NULL },
	{ 1962, 2, 3, NULL },
	{ 1964, 4, 0x77, NULL },
	{ 1968, 4, 0x88, NULL },
	{ 2864, 8, 0x400005, NULL },
	{ 2872, 8, 0x400006, NULL },
	{ 2880, 8, 0x99aabbcc, NULL },
};

static void root_make(struct cfs_root *r)
{
	memset(r, 0, sizeof(*r));
	image_run(r->container_uuid, 0x10, 16);
	r->features_compat = 0x11;
	r->features_ro_compat = 0x22;
	r->stamp = 0x3333;
	r->stamp_ceiling = 0x4444;
	r->next_ino = 0x5555;
	r->used_blocks = 0x6666;
	r->log_id = 0x7777;
	r->log_seq = 0x8888;
	r->log_chain = 0x9999;
	r->log_extent = 1;
	r->log_block = 7;
	r->log_extent_count = 2;
	r->smap_count = 2;
	r->trees[1].ref.vaddr[0] = 0x400001;
	r->trees[1].ref.vaddr[1] = 0x800001;
	r->trees[1].ref.csum = 0xabcdef;
	r->trees[1].ref.stamp = 0x3333;
	r->trees[1].level = 3;
	r->trees[1].next_node = 0x1234;
	r->trees[1].record_count = 0x2345;
	r->trees[1].node_count = 0x3456;
	r->log_extents[0].vaddr = 0x400010;
	r->log_extents[0].block_count = 126;
	r->log_extents[1].vaddr = 0x800010;
	r->log_extents[1].block_count = 64;
	r->smap[1].lslice = 0x55;
	r->smap[1].pieces[1] = (struct cfs_piece){
		.device_index = 0x66,
		.flags = CFS_PIECE_USED | CFS_PIECE_STALE,
		.slice_index = 0x77,
		.generation = 0x88,
	};
	r->grave_vaddr[0] = 0x400005;
	r->grave_vaddr[1] = 0x400006;
	r->names_of = 0x99aabbcc;
}

static void test_bytes(void **state)
{
	struct cfs_page_disk disk;
	struct cfs_root root;
	uint8_t image[4032];

	(void)state;
	IMAGE_MAKE(image, FIELDS);
	image_run(image, 0x10, 16);
	root_make(&root);
	memset(&disk, 0xee, sizeof(disk));
	cfs_root_pack(&root, &disk);
	assert_true(image_is_equal(disk.payload, image, sizeof(image)));
}

/* Packed again from what was unpacked: nothing is lost on the way. */
static void test_round_trip(void **state)
{
	struct cfs_page_disk disk, again;
	struct cfs_root root, back;

	(void)state;
	root_make(&root);
	cfs_root_pack(&root, &disk);
	assert_int_equal(cfs_root_unpack(&disk, &back, NULL), 0);
	assert_true(back.stamp == 0x3333 && back.log_block == 7);
	assert_true(back.smap[1].pieces[1].slice_index == 0x77);
	assert_true(back.trees[1].ref.stamp == 0x3333);
	cfs_root_pack(&back, &again);
	assert_true(image_is_equal(again.payload, disk.payload, 4032));
}

static int poked(size_t offset, unsigned int bytes, uint64_t value)
{
	struct cfs_page_disk disk;
	struct cfs_root root, back;

	root_make(&root);
	cfs_root_pack(&root, &disk);
	image_put(disk.payload, offset, bytes, value);
	return cfs_root_unpack(&disk, &back, NULL);
}

static void test_fields(void **state)
{
	(void)state;
	assert_int_equal(poked(32, 8, UINT64_C(1) << 63), -ENOTSUP);
	assert_int_equal(poked(24, 8, UINT64_MAX), 0);
	assert_int_equal(poked(40, 8, 0x4445), -EUCLEAN);
	assert_int_equal(poked(48, 8, UINT64_C(1) << 48), -EUCLEAN);
	assert_int_equal(poked(48, 8, CFS_STAMP_MAX), 0);
	assert_int_equal(poked(56, 8, UINT64_C(1) << 48), -EUCLEAN);
	assert_int_equal(poked(208, 4, 12), 0);
	assert_int_equal(poked(208, 4, 13), -EUCLEAN);
	assert_int_equal(poked(216, 8, UINT64_C(1) << 48), -EUCLEAN);
}

static void test_log_position(void **state)
{
	(void)state;
	assert_int_equal(poked(96, 4, 2), -EUCLEAN);
	assert_int_equal(poked(96, 4, UINT32_MAX), -EUCLEAN);
	assert_int_equal(poked(100, 4, 64), 0);
	assert_int_equal(poked(100, 4, 65), -EUCLEAN);
	assert_int_equal(poked(104, 4, 81), -EUCLEAN);
	assert_int_equal(poked(104, 4, 0), -EUCLEAN);
	assert_int_equal(poked(104, 4, 3), -EUCLEAN); /* extent of nothing */
	assert_int_equal(poked(648, 4, 0), -EUCLEAN);
	assert_int_equal(poked(640, 8, 0), -EUCLEAN);
	/* A run that would leave its slice's addresses. */
	assert_int_equal(poked(632, 4, UINT32_MAX), -EUCLEAN);
}

static void test_smap_count(void **state)
{
	(void)state;
	assert_int_equal(poked(108, 4, 24), 0);
	assert_int_equal(poked(108, 4, 25), -EUCLEAN);
	assert_int_equal(poked(108, 4, UINT32_MAX), -EUCLEAN);
	assert_int_equal(poked(1944, 4, 0x4000000), -EUCLEAN);
}

static void test_no_log(void **state)
{
	struct cfs_page_disk disk;
	struct cfs_root root, back;

	(void)state;
	memset(&root, 0, sizeof(root));
	cfs_root_pack(&root, &disk);
	assert_int_equal(cfs_root_unpack(&disk, &back, NULL), 0);
	root.log_block = 1;
	cfs_root_pack(&root, &disk);
	assert_int_equal(cfs_root_unpack(&disk, &back, NULL), -EUCLEAN);
}

static const struct CMUnitTest TESTS[] = {
	cmocka_unit_test(test_bytes),      cmocka_unit_test(test_round_trip),
	cmocka_unit_test(test_fields),     cmocka_unit_test(test_log_position),
	cmocka_unit_test(test_smap_count), cmocka_unit_test(test_no_log),
};

CMOCKA_MAIN(TESTS)
