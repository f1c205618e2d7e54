/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Space between an owner and its clients: pools that get full, loans that go
 * back, blocks that wait for old views, and old views themselves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_fixture.h"

#define CHUNK     (256u << 10)
#define LONG_EACH 12u /* chunks */

static uint8_t big[CHUNK];

static uint64_t lun_of(struct heal_pool *h)
{
	return heal_volume(h->lun).ino;
}

/* Chunks from @at on, until there is no space; where that was. */
static uint64_t fill(struct cfs_container *c, uint64_t ino, uint64_t at,
		     uint64_t end)
{
	for (; at < end; at += CHUNK) {
		struct cfs_err err = CFS_ERR_INIT;
		int r;

		heal_fill(big, CHUNK, 1 + at / CHUNK);
		r = client_write(c, ino, at, big, CHUNK, &err);
		if (r == -ENOSPC)
			break;
		if (r < 0)
			fail_msg("%d: %s", r, err.msg);
	}
	return at;
}

static void must_be_filled(struct cfs_container *c, uint64_t ino, uint64_t at,
			   uint64_t end)
{
	static uint8_t got[CHUNK];

	for (; at < end; at += CHUNK) {
		heal_fill(big, CHUNK, 1 + at / CHUNK);
		HEAL_OK(client_read(c, CFS_STAMP_HEAD, ino, at, got, CHUNK,
				    &err_));
		assert_memory_equal(got, big, CHUNK);
	}
}

/* Full, and again and again: what is overwritten or cut comes back. */
static void test_full(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(128) << 20);
	const uint64_t ino = lun_of(&h);
	struct client cl;
	uint64_t end;

	(void)state;
	client_new(&cl, &h, h.lun);
	end = fill(cl.c, ino, 0, UINT64_C(128) << 20);
	print_message("# full at %llu KiB\n", (unsigned long long)end >> 10);
	/* Most of the pool can be had by a client. */
	assert_true(end > UINT64_C(40) << 20);
	HEAL_OK(cfs_container_sync(cl.c, &err_));
	must_be_filled(cl.c, ino, 0, end);
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	must_be_filled(h.lun->container, ino, 0, end);
	heal_check_clean(&h);
	for (unsigned int i = 0; i < 3; i++) {
		uint64_t from = end / 2 / CHUNK * CHUNK;

		HEAL_OK(client_punch(cl.c, ino, from, end - from, &err_));
		HEAL_OK(cfs_container_fold(cl.c, &err_));
		assert_true(fill(cl.c, ino, from, end) >
			    from + (end - from) / 2);
		must_be_filled(cl.c, ino, 0, from);
		HEAL_OK(cfs_container_sync(cl.c, &err_));
	}
	heal_check_clean(&h);
	client_kill(&cl);
	HEAL_OK(cfs_container_client_gone(h.lun->container, cl.id, NULL,
					  &err_));
	must_be_filled(h.lun->container, ino, 0, end / 2 / CHUNK * CHUNK);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	heal_free(&h);
}

/* A limit of the container holds for what is lent, too. */
static void test_limit(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(128) << 20);
	const uint64_t ino = lun_of(&h);
	struct cfs_container_rec rec = h.lun->rec;
	struct client cl;
	uint64_t end;

	(void)state;
	rec.limit_bytes = UINT64_C(16) << 20;
	HEAL_OK(cfs_pool_container_update(h.pool, h.lun, &rec, &err_));
	client_new(&cl, &h, h.lun);
	end = fill(cl.c, ino, 0, UINT64_C(128) << 20);
	assert_true(end > UINT64_C(8) << 20);
	assert_true(end <= UINT64_C(16) << 20);
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	must_be_filled(h.lun->container, ino, 0, end);
	client_close(&cl);
	heal_check_clean(&h);
	heal_free(&h);
}

/* Rewriting in a small container ends in no space only if there is none. */
static void test_rewrite_full(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(128) << 20);
	const uint64_t ino = lun_of(&h);
	struct client cl;
	uint64_t end;

	(void)state;
	client_new(&cl, &h, h.lun);
	end = fill(cl.c, ino, 0, UINT64_C(24) << 20);
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(fill(cl.c, ino, 0, end), end);
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	must_be_filled(h.lun->container, ino, 0, end);
	heal_check_clean(&h);
	client_close(&cl);
	heal_check_clean(&h);
	heal_free(&h);
}

