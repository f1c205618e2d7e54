/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Copies of bytes between files and pipes of the host: the same bytes at any
 * offset, length and pattern of holes; limits, stops and failures say how far
 * it came, and all before is there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"
#include "session/transfer.h"

#define FILE_BYTES (9u << 20)

static int temp_file(void)
{
	return open("/var/tmp", O_TMPFILE | O_RDWR, 0600);
}

/* Data and holes in turns; *@ret is what it reads as. */
static int patterned(struct cfs_rng *rng, uint8_t **ret)
{
	uint8_t *model = calloc(1, FILE_BYTES);
	int fd = temp_file();
	uint64_t at = 0, n;

	assert_non_null(model);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
	while (at < FILE_BYTES) {
		n = 1 + cfs_rng_below(rng, 1u << 20);
		if (n > FILE_BYTES - at)
			n = FILE_BYTES - at;
		if (cfs_rng_below(rng, 2)) {
			cfs_rng_fill(rng, model + at, n);
			assert_int_equal(pwrite(fd, model + at, n, (off_t)at),
					 n);
		}
		at += n;
	}
	*ret = model;
	return fd;
}

static struct cfs_bytes_end fd_end(int fd, uint64_t offset_bytes)
{
	struct cfs_bytes_end end = {
		.kind = CFS_BYTES_FD,
		.fd = fd,
		.offset_bytes = offset_bytes,
	};

	return end;
}

static void reads_as(int fd, const uint8_t *want, size_t n)
{
	uint8_t *got = malloc(n + 1);

	assert_int_equal(pread(fd, got, n + 1, 0), n);
	assert_memory_equal(got, want, n);
	free(got);
}

static void test_files(void **state)
{
	struct cfs_transfer_options sparse = { .is_sparse = true };
	struct cfs_bytes_result result;
	struct cfs_rng rng;
	uint8_t *model;
	int i;

	(void)state;
	cfs_rng_init(&rng, 3);
	for (i = 0; i < 6; i++) {
		int in = patterned(&rng, &model), out = temp_file();
		uint64_t offset = i ? cfs_rng_below(&rng, FILE_BYTES) : 0;
		struct cfs_bytes_end from = fd_end(in, offset);
		struct cfs_bytes_end to = fd_end(out, 0);
		struct stat st, st2;

		to.is_fresh = true;
		assert_int_equal(
			cfs_bytes_copy(&from, &to, UINT64_MAX, UINT64_MAX,
				       i % 2 ? &sparse : NULL, &result, NULL),
			0);
		assert_int_equal(result.copied_bytes, FILE_BYTES - offset);
		reads_as(out, model + offset, FILE_BYTES - offset);
		(void)fstat(in, &st);
		(void)fstat(out, &st2);
		/* At the ends of each run a block more at most. */
		assert_true(st2.st_blocks <= st.st_blocks + 500);
		close(in);
		close(out);
		free(model);
	}
}

/* What was there before becomes zeroes where the source has holes. */
static void test_over_old_data(void **state)
{
	struct cfs_bytes_result result;
	struct cfs_rng rng;
	uint8_t *model, *old;
	int in, out;
	struct cfs_bytes_end from, to;

	(void)state;
	cfs_rng_init(&rng, 8);
	in = patterned(&rng, &model);
	out = temp_file();
	old = malloc(FILE_BYTES);
	memset(old, 0xaa, FILE_BYTES);
	assert_int_equal(pwrite(out, old, FILE_BYTES, 0), FILE_BYTES);
	from = fd_end(in, 12345);
	to = fd_end(out, 777);
	assert_int_equal(cfs_bytes_copy(&from, &to, 5000000, UINT64_MAX, NULL,
					&result, NULL),
			 0);
	memcpy(old + 777, model + 12345, 5000000);
	reads_as(out, old, FILE_BYTES);
	close(in);
	close(out);
	free(old);
	free(model);
}

struct feeder {
	int fd;
	const uint8_t *p;
	size_t n;
};

static void *feed(void *arg)
{
	struct feeder *f = arg;

	while (f->n) {
		ssize_t n = write(f->fd, f->p, f->n < 7777 ? f->n : 7777);

		if (n < 0)
			break;
		f->p += n;
		f->n -= (size_t)n;
	}
	close(f->fd);
	return NULL;
}

static int copy_from_pipe(const uint8_t *p, size_t n, int out,
			  uint64_t capacity, struct cfs_bytes_result *result)
{
	struct cfs_bytes_end from, to = fd_end(out, 0);
	struct feeder f = { .p = p, .n = n };
	pthread_t thread;
	int fds[2], r;

	assert_int_equal(pipe(fds), 0);
	f.fd = fds[1];
	assert_int_equal(pthread_create(&thread, NULL, feed, &f), 0);
	from = fd_end(fds[0], 0);
	to.is_fresh = true;
	r = cfs_bytes_copy(&from, &to, UINT64_MAX, capacity, NULL, result,
			   NULL);
	close(fds[0]);
	pthread_join(thread, NULL);
	return r;
}

