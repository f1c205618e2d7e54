/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inodes that we make or have open, what is asked of locks, and their life. */
#include "session/tree_locks_priv.h"

#include "base/cond.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>

/* ---- made, opened -------------------------------------------------------- */

void cfs_tree_locks_made(struct cfs_tree_locks *l,
			 const struct cfs_tree_pins *pins, uint64_t ino)
{
	if (pins->is_whole || !l->config.ops.published)
		return;
	pthread_mutex_lock(&l->mutex);
	/* It may be visible already, and then so are all before it. */
	if (tree_published(l) == pins->published &&
	    (!l->made.count || l->made_published == pins->published)) {
		l->made_published = pins->published;
		tree_made_add(l, ino);
	}
	pthread_mutex_unlock(&l->mutex);
}

int cfs_tree_locks_opened(struct cfs_tree_locks *l, uint64_t ino,
			  struct cfs_err *err)
{
	struct tree_open *o;

	pthread_mutex_lock(&l->mutex);
	HASH_FIND(hh, l->opens, &ino, sizeof(ino), o);
	if (!o) {
		o = calloc(1, sizeof(*o));
		if (o) {
			o->ino = ino;
			if (CFS_HASH_ADD(l->opens, ino, o) < 0) {
				free(o);
				o = NULL;
			}
		}
	}
	if (o)
		o->count++;
	pthread_mutex_unlock(&l->mutex);
	return o ? 0 : cfs_err_set(err, -ENOMEM, "out of memory");
}

bool cfs_tree_locks_closed(struct cfs_tree_locks *l, uint64_t ino)
{
	struct cfs_held *held = NULL;
	struct tree_open *o;
	bool is_last;

	pthread_mutex_lock(&l->mutex);
	HASH_FIND(hh, l->opens, &ino, sizeof(ino), o);
	assert(o);
	is_last = --o->count == 0;
	if (is_last) {
		held = o->held;
		HASH_DEL(l->opens, o);
		free(o);
	}
	pthread_mutex_unlock(&l->mutex);
	cfs_leaser_release(held);
	return is_last;
}

int cfs_tree_locks_alone(struct cfs_tree_locks *l,
			 const struct cfs_tree_pins *pins, uint64_t ino,
			 struct cfs_held **ret_held, struct cfs_err *err)
{
	struct cfs_err own = CFS_ERR_INIT;
	bool is_own;
	int r;

	*ret_held = NULL;
	pthread_mutex_lock(&l->mutex);
	is_own = pins->is_whole || (pins->own_count && tree_is_made(l, ino));
	pthread_mutex_unlock(&l->mutex);
	if (is_own)
		return 1;
	r = tree_ask(l, CFS_TREE_LOCK_OPEN(ino), CFS_LOCK_X, 0, NULL, ret_held,
		     &own);
	if (r < 0 && r != -EBUSY && err)
		*err = own;
	return r == 0 ? 1 : r == -EBUSY ? 0 : r;
}

/* ---- looking ------------------------------------------------------------- */

/* So long one may go on without having looked again. */
static const uint64_t sure_ns[] = {
	4 * CFS_NS_PER_S,
	CFS_NS_PER_S,
	CFS_NS_PER_S / 4,
};

bool cfs_tree_locks_is_whole(struct cfs_tree_locks *l, uint64_t *ret_serial,
			     uint64_t *ret_ns)
{
	struct cfs_tree_lock *all = &l->all;
	struct cfs_held *held;
	bool is;

	pthread_mutex_lock(&l->mutex);
	held = all->held;
	is = tree_is_whole(all) && held && !all->is_pending &&
	     !all->is_wanted && !all->is_lost && !all->is_kept;
	*ret_serial = l->whole_serial;
	all->users += is; /* it stays while the leaser is asked */
	pthread_mutex_unlock(&l->mutex);
	if (!is)
		return false;
	*ret_ns = 0;
	for (size_t i = 0; i < sizeof(sure_ns) / sizeof(*sure_ns); i++)
		if (!*ret_ns && cfs_leaser_may_start(held, sure_ns[i]))
			*ret_ns = sure_ns[i];
	pthread_mutex_lock(&l->mutex);
	is = !all->is_wanted && !all->is_lost && *ret_ns;
	if (--all->users == 0 && all->is_wanted)
		pthread_cond_broadcast(&l->work);
	pthread_mutex_unlock(&l->mutex);
	return is;
}

