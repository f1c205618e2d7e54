/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making, opening and closing a pool: container 0 and the tables of devices. */
#include "volume/pool_delegate_priv.h"

#include "base/cleanup.h"
#include "base/uuid.h"
#include "ondisk/slice_header.h"
#include "pool/metavolume.h"
#include "volume/vols_priv.h"

#include <inttypes.h>
#include <stdlib.h>

#define CACHE_BYTES_DEFAULT (UINT64_C(64) << 20)

/* ---- hooks of container 0 ------------------------------------------------ */

static int c0_replay(void *ctx, const struct cfs_rec *rec, struct cfs_err *err)
{
	(void)ctx;
	(void)rec;
	return cfs_err_set(err, -EUCLEAN,
			   "a record of data in the pool's own container");
}

static void c0_fold_need(void *ctx, uint64_t *ret_blocks, uint64_t *ret_records)
{
	(void)ctx;
	*ret_blocks = *ret_records = 0;
}

static int c0_nothing(void *ctx, struct cfs_err *err)
{
	(void)ctx;
	(void)err;
	return 0;
}

static int c0_fold(void *ctx, uint64_t *budget, struct cfs_err *err)
{
	(void)budget;
	return c0_nothing(ctx, err);
}

static void c0_folded(void *ctx)
{
	(void)ctx;
}

static void c0_gathered(void *ctx, bool is_durable)
{
	(void)ctx;
	(void)is_durable;
}

/* Its map has to stand in its root. */
static int has_own_room(struct cfs_pool *pool, uint64_t lslice,
			struct cfs_err *err)
{
	struct cfs_piece pieces[CFS_PIECES_MAX];

	if (cfs_metavolume_get(pool->c0_mv, lslice, pieces) ||
	    cfs_metavolume_slice_count(pool->c0_mv) < CFS_ROOT_SMAP_MAX)
		return 0;
	return cfs_err_set(err, -EUCLEAN,
			   "slice map: the pool's own container "
			   "has more slices than its root can name");
}

/* Its own slice map follows the records; see pool.h. */
static void c0_table_changed(void *ctx, const struct cfs_key *key,
			     const void *value, size_t value_bytes)
{
	struct cfs_pool *pool = ctx;
	struct cfs_smap_rec rec;
	struct cfs_err err = CFS_ERR_INIT;

	if (key->w[0] != cfs_table_word(CFS_TABLE_SMAP, 0))
		return;
	if (!value) {
		cfs_metavolume_clear(pool->c0_mv, key->w[1]);
		if (pool->c0)
			cfs_container_slice_went(pool->c0, key->w[1]);
	} else if (cfs_smap_rec_unpack(value, value_bytes, &rec, &err) < 0 ||
		   has_own_room(pool, key->w[1], &err) < 0 ||
		   cfs_metavolume_set(pool->c0_mv, key->w[1], rec.pieces,
				      &err) < 0) {
		pool->c0_error = err;
	} else if (pool->c0) {
		cfs_container_slice_came(pool->c0, key->w[1]);
	}
}

static int c0_opened(void *ctx, struct cfs_container *c, struct cfs_err *err)
{
	struct cfs_pool *pool = ctx;

	(void)err;
	pool->c0 = c;
	return 0;
}

const struct cfs_container_hooks cfs_pool_c0_hooks = {
	.opened = c0_opened,
	.replay = c0_replay,
	.fold_need = c0_fold_need,
	.fold = c0_fold,
	.folded = c0_folded,
	.gather = c0_nothing,
	.gathered = c0_gathered,
	.table_changed = c0_table_changed,
};

/* ---- the object ---------------------------------------------------------- */

static void pool_free(struct cfs_pool *pool)
{
	pthread_mutex_destroy(&pool->reclaim_lock);
	pthread_mutex_destroy(&pool->lock);
	cfs_devset_close(pool->own_set);
	free(pool->lender);
	free(pool->devices);
	free(pool);
}

static int pool_new(struct cfs_devset *set, uint32_t epoch,
		    const struct cfs_pool_options *opt, struct cfs_pool **ret,
		    struct cfs_err *err)
{
	struct cfs_pool *pool = calloc(1, sizeof(*pool));
	pthread_mutexattr_t attr;

