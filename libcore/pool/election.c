/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disk Paxos over seats, one I/O a step. */
#include "pool/election.h"

#include "base/bits.h"

#include <inttypes.h>
#include <string.h>

void cfs_election_init(struct cfs_election *e, const struct cfs_devset *set,
		       struct cfs_seat_table *table, uint32_t seat,
		       struct cfs_seat_entry *mine, uint32_t epoch)
{
	*e = (struct cfs_election){
		.set = set,
		.table = table,
		.seat = seat,
		.mine = mine,
		.epoch = epoch,
		.why = CFS_ERR_INIT,
	};
}

int cfs_election_begin(struct cfs_election *e, struct cfs_err *err)
{
	struct cfs_seat *mine = &e->mine->seat;
	uint32_t round = e->highest_round;

	if (cfs_ballot_epoch(mine->ballot_seen) == e->epoch)
		round = CFS_MAX(round, cfs_ballot_round(mine->ballot_seen));
	if (round == CFS_BALLOT_ROUND_MAX)
		return cfs_err_set(err, -EOVERFLOW,
				   "no ballot is left for "
				   "epoch %" PRIu32,
				   e->epoch);
	e->ballot = cfs_ballot(e->epoch, round + 1, e->seat);
	mine->ballot_seen = e->ballot;
	/* What we accepted for this epoch before counts as anybody's. */
	e->best_ballot = 0;
	if (mine->ballot_accepted && mine->ballot_epoch == e->epoch) {
		e->best_ballot = mine->ballot_accepted;
		e->best_seat = mine->ballot_seat;
	}
	e->round = 1;
	e->device = 0;
	e->reads = false;
	e->good = 0;
	e->page_seq = e->mine->seq + 1;
	return 0;
}

static int write_mine(struct cfs_election *e, struct cfs_err *err)
{
	struct cfs_seat_entry there;
	int r = cfs_seat_page_read(e->set, e->device, e->seat, &there, err);

	if (r < 0)
		return r;
	if (there.is_valid && there.seq >= e->page_seq)
		return cfs_err_set(err, -EBUSY,
				   "seat %" PRIu32 " was taken "
				   "by another process",
				   e->seat);
	return cfs_seat_page_write(e->set, e->device, e->seat, &e->mine->seat,
				   e->page_seq, err);
}

/* What the others say.  0; -EAGAIN, -ESTALE. */
static int judge(struct cfs_election *e, struct cfs_err *err)
{
	int r = 0;

	for (uint32_t i = 0; i < e->table->count; i++) {
		const struct cfs_seat *s = &e->table->seats[i].seat;

		if (i == e->seat || !e->table->seats[i].is_valid)
			continue;
		if (cfs_ballot_epoch(s->ballot_seen) > e->epoch)
			return cfs_err_set(err, -ESTALE,
					   "host %s works on "
					   "epoch %" PRIu32 " already",
					   s->host,
					   cfs_ballot_epoch(s->ballot_seen));
		if (cfs_ballot_epoch(s->ballot_seen) == e->epoch)
			e->highest_round = CFS_MAX(
				e->highest_round,
				cfs_ballot_round(s->ballot_seen));
		if (s->ballot_seen > e->ballot)
			r = -EAGAIN;
		if (s->ballot_accepted > e->best_ballot &&
		    s->ballot_epoch == e->epoch) {
			e->best_ballot = s->ballot_accepted;
			e->best_seat = s->ballot_seat;
		}
	}
	return r < 0 ? cfs_err_set(err, r,
				   "another host tries to take the "
				   "pool too")
		     : 0;
}

/* The first round has a majority: what must be accepted. */
static void begin_second(struct cfs_election *e)
{
	struct cfs_seat *mine = &e->mine->seat;

	mine->ballot_seat = e->best_ballot ? e->best_seat : e->seat;
	mine->ballot_epoch = e->epoch;
	mine->ballot_accepted = e->ballot;
	e->round = 2;
	e->device = 0;
	e->good = 0;
	e->page_seq++;
}

/* All devices were asked.  The write, whole or in part, has used its seq. */
static int round_ends(struct cfs_election *e, struct cfs_err *err)
{
	e->mine->seq = e->page_seq;
	e->mine->is_valid = true;
	if (e->good < cfs_seat_majority(e->set))
		return cfs_err_set(err, -EIO,
				   "only %" PRIu32 " of the %" PRIu32
				   " devices with seats can be used (%s): a "
				   "shared pool needs %" PRIu32,
				   e->good, cfs_seat_device_count(e->set),
				   e->why.msg, cfs_seat_majority(e->set));
	if (e->round == 1) {
		begin_second(e);
		return 1;
	}
	e->decided_seat = e->mine->seat.ballot_seat;
	return 0;
}

static int next_device(struct cfs_election *e, struct cfs_err *err)
{
	e->reads = false;
	e->device++;
	return e->device < cfs_seat_device_count(e->set) ? 1
							 : round_ends(e, err);
}

int cfs_election_step(struct cfs_election *e, struct cfs_err *err)
{
	int r;

	if (!e->reads) {
		r = write_mine(e, &e->why);
		if (r == 0) {
			e->reads = true;
			return 1;
		}
	} else {
		r = cfs_seat_table_read(e->set, e->device, e->table, &e->why);
		if (r == 0)
			e->good++;
	}
	if (r == -EBUSY || r == -ENOMEM || r == -ENOTSUP) {
		if (err)
			*err = e->why;
		return r;
	}
	if (r == 0) {
		r = judge(e, err);
		if (r < 0) {
			e->mine->seq = e->page_seq;
			return r;
		}
	}
	return next_device(e, err);
}
