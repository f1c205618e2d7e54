/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What serve.c (lock table), serve_run.c (sockets) and serve_local.c (clients
 * in this process) share. */
#pragma once

#include "lease/period.h"
#include "session/serve.h"
#include "session/serve_delegate.h"
#include "session/serve_direct.h"
#include "session/serve_former.h"
#include "session/serve_gone.h"
#include "session/serve_rpc.h"
#include "session/session_priv.h"

/* A hello that waits for the mark. */
struct cfs_parked {
	struct cfs_parked *next;
	uint64_t peer;
	size_t bytes;
	uint8_t msg[];
};

struct cfs_local {
	struct cfs_local *next;
	struct cfs_serve *serve;
	uint64_t peer;
	uint64_t next_id;
	struct cfs_leaser *leaser; /* NULL: being made, or freed */
};

struct cfs_serve {
	struct cfs_session *session;
	const struct cfs_logger *logger;
	struct cfs_lease_clock clock;
	struct cfs_server *server;
	struct cfs_serve_rpc *rpc;
	struct cfs_serve_direct *direct;
	struct cfs_serve_delegate *delegate; /* NULL: a secondary's */
	struct cfs_serve_gone *gone;         /* made when it is needed */
	struct cfs_tls *tls;
	char address[CFS_SEAT_ADDRESS_BYTES];
	bool is_running; /* the server's thread */

	pthread_mutex_t lock; /* recursive */
	pthread_cond_t news;  /* for local callers */
	struct cfs_owner *owner;
	struct cfs_serve_hooks hooks;
	struct cfs_local *locals;
	uint64_t next_local;
	uint64_t generation;
	/* Who may be back; NULL: nobody knows. */
	struct cfs_former *former;
	uint64_t look_ns; /* for them; UINT64_MAX: not */
	/* Of a secondary: its manager knows that there are clients; and who is
	 * not welcome before it does. */
	bool is_marked;
	struct cfs_parked *parked;
};

/* ---- serve.c ------------------------------------------------------------- */

void cfs_serve_on_lease(void *serve, uint64_t peer, const void *msg,
			size_t bytes);
/* On a shared pool: not if another host may have it by now.  Any thread. */
bool cfs_serve_may_answer(const struct cfs_session *s);
int cfs_serve_on_admit(void *serve, uint64_t peer, uint64_t *ret_client);
void cfs_serve_on_closed(void *serve, uint64_t peer);
uint64_t cfs_serve_on_tick(void *serve, uint64_t now_ns);
/* With the lock: the grace ends if nobody can come back any more. */
void cfs_serve_look_for_former(struct cfs_serve *serve);

/* ---- serve_mark.c -------------------------------------------------------- */

/*
 * With the lock: it is durable that there are clients, before @peer, whose
 * hello @msg is, becomes one.  -EINPROGRESS: of a secondary; the message is
 * kept, and cfs_secondary_wake is to be called.
 */
int cfs_serve_mark(struct cfs_serve *serve, uint64_t peer, const void *msg,
		   size_t bytes, struct cfs_err *err);
/* In the service thread: hear them again.  Without the lock. */
void cfs_serve_unpark(struct cfs_serve *serve);
/* It is gone.  With the lock. */
void cfs_serve_unpark_peer(struct cfs_serve *serve, uint64_t peer);
/* Nobody holds anything any more: say so in the record. */
int cfs_serve_unmark(struct cfs_serve *serve, struct cfs_err *err);

/* ---- serve_run.c --------------------------------------------------------- */

int cfs_serve_make_server(struct cfs_serve *serve, struct cfs_err *err);
/* Who uses the devices beside us. */
int cfs_serve_make_direct(struct cfs_serve *serve, struct cfs_err *err);
void cfs_serve_stop_direct(struct cfs_serve *serve);
/* Who owns containers beside us. */
int cfs_serve_make_delegate(struct cfs_serve *serve, struct cfs_err *err);
/* The server's thread, if it does not run yet. */
int cfs_serve_run(struct cfs_serve *serve, struct cfs_err *err);

/* ---- serve_local.c ------------------------------------------------------- */

/* Is @client one of this process?  With the lock. */
bool cfs_serve_is_local(struct cfs_serve *serve, uint64_t client);
