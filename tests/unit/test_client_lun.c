/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Clients that write ranges of a LUN beside its owner: folds, views, loans,
 * snapshots in between, sealing, zombies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pool/metavolume.h"
#include "tree/container_move.h"
#include "client_fixture.h"
#include "volume/pool_move.h"
#include "heal/rebuild.h"

#define LUN_BYTES (UINT64_C(16) << 20)

static uint8_t big[4u << 20];

static void fill_and_write(struct cfs_container *c, uint64_t ino,
			   uint64_t offset, size_t bytes, uint64_t seed)
{
	heal_fill(big, bytes, seed);
	HEAL_OK(client_write(c, ino, offset, big, bytes, &err_));
}

static void must_read(struct cfs_container *c, uint64_t ino, uint64_t offset,
		      size_t bytes, uint64_t seed)
{
	uint8_t *got = malloc(bytes);

	assert_non_null(got);
	heal_fill(big, bytes, seed);
	HEAL_OK(client_read(c, CFS_STAMP_HEAD, ino, offset, got, bytes, &err_));
	assert_memory_equal(got, big, bytes);
	free(got);
}

static void must_read_zeroes(struct cfs_container *c, uint64_t ino,
			     uint64_t offset, size_t bytes)
{
	uint8_t *got = malloc(bytes);

	assert_non_null(got);
	HEAL_OK(client_read(c, CFS_STAMP_HEAD, ino, offset, got, bytes, &err_));
	for (size_t i = 0; i < bytes; i++)
		assert_int_equal(got[i], 0);
	free(got);
}

/* ------------------------------------------------------------------- tests */

/* What a client wrote, small and large, is the owner's after a fold. */
static void test_fold(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	const uint64_t ino = heal_volume(h.lun).ino;
	struct client cl;

	(void)state;
	heal_write(h.lun, 0, 8, 1);
	client_new(&cl, &h, h.lun);
	must_read(cl.c, ino, 0, 8 * HEAL_BLOCK, 1);
	fill_and_write(cl.c, ino, 0, 3 * HEAL_BLOCK, 2);
	fill_and_write(cl.c, ino, 1 << 20, 1 << 20, 3);
	fill_and_write(cl.c, ino, (4 << 20) + 100, 5000, 4);
	must_read(cl.c, ino, 1 << 20, 1 << 20, 3);
	HEAL_OK(cfs_container_sync(cl.c, &err_));
	/* Nothing of it is the owner's yet. */
	must_read(h.lun->container, ino, 0, 8 * HEAL_BLOCK, 1);
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	must_read(cl.c, ino, 0, 3 * HEAL_BLOCK, 2);
	must_read(cl.c, ino, (4 << 20) + 100, 5000, 4);
	must_read(h.lun->container, ino, 0, 3 * HEAL_BLOCK, 2);
	must_read(h.lun->container, ino, 1 << 20, 1 << 20, 3);
	must_read(h.lun->container, ino, (4 << 20) + 100, 5000, 4);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	client_close(&cl);
	heal_check_clean(&h);
	heal_reopen(&h);
	must_read(h.lun->container, ino, 1 << 20, 1 << 20, 3);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	heal_free(&h);
}

