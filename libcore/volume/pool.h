/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An open pool, as its primary sees it: the devices, the pool's own container
 * (id 0) with the tables of devices, slices, slice maps and containers, and
 * the containers that are open.
 *
 * The slice maps of all containers live in the pool's own container, beside
 * the slice table: one record set, one frame, so that a slice is never free in
 * one table and mapped in the other.  Its own map stands in its root.
 *
 * Order of writes when a slice is lent: header of the new life, flush, then
 * SLICE and SMAP records in one frame, flush; only then is it used.  When it
 * comes back: the container's commit that emptied it, and the one behind that,
 * are durable; discard; SMAP removed and SLICE free in one frame, flush; header
 * of the next life, free.  A crash in between leaves a slice that is empty but
 * still lent, or a header that is older than the tables, which win.
 *
 * Thread safety: all functions may be called from any thread, but open and
 * close.  Locks: pool list lock, then a container's lock, then that of
 * container 0.
 */
#pragma once

#include "ondisk/table.h"
#include "pool/devset.h"
#include "tree/container.h"

struct cfs_pool;
struct cfs_holder;

struct cfs_pool_options {
	const char *name;          /* format: label, or NULL */
	uint64_t cache_bytes;      /* 0: 64 MiB */
	bool was_clean;            /* as the seat said */
	struct cfs_holder *holder; /* of a shared pool: outlives it */
	void (*warn)(void *arg, const char *line);
	void *arg;
};

/*
 * Make the pool's own container on a labelled set: its first two slices,
 * tables of devices.  Sets the places of its root, for the seat.
 */
int cfs_pool_make(struct cfs_devset *set, const struct cfs_pool_options *opt,
		  struct cfs_place ret_roots[CFS_ROOT_PLACES_MAX],
		  struct cfs_err *err);

/*
 * Open it from the places that the seat names.  @set stays the caller's and
 * outlives the pool.  Unfinished containers are removed, deletions that were
 * broken off go on, unless the set is an overlay.
 */
int cfs_pool_open(struct cfs_devset *set, uint32_t epoch,
		  const struct cfs_place roots[CFS_ROOT_PLACES_MAX],
		  const struct cfs_pool_options *opt, struct cfs_pool **ret,
		  struct cfs_err *err);
/* cfs_container_rest_locked, of all that are open; none is locked. */
void cfs_pool_rest(struct cfs_pool *pool);
/* Close all containers, committing them.  The first failure is returned. */
int cfs_pool_close(struct cfs_pool *pool, struct cfs_err *err);
/* Forget everything without a write: a crash (tests). */
void cfs_pool_drop(struct cfs_pool *pool);

struct cfs_devset *cfs_pool_devset(struct cfs_pool *pool);
struct cfs_container *cfs_pool_container0(struct cfs_pool *pool);
uint32_t cfs_pool_epoch(const struct cfs_pool *pool);
/*
 * Of a shared pool: from how many hosts more, that are silent and not known to
 * be gone, it can be taken over; what the root of the pool's own container can
 * name sets the end.  Elsewhere 0.
 */
unsigned int cfs_pool_takeovers_left(struct cfs_pool *pool);
int cfs_pool_rec_get(struct cfs_pool *pool, struct cfs_pool_rec *ret,
		     struct cfs_err *err);
int cfs_pool_rec_set(struct cfs_pool *pool, const struct cfs_pool_rec *rec,
		     struct cfs_err *err);

/* ---- containers ---------------------------------------------------------- */

struct cfs_vols;

/* An open container with its volumes; kept open until the pool closes. */
struct cfs_member {
	struct cfs_pool *pool;
	uint64_t id;
	struct cfs_container_rec rec;
	struct cfs_container *container;
	struct cfs_vols *vols;
	bool is_finished; /* work that a crash broke off was
			   * looked for */
};

/* By name, or by id.  -ENOENT; -EUCLEAN and the like: it can't be opened (the
 * others can). */
int cfs_pool_member(struct cfs_pool *pool, const char *name,
		    struct cfs_member **ret, struct cfs_err *err);
