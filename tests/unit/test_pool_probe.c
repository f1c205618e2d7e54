/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What stands on a device and who uses it.  The tests of loop devices and
 * mounts need root and skip themselves without it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool/probe.h"
#include "pool_fixture.h"

#define SIZE POOL_FIXTURE_BYTES

static char dir[1024];
static char image[PATH_MAX];

static int setup(void **state)
{
	/* Not $TMPDIR: a loop device wants a real file system below. */
	(void)state;
	strcpy(dir, "/var/tmp/cfs-probe-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(image, sizeof(image), "%s/image", dir);
	return 0;
}

static int shell(const char *fmt, ...) CFS_PRINTF(1, 2);

static int shell(const char *fmt, ...)
{
	char command[3 * PATH_MAX];
	va_list ap;

	strcpy(command, "PATH=$PATH:/sbin:/usr/sbin; ");
	va_start(ap, fmt);
	vsnprintf(command + strlen(command), sizeof(command) - 64, fmt, ap);
	va_end(ap);
	return system(command);
}

static int teardown(void **state)
{
	(void)state;
	return shell("rm -rf '%s'", dir);
}

static struct cfs_device_probe probe(const char *path)
{
	struct cfs_device_probe ret;
	struct cfs_err err = CFS_ERR_INIT;

	memset(&ret, 0xff, sizeof(ret));
	if (cfs_device_probe(path, &ret, &err) < 0)
		fail_msg("%s", err.msg);
	return ret;
}

static void make_zeroes(void)
{
	assert_int_equal(shell("truncate -s 0 %s; truncate -s %llu %s", image,
			       (unsigned long long)SIZE, image),
			 0);
}

/* A pool on the image, not held. */
static void make_pool(void)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	struct cfs_devset *set;
	struct cfs_dev *dev;

	make_zeroes();
	assert_int_equal(cfs_dev_open(image, CFS_DEV_RDWR, &dev, NULL), 0);
	assert_int_equal(pool_fixture_format(&dev, 1, 0, NULL, NULL), 0);
	cfs_dev_close(dev);
	assert_int_equal(cfs_devset_open(image, &opt, &set, NULL), 0);
	assert_int_equal(pool_fixture_seat(set, NULL), 0);
	cfs_devset_close(set);
}

static void test_nothing_there(void **state)
{
	struct cfs_device_probe p = probe(image);

	(void)state;
	assert_false(p.exists);
	assert_false(p.is_in_use);
	assert_string_equal(p.type, "");
}

static void test_not_a_device(void **state)
{
	struct cfs_device_probe p;

	(void)state;
	assert_int_equal(cfs_device_probe(dir, &p, NULL), -EINVAL);
	assert_int_equal(cfs_device_probe("/dev/null", &p, NULL), -EINVAL);
}

static void test_zeroes_and_data(void **state)
{
	struct cfs_device_probe p;
	char uri[PATH_MAX + 8];

	(void)state;
	make_zeroes();
	p = probe(image);
	assert_true(p.exists);
	assert_false(p.is_block);
	assert_int_equal(p.size_bytes, SIZE);
	assert_string_equal(p.type, "");
	assert_false(p.is_in_use);
	/* Behind the first MiB anything may stand. */
	assert_int_equal(shell("printf x | dd of=%s bs=1 seek=1048576 "
			       "conv=notrunc status=none",
			       image),
			 0);
	assert_string_equal(probe(image).type, "");
	assert_int_equal(shell("printf x | dd of=%s bs=1 seek=1048575 "
			       "conv=notrunc status=none",
			       image),
			 0);
	assert_string_equal(probe(image).type, "data");
	snprintf(uri, sizeof(uri), "file:%s/im%%61ge", dir);
	assert_string_equal(probe(uri).type, "data");
	/* An empty file, and one of a few bytes. */
	assert_int_equal(truncate(image, 0), 0);
	assert_string_equal(probe(image).type, "");
	assert_int_equal(shell("printf '\\0\\0x' >%s", image), 0);
	assert_string_equal(probe(image).type, "data");
}

static void test_foreign(void **state)
{
	struct cfs_device_probe p;

	(void)state;
	make_zeroes();
	if (shell("mkswap -L wide %s >%s/log 2>&1", image, dir))
		skip();
	p = probe(image);
	assert_string_equal(p.type, "swap");
	assert_string_equal(p.label, "wide");
	assert_false(p.is_in_use);
	assert_int_equal(cfs_device_wipe(image, NULL), 0);
	p = probe(image);
	assert_string_not_equal(p.type, "swap");
	assert_string_equal(p.label, "");
}

