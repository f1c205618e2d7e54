/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The label: bytes, damage, what is refused and under which code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/xxh.h"
#include "ondisk/label.h"
#include "ondisk_image.h"

#define MIB     (UINT64_C(1) << 20)
#define AT      UINT64_C(4096)
#define PAYLOAD 64u

static struct cfs_label label_make(void)
{
	struct cfs_label l;

	memset(&l, 0, sizeof(l));
	l.seq = 3;
	image_run(l.pool_uuid, 0x10, 16);
	image_run(l.device_uuid, 0x30, 16);
	strcpy(l.name, "lab");
	l.features_compat = 0x1111;
	l.features_ro_compat = 0x2222;
	l.size_bytes = 64 * MIB;
	l.slice_bytes = MIB;
	l.slices_offset_bytes = MIB;
	l.slice_count = 62;
	l.created_ns = 0x123456789abcdef0;
	l.flags = CFS_POOL_FLAG_MIRROR;
	l.seat_count = 8;
	l.device_index = 5;
	l.device_count = 2;
	l.vote_count = 2;
	image_run(l.hints[0].device_uuid, 0x50, 16);
	strcpy(l.hints[0].path, "/dev/a");
	image_run(l.hints[1].device_uuid, 0x70, 16);
	return l;
}

static const struct image_field FIELDS[] = {
	{ 0, 4, 0x47504643, NULL },
	{ 4, 2, 1, NULL },
	{ 6, 2, 1, NULL },
	{ 8, 8, 3, NULL },
	{ 16, 8, 0x1f1e1d1c1b1a1918, NULL },
	{ 24, 8, 5, NULL },
	{ 32, 8, 4096, NULL },
	{ PAYLOAD + 48, 0, 0, "lab" },
	{ PAYLOAD + 112, 8, 0x1111, NULL },
	{ PAYLOAD + 120, 8, 0x2222, NULL },
	{ PAYLOAD + 136, 8, 64 * MIB, NULL },
	{ PAYLOAD + 144, 8, MIB, NULL },
	{ PAYLOAD + 152, 8, MIB, NULL },
	{ PAYLOAD + 160, 8, 62, NULL },
	{ PAYLOAD + 168, 8, 0x123456789abcdef0, NULL },
	{ PAYLOAD + 176, 4, 1, NULL },
	{ PAYLOAD + 180, 4, 8, NULL },
	{ PAYLOAD + 184, 4, 5, NULL },
	{ PAYLOAD + 188, 4, 2, NULL },
	{ PAYLOAD + 192, 4, 2, NULL },
	{ PAYLOAD + 464, 0, 0, "/dev/a" },
};

static const uint8_t MAGIC[16] = {
	0x93, 'C', 'F', 'S', '\r', '\n', 0x1a, '\n',
	0xa7, 'p', 'o', 'o', 'l',  0x01, 0xe5, 0x5c,
};

static void reseal(struct cfs_page_disk *disk)
{
	disk->csum = le64_put(0);
	disk->csum = le64_put(cfs_xxh3(disk, sizeof(*disk)));
}

static int unpack(const struct cfs_page_disk *disk)
{
	struct cfs_label label;

	return cfs_label_unpack(disk, AT, &label, NULL);
}

/* Pack a label that one thing is wrong with. */
static int judge(const struct cfs_label *l)
{
	struct cfs_page_disk disk;

	cfs_label_pack(l, AT, &disk);
	return unpack(&disk);
}

static void test_bytes(void **state)
{
	struct cfs_label l = label_make();
	struct cfs_page_disk disk;
	uint8_t image[4096];

	(void)state;
	IMAGE_MAKE(image, FIELDS);
	memcpy(image + PAYLOAD, MAGIC, 16);
	image_run(image + PAYLOAD + 16, 0x10, 16);
	image_run(image + PAYLOAD + 32, 0x30, 16);
	image_run(image + PAYLOAD + 448, 0x50, 16);
	image_run(image + PAYLOAD + 448 + 128, 0x70, 16);
	image_put(image, 56, 8, cfs_xxh3(image, 4096));
	memset(&disk, 0xee, sizeof(disk));
	cfs_label_pack(&l, AT, &disk);
	assert_true(image_is_equal(&disk, image, sizeof(image)));
}

static void test_round_trip(void **state)
{
	struct cfs_label l = label_make(), back;
	struct cfs_page_disk disk;

	(void)state;
	cfs_label_pack(&l, AT, &disk);
	memset(&back, 0xee, sizeof(back));
	assert_int_equal(cfs_label_unpack(&disk, AT, &back, NULL), 0);
	assert_true(image_is_equal(back.hints, l.hints, sizeof(l.hints)));
	assert_true(back.seq == 3 && back.slice_count == 62);
	assert_memory_equal(back.pool_uuid, l.pool_uuid, 16);
	assert_memory_equal(back.device_uuid, l.device_uuid, 16);
	assert_string_equal(back.name, "lab");
	assert_true(back.features_compat == 0x1111);
	assert_true(back.features_ro_compat == 0x2222);
	assert_true(back.size_bytes == l.size_bytes);
	assert_true(back.slice_bytes == MIB);
	assert_true(back.slices_offset_bytes == MIB);
	assert_true(back.created_ns == l.created_ns);
	assert_true(back.flags == l.flags && back.seat_count == 8);
	assert_true(back.device_index == 5 && back.device_count == 2);
	assert_int_equal(back.vote_count, 2);
}

