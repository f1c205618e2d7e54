/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session/direct_lock.h"

#include "base/clock.h"
#include "base/cond.h"
#include "base/vec.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define CONTENDED_NS (10 * CFS_NS_PER_S)
#define LOOK_NS      (100 * CFS_NS_PER_MS)
#define LOCKS_MAX    1024u /* kept though nobody uses them */
/* How long a read or write may take that is begun just before the end. */
#define ACCESS_NS    (100 * CFS_NS_PER_MS)

struct cfs_direct_lock {
	struct cfs_direct_lock *next;
	uint64_t container, volume, ino;
	uint64_t first, end;
	uint32_t mode;
	struct cfs_held *held;
	unsigned int users;
	uint64_t grant;
	bool is_pending; /* being asked for, or settled */
	bool is_settling;
	bool is_wanted; /* back, or by ourselves in another mode */
	bool is_lost;
	bool is_kept; /* could not be settled */
	bool is_dirty;
};

/* A LUN that others use too. */
struct contended {
	struct contended *next;
	uint64_t container, volume, ino;
	uint64_t until_ns;
};

struct cfs_direct_locks {
	struct cfs_direct_lock_ops ops;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	pthread_t thread;
	struct cfs_direct_lock *first, *last_hit;
	struct contended *contended;
	size_t count;
	uint64_t grants;
	bool is_ending;
};

static uint64_t now_ns(void)
{
	return cfs_clock_elapsed_ns(cfs_clock_system());
}

static void wait_a_little(struct cfs_direct_locks *l)
{
	(void)cfs_cond_wait_ns(&l->changed, &l->mutex, LOOK_NS);
}

/* ---- who shares ---------------------------------------------------------- */

static struct contended *find_contended(struct cfs_direct_locks *l,
					uint64_t container, uint64_t volume,
					uint64_t ino)
{
	struct contended *c;

	for (c = l->contended; c; c = c->next)
		if (c->container == container && c->volume == volume &&
		    c->ino == ino)
			break;
	return c;
}

static void note_contended(struct cfs_direct_locks *l, uint64_t container,
			   uint64_t volume, uint64_t ino)
{
	struct contended *c = find_contended(l, container, volume, ino);

	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c)
			return; /* it will be asked for whole again */
		c->container = container;
		c->volume = volume;
		c->ino = ino;
		c->next = l->contended;
		l->contended = c;
	}
	c->until_ns = now_ns() + CONTENDED_NS;
}

/* ---- the list ------------------------------------------------------------ */

static bool covers(const struct cfs_direct_lock *lock,
		   const struct cfs_direct_want *w)
{
	return lock->container == w->container && lock->volume == w->volume &&
	       lock->ino == w->ino && lock->first <= w->offset_bytes &&
	       w->offset_bytes < lock->end;
}

/* One that is going is found last, so that another one beside it serves. */
static struct cfs_direct_lock *find(struct cfs_direct_locks *l,
				    const struct cfs_direct_want *w)
{
	struct cfs_direct_lock *lock, *going = NULL;

	if (l->last_hit && covers(l->last_hit, w) && !l->last_hit->is_wanted &&
	    !l->last_hit->is_lost)
		return l->last_hit;
	for (lock = l->first; lock; lock = lock->next) {
		if (!covers(lock, w))
			continue;
		if (!lock->is_wanted && !lock->is_lost)
			return l->last_hit = lock;
		going = lock;
	}
	return going;
}

static void unlink_lock(struct cfs_direct_locks *l,
			struct cfs_direct_lock *lock)
{
	struct cfs_direct_lock **at;

	for (at = &l->first; *at != lock; at = &(*at)->next)
		;
	*at = lock->next;
	if (l->last_hit == lock)
		l->last_hit = NULL;
	l->count--;
	pthread_cond_broadcast(&l->changed);
}

/* The leaser is to keep nothing for us: what we keep is here. */
static void let_go(struct cfs_held *held)
{
	struct cfs_leaser *leaser;
	struct cfs_lease_client *client;
	uint64_t grant;

	if (!held)
		return;
	leaser = held->leaser;
	client = cfs_leaser_lock(leaser);
	grant = cfs_lease_grant_of(held->lease);
	cfs_leaser_release(held);
	if (grant)
		cfs_lease_client_yield(client, grant);
	cfs_lease_client_drop_cached(client);
	cfs_leaser_unlock(leaser);
}

