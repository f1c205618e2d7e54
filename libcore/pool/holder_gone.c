/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An operator's word, while we hold a shared pool, that a host before us is
 * dead.  What must stay true:
 *
 *  - its seats say so before we act on it.  Who comes behind us, should we die
 *    in the middle of giving back, learns from the seats who may still write:
 *    it goes on with that, and does not take for frozen what we have handed out
 *  - no seat is written that another instance has taken up since we learnt of
 *    it: its ballots may count
 *  - an epoch that is gone stays gone.  Other threads ask without a lock.
 */
#include "pool/holder_priv.h"

#include "base/uuid.h"

static bool is_of(const struct cfs_live_epoch *l, const char *host)
{
	return strncmp(l->host, host, sizeof(l->host)) == 0;
}

bool cfs_holder_knows_host(const struct cfs_holder *h, const char *host)
{
	const struct cfs_shared *s = h->shared;

	for (uint32_t i = 0; s && i < s->live_count; i++)
		if (is_of(&s->live[i], host))
			return true;
	return false;
}

/* The table is as it was read just now. */
static int give_up(struct cfs_holder *h, struct cfs_live_epoch *l,
		   struct cfs_err *err)
{
	const struct cfs_seat_entry *e = &h->shared->table->seats[l->seat];
	int r = 0;

	if (e->is_valid && e->seat.state != CFS_SEAT_FREE &&
	    e->seat.epoch == l->epoch &&
	    cfs_uuid_is_equal(e->seat.instance_uuid, l->instance_uuid))
		r = cfs_shared_free_seat(h, l->seat, err);
	/* Else it has a new instance: that one knew this one to be gone. */
	if (r < 0 && r != -EBUSY)
		return r;
	__atomic_store_n(&l->is_gone, true, __ATOMIC_RELEASE);
	return 0;
}

int cfs_holder_host_gone(struct cfs_holder *h, const char *host,
			 struct cfs_err *err)
{
	struct cfs_shared *s = h->shared;
	int r;

	if (!cfs_holder_knows_host(h, host))
		return cfs_err_set(err, -ENOENT, "%s: no such host", host);
	pthread_mutex_lock(&s->lock);
	r = cfs_shared_look_again(h, err);
	for (uint32_t i = 0; r == 0 && i < s->live_count; i++)
		if (is_of(&s->live[i], host))
			r = give_up(h, &s->live[i], err);
	pthread_mutex_unlock(&s->lock);
	return r;
}
