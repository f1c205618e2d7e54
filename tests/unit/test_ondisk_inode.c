/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Inodes, directory entries and extended attributes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ondisk/inode.h"
#include "ondisk_image.h"

static const struct cfs_inode INODE = {
	.mode = 0100644,
	.uid = 0x11121314,
	.gid = 0x21222324,
	.nlink = 0x31323334,
	.size_bytes = 0x41424344454647,
	.rdev = 0x5152535455565758,
	.atime_ns = -1,
	.mtime_ns = 0x6162636465666768,
	.ctime_ns = 0x7172737475767778,
	.btime_ns = INT64_MIN,
	.parent = 0x818283848586,
	.change = 0x9192939495969798,
	.flags = 0xa1a2a3a4,
	.entry_count = 0xb1b2b3b4,
};

static const struct image_field FIELDS[] = {
	{ 0, 4, 0100644, NULL },
	{ 4, 4, 0x11121314, NULL },
	{ 8, 4, 0x21222324, NULL },
	{ 12, 4, 0x31323334, NULL },
	{ 16, 8, 0x41424344454647, NULL },
	{ 24, 8, 0x5152535455565758, NULL },
	{ 32, 8, UINT64_MAX, NULL },
	{ 40, 8, 0x6162636465666768, NULL },
	{ 48, 8, 0x7172737475767778, NULL },
	{ 56, 8, UINT64_C(1) << 63, NULL },
	{ 64, 8, 0x818283848586, NULL },
	{ 72, 8, 0x9192939495969798, NULL },
	{ 80, 4, 0xa1a2a3a4, NULL },
	{ 84, 4, 0xb1b2b3b4, NULL },
};

static void test_inode_bytes(void **state)
{
	struct cfs_inode_disk disk, again;
	struct cfs_inode back;
	uint8_t image[96];

	(void)state;
	IMAGE_MAKE(image, FIELDS);
	memset(&disk, 0xee, sizeof(disk));
	cfs_inode_pack(&INODE, &disk);
	assert_true(image_is_equal(&disk, image, sizeof(image)));
	assert_int_equal(cfs_inode_unpack(image, 96, &back, NULL), 0);
	assert_true(back.atime_ns == -1 && back.btime_ns == INT64_MIN);
	assert_true(back.entry_count == 0xb1b2b3b4);
	cfs_inode_pack(&back, &again);
	assert_memory_equal(&again, &disk, sizeof(disk));
}

static int inode_with(uint32_t mode, uint64_t size_bytes, uint64_t parent)
{
	struct cfs_inode inode = INODE;
	struct cfs_inode_disk disk;

	inode.mode = mode;
	inode.size_bytes = size_bytes;
	inode.parent = parent;
	cfs_inode_pack(&inode, &disk);
	return cfs_inode_unpack(&disk, sizeof(disk), &inode, NULL);
}

static void test_inode_fields(void **state)
{
	static const uint32_t types[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR,
					  S_IFBLK, S_IFIFO, S_IFSOCK };
	uint8_t image[96];
	struct cfs_inode back;

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		assert_int_equal(inode_with(types[i] | 07777, 9, 1), 0);
	assert_int_equal(inode_with(0644, 0, 1), -EUCLEAN);
	assert_int_equal(inode_with(0170644, 0, 1), -EUCLEAN);
	assert_int_equal(inode_with(0300644, 0, 1), -EUCLEAN);
	assert_int_equal(inode_with(S_IFREG, UINT64_C(1) << 60, 1), 0);
	assert_int_equal(inode_with(S_IFREG, (UINT64_C(1) << 60) + 1, 1),
			 -EUCLEAN);
	assert_int_equal(inode_with(S_IFLNK, 4095, 1), 0);
	assert_int_equal(inode_with(S_IFLNK, 4096, 1), -EUCLEAN);
	assert_int_equal(inode_with(S_IFREG, 0, CFS_INO_MAX), 0);
	assert_int_equal(inode_with(S_IFREG, 0, CFS_INO_MAX + 1), -EUCLEAN);
	IMAGE_MAKE(image, FIELDS);
	for (size_t n = 0; n < 96; n++)
		assert_int_equal(cfs_inode_unpack(image, n, &back, NULL),
				 -EUCLEAN);
}

static void test_file_names(void **state)
{
	char name[300];

	(void)state;
	memset(name, 'n', sizeof(name));
	assert_true(cfs_file_name_is_valid(name, 1));
	assert_true(cfs_file_name_is_valid(name, 255));
	assert_false(cfs_file_name_is_valid(name, 256));
	assert_false(cfs_file_name_is_valid(name, 0));
	assert_false(cfs_file_name_is_valid(".", 1));
	assert_false(cfs_file_name_is_valid("..", 2));
	assert_true(cfs_file_name_is_valid("...", 3));
	assert_true(cfs_file_name_is_valid(".a", 2));
	assert_false(cfs_file_name_is_valid("a/b", 3));
	assert_false(cfs_file_name_is_valid("a\0b", 3));
	assert_true(cfs_file_name_is_valid("\xff\n", 2));
}

