/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Deletions in a pool that is full: holes and ends that lie within a block need
 * a block for its zeroes, from a part of the reserve that they cannot exceed.
 * And what was logged by who had promised too little room for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "heal_fixture.h"
#include "tree/space.h"

#define FILLER_BLOCKS 256u

struct full {
	struct heal_pool h;
	struct cfs_fs *fs;
	uint64_t root;
	uint64_t old, loose; /* kept by a snapshot, and not */
};

static uint64_t make_file(struct full *f, const char *name, uint32_t blocks,
			  uint64_t seed)
{
	size_t bytes = (size_t)blocks * HEAL_BLOCK, done;
	uint8_t *buf = malloc(bytes + 1);
	uint64_t ino;

	assert_non_null(buf);
	heal_fill(buf, bytes, seed);
	HEAL_OK(cfs_fs_create(f->fs, f->root, name, strlen(name), 0644, 0, 0,
			      &ino, &err_));
	HEAL_OK(cfs_fs_write(f->fs, ino, 0, buf, bytes, &done, &err_));
	free(buf);
	return ino;
}

/* Data until nothing goes in any more, not even one block. */
static void fill(struct full *f, const char *name)
{
	static uint8_t buf[FILLER_BLOCKS * HEAL_BLOCK];
	uint64_t ino, at = 0;
	size_t done;

	heal_fill(buf, sizeof(buf), 9);
	HEAL_OK(cfs_fs_create(f->fs, f->root, name, strlen(name), 0644, 0, 0,
			      &ino, &err_));
	for (size_t n = sizeof(buf); n >= HEAL_BLOCK;) {
		int r = cfs_fs_write(f->fs, ino, at, buf, n, &done, NULL);

		at += done;
		assert_true(r == 0 || r == -ENOSPC);
		if (r == -ENOSPC)
			n /= 2;
	}
}

/* A snapshot keeps all of "old"; then the pool is filled to its end. */
static struct full full_pool(void)
{
	struct full f = { .h = heal_new(false, UINT64_C(1) << 20) };
	struct cfs_volume_rec rec = heal_volume(f.h.tree);
	struct cfs_view view;

	f.root = rec.ino;
	cfs_volume_view(f.h.tree, &rec, &view);
	HEAL_OK(cfs_fs_open(&view, rec.ino, rec.hash_seed, &f.fs, &err_));
	f.old = make_file(&f, "old", 1000, 1);
	heal_snapshot(f.h.tree, "s");
	f.loose = make_file(&f, "loose", 200, 2);
	fill(&f, "filler");
	return f;
}

static void full_done(struct full *f)
{
	HEAL_OK(cfs_container_commit(f->h.tree->container, &err_));
	heal_check_clean(&f->h);
	cfs_fs_close(f->fs);
	heal_free(&f->h);
}

/* Is [from, to) of a file zero, and the byte before and the one at @to not
 * touched?  (Those of @seed.) */
static void assert_hole(struct full *f, uint64_t ino, uint64_t seed,
			size_t from, size_t to)
{
	size_t bytes = 200 * HEAL_BLOCK, got;
	uint8_t *want = malloc(bytes), *buf = malloc(bytes);

	assert_non_null(want);
	assert_non_null(buf);
	heal_fill(want, bytes, seed);
	memset(want + from, 0, to - from);
	HEAL_OK(cfs_fs_read(f->fs, ino, 0, buf, bytes, &got, &err_));
	assert_true(got > from);
	assert_memory_equal(buf, want, got);
	free(want);
	free(buf);
}

static void test_punch(void **state)
{
	struct full f = full_pool();

	(void)state;
	HEAL_OK(cfs_fs_punch_hole(f.fs, f.old, 100, 10 * HEAL_BLOCK, &err_));
	assert_hole(&f, f.old, 1, 100, 10 * HEAL_BLOCK + 100);
	HEAL_OK(cfs_fs_punch_hole(f.fs, f.old, 20 * HEAL_BLOCK + 7, 9, &err_));
	HEAL_OK(cfs_fs_punch_hole(f.fs, f.loose, 4000, 200, &err_));
	assert_hole(&f, f.loose, 2, 4000, 4200);
	full_done(&f);
}

