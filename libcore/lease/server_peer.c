// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * One connection of a server, and what waits to be sent to it.
 *
 * Any thread sends: straight to the link while nothing waits, else behind what
 * does.  So an answer costs no switch to the service thread, and the order in
 * which messages were given is the order in which they arrive.
 */
#include "lease/server_priv.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static void bucket_add(struct cfs_server *server, struct cfs_server_peer *peer)
{
	peer->id = ++server->next_peer;
	LIST_INSERT_HEAD(&server->peers[peer->id % CFS_SERVER_BUCKETS], peer,
			 in_bucket);
	server->peer_count++;
	server->stats.accepted++;
}

int cfs_peer_new(struct cfs_server *server, struct cfs_link *link,
		 struct cfs_server_peer **ret, struct cfs_err *err)
{
	struct cfs_server_peer *peer = calloc(1, sizeof(*peer));
	bool is_let_in;

	if (!peer) {
		cfs_link_free(link);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	peer->source.kind = CFS_SOURCE_PEER;
	peer->server = server;
	peer->link = link;
	peer->refs = 2;
	pthread_mutex_init(&peer->lock, NULL);
	pthread_cond_init(&peer->room, NULL);
	STAILQ_INIT(&peer->queue);
	pthread_mutex_lock(&server->lock);
	is_let_in = !server->is_closed;
	if (is_let_in)
		bucket_add(server, peer);
	pthread_mutex_unlock(&server->lock);
	if (!is_let_in) {
		peer->refs = 1;
		cfs_peer_put(peer);
		return cfs_err_set(err, -ESHUTDOWN, "the manager ends");
	}
	*ret = peer;
	return 0;
}

struct cfs_server_peer *cfs_peer_get(struct cfs_server *server, uint64_t id)
{
	struct cfs_server_peer *peer;

