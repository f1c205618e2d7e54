/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Each fact has its exit status, in both languages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bits.h"
#include "common/status.h"

struct row {
	int code, plain, fsck;
};

static void test_codes(void **state)
{
	static const struct row rows[] = {
		{ 0, 0, 0 },
		{ -EEXIST, 1, 8 },
		{ -ENOMEM, 1, 8 },
		{ -EINTR, 1, 32 },
		{ -EINVAL, 2, 16 },
		{ -ENOENT, 3, 8 },
		{ -EBUSY, 4, 8 },
		{ -EAGAIN, 4, 8 },
		{ -ESTALE, 4, 8 },
		{ CFS_REFUSED, 5, 8 },
		{ -ENOSPC, 6, 8 },
		{ -EDQUOT, 6, 8 },
		{ -EFBIG, 6, 8 },
		{ -EUCLEAN, 7, 4 },
		{ -EMEDIUMTYPE, 8, 8 },
		{ -ENOTSUP, 8, 8 },
		{ -EIO, 9, 8 },
		{ -ENODEV, 9, 8 },
		{ -ENXIO, 9, 8 },
		{ -EPERM, 10, 8 },
		{ -EACCES, 10, 8 },
		{ -EROFS, 10, 8 },
	};
	const struct row *row;

	(void)state;
	for (row = rows; row < rows + CFS_ARRAY_COUNT(rows); row++) {
		assert_int_equal(cfs_status_of(row->code, false), row->plain);
		assert_int_equal(cfs_status_of(row->code, true), row->fsck);
	}
}

static void test_join(void **state)
{
	(void)state;
	assert_int_equal(cfs_status_join(3, 7, false), 7);
	assert_int_equal(cfs_status_join(7, 3, false), 7);
	assert_int_equal(cfs_status_join(0, 1, true), 1);
	assert_int_equal(cfs_status_join(1, 8, true), 9);
	/* 1 promises that all was healed: it does not stand beside 4. */
	assert_int_equal(cfs_status_join(1, 4, true), 4);
	assert_int_equal(cfs_status_join(12, 1, true), 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_codes),
		cmocka_unit_test(test_join),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
