/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The containers of a pool: records, opening, making. */
#include "volume/pool_containers_priv.h"
#include "volume/pool_delegate_priv.h"

#include "base/cleanup.h"

#include "base/clock.h"
#include "base/uuid.h"
#include "ondisk/slice_header.h"
#include "pool/metavolume.h"
#include "tree/lend.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

/* ---- the list ------------------------------------------------------------ */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct listed *)a)->rec.name,
		      ((const struct listed *)b)->rec.name);
}

/* All records; the caller frees the list.  Container 0 locked. */
static int list_locked(struct cfs_pool *pool, struct listed **ret,
		       size_t *ret_count, struct cfs_err *err)
{
	struct cfs_key from = container_key(0);
	struct listed *list = NULL;
	size_t count = 0, room = 0;
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(
		&cur, cfs_container_tree(pool->c0, CFS_TREE_TABLE), &from, err);

	while (r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_CONTAINER) {
		if (count == room) {
			struct listed *more;

			room = room ? 2 * room : 16;
			more = realloc(list, room * sizeof(*list));
			if (!more) {
				free(list);
				return cfs_err_set(err, -ENOMEM,
						   "out of memory");
			}
			list = more;
		}
		list[count].id = cur.key.w[0] & ((UINT64_C(1) << 56) - 1);
		r = cfs_container_rec_unpack(cur.value, cur.value_bytes,
					     &list[count].rec, err);
		if (r == 0) {
			count++;
			r = cfs_cursor_next(&cur, err);
		}
	}
	if (r < 0 && r != -ENOENT) {
		free(list);
		return r;
	}
	if (count > 1)
		qsort(list, count, sizeof(*list), by_name);
	*ret = list;
	*ret_count = count;
	return 0;
}

int cfs_pool_container_list(struct cfs_pool *pool, struct listed **ret,
			    size_t *ret_count, struct cfs_err *err)
{
	int r;

	cfs_container_lock(pool->c0);
	r = list_locked(pool, ret, ret_count, err);
	cfs_container_unlock(pool->c0);
	return r;
}

int cfs_pool_containers(struct cfs_pool *pool, cfs_container_each_fn each,
			void *arg, struct cfs_err *err)
{
	struct listed *list;
	size_t count;
	int r = cfs_pool_container_list(pool, &list, &count, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count && r == 0; i++)
		r = each(arg, list[i].id, &list[i].rec, err);
	free(list);
	return r;
}

/* ---- opening ------------------------------------------------------------- */

static int load_map(struct cfs_pool *pool, uint64_t id,
		    struct cfs_metavolume *mv, struct cfs_err *err)
{
	struct cfs_key from = { { cfs_table_word(CFS_TABLE_SMAP, id), 0, 0 } };
	struct cfs_cursor cur;
	int r;

	cfs_container_lock(pool->c0);
	r = cfs_cursor_ge(&cur, cfs_container_tree(pool->c0, CFS_TREE_TABLE),
			  &from, err);
	while (r == 0 && cur.key.w[0] == from.w[0]) {
		struct cfs_smap_rec rec;

		r = cfs_smap_rec_unpack(cur.value, cur.value_bytes, &rec, err);
		if (r == 0)
			r = cfs_metavolume_set(mv, cur.key.w[1], rec.pieces,
					       err);
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	cfs_container_unlock(pool->c0);
	return r == -ENOENT ? 0 : r;
}

static struct cfs_container_config config_of(
	struct cfs_pool *pool, const struct cfs_container_rec *rec,
	struct cfs_metavolume *mv, struct cfs_vols *vols)
{
	struct cfs_container_config config = {
		.mv = mv,
		.epoch = pool->epoch,
		.copies = pool->is_mirror ? 1 : 2,
		.limit_blocks = rec->limit_bytes / CFS_BLOCK_BYTES,
		.cache_bytes = pool->cache_bytes / 4 * 3,
		.fills_log = true,
		.was_clean = pool->was_clean,
		.has_grave = pool->is_shared,
		.fence =
			pool->holder || cfs_pool_delegate_has_fence(
						pool,
						cfs_metavolume_container_id(mv),
						rec)
				? &pool->fence
				: NULL,
		.hooks = &cfs_vols_hooks,
		.hooks_ctx = vols,
		.source = &cfs_pool_source,
		.source_ctx = pool,
	};

