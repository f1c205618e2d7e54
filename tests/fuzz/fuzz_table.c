/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Small tables: the first byte names the record, the rest is its value, of
 * whatever length.  What unpacks packs to what unpacks to the same.
 */
#include "fuzz_input.h"
#include "ondisk/snapname.h"
#include "ondisk/table.h"

typedef void (*judge_fn)(const uint8_t *value, size_t value_bytes);

/* @min: of a value as it was before the record grew. */
#define JUDGE_FROM(x, min)                                                     \
	static void x##_judge(const uint8_t *value, size_t value_bytes)        \
	{                                                                      \
		struct cfs_##x##_rec_disk once, twice;                         \
		struct cfs_err err = CFS_ERR_INIT;                             \
		struct cfs_##x##_rec rec;                                      \
		int r = cfs_##x##_rec_unpack(value, value_bytes, &rec, &err);  \
                                                                               \
		fuzz_check_result(r);                                          \
		FUZZ_CHECK(r < 0 || value_bytes >= (min));                     \
		if (r < 0)                                                     \
			return;                                                \
		cfs_##x##_rec_pack(&rec, &once);                               \
		FUZZ_CHECK(cfs_##x##_rec_unpack(&once, sizeof(once), &rec,     \
						&err) == 0);                   \
		cfs_##x##_rec_pack(&rec, &twice);                              \
		FUZZ_CHECK(memcmp(&once, &twice, sizeof(once)) == 0);          \
	}
#define JUDGE(x) JUDGE_FROM(x, sizeof(struct cfs_##x##_rec_disk))
JUDGE(pool)
JUDGE(device)
JUDGE(slice)
JUDGE(smap)
JUDGE_FROM(container, CFS_CONTAINER_REC_BYTES_MIN)
JUDGE(loan)
JUDGE(bad)
JUDGE(scrub)
JUDGE(volume)
JUDGE(branch)
JUDGE(tombstone)
JUDGE(orphan)
JUDGE(snapset)
JUDGE(retired)

/* The one whose length depends on its content. */
static void snapshot_judge(const uint8_t *value, size_t value_bytes)
{
	uint8_t buf[CFS_SNAPSHOT_REC_BYTES_MAX];
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_snapshot_rec rec;
	size_t n;
	int r = cfs_snapshot_rec_unpack(value, value_bytes, &rec, &err);

	fuzz_check_result(r);
	if (r < 0)
		return;
	FUZZ_CHECK(cfs_name_is_valid(rec.name));
	n = cfs_snapshot_rec_pack(&rec, buf);
	FUZZ_CHECK(n <= value_bytes && memcmp(buf, value, n) == 0);
}

/* And a list that fills the value. */
static void snapname_judge(const uint8_t *value, size_t value_bytes)
{
	uint8_t buf[CFS_VALUE_BYTES_MAX];
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_snapname_rec rec;
	uint64_t place;
	int r = cfs_snapname_rec_unpack(value, value_bytes, &rec, &err);

	fuzz_check_result(r);
	if (r < 0)
		return;
	FUZZ_CHECK(cfs_snapname_rec_pack(&rec, buf) == value_bytes &&
		   memcmp(buf, value, value_bytes) == 0);
	place = rec.places[rec.count / 2];
	FUZZ_CHECK(cfs_snapname_rec_remove(&rec, place));
	FUZZ_CHECK(cfs_snapname_rec_add(&rec, place));
	FUZZ_CHECK(cfs_snapname_rec_pack(&rec, buf) == value_bytes &&
		   memcmp(buf, value, value_bytes) == 0);
}

static const judge_fn JUDGES[] = {
	pool_judge,      device_judge,  slice_judge,    smap_judge,
	container_judge, loan_judge,    bad_judge,      scrub_judge,
	volume_judge,    branch_judge,  snapshot_judge, tombstone_judge,
	orphan_judge,    snapset_judge, retired_judge,  snapname_judge,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	JUDGES[data[0] % CFS_ARRAY_COUNT(JUDGES)](data + 1, size - 1);
	return 0;
}
