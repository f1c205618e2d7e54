/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mutual TLS 1.3 for links over TCP.  Both sides show a certificate that the
 * other's CA signed; the client also checks that it names the host it called.
 * GnuTLS is loaded when the first credentials are: tools that stay on this
 * host never pay for it.
 *
 * Thread safety: credentials may be shared by all links; a stream belongs to
 * its link and has its lock.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CFS_TLS_NAME_BYTES        256u
#define CFS_TLS_FINGERPRINT_BYTES 32u /* SHA-256 of the certificate */

struct cfs_tls_config { /* PEM files; all three are needed */
	const char *cert;
	const char *key;
	const char *ca;
};

struct cfs_tls;        /* credentials */
struct cfs_tls_stream; /* one connection */

/*
 * Load the files.  -ENOTSUP: GnuTLS is not installed; -ENOENT, -EACCES,
 * -EINVAL: a file is not there, not readable, or not what it should be.
 */
int cfs_tls_new(const struct cfs_tls_config *config, struct cfs_tls **ret,
		struct cfs_err *err);
/* NULL is allowed.  Streams of it go on, and keep what they need of it. */
void cfs_tls_free(struct cfs_tls *tls);

/*
 * Put TLS on a connected, non-blocking socket, which stays the caller's.
 * @host: what the peer's certificate must name; NULL: we are the server.
 */
int cfs_tls_stream_new(struct cfs_tls *tls, int fd, const char *host,
		       struct cfs_tls_stream **ret, struct cfs_err *err);
void cfs_tls_stream_free(struct cfs_tls_stream *stream);

/*
 * One step of the handshake.  0: done; -EAGAIN: wait for
 * cfs_tls_stream_wants_write; -EACCES: the peer's certificate is not good, or
 * it does not like ours; -EPROTO, -ECONNRESET.
 */
int cfs_tls_stream_handshake(struct cfs_tls_stream *stream,
			     struct cfs_err *err);
/* What -EAGAIN waits for: true: to write; false: to read. */
bool cfs_tls_stream_wants_write(const struct cfs_tls_stream *stream);
/* Bytes moved; 0 of recv: the end; -EAGAIN; -ECONNRESET, -EPROTO. */
ssize_t cfs_tls_stream_send(struct cfs_tls_stream *stream, const void *bytes,
			    size_t length_bytes);
ssize_t cfs_tls_stream_recv(struct cfs_tls_stream *stream, void *bytes,
			    size_t room_bytes);
/* Decrypted bytes are left, which poll(2) does not see. */
bool cfs_tls_stream_has_pending(const struct cfs_tls_stream *stream);
/* After the handshake: subject and fingerprint of the peer's certificate. */
int cfs_tls_stream_peer(const struct cfs_tls_stream *stream,
			char ret_name[CFS_TLS_NAME_BYTES],
			uint8_t ret_fingerprint[CFS_TLS_FINGERPRINT_BYTES],
			struct cfs_err *err);
