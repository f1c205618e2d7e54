/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Torture: processes work on a pool of real files and are killed with SIGKILL,
 * again and again; between, a judge that knows what they did looks whether it
 * is what it may be.  Sometimes one process holds the pool, sometimes a cfsd
 * does and two others write the devices directly.
 *
 *   torture [SECONDS [SEED]]     20 seconds, a seed of the clock
 *
 * Prints TAP.  A seed gives the same pool and the same operations, but not the
 * same moments of death: what one run has met takes others many, and a loaded
 * machine.  A pool that was found wrong is kept in $TMPDIR, and its place told;
 * contrib/run-tests gives each job a $TMPDIR that goes away with it, so run the
 * line that is printed with it by hand, from the source tree.
 *
 * Pools are from 64 to 192 MiB, so that some are full most of the time, some
 * now and then, and some never.
 */
#include "torture.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/xxh.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define POOL_BYTES_MIN  (UINT64_C(64) << 20)
#define POOL_BYTES_STEP (UINT64_C(32) << 20)
#define POOL_STEPS      5u

void torture_fail(struct torture *t, const char *fmt, ...)
{
	va_list args;

	if (atomic_exchange(&t->has_failed, true))
		return;
	va_start(args, fmt);
	(void)vsnprintf(t->failure, sizeof(t->failure), fmt, args);
	va_end(args);
}

int torture_excuse(struct torture *t, int r, const char *what,
		   const struct cfs_err *err)
{
	switch (r) {
	case -ENOSPC: /* loans of many dead, snapshots of everything */
		atomic_fetch_add(&t->full, 1);
		return 0;
	case -ESTALE: /* the manager was killed, and the lease gone */
	case -ENOTCONN:
	case -ECONNRESET:
	case -EPIPE:
	case -EBUSY:
	case -ETIMEDOUT:
		return 1;
	default:
		torture_fail(t, "%s: %s (%s)", what, err->msg, strerror(-r));
		return 1;
	}
}

/* ---- content ------------------------------------------------------------- */

void torture_fill(uint8_t *block, uint32_t volume, uint32_t number,
		  uint32_t version)
{
	struct cfs_rng rng;
	const uint32_t head[4] = { volume, number, version, ~version };

	if (!version) {
		memset(block, 0, BLOCK);
		return;
	}
	cfs_rng_init(&rng, (uint64_t)version << 32 | volume << 20 | number);
	cfs_rng_fill(&rng, block, BLOCK);
	memcpy(block, head, sizeof(head));
}

uint32_t torture_version(const uint8_t *block, uint32_t volume, uint32_t number)
{
	uint8_t want[BLOCK];
	uint32_t version;

	memcpy(&version, block + 8, sizeof(version));
	torture_fill(want, volume, number, version);
	return memcmp(block, want, BLOCK) ? UINT32_MAX : version;
}

/* ---- workers ------------------------------------------------------------- */

struct worker {
	struct torture *t;
	struct cfs_session *s;
	uint64_t seed;
	uint32_t task; /* a LUN; LUNS: the tree; more: control */
	pthread_t thread;
};

static int show_damage(void *arg, const struct cfs_damage *d)
{
	torture_fail(arg,
		     "scrub: %s (%s) on device %u at %llu: %s%s at %llu, "
		     "healed %d",
		     d->kind, d->cause, d->device_index,
		     (unsigned long long)d->device_offset_bytes, d->container,
		     d->volume, (unsigned long long)d->offset_bytes,
		     d->is_healed);
	return 0;
}

