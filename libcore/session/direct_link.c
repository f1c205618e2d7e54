/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The connection of direct access, kept up as long as the leases live. */
#include "session/direct_tree.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/uuid.h"
#include "base/vec.h"
#include "pool/holder.h"
#include "pool/seat_table.h"
#include "session/dial.h"
#include "session/remote.h"
#include "session/silence.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 2000u
#define RETRY_NS  (20 * CFS_NS_PER_MS)
#define BUSY_NS   (5 * CFS_NS_PER_MS)

/* ---- devices and mark ---------------------------------------------------- */

/* To be read and written by many at once they must not be kept by the host. */
static bool is_fit(struct cfs_direct *d, bool is_here)
{
	for (uint32_t i = 0; i < cfs_devset_count(d->set); i++) {
		struct cfs_dev *dev = cfs_devset_dev(d->set, i);

		if (!dev || (!is_here && !cfs_dev_is_direct(dev)))
			return false;
	}
	return true;
}

static int open_set(struct cfs_direct *d, struct cfs_devset **ret,
		    struct cfs_err *err)
{
	const struct cfs_session_options *opt = &d->s->opt;
	const struct cfs_devset_options set_opt = {
		.is_writable = opt->is_writable,
		.is_overlay = !opt->is_writable,
		.is_beside = true,
		.search = opt->search,
		.search_count = opt->search_count,
		.stop = opt->stop,
		.arg = opt->arg,
	};

	return cfs_devset_open(d->s->path, &set_opt, ret, err);
}

/* From device @first on. */
static int mark_set(struct cfs_direct *d, uint32_t first, struct cfs_err *err)
{
	int r = 0;

	for (uint32_t i = first; i < cfs_devset_count(d->set) && r == 0; i++)
		r = cfs_dev_mark(cfs_devset_dev(d->set, i), d->lease_client,
				 err);
	return r == -EOPNOTSUPP ? 0 : r;
}

int direct_follow_devices(struct cfs_direct *d, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_devset_closep) struct cfs_devset *newer = NULL;
	uint32_t first;
	int r;

	pthread_mutex_lock(&d->devices_lock);
	r = open_set(d, &newer, err);
	if (r == 0)
		r = cfs_devset_follow(d->set, newer, &first, err);
	if (r == 0)
		r = mark_set(d, first, err);
	pthread_mutex_unlock(&d->devices_lock);
	return r;
}

/* ---- hello --------------------------------------------------------------- */

static int parse_lender(struct cfs_direct *d, struct cfs_err *err)
{
	const char *lease = d->s->opt.lease;
	const char *at = lease ? strchr(lease, '@') : NULL;
	char name[CFS_LEASE_NAME_BYTES];
	uint8_t uuid[16];
	size_t n;

	if (!lease)
		return 0;
	if (at && cfs_uuid_parse(at + 1, uuid) == 0 &&
	    !cfs_uuid_is_equal(uuid, d->pool_uuid))
		return 0;
	n = at ? (size_t)(at - lease) : strlen(lease);
	if (n >= sizeof(name))
		return cfs_err_set(err, -EINVAL, "not a lease");
	memcpy(name, lease, n);
	name[n] = '\0';
	if (cfs_lease_name_parse(name, &d->lender) < 0)
		return cfs_err_set(err, -EINVAL, "not a lease");
	return 0;
}

int direct_identity(struct cfs_direct *d, struct cfs_buf *buf)
{
	const struct cfs_msg_renew none = { .client_id = 0 };
	struct cfs_msg_renew under = none;
	uint8_t body[sizeof(struct cfs_msg_hello) + 128];
	struct cfs_wire_put put;

	under.client_id = d->lender.lease_id;
	memcpy(under.secret, d->lender.secret, sizeof(under.secret));
	cfs_wire_put_init(&put, body, sizeof(body));
	cfs_msg_hello_pack(&d->hello, &put);
	cfs_msg_renew_pack(&under, &put);
	return put.is_full ? -EMSGSIZE
			   : cfs_buf_append(buf, put.data, put.bytes);
}

