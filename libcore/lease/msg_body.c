/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bodies of the lease messages.  Each is told once, as a list of its
 * fields that is walked to write and to read: the two cannot differ.
 */
#include "lease/msg.h"

#include <string.h>

/* One of the two is set. */
struct io {
	struct cfs_wire_put *put;
	struct cfs_wire_get *get;
};

#define IO_NUMBER(bits)                                                        \
	static void io_u##bits(struct io *io, uint##bits##_t *v)               \
	{                                                                      \
		if (io->put)                                                   \
			cfs_wire_put_u##bits(io->put, *v);                     \
		else                                                           \
			*v = cfs_wire_get_u##bits(io->get);                    \
	}
IO_NUMBER(32)
IO_NUMBER(64)

static void io_bytes(struct io *io, void *p, size_t n)
{
	if (io->put)
		cfs_wire_put_bytes(io->put, p, n);
	else
		cfs_wire_get_bytes(io->get, p, n);
}

/* What was read makes no sense. */
static void io_refuse(struct io *io, bool is_wrong)
{
	if (io->get && is_wrong)
		io->get->is_bad = true;
}

/* "" is fine: the name is not known. */
static void io_name(struct io *io, char *p, size_t room)
{
	if (io->put) {
		cfs_wire_put_string(io->put, p);
		return;
	}
	cfs_wire_get_string(io->get, p, room);
	io_refuse(io, p[0] && !cfs_msg_name_is_valid(p, room));
}

/* Of the five, or none if that is @is_none_fine. */
static void io_mode(struct io *io, uint32_t *mode, bool is_none_fine)
{
	io_u32(io, mode);
	io_refuse(io, !cfs_lock_mode_is_valid(*mode) &&
			      !(is_none_fine && *mode == CFS_LOCK_NONE));
}

static void io_resource_fields(struct io *io, struct cfs_lock_resource *res)
{
	io_u64(io, &res->container);
	io_u64(io, &res->volume);
	io_u64(io, &res->ino);
	io_u64(io, &res->offset_bytes);
	io_u64(io, &res->length_bytes);
}

static void io_hello(struct io *io, struct cfs_msg_hello *m)
{
	io_bytes(io, m->pool_uuid, sizeof(m->pool_uuid));
	io_name(io, m->host, sizeof(m->host));
	io_bytes(io, m->boot_id, sizeof(m->boot_id));
	io_u64(io, &m->pid);
	io_u64(io, &m->process_start);
	io_u32(io, &m->flags);
	io_name(io, m->name, sizeof(m->name));
	io_u64(io, &m->client_id);
	io_bytes(io, m->secret, sizeof(m->secret));
	io_u64(io, &m->epoch);
}

static void io_welcome(struct io *io, struct cfs_msg_welcome *m)
{
	io_u64(io, &m->client_id);
	io_bytes(io, m->secret, sizeof(m->secret));
	io_u64(io, &m->epoch);
	io_u64(io, &m->period_ns);
	io_u32(io, &m->drift_ppm);
	io_u32(io, &m->flags);
	io_u64(io, &m->grace_ns);
	io_u64(io, &m->last_serial);
}

static void io_renew(struct io *io, struct cfs_msg_renew *m)
{
	io_u64(io, &m->client_id);
	io_bytes(io, m->secret, sizeof(m->secret));
}

static void io_renew_lease(struct io *io, struct cfs_msg_renew_lease *m)
{
	io_u64(io, &m->lease_id);
	io_refuse(io, m->lease_id == 0);
}

static void io_lock(struct io *io, struct cfs_msg_lock *m)
{
	io_resource_fields(io, &m->resource);
	io_mode(io, &m->mode, false);
	io_u32(io, &m->flags);
	io_u64(io, &m->key);
	io_u64(io, &m->serial);
	io_u64(io, &m->lender_lease);
	io_bytes(io, m->lender_secret, sizeof(m->lender_secret));
	io_refuse(io, !cfs_lock_resource_is_valid(&m->resource, m->mode));
}

static void io_grant(struct io *io, struct cfs_msg_grant *m)
{
	io_u64(io, &m->lease_id);
	io_u64(io, &m->generation);
	io_mode(io, &m->mode, true);
	io_u64(io, &m->serial);
}

static void io_lease(struct io *io, struct cfs_msg_lease *m)
{
	io_u64(io, &m->lease_id);
	io_u64(io, &m->client_id);
	io_bytes(io, m->secret, sizeof(m->secret));
}

static void io_change(struct io *io, struct cfs_msg_change *m)
{
	io_u64(io, &m->lease_id);
	io_mode(io, &m->mode, false);
	io_u32(io, &m->flags);
	io_u64(io, &m->serial);
}

static void io_cancel(struct io *io, struct cfs_msg_cancel *m)
{
	io_u64(io, &m->serial);
}

