/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Records about clients: what was packed comes back, what cannot be is seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "ondisk/client.h"

static struct cfs_client_rec sample(void)
{
	struct cfs_client_rec rec = {
		.who = { .host = "a host", .pid = 17, .process_start = 99 },
		.state = CFS_CLIENT_SEALED,
		.epoch = 5,
		.log_id = 12345,
		.log = { .seq = 7, .chain = 8, .extent = 1, .block = 3 },
		.fold_seq = 4,
		.stamp = 1000,
		.grave_vaddr = { 11, 12 },
		.extent_count = 2,
		.extents = { { .vaddr = 100, .block_count = 9 },
			     { .vaddr = 200, .block_count = 3 } },
	};

	memset(rec.who.instance, 0xab, sizeof(rec.who.instance));
	memset(rec.who.boot_id, 0xcd, sizeof(rec.who.boot_id));
	return rec;
}

static void test_back(void **state)
{
	const struct cfs_client_rec rec = sample();
	struct cfs_client_rec_disk disk;
	struct cfs_client_rec got;
	uint8_t longer[sizeof(disk) + 9] = { 0 };

	(void)state;
	cfs_client_rec_pack(&rec, &disk);
	assert_int_equal(cfs_client_rec_unpack(&disk, sizeof(disk), &got, NULL),
			 0);
	assert_memory_equal(&got, &rec, sizeof(rec));
	/* A later version has added to its end. */
	memcpy(longer, &disk, sizeof(disk));
	assert_int_equal(
		cfs_client_rec_unpack(longer, sizeof(longer), &got, NULL), 0);
	assert_int_equal(
		cfs_client_rec_unpack(&disk, sizeof(disk) - 1, &got, NULL),
		-EUCLEAN);
}

/* The layout is what cfs(5) says. */
static void test_bytes(void **state)
{
	const struct cfs_client_rec rec = sample();
	struct cfs_client_rec_disk disk;
	const uint8_t *p = (const uint8_t *)&disk;

	(void)state;
	cfs_client_rec_pack(&rec, &disk);
	assert_int_equal(p[0], 0xab);
	assert_int_equal(p[16], 0xcd);
	assert_string_equal((const char *)p + 32, "a host");
	assert_int_equal(p[96], 17);
	assert_int_equal(p[104], 99);
	assert_int_equal(p[112], 2);
	assert_int_equal(p[116], 5);
	assert_int_equal(p[120] | p[121] << 8, 12345);
	assert_int_equal(p[128], 7);
	assert_int_equal(p[136], 8);
	assert_int_equal(p[144], 1);
	assert_int_equal(p[148], 3);
	assert_int_equal(p[152], 2);
	assert_int_equal(p[160], 4);
	assert_int_equal(p[168] | p[169] << 8, 1000);
	assert_int_equal(p[176], 11);
	assert_int_equal(p[184], 12);
	assert_int_equal(p[192], 100);
	assert_int_equal(p[200], 9);
	assert_int_equal(p[208], 200);
}

static void must_refuse(const struct cfs_client_rec *rec)
{
	struct cfs_client_rec_disk disk;
	struct cfs_client_rec got;

	cfs_client_rec_pack(rec, &disk);
	assert_int_equal(cfs_client_rec_unpack(&disk, sizeof(disk), &got, NULL),
			 -EUCLEAN);
}

static void test_refused(void **state)
{
	struct cfs_client_rec_disk disk;
	struct cfs_client_rec rec = sample(), got;

	(void)state;
	for (uint32_t s = 0; s < 6; s++) {
		rec = sample();
		rec.state = s;
		if (s < CFS_CLIENT_OPEN || s > CFS_CLIENT_REFUSED)
			must_refuse(&rec);
	}
	rec = sample();
	rec.log_id = 0;
	must_refuse(&rec);
	rec.log_id = CFS_INO_MAX + 1;
	must_refuse(&rec);
	rec = sample();
	rec.log.seq = 0;
	must_refuse(&rec);
	rec = sample();
	rec.stamp = CFS_STAMP_MAX + 1;
	must_refuse(&rec);
	rec = sample();
	rec.extent_count = 0;
	must_refuse(&rec);
	rec.extent_count = CFS_CLIENT_EXTENTS_MAX + 1;
	must_refuse(&rec);
	rec = sample();
	rec.extents[1].block_count = 0;
	must_refuse(&rec);
	rec = sample();
	rec.log.extent = 2;
	must_refuse(&rec);
	rec = sample();
	rec.log.block = 4;
	must_refuse(&rec);
	rec.log.block = 3; /* the end of an extent is a position */
	cfs_client_rec_pack(&rec, &disk);
	assert_int_equal(cfs_client_rec_unpack(&disk, sizeof(disk), &got, NULL),
			 0);
	memset(disk.host, 'x', sizeof(disk.host));
	assert_int_equal(cfs_client_rec_unpack(&disk, sizeof(disk), &got, NULL),
			 -EUCLEAN);
}

static void test_loan(void **state)
{
	const struct cfs_loan_rec loan = {
		.loan = 3,
		.holder = 9,
		.epoch = 2,
		.state = CFS_LOAN_FROZEN,
	};
	const uint64_t allowed[2] = { 0x123, 0x456 };
	struct cfs_client_loan_disk disk;
	struct cfs_loan_rec got;
	uint64_t bits[2];

	(void)state;
	cfs_client_loan_pack(&loan, allowed, &disk);
	assert_int_equal(
		cfs_client_loan_unpack(&disk, sizeof(disk), &got, bits, NULL),
		0);
	assert_int_equal(got.holder, 9);
	assert_int_equal(got.state, CFS_LOAN_FROZEN);
	assert_memory_equal(bits, allowed, sizeof(bits));
	/* Those who know nothing of clients read the first part. */
	assert_int_equal(cfs_loan_rec_unpack(&disk, sizeof(disk), &got, NULL),
			 0);
	assert_int_equal(cfs_client_loan_unpack(&disk, sizeof(disk.loan), &got,
						bits, NULL),
			 0);
	assert_true(bits[0] == UINT64_MAX && bits[1] == UINT64_MAX);
	assert_int_equal(cfs_client_loan_unpack(&disk, 23, &got, bits, NULL),
			 -EUCLEAN);
}

static void test_grave(void **state)
{
	struct cfs_page_disk *page = calloc(1, sizeof(*page));

	(void)state;
	assert_non_null(page);
	assert_int_equal(cfs_grave_unpack(page), 0);
	memset(page, 0xff, sizeof(*page));
	cfs_grave_pack(0x1234, page);
	assert_int_equal(cfs_grave_unpack(page), 0x1234);
	assert_int_equal(page->payload[0], 0x34);
	for (size_t i = 8; i < sizeof(page->payload); i++)
		assert_int_equal(page->payload[i], 0);
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_back),    cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_loan),
		cmocka_unit_test(test_grave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
