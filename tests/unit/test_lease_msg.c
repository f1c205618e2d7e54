/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Messages: each body there and back, cut at every byte, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "lease/msg.h"

static uint8_t buf[CFS_MSG_BYTES_MAX + 16];

static void test_wire(void **state)
{
	struct cfs_wire_put put;
	struct cfs_wire_get get;
	char text[4];
	size_t n = 9;

	(void)state;
	cfs_wire_put_init(&put, buf, 14);
	cfs_wire_put_u8(&put, 1);
	cfs_wire_put_u16(&put, 0x0302);
	cfs_wire_put_u32(&put, 0x07060504);
	cfs_wire_put_string(&put, "abc");
	assert_false(put.is_full);
	cfs_wire_put_u32(&put, 1);
	assert_true(put.is_full);
	assert_int_equal(put.bytes, 12);
	cfs_wire_put_u8(&put, 1); /* would fit: too late */
	assert_int_equal(put.bytes, 12);
	assert_memory_equal(buf, "\1\2\3\4\5\6\7\3\0abc", 12);

	cfs_wire_get_init(&get, buf, 12);
	assert_int_equal(cfs_wire_get_u8(&get), 1);
	assert_int_equal(cfs_wire_get_u16(&get), 0x0302);
	assert_int_equal(cfs_wire_get_u32(&get), 0x07060504);
	cfs_wire_get_string(&get, text, sizeof(text));
	assert_string_equal(text, "abc");
	assert_int_equal(cfs_wire_get_left(&get), 0);
	assert_int_equal(cfs_wire_get_u64(&get), 0);
	assert_true(get.is_bad);

	cfs_wire_get_init(&get, "\3\0abc", 5);
	cfs_wire_get_string(&get, text, 3); /* one byte too short */
	assert_true(get.is_bad);
	assert_string_equal(text, "");
	cfs_wire_get_init(&get, "\3\0a\0c", 5);
	cfs_wire_get_string(&get, text, sizeof(text));
	assert_true(get.is_bad);
	cfs_wire_get_init(&get, "\xff\xff\xff\xff", 4);
	assert_null(cfs_wire_get_blob(&get, 100, &n));
	assert_int_equal(n, 0);
	cfs_wire_get_init(&get, "\2\0\0\0hi", 6);
	assert_memory_equal(cfs_wire_get_blob(&get, 2, &n), "hi", 2);
	assert_int_equal(n, 2);
}

static void test_head(void **state)
{
	struct cfs_wire_put put;
	struct cfs_wire_get body;
	struct cfs_msg_head head;
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	cfs_wire_put_init(&put, buf, sizeof(buf));
	cfs_msg_begin(&put,
		      CFS_MSG_LOCK | CFS_MSG_TYPE_REPLY | CFS_MSG_TYPE_MORE,
		      77);
	cfs_wire_put_u8(&put, 5);
	assert_int_equal(cfs_msg_end(&put), 0);
	assert_int_equal(cfs_msg_open(buf, put.bytes, &head, &body, NULL), 0);
	assert_int_equal(head.type, CFS_MSG_LOCK);
	assert_true(head.is_reply && head.has_more);
	assert_int_equal(head.id, 77);
	assert_int_equal(head.bytes, 25);
	assert_int_equal(cfs_wire_get_u8(&body), 5);
	assert_int_equal(cfs_msg_open(buf, 24, &head, &body, NULL), -EPROTO);
	assert_int_equal(cfs_msg_open(buf, 26, &head, &body, NULL), -EPROTO);
	assert_int_equal(cfs_msg_head_unpack(buf, 23, &head, NULL), -EAGAIN);
	buf[4] = 2;
	assert_int_equal(cfs_msg_head_unpack(buf, 25, &head, NULL), -ENOTSUP);
	buf[4] = 1;
	buf[8] = 23;
	assert_int_equal(cfs_msg_head_unpack(buf, 25, &head, NULL), -EPROTO);
	buf[8] = 25;
	buf[10] = 2;
	assert_int_equal(cfs_msg_head_unpack(buf, 25, &head, NULL), -EPROTO);
	buf[10] = 0;
	buf[0] ^= 1;
	assert_int_equal(cfs_msg_head_unpack(buf, 25, &head, NULL), -EPROTO);

	cfs_err_set(&err, -EBUSY, "held by %s", "me");
	cfs_wire_put_init(&put, buf, sizeof(buf));
	cfs_msg_error(&put, CFS_MSG_LOCK, 5, -EBUSY, &err);
	assert_int_equal(cfs_msg_open(buf, put.bytes, &head, &body, NULL), 0);
	assert_int_equal(head.status, EBUSY);
	memset(&err, 0, sizeof(err));
	assert_int_equal(
		cfs_msg_reply_status(&head, body.data, body.bytes, &err),
		-EBUSY);
	assert_string_equal(err.msg, "held by me");
	/* Text of a stranger is made harmless. */
	assert_int_equal(cfs_msg_reply_status(&head, "\033[2J\n", 5, &err),
			 -EBUSY);
	assert_string_equal(err.msg, "\\x1b[2J\\x0a");

	cfs_wire_put_init(&put, buf, sizeof(buf));
	cfs_msg_begin(&put, 1, 1);
	put.bytes = CFS_MSG_BYTES_MAX + 1;
	assert_int_equal(cfs_msg_end(&put), -EMSGSIZE);
}

