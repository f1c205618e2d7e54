/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Real processes on one pool: a manager and clients that read and write the
 * devices themselves.  The test itself has no threads and forks them; each
 * does what it is told over a socket and answers with a number.
 *
 * A block of the LUN says which it is, and its version.  For each, memory that
 * all share has the versions that were written, begun and synced, so that the
 * judge knows what may be found.  Include after <cmocka.h>.
 */
#pragma once

#include "base/clock.h"
#include "base/rng.h"
#include "ondisk/table.h"
#include "session/direct_priv.h"
#include "session/lease.h"
#include "session/serve.h"
#include "session/session_priv.h"
#include "volume/data.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK     4096u
#define BLOCKS    65536u /* of the LUN: 256 MiB */
#define LUN_BYTES ((uint64_t)BLOCKS * BLOCK)

enum op {
	OP_OPEN,
	OP_SNAP_OPEN,
	OP_WRITE,
	OP_SYNC,
	OP_READ,
	OP_READ_MANY,
	OP_CLOSE,
	OP_END,
	OP_LOAD,
	OP_SNAPSHOT,
	OP_REVOKE,
	OP_STATS,
	OP_SERVE,
	OP_STOP,
	OP_CHECK,
	OP_DISCARD,
	OP_RATE,
	OP_SIZE,
	OP_RESIZE,
	OP_LIE,
	OP_RAW,
	OP_CLOCK,
	OP_SET,
};

struct order {
	enum op op;
	uint32_t first, count; /* blocks */
	uint32_t version;
	uint32_t mode; /* enum cfs_io_mode */
	bool is_writable;
	char name[32]; /* of a volume or snapshot */
};

struct answer {
	int code;
	char text[200];
	uint64_t value;
	uint32_t version; /* OP_READ of one block */
	struct cfs_direct_stats stats;
};

struct process {
	pid_t pid;
	int fd;
};

/* What all processes share. */
struct shared {
	uint32_t begun[BLOCKS]; /* atomic: written, or about to be */
	uint32_t synced[BLOCKS];
	uint32_t stop;     /* atomic: loads end */
	uint64_t steps[8]; /* of each load */
	int ended[8];      /* why it ended; 1: it runs */
};

static struct shared *shared;
static char dir[64], pool_path[128], run_path[128];

/* ---- blocks -------------------------------------------------------------- */

static inline void block_fill(uint8_t *buf, uint32_t block, uint32_t version)
{
	uint32_t words[4] = { 0x4b4c4221u, block, version,
			      block * 2654435761u ^ version };

	for (size_t i = 0; i < BLOCK; i += sizeof(words))
		memcpy(buf + i, words, sizeof(words));
}

/* Its version; 0: never written; UINT32_MAX: it is no block of ours. */
static inline uint32_t block_version(const uint8_t *buf, uint32_t block)
{
	uint8_t want[BLOCK];
	uint32_t words[4];

	memcpy(words, buf, sizeof(words));
	if (words[0] == 0) {
		memset(want, 0, sizeof(want));
		return memcmp(want, buf, BLOCK) == 0 ? 0 : UINT32_MAX;
	}
	block_fill(want, block, words[2]);
	return memcmp(want, buf, BLOCK) == 0 ? words[2] : UINT32_MAX;
}

/* ---- clocks -------------------------------------------------------------- */

/* Where this process's clocks stand still, as those of a host that was paused
 * without knowing; 0: they go. */
static uint64_t clock_stands_ns[16];

int clock_gettime(clockid_t id, struct timespec *ret)
{
	const size_t i = (size_t)id;
	uint64_t stands = i < 16 ? __atomic_load_n(&clock_stands_ns[i],
						   __ATOMIC_RELAXED)
				 : 0;

	if (!stands)
		return (int)syscall(SYS_clock_gettime, id, ret);
	ret->tv_sec = (time_t)(stands / CFS_NS_PER_S);
	ret->tv_nsec = (long)(stands % CFS_NS_PER_S);
	return 0;
}

/* Nor does it hear anything any more: its messages are still on their way. */
int epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
	int r = (int)syscall(SYS_epoll_pwait, fd, events, max, timeout_ms, NULL,
			     8);

	while (__atomic_load_n(&clock_stands_ns[CLOCK_BOOTTIME],
			       __ATOMIC_RELAXED))
		usleep(10000);
	return r;
}

