/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The record in the seat: its two slots, and what crashes, failing calls and
 * the loss of devices leave of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/sim.h"
#include "pool_hosts.h"

#define SIZE   POOL_FIXTURE_BYTES
#define MIRROR CFS_POOL_FLAG_MIRROR

/* ------------------------------------------------------------- the record */

static void test_update(void **state)
{
	struct host host = host_named("one", 1, 10);
	struct cfs_devset *set = pool(3, MIRROR);
	struct cfs_holder *h;
	struct cfs_seat seat, read;
	struct world world;

	(void)state;
	world_init(&world, &host);
	assert_int_equal(cfs_holder_acquire(set, &world.opt, &h, &seat, NULL),
			 0);
	seat.roots[0] = (struct cfs_place){
		.is_used = true,
		.device_index = 2,
		.slot_bytes = { 1 << 20, 2 << 20 },
		.vaddr = { 7, 8 },
	};
	strcpy(seat.address, "unix:/run/cfs/x");
	assert_int_equal(cfs_holder_update(h, &seat, NULL), 0);
	assert_int_equal(cfs_seat_read(set, &read, NULL), 0);
	assert_string_equal(read.address, "unix:/run/cfs/x");
	assert_int_equal(cfs_holder_release(h, true, NULL), 0);
	/* The next one finds the roots, but no address of the dead. */
	assert_int_equal(cfs_holder_acquire(set, &world.opt, &h, &seat, NULL),
			 0);
	assert_int_equal(seat.roots[0].slot_bytes[1], 2 << 20);
	assert_string_equal(seat.address, "");
	assert_int_equal(cfs_holder_release(h, true, NULL), 0);
	cfs_devset_close(set);
}

/* A device that is added while the pool is held belongs to the holder too. */
static void test_added_device_is_locked(void **state)
{
	struct host host = host_named("one", 1, 10);
	struct cfs_devset *set = pool(1, 0);
	struct cfs_label label = pool_fixture_label(1, 2, SIZE, 0, NULL);
	struct cfs_dev *dev, *again;
	struct cfs_holder *h;
	struct cfs_seat seat;
	struct world world;
	uint32_t index;

	(void)state;
	world_init(&world, &host);
	assert_int_equal(cfs_holder_acquire(set, &world.opt, &h, &seat, NULL),
			 0);
	assert_int_equal(cfs_dev_mem_new(SIZE, &dev, NULL), 0);
	assert_int_equal(cfs_dev_mem_reopen(dev, &again, NULL), 0);
	assert_int_equal(cfs_label_write(dev, &label, NULL), 0);
	assert_int_equal(cfs_devset_add(set, dev, &label, &index, NULL), 0);
	assert_int_equal(cfs_holder_update(h, &seat, NULL), 0);
	assert_int_equal(cfs_dev_lock(again, false, NULL), -EBUSY);
	assert_int_equal(cfs_holder_release(h, true, NULL), 0);
	assert_int_equal(cfs_dev_lock(again, false, NULL), 0);
	cfs_dev_close(again);
	cfs_devset_close(set);
}

static void test_no_record(void **state)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	struct host host = host_named("one", 1, 10);
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_devset *set;
	struct cfs_dev *dev;

	(void)state;
	assert_int_equal(cfs_dev_mem_new(SIZE, &dev, NULL), 0);
	assert_int_equal(pool_fixture_format(&dev, 1, 0, NULL, NULL), 0);
	assert_int_equal(cfs_devset_from_devices(&dev, 1, &opt, &set, NULL), 0);
	assert_int_equal(try_hold(set, &host, &err), -EUCLEAN);
	assert_non_null(strstr(err.msg, "seat"));
	cfs_devset_close(set);
}

static void damage_slot(struct cfs_devset *set, uint32_t index,
			unsigned int slot)
{
	assert_int_equal(cfs_dev_write(cfs_devset_dev(set, index),
				       cfs_seat_offset_bytes(0, slot) + 300,
				       "damage", 6, NULL),
			 0);
}

