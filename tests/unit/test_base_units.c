/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sizes, durations and times: exact in, exact out, refused otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/units.h"

static void test_size_parse(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "12B", 12 },
		{ "1K", 1024 },
		{ "4k", 4096 },
		{ "3KiB", 3072 },
		{ "3KB", 3000 },
		{ "2M", 2097152 },
		{ "2MB", 2000000 },
		{ "2MiB", 2097152 },
		{ "1G", 1073741824 },
		{ "1TB", UINT64_C(1000000000000) },
		{ "1P", UINT64_C(1) << 50 },
		{ "15E", UINT64_C(15) << 60 },
		{ "18EB", UINT64_C(18000000000000000000) },
		{ "18446744073709551615", UINT64_MAX },
		{ "007", 7 },
	};
	uint64_t bytes;
	size_t i;

	(void)state;
	for (i = 0; i < CFS_ARRAY_COUNT(good); i++) {
		bytes = 1;
		assert_int_equal(cfs_size_parse(good[i].text, &bytes, NULL), 0);
		assert_true(bytes == good[i].bytes);
	}
}

static void test_size_refused(void **state)
{
	static const struct {
		const char *text;
		int code;
	} bad[] = {
		{ "", -EINVAL },
		{ "K", -EINVAL },
		{ "-1", -EINVAL },
		{ "+1", -EINVAL },
		{ " 1", -EINVAL },
		{ "1 ", -EINVAL },
		{ "1 K", -EINVAL },
		{ "1.5G", -EINVAL },
		{ "0x10", -EINVAL },
		{ "1Ki", -EINVAL },
		{ "1KiBs", -EINVAL },
		{ "1X", -EINVAL },
		{ "1KK", -EINVAL },
		{ "1e3", -EINVAL },
		{ "1Kb", -EINVAL },
		{ "18446744073709551616", -EOVERFLOW },
		{ "18446744073709551616X", -EINVAL },
		{ "16E", -EOVERFLOW },
		{ "19EB", -EOVERFLOW },
		{ "18014398509481984K", -EOVERFLOW },
		{ "99999999999999999999999999", -EOVERFLOW },
	};
	uint64_t bytes = 77;
	size_t i;

	(void)state;
	for (i = 0; i < CFS_ARRAY_COUNT(bad); i++) {
		struct cfs_err err = CFS_ERR_INIT;

		assert_int_equal(cfs_size_parse(bad[i].text, &bytes, &err),
				 bad[i].code);
		assert_int_equal(bytes, 77);
		assert_int_equal(err.msg[0], '\'');
	}
}

static void test_size_multiple(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	uint64_t bytes = 77;

	(void)state;
	assert_int_equal(cfs_size_parse_multiple("8K", 4096, &bytes, &err), 0);
	assert_int_equal(bytes, 8192);
	assert_int_equal(cfs_size_parse_multiple("1KB", 4096, &bytes, &err),
			 -EINVAL);
	assert_int_equal(bytes, 8192);
	assert_string_equal(err.msg, "'1KB': not a multiple of 4 KiB");
}

static void check_size(uint64_t bytes, const char *expected)
{
	char text[CFS_SIZE_TEXT_BYTES];

	assert_string_equal(cfs_size_format(bytes, text), expected);
}

static void test_size_format(void **state)
{
	(void)state;
	check_size(0, "0 B");
	check_size(1023, "1023 B");
	check_size(1024, "1 KiB");
	check_size(1536, "1.5 KiB");
	check_size(1024 + 51, "1 KiB");   /* 1.0498 */
	check_size(1024 + 52, "1.1 KiB"); /* 1.0508 */
	check_size(UINT64_C(3) << 29, "1.5 GiB");
	check_size((UINT64_C(1) << 20) - 1, "1 MiB");
	check_size((UINT64_C(1023) << 20) + 943718, "1023.9 MiB");
	check_size(UINT64_C(5) << 40, "5 TiB");
	check_size(UINT64_MAX, "16 EiB");
	check_size(UINT64_C(15) << 60, "15 EiB");
}

static void test_duration_parse(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{ "30", 30 * CFS_NS_PER_S },
		{ "30s", 30 * CFS_NS_PER_S },
		{ "10m", 600 * CFS_NS_PER_S },
		{ "2h", 7200 * CFS_NS_PER_S },
		{ "7d", 604800 * CFS_NS_PER_S },
		{ "5ms", 5000000 },
		{ "4w", 4 * 604800 * CFS_NS_PER_S },
		{ "1us", 1000 },
		{ "9ns", 9 },
		{ "0", 0 },
	};
	static const char *const bad[] = {
		"", "s", "-1s", "1.5h", "1 s", "10M", "1y", "1sx", "1h30m",
	};
	uint64_t ns = 0;
	size_t i;

	(void)state;
	for (i = 0; i < CFS_ARRAY_COUNT(good); i++) {
		assert_int_equal(cfs_duration_parse(good[i].text, &ns, NULL),
				 0);
		assert_true(ns == good[i].ns);
	}
	ns = 77;
	for (i = 0; i < CFS_ARRAY_COUNT(bad); i++)
		assert_int_equal(cfs_duration_parse(bad[i], &ns, NULL),
				 -EINVAL);
	assert_int_equal(cfs_duration_parse("30501w", &ns, NULL), -EOVERFLOW);
	assert_int_equal(ns, 77);
	assert_int_equal(cfs_duration_parse("30500w", &ns, NULL), 0);
}

