/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/rng.h"

#include <assert.h>
#include <string.h>
#include <sys/random.h>

#include "base/err.h"
#include "base/le.h"

static uint64_t rotate_left(uint64_t v, unsigned int by)
{
	return v << by | v >> (64 - by);
}

/* splitmix64: turns one word into a state that is never all zero. */
static uint64_t split_mix(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

void cfs_rng_init(struct cfs_rng *rng, uint64_t seed)
{
	size_t i;

	for (i = 0; i < 4; i++)
		rng->s[i] = split_mix(&seed);
}

int cfs_rng_init_random(struct cfs_rng *rng, struct cfs_err *err)
{
	uint64_t seed;
	int r;

	r = cfs_random_bytes(&seed, sizeof(seed), err);
	if (r < 0)
		return r;
	cfs_rng_init(rng, seed);
	return 0;
}

uint64_t cfs_rng_u64(struct cfs_rng *rng)
{
	uint64_t *s = rng->s;
	uint64_t result = rotate_left(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return result;
}

uint64_t cfs_rng_below(struct cfs_rng *rng, uint64_t count)
{
	uint64_t skip, v;

	assert(count > 0);
	/* 2^64 mod count values too many: drawing again keeps it even. */
	skip = -count % count;
	do {
		v = cfs_rng_u64(rng);
	} while (v < skip);
	return v % count;
}

void cfs_rng_fill(struct cfs_rng *rng, void *p, size_t n)
{
	uint8_t *b = p;

	while (n) {
		/* Little-endian, so that every machine fills the same. */
		le64 v = le64_put(cfs_rng_u64(rng));
		size_t len = n < sizeof(v) ? n : sizeof(v);

		memcpy(b, v.b, len);
		b += len;
		n -= len;
	}
}

int cfs_random_bytes(void *p, size_t n, struct cfs_err *err)
{
	uint8_t *b = p;

	while (n) {
		ssize_t got = getrandom(b, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return cfs_err_errno(err, -errno, "random numbers");
		b += got;
		n -= (size_t)got;
	}
	return 0;
}