static void test_truncate(void **state)
{
	struct full f = full_pool();
	struct cfs_inode inode;

	(void)state;
	HEAL_OK(cfs_fs_truncate(f.fs, f.old, 77 * HEAL_BLOCK + 1, &err_));
	HEAL_OK(cfs_fs_truncate(f.fs, f.old, 200 * HEAL_BLOCK, &err_));
	assert_hole(&f, f.old, 1, 77 * HEAL_BLOCK + 1, 200 * HEAL_BLOCK);
	HEAL_OK(cfs_fs_truncate(f.fs, f.loose, 50 * HEAL_BLOCK - 1, &err_));
	HEAL_OK(cfs_fs_getattr(f.fs, f.loose, &inode, &err_));
	assert_int_equal(inode.size_bytes, 50 * HEAL_BLOCK - 1);
	full_done(&f);
}

/* Parts of blocks that a snapshot keeps, until there is none left for that. */
static unsigned int zero_all(struct full *f)
{
	unsigned int n = 0;
	int r = 0;

	for (; r == 0 && n < 1000; n += r == 0)
		r = cfs_fs_punch_hole(f->fs, f->old, n * HEAL_BLOCK + 5, 5,
				      NULL);
	assert_int_equal(r, -ENOSPC);
	return n;
}

/*
 * What zeroing may take of the reserve ends, cleanly; what gives blocks back
 * goes on, with its parts, and then there is room again.
 */
static void test_bounded(void **state)
{
	struct full f = full_pool();
	struct cfs_space_counts counts;
	unsigned int n = zero_all(&f);

	(void)state;
	cfs_container_lock(f.h.tree->container);
	cfs_space_counts(f.h.tree->container, &counts);
	cfs_container_unlock(f.h.tree->container);
	print_message("# %u blocks of a reserve of %u\n", n,
		      (unsigned int)counts.reserve_blocks);
	assert_true(n > 0);
	assert_true(n <= counts.reserve_blocks / 2);
	/* The block that found no room is as it was. */
	assert_int_equal(
		cfs_fs_punch_hole(f.fs, f.old, n * HEAL_BLOCK + 5, 5, NULL),
		-ENOSPC);
	/* Whole blocks go first: parts find room in what they gave. */
	HEAL_OK(cfs_fs_punch_hole(f.fs, f.loose, 100, 150 * HEAL_BLOCK, &err_));
	assert_hole(&f, f.loose, 2, 100, 150 * HEAL_BLOCK + 100);
	(void)zero_all(&f);
	HEAL_OK(cfs_fs_unlink(f.fs, f.root, "loose", 5, &err_));
	(void)zero_all(&f);
	HEAL_OK(cfs_fs_truncate(f.fs, f.old, 900 * HEAL_BLOCK, &err_));
	HEAL_OK(cfs_snapshot_remove(f.h.tree, CFS_VOLUME_FIRST, "s", NULL,
				    &err_));
	for (unsigned int i = 0; i < 500; i++)
		HEAL_OK(cfs_fs_punch_hole(f.fs, f.old, i * HEAL_BLOCK + 5, 5,
					  &err_));
	full_done(&f);
}

/* A truncation in which whole blocks go first. */
static void test_truncate_bounded(void **state)
{
	struct full f = full_pool();
	struct cfs_inode inode;

	(void)state;
	(void)zero_all(&f);
	HEAL_OK(cfs_fs_truncate(f.fs, f.loose, 5000, &err_));
	HEAL_OK(cfs_fs_getattr(f.fs, f.loose, &inode, &err_));
	assert_int_equal(inode.size_bytes, 5000);
	HEAL_OK(cfs_fs_truncate(f.fs, f.loose, 200 * HEAL_BLOCK, &err_));
	assert_hole(&f, f.loose, 2, 5000, 200 * HEAL_BLOCK);
	full_done(&f);
}

