/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A device in memory, for tests and for crash images.  Handles share a core
 * that lives as long as the last of them; each handle has its own place in
 * the lock, as each open file description has.
 */
#include "device/device_priv.h"
#include "device/sparse.h"

#include "base/bits.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct mem_core {
	pthread_mutex_t mutex;
	unsigned int refs;
	uint64_t size_bytes;
	struct cfs_sparse sparse;
	struct cfs_dev_lockbox lockbox;
};

struct mem_dev {
	struct cfs_dev dev;
	struct mem_core *core;
	enum cfs_dev_lock_mode lock_mode;
};

int cfs_dev_lockbox_set(struct cfs_dev_lockbox *box,
			enum cfs_dev_lock_mode *mode,
			enum cfs_dev_lock_mode want)
{
	unsigned int others = box->shared_count - (*mode == CFS_DEV_SHARED);

	if (want != CFS_DEV_UNLOCKED && box->is_exclusive &&
	    *mode != CFS_DEV_EXCLUSIVE)
		return -EBUSY;
	if (want == CFS_DEV_EXCLUSIVE && others)
		return -EBUSY;
	box->shared_count = others + (want == CFS_DEV_SHARED);
	if (want == CFS_DEV_EXCLUSIVE)
		box->is_exclusive = true;
	else if (*mode == CFS_DEV_EXCLUSIVE)
		box->is_exclusive = false;
	*mode = want;
	return 0;
}

static struct mem_core *core_of(const struct cfs_dev *dev)
{
	return ((const struct mem_dev *)dev)->core;
}

static int mem_transfer(struct cfs_dev *dev, enum cfs_io_op op,
			uint64_t offset_bytes, void *buf, size_t length_bytes)
{
	struct mem_core *core = core_of(dev);
	int r = 0;

	pthread_mutex_lock(&core->mutex);
	if (!cfs_range_fits(offset_bytes, length_bytes, core->size_bytes))
		r = -EIO; /* cut through another handle */
	else if (op == CFS_IO_READ)
		cfs_sparse_read(&core->sparse, offset_bytes, buf, length_bytes);
	else
		r = cfs_sparse_write(&core->sparse, offset_bytes, buf,
				     length_bytes);
	pthread_mutex_unlock(&core->mutex);
	return r;
}

static int mem_flush(struct cfs_dev *dev)
{
	(void)dev;
	return 0;
}

static int mem_discard(struct cfs_dev *dev, uint64_t offset_bytes,
		       uint64_t length_bytes)
{
	struct mem_core *core = core_of(dev);
	int r;

	pthread_mutex_lock(&core->mutex);
	r = cfs_sparse_zero(&core->sparse, offset_bytes, length_bytes);
	pthread_mutex_unlock(&core->mutex);
	return r;
}

static int mem_resize(struct cfs_dev *dev, uint64_t size_bytes)
{
	struct mem_core *core = core_of(dev);
	int r = 0;

	pthread_mutex_lock(&core->mutex);
	if (size_bytes < core->size_bytes)
		r = cfs_sparse_zero(&core->sparse, size_bytes,
				    core->size_bytes - size_bytes);
	if (r == 0)
		core->size_bytes = size_bytes;
	pthread_mutex_unlock(&core->mutex);
	return r;
}

static int set_lock(struct cfs_dev *dev, enum cfs_dev_lock_mode want)
{
	struct mem_dev *mem = (struct mem_dev *)dev;
	int r;

	pthread_mutex_lock(&mem->core->mutex);
	r = cfs_dev_lockbox_set(&mem->core->lockbox, &mem->lock_mode, want);
	pthread_mutex_unlock(&mem->core->mutex);
	return r;
}

static int mem_lock(struct cfs_dev *dev, bool exclusive)
{
	return set_lock(dev, exclusive ? CFS_DEV_EXCLUSIVE : CFS_DEV_SHARED);
}

static void mem_unlock(struct cfs_dev *dev)
{
	set_lock(dev, CFS_DEV_UNLOCKED);
}

static bool mem_is_same(const struct cfs_dev *a, const struct cfs_dev *b)
{
	return core_of(a) == core_of(b);
}

static void mem_close(struct cfs_dev *dev)
{
	struct mem_core *core = core_of(dev);
	bool is_last;

	mem_unlock(dev);
	pthread_mutex_lock(&core->mutex);
	is_last = --core->refs == 0;
	pthread_mutex_unlock(&core->mutex);
	if (is_last) {
		cfs_sparse_done(&core->sparse);
		pthread_mutex_destroy(&core->mutex);
		free(core);
	}
	free(dev);
}

static const struct cfs_dev_ops mem_ops = {
	.transfer = mem_transfer,
	.flush = mem_flush,
	.discard = mem_discard,
	.resize = mem_resize,
	.lock = mem_lock,
	.unlock = mem_unlock,
	.is_same = mem_is_same,
	.close = mem_close,
};

/* A handle to @core, whose reference it takes over on success. */
static int handle_new(struct mem_core *core, uint64_t size_bytes,
		      struct cfs_dev **ret)
{
	struct mem_dev *mem = calloc(1, sizeof(*mem));

	if (!mem)
		return -ENOMEM;
	if (asprintf(&mem->dev.name, "memory-%p", (void *)core) < 0) {
		free(mem);
		return -ENOMEM;
	}
	mem->dev.ops = &mem_ops;
	mem->dev.kind = CFS_DEV_MEM;
	mem->dev.is_writable = true;
	mem->dev.size_bytes = size_bytes;
	mem->core = core;
	*ret = &mem->dev;
	return 0;
}

int cfs_dev_mem_new_from(const struct cfs_sparse *from, uint64_t size_bytes,
			 struct cfs_dev **ret)
{
	struct mem_core *core = calloc(1, sizeof(*core));
	int r;

	if (!core)
		return -ENOMEM;
	r = handle_new(core, size_bytes, ret);
	if (r < 0) {
		free(core);
		return r;
	}
	pthread_mutex_init(&core->mutex, NULL);
	core->refs = 1;
	core->size_bytes = size_bytes;
	if (from)
		cfs_sparse_clone(from, &core->sparse);
	return 0;
}

int cfs_dev_mem_new(uint64_t size_bytes, struct cfs_dev **ret,
		    struct cfs_err *err)
{
	int r = cfs_dev_mem_new_from(NULL, size_bytes, ret);

	if (r < 0)
		return cfs_err_errno(err, r, "memory device");
	return 0;
}

int cfs_dev_mem_reopen(struct cfs_dev *dev, struct cfs_dev **ret,
		       struct cfs_err *err)
{
	struct mem_core *core;
	int r;

	assert(dev->kind == CFS_DEV_MEM);
	core = core_of(dev);
	pthread_mutex_lock(&core->mutex);
	r = handle_new(core, core->size_bytes, ret);
	if (r == 0)
		core->refs++;
	pthread_mutex_unlock(&core->mutex);
	if (r < 0)
		return cfs_err_errno(err, r, "%s", dev->name);
	return 0;
}
