/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the client over a connection (conn_lease.c) and the leases that it has
 * (conn_held.c) share. */
#pragma once

#include "lease/conn_lease.h"

#include "lease/period.h"

struct cfs_leaser {
	struct cfs_leaser_via via;
	struct cfs_leaser_hooks hooks;
	struct cfs_lease_client *client;
	struct cfs_conn *conn;        /* NULL: another way */
	struct cfs_lease_clock clock; /* over a connection */
	pthread_mutex_t lock;         /* over a connection */
	int status;                   /* of the hello: 1: none yet */
	struct cfs_err why;
	bool has_left; /* goodbye was answered */
};

static inline void leaser_lock(struct cfs_leaser *leaser)
{
	pthread_mutex_lock(leaser->via.lock);
}

static inline void leaser_unlock(struct cfs_leaser *leaser)
{
	pthread_mutex_unlock(leaser->via.lock);
}
