/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Shared pools change hands: by a goodbye, by a death, and from a host that
 * stands still and may write whatever it had begun, at any later time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared_fixture.h"

#define NO_DEVICE UINT32_MAX

static uint64_t now_ns(struct shared_pool *p)
{
	return cfs_clock_elapsed_ns(&p->clock.clock);
}

/* A closes, B opens: nobody waits for a period. */
static void test_goodbye(void **state)
{
	struct shared_pool p = shared_new(1, false);
	struct manager a, b;
	struct cfs_member *lun;
	uint64_t begin_ns;

	(void)state;
	manager_init(&p, &a, "a", 1, NO_DEVICE, NULL);
	manager_open(&p, &a, NULL);
	assert_int_equal(a.seat.epoch, 1);
	lun = manager_make_lun(&a);
	assert_int_equal(lun_write(lun, 0, 8, 1), 0);
	HEAL_OK(cfs_container_sync(lun->container, &err_));
	manager_close(&a);
	begin_ns = now_ns(&p);
	manager_init(&p, &b, "b", 2, NO_DEVICE, NULL);
	manager_open(&p, &b, NULL);
	assert_true(now_ns(&p) - begin_ns < CFS_NS_PER_S);
	assert_int_equal(b.seat.epoch, 2);
	assert_false(cfs_holder_must_move(b.holder));
	assert_int_equal(heal_read(manager_lun(&b), 0, 8, 1), 0);
	manager_check(&b);
	manager_close(&b);
	/* The first host has its seat still, and needs no clock for it. */
	begin_ns = now_ns(&p);
	manager_init(&p, &a, "a", 1, NO_DEVICE, NULL);
	manager_open(&p, &a, NULL);
	assert_true(now_ns(&p) == begin_ns);
	assert_int_equal(a.seat.epoch, 3);
	assert_int_equal(heal_read(manager_lun(&a), 0, 8, 1), 0);
	manager_check(&a);
	manager_close(&a);
	shared_free(&p);
}

/* The process is dead, on this host, or the host has another boot. */
static void test_death(void **state)
{
	struct shared_pool p = shared_new(2, true);
	struct manager a, b;
	struct cfs_member *lun;
	uint64_t begin_ns;

	(void)state;
	manager_init(&p, &a, "a", 1, NO_DEVICE, NULL);
	manager_open(&p, &a, NULL);
	lun = manager_make_lun(&a);
	assert_int_equal(lun_write(lun, 0, 8, 1), 0);
	HEAL_OK(cfs_container_sync(lun->container, &err_));
	manager_drop(&a);
	for (uint8_t boot = 1; boot <= 2; boot++) {
		begin_ns = now_ns(&p);
		manager_init(&p, &b, "a", boot, NO_DEVICE, NULL);
		b.host.self.pid = b.host.alive_pid = 2000 + boot;
		manager_open(&p, &b, NULL);
		assert_true(now_ns(&p) - begin_ns < CFS_NS_PER_S);
		assert_false(cfs_holder_must_move(b.holder));
		assert_int_equal(heal_read(manager_lun(&b), 0, 8, 1), 0);
		manager_check(&b);
		manager_drop(&b);
	}
	/* An operator says so. */
	manager_init(&p, &b, "c", 9, NO_DEVICE, NULL);
	manager_open(&p, &b, "a");
	assert_false(cfs_holder_must_move(b.holder));
	assert_int_equal(heal_read(manager_lun(&b), 0, 8, 1), 0);
	manager_check(&b);
	manager_close(&b);
	shared_free(&p);
}

