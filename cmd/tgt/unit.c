/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Units: a volume each, a queue, and threads that take requests from it.  There
 * are as many threads as requests have ever waited at a time, up to a bound; so
 * a unit that nobody uses has one, and a unit whose volume does not answer
 * holds up nobody else.
 *
 * Short reads that wait are taken together: the volume is asked once for all of
 * them, and one thread sleeps where many would have.  So not every such read
 * wakes one either: whoever takes some and leaves some wakes the next.
 *
 * When nothing has been asked for a while, the thread that notices gives back
 * the memory that the session no longer needs.
 */
#include "tgt/bs.h"

#include "base/clock.h"
#include "base/cond.h"
#include "ondisk/table.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX 16u
#define REST_NS     (3 * CFS_NS_PER_S)
/* One line of an error that comes again and again. */
#define QUIET_NS    CFS_NS_PER_S

struct bs_unit {
	struct bs_pool *pool;
	struct cfs_io_volume *io;
	char *name;
	bool is_writable;
	pthread_rwlock_t writes;

	pthread_mutex_t lock; /* what is below */
	pthread_cond_t changed;
	struct bs_request *first, **last;
	unsigned int queued, idle, running;
	unsigned int woken; /* of the idle: they look at the queue soon */
	bool wants_rest, is_ending;
	uint64_t quiet_until_ns;

	pthread_t threads[THREADS_MAX]; /* tgtd's thread */
	unsigned int thread_count;
};

/* ---- threads ------------------------------------------------------------- */

/* With the lock: the first, which there is. */
static struct bs_request *take_first(struct bs_unit *u)
{
	struct bs_request *r = u->first;

	u->first = r->next;
	if (!u->first)
		u->last = &u->first;
	u->queued--;
	u->running++;
	return r;
}

/* With the lock: if somebody waits whom nobody has woken. */
static void wake_one(struct bs_unit *u)
{
	if (u->idle == u->woken)
		return;
	u->woken++;
	pthread_cond_signal(&u->changed);
}

/* With the lock: how many, which are several reads or one request. */
static size_t take(struct bs_unit *u, struct bs_request *ret[BS_READS_MAX])
{
	size_t n = 0;

	if (!u->first)
		return 0;
	do
		ret[n++] = take_first(u);
	while (n < BS_READS_MAX && u->first && cfs_io_reads_many(u->io) &&
	       bs_request_is_short_read(ret[0]) &&
	       bs_request_is_short_read(u->first));
	if (u->first)
		wake_one(u);
	return n;
}

/* With the lock.  Who comes back by itself may count as one who was woken: he
 * looks at the queue as that one would have, who does so too. */
static void no_longer_idle(struct bs_unit *u)
{
	u->idle--;
	u->woken -= u->woken > 0;
}

/* With the lock, which is given back meanwhile; until something may have
 * changed. */
static void wait_for_work(struct bs_unit *u)
{
	u->idle++;
	pthread_cond_wait(&u->changed, &u->lock);
	no_longer_idle(u);
}

/* The same, by one who knows that nobody works. */
static void wait_or_rest(struct bs_unit *u)
{
	const uint64_t calls = bs_pool_calls(u->pool);
	bool has_rested = false;
	int r;

	u->wants_rest = false;
	u->idle++;
	r = cfs_cond_wait_ns(&u->changed, &u->lock, REST_NS);
	no_longer_idle(u);
	if (r == -ETIMEDOUT && !u->first && !u->is_ending) {
		pthread_mutex_unlock(&u->lock);
		has_rested = bs_pool_rest(u->pool, calls);
		pthread_mutex_lock(&u->lock);
	}
	if (!has_rested)
		u->wants_rest = true;
}

static void *work(void *arg)
{
	struct bs_unit *u = arg;
	struct bs_request *list[BS_READS_MAX];
	size_t n;

	pthread_mutex_lock(&u->lock);
	for (;;) {
		while (!(n = take(u, list)) && !u->is_ending) {
			if (u->running == 0 && u->wants_rest)
				wait_or_rest(u);
			else
				wait_for_work(u);
		}
		if (!n)
			break;
		pthread_mutex_unlock(&u->lock);
		bs_requests_run(u, list, n);
		bs_cmds_done(list, n);
		pthread_mutex_lock(&u->lock);
		u->running -= (unsigned int)n;
		u->wants_rest = true;
	}
	pthread_mutex_unlock(&u->lock);
	return NULL;
}

/* tgtd's thread.  0, or an errno. */
static int start_thread(struct bs_unit *u)
{
	sigset_t all, before;
	int code;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	code = pthread_create(&u->threads[u->thread_count], NULL, work, u);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (code == 0)
		u->thread_count++;
	return code;
}

