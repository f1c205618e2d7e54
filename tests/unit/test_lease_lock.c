/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The lock table: modes, intents, queues, upgrades, circles, lenders.  The
 * histories of test_lease_lock_model.c come on top.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>

#include "base/bits.h"
#include "base/err.h"
#include "lease/lock.h"

#define WHOLE CFS_LOCK_LENGTH_WHOLE

static struct cfs_lock_table *table;
static unsigned int granted_count;
static struct cfs_lock *granted_last;

static void on_granted(void *arg, struct cfs_lock *lock)
{
	(void)arg;
	granted_count++;
	granted_last = lock;
}

static int setup(void **state)
{
	const struct cfs_lock_config config = { .locks_max = 200000,
						.waiting_max = 5 };

	(void)state;
	granted_count = 0;
	return cfs_lock_table_new(&config, on_granted, NULL, &table, NULL);
}

static int teardown(void **state)
{
	(void)state;
	assert_null(cfs_lock_table_check(table));
	cfs_lock_table_free(table);
	return 0;
}

static struct cfs_lock_request ask_of(uint64_t client, uint64_t volume,
				      uint64_t ino, uint64_t offset,
				      uint64_t length, uint32_t mode)
{
	return (struct cfs_lock_request){
		.resource = { 1, volume, ino, offset, length },
		.mode = mode,
		.flags = CFS_LOCK_REQ_WAIT,
		.holder = { client, 0 },
	};
}

static struct cfs_lock *ask(const struct cfs_lock_request *req)
{
	struct cfs_lock *lock = NULL;

	assert_int_equal(cfs_lock_request(table, req, &lock, NULL), 0);
	return lock;
}

static struct cfs_lock *range(uint64_t client, uint64_t offset, uint64_t length,
			      uint32_t mode)
{
	struct cfs_lock_request req = ask_of(client, 2, 3, offset, length,
					     mode);

	return ask(&req);
}

static struct cfs_lock *volume(uint64_t client, uint32_t mode)
{
	struct cfs_lock_request req = ask_of(client, 2, 0, 0, WHOLE, mode);

	return ask(&req);
}

static int ask_now(struct cfs_lock_request req)
{
	struct cfs_lock *lock = NULL;
	int r;

	req.flags &= ~(uint32_t)CFS_LOCK_REQ_WAIT;
	r = cfs_lock_request(table, &req, &lock, NULL);
	if (r == 0)
		cfs_lock_release(lock);
	return r;
}

static void test_matrix(void **state)
{
	static const char *const rows[6] = { "",       " ++++-", " ++---",
					     " +-+--", " +----", " -----" };

	(void)state;
	for (uint32_t a = CFS_LOCK_IS; a <= CFS_LOCK_X; a++) {
		struct cfs_lock *held = volume(1, a);

		for (uint32_t b = CFS_LOCK_IS; b <= CFS_LOCK_X; b++) {
			int r = ask_now(ask_of(2, 2, 0, 0, WHOLE, b));

			assert_int_equal(r, rows[a][b] == '+' ? 0 : -EBUSY);
			/* One holder never stands in its own way. */
			assert_int_equal(ask_now(ask_of(1, 2, 0, 0, WHOLE, b)),
					 0);
		}
		cfs_lock_release(held);
	}
}

static void test_shapes(void **state)
{
	const struct cfs_lock_request bad[] = {
		ask_of(1, 0, 3, 0, WHOLE, CFS_LOCK_S),
		ask_of(1, 2, 0, 0, 5, CFS_LOCK_S),
		ask_of(1, 2, 0, 5, WHOLE, CFS_LOCK_S),
		ask_of(1, 2, 3, 0, 0, CFS_LOCK_S),
		ask_of(1, 2, 3, 5, UINT64_MAX - 1, CFS_LOCK_S),
		ask_of(1, 2, 3, 5, 5, CFS_LOCK_IX),
		ask_of(1, 2, 3, 0, WHOLE, CFS_LOCK_NONE),
		ask_of(1, 2, 3, 0, WHOLE, 6),
		ask_of(0, 2, 3, 0, WHOLE, CFS_LOCK_S),
	};

	(void)state;
	for (size_t i = 0; i < CFS_ARRAY_COUNT(bad); i++)
		assert_int_equal(ask_now(bad[i]), -EINVAL);
	assert_int_equal(
		ask_now(ask_of(1, 2, 3, 1, UINT64_MAX - 1, CFS_LOCK_X)), 0);
	assert_int_equal(ask_now(ask_of(1, 2, 3, 5, WHOLE, CFS_LOCK_X)), 0);
	assert_int_equal(cfs_lock_table_count(table), 0);
}

