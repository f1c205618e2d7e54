/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Containers that are delegated, at the primary: their records, what is lent
 * to them, and how they come home.
 */
#include "volume/pool_delegate_priv.h"

#include "base/cleanup.h"
#include "ondisk/slice_header.h"
#include "pool/metavolume.h"
#include "tree/container_rest.h"
#include "tree/lend.h"
#include "tree/tree.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define LEND_MAX 64u /* slices in one answer */

static struct cfs_key delegation_key(uint64_t container, uint32_t epoch)
{
	return (struct cfs_key){
		{ cfs_table_word(CFS_TABLE_DELEGATION, container), epoch, 0 }
	};
}

static struct cfs_key container_key(uint64_t id)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_CONTAINER, id), 0,
				   0 } };
}

/* ---- records ------------------------------------------------------------- */

static int get_container(struct cfs_pool *pool, uint64_t id,
			 struct cfs_container_rec *ret, struct cfs_err *err)
{
	const struct cfs_key key = container_key(id);
	struct cfs_container_rec_disk disk;
	size_t bytes = 0;
	int r = cfs_container_get(pool->c0, &key, &disk, sizeof(disk), &bytes,
				  err);

	if (r == -ENOENT)
		cfs_err_set(err, r, "no such container");
	return r < 0 ? r
		     : cfs_container_rec_unpack(
			       &disk, CFS_MIN(bytes, sizeof(disk)), ret, err);
}

static int take(struct cfs_pool *pool, const struct cfs_cursor *cur,
		struct cfs_delegation *ret, struct cfs_err *err)
{
	struct cfs_container_rec rec;
	int r = cfs_delegation_rec_unpack(cur->value, cur->value_bytes,
					  &ret->rec, err);

	if (r < 0)
		return r;
	ret->container = cur->key.w[0] & ((UINT64_C(1) << 56) - 1);
	ret->epoch = (uint32_t)cur->key.w[1];
	ret->name[0] = '\0';
	if (get_container(pool, ret->container, &rec, NULL) == 0)
		strcpy(ret->name, rec.name);
	return 0;
}

/* Of one container, or (0) of all; container 0 locked. */
static int each_locked(struct cfs_pool *pool, uint64_t container,
		       cfs_delegation_each_fn each, void *arg,
		       struct cfs_err *err)
{
	const struct cfs_key from = delegation_key(container, 0);
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(
		&cur, cfs_container_tree(pool->c0, CFS_TREE_TABLE), &from, err);

	while (r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_DELEGATION &&
	       (!container || cur.key.w[0] == from.w[0])) {
		struct cfs_delegation d;

		r = take(pool, &cur, &d, err);
		if (r == 0)
			r = each(arg, &d, err);
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	return r == -ENOENT ? 0 : r;
}

struct delegation_list {
	CFS_VEC(struct cfs_delegation) v;
};

static int add_one(void *arg, const struct cfs_delegation *d,
		   struct cfs_err *err)
{
	struct delegation_list *list = arg;

	return cfs_vec_push(&list->v, *d) < 0
		       ? cfs_err_set(err, -ENOMEM, "out of memory")
		       : 0;
}

static int list_all(struct cfs_pool *pool, uint64_t container,
		    struct delegation_list *list, struct cfs_err *err)
{
	int r;

	cfs_container_lock(pool->c0);
	r = each_locked(pool, container, add_one, list, err);
	cfs_container_unlock(pool->c0);
	return r;
}

int cfs_pool_delegations(struct cfs_pool *pool, cfs_delegation_each_fn each,
			 void *arg, struct cfs_err *err)
{
	struct delegation_list list = { CFS_VEC_INIT };
	int r = list_all(pool, 0, &list, err);

	for (size_t i = 0; i < list.v.count && r == 0; i++)
		r = each(arg, &list.v.items[i], err);
	cfs_vec_done(&list.v);
	return r;
}

int cfs_pool_delegation_find(struct cfs_pool *pool, uint64_t container,
			     struct cfs_delegation *ret, struct cfs_err *err)
{
	struct delegation_list list = { CFS_VEC_INIT };
	int r = list_all(pool, container, &list, err);
	bool is_found = false;

