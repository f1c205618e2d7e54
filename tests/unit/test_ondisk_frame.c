/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Frames: bytes, chain, checksum, and stepping through records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/xxh.h"
#include "ondisk/frame.h"
#include "ondisk/node.h"
#include "ondisk_image.h"

static const struct cfs_frame FRAME = {
	.log_id = 0x1111,
	.seq = 0x2222,
	.chain = 0x3333,
	.durable_seq = 0x2220,
	.pool_lo = 0x4444,
	.container_id = 0x5555,
	.stamp = 0x6666,
	.epoch = 0x7777,
};

static const struct image_field HEADER[] = {
	{ 0, 4, 0x52464643, NULL },
	{ 4, 2, 1, NULL },
	{ 8, 8, 0x1111, NULL },
	{ 16, 8, 0x2222, NULL },
	{ 24, 8, 0x3333, NULL },
	{ 32, 8, 0x2220, NULL },
	{ 40, 8, 0x4444, NULL },
	{ 48, 8, 0x5555, NULL },
	{ 56, 8, 0x6666, NULL },
	{ 64, 4, 0x7777, NULL },
	{ 68, 4, 2, NULL },  /* blocks */
	{ 72, 4, 16, NULL }, /* record bytes */
	{ 76, 4, 1, NULL },
	{ 80, 4, 1, NULL }, /* inline blocks */
	/* One record: STAMP 0x6667. */
	{ 104, 2, 7, NULL },
	{ 108, 4, 16, NULL },
	{ 112, 8, 0x6667, NULL },
	{ 4096, 0, 0, "inline" },
};

/* The frame of HEADER, sealed. */
static struct cfs_frame small_make(uint8_t *image)
{
	struct cfs_frame f = FRAME;

	image_make(image, 8192, HEADER, sizeof(HEADER) / sizeof(HEADER[0]));
	f.block_count = 2;
	f.record_bytes = 16;
	f.record_count = 1;
	f.inline_count = 1;
	cfs_frame_pack(&f, image);
	return f;
}

static void test_bytes(void **state)
{
	uint8_t image[8192], packed[8192], hash[16];
	struct cfs_frame f;

	(void)state;
	IMAGE_MAKE(image, HEADER);
	cfs_xxh3_128(image, sizeof(image), hash); /* big-endian */
	for (unsigned int i = 0; i < 16; i++)
		image[88 + i] = hash[15 - i];
	memset(packed, 0xee, sizeof(packed));
	f = small_make(packed);
	assert_true(image_is_equal(packed, image, sizeof(image)));
	assert_true(f.csum_lo == image_get(image, 88, 8));
	assert_true(f.csum_lo == UINT64_C(0x681c58e72ae4412a));
}

/* What stood behind the records does not go to the device. */
static void test_padding_is_zeroed(void **state)
{
	uint8_t image[8192], packed[8192];

	(void)state;
	small_make(image);
	small_make(packed);
	memset(packed + 120, 0xee, 4096 - 120);
	{
		struct cfs_frame f = FRAME;

		f.block_count = 2;
		f.record_bytes = 16;
		f.record_count = 1;
		f.inline_count = 1;
		cfs_frame_pack(&f, packed);
	}
	assert_true(image_is_equal(packed, image, sizeof(image)));
}

static void test_verify(void **state)
{
	uint8_t image[8192];
	struct cfs_frame made = small_make(image), f;

	(void)state;
	assert_int_equal(cfs_frame_peek(image, &FRAME, &f, NULL), 0);
	assert_int_equal(f.block_count, 2);
	assert_int_equal(f.record_count, 1);
	assert_true(f.durable_seq == 0x2220 && f.stamp == 0x6666);
	assert_true(f.epoch == 0x7777);
	assert_int_equal(cfs_frame_verify(image, &f, NULL), 0);
	assert_true(f.csum_lo == made.csum_lo);
}

