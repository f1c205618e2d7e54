/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The lock of a file: it belongs to the open file description, keeps other
 * processes out, and goes away with a killed one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device/device.h"

static char path[64] = "/var/tmp/cfs-device-XXXXXX";

static int setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

static struct cfs_dev *must_open(unsigned int flags)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_dev *dev = NULL;

	assert_int_equal(cfs_dev_open(path, flags, &dev, &err), 0);
	return dev;
}

static void test_two_handles(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_dev *a = must_open(CFS_DEV_RDWR);
	struct cfs_dev *b = must_open(CFS_DEV_RDWR);
	struct cfs_dev *r = must_open(CFS_DEV_RDONLY);

	(void)state;
	assert_int_equal(cfs_dev_lock(a, true, &err), 0);
	assert_int_equal(cfs_dev_lock(a, true, &err), 0);
	assert_int_equal(cfs_dev_lock(b, true, &err), -EBUSY);
	assert_non_null(strstr(err.msg, path));
	assert_int_equal(cfs_dev_lock(b, false, &err), -EBUSY);
	assert_int_equal(cfs_dev_lock(r, false, &err), -EBUSY);
	assert_int_equal(cfs_dev_lock(a, false, &err), 0);
	assert_int_equal(cfs_dev_lock(r, false, &err), 0);
	assert_int_equal(cfs_dev_lock(a, true, &err), -EBUSY);
	cfs_dev_unlock(r);
	/* Another handle of this process that closes must not drop ours. */
	cfs_dev_close(r);
	assert_int_equal(cfs_dev_lock(a, true, &err), 0);
	assert_int_equal(cfs_dev_lock(b, false, &err), -EBUSY);
	cfs_dev_close(a);
	assert_int_equal(cfs_dev_lock(b, true, &err), 0);
	cfs_dev_close(b);
}

/* A child that takes the lock, says so, and waits to be killed. */
static pid_t start_holder(int *ret_fd)
{
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct cfs_dev *dev;

		if (cfs_dev_open(path, CFS_DEV_RDWR, &dev, NULL) < 0 ||
		    cfs_dev_lock(dev, true, NULL) < 0 ||
		    write(fds[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(fds[1]);
	*ret_fd = fds[0];
	return pid;
}

static void test_killed_holder(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_dev *dev = must_open(CFS_DEV_RDWR);
	int fd, status;
	char c;
	pid_t pid = start_holder(&fd);

	(void)state;
	assert_int_equal(read(fd, &c, 1), 1);
	close(fd);
	assert_int_equal(cfs_dev_lock(dev, false, &err), -EBUSY);
	assert_int_equal(cfs_dev_lock(dev, true, &err), -EBUSY);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(cfs_dev_lock(dev, true, &err), 0);
	cfs_dev_close(dev);
}

/* Marks go beside locks of any kind, and are taken by one at a time. */
static void test_marks(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_dev *a = must_open(CFS_DEV_RDWR);
	struct cfs_dev *b = must_open(CFS_DEV_RDWR);
	struct cfs_dev *r = must_open(CFS_DEV_RDONLY);
	struct cfs_dev *mem = NULL;

	(void)state;
	assert_int_equal(cfs_dev_lock(a, true, &err), 0);
	assert_int_equal(cfs_dev_mark(b, 7, &err), 0);
	assert_int_equal(cfs_dev_mark(a, 7, &err), -EBUSY);
	assert_int_equal(cfs_dev_mark(a, 8, &err), 0);
	assert_int_equal(cfs_dev_mark(b, 8, &err), -EBUSY);
	cfs_dev_unlock(a);
	assert_int_equal(cfs_dev_lock(b, true, &err), 0);
	assert_int_equal(cfs_dev_mark(b, 8, &err), -EBUSY);
	/* One who only reads is found, too. */
	assert_int_equal(cfs_dev_mark(r, UINT64_MAX, &err), 0);
	assert_int_equal(cfs_dev_mark(a, UINT64_MAX, &err), -EBUSY);
	cfs_dev_close(r);
	assert_int_equal(cfs_dev_mark(a, UINT64_MAX, &err), 0);
	cfs_dev_close(b);
	assert_int_equal(cfs_dev_mark(a, 7, &err), 0);
	cfs_dev_unmark(a, 7);
	assert_int_equal(cfs_dev_lock(a, true, &err), 0);
	cfs_dev_close(a);
	assert_int_equal(cfs_dev_mem_new(1 << 20, &mem, &err), 0);
	assert_int_equal(cfs_dev_mark(mem, 1, &err), -EOPNOTSUPP);
	cfs_dev_close(mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_handles),
		cmocka_unit_test(test_marks),
		cmocka_unit_test(test_killed_holder),
	};

	return cmocka_run_group_tests_name("device lock", tests, setup,
					   teardown);
}
