/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Tag pages that are not in memory are read with the data: a read waits for
 * the device once, and reads in order find most of their pages there.  What
 * comes of the two being read side by side is seen too: a page that is torn, or
 * data that are not what stands there, are asked for again; damage stays
 * damage; and what became void meanwhile is not kept.
 *
 * Likewise of what is read behind a row of long reads, before it is asked for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "device/device_priv.h"
#include "heal_fixture.h"
#include "pool/metavolume_watch.h"

#define PIECE_BLOCKS 72u /* longer than what is read behind */
#define PIECES       18u
#define BLOCKS       (PIECES * PIECE_BLOCKS)
#define ROW_BLOCKS   12u
#define ROW_PIECES   (BLOCKS / ROW_BLOCKS)

static struct cfs_dev_ops counting;
static const struct cfs_dev_ops *plain;

/* What the device was asked. */
static struct {
	unsigned int waits;
	uint64_t page_reads; /* blocks that are no data */
	uint64_t blocks;
} seen;

/* Once: turn over bits of what is read as data, or as tag pages. */
static bool spoil_data, spoil_pages;
/* Once: forget all of the slice while it is read. */
static struct cfs_blocks *forgetful;
static uint64_t forget_lslice;
static struct cfs_slice_geometry geo;
static uint64_t slices_at;

/* Somebody else's read, within one. */
static void *(*meanwhile)(void *);

