/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The leases under which this process uses volumes for itself and for those
 * who ask it to (serve_use.h), once it answers others: a reader takes IS on
 * the volume, a writer IX, whoever wants it alone X.  So a lease on a volume
 * keeps them out, and they keep whoever asks for one waiting.
 *
 * They are those of one client in this process; each actor is a holder of its
 * own.  They end with the use or, since what is done for a peer ends with its
 * connection, with that.
 *
 * Who may wait for such a lease stands in the lock table's queue for it
 * (cfs_serve_patiently), like everybody who asks for one himself: so nobody who
 * comes later is served first.
 *
 * Thread safety: any.
 */
#pragma once

#include "lease/conn_lease.h"
#include "session/serve_use.h"

struct cfs_serve;

/*
 * Without waiting.  0, and *ret, which is NULL where none is needed: of a
 * snapshot, or nobody is answered.
 * @a: NULL: this process itself.
 * -EBUSY: @err names who has it; -ESTALE, -EPERM: the lease that @a works
 * under is gone, or not his.
 */
int cfs_serve_lease_take(struct cfs_session *s, const struct cfs_use_of *of,
			 const struct cfs_use_actor *a, struct cfs_held **ret,
			 struct cfs_err *err);
/*
 * Call @try, and if somebody else's lease is in its way (-EBUSY from the call
 * above) wait in the queue for what was missing, with no lock held and nothing
 * counted as used, and call it again; until it does not fail for that, or the
 * time of @wait is over.  What was waited for is the actor's own meanwhile, so
 * that nobody gets in between.
 * What @try returns; -EINTR: @wait->stop said so, or nobody wants the answer.
 */
int cfs_serve_patiently(struct cfs_session *s, const struct cfs_conn_wait *wait,
			int (*try)(void *arg, struct cfs_err *err), void *arg,
			struct cfs_err *err);

/* Give *held back, if it is there still; it is NULL behind this. */
void cfs_serve_lease_give(struct cfs_session *s, struct cfs_held **held);

/*
 * What it is for was taken for a client of the lock table: it works under it
 * (cfs_owner_lend).
 */
void cfs_serve_lease_lend(struct cfs_session *s, struct cfs_held *held,
			  uint64_t client);
/* @req is asked for by who has @held: it works under it. */
void cfs_serve_lease_borrow(struct cfs_session *s, struct cfs_held *held,
			    struct cfs_lease_request *req);

/* @r of a request for somebody else's bytes or files, and what to say of it. */
int cfs_serve_lease_words(int r, struct cfs_err *err);

/* The period of the clients that come from now on. */
void cfs_serve_lease_set_period(struct cfs_session *s, uint64_t period_ns);
/* From now on volumes are used under leases of @serve. */
void cfs_serve_lease_start(struct cfs_session *s, struct cfs_serve *serve);
/* Not any more: all are given back. */
void cfs_serve_lease_stop(struct cfs_session *s);