/*
 * As versions did that took thousands of snapshots on a promise of room for
 * one: all are durable in the log, and their leaves are more than the container
 * has room for.
 */
static void overcommit(struct cfs_member *m, unsigned int from,
		       unsigned int count)
{
	struct cfs_container *c = m->container;
	const uint64_t seq = cfs_container_root_seq(c);
	struct cfs_snapshot_rec rec = { .size_bytes = 1 << 20 };
	uint8_t value[CFS_SNAPSHOT_REC_BYTES_MAX];

	memset(rec.note, 'n', sizeof(rec.note) - 1);
	HEAL_OK(cfs_op_begin(c, CFS_OP_FREEING, &err_));
	for (unsigned int i = from; i < from + count; i++) {
		const struct cfs_key key = { { cfs_table_word(
						       CFS_TABLE_SNAPSHOT, 1),
					       cfs_container_stamp(c), 0 } };

		snprintf(rec.name, sizeof(rec.name), "s%05u", i);
		HEAL_OK(cfs_container_put(c, &key, value,
					  cfs_snapshot_rec_pack(&rec, value),
					  &err_));
		HEAL_OK(cfs_container_raise_stamp(c, &err_));
	}
	cfs_op_end(c);
	HEAL_OK(cfs_container_sync(c, &err_));
	assert_int_equal(cfs_container_root_seq(c), seq);
}

/* All data of the tree but "old". */
static void empty_tree(struct full *f)
{
	struct cfs_volume_rec rec = heal_volume(f->h.tree);
	struct cfs_view view;
	uint64_t slices = 0;

	cfs_volume_view(f->h.tree, &rec, &view);
	HEAL_OK(cfs_fs_open(&view, rec.ino, rec.hash_seed, &f->fs, &err_));
	HEAL_OK(cfs_fs_unlink(f->fs, f->root, "filler", 6, &err_));
	HEAL_OK(cfs_fs_unlink(f->fs, f->root, "loose", 5, &err_));
	cfs_fs_close(f->fs);
	HEAL_OK(cfs_pool_reclaim(f->h.pool, f->h.tree, &slices, &err_));
	assert_true(slices > 0);
}

/*
 * A container that must grow for what it replays does so when it is opened. In
 * a full pool it says what it lacks, and opens as soon as it is there.
 */
static void test_replay_grows(void **state)
{
	struct full f = full_pool();
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	cfs_fs_close(f.fs);
	HEAL_OK(cfs_container_commit(f.h.tree->container, &err_));
	overcommit(f.h.lun, 0, 500);
	HEAL_OK(cfs_container_commit(f.h.lun->container, &err_));
	overcommit(f.h.lun, 500, 900);
	cfs_pool_drop(f.h.pool);
	heal_open(&f.h, false);
	assert_int_equal(cfs_pool_member(f.h.pool, "lun", &f.h.lun, &err),
			 -ENOSPC);
	assert_non_null(strstr(err.msg, "slicectl add"));
	HEAL_OK(cfs_pool_member(f.h.pool, "tree", &f.h.tree, &err_));
	empty_tree(&f);
	heal_members(&f.h);
	assert_true(heal_has_snapshot(f.h.lun, "s00000"));
	assert_true(heal_has_snapshot(f.h.lun, "s01399"));
	heal_check_clean(&f.h);
	heal_free(&f.h);
}

/*
 * The index of names takes room too, which renaming may use up: whether it is
 * whole then or not, snapshots are found, nothing is closed for writing, and
 * it is whole when there is room.
 */
