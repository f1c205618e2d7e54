/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Extended attributes and symlink targets: sizes, parts, collisions, damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "fs_fixture.h"

static void put(struct fixture *f, uint64_t ino, const char *name,
		const void *value, size_t n)
{
	assert_int_equal(
		cfs_fs_xattr_set(f->fs, ino, name, value, n, 0, &f->err), 0);
}

static void assert_value(struct fixture *f, uint64_t ino, const char *name,
			 const void *want, size_t want_bytes)
{
	static uint8_t buf[65536];
	size_t n = 0;

	assert_int_equal(
		cfs_fs_xattr_get(f->fs, ino, name, NULL, 0, &n, &f->err), 0);
	assert_int_equal(n, want_bytes);
	assert_int_equal(cfs_fs_xattr_get(f->fs, ino, name, buf, sizeof(buf),
					  &n, &f->err),
			 0);
	assert_int_equal(n, want_bytes);
	assert_memory_equal(buf, want, want_bytes);
}

static void test_set_get(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, ROOT, "a");
	char buf[8];
	size_t n;

	f->clock.realtime_ns = 6000;
	put(f, a, "user.x", "value", 5);
	assert_int_equal(attr(f, a).ctime_ns, 6000);
	assert_int_equal(attr(f, a).mtime_ns, 5000);
	assert_value(f, a, "user.x", "value", 5);
	put(f, a, "user.empty", NULL, 0);
	assert_value(f, a, "user.empty", "", 0);
	put(f, a, "user.x", "va", 2);
	assert_value(f, a, "user.x", "va", 2);
	put(f, a, "system.posix_acl_access", "\2\0\0\0", 4);
	assert_value(f, a, "system.posix_acl_access", "\2\0\0\0", 4);

	assert_int_equal(
		cfs_fs_xattr_get(f->fs, a, "user.nix", NULL, 0, &n, &f->err),
		-ENODATA);
	assert_int_equal(
		cfs_fs_xattr_get(f->fs, a, "user.x", buf, 1, &n, &f->err),
		-ERANGE);
	assert_int_equal(
		cfs_fs_xattr_get(f->fs, 999, "user.x", buf, 1, &n, &f->err),
		-ENOENT);
	assert_int_equal(cfs_fs_xattr_get(f->fs, a, "", buf, 1, &n, &f->err),
			 -EINVAL);
	assert_int_equal(cfs_fs_xattr_set(f->fs, a, "user.x", "1", 1,
					  CFS_FS_XATTR_CREATE, &f->err),
			 -EEXIST);
	assert_int_equal(cfs_fs_xattr_set(f->fs, a, "user.y", "1", 1,
					  CFS_FS_XATTR_REPLACE, &f->err),
			 -ENODATA);
	assert_int_equal(
		cfs_fs_xattr_set(f->fs, a, "user.y", "1", 1, 3, &f->err),
		-EINVAL);
	assert_int_equal(cfs_fs_xattr_set(f->fs, a, "user.y", "1", 1,
					  CFS_FS_XATTR_CREATE, &f->err),
			 0);
	assert_int_equal(cfs_fs_xattr_set(f->fs, a, "user.y", "2", 1,
					  CFS_FS_XATTR_REPLACE, &f->err),
			 0);
	assert_value(f, a, "user.y", "2", 1);
}

static void test_remove(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, ROOT, "a");
	static uint8_t big[65536];
	size_t before = f->c->record_count;

	put(f, a, "user.x", big, sizeof(big));
	put(f, a, "user.y", "1", 1);
	f->clock.realtime_ns = 6000;
	assert_int_equal(cfs_fs_xattr_remove(f->fs, a, "user.x", &f->err), 0);
	assert_int_equal(attr(f, a).ctime_ns, 6000);
	assert_int_equal(cfs_fs_xattr_remove(f->fs, a, "user.x", &f->err),
			 -ENODATA);
	assert_value(f, a, "user.y", "1", 1);
	assert_int_equal(cfs_fs_xattr_remove(f->fs, a, "user.y", &f->err), 0);
	assert_int_equal(f->c->record_count, before);
}

