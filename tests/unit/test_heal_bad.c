/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Bad places: what was lost there is written anew elsewhere, and the place is
 * not written again while it is bad, however full the pool gets.  It is a
 * sector of a mirror that cannot be read until it is written, on both devices:
 * so a write to it would be seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/sim.h"
#include "heal_fixture.h"
#include "tree/hooks.h"
#include "tree/space.h"

#define LUN_BLOCKS 30000u
#define BAD_BLOCKS 40u

struct bad_pool {
	struct heal_pool h;
	struct cfs_sim *sim;
	struct cfs_dev *devices[2];
	uint64_t vaddrs[BAD_BLOCKS];
	uint64_t at[2][BAD_BLOCKS]; /* the same, on the devices */
};

static struct bad_pool bad_pool_new(void)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	const struct cfs_pool_options pool_opt = { .name = "bad" };
	struct bad_pool b = { .h = { .epoch = 0 } };
	struct heal_pool *h = &b.h;

	HEAL_OK(cfs_sim_new(&b.sim, &err_));
	for (uint32_t i = 0; i < 2; i++)
		HEAL_OK(cfs_sim_dev_new(b.sim, POOL_FIXTURE_BYTES,
					&b.devices[i], &err_));
	HEAL_OK(pool_fixture_format(b.devices, 2, CFS_POOL_FLAG_MIRROR, NULL,
				    &err_));
	HEAL_OK(cfs_devset_from_devices(b.devices, 2, &opt, &h->set, &err_));
	HEAL_OK(pool_fixture_seat(h->set, &err_));
	HEAL_OK(cfs_pool_make(h->set, &pool_opt, h->roots, &err_));
	heal_open(h, true);
	HEAL_OK(cfs_pool_container_make(h->pool, "lun", CFS_VOLUME_LUN, 0,
					CFS_OBJECT_LIVE, &h->lun, &err_));
	HEAL_OK(cfs_volume_make_first(h->lun, CFS_VOLUME_LUN,
				      (uint64_t)LUN_BLOCKS * HEAL_BLOCK,
				      &err_));
	return b;
}

static void reopen(struct bad_pool *b)
{
	heal_close(&b->h);
	heal_open(&b->h, true);
	HEAL_OK(cfs_pool_member(b->h.pool, "lun", &b->h.lun, &err_));
}

static void bad_pool_free(struct bad_pool *b)
{
	heal_free(&b->h);
	cfs_sim_free(b->sim);
}

/* From now on some blocks of the LUN cannot be read; they are found. */
static void go_bad(struct bad_pool *b)
{
	struct cfs_container *c = b->h.lun->container;
	struct heal_damage *all;

	for (unsigned int i = 0; i < BAD_BLOCKS; i++) {
		b->vaddrs[i] = heal_block(c, CFS_TAG_DATA, 0, 20 + i, NULL);
		for (unsigned int p = 0; p < 2; p++) {
			uint32_t device;

			assert_true(cfs_metavolume_locate(
				cfs_container_metavolume(c), b->vaddrs[i], p,
				&device, &b->at[p][i]));
			assert_int_equal(device, p);
			HEAL_OK(cfs_sim_latent_error(b->devices[p], b->at[p][i],
						     HEAL_BLOCK, &err_));
		}
	}
	all = heal_scrub(&b->h);
	assert_int_equal(all->result.left_blocks, BAD_BLOCKS);
	free(all);
}

/* Places that were written since: they can be read again. */
static unsigned int written_count(const struct bad_pool *b)
{
	uint8_t block[HEAL_BLOCK];
	unsigned int n = 0;

	for (unsigned int p = 0; p < 2; p++)
		for (unsigned int i = 0; i < BAD_BLOCKS; i++)
			n += cfs_dev_read(b->devices[p], b->at[p][i], block,
					  sizeof(block), NULL) == 0;
	return n;
}

static unsigned int used_count(struct bad_pool *b)
{
	struct cfs_container *c = b->h.lun->container;
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(
		cfs_container_metavolume(c));
	unsigned int n = 0;

	cfs_container_lock(c);
	for (unsigned int i = 0; i < BAD_BLOCKS; i++) {
		uint32_t block = cfs_vaddr_block(b->vaddrs[i]);
		uint32_t at = cfs_geometry_index(geo, block);
		uint64_t used[2];

		HEAL_OK(cfs_repair_used(c, cfs_vaddr_lslice(b->vaddrs[i]),
					cfs_geometry_group(geo, block), used,
					&err_));
		n += used[at / 64] >> (at % 64) & 1;
	}
	cfs_container_unlock(c);
	return n;
}

/* Blocks of the LUN from @block on until the pool is full; -ENOSPC, once all
 * that was promised went in. */
