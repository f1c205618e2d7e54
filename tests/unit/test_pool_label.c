/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Labels on devices: any one of the four copies is enough, and no crash
 * leaves a device without a label.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "device/sim.h"
#include "pool_fixture.h"

#define SIZE POOL_FIXTURE_BYTES

static struct cfs_dev *formatted(void)
{
	struct cfs_label label = pool_fixture_label(0, 1, SIZE, 0, NULL);
	struct cfs_dev *dev;

	assert_int_equal(cfs_dev_mem_new(SIZE, &dev, NULL), 0);
	assert_int_equal(cfs_label_write(dev, &label, NULL), 0);
	return dev;
}

static void damage(struct cfs_dev *dev, unsigned int copy, uint64_t size)
{
	uint64_t at = cfs_label_offset_bytes(copy, size) + 200;
	uint8_t byte;

	assert_int_equal(cfs_dev_read(dev, at, &byte, 1, NULL), 0);
	byte ^= 4;
	assert_int_equal(cfs_dev_write(dev, at, &byte, 1, NULL), 0);
}

static void test_any_copy_is_enough(void **state)
{
	unsigned int mask, copy, bad;
	struct cfs_label label;

	(void)state;
	for (mask = 0; mask < 15; mask++) {
		struct cfs_dev *dev = formatted();

		for (copy = 0; copy < 4; copy++)
			if (mask >> copy & 1)
				damage(dev, copy, SIZE);
		assert_int_equal(cfs_label_read(dev, &label, &bad, NULL), 0);
		assert_int_equal(bad, __builtin_popcount(mask));
		assert_int_equal(label.seq, 2);
		assert_string_equal(label.name, "fixture");
		cfs_dev_close(dev);
	}
}

static void test_no_copy(void **state)
{
	struct cfs_dev *dev = formatted();
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_label label;
	unsigned int copy;

	(void)state;
	for (copy = 0; copy < 4; copy++)
		damage(dev, copy, SIZE);
	assert_int_equal(cfs_label_read(dev, &label, NULL, &err), -EUCLEAN);
	assert_non_null(strstr(err.msg, "no copy of its label is valid"));
	cfs_dev_close(dev);
}

static void test_zeroes_are_not_cfs(void **state)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_label label;
	struct cfs_dev *dev;

	(void)state;
	assert_int_equal(cfs_dev_mem_new(SIZE, &dev, NULL), 0);
	assert_int_equal(cfs_label_read(dev, &label, NULL, &err), -EMEDIUMTYPE);
	assert_non_null(strstr(err.msg, "not a cfs device"));
	cfs_dev_close(dev);
	/* Too small for any copy. */
	assert_int_equal(cfs_dev_mem_new(1000, &dev, NULL), 0);
	assert_int_equal(cfs_label_read(dev, &label, NULL, NULL), -EMEDIUMTYPE);
	cfs_dev_close(dev);
}

/* One whole copy of a newer format is enough to keep away. */
static void test_newer(void **state)
{
	struct cfs_dev *dev = formatted();
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_label label = pool_fixture_label(0, 1, SIZE, 0, NULL);
	struct cfs_page_disk disk;
	uint64_t at = cfs_label_offset_bytes(1, SIZE);

	(void)state;
	label.features_incompat = UINT64_C(1) << 40;
	cfs_label_pack(&label, at, &disk);
	assert_int_equal(cfs_dev_write(dev, at, &disk, sizeof(disk), NULL), 0);
	assert_int_equal(cfs_label_read(dev, &label, NULL, &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "newer version"));
	cfs_dev_close(dev);
}

/* Labels of another pool that a crash leaves beside ours do not win. */
static void test_seq_rises_over_another_pool(void **state)
{
	struct cfs_dev *dev = formatted();
	struct cfs_label label, ours = pool_fixture_label(0, 1, SIZE, 0, NULL);

	(void)state;
	ours.seq = 900;
	assert_int_equal(cfs_label_write(dev, &ours, NULL), 0);
	ours.seq = 0;
	ours.pool_uuid[3] = 77;
	assert_int_equal(cfs_label_write(dev, &ours, NULL), 0);
	assert_int_equal(cfs_label_read(dev, &label, NULL, NULL), 0);
	assert_int_equal(label.seq, 902);
	assert_int_equal(label.pool_uuid[3], 77);
	cfs_dev_close(dev);
}