	memcpy(config.uuid, rec->uuid, sizeof(config.uuid));
	/* A takeover that did not come to its end has no root yet. */
	memcpy(config.root_vaddr,
	       rec->base_vaddr[0] ? rec->base_vaddr : rec->root_vaddr,
	       sizeof(config.root_vaddr));
	return config;
}

static int get_rec(struct cfs_pool *pool, uint64_t id,
		   struct cfs_container_rec *ret, struct cfs_err *err)
{
	struct cfs_key key = container_key(id);
	struct cfs_container_rec_disk disk;
	size_t bytes = 0;
	int r;

	cfs_container_lock(pool->c0);
	r = cfs_container_get(pool->c0, &key, &disk, sizeof(disk), &bytes, err);
	cfs_container_unlock(pool->c0);
	if (r == -ENOENT)
		cfs_err_set(err, r, "no such container");
	return r < 0 ? r
		     : cfs_container_rec_unpack(
			       &disk, CFS_MIN(bytes, sizeof(disk)), ret, err);
}

int cfs_pool_container_config(struct cfs_pool *pool, uint64_t id,
			      struct cfs_container_config *ret,
			      struct cfs_container_rec *ret_rec,
			      struct cfs_err *err)
{
	struct cfs_container_rec rec;
	struct cfs_metavolume *mv = NULL;
	struct member_entry *e;
	int r = get_rec(pool, id, &rec, err);

	if (r == 0)
		r = cfs_pool_delegate_may_open(pool, id, rec.name, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&pool->lock);
	HASH_FIND(hh, pool->members, &id, sizeof(id), e);
	pthread_mutex_unlock(&pool->lock);
	if (e)
		return cfs_err_set(err, -EBUSY, "container %s is open",
				   rec.name);
	r = cfs_metavolume_new(pool->set, id, &mv, err);
	if (r == 0)
		r = load_map(pool, id, mv, err);
	if (r < 0) {
		cfs_metavolume_free(mv);
		return r;
	}
	*ret = config_of(pool, &rec, mv, NULL);
	ret->hooks = NULL;
	*ret_rec = rec;
	return 0;
}

static void set_checked(const struct cfs_member *m)
{
	cfs_container_set_checked(m->container,
				  m->rec.flags & CFS_CONTAINER_CHECKED);
}

static int member_open(struct cfs_pool *pool, uint64_t id,
		       const struct cfs_container_rec *rec,
		       struct member_entry **ret, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_pool_move_donep)
	struct cfs_pool_move move = {
		.their_epoch = NULL,
	};
	struct member_entry *e = calloc(1, sizeof(*e));
	struct cfs_container_config config;
	struct cfs_metavolume *mv = NULL;
	int r;

	if (!e)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	e->m.pool = pool;
	e->m.id = id;
	e->m.rec = *rec;
	r = cfs_metavolume_new(pool->set, id, &mv, err);
	if (r == 0)
		r = load_map(pool, id, mv, err);
	if (r == 0)
		r = cfs_vols_new(&e->m.vols, err);
	if (r < 0) {
		cfs_metavolume_free(mv);
		free(e);
		return r;
	}
	config = config_of(pool, rec, mv, e->m.vols);
	r = cfs_pool_shared_enter(pool, id, &e->m.rec, &config, &move, err);
	if (r < 0)
		cfs_metavolume_free(mv);
	else
		r = cfs_container_open(&config, &e->m.container, err);
	if (r == 0)
		r = cfs_pool_shared_entered(pool, id, &e->m.rec, err);
	if (r == 0 && !config.move)
		r = cfs_pool_delegate_opened(pool, id, err);
	if (r == 0 && config.fence)
		r = cfs_pool_shared_settle(pool, &e->m, err);
	if (r < 0) {
		cfs_container_drop(e->m.container);
		cfs_vols_free(e->m.vols);
		free(e);
		return cfs_err_wrap(err, r, "container %s", rec->name);
	}
	r = cfs_snapset_finish(&e->m, err);
	if (r == 0)
		r = cfs_promote_finish(&e->m, err);
	if (r < 0) {
		cfs_container_drop(e->m.container);
		cfs_vols_free(e->m.vols);
		free(e);
		return cfs_err_wrap(err, r, "container %s", rec->name);
	}
	set_checked(&e->m);
	*ret = e;
	return 0;
}

