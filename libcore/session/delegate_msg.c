/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests of secondaries as bytes. */
#include "session/delegate_msg.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/le.h"
#include "lease/conn.h"

#include <string.h>

struct request_disk {
	le64 container;
	le32 epoch;
	le32 flags;
	le64 value;
	uint8_t instance[16];
	uint8_t boot_id[16];
	uint8_t host[CFS_CLIENT_HOST_BYTES];
	le64 pid;
	le64 process_start;
	uint8_t name[CFS_NAME_BYTES];
	uint8_t address[CFS_SEAT_ADDRESS_BYTES];
};
CFS_ASSERT_SIZE(struct request_disk, 24 + 32 + 64 + 16 + 128 + 256);

struct entry_disk {
	le64 container;
	le32 epoch;
	le32 state;
	le64 client_id;
	le64 pid;
	le64 since_ns;
	le32 is_wanted;
	le32 reserved;
	uint8_t name[CFS_NAME_BYTES];
	uint8_t host[CFS_CLIENT_HOST_BYTES];
	uint8_t address[CFS_SEAT_ADDRESS_BYTES];
};
CFS_ASSERT_SIZE(struct entry_disk, 48 + 128 + 64 + 256);

/* Cut to fit, with its NUL. */
static void text_put(uint8_t *dst, size_t bytes, const char *src)
{
	memcpy(dst, src, CFS_MIN(strlen(src), bytes - 1));
}

/* False: there is no NUL. */
static bool text_get(char *dst, const uint8_t *src, size_t bytes)
{
	const size_t n = strnlen((const char *)src, bytes);

	if (n < bytes)
		memcpy(dst, src, n);
	return n < bytes;
}

static int bad(struct cfs_err *err)
{
	return cfs_err_set(err, -EPROTO, "a message that makes no sense");
}

int cfs_delegate_request_pack(const struct cfs_delegate_request *q,
			      struct cfs_buf *buf)
{
	struct request_disk d;
	int r;

	memset(&d, 0, sizeof(d));
	d.container = le64_put(q->container);
	d.epoch = le32_put(q->epoch);
	d.flags = le32_put(q->flags);
	d.value = le64_put(q->value);
	memcpy(d.instance, q->who.instance, sizeof(d.instance));
	memcpy(d.boot_id, q->who.boot_id, sizeof(d.boot_id));
	text_put(d.host, sizeof(d.host), q->who.host);
	d.pid = le64_put(q->who.pid);
	d.process_start = le64_put(q->who.process_start);
	text_put(d.name, sizeof(d.name), q->name);
	text_put(d.address, sizeof(d.address), q->address);
	r = cfs_buf_append(buf, &d, sizeof(d));
	return r == 0 && q->data_bytes
		       ? cfs_buf_append(buf, q->data, q->data_bytes)
		       : r;
}

int cfs_delegate_request_unpack(const void *body, size_t bytes,
				struct cfs_delegate_request *ret,
				struct cfs_err *err)
{
	struct cfs_delegate_request q;
	struct request_disk d;

	if (bytes < sizeof(d))
		return bad(err);
	memcpy(&d, body, sizeof(d));
	memset(&q, 0, sizeof(q));
	q.data = (const uint8_t *)body + sizeof(d);
	q.data_bytes = bytes - sizeof(d);
	q.container = le64_get(d.container);
	q.epoch = le32_get(d.epoch);
	q.flags = le32_get(d.flags);
	q.value = le64_get(d.value);
	memcpy(q.who.instance, d.instance, sizeof(d.instance));
	memcpy(q.who.boot_id, d.boot_id, sizeof(d.boot_id));
	q.who.pid = le64_get(d.pid);
	q.who.process_start = le64_get(d.process_start);
	if (!text_get(q.who.host, d.host, sizeof(d.host)) ||
	    !text_get(q.name, d.name, sizeof(d.name)) ||
	    !text_get(q.address, d.address, sizeof(d.address)))
		return bad(err);
	*ret = q;
	return 0;
}

static int take_part(void *arg, const uint8_t *body, size_t bytes,
		     struct cfs_err *err)
{
	return cfs_buf_append(arg, body, bytes) < 0
		       ? cfs_err_set(err, -ENOMEM, "out of memory")
		       : 0;
}

int cfs_delegate_list(struct cfs_conn *conn, const struct cfs_buf *body,
		      struct cfs_buf *reply, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf last = CFS_BUF_INIT;
	int r = cfs_conn_stream(conn, CFS_DELEGATE_LIST, body->data,
				body->bytes, NULL, take_part, reply, &last,
				err);

	if (r == 0 && cfs_buf_append(reply, last.data, last.bytes) < 0)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	return r;
}

int cfs_delegate_entry_pack(const struct cfs_delegate_entry *e,
			    struct cfs_buf *buf)
{
	struct entry_disk d;

	memset(&d, 0, sizeof(d));
	d.container = le64_put(e->container);
	d.epoch = le32_put(e->epoch);
	d.state = le32_put(e->state);
	d.client_id = le64_put(e->client_id);
	d.pid = le64_put(e->pid);
	d.since_ns = le64_put(e->since_ns);
	d.is_wanted = le32_put(e->is_wanted);
	text_put(d.name, sizeof(d.name), e->name);
	text_put(d.host, sizeof(d.host), e->host);
	text_put(d.address, sizeof(d.address), e->address);
	return cfs_buf_append(buf, &d, sizeof(d));
}

static bool take_entry(const uint8_t *at, struct cfs_delegate_entry *ret)
{
	struct entry_disk d;

	memcpy(&d, at, sizeof(d));
	memset(ret, 0, sizeof(*ret));
	ret->container = le64_get(d.container);
	ret->epoch = le32_get(d.epoch);
	ret->state = le32_get(d.state);
	ret->client_id = le64_get(d.client_id);
	ret->pid = le64_get(d.pid);
	ret->since_ns = le64_get(d.since_ns);
	ret->is_wanted = le32_get(d.is_wanted) != 0;
	return text_get(ret->name, d.name, sizeof(d.name)) &&
	       text_get(ret->host, d.host, sizeof(d.host)) &&
	       text_get(ret->address, d.address, sizeof(d.address));
}

int cfs_delegate_entries_unpack(const void *body, size_t bytes,
				struct cfs_delegate_entries *ret,
				struct cfs_err *err)
{
	struct cfs_delegate_entries got = { CFS_VEC_INIT };
	const uint8_t *at = body;
	int r = 0;

	if (bytes % sizeof(struct entry_disk))
		return bad(err);
	for (; r == 0 && bytes; bytes -= sizeof(struct entry_disk),
				at += sizeof(struct entry_disk)) {
		struct cfs_delegate_entry e;

		if (!take_entry(at, &e))
			r = bad(err);
		else if (cfs_vec_push(&got.v, e) < 0)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
	}
	if (r < 0)
		cfs_vec_done(&got.v);
	else
		*ret = got;
	return r;
}