static void test_intents(void **state)
{
	struct cfs_lock *a = range(1, 0, 10, CFS_LOCK_S);
	struct cfs_lock *b = range(1, 20, 10, CFS_LOCK_X);

	(void)state;
	assert_int_equal(ask_now(ask_of(2, 2, 0, 0, WHOLE, CFS_LOCK_S)),
			 -EBUSY);
	assert_int_equal(ask_now(ask_of(2, 0, 0, 0, WHOLE, CFS_LOCK_S)),
			 -EBUSY);
	assert_int_equal(ask_now(ask_of(2, 2, 3, 0, WHOLE, CFS_LOCK_S)),
			 -EBUSY);
	assert_int_equal(ask_now(ask_of(2, 2, 4, 0, WHOLE, CFS_LOCK_X)), 0);
	cfs_lock_release(b);
	/* The reader's intent is left, and allows readers only. */
	assert_int_equal(ask_now(ask_of(2, 2, 0, 0, WHOLE, CFS_LOCK_S)), 0);
	assert_int_equal(ask_now(ask_of(2, 2, 0, 0, WHOLE, CFS_LOCK_X)),
			 -EBUSY);
	cfs_lock_release(a);
	assert_int_equal(ask_now(ask_of(2, 0, 0, 0, WHOLE, CFS_LOCK_X)), 0);
}

static void test_range_edges(void **state)
{
	struct cfs_lock *a = range(1, 100, 100, CFS_LOCK_X);

	(void)state;
	assert_int_equal(ask_now(ask_of(2, 2, 3, 0, 100, CFS_LOCK_S)), 0);
	assert_int_equal(ask_now(ask_of(2, 2, 3, 0, 101, CFS_LOCK_S)), -EBUSY);
	assert_int_equal(ask_now(ask_of(2, 2, 3, 199, 1, CFS_LOCK_S)), -EBUSY);
	assert_int_equal(ask_now(ask_of(2, 2, 3, 200, WHOLE, CFS_LOCK_X)), 0);
	cfs_lock_release(a);
}

/* Nothing passes a waiting conflict, ranges neither. */
static void test_fifo(void **state)
{
	struct cfs_lock *a = range(1, 0, 10, CFS_LOCK_S);
	struct cfs_lock *w = range(2, 5, 10, CFS_LOCK_X);
	struct cfs_lock *behind = range(3, 12, 2, CFS_LOCK_S);
	struct cfs_lock *beside = range(4, 15, 5, CFS_LOCK_X);

	(void)state;
	assert_true(cfs_lock_is_waiting(w));
	assert_true(cfs_lock_is_waiting(behind));
	assert_false(cfs_lock_is_waiting(beside));
	assert_int_equal(ask_now(ask_of(5, 2, 3, 0, 6, CFS_LOCK_S)), -EBUSY);
	assert_int_equal(ask_now(ask_of(5, 2, 3, 0, 5, CFS_LOCK_S)), 0);
	cfs_lock_release(a);
	assert_ptr_equal(granted_last, w);
	assert_int_equal(granted_count, 1);
	cfs_lock_release(w);
	assert_ptr_equal(granted_last, behind);
	cfs_lock_release(behind);
	cfs_lock_release(beside);
}

static void test_cancel_wakes(void **state)
{
	struct cfs_lock *a = volume(1, CFS_LOCK_S);
	struct cfs_lock *w = volume(2, CFS_LOCK_X);
	struct cfs_lock *b = volume(3, CFS_LOCK_S);

	(void)state;
	assert_true(cfs_lock_is_waiting(b));
	cfs_lock_release(w);
	assert_false(cfs_lock_is_waiting(b));
	assert_ptr_equal(granted_last, b);
	cfs_lock_release(a);
	cfs_lock_release(b);
}

