/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Numbers that are part of the format: hashes, UUIDs, little-endian, rng. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/le.h"
#include "base/rng.h"
#include "base/uuid.h"
#include "base/xxh.h"

/* Frozen in xxHash 0.8.0; a pool made elsewhere must verify here. */
static void test_xxh3_values(void **state)
{
	uint8_t hash[16];

	(void)state;
	assert_true(cfs_xxh3(NULL, 0) == UINT64_C(0x2d06800538d394c2));
	assert_true(cfs_xxh3_seed("", 0, 0) == cfs_xxh3("", 0));
	assert_true(cfs_xxh3_seed("abc", 3, 1) != cfs_xxh3("abc", 3));
	cfs_xxh3_128("", 0, hash);
	assert_memory_equal(hash,
			    "\x99\xaa\x06\xd3\x01\x47\x98\xd8"
			    "\x60\x01\xc3\x24\x46\x8d\x49\x7f",
			    16);
}

static void test_xxh3_stream(void **state)
{
	struct cfs_xxh3_stream stream;
	struct cfs_rng rng;
	size_t n = 100000, done;
	uint8_t *data = malloc(n);

	(void)state;
	assert_non_null(data);
	cfs_rng_init(&rng, 7);
	cfs_rng_fill(&rng, data, n);
	cfs_xxh3_stream_init(&stream, 5);
	assert_true(cfs_xxh3_stream_end(&stream) == cfs_xxh3_seed("", 0, 5));
	for (done = 0; done < n;) {
		size_t len = (size_t)cfs_rng_below(&rng, 3000);

		len = CFS_MIN(len, n - done);
		cfs_xxh3_stream_update(&stream, data + done, len);
		done += len;
		assert_true(cfs_xxh3_stream_end(&stream) ==
			    cfs_xxh3_seed(data, done, 5));
	}
	free(data);
}

/* At once, wherever it begins, it is the same as piece by piece: the two do not
 * use the same instructions. */
static void test_xxh3_wide(void **state)
{
	struct cfs_rng rng;
	uint8_t data[5000 + 64], hash[16], want[16];

	(void)state;
	cfs_rng_init(&rng, 8);
	cfs_rng_fill(&rng, data, sizeof(data));
	for (size_t n = 0; n <= 5000; n += n < 1100 ? 1 : 37) {
		const uint8_t *p = data + n % 64;
		struct cfs_xxh3_stream stream;

		cfs_xxh3_stream_init(&stream, 0);
		for (size_t done = 0; done < n; done += 100)
			cfs_xxh3_stream_update(&stream, p + done,
					       CFS_MIN(n - done, 100u));
		assert_true(cfs_xxh3(p, n) == cfs_xxh3_stream_end(&stream));
		cfs_xxh3_stream_end_128(&stream, want);
		cfs_xxh3_128(p, n, hash);
		assert_memory_equal(hash, want, 16);
	}
}

static void test_uuid_text(void **state)
{
	static const char text[] = "00112233-4455-6677-8899-aabbccddeeff";
	uint8_t uuid[16], kept[16];
	char back[CFS_UUID_TEXT_BYTES];
	size_t i;

	(void)state;
	assert_int_equal(cfs_uuid_parse(text, uuid), 0);
	for (i = 0; i < 16; i++)
		assert_int_equal(uuid[i], i * 0x11);
	assert_string_equal(cfs_uuid_format(uuid, back), text);
	for (i = 0; back[i]; i++)
		back[i] = (char)toupper(back[i]);
	memset(kept, 0, sizeof(kept));
	assert_int_equal(cfs_uuid_parse(back, kept), 0);
	assert_true(cfs_uuid_is_equal(uuid, kept));
}

static void test_uuid_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"0",
		"00112233-4455-6677-8899-aabbccddeef",
		"00112233-4455-6677-8899-aabbccddeeff0",
		"00112233-4455-6677-8899-aabbccddeefg",
		"00112233445566778899aabbccddeeff",
		"001122334-455-6677-8899-aabbccddeeff",
		" 0112233-4455-6677-8899-aabbccddeeff",
	};
	uint8_t uuid[16] = { 1 }, kept[16] = { 1 };
	size_t i;

	(void)state;
	for (i = 0; i < CFS_ARRAY_COUNT(bad); i++) {
		assert_int_equal(cfs_uuid_parse(bad[i], uuid), -EINVAL);
		assert_true(cfs_uuid_is_equal(uuid, kept));
	}
}