static void look_round(void)
{
	void *(*fn)(void *) = meanwhile;
	pthread_t thread;

	meanwhile = NULL;
	if (!fn)
		return;
	assert_int_equal(pthread_create(&thread, NULL, fn, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static bool is_data(uint64_t offset_bytes)
{
	uint64_t in = (offset_bytes - slices_at) % geo.slice_bytes;

	return offset_bytes >= slices_at &&
	       cfs_geometry_is_data(&geo, (uint32_t)(in / HEAL_BLOCK));
}

static void look_at(const struct cfs_io *io, bool is_alone)
{
	bool *spoil = is_data(io->offset_bytes) ? &spoil_data : &spoil_pages;

	seen.waits += is_alone;
	seen.blocks += io->length_bytes / HEAL_BLOCK;
	if (!is_data(io->offset_bytes))
		seen.page_reads += io->length_bytes / HEAL_BLOCK;
	if (*spoil) {
		for (size_t i = 100; i < io->length_bytes; i += HEAL_BLOCK)
			((uint8_t *)io->buf)[i] ^= 0x11;
		*spoil = is_data(io->offset_bytes) ? false : !is_alone;
	}
}

static int one_transfer(struct cfs_dev *dev, enum cfs_io_op op,
			uint64_t offset_bytes, void *buf, size_t length_bytes)
{
	const struct cfs_io io = {
		.offset_bytes = offset_bytes,
		.buf = buf,
		.length_bytes = length_bytes,
	};
	int r = plain->transfer(dev, op, offset_bytes, buf, length_bytes);

	if (op == CFS_IO_READ) {
		look_at(&io, true);
		look_round();
	}
	return r;
}

/* Batches that were begun and not waited for; and the next one fails. */
static int in_air;
static bool fails;

/* Done when it is begun, and waited for once. */
static int many_start(struct cfs_dev *dev, struct cfs_io *ios, size_t count,
		      void **ret_batch)
{
	const bool spoils_pages = spoil_pages;

	for (size_t i = 0; i < count; i++) {
		if (ios[i].result != CFS_IO_PENDING)
			continue;
		ios[i].result = plain->transfer(dev, ios[i].op,
						ios[i].offset_bytes, ios[i].buf,
						ios[i].length_bytes);
		if (ios[i].op == CFS_IO_READ)
			look_at(&ios[i], false);
		if (fails)
			ios[i].result = -EIO;
	}
	fails = false;
	__atomic_add_fetch(&in_air, 1, __ATOMIC_SEQ_CST);
	if (spoils_pages)
		spoil_pages = false;
	seen.waits += ios[0].op == CFS_IO_READ;
	if (forgetful)
		cfs_blocks_forget(forgetful, forget_lslice);
	forgetful = NULL;
	look_round();
	*ret_batch = dev;
	return 0;
}

static void many_wait(struct cfs_dev *dev, void *batch)
{
	assert_ptr_equal(dev, batch);
	__atomic_sub_fetch(&in_air, 1, __ATOMIC_SEQ_CST);
}

/* More than the smallest cache holds checksums of. */
#define LARGE_BLOCKS (80u * CFS_TAGS_PER_PAGE)

struct lun {
	struct heal_pool h;
	struct cfs_volume_rec rec;
	struct cfs_view view;
	uint8_t model[BLOCKS * HEAL_BLOCK];
	uint8_t buf[BLOCKS * HEAL_BLOCK];
};

static void forget_all(struct lun *l)
{
	struct cfs_metavolume *mv = cfs_container_metavolume(l->view.container);

	for (uint64_t i = 0; i < cfs_metavolume_end(mv); i++)
		cfs_blocks_forget(cfs_container_blocks(l->view.container), i);
	memset(&seen, 0, sizeof(seen));
}

/* One long extent, and no tag of it in memory. */
static struct lun *lun_new(bool is_mirror)
{
	struct lun *l = calloc(1, sizeof(*l));
	struct cfs_metavolume *mv;
	struct cfs_tag tag;
	uint32_t device;
	uint64_t vaddr, at;

	assert_non_null(l);
	l->h = heal_new(is_mirror, (uint64_t)2 * LARGE_BLOCKS * HEAL_BLOCK);
	heal_write(l->h.lun, 0, BLOCKS, 1);
	heal_fill(l->model, sizeof(l->model), 1);
	heal_reopen(&l->h);
	l->rec = heal_volume(l->h.lun);
	cfs_volume_view(l->h.lun, &l->rec, &l->view);
	mv = cfs_container_metavolume(l->view.container);
	geo = *cfs_metavolume_geometry(mv);
	vaddr = heal_block(l->view.container, CFS_TAG_DATA, l->rec.ino, 0,
			   &tag);
	assert_true(cfs_metavolume_locate(mv, vaddr, 0, &device, &at));
	slices_at = (at - (uint64_t)cfs_vaddr_block(vaddr) * HEAL_BLOCK) %
		    geo.slice_bytes;
	plain = cfs_devset_dev(l->h.set, 0)->ops;
	counting = *plain;
	counting.transfer = one_transfer;
	counting.start = many_start;
	counting.wait = many_wait;
	for (unsigned int i = 0; i <= is_mirror; i++)
		cfs_devset_dev(l->h.set, i)->ops = &counting;
	/* The map's nodes: not what is counted. */
	HEAL_OK(cfs_data_read_beside(&l->view, l->rec.ino, 0, l->buf,
				     sizeof(l->buf), NULL, &err_));
	forget_all(l);
	return l;
}

static void lun_free(struct lun *l)
{
	heal_free(&l->h);
	free(l);
}

static int lun_read(struct lun *l, uint64_t block, uint32_t count,
		    bool is_beside)
{
	const size_t bytes = (size_t)count * HEAL_BLOCK;
	struct cfs_container *c = l->view.container;
	int r;

	memset(l->buf, 0xee, bytes);
	if (!is_beside)
		cfs_container_lock(c);
	r = (is_beside ? cfs_data_read_beside : cfs_data_read)(
		&l->view, l->rec.ino, block * HEAL_BLOCK, l->buf, bytes, NULL,
		NULL);
	if (!is_beside)
		cfs_container_unlock(c);
	if (r == 0)
		assert_memory_equal(l->buf, l->model + block * HEAL_BLOCK,
				    bytes);
	return r;
}

static void test_one_wait(void **state)
{
	struct lun *l = lun_new(false);

	(void)state;
	for (unsigned int beside = 0; beside < 2; beside++) {
		forget_all(l);
		for (uint32_t i = 0; i < PIECES; i++)
			assert_int_equal(lun_read(l, i * PIECE_BLOCKS,
						  PIECE_BLOCKS, beside),
					 0);
		/* A slice may end within a piece. */
		assert_in_range(seen.waits, PIECES, PIECES + 4);
		/* Two slots of each group, and not much of what lies behind. */
		assert_in_range(seen.page_reads, 2 * BLOCKS / CFS_TAGS_PER_PAGE,
				8 * BLOCKS / CFS_TAGS_PER_PAGE);
		assert_int_equal(seen.blocks - seen.page_reads, BLOCKS);
		/* They are kept: the second pass asks for none. */
		seen.page_reads = 0;
		for (uint32_t i = 0; i < PIECES; i++)
			assert_int_equal(lun_read(l, i * PIECE_BLOCKS,
						  PIECE_BLOCKS, beside),
					 0);
		assert_int_equal(seen.page_reads, 0);
	}
	lun_free(l);
}

/* Here and there: the pages that are needed, and no others. */
static void test_no_row(void **state)
{
	struct lun *l = lun_new(false);

	(void)state;
	for (uint32_t i = BLOCKS - 1; i > 300; i -= 300)
		assert_int_equal(lun_read(l, i - 1, 2, true), 0);
	assert_in_range(seen.page_reads, 2 * ((BLOCKS - 301) / 300),
			4 * (BLOCKS / 300 + 1));
	lun_free(l);
}

/* As if a page, or a block, had been written while it was read. */
static void test_passing(void **state)
{
	struct lun *l = lun_new(false);

	(void)state;
	for (unsigned int beside = 0; beside < 2; beside++) {
		forget_all(l);
		spoil_pages = true;
		assert_int_equal(lun_read(l, 0, PIECE_BLOCKS, beside), 0);
		assert_false(spoil_pages);
		forget_all(l);
		spoil_data = true;
		assert_int_equal(lun_read(l, 0, PIECE_BLOCKS, beside), 0);
		assert_false(spoil_data);
	}
	/* With the tags in memory too. */
	spoil_data = true;
	assert_int_equal(lun_read(l, 0, PIECE_BLOCKS, true), 0);
	assert_false(spoil_data);
	lun_free(l);
}

/* Damage is told as such, and goes to nobody; a mirror heals it. */
static void test_damage(void **state)
{
	(void)state;
	for (unsigned int mirror = 0; mirror < 2; mirror++) {
		struct lun *l = lun_new(mirror);
		struct cfs_tag tag;
		uint64_t vaddr = heal_block(l->view.container, CFS_TAG_DATA,
					    l->rec.ino, 5, &tag);
		const uint64_t from = tag.offset / PIECE_BLOCKS * PIECE_BLOCKS;

		for (unsigned int beside = 0; beside < 2; beside++) {
			if (!mirror && beside == 0)
				heal_hurt(&l->h, l->view.container, vaddr, 0);
			if (mirror)
				heal_hurt(&l->h, l->view.container, vaddr, 0);
			forget_all(l);
			assert_int_equal(
				lun_read(l, from, PIECE_BLOCKS, beside),
				mirror ? 0 : -EUCLEAN);
			/* And with the tags in memory. */
			assert_int_equal(
				lun_read(l, from, PIECE_BLOCKS, beside),
				mirror ? 0 : -EUCLEAN);
		}
		if (mirror)
			heal_scrub_clean(&l->h);
		lun_free(l);
	}
}

/* What was asked for before it became void is not kept. */
static void test_void_meanwhile(void **state)
{
	struct lun *l = lun_new(false);
	struct cfs_tag tag;
	uint64_t vaddr = heal_block(l->view.container, CFS_TAG_DATA, l->rec.ino,
				    0, &tag);

	(void)state;
	forget_all(l);
	forget_lslice = cfs_vaddr_lslice(vaddr);
	forgetful = cfs_container_blocks(l->view.container);
	assert_int_equal(lun_read(l, tag.offset, 8, true), 0);
	assert_null(forgetful);
	/* Those that the read asked for again, once they were void. */
	assert_int_equal(seen.page_reads, 4);
	seen.page_reads = 0;
	assert_int_equal(lun_read(l, tag.offset, 8, true), 0);
	assert_int_equal(seen.page_reads, 0);
	lun_free(l);
}

/* Both passes over a LUN of which the cache holds @cache_bytes. */
static uint64_t pages_again(uint64_t cache_bytes)
{
	const struct cfs_pool_options opt = {
		.was_clean = true,
		.cache_bytes = cache_bytes,
	};
	struct lun *l = lun_new(false);
	uint64_t ret;

	for (uint32_t i = 0; i < LARGE_BLOCKS / BLOCKS; i++)
		heal_write(l->h.lun, (i + 1) * BLOCKS, BLOCKS, i + 2);
	heal_close(&l->h);
	HEAL_OK(cfs_pool_open(l->h.set, ++l->h.epoch, l->h.roots, &opt,
			      &l->h.pool, &err_));
	heal_members(&l->h);
	cfs_volume_view(l->h.lun, &l->rec, &l->view);
	for (unsigned int pass = 0; pass < 2; pass++) {
		memset(&seen, 0, sizeof(seen));
		for (uint32_t i = 0; i <= LARGE_BLOCKS / BLOCKS; i++)
			HEAL_OK(cfs_data_read_beside(
				&l->view, l->rec.ino,
				(uint64_t)i * sizeof(l->buf), l->buf,
				sizeof(l->buf), NULL, &err_));
	}
	ret = seen.page_reads;
	lun_free(l);
	return ret;
}

/* Checksums stay from one pass to the next, as many as may. */
static void test_cap(void **state)
{
	(void)state;
	assert_int_equal(pages_again(0), 0);
	assert_in_range(pages_again(UINT64_C(128) << 10), 2 * 16, UINT64_MAX);
}

/* ---- behind a row -------------------------------------------------------- */

static uint64_t data_reads(void)
{
	return seen.blocks - seen.page_reads;
}

static void read_row(struct lun *l, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		assert_int_equal(lun_read(l, i * ROW_BLOCKS, ROW_BLOCKS, true),
				 0);
}

/* Fewer and longer requests, and most blocks are asked for once. */
static void test_row(void **state)
{
	struct lun *l = lun_new(false);

	(void)state;
	for (unsigned int pass = 0; pass < 2; pass++) {
		memset(&seen, 0, sizeof(seen));
		read_row(l, 0, ROW_PIECES);
		assert_in_range(seen.waits, 1, ROW_PIECES / 2);
		/* In slices this small a row ends often, and the two pieces
		 * that were read behind its end are for nobody. */
		assert_in_range(data_reads(), BLOCKS - 128,
				BLOCKS + BLOCKS / 2);
	}
	/* Backwards there is no row. */
	memset(&seen, 0, sizeof(seen));
	for (uint32_t i = ROW_PIECES - 5; i > 0; i--)
		read_row(l, i - 1, i);
	assert_int_equal(data_reads(), (ROW_PIECES - 5) * ROW_BLOCKS);
	lun_free(l);
}

static struct lun *other_lun;

static void *read_other(void *arg)
{
	static uint8_t buf[ROW_BLOCKS * HEAL_BLOCK];
	struct lun *l = other_lun;

	HEAL_OK(cfs_data_read_beside(&l->view, l->rec.ino,
				     (BLOCKS - ROW_BLOCKS) * HEAL_BLOCK, buf,
				     sizeof(buf), NULL, &err_));
	return arg;
}

/* Who reads at the same time as others gets what it asked for. */
static void test_row_of_many(void **state)
{
	struct lun *l = lun_new(false);

	(void)state;
	other_lun = l;
	read_row(l, ROW_PIECES - 1, ROW_PIECES);
	read_row(l, 0, 1);
	memset(&seen, 0, sizeof(seen));
	for (uint32_t i = 1; i < 20; i++) {
		meanwhile = read_other;
		read_row(l, i, i + 1);
		assert_null(meanwhile);
	}
	assert_int_equal(data_reads(), 2 * 19 * ROW_BLOCKS);
	lun_free(l);
}

/* What is written when it has been read already is seen. */
static void test_row_written(void **state)
{
	struct lun *l = lun_new(false);

	(void)state;
	for (uint32_t at = 0; at + 7 < ROW_PIECES; at += 7) {
		const uint64_t block = (at + 5) * ROW_BLOCKS + 3;

		read_row(l, at, at + 5);
		heal_fill(l->model + block * HEAL_BLOCK, 40 * HEAL_BLOCK, at);
		heal_write(l->h.lun, block, 40, at);
		read_row(l, at + 5, at + 7);
	}
	heal_check_clean(&l->h);
	lun_free(l);
}

/* It is handed out once, and damage is damage wherever it was read. */
static void test_row_damage(void **state)
{
	struct lun *l = lun_new(false);
	struct cfs_container *c = l->view.container;
	struct cfs_tag tag = { 0 };
	uint64_t vaddr = 0;

	(void)state;
	for (unsigned int n = 0; tag.offset != 5 * ROW_BLOCKS + 1; n++)
		vaddr = heal_block(c, CFS_TAG_DATA, l->rec.ino, n, &tag);
	read_row(l, 0, 5);
	heal_hurt(&l->h, c, vaddr, 0);
	/* The good bytes of before, or what is there; no others. */
	(void)lun_read(l, 5 * ROW_BLOCKS, ROW_BLOCKS, true);
	assert_int_equal(lun_read(l, 5 * ROW_BLOCKS, ROW_BLOCKS, true),
			 -EUCLEAN);
	read_row(l, 6, 8);
	/* Read behind others when it was damaged already. */
	read_row(l, 0, 5);
	assert_int_equal(lun_read(l, 5 * ROW_BLOCKS, ROW_BLOCKS, true),
			 -EUCLEAN);
	read_row(l, 6, 12);
	lun_free(l);
}

/*
 * What comes next is under way while nobody asks for it.  Who stops all I/O
 * finds nothing under way; and what could not be read is read again.
 */
static void test_row_in_air(void **state)
{
	struct lun *l = lun_new(false);
	struct cfs_metavolume *mv = cfs_container_metavolume(l->view.container);

	(void)state;
	read_row(l, 0, 3);
	assert_int_equal(in_air, 0);
	read_row(l, 3, 5);
	assert_in_range(in_air, 1, 2);
	cfs_metavolume_stop(mv);
	assert_int_equal(in_air, 0);
	cfs_metavolume_go_on(mv);
	for (uint32_t i = 5; i < ROW_PIECES; i++) {
		fails = i % 3 == 0;
		read_row(l, i, i + 1);
	}
	fails = false;
	lun_free(l);
	assert_int_equal(in_air, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_wait),
		cmocka_unit_test(test_no_row),
		cmocka_unit_test(test_passing),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_void_meanwhile),
		cmocka_unit_test(test_cap),
		cmocka_unit_test(test_row),
		cmocka_unit_test(test_row_of_many),
		cmocka_unit_test(test_row_written),
		cmocka_unit_test(test_row_damage),
		cmocka_unit_test(test_row_in_air),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