/* Slots alternate: with the newest gone the one before is there. */
static void test_slots_alternate(void **state)
{
	struct host host = host_named("one", 1, 10);
	struct cfs_devset *set = pool(1, 0);
	struct cfs_holder *h;
	struct cfs_seat seat, read;
	struct world world;
	unsigned int i;

	(void)state;
	world_init(&world, &host);
	assert_int_equal(cfs_holder_acquire(set, &world.opt, &h, &seat, NULL),
			 0);
	/* seq 1 now stands in slot 1. */
	for (i = 2; i < 9; i++) {
		struct cfs_page_disk keep;
		uint64_t at = cfs_seat_offset_bytes(0, i & 1);

		snprintf(seat.address, sizeof(seat.address), "unix:%u", i);
		assert_int_equal(cfs_holder_update(h, &seat, NULL), 0);
		assert_int_equal(cfs_dev_read(cfs_devset_dev(set, 0), at, &keep,
					      sizeof(keep), NULL),
				 0);
		damage_slot(set, 0, i & 1);
		assert_int_equal(cfs_seat_read(set, &read, NULL), 0);
		if (i > 2)
			assert_int_equal(atoi(read.address + 5), (int)i - 1);
		assert_int_equal(cfs_dev_write(cfs_devset_dev(set, 0), at,
					       &keep, sizeof(keep), NULL),
				 0);
	}
	damage_slot(set, 0, 0);
	damage_slot(set, 0, 1);
	assert_int_equal(cfs_seat_read(set, &read, NULL), -EUCLEAN);
	assert_int_equal(cfs_holder_release(h, false, NULL), 0);
	cfs_devset_close(set);
}

/* A record from elsewhere is none, however whole it is. */
static void test_misplaced_record(void **state)
{
	struct cfs_devset *set = pool(2, 0);
	struct cfs_page_disk disk;
	struct cfs_seat read;

	(void)state;
	assert_int_equal(cfs_dev_read(cfs_devset_dev(set, 0),
				      cfs_seat_offset_bytes(0, 0), &disk,
				      sizeof(disk), NULL),
			 0);
	damage_slot(set, 0, 0);
	damage_slot(set, 1, 0);
	assert_int_equal(cfs_seat_read(set, &read, NULL), -EUCLEAN);
	assert_int_equal(cfs_dev_write(cfs_devset_dev(set, 1),
				       cfs_seat_offset_bytes(0, 0), &disk,
				       sizeof(disk), NULL),
			 0);
	assert_int_equal(cfs_dev_write(cfs_devset_dev(set, 0),
				       cfs_seat_offset_bytes(0, 1), &disk,
				       sizeof(disk), NULL),
			 0);
	assert_int_equal(cfs_seat_read(set, &read, NULL), -EUCLEAN);
	assert_int_equal(cfs_dev_write(cfs_devset_dev(set, 0),
				       cfs_seat_offset_bytes(0, 0), &disk,
				       sizeof(disk), NULL),
			 0);
	assert_int_equal(cfs_seat_read(set, &read, NULL), 0);
	cfs_devset_close(set);
}

/* -------------------------------------------------------------- crashes */

#define CRASH_DEVICES 3u

static struct cfs_devset *sim_pool(struct cfs_sim *sim, uint32_t flags)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	struct cfs_dev *devices[CRASH_DEVICES];
	struct cfs_devset *set;
	uint32_t i;

	for (i = 0; i < CRASH_DEVICES; i++)
		assert_int_equal(cfs_sim_dev_new(sim, SIZE, &devices[i], NULL),
				 0);
	assert_int_equal(
		pool_fixture_format(devices, CRASH_DEVICES, flags, NULL, NULL),
		0);
	assert_int_equal(cfs_devset_from_devices(devices, CRASH_DEVICES, &opt,
						 &set, NULL),
			 0);
	assert_int_equal(pool_fixture_seat(set, NULL), 0);
	return set;
}

static struct cfs_devset *crashed(struct cfs_sim *sim, size_t events,
				  uint64_t seed)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	const struct cfs_sim_crash crash = {
		.event_count = events,
		.seed = seed,
	};
	struct cfs_dev *devices[CRASH_DEVICES];
	struct cfs_devset *set;
	uint32_t i;

	for (i = 0; i < CRASH_DEVICES; i++)
		assert_int_equal(
			cfs_sim_crash_image(sim, &crash, i, &devices[i], NULL),
			0);
	assert_int_equal(cfs_devset_from_devices(devices, CRASH_DEVICES, &opt,
						 &set, NULL),
			 0);
	return set;
}

/*
 * A story of several records; the mark n follows when record n is said to
 * stand.  After a crash anywhere the record is the last that was marked or the
 * one under way, and the next holder has a higher epoch than both.
 */
