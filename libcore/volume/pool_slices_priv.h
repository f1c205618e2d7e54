/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the slice table share; container 0 locked. */
#pragma once

#include "volume/pool_shared.h"

struct cfs_key cfs_pool_slice_key(uint32_t device, uint64_t slice);
struct cfs_key cfs_pool_smap_key(uint64_t container_id, uint64_t lslice);

/* The records that lend a slice, or take it back, for one frame. */
struct slice_change {
	struct cfs_slice_rec_disk slices[CFS_PIECES_MAX];
	struct cfs_smap_rec_disk smap;
};

/* Both append to @changes and return how many; the slice map's comes last. */
size_t cfs_pool_slice_changes(const struct cfs_pool *pool,
			      uint64_t container_id, uint64_t lslice,
			      const struct cfs_piece *pieces, bool is_lent,
			      struct slice_change *sc,
			      struct cfs_table_change *changes);
size_t cfs_pool_freeze_changes(const struct cfs_pool *pool,
			       const struct cfs_piece *pieces,
			       struct slice_change *sc,
			       struct cfs_table_change *changes);

/* pool_slices.c */
/* How many logical slices there can be more. */
uint64_t cfs_pool_slices_free(const struct cfs_pool *pool);
/* How many of them are kept for takeovers; 0 if the pool is not shared.  And
 * how many of these are in use. */
uint64_t cfs_pool_slices_kept(const struct cfs_pool *pool);
uint64_t cfs_pool_slices_lack(const struct cfs_pool *pool);
