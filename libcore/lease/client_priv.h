/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside the client.
 *
 *	token	what a caller has; stands on a grant, or on a call that asks
 *	grant	a lease that the owner gave us, with its tokens, or cached
 *	call	a request that is not answered for good; sent again until it is
 *
 * Each call has a serial that stays the same however often it is sent; the id
 * of the message is new each time, as the period counts from the sending.
 *
 * A grant is made together with the call that asks for it, and its UNLOCK
 * with it: to take and to give back what was granted needs no memory.
 */
#pragma once

#include "base/err.h"
#include "lease/client.h"
#include "lease/list_priv.h"
#include "lease/period.h"

struct client_call {
	struct cfs_link_node link;  /* client->calls, by serial */
	struct cfs_hash_link by_id; /* if is_sent */
	struct cfs_hash_link by_serial;
	uint16_t type;
	uint64_t serial;
	uint64_t id; /* of the last message; in silent: of
		      * the one before it */
	uint64_t sent_ns;
	bool is_sent;               /* on this connection, id counts */
	bool was_sent;              /* on any: send it as RESENT */
	bool is_queued;             /* the owner said so */
	struct cfs_lease *token;    /* LOCK, CHANGE: who asked, or NULL */
	struct client_grant *grant; /* LOCK: in reserve; else: which */
	uint64_t lease_id;          /* UNLOCK, REVOKE */
	uint32_t mode, flags;       /* CHANGE */
};

struct client_grant {
	struct cfs_hash_link by_id;
	struct cfs_hash_link by_place; /* container, volume, ino, key */
	struct cfs_link_node link;     /* client->grants */
	struct cfs_link_node idle;     /* client->idle, the oldest first */
	struct cfs_link_node tokens;
	struct cfs_link_node deferred; /* tokens that ask behind it */
	struct client_call *unlock;    /* in reserve */
	struct client_call *call;      /* CHANGE or RECLAIM under way */
	uint64_t id;                   /* 0: not granted yet */
	uint64_t generation;
	uint64_t serial;
	struct cfs_lease_request request; /* its mode: as granted */
	uint64_t end_ns;                  /* UINT64_MAX: with the period */
	uint64_t recalled_ns;
	uint32_t recall_mode;
	bool is_recalled, is_yielded;
	bool needs_reclaim;
};

struct cfs_lease {
	struct cfs_lease_client *client;
	struct cfs_link_node link;     /* client->tokens */
	struct cfs_link_node in_grant; /* tokens or deferred of it */
	struct client_grant *grant;
	struct client_call *call; /* LOCK, or CHANGE */
	struct cfs_lease_request request;
	enum cfs_lease_state state;
	int refused;         /* status, while is_quiet */
	struct cfs_err *err; /* the caller's, while is_quiet */
	bool is_deferred;
	bool is_quiet;      /* done is not to be called */
	bool is_to_be_told; /* of a recall */
};

struct cfs_lease_client {
	struct cfs_lease_client_config config;
	struct cfs_lease_client_ops ops;
	void *arg;
	struct cfs_clock *clock;
	struct cfs_period period;
	const char *why_lost;       /* what was lost last */
	struct cfs_msg_hello hello; /* with our id and secret, if any */
	struct cfs_msg_welcome welcome;
	bool is_connected, is_welcome;
	bool is_reclaiming;      /* RECLAIMED is to be said */
	bool has_missed_reclaim; /* and may not be, ever: what was
				  * written under that lease has to be
				  * sealed with all of ours */
	uint64_t hello_id, hello_ns;
	uint64_t renewed_ns; /* when a RENEW was last sent */
	uint64_t next_id, next_serial;
	uint64_t sent_serial; /* the highest that was sent */
	uint64_t last_id;     /* of the last message but UNLOCKs */
	struct cfs_link_node tokens, grants, idle, calls;
	struct cfs_link_node silent; /* UNLOCKs on this connection that
				      * nobody answers, in their order */
	struct cfs_hash calls_by_id, calls_by_serial;
	struct cfs_hash grants_by_id, grants_by_place;
	uint32_t token_count, idle_count;
	uint8_t buf[CFS_MSG_HEAD_BYTES + 1024];
};

static inline uint64_t client_now(const struct cfs_lease_client *client)
{
	return cfs_clock_elapsed_ns(client->clock);
}

