/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Removing many snapshots of a volume: a removal is a commit, so that a range
 * of a thousand is a matter of a few commits if they go together.
 */
#include "session/session_priv.h"

#include <assert.h>

/* Another process holds the pool: it is asked for each. */
static int remove_one_by_one(struct cfs_session *s, const char *volume,
			     const char *const *snaps, size_t count,
			     uint64_t *ret_freed_bytes, struct cfs_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = cfs_session_snap_remove(s, volume, snaps[i],
					    &ret_freed_bytes[i], err);
	return r;
}

int cfs_session_snap_remove_many(struct cfs_session *s, const char *volume,
				 const char *const *snaps, size_t count,
				 uint64_t *ret_freed_bytes, struct cfs_err *err)
{
	uint64_t total = 0, slices;
	struct cfs_named v;
	int r;

	assert(count > 0 && count <= CFS_SNAP_REMOVE_MAX);
	if (!s->pool || count == 1)
		return remove_one_by_one(s, volume, snaps, count,
					 ret_freed_bytes, err);
	r = cfs_session_may_write(s, err);
	if (r == 0)
		r = cfs_session_find(s, volume, &v, err);
	if (r == 0)
		r = cfs_snapshot_remove_many(v.member, v.id, snaps, count,
					     ret_freed_bytes, err);
	if (r != 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		ret_freed_bytes[i] *= CFS_BLOCK_BYTES;
		total += ret_freed_bytes[i];
	}
	/* Whole slices of freed blocks are for others to use at once. */
	if (total >= cfs_devset_label(s->set, 0)->slice_bytes)
		r = cfs_pool_reclaim(s->pool, v.member, &slices, err);
	return r;
}
