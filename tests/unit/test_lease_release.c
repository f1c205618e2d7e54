/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Leases are given back without an answer: that costs no message, and nothing
 * is lost with a connection that breaks before it has arrived.
 */
#include "lease_world.h"

#define X CFS_LOCK_X

static unsigned int messages_to(bool to_owner)
{
	unsigned int count = 0;

	for (const struct world_message *m = world.first; m; m = m->next)
		count += m->to_owner == to_owner;
	return count;
}

static void test_no_answer(void **state)
{
	struct cfs_lease *a;

	(void)state;
	world_init(1);
	a = world_file(0, 5, X, 0);
	assert_true(is_held(a));
	cfs_lease_client_release(a);
	assert_int_equal(messages_to(true), 1);
	assert_true(world_deliver_one(NULL));
	assert_int_equal(cfs_owner_lease_count(world.owner), 0);
	assert_int_equal(messages_to(false), 0);
	world_done();
}

/* It did not arrive: it is said again on the next connection. */
static void test_lost_with_the_connection(void **state)
{
	struct cfs_lease *a, *b;

	(void)state;
	world_init(2);
	a = world_file(0, 5, X, 0);
	b = world_file(0, 6, X, 0);
	world.clients[0].is_cut = true;
	cfs_lease_client_release(a);
	cfs_lease_client_release(b);
	world_run();
	assert_int_equal(cfs_owner_lease_count(world.owner), 2);
	world_disconnect(0);
	world.clients[0].is_cut = false;
	world_connect(0);
	assert_int_equal(cfs_owner_lease_count(world.owner), 0);
	a = world_file(1, 5, X, 0);
	assert_true(is_held(a));
	cfs_lease_client_release(a);
	world_run();
	world_done();
}

/* It did arrive, and is said again all the same: nobody else's is touched. */
static void test_said_twice(void **state)
{
	struct cfs_lease *a, *b;

	(void)state;
	world_init(2);
	a = world_file(0, 5, X, 0);
	cfs_lease_client_release(a);
	world_run();
	b = world_file(1, 5, X, 0);
	assert_true(is_held(b));
	world_disconnect(0);
	world_connect(0);
	world_run();
	assert_int_equal(cfs_owner_lease_count(world.owner), 1);
	assert_true(cfs_lease_client_still_holds(b));
	world_pass(2 * T_NS);
	assert_true(cfs_lease_client_still_holds(b));
	cfs_lease_client_release(b);
	world_run();
	world_done();
}

/* Where messages may come in any order an answer is waited for. */
static void test_unordered(void **state)
{
	struct cfs_lease *a;

	(void)state;
	world_init(0);
	world.is_unordered = true;
	world_client_new(0);
	world_connect(0);
	a = world_file(0, 5, X, 0);
	world.clients[0].is_cut = true;
	cfs_lease_client_release(a);
	world_run();
	world.clients[0].is_cut = false;
	assert_int_equal(cfs_owner_lease_count(world.owner), 1);
	world_pass(T_NS / 2);
	assert_int_equal(cfs_owner_lease_count(world.owner), 0);
	world_done();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_lost_with_the_connection),
		cmocka_unit_test(test_said_twice),
		cmocka_unit_test(test_unordered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
