/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A manager in the process of the test, and secondaries: in that process too,
 * or, where one has to die or stand still, in one of its own, which is forked
 * while the test has no other threads.  Include after <cmocka.h>.
 */
#pragma once

#include "lease_fixture.h"

#include "base/clock.h"
#include "session/remote.h"
#include "session/secondary.h"
#include "session/serve_priv.h"
#include "session/serve_run_priv.h"

#include <assert.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static char pool_path[128], run_path[128];

static const struct cfs_conn_wait patient = {
	.timeout_ns = 60 * CFS_NS_PER_S,
};

/* What a process has that others ask. */
struct party {
	struct cfs_session *s;
	struct cfs_serve *serve;
};

static struct party manager;
static struct cfs_err err;

static const struct cfs_session_options options = {
	.is_writable = true,
	.must_hold = true,
	.wait_seconds = 60,
};

#define OK(expr)                                                               \
	do {                                                                   \
		err.msg[0] = '\0';                                             \
		int r_ = (expr);                                               \
		if (r_ != 0)                                                   \
			fail_msg("%s: %d: %s", #expr, r_, err.msg);            \
	} while (0)

/* @cond comes true, or the test fails. */
#define UNTIL(cond)                                                            \
	do {                                                                   \
		const uint64_t late_ = now_ns() + 60 * CFS_NS_PER_S;           \
		while (!(cond)) {                                              \
			if (now_ns() > late_)                                  \
				fail_msg("not in time: %s", #cond);            \
			usleep(1000);                                          \
		}                                                              \
	} while (0)

static inline uint64_t now_ns(void)
{
	return cfs_clock_elapsed_ns(cfs_clock_system());
}

static inline struct cfs_serve *serve_on(struct cfs_session *s)
{
	const struct cfs_serve_options opt = { .run_directory = run_path };
	struct cfs_serve *serve = NULL;

	OK(cfs_serve_new(s, NULL, &serve, &err));
	OK(cfs_serve_start(serve, &opt, &err));
	return serve;
}

static inline uint64_t container_of(const char *name)
{
	struct cfs_volume_place place = { .container = 0 };

	OK(cfs_session_place_find(manager.s, name, NULL, &place, &err));
	return place.container;
}

static inline uint64_t make_volume(const char *name, uint32_t kind)
{
	OK(cfs_session_create(manager.s, name, kind,
			      kind == CFS_VOLUME_LUN ? 1 << 20 : 0, 0, false,
			      &err));
	return container_of(name);
}

static inline void make_manager_on(const char *period, bool is_shared)
{
	const char *const device = pool_path;
	const struct cfs_format_options opt = {
		.devices = &device,
		.device_count = 1,
		.size_bytes = UINT64_C(128) << 20,
		.is_forced = true,
		.is_shared = is_shared,
	};
	struct cfs_format_result result;

	snprintf(pool_path, sizeof(pool_path), "%s/pool.img", fixture_dir);
	snprintf(run_path, sizeof(run_path), "%s/run", fixture_dir);
	OK(cfs_pool_format(&opt, &result, &err));
	OK(cfs_session_open(pool_path, &options, &manager.s, &err));
	OK(cfs_session_set(manager.s, NULL, "lease_period", period, &err));
	manager.serve = serve_on(manager.s);
}

/* A manager of a new pool, with leases of @period. */
static inline void make_manager(const char *period)
{
	make_manager_on(period, false);
}

static inline void make_shared_manager(const char *period)
{
	make_manager_on(period, true);
}

static inline void end(struct party *p)
{
	cfs_serve_free(p->serve);
	OK(cfs_session_close(p->s, &err));
}

/* The container is its own from now on; or why not. */
static inline int try_delegate(const char *name, unsigned int wait_seconds,
			       struct party *ret)
{
	const struct cfs_secondary_options own = { .arg = NULL };
	struct cfs_session_options opt = options;
	int r;

	opt.wait_seconds = wait_seconds;
	r = cfs_secondary_open(pool_path, name, &opt, &own, &ret->s, &err);
	if (r == 0)
		ret->serve = serve_on(ret->s);
	return r;
}

static inline struct party delegate(const char *name)
{
	struct party p = { .s = NULL };

	OK(try_delegate(name, 60, &p));
	return p;
}

static inline void *end_party(void *arg)
{
	end(arg);
	return NULL;
}

/* ---- in a process of its own --------------------------------------------- */

struct child {
	pid_t pid;
	int fd;
};

static inline void child_run(const char *name, const char *period,
			     bool is_shared, int fd)
{
	struct party p = { .s = NULL };
	char order;

	/* When it is told to, serve; and go on until it is killed. */
	if (read(fd, &order, 1) != 1)
		_exit(1);
	if (period) {
		make_manager_on(period, is_shared);
		(void)make_volume("lun", CFS_VOLUME_LUN);
	} else if (try_delegate(name, 60, &p) < 0) {
		_exit(1);
	}
	if (write(fd, &order, 1) == 1)
		(void)!read(fd, &order, 1);
	_exit(1);
}

static inline struct child child_fork(const char *name, const char *period,
				      bool is_shared)
{
	struct child c;
	int fds[2];

	snprintf(pool_path, sizeof(pool_path), "%s/pool.img", fixture_dir);
	snprintf(run_path, sizeof(run_path), "%s/run", fixture_dir);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	c.pid = fork();
	assert_true(c.pid >= 0);
	if (c.pid == 0) {
		close(fds[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		child_run(name, period, is_shared, fds[1]);
	}
	close(fds[1]);
	c.fd = fds[0];
	return c;
}

/* A secondary; made before there is a manager. */
static inline struct child child_new(const char *name)
{
	return child_fork(name, NULL, false);
}

/* A manager, of a new pool with a LUN, "lun". */
static inline struct child child_manager(const char *period, bool is_shared)
{
	return child_fork(NULL, period, is_shared);
}

/* It serves what it is for. */
static inline void child_serve(const struct child *c)
{
	char word = 0;

	assert_int_equal(write(c->fd, &word, 1), 1);
	assert_int_equal(read(c->fd, &word, 1), 1);
}

static inline void child_kill(struct child *c)
{
	kill(c->pid, SIGKILL);
	assert_int_equal(waitpid(c->pid, NULL, 0), c->pid);
	close(c->fd);
}

/* ---- leases -------------------------------------------------------------- */

static inline struct cfs_link *link_to(const struct party *p)
{
	struct cfs_address address;
	struct cfs_link *link;

	OK(cfs_address_parse(cfs_serve_address(p->serve), &address, &err));
	OK(cfs_link_connect(&address, NULL, 30000, &link, &err));
	return link;
}

static inline struct cfs_leaser *join_pool(const uint8_t pool_uuid[16],
					   struct cfs_link *link)
{
	struct cfs_lease_client_config config = {
		.hello = { .host = "host", .name = "test", .pid = 1 },
	};
	struct cfs_leaser *leaser = NULL;

	memcpy(config.hello.pool_uuid, pool_uuid, 16);
	OK(cfs_leaser_connect(link, &config, NULL, &patient, &leaser, &err));
	return leaser;
}

static inline struct cfs_leaser *join_over(struct cfs_link *link)
{
	return join_pool(cfs_devset_label(manager.s->set, 0)->pool_uuid, link);
}

static inline struct cfs_leaser *join(const struct party *p)
{
	return join_over(link_to(p));
}

static inline int ask(struct cfs_leaser *leaser, uint64_t container,
		      uint32_t flags, struct cfs_held **ret)
{
	const struct cfs_lease_request req = {
		.resource = {
			.container = container, .volume = 1,
			.length_bytes = CFS_LOCK_LENGTH_WHOLE,
		},
		.mode = CFS_LOCK_X,
		.flags = flags,
	};

	return cfs_leaser_acquire(leaser, &req, &patient, ret, NULL);
}

/* ---- those who work by way of the manager -------------------------------- */

struct peer {
	struct cfs_remote *remote;
	struct cfs_io_volume *v;
};

static inline struct peer peer_open(const char *volume)
{
	struct peer p;

	OK(cfs_remote_connect(cfs_serve_address(manager.serve),
			      cfs_devset_label(manager.s->set, 0)->pool_uuid,
			      &options, 30000, &p.remote, &err));
	OK(cfs_remote_io_open(p.remote, volume, NULL, true, 30 * CFS_NS_PER_S,
			      0, &p.v, &err));
	return p;
}

static inline void peer_close(struct peer *p)
{
	cfs_io_close(p->v);
	cfs_remote_close(p->remote);
}

/* Where the one volume is that peers of the manager have open. */
static inline enum serve_step step_of_it(void)
{
	struct cfs_serve_rpc *rpc = manager.serve->rpc;
	enum serve_step step = SERVE_LOST;
	struct serve_peer *p, *next;
	unsigned int count = 0;

	pthread_mutex_lock(&rpc->lock);
	HASH_ITER(hh, rpc->peers, p, next) {
		struct serve_handle *h, *after;

		pthread_mutex_lock(&p->lock);
		HASH_ITER(hh, p->handles, h, after) {
			step = h->step;
			count++;
		}
		pthread_mutex_unlock(&p->lock);
	}
	pthread_mutex_unlock(&rpc->lock);
	assert_int_equal(count, 1);
	return step;
}
