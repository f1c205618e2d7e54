/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who may hold the pool, line by line of the table in pool/holder.h, and what
 * a crash or a device that fails leaves of the record.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device/sim.h"
#include "unit/pool_fixture.h"

#define SIZE POOL_FIXTURE_BYTES
#define MIRROR CFS_POOL_FLAG_MIRROR

/* ------------------------------------------------------- a made-up host */

struct host {
	struct cfs_identity	self;
	uint64_t		alive_pid, alive_start;
};

static void host_self(void *arg, struct cfs_identity *ret)
{
	*ret = ((struct host *)arg)->self;
}

static bool host_is_alive(void *arg, uint64_t pid, uint64_t start)
{
	const struct host *host = arg;

	return pid == host->alive_pid && start == host->alive_start;
}

static struct host host_named(const char *name, uint8_t boot, uint64_t pid)
{
	struct host host = { .self = { .pid = pid, .process_start = 1000 } };

	memset(host.self.boot_id, boot, sizeof(host.self.boot_id));
	strcpy(host.self.host, name);
	return host;
}

struct world {
	struct cfs_clock_manual		clock;
	struct cfs_identity_source	source;
	struct cfs_holder_options	opt;
};

/* @world stays where it is while a holder lives. */
static void world_init(struct world *world, struct host *host)
{
	cfs_clock_manual_init(&world->clock, 0, UINT64_C(1700000000000000000));
	world->source = (struct cfs_identity_source){
		.self = host_self, .is_alive = host_is_alive, .arg = host,
	};
	world->opt = (struct cfs_holder_options){
		.identity = &world->source, .clock = &world->clock.clock,
	};
}

/* The same devices by another set of handles, as another process has them. */
static struct cfs_devset *reopen(struct cfs_devset *set, bool is_writable)
{
	const struct cfs_devset_options opt = { .is_writable = is_writable };
	struct cfs_dev *devices[POOL_FIXTURE_MAX];
	uint32_t i, count = 0;
	struct cfs_devset *again;

	for (i = 0; i < cfs_devset_count(set); i++)
		if (cfs_devset_dev(set, i))
			assert_int_equal(cfs_dev_mem_reopen(
				cfs_devset_dev(set, i), &devices[count++],
				NULL), 0);
	assert_int_equal(cfs_devset_from_devices(devices, count, &opt, &again,
						 NULL), 0);
	return again;
}

static struct cfs_devset *pool(uint32_t count, uint32_t flags)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_devset *set = pool_fixture_mem(count, SIZE, flags, &err);

	if (!set)
		fail_msg("%s", err.msg);
	return set;
}

/* A record that was left open by @host. */
static struct cfs_devset *left_open_by(struct host *host)
{
	struct cfs_devset *set = pool(1, 0), *again;
	struct cfs_holder *h;
	struct world world;
	struct cfs_seat seat;

	world_init(&world, host);
	again = reopen(set, true);
	assert_int_equal(cfs_holder_acquire(set, &world.opt, &h, &seat, NULL),
			 0);
	assert_int_equal(seat.epoch, 1);
	assert_int_equal(cfs_holder_release(h, false, NULL), 0);
	cfs_devset_close(set);
	return again;
}

static int try_hold(struct cfs_devset *set, struct host *host,
		    struct cfs_err *err)
{
	struct cfs_holder *h;
	struct cfs_seat seat;
	struct world world;
	int r;

	world_init(&world, host);
	r = cfs_holder_acquire(set, &world.opt, &h, &seat, err);
	if (r == 0)
		assert_int_equal(cfs_holder_release(h, true, NULL), 0);
	return r;
}

/* ------------------------------------------------------------- the table */

static void test_clean(void **state)
{
	struct host host = host_named("one", 1, 10);
	struct cfs_devset *set = pool(2, 0);
	struct cfs_holder *h;
	struct cfs_seat seat, read;
	struct world world;
	unsigned int i;

	(void)state;
	world_init(&world, &host);
	for (i = 1; i <= 5; i++) {
		assert_int_equal(cfs_holder_acquire(set, &world.opt, &h,
						    &seat, NULL), 0);
		assert_int_equal(seat.epoch, i);
		assert_int_equal(seat.state, CFS_SEAT_OPEN);
		assert_int_equal(seat.pid, 10);
		assert_int_equal(seat.opened_ns,
				 UINT64_C(1700000000000000000));
		assert_string_equal(seat.host, "one");
		assert_int_equal(cfs_seat_read(set, &read, NULL), 0);
		assert_int_equal(read.state, CFS_SEAT_OPEN);
		assert_memory_equal(read.instance_uuid, seat.instance_uuid,
				    16);
		assert_int_equal(cfs_holder_release(h, true, NULL), 0);
		assert_int_equal(cfs_seat_read(set, &read, NULL), 0);
		assert_int_equal(read.state, CFS_SEAT_CLEAN);
		assert_int_equal(read.epoch, i);
	}
	cfs_devset_close(set);
}

