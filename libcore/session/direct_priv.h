/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of direct access share. */
#pragma once

#include "session/direct.h"
#include "session/direct_lock.h"
#include "session/direct_msg.h"
#include "session/io_ops.h"
#include "session/session_priv.h"
#include "tree/container_client.h"
#include "volume/vols.h"

/* A container that this process is a client of. */
struct direct_container {
	struct direct_container *next;
	struct cfs_direct *d;
	uint64_t id, client;
	unsigned int users; /* open volumes, and jobs */
	struct cfs_vols *vols;
	struct cfs_container *c;
	struct cfs_member m;     /* for calls that want one */
	bool is_lost;            /* atomic; why stands there before */
	struct cfs_err why_lost; /* with d->mutex */
	bool has_failed;         /* a fold or a sync did; atomic */
	pthread_mutex_t view_lock;
	uint64_t seen_grant; /* its view is of behind that */
	bool is_closed;      /* with d->mutex: its log was taken */
	/* With d->mutex: what the manager asks for. */
	uint64_t hold_serial; /* 0: nothing */
	bool must_return;
	uint64_t viewed_ns; /* when it had a new view */
	bool is_idle;       /* nothing was written since; atomic */
};

struct direct_volume {
	struct cfs_io_volume v;     /* first: see io_ops.h */
	struct direct_volume *next; /* of d->volumes */
	struct cfs_direct *d;
	struct direct_container *dc;
	uint64_t use;
	uint64_t id, ino, stamp;
	uint64_t size_bytes; /* atomic */
	struct cfs_view view;
	struct direct_tree *tree; /* NULL: a LUN */
	bool is_writable;
	/* Where nothing is left to be lent: through the manager, which finds
	 * the last blocks.  Opened when it is needed. */
	pthread_mutex_t forwarded_lock;
	struct cfs_io_volume *forwarded;
	char *name;
};

/* Who is asked. */
struct direct_place {
	char address[CFS_SEAT_ADDRESS_BYTES];
	uint32_t seat_epoch; /* of the manager, then */
	bool is_manager;     /* or who owns the container */
};

/* A connection to where it has gone, for what is forwarded. */
struct direct_remote {
	struct direct_remote *next;
	struct cfs_remote *r;
};

/* Of one container of a session: it may get another owner. */
struct cfs_direct {
	struct cfs_direct *next; /* of the session */
	char *name;              /* of the container, when it was
				  * opened first */
	uint64_t container;      /* 0: not known yet; atomic */
	struct cfs_session *s;
	struct cfs_devset *set;
	uint8_t pool_uuid[16];
	struct cfs_msg_hello hello;
	struct cfs_lease_name lender; /* lease_id 0: none */
	struct cfs_leaser *leaser;    /* its hooks: atomic */
	uint64_t lease_client;
	struct cfs_direct_locks *locks;

	pthread_mutex_t devices_lock; /* while the set follows the pool */
	pthread_rwlock_t link;        /* read: a call is under way */
	bool is_down;                 /* with the link written */
	struct direct_place place;    /* of its other end */
	bool is_lost;                 /* atomic; why stands there before */
	bool keeps_leases;            /* to the end of the period; atomic */

	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t changed;
	struct direct_container *containers;
	/* A hold that came for the one that is being opened. */
	uint64_t early_container, early_serial;
	struct direct_volume *volumes;
	pthread_t thread;
	bool has_thread, is_ending, is_gone;
	int failed; /* the first failure, for the close */
	struct cfs_err why;
	struct cfs_err why_lost; /* all of it */
	uint64_t next_use;
	struct direct_remote *remotes;

	/* Of trees; behind the leaser's lock. */
	pthread_mutex_t trees_lock;
	pthread_cond_t trees_changed;
	struct direct_tree *trees;
	struct cfs_direct_stats stats; /* atomic counters */
};

/* ---- direct_io.c --------------------------------------------------------- */

/* As cfs_direct_io_open; @use: a number that no other has or had. */
int direct_volume_open(struct cfs_direct *d, const char *volume,
		       const char *snap, bool is_writable, uint64_t use,
		       uint64_t wait_ns, struct cfs_io_volume **ret,
		       struct cfs_err *err);

