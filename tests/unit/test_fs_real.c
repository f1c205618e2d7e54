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

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define FS_REAL
#include "fs_model.h"

static void test_histories(void **state)
{
	unsigned int seed;

	(void)state;
	for (seed = 1; seed <= 8; seed++)
		history(seed, 2500);
}

#define ENTRIES 20000u
#define LINKS   3000u

static size_t entry_name(const char *stem, unsigned int i, char name[32])
{
	return (size_t)snprintf(name, 32, "%s-%u", stem, i);
}

/* Each entry is seen once; those that @is_gone says are not there. */
static void assert_seen_once(struct fixture *f, uint64_t dir, bool is_odd_gone)
{
	struct cfs_fs_entry *list = calloc(256, sizeof(*list));
	uint8_t *seen = calloc(1, ENTRIES);
	uint64_t cookie = 0;
	size_t n = 0, all = 0;
	unsigned int i;

	assert_true(list && seen);
	do {
		assert_int_equal(cfs_fs_readdir(f->fs, dir, cookie, list, 256,
						&n, &f->err),
				 0);
		for (size_t k = 0; k < n; k++)
			if (sscanf(list[k].name, "file-%u", &i) == 1) {
				assert_true(i < ENTRIES && !seen[i]);
				assert_false(is_odd_gone && i % 2);
				seen[i] = 1;
				all++;
			}
		cookie = n ? list[n - 1].next_cookie : 0;
	} while (n);
	assert_int_equal(all, is_odd_gone ? ENTRIES / 2 : ENTRIES);
	free(list);
	free(seen);
}

/* A directory that takes many nodes, and a file with many names. */
static void test_many(void **state)
{
	struct fixture *f = *state;
	uint64_t dir = make_dir(f, ROOT, "d"), first = 0, ino;
	char name[32];

	for (unsigned int i = 0; i < ENTRIES; i++) {
		assert_int_equal(cfs_fs_create(f->fs, dir, name,
					       entry_name("file", i, name),
					       0644, 1, 2, &ino, &f->err),
				 0);
		first = i ? first : ino;
	}
	assert_int_equal(cfs_fs_sync(f->fs, dir, &f->err), 0);
	assert_seen_once(f, dir, false);
	for (unsigned int i = 0; i < LINKS; i++)
		assert_int_equal(cfs_fs_link(f->fs, first, dir, name,
					     entry_name("link", i, name),
					     &f->err),
				 0);
	assert_int_equal(attr(f, first).nlink, 1 + LINKS);
	assert_int_equal(attr(f, dir).entry_count, ENTRIES + LINKS);
	for (unsigned int i = 1; i < ENTRIES; i += 2)
		assert_int_equal(cfs_fs_unlink(f->fs, dir, name,
					       entry_name("file", i, name),
					       &f->err),
				 0);
	assert_seen_once(f, dir, true);
	for (unsigned int i = 0; i < LINKS; i++)
		assert_int_equal(cfs_fs_unlink(f->fs, dir, name,
					       entry_name("link", i, name),
					       &f->err),
				 0);
	for (unsigned int i = 0; i < ENTRIES; i++) {
		const size_t n = entry_name("file", i, name);

		assert_int_equal(
			cfs_fs_lookup(f->fs, dir, name, n, &ino, NULL, &f->err),
			i % 2 ? -ENOENT : 0);
		if (i % 2 == 0)
			assert_int_equal(
				cfs_fs_unlink(f->fs, dir, name, n, &f->err), 0);
	}
	assert_int_equal(cfs_fs_rmdir(f->fs, ROOT, "d", 1, &f->err), 0);
}

#define XATTRS 3000u

static void value_of(unsigned int i, uint8_t value[100])
{
	for (unsigned int k = 0; k < 100; k++)
		value[k] = (uint8_t)(i * 7 + k);
}

