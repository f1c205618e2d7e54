/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Clients that go from owner to owner with a container, and what the owners
 * tell each other of them: leases that stand by themselves are held at the next
 * one at once, and a grace ends when all are back who were told of.
 */
#include "lease_world.h"

#include "base/cleanup.h"
#include "lease/hand.h"
#include "ondisk/delegation.h"

#define X         CFS_LOCK_X
#define S         CFS_LOCK_S
#define SECONDARY (CFS_EPOCH_DELEGATED | 9u)

static uint64_t grace_ns(void)
{
	return cfs_period_owner_ns(T_NS, CFS_DRIFT_PPM_DEFAULT);
}

static bool skips_none(void *arg, uint64_t client)
{
	(void)arg;
	(void)client;
	return false;
}

/* What an observer's order comes to. */
static int answered;

static int order_send(void *arg, uint64_t peer, const void *msg, size_t bytes)
{
	struct cfs_msg_head head;

	if (peer < 1000)
		return world_owner_ops.send(arg, peer, msg, bytes);
	assert_int_equal(cfs_msg_head_unpack(msg, bytes, &head, NULL), 0);
	answered = -(int)head.status;
	return 0;
}

static struct cfs_owner *new_owner(uint64_t epoch, uint64_t grace)
{
	struct cfs_owner_ops ops = world_owner_ops;
	struct cfs_owner *owner = NULL;

	ops.send = order_send;
	world.config.period_ns = T_NS;
	world.config.epoch = epoch;
	world.config.grace_ns = grace;
	assert_int_equal(cfs_owner_new(&world.config, &ops, NULL,
				       &world.clock.clock, &owner, NULL),
			 0);
	return owner;
}

static struct cfs_owner *manager;

/* A manager, with @count clients. */
static void manager_init(unsigned int count)
{
	memset(&world, 0, sizeof(world));
	world.last = &world.first;
	cfs_clock_manual_init(&world.clock, 1000, CFS_NS_PER_S);
	world.owner = manager = new_owner(2, 0);
	for (unsigned int i = 0; i < count; i++) {
		world_client_new(i);
		world_connect(i);
	}
}

/* A client that has a lease and leaves it standing; its name. */
static struct cfs_lease_name stand(unsigned int i, uint64_t ino, uint32_t mode)
{
	struct cfs_lease_name name;
	struct cfs_lease *lease;

	world.flags = CFS_HELLO_STANDING;
	world_client_new(i);
	world.flags = 0;
	world_connect(i);
	lease = world_file(i, ino, mode, 0);
	assert_true(is_held(lease));
	cfs_lease_name_of(lease, &name);
	world_disconnect(i);
	return name;
}

/* RENEW or UNLOCK, over a connection of its own. */
static int order(struct cfs_owner *owner, uint16_t type,
		 const struct cfs_lease_name *name)
{
	static uint64_t peer = 1000;
	struct cfs_msg_hello hello = { .flags = CFS_HELLO_OBSERVER };
	struct cfs_msg_renew renew = { .client_id = name->client_id };
	struct cfs_msg_lease unlock = { .client_id = name->client_id,
					.lease_id = name->lease_id };
	struct cfs_wire_put put;
	uint8_t msg[1024];

	peer++;
	cfs_wire_put_init(&put, msg, sizeof(msg));
	cfs_msg_begin(&put, CFS_MSG_HELLO, 1);
	cfs_msg_hello_pack(&hello, &put);
	assert_int_equal(cfs_msg_end(&put), 0);
	assert_int_equal(cfs_owner_receive(owner, peer, put.data, put.bytes),
			 0);
	assert_int_equal(answered, 0);
	memcpy(renew.secret, name->secret, sizeof(renew.secret));
	memcpy(unlock.secret, name->secret, sizeof(unlock.secret));
	cfs_wire_put_init(&put, msg, sizeof(msg));
	cfs_msg_begin(&put, type, 2);
	if (type == CFS_MSG_RENEW)
		cfs_msg_renew_pack(&renew, &put);
	else
		cfs_msg_lease_pack(&unlock, &put);
	assert_int_equal(cfs_msg_end(&put), 0);
	assert_int_equal(cfs_owner_receive(owner, peer, put.data, put.bytes),
			 0);
	cfs_owner_closed(owner, peer);
	return answered;
}

/* Through its bytes, as between processes. */
static void carry(struct cfs_handed_list *list)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	struct cfs_handed_list got = { .v = CFS_VEC_INIT };

	assert_int_equal(cfs_handed_list_pack(list, &buf), 0);
	for (size_t n = 0; n < buf.bytes; n++)
		assert_int_equal(
			cfs_handed_list_unpack(buf.data, n, &got, NULL),
			-EPROTO);
	assert_int_equal(
		cfs_handed_list_unpack(buf.data, buf.bytes, &got, NULL), 0);
	assert_int_equal(got.v.count, list->v.count);
	assert_int_equal(got.is_all, list->is_all);
	assert_int_equal(got.space, list->space);
	cfs_handed_list_donep(list);
	*list = got;
}

