/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of a server: service thread (server_loop.c), what waits for a peer
 * (server_peer.c), workers (server_work.c), and what others call (server.c).
 *
 * Locks: the server's for the table of peers, requests and workers; each
 * peer's for its link's sending side and its queue.  Neither is taken while
 * the other is held, and none while a handler or a hook is called.
 *
 * Only the service thread takes peers out of the table and receives from
 * their links.  Others who want a peer to go shut its socket down, which the
 * service thread then sees as its end.
 */
#pragma once

#include "lease/msg.h"
#include "lease/server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/stat.h>

#define CFS_SERVER_HANDLERS_MAX  16u
#define CFS_SERVER_LISTENERS_MAX 16u
#define CFS_SERVER_BUCKETS       1024u

/* What an epoll event is of; first in each that has a descriptor there. */
enum cfs_source_kind { CFS_SOURCE_WAKE, CFS_SOURCE_LISTENER, CFS_SOURCE_PEER };
struct cfs_source {
	enum cfs_source_kind kind;
};

struct cfs_listener {
	struct cfs_source source;
	int fd;
	struct cfs_tls *tls;
	struct cfs_address address;
	dev_t dev; /* of a Unix socket's name */
	ino_t ino;
};

struct cfs_handler {
	uint16_t first, last;
	cfs_server_loop_fn loop; /* one of the two */
	cfs_server_worker_fn worker;
	void *arg;
};

struct cfs_out_msg { /* waits to be sent */
	STAILQ_ENTRY(cfs_out_msg) link;
	size_t bytes;
	uint8_t data[];
};

struct cfs_server_peer {
	struct cfs_source source;
	struct cfs_server *server;
	uint64_t id;
	struct cfs_link *link;

	/* Under the server's lock. */
	unsigned int refs;     /* table, each request, each look-up */
	unsigned int requests; /* queued and running */
	unsigned int running;
	bool has_left; /* its last request ends it */
	bool is_accepted;
	LIST_ENTRY(cfs_server_peer) in_bucket;

	/* Of the service thread. */
	bool is_opened;
	uint64_t hello_ns;                   /* accepted by then, or dropped */
	TAILQ_ENTRY(cfs_server_peer) in_new; /* not accepted yet */
	bool is_in_new;
	TAILQ_ENTRY(cfs_server_peer) in_again; /* more, unseen by epoll */
	bool is_again;

	/* Under @lock. */
	pthread_mutex_t lock;
	pthread_cond_t room; /* something was sent, or never will */
	STAILQ_HEAD(cfs_out_queue, cfs_out_msg) queue;
	size_t queue_bytes;
	uint64_t taken_ns; /* it took something last, or the
			    * queue began */
	uint32_t events;   /* registered with epoll */
	bool is_registered;
	atomic_bool is_closing; /* when the queue is empty */
	atomic_bool is_dead;    /* nothing more is sent */
};

struct cfs_job { /* a request, or the end of a peer */
	struct cfs_server_request request;
	TAILQ_ENTRY(cfs_job) link; /* queued or running */
	struct cfs_server_peer *peer;
	const struct cfs_handler *handler; /* NULL: the ended hook */
	atomic_bool is_cancelled;
	bool is_long;
	uint8_t body[];
};
TAILQ_HEAD(cfs_jobs, cfs_job);

struct cfs_server {
	struct cfs_server_options opt;
	int epoll_fd, wake_fd, spare_fd;
	struct cfs_source wake;
	struct cfs_handler handlers[CFS_SERVER_HANDLERS_MAX];
	size_t handler_count;
	struct cfs_listener listeners[CFS_SERVER_LISTENERS_MAX];
	size_t listener_count;
	pthread_t thread;
	atomic_bool is_started;

	/* Of the service thread. */
	TAILQ_HEAD(cfs_peer_queue, cfs_server_peer) new_peers, again;
	bool is_shut;    /* told the peers so */
	uint64_t log_ns; /* of the last line */
	uint64_t log_skipped;
	uint8_t msg[CFS_MSG_BYTES_MAX];

