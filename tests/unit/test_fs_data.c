/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files: bytes, sizes, holes, and freeing them in bounded steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "fs_fixture.h"

#define WINDOW CFS_FS_FREE_BYTES

static void put(struct fixture *f, uint64_t ino, uint64_t offset,
		const char *text)
{
	size_t n = 0;

	assert_int_equal(cfs_fs_write(f->fs, ino, offset, text, strlen(text),
				      &n, &f->err),
			 0);
	assert_int_equal(n, strlen(text));
}

/* The next bytes, at most 256, are @want; behind it more may follow. */
static void assert_front(struct fixture *f, uint64_t ino, uint64_t offset,
			 const void *want, size_t want_bytes)
{
	uint8_t buf[256];
	size_t n = 0;

	assert_int_equal(
		cfs_fs_read(f->fs, ino, offset, buf, want_bytes, &n, &f->err),
		0);
	assert_int_equal(n, want_bytes);
	assert_memory_equal(buf, want, want_bytes);
}

/* They are @want, and the file ends there. */
static void assert_bytes(struct fixture *f, uint64_t ino, uint64_t offset,
			 const void *want, size_t want_bytes)
{
	uint8_t buf[256];
	size_t n = 0;

	assert_int_equal(
		cfs_fs_read(f->fs, ino, offset, buf, sizeof(buf), &n, &f->err),
		0);
	assert_int_equal(n, want_bytes);
	assert_memory_equal(buf, want, want_bytes);
}

static uint64_t blocks(struct fixture *f, uint64_t ino)
{
	uint64_t n = 0;

	assert_int_equal(cfs_fs_block_count(f->fs, ino, &n, &f->err), 0);
	return n;
}

static int orphan_find(struct fixture *f, uint64_t ino)
{
	int r;

	cfs_fs_lock(f->fs);
	r = cfs_fs_orphan_find(f->fs, ino, &f->err);
	cfs_fs_unlock(f->fs);
	return r;
}

static void test_read_write(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, ROOT, "a"), d = make_dir(f, ROOT, "d"), l;
	uint64_t change = attr(f, a).change;
	char buf[8];
	size_t n = 7;

	f->clock.realtime_ns = 6000;
	put(f, a, 0, "hello");
	assert_int_equal(attr(f, a).size_bytes, 5);
	assert_int_equal(attr(f, a).mtime_ns, 6000);
	assert_int_equal(attr(f, a).ctime_ns, 6000);
	assert_true(attr(f, a).change > change);
	assert_bytes(f, a, 0, "hello", 5);
	assert_bytes(f, a, 4, "o", 1);
	assert_bytes(f, a, 5, "", 0);
	assert_bytes(f, a, UINT64_MAX, "", 0);
	put(f, a, 1, "E");
	assert_int_equal(attr(f, a).size_bytes, 5);
	put(f, a, 8, "x");
	assert_bytes(f, a, 0, "hEllo\0\0\0x", 9);

	assert_int_equal(cfs_fs_write(f->fs, a, 0, "", 0, &n, &f->err), 0);
	assert_int_equal(n, 0);
	assert_int_equal(
		cfs_fs_symlink(f->fs, ROOT, N("l"), N("x"), 0, 0, &l, &f->err),
		0);
	assert_int_equal(cfs_fs_write(f->fs, d, 0, "x", 1, &n, &f->err),
			 -EISDIR);
	assert_int_equal(cfs_fs_write(f->fs, l, 0, "x", 1, &n, &f->err),
			 -EINVAL);
	assert_int_equal(cfs_fs_write(f->fs, d, 0, "x", 0, &n, &f->err),
			 -EISDIR);
	assert_int_equal(cfs_fs_read(f->fs, d, 0, buf, 8, &n, &f->err),
			 -EISDIR);
	assert_int_equal(cfs_fs_read(f->fs, l, 0, buf, 8, &n, &f->err),
			 -EINVAL);
	assert_int_equal(cfs_fs_truncate(f->fs, d, 0, &f->err), -EISDIR);
	assert_int_equal(cfs_fs_write(f->fs, 999, 0, "x", 1, &n, &f->err),
			 -ENOENT);
}

