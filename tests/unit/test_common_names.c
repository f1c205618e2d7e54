/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The forms of a name: what each means, and what is refused with which words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "common/names.h"

static void same(const char *a, const char *b)
{
	if (!a || !b)
		assert_ptr_equal(a, b);
	else
		assert_string_equal(a, b);
}

struct form {
	const char *text, *pool, *volume, *clone, *snap, *path;
};

static void test_forms(void **state)
{
	static const struct form forms[] = {
		{ "pool.img", "pool.img", 0, 0, 0, 0 },
		{ "/a b/p@x", "/a b/p@x", 0, 0, 0, 0 },
		{ "p:vm0", "p", "vm0", 0, 0, 0 },
		{ "p:vm0/c1", "p", "vm0/c1", "c1", 0, 0 },
		{ "p:vm0@a", "p", "vm0", 0, "a", 0 },
		{ "p:vm0/c1@a.b", "p", "vm0/c1", "c1", "a.b", 0 },
		{ "p:t:/x", "p", "t", 0, 0, "/x" },
		{ "p:t@s:/x:y@z/", "p", "t", 0, "s", "/x:y@z/" },
		{ "p:t:/\xff\n", "p", "t", 0, 0, "/\xff\n" },
		{ "file:a%3Ab", "file:a%3Ab", 0, 0, 0, 0 },
		{ "file:a%3Ab:vm0", "file:a%3Ab", "vm0", 0, 0, 0 },
		{ "nbd://h/x:vol@s", "nbd://h/x", "vol", 0, "s", 0 },
		{ "any+x://h/x:vol", "any+x://h/x", "vol", 0, 0, 0 },
		{ "files:vm0", "files", "vm0", 0, 0, 0 },
	};
	const struct form *f;
	struct cfs_name name;
	struct cfs_err err;

	(void)state;
	for (f = forms; f < forms + CFS_ARRAY_COUNT(forms); f++) {
		assert_int_equal(cfs_name_parse(f->text, 0, CFS_NAME_ANY_PATH,
						NULL, &name, &err),
				 0);
		same(name.pool, f->pool);
		same(name.volume, f->volume);
		same(name.clone, f->clone);
		same(name.snap, f->snap);
		same(name.path, f->path);
		assert_false(name.is_env_pool);
		cfs_name_done(&name);
	}
}

static void test_env_pool(void **state)
{
	struct cfs_name name;
	struct cfs_err err;

	(void)state;
	assert_int_equal(cfs_name_parse(":vm0@a", 0, CFS_NAME_ANY_SNAP,
					"nbd://h:9/x", &name, &err),
			 0);
	assert_string_equal(name.pool, "nbd://h:9/x");
	assert_string_equal(name.container, "vm0");
	assert_true(name.is_env_pool);
	cfs_name_done(&name);
	assert_int_equal(
		cfs_name_parse(":vm0", 0, CFS_NAME_ANY_SNAP, "", &name, &err),
		-EINVAL);
	assert_non_null(strstr(err.msg, "$CFS_POOL"));
}

struct bad {
	const char *text, *says;
	unsigned int need, allow;
};

