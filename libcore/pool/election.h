/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who owns an epoch of a shared pool: Disk Paxos over the seats.
 *
 * Each epoch is decided by itself; a ballot is
 *
 *   epoch 32 | round 24 | seat 8
 *
 * so that no two are equal, and those of a later epoch are higher.  One ballot
 * has two rounds; in each, on one device after the other, our own seat is
 * written and then all seats are read:
 *
 *   1  "I work on this ballot"; learns the value of the highest ballot that
 *      anybody has accepted for this epoch, and must take that one
 *   2  "I accept this value in this ballot"
 *
 * Whoever sees a higher ballot gives up his.  A round counts if a majority of
 * the devices was both written and read.  Behind the second the value, the
 * seat that owns the epoch, is decided, and nobody ever decides another one.
 *
 * What must stay true:
 *  - our own seat is read before each write and is still ours;
 *  - what was written to it is never taken back: a ballot only rises;
 *  - who sees a ballot of a later epoch gives up too: seats have forgotten what
 *    they accepted for this one.
 *
 * contrib/model/election.pml is a proof for small numbers.
 */
#pragma once

#include "pool/seat_table.h"

#define CFS_BALLOT_ROUND_MAX ((UINT32_C(1) << 24) - 1)

static inline uint64_t cfs_ballot(uint32_t epoch, uint32_t round, uint32_t seat)
{
	return (uint64_t)epoch << 32 | (uint64_t)round << 8 | seat;
}
static inline uint32_t cfs_ballot_epoch(uint64_t ballot)
{
	return (uint32_t)(ballot >> 32);
}
static inline uint32_t cfs_ballot_round(uint64_t ballot)
{
	return (uint32_t)(ballot >> 8) & CFS_BALLOT_ROUND_MAX;
}

struct cfs_election {
	const struct cfs_devset *set;
	struct cfs_seat_table *table; /* as last read */
	struct cfs_seat_entry *mine;  /* the caller's */
	uint32_t seat;
	uint32_t epoch;
	uint64_t ballot;
	unsigned int round;     /* 1, 2 */
	uint32_t device;        /* that is next */
	bool reads;             /* it was written, and is read now */
	uint32_t good;          /* devices of this round */
	uint32_t highest_round; /* that was seen for this epoch */
	uint64_t best_ballot;   /* accepted by anybody, and its value */
	uint32_t best_seat;
	uint32_t decided_seat;
	uint64_t page_seq;  /* of this round's write */
	struct cfs_err why; /* of a device that failed */
};

/*
 * @mine: our seat as it stands, claimed; it stays up to date.  @table, @mine
 * and @set outlive the election.
 */
void cfs_election_init(struct cfs_election *e, const struct cfs_devset *set,
		       struct cfs_seat_table *table, uint32_t seat,
		       struct cfs_seat_entry *mine, uint32_t epoch);
/* A ballot of our own, higher than any that was seen; no I/O. -EOVERFLOW. */
int cfs_election_begin(struct cfs_election *e, struct cfs_err *err);
/*
 * One write, or one read of all seats, on one device.
 * 1: go on; 0: decided, e->decided_seat owns the epoch.
 * -EAGAIN: there is a higher ballot: begin again, better a moment later.
 * -ESTALE: somebody works on a later epoch already.
 * -EBUSY: the seat is not ours any more.  -EIO: no majority; -ENOMEM;
 * -ENOTSUP.
 */
int cfs_election_step(struct cfs_election *e, struct cfs_err *err);