/* What an administrator does meanwhile. */
static void control(struct torture *t, struct cfs_session *s,
		    struct cfs_rng *rng)
{
	const struct cfs_scrub_options opt = { .heals = true };
	struct cfs_scrub_result scrub;
	struct cfs_check_result check;
	struct cfs_trim_result trim;
	struct cfs_pool_info info;
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	while (!atomic_load(&t->has_failed)) {
		(void)usleep((useconds_t)(1000 + cfs_rng_below(rng, 60000)));
		memset(&scrub, 0, sizeof(scrub));
		memset(&check, 0, sizeof(check));
		switch (cfs_rng_below(rng, 4)) {
		case 0:
			r = cfs_session_scrub(s, NULL, &opt, show_damage, t,
					      &scrub, &err);
			break;
		case 1:
			r = cfs_session_check(s, NULL, NULL, NULL, &check,
					      &err);
			break;
		case 2:
			r = cfs_session_trim(s, NULL, &trim, &err);
			break;
		default:
			r = cfs_session_pool_info(s, &info, &err);
			break;
		}
		if (r != 0 && torture_excuse(t, r, "administer", &err))
			break;
		if (scrub.bad_blocks || check.problems)
			torture_fail(t,
				     "beside writers: %llu bad blocks, %llu "
				     "problems",
				     (unsigned long long)scrub.bad_blocks,
				     (unsigned long long)check.problems);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct cfs_rng rng;

	cfs_rng_init(&rng, w->seed);
	if (w->task < LUNS)
		lun_work(w->t, w->s, w->task, &rng);
	else if (w->task == LUNS)
		tree_work(w->t, w->s, &rng);
	else
		control(w->t, w->s, &rng);
	return NULL;
}

/* A process that does the tasks of @tasks, a bit each.  Does not return. */
static void run_worker(struct torture *t, unsigned int tasks, uint64_t seed)
{
	const struct cfs_session_options opt = { .is_writable = true,
						 .wait_seconds = 30 };
	struct worker workers[LUNS + 2];
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_session *s;
	int r = cfs_session_open(t->pool, &opt, &s, &err);

	if (r != 0) {
		torture_excuse(t, r, "open", &err);
		_exit(1);
	}
	if (!cfs_session_is_holder(s))
		atomic_fetch_or(&t->kinds, 1u << 31);
	for (uint32_t i = 0; i < LUNS + 2; i++) {
		workers[i] = (struct worker){
			.t = t, .s = s, .task = i, .seed = seed * 16 + i
		};
		if (tasks >> i & 1 && pthread_create(&workers[i].thread, NULL,
						     work, &workers[i]) != 0)
			abort();
	}
	for (uint32_t i = 0; i < LUNS + 2; i++)
		if (tasks >> i & 1)
			(void)pthread_join(workers[i].thread, NULL);
	_exit(0);
}

/* ---- processes ----------------------------------------------------------- */

static pid_t start(struct torture *t, unsigned int tasks, uint64_t seed)
{
	pid_t pid = fork();

	if (pid < 0)
		abort();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		run_worker(t, tasks, seed);
	}
	return pid;
}

static pid_t start_cfsd(const struct torture *t)
{
	pid_t pid = fork();

	if (pid < 0)
		abort();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)execlp("cfsd", "cfsd", "-q", t->pool, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static void end(pid_t pid)
{
	int status;

	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
		fprintf(stderr, "torture: there is no cfsd in PATH\n");
		exit(2);
	}
}

static void pause_ms(uint64_t ms)
{
	const struct timespec ts = {
		.tv_sec = (time_t)(ms / 1000),
		.tv_nsec = (long)(ms % 1000 * CFS_NS_PER_MS),
	};

	(void)nanosleep(&ts, NULL);
}

/* Work goes on for a while, and is cut off. */
static void generation(struct torture *t, struct cfs_rng *rng)
{
	const unsigned int all = (1u << (LUNS + 2)) - 1, half = 0x0a;
	uint64_t seed = cfs_rng_u64(rng) >> 8;
	uint64_t ms = 20 + cfs_rng_below(rng, 1 + cfs_rng_below(rng, 600));
	pid_t a, b, manager;

	t->is_beside = cfs_rng_below(rng, 3) == 0;
	if (!t->is_beside) {
		a = start(t, all, seed);
		pause_ms(ms + 20);
		end(a);
		return;
	}
	manager = start_cfsd(t);
	pause_ms(100);
	a = start(t, half, seed);
	b = start(t, all & ~half, seed);
	pause_ms(ms + 100);
	if (cfs_rng_below(rng, 2)) { /* one goes on for a while */
		end(a);
		pause_ms(cfs_rng_below(rng, 200));
		end(b);
	} else {
		end(b);
		pause_ms(cfs_rng_below(rng, 200));
		end(a);
	}
	end(manager);
}

/* ---- the judge ----------------------------------------------------------- */

static int show_problem(void *arg, const struct cfs_problem *p)
{
	torture_fail(arg, "check: %s: %s %s%s: %s", p->kind, p->container,
		     p->volume, p->path, p->text);
	return 0;
}

/* Returns how long the pool took to open, in ms. */
static uint64_t judge(struct torture *t, bool scrubs)
{
	const struct cfs_session_options opt = { .is_writable = true,
						 .wait_seconds = 60 };
	const struct cfs_scrub_options scrub_opt = { .heals = true };
	uint64_t began = cfs_clock_elapsed_ns(cfs_clock_system()), took;
	struct cfs_check_result check;
	struct cfs_scrub_result scrub = { .bad_blocks = 0 };
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_session *s;
	int r = cfs_session_open(t->pool, &opt, &s, &err);

	took = (cfs_clock_elapsed_ns(cfs_clock_system()) - began) /
	       CFS_NS_PER_MS;
	if (r != 0) {
		torture_fail(t, "open: %s", err.msg);
		return took;
	}
	for (uint32_t i = 0; i < LUNS; i++)
		lun_judge(t, s, i);
	tree_judge(t, s);
	r = cfs_session_check(s, NULL, show_problem, t, &check, &err);
	if (r == 0 && scrubs)
		r = cfs_session_scrub(s, NULL, &scrub_opt, show_damage, t,
				      &scrub, &err);
	if (r != 0)
		torture_fail(t, "check: %s", err.msg);
	if (scrub.bad_blocks)
		torture_fail(t, "scrub: %llu bad blocks",
			     (unsigned long long)scrub.bad_blocks);
	r = cfs_session_close(s, &err);
	if (r != 0)
		torture_fail(t, "close: %s", err.msg);
	return took;
}

