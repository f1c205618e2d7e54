/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reading files without the container's lock: while one read waits for the
 * device others work; and beside writing, cutting, growing and punching each
 * block is one that stood there, and nothing is seen behind the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/device_priv.h"
#include "heal_fixture.h"
#include "volume/fs.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#define FILE_BLOCKS 512u
#define READERS     3u

struct tree {
	struct heal_pool h;
	struct cfs_view view;
	struct cfs_fs *fs;
	uint64_t root, ino;
};

static struct tree tree_new(void)
{
	struct tree t = { .h = heal_new(false, HEAL_BLOCK * 64) };
	struct cfs_volume_rec rec = heal_volume(t.h.tree);

	cfs_volume_view(t.h.tree, &rec, &t.view);
	t.root = rec.ino;
	HEAL_OK(cfs_fs_open(&t.view, rec.ino, rec.hash_seed, &t.fs, &err_));
	HEAL_OK(cfs_fs_create(t.fs, t.root, "f", 1, 0644, 0, 0, &t.ino, &err_));
	return t;
}

static void tree_free(struct tree *t)
{
	cfs_fs_close(t->fs);
	heal_check_clean(&t->h);
	heal_free(&t->h);
}

static void write_blocks(struct tree *t, uint64_t block, uint64_t count,
			 uint64_t word)
{
	uint64_t *buf = malloc(count * HEAL_BLOCK);
	size_t n = 0;

	assert_non_null(buf);
	for (size_t k = 0; k < count * HEAL_BLOCK / sizeof(*buf); k++)
		buf[k] = word;
	HEAL_OK(cfs_fs_write(t->fs, t->ino, block * HEAL_BLOCK, buf,
			     count * HEAL_BLOCK, &n, &err_));
	assert_int_equal(n, count * HEAL_BLOCK);
	free(buf);
}

/* ---- beside changes ------------------------------------------------------ */

struct race {
	struct tree t;
	bool is_over;
	unsigned int failed, reads;
};

/* All words of a block are the same: the number of the round it is of, or
 * none. */
static void *race_read(void *arg)
{
	struct race *race = arg;
	uint64_t *buf = aligned_alloc(HEAL_BLOCK, 64 * HEAL_BLOCK);
	struct cfs_rng rng;

	cfs_rng_init(&rng, (uint64_t)(uintptr_t)&rng);
	while (buf && !__atomic_load_n(&race->is_over, __ATOMIC_SEQ_CST)) {
		const size_t words = HEAL_BLOCK / sizeof(*buf);
		uint64_t count = cfs_rng_below(&rng, 64) + 1;
		uint64_t at = cfs_rng_below(&rng, FILE_BLOCKS);
		size_t n = 0;
		bool is_bad = cfs_fs_read(race->t.fs, race->t.ino,
					  at * HEAL_BLOCK, buf,
					  count * HEAL_BLOCK, &n, NULL) != 0;

		/* The size is one of whole blocks at all times. */
		is_bad |= n % HEAL_BLOCK != 0 || n > count * HEAL_BLOCK;
		for (size_t i = 0; i < n / sizeof(*buf) && !is_bad; i++)
			is_bad = buf[i] != buf[i / words * words];
		__atomic_add_fetch(&race->reads, 1, __ATOMIC_RELAXED);
		if (is_bad)
			__atomic_add_fetch(&race->failed, 1, __ATOMIC_RELAXED);
	}
	free(buf);
	return NULL;
}

static void race_change(struct race *race, unsigned int rounds)
{
	struct tree *t = &race->t;
	struct cfs_rng rng;

	cfs_rng_init(&rng, 11);
	for (uint64_t i = 1; i <= rounds; i++) {
		uint64_t count = cfs_rng_below(&rng, 64) + 1;
		uint64_t at = cfs_rng_below(&rng, FILE_BLOCKS - count);

		switch (i % 9) {
		case 0:
			HEAL_OK(cfs_fs_punch_hole(t->fs, t->ino,
						  at * HEAL_BLOCK,
						  count * HEAL_BLOCK, &err_));
			break;
		case 4:
			HEAL_OK(cfs_fs_truncate(t->fs, t->ino, at * HEAL_BLOCK,
						&err_));
			break;
		default:
			write_blocks(t, at, count, i);
		}
		if (i % 5 == 0)
			HEAL_OK(cfs_container_commit(t->view.container, &err_));
	}
}

