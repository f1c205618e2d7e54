/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding a pool's manager, looking on, orders: see lease.h. */
#include "session/lease.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "pool/devset.h"
#include "pool/holder.h"
#include "session/delegate_msg.h"
#include "session/dial.h"
#include "session/remote.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An answer that costs the manager next to nothing. */
#define ANSWER_NS (30 * CFS_NS_PER_S)
/* Behind that logs are read, and what a host kept is given back. */
#define GONE_NS   (600 * CFS_NS_PER_S)

struct cfs_manager {
	struct cfs_conn *conn;
	struct cfs_session_options opt;
	struct cfs_manager_info info;
};

/* ---- who ----------------------------------------------------------------- */

static bool is_here(const struct cfs_seat *seat,
		    const struct cfs_identity *self)
{
	if (cfs_uuid_is_null(seat->boot_id) || cfs_uuid_is_null(self->boot_id))
		return strcmp(seat->host, self->host) == 0;
	return cfs_uuid_is_equal(seat->boot_id, self->boot_id);
}

/* As pool/holder.h judges it, without the kernel's lock. */
static bool is_held(const struct cfs_seat *seat,
		    const struct cfs_identity *self)
{
	if (seat->state != CFS_SEAT_OPEN)
		return false;
	if (!is_here(seat, self)) /* of another boot: it has restarted */
		return strcmp(seat->host, self->host) != 0;
	return cfs_identity_host.is_alive(cfs_identity_host.arg, seat->pid,
					  seat->process_start);
}

static void fill_info(const struct cfs_seat *seat, const uint8_t uuid[16],
		      struct cfs_manager_info *ret)
{
	struct cfs_identity self;

	_Static_assert(sizeof(ret->host) == sizeof(seat->host), "host");
	_Static_assert(sizeof(ret->address) == sizeof(seat->address),
		       "address");
	memset(&self, 0, sizeof(self));
	cfs_identity_host.self(cfs_identity_host.arg, &self);
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->pool_uuid, uuid, sizeof(ret->pool_uuid));
	ret->is_held = is_held(seat, &self);
	ret->is_here = is_here(seat, &self);
	ret->epoch = seat->epoch;
	ret->pid = seat->pid;
	memcpy(ret->host, seat->host, sizeof(ret->host));
	if (ret->is_held)
		memcpy(ret->address, seat->address, sizeof(ret->address));
}

int cfs_manager_find(const char *pool, const struct cfs_session_options *opt,
		     struct cfs_manager_info *ret, struct cfs_err *err)
{
	const struct cfs_devset_options set_opt = {
		.is_overlay = true,
		.search = opt->search,
		.search_count = opt->search_count,
		.stop = opt->stop,
		.arg = opt->arg,
	};
	CFS_CLEANUP(cfs_devset_closep) struct cfs_devset *set = NULL;
	struct cfs_seat seat = { .epoch = 0 };
	int r = cfs_devset_open(pool, &set_opt, &set, err);

	if (r == 0)
		r = cfs_seat_read(set, &seat, err);
	if (r < 0)
		return r;
	fill_info(&seat, cfs_devset_label(set, 0)->pool_uuid, ret);
	return 0;
}

/* ---- connecting ---------------------------------------------------------- */

/* What is tried with each address. */
struct attempt {
	const struct cfs_session_options *opt;
	const struct cfs_manager_info *info;
	unsigned int timeout_ms;
	int (*say_hello)(struct attempt *a, struct cfs_link *link,
			 struct cfs_err *err);
	struct cfs_conn_wait wait;
	struct cfs_lease_client_config config;
	const struct cfs_leaser_hooks *hooks;
	struct cfs_leaser *leaser;
	struct cfs_manager *manager;
};

static int on_link(void *arg, struct cfs_link *link, struct cfs_err *err)
{
	struct attempt *a = arg;

	return a->say_hello(a, link, err);
}

static int try_addresses(struct attempt *a, struct cfs_err *err)
{
	a->wait = (struct cfs_conn_wait){
		.timeout_ns = a->timeout_ms * CFS_NS_PER_MS,
		.stop = a->opt->stop,
		.arg = a->opt->arg,
	};
	return cfs_dial(a->info->address, a->opt, a->timeout_ms, "its manager",
			on_link, a, err);
}

