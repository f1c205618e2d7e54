// SPDX-License-Identifier: GPL-3.0-or-later
/* Making pools on open devices: of any size, with the same few writes. */
#include "device/sim.h"
#include "pool/devset.h"
#include "pool/holder.h"
#include "session/format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const char *const names[] = { "left", "right" };

/* Bytes and flushes in the record of @sim. */
static uint64_t written(const struct cfs_sim *sim, unsigned int *ret_flushes)
{
	uint64_t bytes = 0;
	size_t i;

	*ret_flushes = 0;
	for (i = 0; i < cfs_sim_event_count(sim); i++) {
		struct cfs_sim_event e = cfs_sim_event(sim, i);

		*ret_flushes += e.kind == CFS_SIM_FLUSH;
		bytes += e.kind == CFS_SIM_WRITE ? e.length_bytes : 0;
	}
	return bytes;
}

/* The labels that were written make a pool of @count devices. */
static void assert_is_pool(struct cfs_sim *sim, unsigned int count)
{
	const struct cfs_devset_options opt = { .is_writable = false };
	struct cfs_dev *devices[2];
	struct cfs_devset *set = NULL;
	struct cfs_err err = CFS_ERR_INIT;
	unsigned int i;

	for (i = 0; i < count; i++)
		assert_int_equal(cfs_sim_dev_open(sim, i, &devices[i], &err),
				 0);
	assert_int_equal(
		cfs_devset_from_devices(devices, count, &opt, &set, &err), 0);
	assert_int_equal(cfs_devset_count(set), count);
	cfs_devset_close(set);
}

static void check(uint64_t size_bytes, unsigned int count)
{
	const struct cfs_format_options opt = {
		.devices = names,
		.device_count = count,
		.is_mirror = count > 1,
	};
	struct cfs_format_result result;
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_dev *devices[2];
	struct cfs_sim *sim = NULL;
	unsigned int i, flushes;

	assert_int_equal(cfs_sim_new(&sim, &err), 0);
	for (i = 0; i < count; i++)
		assert_int_equal(
			cfs_sim_dev_new(sim, size_bytes, &devices[i], &err), 0);
	assert_int_equal(cfs_format_devices(devices, &opt, &result, &err), 0);
	assert_true(written(sim, &flushes) < (UINT64_C(1) << 20) * count);
	assert_int_equal(flushes, count);
	assert_true(result.capacity_bytes > size_bytes / 2);
	assert_true(result.capacity_bytes < size_bytes);
	assert_is_pool(sim, count);
	cfs_sim_free(sim);
}

static void test_sizes(void **state)
{
	(void)state;
	check(UINT64_C(64) << 20, 1);
	check(UINT64_C(10) << 30, 1);
	check(UINT64_C(1) << 50, 1);
	check(UINT64_C(1) << 50, 2);
}

static void test_refused(void **state)
{
	struct cfs_format_options opt = { .devices = names, .device_count = 1 };
	struct cfs_format_result result;
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_sim *sim = NULL;
	struct cfs_dev *dev = NULL;
	unsigned int flushes;

	(void)state;
	assert_int_equal(cfs_sim_new(&sim, &err), 0);
	assert_int_equal(cfs_sim_dev_new(sim, UINT64_C(63) << 20, &dev, &err),
			 0);
	assert_int_equal(cfs_format_devices(&dev, &opt, &result, &err),
			 -EINVAL);
	assert_string_equal(err.msg, "left: too small: a device has 64 MiB at "
				     "least");
	opt.is_mirror = true;
	assert_int_equal(cfs_sim_dev_open(sim, 0, &dev, &err), 0);
	assert_int_equal(cfs_format_devices(&dev, &opt, &result, &err),
			 -EINVAL);
	opt.is_mirror = false;
	opt.is_dry_run = true;
	assert_int_equal(cfs_sim_dev_open(sim, 0, &dev, &err), 0);
	assert_int_equal(cfs_format_devices(&dev, &opt, &result, &err),
			 -EINVAL);
	assert_int_equal(written(sim, &flushes), 0);
	cfs_sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
