/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char hex_digits[] = "0123456789abcdef";

size_t cfs_utf8_next(const void *p, size_t n, uint32_t *ret_code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const uint8_t *b = p;
	uint32_t code;
	size_t len, i;

	if (n == 0)
		return 0;
	if (b[0] < 0x80) {
		len = 1;
		code = b[0];
	} else if ((b[0] & 0xe0) == 0xc0) {
		len = 2;
		code = b[0] & 0x1fu;
	} else if ((b[0] & 0xf0) == 0xe0) {
		len = 3;
		code = b[0] & 0x0fu;
	} else if ((b[0] & 0xf8) == 0xf0) {
		len = 4;
		code = b[0] & 0x07u;
	} else {
		return 0;
	}
	if (len > n)
		return 0;
	for (i = 1; i < len; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (b[i] & 0x3fu);
	}
	if (code < least[len] || code > 0x10ffff)
		return 0;
	if (code >= 0xd800 && code <= 0xdfff)
		return 0;
	if (ret_code)
		*ret_code = code;
	return len;
}

bool cfs_utf8_is_valid(const void *p, size_t n)
{
	const uint8_t *b = p;
	size_t len;

	for (; n; b += len, n -= len) {
		len = cfs_utf8_next(b, n, NULL);
		if (len == 0)
			return false;
	}
	return true;
}

/* Would change more of a terminal's line than the cells it is drawn in. */
static bool is_unsafe(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) ||
	       (code >= 0x2028 && code <= 0x202e) ||
	       (code >= 0x2066 && code <= 0x2069);
}

static size_t hex_escape(char *dst, const uint8_t *b, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		*dst++ = '\\';
		*dst++ = 'x';
		*dst++ = hex_digits[b[i] >> 4];
		*dst++ = hex_digits[b[i] & 15];
	}
	return 4 * n;
}

/* How much stands for itself: printable ASCII without the backslash. */
static size_t plain_bytes(const uint8_t *b, size_t n)
{
	size_t i = 0;

	while (i < n && b[i] >= 0x20 && b[i] < 0x7f && b[i] != '\\')
		i++;
	return i;
}

size_t cfs_text_escape(char *dst, size_t dst_bytes, const void *src, size_t n)
{
	const uint8_t *b = src;
	size_t total = plain_bytes(b, n), used = 0;
	bool is_full = dst_bytes == 0;

	/* Mostly that is all of it. */
	if (total < dst_bytes) {
		if (total)
			memcpy(dst, b, total);
		used = total;
		b += total;
		n -= total;
	} else {
		total = 0;
	}

	while (n) {
		char piece[16];
		uint32_t code = 0;
		size_t len = cfs_utf8_next(b, n, &code);
		size_t piece_len;

		if (len == 0 || is_unsafe(code)) {
			len = len ? len : 1;
			piece_len = hex_escape(piece, b, len);
		} else if (code == '\\') {
			memcpy(piece, "\\\\", 2);
			piece_len = 2;
		} else {
			memcpy(piece, b, len);
			piece_len = len;
		}
		total += piece_len;
		if (!is_full && piece_len < dst_bytes - used) {
			memcpy(dst + used, piece, piece_len);
			used += piece_len;
		} else {
			is_full = true;
		}
		b += len;
		n -= len;
	}
	if (dst_bytes)
		dst[used] = '\0';
	return total;
}

char *cfs_text_escape_dup(const void *src, size_t n)
{
	size_t len = cfs_text_escape(NULL, 0, src, n);
	char *s = malloc(len + 1);

	if (s)
		cfs_text_escape(s, len + 1, src, n);
	return s;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Returns the length of the escape at @s, which begins with '\', or 0. */
static size_t unescape_one(const char *s, char *ret)
{
	int high, low;

	if (s[1] == '\\') {
		*ret = '\\';
		return 2;
	}
	if (s[1] != 'x')
		return 0;
	high = hex_value(s[2]);
	if (high < 0)
		return 0;
	low = hex_value(s[3]);
	if (low < 0)
		return 0;
	*ret = (char)(high << 4 | low);
	return 4;
}

int cfs_text_unescape(const char *text, char **ret, size_t *ret_bytes)
{
	size_t used = 0;
	char *out = malloc(strlen(text) + 1);

	if (!out)
		return -ENOMEM;
	while (*text) {
		size_t len = 1;

		if (*text == '\\')
			len = unescape_one(text, &out[used]);
		else
			out[used] = *text;
		if (len == 0) {
			free(out);
			return -EINVAL;
		}
		used++;
		text += len;
	}
	out[used] = '\0';
	*ret = out;
	*ret_bytes = used;
	return 0;
}
