/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the map of a metavolume and the I/O to it share. */
#pragma once

#include "pool/metavolume.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

struct map_entry {
	struct cfs_piece pieces[CFS_PIECES_MAX];
};

struct mv_watch; /* a slice that is being moved */

struct cfs_metavolume {
	struct cfs_devset *set;
	uint64_t container_id;
	uint64_t pool_lo;
	struct cfs_slice_geometry geometry;
	uint64_t slices_offset_bytes;

	pthread_rwlock_t map_lock; /* guards the four below */
	struct map_entry *map;
	uint64_t map_room;
	uint64_t map_end;
	uint64_t slice_count;

	/* Held to read by each read and write; to write it stops them
	 * (metavolume_watch.h). */
	pthread_rwlock_t io_lock;
	pthread_mutex_t watch_lock; /* of what the watch has noted */
	_Atomic(struct mv_watch *) watch;

	pthread_mutex_t flights_lock;
	struct cfs_mv_flight *flights; /* none without its owner */

	pthread_mutex_t flush_lock;
	uint32_t device_room; /* length of written */
	atomic_bool *written;
};

/*
 * metavolume_io.c: from the look at the map to the end of what is read or
 * written there no slice moves.
 */
void cfs_metavolume_io_begin(struct cfs_metavolume *mv);
void cfs_metavolume_io_end(struct cfs_metavolume *mv);
/* The pieces of an address whose @count blocks lie inside its slice.
 * -EUCLEAN. */
int cfs_metavolume_resolve(const struct cfs_metavolume *mv, uint64_t vaddr,
			   uint32_t count,
			   struct cfs_piece pieces[CFS_PIECES_MAX],
			   struct cfs_err *err);

/* Behind writes, however they went: for who moves their slice, and for the next
 * flush. */
void cfs_metavolume_note_writes(struct cfs_metavolume *mv,
				const struct cfs_mv_write *writes,
				size_t write_count);
void cfs_metavolume_mark_written(struct cfs_metavolume *mv, uint32_t device);

/* metavolume_flight.c: until all that are in the air have come down.  With the
 * I/O lock, to write: no other takes off. */
void cfs_metavolume_land(struct cfs_metavolume *mv);

static inline bool piece_is_usable(const struct cfs_metavolume *mv,
				   const struct cfs_piece *p)
{
	return (p->flags & CFS_PIECE_USED) && !(p->flags & CFS_PIECE_STALE) &&
	       cfs_devset_dev(mv->set, p->device_index);
}

static inline uint64_t piece_offset_bytes(const struct cfs_metavolume *mv,
					  const struct cfs_piece *p,
					  uint32_t block)
{
	return mv->slices_offset_bytes +
	       p->slice_index * mv->geometry.slice_bytes +
	       (uint64_t)block * CFS_BLOCK_BYTES;
}
