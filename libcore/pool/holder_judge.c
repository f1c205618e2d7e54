/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the seats of a shared pool say: who holds it, whether that one lives,
 * and who else may still write.
 *
 * Three answers about somebody else.  "Gone" is a fact: nothing of it can reach
 * the devices any more.  "Dead" lets us take the pool at once, but what the
 * process had handed to the kernel may be on its way.  All else may live, and
 * only its own silence, for as long as it has promised to speak, lets us take
 * the pool from it; that it is silent proves nothing.
 */
#include "pool/holder_priv.h"

#include "base/uuid.h"
#include "pool/election.h"

#include <inttypes.h>
#include <stdlib.h>

enum cfs_seat_judgement cfs_shared_judge(const struct cfs_holder *h,
					 const struct cfs_seat *seat)
{
	bool is_alive;

	if (cfs_host_is_named(h->opt.gone_host, seat->host))
		return CFS_SEAT_IS_GONE;
	if (!cfs_seat_is_of_host(seat, &h->self))
		/* Under our name but of another boot: it has restarted. */
		return strcmp(seat->host, h->self.host) == 0 &&
				       !cfs_uuid_is_null(seat->boot_id) &&
				       !cfs_uuid_is_null(h->self.boot_id)
			       ? CFS_SEAT_IS_GONE
			       : CFS_SEAT_MAY_LIVE;
	is_alive = cfs_seat_is_of_process(seat, &h->self)
			   ? cfs_holder_live_has(seat->instance_uuid)
			   : h->source->is_alive(h->source->arg, seat->pid,
						 seat->process_start);
	if (is_alive)
		return CFS_SEAT_MAY_LIVE;
	return h->shared->is_alone ? CFS_SEAT_IS_GONE : CFS_SEAT_IS_DEAD;
}

/* One more look at a seat whose holder may live.  0: it was silent for its
 * whole period; else -EBUSY without @err. */
static int watch(struct cfs_holder *h, const struct cfs_seat_entry *e)
{
	struct cfs_holder_watch *w = h->opt.watch;
	const uint64_t now_ns = cfs_clock_elapsed_ns(h->clock);
	const uint64_t period_ns =
		e->seat.period_ns ? e->seat.period_ns
				  : cfs_shared_margin_ns(CFS_SHARED_PERIOD_NS,
							 CFS_SHARED_DRIFT_PPM);
	const bool is_same = w->is_on && w->epoch == e->seat.epoch &&
			     cfs_uuid_is_equal(w->instance_uuid,
					       e->seat.instance_uuid);

	if (is_same && w->seq == e->seq)
		return now_ns > cfs_deadline_add(w->since_ns, period_ns)
			       ? 0
			       : -EBUSY;
	w->is_moving = is_same;
	memcpy(w->instance_uuid, e->seat.instance_uuid, 16);
	w->epoch = e->seat.epoch;
	w->seq = e->seq;
	w->since_ns = now_ns;
	w->is_on = true;
	return -EBUSY;
}

static int busy(const struct cfs_holder *h, const struct cfs_seat *seat,
		struct cfs_err *err)
{
	char text[CFS_HOLDER_TEXT_BYTES];

	cfs_holder_describe(seat, &h->self, text);
	return cfs_err_set(err, -EBUSY, "%s: %s", cfs_devset_path(h->set, 0),
			   text);
}

int cfs_shared_was_silent(struct cfs_holder *h, struct cfs_err *err)
{
	const struct cfs_holder_watch *w = h->opt.watch;
	const struct cfs_seat_table *t = h->shared->table;

	for (uint32_t i = 0; h->shared->has_watched && i < t->count; i++) {
		const struct cfs_seat_entry *e = &t->seats[i];

		if (e->is_valid && e->seq != w->seq &&
		    cfs_uuid_is_equal(e->seat.instance_uuid, w->instance_uuid))
			return busy(h, &e->seat, err);
	}
	return 0;
}

/* The latest epoch that anybody has worked on. */
static uint32_t last_epoch(const struct cfs_seat_table *table)
{
	uint32_t epoch = 0;

	for (uint32_t i = 0; i < table->count; i++) {
		const struct cfs_seat_entry *e = &table->seats[i];

		if (!e->is_valid)
			continue;
		epoch = CFS_MAX(epoch, e->seat.epoch);
		epoch = CFS_MAX(epoch, cfs_ballot_epoch(e->seat.ballot_seen));
	}
	return epoch;
}

static int reload(struct cfs_holder *h, struct cfs_err *err)
{
	struct cfs_seat_table *t = h->shared->table;

	memset(t->seats, 0, t->count * sizeof(*t->seats));
	return cfs_seat_table_load(h->set, t, err);
}