/* What is lent is not promised to the owner, and comes back on request. */
/* However much one asks for, seven eighths are left for others. */
static void test_fair(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(128) << 20);
	struct cfs_loans loans = { .count = 0 };
	struct client cl, other;
	uint64_t most;

	(void)state;
	client_new(&cl, &h, h.lun);
	client_new(&other, &h, h.lun);
	most = (UINT64_C(128) << 20) / HEAL_BLOCK / CFS_TAGS_PER_PAGE / 8 + 4;
	HEAL_OK(cfs_container_lend(h.lun->container, cl.id, 4096, &loans,
				   &err_));
	assert_in_range(loans.count, 1, most);
	cfs_loans_donep(&loans);
	client_close(&other);
	client_close(&cl);
	heal_check_clean(&h);
	heal_free(&h);
}

static void test_give_back(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(128) << 20);
	const uint64_t ino = lun_of(&h);
	struct cfs_lent_counts lent;
	struct cfs_client_counts counts;
	struct client cl;

	(void)state;
	client_new(&cl, &h, h.lun);
	fill(cl.c, ino, 0, 8 * CHUNK);
	cfs_container_lent_counts(h.lun->container, &lent);
	cfs_container_client_counts(cl.c, &counts);
	assert_int_equal(lent.lent_groups, counts.loan_count);
	assert_true(counts.allowed_blocks <= lent.lent_blocks);
	HEAL_OK(cfs_container_give_back(cl.c, false, &err_));
	cfs_container_client_counts(cl.c, &counts);
	assert_true(counts.loan_count <= 1);
	HEAL_OK(cfs_container_give_back(cl.c, true, &err_));
	cfs_container_lent_counts(h.lun->container, &lent);
	cfs_container_client_counts(cl.c, &counts);
	assert_int_equal(counts.loan_count, 0);
	assert_int_equal(counts.allowed_blocks, 0);
	assert_int_equal(lent.lent_groups, 0);
	assert_int_equal(lent.lent_blocks, 0);
	/* It borrows anew when it writes. */
	fill(cl.c, ino, 8 * CHUNK, 10 * CHUNK);
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	must_be_filled(h.lun->container, ino, 0, 10 * CHUNK);
	/* The owner has what is left. */
	assert_true(fill(h.lun->container, ino, 10 * CHUNK,
			 UINT64_C(128) << 20) > UINT64_C(30) << 20);
	heal_check_clean(&h);
	client_close(&cl);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	heal_free(&h);
}

/*
 * A slice that went back while the client's view had it: the container gets
 * another in its place, and the old one is somebody else's by then.  The
 * client, who is lent groups of the new one, must not write to the old.
 */
static void test_slice_elsewhere(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(128) << 20);
	const uint64_t ino = lun_of(&h);
	struct cfs_container *owner = h.lun->container;
	struct cfs_member *other;
	uint64_t slices = 0;
	struct client cl;

	(void)state;
	HEAL_OK(cfs_pool_container_make(h.pool, "other", CFS_VOLUME_LUN, 0,
					CFS_OBJECT_LIVE, &other, &err_));
	HEAL_OK(cfs_volume_make_first(other, CFS_VOLUME_LUN, 64u << 20, &err_));
	fill(owner, ino, 0, 32 * CHUNK);
	HEAL_OK(client_punch(owner, ino, 0, 32 * CHUNK, &err_));
	HEAL_OK(cfs_container_commit_idle(owner, &err_));
	client_new(&cl, &h, h.lun);
	fill(cl.c, ino, 0, CHUNK);
	HEAL_OK(cfs_container_give_back(cl.c, true, &err_));
	HEAL_OK(cfs_pool_reclaim(h.pool, h.lun, &slices, &err_));
	assert_true(slices > 2);
	/* What was used before is lent again when nothing new is left. */
	fill(other->container, heal_volume(other).ino, 0, 64u << 20);
	HEAL_OK(client_punch(other->container, heal_volume(other).ino,
			     128 * CHUNK, 64u << 20, &err_));
	HEAL_OK(cfs_container_commit_idle(other->container, &err_));
	HEAL_OK(cfs_pool_reclaim(h.pool, other, &slices, &err_));
	fill(owner, ino, 32 * CHUNK, 64 * CHUNK);
	fill(cl.c, ino, 0, 32 * CHUNK);
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	must_be_filled(cl.c, ino, 0, 32 * CHUNK);
	must_be_filled(owner, ino, 0, 64 * CHUNK);
	must_be_filled(other->container, heal_volume(other).ino, 0,
		       128 * CHUNK);
	heal_check_clean(&h);
	client_close(&cl);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	heal_free(&h);
}

