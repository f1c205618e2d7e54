/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Modes and resources: what goes together, without anybody who holds it. */
#include "lease/lock_priv.h"

#include "base/bits.h"

#include <assert.h>

#define BIT(mode) (1u << (mode))

/* Modes that may stand beside the index. */
static const uint8_t agrees[CFS_LOCK_MODE_COUNT] = {
	[CFS_LOCK_NONE] = 0x3f,
	[CFS_LOCK_IS] = BIT(0) | BIT(CFS_LOCK_IS) | BIT(CFS_LOCK_IX) |
			BIT(CFS_LOCK_S) | BIT(CFS_LOCK_SIX),
	[CFS_LOCK_IX] = BIT(0) | BIT(CFS_LOCK_IS) | BIT(CFS_LOCK_IX),
	[CFS_LOCK_S] = BIT(0) | BIT(CFS_LOCK_IS) | BIT(CFS_LOCK_S),
	[CFS_LOCK_SIX] = BIT(0) | BIT(CFS_LOCK_IS),
	[CFS_LOCK_X] = BIT(0),
};

/* Modes that the index allows all of. */
static const uint8_t covers[CFS_LOCK_MODE_COUNT] = {
	[CFS_LOCK_NONE] = BIT(0),
	[CFS_LOCK_IS] = BIT(0) | BIT(CFS_LOCK_IS),
	[CFS_LOCK_IX] = BIT(0) | BIT(CFS_LOCK_IS) | BIT(CFS_LOCK_IX),
	[CFS_LOCK_S] = BIT(0) | BIT(CFS_LOCK_IS) | BIT(CFS_LOCK_S),
	[CFS_LOCK_SIX] = BIT(0) | BIT(CFS_LOCK_IS) | BIT(CFS_LOCK_IX) |
			 BIT(CFS_LOCK_S) | BIT(CFS_LOCK_SIX),
	[CFS_LOCK_X] = 0x3f,
};

const char *cfs_lock_mode_name(unsigned int mode)
{
	static const char *const names[CFS_LOCK_MODE_COUNT] = { "none", "IS",
								"IX",   "S",
								"SIX",  "X" };

	return mode < CFS_LOCK_MODE_COUNT ? names[mode] : "?";
}

bool cfs_lock_mode_is_valid(unsigned int mode)
{
	return mode >= CFS_LOCK_IS && mode <= CFS_LOCK_X;
}

bool cfs_lock_modes_agree(unsigned int a, unsigned int b)
{
	return agrees[a] & BIT(b);
}

bool cfs_lock_mode_covers(unsigned int a, unsigned int b)
{
	return covers[a] & BIT(b);
}

unsigned int cfs_lock_mode_join(unsigned int a, unsigned int b)
{
	if (cfs_lock_mode_covers(a, b))
		return a;
	if (cfs_lock_mode_covers(b, a))
		return b;
	return CFS_LOCK_SIX; /* S and IX: the only pair apart */
}

bool cfs_lock_resource_is_range(const struct cfs_lock_resource *res)
{
	return res->ino && (res->offset_bytes ||
			    res->length_bytes != CFS_LOCK_LENGTH_WHOLE);
}

bool cfs_lock_resource_is_valid(const struct cfs_lock_resource *res,
				unsigned int mode)
{
	if (!cfs_lock_mode_is_valid(mode) || res->length_bytes == 0 ||
	    (res->ino && !res->volume))
		return false;
	if (res->length_bytes != CFS_LOCK_LENGTH_WHOLE &&
	    res->length_bytes - 1 > UINT64_MAX - res->offset_bytes)
		return false;
	if (!res->ino)
		return res->offset_bytes == 0 &&
		       res->length_bytes == CFS_LOCK_LENGTH_WHOLE;
	return !cfs_lock_resource_is_range(res) || mode == CFS_LOCK_S ||
	       mode == CFS_LOCK_X;
}

uint64_t cfs_lock_last_byte(const struct cfs_lock_resource *res)
{
	return res->length_bytes == CFS_LOCK_LENGTH_WHOLE
		       ? UINT64_MAX
		       : res->offset_bytes + (res->length_bytes - 1);
}

bool cfs_lock_resource_contains(const struct cfs_lock_resource *outer,
				const struct cfs_lock_resource *inner)
{
	if (outer->container != inner->container)
		return false;
	if (outer->volume == 0)
		return true;
	if (outer->volume != inner->volume)
		return false;
	if (outer->ino == 0)
		return true;
	return outer->ino == inner->ino &&
	       outer->offset_bytes <= inner->offset_bytes &&
	       cfs_lock_last_byte(outer) >= cfs_lock_last_byte(inner);
}

unsigned int cfs_lock_level_count(const struct cfs_lock_resource *res)
{
	return res->ino ? 3 : res->volume ? 2 : 1;
}

unsigned int cfs_lock_mode_at(const struct cfs_lock_resource *res,
			      unsigned int mode, unsigned int level)
{
	unsigned int count = cfs_lock_level_count(res);

	if (level >= count)
		return CFS_LOCK_NONE;
	if (level == count - 1 && !cfs_lock_resource_is_range(res))
		return mode;
	return mode == CFS_LOCK_NONE                       ? CFS_LOCK_NONE
	       : mode == CFS_LOCK_IS || mode == CFS_LOCK_S ? CFS_LOCK_IS
							   : CFS_LOCK_IX;
}

bool cfs_lock_is_conflict(const struct cfs_lock_resource *a,
			  unsigned int mode_a,
			  const struct cfs_lock_resource *b,
			  unsigned int mode_b)
{
	const uint64_t ids_a[] = { a->container, a->volume, a->ino };
	const uint64_t ids_b[] = { b->container, b->volume, b->ino };

	for (unsigned int i = 0; i < CFS_LOCK_LEVELS; i++) {
		if (ids_a[i] != ids_b[i])
			return false;
		if (!cfs_lock_modes_agree(cfs_lock_mode_at(a, mode_a, i),
					  cfs_lock_mode_at(b, mode_b, i)))
			return true;
	}
	return a->ino && cfs_lock_resource_is_range(a) &&
	       cfs_lock_resource_is_range(b) &&
	       a->offset_bytes <= cfs_lock_last_byte(b) &&
	       b->offset_bytes <= cfs_lock_last_byte(a) &&
	       !cfs_lock_modes_agree(mode_a, mode_b);
}

unsigned int cfs_lock_mode_beside(const struct cfs_lock_resource *res,
				  unsigned int mode,
				  const struct cfs_lock_resource *other,
				  unsigned int other_mode)
{
	assert(mode < CFS_LOCK_MODE_COUNT);
	for (unsigned int m = mode; m-- > CFS_LOCK_IS;)
		if (cfs_lock_mode_covers(mode, m) &&
		    cfs_lock_resource_is_valid(res, m) &&
		    !cfs_lock_is_conflict(res, m, other, other_mode))
			return m;
	return CFS_LOCK_NONE;
}
