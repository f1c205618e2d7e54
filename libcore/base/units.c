/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/units.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/err.h"

static const char size_letters[] = "KMGTPE";

/*
 * Read the digits at @text.
 * Returns 0; -EINVAL: there are none; -EOVERFLOW.  @ret_rest is set unless
 * there are none, so that the unit behind too large a number is checked too.
 */
static int parse_digits(const char *text, uint64_t *ret, const char **ret_rest)
{
	uint64_t v = 0;
	int r = 0;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
			r = -EOVERFLOW;
	}
	*ret = v;
	*ret_rest = text;
	return r;
}

/* Bytes in the unit @text, 0 if it is none. */
static uint64_t size_unit(const char *text)
{
	uint64_t base = 1024, unit = 1;
	const char *letter;
	char first = text[0];

	if (first == '\0' || strcmp(text, "B") == 0)
		return 1;
	if (first >= 'a' && first <= 'z')
		first = (char)(first - 'a' + 'A');
	letter = strchr(size_letters, first);
	if (!letter)
		return 0;
	if (strcmp(text + 1, "B") == 0)
		base = 1000;
	else if (text[1] && strcmp(text + 1, "iB") != 0)
		return 0;
	for (; letter >= size_letters; letter--)
		unit *= base;
	return unit;
}

int cfs_size_parse(const char *text, uint64_t *ret_bytes, struct cfs_err *err)
{
	const char *rest = text;
	uint64_t v = 0, unit;
	int r;

	r = parse_digits(text, &v, &rest);
	unit = r == -EINVAL ? 0 : size_unit(rest);
	if (unit == 0)
		return cfs_err_set(err, -EINVAL,
				   "'%s': not a size "
				   "(digits, then K M G T P E, KiB or KB)",
				   text);
	if (r < 0 || __builtin_mul_overflow(v, unit, &v))
		return cfs_err_set(err, -EOVERFLOW, "'%s': size too large",
				   text);
	*ret_bytes = v;
	return 0;
}

int cfs_size_parse_multiple(const char *text, uint64_t unit_bytes,
			    uint64_t *ret_bytes, struct cfs_err *err)
{
	char unit_text[CFS_SIZE_TEXT_BYTES];
	uint64_t bytes;
	int r;

	assert(unit_bytes > 0);
	r = cfs_size_parse(text, &bytes, err);
	if (r < 0)
		return r;
	if (bytes % unit_bytes)
		return cfs_err_set(err, -EINVAL, "'%s': not a multiple of %s",
				   text,
				   cfs_size_format(unit_bytes, unit_text));
	*ret_bytes = bytes;
	return 0;
}

char *cfs_size_format(uint64_t bytes, char ret[CFS_SIZE_TEXT_BYTES])
{
	unsigned int shift = 0, index = 0;
	uint64_t whole, tenths;

	if (bytes < 1024) {
		snprintf(ret, CFS_SIZE_TEXT_BYTES, "%" PRIu64 " B", bytes);
		return ret;
	}
	while (shift < 60 && bytes >> shift >= 1024)
		shift += 10;
	for (;;) {
		uint64_t rest = bytes & ((UINT64_C(1) << shift) - 1);

		/* The rest has up to 60 bits: ten times it fits in 64. */
		whole = bytes >> shift;
		tenths = (rest * 10 + (UINT64_C(1) << (shift - 1))) >> shift;
		if (tenths == 10) {
			whole++;
			tenths = 0;
		}
		if (whole < 1024 || shift == 60)
			break;
		shift += 10; /* 1023.96 MiB is 1 GiB, not 1024 MiB */
	}
	index = shift / 10 - 1;
	if (tenths)
		snprintf(ret, CFS_SIZE_TEXT_BYTES, "%u.%u %ciB",
			 (unsigned int)whole, (unsigned int)tenths,
			 size_letters[index]);
	else
		snprintf(ret, CFS_SIZE_TEXT_BYTES, "%u %ciB",
			 (unsigned int)whole, size_letters[index]);
	return ret;
}

