/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Leases for tools: who manages a pool, what is held there, and leases of
 * one's own on volumes, files and ranges.
 *
 * All here goes over a connection to the manager, also when the manager is a
 * process that the caller has just started: so there is one way, and a lease
 * outlives the manager it was granted by (cfs_manager_rejoin).
 *
 * Nothing here takes the pool or writes to its devices; finding the manager
 * reads one page of the first of them.
 */
#pragma once

#include "base/buf.h"
#include "base/vec.h"
#include "lease/conn_lease.h"
#include "session/session.h"

/* ---- who ----------------------------------------------------------------- */

struct cfs_manager_info {
	uint8_t pool_uuid[16];
	bool is_held; /* somebody holds the pool; else what
		       * follows says who was the last */
	bool is_here; /* on this host */
	uint64_t epoch;
	uint64_t pid;
	char host[CFS_MSG_HOST_BYTES];
	/* Where it answers, separated by blanks; empty: it does not. */
	char address[256];
};

/*
 * As the pool's record says it, without waiting.  Of @opt: search, stop, arg.
 * Errors as of cfs_session_open, but not -EBUSY.
 */
int cfs_manager_find(const char *pool, const struct cfs_session_options *opt,
		     struct cfs_manager_info *ret, struct cfs_err *err);

/*
 * Who has a file of a tree for himself has to say so at the tree as a whole
 * (tree_locks.h), too: else whoever has all of it would not ask.  True: @res is
 * of a file, and *ret is what is asked for first, in *ret_mode.
 */
bool cfs_lease_whole_tree(const struct cfs_lock_resource *res, bool is_file,
			  uint32_t mode, struct cfs_lock_resource *ret,
			  uint32_t *ret_mode);
/* Is it one of those?  They say nothing by themselves. */
bool cfs_lease_is_intent(const struct cfs_lock_resource *res, uint32_t mode);

/*
 * What @info says of the manager becomes what there is to say of the process
 * that serves the container of @volume in its place, or (NULL) that gave
 * @client its number, if there is one.  The manager answers.  Errors as of
 * cfs_manager_connect; -EBUSY: it is on its way there, too.
 */
int cfs_manager_refer(struct cfs_manager_info *info, const char *volume,
		      uint64_t client, const struct cfs_session_options *opt,
		      unsigned int timeout_ms, struct cfs_err *err);

/* ---- looking on, and orders ---------------------------------------------- */

struct cfs_manager;

/*
 * Connect as one who looks on and holds nothing.
 * @name: what to be called there.  Of @opt: stop, arg.
 * -EBUSY: nobody answers; -EINTR; what it said.
 */
int cfs_manager_connect(const struct cfs_manager_info *info, const char *name,
			const struct cfs_session_options *opt,
			unsigned int timeout_ms, struct cfs_manager **ret,
			struct cfs_err *err);
/* As it was connected by. */
const struct cfs_manager_info *cfs_manager_info_of(const struct cfs_manager *m);
void cfs_manager_close(struct cfs_manager *m); /* NULL is allowed */
void cfs_manager_closep(struct cfs_manager **m);

/*
 * Those who serve a container in the place of the manager that @of is about: to
 * be freed with cfs_vec_done(&ret->v).  One that has no address is not there
 * yet, or not any more.
 */
struct cfs_manager_infos {
	CFS_VEC(struct cfs_manager_info) v;
};
int cfs_manager_owners(struct cfs_manager *m, const struct cfs_manager_info *of,
		       struct cfs_manager_infos *ret, struct cfs_err *err);

/*
 * What is held: one call a client, each followed by its leases.  @ret: the
 * numbers of the first page.  A value of @each that is not 0 ends it.
 * -ECONNRESET: the manager is gone.
 */
typedef int (*cfs_lease_record_fn)(void *arg,
				   const struct cfs_lease_record *record);
