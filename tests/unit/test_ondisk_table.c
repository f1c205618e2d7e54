/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Small tables.  For each record: a value made by hand with every field set
 * unpacks and packs to the same bytes; it is refused when cut anywhere and
 * read by its known part when longer; each field that can be nonsense is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ondisk/geometry.h"
#include "ondisk/table.h"
#include "ondisk_image.h"

#define VALUE_BYTES_MAX 512u

struct poke {
	size_t offset;
	unsigned int bytes; /* 0: the end of the list */
	uint64_t value;
	int result;
};

/* Unpacks; on success packs into @again (zeroed) and returns 0. */
typedef int (*turn_fn)(const void *value, size_t value_bytes, uint8_t *again);

struct record {
	const char *name;
	size_t bytes;
	turn_fn turn;
	struct image_field fields[16];
	struct poke pokes[16];
};

#define TURN(x)                                                                \
	static int x##_turn(const void *value, size_t value_bytes,             \
			    uint8_t *again)                                    \
	{                                                                      \
		struct cfs_##x##_rec rec;                                      \
		struct cfs_##x##_rec_disk disk;                                \
		int r = cfs_##x##_rec_unpack(value, value_bytes, &rec, NULL);  \
                                                                               \
		if (r == 0) {                                                  \
			memset(&disk, 0xee, sizeof(disk));                     \
			cfs_##x##_rec_pack(&rec, &disk);                       \
			memcpy(again, &disk, sizeof(disk));                    \
		}                                                              \
		return r;                                                      \
	}
TURN(pool)
TURN(device)
TURN(slice)
TURN(smap)
TURN(container)
TURN(loan)
TURN(retired)
TURN(bad)
TURN(scrub)
TURN(volume)
TURN(branch)
TURN(tombstone)
TURN(orphan)
TURN(snapset)

static int snapshot_turn(const void *value, size_t value_bytes, uint8_t *again)
{
	uint8_t buf[CFS_SNAPSHOT_REC_BYTES_MAX];
	struct cfs_snapshot_rec rec;
	int r = cfs_snapshot_rec_unpack(value, value_bytes, &rec, NULL);

	if (r == 0)
		memcpy(again, buf, cfs_snapshot_rec_pack(&rec, buf));
	return r;
}

#define BIG (UINT64_C(1) << 48)