static void test_open_same_boot_dead(void **state)
{
	struct host dead = host_named("one", 1, 10);
	struct host host = host_named("one", 1, 11);
	struct cfs_devset *set = left_open_by(&dead);

	(void)state;
	assert_int_equal(try_hold(set, &host, NULL), 0);
	cfs_devset_close(set);
}

/* The number lives, but it is another process that has it now. */
static void test_open_same_boot_number_reused(void **state)
{
	struct host dead = host_named("one", 1, 10);
	struct host host = host_named("one", 1, 11);
	struct cfs_devset *set = left_open_by(&dead);

	(void)state;
	host.alive_pid = 10;
	host.alive_start = 2000;
	assert_int_equal(try_hold(set, &host, NULL), 0);
	cfs_devset_close(set);
}

static void test_open_same_boot_alive(void **state)
{
	struct host other = host_named("one", 1, 10);
	struct host host = host_named("one", 1, 11);
	struct cfs_devset *set = left_open_by(&other);
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	host.alive_pid = 10;
	host.alive_start = 1000;
	assert_int_equal(try_hold(set, &host, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "in use by process 10 on this host"));
	host.alive_pid = 0;
	assert_int_equal(try_hold(set, &host, NULL), 0);
	cfs_devset_close(set);
}

static void test_open_same_host_restarted(void **state)
{
	struct host before = host_named("one", 1, 10);
	struct host host = host_named("one", 2, 11);
	struct cfs_devset *set = left_open_by(&before);

	(void)state;
	/* A process of that number runs now: it cannot be the same. */
	host.alive_pid = 10;
	host.alive_start = 1000;
	assert_int_equal(try_hold(set, &host, NULL), 0);
	cfs_devset_close(set);
}

static void test_open_other_host(void **state)
{
	struct host other = host_named("other.example", 1, 10);
	struct host host = host_named("one", 2, 11);
	struct cfs_devset *set = left_open_by(&other);
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_holder *h;
	struct cfs_seat seat;
	struct world world;

	(void)state;
	assert_int_equal(try_hold(set, &host, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "in use by host other.example since "
			       "2023-11-14T22:13:20Z"));
	/* Nothing was changed by asking, and nothing stays locked. */
	assert_int_equal(try_hold(set, &other, NULL), 0);
	cfs_devset_close(set);

	set = left_open_by(&other);
	world_init(&world, &host);
	world.opt.gone_host = "another";
	assert_int_equal(cfs_holder_acquire(set, &world.opt, &h, &seat, NULL),
			 -EBUSY);
	world.opt.gone_host = "other.example";
	assert_int_equal(cfs_holder_acquire(set, &world.opt, &h, &seat, NULL),
			 0);
	assert_int_equal(seat.epoch, 2);
	assert_int_equal(cfs_holder_release(h, true, NULL), 0);
	cfs_devset_close(set);
}

/* The same process: only a holder that it let go of is gone. */
static void test_open_by_ourselves(void **state)
{
	struct host host = host_named("one", 1, 10);
	struct cfs_devset *set = left_open_by(&host), *again;
	struct cfs_holder *h;
	struct cfs_seat seat;
	struct world world;

	(void)state;
	host.alive_pid = 10;
	host.alive_start = 1000;
	assert_int_equal(try_hold(set, &host, NULL), 0);
	/* Through another path, which does not see the lock. */
	world_init(&world, &host);
	again = reopen(set, true);
	assert_int_equal(cfs_holder_acquire(set, &world.opt, &h, &seat, NULL),
			 0);
	cfs_dev_unlock(cfs_devset_dev(set, 0));
	assert_int_equal(try_hold(again, &host, NULL), -EBUSY);
	assert_int_equal(cfs_holder_release(h, true, NULL), 0);
	assert_int_equal(try_hold(again, &host, NULL), 0);
	cfs_devset_close(again);
	cfs_devset_close(set);
}

