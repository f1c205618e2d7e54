/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Owner and client together, in made-up time: periods to the nanosecond,
 * queues, recalls, revocation, seals, and being cut off.
 */
#include "lease_world.h"

#define X          CFS_LOCK_X
#define S          CFS_LOCK_S
#define RECALLABLE CFS_MSG_LOCK_RECALLABLE

static uint64_t owner_ns(void)
{
	return cfs_period_owner_ns(T_NS, CFS_DRIFT_PPM_DEFAULT);
}

static void release(struct cfs_lease *lease)
{
	cfs_lease_client_release(lease);
	world_run();
}

static void test_grant_and_queue(void **state)
{
	struct cfs_lease *a, *b;

	(void)state;
	world_init(2);
	a = world_file(0, 5, X, 0);
	assert_true(is_held(a));
	assert_int_equal(world.clients[0].done_count, 1);
	b = world_file(1, 5, S, 0);
	assert_int_equal(cfs_lease_state_of(b), CFS_LEASE_ASKED);
	release(a);
	assert_true(is_held(b));
	assert_true(cfs_lease_generation_of(b) > 0);
	assert_int_equal(cfs_owner_lease_count(world.owner), 1);
	release(b);
	assert_int_equal(cfs_owner_lease_count(world.owner), 0);
	assert_int_equal(world.event_count[CFS_EVENT_GRANT], 2);
	assert_int_equal(world.event_count[CFS_EVENT_RELEASE], 2);
	world_done();
}

static void test_no_wait(void **state)
{
	struct cfs_lease_request req = world_request(5, 0, WHOLE, X, 0);
	struct cfs_lease *a, *b;

	(void)state;
	world_init(2);
	a = world_ask(0, &req);
	b = world_ask(1, &req);
	assert_int_equal(cfs_lease_state_of(b), CFS_LEASE_REFUSED);
	assert_int_equal(world.clients[1].done_status, -EBUSY);
	release(b);
	release(a);
	world_done();
}

/* To the nanosecond, on both sides. */
static void test_period_edges(void **state)
{
	uint64_t sent_ns;
	struct cfs_lease *a, *b;

	(void)state;
	world_init(2);
	world_pass(CFS_NS_PER_S);
	sent_ns = world_now();
	a = world_file(0, 5, X, 0);
	b = world_file(1, 5, X, 0);
	/* 0 is cut off and its own clock goes on. */
	world.clients[0].is_cut = true;
	world.clock.elapsed_ns = sent_ns + T_NS / 2;
	world_tick();
	world.clock.elapsed_ns = sent_ns + T_NS - 1;
	assert_true(cfs_lease_client_still_holds(a));
	assert_true(cfs_lease_client_may_start(a, 0));
	assert_false(cfs_lease_client_may_start(a, 1));
	world.clock.elapsed_ns = sent_ns + T_NS;
	assert_false(cfs_lease_client_still_holds(a));
	assert_false(cfs_lease_client_may_start(a, 0));
	cfs_lease_client_tick(world.clients[1].client);
	world_run();
	world.clock.elapsed_ns = sent_ns + owner_ns();
	world_tick();
	assert_false(is_held(b));
	assert_int_equal(world.event_count[CFS_EVENT_EXPIRE], 0);
	world.clock.elapsed_ns++;
	world_tick();
	assert_true(is_held(b));
	assert_int_equal(world.event_count[CFS_EVENT_EXPIRE], 1);
	assert_int_equal(cfs_lease_state_of(a), CFS_LEASE_LOST);
	assert_int_equal(world.clients[0].all_lost_count, 1);
	world_done();
}

