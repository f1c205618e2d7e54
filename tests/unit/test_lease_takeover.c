/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Another owner: grace, reclaim, silent clients; standing clients; status,
 * watching and orders as messages.
 */
#include "lease_world.h"

#define X CFS_LOCK_X
#define S CFS_LOCK_S

static uint64_t grace_ns(void)
{
	return cfs_period_owner_ns(T_NS, CFS_DRIFT_PPM_DEFAULT);
}

/* The owner dies; its clients are cut off.  The next one has not begun. */
static void owner_dies(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		world_disconnect(i);
	cfs_owner_free(world.owner);
	world.owner = NULL;
	world_run();
}

static void test_reclaim(void **state)
{
	struct cfs_lease *a, *b, *c;
	uint64_t id, grant, generation;

	(void)state;
	world_init(3);
	a = world_file(0, 5, X, 0);
	b = world_file(1, 5, S, 0); /* waits */
	id = cfs_lease_client_id(world.clients[0].client);
	grant = cfs_lease_grant_of(a);
	generation = cfs_lease_generation_of(a);
	world_pass(CFS_NS_PER_S);
	owner_dies(3);
	world_owner(2, grace_ns());
	/* Those who come first get nothing that others may still hold. */
	world_connect(1);
	c = world_file(1, 6, X, 0);
	assert_false(is_held(b) || is_held(c));
	world_pass(CFS_NS_PER_S);
	world_connect(0);
	assert_true(is_held(a));
	assert_int_equal(cfs_lease_client_id(world.clients[0].client), id);
	assert_int_equal(cfs_lease_grant_of(a), grant);
	assert_int_equal(cfs_lease_generation_of(a), generation);
	world_pass(grace_ns());
	assert_false(cfs_owner_is_in_grace(world.owner));
	assert_true(is_held(c));
	assert_false(is_held(b));
	assert_true(cfs_lease_client_still_holds(a));
	assert_true(cfs_lease_generation_of(c) > generation);
	cfs_lease_client_release(a);
	world_run();
	assert_true(is_held(b));
	assert_int_equal(world.event_count[CFS_EVENT_TAKEOVER], 1);
	world_done();
}

/* Back only behind the grace: all is lost, nothing is done twice. */
static void test_too_late(void **state)
{
	struct cfs_lease *a, *b;
	uint64_t id;

	(void)state;
	world_init(2);
	a = world_file(0, 5, X, 0);
	id = cfs_lease_client_id(world.clients[0].client);
	owner_dies(2);
	world_owner(2, grace_ns());
	world_connect(1);
	b = world_file(1, 5, X, 0);
	world_pass(grace_ns() + CFS_NS_PER_S);
	assert_true(is_held(b));
	assert_int_equal(cfs_lease_state_of(a), CFS_LEASE_LOST);
	world_connect(0);
	assert_true(cfs_lease_client_is_welcome(world.clients[0].client));
	assert_true(cfs_lease_client_id(world.clients[0].client) != id);
	world_done();
}

/*
 * WELCOME came in time and RECLAIM did not: the lease ends with the period of
 * the former owner, though the client's runs on.
 */
static void test_reclaim_lost(void **state)
{
	struct cfs_lease *a, *b;
	uint64_t ends_ns;

	(void)state;
	world_init(2);
	a = world_file(0, 5, X, 0);
	ends_ns = cfs_lease_client_ends_ns(world.clients[0].client);
	owner_dies(2);
	world_pass(CFS_NS_PER_S);
	world_owner(2, grace_ns());
	world_connect(1);
	b = world_file(1, 5, X, 0);
	/* The message behind the WELCOME is eaten. */
	world.clients[0].peer = ++world.next_peer;
	cfs_lease_client_connected(world.clients[0].client);
	world_deliver(world.first); /* HELLO */
	world.clients[0].is_cut = true;
	world_run();
	assert_true(cfs_lease_client_is_welcome(world.clients[0].client));
	assert_true(cfs_lease_client_ends_ns(world.clients[0].client) >
		    ends_ns);
	world.clock.elapsed_ns = ends_ns - 1;
	assert_true(cfs_lease_client_still_holds(a));
	world.clock.elapsed_ns = ends_ns;
	assert_false(cfs_lease_client_still_holds(a));
	world_tick();
	assert_int_equal(world.clients[0].lost_count, 1);
	assert_int_equal(world.clients[0].all_lost_count, 0);
	assert_false(is_held(b));
	world_pass(2 * CFS_NS_PER_S);
	assert_true(is_held(b));
	world_done();
}