	for (size_t i = 0; i < list.v.count && r == 0; i++) {
		if (list.v.items[i].rec.state != CFS_DELEGATION_HELD)
			continue;
		*ret = list.v.items[i];
		is_found = true;
	}
	cfs_vec_done(&list.v);
	return r < 0 ? r : is_found ? 0 : -ENOENT;
}

/* One that stands; container 0 locked.  -ENOENT without @err. */
static int get_locked(struct cfs_pool *pool, uint64_t container, uint32_t epoch,
		      struct cfs_delegation_rec *ret, struct cfs_err *err)
{
	const struct cfs_key key = delegation_key(container, epoch);
	struct cfs_delegation_rec_disk disk;
	size_t bytes = 0;
	int r = cfs_container_get(pool->c0, &key, &disk, sizeof(disk), &bytes,
				  err);

	return r < 0 ? r
		     : cfs_delegation_rec_unpack(
			       &disk, CFS_MIN(bytes, sizeof(disk)), ret, err);
}

static int is_not_held(struct cfs_err *err)
{
	return cfs_err_set(err, -ESTALE,
			   "the container is not delegated to "
			   "you any more");
}

static int get_held(struct cfs_pool *pool, uint64_t container, uint32_t epoch,
		    struct cfs_delegation_rec *ret, struct cfs_err *err)
{
	int r = get_locked(pool, container, epoch, ret, err);

	if (r == -ENOENT || (r == 0 && ret->state != CFS_DELEGATION_HELD))
		return is_not_held(err);
	return r;
}

/* Durable; container 0 locked. */
static int put_delegation(struct cfs_pool *pool, uint64_t container,
			  uint32_t epoch, const struct cfs_delegation_rec *rec,
			  struct cfs_err *err)
{
	struct cfs_delegation_rec_disk disk;
	const struct cfs_table_change change = {
		.key = delegation_key(container, epoch),
		.value = &disk,
		.value_bytes = sizeof(disk),
	};
	int r = cfs_container_ready(pool->c0, err);

	cfs_delegation_rec_pack(rec, &disk);
	return r < 0 ? r : cfs_container_put_now(pool->c0, &change, 1, err);
}

int cfs_pool_delegation_update(struct cfs_pool *pool, uint64_t container,
			       uint32_t epoch,
			       const struct cfs_delegation_rec *rec,
			       struct cfs_err *err)
{
	struct cfs_delegation_rec now, next = *rec;
	int r;

	cfs_container_lock(pool->c0);
	r = get_held(pool, container, epoch, &now, err);
	if (r == 0) {
		next.state = now.state;
		next.by_epoch = now.by_epoch;
		next.since_ns = now.since_ns;
		r = put_delegation(pool, container, epoch, &next, err);
	}
	cfs_container_unlock(pool->c0);
	return r;
}

/* ---- opening ------------------------------------------------------------- */

int cfs_pool_delegate_may_open(struct cfs_pool *pool, uint64_t id,
			       const char *name, struct cfs_err *err)
{
	struct cfs_delegation d;
	int r;

	if (pool->lender)
		return 0;
	r = cfs_pool_delegation_find(pool, id, &d, err);
	if (r == -ENOENT)
		return 0;
	return r < 0 ? r
		     : cfs_err_set(err, -EREMOTE,
				   "%s is served by process "
				   "%" PRIu64 " on %s",
				   name, d.rec.who.pid, d.rec.who.host);
}

bool cfs_pool_delegate_has_fence(struct cfs_pool *pool, uint64_t id,
				 const struct cfs_container_rec *rec)
{
	struct delegation_list list = { CFS_VEC_INIT };
	bool has = pool->lender || rec->base_vaddr[0];

	if (cfs_devset_is_overlay(pool->set))
		return false;
	/* In doubt it costs a few reads. */
	if (!has)
		has = list_all(pool, id, &list, NULL) < 0 || list.v.count > 0;
	cfs_vec_done(&list.v);
	return has;
}

struct gone_search {
	uint32_t epoch;
	bool is_found;
	struct cfs_delegation_rec rec;
};

static int look_for_epoch(void *arg, const struct cfs_delegation *d,
			  struct cfs_err *err)
{
	struct gone_search *g = arg;