/* Many small extents: a live tree of many nodes. */
static void scatter(struct heal_pool *h, uint64_t ino, unsigned int from,
		    unsigned int to, uint64_t seed)
{
	uint8_t buf[HEAL_BLOCK];

	for (unsigned int i = from; i < to; i++) {
		heal_fill(buf, sizeof(buf), seed + i);
		HEAL_OK(client_write(h->lun->container, ino,
				     (uint64_t)2 * i * HEAL_BLOCK, buf,
				     sizeof(buf), &err_));
	}
	HEAL_OK(cfs_container_commit(h->lun->container, &err_));
}

static void must_be_scattered(struct cfs_container *c, uint64_t ino,
			      unsigned int from, unsigned int to, uint64_t seed)
{
	uint8_t buf[HEAL_BLOCK], got[HEAL_BLOCK];

	for (unsigned int i = from; i < to; i++) {
		heal_fill(buf, sizeof(buf), seed + i);
		HEAL_OK(client_read(c, CFS_STAMP_HEAD, ino,
				    (uint64_t)2 * i * HEAL_BLOCK, got,
				    sizeof(got), &err_));
		assert_memory_equal(got, buf, sizeof(buf));
	}
}

#define SPREAD 2000u
#define ROUNDS 10u

/*
 * The owner goes on for a long time: what the view of a living client names
 * stays; when the owner has died in between, the client finds out, and gets a
 * new view.
 */
static void old_view(bool owner_dies)
{
	struct heal_pool h = heal_new(false, UINT64_C(128) << 20);
	const uint64_t ino = lun_of(&h);
	struct cfs_client_info info;
	struct cfs_space_counts before, after;
	struct client cl;
	uint64_t end;

	scatter(&h, ino, 0, SPREAD, 1);
	/* Little is free, so that what is freed is used again soon. */
	end = fill(h.lun->container, ino, UINT64_C(32) << 20,
		   UINT64_C(128) << 20);
	HEAL_OK(client_punch(h.lun->container, ino, end - 20 * CHUNK,
			     20 * CHUNK, &err_));
	HEAL_OK(cfs_container_commit_idle(h.lun->container, &err_));
	client_new(&cl, &h, h.lun);
	if (owner_dies) {
		cfs_pool_drop(h.pool);
		heal_open(&h, false);
		heal_members(&h);
		cl.owner = h.lun->container;
		/* It is not waited for: its period is over, as it were. */
		HEAL_OK(cfs_container_client_seal(h.lun->container, cl.id,
						  false, NULL, &err_));
	}
	for (unsigned int i = 0; i < (owner_dies ? 5 * ROUNDS : ROUNDS); i++)
		scatter(&h, ino, SPREAD - 50, SPREAD, 10000 * i);
	cl.views = 0;
	if (owner_dies) {
		uint8_t got[HEAL_BLOCK];
		int r = 0;

		/* Somewhere it meets what is not there any more; it gets no
		 * new view, and nothing that is wrong. */
		for (unsigned int i = 0; i < SPREAD && r == 0; i++)
			r = client_read(cl.c, CFS_STAMP_HEAD, ino,
					(uint64_t)2 * i * HEAL_BLOCK, got,
					sizeof(got), NULL);
		assert_int_equal(r, -EAGAIN);
		assert_true(cl.views > 0);
	} else {
		must_be_scattered(cl.c, ino, 0, SPREAD / 2, 1);
		assert_int_equal(cl.views, 0);
		HEAL_OK(cfs_container_client_get(h.lun->container, cl.id, &info,
						 &err_));
		assert_true(info.is_behind);
		cfs_space_counts(h.lun->container, &before);
		assert_true(before.held_blocks > 50 * (ROUNDS - 1));
		HEAL_OK(cfs_container_refresh(cl.c, &err_));
		must_be_scattered(cl.c, ino, SPREAD - 50, SPREAD,
				  10000 * (ROUNDS - 1));
		HEAL_OK(cfs_container_commit_idle(h.lun->container, &err_));
		HEAL_OK(cfs_container_refresh(cl.c, &err_));
		HEAL_OK(cfs_container_commit_idle(h.lun->container, &err_));
		cfs_space_counts(h.lun->container, &after);
		assert_true(after.held_blocks < before.held_blocks / 2);
	}
	client_kill(&cl);
	HEAL_OK(cfs_container_client_gone(h.lun->container, cl.id, NULL,
					  &err_));
	heal_check_clean(&h);
	heal_free(&h);
}