static void name_us(struct cfs_msg_hello *hello,
		    const struct cfs_manager_info *info, const char *name,
		    uint32_t flags)
{
	cfs_remote_hello_fill(info->pool_uuid, hello);
	hello->flags = flags;
	if (cfs_msg_name_is_valid(name, sizeof(hello->name)))
		(void)snprintf(hello->name, sizeof(hello->name), "%s", name);
}

static int hello_observer(struct attempt *a, struct cfs_link *link,
			  struct cfs_err *err)
{
	const struct cfs_conn_options opt = { .calls_max = 0 };
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf reply = CFS_BUF_INIT;
	uint8_t body[sizeof(struct cfs_msg_hello) + 64];
	struct cfs_msg_welcome welcome = { .epoch = 0 };
	struct cfs_wire_put put;
	struct cfs_wire_get get;
	struct cfs_conn *conn = NULL;
	int r = cfs_conn_new(link, &opt, &conn, err);

	if (r < 0)
		return r;
	cfs_wire_put_init(&put, body, sizeof(body));
	cfs_msg_hello_pack(&a->config.hello, &put);
	r = cfs_conn_call(conn, CFS_MSG_HELLO, put.data, put.bytes, &a->wait,
			  &reply, err);
	cfs_wire_get_init(&get, reply.data, reply.bytes);
	if (r == 0)
		r = cfs_msg_welcome_unpack(&get, &welcome, err);
	if (r < 0) {
		cfs_conn_free(conn);
		return r;
	}
	/* It may be another one than stood in the record. */
	a->manager->info.epoch = welcome.epoch;
	a->manager->conn = conn;
	return 0;
}

int cfs_manager_connect(const struct cfs_manager_info *info, const char *name,
			const struct cfs_session_options *opt,
			unsigned int timeout_ms, struct cfs_manager **ret,
			struct cfs_err *err)
{
	struct cfs_manager *m = calloc(1, sizeof(*m));
	struct attempt a = {
		.opt = opt,
		.info = info,
		.timeout_ms = timeout_ms,
		.say_hello = hello_observer,
		.manager = m,
	};
	int r;

	if (!m)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	m->opt = *opt;
	m->info = *info;
	name_us(&a.config.hello, info, name, CFS_HELLO_OBSERVER);
	r = try_addresses(&a, err);
	if (r < 0)
		free(m);
	else
		*ret = m;
	return r;
}

void cfs_manager_close(struct cfs_manager *m)
{
	if (!m)
		return;
	cfs_conn_free(m->conn);
	free(m);
}

const struct cfs_manager_info *cfs_manager_info_of(const struct cfs_manager *m)
{
	return &m->info;
}

void cfs_manager_closep(struct cfs_manager **m)
{
	cfs_manager_close(*m);
}

static bool is_meant(const struct cfs_delegate_entry *e, const char *volume,
		     uint64_t client)
{
	const size_t n = strlen(e->name);

	if (e->state != CFS_DELEGATION_HELD)
		return false;
	return volume ? strncmp(volume, e->name, n) == 0 &&
				(volume[n] == '\0' || volume[n] == '/')
		      : e->epoch == client >> 32;
}

/* An older manager, or one that delegates nothing, has none. */
static int list_entries(struct cfs_manager *m, struct cfs_delegate_entries *ret,
			struct cfs_err *err)
{
	const struct cfs_delegate_request q = { .container = 0 };
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf body = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf reply = CFS_BUF_INIT;
	int r;

	if (cfs_delegate_request_pack(&q, &body) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = cfs_delegate_list(m->conn, &body, &reply, err);
	if (r == 0)
		r = cfs_delegate_entries_unpack(reply.data, reply.bytes, ret,
						err);
	return r == -ENOTSUP ? 0 : r;
}

static void info_of(const struct cfs_delegate_entry *e,
		    struct cfs_manager_info *info)
{
	info->epoch = e->epoch;
	info->pid = e->pid;
	strcpy(info->host, e->host);
	strcpy(info->address, e->address);
	info->is_here = strncmp(e->address, "unix:", 5) == 0;
}

int cfs_manager_owners(struct cfs_manager *m, const struct cfs_manager_info *of,
		       struct cfs_manager_infos *ret, struct cfs_err *err)
{
	struct cfs_delegate_entries entries = { CFS_VEC_INIT };
	struct cfs_manager_infos got = { CFS_VEC_INIT };
	int r = list_entries(m, &entries, err);

