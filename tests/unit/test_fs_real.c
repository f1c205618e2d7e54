/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The same random histories on a real container: versions for snapshots,
 * commits, crashes behind a sync.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define FS_REAL
#include "fs_model.h"

static void test_histories(void **state)
{
	unsigned int seed;

	(void)state;
	for (seed = 1; seed <= 8; seed++)
		history(seed, 2500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_histories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