/* Who was told the old one keeps it, on both sides. */
static void test_period_is_changed(void **state)
{
	struct cfs_lease *a, *b, *c, *d;

	(void)state;
	world_init(2);
	assert_int_equal(cfs_owner_set_period(world.owner, 0, NULL), -EINVAL);
	assert_int_equal(cfs_owner_set_period(world.owner, CFS_NS_PER_S, NULL),
			 0);
	world_client_new(2);
	world_connect(2);
	a = world_file(0, 5, X, 0);
	b = world_file(2, 6, X, 0);
	c = world_file(1, 5, X, 0);
	d = world_file(1, 6, X, 0);
	world.clients[0].is_cut = world.clients[2].is_cut = true;
	world_pass(2 * CFS_NS_PER_S);
	assert_false(cfs_lease_client_still_holds(b));
	assert_true(is_held(d));
	assert_true(cfs_lease_client_still_holds(a));
	assert_false(is_held(c));
	world_pass(T_NS);
	assert_true(is_held(c));
	world_done();
}

static void test_tick_tells_when(void **state)
{
	struct cfs_lease *a;
	uint64_t next;

	(void)state;
	world_init(1);
	a = world_file(0, 5, X, 0);
	world.clients[0].is_cut = true;
	next = cfs_owner_tick(world.owner);
	assert_int_equal(next, world_now() + owner_ns() + 1);
	world.clock.elapsed_ns = next;
	cfs_owner_tick(world.owner);
	assert_int_equal(world.event_count[CFS_EVENT_EXPIRE], 1);
	assert_int_equal(world.ended, CFS_OWNER_END_EXPIRED);
	next = cfs_lease_client_tick(world.clients[0].client);
	assert_int_equal(cfs_lease_state_of(a), CFS_LEASE_LOST);
	assert_true(next > world_now());
	world_done();
}

/* Renewals are few and hold all; the client's period follows. */
static void test_renewal(void **state)
{
	struct cfs_lease *a;

	(void)state;
	world_init(2);
	a = world_file(0, 5, X, 0);
	for (uint64_t ino = 100; ino < 150; ino++)
		world_file(0, ino, X, 0);
	world_pass(100 * CFS_NS_PER_S);
	assert_true(cfs_lease_client_still_holds(a));
	assert_int_equal(cfs_owner_lease_count(world.owner), 51);
	assert_int_equal(world.event_count[CFS_EVENT_EXPIRE], 0);
	/* Other requests renew too. */
	world.clients[0].is_cut = true;
	for (uint64_t id = 1000; id < 1010; id++) {
		uint64_t client = 0;

		cfs_clock_manual_advance(&world.clock, T_NS / 2);
		cfs_lease_client_sent(world.clients[0].client, id);
		assert_int_equal(cfs_owner_touch(world.owner,
						 world.clients[0].peer,
						 &client),
				 0);
		cfs_lease_client_replied(world.clients[0].client, id, 0);
		assert_true(cfs_lease_client_still_holds(a));
		assert_int_equal(client,
				 cfs_lease_client_id(world.clients[0].client));
	}
	world_done();
}

/* Deaf: the owner hears the renewals, the client no answer. */
static void test_deaf_client_loses(void **state)
{
	struct cfs_lease *a, *b;

	(void)state;
	world_init(2);
	a = world_file(0, 5, X, 0);
	b = world_file(1, 5, X, 0);
	world.clients[0].is_deaf = true;
	world_pass(T_NS + CFS_NS_PER_S);
	assert_int_equal(cfs_lease_state_of(a), CFS_LEASE_LOST);
	assert_false(is_held(b));
	world_pass(2 * T_NS);
	assert_true(is_held(b));
	world_done();
}

static void test_seal_before_grant(void **state)
{
	struct cfs_lease *b;

	(void)state;
	world_init(2);
	world.seals_later = true;
	world_file(0, 5, X, 0);
	b = world_file(1, 5, X, 0);
	world_disconnect(0);
	world_pass(3 * T_NS);
	assert_int_equal(world.seal_count, 1);
	assert_int_equal(world.seal_end, CFS_OWNER_END_EXPIRED);
	assert_false(is_held(b));
	cfs_owner_sealed(world.owner, world.seal_client + 1, 0);
	world_run();
	assert_false(is_held(b));
	cfs_owner_sealed(world.owner, world.seal_client, 0);
	world_run();
	assert_true(is_held(b));
	assert_int_equal(cfs_owner_client_count(world.owner), 1);
	world_done();
}

