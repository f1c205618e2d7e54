/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Errors: a code for the program and one line for the person.
 *
 * A function that can fail returns 0 or a negative errno and fills the
 * caller's struct cfs_err.  The buffer is fixed, so an error can be reported
 * when memory has run out.  Set it where the fact is known, wrap it where a
 * name is known, print it once, in main.
 *
 * Codes with a fixed meaning in libcore:
 *   -EUCLEAN      damaged: checksum, identity or a field is wrong
 *   -ENOTSUP      sound, but newer than this code
 *   -EMEDIUMTYPE  not cfs at all
 *   -EIO          a device failed
 *   -ENODEV       a device of the pool is missing
 *   -ENOENT       the object does not exist
 *   -EEXIST       it exists already
 *   -EBUSY        somebody else holds it
 *   -ESTALE       a lease was lost
 *   -ENOSPC       no space in the pool (or on the host)
 *   -EROFS        opened to read only, or closed for writing after a failure
 *   -EPERM        not permitted
 *   -EINVAL       the caller's argument makes no sense
 *   -EINTR        stopped on request (SIGINT, SIGTERM)
 *   -ENOMEM
 *
 * Thread safety: a struct cfs_err belongs to one thread at a time.
 */
#pragma once

#include <errno.h>
#include <stdarg.h>

#define CFS_ERR_BYTES 512u

struct cfs_err {
	int code;                /* negative errno, 0: nothing set */
	char msg[CFS_ERR_BYTES]; /* one line, NUL-terminated */
};

#define CFS_ERR_INIT                                                           \
	{                                                                      \
		.code = 0, .msg = ""                                           \
	}

#define CFS_PRINTF(fmt_index, first)                                           \
	__attribute__((format(printf, fmt_index, first)))

/*
 * Replace what @err says.  @err may be NULL.  @code is negative.
 * Control characters of the arguments are shown as '?', so that one error
 * stays one line.  Returns @code, so that "return cfs_err_set(...)" works.
 */
int cfs_err_set(struct cfs_err *err, int code, const char *fmt, ...)
	CFS_PRINTF(3, 4);

/*
 * Put "@fmt: " before what @err says and set its code to @code.
 * @err may be NULL.  Returns @code.
 */
int cfs_err_wrap(struct cfs_err *err, int code, const char *fmt, ...)
	CFS_PRINTF(3, 4);

/* As cfs_err_set, with ": " and the text of the errno behind the message. */
int cfs_err_errno(struct cfs_err *err, int code, const char *fmt, ...)
	CFS_PRINTF(3, 4);

#ifdef __clang_analyzer__
/*
 * The analyzer does not see into another file: tell it that what comes back
 * is @code, or it follows paths on which a failure looks like success.
 */
#define CFS_ERR_RETURNS(fn, err, code, ...)                                    \
	__extension__({                                                        \
		int code_ = (code);                                            \
		(fn)(err, code_, __VA_ARGS__);                                 \
		code_ < 0 ? code_ : -EIO;                                      \
	})
#define cfs_err_set(err, code, ...)                                            \
	CFS_ERR_RETURNS(cfs_err_set, err, code, __VA_ARGS__)
#define cfs_err_wrap(err, code, ...)                                           \
	CFS_ERR_RETURNS(cfs_err_wrap, err, code, __VA_ARGS__)
#define cfs_err_errno(err, code, ...)                                          \
	CFS_ERR_RETURNS(cfs_err_errno, err, code, __VA_ARGS__)
#endif