static void test_size_max(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, ROOT, "a");
	size_t n = 7;

	put(f, a, CFS_FS_FILE_BYTES_MAX - 1, "x");
	assert_int_equal(attr(f, a).size_bytes, CFS_FS_FILE_BYTES_MAX);
	assert_bytes(f, a, CFS_FS_FILE_BYTES_MAX - 1, "x", 1);
	assert_int_equal(cfs_fs_write(f->fs, a, CFS_FS_FILE_BYTES_MAX - 1, "xx",
				      2, &n, &f->err),
			 -EFBIG);
	assert_int_equal(n, 0);
	assert_int_equal(
		cfs_fs_write(f->fs, a, UINT64_MAX, "xx", 2, &n, &f->err),
		-EFBIG);
	assert_int_equal(
		cfs_fs_truncate(f->fs, a, CFS_FS_FILE_BYTES_MAX + 1, &f->err),
		-EFBIG);
	assert_int_equal(
		cfs_fs_truncate(f->fs, a, CFS_FS_FILE_BYTES_MAX - 2, &f->err),
		0);
	assert_int_equal(
		cfs_fs_truncate(f->fs, a, CFS_FS_FILE_BYTES_MAX, &f->err), 0);
	assert_bytes(f, a, CFS_FS_FILE_BYTES_MAX - 2, "\0", 2);
	assert_int_equal(cfs_fs_unlink(f->fs, ROOT, N("a"), &f->err), 0);
	assert_int_equal(orphan_find(f, a), -ENOENT);
}

/* A long write takes several operations; a failure tells how far it came. */
/* Behind the end, wherever that is, in pieces of an operation each. */
static void test_append(void **state)
{
	static uint8_t data[3 * CFS_FS_WRITE_BYTES_MAX / 2];
	struct fixture *f = *state;
	uint64_t ino = make(f, ROOT, "a");
	struct cfs_inode inode;
	size_t n = 0;

	put(f, ino, 0, "one");
	put(f, ino, CFS_FS_APPEND, "two");
	assert_bytes(f, ino, 0, "onetwo", 6);
	assert_int_equal(cfs_fs_truncate(f->fs, ino, 5, &f->err), 0);
	put(f, ino, CFS_FS_APPEND, "end");
	assert_bytes(f, ino, 0, "onetwend", 8);
	memset(data, 'x', sizeof(data));
	assert_int_equal(cfs_fs_write(f->fs, ino, CFS_FS_APPEND, data,
				      sizeof(data), &n, &f->err),
			 0);
	assert_int_equal(n, sizeof(data));
	assert_int_equal(cfs_fs_getattr(f->fs, ino, &inode, &f->err), 0);
	assert_int_equal(inode.size_bytes, 8 + sizeof(data));
	assert_bytes(f, ino, 6 + sizeof(data), "xx", 2);
	assert_int_equal(
		cfs_fs_truncate(f->fs, ino, CFS_FS_FILE_BYTES_MAX, &f->err), 0);
	assert_int_equal(
		cfs_fs_write(f->fs, ino, CFS_FS_APPEND, "x", 1, &n, &f->err),
		-EFBIG);
	assert_int_equal(n, 0);
}

static void test_write_long(void **state)
{
	const size_t bytes = 3 * CFS_FS_WRITE_BYTES_MAX;
	struct fixture *f = *state;
	uint64_t a = make(f, ROOT, "a"), ops = f->c->op_count;
	uint8_t *buf = malloc(bytes), *got = malloc(bytes);
	struct cfs_rng rng;
	size_t n = 0;

	assert_non_null(buf);
	assert_non_null(got);
	cfs_rng_init(&rng, 9);
	cfs_rng_fill(&rng, buf, bytes);
	assert_int_equal(cfs_fs_write(f->fs, a, 1000, buf, bytes, &n, &f->err),
			 0);
	assert_int_equal(n, bytes);
	assert_int_equal(f->c->op_count - ops, 4);
	assert_int_equal(cfs_fs_read(f->fs, a, 1000, got, bytes, &n, &f->err),
			 0);
	assert_int_equal(n, bytes);
	assert_memory_equal(got, buf, bytes);

	f->c->fail_op_at = f->c->begin_count + 2;
	assert_int_equal(cfs_fs_write(f->fs, a, 0, buf, bytes, &n, &f->err),
			 -EROFS);
	assert_int_equal(n, CFS_FS_WRITE_BYTES_MAX);
	free(buf);
	free(got);
}