	(void)err;
	if (d->epoch == g->epoch) {
		g->is_found = true;
		g->rec = d->rec;
	}
	return 0;
}

/* And those who may have sealed it. */
static bool is_over(const struct cfs_pool *pool,
		    const struct cfs_delegation_rec *rec)
{
	return rec->state == CFS_DELEGATION_GONE &&
	       (!pool->holder ||
		cfs_holder_are_gone(pool->holder, rec->by_epoch, UINT32_MAX));
}

bool cfs_pool_delegate_is_gone(struct cfs_pool *pool, uint32_t epoch)
{
	struct gone_search g = { .epoch = epoch };

	/* A secondary was told of none. */
	if (pool->lender)
		return false;
	if (cfs_pool_delegations(pool, look_for_epoch, &g, NULL) < 0)
		return false;
	return !g.is_found || is_over(pool, &g.rec);
}

int cfs_pool_delegate_opened(struct cfs_pool *pool, uint64_t id,
			     struct cfs_err *err)
{
	struct delegation_list list = { CFS_VEC_INIT };
	int r;

	if (pool->lender || cfs_devset_is_overlay(pool->set))
		return 0;
	r = list_all(pool, id, &list, err);
	for (size_t i = 0; i < list.v.count && r == 0; i++) {
		const struct cfs_delegation *d = &list.v.items[i];
		const struct cfs_table_change gone = {
			.key = delegation_key(id, d->epoch),
		};

		if (!is_over(pool, &d->rec))
			continue;
		cfs_container_lock(pool->c0);
		r = cfs_container_ready(pool->c0, err);
		if (r == 0)
			r = cfs_container_put_now(pool->c0, &gone, 1, err);
		cfs_container_unlock(pool->c0);
	}
	cfs_vec_done(&list.v);
	return r;
}

bool cfs_pool_delegate_is_left(struct cfs_pool *pool, uint64_t id)
{
	struct delegation_list list = { CFS_VEC_INIT };
	bool is_left;

	if (pool->lender)
		return false;
	is_left = list_all(pool, id, &list, NULL) < 0 || list.v.count > 0;
	cfs_vec_done(&list.v);
	return is_left;
}

/* ---- going --------------------------------------------------------------- */

/* A number that no delegation ever had, and the records, in one frame. */
static int put_first(struct cfs_pool *pool, uint64_t container,
		     const struct cfs_delegation_rec *rec, uint32_t *ret_epoch,
		     struct cfs_err *err)
{
	struct cfs_container_rec_disk container_disk;
	struct cfs_delegation_rec_disk disk;
	struct cfs_pool_rec_disk pool_disk;
	struct cfs_container_rec crec;
	struct cfs_pool_rec pool_rec;
	struct cfs_table_change changes[3];
	uint32_t epoch;
	int r = cfs_pool_rec_get_locked(pool, &pool_rec, err);

	if (r == 0)
		r = get_container(pool, container, &crec, err);
	if (r == 0 && pool_rec.next_container >= CFS_EPOCH_DELEGATED)
		r = cfs_err_set(err, -E2BIG, "no number is left for it");
	if (r == 0)
		r = cfs_container_ready(pool->c0, err);
	if (r < 0)
		return r;
	epoch = CFS_EPOCH_DELEGATED | (uint32_t)pool_rec.next_container++;
	crec.epoch = epoch;
	cfs_pool_rec_pack(&pool_rec, &pool_disk);
	cfs_container_rec_pack(&crec, &container_disk);
	cfs_delegation_rec_pack(rec, &disk);
	changes[0] = (struct cfs_table_change){
		{ { cfs_table_word(CFS_TABLE_POOL, 0), 0, 0 } },
		&pool_disk,
		sizeof(pool_disk),
	};
	changes[1] = (struct cfs_table_change){
		container_key(container),
		&container_disk,
		sizeof(container_disk),
	};
	changes[2] = (struct cfs_table_change){
		delegation_key(container, epoch),
		&disk,
		sizeof(disk),
	};
	r = cfs_container_put_now(pool->c0, changes, 3, err);
	if (r == 0)
		*ret_epoch = epoch;
	return r;
}

/* Free space ahead, so that not every write has to ask; what there is. */
static int spare(struct cfs_pool *pool, struct cfs_container *c,
		 unsigned int slices, struct cfs_err *err)
{
	const uint64_t data = cfs_metavolume_geometry(
				      cfs_container_metavolume(c))
				      ->data_count;
	const uint64_t have = cfs_container_free_blocks(c) / data;
	int r;

	if (have >= slices)
		return 0;
	cfs_container_lock(c);
	r = cfs_pool_source.more(pool, c, (unsigned int)(slices - have), err);
	cfs_container_unlock(c);
	return r == -ENOSPC ? 0 : r;
}

int cfs_pool_member_close(struct cfs_pool *pool, struct cfs_member *m,
			  struct cfs_err *err)
{
	struct member_entry *e;
	uint64_t id = m->id;
	int r;

