/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of serve_direct share. */
#pragma once

#include "session/direct_lock.h"
#include "session/direct_msg.h"
#include "session/serve_direct.h"
#include "session/serve_use.h"
#include "session/session_priv.h"
#include "session/tree_passes.h"
#include "tree/lend.h"

#define SERVE_STAGED_BYTES_MAX (UINT64_C(256) << 20) /* of all clients */

/* A use of a volume by a client. */
struct beside_use {
	struct beside_use *next;
	uint64_t number;
	/* NULL: of one who came back in the grace, when nothing is leased
	 * anew; it is entered behind that. */
	struct cfs_use *use;
	uint64_t container, volume, ino, stamp;
	uint16_t branch;
	bool writes;
	uint32_t kind;              /* enum cfs_volume_kind */
	struct cfs_tree_rules tree; /* of a copy, for a fold */
};

/* A client of a container. */
struct beside_member {
	struct beside_member *next;
	struct cfs_member *m;
	uint64_t id;     /* of the container's client */
	bool is_sealed;  /* or about to be: nothing is taken */
	bool is_settled; /* what it synced is in the container */
	bool is_new;     /* it has had no view yet */
	bool is_held;    /* it has answered the hold */
	uint8_t *staged;
	uint64_t staged_fold, staged_total, staged_bytes;
	pthread_mutex_t busy; /* one fold at a time */
	unsigned int users;   /* requests */
	bool is_dropped;      /* freed by the last of them */
};

/* A client of the lease table that has, or had, some of those. */
struct beside_client {
	struct beside_client *next;
	uint64_t id;   /* in the lease table */
	uint64_t peer; /* its connection; 0: none */
	struct cfs_use_actor actor;
	struct cfs_client_identity who;
	struct beside_use *uses;
	struct beside_member *members;
	pthread_mutex_t opening; /* one thing at a time */
	unsigned int users;      /* requests, jobs */
	bool has_ended;          /* the lease table knows it no more */
	bool is_lost;            /* its connection is; look for its mark */
	bool is_back;            /* with all that it had open */
	bool is_moving;          /* to another owner: see sd->moving */
	uint64_t look_ns, look_step_ns;
};

enum beside_job_kind { JOB_SEAL = 1, JOB_ENDED, JOB_GONE, JOB_ENTER };

struct beside_job {
	struct beside_job *next;
	enum beside_job_kind kind;
	uint64_t client;
	uint64_t lease; /* JOB_ENTER: number of the use */
	enum cfs_owner_end end;
	char host[CFS_MSG_HOST_BYTES];
	uint64_t at_ns; /* not before; for one that failed */
};

struct cfs_serve_direct {
	struct cfs_serve *serve;
	struct cfs_session *s;
	const struct cfs_logger *logger;
	bool is_shared; /* the kernel's locks say nothing */

	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t changed;
	struct beside_client *clients;
	struct beside_job *jobs;
	uint64_t staged_bytes;
	bool is_ending;
	pthread_t thread;
	bool has_thread;

	uint64_t moving;        /* a container that goes; 0: none */
	uint64_t moving_leased; /* clients that have only leases in it */
	unsigned int opening;   /* of whom it is not known where */
	bool is_holding;        /* a snapshot is being taken */
	uint64_t hold_serial;
	struct cfs_member *const *hold_members;
	size_t hold_count;

	/* Of our own accesses. */
	pthread_rwlock_t gate;
	bool answers;        /* leases can be asked for; atomic */
	unsigned int leased; /* our accesses under leases; atomic */
	unsigned int active; /* clients of containers; atomic */
	struct cfs_leaser *leaser;
	struct cfs_direct_locks *locks;

	/* Of trees; with the lock of the serve. */
	struct cfs_tree_passes *passes;
	struct beside_numbered *numbered;
	uint64_t generation;
};

/* ---- serve_direct.c ------------------------------------------------------ */

/* With the mutex. */
struct beside_client *beside_client_find(struct cfs_serve_direct *sd,
					 uint64_t id);
struct beside_client *beside_client_add(struct cfs_serve_direct *sd,
					uint64_t id);
struct beside_member *beside_member_add(struct cfs_serve_direct *sd,
					struct beside_client *c,
					struct cfs_member *m, uint64_t id);
struct beside_member *beside_member_find(struct beside_client *c,
					 uint64_t container, uint64_t id);
/* It may be freed if nothing is left of it. */
void beside_client_put(struct cfs_serve_direct *sd, struct beside_client *c);
void beside_member_drop(struct cfs_serve_direct *sd, struct beside_client *c,
			struct beside_member *dm);
/* The reverse of users++. */
void beside_member_put(struct beside_member *dm);
uint64_t beside_now(void);
void beside_queue(struct cfs_serve_direct *sd, const struct beside_job *job);

