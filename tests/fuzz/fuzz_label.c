/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Labels: the first bytes that are read of a device nobody knows.  What
 * unpacks has slices inside the device, and packs to what unpacks again.
 */
#include "fuzz_input.h"
#include "ondisk/label.h"

static void judge(const struct cfs_page_disk *disk)
{
	struct cfs_page_disk once, twice;
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_label label;
	int r;

	r = cfs_label_unpack(disk, 0, &label, &err);
	fuzz_check_result(r);
	if (r < 0)
		return;
	FUZZ_CHECK(label.slice_count <= label.size_bytes / label.slice_bytes);
	FUZZ_CHECK(label.slices_offset_bytes +
			   label.slice_count * label.slice_bytes <=
		   label.size_bytes - CFS_DEVICE_TAIL_BYTES);
	cfs_label_pack(&label, 0, &once);
	FUZZ_CHECK(cfs_label_unpack(&once, 0, &label, &err) == 0);
	cfs_label_pack(&label, 0, &twice);
	FUZZ_CHECK(memcmp(&once, &twice, sizeof(once)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cfs_page_disk disk;
	struct cfs_label_payload_disk *p = (void *)disk.payload;

	fuzz_fill(&disk, sizeof(disk), data, size);
	judge(&disk);
	memcpy(p->magic, CFS_LABEL_MAGIC, sizeof(p->magic));
	disk.pool_lo = le64_put(cfs_pool_lo(p->pool_uuid));
	disk.owner = le64_put(le32_get(p->device_index));
	fuzz_page_mend(&disk, CFS_PAGE_LABEL);
	judge(&disk);
	return 0;
}
