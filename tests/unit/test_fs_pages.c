/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Blocks of many files that are dirty at once: each file has its own, and keeps
 * them when others are cut or removed, before a fold and behind it.
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
#include "fs_fixture.h"

#define FILES 300u
#define BLOCK 4096u

/* File @i has blocks 0, first_of and last_of. */
static uint64_t first_of(unsigned int i)
{
	return 2 + i % 7;
}

static uint64_t last_of(unsigned int i)
{
	return 20 + i % 5 * 1000;
}

static void write_block(struct fixture *f, uint64_t ino, unsigned int i,
			uint64_t block)
{
	uint8_t data[BLOCK];
	size_t n = 0;

	memset(data, (int)(1 + (i + block) % 255), sizeof(data));
	assert_int_equal(cfs_fs_write(f->fs, ino, block * BLOCK, data,
				      sizeof(data), &n, &f->err),
			 0);
	assert_int_equal(n, sizeof(data));
}

static void assert_block(struct fixture *f, uint64_t ino, unsigned int i,
			 uint64_t block)
{
	uint8_t data[BLOCK];
	size_t n = 0;

	assert_int_equal(cfs_fs_read(f->fs, ino, block * BLOCK, data,
				     sizeof(data), &n, &f->err),
			 0);
	assert_int_equal(n, sizeof(data));
	for (size_t k = 0; k < sizeof(data); k++)
		assert_int_equal(data[k], 1 + (i + block) % 255);
}

static void assert_data_at(struct fixture *f, uint64_t ino, uint64_t from,
			   uint64_t at)
{
	uint64_t to = 0;

	assert_int_equal(
		cfs_fs_seek(f->fs, ino, from * BLOCK, true, &to, &f->err), 0);
	assert_int_equal(to, at * BLOCK);
}

static void assert_whole(struct fixture *f, uint64_t ino, unsigned int i)
{
	uint64_t count = 0, to;

	assert_int_equal(cfs_fs_block_count(f->fs, ino, &count, &f->err), 0);
	assert_int_equal(count, 3);
	assert_data_at(f, ino, 1, first_of(i));
	assert_data_at(f, ino, first_of(i) + 1, last_of(i));
	assert_int_equal(cfs_fs_seek(f->fs, ino, (last_of(i) + 1) * BLOCK, true,
				     &to, &f->err),
			 -ENXIO);
	assert_block(f, ino, i, 0);
	assert_block(f, ino, i, first_of(i));
	assert_block(f, ino, i, last_of(i));
}

/* What was cut behind its second block has two. */
static void assert_cut(struct fixture *f, uint64_t ino, unsigned int i)
{
	uint64_t count = 0, to;

	assert_int_equal(cfs_fs_block_count(f->fs, ino, &count, &f->err), 0);
	assert_int_equal(count, 2);
	assert_data_at(f, ino, 1, first_of(i));
	assert_int_equal(cfs_fs_seek(f->fs, ino, (first_of(i) + 1) * BLOCK,
				     true, &to, &f->err),
			 -ENXIO);
	assert_block(f, ino, i, 0);
	assert_block(f, ino, i, first_of(i));
}

static void assert_all(struct fixture *f, const uint64_t *inos)
{
	for (unsigned int i = 0; i < FILES; i++)
		if (i % 3 == 0)
			assert_whole(f, inos[i], i);
		else if (i % 3 == 1)
			assert_cut(f, inos[i], i);
}

static void test_many_files(void **state)
{
	struct fixture *f = *state;
	uint64_t inos[FILES];
	char name[32];
	int n;

	for (unsigned int i = 0; i < FILES; i++) {
		n = snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(cfs_fs_create(f->fs, ROOT, name, (size_t)n,
					       0644, 1, 2, &inos[i], &f->err),
				 0);
		write_block(f, inos[i], i, last_of(i));
	}
	/* The others' come in between. */
	for (unsigned int i = 0; i < FILES; i++)
		write_block(f, inos[i], i, 0);
	for (unsigned int i = FILES; i-- > 0;)
		write_block(f, inos[i], i, first_of(i));
	for (unsigned int i = 0; i < FILES; i++)
		assert_whole(f, inos[i], i);
	for (unsigned int i = 0; i < FILES; i++) {
		n = snprintf(name, sizeof(name), "f%u", i);
		if (i % 3 == 1)
			assert_int_equal(
				cfs_fs_truncate(f->fs, inos[i],
						(first_of(i) + 1) * BLOCK,
						&f->err),
				0);
		else if (i % 3 == 2)
			assert_int_equal(cfs_fs_unlink(f->fs, ROOT, name,
						       (size_t)n, &f->err),
					 0);
	}
	assert_all(f, inos);
	assert_int_equal(cfs_fs_sync(f->fs, ROOT, &f->err), 0);
	assert_all(f, inos);
	assert_int_equal(cfs_container_commit(f->c, &f->err), 0);
	assert_all(f, inos);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_many_files, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