int cfs_manager_status(struct cfs_manager *m, cfs_lease_record_fn each,
		       void *arg, struct cfs_msg_status_head *ret,
		       struct cfs_err *err);

/*
 * Events from now on, until @each returns another value than 0, which is then
 * returned; -EINTR: stopped; -ECONNRESET: the manager is gone.  The first call
 * has no event (NULL): what happens from then on is told.
 */
typedef int (*cfs_lease_event_fn)(void *arg,
				  const struct cfs_lease_event *event);
int cfs_manager_watch(struct cfs_manager *m, cfs_lease_event_fn each, void *arg,
		      struct cfs_err *err);

/* For whoever knows the secret.  -ESTALE: it is lost, or revoked; -EREMOTE, as
 * of the two that follow: it was handed over with its container. */
int cfs_manager_renew(struct cfs_manager *m, const struct cfs_lease_name *name,
		      struct cfs_err *err);
/* -ENOENT: there is no such lease (any more). */
int cfs_manager_release(struct cfs_manager *m,
			const struct cfs_lease_name *name, struct cfs_err *err);
/* End a lease, or all of a client; the other one is 0.  -ENOENT. */
int cfs_manager_revoke(struct cfs_manager *m, uint64_t lease, uint64_t client,
		       struct cfs_err *err);
/* An operator's word that a client, or all of a host (@client 0), do not run
 * any more.  -ENOENT. */
int cfs_manager_gone(struct cfs_manager *m, uint64_t client, const char *host,
		     struct cfs_err *err);

/* ---- leases of one's own ------------------------------------------------- */

/*
 * Become a client.  @flags: CFS_HELLO_STANDING or 0.  @hooks may be NULL.
 * Errors as of cfs_manager_connect.  To be freed with cfs_leaser_free.
 */
int cfs_manager_join(const struct cfs_manager_info *info, const char *name,
		     uint32_t flags, const struct cfs_leaser_hooks *hooks,
		     const struct cfs_session_options *opt,
		     unsigned int timeout_ms, struct cfs_leaser **ret,
		     struct cfs_err *err);
/* The connection has broken: go on with this (perhaps new) manager, and
 * reclaim what is held.  Errors as above; may be tried again. */
int cfs_manager_rejoin(struct cfs_leaser *leaser,
		       const struct cfs_manager_info *info,
		       const struct cfs_session_options *opt,
		       unsigned int timeout_ms, struct cfs_err *err);

/*
 * Leave a lease standing, without giving it back: frees @held.  The client is
 * one with CFS_HELLO_STANDING, and is freed without a goodbye behind this.
 */
void cfs_leaser_forget(struct cfs_held *held);

/* ---- what a lease is on -------------------------------------------------- */

struct cfs_lease_place {
	const char *volume;
	const char *path; /* NULL: the whole volume */
	bool has_range;
	uint64_t offset_bytes;
	uint64_t length_bytes; /* not 0 */
};

/*
 * As the lock table names it.  A path is followed through symbolic links.
 * -ENOENT; -EINVAL: a path in a LUN, a range of a tree, or one that ends
 * behind 2^64.
 */
int cfs_session_lease_resource(struct cfs_session *s,
			       const struct cfs_lease_place *place,
			       struct cfs_lock_resource *ret,
			       struct cfs_err *err);

/* The reverse, for many: names that were asked for are kept. */
struct cfs_lease_names;

/* -ENOMEM. */
int cfs_lease_names_new(struct cfs_lease_names **ret, struct cfs_err *err);
void cfs_lease_names_free(struct cfs_lease_names *names);
void cfs_lease_names_freep(struct cfs_lease_names **names);
/*
 * The names of @resource, valid until free.  NULL: they cannot be told.
 * path is empty for a whole volume, for a LUN, and where there is none.
 */
const struct cfs_place_name *cfs_lease_names_find(
	struct cfs_lease_names *names, struct cfs_session *s,
	const struct cfs_lock_resource *resource);
