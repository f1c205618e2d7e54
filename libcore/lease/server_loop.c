// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The service thread: accepts, receives, gives out, and sees to what is due.
 *
 * A Unix peer is read one request a wake-up, a stream a few: nobody who sends
 * much keeps the others waiting, and a lone one costs no useless receive.
 */
#include "lease/server_priv.h"

#include "base/bits.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS          64
#define ACCEPTS         64
#define STREAM_MESSAGES 32

/* ---- the log ------------------------------------------------------------- */

/* Peers make these lines happen: one a second is enough. */
static void complain(struct cfs_server *server, const char *what,
		     const struct cfs_err *err)
{
	uint64_t now = cfs_server_now(server);

	if (server->log_ns && now < server->log_ns + CFS_NS_PER_S) {
		server->log_skipped++;
		return;
	}
	if (server->log_skipped)
		cfs_logger_printf(server->opt.logger, CFS_LOG_NOTICE,
				  "%s: %s (and %" PRIu64 " more like it)", what,
				  err->msg, server->log_skipped);
	else
		cfs_logger_printf(server->opt.logger, CFS_LOG_NOTICE, "%s: %s",
				  what, err->msg);
	server->log_ns = now;
	server->log_skipped = 0;
}

/* ---- peers come and go --------------------------------------------------- */

/* It has messages that epoll does not tell of. */
static void set_again(struct cfs_server_peer *peer, bool is_again)
{
	if (is_again && !peer->is_again)
		TAILQ_INSERT_TAIL(&peer->server->again, peer, in_again);
	else if (!is_again && peer->is_again)
		TAILQ_REMOVE(&peer->server->again, peer, in_again);
	peer->is_again = is_again;
}

static void peer_leave(struct cfs_server_peer *peer, bool is_dropped)
{
	struct cfs_server *server = peer->server;

	if (peer->is_in_new)
		TAILQ_REMOVE(&server->new_peers, peer, in_new);
	peer->is_in_new = false;
	set_again(peer, false);
	cfs_peer_kill(peer);
	if (peer->is_registered)
		(void)epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL,
				cfs_link_fd(peer->link), NULL);
	pthread_mutex_lock(&server->lock);
	LIST_REMOVE(peer, in_bucket);
	server->peer_count--;
	server->stats.dropped += is_dropped;
	pthread_mutex_unlock(&server->lock);
	if (peer->is_opened && server->opt.closed)
		server->opt.closed(server->opt.arg, peer->id);
	if (peer->is_opened)
		cfs_work_peer_left(peer);
	cfs_peer_put(peer);
}

static void peer_opened(struct cfs_server_peer *peer)
{
	struct cfs_server *server = peer->server;

	if (peer->is_opened || !cfs_link_is_ready(peer->link))
		return;
	peer->is_opened = true;
	if (server->opt.opened)
		server->opt.opened(server->opt.arg, peer->id,
				   cfs_link_peer(peer->link));
}

/* Watched, and with a deadline for its hello. */
static int peer_enter(struct cfs_server_peer *peer)
{
	struct cfs_server *server = peer->server;

	peer->hello_ns = cfs_server_now(server) +
			 server->opt.hello_ms * CFS_NS_PER_MS;
	peer->is_in_new = true;
	TAILQ_INSERT_TAIL(&server->new_peers, peer, in_new);
	peer_opened(peer);
	return cfs_peer_register(peer);
}

static void take_connection(struct cfs_server *server,
			    const struct cfs_listener *listener, int fd)
{
	struct cfs_server_peer *peer = NULL;
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_link *link = NULL;
	bool is_full;
	int r;

	pthread_mutex_lock(&server->lock);
	is_full = server->peer_count >= server->opt.peers_max;
	server->stats.refused += is_full;
	pthread_mutex_unlock(&server->lock);
	if (is_full) {
		close(fd);
		cfs_err_set(&err, -EUSERS, "there are as many as may be");
		complain(server, "connection refused", &err);
		return;
	}
	r = cfs_link_accept(fd, listener->tls, &link, &err);
	if (r == 0)
		r = cfs_peer_new(server, link, &peer, &err);
	if (r == -ESHUTDOWN)
		return;
	if (r != 0) {
		complain(server, "connection refused", &err);
		return;
	}
	if (peer_enter(peer) < 0)
		peer_leave(peer, true);
	cfs_peer_put(peer);
}

/*
 * No descriptor is left: take the connection with the spare one and close it,
 * or it would wait in the backlog and wake us for ever.
 */
