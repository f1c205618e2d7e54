/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An overlay reads its own writes, and its base keeps every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "device/overlay.h"

#define SIZE_BYTES (64u * 4096u + 1000u) /* ends inside a block */

struct setup {
	struct cfs_dev *base; /* a handle of our own to it */
	struct cfs_dev *over;
	uint8_t before[SIZE_BYTES];
	uint8_t model[2 * SIZE_BYTES];
};

static struct setup *begin(void)
{
	struct setup *s = calloc(1, sizeof(*s));
	struct cfs_dev *base;
	struct cfs_rng rng;

	assert_non_null(s);
	assert_int_equal(cfs_dev_mem_new(SIZE_BYTES, &base, NULL), 0);
	cfs_rng_init(&rng, 7);
	cfs_rng_fill(&rng, s->before, SIZE_BYTES);
	memcpy(s->model, s->before, SIZE_BYTES);
	assert_int_equal(cfs_dev_write(base, 0, s->before, SIZE_BYTES, NULL),
			 0);
	assert_int_equal(cfs_dev_mem_reopen(base, &s->base, NULL), 0);
	assert_int_equal(cfs_dev_overlay_new(base, &s->over, NULL), 0);
	return s;
}

static void check_base(struct setup *s)
{
	static uint8_t now[SIZE_BYTES];

	assert_int_equal(cfs_dev_size_bytes(s->base), SIZE_BYTES);
	assert_int_equal(cfs_dev_read(s->base, 0, now, SIZE_BYTES, NULL), 0);
	assert_memory_equal(now, s->before, SIZE_BYTES);
}

static void end(struct setup *s)
{
	check_base(s);
	cfs_dev_close(s->over);
	check_base(s);
	cfs_dev_close(s->base);
	free(s);
}

static void check_model(struct setup *s, size_t bytes)
{
	static uint8_t now[2 * SIZE_BYTES];

	assert_int_equal(cfs_dev_read(s->over, 0, now, bytes, NULL), 0);
	assert_memory_equal(now, s->model, bytes);
}

static void write_both(struct setup *s, uint64_t offset, const void *p,
		       size_t n)
{
	assert_int_equal(cfs_dev_write(s->over, offset, p, n, NULL), 0);
	memcpy(s->model + offset, p, n);
}

static void test_facts(void **state)
{
	struct setup *s = begin();

	(void)state;
	assert_int_equal(cfs_dev_kind(s->over), CFS_DEV_OVERLAY);
	assert_int_equal(cfs_dev_size_bytes(s->over), SIZE_BYTES);
	assert_true(cfs_dev_is_writable(s->over));
	assert_string_equal(cfs_dev_name(s->over), cfs_dev_name(s->base));
	assert_int_equal(cfs_dev_flush(s->over, NULL), 0);
	check_model(s, SIZE_BYTES);
	end(s);
}

/* Random writes of any alignment, against an array. */
static void test_random_writes(void **state)
{
	struct setup *s = begin();
	uint8_t bytes[3 * 4096];
	struct cfs_rng rng;
	unsigned int i;

	(void)state;
	cfs_rng_init(&rng, 1);
	for (i = 0; i < 400; i++) {
		size_t n = 1 + cfs_rng_below(&rng, sizeof(bytes));
		uint64_t at = cfs_rng_below(&rng, SIZE_BYTES - n);

		cfs_rng_fill(&rng, bytes, n);
		if (i % 3 == 0) {
			at &= ~UINT64_C(4095);
			n = 4096;
		}
		write_both(s, at, bytes, n);
		if (i % 40 == 0)
			check_model(s, SIZE_BYTES);
	}
	write_both(s, SIZE_BYTES - 1, "x", 1);
	assert_int_equal(cfs_dev_flush(s->over, NULL), 0);
	check_model(s, SIZE_BYTES);
	end(s);
}

static void test_bounds(void **state)
{
	struct setup *s = begin();
	uint8_t byte = 0;

	(void)state;
	assert_int_equal(cfs_dev_read(s->over, SIZE_BYTES, &byte, 1, NULL),
			 -EINVAL);
	assert_int_equal(cfs_dev_write(s->over, SIZE_BYTES, &byte, 1, NULL),
			 -EINVAL);
	end(s);
}

/* A batch over written and untouched blocks sees both. */
static void test_batch(void **state)
{
	struct setup *s = begin();
	uint8_t one[4096], two[4096], wide[3 * 4096], again[4096];
	struct cfs_io ios[] = {
		{ .op = CFS_IO_WRITE,
		  .offset_bytes = 8 * 4096,
		  .buf = one,
		  .length_bytes = sizeof(one) },
		{ .op = CFS_IO_READ,
		  .offset_bytes = 0,
		  .buf = wide,
		  .length_bytes = sizeof(wide) },
		{ .op = CFS_IO_READ,
		  .offset_bytes = 20 * 4096,
		  .buf = two,
		  .length_bytes = sizeof(two) },
	};

	(void)state;
	memset(one, 0x11, sizeof(one));
	memset(again, 0x22, sizeof(again));
	write_both(s, 4096, again, sizeof(again));
	assert_int_equal(cfs_dev_submit(s->over, ios, 3, NULL), 0);
	memcpy(s->model + 8 * 4096, one, sizeof(one));
	assert_memory_equal(wide, s->model, sizeof(wide));
	assert_memory_equal(two, s->model + 20 * 4096, sizeof(two));
	assert_int_equal(cfs_dev_submit(s->over, ios + 1, 2, NULL), 0);
	assert_memory_equal(wide, s->model, sizeof(wide));
	check_model(s, SIZE_BYTES);
	end(s);
}

