/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A plain file as a device: the same bytes whichever way they go (direct,
 * buffered, through a bounce buffer, io_uring, threads), bounds, odd sizes,
 * names, and files that others cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device/device.h"
#include "device/file_priv.h"

#define MODEL_BYTES (2u << 20)

struct fixture {
	char dir[64];
	char path[128];
	struct cfs_dev *dev;
	struct cfs_err err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	strcpy(f->dir, "/var/tmp/cfs-device-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/img", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	cfs_dev_close(f->dev);
	unlink(f->path);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void must_open(struct fixture *f, unsigned int flags)
{
	int r = cfs_dev_open(f->path, flags, &f->dev, &f->err);

	if (r < 0 || !f->dev)
		fail_msg("%s", f->err.msg);
}

static void reopen(struct fixture *f, unsigned int flags)
{
	cfs_dev_close(f->dev);
	f->dev = NULL;
	must_open(f, flags);
}

static void must_resize(struct fixture *f, uint64_t size_bytes)
{
	assert_int_equal(cfs_dev_resize(f->dev, size_bytes, &f->err), 0);
}

static void fill(unsigned char *buf, size_t n, unsigned int seed)
{
	size_t i;

	for (i = 0; i < n; i++)
		buf[i] = (unsigned char)((i + seed) * 2654435761u >> 13);
}

static void test_create_and_name(void **state)
{
	struct fixture *f = *state;
	struct cfs_dev *other;
	struct stat st;

	assert_int_equal(cfs_dev_open(f->path, CFS_DEV_RDWR, &f->dev, &f->err),
			 -ENOENT);
	assert_null(f->dev);
	assert_non_null(strstr(f->err.msg, f->path));
	must_open(f, CFS_DEV_RDWR | CFS_DEV_CREATE);
	assert_int_equal(cfs_dev_kind(f->dev), CFS_DEV_FILE);
	assert_int_equal(cfs_dev_size_bytes(f->dev), 0);
	assert_true(cfs_dev_is_writable(f->dev));
	assert_string_equal(cfs_dev_name(f->dev), f->path);
	must_resize(f, 8192);
	assert_int_equal(cfs_dev_size_bytes(f->dev), 8192);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_size, 8192);
	assert_int_equal(cfs_dev_open(f->path, CFS_DEV_RDONLY, &other, &f->err),
			 0);
	assert_int_equal(cfs_dev_size_bytes(other), 8192);
	assert_false(cfs_dev_is_writable(other));
	assert_true(cfs_dev_is_same(f->dev, other));
	cfs_dev_close(other);
}

static void test_descriptor_flags(void **state)
{
	struct fixture *f = *state;
	int fd;

	must_open(f, CFS_DEV_RDWR | CFS_DEV_CREATE);
	fd = ((struct cfs_file_dev *)f->dev)->fd;
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	/* io_uring fails requests on such a descriptor instead of waiting. */
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(!!(fcntl(fd, F_GETFL) & O_DIRECT),
			 cfs_dev_is_direct(f->dev));
	reopen(f, CFS_DEV_RDWR | CFS_DEV_BUFFERED);
	assert_false(cfs_dev_is_direct(f->dev));
	fd = ((struct cfs_file_dev *)f->dev)->fd;
	assert_int_equal(fcntl(fd, F_GETFL) & O_DIRECT, 0);
}

static void test_uri(void **state)
{
	struct fixture *f = *state;
	char uri[256];

	snprintf(uri, sizeof(uri), "file:%s/%%69m%%67", f->dir);
	assert_int_equal(cfs_dev_open(uri, CFS_DEV_RDWR | CFS_DEV_CREATE,
				      &f->dev, &f->err),
			 0);
	assert_string_equal(cfs_dev_name(f->dev), uri);
	assert_int_equal(access(f->path, F_OK), 0);
}

static void refused(const char *name, int code, const char *part)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_dev *dev = NULL;

	assert_int_equal(
		cfs_dev_open(name, CFS_DEV_RDWR | CFS_DEV_CREATE, &dev, &err),
		code);
	assert_null(dev);
	assert_non_null(strstr(err.msg, part));
}