/* A holder that writes its seat is busy, however long one looks. */
static void test_lives(void **state)
{
	struct shared_pool p = shared_new(1, false);
	struct cfs_holder_options opt = { .beats_by_hand = true };
	struct cfs_holder_watch watch = { .is_on = false };
	struct cfs_err err = CFS_ERR_INIT;
	struct manager a, b;

	(void)state;
	manager_init(&p, &a, "a", 1, NO_DEVICE, NULL);
	manager_open(&p, &a, NULL);
	manager_init(&p, &b, "b", 2, NO_DEVICE, NULL);
	opt.identity = &b.source;
	opt.clock = &p.clock.clock;
	opt.watch = &watch;
	for (unsigned int i = 0; i < 20; i++) {
		assert_int_equal(cfs_holder_acquire(b.set, &opt, &b.holder,
						    &b.seat, &err),
				 -EBUSY);
		assert_true(watch.is_on && watch.is_moving == (i > 0));
		assert_non_null(strstr(err.msg, "host a"));
		cfs_clock_manual_advance(&p.clock, 9 * CFS_NS_PER_S);
		HEAL_OK(cfs_holder_beat(a.holder, &err_));
		assert_true(cfs_holder_may_ack(a.holder));
	}
	/* And then it does not any more. */
	assert_int_equal(
		cfs_holder_acquire(b.set, &opt, &b.holder, &b.seat, &err),
		-EBUSY);
	cfs_clock_manual_advance(&p.clock, 10 * CFS_NS_PER_S + 1);
	assert_false(cfs_holder_may_ack(a.holder));
	assert_int_equal(
		cfs_holder_acquire(b.set, &opt, &b.holder, &b.seat, &err),
		-EBUSY);
	cfs_clock_manual_advance(&p.clock, CFS_NS_PER_S);
	assert_int_equal(
		cfs_holder_acquire(b.set, &opt, &b.holder, &b.seat, &err), 0);
	assert_true(cfs_holder_must_move(b.holder));
	/* It wakes up: whatever it writes, its time is over. */
	assert_int_equal(cfs_holder_beat(a.holder, &err), -ESTALE);
	assert_false(cfs_holder_may_ack(a.holder));
	assert_int_equal(cfs_holder_beat(a.holder, &err), -EBUSY);
	assert_false(cfs_holder_may_ack(a.holder));
	b.pool = NULL;
	manager_drop(&b);
	manager_drop(&a);
	shared_free(&p);
}

/* One that was silent for too long, and nobody has taken it. */
static void test_late_beat(void **state)
{
	struct shared_pool p = shared_new(1, false);
	struct cfs_holder_options opt = { .beats_by_hand = true };
	struct cfs_holder_watch watch = { .is_on = false };
	struct cfs_err err = CFS_ERR_INIT;
	struct manager a, b;

	(void)state;
	manager_init(&p, &a, "a", 1, NO_DEVICE, NULL);
	manager_open(&p, &a, NULL);
	manager_init(&p, &b, "b", 2, NO_DEVICE, NULL);
	opt.identity = &b.source;
	opt.clock = &p.clock.clock;
	opt.watch = &watch;
	assert_int_equal(
		cfs_holder_acquire(b.set, &opt, &b.holder, &b.seat, &err),
		-EBUSY);
	cfs_clock_manual_advance(&p.clock, 60 * CFS_NS_PER_S);
	assert_false(cfs_holder_may_ack(a.holder));
	HEAL_OK(cfs_holder_beat(a.holder, &err_));
	assert_true(cfs_holder_may_ack(a.holder));
	/* Whoever has waited for so long waits again. */
	assert_int_equal(
		cfs_holder_acquire(b.set, &opt, &b.holder, &b.seat, &err),
		-EBUSY);
	cfs_devset_close(b.set);
	manager_close(&a);
	shared_free(&p);
}

