/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A session that owns one container of a pool which another process manages: a
 * secondary.  It opens the devices itself, beside the manager, takes a mark on
 * them, asks for the container (delegate_msg.h), and opens that on a pool of
 * its own (volume/pool_delegate.h).  Then it is a session like any that holds a
 * pool, and is served by the same code.
 *
 * Its lease is its period as a client of the manager, a third of that of its
 * own clients on a shared pool: these live on when it is dead, and go to the
 * manager (serve_delegate.h).  As long as that runs, nobody has taken the
 * container over.  When it does not, because the manager is away or we were,
 * what has been done counts only if a look at the gravestone behind it finds
 * nothing: syncs (tree/container_grave.h), answers to requests, and renewals
 * of our own clients.  So we go on without a manager, as long as nobody else
 * has the container, and find the next one.
 *
 *	manager gone	it is looked for in the pool's record, for ever
 *	wanted back	the owner of the session is told, and closes it
 *	taken over	the same; nothing is acknowledged any more
 *
 * Closing: all is committed, then the container is returned; if the manager
 * does not answer within the time to wait, it finds our mark gone.
 */
#pragma once

#include "session/session.h"

struct cfs_secondary;
struct cfs_seat;

struct cfs_secondary_options {
	/* It is to be closed; from another thread, once.  May be NULL. */
	void (*wanted)(void *arg, const char *why);
	void *arg;
};

/*
 * The container @name of @pool.  Of @opt: wait_seconds (for a manager, and for
 * those who use it), search, tls, stop, warn.
 * Errors as of cfs_session_open; -ENOENT: no such container; -EBUSY: somebody
 * uses it, or serves it already; nobody manages the pool.
 */
int cfs_secondary_open(const char *pool, const char *name,
		       const struct cfs_session_options *opt,
		       const struct cfs_secondary_options *own,
		       struct cfs_session **ret, struct cfs_err *err);

/* ---- for the session ----------------------------------------------------- */

/* Where others find us, and whether clients may have leases: durable, by the
 * manager. */
int cfs_secondary_store(struct cfs_secondary *sec, const struct cfs_seat *seat,
			struct cfs_err *err);
/* Behind what was done for others, before they are told.  0; -ESTALE: somebody
 * else has the container. */
int cfs_secondary_may_answer(struct cfs_secondary *sec, struct cfs_err *err);
/* Who was handed over with the container is known: nobody else comes back. */
bool cfs_secondary_knows_clients(const struct cfs_secondary *sec);
/* They are clients of @owner, our new one, or awaited there. */
struct cfs_owner;
void cfs_secondary_expect(struct cfs_secondary *sec, struct cfs_owner *owner);
/* Before that: who is there on behalf of the manager goes back to it. */
void cfs_secondary_retire(struct cfs_secondary *sec);
/* Nobody is answered any more: @list is who has leases, and comes back where
 * the container is next. */
struct cfs_handed_list;
void cfs_secondary_leave(struct cfs_secondary *sec,
			 const struct cfs_handed_list *list);
/* The pool is closed, cleanly or not; @set too, behind this.  Frees it. */
void cfs_secondary_close(struct cfs_secondary *sec);
/* cfs_serve_mark_wanted has something to say.  Any thread. */
void cfs_secondary_wake(struct cfs_secondary *sec);
uint64_t cfs_secondary_container(const struct cfs_secondary *sec);