static void test_truncate(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, ROOT, "a");

	put(f, a, 0, "abcdef");
	put(f, a, 9000, "tail");
	f->clock.realtime_ns = 6000;
	assert_int_equal(cfs_fs_truncate(f->fs, a, 3, &f->err), 0);
	assert_int_equal(attr(f, a).size_bytes, 3);
	assert_int_equal(attr(f, a).mtime_ns, 6000);
	assert_int_equal(blocks(f, a), 1);
	/* What was cut off does not come back. */
	assert_int_equal(cfs_fs_truncate(f->fs, a, 6, &f->err), 0);
	assert_bytes(f, a, 0, "abc\0\0\0", 6);
	assert_int_equal(cfs_fs_truncate(f->fs, a, 9002, &f->err), 0);
	assert_bytes(f, a, 8998, "\0\0\0\0", 4);
	f->clock.realtime_ns = 7000;
	assert_int_equal(cfs_fs_truncate(f->fs, a, 9002, &f->err), 0);
	assert_int_equal(attr(f, a).mtime_ns, 7000);
	assert_int_equal(cfs_fs_truncate(f->fs, a, 0, &f->err), 0);
	assert_int_equal(blocks(f, a), 0);
	assert_int_equal(cfs_fs_truncate(f->fs, 999, 0, &f->err), -ENOENT);
}

/* Data in ten windows. */
static uint64_t make_big(struct fixture *f, const char *name)
{
	uint64_t ino = make(f, ROOT, name), i;

	for (i = 0; i < 10; i++)
		put(f, ino, i * WINDOW + 5000, "data");
	return ino;
}

static void test_truncate_big(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make_big(f, "a"), ops;

	/* The windows behind the second are freed in operations of their
	 * own, which here fail: it is cut all the same. */
	ops = f->c->op_count;
	f->c->fail_op_at = f->c->begin_count + 4;
	assert_int_equal(cfs_fs_truncate(f->fs, a, WINDOW + 5002, &f->err), 0);
	assert_int_equal(f->c->op_count - ops, 3);
	assert_int_equal(blocks(f, a), 10 - 2);
	assert_true(attr(f, a).flags & CFS_INODE_SHRINKING);
	assert_int_equal(orphan_find(f, a), 0);
	assert_bytes(f, a, WINDOW + 5000, "da", 2);
	assert_sound(f);
	/* A write inside does not mind; cutting more neither. */
	put(f, a, 0, "x");
	assert_true(attr(f, a).flags & CFS_INODE_SHRINKING);
	f->c->fail_op_at = f->c->begin_count + 2;
	assert_int_equal(cfs_fs_truncate(f->fs, a, 6000, &f->err), 0);
	assert_true(attr(f, a).flags & CFS_INODE_SHRINKING);
	/* Growing finishes it first: nothing old shows. */
	put(f, a, 9 * WINDOW + 6000, "end");
	assert_false(attr(f, a).flags & CFS_INODE_SHRINKING);
	assert_int_equal(orphan_find(f, a), -ENOENT);
	assert_int_equal(blocks(f, a), 3);
	assert_front(f, a, 9 * WINDOW + 4999, "\0\0\0\0\0", 6);
}

static void test_truncate_reclaim(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make_big(f, "a"), count = 0;

	f->c->fail_op_at = f->c->begin_count + 2;
	assert_int_equal(cfs_fs_truncate(f->fs, a, 1, &f->err), 0);
	assert_true(blocks(f, a) > 0);
	assert_int_equal(
		cfs_fs_reclaim_orphans(f->c, FAKE_BRANCH, &count, &f->err), 0);
	assert_int_equal(count, 1);
	assert_int_equal(blocks(f, a), 0);
	assert_false(attr(f, a).flags & CFS_INODE_SHRINKING);
	assert_int_equal(attr(f, a).size_bytes, 1);
	assert_int_equal(orphan_find(f, a), -ENOENT);
	assert_int_equal(
		cfs_fs_reclaim_orphans(f->c, FAKE_BRANCH, &count, &f->err), 0);
	assert_int_equal(count, 0);
}

