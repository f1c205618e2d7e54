/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Growing memory, owners of it, and the JSON document. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/out.h"
#include "base/vec.h"

static void test_buf(void **state)
{
	static const char digits[] = "0123456789";
	struct cfs_buf buf = CFS_BUF_INIT;
	size_t i;

	(void)state;
	assert_string_equal(cfs_buf_text(&buf), "");
	for (i = 0; i < 1000; i++)
		assert_int_equal(cfs_buf_append(&buf, &digits[i % 10], 1), 0);
	assert_int_equal(buf.bytes, 1000);
	for (i = 0; i < 1000; i++)
		assert_int_equal(buf.data[i], '0' + i % 10);
	cfs_buf_drop_front(&buf, 995);
	assert_string_equal(cfs_buf_text(&buf), "56789");
	assert_int_equal(cfs_buf_printf(&buf, "<%d%s>", 42, "x"), 0);
	assert_int_equal(cfs_buf_append_text(&buf, "!"), 0);
	assert_string_equal(cfs_buf_text(&buf), "56789<42x>!");
	assert_int_equal(cfs_buf_append(&buf, NULL, 0), 0);
	assert_int_equal(cfs_buf_append_zero(&buf, 300), 0);
	assert_int_equal(buf.bytes, 311);
	assert_int_equal(buf.data[310], 0);
	cfs_buf_donep(&buf);
	assert_null(buf.data);
	cfs_buf_donep(&buf);
}

static void test_buf_no_memory(void **state)
{
	struct cfs_buf buf = CFS_BUF_INIT;

	(void)state;
	assert_int_equal(cfs_buf_append_text(&buf, "kept"), 0);
	assert_int_equal(cfs_buf_reserve(&buf, SIZE_MAX - 1), -ENOMEM);
	assert_string_equal(cfs_buf_text(&buf), "kept");
	cfs_buf_donep(&buf);
}

static void test_vec(void **state)
{
	struct pair {
		uint64_t a, b;
	};
	CFS_VEC(struct pair) pairs = CFS_VEC_INIT;
	size_t i, room = 8;

	(void)state;
	for (i = 0; i < 100; i++)
		assert_int_equal(
			cfs_vec_push(&pairs, (struct pair){ i, 2 * i }), 0);
	assert_int_equal(pairs.count, 100);
	for (i = 0; i < 100; i++)
		assert_int_equal(pairs.items[i].b, 2 * i);
	cfs_vec_done(&pairs);
	assert_null(pairs.items);
	assert_int_equal(pairs.count, 0);
	/* More than can be addressed is refused, not wrapped around. */
	assert_null(cfs_vec_grown(NULL, SIZE_MAX / 8, 16, &room));
	assert_int_equal(room, 8);
}

static void test_cleanup(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	char *p = malloc(3), *q;

	(void)state;
	assert_true(fd >= 0);
	{
		CFS_CLEANUP(cfs_fdclosep) int owned = fd;
		CFS_CLEANUP(cfs_fdclosep) int none = -1;
		CFS_CLEANUP(cfs_freep) char *given = p;

		(void)none;
		(void)owned;
		q = CFS_STEAL(given);
		assert_null(given);
	}
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_ptr_equal(p, q);
	free(q);
}

static struct cfs_out *new_out(const char *schema)
{
	struct cfs_out *out = NULL;

	assert_int_equal(cfs_out_new(schema, 1, &out, NULL), 0);
	return out;
}

static void check_out(struct cfs_out *out, const char *expected)
{
	CFS_CLEANUP(cfs_freep) char *text = NULL;

	assert_int_equal(cfs_out_text(out, true, &text, NULL), 0);
	assert_string_equal(text, expected);
	cfs_out_free(out);
}

static void test_out_values(void **state)
{
	static const uint8_t null_uuid[16];
	static const uint8_t uuid[16] = { 0xab };
	struct cfs_out *out = new_out("cfs.tool.verb");

	(void)state;
	cfs_out_u64(out, "a_bytes", INT64_MAX);
	cfs_out_i64(out, "b", -1);
	cfs_out_bool(out, "is_c", true);
	cfs_out_null(out, "d");
	cfs_out_str(out, "e", "x\"\n");
	cfs_out_str(out, "f", NULL);
	cfs_out_u64_str(out, "g", UINT64_MAX);
	cfs_out_uuid(out, "h", uuid);
	cfs_out_uuid(out, "i", null_uuid);
	cfs_out_time_ns(out, "at", 1);
	cfs_out_bytes(out, "z", NULL, 0);
	check_out(out, "{\"schema\":\"cfs.tool.verb\",\"version\":1,"
		       "\"a_bytes\":9223372036854775807,\"b\":-1,\"is_c\":true,"
		       "\"d\":null,\"e\":\"x\\\"\\n\",\"f\":null,"
		       "\"g\":\"18446744073709551615\","
		       "\"h\":\"ab000000-0000-0000-0000-000000000000\","
		       "\"i\":null,\"at\":\"1970-01-01T00:00:00.000000001Z\","
		       "\"z\":\"\"}");
}

