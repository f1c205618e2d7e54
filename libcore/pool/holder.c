// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Taking and giving back the pool; the table is in holder.h.
 *
 * What must stay true:
 *  - the record is read and judged under the locks, and they are not let go
 *    between that and the write that says "open";
 *  - while waiting nothing is locked, so that two who wait for the same
 *    devices do not keep each other out;
 *  - the epoch on the devices only rises.
 */
#include "pool/holder_priv.h"

#include "base/cleanup.h"
#include "base/uuid.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* How long the I/O of a killed holder may keep the lock; that is no waiting
 * for anybody's work. */
#define DYING_NS      (3 * CFS_NS_PER_S)
#define DYING_POLL_NS (2 * CFS_NS_PER_MS)

/*
 * A process that let go of a pool without a word and opens it again finds its
 * own record, open, and itself alive.  Whether that holder still is there only
 * the process itself can say.
 */
static pthread_mutex_t live_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct cfs_holder *live_first;

void cfs_holder_live_add(struct cfs_holder *h)
{
	pthread_mutex_lock(&live_mutex);
	h->next = live_first;
	live_first = h;
	pthread_mutex_unlock(&live_mutex);
}

void cfs_holder_live_drop(struct cfs_holder *h)
{
	struct cfs_holder **at;

	pthread_mutex_lock(&live_mutex);
	for (at = &live_first; *at; at = &(*at)->next) {
		if (*at == h) {
			*at = h->next;
			break;
		}
	}
	pthread_mutex_unlock(&live_mutex);
}

bool cfs_holder_live_has(const uint8_t instance_uuid[16])
{
	const struct cfs_holder *h;

	pthread_mutex_lock(&live_mutex);
	for (h = live_first; h; h = h->next)
		if (cfs_uuid_is_equal(h->state.seat.instance_uuid,
				      instance_uuid))
			break;
	pthread_mutex_unlock(&live_mutex);
	return h;
}

/* -------------------------------------------------------------- judging */

bool cfs_seat_is_of_host(const struct cfs_seat *seat,
			 const struct cfs_identity *self)
{
	if (cfs_uuid_is_null(seat->boot_id) || cfs_uuid_is_null(self->boot_id))
		return strcmp(seat->host, self->host) == 0;
	return cfs_uuid_is_equal(seat->boot_id, self->boot_id);
}

bool cfs_host_is_named(const char *names, const char *host)
{
	const size_t bytes = strlen(host);

	for (; names && *names && bytes; names += *names == ' ') {
		const size_t word = strcspn(names, " ");

		if (word == bytes && memcmp(names, host, bytes) == 0)
			return true;
		names += word;
	}
	return false;
}

bool cfs_seat_is_of_process(const struct cfs_seat *seat,
			    const struct cfs_identity *self)
{
	return seat->pid == self->pid &&
	       seat->process_start == self->process_start;
}

void cfs_holder_describe(const struct cfs_seat *seat,
			 const struct cfs_identity *self,
			 char ret[CFS_HOLDER_TEXT_BYTES])
{
	char when[CFS_TIME_TEXT_BYTES];

	if (seat->state != CFS_SEAT_OPEN) {
		snprintf(ret, CFS_HOLDER_TEXT_BYTES,
			 "in use by another process on this host");
	} else if (cfs_seat_is_of_host(seat, self)) {
		snprintf(ret, CFS_HOLDER_TEXT_BYTES,
			 "in use by process %" PRIu64 " on this host",
			 seat->pid);
	} else {
		cfs_time_format_ns(seat->opened_ns, when);
		snprintf(ret, CFS_HOLDER_TEXT_BYTES,
			 "in use by host %s since "
			 "%.19sZ: close it there, or if that host is dead, "
			 "say so with leasectl gone",
			 seat->host, when);
	}
}

/* The locks are ours: does the record let us take the pool? */
static bool may_hold(const struct cfs_holder *h, const struct cfs_seat *seat)
{
	/* Of one that was lost nothing else is known. */
	if (seat->state != CFS_SEAT_OPEN ||
	    cfs_uuid_is_null(seat->instance_uuid))
		return true;
	if (cfs_host_is_named(h->opt.gone_host, seat->host))
		return true;
	if (!cfs_seat_is_of_host(seat, &h->self))
		/* Under our name but of another boot: it has restarted. */
		return strcmp(seat->host, h->self.host) == 0;
	if (cfs_seat_is_of_process(seat, &h->self))
		return !cfs_holder_live_has(seat->instance_uuid);
	return !h->source->is_alive(h->source->arg, seat->pid,
				    seat->process_start);
}

