/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Long writes stay in long runs while there is room for that, also in a volume
 * that was written at random for long; and space in small pieces is used when
 * there is no other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "heal_fixture.h"
#include "tree/space_priv.h"
#include "volume/vols_priv.h"

#define LUN_BLOCKS  4096u
#define LONG_BLOCKS 32u

/* ---- runs of a bitmap ---------------------------------------------------- */

/* What is taken, by looking at each bit. */
static uint32_t plain_run(const uint64_t bits[2], uint32_t count, bool is_long,
			  uint32_t *ret_first)
{
	uint32_t best = 0;

	for (uint32_t i = 0; i < 128;) {
		uint32_t n = 0;

		while (i + n < 128 && (bits[(i + n) / 64] >> (i + n) % 64 & 1))
			n++;
		if (n > best && best < count && (is_long || best == 0)) {
			best = n;
			*ret_first = i;
		}
		i += n + 1;
	}
	return best < count ? best : count;
}

static void test_bits(void **state)
{
	struct cfs_rng rng;

	(void)state;
	cfs_rng_init(&rng, 5);
	for (unsigned int i = 0; i < 20000; i++) {
		uint64_t bits[2] = { cfs_rng_u64(&rng), cfs_rng_u64(&rng) };
		const uint32_t count = 1 + (uint32_t)cfs_rng_below(&rng, 126);
		const bool is_long = i & 1;
		uint32_t first = 0, want_first = 0;

		/* Thinner, or denser: runs of all lengths. */
		for (unsigned int k = 0; k < i % 4; k++)
			for (unsigned int w = 0; w < 2; w++)
				bits[w] = i & 16 ? bits[w] | cfs_rng_u64(&rng)
						 : bits[w] & cfs_rng_u64(&rng);
		if (i % 64 == 0)
			bits[i / 64 % 2] = UINT64_MAX;
		bits[1] &= (UINT64_C(1) << 62) - 1;
		assert_int_equal(
			cfs_space_find_run(bits, count, is_long, &first),
			plain_run(bits, count, is_long, &want_first));
		assert_int_equal(first, want_first);
	}
}

/* ---- a volume ------------------------------------------------------------ */

static struct heal_pool new_pool(uint64_t bytes)
{
	const struct cfs_pool_options opt = { .name = "runs" };
	struct heal_pool h = { .epoch = 0 };
	struct cfs_err err = CFS_ERR_INIT;

	h.set = pool_fixture_mem(1, bytes, 0, &err);
	if (!h.set)
		fail_msg("%s", err.msg);
	HEAL_OK(cfs_pool_make(h.set, &opt, h.roots, &err_));
	heal_open(&h, true);
	HEAL_OK(cfs_pool_container_make(h.pool, "lun", CFS_VOLUME_LUN, 0,
					CFS_OBJECT_LIVE, &h.lun, &err_));
	HEAL_OK(cfs_volume_make_first(h.lun, CFS_VOLUME_LUN,
				      LUN_BLOCKS * HEAL_BLOCK, &err_));
	HEAL_OK(cfs_pool_container_make(h.pool, "tree", CFS_VOLUME_TREE, 0,
					CFS_OBJECT_LIVE, &h.tree, &err_));
	HEAL_OK(cfs_volume_make_first(h.tree, CFS_VOLUME_TREE, 0, &err_));
	return h;
}

static void write_blocks(struct heal_pool *h, uint64_t block, uint32_t count)
{
	static uint8_t buf[LONG_BLOCKS * HEAL_BLOCK];
	const struct cfs_volume_rec rec = heal_volume(h->lun);
	struct cfs_container *c = h->lun->container;

	buf[0]++;
	HEAL_OK(cfs_op_begin(c, CFS_OP_NORMAL, &err_));
	HEAL_OK(cfs_data_write(c, (uint16_t)rec.head_branch, rec.ino,
			       block * HEAL_BLOCK, buf,
			       (size_t)count * HEAL_BLOCK, &err_));
	cfs_op_end(c);
}

static void commit(struct heal_pool *h)
{
	HEAL_OK(cfs_container_commit(h->lun->container, &err_));
}

static void write_in_order(struct heal_pool *h)
{
	for (uint32_t i = 0; i < LUN_BLOCKS; i += LONG_BLOCKS) {
		write_blocks(h, i, LONG_BLOCKS);
		if (i % 512 == 0)
			commit(h);
	}
	commit(h);
}

static void write_at_random(struct heal_pool *h, unsigned int writes)
{
	struct cfs_rng rng;

	cfs_rng_init(&rng, 7);
	for (unsigned int i = 0; i < writes; i++) {
		write_blocks(h, cfs_rng_below(&rng, LUN_BLOCKS), 1);
		if (i % 256 == 0)
			commit(h);
	}
	commit(h);
}

struct pieces {
	uint64_t count, end;
};

static int count_piece(void *arg, const struct segment *s, struct cfs_err *err)
{
	struct pieces *p = arg;

	(void)err;
	p->count += s->kind != SEGMENT_DISK || s->vaddr != p->end;
	p->end = s->vaddr + s->count;
	return 0;
}

/* Pieces that the whole volume lies in. */
static uint64_t piece_count(struct heal_pool *h)
{
	const struct cfs_volume_rec rec = heal_volume(h->lun);
	struct pieces p = { 0 };
	struct cfs_view view;

	cfs_volume_view(h->lun, &rec, &view);
	cfs_container_lock(h->lun->container);
	HEAL_OK(cfs_segments(&view, rec.ino, 0, LUN_BLOCKS, count_piece, &p,
			     &err_));
	cfs_container_unlock(h->lun->container);
	return p.count;
}

static void test_aged(void **state)
{
	struct heal_pool h = new_pool(UINT64_C(96) << 20);
	uint64_t count;

	(void)state;
	write_in_order(&h);
	count = piece_count(&h);
	if (count > 2 * LUN_BLOCKS / LONG_BLOCKS)
		fail_msg("new, and in %d pieces", (int)count);
	write_at_random(&h, 3 * LUN_BLOCKS);
	assert_true(piece_count(&h) > LUN_BLOCKS / 2);
	/* Each of at least 16 blocks, in the mean; and then as if new. */
	write_in_order(&h);
	count = piece_count(&h);
	if (count > LUN_BLOCKS / 16)
		fail_msg("written anew, and in %d pieces", (int)count);
	write_in_order(&h);
	count = piece_count(&h);
	if (count > 2 * LUN_BLOCKS / LONG_BLOCKS)
		fail_msg("written twice, and in %d pieces", (int)count);
	heal_reopen(&h);
	heal_check_clean(&h);
	heal_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bits),
		cmocka_unit_test(test_aged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