static void test_crash(void **state)
{
	struct host host = host_named("one", 1, 10);
	struct host next = host_named("one", 1, 11);
	struct cfs_sim *sim;
	struct cfs_devset *set;
	struct cfs_holder *h;
	struct cfs_seat seat;
	struct world world;
	size_t events, i;
	uint64_t marked = 0, seed;
	unsigned int n;

	(void)state;
	world_init(&world, &host);
	assert_int_equal(cfs_sim_new(&sim, NULL), 0);
	set = sim_pool(sim, 0);
	assert_int_equal(cfs_holder_acquire(set, &world.opt, &h, &seat, NULL),
			 0);
	seat.opened_ns = 0;
	assert_int_equal(cfs_holder_update(h, &seat, NULL), 0);
	cfs_sim_checkpoint(sim);
	for (n = 1; n <= 4; n++) {
		seat.opened_ns = n;
		assert_int_equal(cfs_holder_update(h, &seat, NULL), 0);
		cfs_sim_mark(sim, n);
	}
	events = cfs_sim_event_count(sim);
	for (i = 0; i <= events; i++) {
		if (i && cfs_sim_event(sim, i - 1).kind == CFS_SIM_MARK)
			marked = cfs_sim_event(sim, i - 1).mark;
		for (seed = 0; seed < 12; seed++) {
			struct cfs_devset *after = crashed(
				sim, i, seed == 11 ? UINT64_MAX : seed);
			struct cfs_seat read;

			assert_int_equal(cfs_seat_read(after, &read, NULL), 0);
			assert_true(read.opened_ns == marked ||
				    read.opened_ns == marked + 1);
			assert_int_equal(try_hold(after, &next, NULL), 0);
			assert_int_equal(cfs_seat_read(after, &read, NULL), 0);
			assert_int_equal(read.epoch, 2);
			cfs_devset_close(after);
		}
	}
	assert_int_equal(marked, 4);
	assert_int_equal(cfs_holder_release(h, true, NULL), 0);
	cfs_devset_close(set);
	cfs_sim_free(sim);
}

/*
 * A device that was behind is brought up first, so that a second crash in the
 * middle of the next record leaves a valid one on each device alone.
 */
static void test_device_behind(void **state)
{
	struct host host = host_named("one", 1, 10);
	struct host next = host_named("one", 1, 11);
	struct cfs_devset *set = pool(3, 0), *alone;
	struct cfs_page_disk old[2];
	struct cfs_holder *h;
	struct cfs_seat seat, read;
	struct world world;
	unsigned int slot;

	(void)state;
	world_init(&world, &host);
	assert_int_equal(cfs_dev_read(cfs_devset_dev(set, 1),
				      cfs_seat_offset_bytes(0, 0), old,
				      sizeof(old), NULL),
			 0);
	assert_int_equal(cfs_holder_acquire(set, &world.opt, &h, &seat, NULL),
			 0);
	assert_int_equal(cfs_holder_release(h, true, NULL), 0);
	/* Device 1 has seen nothing of it. */
	assert_int_equal(cfs_dev_write(cfs_devset_dev(set, 1),
				       cfs_seat_offset_bytes(0, 0), old,
				       sizeof(old), NULL),
			 0);
	world_init(&world, &next);
	assert_int_equal(cfs_holder_acquire(set, &world.opt, &h, &seat, NULL),
			 0);
	assert_int_equal(cfs_holder_release(h, false, NULL), 0);
	/* The newest is torn there, and the others are gone: what is left is
	 * the record before it, not the one from long ago. */
	alone = reopen(set, true);
	damage_slot(alone, 1, 1);
	for (slot = 0; slot < 2; slot++) {
		damage_slot(alone, 0, slot);
		damage_slot(alone, 2, slot);
	}
	assert_int_equal(cfs_seat_read(alone, &read, NULL), 0);
	assert_int_equal(read.epoch, 1);
	assert_int_equal(read.state, CFS_SEAT_CLEAN);
	cfs_devset_close(alone);
	cfs_devset_close(set);
}

/* Whatever call fails on one device of a mirror, the others carry on. */
static void fault_mirror_holder(void)
{
	struct host host = host_named("one", 1, 10);
	struct host next = host_named("one", 1, 11);
	bool was_hit = true;
	uint64_t call;

	for (call = 0; was_hit; call++) {
		struct cfs_sim_fault fault = { .call_index = call,
					       .code = -EIO };
		struct cfs_devset *set;
		struct cfs_sim *sim;

		assert_int_equal(cfs_sim_new(&sim, NULL), 0);
		set = sim_pool(sim, MIRROR);
		cfs_sim_fault_arm(sim, &fault);
		assert_int_equal(try_hold(set, &host, NULL), 0);
		was_hit = cfs_sim_fault_was_hit(sim);
		cfs_sim_fault_disarm(sim);
		cfs_devset_close(set);
		set = crashed(sim, cfs_sim_event_count(sim), UINT64_MAX);
		assert_int_equal(try_hold(set, &next, NULL), 0);
		cfs_devset_close(set);
		cfs_sim_free(sim);
		assert_true(call < 1000);
	}
	assert_true(call > 10);
}