/*
 * Pack @m, unpack it to the same, with more behind it too; cut anywhere it is
 * refused.
 */
#define THERE_AND_BACK(x, type, ...)                                           \
	do {                                                                   \
		type m, got;                                                   \
		struct cfs_wire_put put;                                       \
		struct cfs_wire_get get;                                       \
		uint8_t *exact;                                                \
                                                                               \
		memset(&m, 0, sizeof(m));                                      \
		m = (type){ __VA_ARGS__ };                                     \
		cfs_wire_put_init(&put, buf, sizeof(buf));                     \
		cfs_msg_##x##_pack(&m, &put);                                  \
		assert_false(put.is_full);                                     \
		memset(buf + put.bytes, 0xa5, 8);                              \
		cfs_wire_get_init(&get, buf, put.bytes + 8);                   \
		assert_int_equal(cfs_msg_##x##_unpack(&get, &got, NULL), 0);   \
		assert_int_equal(cfs_wire_get_left(&get), 8);                  \
		cfs_wire_put_init(&put, buf + 4096, 4096);                     \
		cfs_msg_##x##_pack(&got, &put);                                \
		assert_memory_equal(buf, buf + 4096, put.bytes);               \
		for (size_t n = 0; n < put.bytes; n++) {                       \
			exact = malloc(n + 1);                                 \
			assert_non_null(exact);                                \
			memcpy(exact, buf, n);                                 \
			cfs_wire_get_init(&get, exact, n);                     \
			assert_int_equal(                                      \
				cfs_msg_##x##_unpack(&get, &got, NULL),        \
				-EPROTO);                                      \
			free(exact);                                           \
		}                                                              \
	} while (0)

#define RESOURCE                                                               \
	{                                                                      \
		1, 2, 3, 4096, 8192                                            \
	}

static void test_bodies(void **state)
{
	(void)state;
	THERE_AND_BACK(hello, struct cfs_msg_hello, .host = "h", .name = "cfsd",
		       .pid = 5, .client_id = 9, .secret = { 1, 2 }, .epoch = 3,
		       .flags = 6);
	THERE_AND_BACK(welcome, struct cfs_msg_welcome, .client_id = 1,
		       .period_ns = 5, .last_serial = 7);
	THERE_AND_BACK(renew, struct cfs_msg_renew, .client_id = 1);
	THERE_AND_BACK(renew_lease, struct cfs_msg_renew_lease, .lease_id = 1);
	THERE_AND_BACK(lock, struct cfs_msg_lock, .resource = RESOURCE,
		       .mode = CFS_LOCK_X, .key = 4, .serial = 5);
	THERE_AND_BACK(grant, struct cfs_msg_grant, .lease_id = 1,
		       .generation = 2);
	THERE_AND_BACK(lease, struct cfs_msg_lease, .lease_id = 1);
	THERE_AND_BACK(change, struct cfs_msg_change, .mode = CFS_LOCK_S);
	THERE_AND_BACK(cancel, struct cfs_msg_cancel, .serial = 1);
	THERE_AND_BACK(reclaim, struct cfs_msg_reclaim,
		       .lock = { .resource = RESOURCE, .mode = CFS_LOCK_S },
		       .lease_id = 3);
	THERE_AND_BACK(end, struct cfs_msg_end, .host = "h\303\244");
	THERE_AND_BACK(recall, struct cfs_msg_recall, .lease_id = 1);
	THERE_AND_BACK(event, struct cfs_lease_event, .kind = 1, .lease_id = 5,
		       .resource = RESOURCE, .mode = CFS_LOCK_X, .host = "h");
	THERE_AND_BACK(status, struct cfs_msg_status, .after_client = 1);
	THERE_AND_BACK(status_head, struct cfs_msg_status_head, .epoch = 1);
	THERE_AND_BACK(record, struct cfs_lease_record,
		       .kind = CFS_RECORD_CLIENT, .client_id = 2,
		       .u.client = { .host = "h", .name = "n", .pid = 1 });
	THERE_AND_BACK(record, struct cfs_lease_record,
		       .kind = CFS_RECORD_LEASE, .client_id = 2,
		       .u.lease = { .lease_id = 5,
				    .resource = RESOURCE,
				    .mode = CFS_LOCK_S });
}

/* @m packs and does not unpack. */
#define REFUSED(x, type, ...)                                                  \
	do {                                                                   \
		const type m = { __VA_ARGS__ };                                \
		type got;                                                      \
		struct cfs_wire_put put;                                       \
		struct cfs_wire_get get;                                       \
                                                                               \
		cfs_wire_put_init(&put, buf, sizeof(buf));                     \
		cfs_msg_##x##_pack(&m, &put);                                  \
		cfs_wire_get_init(&get, buf, put.bytes);                       \
		assert_int_equal(cfs_msg_##x##_unpack(&get, &got, NULL),       \
				 -EPROTO);                                     \
	} while (0)

static void test_refused(void **state)
{
	(void)state;
	REFUSED(lock, struct cfs_msg_lock, .resource = RESOURCE, .mode = 6);
	REFUSED(lock, struct cfs_msg_lock, .resource = RESOURCE, .mode = 0);
	REFUSED(lock, struct cfs_msg_lock, .resource = RESOURCE,
		.mode = CFS_LOCK_IX);
	REFUSED(lock, struct cfs_msg_lock, .mode = CFS_LOCK_X,
		.resource = { 1, 2, 3, 5, UINT64_MAX - 1 });
	REFUSED(lock, struct cfs_msg_lock, .mode = CFS_LOCK_X,
		.resource = { 1, 0, 3, 0, UINT64_MAX });
	REFUSED(change, struct cfs_msg_change, .mode = 17);
	REFUSED(reclaim, struct cfs_msg_reclaim,
		.lock = { .resource = RESOURCE, .mode = CFS_LOCK_S });
	REFUSED(end, struct cfs_msg_end, .lease_id = 0);
	REFUSED(end, struct cfs_msg_end, .lease_id = 1, .client_id = 1);
	REFUSED(hello, struct cfs_msg_hello, .host = "a\nb");
	REFUSED(hello, struct cfs_msg_hello, .host = "a\xff");
	REFUSED(hello, struct cfs_msg_hello, .name = "a\302\205");
	REFUSED(record, struct cfs_lease_record, .kind = 3);
}

static void test_names(void **state)
{
	struct cfs_lease_name name = { 0x1234, UINT64_MAX, { 0xab, 1 } };
	struct cfs_lease_name got = { 0, 0, { 0 } };
	char text[CFS_LEASE_NAME_BYTES + 1];

	(void)state;
	cfs_lease_name_format(&name, text);
	assert_string_equal(text, "0000000000001234-ffffffffffffffff-"
				  "ab010000000000000000000000000000");
	assert_int_equal(cfs_lease_name_parse(text, &got), 0);
	assert_memory_equal(&got, &name, sizeof(got));
	for (size_t i = 0; i < CFS_LEASE_NAME_BYTES; i++) {
		cfs_lease_name_format(&name, text);
		text[i] = text[i] ? 'G' : '0';
		text[CFS_LEASE_NAME_BYTES] = '\0';
		assert_int_equal(cfs_lease_name_parse(text, &got), -EINVAL);
	}
	assert_int_equal(cfs_lease_name_parse("", &got), -EINVAL);
	assert_true(cfs_msg_name_is_valid("a b", 4));
	assert_false(cfs_msg_name_is_valid("", 4));
	assert_false(cfs_msg_name_is_valid("abcd", 4));
	assert_string_equal(cfs_lease_event_name(CFS_EVENT_EXPIRE), "expire");
	for (unsigned int i = 1; i <= CFS_EVENT_LAST; i++)
		assert_string_not_equal(cfs_lease_event_name(i), "?");
	assert_string_equal(cfs_lease_event_name(99), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wire),   cmocka_unit_test(test_head),
		cmocka_unit_test(test_bodies), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
