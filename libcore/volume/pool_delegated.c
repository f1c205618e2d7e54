/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pool of a secondary: one container of the real devices, and a container 0
 * that stands in memory.
 *
 * All that works on containers finds the records where it always does.  Those
 * of slices and devices are copies; what is to change goes to the primary
 * first, so that a copy never says more than the primary has made durable.
 */
#include "volume/pool_delegate_priv.h"

#include "base/cleanup.h"
#include "base/uuid.h"
#include "pool/metavolume.h"
#include "tree/tree.h"

#include <assert.h>
#include <stdlib.h>

/* Room for records of some hundred thousand slices; only what is written takes
 * memory. */
#define OWN_BYTES       (UINT64_C(256) << 20)
#define OWN_SLICE_BYTES (UINT64_C(64) << 20)
#define OWN_CACHE_BYTES (UINT64_C(4) << 20)

#define MORE_AT_ONCE    16u /* slices are asked for ahead of need */

/* ---- container 0 --------------------------------------------------------- */

static int own_label(struct cfs_dev *dev, const uint8_t pool_uuid[16],
		     struct cfs_err *err)
{
	struct cfs_label label = {
		.seq = 1,
		.name = "delegated",
		.size_bytes = OWN_BYTES,
		.slice_bytes = OWN_SLICE_BYTES,
		.slices_offset_bytes = CFS_SLICES_OFFSET_LOCAL,
		.slice_count = cfs_device_slice_count(
			OWN_BYTES, CFS_SLICES_OFFSET_LOCAL, OWN_SLICE_BYTES),
		.created_ns = 1,
		.seat_count = CFS_SEAT_COUNT_LOCAL,
		.device_count = 1,
	};
	int r = cfs_uuid_new(label.device_uuid, err);

	memcpy(label.pool_uuid, pool_uuid, sizeof(label.pool_uuid));
	return r < 0 ? r : cfs_label_write(dev, &label, err);
}

static int own_set(const uint8_t pool_uuid[16], struct cfs_devset **ret,
		   struct cfs_err *err)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	struct cfs_dev *dev;
	int r = cfs_dev_mem_new(OWN_BYTES, &dev, err);

	if (r < 0)
		return r;
	r = own_label(dev, pool_uuid, err);
	if (r < 0) {
		cfs_dev_close(dev);
		return r;
	}
	return cfs_devset_from_devices(&dev, 1, &opt, ret, err);
}

/* Its own slices are of no real device: their records would be mistaken. */
static int drop_records(struct cfs_pool *pool, enum cfs_table_class class,
			struct cfs_err *err)
{
	const struct cfs_key from = { { cfs_table_word(class, 0), 0, 0 } };
	struct cfs_cursor cur;
	int r;

	while ((r = cfs_cursor_ge(&cur,
				  cfs_container_tree(pool->c0, CFS_TREE_TABLE),
				  &from, err)) == 0 &&
	       cur.key.w[0] >> 56 == class) {
		const struct cfs_key key = cur.key;

		r = cfs_container_del(pool->c0, &key, err);
		if (r < 0)
			return r;
	}
	return r == -ENOENT ? 0 : r;
}

static int put(struct cfs_pool *pool, uint64_t word0, uint64_t word1,
	       const void *value, size_t bytes, struct cfs_err *err)
{
	const struct cfs_key key = { { word0, word1, 0 } };

	return cfs_container_put(pool->c0, &key, value, bytes, err);
}