/* --------------------------------------------------------- locks, waiting */

struct stopper {
	unsigned int	count;
	unsigned int	at;
	struct cfs_devset *unlock;	/* let go of at that count */
};

static bool stop(void *arg)
{
	struct stopper *s = arg;

	if (++s->count != s->at)
		return false;
	if (!s->unlock)
		return true;
	cfs_dev_unlock(cfs_devset_dev(s->unlock, 0));
	return false;
}

static void test_wait(void **state)
{
	struct host host = host_named("one", 1, 10);
	struct cfs_devset *set = pool(2, 0), *other = reopen(set, true);
	struct stopper stopper = { .at = 0 };
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_holder *h;
	struct cfs_seat seat;
	struct world world;

	(void)state;
	world_init(&world, &host);
	world.opt.stop = stop;
	world.opt.arg = &stopper;
	assert_int_equal(cfs_dev_lock(cfs_devset_dev(other, 1), true, NULL),
			 0);
	/* Not at all. */
	assert_int_equal(cfs_holder_acquire(set, &world.opt, &h, &seat, &err),
			 -EBUSY);
	assert_int_equal(world.clock.elapsed_ns, 0);
	assert_non_null(strstr(err.msg, "in use by another process"));
	/* As long as was said. */
	world.opt.wait_seconds = 3;
	assert_int_equal(cfs_holder_acquire(set, &world.opt, &h, &seat, NULL),
			 -EBUSY);
	assert_int_equal(world.clock.elapsed_ns, 3 * CFS_NS_PER_S);
	/* What was taken before the busy one has been let go. */
	assert_int_equal(cfs_dev_lock(cfs_devset_dev(other, 0), true, NULL),
			 0);
	/* Until somebody says stop. */
	stopper = (struct stopper){ .at = 5 };
	assert_int_equal(cfs_holder_acquire(set, &world.opt, &h, &seat, NULL),
			 -EINTR);
	assert_int_equal(stopper.count, 5);
	/* Until it is free. */
	cfs_dev_unlock(cfs_devset_dev(other, 1));
	stopper = (struct stopper){ .at = 7, .unlock = other };
	assert_int_equal(cfs_holder_acquire(set, &world.opt, &h, &seat, NULL),
			 0);
	assert_int_equal(stopper.count, 7);
	assert_int_equal(cfs_dev_lock(cfs_devset_dev(other, 1), false, NULL),
			 -EBUSY);
	assert_int_equal(cfs_holder_release(h, true, NULL), 0);
	assert_int_equal(cfs_dev_lock(cfs_devset_dev(other, 1), true, NULL),
			 0);
	cfs_devset_close(other);
	cfs_devset_close(set);
}

/* Readers share, writers do not, and a reader writes nothing. */
static void test_overlay(void **state)
{
	struct host host = host_named("one", 1, 10);
	struct cfs_devset *set = pool(1, 0);
	struct cfs_devset *one = reopen(set, false), *two = reopen(set, false);
	struct cfs_holder *h1, *h2;
	struct cfs_seat seat, read;
	struct world world;

	(void)state;
	world_init(&world, &host);
	assert_int_equal(cfs_holder_acquire(one, &world.opt, &h1, &seat, NULL),
			 0);
	assert_int_equal(seat.epoch, 1);
	assert_int_equal(cfs_holder_acquire(two, &world.opt, &h2, &seat, NULL),
			 0);
	assert_int_equal(try_hold(set, &host, NULL), -EBUSY);
	strcpy(seat.address, "unix:/x");
	assert_int_equal(cfs_holder_update(h2, &seat, NULL), 0);
	assert_int_equal(cfs_seat_read(set, &read, NULL), 0);
	assert_int_equal(read.epoch, 0);
	assert_int_equal(read.state, CFS_SEAT_CLEAN);
	assert_int_equal(cfs_holder_release(h1, true, NULL), 0);
	assert_int_equal(cfs_holder_release(h2, true, NULL), 0);
	assert_int_equal(cfs_seat_read(set, &read, NULL), 0);
	assert_int_equal(read.epoch, 0);
	assert_int_equal(try_hold(set, &host, NULL), 0);
	cfs_devset_close(one);
	cfs_devset_close(two);
	cfs_devset_close(set);
}

