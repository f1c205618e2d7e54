/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A commit of many blocks: the device has the first while the rest is still
 * gathered, a bounded number of parts at a time; none is under way behind its
 * end; and one that fails is told, whichever it was, and closes the container.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/device_priv.h"
#include "heal_fixture.h"

#define PAGES 3000u /* six parts of data, and nodes */

static struct cfs_dev_ops watching;
static const struct cfs_dev_ops *plain;

static struct {
	int in_air, most_in_air;
	unsigned int parts;
	unsigned int fails_at; /* the part; 0: none */
} seen;

/* Done when it is begun. */
static int watch_start(struct cfs_dev *dev, struct cfs_io *ios, size_t count,
		       void **ret_batch)
{
	const bool is_write = ios[0].op == CFS_IO_WRITE;
	const bool fails = is_write && ++seen.parts == seen.fails_at;

	for (size_t i = 0; i < count; i++)
		if (ios[i].result == CFS_IO_PENDING)
			ios[i].result = fails ? -EIO
					      : plain->transfer(
							dev, ios[i].op,
							ios[i].offset_bytes,
							ios[i].buf,
							ios[i].length_bytes);
	seen.in_air++;
	seen.most_in_air = CFS_MAX(seen.most_in_air, seen.in_air);
	*ret_batch = dev;
	return 0;
}

static void watch_wait(struct cfs_dev *dev, void *batch)
{
	assert_ptr_equal(dev, batch);
	seen.in_air--;
}

static void watch(struct heal_pool *h)
{
	memset(&seen, 0, sizeof(seen));
	plain = cfs_devset_dev(h->set, 0)->ops;
	watching = *plain;
	watching.start = watch_start;
	watching.wait = watch_wait;
	cfs_devset_dev(h->set, 0)->ops = &watching;
}

/* Every other block, in memory. */
static void dirty(struct heal_pool *h, uint64_t seed)
{
	const struct cfs_volume_rec rec = heal_volume(h->lun);
	struct cfs_container *c = h->lun->container;
	uint8_t block[HEAL_BLOCK];

	for (uint64_t i = 0; i < PAGES; i++) {
		heal_fill(block, sizeof(block), seed + i);
		HEAL_OK(cfs_op_begin(c, CFS_OP_NORMAL, &err_));
		HEAL_OK(cfs_data_write(c, (uint16_t)rec.head_branch, rec.ino,
				       2 * i * HEAL_BLOCK, block, HEAL_BLOCK,
				       &err_));
		cfs_op_end(c);
	}
}

static void check(struct heal_pool *h, uint64_t seed)
{
	for (uint64_t i = 0; i < PAGES; i++)
		assert_int_equal(heal_read(h->lun, 2 * i, 1, seed + i), 0);
}

static struct heal_pool pool_new(void)
{
	return heal_new_of(false, UINT64_C(256) << 20, UINT64_C(64) << 20);
}

static void test_many(void **state)
{
	struct heal_pool h = pool_new();

	(void)state;
	dirty(&h, 1);
	watch(&h);
	HEAL_OK(cfs_container_commit(h.lun->container, &err_));
	assert_int_equal(seen.in_air, 0);
	assert_in_range(seen.most_in_air, 2, 8);
	check(&h, 1);
	cfs_devset_dev(h.set, 0)->ops = plain;
	heal_reopen(&h);
	check(&h, 1);
	heal_free(&h);
}

/* All of it or nothing, whichever part fails. */
static void test_failure(void **state)
{
	bool has_failed = true;

	(void)state;
	for (unsigned int at = 1; has_failed; at++) {
		struct heal_pool h = pool_new();
		struct cfs_err err = CFS_ERR_INIT;
		int r;

		dirty(&h, 0);
		HEAL_OK(cfs_container_commit(h.lun->container, &err_));
		dirty(&h, PAGES);
		watch(&h);
		seen.fails_at = at;
		r = cfs_container_commit(h.lun->container, &err);
		assert_int_equal(seen.in_air, 0);
		has_failed = seen.parts >= at;
		assert_int_equal(r, has_failed ? -EIO : 0);
		if (has_failed) {
			assert_string_not_equal(err.msg, "");
			assert_int_equal(
				cfs_container_sync(h.lun->container, NULL),
				-EROFS);
		}
		cfs_devset_dev(h.set, 0)->ops = plain;
		cfs_pool_drop(h.pool);
		heal_open(&h, false);
		heal_members(&h);
		check(&h, has_failed ? 0 : PAGES);
		heal_free(&h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
