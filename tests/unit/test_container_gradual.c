/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A commit made in steps between syncs: it comes to its end by itself, beside
 * writes to the very pages that it brings home; what was synced is there
 * whenever the process is killed, and what was not is not; whatever else is
 * done ends it first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/device_priv.h"
#include "heal_fixture.h"
#include "tree/container_gradual.h"

#define LUN_BLOCKS 1024u
#define PAGES      60u

/* Whoever asks for it ends the commit. */
static struct cfs_volume_rec rec;

static struct cfs_container *container_of(const struct heal_pool *h)
{
	return h->lun->container;
}

static uint64_t root_seq(const struct heal_pool *h)
{
	return cfs_container_root_seq(container_of(h));
}

static bool is_on(const struct heal_pool *h)
{
	return container_of(h)->gradual.is_on;
}

/* One block, in memory; with @undone it is not. */
static void put(struct heal_pool *h, uint64_t block, uint64_t seed, bool undone)
{
	struct cfs_container *c = container_of(h);
	uint8_t buf[HEAL_BLOCK];

	heal_fill(buf, sizeof(buf), seed);
	HEAL_OK(cfs_op_begin_pages(c, 8, &err_));
	HEAL_OK(cfs_data_write(c, (uint16_t)rec.head_branch, rec.ino,
			       block * HEAL_BLOCK, buf, sizeof(buf), &err_));
	if (undone)
		cfs_op_abort(c);
	else
		cfs_op_end(c);
}

static void sync_all(struct heal_pool *h)
{
	HEAL_OK(cfs_container_sync(container_of(h), &err_));
}

/* What a look at it says that ends nothing. */
static int look(struct heal_pool *h, uint64_t block, uint64_t seed)
{
	uint8_t want[HEAL_BLOCK], got[HEAL_BLOCK];
	struct cfs_view view;

	heal_fill(want, sizeof(want), seed);
	cfs_volume_view(h->lun, &rec, &view);
	HEAL_OK(cfs_data_read_beside(&view, rec.ino, block * HEAL_BLOCK, got,
				     sizeof(got), NULL, &err_));
	return memcmp(got, want, sizeof(got)) == 0 ? 0 : -EBADMSG;
}

static void be_killed(struct heal_pool *h)
{
	cfs_pool_drop(h->pool);
	heal_open(h, false);
	heal_members(h);
}

/* PAGES that are logged, of which one is under way that does @work a sync. */
static struct heal_pool begun(uint64_t work)
{
	struct heal_pool h = heal_new(false, LUN_BLOCKS * HEAL_BLOCK);

	rec = heal_volume(h.lun);
	heal_write(h.lun, 0, LUN_BLOCKS / 2, 1);
	for (uint64_t i = 0; i < PAGES; i++)
		put(&h, 2 * i, 100 + i, false);
	cfs_gradual_set(1, work);
	put(&h, LUN_BLOCKS - 1, 99, false);
	sync_all(&h);
	assert_true(is_on(&h));
	return h;
}

static int teardown(void **state)
{
	(void)state;
	cfs_gradual_set(0, 0);
	return 0;
}

/* Steps, and nothing else, bring it to its end; the next one begins. */
static void test_comes_to_its_end(void **state)
{
	struct heal_pool h = begun(3);
	uint64_t seq = root_seq(&h), stamp;
	unsigned int syncs = 0;

	(void)state;
	stamp = container_of(&h)->commit_stamp;
	for (; root_seq(&h) == seq; syncs++) {
		assert_true(is_on(&h));
		put(&h, LUN_BLOCKS - 2 - syncs, 1000 + syncs, false);
		sync_all(&h);
		assert_int_equal(look(&h, 0, 100), 0);
		assert_int_equal(look(&h, LUN_BLOCKS - 2 - syncs, 1000 + syncs),
				 0);
	}
	assert_in_range(syncs, PAGES / 3, 3 * PAGES);
	assert_int_equal(container_of(&h)->root.stamp, stamp);
	/* What came since is in the log still. */
	assert_true(cfs_log_used_blocks(container_of(&h)->log) >= 2 * syncs);
	be_killed(&h);
	for (uint64_t i = 0; i < PAGES; i++)
		assert_int_equal(look(&h, 2 * i, 100 + i), 0);
	for (uint64_t i = 0; i < syncs; i++)
		assert_int_equal(look(&h, LUN_BLOCKS - 2 - i, 1000 + i), 0);
	heal_check_clean(&h);
	heal_free(&h);
}

/*
 * Pages that change while it has them (true: it did): what was synced is there
 * behind it, though its frame is given up, until the new content is synced as
 * well.
 */
static bool rewrite(uint64_t work, unsigned int syncs, bool is_synced)
{
	struct heal_pool h = begun(work);
	bool was_on;

	for (unsigned int i = 0; i < syncs; i++) {
		put(&h, LUN_BLOCKS - 2 - i, 1000 + i, false);
		sync_all(&h);
	}
	was_on = is_on(&h);
	for (uint64_t i = 0; i < PAGES; i += 2)
		put(&h, 2 * i, 500 + i, false);
	if (is_synced)
		sync_all(&h);
	for (uint64_t i = 0; i < PAGES; i++)
		assert_int_equal(look(&h, 2 * i, (i % 2 ? 100 : 500) + i), 0);
	cfs_container_lock(container_of(&h));
	assert_false(is_on(&h));
	cfs_container_unlock(container_of(&h));
	for (uint64_t i = 0; i < PAGES; i++)
		assert_int_equal(look(&h, 2 * i, (i % 2 ? 100 : 500) + i), 0);
	be_killed(&h);
	for (uint64_t i = 0; i < PAGES; i++)
		assert_int_equal(
			look(&h, 2 * i, (i % 2 || !is_synced ? 100 : 500) + i),
			0);
	heal_check_clean(&h);
	heal_free(&h);
	return was_on;
}