static void test_old_view(void **state)
{
	(void)state;
	old_view(false);
}

static void test_stale_view(void **state)
{
	(void)state;
	old_view(true);
}

/*
 * Damage is told as damage, but only when the owner names the same place once
 * more; a client repairs nothing.
 */
static void test_damage(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(16) << 20);
	const uint64_t ino = lun_of(&h);
	uint8_t got[HEAL_BLOCK];
	struct client cl;
	uint64_t vaddr;

	(void)state;
	heal_write(h.lun, 0, 64, 1);
	client_new(&cl, &h, h.lun);
	vaddr = heal_block(h.lun->container, CFS_TAG_DATA, ino, 5, NULL);
	heal_hurt(&h, h.lun->container, vaddr, 0);
	cl.views = 0;
	assert_int_equal(client_read(cl.c, CFS_STAMP_HEAD, ino, 5 * HEAL_BLOCK,
				     got, sizeof(got), NULL),
			 -EUCLEAN);
	assert_int_equal(cl.views, 1);
	/* The rest is read, and written. */
	HEAL_OK(client_read(cl.c, CFS_STAMP_HEAD, ino, 6 * HEAL_BLOCK, got,
			    sizeof(got), &err_));
	HEAL_OK(client_write(cl.c, ino, 5 * HEAL_BLOCK, got, sizeof(got),
			     &err_));
	HEAL_OK(client_read(cl.c, CFS_STAMP_HEAD, ino, 5 * HEAL_BLOCK, got,
			    sizeof(got), &err_));
	client_close(&cl);
	heal_check_clean(&h);
	heal_free(&h);
}

/* One copy of a mirror is bad: the other is read, and the first left so. */
static void test_mirror_damage(void **state)
{
	struct heal_pool h = heal_new(true, UINT64_C(16) << 20);
	const uint64_t ino = lun_of(&h);
	uint8_t got[HEAL_BLOCK], want[HEAL_BLOCK * 64];
	struct heal_damage *all;
	struct client cl;
	uint64_t vaddr;

	(void)state;
	heal_write(h.lun, 0, 64, 1);
	heal_fill(want, sizeof(want), 1);
	client_new(&cl, &h, h.lun);
	vaddr = heal_block(h.lun->container, CFS_TAG_DATA, ino, 5, NULL);
	heal_hurt(&h, h.lun->container, vaddr, 0);
	HEAL_OK(client_read(cl.c, CFS_STAMP_HEAD, ino, 5 * HEAL_BLOCK, got,
			    sizeof(got), &err_));
	assert_memory_equal(got, want + 5 * HEAL_BLOCK, sizeof(got));
	client_close(&cl);
	all = heal_scrub(&h); /* still bad, and healed by the owner */
	assert_int_equal(all->count, 1);
	free(all);
	heal_scrub_clean(&h);
	heal_free(&h);
}