static void refuse_connection(struct cfs_server *server,
			      const struct cfs_listener *listener)
{
	struct cfs_err err = CFS_ERR_INIT;
	int fd;

	cfs_err_set(&err, -EMFILE, "too many open files");
	complain(server, "connection refused", &err);
	if (server->spare_fd >= 0)
		close(server->spare_fd);
	fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		close(fd);
	server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pthread_mutex_lock(&server->lock);
	server->stats.refused++;
	pthread_mutex_unlock(&server->lock);
}

static void on_listener(struct cfs_server *server,
			const struct cfs_listener *listener)
{
	int i;

	for (i = 0; i < ACCEPTS; i++) {
		int fd = accept4(listener->fd, NULL, NULL,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			take_connection(server, listener, fd);
		} else if (errno == EMFILE || errno == ENFILE) {
			refuse_connection(server, listener);
			return;
		} else if (errno != ECONNABORTED && errno != EINTR) {
			return;
		}
	}
}

/* ---- messages ------------------------------------------------------------ */

static const struct cfs_handler *find_handler(const struct cfs_server *server,
					      uint16_t type)
{
	size_t i = server->handler_count;

	while (i-- > 0)
		if (type >= server->handlers[i].first &&
		    type <= server->handlers[i].last)
			return &server->handlers[i];
	return NULL;
}

static bool peer_is_accepted(struct cfs_server_peer *peer)
{
	bool is_accepted;

	pthread_mutex_lock(&peer->server->lock);
	is_accepted = peer->is_accepted;
	pthread_mutex_unlock(&peer->server->lock);
	return is_accepted;
}

static int request(struct cfs_server_peer *peer,
		   const struct cfs_handler *handler,
		   const struct cfs_msg_head *head, const uint8_t *body,
		   size_t body_bytes)
{
	struct cfs_server *server = peer->server;
	uint64_t client = 0;
	int r = 0;

	if (atomic_load(&server->is_stopping))
		return cfs_peer_send_error(peer, head->type, head->id,
					   -ESHUTDOWN, "the manager ends");
	if (server->opt.admit)
		r = server->opt.admit(server->opt.arg, peer->id, &client);
	if (r < 0)
		return cfs_peer_send_error(peer, head->type, head->id, r,
					   r == -ESTALE
						   ? "the lease period "
						     "of this client is over"
						   : strerror(-r));
	cfs_work_request(peer, handler, client, head, body, body_bytes);
	return 0;
}

static void tell_counters(struct cfs_server_peer *peer, uint64_t id)
{
	struct cfs_server_stats stats;
	struct cfs_wire_put put;
	uint8_t body[256];

	cfs_server_stats(peer->server, &stats);
	cfs_wire_put_init(&put, body, sizeof(body));
	cfs_server_stats_pack(&stats, &put);
	(void)cfs_peer_send_parts(peer, CFS_MSG_COUNTERS | CFS_MSG_TYPE_REPLY,
				  id, 0, body, put.bytes);
}

static int of_link(struct cfs_server_peer *peer,
		   const struct cfs_msg_head *head, const uint8_t *body,
		   size_t body_bytes)
{
	if (head->type == CFS_MSG_REQUEST_CANCEL)
		cfs_work_cancel(peer, head->id);
	else if (head->type == CFS_MSG_PING && head->id && !head->is_reply)
		(void)cfs_peer_send_parts(peer,
					  CFS_MSG_PING | CFS_MSG_TYPE_REPLY,
					  head->id, 0, body, body_bytes);
	else if (head->type == CFS_MSG_COUNTERS && head->id &&
		 !head->is_reply && peer_is_accepted(peer))
		tell_counters(peer, head->id);
	return 0;
}

/* One message.  -EPROTO: the peer is to be dropped. */
static int dispatch(struct cfs_server_peer *peer, const uint8_t *msg,
		    size_t bytes, struct cfs_err *err)
{
	struct cfs_server *server = peer->server;
	const uint8_t *body = msg + CFS_MSG_HEAD_BYTES;
	size_t body_bytes = bytes - CFS_MSG_HEAD_BYTES;
	const struct cfs_handler *handler;
	struct cfs_msg_head head;
	int r = cfs_msg_head_unpack(msg, bytes, &head, err);

	if (r < 0)
		return r;
	if (head.type >= CFS_MSG_TYPE_LINK_FIRST &&
	    head.type <= CFS_MSG_TYPE_LINK_LAST)
		return of_link(peer, &head, body, body_bytes);
	handler = find_handler(server, head.type);
	if (handler && handler->loop) {
		handler->loop(handler->arg, peer->id, msg, bytes);
		return 0;
	}
	if (!peer_is_accepted(peer))
		return cfs_err_set(err, -EPROTO, "a request before a hello");
	if (head.is_reply || head.id == 0)
		return cfs_err_set(err, -EPROTO,
				   "neither a request nor a "
				   "notice that there is");
	if (!handler) {
		(void)cfs_peer_send_error(peer, head.type, head.id, -ENOTSUP,
					  "the manager does not know this "
					  "request: is it older?");
		return 0;
	}
	(void)request(peer, handler, &head, body, body_bytes);
	return 0;
}

