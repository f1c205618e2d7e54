// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A writer on a real file, killed with SIGKILL at any time: whoever comes next
 * opens the pool at once, it is whole, and every write that was acknowledged
 * through a pipe is there.
 */
#include "base/bits.h"
#include "base/cleanup.h"
#include "base/rng.h"
#include "crash_story.h"
#include "ondisk/table.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LUN_BLOCKS 512u
#define SNAP_EVERY 64u

struct stage {
	char path[2][4096];
	unsigned int device_count;
	struct cfs_rng rng;
	uint64_t acked;              /* highest stamp heard of */
	uint64_t stamps[LUN_BLOCKS]; /* acknowledged, of each block */
};

/* Where stamp @n is written, and how much: small and direct, aligned or not. */
static uint64_t block_of(uint64_t n)
{
	return n * 7 % LUN_BLOCKS;
}

static uint64_t count_of(uint64_t n)
{
	uint64_t count = n % 16 == 0 ? 40 : 1 + n % 3;

	return block_of(n) + count > LUN_BLOCKS ? 1 : count;
}

static void fill(uint8_t *block, uint64_t stamp)
{
	crash_bytes(stamp, 0, block, MODEL_BLOCK_BYTES);
	memcpy(block, &stamp, sizeof(stamp));
}

/* The stamp of a whole block; UINT64_MAX: it is a mixture. */
static uint64_t stamp_of(const uint8_t *block)
{
	uint8_t want[MODEL_BLOCK_BYTES] = { 0 };
	uint64_t stamp;

	memcpy(&stamp, block, sizeof(stamp));
	if (stamp)
		fill(want, stamp);
	return memcmp(want, block, sizeof(want)) == 0 ? stamp : UINT64_MAX;
}

/* ---- the writer
 * -------------------------------------------------------------- */

static int write_stamp(struct cfs_session *s, struct cfs_io_volume *v,
		       uint64_t n, struct cfs_err *err)
{
	static uint8_t buf[64 * MODEL_BLOCK_BYTES];
	char name[32];
	const struct cfs_snap_name snap = { "a", name };
	uint64_t count = count_of(n);
	int r;

	for (uint64_t i = 0; i < count; i++)
		fill(buf + i * MODEL_BLOCK_BYTES, n);
	r = cfs_io_write(v, block_of(n) * MODEL_BLOCK_BYTES, buf,
			 count * MODEL_BLOCK_BYTES, err);
	if (r < 0 || n % SNAP_EVERY)
		return r < 0 ? r : cfs_io_sync(v, err);
	/* A snapshot makes what it shows durable; only one is kept. */
	snprintf(name, sizeof(name), "s%" PRIu64, n);
	r = cfs_session_snap_take(s, &snap, 1, NULL, err);
	snprintf(name, sizeof(name), "s%" PRIu64, n - SNAP_EVERY);
	if (r == 0 && n > SNAP_EVERY) {
		r = cfs_session_snap_remove(s, "a", name, NULL, err);
		r = r == -ENOENT ? 0 : r;
	}
	return r;
}

struct names {
	char list[8][128];
	size_t count;
};

static int keep_name(void *arg, const struct cfs_snapshot_info *info)
{
	struct names *n = arg;

	if (n->count < CFS_ARRAY_COUNT(n->list))
		strcpy(n->list[n->count++], info->name);
	return 0;
}

/* Those of writers that were killed before they removed theirs. */
static int remove_snapshots(struct cfs_session *s, struct cfs_err *err)
{
	struct names names = { .count = 0 };
	int r = cfs_session_snapshots(s, "a", false, keep_name, &names, err);

	for (size_t i = 0; r == 0 && i < names.count; i++)
		r = cfs_session_snap_remove(s, "a", names.list[i], NULL, err);
	return r;
}

static int live(const char *path, uint64_t first, int ack_fd,
		struct cfs_err *err)
{
	const struct cfs_session_options opt = { .is_writable = true };
	struct cfs_io_volume *v;
	struct cfs_session *s;
	int r = cfs_session_open(path, &opt, &s, err);

	if (r == 0)
		r = cfs_io_open(s, "a", NULL, true, &v, err);
	if (r == 0)
		r = remove_snapshots(s, err);
	for (uint64_t n = first; r == 0; n++) {
		r = write_stamp(s, v, n, err);
		if (r == 0 && write(ack_fd, &n, sizeof(n)) != sizeof(n))
			r = -EPIPE;
	}
	return r;
}

/* ---- the judge
 * ------------------------------------------------------------------ */

static int look(struct stage *st, struct cfs_session *s, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_io_closep) struct cfs_io_volume *v = NULL;
	CFS_CLEANUP(cfs_freep)
	uint8_t *bytes = malloc((size_t)LUN_BLOCKS * MODEL_BLOCK_BYTES);
	uint64_t begun = st->acked + 1;
	int r = cfs_io_open(s, "a", NULL, false, &v, err);

	if (r == 0)
		r = cfs_io_read(v, 0, bytes,
				(size_t)LUN_BLOCKS * MODEL_BLOCK_BYTES, NULL,
				err);
	for (uint64_t i = 0; r == 0 && i < LUN_BLOCKS; i++) {
		uint64_t stamp = stamp_of(bytes + i * MODEL_BLOCK_BYTES);
		bool is_newest = stamp == begun && i >= block_of(begun) &&
				 i < block_of(begun) + count_of(begun);

		if (stamp != st->stamps[i] && !is_newest)
			return cfs_err_set(
				err, -EUCLEAN,
				"block %" PRIu64 " has stamp %" PRIu64
				", not %" PRIu64 " (acknowledged: %" PRIu64 ")",
				i, stamp, st->stamps[i], st->acked);
		st->stamps[i] = stamp;
	}
	return r;
}

