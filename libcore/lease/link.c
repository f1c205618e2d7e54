// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Messages over sockets.
 *
 * A stream's message is copied before it is sent: with TLS a send that could
 * not be finished must be repeated with the same bytes, and the copy is where
 * they stay.
 */
#include "lease/link_priv.h"

#include "base/bits.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void count(_Atomic uint64_t *to, uint64_t n)
{
	atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

int cfs_link_fd(const struct cfs_link *link)
{
	return link->fd;
}

bool cfs_link_is_ready(const struct cfs_link *link)
{
	return link->is_ready;
}

const struct cfs_link_peer *cfs_link_peer(const struct cfs_link *link)
{
	return &link->peer;
}

short cfs_link_events(const struct cfs_link *link)
{
	if (!link->is_ready)
		return cfs_tls_stream_wants_write(link->tls) ? POLLOUT : POLLIN;
	return link->out_end ? POLLIN | POLLOUT : POLLIN;
}

void cfs_link_free(struct cfs_link *link)
{
	if (!link)
		return;
	cfs_tls_stream_free(link->tls);
	if (link->fd >= 0)
		close(link->fd);
	free(link->in);
	free(link->out);
	free(link);
}

void cfs_link_stats(const struct cfs_link *link, struct cfs_link_stats *ret)
{
	*ret = (struct cfs_link_stats){
		.sent_bytes = link->sent_bytes,
		.received_bytes = link->received_bytes,
		.sent_messages = link->sent_messages,
		.received_messages = link->received_messages,
	};
}

static int gone(int code, struct cfs_err *err)
{
	return cfs_err_set(err, code,
			   "the other side has closed the "
			   "connection");
}

/* A send or receive that failed with @error of the system. */
static int failed(int error, struct cfs_err *err)
{
	switch (error) {
	case EAGAIN:
	case EINTR:
		return -EAGAIN;
	case EPIPE:
		return gone(-EPIPE, err);
	case ECONNRESET:
	case ETIMEDOUT:
	case EHOSTUNREACH:
		return gone(-ECONNRESET, err);
	default:
		return cfs_err_errno(err, -error, "connection");
	}
}

int cfs_link_step(struct cfs_link *link, struct cfs_err *err)
{
	int r;

	if (link->is_ready)
		return 0;
	r = cfs_tls_stream_handshake(link->tls, err);
	if (r == 0)
		r = cfs_tls_stream_peer(link->tls, link->peer.name,
					link->peer.fingerprint, err);
	if (r < 0)
		return r;
	link->peer.has_certificate = true;
	link->is_ready = true;
	return 0;
}

/* ---------------------------------------------------------------- sending */

/* Bytes of a stream: moved, or a negative errno. */
static ssize_t stream_send(struct cfs_link *link, const uint8_t *bytes,
			   size_t n, struct cfs_err *err)
{
	ssize_t r;

	if (link->tls) {
		r = cfs_tls_stream_send(link->tls, bytes, n);
		if (r < 0 && r != -EAGAIN)
			return cfs_err_set(err, (int)r,
					   "TLS: the connection "
					   "has broken");
		return r;
	}
	r = send(link->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	return r < 0 ? failed(errno, err) : r;
}

int cfs_link_flush(struct cfs_link *link, struct cfs_err *err)
{
	while (link->out_end) {
		ssize_t n = stream_send(link, link->out + link->out_start,
					link->out_end - link->out_start, err);

		if (n < 0)
			return (int)n;
		link->out_start += (size_t)n;
		if (link->out_start == link->out_end) {
			link->out_start = 0;
			link->out_end = 0;
		}
	}
	return 0;
}

static int send_on_stream(struct cfs_link *link, const void *msg, size_t bytes,
			  struct cfs_err *err)
{
	int r = cfs_link_flush(link, err);

	if (r < 0)
		return r;
	if (!link->out)
		link->out = malloc(CFS_MSG_BYTES_MAX);
	if (!link->out)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	memcpy(link->out, msg, bytes);
	link->out_end = bytes;
	r = cfs_link_flush(link, err);
	return r == -EAGAIN ? 0 : r;
}

int cfs_link_send(struct cfs_link *link, const void *msg, size_t bytes,
		  struct cfs_err *err)
{
	int r = 0;

	if (!link->is_ready)
		return -EAGAIN;
	if (link->is_stream)
		r = send_on_stream(link, msg, bytes, err);
	else if (send(link->fd, msg, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		r = failed(errno, err);
	if (r == 0) {
		count(&link->sent_bytes, bytes);
		count(&link->sent_messages, 1);
	}
	return r;
}

/* -------------------------------------------------------------- receiving */

/* Does a header stand here, and how long is the message?  -EPROTO. */
static int message_bytes(const uint8_t *at, size_t *ret, struct cfs_err *err)
{
	struct cfs_msg_head head;
	int r = cfs_msg_head_unpack(at, CFS_MSG_HEAD_BYTES, &head, err);

	if (r < 0) /* also a newer version: its length says nothing */
		return r == -ENOTSUP ? r : -EPROTO;
	*ret = head.bytes;
	return 0;
}

static int recv_packet(struct cfs_link *link, uint8_t *msg, size_t *ret_bytes,
		       struct cfs_err *err)
{
	size_t said;
	ssize_t n;
	int r;

	/* MSG_TRUNC: the length that it had. */
	n = recv(link->fd, msg, CFS_MSG_BYTES_MAX, MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0)
		return failed(errno, err);
	if (n == 0)
		return gone(-EPIPE, err);
	if ((size_t)n < CFS_MSG_HEAD_BYTES || (size_t)n > CFS_MSG_BYTES_MAX)
		return cfs_err_set(err, -EPROTO, "a message of %zd bytes", n);
	r = message_bytes(msg, &said, err);
	if (r == 0 && said != (size_t)n)
		return cfs_err_set(err, -EPROTO,
				   "a message of %zd bytes that "
				   "says %zu",
				   n, said);
	if (r == 0)
		*ret_bytes = said;
	return r;
}

/* The length of the message at the front of a stream's buffer, if it is there
 * whole; 0: not yet. */
static int whole_in_buffer(const struct cfs_link *link, size_t *ret,
			   struct cfs_err *err)
{
	size_t have = link->in_end - link->in_start, bytes;
	int r;

	*ret = 0;
	if (have < CFS_MSG_HEAD_BYTES)
		return 0;
	r = message_bytes(link->in + link->in_start, &bytes, err);
	if (r == 0 && bytes <= have)
		*ret = bytes;
	return r;
}

bool cfs_link_has_pending(const struct cfs_link *link)
{
	size_t bytes;

	if (!link->is_ready || !link->is_stream)
		return false;
	return whole_in_buffer(link, &bytes, NULL) < 0 || bytes ||
	       (link->tls && cfs_tls_stream_has_pending(link->tls));
}

/* More of the stream, behind what is there. */
static int fill(struct cfs_link *link, struct cfs_err *err)
{
	ssize_t n;

	if (!link->in)
		link->in = malloc(CFS_MSG_BYTES_MAX);
	if (!link->in)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	if (link->in_start) {
		memmove(link->in, link->in + link->in_start,
			link->in_end - link->in_start);
		link->in_end -= link->in_start;
		link->in_start = 0;
	}
	if (link->tls) {
		n = cfs_tls_stream_recv(link->tls, link->in + link->in_end,
					CFS_MSG_BYTES_MAX - link->in_end);
		if (n < 0 && n != -EAGAIN)
			return cfs_err_set(
				err, (int)n,
				n == -EACCES
					? "TLS: the other side refuses our "
					  "certificate"
					: "TLS: the connection has broken");
		if (n < 0)
			return (int)n;
	} else {
		n = recv(link->fd, link->in + link->in_end,
			 CFS_MSG_BYTES_MAX - link->in_end, MSG_DONTWAIT);
		if (n < 0)
			return failed(errno, err);
	}
	if (n == 0)
		return gone(-EPIPE, err);
	link->in_end += (size_t)n;
	return 0;
}

static int recv_from_stream(struct cfs_link *link, uint8_t *msg,
			    size_t *ret_bytes, struct cfs_err *err)
{
	for (;;) {
		size_t bytes;
		int r = whole_in_buffer(link, &bytes, err);

		if (r < 0)
			return r;
		if (bytes) {
			memcpy(msg, link->in + link->in_start, bytes);
			link->in_start += bytes;
			*ret_bytes = bytes;
			return 0;
		}
		r = fill(link, err);
		if (r < 0)
			return r;
	}
}

int cfs_link_recv(struct cfs_link *link, void *msg, size_t *ret_bytes,
		  struct cfs_err *err)
{
	int r = cfs_link_step(link, err);

	if (r == 0)
		r = link->is_stream
			    ? recv_from_stream(link, msg, ret_bytes, err)
			    : recv_packet(link, msg, ret_bytes, err);
	if (r == 0) {
		count(&link->received_bytes, *ret_bytes);
		count(&link->received_messages, 1);
	}
	return r;
}
