/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Threads that change one tree at a time: each in a directory of its own, all
 * in one that they share, with renames between.  Names and links agree when
 * they are done; under the thread sanitizer nothing races.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "fs_fixture.h"

#define THREAD_COUNT 4u
#define STEP_COUNT   1500u
#define NAME_COUNT   12u

struct worker {
	struct fixture *f;
	unsigned int number;
	uint64_t own, shared;
	bool has_failed;
};

/* Calls may fail for what others do; they may not fail in other ways. */
static bool is_expected(int r)
{
	return r == 0 || r == -ENOENT || r == -EEXIST || r == -ENOTEMPTY ||
	       r == -EISDIR || r == -ENOTDIR || r == -EINVAL;
}

static int step(struct worker *w, struct cfs_rng *rng, struct cfs_err *err)
{
	struct cfs_fs *fs = w->f->fs;
	uint64_t dir = cfs_rng_below(rng, 2) ? w->own : w->shared, ino = 0;
	uint64_t to = cfs_rng_below(rng, 2) ? w->own : w->shared;
	char name[16], other[16];
	struct cfs_fs_entry e[4];
	size_t n = 0;
	int r;

	snprintf(name, sizeof(name), "n%u",
		 (unsigned int)cfs_rng_below(rng, NAME_COUNT));
	snprintf(other, sizeof(other), "n%u",
		 (unsigned int)cfs_rng_below(rng, NAME_COUNT));
	switch (cfs_rng_below(rng, 7)) {
	case 0:
		return cfs_fs_create(fs, dir, name, strlen(name), 0644, 0, 0,
				     NULL, err);
	case 1:
		return cfs_fs_mkdir(fs, dir, name, strlen(name), 0755, 0, 0,
				    NULL, err);
	case 2:
		r = cfs_fs_unlink(fs, dir, name, strlen(name), err);
		return r == -EISDIR
			       ? cfs_fs_rmdir(fs, dir, name, strlen(name), err)
			       : r;
	case 3:
		return cfs_fs_rename(
			fs, dir, name, strlen(name), to, other, strlen(other),
			cfs_rng_below(rng, 2) ? CFS_FS_RENAME_EXCHANGE : 0,
			err);
	case 4:
		return cfs_fs_readdir(fs, dir, 0, e, 4, &n, err);
	default:
		break;
	}
	/* Write to one that others may remove meanwhile. */
	r = cfs_fs_lookup(fs, dir, name, strlen(name), &ino, NULL, err);
	if (r == 0)
		r = cfs_fs_open_ino(fs, ino, err);
	if (r < 0)
		return r;
	r = cfs_fs_write(fs, ino, cfs_rng_below(rng, 20000), "data", 4, NULL,
			 err);
	if (r == 0)
		r = cfs_fs_truncate(fs, ino, cfs_rng_below(rng, 20000), err);
	if (cfs_fs_close_ino(fs, ino, err) < 0)
		return -EIO;
	return r;
}

static void *work(void *arg)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct worker *w = arg;
	struct cfs_rng rng;
	unsigned int i;

	cfs_rng_init(&rng, w->number);
	for (i = 0; i < STEP_COUNT; i++)
		w->has_failed |= !is_expected(step(w, &rng, &err));
	return NULL;
}

static void test_threads(void **state)
{
	struct worker workers[THREAD_COUNT];
	pthread_t threads[THREAD_COUNT];
	struct fixture *f = *state;
	uint64_t shared = make_dir(f, ROOT, "shared");
	unsigned int i;
	char name[16];

	for (i = 0; i < THREAD_COUNT; i++) {
		snprintf(name, sizeof(name), "own%u", i);
		workers[i] = (struct worker){
			.f = f,
			.number = i,
			.shared = shared,
			.own = make_dir(f, ROOT, name),
		};
	}
	for (i = 0; i < THREAD_COUNT; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, work, &workers[i]),
			0);
	for (i = 0; i < THREAD_COUNT; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_false(workers[i].has_failed);
	}
	assert_sound(f);
	/* Nobody holds anything open, so nothing nameless is left. */
	assert_int_equal(f->fs->open.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