/* ---- direct_link.c ------------------------------------------------------- */

/* Devices, connection, mark. */
int direct_connect(struct cfs_direct *d, struct cfs_err *err);
/* Devices were added, or have grown, since: know them too. */
int direct_follow_devices(struct cfs_direct *d, struct cfs_err *err);
void direct_disconnect(struct cfs_direct *d);
/*
 * Ask the manager, this one or the next; blocks until there is an answer or all
 * is lost (-ESTALE).  @reply is appended to; may be NULL.
 */
int direct_call(struct cfs_direct *d, uint16_t type,
		const struct cfs_direct_request *q, struct cfs_buf *reply,
		struct cfs_err *err);
int direct_acquire(void *d, const struct cfs_lease_request *req,
		   const struct cfs_conn_wait *wait, struct cfs_held **ret,
		   struct cfs_err *err);
/* Connect anew if the connection is gone. */
int direct_mend(struct cfs_direct *d, struct cfs_err *err);
/*
 * All leases are lost (@container 0), or those of one container.  @why in
 * words; what was lost before keeps its own.
 */
void direct_lose(struct cfs_direct *d, uint64_t container, const char *why);
void direct_lose_one(struct direct_container *dc, const char *why);
/* The same from the leaser's hook, which knows why. */
void direct_lost(void *d, uint64_t container);
/* -ESTALE, in words, for what direct_lose was told.  With d->mutex. */
void direct_say_lost(const struct cfs_err *why, struct cfs_err *err);
/* @r of an operation that failed; -ESTALE and why, if the lease is lost. */
int direct_why(struct direct_container *dc, int r, struct cfs_err *err);
void direct_failed(struct cfs_direct *d, const struct cfs_err *why);
/* The data of an OPEN: who we are. */
int direct_identity(struct cfs_direct *d, struct cfs_buf *buf);

/* ---- direct_where.c ------------------------------------------------------ */

/* Where the session says that it is; and who manages the pool. */
int direct_place_first(struct cfs_direct *d, struct direct_place *ret,
		       struct cfs_seat *ret_seat, struct cfs_err *err);
/* Where it is now.  -EBUSY: nobody can tell, or it is on its way. */
int direct_place_find(struct cfs_direct *d, struct direct_place *ret,
		      struct cfs_err *err);
/* It has gone elsewhere, whoever is silent at d->place.  With the link. */
bool direct_place_is_old(struct cfs_direct *d);
/* For what is forwarded. */
int direct_remote(struct cfs_direct *d, struct cfs_remote **ret,
		  struct cfs_err *err);
void direct_remotes_free(struct cfs_direct *d);

/* ---- direct_container.c -------------------------------------------------- */

/* The one that an OPEN named, with one more user. */
int direct_container_get(struct cfs_direct *d,
			 const struct cfs_direct_opened *o,
			 struct direct_container **ret, struct cfs_err *err);
void direct_container_put(struct direct_container *dc);
/* The end of all of them. */
void direct_containers_close(struct cfs_direct *d);
/* A request with a value; its own container and client. */
int direct_ask(struct direct_container *dc, uint16_t type, uint64_t value,
	       struct cfs_buf *reply, struct cfs_err *err);
/* -ESTALE, in words. */
int direct_is_lost(struct direct_container *dc, struct cfs_err *err);
/* A view behind the grant @grant, at least. */
int direct_look(struct direct_container *dc, uint64_t grant,
		struct cfs_err *err);
int direct_settle(void *d, uint64_t container);
void direct_note_failure(struct direct_container *dc,
			 const struct cfs_err *why);
/* It can fold no more, for @why: the owner reads its log.  0, or the error for
 * which it is not known whether it has. */
int direct_give_up(struct direct_container *dc, const struct cfs_err *why);

/* ---- direct_due.c -------------------------------------------------------- */

/* Notices of the manager, and what is due; the thread. */
void direct_notice(void *d, const void *msg, size_t bytes);
void *direct_run(void *d);