	for (size_t i = 0; i < entries.v.count && r == 0; i++) {
		struct cfs_manager_info info = *of;

		if (entries.v.items[i].state != CFS_DELEGATION_HELD)
			continue;
		info_of(&entries.v.items[i], &info);
		if (cfs_vec_push(&got.v, info) < 0)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
	}
	cfs_vec_done(&entries.v);
	if (r < 0)
		cfs_vec_done(&got.v);
	else
		*ret = got;
	return r;
}

int cfs_manager_refer(struct cfs_manager_info *info, const char *volume,
		      uint64_t client, const struct cfs_session_options *opt,
		      unsigned int timeout_ms, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_manager_closep) struct cfs_manager *m = NULL;
	struct cfs_delegate_entries entries = { CFS_VEC_INIT };
	int r;

	/* No delegation has given it. */
	if (!volume && !cfs_epoch_is_delegated((uint32_t)(client >> 32)))
		return 0;
	r = cfs_manager_connect(info, "refer", opt, timeout_ms, &m, err);
	if (r == 0)
		r = list_entries(m, &entries, err);
	for (size_t i = 0; i < entries.v.count && r == 0; i++) {
		const struct cfs_delegate_entry *e = &entries.v.items[i];

		if (!is_meant(e, volume, client))
			continue;
		info_of(e, info);
		if (!e->address[0])
			r = cfs_err_set(err, -EBUSY,
					"%s is on its way to process %" PRIu64
					" on %s",
					e->name, e->pid, e->host);
	}
	cfs_vec_done(&entries.v);
	return r;
}

static int hello_client(struct attempt *a, struct cfs_link *link,
			struct cfs_err *err)
{
	return cfs_leaser_connect(link, &a->config, a->hooks, &a->wait,
				  &a->leaser, err);
}

int cfs_manager_join(const struct cfs_manager_info *info, const char *name,
		     uint32_t flags, const struct cfs_leaser_hooks *hooks,
		     const struct cfs_session_options *opt,
		     unsigned int timeout_ms, struct cfs_leaser **ret,
		     struct cfs_err *err)
{
	struct attempt a = {
		.opt = opt,
		.info = info,
		.timeout_ms = timeout_ms,
		.say_hello = hello_client,
		.hooks = hooks,
	};
	int r;

	name_us(&a.config.hello, info, name, flags);
	r = try_addresses(&a, err);
	if (r == 0)
		*ret = a.leaser;
	return r;
}

static int hello_again(struct attempt *a, struct cfs_link *link,
		       struct cfs_err *err)
{
	return cfs_leaser_reconnect(a->leaser, link, &a->wait, err);
}

int cfs_manager_rejoin(struct cfs_leaser *leaser,
		       const struct cfs_manager_info *info,
		       const struct cfs_session_options *opt,
		       unsigned int timeout_ms, struct cfs_err *err)
{
	struct attempt a = {
		.opt = opt,
		.info = info,
		.timeout_ms = timeout_ms,
		.say_hello = hello_again,
		.leaser = leaser,
	};

	return try_addresses(&a, err);
}

void cfs_leaser_forget(struct cfs_held *held)
{
	free(held);
}

/* ---- orders -------------------------------------------------------------- */

static int ask(struct cfs_manager *m, uint16_t type,
	       const struct cfs_wire_put *body, struct cfs_buf *reply,
	       struct cfs_err *err)
{
	const struct cfs_conn_wait wait = {
		.timeout_ns = type == CFS_MSG_GONE ? GONE_NS : ANSWER_NS,
		.stop = m->opt.stop,
		.arg = m->opt.arg,
	};

	return cfs_conn_call(m->conn, type, body->data, body->bytes, &wait,
			     reply, err);
}

int cfs_manager_renew(struct cfs_manager *m, const struct cfs_lease_name *name,
		      struct cfs_err *err)
{
	struct cfs_msg_renew msg = { .client_id = name->client_id };
	const struct cfs_msg_renew_lease of = { .lease_id = name->lease_id };
	uint8_t body[64];
	struct cfs_wire_put put;

	memcpy(msg.secret, name->secret, sizeof(msg.secret));
	cfs_wire_put_init(&put, body, sizeof(body));
	cfs_msg_renew_pack(&msg, &put);
	cfs_msg_renew_lease_pack(&of, &put);
	return ask(m, CFS_MSG_RENEW, &put, NULL, err);
}