static void test_gone(void **state)
{
	struct cfs_lease *b;
	uint64_t id;

	(void)state;
	world_init(2);
	world_file(0, 5, X, 0);
	b = world_file(1, 5, X, 0);
	id = cfs_lease_client_id(world.clients[0].client);
	world_disconnect(0);
	assert_int_equal(cfs_owner_gone(world.owner, id), 0);
	world_run();
	assert_true(is_held(b));
	assert_int_equal(world.seal_end, CFS_OWNER_END_GONE);
	assert_int_equal(cfs_owner_gone(world.owner, id), -ENOENT);
	assert_int_equal(cfs_owner_gone_host(world.owner, "host1"), 0);
	assert_int_equal(cfs_owner_client_count(world.owner), 0);
	world_done();
}

static void test_goodbye(void **state)
{
	(void)state;
	world_init(1);
	cfs_lease_client_goodbye(world.clients[0].client);
	world_run();
	assert_int_equal(cfs_owner_client_count(world.owner), 0);
	assert_int_equal(world.ended, CFS_OWNER_END_GOODBYE);
	assert_int_equal(world.seal_count, 0);
	assert_false(cfs_lease_client_is_alive(world.clients[0].client));
	world_done();
}

/* Same connection lost and found: everything is as it was. */
static void test_reconnect(void **state)
{
	struct cfs_lease *a, *b, *w;
	uint64_t id;

	(void)state;
	world_init(2);
	a = world_file(0, 5, X, 0);
	b = world_file(1, 6, X, 0);
	w = world_file(1, 5, S, 0);
	id = cfs_lease_client_id(world.clients[1].client);
	world_disconnect(1);
	cfs_lease_client_release(a);
	world_run(); /* the grant goes to nobody */
	assert_false(is_held(w));
	world_connect(1);
	assert_int_equal(cfs_lease_client_id(world.clients[1].client), id);
	assert_true(is_held(w) && is_held(b));
	assert_int_equal(cfs_owner_lease_count(world.owner), 2);
	world_done();
}

/* A request whose connection broke before it arrived. */
static void test_request_lost_with_connection(void **state)
{
	struct cfs_lease_request req = world_request(5, 0, WHOLE, X, 0);
	struct cfs_lease *a;

	(void)state;
	world_init(1);
	world.clients[0].is_cut = true;
	a = world_ask(0, &req);
	world_disconnect(0);
	world.clients[0].is_cut = false;
	world_connect(0);
	assert_true(is_held(a));
	world_done();
}

/* A lone message that is lost: sent again, and served. */
static void test_message_lost(void **state)
{
	struct cfs_lease *a, *b;

	(void)state;
	world_init(1);
	world.clients[0].is_cut = true;
	a = world_file(0, 5, X, 0);
	world.clients[0].is_cut = false;
	b = world_file(0, 6, X, 0); /* overtakes it */
	world_pass(T_NS / 2);
	assert_true(is_held(a) && is_held(b));
	assert_int_equal(cfs_owner_lease_count(world.owner), 2);
	/* The answer is lost: the same lease, not another one. */
	world.clients[0].is_deaf = true;
	release(a);
	a = world_file(0, 7, X, 0);
	world.clients[0].is_deaf = false;
	world_pass(T_NS / 2);
	assert_true(is_held(a));
	assert_int_equal(cfs_owner_lease_count(world.owner), 2);
	world_done();
}

