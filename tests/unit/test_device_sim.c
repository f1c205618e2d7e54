/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The simulated device but for its crashes: the record, failed calls, held
 * writes, damage, and that a failed flush is for good.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/sim.h"

struct fixture {
	struct cfs_sim *sim;
	struct cfs_dev *dev;
	struct cfs_err err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || cfs_sim_new(&f->sim, &f->err) < 0 ||
	    cfs_sim_dev_new(f->sim, 1 << 20, &f->dev, &f->err) < 0)
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	cfs_dev_close(f->dev);
	cfs_sim_free(f->sim);
	free(f);
	return 0;
}

static void put(struct cfs_dev *dev, uint64_t at, const char *text)
{
	assert_int_equal(cfs_dev_write(dev, at, text, strlen(text), NULL), 0);
}

static void holds(struct cfs_dev *dev, uint64_t at, const char *text)
{
	char got[64] = "";

	assert_int_equal(cfs_dev_read(dev, at, got, strlen(text), NULL), 0);
	assert_string_equal(got, text);
}

static int byte_at(struct cfs_dev *dev, uint64_t at)
{
	unsigned char c;

	assert_int_equal(cfs_dev_read(dev, at, &c, 1, NULL), 0);
	return c;
}

static void test_record(void **state)
{
	struct fixture *f = *state;
	struct cfs_sim_event event;
	struct cfs_dev *second;

	assert_int_equal(cfs_sim_dev_new(f->sim, 4096, &second, &f->err), 0);
	assert_int_equal(cfs_dev_kind(second), CFS_DEV_SIM);
	put(f->dev, 100, "abc");
	put(second, 7, "defg");
	assert_int_equal(cfs_dev_flush(second, &f->err), 0);
	cfs_sim_mark(f->sim, 42);
	assert_int_equal(cfs_sim_event_count(f->sim), 4);
	event = cfs_sim_event(f->sim, 1);
	assert_int_equal(event.kind, CFS_SIM_WRITE);
	assert_int_equal(event.device_index, 1);
	assert_int_equal(event.offset_bytes, 7);
	assert_int_equal(event.length_bytes, 4);
	event = cfs_sim_event(f->sim, 2);
	assert_int_equal(event.kind, CFS_SIM_FLUSH);
	assert_int_equal(event.device_index, 1);
	event = cfs_sim_event(f->sim, 3);
	assert_int_equal(event.kind, CFS_SIM_MARK);
	assert_int_equal(event.mark, 42);
	holds(f->dev, 100, "abc");
	cfs_sim_checkpoint(f->sim);
	assert_int_equal(cfs_sim_event_count(f->sim), 0);
	holds(f->dev, 100, "abc");
	cfs_dev_close(second);
}

static void test_reopen(void **state)
{
	struct fixture *f = *state;
	struct cfs_dev *other, *third = NULL;

	put(f->dev, 5, "kept");
	assert_int_equal(cfs_sim_dev_reopen(f->dev, &other, &f->err), 0);
	assert_true(cfs_dev_is_same(f->dev, other));
	assert_int_equal(cfs_dev_lock(f->dev, true, &f->err), 0);
	assert_int_equal(cfs_dev_lock(other, false, &f->err), -EBUSY);
	cfs_dev_close(f->dev);
	cfs_dev_close(other);
	/* The world keeps the contents, and the lock is gone. */
	assert_int_equal(cfs_sim_dev_open(f->sim, 0, &f->dev, &f->err), 0);
	holds(f->dev, 5, "kept");
	assert_int_equal(cfs_dev_lock(f->dev, true, &f->err), 0);
	assert_int_equal(cfs_sim_dev_open(f->sim, 1, &third, &f->err), -ENOENT);
	assert_null(third);
}

static void test_fault_once(void **state)
{
	struct fixture *f = *state;
	struct cfs_sim_fault fault = { .call_index = 2, .code = -ENOSPC };

	put(f->dev, 0, "before");
	cfs_sim_fault_arm(f->sim, &fault);
	assert_int_equal(cfs_sim_call_count(f->sim), 0);
	put(f->dev, 0, "call 0");
	holds(f->dev, 0, "call 0");
	assert_false(cfs_sim_fault_was_hit(f->sim));
	assert_int_equal(cfs_dev_write(f->dev, 0, "call 2", 6, &f->err),
			 -ENOSPC);
	assert_true(cfs_sim_fault_was_hit(f->sim));
	holds(f->dev, 0, "call 0");
	put(f->dev, 0, "call 4");
	assert_int_equal(cfs_sim_call_count(f->sim), 5);
	/* What the dispatcher refuses is no device call. */
	assert_int_equal(cfs_dev_read(f->dev, 1 << 20, &fault, 1, &f->err),
			 -EINVAL);
	assert_int_equal(cfs_sim_call_count(f->sim), 5);
}