static void on_gone(void *arg, const struct cfs_err *why)
{
	struct cfs_direct *d = arg;

	(void)why;
	pthread_mutex_lock(&d->mutex);
	d->is_gone = true;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->mutex);
}

static void on_recall(void *arg, struct cfs_held *held, uint64_t grant_id,
		      const struct cfs_lock_resource *resource, uint32_t mode)
{
	struct cfs_direct *d = arg;

	if (direct_tree_recall(d, held, grant_id, resource, mode))
		return;
	cfs_direct_locks_recall(d->locks, held, grant_id, resource, mode);
}

static void on_lost(void *arg, struct cfs_held *held)
{
	struct cfs_direct *d = arg;

	if (!direct_tree_lost(d, held))
		cfs_direct_locks_lost(d->locks, held);
}

static int say_hello(void *arg, struct cfs_link *link, struct cfs_err *err)
{
	struct cfs_direct *d = arg;
	struct cfs_lease_client_config config = { .hello = d->hello };
	const struct cfs_leaser_hooks hooks = {
		.recall = on_recall,
		.lost = on_lost,
		.notice = direct_notice,
		.gone = on_gone,
		.arg = d,
	};
	const struct cfs_conn_wait wait = {
		.timeout_ns = ANSWER_MS * CFS_NS_PER_MS,
		.stop = d->s->opt.stop,
		.arg = d->s->opt.arg,
	};
	struct cfs_leaser *leaser;
	int r = cfs_leaser_connect(link, &config, &hooks, &wait, &leaser, err);

	/* The hooks run by now. */
	if (r == 0)
		__atomic_store_n(&d->leaser, leaser, __ATOMIC_RELEASE);
	return r;
}

static int welcomed(struct cfs_direct *d, struct cfs_err *err)
{
	struct cfs_lease_client *client = cfs_leaser_lock(d->leaser);
	const struct cfs_msg_welcome *w = cfs_lease_client_welcome(client);
	bool is_in_grace = w->flags & CFS_WELCOME_GRACE;

	d->lease_client = w->client_id;
	cfs_leaser_unlock(d->leaser);
	/* Behind it we may; meanwhile only through the manager. */
	if (is_in_grace)
		return cfs_err_set(err,
				   d->s->opt.io_mode == CFS_IO_MODE_DIRECT
					   ? -EBUSY
					   : -ENOTSUP,
				   "the clients of a former "
				   "manager may still come back");
	return mark_set(d, 0, err);
}

static bool is_here(struct cfs_direct *d, const struct cfs_seat *seat)
{
	struct cfs_identity self;

	/* A socket of this host. */
	if (d->s->at_address)
		return strncmp(d->s->at_address, "unix:", 5) == 0;

	memset(&self, 0, sizeof(self));
	cfs_identity_host.self(cfs_identity_host.arg, &self);
	return cfs_uuid_is_equal(self.boot_id, seat->boot_id) &&
	       !cfs_uuid_is_null(self.boot_id);
}

int direct_connect(struct cfs_direct *d, struct cfs_err *err)
{
	struct direct_place place;
	struct cfs_seat seat;
	int r = open_set(d, &d->set, err);

	if (r == 0)
		r = direct_place_first(d, &place, &seat, err);
	if (r < 0)
		return r;
	if (!is_fit(d, is_here(d, &seat)))
		return cfs_err_set(err, -ENOTSUP,
				   "a device that cannot be "
				   "used by many");
	memcpy(d->pool_uuid, cfs_devset_label(d->set, 0)->pool_uuid, 16);
	r = parse_lender(d, err);
	if (r < 0)
		return r;
	cfs_remote_hello_fill(d->pool_uuid, &d->hello);
	d->hello.flags = CFS_HELLO_DURABLE;
	r = cfs_dial(place.address, &d->s->opt, ANSWER_MS, "its manager",
		     say_hello, d, err);
	d->place = place;
	return r < 0 ? r : welcomed(d, err);
}