/* A small log: the client folds when it is full. */
static void test_log_full(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(16) << 20);
	const uint64_t ino = lun_of(&h);
	struct client cl;
	uint8_t buf[HEAL_BLOCK];

	(void)state;
	client_make(&cl, h.lun, 32);
	client_open_on(&cl, h.set, h.lun, false);
	/* A log of 32 blocks holds a few syncs; then it folds of itself. */
	for (unsigned int i = 0; i < 200; i++) {
		heal_fill(buf, sizeof(buf), i);
		HEAL_OK(client_write(cl.c, ino, (uint64_t)i * HEAL_BLOCK, buf,
				     sizeof(buf), &err_));
		HEAL_OK(cfs_container_sync(cl.c, &err_));
	}
	assert_true(cl.folds > 10);
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	for (unsigned int i = 0; i < 200; i++) {
		uint8_t got[HEAL_BLOCK];

		heal_fill(buf, sizeof(buf), i);
		HEAL_OK(client_read(h.lun->container, CFS_STAMP_HEAD, ino,
				    (uint64_t)i * HEAL_BLOCK, got, sizeof(got),
				    &err_));
		assert_memory_equal(got, buf, sizeof(buf));
	}
	client_close(&cl);
	heal_check_clean(&h);
	heal_free(&h);
}

/* The owner is away when a fold is due: the client is closed for writing, and
 * what it synced is found in its log. */
static void test_fold_fails(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(16) << 20);
	const uint64_t ino = lun_of(&h);
	struct client cl;

	(void)state;
	client_new(&cl, &h, h.lun);
	fill(cl.c, ino, 0, 4 * CHUNK);
	HEAL_OK(cfs_container_sync(cl.c, &err_));
	cl.fold_fails = -EIO;
	assert_int_equal(cfs_container_fold(cl.c, NULL), -EIO);
	assert_int_equal(client_write(cl.c, ino, 0, big, 512, NULL), -EROFS);
	client_kill(&cl);
	HEAL_OK(cfs_container_client_seal(h.lun->container, cl.id, false, NULL,
					  &err_));
	must_be_filled(h.lun->container, ino, 0, 4 * CHUNK);
	HEAL_OK(cfs_container_client_gone(h.lun->container, cl.id, NULL,
					  &err_));
	heal_check_clean(&h);
	heal_free(&h);
}

/*
 * Free space in single blocks, and here and there three: a client gets a log
 * in it, of the longer runs, and dies with what it has synced there.
 */
static void test_log_in_fragments(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(128) << 20);
	struct cfs_container *c = h.lun->container;
	const uint64_t ino = lun_of(&h), period = 16 * HEAL_BLOCK;
	struct client cl;
	uint64_t end;

	(void)state;
	end = fill(c, ino, 0, UINT64_C(128) << 20);
	HEAL_OK(cfs_container_commit(c, &err_));
	for (uint64_t at = 0; at + period <= end; at += period) {
		for (unsigned int i = 0; i < 4; i++)
			HEAL_OK(client_punch(c, ino, at + i * 2 * HEAL_BLOCK,
					     HEAL_BLOCK, &err_));
		HEAL_OK(client_punch(c, ino, at + 9 * HEAL_BLOCK,
				     3 * HEAL_BLOCK, &err_));
	}
	for (unsigned int i = 0; i < 3; i++)
		HEAL_OK(cfs_container_commit(c, &err_));
	client_make(&cl, h.lun, 0);
	print_message("# %u runs\n", cl.rec.extent_count);
	/* Before it has a view a snapshot need not wait for it. */
	assert_int_equal(cfs_container_may_pin(c, NULL), 0);
	client_open_on(&cl, h.set, h.lun, true);
	assert_int_equal(cfs_container_may_pin(c, NULL), -EBUSY);
	heal_fill(big, HEAL_BLOCK, 99);
	HEAL_OK(client_write(cl.c, ino, 0, big, HEAL_BLOCK, &err_));
	HEAL_OK(cfs_container_sync(cl.c, &err_));
	client_kill(&cl);
	HEAL_OK(cfs_container_client_gone(cl.owner, cl.id, NULL, &err_));
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	memset(big, 0, HEAL_BLOCK);
	HEAL_OK(client_read(c, CFS_STAMP_HEAD, ino, 0, big, HEAL_BLOCK, &err_));
	heal_fill(big + HEAL_BLOCK, HEAL_BLOCK, 99);
	assert_memory_equal(big, big + HEAL_BLOCK, HEAL_BLOCK);
	heal_free(&h);
}