static void test_refused_names(void **state)
{
	struct fixture *f = *state;

	refused("nbd:host/export", -EINVAL, "'nbd'");
	refused("nbd+unix:///x", -EINVAL, "'nbd+unix'");
	refused("file:/tmp/%0", -EINVAL, "%XX");
	refused("file:/tmp/%00", -EINVAL, "%XX");
	refused("file:/tmp/%g1", -EINVAL, "%XX");
	refused("file:/tmp/%", -EINVAL, "%XX");
	refused(f->dir, -EINVAL, "neither a plain file nor a block device");
	refused("/dev/null", -EINVAL, "neither");
	refused("/dev/null/x", -ENOTDIR, "/dev/null/x");
	/* A FIFO would make a careless open wait for ever. */
	assert_int_equal(mkfifo(f->path, 0600), 0);
	refused(f->path, -EINVAL, "neither");
}

static void test_colon_in_path(void **state)
{
	struct fixture *f = *state;
	char path[160];

	snprintf(path, sizeof(path), "%s:x", f->path);
	assert_int_equal(cfs_dev_open(path, CFS_DEV_RDWR | CFS_DEV_CREATE,
				      &f->dev, &f->err),
			 0);
	assert_int_equal(unlink(path), 0);
}

static void test_bounds(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[8] = { 0 };
	static const uint64_t bad[] = {
		9, 10, 100, UINT64_MAX, UINT64_MAX - 3, INT64_MAX
	};
	size_t i;

	must_open(f, CFS_DEV_RDWR | CFS_DEV_CREATE);
	must_resize(f, 10);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(cfs_dev_read(f->dev, bad[i], buf, 8, &f->err),
				 -EINVAL);
		assert_int_equal(cfs_dev_write(f->dev, bad[i], buf, 8, &f->err),
				 -EINVAL);
		assert_int_equal(cfs_dev_discard(f->dev, bad[i], 8, &f->err),
				 -EINVAL);
	}
	assert_non_null(strstr(f->err.msg, "beyond the end at 10"));
	assert_int_equal(cfs_dev_read(f->dev, 10, buf, 0, &f->err), 0);
	assert_int_equal(cfs_dev_read(f->dev, 2, buf, 8, &f->err), 0);
}

static void test_readonly(void **state)
{
	struct fixture *f = *state;
	unsigned char buf[8] = { 0 };

	must_open(f, CFS_DEV_RDWR | CFS_DEV_CREATE);
	must_resize(f, 4096);
	reopen(f, CFS_DEV_RDONLY);
	assert_int_equal(cfs_dev_write(f->dev, 0, buf, 8, &f->err), -EROFS);
	assert_int_equal(cfs_dev_discard(f->dev, 0, 8, &f->err), -EROFS);
	assert_int_equal(cfs_dev_resize(f->dev, 8192, &f->err), -EROFS);
	assert_int_equal(cfs_dev_lock(f->dev, true, &f->err), -EROFS);
	assert_int_equal(cfs_dev_lock(f->dev, false, &f->err), 0);
	assert_int_equal(cfs_dev_read(f->dev, 0, buf, 8, &f->err), 0);
	assert_int_equal(cfs_dev_flush(f->dev, &f->err), 0);
}

/* What the file holds, by plain buffered reads of our own. */
static void assert_file_is(const struct fixture *f, const unsigned char *model,
			   size_t n)
{
	unsigned char *got = malloc(n + 1);
	int fd = open(f->path, O_RDONLY);

	assert_non_null(got);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, got, n + 1), n);
	assert_memory_equal(got, model, n);
	close(fd);
	free(got);
}

/* Random transfers of any alignment against a copy in memory. */
static void random_transfers(struct fixture *f, unsigned int flags,
			     size_t model_bytes)
{
	unsigned char *model = calloc(1, model_bytes);
	unsigned char *buf = cfs_dev_buf_alloc(model_bytes + 64);
	unsigned int i;

	assert_non_null(model);
	assert_non_null(buf);
	must_open(f, CFS_DEV_RDWR | CFS_DEV_CREATE | flags);
	must_resize(f, model_bytes);
	srandom(7);
	for (i = 0; i < 300; i++) {
		size_t at = (size_t)random() % model_bytes;
		size_t n = (size_t)random() % (model_bytes - at) + 1;
		size_t skew = i % 3 ? (size_t)random() % 64 : 0;

		if (i % 4)
			n = n % 9000 + 1;
		if (at + n > model_bytes)
			n = model_bytes - at;
		if (i % 2) {
			fill(buf + skew, n, i);
			memcpy(model + at, buf + skew, n);
			assert_int_equal(cfs_dev_write(f->dev, at, buf + skew,
						       n, &f->err),
					 0);
		} else {
			assert_int_equal(cfs_dev_read(f->dev, at, buf + skew, n,
						      &f->err),
					 0);
			assert_memory_equal(buf + skew, model + at, n);
		}
	}
	assert_int_equal(cfs_dev_flush(f->dev, &f->err), 0);
	assert_file_is(f, model, model_bytes);
	free(model);
	free(buf);
}