/* Two who say that they held it: the second is refused. */
static void test_reclaim_conflict(void **state)
{
	struct cfs_lease *a, *b;

	(void)state;
	world_init(2);
	a = world_file(0, 5, S, 0);
	b = world_file(1, 5, S, 0);
	owner_dies(2);
	world_owner(2, grace_ns());
	world_connect(0);
	world_connect(1);
	assert_true(cfs_lease_client_still_holds(a));
	assert_true(cfs_lease_client_still_holds(b));
	assert_int_equal(cfs_lease_client_change(a, X, true, NULL), 0);
	world_pass(grace_ns() + CFS_NS_PER_S);
	assert_int_equal(cfs_lease_mode_of(a), S);
	cfs_lease_client_release(b);
	world_run();
	assert_int_equal(cfs_lease_mode_of(a), X);
	world_done();
}

/* Known from durable records, and silent: sealed before anything new. */
static void test_preloaded_silent(void **state)
{
	struct cfs_owner_known known = { .client_id = UINT64_C(1) << 32 | 77,
					 .host = "elsewhere",
					 .pid = 5 };
	struct cfs_lease *b;

	(void)state;
	world_init(1);
	owner_dies(1);
	world_owner(2, grace_ns());
	world.seals_later = true;
	assert_int_equal(cfs_owner_preload(world.owner, &known, NULL), 0);
	assert_int_equal(cfs_owner_preload(world.owner, &known, NULL), -EINVAL);
	world_connect(0);
	b = world_file(0, 5, X, 0);
	world_pass(grace_ns() + CFS_NS_PER_S);
	assert_int_equal(world.seal_client, known.client_id);
	assert_false(is_held(b));
	cfs_owner_sealed(world.owner, known.client_id, 0);
	world_run();
	assert_true(is_held(b));
	world_done();
}

static void test_preloaded_returns(void **state)
{
	struct cfs_owner_known known = { .host = "host0", .pid = 100 };
	struct cfs_lease *a, *b;

	(void)state;
	world_init(2);
	a = world_file(0, 5, X, 0);
	known.client_id = cfs_lease_client_id(world.clients[0].client);
	owner_dies(2);
	world_owner(2, grace_ns());
	assert_int_equal(cfs_owner_preload(world.owner, &known, NULL), 0);
	world_connect(1);
	b = world_file(1, 6, X, 0);
	world_connect(0);
	assert_true(cfs_lease_client_still_holds(a));
	/* All are back: the caller may end the grace. */
	assert_false(is_held(b));
	cfs_owner_end_grace(world.owner);
	world_run();
	assert_true(is_held(b));
	assert_int_equal(world.seal_count, 0);
	world_pass(3 * T_NS);
	assert_true(cfs_lease_client_still_holds(a));
	world_done();
}

/* Cached and recallable grants are reclaimed too, and recalled. */
static void test_reclaim_is_recalled(void **state)
{
	struct cfs_lease *a, *b;

	(void)state;
	world_init(2);
	world.clients[0].yields = true;
	a = world_file(0, 5, X, CFS_MSG_LOCK_RECALLABLE);
	cfs_lease_client_release(a);
	owner_dies(2);
	world_owner(2, grace_ns());
	world_connect(1);
	b = world_file(1, 5, X, 0);
	world_connect(0);
	assert_int_equal(world.clients[0].recall_count, 1);
	world_pass(grace_ns() + CFS_NS_PER_S);
	assert_true(is_held(b));
	world_done();
}

