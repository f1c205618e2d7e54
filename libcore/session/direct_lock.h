/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Leases on the bytes of LUNs, kept for as long as nobody else wants them: for
 * those who read and write the devices themselves, and for the manager's own
 * reads and writes beside them.
 *
 * A whole LUN is asked for at first, without waiting; where others are in the
 * way, aligned pieces of CFS_DIRECT_PIECE_BYTES for some seconds.  A lock that
 * is wanted back takes no new users; when the last one has left, what was
 * written under it is settled (made visible to others), and only then does it
 * go.  If that fails it is not given back: its owner takes it when our period
 * is over, and finds in our log what was synced.
 *
 * Locks: the leaser's, then ours; never the reverse.
 *
 * Thread safety: any, but new and free.
 */
#pragma once

#include "lease/conn_lease.h"

#define CFS_DIRECT_PIECE_BYTES (UINT64_C(64) << 20)

struct cfs_direct_locks;
struct cfs_direct_lock;

struct cfs_direct_lock_ops {
	/* As cfs_leaser_acquire; may wait for a connection, too. */
	int (*acquire)(void *arg, const struct cfs_lease_request *req,
		       const struct cfs_conn_wait *wait, struct cfs_held **ret,
		       struct cfs_err *err);
	/* NULL: there is none at present.  Any lock may be held. */
	struct cfs_leaser *(*leaser)(void *arg);
	/* In a thread of the table.  Negative: it cannot be given back. */
	int (*settle)(void *arg, uint64_t container);
	/* A lease was lost; @container 0: all.  With the leaser's lock. */
	void (*lost)(void *arg, uint64_t container);
	/* This thread is about to wait for others; may be NULL. */
	void (*will_wait)(void *arg);
	void *arg;
};

int cfs_direct_locks_new(const struct cfs_direct_lock_ops *ops,
			 struct cfs_direct_locks **ret, struct cfs_err *err);
/* None has a user any more.  Releases all, without settling.  NULL is
 * allowed. */
void cfs_direct_locks_free(struct cfs_direct_locks *l);
/* All that nobody uses go, settled; of one container, or all (0), and of that
 * of one volume, or all. */
void cfs_direct_locks_drop(struct cfs_direct_locks *l, uint64_t container,
			   uint64_t volume);

/* For the leaser: hooks with the table as their argument. */
void cfs_direct_locks_recall(void *locks, struct cfs_held *held,
			     uint64_t grant_id,
			     const struct cfs_lock_resource *resource,
			     uint32_t mode);
void cfs_direct_locks_lost(void *locks, struct cfs_held *held);

struct cfs_direct_want {
	uint64_t container, volume, ino;
	uint64_t offset_bytes;
	bool writes;
	/* $CFS_LEASE; may be NULL. */
	const struct cfs_lease_name *lender;
	const struct cfs_conn_wait *wait; /* may be NULL */
};

/*
 * A lock for the byte at @w->offset_bytes and those behind it up to *ret_end.
 * *ret_grant: number of its grant; they rise, so whoever has looked behind the
 * last one need not look again.
 * -ESTALE: all leases are lost; -EINTR, -ETIMEDOUT, -ENOMEM, -ECONNRESET.
 */
int cfs_direct_lock_get(struct cfs_direct_locks *l,
			const struct cfs_direct_want *w,
			struct cfs_direct_lock **ret, uint64_t *ret_end,
			uint64_t *ret_grant, struct cfs_err *err);
/* May an access begin?  Is it held still? */
bool cfs_direct_lock_may_start(struct cfs_direct_lock *lock);
bool cfs_direct_lock_holds(struct cfs_direct_lock *lock);
void cfs_direct_lock_put(struct cfs_direct_locks *l,
			 struct cfs_direct_lock *lock, bool has_written);

/* Are all that were written under held still? */
bool cfs_direct_locks_hold(struct cfs_direct_locks *l, uint64_t container);
/* The number of the last grant: what is looked at now is behind it. */
uint64_t cfs_direct_locks_last(struct cfs_direct_locks *l);