static void heard(struct stage *st, uint64_t n)
{
	for (uint64_t i = 0; i < count_of(n); i++)
		st->stamps[block_of(n) + i] = n;
	st->acked = n;
}

/* The next one after a kill: at once, without waiting. */
static int come_after(struct stage *st, struct cfs_err *err)
{
	const struct cfs_session_options opt = { .is_writable = true };
	unsigned int which = (unsigned int)cfs_rng_below(&st->rng,
							 st->device_count);
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	int r = cfs_session_open(st->path[which], &opt, &s, err);

	if (r == 0)
		r = look(st, s, err);
	if (r == 0)
		r = crash_session_check(s, err);
	return r < 0 ? r : cfs_session_close(CFS_STEAL(s), err);
}

static void wait_some(struct stage *st)
{
	const struct timespec t = {
		.tv_nsec = (long)(1000000 * cfs_rng_below(&st->rng, 60) +
				  cfs_rng_below(&st->rng, 1000000)),
	};

	nanosleep(&t, NULL);
}

static int round_of(struct stage *st, struct cfs_err *err)
{
	uint64_t first = st->acked + 2, n;
	int fds[2], status;
	pid_t pid;

	if (pipe(fds) < 0)
		return cfs_err_errno(err, -errno, "pipe");
	pid = fork();
	if (pid == 0) {
		struct cfs_err why = CFS_ERR_INIT;

		close(fds[0]);
		live(st->path[0], first, fds[1], &why);
		fprintf(stderr, "# writer: %s\n", why.msg);
		_exit(1);
	}
	close(fds[1]);
	wait_some(st);
	kill(pid, SIGKILL);
	while (read(fds[0], &n, sizeof(n)) == sizeof(n))
		heard(st, n);
	close(fds[0]);
	waitpid(pid, &status, 0);
	if (!WIFSIGNALED(status))
		return cfs_err_set(err, -EIO, "the writer ended by itself");
	/* Where nothing was heard, the first may have been begun. */
	st->acked = CFS_MAX(st->acked, first - 1);
	return come_after(st, err);
}

static int make(struct stage *st, bool is_mirror, struct cfs_err *err)
{
	const char *devices[2] = { st->path[0], st->path[1] };
	const struct cfs_format_options format = {
		.devices = devices,
		.device_count = st->device_count,
		.size_bytes = UINT64_C(64) << 20,
		.is_mirror = is_mirror,
	};
	const struct cfs_session_options opt = { .is_writable = true };
	struct cfs_format_result result;
	struct cfs_session *s;
	int r = cfs_pool_format(&format, &result, err);

	if (r == 0)
		r = cfs_session_open(st->path[0], &opt, &s, err);
	if (r != 0)
		return r;
	r = cfs_session_create(s, "a", CFS_VOLUME_LUN,
			       (uint64_t)LUN_BLOCKS * MODEL_BLOCK_BYTES, 0,
			       false, err);
	return r < 0 ? r : cfs_session_close(s, err);
}

static int kills(const char *dir, unsigned int device_count, bool is_mirror,
		 uint64_t rounds, uint64_t seed)
{
	struct stage st = { .device_count = device_count };
	struct cfs_err err = CFS_ERR_INIT;
	uint64_t i = 0;
	int r;

	cfs_rng_init(&st.rng, seed);
	for (unsigned int d = 0; d < device_count; d++)
		snprintf(st.path[d], sizeof(st.path[d]), "%s/%s%u%u", dir,
			 is_mirror ? "m" : "p", device_count, d);
	r = make(&st, is_mirror, &err);
	for (; r == 0 && i < rounds; i++)
		r = round_of(&st, &err);
	if (r < 0)
		printf("# round %" PRIu64 ": %s\n", i, err.msg);
	for (unsigned int d = 0; d < device_count; d++)
		unlink(st.path[d]);
	crash_report(r == 0,
		     "kill-%u-%s: %" PRIu64 " kills, %" PRIu64
		     " writes acknowledged, seed %" PRIu64,
		     device_count, is_mirror ? "mirror" : "plain", i, st.acked,
		     seed);
	return r < 0;
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");
	uint64_t seed = crash_env("SEED", 1);
	uint64_t rounds = crash_env("ROUNDS", crash_is_long() ? 1000 : 60);
	char dir[2048];
	int bad = 0;

	snprintf(dir, sizeof(dir), "%s/cfs-kill.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(dir)) {
		crash_report(false, "kill: no directory");
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	bad += kills(dir, 1, false, rounds, seed);
	bad += kills(dir, 2, false, rounds / 3, seed);
	bad += kills(dir, 2, true, rounds / 2, seed);
	rmdir(dir);
	return bad != 0;
}