static int put_slice(struct cfs_pool *pool, uint64_t container,
		     const struct cfs_lent_slice *s, struct cfs_err *err)
{
	struct cfs_smap_rec rec = { .epoch = 0 };
	struct cfs_smap_rec_disk disk;
	int r;

	memcpy(rec.pieces, s->pieces, sizeof(rec.pieces));
	cfs_smap_rec_pack(&rec, &disk);
	r = put(pool, cfs_table_word(CFS_TABLE_SMAP, container), s->lslice,
		&disk, sizeof(disk), err);
	for (uint32_t i = 0; i < CFS_PIECES_MAX && r == 0; i++) {
		const struct cfs_piece *p = &s->pieces[i];
		const struct cfs_slice_rec slice = {
			.use = CFS_SLICE_USE_OWNED,
			.generation = p->generation,
			.container_id = container,
			.lslice = s->lslice,
			.piece = i,
		};
		struct cfs_slice_rec_disk slice_disk;

		if (!(p->flags & CFS_PIECE_USED))
			continue;
		cfs_slice_rec_pack(&slice, &slice_disk);
		r = put(pool, cfs_table_word(CFS_TABLE_SLICE, p->device_index),
			p->slice_index, &slice_disk, sizeof(slice_disk), err);
	}
	return r;
}

static int put_granted(struct cfs_pool *pool,
		       const struct cfs_pool_grant *grant, struct cfs_err *err)
{
	struct cfs_container_rec_disk container;
	struct cfs_pool_rec_disk pool_disk;
	int r;

	cfs_pool_rec_pack(&grant->pool, &pool_disk);
	cfs_container_rec_pack(&grant->rec, &container);
	r = put(pool, cfs_table_word(CFS_TABLE_POOL, 0), 0, &pool_disk,
		sizeof(pool_disk), err);
	if (r == 0)
		r = put(pool,
			cfs_table_word(CFS_TABLE_CONTAINER, grant->container),
			0, &container, sizeof(container), err);
	for (size_t i = 0; i < grant->devices.count && r == 0; i++) {
		struct cfs_device_rec_disk disk;

		cfs_device_rec_pack(&grant->devices.items[i], &disk);
		r = put(pool, cfs_table_word(CFS_TABLE_DEVICE, i), 0, &disk,
			sizeof(disk), err);
	}
	return r;
}

/* Many slices are many records: an operation for some of them each. */
static int put_slices(struct cfs_pool *pool, uint64_t container,
		      const struct cfs_lent_slices *slices, struct cfs_err *err)
{
	int r = 0;

	for (size_t at = 0; at < slices->list.count && r == 0;) {
		const size_t end = CFS_MIN(slices->list.count, at + 1024);

		r = cfs_op_begin(pool->c0, CFS_OP_FREEING, err);
		if (r < 0)
			return r;
		for (; at < end && r == 0; at++)
			r = put_slice(pool, container, &slices->list.items[at],
				      err);
		if (r < 0)
			cfs_op_abort(pool->c0);
		else
			cfs_op_end(pool->c0);
	}
	return r;
}

static int fill(struct cfs_pool *pool, const struct cfs_pool_grant *grant,
		struct cfs_err *err)
{
	int r = cfs_op_begin(pool->c0, CFS_OP_FREEING, err);

	if (r < 0)
		return r;
	r = drop_records(pool, CFS_TABLE_DEVICE, err);
	if (r == 0)
		r = drop_records(pool, CFS_TABLE_SLICE, err);
	if (r == 0)
		r = put_granted(pool, grant, err);
	if (r < 0) {
		cfs_op_abort(pool->c0);
		return r;
	}
	cfs_op_end(pool->c0);
	return put_slices(pool, grant->container, &grant->slices, err);
}

/* ---- the fence ----------------------------------------------------------- */

/* Who had it before us was brought to rest, or is known to the primary. */
static bool is_gone(void *ctx, uint32_t first, uint32_t last)
{
	(void)ctx;
	(void)first;
	(void)last;
	return false;
}

static bool may_ack(void *ctx)
{
	struct cfs_pool *pool = ctx;

	return pool->lender->may_ack(pool->lender->ctx);
}

static bool may_reach(void *ctx, uint32_t epoch, uint32_t device_index)
{
	(void)ctx;
	(void)epoch;
	(void)device_index;
	return true;
}