/* Two clients, each in its range; each sees the other's with the next view. */
static void test_two(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	const uint64_t ino = heal_volume(h.lun).ino;
	struct client a, b;

	(void)state;
	client_new(&a, &h, h.lun);
	client_new(&b, &h, h.lun);
	for (unsigned int i = 0; i < 20; i++) {
		fill_and_write(a.c, ino, i * HEAL_BLOCK, HEAL_BLOCK, i);
		fill_and_write(b.c, ino, (8 << 20) + i * HEAL_BLOCK, HEAL_BLOCK,
			       100 + i);
		if (i % 3 == 0)
			HEAL_OK(cfs_container_sync(a.c, &err_));
		if (i % 4 == 0)
			HEAL_OK(cfs_container_fold(b.c, &err_));
		if (i % 5 == 0)
			HEAL_OK(cfs_container_fold(a.c, &err_));
	}
	HEAL_OK(cfs_container_fold(a.c, &err_));
	HEAL_OK(cfs_container_fold(b.c, &err_));
	HEAL_OK(cfs_container_refresh(a.c, &err_));
	for (unsigned int i = 0; i < 20; i++) {
		must_read(h.lun->container, ino, i * HEAL_BLOCK, HEAL_BLOCK, i);
		must_read(a.c, ino, (8 << 20) + i * HEAL_BLOCK, HEAL_BLOCK,
			  100 + i);
		must_read(b.c, ino, i * HEAL_BLOCK, HEAL_BLOCK, i);
	}
	/* A range passes from one to the other. */
	fill_and_write(a.c, ino, 8 << 20, 2 * HEAL_BLOCK, 200);
	HEAL_OK(cfs_container_fold(a.c, &err_));
	HEAL_OK(cfs_container_refresh(b.c, &err_));
	fill_and_write(b.c, ino, (8 << 20) + HEAL_BLOCK, HEAL_BLOCK, 201);
	HEAL_OK(cfs_container_fold(b.c, &err_));
	must_read(h.lun->container, ino, (8 << 20) + HEAL_BLOCK, HEAL_BLOCK,
		  201);
	heal_check_clean(&h);
	client_close(&a);
	client_close(&b);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	heal_free(&h);
}

/* Rewrites take fresh blocks, holes are holes, and nothing leaks. */
static void test_rewrite(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	const uint64_t ino = heal_volume(h.lun).ino;
	struct cfs_lent_counts lent;
	struct client cl;

	(void)state;
	client_new(&cl, &h, h.lun);
	for (unsigned int i = 0; i < 40; i++) {
		fill_and_write(cl.c, ino, 0, 40 * HEAL_BLOCK, i);
		fill_and_write(cl.c, ino, 1 << 20, 3 * HEAL_BLOCK, 100 + i);
		HEAL_OK(client_punch(cl.c, ino, 10 * HEAL_BLOCK,
				     5 * HEAL_BLOCK + 77, &err_));
		if (i % 7 == 6)
			HEAL_OK(cfs_container_fold(cl.c, &err_));
	}
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	must_read(h.lun->container, ino, 0, 10 * HEAL_BLOCK, 39);
	must_read_zeroes(h.lun->container, ino, 10 * HEAL_BLOCK,
			 5 * HEAL_BLOCK + 77);
	must_read(h.lun->container, ino, 1 << 20, 3 * HEAL_BLOCK, 139);
	cfs_container_lent_counts(h.lun->container, &lent);
	assert_int_equal(lent.clients, 1);
	assert_true(lent.lent_groups > 0);
	heal_check_clean(&h);
	client_close(&cl);
	cfs_container_lent_counts(h.lun->container, &lent);
	assert_int_equal(lent.lent_groups, 0);
	assert_int_equal(lent.lent_blocks, 0);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	heal_free(&h);
}

/* The answer to a fold is lost: it is sent again, and taken once. */
static void test_lost_answer(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	const uint64_t ino = heal_volume(h.lun).ino;
	struct client cl;

	(void)state;
	client_new(&cl, &h, h.lun);
	fill_and_write(cl.c, ino, 0, 64 * HEAL_BLOCK, 1);
	cl.loses_answer = true;
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	assert_true(cl.has_lost);
	fill_and_write(cl.c, ino, 0, 4 * HEAL_BLOCK, 2);
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	must_read(h.lun->container, ino, 0, 4 * HEAL_BLOCK, 2);
	client_close(&cl);
	heal_check_clean(&h);
	heal_free(&h);
}

/* How many slices of the container may move now. */
static unsigned int count_movable(struct cfs_container *c)
{
	const uint64_t end = cfs_metavolume_end(cfs_container_metavolume(c));
	unsigned int n = 0;

	cfs_container_lock(c);
	for (uint64_t l = 0; l < end; l++) {
		int r = cfs_container_may_move(c, l, NULL);

		assert_true(r == 0 || r == -EBUSY);
		n += r == 0;
	}
	cfs_container_unlock(c);
	return n;
}

/* A container goes only when nobody can write to it any more; its slices move
 * when who can does hold, but for those that a sealed one had. */
