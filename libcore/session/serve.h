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
 * A holder that ends cleanly may leave clients with leases behind.  So that the
 * next one lets their period pass, the record says that there are clients: it
 * is written before the first one is welcome, and cleared when a holder ends
 * that has none and whose own grace is over.
 *
 * The socket is made after the locks of the devices are ours, so whatever
 * stands under its name belongs to a holder that is gone.
 *
 * Thread safety: new, start, stop and free by one thread; the rest by any.
 */
#pragma once

#include "base/log.h"
#include "lease/conn_lease.h"
#include "lease/owner.h"
#include "lease/server.h"
#include "session/session.h"

struct cfs_serve;

/*
 * What others do for the lock table; set before the first client comes, each
 * may be NULL.  seal, lost, gone and generation are as in struct
 * cfs_owner_ops, and called with the lock of cfs_serve_lock held: seal hands
 * its work to another thread.
 */
struct cfs_serve_hooks {
	void (*seal)(void *arg, uint64_t client, uint64_t lease,
		     enum cfs_owner_end end);
	void (*lost)(void *arg, uint64_t client, enum cfs_owner_end end);
	int (*gone)(void *arg, uint64_t client, const char *host);
	uint64_t (*generation)(void *arg, uint64_t client,
			       const struct cfs_lock_resource *resource,
			       uint32_t mode);
	void (*event)(void *arg, const struct cfs_lease_event *event);
	/* A connection has ended, and none of its requests runs; in a worker,
	 * without the lock. */
	void (*ended)(void *arg, uint64_t peer);
	void *arg;
};

struct cfs_serve_options {
	/*
	 * Where the socket is made, as POOLUUID.sock.  NULL: none, only
	 * @listen.  Made with mode 0700 if it is not there; -EPERM if it is
	 * another user's, or others may write there.
	 */
	const char *run_directory;
	const struct cfs_address *listen; /* more of them */
	size_t listen_count;
	const struct cfs_tls_config *tls; /* for TCP; may be NULL */
};

/*
 * The lock table of a session that holds its pool and may write, with the
 * pool's period and drift and the session's epoch; with grace if clients of
 * a former holder may still have leases (seat.has_clients).
 * @session outlives it.  @logger may be NULL.  -EROFS, -ENOMEM.
 */
int cfs_serve_new(struct cfs_session *session, const struct cfs_logger *logger,
		  struct cfs_serve **ret, struct cfs_err *err);
/* NULL: none. */
void cfs_serve_set_hooks(struct cfs_serve *serve,
			 const struct cfs_serve_hooks *hooks);
/*
 * Answer: sockets, thread, address in the holder's record.  Handlers of other
 * types (cfs_serve_server) are added before.  Once a serve.
 * -EPERM, -EACCES, -EADDRINUSE and what cfs_tls_new and the holder return;
 * no socket is left behind then.
 */
int cfs_serve_start(struct cfs_serve *serve,
		    const struct cfs_serve_options *opt, struct cfs_err *err);
/*
 * For a manager that ends when nobody needs it: true if no other process is a
 * client or connected, and then nobody is let in until the stop; whoever comes
 * meanwhile finds that nobody answers, and waits for the pool.
 */
bool cfs_serve_end_unneeded(struct cfs_serve *serve);
/* Slices are being moved in the background (session.h, in_background). */
bool cfs_serve_is_moving(struct cfs_serve *serve);
/*
 * The reverse: no new connections, what runs is finished (for at most
 * @grace_ms), clients are told, the address is cleared; and if no client is
 * left, that too stands in the record.  A failure is that of the record; it
 * is stopped all the same.
 */
int cfs_serve_stop(struct cfs_serve *serve, unsigned int grace_ms,
		   struct cfs_err *err);
/* Stops it if it runs.  Local clients were freed before.  NULL is allowed. */
void cfs_serve_free(struct cfs_serve *serve);

/*
 * Of a secondary: what its manager is to know, for the next owner.  1: there
 * are clients, who wait for that; 0: there are none, and whoever comes waits;
 * -1: as it does.  The thread that tells it says when it has, or has failed.
 */
int cfs_serve_mark_wanted(struct cfs_serve *serve);
void cfs_serve_mark_told(struct cfs_serve *serve, bool has_clients, int r);

/* The lock table, locked (recursively): nobody else is in it until the unlock,
 * which also lets the service look at its deadlines. */
struct cfs_owner *cfs_serve_lock(struct cfs_serve *serve);
void cfs_serve_unlock(struct cfs_serve *serve);
/* The same, where nothing was changed: nobody wakes up for it. */
void cfs_serve_unlock_unchanged(struct cfs_serve *serve);

/*
 * A client in this process: its messages are calls.  It says hello here, and
 * starts the service thread (which sees to what is due) if that does not run.
 * @config: pool, host and process are filled in.  Errors of cfs_leaser_hello.
 * To be freed with cfs_serve_drop_client.
 */
int cfs_serve_add_client(struct cfs_serve *serve,
			 const struct cfs_lease_client_config *config,
			 const struct cfs_leaser_hooks *hooks,
			 const struct cfs_conn_wait *wait,
			 struct cfs_leaser **ret, struct cfs_err *err);
void cfs_serve_drop_client(struct cfs_serve *serve, struct cfs_leaser *leaser);

/* Somebody has let go of volumes that others may have wanted removed. */
void cfs_serve_sweep(struct cfs_serve *serve);
struct cfs_session *cfs_serve_session(struct cfs_serve *serve);
struct cfs_server *cfs_serve_server(struct cfs_serve *serve);
/* All addresses, separated by blanks; empty: it does not answer. */
const char *cfs_serve_address(const struct cfs_serve *serve);

/*
 * Where the socket of a pool is: "DIRECTORY/UUID.sock".  @run_directory: as
 * above.  -ENAMETOOLONG.
 */
int cfs_serve_socket(const char *run_directory, const uint8_t pool_uuid[16],
		     struct cfs_address *ret, struct cfs_err *err);