/* ---- messages by hand ---------------------------------------------------- */

static uint8_t sent[CFS_MSG_BYTES_MAX];
static uint8_t answer[CFS_MSG_BYTES_MAX];
static size_t answer_bytes;
static unsigned int answer_count;

static int hand_send(void *arg, uint64_t peer, const void *msg, size_t bytes)
{
	(void)arg;
	if (peer == 99)
		return -EAGAIN;
	memcpy(answer, msg, bytes);
	answer_bytes = bytes;
	answer_count++;
	return 0;
}

static struct cfs_wire_put put;

static void hand_begin(uint16_t type, uint64_t id)
{
	cfs_wire_put_init(&put, sent, sizeof(sent));
	cfs_msg_begin(&put, type, id);
}

static int last_answer(struct cfs_wire_get *body)
{
	struct cfs_msg_head head;

	assert_int_equal(cfs_msg_open(answer, answer_bytes, &head, body, NULL),
			 0);
	return cfs_msg_reply_status(&head, body->data, body->bytes, NULL);
}

/* The status of the last answer, its body in @body. */
static int hand_end(uint64_t peer, struct cfs_wire_get *body)
{
	assert_int_equal(cfs_msg_end(&put), 0);
	answer_bytes = 0;
	if (cfs_owner_receive(world.owner, peer, sent, put.bytes) < 0)
		return -EPROTO;
	return answer_bytes ? last_answer(body) : 0;
}

static struct cfs_msg_welcome hand_hello(uint64_t peer, uint32_t flags,
					 const struct cfs_msg_welcome *old)
{
	struct cfs_msg_hello hello = { .flags = flags, .host = "by-hand" };
	struct cfs_msg_welcome m = { .client_id = 0 };
	struct cfs_wire_get body;

	if (old) {
		hello.client_id = old->client_id;
		hello.epoch = old->epoch;
		memcpy(hello.secret, old->secret, sizeof(hello.secret));
	}
	hand_begin(CFS_MSG_HELLO, 1);
	cfs_msg_hello_pack(&hello, &put);
	assert_int_equal(hand_end(peer, &body), 0);
	assert_int_equal(cfs_msg_welcome_unpack(&body, &m, NULL), 0);
	return m;
}

static int hand_lock(uint64_t peer, uint64_t ino, uint64_t serial,
		     uint32_t flags, struct cfs_msg_grant *ret)
{
	struct cfs_msg_lock m = { .resource = { 1, 2, ino, 0, WHOLE },
				  .mode = X,
				  .serial = serial,
				  .flags = flags };
	struct cfs_wire_get body;
	int r;

	hand_begin(CFS_MSG_LOCK, 100 + serial);
	cfs_msg_lock_pack(&m, &put);
	r = hand_end(peer, &body);
	if (r == 0 && answer_bytes)
		assert_int_equal(cfs_msg_grant_unpack(&body, ret, NULL), 0);
	return r;
}

static void hand_init(void)
{
	static const struct cfs_owner_ops ops = { .send = hand_send,
						  .event = owner_on_event };

	memset(&world, 0, sizeof(world));
	world.last = &world.first;
	cfs_clock_manual_init(&world.clock, 1000, 0);
	world.config.period_ns = T_NS;
	world.config.epoch = 3;
	answer_count = 0;
	assert_int_equal(cfs_owner_new(&world.config, &ops, NULL,
				       &world.clock.clock, &world.owner, NULL),
			 0);
}