static void test_remove(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	struct client cl;
	unsigned int all;

	(void)state;
	client_new(&cl, &h, h.lun);
	fill_and_write(cl.c, heal_volume(h.lun).ino, 0, 64 * HEAL_BLOCK, 1);
	assert_int_equal(cfs_pool_container_remove(h.pool, h.lun, NULL),
			 -EBUSY);
	assert_int_equal(cfs_pool_move_allowed(h.pool, NULL), -EBUSY);
	all = (unsigned int)cfs_metavolume_slice_count(
		cfs_container_metavolume(h.lun->container));
	assert_int_equal(count_movable(h.lun->container), 0);
	HEAL_OK(cfs_container_hold(cl.c, &err_));
	assert_int_equal(count_movable(h.lun->container), all);
	HEAL_OK(cfs_container_client_seal(h.lun->container, cl.id, false, NULL,
					  &err_));
	assert_int_equal(cfs_pool_container_remove(h.pool, h.lun, NULL),
			 -EBUSY);
	assert_int_equal(cfs_pool_move_allowed(h.pool, NULL), -EBUSY);
	assert_true(count_movable(h.lun->container) < all);
	client_kill(&cl);
	HEAL_OK(cfs_container_client_gone(h.lun->container, cl.id, NULL,
					  &err_));
	HEAL_OK(cfs_pool_move_allowed(h.pool, &err_));
	assert_int_equal(count_movable(h.lun->container), all);
	HEAL_OK(cfs_pool_container_remove(h.pool, h.lun, &err_));
	heal_check_clean(&h);
	heal_free(&h);
}

/* A reader is no client: it sees what was committed, and writes nothing. */
static void test_reader(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	const uint64_t ino = heal_volume(h.lun).ino;
	struct client cl = { .id = 0 };
	struct cfs_lent_counts lent;

	(void)state;
	heal_write(h.lun, 0, 64, 1);
	client_open_on(&cl, h.set, h.lun, false);
	must_read(cl.c, ino, 0, 64 * HEAL_BLOCK, 1);
	for (unsigned int i = 0; i < 30; i++)
		heal_write(h.lun, 0, 64, 2 + i);
	HEAL_OK(cfs_container_refresh(cl.c, &err_));
	must_read(cl.c, ino, 0, 64 * HEAL_BLOCK, 31);
	assert_int_equal(client_write(cl.c, ino, 0, big, 4096, NULL), -EROFS);
	cfs_container_lent_counts(h.lun->container, &lent);
	assert_int_equal(lent.clients, 0);
	HEAL_OK(cfs_client_member_close(cl.m, &err_));
	heal_check_clean(&h);
	heal_free(&h);
}

/* An answer with loans is lost: they are given back when that is found out. */
static void test_lost_loans(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	const uint64_t ino = heal_volume(h.lun).ino;
	CFS_CLEANUP(cfs_loans_donep) struct cfs_loans lost = { .count = 0 };
	CFS_CLEANUP(cfs_loans_donep) struct cfs_loans all = { .count = 0 };
	struct cfs_client_counts counts;
	struct cfs_lent_counts lent;
	struct client cl;

	(void)state;
	client_new(&cl, &h, h.lun);
	fill_and_write(cl.c, ino, 0, 64 * HEAL_BLOCK, 1);
	HEAL_OK(cfs_container_lend(h.lun->container, cl.id, 3, &lost, &err_));
	HEAL_OK(cfs_container_loans(h.lun->container, cl.id, &all, &err_));
	cfs_container_client_counts(cl.c, &counts);
	assert_int_equal(all.count, counts.loan_count + lost.count);
	HEAL_OK(cfs_container_reconcile(cl.c, &all, &err_));
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	cfs_container_client_counts(cl.c, &counts);
	cfs_container_lent_counts(h.lun->container, &lent);
	assert_int_equal(lent.lent_groups, counts.loan_count);
	must_read(h.lun->container, ino, 0, 64 * HEAL_BLOCK, 1);
	client_close(&cl);
	heal_check_clean(&h);
	heal_free(&h);
}

