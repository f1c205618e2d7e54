/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reaching the process that holds a pool by the addresses that stand there.
 *
 * Unix sockets first, whatever the order in which they stand: one of this host
 * is quicker, and needs no certificate.  A path that is another host's is not
 * here, or has another pool behind it, which the hello tells.
 *
 * Errors that no waiting cures (our certificate, theirs) are told apart from a
 * holder that does not answer: it may be gone, and then the caller waits for
 * its lease and takes over.
 */
#pragma once

#include "lease/link.h"
#include "session/session.h"

/* Say hello; @link is the function's own, also on failure. */
typedef int (*cfs_dial_fn)(void *arg, struct cfs_link *link,
			   struct cfs_err *err);

/*
 * Connect to one of @addresses (separated by blanks) within @timeout_ms each,
 * until @say_hello returns 0.  Of @opt: tls_cert, tls_key, tls_ca.
 * -EBUSY: nobody answers (@err: what the last one said, behind @who);
 * -EPERM: it answers over TCP and we have no certificate; -EACCES: a
 * certificate is refused, by us or by it; -ENOENT, -EINVAL of our files;
 * -ENOTSUP, -EINTR, -ENOMEM.
 */
int cfs_dial(const char *addresses, const struct cfs_session_options *opt,
	     unsigned int timeout_ms, const char *who, cfs_dial_fn say_hello,
	     void *arg, struct cfs_err *err);