static void test_cancel(void **state)
{
	struct cfs_lease *a, *b, *c;

	(void)state;
	world_init(3);
	a = world_file(0, 5, S, 0);
	b = world_file(1, 5, X, 0);
	c = world_file(2, 5, S, 0);
	assert_false(is_held(c));
	release(b);
	assert_true(is_held(c));
	assert_int_equal(cfs_owner_lease_count(world.owner), 2);
	/* Granted in the same moment: it goes straight back. */
	b = world_file(1, 5, X, 0);
	release(c);
	cfs_lease_client_release(a);
	cfs_lease_client_release(b);
	world_run();
	assert_int_equal(cfs_owner_lease_count(world.owner), 0);
	world_done();
}

static void test_change(void **state)
{
	struct cfs_lease *a, *b;

	(void)state;
	world_init(2);
	a = world_file(0, 5, S, 0);
	b = world_file(1, 5, S, 0);
	assert_int_equal(cfs_lease_client_change(a, X, false, NULL), 0);
	world_run();
	assert_int_equal(world.clients[0].done_status, -EBUSY);
	assert_int_equal(cfs_lease_client_change(a, X, true, NULL), 0);
	world_run();
	assert_int_equal(cfs_lease_client_change(b, X, true, NULL), 0);
	world_run();
	assert_int_equal(world.clients[1].done_status, -EDEADLK);
	release(b);
	assert_int_equal(cfs_lease_mode_of(a), X);
	assert_int_equal(world.clients[0].done_status, 0);
	b = world_file(1, 5, S, 0);
	assert_int_equal(cfs_lease_client_change(a, S, true, NULL), 0);
	world_run();
	assert_true(is_held(b));
	assert_int_equal(cfs_lease_client_change(a, X, true, NULL), 0);
	world_run();
	cfs_lease_client_change_cancel(a);
	world_run();
	assert_int_equal(world.clients[0].done_status, -ECANCELED);
	assert_int_equal(cfs_lease_mode_of(a), S);
	world_done();
}

static void test_cache_and_recall(void **state)
{
	struct cfs_lease *a, *b, *again;
	uint64_t grant;

	(void)state;
	world_init(2);
	world.clients[0].yields = true;
	a = world_file(0, 5, X, RECALLABLE);
	grant = cfs_lease_grant_of(a);
	release(a);
	assert_int_equal(cfs_owner_lease_count(world.owner), 1);
	/* From the cache: held at once, without a message. */
	world.clients[0].is_cut = true;
	a = world_file(0, 5, S, RECALLABLE);
	assert_true(is_held(a));
	assert_int_equal(cfs_lease_grant_of(a), grant);
	world.clients[0].is_cut = false;
	b = world_file(1, 5, X, RECALLABLE);
	assert_int_equal(world.clients[0].recall_count, 1);
	assert_int_equal(world.clients[0].recall_mode, CFS_LOCK_NONE);
	assert_true(cfs_lease_is_recalled(a, NULL));
	assert_false(is_held(b));
	/* While it is used, it goes on serving for a while, not longer. */
	again = world_file(0, 5, X, RECALLABLE);
	assert_true(is_held(again));
	release(again);
	world_pass(T_NS / 8);
	again = world_file(0, 5, X, RECALLABLE);
	assert_false(is_held(again));
	release(a);
	assert_true(is_held(b));
	assert_false(is_held(again));
	assert_int_equal(world.clients[0].dropped_count, 1);
	/* Not before what is cached under it is durable. */
	release(b);
	assert_false(is_held(again));
	cfs_lease_client_yield(world.clients[1].client,
			       world.clients[1].recall_id);
	world_run();
	assert_true(is_held(again));
	world_done();
}

/* A reader makes a writer's grant one for reading. */
static void test_recall_to_shared(void **state)
{
	struct cfs_lease *a, *b;

	(void)state;
	world_init(2);
	a = world_file(0, 5, X, RECALLABLE);
	release(a);
	b = world_file(1, 5, S, RECALLABLE);
	assert_false(is_held(b));
	assert_int_equal(world.clients[0].recall_mode, S);
	assert_null(world.clients[0].recall_last);
	cfs_lease_client_yield(world.clients[0].client,
			       world.clients[0].recall_id);
	world_run();
	assert_true(is_held(b));
	assert_int_equal(cfs_owner_lease_count(world.owner), 2);
	world.clients[0].is_cut = true;
	a = world_file(0, 5, S, RECALLABLE);
	assert_true(is_held(a));
	world_done();
}

