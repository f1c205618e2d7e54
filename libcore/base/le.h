/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Little-endian integers as byte arrays: they do not mix with host integers,
 * so a forgotten conversion does not compile, and alignment cannot bite.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
	uint8_t b[2];
} le16;
typedef struct {
	uint8_t b[4];
} le32;
typedef struct {
	uint8_t b[8];
} le64;

static inline uint16_t le16_get(le16 v)
{
	return (uint16_t)(v.b[0] | ((unsigned int)v.b[1] << 8));
}

static inline le16 le16_put(uint16_t v)
{
	return (le16){ { (uint8_t)v, (uint8_t)(v >> 8) } };
}

static inline uint32_t le32_get(le32 v)
{
	uint32_t x;

	memcpy(&x, v.b, sizeof(x));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	x = __builtin_bswap32(x);
#endif
	return x;
}

static inline le32 le32_put(uint32_t v)
{
	le32 r;

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap32(v);
#endif
	memcpy(r.b, &v, sizeof(v));
	return r;
}

static inline uint64_t le64_get(le64 v)
{
	uint64_t x;

	memcpy(&x, v.b, sizeof(x));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	x = __builtin_bswap64(x);
#endif
	return x;
}

static inline le64 le64_put(uint64_t v)
{
	le64 r;

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap64(v);
#endif
	memcpy(r.b, &v, sizeof(v));
	return r;
}

#define CFS_ASSERT_SIZE(type, bytes)                                           \
	_Static_assert(sizeof(type) == (bytes), #type ": size")
#define CFS_ASSERT_OFFSET(type, member, bytes)                                 \
	_Static_assert(offsetof(type, member) == (bytes), #type "." #member)
