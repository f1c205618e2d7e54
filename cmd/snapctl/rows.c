/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A row is a byte of flags, the numbers, each as its difference to the row
 * before (7 bits a byte, the lowest first), and those texts that are not what
 * they were there, each behind its length.
 */
#include "snapctl/rows.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define IS_HELD    0x01u
#define HAS_VOLUME 0x02u
#define HAS_NOTE   0x04u
#define HAS_BRANCH 0x08u

#define VAR_BYTES  10u /* at most, of a number */
#define NUMBERS    6u
#define TEXT_BYTES 260u /* at most, of a volume's name */
#define ROW_BYTES  (1u + NUMBERS * VAR_BYTES + 4u * (VAR_BYTES + TEXT_BYTES))

void snapctl_rows_donep(struct snapctl_rows *rows)
{
	cfs_buf_donep(&rows->bytes);
}

/* The numbers of a row, in their order. */
static void numbers_of(struct cfs_snapshot_info *info, uint64_t *ret[NUMBERS])
{
	ret[0] = &info->stamp;
	ret[1] = &info->created_ns;
	ret[2] = &info->size_bytes;
	ret[3] = &info->exclusive_bytes;
	ret[4] = &info->shared_bytes;
	ret[5] = &info->clone_count;
}

static uint8_t *put_number(uint8_t *to, uint64_t n)
{
	for (; n >= 0x80; n >>= 7)
		*to++ = (uint8_t)(n | 0x80);
	*to++ = (uint8_t)n;
	return to;
}

static const uint8_t *get_number(const uint8_t *from, uint64_t *ret)
{
	unsigned int shift = 0;

	*ret = 0;
	do {
		*ret |= (uint64_t)(*from & 0x7f) << shift;
		shift += 7;
	} while (*from++ & 0x80);
	return from;
}

/* Up or down: small ones stay small. */
static uint64_t zigzag(uint64_t n)
{
	return n << 1 ^ (n >> 63 ? UINT64_MAX : 0);
}

static uint64_t unzigzag(uint64_t n)
{
	return n >> 1 ^ (n & 1 ? UINT64_MAX : 0);
}

static uint8_t *put_text(uint8_t *to, const char *text)
{
	const size_t n = strlen(text);

	assert(n < TEXT_BYTES);
	to = put_number(to, n);
	memcpy(to, text, n);
	return to + n;
}

static const uint8_t *get_text(const uint8_t *from, char *ret)
{
	uint64_t n;

	from = get_number(from, &n);
	memcpy(ret, from, n);
	ret[n] = '\0';
	return from + n;
}

int snapctl_rows_add(struct snapctl_rows *rows,
		     const struct cfs_snapshot_info *info)
{
	struct cfs_snapshot_info *last = &rows->last, now = *info;
	uint64_t *numbers[NUMBERS], *before[NUMBERS];
	uint8_t row[ROW_BYTES], *to = row;
	uint8_t flags = 0;

	if (info->is_held)
		flags |= IS_HELD;
	if (strcmp(info->volume, last->volume) != 0)
		flags |= HAS_VOLUME;
	if (strcmp(info->note, last->note) != 0)
		flags |= HAS_NOTE;
	if (strcmp(info->branch_of, last->branch_of) != 0)
		flags |= HAS_BRANCH;
	*to++ = flags;
	numbers_of(&now, numbers);
	numbers_of(last, before);
	for (unsigned int i = 0; i < NUMBERS; i++)
		to = put_number(to, zigzag(*numbers[i] - *before[i]));
	to = put_text(to, info->name);
	if (flags & HAS_VOLUME)
		to = put_text(to, info->volume);
	if (flags & HAS_NOTE)
		to = put_text(to, info->note);
	if (flags & HAS_BRANCH)
		to = put_text(to, info->branch_of);
	*last = now;
	return cfs_buf_append(&rows->bytes, row, (size_t)(to - row));
}

bool snapctl_rows_next(const struct snapctl_rows *rows, size_t *at,
		       struct cfs_snapshot_info *ret)
{
	uint64_t *numbers[NUMBERS], n;
	const uint8_t *from;
	uint8_t flags;

	if (*at == rows->bytes.bytes)
		return false;
	from = rows->bytes.data + *at;
	flags = *from++;
	ret->is_held = flags & IS_HELD;
	numbers_of(ret, numbers);
	for (unsigned int i = 0; i < NUMBERS; i++) {
		from = get_number(from, &n);
		*numbers[i] += unzigzag(n);
	}
	from = get_text(from, ret->name);
	if (flags & HAS_VOLUME)
		from = get_text(from, ret->volume);
	if (flags & HAS_NOTE)
		from = get_text(from, ret->note);
	if (flags & HAS_BRANCH)
		from = get_text(from, ret->branch_of);
	*at = (size_t)(from - rows->bytes.data);
	return true;
}