int cfs_pool_member_by_id(struct cfs_pool *pool, uint64_t id,
			  struct cfs_member **ret, struct cfs_err *err);
/* All records, in the order of names; those being made or deleted too. */
typedef int (*cfs_container_each_fn)(void *arg, uint64_t id,
				     const struct cfs_container_rec *rec,
				     struct cfs_err *err);
int cfs_pool_containers(struct cfs_pool *pool, cfs_container_each_fn each,
			void *arg, struct cfs_err *err);

/*
 * For rebuild: what a container is opened with, its slices mapped, without
 * hooks; config->mv is the caller's.  -ENOENT; -EBUSY: it is open.
 */
struct cfs_container_config;
int cfs_pool_container_config(struct cfs_pool *pool, uint64_t id,
			      struct cfs_container_config *ret,
			      struct cfs_container_rec *ret_rec,
			      struct cfs_err *err);

/* Make a container (state MAKING or LIVE) without any volume in it yet. */
int cfs_pool_container_make(struct cfs_pool *pool, const char *name,
			    uint32_t kind, uint64_t limit_bytes, uint32_t state,
			    struct cfs_member **ret, struct cfs_err *err);
/* Store a changed record (name, state, limit). */
int cfs_pool_container_update(struct cfs_pool *pool, struct cfs_member *m,
			      const struct cfs_container_rec *rec,
			      struct cfs_err *err);
/* Give all its slices back and forget it.  @m is freed.  -EBUSY: it has
 * clients. */
int cfs_pool_container_remove(struct cfs_pool *pool, struct cfs_member *m,
			      struct cfs_err *err);

/* ---- slices -------------------------------------------------------------- */

struct cfs_slice_counts {
	uint64_t total, used, free, frozen, bad;
	uint64_t kept;   /* of all: free ones that only takeovers get */
	uint64_t usable; /* logical slices that there can be more */
};
/* Of one device, or of all (UINT32_MAX). */
int cfs_pool_slice_counts(struct cfs_pool *pool, uint32_t device_index,
			  struct cfs_slice_counts *ret, struct cfs_err *err);
typedef int (*cfs_slice_rec_each_fn)(void *arg, uint32_t device_index,
				     uint64_t slice_index,
				     const struct cfs_slice_rec *rec,
				     struct cfs_err *err);
/* Every slice with a record; locks container 0 meanwhile. */
int cfs_pool_slices(struct cfs_pool *pool, cfs_slice_rec_each_fn each,
		    void *arg, struct cfs_err *err);
/*
 * The container has room for @bytes, data, metadata and log, from now on,
 * whatever others take; what it uses already counts.  0: no longer.
 * -ENOSPC: with the bytes that lack; -EINVAL: more than its limit.
 */
int cfs_pool_provision(struct cfs_pool *pool, struct cfs_member *m,
		       uint64_t bytes, struct cfs_err *err);
/* Return the empty slices of a container to the pool, but for those that it is
 * to have at hand. */
int cfs_pool_reclaim(struct cfs_pool *pool, struct cfs_member *m,
		     uint64_t *ret_slices, struct cfs_err *err);
/*
 * Write a block of data elsewhere, whose newest version stands at @vaddr under
 * @tag and is seen by no snapshot; no lock held.  -EBUSY: it is not so, or
 * clients may write it; as a write else.
 */
struct cfs_tag;
int cfs_pool_move_block(struct cfs_member *m, uint64_t vaddr,
			const struct cfs_tag *tag, struct cfs_err *err);
/* Discard the free slices of the pool.  @ret_bytes. */
int cfs_pool_discard_free(struct cfs_pool *pool, uint64_t *ret_bytes,
			  struct cfs_err *err);
/* Devices: records of container 0. */
int cfs_pool_device_rec(struct cfs_pool *pool, uint32_t index,
			struct cfs_device_rec *ret, struct cfs_err *err);
int cfs_pool_device_update(struct cfs_pool *pool, uint32_t index,
			   const struct cfs_device_rec *rec,
			   struct cfs_err *err);
