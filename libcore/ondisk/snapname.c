/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records of snapshots by their names. */
#include "ondisk/snapname.h"

#include "base/le.h"
#include "base/xxh.h"

#include <errno.h>
#include <string.h>

void cfs_snapname_words(const void *name, size_t name_bytes,
			uint64_t *ret_word1, uint64_t *ret_word2)
{
	const uint8_t *bytes = name;
	const size_t tail = name_bytes < 8 ? name_bytes : 8;
	uint64_t word = 0;

	/* The first of them is the most significant, and a short name is
	 * filled up behind: the order of keys is that of names. */
	for (size_t i = 0; i < 8; i++)
		word = word << 8 |
		       (i < tail ? bytes[name_bytes - tail + i] : 0);
	*ret_word1 = cfs_xxh3(bytes, name_bytes - tail);
	*ret_word2 = word;
}

size_t cfs_snapname_rec_pack(const struct cfs_snapname_rec *rec,
			     uint8_t value[CFS_VALUE_BYTES_MAX])
{
	for (size_t i = 0; i < rec->count; i++) {
		const le64 place = le64_put(rec->places[i]);

		memcpy(value + i * sizeof(place), &place, sizeof(place));
	}
	return rec->count * sizeof(le64);
}

int cfs_snapname_rec_unpack(const void *value, size_t value_bytes,
			    struct cfs_snapname_rec *ret, struct cfs_err *err)
{
	const size_t count = value_bytes / sizeof(le64);

	if (count == 0 || value_bytes % sizeof(le64) != 0 ||
	    count > CFS_SNAPNAME_PLACES_MAX)
		return cfs_err_set(err, -EUCLEAN,
				   "table: name: %zu bytes of places",
				   value_bytes);
	for (size_t i = 0; i < count; i++) {
		le64 place;

		memcpy(&place, (const uint8_t *)value + i * sizeof(place),
		       sizeof(place));
		ret->places[i] = le64_get(place);
		if (i > 0 && ret->places[i] <= ret->places[i - 1])
			return cfs_err_set(err, -EUCLEAN,
					   "table: name: places do not rise");
	}
	ret->count = count;
	return 0;
}

/* The index of the first one that is not below @place. */
static size_t find(const struct cfs_snapname_rec *rec, uint64_t place)
{
	size_t i = 0;

	while (i < rec->count && rec->places[i] < place)
		i++;
	return i;
}

bool cfs_snapname_rec_add(struct cfs_snapname_rec *rec, uint64_t place)
{
	const size_t i = find(rec, place);

	if (i < rec->count && rec->places[i] == place)
		return true;
	if (rec->count == CFS_SNAPNAME_PLACES_MAX)
		return false;
	memmove(&rec->places[i + 1], &rec->places[i],
		(rec->count - i) * sizeof(rec->places[0]));
	rec->places[i] = place;
	rec->count++;
	return true;
}

bool cfs_snapname_rec_remove(struct cfs_snapname_rec *rec, uint64_t place)
{
	const size_t i = find(rec, place);

	if (i == rec->count || rec->places[i] != place)
		return false;
	rec->count--;
	memmove(&rec->places[i], &rec->places[i + 1],
		(rec->count - i) * sizeof(rec->places[0]));
	return true;
}