/* Who waited finds that a device was added meanwhile. */
static void test_devices_changed(void **state)
{
	struct host host = host_named("one", 1, 10);
	struct cfs_devset *set = pool(1, 0), *other = reopen(set, true);
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	assert_int_equal(cfs_devset_write_labels(other, NULL), 0);
	assert_int_equal(try_hold(set, &host, &err), -EAGAIN);
	assert_non_null(strstr(err.msg, "try again"));
	assert_int_equal(try_hold(other, &host, NULL), 0);
	cfs_devset_close(set);
	set = reopen(other, true);
	assert_int_equal(try_hold(set, &host, NULL), 0);
	cfs_devset_close(set);
	cfs_devset_close(other);
}

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
		.is_used = true, .device_index = 2,
		.slot_bytes = { 1 << 20, 2 << 20 }, .vaddr = { 7, 8 },
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
	assert_int_equal(cfs_devset_from_devices(&dev, 1, &opt, &set, NULL),
			 0);
	assert_int_equal(try_hold(set, &host, &err), -EUCLEAN);
	assert_non_null(strstr(err.msg, "seat"));
	cfs_devset_close(set);
}

static void damage_slot(struct cfs_devset *set, uint32_t index,
			unsigned int slot)
{
	assert_int_equal(cfs_dev_write(cfs_devset_dev(set, index),
				       cfs_seat_offset_bytes(0, slot) + 300,
				       "damage", 6, NULL), 0);
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
		assert_int_equal(cfs_dev_read(cfs_devset_dev(set, 0), at,
					      &keep, sizeof(keep), NULL), 0);
		damage_slot(set, 0, i & 1);
		assert_int_equal(cfs_seat_read(set, &read, NULL), 0);
		if (i > 2)
			assert_int_equal(atoi(read.address + 5), (int)i - 1);
		assert_int_equal(cfs_dev_write(cfs_devset_dev(set, 0), at,
					       &keep, sizeof(keep), NULL), 0);
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
				      sizeof(disk), NULL), 0);
	damage_slot(set, 0, 0);
	damage_slot(set, 1, 0);
	assert_int_equal(cfs_seat_read(set, &read, NULL), -EUCLEAN);
	assert_int_equal(cfs_dev_write(cfs_devset_dev(set, 1),
				       cfs_seat_offset_bytes(0, 0), &disk,
				       sizeof(disk), NULL), 0);
	assert_int_equal(cfs_dev_write(cfs_devset_dev(set, 0),
				       cfs_seat_offset_bytes(0, 1), &disk,
				       sizeof(disk), NULL), 0);
	assert_int_equal(cfs_seat_read(set, &read, NULL), -EUCLEAN);
	assert_int_equal(cfs_dev_write(cfs_devset_dev(set, 0),
				       cfs_seat_offset_bytes(0, 0), &disk,
				       sizeof(disk), NULL), 0);
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
	assert_int_equal(pool_fixture_format(devices, CRASH_DEVICES, flags,
					     NULL, NULL), 0);
	assert_int_equal(cfs_devset_from_devices(devices, CRASH_DEVICES, &opt,
						 &set, NULL), 0);
	assert_int_equal(pool_fixture_seat(set, NULL), 0);
	return set;
}

static struct cfs_devset *crashed(struct cfs_sim *sim, size_t events,
				  uint64_t seed)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	const struct cfs_sim_crash crash = {
		.event_count = events, .seed = seed,
	};
	struct cfs_dev *devices[CRASH_DEVICES];
	struct cfs_devset *set;
	uint32_t i;

	for (i = 0; i < CRASH_DEVICES; i++)
		assert_int_equal(cfs_sim_crash_image(sim, &crash, i,
						     &devices[i], NULL), 0);
	assert_int_equal(cfs_devset_from_devices(devices, CRASH_DEVICES, &opt,
						 &set, NULL), 0);
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
			struct cfs_devset *after = crashed(sim, i,
					seed == 11 ? UINT64_MAX : seed);
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
				      sizeof(old), NULL), 0);
	assert_int_equal(cfs_holder_acquire(set, &world.opt, &h, &seat, NULL),
			 0);
	assert_int_equal(cfs_holder_release(h, true, NULL), 0);
	/* Device 1 has seen nothing of it. */
	assert_int_equal(cfs_dev_write(cfs_devset_dev(set, 1),
				       cfs_seat_offset_bytes(0, 0), old,
				       sizeof(old), NULL), 0);
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

	assert_int_equal(cfs_dev_mem_reopen(cfs_devset_dev(set, index), &dev,
					    NULL), 0);
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
	assert_int_equal(cfs_holder_acquire(alone, &world.opt, &h, &seat,
					    NULL), 0);
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

