/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fields that several records have: text of a fixed length, and integers that
 * share a word.  On the device text is filled with zeroes and always has one,
 * so that a reader in C cannot run over the end.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/le.h"

/* Cut where @src does not fit beside its NUL; every byte of @dst is set. */
static inline void cfs_field_text_put(uint8_t *dst, size_t dst_bytes,
				      const char *src)
{
	size_t n = strnlen(src, dst_bytes - 1);

	memcpy(dst, src, n);
	memset(dst + n, 0, dst_bytes - n);
}

/* False: there is no NUL.  What follows the NUL is not taken over. */
static inline bool cfs_field_text_get(char *dst, const uint8_t *src,
				      size_t src_bytes)
{
	size_t n = strnlen((const char *)src, src_bytes);

	if (n == src_bytes)
		return false;
	memcpy(dst, src, n);
	memset(dst + n, 0, src_bytes - n);
	return true;
}

static inline bool cfs_field_is_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

/* 48 bits above 16. */
static inline le64 cfs_field_48_16(uint64_t high, uint16_t low)
{
	return le64_put(high << 16 | low);
}
