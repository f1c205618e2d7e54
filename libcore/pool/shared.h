/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Holding a pool that many hosts share.
 *
 * No lock of the kernel decides, since other hosts do not see it and
 * containers on one host would share it.  Seats do (seat_table.h):
 *
 *   the last holder closed cleanly            take it, at once
 *   its process is dead, on this host         take it, at once
 *   its host has restarted, or was called
 *       gone by an operator                   take it, at once
 *   its seat changes                          busy: it lives
 *   its seat has not changed for its period,
 *       by our own clock                      take it
 *
 * Taking: the next epoch is decided (election.h), then our seat says that we
 * hold it ("open") or are about to ("taking"), and then all seats are read
 * once more: with a higher ballot there we stop, before anything else is
 * written.  Whoever is decided after us has written its ballot before it read
 * the seats, so either we see that, or it knows all that we may have written.
 *
 * The one before us is "gone" if it cannot write any more: it said goodbye, its
 * host has restarted, an operator says so, or it is dead on this host and its
 * devices' locks could be had, so that its I/O has ended too.  Then we go on
 * where it was.  Otherwise we must move: nothing that it may still write to is
 * used (tree/container_takeover.h).  A period that has run out is not gone.
 *
 * The holder's seat is written every third of its period, by a thread of its
 * own; each write changes its number.  One that ended behind the period counts
 * only if a look at all seats shows that nobody has begun to take the pool; and
 * who takes it looks, behind its own ballot, that the silent one has not
 * written meanwhile.  Of the two, one sees the other.
 *
 * Assumptions: a host that takes a seat for the first time (once in its life)
 * does not stop for CLAIM_NS between looking at it and writing to it, nor does
 * that write take longer; reads behind a flush see what other hosts wrote.
 */
#pragma once

#include "pool/holder.h"
#include "pool/seat_table.h"

#define CFS_SHARED_PERIOD_NS (10 * CFS_NS_PER_S) /* T */
#define CFS_SHARED_DRIFT_PPM 2000u

bool cfs_holder_is_shared(const struct cfs_holder *h);
/* The one before may still write: go to new places. */
bool cfs_holder_must_move(const struct cfs_holder *h);
/* Whose root we begin from. */
uint32_t cfs_holder_base_epoch(const struct cfs_holder *h);
/*
 * Are the holders of all epochs from @first to @last, but ourselves, gone?  Of
 * an overlay, where nothing can be written by us: yes.
 */
bool cfs_holder_are_gone(const struct cfs_holder *h, uint32_t first,
			 uint32_t last);
/*
 * Epochs whose holders may still write, and those, gone or not, that had no
 * root of their own yet: where they meant to put it.
 */
uint32_t cfs_holder_live_count(const struct cfs_holder *h);
void cfs_holder_live_epoch(const struct cfs_holder *h, uint32_t index,
			   uint32_t *ret_epoch, bool *ret_is_gone,
			   struct cfs_place ret_plan[CFS_ROOT_PLACES_MAX]);

/*
 * An operator's word, while we hold the pool: @host, which had it before us, is
 * dead.  Its seats are free, durably, so that whoever comes behind us counts it
 * as gone too; and from then on so do we.  -ENOENT: no such host; -ESTALE:
 * somebody else takes the pool; -EIO.  Again for the same host is allowed.
 */
int cfs_holder_host_gone(struct cfs_holder *h, const char *host,
			 struct cfs_err *err);
/* Is it one that could be said so of?  Any thread, no I/O. */
bool cfs_holder_knows_host(const struct cfs_holder *h, const char *host);

/*
 * While moving: where our first root, and all else before it, will be.  Durable
 * on return, and nobody who does not know of it can take the pool.
 * -ESTALE: somebody else takes it; -EIO, -EBUSY.
 */
int cfs_holder_plan(struct cfs_holder *h,
		    const struct cfs_place plan[CFS_ROOT_PLACES_MAX],
		    struct cfs_err *err);
/* That root is durable: from now on it counts.  As above. */
int cfs_holder_moved(struct cfs_holder *h,
		     const struct cfs_place roots[CFS_ROOT_PLACES_MAX],
		     struct cfs_err *err);

/* Was the device missing already when those before us had the pool? */
bool cfs_holder_found_absent(const struct cfs_holder *h, uint32_t device_index);

/* Does our period still run?  Any thread, no I/O. */
bool cfs_holder_may_ack(struct cfs_holder *h);
/* Write our seat now; the thread does it by itself.  -EBUSY: it is lost. */
int cfs_holder_beat(struct cfs_holder *h, struct cfs_err *err);
/* What the pool's settings say; for the rest of our time. */
int cfs_holder_set_period(struct cfs_holder *h, uint64_t period_ns,
			  uint32_t drift_ppm, struct cfs_err *err);
/* How long others wait for a holder with a period of T. */
uint64_t cfs_shared_margin_ns(uint64_t period_ns, uint32_t drift_ppm);