/* Any other pool: an error, and the record is an old one or the new one. */
static void fault_plain_holder(void)
{
	struct host host = host_named("one", 1, 10);
	uint64_t call;
	bool was_hit = true;

	for (call = 0; was_hit; call++) {
		struct cfs_sim_fault fault = { .call_index = call,
					       .code = -EIO };
		struct cfs_devset *set;
		struct cfs_holder *h;
		struct cfs_seat seat, read;
		struct cfs_sim *sim;
		struct world world;
		int r, released = -1;

		world_init(&world, &host);
		assert_int_equal(cfs_sim_new(&sim, NULL), 0);
		set = sim_pool(sim, 0);
		cfs_sim_fault_arm(sim, &fault);
		r = cfs_holder_acquire(set, &world.opt, &h, &seat, NULL);
		if (r == 0)
			released = cfs_holder_release(h, true, NULL);
		was_hit = cfs_sim_fault_was_hit(sim);
		cfs_sim_fault_disarm(sim);
		cfs_devset_close(set);
		assert_true(r == 0 || r == -EIO);
		set = crashed(sim, cfs_sim_event_count(sim), UINT64_MAX);
		assert_int_equal(cfs_seat_read(set, &read, NULL), 0);
		if (released == 0) {
			assert_int_equal(read.state, CFS_SEAT_CLEAN);
			assert_int_equal(read.epoch, 1);
		}
		cfs_devset_close(set);
		cfs_sim_free(sim);
		assert_true(call < 1000);
	}
}

static void test_faults(void **state)
{
	(void)state;
	fault_plain_holder();
	fault_mirror_holder();
}

/* --------------------------------------------------------------- mirrors */

static struct cfs_devset *only(struct cfs_devset *set, uint32_t index)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	struct cfs_devset *alone;
	struct cfs_dev *dev;

	assert_int_equal(
		cfs_dev_mem_reopen(cfs_devset_dev(set, index), &dev, NULL), 0);
	assert_int_equal(cfs_devset_from_devices(&dev, 1, &opt, &alone, NULL),
			 0);
	return alone;
}

/* Hold the pool with one device, and say that the other is left out. */
static void go_on_alone(struct cfs_devset *set, uint32_t index)
{
	struct host host = host_named("one", 1, 10);
	struct cfs_devset *alone = only(set, index);
	struct cfs_holder *h;
	struct cfs_seat seat;
	struct world world;

	world_init(&world, &host);
	assert_int_equal(cfs_holder_acquire(alone, &world.opt, &h, &seat, NULL),
			 0);
	seat.absent_count = 1;
	seat.absent[0] = (struct cfs_absent){ .device_index = 1 - index,
					      .epoch = seat.epoch };
	assert_int_equal(cfs_holder_update(h, &seat, NULL), 0);
	assert_int_equal(cfs_holder_release(h, true, NULL), 0);
	cfs_devset_close(alone);
}

static void test_mirror_left_out(void **state)
{
	struct host host = host_named("one", 1, 10);
	struct cfs_devset *set = pool(2, MIRROR), *alone;
	struct cfs_seat read;

	(void)state;
	go_on_alone(set, 1);
	/* The record of the one that went on counts, and says who was out. */
	assert_int_equal(cfs_seat_read(set, &read, NULL), 0);
	assert_int_equal(read.absent_count, 1);
	assert_int_equal(read.absent[0].device_index, 0);
	assert_int_equal(try_hold(set, &host, NULL), 0);
	/* What was left out is not written to. */
	alone = only(set, 0);
	assert_int_equal(cfs_seat_read(alone, &read, NULL), 0);
	assert_int_equal(read.epoch, 0);
	cfs_devset_close(alone);
	cfs_devset_close(set);
}

static void test_mirror_halves(void **state)
{
	struct host host = host_named("one", 1, 10);
	struct cfs_devset *set = pool(2, MIRROR);
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	go_on_alone(set, 1);
	go_on_alone(set, 0);
	assert_int_equal(try_hold(set, &host, &err), -EUCLEAN);
	assert_non_null(strstr(err.msg, "each used without the other"));
	cfs_devset_close(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_update),
		cmocka_unit_test(test_added_device_is_locked),
		cmocka_unit_test(test_no_record),
		cmocka_unit_test(test_slots_alternate),
		cmocka_unit_test(test_misplaced_record),
		cmocka_unit_test(test_crash),
		cmocka_unit_test(test_device_behind),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_mirror_left_out),
		cmocka_unit_test(test_mirror_halves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
