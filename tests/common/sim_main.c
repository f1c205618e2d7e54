/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Many seeds in some processes, and what came of it. */
#include "sim_engine.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MAX     16u
#define FAILURES_MAX 3u

/* Shared with the parent; a worker writes only its own. */
struct worker {
	uint64_t seed; /* under way, or the last one */
	uint64_t done, steps;
	uint64_t counters[SIM_COUNTERS];
	uint32_t failures;
	struct {
		uint64_t seed;
		char why[512];
	} failed[FAILURES_MAX];
};

uint64_t sim_env(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : fallback;
}

static void run_seed(const struct sim_suite *suite, uint64_t seed,
		     bool is_verbose, struct worker *w)
{
	struct sim sim = { .seed = seed, .is_verbose = is_verbose };

	w->seed = seed;
	cfs_rng_init(&sim.rng, seed);
	suite->run(&sim);
	for (size_t i = 0; i < sim.count; i++)
		free(sim.heap[i].data);
	free(sim.heap);
	w->done++;
	w->steps += sim.steps;
	for (unsigned int i = 0; i < SIM_COUNTERS; i++)
		w->counters[i] += sim.counters[i];
	if (!sim.has_failed)
		return;
	w->failed[w->failures].seed = seed;
	memcpy(w->failed[w->failures].why, sim.why, sizeof(sim.why));
	w->failures++;
}

static void run_worker(const struct sim_suite *suite, uint64_t first,
		       uint64_t end, uint64_t stride, bool is_verbose,
		       struct worker *w)
{
	/* Whoever breaks a rule on purpose wants to know of one only. */
	uint64_t wanted = sim_env("FAILURES", FAILURES_MAX);

	if (wanted == 0 || wanted > FAILURES_MAX)
		wanted = FAILURES_MAX;
	for (uint64_t s = first; s < end && w->failures < wanted; s += stride)
		run_seed(suite, s, is_verbose, w);
}

/* One TAP line. */
static bool report(unsigned int *count, bool is_ok, const char *name,
		   const char *what)
{
	printf("%sok %u - %s: %s\n", is_ok ? "" : "not ", ++*count, name, what);
	return is_ok;
}

static bool report_worker(const struct sim_suite *suite, const struct worker *w,
			  int status, unsigned int *count)
{
	char what[640];

	for (unsigned int i = 0; i < w->failures; i++) {
		snprintf(what, sizeof(what), "seed %" PRIu64 ": %s",
			 w->failed[i].seed, w->failed[i].why);
		report(count, false, suite->name, what);
		printf("# again, with its story: VERBOSE=1 SEEDS=1 FIRST=%" PRIu64
		       "\n",
		       w->failed[i].seed);
	}
	if (status == 0)
		return !w->failures;
	snprintf(what, sizeof(what), "seed %" PRIu64 ": crashed, status %#x",
		 w->seed, (unsigned int)status);
	return report(count, false, suite->name, what);
}

static bool report_counters(const struct sim_suite *suite,
			    const struct worker *sum, unsigned int *count)
{
	char what[128];
	bool is_ok = true;

	for (unsigned int i = 0; i < SIM_COUNTERS; i++) {
		if (!suite->counters[i].name)
			continue;
		printf("# %-28s %" PRIu64 "\n", suite->counters[i].name,
		       sum->counters[i]);
		/* What never happened was not tested. */
		if (!suite->counters[i].is_needed || sum->counters[i] ||
		    sum->done < 1000)
			continue;
		snprintf(what, sizeof(what), "never: %s",
			 suite->counters[i].name);
		is_ok &= report(count, false, suite->name, what);
	}
	return is_ok;
}

int sim_main(const struct sim_suite *suite)
{
	uint64_t first = sim_env("FIRST", 1);
	uint64_t seeds = sim_env("SEEDS",
				 suite->seeds * (getenv("CFS_LONG") ? 10 : 1));
	uint64_t jobs = sim_env("JOBS", seeds < 16 ? 1 : 2);
	bool is_verbose = sim_env("VERBOSE", 0);
	size_t bytes = sizeof(struct worker) * (JOBS_MAX + 1);
	struct worker *w = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct worker *sum = w + JOBS_MAX;
	pid_t pids[JOBS_MAX];
	unsigned int count = 0;
	bool is_ok = true;
	struct timespec t0, t1;
	char what[128];

	if (w == MAP_FAILED)
		return 1;
	/* Memory of one seed is used again for the next, faulted in. */
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	jobs = jobs < 1 ? 1 : jobs > JOBS_MAX ? JOBS_MAX : jobs;
	clock_gettime(CLOCK_MONOTONIC, &t0);
	fflush(stdout);
	for (unsigned int i = 0; i < jobs; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			return 1;
		if (pids[i] == 0) {
			run_worker(suite, first + i, first + seeds, jobs,
				   is_verbose, &w[i]);
			fflush(stdout);
			_exit(0);
		}
	}
	for (unsigned int i = 0; i < jobs; i++) {
		int status = 0;

		if (waitpid(pids[i], &status, 0) < 0)
			status = -1;
		is_ok &= report_worker(suite, &w[i], status, &count);
		sum->done += w[i].done;
		sum->steps += w[i].steps;
		for (unsigned int k = 0; k < SIM_COUNTERS; k++)
			sum->counters[k] += w[i].counters[k];
	}
	clock_gettime(CLOCK_MONOTONIC, &t1);
	is_ok &= report_counters(suite, sum, &count);
	if (is_ok) {
		snprintf(what, sizeof(what),
			 "%" PRIu64 " seeds from %" PRIu64 ", %" PRIu64
			 " steps",
			 sum->done, first, sum->steps);
		report(&count, true, suite->name, what);
	}
	printf("1..%u\n# %.1f s\n", count,
	       (double)(t1.tv_sec - t0.tv_sec) +
		       1e-9 * (double)(t1.tv_nsec - t0.tv_nsec));
	munmap(w, bytes);
	return !is_ok;
}
