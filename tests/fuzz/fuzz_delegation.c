/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Delegations: their records, what is granted and what is lent.  The first byte
 * says what the rest is.
 */
#include "fuzz_input.h"
#include "volume/pool_delegate.h"

static void record_judge(const uint8_t *value, size_t bytes)
{
	struct cfs_delegation_rec_disk once, twice;
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_delegation_rec rec;
	int r = cfs_delegation_rec_unpack(value, bytes, &rec, &err);

	fuzz_check_result(r);
	if (r < 0)
		return;
	cfs_delegation_rec_pack(&rec, &once);
	FUZZ_CHECK(cfs_delegation_rec_unpack(&once, sizeof(once), &rec, &err) ==
		   0);
	cfs_delegation_rec_pack(&rec, &twice);
	FUZZ_CHECK(memcmp(&once, &twice, sizeof(once)) == 0);
}

static void grant_judge(const uint8_t *data, size_t bytes)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_buf buf = CFS_BUF_INIT;
	struct cfs_pool_grant grant;
	int r = cfs_pool_grant_unpack(data, bytes, &grant, &err);

	fuzz_check_result(r);
	if (r < 0)
		return;
	FUZZ_CHECK(grant.container != 0);
	FUZZ_CHECK(cfs_epoch_is_delegated(grant.epoch));
	FUZZ_CHECK(cfs_pool_grant_pack(&grant, &buf) == 0);
	FUZZ_CHECK(buf.bytes == bytes);
	cfs_pool_grant_donep(&grant);
	cfs_buf_donep(&buf);
}

static void slices_judge(const uint8_t *data, size_t bytes)
{
	struct cfs_lent_slices slices = { .list = CFS_VEC_INIT };
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_buf buf = CFS_BUF_INIT;
	int r = cfs_lent_slices_unpack(data, bytes, &slices, &err);

	fuzz_check_result(r);
	if (r < 0)
		return;
	FUZZ_CHECK(cfs_lent_slices_pack(&slices, &buf) == 0);
	FUZZ_CHECK(buf.bytes == bytes);
	cfs_lent_slices_donep(&slices);
	cfs_buf_donep(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] % 3 == 0)
		record_judge(data + 1, size - 1);
	else if (data[0] % 3 == 1)
		grant_judge(data + 1, size - 1);
	else
		slices_judge(data + 1, size - 1);
	return 0;
}