static void test_names(void **state)
{
	struct full f = full_pool();
	struct cfs_member *m = f.h.lun;
	char name[64], last[64] = "s00000";
	int r = 0;

	(void)state;
	overcommit(m, 0, 200);
	for (unsigned int i = 0; r == 0 && heal_names_are_whole(m) && i < 2000;
	     i++) {
		snprintf(name, sizeof(name), "%u-%.30s", i * 2654435761u,
			 "so-long-that-it-has-a-hash-too");
		r = cfs_snapshot_rename(m, CFS_VOLUME_FIRST, last, name, NULL);
		if (r == 0)
			memcpy(last, name, sizeof(last));
	}
	assert_true(r == 0 || r == -ENOSPC);
	print_message("# the index is %s\n",
		      heal_names_are_whole(m) ? "whole" : "off");
	assert_true(cfs_container_is_writable(m->container));
	assert_true(heal_has_snapshot(m, last));
	assert_true(heal_has_snapshot(m, "s00199"));
	assert_false(heal_has_snapshot(m, "no such name"));
	cfs_fs_close(f.fs);
	empty_tree(&f);
	heal_reopen(&f.h);
	m = f.h.lun;
	assert_true(heal_has_snapshot(m, last));
	assert_false(heal_has_snapshot(m, "no such name"));
	heal_snapshot(m, "t");
	assert_true(heal_names_are_whole(m));
	heal_check_clean(&f.h);
	heal_free(&f.h);
}

/* As many snapshots and clones as there is room for, in a full pool: they can
 * be removed, and then more can be taken. */
static void test_remove(void **state)
{
	struct full f = full_pool();
	struct cfs_member *m = f.h.tree;
	struct cfs_snapshot_name snap = { m, CFS_VOLUME_FIRST, "t" };
	unsigned int taken = 0;
	char name[32];
	int r = 0;

	(void)state;
	while (r == 0) {
		assert_true(taken < 100000);
		snprintf(name, sizeof(name), "c%u", taken);
		r = cfs_snapshot_clone(m, CFS_VOLUME_FIRST, "s", name, NULL);
		taken += r == 0;
	}
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(cfs_snapshot_take(&snap, 1, NULL, NULL), -ENOSPC);
	for (unsigned int i = 0; i < taken; i++) {
		struct cfs_volume_rec rec;
		uint64_t id;

		snprintf(name, sizeof(name), "c%u", i);
		HEAL_OK(cfs_volume_find(m, name, &id, &rec, &err_));
		HEAL_OK(cfs_volume_remove(m, id, false, &err_));
	}
	HEAL_OK(cfs_snapshot_remove(m, CFS_VOLUME_FIRST, "s", NULL, &err_));
	HEAL_OK(cfs_fs_unlink(f.fs, f.root, "filler", 6, &err_));
	HEAL_OK(cfs_snapshot_take(&snap, 1, NULL, &err_));
	full_done(&f);
}

/* The same with snapshots alone, thousands at once. */
static void test_remove_many(void **state)
{
	struct full f = full_pool();
	struct cfs_member *m = f.h.tree;
	enum { AT_ONCE = 500 };
	static char names[AT_ONCE][16];
	struct cfs_snapshot_name snaps[AT_ONCE];
	unsigned int lap = 0;
	int r = 0;

	(void)state;
	for (size_t n = AT_ONCE; n > 0; n = r == 0 ? n : n / 2, lap++) {
		assert_true(lap < 1000);
		for (size_t i = 0; i < n; i++) {
			snprintf(names[i], sizeof(names[i]), "n%ux%zu", lap, i);
			snaps[i] = (struct cfs_snapshot_name){ m,
							       CFS_VOLUME_FIRST,
							       names[i] };
		}
		r = cfs_snapshot_take(snaps, n, NULL, NULL);
		assert_true(r == 0 || r == -ENOSPC);
	}
	HEAL_OK(cfs_snapshot_remove(m, CFS_VOLUME_FIRST, "s", NULL, &err_));
	full_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_punch),
		cmocka_unit_test(test_truncate),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_truncate_bounded),
		cmocka_unit_test(test_replay_grows),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_remove_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
