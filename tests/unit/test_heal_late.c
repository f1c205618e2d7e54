/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A host that repairs what is bad stands still in each flush of its scrub, with
 * the repairs late.  Another one takes the pool over; it removes the volume
 * that was under repair and makes others, so what stood there gets another life
 * if it may.  Then the sleeper wakes up, or its repairs land at the very end:
 * nothing that others wrote is changed by them, and check and scrub find
 * nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../sim/worn_pool.h"
#include "delegate_cells.h"
#include "heal/header_priv.h"

#define BLOCKS    1000u /* some slices with nothing else in them */
#define FEW       100u
#define LATER_MAX 80u

/* What is repaired: nodes elsewhere, the rest in place. */
#define KINDS                                                                  \
	(1u << GATE_DATA | 1u << GATE_NODE | 1u << GATE_TAGS |                 \
	 1u << GATE_ROOT | 1u << GATE_HEADER)

struct story {
	struct shared_pool p;
	struct gate_world w;
	struct manager a, b; /* A scrubs */
	bool is_taken;
	unsigned int later; /* volumes that B made, */
	unsigned int small; /* and from which on they are small */
};

static unsigned int landed[GATE_KINDS]; /* late, in all stories */

/* ---- damage ----------------------------------------------------------------
 */

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
	const uint64_t far = heal_block(c, CFS_TAG_DATA, 0, BLOCKS / 2, NULL);

	spoil_at(st, c, data);
	spoil_at(st, c, far);
	spoil_at(st, c, heal_tag_page(c, far, true));
	spoil_at(st, c, heal_block(c, CFS_TAG_NODE, 0, 0, NULL));
	cfs_container_lock(c);
	spoil_at(st, c,
		 cfs_container_root_places(c)[0] +
			 (cfs_repair_root_seq(c) & 1));
	cfs_container_unlock(c);
	spoil_header(st, c, cfs_vaddr_lslice(far));
	spoil_header(st, c, cfs_vaddr_lslice(data));
}

/* ---- the story -------------------------------------------------------------
 */

/* A volume with some blocks of @seed; NULL: there is no space for it. */
static struct cfs_member *make(struct manager *m, const char *name,
			       uint32_t blocks, uint64_t seed)
{
	struct cfs_member *x;

	if (cfs_pool_container_make(m->pool, name, CFS_VOLUME_LUN, 0,
				    CFS_OBJECT_LIVE, &x, NULL) < 0)
		return NULL;
	if (cfs_volume_make_first(x, CFS_VOLUME_LUN, LUN_BYTES, NULL) < 0 ||
	    lun_write(x, 0, blocks, seed) < 0) {
		HEAL_OK(cfs_pool_container_remove(m->pool, x, &err_));
		return NULL;
	}
	HEAL_OK(cfs_container_commit_idle(x->container, &err_));
	return x;
}

static void name_of(unsigned int i, char ret[16])
{
	(void)snprintf(ret, 16, "y%u", i);
}

static void scrub(struct manager *m)
{
	const struct cfs_scrub_options opt = { .heals = true };
	const struct cfs_scrub_calls calls = { .each = NULL };
	struct cfs_scrub_result result;

	(void)cfs_pool_scrub(m->pool, NULL, &opt, &calls, &result, NULL);
}

/* The former volume's slices are somebody else's where that may be. */
static void world_goes_on(void *arg)
{
	struct story *st = arg;
	struct cfs_member *x;
	char name[16];

	manager_init(&st->p, &st->b, "b", 2, NO_DEVICE, NULL);
	manager_open(&st->p, &st->b, NULL);
	st->is_taken = true;
	HEAL_OK(cfs_pool_member(st->b.pool, "x", &x, &err_));
	assert_int_equal(heal_read(x, 0, BLOCKS, 1), 0);
	scrub(&st->b); /* headers stay until A is gone */
	HEAL_OK(cfs_pool_container_remove(st->b.pool, x, &err_));
	for (; st->later < LATER_MAX; st->later++) {
		name_of(st->later, name);
		if (!st->small && !make(&st->b, name, BLOCKS, 10 + st->later))
			st->small = st->later;
		if (st->small && !make(&st->b, name, FEW, 10 + st->later))
			break;
	}
	assert_in_range(st->later, 4, LATER_MAX - 1);
	manager_check(&st->b);
}

static void look(struct story *st, struct manager *m)
{
	for (unsigned int i = 0; i < st->later; i++) {
		struct cfs_member *y;
		char name[16];

		name_of(i, name);
		HEAL_OK(cfs_pool_member(m->pool, name, &y, &err_));
		assert_int_equal(
			heal_read(y, 0, i < st->small ? BLOCKS : FEW, 10 + i),
			0);
	}
	manager_check(m);
	manager_scrub(m);
}

static uint64_t free_slices(struct manager *m)
{
	struct cfs_slice_counts counts;

	HEAL_OK(cfs_pool_slice_counts(m->pool, UINT32_MAX, &counts, &err_));
	return counts.free;
}

static void end(struct story *st)
{
	struct manager c;
	uint64_t before;

	(void)gate_release(&st->w);
	if (!st->is_taken)
		world_goes_on(st);
	look(st, &st->b);
	cfs_pool_drop(st->a.pool);
	(void)cfs_holder_release(st->a.holder, false, NULL);
	cfs_devset_close(st->a.set);
	manager_free_gates(&st->a);
	before = free_slices(&st->b);
	manager_close(&st->b);
	manager_init(&st->p, &c, "c", 3, NO_DEVICE, NULL);
	manager_open(&st->p, &c, "a");
	look(st, &c);
	/* What was kept of the former volume has come back. */
	assert_true(free_slices(&c) > before);
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
	x = make(&st->a, "x", BLOCKS, 1);
	pool_wear(&st->a); /* what is given back is soon used again */
	assert_non_null(x);
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
