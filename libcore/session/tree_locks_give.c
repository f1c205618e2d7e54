/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Giving back: the thread that settles, and lets go. */
#include "session/tree_locks_priv.h"

#include <stdlib.h>

/* ---- inodes of our own making -------------------------------------------- */

/* The first span that ends behind @ino. */
static size_t span_at(const struct cfs_tree_locks *l, uint64_t ino)
{
	size_t lo = 0, hi = l->made.count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (l->made.items[mid].end <= ino)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool tree_is_made(const struct cfs_tree_locks *l, uint64_t ino)
{
	size_t i = span_at(l, ino);

	return i < l->made.count && l->made.items[i].first <= ino;
}

/* Numbers rise, nearly always by one.  What finds no memory is asked for. */
void tree_made_add(struct cfs_tree_locks *l, uint64_t ino)
{
	const struct ino_span span = { ino, ino + 1 };
	size_t i = span_at(l, ino);

	if (i < l->made.count && l->made.items[i].first <= ino)
		return;
	if (i > 0 && l->made.items[i - 1].end == ino) {
		l->made.items[i - 1].end++;
		return;
	}
	if (cfs_vec_push(&l->made, span) < 0)
		return;
	for (size_t at = l->made.count - 1; at > i; at--)
		l->made.items[at] = l->made.items[at - 1];
	l->made.items[i] = span;
}

/* ---- open inodes ----------------------------------------------------------
 */

static bool is_meant(const struct cfs_tree_locks *l, uint64_t ino, uint64_t of)
{
	return of == CFS_TREE_LOCK_ALL || of == ino ||
	       (of == 0 && tree_is_made(l, ino));
}

/* The leases of open inodes that had none: @of, all that we made (0), or all
 * (CFS_TREE_LOCK_ALL).  The mutex is let go meanwhile. */
static int keep_open(struct cfs_tree_locks *l, uint64_t of, struct cfs_err *err)
{
	struct tree_open *o, *tmp;
	struct cfs_held *held;
	uint64_t at;
	int r = 0;

again:
	HASH_ITER(hh, l->opens, o, tmp) {
		if (r < 0)
			return r;
		if (o->held || !is_meant(l, o->ino, of))
			continue;
		at = o->ino;
		pthread_mutex_unlock(&l->mutex);
		held = NULL;
		r = tree_ask(l, CFS_TREE_LOCK_OPEN(at), CFS_LOCK_S,
			     CFS_MSG_LOCK_WAIT, NULL, &held, err);
		pthread_mutex_lock(&l->mutex);
		HASH_FIND(hh, l->opens, &at, sizeof(at), o);
		if (o && !o->held && r == 0) {
			o->held = held;
		} else if (held) {
			pthread_mutex_unlock(&l->mutex);
			cfs_leaser_release(held);
			pthread_mutex_lock(&l->mutex);
		}
		goto again;
	}
	return r;
}

/* ---- settling ------------------------------------------------------------ */

/*
 * With the mutex, which is let go meanwhile.  What is written from here on
 * marks its lock again; who uses inodes of our making has ended, and none
 * begins.
 */
static int settle(struct cfs_tree_locks *l)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_tree_lock *lock, *tmp;
	int r;

	while (l->is_settling)
		pthread_cond_wait(&l->work, &l->mutex);
	l->is_settling = true;
	while (l->made_users)
		pthread_cond_wait(&l->work, &l->mutex);
	l->all.is_dirty = false;
	HASH_ITER(hh, l->inodes, lock, tmp)
		lock->is_dirty = false;
	l->counts.settled++;
	pthread_mutex_unlock(&l->mutex);
	r = l->config.ops.settle(l->config.ops.arg, &err);
	pthread_mutex_lock(&l->mutex);
	if (r < 0 && !l->why.code)
		l->why = err;
	if (r == 0)
		r = keep_open(l, 0, &err);
	if (r == 0)
		l->made.count = 0;
	l->is_settling = false;
	pthread_cond_broadcast(&l->work);
	pthread_cond_broadcast(&l->changed);
	return r;
}

int tree_publish(struct cfs_tree_locks *l, struct cfs_err *err)
{
	int r;

	l->is_settling = true;
	while (l->made_users)
		pthread_cond_wait(&l->work, &l->mutex);
	r = keep_open(l, 0, err);
	if (r == 0)
		l->made.count = 0;
	l->is_settling = false;
	pthread_cond_broadcast(&l->work);
	pthread_cond_broadcast(&l->changed);
	return r;
}

/* ---- letting go ---------------------------------------------------------- */

void tree_let_go(struct cfs_held *held)
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
	cfs_leaser_unlock(leaser);
}

/* To the weaker mode that the recall leaves; no mutex. */
static void go_down(struct cfs_held *held, uint32_t mode)
{
	struct cfs_leaser *leaser = held->leaser;
	struct cfs_lease_client *client = cfs_leaser_lock(leaser);

	(void)cfs_lease_client_change(held->lease, mode, false, NULL);
	cfs_lease_client_yield(client, cfs_lease_grant_of(held->lease));
	cfs_leaser_unlock(leaser);
}

bool tree_has_dirty(const struct cfs_tree_locks *l)
{
	const struct cfs_tree_lock *lock, *tmp;

	HASH_ITER(hh, l->inodes, lock, tmp)
		if (lock->is_dirty)
			return true;
	return l->all.is_dirty;
}

