/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text that tells a sender where a stream was broken off: hexadecimal,
 * with a checksum, since people copy it.
 */
#include "volume/stream.h"

#include "base/xxh.h"

#include <stdio.h>

struct token_disk {
	struct cfs_stream_identity_disk to, from;
	le64 ino, word;
	le64 csum;
};
CFS_ASSERT_SIZE(struct token_disk, 72);
_Static_assert(2 * sizeof(struct token_disk) < CFS_STREAM_TOKEN_BYTES,
	       "a token has room");

static uint64_t csum_of(const struct token_disk *d)
{
	return cfs_xxh3(d, offsetof(struct token_disk, csum));
}

void cfs_stream_token_format(const struct cfs_stream_token *token, char *ret)
{
	struct token_disk d;
	const uint8_t *p = (const uint8_t *)&d;

	cfs_stream_identity_pack(&token->to, &d.to);
	cfs_stream_identity_pack(&token->from, &d.from);
	d.ino = le64_put(token->position.ino);
	d.word = le64_put(token->position.word);
	d.csum = le64_put(csum_of(&d));
	for (size_t i = 0; i < sizeof(d); i++)
		snprintf(ret + 2 * i, 3, "%02x", p[i]);
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int cfs_stream_token_parse(const char *text, struct cfs_stream_token *ret,
			   struct cfs_err *err)
{
	struct token_disk d;
	uint8_t *p = (uint8_t *)&d;
	bool is_one = strlen(text) == 2 * sizeof(d);

	for (size_t i = 0; is_one && i < sizeof(d); i++) {
		const int high = digit(text[2 * i]);
		const int low = digit(text[2 * i + 1]);

		is_one = high >= 0 && low >= 0;
		if (is_one)
			p[i] = (uint8_t)(high << 4 | low);
	}
	if (!is_one || le64_get(d.csum) != csum_of(&d))
		return cfs_err_set(err, -EINVAL,
				   "'%.40s' is no token of "
				   "snapctl recv --token",
				   text);
	cfs_stream_identity_unpack(&d.to, &ret->to);
	cfs_stream_identity_unpack(&d.from, &ret->from);
	ret->position.ino = le64_get(d.ino);
	ret->position.word = le64_get(d.word);
	return 0;
}
