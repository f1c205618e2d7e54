/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The manager's side of delegation (delegate_msg.h): secondaries, which own
 * containers of the pool (volume/pool_delegate.h).
 *
 * A secondary is a client of the lease table that holds nothing there: its
 * period is the lease of its container.  It is bound to that by AGAIN, also at
 * the next manager; one that is not by the time an owner's period has passed
 * is taken for silent.
 *
 *	returned, or gone (goodbye, its mark on the devices, boot id, an
 *		operator)		-> home, in place
 *	silent for its period, or revoked and not returned within one
 *					-> sealed, taken over
 *
 * Either way we open it at once, alone.  Its clients come back to us as who
 * they were, and reclaim what they had, in a grace of that container; behind
 * that what the others have synced is read in, and all of it is everybody's.
 *
 * Locks: the structure of the session, then containers', then ours; the hooks
 * of the owner are called with the lock of cfs_serve_lock and only note what
 * is to be done, for a thread.
 */
#pragma once

#include "lease/owner.h"
#include "lease/server.h"
#include "session/serve.h"

struct cfs_serve_delegate;
struct cfs_delegate_entries;

/* What former managers delegated is known behind this. */
int cfs_serve_delegate_new(struct cfs_serve *serve,
			   const struct cfs_logger *logger,
			   struct cfs_serve_delegate **ret,
			   struct cfs_err *err);
/* No request runs any more.  What is delegated stays so. */
void cfs_serve_delegate_stop(struct cfs_serve_delegate *sd);
void cfs_serve_delegate_free(struct cfs_serve_delegate *sd); /* or NULL */

/* Worker for CFS_DELEGATE_TYPE_FIRST to _LAST; @arg: a cfs_serve_delegate. */
int cfs_serve_delegate_request(void *arg, struct cfs_server_request *request,
			       struct cfs_buf *reply, struct cfs_err *err);
/* The space of process numbers that we are in; 0: not known. */
uint64_t cfs_handed_space(void);
/* Some are away: the next manager has to look. */
bool cfs_serve_delegate_has_any(struct cfs_serve_delegate *sd);
/* Another has the locks of @container, or may have; @sd NULL: no.  May be asked
 * with the lock of cfs_serve_lock. */
bool cfs_serve_delegate_is_away(struct cfs_serve_delegate *sd,
				uint64_t container);

/* Hooks; @sd NULL: nothing.  Of the lease table: a client has ended, or an
 * operator says that it, or a host, is gone (-ENOENT: not known here). */
void cfs_serve_delegate_ended(struct cfs_serve_delegate *sd, uint64_t client,
			      enum cfs_owner_end end);
int cfs_serve_delegate_gone(struct cfs_serve_delegate *sd, uint64_t client,
			    const char *host);
/* A client was revoked: it is to return its containers. */
void cfs_serve_delegate_want(struct cfs_serve_delegate *sd, uint64_t client);
/* Of the server: a connection has. */
void cfs_serve_delegate_peer_ended(struct cfs_serve_delegate *sd,
				   uint64_t peer);

/*
 * What stands about delegations, where nobody serves: @session holds the pool,
 * or looks at it.
 */
int cfs_session_delegations(struct cfs_session *session,
			    struct cfs_delegate_entries *ret,
			    struct cfs_err *err);
/* A pool was opened: containers whose secondary is known to be gone are at
 * home.  Of an overlay in memory. */
int cfs_session_settle_delegations(struct cfs_session *session,
				   struct cfs_err *err);
