// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * That there are clients stands in the record before the first one is welcome:
 * whoever holds the pool, or has the container, after us has to wait for them.
 *
 * A secondary's record is kept by its manager, which may stand still.  The
 * service thread must not, as it renews the leases of those who are clients
 * already.  So the first hello is put aside and heard again behind the answer,
 * which the secondary's own thread waits for; whoever said it gives up when he
 * likes, or is dropped as one who did not say who he is.
 */
#include "session/serve_run_priv.h"

#include "session/secondary.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- waiting for the mark ------------------------------------------------ */

static int park(struct cfs_serve *serve, uint64_t peer, const void *msg,
		size_t bytes, struct cfs_err *err)
{
	struct cfs_parked **at, *p;

	for (at = &serve->parked; *at; at = &(*at)->next)
		if ((*at)->peer == peer)
			return cfs_err_set(err, -EPROTO, "it says hello twice");
	p = malloc(sizeof(*p) + bytes);
	if (!p)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	p->next = NULL;
	p->peer = peer;
	p->bytes = bytes;
	memcpy(p->msg, msg, bytes);
	*at = p;
	return -EINPROGRESS;
}

void cfs_serve_unpark_peer(struct cfs_serve *serve, uint64_t peer)
{
	struct cfs_parked **at, *p;

	for (at = &serve->parked; (p = *at) && p->peer != peer; at = &p->next)
		;
	if (p)
		*at = p->next;
	free(p);
}

void cfs_serve_unpark(struct cfs_serve *serve)
{
	struct cfs_parked *list, *p;

	pthread_mutex_lock(&serve->lock);
	list = serve->is_marked ? serve->parked : NULL;
	if (list)
		serve->parked = NULL;
	pthread_mutex_unlock(&serve->lock);
	while ((p = list)) {
		list = p->next;
		cfs_serve_on_lease(serve, p->peer, p->msg, p->bytes);
		free(p);
	}
}

/* ---- the mark of clients ------------------------------------------------- */

/* With the lock, or with nobody else left.  0 if it stands already. */
static int mark_clients(struct cfs_serve *serve, bool has_clients,
			struct cfs_err *err)
{
	struct cfs_session *s = serve->session;
	const uint32_t before = s->seat.clients_epoch;
	int r = 0;

	pthread_mutex_lock(&s->seat_lock);
	if (s->seat.has_clients != has_clients || s->secondary) {
		s->seat.has_clients = has_clients;
		s->seat.clients_epoch = has_clients && serve->former
						? s->seat.epoch
						: 0;
		r = cfs_session_store_seat_locked(s, err);
		if (r < 0) {
			s->seat.has_clients = !has_clients;
			s->seat.clients_epoch = before;
		}
	}
	pthread_mutex_unlock(&s->seat_lock);
	return r;
}

/* With the lock.  Clients of this process have nothing when it has gone. */
static bool may_unmark(struct cfs_serve *serve, uint32_t locals)
{
	return cfs_owner_client_count(serve->owner) <= locals &&
	       !cfs_owner_is_in_grace_of(serve->owner, 0) &&
	       !cfs_serve_direct_has_clients(serve->direct) &&
	       !cfs_serve_delegate_has_any(serve->delegate);
}

int cfs_serve_mark(struct cfs_serve *serve, uint64_t peer, const void *msg,
		   size_t bytes, struct cfs_err *err)
{
	if (!serve->session->secondary)
		return mark_clients(serve, true, err);
	return serve->is_marked ? 0 : park(serve, peer, msg, bytes, err);
}

int cfs_serve_unmark(struct cfs_serve *serve, struct cfs_err *err)
{
	bool may;

	pthread_mutex_lock(&serve->lock);
	may = may_unmark(serve, 0);
	pthread_mutex_unlock(&serve->lock);
	return may ? mark_clients(serve, false, err) : 0;
}

int cfs_serve_mark_wanted(struct cfs_serve *serve)
{
	uint32_t locals = 0;
	int wanted = -1;

	pthread_mutex_lock(&serve->lock);
	for (const struct cfs_local *l = serve->locals; l; l = l->next)
		locals++;
	if (!serve->is_marked && serve->parked) {
		wanted = 1;
	} else if (serve->is_marked && may_unmark(serve, locals)) {
		/* Nobody is welcome meanwhile, nor if it stays unknown what
		 * the record says. */
		serve->is_marked = false;
		wanted = 0;
	}
	pthread_mutex_unlock(&serve->lock);
	return wanted;
}

void cfs_serve_mark_told(struct cfs_serve *serve, bool has_clients, int r)
{
	struct cfs_session *s = serve->session;

	if (r < 0)
		return;
	pthread_mutex_lock(&serve->lock);
	serve->is_marked = has_clients;
	pthread_mutex_lock(&s->seat_lock);
	s->seat.has_clients = has_clients;
	pthread_mutex_unlock(&s->seat_lock);
	pthread_mutex_unlock(&serve->lock);
	cfs_server_kick(serve->server);
}
