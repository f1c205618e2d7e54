/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the manager wants of the containers of direct access, and what is due:
 * done by a thread, which the manager may wait for.  So it answers, or says
 * that it never will.
 */
#include "session/direct_priv.h"

#include "base/clock.h"
#include "base/cond.h"

#define VIEW_NS    (5 * CFS_NS_PER_S) /* a view is not kept longer */
#define LOANS_IDLE 1u                 /* groups: what one writes to is kept */

void direct_notice(void *arg, const void *msg, size_t bytes)
{
	struct cfs_direct *d = arg;
	struct direct_container *dc;
	struct cfs_wire_get body;
	struct cfs_msg_head head;
	uint64_t container, value;
	bool is_known = false;

	if (cfs_msg_open(msg, bytes, &head, &body, NULL) < 0)
		return;
	container = cfs_wire_get_u64(&body);
	value = cfs_wire_get_u64(&body);
	if (body.is_bad)
		return;
	pthread_mutex_lock(&d->mutex);
	for (dc = d->containers; dc; dc = dc->next) {
		if (dc->id != container ||
		    __atomic_load_n(&dc->is_lost, __ATOMIC_SEQ_CST))
			continue;
		is_known = true;
		if (head.type == CFS_DIRECT_HOLD)
			dc->hold_serial = value;
		else if (head.type == CFS_DIRECT_RETURN)
			__atomic_store_n(&dc->must_return, true,
					 __ATOMIC_SEQ_CST);
	}
	if (!is_known && head.type == CFS_DIRECT_HOLD) {
		d->early_container = container;
		d->early_serial = value;
	}
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->mutex);
}

/* What is to be done for a container, taken off it. */
struct due {
	struct direct_container *dc;
	uint64_t hold_serial;
	bool must_return, must_look, is_idle;
};

static bool is_due(struct cfs_direct *d, struct due *ret)
{
	const uint64_t now = cfs_clock_elapsed_ns(cfs_clock_system());
	struct direct_container *dc;

	for (dc = d->containers; dc; dc = dc->next) {
		bool must_look = __atomic_load_n(&dc->viewed_ns,
						 __ATOMIC_RELAXED) +
					 VIEW_NS <
				 now;

		if (__atomic_load_n(&dc->is_lost, __ATOMIC_SEQ_CST) ||
		    (!dc->hold_serial &&
		     (__atomic_load_n(&dc->has_failed, __ATOMIC_SEQ_CST) ||
		      (!dc->must_return && !must_look))))
			continue;
		*ret = (struct due){
			dc,
			dc->hold_serial,
			dc->must_return,
			must_look,
			__atomic_load_n(&dc->is_idle, __ATOMIC_RELAXED),
		};
		if (must_look)
			__atomic_store_n(&dc->is_idle, true, __ATOMIC_RELAXED);
		dc->hold_serial = 0;
		dc->users++;
		return true;
	}
	return false;
}

/* What nobody has written to since the last look goes back. */
static bool has_idle_loans(const struct due *due)
{
	struct cfs_client_counts counts;

	if (!due->is_idle)
		return false;
	cfs_container_client_counts(due->dc->c, &counts);
	return counts.loan_count > LOANS_IDLE;
}

static void do_due(const struct due *due)
{
	struct direct_container *dc = due->dc;
	const struct cfs_direct_request held = {
		.container = dc->id,
		.client = dc->client,
		.value = due->hold_serial,
	};
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	if (due->hold_serial) {
		r = cfs_container_hold(dc->c, &err);
		if (r == 0)
			(void)direct_call(dc->d, CFS_DIRECT_HELD, &held, NULL,
					  NULL);
	} else if (due->must_return || has_idle_loans(due)) {
		r = cfs_container_give_back(dc->c, false, &err);
		__atomic_store_n(&dc->must_return, false, __ATOMIC_SEQ_CST);
	} else {
		__atomic_store_n(&dc->viewed_ns,
				 cfs_clock_elapsed_ns(cfs_clock_system()),
				 __ATOMIC_RELAXED);
		r = cfs_container_refresh(dc->c, &err);
	}
	if (r < 0 && !__atomic_load_n(&dc->is_lost, __ATOMIC_SEQ_CST))
		direct_note_failure(dc, &err);
	/* Nobody is to wait for what cannot come. */
	if (r < 0 && due->hold_serial)
		(void)direct_give_up(dc, &err);
	direct_container_put(dc);
}

void *direct_run(void *arg)
{
	struct cfs_direct *d = arg;
	struct due due;

	pthread_mutex_lock(&d->mutex);
	while (!d->is_ending) {
		if (d->is_gone &&
		    !__atomic_load_n(&d->is_lost, __ATOMIC_SEQ_CST)) {
			d->is_gone = false;
			pthread_mutex_unlock(&d->mutex);
			(void)direct_mend(d, NULL);
		} else if (is_due(d, &due)) {
			pthread_mutex_unlock(&d->mutex);
			do_due(&due);
		} else {
			(void)cfs_cond_wait_ns(&d->changed, &d->mutex,
					       CFS_NS_PER_S);
			continue;
		}
		pthread_mutex_lock(&d->mutex);
	}
	pthread_mutex_unlock(&d->mutex);
	return NULL;
}
