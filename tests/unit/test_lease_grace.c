/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The owner of one container dies, and another owner, who has everything else,
 * gets it: a grace of that container alone.
 */
#include "lease_world.h"

#include "ondisk/delegation.h"

#define X         CFS_LOCK_X
#define S         CFS_LOCK_S
#define SECONDARY (CFS_EPOCH_DELEGATED | 9u)

static uint64_t grace_ns(void)
{
	return cfs_period_owner_ns(T_NS, CFS_DRIFT_PPM_DEFAULT);
}

static struct cfs_owner *manager;

/* @count clients of the owner of a container; beside it a manager, epoch 2. */
static void secondary_init(unsigned int count)
{
	memset(&world, 0, sizeof(world));
	world.last = &world.first;
	cfs_clock_manual_init(&world.clock, 1000, CFS_NS_PER_S);
	world_owner(2, 0);
	manager = world.owner;
	world_owner(SECONDARY, 0);
	for (unsigned int i = 0; i < count; i++) {
		world_client_new(i);
		world_connect(i);
	}
}

/* The manager is there from now on. */
static void secondary_dies(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		world_disconnect(i);
	cfs_owner_free(world.owner);
	world.owner = manager;
	world_run();
}

static void stranger(unsigned int i)
{
	world_client_new(i);
	world_connect(i);
	assert_true(cfs_lease_client_is_welcome(world.clients[i].client));
}

static struct cfs_lease *of_container(unsigned int i, uint64_t container,
				      uint64_t ino, uint32_t mode)
{
	struct cfs_lease_request req = world_request(ino, 0, WHOLE, mode,
						     CFS_MSG_LOCK_WAIT);

	req.resource.container = container;
	return world_ask(i, &req);
}

static int begin_grace(void)
{
	return cfs_owner_begin_grace(world.owner, 1, SECONDARY, grace_ns(),
				     NULL);
}

static void test_comes_home(void **state)
{
	struct cfs_lease *a, *b, *c, *other;
	uint64_t id, grant;

	(void)state;
	secondary_init(1);
	a = world_file(0, 5, X, 0);
	assert_true(is_held(a));
	id = cfs_lease_client_id(world.clients[0].client);
	grant = cfs_lease_grant_of(a);
	secondary_dies(1);
	stranger(1);
	/* The manager has not taken over: to be asked again. */
	world_connect(0);
	assert_false(cfs_lease_client_is_welcome(world.clients[0].client));
	assert_int_equal(world.clients[0].stale_count, 1);
	assert_true(cfs_lease_client_still_holds(a));
	world_disconnect(0);
	assert_int_equal(begin_grace(), 0);
	assert_int_equal(begin_grace(), -EINVAL);
	assert_true(cfs_owner_is_in_grace_of(world.owner, 1));
	assert_true(cfs_owner_is_in_grace_of(world.owner, 0));
	assert_false(cfs_owner_is_in_grace_of(world.owner, 3));
	assert_false(cfs_owner_is_in_grace(world.owner));
	/* New ones wait, of this container and of no other. */
	b = world_file(1, 5, S, 0);
	c = world_file(1, 6, X, 0);
	other = of_container(1, 3, 5, X);
	assert_true(is_held(other));
	assert_false(is_held(b) || is_held(c));
	cfs_lease_client_release(other);
	world_run();
	assert_false(is_held(b) || is_held(c));
	world_pass(CFS_NS_PER_S);
	world_connect(0);
	assert_true(is_held(a));
	assert_true(cfs_lease_client_still_holds(a));
	assert_int_equal(cfs_lease_client_id(world.clients[0].client), id);
	assert_int_equal(cfs_lease_grant_of(a), grant);
	world_pass(grace_ns());
	assert_false(cfs_owner_is_in_grace_of(world.owner, 0));
	assert_true(is_held(c));
	assert_false(is_held(b));
	assert_true(cfs_lease_client_still_holds(a));
	cfs_lease_client_release(a);
	world_run();
	assert_true(is_held(b));
	world_done();
}

