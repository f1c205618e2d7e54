/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pools behind the units.  If nobody holds one it is ours, and others are
 * answered as a cfsd does; else we are a client of whoever holds it.  It is
 * kept when its last unit goes, since the next one may be about to come: until
 * tgtd ends, or its session does.
 *
 * A client's session is over when its leases are lost, or who it asks is gone
 * for long.  Then all of its units fail until they are made anew: nobody knows
 * what became of writes that were not flushed.
 */
#include "tgt/bs.h"

#include "session/lease.h"
#include "session/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What others have asked for may end. */
#define GRACE_MS       5000u
#define PATH_BYTES_MAX 4096u
#define SEARCH_MAX     64u

struct bs_pool {
	struct bs_pool *next;
	char *path;
	struct cfs_session *s;
	struct cfs_serve *serve; /* NULL: another process holds it */
	struct cfs_logger logger;
	unsigned int users;
	atomic_uint_fast64_t calls;
	uint64_t rested; /* of these */
	bool is_over;    /* and not in the list */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct bs_pool *pools;

/* ---- surroundings -------------------------------------------------------- */

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

/* Where sockets are, as for all tools. */
static int run_directory(char ret[PATH_BYTES_MAX], struct cfs_err *err)
{
	const char *run = env("CFS_RUN"), *own = env("XDG_RUNTIME_DIR");
	int n;

	if (run || geteuid() == 0)
		n = snprintf(ret, PATH_BYTES_MAX, "%s", run ? run : "/run/cfs");
	else if (own)
		n = snprintf(ret, PATH_BYTES_MAX, "%s/cfs", own);
	else
		return cfs_err_set(err, -ENOENT,
				   "no directory for the socket: "
				   "set CFS_RUN");
	return n > 0 && (unsigned int)n < PATH_BYTES_MAX
		       ? 0
		       : cfs_err_errno(err, -ENAMETOOLONG, "CFS_RUN");
}

static void warn(void *arg, const char *line)
{
	const struct bs_pool *p = arg;

	bs_log("%s: %s", p->path, line);
}

static void on_log(void *arg, enum cfs_log_level level, const char *line)
{
	(void)level;
	warn(arg, line);
}

/* $CFS_SEARCH: directories, with colons between them. */
static size_t split_search(char *text, const char *ret[SEARCH_MAX])
{
	char *rest = text, *at;
	size_t n = 0;

	while (n < SEARCH_MAX && (at = strsep(&rest, ":")))
		if (*at)
			ret[n++] = at;
	return n;
}

/* ---- sessions ------------------------------------------------------------ */

/* A device that may only be read has units that are only read. */
static int open_session(struct bs_pool *p, unsigned int wait_seconds,
			struct cfs_err *err)
{
	char *text = strdup(env("CFS_SEARCH") ? env("CFS_SEARCH") : "");
	const char *search[SEARCH_MAX];
	struct cfs_session_options opt = {
		.is_writable = true,
		.io_mode = io_mode(),
		.wait_seconds = wait_seconds,
		.lease = env("CFS_LEASE"),
		.search = search,
		.tls_cert = env("CFS_TLS_CERT"),
		.tls_key = env("CFS_TLS_KEY"),
		.tls_ca = env("CFS_TLS_CA"),
		.warn = warn,
		.arg = p,
	};
	int r;

	if (!text)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	opt.search_count = split_search(text, search);
	r = cfs_session_open(p->path, &opt, &p->s, err);
	if (r == -EROFS || r == -EACCES || r == -EPERM) {
		opt.is_writable = false;
		r = cfs_session_open(p->path, &opt, &p->s, err);
	}
	free(text);
	return r;
}

static int serve_others(struct bs_pool *p, struct cfs_err *err)
{
	char directory[PATH_BYTES_MAX];
	const struct cfs_serve_options opt = { .run_directory = directory };
	int r = run_directory(directory, err);

	p->logger = (struct cfs_logger){
		.write = on_log,
		.context = p,
		.max_level = CFS_LOG_WARNING,
	};
	if (r == 0)
		r = cfs_serve_new(p->s, &p->logger, &p->serve, err);
	return r < 0 ? r : cfs_serve_start(p->serve, &opt, err);
}

static int pool_free(struct bs_pool *p, struct cfs_err *err)
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
	free(p->path);
	free(p);
	return r;
}

