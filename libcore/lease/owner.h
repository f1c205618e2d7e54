/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The owner's side of leases, pure: messages and time in, messages and calls
 * out.  No threads, no I/O, no state outside; the caller serialises.  server.c
 * puts a socket around it, the simulation a made-up world.
 *
 * A client says HELLO and gets an id, a secret and a period.  Each request of
 * it that is handled extends its period to now + M (period.h), for all that it
 * holds: one number a client, no work a lease.  Its leases end with
 *  - UNLOCK, GOODBYE;
 *  - EXPIRE: its period is over.  Then ops.seal is called, and only when the
 *    caller says cfs_owner_sealed are its locks taken off and passed on;
 *  - REVOKE: a recall was not answered in recall_ns, or somebody asked for it.
 *    The owner stops extending that lease and says so (RECALL with FINAL); it
 *    ends when the client's period, as it was then, is over; seal, as above;
 *  - GONE: it is known that the client does not run any more; at once.
 *
 * After a takeover (config.grace_ns not 0) nothing new is granted until the
 * grace is over and those silent clients that were told of by
 * cfs_owner_preload, and have not come back, are sealed.  Who was a client of
 * the former owner comes back with its id and secret, reclaims its leases, and
 * says RECLAIMED.  One that was told of by preload, came back, and has not said
 * so when the grace is over may have written under a lease that it could not
 * reclaim in time: it is revoked, and nothing new is granted until it is
 * sealed.
 * grace_ns is at least the M of the former owner.
 *
 * A container that another owner had, who has gone, has a grace of its own
 * (cfs_owner_begin_grace): the clients of that one come back with their ids of
 * its epoch, reclaim what they had of that container, and nothing else; new
 * grants of it wait for the end of that, and those of others do not.
 *
 * What must stay true:
 *  O1 no conflicting lease is granted while the period of a holder may run;
 *  O2 nothing passes on before the seal of whoever did not give it back;
 *  O3 a stopped lease is never extended: its end was told to the client
 *     before any reply to a later request;
 *  O4 ids are never used twice: the epoch is their high half;
 *  O5 each call does work in proportion to what it changes, never to what a
 *     client holds; and memory is bounded by the limits.  Beyond them requests
 *     are refused with -EAGAIN or -ENOBUFS.
 *
 * Replies and calls leave when the state is whole, at the end of the outermost
 * call: ops.send may lead straight back into cfs_owner_receive (an owner and
 * its client in one process).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "lease/lock.h"
#include "lease/msg.h"

struct cfs_err;
struct cfs_owner;

struct cfs_owner_config { /* limits and times: 0 is the default */
	uint8_t pool_uuid[CFS_UUID_BYTES];
	uint64_t epoch;                  /* below 2^32, not 0 */
	uint64_t period_ns;              /* T: CFS_PERIOD_NS_DEFAULT */
	uint32_t drift_ppm;              /* r: CFS_DRIFT_PPM_DEFAULT */
	uint64_t recall_ns;              /* until extension stops: T */
	uint64_t grace_ns;               /* 0: no takeover, no grace */
	uint32_t clients_max;            /* 4096 */
	uint32_t leases_max;             /* all, also waiting: 1 << 20 */
	uint32_t leases_per_client_max;  /* 1 << 16 */
	uint32_t waiting_max;            /* 1 << 14 */
	uint32_t waiting_per_client_max; /* 256 */
	uint32_t watchers_max;           /* 64 */
	uint32_t deadlock_steps_max;     /* 4096 */
	/* Nobody has anything but those who are told of by preload: the grace
	 * ends with the last of them. */
	bool knows_clients;
};

/* What the owner wants its caller to do; also how a client ended. */
enum cfs_owner_end {
	CFS_OWNER_END_GOODBYE = 1,
	CFS_OWNER_END_EXPIRED = 2,
	CFS_OWNER_END_REVOKED = 3, /* the client, or (seal) one lease */
	CFS_OWNER_END_GONE = 4,    /* it does not run any more (R8) */
	CFS_OWNER_END_MOVED = 5,   /* it has another owner now */
};