/* What it says that it had of other containers it does not get. */
static void test_nothing_else(void **state)
{
	struct cfs_lease *a, *b, *c, *d;

	(void)state;
	secondary_init(1);
	a = world_file(0, 5, X, 0);
	b = of_container(0, 3, 5, X);
	d = of_container(0, 3, 6, X); /* which nobody else wants */
	secondary_dies(1);
	stranger(1);
	c = of_container(1, 3, 5, X);
	assert_int_equal(begin_grace(), 0);
	world_connect(0);
	assert_true(cfs_lease_client_still_holds(a));
	assert_int_equal(cfs_lease_state_of(b), CFS_LEASE_LOST);
	assert_int_equal(cfs_lease_state_of(d), CFS_LEASE_LOST);
	assert_true(is_held(c));
	world_done();
}

/* Nobody may come back who was another's, or whom nobody knows. */
static void test_only_its_own(void **state)
{
	struct cfs_lease *a, *b;

	(void)state;
	secondary_init(1);
	a = world_file(0, 5, X, 0);
	secondary_dies(1);
	assert_int_equal(cfs_owner_begin_grace(world.owner, 1, SECONDARY + 1,
					       grace_ns(), NULL),
			 0);
	assert_int_equal(
		cfs_owner_begin_grace(world.owner, 1, 1, grace_ns(), NULL),
		-EINVAL);
	world_connect(0);
	assert_false(cfs_lease_client_is_welcome(world.clients[0].client));
	/* When its own period is over it is somebody new. */
	world_pass(T_NS);
	assert_int_equal(cfs_lease_state_of(a), CFS_LEASE_LOST);
	world_disconnect(0);
	world_connect(0);
	assert_true(cfs_lease_client_is_welcome(world.clients[0].client));
	b = world_file(0, 5, X, 0);
	assert_false(is_held(b));
	world_pass(grace_ns() - T_NS + CFS_NS_PER_S);
	assert_true(is_held(b));
	world_done();
}

/* Known from durable records, and silent: the container waits for its seal. */
static void test_silent(void **state)
{
	struct cfs_owner_known known = {
		.client_id = (uint64_t)SECONDARY << 32 | 77,
		.container = 1,
		.host = "elsewhere",
		.pid = 5,
	};
	struct cfs_lease *b;

	(void)state;
	secondary_init(0);
	secondary_dies(0);
	stranger(1);
	world.seals_later = true;
	assert_int_equal(cfs_owner_preload(world.owner, &known, NULL), -EINVAL);
	assert_int_equal(begin_grace(), 0);
	assert_int_equal(cfs_owner_preload(world.owner, &known, NULL), 0);
	assert_int_equal(cfs_owner_preload(world.owner, &known, NULL), -EINVAL);
	b = world_file(1, 5, X, 0);
	world_pass(grace_ns() + CFS_NS_PER_S);
	assert_int_equal(world.seal_client, known.client_id);
	assert_false(is_held(b));
	assert_true(is_held(of_container(1, 3, 5, X)));
	assert_true(cfs_owner_is_in_grace_of(world.owner, 1));
	cfs_owner_sealed(world.owner, known.client_id, 0);
	world_run();
	assert_true(is_held(b));
	assert_false(cfs_owner_is_in_grace_of(world.owner, 1));
	world_done();
}

/* Two of them back, one that never said it had all of it: that is revoked. */
static void test_preloaded_returns(void **state)
{
	struct cfs_owner_known known = { .container = 1,
					 .host = "host0",
					 .pid = 100 };
	struct cfs_lease *a, *b;

	(void)state;
	secondary_init(1);
	a = world_file(0, 5, X, 0);
	known.client_id = cfs_lease_client_id(world.clients[0].client);
	secondary_dies(1);
	stranger(1);
	assert_int_equal(begin_grace(), 0);
	assert_int_equal(cfs_owner_preload(world.owner, &known, NULL), 0);
	b = world_file(1, 6, X, 0);
	world_connect(0);
	assert_true(cfs_lease_client_still_holds(a));
	assert_false(is_held(b));
	world_pass(grace_ns() + CFS_NS_PER_S);
	assert_true(is_held(b));
	assert_true(cfs_lease_client_still_holds(a));
	assert_int_equal(world.seal_count, 0);
	world_done();
}

