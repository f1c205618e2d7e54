/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Headers, errors and names; the bodies are in msg_body.c.
 */
#include "lease/msg.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/text.h"

#define STATUS_MAX 4095u /* the largest errno of Linux */

int cfs_msg_head_unpack(const void *data, size_t bytes,
			struct cfs_msg_head *ret, struct cfs_err *err)
{
	struct cfs_msg_head_disk d;
	struct cfs_msg_head h;
	uint16_t type;

	if (bytes < sizeof(d))
		return cfs_err_set(err, -EAGAIN, "message: header is cut");
	memcpy(&d, data, sizeof(d));
	if (le32_get(d.magic) != CFS_MSG_MAGIC)
		return cfs_err_set(err, -EPROTO, "message: bad magic");
	type = le16_get(d.type);
	h.version = le16_get(d.version);
	h.type = type & CFS_MSG_TYPE_MASK;
	h.is_reply = type & CFS_MSG_TYPE_REPLY;
	h.has_more = type & CFS_MSG_TYPE_MORE;
	h.bytes = le32_get(d.bytes);
	h.status = le32_get(d.status);
	h.id = le64_get(d.id);
	if (h.version > CFS_MSG_VERSION)
		return cfs_err_set(err, -ENOTSUP,
				   "message: version %u is "
				   "newer",
				   h.version);
	if (h.version == 0 || h.bytes < sizeof(d) ||
	    h.bytes > CFS_MSG_BYTES_MAX || h.status > STATUS_MAX ||
	    (h.status && !h.is_reply) || (h.has_more && !h.is_reply) ||
	    (h.is_reply && h.id == 0))
		return cfs_err_set(err, -EPROTO, "message: bad header");
	*ret = h;
	return 0;
}

int cfs_msg_open(const void *data, size_t bytes, struct cfs_msg_head *ret,
		 struct cfs_wire_get *ret_body, struct cfs_err *err)
{
	struct cfs_msg_head h;
	int r = cfs_msg_head_unpack(data, bytes, &h, err);

	if (r == -EAGAIN)
		return cfs_err_set(err, -EPROTO, "message: header is cut");
	if (r != 0)
		return r;
	if (h.bytes != bytes)
		return cfs_err_set(err, -EPROTO, "message: bad length");
	cfs_wire_get_init(ret_body, (const uint8_t *)data + CFS_MSG_HEAD_BYTES,
			  bytes - CFS_MSG_HEAD_BYTES);
	*ret = h;
	return 0;
}

int cfs_msg_reply_status(const struct cfs_msg_head *head, const void *body,
			 size_t body_bytes, struct cfs_err *err)
{
	char text[CFS_ERR_BYTES];

	if (head->status == 0)
		return 0;
	cfs_text_escape(text, sizeof(text), body, body_bytes);
	return cfs_err_set(err, -(int)head->status, "%s",
			   text[0] ? text : strerror((int)head->status));
}

void cfs_msg_begin(struct cfs_wire_put *put, uint16_t type, uint64_t id)
{
	struct cfs_msg_head_disk d = {
		.magic = le32_put(CFS_MSG_MAGIC),
		.version = le16_put(CFS_MSG_VERSION),
		.type = le16_put(type),
		.id = le64_put(id),
	};

	assert(put->bytes == 0);
	cfs_wire_put_bytes(put, &d, sizeof(d));
}

int cfs_msg_end(struct cfs_wire_put *put)
{
	le32 bytes;

	if (put->is_full || put->bytes > CFS_MSG_BYTES_MAX)
		return -EMSGSIZE;
	assert(put->bytes >= CFS_MSG_HEAD_BYTES);
	bytes = le32_put((uint32_t)put->bytes);
	memcpy(put->data + offsetof(struct cfs_msg_head_disk, bytes), &bytes,
	       sizeof(bytes));
	return 0;
}

