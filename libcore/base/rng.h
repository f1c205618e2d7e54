/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random numbers of two sorts.  A struct cfs_rng gives the same numbers for
 * the same seed on every machine, so that a simulation or a failed test can
 * be run again (xoshiro256**; not for secrets).  cfs_random_bytes asks the
 * kernel: identities and secrets come from there.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct cfs_err;

struct cfs_rng {
	uint64_t s[4]; /* never all zero */
};

/* Any @seed is good, 0 too; near seeds give unrelated numbers. */
void cfs_rng_init(struct cfs_rng *rng, uint64_t seed);

/* Seeded by the kernel.  Returns 0 or what cfs_random_bytes returns. */
int cfs_rng_init_random(struct cfs_rng *rng, struct cfs_err *err);

uint64_t cfs_rng_u64(struct cfs_rng *rng);

/* Even over 0 .. @count - 1; @count is not 0. */
uint64_t cfs_rng_below(struct cfs_rng *rng, uint64_t count);

void cfs_rng_fill(struct cfs_rng *rng, void *p, size_t n);

/* Fill @n bytes from getrandom(2).  Returns 0 or a negative errno. */
int cfs_random_bytes(void *p, size_t n, struct cfs_err *err);