/* Every length around the borders of parts, longer and shorter in turn. */
static void test_sizes(void **state)
{
	static const size_t sizes[] = {
		0,    1,    700,  763,  764,  765,  1011,  1012,  1013,
		1024, 1787, 1788, 1789, 2048, 5000, 65535, 65536,
	};
	struct fixture *f = *state;
	uint64_t a = make(f, ROOT, "a");
	static uint8_t value[65537];
	char long_name[257];
	struct cfs_rng rng;
	unsigned int i;

	memset(long_name, 'n', 255);
	long_name[255] = '\0';
	cfs_rng_init(&rng, 8);
	for (i = 0; i < 200; i++) {
		size_t n = sizes[cfs_rng_below(&rng, CFS_ARRAY_COUNT(sizes))];
		const char *name = i % 2 ? long_name : "user.x";

		cfs_rng_fill(&rng, value, n);
		put(f, a, name, value, n);
		assert_value(f, a, name, value, n);
	}
	assert_int_equal(
		cfs_fs_xattr_set(f->fs, a, "user.x", value, 65537, 0, &f->err),
		-E2BIG);
	memset(long_name, 'n', 256);
	long_name[256] = '\0';
	assert_int_equal(
		cfs_fs_xattr_set(f->fs, a, long_name, "", 0, 0, &f->err),
		-ERANGE);
}

static void test_list(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, ROOT, "a");
	char buf[64];
	size_t n = 7;

	assert_int_equal(cfs_fs_xattr_list(f->fs, a, NULL, 0, &n, &f->err), 0);
	assert_int_equal(n, 0);
	put(f, a, "user.a", "1", 1);
	put(f, a, "user.bb", "1", 1);
	assert_int_equal(cfs_fs_xattr_list(f->fs, a, NULL, 0, &n, &f->err), 0);
	assert_int_equal(n, 7 + 8);
	assert_int_equal(cfs_fs_xattr_list(f->fs, a, buf, 14, &n, &f->err),
			 -ERANGE);
	assert_int_equal(cfs_fs_xattr_list(f->fs, a, buf, 15, &n, &f->err), 0);
	assert_int_equal(n, 15);
	assert_true(memcmp(buf, "user.a\0user.bb", 15) == 0 ||
		    memcmp(buf, "user.bb\0user.a", 15) == 0);
}

/* Names of an inode: at most 65536 bytes, so that list can give them all. */
static void test_list_max(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, ROOT, "a");
	char name[256];
	unsigned int i;
	size_t n;

	for (i = 0; i < 256; i++) {
		memset(name, 'n', 255);
		name[255] = '\0';
		snprintf(name, sizeof(name), "%u", i);
		name[strlen(name)] = '.';
		put(f, a, name, "", 0);
	}
	assert_int_equal(cfs_fs_xattr_list(f->fs, a, NULL, 0, &n, &f->err), 0);
	assert_int_equal(n, 65536);
	assert_int_equal(cfs_fs_xattr_set(f->fs, a, "x", "", 0, 0, &f->err),
			 -ENOSPC);
	put(f, a, name, "new", 3);
	assert_int_equal(cfs_fs_xattr_remove(f->fs, a, name, &f->err), 0);
	put(f, a, "x", "", 0);
}

#define MANY 600u

struct many {
	bool is_there[MANY];
	size_t bytes; /* of all names that are, with their NULs */
};

static const char *name_of(unsigned int i, char name[256])
{
	int n = snprintf(name, 256, "user.%u.", i);

	memset(name + n, 'n', 255 - (size_t)n);
	name[100 + i % 156] = '\0';
	return name;
}

/* Refused if, and only if, the list would get too long. */
static void set_one(struct fixture *f, struct cfs_fs *fs, struct many *m,
		    uint64_t ino, unsigned int i)
{
	char name[256];
	const size_t n = strlen(name_of(i, name)) + 1;
	int r = cfs_fs_xattr_set(fs, ino, name, "v", 1, 0, &f->err);

	if (!m->is_there[i] && m->bytes + n > 65536) {
		assert_int_equal(r, -ENOSPC);
		return;
	}
	assert_int_equal(r, 0);
	m->bytes += m->is_there[i] ? 0 : n;
	m->is_there[i] = true;
}