/* The file grew behind our back: the tail copies are where they were. */
static void test_grown_file(void **state)
{
	struct cfs_dev *dev = formatted();
	struct cfs_label label;
	unsigned int bad;

	(void)state;
	assert_int_equal(cfs_dev_resize(dev, 3 * SIZE, NULL), 0);
	damage(dev, 0, SIZE);
	assert_int_equal(cfs_label_read(dev, &label, &bad, NULL), 0);
	assert_int_equal(bad, 1);
	assert_int_equal(label.size_bytes, SIZE);
	cfs_dev_close(dev);
}

/*
 * From a label to its successor (also one of a grown device): a crash after
 * each event, with each choice of what survives, leaves the old or the new;
 * after a crash behind the end it is the new one.
 */
static void crash_sweep(uint64_t new_size)
{
	struct cfs_label label = pool_fixture_label(0, 1, SIZE, 0, NULL);
	struct cfs_sim *sim;
	struct cfs_dev *dev;
	size_t events, i;
	uint64_t seed;

	assert_int_equal(cfs_sim_new(&sim, NULL), 0);
	assert_int_equal(cfs_sim_dev_new(sim, new_size, &dev, NULL), 0);
	assert_int_equal(cfs_label_write(dev, &label, NULL), 0);
	cfs_sim_checkpoint(sim);
	label.seq = 2;
	label.size_bytes = new_size;
	strcpy(label.name, "second");
	/* A difference in each sector, so that a torn copy is no label. */
	for (i = 0; i < CFS_LABEL_HINT_COUNT; i++) {
		label.hints[i].device_uuid[0] = (uint8_t)(i + 1);
		strcpy(label.hints[i].path, "/dev/second");
	}
	assert_int_equal(cfs_label_write(dev, &label, NULL), 0);
	events = cfs_sim_event_count(sim);
	assert_true(events >= 6);
	for (i = 0; i <= events; i++) {
		for (seed = 0; seed < 40; seed++) {
			const struct cfs_sim_crash crash = {
				.event_count = i,
				.seed = seed == 39 ? UINT64_MAX : seed,
			};
			struct cfs_dev *image;
			struct cfs_label found;

			assert_int_equal(cfs_sim_crash_image(sim, &crash, 0,
							     &image, NULL),
					 0);
			assert_int_equal(
				cfs_label_read(image, &found, NULL, NULL), 0);
			assert_string_equal(found.name, found.seq == 3
								? "second"
								: "fixture");
			if (i == events)
				assert_int_equal(found.seq, 3);
			cfs_dev_close(image);
		}
	}
	cfs_dev_close(dev);
	cfs_sim_free(sim);
}

static void test_crash(void **state)
{
	(void)state;
	crash_sweep(SIZE);
}

static void test_crash_growing(void **state)
{
	(void)state;
	crash_sweep(2 * SIZE);
}

static void test_failing_device(void **state)
{
	struct cfs_label label = pool_fixture_label(0, 1, SIZE, 0, NULL);
	struct cfs_sim_fault fault = { .code = -EIO };
	struct cfs_sim *sim;
	struct cfs_dev *dev;
	unsigned int bad;

	(void)state;
	assert_int_equal(cfs_sim_new(&sim, NULL), 0);
	assert_int_equal(cfs_sim_dev_new(sim, SIZE, &dev, NULL), 0);
	assert_int_equal(cfs_label_write(dev, &label, NULL), 0);
	/* A copy that cannot be read is one bad copy, no failure. */
	assert_int_equal(cfs_sim_latent_error(dev, 4096, 512, NULL), 0);
	assert_int_equal(cfs_label_read(dev, &label, &bad, NULL), 0);
	assert_int_equal(bad, 1);
	/* All reads fail: that is no "not cfs". */
	fault.is_sticky = true;
	cfs_sim_fault_arm(sim, &fault);
	assert_int_equal(cfs_label_read(dev, &label, NULL, NULL), -EIO);
	cfs_dev_close(dev);
	cfs_sim_free(sim);
}

static void test_label_too_large(void **state)
{
	struct cfs_label label = pool_fixture_label(0, 1, SIZE, 0, NULL);
	struct cfs_dev *dev;

	(void)state;
	assert_int_equal(cfs_dev_mem_new(SIZE / 2, &dev, NULL), 0);
	assert_int_equal(cfs_label_write(dev, &label, NULL), -EINVAL);
	cfs_dev_close(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_copy_is_enough),
		cmocka_unit_test(test_no_copy),
		cmocka_unit_test(test_zeroes_are_not_cfs),
		cmocka_unit_test(test_newer),
		cmocka_unit_test(test_seq_rises_over_another_pool),
		cmocka_unit_test(test_grown_file),
		cmocka_unit_test(test_crash),
		cmocka_unit_test(test_crash_growing),
		cmocka_unit_test(test_failing_device),
		cmocka_unit_test(test_label_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