/* What "acquire" leaves behind: renewed and released by others. */
static void test_standing(void **state)
{
	struct cfs_msg_welcome me, other;
	struct cfs_msg_renew renew = { .client_id = 0 };
	struct cfs_msg_lease lease = { .lease_id = 0 };
	struct cfs_msg_grant grant;
	struct cfs_wire_get body;

	(void)state;
	hand_init();
	me = hand_hello(1, CFS_HELLO_STANDING, NULL);
	assert_int_equal(me.client_id >> 32, 3);
	assert_int_equal(hand_lock(1, 5, 1, 0, &grant), 0);
	cfs_owner_closed(world.owner, 1);
	other = hand_hello(2, CFS_HELLO_OBSERVER, NULL);
	assert_int_equal(other.client_id, 0);
	for (int i = 0; i < 5; i++) {
		cfs_clock_manual_advance(&world.clock, T_NS);
		renew.client_id = me.client_id;
		memcpy(renew.secret, me.secret, sizeof(renew.secret));
		hand_begin(CFS_MSG_RENEW, 5);
		cfs_msg_renew_pack(&renew, &put);
		assert_int_equal(hand_end(2, &body), 0);
	}
	assert_int_equal(cfs_owner_lease_count(world.owner), 1);
	renew.secret[3] ^= 1;
	hand_begin(CFS_MSG_RENEW, 5);
	cfs_msg_renew_pack(&renew, &put);
	assert_int_equal(hand_end(2, &body), -ESTALE);
	lease.lease_id = grant.lease_id;
	lease.client_id = me.client_id;
	lease.secret[3] = (uint8_t)(me.secret[3] ^ 1);
	hand_begin(CFS_MSG_UNLOCK, 6);
	cfs_msg_lease_pack(&lease, &put);
	assert_int_equal(hand_end(2, &body), -ENOENT);
	memcpy(lease.secret, me.secret, sizeof(lease.secret));
	hand_begin(CFS_MSG_UNLOCK, 6);
	cfs_msg_lease_pack(&lease, &put);
	assert_int_equal(hand_end(2, &body), 0);
	assert_int_equal(cfs_owner_client_count(world.owner), 0);
	world_done();
}

/* A renewal for the sake of a lease is none where that one has ended. */
static void test_standing_revoked(void **state)
{
	struct cfs_msg_renew_lease of = { .lease_id = 0 };
	struct cfs_msg_renew renew = { .client_id = 0 };
	struct cfs_msg_grant one, two;
	struct cfs_wire_get body;
	int r;

	(void)state;
	hand_init();
	renew.client_id = hand_hello(1, CFS_HELLO_STANDING, NULL).client_id;
	assert_int_equal(hand_lock(1, 5, 1, 0, &one), 0);
	assert_int_equal(hand_lock(1, 6, 2, 0, &two), 0);
	cfs_owner_closed(world.owner, 1);
	hand_hello(2, CFS_HELLO_OBSERVER, NULL);
	assert_int_equal(cfs_owner_revoke_lease(world.owner, one.lease_id), 0);
	for (int i = 0; i < 3; i++) {
		for (int is_one = 0; is_one < 2; is_one++) {
			of.lease_id = is_one ? one.lease_id : two.lease_id;
			hand_begin(CFS_MSG_RENEW, 5);
			cfs_msg_renew_pack(&renew, &put);
			cfs_msg_renew_lease_pack(&of, &put);
			r = hand_end(2, &body);
			assert_int_equal(r, is_one ? -ESTALE : 0);
		}
		cfs_clock_manual_advance(&world.clock, T_NS * 9 / 10);
		cfs_owner_tick(world.owner);
	}
	world_done();
}

/* By its id alone: what has no connection, and nothing else. */
static void test_standing_by_id(void **state)
{
	struct cfs_msg_renew renew = { .client_id = 0 };
	struct cfs_msg_lease lease = { .lease_id = 0 };
	struct cfs_msg_welcome me;
	struct cfs_msg_grant grant = { .lease_id = 0 };
	struct cfs_wire_get body;

	(void)state;
	hand_init();
	hand_hello(2, CFS_HELLO_OBSERVER, NULL);
	for (int is_standing = 0; is_standing < 2; is_standing++) {
		me = hand_hello(1, is_standing ? CFS_HELLO_STANDING : 0, NULL);
		assert_int_equal(hand_lock(1, 5, 1, 0, &grant), 0);
		renew.client_id = lease.client_id = me.client_id;
		lease.lease_id = grant.lease_id;
		for (int is_cut = 0; is_cut < 2; is_cut++) {
			bool may = is_standing && is_cut;

			if (is_cut)
				cfs_owner_closed(world.owner, 1);
			hand_begin(CFS_MSG_RENEW, 5);
			cfs_msg_renew_pack(&renew, &put);
			assert_int_equal(hand_end(2, &body), may ? 0 : -ESTALE);
			hand_begin(CFS_MSG_UNLOCK, 6);
			cfs_msg_lease_pack(&lease, &put);
			assert_int_equal(hand_end(2, &body), may ? 0 : -ENOENT);
		}
		assert_int_equal(cfs_owner_gone(world.owner, me.client_id),
				 is_standing ? -ENOENT : 0);
	}
	world_done();
}

