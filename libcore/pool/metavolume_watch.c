/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/metavolume_watch.h"

#include "pool/metavolume_priv.h"

#include <stdlib.h>

/* Its own lock: whoever notes something may be inside a read or write, or not.
 */
struct mv_watch {
	uint64_t lslice;
	uint8_t *groups;
};

static size_t bytes_of(const struct cfs_metavolume *mv)
{
	return (mv->geometry.group_count + 7) / 8;
}

int cfs_metavolume_watch(struct cfs_metavolume *mv, uint64_t lslice,
			 struct cfs_err *err)
{
	struct mv_watch *w = calloc(1, sizeof(*w));

	if (w)
		w->groups = calloc(1, bytes_of(mv));
	if (!w || !w->groups) {
		free(w);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	w->lslice = lslice;
	/* What is under way was begun before, and would not be noted. */
	cfs_metavolume_stop(mv);
	pthread_mutex_lock(&mv->watch_lock);
	atomic_store(&mv->watch, w);
	pthread_mutex_unlock(&mv->watch_lock);
	cfs_metavolume_go_on(mv);
	return 0;
}

void cfs_metavolume_watch_end(struct cfs_metavolume *mv)
{
	struct mv_watch *w;

	pthread_mutex_lock(&mv->watch_lock);
	w = atomic_exchange(&mv->watch, NULL);
	pthread_mutex_unlock(&mv->watch_lock);
	if (w)
		free(w->groups);
	free(w);
}

bool cfs_metavolume_take_written(struct cfs_metavolume *mv, uint8_t *groups)
{
	bool has_some = false;
	struct mv_watch *w;

	pthread_mutex_lock(&mv->watch_lock);
	w = atomic_load(&mv->watch);
	for (size_t i = 0; w && i < bytes_of(mv); i++) {
		has_some |= w->groups[i] != 0;
		groups[i] |= w->groups[i];
		w->groups[i] = 0;
	}
	pthread_mutex_unlock(&mv->watch_lock);
	return has_some;
}

/* The group that a block belongs to, as data or as its tags. */
static bool group_of(const struct cfs_slice_geometry *geo, uint32_t block,
		     uint32_t *ret)
{
	const uint32_t second = geo->block_count - 1 - geo->group_count;

	if (cfs_geometry_is_data(geo, block))
		*ret = cfs_geometry_group(geo, block);
	else if (block >= 1 && block <= geo->group_count)
		*ret = block - 1;
	else if (block >= second && block < geo->block_count - 1)
		*ret = block - second;
	else
		return false;
	return true;
}

void cfs_metavolume_touch(struct cfs_metavolume *mv, uint64_t vaddr,
			  uint32_t count)
{
	const uint32_t first = cfs_vaddr_block(vaddr);
	struct mv_watch *w = atomic_load(&mv->watch);
	uint32_t group;

	if (!w)
		return;
	pthread_mutex_lock(&mv->watch_lock);
	w = atomic_load(&mv->watch);
	if (w && w->lslice == cfs_vaddr_lslice(vaddr) &&
	    cfs_range_fits(first, count, mv->geometry.block_count))
		for (uint32_t i = 0; i < count; i++)
			if (group_of(&mv->geometry, first + i, &group))
				w->groups[group / 8] |= (uint8_t)(1u
								  << group % 8);
	pthread_mutex_unlock(&mv->watch_lock);
}

void cfs_metavolume_stop(struct cfs_metavolume *mv)
{
	pthread_rwlock_wrlock(&mv->io_lock);
	cfs_metavolume_land(mv);
}

void cfs_metavolume_go_on(struct cfs_metavolume *mv)
{
	pthread_rwlock_unlock(&mv->io_lock);
}
