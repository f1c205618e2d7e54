/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who is asked about a container: the manager of the pool, or who owns it
 * alone.  The manager says which; what it says of a container that comes or
 * goes right now may be wrong a moment later, and then whoever is asked does
 * not know us yet (-EAGAIN), and we look again.
 */
#include "session/direct_priv.h"

#include "base/cleanup.h"
#include "pool/seat_table.h"
#include "session/delegate_msg.h"
#include "session/remote.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 2000u

static bool is_ours(const struct cfs_direct *d,
		    const struct cfs_delegate_entry *e)
{
	const uint64_t id = __atomic_load_n(&d->container, __ATOMIC_RELAXED);

	return e->state == CFS_DELEGATION_HELD &&
	       (id ? e->container == id : strcmp(e->name, d->name) == 0);
}

/* What the manager at @address says.  -ENOENT: it has the container itself. */
static int ask(struct cfs_direct *d, const char *address,
	       struct cfs_delegate_entry *ret, struct cfs_err *err)
{
	const struct cfs_delegate_request q = { .container = 0 };
	struct cfs_session_options opt = d->s->opt;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf body = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf reply = CFS_BUF_INIT;
	struct cfs_delegate_entries entries = { CFS_VEC_INIT };
	struct cfs_remote *remote = NULL;
	int r = cfs_delegate_request_pack(&q, &body);

	opt.lease = NULL;
	if (r == 0)
		r = cfs_remote_connect(address, d->pool_uuid, &opt, ANSWER_MS,
				       &remote, err);
	if (r == 0)
		r = cfs_remote_raw(remote, CFS_DELEGATE_LIST, &body, ANSWER_MS,
				   &reply, err);
	if (r == 0)
		r = cfs_delegate_entries_unpack(reply.data, reply.bytes,
						&entries, err);
	cfs_remote_close(remote);
	/* One that delegates nothing. */
	r = r == 0 || r == -ENOTSUP ? -ENOENT : r;
	for (size_t i = 0; i < entries.v.count && r == -ENOENT; i++) {
		if (!is_ours(d, &entries.v.items[i]))
			continue;
		*ret = entries.v.items[i];
		r = 0;
	}
	cfs_vec_done(&entries.v);
	return r;
}

static int manager_of(struct cfs_direct *d, struct cfs_seat *ret,
		      struct cfs_err *err)
{
	int r = cfs_seat_read(d->set, ret, err);

	if (r == 0 && (ret->state != CFS_SEAT_OPEN || !ret->address[0]))
		r = cfs_err_set(err, -EBUSY, "nobody manages the pool");
	return r;
}

static void set_place(struct direct_place *p, const char *address,
		      uint32_t seat_epoch, bool is_manager)
{
	memset(p, 0, sizeof(*p));
	memcpy(p->address, address,
	       CFS_MIN(strlen(address), sizeof(p->address) - 1));
	p->seat_epoch = seat_epoch;
	p->is_manager = is_manager;
}

int direct_place_first(struct cfs_direct *d, struct direct_place *ret,
		       struct cfs_seat *ret_seat, struct cfs_err *err)
{
	const char *at = d->s->at_address;
	int r = cfs_seat_read(d->set, ret_seat, err);

	if (r == 0)
		set_place(ret, at ? at : ret_seat->address, ret_seat->epoch,
			  !at);
	return r;
}

int direct_place_find(struct cfs_direct *d, struct direct_place *ret,
		      struct cfs_err *err)
{
	struct cfs_delegate_entry e;
	struct cfs_seat seat;
	int r = manager_of(d, &seat, err);

	if (r == 0)
		r = ask(d, seat.address, &e, err);
	if (r == -ENOENT) {
		set_place(ret, seat.address, seat.epoch, true);
		return 0;
	}
	if (r == 0 && !e.address[0])
		return cfs_err_set(err, -EBUSY, "it is not served yet");
	if (r == 0)
		set_place(ret, e.address, seat.epoch, false);
	else if (!d->place.is_manager)
		*ret = d->place; /* it goes on without a manager */
	else
		return r;
	return 0;
}

bool direct_place_is_old(struct cfs_direct *d)
{
	struct cfs_delegate_entry e;
	struct cfs_seat seat;
	int r;

	if (d->place.is_manager)
		return cfs_devset_is_shared(d->set) && d->place.seat_epoch &&
		       manager_of(d, &seat, NULL) == 0 &&
		       seat.epoch > d->place.seat_epoch;
	r = manager_of(d, &seat, NULL);
	if (r == 0)
		r = ask(d, seat.address, &e, NULL);
	return r == -ENOENT ||
	       (r == 0 && strcmp(e.address, d->place.address) != 0);
}

int direct_remote(struct cfs_direct *d, struct cfs_remote **ret,
		  struct cfs_err *err)
{
	const char *at = d->s->at_address;
	struct direct_remote *own;
	struct direct_place place;
	int r;

	pthread_rwlock_rdlock(&d->link);
	place = d->place;
	pthread_rwlock_unlock(&d->link);
	*ret = d->s->remote;
	if (at ? strcmp(at, place.address) == 0 : place.is_manager)
		return 0;
	own = calloc(1, sizeof(*own));
	if (!own)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = cfs_remote_connect(place.address, d->pool_uuid, &d->s->opt,
			       ANSWER_MS, &own->r, err);
	if (r < 0) {
		free(own);
		return r;
	}
	*ret = own->r;
	pthread_mutex_lock(&d->mutex);
	own->next = d->remotes;
	d->remotes = own;
	pthread_mutex_unlock(&d->mutex);
	return 0;
}

void direct_remotes_free(struct cfs_direct *d)
{
	struct direct_remote *own;

	while ((own = d->remotes)) {
		d->remotes = own->next;
		cfs_remote_close(own->r);
		free(own);
	}
}
