/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Text of unknown origin.  Names in a pool are bytes: any byte but NUL and
 * '/' may occur.  Before such bytes reach a terminal or a log they are
 * escaped, so that a file name can neither move the cursor nor break a line,
 * and so that two different names never look the same.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Length in bytes of the UTF-8 character at @p, of which @n bytes are there.
 * Returns 0 if there is none: overlong forms, surrogates, values past
 * U+10FFFF and cut characters are refused.  @ret_code, the code point, is set
 * on success only and may be NULL.
 */
size_t cfs_utf8_next(const void *p, size_t n, uint32_t *ret_code);

/* All @n bytes at @p are well-formed UTF-8. */
bool cfs_utf8_is_valid(const void *p, size_t n);

/*
 * Escape @n bytes at @src for people.  Printable UTF-8 stays as it is; a
 * backslash becomes "\\"; control characters (C0, DEL, C1), characters that
 * reorder or break lines (U+2028, U+2029, U+202A..U+202E, U+2066..U+2069) and
 * bytes that are not UTF-8 become \xHH, a byte each.  Reading the escapes
 * back gives the same bytes.
 * @dst        room for @dst_bytes bytes, always terminated when there is room
 *             for one; may be NULL if @dst_bytes is 0
 * Returns the length of the whole escaped text without the NUL, as snprintf
 * does; what did not fit is cut at an escape or a character.
 */
size_t cfs_text_escape(char *dst, size_t dst_bytes, const void *src, size_t n);

/* The same in a new string, which is the caller's.  NULL: no memory. */
char *cfs_text_escape_dup(const void *src, size_t n);

/* The word for @count things: "1 slice", "2 slices". */
static inline const char *cfs_plural(uint64_t count, const char *one,
				     const char *many)
{
	return count == 1 ? one : many;
}

/*
 * Read the escapes of cfs_text_escape back.
 * @ret        new bytes, the caller's; a NUL follows them that is not counted
 * @ret_bytes  their count
 * Returns 0; -EINVAL: an escape is cut or unknown; -ENOMEM.
 */
int cfs_text_unescape(const char *text, char **ret, size_t *ret_bytes);