static int make_pool(struct torture *t, const char *dir, struct cfs_rng *rng,
		     struct cfs_err *err)
{
	char second[4200];
	const char *devices[2] = { t->pool, second };
	struct cfs_format_options opt = {
		.devices = devices,
		.device_count = 1,
		.slice_bytes = 1 << 20,
		.is_forced = true,
	};
	const struct cfs_session_options open = { .is_writable = true };
	struct cfs_format_result made;
	struct cfs_session *s;
	int r;

	(void)snprintf(t->pool, sizeof(t->pool), "%s/pool", dir);
	(void)snprintf(second, sizeof(second), "%s/pool2", dir);
	if (cfs_rng_below(rng, 2)) {
		opt.device_count = 2;
		opt.is_mirror = cfs_rng_below(rng, 2);
	}
	opt.size_bytes = POOL_BYTES_MIN +
			 cfs_rng_below(rng, POOL_STEPS) * POOL_BYTES_STEP;
	(void)snprintf(t->shape, sizeof(t->shape), "%zu of %u MiB%s",
		       opt.device_count, (unsigned int)(opt.size_bytes >> 20),
		       opt.is_mirror ? ", mirrored" : "");
	r = cfs_pool_format(&opt, &made, err);
	if (r == 0)
		r = cfs_session_open(t->pool, &open, &s, err);
	if (r != 0)
		return r;
	for (uint32_t i = 0; i < LUNS && r == 0; i++)
		r = lun_make(t, s, i, err);
	if (r == 0)
		r = tree_make(t, s, err);
	return r ? r : cfs_session_close(s, err);
}

static void remove_dir(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)))
		(void)unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		(void)closedir(d);
	(void)rmdir(dir);
}

int main(int argc, char **argv)
{
	const char *tmp = getenv("TMPDIR");
	unsigned long seconds = argc > 1 ? strtoul(argv[1], NULL, 10) : 20;
	uint64_t until, took, slowest = 0, count = 0;
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_rng rng;
	struct torture *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char dir[4000];

	if (t == MAP_FAILED)
		abort();
	t->seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
	cfs_rng_init(&rng, t->seed);
	(void)snprintf(dir, sizeof(dir), "%s/torture.XXXXXX",
		       tmp ? tmp : "/tmp");
	if (!mkdtemp(dir) || setenv("CFS_RUN", dir, 1) < 0 ||
	    make_pool(t, dir, &rng, &err) != 0) {
		fprintf(stderr, "torture: %s: %s\n", dir, err.msg);
		return 2;
	}
	until = cfs_clock_elapsed_ns(cfs_clock_system()) +
		seconds * CFS_NS_PER_S;
	puts("1..2");
	while (!atomic_load(&t->has_failed) &&
	       cfs_clock_elapsed_ns(cfs_clock_system()) < until) {
		generation(t, &rng);
		took = judge(t, ++count % 4 == 0);
		slowest = CFS_MAX(slowest, took);
	}
	printf("%sok 1 seed %llu: %llu generations, %llu operations, %u times "
	       "full, opened in %llu ms at most\n",
	       atomic_load(&t->has_failed) ? "not " : "",
	       (unsigned long long)t->seed, (unsigned long long)count,
	       (unsigned long long)atomic_load(&t->done), atomic_load(&t->full),
	       (unsigned long long)slowest);
	if (atomic_load(&t->has_failed)) {
		printf("# generation %llu: %s\n# devices: %s; it had worked %s\n"
		       "# the pool is in %s\n# again: make torture "
		       "SECONDS=%lu SEED=%llu\n",
		       (unsigned long long)count, t->failure, t->shape,
		       t->is_beside ? "beside a manager" : "alone", dir,
		       seconds, (unsigned long long)t->seed);
		return 1;
	}
	/* All kinds of operations were tried, or it proves little. */
	printf("%sok 2 every operation was tried, also beside a manager\n",
	       (atomic_load(&t->kinds) & 0x801f007f) == 0x801f007f ? ""
								   : "not ");
	remove_dir(dir);
	return 0;
}
