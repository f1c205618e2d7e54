/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Seats and slice headers: bytes, and fields that make no sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "ondisk/seat.h"
#include "ondisk/slice_header.h"
#include "ondisk_image.h"

#define P 64u /* the payload's offset in the page */

static const struct image_field SEAT_FIELDS[] = {
	{ P + 32, 0, 0, "host" },
	{ P + 96, 0, 0, "unix:/run/x" },
	{ P + 352, 4, 1, NULL },
	{ P + 356, 4, 0x0a0b0c0d, NULL },
	{ P + 360, 8, 0x1111, NULL },
	{ P + 368, 8, 0x2222, NULL },
	{ P + 376, 8, 0x3333, NULL },
	{ P + 384, 8, 0x4444, NULL },
	{ P + 392, 8, 0x5555, NULL },
	{ P + 400, 4, 0x6666, NULL },
	{ P + 404, 4, 0x7777, NULL },
	/* roots[1] at 408 + 40 */
	{ P + 448, 4, 9, NULL },
	{ P + 452, 4, 1, NULL },
	{ P + 456, 8, 0x10000, NULL },
	{ P + 464, 8, 0x20000, NULL },
	{ P + 472, 8, 0x400003, NULL },
	{ P + 480, 8, 0x400004, NULL },
	/* absent[1] at 568 + 16 */
	{ P + 584, 4, 0x88, NULL },
	{ P + 588, 4, 0x99, NULL },
	{ P + 592, 8, 0xaaaa, NULL },
	{ P + 824, 4, 2, NULL },
	{ P + 832, 4, 0xbbbb, NULL },
	{ P + 840, 8, 0xcccc, NULL },
	{ P + 968, 4, 5, NULL },
	{ P + 972, 4, 1, NULL },
	{ P + 976, 8, 0x30000, NULL },
	{ P + 984, 8, 0x40000, NULL },
	{ P + 992, 8, 0x500003, NULL },
	{ P + 1000, 8, 0x500004, NULL },
	{ P + 1008, 8, 0xdddd, NULL },
};

static struct cfs_seat seat_make(void)
{
	struct cfs_seat s;

	memset(&s, 0, sizeof(s));
	image_run(s.instance_uuid, 0x10, 16);
	image_run(s.boot_id, 0x30, 16);
	strcpy(s.host, "host");
	strcpy(s.address, "unix:/run/x");
	s.state = CFS_SEAT_OPEN;
	s.epoch = 0x0a0b0c0d;
	s.pid = 0x1111;
	s.process_start = 0x2222;
	s.opened_ns = 0x3333;
	s.ballot_seen = 0x4444;
	s.ballot_accepted = 0x5555;
	s.ballot_epoch = 0x6666;
	s.ballot_seat = 0x7777;
	s.roots[1].is_used = true;
	s.roots[1].device_index = 9;
	s.roots[1].slot_bytes[0] = 0x10000;
	s.roots[1].slot_bytes[1] = 0x20000;
	s.roots[1].vaddr[0] = 0x400003;
	s.roots[1].vaddr[1] = 0x400004;
	s.absent[1].device_index = 0x88;
	s.absent[1].epoch = 0x99;
	s.absent[1].stamp = 0xaaaa;
	s.absent_count = 2;
	s.base_epoch = 0xbbbb;
	s.period_ns = 0xcccc;
	s.silent_ns = 0xdddd;
	s.plan[3].is_used = true;
	s.plan[3].device_index = 5;
	s.plan[3].slot_bytes[0] = 0x30000;
	s.plan[3].slot_bytes[1] = 0x40000;
	s.plan[3].vaddr[0] = 0x500003;
	s.plan[3].vaddr[1] = 0x500004;
	return s;
}

static void test_seat_bytes(void **state)
{
	struct cfs_seat s = seat_make(), back;
	struct cfs_page_disk disk;
	uint8_t image[4096];

	(void)state;
	IMAGE_MAKE(image, SEAT_FIELDS);
	image_run(image + P, 0x10, 16);
	image_run(image + P + 16, 0x30, 16);
	memset(&disk, 0xee, sizeof(disk));
	cfs_seat_pack(&s, &disk);
	assert_true(image_is_equal(disk.payload, image + P, 4032));
	assert_int_equal(cfs_seat_unpack(&disk, &back, NULL), 0);
	assert_memory_equal(back.instance_uuid, s.instance_uuid, 16);
	assert_memory_equal(back.boot_id, s.boot_id, 16);
	assert_string_equal(back.host, "host");
	assert_string_equal(back.address, "unix:/run/x");
	assert_true(back.state == s.state && back.epoch == s.epoch);
	assert_true(back.pid == s.pid && back.opened_ns == s.opened_ns);
	assert_true(back.process_start == s.process_start);
	assert_true(back.ballot_seen == s.ballot_seen);
	assert_true(back.ballot_accepted == s.ballot_accepted);
	assert_true(back.ballot_epoch == s.ballot_epoch);
	assert_true(back.ballot_seat == s.ballot_seat);
	assert_false(back.roots[0].is_used);
	assert_true(back.roots[1].is_used);
	assert_int_equal(back.roots[1].device_index, 9);
	assert_memory_equal(back.roots[1].slot_bytes, s.roots[1].slot_bytes,
			    16);
	assert_memory_equal(back.roots[1].vaddr, s.roots[1].vaddr, 16);
	assert_int_equal(back.absent_count, 2);
	assert_true(back.absent[1].stamp == 0xaaaa);
	assert_true(back.absent[1].device_index == 0x88);
	assert_true(back.absent[1].epoch == 0x99);
}

