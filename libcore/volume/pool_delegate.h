/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Containers that are owned by another process than the primary: a secondary,
 * which opens the container under an epoch of its own and serves it.
 *
 * At the primary.  Delegating: the container is closed (its root says all);
 * one frame of container 0 has the DELEGATION record and the epoch in the
 * record of the container; behind the flush, and the look at the gravestone,
 * nobody of this or a later epoch opens it.
 *
 *	crash before the frame		-> it is the primary's, at rest
 *	crash behind it			-> it is the secondary's; the next
 *					   primary leaves it there
 *
 * It comes home when the secondary returns it or is known to be gone: one
 * frame, and whoever opens it then goes on in place, with what its log says.
 * When it is only silent it is sealed: that is durable first, and then it is
 * opened as after a silent host (tree/container_takeover.h): gravestone, new
 * places, what was on loan frozen, until the secondary is gone.
 *
 * At the secondary.  A pool with that one container, on the same devices, whose
 * container 0 is a copy in memory of the few records that matter.  Slices are
 * asked of the primary, which has lent them durably before it answers, and go
 * back to it.  Nothing that stands in the pool's tables can be changed there.
 *
 * Thread safety: any, but open.
 */
#pragma once

#include "base/buf.h"
#include "base/vec.h"
#include "ondisk/delegation.h"
#include "volume/pool.h"

struct cfs_delegation {
	uint64_t container;
	uint32_t epoch;
	struct cfs_delegation_rec rec;
	char name[CFS_NAME_BYTES];
};

struct cfs_lent_slice {
	uint64_t lslice;
	struct cfs_piece pieces[CFS_PIECES_MAX];
};

struct cfs_lent_slices {
	CFS_VEC(struct cfs_lent_slice) list;
	uint64_t free_slices, total_slices; /* of the pool, then */
};

/* What a secondary has to know. */
struct cfs_pool_grant {
	uint64_t container;
	uint32_t epoch;
	struct cfs_container_rec rec;
	struct cfs_pool_rec pool;
	struct cfs_lent_slices slices; /* all it has */
	CFS_VEC(struct cfs_device_rec) devices;
};
void cfs_pool_grant_donep(struct cfs_pool_grant *grant);
void cfs_lent_slices_donep(struct cfs_lent_slices *slices);

/* As bytes of a message; appends.  -ENOMEM. */
int cfs_pool_grant_pack(const struct cfs_pool_grant *grant,
			struct cfs_buf *buf);
/* -EUCLEAN, -ENOMEM.  @ret is empty before, and to be freed. */
int cfs_pool_grant_unpack(const void *data, size_t bytes,
			  struct cfs_pool_grant *ret, struct cfs_err *err);
int cfs_lent_slices_pack(const struct cfs_lent_slices *slices,
			 struct cfs_buf *buf);
int cfs_lent_slices_unpack(const void *data, size_t bytes,
			   struct cfs_lent_slices *ret, struct cfs_err *err);

/* ---- at the primary ------------------------------------------------------ */

typedef int (*cfs_delegation_each_fn)(void *arg, const struct cfs_delegation *d,
				      struct cfs_err *err);
/* All records, by container. */
int cfs_pool_delegations(struct cfs_pool *pool, cfs_delegation_each_fn each,
			 void *arg, struct cfs_err *err);
/* The one that is held.  -ENOENT without @err: there is none. */
int cfs_pool_delegation_find(struct cfs_pool *pool, uint64_t container,
			     struct cfs_delegation *ret, struct cfs_err *err);

/*
 * Delegate a container, with some free slices, to @who.  @m is used by nobody,
 * and not there any more behind this, also if it fails.
 * @rec: who, since, address, and whether its clients go with it; the rest is
 * filled in.  -EBUSY: it has clients that may write, and do not.
 */
int cfs_pool_delegate(struct cfs_pool *pool, struct cfs_member *m,
		      const struct cfs_delegation_rec *rec,
		      unsigned int spare_slices, uint32_t *ret_epoch,
		      struct cfs_err *err);
/* What stands about one that is held.  -ESTALE: it is not. */
int cfs_pool_delegation_grant(struct cfs_pool *pool, uint64_t container,
			      uint32_t epoch, struct cfs_pool_grant *ret,
			      struct cfs_err *err);
/* Store another address, identity or mark of clients.  -ESTALE. */
int cfs_pool_delegation_update(struct cfs_pool *pool, uint64_t container,
			       uint32_t epoch,
			       const struct cfs_delegation_rec *rec,
			       struct cfs_err *err);
/* It writes no more: it has closed the container, or is known to be gone.
 * 0 too if there is no such delegation. */
int cfs_pool_delegation_end(struct cfs_pool *pool, uint64_t container,
			    uint32_t epoch, struct cfs_err *err);
/* It may write, and is taken over when the container is opened next. */
int cfs_pool_delegation_seal(struct cfs_pool *pool, uint64_t container,
			     uint32_t epoch, struct cfs_err *err);
/* More slices, durably lent: at least one.  -ENOSPC, -ESTALE. */
int cfs_pool_delegation_lend(struct cfs_pool *pool, uint64_t container,
			     uint32_t epoch, unsigned int count,
			     struct cfs_lent_slices *ret, struct cfs_err *err);
/* One that is empty comes back.  0 too if it is not lent any more. */
int cfs_pool_delegation_take(struct cfs_pool *pool, uint64_t container,
			     uint32_t epoch, uint64_t lslice,
			     struct cfs_err *err);

/* Close a container that is open and used by nobody, so that whoever opens it
 * takes over what is free to be had.  @m is not there any more. */
int cfs_pool_member_close(struct cfs_pool *pool, struct cfs_member *m,
			  struct cfs_err *err);

/* ---- at the secondary ---------------------------------------------------- */

/* How the primary is asked; called with locks of containers held. */
struct cfs_pool_lender {
	int (*more)(void *ctx, unsigned int count, struct cfs_lent_slices *ret,
		    struct cfs_err *err);
	int (*give)(void *ctx, uint64_t lslice, struct cfs_err *err);
	/* Does our lease of the container run?  No I/O. */
	bool (*may_ack)(void *ctx);
	void *ctx;
};

/*
 * The pool of a secondary on @set, which outlives it; the container is opened
 * by cfs_pool_member, as elsewhere.  @lender is copied.
 */
int cfs_pool_open_delegated(struct cfs_devset *set,
			    const struct cfs_pool_grant *grant,
			    const struct cfs_pool_lender *lender,
			    const struct cfs_pool_options *opt,
			    struct cfs_pool **ret, struct cfs_err *err);
/* Of such a pool: its container; 0: it is another. */
uint64_t cfs_pool_delegated_id(const struct cfs_pool *pool);
