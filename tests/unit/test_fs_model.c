/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Random histories of a tree on the fake container, with faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fs_model.h"

static void test_histories(void **state)
{
	unsigned int seed;

	(void)state;
	for (seed = 1; seed <= 12; seed++)
		history(seed, 1500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_histories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