/* Every other block goes, and here and there a long run. */
static void make_fragments(struct cfs_container *c, uint64_t ino, uint64_t end)
{
	HEAL_OK(cfs_container_commit(c, &err_));
	for (uint64_t at = 0; at < end; at += 2 * HEAL_BLOCK) {
		const bool is_long = at / CHUNK % LONG_EACH == 0;

		HEAL_OK(client_punch(c, ino, at, (1 + is_long) * HEAL_BLOCK,
				     &err_));
	}
	for (unsigned int i = 0; i < 3; i++)
		HEAL_OK(cfs_container_commit_idle(c, &err_));
}

static void must_be_distinct(const struct cfs_loans *loans)
{
	for (size_t i = 0; i < loans->count; i++)
		for (size_t k = 0; k < i; k++)
			assert_true(loans->items[i].key != loans->items[k].key);
}

/*
 * Groups with a long run come first; where too few of them are left others come
 * beside them: nobody is lent less than he would be if he asked again.
 */
static void test_lend_fragments(void **state)
{
	struct heal_pool h = heal_new(false, UINT64_C(128) << 20);
	const uint64_t ino = lun_of(&h);
	struct cfs_loans loans = { .count = 0 };
	size_t before = CFS_LOANS_MAX, had = 0;
	struct client cl;
	uint64_t end;

	(void)state;
	end = fill(h.lun->container, ino, 0, UINT64_C(128) << 20);
	make_fragments(h.lun->container, ino, end);
	client_make(&cl, h.lun, 32);
	client_open_on(&cl, h.set, h.lun, false);
	for (unsigned int i = 0; i < 8; i++) {
		HEAL_OK(cfs_container_lend(h.lun->container, cl.id, 8, &loans,
					   &err_));
		print_message("# %zu groups\n", loans.count - had);
		assert_in_range(loans.count - had, 1, before);
		before = loans.count - had;
		had = loans.count;
	}
	must_be_distinct(&loans);
	cfs_loans_donep(&loans);
	client_kill(&cl);
	HEAL_OK(cfs_container_client_gone(h.lun->container, cl.id, NULL,
					  &err_));
	heal_check_clean(&h);
	heal_free(&h);
}

/* Single blocks, each far from the one before. */
static void write_singles(struct client *cl, uint64_t ino, unsigned int from,
			  unsigned int count)
{
	for (unsigned int i = from; i < from + count; i++) {
		heal_fill(big, HEAL_BLOCK, i);
		HEAL_OK(client_write(cl->c, ino, (uint64_t)2 * i * HEAL_BLOCK,
				     big, HEAL_BLOCK, &err_));
	}
}

static void die_with_singles(struct heal_pool *h, uint64_t ino,
			     unsigned int from, unsigned int count)
{
	struct client cl;

	client_new(&cl, h, h->lun);
	write_singles(&cl, ino, from, count);
	HEAL_OK(cfs_container_sync(cl.c, &err_));
	client_kill(&cl);
	HEAL_OK(cfs_container_client_gone(h->lun->container, cl.id, NULL,
					  &err_));
}

/*
 * A container with little left in a pool that has not plenty, but some: one
 * client after the other dies in it, and the next asks no more often for it.
 */
static void test_lends_after_deaths(void **state)
{
	struct heal_pool h = heal_new_of(false, UINT64_C(512) << 20,
					 UINT64_C(128) << 20);
	const uint64_t ino = lun_of(&h);
	struct client cl;

	(void)state;
	HEAL_OK(cfs_pool_provision(h.pool, h.tree, UINT64_C(390) << 20, &err_));
	for (unsigned int i = 0; i < 5; i++)
		die_with_singles(&h, ino, 200 * i, 200);
	client_new(&cl, &h, h.lun);
	write_singles(&cl, ino, 1000, 1500);
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	print_message("# %u lends, %u folds\n", cl.lends, cl.folds);
	assert_true(cl.lends + cl.folds <= 8);
	client_close(&cl);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	heal_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_log_in_fragments),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_rewrite_full),
		cmocka_unit_test(test_fair),
		cmocka_unit_test(test_lend_fragments),
		cmocka_unit_test(test_lends_after_deaths),
		cmocka_unit_test(test_give_back),
		cmocka_unit_test(test_slice_elsewhere),
		cmocka_unit_test(test_old_view),
		cmocka_unit_test(test_stale_view),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_mirror_damage),
		cmocka_unit_test(test_log_full),
		cmocka_unit_test(test_fold_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
