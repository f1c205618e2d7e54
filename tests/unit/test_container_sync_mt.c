/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Syncs of many threads: they share frames and flushes; while one is on its
 * way others read and write, and a commit waits; one that fails fails for all
 * who waited for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/device_priv.h"
#include "heal_fixture.h"

#include <pthread.h>
#include <unistd.h>

#define LUN_BYTES ((uint64_t)1024 * HEAL_BLOCK)
#define THREADS   8u
#define ROUNDS    25u

/* A device whose flush stops at a gate, or takes a while. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct cfs_dev_ops ops;
	const struct cfs_dev_ops *well;
	bool is_shut;
	unsigned int stopped, flushes, writes;
	unsigned int takes_us;
	bool fails;
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER,
	   .changed = PTHREAD_COND_INITIALIZER };

static int gate_flush(struct cfs_dev *dev)
{
	bool fails;

	pthread_mutex_lock(&gate.lock);
	gate.flushes++;
	gate.stopped++;
	pthread_cond_broadcast(&gate.changed);
	while (gate.is_shut)
		pthread_cond_wait(&gate.changed, &gate.lock);
	gate.stopped--;
	fails = gate.fails;
	pthread_mutex_unlock(&gate.lock);
	if (gate.takes_us)
		usleep(gate.takes_us);
	return fails ? -EIO : gate.well->flush(dev);
}

static int gate_transfer(struct cfs_dev *dev, enum cfs_io_op op,
			 uint64_t offset_bytes, void *buf, size_t length_bytes)
{
	if (op == CFS_IO_WRITE)
		__atomic_add_fetch(&gate.writes, 1, __ATOMIC_SEQ_CST);
	return gate.well->transfer(dev, op, offset_bytes, buf, length_bytes);
}

static void gate_set(bool is_shut, bool fails)
{
	pthread_mutex_lock(&gate.lock);
	gate.is_shut = is_shut;
	gate.fails = fails;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
}

static void gate_wait_stopped(void)
{
	pthread_mutex_lock(&gate.lock);
	while (!gate.stopped)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

struct lun {
	struct heal_pool h;
	struct cfs_volume_rec rec;
	struct cfs_view view;
};

static int lun_write(struct lun *l, uint64_t block, uint64_t value)
{
	uint64_t buf[HEAL_BLOCK / sizeof(uint64_t)];
	struct cfs_container *c = l->view.container;
	int r;

	for (size_t i = 0; i < sizeof(buf) / sizeof(*buf); i++)
		buf[i] = value;
	r = cfs_op_begin(c, CFS_OP_NORMAL, NULL);
	if (r < 0)
		return r;
	r = cfs_data_write(c, l->view.branch, l->rec.ino, block * HEAL_BLOCK,
			   buf, sizeof(buf), NULL);
	if (r < 0)
		cfs_op_abort(c);
	else
		cfs_op_end(c);
	return r;
}

static struct lun lun_new(void)
{
	struct lun l = { .h = heal_new(false, LUN_BYTES) };
	struct cfs_dev *dev = cfs_devset_dev(l.h.set, 0);

	l.rec = heal_volume(l.h.lun);
	cfs_volume_view(l.h.lun, &l.rec, &l.view);
	heal_write(l.h.lun, 0, 256, 3);
	/* Space for what follows, so that no operation has to get some. */
	for (uint64_t i = 0; i < 300; i++)
		assert_int_equal(lun_write(&l, i, 9), 0);
	HEAL_OK(cfs_container_sync(l.view.container, &err_));
	gate.well = dev->ops;
	gate.ops = *dev->ops;
	gate.ops.flush = gate_flush;
	gate.ops.transfer = gate_transfer;
	gate.ops.start = NULL;
	gate.flushes = gate.takes_us = 0;
	dev->ops = &gate.ops;
	return l;
}

static uint64_t lun_read(struct lun *l, uint64_t block)
{
	uint64_t buf[HEAL_BLOCK / sizeof(uint64_t)];

	HEAL_OK(cfs_data_read_beside(&l->view, l->rec.ino, block * HEAL_BLOCK,
				     buf, sizeof(buf), NULL, &err_));
	return buf[0];
}

static void *do_sync(void *arg)
{
	struct lun *l = arg;

	return (void *)(intptr_t)cfs_container_sync(l->view.container, NULL);
}

static void *do_commit(void *arg)
{
	struct lun *l = arg;

	return (void *)(intptr_t)cfs_container_commit(l->view.container, NULL);
}

static int join(pthread_t thread)
{
	void *r = NULL;

	pthread_join(thread, &r);
	return (int)(intptr_t)r;
}