static inline void stop_clocks(void)
{
	static const clockid_t ids[] = {
		CLOCK_REALTIME,
		CLOCK_MONOTONIC,
		CLOCK_MONOTONIC_RAW,
		CLOCK_BOOTTIME,
	};
	struct timespec ts;

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		clock_gettime(ids[i], &ts);
		__atomic_store_n(&clock_stands_ns[ids[i]],
				 (uint64_t)ts.tv_sec * CFS_NS_PER_S +
					 (uint64_t)ts.tv_nsec,
				 __ATOMIC_RELAXED);
	}
}

/* ---- what a process does ------------------------------------------------- */

struct worker {
	struct cfs_session *s;
	struct cfs_serve *serve;
	struct cfs_io_volume *v;
	struct cfs_err err;
};

static inline int worker_session(struct worker *w, const struct order *o)
{
	const struct cfs_session_options opt = {
		.is_writable = true,
		.must_hold = o->op == OP_SERVE,
		.wait_seconds = 20,
		.io_mode = (enum cfs_io_mode)o->mode,
	};

	return w->s ? 0 : cfs_session_open(pool_path, &opt, &w->s, &w->err);
}

static inline int worker_serve(struct worker *w, const struct order *o)
{
	const struct cfs_serve_options opt = { .run_directory = run_path };
	int r = worker_session(w, o);

	if (r == 0)
		r = cfs_serve_new(w->s, NULL, &w->serve, &w->err);
	return r < 0 ? r : cfs_serve_start(w->serve, &opt, &w->err);
}

static inline int worker_stop(struct worker *w)
{
	int r = cfs_serve_stop(w->serve, 2000, &w->err);

	cfs_serve_free(w->serve);
	w->serve = NULL;
	return r;
}

static inline int worker_open(struct worker *w, const struct order *o)
{
	const char *snap = o->op == OP_SNAP_OPEN ? o->name : NULL;
	int r = worker_session(w, o);

	return r < 0 ? r
		     : cfs_io_open(w->s, snap ? "lun" : o->name, snap,
				   o->is_writable, &w->v, &w->err);
}

static inline int worker_write(struct worker *w, const struct order *o)
{
	uint8_t buf[BLOCK];
	int r = 0;

	for (uint32_t b = o->first; b < o->first + o->count && r == 0; b++) {
		block_fill(buf, b, o->version);
		r = cfs_io_write(w->v, (uint64_t)b * BLOCK, buf, BLOCK,
				 &w->err);
	}
	return r;
}

/* All of one version (value 1), or not (0). */
static inline int worker_read(struct worker *w, const struct order *o,
			      struct answer *a)
{
	uint8_t buf[BLOCK];
	int r = 0;

	a->value = 1;
	for (uint32_t b = o->first; b < o->first + o->count && r == 0; b++) {
		r = cfs_io_read(w->v, (uint64_t)b * BLOCK, buf, BLOCK, NULL,
				&w->err);
		a->version = r == 0 ? block_version(buf, b) : UINT32_MAX;
		if (a->version != o->version)
			a->value = 0;
	}
	return r;
}

/* @count blocks all over the LUN with one call, the first of them @first: all
 * of one version but that one, of which only the lease counts. */
static inline int worker_read_many(struct worker *w, const struct order *o,
				   struct answer *a)
{
	struct cfs_io_part parts[16];
	uint8_t buf[16][BLOCK];
	int r;

	assert(o->count <= 16);
	for (uint32_t i = 0; i < o->count; i++)
		parts[i] = (struct cfs_io_part){
			.offset_bytes = (o->first + i * (BLOCKS / o->count)) *
					(uint64_t)BLOCK,
			.buf = buf[i],
			.length_bytes = BLOCK,
		};
	r = cfs_io_read_many(w->v, parts, o->count, &w->err);
	a->value = 1;
	for (uint32_t i = 1; i < o->count && r == 0; i++)
		if (block_version(buf[i], (uint32_t)(parts[i].offset_bytes /
						     BLOCK)) != o->version)
			a->value = 0;
	return r;
}

/* Each block is between what was synced and what was begun. */
static inline int worker_check(struct worker *w, const struct order *o,
			       struct answer *a)
{
	const uint32_t at_once = 256;
	uint8_t *buf = malloc((size_t)at_once * BLOCK);
	int r = 0;