static void test_every_bit_counts(void **state)
{
	uint8_t image[8192];
	struct cfs_frame f;

	(void)state;
	small_make(image);
	for (size_t bit = 0; bit < sizeof(image) * 8; bit++) {
		image[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		if (cfs_frame_peek(image, &FRAME, &f, NULL) == 0 &&
		    f.block_count == 2)
			assert_int_equal(cfs_frame_verify(image, &f, NULL),
					 -EUCLEAN);
		image[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
}

static int peek_poked(size_t offset, unsigned int bytes, uint64_t value)
{
	uint8_t image[8192];
	struct cfs_frame f;

	small_make(image);
	image_put(image, offset, bytes, value);
	return cfs_frame_peek(image, &FRAME, &f, NULL);
}

static void test_peek(void **state)
{
	(void)state;
	assert_int_equal(peek_poked(0, 4, 0), -EUCLEAN);
	assert_int_equal(peek_poked(4, 2, 2), -EUCLEAN);
	assert_int_equal(peek_poked(8, 8, 1), -EUCLEAN);
	assert_int_equal(peek_poked(16, 8, 0x2221), -EUCLEAN);
	assert_int_equal(peek_poked(24, 8, 1), -EUCLEAN);
	assert_int_equal(peek_poked(40, 8, 1), -EUCLEAN);
	assert_int_equal(peek_poked(48, 8, 1), -EUCLEAN);
	assert_int_equal(peek_poked(32, 8, 0x2221), 0);
	assert_int_equal(peek_poked(32, 8, 0x2222), -EUCLEAN);
	assert_int_equal(peek_poked(68, 4, 0), -EUCLEAN);
	assert_int_equal(peek_poked(68, 4, 3), -EUCLEAN);
	assert_int_equal(peek_poked(68, 4, UINT32_MAX), -EUCLEAN);
	assert_int_equal(peek_poked(72, 4, 17), -EUCLEAN);
	assert_int_equal(peek_poked(72, 4, 4096 - 104), 0);
	assert_int_equal(peek_poked(72, 4, 4096 - 96), -EUCLEAN);
	assert_int_equal(peek_poked(72, 4, 0xfffffff8), -EUCLEAN);
	assert_int_equal(peek_poked(76, 4, 3), -EUCLEAN);
	assert_int_equal(peek_poked(80, 4, 0), -EUCLEAN);
	assert_int_equal(peek_poked(80, 4, 0xffffffff), -EUCLEAN);
}

/* 512 blocks are the most, whatever they consist of. */
static void test_largest(void **state)
{
	uint8_t image[8192];
	struct cfs_frame f;

	(void)state;
	small_make(image);
	image_put(image, 68, 4, 512);
	image_put(image, 80, 4, 511);
	assert_int_equal(cfs_frame_peek(image, &FRAME, &f, NULL), 0);
	image_put(image, 68, 4, 513);
	image_put(image, 80, 4, 512);
	assert_int_equal(cfs_frame_peek(image, &FRAME, &f, NULL), -EUCLEAN);
}

/* Sealed, but its records do not add up. */
static int verify_poked(size_t offset, unsigned int bytes, uint64_t value)
{
	uint8_t image[8192], hash[16];
	struct cfs_frame f;

	small_make(image);
	image_put(image, offset, bytes, value);
	memset(image + 88, 0, 16);
	cfs_xxh3_128(image, sizeof(image), hash);
	for (unsigned int i = 0; i < 16; i++)
		image[88 + i] = hash[15 - i];
	assert_int_equal(cfs_frame_peek(image, &FRAME, &f, NULL), 0);
	return cfs_frame_verify(image, &f, NULL);
}

static void test_records_add_up(void **state)
{
	(void)state;
	assert_int_equal(verify_poked(108, 4, 16), 0);
	assert_int_equal(verify_poked(108, 4, 8), -EUCLEAN);
	assert_int_equal(verify_poked(108, 4, 0), -EUCLEAN);
	assert_int_equal(verify_poked(108, 4, 24), -EUCLEAN);
	assert_int_equal(verify_poked(108, 4, 0xfffffff8), -EUCLEAN);
	assert_int_equal(verify_poked(76, 4, 2), -EUCLEAN);
	assert_int_equal(verify_poked(76, 4, 0), -EUCLEAN);
}

/* ------------------------------------------------------------- records */

static const uint8_t VALUE[11] = "abcdefghij";
static const uint64_t CSUMS[3] = { 0xa1, 0xa2, 0xa3 };

static const struct cfs_rec RECS[] = {
	{ .type = CFS_REC_SET,
	  .tree_id = 1,
	  .key = { 1, 2, 3 },
	  .value = VALUE,
	  .value_bytes = 11 },
	{ .type = CFS_REC_DEL, .tree_id = 8, .key = { 4, 5, 6 } },
	{ .type = CFS_REC_META,
	  .branch = 0x1122,
	  .ino = 0x334455667788,
	  .class_off = UINT64_C(2) << 60 | 0x99,
	  .stamp = 0x777,
	  .seq = 0x88,
	  .value = VALUE,
	  .value_bytes = 8 },
	{ .type = CFS_REC_META,
	  .flags = CFS_REC_META_DELETE,
	  .ino = 1,
	  .class_off = UINT64_C(1) << 60,
	  .stamp = 1 },
	{ .type = CFS_REC_EXTENT,
	  .branch = 0x1122,
	  .ino = 0x334455667788,
	  .offset = 0x10,
	  .count = 3,
	  .stamp = 0x777,
	  .seq = 0x88,
	  .vaddr = 0x400020 },
	{ .type = CFS_REC_INLINE,
	  .branch = 1,
	  .ino = 2,
	  .offset = 3,
	  .count = 2,
	  .stamp = 4,
	  .seq = 5 },
	{ .type = CFS_REC_PUNCH,
	  .branch = 1,
	  .ino = 2,
	  .offset = 0,
	  .count = UINT64_C(1) << 48,
	  .stamp = 4,
	  .seq = 6 },
	{ .type = CFS_REC_STAMP, .stamp = 0xffffffffffff },
};
#define REC_COUNT (sizeof(RECS) / sizeof(RECS[0]))

static void all_append(struct cfs_buf *buf)
{
	for (size_t i = 0; i < REC_COUNT; i++)
		assert_int_equal(cfs_rec_append(buf, &RECS[i], CSUMS, 1, NULL),
				 0);
}

/* Every kind, byte by byte. */
static void test_record_bytes(void **state)
{
	static const struct image_field fields[] = {
		{ 0, 2, 1, NULL },
		{ 4, 4, 56, NULL },
		{ 8, 4, 1, NULL },
		{ 12, 4, 11, NULL },
		{ 16, 8, 1, NULL },
		{ 24, 8, 2, NULL },
		{ 32, 8, 3, NULL },
		{ 40, 0, 0, "abcdefghij" },
		{ 56, 2, 2, NULL },
		{ 60, 4, 40, NULL },
		{ 64, 4, 8, NULL },
		{ 72, 8, 4, NULL },
		{ 80, 8, 5, NULL },
		{ 88, 8, 6, NULL },
		{ 96, 2, 3, NULL },
		{ 100, 4, 48, NULL },
		{ 104, 8, 0x1122334455667788, NULL },
		{ 112, 8, 0x2000000000000099, NULL },
		{ 120, 8, 0x7770088, NULL },
		{ 128, 4, 8, NULL },
		{ 136, 0, 0, "abcdefgh" },
		{ 144, 2, 3, NULL },
		{ 146, 2, 1, NULL },
		{ 148, 4, 40, NULL },
		{ 152, 8, 1, NULL },
		{ 160, 8, 0x1000000000000000, NULL },
		{ 168, 8, 0x10000, NULL },
		{ 184, 2, 4, NULL },
		{ 188, 4, 72, NULL },
		{ 192, 8, 0x1122334455667788, NULL },
		{ 200, 8, 0x10, NULL },
		{ 208, 8, 3, NULL },
		{ 216, 8, 0x7770088, NULL },
		{ 224, 8, 0x400020, NULL },
		{ 232, 8, 0xa1, NULL },
		{ 240, 8, 0xa2, NULL },
		{ 248, 8, 0xa3, NULL },
		{ 256, 2, 5, NULL },
		{ 260, 4, 48, NULL },
		{ 264, 8, 0x1000000000002, NULL },
		{ 272, 8, 3, NULL },
		{ 280, 8, 2, NULL },
		{ 288, 8, 0x40005, NULL },
		{ 296, 8, 1, NULL },
		{ 304, 2, 6, NULL },
		{ 308, 4, 48, NULL },
		{ 312, 8, 0x1000000000002, NULL },
		{ 328, 8, UINT64_C(1) << 48, NULL },
		{ 336, 8, 0x40006, NULL },
		{ 352, 2, 7, NULL },
		{ 356, 4, 16, NULL },
		{ 360, 8, 0xffffffffffff, NULL },
	};
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	uint8_t image[368];

	(void)state;
	IMAGE_MAKE(image, fields);
	all_append(&buf);
	assert_int_equal(buf.bytes, sizeof(image));
	assert_true(image_is_equal(buf.data, image, sizeof(image)));
}

static uint8_t *frame_of(const struct cfs_buf *buf, struct cfs_frame *f,
			 uint32_t count)
{
	uint8_t *image = calloc(4, 4096);

	assert_non_null(image);
	*f = FRAME;
	f->block_count = 4;
	f->record_bytes = (uint32_t)buf->bytes;
	f->record_count = count;
	f->inline_count = 3;
	memcpy(image + 104, buf->data, buf->bytes);
	cfs_frame_pack(f, image);
	assert_int_equal(cfs_frame_verify(image, f, NULL), 0);
	return image;
}

static void rec_is_equal(const struct cfs_rec *a, const struct cfs_rec *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->tree_id, b->tree_id);
	assert_memory_equal(a->key, b->key, sizeof(a->key));
	assert_int_equal(a->value_bytes, b->value_bytes);
	if (b->value_bytes)
		assert_memory_equal(a->value, b->value, b->value_bytes);
	assert_true(a->ino == b->ino && a->branch == b->branch);
	assert_true(a->class_off == b->class_off);
	assert_true(a->offset == b->offset && a->count == b->count);
	assert_true(a->stamp == b->stamp && a->seq == b->seq);
	assert_true(a->vaddr == b->vaddr);
}

static void test_records_round_trip(void **state)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_freep) uint8_t *image = NULL;
	struct cfs_frame f;
	struct cfs_rec rec;
	uint32_t pos = 0;

	(void)state;
	all_append(&buf);
	image = frame_of(&buf, &f, REC_COUNT);
	for (size_t i = 0; i < REC_COUNT; i++) {
		assert_int_equal(cfs_frame_next(image, &f, &pos, &rec, NULL),
				 1);
		rec_is_equal(&rec, &RECS[i]);
		if (rec.type == CFS_REC_EXTENT)
			assert_true(image_get(rec.csums, 16, 8) == 0xa3);
		if (rec.type == CFS_REC_INLINE)
			assert_ptr_equal(rec.data, image + (1 + 1) * 4096);
	}
	assert_int_equal(cfs_frame_next(image, &f, &pos, &rec, NULL), 0);
	assert_int_equal(cfs_frame_next(image, &f, &pos, &rec, NULL), 0);
}

