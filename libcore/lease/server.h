/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The service of a manager: one thread with epoll that accepts links, reads
 * messages and writes answers, and a few workers for what takes long.
 *
 * Messages are given out by type.  LOOP handlers run in the service thread and
 * must not block: the lease protocol, where a grant costs a round trip and no
 * more.  WORKER handlers run on up to options.workers_max threads, which are
 * started when there is work: requests of the session, which may write to
 * devices.  Answers of workers reach the loop over an eventfd.
 *
 * No peer can hurt another one:
 *  - a connection that has not been accepted (cfs_server_accept_peer) within
 *    hello_ms is dropped; before that only LOOP types are taken from it;
 *  - no more than peers_max connections; more are closed at once;
 *  - a peer that does not read is dropped when queue_bytes_max wait for it, or
 *    when it has taken nothing of what waits for deaf_ms; a worker that streams
 *    to it waits instead, until there is room, or it is dropped for that;
 *  - a peer has at most requests_max requests with the workers; more are
 *    answered with EAGAIN;
 *  - what is no message, or a request before it was accepted, drops the
 *    connection, with one line of log a second at most.
 *
 * Peers are named by a number that is never used again, so a name that is kept
 * too long does no harm: sending to it is -ENOTCONN.
 *
 * Thread safety: cfs_server_new, _handle, _listen, _start, _stop by one thread;
 * send, accept_peer, drop_peer, kick, stats by any.  Handlers and hooks are
 * called without any lock of the server.
 */
#pragma once

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "lease/link.h"
#include "lease/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cfs_server;

struct cfs_server_options {       /* 0 or NULL: the default */
	size_t peers_max;         /* 4096 */
	size_t queue_bytes_max;   /* 1 MiB */
	size_t requests_max;      /* of one peer: 64 */
	unsigned int workers_max; /* 8; half of them for one peer */
	unsigned int long_max;    /* 64 */
	unsigned int hello_ms;    /* 5000 */
	unsigned int deaf_ms;     /* 60000 */
	const struct cfs_logger *logger;
	struct cfs_clock *clock; /* for tick */

	/* Hooks, all in the service thread; each may be NULL. */
	/* A connection is ready (its handshake is done); not accepted yet. */
	void (*opened)(void *arg, uint64_t peer,
		       const struct cfs_link_peer *identity);
	/* It is gone.  Requests of it may still run. */
	void (*closed)(void *arg, uint64_t peer);
	/* A request for a worker has come: does the peer exist for the
	 * protocol (it renews by this)?  0, and its client in *ret_client; or
	 * a negative errno, which is the answer.  NULL: all are clients 0. */
	int (*admit)(void *arg, uint64_t peer, uint64_t *ret_client);
	/* Due things.  Returns the clock's time at which to be called next,
	 * UINT64_MAX: when there was a message, or a kick. */
	uint64_t (*tick)(void *arg, uint64_t now_ns);
	/* In a worker: the connection is gone and none of its requests runs
	 * any more; what they opened can be closed. */
	void (*ended)(void *arg, uint64_t peer);
	void *arg;
};

int cfs_server_new(const struct cfs_server_options *opt,
		   struct cfs_server **ret, struct cfs_err *err);
/*
 * Stop, and free: as cfs_server_stop without a grace.  NULL is allowed.  Not
 * from a handler.
 */
void cfs_server_free(struct cfs_server *server);

/* ---- handlers ------------------------------------------------------------ */

/*
 * A message of a peer, in the service thread.  @msg: header and body, @bytes
 * in all; valid during the call.  Answers by cfs_server_send, now or later.
 */
typedef void (*cfs_server_loop_fn)(void *arg, uint64_t peer, const void *msg,
				   size_t bytes);

/* A request that a worker answers. */
struct cfs_server_request {
	struct cfs_server *server;
	uint64_t peer;
	uint64_t client; /* as the admit hook said */
	const struct cfs_link_peer *identity;
	uint16_t type;
	uint64_t id;
	const uint8_t *body;
	size_t body_bytes;
};
/*
 * Returns 0: @reply is the body of the answer (at most CFS_MSG_BODY_MAX
 * bytes); or a negative errno, which is the answer with @err's text.
 * Requests of one peer may run at the same time and end in any order.
 */
typedef int (*cfs_server_worker_fn)(void *arg,
				    struct cfs_server_request *request,
				    struct cfs_buf *reply, struct cfs_err *err);

/* Types first..last; of handlers that overlap the last one counts.  Before
 * start.  0 or -ENOMEM. */
int cfs_server_handle_loop(struct cfs_server *server, uint16_t first,
			   uint16_t last, cfs_server_loop_fn fn, void *arg,
			   struct cfs_err *err);