/* All may be NULL but send.  @arg: as given to cfs_owner_new. */
struct cfs_owner_ops {
	/*
	 * A whole message for @peer.  Negative: the peer is lost or too slow;
	 * the owner sends it nothing more, and the caller closes it (calling
	 * cfs_owner_closed then, or from here, or later).
	 */
	int (*send)(void *arg, uint64_t peer, const void *msg, size_t bytes);
	/*
	 * Asked behind what was decided, before it is said: may this owner
	 * still have been the only one by then?  It may have stood still for
	 * so long that it was taken over.  Who was silent here has by now
	 * perhaps reclaimed there what its end lets us grant to another, whose
	 * own period runs, and who would believe us: those who have a log are
	 * kept apart by that, which is sealed before it passes on; those
	 * without by nothing else.  False: @peer is lost, as by send.  NULL:
	 * always.  Must not call the owner.
	 *
	 * That is enough.  If it was ours when we asked, the takeover came
	 * later, and so later than the end of all periods that we had taken
	 * for over: none of those can be reclaimed.  And whoever hears it,
	 * however late, asked before, so that he is waited for.
	 */
	bool (*may_say)(void *arg, uint64_t peer);
	/* Something happened.  Must not call the owner. */
	void (*event)(void *arg, const struct cfs_lease_event *event);
	/*
	 * Make durable and fold what the client has in its log, so that
	 * others may see it; then cfs_owner_sealed(owner, client, lease), now
	 * or later.  @lease: 0: all of the client; else a lease of it that was
	 * revoked.  NULL: nothing to be done.
	 */
	void (*seal)(void *arg, uint64_t client, uint64_t lease,
		     enum cfs_owner_end end);
	/* The client's record is gone; with its name, for the last time. */
	void (*ended)(void *arg, uint64_t client, enum cfs_owner_end end);
	/*
	 * GONE for a client or a host that the owner does not know (any more):
	 * @client 0: @host.  0, or -ENOENT: not known here either; 1: of a
	 * host, it is seen to, and cfs_owner_host_is_gone ends the wait, not
	 * from here; else why it cannot be.
	 */
	int (*gone)(void *arg, uint64_t client, const char *host);
	/*
	 * The generation of a grant: a number that rises when a resource
	 * passes to another holder.  Must not call the owner.  NULL: a counter
	 * from epoch << 32.
	 */
	uint64_t (*generation)(void *arg, uint64_t client,
			       const struct cfs_lock_resource *resource,
			       uint32_t mode);
	/* Secrets.  NULL: the kernel's. */
	void (*random)(void *arg, void *p, size_t n);
};

/*
 * @clock outlives the owner.  0; -EINVAL: the config makes no sense;
 * -ENOMEM.  A takeover's grace begins now.
 */
int cfs_owner_new(const struct cfs_owner_config *config,
		  const struct cfs_owner_ops *ops, void *arg,
		  struct cfs_clock *clock, struct cfs_owner **ret,
		  struct cfs_err *err);
/* No calls are made.  NULL is nothing. */
void cfs_owner_free(struct cfs_owner *owner);
/*
 * T of the clients that come from now on; who is here keeps his.  -EINVAL.  Who
 * takes over from this owner waits for the longest one in its grace.
 */
int cfs_owner_set_period(struct cfs_owner *owner, uint64_t period_ns,
			 struct cfs_err *err);

/*
 * @container was owned by somebody else, under @epoch (ondisk/delegation.h),
 * who is gone or taken over: nothing of it is held here.  Its clients may come
 * back from now on, for @grace_ns.
 * 0; -EINVAL: there is such a grace already, or can't be; -ENOMEM.
 */
int cfs_owner_begin_grace(struct cfs_owner *owner, uint64_t container,
			  uint32_t epoch, uint64_t grace_ns,
			  struct cfs_err *err);

/* A client of the former owner, as durable records tell. */
struct cfs_owner_known {
	uint64_t client_id;
	uint64_t container; /* of the owner of that; 0: of all */
	uint8_t secret[CFS_LEASE_SECRET_BYTES]; /* all 0: not known, then
						 * the rest has to be the same
						 */
	char host[CFS_MSG_HOST_BYTES];
	uint8_t boot_id[CFS_UUID_BYTES];
	uint64_t pid, process_start;
};

/*
 * Before the first message, with a grace; or with the grace of a container,
 * before anything else reaches the owner behind its beginning.  What
 * the client held is not known: nothing new is granted, of all or of the
 * container, until it has come back or is sealed.
 * 0; -EINVAL: no grace runs, or the id is 0 or known already; -ENOMEM.
 */
int cfs_owner_preload(struct cfs_owner *owner,
		      const struct cfs_owner_known *known, struct cfs_err *err);

/*
 * The caller knows that nobody else holds anything (the former holder ended
 * cleanly or its clients are gone): end the grace now.  Preloaded clients that
 * are silent are sealed first, as if their period were over.
 */
void cfs_owner_end_grace(struct cfs_owner *owner);

/* The same for the grace of @container, if there is one. */
void cfs_owner_end_grace_of(struct cfs_owner *owner, uint64_t container);
/* config.knows_clients: all have been told of.  If none of them is awaited the
 * grace ends. */
void cfs_owner_settle_grace(struct cfs_owner *owner);

/*
 * A whole message of @peer, a number that the caller gives each connection and
 * never uses again, not 0.  Only lease messages (types up to 0x00ff).
 * Returns 0; -EPROTO: it is not a message, close the connection.
 */
int cfs_owner_receive(struct cfs_owner *owner, uint64_t peer, const void *msg,
		      size_t bytes);