/* Ids stay who they are from one owner to the next, whoever that is. */
static void test_from_owner_to_owner(void **state)
{
	struct cfs_lease *a, *b;
	uint64_t id;

	(void)state;
	secondary_init(1);
	a = world_file(0, 5, X, 0);
	id = cfs_lease_client_id(world.clients[0].client);
	secondary_dies(1);
	assert_int_equal(begin_grace(), 0);
	world_connect(0);
	b = world_file(0, 6, X, 0);
	world_pass(grace_ns() + CFS_NS_PER_S);
	assert_true(is_held(a) && is_held(b));
	/* The manager dies, and the next one takes it with all else. */
	world_disconnect(0);
	cfs_owner_free(world.owner);
	world_owner(3, grace_ns());
	assert_int_equal(
		cfs_owner_preload(world.owner,
				  &(struct cfs_owner_known){ .client_id = id,
							     .host = "host0",
							     .pid = 100 },
				  NULL),
		0);
	world_connect(0);
	world_pass(grace_ns() + CFS_NS_PER_S);
	assert_true(cfs_lease_client_still_holds(a));
	assert_true(cfs_lease_client_still_holds(b));
	/* It is handed to another owner, by whom its clients are taken. */
	assert_int_equal(cfs_owner_moved(world.owner, id, 1), 0);
	assert_int_equal(cfs_owner_moved(world.owner, id, 1), -ENOENT);
	assert_int_equal(cfs_owner_lease_count(world.owner), 0);
	assert_int_equal(world.seal_count, 0);
	world_disconnect(0);
	manager = world.owner;
	world_owner(SECONDARY + 1, grace_ns());
	world_connect(0);
	world_pass(grace_ns() + CFS_NS_PER_S);
	assert_true(cfs_lease_client_still_holds(a));
	assert_true(cfs_lease_client_still_holds(b));
	assert_int_equal(cfs_lease_client_id(world.clients[0].client), id);
	secondary_dies(1);
	assert_int_equal(cfs_owner_begin_grace(world.owner, 1, SECONDARY + 1,
					       grace_ns(), NULL),
			 0);
	world_connect(0);
	world_pass(grace_ns() + CFS_NS_PER_S);
	assert_true(cfs_lease_client_still_holds(a));
	world_done();
}

static void test_short_period(void **state)
{
	const uint64_t third_ns = cfs_period_short_ns(T_NS);
	struct cfs_lease *a;

	(void)state;
	assert_true(third_ns < T_NS / 2 && third_ns >= T_NS / 3);
	assert_int_equal(cfs_period_short_ns(CFS_NS_PER_S / 2),
			 CFS_NS_PER_S / 2);
	assert_int_equal(cfs_period_short_ns(2 * CFS_NS_PER_S), CFS_NS_PER_S);
	memset(&world, 0, sizeof(world));
	world.last = &world.first;
	cfs_clock_manual_init(&world.clock, 1000, CFS_NS_PER_S);
	world_owner(2, 0);
	world_client_new(0);
	world_connect(0);
	assert_int_equal(
		cfs_lease_client_welcome(world.clients[0].client)->period_ns,
		T_NS);
	world.flags = CFS_HELLO_SECONDARY;
	world_client_new(1);
	world_connect(1);
	assert_int_equal(
		cfs_lease_client_welcome(world.clients[1].client)->period_ns,
		third_ns);
	a = world_file(1, 5, X, 0);
	world_pass(2 * T_NS);
	assert_true(cfs_lease_client_still_holds(a));
	world.clients[1].is_cut = true;
	world_pass(third_ns + CFS_NS_PER_S);
	assert_int_equal(world.event_count[CFS_EVENT_EXPIRE], 1);
	world_done();
}