/* ---- opening ------------------------------------------------------------- */

static int open_own(struct cfs_devset *own, const struct cfs_pool_grant *grant,
		    const struct cfs_pool_options *opt, struct cfs_pool **ret,
		    struct cfs_err *err)
{
	const struct cfs_pool_options own_opt = {
		.cache_bytes = OWN_CACHE_BYTES,
		.was_clean = true,
		.warn = opt->warn,
		.arg = opt->arg,
	};
	struct cfs_place roots[CFS_ROOT_PLACES_MAX];
	int r = cfs_pool_make(own, &own_opt, roots, err);

	return r < 0 ? r
		     : cfs_pool_open(own, grant->epoch, roots, &own_opt, ret,
				     err);
}

/* From here on it is about the real devices. */
static void turn(struct cfs_pool *pool, struct cfs_devset *set,
		 struct cfs_devset *own, const struct cfs_pool_grant *grant,
		 const struct cfs_pool_lender *lender,
		 const struct cfs_pool_options *opt)
{
	const uint32_t flags = cfs_devset_label(set, 0)->flags;

	pool->own_set = own;
	pool->set = set;
	pool->is_mirror = flags & CFS_POOL_FLAG_MIRROR;
	pool->is_shared = flags & CFS_POOL_FLAG_SHARED;
	pool->delegated_id = grant->container;
	*pool->lender = *lender;
	pool->free_slices = grant->slices.free_slices;
	pool->total_slices = grant->slices.total_slices;
	pool->cache_bytes =
		opt->cache_bytes
			? opt->cache_bytes
			: grant->pool.config[CFS_POOL_CONFIG_CACHE_BYTES];
	if (!pool->cache_bytes)
		pool->cache_bytes = UINT64_C(64) << 20;
	pool->fence = (struct cfs_fence){
		.is_gone = is_gone,
		.may_ack = may_ack,
		.may_reach = may_reach,
		.ctx = pool,
	};
}

int cfs_pool_open_delegated(struct cfs_devset *set,
			    const struct cfs_pool_grant *grant,
			    const struct cfs_pool_lender *lender,
			    const struct cfs_pool_options *opt,
			    struct cfs_pool **ret, struct cfs_err *err)
{
	struct cfs_pool_lender *copy = calloc(1, sizeof(*copy));
	struct cfs_devset *own = NULL;
	struct cfs_pool *pool = NULL;
	int r = copy ? 0 : cfs_err_set(err, -ENOMEM, "out of memory");

	if (r == 0 && grant->devices.count != cfs_devset_count(set))
		r = cfs_err_set(err, -EAGAIN,
				"the devices of the pool have "
				"changed: try again");
	if (r == 0)
		r = own_set(cfs_devset_label(set, 0)->pool_uuid, &own, err);
	if (r == 0)
		r = open_own(own, grant, opt, &pool, err);
	if (r != 0) {
		cfs_devset_close(own);
		free(copy);
		return r;
	}
	pool->lender = copy;
	turn(pool, set, own, grant, lender, opt);
	r = fill(pool, grant, err);
	if (r == 0) {
		cfs_container_lock(pool->c0);
		r = cfs_pool_slices_load(pool, err);
		cfs_container_unlock(pool->c0);
	}
	if (r < 0)
		cfs_pool_drop(pool);
	else
		*ret = pool;
	return r;
}

uint64_t cfs_pool_delegated_id(const struct cfs_pool *pool)
{
	return pool->delegated_id;
}

int cfs_pool_delegated_refuse(const struct cfs_pool *pool, struct cfs_err *err)
{
	return !pool->lender
		       ? 0
		       : cfs_err_set(err, -EBUSY,
				     "not while the container is delegated: "
				     "end that first, with leasectl revoke");
}

/* ---- slices -------------------------------------------------------------- */

