/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a lease is on, between people and the lock table: see lease.h. */
#include "session/lease.h"

#include "base/cleanup.h"
#include "base/vec.h"
#include "ondisk/table.h"
#include "session/tree_locks.h"

#include <stdlib.h>
#include <string.h>

static int range_of(const struct cfs_lease_place *place,
		    const struct cfs_volume_place *found,
		    struct cfs_lock_resource *res, struct cfs_err *err)
{
	if (!place->has_range)
		return 0;
	if (found->kind == CFS_VOLUME_TREE && !place->path)
		return cfs_err_set(err, -EINVAL,
				   "a range is of a LUN or of "
				   "a file in a tree");
	if (place->length_bytes == 0 ||
	    place->length_bytes > UINT64_MAX - 1 - place->offset_bytes)
		return cfs_err_set(err, -EINVAL,
				   "a range that is empty or "
				   "too long");
	res->ino = found->ino;
	res->offset_bytes = place->offset_bytes;
	res->length_bytes = place->length_bytes;
	return 0;
}

int cfs_session_lease_resource(struct cfs_session *s,
			       const struct cfs_lease_place *place,
			       struct cfs_lock_resource *ret,
			       struct cfs_err *err)
{
	struct cfs_volume_place found;
	struct cfs_lock_resource res;
	int r = cfs_session_place_find(s, place->volume, place->path, &found,
				       err);

	if (r < 0)
		return r;
	res = (struct cfs_lock_resource){
		.container = found.container,
		.volume = found.volume,
		.ino = place->path ? found.ino : 0,
		.length_bytes = CFS_LOCK_LENGTH_WHOLE,
	};
	r = range_of(place, &found, &res, err);
	if (r == 0)
		*ret = res;
	return r;
}

bool cfs_lease_whole_tree(const struct cfs_lock_resource *res, bool is_file,
			  uint32_t mode, struct cfs_lock_resource *ret,
			  uint32_t *ret_mode)
{
	if (!is_file)
		return false;
	*ret = (struct cfs_lock_resource){
		.container = res->container,
		.volume = res->volume,
		.ino = CFS_TREE_LOCK_ALL,
		.length_bytes = CFS_LOCK_LENGTH_WHOLE,
	};
	*ret_mode = mode == CFS_LOCK_S ? CFS_LOCK_IS : CFS_LOCK_IX;
	return true;
}

bool cfs_lease_is_intent(const struct cfs_lock_resource *res, uint32_t mode)
{
	return res->ino == CFS_TREE_LOCK_ALL &&
	       (mode == CFS_LOCK_IS || mode == CFS_LOCK_IX);
}

/* ---- names of many ------------------------------------------------------- */

struct named {
	struct cfs_volume_place place;
	struct cfs_place_name name;
	bool is_known;
};

struct cfs_lease_names {
	CFS_VEC(struct named *) list;
};

int cfs_lease_names_new(struct cfs_lease_names **ret, struct cfs_err *err)
{
	struct cfs_lease_names *names = calloc(1, sizeof(*names));

	if (!names)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	*ret = names;
	return 0;
}

void cfs_lease_names_free(struct cfs_lease_names *names)
{
	if (!names)
		return;
	for (size_t i = 0; i < names->list.count; i++)
		free(names->list.items[i]);
	cfs_vec_done(&names->list);
	free(names);
}

void cfs_lease_names_freep(struct cfs_lease_names **names)
{
	cfs_lease_names_free(*names);
}

static struct named *find(struct cfs_lease_names *names,
			  const struct cfs_lock_resource *res)
{
	for (size_t i = names->list.count; i-- > 0;) {
		struct named *n = names->list.items[i];

		if (n->place.container == res->container &&
		    n->place.volume == res->volume && n->place.ino == res->ino)
			return n;
	}
	return NULL;
}

const struct cfs_place_name *cfs_lease_names_find(
	struct cfs_lease_names *names, struct cfs_session *s,
	const struct cfs_lock_resource *resource)
{
	struct named *n = find(names, resource);

	if (!n) {
		n = calloc(1, sizeof(*n));
		if (!n || cfs_vec_push(&names->list, n) < 0) {
			free(n);
			return NULL;
		}
		n->place.container = resource->container;
		n->place.volume = resource->volume;
		n->place.ino = resource->ino;
	}
	/* What could not be told is asked again: it may be told now. */
	if (!n->is_known && s)
		n->is_known = cfs_session_place_name(s, &n->place, &n->name,
						     NULL) == 0;
	return n->is_known ? &n->name : NULL;
}
