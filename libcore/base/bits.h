/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small arithmetic that is easy to get wrong. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CFS_BLOCK_BYTES    4096u
#define CFS_BLOCK_SHIFT    12u

#define CFS_MIN(a, b)      ((a) < (b) ? (a) : (b))
#define CFS_MAX(a, b)      ((a) > (b) ? (a) : (b))
#define CFS_ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

static inline bool cfs_is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}

/* @align is a power of two. */
static inline uint64_t cfs_align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

/* @align is a power of two; the caller knows that it does not overflow. */
static inline uint64_t cfs_align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

static inline uint64_t cfs_div_up(uint64_t v, uint64_t by)
{
	return v / by + (v % by != 0);
}

/* The whole range lies within [0, end): sum checked for overflow. */
static inline bool cfs_range_fits(uint64_t offset, uint64_t length,
				  uint64_t end)
{
	return length <= end && offset <= end - length;
}