static void remove_one(struct fixture *f, struct cfs_fs *fs, struct many *m,
		       uint64_t ino, unsigned int i)
{
	char name[256];
	int r = cfs_fs_xattr_remove(fs, ino, name_of(i, name), &f->err);

	assert_int_equal(r, m->is_there[i] ? 0 : -ENODATA);
	m->bytes -= m->is_there[i] ? strlen(name) + 1 : 0;
	m->is_there[i] = false;
}

/* The limit is counted right, whoever of two changes the inode and how. */
static void test_list_sum(void **state)
{
	const struct cfs_fs_attr touch = { .mask = CFS_FS_SET_MODE,
					   .mode = 0600 };
	struct fixture *f = *state;
	const uint64_t inos[2] = { make(f, ROOT, "a"), make(f, ROOT, "b") };
	struct many many[2] = { { .bytes = 0 } };
	struct cfs_fs *other = NULL, *fs;
	uint32_t x = 1;
	size_t n;

	assert_int_equal(cfs_fs_open(&f->fs->view, ROOT, f->fs->hash_seed,
				     &other, &f->err),
			 0);
	for (unsigned int step = 0; step < 6000; step++) {
		unsigned int at, i;

		x = x * 1664525 + 1013904223;
		at = x >> 30 & 1;
		i = (x >> 8) % MANY;
		fs = x >> 29 & 1 ? f->fs : other;
		if ((x >> 4 & 15) < 11)
			set_one(f, fs, &many[at], inos[at], i);
		else if ((x >> 4 & 15) < 14)
			remove_one(f, fs, &many[at], inos[at], i);
		else
			assert_int_equal(cfs_fs_setattr(fs, inos[at], &touch,
							NULL, &f->err),
					 0);
	}
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(
			cfs_fs_xattr_list(f->fs, inos[i], NULL, 0, &n, &f->err),
			0);
		assert_int_equal(n, many[i].bytes);
		assert_true(n > 60000);
	}
	cfs_fs_close(other);
}

static void test_collisions(void **state)
{
	struct fixture *f = *state;
	uint8_t value[3000];
	unsigned int i;
	char name[16];
	uint64_t a;

	f->fs->hash_mask = 0;
	a = make(f, ROOT, "a");
	for (i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "user.%u", i);
		memset(value, (int)i, sizeof(value));
		put(f, a, name, value, 2000 + i);
	}
	assert_int_equal(
		cfs_fs_xattr_set(f->fs, a, "user.16", "", 0, 0, &f->err),
		-ENOSPC);
	assert_int_equal(cfs_fs_xattr_remove(f->fs, a, "user.0", &f->err), 0);
	assert_int_equal(cfs_fs_xattr_remove(f->fs, a, "user.9", &f->err), 0);
	for (i = 1; i < 16; i++) {
		snprintf(name, sizeof(name), "user.%u", i);
		memset(value, (int)i, sizeof(value));
		if (i != 9)
			assert_value(f, a, name, value, 2000 + i);
	}
	put(f, a, "user.16", "x", 1);
	put(f, a, "user.15", "y", 1);
	assert_value(f, a, "user.15", "y", 1);
}

/* Replace, delete or cut the record of a part. */
static void spoil(struct fixture *f, uint64_t ino, enum cfs_map_class class,
		  uint64_t offset, const void *value, size_t n)
{
	struct cfs_key key = fake_key(FAKE_BRANCH, ino, class, offset);

	cfs_op_begin(f->c, CFS_OP_NORMAL, NULL);
	fake_change(f->c, &key, value, n, NULL);
	cfs_op_end(f->c);
}

