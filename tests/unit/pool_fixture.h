/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Small pools on memory devices for tests of what lies above: labels and the
 * first seat are formatted as mkcfs would, everything else is zeroes.
 * Identities follow from the index, so that two runs make the same bytes.
 */
#pragma once

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "device/device.h"
#include "pool/devset.h"
#include "pool/holder.h"

#define POOL_FIXTURE_BYTES       CFS_DEVICE_BYTES_MIN
#define POOL_FIXTURE_SLICE_BYTES CFS_SLICE_BYTES_MIN
#define POOL_FIXTURE_MAX         16u

static inline void pool_fixture_uuid(uint8_t ret[16], uint8_t kind,
				     uint32_t index)
{
	memset(ret, 0, 16);
	ret[0] = kind;
	ret[14] = (uint8_t)(index >> 8);
	ret[15] = (uint8_t)index;
	memset(ret + 8, kind, 4);
}

/* The path, or where that is too long its last component. */
static inline void pool_fixture_hint(char ret[CFS_LABEL_HINT_PATH_BYTES],
				     const char *path)
{
	if (strlen(path) >= CFS_LABEL_HINT_PATH_BYTES)
		path = strrchr(path, '/') + 1;
	memcpy(ret, path, strlen(path) + 1);
}

/* The label of device @index of @count, with hints at the others' @names (or
 * none if NULL). */
static inline struct cfs_label pool_fixture_label(uint32_t index,
						  uint32_t count,
						  uint64_t size_bytes,
						  uint32_t flags,
						  const char *const *names)
{
	struct cfs_label label = {
		.seq = 1,
		.name = "fixture",
		.size_bytes = size_bytes,
		.slice_bytes = POOL_FIXTURE_SLICE_BYTES,
		.slices_offset_bytes = CFS_SLICES_OFFSET_LOCAL,
		.slice_count = cfs_device_slice_count(size_bytes,
						      CFS_SLICES_OFFSET_LOCAL,
						      POOL_FIXTURE_SLICE_BYTES),
		.created_ns = 1,
		.flags = flags,
		.seat_count = CFS_SEAT_COUNT_LOCAL,
		.device_index = index,
		.device_count = count,
	};
	unsigned int hint = 0;
	uint32_t i;

	pool_fixture_uuid(label.pool_uuid, 0xf0, 0);
	pool_fixture_uuid(label.device_uuid, 0xd0, index);
	for (i = 0; i < count && hint < CFS_LABEL_HINT_COUNT; i++) {
		if (i == index)
			continue;
		pool_fixture_uuid(label.hints[hint].device_uuid, 0xd0, i);
		if (names)
			pool_fixture_hint(label.hints[hint].path, names[i]);
		hint++;
	}
	return label;
}

/* Format @devices (theirs in that order) as a pool.  0 or negative errno. */
static inline int pool_fixture_format(struct cfs_dev *const *devices,
				      uint32_t count, uint32_t flags,
				      const char *const *names,
				      struct cfs_err *err)
{
	uint32_t i;
	int r = 0;

	for (i = 0; i < count && r == 0; i++) {
		struct cfs_label label = pool_fixture_label(
			i, count, cfs_dev_size_bytes(devices[i]), flags, names);

		r = cfs_label_write(devices[i], &label, err);
	}
	return r;
}

/* The first seat of a pool whose labels stand; no roots. */
static inline int pool_fixture_seat(struct cfs_devset *set, struct cfs_err *err)
{
	const struct cfs_place roots[CFS_ROOT_PLACES_MAX] = {
		{ .is_used = false },
	};

	return cfs_seat_format(set, roots, err);
}

/*
 * A formatted pool of @count memory devices of @size_bytes, open to write.
 * NULL: it failed, @err says why.
 */
static inline struct cfs_devset *pool_fixture_mem(uint32_t count,
						  uint64_t size_bytes,
						  uint32_t flags,
						  struct cfs_err *err)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	struct cfs_dev *devices[POOL_FIXTURE_MAX];
	struct cfs_devset *set;
	uint32_t i;
	int r = 0;

	assert(count <= POOL_FIXTURE_MAX);
	for (i = 0; i < count && r == 0; i++)
		r = cfs_dev_mem_new(size_bytes, &devices[i], err);
	if (r == 0)
		r = pool_fixture_format(devices, count, flags, NULL, err);
	if (r == 0)
		r = cfs_devset_from_devices(devices, count, &opt, &set, err);
	if (r == 0)
		r = pool_fixture_seat(set, err);
	return r == 0 ? set : NULL;
}