void direct_disconnect(struct cfs_direct *d)
{
	cfs_leaser_free(d->leaser, !d->is_lost && !d->keeps_leases);
	d->leaser = NULL;
	direct_remotes_free(d);
	cfs_devset_close(d->set);
	d->set = NULL;
}

/* ---- losing -------------------------------------------------------------- */

void direct_failed(struct cfs_direct *d, const struct cfs_err *why)
{
	pthread_mutex_lock(&d->mutex);
	if (d->failed == 0) {
		d->failed = why->code;
		d->why = *why;
	}
	pthread_mutex_unlock(&d->mutex);
}

static void mark_lost(bool *is_lost, struct cfs_err *ret_why, const char *why)
{
	if (*is_lost)
		return;
	cfs_err_set(ret_why, -ESTALE, "%s", why);
	__atomic_store_n(is_lost, true, __ATOMIC_SEQ_CST);
}

void direct_lose(struct cfs_direct *d, uint64_t container, const char *why)
{
	struct direct_container *dc;

	pthread_mutex_lock(&d->mutex);
	if (!container)
		mark_lost(&d->is_lost, &d->why_lost, why);
	for (dc = d->containers; dc; dc = dc->next)
		if (!container || dc->id == container)
			mark_lost(&dc->is_lost, &dc->why_lost, why);
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->mutex);
}

void direct_lose_one(struct direct_container *dc, const char *why)
{
	pthread_mutex_lock(&dc->d->mutex);
	mark_lost(&dc->is_lost, &dc->why_lost, why);
	pthread_mutex_unlock(&dc->d->mutex);
}

/* The leaser's lock is held, and may be taken once more. */
void direct_lost(void *arg, uint64_t container)
{
	struct cfs_direct *d = arg;
	struct cfs_leaser *leaser = __atomic_load_n(&d->leaser,
						    __ATOMIC_ACQUIRE);
	const char *why = "it ended at once";

	if (leaser) {
		why = cfs_lease_client_why_lost(cfs_leaser_lock(leaser));
		cfs_leaser_unlock(leaser);
	}
	direct_lose(d, container, why);
}

void direct_say_lost(const struct cfs_err *why, struct cfs_err *err)
{
	cfs_err_set(err, -ESTALE,
		    "the lease is lost, and what was not "
		    "synced with it: open it again (%s)",
		    why->msg);
}

static bool is_alive(struct cfs_direct *d)
{
	struct cfs_lease_client *client;
	bool is;

	if (__atomic_load_n(&d->is_lost, __ATOMIC_SEQ_CST))
		return false;
	client = cfs_leaser_lock(d->leaser);
	(void)cfs_lease_client_tick(client);
	is = cfs_lease_client_is_alive(client);
	cfs_leaser_unlock(d->leaser);
	return is && !__atomic_load_n(&d->is_lost, __ATOMIC_SEQ_CST);
}

/*
 * Who fails may be the first to see that the period is over, before the thread
 * that minds it has run again: it is looked for here, so that why is said.
 */
int direct_why(struct direct_container *dc, int r, struct cfs_err *err)
{
	int lost;

	if (r == -ESTALE)
		(void)is_alive(dc->d);
	lost = direct_is_lost(dc, err);
	return lost < 0 ? lost : r;
}

/* ---- calls --------------------------------------------------------------- */

static bool is_old(void *arg)
{
	return direct_place_is_old(arg);
}

static int take_part(void *arg, const uint8_t *body, size_t bytes,
		     struct cfs_err *err)
{
	struct cfs_buf *reply = arg;

	return cfs_buf_append(reply, body, bytes) < 0
		       ? cfs_err_set(err, -ENOMEM, "out of memory")
		       : 0;
}