static uint64_t fill(struct bad_pool *b, uint64_t block)
{
	static uint8_t buf[64 * HEAL_BLOCK];
	struct cfs_member *m = b->h.lun;
	struct cfs_volume_rec rec = heal_volume(m);
	int r = 0;

	heal_fill(buf, sizeof(buf), 8);
	for (uint32_t n = 64; n > 0 && block + n < LUN_BLOCKS;) {
		r = cfs_op_begin_for(m->container, CFS_OP_NORMAL, n + 64, NULL);
		if (r == 0) {
			r = cfs_data_write(m->container,
					   (uint16_t)rec.head_branch, rec.ino,
					   block * HEAL_BLOCK, buf,
					   (size_t)n * HEAL_BLOCK, NULL);
			if (r == 0)
				cfs_op_end(m->container);
			else
				cfs_op_abort(m->container);
		}
		assert_true(r == 0 || r == -ENOSPC);
		if (r == 0)
			block += n;
		else
			n /= 2;
	}
	assert_int_equal(r, -ENOSPC);
	HEAL_OK(cfs_container_commit(m->container, &err_));
	assert_true(cfs_container_is_writable(m->container));
	return block;
}

/* What can be promised, with nothing held. */
static uint64_t left_blocks(struct bad_pool *b)
{
	struct cfs_container *c = b->h.lun->container;
	struct cfs_space_counts counts;

	HEAL_OK(cfs_container_commit_idle(c, &err_));
	cfs_container_lock(c);
	cfs_space_counts(c, &counts);
	cfs_container_unlock(c);
	return counts.left_blocks;
}

/* Written anew, so that the bad places are free. */
static struct bad_pool moved_pool(void)
{
	struct bad_pool b = bad_pool_new();

	heal_write(b.h.lun, 0, 100, 1);
	reopen(&b);
	go_bad(&b);
	assert_int_equal(used_count(&b), BAD_BLOCKS);
	heal_write(b.h.lun, 0, 100, 2);
	for (int i = 0; i < 3; i++)
		heal_write(b.h.lun, 200, 1, 3);
	assert_int_equal(used_count(&b), 0);
	assert_int_equal(heal_read(b.h.lun, 0, 100, 2), 0);
	return b;
}

static void test_never_written(void **state)
{
	struct bad_pool b = moved_pool();

	(void)state;
	(void)fill(&b, 300);
	assert_int_equal(used_count(&b), 0);
	assert_int_equal(written_count(&b), 0);
	heal_check_clean(&b.h);
	bad_pool_free(&b);
}

/* A later life knows of them; so does one behind a scrub, and a crash. */
static void test_remembered(void **state)
{
	struct bad_pool b = moved_pool();

	(void)state;
	reopen(&b);
	heal_scrub_clean(&b.h);
	reopen(&b);
	(void)fill(&b, 300);
	assert_int_equal(written_count(&b), 0);
	reopen(&b);
	heal_check_clean(&b.h);
	assert_int_equal(written_count(&b), 0);
	bad_pool_free(&b);
}

/* Once they can be read, the next scrub gives them back to use. */
static void test_good_again(void **state)
{
	struct bad_pool b = moved_pool();
	static const uint8_t zeroes[HEAL_BLOCK];
	uint64_t left = left_blocks(&b);

	(void)state;
	for (unsigned int p = 0; p < 2; p++)
		for (unsigned int i = 0; i < BAD_BLOCKS; i++)
			HEAL_OK(cfs_dev_write(b.devices[p], b.at[p][i], zeroes,
					      sizeof(zeroes), &err_));
	heal_scrub_clean(&b.h);
	/* They count as room only now; a few nodes may have come or gone. */
	assert_true(left_blocks(&b) > left + BAD_BLOCKS / 2);
	(void)fill(&b, 300);
	assert_int_equal(used_count(&b), BAD_BLOCKS);
	heal_check_clean(&b.h);
	bad_pool_free(&b);
}

/* What is full of bad blocks can still be deleted. */
static void test_freed_when_full(void **state)
{
	struct bad_pool b = bad_pool_new();
	struct cfs_volume_rec rec;

	(void)state;
	heal_write(b.h.lun, 0, 100, 1);
	(void)fill(&b, 300);
	go_bad(&b);
	rec = heal_volume(b.h.lun);
	HEAL_OK(cfs_op_begin(b.h.lun->container, CFS_OP_FREEING, &err_));
	HEAL_OK(cfs_data_punch(b.h.lun->container, (uint16_t)rec.head_branch,
			       rec.ino, 0, 100 * HEAL_BLOCK, &err_));
	cfs_op_end(b.h.lun->container);
	assert_true(left_blocks(&b) > 0);
	assert_int_equal(used_count(&b), 0);
	(void)fill(&b, 400);
	assert_int_equal(written_count(&b), 0);
	bad_pool_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_written),
		cmocka_unit_test(test_remembered),
		cmocka_unit_test(test_good_again),
		cmocka_unit_test(test_freed_when_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