static int seat_poked(size_t offset, unsigned int bytes, uint64_t value)
{
	struct cfs_seat s = seat_make(), back;
	struct cfs_page_disk disk;

	cfs_seat_pack(&s, &disk);
	image_put(disk.payload, offset, bytes, value);
	return cfs_seat_unpack(&disk, &back, NULL);
}

static void test_seat_fields(void **state)
{
	struct cfs_seat s = seat_make(), back;
	struct cfs_page_disk disk;

	(void)state;
	assert_int_equal(seat_poked(352, 4, 0), 0);
	assert_int_equal(seat_poked(352, 4, 2), 0);
	assert_int_equal(seat_poked(352, 4, 3), 0);
	assert_int_equal(seat_poked(352, 4, 4), -EUCLEAN);
	assert_int_equal(seat_poked(852, 4, 2), -EUCLEAN);
	assert_int_equal(seat_poked(824, 4, 16), 0);
	assert_int_equal(seat_poked(824, 4, 17), -EUCLEAN);
	assert_int_equal(seat_poked(828, 4, 1), 0);
	assert_int_equal(seat_poked(828, 4, 2), -EUCLEAN);
	assert_int_equal(seat_poked(824, 4, UINT32_MAX), -EUCLEAN);
	assert_int_equal(seat_poked(452, 4, 2), -EUCLEAN);
	assert_int_equal(seat_poked(456, 8, 0x10001), -EUCLEAN);
	cfs_seat_pack(&s, &disk);
	memset(disk.payload + 32, 'h', 64);
	assert_int_equal(cfs_seat_unpack(&disk, &back, NULL), -EUCLEAN);
	cfs_seat_pack(&s, &disk);
	memset(disk.payload + 96, 'a', 256);
	assert_int_equal(cfs_seat_unpack(&disk, &back, NULL), -EUCLEAN);
	/* Never written: free, and no error. */
	memset(&disk, 0, sizeof(disk));
	assert_int_equal(cfs_seat_unpack(&disk, &back, NULL), 0);
	assert_int_equal(back.state, CFS_SEAT_FREE);
}

static const struct image_field HEADER_FIELDS[] = {
	{ 32, 8, 0x1111, NULL },   { 40, 8, 0x2222, NULL },
	{ 48, 8, 0x400000, NULL }, { 56, 8, 0x3333, NULL },
	{ 64, 4, 1, NULL },        { 68, 4, 1, NULL },
	{ 72, 4, 2, NULL },
};

static struct cfs_slice_header header_make(void)
{
	struct cfs_slice_header h;

	memset(&h, 0, sizeof(h));
	image_run(h.container_uuid, 0x10, 16);
	image_run(h.device_uuid, 0x30, 16);
	h.container_id = 0x1111;
	h.lslice = 0x2222;
	h.slice_bytes = 0x400000;
	h.slice_index = 0x3333;
	h.state = CFS_SLICE_OWNED;
	h.piece = 1;
	h.piece_count = 2;
	return h;
}

static void test_header_bytes(void **state)
{
	struct cfs_slice_header h = header_make(), back;
	struct cfs_page_disk disk;
	uint8_t image[4032];

	(void)state;
	IMAGE_MAKE(image, HEADER_FIELDS);
	image_run(image, 0x10, 16);
	image_run(image + 16, 0x30, 16);
	memset(&disk, 0xee, sizeof(disk));
	cfs_slice_header_pack(&h, &disk);
	assert_true(image_is_equal(disk.payload, image, sizeof(image)));
	memset(&back, 0, sizeof(back));
	assert_int_equal(cfs_slice_header_unpack(&disk, &back, NULL), 0);
	assert_memory_equal(back.container_uuid, h.container_uuid, 16);
	assert_memory_equal(back.device_uuid, h.device_uuid, 16);
	assert_true(back.container_id == h.container_id);
	assert_true(back.lslice == h.lslice);
	assert_true(back.slice_bytes == h.slice_bytes);
	assert_true(back.slice_index == h.slice_index);
	assert_true(back.state == h.state && back.piece == h.piece);
	assert_true(back.piece_count == h.piece_count);
}

static int header_poked(size_t offset, unsigned int bytes, uint64_t value)
{
	struct cfs_slice_header h = header_make(), back;
	struct cfs_page_disk disk;

	cfs_slice_header_pack(&h, &disk);
	image_put(disk.payload, offset, bytes, value);
	return cfs_slice_header_unpack(&disk, &back, NULL);
}

static void test_header_fields(void **state)
{
	(void)state;
	assert_int_equal(header_poked(64, 4, 2), -EUCLEAN);
	assert_int_equal(header_poked(40, 8, 0x3ffffff), 0);
	assert_int_equal(header_poked(40, 8, 0x4000000), -EUCLEAN);
	assert_int_equal(header_poked(48, 8, 0x400001), -EUCLEAN);
	assert_int_equal(header_poked(48, 8, 0x80000), -EUCLEAN);
	assert_int_equal(header_poked(48, 8, UINT64_C(1) << 31), -EUCLEAN);
	assert_int_equal(header_poked(56, 8, UINT64_C(1) << 32), -EUCLEAN);
	assert_int_equal(header_poked(68, 4, 2), -EUCLEAN);
	assert_int_equal(header_poked(72, 4, 4), -EUCLEAN);
}

static const struct CMUnitTest TESTS[] = {
	cmocka_unit_test(test_seat_bytes),
	cmocka_unit_test(test_seat_fields),
	cmocka_unit_test(test_header_bytes),
	cmocka_unit_test(test_header_fields),
};

CMOCKA_MAIN(TESTS)