	for (uint32_t b = o->first; b < o->first + o->count && r == 0;
	     b += at_once) {
		r = cfs_io_read(w->v, (uint64_t)b * BLOCK, buf,
				(size_t)at_once * BLOCK, NULL, &w->err);
		for (uint32_t i = 0; i < at_once && r == 0; i++) {
			uint32_t v = block_version(buf + (size_t)i * BLOCK,
						   b + i);

			if (v >= shared->synced[b + i] &&
			    v <= shared->begun[b + i])
				continue;
			a->value++;
			snprintf(a->text, sizeof(a->text),
				 "block %u has "
				 "version %u, not %u to %u",
				 b + i, v, shared->synced[b + i],
				 shared->begun[b + i]);
		}
	}
	free(buf);
	return r;
}

/* Random blocks of the range, synced now and then, until it is told to end or
 * something fails. */
static inline int worker_load(struct worker *w, const struct order *o)
{
	struct cfs_rng rng;
	uint32_t list[64], n = 0;
	uint8_t buf[8 * BLOCK];
	int r = 0;

	cfs_rng_init(&rng, o->version + 1);
	shared->ended[o->version] = 1;
	while (r == 0 && !__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
		uint32_t count = 1 + (uint32_t)cfs_rng_below(&rng, 4);
		uint32_t b = o->first +
			     (uint32_t)cfs_rng_below(&rng, o->count - count);

		for (uint32_t i = 0; i < count; i++) {
			uint32_t v = __atomic_add_fetch(&shared->begun[b + i],
							1, __ATOMIC_SEQ_CST);

			block_fill(buf + (size_t)i * BLOCK, b + i, v);
			list[n++] = b + i;
		}
		r = cfs_io_write(w->v, (uint64_t)b * BLOCK, buf,
				 (size_t)count * BLOCK, &w->err);
		if (r == 0 && n > 40) {
			r = cfs_io_sync(w->v, &w->err);
			for (uint32_t i = 0; i < n && r == 0; i++)
				__atomic_store_n(&shared->synced[list[i]],
						 shared->begun[list[i]],
						 __ATOMIC_SEQ_CST);
			n = 0;
			__atomic_add_fetch(&shared->steps[o->version], 1,
					   __ATOMIC_SEQ_CST);
		}
	}
	if (r == 0)
		r = cfs_io_sync(w->v, &w->err);
	shared->ended[o->version] = r;
	return r;
}

static inline int revoke_one(void *arg, const struct cfs_lease_record *rec)
{
	uint64_t *pid_and_client = arg;

	if (rec->kind == CFS_RECORD_CLIENT &&
	    rec->u.client.pid == pid_and_client[0] &&
	    strcmp(rec->u.client.name, "volumes in use") != 0)
		pid_and_client[1] = rec->client_id;
	return 0;
}

/* The client that is process @o->first. */
static inline int worker_revoke(struct worker *w, const struct order *o)
{
	const struct cfs_session_options opt = { .wait_seconds = 5 };
	uint64_t found[2] = { o->first, 0 };
	struct cfs_msg_status_head head;
	struct cfs_manager_info info;
	struct cfs_manager *m = NULL;
	int r = cfs_manager_find(pool_path, &opt, &info, &w->err);

	if (r == 0)
		r = cfs_manager_connect(&info, "test", &opt, 5000, &m, &w->err);
	if (r == 0)
		r = cfs_manager_status(m, revoke_one, found, &head, &w->err);
	if (r == 0)
		r = found[1] ? cfs_manager_revoke(m, 0, found[1], &w->err)
			     : -ENOENT;
	cfs_manager_close(m);
	return r;
}

/* Write @count blocks from @first on in large pieces and sync; nanoseconds. */
static inline int worker_rate(struct worker *w, const struct order *o,
			      struct answer *a)
{
	const size_t bytes = 1u << 20;
	uint8_t *buf = malloc(bytes);
	uint64_t begin = cfs_clock_elapsed_ns(cfs_clock_system());
	int r = 0;

	for (size_t i = 0; i < bytes / BLOCK; i++)
		block_fill(buf + i * BLOCK, (uint32_t)i, o->version);
	for (uint64_t at = (uint64_t)o->first * BLOCK;
	     at < (uint64_t)(o->first + o->count) * BLOCK && r == 0;
	     at += bytes)
		r = o->is_writable
			    ? cfs_io_write(w->v, at, buf, bytes, &w->err)
			    : cfs_io_read(w->v, at, buf, bytes, NULL, &w->err);
	if (r == 0 && o->is_writable)
		r = cfs_io_sync(w->v, &w->err);
	a->value = cfs_clock_elapsed_ns(cfs_clock_system()) - begin;
	free(buf);
	return r;
}

