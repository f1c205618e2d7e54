/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Taking, keeping and giving back a shared pool; the rules are in shared.h.
 *
 * What must stay true:
 *  - nothing but our own seat is written before the epoch is decided for us,
 *    our seat says so, and nobody has a higher ballot;
 *  - the seat of one that is gone is written by others only once our own says
 *    that we hold the pool: until then it may name the root that counts;
 *  - the kernel's locks decide nothing.  One that could be had alone proves
 * that no other process of this host has I/O under way; while the pool is held
 *    they are shared.
 */
#include "pool/holder_priv.h"

#include "base/cleanup.h"
#include "base/cond.h"
#include "base/rng.h"
#include "pool/election.h"

#include <inttypes.h>
#include <stdlib.h>

#define TRIES_MAX     16u
/* Somebody may have the locks alone, to take a seat. */
#define LOCK_NS       (800 * CFS_NS_PER_MS)
#define DYING_NS      (500 * CFS_NS_PER_MS)
#define DYING_POLL_NS (2 * CFS_NS_PER_MS)

/* Two threads of one process are not told apart by what a seat says. */
static pthread_mutex_t take_mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

uint64_t cfs_shared_margin_ns(uint64_t period_ns, uint32_t drift_ppm)
{
	const uint64_t million = 1000000;

	return period_ns / (million - drift_ppm) * (million + drift_ppm) +
	       CFS_NS_PER_MS;
}

/* ---- the kernel's locks -------------------------------------------------- */

static int lock_as(struct cfs_holder *h, bool is_exclusive, struct cfs_err *err)
{
	int r = 0;

	h->lock_count = cfs_devset_count(h->set);
	for (uint32_t i = 0; r == 0 && i < h->lock_count; i++)
		if (cfs_devset_dev(h->set, i))
			r = cfs_dev_lock(cfs_devset_dev(h->set, i),
					 is_exclusive, err);
	return r;
}

/* Alone if possible; who has them alone has them for a moment. */
static int lock_some(struct cfs_holder *h, struct cfs_err *err)
{
	const uint64_t end_ns = cfs_deadline_add(cfs_clock_elapsed_ns(h->clock),
						 LOCK_NS);
	uint64_t now_ns;
	int r;

	h->shared->is_alone = false;
	if (!cfs_devset_is_overlay(h->set) && lock_as(h, true, NULL) == 0) {
		h->shared->is_alone = true;
		return 0;
	}
	do {
		now_ns = cfs_clock_elapsed_ns(h->clock);
		cfs_holder_unlock_all(h);
		r = lock_as(h, false, err);
		if (r == -EBUSY)
			cfs_clock_sleep_until(h->clock, now_ns + DYING_POLL_NS);
	} while (r == -EBUSY && now_ns < end_ns);
	return r;
}

/* A process of this host is dead: the kernel may still end its I/O. */
static void wait_alone(struct cfs_holder *h)
{
	const uint64_t end_ns = cfs_deadline_add(cfs_clock_elapsed_ns(h->clock),
						 DYING_NS);
	uint64_t now_ns;

	while (!h->shared->is_alone &&
	       (now_ns = cfs_clock_elapsed_ns(h->clock)) < end_ns) {
		if (lock_as(h, true, NULL) == 0)
			h->shared->is_alone = true;
		else
			cfs_clock_sleep_until(h->clock, now_ns + DYING_POLL_NS);
	}
}

/* ---- the decision -------------------------------------------------------- */

static void pause_a_little(struct cfs_holder *h)
{
	struct cfs_rng rng;
	uint64_t ns = 20 * CFS_NS_PER_MS;

	if (cfs_rng_init_random(&rng, NULL) == 0)
		ns = CFS_NS_PER_MS * (2 + cfs_rng_below(&rng, 60));
	cfs_clock_sleep_until(h->clock, cfs_clock_elapsed_ns(h->clock) + ns);
}

/* 0: @epoch is ours.  -EBUSY: it is somebody else's, or being decided. */
static int elect(struct cfs_holder *h, uint32_t epoch, struct cfs_err *err)
{
	struct cfs_shared *s = h->shared;
	struct cfs_election e;
	int r = -EAGAIN;

	cfs_election_init(&e, h->set, s->table, s->seat, &s->mine, epoch);
	for (unsigned int i = 0; r == -EAGAIN && i < TRIES_MAX; i++) {
		if (i > 0)
			pause_a_little(h);
		r = cfs_election_begin(&e, err);
		if (r == 0)
			do {
				r = cfs_election_step(&e, err);
			} while (r == 1);
	}
	if (r == -EBUSY)
		s->has_seat = false;
	if (r == -EAGAIN || r == -ESTALE)
		return cfs_err_wrap(err, -EBUSY, "%s",
				    cfs_devset_path(h->set, 0));
	if (r == 0 && e.decided_seat != s->seat) {
		s->lost_epoch = epoch;
		s->lost_seat = CFS_MIN(e.decided_seat, s->table->count - 1);
		return cfs_err_set(err, -EBUSY, "%s: another host was faster",
				   cfs_devset_path(h->set, 0));
	}
	return r;
}

