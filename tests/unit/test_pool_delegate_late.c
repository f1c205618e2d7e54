/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A secondary stands still in one of its flushes, each in turn; what it had
 * written since the one before is late.  The primary takes its container over,
 * works on it, and delegates it to another one, which works, too.  Then the
 * sleeper wakes up, or its writes land at the very end.  In either case all
 * that anybody was told is durable is there, every block verifies, the sleeper
 * is not told that something is, and nothing stays frozen once it is gone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "delegate_cells.h"

/* What a secondary writes; slices it asks for, and gives back, by messages. */
#define KINDS                                                                  \
	(1u << GATE_DATA | 1u << GATE_NODE | 1u << GATE_FRAME |                \
	 1u << GATE_TAGS | 1u << GATE_ROOT)

static unsigned int landed[GATE_KINDS]; /* late, in all stories */

struct story {
	struct shared_pool p;
	struct gate_world w;
	struct manager a;
	struct secondary s; /* who sleeps */
	struct cells cells;
	bool is_again; /* delegated once more meanwhile */
	bool is_taken;
};

static void work(struct story *st, struct cfs_member *lun)
{
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(cells_write(&st->cells, lun, 3 + i, 2), 0);
		HEAL_OK(cfs_container_sync(lun->container, &err_));
		assert_int_equal(cells_write(&st->cells, lun, 20, 40), 0);
		HEAL_OK(cfs_container_commit(lun->container, &err_));
		cells_acked(&st->cells);
	}
}

static void another_secondary(struct story *st)
{
	struct secondary t;

	secondary_begin(&st->p, &t, &st->a, NULL);
	cells_look(&st->cells, t.lun, "another");
	work(st, t.lun);
	secondary_close(&t);
	HEAL_OK(cfs_pool_delegation_end(st->a.pool, t.container, t.epoch,
					&err_));
	cells_look(&st->cells, manager_lun(&st->a), "returned");
}

static void world_goes_on(void *arg)
{
	struct story *st = arg;

	st->is_taken = true;
	st->s.has_lease = false;
	HEAL_OK(cfs_pool_delegation_seal(st->a.pool, st->s.container,
					 st->s.epoch, &err_));
	cells_look(&st->cells, manager_lun(&st->a), "primary");
	work(st, manager_lun(&st->a));
	manager_check(&st->a);
	if (st->is_again)
		another_secondary(st);
}

/* It must not be told that something is durable, once it is taken. */
static void synced(struct story *st, int r)
{
	if (st->is_taken)
		assert_true(r < 0);
	else if (r == 0)
		cells_acked(&st->cells);
	else
		fail_msg("a sync failed: %d", r);
}

static void live(struct story *st)
{
	struct cfs_member *lun = st->s.lun;

	for (unsigned int i = 0; i < 5; i++) {
		(void)cells_write(&st->cells, lun, i, 5);
		synced(st, cfs_container_sync(lun->container, NULL));
		(void)cells_write(&st->cells, lun, 8, 40);
		synced(st, cfs_container_sync(lun->container, NULL));
		(void)cells_write(&st->cells, lun, 2, 3);
		synced(st, cfs_container_commit(lun->container, NULL));
		/* Slices, by the message and the way back. */
		if (lun_write(lun, 256, 768, i + 1) == 0)
			(void)cfs_container_sync(lun->container, NULL);
	}
}

static void end(struct story *st)
{
	struct secondary *s = &st->s;

	(void)gate_release(&st->w);
	if (!st->is_taken)
		world_goes_on(st);
	cells_look(&st->cells, manager_lun(&st->a), "behind it all");
	manager_check(&st->a);
	secondary_drop(s);
	secondary_free_gates(s);
	HEAL_OK(cfs_pool_delegation_end(st->a.pool, s->container, s->epoch,
					&err_));
	HEAL_OK(cfs_pool_member_close(st->a.pool, manager_lun(&st->a), &err_));
	cells_look(&st->cells, manager_lun(&st->a), "gone");
	work(st, manager_lun(&st->a));
	manager_check(&st->a);
	manager_scrub(&st->a);
	{
		struct cfs_slice_counts counts;

		HEAL_OK(cfs_pool_slice_counts(st->a.pool, UINT32_MAX, &counts,
					      &err_));
		assert_int_equal(counts.frozen, 0);
	}
	manager_close(&st->a);
	shared_free(&st->p);
}

/* How many flushes there were. */
static unsigned int sleeps(unsigned int stop_at, bool wakes_up, bool is_again,
			   bool is_shared, unsigned int devices)
{
	struct story *st = calloc(1, sizeof(*st));
	unsigned int n;

	assert_non_null(st);
	st->p = delegate_pool_new(is_shared, devices);
	st->w.wakes_up = wakes_up;
	st->w.hook = world_goes_on;
	st->w.arg = st;
	cfs_rng_init(&st->w.rng, stop_at);
	st->is_again = is_again;
	manager_init(&st->p, &st->a, "a", 1, NO_DEVICE, NULL);
	manager_open(&st->p, &st->a, NULL);
	HEAL_OK(cfs_pool_container_make(st->a.pool, "lun", CFS_VOLUME_LUN, 0,
					CFS_OBJECT_LIVE, &st->s.lun, &err_));
	HEAL_OK(cfs_volume_make_first(st->s.lun, CFS_VOLUME_LUN,
				      UINT64_C(8) << 20, &err_));
	assert_int_equal(cells_write(&st->cells, st->s.lun, 0, CELLS), 0);
	HEAL_OK(cfs_container_commit(st->s.lun->container, &err_));
	cells_acked(&st->cells);
	secondary_begin(&st->p, &st->s, &st->a, &st->w);
	st->w.flushes = 0;
	st->w.stop_at = stop_at;
	st->w.is_holding = stop_at == 1;
	live(st);
	n = st->w.flushes;
	end(st);
	gate_add(landed, st->w.landed);
	free(st);
	return n;
}

static void sweep(bool is_shared, unsigned int devices)
{
	const unsigned int n = sleeps(0, false, false, is_shared, devices);
	const unsigned int step = getenv("CFS_LONG") ? 1 : 2;

	assert_true(n > 20);
	for (unsigned int at = 1; at <= n; at += step)
		for (unsigned int how = 0; how < 4; how++)
			sleeps(at + (at + how) % step, how & 1, how & 2,
			       is_shared, devices);
	gate_must_have(landed, KINDS);
	memset(landed, 0, sizeof(landed));
}

static void test_one_host(void **state)
{
	(void)state;
	sweep(false, 1);
}

static void test_shared(void **state)
{
	(void)state;
	sweep(true, 1);
}

static void test_mirror(void **state)
{
	(void)state;
	sweep(false, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_host),
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_mirror),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
