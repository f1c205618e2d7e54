/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Many threads on one device, each in its own part: batches, single transfers
 * and flushes at once, through io_uring, threads, memory and the simulation.
 * Run it under the thread sanitizer too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/device.h"
#include "device/file_priv.h"
#include "device/sim.h"

#define THREADS    6u
#define ROUNDS     12u
#define IOS        40u
#define PART_BYTES (IOS * 8192u)

struct job {
	struct cfs_dev *dev;
	unsigned int index;
	bool has_failed;
	pthread_t thread;
};

static void stamp(unsigned char *buf, unsigned int index, unsigned int round)
{
	size_t i;

	for (i = 0; i < PART_BYTES; i += 4) {
		uint32_t value = (uint32_t)i * 31 + index * 1000003 +
				 round * 7919;

		memcpy(buf + i, &value, 4);
	}
}

/* Odd cuts, so that neighbours merge, bounce, or go one by one. */
static void cut(struct cfs_io *ios, unsigned char *buf, unsigned int index,
		unsigned int round, enum cfs_io_op op)
{
	size_t step = round % 3 == 2 ? 8000 : 8192;
	size_t i;

	for (i = 0; i < IOS; i++)
		ios[i] = (struct cfs_io){
			.op = op,
			.offset_bytes = index * (uint64_t)PART_BYTES + i * step,
			.buf = buf + i * step,
			.length_bytes = i == IOS - 1 ? PART_BYTES - i * step
						     : step,
		};
}

static bool one_round(struct job *job, unsigned char *buf,
		      unsigned char *expected, unsigned int round)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_dev_ticket *ticket;
	struct cfs_io ios[IOS];

	stamp(buf, job->index, round);
	memcpy(expected, buf, PART_BYTES);
	cut(ios, buf, job->index, round, CFS_IO_WRITE);
	if (cfs_dev_start(job->dev, ios, IOS, &ticket, &err) < 0 ||
	    cfs_dev_wait(ticket, &err) < 0 || cfs_dev_flush(job->dev, &err) < 0)
		return false;
	memset(buf, 0, PART_BYTES);
	cut(ios, buf, job->index, round, CFS_IO_READ);
	if (cfs_dev_submit(job->dev, ios, IOS, &err) < 0 ||
	    memcmp(buf, expected, PART_BYTES) != 0)
		return false;
	memset(buf, 0, PART_BYTES);
	return cfs_dev_read(job->dev, job->index * (uint64_t)PART_BYTES, buf,
			    PART_BYTES, &err) == 0 &&
	       memcmp(buf, expected, PART_BYTES) == 0;
}

static void *run(void *arg)
{
	struct job *job = arg;
	unsigned char *buf = cfs_dev_buf_alloc(PART_BYTES);
	unsigned char *expected = malloc(PART_BYTES);
	unsigned int round;

	job->has_failed = !buf || !expected;
	for (round = 0; round < ROUNDS && !job->has_failed; round++)
		job->has_failed = !one_round(job, buf, expected, round);
	free(buf);
	free(expected);
	return NULL;
}

static void storm(struct cfs_dev *dev)
{
	struct job jobs[THREADS];
	unsigned int i;

	for (i = 0; i < THREADS; i++) {
		jobs[i] = (struct job){ .dev = dev, .index = i };
		assert_int_equal(
			pthread_create(&jobs[i].thread, NULL, run, &jobs[i]),
			0);
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(jobs[i].thread, NULL);
	for (i = 0; i < THREADS; i++)
		assert_false(jobs[i].has_failed);
}

static void file_storm(unsigned int flags, bool refuse_uring)
{
	char path[] = "/var/tmp/cfs-device-XXXXXX";
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_dev *dev;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(cfs_dev_open(path, CFS_DEV_RDWR | flags, &dev, &err),
			 0);
	if (refuse_uring)
		cfs_file_refuse_uring(dev);
	assert_int_equal(cfs_dev_resize(dev, THREADS * PART_BYTES, &err), 0);
	storm(dev);
	cfs_dev_close(dev);
	unlink(path);
}

static void test_file(void **state)
{
	(void)state;
	file_storm(0, false);
}

static void test_file_threads(void **state)
{
	(void)state;
	file_storm(0, true);
}

static void test_file_buffered(void **state)
{
	(void)state;
	file_storm(CFS_DEV_BUFFERED, false);
}

/* ---- begun by one, ended by another -------------------------------------- */

#define PASSED_BYTES 65536u

struct passed {
	struct cfs_dev *dev;
	struct cfs_io io;
	struct cfs_dev_ticket *ticket;
	int result;
	bool goes_home; /* who began it is gone when it is waited for */
	pthread_barrier_t begun, ended;
};

static void *begin_one(void *arg)
{
	struct passed *p = arg;

	p->result = cfs_dev_start(p->dev, &p->io, 1, &p->ticket, NULL);
	if (p->goes_home)
		return NULL;
	pthread_barrier_wait(&p->begun);
	/* Asleep meanwhile, as who waits for its next request. */
	pthread_barrier_wait(&p->ended);
	return NULL;
}

static void pass_one(struct passed *p)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, begin_one, p), 0);
	if (p->goes_home)
		assert_int_equal(pthread_join(thread, NULL), 0);
	else
		pthread_barrier_wait(&p->begun);
	assert_int_equal(p->result, 0);
	/* A ring tells its end to nobody but who waits. */
	if (!((const struct cfs_file_dev *)p->dev)->is_uring_refused)
		assert_int_equal(p->io.result, CFS_IO_PENDING);
	assert_int_equal(cfs_dev_wait(p->ticket, NULL), 0);
	if (!p->goes_home) {
		pthread_barrier_wait(&p->ended);
		assert_int_equal(pthread_join(thread, NULL), 0);
	}
}

