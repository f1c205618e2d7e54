/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Periods: the sums of period.h, and their edges to the nanosecond. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rng.h"
#include "lease/period.h"

#define S CFS_NS_PER_S

static void test_margin(void **state)
{
	struct cfs_rng rng;

	(void)state;
	/* Worked through in period.h. */
	assert_int_equal(cfs_period_owner_ns(10 * S, 2000),
			 UINT64_C(10040080162));
	assert_int_equal(cfs_period_owner_ns(10 * S, 0), 10 * S + 1);
	assert_int_equal(cfs_period_owner_ns(1, 0), CFS_PERIOD_NS_MIN + 1);
	assert_int_equal(cfs_period_owner_ns(UINT64_MAX, 0),
			 CFS_PERIOD_NS_MAX + 1);
	cfs_rng_init(&rng, 7);
	for (int i = 0; i < 10000; i++) {
		uint64_t t = CFS_PERIOD_NS_MIN +
			     cfs_rng_below(&rng, CFS_PERIOD_NS_MAX -
							 CFS_PERIOD_NS_MIN);
		uint32_t r = (uint32_t)cfs_rng_below(&rng, 20000);
		__extension__ unsigned __int128 m = cfs_period_owner_ns(t, r) -
						    1;

		/* M (1-r) >= T (1+r), and not by more than one step. */
		assert_true(m * (1000000 - r) >=
			    (__extension__(unsigned __int128) t) *
				    (1000000 + r));
		assert_true((m - 1) * (1000000 - r) <
			    (__extension__(unsigned __int128) t) *
				    (1000000 + r));
	}
}

static void test_access(void **state)
{
	(void)state;
	assert_int_equal(cfs_period_access_ns(1000, 2000), 1002);
	assert_int_equal(cfs_period_access_ns(1, 1), 2);
	assert_int_equal(cfs_period_access_ns(0, 2000), 0);
	assert_int_equal(cfs_period_access_ns(UINT64_MAX, 2000), UINT64_MAX);
}

static void test_client_period(void **state)
{
	struct cfs_period p;

	(void)state;
	cfs_period_init(&p);
	cfs_period_set(&p, 10 * S, 2000);
	assert_false(cfs_period_may_start(&p, p.end_ns, 0, 0));
	cfs_period_sent(&p, 1, 100);
	cfs_period_sent(&p, 2, 200);
	assert_int_equal(p.end_ns, 0);
	assert_true(cfs_period_replied(&p, 2));
	assert_int_equal(p.end_ns, 10 * S + 200);
	/* Late, doubled and made up: nothing is extended, nothing shrinks. */
	assert_true(cfs_period_replied(&p, 1));
	assert_false(cfs_period_replied(&p, 2));
	assert_false(cfs_period_replied(&p, 3));
	assert_false(cfs_period_replied(&p, 0));
	assert_int_equal(p.end_ns, 10 * S + 200);
	/* At end - 1, at the end, behind it. */
	assert_true(cfs_period_still_runs(p.end_ns, p.end_ns - 1));
	assert_false(cfs_period_still_runs(p.end_ns, p.end_ns));
	assert_false(cfs_period_still_runs(p.end_ns, p.end_ns + 1));
	/* 1000 ns take 1002 on a fast clock: 1003 must be left. */
	assert_true(cfs_period_may_start(&p, p.end_ns, p.end_ns - 1003, 1000));
	assert_false(cfs_period_may_start(&p, p.end_ns, p.end_ns - 1002, 1000));
	assert_false(cfs_period_may_start(&p, p.end_ns, p.end_ns, 0));
	assert_false(cfs_period_may_start(&p, p.end_ns, p.end_ns + 5, 0));
	assert_false(cfs_period_may_start(&p, p.end_ns, 0, UINT64_MAX));
	cfs_period_sent(&p, 9, 300);
	cfs_period_stop(&p);
	assert_false(cfs_period_replied(&p, 9));
	assert_int_equal(p.end_ns, 0);
}

static void test_owner_edge(void **state)
{
	(void)state;
	assert_false(cfs_period_is_over(100, 99));
	assert_false(cfs_period_is_over(100, 100));
	assert_true(cfs_period_is_over(100, 101));
}

/* Of too many requests the oldest are forgotten: they extend nothing. */
static void test_forgets(void **state)
{
	struct cfs_period p;

	(void)state;
	cfs_period_init(&p);
	cfs_period_set(&p, 10 * S, 0);
	for (uint64_t id = 1; id <= CFS_PERIOD_SENT_MAX + 1; id++)
		cfs_period_sent(&p, id, id);
	assert_false(cfs_period_replied(&p, 1));
	assert_true(cfs_period_replied(&p, 2));
}

/*
 * The two sides in real time, with clocks at the ends of the drift bound: the
 * slowest client against the fastest owner.
 */
static void test_drift(void **state)
{
	const uint64_t t = 10 * S, r = 2000;
	uint64_t m = cfs_period_owner_ns(t, (uint32_t)r);
	uint64_t client_real = t * 1000000 / (1000000 - r);
	uint64_t owner_real = (m + 1) * 1000000 / (1000000 + r);

	(void)state;
	assert_true(owner_real >= client_real);
	assert_true(owner_real - client_real < 100);
}

static void test_clock(void **state)
{
	struct cfs_lease_clock clock;
	uint64_t a, b;

	(void)state;
	assert_int_equal(cfs_lease_clock_elapsed(5, 7), 7);
	assert_int_equal(cfs_lease_clock_elapsed(7, 5), 7);
	cfs_lease_clock_init(&clock);
	a = cfs_clock_elapsed_ns(&clock.clock);
	assert_true(a < S);
	cfs_clock_sleep_until(&clock.clock, a + 5 * CFS_NS_PER_MS);
	b = cfs_clock_elapsed_ns(&clock.clock);
	assert_true(b >= a + 4 * CFS_NS_PER_MS);
	/* Suspended for an hour: BOOTTIME knows, RAW does not. */
	clock.boot_ns -= 3600 * S;
	assert_true(cfs_clock_elapsed_ns(&clock.clock) >= 3600 * S);
	assert_true(cfs_clock_realtime_ns(&clock.clock) > 3600 * S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_margin),
		cmocka_unit_test(test_access),
		cmocka_unit_test(test_client_period),
		cmocka_unit_test(test_owner_edge),
		cmocka_unit_test(test_forgets),
		cmocka_unit_test(test_drift),
		cmocka_unit_test(test_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