	pthread_mutex_lock(&server->lock);
	LIST_FOREACH(peer, &server->peers[id % CFS_SERVER_BUCKETS], in_bucket)
	if (peer->id == id)
		break;
	if (peer)
		peer->refs++;
	pthread_mutex_unlock(&server->lock);
	return peer;
}

static void free_queue(struct cfs_server_peer *peer)
{
	struct cfs_out_msg *msg;

	if (!STAILQ_EMPTY(&peer->queue))
		atomic_fetch_sub(&peer->server->queue_count, 1);
	while ((msg = STAILQ_FIRST(&peer->queue))) {
		STAILQ_REMOVE_HEAD(&peer->queue, link);
		free(msg);
	}
	peer->queue_bytes = 0;
}

void cfs_peer_put(struct cfs_server_peer *peer)
{
	struct cfs_server *server = peer->server;
	struct cfs_link_stats stats;
	bool is_last;

	pthread_mutex_lock(&server->lock);
	is_last = --peer->refs == 0;
	if (is_last) {
		cfs_link_stats(peer->link, &stats);
		server->stats.sent_bytes += stats.sent_bytes;
		server->stats.received_bytes += stats.received_bytes;
		server->stats.sent_messages += stats.sent_messages;
		server->stats.received_messages += stats.received_messages;
	}
	pthread_mutex_unlock(&server->lock);
	if (!is_last)
		return;
	free_queue(peer);
	cfs_link_free(peer->link);
	pthread_cond_destroy(&peer->room);
	pthread_mutex_destroy(&peer->lock);
	free(peer);
}

/* ---- epoll --------------------------------------------------------------- */

static uint32_t wanted_events(const struct cfs_server_peer *peer)
{
	short events = cfs_link_events(peer->link);

	return (events & POLLIN ? EPOLLIN : 0u) |
	       (events & POLLOUT ? EPOLLOUT : 0u) |
	       (STAILQ_EMPTY(&peer->queue) ? 0u : EPOLLOUT) | EPOLLRDHUP;
}

/* With its lock. */
static void watch_locked(struct cfs_server_peer *peer)
{
	struct epoll_event event = {
		.events = wanted_events(peer),
		.data.ptr = peer,
	};

	if (!peer->is_registered || event.events == peer->events)
		return;
	if (epoll_ctl(peer->server->epoll_fd, EPOLL_CTL_MOD,
		      cfs_link_fd(peer->link), &event) == 0)
		peer->events = event.events;
}

void cfs_peer_watch(struct cfs_server_peer *peer)
{
	pthread_mutex_lock(&peer->lock);
	watch_locked(peer);
	pthread_mutex_unlock(&peer->lock);
}

int cfs_peer_register(struct cfs_server_peer *peer)
{
	struct epoll_event event = { .data.ptr = peer };
	int r;

	pthread_mutex_lock(&peer->lock);
	event.events = wanted_events(peer);
	r = epoll_ctl(peer->server->epoll_fd, EPOLL_CTL_ADD,
		      cfs_link_fd(peer->link), &event);
	r = r < 0 ? -errno : 0;
	peer->is_registered = r == 0;
	peer->events = event.events;
	pthread_mutex_unlock(&peer->lock);
	return r;
}

/* ---- sending ------------------------------------------------------------- */

static void kill_locked(struct cfs_server_peer *peer)
{
	atomic_store(&peer->is_dead, true);
	free_queue(peer);
	(void)shutdown(cfs_link_fd(peer->link), SHUT_RDWR);
	pthread_cond_broadcast(&peer->room);
}

void cfs_peer_kill(struct cfs_server_peer *peer)
{
	pthread_mutex_lock(&peer->lock);
	kill_locked(peer);
	pthread_mutex_unlock(&peer->lock);
}

static bool has_queue_locked(const struct cfs_server_peer *peer)
{
	return !STAILQ_EMPTY(&peer->queue) ||
	       (cfs_link_events(peer->link) & POLLOUT);
}

bool cfs_peer_has_queue(struct cfs_server_peer *peer)
{
	bool has;

	pthread_mutex_lock(&peer->lock);
	has = !peer->is_dead && has_queue_locked(peer);
	pthread_mutex_unlock(&peer->lock);
	return has;
}

bool cfs_peer_is_deaf(struct cfs_server_peer *peer, uint64_t since_ns)
{
	bool is_deaf;

	pthread_mutex_lock(&peer->lock);
	is_deaf = !STAILQ_EMPTY(&peer->queue) && peer->taken_ns < since_ns;
	pthread_mutex_unlock(&peer->lock);
	return is_deaf;
}

void cfs_peer_close_gently(struct cfs_server_peer *peer)
{
	pthread_mutex_lock(&peer->lock);
	peer->is_closing = true;
	if (!has_queue_locked(peer))
		kill_locked(peer);
	pthread_mutex_unlock(&peer->lock);
}

static int enqueue(struct cfs_server_peer *peer, const void *msg, size_t bytes)
{
	struct cfs_out_msg *out;

	if (peer->queue_bytes + bytes > peer->server->opt.queue_bytes_max)
		return -ENOBUFS;
	out = malloc(sizeof(*out) + bytes);
	if (!out)
		return -ENOMEM;
	out->bytes = bytes;
	memcpy(out->data, msg, bytes);
	if (STAILQ_EMPTY(&peer->queue)) {
		peer->taken_ns = cfs_server_now(peer->server);
		/* The loop sleeps as long as nobody has to be looked at. */
		if (atomic_fetch_add(&peer->server->queue_count, 1) == 0)
			cfs_server_wake(peer->server);
	}
	STAILQ_INSERT_TAIL(&peer->queue, out, link);
	peer->queue_bytes += bytes;
	return 0;
}

int cfs_peer_send(struct cfs_server_peer *peer, const void *msg, size_t bytes)
{
	int r = -EAGAIN;

	pthread_mutex_lock(&peer->lock);
	if (peer->is_dead || peer->is_closing) {
		pthread_mutex_unlock(&peer->lock);
		return -ENOTCONN;
	}
	if (STAILQ_EMPTY(&peer->queue))
		r = cfs_link_send(peer->link, msg, bytes, NULL);
	if (r == -EAGAIN)
		r = enqueue(peer, msg, bytes);
	if (r == 0)
		watch_locked(peer);
	else
		kill_locked(peer);
	pthread_mutex_unlock(&peer->lock);
	return r == 0 || r == -ENOBUFS || r == -ENOMEM ? r : -ENOTCONN;
}

int cfs_peer_send_parts(struct cfs_server_peer *peer, uint16_t type,
			uint64_t id, int code, const void *body, size_t bytes)
{
	uint8_t small[CFS_MSG_HEAD_BYTES + 512], *msg = small;
	struct cfs_msg_head_disk head;
	int r;

	if (bytes > CFS_MSG_BODY_MAX)
		return -EMSGSIZE;
	if (CFS_MSG_HEAD_BYTES + bytes > sizeof(small))
		msg = malloc(CFS_MSG_HEAD_BYTES + bytes);
	if (!msg)
		return -ENOMEM;
	head.magic = le32_put(CFS_MSG_MAGIC);
	head.version = le16_put(CFS_MSG_VERSION);
	head.type = le16_put(type);
	head.bytes = le32_put((uint32_t)(CFS_MSG_HEAD_BYTES + bytes));
	head.status = le32_put((uint32_t)-code);
	head.id = le64_put(id);
	memcpy(msg, &head, sizeof(head));
	if (bytes)
		memcpy(msg + CFS_MSG_HEAD_BYTES, body, bytes);
	r = cfs_peer_send(peer, msg, CFS_MSG_HEAD_BYTES + bytes);
	if (msg != small)
		free(msg);
	return r;
}

int cfs_peer_send_error(struct cfs_server_peer *peer, uint16_t type,
			uint64_t id, int code, const char *text)
{
	return cfs_peer_send_parts(peer, type | CFS_MSG_TYPE_REPLY, id, code,
				   text, strlen(text));
}

void cfs_peer_flush(struct cfs_server_peer *peer)
{
	struct cfs_out_msg *msg;
	int r = 0;

	pthread_mutex_lock(&peer->lock);
	if (cfs_link_is_ready(peer->link))
		r = cfs_link_flush(peer->link, NULL);
	while (r == 0 && (msg = STAILQ_FIRST(&peer->queue))) {
		r = cfs_link_send(peer->link, msg->data, msg->bytes, NULL);
		if (r < 0)
			break;
		STAILQ_REMOVE_HEAD(&peer->queue, link);
		peer->queue_bytes -= msg->bytes;
		free(msg);
		peer->taken_ns = cfs_server_now(peer->server);
		if (STAILQ_EMPTY(&peer->queue))
			atomic_fetch_sub(&peer->server->queue_count, 1);
	}
	if (r < 0 && r != -EAGAIN)
		kill_locked(peer);
	else if (peer->is_closing && !has_queue_locked(peer))
		kill_locked(peer);
	watch_locked(peer);
	pthread_cond_broadcast(&peer->room);
	pthread_mutex_unlock(&peer->lock);
}
