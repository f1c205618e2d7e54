/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A session that others come to: the lock table of the pool (lease/owner.h)
 * behind a lock of its own, and the service (lease/server.h) through which
 * tools, mounts and hosts reach it.
 *
 * Every writable session has the lock table (cfs_serve_new): its own users of
 * volumes are clients of it as those of other processes are.  Only those that
 * stay answer others (cfs_serve_start); where they do stands in the record of
 * the holder, so it is found from the pool alone.
 *
 * The socket is made after the locks of the devices are ours, so whatever
 * stands under its name belongs to a holder that is gone.
 *
 * Thread safety: new, start, stop and free by one thread; the rest by any.
 */
#pragma once

#include "base/log.h"
#include "lease/server.h"
#include "session/session.h"

struct cfs_owner;
struct cfs_serve;

struct cfs_serve_options {
	/*
	 * Where the socket is made, as POOLUUID.sock.  NULL: none, only
	 * @listen.  Made with mode 0700 if it is not there; -EPERM if it is
	 * another user's, or others may write there.
	 */
	const char	*run_directory;
	const struct cfs_address *listen;	/* more of them */
	size_t		listen_count;
	const struct cfs_tls_config *tls;	/* for TCP; may be NULL */
	const struct cfs_logger *logger;	/* may be NULL */
	unsigned int	hello_ms;		/* 0: the default */
	size_t		peers_max;		/* 0: the default */
};

/*
 * The lock table of a writable session, with the pool's period and drift and
 * the session's epoch; with grace if the last holder did not close cleanly.
 * @session outlives it.  -EROFS, -ENOMEM.
 */
int cfs_serve_new(struct cfs_session *session, struct cfs_serve **ret,
		  struct cfs_err *err);
/*
 * Answer: sockets, thread, address in the holder's record.  -EPERM, -EACCES,
 * -EADDRINUSE and what cfs_tls_new and cfs_holder_update return; nothing
 * is left behind then.
 */
int cfs_serve_start(struct cfs_serve *serve,
		    const struct cfs_serve_options *opt, struct cfs_err *err);
/*
 * The reverse: the address is cleared, no new connections, what runs is
 * finished (for at most @grace_ms), clients are told.  The lock table stays.
 * A failure is that of the record; it is stopped all the same.
 */
int cfs_serve_stop(struct cfs_serve *serve, unsigned int grace_ms,
		   struct cfs_err *err);
/* Stops it if it runs.  NULL is allowed. */
void cfs_serve_free(struct cfs_serve *serve);

/* The lock table, locked: nobody else is in it until the unlock, which also
 * lets the service look at its deadlines. */
struct cfs_owner *cfs_serve_lock(struct cfs_serve *serve);
void cfs_serve_unlock(struct cfs_serve *serve);

struct cfs_session *cfs_serve_session(struct cfs_serve *serve);
/* NULL: it does not answer. */
struct cfs_server *cfs_serve_server(struct cfs_serve *serve);
/* All addresses, separated by blanks; empty: it does not answer. */
const char *cfs_serve_address(const struct cfs_serve *serve);

/*
 * Where the socket of a pool is: "DIRECTORY/UUID.sock".  @run_directory: as
 * above.  -ENAMETOOLONG.
 */
int cfs_serve_socket(const char *run_directory, const uint8_t pool_uuid[16],
		     struct cfs_address *ret, struct cfs_err *err);
