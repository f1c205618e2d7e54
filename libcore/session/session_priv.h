/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of a session share. */
#pragma once

#include "pool/devset.h"
#include "pool/holder.h"
#include "pool/shared.h"
#include "session/session.h"
#include "volume/pool.h"
#include "volume/volume.h"

#include <pthread.h>

struct cfs_remote;
struct cfs_use;
struct cfs_open_tree;
struct cfs_making;
struct cfs_serve;
struct cfs_leaser;
struct cfs_serve_direct;
struct cfs_direct;

struct cfs_secondary;
struct cfs_refer;
struct cfs_mover;

/* How far it is, for those who ask. */
struct cfs_moving {
	bool is_on;
	uint32_t device; /* that slices leave; CFS_POOL_NO_DEVICE: none */
	uint64_t done_slices, total_slices;
};

struct cfs_session {
	struct cfs_session_options opt;
	/* Another process holds the pool, and all is asked of it; what follows
	 * is empty then. */
	struct cfs_remote *remote;
	/* A dry run beside the one who holds the pool, which holds its commits
	 * back as long as this is open; there is no holder then. */
	struct cfs_remote *beside;
	struct cfs_devset *set;
	struct cfs_holder *holder;
	uint64_t seat_period_ns;       /* shared pools: silent for so long */
	struct cfs_holder_watch watch; /* of the one before, on shared pools */
	/* Where the one before answered, whose clients may have leases. */
	char former_address[CFS_SEAT_ADDRESS_BYTES];
	bool steps_back;       /* rather than wait for those (open_grace.c) */
	uint64_t grace_end_ns; /* for them, until then; 0: not */
	bool was_told;         /* so */
	struct cfs_seat seat;
	pthread_mutex_t seat_lock; /* of seat and holder, once open */
	struct cfs_pool *pool;
	pthread_mutex_t lock;        /* of these lists */
	struct cfs_use *uses;        /* serve_use.c */
	struct cfs_open_tree *trees; /* io_local.c */
	struct cfs_making *making;   /* volumes.c */
	/* serve_lease.c; the lock is taken behind the other one. */
	pthread_mutex_t users_lock;
	pthread_cond_t users_changed;
	unsigned int users_waiting; /* for leases, without the lock */
	bool ends_queue;            /* they give up; atomic */
	struct cfs_serve *serve;    /* NULL: nobody is answered */
	struct cfs_leaser *users;   /* NULL: no lease was needed yet */
	struct cfs_leaser *lockers; /* io_lock.c: likewise */
	/* Clients that use the devices beside us; NULL: nobody can. */
	struct cfs_serve_direct *beside_us;
	/* Where we do that beside the one who holds the pool; made when it is
	 * wanted first. */
	struct cfs_direct *direct;
	bool is_forwarded;       /* it was tried, and cannot be */
	unsigned int busy_count; /* nobody answered when it was */
	char *path;              /* of the pool, as it was opened */
	uint64_t asked_epoch;    /* of the manager that is asked (silence.h) */
	/* Of one container only, of a pool that another process manages. */
	struct cfs_secondary *secondary;
	/* Sessions of containers that others serve (refer.h); and of such a
	 * one, where those are. */
	struct cfs_refer *refers;
	pthread_mutex_t refer_lock; /* of that list */
	char *at_address;
	/* Of requests: held to write by those who change what there is; NULL:
	 * nobody comes (serve_rpc.c). */
	pthread_rwlock_t *structure;
	/* Slices are moved by one at a time: devices_move.c. */
	pthread_mutex_t move_lock;
	struct cfs_moving moving; /* under s->lock */
	struct cfs_mover *mover;  /* in the background; NULL: none */
};

/* The object alone, with nothing open; and its end, where nothing is that
 * anybody would have to know of. */
struct cfs_session *cfs_session_object_new(
	const struct cfs_session_options *opt);
void cfs_session_object_free(struct cfs_session *s); /* or NULL */

/*
 * What this process itself does with what it has, while it answers others, is
 * done as their requests are (serve_rpc.c), or what it looks at would go away
 * under it: removed, or given to another process.  Never with a container
 * locked.  Who looks may look once more, in a callback or a request that comes
 * to it: readers need not wait for a writer who waits.
 *
 *	CFS_LOOK	beside others who look
 *	CFS_ALONE	it changes what there is, and nothing else runs
 *	CFS_PINNED	may take hours: counts as a user of the container of
 *			VOLUME (NULL: of all), and runs beside everything
 */
void cfs_session_look(struct cfs_session *s);
void cfs_session_be_alone(struct cfs_session *s);
void cfs_session_leave(struct cfs_session *s); /* the reverse of both */
#define CFS_LOOK(S, CALL)                                                      \
	__extension__({                                                        \
		cfs_session_look(S);                                           \
		int done_ = (CALL);                                            \
		cfs_session_leave(S);                                          \
		done_;                                                         \
	})