static void test_upgrade(void **state)
{
	struct cfs_lock *a = range(1, 0, 10, CFS_LOCK_S);
	struct cfs_lock *b = range(2, 0, 10, CFS_LOCK_S);
	struct cfs_lock *w = range(3, 0, 10, CFS_LOCK_X);

	(void)state;
	assert_int_equal(cfs_lock_upgrade(a, CFS_LOCK_X, false, NULL), -EBUSY);
	assert_int_equal(cfs_lock_upgrade(a, CFS_LOCK_X, true, NULL), 0);
	assert_true(cfs_lock_is_upgrading(a));
	assert_int_equal(cfs_lock_upgrade(a, CFS_LOCK_X, true, NULL),
			 -EALREADY);
	/* Two that both have S and want X wait for each other. */
	assert_int_equal(cfs_lock_upgrade(b, CFS_LOCK_X, true, NULL), -EDEADLK);
	assert_int_equal(cfs_lock_mode_of(a), CFS_LOCK_S);
	cfs_lock_release(b);
	/* In front of the one that came first. */
	assert_ptr_equal(granted_last, a);
	assert_int_equal(cfs_lock_mode_of(a), CFS_LOCK_X);
	assert_true(cfs_lock_is_waiting(w));
	assert_int_equal(cfs_lock_downgrade(a, CFS_LOCK_X, NULL), 0);
	assert_int_equal(cfs_lock_downgrade(a, CFS_LOCK_S, NULL), 0);
	assert_int_equal(cfs_lock_downgrade(a, CFS_LOCK_X, NULL), -EINVAL);
	assert_true(cfs_lock_is_waiting(w));
	cfs_lock_release(a);
	assert_ptr_equal(granted_last, w);
	cfs_lock_release(w);
}

static void test_downgrade_wakes(void **state)
{
	struct cfs_lock *a = volume(1, CFS_LOCK_X);
	struct cfs_lock *b = range(2, 0, 10, CFS_LOCK_S);
	struct cfs_lock *c = range(3, 50, 10, CFS_LOCK_X);

	(void)state;
	assert_true(cfs_lock_is_waiting(b) && cfs_lock_is_waiting(c));
	assert_int_equal(cfs_lock_downgrade(a, CFS_LOCK_S, NULL), 0);
	assert_false(cfs_lock_is_waiting(b));
	assert_true(cfs_lock_is_waiting(c));
	assert_int_equal(cfs_lock_downgrade(a, CFS_LOCK_IS, NULL), 0);
	assert_false(cfs_lock_is_waiting(c));
	cfs_lock_release(a);
	cfs_lock_release(b);
	cfs_lock_release(c);
}

static void test_upgrade_cancel(void **state)
{
	struct cfs_lock *a = volume(1, CFS_LOCK_S);
	struct cfs_lock *b = volume(2, CFS_LOCK_S);
	struct cfs_lock *c;

	(void)state;
	assert_int_equal(cfs_lock_upgrade(a, CFS_LOCK_IX, true, NULL), 0);
	c = volume(3, CFS_LOCK_S);
	assert_true(cfs_lock_is_waiting(c)); /* SIX waits in front */
	cfs_lock_upgrade_cancel(a);
	assert_false(cfs_lock_is_waiting(c));
	cfs_lock_release(c);
	assert_int_equal(cfs_lock_upgrade(a, CFS_LOCK_IX, true, NULL), 0);
	cfs_lock_release(b);
	assert_int_equal(cfs_lock_mode_of(a), CFS_LOCK_SIX);
	cfs_lock_release(a);
}

static void test_deadlock(void **state)
{
	struct cfs_lock *a = range(1, 0, 10, CFS_LOCK_X);
	struct cfs_lock *b = range(2, 10, 10, CFS_LOCK_X);
	struct cfs_lock *c = range(3, 20, 10, CFS_LOCK_X);
	struct cfs_lock *a2 = range(1, 10, 10, CFS_LOCK_S);
	struct cfs_lock *b2 = range(2, 20, 10, CFS_LOCK_S);
	struct cfs_lock_request req = ask_of(3, 2, 3, 0, 10, CFS_LOCK_S);
	struct cfs_lock *c2 = NULL;

	(void)state;
	assert_int_equal(cfs_lock_request(table, &req, &c2, NULL), -EDEADLK);
	assert_null(c2);
	cfs_lock_release(c);
	assert_ptr_equal(granted_last, b2);
	cfs_lock_release(b2);
	cfs_lock_release(b);
	assert_ptr_equal(granted_last, a2);
	cfs_lock_release(a2);
	cfs_lock_release(a);
}

