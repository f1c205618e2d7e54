/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Clients that die in a pool that is full: what they have on loan, and did not
 * use, is the room that taking over what they had synced needs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_fixture.h"
#include "tree/lend_priv.h"
#include "tree/space.h"

#define LUN_BYTES (UINT64_C(128) << 20)
#define SPREAD    8000u /* extents */
#define SYNCED    100u  /* blocks, each in another leaf's range */

static uint8_t big[64 * HEAL_BLOCK];

static uint64_t lun_of(struct heal_pool *h)
{
	return heal_volume(h->lun).ino;
}

static int write_at(struct cfs_container *c, uint64_t ino, uint64_t block,
		    uint32_t count, uint64_t seed)
{
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	heal_fill(big, (size_t)count * HEAL_BLOCK, seed);
	r = client_write(c, ino, block * HEAL_BLOCK, big,
			 (size_t)count * HEAL_BLOCK, &err);
	if (r < 0 && r != -ENOSPC)
		fail_msg("%d: %s", r, err.msg);
	return r;
}

static void must_be(struct cfs_container *c, uint64_t ino, uint64_t block,
		    uint64_t seed)
{
	uint8_t got[HEAL_BLOCK];

	heal_fill(big, HEAL_BLOCK, seed);
	HEAL_OK(client_read(c, CFS_STAMP_HEAD, ino, block * HEAL_BLOCK, got,
			    HEAL_BLOCK, &err_));
	assert_memory_equal(got, big, HEAL_BLOCK);
}

/* Every second block: a live tree of many leaves. */
static void scatter(struct cfs_container *c, uint64_t ino)
{
	for (unsigned int i = 0; i < SPREAD; i++)
		assert_int_equal(write_at(c, ino, 2 * i, 1, i), 0);
	HEAL_OK(cfs_container_commit(c, &err_));
}

/* To the last block that goes in. */
static void fill(struct cfs_container *c, uint64_t ino)
{
	uint64_t block = 2 * SPREAD;

	for (uint32_t count = 64; count > 0; count /= 4)
		while (write_at(c, ino, block, count, block) == 0)
			block += count;
	HEAL_OK(cfs_container_commit(c, &err_));
}

/* Of the client: in its log, in leaves all over. */
static void sync_some(struct client *cl, uint64_t ino, uint64_t seed)
{
	for (unsigned int i = 0; i < SYNCED; i++)
		assert_int_equal(write_at(cl->c, ino, 2 * i * (SPREAD / SYNCED),
					  1, seed + i),
				 0);
	HEAL_OK(cfs_container_sync(cl->c, &err_));
}

static void must_be_synced(struct cfs_container *c, uint64_t ino, uint64_t seed)
{
	for (unsigned int i = 0; i < SYNCED; i++)
		must_be(c, ino, 2 * i * (SPREAD / SYNCED), seed + i);
}

/* What the last one needs is on loan to it alone. */
static void test_died(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	struct cfs_container *owner = h.lun->container;
	const uint64_t ino = lun_of(&h);
	struct cfs_lent_counts lent;
	struct client cl;

	(void)state;
	scatter(owner, ino);
	client_new(&cl, &h, h.lun);
	sync_some(&cl, ino, 7000);
	fill(owner, ino);
	client_kill(&cl);
	HEAL_OK(cfs_container_client_gone(owner, cl.id, NULL, &err_));
	cfs_container_lent_counts(owner, &lent);
	assert_int_equal(lent.lent_blocks, 0);
	must_be_synced(owner, ino, 7000);
	heal_check_clean(&h);
	heal_reopen(&h);
	must_be_synced(h.lun->container, ino, 7000);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	heal_free(&h);
}

/* Two that died, with a group each: one after the other is taken over. */
static void test_two_died(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	struct cfs_container *owner = h.lun->container;
	const uint64_t ino = lun_of(&h);
	struct client cl[2];

	(void)state;
	scatter(owner, ino);
	client_new(&cl[0], &h, h.lun);
	client_new(&cl[1], &h, h.lun);
	fill(owner, ino);
	HEAL_OK(client_punch(owner, ino, 2 * SPREAD * HEAL_BLOCK,
			     1000 * HEAL_BLOCK, &err_));
	HEAL_OK(cfs_container_commit_idle(owner, &err_));
	sync_some(&cl[0], ino, 7000);
	sync_some(&cl[1], ino, 9000);
	fill(owner, ino);
	client_kill(&cl[0]);
	client_kill(&cl[1]);
	HEAL_OK(cfs_container_client_gone(owner, cl[0].id, NULL, &err_));
	HEAL_OK(cfs_container_client_gone(owner, cl[1].id, NULL, &err_));
	must_be_synced(owner, ino, 9000);
	heal_check_clean(&h);
	heal_reopen(&h);
	must_be_synced(h.lun->container, ino, 9000);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	heal_free(&h);
}

