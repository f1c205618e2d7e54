/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Leases for callers that wait: client.h with a lock, a way for its messages,
 * and somebody who sees to what is due.
 *
 * The way is a connection (cfs_leaser_connect), over which other requests go
 * too (cfs_leaser_conn) and renew the leases by it; or, for the process that
 * holds the pool itself, a direct one (cfs_leaser_new, session/serve.h).
 *
 * When the connection has broken, what is held is held while the period runs.
 * The caller connects anew (cfs_leaser_reconnect: the leases are reclaimed),
 * or lets it go.
 *
 * Hooks are called with the leaser's lock held, which is recursive: they may
 * call everything here that does not wait.  They must not wait for a thread
 * that may want a lease.
 *
 * Thread safety: any thread, but connect, reconnect and free.
 */
#pragma once

#include "lease/client.h"
#include "lease/conn.h"

#include <pthread.h>

struct cfs_leaser;

/* A lease of a caller.  Read only. */
struct cfs_held {
	struct cfs_lease *lease;
	struct cfs_leaser *leaser;
	void *user; /* as it was asked for */
	int status; /* of the last request */
	bool is_waiting;
	struct cfs_err err;
};

/*
 * As in struct cfs_lease_client_ops; each may be NULL.  recall is also called
 * for a lease that is got while what it stands on is recalled already, before
 * acquire returns it; for one lease it may be called more than once.
 */
struct cfs_leaser_hooks {
	void (*recall)(void *arg, struct cfs_held *held, uint64_t grant_id,
		       const struct cfs_lock_resource *resource, uint32_t mode);
	void (*lost)(void *arg, struct cfs_held *held);
	void (*dropped)(void *arg, uint64_t grant_id,
			const struct cfs_lock_resource *resource);
	void (*changed)(void *arg, int status, const struct cfs_err *err);
	/* Notices that are no lease messages (CFS_MSG_ENDING, data).  Without
	 * the lock. */
	void (*notice)(void *arg, const void *msg, size_t bytes);
	/* The connection has broken.  Without the lock. */
	void (*gone)(void *arg, const struct cfs_err *why);
	void *arg;
};

/* A way for messages. */
struct cfs_leaser_via {
	int (*send)(void *arg, const void *msg, size_t bytes);
	uint64_t (*next_id)(void *arg);
	/* As cfs_conn_wait, without @lock held. */
	int (*wait)(void *arg, bool (*is_done)(void *done_arg), void *done_arg,
		    const struct cfs_conn_wait *wait, struct cfs_err *err);
	void (*kick)(void *arg); /* deadlines have changed */
	/* As cfs_conn_expect and _end; may be NULL. */
	void (*expect)(void *arg, bool begins);
	pthread_mutex_t *lock; /* recursive */
	struct cfs_clock *clock;
	void *arg;
};

/*
 * Over @link, which is its own also on failure: says hello, and waits for the
 * welcome as long as @wait says.
 * What the manager answers (-ESTALE: another pool, ...); -ETIMEDOUT, -EINTR,
 * -ECONNRESET.
 */
int cfs_leaser_connect(struct cfs_link *link,
		       const struct cfs_lease_client_config *config,
		       const struct cfs_leaser_hooks *hooks,
		       const struct cfs_conn_wait *wait,
		       struct cfs_leaser **ret, struct cfs_err *err);
/* The same leaser over another link.  No call over the old one is under way. */
int cfs_leaser_reconnect(struct cfs_leaser *leaser, struct cfs_link *link,
			 const struct cfs_conn_wait *wait, struct cfs_err *err);
/* Without a connection; cfs_leaser_hello says hello.  @via is copied. */
int cfs_leaser_new(const struct cfs_leaser_via *via,
		   const struct cfs_lease_client_config *config,
		   const struct cfs_leaser_hooks *hooks,
		   struct cfs_leaser **ret, struct cfs_err *err);
int cfs_leaser_hello(struct cfs_leaser *leaser,
		     const struct cfs_conn_wait *wait, struct cfs_err *err);
/* The manager forgets the client and what it has, at once.  All leases were
 * released. */
void cfs_leaser_goodbye(struct cfs_leaser *leaser);
/*
 * @says_goodbye: the manager forgets the client at once; else what it has
 * stays until its period is over, or it returns.  All leases were released
 * (for a goodbye).  NULL is allowed.
 */
void cfs_leaser_free(struct cfs_leaser *leaser, bool says_goodbye);

/* For other requests; NULL: it has none. */
struct cfs_conn *cfs_leaser_conn(struct cfs_leaser *leaser);
/* For client.h, between lock and unlock (of a recursive lock). */
struct cfs_lease_client *cfs_leaser_lock(struct cfs_leaser *leaser);
void cfs_leaser_unlock(struct cfs_leaser *leaser);

/*
 * Get a lease.  Without CFS_MSG_LOCK_WAIT in @req: at once or -EBUSY.
 * -EDEADLK; -EAGAIN: a limit; -ESTALE: the client's period ended meanwhile;
 * -ETIMEDOUT, -EINTR: not had, the request is taken back; -ECONNRESET.
 */
int cfs_leaser_acquire(struct cfs_leaser *leaser,
		       const struct cfs_lease_request *req,
		       const struct cfs_conn_wait *wait, struct cfs_held **ret,
		       struct cfs_err *err);
/* Another mode; as cfs_lease_client_change. */
int cfs_leaser_change(struct cfs_held *held, uint32_t mode, bool is_patient,
		      const struct cfs_conn_wait *wait, struct cfs_err *err);
/*
 * Give it back, and free it; waits for nothing, so another client may be told
 * for a moment that it is taken.  NULL is allowed.
 */
void cfs_leaser_release(struct cfs_held *held);

bool cfs_leaser_may_start(struct cfs_held *held, uint64_t duration_ns);
bool cfs_leaser_still_holds(struct cfs_held *held);
void cfs_leaser_name(struct cfs_held *held, struct cfs_lease_name *ret);

/* For a way of one's own. */
void cfs_leaser_receive(struct cfs_leaser *leaser, const void *msg,
			size_t bytes);
uint64_t cfs_leaser_tick(struct cfs_leaser *leaser);
