/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who uses which volume of a session that holds its pool: what is open is not
 * rolled back, removed or made smaller under whoever has it open.
 *
 * A use is of a volume as it is, of one of its snapshots, or (a scrub) of a
 * whole container or all of them.  Readers and writers go together: what two
 * writers do to each other is for the leases on ranges and files to say.
 * ALONE goes with nobody, and is asked for without waiting.
 *
 * Where others are answered, a use has a lease on the volume (serve_lease.h).
 *
 * Thread safety: any.
 */
#pragma once

#include "base/err.h"
#include "lease/msg.h"

#include <stdbool.h>
#include <stdint.h>

struct cfs_session;
struct cfs_use;

enum cfs_use_mode {
	CFS_USE_PIN, /* containers are not to be removed; all else
		      * may go on */
	CFS_USE_READ,
	CFS_USE_WRITE,
	CFS_USE_ALONE,
};

#define CFS_USE_ANY_STAMP UINT64_MAX
#define CFS_USE_WHO_BYTES 320u

struct cfs_use_of {
	uint64_t container; /* 0: all */
	uint64_t volume;    /* 0: all of the container */
	uint64_t stamp;     /* of a snapshot; 0: the volume as it
			     * is; CFS_USE_ANY_STAMP: both */
	enum cfs_use_mode mode;
	/* ALONE: but for what the same one has open: who fills a LUN may cut
	 * it to what came. */
	bool but_own;
};

/* For whom a thread works. */
struct cfs_use_actor {
	const void *id;               /* tells actors apart */
	uint32_t pid;                 /* of this host; 0: not known */
	char who[CFS_USE_WHO_BYTES];  /* "process 12 on this host" */
	struct cfs_lease_name lender; /* works under that; lease_id 0: none */
};
/*
 * This thread works for @actor, which outlives that, until it is told
 * another; NULL, as at the beginning: for this process.
 */
void cfs_serve_act_for(const struct cfs_use_actor *actor);

/* NULL: this process itself. */
const struct cfs_use_actor *cfs_serve_actor(void);
/* This thread answers @request, until it is told another, or NULL. */
struct cfs_server_request;
void cfs_serve_answer(struct cfs_server_request *request);
/* This thread is about to wait for others: it is no longer one of those that
 * requests wait for.  False: too many do, and it still is. */
bool cfs_serve_will_wait(void);
/* How long this thread waits for leases on bytes and files; 0: without limit.
 */
void cfs_serve_set_patience(uint64_t patience_ns);
uint64_t cfs_serve_patience(void);
/* Nobody waits for the answer any more. */
bool cfs_serve_is_cancelled(void);

/* -EBUSY: @err names who has it; -ENOMEM; as cfs_serve_lease_take. */
int cfs_serve_volume_enter(struct cfs_session *s, const struct cfs_use_of *of,
			   struct cfs_use **ret, struct cfs_err *err);
/* As if @container were entered alone, but for those of whom @is_mine says that
 * they do not count.  -EBUSY: @err names who has it. */
int cfs_serve_volume_is_free(struct cfs_session *s, uint64_t container,
			     bool (*is_mine)(void *arg, const void *actor),
			     void *arg, struct cfs_err *err);
/* It goes elsewhere with its container: it does not count for that. */
void cfs_serve_volume_set_moving(struct cfs_session *s, struct cfs_use *use,
				 bool is_moving);
/* For whoever has the volume alone: when he leaves @a uses it, without a lease,
 * until he leaves it, too.  -ENOMEM. */
int cfs_serve_volume_keep(struct cfs_session *s, const struct cfs_use_of *of,
			  const struct cfs_use_actor *a, struct cfs_use **ret);
/* It was entered for this client of the lock table (cfs_owner_lend). */
void cfs_serve_volume_lend(struct cfs_session *s, struct cfs_use *use,
			   uint64_t client);
/*
 * For somebody who uses the volume already, and wants a lease of something in
 * it: @req works under the lease that he has, unless it works under another.
 */
struct cfs_lease_request;
void cfs_serve_volume_borrow(struct cfs_session *s,
			     struct cfs_lease_request *req);
/* NULL is allowed. */
void cfs_serve_volume_leave(struct cfs_session *s, struct cfs_use *use);
/* Uses go on without leases: nobody is answered any more. */
void cfs_serve_volume_drop_leases(struct cfs_session *s);
