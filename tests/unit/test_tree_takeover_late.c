/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A host stands still in one of its flushes, each in turn; what it had written
 * since the one before is late.  Others take its pool over, once or twice, and
 * use it.  Then it wakes up, or its writes land at the very end.  In either
 * case all that anybody was told is durable is there, every block verifies, and
 * the sleeper is never told that something is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <limits.h>

#include "shared_fixture.h"
#include "tree/lend.h"
#include "volume/pool_thaw.h"

#define NO_DEVICE   UINT32_MAX
#define BLOCKS      64u
#define PENDING_MAX 24u

/* What may stand in a block of the LUN: numbers, 0 is zeroes. */
struct cell {
	uint64_t acked;
	uint64_t pending[PENDING_MAX];
	unsigned int count;
};

/* What a manager writes. */
#define HOLDER_KINDS                                                           \
	(1u << GATE_DATA | 1u << GATE_NODE | 1u << GATE_FRAME |                \
	 1u << GATE_TABLE | 1u << GATE_TAGS | 1u << GATE_ROOT |                \
	 1u << GATE_GRAVE | 1u << GATE_LABEL | 1u << GATE_HEADER |             \
	 1u << GATE_DISCARD)
#define SUCCESSOR_KINDS (HOLDER_KINDS | 1u << GATE_SEAT)
#define THAW_KINDS                                                             \
	(1u << GATE_NODE | 1u << GATE_FRAME | 1u << GATE_TABLE |               \
	 1u << GATE_TAGS | 1u << GATE_ROOT | 1u << GATE_SEAT |                 \
	 1u << GATE_HEADER | 1u << GATE_DISCARD)

static unsigned int landed[GATE_KINDS]; /* late, in all stories */
static struct gate_plan *plan;          /* of the story that nobody stops */

struct story {
	struct shared_pool p;
	struct gate_world w;
	struct manager z, a, b, c;
	struct cfs_member *lun; /* A's */
	struct cell cells[BLOCKS];
	bool is_double; /* C takes over from B, too */
	bool is_taken;  /* from A */
	bool is_told;   /* to A, that Z is gone */
	bool has_lun;
	uint64_t next;   /* number */
	const char *who; /* is at work */
};

/* ---- what is known ------------------------------------------------------- */

static void will_write(struct story *s, uint64_t block, uint32_t count,
		       uint64_t first)
{
	for (uint32_t i = 0; i < count; i++) {
		struct cell *at = &s->cells[block + i];

		assert_true(at->count < PENDING_MAX);
		at->pending[at->count++] = first ? first + i : 0;
	}
}

static void was_acked(struct story *s)
{
	for (unsigned int i = 0; i < BLOCKS; i++) {
		struct cell *at = &s->cells[i];

		if (at->count)
			at->acked = at->pending[at->count - 1];
		at->count = 0;
	}
}

static void block_fill(uint8_t *buf, uint64_t number)
{
	if (number)
		heal_fill(buf, HEAL_BLOCK, number);
	else
		memset(buf, 0, HEAL_BLOCK);
}

static bool is_number(const uint8_t *buf, uint64_t number)
{
	uint8_t want[HEAL_BLOCK];

	block_fill(want, number);
	return memcmp(buf, want, HEAL_BLOCK) == 0;
}

/* A new holder looks: what it finds is what there is from now on. */
static void look(struct story *s, struct cfs_member *lun)
{
	struct cfs_volume_rec rec = heal_volume(lun);
	uint8_t buf[HEAL_BLOCK];
	struct cfs_view view;

	cfs_volume_view(lun, &rec, &view);
	for (unsigned int i = 0; i < BLOCKS; i++) {
		struct cell *at = &s->cells[i];
		bool is_found;

		cfs_container_lock(lun->container);
		HEAL_OK(cfs_data_read(&view, rec.ino, i * HEAL_BLOCK, buf,
				      HEAL_BLOCK, NULL, &err_));
		cfs_container_unlock(lun->container);
		is_found = is_number(buf, at->acked);
		for (unsigned int k = 0; !is_found && k < at->count; k++) {
			is_found = is_number(buf, at->pending[k]);
			if (is_found)
				at->acked = at->pending[k];
		}
		if (!is_found)
			fail_msg("flush %u, wakes %d, twice %d: %s: block %u "
				 "is none of %" PRIu64 " and %u more",
				 s->w.stop_at, s->w.wakes_up, s->is_double,
				 s->who, i, at->acked, at->count);
		at->count = 0;
	}
}

/* ---- what is done -------------------------------------------------------- */

