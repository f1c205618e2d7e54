// SPDX-License-Identifier: LGPL-2.1-or-later
/* Links as sockets: connect, accept, listen. */
#include "lease/link_priv.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 256

/* A peer that is cut off without a word is noticed after half a minute. */
static void set_tcp_options(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, 10 },
		{ IPPROTO_TCP, TCP_KEEPINTVL, 5 },
		{ IPPROTO_TCP, TCP_KEEPCNT, 4 },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, 30000 },
	};
	size_t i;

	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		(void)setsockopt(fd, options[i].level, options[i].name,
				 &options[i].value, sizeof(int));
}

static void describe(const struct sockaddr *socket, struct cfs_link_peer *peer)
{
	const struct sockaddr_in6 *six = (const void *)socket;
	const struct sockaddr_in *four = (const void *)socket;
	struct cfs_address address = { .kind = CFS_ADDRESS_TCP };

	if (socket->sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &six->sin6_addr, address.host,
			  sizeof(address.host));
		address.port = ntohs(six->sin6_port);
	} else {
		inet_ntop(AF_INET, &four->sin_addr, address.host,
			  sizeof(address.host));
		address.port = ntohs(four->sin_port);
	}
	cfs_address_format(&address, peer->address);
}

/* What the system knows of the other side. */
static int identify(struct cfs_link *link, bool has_tls, struct cfs_err *err)
{
	struct sockaddr_storage storage;
	struct sockaddr *socket = (struct sockaddr *)&storage;
	socklen_t bytes = sizeof(storage);
	struct ucred cred;
	socklen_t cred_bytes = sizeof(cred);

	memset(&storage, 0, sizeof(storage));
	if (getpeername(link->fd, socket, &bytes) < 0)
		return cfs_err_errno(err, -errno, "connection");
	switch (socket->sa_family) {
	case AF_UNIX:
		if (getsockopt(link->fd, SOL_SOCKET, SO_PEERCRED, &cred,
			       &cred_bytes) < 0)
			return cfs_err_errno(err, -errno, "connection");
		link->peer.is_local = true;
		link->peer.uid = cred.uid;
		link->peer.gid = cred.gid;
		link->peer.pid = (uint32_t)cred.pid;
		return 0;
	case AF_INET:
	case AF_INET6:
		link->is_stream = true;
		describe(socket, &link->peer);
		if (!has_tls && !cfs_address_is_local(socket))
			return cfs_err_set(err, -EPERM,
					   "%s: without TLS only "
					   "from this host to itself",
					   link->peer.address);
		set_tcp_options(link->fd);
		return 0;
	default:
		return cfs_err_set(err, -EINVAL, "not a socket for links");
	}
}

static bool is_seqpacket(int fd)
{
	int type = 0;
	socklen_t bytes = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0 &&
	       type == SOCK_SEQPACKET;
}

int cfs_link_make(int fd, struct cfs_tls *tls, const char *host,
		  struct cfs_link **ret, struct cfs_err *err)
{
	struct cfs_link *link = calloc(1, sizeof(*link));
	int r;

	if (!link) {
		close(fd);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	link->fd = fd;
	r = identify(link, tls != NULL, err);
	if (r == 0 && !link->is_stream && (tls || !is_seqpacket(fd)))
		r = cfs_err_set(err, -EINVAL, "not a socket for links");
	if (r == 0 && tls)
		r = cfs_tls_stream_new(tls, fd, host, &link->tls, err);
	if (r < 0) {
		cfs_link_free(link);
		return r;
	}
	link->is_ready = !tls;
	*ret = link;
	return 0;
}

int cfs_link_accept(int fd, struct cfs_tls *tls, struct cfs_link **ret,
		    struct cfs_err *err)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		int r = -errno;

		close(fd);
		return cfs_err_errno(err, r, "connection");
	}
	return cfs_link_make(fd, tls, NULL, ret, err);
}

