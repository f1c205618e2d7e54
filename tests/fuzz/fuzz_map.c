/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Map records: versions and extents, at whatever length the value has. */
#include "fuzz_input.h"
#include "ondisk/map.h"

static void version_judge(const uint8_t *value, size_t value_bytes)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_version_disk again;
	struct cfs_version version;
	int r = cfs_version_unpack(value, value_bytes, &version, &err);

	fuzz_check_result(r);
	if (r < 0)
		return;
	FUZZ_CHECK(version.death == 0 || version.death > version.stamp);
	cfs_version_pack(&version, &again);
	FUZZ_CHECK(memcmp(&again, value, sizeof(again)) == 0);
}

static void extent_judge(const uint8_t *value, size_t value_bytes)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_extent_rec_disk again;
	struct cfs_extent_rec rec;
	int r = cfs_extent_rec_unpack(value, value_bytes, &rec, &err);

	fuzz_check_result(r);
	if (r < 0)
		return;
	FUZZ_CHECK(rec.count >= 1 && rec.count <= CFS_EXTENT_BLOCKS_MAX);
	FUZZ_CHECK(rec.vaddr == CFS_VADDR_NONE ||
		   cfs_vaddr_lslice(rec.vaddr) ==
			   cfs_vaddr_lslice(rec.vaddr + rec.count - 1));
	cfs_extent_rec_pack(&rec, &again);
	FUZZ_CHECK(memcmp(&again, value, sizeof(again)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	version_judge(data, size);
	extent_judge(data, size);
	return 0;
}