/* What can be recalled will be: no circle. */
static void test_no_deadlock_over_recallable(void **state)
{
	struct cfs_lock_request req = ask_of(1, 2, 3, 0, 10, CFS_LOCK_X);
	struct cfs_lock *a, *a2, *b, *b2;

	(void)state;
	req.flags |= CFS_LOCK_REQ_RECALLABLE;
	a = ask(&req);
	b = range(2, 10, 10, CFS_LOCK_X);
	a2 = range(1, 10, 10, CFS_LOCK_X);
	b2 = range(2, 0, 10, CFS_LOCK_X);
	assert_true(cfs_lock_is_waiting(a2) && cfs_lock_is_waiting(b2));
	cfs_lock_release(a);
	assert_ptr_equal(granted_last, b2);
	cfs_lock_release(b2);
	cfs_lock_release(b);
	cfs_lock_release(a2);
}

/* The holder of a volume locks a file in it, whoever waits for the volume. */
static void test_cover(void **state)
{
	struct cfs_lock *a = volume(1, CFS_LOCK_IX);
	struct cfs_lock *w = volume(2, CFS_LOCK_X);
	struct cfs_lock *in = range(1, 0, 10, CFS_LOCK_X);

	(void)state;
	assert_true(cfs_lock_is_waiting(w));
	assert_false(cfs_lock_is_waiting(in));
	assert_int_equal(ask_now(ask_of(3, 2, 3, 50, 10, CFS_LOCK_X)), -EBUSY);
	cfs_lock_release(in);
	cfs_lock_release(a);
	assert_ptr_equal(granted_last, w);
	cfs_lock_release(w);
}

static void test_lender(void **state)
{
	struct cfs_lock *a = volume(1, CFS_LOCK_X);
	struct cfs_lock *w = range(9, 0, 10, CFS_LOCK_X);
	struct cfs_lock_request req = ask_of(2, 2, 3, 0, 10, CFS_LOCK_X);
	struct cfs_lock *b, *c;

	(void)state;
	req.lender = (struct cfs_lock_holder){ 1, 0 };
	b = ask(&req);
	assert_false(cfs_lock_is_waiting(b));
	/* Two under one lender mind each other. */
	req.holder.client = 3;
	assert_int_equal(ask_now(req), -EBUSY);
	c = ask(&req);
	assert_true(cfs_lock_is_waiting(c));
	cfs_lock_release(b);
	assert_ptr_equal(granted_last, c);
	/* The lender's lock goes, what was taken under it stays. */
	cfs_lock_release(a);
	assert_true(cfs_lock_is_waiting(w));
	cfs_lock_release(c);
	assert_ptr_equal(granted_last, w);
	cfs_lock_release(w);
}

/* A lender waits for those who work under it. */
static void test_lender_deadlock(void **state)
{
	struct cfs_lock *a = volume(1, CFS_LOCK_X);
	struct cfs_lock_request req = ask_of(2, 7, 0, 0, WHOLE, CFS_LOCK_X);
	struct cfs_lock_request other = ask_of(9, 7, 0, 0, WHOLE, CFS_LOCK_X);
	struct cfs_lock *o = ask(&other), *w, *b = NULL;

	(void)state;
	w = range(9, 0, 10, CFS_LOCK_X);
	assert_true(cfs_lock_is_waiting(w));
	req.lender = (struct cfs_lock_holder){ 1, 0 };
	assert_int_equal(cfs_lock_request(table, &req, &b, NULL), -EDEADLK);
	cfs_lock_release(o);
	cfs_lock_release(a);
	cfs_lock_release(w);
}

static bool count_blockers(void *arg, struct cfs_lock *blocker, uint32_t wanted)
{
	uint32_t *sum = arg;

	(void)blocker;
	*sum += 10 + wanted;
	return true;
}