static void test_every_bit_counts(void **state)
{
	struct cfs_label l = label_make();
	struct cfs_page_disk disk;
	uint8_t *bytes = (uint8_t *)&disk;

	(void)state;
	cfs_label_pack(&l, AT, &disk);
	for (size_t bit = 0; bit < 4096 * 8; bit++) {
		bool in_magic = bit / 8 >= 64 && bit / 8 < 80;

		bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		assert_int_equal(unpack(&disk),
				 in_magic ? -EMEDIUMTYPE : -EUCLEAN);
		bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	assert_int_equal(unpack(&disk), 0);
}

static void test_other_place(void **state)
{
	struct cfs_label l = label_make(), back;
	struct cfs_page_disk disk;

	(void)state;
	cfs_label_pack(&l, AT, &disk);
	assert_int_equal(cfs_label_unpack(&disk, 32768, &back, NULL), -EUCLEAN);
}

static void test_newer(void **state)
{
	struct cfs_label l = label_make(), back;
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_page_disk disk;

	(void)state;
	cfs_label_pack(&l, AT, &disk);
	disk.version = le16_put(2);
	reseal(&disk);
	assert_int_equal(unpack(&disk), -ENOTSUP);
	l.features_incompat = 0x40;
	l.slice_bytes = 12345; /* may mean something else then */
	cfs_label_pack(&l, AT, &disk);
	assert_int_equal(cfs_label_unpack(&disk, AT, &back, &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "0x40"));
}

#define REFUSED(change)                                                        \
	do {                                                                   \
		struct cfs_label l = label_make();                             \
		change;                                                        \
		assert_int_equal(judge(&l), -EUCLEAN);                         \
	} while (0)

static void test_fields(void **state)
{
	struct cfs_label good = label_make();

	(void)state;
	assert_int_equal(judge(&good), 0);
	REFUSED(l.slice_count = 63); /* into the tail */
	REFUSED(l.slice_count = 0);
	REFUSED(l.slice_count = UINT64_MAX);
	REFUSED(l.slice_bytes = MIB / 2);
	REFUSED(l.slice_bytes = MIB + 1);
	REFUSED(l.slice_bytes = 0);
	REFUSED(l.slice_bytes = MIB << 11);
	REFUSED(l.size_bytes = 0);
	REFUSED(l.size_bytes = 64 * MIB + 1);
	REFUSED(l.size_bytes = 63 * MIB);
	REFUSED(l.size_bytes = UINT64_MAX - 4095);
	REFUSED(l.slices_offset_bytes = 0); /* over the seats */
	REFUSED(l.slices_offset_bytes = MIB + 1);
	REFUSED(l.slices_offset_bytes = UINT64_MAX - 4095);
	REFUSED(l.seat_count = 0);
	REFUSED(l.seat_count = 1000); /* into the slices */
	REFUSED(l.seat_count = UINT32_MAX);
	REFUSED(l.flags = 4);
	REFUSED(l.device_count = 0);
	REFUSED(l.vote_count = 3);
	REFUSED(l.device_index = 65536);
	REFUSED(memset(l.device_uuid, 0, 16));
	REFUSED(memset(l.pool_uuid, 0, 16));
}

/* Fields that pack makes itself. */
static void test_texts_and_header(void **state)
{
	struct cfs_label l = label_make();
	struct cfs_label_payload_disk *p;
	struct cfs_page_disk disk;

	(void)state;
	p = (void *)disk.payload;
	cfs_label_pack(&l, AT, &disk);
	memset(p->name, 'x', sizeof(p->name));
	reseal(&disk);
	assert_int_equal(unpack(&disk), -EUCLEAN);
	cfs_label_pack(&l, AT, &disk);
	memset(p->hints[1].path, 'x', sizeof(p->hints[1].path));
	reseal(&disk);
	assert_int_equal(unpack(&disk), -EUCLEAN);
	/* Behind the end of the list nothing is looked at. */
	cfs_label_pack(&l, AT, &disk);
	memset(p->hints[2].path, 'x', sizeof(p->hints[2].path));
	reseal(&disk);
	assert_int_equal(unpack(&disk), 0);
	cfs_label_pack(&l, AT, &disk);
	disk.owner = le64_put(6);
	reseal(&disk);
	assert_int_equal(unpack(&disk), -EUCLEAN);
	cfs_label_pack(&l, AT, &disk);
	disk.pool_lo = le64_put(6);
	reseal(&disk);
	assert_int_equal(unpack(&disk), -EUCLEAN);
}

static void test_long_texts(void **state)
{
	struct cfs_label l = label_make(), back;
	struct cfs_page_disk disk;

	(void)state;
	memset(l.name, 'n', sizeof(l.name) - 1);
	memset(l.hints[27].path, 'p', sizeof(l.hints[27].path) - 1);
	for (unsigned int i = 0; i < 28; i++)
		l.hints[i].device_uuid[0] = 1;
	cfs_label_pack(&l, AT, &disk);
	assert_int_equal(cfs_label_unpack(&disk, AT, &back, NULL), 0);
	assert_string_equal(back.name, l.name);
	assert_string_equal(back.hints[27].path, l.hints[27].path);
}

static void test_not_ours(void **state)
{
	struct cfs_page_disk disk;

	(void)state;
	memset(&disk, 0, sizeof(disk));
	assert_int_equal(unpack(&disk), -EMEDIUMTYPE);
	memcpy(disk.payload, MAGIC, 16);
	assert_int_equal(unpack(&disk), -EUCLEAN);
}

static const struct CMUnitTest TESTS[] = {
	cmocka_unit_test(test_bytes),
	cmocka_unit_test(test_round_trip),
	cmocka_unit_test(test_every_bit_counts),
	cmocka_unit_test(test_other_place),
	cmocka_unit_test(test_newer),
	cmocka_unit_test(test_fields),
	cmocka_unit_test(test_texts_and_header),
	cmocka_unit_test(test_long_texts),
	cmocka_unit_test(test_not_ours),
};

CMOCKA_MAIN(TESTS)