	pthread_mutex_lock(&pool->lock);
	HASH_FIND(hh, pool->members, &id, sizeof(id), e);
	assert(e && &e->m == m);
	HASH_DEL(pool->members, e);
	cfs_pool_member_left(&e->m);
	r = cfs_container_close(e->m.container, err);
	cfs_vols_free(e->m.vols);
	pthread_mutex_unlock(&pool->lock);
	free(e);
	return r;
}

static int may_go(struct cfs_pool *pool, struct cfs_member *m, bool has_clients,
		  struct cfs_err *err)
{
	struct cfs_lent_counts lent;

	if (pool->lender || cfs_devset_is_overlay(pool->set))
		return cfs_err_set(err, -EROFS,
				   "only the manager of the pool "
				   "delegates containers");
	if (m->rec.state != CFS_OBJECT_LIVE)
		return cfs_err_set(err, -EBUSY, "it is being made or removed");
	cfs_container_lent_counts(m->container, &lent);
	if (lent.clients && !has_clients)
		return cfs_err_set(err, -EBUSY,
				   "%" PRIu64 " clients may still "
				   "write to it",
				   lent.clients);
	return 0;
}

int cfs_pool_delegate(struct cfs_pool *pool, struct cfs_member *m,
		      const struct cfs_delegation_rec *rec,
		      unsigned int spare_slices, uint32_t *ret_epoch,
		      struct cfs_err *err)
{
	struct cfs_delegation_rec first = *rec;
	const uint64_t id = m->id;
	int r = may_go(pool, m, rec->has_clients, err), r2;

	if (r == 0)
		r = cfs_container_make_graves(m->container, err);
	if (r == 0)
		r = spare(pool, m->container, spare_slices, err);
	first.state = CFS_DELEGATION_HELD;
	first.by_epoch = pool->epoch;
	/* Nobody opens it in between. */
	pthread_mutex_lock(&pool->lock);
	r2 = cfs_pool_member_close(pool, m, r < 0 ? NULL : err);
	if (r == 0)
		r = r2;
	if (r == 0) {
		cfs_container_lock(pool->c0);
		r = put_first(pool, id, &first, ret_epoch, err);
		cfs_container_unlock(pool->c0);
	}
	pthread_mutex_unlock(&pool->lock);
	return r;
}

/* ---- what it has --------------------------------------------------------- */

static int add_slice(struct cfs_lent_slices *slices, uint64_t lslice,
		     const struct cfs_piece *pieces, struct cfs_err *err)
{
	struct cfs_lent_slice s = { .lslice = lslice };

	memcpy(s.pieces, pieces, sizeof(s.pieces));
	return cfs_vec_push(&slices->list, s) < 0
		       ? cfs_err_set(err, -ENOMEM, "out of memory")
		       : 0;
}

/* The whole map; container 0 locked. */
static int list_slices(struct cfs_pool *pool, uint64_t id,
		       struct cfs_lent_slices *ret, struct cfs_err *err)
{
	const struct cfs_key from = { { cfs_table_word(CFS_TABLE_SMAP, id), 0,
					0 } };
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(
		&cur, cfs_container_tree(pool->c0, CFS_TREE_TABLE), &from, err);

	while (r == 0 && cur.key.w[0] == from.w[0]) {
		struct cfs_smap_rec rec;

		r = cfs_smap_rec_unpack(cur.value, cur.value_bytes, &rec, err);
		if (r == 0)
			r = add_slice(ret, cur.key.w[1], rec.pieces, err);
		if (r == 0)
			r = cfs_cursor_next(&cur, err);
	}
	return r == -ENOENT ? 0 : r;
}

static int list_devices(struct cfs_pool *pool, struct cfs_pool_grant *ret,
			struct cfs_err *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < cfs_devset_count(pool->set); i++) {
		struct cfs_device_rec rec;

		r = cfs_pool_device_rec_locked(pool, i, &rec, err);
		if (r == 0 && cfs_vec_push(&ret->devices, rec) < 0)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
	}
	return r;
}