/* A file with thousands of attributes, then with every other of them. */
static void test_many_xattrs(void **state)
{
	struct fixture *f = *state;
	uint64_t ino = make(f, ROOT, "a");
	uint8_t value[100], got[100];
	char name[32];
	size_t n = 0, all = 0;

	for (unsigned int i = 0; i < XATTRS; i++) {
		value_of(i, value);
		(void)snprintf(name, sizeof(name), "user.n%u", i);
		all += strlen(name) + 1;
		assert_int_equal(cfs_fs_xattr_set(f->fs, ino, name, value,
						  sizeof(value), 0, &f->err),
				 0);
	}
	assert_int_equal(cfs_fs_sync(f->fs, ino, &f->err), 0);
	assert_int_equal(cfs_fs_xattr_list(f->fs, ino, NULL, 0, &n, &f->err),
			 0);
	assert_int_equal(n, all);
	for (unsigned int i = 1; i < XATTRS; i += 2) {
		(void)snprintf(name, sizeof(name), "user.n%u", i);
		assert_int_equal(cfs_fs_xattr_remove(f->fs, ino, name, &f->err),
				 0);
	}
	for (unsigned int i = 0; i < XATTRS; i++) {
		value_of(i, value);
		(void)snprintf(name, sizeof(name), "user.n%u", i);
		assert_int_equal(cfs_fs_xattr_get(f->fs, ino, name, got,
						  sizeof(got), &n, &f->err),
				 i % 2 ? -ENODATA : 0);
		if (i % 2 == 0)
			assert_memory_equal(got, value, sizeof(value));
	}
	assert_int_equal(cfs_fs_unlink(f->fs, ROOT, "a", 1, &f->err), 0);
}

static void put_at(struct fixture *f, uint64_t ino, uint64_t at,
		   const char *text)
{
	size_t n = 0;

	assert_int_equal(
		cfs_fs_write(f->fs, ino, at, text, strlen(text), &n, &f->err),
		0);
	assert_int_equal(n, strlen(text));
}

static void assert_at(struct fixture *f, uint64_t ino, uint64_t at,
		      const char *text)
{
	char buf[16];
	size_t n = 0;

	assert_int_equal(
		cfs_fs_read(f->fs, ino, at, buf, strlen(text), &n, &f->err), 0);
	assert_int_equal(n, strlen(text));
	assert_memory_equal(buf, text, n);
}

/* The longest file there can be: a block at each end and some between. */
static void test_longest_file(void **state)
{
	static const unsigned int shifts[] = { 12, 31, 32, 40, 44, 52, 59 };
	struct fixture *f = *state;
	uint64_t ino = make(f, ROOT, "a"), at = 0, blocks = 0;
	char buf[8];
	size_t n;

	assert_int_equal(
		cfs_fs_truncate(f->fs, ino, CFS_FS_FILE_BYTES_MAX, &f->err), 0);
	for (size_t i = 0; i < CFS_ARRAY_COUNT(shifts); i++)
		put_at(f, ino, UINT64_C(1) << shifts[i], "middle");
	put_at(f, ino, CFS_FS_FILE_BYTES_MAX - 3, "end");
	assert_int_equal(cfs_fs_sync(f->fs, ino, &f->err), 0);
	for (size_t i = 0; i < CFS_ARRAY_COUNT(shifts); i++) {
		assert_int_equal(
			cfs_fs_seek(f->fs, ino, at, true, &at, &f->err), 0);
		assert_int_equal(at, UINT64_C(1) << shifts[i]);
		assert_at(f, ino, at, "middle");
		assert_int_equal(
			cfs_fs_seek(f->fs, ino, at, false, &at, &f->err), 0);
		assert_int_equal(at, (UINT64_C(1) << shifts[i]) + 4096);
	}
	assert_int_equal(cfs_fs_seek(f->fs, ino, at, true, &at, &f->err), 0);
	assert_int_equal(at, CFS_FS_FILE_BYTES_MAX - 4096);
	assert_at(f, ino, CFS_FS_FILE_BYTES_MAX - 3, "end");
	assert_int_equal(cfs_fs_block_count(f->fs, ino, &blocks, &f->err), 0);
	assert_int_equal(blocks, CFS_ARRAY_COUNT(shifts) + 1);
	assert_int_equal(cfs_fs_punch_hole(f->fs, ino, 4096,
					   CFS_FS_FILE_BYTES_MAX - 8192,
					   &f->err),
			 0);
	assert_int_equal(cfs_fs_block_count(f->fs, ino, &blocks, &f->err), 0);
	assert_int_equal(blocks, 1);
	assert_int_equal(cfs_fs_read(f->fs, ino, CFS_FS_FILE_BYTES_MAX, buf, 8,
				     &n, &f->err),
			 0);
	assert_int_equal(n, 0);
	assert_int_equal(cfs_fs_unlink(f->fs, ROOT, "a", 1, &f->err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_histories),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_xattrs, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_longest_file, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