static void test_rewritten(void **state)
{
	unsigned int count = 0;

	(void)state;
	for (unsigned int syncs = 0; syncs < 40; syncs += 3) {
		count += rewrite(3, syncs, false);
		count += rewrite(3, syncs, true);
	}
	assert_true(count > 20);
}

/* An operation that is undone leaves the page, and what goes home. */
static void test_undone(void **state)
{
	struct heal_pool h = begun(3);

	(void)state;
	put(&h, 0, 7, true);
	put(&h, 2, 8, false);
	put(&h, 2, 9, true);
	put(&h, LUN_BLOCKS - 5, 10, true);
	assert_true(is_on(&h));
	assert_int_equal(look(&h, 0, 100), 0);
	assert_int_equal(look(&h, 2, 8), 0);
	HEAL_OK(cfs_container_commit(container_of(&h), &err_));
	assert_false(is_on(&h));
	assert_int_equal(look(&h, 0, 100), 0);
	assert_int_equal(look(&h, 2, 8), 0);
	be_killed(&h);
	assert_int_equal(look(&h, 0, 100), 0);
	assert_int_equal(look(&h, 2, 8), 0);
	heal_check_clean(&h);
	heal_free(&h);
}

/* A snapshot shows what was there, whichever stage it meets. */
static void test_snapshot(void **state)
{
	(void)state;
	for (unsigned int syncs = 0; syncs < 60; syncs += 5) {
		struct heal_pool h = begun(4);
		struct cfs_snapshot_rec snap;
		struct cfs_view view;
		uint8_t want[HEAL_BLOCK], got[HEAL_BLOCK];
		uint64_t stamp;

		for (unsigned int i = 0; i < syncs; i++) {
			put(&h, LUN_BLOCKS - 2 - i, 1000 + i, false);
			sync_all(&h);
		}
		put(&h, 0, 7, false);
		heal_snapshot(h.lun, "s");
		put(&h, 0, 8, false);
		put(&h, 2, 9, false);
		sync_all(&h);
		put(&h, 2, 10, false);
		sync_all(&h);
		be_killed(&h);
		assert_int_equal(look(&h, 0, 8), 0);
		assert_int_equal(look(&h, 2, 10), 0);
		HEAL_OK(cfs_snapshot_find(h.lun, CFS_VOLUME_FIRST, "s", &stamp,
					  &snap, &err_));
		view = (struct cfs_view){ container_of(&h),
					  (uint16_t)snap.branch, stamp };
		for (unsigned int i = 0; i < 2; i++) {
			heal_fill(want, sizeof(want), i == 0 ? 7 : 101);
			HEAL_OK(cfs_data_read_beside(
				&view, rec.ino, 2 * (uint64_t)i * HEAL_BLOCK,
				got, sizeof(got), NULL, &err_));
			assert_memory_equal(got, want, sizeof(got));
		}
		heal_check_clean(&h);
		heal_free(&h);
	}
}

/* ---- a device that fails -------------------------------------------------- */

static struct cfs_dev_ops failing;
static const struct cfs_dev_ops *well;
static unsigned int writes_left;

static int fail_transfer(struct cfs_dev *dev, enum cfs_io_op op,
			 uint64_t offset_bytes, void *buf, size_t length_bytes)
{
	if (op == CFS_IO_WRITE && writes_left && --writes_left == 0)
		return -EIO;
	return well->transfer(dev, op, offset_bytes, buf, length_bytes);
}

/* Whichever write fails: the container is closed, and what was acknowledged is
 * there when it is opened again. */
static void test_failure(void **state)
{
	(void)state;
	for (unsigned int at = 1; at < 260; at += 7) {
		struct heal_pool h = begun(5);
		struct cfs_dev *dev = cfs_devset_dev(h.set, 0);
		unsigned int synced = 0;

		well = dev->ops;
		failing = *well;
		failing.transfer = fail_transfer;
		failing.start = NULL;
		writes_left = at;
		dev->ops = &failing;
		while (synced < 200 &&
		       cfs_container_is_writable(container_of(&h))) {
			put(&h, LUN_BLOCKS - 2 - synced, 1000 + synced, false);
			if (cfs_container_sync(container_of(&h), NULL) < 0)
				break;
			synced++;
		}
		assert_true(synced < 200);
		assert_int_equal(look(&h, 0, 100), 0);
		dev->ops = well;
		be_killed(&h);
		for (uint64_t i = 0; i < PAGES; i++)
			assert_int_equal(look(&h, 2 * i, 100 + i), 0);
		for (uint64_t i = 0; i < synced; i++)
			assert_int_equal(look(&h, LUN_BLOCKS - 2 - i, 1000 + i),
					 0);
		heal_check_clean(&h);
		heal_free(&h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_comes_to_its_end, teardown),
		cmocka_unit_test_teardown(test_rewritten, teardown),
		cmocka_unit_test_teardown(test_undone, teardown),
		cmocka_unit_test_teardown(test_snapshot, teardown),
		cmocka_unit_test_teardown(test_failure, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