/* Over the connection as it is; the link is held. */
static int call_once(struct cfs_direct *d, uint16_t type,
		     const struct cfs_buf *body,
		     const struct cfs_conn_wait *wait, struct cfs_buf *reply,
		     struct cfs_err *err)
{
	struct cfs_conn *conn = cfs_leaser_conn(d->leaser);
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf last = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf parts = CFS_BUF_INIT;
	struct cfs_silence silence = { is_old, d, wait, 0, false };
	const struct cfs_conn_wait own = cfs_silence_wait(&silence);
	int r;

	if (!conn || cfs_conn_is_gone(conn))
		return -ECONNRESET;
	r = cfs_conn_stream(conn, type, body->data, body->bytes, &own,
			    take_part, &parts, &last, err);
	if (r < 0)
		return silence.is_over ? -ECONNRESET : r;
	if (reply && (cfs_buf_append(reply, parts.data, parts.bytes) < 0 ||
		      cfs_buf_append(reply, last.data, last.bytes) < 0))
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return 0;
}

static bool is_of_link(int r)
{
	return r == -ECONNRESET || r == -ESHUTDOWN || r == -EPIPE;
}

int direct_call(struct cfs_direct *d, uint16_t type,
		const struct cfs_direct_request *q, struct cfs_buf *reply,
		struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf body = CFS_BUF_INIT;
	/* Only that may wait for others, for as long as they like. */
	const struct cfs_conn_wait opening = {
		.stop = d->s->opt.stop,
		.arg = d->s->opt.arg,
	};
	struct cfs_clock *clock = cfs_clock_system();
	int r = cfs_direct_request_pack(q, &body);

	if (r < 0)
		return cfs_err_errno(err, r, "request");
	for (;;) {
		pthread_rwlock_rdlock(&d->link);
		r = d->is_down ? -ECONNRESET
			       : call_once(d, type, &body,
					   type == CFS_DIRECT_OPEN ? &opening
								   : NULL,
					   reply, err);
		pthread_rwlock_unlock(&d->link);
		/* It has no next one yet. */
		if (r == -ESHUTDOWN)
			cfs_clock_sleep_until(
				clock, cfs_clock_elapsed_ns(clock) + RETRY_NS);
		if (is_of_link(r)) {
			r = direct_mend(d, err);
			if (r == 0)
				continue;
		} else if (r == -EAGAIN) {
			if (!is_alive(d))
				return cfs_err_set(err, -ESTALE,
						   "the lease "
						   "is lost");
			cfs_clock_sleep_until(
				clock, cfs_clock_elapsed_ns(clock) + BUSY_NS);
			continue;
		}
		return r;
	}
}

int direct_acquire(void *arg, const struct cfs_lease_request *req,
		   const struct cfs_conn_wait *wait, struct cfs_held **ret,
		   struct cfs_err *err)
{
	struct cfs_direct *d = arg;
	int r;

	for (;;) {
		struct cfs_silence silence = { is_old, d, wait, 0, false };
		const struct cfs_conn_wait own = cfs_silence_wait(&silence);

		pthread_rwlock_rdlock(&d->link);
		r = d->is_down ? -ECONNRESET
			       : cfs_leaser_acquire(d->leaser, req, &own, ret,
						    err);
		pthread_rwlock_unlock(&d->link);
		if (!silence.is_over && r == -ETIMEDOUT)
			return cfs_err_set(err, r,
					   "leased by somebody else, "
					   "who has not given it back in time");
		if (!silence.is_over && !is_of_link(r))
			return r;
		r = direct_mend(d, err);
		if (r < 0)
			return r;
	}
}

/* ---- another connection -------------------------------------------------- */

struct open_list {
	struct cfs_direct_request *items;
	size_t count, room;
};