/* The epoch is ours: say so, and look back. */
static int announce(struct cfs_holder *h, uint32_t epoch, struct cfs_err *err)
{
	struct cfs_shared *s = h->shared;
	struct cfs_seat *mine = &s->mine.seat, base;
	const bool was_taking = mine->state == CFS_SEAT_TAKING;
	int r = cfs_shared_learn(h, &base, err);

	if (r == 0)
		r = cfs_shared_was_silent(h, err);
	if (r < 0)
		return r;
	mine->state = s->must_move ? CFS_SEAT_TAKING : CFS_SEAT_OPEN;
	mine->epoch = epoch;
	mine->base_epoch = s->must_move ? base.base_epoch : epoch;
	mine->opened_ns = cfs_clock_realtime_ns(h->clock);
	mine->period_ns = cfs_shared_margin_ns(CFS_SHARED_PERIOD_NS,
					       CFS_SHARED_DRIFT_PPM);
	mine->has_clients = base.has_clients;
	mine->clients_epoch = base.clients_epoch;
	mine->silent_ns = cfs_seat_silent_ns(&base, &h->self, h->clock);
	mine->absent_count = base.absent_count;
	memcpy(mine->absent, base.absent, sizeof(mine->absent));
	memcpy(mine->roots, base.roots, sizeof(mine->roots));
	if (!was_taking)
		memset(mine->plan, 0, sizeof(mine->plan));
	r = cfs_shared_store(h, err);
	return r < 0 ? r : cfs_shared_look_again(h, err);
}

/* Nothing is written through an overlay; what would be, is told. */
static int pretend(struct cfs_holder *h, uint32_t epoch)
{
	struct cfs_shared *s = h->shared;
	uint32_t base = 0, top = 0;

	(void)cfs_seat_table_top(s->table, &base, &top);
	s->mine = s->table->seats[base];
	s->base_epoch = s->mine.seat.base_epoch;
	s->mine.seat.epoch = epoch;
	s->mine.seat.state = CFS_SEAT_OPEN;
	memset(s->mine.seat.instance_uuid, 0, 16);
	return 0;
}

/* One try.  -EBUSY: not now, and nothing is locked. */
static int attempt(struct cfs_holder *h, struct cfs_err *err)
{
	const bool is_real = !cfs_devset_is_overlay(h->set);
	uint32_t epoch = 0;
	int r = lock_some(h, err);

	if (r == 0)
		r = cfs_holder_check_labels(h, err);
	if (r == 0)
		r = cfs_shared_may_take(h, &epoch, err);
	if (r == 0 && is_real && h->shared->is_dying)
		wait_alone(h);
	if (r == 0 && is_real)
		r = cfs_shared_sit_down(h, err);
	if (r == 0 && is_real)
		r = elect(h, epoch, err);
	if (r == 0)
		r = is_real ? announce(h, epoch, err) : pretend(h, epoch);
	if (r == 0 && is_real)
		r = cfs_holder_check_labels(h, err);
	if (r == 0 && is_real && !h->shared->must_move)
		cfs_shared_tidy(h);
	/* From alone to shared: never for a moment without. */
	if (r == 0)
		r = lock_as(h, false, err);
	h->shared->is_alone = false;
	if (r < 0)
		cfs_holder_unlock_all(h);
	return r == -ESTALE ? -EBUSY : r;
}

static int wait_for_it(struct cfs_holder *h, bool is_watched,
		       struct cfs_err *err)
{
	const struct cfs_holder_watch *w = h->opt.watch;
	const uint64_t end_ns = cfs_deadline_add(cfs_clock_elapsed_ns(h->clock),
						 h->opt.wait_seconds *
							 CFS_NS_PER_S);

	for (;;) {
		const uint64_t now_ns = cfs_clock_elapsed_ns(h->clock);
		int r = attempt(h, err);
		const bool is_open = !is_watched && w->is_on && !w->is_moving;

		if (r != -EBUSY || (now_ns >= end_ns && !is_open))
			return r;
		if (h->opt.stop && h->opt.stop(h->opt.arg))
			return cfs_err_set(err, -EINTR,
					   "%s: stopped while "
					   "waiting for it",
					   cfs_devset_path(h->set, 0));
		cfs_clock_sleep_until(h->clock, now_ns + CFS_HOLDER_POLL_NS);
	}
}