static void test_unaligned_direct(void **state)
{
	random_transfers(*state, 0, MODEL_BYTES);
}

static void test_unaligned_odd_size(void **state)
{
	random_transfers(*state, 0, MODEL_BYTES - 1234);
}

static void test_unaligned_buffered(void **state)
{
	random_transfers(*state, CFS_DEV_BUFFERED, MODEL_BYTES - 77);
}

/*
 * A batch with everything in it: adjacent ios that may merge, gaps, odd
 * offsets, odd buffers, and more requests than a ring takes at once.
 */
static void batch_round(struct fixture *f, unsigned int round)
{
	enum { COUNT = 1500 };
	static struct cfs_io ios[COUNT];
	unsigned char *model = cfs_dev_buf_alloc(MODEL_BYTES * 4);
	unsigned char *buf = cfs_dev_buf_alloc(MODEL_BYTES * 4 + 64);
	size_t skew = round % 2 ? 3 : 0;
	size_t at = 0, i, n = 0;

	assert_non_null(model);
	assert_non_null(buf);
	fill(model, MODEL_BYTES * 4, round);
	memcpy(buf + skew, model, MODEL_BYTES * 4);
	for (i = 0; i < COUNT && at < MODEL_BYTES * 4; i++) {
		size_t len = round < 2 ? 4096 : (size_t)random() % 12000;

		len = len < MODEL_BYTES * 4 - at ? len : MODEL_BYTES * 4 - at;
		ios[n++] = (struct cfs_io){
			.op = CFS_IO_WRITE,
			.offset_bytes = at,
			.buf = buf + skew + at,
			.length_bytes = len,
			.result = 99,
		};
		at += len;
		if (round == 0 && i % 3 == 0) { /* a gap, so no merging */
			memset(model + at, 0, 4096);
			at += 4096;
		}
	}
	memset(model + at, 0, MODEL_BYTES * 4 - at);
	assert_int_equal(cfs_dev_submit(f->dev, ios, n, &f->err), 0);
	for (i = 0; i < n; i++) {
		assert_int_equal(ios[i].result, 0);
		ios[i].op = CFS_IO_READ;
	}
	memset(buf, 0, MODEL_BYTES * 4 + 64);
	assert_int_equal(cfs_dev_flush(f->dev, &f->err), 0);
	assert_file_is(f, model, MODEL_BYTES * 4);
	assert_int_equal(cfs_dev_submit(f->dev, ios, n, &f->err), 0);
	assert_memory_equal(buf + skew, model, MODEL_BYTES * 4);
	free(model);
	free(buf);
}

static void batches(struct fixture *f, unsigned int flags, bool refuse)
{
	unsigned int round;

	for (round = 0; round < 4; round++) {
		must_open(f, CFS_DEV_RDWR | CFS_DEV_CREATE | flags);
		if (refuse)
			cfs_file_refuse_uring(f->dev);
		must_resize(f, 0);
		must_resize(f, MODEL_BYTES * 4);
		batch_round(f, round);
		cfs_dev_close(f->dev);
		f->dev = NULL;
	}
}

static void test_batch_direct(void **state)
{
	batches(*state, 0, false);
}

