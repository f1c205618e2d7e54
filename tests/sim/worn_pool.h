/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A pool in which nearly every slice has been used: new ones are taken first,
 * and only behind them slices get another life, which is what is to be seen.
 */
#pragma once

#include "../unit/shared_fixture.h"

#define WORN_BLOCKS 512u /* at once */
#define WORN_KEPT   12u  /* slices that stay new, about */

static void pool_wear(struct manager *m)
{
	struct cfs_slice_counts counts;
	struct cfs_member *x;

	HEAL_OK(cfs_pool_container_make(m->pool, "worn", CFS_VOLUME_LUN, 0,
					CFS_OBJECT_LIVE, &x, &err_));
	HEAL_OK(cfs_volume_make_first(x, CFS_VOLUME_LUN, SHARED_BYTES, &err_));
	for (uint64_t block = 0;; block += WORN_BLOCKS) {
		HEAL_OK(cfs_pool_slice_counts(m->pool, UINT32_MAX, &counts,
					      &err_));
		if (counts.free < WORN_KEPT ||
		    lun_write(x, block, WORN_BLOCKS, block) < 0)
			break;
		HEAL_OK(cfs_container_commit(x->container, &err_));
	}
	HEAL_OK(cfs_pool_container_remove(m->pool, x, &err_));
}
