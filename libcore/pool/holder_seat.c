/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Having a seat on a shared pool, and giving up those that nobody needs.
 *
 * A host takes up a seat that it had before: its name is there, and that
 * process is gone, as the kernel's locks prove.  Otherwise a seat that was
 * never used is claimed: written, and read back after a while; of two who wrote
 * it at once the last one has it, and the other one sees that.
 *
 * Ballots of a seat stay in it whoever has it: others may have counted on them.
 */
#include "pool/holder_priv.h"

#include "base/cleanup.h"
#include "base/rng.h"
#include "base/uuid.h"

#include <stdlib.h>

#define CLAIM_NS   (400 * CFS_NS_PER_MS)
#define CLAIMS_MAX 8u

/* The seat as ours; what it says of the pool stays. */
static int put_name(const struct cfs_holder *h, struct cfs_seat *seat,
		    struct cfs_err *err)
{
	memcpy(seat->boot_id, h->self.boot_id, sizeof(seat->boot_id));
	memcpy(seat->host, h->self.host, sizeof(seat->host));
	memset(seat->address, 0, sizeof(seat->address));
	seat->pid = h->self.pid;
	seat->process_start = h->self.process_start;
	return cfs_uuid_new(seat->instance_uuid, err);
}

/* One that this host had, and that no process has any more. */
static bool is_ours(const struct cfs_holder *h, const struct cfs_seat *seat)
{
	if (cfs_uuid_is_null(seat->instance_uuid) ||
	    strcmp(seat->host, h->self.host) != 0)
		return false;
	if (cfs_seat_is_of_host(seat, &h->self) &&
	    cfs_seat_is_of_process(seat, &h->self))
		return !cfs_holder_live_has(seat->instance_uuid);
	/* Another process of this host may take it up, too. */
	return h->shared->is_alone &&
	       cfs_shared_judge(h, seat) == CFS_SEAT_IS_GONE;
}

static bool was_never_used(const struct cfs_seat_entry *e)
{
	return !e->is_valid || (e->seat.state == CFS_SEAT_FREE &&
				cfs_uuid_is_null(e->seat.instance_uuid));
}

static int choose(const struct cfs_holder *h, uint32_t *ret,
		  struct cfs_err *err)
{
	const struct cfs_seat_table *t = h->shared->table;
	uint32_t count = 0, nth;
	struct cfs_rng rng;
	int r = cfs_rng_init_random(&rng, err);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < t->count; i++)
		count += was_never_used(&t->seats[i]);
	if (count == 0)
		return cfs_err_set(err, -ENOSPC,
				   "%s: all seats are taken: say "
				   "with leasectl gone which hosts are",
				   cfs_devset_path(h->set, 0));
	nth = (uint32_t)cfs_rng_below(&rng, count);
	for (uint32_t i = 0; i < t->count; i++)
		if (was_never_used(&t->seats[i]) && nth-- == 0)
			*ret = i;
	return 0;
}

static void sleep_for(struct cfs_holder *h, uint64_t ns)
{
	const uint64_t end_ns = cfs_deadline_add(cfs_clock_elapsed_ns(h->clock),
						 ns);

	while (cfs_clock_elapsed_ns(h->clock) < end_ns)
		cfs_clock_sleep_until(h->clock, end_ns);
}

/* 1: it is ours; 0: somebody else was there. */
static int claim(struct cfs_holder *h, uint32_t index, struct cfs_err *err)
{
	struct cfs_shared *s = h->shared;
	struct cfs_seat_entry *there = &s->table->seats[index];
	int r;

	s->mine = *there;
	if (!s->mine.is_valid)
		memset(&s->mine, 0, sizeof(s->mine));
	r = put_name(h, &s->mine.seat, err);
	if (r == 0)
		r = cfs_seat_entry_store(h->set, index, &s->mine, err);
	if (r == -EBUSY)
		return 0;
	if (r < 0)
		return r;
	sleep_for(h, CLAIM_NS);
	memset(there, 0, sizeof(*there));
	r = cfs_seat_table_load(h->set, s->table, err);
	if (r < 0)
		return r;
	return cfs_uuid_is_equal(there->seat.instance_uuid,
				 s->mine.seat.instance_uuid);
}

