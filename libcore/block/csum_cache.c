/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checksums of whole groups, by the group's key.  Each small read asks here, of
 * thousands of groups in any order, so what counts is how much memory one look
 * touches: a slot of the table, which has the key itself, and the checksum.
 *
 * The table is at most half full, what collides lies behind it, and no slot
 * between a key's own and where it lies is empty.  The oldest entry goes when
 * the cache is full.
 */
#include "block/csum_cache.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 64u

struct cfs_csum_entry {
	struct cfs_csum_entry *older, *newer;
	uint64_t key;
	uint64_t csums[CFS_TAGS_PER_PAGE];
};

/* Neighbours, in slices and groups, come to lie far from each other. */
static size_t home_of(const struct cfs_csum_cache *c, uint64_t key)
{
	const uint64_t mixed = key * UINT64_C(0x9e3779b97f4a7c15);

	return (size_t)(mixed >> 32) & (c->slot_count - 1);
}

static size_t next_slot(const struct cfs_csum_cache *c, size_t at)
{
	return (at + 1) & (c->slot_count - 1);
}

/* Where the key lies, or the empty slot where it would. */
static size_t find_slot(const struct cfs_csum_cache *c, uint64_t key)
{
	size_t at = home_of(c, key);

	while (c->slots[at].entry && c->slots[at].key != key)
		at = next_slot(c, at);
	return at;
}

const uint64_t *cfs_csum_cache_find(const struct cfs_csum_cache *c,
				    uint64_t key)
{
	const struct cfs_csum_entry *e;

	if (!c->count)
		return NULL;
	e = c->slots[find_slot(c, key)].entry;
	return e ? e->csums : NULL;
}

void cfs_csum_cache_prefetch_slot(const struct cfs_csum_cache *c, uint64_t key)
{
	if (c->count)
		__builtin_prefetch(&c->slots[home_of(c, key)]);
}

void cfs_csum_cache_prefetch(const struct cfs_csum_cache *c, uint64_t key,
			     unsigned int index)
{
	const uint64_t *csums = cfs_csum_cache_find(c, key);

	if (csums)
		__builtin_prefetch(&csums[index]);
}

/* Twice as large; the same one if there is no memory. */
static bool grow(struct cfs_csum_cache *c)
{
	const struct cfs_csum_cache old = *c;
	const size_t slot_count = c->slot_count ? 2 * c->slot_count : SLOTS_MIN;
	struct cfs_csum_slot *slots = calloc(slot_count, sizeof(*slots));

	if (!slots)
		return false;
	c->slots = slots;
	c->slot_count = slot_count;
	for (size_t i = 0; i < old.slot_count; i++)
		if (old.slots[i].entry)
			c->slots[find_slot(c, old.slots[i].key)] = old.slots[i];
	free(old.slots);
	return true;
}

/* What lies behind it, and could lie where it was, moves up. */
static void empty_slot(struct cfs_csum_cache *c, size_t at)
{
	size_t next = at;

	for (;;) {
		size_t home;

		next = next_slot(c, next);
		if (!c->slots[next].entry)
			break;
		home = home_of(c, c->slots[next].key);
		if (((next - home) & (c->slot_count - 1)) <
		    ((next - at) & (c->slot_count - 1)))
			continue;
		c->slots[at] = c->slots[next];
		at = next;
	}
	c->slots[at].entry = NULL;
}

void cfs_csum_cache_drop(struct cfs_csum_cache *c, uint64_t key)
{
	struct cfs_csum_entry *e;
	size_t at;

	if (!c->count)
		return;
	at = find_slot(c, key);
	e = c->slots[at].entry;
	if (!e)
		return;
	empty_slot(c, at);
	*(e->older ? &e->older->newer : &c->oldest) = e->newer;
	*(e->newer ? &e->newer->older : &c->newest) = e->older;
	c->count--;
	free(e);
}

void cfs_csum_cache_drop_slice(struct cfs_csum_cache *c, uint64_t lslice)
{
	struct cfs_csum_entry *e, *newer;

	for (e = c->oldest; e; e = newer) {
		newer = e->newer;
		if (cfs_vaddr_lslice(e->key) == lslice)
			cfs_csum_cache_drop(c, e->key);
	}
}

uint64_t *cfs_csum_cache_add(struct cfs_csum_cache *c, uint64_t key)
{
	struct cfs_csum_entry *e;

	cfs_csum_cache_drop(c, key);
	if (2 * (c->count + 1) > c->slot_count && !grow(c))
		return NULL;
	e = malloc(sizeof(*e));
	if (!e)
		return NULL;
	e->key = key;
	e->older = c->newest;
	e->newer = NULL;
	*(c->newest ? &c->newest->newer : &c->oldest) = e;
	c->newest = e;
	c->slots[find_slot(c, key)] = (struct cfs_csum_slot){ key, e };
	if (++c->count > c->count_max)
		cfs_csum_cache_drop(c, c->oldest->key);
	return e->csums;
}

void cfs_csum_cache_done(struct cfs_csum_cache *c)
{
	while (c->oldest)
		cfs_csum_cache_drop(c, c->oldest->key);
	free(c->slots);
	c->slots = NULL;
	c->slot_count = 0;
}
