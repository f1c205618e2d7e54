/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One error is one line, always terminated, and never touches errno. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/err.h"

static void test_set(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	errno = EBADF;
	assert_int_equal(cfs_err_set(&err, -EUCLEAN, "label %d: bad", 3),
			 -EUCLEAN);
	assert_int_equal(errno, EBADF);
	assert_int_equal(err.code, -EUCLEAN);
	assert_string_equal(err.msg, "label 3: bad");
	assert_int_equal(cfs_err_set(NULL, -EIO, "nobody listens"), -EIO);
}

static void test_set_from_itself(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	cfs_err_set(&err, -EIO, "first");
	cfs_err_set(&err, -EROFS, "again: %s", err.msg);
	assert_string_equal(err.msg, "again: first");
}

static void test_wrap(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	cfs_err_set(&err, -EUCLEAN, "bad checksum");
	assert_int_equal(cfs_err_wrap(&err, -EIO, "%s", "img"), -EIO);
	assert_int_equal(err.code, -EIO);
	assert_string_equal(err.msg, "img: bad checksum");
	assert_int_equal(cfs_err_wrap(NULL, -EIO, "x"), -EIO);
}

static void test_wrap_of_nothing(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	cfs_err_wrap(&err, -ENOENT, "img");
	assert_string_equal(err.msg, "img: No such file or directory");
}

static void test_errno_text(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	assert_int_equal(cfs_err_errno(&err, -EACCES, "open %s", "f"), -EACCES);
	assert_string_equal(err.msg, "open f: Permission denied");
	cfs_err_errno(&err, -99999, "f");
	assert_string_equal(err.msg, "f: unknown error");
}

static void test_one_line(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	cfs_err_set(&err, -EIO, "%s",
		    "a\nb\033[31m\177\xff\xc2\x9b"
		    "z\xc3\xa4");
	assert_string_equal(err.msg, "a?b?[31m????z\xc3\xa4");
}

static void test_cut(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	char text[2 * CFS_ERR_BYTES];
	int i;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	cfs_err_set(&err, -EIO, "%s", text);
	assert_int_equal(strlen(err.msg), CFS_ERR_BYTES - 1);
	assert_string_equal(err.msg + CFS_ERR_BYTES - 5, "x...");
	for (i = 0; i < 3; i++)
		cfs_err_wrap(&err, -EIO, "where %d", i);
	assert_int_equal(strlen(err.msg), CFS_ERR_BYTES - 1);
	assert_memory_equal(err.msg, "where 2: where 1: where 0: xx", 29);
	assert_string_equal(err.msg + CFS_ERR_BYTES - 5, "x...");
}

/* Cut in the middle of a character: no half of it is shown. */
static void test_cut_character(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	char text[CFS_ERR_BYTES + 2];
	size_t i;

	(void)state;
	for (i = 0; i + 2 < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xa4", 2);
	text[i] = '\0';
	cfs_err_set(&err, -EIO, "%s", text);
	assert_string_equal(err.msg + CFS_ERR_BYTES - 6, "\xc3\xa4...");
	cfs_err_set(&err, -EIO, "x%s", text);
	assert_string_equal(err.msg + CFS_ERR_BYTES - 7, "\xc3\xa4?...");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_set_from_itself),
		cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_wrap_of_nothing),
		cmocka_unit_test(test_errno_text),
		cmocka_unit_test(test_one_line),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_cut_character),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