#define CFS_ALONE(S, CALL)                                                     \
	__extension__({                                                        \
		cfs_session_be_alone(S);                                       \
		int done_ = (CALL);                                            \
		cfs_session_leave(S);                                          \
		done_;                                                         \
	})
/* *ret may be NULL; to be given to cfs_serve_volume_leave. */
int cfs_session_pin(struct cfs_session *s, const char *volume,
		    struct cfs_use **ret, struct cfs_err *err);
#define CFS_PINNED(S, VOLUME, ERR, CALL)                                       \
	__extension__({                                                        \
		struct cfs_use *pin_ = NULL;                                   \
		int done_ = cfs_session_pin(S, VOLUME, &pin_, ERR);            \
		if (done_ == 0)                                                \
			done_ = (CALL);                                        \
		cfs_serve_volume_leave(S, pin_);                               \
		done_;                                                         \
	})

/* A volume by its name "NAME" or "NAME/CLONE". */
struct cfs_named {
	struct cfs_member *member;
	uint64_t id;
	struct cfs_volume_rec rec;
};
int cfs_session_find(struct cfs_session *s, const char *volume,
		     struct cfs_named *ret, struct cfs_err *err);
/* A container that is being made is there for who makes it, and for nobody
 * else. */
bool cfs_session_may_see(struct cfs_session *s, const struct cfs_member *m);
void cfs_session_forget_making(struct cfs_session *s);
/* "NAME" or "NAME/CLONE" of a volume; @buf: 260 bytes. */
void cfs_session_name(const struct cfs_member *m,
		      const struct cfs_volume_rec *rec, char *buf);
/* How long bytes and files are waited for; 0: without limit.  Who waits for
 * nobody waits for the answer: a busy manager takes its time to give what is
 * free, and so does a client that gives back what it only keeps. */
static inline uint64_t cfs_session_patience(const struct cfs_session *s)
{
	if (!s->opt.gives_up)
		return 0;
	return CFS_MAX(s->opt.wait_seconds, 1u) * UINT64_C(1000000000);
}
/* Write what s->seat says; who changes it holds s->seat_lock meanwhile, and
 * calls the other one. */
int cfs_session_store_seat(struct cfs_session *s, struct cfs_err *err);
int cfs_session_store_seat_locked(struct cfs_session *s, struct cfs_err *err);
/* -EROFS for a session that was opened to read. */
int cfs_session_may_write(const struct cfs_session *s, struct cfs_err *err);
int cfs_session_set_limit(struct cfs_session *s, const char *volume,
			  uint64_t limit_bytes, struct cfs_err *err);
int cfs_session_set_provision(struct cfs_session *s, const char *volume,
			      uint64_t bytes, struct cfs_err *err);
int cfs_session_set_checked(struct cfs_session *s, const char *volume,
			    bool is_checked, struct cfs_err *err);
/* A device to be added: open as the set's others are. */
int cfs_session_open_new_device(struct cfs_session *s, const char *path,
				struct cfs_dev **ret, struct cfs_err *err);
/* Blocks in the bad-block table of a container. */
int cfs_session_bad_count(struct cfs_container *c, uint64_t *ret,
			  struct cfs_err *err);

/* open.c: since when nobody has renewed leases of a former manager's clients, as
 * far as known, by the clock of the system. */
uint64_t cfs_session_silent_ns(const struct cfs_session *s);
/* open_grace.c: may anybody still believe in a lease of a former manager? */
bool cfs_session_may_have_leases(const struct cfs_session *s);
/* -EBUSY: who has them is waited for until @end_ns. */
int cfs_session_still_in_grace(uint64_t end_ns, struct cfs_err *err);
/* There may be others than those that are listed, until now. */
int cfs_session_note_unknown(struct cfs_session *s, struct cfs_err *err);
/* Nobody has anything of a former manager any more. */
int cfs_session_forget_former(struct cfs_session *s, struct cfs_err *err);
/* What @pool is waited for, since @begin_ns, is said once it takes a while. */
void cfs_session_tell_grace(struct cfs_session *s, const char *pool,
			    uint64_t begin_ns);
/* A shared pool that cannot be taken over from many silent hosts more. */
void cfs_session_warn_takeovers(const struct cfs_session *s);
/* Let go of the pool as it was found. */
void cfs_session_step_back(struct cfs_session *s);
/* Is there any use in taking @set's pool again?  NULL: not known. */
bool cfs_session_grace_is_on(struct cfs_session *s,
			     const struct cfs_devset *set);
/* However short leases are, a disk may be slow for as long. */
#define CFS_SEAT_PERIOD_NS_MIN CFS_NS_PER_S
/* The settings say another lease period; does nothing where the pool is not
 * shared. */
int cfs_session_follow_period(struct cfs_session *s, struct cfs_err *err);