static void test_blockers(void **state)
{
	struct cfs_lock *a = range(1, 0, 10, CFS_LOCK_X);
	struct cfs_lock *b = range(2, 10, 10, CFS_LOCK_X);
	struct cfs_lock *w, *v;
	uint32_t sum = 0, wanted = 99;

	(void)state;
	assert_false(cfs_lock_is_wanted(a, &wanted));
	w = range(3, 5, 10, CFS_LOCK_S);
	cfs_lock_blockers(w, count_blockers, &sum);
	assert_int_equal(sum, 2 * (10 + CFS_LOCK_S));
	assert_true(cfs_lock_is_wanted(a, &wanted));
	assert_int_equal(wanted, CFS_LOCK_S);
	v = volume(4, CFS_LOCK_X);
	assert_true(cfs_lock_is_wanted(a, &wanted));
	assert_int_equal(wanted, CFS_LOCK_NONE);
	sum = 0;
	cfs_lock_blockers(v, count_blockers, &sum);
	assert_int_equal(sum, 20);
	cfs_lock_release(a);
	cfs_lock_release(b);
	assert_false(cfs_lock_is_waiting(w));
	cfs_lock_release(w);
	cfs_lock_release(v);
}

static void test_limits(void **state)
{
	struct cfs_lock *a = volume(1, CFS_LOCK_X), *w[5], *b = NULL;
	struct cfs_lock_request req = ask_of(50, 2, 0, 0, WHOLE, CFS_LOCK_X);

	(void)state;
	for (uint64_t i = 0; i < 5; i++)
		w[i] = volume(2 + i, CFS_LOCK_X);
	assert_int_equal(cfs_lock_request(table, &req, &b, NULL), -EAGAIN);
	cfs_lock_release(a);
	for (size_t i = 0; i < 5; i++)
		cfs_lock_release(w[i]);
}

static void test_hold(void **state)
{
	struct cfs_lock_request req = ask_of(1, 2, 3, 0, 10, CFS_LOCK_X);
	struct cfs_lock *a, *w, *again = NULL;

	(void)state;
	cfs_lock_table_set_hold(table, true);
	w = range(2, 0, 10, CFS_LOCK_S);
	assert_true(cfs_lock_is_waiting(w));
	assert_int_equal(ask_now(req), -EBUSY);
	req.flags = CFS_LOCK_REQ_RECLAIM;
	a = ask(&req);
	assert_false(cfs_lock_is_waiting(a));
	req.holder.client = 3;
	assert_int_equal(cfs_lock_request(table, &req, &again, NULL), -EBUSY);
	cfs_lock_table_set_hold(table, false);
	assert_true(cfs_lock_is_waiting(w));
	cfs_lock_release(a);
	assert_false(cfs_lock_is_waiting(w));
	cfs_lock_release(w);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* A hundred thousand ranges of a thousand holders in one file, and speed. */
static void test_many(void **state)
{
	static struct cfs_lock *locks[100000];
	uint64_t start = now_ns(), one;

	(void)state;
	for (uint64_t i = 0; i < CFS_ARRAY_COUNT(locks); i++)
		locks[i] = range(1 + i % 1000, i * 7919 % 100000 * 4096, 4096,
				 CFS_LOCK_X);
	assert_int_equal(ask_now(ask_of(5000, 2, 3, 4096 * 500, 1, CFS_LOCK_S)),
			 -EBUSY);
	one = now_ns();
	for (uint64_t i = 0; i < 100000; i++)
		cfs_lock_release(range(1 + i % 1000, UINT64_C(1) << 40, 4096,
				       CFS_LOCK_X));
	one = now_ns() - one;
	for (size_t i = 0; i < CFS_ARRAY_COUNT(locks); i++)
		cfs_lock_release(locks[i]);
	printf("# grant and release %.0f ns, all %.0f ms\n", (double)one / 1e5,
	       (double)(now_ns() - start) / 1e6);
	assert_int_equal(cfs_lock_table_count(table), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_matrix),
		TEST(test_shapes),
		TEST(test_intents),
		TEST(test_range_edges),
		TEST(test_fifo),
		TEST(test_cancel_wakes),
		TEST(test_upgrade),
		TEST(test_downgrade_wakes),
		TEST(test_upgrade_cancel),
		TEST(test_deadlock),
		TEST(test_no_deadlock_over_recallable),
		TEST(test_cover),
		TEST(test_lender),
		TEST(test_lender_deadlock),
		TEST(test_blockers),
		TEST(test_limits),
		TEST(test_hold),
		TEST(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
