/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Random lives of an owner and its clients: requests, changes, recalls that
 * are answered or not, connections that break, go deaf or dumb, processes that
 * stop, owners that die and are followed by others with a grace; the owner's
 * clock as fast, the clients' as slow as the drift bound allows.
 *
 * Whatever happens: no two clients hold at one moment what does not go
 * together, each by its own clock; once all is mended, everybody gets what it
 * waits for.  A failure prints the seed; CFS_SEED runs one life again.
 */
#include "base/rng.h"
#include "lease_world.h"

#define CLIENTS 4u
#define TOKENS  6u
#define STEPS   600u

static struct cfs_rng rng;
static struct cfs_lease *tokens[CLIENTS][TOKENS];
static bool is_asleep[CLIENTS]; /* the process is stopped */
static uint64_t epoch, seed_now, held_count, sealed_count;

/* Real time goes on: clocks at the two ends of the bound. */
static void advance(uint64_t ns)
{
	world.clock.elapsed_ns += ns + ns / 1000000 * CFS_DRIFT_PPM_DEFAULT;
	for (unsigned int i = 0; i < CLIENTS; i++)
		world.clients[i].own_clock.elapsed_ns +=
			ns - ns / 1000000 * CFS_DRIFT_PPM_DEFAULT;
}

static void tick(void)
{
	for (unsigned int i = 0; i < CLIENTS; i++)
		if (!is_asleep[i])
			cfs_lease_client_tick(world.clients[i].client);
	if (world.owner)
		cfs_owner_tick(world.owner);
}

static void judge(void)
{
	for (unsigned int i = 0; i < CLIENTS * TOKENS; i++) {
		struct cfs_lease *a = tokens[i / TOKENS][i % TOKENS];

		if (!a || !cfs_lease_client_still_holds(a))
			continue;
		held_count++;
		for (unsigned int j = (i / TOKENS + 1) * TOKENS;
		     j < CLIENTS * TOKENS; j++) {
			struct cfs_lease *b = tokens[j / TOKENS][j % TOKENS];
			const struct cfs_lock_resource *x, *y;

			if (!b || !cfs_lease_client_still_holds(b))
				continue;
			x = cfs_lease_resource_of(a);
			y = cfs_lease_resource_of(b);
			if (cfs_lock_resource_contains(x, y) ||
			    cfs_lock_resource_contains(y, x) ||
			    (x->ino == y->ino &&
			     x->offset_bytes <
				     y->offset_bytes + y->length_bytes &&
			     y->offset_bytes <
				     x->offset_bytes + x->length_bytes))
				assert_true(cfs_lock_modes_agree(
					cfs_lease_mode_of(a),
					cfs_lease_mode_of(b)));
		}
	}
	if (world.owner && cfs_rng_below(&rng, 16) == 0)
		assert_null(cfs_owner_check(world.owner));
}

/* ---- what happens -------------------------------------------------------- */

static void do_token(unsigned int i, unsigned int t)
{
	struct cfs_lease_request req = world_request(
		cfs_rng_below(&rng, 3), 0, WHOLE,
		cfs_rng_below(&rng, 2) ? CFS_LOCK_X : CFS_LOCK_S,
		(uint32_t)cfs_rng_below(&rng, 4));
	uint32_t mode = cfs_rng_below(&rng, 2) ? CFS_LOCK_X : CFS_LOCK_S;

	if (tokens[i][t] && cfs_rng_below(&rng, 3) == 0 &&
	    is_held(tokens[i][t])) {
		cfs_lease_client_change(tokens[i][t], mode, true, NULL);
		return;
	}
	if (tokens[i][t]) {
		cfs_lease_client_release(tokens[i][t]);
		tokens[i][t] = NULL;
		return;
	}
	if (req.resource.ino && cfs_rng_below(&rng, 2)) {
		req.resource.offset_bytes = cfs_rng_below(&rng, 8);
		req.resource.length_bytes = 1 + cfs_rng_below(&rng, 4);
	}
	cfs_lease_client_acquire(world.clients[i].client, &req, &tokens[i][t],
				 NULL);
}

static void connect(unsigned int i)
{
	if (!world.owner || world.clients[i].peer)
		return;
	world.clients[i].peer = ++world.next_peer;
	world.clients[i].is_cut = false;
	world.clients[i].is_deaf = false;
	cfs_lease_client_connected(world.clients[i].client);
}

static void owner_end(void)
{
	for (unsigned int i = 0; i < CLIENTS; i++)
		if (world.clients[i].peer)
			world_disconnect(i);
	cfs_owner_free(world.owner);
	world.owner = NULL;
	world.seals_due = 0;
}

static void owner_begin(void)
{
	world_owner(++epoch, cfs_period_owner_ns(T_NS, CFS_DRIFT_PPM_DEFAULT));
}

static void seals(void)
{
	world.seals_later = cfs_rng_below(&rng, 2);
	sealed_count += world.seals_due;
	if (world.owner)
		world_seal_due();
	world.seals_due = 0;
}

