/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What link.c (messages) and link_open.c (sockets) share. */
#pragma once

#include "lease/link.h"
#include "lease/msg.h"

#include <stdatomic.h>

struct cfs_link {
	int fd;
	bool is_stream;             /* TCP: we keep messages apart */
	atomic_bool is_ready;       /* senders ask from their threads */
	struct cfs_tls_stream *tls; /* NULL: plain */
	struct cfs_link_peer peer;

	/* Of a stream: what has come, in_start..in_end, at most one message
	 * and a part of the next; what has still to go. */
	uint8_t *in;
	size_t in_start, in_end;
	uint8_t *out;
	size_t out_start;
	_Atomic size_t out_end; /* 0: nothing; events may ask from the
				 * receiver's thread */

	_Atomic uint64_t sent_bytes, received_bytes;
	_Atomic uint64_t sent_messages, received_messages;
};

/* @fd: connected, non-blocking; closed also on failure.  @host: of the peer
 * that was called; NULL: we were. */
int cfs_link_make(int fd, struct cfs_tls *tls, const char *host,
		  struct cfs_link **ret, struct cfs_err *err);
/* A step of the handshake, if there is one.  0: ready; -EAGAIN. */
int cfs_link_step(struct cfs_link *link, struct cfs_err *err);