static void test_uuid_new(void **state)
{
	uint8_t a[16] = { 0 }, b[16];

	(void)state;
	assert_true(cfs_uuid_is_null(a));
	assert_int_equal(cfs_uuid_new(a, NULL), 0);
	assert_int_equal(cfs_uuid_new(b, NULL), 0);
	assert_false(cfs_uuid_is_null(a));
	assert_false(cfs_uuid_is_equal(a, b));
	assert_int_equal(a[6] >> 4, 4);
	assert_int_equal(a[8] >> 6, 2);
}

static void test_rng(void **state)
{
	unsigned int seen[7] = { 0 };
	struct cfs_rng a, b;
	uint8_t bytes[13], again[13];
	uint8_t ua[16], ub[16];
	unsigned int i;

	(void)state;
	cfs_rng_init(&a, 0);
	/* The first number of seed 0: other machines must agree. */
	assert_true(cfs_rng_u64(&a) == UINT64_C(0x99ec5f36cb75f2b4));
	cfs_rng_init(&a, 42);
	cfs_rng_init(&b, 42);
	for (i = 0; i < 7000; i++)
		seen[cfs_rng_below(&a, 7)]++;
	for (i = 0; i < 7; i++)
		assert_in_range(seen[i], 850, 1150);
	assert_int_equal(cfs_rng_below(&a, 1), 0);
	cfs_rng_init(&a, 42);
	cfs_rng_fill(&a, bytes, sizeof(bytes));
	cfs_rng_fill(&b, again, sizeof(again));
	assert_memory_equal(bytes, again, sizeof(bytes));
	cfs_uuid_from_rng(&a, ua);
	cfs_uuid_from_rng(&b, ub);
	assert_true(cfs_uuid_is_equal(ua, ub));
	assert_int_equal(cfs_rng_init_random(&a, NULL), 0);
	assert_int_equal(cfs_rng_init_random(&b, NULL), 0);
	assert_true(cfs_rng_u64(&a) != cfs_rng_u64(&b));
}

static void test_le(void **state)
{
	le16 a = le16_put(0x1234);
	le32 b = le32_put(0x12345678);
	le64 c = le64_put(UINT64_C(0x123456789abcdef0));

	(void)state;
	assert_memory_equal(a.b, "\x34\x12", 2);
	assert_memory_equal(b.b, "\x78\x56\x34\x12", 4);
	assert_memory_equal(c.b, "\xf0\xde\xbc\x9a\x78\x56\x34\x12", 8);
	assert_int_equal(le16_get(a), 0x1234);
	assert_int_equal(le32_get(b), 0x12345678);
	assert_true(le64_get(c) == UINT64_C(0x123456789abcdef0));
	assert_int_equal(le16_get(le16_put(0xffff)), 0xffff);
}

static void test_bits(void **state)
{
	(void)state;
	assert_false(cfs_is_pow2(0));
	assert_true(cfs_is_pow2(1));
	assert_false(cfs_is_pow2(6));
	assert_true(cfs_is_pow2(UINT64_C(1) << 63));
	assert_int_equal(cfs_align_down(4097, 4096), 4096);
	assert_int_equal(cfs_align_up(4097, 4096), 8192);
	assert_int_equal(cfs_align_up(4096, 4096), 4096);
	assert_int_equal(cfs_div_up(0, 3), 0);
	assert_int_equal(cfs_div_up(7, 3), 3);
	assert_true(cfs_div_up(UINT64_MAX, 1) == UINT64_MAX);
	assert_true(cfs_range_fits(4, 4, 8));
	assert_false(cfs_range_fits(4, 5, 8));
	assert_false(cfs_range_fits(UINT64_MAX, 2, 8));
	assert_false(cfs_range_fits(2, UINT64_MAX, 8));
	assert_true(cfs_range_fits(8, 0, 8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_xxh3_values),
		cmocka_unit_test(test_xxh3_stream),
		cmocka_unit_test(test_xxh3_wide),
		cmocka_unit_test(test_uuid_text),
		cmocka_unit_test(test_uuid_refused),
		cmocka_unit_test(test_uuid_new),
		cmocka_unit_test(test_rng),
		cmocka_unit_test(test_le),
		cmocka_unit_test(test_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
