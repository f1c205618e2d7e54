// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lease/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static int bad(struct cfs_err *err, const char *text, const char *why)
{
	return cfs_err_set(err, -EINVAL, "'%s': %s", text, why);
}

static int parse_unix(const char *text, const char *path,
		      struct cfs_address *ret, struct cfs_err *err)
{
	size_t n = strlen(path), i;

	if (path[0] != '/' || n < 2)
		return bad(err, text, "the path of a socket is absolute");
	if (n >= CFS_ADDRESS_PATH_BYTES)
		return bad(err, text,
			   "the path of a socket has at most 107 "
			   "bytes");
	for (i = 0; i < n; i++)
		if ((unsigned char)path[i] <= ' ' || path[i] == 127)
			return bad(err, text,
				   "the path of a socket has no "
				   "blanks");
	ret->kind = CFS_ADDRESS_UNIX;
	memcpy(ret->path, path, n + 1);
	return 0;
}

static int parse_port(const char *text, const char *digits, uint16_t *ret,
		      struct cfs_err *err)
{
	unsigned int value = 0;
	size_t n = strlen(digits), i;

	if (n == 0 || n > 5 || (n > 1 && digits[0] == '0'))
		return bad(err, text, "a port is a number below 65536");
	for (i = 0; i < n; i++) {
		if (digits[i] < '0' || digits[i] > '9')
			return bad(err, text,
				   "a port is a number below "
				   "65536");
		value = value * 10 + (unsigned int)(digits[i] - '0');
	}
	if (value > UINT16_MAX)
		return bad(err, text, "a port is a number below 65536");
	*ret = (uint16_t)value;
	return 0;
}

/* Letters, digits, dots and hyphens: nothing that a resolver or a
 * certificate could take for something else. */
static bool is_host_name(const char *host)
{
	size_t i;

	if (!host[0] || host[0] == '-' || host[0] == '.')
		return false;
	for (i = 0; host[i]; i++) {
		char c = host[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c >= '0' && c <= '9') || c == '.' || c == '-'))
			return false;
	}
	return true;
}

/* Only digits and dots: then it must be a number of four parts, since
 * resolvers read "127.1" and "2130706433" as addresses too. */
static bool looks_like_number(const char *host)
{
	return host[strspn(host, "0123456789.")] == '\0';
}

static int parse_tcp(const char *text, const char *rest,
		     struct cfs_address *ret, struct cfs_err *err)
{
	bool has_brackets = rest[0] == '[';
	const char *begin = has_brackets ? rest + 1 : rest;
	const char *end = strchr(begin, has_brackets ? ']' : ':');
	struct in6_addr six;
	struct in_addr four;
	size_t n;

	if (!end || (has_brackets && end[1] != ':'))
		return bad(err, text, "it is tcp:HOST:PORT, IPv6 in brackets");
	n = (size_t)(end - begin);
	if (n >= CFS_ADDRESS_HOST_BYTES)
		return bad(err, text, "the host's name is too long");
	ret->kind = CFS_ADDRESS_TCP;
	memcpy(ret->host, begin, n);
	ret->host[n] = '\0';
	if (has_brackets ? inet_pton(AF_INET6, ret->host, &six) != 1
	    : looks_like_number(ret->host)
		    ? inet_pton(AF_INET, ret->host, &four) != 1
		    : !is_host_name(ret->host))
		return bad(err, text, "no such form of a host");
	return parse_port(text, end + (has_brackets ? 2 : 1), &ret->port, err);
}

int cfs_address_parse(const char *text, struct cfs_address *ret,
		      struct cfs_err *err)
{
	struct cfs_address address;
	int r;

	memset(&address, 0, sizeof(address));
	if (strncmp(text, "unix:", 5) == 0)
		r = parse_unix(text, text + 5, &address, err);
	else if (strncmp(text, "tcp:", 4) == 0)
		r = parse_tcp(text, text + 4, &address, err);
	else
		r = bad(err, text, "an address is unix:PATH or tcp:HOST:PORT");
	if (r == 0)
		*ret = address;
	return r;
}

char *cfs_address_format(const struct cfs_address *address,
			 char ret[CFS_ADDRESS_TEXT_BYTES])
{
	if (address->kind == CFS_ADDRESS_UNIX)
		snprintf(ret, CFS_ADDRESS_TEXT_BYTES, "unix:%s", address->path);
	else if (strchr(address->host, ':'))
		snprintf(ret, CFS_ADDRESS_TEXT_BYTES, "tcp:[%s]:%u",
			 address->host, (unsigned int)address->port);
	else
		snprintf(ret, CFS_ADDRESS_TEXT_BYTES, "tcp:%s:%u",
			 address->host, (unsigned int)address->port);
	return ret;
}

int cfs_address_next(const char **at, struct cfs_address *ret,
		     struct cfs_err *err)
{
	char text[CFS_ADDRESS_TEXT_BYTES];
	const char *begin = *at;
	size_t n = strcspn(begin, " ");

	if (!*begin)
		return -ENOENT;
	*at = begin + n + (begin[n] == ' ');
	if (n >= sizeof(text))
		return cfs_err_set(err, -EINVAL, "an address is too long");
	memcpy(text, begin, n);
	text[n] = '\0';
	return cfs_address_parse(text, ret, err);
}

bool cfs_address_is_local(const struct sockaddr *socket)
{
	const struct sockaddr_in6 *six = (const void *)socket;
	const struct sockaddr_in *four = (const void *)socket;

	switch (socket->sa_family) {
	case AF_UNIX:
		return true;
	case AF_INET:
		return ntohl(four->sin_addr.s_addr) >> 24 == 127;
	case AF_INET6:
		if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
			return six->sin6_addr.s6_addr[12] == 127;
		return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
	default:
		return false;
	}
}

int cfs_address_resolve(const struct cfs_address *address,
			struct cfs_address_socket ret[CFS_ADDRESS_SOCKETS_MAX],
			size_t *ret_count, struct cfs_err *err)
{
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV,
	};
	struct addrinfo *list = NULL, *a;
	char port[8];
	size_t count = 0;
	int r;

	memset(ret, 0, sizeof(*ret) * CFS_ADDRESS_SOCKETS_MAX);
	if (address->kind == CFS_ADDRESS_UNIX) {
		struct sockaddr_un un = { .sun_family = AF_UNIX };

		_Static_assert(sizeof(un.sun_path) == CFS_ADDRESS_PATH_BYTES,
			       "path of a socket");
		memcpy(un.sun_path, address->path, sizeof(un.sun_path));
		memcpy(&ret[0].storage, &un, sizeof(un));
		ret[0].bytes = sizeof(un);
		*ret_count = 1;
		return 0;
	}
	snprintf(port, sizeof(port), "%u", (unsigned int)address->port);
	r = getaddrinfo(address->host, port, &hints, &list);
	if (r != 0)
		return cfs_err_set(err, -EHOSTUNREACH, "%s: %s", address->host,
				   gai_strerror(r));
	for (a = list; a && count < CFS_ADDRESS_SOCKETS_MAX; a = a->ai_next) {
		if (a->ai_addrlen > sizeof(ret[0].storage))
			continue;
		memcpy(&ret[count].storage, a->ai_addr, a->ai_addrlen);
		ret[count++].bytes = a->ai_addrlen;
	}
	freeaddrinfo(list);
	if (count == 0)
		return cfs_err_set(err, -EHOSTUNREACH, "%s: no address",
				   address->host);
	*ret_count = count;
	return 0;
}