static void count_free(const struct cfs_pool *pool, struct cfs_lent_slices *ret)
{
	ret->free_slices = ret->total_slices = 0;
	for (uint32_t i = 0; i < pool->device_count; i++) {
		const struct device_slices *d = &pool->devices[i];

		ret->total_slices += d->slice_count;
		if (d->is_usable)
			ret->free_slices += d->slice_count - d->virgin_from +
					    d->free_used;
	}
}

int cfs_pool_delegation_grant(struct cfs_pool *pool, uint64_t container,
			      uint32_t epoch, struct cfs_pool_grant *ret,
			      struct cfs_err *err)
{
	struct cfs_pool_grant g = { .container = container, .epoch = epoch };
	struct cfs_delegation_rec rec;
	int r;

	cfs_container_lock(pool->c0);
	r = get_held(pool, container, epoch, &rec, err);
	if (r == 0)
		r = get_container(pool, container, &g.rec, err);
	if (r == 0)
		r = cfs_pool_rec_get_locked(pool, &g.pool, err);
	if (r == 0)
		r = list_slices(pool, container, &g.slices, err);
	if (r == 0)
		r = list_devices(pool, &g, err);
	count_free(pool, &g.slices);
	cfs_container_unlock(pool->c0);
	if (r < 0)
		cfs_pool_grant_donep(&g);
	else
		*ret = g;
	return r;
}

/* Picked, headed and flushed; one frame each says that they are lent. */
static int lend(struct cfs_pool *pool, uint64_t id,
		const struct cfs_container_rec *rec, struct cfs_metavolume *mv,
		unsigned int count, struct cfs_lent_slices *ret,
		struct cfs_err *err)
{
	int r = 0;

	for (unsigned int i = 0; i < count && r == 0; i++) {
		const uint64_t l = cfs_pool_free_lslice(mv, 0);
		struct cfs_piece pieces[CFS_PIECES_MAX];

		if (l > CFS_LSLICE_MAX)
			return cfs_err_set(err, -ENOSPC,
					   "the container is "
					   "full");
		r = cfs_container_ready(pool->c0, err);
		if (r == 0)
			r = cfs_pool_slice_may_pick(pool, false, err);
		if (r == 0)
			r = cfs_pool_slice_pick(pool, pieces, err);
		if (r == 0)
			r = cfs_pool_slice_freeze(pool, id, l, pieces, true,
						  err);
		if (r == 0)
			r = cfs_pool_slice_headers(pool, id, rec->uuid, l,
						   pieces, CFS_SLICE_OWNED,
						   err);
		if (r == 0)
			r = cfs_metavolume_set(mv, l, pieces, err);
		if (r == 0)
			r = add_slice(ret, l, pieces, err);
	}
	return r;
}

static int record_lent(struct cfs_pool *pool, uint64_t id,
		       const struct cfs_lent_slices *slices,
		       struct cfs_err *err)
{
	int r = cfs_pool_flush_devices(pool, err);

	for (size_t i = 0; i < slices->list.count && r == 0; i++) {
		const struct cfs_lent_slice *s = &slices->list.items[i];

		r = cfs_container_ready(pool->c0, err);
		if (r == 0)
			r = cfs_pool_slice_record(pool, id, s->lslice,
						  s->pieces, true, err);
	}
	return r;
}

static int lend_locked(struct cfs_pool *pool, uint64_t id, uint32_t epoch,
		       unsigned int count, struct cfs_lent_slices *ret,
		       struct cfs_err *err)
{
	struct cfs_lent_slices have = { .list = CFS_VEC_INIT };
	struct cfs_delegation_rec held;
	struct cfs_container_rec rec;
	struct cfs_metavolume *mv = NULL;
	int r = get_held(pool, id, epoch, &held, err);

	if (r == 0)
		r = get_container(pool, id, &rec, err);
	if (r == 0)
		r = list_slices(pool, id, &have, err);
	if (r == 0)
		r = cfs_metavolume_new(pool->set, id, &mv, err);
	for (size_t i = 0; i < have.list.count && r == 0; i++)
		r = cfs_metavolume_set(mv, have.list.items[i].lslice,
				       have.list.items[i].pieces, err);
	if (r == 0) {
		r = lend(pool, id, &rec, mv, count, ret, err);
		if (r == -ENOSPC && ret->list.count > 0)
			r = 0;
	}
	if (r == 0)
		r = record_lent(pool, id, ret, err);
	count_free(pool, ret);
	cfs_metavolume_free(mv);
	cfs_lent_slices_donep(&have);
	return r;
}

