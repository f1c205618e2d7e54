// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Pools that an enemy made (hostile.h), from seeds: none of them ends, hangs
 * or blows up who opens it.  A sound one, edited in nothing, opens to write.
 *
 *   hostile [COUNT [SEED]]    COUNT pools (400; with $CFS_LONG 20,000), from
 *                             that seed on (1)
 */
#include "hostile.h"

#include "base/bits.h"
#include "base/rng.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define EDITS_MAX    4u
#define POOL_SECONDS 120u /* that one may take, on the slowest machine */
#define MEMORY_MIB   1500 /* that all may, sanitizers and all */

/* These once were too much for the reader. */
static const unsigned long long once_bad[] = {
	730, 2860, 3357, 3736, 3849, 5298, 9273, 11410, 18898, 51905,
};

static volatile unsigned long long now_seed;

/* Which one it was; a second signal of that kind ends the process. */
static void on_end(int sig)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "not ok 2 seed %llu %s\n",
			 now_seed, sig == SIGALRM ? "hangs" : "died");

	(void)!write(STDOUT_FILENO, text, (size_t)n);
	signal(sig, SIG_DFL);
	raise(sig);
}

static int try(struct hostile *h, uint64_t seed)
{
	uint8_t edits[EDITS_MAX * HOSTILE_EDIT_BYTES];
	struct cfs_rng rng;
	size_t bytes;

	cfs_rng_init(&rng, seed);
	bytes = (1 + cfs_rng_below(&rng, EDITS_MAX)) * HOSTILE_EDIT_BYTES;
	for (size_t i = 0; i < bytes; i++)
		edits[i] = (uint8_t)cfs_rng_below(&rng, 256);
	now_seed = seed;
	alarm(POOL_SECONDS);
	return hostile_use(h, edits, bytes);
}

/* Returns whether all that shall hold does. */
static int judge(struct hostile *h, unsigned long long count,
		 unsigned long long first)
{
	unsigned long long far[3] = { 0 };
	const bool is_sound = hostile_use(h, NULL, 0) == 2;
	struct rusage used;

	printf("%sok 1 the sound pool opens to write\n",
	       is_sound ? "" : "not ");
	for (size_t i = 0; i < CFS_ARRAY_COUNT(once_bad); i++)
		try(h, once_bad[i]);
	for (unsigned long long i = 0; i < count; i++)
		far[try(h, first + i)]++;
	alarm(0);
	printf("ok 2 %llu pools: %llu refused, %llu to read only, %llu "
	       "writable\n",
	       count, far[0], far[1], far[2]);
	getrusage(RUSAGE_SELF, &used);
	printf("%sok 3 in %ld MiB at most\n",
	       used.ru_maxrss >> 10 < MEMORY_MIB ? "" : "not ",
	       used.ru_maxrss >> 10);
	return !is_sound || used.ru_maxrss >> 10 >= MEMORY_MIB;
}

int main(int argc, char **argv)
{
	const unsigned long long count = argc > 1 ? strtoull(argv[1], NULL, 10)
					 : getenv("CFS_LONG") ? 20000
							      : 400;
	const unsigned long long first = argc > 2 ? strtoull(argv[2], NULL, 10)
						  : 1;
	struct cfs_err err = CFS_ERR_INIT;
	struct hostile *h;
	int r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("1..3");
	if (hostile_new(&h, &err) < 0) {
		printf("Bail out! %s\n", err.msg);
		return 2;
	}
	signal(SIGALRM, on_end);
	signal(SIGABRT, on_end);
	r = judge(h, count, first);
	hostile_free(h);
	return r;
}