/* ---- the beat ------------------------------------------------------------ */

static void *beat_thread(void *arg)
{
	struct cfs_holder *h = arg;
	struct cfs_shared *s = h->shared;

	pthread_mutex_lock(&s->lock);
	while (!s->ends) {
		if (cfs_cond_wait_ns(&s->wake, &s->lock, s->period_ns / 3) ==
			    0 ||
		    s->ends || s->is_lost)
			continue;
		/* What fails is tried again: the period tells. */
		(void)cfs_shared_store(h, NULL);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static int start_thread(struct cfs_holder *h, struct cfs_err *err)
{
	struct cfs_shared *s = h->shared;

	if (h->opt.beats_by_hand || cfs_devset_is_overlay(h->set))
		return 0;
	if (pthread_create(&s->thread, NULL, beat_thread, h) != 0)
		return cfs_err_errno(err, -EAGAIN, "a thread");
	s->has_thread = true;
	return 0;
}

static void stop_thread(struct cfs_shared *s)
{
	if (!s->has_thread)
		return;
	pthread_mutex_lock(&s->lock);
	s->ends = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	s->has_thread = false;
}

int cfs_holder_beat(struct cfs_holder *h, struct cfs_err *err)
{
	struct cfs_shared *s = h->shared;
	int r;

	pthread_mutex_lock(&s->lock);
	r = s->is_lost ? cfs_err_set(err, -EBUSY, "the seat is lost")
		       : cfs_shared_store(h, err);
	pthread_mutex_unlock(&s->lock);
	return r;
}

bool cfs_holder_may_ack(struct cfs_holder *h)
{
	struct cfs_shared *s = h->shared;
	uint64_t beat_ns;

	if (!s)
		return true;
	beat_ns = __atomic_load_n(&s->beat_ns, __ATOMIC_ACQUIRE);
	return !__atomic_load_n(&s->is_lost, __ATOMIC_ACQUIRE) &&
	       cfs_clock_elapsed_ns(h->clock) <
		       cfs_deadline_add(beat_ns,
					__atomic_load_n(&s->period_ns,
							__ATOMIC_ACQUIRE));
}

int cfs_holder_set_period(struct cfs_holder *h, uint64_t period_ns,
			  uint32_t drift_ppm, struct cfs_err *err)
{
	struct cfs_shared *s = h->shared;
	int r = 0;

	pthread_mutex_lock(&s->lock);
	drift_ppm = CFS_MIN(drift_ppm, 500000);
	s->mine.seat.period_ns = cfs_shared_margin_ns(period_ns, drift_ppm);
	/* A shorter one holds before others hear of it, a longer one after. */
	if (period_ns < s->period_ns)
		__atomic_store_n(&s->period_ns, period_ns, __ATOMIC_RELEASE);
	if (!cfs_devset_is_overlay(h->set))
		r = cfs_shared_store(h, err);
	if (r == 0)
		__atomic_store_n(&s->period_ns, period_ns, __ATOMIC_RELEASE);
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* ---- the contract -------------------------------------------------------- */

static int shared_new(struct cfs_holder *h, struct cfs_err *err)
{
	struct cfs_shared *s = calloc(1, sizeof(*s));

	if (!s)
		return cfs_err_errno(err, -ENOMEM, "holder");
	pthread_mutex_init(&s->lock, NULL);
	cfs_cond_init(&s->wake);
	s->period_ns = CFS_SHARED_PERIOD_NS;
	h->shared = s;
	return cfs_seat_table_new(h->set, &s->table, err);
}

void cfs_shared_free(struct cfs_holder *h)
{
	struct cfs_shared *s = h->shared;

	if (!s)
		return;
	stop_thread(s);
	cfs_seat_table_free(s->table);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s->live);
	free(s);
	h->shared = NULL;
}

int cfs_shared_take(struct cfs_holder *h, struct cfs_err *err)
{
	struct cfs_holder_watch own = { .is_on = false };
	const bool is_watched = h->opt.watch != NULL;
	int r = shared_new(h, err);

	if (r < 0)
		return r;
	if (!is_watched)
		h->opt.watch = &own;
	pthread_mutex_lock(&take_mutex);
	r = wait_for_it(h, is_watched, err);
	h->state.seat = h->shared->mine.seat;
	pthread_mutex_unlock(&take_mutex);
	h->opt.watch = NULL;
	return r < 0 ? r : start_thread(h, err);
}

int cfs_shared_update(struct cfs_holder *h, const struct cfs_seat *seat,
		      struct cfs_err *err)
{
	struct cfs_shared *s = h->shared;
	int r = lock_as(h, false, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&s->lock);
	memcpy(s->mine.seat.address, seat->address, sizeof(seat->address));
	memcpy(s->mine.seat.absent, seat->absent, sizeof(seat->absent));
	s->mine.seat.absent_count = seat->absent_count;
	s->mine.seat.has_clients = seat->has_clients;
	s->mine.seat.clients_epoch = seat->clients_epoch;
	s->mine.seat.silent_ns = seat->silent_ns;
	if (!cfs_devset_is_overlay(h->set))
		r = cfs_shared_store(h, err);
	pthread_mutex_unlock(&s->lock);
	return r;
}

int cfs_shared_release(struct cfs_holder *h, bool clean, struct cfs_err *err)
{
	struct cfs_shared *s = h->shared;
	int r = 0;

	stop_thread(s);
	/* Who never came to a root of its own has closed nothing. */
	if (!clean || cfs_devset_is_overlay(h->set) ||
	    s->mine.seat.state != CFS_SEAT_OPEN)
		return 0;
	s->mine.seat.state = CFS_SEAT_CLEAN;
	memset(s->mine.seat.address, 0, sizeof(s->mine.seat.address));
	r = cfs_shared_store(h, err);
	return r;
}

/* ---- moving -------------------------------------------------------------- */

static int say(struct cfs_holder *h, struct cfs_err *err)
{
	int r = cfs_shared_store(h, err);

	return r < 0 ? r : cfs_shared_look_again(h, err);
}

int cfs_holder_plan(struct cfs_holder *h,
		    const struct cfs_place plan[CFS_ROOT_PLACES_MAX],
		    struct cfs_err *err)
{
	struct cfs_shared *s = h->shared;
	int r;

	pthread_mutex_lock(&s->lock);
	memcpy(s->mine.seat.plan, plan, sizeof(s->mine.seat.plan));
	r = say(h, err);
	pthread_mutex_unlock(&s->lock);
	return r;
}

int cfs_holder_moved(struct cfs_holder *h,
		     const struct cfs_place roots[CFS_ROOT_PLACES_MAX],
		     struct cfs_err *err)
{
	struct cfs_shared *s = h->shared;
	int r;

	pthread_mutex_lock(&s->lock);
	s->mine.seat.state = CFS_SEAT_OPEN;
	s->mine.seat.base_epoch = s->mine.seat.epoch;
	memcpy(s->mine.seat.roots, roots, sizeof(s->mine.seat.roots));
	memset(s->mine.seat.plan, 0, sizeof(s->mine.seat.plan));
	r = say(h, err);
	if (r == 0)
		cfs_shared_tidy(h);
	pthread_mutex_unlock(&s->lock);
	return r;
}

bool cfs_holder_is_shared(const struct cfs_holder *h)
{
	return h->shared != NULL;
}

bool cfs_holder_must_move(const struct cfs_holder *h)
{
	return h->shared && h->shared->must_move;
}

uint32_t cfs_holder_base_epoch(const struct cfs_holder *h)
{
	return h->shared ? h->shared->base_epoch : 0;
}

bool cfs_holder_are_gone(const struct cfs_holder *h, uint32_t first,
			 uint32_t last)
{
	const struct cfs_shared *s = h->shared;

	for (uint32_t i = 0; s && i < s->live_count; i++)
		if (!__atomic_load_n(&s->live[i].is_gone, __ATOMIC_ACQUIRE) &&
		    s->live[i].epoch >= first && s->live[i].epoch <= last)
			return false;
	return true;
}

uint32_t cfs_holder_live_count(const struct cfs_holder *h)
{
	return h->shared ? h->shared->live_count : 0;
}

void cfs_holder_live_epoch(const struct cfs_holder *h, uint32_t index,
			   uint32_t *ret_epoch, bool *ret_is_gone,
			   struct cfs_place ret_plan[CFS_ROOT_PLACES_MAX])
{
	const struct cfs_live_epoch *l = &h->shared->live[index];

	*ret_epoch = l->epoch;
	*ret_is_gone = __atomic_load_n(&l->is_gone, __ATOMIC_ACQUIRE);
	memcpy(ret_plan, l->plan, sizeof(l->plan));
}

bool cfs_holder_found_absent(const struct cfs_holder *h, uint32_t device_index)
{
	const struct cfs_seat *seat = &h->shared->mine.seat;

	for (uint32_t i = 0; i < seat->absent_count; i++)
		if (seat->absent[i].device_index == device_index)
			return seat->absent[i].epoch < seat->epoch;
	return false;
}