static void io_reclaim(struct io *io, struct cfs_msg_reclaim *m)
{
	io_lock(io, &m->lock);
	io_u64(io, &m->lease_id);
	io_u64(io, &m->generation);
	io_refuse(io, m->lease_id == 0);
}

static void io_end(struct io *io, struct cfs_msg_end *m)
{
	io_u64(io, &m->lease_id);
	io_u64(io, &m->client_id);
	io_name(io, m->host, sizeof(m->host));
	io_refuse(io, (m->lease_id != 0) + (m->client_id != 0) +
				      (m->host[0] != '\0') !=
			      1);
}

static void io_recall(struct io *io, struct cfs_msg_recall *m)
{
	io_u64(io, &m->lease_id);
	io_mode(io, &m->mode, true);
	io_u32(io, &m->flags);
}

static void io_event(struct io *io, struct cfs_lease_event *m)
{
	io_u32(io, &m->kind);
	io_u64(io, &m->realtime_ns);
	io_u64(io, &m->epoch);
	io_u64(io, &m->client_id);
	io_u64(io, &m->lease_id);
	io_resource_fields(io, &m->resource);
	io_mode(io, &m->mode, true);
	io_u64(io, &m->generation);
	io_name(io, m->host, sizeof(m->host));
	io_name(io, m->name, sizeof(m->name));
	io_refuse(io, m->lease_id && !cfs_lock_resource_is_valid(&m->resource,
								 m->mode));
}

static void io_status(struct io *io, struct cfs_msg_status *m)
{
	io_u64(io, &m->after_client);
	io_u64(io, &m->after_lease);
}

static void io_status_head(struct io *io, struct cfs_msg_status_head *m)
{
	io_u64(io, &m->epoch);
	io_u64(io, &m->period_ns);
	io_u64(io, &m->grace_ns);
	io_u32(io, &m->client_count);
	io_u32(io, &m->lease_count);
	io_u32(io, &m->waiting_count);
	io_u64(io, &m->next_client);
	io_u64(io, &m->next_lease);
	io_u32(io, &m->record_count);
}

static void io_record(struct io *io, struct cfs_lease_record *m)
{
	io_u32(io, &m->kind);
	io_u32(io, &m->flags);
	io_u64(io, &m->client_id);
	io_u64(io, &m->ends_in_ns);
	if (m->kind == CFS_RECORD_CLIENT) {
		io_name(io, m->u.client.host, sizeof(m->u.client.host));
		io_name(io, m->u.client.name, sizeof(m->u.client.name));
		io_u64(io, &m->u.client.pid);
		io_u32(io, &m->u.client.lease_count);
	} else if (m->kind == CFS_RECORD_LEASE) {
		io_u64(io, &m->u.lease.lease_id);
		io_resource_fields(io, &m->u.lease.resource);
		io_mode(io, &m->u.lease.mode, false);
		io_u64(io, &m->u.lease.key);
		io_u64(io, &m->u.lease.generation);
		io_refuse(io, !cfs_lock_resource_is_valid(&m->u.lease.resource,
							  m->u.lease.mode));
	} else {
		io_refuse(io, true);
	}
}

#define BODY(x, type)                                                          \
	void cfs_msg_##x##_pack(const type *m, struct cfs_wire_put *put)       \
	{                                                                      \
		struct io io = { .put = put, .get = NULL };                    \
		type copy = *m;                                                \
                                                                               \
		io_##x(&io, &copy);                                            \
	}                                                                      \
                                                                               \
	int cfs_msg_##x##_unpack(struct cfs_wire_get *get, type *ret,          \
				 struct cfs_err *err)                          \
	{                                                                      \
		struct io io = { .put = NULL, .get = get };                    \
		type m;                                                        \
                                                                               \
		memset(&m, 0, sizeof(m));                                      \
		io_##x(&io, &m);                                               \
		if (get->is_bad)                                               \
			return cfs_err_set(err, -EPROTO, "message: bad " #x);  \
		*ret = m;                                                      \
		return 0;                                                      \
	}

BODY(hello, struct cfs_msg_hello)
BODY(welcome, struct cfs_msg_welcome)
BODY(renew, struct cfs_msg_renew)
BODY(renew_lease, struct cfs_msg_renew_lease)
BODY(lock, struct cfs_msg_lock)
BODY(grant, struct cfs_msg_grant)
BODY(lease, struct cfs_msg_lease)
BODY(change, struct cfs_msg_change)
BODY(cancel, struct cfs_msg_cancel)
BODY(reclaim, struct cfs_msg_reclaim)
BODY(end, struct cfs_msg_end)
BODY(recall, struct cfs_msg_recall)
BODY(event, struct cfs_lease_event)
BODY(status, struct cfs_msg_status)
BODY(status_head, struct cfs_msg_status_head)
BODY(record, struct cfs_lease_record)
