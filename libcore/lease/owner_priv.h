/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside the owner.
 *
 * A client:	SILENT --HELLO--> ALIVE --period over, gone--> SEALING --> ended
 *		   `----- period over ----------------------------^
 * A lease:	waiting -> granted -> recalled -> stopped -> sealing -> ended
 *		with UNLOCK at any place, and back from recalled by CHANGE.
 *
 * Whatever leaves (messages, calls of seal and ended) goes through one queue
 * that is emptied at the end of the outermost call.
 */
#pragma once

#include "lease/list_priv.h"
#include "lease/lock.h"
#include "lease/owner.h"
#include "lease/period.h"

enum owner_timer_kind {
	OWNER_TIMER_CLIENT,
	OWNER_TIMER_LEASE,
	OWNER_TIMER_GRACE,
};

struct cfs_handed_lease;

struct owner_timer {
	uint64_t at_ns; /* due when now is behind it */
	size_t place;   /* in the heap, from 1; 0: not there */
	enum owner_timer_kind kind;
};

enum owner_client_state {
	OWNER_CLIENT_SILENT = 1,
	OWNER_CLIENT_ALIVE,
	OWNER_CLIENT_SEALING,
};

struct owner_client {
	struct cfs_hash_link hash;
	struct cfs_link_node link; /* owner->clients, by id */
	struct owner_timer timer;  /* may be early: see client_due */
	uint64_t id;
	uint8_t secret[CFS_LEASE_SECRET_BYTES];
	struct cfs_msg_hello hello; /* identity */
	enum owner_client_state state;
	enum cfs_owner_end end;    /* while SEALING */
	struct owner_grace *grace; /* in which it came back, or NULL */
	bool may_reclaim;          /* was a client of the former owner */
	bool is_preloaded;         /* and grants wait for it */
	bool has_claimed;          /* since it is known here */
	bool is_stopped;           /* revoked: not extended any more */
	bool is_seen;              /* by the kernel, as that process */
	uint64_t deadline_ns;
	uint64_t period_ns, owner_period_ns; /* T and M, as it was told */
	uint64_t peer;                       /* 0: not connected */
	uint64_t last_serial;
	uint32_t lease_count, waiting_count, recalled_count;
	struct cfs_link_node leases;  /* by id */
	struct cfs_link_node lenders; /* leases of others, for it */
};

/* In which clients of a former owner come back. */
struct owner_grace {
	struct cfs_link_node link; /* owner->graces, but that of all */
	struct owner_timer timer;
	uint64_t container;       /* 0: of all */
	uint32_t epoch;           /* whose they were; 0: a manager's */
	uint32_t preloaded_count; /* silent, or being sealed */
	bool is_in_grace;         /* reclaims are taken */
	bool is_on_hold;          /* nothing new is granted */
};

/* A client that another owner has, with the container. */
struct owner_moved {
	struct cfs_link_node link;
	uint64_t client_id;
	uint64_t container;
	uint8_t secret[CFS_LEASE_SECRET_BYTES];
};

/* Found by (client, serial): a request that is sent twice. */
struct owner_serial {
	struct cfs_hash_link hash;
	struct owner_lease *lease;
	uint64_t serial;  /* 0: not in the table */
	uint64_t message; /* id of the message to answer */
};

struct owner_lease {
	struct cfs_hash_link hash;
	struct cfs_link_node link; /* client->leases, by id */
	struct owner_timer timer;
	struct owner_client *client;
	struct cfs_link_node lent; /* among the lenders of whom it is for */
	struct cfs_lock *lock;
	uint64_t id;
	uint64_t key;
	uint64_t generation;
	struct owner_serial asked, changed;
	bool is_waiting; /* counted in client->waiting_count */
	bool is_changing;
	bool is_borrowed;
	bool is_recalled; /* counted in recalled_count */
	bool is_stopped;
	bool is_sealing;
	uint32_t recall_mode;
	uint64_t end_ns; /* stopped: when its time is over */
};

struct owner_peer {
	struct cfs_hash_link hash;
	struct cfs_link_node watch; /* owner->watchers */
	uint64_t id;
	struct owner_client *client;
	bool is_observer;
	bool was_client;        /* if it has none now, that expired */
	bool is_broken;         /* it gets nothing more */
	bool is_moved;          /* its client is another owner's */
	uint64_t hello_message; /* id of its HELLO: a double */
	uint64_t watch_message; /* id of its WATCH */
};

enum owner_out_kind {
	OWNER_OUT_MESSAGE,
	OWNER_OUT_SEAL,
	OWNER_OUT_ENDED,
};

struct owner_out {
	struct cfs_link_node link;
	enum owner_out_kind kind;
	enum cfs_owner_end end;
	uint64_t peer;
	uint64_t client, lease;
	size_t bytes;
	uint8_t data[];
};

struct cfs_owner {
	struct cfs_owner_config config;
	struct cfs_owner_ops ops;
	void *arg;
	struct cfs_clock *clock;
	uint64_t now_ns;    /* of this call */
	uint64_t period_ns; /* M, of clients to come */
	struct cfs_lock_table *table;
	struct cfs_hash clients, leases, peers, serials;
	struct cfs_link_node client_list, watchers, gone_waits, out;
	uint32_t client_count, lease_count, watcher_count;
	uint32_t gone_wait_count;
	uint32_t grace_count; /* in the list */
	uint64_t next_id, next_generation;
	struct owner_timer **heap;
	size_t heap_count, heap_room;
	struct owner_grace grace; /* of all */
	struct cfs_link_node graces;
	struct cfs_link_node moved; /* with containers that are not home */
	bool has_told_takeover;
	unsigned int depth;
	bool is_flushing;
	uint8_t buf[CFS_MSG_BYTES_MAX]; /* a message being made */
};

/* One request as the handlers see it. */
struct owner_request {
	struct cfs_owner *owner;
	struct owner_peer *peer;
	struct owner_client *client; /* NULL: an observer */
	struct cfs_msg_head head;
	struct cfs_wire_get body;
};

/* owner_out.c */

void owner_enter(struct cfs_owner *owner);
void owner_leave(struct cfs_owner *owner);
struct owner_peer *owner_peer_find(const struct cfs_owner *owner, uint64_t id);
/* Made if it is new; NULL: no memory. */
struct owner_peer *owner_peer_get(struct cfs_owner *owner, uint64_t id);
void owner_peer_free(struct cfs_owner *owner, struct owner_peer *peer);
/* It gets nothing more, and whoever asks for it is sent away. */
void owner_peer_break(struct cfs_owner *owner, struct owner_peer *peer);
void owner_put_begin(struct cfs_owner *owner, struct cfs_wire_put *put,
		     uint16_t type, uint64_t id);
/* What was put since begin, to @peer (0: nobody). */
void owner_put_end(struct cfs_owner *owner, struct cfs_wire_put *put,
		   uint64_t peer);
void owner_reply_empty(struct cfs_owner *owner, uint64_t peer, uint16_t type,
		       uint64_t id);
void owner_reply_error(struct cfs_owner *owner, uint64_t peer, uint16_t type,
		       uint64_t id, int code, const struct cfs_err *err);
/* False: no memory, the caller does it at once. */
bool owner_out_call(struct cfs_owner *owner, enum owner_out_kind kind,
		    uint64_t client, uint64_t lease, enum cfs_owner_end end);
void owner_event(struct cfs_owner *owner, enum cfs_lease_event_kind kind,
		 const struct owner_client *client,
		 const struct owner_lease *lease);

/* owner_timer.c */

/* Room for one more timer.  0 or -ENOMEM. */
int owner_timer_reserve(struct cfs_owner *owner);
/* Set or move; UINT64_MAX takes it out. */
void owner_timer_set(struct cfs_owner *owner, struct owner_timer *timer,
		     uint64_t at_ns);
/* Handle what is due. */
void owner_run_due(struct cfs_owner *owner);

/* owner_client.c */

struct owner_client *owner_client_find(const struct cfs_owner *owner,
				       uint64_t id);
/* Not there yet.  NULL: @err says why. */
struct owner_client *owner_client_new(struct cfs_owner *owner, uint64_t id,
				      struct cfs_err *err);
int owner_hello(struct owner_request *rq, struct cfs_err *err);
int owner_reclaimed(struct owner_request *rq, struct cfs_err *err);
void owner_client_renew(struct cfs_owner *owner, struct owner_client *client);
void owner_client_due(struct cfs_owner *owner, struct owner_client *client);
/* Its period is over, or it is gone: seal it. */
void owner_client_expire(struct cfs_owner *owner, struct owner_client *client,
			 enum cfs_owner_end end);
/* Its period is not extended any more; it ends when that is over. */
void owner_client_stop(struct cfs_owner *owner, struct owner_client *client);
/* Off with its locks, and with it. */
void owner_client_end(struct cfs_owner *owner, struct owner_client *client,
		      enum cfs_owner_end end);
/* NULL: the secret is wrong, or it is unknown or sealing. */
struct owner_client *owner_client_by_secret(const struct cfs_owner *owner,
					    uint64_t id, const uint8_t *secret);

/*
 * The same; and for one that stands without a connection its id alone: what
 * is asked for by that, to renew it or to give it back, is no more than an
 * order (REVOKE) could do.
 */
struct owner_client *owner_client_by_word(const struct cfs_owner *owner,
					  uint64_t id, const uint8_t *secret);

/* owner_grace.c */

/* Of those whose owner had @epoch; NULL: none. */
struct owner_grace *owner_grace_find(struct cfs_owner *owner, uint64_t epoch);
struct owner_grace *owner_grace_of(struct cfs_owner *owner, uint64_t container);
/* In which he who says this may come back as who he was; or NULL. */
struct owner_grace *owner_grace_for(struct cfs_owner *owner,
				    const struct cfs_msg_hello *m);
/* The same, but it has not begun, if it ever will. */
bool owner_grace_is_to_come(struct cfs_owner *owner,
			    const struct cfs_msg_hello *m);
/* May a lease that is not known here be reclaimed? */
bool owner_grace_takes(const struct cfs_owner *owner,
		       const struct owner_client *c,
		       const struct cfs_msg_reclaim *m);
/* Of @c, in the grace of a container: does somebody have a lease of that who
 * has not come back in it?  Whoever opens the container has, for a moment. */
bool owner_grace_is_crowded(const struct cfs_owner *owner,
			    const struct owner_client *c);
void owner_grace_start(struct cfs_owner *owner, uint64_t grace_ns);
void owner_grace_due(struct cfs_owner *owner, struct owner_grace *g);
/* Take the hold off, and free it, if nothing is waited for. */
void owner_grace_settle(struct cfs_owner *owner, struct owner_grace *g);
void owner_graces_free(struct cfs_owner *owner);

/* owner_moved.c */

/* The container with which who says this was handed over; 0: it was not. */
uint64_t owner_moved_with(const struct cfs_owner *owner,
			  const struct cfs_msg_hello *m);
/* Was it handed over?  With its word, as in owner_client_by_word. */
bool owner_moved_is(const struct cfs_owner *owner, uint64_t client,
		    const uint8_t *secret);
/* Those of @container; 0: all. */
void owner_moved_forget(struct cfs_owner *owner, uint64_t container);
/* It has reclaimed all that it could. */
void owner_client_settled(struct cfs_owner *owner, struct owner_client *c);

/* owner_lease.c */

struct owner_lease *owner_lease_find(const struct cfs_owner *owner,
				     uint64_t id);
int owner_lock(struct owner_request *rq, struct cfs_err *err);
int owner_reclaim(struct owner_request *rq, struct cfs_err *err);
int owner_unlock(struct owner_request *rq, struct cfs_err *err);
int owner_change(struct owner_request *rq, struct cfs_err *err);
int owner_cancel(struct owner_request *rq, struct cfs_err *err);
/* One that was granted by another owner, as if it were reclaimed. */
int owner_lease_install(struct cfs_owner *owner, struct owner_client *client,
			const struct cfs_handed_lease *from,
			struct cfs_err *err);
void owner_lease_granted(void *arg, struct cfs_lock *lock);
/* Take its lock off and free it. */
void owner_lease_end(struct cfs_owner *owner, struct owner_lease *lease);

/* owner_recall.c */

/* Recall all that stand against @lease, which waits or changes. */
void owner_recall_blockers(struct cfs_owner *owner, struct owner_lease *lease);
/* Recall @lease if somebody waits for it. */
void owner_recall_if_wanted(struct cfs_owner *owner, struct owner_lease *lease);
void owner_recall_clear(struct cfs_owner *owner, struct owner_lease *lease);
void owner_lease_stop(struct cfs_owner *owner, struct owner_lease *lease);
void owner_lease_due(struct cfs_owner *owner, struct owner_lease *lease);
/* What the client must know of @lease, if anything. */
void owner_recall_remind(struct cfs_owner *owner,
			 const struct owner_lease *lease);
/* On return of the client: all that it must know before the WELCOME. */
void owner_recall_again(struct cfs_owner *owner, struct owner_client *client);

/* owner_status.c */

int owner_status(struct owner_request *rq, struct cfs_err *err);
int owner_watch(struct owner_request *rq, struct cfs_err *err);
int owner_revoke(struct owner_request *rq, struct cfs_err *err);

/* owner_gone.c */

int owner_gone(struct owner_request *rq, struct cfs_err *err);
/* A client has ended: answer whom that was the last for. */
void owner_gone_settle(struct cfs_owner *owner);
/* @peer (0: nobody) hears no answer any more. */
void owner_gone_forget(struct cfs_owner *owner, uint64_t peer);
