// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Crashes of a pool that an owner and two clients write.  The story is told
 * once, on a simulated device that records it; then the power is cut behind
 * each event, with some of what had not been flushed: whoever opens the pool
 * next finds the clients in its table, seals them, and all that anybody had
 * synced is there; check finds nothing, and nothing is left of them when they
 * are gone.  That recovery is crashed, too.
 *
 * Each call of a device fails once, too: whoever met it stops, and what was
 * acknowledged is there.
 *
 * And a zombie: a client whose writes are held back somewhere lets them go
 * after it was sealed, and after the owner went on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../unit/client_fixture.h"
#include "device/sim.h"

#define PARTS       3u /* of client 0, of client 1, of the owner */
#define CLIENTS     2u
#define OWNER       2u
#define PART_BLOCKS 44u /* some writes go home at once */
#define LUN_BYTES   ((uint64_t)PARTS * PART_BLOCKS * HEAL_BLOCK)
#define STATES_MAX  200u
#define ACKS_MAX    400u

struct part_state {
	uint32_t seeds[PART_BLOCKS];
};

struct story {
	struct cfs_sim *sim;
	struct heal_pool h;
	uint64_t ino;
	struct client clients[CLIENTS];
	struct cfs_devset *sets[CLIENTS]; /* handles of their own */
	struct cfs_rng rng;
	uint32_t next_seed;
	/* Each part as it was behind each change of it. */
	struct part_state states[PARTS][STATES_MAX];
	unsigned int state_count[PARTS];
	/* What was acknowledged when mark i was set: at least that state. */
	unsigned int acks[ACKS_MAX][PARTS];
	unsigned int ack_count;
};

/* For whoever looks at a failure. */
static size_t at_event;
static uint64_t at_seed;
static const char *at_what;

/* With faults a story ends at the first error; else that is a failure. */
static bool has_faults;
static int failed;

#define DO(expr)                                                               \
	do {                                                                   \
		struct cfs_err err_ = CFS_ERR_INIT;                            \
		int r_ = (expr);                                               \
		if (r_ < 0 && !has_faults)                                     \
			fail_msg("%s: %d: %s", #expr, r_, err_.msg);           \
		if (r_ < 0)                                                    \
			failed = r_;                                           \
	} while (0)

static void print_place(void)
{
	if (at_what)
		printf("# %s: event %zu, seed %llu\n", at_what, at_event,
		       (unsigned long long)at_seed);
}

/* ---- the world ------------------------------------------------------------
 */

static struct cfs_devset *open_set(struct cfs_sim *sim)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	struct cfs_devset *set;
	struct cfs_dev *dev;

	HEAL_OK(cfs_sim_dev_open(sim, 0, &dev, &err_));
	HEAL_OK(cfs_devset_from_devices(&dev, 1, &opt, &set, &err_));
	return set;
}

static void make_world(struct story *s, uint64_t seed)
{
	const struct cfs_pool_options opt = { .name = "crash" };
	struct cfs_dev *dev;

	memset(s, 0, sizeof(*s));
	cfs_rng_init(&s->rng, seed);
	HEAL_OK(cfs_sim_new(&s->sim, &err_));
	HEAL_OK(cfs_sim_dev_new(s->sim, POOL_FIXTURE_BYTES, &dev, &err_));
	HEAL_OK(pool_fixture_format(&dev, 1, 0, NULL, &err_));
	cfs_dev_close(dev);
	s->h.set = open_set(s->sim);
	HEAL_OK(pool_fixture_seat(s->h.set, &err_));
	HEAL_OK(cfs_pool_make(s->h.set, &opt, s->h.roots, &err_));
	heal_open(&s->h, true);
	HEAL_OK(cfs_pool_container_make(s->h.pool, "lun", CFS_VOLUME_LUN, 0,
					CFS_OBJECT_LIVE, &s->h.lun, &err_));
	HEAL_OK(cfs_volume_make_first(s->h.lun, CFS_VOLUME_LUN, LUN_BYTES,
				      &err_));
	HEAL_OK(cfs_container_commit(s->h.lun->container, &err_));
	s->ino = heal_volume(s->h.lun).ino;
	for (unsigned int p = 0; p < PARTS; p++)
		s->state_count[p] = 1; /* zeroes */
	cfs_sim_checkpoint(s->sim);
}

static void end_world(struct story *s)
{
	cfs_pool_drop(s->h.pool);
	cfs_devset_close(s->h.set);
	for (unsigned int i = 0; i < CLIENTS; i++) {
		if (s->clients[i].c)
			client_kill(&s->clients[i]);
		cfs_devset_close(s->sets[i]);
	}
	cfs_sim_free(s->sim);
}

