/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Memory devices: a petabyte costs nothing until it is touched, handles share
 * contents, clones share memory but not changes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "device/sparse.h"

#define PIB (UINT64_C(1) << 50)

static struct cfs_dev *must_new(uint64_t size_bytes)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_dev *dev = NULL;

	assert_int_equal(cfs_dev_mem_new(size_bytes, &dev, &err), 0);
	return dev;
}

static void test_facts(void **state)
{
	struct cfs_dev *a = must_new(1 << 20);
	struct cfs_dev *b = must_new(1 << 20);
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	assert_int_equal(cfs_dev_kind(a), CFS_DEV_MEM);
	assert_int_equal(cfs_dev_size_bytes(a), 1 << 20);
	assert_true(cfs_dev_is_writable(a));
	assert_true(cfs_dev_is_same(a, a));
	assert_false(cfs_dev_is_same(a, b));
	assert_string_not_equal(cfs_dev_name(a), cfs_dev_name(b));
	assert_int_equal(cfs_dev_flush(a, &err), 0);
	cfs_dev_close(a);
	cfs_dev_close(b);
}

static void test_petabyte(void **state)
{
	static const uint64_t places[] = {
		0, 12345, PIB / 2 - 7, PIB / 3, PIB - 100,
	};
	struct cfs_dev *dev = must_new(PIB);
	struct cfs_err err = CFS_ERR_INIT;
	struct mallinfo2 before = mallinfo2();
	struct mallinfo2 after;
	char buf[100], got[100];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		memset(buf, (int)i + 1, sizeof(buf));
		assert_int_equal(
			cfs_dev_write(dev, places[i], buf, sizeof(buf), &err),
			0);
	}
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		memset(buf, (int)i + 1, sizeof(buf));
		assert_int_equal(
			cfs_dev_read(dev, places[i], got, sizeof(got), &err),
			0);
		assert_memory_equal(buf, got, sizeof(buf));
	}
	after = mallinfo2();
	assert_true(after.uordblks + after.hblkhd <
		    before.uordblks + before.hblkhd + (1 << 20));
	memset(buf, 0, sizeof(buf));
	assert_int_equal(cfs_dev_read(dev, PIB / 5, got, sizeof(got), &err), 0);
	assert_memory_equal(buf, got, sizeof(buf));
	assert_int_equal(cfs_dev_read(dev, PIB - 99, got, 100, &err), -EINVAL);
	/* Discarding everything is quick and gives everything back. */
	assert_int_equal(cfs_dev_discard(dev, 0, PIB, &err), 0);
	assert_int_equal(cfs_dev_read(dev, places[2], got, 100, &err), 0);
	assert_memory_equal(buf, got, sizeof(buf));
	cfs_dev_close(dev);
}

static void test_reopen(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_dev *a = must_new(1 << 20);
	struct cfs_dev *b;
	char got[5];

	(void)state;
	assert_int_equal(cfs_dev_write(a, 70000, "hello", 5, &err), 0);
	assert_int_equal(cfs_dev_mem_reopen(a, &b, &err), 0);
	assert_true(cfs_dev_is_same(a, b));
	cfs_dev_close(a);
	assert_int_equal(cfs_dev_read(b, 70000, got, 5, &err), 0);
	assert_memory_equal(got, "hello", 5);
	cfs_dev_close(b);
}

static void test_resize(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_dev *a = must_new(100000);
	struct cfs_dev *b;
	char got[10] = "x";
	static const char zeroes[10];

	(void)state;
	assert_int_equal(cfs_dev_mem_reopen(a, &b, &err), 0);
	assert_int_equal(cfs_dev_write(a, 99990, "0123456789", 10, &err), 0);
	assert_int_equal(cfs_dev_resize(a, 99995, &err), 0);
	assert_int_equal(cfs_dev_read(a, 99990, got, 10, &err), -EINVAL);
	/* The other handle still believes in the old end. */
	assert_int_equal(cfs_dev_read(b, 99990, got, 10, &err), -EIO);
	assert_int_equal(cfs_dev_resize(a, PIB, &err), 0);
	assert_int_equal(cfs_dev_read(a, 99990, got, 10, &err), 0);
	assert_memory_equal(got, "01234", 5);
	assert_memory_equal(got + 5, zeroes, 5);
	assert_int_equal(cfs_dev_write(a, PIB - 5, "01234", 5, &err), 0);
	cfs_dev_close(a);
	cfs_dev_close(b);
}

