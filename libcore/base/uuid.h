/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * UUIDs are 16 bytes in the order in which they are written (RFC 4122), in
 * memory as on a device.  All zero means: none.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct cfs_err;
struct cfs_rng;

#define CFS_UUID_BYTES      16u
#define CFS_UUID_TEXT_BYTES 37u /* with the NUL */

/* A new random one (version 4) from the kernel.  0 or a negative errno. */
int cfs_uuid_new(uint8_t ret[CFS_UUID_BYTES], struct cfs_err *err);

/* A version 4 UUID of a seeded generator, for simulations. */
void cfs_uuid_from_rng(struct cfs_rng *rng, uint8_t ret[CFS_UUID_BYTES]);

/* Lower case, 8-4-4-4-12.  Returns @ret. */
char *cfs_uuid_format(const uint8_t uuid[CFS_UUID_BYTES],
		      char ret[CFS_UUID_TEXT_BYTES]);

/*
 * Either case, 8-4-4-4-12, nothing before or behind it.
 * Returns 0; -EINVAL: not a UUID, @ret as it was.
 */
int cfs_uuid_parse(const char *text, uint8_t ret[CFS_UUID_BYTES]);

bool cfs_uuid_is_null(const uint8_t uuid[CFS_UUID_BYTES]);

static inline bool cfs_uuid_is_equal(const uint8_t a[CFS_UUID_BYTES],
				     const uint8_t b[CFS_UUID_BYTES])
{
	return memcmp(a, b, CFS_UUID_BYTES) == 0;
}
