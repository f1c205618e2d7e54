/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Geometry.  Everything follows from sizes alone, so that a reader who has
 * lost every table still finds the tags of a slice.
 */
#include "ondisk/geometry.h"

#include <assert.h>

#include "ondisk/page.h"
#include "ondisk/tag.h"

#define PAD_BLOCKS 16u /* 64 KiB */

int cfs_slice_geometry_init(uint64_t slice_bytes,
			    struct cfs_slice_geometry *ret, struct cfs_err *err)
{
	uint32_t n, t, start, data;

	if (!cfs_is_pow2(slice_bytes) || slice_bytes < CFS_SLICE_BYTES_MIN ||
	    slice_bytes > CFS_SLICE_BYTES_MAX)
		return cfs_err_set(err, -EINVAL,
				   "slice of %llu bytes: not a power of two "
				   "from 1 MiB to 1 GiB",
				   (unsigned long long)slice_bytes);
	n = (uint32_t)(slice_bytes / CFS_BLOCK_BYTES);
	/* From just below the answer: two pages and 126 blocks a group. */
	for (t = (n - 2 - PAD_BLOCKS) / (CFS_TAGS_PER_PAGE + 2);; t++) {
		start = 1 + t;
		if (slice_bytes >= CFS_SLICE_PAD_FROM)
			start = (uint32_t)cfs_align_up(start, PAD_BLOCKS);
		data = n - 1 - t - start;
		if (CFS_TAGS_PER_PAGE * t >= data)
			break;
	}
	*ret = (struct cfs_slice_geometry){
		.slice_bytes = slice_bytes,
		.block_count = n,
		.group_count = t,
		.data_start = start,
		.data_count = data,
	};
	return 0;
}

bool cfs_geometry_is_data(const struct cfs_slice_geometry *g, uint32_t block)
{
	return block >= g->data_start && block - g->data_start < g->data_count;
}

uint32_t cfs_geometry_group(const struct cfs_slice_geometry *g, uint32_t block)
{
	assert(cfs_geometry_is_data(g, block));
	return (block - g->data_start) / CFS_TAGS_PER_PAGE;
}

uint32_t cfs_geometry_index(const struct cfs_slice_geometry *g, uint32_t block)
{
	assert(cfs_geometry_is_data(g, block));
	return (block - g->data_start) % CFS_TAGS_PER_PAGE;
}

uint32_t cfs_geometry_group_start(const struct cfs_slice_geometry *g,
				  uint32_t group)
{
	assert(group < g->group_count);
	return g->data_start + group * CFS_TAGS_PER_PAGE;
}

uint32_t cfs_geometry_group_blocks(const struct cfs_slice_geometry *g,
				   uint32_t group)
{
	uint32_t before = group * CFS_TAGS_PER_PAGE;

	assert(group < g->group_count);
	if (before >= g->data_count)
		return 0;
	return CFS_MIN(g->data_count - before, CFS_TAGS_PER_PAGE);
}

uint32_t cfs_geometry_tags_block(const struct cfs_slice_geometry *g,
				 uint32_t group, unsigned int slot)
{
	assert(group < g->group_count && slot < 2);
	if (slot == 0)
		return 1 + group;
	return g->block_count - 1 - g->group_count + group;
}

uint32_t cfs_geometry_header_block(const struct cfs_slice_geometry *g,
				   unsigned int slot)
{
	assert(slot < 2);
	return slot == 0 ? 0 : g->block_count - 1;
}

uint64_t cfs_label_offset_bytes(unsigned int copy, uint64_t size_bytes)
{
	uint64_t end = cfs_align_down(size_bytes, CFS_PAGE_BYTES);

	assert(copy < CFS_LABEL_COPIES && end >= CFS_DEVICE_TAIL_BYTES);
	switch (copy) {
	case 0:
		return 4096;
	case 1:
		return 32768;
	case 2:
		return end - CFS_DEVICE_TAIL_BYTES;
	default:
		return end - CFS_PAGE_BYTES;
	}
}

uint64_t cfs_seat_offset_bytes(unsigned int seat, unsigned int slot)
{
	assert(slot < 2);
	return CFS_SEATS_OFFSET_BYTES +
	       (2 * (uint64_t)seat + slot) * CFS_PAGE_BYTES;
}

uint64_t cfs_device_slice_count(uint64_t size_bytes,
				uint64_t slices_offset_bytes,
				uint64_t slice_bytes)
{
	uint64_t end = cfs_align_down(size_bytes, CFS_PAGE_BYTES);

	if (slice_bytes == 0 || end < CFS_DEVICE_TAIL_BYTES ||
	    end - CFS_DEVICE_TAIL_BYTES < slices_offset_bytes)
		return 0;
	return (end - CFS_DEVICE_TAIL_BYTES - slices_offset_bytes) /
	       slice_bytes;
}

uint64_t cfs_slice_bytes_default(uint64_t pool_bytes)
{
	uint64_t bytes = CFS_SLICE_BYTES_MIN;

	while (bytes < UINT64_C(256) << 20 && bytes * 2 <= pool_bytes / 1024)
		bytes *= 2;
	return bytes;
}