static void test_doubles(void **state)
{
	struct cfs_msg_welcome me, back;
	struct cfs_msg_grant grant = { .lease_id = 0 }, again = grant;

	(void)state;
	hand_init();
	me = hand_hello(1, 0, NULL);
	back = hand_hello(1, 0, NULL); /* the very same message */
	assert_int_equal(back.client_id, me.client_id);
	assert_int_equal(hand_lock(1, 5, 1, 0, &grant), 0);
	assert_int_equal(hand_lock(1, 5, 1, 0, &again), 0);
	assert_int_equal(again.lease_id, grant.lease_id);
	assert_int_equal(cfs_owner_lease_count(world.owner), 1);
	/* Seen, and nothing of it left: dropped, or said so if asked. */
	assert_int_equal(hand_lock(1, 6, 3, 0, &again), 0);
	answer_count = 0;
	assert_int_equal(hand_lock(1, 7, 2, 0, &again), 0);
	assert_int_equal(answer_count, 0);
	assert_int_equal(hand_lock(1, 7, 2, CFS_MSG_LOCK_RESENT, &again),
			 -ERESTART);
	cfs_owner_closed(world.owner, 1);
	back = hand_hello(2, 0, &me);
	assert_int_equal(back.flags & CFS_WELCOME_KNOWN, CFS_WELCOME_KNOWN);
	assert_int_equal(back.last_serial, 3);
	world_done();
}

static void test_strangers(void **state)
{
	struct cfs_msg_hello hello = { .pool_uuid = { 1 } };
	struct cfs_msg_welcome me;
	struct cfs_msg_grant grant;
	struct cfs_wire_get body;

	(void)state;
	hand_init();
	assert_int_equal(hand_lock(1, 5, 1, 0, &grant), -ENOTCONN);
	hand_begin(CFS_MSG_HELLO, 1);
	cfs_msg_hello_pack(&hello, &put);
	assert_int_equal(hand_end(1, &body), -ENOENT);
	me = hand_hello(1, 0, NULL);
	hand_begin(0x77, 2);
	assert_int_equal(hand_end(1, &body), -ENOTSUP);
	hand_begin(CFS_MSG_LOCK, 2);
	assert_int_equal(hand_end(1, &body), -EPROTO);
	assert_int_equal(cfs_owner_receive(world.owner, 1, "junk", 4), -EPROTO);
	/* Somebody else's id with a wrong secret. */
	me.secret[0] ^= 1;
	hello = (struct cfs_msg_hello){ .client_id = me.client_id };
	hand_begin(CFS_MSG_HELLO, 1);
	cfs_msg_hello_pack(&hello, &put);
	assert_int_equal(hand_end(2, &body), -EPERM);
	hand_hello(3, CFS_HELLO_OBSERVER, NULL);
	assert_int_equal(hand_lock(3, 5, 1, 0, &grant), -EPERM);
	/* One whose period is over. */
	cfs_clock_manual_advance(&world.clock, 3 * T_NS);
	assert_int_equal(hand_lock(1, 5, 1, 0, &grant), -ENOTCONN);
	world_done();
}

