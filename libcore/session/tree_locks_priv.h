/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of tree_locks share; all with the mutex, unless said. */
#pragma once

#include "session/tree_locks.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/vec.h"

#include <pthread.h>

#define TREE_CONTENDED_NS (5 * CFS_NS_PER_S) /* until the whole is tried */

struct cfs_tree_lock {
	UT_hash_handle hh;
	uint64_t ino;
	uint32_t mode;
	struct cfs_held *held;
	unsigned int users;
	uint32_t wanted_mode; /* of the whole: may stay */
	bool is_pending;      /* being asked for, or going */
	bool is_wanted;       /* back, or by ourselves in another mode */
	bool is_lost;
	bool is_kept; /* could not be settled */
	bool is_dirty;
};

struct tree_open {
	UT_hash_handle hh;
	uint64_t ino;
	unsigned int count;
	struct cfs_held *held; /* S, or NULL: not needed yet */
};

struct ino_span {
	uint64_t first, end;
};

struct cfs_tree_locks {
	struct cfs_tree_locks_config config;
	pthread_mutex_t mutex;
	pthread_cond_t changed; /* for who waits */
	pthread_cond_t work;    /* for the thread */
	pthread_t thread;
	struct cfs_tree_lock all; /* the whole; mode NONE: not had */
	struct cfs_tree_lock *inodes;
	struct tree_open *opens;
	CFS_VEC(struct ino_span) made; /* sorted, apart */
	unsigned int made_users;
	uint64_t made_published; /* what they were made behind */
	bool is_settling;
	bool tries_whole;      /* at the next chance */
	uint64_t whole_ns;     /* not before */
	uint64_t whole_serial; /* how often it was got */
	struct cfs_tree_lock_counts counts;
	bool is_ending;
	struct cfs_err why; /* what could not be settled */
};

/* tree_locks_give.c */
void *tree_locks_run(void *locks);
/* Give back, or leave with the leaser if it was not recalled; no mutex. */
void tree_let_go(struct cfs_held *held);
bool tree_is_made(const struct cfs_tree_locks *l, uint64_t ino);
void tree_made_add(struct cfs_tree_locks *l, uint64_t ino);

/* What we made is visible: no longer ours.  The mutex is let go meanwhile. */
int tree_publish(struct cfs_tree_locks *l, struct cfs_err *err);
bool tree_has_dirty(const struct cfs_tree_locks *l);

/* tree_locks.c: without the mutex. */
uint64_t tree_now_ns(void);
int tree_ask(struct cfs_tree_locks *l, uint64_t ino, uint32_t mode,
	     uint32_t flags, void *user, struct cfs_held **ret,
	     struct cfs_err *err);

static inline bool tree_is_whole(const struct cfs_tree_lock *all)
{
	return all->mode == CFS_LOCK_X || all->mode == CFS_LOCK_S;
}

static inline uint64_t tree_published(const struct cfs_tree_locks *l)
{
	return l->config.ops.published
		       ? l->config.ops.published(l->config.ops.arg)
		       : 0;
}
