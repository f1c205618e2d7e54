/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A shared pool changes hands by force again and again: two hosts that fall
 * silent in turn, and start anew later.  What their epochs held comes back
 * once they are known to be gone, so that there is no end to it; and a full
 * pool can be taken over like any other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "shared_fixture.h"

#define NO_DEVICE   UINT32_MAX
#define SMALL_BYTES (UINT64_C(64) << 20)
#define BLOCKS      1024u /* of the LUN */
#define RUN_BLOCKS  40u   /* that one write changes: home at once */

/* Who has it, and who had it last and may write on. */
struct chain {
	struct shared_pool p;
	struct manager now, last;
	struct cfs_member *lun, *last_lun;
	unsigned int count;     /* of openings */
	uint64_t seeds[BLOCKS]; /* what stands in each block; 0: none */
};

static uint64_t free_slices(struct chain *s)
{
	struct cfs_slice_counts counts;

	HEAL_OK(cfs_pool_slice_counts(s->now.pool, UINT32_MAX, &counts, &err_));
	return counts.free;
}

/* The other host, after a new start, takes it from the one that is silent. */
static int chain_next(struct chain *s, struct cfs_err *err)
{
	const unsigned int n = s->count++;
	int r;

	if (s->last.set)
		manager_drop(&s->last);
	s->last = s->now;
	s->last_lun = s->lun;
	/* The identity is asked through this. */
	s->last.source.arg = &s->last.host;
	s->lun = NULL;
	manager_init(&s->p, &s->now, n & 1 ? "b" : "a", (uint8_t)(1 + n / 2),
		     NO_DEVICE, NULL);
	r = manager_hold(&s->p, &s->now, 30, NULL, err);
	if (r == 0)
		r = manager_pool(&s->now, false, err);
	if (r == 0 && n > 0) {
		assert_true(cfs_holder_must_move(s->now.holder));
		r = cfs_pool_member(s->now.pool, "lun", &s->lun, err);
	}
	return r;
}

static void chain_begin(struct chain *s, unsigned int devices, bool is_mirror,
			uint64_t bytes)
{
	memset(s, 0, sizeof(*s));
	s->p = shared_new_of(devices, is_mirror, bytes);
	HEAL_OK(chain_next(s, &err_));
}

static void chain_end(struct chain *s)
{
	if (s->last.set)
		manager_drop(&s->last);
	manager_close(&s->now);
	shared_free(&s->p);
}

static int write_run(struct chain *s, uint64_t block, uint32_t count,
		     uint64_t seed)
{
	for (uint32_t i = 0; i < count; i++) {
		int r = lun_write(s->lun, block + i, 1, seed + i);

		if (r < 0)
			return r;
		s->seeds[block + i] = seed + i;
	}
	return 0;
}

static void check_data(struct chain *s)
{
	for (unsigned int i = 0; i < BLOCKS; i++)
		if (s->seeds[i] && heal_read(s->lun, i, 1, s->seeds[i]) != 0)
			fail_msg("opening %u: block %u is not what was synced",
				 s->count, i);
}

/* What the silent one does once it goes on: nothing that counts. */
static void late_work(struct chain *s)
{
	struct cfs_err err = CFS_ERR_INIT;

	if (!s->last_lun)
		return;
	(void)lun_write(s->last_lun, 7, 40, 12345);
	assert_true(cfs_container_sync(s->last_lun->container, &err) < 0);
	assert_true(cfs_container_commit(s->last_lun->container, &err) < 0);
	assert_true(cfs_pool_container_update(s->last_lun->pool, s->last_lun,
					      &s->last_lun->rec, &err) < 0);
}

/* One turn: all is there, more is written, what is late changes nothing. */
static void turn(struct chain *s, unsigned int i)
{
	struct cfs_err err = CFS_ERR_INIT;
	int r = chain_next(s, &err);

	if (r < 0)
		fail_msg("takeover %u: %d: %s", i, r, err.msg);
	check_data(s);
	HEAL_OK(write_run(s, (i * 37) % (BLOCKS - RUN_BLOCKS),
			  1 + i % RUN_BLOCKS, 1000 * (i + 1)));
	if (i % 3 == 0)
		HEAL_OK(cfs_container_commit(s->lun->container, &err_));
	late_work(s);
	HEAL_OK(cfs_container_sync(s->lun->container, &err_));
	if (i % 3 == 1)
		HEAL_OK(cfs_container_commit(s->lun->container, &err_));
	if (i % 10 == 9)
		manager_check(&s->now);
}