static void test_pipe(void **state)
{
	struct cfs_bytes_result result;
	struct cfs_rng rng;
	uint8_t *p = malloc(FILE_BYTES);
	int out;

	(void)state;
	cfs_rng_init(&rng, 4);
	cfs_rng_fill(&rng, p, FILE_BYTES);
	out = temp_file();
	assert_int_equal(
		copy_from_pipe(p, FILE_BYTES, out, UINT64_MAX, &result), 0);
	reads_as(out, p, FILE_BYTES);
	close(out);
	/* Just as much as fits, and one more. */
	out = temp_file();
	assert_int_equal(copy_from_pipe(p, 5000000, out, 5000000, &result), 0);
	reads_as(out, p, 5000000);
	close(out);
	out = temp_file();
	assert_int_equal(copy_from_pipe(p, 5000001, out, 5000000, &result),
			 -EFBIG);
	assert_int_equal(result.copied_bytes, 5000000);
	assert_true(result.is_source);
	reads_as(out, p, 5000000);
	close(out);
	free(p);
}

static void test_too_long(void **state)
{
	struct cfs_bytes_result result;
	struct cfs_bytes_end from, to;
	int in = temp_file(), out = temp_file();
	struct stat st;

	(void)state;
	assert_int_equal(ftruncate(in, 1000), 0);
	from = fd_end(in, 0);
	to = fd_end(out, 0);
	assert_int_equal(cfs_bytes_copy(&from, &to, UINT64_MAX, 999, NULL,
					&result, NULL),
			 -EFBIG);
	assert_int_equal(result.copied_bytes, 0);
	(void)fstat(out, &st);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(
		cfs_bytes_copy(&from, &to, 999, 999, NULL, &result, NULL), 0);
	from.offset_bytes = 1001;
	assert_int_equal(cfs_bytes_copy(&from, &to, UINT64_MAX, UINT64_MAX,
					NULL, &result, NULL),
			 -EINVAL);
	close(in);
	close(out);
}

struct failing {
	uint64_t room;
	uint64_t got;
};

static int write_until(void *arg, const void *bytes, size_t length_bytes,
		       struct cfs_err *err)
{
	struct failing *f = arg;

	(void)bytes;
	if (f->got + length_bytes > f->room)
		return cfs_err_set(err, -ENOSPC, "full");
	f->got += length_bytes;
	return 0;
}

static void test_sink_fails(void **state)
{
	struct cfs_bytes_result result;
	struct failing f = { .room = 5u << 20 };
	struct cfs_bytes_end from, to = {
		.kind = CFS_BYTES_SINK,
		.write = write_until,
		.write_arg = &f,
	};
	struct cfs_rng rng;
	uint8_t *model;
	int in;

	(void)state;
	cfs_rng_init(&rng, 9);
	in = patterned(&rng, &model);
	from = fd_end(in, 0);
	assert_int_equal(cfs_bytes_copy(&from, &to, UINT64_MAX, UINT64_MAX,
					NULL, &result, NULL),
			 -ENOSPC);
	assert_false(result.is_source);
	assert_true(result.copied_bytes <= f.got);
	f = (struct failing){ .room = UINT64_MAX };
	assert_int_equal(cfs_bytes_copy(&from, &to, UINT64_MAX, UINT64_MAX,
					NULL, &result, NULL),
			 0);
	assert_int_equal(f.got, FILE_BYTES);
	close(in);
	free(model);
}

struct stopper {
	pthread_mutex_t lock;
	unsigned int left;
};

static bool stop_soon(void *arg)
{
	struct stopper *s = arg;
	bool is_over;

	pthread_mutex_lock(&s->lock);
	is_over = s->left == 0;
	s->left -= !is_over;
	pthread_mutex_unlock(&s->lock);
	return is_over;
}

static void test_stop(void **state)
{
	struct cfs_bytes_result result;
	struct cfs_rng rng;
	uint8_t *model;
	unsigned int i;

	(void)state;
	cfs_rng_init(&rng, 6);
	for (i = 0; i < 12; i++) {
		struct stopper s = { .lock = PTHREAD_MUTEX_INITIALIZER,
				     .left = i };
		struct cfs_transfer_options opt = { .stop = stop_soon,
						    .arg = &s };
		int in = patterned(&rng, &model), out = temp_file();
		struct cfs_bytes_end from = fd_end(in, 0);
		struct cfs_bytes_end to = fd_end(out, 0);
		int r;

		to.is_fresh = true;
		r = cfs_bytes_copy(&from, &to, UINT64_MAX, UINT64_MAX, &opt,
				   &result, NULL);
		assert_true(r == -EINTR || r == 0);
		if (result.copied_bytes) {
			uint8_t *got = calloc(1, FILE_BYTES);

			assert_true(pread(out, got, FILE_BYTES, 0) >= 0);
			assert_memory_equal(got, model, result.copied_bytes);
			free(got);
		}
		close(in);
		close(out);
		free(model);
	}
}

static void test_length(void **state)
{
	int fd = temp_file(), fds[2];
	struct cfs_bytes_end end = fd_end(fd, 300);
	uint64_t n;

	(void)state;
	assert_int_equal(ftruncate(fd, 1000), 0);
	assert_int_equal(cfs_bytes_length(&end, &n, NULL), 0);
	assert_int_equal(n, 700);
	assert_int_equal(pipe(fds), 0);
	end = fd_end(fds[0], 0);
	assert_int_equal(cfs_bytes_length(&end, &n, NULL), 0);
	assert_true(n == UINT64_MAX);
	close(fds[0]);
	close(fds[1]);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_over_old_data),
		cmocka_unit_test(test_pipe),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_sink_fails),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_length),
	};

	return cmocka_run_group_tests_name("transfer_copy_mt", tests, NULL,
					   NULL);
}