int cfs_pool_member_by_id(struct cfs_pool *pool, uint64_t id,
			  struct cfs_member **ret, struct cfs_err *err)
{
	struct cfs_container_rec rec;
	struct member_entry *e;
	int r = 0;

	pthread_mutex_lock(&pool->lock);
	HASH_FIND(hh, pool->members, &id, sizeof(id), e);
	if (!e) {
		r = get_rec(pool, id, &rec, err);
		if (r == 0)
			r = cfs_pool_delegate_may_open(pool, id, rec.name, err);
		if (r == 0)
			r = member_open(pool, id, &rec, &e, err);
		if (r == 0 && CFS_HASH_ADD(pool->members, m.id, e) < 0) {
			cfs_container_drop(e->m.container);
			cfs_vols_free(e->m.vols);
			free(e);
			r = cfs_err_set(err, -ENOMEM, "out of memory");
		}
	}
	if (r == 0)
		*ret = &e->m;
	pthread_mutex_unlock(&pool->lock);
	return r;
}

int cfs_pool_member(struct cfs_pool *pool, const char *name,
		    struct cfs_member **ret, struct cfs_err *err)
{
	struct listed *list;
	size_t count;
	uint64_t id = 0;
	int r = cfs_pool_container_list(pool, &list, &count, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i].rec.name, name) == 0 &&
		    list[i].rec.state != CFS_OBJECT_DELETING)
			id = list[i].id;
	free(list);
	if (!id)
		return cfs_err_set(err, -ENOENT, "no such volume");
	return cfs_pool_member_by_id(pool, id, ret, err);
}

/* ---- changing ------------------------------------------------------------ */

static int put_rec(struct cfs_pool *pool, uint64_t id,
		   const struct cfs_container_rec *rec, struct cfs_err *err)
{
	struct cfs_key key = container_key(id);
	struct cfs_container_rec_disk disk;

	cfs_container_rec_pack(rec, &disk);
	return cfs_container_put(pool->c0, &key, &disk, sizeof(disk), err);
}

