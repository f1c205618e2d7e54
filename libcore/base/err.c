/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages are formatted beside the caller's buffer and copied when they are
 * complete: an argument may point into the very message that is replaced.
 * Nothing here allocates or changes errno.
 */
#include "base/err.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* Text that did not fit ends in dots, so that nobody takes it for whole. */
static void mark_cut(char *msg)
{
	memcpy(msg + CFS_ERR_BYTES - 4, "...", 4);
}

/* One error is one line, and does nothing to a terminal. */
static void make_one_line(char *msg)
{
	size_t n = strlen(msg);

	while (n) {
		uint32_t code = 0;
		size_t len = cfs_utf8_next(msg, n, &code);
		size_t i;

		if (len == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0)) {
			len = len ? len : 1;
			for (i = 0; i < len; i++)
				msg[i] = '?';
		}
		msg += len;
		n -= len;
	}
}

static void format(char *msg, const char *fmt, va_list ap) CFS_PRINTF(2, 0);

static void format(char *msg, const char *fmt, va_list ap)
{
	int n = vsnprintf(msg, CFS_ERR_BYTES, fmt, ap);

	if (n < 0)
		msg[0] = '\0';
	else if ((size_t)n >= CFS_ERR_BYTES)
		mark_cut(msg);
	make_one_line(msg);
}

/* Append @text, which has one line, to the message that is being built. */
static void append(char *msg, const char *text)
{
	size_t used = strlen(msg);
	size_t n = strlen(text);
	bool is_cut = n >= CFS_ERR_BYTES - used;

	if (is_cut)
		n = CFS_ERR_BYTES - used - 1;
	memcpy(msg + used, text, n);
	msg[used + n] = '\0';
	if (is_cut) {
		mark_cut(msg);
		make_one_line(msg); /* a character may have been cut */
	}
}

static const char *code_text(int code)
{
	const char *text = strerrordesc_np(-code);

	return text ? text : "unknown error";
}

static void store(struct cfs_err *err, int code, const char *msg)
{
	err->code = code;
	memcpy(err->msg, msg, strlen(msg) + 1);
}

int(cfs_err_set)(struct cfs_err *err, int code, const char *fmt, ...)
{
	int saved_errno = errno;
	char msg[CFS_ERR_BYTES];
	va_list ap;

	assert(code < 0);
	if (err) {
		va_start(ap, fmt);
		format(msg, fmt, ap);
		va_end(ap);
		store(err, code, msg);
	}
	errno = saved_errno;
	return code;
}

int(cfs_err_wrap)(struct cfs_err *err, int code, const char *fmt, ...)
{
	int saved_errno = errno;
	char msg[CFS_ERR_BYTES];
	va_list ap;

	assert(code < 0);
	if (err) {
		va_start(ap, fmt);
		format(msg, fmt, ap);
		va_end(ap);
		append(msg, ": ");
		append(msg, err->msg[0] ? err->msg : code_text(code));
		store(err, code, msg);
	}
	errno = saved_errno;
	return code;
}

int(cfs_err_errno)(struct cfs_err *err, int code, const char *fmt, ...)
{
	int saved_errno = errno;
	char msg[CFS_ERR_BYTES];
	va_list ap;

	assert(code < 0);
	if (err) {
		va_start(ap, fmt);
		format(msg, fmt, ap);
		va_end(ap);
		append(msg, ": ");
		append(msg, code_text(code));
		store(err, code, msg);
	}
	errno = saved_errno;
	return code;
}
