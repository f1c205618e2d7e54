/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One epoch, one owner: claimants step by step, in every order that seeds make,
 * some that stop, some that see two devices of three only, and some that die
 * and come again with what stands in their seat.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/rng.h"
#include "pool/election.h"
#include "pool_fixture.h"

#define CLAIMANTS 3u
#define SEATS     8u
#define STEPS_MAX 4000u

struct claimant {
	struct cfs_devset *set;
	struct cfs_seat_table *table;
	struct cfs_seat_entry mine;
	struct cfs_election e;
	int result;         /* of the last step */
	unsigned int pause; /* steps to leave out */
	bool has_begun, is_out;
};

struct world {
	struct cfs_devset *set;
	struct claimant c[CLAIMANTS];
	struct cfs_rng rng;
	uint32_t decided; /* seat; UINT32_MAX: nobody */
	unsigned int decisions;
};

/* Handles of its own, but not to device @missing. */
static struct cfs_devset *handles(struct cfs_devset *set, uint32_t missing)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	struct cfs_dev *devices[POOL_FIXTURE_MAX];
	struct cfs_devset *ret;
	uint32_t count = 0;

	for (uint32_t i = 0; i < cfs_devset_count(set); i++)
		if (i != missing)
			assert_int_equal(
				cfs_dev_mem_reopen(cfs_devset_dev(set, i),
						   &devices[count++], NULL),
				0);
	assert_int_equal(
		cfs_devset_from_devices(devices, count, &opt, &ret, NULL), 0);
	return ret;
}

/* As a process that starts: it knows what its seat says, no more. */
static void claimant_load(struct claimant *c, uint32_t seat, uint32_t epoch)
{
	memset(c->table->seats, 0, c->table->count * sizeof(*c->table->seats));
	if (cfs_seat_table_load(c->set, c->table, NULL) == 0)
		c->mine = c->table->seats[seat];
	cfs_election_init(&c->e, c->set, c->table, seat, &c->mine, epoch);
	c->has_begun = false;
}

static void world_init(struct world *w, uint32_t devices, uint64_t seed)
{
	struct cfs_err err = CFS_ERR_INIT;

	memset(w, 0, sizeof(*w));
	cfs_rng_init(&w->rng, seed);
	w->decided = UINT32_MAX;
	w->set = pool_fixture_mem(devices, POOL_FIXTURE_BYTES,
				  CFS_POOL_FLAG_MIRROR * (devices > 1), &err);
	assert_non_null(w->set);
	for (uint32_t i = 0; i < CLAIMANTS; i++) {
		struct claimant *c = &w->c[i];

		/* Each may miss one of three. */
		c->set = handles(w->set, devices == 3 ? (uint32_t)cfs_rng_below(
								&w->rng, 4)
						      : UINT32_MAX);
		assert_int_equal(cfs_seat_table_new(c->set, &c->table, NULL),
				 0);
		claimant_load(c, i + 1, 1);
	}
}

static void world_done(struct world *w)
{
	for (uint32_t i = 0; i < CLAIMANTS; i++) {
		cfs_seat_table_free(w->c[i].table);
		cfs_devset_close(w->c[i].set);
	}
	cfs_devset_close(w->set);
}

static void step(struct world *w, uint32_t i)
{
	struct claimant *c = &w->c[i];

	if (!c->has_begun) {
		assert_int_equal(cfs_election_begin(&c->e, NULL), 0);
		c->has_begun = true;
		return;
	}
	c->result = cfs_election_step(&c->e, NULL);
	if (c->result == 1)
		return;
	c->has_begun = false;
	if (c->result != 0) {
		assert_int_equal(c->result, -EAGAIN);
		/* Not at once again: they would go on for ever. */
		c->pause = (unsigned int)cfs_rng_below(&w->rng, 30);
		return;
	}
	w->decisions++;
	if (w->decided == UINT32_MAX)
		w->decided = c->e.decided_seat;
	assert_int_equal(c->e.decided_seat, w->decided);
	c->is_out = true;
}

static void run(struct world *w, bool has_deaths)
{
	for (unsigned int n = 0; n < STEPS_MAX; n++) {
		const uint32_t i = (uint32_t)cfs_rng_below(&w->rng, CLAIMANTS);
		struct claimant *c = &w->c[i];
		const uint64_t dice = cfs_rng_below(&w->rng, 200);

		if (c->pause > 0)
			c->pause--;
		else if (has_deaths && dice == 0)
			claimant_load(c, i + 1, 1); /* died, came again */
		else if (dice == 1)
			c->pause = 100;
		else if (!c->is_out || dice < 20)
			step(w, i);
	}
}