static const struct record RECORDS[] = {
	{ "pool",
	  136,
	  pool_turn,
	  { { 0, 0, 0, "lab" },
	    { 64, 8, 0x1111, NULL },
	    { 72, 8, 1, NULL },
	    { 80, 8, 2, NULL },
	    { 88, 8, 3, NULL },
	    { 128, 8, 8, NULL } },
	  { { 0, 1, 0, 0 } } },
	{ "device",
	  56,
	  device_turn,
	  { { 0, 8, 0x1112131415161718, NULL },
	    { 8, 8, 0x2122, NULL },
	    { 16, 4, 3, NULL },
	    { 24, 8, 0x3333, NULL },
	    { 32, 8, 0x4444, NULL },
	    { 40, 8, 0x5555, NULL },
	    { 48, 8, 0x6666, NULL } },
	  { { 16, 4, 0, -EUCLEAN },
	    { 16, 4, 4, 0 },
	    { 16, 4, 5, -EUCLEAN },
	    { 32, 8, UINT64_C(1) << 32, -EUCLEAN },
	    { 24, 8, UINT64_MAX, -EUCLEAN },
	    { 40, 8, BIG, -EUCLEAN } } },
	{ "slice",
	  32,
	  slice_turn,
	  { { 0, 4, 1, NULL },
	    { 4, 4, 0x11121314, NULL },
	    { 8, 8, 0x2222, NULL },
	    { 16, 8, 0x3333, NULL },
	    { 24, 4, 2, NULL } },
	  { { 0, 4, 3, 0 },
	    { 0, 4, 4, -EUCLEAN },
	    { 24, 4, 3, -EUCLEAN },
	    { 16, 8, CFS_LSLICE_MAX, 0 },
	    { 16, 8, CFS_LSLICE_MAX + 1, -EUCLEAN } } },
	{ "smap",
	  40,
	  smap_turn,
	  { { 0, 2, 0x1111, NULL },
	    { 2, 2, 1, NULL },
	    { 4, 4, 0x21222324, NULL },
	    { 8, 4, 0x31323334, NULL },
	    { 24, 2, 0x4444, NULL },
	    { 26, 2, 3, NULL },
	    { 28, 4, 0x5555, NULL },
	    { 32, 4, 0x6666, NULL },
	    { 36, 4, 0x7777, NULL } },
	  { { 0, 2, 0xffff, 0 } } },
	{ "container",
	  280,
	  container_turn,
	  { { 0, 8, 0x1112131415161718, NULL },
	    { 8, 8, 0x2122, NULL },
	    { 16, 0, 0, "vm0" },
	    { 144, 4, 1, NULL },
	    { 148, 4, 2, NULL },
	    { 152, 4, 0x3333, NULL },
	    { 156, 4, 0x4444, NULL },
	    { 160, 8, 0x5555, NULL },
	    { 168, 8, 0x6666, NULL },
	    { 176, 8, 0x7777, NULL },
	    { 184, 8, 0x400001, NULL },
	    { 208, 8, 0x400009, NULL },
	    { 216, 8, 0x400001, NULL },
	    { 240, 8, 0x400009, NULL } },
	  { { 16, 1, 0, -EUCLEAN },
	    { 16, 1, '-', -EUCLEAN },
	    { 16, 1, '.', -EUCLEAN },
	    { 17, 1, '/', -EUCLEAN },
	    { 144, 4, 0, -EUCLEAN },
	    { 144, 4, 2, 0 },
	    { 144, 4, 3, -EUCLEAN },
	    { 148, 4, 0, -EUCLEAN },
	    { 148, 4, 3, 0 },
	    { 148, 4, 4, -EUCLEAN } } },
	{ "loan",
	  24,
	  loan_turn,
	  { { 0, 8, 0x1111, NULL },
	    { 8, 8, 0x2222, NULL },
	    { 16, 4, 0x3333, NULL },
	    { 20, 4, 2, NULL } },
	  { { 20, 4, 0, -EUCLEAN }, { 20, 4, 1, 0 }, { 20, 4, 3, -EUCLEAN } } },
	{ "retired",
	  24,
	  retired_turn,
	  { { 0, 8, 0x400001, NULL },
	    { 8, 4, 126, NULL },
	    { 12, 4, 5, NULL },
	    { 16, 4, 77, NULL } },
	  { { 0, 8, 0, -EUCLEAN },
	    { 8, 4, 0, -EUCLEAN },
	    { 12, 4, 4, 0 },
	    { 12, 4, 3, -EUCLEAN },
	    { 12, 4, 6, -EUCLEAN } } },
	{ "bad",
	  48,
	  bad_turn,
	  { { 0, 8, 0x1111, NULL },
	    { 8, 4, 7, NULL },
	    { 12, 4, 2, NULL },
	    { 16, 8, 0x2122232425262728, NULL },
	    { 24, 8, 0x3132333435363738, NULL },
	    { 32, 8, 0x4142434445464748, NULL },
	    { 40, 8, 0x5152535455565758, NULL } },
	  { { 8, 4, 8, -EUCLEAN },
	    { 12, 4, 0, -EUCLEAN },
	    { 12, 4, 3, 0 },
	    { 12, 4, 4, -EUCLEAN } } },
	{ "scrub",
	  64,
	  scrub_turn,
	  { { 0, 8, 1, NULL },
	    { 8, 8, 2, NULL },
	    { 16, 8, 3, NULL },
	    { 24, 8, 4, NULL },
	    { 32, 8, 5, NULL },
	    { 40, 8, 6, NULL },
	    { 48, 8, 7, NULL },
	    { 56, 8, 8, NULL } },
	  { { 0, 8, UINT64_MAX, 0 } } },
	{ "volume",
	  200,
	  volume_turn,
	  { { 0, 0, 0, "c1" },
	    { 128, 4, 2, NULL },
	    { 132, 4, 1, NULL },
	    { 136, 4, 0x1111, NULL },
	    { 144, 8, 0x2222, NULL },
	    { 152, 8, 0x3333, NULL },
	    { 160, 8, 0x4444, NULL },
	    { 168, 8, 0x5555, NULL },
	    { 176, 8, 0x6666, NULL },
	    { 184, 8, 0x7777, NULL },
	    { 192, 8, 0x8888, NULL } },
	  { { 0, 2, 0, 0 },
	    { 0, 1, '-', -EUCLEAN },
	    { 1, 1, ' ', -EUCLEAN },
	    { 128, 4, 0, -EUCLEAN },
	    { 128, 4, 3, -EUCLEAN },
	    { 132, 4, 0, -EUCLEAN },
	    { 132, 4, 4, -EUCLEAN },
	    { 136, 4, 0, -EUCLEAN },
	    { 136, 4, 65536, -EUCLEAN },
	    { 144, 8, BIG, -EUCLEAN },
	    { 184, 8, BIG, -EUCLEAN },
	    { 152, 8, BIG * 4096, 0 },
	    { 152, 8, BIG * 4096 + 1, -EUCLEAN } } },
	{ "branch",
	  64,
	  branch_turn,
	  { { 0, 8, 0x1111, NULL },
	    { 8, 4, 0x2222, NULL },
	    { 12, 4, 1, NULL },
	    { 16, 8, 0x3333, NULL },
	    { 24, 8, 0x4444, NULL },
	    { 32, 8, 0x5555, NULL },
	    { 40, 8, 0x6666, NULL },
	    { 48, 8, 0x7777, NULL },
	    { 56, 8, 0x8888, NULL } },
	  { { 8, 4, 0, 0 },
	    { 8, 4, 65536, -EUCLEAN },
	    { 12, 4, 0, -EUCLEAN },
	    { 12, 4, 3, 0 },
	    { 12, 4, 4, -EUCLEAN },
	    { 16, 8, BIG, -EUCLEAN },
	    { 24, 8, BIG, -EUCLEAN },
	    { 32, 8, BIG, -EUCLEAN } } },
	{ "snapshot",
	  27,
	  snapshot_turn,
	  { { 0, 8, 0x1111, NULL },
	    { 8, 8, 0x2222, NULL },
	    { 16, 2, 1, NULL },
	    { 18, 1, 3, NULL },
	    { 19, 1, 4, NULL },
	    { 20, 0, 0, "s-1note" } },
	  { { 18, 1, 0, -EUCLEAN },
	    { 18, 1, 4, -EUCLEAN },
	    { 18, 1, 255, -EUCLEAN },
	    { 19, 1, 255, -EUCLEAN },
	    { 20, 1, '.', -EUCLEAN },
	    { 21, 1, 0, -EUCLEAN },
	    { 24, 1, 0, -EUCLEAN },
	    { 24, 1, 0xff, 0 },
	    { 8, 8, BIG * 4096 + 1, -EUCLEAN } } },
	{ "tombstone",
	  16,
	  tombstone_turn,
	  { { 0, 8, 0x1111, NULL }, { 8, 8, 0x1112131415161718, NULL } },
	  { { 0, 8, 0, -EUCLEAN },
	    { 0, 8, BIG, 0 },
	    { 0, 8, BIG + 1, -EUCLEAN } } },
	{ "orphan",
	  16,
	  orphan_turn,
	  { { 0, 8, 0x1111, NULL }, { 8, 8, 0x2222, NULL } },
	  { { 0, 8, BIG - 1, 0 }, { 0, 8, BIG, -EUCLEAN } } },
	{ "snapset",
	  16,
	  snapset_turn,
	  { { 0, 8, 0x1111, NULL }, { 8, 4, 0x2222, NULL } },
	  { { 8, 4, 0, -EUCLEAN },
	    { 8, 4, 1, -EUCLEAN },
	    { 8, 4, 2, 0 },
	    { 8, 4, UINT32_MAX, 0 } } },
};