static void check_duration(uint64_t ns, const char *expected)
{
	char text[CFS_DURATION_TEXT_BYTES];

	assert_string_equal(cfs_duration_format(ns, text), expected);
}

static void test_duration_format(void **state)
{
	(void)state;
	check_duration(0, "0 s");
	check_duration(250, "250 ns");
	check_duration(1500000, "1.5 ms");
	check_duration(CFS_NS_PER_S - 1, "999 ms");
	check_duration(42 * CFS_NS_PER_S, "42 s");
	check_duration(125 * CFS_NS_PER_S, "2m 05s");
	check_duration(11400 * CFS_NS_PER_S, "3h 10m");
	check_duration((4 * 86400 + 7200) * CFS_NS_PER_S, "4d 02h");
	check_duration(UINT64_MAX, "213503d 23h");
}

static void test_u64_parse(void **state)
{
	uint64_t v = 7;

	(void)state;
	assert_int_equal(cfs_u64_parse("12", 12, &v, NULL), 0);
	assert_int_equal(v, 12);
	assert_int_equal(cfs_u64_parse("13", 12, &v, NULL), -EOVERFLOW);
	assert_int_equal(cfs_u64_parse("1K", 9999, &v, NULL), -EINVAL);
	assert_int_equal(cfs_u64_parse("", 9999, &v, NULL), -EINVAL);
	assert_int_equal(v, 12);
}

static void test_time_format(void **state)
{
	char text[CFS_TIME_TEXT_BYTES];

	(void)state;
	assert_string_equal(cfs_time_format(0, 0, text),
			    "1970-01-01T00:00:00.000000000Z");
	assert_string_equal(cfs_time_format(951782399, 999999999, text),
			    "2000-02-28T23:59:59.999999999Z");
	assert_string_equal(cfs_time_format(951782400, 1, text),
			    "2000-02-29T00:00:00.000000001Z");
	assert_string_equal(cfs_time_format(-1, 5, text),
			    "1969-12-31T23:59:59.000000005Z");
	assert_string_equal(cfs_time_format(253402300800, 0, text),
			    "+10000-01-01T00:00:00.000000000Z");
	assert_string_equal(cfs_time_format(0, UINT32_MAX, text),
			    "1970-01-01T00:00:00.999999999Z");
	assert_string_equal(cfs_time_format(INT64_MIN, 0, text),
			    "-292277022657-01-27T08:29:52.000000000Z");
	assert_string_equal(cfs_time_format_ns(1709208000000000001, text),
			    "2024-02-29T12:00:00.000000001Z");
}

/* The same dates as the C library's, day after day and far away. */
static void test_time_against_libc(void **state)
{
	struct cfs_rng rng;
	int i;

	(void)state;
	cfs_rng_init(&rng, 3);
	for (i = 0; i < 200000; i++) {
		char text[CFS_TIME_TEXT_BYTES], expected[64];
		int64_t seconds;
		struct tm tm;
		time_t t;

		if (i < 150000)
			seconds = (int64_t)(i - 75000) * 86400 + i % 86400;
		else
			seconds = (int64_t)cfs_rng_below(&rng, 253402300800);
		t = (time_t)seconds;
		assert_non_null(gmtime_r(&t, &tm));
		assert_true(strftime(expected, sizeof(expected),
				     "%Y-%m-%dT%H:%M:%S.000000000Z", &tm) > 0);
		assert_string_equal(cfs_time_format(seconds, 0, text),
				    expected);
	}
}

static void test_clocks(void **state)
{
	struct cfs_clock *clock = cfs_clock_system();
	struct cfs_clock_manual manual;
	uint64_t a, b;

	(void)state;
	a = cfs_clock_elapsed_ns(clock);
	cfs_clock_sleep_until(clock, a + 2 * CFS_NS_PER_MS);
	b = cfs_clock_elapsed_ns(clock);
	assert_true(b >= a + 2 * CFS_NS_PER_MS);
	cfs_clock_sleep_until(clock, a); /* past: at once */
	assert_true(cfs_clock_realtime_ns(clock) > 1600000000 * CFS_NS_PER_S);

	cfs_clock_manual_init(&manual, 5, 100);
	clock = &manual.clock;
	cfs_clock_sleep_until(clock, 8);
	assert_int_equal(cfs_clock_elapsed_ns(clock), 8);
	assert_int_equal(cfs_clock_realtime_ns(clock), 103);
	cfs_clock_sleep_until(clock, 2);
	assert_int_equal(cfs_clock_elapsed_ns(clock), 8);
	assert_int_equal(cfs_deadline_add(8, 2), 10);
	assert_true(cfs_deadline_add(8, UINT64_MAX) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_size_parse),
		cmocka_unit_test(test_size_refused),
		cmocka_unit_test(test_size_multiple),
		cmocka_unit_test(test_size_format),
		cmocka_unit_test(test_duration_parse),
		cmocka_unit_test(test_duration_format),
		cmocka_unit_test(test_u64_parse),
		cmocka_unit_test(test_time_format),
		cmocka_unit_test(test_time_against_libc),
		cmocka_unit_test(test_clocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