static void test_beside_changes(void **state)
{
	struct race race = { .t = tree_new() };
	pthread_t threads[READERS];

	(void)state;
	write_blocks(&race.t, 0, FILE_BLOCKS, 0);
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, race_read, &race), 0);
	race_change(&race, 1500);
	__atomic_store_n(&race.is_over, true, __ATOMIC_SEQ_CST);
	for (size_t i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(race.failed, 0);
	assert_true(race.reads > 0);
	tree_free(&race.t);
}

/* ---- a device that is slow ----------------------------------------------- */

#define PATIENCE_MS 20000u

static struct cfs_dev_ops slow_ops;
static const struct cfs_dev_ops *quick_ops;
static bool is_slow, is_waiting, may_go_on, was_late; /* atomic */

static void pause_ms(long ms)
{
	const struct timespec t = { .tv_nsec = ms * 1000000 };

	(void)nanosleep(&t, NULL);
}

/* What is read waits until it is told to go on. */
static int slow_transfer(struct cfs_dev *dev, enum cfs_io_op op,
			 uint64_t offset_bytes, void *buf, size_t length_bytes)
{
	if (op == CFS_IO_READ &&
	    __atomic_exchange_n(&is_slow, false, __ATOMIC_SEQ_CST)) {
		__atomic_store_n(&is_waiting, true, __ATOMIC_SEQ_CST);
		for (unsigned int ms = 0;
		     !__atomic_load_n(&may_go_on, __ATOMIC_SEQ_CST); ms++) {
			if (ms == PATIENCE_MS) {
				was_late = true;
				break;
			}
			pause_ms(1);
		}
	}
	return quick_ops->transfer(dev, op, offset_bytes, buf, length_bytes);
}

static void *read_all(void *arg)
{
	struct tree *t = arg;
	uint64_t *buf = aligned_alloc(HEAL_BLOCK, 64 * HEAL_BLOCK);
	size_t n = 0;

	assert_non_null(buf);
	HEAL_OK(cfs_fs_read(t->fs, t->ino, 0, buf, 64 * HEAL_BLOCK, &n, &err_));
	assert_int_equal(n, 64 * HEAL_BLOCK);
	assert_int_equal(buf[0], 7);
	free(buf);
	return NULL;
}

static void test_others_work_meanwhile(void **state)
{
	struct tree t = tree_new();
	struct cfs_dev *dev = cfs_devset_dev(t.h.set, 0);
	struct cfs_inode inode;
	pthread_t reader;

	(void)state;
	write_blocks(&t, 0, 64, 7);
	HEAL_OK(cfs_container_commit(t.view.container, &err_));
	quick_ops = dev->ops;
	slow_ops = *quick_ops;
	slow_ops.transfer = slow_transfer;
	slow_ops.start = NULL;
	dev->ops = &slow_ops;
	__atomic_store_n(&is_slow, true, __ATOMIC_SEQ_CST);
	assert_int_equal(pthread_create(&reader, NULL, read_all, &t), 0);
	while (!__atomic_load_n(&is_waiting, __ATOMIC_SEQ_CST))
		pause_ms(1);
	HEAL_OK(cfs_fs_getattr(t.fs, t.ino, &inode, &err_));
	HEAL_OK(cfs_fs_create(t.fs, t.root, "g", 1, 0644, 0, 0, NULL, &err_));
	__atomic_store_n(&may_go_on, true, __ATOMIC_SEQ_CST);
	pthread_join(reader, NULL);
	assert_false(was_late);
	dev->ops = quick_ops;
	tree_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_beside_changes),
		cmocka_unit_test(test_others_work_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
