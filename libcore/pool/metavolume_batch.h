/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many reads or writes, sorted by the devices they go to.  Filled once, started
 * once and ended once, all by threads that hold the metavolume's I/O lock, or
 * a flight's (metavolume_flight.c).
 */
#pragma once

#include "pool/metavolume_priv.h"

/* What one device gets. */
struct cfs_mv_batch {
	struct cfs_io *ios;
	size_t count;
	size_t room;
	struct cfs_dev_ticket *ticket; /* NULL: it was not started */
	uint32_t device_index;
};

struct cfs_mv_batches {
	struct cfs_mv_batch *list;
	size_t count;
};

/* None may be under way. */
void cfs_mv_batches_done(struct cfs_mv_batches *b);
/* The device's; NULL: no memory, if it has none yet. */
struct cfs_mv_batch *cfs_mv_batch_for(struct cfs_mv_batches *b,
				      uint32_t device);
/* @buf is the caller's, and only read for a write.  -ENOMEM. */
int cfs_mv_batch_add(struct cfs_mv_batches *b, enum cfs_io_op op,
		     uint32_t device, uint64_t offset_bytes, const void *buf,
		     size_t length_bytes, struct cfs_err *err);
/* Each write to all its pieces.  -EUCLEAN, -ENODEV, -ENOMEM. */
int cfs_mv_batches_fill(struct cfs_metavolume *mv, struct cfs_mv_batches *b,
			const struct cfs_mv_write *writes, size_t write_count,
			struct cfs_err *err);
/*
 * Do all of it.  The first failure; each io has its own result.  Or in two
 * halves: what could not be started has that as its result, and is not ended.
 */
int cfs_mv_batches_run(struct cfs_metavolume *mv, struct cfs_mv_batches *b,
		       struct cfs_err *err);
int cfs_mv_batches_start(struct cfs_metavolume *mv, struct cfs_mv_batches *b,
			 struct cfs_err *err);
int cfs_mv_batches_end(struct cfs_metavolume *mv, struct cfs_mv_batches *b,
		       struct cfs_err *err);
