/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a holder is, for holder.c and, on shared pools, holder_shared*.c. */
#pragma once

#include "pool/devset_priv.h"
#include "pool/shared.h"

#include <pthread.h>

#define CFS_HOLDER_POLL_NS (50 * CFS_NS_PER_MS)

/* An epoch whose holder may still write. */
struct cfs_live_epoch {
	uint32_t epoch;
	uint32_t seat; /* its index */
	char host[CFS_SEAT_HOST_BYTES];
	uint8_t instance_uuid[16];
	bool is_gone; /* atomic: it cannot: only its plan counts */
	struct cfs_place plan[CFS_ROOT_PLACES_MAX];
};

struct cfs_shared;

struct cfs_holder {
	struct cfs_devset *set;
	struct cfs_holder_options opt;
	const struct cfs_identity_source *source;
	struct cfs_clock *clock;
	struct cfs_identity self;
	struct cfs_seat_record state;
	uint32_t lock_count;       /* indices seen to */
	bool is_dying;             /* the one that is locked
				    * by */
	struct cfs_shared *shared; /* NULL: not shared */
	struct cfs_holder *next;   /* live in this process */
};

/* Of a holder on a shared pool. */
struct cfs_shared {
	pthread_mutex_t lock;         /* of what follows */
	struct cfs_seat_table *table; /* as last read */
	struct cfs_seat_entry mine;
	uint32_t seat; /* its index */
	bool has_seat;
	bool is_alone;    /* the kernel's locks say so */
	bool is_dying;    /* the last holder is dead */
	bool has_watched; /* it may live, and was silent */
	uint32_t base_epoch;
	bool must_move;
	struct cfs_live_epoch *live;
	uint32_t live_count;
	/* Epochs that were decided for a seat that never came. */
	uint32_t lost_epoch;
	uint32_t lost_seat;
	uint64_t period_ns; /* of ours; T of R10 */
	uint64_t beat_ns;   /* atomic: begin of the last beat */
	bool is_lost;       /* atomic: the seat, or the epoch */
	pthread_t thread;
	pthread_cond_t wake;
	bool has_thread, ends;
};

/* holder.c */
void cfs_holder_live_add(struct cfs_holder *h);
void cfs_holder_live_drop(struct cfs_holder *h);
bool cfs_holder_live_has(const uint8_t instance_uuid[16]);
bool cfs_seat_is_of_host(const struct cfs_seat *seat,
			 const struct cfs_identity *self);
bool cfs_seat_is_of_process(const struct cfs_seat *seat,
			    const struct cfs_identity *self);
/* The field, for who comes behind @before: from the first who found clients
 * without a manager on. */
uint64_t cfs_seat_silent_ns(const struct cfs_seat *before,
			    const struct cfs_identity *self,
			    struct cfs_clock *clock);
int cfs_holder_check_labels(const struct cfs_holder *h, struct cfs_err *err);
void cfs_holder_unlock_all(struct cfs_holder *h);

/* seat_io.c: the error of a shared pool without any seat. */
int cfs_seat_none(const struct cfs_devset *set, struct cfs_err *err);
/* seat_recover.c: a seat made up for a pool of one host, that is no mirror, by
 * what stands in its slices; nothing is written.  -EUCLEAN. */
int cfs_seat_recover(const struct cfs_devset *set, struct cfs_seat_record *ret,
		     struct cfs_err *err);
/* holder_shared.c; for the functions of holder.h */
int cfs_shared_take(struct cfs_holder *h, struct cfs_err *err);
int cfs_shared_update(struct cfs_holder *h, const struct cfs_seat *seat,
		      struct cfs_err *err);
int cfs_shared_release(struct cfs_holder *h, bool clean, struct cfs_err *err);
void cfs_shared_free(struct cfs_holder *h);

/* holder_judge.c: what the seats say of others */
enum cfs_seat_judgement {
	CFS_SEAT_IS_GONE, /* it cannot write any more */
	CFS_SEAT_IS_DEAD, /* but what it wrote may be on its way */
	CFS_SEAT_MAY_LIVE,
};
enum cfs_seat_judgement cfs_shared_judge(const struct cfs_holder *h,
					 const struct cfs_seat *seat);
/* 0: the pool can be taken, as epoch *ret_epoch; -EBUSY. */
int cfs_shared_may_take(struct cfs_holder *h, uint32_t *ret_epoch,
			struct cfs_err *err);
/* Has anybody a ballot above ours?  -ESTALE.  The second one reads the seats
 * before. */
int cfs_shared_look_back(struct cfs_holder *h, struct cfs_err *err);
int cfs_shared_look_again(struct cfs_holder *h, struct cfs_err *err);
/* Behind our ballot and a look at the seats: has the one that we count as
 * silent not written since?  -EBUSY: it has. */
int cfs_shared_was_silent(struct cfs_holder *h, struct cfs_err *err);
/* Behind the decision: from which root we go on, and who may still write. */
int cfs_shared_learn(struct cfs_holder *h, struct cfs_seat *ret_base,
		     struct cfs_err *err);

/* holder_seat.c: having a seat */
int cfs_shared_sit_down(struct cfs_holder *h, struct cfs_err *err);
/* Seats of this host, or of one that an operator called gone, that nobody
 * needs: free again. */
void cfs_shared_tidy(struct cfs_holder *h);
/* One of these, as the table has it.  -EBUSY: another instance has taken it up
 * since. */
int cfs_shared_free_seat(struct cfs_holder *h, uint32_t index,
			 struct cfs_err *err);
/* Write our seat; table and mine are locked by the caller. */
int cfs_shared_store(struct cfs_holder *h, struct cfs_err *err);