static const struct duration_unit {
	char name[3];
	uint64_t ns;
} duration_units[] = {
	{ "ns", 1 },
	{ "us", CFS_NS_PER_US },
	{ "ms", CFS_NS_PER_MS },
	{ "s", CFS_NS_PER_S },
	{ "", CFS_NS_PER_S },
	{ "m", CFS_NS_PER_S * 60 },
	{ "h", CFS_NS_PER_S * 3600 },
	{ "d", CFS_NS_PER_S * 86400 },
	{ "w", CFS_NS_PER_S * 604800 },
};

int cfs_duration_parse(const char *text, uint64_t *ret_ns, struct cfs_err *err)
{
	const char *rest = text;
	uint64_t v = 0, unit_ns = 0;
	size_t i;
	int r;

	r = parse_digits(text, &v, &rest);
	for (i = 0; r != -EINVAL && i < CFS_ARRAY_COUNT(duration_units); i++)
		if (strcmp(rest, duration_units[i].name) == 0)
			unit_ns = duration_units[i].ns;
	if (unit_ns == 0)
		return cfs_err_set(err, -EINVAL,
				   "'%s': not a duration "
				   "(digits, then ms s m h d w)",
				   text);
	if (r < 0 || __builtin_mul_overflow(v, unit_ns, &v))
		return cfs_err_set(err, -EOVERFLOW, "'%s': duration too long",
				   text);
	*ret_ns = v;
	return 0;
}

static void format_small(uint64_t ns, char *ret)
{
	static const char *const names[] = { "ns", "us", "ms", "s" };
	uint64_t unit_ns = 1, tenths;
	size_t index = 0;

	while (index < 3 && ns / unit_ns >= 1000) {
		unit_ns *= 1000;
		index++;
	}
	tenths = ns % unit_ns * 10 / unit_ns;
	/* Ten and more need no decimal. */
	if (tenths && ns / unit_ns < 10)
		snprintf(ret, CFS_DURATION_TEXT_BYTES, "%u.%u %s",
			 (unsigned int)(ns / unit_ns), (unsigned int)tenths,
			 names[index]);
	else
		snprintf(ret, CFS_DURATION_TEXT_BYTES, "%u %s",
			 (unsigned int)(ns / unit_ns), names[index]);
}

char *cfs_duration_format(uint64_t ns, char ret[CFS_DURATION_TEXT_BYTES])
{
	uint64_t s = ns / CFS_NS_PER_S;

	if (ns == 0)
		snprintf(ret, CFS_DURATION_TEXT_BYTES, "0 s");
	else if (s < 60)
		format_small(ns, ret);
	else if (s < 3600)
		snprintf(ret, CFS_DURATION_TEXT_BYTES, "%um %02us",
			 (unsigned int)(s / 60), (unsigned int)(s % 60));
	else if (s < 86400)
		snprintf(ret, CFS_DURATION_TEXT_BYTES, "%uh %02um",
			 (unsigned int)(s / 3600), (unsigned int)(s / 60 % 60));
	else
		snprintf(ret, CFS_DURATION_TEXT_BYTES, "%ud %02uh",
			 (unsigned int)(s / 86400),
			 (unsigned int)(s / 3600 % 24));
	return ret;
}

int cfs_u64_parse(const char *text, uint64_t max, uint64_t *ret,
		  struct cfs_err *err)
{
	const char *rest = text;
	uint64_t v = 0;
	int r;

	r = parse_digits(text, &v, &rest);
	if (r == -EINVAL || *rest)
		return cfs_err_set(err, -EINVAL, "'%s': not a whole number",
				   text);
	if (r < 0 || v > max)
		return cfs_err_set(err, -EOVERFLOW, "'%s': more than %" PRIu64,
				   text, max);
	*ret = v;
	return 0;
}
