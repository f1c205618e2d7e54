/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/vec.h"

void *cfs_vec_grown(void *items, size_t need, size_t item_bytes, size_t *room)
{
	size_t new_room = *room > SIZE_MAX / 2 ? SIZE_MAX : *room * 2;
	size_t bytes;
	void *grown;

	if (items && need <= *room)
		return items;
	if (new_room < need)
		new_room = need;
	if (new_room < 8)
		new_room = 8;
	if (__builtin_mul_overflow(new_room, item_bytes, &bytes))
		return NULL;
	grown = realloc(items, bytes);
	if (grown)
		*room = new_room;
	return grown;
}