static int name_is_free(struct cfs_pool *pool, uint64_t but_id,
			const char *name, struct cfs_err *err)
{
	struct listed *list;
	size_t count;
	int r = list_locked(pool, &list, &count, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		if (list[i].id != but_id &&
		    list[i].rec.state != CFS_OBJECT_DELETING &&
		    strcmp(list[i].rec.name, name) == 0)
			r = cfs_err_set(err, -EEXIST, "it exists already");
	free(list);
	return r;
}

int cfs_pool_container_update(struct cfs_pool *pool, struct cfs_member *m,
			      const struct cfs_container_rec *rec,
			      struct cfs_err *err)
{
	int r;

	if (!cfs_name_is_valid(rec->name))
		return cfs_err_set(err, -EINVAL, "no valid name");
	r = cfs_pool_delegated_refuse(pool, err);
	if (r < 0)
		return r;
	r = cfs_op_begin(pool->c0, CFS_OP_FREEING, err);
	if (r < 0)
		return r;
	r = rec->state == CFS_OBJECT_DELETING
		    ? 0
		    : name_is_free(pool, m->id, rec->name, err);
	if (r == 0)
		r = put_rec(pool, m->id, rec, err);
	if (r < 0) {
		cfs_op_abort(pool->c0);
		return r;
	}
	cfs_op_end(pool->c0);
	r = cfs_container_sync(pool->c0, err);
	if (r < 0)
		return r;
	m->rec = *rec;
	cfs_container_lock(m->container);
	cfs_container_set_limit(m->container,
				rec->limit_bytes / CFS_BLOCK_BYTES);
	cfs_container_unlock(m->container);
	set_checked(m);
	return 0;
}

/*
 * The record stands, as being made, before the first slice is taken, so that
 * a crash leaves nothing that nobody would clean up.
 */
static int reserve_id(struct cfs_pool *pool, struct cfs_container_rec *rec,
		      uint64_t *ret_id, struct cfs_err *err)
{
	struct cfs_pool_rec pool_rec;
	int r = cfs_op_begin(pool->c0, CFS_OP_NORMAL, err);

	if (r < 0)
		return r;
	r = name_is_free(pool, 0, rec->name, err);
	if (r == 0)
		r = cfs_pool_rec_get_locked(pool, &pool_rec, err);
	if (r == 0) {
		struct cfs_key key = { { cfs_table_word(CFS_TABLE_POOL, 0), 0,
					 0 } };
		struct cfs_pool_rec_disk disk;

		*ret_id = pool_rec.next_container++;
		cfs_pool_rec_pack(&pool_rec, &disk);
		r = cfs_container_put(pool->c0, &key, &disk, sizeof(disk), err);
	}
	if (r == 0)
		r = put_rec(pool, *ret_id, rec, err);
	if (r < 0) {
		cfs_op_abort(pool->c0);
		return r;
	}
	pool->container_count++;
	cfs_pool_slices_changed(pool);
	cfs_op_end(pool->c0);
	return cfs_container_sync(pool->c0, err);
}

/* Two slices for a new container, in its map and in the tables. */
static int first_slices(struct cfs_pool *pool, uint64_t id,
			const struct cfs_container_rec *rec,
			struct cfs_metavolume *mv, struct cfs_err *err)
{
	int r = 0;

	cfs_container_lock(pool->c0);
	for (uint64_t l = 0; l < 2 && r == 0; l++) {
		r = cfs_pool_slice_may_pick(pool, false, err);
		if (r == 0)
			r = cfs_pool_slice_lend(pool, id, rec->uuid, mv, l,
						err);
	}
	cfs_container_unlock(pool->c0);
	return r;
}

static int member_add(struct cfs_pool *pool, struct member_entry *e,
		      struct cfs_err *err)
{
	int r;

	pthread_mutex_lock(&pool->lock);
	r = CFS_HASH_ADD(pool->members, m.id, e);
	pthread_mutex_unlock(&pool->lock);
	return r < 0 ? cfs_err_set(err, r, "out of memory") : 0;
}

int cfs_pool_container_make(struct cfs_pool *pool, const char *name,
			    uint32_t kind, uint64_t limit_bytes, uint32_t state,
			    struct cfs_member **ret, struct cfs_err *err)
{
	struct cfs_container_rec rec = {
		.kind = kind,
		.state = CFS_OBJECT_MAKING,
		.epoch = pool->epoch,
		.created_ns = (uint64_t)cfs_clock_realtime_ns(
			cfs_clock_system()),
		.limit_bytes = limit_bytes,
	};
	struct member_entry *e = NULL;
	struct cfs_container_config config;
	struct cfs_metavolume *mv = NULL;
	uint64_t id = 0;
	int r;

	if (!cfs_name_is_valid(name))
		return cfs_err_set(err, -EINVAL, "no valid name");
	strcpy(rec.name, name);
	r = cfs_pool_delegated_refuse(pool, err);
	if (r == 0)
		r = cfs_uuid_new(rec.uuid, err);
	if (r == 0)
		r = reserve_id(pool, &rec, &id, err);
	if (r < 0)
		return r;
	e = calloc(1, sizeof(*e));
	if (!e)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = cfs_metavolume_new(pool->set, id, &mv, err);
	if (r == 0)
		r = first_slices(pool, id, &rec, mv, err);
	if (r == 0)
		r = cfs_vols_new(&e->m.vols, err);
	if (r < 0) {
		cfs_metavolume_free(mv);
		goto fail;
	}
	config = config_of(pool, &rec, mv, e->m.vols);
	r = cfs_container_create(&config, rec.root_vaddr, &e->m.container, err);
	if (r < 0)
		goto fail;
	cfs_vols_attach(e->m.vols, e->m.container);
	e->m.pool = pool;
	e->m.id = id;
	rec.state = state;
	/* Nobody knows its id before the record says so. */
	r = member_add(pool, e, err);
	if (r < 0)
		goto fail;
	r = cfs_pool_container_update(pool, &e->m, &rec, err);
	if (r < 0) {
		pthread_mutex_lock(&pool->lock);
		HASH_DEL(pool->members, e);
		pthread_mutex_unlock(&pool->lock);
		goto fail;
	}
	*ret = &e->m;
	return 0;
fail:
	if (e) {
		cfs_container_drop(e->m.container);
		cfs_vols_free(e->m.vols);
		free(e);
	}
	/* What was taken goes back; should that fail too, the next opener
	 * does it. */
	(void)cfs_pool_give_back_all(pool, id, &rec, NULL);
	return r;
}