void bs_unit_queue(struct bs_unit *u, struct bs_request *r)
{
	bool is_crowded;

	bs_pool_called(u->pool);
	pthread_mutex_lock(&u->lock);
	r->next = NULL;
	*u->last = r;
	u->last = &r->next;
	is_crowded = ++u->queued > u->idle;
	/* Who comes for a short read takes this one too. */
	if (u->woken == 0 || !bs_request_is_short_read(r))
		wake_one(u);
	pthread_mutex_unlock(&u->lock);
	/* Without one more it takes longer. */
	if (is_crowded && u->thread_count < THREADS_MAX)
		(void)start_thread(u);
}

/* ---- open and close ------------------------------------------------------ */

static int open_volume(struct bs_unit *u, const char *volume, const char *snap,
		       struct cfs_err *err)
{
	struct cfs_session *s = bs_pool_session(u->pool);
	int r = -EROFS;

	if (!snap && cfs_session_is_writable(s))
		r = cfs_io_open(s, volume, NULL, true, &u->io, err);
	u->is_writable = r == 0;
	if (r == -EROFS)
		r = cfs_io_open(s, volume, snap, false, &u->io, err);
	if (r < 0)
		bs_pool_failed(u->pool, r, err->msg);
	if (r == 0 && cfs_io_kind(u->io) != CFS_VOLUME_LUN)
		r = cfs_err_set(err, -EINVAL, "a tree is no disk");
	return r;
}

/* Names of volumes have no ':'. */
static int open_name(struct bs_unit *u, unsigned int wait_seconds,
		     struct cfs_err *err)
{
	char *text = strdup(u->name), *volume, *snap;
	int r;

	if (!text)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	volume = strrchr(text, ':');
	if (!volume || volume == text) {
		free(text);
		return cfs_err_set(err, -EINVAL, "not POOL:VOLUME");
	}
	*volume++ = '\0';
	snap = strchr(volume, '@');
	if (snap)
		*snap++ = '\0';
	r = bs_pool_get(text, wait_seconds, &u->pool, err);
	if (r == 0)
		r = open_volume(u, volume, snap, err);
	free(text);
	return r;
}

static void unit_free(struct bs_unit *u)
{
	cfs_io_close(u->io);
	if (u->pool)
		bs_pool_put(u->pool);
	pthread_rwlock_destroy(&u->writes);
	pthread_cond_destroy(&u->changed);
	pthread_mutex_destroy(&u->lock);
	free(u->name);
	free(u);
}

int bs_unit_open(const char *name, unsigned int wait_seconds,
		 struct bs_unit **ret, struct cfs_err *err)
{
	struct bs_unit *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	pthread_rwlock_init(&u->writes, NULL);
	pthread_mutex_init(&u->lock, NULL);
	cfs_cond_init(&u->changed);
	u->last = &u->first;
	u->name = strdup(name);
	r = u->name ? open_name(u, wait_seconds, err)
		    : cfs_err_set(err, -ENOMEM, "out of memory");
	if (r == 0) {
		r = -start_thread(u);
		if (r < 0)
			(void)cfs_err_errno(err, r, "a thread");
	}
	if (r < 0) {
		unit_free(u);
		return r;
	}
	*ret = u;
	return 0;
}

void bs_unit_close(struct bs_unit *u)
{
	if (!u)
		return;
	pthread_mutex_lock(&u->lock);
	u->is_ending = true;
	pthread_mutex_unlock(&u->lock);
	pthread_cond_broadcast(&u->changed);
	for (unsigned int i = 0; i < u->thread_count; i++)
		pthread_join(u->threads[i], NULL);
	unit_free(u);
}

/* ---- for requests -------------------------------------------------------- */

uint64_t bs_unit_size_bytes(const struct bs_unit *u)
{
	return cfs_io_size_bytes(u->io);
}

bool bs_unit_is_writable(const struct bs_unit *u)
{
	return u->is_writable;
}

struct cfs_io_volume *bs_unit_io(struct bs_unit *u)
{
	return u->io;
}

void bs_unit_begin_write(struct bs_unit *u, bool is_alone)
{
	if (is_alone)
		pthread_rwlock_wrlock(&u->writes);
	else
		pthread_rwlock_rdlock(&u->writes);
}

void bs_unit_end_write(struct bs_unit *u)
{
	pthread_rwlock_unlock(&u->writes);
}

void bs_unit_failed(struct bs_unit *u, const struct bs_request *r, int code,
		    const struct cfs_err *err)
{
	const uint64_t now = cfs_clock_elapsed_ns(cfs_clock_system());
	bool is_quiet;

	bs_pool_failed(u->pool, code, err->msg);
	pthread_mutex_lock(&u->lock);
	is_quiet = now < u->quiet_until_ns;
	if (!is_quiet)
		u->quiet_until_ns = now + QUIET_NS;
	pthread_mutex_unlock(&u->lock);
	if (!is_quiet)
		bs_log("%s: command %#x at %llu: %s", u->name, r->op,
		       (unsigned long long)r->offset_bytes, err->msg);
}
