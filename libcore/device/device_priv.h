/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a kind of device supplies.  The dispatcher in device.c has already
 * checked bounds, writability and the memory of a failed flush, and words the
 * errors: a kind returns codes only.  Each kind's struct begins with a struct
 * cfs_dev.
 */
#pragma once

#include "device/device.h"

#include <pthread.h>

struct cfs_dev_ops {
	/* The whole transfer; length_bytes > 0, inside the device. */
	int (*transfer)(struct cfs_dev *dev, enum cfs_io_op op,
			uint64_t offset_bytes, void *buf, size_t length_bytes);
	/*
	 * NULL: the dispatcher does a batch in sequence.  Otherwise begin the
	 * ios whose result is CFS_IO_PENDING; wait sets their results and
	 * frees the batch.  start: -ENOMEM, and nothing has begun.
	 */
	int (*start)(struct cfs_dev *dev, struct cfs_io *ios, size_t count,
		     void **ret_batch);
	void (*wait)(struct cfs_dev *dev, void *batch);
	int (*flush)(struct cfs_dev *dev);
	/* May be NULL: the kind has all its space, or cannot say. */
	int (*allocate)(struct cfs_dev *dev, uint64_t offset_bytes,
			uint64_t length_bytes);
	int (*discard)(struct cfs_dev *dev, uint64_t offset_bytes,
		       uint64_t length_bytes);
	int (*resize)(struct cfs_dev *dev, uint64_t size_bytes);
	int (*lock)(struct cfs_dev *dev, bool exclusive);
	void (*unlock)(struct cfs_dev *dev);
	/* May be NULL.  @number is an offset; not wanted: taken away. */
	int (*mark)(struct cfs_dev *dev, uint64_t number, bool is_wanted);
	bool (*is_same)(const struct cfs_dev *a, const struct cfs_dev *b);
	bool (*is_direct)(const struct cfs_dev *dev); /* NULL: no */
	/* Frees the struct too, but not the name. */
	void (*close)(struct cfs_dev *dev);
};

/* Not yet done; no errno has this value. */
#define CFS_IO_PENDING 1

struct cfs_dev {
	const struct cfs_dev_ops *ops;
	enum cfs_dev_kind kind;
	bool is_writable;
	bool has_failed;     /* a flush did; atomic */
	uint64_t size_bytes; /* atomic */
	char *name;          /* freed by the dispatcher */
};

/* The lock of a memory or simulated device, kept where its contents are. */
struct cfs_dev_lockbox {
	unsigned int shared_count;
	bool is_exclusive;
};

enum cfs_dev_lock_mode { CFS_DEV_UNLOCKED, CFS_DEV_SHARED, CFS_DEV_EXCLUSIVE };

/*
 * Take, change or drop (@want) what the handle with @mode holds in @box; the
 * caller holds the mutex of the box.  -EBUSY: others are in the way.
 */
int cfs_dev_lockbox_set(struct cfs_dev_lockbox *box,
			enum cfs_dev_lock_mode *mode,
			enum cfs_dev_lock_mode want);

struct cfs_sparse;

/* A memory device with the contents of @from, shared copy-on-write. */
int cfs_dev_mem_new_from(const struct cfs_sparse *from, uint64_t size_bytes,
			 struct cfs_dev **ret);