int cfs_server_handle_worker(struct cfs_server *server, uint16_t first,
			     uint16_t last, cfs_server_worker_fn fn, void *arg,
			     struct cfs_err *err);

/*
 * A part of a streamed answer, before the last one, which is what the handler
 * returns.  Waits while the peer's queue is full.  -EPIPE: the peer is gone;
 * -EINTR: the request was cancelled.  In both cases the handler returns soon.
 */
int cfs_server_request_more(struct cfs_server_request *request,
			    const void *body, size_t bytes,
			    struct cfs_err *err);
/*
 * This one takes long (a scrub, a stream of events): it no longer counts
 * against workers_max, so that it keeps nobody else from being served.  At
 * most long_max of them at once.  -EAGAIN: there are as many.
 */
int cfs_server_request_set_long(struct cfs_server_request *request,
				struct cfs_err *err);
/* The peer is gone, or has cancelled it, or the server ends without grace:
 * nobody waits for the answer.  Asked now and then by long work. */
bool cfs_server_request_is_cancelled(struct cfs_server_request *request);

/* ---- running ------------------------------------------------------------- */

/*
 * One more place where it answers; by the thread that starts and stops it.
 * Errors as cfs_link_listen.
 * @tls: for TCP, stays the caller's and outlives the server; NULL: plain.
 * @ret_address: as cfs_link_listen; may be NULL.
 */
int cfs_server_listen(struct cfs_server *server,
		      const struct cfs_address *address, struct cfs_tls *tls,
		      struct cfs_address *ret_address, struct cfs_err *err);
int cfs_server_start(struct cfs_server *server, struct cfs_err *err);
/* A link that is there already (tests; a socket that was handed over).  It is
 * the server's from here on, also when this fails.  After start. */
int cfs_server_add_link(struct cfs_server *server, struct cfs_link *link,
			uint64_t *ret_peer, struct cfs_err *err);
/*
 * No new connections, no new requests (ESHUTDOWN); requests that run end;
 * peers get CFS_MSG_ENDING (link.h) and what waits for them; after @grace_ms
 * what is left is cut off (workers that still run are cancelled and waited
 * for). Closes all, unlinks its Unix sockets.  Threads have ended when it
 * returns.
 */
void cfs_server_stop(struct cfs_server *server, unsigned int grace_ms);

/*
 * Before a stop that nobody is to notice: if nobody is connected, no one is let
 * in any more, and whoever comes is cut off before a hello, as one who came
 * when all was over.  False: somebody is connected, and nothing has changed.
 */
bool cfs_server_close_idle(struct cfs_server *server);
void cfs_server_open_again(struct cfs_server *server);

/*
 * Queue a packed message for a peer; from any thread.  -ENOTCONN: it is gone;
 * -ENOBUFS: its queue was full, and it is dropped for that; -ENOMEM.
 */
int cfs_server_send(struct cfs_server *server, uint64_t peer, const void *msg,
		    size_t bytes);
/* The peer has said who it is: requests are taken from now on. */
void cfs_server_accept_peer(struct cfs_server *server, uint64_t peer);
/* Close its connection, once what waits for it is sent (@is_gentle). */
void cfs_server_drop_peer(struct cfs_server *server, uint64_t peer,
			  bool is_gentle);
/* Copies the identity.  -ENOTCONN. */
int cfs_server_peer_identity(struct cfs_server *server, uint64_t peer,
			     struct cfs_link_peer *ret);
/* Call tick soon: a deadline has changed outside the service thread. */
void cfs_server_kick(struct cfs_server *server);

struct cfs_server_stats {
	uint64_t peers;                      /* connected now */
	uint64_t accepted, refused, dropped; /* connections so far */
	uint64_t sent_bytes, received_bytes;
	uint64_t sent_messages, received_messages;
	uint64_t requests, requests_running;
	uint64_t workers; /* threads now */
};
void cfs_server_stats(struct cfs_server *server, struct cfs_server_stats *ret);

/* The same from afar: what CFS_MSG_COUNTERS is answered with. */
void cfs_server_stats_pack(const struct cfs_server_stats *stats,
			   struct cfs_wire_put *put);
/* -EPROTO. */
int cfs_server_stats_unpack(struct cfs_wire_get *get,
			    struct cfs_server_stats *ret);
struct cfs_conn;
struct cfs_conn_wait;
/* Errors as of cfs_conn_call. */
int cfs_server_stats_ask(struct cfs_conn *conn,
			 const struct cfs_conn_wait *wait,
			 struct cfs_server_stats *ret, struct cfs_err *err);
