/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Seats: what unpacks packs to bytes that unpack to the same. */
#include "fuzz_input.h"
#include "ondisk/seat.h"

static void judge(struct cfs_page_disk *disk, bool mend)
{
	struct cfs_page_disk once, twice;
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_seat rec;
	int r;

	if (!fuzz_page(disk, CFS_PAGE_SEAT, mend))
		return;
	r = cfs_seat_unpack(disk, &rec, &err);
	fuzz_check_result(r);
	if (r < 0)
		return;
	cfs_seat_pack(&rec, &once);
	FUZZ_CHECK(cfs_seat_unpack(&once, &rec, &err) == 0);
	cfs_seat_pack(&rec, &twice);
	FUZZ_CHECK(memcmp(once.payload, twice.payload, sizeof(once.payload)) ==
		   0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cfs_page_disk disk;

	fuzz_fill(&disk, sizeof(disk), data, size);
	judge(&disk, false);
	judge(&disk, true);
	return 0;
}
