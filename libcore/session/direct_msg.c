/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bodies of direct_msg.h. */
#include "session/direct_msg.h"

#include "base/cleanup.h"

#include <string.h>

/* What does not fit is an error of the caller's, not a shorter name. */
static int finish(const struct cfs_wire_put *put, struct cfs_buf *buf)
{
	if (put->is_full)
		return -EMSGSIZE;
	return cfs_buf_append(buf, put->data, put->bytes);
}

int cfs_direct_request_pack(const struct cfs_direct_request *q,
			    struct cfs_buf *buf)
{
	const size_t room = CFS_DIRECT_BODY_BYTES + q->data_bytes;
	CFS_CLEANUP(cfs_freep) uint8_t *body = malloc(room);
	struct cfs_wire_put put;

	if (!body)
		return -ENOMEM;
	if (q->data_bytes > CFS_DIRECT_DATA_MAX)
		return -EMSGSIZE;
	cfs_wire_put_init(&put, body, room);
	cfs_wire_put_u64(&put, q->container);
	cfs_wire_put_u64(&put, q->client);
	cfs_wire_put_u64(&put, q->volume_id);
	cfs_wire_put_u64(&put, q->stamp);
	cfs_wire_put_u64(&put, q->use);
	cfs_wire_put_u64(&put, q->value);
	cfs_wire_put_u64(&put, q->total);
	cfs_wire_put_u64(&put, q->offset);
	cfs_wire_put_u32(&put, q->flags);
	cfs_wire_put_string(&put, q->volume);
	cfs_wire_put_string(&put, q->snap);
	cfs_wire_put_blob(&put, q->data, q->data_bytes);
	return finish(&put, buf);
}

static bool is_name(const char *name, size_t room)
{
	return !name[0] || cfs_msg_name_is_valid(name, room);
}

int cfs_direct_request_unpack(const void *body, size_t bytes,
			      struct cfs_direct_request *ret,
			      struct cfs_err *err)
{
	struct cfs_direct_request q = { .container = 0 };
	struct cfs_wire_get get;

	cfs_wire_get_init(&get, body, bytes);
	q.container = cfs_wire_get_u64(&get);
	q.client = cfs_wire_get_u64(&get);
	q.volume_id = cfs_wire_get_u64(&get);
	q.stamp = cfs_wire_get_u64(&get);
	q.use = cfs_wire_get_u64(&get);
	q.value = cfs_wire_get_u64(&get);
	q.total = cfs_wire_get_u64(&get);
	q.offset = cfs_wire_get_u64(&get);
	q.flags = cfs_wire_get_u32(&get);
	cfs_wire_get_string(&get, q.volume, sizeof(q.volume));
	cfs_wire_get_string(&get, q.snap, sizeof(q.snap));
	q.data = cfs_wire_get_blob(&get, CFS_DIRECT_DATA_MAX, &q.data_bytes);
	if (get.is_bad || !is_name(q.volume, sizeof(q.volume)) ||
	    !is_name(q.snap, sizeof(q.snap)))
		return cfs_err_set(err, -EPROTO,
				   "a request that makes no "
				   "sense");
	*ret = q;
	return 0;
}

int cfs_direct_opened_pack(const struct cfs_direct_opened *o,
			   struct cfs_buf *buf)
{
	uint8_t body[CFS_DIRECT_BODY_BYTES];
	struct cfs_client_rec_disk disk;
	struct cfs_wire_put put;

	cfs_client_rec_pack(&o->rec, &disk);
	cfs_wire_put_init(&put, body, sizeof(body));
	cfs_wire_put_u64(&put, o->container);
	cfs_wire_put_bytes(&put, o->uuid, sizeof(o->uuid));
	cfs_wire_put_u64(&put, o->client);
	cfs_wire_put_u64(&put, o->volume_id);
	cfs_wire_put_u64(&put, o->ino);
	cfs_wire_put_u64(&put, o->stamp);
	cfs_wire_put_u64(&put, o->size_bytes);
	cfs_wire_put_u32(&put, o->kind);
	cfs_wire_put_u16(&put, o->branch);
	cfs_wire_put_u8(&put, o->is_checked);
	cfs_wire_put_blob(&put, &disk, sizeof(disk));
	return finish(&put, buf);
}

int cfs_direct_opened_unpack(const void *body, size_t bytes,
			     struct cfs_direct_opened *ret, struct cfs_err *err)
{
	struct cfs_direct_opened o = { .container = 0 };
	struct cfs_wire_get get;
	const void *rec;
	size_t rec_bytes;

	cfs_wire_get_init(&get, body, bytes);
	o.container = cfs_wire_get_u64(&get);
	cfs_wire_get_bytes(&get, o.uuid, sizeof(o.uuid));
	o.client = cfs_wire_get_u64(&get);
	o.volume_id = cfs_wire_get_u64(&get);
	o.ino = cfs_wire_get_u64(&get);
	o.stamp = cfs_wire_get_u64(&get);
	o.size_bytes = cfs_wire_get_u64(&get);
	o.kind = cfs_wire_get_u32(&get);
	o.branch = cfs_wire_get_u16(&get);
	o.is_checked = cfs_wire_get_u8(&get);
	rec = cfs_wire_get_blob(&get, CFS_DIRECT_BODY_BYTES, &rec_bytes);
	if (get.is_bad || o.container == 0 || o.client == 0 ||
	    cfs_client_rec_unpack(rec, rec_bytes, &o.rec, NULL) < 0)
		return cfs_err_set(err, -EPROTO,
				   "an answer that makes no "
				   "sense");
	*ret = o;
	return 0;
}