/* The hold of a container and that of all do not end each other. */
static void test_two_graces(void **state)
{
	struct cfs_lease *b, *c;

	(void)state;
	memset(&world, 0, sizeof(world));
	world.last = &world.first;
	cfs_clock_manual_init(&world.clock, 1000, CFS_NS_PER_S);
	world_owner(4, grace_ns());
	stranger(0);
	world_pass(grace_ns() / 2);
	assert_int_equal(begin_grace(), 0);
	b = world_file(0, 5, X, 0);
	c = of_container(0, 3, 5, X);
	assert_false(is_held(b) || is_held(c));
	world_pass(grace_ns() / 2 + CFS_NS_PER_S);
	assert_true(is_held(c));
	assert_false(is_held(b));
	world_pass(grace_ns() / 2);
	assert_true(is_held(b));
	/* And one container's not another's. */
	assert_int_equal(cfs_owner_begin_grace(world.owner, 3, SECONDARY + 1,
					       grace_ns(), NULL),
			 0);
	assert_true(is_held(world_file(0, 6, X, 0)));
	assert_false(is_held(of_container(0, 3, 6, X)));
	world_done();
}

/*
 * Given to another owner, who dies before its clients have found it: to them
 * the owner is the same, and it has nothing of theirs.
 */
static void test_given_and_back(void **state)
{
	struct cfs_owner_known known = { .container = 1,
					 .host = "host0",
					 .pid = 100 };
	struct cfs_lease *a, *b;

	(void)state;
	world_init(2);
	a = world_file(0, 5, X, 0);
	known.client_id = cfs_lease_client_id(world.clients[0].client);
	assert_int_equal(cfs_owner_hold(world.owner, 1, NULL), 0);
	b = world_file(1, 6, X, 0);
	assert_false(is_held(b));
	assert_int_equal(cfs_owner_moved(world.owner, known.client_id, 1), 0);
	cfs_owner_unhold(world.owner, 1);
	world_run();
	assert_true(is_held(b));
	world_disconnect(0);
	assert_int_equal(begin_grace(), 0);
	assert_int_equal(cfs_owner_preload(world.owner, &known, NULL), 0);
	/* The first WELCOME is lost. */
	world.clients[0].is_deaf = true;
	world_connect(0);
	world_disconnect(0);
	world.clients[0].is_deaf = false;
	world_connect(0);
	assert_true(cfs_lease_client_still_holds(a));
	assert_int_equal(cfs_owner_lease_count(world.owner), 2);
	/* Once more is no other matter. */
	world_disconnect(0);
	world_connect(0);
	assert_int_equal(cfs_owner_lease_count(world.owner), 2);
	world_pass(3 * T_NS);
	assert_true(cfs_lease_client_still_holds(a));
	world_done();
}

/* The other owner is gone before they have found it. */
static void test_given_to_nobody(void **state)
{
	struct cfs_lease *a, *b;
	uint64_t id;

	(void)state;
	world_init(1);
	a = world_file(0, 5, X, 0);
	id = cfs_lease_client_id(world.clients[0].client);
	assert_int_equal(cfs_owner_moved(world.owner, id, 1), 0);
	world_disconnect(0);
	stranger(1);
	/* It is on its way, for all that we know. */
	world_connect(0);
	assert_false(cfs_lease_client_is_welcome(world.clients[0].client));
	assert_int_equal(world.clients[0].stale_count, 1);
	assert_true(cfs_lease_client_still_holds(a));
	world_disconnect(0);
	assert_int_equal(begin_grace(), 0);
	cfs_owner_is_home(world.owner, 1);
	b = world_file(1, 5, X, 0);
	world_connect(0);
	assert_true(cfs_lease_client_still_holds(a));
	assert_int_equal(cfs_lease_client_id(world.clients[0].client), id);
	world_pass(grace_ns() + CFS_NS_PER_S);
	assert_true(cfs_lease_client_still_holds(a));
	assert_false(is_held(b));
	/* Again, and it comes only when all is over. */
	assert_int_equal(cfs_owner_moved(world.owner, id, 1), 0);
	world_disconnect(0);
	cfs_owner_is_home(world.owner, 1);
	world_run();
	assert_true(is_held(b));
	world_connect(0);
	assert_true(cfs_lease_client_is_welcome(world.clients[0].client));
	assert_false(cfs_lease_client_still_holds(a));
	world_done();
}

