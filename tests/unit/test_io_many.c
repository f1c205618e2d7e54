/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Many reads with one call: each has its own result, whatever the way below
 * does of them at a time; a way that cannot do many does one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bits.h"
#include "session/io_ops.h"

#include <string.h>

#define PARTS 70u

/* Offsets are numbers of parts here. */
struct way {
	struct cfs_io_volume v;
	uint64_t size_bytes;
	size_t at_once; /* as many in front are done; 0: none */
	uint64_t bad;   /* with one from which on all are */
	unsigned int calls, singles;
};

static int code_of(const struct way *w, uint64_t part)
{
	return part < w->bad ? 0 : part == w->bad ? -EUCLEAN : -EIO;
}

static size_t way_many(struct cfs_io_volume *v, const struct cfs_io_span *span)
{
	struct way *w = (struct way *)v;
	const struct cfs_io_part *parts = span->parts;
	size_t n = CFS_MIN(span->count, w->at_once);

	assert_true(span->count > 1 && span->count <= CFS_IO_PARTS_MAX);
	assert_int_equal(span->from_bytes, parts[0].offset_bytes);
	assert_int_equal(span->to_bytes, parts[0].offset_bytes + span->count);
	w->calls++;
	if (parts[0].offset_bytes + n > w->bad)
		n = w->bad - CFS_MIN(w->bad, parts[0].offset_bytes);
	for (size_t i = 0; i < n; i++)
		*(uint8_t *)parts[i].buf = 1;
	return n;
}

static uint64_t way_size(const struct cfs_io_volume *v)
{
	return ((const struct way *)v)->size_bytes;
}

static int way_one(struct cfs_io_volume *v, uint64_t offset_bytes, void *buf,
		   size_t length_bytes, size_t *ret_good_bytes,
		   struct cfs_err *err)
{
	struct way *w = (struct way *)v;

	(void)ret_good_bytes;
	assert_int_equal(length_bytes, 1);
	w->singles++;
	if (offset_bytes >= w->bad)
		return cfs_err_set(err, code_of(w, offset_bytes), "part %d",
				   (int)offset_bytes);
	*(uint8_t *)buf = 1;
	return 0;
}

static const struct cfs_io_ops ops_many = {
	.size_bytes = way_size,
	.read = way_one,
	.read_many = way_many,
};
static const struct cfs_io_ops ops_one = {
	.size_bytes = way_size,
	.read = way_one,
};

static void run(struct way *w, int want, const char *why)
{
	struct cfs_io_part parts[PARTS];
	struct cfs_err err = CFS_ERR_INIT;
	uint8_t buf[PARTS] = { 0 };

	for (size_t i = 0; i < PARTS; i++)
		parts[i] = (struct cfs_io_part){
			.offset_bytes = i,
			.buf = &buf[i],
			.length_bytes = 1,
			.result = 42,
		};
	w->calls = w->singles = 0;
	assert_int_equal(cfs_io_read_many(&w->v, parts, PARTS, &err), want);
	assert_string_equal(err.msg, why);
	for (size_t i = 0; i < PARTS; i++) {
		assert_int_equal(parts[i].result, code_of(w, i));
		assert_int_equal(buf[i], i < w->bad);
	}
}

static void test_at_once(void **state)
{
	struct way w = {
		.v = { .ops = &ops_many, .kind = CFS_VOLUME_LUN },
		.size_bytes = PARTS,
		.at_once = CFS_IO_PARTS_MAX,
		.bad = PARTS,
	};

	(void)state;
	assert_true(cfs_io_reads_many(&w.v));
	run(&w, 0, "");
	assert_int_equal(w.calls, cfs_div_up(PARTS, CFS_IO_PARTS_MAX));
	assert_int_equal(w.singles, 0);
	/* Some of them: the next call begins behind those. */
	w.at_once = 10;
	run(&w, 0, "");
	assert_int_equal(w.calls, 7);
	assert_int_equal(w.singles, 0);
	/* What may lie outside is for a read by itself to say. */
	w.size_bytes = PARTS - 3;
	run(&w, 0, "");
	assert_int_equal(w.singles, 3);
}

/* The first failure is what is told. */
static void test_fails(void **state)
{
	struct way w = {
		.v = { .ops = &ops_many, .kind = CFS_VOLUME_LUN },
		.size_bytes = PARTS,
		.at_once = CFS_IO_PARTS_MAX,
		.bad = 40,
	};

	(void)state;
	run(&w, -EUCLEAN, "part 40");
	assert_int_equal(w.singles, PARTS - 40);
	w.at_once = 0;
	run(&w, -EUCLEAN, "part 40");
	assert_int_equal(w.singles, PARTS);
}

static void test_one_by_one(void **state)
{
	struct way w = {
		.v = { .ops = &ops_one, .kind = CFS_VOLUME_LUN },
		.size_bytes = PARTS,
		.bad = PARTS,
	};

	(void)state;
	assert_false(cfs_io_reads_many(&w.v));
	run(&w, 0, "");
	assert_int_equal(w.singles, PARTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_fails),
		cmocka_unit_test(test_one_by_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
