/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Coming back for a lease that stands by itself, to an owner that has followed
 * another: in its grace, in time, and as who one was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "lease/owner.h"
#include "lease/server.h"
#include "lease_fixture.h"
#include "session/standing.h"

#include <stdio.h>
#include <string.h>

#define T_NS  (600 * CFS_NS_PER_S)
#define EPOCH (UINT64_C(2) << 32) /* of the former owner */

static const uint8_t pool[16] = { 1, 2, 3, 4 };

static struct cfs_server *server;
static struct cfs_owner *owner;
static struct cfs_manager_info info;
static uint64_t slow_ns; /* so late is a RECLAIM taken */

/* ---- an owner behind a socket, in the server's loop ---------------------- */

static int on_send(void *arg, uint64_t peer, const void *msg, size_t bytes)
{
	(void)arg;
	return cfs_server_send(server, peer, msg, bytes);
}

static void on_message(void *arg, uint64_t peer, const void *msg, size_t bytes)
{
	struct cfs_clock *clock = cfs_clock_system();
	struct cfs_msg_head head;

	(void)arg;
	if (cfs_msg_head_unpack(msg, bytes, &head, NULL) < 0)
		return;
	if (head.type == CFS_MSG_RECLAIM && slow_ns)
		cfs_clock_sleep_until(clock,
				      cfs_clock_elapsed_ns(clock) + slow_ns);
	if (cfs_owner_receive(owner, peer, msg, bytes) == 0 &&
	    head.type == CFS_MSG_HELLO)
		cfs_server_accept_peer(server, peer);
}

static void begin(uint64_t grace_ns)
{
	static const struct cfs_owner_ops ops = { .send = on_send };
	const struct cfs_server_options opt = { .peers_max = 0 };
	struct cfs_address address = { .kind = CFS_ADDRESS_UNIX };
	struct cfs_owner_config config = {
		.epoch = 3,
		.period_ns = T_NS,
		.grace_ns = grace_ns,
	};

	(void)fixture_setup(NULL);
	slow_ns = 0;
	memcpy(config.pool_uuid, pool, sizeof(pool));
	snprintf(address.path, sizeof(address.path), "%s/s", fixture_dir);
	assert_int_equal(cfs_owner_new(&config, &ops, NULL, cfs_clock_system(),
				       &owner, NULL),
			 0);
	assert_int_equal(cfs_server_new(&opt, &server, NULL), 0);
	assert_int_equal(cfs_server_handle_loop(server, CFS_MSG_HELLO,
						CFS_MSG_TYPE_LEASE_LAST,
						on_message, NULL, NULL),
			 0);
	assert_int_equal(cfs_server_listen(server, &address, NULL, NULL, NULL),
			 0);
	assert_int_equal(cfs_server_start(server, NULL), 0);
	memset(&info, 0, sizeof(info));
	memcpy(info.pool_uuid, pool, sizeof(pool));
	cfs_address_format(&address, info.address);
}

static void end(void)
{
	cfs_server_stop(server, 0);
	cfs_server_free(server);
	cfs_owner_free(owner);
	assert_int_equal(fixture_teardown(NULL), 0);
}

/* ---- one who comes ------------------------------------------------------- */

/* What was taken of the owner with epoch 2, for @period_ns from now. */
static struct cfs_standing *keep(uint64_t number, uint64_t period_ns)
{
	const uint64_t lease = EPOCH | (number + 2);
	struct cfs_standing_record rec = {
		.name = { EPOCH | number, lease, { 7, 8 } },
		.epoch = 2,
		.period_ns = period_ns,
		.lease_count = 2,
		.leases = { { .mode = CFS_LOCK_IX,
			      .resource = { 1, 2, 0, 0,
					    CFS_LOCK_LENGTH_WHOLE } },
			    { .generation = 9,
			      .mode = CFS_LOCK_X,
			      .resource = { 1, 2, 7, 0,
					    CFS_LOCK_LENGTH_WHOLE } } },
	};
	struct cfs_standing *st = NULL;
	struct cfs_lease_clock now;

