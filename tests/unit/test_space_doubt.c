/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A group is lent while one of the two slots of its tag page cannot be read for
 * a moment: the other may be older, and a page made of that would forget the
 * tags of what was written last.  Whichever read fails, nothing is lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/device_priv.h"
#include "heal_fixture.h"

#define BLOCKS 20u

static struct cfs_dev_ops failing;
static const struct cfs_dev_ops *well;
static unsigned int reads, fails_at;

static int fail_transfer(struct cfs_dev *dev, enum cfs_io_op op,
			 uint64_t offset_bytes, void *buf, size_t length_bytes)
{
	if (op == CFS_IO_READ && ++reads == fails_at)
		return -EIO;
	return well->transfer(dev, op, offset_bytes, buf, length_bytes);
}

/* One page, committed; what fails of that is not asked here. */
static void write_page(struct heal_pool *h)
{
	const struct cfs_volume_rec rec = heal_volume(h->lun);
	struct cfs_container *c = h->lun->container;
	uint8_t buf[HEAL_BLOCK] = { 1 };

	if (cfs_op_begin(c, CFS_OP_NORMAL, NULL) < 0)
		return;
	if (cfs_data_write(c, (uint16_t)rec.head_branch, rec.ino,
			   100 * HEAL_BLOCK, buf, sizeof(buf), NULL) < 0) {
		cfs_op_abort(c);
		return;
	}
	cfs_op_end(c);
	(void)cfs_container_commit(c, NULL);
}

/* False: there are not so many reads. */
static bool lose_one(unsigned int at, bool is_mirror)
{
	struct heal_pool h = heal_new(is_mirror, 128 * HEAL_BLOCK);
	bool was_hit;

	heal_write(h.lun, 0, BLOCKS, 1);
	/* The group that has them is nobody's now. */
	heal_reopen(&h);
	reads = 0;
	fails_at = at;
	for (unsigned int i = 0; i < cfs_devset_count(h.set); i++) {
		struct cfs_dev *dev = cfs_devset_dev(h.set, i);

		well = dev->ops;
		failing = *well;
		failing.transfer = fail_transfer;
		failing.start = NULL;
		dev->ops = &failing;
	}
	write_page(&h);
	was_hit = reads >= at;
	fails_at = 0;
	cfs_pool_drop(h.pool);
	heal_open(&h, false);
	heal_members(&h);
	assert_int_equal(heal_read(h.lun, 0, BLOCKS, 1), 0);
	heal_check_clean(&h);
	for (unsigned int i = 0; i < cfs_devset_count(h.set); i++)
		cfs_devset_dev(h.set, i)->ops = well;
	heal_free(&h);
	return was_hit;
}

static void test_one_slot(void **state)
{
	unsigned int at = 1;

	(void)state;
	while (lose_one(at, false))
		at++;
	assert_true(at > 3);
}

static void test_mirror(void **state)
{
	unsigned int at = 1;

	(void)state;
	while (lose_one(at, true))
		at++;
	assert_true(at > 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_slot),
		cmocka_unit_test(test_mirror),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
