/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is remembered of leases that stand by themselves: only what is sure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/xxh.h"
#include "session/standing.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PERIOD_NS (600 * CFS_NS_PER_S)

static char dir[] = "/tmp/cfs-standing-XXXXXX";
static char path[256];

static struct cfs_standing_record record(uint64_t lease)
{
	struct cfs_standing_record rec = {
		.pool_uuid = { 1, 2, 3 },
		.name = { 0x200000001, lease, { 7, 8 } },
		.epoch = 2,
		.period_ns = PERIOD_NS,
		.lease_count = 1,
		.leases = { { .lease_id = lease,
			      .key = 1,
			      .generation = 9,
			      .mode = CFS_LOCK_X,
			      .resource = { 1, 2, 0, 0,
					    CFS_LOCK_LENGTH_WHOLE } } },
	};
	struct cfs_lease_clock now;

	cfs_lease_clock_init(&now);
	rec.boot_ns = now.boot_ns;
	rec.raw_ns = now.raw_ns;
	snprintf(path, sizeof(path),
		 "%s/01020300-0000-0000-0000-000000000000.200000001-%llx.lease",
		 dir, (unsigned long long)lease);
	return rec;
}

static void keep(const struct cfs_standing_record *rec)
{
	assert_int_equal(cfs_standing_keep(dir, rec, NULL), 0);
	assert_int_equal(access(path, F_OK), 0);
}

static int open_it(const struct cfs_standing_record *rec,
		   struct cfs_standing **ret)
{
	return cfs_standing_open(dir, rec->pool_uuid, &rec->name, ret);
}

static void is_nothing(const struct cfs_standing_record *rec)
{
	struct cfs_standing *st = NULL;

	assert_int_equal(open_it(rec, &st), -ENOENT);
	assert_null(st);
}

static void test_there_and_back(void **state)
{
	struct cfs_standing_record rec = record(5), other = rec;
	struct cfs_standing *st = NULL, *again = NULL;
	struct cfs_lease_clock sent;

	(void)state;
	is_nothing(&rec);
	keep(&rec);
	/* Another pool's, another lease. */
	other.pool_uuid[0] = 9;
	is_nothing(&other);
	other = rec;
	other.name.lease_id++;
	is_nothing(&other);
	assert_int_equal(open_it(&rec, &st), 0);
	assert_memory_equal(cfs_standing_record(st), &rec, sizeof(rec));
	assert_true(cfs_standing_still_runs(st));
	assert_int_equal(open_it(&rec, &again), -EBUSY);
	cfs_lease_clock_init(&sent);
	cfs_standing_renewed(st, 3, &sent);
	cfs_standing_close(st);
	assert_int_equal(open_it(&rec, &st), 0);
	assert_int_equal(cfs_standing_record(st)->epoch, 3);
	assert_true(cfs_standing_record(st)->boot_ns == sent.boot_ns);
	/* What is given back is not kept by an answer that was late. */
	assert_true(cfs_standing_drop(st));
	assert_false(cfs_standing_still_runs(st));
	cfs_standing_renewed(st, 3, &sent);
	assert_int_equal(access(path, F_OK), -1);
	cfs_standing_close(st);
	is_nothing(&rec);
}

/* By each of the clocks, and swept by the next one that is taken. */
static void test_a_period_ends(void **state)
{
	struct cfs_standing_record rec;
	struct cfs_standing *st;
	char old[sizeof(path)];

	(void)state;
	for (int is_raw = 0; is_raw < 2; is_raw++) {
		rec = record(6);
		if (is_raw)
			rec.raw_ns -= PERIOD_NS;
		else
			rec.boot_ns -= PERIOD_NS;
		keep(&rec);
		assert_int_equal(open_it(&rec, &st), 0);
		assert_false(cfs_standing_still_runs(st));
		/* Not while somebody is at it. */
		memcpy(old, path, sizeof(old));
		rec = record(7);
		keep(&rec);
		assert_int_equal(access(old, F_OK), 0);
		cfs_standing_close(st);
		(void)unlink(path);
		keep(&rec);
		assert_int_equal(access(old, F_OK), -1);
		/* One that runs stays. */
		memcpy(old, path, sizeof(old));
		rec = record(8);
		keep(&rec);
		assert_int_equal(access(old, F_OK), 0);
		(void)unlink(path);
		(void)unlink(old);
	}
}

/* A byte at @at changed, with a right sum or not. */
static void spoil(size_t at, bool is_summed)
{
	uint8_t d[1024];
	uint64_t sum;
	int fd = open(path, O_RDWR);
	ssize_t n = read(fd, d, sizeof(d));

	assert_true(n > 32 && at < (size_t)n - 8);
	d[at] ^= 1;
	sum = cfs_xxh3(d, (size_t)n - 8);
	for (size_t i = 0; is_summed && i < 8; i++)
		d[(size_t)n - 8 + i] = (uint8_t)(sum >> 8 * i);
	assert_int_equal(pwrite(fd, d, (size_t)n, 0), n);
	close(fd);
}

static void test_what_is_not_sure_is_nothing(void **state)
{
	static const struct {
		size_t at;
		bool is_summed;
	} cases[] = {
		{ 60, false }, { 0, true }, /* magic */
		{ 7, true },                /* number of leases */
		{ 8, true },                /* pool */
		{ 24, true },               /* boot */
		{ 40, true },               /* clocks */
		{ 48, true },               /* client */
		{ 56, true },               /* lease */
	};
	struct cfs_standing_record rec = record(10);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		keep(&rec);
		spoil(cases[i].at, cases[i].is_summed);
		is_nothing(&rec);
	}
	keep(&rec);
	assert_int_equal(truncate(path, 100), 0);
	is_nothing(&rec);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/dev/zero", path), 0);
	is_nothing(&rec);
	assert_int_equal(unlink(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_a_period_ends),
		cmocka_unit_test(test_what_is_not_sure_is_nothing),
	};
	int r;

	if (!mkdtemp(dir))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	(void)rmdir(dir);
	return r;
}
