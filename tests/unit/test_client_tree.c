/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Clients in a directory tree: the same code as the owner's makes, renames and
 * removes files; the owner sees what was folded, or synced and sealed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_fixture.h"

#define FILES 1000u

/* Once more where an old view was met. */
#define TRY(c, expr)                                                           \
	do {                                                                   \
		struct cfs_err err_ = CFS_ERR_INIT;                            \
		int r_, n_ = 0;                                                \
		do                                                             \
			r_ = (expr);                                           \
		while (r_ == -EAGAIN && n_++ < 8 &&                            \
		       cfs_container_client_again(c, r_, &err_) == 1);         \
		if (r_ < 0)                                                    \
			fail_msg("%s: %d: %s", #expr, r_, err_.msg);           \
	} while (0)

struct side {
	struct cfs_container *c;
	struct cfs_fs *fs;
};

static struct side side_of(struct cfs_container *c, struct cfs_member *m)
{
	struct cfs_volume_rec rec = heal_volume(m);
	const struct cfs_view view = {
		.container = c,
		.branch = (uint16_t)rec.head_branch,
		.stamp = CFS_STAMP_HEAD,
	};
	struct side s = { .c = c };

	TRY(c, cfs_fs_open(&view, rec.ino, rec.hash_seed, &s.fs, &err_));
	return s;
}

static uint64_t must_find(struct side *s, uint64_t dir, const char *name)
{
	uint64_t ino = 0;

	TRY(s->c,
	    cfs_fs_lookup(s->fs, dir, name, strlen(name), &ino, NULL, &err_));
	return ino;
}

static uint64_t make_dir(struct side *s, const char *name)
{
	uint64_t ino = 0;

	TRY(s->c, cfs_fs_mkdir(s->fs, cfs_fs_root_ino(s->fs), name,
			       strlen(name), 0755, 0, 0, &ino, &err_));
	return ino;
}

static uint64_t make_file(struct side *s, uint64_t dir, const char *name,
			  size_t bytes, uint64_t seed)
{
	uint8_t *buf = malloc(bytes + 1);
	uint64_t ino = 0;
	size_t done;

	assert_non_null(buf);
	heal_fill(buf, bytes, seed);
	TRY(s->c, cfs_fs_create(s->fs, dir, name, strlen(name), 0644, 0, 0,
				&ino, &err_));
	if (bytes)
		TRY(s->c,
		    cfs_fs_write(s->fs, ino, 0, buf, bytes, &done, &err_));
	free(buf);
	return ino;
}

static void must_have(struct side *s, uint64_t dir, const char *name,
		      size_t bytes, uint64_t seed)
{
	uint64_t ino = must_find(s, dir, name);
	uint8_t *buf = malloc(2 * bytes + 2);
	struct cfs_inode inode;
	size_t got = 0;

	assert_non_null(buf);
	TRY(s->c, cfs_fs_getattr(s->fs, ino, &inode, &err_));
	assert_int_equal(inode.size_bytes, bytes);
	heal_fill(buf, bytes, seed);
	TRY(s->c,
	    cfs_fs_read(s->fs, ino, 0, buf + bytes, bytes + 1, &got, &err_));
	assert_int_equal(got, bytes);
	assert_memory_equal(buf, buf + bytes, bytes);
	free(buf);
}

static size_t count_entries(struct side *s, uint64_t dir)
{
	static struct cfs_fs_entry entries[64];
	size_t total = 0, n = 0;
	uint64_t cookie = 0;

	do {
		TRY(s->c,
		    cfs_fs_readdir(s->fs, dir, cookie, entries, 64, &n, &err_));
		if (n)
			cookie = entries[n - 1].next_cookie;
		total += n;
	} while (n > 0);
	return total - 2;
}

static void name_of(char ret[32], const char *prefix, unsigned int i)
{
	(void)snprintf(ret, 32, "%s-%u", prefix, i);
}

/* 1,000 files; a third cut, a third renamed, a third removed. */
static void work(struct side *s, uint64_t dir, unsigned int count)
{
	char name[32], other[32];

	for (unsigned int i = 0; i < count; i++) {
		name_of(name, "file", i);
		make_file(s, dir, name,
			  i % 7 == 0 ? 3 * HEAL_BLOCK + 17 : i % 50, i);
		if (i % 100 == 50)
			HEAL_OK(cfs_container_sync(s->c, &err_));
	}
	for (unsigned int i = 0; i < count; i++) {
		uint64_t ino;

		name_of(name, "file", i);
		name_of(other, "other", i);
		ino = must_find(s, dir, name);
		if (i % 3 == 0)
			TRY(s->c, cfs_fs_truncate(s->fs, ino, 5, &err_));
		else if (i % 3 == 1)
			TRY(s->c,
			    cfs_fs_rename(s->fs, dir, name, strlen(name), dir,
					  other, strlen(other), 0, &err_));
		else
			TRY(s->c, cfs_fs_unlink(s->fs, dir, name, strlen(name),
						&err_));
	}
}

static void must_be_worked(struct side *s, uint64_t dir, unsigned int count)
{
	uint8_t want[8], got[8];
	char name[32];
	size_t n;

	assert_int_equal(count_entries(s, dir), count - count / 3);
	for (unsigned int i = 0; i < count; i++) {
		uint64_t ino;

		if (i % 3 == 2)
			continue;
		name_of(name, i % 3 ? "other" : "file", i);
		if (i % 3) {
			must_have(s, dir, name,
				  i % 7 == 0 ? 3 * HEAL_BLOCK + 17 : i % 50, i);
			continue;
		}
		ino = must_find(s, dir, name);
		heal_fill(want, CFS_MIN(i % 50, 5), i);
		TRY(s->c, cfs_fs_read(s->fs, ino, 0, got, 8, &n, &err_));
		assert_int_equal(n, 5);
		if (i % 7 && i % 50 >= 5)
			assert_memory_equal(got, want, 1);
	}
}

/* ------------------------------------------------------------------- tests */

static void test_thousand(void **state)
{
	struct heal_pool h = heal_new(false, 1 << 20);
	struct side owner = side_of(h.tree->container, h.tree), mine;
	struct client cl;
	uint64_t dir;

	(void)state;
	client_new(&cl, &h, h.tree);
	mine = side_of(cl.c, h.tree);
	dir = make_dir(&mine, "dir");
	work(&mine, dir, FILES);
	must_be_worked(&mine, dir, FILES);
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	must_be_worked(&mine, dir, FILES);
	assert_int_equal(must_find(&owner, cfs_fs_root_ino(owner.fs), "dir"),
			 dir);
	must_be_worked(&owner, dir, FILES);
	heal_check_clean(&h);
	cfs_fs_close(mine.fs);
	client_close(&cl);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	cfs_fs_close(owner.fs);
	heal_free(&h);
}

/* Two clients in directories of their own, folding in turns. */
static void test_two_dirs(void **state)
{
	struct heal_pool h = heal_new(false, 1 << 20);
	struct side owner = side_of(h.tree->container, h.tree), a, b;
	uint64_t dir_a = make_dir(&owner, "a"), dir_b = make_dir(&owner, "b");
	struct client cl_a, cl_b;
	char name[32];

	(void)state;
	client_new(&cl_a, &h, h.tree);
	client_new(&cl_b, &h, h.tree);
	a = side_of(cl_a.c, h.tree);
	b = side_of(cl_b.c, h.tree);
	for (unsigned int i = 0; i < 200; i++) {
		name_of(name, "x", i);
		make_file(&a, dir_a, name, i * 37, i);
		make_file(&b, dir_b, name, i * 41, 1000 + i);
		if (i % 16 == 3)
			HEAL_OK(cfs_container_fold(cl_a.c, &err_));
		if (i % 16 == 11)
			HEAL_OK(cfs_container_fold(cl_b.c, &err_));
		if (i % 5 == 4) {
			name_of(name, "x", i - 2);
			TRY(a.c, cfs_fs_unlink(a.fs, dir_a, name, strlen(name),
					       &err_));
		}
	}
	HEAL_OK(cfs_container_fold(cl_a.c, &err_));
	HEAL_OK(cfs_container_fold(cl_b.c, &err_));
	HEAL_OK(cfs_container_refresh(cl_a.c, &err_));
	assert_int_equal(count_entries(&owner, dir_a), 160);
	assert_int_equal(count_entries(&owner, dir_b), 200);
	assert_int_equal(count_entries(&a, dir_b), 200);
	for (unsigned int i = 0; i < 200; i++) {
		name_of(name, "x", i);
		must_have(&owner, dir_b, name, i * 41, 1000 + i);
		must_have(&a, dir_b, name, i * 41, 1000 + i);
		if (i % 5 != 2)
			must_have(&owner, dir_a, name, i * 37, i);
	}
	heal_check_clean(&h);
	cfs_fs_close(a.fs);
	cfs_fs_close(b.fs);
	client_close(&cl_a);
	client_close(&cl_b);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	cfs_fs_close(owner.fs);
	heal_free(&h);
}

/* Everything that a tree has: links, symlinks, attributes, long files that go
 * in steps; then the client dies behind a sync. */
static void seal_tree(bool is_gone)
{
	struct heal_pool h = heal_new(false, 1 << 20);
	struct side owner = side_of(h.tree->container, h.tree), mine;
	uint64_t root = cfs_fs_root_ino(owner.fs), dir, ino;
	uint8_t value[3000], got[3000];
	struct client cl;
	size_t n;

	client_new(&cl, &h, h.tree);
	mine = side_of(cl.c, h.tree);
	dir = make_dir(&mine, "dir");
	make_file(&mine, dir, "long", 2 << 20, 1);
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	ino = make_file(&mine, dir, "file", 100000, 2);
	TRY(cl.c, cfs_fs_link(mine.fs, ino, root, "name", 4, &err_));
	TRY(cl.c, cfs_fs_symlink(mine.fs, dir, "sym", 3, "file", 4, 0, 0, &ino,
				 &err_));
	heal_fill(value, sizeof(value), 3);
	ino = must_find(&mine, dir, "file");
	TRY(cl.c, cfs_fs_xattr_set(mine.fs, ino, "user.x", value, sizeof(value),
				   0, &err_));
	TRY(cl.c, cfs_fs_punch_hole(mine.fs, must_find(&mine, dir, "long"), 100,
				    1 << 20, &err_));
	TRY(cl.c, cfs_fs_unlink(mine.fs, dir, "long", 4, &err_));
	make_file(&mine, dir, "small", 33, 4);
	TRY(cl.c, cfs_fs_rename(mine.fs, dir, "small", 5, root, "moved", 5, 0,
				&err_));
	HEAL_OK(cfs_container_sync(cl.c, &err_));
	make_file(&mine, dir, "lost", 10, 5);
	cfs_fs_close(mine.fs);
	client_kill(&cl);
	HEAL_OK(cfs_container_client_seal(h.tree->container, cl.id, is_gone,
					  NULL, &err_));
	must_have(&owner, dir, "file", 100000, 2);
	must_have(&owner, root, "name", 100000, 2);
	must_have(&owner, root, "moved", 33, 4);
	assert_int_equal(count_entries(&owner, dir), 2);
	TRY(owner.c, cfs_fs_xattr_get(owner.fs, ino, "user.x", got, sizeof(got),
				      &n, &err_));
	assert_memory_equal(got, value, sizeof(value));
	heal_check_clean(&h);
	HEAL_OK(cfs_container_client_gone(h.tree->container, cl.id, NULL,
					  &err_));
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	cfs_fs_close(owner.fs);
	heal_reopen(&h);
	heal_check_clean(&h);
	heal_free(&h);
}

static void test_seal(void **state)
{
	(void)state;
	seal_tree(false);
}

static void test_seal_gone(void **state)
{
	(void)state;
	seal_tree(true);
}

/* Numbers are lent in ranges, and never used twice. */
static void test_inos(void **state)
{
	struct heal_pool h = heal_new(false, 1 << 20);
	struct side owner = side_of(h.tree->container, h.tree), mine;
	struct client cl;
	uint64_t dir, own, ino, before = 0;
	char name[32];

	(void)state;
	own = make_dir(&owner, "own");
	client_new(&cl, &h, h.tree);
	mine = side_of(cl.c, h.tree);
	dir = make_dir(&mine, "dir");
	for (unsigned int i = 0; i < 700; i++) {
		name_of(name, "n", i);
		ino = make_file(&mine, dir, name, 0, 0);
		assert_true(ino > before);
		before = ino;
	}
	HEAL_OK(cfs_container_sync(cl.c, &err_));
	/* The owner dies before it has heard of any of them. */
	cfs_fs_close(owner.fs);
	cfs_pool_drop(h.pool);
	heal_open(&h, false);
	heal_members(&h);
	cl.owner = h.tree->container;
	owner = side_of(h.tree->container, h.tree);
	assert_true(make_file(&owner, own, "file", 0, 0) > before);
	HEAL_OK(cfs_container_commit(h.tree->container, &err_));
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	assert_int_equal(count_entries(&owner, dir), 700);
	heal_check_clean(&h);
	cfs_fs_close(mine.fs);
	client_close(&cl);
	heal_check_clean(&h);
	cfs_fs_close(owner.fs);
	heal_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_thousand),
		cmocka_unit_test(test_two_dirs),
		cmocka_unit_test(test_seal),
		cmocka_unit_test(test_seal_gone),
		cmocka_unit_test(test_inos),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