#define RECORD_COUNT (sizeof(RECORDS) / sizeof(RECORDS[0]))

static void record_image(const struct record *rec, uint8_t *image)
{
	size_t count = 0;

	while (count < 16 &&
	       (rec->fields[count].bytes || rec->fields[count].text))
		count++;
	image_make(image, VALUE_BYTES_MAX, rec->fields, count);
}

static void test_bytes(void **state)
{
	uint8_t image[VALUE_BYTES_MAX], again[VALUE_BYTES_MAX];

	(void)state;
	for (size_t i = 0; i < RECORD_COUNT; i++) {
		const struct record *rec = &RECORDS[i];

		record_image(rec, image);
		memset(again, 0, sizeof(again));
		fprintf(stderr, "# %s\n", rec->name);
		assert_int_equal(rec->turn(image, rec->bytes, again), 0);
		assert_true(image_is_equal(again, image, rec->bytes));
	}
}

/* A container's record has grown since. */
static size_t least_bytes(const struct record *rec)
{
	return strcmp(rec->name, "container") == 0 ? CFS_CONTAINER_REC_BYTES_MIN
						   : rec->bytes;
}

/* In a buffer of just that many bytes, so that a sanitizer sees more. */
static void test_lengths(void **state)
{
	uint8_t image[VALUE_BYTES_MAX], again[VALUE_BYTES_MAX];

	(void)state;
	for (size_t i = 0; i < RECORD_COUNT; i++) {
		const struct record *rec = &RECORDS[i];

		record_image(rec, image);
		for (size_t n = 0; n <= rec->bytes + 8; n++) {
			uint8_t *exact = malloc(n ? n : 1);
			int r;

			assert_non_null(exact);
			memcpy(exact, image, n);
			r = rec->turn(exact, n, again);
			free(exact);
			assert_int_equal(r,
					 n < least_bytes(rec) ? -EUCLEAN : 0);
		}
	}
}