/* A base that does batches itself must not be asked for what was written. */
static void test_batch_over_file(void **state)
{
	const char *tmp = getenv("TMPDIR");
	uint8_t *bytes = cfs_dev_buf_alloc(4 * 4096);
	struct cfs_dev *base, *over;
	struct cfs_io ios[4];
	char path[1024];
	unsigned int i;
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/overlay-XXXXXX", tmp ? tmp : "/tmp");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 16 * 4096), 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(cfs_dev_open(path, CFS_DEV_RDONLY, &base, NULL), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(cfs_dev_overlay_new(base, &over, NULL), 0);
	assert_int_equal(cfs_dev_write(over, 2 * 4096 + 5, "mine", 4, NULL), 0);
	memset(bytes, 0xee, 4 * 4096);
	for (i = 0; i < 4; i++)
		ios[i] = (struct cfs_io){
			.op = CFS_IO_READ,
			.offset_bytes = i * 4096,
			.buf = bytes + i * 4096,
			.length_bytes = 4096,
		};
	/* Two that the base does, then four of which one is ours. */
	assert_int_equal(cfs_dev_submit(over, ios, 2, NULL), 0);
	assert_int_equal(bytes[4096], 0);
	assert_int_equal(bytes[2 * 4096], 0xee);
	assert_int_equal(cfs_dev_submit(over, ios, 4, NULL), 0);
	assert_memory_equal(bytes + 2 * 4096 + 5, "mine", 4);
	assert_int_equal(bytes[2 * 4096], 0);
	cfs_dev_close(over);
	free(bytes);
}

static void test_discard(void **state)
{
	struct setup *s = begin();
	uint8_t block[4096];

	(void)state;
	memset(block, 0x33, sizeof(block));
	write_both(s, 0, block, sizeof(block));
	write_both(s, 4 * 4096, block, sizeof(block));
	assert_int_equal(cfs_dev_discard(s->over, 0, 3 * 4096, NULL), 0);
	/* What was discarded reads as anything; its neighbour must stay. */
	assert_int_equal(cfs_dev_read(s->over, 4 * 4096, block, 4096, NULL), 0);
	assert_memory_equal(block, s->model + 4 * 4096, 4096);
	end(s);
}

/* Growing shows zeroes; what was cut off does not come back. */
static void test_resize(void **state)
{
	struct setup *s = begin();

	(void)state;
	assert_int_equal(cfs_dev_resize(s->over, 2 * SIZE_BYTES, NULL), 0);
	check_model(s, 2 * SIZE_BYTES);
	write_both(s, SIZE_BYTES + 100, "behind", 6);
	check_model(s, 2 * SIZE_BYTES);
	assert_int_equal(cfs_dev_resize(s->over, 10000, NULL), 0);
	assert_int_equal(cfs_dev_resize(s->over, 2 * SIZE_BYTES, NULL), 0);
	memset(s->model + 10000, 0, 2 * SIZE_BYTES - 10000);
	check_model(s, 2 * SIZE_BYTES);
	end(s);
}

static void test_written_bytes(void **state)
{
	struct setup *s = begin();

	(void)state;
	assert_int_equal(cfs_dev_overlay_written_bytes(s->over), 0);
	write_both(s, 4090, "0123456789ab", 12);
	assert_int_equal(cfs_dev_overlay_written_bytes(s->over), 2 * 4096);
	write_both(s, 4090, "0123456789ab", 12);
	assert_int_equal(cfs_dev_overlay_written_bytes(s->over), 2 * 4096);
	end(s);
}

/* The lock is that of the base: who has the base keeps the overlay out. */
static void test_lock(void **state)
{
	struct setup *s = begin();

	(void)state;
	assert_int_equal(cfs_dev_lock(s->base, true, NULL), 0);
	assert_int_equal(cfs_dev_lock(s->over, false, NULL), -EBUSY);
	cfs_dev_unlock(s->base);
	assert_int_equal(cfs_dev_lock(s->over, false, NULL), 0);
	assert_int_equal(cfs_dev_lock(s->base, true, NULL), -EBUSY);
	cfs_dev_unlock(s->over);
	assert_int_equal(cfs_dev_lock(s->base, true, NULL), 0);
	end(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_random_writes),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_batch_over_file),
		cmocka_unit_test(test_discard),
		cmocka_unit_test(test_resize),
		cmocka_unit_test(test_written_bytes),
		cmocka_unit_test(test_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