static int write_numbers(struct story *s, struct cfs_member *lun,
			 uint64_t block, uint32_t count)
{
	struct cfs_volume_rec rec = heal_volume(lun);
	uint8_t *buf = malloc((size_t)count * HEAL_BLOCK);
	const uint64_t first = s->next;
	int r;

	assert_non_null(buf);
	s->next += count;
	for (uint32_t i = 0; i < count; i++)
		block_fill(buf + (size_t)i * HEAL_BLOCK, first + i);
	if (lun != s->lun || !s->is_taken)
		will_write(s, block, count, first);
	r = cfs_op_begin(lun->container, CFS_OP_NORMAL, NULL);
	if (r == 0) {
		r = cfs_data_write(lun->container, (uint16_t)rec.head_branch,
				   rec.ino, block * HEAL_BLOCK, buf,
				   (size_t)count * HEAL_BLOCK, NULL);
		if (r < 0)
			cfs_op_abort(lun->container);
		else
			cfs_op_end(lun->container);
	}
	free(buf);
	return r;
}

/* The sleeper's: 0 only if nobody has taken the pool. */
static void synced(struct story *s, int r)
{
	if (s->is_taken || s->w.has_stopped)
		assert_true(r < 0);
	else if (r == 0)
		was_acked(s);
	else
		fail_msg("a sync failed: %d", r);
}

static void use(struct story *s, struct cfs_member *lun)
{
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(write_numbers(s, lun, 3 + i, 2), 0);
		HEAL_OK(cfs_container_sync(lun->container, &err_));
		assert_int_equal(write_numbers(s, lun, 20, 40), 0);
		HEAL_OK(cfs_container_commit(lun->container, &err_));
		was_acked(s);
	}
}

/* As slicectl does when a pool gets another name, or device. */
static int name_it(struct manager *m, const char *name)
{
	cfs_devset_set_name(m->set, name);
	return cfs_devset_write_labels(m->set, NULL);
}

/* The one before is silent, and then it is somebody else's pool. */
static void take(struct story *s, struct manager *m, const char *name,
		 uint8_t boot)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_member *lun;

	s->who = name;
	manager_init(&s->p, m, name, boot, NO_DEVICE, NULL);
	manager_open(&s->p, m, NULL);
	if (cfs_pool_member(m->pool, "lun", &lun, &err) < 0) {
		if (s->has_lun)
			fail_msg("%s: %s", name, err.msg);
		lun = manager_make_lun(m);
		s->has_lun = true;
	}
	look(s, lun);
	use(s, lun);
	assert_int_equal(name_it(m, name), 0);
	manager_check(m);
}

static void world_goes_on(void *arg)
{
	struct story *s = arg;

	take(s, &s->b, "b", 2);
	s->is_taken = true;
	if (s->is_double)
		take(s, &s->c, "c", 3);
}

/* Everything that a manager writes. */
static void live(struct story *s)
{
	struct cfs_member *x;

	for (unsigned int i = 0; i < 3; i++) {
		(void)write_numbers(s, s->lun, i, 5);
		synced(s, cfs_container_sync(s->lun->container, NULL));
		(void)write_numbers(s, s->lun, 8, 40);
		synced(s, cfs_container_sync(s->lun->container, NULL));
		(void)write_numbers(s, s->lun, 2, 3);
		synced(s, cfs_container_commit(s->lun->container, NULL));
		(void)name_it(&s->a, "a");
		if (cfs_pool_container_make(s->a.pool, "x", CFS_VOLUME_LUN, 0,
					    CFS_OBJECT_LIVE, &x, NULL) < 0)
			continue;
		assert_false(s->is_taken);
		if (cfs_volume_make_first(x, CFS_VOLUME_LUN, 1 << 20, NULL) ==
		    0)
			(void)lun_write(x, 0, 200, 7);
		(void)cfs_container_commit(x->container, NULL);
		(void)cfs_pool_container_remove(s->a.pool, x, NULL);
	}
}

static void gone(struct story *s, const char *name)
{
	struct cfs_slice_counts counts;
	struct cfs_lent_counts lent;
	struct cfs_member *lun;
	struct manager d;

	s->who = name ? name : "d";
	manager_init(&s->p, &d, "d", 4, NO_DEVICE, NULL);
	manager_open(&s->p, &d, name);
	/* As a session does: copies of labels that differ are made one. */
	HEAL_OK(cfs_devset_level_labels(d.set, &err_));
	lun = manager_lun(&d);
	look(s, lun);
	manager_check(&d);
	manager_scrub(&d);
	use(s, lun);
	manager_check(&d);
	HEAL_OK(cfs_pool_slice_counts(d.pool, UINT32_MAX, &counts, &err_));
	cfs_container_lent_counts(lun->container, &lent);
	manager_close(&d);
	/* The last one that anybody need say it of. */
	if (name && strcmp(name, s->is_told ? "c" : "z") == 0) {
		assert_int_equal(lent.frozen_groups, 0);
		assert_int_equal(counts.frozen, 0);
	}
}