static void test_out_nesting(void **state)
{
	struct cfs_out *out = new_out(NULL);

	(void)state;
	cfs_out_begin_array(out, "volumes");
	cfs_out_begin_obj(out, NULL);
	cfs_out_str(out, "name", "a");
	cfs_out_end(out);
	cfs_out_u64(out, NULL, 3);
	cfs_out_end(out);
	cfs_out_begin_obj(out, "pool");
	cfs_out_end(out);
	cfs_out_begin_array(out, "none");
	cfs_out_end(out);
	check_out(out, "{\"volumes\":[{\"name\":\"a\"},3],\"pool\":{},"
		       "\"none\":[]}");
}

static void test_out_bytes(void **state)
{
	struct cfs_out *out = new_out(NULL);

	(void)state;
	cfs_out_bytes(out, "path", "a\xff\\", 3);
	cfs_out_bytes(out, "other", "a\\\xc3\xa4", 4);
	cfs_out_begin_array(out, "list");
	cfs_out_bytes(out, NULL, "\xfe", 1);
	cfs_out_end(out);
	check_out(out, "{\"path\":\"a\\\\xff\\\\\\\\\","
		       "\"path_bytes_hex\":\"61ff5c\","
		       "\"other\":\"a\\\\\xc3\xa4\",\"list\":[{"
		       "\"text\":\"\\\\xfe\",\"text_bytes_hex\":\"fe\"}]}");
}

/* A document that lacks something is not printed at all. */
static void test_out_failure(void **state)
{
	struct cfs_out *out = new_out(NULL);
	struct cfs_err err = CFS_ERR_INIT;
	char *text = NULL;
	size_t bytes = 0;
	FILE *f;

	(void)state;
	cfs_out_u64(out, "a", (uint64_t)INT64_MAX + 1);
	cfs_out_begin_array(out, "b");
	cfs_out_u64(out, NULL, 1);
	cfs_out_end(out);
	f = open_memstream(&text, &bytes);
	assert_non_null(f);
	assert_int_equal(cfs_out_dump(out, false, f, &err), -EOVERFLOW);
	assert_int_equal(cfs_out_dump_lines(out, "b", f, &err), -EOVERFLOW);
	fclose(f);
	assert_int_equal(bytes, 0);
	free(text);
	cfs_out_free(out);
}

static void test_out_dump(void **state)
{
	struct cfs_out *out = new_out(NULL);
	char *text = NULL;
	size_t bytes = 0;
	FILE *f;

	(void)state;
	cfs_out_begin_array(out, "items");
	cfs_out_u64(out, NULL, 1);
	cfs_out_begin_obj(out, NULL);
	cfs_out_u64(out, "k", 2);
	cfs_out_end(out);
	cfs_out_end(out);
	f = open_memstream(&text, &bytes);
	assert_non_null(f);
	assert_int_equal(cfs_out_dump_lines(out, "items", f, NULL), 0);
	assert_int_equal(cfs_out_dump_lines(out, "absent", f, NULL), 0);
	assert_int_equal(cfs_out_dump(out, false, f, NULL), 0);
	fclose(f);
	assert_string_equal(text, "1\n{\"k\":2}\n{\"items\":[1,{\"k\":2}]}\n"
				  "{\n  \"items\": [\n    1,\n    {\n"
				  "      \"k\": 2\n    }\n  ]\n}\n");
	free(text);
	cfs_out_free(out);
}

static void test_out_full_disk(void **state)
{
	struct cfs_out *out = new_out("s");
	struct cfs_err err = CFS_ERR_INIT;
	FILE *f = fopen("/dev/full", "w");

	(void)state;
	if (!f)
		skip();
	assert_int_equal(cfs_out_dump(out, false, f, &err), -ENOSPC);
	assert_string_equal(err.msg,
			    "standard output: No space left on device");
	fclose(f);
	cfs_out_free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buf),
		cmocka_unit_test(test_buf_no_memory),
		cmocka_unit_test(test_vec),
		cmocka_unit_test(test_cleanup),
		cmocka_unit_test(test_out_values),
		cmocka_unit_test(test_out_nesting),
		cmocka_unit_test(test_out_bytes),
		cmocka_unit_test(test_out_failure),
		cmocka_unit_test(test_out_dump),
		cmocka_unit_test(test_out_full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