static void take_all(struct cfs_owner *owner, uint64_t container,
		     const struct cfs_handed_list *list)
{
	for (size_t i = 0; i < list->v.count; i++)
		assert_int_equal(cfs_owner_take_handed(owner, container,
						       &list->v.items[i], NULL),
				 0);
}

/* The container 1 goes to a secondary, with all who have leases in it. */
static struct cfs_owner *delegate(void)
{
	CFS_CLEANUP(cfs_handed_list_donep)
	struct cfs_handed_list list = { .is_all = true, .space = 7 };
	struct cfs_owner *secondary;
	uint64_t count = 0;

	assert_int_equal(cfs_owner_hold(manager, 1, NULL), 0);
	assert_int_equal(
		cfs_owner_may_hand(manager, 1, skips_none, NULL, &count, NULL),
		0);
	cfs_owner_hand(manager, 1, skips_none, NULL, &list);
	cfs_owner_unhold(manager, 1);
	world_run();
	carry(&list);
	assert_true(list.is_all);
	world.config.knows_clients = true;
	secondary = new_owner(SECONDARY, list.v.count ? grace_ns() : 0);
	world.config.knows_clients = false;
	take_all(secondary, 0, &list);
	cfs_owner_settle_grace(secondary);
	return secondary;
}

static void reconnect(unsigned int i)
{
	world_disconnect(i);
	world_connect(i);
	assert_true(cfs_lease_client_is_welcome(world.clients[i].client));
}

static void test_goes_and_comes(void **state)
{
	CFS_CLEANUP(cfs_handed_list_donep)
	struct cfs_handed_list list = { .is_all = true };
	struct cfs_owner *secondary;
	struct cfs_lease_name name;
	struct cfs_lease *b, *c;

	(void)state;
	manager_init(1);
	name = stand(1, 5, X);
	assert_int_equal(order(manager, CFS_MSG_RENEW, &name), 0);
	secondary = delegate();
	assert_int_equal(cfs_owner_lease_count(manager), 0);
	assert_int_equal(order(manager, CFS_MSG_RENEW, &name), -EREMOTE);
	assert_int_equal(order(manager, CFS_MSG_UNLOCK, &name), -EREMOTE);
	/* It needs nobody: there is no grace left. */
	assert_false(cfs_owner_is_in_grace(secondary));
	world_disconnect(0);
	world.owner = secondary;
	world_client_new(2);
	world_connect(2);
	b = world_file(2, 5, S, 0);
	c = world_file(2, 6, S, 0);
	assert_true(is_held(c));
	assert_false(is_held(b));
	/* A period, and as long as it is renewed. */
	world_pass(T_NS / 2);
	assert_int_equal(order(secondary, CFS_MSG_RENEW, &name), 0);
	world_pass(T_NS * 9 / 10);
	assert_false(is_held(b));
	/* And home again, where others come back in a grace. */
	cfs_owner_hand_all(secondary, skips_none, NULL, &list);
	assert_true(list.is_all);
	assert_int_equal(list.v.count, 2);
	carry(&list);
	world_disconnect(2);
	cfs_owner_free(secondary);
	world.owner = manager;
	assert_int_equal(
		cfs_owner_begin_grace(manager, 1, SECONDARY, grace_ns(), NULL),
		0);
	take_all(manager, 1, &list);
	cfs_owner_is_home(manager, 1);
	assert_int_equal(order(manager, CFS_MSG_RENEW, &name), 0);
	assert_false(cfs_owner_has_reclaimed(manager,
					     list.v.items[1].known.client_id));
	world_connect(2);
	assert_true(cfs_lease_client_still_holds(c));
	assert_true(cfs_owner_has_reclaimed(manager,
					    list.v.items[1].known.client_id));
	/* All are back, long before the period is over. */
	cfs_owner_end_grace_of(manager, 1);
	assert_false(cfs_owner_is_in_grace_of(manager, 1));
	assert_false(is_held(b));
	assert_int_equal(order(manager, CFS_MSG_UNLOCK, &name), 0);
	world_run();
	assert_true(is_held(b));
	assert_int_equal(order(manager, CFS_MSG_RENEW, &name), -ESTALE);
	world_done();
}

/* Nobody renews it there: it ends as it would have here. */
static void test_ends_there(void **state)
{
	struct cfs_owner *secondary;
	struct cfs_lease_name name;
	struct cfs_lease *b;

	(void)state;
	manager_init(0);
	name = stand(1, 5, X);
	secondary = delegate();
	world.owner = secondary;
	world_client_new(2);
	world_connect(2);
	b = world_file(2, 5, S, 0);
	world_pass(T_NS - CFS_NS_PER_S);
	assert_false(is_held(b));
	world_pass(2 * CFS_NS_PER_S);
	assert_true(is_held(b));
	assert_int_equal(order(secondary, CFS_MSG_RENEW, &name), -ESTALE);
	cfs_owner_free(manager);
	world_done();
}