static void end(struct story *s)
{
	(void)gate_release(&s->w);
	gone(s, NULL);
	if (s->a.set) {
		cfs_pool_drop(s->a.pool);
		(void)cfs_holder_release(s->a.holder, false, NULL);
		cfs_devset_close(s->a.set);
	}
	s->lun = NULL;
	manager_free_gates(&s->a);
	if (s->b.set)
		manager_drop(&s->b);
	if (s->c.set)
		manager_drop(&s->c);
	if (s->z.set)
		manager_drop(&s->z);
	gone(s, "a");
	gone(s, "b");
	gone(s, "c");
	gone(s, "z");
	shared_free(&s->p);
}

/* ---- A has the pool, and sleeps ------------------------------------------ */

static struct story *story_new(unsigned int stop_at, bool wakes_up,
			       bool is_double, bool is_mirror)
{
	struct story *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->p = shared_new(is_mirror ? 2 : 1, is_mirror);
	s->w.wakes_up = wakes_up;
	s->w.hook = world_goes_on;
	s->w.arg = s;
	s->w.plan = stop_at ? NULL : plan;
	cfs_rng_init(&s->w.rng, stop_at);
	s->is_double = is_double;
	s->next = 1;
	return s;
}

/* How many flushes there were. */
static unsigned int holder_sleeps(unsigned int stop_at, bool wakes_up,
				  bool is_double, bool is_mirror)
{
	struct story *s = story_new(stop_at, wakes_up, is_double, is_mirror);
	unsigned int n;

	manager_init(&s->p, &s->a, "a", 1, NO_DEVICE, &s->w);
	manager_open(&s->p, &s->a, NULL);
	s->lun = manager_make_lun(&s->a);
	s->has_lun = true;
	(void)write_numbers(s, s->lun, 0, BLOCKS);
	HEAL_OK(cfs_container_commit(s->lun->container, &err_));
	was_acked(s);
	s->w.flushes = 0;
	s->w.stop_at = stop_at;
	live(s);
	n = s->w.flushes;
	end(s);
	gate_add(landed, s->w.landed);
	free(s);
	return n;
}

/* In front of each kind of write that there is, and of each in the long run. */
static void sweep(unsigned int (*fn)(unsigned int, bool, bool, bool),
		  bool is_mirror, unsigned int each, unsigned int kinds)
{
	const bool is_long = getenv("CFS_LONG") != NULL;
	unsigned int n;

	plan = calloc(1, sizeof(*plan));
	assert_non_null(plan);
	n = fn(0, false, false, is_mirror);
	assert_true(n > 20);
	gate_choose(plan, n, is_long ? UINT_MAX : each);
	memset(landed, 0, sizeof(landed));
	for (unsigned int at = 1; at <= n; at++)
		for (unsigned int how = 0; plan->is_chosen[at] && how < 4;
		     how++)
			if (is_long || how == at % 2 || how == 3 - at % 2)
				fn(at, how & 1, how & 2, is_mirror);
	gate_must_have(landed, kinds);
	free(plan);
	plan = NULL;
}

static void test_holder_sleeps(void **state)
{
	(void)state;
	sweep(holder_sleeps, false, 2, HOLDER_KINDS);
}

static void test_holder_of_mirror_sleeps(void **state)
{
	(void)state;
	sweep(holder_sleeps, true, 1, HOLDER_KINDS);
}

/* ---- A takes over from Z, and sleeps ------------------------------------- */

static unsigned int successor_sleeps(unsigned int stop_at, bool wakes_up,
				     bool is_double, bool is_mirror)
{
	struct story *s = story_new(stop_at, wakes_up, is_double, is_mirror);
	struct cfs_member *lun;
	unsigned int n;
	int r;

	manager_init(&s->p, &s->z, "z", 9, NO_DEVICE, NULL);
	manager_open(&s->p, &s->z, NULL);
	lun = manager_make_lun(&s->z);
	s->has_lun = true;
	(void)write_numbers(s, lun, 0, BLOCKS);
	HEAL_OK(cfs_container_commit(lun->container, &err_));
	(void)write_numbers(s, lun, 5, 3);
	(void)write_numbers(s, lun, 10, 40);
	HEAL_OK(cfs_container_sync(lun->container, &err_));
	was_acked(s);
	s->w.stop_at = stop_at;
	if (stop_at == 1)
		s->w.is_holding = true;
	manager_init(&s->p, &s->a, "a", 1, NO_DEVICE, &s->w);
	r = manager_hold(&s->p, &s->a, 0, NULL, NULL);
	/* It woke up before it had the pool, and waited for the others. */
	if (r == 0 && s->a.seat.epoch > s->b.seat.epoch &&
	    s->a.seat.epoch > s->c.seat.epoch)
		s->is_taken = false;
	if (r == 0)
		r = manager_pool(&s->a, false, NULL);
	if (r == 0)
		r = cfs_pool_member(s->a.pool, "lun", &s->lun, NULL);
	if (r == 0 && !s->is_taken)
		look(s, s->lun);
	/* Whoever has not seen yet that it is over must not be told more. */
	if (r == 0)
		live(s);
	else
		assert_true(s->is_taken);
	n = s->w.flushes;
	end(s);
	gate_add(landed, s->w.landed);
	free(s);
	return n;
}

