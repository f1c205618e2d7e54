/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Check: a pool that was used is clean, and each kind of damage is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "heal_fixture.h"

static void used_pool_is_clean(bool is_mirror)
{
	struct heal_pool h = heal_new(is_mirror, UINT64_C(64) << 20);

	heal_check_clean(&h);
	heal_write(h.lun, 0, 1, 1);
	heal_write(h.lun, 7, 100, 2);
	heal_snapshot(h.lun, "a");
	heal_write(h.lun, 20, 40, 3);
	heal_write(h.lun, 500, 3, 4);
	heal_snapshot(h.lun, "b");
	heal_write(h.lun, 0, 70, 5);
	heal_check_clean(&h);
	HEAL_OK(cfs_snapshot_clone(h.lun, CFS_VOLUME_FIRST, "a", "c", &err_));
	HEAL_OK(cfs_snapshot_rollback(h.lun, CFS_VOLUME_FIRST, "b", "save",
				      &err_));
	heal_write(h.lun, 10, 10, 6);
	heal_check_clean(&h);
	HEAL_OK(cfs_snapshot_remove(h.lun, CFS_VOLUME_FIRST, "save", NULL,
				    &err_));
	heal_check_clean(&h);
	heal_reopen(&h);
	heal_check_clean(&h);
	assert_int_equal(heal_read(h.lun, 10, 10, 6), 0);
	heal_free(&h);
}

static void test_clean(void **state)
{
	(void)state;
	used_pool_is_clean(false);
}

static void test_clean_mirror(void **state)
{
	(void)state;
	used_pool_is_clean(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean),
		cmocka_unit_test(test_clean_mirror),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