/* ---- giving back --------------------------------------------------------- */

static struct cfs_direct_lock *find_going(struct cfs_direct_locks *l)
{
	struct cfs_direct_lock *lock;

	for (lock = l->first; lock; lock = lock->next)
		if ((lock->is_wanted || lock->is_lost) && !lock->users &&
		    !lock->is_pending && (!lock->is_kept || lock->is_lost))
			break;
	return lock;
}

/* The mutex is held, and let go meanwhile; nobody else touches the lock, since
 * it has no users and takes none. */
static void give_back(struct cfs_direct_locks *l, struct cfs_direct_lock *lock)
{
	const bool must_settle = lock->is_dirty && !lock->is_lost;
	int r = 0;

	lock->is_dirty = false;
	lock->is_pending = lock->is_settling = true;
	pthread_mutex_unlock(&l->mutex);
	if (must_settle)
		r = l->ops.settle(l->ops.arg, lock->container);
	pthread_mutex_lock(&l->mutex);
	while (lock->users) /* who looks whether it is held still */
		pthread_cond_wait(&l->changed, &l->mutex);
	lock->is_settling = false;
	pthread_mutex_unlock(&l->mutex);
	if (r == 0)
		let_go(lock->held);
	pthread_mutex_lock(&l->mutex);
	lock->is_pending = false;
	if (r < 0) {
		lock->is_kept = true;
		pthread_cond_broadcast(&l->changed);
		return;
	}
	unlink_lock(l, lock);
	free(lock);
}

static void *run(void *arg)
{
	struct cfs_direct_locks *l = arg;
	struct cfs_direct_lock *lock;

	pthread_mutex_lock(&l->mutex);
	while (!l->is_ending) {
		lock = find_going(l);
		if (lock)
			give_back(l, lock);
		else
			pthread_cond_wait(&l->changed, &l->mutex);
	}
	pthread_mutex_unlock(&l->mutex);
	return NULL;
}

void cfs_direct_locks_recall(void *locks, struct cfs_held *held,
			     uint64_t grant_id,
			     const struct cfs_lock_resource *resource,
			     uint32_t mode)
{
	struct cfs_direct_locks *l = locks;
	struct cfs_direct_lock *lock = held ? held->user : NULL;
	struct cfs_leaser *leaser;

	(void)mode;
	pthread_mutex_lock(&l->mutex);
	note_contended(l, resource->container, resource->volume, resource->ino);
	if (lock)
		lock->is_wanted = true;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->mutex);
	/* What the leaser only keeps was settled before. */
	leaser = held ? NULL : l->ops.leaser(l->ops.arg);
	if (leaser) {
		cfs_lease_client_yield(cfs_leaser_lock(leaser), grant_id);
		cfs_leaser_unlock(leaser);
	}
}

void cfs_direct_locks_lost(void *locks, struct cfs_held *held)
{
	struct cfs_direct_locks *l = locks;
	struct cfs_direct_lock *of = held ? held->user : NULL, *lock;
	uint64_t container = 0;

	pthread_mutex_lock(&l->mutex);
	for (lock = l->first; lock; lock = lock->next) {
		if (held && lock != of)
			continue;
		lock->is_lost = true;
		container = held ? lock->container : 0;
	}
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->mutex);
	if (l->ops.lost && (!held || of))
		l->ops.lost(l->ops.arg, container);
}

/* ---- getting ------------------------------------------------------------- */

static struct cfs_direct_lock *add_pending(struct cfs_direct_locks *l,
					   const struct cfs_direct_want *w,
					   bool is_whole)
{
	struct cfs_direct_lock *lock = calloc(1, sizeof(*lock));

	if (!lock)
		return NULL;
	lock->container = w->container;
	lock->volume = w->volume;
	lock->ino = w->ino;
	lock->end = UINT64_MAX;
	if (!is_whole) {
		lock->first = w->offset_bytes -
			      w->offset_bytes % CFS_DIRECT_PIECE_BYTES;
		lock->end = lock->first + CFS_DIRECT_PIECE_BYTES;
	}
	lock->mode = w->writes ? CFS_LOCK_X : CFS_LOCK_S;
	lock->is_pending = true;
	lock->users = 1;
	lock->next = l->first;
	l->first = lock;
	l->count++;
	return lock;
}

