/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * ACLs survive the way through an archive entry, and what is no ACL is
 * refused; collected attributes keep their bytes while they grow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "session/archive_api.h"
#include "session/transfer_priv.h"

/* user::rw- user:1234:rwx group::r-- group:77:r-- mask::rwx other::--- */
static const uint8_t acl[] = {
	2,    0,    0,    0,    0x01, 0,    6,    0,    0xff, 0xff, 0xff,
	0xff, 0x02, 0,    7,    0,    0xd2, 0x04, 0,    0,    0x04, 0,
	4,    0,    0xff, 0xff, 0xff, 0xff, 0x08, 0,    4,    0,    77,
	0,    0,    0,    0x10, 0,    7,    0,    0xff, 0xff, 0xff, 0xff,
	0x20, 0,    0,    0,    0xff, 0xff, 0xff, 0xff,
};

static void round_trip(bool is_default)
{
	struct archive_entry *ae = archive_entry_new();
	struct transfer_xattrs x = { .bytes = CFS_BUF_INIT };

	assert_non_null(ae);
	archive_entry_set_mode(ae, S_IFDIR | 0750);
	assert_int_equal(
		transfer_acl_to_archive(ae, is_default, acl, sizeof(acl), NULL),
		0);
	assert_int_equal(transfer_acl_from_archive(ae, &x, NULL), 0);
	transfer_xattrs_fix(&x);
	assert_int_equal(x.list.count, 1);
	assert_string_equal(x.list.items[0].name,
			    is_default ? TRANSFER_ACL_DEFAULT
				       : TRANSFER_ACL_ACCESS);
	assert_int_equal(x.list.items[0].value_bytes, sizeof(acl));
	assert_memory_equal(x.list.items[0].value, acl, sizeof(acl));
	transfer_xattrs_donep(&x);
	archive_entry_free(ae);
}

static void test_round_trip(void **state)
{
	(void)state;
	round_trip(false);
	round_trip(true);
}

static void test_no_acl(void **state)
{
	struct archive_entry *ae = archive_entry_new();
	struct transfer_xattrs x = { .bytes = CFS_BUF_INIT };

	(void)state;
	archive_entry_set_mode(ae, S_IFREG | 0644);
	assert_int_equal(transfer_acl_from_archive(ae, &x, NULL), 0);
	assert_int_equal(x.list.count, 0);
	archive_entry_free(ae);
}

static void test_bad_acls(void **state)
{
	struct archive_entry *ae = archive_entry_new();
	uint8_t bad[sizeof(acl)];
	size_t n;

	(void)state;
	for (n = 0; n < sizeof(acl); n++)
		if (n < 4 || (n - 4) % 8)
			assert_int_equal(transfer_acl_to_archive(ae, false, acl,
								 n, NULL),
					 -EILSEQ);
	memcpy(bad, acl, sizeof(acl));
	bad[0] = 1;
	assert_int_equal(
		transfer_acl_to_archive(ae, false, bad, sizeof(bad), NULL),
		-EILSEQ);
	memcpy(bad, acl, sizeof(acl));
	bad[4] = 3;
	assert_int_equal(
		transfer_acl_to_archive(ae, false, bad, sizeof(bad), NULL),
		-EILSEQ);
	archive_entry_free(ae);
}

static void test_unknown_user(void **state)
{
	struct archive_entry *ae = archive_entry_new();
	struct transfer_xattrs x = { .bytes = CFS_BUF_INIT };
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	archive_entry_set_mode(ae, S_IFREG | 0644);
	archive_entry_acl_add_entry(ae, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, 7,
				    ARCHIVE_ENTRY_ACL_USER, -1,
				    "nobody-is-called-so");
	assert_int_equal(transfer_acl_from_archive(ae, &x, &err), -EILSEQ);
	assert_non_null(strstr(err.msg, "nobody-is-called-so"));
	transfer_xattrs_donep(&x);
	archive_entry_free(ae);
}

static void test_xattrs_grow(void **state)
{
	struct transfer_xattrs x = { .bytes = CFS_BUF_INIT };
	char name[32], value[64];
	unsigned int i;

	(void)state;
	for (i = 0; i < 500; i++) {
		(void)snprintf(name, sizeof(name), "user.%u", i);
		(void)snprintf(value, sizeof(value), "value %u", i * 7);
		assert_int_equal(
			transfer_xattrs_add(&x, name, value, strlen(value)), 0);
	}
	/* A name that is there keeps its first value. */
	assert_int_equal(transfer_xattrs_add(&x, "user.3", "other", 5), 0);
	assert_int_equal(transfer_xattrs_add(&x, "user.empty", NULL, 0), 0);
	transfer_xattrs_fix(&x);
	assert_int_equal(x.list.count, 501);
	for (i = 0; i < 500; i++) {
		(void)snprintf(name, sizeof(name), "user.%u", i);
		(void)snprintf(value, sizeof(value), "value %u", i * 7);
		assert_string_equal(x.list.items[i].name, name);
		assert_int_equal(x.list.items[i].value_bytes, strlen(value));
		assert_memory_equal(x.list.items[i].value, value,
				    strlen(value));
	}
	assert_int_equal(x.list.items[500].value_bytes, 0);
	assert_true(
		transfer_xattrs_has(x.list.items, x.list.count, "user.499"));
	assert_false(
		transfer_xattrs_has(x.list.items, x.list.count, "user.49x"));
	transfer_xattrs_donep(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_no_acl),
		cmocka_unit_test(test_bad_acls),
		cmocka_unit_test(test_unknown_user),
		cmocka_unit_test(test_xattrs_grow),
	};

	if (cfs_archive_load(NULL) < 0)
		return 1;
	return cmocka_run_group_tests_name("transfer_acl", tests, NULL, NULL);
}