bool cfs_tree_locks_hold_all(struct cfs_tree_locks *l)
{
	CFS_VEC(struct cfs_tree_lock *) pinned = CFS_VEC_INIT;
	struct cfs_tree_lock *lock, *tmp;
	bool holds;

	pthread_mutex_lock(&l->mutex);
	holds = !l->all.is_lost;
	if (holds && l->all.held && cfs_vec_push(&pinned, &l->all) == 0)
		l->all.users++;
	HASH_ITER(hh, l->inodes, lock, tmp) {
		if (!lock->held || lock->mode != CFS_LOCK_X)
			continue;
		holds = holds && cfs_vec_push(&pinned, lock) == 0;
		if (!holds)
			break;
		lock->users++;
	}
	pthread_mutex_unlock(&l->mutex);
	for (size_t i = 0; i < pinned.count && holds; i++)
		holds = cfs_leaser_still_holds(pinned.items[i]->held);
	pthread_mutex_lock(&l->mutex);
	for (size_t i = 0; i < pinned.count; i++)
		pinned.items[i]->users--;
	pthread_cond_broadcast(&l->work);
	pthread_mutex_unlock(&l->mutex);
	cfs_vec_done(&pinned);
	return holds;
}

bool cfs_tree_locks_has_written(struct cfs_tree_locks *l)
{
	bool has;

	pthread_mutex_lock(&l->mutex);
	has = tree_has_dirty(l) || l->made.count;
	pthread_mutex_unlock(&l->mutex);
	return has;
}

void cfs_tree_locks_counts(struct cfs_tree_locks *l,
			   struct cfs_tree_lock_counts *ret)
{
	pthread_mutex_lock(&l->mutex);
	*ret = l->counts;
	ret->inodes = HASH_COUNT(l->inodes);
	ret->is_whole = tree_is_whole(&l->all);
	pthread_mutex_unlock(&l->mutex);
}

/* ---- life ---------------------------------------------------------------- */

int cfs_tree_locks_new(const struct cfs_tree_locks_config *config,
		       struct cfs_tree_locks **ret, struct cfs_err *err)
{
	struct cfs_tree_locks *l = calloc(1, sizeof(*l));
	sigset_t all, old;
	int r;

	if (!l)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	l->config = *config;
	l->all.ino = CFS_TREE_LOCK_ALL;
	pthread_mutex_init(&l->mutex, NULL);
	cfs_cond_init(&l->changed);
	cfs_cond_init(&l->work);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&l->thread, NULL, tree_locks_run, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r < 0) {
		pthread_cond_destroy(&l->work);
		pthread_cond_destroy(&l->changed);
		pthread_mutex_destroy(&l->mutex);
		free(l);
		return cfs_err_errno(err, r, "thread");
	}
	*ret = l;
	return 0;
}

/* What the leaser would keep is of no use to anybody. */
static void release_all(struct cfs_tree_locks *l)
{
	struct cfs_leaser *leaser = l->all.held ? l->all.held->leaser : NULL;
	struct cfs_tree_lock *lock, *tmp;
	struct tree_open *o, *next;

	HASH_ITER(hh, l->opens, o, next)
		cfs_leaser_release(o->held);
	HASH_ITER(hh, l->inodes, lock, tmp)
		tree_let_go(lock->held);
	tree_let_go(l->all.held);
	if (leaser) {
		cfs_lease_client_drop_cached(cfs_leaser_lock(leaser));
		cfs_leaser_unlock(leaser);
	}
}

static void free_all(struct cfs_tree_locks *l)
{
	struct cfs_tree_lock *lock, *tmp;
	struct tree_open *o, *next;

	HASH_ITER(hh, l->opens, o, next) {
		HASH_DEL(l->opens, o);
		free(o);
	}
	HASH_ITER(hh, l->inodes, lock, tmp) {
		HASH_DEL(l->inodes, lock);
		free(lock);
	}
	cfs_vec_done(&l->made);
}

void cfs_tree_locks_free(struct cfs_tree_locks *l, bool is_settled)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->mutex);
	l->is_ending = true;
	pthread_cond_broadcast(&l->work);
	pthread_mutex_unlock(&l->mutex);
	pthread_join(l->thread, NULL);
	if (is_settled)
		release_all(l);
	free_all(l);
	pthread_cond_destroy(&l->work);
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->mutex);
	free(l);
}
