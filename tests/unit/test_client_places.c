/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Folds that are too large for a message: what they say is in lent blocks, and
 * the owner believes no more of it than of a message.  And groups that come
 * with the answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_fixture.h"
#include "device/device_priv.h"

#define LUN_BYTES  (UINT64_C(8) << 20)
#define LUN_BLOCKS (LUN_BYTES / HEAL_BLOCK)
#define SCATTERED  800u /* records of one block */
#define SYNCED     10u  /* they fit into a frame */

struct world {
	struct heal_pool h;
	struct client cl;
	uint64_t ino;
};

static void world_new_of(struct world *w, bool is_mirror)
{
	w->h = heal_new(is_mirror, LUN_BYTES);
	w->ino = heal_volume(w->h.lun).ino;
	heal_write(w->h.lun, 0, 32, 1);
	client_new(&w->cl, &w->h, w->h.lun);
}

static void world_new(struct world *w)
{
	world_new_of(w, false);
}

static void world_end(struct world *w)
{
	heal_check_clean(&w->h);
	heal_scrub_clean(&w->h);
	heal_free(&w->h);
}

/* Every second block, so that each has a record of its own. */
static unsigned int scatter(struct world *w, unsigned int count, uint64_t seed)
{
	uint8_t buf[HEAL_BLOCK];
	unsigned int i;

	for (i = 0; i < count; i++) {
		int r;

		heal_fill(buf, sizeof(buf), seed + i);
		r = client_write(w->cl.c, w->ino, 2 * i * HEAL_BLOCK, buf,
				 sizeof(buf), NULL);
		if (r == -ENOSPC)
			break;
		assert_int_equal(r, 0);
	}
	return i;
}

static void must_be_scattered(struct world *w, unsigned int count,
			      uint64_t seed)
{
	uint8_t buf[HEAL_BLOCK], got[HEAL_BLOCK];
	const struct cfs_view view = { w->h.lun->container, 1, CFS_STAMP_HEAD };

	for (unsigned int i = 0; i < count; i++) {
		heal_fill(buf, sizeof(buf), seed + i);
		cfs_container_lock(view.container);
		HEAL_OK(cfs_data_read(&view, w->ino, 2 * i * HEAL_BLOCK, got,
				      sizeof(got), NULL, &err_));
		cfs_container_unlock(view.container);
		assert_memory_equal(got, buf, sizeof(got));
	}
}

static void test_large(void **state)
{
	struct world w;

	(void)state;
	world_new(&w);
	scatter(&w, SCATTERED, 100);
	HEAL_OK(cfs_container_fold(w.cl.c, &err_));
	assert_int_equal(w.cl.folds, 1);
	assert_int_equal(w.cl.placed, 1);
	must_be_scattered(&w, SCATTERED, 100);
	/* Small ones go with the message. */
	scatter(&w, 10, 200);
	HEAL_OK(cfs_container_fold(w.cl.c, &err_));
	assert_int_equal(w.cl.placed, 1);
	/* An answer that was lost: the blocks are not looked at again. */
	w.cl.loses_answer = true;
	scatter(&w, SCATTERED, 300);
	HEAL_OK(cfs_container_fold(w.cl.c, &err_));
	assert_true(w.cl.has_lost);
	assert_int_equal(w.cl.placed, 2);
	must_be_scattered(&w, SCATTERED, 300);
	client_close(&w.cl);
	world_end(&w);
}

/* No block is left for it: then it goes with messages, as large as it is. */
static void test_no_blocks(void **state)
{
	struct world w;
	unsigned int count;

	(void)state;
	world_new(&w);
	scatter(&w, 1, 100);
	w.cl.lend_fails = true;
	count = scatter(&w, LUN_BLOCKS / 2, 100);
	assert_in_range(count, 400, LUN_BLOCKS / 2);
	HEAL_OK(cfs_container_fold(w.cl.c, &err_));
	must_be_scattered(&w, count, 100);
	client_close(&w.cl);
	world_end(&w);
}

/* ---- a device that does not read ----------------------------------------- */

static const struct cfs_dev_ops *whole;
static struct cfs_dev *bad;
static unsigned int failed_reads;

static int no_reads(struct cfs_dev *dev, enum cfs_io_op op,
		    uint64_t offset_bytes, void *buf, size_t length_bytes)
{
	if (op == CFS_IO_WRITE)
		return whole->transfer(dev, op, offset_bytes, buf,
				       length_bytes);
	failed_reads++;
	return -EIO;
}

/* From when the owner takes the fold. */
static void break_reads(struct client *cl, struct cfs_fold *fold,
			uint8_t *records)
{
	static struct cfs_dev_ops broken;

	(void)records;
	assert_true(fold->place_count > 0);
	cl->forge = NULL;
	whole = bad->ops;
	broken = *whole;
	broken.transfer = no_reads;
	broken.start = NULL;
	failed_reads = 0;
	bad->ops = &broken;
}