static void test_cache_is_bounded(void **state)
{
	(void)state;
	world_init(1);
	for (uint64_t ino = 1; ino <= 10; ino++)
		release(world_file(0, ino, S, RECALLABLE));
	assert_int_equal(cfs_owner_lease_count(world.owner), 3);
	cfs_lease_client_drop_cached(world.clients[0].client);
	world_run();
	assert_int_equal(cfs_owner_lease_count(world.owner), 0);
	world_done();
}

/* Not answered: stopped after recall_ns, ended by the period of then. */
static void test_recall_unanswered(void **state)
{
	struct cfs_lease *a, *b, *other;
	uint64_t recalled_ns;

	(void)state;
	world_init(2);
	world.seals_later = true;
	a = world_file(0, 5, X, RECALLABLE);
	other = world_file(0, 6, X, 0);
	b = world_file(1, 5, X, 0);
	recalled_ns = world_now();
	world_pass(T_NS);
	assert_int_equal(world.clients[0].recall_count, 1);
	assert_true(cfs_lease_client_still_holds(a));
	world_pass(200 * CFS_NS_PER_MS);
	assert_int_equal(world.clients[0].recall_count, 2); /* FINAL */
	assert_true(cfs_lease_client_still_holds(a));
	while (cfs_lease_client_still_holds(a)) {
		assert_false(is_held(b));
		world_pass(CFS_NS_PER_MS * 10);
	}
	assert_true(world_now() <= recalled_ns + 2 * T_NS + CFS_NS_PER_S);
	assert_int_equal(world.clients[0].lost_count, 1);
	assert_int_equal(cfs_lease_state_of(a), CFS_LEASE_LOST);
	world_pass(T_NS / 2);
	assert_int_equal(world.event_count[CFS_EVENT_REVOKE], 1);
	assert_int_equal(world.seal_lease != 0, true);
	assert_false(is_held(b));
	cfs_owner_sealed(world.owner, world.seal_client, world.seal_lease);
	world_run();
	assert_true(is_held(b));
	assert_true(cfs_lease_client_still_holds(other));
	assert_int_equal(world.clients[0].all_lost_count, 0);
	world_done();
}

/* The FINAL never reached it: neither may anything that extends. */
static void test_revoke_behind_reconnect(void **state)
{
	struct cfs_lease *a;

	(void)state;
	world_init(2);
	a = world_file(0, 5, X, 0);
	world_disconnect(0);
	assert_int_equal(
		cfs_owner_revoke_lease(world.owner, cfs_lease_grant_of(a)), 0);
	world_pass(T_NS / 2);
	world_connect(0);
	assert_true(cfs_lease_client_still_holds(a));
	world_pass(T_NS / 2);
	assert_false(cfs_lease_client_still_holds(a));
	assert_true(cfs_lease_client_is_alive(world.clients[0].client));
	world_done();
}

static void test_revoke_client(void **state)
{
	struct cfs_lease *a, *b;

	(void)state;
	world_init(2);
	a = world_file(0, 5, X, 0);
	b = world_file(1, 5, X, 0);
	assert_int_equal(cfs_owner_revoke_client(
				 world.owner,
				 cfs_lease_client_id(world.clients[0].client)),
			 0);
	world_pass(T_NS / 2);
	assert_true(cfs_lease_client_still_holds(a));
	assert_false(is_held(b));
	world_pass(T_NS);
	assert_int_equal(cfs_lease_state_of(a), CFS_LEASE_LOST);
	assert_true(is_held(b));
	assert_int_equal(world.ended, CFS_OWNER_END_REVOKED);
	world_done();
}