/* A client dies; what it synced is there, known gone or not. */
static void seal_one(bool is_gone)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	const uint64_t ino = heal_volume(h.lun).ino;
	struct cfs_slice_counts slices;
	struct cfs_lent_counts lent;
	struct client cl;

	fill_and_write(h.lun->container, ino, 0, 20 * HEAL_BLOCK, 9);
	client_new(&cl, &h, h.lun);
	fill_and_write(cl.c, ino, 2 << 20, 64 * HEAL_BLOCK, 1);
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	fill_and_write(cl.c, ino, 0, 3 * HEAL_BLOCK, 2);
	fill_and_write(cl.c, ino, 4 << 20, 100 * HEAL_BLOCK, 3);
	HEAL_OK(cfs_container_sync(cl.c, &err_));
	fill_and_write(cl.c, ino, 4 << 20, 50 * HEAL_BLOCK, 4);
	HEAL_OK(client_punch(cl.c, ino, 10 * HEAL_BLOCK, 2 * HEAL_BLOCK,
			     &err_));
	HEAL_OK(cfs_container_sync(cl.c, &err_));
	/* Not synced: it may be lost. */
	fill_and_write(cl.c, ino, 6 << 20, HEAL_BLOCK, 5);
	client_kill(&cl);
	HEAL_OK(cfs_container_client_seal(h.lun->container, cl.id, is_gone,
					  NULL, &err_));
	must_read(h.lun->container, ino, 0, 3 * HEAL_BLOCK, 2);
	must_read(h.lun->container, ino, 2 << 20, 64 * HEAL_BLOCK, 1);
	must_read(h.lun->container, ino, 4 << 20, 50 * HEAL_BLOCK, 4);
	must_read_zeroes(h.lun->container, ino, 10 * HEAL_BLOCK,
			 2 * HEAL_BLOCK);
	must_read_zeroes(h.lun->container, ino, 6 << 20, HEAL_BLOCK);
	heal_check_clean(&h);
	cfs_container_lent_counts(h.lun->container, &lent);
	assert_int_equal(lent.frozen_groups > 0, !is_gone);
	HEAL_OK(cfs_pool_slice_counts(h.pool, UINT32_MAX, &slices, &err_));
	assert_int_equal(slices.frozen > 0, !is_gone);
	heal_scrub_clean(&h);
	/* The next owner knows what is frozen, too. */
	heal_reopen(&h);
	cfs_container_lent_counts(h.lun->container, &lent);
	assert_int_equal(lent.clients, 1);
	assert_int_equal(lent.open, 0);
	assert_int_equal(lent.frozen_groups > 0, !is_gone);
	HEAL_OK(cfs_container_client_gone(h.lun->container, cl.id, NULL,
					  &err_));
	cfs_container_lent_counts(h.lun->container, &lent);
	assert_int_equal(lent.clients, 0);
	assert_int_equal(lent.lent_groups, 0);
	HEAL_OK(cfs_pool_slice_counts(h.pool, UINT32_MAX, &slices, &err_));
	assert_int_equal(slices.frozen, 0);
	must_read(h.lun->container, ino, 4 << 20, 50 * HEAL_BLOCK, 4);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	heal_reopen(&h);
	must_read(h.lun->container, ino, 0, 3 * HEAL_BLOCK, 2);
	heal_check_clean(&h);
	heal_free(&h);
}

/*
 * A rebuild from tags while a client is in the table: what was folded is there,
 * the client and its loans are over, and its log is space again.
 */
static void test_rebuild(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	const uint64_t ino = heal_volume(h.lun).ino;
	struct cfs_rebuild_result result;
	struct cfs_lent_counts lent;
	struct client cl;
	uint64_t id = h.lun->id;

	(void)state;
	fill_and_write(h.lun->container, ino, 0, 20 * HEAL_BLOCK, 9);
	client_new(&cl, &h, h.lun);
	fill_and_write(cl.c, ino, 2 << 20, 64 * HEAL_BLOCK, 1);
	fill_and_write(cl.c, ino, 0, 2 * HEAL_BLOCK, 2);
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	client_kill(&cl);
	heal_close(&h);
	heal_open(&h, true);
	HEAL_OK(cfs_rebuild_container(h.pool, id, &result, &err_));
	heal_members(&h);
	must_read(h.lun->container, ino, 0, 2 * HEAL_BLOCK, 2);
	must_read(h.lun->container, ino, 2 << 20, 64 * HEAL_BLOCK, 1);
	cfs_container_lent_counts(h.lun->container, &lent);
	assert_int_equal(lent.clients, 0);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	/* Clients can be made again. */
	client_new(&cl, &h, h.lun);
	fill_and_write(cl.c, ino, 4 << 20, 64 * HEAL_BLOCK, 3);
	client_close(&cl);
	must_read(h.lun->container, ino, 4 << 20, 64 * HEAL_BLOCK, 3);
	heal_check_clean(&h);
	heal_free(&h);
}