static int pool_new(const char *path, unsigned int wait_seconds,
		    struct bs_pool **ret, struct cfs_err *err)
{
	struct bs_pool *p = calloc(1, sizeof(*p));
	struct cfs_err unused = CFS_ERR_INIT;
	int r;

	if (p)
		p->path = strdup(path);
	if (!p || !p->path) {
		free(p);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	r = open_session(p, wait_seconds, err);
	if (r == 0 && cfs_session_is_holder(p->s) &&
	    cfs_session_is_writable(p->s))
		r = serve_others(p, err);
	if (r < 0) {
		(void)pool_free(p, &unused);
		return r;
	}
	*ret = p;
	return 0;
}

/* ---- users --------------------------------------------------------------- */

int bs_pool_get(const char *path, unsigned int wait_seconds,
		struct bs_pool **ret, struct cfs_err *err)
{
	struct bs_pool *p;
	int r = 0;

	pthread_mutex_lock(&lock);
	for (p = pools; p && strcmp(p->path, path) != 0; p = p->next)
		;
	if (!p) {
		r = pool_new(path, wait_seconds, &p, err);
		if (r == 0) {
			p->next = pools;
			pools = p;
		}
	}
	if (r == 0) {
		p->users++;
		*ret = p;
	}
	pthread_mutex_unlock(&lock);
	return r;
}

void bs_pool_put(struct bs_pool *p)
{
	struct cfs_err err = CFS_ERR_INIT;
	bool is_last;

	pthread_mutex_lock(&lock);
	is_last = --p->users == 0 && p->is_over;
	pthread_mutex_unlock(&lock);
	/* What it says of its end is known. */
	if (is_last)
		(void)pool_free(p, &err);
}

struct cfs_session *bs_pool_session(struct bs_pool *p)
{
	return p->s;
}

void bs_pool_called(struct bs_pool *p)
{
	atomic_fetch_add_explicit(&p->calls, 1, memory_order_relaxed);
}

uint64_t bs_pool_calls(const struct bs_pool *p)
{
	return atomic_load_explicit(&p->calls, memory_order_relaxed);
}

bool bs_pool_rest(struct bs_pool *p, uint64_t calls)
{
	bool is_due;

	if (bs_pool_calls(p) != calls)
		return false;
	pthread_mutex_lock(&lock);
	is_due = p->rested != calls;
	p->rested = calls;
	pthread_mutex_unlock(&lock);
	if (is_due)
		cfs_session_rest(p->s);
	return true;
}

static void tell_lost(const char *what)
{
	const char *file = env("CFS_EXPORT_LOST");
	int fd = file ? open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
			     0600)
		      : -1;

	if (fd < 0)
		return;
	if (dprintf(fd, "%s\n", what) < 0)
		bs_log("%s: %s", file, strerror(errno));
	close(fd);
}

void bs_pool_failed(struct bs_pool *p, int r, const char *what)
{
	struct bs_pool **at;
	bool is_first = false;

	if (p->serve || (r != -ECONNRESET && r != -ESTALE))
		return;
	pthread_mutex_lock(&lock);
	for (at = &pools; *at && *at != p; at = &(*at)->next)
		;
	if (*at) {
		*at = p->next;
		p->is_over = true;
		is_first = true;
	}
	pthread_mutex_unlock(&lock);
	if (is_first)
		tell_lost(what);
}

void bs_pools_end(void)
{
	struct bs_pool *p;

	pthread_mutex_lock(&lock);
	while ((p = pools)) {
		struct cfs_err err = CFS_ERR_INIT;

		pools = p->next;
		/* Its units are in use: the next opening recovers. */
		if (p->users == 0 && pool_free(p, &err) < 0)
			bs_log("%s", err.msg);
	}
	pthread_mutex_unlock(&lock);
}
