/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where things are: inside a slice, on a device, and logical addresses.
 *
 * A slice of N blocks (N = slice_bytes / 4096):
 *
 *   0                      slice header, slot 0
 *   1 .. T                 tag pages, slot 0
 *   (pad)                  from slices of 16 MiB up: data starts at 64 KiB
 *   data_start .. +D-1     data blocks; group g holds D's blocks 126g..126g+125
 *   N-1-T .. N-2           tag pages, slot 1
 *   N-1                    slice header, slot 1
 *
 * T is the smallest with 126 T >= D, D = N - 1 - T - data_start, data_start =
 * 1 + T, rounded up to a multiple of 16 where padded.
 *
 * A logical address (vaddr) is lslice << 22 | block, where block counts from
 * the slice's first block; 0 is no address, since block 0 is a header.
 */
#pragma once

#include "base/bits.h"
#include "base/err.h"

#define CFS_SLICE_BYTES_MIN  (UINT64_C(1) << 20)
#define CFS_SLICE_BYTES_MAX  (UINT64_C(1) << 30)
#define CFS_SLICE_PAD_FROM   (UINT64_C(16) << 20)

#define CFS_VADDR_BLOCK_BITS 22u
#define CFS_LSLICE_MAX       ((UINT64_C(1) << 26) - 1)
#define CFS_VADDR_NONE       UINT64_C(0)

static inline uint64_t cfs_vaddr(uint64_t lslice, uint64_t block)
{
	return lslice << CFS_VADDR_BLOCK_BITS | block;
}
static inline uint64_t cfs_vaddr_lslice(uint64_t vaddr)
{
	return vaddr >> CFS_VADDR_BLOCK_BITS;
}
static inline uint32_t cfs_vaddr_block(uint64_t vaddr)
{
	return (uint32_t)(vaddr & ((UINT64_C(1) << CFS_VADDR_BLOCK_BITS) - 1));
}

struct cfs_slice_geometry {
	uint64_t slice_bytes;
	uint32_t block_count; /* N */
	uint32_t group_count; /* T */
	uint32_t data_start;  /* block */
	uint32_t data_count;  /* D, in blocks */
};

/* -EINVAL: not a power of two between the limits. */
int cfs_slice_geometry_init(uint64_t slice_bytes,
			    struct cfs_slice_geometry *ret,
			    struct cfs_err *err);

/* The group of data block @block of a slice; the caller knows it is one. */
uint32_t cfs_geometry_group(const struct cfs_slice_geometry *g, uint32_t block);
/* Its index within the group, 0..125. */
uint32_t cfs_geometry_index(const struct cfs_slice_geometry *g, uint32_t block);
/* First block of a group, and how many blocks it has (the last has fewer). */
uint32_t cfs_geometry_group_start(const struct cfs_slice_geometry *g,
				  uint32_t group);
uint32_t cfs_geometry_group_blocks(const struct cfs_slice_geometry *g,
				   uint32_t group);
bool cfs_geometry_is_data(const struct cfs_slice_geometry *g, uint32_t block);
/* The block (within the slice) of slot 0 or 1 of a tag page or the header. */
uint32_t cfs_geometry_tags_block(const struct cfs_slice_geometry *g,
				 uint32_t group, unsigned int slot);
uint32_t cfs_geometry_header_block(const struct cfs_slice_geometry *g,
				   unsigned int slot);

/*
 * The device:
 *
 *   0        4 KiB, left alone (boot sectors)
 *   4 KiB    label, copy 0
 *   32 KiB   label, copy 1
 *   64 KiB   seats: seat_count pairs of pages (two slots each)
 *   slices_offset_bytes   slices, one after the other (1 MiB; 4 MiB if shared)
 *   size - 64 KiB         label, copy 2 (size rounded down to 4 KiB)
 *   size - 4 KiB          label, copy 3
 *
 * The slices end before size - 64 KiB.
 */
#define CFS_DEVICE_BYTES_MIN     (UINT64_C(64) << 20)
#define CFS_DEVICE_TAIL_BYTES    65536u
#define CFS_LABEL_COPIES         4u
#define CFS_SEATS_OFFSET_BYTES   65536u
#define CFS_SEAT_COUNT_LOCAL     8u
#define CFS_SEAT_COUNT_SHARED    256u
#define CFS_VOTES_MAX            3u /* devices whose seats count, there */
#define CFS_SLICES_OFFSET_LOCAL  (UINT64_C(1) << 20)
#define CFS_SLICES_OFFSET_SHARED (UINT64_C(4) << 20)

/* Byte offset of label copy @copy on a device of @size_bytes. */
uint64_t cfs_label_offset_bytes(unsigned int copy, uint64_t size_bytes);
/* Byte offset of a seat's slot. */
uint64_t cfs_seat_offset_bytes(unsigned int seat, unsigned int slot);
/* How many whole slices fit on a device; 0 if none. */
uint64_t cfs_device_slice_count(uint64_t size_bytes,
				uint64_t slices_offset_bytes,
				uint64_t slice_bytes);
/*
 * The slice size for a pool of @pool_bytes: pool / 1024 as a power of two,
 * within 1 MiB and 256 MiB.
 */
uint64_t cfs_slice_bytes_default(uint64_t pool_bytes);