static void note_free(struct cfs_pool *pool, const struct cfs_lent_slices *s)
{
	__atomic_store_n(&pool->free_slices, s->free_slices, __ATOMIC_RELAXED);
	__atomic_store_n(&pool->total_slices, s->total_slices,
			 __ATOMIC_RELAXED);
}

int cfs_pool_delegated_more(struct cfs_pool *pool, struct cfs_container *c,
			    unsigned int count, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_lent_slices_donep)
	struct cfs_lent_slices got = { .list = CFS_VEC_INIT };
	struct cfs_metavolume *mv = cfs_container_metavolume(c);
	int r;

	if (c == pool->c0)
		return cfs_err_set(err, -ENOSPC, "too many slices");
	r = pool->lender->more(pool->lender->ctx, CFS_MAX(count, MORE_AT_ONCE),
			       &got, err);
	if (r < 0)
		return r;
	note_free(pool, &got);
	r = put_slices(pool, pool->delegated_id, &got, err);
	for (size_t i = 0; i < got.list.count && r == 0; i++) {
		const struct cfs_lent_slice *s = &got.list.items[i];
		struct cfs_piece pieces[CFS_PIECES_MAX];

		/* A double of an answer. */
		if (cfs_metavolume_get(mv, s->lslice, pieces))
			continue;
		r = cfs_metavolume_set(mv, s->lslice, s->pieces, err);
		if (r == 0)
			cfs_container_slice_added(c, s->lslice);
	}
	return r;
}

static int forget(struct cfs_pool *pool, uint64_t lslice,
		  const struct cfs_piece *pieces, struct cfs_err *err)
{
	const struct cfs_key key = { { cfs_table_word(CFS_TABLE_SMAP,
						      pool->delegated_id),
				       lslice, 0 } };
	int r = cfs_op_begin(pool->c0, CFS_OP_FREEING, err);

	if (r < 0)
		return r;
	r = cfs_container_del(pool->c0, &key, err);
	for (unsigned int i = 0; i < CFS_PIECES_MAX && r == 0; i++) {
		const struct cfs_key slice = {
			{ cfs_table_word(CFS_TABLE_SLICE,
					 pieces[i].device_index),
			  pieces[i].slice_index, 0 }
		};

		if (pieces[i].flags & CFS_PIECE_USED)
			r = cfs_container_del(pool->c0, &slice, err);
	}
	if (r < 0)
		cfs_op_abort(pool->c0);
	else
		cfs_op_end(pool->c0);
	return r;
}

int cfs_pool_delegated_take_back(struct cfs_pool *pool, struct cfs_member *m,
				 uint64_t lslice, struct cfs_err *err)
{
	struct cfs_metavolume *mv = cfs_container_metavolume(m->container);
	struct cfs_piece pieces[CFS_PIECES_MAX];
	int r = 0;

	if (!cfs_metavolume_get(mv, lslice, pieces))
		return 0;
	r = pool->lender->give(pool->lender->ctx, lslice, err);
	if (r == 0)
		r = forget(pool, lslice, pieces, err);
	if (r < 0)
		return r;
	cfs_metavolume_clear(mv, lslice);
	cfs_container_slice_gone(m->container, lslice);
	__atomic_add_fetch(&pool->free_slices, 1, __ATOMIC_RELAXED);
	return 0;
}

bool cfs_pool_delegated_has_plenty(struct cfs_pool *pool)
{
	return __atomic_load_n(&pool->free_slices, __ATOMIC_RELAXED) >=
	       __atomic_load_n(&pool->total_slices, __ATOMIC_RELAXED) / 4;
}

uint64_t cfs_pool_delegated_spare(struct cfs_pool *pool)
{
	const struct cfs_label *label = cfs_devset_label(pool->set, 0);

	return __atomic_load_n(&pool->free_slices, __ATOMIC_RELAXED) *
	       (label->slice_bytes / CFS_BLOCK_BYTES);
}