int cfs_manager_release(struct cfs_manager *m,
			const struct cfs_lease_name *name, struct cfs_err *err)
{
	struct cfs_msg_lease msg = {
		.lease_id = name->lease_id,
		.client_id = name->client_id,
	};
	uint8_t body[64];
	struct cfs_wire_put put;

	memcpy(msg.secret, name->secret, sizeof(msg.secret));
	cfs_wire_put_init(&put, body, sizeof(body));
	cfs_msg_lease_pack(&msg, &put);
	return ask(m, CFS_MSG_UNLOCK, &put, NULL, err);
}

static int order(struct cfs_manager *m, uint16_t type,
		 const struct cfs_msg_end *msg, struct cfs_err *err)
{
	uint8_t body[sizeof(*msg) + 16];
	struct cfs_wire_put put;

	cfs_wire_put_init(&put, body, sizeof(body));
	cfs_msg_end_pack(msg, &put);
	return ask(m, type, &put, NULL, err);
}

int cfs_manager_revoke(struct cfs_manager *m, uint64_t lease, uint64_t client,
		       struct cfs_err *err)
{
	const struct cfs_msg_end msg = {
		.lease_id = lease,
		.client_id = client,
	};

	return order(m, CFS_MSG_REVOKE, &msg, err);
}

int cfs_manager_gone(struct cfs_manager *m, uint64_t client, const char *host,
		     struct cfs_err *err)
{
	struct cfs_msg_end msg = { .client_id = client };

	if (!client && (size_t)snprintf(msg.host, sizeof(msg.host), "%s",
					host) >= sizeof(msg.host))
		return cfs_err_set(err, -ENOENT, "no such client or host");
	return order(m, CFS_MSG_GONE, &msg, err);
}

/* ---- status -------------------------------------------------------------- */

static int take_page(struct cfs_buf *reply, cfs_lease_record_fn each, void *arg,
		     struct cfs_msg_status_head *ret, struct cfs_err *err)
{
	struct cfs_lease_record record;
	struct cfs_wire_get get;
	int r;

	cfs_wire_get_init(&get, reply->data, reply->bytes);
	r = cfs_msg_status_head_unpack(&get, ret, err);
	for (uint32_t i = 0; r == 0 && i < ret->record_count; i++) {
		r = cfs_msg_record_unpack(&get, &record, err);
		if (r == 0)
			r = each(arg, &record);
	}
	return r;
}

int cfs_manager_status(struct cfs_manager *m, cfs_lease_record_fn each,
		       void *arg, struct cfs_msg_status_head *ret,
		       struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf reply = CFS_BUF_INIT;
	struct cfs_msg_status_head head = { .epoch = 0 };
	struct cfs_msg_status at;
	struct cfs_wire_put put;
	bool is_first = true;
	uint8_t body[32];
	int r;

	do {
		at.after_client = head.next_client;
		at.after_lease = head.next_lease;
		cfs_wire_put_init(&put, body, sizeof(body));
		cfs_msg_status_pack(&at, &put);
		reply.bytes = 0;
		r = ask(m, CFS_MSG_STATUS, &put, &reply, err);
		if (r == 0)
			r = take_page(&reply, each, arg, &head, err);
		if (r == 0 && is_first)
			*ret = head;
		is_first = false;
	} while (r == 0 && (head.next_client || head.next_lease));
	return r;
}

/* ---- watching ------------------------------------------------------------ */

struct watching {
	cfs_lease_event_fn each;
	void *arg;
};

static int take_event(void *arg, const uint8_t *body, size_t bytes,
		      struct cfs_err *err)
{
	struct watching *w = arg;
	struct cfs_lease_event event;
	struct cfs_wire_get get;
	int r;

	if (bytes == 0)
		return w->each(w->arg, NULL);
	cfs_wire_get_init(&get, body, bytes);
	r = cfs_msg_event_unpack(&get, &event, err);
	return r < 0 ? r : w->each(w->arg, &event);
}

int cfs_manager_watch(struct cfs_manager *m, cfs_lease_event_fn each, void *arg,
		      struct cfs_err *err)
{
	const struct cfs_conn_wait wait = {
		.stop = m->opt.stop,
		.arg = m->opt.arg,
	};
	struct watching w = { each, arg };

	return cfs_conn_stream(m->conn, CFS_MSG_WATCH, NULL, 0, &wait,
			       take_event, &w, NULL, err);
}