static void test_other_piece(void **state)
{
	struct world w;

	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		world_new_of(&w, true);
		bad = cfs_devset_dev(w.h.set, i);
		scatter(&w, SCATTERED, 100);
		w.cl.forge = break_reads;
		HEAL_OK(cfs_container_fold(w.cl.c, &err_));
		bad->ops = whole;
		/* The first is asked first. */
		assert_int_equal(failed_reads > 0, i == 0);
		must_be_scattered(&w, SCATTERED, 100);
		client_close(&w.cl);
		world_end(&w);
	}
}

/* ---- lies ---------------------------------------------------------------- */

enum lie {
	LIE_FOREIGN,
	LIE_NOWHERE,
	LIE_HEADER,
	LIE_NAMED,
	LIE_CSUM,
	LIE_SIZE,
	LIE_COUNT
};

static struct cfs_fold_place forged[CFS_FOLD_PLACES_MAX];
static struct cfs_fold_place named;

static void forge_place(struct client *cl, struct cfs_fold *fold,
			uint8_t *records)
{
	(void)records;
	assert_true(fold->place_count > 0);
	memcpy(forged, fold->places, fold->place_count * sizeof(*forged));
	fold->places = forged;
	switch (cl->forge_arg) {
	case LIE_FOREIGN:
		/* The owner's own data. */
		forged[0].vaddr = heal_block(cl->owner, CFS_TAG_DATA, 0, 7,
					     NULL);
		break;
	case LIE_NOWHERE:
		forged[0].vaddr = cfs_vaddr(77777, 200);
		break;
	case LIE_HEADER:
		forged[0].vaddr -= cfs_vaddr_block(forged[0].vaddr);
		break;
	case LIE_NAMED:
		forged[0] = named;
		break;
	case LIE_SIZE:
		fold->record_bytes += 8 * HEAL_BLOCK;
		break;
	default:
		fold->csum[3] ^= 1;
		break;
	}
}

static void lie_once(uint64_t lie)
{
	struct cfs_client_info info;
	struct world w;
	int r;

	world_new(&w);
	scatter(&w, SCATTERED, 100);
	HEAL_OK(cfs_container_fold(w.cl.c, &err_));
	/* In a group that it has on loan, but folded. */
	named = (struct cfs_fold_place){
		.vaddr = heal_block(w.h.lun->container, CFS_TAG_DATA, w.ino, 2,
				    NULL),
		.count = 1,
	};
	scatter(&w, SYNCED, 500);
	HEAL_OK(cfs_container_sync(w.cl.c, &err_));
	scatter(&w, SCATTERED, 900);
	w.cl.forge = forge_place;
	w.cl.forge_arg = lie;
	r = cfs_container_fold(w.cl.c, NULL);
	HEAL_OK(cfs_container_client_get(w.h.lun->container, w.cl.id, &info,
					 &err_));
	/* What reads differently may be the device's fault. */
	assert_int_equal(r, lie == LIE_CSUM ? -EIO : -EPERM);
	assert_int_equal(info.rec.state, lie == LIE_CSUM ? CFS_CLIENT_OPEN
							 : CFS_CLIENT_REFUSED);
	must_be_scattered(&w, SCATTERED, 100);
	client_kill(&w.cl);
	HEAL_OK(cfs_container_client_gone(w.h.lun->container, w.cl.id, NULL,
					  &err_));
	/* It had synced that. */
	must_be_scattered(&w, SYNCED, 500);
	world_end(&w);
}

static void test_lies(void **state)
{
	(void)state;
	for (uint64_t lie = 0; lie < LIE_COUNT; lie++)
		lie_once(lie);
}

/* Places as bytes: as many blocks as the content takes, and not one more. */
static void test_bounds(void **state)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	struct cfs_fold_place places[2] = { { 8, 1 }, { 20, 2 } };
	struct cfs_fold fold = {
		.seq = 4, .record_count = 9, .record_bytes = 3 * HEAL_BLOCK - 8,
		.return_count = 1, .place_count = 2, .places = places,
		.csum = { 1, 2 },
	}, got;

	(void)state;
	assert_int_equal(cfs_fold_pack(&fold, &buf), 0);
	for (size_t n = 0; n < buf.bytes; n++)
		assert_int_equal(cfs_fold_unpack(buf.data, n, &got, NULL),
				 -EUCLEAN);
	HEAL_OK(cfs_fold_unpack(buf.data, buf.bytes, &got, &err_));
	assert_int_equal(got.place_count, 2);
	assert_int_equal(got.places[1].vaddr, 20);
	assert_int_equal(got.csum[1], 2);
	assert_null(got.records);
	assert_null(got.returns);
	cfs_fold_donep(&got);
	for (uint32_t i = 0; i < 4; i++) {
		buf.bytes = 0;
		places[0].count = i;
		assert_int_equal(cfs_fold_pack(&fold, &buf), 0);
		assert_int_equal(
			cfs_fold_unpack(buf.data, buf.bytes, &got, NULL),
			i == 1 ? 0 : -EUCLEAN);
		if (i == 1)
			cfs_fold_donep(&got);
	}
}

