/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Getting locks, and what is asked about them. */
#include "session/tree_locks_priv.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/cond.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_NS   CFS_NS_PER_S
#define INODES_MAX 4096u /* locks kept though nobody uses them */
#define LOOKED_AT  64u
/* How long an access may take that is begun just before the end. */
#define ACCESS_NS  (100 * CFS_NS_PER_MS)
#define LOOK_NS    (100 * CFS_NS_PER_MS) /* who waits may be stopped */
#define BEGIN_ANEW 1

uint64_t tree_now_ns(void)
{
	return cfs_clock_elapsed_ns(cfs_clock_system());
}

static int lost(const struct cfs_tree_locks *l, struct cfs_err *err)
{
	if (l->why.code)
		return cfs_err_set(err, -ESTALE, "the lease is lost: %s",
				   l->why.msg);
	return cfs_err_set(err, -ESTALE, "the lease is lost");
}

int tree_ask(struct cfs_tree_locks *l, uint64_t ino, uint32_t mode,
	     uint32_t flags, void *user, struct cfs_held **ret,
	     struct cfs_err *err)
{
	const struct cfs_tree_locks_config *config = &l->config;
	struct cfs_lease_request req = {
		.resource = {
			.container = config->container,
			.volume = config->volume,
			.ino = ino,
			.length_bytes = CFS_LOCK_LENGTH_WHOLE,
		},
		.mode = mode,
		.flags = flags,
		.lender_lease = config->lender.lease_id,
		.user = user,
	};

	memcpy(req.lender_secret, config->lender.secret,
	       sizeof(req.lender_secret));
	if (flags & CFS_MSG_LOCK_WAIT && config->ops.will_wait)
		config->ops.will_wait(config->ops.arg);
	__atomic_add_fetch(&l->counts.asked, 1, __ATOMIC_RELAXED);
	return config->ops.acquire(config->ops.arg, &req, &config->wait, ret,
				   err);
}

/* 0: look again. */
static int wait_a_little(struct cfs_tree_locks *l, struct cfs_err *err)
{
	const struct cfs_conn_wait *wait = &l->config.wait;

	(void)cfs_cond_wait_ns(&l->changed, &l->mutex, LOOK_NS);
	if (wait->stop && wait->stop(wait->arg))
		return cfs_err_set(err, -EINTR, "stopped");
	return 0;
}

/* ---- the whole tree ------------------------------------------------------ */

static uint32_t whole_mode(const struct cfs_tree_locks *l)
{
	return l->config.writes ? CFS_LOCK_X : CFS_LOCK_S;
}

/* Without the mutex: all of it, or a part. */
static int ask_all(struct cfs_tree_locks *l, bool tries_whole,
		   uint32_t *ret_mode, struct cfs_held **ret,
		   struct cfs_err *err)
{
	struct cfs_err own = CFS_ERR_INIT;
	int r = -EBUSY;

	if (tries_whole) {
		*ret_mode = whole_mode(l);
		r = tree_ask(l, CFS_TREE_LOCK_ALL, *ret_mode,
			     CFS_MSG_LOCK_RECALLABLE, &l->all, ret, &own);
		if (r < 0 && r != -EBUSY && err)
			*err = own;
	}
	if (r != -EBUSY)
		return r;
	*ret_mode = l->config.writes ? CFS_LOCK_IX : CFS_LOCK_IS;
	return tree_ask(l, CFS_TREE_LOCK_ALL, *ret_mode,
			CFS_MSG_LOCK_RECALLABLE | CFS_MSG_LOCK_WAIT, &l->all,
			ret, err);
}

static void note_mode(struct cfs_tree_locks *l, uint32_t mode)
{
	l->all.mode = mode;
	l->whole_serial++;
	if (!tree_is_whole(&l->all))
		l->whole_ns = tree_now_ns() + TREE_CONTENDED_NS;
}