	memcpy(rec.pool_uuid, pool, sizeof(pool));
	rec.leases[0].lease_id = lease - 1;
	rec.leases[1].lease_id = lease;
	rec.leases[0].key = rec.leases[1].key = 1;
	cfs_lease_clock_init(&now);
	rec.boot_ns = now.boot_ns;
	rec.raw_ns = now.raw_ns;
	assert_int_equal(cfs_standing_keep(fixture_dir, &rec, NULL), 0);
	assert_int_equal(cfs_standing_open(fixture_dir, pool, &rec.name, &st),
			 0);
	return st;
}

static int come(struct cfs_standing *st)
{
	const struct cfs_session_options opt = { .wait_seconds = 0 };
	struct cfs_err err = CFS_ERR_INIT;

	return cfs_standing_reclaim(st, &info, 2, "me", &opt, 30000, &err);
}

static void end_all(struct cfs_standing *st)
{
	(void)cfs_standing_drop(st);
	cfs_standing_close(st);
	end();
}

static void test_in_the_grace(void **state)
{
	struct cfs_standing *st, *other;
	const struct cfs_standing_record *rec;
	uint64_t boot_ns;

	(void)state;
	begin(T_NS);
	st = keep(5, 60 * CFS_NS_PER_S);
	rec = cfs_standing_record(st);
	boot_ns = rec->boot_ns;
	assert_int_equal(come(st), 0);
	assert_int_equal(rec->epoch, 3);
	assert_true(rec->period_ns == T_NS);
	assert_true(rec->boot_ns > boot_ns);
	/* Once more, as an answer may be lost. */
	assert_int_equal(come(st), 0);
	assert_int_equal(cfs_owner_client_count(owner), 1);
	assert_int_equal(cfs_owner_lease_count(owner), 2);
	assert_int_equal(cfs_owner_holds(owner, rec->name.client_id,
					 &rec->leases[1].resource, CFS_LOCK_X),
			 0);
	/* It was taken by one of them only, and is known whose it is. */
	other = keep(9, 60 * CFS_NS_PER_S);
	assert_int_equal(come(other), -ESTALE);
	assert_int_equal(cfs_owner_client_count(owner), 1);
	assert_int_equal(cfs_owner_lease_count(owner), 2);
	(void)cfs_standing_drop(other);
	cfs_standing_close(other);
	(void)cfs_standing_drop(st);
	assert_int_equal(come(st), -ESTALE);
	end_all(st);
}

/* Nobody has it behind the grace, nor is there one who came for it. */
static void test_behind_the_grace(void **state)
{
	struct cfs_standing *st;

	(void)state;
	begin(0);
	st = keep(5, 60 * CFS_NS_PER_S);
	assert_int_equal(come(st), -ESTALE);
	assert_int_equal(cfs_owner_client_count(owner), 0);
	end_all(st);
}

/* N4: the owner took it, but by then the period was over. */
static void test_answered_too_late(void **state)
{
	struct cfs_standing *st;

	(void)state;
	begin(T_NS);
	slow_ns = 2 * CFS_NS_PER_S;
	st = keep(5, 2 * CFS_NS_PER_S);
	assert_int_equal(come(st), -ESTALE);
	assert_int_equal(cfs_owner_client_count(owner), 0);
	assert_int_equal(cfs_owner_lease_count(owner), 0);
	end_all(st);
}

/* With another secret than who came first. */
static void test_not_that_client(void **state)
{
	const struct cfs_owner_known known = { .client_id = EPOCH | 5,
					       .secret = { 1 } };
	struct cfs_standing *st;

	(void)state;
	begin(T_NS);
	assert_int_equal(cfs_owner_preload(owner, &known, NULL), 0);
	st = keep(5, 60 * CFS_NS_PER_S);
	assert_int_equal(come(st), -ESTALE);
	assert_int_equal(cfs_owner_lease_count(owner), 0);
	end_all(st);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_the_grace),
		cmocka_unit_test(test_behind_the_grace),
		cmocka_unit_test(test_answered_too_late),
		cmocka_unit_test(test_not_that_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
