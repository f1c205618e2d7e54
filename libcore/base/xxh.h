/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * XXH3, the checksum of every record and block.  It finds damage, not
 * forgery.  The values are part of the on-disk format: they are those of
 * XXH3 as frozen in xxHash 0.8.0, on every machine.
 */
#pragma once

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

/* @p may be NULL if @n is 0. */
uint64_t cfs_xxh3(const void *p, size_t n);
uint64_t cfs_xxh3_seed(const void *p, size_t n, uint64_t seed);

/* 128 bits in canonical form: big-endian, the high half first. */
void cfs_xxh3_128(const void *p, size_t n, uint8_t ret[16]);

/*
 * The same value piece by piece, for what is not in memory at once:
 * init, any number of updates, end.  Lives on the stack, owns nothing; end
 * may be called more than once, and updates may go on behind it.
 */
struct cfs_xxh3_stream {
	alignas(64) uint8_t opaque[640];
};

void cfs_xxh3_stream_init(struct cfs_xxh3_stream *s, uint64_t seed);
void cfs_xxh3_stream_update(struct cfs_xxh3_stream *s, const void *p, size_t n);
uint64_t cfs_xxh3_stream_end(const struct cfs_xxh3_stream *s);
/* The 128-bit value of the same bytes, as cfs_xxh3_128 gives it; seed 0. */
void cfs_xxh3_stream_end_128(const struct cfs_xxh3_stream *s, uint8_t ret[16]);