static void takeovers(unsigned int devices, bool is_mirror, uint64_t bytes,
		      unsigned int count)
{
	uint64_t free_early = 0;
	struct chain s;

	chain_begin(&s, devices, is_mirror, bytes);
	s.lun = manager_make_lun(&s.now);
	HEAL_OK(write_run(&s, 0, BLOCKS, 1));
	HEAL_OK(cfs_container_sync(s.lun->container, &err_));
	for (unsigned int i = 0; i < count; i++) {
		turn(&s, i);
		if (i == 19)
			free_early = free_slices(&s);
	}
	/* As much is free as there was behind the first ones, but for what is
	 * about to come back. */
	if (free_slices(&s) + 4 < free_early)
		fail_msg("%" PRIu64 " slices free, and %" PRIu64
			 " behind the first takeovers",
			 free_slices(&s), free_early);
	manager_check(&s.now);
	chain_end(&s);
}

static void test_one_by_one(void **state)
{
	(void)state;
	/* Each takes a while where memory is watched. */
	takeovers(1, false, SMALL_BYTES, getenv("CFS_LONG") ? 200 : 50);
}

/* ---- hosts that stay silent ---------------------------------------------- */

static int silent_next(struct shared_pool *p, struct manager *m, unsigned int i,
		       const char *gone, struct cfs_err *err)
{
	char name[16];
	int r;

	(void)snprintf(name, sizeof(name), "h%u", i);
	manager_init(p, m, name, (uint8_t)(1 + i), NO_DEVICE, NULL);
	r = manager_hold(p, m, 30, gone, err);
	if (r == 0)
		r = manager_pool(m, false, err);
	return r;
}

#define SILENT_MAX 40u

/* Forget it here; it may live on for all that others know. */
static void fall_silent(struct manager *m)
{
	const uint64_t pid = m->host.alive_pid;

	manager_drop(m);
	m->host.alive_pid = pid;
}

/*
 * Host behind host falls silent, and none is known to be gone: it goes on for as
 * long as is said, and then no further; until an operator names them.
 */
static void test_bound(void **state)
{
	static struct manager m[SILENT_MAX];
	struct cfs_err err = CFS_ERR_INIT;
	struct shared_pool p = shared_new_of(1, false, SMALL_BYTES);
	unsigned int left, before = SILENT_MAX, i;
	char names[16 * SILENT_MAX] = "";
	int r = 0;

	(void)state;
	for (i = 0; i < SILENT_MAX; i++) {
		r = silent_next(&p, &m[i], i, NULL, &err);
		if (r < 0)
			break;
		left = cfs_pool_takeovers_left(m[i].pool);
		assert_true(left <= before);
		/* What is said is so, and it is said early. */
		assert_true(i > 0 || left >= 8);
		before = left;
		if (i == 0)
			HEAL_OK(cfs_container_sync(
				manager_make_lun(&m[0])->container, &err_));
		fall_silent(&m[i]);
	}
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(before, 0);
	assert_non_null(strstr(err.msg, "say with leasectl gone"));
	print_message("# %u hosts\n", i);
	fall_silent(&m[i]);
	/* Those that are named, together, give back what they had. */
	for (unsigned int k = 0; k < i; k++)
		(void)snprintf(names + strlen(names),
			       sizeof(names) - strlen(names), "%sh%u",
			       k ? " " : "", k);
	HEAL_OK(silent_next(&p, &m[i + 1], i + 1, names, &err));
	(void)manager_lun(&m[i + 1]);
	manager_check(&m[i + 1]);
	left = cfs_pool_takeovers_left(m[i + 1].pool);
	if (left < 5)
		fail_msg("%u are left", left);
	fall_silent(&m[i + 1]);
	HEAL_OK(silent_next(&p, &m[i + 2], i + 2, NULL, &err));
	manager_check(&m[i + 2]);
	fall_silent(&m[i + 2]);
	shared_free(&p);
}

