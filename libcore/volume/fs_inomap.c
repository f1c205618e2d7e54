/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Open addressing with linear probing.  An entry stands at or behind the place
 * its number hashes to, with no empty place between; deleting moves later ones
 * up to keep it so.  At least one place in eight is empty, so a search ends.
 */
#include "volume/fs_inomap_priv.h"

#include <assert.h>
#include <stdlib.h>

#define ROOM_MIN 16u

static size_t place_of(const struct cfs_inomap *map, uint64_t ino)
{
	uint64_t h = ino * UINT64_C(0x9e3779b97f4a7c15);

	return (size_t)(h ^ h >> 32) & (map->room - 1);
}

void cfs_inomap_done(struct cfs_inomap *map)
{
	free(map->entries);
	*map = (struct cfs_inomap){ .entries = NULL };
}

/* Where @ino is or would go. */
static struct cfs_inomap_entry *find(const struct cfs_inomap *map, uint64_t ino)
{
	size_t i = place_of(map, ino);

	while (map->entries[i].ino && map->entries[i].ino != ino)
		i = (i + 1) & (map->room - 1);
	return &map->entries[i];
}

struct cfs_inomap_entry *cfs_inomap_get(const struct cfs_inomap *map,
					uint64_t ino)
{
	struct cfs_inomap_entry *entry;

	assert(ino);
	if (!map->room)
		return NULL;
	entry = find(map, ino);
	return entry->ino ? entry : NULL;
}

static int grow(struct cfs_inomap *map)
{
	struct cfs_inomap bigger = {
		.room = map->room ? map->room * 2 : ROOM_MIN,
		.count = map->count,
	};
	size_t i;

	bigger.entries = calloc(bigger.room, sizeof(*bigger.entries));
	if (!bigger.entries)
		return -1;
	for (i = 0; i < map->room; i++) {
		if (map->entries[i].ino)
			*find(&bigger, map->entries[i].ino) = map->entries[i];
	}
	free(map->entries);
	*map = bigger;
	return 0;
}

struct cfs_inomap_entry *cfs_inomap_add(struct cfs_inomap *map, uint64_t ino)
{
	struct cfs_inomap_entry *entry = cfs_inomap_get(map, ino);

	if (entry)
		return entry;
	if (map->count + 1 > map->room / 8 * 7 && grow(map) < 0)
		return NULL;
	entry = find(map, ino);
	*entry = (struct cfs_inomap_entry){ .ino = ino };
	map->count++;
	return entry;
}

void cfs_inomap_del(struct cfs_inomap *map, uint64_t ino)
{
	struct cfs_inomap_entry *entry = cfs_inomap_get(map, ino);
	size_t mask = map->room - 1;
	size_t hole, i;

	if (!entry)
		return;
	hole = (size_t)(entry - map->entries);
	for (i = (hole + 1) & mask; map->entries[i].ino; i = (i + 1) & mask) {
		size_t home = place_of(map, map->entries[i].ino);

		/* It may move up unless its home lies behind the hole. */
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			map->entries[hole] = map->entries[i];
			hole = i;
		}
	}
	map->entries[hole].ino = 0;
	map->count--;
}

struct cfs_inomap_entry *cfs_inomap_next(const struct cfs_inomap *map,
					 size_t *index)
{
	while (*index < map->room) {
		struct cfs_inomap_entry *entry = &map->entries[(*index)++];

		if (entry->ino)
			return entry;
	}
	return NULL;
}