static void test_locks(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_dev *a = must_new(4096);
	struct cfs_dev *b;

	(void)state;
	assert_int_equal(cfs_dev_mem_reopen(a, &b, &err), 0);
	assert_int_equal(cfs_dev_lock(a, false, &err), 0);
	assert_int_equal(cfs_dev_lock(a, false, &err), 0);
	assert_int_equal(cfs_dev_lock(b, false, &err), 0);
	assert_int_equal(cfs_dev_lock(b, true, &err), -EBUSY);
	cfs_dev_unlock(a);
	assert_int_equal(cfs_dev_lock(b, true, &err), 0);
	assert_int_equal(cfs_dev_lock(a, false, &err), -EBUSY);
	assert_int_equal(cfs_dev_lock(b, false, &err), 0);
	assert_int_equal(cfs_dev_lock(a, false, &err), 0);
	cfs_dev_unlock(a);
	assert_int_equal(cfs_dev_lock(b, true, &err), 0);
	cfs_dev_close(b); /* drops it */
	assert_int_equal(cfs_dev_lock(a, true, &err), 0);
	cfs_dev_close(a);
}

static void test_batch(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_dev *dev = must_new(1 << 20);
	struct cfs_dev_ticket *ticket;
	char text[4][5] = { "abcd", "efgh", "ijkl", "mnop" };
	struct cfs_io ios[4];
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++)
		ios[i] = (struct cfs_io){
			.op = CFS_IO_WRITE,
			.offset_bytes = i * 16383,
			.buf = text[i],
			.length_bytes = 4,
		};
	ios[2].offset_bytes = UINT64_MAX;
	assert_int_equal(cfs_dev_start(dev, ios, 4, &ticket, &err), 0);
	assert_int_equal(cfs_dev_wait(ticket, &err), -EINVAL);
	assert_int_equal(ios[2].result, -EINVAL);
	memset(text[3], 0, 4);
	ios[3].op = CFS_IO_READ;
	assert_int_equal(cfs_dev_submit(dev, &ios[3], 1, &err), 0);
	assert_string_equal(text[3], "mnop");
	cfs_dev_close(dev);
}

/* Clones at each step keep what they saw, whatever is done to the others. */
static void test_clones(void **state)
{
	enum { STEPS = 200, BYTES = 300000 };
	static unsigned char model[STEPS / 10][BYTES];
	static unsigned char now[BYTES], got[BYTES];
	struct cfs_sparse clones[STEPS / 10];
	struct cfs_sparse sparse = { 0 };
	unsigned int i;

	(void)state;
	srandom(3);
	for (i = 0; i < STEPS; i++) {
		size_t at = (size_t)random() % BYTES;
		size_t n = (size_t)random() % (BYTES - at);

		if (i % 3 == 2) {
			memset(now + at, 0, n);
			assert_int_equal(cfs_sparse_zero(&sparse, at, n), 0);
		} else {
			n = n % 40000;
			memset(now + at, (int)i, n);
			assert_int_equal(
				cfs_sparse_write(&sparse, at, now + at, n), 0);
		}
		if (i % 10 == 0) {
			cfs_sparse_clone(&sparse, &clones[i / 10]);
			memcpy(model[i / 10], now, BYTES);
		}
	}
	cfs_sparse_done(&sparse);
	for (i = 0; i < STEPS / 10; i++) {
		cfs_sparse_read(&clones[i], 0, got, BYTES);
		assert_memory_equal(got, model[i], BYTES);
		cfs_sparse_done(&clones[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_facts),  cmocka_unit_test(test_petabyte),
		cmocka_unit_test(test_reopen), cmocka_unit_test(test_resize),
		cmocka_unit_test(test_locks),  cmocka_unit_test(test_batch),
		cmocka_unit_test(test_clones),
	};

	return cmocka_run_group_tests_name("device memory", tests, NULL, NULL);
}