/* One who has a connection comes by himself; he is waited for, and no longer. */
static void test_comes_back(void **state)
{
	struct cfs_owner *secondary;
	struct cfs_lease *a, *b;

	(void)state;
	manager_init(1);
	a = world_file(0, 5, X, 0);
	assert_true(is_held(a));
	secondary = delegate();
	assert_true(cfs_owner_is_in_grace(secondary));
	world.owner = secondary;
	world_client_new(2);
	world_connect(2);
	b = world_file(2, 6, S, 0);
	assert_false(is_held(b));
	reconnect(0);
	assert_true(cfs_lease_client_still_holds(a));
	assert_true(is_held(b));
	assert_false(cfs_owner_is_in_grace(secondary));
	assert_false(is_held(world_file(2, 5, S, 0)));
	cfs_owner_free(manager);
	world_done();
}

static void test_who_stays(void **state)
{
	struct cfs_lease_request req = world_request(5, 0, WHOLE, X, 0);
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_lease_name name;
	struct cfs_lease *a, *b;
	uint64_t count = 9;

	(void)state;
	manager_init(1);
	assert_int_equal(
		cfs_owner_may_hand(manager, 1, skips_none, NULL, &count, NULL),
		0);
	assert_int_equal(count, 0);
	a = world_file(0, 5, X, 0);
	req.resource.container = 3;
	b = world_ask(0, &req);
	assert_true(is_held(a) && is_held(b));
	assert_int_equal(
		cfs_owner_may_hand(manager, 1, skips_none, NULL, &count, &err),
		-EBUSY);
	assert_string_equal(err.msg, "leased by tool, process 100 on host0, "
				     "with other containers");
	cfs_lease_client_release(b);
	world_run();
	assert_int_equal(
		cfs_owner_may_hand(manager, 1, skips_none, NULL, &count, NULL),
		0);
	assert_int_equal(count, 1);
	/* It is being taken away: whoever gets the container has to wait. */
	name = stand(1, 6, X);
	assert_int_equal(cfs_owner_revoke_lease(manager, name.lease_id), 0);
	assert_int_equal(
		cfs_owner_may_hand(manager, 1, skips_none, NULL, &count, &err),
		-EBUSY);
	world_done();
}

/* A list that a liar made. */
static void test_liar(void **state)
{
	CFS_CLEANUP(cfs_handed_list_donep)
	struct cfs_handed_list list = { .is_all = true };
	struct cfs_owner *secondary;
	struct cfs_handed *h;
	struct cfs_lease *a;

	(void)state;
	manager_init(1);
	a = world_file(0, 5, X, 0);
	(void)stand(1, 6, X);
	secondary = delegate();
	cfs_owner_hand_all(secondary, skips_none, NULL, &list);
	cfs_owner_free(secondary);
	assert_int_equal(list.v.count, 2);
	h = &list.v.items[1];
	assert_int_equal(h->leases.count, 1);
	assert_int_equal(
		cfs_owner_begin_grace(manager, 1, SECONDARY, grace_ns(), NULL),
		0);
	/* Not the word that we gave; an id that we have not given yet. */
	h->known.secret[0] ^= 1;
	assert_int_equal(cfs_owner_take_handed(manager, 1, h, NULL), -EINVAL);
	h->known.secret[0] ^= 1;
	h->leases.items[0].lease_id += 1000;
	assert_int_equal(cfs_owner_take_handed(manager, 1, h, NULL), -EINVAL);
	h->leases.items[0].lease_id -= 1000;
	/* Another container's are not its to give. */
	h->leases.items[0].resource.container = 3;
	assert_int_equal(cfs_owner_take_handed(manager, 1, h, NULL), 0);
	assert_int_equal(cfs_owner_lease_count(manager), 0);
	assert_null(cfs_owner_check(manager));
	reconnect(0);
	assert_true(cfs_lease_client_still_holds(a));
	world_done();
}

/* Whoever opens the container has all of it, for a moment. */
static void test_crowded(void **state)
{
	struct cfs_lease_request req = world_request(5, 0, WHOLE, X, 0);
	struct cfs_owner *secondary;
	struct cfs_lease *a, *opens;

	(void)state;
	manager_init(1);
	a = world_file(0, 5, X, 0);
	assert_true(is_held(a));
	secondary = delegate();
	cfs_owner_free(secondary);
	world_client_new(1);
	world_connect(1);
	opens = world_ask(1, &req);
	assert_true(is_held(opens));
	assert_int_equal(
		cfs_owner_begin_grace(manager, 1, SECONDARY, grace_ns(), NULL),
		0);
	reconnect(0);
	assert_true(cfs_lease_client_still_holds(a));
	assert_int_equal(cfs_owner_lease_count(manager), 1);
	cfs_lease_client_release(opens);
	world_pass(T_NS / 2);
	assert_int_equal(cfs_owner_lease_count(manager), 1);
	world_pass(T_NS);
	assert_true(cfs_lease_client_still_holds(a));
	world_done();
}

#define TEST(fn) cmocka_unit_test(fn)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_goes_and_comes), TEST(test_ends_there),
		TEST(test_comes_back),     TEST(test_who_stays),
		TEST(test_liar),           TEST(test_crowded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