static void test_unlink_big(void **state)
{
	struct fixture *f = *state;
	size_t before = f->c->record_count;
	uint64_t a = make_big(f, "a"), b = make_big(f, "b"), count = 0;
	struct cfs_inode inode;

	assert_int_equal(cfs_fs_unlink(f->fs, ROOT, N("a"), &f->err), 0);
	assert_int_equal(cfs_fs_getattr(f->fs, a, &inode, &f->err), -ENOENT);
	assert_int_equal(orphan_find(f, a), -ENOENT);
	/* Cut off in the middle: the name has gone, the rest comes later. */
	f->c->fail_op_at = f->c->begin_count + 3;
	assert_int_equal(cfs_fs_unlink(f->fs, ROOT, N("b"), &f->err), 0);
	assert_int_equal(at(f, "b"), -ENOENT);
	assert_int_equal(attr(f, b).nlink, 0);
	assert_int_equal(orphan_find(f, b), 0);
	assert_sound(f);
	assert_int_equal(cfs_fs_open_ino(f->fs, b, &f->err), -ENOENT);
	assert_int_equal(cfs_fs_link(f->fs, b, ROOT, N("b"), &f->err), -ENOENT);
	assert_int_equal(
		cfs_fs_reclaim_orphans(f->c, FAKE_BRANCH, &count, &f->err), 0);
	assert_int_equal(count, 1);
	assert_int_equal(f->c->record_count, before);
}

/* Over a big file: that one is freed. */
static void test_rename_over_big(void **state)
{
	struct fixture *f = *state;
	size_t before = f->c->record_count;
	uint64_t b;

	b = make_big(f, "b");
	make(f, ROOT, "a");
	assert_int_equal(
		cfs_fs_rename(f->fs, ROOT, N("a"), ROOT, N("b"), 0, &f->err),
		0);
	assert_int_equal(orphan_find(f, b), -ENOENT);
	/* An inode and its entry. */
	assert_int_equal(f->c->record_count, before + 2);
}

/* One that is being cut has an ORPHAN record, which goes with it. */
static void test_unlink_shrinking(void **state)
{
	struct fixture *f = *state;
	size_t before = f->c->record_count;
	uint64_t a = make(f, ROOT, "a");

	put(f, a, 0, "x");
	put(f, a, WINDOW, "x");
	f->c->fail_op_at = f->c->begin_count + 2;
	assert_int_equal(cfs_fs_truncate(f->fs, a, 1, &f->err), 0);
	assert_int_equal(orphan_find(f, a), 0);
	assert_int_equal(cfs_fs_unlink(f->fs, ROOT, N("a"), &f->err), 0);
	assert_int_equal(f->c->record_count, before);
}

static void test_unlink_xattrs(void **state)
{
	struct fixture *f = *state;
	size_t before = f->c->record_count;
	uint64_t a = make(f, ROOT, "a"), ops, i;
	static uint8_t value[65536];
	char name[16];

	/* More records than one operation frees. */
	for (i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "user.%u", (unsigned int)i);
		assert_int_equal(cfs_fs_xattr_set(f->fs, a, name, value,
						  sizeof(value), 0, &f->err),
				 0);
	}
	ops = f->c->op_count;
	assert_int_equal(cfs_fs_unlink(f->fs, ROOT, N("a"), &f->err), 0);
	assert_int_equal(f->c->op_count - ops, 3);
	assert_int_equal(f->c->record_count, before);
}

static void test_unlink_open(void **state)
{
	struct fixture *f = *state;
	size_t before = f->c->record_count;
	uint64_t a = make(f, ROOT, "a");

	put(f, a, 0, "abc");
	assert_int_equal(cfs_fs_open_ino(f->fs, a, &f->err), 0);
	assert_int_equal(cfs_fs_open_ino(f->fs, a, &f->err), 0);
	assert_int_equal(cfs_fs_unlink(f->fs, ROOT, N("a"), &f->err), 0);
	assert_int_equal(attr(f, a).nlink, 0);
	put(f, a, 3, "def");
	assert_bytes(f, a, 0, "abcdef", 6);
	assert_int_equal(cfs_fs_close_ino(f->fs, a, &f->err), 0);
	assert_bytes(f, a, 0, "abcdef", 6);
	assert_int_equal(cfs_fs_open_ino(f->fs, a, &f->err), 0);
	assert_int_equal(cfs_fs_close_ino(f->fs, a, &f->err), 0);
	assert_sound(f);
	assert_int_equal(cfs_fs_close_ino(f->fs, a, &f->err), 0);
	assert_int_equal(f->c->record_count, before);
	assert_int_equal(cfs_fs_open_ino(f->fs, a, &f->err), -ENOENT);
}