	if (!pool)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	pool->set = set;
	pool->epoch = epoch;
	pool->is_mirror = cfs_devset_label(set, 0)->flags &
			  CFS_POOL_FLAG_MIRROR;
	pool->is_shared = cfs_devset_label(set, 0)->flags &
			  CFS_POOL_FLAG_SHARED;
	cfs_pool_shared_init(pool, opt->holder);
	pool->cache_bytes = opt->cache_bytes ? opt->cache_bytes
					     : CACHE_BYTES_DEFAULT;
	pool->was_clean = opt->was_clean;
	pool->warn = opt->warn;
	pool->arg = opt->arg;
	pthread_mutex_init(&pool->reclaim_lock, NULL);
	/* Opening a container may need slices, and look into others for them.
	 */
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&pool->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	*ret = pool;
	return 0;
}

static struct cfs_container_config c0_config(struct cfs_pool *pool)
{
	struct cfs_container_config config = {
		.mv = pool->c0_mv,
		.epoch = pool->epoch,
		.copies = pool->is_mirror ? 1 : 2,
		.cache_bytes = pool->cache_bytes / 8,
		.was_clean = pool->was_clean,
		.has_grave = pool->is_shared,
		.fence = pool->holder ? &pool->fence : NULL,
		.hooks = &cfs_pool_c0_hooks,
		.hooks_ctx = pool,
		.source = &cfs_pool_source,
		.source_ctx = pool,
	};

	memcpy(config.uuid, cfs_devset_label(pool->set, 0)->pool_uuid, 16);
	return config;
}

/* ---- making -------------------------------------------------------------- */

/* The first records of container 0. */
static int first_records(struct cfs_pool *pool, const char *name,
			 struct cfs_err *err)
{
	struct cfs_pool_rec rec = {
		.next_container = 1,
		.config = {
			[CFS_POOL_CONFIG_LEASE_NS] = UINT64_C(10000000000),
			[CFS_POOL_CONFIG_DRIFT_PPM] = 2000,
			[CFS_POOL_CONFIG_CACHE_BYTES] = CACHE_BYTES_DEFAULT,
		},
	};
	int r;

	if (name)
		strncpy(rec.name, name, sizeof(rec.name) - 1);
	r = cfs_op_begin(pool->c0, CFS_OP_NORMAL, err);
	if (r < 0)
		return r;
	r = cfs_pool_rec_put(pool, &rec, err);
	for (uint32_t i = 0; r == 0 && i < cfs_devset_count(pool->set); i++) {
		const struct cfs_label *label = cfs_devset_label(pool->set, i);
		struct cfs_device_rec dev = {
			.state = CFS_DEVICE_OK,
			.size_bytes = cfs_devset_size_bytes(pool->set, i),
			.slice_count = cfs_devset_slice_count(pool->set, i),
		};

		memcpy(dev.uuid, label->device_uuid, 16);
		r = cfs_pool_device_rec_put(pool, i, &dev, err);
	}
	if (r < 0) {
		cfs_op_abort(pool->c0);
		return r;
	}
	cfs_op_end(pool->c0);
	return 0;
}

/* Where the root pages are, by device, for the seat. */
void cfs_pool_root_places(const struct cfs_metavolume *mv,
			  const uint64_t root_vaddr[CFS_ROOT_PLACES_MAX],
			  struct cfs_place ret[CFS_ROOT_PLACES_MAX])
{
	unsigned int n = 0;

	memset(ret, 0, CFS_ROOT_PLACES_MAX * sizeof(*ret));
	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++) {
		for (unsigned int p = 0; p < CFS_PIECES_MAX; p++) {
			struct cfs_place *place = &ret[n];

			if (!root_vaddr[i] || n == CFS_ROOT_PLACES_MAX ||
			    !cfs_metavolume_locate(mv, root_vaddr[i], p,
						   &place->device_index,
						   &place->slot_bytes[0]))
				continue;
			place->is_used = true;
			place->slot_bytes[1] = place->slot_bytes[0] +
					       CFS_BLOCK_BYTES;
			place->vaddr[0] = root_vaddr[i];
			place->vaddr[1] = root_vaddr[i] + 1;
			n++;
		}
	}
}

/* The first two slices of container 0: picked, with headers, in its map. */
static int first_slices(struct cfs_pool *pool,
			struct cfs_piece pieces[2][CFS_PIECES_MAX],
			struct cfs_err *err)
{
	const uint8_t *uuid = cfs_devset_label(pool->set, 0)->pool_uuid;
	int r = 0;

	for (uint64_t l = 0; l < 2 && r == 0; l++) {
		r = cfs_pool_slice_pick(pool, pieces[l], err);
		if (r == 0)
			r = cfs_pool_slice_headers(pool, 0, uuid, l, pieces[l],
						   CFS_SLICE_OWNED, err);
		if (r == 0)
			r = cfs_metavolume_set(pool->c0_mv, l, pieces[l], err);
	}
	return r;
}