/* Orders for a volume are of who has opened one. */
static inline const struct direct_volume *volume_of(const struct worker *w)
{
	assert(w->v);
	return (const struct direct_volume *)w->v;
}

/* Write without a lease, and give it back. */
static inline int worker_lie(struct worker *w, const struct order *o)
{
	const struct direct_volume *v = volume_of(w);
	uint8_t buf[BLOCK];
	int r = cfs_op_begin(v->dc->c, CFS_OP_NORMAL, &w->err);

	block_fill(buf, o->first, o->version);
	if (r == 0) {
		r = cfs_data_write(v->dc->c, v->view.branch, v->ino,
				   (uint64_t)o->first * BLOCK, buf, BLOCK,
				   &w->err);
		cfs_op_end(v->dc->c);
	}
	return r < 0 ? r : cfs_container_fold(v->dc->c, &w->err);
}

/* A request as @o says: type, client (0: ours), value, length of data. */
static inline int worker_raw(struct worker *w, const struct order *o)
{
	const struct direct_volume *v = volume_of(w);
	static uint8_t data[CFS_DIRECT_DATA_MAX];
	const struct cfs_direct_request q = {
		.container = v->dc->id,
		.client = o->version ? v->dc->client + o->version
				     : v->dc->client,
		.value = o->count,
		.total = (uint64_t)o->count << 20,
		.data = data,
		.data_bytes = o->mode,
	};

	memset(data, 0x5a, sizeof(data));
	return direct_call(v->d, (uint16_t)o->first, &q, NULL, &w->err);
}

static inline int worker_do(struct worker *w, const struct order *o,
			    struct answer *a)
{
	const struct cfs_snap_name snap = { "lun", o->name };
	int r = 0;

	switch (o->op) {
	case OP_SERVE:
		return worker_serve(w, o);
	case OP_STOP:
		return worker_stop(w);
	case OP_OPEN:
	case OP_SNAP_OPEN:
		return worker_open(w, o);
	case OP_WRITE:
		return worker_write(w, o);
	case OP_DISCARD:
		return cfs_io_discard(w->v, (uint64_t)o->first * BLOCK,
				      (uint64_t)o->count * BLOCK, &w->err);
	case OP_READ:
		return worker_read(w, o, a);
	case OP_READ_MANY:
		return worker_read_many(w, o, a);
	case OP_CHECK:
		return worker_check(w, o, a);
	case OP_SYNC:
		return cfs_io_sync(w->v, &w->err);
	case OP_LOAD:
		return worker_load(w, o);
	case OP_RATE:
		return worker_rate(w, o, a);
	case OP_SIZE:
		a->value = cfs_io_size_bytes(w->v);
		return 0;
	case OP_RESIZE:
		r = worker_session(w, o);
		return r < 0 ? r
			     : cfs_session_resize_volume(
				       w->s, "lun", (uint64_t)o->count * BLOCK,
				       &w->err);
	case OP_SNAPSHOT:
		r = worker_session(w, o);
		return r < 0 ? r
			     : cfs_session_snap_take(w->s, &snap, 1, NULL,
						     &w->err);
	case OP_REVOKE:
		return worker_revoke(w, o);
	case OP_STATS:
		if (!w->s || !w->s->direct)
			return -ENOTSUP;
		cfs_direct_stats(w->s->direct, &a->stats);
		return 0;
	case OP_LIE:
		return worker_lie(w, o);
	case OP_RAW:
		return worker_raw(w, o);
	case OP_CLOCK:
		stop_clocks();
		return 0;
	case OP_SET:
		return cfs_session_set(w->s, o->count ? "lun" : NULL, "checked",
				       o->name, &w->err);
	case OP_CLOSE:
		cfs_io_close(w->v);
		w->v = NULL;
		return 0;
	case OP_END:
		cfs_io_close(w->v);
		w->v = NULL;
		r = cfs_session_close(w->s, &w->err);
		w->s = NULL;
		return r;
	}
	return -EINVAL;
}