static void test_damage(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, ROOT, "a");
	uint64_t offset = cfs_fs_xattr_offset(f->fs, "user.x", 6);
	static uint8_t value[4000], buf[4000];
	size_t n;

	put(f, a, "user.x", value, sizeof(value));
	spoil(f, a, CFS_MAP_XATTR, offset + 2, value, 1000);
	assert_int_equal(
		cfs_fs_xattr_get(f->fs, a, "user.x", buf, 4000, &n, &f->err),
		-EUCLEAN);
	spoil(f, a, CFS_MAP_XATTR, offset + 2, NULL, 0);
	assert_int_equal(
		cfs_fs_xattr_get(f->fs, a, "user.x", buf, 4000, &n, &f->err),
		-EUCLEAN);
	spoil(f, a, CFS_MAP_XATTR, offset, NULL, 0);
	assert_int_equal(
		cfs_fs_xattr_get(f->fs, a, "user.x", buf, 4000, &n, &f->err),
		-EUCLEAN);
	assert_int_equal(cfs_fs_xattr_list(f->fs, a, NULL, 0, &n, &f->err),
			 -EUCLEAN);
	/* All that can go wrong with it is no reason to keep the file. */
	assert_int_equal(cfs_fs_unlink(f->fs, ROOT, N("a"), &f->err), 0);
}

static void test_symlink(void **state)
{
	static const size_t sizes[] = { 1, 1023, 1024, 1025, 2048, 4095 };
	struct fixture *f = *state;
	char target[4096], got[4096], name[8];
	size_t before, i, n;

	memset(target, 't', sizeof(target));
	before = f->c->record_count;
	for (i = 0; i < CFS_ARRAY_COUNT(sizes); i++) {
		uint64_t ino;

		snprintf(name, sizeof(name), "l%zu", i);
		assert_int_equal(cfs_fs_symlink(f->fs, ROOT, name, strlen(name),
						target, sizes[i], 0, 0, &ino,
						&f->err),
				 0);
		assert_int_equal(attr(f, ino).size_bytes, sizes[i]);
		assert_int_equal(cfs_fs_readlink(f->fs, ino, got, sizeof(got),
						 &n, &f->err),
				 0);
		assert_int_equal(n, sizes[i]);
		assert_memory_equal(got, target, n);
		assert_int_equal(
			cfs_fs_unlink(f->fs, ROOT, name, strlen(name), &f->err),
			0);
		assert_int_equal(f->c->record_count, before);
	}
	assert_int_equal(cfs_fs_symlink(f->fs, ROOT, N("l"), target, 4096, 0, 0,
					NULL, &f->err),
			 -ENAMETOOLONG);
	assert_int_equal(cfs_fs_symlink(f->fs, ROOT, N("l"), target, 0, 0, 0,
					NULL, &f->err),
			 -ENOENT);
	assert_int_equal(cfs_fs_symlink(f->fs, ROOT, N("l"), N("a\0b"), 0, 0,
					NULL, &f->err),
			 -EINVAL);
	assert_int_equal(cfs_fs_readlink(f->fs, ROOT, got, 10, &n, &f->err),
			 -EINVAL);
}

static void test_symlink_damage(void **state)
{
	struct fixture *f = *state;
	char target[2000], got[2000];
	uint64_t l = 0;
	size_t n;

	memset(target, 't', sizeof(target));
	assert_int_equal(cfs_fs_symlink(f->fs, ROOT, N("l"), target,
					sizeof(target), 0, 0, &l, &f->err),
			 0);
	assert_int_equal(cfs_fs_readlink(f->fs, l, got, 10, &n, &f->err), 0);
	assert_int_equal(n, 10);
	target[0] = '\0';
	spoil(f, l, CFS_MAP_SYMLINK, 1, target, 976);
	assert_int_equal(cfs_fs_readlink(f->fs, l, got, 10, &n, &f->err),
			 -EUCLEAN);
	spoil(f, l, CFS_MAP_SYMLINK, 1, target + 1, 975);
	assert_int_equal(cfs_fs_readlink(f->fs, l, got, 10, &n, &f->err),
			 -EUCLEAN);
	spoil(f, l, CFS_MAP_SYMLINK, 1, NULL, 0);
	assert_int_equal(cfs_fs_readlink(f->fs, l, got, 10, &n, &f->err),
			 -EUCLEAN);
	assert_int_equal(cfs_fs_unlink(f->fs, ROOT, N("l"), &f->err), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_set_get),    TEST(test_remove),
		TEST(test_sizes),      TEST(test_list),
		TEST(test_list_max),   TEST(test_list_sum),
		TEST(test_collisions), TEST(test_damage),
		TEST(test_symlink),    TEST(test_symlink_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