static void test_status_pages(void **state)
{
	struct cfs_msg_status m = { 0, 0 };
	struct cfs_msg_status_head head;
	struct cfs_lease_record rec;
	struct cfs_msg_grant grant;
	struct cfs_wire_get body;
	unsigned int clients = 0, leases = 0, pages = 0;
	uint64_t seen = 0;

	(void)state;
	hand_init();
	for (uint64_t peer = 1; peer <= 3; peer++) {
		hand_hello(peer, 0, NULL);
		for (uint64_t i = 1; i <= 1000; i++)
			assert_int_equal(
				hand_lock(peer, peer * 10000 + i, i, 0, &grant),
				0);
	}
	do {
		hand_begin(CFS_MSG_STATUS, 7);
		cfs_msg_status_pack(&m, &put);
		assert_int_equal(hand_end(2, &body), 0);
		assert_int_equal(cfs_msg_status_head_unpack(&body, &head, NULL),
				 0);
		assert_int_equal(head.lease_count, 3000);
		for (uint32_t i = 0; i < head.record_count; i++) {
			assert_int_equal(
				cfs_msg_record_unpack(&body, &rec, NULL), 0);
			if (rec.kind == CFS_RECORD_CLIENT) {
				clients++;
				assert_int_equal(rec.u.client.lease_count,
						 1000);
				continue;
			}
			leases++;
			assert_true(rec.u.lease.lease_id > seen);
			seen = rec.u.lease.lease_id;
			assert_true(rec.ends_in_ns >= T_NS);
		}
		m.after_client = head.next_client;
		m.after_lease = head.next_lease;
		pages++;
	} while (m.after_client);
	assert_int_equal(clients, 3);
	assert_int_equal(leases, 3000);
	assert_true(pages > 1);
	world_done();
}

static void test_watch(void **state)
{
	struct cfs_lease_event event;
	struct cfs_msg_end end = { .host = "by-hand" };
	struct cfs_msg_grant grant;
	struct cfs_wire_get body;

	(void)state;
	hand_init();
	hand_hello(1, CFS_HELLO_OBSERVER, NULL);
	hand_begin(CFS_MSG_WATCH, 9);
	assert_int_equal(hand_end(1, &body), 0);
	assert_int_equal(cfs_wire_get_left(&body), 0);
	hand_hello(2, 0, NULL);
	assert_int_equal(hand_lock(2, 5, 1, 0, &grant), 0);
	/* The event went out behind the grant: it is the last message. */
	cfs_wire_get_init(&body, answer + CFS_MSG_HEAD_BYTES,
			  answer_bytes - CFS_MSG_HEAD_BYTES);
	assert_int_equal(cfs_msg_event_unpack(&body, &event, NULL), 0);
	assert_int_equal(event.kind, CFS_EVENT_GRANT);
	assert_true(event.lease_id);
	assert_int_equal(event.resource.ino, 5);
	assert_string_equal(event.host, "by-hand");
	world_done();

	/* One that cannot be sent to is not sent to again. */
	hand_init();
	hand_begin(CFS_MSG_HELLO, 1);
	cfs_msg_hello_pack(
		&(struct cfs_msg_hello){ .flags = CFS_HELLO_OBSERVER }, &put);
	assert_int_equal(hand_end(99, &body), 0);
	hand_begin(CFS_MSG_WATCH, 9);
	assert_int_equal(hand_end(99, &body), -EPROTO);
	hand_hello(2, 0, NULL);
	hand_begin(CFS_MSG_GONE, 3);
	cfs_msg_end_pack(&end, &put);
	assert_int_equal(hand_end(2, &body), 0);
	assert_int_equal(cfs_owner_client_count(world.owner), 0);
	hand_begin(CFS_MSG_GONE, 3);
	cfs_msg_end_pack(&end, &put);
	assert_int_equal(hand_end(2, &body), -ENOTCONN);
	world_done();
}

static void seal_later(void *arg, uint64_t client, uint64_t lease,
		       enum cfs_owner_end end)
{
	(void)arg;
	(void)lease;
	(void)end;
	world.seal_client = client;
	world.seal_count++;
}