static void test_fault_sticky(void **state)
{
	struct fixture *f = *state;
	struct cfs_sim_fault fault = {
		.call_index = 1,
		.code = -EIO,
		.is_sticky = true,
	};
	char c;

	cfs_sim_fault_arm(f->sim, &fault);
	put(f->dev, 0, "a");
	assert_int_equal(cfs_dev_read(f->dev, 0, &c, 1, &f->err), -EIO);
	assert_int_equal(cfs_dev_write(f->dev, 0, "b", 1, &f->err), -EIO);
	assert_int_equal(cfs_dev_discard(f->dev, 0, 4096, &f->err), -EIO);
	cfs_sim_fault_disarm(f->sim);
	assert_true(cfs_sim_fault_was_hit(f->sim));
	holds(f->dev, 0, "a");
	put(f->dev, 0, "c"); /* a failed write is not remembered */
}

static void test_fault_partial(void **state)
{
	enum { BYTES = 64 * 512 };
	struct fixture *f = *state;
	struct cfs_sim_fault fault = { .code = -EIO, .is_partial = true };
	static unsigned char buf[BYTES], got[BYTES];
	unsigned int i, j, landed = 0, lost = 0;

	memset(buf, 0x77, BYTES);
	cfs_sim_fault_arm(f->sim, &fault);
	assert_int_equal(cfs_dev_write(f->dev, 300, buf, BYTES, &f->err), -EIO);
	assert_int_equal(cfs_dev_read(f->dev, 0, got, BYTES, &f->err), 0);
	for (i = 0; i < 300; i++)
		assert_int_equal(got[i], 0);
	for (i = 1; i < BYTES / 512; i++) {
		for (j = 1; j < 512; j++)
			assert_int_equal(got[i * 512 + j], got[i * 512]);
		landed += got[i * 512] == 0x77;
		lost += got[i * 512] == 0;
	}
	assert_int_equal(landed + lost, BYTES / 512 - 1);
	assert_true(landed > 0 && lost > 0);
	/* What landed is in the record like any write. */
	assert_true(cfs_sim_event_count(f->sim) > 0);
}

static void test_failed_flush_is_for_good(void **state)
{
	struct fixture *f = *state;
	struct cfs_sim_fault fault = { .call_index = 1, .code = -ENOSPC };
	struct cfs_io io = {
		.op = CFS_IO_WRITE,
		.buf = &fault,
		.length_bytes = 1,
	};
	struct cfs_dev *again;

	cfs_sim_fault_arm(f->sim, &fault);
	put(f->dev, 0, "a");
	assert_int_equal(cfs_dev_flush(f->dev, &f->err), -EIO);
	cfs_sim_fault_disarm(f->sim);
	assert_int_equal(cfs_dev_flush(f->dev, &f->err), -EIO);
	assert_non_null(strstr(f->err.msg, "since a flush has failed"));
	assert_int_equal(cfs_dev_write(f->dev, 0, "b", 1, &f->err), -EIO);
	assert_non_null(strstr(f->err.msg, "since a flush has failed"));
	assert_int_equal(cfs_dev_submit(f->dev, &io, 1, &f->err), -EIO);
	assert_int_equal(io.result, -EIO);
	assert_int_equal(cfs_dev_discard(f->dev, 0, 4096, &f->err), -EIO);
	assert_int_equal(cfs_dev_resize(f->dev, 4096, &f->err), -EIO);
	holds(f->dev, 0, "a");
	/* No flush was recorded: the write is still at risk. */
	assert_int_equal(cfs_sim_unflushed_count(f->sim, 1), 1);
	assert_int_equal(cfs_sim_event_count(f->sim), 1);
	/* A new handle knows nothing of it, as a new process would not. */
	assert_int_equal(cfs_sim_dev_reopen(f->dev, &again, &f->err), 0);
	assert_int_equal(cfs_dev_flush(again, &f->err), 0);
	cfs_dev_close(again);
}

static void test_hold_and_release(void **state)
{
	struct fixture *f = *state;
	struct cfs_dev *zombie;

	assert_int_equal(cfs_sim_dev_reopen(f->dev, &zombie, &f->err), 0);
	put(zombie, 0, "old");
	cfs_sim_hold(zombie, true);
	put(zombie, 0, "one");
	put(zombie, 1, "two");
	put(zombie, 8, "three");
	assert_int_equal(cfs_dev_flush(zombie, &f->err), 0);
	assert_int_equal(cfs_sim_held_count(zombie), 3);
	assert_int_equal(cfs_sim_held_count(f->dev), 0);
	holds(zombie, 0, "otwo"); /* it believes what it wrote */
	holds(f->dev, 0, "old");
	put(f->dev, 0, "NEW!");
	assert_int_equal(cfs_sim_release(zombie, 1, &f->err), 0);
	holds(f->dev, 0, "one!");
	assert_int_equal(cfs_sim_held_count(zombie), 2);
	cfs_sim_hold(zombie, false);
	put(zombie, 8, "THREE");
	assert_int_equal(cfs_sim_release(zombie, 99, &f->err), 0);
	holds(f->dev, 0, "otwo");
	holds(f->dev, 8, "three");
	assert_int_equal(cfs_sim_held_count(zombie), 0);
	/* Landed in the record at the time they landed. */
	assert_int_equal(cfs_sim_event(f->sim, 1).kind, CFS_SIM_FLUSH);
	assert_int_equal(cfs_sim_event_count(f->sim), 7);
	cfs_dev_close(zombie);
}