/* It is nobody's; the mutex is let go meanwhile. */
static int get_all(struct cfs_tree_locks *l, struct cfs_err *err)
{
	const bool tries_whole = tree_now_ns() >= l->whole_ns;
	struct cfs_tree_lock *all = &l->all;
	struct cfs_held *held = NULL;
	uint32_t mode = 0;
	bool is_alone;
	int r;

	all->is_pending = true;
	pthread_mutex_unlock(&l->mutex);
	r = ask_all(l, tries_whole, &mode, &held, err);
	pthread_mutex_lock(&l->mutex);
	is_alone = r == 0 && mode == CFS_LOCK_X && !l->opens;
	pthread_mutex_unlock(&l->mutex);
	if (r == 0)
		r = l->config.ops.fresh(l->config.ops.arg, UINT64_MAX, is_alone,
					err);
	if (r < 0)
		tree_let_go(held);
	pthread_mutex_lock(&l->mutex);
	all->is_pending = false;
	if (r == 0) {
		all->held = held;
		all->is_dirty |= is_alone; /* it may have been swept */
		note_mode(l, mode);
	} else {
		all->is_wanted = false;
	}
	pthread_cond_broadcast(&l->work);
	pthread_cond_broadcast(&l->changed);
	return r < 0 ? r : BEGIN_ANEW;
}

/* From a part to all of it, if there is nobody else now. */
static int try_upgrade(struct cfs_tree_locks *l, struct cfs_err *err)
{
	struct cfs_tree_lock *all = &l->all;
	struct cfs_err why = CFS_ERR_INIT;
	bool is_alone;
	int r;

	all->is_pending = true;
	l->tries_whole = false;
	l->whole_ns = tree_now_ns() + RETRY_NS;
	__atomic_add_fetch(&l->counts.asked, 1, __ATOMIC_RELAXED);
	is_alone = l->config.writes && !l->opens && !all->users;
	pthread_mutex_unlock(&l->mutex);
	r = cfs_leaser_change(all->held, whole_mode(l), false, &l->config.wait,
			      &why);
	if (r == 0) {
		r = l->config.ops.fresh(l->config.ops.arg, UINT64_MAX, is_alone,
					err);
		pthread_mutex_lock(&l->mutex);
		/* A failure leaves what we had; the rest is no harm. */
		all->mode = whole_mode(l);
		l->whole_serial++;
		all->is_dirty |= is_alone;
	} else {
		r = r == -ESTALE ? lost(l, err) : 0;
		pthread_mutex_lock(&l->mutex);
	}
	all->is_pending = false;
	pthread_cond_broadcast(&l->work);
	pthread_cond_broadcast(&l->changed);
	return r < 0 ? r : BEGIN_ANEW;
}

/* Nothing is held yet. */
static int pin_all(struct cfs_tree_locks *l, struct cfs_tree_pins *pins,
		   struct cfs_err *err)
{
	struct cfs_tree_lock *all = &l->all;
	int r;

	if (all->is_lost || all->is_kept)
		return lost(l, err);
	if (all->is_pending || (all->is_wanted && all->held)) {
		r = wait_a_little(l, err);
		return r < 0 ? r : BEGIN_ANEW;
	}
	if (all->mode == CFS_LOCK_NONE)
		return get_all(l, err);
	if (l->tries_whole && !tree_is_whole(all))
		return try_upgrade(l, err);
	all->users++;
	pins->has_all = true;
	pins->is_whole = tree_is_whole(all);
	return 0;
}

/* ---- inodes -------------------------------------------------------------- */

static bool may_be_dropped(const struct cfs_tree_lock *lock)
{
	return !lock->users && !lock->is_pending && !lock->is_wanted;
}

/* One that is not used goes: rather one behind which nothing is to be settled;
 * else several, of which one settles for all. */
static void bound(struct cfs_tree_locks *l)
{
	struct cfs_tree_lock *lock, *tmp;
	unsigned int seen = 0;

	if (HASH_COUNT(l->inodes) <= INODES_MAX)
		return;
	HASH_ITER(hh, l->inodes, lock, tmp) {
		if (seen++ == LOOKED_AT)
			break;
		if (may_be_dropped(lock) && !lock->is_dirty) {
			lock->is_wanted = true;
			pthread_cond_broadcast(&l->work);
			return;
		}
	}
	seen = 0;
	HASH_ITER(hh, l->inodes, lock, tmp) {
		if (seen++ == LOOKED_AT)
			break;
		lock->is_wanted |= may_be_dropped(lock);
	}
	pthread_cond_broadcast(&l->work);
}