/* ------------------------------------------------- real files, processes */

static char path[PATH_MAX];

static int file_setup(void **state)
{
	const char *base = getenv("TMPDIR");
	struct cfs_devset *set;
	struct cfs_dev *dev;
	int fd;
	const struct cfs_devset_options opt = { .is_writable = true };

	(void)state;
	snprintf(path, sizeof(path), "%s/holder-XXXXXX", base ? base : "/tmp");
	fd = mkstemp(path);
	if (fd < 0 || ftruncate(fd, SIZE) < 0 || close(fd) < 0 ||
	    cfs_dev_open(path, CFS_DEV_RDWR, &dev, NULL) < 0 ||
	    pool_fixture_format(&dev, 1, 0, NULL, NULL) < 0)
		return -1;
	cfs_dev_close(dev);
	if (cfs_devset_open(path, &opt, &set, NULL) < 0 ||
	    pool_fixture_seat(set, NULL) < 0)
		return -1;
	cfs_devset_close(set);
	return 0;
}

static int file_teardown(void **state)
{
	(void)state;
	return unlink(path);
}

/* In a child: hold the pool, say so, and never let go. */
static pid_t holding_child(void)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	const struct cfs_holder_options hold = { .wait_seconds = 0 };
	struct cfs_devset *set;
	struct cfs_holder *h;
	struct cfs_seat seat;
	int pipes[2];
	char byte = 'n';
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (cfs_devset_open(path, &opt, &set, NULL) == 0 &&
		    cfs_holder_acquire(set, &hold, &h, &seat, NULL) == 0)
			byte = 'y';
		if (write(pipes[1], &byte, 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	assert_int_equal(byte, 'y');
	close(pipes[0]);
	return pid;
}

static void test_killed_holder(void **state)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	const struct cfs_holder_options hold = { .wait_seconds = 0 };
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_devset *set;
	struct cfs_holder *h;
	struct cfs_seat seat;
	char text[64];
	pid_t pid = holding_child();

	(void)state;
	assert_int_equal(cfs_devset_open(path, &opt, &set, NULL), 0);
	assert_int_equal(cfs_holder_acquire(set, &hold, &h, &seat, &err),
			 -EBUSY);
	snprintf(text, sizeof(text), "in use by process %d on this host", pid);
	assert_non_null(strstr(err.msg, text));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	/* No waiting at all: it is gone, and known to be. */
	assert_int_equal(cfs_holder_acquire(set, &hold, &h, &seat, &err), 0);
	assert_int_equal(seat.epoch, 2);
	assert_int_equal(seat.pid, (uint64_t)getpid());
	assert_int_equal(cfs_holder_release(h, true, NULL), 0);
	cfs_devset_close(set);
}

/* What this host says of itself and of processes. */
static void test_identity_of_the_host(void **state)
{
	const struct cfs_identity_source *src = &cfs_identity_host;
	struct cfs_identity self;
	pid_t pid;

	(void)state;
	src->self(src->arg, &self);
	assert_int_equal(self.pid, (uint64_t)getpid());
	assert_true(self.process_start > 0);
	assert_true(self.host[0]);
	assert_true(src->is_alive(src->arg, self.pid, self.process_start));
	assert_true(src->is_alive(src->arg, self.pid, 0));
	assert_false(src->is_alive(src->arg, self.pid,
				   self.process_start + 1));
	assert_false(src->is_alive(src->arg, 0, 0));
	pid = fork();
	if (pid == 0)
		_exit(0);
	/* Ended, but not yet waited for: it holds nothing any more. */
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 },
				WEXITED | WNOWAIT), 0);
	assert_false(src->is_alive(src->arg, (uint64_t)pid, 0));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(src->is_alive(src->arg, (uint64_t)pid, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean),
		cmocka_unit_test(test_open_same_boot_dead),
		cmocka_unit_test(test_open_same_boot_number_reused),
		cmocka_unit_test(test_open_same_boot_alive),
		cmocka_unit_test(test_open_same_host_restarted),
		cmocka_unit_test(test_open_other_host),
		cmocka_unit_test(test_open_by_ourselves),
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_overlay),
		cmocka_unit_test(test_devices_changed),
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
		cmocka_unit_test_setup_teardown(test_killed_holder, file_setup,
						file_teardown),
		cmocka_unit_test(test_identity_of_the_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