/* The whole has no users and takes none; the mutex is let go meanwhile. */
static void give_all(struct cfs_tree_locks *l)
{
	const uint32_t intent = l->config.writes ? CFS_LOCK_IX : CFS_LOCK_IS;
	struct cfs_tree_lock *all = &l->all;
	bool stays = cfs_lock_mode_covers(all->wanted_mode, intent);
	struct cfs_held *held = all->held;
	int r = 0;

	all->is_pending = true;
	if (l->config.ops.leaves) {
		pthread_mutex_unlock(&l->mutex);
		l->config.ops.leaves(l->config.ops.arg);
		pthread_mutex_lock(&l->mutex);
	}
	if (all->is_lost)
		stays = false;
	else if (tree_has_dirty(l) || l->made.count)
		r = settle(l);
	if (r == 0 && !all->is_lost)
		r = keep_open(l, CFS_TREE_LOCK_ALL, NULL);
	while (all->users) /* who looks whether it is held still */
		pthread_cond_wait(&l->work, &l->mutex);
	all->is_kept = r < 0;
	if (r == 0) {
		if (!stays)
			all->held = NULL;
		pthread_mutex_unlock(&l->mutex);
		if (stays)
			go_down(held, intent);
		else
			tree_let_go(held);
		pthread_mutex_lock(&l->mutex);
		all->mode = stays ? intent : CFS_LOCK_NONE;
		all->held = stays ? held : NULL;
		all->is_wanted = false;
		l->whole_ns = tree_now_ns() + TREE_CONTENDED_NS;
	}
	all->is_pending = false;
	pthread_cond_broadcast(&l->changed);
}

static void give_inode(struct cfs_tree_locks *l, struct cfs_tree_lock *lock)
{
	struct cfs_held *held = lock->held;
	int r = 0;

	lock->is_pending = true;
	if (lock->is_dirty && !lock->is_lost)
		r = settle(l);
	if (r == 0 && !lock->is_lost && lock->ino < CFS_TREE_LOCK_RENAME)
		r = keep_open(l, lock->ino, NULL);
	while (lock->users) /* who looks whether it is held still */
		pthread_cond_wait(&l->work, &l->mutex);
	if (r < 0) {
		lock->is_kept = true;
		lock->is_pending = false;
		pthread_cond_broadcast(&l->changed);
		return;
	}
	/* Who wants it now asks when it has gone, not to get the same again;
	 * who looks whether all are held passes it by. */
	lock->held = NULL;
	pthread_mutex_unlock(&l->mutex);
	tree_let_go(held);
	pthread_mutex_lock(&l->mutex);
	HASH_DEL(l->inodes, lock);
	pthread_cond_broadcast(&l->changed);
	free(lock);
}

static bool is_going(const struct cfs_tree_lock *lock)
{
	return (lock->is_wanted || lock->is_lost) && !lock->users &&
	       !lock->is_pending && (!lock->is_kept || lock->is_lost);
}

static struct cfs_tree_lock *find_going(struct cfs_tree_locks *l)
{
	struct cfs_tree_lock *lock, *tmp;

	/* One that is lost altogether stays: nothing more is done here. */
	if (is_going(&l->all) && !l->all.is_lost &&
	    l->all.mode != CFS_LOCK_NONE)
		return &l->all;
	HASH_ITER(hh, l->inodes, lock, tmp)
		if (is_going(lock))
			return lock;
	return NULL;
}

void *tree_locks_run(void *arg)
{
	struct cfs_tree_locks *l = arg;
	struct cfs_tree_lock *lock;

	pthread_mutex_lock(&l->mutex);
	while (!l->is_ending) {
		lock = find_going(l);
		if (lock == &l->all)
			give_all(l);
		else if (lock)
			give_inode(l, lock);
		else
			pthread_cond_wait(&l->work, &l->mutex);
	}
	pthread_mutex_unlock(&l->mutex);
	return NULL;
}

/* ---- told by the leaser -------------------------------------------------- */

void cfs_tree_locks_recall(struct cfs_tree_locks *l, struct cfs_held *held,
			   uint64_t grant_id, uint32_t mode)
{
	struct cfs_tree_lock *lock = held->user;
	struct cfs_leaser *leaser = held->leaser;
	bool goes = false;

	if (!lock)
		return;
	pthread_mutex_lock(&l->mutex);
	l->counts.recalled++;
	/* More than we use was left with us when it went down. */
	if (lock == &l->all && !lock->is_pending &&
	    cfs_lock_mode_covers(mode, lock->mode)) {
		goes = true;
	} else {
		lock->is_wanted = true;
		lock->wanted_mode = mode;
	}
	pthread_cond_broadcast(&l->work);
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->mutex);
	if (!goes)
		return;
	cfs_lease_client_yield(cfs_leaser_lock(leaser), grant_id);
	cfs_leaser_unlock(leaser);
}

/* What was done under one is in the same log as all the rest, and that log is
 * closed with it. */
void cfs_tree_locks_lost(struct cfs_tree_locks *l)
{
	struct cfs_tree_lock *lock, *tmp;

	pthread_mutex_lock(&l->mutex);
	l->all.is_lost = true;
	HASH_ITER(hh, l->inodes, lock, tmp)
		lock->is_lost = true;
	pthread_cond_broadcast(&l->work);
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->mutex);
	if (l->config.ops.leaves)
		l->config.ops.leaves(l->config.ops.arg);
	if (l->config.ops.lost)
		l->config.ops.lost(l->config.ops.arg);
}
