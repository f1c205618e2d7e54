/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Records of delegations, and what a secondary is told: what was packed comes
 * back, what cannot be is seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "volume/pool_delegate.h"

static struct cfs_delegation_rec sample(void)
{
	struct cfs_delegation_rec rec;

	memset(&rec, 0, sizeof(rec));
	memset(rec.who.instance, 0xab, sizeof(rec.who.instance));
	memset(rec.who.boot_id, 0xcd, sizeof(rec.who.boot_id));
	strcpy(rec.who.host, "a host");
	rec.who.pid = 17;
	rec.who.process_start = 99;
	rec.state = CFS_DELEGATION_SEALED;
	rec.by_epoch = 5;
	rec.since_ns = 1000;
	rec.has_clients = true;
	strcpy(rec.address, "unix:/run/cfs/x.sock");
	return rec;
}

static void test_record(void **state)
{
	const struct cfs_delegation_rec rec = sample();
	struct cfs_delegation_rec_disk disk;
	struct cfs_delegation_rec got;
	uint8_t longer[sizeof(disk) + 3] = { 0 };

	(void)state;
	cfs_delegation_rec_pack(&rec, &disk);
	assert_int_equal(
		cfs_delegation_rec_unpack(&disk, sizeof(disk), &got, NULL), 0);
	assert_memory_equal(&got, &rec, sizeof(rec));
	/* The layout is what cfs(5) says. */
	assert_int_equal(((uint8_t *)&disk)[96], 17);
	assert_int_equal(((uint8_t *)&disk)[112], CFS_DELEGATION_SEALED);
	assert_int_equal(((uint8_t *)&disk)[128], 1);
	assert_memory_equal((uint8_t *)&disk + 136, "unix:", 5);
	memcpy(longer, &disk, sizeof(disk));
	assert_int_equal(
		cfs_delegation_rec_unpack(longer, sizeof(longer), &got, NULL),
		0);
	assert_int_equal(
		cfs_delegation_rec_unpack(&disk, sizeof(disk) - 1, &got, NULL),
		-EUCLEAN);
	disk.state = le32_put(4);
	assert_int_equal(
		cfs_delegation_rec_unpack(&disk, sizeof(disk), &got, NULL),
		-EUCLEAN);
	cfs_delegation_rec_pack(&rec, &disk);
	memset(disk.address, 'x', sizeof(disk.address));
	assert_int_equal(
		cfs_delegation_rec_unpack(&disk, sizeof(disk), &got, NULL),
		-EUCLEAN);
}

static struct cfs_pool_grant sample_grant(void)
{
	struct cfs_pool_grant g = {
		.container = 7,
		.epoch = CFS_EPOCH_DELEGATED | 9,
		.rec = { .name = "vm",
			 .kind = CFS_VOLUME_LUN,
			 .state = CFS_OBJECT_LIVE,
			 .epoch = CFS_EPOCH_DELEGATED | 9 },
		.pool = { .name = "p", .next_container = 10 },
		.slices = { .free_slices = 3, .total_slices = 4 },
	};
	const struct cfs_device_rec dev = { .state = CFS_DEVICE_OK,
					    .slice_count = 4 };
	struct cfs_lent_slice s = { .lslice = 1 };

	s.pieces[0] = (struct cfs_piece){ .flags = CFS_PIECE_USED,
					  .slice_index = 2,
					  .generation = 1 };
	assert_int_equal(cfs_vec_push(&g.devices, dev), 0);
	assert_int_equal(cfs_vec_push(&g.slices.list, s), 0);
	return g;
}

static void test_grant(void **state)
{
	struct cfs_pool_grant g = sample_grant(), got;
	struct cfs_buf buf = CFS_BUF_INIT;

	(void)state;
	assert_int_equal(cfs_pool_grant_pack(&g, &buf), 0);
	assert_int_equal(cfs_pool_grant_unpack(buf.data, buf.bytes, &got, NULL),
			 0);
	assert_int_equal(got.container, 7);
	assert_int_equal(got.epoch, g.epoch);
	assert_string_equal(got.rec.name, "vm");
	assert_int_equal(got.devices.count, 1);
	assert_int_equal(got.slices.list.count, 1);
	assert_int_equal(got.slices.list.items[0].pieces[0].slice_index, 2);
	assert_int_equal(got.slices.total_slices, 4);
	cfs_pool_grant_donep(&got);
	/* Any other length, and an epoch that is no delegation's. */
	for (size_t n = 0; n < buf.bytes; n++)
		assert_int_equal(cfs_pool_grant_unpack(buf.data, n, &got, NULL),
				 -EUCLEAN);
	buf.bytes = 0;
	g.epoch = g.rec.epoch = 9;
	assert_int_equal(cfs_pool_grant_pack(&g, &buf), 0);
	assert_int_equal(cfs_pool_grant_unpack(buf.data, buf.bytes, &got, NULL),
			 -EUCLEAN);
	cfs_pool_grant_donep(&g);
	cfs_buf_donep(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_grant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
