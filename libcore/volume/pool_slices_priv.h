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

/* pool_slice_rec.c: headers of those of @pieces alone that are in @mask. */
int cfs_pool_slice_headers_of(struct cfs_pool *pool, uint64_t container_id,
			      const uint8_t uuid[16], uint64_t lslice,
			      const struct cfs_piece *pieces, unsigned int mask,
			      uint32_t state, struct cfs_err *err);

/* pool_slices.c */
/*
 * A free slice for one piece of a logical slice, on a device that none of
 * @apart is on.  Its life gets the number @exact if that is not 0 (and all its
 * lives before were lower), else one above @floor and above its last one.  It
 * counts as taken from now on.  -ENOSPC.
 */
int cfs_pool_piece_pick(struct cfs_pool *pool,
			const struct cfs_piece apart[CFS_PIECES_MAX],
			uint32_t exact, uint32_t floor, struct cfs_piece *ret,
			struct cfs_err *err);
/* Free slices of one device that can be had; 0 if none is handed out there. */
uint64_t cfs_pool_device_free(const struct cfs_pool *pool, uint32_t device);
/* pool_slices_back.c: what stands in them is of no use; their headers stay. */
void cfs_pool_slices_discard(struct cfs_pool *pool,
			     const struct cfs_piece pieces[CFS_PIECES_MAX]);
/* They are free, as the tables say. */
void cfs_pool_slices_came_back(struct cfs_pool *pool,
			       const struct cfs_piece pieces[CFS_PIECES_MAX]);
/* pool_provision.c: how many slices a container has that is to have so much
 * at hand. */
uint64_t cfs_pool_provision_slices(const struct cfs_pool *pool, uint64_t bytes);
/* How many logical slices there can be more. */
uint64_t cfs_pool_slices_free(const struct cfs_pool *pool);
/* How many of them are kept for takeovers; 0 if the pool is not shared.  And
 * how many of these are in use. */
uint64_t cfs_pool_slices_kept(const struct cfs_pool *pool);
uint64_t cfs_pool_slices_lack(const struct cfs_pool *pool);
