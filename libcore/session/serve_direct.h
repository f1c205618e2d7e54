/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The manager's side of direct access (direct_msg.h): clients that read and
 * write the devices themselves.
 *
 * A client of the lease table has at most one client of each container, whose
 * record names it (the first eight bytes of the instance), so any manager knows
 * whose it is.  What it returns is taken if it holds the leases for it.
 *
 * When its period is over, or a lease of it is revoked, its logs are sealed
 * before anything passes on.  It is known to be gone by a goodbye, by its mark
 * on the devices (device/device.h) on pools that only one host sees, when its
 * host has another boot id, or by an operator's word; only then its loans come
 * back.  A killed one is found at once by its mark, and its period not waited
 * for.
 *
 * Reads and writes of LUNs by this process, for itself or for others, take the
 * same leases as long as others are answered, or there are such clients.
 *
 * Locks: the container's, then ours, then that of cfs_serve_lock; the hooks of
 * the owner, which are called with the last, only queue work for a thread.
 */
#pragma once

#include "lease/server.h"
#include "session/serve.h"

struct cfs_serve_direct;
struct cfs_member;

/* With the serve's owner made, and nobody connected: clients of a former
 * manager become known to it, or are found gone.  Sets the serve's hooks. */
int cfs_serve_direct_new(struct cfs_serve *serve,
			 const struct cfs_logger *logger,
			 struct cfs_serve_direct **ret, struct cfs_err *err);
/* No request runs any more.  What clients are left is the next manager's. */
void cfs_serve_direct_stop(struct cfs_serve_direct *sd);
void cfs_serve_direct_free(struct cfs_serve_direct *sd); /* or NULL */

/* Worker for CFS_DIRECT_TYPE_FIRST to _LAST; @arg: the cfs_serve_direct. */
int cfs_serve_direct_request(void *arg, struct cfs_server_request *request,
			     struct cfs_buf *reply, struct cfs_err *err);
/*
 * A container has come home: those of its clients who may still write are
 * known.  With @grace, they may come back in that, which begins now; else
 * (NULL) what they have synced is read in, as of those who are gone.  @sd NULL:
 * nobody is known.
 */
struct cfs_direct_grace {
	uint64_t container;
	uint32_t epoch; /* of its last owner */
	uint64_t grace_ns;
};
int cfs_serve_direct_adopt(struct cfs_serve_direct *sd, struct cfs_member *m,
			   const struct cfs_direct_grace *grace,
			   struct cfs_err *err);
/* The container is closed, or was another process's: what is known of its
 * object, and of locks that passed in it, is void.  @sd NULL: nothing. */
void cfs_serve_direct_forget(struct cfs_serve_direct *sd, uint64_t container);
/* Is any client of the container known? */
bool cfs_serve_direct_has_member(struct cfs_serve_direct *sd,
				 uint64_t container);
/*
 * @container is to get another owner (serve_direct_move.c), one at a time; for
 * each that has begun there is an end.  With the structure of requests for us
 * alone, but begin, which waits.  @sd NULL: there are no clients.
 * -EBUSY, in words.  check: it puts the container on hold, if it can go.
 */
int cfs_serve_direct_move_begin(struct cfs_serve_direct *sd, uint64_t container,
				struct cfs_err *err);
int cfs_serve_direct_move_check(struct cfs_serve_direct *sd,
				struct cfs_err *err);
/* How many go with it. */
uint64_t cfs_serve_direct_move_count(struct cfs_serve_direct *sd);
/* @has_hold: check was done; @m: it was closed and opened again, and stays; may
 * be NULL.  @ret_handed: those of whom only the lease table knows are added. */
struct cfs_handed_list;
void cfs_serve_direct_move_end(struct cfs_serve_direct *sd, bool has_hold,
			       bool is_done, struct cfs_member *m,
			       struct cfs_handed_list *ret_handed);
/* Some client may still write: the next manager has to look. */
bool cfs_serve_direct_has_clients(struct cfs_serve_direct *sd);
/*
 * Of a client of a former manager: has all that it has open been opened again?
 * Until then nothing keeps others from having that alone.
 */
bool cfs_serve_direct_is_back(struct cfs_serve_direct *sd, uint64_t client);
/* The same of all that work, or worked, in @container and have not ended. */
bool cfs_serve_direct_are_back(struct cfs_serve_direct *sd, uint64_t container);

/*
 * For a snapshot of these containers: every client folds what it has and begins
 * nothing; go_on lets them.  One that does not answer in 200 ms keeps nobody
 * waiting but us: the others go on, and it is all tried again when it has
 * answered, or was sealed.  @sd NULL: nothing.
 * -EINTR: @stop said so; @stop may be NULL.
 */
int cfs_serve_direct_hold(struct cfs_serve_direct *sd,
			  struct cfs_member *const *members, size_t count,
			  bool (*stop)(void *arg), void *arg,
			  struct cfs_err *err);
void cfs_serve_direct_go_on(struct cfs_serve_direct *sd);

/* ---- this process's own accesses ----------------------------------------- */

/* Others can ask for leases from now on, or can't any more.  Waits for our own
 * accesses that run. */
void cfs_serve_direct_answer(struct cfs_serve_direct *sd, bool answers);

struct cfs_direct_lock;

/* {0} is none. */
struct cfs_direct_access {
	struct cfs_serve_direct *sd;
	struct cfs_direct_lock *lock;
	bool has_gate;
};

/*
 * Before bytes of a LUN are read or written: *ret_bytes of them, at most
 * @length_bytes, may be.  @sd NULL: all.  Blocks while clients that have them
 * give them back.  Errors as cfs_direct_lock_get.
 */
int cfs_serve_direct_begin(struct cfs_serve_direct *sd,
			   const struct cfs_lock_resource *of, bool writes,
			   struct cfs_direct_access *ret, uint64_t *ret_bytes,
			   struct cfs_err *err);
void cfs_serve_direct_end(struct cfs_direct_access *access);

/* Leases that this process keeps on the bytes of a volume go, for somebody who
 * wants it alone. */
void cfs_serve_direct_drop(struct cfs_serve_direct *sd, uint64_t container,
			   uint64_t volume);

/*
 * A tree that this process uses itself, where others are answered: @inner,
 * which is taken, also on failure, under leases.  @of: the volume.  Closed by
 * close alone.
 */
struct cfs_beside_tree;
struct cfs_container;
struct cfs_fs;
struct cfs_view;
bool cfs_serve_direct_has_trees(const struct cfs_serve_direct *sd);
int cfs_serve_direct_tree_open(struct cfs_serve_direct *sd,
			       const struct cfs_lock_resource *of,
			       const struct cfs_view *view, bool writes,
			       struct cfs_fs *inner, struct cfs_fs **ret_fs,
			       struct cfs_beside_tree **ret,
			       struct cfs_err *err);
/* The same of one that was opened, by cfs_direct_fs_open without leases, before
 * others were answered. */
int cfs_serve_direct_tree_begin(struct cfs_serve_direct *sd,
				const struct cfs_lock_resource *of,
				const struct cfs_container *container,
				struct cfs_fs *fs, struct cfs_beside_tree **ret,
				struct cfs_err *err);
void cfs_serve_direct_tree_close(struct cfs_beside_tree *t);

/* ---- sessions that answer nobody ------------------------------------------
 */

/*
 * A pool was opened whose last holder had clients: what they have synced is to
 * be seen.  Of an overlay their logs are applied in memory; else those that are
 * gone are taken over, and those that may live are waited for, until their
 * period is over, and sealed.  -EINTR.
 */
int cfs_session_settle_clients(struct cfs_session *s, struct cfs_err *err);
