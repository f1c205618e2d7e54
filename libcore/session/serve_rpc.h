/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The manager's side of session requests (rpc.h): what a service puts between
 * its workers and the session.
 *
 * A peer is a connection.  What it opens belongs to it: volumes by handles,
 * open inodes by counts, volumes that are being filled.  When it has ended all
 * of that is closed, and a volume that was not finished is removed, as the next
 * opener does after a crash.
 *
 * Peers are not trusted.  Each field is checked where it is used; handles and
 * open inodes are looked up among those of the peer alone; memory for a peer
 * is bounded: requests under way by the service, handles, inodes and what is
 * being put together here.
 *
 * Requests that change the structure (CFS_RPC_ALONE) run alone, others side by
 * side; reads and writes of what is open wait for neither, since what is open
 * stays (serve_use.h).
 */
#pragma once

#include "lease/server.h"
#include "session/session.h"

struct cfs_serve_rpc;

/* @session holds its pool and outlives this. */
int cfs_serve_rpc_new(struct cfs_session *session, struct cfs_serve_rpc **ret,
		      struct cfs_err *err);
/* No request runs any more.  Closes what peers have left.  NULL is allowed. */
void cfs_serve_rpc_free(struct cfs_serve_rpc *rpc);

/* Worker for types CFS_RPC_TYPE_FIRST to _LAST; @arg: the cfs_serve_rpc. */
int cfs_serve_rpc_request(void *arg, struct cfs_server_request *request,
			  struct cfs_buf *reply, struct cfs_err *err);
/* Somebody has let go of volumes: what was left to be removed may go now. */
void cfs_serve_rpc_sweep(struct cfs_serve_rpc *rpc);
/* In a worker: the peer is gone, and none of its requests runs. */
void cfs_serve_rpc_ended(struct cfs_serve_rpc *rpc, uint64_t peer);
