/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A link: a connection that carries whole messages (msg.h) in order.  Unix
 * sockets keep messages apart themselves (SOCK_SEQPACKET); over TCP, with or
 * without TLS, the length in each header does.
 *
 * A link never blocks once it is there: send and recv return -EAGAIN and the
 * caller waits for cfs_link_events on cfs_link_fd.  A message goes whole or
 * not at all, so nobody has to remember the half of one: what a stream did not
 * take at once the link keeps, at most one message of it.
 *
 * What arrives is hostile until judged: a header that is not one of ours, or
 * a length out of bounds, is -EPROTO and the link is to be freed.  Bodies are
 * not looked at.
 *
 * Plain TCP is for this host alone: connect and accept refuse it for addresses
 * that are not loopback (-EPERM).
 *
 * Thread safety: one thread may send while another receives; several senders,
 * or several receivers, need the caller's lock.
 */
#pragma once

#include "base/err.h"
#include "lease/address.h"
#include "lease/tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Types that belong to the connection itself: neither leases nor requests. */
enum cfs_link_msg_type {
	/* The request with this id is not waited for any more.  No answer, no
	 * body; the request is answered once, as ever. */
	CFS_MSG_REQUEST_CANCEL = 0x0300,
	/* Answered at once with the same body. */
	CFS_MSG_PING = 0x0301,
	/* Notice: the manager ends in an orderly way, and takes no requests
	 * any more. */
	CFS_MSG_ENDING = 0x0302,
	/* No body -> struct cfs_server_stats (server.h), a u64 each. */
	CFS_MSG_COUNTERS = 0x0303,
};
#define CFS_MSG_TYPE_LINK_FIRST 0x0300u
#define CFS_MSG_TYPE_LINK_LAST  0x03ffu

struct cfs_link;

/* Who is on the other side, as the system or a certificate says it. */
struct cfs_link_peer {
	bool is_local; /* a process of this host: uid, gid,
			* pid are known */
	uint32_t uid, gid;
	uint32_t pid; /* 0: not known */
	bool has_certificate;
	char name[CFS_TLS_NAME_BYTES]; /* its subject */
	uint8_t fingerprint[CFS_TLS_FINGERPRINT_BYTES];
	char address[CFS_ADDRESS_TEXT_BYTES]; /* tcp: of the peer */
};

struct cfs_link_stats { /* since it was made; headers too */
	uint64_t sent_bytes, received_bytes;
	uint64_t sent_messages, received_messages;
};

/*
 * Connect, and for TLS shake hands.  Blocks for at most @timeout_ms.
 * @tls: for TCP; NULL: plain, to loopback only.
 * -ENOENT: no such socket; -ECONNREFUSED: nobody listens; -ETIMEDOUT; -EPERM:
 * plain TCP that leaves this host; -EACCES: certificates; -EHOSTUNREACH.
 */
int cfs_link_connect(const struct cfs_address *address, struct cfs_tls *tls,
		     unsigned int timeout_ms, struct cfs_link **ret,
		     struct cfs_err *err);
/*
 * Take over a connected socket, Unix (SEQPACKET) or TCP, as the one that was
 * called; it is closed also when this fails.  With @tls the handshake is made
 * step by step by cfs_link_recv.  -EPERM as above; -EINVAL: another socket.
 */
int cfs_link_accept(int fd, struct cfs_tls *tls, struct cfs_link **ret,
		    struct cfs_err *err);
/* Two ends within this process. */
int cfs_link_pair(struct cfs_link *ret[2], struct cfs_err *err);
/* Closes it.  NULL is allowed. */
void cfs_link_free(struct cfs_link *link);

int cfs_link_fd(const struct cfs_link *link);
/* Events of poll(2) that make progress possible: POLLIN, and POLLOUT while
 * something waits to be sent. */
short cfs_link_events(const struct cfs_link *link);
/* A message may be had without poll(2) saying so: call recv first. */
bool cfs_link_has_pending(const struct cfs_link *link);
/* Shaken hands: the peer is known, and messages may be sent. */
bool cfs_link_is_ready(const struct cfs_link *link);
/* Valid as long as the link; fields are final once it is ready. */
const struct cfs_link_peer *cfs_link_peer(const struct cfs_link *link);

/*
 * Send one message, whole.  @msg: packed, @bytes as its header says.
 * 0: taken (a rest may still be on its way: cfs_link_events); -EAGAIN: not
 * taken; -EPIPE, -ECONNRESET: the peer is gone.
 */
int cfs_link_send(struct cfs_link *link, const void *msg, size_t bytes,
		  struct cfs_err *err);
/* Push out the rest of what was taken.  0: nothing is left; -EAGAIN; -EPIPE. */
int cfs_link_flush(struct cfs_link *link, struct cfs_err *err);
/*
 * Receive one message into @msg, which has room for CFS_MSG_BYTES_MAX bytes.
 * -EAGAIN; -EPIPE: the peer has closed; -ECONNRESET; -EPROTO: not a message of
 * ours; -EACCES: the handshake failed.
 */
int cfs_link_recv(struct cfs_link *link, void *msg, size_t *ret_bytes,
		  struct cfs_err *err);

void cfs_link_stats(const struct cfs_link *link, struct cfs_link_stats *ret);

/*
 * A listening socket, non-blocking.  A Unix socket is made with mode 0600 and
 * replaces what stands there under its name if that is a socket (the caller
 * holds the pool, so whoever made it is gone); the directory is the caller's.
 * @ret_address: the address as it is to be told to others (a port that the
 * system chose is filled in).
 * -EPERM: plain TCP (@has_tls false) on an address that is not loopback;
 * -EADDRINUSE; -EEXIST: something that is no socket stands there; -EACCES...
 */
int cfs_link_listen(const struct cfs_address *address, bool has_tls,
		    int *ret_fd, struct cfs_address *ret_address,
		    struct cfs_err *err);
