/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A byte buffer that grows.  {0} is an empty one.  When memory runs out an
 * operation returns -ENOMEM and the buffer is as it was.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct cfs_buf {
	uint8_t *data;     /* NULL while nothing was reserved */
	size_t bytes;      /* in use */
	size_t room_bytes; /* allocated */
};

#define CFS_BUF_INIT                                                           \
	{                                                                      \
		.data = NULL, .bytes = 0, .room_bytes = 0                      \
	}

/* Frees what @buf owns and makes it empty.  For CFS_CLEANUP. */
void cfs_buf_donep(struct cfs_buf *buf);

/* Room for @more_bytes behind what is in use.  0 or -ENOMEM. */
int cfs_buf_reserve(struct cfs_buf *buf, size_t more_bytes);

/* @p may be NULL if @n is 0; it is not in @buf.  0 or -ENOMEM. */
int cfs_buf_append(struct cfs_buf *buf, const void *p, size_t n);
int cfs_buf_append_zero(struct cfs_buf *buf, size_t n);
int cfs_buf_append_text(struct cfs_buf *buf, const char *text);

/* Formatted text, without its NUL.  0, -ENOMEM; -EINVAL: bad format. */
int cfs_buf_printf(struct cfs_buf *buf, const char *fmt, ...) CFS_PRINTF(2, 3);
int cfs_buf_vprintf(struct cfs_buf *buf, const char *fmt, va_list ap)
	CFS_PRINTF(2, 0);

/*
 * What is in use, with a NUL behind it that is not counted; valid until
 * @buf changes.  NULL: no memory.
 */
const char *cfs_buf_text(struct cfs_buf *buf);

/* Drop @n bytes, at most what is in use, from the front. */
void cfs_buf_drop_front(struct cfs_buf *buf, size_t n);
