/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who holds the pool.  On one host the kernel elects: the holder has the lock
 * on the open file description of each device that carries its I/O, so a
 * killed holder is known to be gone as soon as its I/O has ended.  The record
 * in the seat is read too, since another host, or another path to the same
 * device (a loop device over the file), does not see that lock.
 *
 *   lock free, record clean or free        hold it
 *   lock free, record open, same boot id:
 *       process dead (or none of that start time)   hold it, at once
 *       process alive                      busy (another path)
 *   lock free, record open, same host name, other boot id: the host has
 *       restarted: hold it
 *   lock free, record open, another host   busy; @err names the host
 *   lock held                              wait, then busy; @err names the
 *                                          holder from the record
 *
 * The epoch rises each time somebody takes the pool for writing.
 *
 * Seat 0 stands on the first three devices of the set; the valid record with
 * the highest page seq counts.  It is written in turn to its two slots, each
 * time followed by a flush of those devices.
 */
#pragma once

#include "pool/devset.h"

struct cfs_holder;

struct cfs_holder_options {
	unsigned int	wait_seconds;
	bool		(*stop)(void *arg);	/* may be NULL; while waiting */
	void		*arg;
};

/*
 * For a writable set: exclusive locks and the record, written as open with the
 * next epoch.  For an overlay: shared locks, nothing written.
 * @ret_seat: the record as it is now (roots as found; epoch ours).
 * -EBUSY; -EINTR; -EUCLEAN: no valid record on any device; -EIO.
 */
int cfs_holder_acquire(struct cfs_devset *set,
		       const struct cfs_holder_options *opt,
		       struct cfs_holder **ret, struct cfs_seat *ret_seat,
		       struct cfs_err *err);

/* Write the record anew (another root place, a device left out, an address);
 * @seat is what shall stand there.  Nothing is written for an overlay. */
int cfs_holder_update(struct cfs_holder *h, const struct cfs_seat *seat,
		      struct cfs_err *err);

/* Say that it is closed cleanly (@clean), or just let go; frees the holder. */
int cfs_holder_release(struct cfs_holder *h, bool clean, struct cfs_err *err);

/* The first record of a new pool: clean, epoch 0, @roots; all seats' first
 * slots of seat 0 written, flushed.  Others stay as they are (zeroes or not
 * valid). */
int cfs_seat_format(struct cfs_devset *set,
		    const struct cfs_place roots[CFS_ROOT_PLACES_MAX],
		    struct cfs_err *err);