/* Reads, writes and an abort do not wait for the flush. */
static void test_others_go_on(void **state)
{
	struct lun l = lun_new();
	pthread_t thread, later;

	(void)state;
	assert_int_equal(lun_write(&l, 5, 1), 0);
	gate_set(true, false);
	assert_int_equal(pthread_create(&thread, NULL, do_sync, &l), 0);
	gate_wait_stopped();
	assert_int_equal(lun_read(&l, 5), 1);
	assert_int_equal(lun_write(&l, 5, 2), 0);
	assert_int_equal(lun_write(&l, 6, 3), 0);
	assert_int_equal(lun_read(&l, 5), 2);
	/* What came behind the frame is in the next one, also for whoever asks
	 * before the first has ended. */
	assert_int_equal(pthread_create(&later, NULL, do_sync, &l), 0);
	usleep(20000);
	gate_set(false, false);
	assert_int_equal(join(thread), 0);
	assert_int_equal(join(later), 0);
	assert_int_equal(gate.flushes, 2);
	HEAL_OK(cfs_container_sync(l.view.container, &err_));
	assert_int_equal(gate.flushes, 2);
	heal_check_clean(&l.h);
	heal_free(&l.h);
}

/* No block of a commit is written before the frame that is out is durable. */
static void test_commit_waits(void **state)
{
	struct lun l = lun_new();
	pthread_t thread, committer;
	unsigned int writes;

	(void)state;
	assert_int_equal(lun_write(&l, 5, 1), 0);
	gate_set(true, false);
	assert_int_equal(pthread_create(&thread, NULL, do_sync, &l), 0);
	gate_wait_stopped();
	assert_int_equal(lun_write(&l, 7, 2), 0);
	writes = __atomic_load_n(&gate.writes, __ATOMIC_SEQ_CST);
	assert_int_equal(pthread_create(&committer, NULL, do_commit, &l), 0);
	usleep(50000);
	assert_int_equal(__atomic_load_n(&gate.writes, __ATOMIC_SEQ_CST),
			 writes);
	gate_set(false, false);
	assert_int_equal(join(thread), 0);
	assert_int_equal(join(committer), 0);
	assert_true(__atomic_load_n(&gate.writes, __ATOMIC_SEQ_CST) > writes);
	heal_check_clean(&l.h);
	heal_scrub_clean(&l.h);
	heal_free(&l.h);
}

struct syncer {
	struct lun *l;
	unsigned int index;
};

static void *write_and_sync(void *arg)
{
	const struct syncer *s = arg;

	for (uint64_t i = 1; i <= ROUNDS; i++) {
		if (lun_write(s->l, s->index * 8 + i % 3, i) < 0 ||
		    cfs_container_sync(s->l->view.container, NULL) < 0)
			return arg;
	}
	return NULL;
}

static void test_shared(void **state)
{
	struct lun l = lun_new();
	struct syncer syncers[THREADS];
	pthread_t threads[THREADS];

	(void)state;
	gate.takes_us = 2000;
	for (unsigned int i = 0; i < THREADS; i++) {
		syncers[i] = (struct syncer){ .l = &l, .index = i };
		assert_int_equal(pthread_create(&threads[i], NULL,
						write_and_sync, &syncers[i]),
				 0);
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		void *r = NULL;

		pthread_join(threads[i], &r);
		assert_null(r);
	}
	assert_true(gate.flushes >= ROUNDS);
	assert_true(gate.flushes < THREADS * ROUNDS * 3 / 4);
	for (uint64_t i = 0; i < THREADS; i++)
		for (uint64_t k = 0; k < 3; k++)
			assert_int_equal(lun_read(&l, i * 8 + k),
					 ROUNDS - (ROUNDS - k) % 3);
	heal_check_clean(&l.h);
	heal_free(&l.h);
}

static void test_fails_for_all(void **state)
{
	struct lun l = lun_new();
	pthread_t first, second, third;

	(void)state;
	assert_int_equal(lun_write(&l, 5, 1), 0);
	gate_set(true, true);
	assert_int_equal(pthread_create(&first, NULL, do_sync, &l), 0);
	gate_wait_stopped();
	/* In the frame that is out; and behind it. */
	assert_int_equal(pthread_create(&second, NULL, do_sync, &l), 0);
	assert_int_equal(lun_write(&l, 6, 1), 0);
	assert_int_equal(pthread_create(&third, NULL, do_sync, &l), 0);
	gate_set(false, true);
	assert_true(join(first) < 0);
	assert_true(join(second) < 0);
	assert_true(join(third) < 0);
	assert_int_equal(lun_write(&l, 7, 1), -EROFS);
	assert_true(cfs_container_sync(l.view.container, NULL) < 0);
	assert_true(cfs_container_commit(l.view.container, NULL) < 0);
	assert_int_equal(lun_read(&l, 6), 1);
	gate_set(false, false);
	(void)cfs_pool_close(l.h.pool, NULL);
	l.h.pool = NULL;
	heal_free(&l.h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_others_go_on),
		cmocka_unit_test(test_commit_waits),
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_fails_for_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
