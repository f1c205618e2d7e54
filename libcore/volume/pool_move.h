/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Moving slices: off a device, and onto a second one (mirrors).
 *
 * The pool is no shared one, and no container in question is delegated.  A slice
 * is copied while its container is read and written.  What was written during
 * that (pool/metavolume_watch.h) is copied again while nobody changes the
 * container, and its clients hold: so they have written all that they know of,
 * and go on with a view that has the new map.  The very last of it, with the
 * change of the map, when no read or write of the container is under way.  A
 * slice of which a client has something that is silent, and not known to be
 * gone, stays where it is (T29).  Who reads with an older view finds other tags
 * in the old place, or none, and asks again.
 *
 * Order of writes for one logical slice, and what a crash leaves:
 *
 *   1. header of the new life, content, flush     -> the old place; the new one
 *                                                    is a free slice still
 *   2. in one frame of container 0: SLICE of the new place owned, SLICE of the
 *      old one free, SMAP, cursor of the device; flush
 *                                                 -> the new place
 *   3. the old one's header says free, flush; what stood there is discarded
 *
 * For a slice of container 0 itself step 2 is a commit, since its map stands in
 * its root, and its log may be in the very slice:
 *
 *   2a. the seat names the root's new places too  -> the old place: the root
 *                                                    there has the old map
 *   2b. a root with the new map, written to the new places, and two more, so
 *       that no slot of a root names the old place -> the new place
 *   2c. the seat names the new places alone
 *
 * In 2a at least one place is named that both maps have, or both are.
 *
 * The tables themselves say what is left to do, so that whoever begins again
 * goes on; the cursor only tells how far it is.
 */
#pragma once

#include "volume/pool.h"

struct cfs_pool_move_options {
	/* The seat is to name these as the places of container 0's root,
	 * durably, with one more if there is room. */
	int (*store_roots)(void *arg,
			   const struct cfs_place roots[CFS_ROOT_PLACES_MAX],
			   struct cfs_err *err);
	bool (*stop)(void *arg); /* may be NULL */
	/* All clients of the container hold, until go_on; NULL: there are none.
	 * The member stays meanwhile. */
	int (*hold)(void *arg, struct cfs_member *m, struct cfs_err *err);
	void (*go_on)(void *arg);
	/* Between them no container comes or goes; may be NULL. */
	void (*enter)(void *arg);
	void (*leave)(void *arg);
	void (*progress)(void *arg, uint64_t done_bytes,
			 uint64_t total_bytes); /* may be NULL */
	void *arg;
};

struct cfs_pool_move_result {
	uint64_t moved_slices; /* pieces that were written */
	uint64_t moved_bytes;
	uint64_t left_slices;    /* still to be moved, as it broke off */
	uint64_t damaged_blocks; /* in use, and bad wherever they are */
};

/* May slices be moved now?  -EBUSY: somebody may write beside us. */
int cfs_pool_move_allowed(struct cfs_pool *pool, struct cfs_err *err);
/* The same, if clients can be made to hold. */
int cfs_pool_move_allowed_beside(struct cfs_pool *pool, struct cfs_err *err);

/* In place of a device: no one of them (cfs_pool_move_room). */
#define CFS_POOL_NO_DEVICE UINT32_MAX

struct cfs_pool_room {
	uint64_t need_slices, free_slices;
};
/*
 * Is there room to move all of @device elsewhere, if one more device with
 * @extra_slices were there?  With CFS_POOL_NO_DEVICE: to give each slice that
 * has one place only a second one.  @ret is set also when there is not.
 * -ENOSPC, with the bytes.
 */
int cfs_pool_move_room(struct cfs_pool *pool, uint32_t device,
		       uint64_t extra_slices, struct cfs_pool_room *ret,
		       struct cfs_err *err);

/*
 * Move all slices off a device that is being evacuated (its record says so).
 * It may be missing, if the pool is a mirror.  What is there on other devices
 * when it fails is durable, and the same call goes on.
 * -EINTR: stop() said so; -ENOSPC; -ENODEV: a slice has no other piece; -EIO;
 * -EBUSY: all others are moved, but some may still be written to by clients that
 * are silent; -ECANCELED: the device is not being evacuated any more.
 */
int cfs_pool_evacuate(struct cfs_pool *pool, uint32_t device,
		      const struct cfs_pool_move_options *opt,
		      struct cfs_pool_move_result *ret, struct cfs_err *err);

/*
 * From now on slices are on two devices each, and those that are not become so.
 * The labels are the caller's, once this is done.
 */
int cfs_pool_fill_mirror(struct cfs_pool *pool,
			 const struct cfs_pool_move_options *opt,
			 struct cfs_pool_move_result *ret, struct cfs_err *err);

/*
 * A device with no slice in use leaves the tables: its record says that it was
 * removed, and its slices have none.  Durable.  -EBUSY: some are in use;
 * -EPERM: some are frozen, and @is_forced is not set.
 */
int cfs_pool_device_remove(struct cfs_pool *pool, uint32_t device,
			   bool is_forced, struct cfs_err *err);

/* Reads, writes and flushes of all that is open which are under way now have
 * ended when it returns. */
void cfs_pool_wait_for_io(struct cfs_pool *pool);

/* Where the root of container 0 is, for the seat. */
void cfs_pool_roots(struct cfs_pool *pool,
		    struct cfs_place ret[CFS_ROOT_PLACES_MAX]);