/* An owner who knows all waits for nobody when they are there. */
static void test_all_are_known(void **state)
{
	struct cfs_owner_known known = { .host = "host0", .pid = 100 };
	struct cfs_lease *a, *b;

	(void)state;
	world_init(1);
	a = world_file(0, 5, X, 0);
	known.client_id = cfs_lease_client_id(world.clients[0].client);
	world_disconnect(0);
	cfs_owner_free(world.owner);
	world.config.knows_clients = true;
	world_owner(SECONDARY, grace_ns());
	assert_int_equal(cfs_owner_preload(world.owner, &known, NULL), 0);
	stranger(1);
	b = world_file(1, 6, X, 0);
	world_pass(CFS_NS_PER_S);
	assert_false(is_held(b));
	world_connect(0);
	assert_true(is_held(b));
	assert_true(cfs_lease_client_still_holds(a));
	assert_int_equal(cfs_lease_state_of(world_file(1, 5, X, 0)),
			 CFS_LEASE_ASKED);
	assert_false(cfs_owner_is_in_grace(world.owner));
	world_done();
}

/*
 * Client 0, which has no record, loses the secondary, and that stands still for
 * longer than it has the container.  The client reclaims what it has at the
 * manager; to the secondary, which wakes up late, its period is over, and that
 * of client 1 is not, which has waited there.
 */
static void wakes_late(bool looks)
{
	struct cfs_owner *secondary;
	struct cfs_lease *a, *b;

	secondary_init(2);
	secondary = world.owner;
	a = world_file(0, 5, X, 0);
	b = world_file(1, 5, X, 0);
	assert_true(is_held(a));
	assert_false(is_held(b));
	world.clients[0].is_cut = true;
	world_pass(T_NS / 2);
	world_disconnect(0);
	/* From here on it stands still. */
	cfs_clock_manual_advance(&world.clock, T_NS * 35 / 100);
	world.owner = manager;
	assert_int_equal(begin_grace(), 0);
	world.clients[0].is_cut = false;
	world_connect(0);
	assert_true(is_held(a));
	cfs_clock_manual_advance(&world.clock, T_NS * 20 / 100);
	assert_true(cfs_lease_client_still_holds(a));
	assert_true(cfs_lease_client_is_alive(world.clients[1].client));
	world.owner = secondary;
	world.is_over = looks;
	(void)cfs_owner_tick(secondary);
	world_run();
	assert_true(cfs_lease_client_still_holds(a));
	/* Only the look keeps them apart. */
	assert_int_equal(is_held(b), !looks);
	world.is_over = false;
	world_disconnect(1);
	cfs_owner_free(secondary);
	world.owner = manager;
	world_done();
}

static void test_wakes_late(void **state)
{
	(void)state;
	wakes_late(true);
	wakes_late(false);
}

#define TEST(fn) cmocka_unit_test(fn)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_comes_home),        TEST(test_nothing_else),
		TEST(test_only_its_own),      TEST(test_silent),
		TEST(test_preloaded_returns), TEST(test_from_owner_to_owner),
		TEST(test_short_period),      TEST(test_two_graces),
		TEST(test_given_and_back),    TEST(test_all_are_known),
		TEST(test_given_to_nobody),   TEST(test_wakes_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
