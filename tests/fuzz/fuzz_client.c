/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Clients: their records, and what goes between them and the owner.  The first
 * byte says what the rest is.
 */
#include "fuzz_input.h"
#include "tree/container_client.h"

static void record_judge(const uint8_t *value, size_t bytes)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_client_rec rec, again;
	struct cfs_client_rec_disk disk;
	struct cfs_loan_rec loan;
	uint64_t allowed[2];
	int r = cfs_client_rec_unpack(value, bytes, &rec, &err);

	fuzz_check_result(r);
	if (r == 0) {
		FUZZ_CHECK(rec.extent_count >= 1 &&
			   rec.extent_count <= CFS_CLIENT_EXTENTS_MAX);
		FUZZ_CHECK(rec.log.block <=
			   rec.extents[rec.log.extent].block_count);
		cfs_client_rec_pack(&rec, &disk);
		FUZZ_CHECK(cfs_client_rec_unpack(&disk, sizeof(disk), &again,
						 &err) == 0);
	}
	fuzz_check_result(
		cfs_client_loan_unpack(value, bytes, &loan, allowed, &err));
}

static void view_judge(const uint8_t *data, size_t bytes)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_client_view view;
	struct cfs_buf buf = CFS_BUF_INIT;
	int r = cfs_client_view_unpack(data, bytes, &view, &err);

	fuzz_check_result(r);
	if (r < 0)
		return;
	for (uint32_t i = 1; i < view.smap_count; i++)
		FUZZ_CHECK(view.smap[i].lslice > view.smap[i - 1].lslice);
	FUZZ_CHECK(cfs_client_view_pack(&view, &buf) == 0);
	FUZZ_CHECK(buf.bytes == bytes);
	cfs_client_view_donep(&view);
	cfs_buf_donep(&buf);
}

static void loans_judge(const uint8_t *data, size_t bytes)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_loans loans;
	int r = cfs_loans_unpack(data, bytes, &loans, &err);

	fuzz_check_result(r);
	if (r < 0)
		return;
	FUZZ_CHECK(loans.count >= 1 && loans.count <= CFS_LOANS_MAX);
	cfs_loans_donep(&loans);
}

static void fold_judge(const uint8_t *data, size_t bytes)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_buf buf = CFS_BUF_INIT;
	struct cfs_fold fold;
	int r = cfs_fold_unpack(data, bytes, &fold, &err);

	fuzz_check_result(r);
	if (r < 0)
		return;
	FUZZ_CHECK(fold.place_count ||
		   fold.records + fold.record_bytes + 8 * fold.return_count ==
			   data + bytes);
	FUZZ_CHECK(cfs_fold_pack(&fold, &buf) == 0);
	FUZZ_CHECK(buf.bytes == bytes);
	cfs_fold_donep(&fold);
	cfs_buf_donep(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	switch (data[0] & 3) {
	case 0:
		record_judge(data + 1, size - 1);
		break;
	case 1:
		view_judge(data + 1, size - 1);
		break;
	case 2:
		loans_judge(data + 1, size - 1);
		break;
	default:
		fold_judge(data + 1, size - 1);
		break;
	}
	return 0;
}