/* What asks for no answer seldom comes alone. */
static bool has_notice(const struct cfs_server *server)
{
	struct cfs_msg_head_disk head;

	memcpy(&head, server->msg, sizeof(head));
	return le64_get(head.id) == 0;
}

/* 0: go on; else the peer has left. */
static int peer_readable(struct cfs_server_peer *peer)
{
	struct cfs_server *server = peer->server;
	int most = STREAM_MESSAGES;

	set_again(peer, false);
	do {
		struct cfs_err err = CFS_ERR_INIT;
		size_t bytes;
		int r = cfs_link_recv(peer->link, server->msg, &bytes, &err);

		peer_opened(peer);
		/* Of one that is to go nothing is done any more. */
		if (r == 0 && (peer->is_dead || peer->is_closing))
			continue;
		if (r == 0)
			r = dispatch(peer, server->msg, bytes, &err);
		if (r == -EAGAIN)
			break;
		if (r < 0) {
			bool is_bad = r != -EPIPE && r != -ECONNRESET &&
				      !peer->is_dead;

			if (is_bad)
				complain(server, "connection dropped", &err);
			peer_leave(peer, is_bad || peer->is_dead);
			return r;
		}
	} while (--most > 0 &&
		 (cfs_link_has_pending(peer->link) || has_notice(server)));
	set_again(peer, cfs_link_has_pending(peer->link));
	cfs_peer_watch(peer);
	return 0;
}

/* ---- due ----------------------------------------------------------------- */

/* Each peer once, with a reference; the list may change meanwhile. */
static void for_each_peer(struct cfs_server *server,
			  void (*fn)(struct cfs_server_peer *peer))
{
	size_t i;

	for (i = 0; i < CFS_SERVER_BUCKETS; i++) {
		struct cfs_server_peer *peer, *next;

		/* Only this thread takes peers out, others only add. */
		pthread_mutex_lock(&server->lock);
		peer = LIST_FIRST(&server->peers[i]);
		pthread_mutex_unlock(&server->lock);
		for (; peer; peer = next) {
			pthread_mutex_lock(&server->lock);
			next = LIST_NEXT(peer, in_bucket);
			pthread_mutex_unlock(&server->lock);
			fn(peer);
		}
	}
}

static void drop_deaf(struct cfs_server_peer *peer)
{
	struct cfs_server *server = peer->server;
	const uint64_t now = cfs_server_now(server);
	const uint64_t patience = server->opt.deaf_ms * CFS_NS_PER_MS;
	struct cfs_err err = CFS_ERR_INIT;

	if (now < patience || !cfs_peer_is_deaf(peer, now - patience))
		return;
	cfs_err_set(&err, -ETIMEDOUT, "it does not read");
	complain(server, "connection dropped", &err);
	peer_leave(peer, true);
}

/* Whoever does not read what waits for him; looked for now and then.  Returns
 * when to call again. */
static uint64_t see_to_deaf(struct cfs_server *server, uint64_t now)
{
	if (atomic_load(&server->queue_count) == 0)
		return UINT64_MAX;
	if (now >= server->deaf_ns) {
		for_each_peer(server, drop_deaf);
		server->deaf_ns = now + CFS_MAX(server->opt.deaf_ms / 8, 1u) *
						CFS_NS_PER_MS;
	}
	return server->deaf_ns;
}

static void drop_silent(struct cfs_server *server)
{
	uint64_t now = cfs_server_now(server);
	struct cfs_server_peer *peer;

	while ((peer = TAILQ_FIRST(&server->new_peers))) {
		struct cfs_err err = CFS_ERR_INIT;

		if (peer_is_accepted(peer)) {
			TAILQ_REMOVE(&server->new_peers, peer, in_new);
			peer->is_in_new = false;
			continue;
		}
		if (now < peer->hello_ns)
			return;
		cfs_err_set(&err, -ETIMEDOUT, "it did not say who it is");
		complain(server, "connection dropped", &err);
		peer_leave(peer, true);
	}
}