static int ask(struct cfs_direct_locks *l, struct cfs_direct_lock *lock,
	       const struct cfs_direct_want *w, struct cfs_err *err)
{
	const bool is_whole = lock->end == UINT64_MAX;
	struct cfs_lease_request req = {
		.resource = {
			.container = lock->container,
			.volume = lock->volume,
			.ino = lock->ino,
			.offset_bytes = lock->first,
			.length_bytes = is_whole ? CFS_LOCK_LENGTH_WHOLE :
					CFS_DIRECT_PIECE_BYTES,
		},
		.mode = lock->mode,
		.flags = CFS_MSG_LOCK_RECALLABLE |
			 (is_whole ? 0 : CFS_MSG_LOCK_WAIT),
		.user = lock,
	};

	if (w->lender) {
		req.lender_lease = w->lender->lease_id;
		memcpy(req.lender_secret, w->lender->secret,
		       sizeof(req.lender_secret));
	}
	if (!is_whole && l->ops.will_wait)
		l->ops.will_wait(l->ops.arg);
	return l->ops.acquire(l->ops.arg, &req, w->wait, &lock->held, err);
}

/* Nobody uses what is kept beyond the bound: the oldest goes. */
static void bound(struct cfs_direct_locks *l)
{
	struct cfs_direct_lock *lock, *oldest = NULL;

	if (l->count <= LOCKS_MAX)
		return;
	for (lock = l->first; lock; lock = lock->next)
		if (!lock->users && !lock->is_pending)
			oldest = lock;
	if (oldest)
		oldest->is_wanted = true;
}

/* The mutex is held, and let go meanwhile.  0: *ret has a user; -EAGAIN: look
 * again. */
static int get_new(struct cfs_direct_locks *l, const struct cfs_direct_want *w,
		   struct cfs_direct_lock **ret, struct cfs_err *err)
{
	const struct contended *c = find_contended(l, w->container, w->volume,
						   w->ino);
	const bool is_whole = !c || now_ns() >= c->until_ns;
	struct cfs_direct_lock *lock = add_pending(l, w, is_whole);
	int r;

	if (!lock)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	bound(l);
	pthread_mutex_unlock(&l->mutex);
	r = ask(l, lock, w, err);
	pthread_mutex_lock(&l->mutex);
	lock->is_pending = false;
	if (r == 0) {
		lock->grant = ++l->grants;
		pthread_cond_broadcast(&l->changed);
		*ret = lock;
		return 0;
	}
	unlink_lock(l, lock);
	free(lock);
	if (r != -EBUSY || !is_whole)
		return r;
	note_contended(l, w->container, w->volume, w->ino);
	return -EAGAIN;
}

/* 0: *ret has one more user; -EAGAIN: look again. */
static int try_get(struct cfs_direct_locks *l, const struct cfs_direct_want *w,
		   struct cfs_direct_lock **ret, struct cfs_err *err)
{
	struct cfs_direct_lock *lock = find(l, w);

	if (!lock)
		return get_new(l, w, ret, err);
	if (lock->is_lost)
		return cfs_err_set(err, -ESTALE, "the lease is lost");
	if (!lock->is_pending && !lock->is_wanted &&
	    (lock->mode == CFS_LOCK_X || !w->writes)) {
		lock->users++;
		*ret = lock;
		return 0;
	}
	/* In the mode that is wanted it is another one. */
	if (!lock->is_pending && !lock->is_wanted) {
		lock->is_wanted = true;
		pthread_cond_broadcast(&l->changed);
	}
	wait_a_little(l);
	if (w->wait && w->wait->stop && w->wait->stop(w->wait->arg))
		return cfs_err_set(err, -EINTR, "stopped");
	return -EAGAIN;
}

int cfs_direct_lock_get(struct cfs_direct_locks *l,
			const struct cfs_direct_want *w,
			struct cfs_direct_lock **ret, uint64_t *ret_end,
			uint64_t *ret_grant, struct cfs_err *err)
{
	struct cfs_direct_lock *lock = NULL;
	int r;

	pthread_mutex_lock(&l->mutex);
	do {
		r = try_get(l, w, &lock, err);
	} while (r == -EAGAIN);
	if (r == 0) {
		*ret = lock;
		*ret_end = lock->end;
		*ret_grant = lock->grant;
	}
	pthread_mutex_unlock(&l->mutex);
	return r;
}

bool cfs_direct_lock_may_start(struct cfs_direct_lock *lock)
{
	return cfs_leaser_may_start(lock->held, ACCESS_NS);
}

