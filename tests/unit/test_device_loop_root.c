/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A real block device (a loop over a file; needs root): size, alignment at an
 * end that is no multiple of 4096, O_EXCL, discard.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "device/device.h"

#define LOOP_BYTES ((1u << 20) + 512u)

static char backing[64] = "/var/tmp/cfs-device-XXXXXX";
static char loop[32];
static int loop_fd = -1;
static const char *why_not;

static int setup(void **state)
{
	int control, number;
	int fd = mkstemp(backing);

	(void)state;
	if (fd < 0 || ftruncate(fd, LOOP_BYTES) < 0)
		return -1;
	why_not = "not root, or no loop devices here";
	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	if (number >= 0) {
		snprintf(loop, sizeof(loop), "/dev/loop%d", number);
		loop_fd = open(loop, O_RDWR | O_CLOEXEC);
		if (loop_fd >= 0 && ioctl(loop_fd, LOOP_SET_FD, fd) == 0)
			why_not = NULL;
	}
	if (control >= 0)
		close(control);
	close(fd);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (!why_not)
		ioctl(loop_fd, LOOP_CLR_FD, 0);
	if (loop_fd >= 0)
		close(loop_fd);
	return unlink(backing);
}

static void need_loop(void)
{
	if (!why_not)
		return;
	print_message("skipped: %s\n", why_not);
	skip();
}

static struct cfs_dev *must_open(unsigned int flags)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_dev *dev = NULL;

	if (cfs_dev_open(loop, flags, &dev, &err) < 0)
		fail_msg("%s", err.msg);
	return dev;
}

static void test_facts(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_dev *dev, *other = NULL;

	(void)state;
	need_loop();
	dev = must_open(CFS_DEV_RDWR);
	assert_int_equal(cfs_dev_kind(dev), CFS_DEV_BLOCK);
	assert_int_equal(cfs_dev_size_bytes(dev), LOOP_BYTES);
	assert_int_equal(cfs_dev_resize(dev, LOOP_BYTES, &err), 0);
	assert_int_equal(cfs_dev_resize(dev, 512, &err), -EINVAL);
	assert_int_equal(cfs_dev_open(loop, CFS_DEV_RDWR, &other, &err),
			 -EBUSY);
	assert_null(other);
	other = must_open(CFS_DEV_RDONLY);
	assert_true(cfs_dev_is_same(dev, other));
	assert_int_equal(cfs_dev_lock(dev, true, &err), 0);
	assert_int_equal(cfs_dev_lock(other, false, &err), -EBUSY);
	cfs_dev_close(other);
	cfs_dev_close(dev);
}

static void test_transfers(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	unsigned char *model = calloc(1, LOOP_BYTES);
	unsigned char *buf = cfs_dev_buf_alloc(LOOP_BYTES + 64);
	struct cfs_dev *dev;
	struct cfs_io ios[200];
	size_t i;

	(void)state;
	need_loop();
	assert_non_null(model);
	assert_non_null(buf);
	dev = must_open(CFS_DEV_RDWR);
	for (i = 0; i < 100; i++) {
		size_t at = (size_t)random() % LOOP_BYTES;
		size_t n = (size_t)random() % (LOOP_BYTES - at) + 1;

		memset(buf, (int)i, n);
		memset(model + at, (int)i, n);
		assert_int_equal(cfs_dev_write(dev, at, buf, n, &err), 0);
	}
	/* The last bytes, which are in no whole block of 4096. */
	memset(model + LOOP_BYTES - 3, 0x5a, 3);
	assert_int_equal(cfs_dev_write(dev, LOOP_BYTES - 3,
				       model + LOOP_BYTES - 3, 3, &err),
			 0);
	assert_int_equal(cfs_dev_flush(dev, &err), 0);
	assert_int_equal(cfs_dev_read(dev, 0, buf + 1, LOOP_BYTES, &err), 0);
	assert_memory_equal(buf + 1, model, LOOP_BYTES);
	memset(buf, 0, LOOP_BYTES);
	for (i = 0; i < 200; i++)
		ios[i] = (struct cfs_io){
			.op = CFS_IO_READ,
			.offset_bytes = i * 5120,
			.buf = buf + i * 5120,
			.length_bytes = 5120,
		};
	assert_int_equal(cfs_dev_submit(dev, ios, 200, &err), 0);
	assert_memory_equal(buf, model, 200 * 5120);
	assert_int_equal(cfs_dev_read(dev, LOOP_BYTES - 1, buf, 2, &err),
			 -EINVAL);
	cfs_dev_close(dev);
	free(model);
	free(buf);
}

static void test_discard(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_dev *dev;
	unsigned char got[4];
	int r;

	(void)state;
	need_loop();
	dev = must_open(CFS_DEV_RDWR);
	assert_int_equal(cfs_dev_write(dev, 4095, "ABCD", 4, &err), 0);
	assert_int_equal(cfs_dev_write(dev, 65533, "EFGH", 4, &err), 0);
	r = cfs_dev_discard(dev, 4097, 65534 - 4097, &err);
	assert_true(r == 0 || r == -EOPNOTSUPP);
	/* Only whole blocks inside the range may be gone. */
	assert_int_equal(cfs_dev_read(dev, 4095, got, 4, &err), 0);
	assert_memory_equal(got, "ABCD", 4);
	assert_int_equal(cfs_dev_read(dev, 65534, got, 3, &err), 0);
	assert_memory_equal(got, "FGH", 3);
	cfs_dev_close(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_transfers),
		cmocka_unit_test(test_discard),
	};

	return cmocka_run_group_tests_name("device loop", tests, setup,
					   teardown);
}