int cfs_shared_sit_down(struct cfs_holder *h, struct cfs_err *err)
{
	struct cfs_shared *s = h->shared;
	int r = 0;

	for (uint32_t i = 0; !s->has_seat && i < s->table->count; i++) {
		if (!s->table->seats[i].is_valid ||
		    !is_ours(h, &s->table->seats[i].seat))
			continue;
		s->seat = i;
		s->mine = s->table->seats[i];
		s->has_seat = true;
		return put_name(h, &s->mine.seat, err);
	}
	for (unsigned int i = 0; !s->has_seat && i < CLAIMS_MAX; i++) {
		uint32_t index = 0;

		r = choose(h, &index, err);
		if (r == 0)
			r = claim(h, index, err);
		if (r < 0)
			return r;
		s->has_seat = r == 1;
		s->seat = index;
	}
	return s->has_seat ? 0
			   : cfs_err_set(err, -EBUSY,
					 "%s: other hosts take "
					 "seats at the same time",
					 cfs_devset_path(h->set, 0));
}

int cfs_shared_free_seat(struct cfs_holder *h, uint32_t index,
			 struct cfs_err *err)
{
	struct cfs_seat_entry *e = &h->shared->table->seats[index];

	e->seat.state = CFS_SEAT_FREE;
	memset(e->seat.plan, 0, sizeof(e->seat.plan));
	memset(e->seat.address, 0, sizeof(e->seat.address));
	/* A host that an operator gave up may have none when it is back;
	 * anybody may. */
	if (strcmp(e->seat.host, h->self.host) != 0)
		memset(e->seat.instance_uuid, 0, 16);
	return cfs_seat_entry_store(h->set, index, e, err);
}

void cfs_shared_tidy(struct cfs_holder *h)
{
	struct cfs_shared *s = h->shared;

	for (uint32_t i = 0; i < s->table->count; i++) {
		const struct cfs_seat_entry *e = &s->table->seats[i];

		if (i == s->seat || !e->is_valid ||
		    e->seat.state == CFS_SEAT_FREE ||
		    e->seat.epoch >= s->mine.seat.epoch ||
		    cfs_uuid_is_null(e->seat.instance_uuid) ||
		    cfs_shared_judge(h, &e->seat) != CFS_SEAT_IS_GONE)
			continue;
		/* Should it fail, the next one does it. */
		(void)cfs_shared_free_seat(h, i, NULL);
	}
}

/*
 * A write that ended behind our period: others may have counted us as silent.
 * It counts if nobody has begun to take the pool; who does so later finds it.
 */
static int look_if_late(struct cfs_holder *h, struct cfs_err *err)
{
	struct cfs_shared *s = h->shared;
	int r;

	if (!s->beat_ns || cfs_clock_elapsed_ns(h->clock) <
				   cfs_deadline_add(s->beat_ns, s->period_ns))
		return 0;
	r = cfs_shared_look_again(h, err);
	if (r == -ESTALE)
		__atomic_store_n(&s->is_lost, true, __ATOMIC_RELEASE);
	return r;
}

int cfs_shared_store(struct cfs_holder *h, struct cfs_err *err)
{
	struct cfs_shared *s = h->shared;
	const uint64_t begin_ns = cfs_clock_elapsed_ns(h->clock);
	int r = cfs_seat_entry_store(h->set, s->seat, &s->mine, err);

	if (r == 0)
		r = look_if_late(h, err);
	if (r == 0) {
		__atomic_store_n(&s->beat_ns, begin_ns, __ATOMIC_RELEASE);
	} else if (r == -EBUSY) {
		s->has_seat = false;
		__atomic_store_n(&s->is_lost, true, __ATOMIC_RELEASE);
	}
	return r;
}