bool cfs_direct_lock_holds(struct cfs_direct_lock *lock)
{
	return cfs_leaser_still_holds(lock->held);
}

static void put_locked(struct cfs_direct_locks *l, struct cfs_direct_lock *lock)
{
	if (--lock->users == 0 &&
	    (lock->is_wanted || lock->is_lost || lock->is_settling))
		pthread_cond_broadcast(&l->changed);
}

void cfs_direct_lock_put(struct cfs_direct_locks *l,
			 struct cfs_direct_lock *lock, bool has_written)
{
	pthread_mutex_lock(&l->mutex);
	lock->is_dirty |= has_written;
	put_locked(l, lock);
	pthread_mutex_unlock(&l->mutex);
}

/* ---- looking ------------------------------------------------------------- */

uint64_t cfs_direct_locks_last(struct cfs_direct_locks *l)
{
	uint64_t last;

	pthread_mutex_lock(&l->mutex);
	last = l->grants;
	pthread_mutex_unlock(&l->mutex);
	return last;
}

bool cfs_direct_locks_hold(struct cfs_direct_locks *l, uint64_t container)
{
	CFS_VEC(struct cfs_direct_lock *) pinned = CFS_VEC_INIT;
	struct cfs_direct_lock *lock;
	bool all = true;

	pthread_mutex_lock(&l->mutex);
	for (lock = l->first; lock && all; lock = lock->next) {
		if (lock->container != container || lock->mode != CFS_LOCK_X ||
		    (lock->is_pending && !lock->is_settling))
			continue;
		all = !lock->is_lost && cfs_vec_push(&pinned, lock) == 0;
		if (all)
			lock->users++;
	}
	pthread_mutex_unlock(&l->mutex);
	for (size_t i = 0; i < pinned.count && all; i++)
		all = cfs_leaser_still_holds(pinned.items[i]->held);
	pthread_mutex_lock(&l->mutex);
	for (size_t i = 0; i < pinned.count; i++)
		put_locked(l, pinned.items[i]);
	pthread_mutex_unlock(&l->mutex);
	cfs_vec_done(&pinned);
	return all;
}

/* ---- life ---------------------------------------------------------------- */

int cfs_direct_locks_new(const struct cfs_direct_lock_ops *ops,
			 struct cfs_direct_locks **ret, struct cfs_err *err)
{
	struct cfs_direct_locks *l = calloc(1, sizeof(*l));
	sigset_t all, old;
	int r;

	if (!l)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	l->ops = *ops;
	pthread_mutex_init(&l->mutex, NULL);
	cfs_cond_init(&l->changed);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&l->thread, NULL, run, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r < 0) {
		pthread_cond_destroy(&l->changed);
		pthread_mutex_destroy(&l->mutex);
		free(l);
		return cfs_err_errno(err, r, "thread");
	}
	*ret = l;
	return 0;
}

static bool is_of(const struct cfs_direct_lock *lock, uint64_t container,
		  uint64_t volume)
{
	return (!container || lock->container == container) &&
	       (!volume || lock->volume == volume);
}

static bool has_droppable(struct cfs_direct_locks *l, uint64_t container,
			  uint64_t volume)
{
	struct cfs_direct_lock *lock;

	for (lock = l->first; lock; lock = lock->next)
		if (is_of(lock, container, volume) && !lock->is_kept &&
		    !lock->users)
			return true;
	return false;
}

void cfs_direct_locks_drop(struct cfs_direct_locks *l, uint64_t container,
			   uint64_t volume)
{
	struct cfs_direct_lock *lock;

	pthread_mutex_lock(&l->mutex);
	for (lock = l->first; lock; lock = lock->next)
		if (is_of(lock, container, volume))
			lock->is_wanted = true;
	pthread_cond_broadcast(&l->changed);
	while (has_droppable(l, container, volume))
		wait_a_little(l);
	pthread_mutex_unlock(&l->mutex);
}

void cfs_direct_locks_free(struct cfs_direct_locks *l)
{
	struct cfs_direct_lock *lock;
	struct contended *c;

	if (!l)
		return;
	pthread_mutex_lock(&l->mutex);
	l->is_ending = true;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->mutex);
	pthread_join(l->thread, NULL);
	while ((lock = l->first)) {
		l->first = lock->next;
		let_go(lock->held);
		free(lock);
	}
	while ((c = l->contended)) {
		l->contended = c->next;
		free(c);
	}
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->mutex);
	free(l);
}