static void test_seal(void **state)
{
	(void)state;
	seal_one(false);
}

static void test_seal_gone(void **state)
{
	(void)state;
	seal_one(true);
}

/*
 * A zombie goes on behind its seal: nothing that is committed changes, it is
 * told, and what it sends is refused.
 */
static void test_zombie(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	const uint64_t ino = heal_volume(h.lun).ino;
	struct cfs_err err = CFS_ERR_INIT;
	struct client cl;
	int r = 0;

	(void)state;
	client_new(&cl, &h, h.lun);
	fill_and_write(cl.c, ino, 0, 64 * HEAL_BLOCK, 1);
	HEAL_OK(cfs_container_sync(cl.c, &err_));
	HEAL_OK(cfs_container_client_seal(h.lun->container, cl.id, false, NULL,
					  &err_));
	/* The owner writes over it, and elsewhere. */
	fill_and_write(h.lun->container, ino, 0, 10 * HEAL_BLOCK, 2);
	fill_and_write(h.lun->container, ino, 4 << 20, 2 << 20, 3);
	HEAL_OK(cfs_container_commit(h.lun->container, &err_));
	for (unsigned int i = 0; i < 30 && r == 0; i++) {
		heal_fill(big, 64 * HEAL_BLOCK, 50 + i);
		r = client_write(cl.c, ino, 0, big, 64 * HEAL_BLOCK, NULL);
	}
	/* By a write that folds first, or by the sync. */
	if (r == 0)
		r = cfs_container_sync(cl.c, &err);
	assert_int_equal(r, -ESTALE);
	assert_int_equal(cfs_container_fold(cl.c, &err), -EROFS);
	client_kill(&cl);
	must_read(h.lun->container, ino, 0, 10 * HEAL_BLOCK, 2);
	must_read(h.lun->container, ino, 4 << 20, 2 << 20, 3);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	HEAL_OK(cfs_container_client_gone(h.lun->container, cl.id, NULL,
					  &err_));
	must_read(h.lun->container, ino, 0, 10 * HEAL_BLOCK, 2);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	heal_free(&h);
}

/* No sync is acknowledged when the period is over; it counts all the same, if
 * it came to the log before the seal. */
static void test_expired(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	const uint64_t ino = heal_volume(h.lun).ino;
	struct cfs_err err = CFS_ERR_INIT;
	struct client cl;

	(void)state;
	client_new(&cl, &h, h.lun);
	fill_and_write(cl.c, ino, 0, 8 * HEAL_BLOCK, 1);
	cl.has_expired = true;
	assert_int_equal(cfs_container_sync(cl.c, &err), -ESTALE);
	assert_int_equal(cfs_container_sync(cl.c, &err), -EROFS);
	assert_int_equal(client_write(cl.c, ino, 0, big, 512, NULL), -EROFS);
	client_kill(&cl);
	HEAL_OK(cfs_container_client_gone(h.lun->container, cl.id, NULL,
					  &err_));
	must_read(h.lun->container, ino, 0, 8 * HEAL_BLOCK, 1);
	heal_check_clean(&h);
	heal_free(&h);
}