/*
 * A request of another kind (session, data) came from @peer: it renews, as any
 * does.  Call it before the request is handled.
 * 0, and the client's id in *ret_client (0: an observer); -ENOTCONN: no HELLO
 * was made; -ESTALE: its period is over; -ESHUTDOWN: it has another owner.
 */
int cfs_owner_touch(struct cfs_owner *owner, uint64_t peer,
		    uint64_t *ret_client);

/* The connection is gone.  Its client lives on until its period is over. */
void cfs_owner_closed(struct cfs_owner *owner, uint64_t peer);

/* ops.seal of (client, lease) is done.  What is not being sealed: nothing. */
void cfs_owner_sealed(struct cfs_owner *owner, uint64_t client, uint64_t lease);

/* Handle what is due.  Returns when to call again (elapsed), or UINT64_MAX. */
uint64_t cfs_owner_tick(struct cfs_owner *owner);

/* Nothing more is granted in @container, until it is taken off.  -ENOMEM. */
int cfs_owner_hold(struct cfs_owner *owner, uint64_t container,
		   struct cfs_err *err);
void cfs_owner_unhold(struct cfs_owner *owner, uint64_t container);
/*
 * What the client holds, all of @container, has another owner from now on, who
 * knows it by its id: nothing is sealed, and it hears nothing more from us.
 * If it comes back it is to look again, until the container is home.
 * 0 or -ENOENT.
 */
int cfs_owner_moved(struct cfs_owner *owner, uint64_t client,
		    uint64_t container);
/*
 * @container is ours again; its grace, if it has one, has begun.  Behind that
 * who was handed over with it, and comes back only then, has lost all.
 */
void cfs_owner_is_home(struct cfs_owner *owner, uint64_t container);

/* As the messages REVOKE and GONE.  0 or -ENOENT; of a host also what ops.gone
 * says. */
int cfs_owner_revoke_lease(struct cfs_owner *owner, uint64_t lease);
int cfs_owner_revoke_client(struct cfs_owner *owner, uint64_t client);
int cfs_owner_gone(struct cfs_owner *owner, uint64_t client);
int cfs_owner_gone_host(struct cfs_owner *owner, const char *host);
/*
 * What ops.gone began is done for @host, and whoever ordered it is told; @why:
 * why not, with its code; NULL: all well.
 */
void cfs_owner_host_is_gone(struct cfs_owner *owner, const char *host,
			    const struct cfs_err *why);

/*
 * Does @client hold, as the owner sees it now, a granted lease that covers
 * @mode on @resource (by itself, with any key)?  For checking what a client
 * returns.  -ENOENT: no; -ESTALE: the client is unknown or expired.
 */
int cfs_owner_holds(struct cfs_owner *owner, uint64_t client,
		    const struct cfs_lock_resource *resource, uint32_t mode);

/*
 * The client that has @lease has taken it for @client: what @client asks for of
 * what is leased, and not under another lease, it asks for under that one, as
 * long as there is such a lease.  So it need not queue below what it has.
 * -ENOENT: no such lease or client; it is granted.
 */
int cfs_owner_lend(struct cfs_owner *owner, uint64_t lease, uint64_t client);

uint32_t cfs_owner_client_count(const struct cfs_owner *owner);
uint32_t cfs_owner_lease_count(const struct cfs_owner *owner);
/* That of all, or what comes behind it. */
bool cfs_owner_is_in_grace(const struct cfs_owner *owner);
/* The same, or that of @container; 0: of any. */
bool cfs_owner_is_in_grace_of(const struct cfs_owner *owner,
			      uint64_t container);
/* In the grace of @container: is somebody who was told of by preload not back
 * yet, or being sealed? */
bool cfs_owner_is_awaiting(struct cfs_owner *owner, uint64_t container);
/* Is @client here, and has said, if it is one of before, that it has reclaimed
 * what it could? */
bool cfs_owner_has_reclaimed(const struct cfs_owner *owner, uint64_t client);
/* Is it here at all, and not ended? */
bool cfs_owner_has_client(const struct cfs_owner *owner, uint64_t client);
/* The id of the client behind @peer; 0: none. */
uint64_t cfs_owner_peer_client(const struct cfs_owner *owner, uint64_t peer);

/*
 * Clients by id, and behind each its leases.  @after_*: as in
 * cfs_msg_status.  Stops when @fn returns false.
 */
typedef bool (*cfs_owner_record_fn)(void *arg,
				    const struct cfs_lease_record *record);
void cfs_owner_each(struct cfs_owner *owner, uint64_t after_client,
		    uint64_t after_lease, cfs_owner_record_fn fn, void *arg);

/* For tests and the simulation: NULL, or what is inconsistent.  Slow. */
const char *cfs_owner_check(struct cfs_owner *owner);
