/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The only place that sees xxhash.h.  It is inlined here rather than linked,
 * so that records of a fixed length are hashed without a call and the format
 * does not depend on which shared library is found at run time.
 */
#include "base/xxh.h"
#include "base/xxh_priv.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wundef"
#define XXH_INLINE_ALL
#include <xxhash.h>
#pragma GCC diagnostic pop

#include <assert.h>
#include <stdbool.h>
#include <string.h>
#ifdef __x86_64__
#include <sys/platform/x86.h>
#endif

/* Shorter ones go through no vectors. */
#define WIDE_BYTES 512u

_Static_assert(sizeof(XXH3_state_t) <= sizeof(struct cfs_xxh3_stream),
	       "stream: room for the state");
_Static_assert(alignof(XXH3_state_t) <= alignof(struct cfs_xxh3_stream),
	       "stream: alignment of the state");

static bool is_wide(size_t n)
{
#ifdef __x86_64__
	return n >= WIDE_BYTES && CPU_FEATURE_ACTIVE(AVX2);
#else
	(void)n;
	return false;
#endif
}

uint64_t cfs_xxh3(const void *p, size_t n)
{
	if (is_wide(n))
		return cfs_xxh3_avx2(p, n);
	return XXH3_64bits(p, n);
}

uint64_t cfs_xxh3_seed(const void *p, size_t n, uint64_t seed)
{
	return XXH3_64bits_withSeed(p, n, seed);
}

void cfs_xxh3_128(const void *p, size_t n, uint8_t ret[16])
{
	XXH128_canonical_t canonical;

	if (is_wide(n)) {
		cfs_xxh3_128_avx2(p, n, ret);
		return;
	}
	XXH128_canonicalFromHash(&canonical, XXH3_128bits(p, n));
	memcpy(ret, canonical.digest, 16);
}

void cfs_xxh3_stream_init(struct cfs_xxh3_stream *s, uint64_t seed)
{
	XXH3_state_t *state = (void *)s->opaque;

	/* The library reads fields of a state before it sets them. */
	memset(s, 0, sizeof(*s));
	XXH3_INITSTATE(state);
	XXH3_64bits_reset_withSeed(state, seed);
}

void cfs_xxh3_stream_update(struct cfs_xxh3_stream *s, const void *p, size_t n)
{
	XXH_errorcode r;

	if (n == 0)
		return;
	if (is_wide(n)) {
		cfs_xxh3_stream_update_avx2(s, p, n);
		return;
	}
	r = XXH3_64bits_update((XXH3_state_t *)(void *)s->opaque, p, n);
	assert(r == XXH_OK);
	(void)r;
}

uint64_t cfs_xxh3_stream_end(const struct cfs_xxh3_stream *s)
{
	return XXH3_64bits_digest(
		(const XXH3_state_t *)(const void *)s->opaque);
}

/* The state of both lengths is one and the same; only the end differs. */
void cfs_xxh3_stream_end_128(const struct cfs_xxh3_stream *s, uint8_t ret[16])
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(
		&canonical,
		XXH3_128bits_digest(
			(const XXH3_state_t *)(const void *)s->opaque));
	memcpy(ret, canonical.digest, 16);
}