/* Many branches' orphans: only those of the one that is asked for. */
static void test_reclaim_branch(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, ROOT, "a"), count = 7;
	struct cfs_key stray = { .w = {
					 cfs_table_word(CFS_TABLE_ORPHAN,
							FAKE_BRANCH + 1),
					 a,
				 } };
	struct cfs_key none = { .w = {
					cfs_table_word(CFS_TABLE_ORPHAN,
						       FAKE_BRANCH),
					12345,
				} };

	cfs_op_begin(f->c, CFS_OP_NORMAL, NULL);
	cfs_container_put(f->c, &stray, "", 0, NULL);
	cfs_container_put(f->c, &none, "", 0, NULL);
	cfs_fs_orphan_put(f->fs, a, NULL);
	cfs_op_end(f->c);
	/* Records of what has a name, or is not there, are only removed. */
	assert_int_equal(
		cfs_fs_reclaim_orphans(f->c, FAKE_BRANCH, &count, &f->err), 0);
	assert_int_equal(count, 2);
	assert_int_equal(orphan_find(f, a), -ENOENT);
	assert_int_equal(attr(f, a).nlink, 1);
	assert_non_null(fake_get(f->c, &stray));
}

static void test_holes(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, ROOT, "a"), d = make_dir(f, ROOT, "d"), at_byte;
	uint8_t block[4096];

	memset(block, 'b', sizeof(block));
	for (at_byte = 0; at_byte < 5; at_byte++)
		assert_int_equal(cfs_fs_write(f->fs, a, at_byte * 4096, block,
					      4096, NULL, &f->err),
				 0);
	assert_int_equal(cfs_fs_punch_hole(f->fs, a, 4000, 4096 + 200, &f->err),
			 0);
	assert_int_equal(blocks(f, a), 4);
	assert_int_equal(attr(f, a).size_bytes, 5 * 4096);
	assert_front(f, a, 3999, "b\0", 2);
	assert_front(f, a, 8295, "\0b", 2);
	assert_int_equal(cfs_fs_punch_hole(f->fs, a, 0, 0, &f->err), -EINVAL);
	assert_int_equal(cfs_fs_punch_hole(f->fs, a, UINT64_MAX, 2, &f->err),
			 -EFBIG);
	assert_int_equal(cfs_fs_punch_hole(f->fs, d, 0, 1, &f->err), -EISDIR);
	/* Behind the end nothing happens. */
	assert_int_equal(
		cfs_fs_punch_hole(f->fs, a, 4 * 4096, 1 << 30, &f->err), 0);
	assert_int_equal(attr(f, a).size_bytes, 5 * 4096);
	assert_int_equal(blocks(f, a), 3);
	assert_int_equal(
		cfs_fs_zero_range(f->fs, a, 3 * 4096, 3 * 4096, true, &f->err),
		0);
	assert_int_equal(attr(f, a).size_bytes, 5 * 4096);
	assert_int_equal(blocks(f, a), 2);
	assert_int_equal(
		cfs_fs_zero_range(f->fs, a, 3 * 4096, 3 * 4096, false, &f->err),
		0);
	assert_int_equal(attr(f, a).size_bytes, 6 * 4096);
	/* To an end that is in a block: the block goes. */
	assert_int_equal(cfs_fs_truncate(f->fs, a, 2 * 4096 + 1000, &f->err),
			 0);
	assert_int_equal(cfs_fs_punch_hole(f->fs, a, 2 * 4096, 1000, &f->err),
			 0);
	assert_int_equal(blocks(f, a), 1);
}

static void assert_holed(struct fixture *f, uint64_t ino, const uint8_t *want)
{
	static uint8_t got[8 * 4096];
	size_t n;

	assert_int_equal(
		cfs_fs_read(f->fs, ino, 0, got, sizeof(got), &n, &f->err), 0);
	assert_int_equal(n, sizeof(got));
	assert_memory_equal(got, want, sizeof(got));
}