/*
 * The lock is held, by a process of this host that is dead: the kernel still
 * ends its I/O, and lets go behind that.
 */
static bool is_dying(const struct cfs_holder *h, const struct cfs_seat *seat)
{
	return seat->state == CFS_SEAT_OPEN &&
	       cfs_seat_is_of_host(seat, &h->self) &&
	       !cfs_seat_is_of_process(seat, &h->self) &&
	       !h->source->is_alive(h->source->arg, seat->pid,
				    seat->process_start);
}

/* -------------------------------------------------------------- locking */

void cfs_holder_unlock_all(struct cfs_holder *h)
{
	uint32_t index;

	for (index = 0; index < h->lock_count; index++)
		if (cfs_devset_dev(h->set, index))
			cfs_dev_unlock(cfs_devset_dev(h->set, index));
	h->lock_count = 0;
}

/* In the order of indices; goes on where it stopped (added devices). */
static int lock_all(struct cfs_holder *h, struct cfs_err *err)
{
	bool is_exclusive = !cfs_devset_is_overlay(h->set) && !h->shared;
	uint32_t count = cfs_devset_count(h->set);

	for (; h->lock_count < count; h->lock_count++) {
		struct cfs_dev *dev = cfs_devset_dev(h->set, h->lock_count);
		int r = dev ? cfs_dev_lock(dev, is_exclusive, err) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

/* Who waited long may hold an old view of which devices there are. */
int cfs_holder_check_labels(const struct cfs_holder *h, struct cfs_err *err)
{
	uint32_t count = cfs_devset_count(h->set), index;

	for (index = 0; index < count; index++) {
		struct cfs_dev *dev = cfs_devset_dev(h->set, index);
		struct cfs_label label;

		if (dev && cfs_label_peek(dev, &label, NULL) == 0 &&
		    label.seq > cfs_devset_label(h->set, index)->seq)
			return cfs_err_set(err, -EAGAIN,
					   "%s: the devices of "
					   "the pool have changed: try again",
					   cfs_devset_path(h->set, index));
	}
	return 0;
}

/* One try.  -EBUSY: not now, and nothing is locked. */
static int attempt(struct cfs_holder *h, struct cfs_err *err)
{
	char text[CFS_HOLDER_TEXT_BYTES];
	int r = lock_all(h, err);
	bool is_locked = r == 0;

	h->is_dying = false;
	if (r == 0)
		r = cfs_holder_check_labels(h, err);
	if (r == 0)
		r = cfs_seat_load(h->set, &h->state, err);
	if (r == 0 && may_hold(h, &h->state.seat))
		return 0;
	cfs_holder_unlock_all(h);
	if (r < 0 && r != -EBUSY)
		return r;
	if (!is_locked && cfs_seat_load(h->set, &h->state, NULL) < 0)
		return r;
	h->is_dying = !is_locked && is_dying(h, &h->state.seat);
	cfs_holder_describe(&h->state.seat, &h->self, text);
	return cfs_err_set(err, -EBUSY, "%s: %s", cfs_devset_path(h->set, 0),
			   text);
}

static int wait_for_it(struct cfs_holder *h, struct cfs_err *err)
{
	uint64_t begin_ns = cfs_clock_elapsed_ns(h->clock);
	uint64_t wait_ns = cfs_deadline_add(begin_ns,
					    h->opt.wait_seconds * CFS_NS_PER_S);
	uint64_t dying_ns = cfs_deadline_add(begin_ns, DYING_NS);

	for (;;) {
		uint64_t now_ns = cfs_clock_elapsed_ns(h->clock);
		int r = attempt(h, err);
		uint64_t deadline_ns = h->is_dying ? CFS_MAX(wait_ns, dying_ns)
						   : wait_ns;
		uint64_t poll_ns = h->is_dying ? DYING_POLL_NS
					       : CFS_HOLDER_POLL_NS;

		if (r != -EBUSY || now_ns >= deadline_ns)
			return r;
		if (h->opt.stop && h->opt.stop(h->opt.arg))
			return cfs_err_set(err, -EINTR,
					   "%s: stopped while "
					   "waiting for it",
					   cfs_devset_path(h->set, 0));
		cfs_clock_sleep_until(h->clock,
				      CFS_MIN(deadline_ns, now_ns + poll_ns));
	}
}

/* --------------------------------------------------------- the contract */

uint64_t cfs_seat_silent_ns(const struct cfs_seat *before,
			    const struct cfs_identity *self,
			    struct cfs_clock *clock)
{
	const bool is_known = !cfs_uuid_is_null(before->boot_id) &&
			      !cfs_uuid_is_null(self->boot_id);

	if (!before->has_clients)
		return 0;
	if (is_known && before->silent_ns &&
	    cfs_uuid_is_equal(before->boot_id, self->boot_id))
		return before->silent_ns;
	/* The host has restarted: its clock begins behind that manager. */
	if (is_known && before->host[0] &&
	    !cfs_uuid_is_equal(before->boot_id, self->boot_id) &&
	    strcmp(before->host, self->host) == 0)
		return 1;
	return cfs_clock_elapsed_ns(clock);
}

/* The record as ours: what was known of the pool stays. */
static int make_ours(struct cfs_holder *h, struct cfs_err *err)
{
	struct cfs_seat *seat = &h->state.seat;

	if (seat->epoch == UINT32_MAX)
		return cfs_err_set(err, -EUCLEAN, "%s: seat: no epoch is left",
				   cfs_devset_path(h->set, 0));
	seat->epoch++;
	seat->state = CFS_SEAT_OPEN;
	seat->silent_ns = cfs_seat_silent_ns(seat, &h->self, h->clock);
	memcpy(seat->boot_id, h->self.boot_id, sizeof(seat->boot_id));
	memcpy(seat->host, h->self.host, sizeof(seat->host));
	memset(seat->address, 0, sizeof(seat->address));
	seat->pid = h->self.pid;
	seat->process_start = h->self.process_start;
	seat->opened_ns = cfs_clock_realtime_ns(h->clock);
	return cfs_uuid_new(seat->instance_uuid, err);
}

static int take(struct cfs_holder *h, struct cfs_err *err)
{
	int r = wait_for_it(h, err);
	bool is_real = !cfs_devset_is_overlay(h->set);

	if (r == 0 && h->state.seat.state == CFS_SEAT_OPEN &&
	    cfs_uuid_is_null(h->state.seat.instance_uuid))
		cfs_devset_warn(h->set,
				"%s: its seat is lost: the root was "
				"found by its slices%s",
				cfs_devset_path(h->set, 0),
				is_real ? ", and the seat is written anew"
					: "");
	if (r == 0 && is_real)
		r = cfs_seat_level(h->set, &h->state, err);
	if (r == 0)
		r = make_ours(h, err);
	if (r == 0 && is_real)
		r = cfs_seat_store(h->set, &h->state, err);
	return r;
}

int cfs_holder_acquire(struct cfs_devset *set,
		       const struct cfs_holder_options *opt,
		       struct cfs_holder **ret, struct cfs_seat *ret_seat,
		       struct cfs_err *err)
{
	struct cfs_holder *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return cfs_err_errno(err, -ENOMEM, "holder");
	h->set = set;
	h->opt = *opt;
	h->source = opt->identity ? opt->identity : &cfs_identity_host;
	h->clock = opt->clock ? opt->clock : cfs_clock_system();
	h->source->self(h->source->arg, &h->self);
	r = cfs_devset_is_shared(set) ? cfs_shared_take(h, err) : take(h, err);
	if (r < 0) {
		cfs_shared_free(h);
		cfs_holder_unlock_all(h);
		free(h);
		return r;
	}
	cfs_holder_live_add(h);
	*ret_seat = h->state.seat;
	*ret = h;
	return 0;
}

int cfs_holder_update(struct cfs_holder *h, const struct cfs_seat *seat,
		      struct cfs_err *err)
{
	struct cfs_seat_record next = { .seat = *seat, .seq = h->state.seq };
	int r;

	if (h->shared)
		return cfs_shared_update(h, seat, err);
	r = lock_all(h, err);
	if (r == 0 && !cfs_devset_is_overlay(h->set))
		r = cfs_seat_store(h->set, &next, err);
	if (r == 0) {
		pthread_mutex_lock(&live_mutex);
		h->state = next;
		pthread_mutex_unlock(&live_mutex);
	}
	return r;
}

int cfs_holder_release(struct cfs_holder *h, bool clean, struct cfs_err *err)
{
	int r = 0;

	if (!h)
		return 0;
	if (h->shared) {
		r = cfs_shared_release(h, clean, err);
	} else if (clean && !cfs_devset_is_overlay(h->set)) {
		struct cfs_seat_record last = h->state;

		last.seat.state = CFS_SEAT_CLEAN;
		memset(last.seat.address, 0, sizeof(last.seat.address));
		r = cfs_seat_store(h->set, &last, err);
	}
	cfs_holder_live_drop(h);
	cfs_shared_free(h);
	cfs_holder_unlock_all(h);
	free(h);
	return r;
}