int cfs_link_pair(struct cfs_link *ret[2], struct cfs_err *err)
{
	struct cfs_link *first = NULL, *second = NULL;
	int fds[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       0, fds) < 0)
		return cfs_err_errno(err, -errno, "socket pair");
	r = cfs_link_make(fds[0], NULL, NULL, &first, err);
	if (r < 0) {
		close(fds[1]);
		return r;
	}
	r = cfs_link_make(fds[1], NULL, NULL, &second, err);
	if (r < 0) {
		cfs_link_free(first);
		return r;
	}
	ret[0] = first;
	ret[1] = second;
	return 0;
}

/* ------------------------------------------------------------- connecting */

/* The kernel's own time limit: also a full backlog of a Unix socket, which
 * poll(2) would not tell of, is waited for. */
static int connect_in_time(int fd, const struct cfs_address_socket *to,
			   uint64_t timeout_ms)
{
	const struct timeval limit = {
		.tv_sec = (time_t)(timeout_ms / 1000),
		.tv_usec = (suseconds_t)(timeout_ms % 1000 * 1000),
	};

	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (const struct sockaddr *)&to->storage, to->bytes) == 0)
		return 0;
	return errno == EAGAIN || errno == EINPROGRESS ? -ETIMEDOUT : -errno;
}

static int connect_one(const struct cfs_address_socket *to, bool has_tls,
		       uint64_t timeout_ms, int *ret_fd, struct cfs_err *err)
{
	const struct sockaddr *socket_to = (const void *)&to->storage;
	bool is_unix = socket_to->sa_family == AF_UNIX;
	int fd, flags, r;

	if (!is_unix && !has_tls && !cfs_address_is_local(socket_to))
		return cfs_err_set(err, -EPERM,
				   "without TLS only from this "
				   "host to itself");
	fd = socket(socket_to->sa_family,
		    SOCK_CLOEXEC | (is_unix ? SOCK_SEQPACKET : SOCK_STREAM), 0);
	if (fd < 0)
		return cfs_err_errno(err, -errno, "socket");
	r = connect_in_time(fd, to, timeout_ms);
	flags = r == 0 ? fcntl(fd, F_GETFL) : -1;
	if (r == 0 && (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
		r = -errno;
	if (r < 0) {
		close(fd);
		return cfs_err_errno(err, r, "connect");
	}
	*ret_fd = fd;
	return 0;
}

static uint64_t now_ms(void)
{
	return cfs_clock_elapsed_ns(cfs_clock_system()) / CFS_NS_PER_MS;
}

static int shake_hands(struct cfs_link *link, uint64_t deadline_ms,
		       struct cfs_err *err)
{
	for (;;) {
		struct pollfd p = { .fd = link->fd };
		int r = cfs_link_step(link, err);
		uint64_t now = now_ms();

		if (r != -EAGAIN)
			return r;
		if (now >= deadline_ms)
			return cfs_err_errno(err, -ETIMEDOUT, "TLS");
		p.events = cfs_link_events(link);
		if (poll(&p, 1, (int)(deadline_ms - now)) < 0 && errno != EINTR)
			return cfs_err_errno(err, -errno, "TLS");
	}
}

int cfs_link_connect(const struct cfs_address *address, struct cfs_tls *tls,
		     unsigned int timeout_ms, struct cfs_link **ret,
		     struct cfs_err *err)
{
	struct cfs_tls *used = address->kind == CFS_ADDRESS_TCP ? tls : NULL;
	struct cfs_address_socket to[CFS_ADDRESS_SOCKETS_MAX];
	uint64_t deadline_ms = now_ms() + timeout_ms;
	char text[CFS_ADDRESS_TEXT_BYTES];
	struct cfs_link *link = NULL;
	size_t count, i;
	int fd = -1, r;

	r = cfs_address_resolve(address, to, &count, err);
	for (i = 0; r == 0 && i < count; i++) {
		uint64_t now = now_ms();

		/* 0 would be: without limit. */
		r = connect_one(&to[i], used != NULL,
				deadline_ms > now ? deadline_ms - now : 1, &fd,
				err);
		if (r == 0)
			break;
		if (i + 1 < count)
			r = 0;
	}
	if (r == 0)
		r = cfs_link_make(fd, used, address->host, &link, err);
	if (r == 0)
		r = shake_hands(link, deadline_ms, err);
	if (r < 0) {
		cfs_link_free(link);
		return cfs_err_wrap(err, r, "%s",
				    cfs_address_format(address, text));
	}
	*ret = link;
	return 0;
}

/* -------------------------------------------------------------- listening */

/* What a holder that is gone has left behind. */
static int remove_stale(const char *path, struct cfs_err *err)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0
				       : cfs_err_errno(err, -errno, "%s", path);
	if (!S_ISSOCK(st.st_mode))
		return cfs_err_set(err, -EEXIST,
				   "%s: stands there, and is no "
				   "socket",
				   path);
	if (unlink(path) < 0 && errno != ENOENT)
		return cfs_err_errno(err, -errno, "%s", path);
	return 0;
}

static int bind_and_listen(int fd, const struct cfs_address_socket *to,
			   struct cfs_err *err)
{
	const struct sockaddr *socket_to = (const void *)&to->storage;
	int one = 1;

	/* The mode that the name will have: never open to others, not even
	 * for a moment, and without the umask of the whole process. */
	if (socket_to->sa_family == AF_UNIX && fchmod(fd, 0600) < 0)
		return cfs_err_errno(err, -errno, "socket");
	if (socket_to->sa_family != AF_UNIX)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one,
				 sizeof(one));
	if (socket_to->sa_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one,
				 sizeof(one));
	if (bind(fd, socket_to, to->bytes) < 0 || listen(fd, BACKLOG) < 0)
		return cfs_err_errno(err, -errno, "listen");
	return 0;
}

