/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/uuid.h"

#include <errno.h>
#include <stddef.h>

#include "base/err.h"
#include "base/rng.h"

static void set_version(uint8_t uuid[CFS_UUID_BYTES])
{
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* version 4 */
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80); /* RFC variant */
}

int cfs_uuid_new(uint8_t ret[CFS_UUID_BYTES], struct cfs_err *err)
{
	uint8_t uuid[CFS_UUID_BYTES];
	int r;

	r = cfs_random_bytes(uuid, sizeof(uuid), err);
	if (r < 0)
		return cfs_err_wrap(err, r, "uuid");
	set_version(uuid);
	memcpy(ret, uuid, sizeof(uuid));
	return 0;
}

void cfs_uuid_from_rng(struct cfs_rng *rng, uint8_t ret[CFS_UUID_BYTES])
{
	cfs_rng_fill(rng, ret, CFS_UUID_BYTES);
	set_version(ret);
}

static bool is_dash_before(size_t index)
{
	return index == 4 || index == 6 || index == 8 || index == 10;
}

char *cfs_uuid_format(const uint8_t uuid[CFS_UUID_BYTES],
		      char ret[CFS_UUID_TEXT_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	char *p = ret;
	size_t i;

	for (i = 0; i < CFS_UUID_BYTES; i++) {
		if (is_dash_before(i))
			*p++ = '-';
		*p++ = digits[uuid[i] >> 4];
		*p++ = digits[uuid[i] & 15];
	}
	*p = '\0';
	return ret;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int cfs_uuid_parse(const char *text, uint8_t ret[CFS_UUID_BYTES])
{
	uint8_t uuid[CFS_UUID_BYTES];
	size_t i;

	for (i = 0; i < CFS_UUID_BYTES; i++) {
		int high, low;

		if (is_dash_before(i) && *text++ != '-')
			return -EINVAL;
		high = digit_value(text[0]);
		if (high < 0)
			return -EINVAL;
		low = digit_value(text[1]);
		if (low < 0)
			return -EINVAL;
		uuid[i] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	if (*text)
		return -EINVAL;
	memcpy(ret, uuid, sizeof(uuid));
	return 0;
}

bool cfs_uuid_is_null(const uint8_t uuid[CFS_UUID_BYTES])
{
	static const uint8_t null[CFS_UUID_BYTES];

	return cfs_uuid_is_equal(uuid, null);
}
