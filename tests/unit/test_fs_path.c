/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Paths of a tree, down by names and up by parents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "fs_fixture.h"

static int64_t follow(struct fixture *f, uint64_t start, const char *path,
		      enum cfs_fs_follow how)
{
	uint64_t ino = 0;
	int r = cfs_fs_resolve(f->fs, start, path, strlen(path), how, &ino,
			       &f->err);

	return r < 0 ? r : (int64_t)ino;
}

static uint64_t make_link(struct fixture *f, uint64_t dir, const char *name,
			  const char *target)
{
	uint64_t ino = 0;

	assert_int_equal(cfs_fs_symlink(f->fs, dir, name, strlen(name), target,
					strlen(target), 0, 0, &ino, &f->err),
			 0);
	return ino;
}

static void test_resolve(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, ROOT, "d"), e = make_dir(f, d, "e");
	uint64_t x = make(f, e, "x"), l = make_link(f, ROOT, "l", "d/e");
	char *longer;
	unsigned int i;

	make_link(f, d, "up", "../d/e/x");
	make_link(f, d, "abs", "/d/e");
	make_link(f, d, "out", "../../../../d");
	make_link(f, d, "slash", "/");
	make_link(f, ROOT, "loop", "loop");
	make_link(f, ROOT, "dangling", "nix");
	assert_int_equal(at(f, ""), ROOT);
	assert_int_equal(at(f, "/"), ROOT);
	assert_int_equal(at(f, "//d/./e//x"), x);
	assert_int_equal(at(f, "d/e/../../../.."), ROOT);
	assert_int_equal(at(f, "d/"), d);
	assert_int_equal(at(f, "d/e/x/"), -ENOTDIR);
	assert_int_equal(at(f, "d/e/x/y"), -ENOTDIR);
	assert_int_equal(at(f, "d/e/x/.."), -ENOTDIR);
	assert_int_equal(at(f, "d/nix/x"), -ENOENT);
	assert_int_equal(follow(f, d, "e", CFS_FS_FOLLOW_NONE), e);
	assert_int_equal(follow(f, d, "/d", CFS_FS_FOLLOW_NONE), d);
	assert_int_equal(at(f, "l"), l);
	assert_int_equal(at(f, "l/"), -ELOOP);
	assert_int_equal(at(f, "l/x"), -ELOOP);
	assert_int_equal(follow(f, ROOT, "l", CFS_FS_FOLLOW_MIDDLE), l);
	assert_int_equal(follow(f, ROOT, "l/x", CFS_FS_FOLLOW_MIDDLE), x);
	assert_int_equal(follow(f, ROOT, "l/", CFS_FS_FOLLOW_MIDDLE), e);
	assert_int_equal(follow(f, ROOT, "l", CFS_FS_FOLLOW_ALL), e);
	assert_int_equal(follow(f, ROOT, "d/up", CFS_FS_FOLLOW_ALL), x);
	assert_int_equal(follow(f, ROOT, "d/up/", CFS_FS_FOLLOW_ALL), -ENOTDIR);
	assert_int_equal(follow(f, d, "abs/x", CFS_FS_FOLLOW_ALL), x);
	assert_int_equal(follow(f, d, "out", CFS_FS_FOLLOW_ALL), d);
	assert_int_equal(follow(f, d, "slash", CFS_FS_FOLLOW_ALL), ROOT);
	assert_int_equal(follow(f, d, "slash/d/e", CFS_FS_FOLLOW_ALL), e);
	assert_int_equal(follow(f, d, "abs/../../l/x", CFS_FS_FOLLOW_ALL), x);
	assert_int_equal(follow(f, ROOT, "loop", CFS_FS_FOLLOW_ALL), -ELOOP);
	assert_int_equal(follow(f, ROOT, "dangling", CFS_FS_FOLLOW_ALL),
			 -ENOENT);
	longer = malloc(65538);
	assert_non_null(longer);
	memset(longer, 'a', 65537);
	assert_int_equal(cfs_fs_resolve(f->fs, ROOT, longer, 65537,
					CFS_FS_FOLLOW_ALL, &x, &f->err),
			 -ENAMETOOLONG);
	assert_int_equal(cfs_fs_resolve(f->fs, ROOT, longer, 256,
					CFS_FS_FOLLOW_ALL, &x, &f->err),
			 -ENAMETOOLONG);
	for (i = 0; i < 65536; i++)
		longer[i] = "./"[i % 2];
	assert_int_equal(cfs_fs_resolve(f->fs, ROOT, longer, 65536,
					CFS_FS_FOLLOW_ALL, &x, &f->err),
			 0);
	free(longer);
	assert_int_equal(cfs_fs_resolve(f->fs, ROOT, N("a\0b"),
					CFS_FS_FOLLOW_ALL, &x, &f->err),
			 -EINVAL);
}