static void test_successor_sleeps(void **state)
{
	(void)state;
	sweep(successor_sleeps, false, 2, SUCCESSOR_KINDS);
}

/* ---- A gives back what Z kept, in service, and sleeps -------------------- */

/* What slices and loans of the LUN are frozen. */
static uint64_t frozen(struct manager *m)
{
	struct cfs_slice_counts counts;
	struct cfs_lent_counts lent;

	HEAL_OK(cfs_pool_slice_counts(m->pool, UINT32_MAX, &counts, &err_));
	cfs_container_lent_counts(manager_lun(m)->container, &lent);
	return counts.frozen + lent.frozen_groups;
}

static void make(struct manager *m, const char *name)
{
	struct cfs_member *x;

	HEAL_OK(cfs_pool_container_make(m->pool, name, CFS_VOLUME_LUN, 0,
					CFS_OBJECT_LIVE, &x, &err_));
	HEAL_OK(cfs_volume_make_first(x, CFS_VOLUME_LUN, 1 << 20, &err_));
	assert_int_equal(lun_write(x, 0, 200, 7), 0);
	HEAL_OK(cfs_container_sync(x->container, &err_));
}

static int thaw_one(void *arg, uint64_t id, const struct cfs_container_rec *rec,
		    struct cfs_err *err)
{
	return rec->state == CFS_OBJECT_DELETING
		       ? 0
		       : cfs_pool_thaw_container(arg, id, err);
}

static int thaw(struct manager *m, const char *host)
{
	int r = cfs_holder_host_gone(m->holder, host, NULL);

	if (r == 0)
		r = cfs_pool_thaw(m->pool, NULL);
	if (r == 0)
		r = cfs_pool_containers(m->pool, thaw_one, m->pool, NULL);
	return r < 0 ? r : cfs_pool_thaw_removed(m->pool, NULL);
}

static void take_from_z(struct story *s)
{
	struct cfs_member *lun, *away;

	manager_init(&s->p, &s->z, "z", 9, NO_DEVICE, NULL);
	manager_open(&s->p, &s->z, NULL);
	lun = manager_make_lun(&s->z);
	s->has_lun = true;
	(void)write_numbers(s, lun, 0, BLOCKS);
	HEAL_OK(cfs_container_commit(lun->container, &err_));
	make(&s->z, "removed");
	make(&s->z, "unopened");
	manager_init(&s->p, &s->a, "a", 1, NO_DEVICE, &s->w);
	manager_open(&s->p, &s->a, NULL);
	s->lun = manager_lun(&s->a);
	look(s, s->lun);
	use(s, s->lun);
	HEAL_OK(cfs_pool_member(s->a.pool, "removed", &away, &err_));
	HEAL_OK(cfs_pool_container_remove(s->a.pool, away, &err_));
	assert_true(frozen(&s->a) > 2);
}

static unsigned int thaw_sleeps(unsigned int stop_at, bool wakes_up,
				bool is_double, bool is_mirror)
{
	struct story *s = story_new(stop_at, wakes_up, is_double, is_mirror);
	unsigned int n;
	int r;

	s->w.plan = NULL;
	take_from_z(s);
	assert_int_equal(cfs_holder_host_gone(s->a.holder, "y", NULL), -ENOENT);
	s->is_told = true;
	s->w.flushes = 0;
	s->w.stop_at = stop_at;
	s->w.is_holding = stop_at == 1;
	s->w.plan = stop_at ? NULL : plan;
	r = thaw(&s->a, "z");
	n = s->w.flushes;
	if (stop_at == 0) {
		assert_int_equal(r, 0);
		assert_int_equal(frozen(&s->a), 0);
		manager_check(&s->a);
		/* There is nothing more. */
		assert_int_equal(thaw(&s->a, "z"), 0);
		assert_int_equal(frozen(&s->a), 0);
		s->w.plan = NULL;
	}
	live(s);
	end(s);
	gate_add(landed, s->w.landed);
	free(s);
	return n;
}

static void test_thaw_sleeps(void **state)
{
	(void)state;
	sweep(thaw_sleeps, false, 1, THAW_KINDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_holder_sleeps),
		cmocka_unit_test(test_holder_of_mirror_sleeps),
		cmocka_unit_test(test_successor_sleeps),
		cmocka_unit_test(test_thaw_sleeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
