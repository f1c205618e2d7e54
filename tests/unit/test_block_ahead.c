/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Small reads in a row: few requests of the device, the same bytes; what is
 * written or damaged meanwhile is seen; and reads here and there are what they
 * were.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/device_priv.h"
#include "heal_fixture.h"

#define BLOCKS    256u
#define LUN_BYTES ((uint64_t)BLOCKS * HEAL_BLOCK)

static struct cfs_dev_ops counting;
static const struct cfs_dev_ops *plain;
static unsigned int reads;
static bool is_lame; /* longer reads fail */

static int count_transfer(struct cfs_dev *dev, enum cfs_io_op op,
			  uint64_t offset_bytes, void *buf, size_t length_bytes)
{
	reads += op == CFS_IO_READ;
	if (op == CFS_IO_READ && is_lame && length_bytes > HEAL_BLOCK)
		return -EIO;
	return plain->transfer(dev, op, offset_bytes, buf, length_bytes);
}

struct lun {
	struct heal_pool h;
	struct cfs_volume_rec rec;
	struct cfs_view view;
	uint8_t model[LUN_BYTES];
};

static void lun_write(struct lun *l, uint64_t block, uint64_t seed)
{
	uint8_t *at = l->model + block * HEAL_BLOCK;
	struct cfs_container *c = l->view.container;

	heal_fill(at, HEAL_BLOCK, seed);
	HEAL_OK(cfs_op_begin(c, CFS_OP_NORMAL, &err_));
	HEAL_OK(cfs_data_write(c, l->view.branch, l->rec.ino,
			       block * HEAL_BLOCK, at, HEAL_BLOCK, &err_));
	cfs_op_end(c);
}

/* Each block has an extent of its own, one place behind the other. */
static struct lun *lun_new(void)
{
	struct lun *l = calloc(1, sizeof(*l));
	struct cfs_dev *dev;

	assert_non_null(l);
	l->h = heal_new(false, LUN_BYTES);
	l->rec = heal_volume(l->h.lun);
	cfs_volume_view(l->h.lun, &l->rec, &l->view);
	for (uint64_t i = 0; i < BLOCKS; i++) {
		lun_write(l, i * 2 % BLOCKS + i * 2 / BLOCKS, i);
		if (i == BLOCKS / 2 - 1)
			HEAL_OK(cfs_container_commit(l->view.container, &err_));
	}
	HEAL_OK(cfs_container_commit(l->view.container, &err_));
	dev = cfs_devset_dev(l->h.set, 0);
	plain = dev->ops;
	counting = *plain;
	counting.transfer = count_transfer;
	counting.start = NULL;
	dev->ops = &counting;
	reads = 0;
	is_lame = false;
	return l;
}

static void lun_free(struct lun *l)
{
	heal_free(&l->h);
	free(l);
}

static int lun_read(struct lun *l, uint64_t block, bool is_beside)
{
	uint8_t buf[HEAL_BLOCK];
	int r;

	if (is_beside) {
		r = cfs_data_read_beside(&l->view, l->rec.ino,
					 block * HEAL_BLOCK, buf, sizeof(buf),
					 NULL, NULL);
	} else {
		cfs_container_lock(l->view.container);
		r = cfs_data_read(&l->view, l->rec.ino, block * HEAL_BLOCK, buf,
				  sizeof(buf), NULL, NULL);
		cfs_container_unlock(l->view.container);
	}
	if (r == 0)
		assert_memory_equal(buf, l->model + block * HEAL_BLOCK,
				    HEAL_BLOCK);
	return r;
}

static void test_few_requests(void **state)
{
	struct lun *l = lun_new();

	(void)state;
	for (unsigned int beside = 0; beside < 2; beside++) {
		reads = 0;
		for (uint64_t i = 0; i < BLOCKS; i += 2)
			assert_int_equal(lun_read(l, i, beside), 0);
		assert_true(reads < 16);
	}
	/* The other way round each is a read of its own, of its own length. */
	is_lame = true;
	reads = 0;
	for (uint64_t i = BLOCKS; i > 0; i -= 2)
		assert_int_equal(lun_read(l, i - 2, true), 0);
	assert_int_equal(reads, BLOCKS / 2);
	is_lame = false;
	lun_free(l);
}

static void test_written_meanwhile(void **state)
{
	struct lun *l = lun_new();

	(void)state;
	for (uint64_t i = 0; i < 10; i += 2)
		assert_int_equal(lun_read(l, i, true), 0);
	lun_write(l, 20, 1001);
	lun_write(l, 22, 1002);
	HEAL_OK(cfs_container_commit(l->view.container, &err_));
	lun_write(l, 22, 1003);
	for (uint64_t i = 10; i < 60; i += 2)
		assert_int_equal(lun_read(l, i, i % 4), 0);
	heal_check_clean(&l->h);
	lun_free(l);
}

/* What was handed out once is asked of the device again; what does not come
 * in one piece comes block by block. */
static void test_damage(void **state)
{
	struct lun *l = lun_new();
	struct cfs_tag tag;
	uint64_t vaddr;

	(void)state;
	for (uint64_t i = 0; i < 40; i += 2)
		assert_int_equal(lun_read(l, i, true), 0);
	vaddr = heal_block(l->view.container, CFS_TAG_DATA, l->rec.ino, 5,
			   &tag);
	heal_hurt(&l->h, l->view.container, vaddr, 0);
	assert_int_equal(lun_read(l, tag.offset, true), -EUCLEAN);
	assert_int_equal(lun_read(l, tag.offset, false), -EUCLEAN);
	is_lame = true;
	for (uint64_t i = 100; i < 200; i += 2)
		assert_int_equal(lun_read(l, i, i % 4), 0);
	lun_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_few_requests),
		cmocka_unit_test(test_written_meanwhile),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
