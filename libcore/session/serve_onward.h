/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What peers have open, by way of the manager, in a container that gets
 * another owner: the manager goes on serving it, as a client of the container's
 * secondary, and by itself again when the container is home.
 *
 *	HERE	-> STOPPED   what is asked waits; what is under way ends
 *	STOPPED	-> AWAY      closed here, and so synced; nobody has it open
 *	AWAY	-> THERE     open at the secondary, which nobody else has found
 *			     before that (serve_delegate.c tells its address
 *			     behind it)
 *	THERE	-> AWAY      the secondary is about to return the container:
 *			     what is under way has ended, and is synced
 *	AWAY	-> HERE      the container is home
 *	any	-> LOST      what the peer did and did not sync may be lost
 *			     (its secondary died), or it could not be opened
 *			     again: all that it asks fails from now on
 *
 * What must stay true: between two owners nobody takes the volume away, or back
 * to a snapshot, under whoever has it open; and what was answered is lost only
 * where the peer is told.
 *
 * Not everything can go: see cfs_onward_check.
 *
 * Locks: those of requests (serve_priv.h), and none while a secondary is asked.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct cfs_serve_rpc;
struct cfs_onward; /* some open volumes, stopped for one who works on them */

/*
 * All of @container that peers have open is stopped.  *@ret: NULL if there is
 * nothing.  -EBUSY: something is under way for too long; -ENOMEM.
 */
int cfs_onward_begin(struct cfs_serve_rpc *rpc, uint64_t container,
		     struct cfs_onward **ret, struct cfs_err *err);
/*
 * With the structure of requests for us alone.  May all go?  Then they are no
 * users any more to cfs_serve_volume_is_free.  -EBUSY, and who is in the way:
 * an open file without a name; work under somebody's lease; a volume that is
 * being made.  (A stream is not asked about here, and is a user.)  @o NULL:
 * nothing to be asked.
 */
int cfs_onward_check(struct cfs_onward *o, struct cfs_err *err);
/* There are @count others who go with the container: these would find the
 * secondary first, and wait there for each other.  -EBUSY, unless it is 0. */
int cfs_onward_check_others(const struct cfs_onward *o, uint64_t count,
			    struct cfs_err *err);
/* Closed here.  The same lock. */
void cfs_onward_leave(struct cfs_onward *o);
/* The container has gone under @epoch; or, 0, has not: then what was closed is
 * opened again.  The same lock.  Frees @o. */
void cfs_onward_end(struct cfs_onward *o, uint32_t epoch);

/* What is AWAY with the container: open it there.  0: none is left.  Or why
 * not, and it can be tried again. */
int cfs_onward_join(struct cfs_serve_rpc *rpc, uint64_t container,
		    uint32_t epoch, const char *address, struct cfs_err *err);
/* Not any more: what is still AWAY is LOST. */
void cfs_onward_lose(struct cfs_serve_rpc *rpc, uint64_t container,
		     uint32_t epoch);
/* What is THERE is AWAY, if its last request is done in time. */
void cfs_onward_drain(struct cfs_serve_rpc *rpc, uint64_t container,
		      uint32_t epoch);
/* The container is here, and nobody but us uses it: what is AWAY is a user of
 * it, and what is THERE is LOST. */
void cfs_onward_keep(struct cfs_serve_rpc *rpc, uint64_t container,
		     uint32_t epoch);
/* It may be used.  -EBUSY: a lease is in the way; to be tried again. */
int cfs_onward_return(struct cfs_serve_rpc *rpc, uint64_t container,
		      uint32_t epoch);