/* Forty symlinks are followed, not more. */
static void test_symlinks_max(void **state)
{
	struct fixture *f = *state;
	char name[16], target[16];
	unsigned int i;

	make(f, ROOT, "s0");
	for (i = 1; i <= 41; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		snprintf(target, sizeof(target), "s%u", i - 1);
		make_link(f, ROOT, name, target);
	}
	assert_true(follow(f, ROOT, "s40", CFS_FS_FOLLOW_ALL) > 0);
	assert_int_equal(follow(f, ROOT, "s41", CFS_FS_FOLLOW_ALL), -ELOOP);
}

static void test_resolve_parent(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, ROOT, "d"), dir = 0;
	const char *name = NULL;
	size_t n = 0;

	assert_int_equal(cfs_fs_resolve_parent(f->fs, ROOT, N("/d//new/"),
					       CFS_FS_FOLLOW_NONE, &dir, &name,
					       &n, &f->err),
			 0);
	assert_int_equal(dir, d);
	assert_int_equal(n, 3);
	assert_memory_equal(name, "new", 3);
	assert_int_equal(cfs_fs_resolve_parent(f->fs, d, N("new"),
					       CFS_FS_FOLLOW_NONE, &dir, &name,
					       &n, &f->err),
			 0);
	assert_int_equal(dir, d);
	assert_int_equal(cfs_fs_resolve_parent(f->fs, ROOT, N("//"),
					       CFS_FS_FOLLOW_NONE, &dir, &name,
					       &n, &f->err),
			 -EINVAL);
	assert_int_equal(cfs_fs_resolve_parent(f->fs, ROOT, N("d/.."),
					       CFS_FS_FOLLOW_NONE, &dir, &name,
					       &n, &f->err),
			 -EINVAL);
	assert_int_equal(cfs_fs_resolve_parent(f->fs, ROOT, N("nix/a"),
					       CFS_FS_FOLLOW_NONE, &dir, &name,
					       &n, &f->err),
			 -ENOENT);
}

static void assert_path(struct fixture *f, uint64_t ino, const char *path)
{
	struct cfs_buf buf = CFS_BUF_INIT;

	assert_int_equal(cfs_fs_path_of(f->fs, ino, &buf, &f->err), 0);
	assert_string_equal(cfs_buf_text(&buf), path);
	cfs_buf_donep(&buf);
}

static void test_path_of(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, ROOT, "d"), e = make_dir(f, d, "e");
	uint64_t x = make(f, e, "x"), big = make_dir(f, ROOT, "big");
	struct cfs_buf buf = CFS_BUF_INIT;
	char name[16];
	unsigned int i;
	uint64_t last = 0;

	assert_path(f, ROOT, "/");
	assert_path(f, d, "/d");
	assert_path(f, x, "/d/e/x");
	assert_int_equal(mv(f, "d/e", "f", 0), 0);
	assert_path(f, x, "/f/x");
	/* The name that the inode remembers goes, the other is found. */
	assert_int_equal(cfs_fs_link(f->fs, x, d, N("y"), &f->err), 0);
	assert_int_equal(cfs_fs_unlink(f->fs, e, N("x"), &f->err), 0);
	assert_path(f, x, "/d/y");
	for (i = 0; i < 2500; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		last = make(f, big, name);
	}
	assert_path(f, last, "/big/n2499");
	assert_int_equal(cfs_fs_path_of(f->fs, 99999, &buf, &f->err), -ENOENT);
	assert_int_equal(cfs_fs_open_ino(f->fs, x, &f->err), 0);
	assert_int_equal(cfs_fs_unlink(f->fs, d, N("y"), &f->err), 0);
	assert_int_equal(cfs_fs_path_of(f->fs, x, &buf, &f->err), -ENOENT);
	assert_int_equal(cfs_fs_close_ino(f->fs, x, &f->err), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_resolve),
		TEST(test_symlinks_max),
		TEST(test_resolve_parent),
		TEST(test_path_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
