/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A session that answers nobody, on a pool whose manager has died: its clients
 * may still believe in their leases, also those who have no more than that.
 *
 * Where it is known of each of them that he is dead (serve_former.h), nobody is
 * waited for.  Else, on a pool of one host, we let go of the pool and look on:
 * a client that needs a manager starts one, which decides who gets what, and
 * answers us.  Where none does, his period ends while we look.  On shared pools
 * to let go and to take again is an epoch each; there we wait with the pool in
 * our hands.
 */
#include "session/session_priv.h"

#include "base/clock.h"
#include "base/uuid.h"
#include "session/serve_former.h"
#include "volume/pool_delegate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool cfs_session_may_have_leases(const struct cfs_session *s)
{
	return s->seat.has_clients &&
	       cfs_former_may_live(s->former_address,
				   cfs_devset_label(s->set, 0)->pool_uuid,
				   s->seat.clients_epoch);
}

int cfs_session_still_in_grace(uint64_t end_ns, struct cfs_err *err)
{
	const uint64_t now_ns = cfs_clock_elapsed_ns(cfs_clock_system());
	const uint64_t left_ns = end_ns > now_ns ? end_ns - now_ns : 0;

	return cfs_err_set(err, -EBUSY,
			   "in grace for another %" PRIu64 " s: "
			   "clients of a manager that has died may still have "
			   "leases",
			   (left_ns + CFS_NS_PER_S - 1) / CFS_NS_PER_S);
}

int cfs_session_note_unknown(struct cfs_session *s, struct cfs_err *err)
{
	s->seat.has_clients = true;
	s->seat.clients_epoch = 0;
	s->seat.silent_ns = cfs_clock_elapsed_ns(cfs_clock_system());
	return cfs_session_store_seat(s, err);
}

static int is_held(void *arg, const struct cfs_delegation *d,
		   struct cfs_err *err)
{
	bool *is = arg;

	(void)err;
	*is |= d->rec.state == CFS_DELEGATION_HELD;
	return 0;
}

int cfs_session_forget_former(struct cfs_session *s, struct cfs_err *err)
{
	bool is = false;
	int r = cfs_pool_delegations(s->pool, is_held, &is, err);

	if (r < 0)
		return r;
	/* A secondary is a client, and stays one; nobody waits for it. */
	s->seat.has_clients = is;
	s->seat.clients_epoch = 0;
	s->seat.silent_ns = is;
	return cfs_session_store_seat(s, err);
}

#define FEW_TAKEOVERS 4u

void cfs_session_warn_takeovers(const struct cfs_session *s)
{
	const unsigned int left = cfs_pool_takeovers_left(s->pool);
	char line[CFS_ERR_BYTES];

	if (!s->opt.warn || !cfs_devset_is_shared(s->set) ||
	    left > FEW_TAKEOVERS)
		return;
	(void)snprintf(line, sizeof(line),
		       "%s: it can be taken over from %u more silent %s: say "
		       "with leasectl gone which are dead",
		       cfs_devset_path(s->set, 0), left,
		       left == 1 ? "host" : "hosts");
	s->opt.warn(s->opt.arg, line);
}

void cfs_session_step_back(struct cfs_session *s)
{
	/* Beside it stands who they are. */
	memcpy(s->seat.address, s->former_address, sizeof(s->seat.address));
	/* We live, but have it no more: who needs a manager must not take us
	 * for one that does not answer. */
	s->seat.pid = 0;
	(void)cfs_session_store_seat(s, NULL);
	cfs_pool_drop(s->pool);
	s->pool = NULL;
	(void)cfs_holder_release(s->holder, false, NULL);
	s->holder = NULL;
	cfs_devset_close(s->set);
	s->set = NULL;
}

bool cfs_session_grace_is_on(struct cfs_session *s,
			     const struct cfs_devset *set)
{
	const uint64_t now_ns = cfs_clock_elapsed_ns(cfs_clock_system());
	struct cfs_seat seat;
	bool is = set && now_ns < s->grace_end_ns &&
		  cfs_seat_read(set, &seat, NULL) == 0 && seat.has_clients &&
		  seat.silent_ns == s->seat.silent_ns &&
		  cfs_former_may_live(s->former_address,
				      cfs_devset_label(set, 0)->pool_uuid,
				      s->seat.clients_epoch);

	if (!is)
		s->grace_end_ns = 0;
	return is;
}

void cfs_session_tell_grace(struct cfs_session *s, const char *pool,
			    uint64_t begin_ns)
{
	const uint64_t now_ns = cfs_clock_elapsed_ns(cfs_clock_system());
	struct cfs_err why = CFS_ERR_INIT;
	char line[2 * CFS_ERR_BYTES];

	if (s->was_told || now_ns - begin_ns < CFS_NS_PER_S || !s->opt.warn)
		return;
	s->was_told = true;
	(void)cfs_session_still_in_grace(s->grace_end_ns, &why);
	(void)snprintf(line, sizeof(line), "%s: %s", pool, why.msg);
	s->opt.warn(s->opt.arg, line);
}