int cfs_pool_make(struct cfs_devset *set, const struct cfs_pool_options *opt,
		  struct cfs_place ret_roots[CFS_ROOT_PLACES_MAX],
		  struct cfs_err *err)
{
	struct cfs_piece pieces[2][CFS_PIECES_MAX];
	uint64_t root_vaddr[CFS_ROOT_PLACES_MAX];
	struct cfs_container_config config;
	struct cfs_pool *pool;
	int r = pool_new(set, 0, opt, &pool, err);

	if (r < 0)
		return r;
	r = cfs_metavolume_new(set, 0, &pool->c0_mv, err);
	if (r == 0)
		r = cfs_pool_slices_load(pool, err);
	if (r == 0)
		r = first_slices(pool, pieces, err);
	if (r < 0) {
		cfs_metavolume_free(pool->c0_mv);
		pool_free(pool);
		return r;
	}
	config = c0_config(pool);
	r = cfs_container_create(&config, root_vaddr, &pool->c0, err);
	for (uint64_t l = 0; l < 2 && r == 0; l++) {
		cfs_container_lock(pool->c0);
		r = cfs_pool_slice_record(pool, 0, l, pieces[l], true, err);
		cfs_container_unlock(pool->c0);
	}
	if (r == 0)
		r = first_records(pool, opt->name, err);
	if (r == 0) {
		cfs_pool_root_places(cfs_container_metavolume(pool->c0),
				     root_vaddr, ret_roots);
		r = cfs_container_close(pool->c0, err);
	} else {
		cfs_container_drop(pool->c0);
	}
	pool_free(pool);
	return r;
}

/* ---- opening ------------------------------------------------------------- */