static void test_partition_table(void **state)
{
	(void)state;
	make_zeroes();
	/* The least of a DOS table: its mark and one entry. */
	assert_int_equal(shell("printf '\\0\\0\\0\\0\\203\\0\\0\\0\\1\\0\\0\\0"
			       "\\1\\0\\0\\0' | dd of=%s bs=1 seek=446 "
			       "conv=notrunc status=none; printf '\\125\\252' "
			       "| dd of=%s bs=1 seek=510 conv=notrunc "
			       "status=none",
			       image, image),
			 0);
	assert_string_equal(probe(image).type, "dos");
	assert_int_equal(cfs_device_wipe(image, NULL), 0);
	assert_string_not_equal(probe(image).type, "dos");
}

static void test_own(void **state)
{
	struct cfs_device_probe p;
	struct cfs_label label;
	struct cfs_dev *dev;
	unsigned int copy;

	(void)state;
	make_pool();
	p = probe(image);
	assert_string_equal(p.type, "cfs");
	assert_string_equal(p.label, "fixture");
	assert_false(p.is_in_use);
	/* Damaged, it is ours all the same. */
	assert_int_equal(cfs_dev_open(image, CFS_DEV_RDWR, &dev, NULL), 0);
	for (copy = 0; copy < CFS_LABEL_COPIES; copy++)
		assert_int_equal(
			cfs_dev_write(dev,
				      300 + cfs_label_offset_bytes(copy, SIZE),
				      "damage", 6, NULL),
			0);
	cfs_dev_close(dev);
	assert_string_equal(probe(image).type, "cfs");
	/* Wiped, no copy of the label is left. */
	make_pool();
	assert_int_equal(cfs_device_wipe(image, NULL), 0);
	assert_int_equal(cfs_dev_open(image, CFS_DEV_RDONLY, &dev, NULL), 0);
	assert_int_equal(cfs_label_read(dev, &label, NULL, NULL), -EMEDIUMTYPE);
	cfs_dev_close(dev);
}

static void test_held_pool(void **state)
{
	const struct cfs_holder_options hold = { .wait_seconds = 0 };
	unsigned int is_writable;

	(void)state;
	make_pool();
	for (is_writable = 0; is_writable < 2; is_writable++) {
		const struct cfs_devset_options opt = {
			.is_writable = is_writable,
		};
		struct cfs_device_probe p;
		struct cfs_devset *set;
		struct cfs_holder *h;
		struct cfs_seat seat;

		assert_int_equal(cfs_devset_open(image, &opt, &set, NULL), 0);
		assert_false(probe(image).is_in_use);
		assert_int_equal(
			cfs_holder_acquire(set, &hold, &h, &seat, NULL), 0);
		p = probe(image);
		assert_true(p.is_in_use);
		assert_non_null(strstr(p.used_as, "pool \"fixture\" in use"));
		/* Asking has not taken the lock away, nor kept it. */
		assert_int_equal(cfs_holder_release(h, true, NULL), 0);
		assert_false(probe(image).is_in_use);
		cfs_devset_close(set);
	}
}

static void other_self(void *arg, struct cfs_identity *ret)
{
	(void)arg;
	memset(ret, 0, sizeof(*ret));
	memset(ret->boot_id, 0x77, 16);
	strcpy(ret->host, "far.example");
	ret->pid = 1;
}

/* A pool that another host holds, and no lock here tells of. */
static void test_held_by_another_host(void **state)
{
	const struct cfs_identity_source source = { .self = other_self };
	const struct cfs_holder_options hold = { .identity = &source };
	const struct cfs_devset_options opt = { .is_writable = true };
	struct cfs_device_probe p;
	struct cfs_devset *set;
	struct cfs_holder *h;
	struct cfs_seat seat;

	(void)state;
	make_pool();
	assert_int_equal(cfs_devset_open(image, &opt, &set, NULL), 0);
	assert_int_equal(cfs_holder_acquire(set, &hold, &h, &seat, NULL), 0);
	assert_int_equal(cfs_holder_release(h, false, NULL), 0);
	cfs_devset_close(set);
	p = probe(image);
	assert_true(p.is_in_use);
	assert_non_null(strstr(p.used_as, "far.example"));
}