/* Change a field of record @index in a sound frame, step up to it. */
static int rec_poked(size_t index, size_t offset, unsigned int bytes,
		     uint64_t value)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_freep) uint8_t *image = NULL;
	uint32_t pos = 0;
	struct cfs_frame f;
	struct cfs_rec rec;
	int r = 1;

	all_append(&buf);
	image = frame_of(&buf, &f, REC_COUNT);
	for (size_t i = 0; i <= index && r == 1; i++) {
		if (i == index)
			image_put(image + 104 + pos, offset, bytes, value);
		r = cfs_frame_next(image, &f, &pos, &rec, NULL);
	}
	return r;
}

static void test_records_refused(void **state)
{
	static const struct {
		size_t index, offset;
		unsigned int bytes;
		uint64_t value;
	} bad[] = {
		{ 0, 0, 2, 0 },
		{ 0, 0, 2, 8 }, /* no such type */
		{ 0, 4, 4, 0 },
		{ 0, 4, 4, 7 }, /* length */
		{ 0, 4, 4, 8 },
		{ 0, 4, 4, 48 },
		{ 0, 4, 4, 0xfffffff8 },
		{ 0, 8, 4, 0 },
		{ 0, 8, 4, 9 }, /* tree */
		{ 0, 12, 4, 17 },
		{ 0, 12, 4, 8 }, /* value */
		{ 0, 12, 4, UINT32_MAX },
		{ 1, 12, 4, 1 }, /* DEL with a value */
		{ 2, 32, 4, 9 },
		{ 2, 32, 4, 0xffffffff },
		{ 2, 16, 8, 0 },
		{ 2, 16, 8, UINT64_C(15) << 60 },
		{ 3, 32, 4, 1 },
		{ 4, 24, 8, 0 },
		{ 4, 24, 8, 2 },
		{ 4, 24, 8, 4 },
		{ 4, 24, 8, UINT64_C(1) << 61 }, /* times 8: 0 */
		{ 4, 16, 8, UINT64_MAX },
		{ 4, 16, 8, UINT64_C(1) << 48 },
		{ 4, 40, 8, 0 },
		{ 4, 40, 8, 0x7ffffe },
		{ 4, 40, 8, UINT64_C(1) << 48 | 1 },
		{ 5, 24, 8, 0 },
		{ 5, 24, 8, 3 },
		{ 5, 40, 8, 2 },
		{ 5, 40, 8, UINT64_MAX },
		{ 5, 24, 8, UINT64_MAX },
		{ 6, 40, 8, 1 },
		{ 6, 24, 8, 0 },
		{ 6, 16, 8, 1 },
		{ 7, 8, 8, UINT64_C(1) << 48 },
		{ 7, 4, 4, 8 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int r = rec_poked(bad[i].index, bad[i].offset, bad[i].bytes,
				  bad[i].value);

		if (r != -EUCLEAN)
			fprintf(stderr, "# case %zu: %d\n", i, r);
		assert_int_equal(r, -EUCLEAN);
	}
	assert_int_equal(rec_poked(5, 40, 8, 0), 1);
	assert_int_equal(rec_poked(4, 40, 8, 0x7ffffd), 1);
}

/* The largest EXTENT that a frame can hold, and what comes out of it. */
static void test_long_extent(void **state)
{
	static const uint64_t csums[1000] = { [0] = 1, [999] = 0xabc };
	struct cfs_rec rec = { .type = CFS_REC_EXTENT,
			       .ino = 1,
			       .count = 1000,
			       .stamp = 1,
			       .vaddr = 0x400020 };
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_freep) uint8_t *image = NULL;
	struct cfs_frame f = FRAME;
	struct cfs_rec back;
	uint32_t pos = 0;

	(void)state;
	assert_int_equal(cfs_rec_append(&buf, &rec, csums, 0, NULL), 0);
	assert_int_equal(buf.bytes, 48 + 8000);
	f.block_count = 2;
	f.record_bytes = (uint32_t)buf.bytes;
	f.record_count = 1;
	image = calloc(2, 4096);
	assert_non_null(image);
	memcpy(image + 104, buf.data, buf.bytes);
	cfs_frame_pack(&f, image);
	assert_int_equal(cfs_frame_verify(image, &f, NULL), 0);
	assert_int_equal(cfs_frame_next(image, &f, &pos, &back, NULL), 1);
	assert_true(back.count == 1000);
	assert_true(image_get(back.csums, 8 * 999, 8) == 0xabc);
}

static const struct CMUnitTest TESTS[] = {
	cmocka_unit_test(test_bytes),
	cmocka_unit_test(test_padding_is_zeroed),
	cmocka_unit_test(test_verify),
	cmocka_unit_test(test_every_bit_counts),
	cmocka_unit_test(test_peek),
	cmocka_unit_test(test_largest),
	cmocka_unit_test(test_records_add_up),
	cmocka_unit_test(test_record_bytes),
	cmocka_unit_test(test_records_round_trip),
	cmocka_unit_test(test_records_refused),
	cmocka_unit_test(test_long_extent),
};

CMOCKA_MAIN(TESTS)