/* The lease on a volume that was not to be had in the grace.  -EBUSY: nor now;
 * 0 also for a use that is gone. */
int beside_enter(struct cfs_serve_direct *sd, struct beside_client *c,
		 uint64_t number, struct cfs_err *err);

/* ---- serve_direct_move.c ------------------------------------------------- */

/* Is it, or (@c NULL) somebody of whom nothing is known but that, refused for
 * now?  With the mutex. */
bool beside_is_moving(const struct cfs_serve_direct *sd,
		      const struct beside_client *c, uint64_t container);

/* ---- serve_direct_end.c -------------------------------------------------- */

/* Whose lease client a record is of. */
uint64_t beside_instance_id(const uint8_t instance[16]);
void beside_instance_set(uint8_t instance[16], uint64_t id);
/* Is it known that this one writes no more? */
bool beside_is_gone(struct cfs_session *s, bool is_shared, uint64_t lease_id,
		    const struct cfs_client_identity *who);
bool beside_set_is_shared(struct cfs_session *s);
/* The marks of the process with this number could be had, on all devices: it
 * has ended. */
bool beside_has_let_go(struct cfs_session *s, uint64_t number);
void *beside_run(void *sd);
/* All records of clients of all containers. */
typedef int (*beside_each_fn)(void *arg, struct cfs_member *m,
			      const struct cfs_client_info *info,
			      struct cfs_err *err);
int beside_each_client(struct cfs_session *s, beside_each_fn each, void *arg,
		       struct cfs_err *err);
/* May the client have changed this?  Rules for a fold: @ctx: beside_rules. */
struct beside_rules {
	struct cfs_serve_direct *sd;
	uint64_t client;
	uint64_t container;
	struct beside_use *uses; /* a copy; their use is NULL */
};
int beside_rules_of(struct cfs_serve_direct *sd, struct beside_client *c,
		    uint64_t container, struct beside_rules *ret,
		    struct cfs_err *err);
void beside_rules_donep(struct beside_rules *rules);
bool beside_may(void *ctx, uint16_t branch, uint64_t ino, uint64_t first,
		uint64_t count);

/* ---- serve_direct_fold.c ------------------------------------------------- */

/* One request of a client that exists; without the mutex. */
int beside_view(struct cfs_serve_direct *sd, struct beside_client *c,
		const struct cfs_direct_request *q,
		struct cfs_server_request *request, struct cfs_buf *reply,
		struct cfs_err *err);
int beside_lend(struct cfs_serve_direct *sd, struct beside_client *c,
		const struct cfs_direct_request *q,
		struct cfs_server_request *request, struct cfs_buf *reply,
		struct cfs_err *err);
int beside_lend_inos(struct cfs_serve_direct *sd, struct beside_client *c,
		     const struct cfs_direct_request *q, struct cfs_buf *reply,
		     struct cfs_err *err);
int beside_stage(struct cfs_serve_direct *sd, struct beside_client *c,
		 const struct cfs_direct_request *q, struct cfs_err *err);
int beside_fold(struct cfs_serve_direct *sd, struct beside_client *c,
		const struct cfs_direct_request *q,
		struct cfs_server_request *request, struct cfs_buf *reply,
		struct cfs_err *err);

/* ---- serve_direct_hold.c ------------------------------------------------- */

int beside_held(struct cfs_serve_direct *sd, struct beside_client *c,
		const struct cfs_direct_request *q, struct cfs_err *err);
/* May it have a view?  Not while those of its container are being held. */
bool beside_may_look(struct cfs_serve_direct *sd, struct beside_member *dm);
/* With the mutex. */
void beside_notice(struct cfs_serve_direct *sd, const struct beside_client *c,
		   uint16_t type, uint64_t container, uint64_t value);

/* ---- serve_direct_local.c ------------------------------------------------ */

int beside_local_init(struct cfs_serve_direct *sd, struct cfs_err *err);
void beside_local_stop(struct cfs_serve_direct *sd);
void beside_local_done(struct cfs_serve_direct *sd);

/* ---- serve_direct_tree.c ------------------------------------------------- */

int beside_trees_init(struct cfs_serve_direct *sd, struct cfs_err *err);
void beside_trees_done(struct cfs_serve_direct *sd);
/* Generations of its leases are numbers of its commits, from here on. */
int beside_tree_number(struct cfs_serve_direct *sd, uint64_t id,
		       const struct cfs_container *container,
		       struct cfs_err *err);
uint64_t beside_generation(void *sd, uint64_t client,
			   const struct cfs_lock_resource *resource,
			   uint32_t mode);
bool beside_tree_may(const struct beside_rules *rules, struct beside_use *u,
		     uint64_t ino);