/* Where the kernel has io_uring, a batch goes through it, by one ring. */
static void test_batch_uses_ring(void **state)
{
	struct fixture *f = *state;
	unsigned char *buf = cfs_dev_buf_alloc(2 * 4096);
	const struct cfs_file_dev *file;
	struct io_uring uring;
	struct cfs_io ios[2];
	size_t i;

	assert_non_null(buf);
	must_open(f, CFS_DEV_RDWR | CFS_DEV_CREATE);
	must_resize(f, 4 * 4096);
	for (i = 0; i < 2; i++)
		ios[i] = (struct cfs_io){
			.op = CFS_IO_READ,
			.offset_bytes = i * 8192,
			.buf = buf + i * 4096,
			.length_bytes = 4096,
		};
	for (i = 0; i < 3; i++)
		assert_int_equal(cfs_dev_submit(f->dev, ios, 2, &f->err), 0);
	free(buf);
	file = (const struct cfs_file_dev *)f->dev;
	if (io_uring_queue_init(4, &uring, 0) < 0) {
		assert_non_null(file->workers);
		print_message("skipped: io_uring is refused here\n");
		skip();
	}
	io_uring_queue_exit(&uring);
	assert_int_equal(file->free_ring_count, 1);
	assert_null(file->workers);
}

static void test_batch_buffered(void **state)
{
	batches(*state, CFS_DEV_BUFFERED, false);
}

static void test_batch_threads(void **state)
{
	batches(*state, 0, true);
}

/* One bad io fails alone, and the message is about it. */
static void batch_failures(struct fixture *f)
{
	unsigned char *buf = cfs_dev_buf_alloc(6 * 4096);
	struct cfs_io ios[6];
	size_t i;

	assert_non_null(buf);
	must_resize(f, 4 * 4096);
	fill(buf, 6 * 4096, 1);
	for (i = 0; i < 6; i++)
		ios[i] = (struct cfs_io){
			.op = CFS_IO_WRITE,
			.offset_bytes = i * 4096,
			.buf = buf + i * 4096,
			.length_bytes = 4096,
		};
	ios[1].length_bytes = 0;
	assert_int_equal(cfs_dev_submit(f->dev, ios, 6, &f->err), -EINVAL);
	assert_non_null(strstr(f->err.msg, "write of 4096 bytes at 16384"));
	for (i = 0; i < 6; i++)
		assert_int_equal(ios[i].result, i < 4 ? 0 : -EINVAL);
	/* Cut underneath: a merged read ends short, one by one tells who. */
	assert_int_equal(truncate(f->path, 2 * 4096), 0);
	for (i = 0; i < 4; i++) {
		ios[i].op = CFS_IO_READ;
		ios[i].length_bytes = 4096;
		memset(buf + i * 4096, 0xee, 4096);
	}
	assert_int_equal(cfs_dev_submit(f->dev, ios, 4, &f->err), -EIO);
	assert_int_equal(ios[0].result, 0);
	assert_int_equal(ios[1].result, 0);
	assert_int_equal(ios[2].result, -EIO);
	assert_int_equal(ios[3].result, -EIO);
	assert_int_equal(cfs_dev_read(f->dev, 3 * 4096, buf, 4096, &f->err),
			 -EIO);
	assert_int_equal(cfs_dev_read(f->dev, 2 * 4096 - 5, buf, 10, &f->err),
			 -EIO);
	free(buf);
}

static void test_batch_failures(void **state)
{
	struct fixture *f = *state;

	must_open(f, CFS_DEV_RDWR | CFS_DEV_CREATE);
	batch_failures(f);
	reopen(f, CFS_DEV_RDWR | CFS_DEV_BUFFERED);
	batch_failures(f);
	reopen(f, CFS_DEV_RDWR);
	cfs_file_refuse_uring(f->dev);
	batch_failures(f);
}

/* Two tickets at once, waited for in the other order. */
static void test_two_tickets(void **state)
{
	struct fixture *f = *state;
	unsigned char *buf = cfs_dev_buf_alloc(64 * 4096);
	unsigned char *got = cfs_dev_buf_alloc(64 * 4096);
	struct cfs_dev_ticket *a, *b;
	struct cfs_io ios[64];
	size_t i;

	assert_non_null(buf);
	assert_non_null(got);
	must_open(f, CFS_DEV_RDWR | CFS_DEV_CREATE);
	must_resize(f, 64 * 4096);
	fill(buf, 64 * 4096, 5);
	for (i = 0; i < 64; i++)
		ios[i] = (struct cfs_io){
			.op = CFS_IO_WRITE,
			.offset_bytes = i * 4096,
			.buf = buf + i * 4096,
			.length_bytes = 4096,
		};
	assert_int_equal(cfs_dev_start(f->dev, ios, 32, &a, &f->err), 0);
	assert_int_equal(cfs_dev_start(f->dev, ios + 32, 32, &b, &f->err), 0);
	assert_int_equal(cfs_dev_wait(b, &f->err), 0);
	assert_int_equal(cfs_dev_wait(a, &f->err), 0);
	assert_int_equal(cfs_dev_read(f->dev, 0, got, 64 * 4096, &f->err), 0);
	assert_memory_equal(buf, got, 64 * 4096);
	assert_int_equal(cfs_dev_start(f->dev, ios, 1, &a, &f->err), 0);
	assert_int_equal(cfs_dev_wait(a, &f->err), 0);
	assert_int_equal(cfs_dev_start(f->dev, NULL, 0, &a, &f->err), 0);
	assert_int_equal(cfs_dev_wait(a, &f->err), 0);
	free(buf);
	free(got);
}

