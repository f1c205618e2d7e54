/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Moving a slice of a metavolume while it is read and written
 * (volume/pool_move.h).
 *
 * From the beginning of a watch each group of the slice that is written is
 * noted, when the write is done; so whoever copies a group once it was taken
 * off the notes has all that was written before, and finds it noted again if
 * something was written meanwhile.  Between stop and go_on nobody reads or
 * writes any slice of the metavolume: what is not noted then is copied, and
 * the map may name the copy.  Behind go_on nobody has the old place in hand.
 *
 * One slice at a time, by one thread.
 */
#pragma once

#include "pool/metavolume.h"

/* Begin; -ENOMEM. */
int cfs_metavolume_watch(struct cfs_metavolume *mv, uint64_t lslice,
			 struct cfs_err *err);
void cfs_metavolume_watch_end(struct cfs_metavolume *mv);
/*
 * Groups noted are added to the bits of @groups (group_count of them), and the
 * notes are empty.  False: there were none.
 */
bool cfs_metavolume_take_written(struct cfs_metavolume *mv, uint8_t *groups);
/* Somebody else may write @count blocks from here on: note their groups.  Any
 * thread, whether this is watched or not. */
void cfs_metavolume_touch(struct cfs_metavolume *mv, uint64_t vaddr,
			  uint32_t count);

/* Wait until no reads and writes are under way; none begins until go_on.  This
 * thread reads and writes nothing of the metavolume in between. */
void cfs_metavolume_stop(struct cfs_metavolume *mv);
void cfs_metavolume_go_on(struct cfs_metavolume *mv);