static void add_client(struct story *s, unsigned int who)
{
	s->sets[who] = open_set(s->sim);
	client_make(&s->clients[who], s->h.lun, 64);
	client_open_on(&s->clients[who], s->sets[who], s->h.lun, true);
}

/* ---- the story ------------------------------------------------------------
 */

static uint32_t below(struct story *s, uint32_t n)
{
	return (uint32_t)cfs_rng_below(&s->rng, n);
}

static struct cfs_container *container_of(struct story *s, unsigned int who)
{
	return who == OWNER ? s->h.lun->container : s->clients[who].c;
}

static struct part_state *new_state(struct story *s, unsigned int part)
{
	unsigned int n = s->state_count[part]++;

	assert_true(n < STATES_MAX);
	s->states[part][n] = s->states[part][n - 1];
	return &s->states[part][n];
}

static void change(struct story *s, unsigned int part)
{
	static uint8_t buf[PART_BLOCKS * HEAL_BLOCK];
	struct part_state *st = new_state(s, part);
	uint32_t from = below(s, PART_BLOCKS), n = 1 + below(s, 6);
	uint64_t at;

	if (below(s, 4) == 0) {
		from = 0;
		n = PART_BLOCKS;
	}
	n = CFS_MIN(n, PART_BLOCKS - from);
	at = (uint64_t)(part * PART_BLOCKS + from) * HEAL_BLOCK;
	if (below(s, 5) == 0) {
		memset(st->seeds + from, 0, n * sizeof(*st->seeds));
		DO(client_punch(container_of(s, part), s->ino, at,
				(uint64_t)n * HEAL_BLOCK, &err_));
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		st->seeds[from + i] = ++s->next_seed;
		heal_fill(buf + (size_t)i * HEAL_BLOCK, HEAL_BLOCK,
			  s->next_seed);
	}
	DO(client_write(container_of(s, part), s->ino, at, buf,
			(size_t)n * HEAL_BLOCK, &err_));
}

/* What @part has now is acknowledged. */
static void ack(struct story *s, unsigned int part)
{
	unsigned int n = s->ack_count++;

	assert_true(n < ACKS_MAX);
	if (n > 0)
		memcpy(s->acks[n], s->acks[n - 1], sizeof(s->acks[n]));
	s->acks[n][part] = s->state_count[part] - 1;
	cfs_sim_mark(s->sim, n);
}

static void step(struct story *s)
{
	unsigned int part = below(s, PARTS), what = below(s, 10);
	struct cfs_container *c = container_of(s, part);

	if (what < 6) {
		change(s, part);
		return;
	}
	if (what < 9 || part == OWNER)
		DO(cfs_container_sync(c, &err_));
	else if (below(s, 3) == 0)
		DO(cfs_container_give_back(c, true, &err_));
	else
		DO(cfs_container_fold(c, &err_));
	if (!failed)
		ack(s, part);
}

static void tell_story(struct story *s, uint64_t seed, unsigned int steps)
{
	make_world(s, seed);
	for (unsigned int p = 0; p < PARTS; p++)
		ack(s, p);
	for (unsigned int i = 0; i < CLIENTS; i++)
		add_client(s, i);
	for (unsigned int i = 0; i < steps; i++)
		step(s);
}

/* ---- behind a crash -------------------------------------------------------
 */

/* The last state of the part that is on the LUN, or a failure. */
static void must_have(struct story *s, struct cfs_container *c,
		      unsigned int part, unsigned int from)
{
	static uint8_t got[PART_BLOCKS * HEAL_BLOCK];
	static uint8_t want[HEAL_BLOCK];
	bool fits = false;

	HEAL_OK(client_read(c, CFS_STAMP_HEAD, s->ino,
			    (uint64_t)part * PART_BLOCKS * HEAL_BLOCK, got,
			    sizeof(got), &err_));
	for (unsigned int k = from; k < s->state_count[part] && !fits; k++) {
		fits = true;
		for (unsigned int i = 0; i < PART_BLOCKS && fits; i++) {
			uint32_t seed = s->states[part][k].seeds[i];

			memset(want, 0, sizeof(want));
			if (seed)
				heal_fill(want, sizeof(want), seed);
			fits = memcmp(want, got + (size_t)i * HEAL_BLOCK,
				      sizeof(want)) == 0;
		}
	}
	if (!fits)
		fail_msg("part %u is none of the states from %u to %u", part,
			 from, s->state_count[part] - 1);
}

