/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files about XXH3 share: to be called where the processor has AVX2. */
#pragma once

#include "base/xxh.h"

#include <stddef.h>
#include <stdint.h>

uint64_t cfs_xxh3_avx2(const void *p, size_t n);
void cfs_xxh3_128_avx2(const void *p, size_t n, uint8_t ret[16]);
void cfs_xxh3_stream_update_avx2(struct cfs_xxh3_stream *s, const void *p,
				 size_t n);
