/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who comes back: what it missed of the recalls of leases that it did not know
 * yet, doubles of what it once said, and what it has to say after a takeover
 * before others get anything.
 */
#include "lease_world.h"

#define X CFS_LOCK_X

/* Client 1 asks for file 5 and does not hear that it has it. */
static struct cfs_lease *ask_deaf(void)
{
	struct cfs_lease *a;

	world.clients[1].is_deaf = true;
	a = world_file(1, 5, X, CFS_MSG_LOCK_RECALLABLE);
	assert_int_equal(cfs_owner_lease_count(world.owner), 1);
	assert_false(is_held(a));
	return a;
}

static void come_back(void)
{
	world_disconnect(1);
	world.clients[1].is_deaf = false;
	world_connect(1);
}

/* The recall came first: it is said again behind the grant. */
static void test_recall_before_grant(void **state)
{
	struct cfs_lease *a, *b;

	(void)state;
	world_init(2);
	a = ask_deaf();
	b = world_file(0, 5, X, 0);
	come_back();
	assert_true(is_held(a));
	assert_int_equal(world.clients[1].recall_count, 1);
	assert_false(is_held(b));
	cfs_lease_client_yield(world.clients[1].client,
			       world.clients[1].recall_id);
	cfs_lease_client_release(a);
	world_run();
	assert_true(is_held(b));
	world_done();
}

/* What is being taken back is not granted once more. */
static void test_stopped_before_grant(void **state)
{
	struct cfs_lease *a;
	uint64_t stopped = UINT64_C(1) << 32 | 3;

	(void)state;
	world_init(2);
	a = ask_deaf();
	assert_int_equal(cfs_owner_revoke_lease(world.owner, stopped), 0);
	come_back();
	assert_true(is_held(a));
	assert_true(cfs_lease_grant_of(a) != stopped);
	world_pass(2 * T_NS);
	assert_true(is_held(a));
	assert_true(cfs_lease_client_still_holds(a));
	assert_int_equal(cfs_owner_lease_count(world.owner), 1);
	world_done();
}

static uint8_t buf[1024];

static void hello_by_hand(uint64_t peer, uint64_t id,
			  const struct cfs_owner_known *as)
{
	struct cfs_msg_hello hello = { .host = "there", .name = "hand" };
	struct cfs_wire_put put;

	if (as) {
		hello.client_id = as->client_id;
		hello.epoch = 1;
		memcpy(hello.secret, as->secret, sizeof(hello.secret));
	}
	cfs_wire_put_init(&put, buf, sizeof(buf));
	cfs_msg_begin(&put, CFS_MSG_HELLO, id);
	cfs_msg_hello_pack(&hello, &put);
	assert_int_equal(cfs_msg_end(&put), 0);
	assert_int_equal(cfs_owner_receive(world.owner, peer, buf, put.bytes),
			 0);
}

static void test_late_hello(void **state)
{
	uint64_t me;

	(void)state;
	world_init(0);
	hello_by_hand(77, 5, NULL);
	world_pass(2 * T_NS); /* expired */
	hello_by_hand(77, 9, NULL);
	me = cfs_owner_peer_client(world.owner, 77);
	hello_by_hand(77, 5, NULL);
	assert_true(me != 0);
	assert_int_equal(cfs_owner_peer_client(world.owner, 77), me);
	assert_int_equal(cfs_owner_client_count(world.owner), 1);
	world_done();
}

/*
 * One that comes back after a takeover may have written under a lease that it
 * did not reclaim.  Only its word lets others have what was held.
 */
static void test_reclaimed(void **state)
{
	const struct cfs_owner_known known = {
		.client_id = UINT64_C(1) << 32 | 50,
		.secret = { 1 },
	};
	uint64_t grace_ns = cfs_period_owner_ns(T_NS, CFS_DRIFT_PPM_DEFAULT);
	struct cfs_wire_put put;
	struct cfs_lease *a;

	for (int is_said = 0; is_said < 2; is_said++) {
		(void)state;
		world_init(0);
		cfs_owner_free(world.owner);
		world_owner(2, grace_ns);
		assert_int_equal(cfs_owner_preload(world.owner, &known, NULL),
				 0);
		world_client_new(0);
		world_connect(0);
		a = world_file(0, 5, X, 0);
		world_pass(grace_ns / 2);
		hello_by_hand(77, 5, &known);
		assert_int_equal(cfs_owner_peer_client(world.owner, 77),
				 known.client_id);
		if (is_said) {
			cfs_wire_put_init(&put, buf, sizeof(buf));
			cfs_msg_begin(&put, CFS_MSG_RECLAIMED, 6);
			cfs_msg_end(&put);
			cfs_owner_receive(world.owner, 77, buf, put.bytes);
		}
		world_pass(grace_ns / 2 + CFS_NS_PER_S);
		assert_int_equal(is_held(a), is_said);
		assert_int_equal(world.seal_count, 0);
		world_pass(grace_ns / 2);
		assert_true(is_held(a));
		assert_int_equal(world.seal_count, 1);
		assert_int_equal(world.seal_client, known.client_id);
		world_done();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recall_before_grant),
		cmocka_unit_test(test_stopped_before_grant),
		cmocka_unit_test(test_late_hello),
		cmocka_unit_test(test_reclaimed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