static void test_held_discard(void **state)
{
	struct fixture *f = *state;
	struct cfs_dev *zombie;

	assert_int_equal(cfs_sim_dev_reopen(f->dev, &zombie, &f->err), 0);
	cfs_sim_hold(zombie, true);
	assert_int_equal(cfs_dev_discard(zombie, 0, 65536, &f->err), 0);
	put(f->dev, 4, "x");
	assert_int_equal(cfs_sim_release(zombie, 1, &f->err), 0);
	assert_int_equal(byte_at(f->dev, 4), 0);
	put(zombie, 4, "y");
	cfs_dev_close(zombie); /* and what it still held is gone */
	assert_int_equal(byte_at(f->dev, 4), 0);
}

static void test_flip_bit(void **state)
{
	struct fixture *f = *state;

	put(f->dev, 100, "A");
	assert_int_equal(cfs_sim_flip_bit(f->dev, 100 * 8 + 1, &f->err), 0);
	holds(f->dev, 100, "C");
	assert_int_equal(cfs_sim_overwrite(f->dev, 100, "zz", 2, &f->err), 0);
	holds(f->dev, 100, "zz");
	assert_int_equal(cfs_sim_event_count(f->sim), 1);
	assert_int_equal(cfs_sim_flip_bit(f->dev, 8u << 20, &f->err), -EINVAL);
	assert_int_equal(
		cfs_sim_overwrite(f->dev, (1 << 20) - 1, "zz", 2, &f->err),
		-EINVAL);
}

static void test_latent_error(void **state)
{
	struct fixture *f = *state;
	char got[4096];

	put(f->dev, 8192, "hidden");
	assert_int_equal(cfs_sim_latent_error(f->dev, 8192, 4096, &f->err), 0);
	assert_int_equal(cfs_dev_read(f->dev, 8191, got, 1, &f->err), 0);
	assert_int_equal(cfs_dev_read(f->dev, 8191, got, 2, &f->err), -EIO);
	assert_int_equal(cfs_dev_read(f->dev, 12287, got, 1, &f->err), -EIO);
	assert_int_equal(cfs_dev_read(f->dev, 12288, got, 1, &f->err), 0);
	/* A write heals what it covers and nothing else. */
	memset(got, 'w', sizeof(got));
	assert_int_equal(cfs_dev_write(f->dev, 9000, got, 1000, &f->err), 0);
	assert_int_equal(cfs_dev_read(f->dev, 9000, got, 1000, &f->err), 0);
	assert_int_equal(cfs_dev_read(f->dev, 8999, got, 1, &f->err), -EIO);
	assert_int_equal(cfs_dev_read(f->dev, 10000, got, 1, &f->err), -EIO);
	assert_int_equal(cfs_dev_write(f->dev, 8192, got, 4096, &f->err), 0);
	assert_int_equal(cfs_dev_read(f->dev, 8192, got, 4096, &f->err), 0);
	/* An overlapping pair is one range. */
	assert_int_equal(cfs_sim_latent_error(f->dev, 0, 100, &f->err), 0);
	assert_int_equal(cfs_sim_latent_error(f->dev, 50, 100, &f->err), 0);
	assert_int_equal(cfs_dev_write(f->dev, 40, got, 70, &f->err), 0);
	assert_int_equal(cfs_dev_read(f->dev, 40, got, 70, &f->err), 0);
	assert_int_equal(cfs_dev_read(f->dev, 39, got, 1, &f->err), -EIO);
	assert_int_equal(cfs_dev_read(f->dev, 110, got, 1, &f->err), -EIO);
	assert_int_equal(cfs_dev_read(f->dev, 150, got, 1, &f->err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_record),           T(test_reopen),
		T(test_fault_once),       T(test_fault_sticky),
		T(test_fault_partial),    T(test_failed_flush_is_for_good),
		T(test_hold_and_release), T(test_held_discard),
		T(test_flip_bit),         T(test_latent_error),
#undef T
	};

	return cmocka_run_group_tests_name("device simulation", tests, NULL,
					   NULL);
}