/* The newest root of container 0, by physical places: its slice map. */
static int bootstrap(struct cfs_pool *pool,
		     const struct cfs_place roots[CFS_ROOT_PLACES_MAX],
		     uint64_t root_vaddr[CFS_ROOT_PLACES_MAX],
		     struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	CFS_CLEANUP(cfs_freep) struct cfs_root *root = calloc(1, sizeof(*root));
	CFS_CLEANUP(cfs_freep) struct cfs_root *best = calloc(1, sizeof(*best));
	struct cfs_err why = CFS_ERR_INIT;
	uint64_t best_seq = 0;
	unsigned int n = 0;
	int r;

	if (!page || !root || !best)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	memset(root_vaddr, 0, CFS_ROOT_PLACES_MAX * sizeof(*root_vaddr));
	for (unsigned int i = 0; i < 2 * CFS_ROOT_PLACES_MAX; i++) {
		const struct cfs_place *p = &roots[i / 2];
		struct cfs_page_expect expect = {
			.kind = CFS_PAGE_ROOT,
			.pool_lo = cfs_pool_lo(
				cfs_devset_label(pool->set, 0)->pool_uuid),
			.address = p->vaddr[i & 1],
		};
		struct cfs_page head;
		struct cfs_dev *dev;

		if (!p->is_used ||
		    p->device_index >= cfs_devset_count(pool->set))
			continue;
		if (!(i & 1)) {
			bool is_known = false;

			for (unsigned int k = 0; k < n; k++)
				is_known |= root_vaddr[k] == p->vaddr[0];
			if (!is_known)
				root_vaddr[n++] = p->vaddr[0];
		}
		dev = cfs_devset_dev(pool->set, p->device_index);
		if (!dev ||
		    cfs_dev_read(dev, p->slot_bytes[i & 1], page, sizeof(*page),
				 &why) < 0 ||
		    cfs_page_unpack(page, &expect, &head, &why) < 0 ||
		    cfs_root_unpack(page, root, &why) < 0)
			continue;
		if (head.seq > best_seq) {
			best_seq = head.seq;
			*best = *root;
		}
	}
	if (best_seq == 0)
		return cfs_err_set(err, -EUCLEAN,
				   "no root of the pool is good%s%s",
				   why.code ? ": " : "", why.msg);
	for (uint32_t i = 0; i < best->smap_count; i++) {
		r = cfs_metavolume_set(pool->c0_mv, best->smap[i].lslice,
				       best->smap[i].pieces, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What the pool's record asks for, for the containers opened from now on. */
static int take_settings(struct cfs_pool *pool, struct cfs_err *err)
{
	struct cfs_pool_rec rec;
	int r = cfs_pool_rec_get(pool, &rec, err);

	if (r == 0 && rec.config[CFS_POOL_CONFIG_CACHE_BYTES])
		pool->cache_bytes = rec.config[CFS_POOL_CONFIG_CACHE_BYTES];
	if (r == 0)
		pool->fence.is_checked = rec.config[CFS_POOL_CONFIG_CHECKED];
	return r;
}

int cfs_pool_open(struct cfs_devset *set, uint32_t epoch,
		  const struct cfs_place roots[CFS_ROOT_PLACES_MAX],
		  const struct cfs_pool_options *opt, struct cfs_pool **ret,
		  struct cfs_err *err)
{
	struct cfs_container_move move;
	struct cfs_container_config config;
	uint64_t root_vaddr[CFS_ROOT_PLACES_MAX];
	struct cfs_pool *pool;
	int r = pool_new(set, epoch, opt, &pool, err);

	if (r < 0)
		return r;
	r = cfs_metavolume_new(set, 0, &pool->c0_mv, err);
	if (r == 0)
		r = bootstrap(pool, roots, root_vaddr, err);
	if (r < 0) {
		cfs_metavolume_free(pool->c0_mv);
		pool_free(pool);
		return cfs_err_wrap(err, r, "pool");
	}
	config = c0_config(pool);
	memcpy(config.root_vaddr, root_vaddr, sizeof(root_vaddr));
	cfs_pool_shared_move0(pool, &config, &move);
	r = cfs_container_open(&config, &pool->c0, err);
	if (r < 0) {
		pool->c0 = NULL;
	} else if (pool->c0_error.code) {
		r = pool->c0_error.code;
		if (err)
			*err = pool->c0_error;
	} else {
		r = cfs_pool_slices_load(pool, err);
	}
	if (r == 0)
		r = cfs_pool_shared_moved0(pool, err);
	if (r == 0)
		r = cfs_pool_shared_thaw(pool, err);
	if (r == 0)
		r = cfs_pool_shared_settle(pool, NULL, err);
	if (r == 0 && !opt->cache_bytes)
		r = take_settings(pool, err);
	if (r == 0)
		r = cfs_pool_finish_work(pool, err);
	if (r < 0) {
		cfs_pool_drop(pool);
		return cfs_err_wrap(err, r, "pool");
	}
	*ret = pool;
	return 0;
}

/* The open one with the lowest id above *@id.  It is locked with the list, so
 * that whoever removes it from there waits (cfs_pool_member_left). */
static struct cfs_container *lock_next(struct cfs_pool *pool, uint64_t *id)
{
	struct member_entry *m, *tmp, *best = NULL;
	struct cfs_container *c = NULL;

	pthread_mutex_lock(&pool->lock);
	HASH_ITER(hh, pool->members, m, tmp)
		if (m->m.id > *id && (!best || m->m.id < best->m.id))
			best = m;
	if (best) {
		*id = best->m.id;
		c = best->m.container;
		/* No commit is made with the pool's lock. */
		cfs_container_lock_to_read(c);
	}
	pthread_mutex_unlock(&pool->lock);
	return c;
}

void cfs_pool_member_left(const struct cfs_member *m)
{
	cfs_container_lock(m->container);
	cfs_container_unlock(m->container);
}

void cfs_pool_rest(struct cfs_pool *pool)
{
	struct cfs_container *c;

	for (uint64_t id = 0; (c = lock_next(pool, &id));) {
		cfs_container_rest_locked(c);
		cfs_container_unlock(c);
	}
	cfs_container_lock(pool->c0);
	cfs_container_rest_locked(pool->c0);
	cfs_container_unlock(pool->c0);
	cfs_page_data_rest();
}

int cfs_pool_close(struct cfs_pool *pool, struct cfs_err *err)
{
	struct member_entry *m, *tmp;
	int first = 0, r;

	if (!pool)
		return 0;
	HASH_ITER(hh, pool->members, m, tmp) {
		struct cfs_err why = CFS_ERR_INIT;

		HASH_DEL(pool->members, m);
		r = cfs_container_close(m->m.container, &why);
		cfs_vols_free(m->m.vols);
		if (r < 0 && first == 0) {
			first = r;
			cfs_err_wrap(&why, r, "container %s", m->m.rec.name);
			if (err)
				*err = why;
		}
		free(m);
	}
	r = cfs_container_close(pool->c0, first ? NULL : err);
	pool_free(pool);
	return first ? first : r;
}

void cfs_pool_drop(struct cfs_pool *pool)
{
	struct member_entry *m, *tmp;

	if (!pool)
		return;
	HASH_ITER(hh, pool->members, m, tmp) {
		HASH_DEL(pool->members, m);
		cfs_container_drop(m->m.container);
		cfs_vols_free(m->m.vols);
		free(m);
	}
	cfs_container_drop(pool->c0);
	pool_free(pool);
}
