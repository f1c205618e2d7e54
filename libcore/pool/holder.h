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
 *   lock held, record open, same boot id, process dead: its I/O is ending;
 *       held as soon as the kernel lets go, within three seconds
 *   lock held                              wait, then busy; @err names the
 *                                          holder from the record
 *
 * The epoch rises each time somebody takes the pool for writing.
 *
 * In each case but the first two one waits up to wait_seconds before it is
 * busy.
 *
 * Seat 0 is written to the first three devices that are present and not left
 * out (seat.absent), and read from all; the valid record with the highest page
 * seq counts.  It is written in turn to its two slots, each time followed by a
 * flush.  Two records that each call the other's device absent are two halves
 * of a mirror that both went on: refused, -EUCLEAN.
 *
 * All of this is about pools of one host.  Pools that many hosts share are held
 * in another way (pool/shared.h), by the same calls.
 */
#pragma once

#include "pool/devset.h"

#include "base/clock.h"

struct cfs_holder;

/* Who we are, as the record says it. */
struct cfs_identity {
	uint8_t boot_id[16]; /* null: not known */
	char host[CFS_SEAT_HOST_BYTES];
	uint64_t pid;
	uint64_t process_start; /* clock ticks since boot, 0 unknown */
};

/* Where that comes from; tests have their own. */
struct cfs_identity_source {
	void (*self)(void *arg, struct cfs_identity *ret);
	/* Is there such a process on this host?  @process_start 0: any. */
	bool (*is_alive)(void *arg, uint64_t pid, uint64_t process_start);
	void *arg;
};
extern const struct cfs_identity_source cfs_identity_host;

/*
 * On shared pools: what was seen of a holder that may live, from one try to the
 * next.  Zeroed at first.
 */
struct cfs_holder_watch {
	uint8_t instance_uuid[16];
	uint32_t epoch;
	uint64_t seq;
	uint64_t since_ns; /* elapsed time */
	bool is_on;
	bool is_moving; /* it has changed: it lives */
};

/* Is @host one of those that an operator has named?  @names may be NULL. */
bool cfs_host_is_named(const char *names, const char *host);

struct cfs_holder_options {
	unsigned int wait_seconds;
	bool (*stop)(void *arg); /* may be NULL; while waiting */
	void *arg;
	/* An operator's word that these hosts, with blanks between them, are
	 * dead: they hold nothing. */
	const char *gone_host;                      /* may be NULL */
	const struct cfs_identity_source *identity; /* NULL: the host's */
	struct cfs_clock *clock;                    /* NULL: the system's */
	/* Shared pools: NULL: a holder that may be dead is watched until that
	 * is known; else each call is one look, and -EBUSY with !is_moving
	 * means: not known yet, call again. */
	struct cfs_holder_watch *watch;
	bool beats_by_hand; /* tests: there is no thread */
};

/*
 * For a writable set: exclusive locks and the record, written as open with the
 * next epoch.  For an overlay: shared locks, nothing written.
 * @set outlives the holder.
 * @ret_seat: the record as it is now (roots as found; epoch ours); for an
 * overlay what would have been written.
 * -EBUSY; -EINTR; -EUCLEAN: no valid record on any device, or halves; -EIO;
 * -EAGAIN: the devices of the pool are others since @set was opened: open it
 * anew.
 */
int cfs_holder_acquire(struct cfs_devset *set,
		       const struct cfs_holder_options *opt,
		       struct cfs_holder **ret, struct cfs_seat *ret_seat,
		       struct cfs_err *err);

/*
 * The record without taking anything: who holds the pool, and where it
 * answers.  It may be out of date at once.  -EUCLEAN, -ENOTSUP, -EIO.
 */
int cfs_seat_read(const struct cfs_devset *set, struct cfs_seat *ret,
		  struct cfs_err *err);

/*
 * Write the record anew (another root place, a device left out, an address);
 * @seat is what shall stand there.  Nothing is written for an overlay.
 * Devices that were added to the set meanwhile are locked too.  On a mirror
 * one device that takes it is enough (a warning names the other); else all
 * must.  -EBUSY, -EIO.
 */
int cfs_holder_update(struct cfs_holder *h, const struct cfs_seat *seat,
		      struct cfs_err *err);

/* Say that it is closed cleanly (@clean), or just let go; frees the holder,
 * also when it fails.  NULL is allowed. */
int cfs_holder_release(struct cfs_holder *h, bool clean, struct cfs_err *err);

/* The first record of a new pool: clean, epoch 0, @roots; all seats' first
 * slots of seat 0 written, flushed.  Others stay as they are (zeroes or not
 * valid). */
int cfs_seat_format(struct cfs_devset *set,
		    const struct cfs_place roots[CFS_ROOT_PLACES_MAX],
		    struct cfs_err *err);