static int seal_it(void *arg, const struct cfs_client_info *info,
		   struct cfs_err *err)
{
	struct heal_pool *h = arg;

	return cfs_container_client_seal(h->lun->container, info->id,
					 at_seed % 3 == 0, NULL, err);
}

static int bury_it(void *arg, const struct cfs_client_info *info,
		   struct cfs_err *err)
{
	struct heal_pool *h = arg;

	return cfs_container_client_gone(h->lun->container, info->id, NULL,
					 err);
}

/* The next owner of what a crash has left. */
static void recover(struct story *s, struct cfs_sim *sim,
		    const unsigned int acked[PARTS], bool is_whole)
{
	struct heal_pool h = s->h;
	struct cfs_lent_counts lent;

	h.set = open_set(sim);
	h.epoch = s->h.epoch + 10;
	heal_open(&h, false);
	HEAL_OK(cfs_pool_member(h.pool, "lun", &h.lun, &err_));
	must_have(s, h.lun->container, OWNER, acked[OWNER]);
	HEAL_OK(cfs_container_clients(h.lun->container, seal_it, &h, &err_));
	for (unsigned int p = 0; p < PARTS; p++)
		must_have(s, h.lun->container, p, acked[p]);
	if (is_whole)
		heal_check_clean(&h);
	HEAL_OK(cfs_container_clients(h.lun->container, bury_it, &h, &err_));
	cfs_container_lent_counts(h.lun->container, &lent);
	assert_int_equal(lent.clients, 0);
	assert_int_equal(lent.lent_groups, 0);
	for (unsigned int p = 0; p < PARTS; p++)
		must_have(s, h.lun->container, p, acked[p]);
	heal_check_clean(&h);
	if (is_whole) {
		heal_scrub_clean(&h);
		heal_close(&h);
	} else {
		cfs_pool_drop(h.pool);
	}
	cfs_devset_close(h.set);
}

static void crash_at(struct story *s, size_t event, uint64_t seed,
		     const unsigned int acked[PARTS])
{
	const struct cfs_sim_crash crash = { .event_count = event,
					     .seed = seed };
	struct cfs_sim *sim, *again;
	size_t count;

	at_event = event;
	at_seed = seed;
	at_what = "crash";
	HEAL_OK(cfs_sim_fork(s->sim, &crash, &sim, &err_));
	recover(s, sim, acked, seed % 4 == 1);
	/* And the recovery, somewhere. */
	count = cfs_sim_event_count(sim);
	if (count > 0 && event % 5 == 0) {
		const struct cfs_sim_crash second = {
			.event_count = below(s, (uint32_t)count),
			.seed = seed,
		};

		at_what = "crash of a recovery";
		HEAL_OK(cfs_sim_fork(sim, &second, &again, &err_));
		recover(s, again, acked, true);
		cfs_sim_free(again);
	}
	cfs_sim_free(sim);
	at_what = NULL;
}

static void crash_story(uint64_t seed, unsigned int steps, size_t stride)
{
	struct story *s = calloc(1, sizeof(*s));
	unsigned int acked[PARTS] = { 0, 0, 0 };
	size_t events;

	assert_non_null(s);
	tell_story(s, seed, steps);
	events = cfs_sim_event_count(s->sim);
	printf("# story %llu: %zu events\n", (unsigned long long)seed, events);
	for (size_t n = 0; n <= events; n++) {
		if (n > 0) {
			struct cfs_sim_event e = cfs_sim_event(s->sim, n - 1);

			if (e.kind == CFS_SIM_MARK)
				memcpy(acked, s->acks[e.mark], sizeof(acked));
		}
		if (n % stride)
			continue;
		crash_at(s, n, 0, acked);
		crash_at(s, n, UINT64_MAX, acked);
		crash_at(s, n, 1 + cfs_rng_below(&s->rng, 1u << 30), acked);
	}
	end_world(s);
	free(s);
}

static void test_power(void **state)
{
	const bool is_long = getenv("CFS_LONG") != NULL;

	(void)state;
	for (uint64_t seed = 1; seed <= (is_long ? 24 : 4); seed++)
		crash_story(seed, 70, is_long ? 1 : 3);
}

/* ---- faults ---------------------------------------------------------------
 */