/* The owner dies; the next one knows the client, which goes on. */
static void test_owner_dies(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	const uint64_t ino = heal_volume(h.lun).ino;
	struct client cl, silent;

	(void)state;
	client_new(&cl, &h, h.lun);
	client_new(&silent, &h, h.lun);
	fill_and_write(cl.c, ino, 0, 64 * HEAL_BLOCK, 1);
	fill_and_write(silent.c, ino, 8 << 20, 64 * HEAL_BLOCK, 5);
	HEAL_OK(cfs_container_sync(cl.c, &err_));
	HEAL_OK(cfs_container_sync(silent.c, &err_));
	cfs_pool_drop(h.pool);
	heal_open(&h, false);
	heal_members(&h);
	cl.owner = h.lun->container;
	fill_and_write(cl.c, ino, 0, 2 * HEAL_BLOCK, 2);
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	HEAL_OK(cfs_container_client_seal(h.lun->container, silent.id, false,
					  NULL, &err_));
	must_read(h.lun->container, ino, 0, 2 * HEAL_BLOCK, 2);
	must_read(h.lun->container, ino, 8 << 20, 64 * HEAL_BLOCK, 5);
	HEAL_OK(cfs_container_refresh(cl.c, &err_));
	must_read(cl.c, ino, 8 << 20, 64 * HEAL_BLOCK, 5);
	heal_check_clean(&h);
	client_kill(&silent);
	client_close(&cl);
	HEAL_OK(cfs_container_client_gone(h.lun->container, silent.id, NULL,
					  &err_));
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	heal_free(&h);
}

static void forge_hold(struct client *cl, struct cfs_fold *fold,
		       uint8_t *records)
{
	(void)cl;
	(void)records;
	fold->holds = true;
}

/* Snapshots between folds: each shows what was folded before it. */
static void test_snapshots(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	const uint64_t ino = heal_volume(h.lun).ino;
	struct cfs_snapshot_rec rec;
	uint64_t stamps[6];
	struct client cl;
	uint8_t got[HEAL_BLOCK];

	(void)state;
	client_new(&cl, &h, h.lun);
	for (unsigned int i = 0; i < 6; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "s%u", i);
		fill_and_write(cl.c, ino, 0, 2 * HEAL_BLOCK, i);
		fill_and_write(cl.c, ino, 1 << 20, 40 * HEAL_BLOCK, 10 + i);
		/* Not beside a client that writes. */
		assert_int_equal(
			cfs_snapshot_take(
				&(struct cfs_snapshot_name){
					h.lun, CFS_VOLUME_FIRST, name },
				1, NULL, NULL),
			-EBUSY);
		HEAL_OK(cfs_container_hold(cl.c, &err_));
		heal_snapshot(h.lun, name);
		HEAL_OK(cfs_snapshot_find(h.lun, CFS_VOLUME_FIRST, name,
					  &stamps[i], &rec, &err_));
	}
	for (unsigned int i = 0; i < 6; i++) {
		heal_fill(big, HEAL_BLOCK, i);
		HEAL_OK(client_read(h.lun->container, stamps[i], ino, 0, got,
				    HEAL_BLOCK, &err_));
		assert_memory_equal(got, big, HEAL_BLOCK);
		HEAL_OK(cfs_container_refresh(cl.c, &err_));
		HEAL_OK(client_read(cl.c, stamps[i], ino, 0, got, HEAL_BLOCK,
				    &err_));
		assert_memory_equal(got, big, HEAL_BLOCK);
	}
	heal_check_clean(&h);
	/* One that says so, and does not, may not write below a snapshot. */
	cl.forge = forge_hold;
	fill_and_write(cl.c, ino, 0, HEAL_BLOCK, 98);
	HEAL_OK(cfs_container_fold(cl.c, &err_));
	heal_snapshot(h.lun, "late");
	fill_and_write(cl.c, ino, 0, HEAL_BLOCK, 99);
	assert_int_equal(cfs_container_fold(cl.c, NULL), -EPERM);
	client_kill(&cl);
	must_read(h.lun->container, ino, 0, HEAL_BLOCK, 98);
	HEAL_OK(cfs_container_client_gone(h.lun->container, cl.id, NULL,
					  &err_));
	must_read(h.lun->container, ino, 0, HEAL_BLOCK, 98);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	heal_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fold),
		cmocka_unit_test(test_two),
		cmocka_unit_test(test_rewrite),
		cmocka_unit_test(test_lost_answer),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_reader),
		cmocka_unit_test(test_lost_loans),
		cmocka_unit_test(test_rebuild),
		cmocka_unit_test(test_seal),
		cmocka_unit_test(test_seal_gone),
		cmocka_unit_test(test_zombie),
		cmocka_unit_test(test_expired),
		cmocka_unit_test(test_owner_dies),
		cmocka_unit_test(test_snapshots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
