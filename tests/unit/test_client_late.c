/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A client stands still in front of each kind of write that it does; what it
 * had written since the flush before is late.  It is sealed by the owner, or by
 * a host that takes the pool over; what it had synced is there, the owner and
 * another client work on it.  Then the sleeper wakes up, or its writes land at
 * the very end.  In either case all that anybody was told is durable is there,
 * check and scrub find nothing, the sleeper is not told that something is
 * durable, and nothing is lent or frozen once it is gone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>

#include "client_fixture.h"
#include "delegate_cells.h"

/* What a client writes: roots, nodes and headers are the owner's. */
#define KINDS (1u << GATE_DATA | 1u << GATE_FRAME | 1u << GATE_TAGS)

struct story {
	struct shared_pool p;
	struct gate_world w;
	struct manager a, b; /* B takes over from A */
	struct client s;     /* who sleeps */
	struct secondary at; /* its devices */
	struct cells cells;
	uint64_t ino;
	bool has_moved; /* the pool, to B */
	bool is_taken;
};

static unsigned int landed[GATE_KINDS]; /* late, in all stories */
static struct gate_plan *plan;          /* of the story that nobody stops */

static struct manager *owner_of(struct story *st)
{
	return st->has_moved && st->is_taken ? &st->b : &st->a;
}

static void work(struct story *st, struct cfs_member *lun)
{
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(cells_write(&st->cells, lun, 3 + i, 2), 0);
		HEAL_OK(cfs_container_sync(lun->container, &err_));
		assert_int_equal(cells_write(&st->cells, lun, 20, 40), 0);
		HEAL_OK(cfs_container_commit(lun->container, &err_));
		cells_acked(&st->cells);
	}
}

/* Numbered blocks, by a client. */
static int write_cells(struct story *st, struct client *cl, uint64_t block,
		       uint32_t count)
{
	uint8_t buf[CELLS * HEAL_BLOCK];

	for (uint32_t i = 0; i < count; i++) {
		struct cell *at = &st->cells.list[block + i];

		assert_true(at->count < CELL_PENDING);
		at->pending[at->count++] = ++st->cells.next;
		cell_fill(buf + (size_t)i * HEAL_BLOCK, st->cells.next);
	}
	return client_write(cl->c, st->ino, block * HEAL_BLOCK, buf,
			    (size_t)count * HEAL_BLOCK, NULL);
}

static void another_client(struct story *st)
{
	struct client cl;

	client_make(&cl, manager_lun(owner_of(st)), 64);
	client_open_on(&cl, owner_of(st)->set, manager_lun(owner_of(st)), true);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(write_cells(st, &cl, 0, 48), 0);
		HEAL_OK(cfs_container_sync(cl.c, &err_));
		assert_int_equal(write_cells(st, &cl, 1 + i, 2), 0);
		HEAL_OK(cfs_container_fold(cl.c, &err_));
		cells_acked(&st->cells);
	}
	client_close(&cl);
}

static void world_goes_on(void *arg)
{
	struct story *st = arg;

	if (st->has_moved) {
		manager_init(&st->p, &st->b, "b", 2, NO_DEVICE, NULL);
		manager_open(&st->p, &st->b, NULL);
	}
	st->is_taken = true;
	HEAL_OK(cfs_container_client_seal(manager_lun(owner_of(st))->container,
					  st->s.id, false, NULL, &err_));
	cells_look(&st->cells, manager_lun(owner_of(st)), "owner");
	work(st, manager_lun(owner_of(st)));
	another_client(st);
	work(st, manager_lun(owner_of(st)));
	manager_check(owner_of(st));
}

/* It must not be told that something is durable, once it is sealed. */
static void synced(struct story *st, int r)
{
	if (st->is_taken || st->w.has_stopped)
		assert_true(r < 0);
	else if (r == 0)
		cells_acked(&st->cells);
	else
		fail_msg("a sync failed: %d", r);
}