static void test_interleaved(void **state)
{
	unsigned int decisions = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 120; seed++) {
		struct world w;

		world_init(&w, seed % 3 == 0 ? 1 : seed % 3 == 1 ? 3 : 2, seed);
		run(&w, seed & 1);
		decisions += w.decisions;
		world_done(&w);
	}
	/* They did come to an end. */
	assert_true(decisions > 200);
}

/* One stops behind each of its steps, for good; the others go on. */
static void test_one_stops_for_ever(void **state)
{
	(void)state;
	for (unsigned int at = 0; at < 20; at++) {
		struct world w;
		unsigned int n;

		world_init(&w, 3, 1000 + at);
		for (n = 0; n < at && !w.c[0].is_out; n++)
			step(&w, 0);
		for (n = 0; n < 500 && !w.c[1].is_out; n++)
			step(&w, 1);
		assert_true(w.c[1].is_out);
		/* And it wakes up. */
		for (n = 0; n < 500 && !w.c[0].is_out; n++)
			step(&w, 0);
		assert_true(w.c[0].is_out);
		world_done(&w);
	}
}

/* Who works on an epoch that is over learns of the later one. */
static void test_later_epoch(void **state)
{
	struct world w;
	int r;

	(void)state;
	world_init(&w, 3, 7);
	step(&w, 0);
	step(&w, 0);
	claimant_load(&w.c[1], 2, 2);
	while (!w.c[1].is_out)
		step(&w, 1);
	assert_int_equal(w.c[1].e.decided_seat, 2);
	do {
		r = cfs_election_step(&w.c[0].e, NULL);
	} while (r == 1);
	assert_int_equal(r, -ESTALE);
	/* What it accepts later for the new epoch is what was decided. */
	w.decided = 2;
	claimant_load(&w.c[0], 1, 2);
	while (!w.c[0].is_out)
		step(&w, 0);
	world_done(&w);
}

static void test_no_majority(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct world w;
	int r;

	(void)state;
	world_init(&w, 2, 9);
	cfs_devset_close(w.c[0].set);
	w.c[0].set = handles(w.set, 1);
	claimant_load(&w.c[0], 1, 1);
	memset(&w.c[0].mine, 0, sizeof(w.c[0].mine));
	cfs_election_init(&w.c[0].e, w.c[0].set, w.c[0].table, 1, &w.c[0].mine,
			  1);
	assert_int_equal(cfs_election_begin(&w.c[0].e, &err), 0);
	do {
		r = cfs_election_step(&w.c[0].e, &err);
	} while (r == 1);
	assert_int_equal(r, -EIO);
	world_done(&w);
}

/* Three devices of a pool that was made with one, @votes as its label says;
 * whoever sees the last two only. */
static int claim_without_first(uint32_t votes, struct cfs_err *err)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	struct cfs_seat_entry mine = { .is_valid = false };
	struct cfs_seat_table *table;
	struct cfs_dev *devices[2];
	struct cfs_election e;
	struct cfs_devset *set;
	int r;

	for (uint32_t i = 0; i < 2; i++) {
		struct cfs_label label = pool_fixture_label(
			1 + i, 3, POOL_FIXTURE_BYTES,
			CFS_POOL_FLAG_MIRROR | CFS_POOL_FLAG_SHARED, NULL);

		label.vote_count = votes;
		assert_int_equal(
			cfs_dev_mem_new(POOL_FIXTURE_BYTES, &devices[i], NULL),
			0);
		assert_int_equal(cfs_label_write(devices[i], &label, NULL), 0);
	}
	assert_int_equal(cfs_devset_from_devices(devices, 2, &opt, &set, NULL),
			 0);
	assert_int_equal(cfs_devset_count(set), 3);
	assert_int_equal(cfs_seat_table_new(set, &table, NULL), 0);
	cfs_election_init(&e, set, table, 1, &mine, 1);
	r = cfs_election_begin(&e, err);
	while (r == 0 && (r = cfs_election_step(&e, err)) == 1)
		r = 0;
	cfs_seat_table_free(table);
	cfs_devset_close(set);
	return r;
}

/*
 * Devices that were added have no vote: else one host that sees the new ones,
 * and one that has not heard of them, would each have a majority.
 */
static void test_added_devices(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;

	(void)state;
	assert_int_equal(claim_without_first(3, &err), 0);
	assert_int_equal(claim_without_first(1, &err), -EIO);
	assert_non_null(strstr(err.msg, "only 0 of the 1 devices with seats"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interleaved),
		cmocka_unit_test(test_one_stops_for_ever),
		cmocka_unit_test(test_later_epoch),
		cmocka_unit_test(test_no_majority),
		cmocka_unit_test(test_added_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