static void pass_many(bool refuse_uring)
{
	char path[] = "/var/tmp/cfs-device-XXXXXX";
	unsigned char *buf = cfs_dev_buf_alloc(2 * PASSED_BYTES);
	struct cfs_err err = CFS_ERR_INIT;
	struct passed p;
	int fd = mkstemp(path);

	assert_true(fd >= 0 && buf);
	close(fd);
	assert_int_equal(cfs_dev_open(path, CFS_DEV_RDWR, &p.dev, &err), 0);
	if (refuse_uring)
		cfs_file_refuse_uring(p.dev);
	assert_int_equal(cfs_dev_resize(p.dev, PASSED_BYTES, &err), 0);
	pthread_barrier_init(&p.begun, NULL, 2);
	pthread_barrier_init(&p.ended, NULL, 2);
	for (unsigned int i = 0; i < 64; i++) {
		memset(buf, (int)i + 1, PASSED_BYTES);
		assert_int_equal(
			cfs_dev_write(p.dev, 0, buf, PASSED_BYTES, &err), 0);
		p.io = (struct cfs_io){
			.op = CFS_IO_READ,
			.buf = buf + PASSED_BYTES,
			.length_bytes = PASSED_BYTES,
		};
		p.goes_home = i % 2;
		pass_one(&p);
		assert_memory_equal(buf, buf + PASSED_BYTES, PASSED_BYTES);
	}
	pthread_barrier_destroy(&p.begun);
	pthread_barrier_destroy(&p.ended);
	cfs_dev_close(p.dev);
	unlink(path);
	free(buf);
}

static void test_passed_on(void **state)
{
	(void)state;
	pass_many(false);
	pass_many(true);
}

static void test_mem(void **state)
{
	struct cfs_dev *dev;

	(void)state;
	assert_int_equal(cfs_dev_mem_new(THREADS * PART_BYTES, &dev, NULL), 0);
	storm(dev);
	cfs_dev_close(dev);
}

static void test_sim(void **state)
{
	struct cfs_sim *sim;
	struct cfs_dev *dev, *image;
	struct cfs_sim_crash crash = { .seed = 0 };

	(void)state;
	assert_int_equal(cfs_sim_new(&sim, NULL), 0);
	assert_int_equal(cfs_sim_dev_new(sim, THREADS * PART_BYTES, &dev, NULL),
			 0);
	storm(dev);
	crash.event_count = cfs_sim_event_count(sim);
	assert_int_equal(crash.event_count, THREADS * ROUNDS * (IOS + 1));
	/* Every thread ended with a flush: nothing is left to lose. */
	assert_int_equal(cfs_sim_unflushed_count(sim, crash.event_count), 0);
	assert_int_equal(cfs_sim_crash_image(sim, &crash, 0, &image, NULL), 0);
	cfs_dev_close(image);
	cfs_dev_close(dev);
	cfs_sim_free(sim);
}

/* Images of one world, made and changed in many threads. */
static void *use_images(void *arg)
{
	const struct cfs_sim *sim = arg;
	size_t n = cfs_sim_event_count(sim);
	uint64_t value;
	size_t i;

	for (i = 0; i < 400; i++) {
		struct cfs_sim_crash crash = {
			.event_count = i * 7 % (n + 1),
			.seed = i + 1,
		};
		struct cfs_dev *image;

		if (cfs_sim_crash_image(sim, &crash, 0, &image, NULL) < 0)
			return arg;
		value = i;
		if (cfs_dev_write(image, i * 64, &value, 8, NULL) < 0 ||
		    cfs_dev_read(image, i * 64, &value, 8, NULL) < 0 ||
		    value != i)
			return arg;
		cfs_dev_close(image);
	}
	return NULL;
}

static void test_images(void **state)
{
	pthread_t threads[THREADS];
	struct cfs_sim *sim;
	struct cfs_dev *dev;
	unsigned int i;

	(void)state;
	assert_int_equal(cfs_sim_new(&sim, NULL), 0);
	assert_int_equal(cfs_sim_dev_new(sim, 1 << 20, &dev, NULL), 0);
	for (i = 0; i < 300; i++) {
		assert_int_equal(
			cfs_dev_write(dev, i * 999, &i, sizeof(i), NULL), 0);
		if (i % 5 == 0)
			assert_int_equal(cfs_dev_flush(dev, NULL), 0);
	}
	for (i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, use_images, sim), 0);
	for (i = 0; i < THREADS; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	cfs_dev_close(dev);
	cfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_file_threads),
		cmocka_unit_test(test_file_buffered),
		cmocka_unit_test(test_passed_on),
		cmocka_unit_test(test_mem),
		cmocka_unit_test(test_sim),
		cmocka_unit_test(test_images),
	};

	return cmocka_run_group_tests_name("device threads", tests, NULL, NULL);
}
