/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Inodes, directory entries, extended attributes: the first byte says which,
 * the rest is the value behind its version.
 */
#include "fuzz_input.h"
#include "ondisk/inode.h"

static volatile uint64_t sink;

static void inode_judge(const uint8_t *value, size_t value_bytes)
{
	struct cfs_inode_disk once, twice;
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_inode inode;
	int r = cfs_inode_unpack(value, value_bytes, &inode, &err);

	fuzz_check_result(r);
	if (r < 0)
		return;
	cfs_inode_pack(&inode, &once);
	FUZZ_CHECK(cfs_inode_unpack(&once, sizeof(once), &inode, &err) == 0);
	cfs_inode_pack(&inode, &twice);
	FUZZ_CHECK(memcmp(&once, &twice, sizeof(once)) == 0);
}

static void dirent_judge(const uint8_t *value, size_t value_bytes)
{
	uint8_t again[CFS_DIRENT_BYTES_MAX];
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_dirent dirent;
	int r = cfs_dirent_unpack(value, value_bytes, &dirent, &err);

	fuzz_check_result(r);
	if (r < 0)
		return;
	FUZZ_CHECK(cfs_file_name_is_valid(dirent.name, dirent.name_bytes));
	FUZZ_CHECK(cfs_dirent_pack(&dirent, again) == value_bytes);
	FUZZ_CHECK(memcmp(again, value, value_bytes) == 0);
}

static void xattr_judge(const uint8_t *value, size_t value_bytes)
{
	uint8_t again[CFS_META_PART_BYTES];
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_xattr xattr;
	int r = cfs_xattr_unpack(value, value_bytes, &xattr, &err);

	fuzz_check_result(r);
	if (r < 0)
		return;
	for (uint32_t i = 0; i < xattr.data_bytes; i++)
		sink += xattr.data[i];
	FUZZ_CHECK(cfs_xattr_part_count(xattr.name_bytes, xattr.value_bytes) <=
		   66);
	FUZZ_CHECK(cfs_xattr_pack(&xattr, again) == value_bytes);
	FUZZ_CHECK(memcmp(again, value, value_bytes) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	switch (data[0] % 3) {
	case 0:
		inode_judge(data + 1, size - 1);
		break;
	case 1:
		dirent_judge(data + 1, size - 1);
		break;
	default:
		xattr_judge(data + 1, size - 1);
		break;
	}
	return 0;
}