/* The mutex is let go meanwhile; the lock is pending. */
static int ask_inode(struct cfs_tree_locks *l, struct cfs_tree_lock *lock,
		     struct cfs_err *err)
{
	struct cfs_held *held = NULL;
	uint64_t generation = 0;
	int r;

	pthread_mutex_unlock(&l->mutex);
	r = tree_ask(l, lock->ino, lock->mode,
		     CFS_MSG_LOCK_RECALLABLE | CFS_MSG_LOCK_WAIT, lock, &held,
		     err);
	if (r == 0) {
		(void)cfs_leaser_lock(held->leaser);
		generation = cfs_lease_generation_of(held->lease);
		cfs_leaser_unlock(held->leaser);
		r = l->config.ops.fresh(l->config.ops.arg, generation, false,
					err);
		if (r < 0)
			tree_let_go(held);
	}
	pthread_mutex_lock(&l->mutex);
	lock->held = r < 0 ? NULL : held;
	lock->is_pending = false;
	pthread_cond_broadcast(&l->work);
	pthread_cond_broadcast(&l->changed);
	return r;
}

static int get_inode(struct cfs_tree_locks *l, uint64_t ino, bool writes,
		     struct cfs_tree_lock **ret, struct cfs_err *err)
{
	struct cfs_tree_lock *lock = calloc(1, sizeof(*lock));
	int r;

	if (!lock)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	bound(l);
	if (tree_now_ns() >= l->whole_ns)
		l->tries_whole = true;
	lock->ino = ino;
	lock->mode = writes ? CFS_LOCK_X : CFS_LOCK_S;
	lock->is_pending = true;
	if (CFS_HASH_ADD(l->inodes, ino, lock) < 0) {
		free(lock);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	r = ask_inode(l, lock, err);
	if (r < 0) {
		HASH_DEL(l->inodes, lock);
		free(lock);
		return r;
	}
	*ret = lock;
	return 0;
}

static int pin_inode(struct cfs_tree_locks *l, uint64_t ino, bool writes,
		     struct cfs_tree_pins *pins, struct cfs_err *err)
{
	struct cfs_tree_lock *lock;
	int r;

	for (;;) {
		HASH_FIND(hh, l->inodes, &ino, sizeof(ino), lock);
		if (l->all.is_lost ||
		    (lock && (lock->is_lost || lock->is_kept)))
			return lost(l, err);
		if (!lock) {
			r = get_inode(l, ino, writes, &lock, err);
			if (r < 0)
				return r;
			/* It may be wanted back already; once it serves. */
			if (!lock->is_lost)
				break;
			continue;
		}
		if (!lock->is_pending && !lock->is_wanted &&
		    (lock->mode == CFS_LOCK_X || !writes))
			break;
		/* In the mode that we want it is another one. */
		if (!lock->is_pending && !lock->is_wanted) {
			lock->is_wanted = true;
			pthread_cond_broadcast(&l->work);
		}
		r = wait_a_little(l, err);
		if (r < 0)
			return r;
	}
	lock->users++;
	pins->locks[pins->count++] = lock;
	return 0;
}

/* ---- all that a call wants ----------------------------------------------- */

/* In rising order, each number once. */
static size_t sort_wants(const struct cfs_tree_want *wants, size_t count,
			 struct cfs_tree_want *ret)
{
	size_t n = 0;