/* Any range, against bytes in memory. */
static void test_holes_random(void **state)
{
	static uint8_t want[8 * 4096];
	struct fixture *f = *state;
	uint64_t a = make(f, ROOT, "a");
	struct cfs_rng rng;
	unsigned int i;

	cfs_rng_init(&rng, 5);
	assert_int_equal(cfs_fs_truncate(f->fs, a, sizeof(want), &f->err), 0);
	for (i = 0; i < 300; i++) {
		uint64_t offset = cfs_rng_below(&rng, sizeof(want));
		uint64_t n = 1 + cfs_rng_below(&rng, sizeof(want) - offset);
		size_t got;

		if (i % 3 == 0) {
			memset(want + offset, 0, n);
			assert_int_equal(
				cfs_fs_punch_hole(f->fs, a, offset, n, &f->err),
				0);
		} else {
			memset(want + offset, (int)i, n);
			assert_int_equal(cfs_fs_write(f->fs, a, offset,
						      want + offset, n, &got,
						      &f->err),
					 0);
		}
		assert_holed(f, a, want);
	}
}

static void test_punch_big(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make_big(f, "a"), ops = f->c->op_count;

	assert_int_equal(cfs_fs_punch_hole(f->fs, a, 0, 9 * WINDOW, &f->err),
			 0);
	assert_int_equal(f->c->op_count - ops, 9);
	assert_int_equal(blocks(f, a), 1);
	assert_bytes(f, a, 9 * WINDOW + 5000, "data", 4);
}

static void test_seek(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, ROOT, "a"), to = 0;

	assert_int_equal(cfs_fs_seek(f->fs, a, 0, true, &to, &f->err), -ENXIO);
	put(f, a, 8192, "x");
	assert_int_equal(cfs_fs_seek(f->fs, a, 0, true, &to, &f->err), 0);
	assert_int_equal(to, 8192);
	assert_int_equal(cfs_fs_seek(f->fs, a, 0, false, &to, &f->err), 0);
	assert_int_equal(to, 0);
	/* The end counts as a hole, though the block goes on. */
	assert_int_equal(cfs_fs_seek(f->fs, a, 8192, false, &to, &f->err), 0);
	assert_int_equal(to, 8193);
	assert_int_equal(cfs_fs_seek(f->fs, a, 8193, false, &to, &f->err),
			 -ENXIO);
	assert_int_equal(cfs_fs_truncate(f->fs, a, 100000, &f->err), 0);
	assert_int_equal(cfs_fs_seek(f->fs, a, 12288, true, &to, &f->err),
			 -ENXIO);
	assert_int_equal(cfs_fs_seek(f->fs, a, 8200, false, &to, &f->err), 0);
	assert_int_equal(to, 12288);
}

static int space_of(void *arg, struct cfs_fs_space *ret, struct cfs_err *err)
{
	(void)err;
	ret->total_bytes = *(uint64_t *)arg;
	ret->free_bytes = ret->total_bytes / 2;
	ret->inode_count = 0;
	return 0;
}

static void test_statfs(void **state)
{
	struct fixture *f = *state;
	struct cfs_fs_space space;
	uint64_t total = 1000;

	assert_int_equal(cfs_fs_statfs(f->fs, &space, &f->err), -ENOSYS);
	cfs_fs_set_space(f->fs, space_of, &total);
	assert_int_equal(cfs_fs_statfs(f->fs, &space, &f->err), 0);
	assert_int_equal(space.total_bytes, 1000);
	assert_int_equal(space.free_bytes, 500);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_read_write),
		TEST(test_size_max),
		TEST(test_append),
		TEST(test_append),
		TEST(test_write_long),
		TEST(test_truncate),
		TEST(test_truncate_big),
		TEST(test_truncate_reclaim),
		TEST(test_unlink_big),
		TEST(test_rename_over_big),
		TEST(test_unlink_shrinking),
		TEST(test_unlink_xattrs),
		TEST(test_unlink_open),
		TEST(test_reclaim_branch),
		TEST(test_holes),
		TEST(test_holes_random),
		TEST(test_punch_big),
		TEST(test_seek),
		TEST(test_statfs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
