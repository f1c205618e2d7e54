/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who may hold the pool, line by line of the table in pool/holder.h, with
 * made-up hosts and with real processes.
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

#include "pool_hosts.h"

#define SIZE POOL_FIXTURE_BYTES

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
		assert_int_equal(
			cfs_holder_acquire(set, &world.opt, &h, &seat, NULL),
			0);
		assert_int_equal(seat.epoch, i);
		assert_int_equal(seat.state, CFS_SEAT_OPEN);
		assert_int_equal(seat.pid, 10);
		assert_int_equal(seat.opened_ns, UINT64_C(1700000000000000000));
		assert_string_equal(seat.host, "one");
		assert_int_equal(cfs_seat_read(set, &read, NULL), 0);
		assert_int_equal(read.state, CFS_SEAT_OPEN);
		assert_memory_equal(read.instance_uuid, seat.instance_uuid, 16);
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
	unsigned int count;
	unsigned int at;
	struct cfs_devset *unlock; /* let go of at that count */
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
	assert_int_equal(cfs_dev_lock(cfs_devset_dev(other, 1), true, NULL), 0);
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
	assert_int_equal(cfs_dev_lock(cfs_devset_dev(other, 0), true, NULL), 0);
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
	assert_int_equal(cfs_dev_lock(cfs_devset_dev(other, 1), true, NULL), 0);
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

/*
 * The holder is dead, and the kernel still has its lock: that is waited for
 * though no waiting was asked for; not so where the holder lives.
 */
static void test_dying_holder(void **state)
{
	struct host dead = host_named("a", 1, 10),
		    next = host_named("a", 1, 11);
	struct cfs_devset *set = pool(1, 0), *other = reopen(set, true);
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_holder *h, *h2;
	struct cfs_seat seat;
	struct world w1, w2;
	struct stopper stopper = { .at = 7, .unlock = set };

	(void)state;
	world_init(&w1, &dead);
	assert_int_equal(cfs_holder_acquire(set, &w1.opt, &h, &seat, &err), 0);
	world_init(&w2, &next);
	next.alive_pid = 10;
	next.alive_start = 1000;
	assert_int_equal(cfs_holder_acquire(other, &w2.opt, &h2, &seat, &err),
			 -EBUSY);
	assert_int_equal(w2.clock.elapsed_ns, 0);
	next.alive_pid = 0;
	assert_int_equal(cfs_holder_acquire(other, &w2.opt, &h2, &seat, &err),
			 -EBUSY);
	assert_int_equal(w2.clock.elapsed_ns, 3 * CFS_NS_PER_S);
	w2.opt.stop = stop;
	w2.opt.arg = &stopper;
	assert_int_equal(cfs_holder_acquire(other, &w2.opt, &h2, &seat, &err),
			 0);
	assert_int_equal(stopper.count, 7);
	assert_int_equal(cfs_holder_release(h2, true, NULL), 0);
	cfs_holder_release(h, false, NULL);
	cfs_devset_close(other);
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
	assert_false(src->is_alive(src->arg, self.pid, self.process_start + 1));
	assert_false(src->is_alive(src->arg, 0, 0));
	pid = fork();
	if (pid == 0)
		_exit(0);
	/* Ended, but not yet waited for: it holds nothing any more. */
	assert_int_equal(
		waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT),
		0);
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
		cmocka_unit_test(test_dying_holder),
		cmocka_unit_test(test_overlay),
		cmocka_unit_test(test_devices_changed),
		cmocka_unit_test_setup_teardown(test_killed_holder, file_setup,
						file_teardown),
		cmocka_unit_test(test_identity_of_the_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