static void test_discard(void **state)
{
	struct fixture *f = *state;
	unsigned char *buf = cfs_dev_buf_alloc(1 << 20);
	unsigned char *got = cfs_dev_buf_alloc(1 << 20);
	struct stat before, after;
	int r;

	assert_non_null(buf);
	assert_non_null(got);
	must_open(f, CFS_DEV_RDWR | CFS_DEV_CREATE);
	must_resize(f, 1 << 20);
	fill(buf, 1 << 20, 1);
	assert_int_equal(cfs_dev_write(f->dev, 0, buf, 1 << 20, &f->err), 0);
	assert_int_equal(cfs_dev_flush(f->dev, &f->err), 0);
	assert_int_equal(stat(f->path, &before), 0);
	r = cfs_dev_discard(f->dev, 100000, 700000, &f->err);
	if (r == -EOPNOTSUPP) {
		print_message("no hole punching here\n");
		skip();
	}
	assert_int_equal(r, 0);
	assert_int_equal(stat(f->path, &after), 0);
	assert_true(after.st_blocks < before.st_blocks);
	assert_int_equal(after.st_size, 1 << 20);
	assert_int_equal(cfs_dev_read(f->dev, 0, got, 1 << 20, &f->err), 0);
	assert_memory_equal(got, buf, 100000);
	assert_memory_equal(got + 800000, buf + 800000, (1 << 20) - 800000);
	free(buf);
	free(got);
}

static void test_same(void **state)
{
	struct fixture *f = *state;
	struct cfs_dev *other;
	char path[160];

	must_open(f, CFS_DEV_RDWR | CFS_DEV_CREATE);
	snprintf(path, sizeof(path), "%s/link", f->dir);
	assert_int_equal(link(f->path, path), 0);
	assert_int_equal(cfs_dev_open(path, CFS_DEV_RDONLY, &other, &f->err),
			 0);
	assert_true(cfs_dev_is_same(f->dev, other));
	cfs_dev_close(other);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(cfs_dev_open(path, CFS_DEV_RDWR | CFS_DEV_CREATE,
				      &other, &f->err),
			 0);
	assert_false(cfs_dev_is_same(f->dev, other));
	cfs_dev_close(other);
	assert_int_equal(unlink(path), 0);
}

static void test_buffers(void **state)
{
	unsigned char *buf = cfs_dev_buf_alloc(5000);
	size_t i;

	(void)state;
	assert_non_null(buf);
	assert_int_equal((uintptr_t)buf % 4096, 0);
	for (i = 0; i < 5000; i++)
		assert_int_equal(buf[i], 0);
	free(buf);
	buf = cfs_dev_buf_alloc(0);
	assert_non_null(buf);
	free(buf);
	assert_null(cfs_dev_buf_alloc(SIZE_MAX - 1));
	cfs_dev_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_create_and_name),
		T(test_descriptor_flags),
		T(test_uri),
		T(test_refused_names),
		T(test_colon_in_path),
		T(test_bounds),
		T(test_readonly),
		T(test_unaligned_direct),
		T(test_unaligned_odd_size),
		T(test_unaligned_buffered),
		T(test_batch_direct),
		T(test_batch_uses_ring),
		T(test_batch_buffered),
		T(test_batch_threads),
		T(test_batch_failures),
		T(test_two_tickets),
		T(test_discard),
		T(test_same),
		cmocka_unit_test(test_buffers),
#undef T
	};

	return cmocka_run_group_tests_name("device file", tests, NULL, NULL);
}