static inline void worker_run(int fd)
{
	struct worker w = { .s = NULL };
	struct order o;

	while (read(fd, &o, sizeof(o)) == (ssize_t)sizeof(o)) {
		struct answer a = { .code = 0 };

		w.err.msg[0] = '\0';
		a.code = worker_do(&w, &o, &a);
		if (a.code < 0)
			snprintf(a.text, sizeof(a.text), "%.190s", w.err.msg);
		if (write(fd, &a, sizeof(a)) != (ssize_t)sizeof(a))
			break;
	}
	_exit(0);
}

/* ---- the test's side ----------------------------------------------------- */

static inline struct process start(void)
{
	struct process p;
	int fds[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	p.pid = fork();
	assert_true(p.pid >= 0);
	if (p.pid == 0) {
		close(fds[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		worker_run(fds[1]);
	}
	close(fds[1]);
	p.fd = fds[0];
	return p;
}

static inline void send_order(const struct process *p, const struct order *o)
{
	assert_int_equal(write(p->fd, o, sizeof(*o)), sizeof(*o));
}

static inline struct answer take_answer(const struct process *p)
{
	struct answer a = { .code = -EPIPE };

	if (read(p->fd, &a, sizeof(a)) != (ssize_t)sizeof(a))
		a.code = -EPIPE;
	return a;
}

static inline struct answer ask(const struct process *p, struct order o)
{
	send_order(p, &o);
	return take_answer(p);
}

#define MUST(p, ...)                                                           \
	__extension__({                                                        \
		struct answer a_ = ask((p), (struct order){ __VA_ARGS__ });    \
		if (a_.code < 0)                                               \
			fail_msg("%s: %d: %s", #__VA_ARGS__, a_.code,          \
				 a_.text);                                     \
		a_;                                                            \
	})

static inline void end(struct process *p, int signal)
{
	if (signal)
		kill(p->pid, signal);
	/* Those that were forked behind it have this end too. */
	shutdown(p->fd, SHUT_RDWR);
	close(p->fd);
	waitpid(p->pid, NULL, 0);
}

static inline struct process start_manager(void)
{
	struct process p = start();

	MUST(&p, .op = OP_SERVE);
	return p;
}

static inline void stop_manager(struct process *p)
{
	MUST(p, .op = OP_STOP);
	MUST(p, .op = OP_END);
	end(p, 0);
}

static inline struct process start_client(uint32_t mode)
{
	struct process p = start();

	MUST(&p, .op = OP_OPEN, .name = "lun", .is_writable = true,
	     .mode = mode);
	return p;
}

static inline void stop_client(struct process *p)
{
	MUST(p, .op = OP_END);
	end(p, 0);
}

/* A pool of 1 GiB with a LUN, and leases of @period. */
static inline void make_pool_with(const char *period)
{
	const char *const device = pool_path;
	const struct cfs_format_options opt = {
		.devices = &device,
		.device_count = 1,
		.size_bytes = UINT64_C(1) << 30,
		.is_forced = true,
	};
	const struct cfs_session_options session_opt = { .is_writable = true };
	struct cfs_format_result result;
	struct cfs_session *s;
	struct cfs_err err;

	memset(shared, 0, sizeof(*shared));
	(void)unlink(pool_path);
	if (cfs_pool_format(&opt, &result, &err) < 0 ||
	    cfs_session_open(pool_path, &session_opt, &s, &err) < 0 ||
	    cfs_session_set(s, NULL, "lease_period", period, &err) < 0 ||
	    cfs_session_create(s, "lun", CFS_VOLUME_LUN, LUN_BYTES, 0, false,
			       &err) < 0 ||
	    cfs_session_close(s, &err) < 0)
		fail_msg("%s", err.msg);
}

/* In a process of its own, as the test has no threads. */
static inline void make_pool(const char *period)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		make_pool_with(period);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static inline int fixture_setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/var/tmp/cfs-direct-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(pool_path, sizeof(pool_path), "%s/pool.img", dir);
	snprintf(run_path, sizeof(run_path), "%s/run", dir);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return shared == MAP_FAILED ? -1 : 0;
}

static inline int fixture_teardown(void **state)
{
	char command[160];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

/* The pool as it is now: whole, and each block as it may be. */
static inline void check_all(const struct process *p)
{
	struct answer a = MUST(p, .op = OP_CHECK, .first = 0, .count = BLOCKS);

	if (a.value)
		fail_msg("%u blocks are wrong: %s", (unsigned int)a.value,
			 a.text);
}

static inline uint64_t now_ns(void)
{
	return cfs_clock_elapsed_ns(cfs_clock_system());
}
