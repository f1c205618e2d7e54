/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A manager and a peer that sends anything: random bodies, good bodies with
 * bytes changed, handles and inodes that are not its own.  The manager answers
 * each, keeps working, and the pool is whole in the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rpc_fixture.h"

#include "base/rng.h"
#include "lease/msg.h"

#include <sys/stat.h>

#define MIB    (UINT64_C(1) << 20)
#define ROUNDS 150u

static struct cfs_conn *raw;

static void raw_open(void)
{
	const struct cfs_conn_options opt = { .calls_max = 0 };
	struct cfs_link *links[2];
	uint64_t peer;

	OK(cfs_link_pair(links, E));
	OK(cfs_server_add_link(manager.server, links[1], &peer, E));
	OK(cfs_conn_new(links[0], &opt, &raw, E));
}

static int drop_part(void *arg, const uint8_t *body, size_t bytes,
		     struct cfs_err *err)
{
	(void)arg;
	(void)body;
	(void)bytes;
	(void)err;
	return 0;
}

static int ask(uint16_t type, const void *body, size_t bytes)
{
	const struct cfs_conn_wait wait = { .timeout_ns = UINT64_C(
						    20000000000) };
	struct cfs_buf reply = CFS_BUF_INIT;
	int r = cfs_conn_stream(raw, type, body, bytes, &wait, drop_part, NULL,
				&reply, NULL);

	cfs_buf_donep(&reply);
	return r;
}

static void an_unknown_request_is_told(void **state)
{
	static const uint8_t zero[8];

	(void)state;
	raw_open();
	assert_int_equal(ask(CFS_RPC_TYPE_LAST, zero, sizeof(zero)), -ENOTSUP);
	assert_int_equal(ask(CFS_RPC_POOL_INFO, zero, 7), -EPROTO);
	assert_int_equal(ask(CFS_RPC_POOL_INFO, zero, 8), 0);
	cfs_conn_free(raw);
}

/* Plausible values in all fields. */
static void fill_args(struct cfs_rng *rng, struct cfs_rpc_args *a)
{
	static const char *const names[] = { "lun",  "tree",  "a",   "",
					     "../x", "lun/c", "none" };
	static const uint64_t numbers[] = {
		0,
		1,
		2,
		3,
		4096,
		4097,
		UINT64_MAX,
		UINT64_C(1) << 48,
		UINT64_C(1) << 60,
		INT64_MAX,
	};
#define NAME   names[cfs_rng_u64(rng) % (sizeof(names) / sizeof(*names))]
#define NUMBER numbers[cfs_rng_u64(rng) % (sizeof(numbers) / sizeof(*numbers))]
	memset(a, 0, sizeof(*a));
	a->volume = NAME;
	a->snap = NAME;
	a->name = NAME;
	a->text = NAME;
	a->token = NUMBER;
	a->handle = 1 + cfs_rng_u64(rng) % 3;
	a->ino = NUMBER;
	a->dir_ino = NUMBER;
	a->to_dir_ino = NUMBER;
	a->offset_bytes = NUMBER;
	a->length_bytes = NUMBER;
	a->size_bytes = NUMBER;
	a->limit_bytes = NUMBER;
	a->kind = (uint32_t)NUMBER;
	a->flags = (uint32_t)NUMBER;
	a->is_set = NUMBER & 1;
	a->entry = NAME;
	a->entry_bytes = strlen(a->entry);
	a->to_entry = NAME;
	a->to_entry_bytes = strlen(a->to_entry);
	a->data = "some data";
	a->data_bytes = 9;
	a->spec.mode = (uint32_t)NUMBER ^ S_IFREG;
	a->spec.target = NAME;
	a->spec.target_bytes = strlen(a->spec.target);
	a->attr.mask = (uint32_t)NUMBER;
	a->scrub.rate_bytes = 0;
}

/* What takes a device away, or waits for seconds, is for other tests. */
static bool is_left_out(uint16_t type)
{
	return type == CFS_RPC_ADD_DEVICE || type == CFS_RPC_HOLD;
}

static void send_one(struct cfs_rng *rng, const struct cfs_rpc_row *row)
{
	struct cfs_buf body = CFS_BUF_INIT;
	struct cfs_rpc_args args;
	size_t bytes;

	fill_args(rng, &args);
	assert_int_equal(cfs_buf_append_zero(&body, 8), 0);
	if (cfs_rng_u64(rng) % 8) {
		OK(cfs_rpc_pack(row->args, &args, &body, E));
		for (unsigned int i = cfs_rng_u64(rng) % 4; i > 1; i--)
			body.data[cfs_rng_u64(rng) % body.bytes] =
				(uint8_t)cfs_rng_u64(rng);
	} else {
		for (bytes = cfs_rng_u64(rng) % 200; bytes; bytes--) {
			const uint8_t b = (uint8_t)cfs_rng_u64(rng);

			assert_int_equal(cfs_buf_append(&body, &b, 1), 0);
		}
	}
	(void)ask(row->type, body.data, body.bytes);
	cfs_buf_donep(&body);
	assert_false(cfs_conn_is_gone(raw));
}

static void open_some(void)
{
	for (int i = 0; i < 3; i++) {
		const struct cfs_rpc_args args = {
			.volume = i ? "tree" : "lun",
			.is_set = i < 2,
		};
		struct cfs_buf body = CFS_BUF_INIT;

		assert_int_equal(cfs_buf_append_zero(&body, 8), 0);
		OK(cfs_rpc_pack(cfs_rpc_row(CFS_RPC_IO_OPEN)->args, &args,
				&body, E));
		OK(ask(CFS_RPC_IO_OPEN, body.data, body.bytes));
		cfs_buf_donep(&body);
	}
}

static int no_problem(void *arg, const struct cfs_problem *p)
{
	(void)arg;
	fail_msg("problem: %s: %s", p->kind, p->text);
	return 0;
}

static void anything_is_answered(void **state)
{
	struct cfs_check_result checked;
	struct cfs_rng rng;

	(void)state;
	OK(cfs_session_create(manager.session, "lun", CFS_VOLUME_LUN, MIB, 0,
			      false, E));
	OK(cfs_session_create(manager.session, "tree", CFS_VOLUME_TREE, 0, 0,
			      false, E));
	cfs_rng_init(&rng, 11);
	raw_open();
	open_some();
	for (unsigned int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < cfs_rpc_row_count(); i++)
			if (!is_left_out(cfs_rpc_row_at(i)->type))
				send_one(&rng, cfs_rpc_row_at(i));
	cfs_conn_free(raw);
	manager_stop();
	manager_start();
	OK(cfs_session_check(manager.session, NULL, no_problem, NULL, &checked,
			     E));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unknown_request_is_told),
		cmocka_unit_test(anything_is_answered),
	};

	return cmocka_run_group_tests(tests, manager_setup, manager_teardown);
}
