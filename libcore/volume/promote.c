/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "volume/promote.h"

#include "volume/pool_containers_priv.h"
#include "volume/volume_priv.h"

#include "base/cleanup.h"

#include <stdlib.h>

static bool is_of(const struct cfs_container_rec *rec, uint64_t id,
		  uint64_t volume, uint64_t created_ns)
{
	return rec->source_container == id && rec->source_volume == volume &&
	       rec->source_created_ns == created_ns;
}

int cfs_promote_find(const struct cfs_promote_source *of,
		     struct cfs_member **ret, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) struct listed *list = NULL;
	uint64_t id = 0;
	size_t count = 0;
	int r = cfs_pool_container_list(of->member->pool, &list, &count, err);

	for (size_t i = 0; r == 0 && i < count; i++)
		if (list[i].rec.state == CFS_OBJECT_MAKING &&
		    is_of(&list[i].rec, of->member->id, of->volume,
			  of->rec.created_ns))
			id = list[i].id;
	if (r == 0 && id == 0)
		r = -ENOENT;
	return r < 0 ? r
		     : cfs_pool_member_by_id(of->member->pool, id, ret, err);
}

int cfs_promote_begin(struct cfs_member *m, const struct cfs_promote_source *of,
		      struct cfs_err *err)
{
	struct cfs_container_rec rec = m->rec;

	rec.source_container = of->member->id;
	rec.source_volume = of->volume;
	rec.source_created_ns = of->rec.created_ns;
	return cfs_pool_container_update(m->pool, m, &rec, err);
}

int cfs_promote_commit(struct cfs_member *m, const char *name,
		       const struct cfs_promote_source *of, struct cfs_err *err)
{
	struct cfs_container_rec rec = m->rec;
	int r = cfs_container_commit(m->container, err);

	if (r < 0)
		return r;
	memset(rec.name, 0, sizeof(rec.name));
	strncpy(rec.name, name, sizeof(rec.name) - 1);
	rec.state = CFS_OBJECT_LIVE;
	rec.limit_bytes = of->rec.limit_bytes;
	__atomic_fetch_add(&m->pool->promoted_count, 1, __ATOMIC_RELAXED);
	r = cfs_pool_container_update(m->pool, m, &rec, err);
	if (r == 0)
		r = cfs_volume_remove_whole(of->member, of->volume, err);
	if (r < 0)
		return r;
	rec.source_container = 0;
	rec.source_volume = 0;
	rec.source_created_ns = 0;
	r = cfs_pool_container_update(m->pool, m, &rec, err);
	if (r == 0)
		__atomic_fetch_sub(&m->pool->promoted_count, 1,
				   __ATOMIC_RELAXED);
	return r;
}

/* ---- what a crash left --------------------------------------------------- */

/* The clone is not there any more, durably; its blocks follow. */
static int remove_clone(struct cfs_member *m,
			const struct cfs_container_rec *promoted,
			struct cfs_err *err)
{
	struct cfs_volume_rec rec;
	int r = cfs_volume_get(m, promoted->source_volume, &rec, NULL);

	if (r == -ENOENT ||
	    (r == 0 && (rec.state == CFS_OBJECT_DELETING ||
			!is_of(promoted, m->id, promoted->source_volume,
			       rec.created_ns))))
		return 0;
	return r < 0 ? cfs_err_set(err, r, "no look at a clone of it")
		     : cfs_volume_mark_deleting(m, promoted->source_volume,
						err);
}

static int forget_source(struct cfs_pool *pool, const struct listed *at,
			 struct cfs_err *err)
{
	const struct cfs_key key = container_key(at->id);
	struct cfs_container_rec rec = at->rec;
	struct cfs_container_rec_disk disk;
	int r = cfs_op_begin(pool->c0, CFS_OP_FREEING, err);

	if (r < 0)
		return r;
	rec.source_container = 0;
	rec.source_volume = 0;
	rec.source_created_ns = 0;
	cfs_container_rec_pack(&rec, &disk);
	r = cfs_container_put(pool->c0, &key, &disk, sizeof(disk), err);
	return r < 0 ? cfs_op_abort(pool->c0),
	       r : (cfs_op_end(pool->c0), cfs_container_sync(pool->c0, err));
}

/*
 * Under the lock of the pool's members, like all of opening.  One that is open
 * keeps the source in its copy of the record; it does no harm there.
 */
int cfs_promote_finish(struct cfs_member *m, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) struct listed *list = NULL;
	size_t count = 0;
	int r;

	if (!__atomic_load_n(&m->pool->promoted_count, __ATOMIC_RELAXED))
		return 0;
	r = cfs_pool_container_list(m->pool, &list, &count, err);
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (list[i].rec.state != CFS_OBJECT_LIVE ||
		    list[i].rec.source_container != m->id)
			continue;
		r = remove_clone(m, &list[i].rec, err);
		if (r == 0)
			r = forget_source(m->pool, &list[i], err);
		if (r == 0)
			__atomic_fetch_sub(&m->pool->promoted_count, 1,
					   __ATOMIC_RELAXED);
	}
	return r;
}

int cfs_promote_forget(struct cfs_pool *pool, uint64_t id, uint64_t volume,
		       struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) struct listed *list = NULL;
	size_t count = 0;
	int r = cfs_pool_container_list(pool, &list, &count, err);

	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct cfs_container_rec *rec = &list[i].rec;
		struct cfs_member *m;

		if (rec->state != CFS_OBJECT_MAKING ||
		    rec->source_container != id ||
		    (volume && rec->source_volume != volume))
			continue;
		r = cfs_pool_member_by_id(pool, list[i].id, &m, err);
		if (r == 0)
			r = cfs_pool_container_remove(pool, m, err);
	}
	return r;
}