#define EATEN 220u

/* Blocks in use that nothing names: as if deletions had eaten the reserve. */
static void eat(struct cfs_container *c, uint64_t vaddrs[EATEN])
{
	HEAL_OK(cfs_op_begin(c, CFS_OP_FREEING, &err_));
	for (unsigned int i = 0; i < EATEN; i++) {
		uint32_t count;

		HEAL_OK(cfs_space_alloc_data(c, 1, &vaddrs[i], &count, &err_));
	}
	cfs_op_end(c);
}

static void give(struct cfs_container *c, const uint64_t vaddrs[EATEN])
{
	HEAL_OK(cfs_op_begin(c, CFS_OP_FREEING, &err_));
	for (unsigned int i = 0; i < EATEN; i++)
		HEAL_OK(cfs_space_free(c, vaddrs[i], 1, &err_));
	cfs_op_end(c);
	HEAL_OK(cfs_container_commit(c, &err_));
}

/*
 * Not even what it has on loan is room enough for all that its commit may need.
 * That is refused, and leaves it as it was; whoever opens the pool tries it all
 * the same, and since not every record is in a leaf of its own it succeeds.
 */
static void test_died_tight(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	struct cfs_container *owner = h.lun->container;
	const uint64_t ino = lun_of(&h);
	uint64_t eaten[EATEN];
	struct cfs_lent_counts before, after;
	struct client cl;

	(void)state;
	scatter(owner, ino);
	client_new(&cl, &h, h.lun);
	fill(owner, ino);
	HEAL_OK(client_punch(owner, ino, 2 * SPREAD * HEAL_BLOCK,
			     250 * HEAL_BLOCK, &err_));
	HEAL_OK(cfs_container_commit_idle(owner, &err_));
	sync_some(&cl, ino, 7000);
	fill(owner, ino);
	client_kill(&cl);
	eat(owner, eaten);
	cfs_container_lent_counts(owner, &before);
	assert_int_equal(cfs_container_client_gone(owner, cl.id, NULL, NULL),
			 -ENOSPC);
	HEAL_OK(cfs_container_commit(owner, &err_));
	cfs_container_lent_counts(owner, &after);
	/* The commit may have brought back what was freed in them before. */
	assert_memory_equal(&before, &after,
			    offsetof(struct cfs_lent_counts, lent_blocks));
	assert_true(after.lent_blocks >= before.lent_blocks);
	HEAL_OK(cfs_container_client_left(owner, cl.id, true, &err_));
	give(owner, eaten);
	must_be_synced(owner, ino, 7000);
	heal_check_clean(&h);
	heal_reopen(&h);
	must_be_synced(h.lun->container, ino, 7000);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	heal_free(&h);
}

/*
 * The tags of a dead client's log are cleared when its blocks are free already;
 * another thread may have had the container in between, and used them.
 */
static void test_log_used_again(void **state)
{
	struct heal_pool h = heal_new(false, LUN_BYTES);
	struct cfs_container *owner = h.lun->container;
	const uint64_t ino = lun_of(&h);
	struct cfs_client_rec rec;
	struct client cl;

	(void)state;
	scatter(owner, ino);
	client_new(&cl, &h, h.lun);
	rec = cl.rec;
	sync_some(&cl, ino, 7000);
	client_kill(&cl);
	HEAL_OK(cfs_container_client_gone(owner, cl.id, NULL, &err_));
	HEAL_OK(cfs_container_commit_idle(owner, &err_));
	fill(owner, ino);
	HEAL_OK(cfs_lend_clear_log(owner, &rec, &err_));
	must_be_synced(owner, ino, 7000);
	heal_check_clean(&h);
	heal_reopen(&h);
	heal_check_clean(&h);
	heal_scrub_clean(&h);
	heal_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_died),
		cmocka_unit_test(test_two_died),
		cmocka_unit_test(test_died_tight),
		cmocka_unit_test(test_log_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
