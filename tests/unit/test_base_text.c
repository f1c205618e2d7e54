/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Names of any bytes are shown safely and can be read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"

static void check_escape(const char *src, size_t n, const char *expected)
{
	char text[256];

	assert_int_equal(cfs_text_escape(text, sizeof(text), src, n),
			 strlen(expected));
	assert_string_equal(text, expected);
}

static void test_escape(void **state)
{
	(void)state;
	check_escape("plain name", 10, "plain name");
	check_escape("", 0, "");
	check_escape("a\tb\n", 4, "a\\x09b\\x0a");
	check_escape("\\x09", 4, "\\\\x09");
	check_escape("\xc3\xa4\xe2\x82\xac", 5, "\xc3\xa4\xe2\x82\xac");
	check_escape("\xff", 1, "\\xff");
	check_escape("\0x", 2, "\\x00x");
	check_escape("\xc2\x9b", 2, "\\xc2\\x9b");          /* C1 */
	check_escape("\xe2\x80\xae", 3, "\\xe2\\x80\\xae"); /* U+202E */
	check_escape("\xc3", 1, "\\xc3");
}

static void test_invalid_utf8(void **state)
{
	static const char *const bad[] = {
		"\x80",
		"\xc0\x80",
		"\xc1\xbf",
		"\xe0\x80\x80",
		"\xed\xa0\x80",
		"\xf0\x80\x80\x80",
		"\xf4\x90\x80\x80",
		"\xf8\x88\x80\x80\x80",
		"\xe2\x82",
		"\xe2\x28\xa1",
		"\xfe",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(cfs_utf8_is_valid(bad[i], strlen(bad[i])));
	assert_true(cfs_utf8_is_valid("\xf4\x8f\xbf\xbf", 4));
	assert_true(cfs_utf8_is_valid("\xed\x9f\xbf\xee\x80\x80", 6));
}

static void test_escape_cut(void **state)
{
	char text[6];

	(void)state;
	assert_int_equal(cfs_text_escape(text, sizeof(text), "abc\n", 4), 7);
	assert_string_equal(text, "abc"); /* no half escape */
	assert_int_equal(cfs_text_escape(NULL, 0, "abc", 3), 3);
	/* What comes behind a piece that did not fit is not put before it. */
	assert_int_equal(cfs_text_escape(text, sizeof(text), "abc\nd", 5), 8);
	assert_string_equal(text, "abc");
}

static void test_unescape_all_bytes(void **state)
{
	struct cfs_rng rng;
	uint8_t bytes[64];
	unsigned int i;

	(void)state;
	cfs_rng_init(&rng, 1);
	for (i = 0; i < 500; i++) {
		size_t n = (size_t)cfs_rng_below(&rng, sizeof(bytes));
		size_t back_bytes = 0;
		char *text, *back = NULL;

		cfs_rng_fill(&rng, bytes, n);
		text = cfs_text_escape_dup(bytes, n);
		assert_non_null(text);
		assert_true(cfs_utf8_is_valid(text, strlen(text)));
		assert_int_equal(cfs_text_unescape(text, &back, &back_bytes),
				 0);
		assert_int_equal(back_bytes, n);
		if (n)
			assert_memory_equal(back, bytes, n);
		free(text);
		free(back);
	}
}

static void test_unescape_bad(void **state)
{
	static const char *const bad[] = { "\\",    "\\x", "\\x1",
					   "\\xg0", "\\n", "\\x0g" };
	size_t i, n;
	char *s;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(cfs_text_unescape(bad[i], &s, &n), -EINVAL);
}

static char last_line[1100];
static unsigned int line_count;

static void keep_line(void *context, enum cfs_log_level level, const char *line)
{
	assert_ptr_equal(context, &line_count);
	assert_true(level <= CFS_LOG_NOTICE);
	line_count++;
	strncpy(last_line, line, sizeof(last_line) - 1);
}

static void test_logger(void **state)
{
	const struct cfs_logger logger = {
		.write = keep_line,
		.context = &line_count,
		.max_level = CFS_LOG_NOTICE,
	};

	(void)state;
	errno = EXDEV;
	cfs_logger_printf(NULL, CFS_LOG_WARNING, "nobody");
	cfs_logger_printf(&logger, CFS_LOG_DEBUG, "too much");
	assert_int_equal(line_count, 0);
	cfs_logger_printf(&logger, CFS_LOG_WARNING, "%s: gone\n", "a\\b");
	assert_int_equal(line_count, 1);
	assert_string_equal(last_line, "a\\b: gone\\x0a");
	assert_int_equal(errno, EXDEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_invalid_utf8),
		cmocka_unit_test(test_escape_cut),
		cmocka_unit_test(test_unescape_all_bytes),
		cmocka_unit_test(test_unescape_bad),
		cmocka_unit_test(test_logger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
