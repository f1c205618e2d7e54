/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the programs of the benchmark share, so that cfs and its peers are
 * measured in one way: the clock, the order of random writes, what is written
 * (it must not compress, and every write must differ), and the percentiles.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLOCK_BYTES         4096u
#define NS_PER_S            UINT64_C(1000000000)
/* A snapshot may take as long as this many durable writes of a block. */
#define WRITES_PER_SNAPSHOT 3u

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* A counter through a mixing function: any seed is a good one. */
static inline uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static inline void fill_random(void *buf, size_t length_bytes, uint64_t *state)
{
	unsigned char *p = buf;

	for (size_t i = 0; i + 8 <= length_bytes; i += 8) {
		uint64_t x = next_random(state);

		memcpy(p + i, &x, 8);
	}
}

/* A whole number from the command line; 0 if it is none. */
static inline uint64_t parse_count(const char *text)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	return errno || end == text || *end ? 0 : value;
}

/*
 * @count blocks of @block_count, none beside another, in random order: written
 * over a volume in one piece they leave 2 * @count + 1 pieces.  NULL: no
 * memory, or not that many blocks.  The result is the caller's.
 */
static inline uint64_t *scattered_blocks(uint64_t block_count, uint64_t count,
					 uint64_t seed)
{
	uint64_t step = count ? block_count / count : 0;
	uint64_t *blocks;

	if (step < 2)
		return NULL;
	blocks = calloc(count, sizeof(*blocks));
	if (!blocks)
		return NULL;
	for (uint64_t i = 0; i < count; i++)
		blocks[i] = i * step + 1;
	for (uint64_t i = count - 1; i > 0; i--) {
		uint64_t j = next_random(&seed) % (i + 1);
		uint64_t t = blocks[i];

		blocks[i] = blocks[j];
		blocks[j] = t;
	}
	return blocks;
}

/* Latencies in the order of time; percentiles sort them. */
struct samples {
	uint64_t *ns;
	size_t count;
	size_t room;
};

static inline bool samples_add(struct samples *s, uint64_t ns)
{
	if (s->count == s->room) {
		size_t room = s->room ? s->room * 2 : 1024;
		uint64_t *p = realloc(s->ns, room * sizeof(*p));

		if (!p)
			return false;
		s->ns = p;
		s->room = room;
	}
	s->ns[s->count++] = ns;
	return true;
}

static inline int compare_ns(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;

	return (*x > *y) - (*x < *y);
}

/*
 * Processor time of the process @pid, in seconds, to the nanosecond and with
 * threads that have ended; -1: it is not there.  /proc/PID/stat counts ticks of
 * 10 ms, which are a tenth of what is measured here.
 */
static inline double cpu_of(const char *pid)
{
	struct timespec ts;
	clockid_t clock;

	if (clock_getcpuclockid((pid_t)strtol(pid, NULL, 10), &clock) != 0 ||
	    clock_gettime(clock, &ts) < 0)
		return -1;
	return (double)ts.tv_sec + (double)ts.tv_nsec / (double)NS_PER_S;
}

/* One line for a run of durable writes; sorts @s. */
static inline void print_run(struct samples *s, uint64_t elapsed_ns,
			     uint64_t open_ns, uint64_t close_ns)
{
	double seconds = (double)elapsed_ns / (double)NS_PER_S;
	double all = (double)(elapsed_ns + close_ns) / (double)NS_PER_S;
	double count = (double)s->count;
	uint64_t p50 = 0;
	uint64_t p99 = 0;
	uint64_t longest = 0;

	if (s->count > 0) {
		qsort(s->ns, s->count, sizeof(*s->ns), compare_ns);
		p50 = s->ns[s->count / 2];
		p99 = s->ns[s->count - 1 - s->count / 100];
		longest = s->ns[s->count - 1];
	}
	printf("{\"ops\": %zu, \"seconds\": %.6f, \"ops_per_s\": %.2f, "
	       "\"ops_per_s_with_close\": %.2f, \"p50_us\": %.2f, "
	       "\"p99_us\": %.2f, \"longest_us\": %.2f, "
	       "\"open_ms\": %.3f, \"close_ms\": %.3f}\n",
	       s->count, seconds, count / seconds, count / all,
	       (double)p50 / 1e3, (double)p99 / 1e3, (double)longest / 1e3,
	       (double)open_ns / 1e6, (double)close_ns / 1e6);
}
