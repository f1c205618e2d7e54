/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lease/wire.h"

#include <assert.h>
#include <string.h>

#include "base/le.h"

void cfs_wire_put_init(struct cfs_wire_put *put, void *data, size_t room_bytes)
{
	put->data = data;
	put->room_bytes = room_bytes;
	put->bytes = 0;
	put->is_full = false;
}

void cfs_wire_put_bytes(struct cfs_wire_put *put, const void *p, size_t n)
{
	if (put->is_full || n > put->room_bytes - put->bytes) {
		put->is_full = true;
		return;
	}
	if (n)
		memcpy(put->data + put->bytes, p, n);
	put->bytes += n;
}

void cfs_wire_put_u8(struct cfs_wire_put *put, uint8_t v)
{
	cfs_wire_put_bytes(put, &v, 1);
}

void cfs_wire_put_u16(struct cfs_wire_put *put, uint16_t v)
{
	le16 d = le16_put(v);

	cfs_wire_put_bytes(put, &d, sizeof(d));
}

void cfs_wire_put_u32(struct cfs_wire_put *put, uint32_t v)
{
	le32 d = le32_put(v);

	cfs_wire_put_bytes(put, &d, sizeof(d));
}

void cfs_wire_put_u64(struct cfs_wire_put *put, uint64_t v)
{
	le64 d = le64_put(v);

	cfs_wire_put_bytes(put, &d, sizeof(d));
}

void cfs_wire_put_blob(struct cfs_wire_put *put, const void *p, size_t n)
{
	if (n > UINT32_MAX) {
		put->is_full = true;
		return;
	}
	cfs_wire_put_u32(put, (uint32_t)n);
	cfs_wire_put_bytes(put, p, n);
}

void cfs_wire_put_string(struct cfs_wire_put *put, const char *text)
{
	size_t n = strlen(text);

	if (n > UINT16_MAX) {
		put->is_full = true;
		return;
	}
	cfs_wire_put_u16(put, (uint16_t)n);
	cfs_wire_put_bytes(put, text, n);
}

void cfs_wire_get_init(struct cfs_wire_get *get, const void *data, size_t bytes)
{
	get->data = data;
	get->bytes = bytes;
	get->at = 0;
	get->is_bad = false;
}

size_t cfs_wire_get_left(const struct cfs_wire_get *get)
{
	return get->is_bad ? 0 : get->bytes - get->at;
}

/* @n bytes in place, or NULL. */
static const uint8_t *take(struct cfs_wire_get *get, size_t n)
{
	const uint8_t *p;

	if (get->is_bad || n > get->bytes - get->at) {
		get->is_bad = true;
		return NULL;
	}
	p = get->data + get->at;
	get->at += n;
	return p;
}

void cfs_wire_get_bytes(struct cfs_wire_get *get, void *ret, size_t n)
{
	const uint8_t *p;

	if (n == 0)
		return;
	p = take(get, n);
	if (p)
		memcpy(ret, p, n);
	else
		memset(ret, 0, n);
}

uint8_t cfs_wire_get_u8(struct cfs_wire_get *get)
{
	uint8_t v;

	cfs_wire_get_bytes(get, &v, sizeof(v));
	return v;
}

uint16_t cfs_wire_get_u16(struct cfs_wire_get *get)
{
	le16 d;

	cfs_wire_get_bytes(get, &d, sizeof(d));
	return le16_get(d);
}

uint32_t cfs_wire_get_u32(struct cfs_wire_get *get)
{
	le32 d;

	cfs_wire_get_bytes(get, &d, sizeof(d));
	return le32_get(d);
}

uint64_t cfs_wire_get_u64(struct cfs_wire_get *get)
{
	le64 d;

	cfs_wire_get_bytes(get, &d, sizeof(d));
	return le64_get(d);
}

const void *cfs_wire_get_blob(struct cfs_wire_get *get, size_t max,
			      size_t *ret_n)
{
	static const uint8_t none;
	uint32_t n = cfs_wire_get_u32(get);
	const uint8_t *p;

	*ret_n = 0;
	if (n > max)
		get->is_bad = true;
	if (get->is_bad)
		return NULL;
	p = n ? take(get, n) : &none;
	if (p)
		*ret_n = n;
	return p;
}

void cfs_wire_get_string(struct cfs_wire_get *get, char *ret, size_t room)
{
	uint16_t n = cfs_wire_get_u16(get);
	const uint8_t *p;

	assert(room > 0);
	ret[0] = '\0';
	if (n >= room)
		get->is_bad = true;
	p = take(get, n);
	if (!p)
		return;
	if (memchr(p, 0, n)) {
		get->is_bad = true;
		return;
	}
	if (n)
		memcpy(ret, p, n);
	ret[n] = '\0';
}
