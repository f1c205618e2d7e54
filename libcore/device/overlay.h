/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The overlay: a device that shows another one and keeps what is written in
 * memory.  Whoever opens a pool to look at it, or to plan a change, can replay
 * logs and move things about without a byte of the pool being touched.
 */
#pragma once

#include "device/device.h"

/*
 * A device of kind CFS_DEV_OVERLAY over @base, as large as it and under its
 * name.  Writes, discards and changes of size stay in memory; a flush does
 * nothing; the lock is that of @base, and shared where @base is read-only.
 * @base belongs to the overlay on success and is closed with it.  -ENOMEM.
 */
int cfs_dev_overlay_new(struct cfs_dev *base, struct cfs_dev **ret,
			struct cfs_err *err);

/*
 * Write what was written within [@from_bytes, @to_bytes) to the base, which
 * must be writable, and flush it.  The overlay goes on as it is.  For building
 * something in memory that shall reach a device in few steps.
 */
int cfs_dev_overlay_write_back(struct cfs_dev *dev, uint64_t from_bytes,
			       uint64_t to_bytes, struct cfs_err *err);

/* How much memory the contents written so far stand for, in bytes. */
uint64_t cfs_dev_overlay_written_bytes(const struct cfs_dev *dev);
