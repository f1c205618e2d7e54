/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The pool behind the exports.  If nobody holds it, it is ours, and others are
 * answered as a cfsd does; else we are a client of whoever holds it.
 *
 * A client's session ends with the process that it asks.  Then what is open
 * fails until it is closed, since nobody knows what became of writes that were
 * not flushed; whoever connects after that gets a new session, in which the
 * pool may be ours.
 */
#define NBDKIT_API_VERSION 2

#include "nbdkit/plugin.h"

#include "common/run.h"
#include "session/lease.h"
#include "session/serve.h"

#include <errno.h>
#include <nbdkit-plugin.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* What others have asked for may end. */
#define GRACE_MS 10000u

struct pool {
	struct cfs_session *s;
	struct cfs_serve *serve; /* NULL: another process holds it */
	struct cfs_logger logger;
	unsigned int users;
	bool is_broken;
};

struct pool_config pool_config;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pool *current;

static const char *env(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static enum cfs_io_mode io_mode(void)
{
	const char *value = env("CFS_IO");

	if (value && strcmp(value, "direct") == 0)
		return CFS_IO_MODE_DIRECT;
	return value && strcmp(value, "forwarded") == 0 ? CFS_IO_MODE_FORWARDED
							: CFS_IO_MODE_ANY;
}

static void warn(void *arg, const char *line)
{
	(void)arg;
	nbdkit_error("%s: %s", pool_config.pool, line);
}

static void on_log(void *arg, enum cfs_log_level level, const char *line)
{
	if (level == CFS_LOG_WARNING)
		warn(arg, line);
	else
		nbdkit_debug("%s", line);
}

static struct cfs_session_options options(void)
{
	return (struct cfs_session_options){
		.is_writable = true,
		.io_mode = io_mode(),
		.wait_seconds = pool_config.wait_seconds,
		.lease = env("CFS_LEASE"),
		.search = pool_config.search,
		.search_count = pool_config.search_count,
		.tls_cert = env("CFS_TLS_CERT"),
		.tls_key = env("CFS_TLS_KEY"),
		.tls_ca = env("CFS_TLS_CA"),
		.warn = warn,
	};
}

int pool_look(struct cfs_err *err)
{
	const struct cfs_session_options opt = options();
	struct cfs_manager_info info;

	return cfs_manager_find(pool_config.pool, &opt, &info, err);
}

/* A device that may only be read is exported to read only. */
static int open_session(struct cfs_session **ret, struct cfs_err *err)
{
	struct cfs_session_options opt = options();
	int r = cfs_session_open(pool_config.pool, &opt, ret, err);

	if (r == -EROFS || r == -EACCES || r == -EPERM) {
		opt.is_writable = false;
		r = cfs_session_open(pool_config.pool, &opt, ret, err);
	}
	return r;
}

static int serve_others(struct pool *p, struct cfs_err *err)
{
	char directory[CFS_RUN_DIRECTORY_BYTES];
	const struct cfs_serve_options opt = { .run_directory = directory };
	int r = cfs_run_directory(env("CFS_RUN"), directory, err);

	p->logger = (struct cfs_logger){
		.write = on_log,
		.max_level = CFS_LOG_DEBUG,
	};
	if (r == 0)
		r = cfs_serve_new(p->s, &p->logger, &p->serve, err);
	return r < 0 ? r : cfs_serve_start(p->serve, &opt, err);
}

static int pool_free(struct pool *p, struct cfs_err *err)
{
	struct cfs_err why = CFS_ERR_INIT;
	int r = 0, r2;

	if (p->serve)
		r = cfs_serve_stop(p->serve, GRACE_MS, err);
	cfs_serve_free(p->serve);
	r2 = cfs_session_close(p->s, &why);
	if (r == 0 && r2 < 0) {
		*err = why;
		r = r2;
	}
	free(p);
	return r;
}

static int pool_new(struct pool **ret, struct cfs_err *err)
{
	struct pool *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = open_session(&p->s, err);
	if (r < 0) {
		free(p);
		return r;
	}
	if (cfs_session_is_holder(p->s) && cfs_session_is_writable(p->s))
		r = serve_others(p, err);
	if (r < 0) {
		struct cfs_err unused = CFS_ERR_INIT;

		(void)pool_free(p, &unused);
		return r;
	}
	*ret = p;
	return 0;
}

/* With the lock. */
static void drop(struct pool *p)
{
	const bool is_broken = p->is_broken;
	struct cfs_err err = CFS_ERR_INIT;

	if (--p->users > 0)
		return;
	if (p == current)
		current = NULL;
	if (pool_free(p, &err) < 0 && !is_broken)
		nbdkit_error("%s: %s", pool_config.pool, err.msg);
}

int pool_get(struct pool **ret, struct cfs_err *err)
{
	int r = 0;

	pthread_mutex_lock(&lock);
	if (current && current->is_broken) {
		struct pool *old = current;

		current = NULL;
		drop(old);
	}
	if (!current) {
		r = pool_new(&current, err);
		if (r == 0)
			current->users = 1; /* ours, until pool_end */
	}
	if (r == 0) {
		current->users++;
		*ret = current;
	}
	pthread_mutex_unlock(&lock);
	return r;
}

void pool_put(struct pool *p)
{
	pthread_mutex_lock(&lock);
	drop(p);
	pthread_mutex_unlock(&lock);
}

void pool_is_broken(struct pool *p)
{
	pthread_mutex_lock(&lock);
	p->is_broken = !p->serve;
	pthread_mutex_unlock(&lock);
}

struct cfs_session *pool_session(struct pool *p)
{
	return p->s;
}

void pool_rest(void)
{
	struct pool *p;

	pthread_mutex_lock(&lock);
	p = current;
	if (p)
		p->users++;
	pthread_mutex_unlock(&lock);
	if (!p)
		return;
	cfs_session_rest(p->s);
	pool_put(p);
}

void pool_end(void)
{
	pthread_mutex_lock(&lock);
	if (current)
		drop(current);
	pthread_mutex_unlock(&lock);
}
