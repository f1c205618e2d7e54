/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Names from archives become paths that cannot lead out, and the stack of
 * directories opens each component from its parent, whatever the order in
 * which it is asked, with few handles open.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "session/transfer_priv.h"

static void cleaned(const char *name, const char *want)
{
	struct cfs_buf buf = CFS_BUF_INIT;

	assert_int_equal(transfer_path_clean(name, &buf, NULL), 0);
	assert_string_equal(cfs_buf_text(&buf), want);
	cfs_buf_donep(&buf);
}

static void refused(const char *name, int code)
{
	struct cfs_buf buf = CFS_BUF_INIT;
	struct cfs_err err = CFS_ERR_INIT;

	assert_int_equal(transfer_path_clean(name, &buf, &err), code);
	assert_int_equal(err.code, code);
	assert_int_equal(buf.bytes, 0);
	cfs_buf_donep(&buf);
}

static void test_clean(void **state)
{
	char name[300];

	(void)state;
	cleaned("a/b", "a/b");
	cleaned("/a", "a");
	cleaned("///a//b///", "a/b");
	cleaned("./a/./b/.", "a/b");
	cleaned("", "");
	cleaned(".", "");
	cleaned("/", "");
	cleaned("...", "...");
	cleaned("..a/b..", "..a/b..");
	cleaned(" \t\n\xff", " \t\n\xff");
	refused("..", -EXDEV);
	refused("../a", -EXDEV);
	refused("/..", -EXDEV);
	refused("a/..", -EXDEV);
	refused("a/../../b", -EXDEV);
	memset(name, 'n', sizeof(name));
	name[255] = '\0';
	cleaned(name, name);
	name[255] = 'n';
	name[256] = '\0';
	refused(name, -ENAMETOOLONG);
}

/* Directories as numbers: a handle is its depth, and where it is. */
struct fake {
	struct transfer_stack stack;
	unsigned int open_count, most;
	uint64_t opened; /* calls of open */
	bool was_made;
};

static uint64_t child_of(uint64_t parent, const char *name)
{
	uint64_t h = parent * 31 + 7;

	while (*name)
		h = h * 131 + (uint8_t)*name++;
	return h & INT64_MAX;
}

static int fake_open(void *arg, uint64_t parent, const char *name, bool makes,
		     uint64_t *ret, struct cfs_err *err)
{
	struct fake *f = arg;

	if (strcmp(name, "link") == 0)
		return cfs_err_set(err, -EXDEV, "link");
	f->was_made = makes;
	f->opened++;
	f->open_count++;
	if (f->open_count > f->most)
		f->most = f->open_count;
	*ret = child_of(parent, name);
	return 0;
}

static void fake_close(void *arg, uint64_t handle)
{
	struct fake *f = arg;

	assert_int_not_equal(handle, TRANSFER_NO_HANDLE);
	assert_int_not_equal(handle, f->stack.root);
	assert_true(f->open_count > 0);
	f->open_count--;
}

static void fake_init(struct fake *f)
{
	memset(f, 0, sizeof(*f));
	f->stack.open = fake_open;
	f->stack.close = fake_close;
	f->stack.arg = f;
	f->stack.root = 1;
}

/* What going there by hand gives. */
static uint64_t expected(const char *path)
{
	char copy[4096], *rest = copy, *name;
	uint64_t h = 1;

	(void)snprintf(copy, sizeof(copy), "%s", path);
	while ((name = strsep(&rest, "/")))
		if (*name)
			h = child_of(h, name);
	return h;
}

static void goes(struct fake *f, const char *path)
{
	uint64_t h = 0;

	assert_int_equal(transfer_stack_go(&f->stack, path, strlen(path), true,
					   &h, NULL),
			 0);
	assert_int_equal(h, expected(path));
}

static void test_stack(void **state)
{
	struct fake f;

	(void)state;
	fake_init(&f);
	goes(&f, "");
	goes(&f, "a/b/c");
	assert_int_equal(f.opened, 3);
	goes(&f, "a/b/d");
	assert_int_equal(f.opened, 4);
	goes(&f, "a/bb"); /* not a/b and a rest */
	goes(&f, "a");
	assert_int_equal(f.opened, 5);
	goes(&f, "");
	transfer_stack_done(&f.stack);
	assert_int_equal(f.open_count, 0);
}

static void test_stack_failure(void **state)
{
	struct fake f;
	uint64_t h = 77;

	(void)state;
	fake_init(&f);
	assert_int_equal(
		transfer_stack_go(&f.stack, "a/link/b", 8, true, &h, NULL),
		-EXDEV);
	assert_int_equal(h, 77);
	goes(&f, "a/c");
	transfer_stack_done(&f.stack);
	assert_int_equal(f.open_count, 0);
}

static void test_stack_deep_and_mixed(void **state)
{
	struct cfs_rng rng;
	char path[2048];
	struct fake f;
	unsigned int i, j;

	(void)state;
	cfs_rng_init(&rng, 5);
	fake_init(&f);
	for (i = 0; i < 2000; i++) {
		uint64_t depth = cfs_rng_below(&rng, 200);
		size_t n = 0;

		path[0] = '\0';
		for (j = 0; j < depth; j++)
			n += (size_t)snprintf(path + n, sizeof(path) - n,
					      "%s%u", j ? "/" : "",
					      cfs_rng_below(&rng, 60) ? 0 : 1);
		goes(&f, path);
	}
	assert_true(f.most <= 40);
	transfer_stack_done(&f.stack);
	assert_int_equal(f.open_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean),
		cmocka_unit_test(test_stack),
		cmocka_unit_test(test_stack_failure),
		cmocka_unit_test(test_stack_deep_and_mixed),
	};

	return cmocka_run_group_tests_name("transfer_path", tests, NULL, NULL);
}