static int actual_port(int fd, struct cfs_address *address, struct cfs_err *err)
{
	struct sockaddr_storage storage;
	socklen_t bytes = sizeof(storage);
	const struct sockaddr_in6 *six = (const void *)&storage;
	const struct sockaddr_in *four = (const void *)&storage;

	if (address->kind != CFS_ADDRESS_TCP)
		return 0;
	memset(&storage, 0, sizeof(storage));
	if (getsockname(fd, (struct sockaddr *)&storage, &bytes) < 0)
		return cfs_err_errno(err, -errno, "socket");
	address->port = ntohs(storage.ss_family == AF_INET6 ? six->sin6_port
							    : four->sin_port);
	return 0;
}

static int open_listener(const struct cfs_address *address, bool has_tls,
			 int *ret_fd, struct cfs_address *ret_address,
			 struct cfs_err *err)
{
	struct cfs_address_socket to[CFS_ADDRESS_SOCKETS_MAX] = {
		{ .bytes = 0 },
	};
	const struct sockaddr *first = (const void *)&to[0].storage;
	bool is_unix = address->kind == CFS_ADDRESS_UNIX;
	struct cfs_address said = *address;
	size_t count;
	int fd, r;

	r = cfs_address_resolve(address, to, &count, err);
	if (r < 0)
		return r;
	if (!is_unix && !has_tls && !cfs_address_is_local(first))
		return cfs_err_set(err, -EPERM,
				   "without TLS only on this "
				   "host's own address, 127.0.0.1: give a "
				   "certificate, its key and a CA");
	if (is_unix) {
		r = remove_stale(address->path, err);
		if (r < 0)
			return r;
	}
	fd = socket(first->sa_family,
		    SOCK_CLOEXEC | SOCK_NONBLOCK |
			    (is_unix ? SOCK_SEQPACKET : SOCK_STREAM),
		    0);
	if (fd < 0)
		return cfs_err_errno(err, -errno, "socket");
	r = bind_and_listen(fd, &to[0], err);
	if (r == 0)
		r = actual_port(fd, &said, err);
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	*ret_address = said;
	return 0;
}

int cfs_link_listen(const struct cfs_address *address, bool has_tls,
		    int *ret_fd, struct cfs_address *ret_address,
		    struct cfs_err *err)
{
	char text[CFS_ADDRESS_TEXT_BYTES];
	int r = open_listener(address, has_tls, ret_fd, ret_address, err);

	if (r < 0)
		return cfs_err_wrap(err, r, "%s",
				    cfs_address_format(address, text));
	return 0;
}