static int say_again(void *arg, struct cfs_link *link, struct cfs_err *err)
{
	struct cfs_direct *d = arg;
	const struct cfs_conn_wait wait = {
		.timeout_ns = ANSWER_MS * CFS_NS_PER_MS,
	};
	struct cfs_lease_client *client;
	uint64_t id;
	int r = cfs_leaser_reconnect(d->leaser, link, &wait, err);

	if (r < 0)
		return r;
	client = cfs_leaser_lock(d->leaser);
	id = cfs_lease_client_id(client);
	cfs_leaser_unlock(d->leaser);
	/* As somebody new: nothing of ours is known there. */
	if (id != d->lease_client)
		direct_lose(d, 0, "the manager does not know us any more");
	return 0;
}

/* What is open now; the mutex is not held while it is asked for. */
static int list_open(struct cfs_direct *d, struct open_list *list)
{
	int r = 0;

	pthread_mutex_lock(&d->mutex);
	for (struct direct_volume *v = d->volumes; v && r == 0; v = v->next) {
		const struct cfs_direct_request q = {
			.use = v->use,
			.container = v->dc->id,
			.client = v->dc->client,
			.volume_id = v->id,
			.stamp = v->stamp,
			.flags = CFS_DIRECT_AGAIN |
				 (v->is_writable ? CFS_DIRECT_WRITES : 0),
		};

		if (!__atomic_load_n(&v->dc->is_lost, __ATOMIC_SEQ_CST) &&
		    cfs_vec_push(list, q) < 0)
			r = -ENOMEM;
	}
	pthread_mutex_unlock(&d->mutex);
	return r;
}

/* What was open is counted by this manager, too. */
static int open_again(struct cfs_direct *d, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf who = CFS_BUF_INIT;
	struct cfs_err why = CFS_ERR_INIT;
	struct open_list list = CFS_VEC_INIT;
	int r = direct_identity(d, &who);

	if (r == 0)
		r = list_open(d, &list);
	for (size_t i = 0; i < list.count && r == 0; i++) {
		CFS_CLEANUP(cfs_buf_donep) struct cfs_buf body = CFS_BUF_INIT;
		struct cfs_direct_request *q = &list.items[i];

		if (i + 1 == list.count)
			q->flags |= CFS_DIRECT_IS_ALL;
		q->data = who.data;
		q->data_bytes = who.bytes;
		r = cfs_direct_request_pack(q, &body);
		if (r == 0)
			r = call_once(d, CFS_DIRECT_OPEN, &body, NULL, NULL,
				      &why);
		if (r == -ESTALE || r == -ENOENT || r == -EBUSY) {
			cfs_err_wrap(&why, r, "the next manager says");
			direct_lose(d, q->container, why.msg);
			r = 0;
		}
	}
	cfs_vec_done(&list);
	if (r < 0 && err)
		*err = why;
	return r;
}

static int try_mend(struct cfs_direct *d, struct cfs_err *err)
{
	struct direct_place place;
	int r = direct_place_find(d, &place, err);

	if (r == 0)
		r = cfs_dial(place.address, &d->s->opt, ANSWER_MS,
			     "its manager", say_again, d, err);
	if (r < 0)
		return r;
	d->place = place;
	return open_again(d, err);
}

int direct_mend(struct cfs_direct *d, struct cfs_err *err)
{
	struct cfs_clock *clock = cfs_clock_system();
	struct cfs_conn *conn;
	int r = 0;

	pthread_rwlock_wrlock(&d->link);
	conn = cfs_leaser_conn(d->leaser);
	d->is_down |= !conn || cfs_conn_is_gone(conn) || direct_place_is_old(d);
	while (d->is_down) {
		if (!is_alive(d)) {
			direct_lose(d, 0,
				    "its period ended before a manager "
				    "was found");
			r = cfs_err_set(err, -ESTALE,
					"the manager of the pool "
					"is gone, and with it the lease");
			break;
		}
		if (try_mend(d, NULL) == 0) {
			d->is_down = false;
			d->stats.reconnects++;
		} else {
			cfs_clock_sleep_until(
				clock, cfs_clock_elapsed_ns(clock) + RETRY_NS);
		}
	}
	pthread_rwlock_unlock(&d->link);
	return r;
}