/* False: the story is over before that call. */
static bool fault_story(uint64_t seed, uint64_t call)
{
	const struct cfs_sim_fault fault = {
		.call_index = call,
		.code = -EIO,
		.is_partial = call & 1,
	};
	struct story *s = calloc(1, sizeof(*s));
	struct cfs_sim_crash all = { .seed = UINT64_MAX };
	unsigned int acked[PARTS];
	struct cfs_sim *sim;
	bool was_hit;

	assert_non_null(s);
	at_what = "fault";
	at_event = call;
	at_seed = seed;
	tell_story(s, seed, 6);
	has_faults = true;
	failed = 0;
	cfs_sim_fault_arm(s->sim, &fault);
	for (unsigned int i = 0; i < 25 && !failed; i++)
		step(s);
	was_hit = cfs_sim_fault_was_hit(s->sim);
	cfs_sim_fault_disarm(s->sim);
	has_faults = false;
	memcpy(acked, s->acks[s->ack_count - 1], sizeof(acked));
	all.event_count = cfs_sim_event_count(s->sim);
	HEAL_OK(cfs_sim_fork(s->sim, &all, &sim, &err_));
	recover(s, sim, acked, true);
	cfs_sim_free(sim);
	end_world(s);
	free(s);
	at_what = NULL;
	return was_hit;
}

static void test_faults(void **state)
{
	const uint64_t stride = getenv("CFS_LONG") ? 1 : 3;

	(void)state;
	for (uint64_t seed = 200; seed < 203; seed++) {
		uint64_t call = 0;

		while (fault_story(seed, call))
			call += stride;
		printf("# story %llu: %llu calls\n", (unsigned long long)seed,
		       (unsigned long long)call);
	}
}

/* ---- zombies --------------------------------------------------------------
 */

/*
 * The client's writes stop somewhere on their way; it is sealed without them,
 * since it never had an answer to its sync, and the owner goes on.  Then they
 * land, all of them.
 */
static void zombie_story(uint64_t seed)
{
	struct story *s = calloc(1, sizeof(*s));
	unsigned int acked[PARTS];
	struct cfs_dev *dev;

	assert_non_null(s);
	at_seed = seed;
	at_what = "zombie";
	tell_story(s, seed, 30);
	memcpy(acked, s->acks[s->ack_count - 1], sizeof(acked));
	dev = cfs_devset_dev(s->sets[0], 0);
	cfs_sim_hold(dev, true);
	for (unsigned int i = 0; i < 8; i++)
		change(s, 0);
	(void)cfs_container_sync(s->clients[0].c, NULL);
	change(s, 0);
	HEAL_OK(cfs_container_client_seal(s->h.lun->container, s->clients[0].id,
					  false, NULL, &err_));
	/* It does not know yet, and has a fold on its way. */
	(void)cfs_container_fold(s->clients[0].c, NULL);
	for (unsigned int i = 0; i < 12; i++) {
		change(s, OWNER);
		if (i % 4 == 3)
			HEAL_OK(cfs_container_commit(s->h.lun->container,
						     &err_));
	}
	HEAL_OK(cfs_container_commit(s->h.lun->container, &err_));
	acked[OWNER] = s->state_count[OWNER] - 1;
	must_have(s, s->h.lun->container, 0, acked[0]);
	/* Some now, the rest when more was committed. */
	HEAL_OK(cfs_sim_release(dev, cfs_sim_held_count(dev) / 2, &err_));
	cfs_sim_hold(dev, false);
	heal_check_clean(&s->h);
	for (unsigned int i = 0; i < 4; i++) {
		change(s, OWNER);
		HEAL_OK(cfs_container_commit(s->h.lun->container, &err_));
	}
	acked[OWNER] = s->state_count[OWNER] - 1;
	HEAL_OK(cfs_sim_release(dev, cfs_sim_held_count(dev), &err_));
	must_have(s, s->h.lun->container, OWNER, acked[OWNER]);
	must_have(s, s->h.lun->container, 0, acked[0]);
	heal_check_clean(&s->h);
	client_kill(&s->clients[0]);
	HEAL_OK(cfs_container_client_gone(s->h.lun->container, s->clients[0].id,
					  NULL, &err_));
	must_have(s, s->h.lun->container, 0, acked[0]);
	heal_check_clean(&s->h);
	/* The other one never noticed. */
	HEAL_OK(cfs_container_fold(s->clients[1].c, &err_));
	must_have(s, s->h.lun->container, 1, s->state_count[1] - 1);
	heal_check_clean(&s->h);
	heal_scrub_clean(&s->h);
	end_world(s);
	free(s);
	at_what = NULL;
}

static void test_zombies(void **state)
{
	(void)state;
	for (uint64_t seed = 100; seed < (getenv("CFS_LONG") ? 600 : 130);
	     seed++)
		zombie_story(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_zombies),
	};

	atexit(print_place);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