/* Everything that a client does. */
static void live(struct story *st)
{
	for (unsigned int i = 0; i < 3 && !st->is_taken; i++) {
		(void)write_cells(st, &st->s, i, 5);
		synced(st, cfs_container_sync(st->s.c, NULL));
		(void)write_cells(st, &st->s, 8, 40);
		synced(st, cfs_container_sync(st->s.c, NULL));
		(void)write_cells(st, &st->s, 2, 3);
		synced(st, cfs_container_fold(st->s.c, NULL));
	}
	/* As a zombie it may do what it likes. */
	if (st->is_taken)
		(void)client_write(st->s.c, st->ino, 0, "late", 4, NULL);
	synced(st, cfs_container_sync(st->s.c, NULL));
}

static void end(struct story *st)
{
	struct cfs_lent_counts lent;

	(void)gate_release(&st->w);
	if (!st->is_taken)
		world_goes_on(st);
	cells_look(&st->cells, manager_lun(owner_of(st)), "behind it all");
	manager_check(owner_of(st));
	manager_scrub(owner_of(st));
	client_kill(&st->s);
	cfs_devset_close(st->at.set);
	secondary_free_gates(&st->at);
	HEAL_OK(cfs_container_client_gone(manager_lun(owner_of(st))->container,
					  st->s.id, NULL, &err_));
	work(st, manager_lun(owner_of(st)));
	cells_look(&st->cells, manager_lun(owner_of(st)), "gone");
	manager_check(owner_of(st));
	manager_scrub(owner_of(st));
	cfs_container_lent_counts(manager_lun(owner_of(st))->container, &lent);
	assert_int_equal(lent.clients, 0);
	if (!st->has_moved)
		assert_int_equal(lent.frozen_groups, 0);
	if (st->has_moved)
		manager_drop(&st->a);
	manager_close(owner_of(st));
	shared_free(&st->p);
}

/* How many flushes there were. */
static unsigned int sleeps(unsigned int stop_at, bool wakes_up, bool has_moved,
			   bool is_mirror)
{
	struct story *st = calloc(1, sizeof(*st));
	struct cfs_member *lun;
	unsigned int n;

	assert_non_null(st);
	st->p = shared_new(is_mirror ? 2 : 1, is_mirror);
	st->w.wakes_up = wakes_up;
	st->w.hook = world_goes_on;
	st->w.arg = st;
	st->w.plan = stop_at ? NULL : plan;
	cfs_rng_init(&st->w.rng, stop_at);
	st->has_moved = has_moved;
	manager_init(&st->p, &st->a, "a", 1, NO_DEVICE, NULL);
	manager_open(&st->p, &st->a, NULL);
	lun = manager_make_lun(&st->a);
	st->ino = heal_volume(lun).ino;
	assert_int_equal(cells_write(&st->cells, lun, 0, CELLS), 0);
	HEAL_OK(cfs_container_commit(lun->container, &err_));
	cells_acked(&st->cells);
	secondary_devices(&st->p, &st->at, &st->w);
	client_make(&st->s, lun, 64);
	client_open_on(&st->s, st->at.set, lun, true);
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

static void sweep(bool is_mirror)
{
	unsigned int n;

	plan = calloc(1, sizeof(*plan));
	assert_non_null(plan);
	n = sleeps(0, false, false, is_mirror);
	assert_true(n > 5);
	gate_choose(plan, n, getenv("CFS_LONG") ? UINT_MAX : 3);
	memset(landed, 0, sizeof(landed));
	for (unsigned int at = 1; at <= n; at++)
		for (unsigned int how = 0; plan->is_chosen[at] && how < 4;
		     how++)
			sleeps(at, how & 1, how & 2, is_mirror);
	gate_must_have(landed, KINDS);
	free(plan);
	plan = NULL;
}

static void test_one_device(void **state)
{
	(void)state;
	sweep(false);
}

static void test_mirror(void **state)
{
	(void)state;
	sweep(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_device),
		cmocka_unit_test(test_mirror),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