/* A stands still; B takes over; A wakes up and learns of it. */
static void test_silence(void **state)
{
	struct shared_pool p = shared_new(1, false);
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_member *old, *lun;
	struct manager a, b;

	(void)state;
	manager_init(&p, &a, "a", 1, NO_DEVICE, NULL);
	manager_open(&p, &a, NULL);
	old = manager_make_lun(&a);
	assert_int_equal(lun_write(old, 0, 300, 1), 0);
	HEAL_OK(cfs_container_commit(old->container, &err_));
	/* Inline, and at its home at once. */
	assert_int_equal(lun_write(old, 4, 2, 2), 0);
	HEAL_OK(cfs_container_sync(old->container, &err_));
	assert_int_equal(lun_write(old, 400, 100, 3), 0);
	HEAL_OK(cfs_container_sync(old->container, &err_));
	manager_init(&p, &b, "b", 2, NO_DEVICE, NULL);
	manager_open(&p, &b, NULL);
	assert_true(cfs_holder_must_move(b.holder));
	lun = manager_lun(&b);
	assert_int_equal(heal_read(lun, 4, 2, 2), 0);
	assert_int_equal(heal_read(lun, 400, 100, 3), 0);
	manager_check(&b);
	/* Both write, on and on. */
	assert_int_equal(lun_write(old, 10, 4, 4), 0);
	assert_int_equal(cfs_container_sync(old->container, &err), -ESTALE);
	assert_int_equal(cfs_container_sync(old->container, &err), -EROFS);
	for (unsigned int i = 0; i < 40; i++) {
		assert_int_equal(lun_write(lun, 10, 100, 100 + i), 0);
		HEAL_OK(cfs_container_commit(lun->container, &err_));
	}
	assert_int_equal(heal_read(lun, 10, 100, 139), 0);
	assert_int_equal(heal_read(lun, 400, 100, 3), 0);
	manager_check(&b);
	manager_drop(&a);
	manager_close(&b);
	/* When A's host is gone what was frozen comes back. */
	manager_init(&p, &b, "b", 2, NO_DEVICE, NULL);
	manager_open(&p, &b, "a");
	lun = manager_lun(&b);
	assert_int_equal(heal_read(lun, 10, 100, 139), 0);
	manager_check(&b);
	manager_close(&b);
	shared_free(&p);
}

/*
 * What is synced and overwritten again is copied to new slices and freed there:
 * it is no room for what else there is to write, before the commit.
 */
static void test_room_for_copies(void **state)
{
	(void)state;
	for (unsigned int n = 1; n <= 24; n++) {
		struct shared_pool p = shared_new_of(1, false,
						     UINT64_C(64) << 20);
		const uint32_t count = 33 + n % 5 * 8;
		struct cfs_member *lun;
		struct manager a, b;

		manager_init(&p, &a, "a", 1, NO_DEVICE, NULL);
		manager_open(&p, &a, NULL);
		lun = manager_make_lun(&a);
		HEAL_OK(cfs_container_commit(lun->container, &err_));
		for (unsigned int i = 1; i <= n; i++) {
			assert_int_equal(lun_write(lun, 0, count, i), 0);
			HEAL_OK(cfs_container_sync(lun->container, &err_));
		}
		manager_init(&p, &b, "b", 2, NO_DEVICE, NULL);
		manager_open(&p, &b, NULL);
		assert_int_equal(heal_read(manager_lun(&b), 0, count, n), 0);
		manager_check(&b);
		manager_drop(&a);
		manager_close(&b);
		shared_free(&p);
	}
}

/* ---- what it was making -------------------------------------------------- */

struct owned {
	uint64_t container_id;
	unsigned int slices;
};

static int count_owned(void *arg, uint32_t device_index, uint64_t slice_index,
		       const struct cfs_slice_rec *rec, struct cfs_err *err)
{
	struct owned *o = arg;

	(void)device_index;
	(void)slice_index;
	(void)err;
	o->slices += rec->container_id == o->container_id;
	return 0;
}

static unsigned int slices_of(struct manager *m, uint64_t container_id)
{
	struct owned o = { .container_id = container_id };

	HEAL_OK(cfs_pool_slices(m->pool, count_owned, &o, &err_));
	return o.slices;
}

/*
 * A stands still while it makes a container, or removes one: it may be writing
 * to its slices still.  The name is free at once, the slices when A is gone.
 */