static void test_refused(void **state)
{
	static const struct bad bad[] = {
		{ "", "the name is empty", 0, ~0u },
		{ "file:", "the URI names no device", 0, ~0u },
		{ "p:", "no volume is named behind the ':'", 0, ~0u },
		{ "p:/x",
		  "a path needs a volume before it: "
		  "POOL:VOLUME:/path",
		  0, ~0u },
		{ "p:-x", "volume name begins with '-'", 0, ~0u },
		{ "p:.x", "volume name begins with '.'", 0, ~0u },
		{ "p:a b",
		  "volume name has a byte 0x20: only A-Z a-z 0-9 . "
		  "_ - are allowed",
		  0, ~0u },
		{ "p:a%",
		  "volume name has a '%': only A-Z a-z 0-9 . _ - "
		  "are allowed",
		  0, ~0u },
		{ "p:a/", "clone name is empty", 0, ~0u },
		{ "p:a/b/c",
		  "clone name has a '/': only A-Z a-z 0-9 . _ - "
		  "are allowed",
		  0, ~0u },
		{ "p:a@", "snapshot name is empty", 0, ~0u },
		{ "p:a:x", "the path does not begin with '/'", 0, ~0u },
		{ "p:a", "a pool is wanted here, not a volume", 0, 0 },
		{ "p:a/b", "a container is wanted here, not a clone", 0,
		  CFS_NAME_VOLUME },
		{ "p:a@b", "no snapshot can be named here", 0,
		  CFS_NAME_ANY_VOLUME },
		{ "p:a:/b", "no path can be named here", 0, CFS_NAME_ANY_SNAP },
		{ "p", "no volume is named: POOL:VOLUME", CFS_NAME_VOLUME, 0 },
		{ "p:a", "no snapshot is named: POOL:VOLUME@SNAP",
		  CFS_NAME_VOLUME | CFS_NAME_SNAP, 0 },
		{ "p:a", "no clone is named: POOL:NAME/CLONE",
		  CFS_NAME_ANY_VOLUME, 0 },
		{ "p:a", "no path is named: POOL:VOLUME:/path",
		  CFS_NAME_PATH | CFS_NAME_VOLUME, 0 },
	};
	const struct bad *b;
	struct cfs_name name = { .pool = NULL };
	struct cfs_err err;

	(void)state;
	for (b = bad; b < bad + CFS_ARRAY_COUNT(bad); b++) {
		assert_int_equal(cfs_name_parse(b->text, b->need, b->allow,
						NULL, &name, &err),
				 -EINVAL);
		assert_string_equal(err.msg, b->says);
		assert_null(name.pool); /* ret: on success only */
	}
}

static void test_length(void **state)
{
	char name[CFS_NAME_BYTES_MAX + 2];
	struct cfs_err err;

	(void)state;
	memset(name, 'a', sizeof(name));
	name[CFS_NAME_BYTES_MAX + 1] = '\0';
	assert_int_equal(cfs_name_check("name", name, &err), -EINVAL);
	assert_string_equal(err.msg,
			    "name has 128 bytes, at most 127 are allowed");
	name[CFS_NAME_BYTES_MAX] = '\0';
	assert_int_equal(cfs_name_check("name", name, &err), 0);
	assert_int_equal(cfs_name_check("name", "Az0._-", &err), 0);
}

static void range(const char *text, const char *first, const char *last)
{
	struct cfs_name name;
	struct cfs_err err;

	assert_int_equal(cfs_name_parse(text, 0,
					CFS_NAME_ANY_SNAP | CFS_NAME_RANGE,
					NULL, &name, &err),
			 0);
	same(name.range_first, first);
	same(name.range_last, last);
	assert_string_equal(name.snap, strchr(text, '@') + 1);
	cfs_name_done(&name);
}

static void test_ranges(void **state)
{
	struct cfs_name name;
	struct cfs_err err;

	(void)state;
	range("p:v@a..b", "a", "b");
	range("p:v@a", NULL, NULL);
	range("p:v@a.b", NULL, NULL);
	range("p:v@a...b", "a.", "b"); /* ".b" is no name */
	range("p:v@a..", NULL, NULL);  /* a name that ends in dots */
	/* Where no range is allowed it is a name. */
	assert_int_equal(cfs_name_parse("p:v@a..b", 0, CFS_NAME_ANY_SNAP, NULL,
					&name, &err),
			 0);
	assert_null(name.range_first);
	assert_string_equal(name.snap, "a..b");
	cfs_name_done(&name);
}

static void test_host_or_volume(void **state)
{
	(void)state;
	assert_true(cfs_name_is_volume("p:vm0"));
	assert_true(cfs_name_is_volume(":vm0"));
	assert_true(cfs_name_is_volume("file:a%3Ab:vm0"));
	assert_false(cfs_name_is_volume("dir/file"));
	assert_false(cfs_name_is_volume("file:a%3Ab"));
	assert_false(cfs_name_is_volume("-"));
	assert_true(cfs_name_is_stdio("-"));
	assert_false(cfs_name_is_stdio("./-"));
}

static void test_snap_alone(void **state)
{
	const char *snap = NULL;
	struct cfs_err err;

	(void)state;
	assert_int_equal(cfs_name_parse_snap("@a", &snap, &err), 0);
	assert_string_equal(snap, "a");
	assert_int_equal(cfs_name_parse_snap("b", &snap, &err), 0);
	assert_string_equal(snap, "b");
	assert_int_equal(cfs_name_parse_snap("@@a", &snap, &err), -EINVAL);
	assert_string_equal(snap, "b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_env_pool),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_host_or_volume),
		cmocka_unit_test(test_snap_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
