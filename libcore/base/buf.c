/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM_BYTES ((size_t)64)

void cfs_buf_donep(struct cfs_buf *buf)
{
	free(buf->data);
	*buf = (struct cfs_buf)CFS_BUF_INIT;
}

int cfs_buf_reserve(struct cfs_buf *buf, size_t more_bytes)
{
	size_t need, room = buf->room_bytes;
	uint8_t *data;

	if (__builtin_add_overflow(buf->bytes, more_bytes, &need))
		return -ENOMEM;
	if (need <= room)
		return 0;
	/* Doubling: appending byte by byte stays linear. */
	room = room > SIZE_MAX / 2 ? SIZE_MAX : room * 2;
	if (room < need)
		room = need;
	if (room < FIRST_ROOM_BYTES)
		room = FIRST_ROOM_BYTES;
	data = realloc(buf->data, room);
	if (!data)
		return -ENOMEM;
	buf->data = data;
	buf->room_bytes = room;
	return 0;
}

int cfs_buf_append(struct cfs_buf *buf, const void *p, size_t n)
{
	int r;

	if (n == 0)
		return 0;
	r = cfs_buf_reserve(buf, n);
	if (r < 0)
		return r;
	memcpy(buf->data + buf->bytes, p, n);
	buf->bytes += n;
	return 0;
}

int cfs_buf_append_zero(struct cfs_buf *buf, size_t n)
{
	int r;

	if (n == 0)
		return 0;
	r = cfs_buf_reserve(buf, n);
	if (r < 0)
		return r;
	memset(buf->data + buf->bytes, 0, n);
	buf->bytes += n;
	return 0;
}

int cfs_buf_append_text(struct cfs_buf *buf, const char *text)
{
	return cfs_buf_append(buf, text, strlen(text));
}

int cfs_buf_vprintf(struct cfs_buf *buf, const char *fmt, va_list ap)
{
	va_list again;
	int n, r;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		return -EINVAL;
	r = cfs_buf_reserve(buf, (size_t)n + 1);
	if (r < 0)
		return r;
	vsnprintf((char *)buf->data + buf->bytes, (size_t)n + 1, fmt, ap);
	buf->bytes += (size_t)n;
	return 0;
}

int cfs_buf_printf(struct cfs_buf *buf, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = cfs_buf_vprintf(buf, fmt, ap);
	va_end(ap);
	return r;
}

const char *cfs_buf_text(struct cfs_buf *buf)
{
	if (cfs_buf_reserve(buf, 1) < 0)
		return NULL;
	buf->data[buf->bytes] = 0;
	return (const char *)buf->data;
}

void cfs_buf_drop_front(struct cfs_buf *buf, size_t n)
{
	assert(n <= buf->bytes);
	if (n == 0)
		return;
	memmove(buf->data, buf->data + n, buf->bytes - n);
	buf->bytes -= n;
}