/* ------------------------------------------------------------- with root */

static char loop[32];
static int loop_fd = -1;

/* The image as a loop device; false: not here. */
static bool attach(void)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	int fd = open(image, O_RDWR | O_CLOEXEC);
	bool is_attached = false;

	if (number >= 0) {
		snprintf(loop, sizeof(loop), "/dev/loop%d", number);
		loop_fd = open(loop, O_RDWR | O_CLOEXEC);
		is_attached = loop_fd >= 0 &&
			      ioctl(loop_fd, LOOP_SET_FD, fd) == 0;
	}
	if (!is_attached && loop_fd >= 0) {
		close(loop_fd);
		loop_fd = -1;
	}
	if (control >= 0)
		close(control);
	if (fd >= 0)
		close(fd);
	return is_attached;
}

static void detach(void)
{
	assert_int_equal(ioctl(loop_fd, LOOP_CLR_FD, 0), 0);
	close(loop_fd);
	loop_fd = -1;
}

static void test_loop(void **state)
{
	struct cfs_device_probe p;
	int fd;

	(void)state;
	make_pool();
	if (!attach())
		skip();
	p = probe(image);
	assert_true(p.is_in_use);
	assert_non_null(strstr(p.used_as, "attached as /dev/loop"));
	p = probe(loop);
	assert_true(p.is_block);
	assert_int_equal(p.size_bytes, SIZE);
	assert_string_equal(p.type, "cfs");
	assert_false(p.is_in_use);
	fd = open(loop, O_RDONLY | O_EXCL | O_CLOEXEC);
	assert_true(fd >= 0);
	p = probe(loop);
	assert_true(p.is_in_use);
	assert_string_equal(p.used_as, "open elsewhere");
	close(fd);
	detach();
	assert_false(probe(image).is_in_use);
}

static void test_mounted(void **state)
{
	char mountpoint[PATH_MAX];
	struct cfs_device_probe p;
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	make_zeroes();
	if (shell("mkfs.ext4 -q -L root %s >%s/log 2>&1", image, dir))
		skip();
	p = probe(image);
	assert_string_equal(p.type, "ext4");
	assert_string_equal(p.label, "root");
	if (!attach())
		skip();
	snprintf(mountpoint, sizeof(mountpoint), "%s/a place", dir);
	assert_int_equal(mkdir(mountpoint, 0700), 0);
	if (mount(loop, mountpoint, "ext4", 0, NULL) < 0) {
		detach();
		skip();
	}
	p = probe(loop);
	assert_int_equal(cfs_device_wipe(loop, &err), -EBUSY);
	assert_int_equal(umount(mountpoint), 0);
	detach();
	assert_true(p.is_in_use);
	assert_non_null(strstr(p.used_as, "mounted on "));
	assert_non_null(strstr(p.used_as, "/a place"));
	assert_string_equal(p.type, "ext4");
}

/* Two processes and one block device: the second waits, and is told who. */
static void test_block_device_pool(void **state)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	const struct cfs_holder_options hold = { .wait_seconds = 0 };
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_devset *set, *second;
	struct cfs_holder *h;
	struct cfs_seat seat;

	(void)state;
	make_pool();
	if (!attach())
		skip();
	assert_int_equal(cfs_devset_open(loop, &opt, &set, &err), 0);
	assert_int_equal(cfs_holder_acquire(set, &hold, &h, &seat, &err), 0);
	assert_int_equal(cfs_devset_open(loop, &opt, &second, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "in use by process"));
	/* By the file below: no lock is seen, but the record is. */
	assert_int_equal(cfs_devset_open(image, &opt, &second, &err), 0);
	{
		struct cfs_holder *h2;

		assert_int_equal(
			cfs_holder_acquire(second, &hold, &h2, &seat, &err),
			-EBUSY);
	}
	cfs_devset_close(second);
	assert_int_equal(cfs_holder_release(h, true, NULL), 0);
	cfs_devset_close(set);
	assert_int_equal(cfs_devset_open(loop, &opt, &set, &err), 0);
	cfs_devset_close(set);
	detach();
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_nothing_there),
		T(test_not_a_device),
		T(test_zeroes_and_data),
		T(test_foreign),
		T(test_partition_table),
		T(test_own),
		T(test_held_pool),
		T(test_held_by_another_host),
		T(test_loop),
		T(test_mounted),
		T(test_block_device_pool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