/* client.c */

/* The period is over: lose all.  True: it was. */
bool client_check_period(struct cfs_lease_client *client);
/* All that was held is lost; what is asked for is asked anew. */
void client_lose_all(struct cfs_lease_client *client, const char *why);
/* A message id that was told to the period as sent now. */
uint64_t client_message_id(struct cfs_lease_client *client);

/* client_call.c */

/* With a serial and in the tables, not sent.  NULL: no memory. */
struct client_call *client_call_new(struct cfs_lease_client *client,
				    uint16_t type);
/* Not in the tables yet. */
struct client_call *client_call_reserve(void);
/* What was reserved gets a serial and its place; cannot fail. */
void client_call_start(struct cfs_lease_client *client,
		       struct client_call *call, uint16_t type);
void client_call_free(struct cfs_lease_client *client,
		      struct client_call *call);
/* If we are welcome; else it goes out later. */
void client_call_send(struct cfs_lease_client *client,
		      struct client_call *call);
/* An answer to the message @id: what was sent before it has arrived. */
void client_silent_arrived(struct cfs_lease_client *client, uint64_t id);
/* The connection is gone: what may not have arrived is sent again. */
void client_silent_unsend(struct cfs_lease_client *client);
/* The same request as a new one. */
void client_call_renumber(struct cfs_lease_client *client,
			  struct client_call *call);
/* All that are not sent, in order; reclaims first. */
void client_calls_send(struct cfs_lease_client *client);
/* Send again what was not answered for long.  When to look next. */
uint64_t client_calls_tick(struct cfs_lease_client *client, uint64_t now_ns);
/* CANCEL, which nobody waits for. */
void client_cancel_send(struct cfs_lease_client *client, uint64_t serial);
/* RECLAIMED, once nothing is open. */
void client_reclaim_settle(struct cfs_lease_client *client);
/* A reply to a lease request.  0, or -EPROTO. */
int client_reply(struct cfs_lease_client *client,
		 const struct cfs_msg_head *head, struct cfs_wire_get *body,
		 int status, const struct cfs_err *err);

/* client_grant.c */

struct client_grant *client_grant_new(void);
void client_grant_free(struct client_grant *grant);
/* Out of all tables; its tokens and deferred stay where they are. */
void client_grant_unlink(struct cfs_lease_client *client,
			 struct client_grant *grant);
/* It was granted: its id, mode and generation are known. */
void client_grant_add(struct cfs_lease_client *client,
		      struct client_grant *grant);
struct client_grant *client_grant_find(struct cfs_lease_client *client,
				       uint64_t id);
/* One that answers @req without a message, or *ret_busy: one that would, if
 * it were not recalled. */
struct client_grant *client_grant_cached(struct cfs_lease_client *client,
					 const struct cfs_lease_request *req,
					 struct client_grant **ret_busy);
/* A token left: keep it, or give it back. */
void client_grant_unused(struct cfs_lease_client *client,
			 struct client_grant *grant);
void client_grant_give_back(struct cfs_lease_client *client,
			    struct client_grant *grant);
/* Recalled, and nothing speaks against it: do it. */
void client_grant_try_yield(struct cfs_lease_client *client,
			    struct client_grant *grant);
void client_grant_recalled(struct cfs_lease_client *client,
			   struct client_grant *grant,
			   const struct cfs_msg_recall *m);
/* Whoever recalled it is no more. */
void client_grant_unrecall(struct cfs_lease_client *client,
			   struct client_grant *grant);
/* Not given back, but gone. */
void client_grant_lose(struct cfs_lease_client *client,
		       struct client_grant *grant, const char *why);
/* When the next grant ends that does not follow the period. */
uint64_t client_grants_tick(struct cfs_lease_client *client, uint64_t now_ns);

/* client_lease.c */

void client_token_held(struct cfs_lease_client *client, struct cfs_lease *token,
		       struct client_grant *grant);
/* done, unless it is not wanted. */
void client_token_done(struct cfs_lease_client *client, struct cfs_lease *token,
		       int status, const struct cfs_err *err);
void client_token_refused(struct cfs_lease_client *client,
			  struct cfs_lease *token, int status,
			  const struct cfs_err *err);
/* It was deferred: ask the owner now. */
void client_token_ask(struct cfs_lease_client *client, struct cfs_lease *token);
