/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plain files and block devices: what file.c (single transfers), uring.c and
 * workers.c (the two ways to do a batch in parallel) share.
 */
#pragma once

#include "device/device_priv.h"

#include <sys/types.h>

/* Larger ones are done in pieces through a bounce buffer of this size. */
#define CFS_FILE_BOUNCE_BYTES (UINT64_C(1) << 20)

struct cfs_uring_ring;
struct cfs_workers;

struct cfs_file_dev {
	struct cfs_dev dev;
	int fd;
	bool is_direct;
	uint32_t align_bytes; /* of direct transfers */
	dev_t st_dev;         /* block device: st_rdev */
	ino_t st_ino;         /* block device: 0 */

	/* One flush at a time, which serves all who came before it began. */
	pthread_mutex_t flush_mutex;
	pthread_cond_t flush_cond;
	uint64_t flush_begun;
	uint64_t flush_done;
	bool is_flushing;
	int flush_result; /* of the first that failed */

	pthread_mutex_t rmw_mutex; /* partial blocks, resize */

	pthread_mutex_t engine_mutex;
	struct cfs_uring_ring *free_rings;
	unsigned int free_ring_count;
	bool is_uring_refused;
	struct cfs_workers *workers; /* NULL until needed */
};

/* @path without URI syntax; @name as the caller knows it. */
int cfs_file_open(const char *path, const char *name, unsigned int flags,
		  struct cfs_dev **ret, struct cfs_err *err);

/* One whole transfer, of any alignment, in the calling thread. */
int cfs_file_transfer(struct cfs_dev *dev, enum cfs_io_op op,
		      uint64_t offset_bytes, void *buf, size_t length_bytes);

/* May it go to the descriptor as it is? */
bool cfs_file_is_straight(const struct cfs_file_dev *file,
			  uint64_t offset_bytes, const void *buf,
			  size_t length_bytes);

/* From now on batches go through threads, as if there were no io_uring. */
void cfs_file_refuse_uring(struct cfs_dev *dev);

/*
 * Begin the pending ios of a batch.  -ENOSYS, -ENOMEM, ...: not this way, and
 * nothing has begun.  wait frees the batch.
 */
int cfs_uring_start(struct cfs_file_dev *file, struct cfs_io *ios, size_t count,
		    void **ret_batch);
void cfs_uring_wait(void *batch);
void cfs_uring_done(struct cfs_file_dev *file);

int cfs_workers_start(struct cfs_file_dev *file, struct cfs_io *ios,
		      size_t count, void **ret_batch);
void cfs_workers_wait(void *batch);
void cfs_workers_done(struct cfs_file_dev *file);