void cfs_msg_error(struct cfs_wire_put *put, uint16_t type, uint64_t id,
		   int code, const struct cfs_err *err)
{
	uint32_t status = code < 0 && code >= -(int)STATUS_MAX ? (uint32_t)-code
							       : EIO;
	le32 d = le32_put(status);
	const char *text = err ? err->msg : "";
	size_t n = CFS_MIN(strlen(text), CFS_ERR_BYTES - 1);

	cfs_msg_begin(put, (type & CFS_MSG_TYPE_MASK) | CFS_MSG_TYPE_REPLY, id);
	if (!put->is_full)
		memcpy(put->data + offsetof(struct cfs_msg_head_disk, status),
		       &d, sizeof(d));
	cfs_wire_put_bytes(put, text, n);
	cfs_msg_end(put);
}

bool cfs_msg_name_is_valid(const char *name, size_t room)
{
	size_t n = strnlen(name, room);
	size_t at = 0;

	if (n == 0 || n >= room)
		return false;
	while (at < n) {
		uint32_t code;
		size_t one = cfs_utf8_next(name + at, n - at, &code);

		if (one == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0))
			return false;
		at += one;
	}
	return true;
}

const char *cfs_lease_event_name(unsigned int kind)
{
	static const char *const names[CFS_EVENT_LAST + 1] = {
		[CFS_EVENT_GRANT] = "grant",
		[CFS_EVENT_RENEW] = "renew",
		[CFS_EVENT_RECALL] = "recall",
		[CFS_EVENT_RELEASE] = "release",
		[CFS_EVENT_EXPIRE] = "expire",
		[CFS_EVENT_REVOKE] = "revoke",
		[CFS_EVENT_TAKEOVER] = "takeover",
		[CFS_EVENT_JOIN] = "join",
		[CFS_EVENT_LEAVE] = "leave",
		[CFS_EVENT_CHANGE] = "change",
		[CFS_EVENT_GONE] = "gone",
		[CFS_EVENT_SEALED] = "sealed",
		[CFS_EVENT_STOP] = "stop",
	};

	return kind <= CFS_EVENT_LAST && names[kind] ? names[kind] : "?";
}

char *cfs_lease_name_format(const struct cfs_lease_name *name,
			    char ret[CFS_LEASE_NAME_BYTES])
{
	int n = snprintf(ret, CFS_LEASE_NAME_BYTES,
			 "%016" PRIx64 "-%016" PRIx64 "-", name->client_id,
			 name->lease_id);

	for (size_t i = 0; i < CFS_LEASE_SECRET_BYTES; i++)
		n += snprintf(ret + n, CFS_LEASE_NAME_BYTES - (size_t)n, "%02x",
			      name->secret[i]);
	return ret;
}

/* @digits hex digits to a number; false: something else stands there. */
static bool hex_parse(const char *text, size_t digits, uint64_t *ret)
{
	uint64_t v = 0;

	for (size_t i = 0; i < digits; i++) {
		char c = text[i];
		int d = c >= '0' && c <= '9'   ? c - '0'
			: c >= 'a' && c <= 'f' ? c - 'a' + 10
					       : -1;

		if (d < 0)
			return false;
		v = v << 4 | (uint64_t)d;
	}
	*ret = v;
	return true;
}

int cfs_lease_name_parse(const char *text, struct cfs_lease_name *ret)
{
	struct cfs_lease_name name;

	if (strnlen(text, CFS_LEASE_NAME_BYTES) != CFS_LEASE_NAME_BYTES - 1 ||
	    text[16] != '-' || text[33] != '-' ||
	    !hex_parse(text, 16, &name.client_id) ||
	    !hex_parse(text + 17, 16, &name.lease_id))
		return -EINVAL;
	for (size_t i = 0; i < CFS_LEASE_SECRET_BYTES; i++) {
		uint64_t byte;

		if (!hex_parse(text + 34 + 2 * i, 2, &byte))
			return -EINVAL;
		name.secret[i] = (uint8_t)byte;
	}
	*ret = name;
	return 0;
}