static void test_dirent(void **state)
{
	static const uint8_t image[] = {
		DT_DIR, 0, 0x16, 0x15, 0x14, 0x13, 0x12,
		0x11,   3, 0,    'a',  'b',  'c',
	};
	struct cfs_dirent d = { .ino = 0x111213141516,
				.type = DT_DIR,
				.name = "abc",
				.name_bytes = 3 },
			  back;
	uint8_t buf[CFS_DIRENT_BYTES_MAX];

	(void)state;
	assert_int_equal(cfs_dirent_pack(&d, buf), sizeof(image));
	assert_true(image_is_equal(buf, image, sizeof(image)));
	assert_int_equal(cfs_dirent_unpack(image, sizeof(image), &back, NULL),
			 0);
	assert_true(back.ino == d.ino && back.type == DT_DIR);
	assert_int_equal(back.name_bytes, 3);
	assert_ptr_equal(back.name, image + 10);
	for (size_t n = 0; n < sizeof(image); n++)
		assert_int_equal(cfs_dirent_unpack(image, n, &back, NULL),
				 -EUCLEAN);
}

static int dirent_poked(size_t offset, unsigned int bytes, uint64_t value)
{
	struct cfs_dirent d = {
		.ino = 7, .type = DT_REG, .name = "abc", .name_bytes = 3
	};
	uint8_t buf[CFS_DIRENT_BYTES_MAX];
	size_t n = cfs_dirent_pack(&d, buf);

	image_put(buf, offset, bytes, value);
	return cfs_dirent_unpack(buf, n, &d, NULL);
}

static void test_dirent_fields(void **state)
{
	(void)state;
	assert_int_equal(dirent_poked(0, 8, 7 << 16 | DT_LNK), 0);
	assert_int_equal(dirent_poked(0, 8, 7 << 16 | DT_UNKNOWN), -EUCLEAN);
	assert_int_equal(dirent_poked(0, 8, 7 << 16 | 3), -EUCLEAN);
	assert_int_equal(dirent_poked(0, 8, 7 << 16 | 16 | DT_REG), -EUCLEAN);
	assert_int_equal(dirent_poked(0, 8, 7 << 16 | 0x8000 | DT_REG),
			 -EUCLEAN);
	assert_int_equal(dirent_poked(0, 8, DT_REG), -EUCLEAN);
	assert_int_equal(dirent_poked(8, 2, 2), -EUCLEAN);
	assert_int_equal(dirent_poked(8, 2, 4), -EUCLEAN);
	assert_int_equal(dirent_poked(8, 2, 0xffff), -EUCLEAN);
	assert_int_equal(dirent_poked(11, 1, '/'), -EUCLEAN);
}

/* Part 0 of a value of each size: as much as fits, and the rest counted. */
static void test_xattr_parts(void **state)
{
	uint8_t *value = calloc(1, CFS_XATTR_VALUE_BYTES_MAX);
	static const uint32_t sizes[] = {
		0, 1, 1009, 1010, 1011, 1011 + 1023, 1011 + 1025, 65536
	};
	static const uint32_t parts[] = { 1, 1, 1, 1, 2, 2, 3, 65 };
	struct cfs_xattr x = { .name = "user.abc", .name_bytes = 8 }, back;
	uint8_t buf[CFS_META_PART_BYTES];

	(void)state;
	assert_non_null(value);
	memset(value, 'v', CFS_XATTR_VALUE_BYTES_MAX);
	x.data = value;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint32_t first = sizes[i] < 1010 ? sizes[i] : 1010;

		x.value_bytes = sizes[i];
		assert_int_equal(cfs_xattr_pack(&x, buf), 6 + 8 + first);
		assert_int_equal(image_get(buf, 0, 4), sizes[i]);
		assert_int_equal(image_get(buf, 4, 2), 8);
		assert_memory_equal(buf + 6, "user.abc", 8);
		assert_int_equal(cfs_xattr_unpack(buf, 14 + first, &back, NULL),
				 0);
		assert_int_equal(back.value_bytes, sizes[i]);
		assert_int_equal(back.data_bytes, first);
		assert_ptr_equal(back.data, buf + 14);
		assert_int_equal(cfs_xattr_part_count(8, sizes[i]), parts[i]);
		for (size_t n = 0; n < 14 + first; n++)
			assert_int_equal(cfs_xattr_unpack(buf, n, &back, NULL),
					 -EUCLEAN);
	}
	free(value);
}

static void test_xattr_fields(void **state)
{
	uint8_t buf[32] = { 0 };
	struct cfs_xattr back;

	(void)state;
	image_put(buf, 0, 4, 2);
	image_put(buf, 4, 2, 3);
	memcpy(buf + 6, "a.bvv", 5);
	assert_int_equal(cfs_xattr_unpack(buf, 11, &back, NULL), 0);
	assert_int_equal(cfs_xattr_unpack(buf, 12, &back, NULL), -EUCLEAN);
	image_put(buf, 4, 2, 0);
	assert_int_equal(cfs_xattr_unpack(buf, 8, &back, NULL), -EUCLEAN);
	image_put(buf, 4, 2, 256);
	assert_int_equal(cfs_xattr_unpack(buf, 32, &back, NULL), -EUCLEAN);
	image_put(buf, 4, 2, 3);
	image_put(buf, 0, 4, CFS_XATTR_VALUE_BYTES_MAX + 1);
	assert_int_equal(cfs_xattr_unpack(buf, 11, &back, NULL), -EUCLEAN);
	image_put(buf, 0, 4, 2);
	buf[7] = 0;
	assert_int_equal(cfs_xattr_unpack(buf, 11, &back, NULL), -EUCLEAN);
}

static const struct CMUnitTest TESTS[] = {
	cmocka_unit_test(test_inode_bytes),
	cmocka_unit_test(test_inode_fields),
	cmocka_unit_test(test_file_names),
	cmocka_unit_test(test_dirent),
	cmocka_unit_test(test_dirent_fields),
	cmocka_unit_test(test_xattr_parts),
	cmocka_unit_test(test_xattr_fields),
};

CMOCKA_MAIN(TESTS)