static void test_mirror(void **state)
{
	(void)state;
	takeovers(3, true, SMALL_BYTES, 24);
}

/* ---- a full pool --------------------------------------------------------- */

#define BIG_BLOCKS (UINT64_C(128) << 20 >> 12)
#define FULL_RUN   64u

/* Until there is no space; how many blocks from the front were written. */
static uint64_t fill(struct chain *s)
{
	uint64_t done = 0;
	int r = 0;

	while (r == 0 && done < BIG_BLOCKS) {
		r = lun_write(s->lun, done, FULL_RUN, done + 1);
		if (r == 0)
			done += FULL_RUN;
	}
	assert_int_equal(r, -ENOSPC);
	HEAL_OK(cfs_container_sync(s->lun->container, &err_));
	return done;
}

static void check_full(struct chain *s, uint64_t count)
{
	for (uint64_t i = 0; i < count; i += FULL_RUN)
		if (heal_read(s->lun, i, FULL_RUN, i + 1) != 0)
			fail_msg("opening %u: block %" PRIu64 " is lost",
				 s->count, i);
}

static int punch(struct chain *s, uint64_t block, uint64_t count)
{
	struct cfs_volume_rec rec = heal_volume(s->lun);
	struct cfs_container *c = s->lun->container;
	int r = cfs_op_begin(c, CFS_OP_FREEING, NULL);

	if (r < 0)
		return r;
	r = cfs_data_punch(c, (uint16_t)rec.head_branch, rec.ino,
			   block * HEAL_BLOCK, count * HEAL_BLOCK, NULL);
	if (r < 0)
		cfs_op_abort(c);
	else
		cfs_op_end(c);
	return r;
}

/*
 * It is full; hosts fall silent, one after the other, each with whatever it has
 * tried to write.  Each time all is there, and in the end there is room to
 * delete, and to write again.
 */
static void full(unsigned int takeovers)
{
	struct cfs_err err = CFS_ERR_INIT;
	uint64_t count, slices = 0;
	struct chain s;
	int r;

	chain_begin(&s, 1, false, SMALL_BYTES);
	HEAL_OK(cfs_pool_container_make(s.now.pool, "lun", CFS_VOLUME_LUN, 0,
					CFS_OBJECT_LIVE, &s.lun, &err_));
	HEAL_OK(cfs_volume_make_first(s.lun, CFS_VOLUME_LUN,
				      BIG_BLOCKS * HEAL_BLOCK, &err_));
	count = fill(&s);
	assert_true(count > 8000);
	assert_int_equal(
		cfs_pool_container_make(s.now.pool, "more", CFS_VOLUME_LUN, 0,
					CFS_OBJECT_LIVE,
					&(struct cfs_member *){ NULL }, &err),
		-ENOSPC);
	for (unsigned int i = 0; i < takeovers; i++) {
		r = chain_next(&s, &err);
		if (r < 0)
			fail_msg("takeover %u: %d: %s", i, r, err.msg);
		if (i % 4 == 3) {
			check_full(&s, count);
			manager_check(&s.now);
		}
		/* Some of it may find room, and is undone. */
		while (lun_write(s.lun, count, FULL_RUN, 7) == 0)
			HEAL_OK(cfs_container_sync(s.lun->container, &err_));
	}
	HEAL_OK(punch(&s, count / 2, count));
	HEAL_OK(cfs_container_sync(s.lun->container, &err_));
	HEAL_OK(cfs_pool_reclaim(s.now.pool, s.lun, &slices, &err_));
	assert_true(slices > 10);
	check_full(&s, count / 2 / FULL_RUN * FULL_RUN);
	assert_int_equal(lun_write(s.lun, count, FULL_RUN, 8), 0);
	HEAL_OK(cfs_container_sync(s.lun->container, &err_));
	manager_check(&s.now);
	chain_end(&s);
}

static void test_full(void **state)
{
	(void)state;
	/* What is frozen when it is deleted differs from turn to turn. */
	for (unsigned int n = 1; n <= (getenv("CFS_LONG") ? 24 : 9);
	     n += getenv("CFS_LONG") ? 1 : 4)
		full(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_one_by_one),
		cmocka_unit_test(test_mirror),
		cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