	assert(count <= CFS_TREE_WANTS_MAX);
	for (size_t i = 0; i < count; i++) {
		size_t at = 0;

		if (!wants[i].ino)
			continue;
		while (at < n && ret[at].ino < wants[i].ino)
			at++;
		if (at < n && ret[at].ino == wants[i].ino) {
			ret[at].writes |= wants[i].writes;
			continue;
		}
		memmove(ret + at + 1, ret + at, (n - at) * sizeof(*ret));
		ret[at] = wants[i];
		n++;
	}
	return n;
}

static void unpin(struct cfs_tree_locks *l, struct cfs_tree_pins *pins,
		  bool has_written)
{
	bool tell = false;

	for (unsigned int i = 0; i < pins->count; i++) {
		struct cfs_tree_lock *lock = pins->locks[i];

		lock->is_dirty |= has_written && lock->mode == CFS_LOCK_X;
		tell |= --lock->users == 0 &&
			(lock->is_wanted || lock->is_lost || lock->is_pending);
	}
	if (pins->own_count) {
		l->made_users -= pins->own_count;
		tell |= l->made_users == 0 && l->is_settling;
	}
	if (pins->has_all) {
		l->all.is_dirty |= has_written;
		tell |= --l->all.users == 0 && l->all.is_wanted;
	}
	if (tell)
		pthread_cond_broadcast(&l->work);
	*pins = (struct cfs_tree_pins){ .count = 0 };
}

/* Is what we made still unseen?  0: yes, as of pins->published. */
static int look_at_made(struct cfs_tree_locks *l, struct cfs_tree_pins *pins,
			struct cfs_err *err)
{
	int r;

	pins->published = tree_published(l);
	if (!l->made.count || l->made_published == pins->published)
		return 0;
	unpin(l, pins, false);
	r = l->is_settling ? wait_a_little(l, err) : tree_publish(l, err);
	return r < 0 ? r : BEGIN_ANEW;
}

static int pin_wants(struct cfs_tree_locks *l,
		     const struct cfs_tree_want *wants, size_t count,
		     struct cfs_tree_pins *pins, struct cfs_err *err)
{
	uint64_t own[CFS_TREE_WANTS_MAX];
	unsigned int own_count = 0;
	int r = pin_all(l, pins, err);

	if (r != 0 || pins->is_whole)
		return r;
	r = look_at_made(l, pins, err);
	for (size_t i = 0; i < count && r == 0; i++) {
		if (tree_is_made(l, wants[i].ino))
			own[own_count++] = wants[i].ino;
		else
			r = pin_inode(l, wants[i].ino, wants[i].writes, pins,
				      err);
	}
	if (r != 0 || own_count == 0)
		return r;
	/* They may be ours no longer; and one does not wait beside them. */
	for (unsigned int i = 0; i < own_count && !l->is_settling; i++)
		if (!tree_is_made(l, own[i]))
			return BEGIN_ANEW;
	if (l->is_settling) {
		unpin(l, pins, false);
		r = wait_a_little(l, err);
		return r < 0 ? r : BEGIN_ANEW;
	}
	l->made_users += own_count;
	pins->own_count = own_count;
	return 0;
}

int cfs_tree_locks_get(struct cfs_tree_locks *l,
		       const struct cfs_tree_want *wants, size_t count,
		       struct cfs_tree_pins *ret, struct cfs_err *err)
{
	struct cfs_tree_want sorted[CFS_TREE_WANTS_MAX];
	struct cfs_tree_pins pins = { .count = 0 };
	int r;

	count = sort_wants(wants, count, sorted);
	pthread_mutex_lock(&l->mutex);
	do {
		r = pin_wants(l, sorted, count, &pins, err);
		if (r != 0)
			unpin(l, &pins, false);
	} while (r == BEGIN_ANEW || r == -EDEADLK);
	pthread_mutex_unlock(&l->mutex);
	if (r == 0)
		*ret = pins;
	return r;
}

void cfs_tree_locks_put(struct cfs_tree_locks *l, struct cfs_tree_pins *pins,
			bool has_written)
{
	pthread_mutex_lock(&l->mutex);
	unpin(l, pins, has_written);
	pthread_mutex_unlock(&l->mutex);
}

bool cfs_tree_locks_may_start(struct cfs_tree_locks *l,
			      const struct cfs_tree_pins *pins)
{
	bool may = cfs_leaser_may_start(l->all.held, ACCESS_NS);

	for (unsigned int i = 0; may && i < pins->count; i++)
		may = cfs_leaser_may_start(pins->locks[i]->held, ACCESS_NS);
	return may;
}

bool cfs_tree_locks_hold(struct cfs_tree_locks *l,
			 const struct cfs_tree_pins *pins)
{
	bool holds = cfs_leaser_still_holds(l->all.held);

	for (unsigned int i = 0; holds && i < pins->count; i++)
		holds = cfs_leaser_still_holds(pins->locks[i]->held);
	return holds;
}
