/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a pool's own tables say of it and of its devices. */
#include "volume/pool_delegate_priv.h"

#include "pool/metavolume.h"

int cfs_pool_device_rec_put(struct cfs_pool *pool, uint32_t index,
			    const struct cfs_device_rec *rec,
			    struct cfs_err *err)
{
	struct cfs_key key = { { cfs_table_word(CFS_TABLE_DEVICE, index), 0,
				 0 } };
	struct cfs_device_rec_disk disk;

	cfs_device_rec_pack(rec, &disk);
	return cfs_container_put(pool->c0, &key, &disk, sizeof(disk), err);
}

int cfs_pool_rec_put(struct cfs_pool *pool, const struct cfs_pool_rec *rec,
		     struct cfs_err *err)
{
	struct cfs_key key = { { cfs_table_word(CFS_TABLE_POOL, 0), 0, 0 } };
	struct cfs_pool_rec_disk disk;

	cfs_pool_rec_pack(rec, &disk);
	return cfs_container_put(pool->c0, &key, &disk, sizeof(disk), err);
}

struct cfs_devset *cfs_pool_devset(struct cfs_pool *pool)
{
	return pool->set;
}

struct cfs_container *cfs_pool_container0(struct cfs_pool *pool)
{
	return pool->c0;
}

uint32_t cfs_pool_epoch(const struct cfs_pool *pool)
{
	return pool->epoch;
}

int cfs_pool_rec_get_locked(struct cfs_pool *pool, struct cfs_pool_rec *ret,
			    struct cfs_err *err)
{
	struct cfs_key key = { { cfs_table_word(CFS_TABLE_POOL, 0), 0, 0 } };
	struct cfs_pool_rec_disk disk;
	size_t bytes;
	int r = cfs_container_get(pool->c0, &key, &disk, sizeof(disk), &bytes,
				  err);

	if (r == -ENOENT)
		return cfs_err_set(err, -EUCLEAN, "the pool's record is gone");
	if (r < 0)
		return r;
	return cfs_pool_rec_unpack(&disk, CFS_MIN(bytes, sizeof(disk)), ret,
				   err);
}

int cfs_pool_rec_get(struct cfs_pool *pool, struct cfs_pool_rec *ret,
		     struct cfs_err *err)
{
	int r;

	cfs_container_lock(pool->c0);
	r = cfs_pool_rec_get_locked(pool, ret, err);
	cfs_container_unlock(pool->c0);
	return r;
}

/* One change of container 0, as an operation of its own, durable. */
static int change(struct cfs_pool *pool,
		  int (*fn)(struct cfs_pool *pool, uint32_t index,
			    const void *rec, struct cfs_err *err),
		  uint32_t index, const void *rec, struct cfs_err *err)
{
	int r = cfs_pool_delegated_refuse(pool, err);

	if (r == 0)
		r = cfs_op_begin(pool->c0, CFS_OP_FREEING, err);
	if (r < 0)
		return r;
	r = fn(pool, index, rec, err);
	if (r < 0) {
		cfs_op_abort(pool->c0);
		return r;
	}
	cfs_op_end(pool->c0);
	return cfs_container_sync(pool->c0, err);
}

static int change_pool(struct cfs_pool *pool, uint32_t index, const void *rec,
		       struct cfs_err *err)
{
	(void)index;
	return cfs_pool_rec_put(pool, rec, err);
}

static int change_device(struct cfs_pool *pool, uint32_t index, const void *rec,
			 struct cfs_err *err)
{
	return cfs_pool_device_rec_put(pool, index, rec, err);
}

int cfs_pool_rec_set(struct cfs_pool *pool, const struct cfs_pool_rec *rec,
		     struct cfs_err *err)
{
	int r = change(pool, change_pool, 0, rec, err);

	if (r == 0)
		__atomic_store_n(&pool->fence.is_checked,
				 rec->config[CFS_POOL_CONFIG_CHECKED] != 0,
				 __ATOMIC_RELAXED);
	return r;
}

int cfs_pool_device_update(struct cfs_pool *pool, uint32_t index,
			   const struct cfs_device_rec *rec,
			   struct cfs_err *err)
{
	int r = change(pool, change_device, index, rec, err);

	if (r < 0)
		return r;
	return cfs_pool_slices_reload(pool, err);
}

int cfs_pool_device_rec_locked(struct cfs_pool *pool, uint32_t index,
			       struct cfs_device_rec *ret, struct cfs_err *err)
{
	struct cfs_key key = { { cfs_table_word(CFS_TABLE_DEVICE, index), 0,
				 0 } };
	struct cfs_device_rec_disk disk;
	size_t bytes;
	int r = cfs_container_get(pool->c0, &key, &disk, sizeof(disk), &bytes,
				  err);

	if (r < 0)
		return r;
	return cfs_device_rec_unpack(&disk, CFS_MIN(bytes, sizeof(disk)), ret,
				     err);
}

int cfs_pool_device_rec(struct cfs_pool *pool, uint32_t index,
			struct cfs_device_rec *ret, struct cfs_err *err)
{
	int r;

	cfs_container_lock(pool->c0);
	r = cfs_pool_device_rec_locked(pool, index, ret, err);
	cfs_container_unlock(pool->c0);
	return r;
}
