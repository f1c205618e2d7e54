/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Locks of programs on files: leases on numbers that no inode has, so that they
 * stand against nothing but each other.  They are leases of a client of their
 * own: in the process that holds the pool by calls, through another process
 * over a connection; only where that has leases for its accesses anyhow
 * (direct.h) they are among those.
 */
#include "session/io_lock.h"

#include "lease/conn_lease.h"
#include "session/io_ops.h"
#include "session/lease.h"
#include "session/serve.h"
#include "session/session_priv.h"

#include <string.h>

#define ANSWER_MS 2000u

static const char client_name[] = "locks of files";

/* ---- whose ----------------------------------------------------------------
 */

static int join(struct cfs_session *s, struct cfs_err *err)
{
	struct cfs_manager_info info;
	int r = cfs_manager_find(s->path, &s->opt, &info, err);

	if (r == 0)
		r = cfs_manager_join(&info, client_name, 0, NULL, &s->opt,
				     ANSWER_MS, &s->lockers, err);
	return r;
}

static int make_client(struct cfs_session *s, struct cfs_err *err)
{
	struct cfs_lease_client_config config = { .cached_max = 0 };

	if (s->lockers)
		return 0;
	if (s->remote)
		return join(s, err);
	if (!s->serve)
		return cfs_err_set(err, -ENOTSUP, "nobody is asked for leases");
	memcpy(config.hello.name, client_name, sizeof(client_name));
	return cfs_serve_add_client(s->serve, &config, NULL, NULL, &s->lockers,
				    err);
}

/* A manager that has ended takes its clients' leases with it here: the next
 * lock is asked of the next one. */
static int acquire(struct cfs_io_volume *v, const struct cfs_lease_request *req,
		   const struct cfs_conn_wait *wait, struct cfs_held **ret,
		   struct cfs_err *err)
{
	struct cfs_session *s = v->s;
	struct cfs_leaser *leaser;
	int r;

	pthread_mutex_lock(&s->users_lock);
	r = make_client(s, err);
	leaser = s->lockers;
	pthread_mutex_unlock(&s->users_lock);
	return r < 0 ? r : cfs_leaser_acquire(leaser, req, wait, ret, err);
}

/* ---- one lock -------------------------------------------------------------
 */

static int place_of(struct cfs_io_volume *v, struct cfs_volume_place *ret,
		    struct cfs_err *err)
{
	struct cfs_volume_place place = { .volume = 0 };
	int r = 0;

	pthread_mutex_lock(&v->s->users_lock);
	*ret = v->place;
	pthread_mutex_unlock(&v->s->users_lock);
	if (ret->volume)
		return 0;
	r = cfs_session_place_find(v->s, v->name, NULL, &place, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&v->s->users_lock);
	v->place = place;
	pthread_mutex_unlock(&v->s->users_lock);
	*ret = place;
	return 0;
}

int cfs_io_lock(struct cfs_io_volume *v, const struct cfs_io_lock_want *want,
		struct cfs_held **ret, struct cfs_err *err)
{
	const struct cfs_conn_wait wait = {
		.stop = want->stop,
		.arg = want->arg,
	};
	struct cfs_lease_request req = {
		.resource = {
			.ino = want->ino | (want->kind == CFS_IO_LOCK_BYTES ?
					    CFS_IO_LOCK_BYTES_BIT :
					    CFS_IO_LOCK_FILE_BIT),
			.offset_bytes = want->offset_bytes,
			.length_bytes = want->length_bytes,
		},
		.mode = want->is_exclusive ? CFS_LOCK_X : CFS_LOCK_S,
		.flags = want->waits ? CFS_MSG_LOCK_WAIT : 0,
		.key = want->key,
	};
	struct cfs_volume_place place;
	int r;

	if (!v->name)
		return cfs_err_set(err, -ENOTSUP, "a snapshot has no locks");
	r = place_of(v, &place, err);
	if (r < 0)
		return r;
	req.resource.container = place.container;
	req.resource.volume = place.volume;
	return v->ops->acquire ? v->ops->acquire(v, &req, &wait, ret, err)
			       : acquire(v, &req, &wait, ret, err);
}

void cfs_io_unlock(struct cfs_held *held)
{
	cfs_leaser_release(held);
}
