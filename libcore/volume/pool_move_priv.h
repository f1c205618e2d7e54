/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files that move slices share. */
#pragma once

#include "pool/metavolume.h"
#include "volume/pool_delegate_priv.h"
#include "volume/pool_move.h"
#include "volume/pool_slices_priv.h"

/* Both maps' slices, the map, the device. */
#define MOVE_CHANGES (2 * CFS_PIECES_MAX + 2)

struct move_changes {
	struct cfs_table_change changes[MOVE_CHANGES];
	struct slice_change next;
	struct cfs_slice_rec_disk old[CFS_PIECES_MAX];
	struct cfs_device_rec_disk device;
};

static inline unsigned int slice_used_count(
	const struct cfs_piece pieces[CFS_PIECES_MAX])
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++)
		n += (pieces[i].flags & CFS_PIECE_USED) != 0;
	return n;
}

/* One logical slice that is to be on other devices. */
struct slice_move {
	uint64_t container_id;
	uint64_t lslice;
	uint8_t uuid[16]; /* of the container */
	struct cfs_piece old[CFS_PIECES_MAX];
	uint32_t off_device;          /* no piece stays there */
	unsigned int want;            /* pieces that it is to have */
	bool has_cursor;              /* @device goes into the same frame */
	struct cfs_device_rec device; /* of off_device */
	/* Set by the move. */
	struct cfs_piece next[CFS_PIECES_MAX];
	unsigned int written; /* pieces */
	uint64_t damaged_blocks;
};

/*
 * Durable when it returns 0; else the slice is where it was.  -ENOSPC, -EIO,
 * -ENODEV: no piece of it can be read; -EREMOTE; -EBUSY: a client may write to
 * it; -EAGAIN: it is another slice by now.
 */
int cfs_pool_slice_move(struct cfs_pool *pool, struct slice_move *mv,
			const struct cfs_pool_move_options *opt,
			struct cfs_err *err);
