/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The client's side of leases, pure: no threads, no I/O; the caller serialises
 * and gives it a clock, messages and ticks.
 *
 * A caller gets tokens (struct cfs_lease).  A token stands on a grant of the
 * owner; a recallable grant is kept when its last token is released, and the
 * next request of the same key within it is answered without a message, until
 * it is recalled or the period ends.
 *
 * The period (period.h) is one for all; it begins when a request is sent.
 * While nothing else is sent, a renewal goes out every third of it.
 *
 * What must stay true:
 *  C1 nobody is told that a token is held after the period of its grant ended:
 *     cfs_lease_client_may_start and _still_holds look at the clock each time;
 *  C2 when the period is over everything is lost at once and for good; the
 *     tokens' owners are told before any of them can get anything new;
 *  C3 a grant that the owner has stopped extending (recall FINAL), or that is
 *     not yet reclaimed from a new owner, ends with the period as it was then;
 *  C4 replies that are late, doubled, or to nothing we asked, change nothing;
 *     a grant that nobody waits for any more is given back.
 *
 * Calls out (ops) are made when the state is whole; each may call any function
 * of the client but free.  ops.send may lead straight back into
 * cfs_lease_client_receive.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "lease/lock.h"
#include "lease/msg.h"

struct cfs_err;
struct cfs_lease; /* token */
struct cfs_lease_client;

enum cfs_lease_state {
	CFS_LEASE_ASKED = 1, /* not granted yet */
	CFS_LEASE_HELD = 2,
	CFS_LEASE_LOST = 3,    /* only to be released */
	CFS_LEASE_REFUSED = 4, /* likewise */
};

struct cfs_lease_client_config {
	struct cfs_msg_hello hello; /* identity; client_id, secret, epoch
				     * set: to return as that client */
	uint32_t tokens_max;        /* 0: 1 << 20 */
	uint32_t cached_max;        /* idle grants kept; 0: 4096 */
	/*
	 * Messages of a connection arrive in the order in which they were
	 * sent, or it breaks and says so.  Then nothing is answered to what
	 * gives a lease back: the answer to anything sent behind it tells
	 * that it has arrived.
	 */
	bool is_ordered;
};

/* All may be NULL but send. */
struct cfs_lease_client_ops {
	/* Whole message to the owner.  Negative: the connection is lost; the
	 * caller says cfs_lease_client_disconnected soon. */
	int (*send)(void *arg, const void *msg, size_t bytes);
	/* Ids of messages, unique on the connection.  NULL: a counter. */
	uint64_t (*next_id)(void *arg);
	/*
	 * A request of @lease is done: acquire, upgrade or downgrade.
	 * @status: 0, -EBUSY, -EDEADLK, -EAGAIN (a limit), -ECANCELED,
	 * -ESTALE (lost meanwhile), ...; @err says why, NULL if it is 0.
	 */
	void (*done)(void *arg, struct cfs_lease *lease, int status,
		     const struct cfs_err *err);
	/*
	 * The owner wants the grant under @lease down to @mode (NONE: back).
	 * Called for each token on it, or, if it is only cached, with a token
	 * NULL and its resource.  Whoever has unsaved work under it makes it
	 * durable; the grant goes when cfs_lease_client_yield was called for
	 * @grant_id and no token needs it.  Without this hook it goes as soon
	 * as no token needs it.
	 */
	void (*recall)(void *arg, struct cfs_lease *lease, uint64_t grant_id,
		       const struct cfs_lock_resource *resource, uint32_t mode);
	/* @lease is lost; NULL: the period is over, all that was held is,
	 * and what was cached without a token too.  Why:
	 * cfs_lease_client_why_lost. */
	void (*lost)(void *arg, struct cfs_lease *lease);
	/* A grant went away (given back, recalled, evicted, revoked): nothing
	 * that was cached under it may be used any more. */
	void (*dropped)(void *arg, uint64_t grant_id,
			const struct cfs_lock_resource *resource);
	/*
	 * State of the client: 0: welcome (new, or again); -ESTALE: the period
	 * is over (a new HELLO goes out at once if there is a connection, as a
	 * new client); another: HELLO was refused.
	 */
	void (*changed)(void *arg, int status, const struct cfs_err *err);
};

/* @clock outlives the client.  0; -EINVAL, -ENOMEM. */
int cfs_lease_client_new(const struct cfs_lease_client_config *config,
			 const struct cfs_lease_client_ops *ops, void *arg,
			 struct cfs_clock *clock, struct cfs_lease_client **ret,
			 struct cfs_err *err);
/* Frees the tokens too.  Sends nothing.  NULL is nothing. */
void cfs_lease_client_free(struct cfs_lease_client *client);

/* There is a connection: HELLO goes out, and behind WELCOME what waits. */
void cfs_lease_client_connected(struct cfs_lease_client *client);
/* It is gone.  What is held is held while the period runs. */
void cfs_lease_client_disconnected(struct cfs_lease_client *client);

/*
 * A message of the owner.  0; -EPROTO: not a lease message, or a broken one:
 * close the connection.
 */
int cfs_lease_client_receive(struct cfs_lease_client *client, const void *msg,
			     size_t bytes);