static void unfinished(bool is_removed)
{
	struct shared_pool p = shared_new(1, false);
	struct cfs_member *x, *again;
	struct manager a, b;
	uint64_t id;

	manager_init(&p, &a, "a", 1, NO_DEVICE, NULL);
	manager_open(&p, &a, NULL);
	HEAL_OK(cfs_pool_container_make(a.pool, "x", CFS_VOLUME_LUN, 0,
					is_removed ? CFS_OBJECT_DELETING
						   : CFS_OBJECT_MAKING,
					&x, &err_));
	id = x->id;
	HEAL_OK(cfs_container_commit(x->container, &err_));
	HEAL_OK(cfs_container_sync(cfs_pool_container0(a.pool), &err_));
	assert_true(slices_of(&a, id) > 0);
	for (uint8_t boot = 2; boot < 4; boot++) {
		const unsigned int slices = slices_of(&a, id);

		manager_init(&p, &b, "b", boot, NO_DEVICE, NULL);
		manager_open(&p, &b, NULL);
		assert_int_equal(slices_of(&b, id), slices);
		manager_check(&b);
		manager_close(&b);
	}
	manager_init(&p, &b, "b", 4, NO_DEVICE, NULL);
	manager_open(&p, &b, NULL);
	HEAL_OK(cfs_pool_container_make(b.pool, "x", CFS_VOLUME_LUN, 0,
					CFS_OBJECT_LIVE, &again, &err_));
	assert_true(slices_of(&b, id) > 0);
	manager_close(&b);
	manager_drop(&a);
	manager_init(&p, &b, "b", 5, NO_DEVICE, NULL);
	manager_open(&p, &b, "a");
	assert_int_equal(slices_of(&b, id), 0);
	assert_int_equal(cfs_pool_member(b.pool, "x", &again, NULL), 0);
	manager_check(&b);
	manager_close(&b);
	shared_free(&p);
}

static void test_unfinished(void **state)
{
	(void)state;
	unfinished(false);
	unfinished(true);
}

/*
 * B does not see all devices that A sees.  It needs most of the seats, and to
 * reach each copy of a gravestone that A might read; or to know that A is gone.
 */
static void test_sees_a_part(void **state)
{
	unsigned int refused = 0;

	(void)state;
	for (unsigned int missing = 0; missing < 3; missing++) {
		struct shared_pool p = shared_new(3, true);
		struct cfs_err err = CFS_ERR_INIT;
		struct manager a, b;
		struct cfs_member *lun;
		int r;

		manager_init(&p, &a, "a", 1, NO_DEVICE, NULL);
		manager_open(&p, &a, NULL);
		lun = manager_make_lun(&a);
		assert_int_equal(lun_write(lun, 0, 8, 1), 0);
		HEAL_OK(cfs_container_sync(lun->container, &err_));
		manager_init(&p, &b, "b", 2, missing, NULL);
		HEAL_OK(manager_hold(&p, &b, 0, NULL, &err_));
		assert_true(cfs_holder_must_move(b.holder));
		r = manager_pool(&b, false, &err);
		if (r == 0)
			r = cfs_pool_member(b.pool, "lun", &lun, &err);
		if (r == 0) {
			assert_int_equal(heal_read(lun, 0, 8, 1), 0);
		} else {
			refused++;
			assert_int_equal(r, -EIO);
			assert_non_null(strstr(err.msg, "leasectl gone"));
		}
		manager_drop(&b);
		manager_init(&p, &b, "b", 2, missing, NULL);
		b.host.self.pid = b.host.alive_pid = 77;
		manager_open(&p, &b, "a");
		assert_int_equal(heal_read(manager_lun(&b), 0, 8, 1), 0);
		manager_close(&b);
		manager_drop(&a);
		shared_free(&p);
	}
	assert_true(refused > 0);
}

/* Of two devices both are needed. */
static void test_no_majority(void **state)
{
	struct shared_pool p = shared_new(2, true);
	struct cfs_err err = CFS_ERR_INIT;
	struct manager b;

	(void)state;
	manager_init(&p, &b, "b", 2, 0, NULL);
	assert_int_equal(manager_hold(&p, &b, 0, NULL, &err), -EIO);
	cfs_devset_close(b.set);
	shared_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sees_a_part),
		cmocka_unit_test(test_no_majority),
		cmocka_unit_test(test_goodbye),
		cmocka_unit_test(test_death),
		cmocka_unit_test(test_lives),
		cmocka_unit_test(test_late_beat),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_room_for_copies),
		cmocka_unit_test(test_unfinished),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
