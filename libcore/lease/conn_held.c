// SPDX-License-Identifier: LGPL-2.1-or-later
/* Leases as callers have them: asked for and waited for, changed, given back.
 */
#include "lease/conn_lease_priv.h"

#include <stdlib.h>

static void expect(struct cfs_leaser *leaser, bool begins)
{
	if (leaser->via.expect)
		leaser->via.expect(leaser->via.arg, begins);
}

static bool is_settled(void *arg)
{
	struct cfs_held *held = arg;
	bool is;

	leaser_lock(held->leaser);
	is = !held->is_waiting;
	leaser_unlock(held->leaser);
	return is;
}

/* What a request came to; @held is settled.  With the lock. */
static int outcome(const struct cfs_held *held, struct cfs_err *err)
{
	if (held->status == 0)
		return 0;
	if (held->err.code == held->status)
		return cfs_err_set(err, held->status, "%s", held->err.msg);
	return cfs_err_errno(err, held->status, "lease");
}

/* Until the request of @held has come to something. */
static int settle(struct cfs_held *held, const struct cfs_conn_wait *wait,
		  struct cfs_err *err)
{
	struct cfs_leaser *leaser = held->leaser;

	return leaser->via.wait(leaser->via.arg, is_settled, held, wait, err);
}

/*
 * What the owner has asked back may still serve another of our requests for a
 * while; the owner says so once, so the new one is told here.  With the lock.
 */
static void tell_if_recalled(struct cfs_held *held)
{
	struct cfs_leaser *leaser = held->leaser;
	uint32_t mode;

	if (leaser->hooks.recall && cfs_lease_is_recalled(held->lease, &mode))
		leaser->hooks.recall(leaser->hooks.arg, held,
				     cfs_lease_grant_of(held->lease),
				     cfs_lease_resource_of(held->lease), mode);
}

int cfs_leaser_acquire(struct cfs_leaser *leaser,
		       const struct cfs_lease_request *req,
		       const struct cfs_conn_wait *wait, struct cfs_held **ret,
		       struct cfs_err *err)
{
	struct cfs_held *held = calloc(1, sizeof(*held));
	struct cfs_lease_request mine = *req;
	bool is_waiting;
	int r;

	if (!held)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	held->leaser = leaser;
	held->user = req->user;
	held->is_waiting = true;
	mine.user = held;
	expect(leaser, true);
	leaser_lock(leaser);
	r = cfs_lease_client_acquire(leaser->client, &mine, &held->lease, err);
	if (r == 0 && cfs_lease_state_of(held->lease) == CFS_LEASE_HELD)
		held->is_waiting = false;
	is_waiting = r == 0 && held->is_waiting;
	leaser_unlock(leaser);
	if (is_waiting)
		r = settle(held, wait, err);
	expect(leaser, false);
	if (!held->lease) {
		free(held);
		return r;
	}
	leaser_lock(leaser);
	/* It may have come while we gave up. */
	if (!held->is_waiting)
		r = outcome(held, err);
	if (r == 0)
		tell_if_recalled(held);
	leaser_unlock(leaser);
	if (r < 0)
		cfs_leaser_release(held);
	else
		*ret = held;
	return r;
}

int cfs_leaser_change(struct cfs_held *held, uint32_t mode, bool is_patient,
		      const struct cfs_conn_wait *wait, struct cfs_err *err)
{
	struct cfs_leaser *leaser = held->leaser;
	bool is_waiting;
	int r;

	expect(leaser, true);
	leaser_lock(leaser);
	held->is_waiting = true;
	held->status = 0;
	r = cfs_lease_client_change(held->lease, mode, is_patient, err);
	/* What covers it has it: a weaker mode is never waited for. */
	if (r < 0 || cfs_lock_mode_covers(cfs_lease_mode_of(held->lease), mode))
		held->is_waiting = false;
	is_waiting = held->is_waiting;
	leaser_unlock(leaser);
	if (is_waiting)
		r = settle(held, wait, err);
	expect(leaser, false);
	leaser_lock(leaser);
	/* It may have come at once, or while we gave up. */
	if (!held->is_waiting)
		r = r < 0 && !is_waiting ? r : outcome(held, err);
	else if (is_waiting)
		cfs_lease_client_change_cancel(held->lease);
	leaser_unlock(leaser);
	return r;
}

void cfs_leaser_release(struct cfs_held *held)
{
	struct cfs_leaser *leaser;

	if (!held)
		return;
	leaser = held->leaser;
	leaser_lock(leaser);
	cfs_lease_client_release(held->lease);
	leaser_unlock(leaser);
	free(held);
}

bool cfs_leaser_may_start(struct cfs_held *held, uint64_t duration_ns)
{
	bool may;

	leaser_lock(held->leaser);
	may = cfs_lease_client_may_start(held->lease, duration_ns);
	leaser_unlock(held->leaser);
	return may;
}

bool cfs_leaser_still_holds(struct cfs_held *held)
{
	bool holds;

	leaser_lock(held->leaser);
	holds = cfs_lease_client_still_holds(held->lease);
	leaser_unlock(held->leaser);
	return holds;
}

void cfs_leaser_name(struct cfs_held *held, struct cfs_lease_name *ret)
{
	leaser_lock(held->leaser);
	cfs_lease_name_of(held->lease, ret);
	leaser_unlock(held->leaser);
}
