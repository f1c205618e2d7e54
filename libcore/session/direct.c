/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Direct access: its beginning and its end. */
#include "session/direct_priv.h"

#include "base/cond.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define BUSY_TRIES 5u

static struct cfs_leaser *get_leaser(void *arg)
{
	struct cfs_direct *d = arg;

	return d->leaser;
}

static int start(struct cfs_direct *d, struct cfs_err *err)
{
	const struct cfs_direct_lock_ops ops = {
		.acquire = direct_acquire,
		.leaser = get_leaser,
		.settle = direct_settle,
		.lost = direct_lost,
		.arg = d,
	};
	sigset_t all, old;
	int r = cfs_direct_locks_new(&ops, &d->locks, err);

	if (r == 0)
		r = direct_connect(d, err);
	if (r < 0)
		return r;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&d->thread, NULL, direct_run, d);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	d->has_thread = r == 0;
	return r < 0 ? cfs_err_errno(err, r, "thread") : 0;
}

static void direct_free(struct cfs_direct *d)
{
	pthread_mutex_lock(&d->mutex);
	d->is_ending = true;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->mutex);
	if (d->has_thread)
		pthread_join(d->thread, NULL);
	direct_containers_close(d);
	cfs_direct_locks_free(d->locks);
	direct_disconnect(d);
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->mutex);
	pthread_mutex_destroy(&d->devices_lock);
	pthread_cond_destroy(&d->trees_changed);
	pthread_mutex_destroy(&d->trees_lock);
	pthread_rwlock_destroy(&d->link);
	free(d->name);
	free(d);
}

static int direct_new(struct cfs_session *s, const char *volume,
		      struct cfs_direct **ret, struct cfs_err *err)
{
	struct cfs_direct *d = calloc(1, sizeof(*d));
	int r;

	if (d)
		d->name = strndup(volume, strcspn(volume, "/"));
	if (!d || !d->name) {
		free(d);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	d->s = s;
	pthread_rwlock_init(&d->link, NULL);
	pthread_mutex_init(&d->mutex, NULL);
	pthread_mutex_init(&d->devices_lock, NULL);
	pthread_mutex_init(&d->trees_lock, NULL);
	pthread_cond_init(&d->trees_changed, NULL);
	cfs_cond_init(&d->changed);
	r = start(d, err);
	if (r < 0)
		direct_free(d);
	else
		*ret = d;
	return r;
}

/* The one of the container of @volume, with the lock of the session. */
static struct cfs_direct *find(struct cfs_session *s, const char *volume)
{
	const size_t n = strcspn(volume, "/");
	struct cfs_direct *d;

	for (d = s->direct; d; d = d->next)
		if (strlen(d->name) == n && memcmp(d->name, volume, n) == 0)
			break;
	return d;
}

/*
 * Who does not answer in time is only busy, and is asked again: what is open
 * through the manager is slower for as long as it is open, and keeps its
 * container from being given to another process.  One that goes on has no room
 * for more clients, or the like.
 */
static void note_failure(struct cfs_session *s, int r)
{
	if (r == -EBUSY && ++s->busy_count < BUSY_TRIES)
		return;
	s->is_forwarded |= r < 0 && r != -EINTR;
}

static int get(struct cfs_session *s, const char *volume,
	       struct cfs_direct **ret, struct cfs_err *err)
{
	struct cfs_direct *d = find(s, volume);
	int r;

	if (d && __atomic_load_n(&d->is_lost, __ATOMIC_SEQ_CST)) {
		pthread_mutex_lock(&d->mutex);
		direct_say_lost(&d->why_lost, err);
		pthread_mutex_unlock(&d->mutex);
		return -ESTALE;
	}
	if (!d) {
		r = direct_new(s, volume, &d, err);
		note_failure(s, r);
		if (r < 0)
			return r;
		d->next = s->direct;
		s->direct = d;
	}
	*ret = d;
	return 0;
}

int cfs_direct_io_open(struct cfs_session *s, const char *volume,
		       const char *snap, bool is_writable, uint64_t wait_ns,
		       struct cfs_io_volume **ret, struct cfs_err *err)
{
	struct cfs_direct *d = NULL;
	uint64_t use = 0;
	int r;

	if (!s->path)
		return cfs_err_set(err, -ENOTSUP, "its devices are not known");
	pthread_mutex_lock(&s->users_lock);
	r = get(s, volume, &d, err);
	if (r == 0)
		use = ++d->next_use;
	pthread_mutex_unlock(&s->users_lock);
	return r < 0 ? r
		     : direct_volume_open(d, volume, snap, is_writable, use,
					  wait_ns, ret, err);
}

static int close_one(struct cfs_direct *d, struct cfs_err *err)
{
	struct cfs_err why;
	int r;

	pthread_mutex_lock(&d->mutex);
	d->is_ending = true;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->mutex);
	if (d->has_thread)
		pthread_join(d->thread, NULL);
	d->has_thread = false;
	direct_containers_close(d);
	r = d->failed;
	why = d->why;
	direct_free(d);
	if (r < 0 && err)
		*err = why;
	return r;
}

void cfs_direct_rest(struct cfs_session *s)
{
	struct direct_container *dc;
	struct cfs_direct *d;

	/* Both lists grow at their fronts, until the session is closed. */
	pthread_mutex_lock(&s->users_lock);
	d = s->direct;
	pthread_mutex_unlock(&s->users_lock);
	for (; d; d = d->next) {
		pthread_mutex_lock(&d->mutex);
		dc = d->containers;
		pthread_mutex_unlock(&d->mutex);
		for (; dc; dc = dc->next) {
			cfs_container_lock(dc->c);
			cfs_container_rest_locked(dc->c);
			cfs_container_unlock(dc->c);
		}
	}
}

int cfs_direct_close(struct cfs_direct *d, struct cfs_err *err)
{
	struct cfs_direct *next;
	int first = 0, r;

	for (; d; d = next) {
		next = d->next;
		r = close_one(d, first ? NULL : err);
		first = first ? first : r;
	}
	return first;
}

void cfs_direct_stats(struct cfs_direct *d, struct cfs_direct_stats *ret)
{
	struct cfs_link_stats link = { 0 };
	struct cfs_conn *conn;

	pthread_rwlock_rdlock(&d->link);
	conn = cfs_leaser_conn(d->leaser);
	if (conn)
		cfs_conn_stats(conn, &link);
	*ret = d->stats;
	pthread_rwlock_unlock(&d->link);
	ret->sent_bytes = link.sent_bytes;
	ret->received_bytes = link.received_bytes;
	ret->sent_messages = link.sent_messages;
	ret->received_messages = link.received_messages;
}
