/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A host that repairs what is bad stands still in each flush of its scrub, with
 * the repairs late.  Another one takes the pool over; it removes the volume that
 * was under repair and makes others, so what stood there gets another life if it
 * may.  Then the sleeper wakes up, or its repairs land at the very end: nothing
 * that others wrote is changed by them, and check and scrub find nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "delegate_cells.h"
#include "heal/header_priv.h"

#define BLOCKS	400u

/* What is repaired: nodes elsewhere, the rest in place. */
#define KINDS	(1u << GATE_DATA | 1u << GATE_NODE | 1u << GATE_TAGS |	\
		 1u << GATE_ROOT | 1u << GATE_HEADER)

struct story {
	struct shared_pool p;
	struct gate_world w;
	struct manager	a, b;		/* A scrubs */
	bool		is_taken;
};

static unsigned int landed[GATE_KINDS];	/* late, in all stories */

/* ---- damage ---------------------------------------------------------------- */

static void spoil(struct story *st, uint32_t device, uint64_t offset_bytes)
{
	uint8_t garbage[HEAL_BLOCK];
	struct cfs_dev *dev;

	heal_fill(garbage, sizeof(garbage), offset_bytes);
	HEAL_OK(cfs_sim_dev_open(st->p.sim, device, &dev, &err_));
	HEAL_OK(cfs_dev_write(dev, offset_bytes, garbage, sizeof(garbage),
			      &err_));
	HEAL_OK(cfs_dev_flush(dev, &err_));
	cfs_dev_close(dev);
}

/* The copy in piece 1. */
static void spoil_at(struct story *st, struct cfs_container *c, uint64_t vaddr)
{
	uint64_t offset;
	uint32_t device;

	assert_true(cfs_metavolume_locate(cfs_container_metavolume(c), vaddr, 1,
					  &device, &offset));
	spoil(st, device, offset);
}

static void spoil_header(struct story *st, struct cfs_container *c,
			 uint64_t lslice)
{
	struct cfs_piece pieces[CFS_PIECES_MAX];
	struct header_place at;

	assert_true(cfs_metavolume_get(cfs_container_metavolume(c), lslice,
				       pieces));
	at = (struct header_place){
		.device = pieces[1].device_index,
		.slice = pieces[1].slice_index,
		.generation = pieces[1].generation,
	};
	spoil(st, at.device, cfs_header_offset_bytes(st->a.set, &at));
}

/* A slice with nothing but data in it, two blocks, a node, a root, tags. */
static void spoil_all(struct story *st, struct cfs_member *x)
{
	struct cfs_container *c = x->container;
	const uint64_t data = heal_block(c, CFS_TAG_DATA, 0, 5, NULL);
	const uint64_t far = heal_block(c, CFS_TAG_DATA, 0, BLOCKS - 5, NULL);

	spoil_at(st, c, data);
	spoil_at(st, c, far);
	spoil_at(st, c, heal_tag_page(c, far, true));
	spoil_at(st, c, heal_block(c, CFS_TAG_NODE, 0, 0, NULL));
	cfs_container_lock(c);
	spoil_at(st, c, cfs_container_root_places(c)[0] +
			(cfs_repair_root_seq(c) & 1));
	cfs_container_unlock(c);
	spoil_header(st, c, cfs_vaddr_lslice(far));
	spoil_header(st, c, cfs_vaddr_lslice(data));
}

/* ---- the story ------------------------------------------------------------- */

static struct cfs_member *make(struct manager *m, const char *name,
			       uint64_t seed)
{
	struct cfs_member *x;

	HEAL_OK(cfs_pool_container_make(m->pool, name, CFS_VOLUME_LUN, 0,
					CFS_OBJECT_LIVE, &x, &err_));
	HEAL_OK(cfs_volume_make_first(x, CFS_VOLUME_LUN, LUN_BYTES, &err_));
	assert_int_equal(lun_write(x, 0, BLOCKS, seed), 0);
	HEAL_OK(cfs_container_commit_idle(x->container, &err_));
	return x;
}

static void world_goes_on(void *arg)
{
	struct story *st = arg;
	struct cfs_member *x;

	manager_init(&st->p, &st->b, "b", 2, NO_DEVICE, NULL);
	manager_open(&st->p, &st->b, NULL);
	st->is_taken = true;
	HEAL_OK(cfs_pool_member(st->b.pool, "x", &x, &err_));
	assert_int_equal(heal_read(x, 0, BLOCKS, 1), 0);
	HEAL_OK(cfs_pool_container_remove(st->b.pool, x, &err_));
	for (uint64_t i = 0; i < 8; i++) {
		char name[8];

		(void)snprintf(name, sizeof(name), "y%u", (unsigned int)i);
		(void)make(&st->b, name, 10 + i);
	}
	manager_check(&st->b);
}

static void scrub(struct manager *m)
{
	const struct cfs_scrub_options opt = { .heals = true };
	const struct cfs_scrub_calls calls = { .each = NULL };
	struct cfs_scrub_result result;

	(void)cfs_pool_scrub(m->pool, NULL, &opt, &calls, &result, NULL);
}

static void look(struct manager *m)
{
	for (uint64_t i = 0; i < 8; i++) {
		struct cfs_member *y;
		char name[8];

		(void)snprintf(name, sizeof(name), "y%u", (unsigned int)i);
		HEAL_OK(cfs_pool_member(m->pool, name, &y, &err_));
		assert_int_equal(heal_read(y, 0, BLOCKS, 10 + i), 0);
	}
	manager_check(m);
	manager_scrub(m);
}

static void end(struct story *st)
{
	struct manager c;

	(void)gate_release(&st->w);
	if (!st->is_taken)
		world_goes_on(st);
	look(&st->b);
	cfs_pool_drop(st->a.pool);
	(void)cfs_holder_release(st->a.holder, false, NULL);
	cfs_devset_close(st->a.set);
	manager_free_gates(&st->a);
	manager_close(&st->b);
	manager_init(&st->p, &c, "c", 3, NO_DEVICE, NULL);
	manager_open(&st->p, &c, "a");
	look(&c);
	manager_close(&c);
	shared_free(&st->p);
}

/* How many flushes there were. */
static unsigned int sleeps(unsigned int stop_at, bool wakes_up)
{
	struct story *st = calloc(1, sizeof(*st));
	struct cfs_member *x;
	unsigned int n;

	assert_non_null(st);
	st->p = shared_new(2, true);
	st->w.wakes_up = wakes_up;
	st->w.hook = world_goes_on;
	st->w.arg = st;
	cfs_rng_init(&st->w.rng, stop_at);
	manager_init(&st->p, &st->a, "a", 1, NO_DEVICE, &st->w);
	manager_open(&st->p, &st->a, NULL);
	x = make(&st->a, "x", 1);
	spoil_all(st, x);
	st->w.flushes = 0;
	st->w.stop_at = stop_at;
	st->w.is_holding = stop_at == 1;
	scrub(&st->a);
	n = st->w.flushes;
	end(st);
	gate_add(landed, st->w.landed);
	free(st);
	return n;
}

static void test_repairs_are_late(void **state)
{
	const unsigned int n = sleeps(0, false);
	const unsigned int step = getenv("CFS_LONG") ? 1 : 2;

	(void)state;
	assert_true(n > 5);
	for (unsigned int at = 1; at <= n; at++)
		for (unsigned int how = at % step; how < 2; how += step)
			sleeps(at, how);
	/* Records that lend and commits are as in any other work. */
	landed[GATE_TABLE] = landed[GATE_FRAME] = 0;
	gate_must_have(landed, KINDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_repairs_are_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