/* Renew, send again, lose what is over.  Returns when to call again. */
uint64_t cfs_lease_client_tick(struct cfs_lease_client *client);

/*
 * Another request (session, data) with the id @id is sent just behind this
 * call; its reply came, with that status (0 or a negative errno).  They renew
 * too, unless the owner says -ESTALE or -ENOTCONN: it does not know us.
 */
void cfs_lease_client_sent(struct cfs_lease_client *client, uint64_t id);
void cfs_lease_client_replied(struct cfs_lease_client *client, uint64_t id,
			      int status);

struct cfs_lease_request {
	struct cfs_lock_resource resource;
	uint32_t mode;
	uint32_t flags; /* CFS_MSG_LOCK_WAIT, _RECALLABLE */
	uint64_t key;
	uint64_t lender_lease; /* $CFS_LEASE; 0: none */
	uint8_t lender_secret[CFS_LEASE_SECRET_BYTES];
	void *user;
};

/*
 * Ask for a lease.  0 and a token in *ret: HELD (from the cache, or the owner
 * answered before send returned; ops.done is then not called), or ASKED and
 * ops.done tells.  It may be asked while there is no connection: it goes out
 * behind the WELCOME.
 * -EINVAL, -ENOMEM, -EAGAIN (tokens_max), or what the owner said, if it
 * answered before send returned: then there is no token.
 */
int cfs_lease_client_acquire(struct cfs_lease_client *client,
			     const struct cfs_lease_request *req,
			     struct cfs_lease **ret, struct cfs_err *err);

/*
 * Give a token back, in any state, also one that is ASKED (the request is
 * cancelled; done is not called any more).  Frees it.  The grant is kept if it
 * is recallable, else given back.
 */
void cfs_lease_client_release(struct cfs_lease *lease);

/*
 * Another mode.  0: done at once (state and mode tell) or ops.done follows.
 * A downgrade always succeeds.  -EINVAL: not held; -EALREADY: another change of
 * it, or of its grant, runs; -ESTALE: lost.
 */
int cfs_lease_client_change(struct cfs_lease *lease, uint32_t mode, bool wait,
			    struct cfs_err *err);
/* Cancel a change that runs: done with -ECANCELED, unless it was quicker. */
void cfs_lease_client_change_cancel(struct cfs_lease *lease);

/* What is cached under the recalled grant is durable: it may go. */
void cfs_lease_client_yield(struct cfs_lease_client *client, uint64_t grant_id);

/* Give back all cached grants that no token uses and nobody has recalled. */
void cfs_lease_client_drop_cached(struct cfs_lease_client *client);

/*
 * Say goodbye: all tokens must be released.  The owner ends this client
 * without waiting; ops.changed(0) is called when it has answered.
 */
void cfs_lease_client_goodbye(struct cfs_lease_client *client);

/* ---- the two questions ---- */

/* May an access that lasts at most @duration_ns begin now? */
bool cfs_lease_client_may_start(struct cfs_lease *lease, uint64_t duration_ns);
/* Is it held still: may what was read be handed on, a sync acknowledged? */
bool cfs_lease_client_still_holds(struct cfs_lease *lease);
/* The same of the client's period as a whole. */
bool cfs_lease_client_is_alive(struct cfs_lease_client *client);
/* The owner, who answers a renewal in less, has said nothing for half a period:
 * it stands still, or is cut off, and there may be another one. */
bool cfs_lease_client_is_unanswered(struct cfs_lease_client *client);

/* ---- looking ---- */

enum cfs_lease_state cfs_lease_state_of(const struct cfs_lease *lease);
uint32_t cfs_lease_mode_of(const struct cfs_lease *lease);
const struct cfs_lock_resource *cfs_lease_resource_of(
	const struct cfs_lease *lease);
uint64_t cfs_lease_generation_of(const struct cfs_lease *lease);
void *cfs_lease_user_of(const struct cfs_lease *lease);
/* The id of the grant; 0: none.  With the secret: $CFS_LEASE. */
uint64_t cfs_lease_grant_of(const struct cfs_lease *lease);
void cfs_lease_name_of(const struct cfs_lease *lease,
		       struct cfs_lease_name *ret);
/* It was recalled, to *ret_mode (may be NULL). */
bool cfs_lease_is_recalled(const struct cfs_lease *lease, uint32_t *ret_mode);

bool cfs_lease_client_is_welcome(const struct cfs_lease_client *client);
uint64_t cfs_lease_client_id(const struct cfs_lease_client *client);
/* Why that was lost which was lost last, in words that stay. */
const char *cfs_lease_client_why_lost(const struct cfs_lease_client *client);
/* What the last WELCOME said; client_id 0: there was none. */
const struct cfs_msg_welcome *cfs_lease_client_welcome(
	const struct cfs_lease_client *client);
/* Elapsed time at which the period ends; 0: none runs. */
uint64_t cfs_lease_client_ends_ns(const struct cfs_lease_client *client);
/* What is left of it; 0: it is over, or none runs. */
uint64_t cfs_lease_client_left_ns(const struct cfs_lease_client *client);