/* ---- groups with the answer ---------------------------------------------- */

/* Who writes much gets groups with its folds, and asks seldom even where there
 * are few: less than once for each MiB. */
static void test_wanted(void **state)
{
	static uint8_t buf[256 * 1024];
	struct heal_pool h = heal_new(false, UINT64_C(64) << 20);
	const uint64_t ino = heal_volume(h.lun).ino;
	unsigned int lends = 0;
	struct client cl;

	(void)state;
	heal_fill(buf, sizeof(buf), 5);
	client_new(&cl, &h, h.lun);
	for (unsigned int i = 0; i < 6; i++) {
		for (uint64_t at = 0; at < 20 << 20; at += sizeof(buf))
			HEAL_OK(client_write(cl.c, ino, at, buf, sizeof(buf),
					     &err_));
		HEAL_OK(cfs_container_fold(cl.c, &err_));
		if (i == 3)
			lends = cl.lends;
	}
	assert_true(cl.lent_by_folds > 0);
	assert_true(cl.lends - lends < 40);
	/* Not when it is about to stop. */
	for (uint64_t at = 0; at < 20 << 20; at += sizeof(buf))
		HEAL_OK(client_write(cl.c, ino, at, buf, sizeof(buf), &err_));
	cl.lent_by_folds = 0;
	HEAL_OK(cfs_container_give_back(cl.c, true, &err_));
	assert_int_equal(cl.lent_by_folds, 0);
	client_close(&cl);
	heal_check_clean(&h);
	heal_free(&h);
}

/*
 * A log whose last extent is too short for most frames: its writer does not
 * come to fold with each sync.
 */
static void test_short_extent(void **state)
{
	struct world w;
	uint64_t blocks = 0;

	(void)state;
	world_new(&w);
	client_close(&w.cl);
	client_make(&w.cl, w.h.lun, 130);
	for (uint32_t i = 0; i < w.cl.rec.extent_count; i++)
		blocks += w.cl.rec.extents[i].block_count;
	assert_int_equal(blocks, 130);
	client_open_on(&w.cl, w.h.set, w.h.lun, true);
	for (unsigned int i = 0; i < 40; i++) {
		scatter(&w, 30, 100 * i);
		HEAL_OK(cfs_container_sync(w.cl.c, &err_));
	}
	print_message("%u folds, %u extents\n", w.cl.folds,
		      w.cl.rec.extent_count);
	assert_in_range(w.cl.folds, 1, 20);
	/* What is behind the last fold is found in the log. */
	client_kill(&w.cl);
	HEAL_OK(cfs_container_client_gone(w.h.lun->container, w.cl.id, NULL,
					  &err_));
	must_be_scattered(&w, 30, 100 * 39);
	world_end(&w);
}

/* A tag page in a group that is lent is bad: that group is lent no more. */
static void test_bad_page(void **state)
{
	struct world w;
	struct cfs_loans loans = { .count = 0 };
	uint64_t vaddr, page, key;

	(void)state;
	world_new(&w);
	client_close(&w.cl);
	vaddr = heal_block(w.h.lun->container, CFS_TAG_DATA, w.ino, 7, NULL);
	heal_reopen(&w.h);
	key = cfs_vaddr(cfs_vaddr_lslice(vaddr),
			cfs_geometry_group(cfs_metavolume_geometry(
						   cfs_container_metavolume(
							   w.h.lun->container)),
					   cfs_vaddr_block(vaddr)));
	for (unsigned int slot = 0; slot < 2; slot++) {
		page = cfs_vaddr(cfs_vaddr_lslice(vaddr),
				 cfs_geometry_tags_block(
					 cfs_metavolume_geometry(
						 cfs_container_metavolume(
							 w.h.lun->container)),
					 cfs_vaddr_block(key), slot));
		heal_hurt(&w.h, w.h.lun->container, page, 0);
	}
	client_new(&w.cl, &w.h, w.h.lun);
	scatter(&w, SCATTERED, 100);
	HEAL_OK(cfs_container_fold(w.cl.c, &err_));
	must_be_scattered(&w, SCATTERED, 100);
	HEAL_OK(cfs_container_give_back(w.cl.c, true, &err_));
	/* All that there is. */
	while (client_lend(&w.cl, 64, &loans, NULL) == 0) {
		for (size_t i = 0; i < loans.count; i++)
			assert_true(loans.items[i].key != key);
		cfs_loans_donep(&loans);
	}
	client_kill(&w.cl);
	HEAL_OK(cfs_container_client_gone(w.h.lun->container, w.cl.id, NULL,
					  &err_));
	heal_free(&w.h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_no_blocks),
		cmocka_unit_test(test_other_piece),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_short_extent),
		cmocka_unit_test(test_bad_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