static void test_borrow(void **state)
{
	struct cfs_lease_request req = world_request(5, 0, 10, X,
						     CFS_MSG_LOCK_WAIT);
	struct cfs_lease_name name;
	struct cfs_lease *a, *b, *c;

	(void)state;
	world_init(3);
	a = world_file(0, 0, X, 0);
	cfs_lease_name_of(a, &name);
	req.lender_lease = name.lease_id;
	memcpy(req.lender_secret, name.secret, sizeof(name.secret));
	b = world_ask(1, &req);
	assert_true(is_held(b));
	req.lender_secret[0] ^= 1;
	c = world_ask(2, &req);
	assert_int_equal(world.clients[2].done_status, -EPERM);
	release(c);
	req.lender_secret[0] ^= 1;
	c = world_ask(2, &req);
	assert_int_equal(cfs_lease_state_of(c), CFS_LEASE_ASKED);
	release(b);
	assert_true(is_held(c));
	release(c);
	release(a);
	(void)world_ask(2, &req);
	assert_int_equal(world.clients[2].done_status, -ESTALE);
	world_done();
}

static void test_limits(void **state)
{
	struct cfs_lease *w[8], *a;
	unsigned int refused = 0;

	(void)state;
	world_init(0);
	cfs_owner_free(world.owner);
	world.config.waiting_per_client_max = 4;
	world.config.leases_per_client_max = 6;
	world.config.clients_max = 2;
	world_owner(1, 0);
	for (unsigned int i = 0; i < 3; i++) {
		world_client_new(i);
		world_connect(i);
	}
	assert_false(cfs_lease_client_is_welcome(world.clients[2].client));
	assert_int_equal(world.clients[2].stale_count, 1);
	a = world_file(0, 5, X, 0);
	for (size_t i = 0; i < 8; i++) {
		w[i] = world_file(1, 5, X, 0);
		refused += cfs_lease_state_of(w[i]) == CFS_LEASE_REFUSED;
	}
	assert_int_equal(refused, 4);
	assert_int_equal(world.clients[1].done_status, -EAGAIN);
	for (uint64_t ino = 10; ino < 20; ino++)
		world_file(0, ino, X, 0);
	assert_int_equal(world.clients[0].done_status, -ENOBUFS);
	release(a);
	world_done();
}

/* All in one process by function call, with callbacks that call back. */
static void test_direct(void **state)
{
	struct cfs_lease_request req = world_request(5, 0, WHOLE, X, 0);
	struct cfs_lease *a, *b = NULL;
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	world_init(2);
	world.is_direct = true;
	world.clients[0].yields = true;
	a = world_file(0, 5, X, RECALLABLE);
	assert_true(is_held(a));
	assert_int_equal(world.clients[0].done_count, 0);
	assert_int_equal(cfs_lease_client_acquire(world.clients[1].client, &req,
						  &b, &err),
			 -EBUSY);
	assert_non_null(strstr(err.msg, "somebody else"));
	cfs_lease_client_release(a);
	b = world_file(1, 5, X, 0);
	assert_true(is_held(b)); /* recalled and granted in one go */
	cfs_lease_client_release(b);
	world_done();
}

#define TEST(fn) cmocka_unit_test(fn)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_grant_and_queue),
		TEST(test_no_wait),
		TEST(test_period_edges),
		TEST(test_period_is_changed),
		TEST(test_tick_tells_when),
		TEST(test_renewal),
		TEST(test_deaf_client_loses),
		TEST(test_seal_before_grant),
		TEST(test_gone),
		TEST(test_goodbye),
		TEST(test_reconnect),
		TEST(test_request_lost_with_connection),
		TEST(test_message_lost),
		TEST(test_cancel),
		TEST(test_change),
		TEST(test_cache_and_recall),
		TEST(test_recall_to_shared),
		TEST(test_cache_is_bounded),
		TEST(test_recall_unanswered),
		TEST(test_revoke_behind_reconnect),
		TEST(test_revoke_client),
		TEST(test_borrow),
		TEST(test_limits),
		TEST(test_direct),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