/* "It is dead" is answered when what it held is free, by client or host. */
static void test_gone_is_answered_late(void **state)
{
	static const struct cfs_owner_ops ops = { .send = hand_send,
						  .event = owner_on_event,
						  .seal = seal_later };
	struct cfs_msg_welcome me;
	struct cfs_msg_grant grant;
	struct cfs_wire_get body;

	(void)state;
	for (int is_host = 0; is_host < 2; is_host++) {
		struct cfs_msg_end end = { .lease_id = 0 };

		hand_init();
		cfs_owner_free(world.owner);
		assert_int_equal(cfs_owner_new(&world.config, &ops, NULL,
					       &world.clock.clock, &world.owner,
					       NULL),
				 0);
		me = hand_hello(1, 0, NULL);
		assert_int_equal(hand_lock(1, 5, 1, 0, &grant), 0);
		hand_hello(2, CFS_HELLO_OBSERVER, NULL);
		hand_hello(3, CFS_HELLO_OBSERVER, NULL);
		if (is_host)
			memcpy(end.host, "by-hand", 8);
		else
			end.client_id = me.client_id;
		for (uint64_t peer = 2; peer <= 3; peer++) {
			hand_begin(CFS_MSG_GONE, 70 + peer);
			cfs_msg_end_pack(&end, &put);
			assert_int_equal(hand_end(peer, &body), 0);
			assert_int_equal(answer_bytes, 0);
		}
		assert_int_equal(world.seal_count, 1);
		/* One that asked does not care any more. */
		cfs_owner_closed(world.owner, 3);
		answer_count = 0;
		cfs_owner_sealed(world.owner, world.seal_client, 0);
		assert_int_equal(answer_count, 1);
		assert_int_equal(cfs_owner_lease_count(world.owner), 0);
		world_done();
	}
}

static int begin_giving_back(void *arg, uint64_t client, const char *host)
{
	(void)arg;
	return !client && strcmp(host, "former") == 0 ? 1 : -ENOENT;
}

/* Of a host that was the owner before, when what it kept is given back, or why
 * it cannot be. */
static void test_gone_host_is_answered_late(void **state)
{
	static const struct cfs_owner_ops ops = { .send = hand_send,
						  .event = owner_on_event,
						  .gone = begin_giving_back };
	const struct cfs_err why = { .code = -EIO, .msg = "a bad block" };
	struct cfs_wire_get body;

	(void)state;
	for (int fails = 0; fails < 2; fails++) {
		struct cfs_msg_end end = { .host = "former" };

		hand_init();
		cfs_owner_free(world.owner);
		assert_int_equal(cfs_owner_new(&world.config, &ops, NULL,
					       &world.clock.clock, &world.owner,
					       NULL),
				 0);
		hand_hello(2, CFS_HELLO_OBSERVER, NULL);
		hand_begin(CFS_MSG_GONE, 70);
		cfs_msg_end_pack(&end, &put);
		assert_int_equal(hand_end(2, &body), 0);
		assert_int_equal(answer_bytes, 0);
		/* What has happened to another one does not count. */
		cfs_owner_host_is_gone(world.owner, "forme", NULL);
		assert_int_equal(answer_bytes, 0);
		cfs_owner_host_is_gone(world.owner, "former",
				       fails ? &why : NULL);
		assert_int_equal(last_answer(&body), fails ? -EIO : 0);
		/* Once. */
		answer_count = 0;
		cfs_owner_host_is_gone(world.owner, "former", NULL);
		assert_int_equal(answer_count, 0);
		world_done();
	}
}

#define TEST(fn) cmocka_unit_test(fn)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_reclaim),
		TEST(test_too_late),
		TEST(test_reclaim_lost),
		TEST(test_reclaim_conflict),
		TEST(test_preloaded_silent),
		TEST(test_preloaded_returns),
		TEST(test_reclaim_is_recalled),
		TEST(test_standing),
		TEST(test_standing_revoked),
		TEST(test_standing_by_id),
		TEST(test_doubles),
		TEST(test_strangers),
		TEST(test_status_pages),
		TEST(test_watch),
		TEST(test_gone_is_answered_late),
		TEST(test_gone_host_is_answered_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
