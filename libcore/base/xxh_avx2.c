/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * XXH3 with wider registers: the same values in a third of the time.  Only
 * this file is compiled for them, so that nothing else needs them; xxh.c asks
 * the processor before it calls.
 */
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
#include <string.h>

uint64_t cfs_xxh3_avx2(const void *p, size_t n)
{
	return XXH3_64bits(p, n);
}

void cfs_xxh3_128_avx2(const void *p, size_t n, uint8_t ret[16])
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, XXH3_128bits(p, n));
	memcpy(ret, canonical.digest, 16);
}

/* What a state holds does not depend on the width of registers. */
void cfs_xxh3_stream_update_avx2(struct cfs_xxh3_stream *s, const void *p,
				 size_t n)
{
	XXH_errorcode r = XXH3_64bits_update((XXH3_state_t *)(void *)s->opaque,
					     p, n);

	assert(r == XXH_OK);
	(void)r;
}