	atomic_uint queue_count; /* peers that have to read */
	uint64_t deaf_ns;        /* look at them then */

	atomic_bool is_stopping;
	_Atomic uint64_t stop_ns; /* cut off then */

	pthread_mutex_t lock;
	LIST_HEAD(cfs_peer_list, cfs_server_peer) peers[CFS_SERVER_BUCKETS];
	uint64_t next_peer;
	size_t peer_count;
	bool is_closed;                 /* nobody is let in */
	struct cfs_peer_queue incoming; /* by in_new */
	pthread_cond_t work;            /* for workers */
	struct cfs_jobs queued, running;
	pthread_t *workers;
	size_t worker_count, idle_count, long_count;
	bool workers_end;
	struct cfs_server_stats stats; /* of peers that left, and events */
};

/* ---- server_peer.c ------------------------------------------------------- */

/* A peer in the table, with one reference of the table and one of the
 * caller's; @link is its own also on failure. */
int cfs_peer_new(struct cfs_server *server, struct cfs_link *link,
		 struct cfs_server_peer **ret, struct cfs_err *err);
/* By id, with a reference; NULL. */
struct cfs_server_peer *cfs_peer_get(struct cfs_server *server, uint64_t id);
void cfs_peer_put(struct cfs_server_peer *peer);
/* Watch its link.  0 or a negative errno. */
int cfs_peer_register(struct cfs_server_peer *peer);
/* As cfs_server_send. */
int cfs_peer_send(struct cfs_server_peer *peer, const void *msg, size_t bytes);
/* A header and a body that are not together.  @type: with its flags; @code: 0
 * or a negative errno, and then the body is a line of text. */
int cfs_peer_send_parts(struct cfs_server_peer *peer, uint16_t type,
			uint64_t id, int code, const void *body, size_t bytes);
int cfs_peer_send_error(struct cfs_server_peer *peer, uint16_t type,
			uint64_t id, int code, const char *text);
/* The link may take more.  A failure shows as the end of the link. */
void cfs_peer_flush(struct cfs_server_peer *peer);
/* What epoll shall watch, as it is now. */
void cfs_peer_watch(struct cfs_server_peer *peer);
bool cfs_peer_has_queue(struct cfs_server_peer *peer);
/* It has taken nothing of its queue since then. */
bool cfs_peer_is_deaf(struct cfs_server_peer *peer, uint64_t since_ns);
/* Send nothing more; the service thread will see its end. */
void cfs_peer_kill(struct cfs_server_peer *peer);
void cfs_peer_close_gently(struct cfs_server_peer *peer);

/* ---- server_work.c ------------------------------------------------------- */

/* Hand a request to the workers, or answer why not. */
void cfs_work_request(struct cfs_server_peer *peer,
		      const struct cfs_handler *handler, uint64_t client,
		      const struct cfs_msg_head *head, const uint8_t *body,
		      size_t body_bytes);
void cfs_work_cancel(struct cfs_server_peer *peer, uint64_t id);
/* The peer has left the table: cancel its requests, see to its ended hook.
 * Takes a reference of its own if it needs one. */
void cfs_work_peer_left(struct cfs_server_peer *peer);
void cfs_work_cancel_all(struct cfs_server *server);
bool cfs_work_is_idle(struct cfs_server *server);
/* Wait until all is done, and end the threads. */
void cfs_work_end(struct cfs_server *server);

/* ---- server_loop.c ------------------------------------------------------- */

void *cfs_server_loop(void *server);

/* ---- server.c ------------------------------------------------------------ */

/* A thread with all signals blocked. */
int cfs_server_thread(pthread_t *ret, const char *name, void *(*fn)(void *),
		      void *arg);
void cfs_server_wake(struct cfs_server *server);
uint64_t cfs_server_now(const struct cfs_server *server);
/* Close a listener and take its name away, if it still is its own. */
void cfs_listener_close(struct cfs_listener *listener);