static void do_link(unsigned int i)
{
	struct world_client *c = &world.clients[i];

	switch (cfs_rng_below(&rng, 8)) {
	case 0:
		if (c->peer)
			world_disconnect(i);
		break;
	case 1: /* a link that loses is lost for good */
		c->is_cut = true;
		break;
	case 2:
		c->is_deaf = true;
		break;
	case 3:
		is_asleep[i] = !is_asleep[i];
		break;
	case 4:
		c->yields = !c->yields;
		cfs_lease_client_yield(c->client, c->recall_id);
		break;
	default:
		if ((c->is_cut || c->is_deaf) && c->peer)
			world_disconnect(i);
		connect(i);
		break;
	}
}

/* A stopped process reads when it goes on. */
static bool is_awake(unsigned int client)
{
	return !is_asleep[client];
}

/* To the very moment at which the owner has something to do, or nearly. */
static void advance_to_edge(void)
{
	uint64_t now_ns = world_now(), next_ns;

	if (!world.owner)
		return;
	next_ns = cfs_owner_tick(world.owner);
	if (next_ns == UINT64_MAX || next_ns <= now_ns)
		return;
	advance((next_ns - now_ns) / (1000000 + CFS_DRIFT_PPM_DEFAULT) *
			1000000 +
		cfs_rng_below(&rng, 2) * 1000000);
	cfs_owner_tick(world.owner);
}

/* Some lives are wild; in others nothing but time passes, mostly. */
static void step(bool is_calm)
{
	unsigned int i = (unsigned int)cfs_rng_below(&rng, CLIENTS);
	uint64_t what = cfs_rng_below(&rng, is_calm ? 400 : 100);

	if (what < 45) {
		if (!is_asleep[i])
			do_token(i, (unsigned int)cfs_rng_below(&rng, TOKENS));
	} else if (what < 55) {
		do_link(i);
	} else if (what < 57) {
		if (world.owner)
			owner_end();
		else
			owner_begin();
	} else if (what < 60) {
		seals();
	} else if (what % 8 == 0) {
		advance_to_edge();
	} else if (what % 2) {
		advance(cfs_rng_below(&rng, is_calm ? T_NS / 16 : T_NS / 4));
	} else {
		tick();
	}
	for (uint64_t n = cfs_rng_below(&rng, is_calm ? 16 : 6); n > 0; n--)
		world_deliver_one(is_awake);
	judge();
}

/* All is mended: nobody is left waiting. */
static void mend(void)
{
	if (!world.owner)
		owner_begin();
	world.seals_later = false;
	for (unsigned int i = 0; i < CLIENTS; i++) {
		is_asleep[i] = false;
		world.clients[i].yields = true;
		if (world.clients[i].peer)
			world_disconnect(i);
		connect(i);
		cfs_lease_client_yield(world.clients[i].client,
				       world.clients[i].recall_id);
	}
	for (unsigned int n = 0; n < 60; n++) {
		advance(T_NS / 10);
		tick();
		world_run();
		judge();
		seals();
		world.seals_later = false;
	}
	/* One after the other they let go; whoever waits gets it. */
	for (unsigned int i = 0; i < CLIENTS * TOKENS; i++) {
		struct cfs_lease **t = &tokens[i / TOKENS][i % TOKENS];

		if (*t)
			cfs_lease_client_release(*t);
		*t = NULL;
		world_run();
		judge();
	}
	for (unsigned int i = 0; i < CLIENTS; i++)
		cfs_lease_client_drop_cached(world.clients[i].client);
	for (unsigned int n = 0; n < 60; n++) {
		advance(T_NS / 10);
		tick();
		world_run();
	}
	assert_int_equal(cfs_owner_lease_count(world.owner), 0);
	assert_null(cfs_owner_check(world.owner));
}

static void life(uint64_t seed)
{
	seed_now = seed;
	cfs_rng_init(&rng, seed);
	memset(tokens, 0, sizeof(tokens));
	memset(is_asleep, 0, sizeof(is_asleep));
	memset(&world, 0, sizeof(world));
	world.last = &world.first;
	world.has_own_clocks = true;
	cfs_clock_manual_init(&world.clock, 1000, CFS_NS_PER_S);
	epoch = 1;
	world_owner(epoch, 0);
	for (unsigned int i = 0; i < CLIENTS; i++) {
		world_client_new(i);
		world_connect(i);
	}
	for (unsigned int i = 0; i < STEPS; i++)
		step(seed % 2);
	mend();
	world_done();
}

static void test_lives(void **state)
{
	const char *one = getenv("CFS_SEED");
	uint64_t count = getenv("CFS_LONG") ? 3000 : 150;

	(void)state;
	if (one) {
		life(strtoull(one, NULL, 0));
		return;
	}
	for (uint64_t seed = 1; seed <= count; seed++)
		life(seed);
	seed_now = 0;
	printf("# %llu times held, %llu sealed late\n",
	       (unsigned long long)held_count,
	       (unsigned long long)sealed_count);
	assert_true(held_count > count * 100);
}

static int tell_seed(void **state)
{
	(void)state;
	if (seed_now)
		printf("# failed with CFS_SEED=%llu\n",
		       (unsigned long long)seed_now);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_lives, tell_seed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