int cfs_pool_delegation_lend(struct cfs_pool *pool, uint64_t container,
			     uint32_t epoch, unsigned int count,
			     struct cfs_lent_slices *ret, struct cfs_err *err)
{
	struct cfs_lent_slices got = { .list = CFS_VEC_INIT };
	int r;

	count = CFS_MIN(CFS_MAX(count, 1u), LEND_MAX);
	cfs_container_lock(pool->c0);
	r = lend_locked(pool, container, epoch, count, &got, err);
	cfs_container_unlock(pool->c0);
	if (r < 0)
		cfs_lent_slices_donep(&got);
	else
		*ret = got;
	return r;
}

int cfs_pool_delegation_take(struct cfs_pool *pool, uint64_t container,
			     uint32_t epoch, uint64_t lslice,
			     struct cfs_err *err)
{
	const struct cfs_key key = {
		{ cfs_table_word(CFS_TABLE_SMAP, container), lslice, 0 }
	};
	struct cfs_delegation_rec held;
	struct cfs_container_rec rec;
	struct cfs_smap_rec_disk disk;
	struct cfs_smap_rec smap;
	size_t bytes = 0;
	int r;

	cfs_container_lock(pool->c0);
	r = get_held(pool, container, epoch, &held, err);
	if (r == 0)
		r = get_container(pool, container, &rec, err);
	if (r == 0)
		r = cfs_container_get(pool->c0, &key, &disk, sizeof(disk),
				      &bytes, err);
	if (r == 0)
		r = cfs_smap_rec_unpack(&disk, CFS_MIN(bytes, sizeof(disk)),
					&smap, err);
	if (r == 0)
		r = cfs_container_ready(pool->c0, err);
	if (r == 0)
		r = cfs_pool_slice_return(pool, container, rec.uuid, lslice,
					  smap.pieces, err);
	cfs_container_unlock(pool->c0);
	return r == -ENOENT ? 0 : r;
}

/* ---- coming home --------------------------------------------------------- */

/* It is ours again, as if we had closed it, or died. */
static int put_last(struct cfs_pool *pool, uint64_t container, uint32_t epoch,
		    struct cfs_err *err)
{
	struct cfs_container_rec_disk disk;
	struct cfs_container_rec rec;
	const struct cfs_table_change changes[2] = {
		{ delegation_key(container, epoch), NULL, 0 },
		{ container_key(container), &disk, sizeof(disk) },
	};
	int r = get_container(pool, container, &rec, err);

	if (r == 0)
		r = cfs_container_ready(pool->c0, err);
	if (r < 0)
		return r;
	rec.epoch = pool->epoch;
	cfs_container_rec_pack(&rec, &disk);
	return cfs_container_put_now(pool->c0, changes, 2, err);
}

int cfs_pool_delegation_end(struct cfs_pool *pool, uint64_t container,
			    uint32_t epoch, struct cfs_err *err)
{
	struct cfs_delegation_rec rec;
	int r;

	cfs_container_lock(pool->c0);
	r = get_locked(pool, container, epoch, &rec, err);
	if (r == 0 && rec.state == CFS_DELEGATION_HELD) {
		r = put_last(pool, container, epoch, err);
	} else if (r == 0 && rec.state == CFS_DELEGATION_SEALED) {
		rec.state = CFS_DELEGATION_GONE;
		r = put_delegation(pool, container, epoch, &rec, err);
	}
	cfs_container_unlock(pool->c0);
	return r == -ENOENT ? 0 : r;
}

int cfs_pool_delegation_seal(struct cfs_pool *pool, uint64_t container,
			     uint32_t epoch, struct cfs_err *err)
{
	struct cfs_delegation_rec rec;
	int r;

	cfs_container_lock(pool->c0);
	r = get_locked(pool, container, epoch, &rec, err);
	if (r == 0 && rec.state == CFS_DELEGATION_HELD) {
		rec.state = CFS_DELEGATION_SEALED;
		r = put_delegation(pool, container, epoch, &rec, err);
	}
	cfs_container_unlock(pool->c0);
	return r == -ENOENT ? 0 : r;
}