static void test_fields(void **state)
{
	uint8_t image[VALUE_BYTES_MAX], again[VALUE_BYTES_MAX];

	(void)state;
	for (size_t i = 0; i < RECORD_COUNT; i++) {
		const struct record *rec = &RECORDS[i];

		for (size_t k = 0; k < 16 && rec->pokes[k].bytes; k++) {
			const struct poke *p = &rec->pokes[k];
			int r;

			record_image(rec, image);
			image_put(image, p->offset, p->bytes, p->value);
			r = rec->turn(image, rec->bytes, again);
			if (r != p->result)
				fprintf(stderr, "# %s: poke %zu: %d\n",
					rec->name, k, r);
			assert_int_equal(r, p->result);
		}
	}
}

/* Text that fills its field has no NUL; one byte less has. */
static void test_texts(void **state)
{
	static const struct {
		size_t index, offset, bytes;
	} texts[] = { { 0, 0, 64 }, { 4, 16, 128 }, { 9, 0, 128 } };
	uint8_t image[VALUE_BYTES_MAX], again[VALUE_BYTES_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		const struct record *rec = &RECORDS[texts[i].index];

		record_image(rec, image);
		memset(image + texts[i].offset, 'n', texts[i].bytes);
		assert_int_equal(rec->turn(image, rec->bytes, again), -EUCLEAN);
		image[texts[i].offset + texts[i].bytes - 1] = 0;
		assert_int_equal(rec->turn(image, rec->bytes, again), 0);
		assert_true(image_is_equal(again, image, rec->bytes));
	}
}

static void test_longest_snapshot(void **state)
{
	uint8_t buf[CFS_SNAPSHOT_REC_BYTES_MAX];
	struct cfs_snapshot_rec rec, back;
	size_t n;

	(void)state;
	memset(&rec, 0, sizeof(rec));
	memset(rec.name, 'n', 127);
	memset(rec.note, '\n', 255);
	n = cfs_snapshot_rec_pack(&rec, buf);
	assert_int_equal(n, 20 + 127 + 255);
	assert_true(n <= CFS_VALUE_BYTES_MAX);
	assert_int_equal(cfs_snapshot_rec_unpack(buf, n, &back, NULL), 0);
	assert_string_equal(back.name, rec.name);
	assert_string_equal(back.note, rec.note);
}

static void test_names(void **state)
{
	char name[200];

	(void)state;
	assert_true(cfs_name_is_valid("a"));
	assert_true(cfs_name_is_valid("_"));
	assert_true(cfs_name_is_valid("Az0.9_x-"));
	assert_false(cfs_name_is_valid(""));
	assert_false(cfs_name_is_valid("-a"));
	assert_false(cfs_name_is_valid(".a"));
	memset(name, 'n', sizeof(name));
	name[127] = 0;
	assert_true(cfs_name_is_valid(name));
	name[127] = 'n';
	name[128] = 0;
	assert_false(cfs_name_is_valid(name));
	for (int c = 1; c < 256; c++) {
		bool ok = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
			  (c >= 'a' && c <= 'z') || c == '.' || c == '_' ||
			  c == '-';

		name[0] = 'x';
		name[1] = (char)c;
		name[2] = 0;
		assert_int_equal(cfs_name_is_valid(name), ok);
	}
}

static void test_words(void **state)
{
	(void)state;
	assert_true(cfs_table_word(CFS_TABLE_LOAN, 0) == UINT64_C(0x10) << 56);
	assert_true(cfs_table_word(CFS_TABLE_ORPHAN, 7) ==
		    (UINT64_C(0x24) << 56 | 7));
}

static const struct CMUnitTest TESTS[] = {
	cmocka_unit_test(test_bytes),
	cmocka_unit_test(test_lengths),
	cmocka_unit_test(test_fields),
	cmocka_unit_test(test_texts),
	cmocka_unit_test(test_longest_snapshot),
	cmocka_unit_test(test_names),
	cmocka_unit_test(test_words),
};

CMOCKA_MAIN(TESTS)