int cfs_shared_may_take(struct cfs_holder *h, uint32_t *ret_epoch,
			struct cfs_err *err)
{
	struct cfs_shared *s = h->shared;
	const struct cfs_seat_entry *e;
	uint32_t base = 0, top = 0, last;
	bool is_lost;
	int r = reload(h, err);

	if (r < 0)
		return r;
	if (!cfs_seat_table_top(s->table, &base, &top))
		return cfs_seat_none(h->set, err);
	e = &s->table->seats[top];
	last = last_epoch(s->table);
	/* Decided for one that has not come since: that one is who may live. */
	is_lost = s->lost_epoch == last && last > e->seat.epoch;
	if (is_lost)
		e = &s->table->seats[s->lost_seat];
	s->is_dying = s->has_watched = false;
	if (is_lost || e->seat.state != CFS_SEAT_CLEAN) {
		const enum cfs_seat_judgement j = cfs_shared_judge(h, &e->seat);

		s->is_dying = j == CFS_SEAT_IS_DEAD;
		s->has_watched = j == CFS_SEAT_MAY_LIVE;
		if (s->has_watched && watch(h, e) < 0)
			return busy(h, &e->seat, err);
	}
	if (last == UINT32_MAX)
		return cfs_err_set(err, -EUCLEAN, "%s: no epoch is left",
				   cfs_devset_path(h->set, 0));
	/* An epoch that is being decided is to be decided first. */
	*ret_epoch = last > s->table->seats[top].seat.epoch && !is_lost
			     ? last
			     : last + 1;
	return 0;
}

static int live_push(struct cfs_shared *s, uint32_t index, bool is_gone,
		     struct cfs_err *err)
{
	const struct cfs_seat *seat = &s->table->seats[index].seat;
	struct cfs_live_epoch *list = realloc(s->live, (s->live_count + 1) *
							       sizeof(*list));

	if (!list)
		return cfs_err_errno(err, -ENOMEM, "seats");
	s->live = list;
	list[s->live_count] = (struct cfs_live_epoch){
		.epoch = seat->epoch,
		.seat = index,
		.is_gone = is_gone,
	};
	memcpy(list[s->live_count].host, seat->host, sizeof(seat->host));
	memcpy(list[s->live_count].instance_uuid, seat->instance_uuid, 16);
	if (seat->state == CFS_SEAT_TAKING)
		memcpy(list[s->live_count].plan, seat->plan,
		       sizeof(seat->plan));
	s->live_count++;
	return 0;
}

/* Who else holds the pool, as it thinks, or was about to. */
static int learn_of(struct cfs_holder *h, uint32_t index, struct cfs_err *err)
{
	struct cfs_shared *s = h->shared;
	const struct cfs_seat *seat = &s->table->seats[index].seat;
	const bool is_mine = index == s->seat;
	const bool is_taking = seat->state == CFS_SEAT_TAKING;
	const bool is_gone = is_mine ||
			     cfs_shared_judge(h, seat) == CFS_SEAT_IS_GONE;

	if (seat->state != CFS_SEAT_OPEN && !is_taking)
		return 0;
	/* Gone or not: it may have set a gravestone. */
	if ((!is_gone && seat->epoch >= s->base_epoch) ||
	    (is_taking && seat->epoch > s->base_epoch))
		s->must_move = true;
	return is_gone && !is_taking ? 0 : live_push(s, index, is_gone, err);
}

int cfs_shared_learn(struct cfs_holder *h, struct cfs_seat *ret_base,
		     struct cfs_err *err)
{
	struct cfs_shared *s = h->shared;
	uint32_t base = 0, top = 0;
	int r = reload(h, err);

	if (r == 0)
		r = cfs_shared_look_back(h, err);
	if (r < 0)
		return r;
	if (!cfs_seat_table_top(s->table, &base, &top))
		return cfs_seat_none(h->set, err);
	*ret_base = s->table->seats[base].seat;
	s->base_epoch = ret_base->base_epoch;
	s->must_move = false;
	s->live_count = 0;
	for (uint32_t i = 0; r == 0 && i < s->table->count; i++)
		if (s->table->seats[i].is_valid)
			r = learn_of(h, i, err);
	return r;
}

int cfs_shared_look_back(struct cfs_holder *h, struct cfs_err *err)
{
	const struct cfs_shared *s = h->shared;

	for (uint32_t i = 0; i < s->table->count; i++) {
		const struct cfs_seat_entry *e = &s->table->seats[i];

		if (i == s->seat || !e->is_valid ||
		    e->seat.ballot_seen <= s->mine.seat.ballot_seen)
			continue;
		return cfs_err_set(err, -ESTALE, "%s: host %s takes the pool",
				   cfs_devset_path(h->set, 0), e->seat.host);
	}
	return 0;
}

int cfs_shared_look_again(struct cfs_holder *h, struct cfs_err *err)
{
	int r = reload(h, err);

	return r < 0 ? r : cfs_shared_look_back(h, err);
}