/* Milliseconds until something is due; -1: nothing is. */
static int see_to_due(struct cfs_server *server)
{
	uint64_t now = cfs_server_now(server), next = UINT64_MAX;
	const struct cfs_server_peer *first;

	drop_silent(server);
	if (server->opt.tick)
		next = server->opt.tick(server->opt.arg, now);
	next = CFS_MIN(next, see_to_deaf(server, now));
	first = TAILQ_FIRST(&server->new_peers);
	if (first)
		next = CFS_MIN(next, first->hello_ns);
	if (server->is_shut)
		next = CFS_MIN(next, server->stop_ns);
	if (!TAILQ_EMPTY(&server->again))
		return 0;
	if (next == UINT64_MAX)
		return -1;
	now = cfs_server_now(server);
	if (next <= now)
		return 0;
	/* Rounded up: what is due must not be asked for too early. */
	return (int)CFS_MIN((next - now) / CFS_NS_PER_MS + 1,
			    (uint64_t)INT_MAX);
}

/* ---- ending -------------------------------------------------------------- */

static void tell_ending(struct cfs_server_peer *peer)
{
	if (peer_is_accepted(peer))
		(void)cfs_peer_send_parts(peer, CFS_MSG_ENDING, 0, 0, NULL, 0);
}

static void leave(struct cfs_server_peer *peer)
{
	peer_leave(peer, false);
}

static void shut(struct cfs_server *server)
{
	size_t i;

	for (i = 0; i < server->listener_count; i++)
		cfs_listener_close(&server->listeners[i]);
	server->listener_count = 0;
	for_each_peer(server, tell_ending);
	server->is_shut = true;
}

static bool has_queues(struct cfs_server *server)
{
	size_t i;

	for (i = 0; i < CFS_SERVER_BUCKETS; i++) {
		struct cfs_server_peer *peer;

		pthread_mutex_lock(&server->lock);
		peer = LIST_FIRST(&server->peers[i]);
		pthread_mutex_unlock(&server->lock);
		while (peer) {
			if (cfs_peer_has_queue(peer))
				return true;
			pthread_mutex_lock(&server->lock);
			peer = LIST_NEXT(peer, in_bucket);
			pthread_mutex_unlock(&server->lock);
		}
	}
	return false;
}

static bool is_over(struct cfs_server *server)
{
	if (!atomic_load(&server->is_stopping))
		return false;
	if (!server->is_shut)
		shut(server);
	if (cfs_server_now(server) >= server->stop_ns)
		return true;
	return cfs_work_is_idle(server) && !has_queues(server);
}

/* ---- the loop ------------------------------------------------------------ */

static void on_wake(const struct cfs_server *server)
{
	uint64_t count;
	ssize_t n = read(server->wake_fd, &count, sizeof(count));

	(void)n; /* only to make it silent */
}

static void on_peer(struct cfs_server_peer *peer, uint32_t events)
{
	if ((events & EPOLLOUT) && cfs_link_is_ready(peer->link))
		cfs_peer_flush(peer);
	if ((events & ~(uint32_t)EPOLLOUT) || !cfs_link_is_ready(peer->link))
		(void)peer_readable(peer);
}

/* Those with more that epoll does not see. */
static void go_on(struct cfs_server *server)
{
	struct cfs_server_peer *peer, *next;

	for (peer = TAILQ_FIRST(&server->again); peer; peer = next) {
		next = TAILQ_NEXT(peer, in_again);
		(void)peer_readable(peer);
	}
}

/* Links that were handed over. */
static void take_links(struct cfs_server *server)
{
	struct cfs_server_peer *peer;

	for (;;) {
		pthread_mutex_lock(&server->lock);
		peer = TAILQ_FIRST(&server->incoming);
		if (peer)
			TAILQ_REMOVE(&server->incoming, peer, in_new);
		pthread_mutex_unlock(&server->lock);
		if (!peer)
			return;
		if (peer_enter(peer) < 0)
			peer_leave(peer, true);
		cfs_peer_put(peer);
	}
}

void *cfs_server_loop(void *arg)
{
	struct cfs_server *server = arg;
	struct epoll_event events[EVENTS];

	while (!is_over(server)) {
		int timeout, n, i;

		/* Before the wait: who leaves here has no event after it. */
		take_links(server);
		go_on(server);
		timeout = see_to_due(server);
		n = epoll_wait(server->epoll_fd, events, EVENTS, timeout);
		for (i = 0; i < n; i++) {
			struct cfs_source *source = events[i].data.ptr;

			if (source->kind == CFS_SOURCE_WAKE)
				on_wake(server);
			else if (source->kind == CFS_SOURCE_LISTENER)
				on_listener(server, (void *)source);
			else
				on_peer((void *)source, events[i].events);
		}
	}
	take_links(server);
	cfs_work_cancel_all(server);
	for_each_peer(server, leave);
	return NULL;
}
