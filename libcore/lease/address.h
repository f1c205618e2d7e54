/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where a manager answers: "unix:PATH" or "tcp:HOST:PORT".  Addresses come
 * from command lines and from records on devices, so they are parsed strictly:
 * there is one way to write each, and what is not understood is refused.
 *
 *   unix:/run/cfs/UUID.sock   an absolute path of at most 107 bytes, without
 *                             blanks and control characters
 *   tcp:192.0.2.1:7000        a number, or a name of letters, digits, '.', '-'
 *   tcp:[2001:db8::1]:7000    IPv6 in brackets
 *
 * A port is 1 to 65535, decimal, without leading zeroes; 0 is allowed where
 * one listens: the system chooses.  The record of a holder may name several,
 * separated by one blank.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define CFS_ADDRESS_PATH_BYTES 108u /* with the NUL, as in sockaddr_un */
#define CFS_ADDRESS_HOST_BYTES 128u
#define CFS_ADDRESS_TEXT_BYTES 256u /* any address as text */

enum cfs_address_kind { CFS_ADDRESS_UNIX, CFS_ADDRESS_TCP };

struct cfs_address {
	enum cfs_address_kind kind;
	char path[CFS_ADDRESS_PATH_BYTES]; /* unix */
	char host[CFS_ADDRESS_HOST_BYTES]; /* tcp, no brackets */
	uint16_t port;                     /* tcp */
};

/* -EINVAL: @err says what is wrong with @text. */
int cfs_address_parse(const char *text, struct cfs_address *ret,
		      struct cfs_err *err);
/* Returns @ret. */
char *cfs_address_format(const struct cfs_address *address,
			 char ret[CFS_ADDRESS_TEXT_BYTES]);
/*
 * Take the next of a list that blanks separate.  @at is moved behind it.
 * 0; -ENOENT: there is no more; -EINVAL: it is none (and @at is behind it).
 */
int cfs_address_next(const char **at, struct cfs_address *ret,
		     struct cfs_err *err);

/* What sockets take.  Several, if a name stands for several. */
#define CFS_ADDRESS_SOCKETS_MAX 8u
struct cfs_address_socket {
	struct sockaddr_storage storage;
	socklen_t bytes;
};
/*
 * Ask the resolver (may block, for a name).  -EHOSTUNREACH: no such host;
 * -EINVAL.  @ret_count: 1..CFS_ADDRESS_SOCKETS_MAX.
 */
int cfs_address_resolve(const struct cfs_address *address,
			struct cfs_address_socket ret[CFS_ADDRESS_SOCKETS_MAX],
			size_t *ret_count, struct cfs_err *err);
/* A Unix socket, or an address that does not leave this host. */
bool cfs_address_is_local(const struct sockaddr *socket);
