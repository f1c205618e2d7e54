/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records of volumes: making, finding, changing, removing. */
#include "volume/volume.h"

#include "base/clock.h"
#include "base/rng.h"
#include "base/text.h"
#include "volume/data.h"
#include "volume/fs_open.h"
#include "volume/promote.h"
#include "volume/stream_priv.h"
#include "volume/volume_priv.h"

#include <inttypes.h>
#include <stdlib.h>

struct cfs_key cfs_volume_key(uint64_t id)
{
	return (struct cfs_key){ { cfs_table_word(CFS_TABLE_VOLUME, id), 0,
				   0 } };
}

int cfs_volume_get_locked(struct cfs_member *m, uint64_t id,
			  struct cfs_volume_rec *ret, struct cfs_err *err)
{
	struct cfs_key key = cfs_volume_key(id);
	struct cfs_volume_rec_disk disk;
	size_t bytes;
	int r = cfs_container_get(m->container, &key, &disk, sizeof(disk),
				  &bytes, err);

	if (r == -ENOENT)
		return cfs_err_set(err, r, "no such volume");
	if (r < 0)
		return r;
	return cfs_volume_rec_unpack(&disk, CFS_MIN(bytes, sizeof(disk)), ret,
				     err);
}

int cfs_volume_put(struct cfs_member *m, uint64_t id,
		   const struct cfs_volume_rec *rec, struct cfs_err *err)
{
	struct cfs_key key = cfs_volume_key(id);
	struct cfs_volume_rec_disk disk;

	cfs_volume_rec_pack(rec, &disk);
	return cfs_container_put(m->container, &key, &disk, sizeof(disk), err);
}

int cfs_branch_put(struct cfs_member *m, uint16_t branch,
		   const struct cfs_branch_rec *rec, struct cfs_err *err)
{
	struct cfs_key key = { { cfs_table_word(CFS_TABLE_BRANCH, branch), 0,
				 0 } };
	struct cfs_branch_rec_disk disk;

	cfs_branch_rec_pack(rec, &disk);
	return cfs_container_put(m->container, &key, &disk, sizeof(disk), err);
}

/* A number that no branch has. */
int cfs_branch_number(struct cfs_vols *v, uint16_t *ret, struct cfs_err *err)
{
	for (uint32_t i = 1; i <= UINT16_MAX; i++) {
		if (!cfs_branch_find(v, (uint16_t)i)) {
			*ret = (uint16_t)i;
			return 0;
		}
	}
	return cfs_err_set(err, -ENOSPC, "the container has 65535 branches");
}

/* End an operation: durable, or undone. */
int cfs_volume_op_done(struct cfs_member *m, int r, struct cfs_err *err)
{
	if (r < 0) {
		cfs_op_abort(m->container);
		return r;
	}
	cfs_op_end(m->container);
	return cfs_container_sync(m->container, err);
}

void cfs_volume_view(struct cfs_member *m, const struct cfs_volume_rec *rec,
		     struct cfs_view *ret)
{
	*ret = (struct cfs_view){
		.container = m->container,
		.branch = (uint16_t)rec->head_branch,
		.stamp = CFS_STAMP_HEAD,
	};
}

/* ---- making -------------------------------------------------------------- */

int cfs_volume_make_first(struct cfs_member *m, uint32_t kind,
			  uint64_t size_bytes, struct cfs_err *err)
{
	struct cfs_volume_rec rec = {
		.kind = kind,
		.state = CFS_OBJECT_LIVE,
		.head_branch = 1,
		.size_bytes = size_bytes,
		.created_ns = cfs_clock_realtime_ns(cfs_clock_system()),
	};
	struct cfs_branch_rec branch = {
		.volume = CFS_VOLUME_FIRST,
		.state = CFS_OBJECT_LIVE,
	};
	struct cfs_rng rng;
	int r = cfs_rng_init_random(&rng, err);

	if (r == 0)
		r = cfs_op_begin(m->container, CFS_OP_NORMAL, err);
	if (r < 0)
		return r;
	rec.hash_seed = cfs_rng_u64(&rng);
	branch.created_stamp = cfs_container_stamp(m->container);
	r = cfs_container_raise_stamp(m->container, err);
	cfs_name_index_begin(m->vols);
	if (r == 0)
		r = cfs_branch_put(m, 1, &branch, err);
	if (r == 0 && kind == CFS_VOLUME_TREE)
		r = cfs_fs_make_root(m->container, 1, 0755, 0, 0,
				     (int64_t)rec.created_ns, &rec.ino, err);
	else if (r == 0)
		r = cfs_container_new_ino(m->container, &rec.ino, err);
	if (r == 0)
		r = cfs_volume_put(m, CFS_VOLUME_FIRST, &rec, err);
	return cfs_volume_op_done(m, r, err);
}

/* ---- finding ------------------------------------------------------------- */

int cfs_volume_get(struct cfs_member *m, uint64_t id,
		   struct cfs_volume_rec *ret, struct cfs_err *err)
{
	int r;

	cfs_container_lock(m->container);
	r = cfs_volume_get_locked(m, id, ret, err);
	cfs_container_unlock(m->container);
	return r;
}

/* The next volume from *id on that is not being deleted; locked. */
int cfs_volume_next_locked(struct cfs_member *m, uint64_t *id,
			   struct cfs_volume_rec *ret, struct cfs_err *err)
{
	struct cfs_key from = cfs_volume_key(*id);
	struct cfs_cursor cur;
	int r = cfs_cursor_ge(&cur,
			      cfs_container_tree(m->container, CFS_TREE_TABLE),
			      &from, err);

	while (r == 0 && cur.key.w[0] >> 56 == CFS_TABLE_VOLUME) {
		r = cfs_volume_rec_unpack(cur.value, cur.value_bytes, ret, err);
		if (r < 0)
			return r;
		*id = cur.key.w[0] & ((UINT64_C(1) << 56) - 1);
		if (ret->state != CFS_OBJECT_DELETING)
			return 0;
		r = cfs_cursor_next(&cur, err);
	}
	return r < 0 ? r : -ENOENT;
}

int cfs_volume_each(struct cfs_member *m, cfs_volume_rec_each_fn each,
		    void *arg, struct cfs_err *err)
{
	struct cfs_volume_rec rec;

	for (uint64_t id = 1;; id++) {
		int r;

		cfs_container_lock(m->container);
		r = cfs_volume_next_locked(m, &id, &rec, err);
		cfs_container_unlock(m->container);
		if (r == -ENOENT)
			return 0;
		if (r == 0)
			r = each(arg, id, &rec, err);
		if (r != 0)
			return r;
	}
}

/* One above the highest that is in use. */
int cfs_volume_free_id(struct cfs_member *m, uint64_t *ret, struct cfs_err *err)
{
	struct cfs_key last = cfs_volume_key((UINT64_C(1) << 56) - 1);
	struct cfs_cursor cur;
	int r = cfs_cursor_le(&cur,
			      cfs_container_tree(m->container, CFS_TREE_TABLE),
			      &last, err);

	if (r < 0)
		return r;
	*ret = CFS_VOLUME_FIRST + 1;
	if (cur.key.w[0] >> 56 == CFS_TABLE_VOLUME)
		*ret = (cur.key.w[0] & ((UINT64_C(1) << 56) - 1)) + 1;
	return 0;
}

/* By a clone's name; locked.  -ENOENT without @err. */
int cfs_volume_by_name_locked(struct cfs_member *m, const char *clone,
			      uint64_t *ret_id, struct cfs_volume_rec *ret,
			      struct cfs_err *err)
{
	for (uint64_t id = CFS_VOLUME_FIRST + 1;; id++) {
		int r = cfs_volume_next_locked(m, &id, ret, err);

		if (r < 0)
			return r;
		if (strcmp(ret->name, clone) == 0) {
			*ret_id = id;
			return 0;
		}
	}
}

int cfs_volume_find(struct cfs_member *m, const char *clone, uint64_t *ret_id,
		    struct cfs_volume_rec *ret, struct cfs_err *err)
{
	int r;

	cfs_container_lock(m->container);
	if (clone) {
		r = cfs_volume_by_name_locked(m, clone, ret_id, ret, err);
		if (r == -ENOENT)
			cfs_err_set(err, r, "no such volume");
	} else {
		*ret_id = CFS_VOLUME_FIRST;
		r = cfs_volume_get_locked(m, CFS_VOLUME_FIRST, ret, err);
	}
	cfs_container_unlock(m->container);
	return r;
}

/* ---- changing ------------------------------------------------------------ */

int cfs_volume_rename(struct cfs_member *m, uint64_t id, const char *name,
		      struct cfs_err *err)
{
	struct cfs_volume_rec rec, other;
	uint64_t other_id;
	int r;

	if (!cfs_name_is_valid(name))
		return cfs_err_set(err, -EINVAL, "no valid name");
	r = cfs_op_begin(m->container, CFS_OP_FREEING, err);
	if (r < 0)
		return r;
	r = cfs_volume_by_name_locked(m, name, &other_id, &other, err);
	if (r == 0 && other_id != id)
		r = cfs_err_set(err, -EEXIST, "it exists already");
	if (r == 0 || r == -ENOENT)
		r = cfs_volume_get_locked(m, id, &rec, err);
	if (r == 0) {
		memset(rec.name, 0, sizeof(rec.name));
		strcpy(rec.name, name);
		r = cfs_volume_put(m, id, &rec, err);
	}
	return cfs_volume_op_done(m, r, err);
}

int cfs_volume_set_limit(struct cfs_member *m, uint64_t id,
			 uint64_t limit_bytes, struct cfs_err *err)
{
	struct cfs_volume_rec rec;
	int r = cfs_op_begin(m->container, CFS_OP_FREEING, err);

	if (r < 0)
		return r;
	r = cfs_volume_get_locked(m, id, &rec, err);
	rec.limit_bytes = limit_bytes;
	if (r == 0)
		r = cfs_volume_put(m, id, &rec, err);
	return cfs_volume_op_done(m, r, err);
}

int cfs_volume_resize(struct cfs_member *m, uint64_t id, uint64_t size_bytes,
		      struct cfs_err *err)
{
	struct cfs_receive_rec receiving;
	struct cfs_volume_rec rec;
	int r = cfs_op_begin(m->container, CFS_OP_FREEING, err);

	if (r < 0)
		return r;
	r = cfs_volume_get_locked(m, id, &rec, err);
	if (r == 0 && rec.kind != CFS_VOLUME_LUN)
		r = cfs_err_set(err, -EINVAL, "a tree has no size to set");
	if (r == 0 &&
	    cfs_receive_get_locked(m, id, &receiving, NULL) != -ENOENT)
		r = cfs_err_set(err, -EBUSY,
				"a stream is being received into "
				"it");
	if (r == 0 && size_bytes < rec.size_bytes)
		r = cfs_data_punch(m->container, (uint16_t)rec.head_branch,
				   rec.ino, size_bytes, UINT64_MAX, err);
	if (r == 0) {
		rec.size_bytes = size_bytes;
		r = cfs_volume_put(m, id, &rec, err);
	}
	return cfs_volume_op_done(m, r, err);
}

/* ---- removing ------------------------------------------------------------ */

struct dependents {
	struct cfs_member *m;
	uint64_t of;    /* volume */
	uint64_t stamp; /* of a snapshot; 0: any */
	uint64_t count;
	uint64_t first;
};

static int count_dependent(void *arg, uint64_t id,
			   const struct cfs_volume_rec *rec,
			   struct cfs_err *err)
{
	struct dependents *d = arg;

	(void)err;
	if (id == d->of || rec->origin_volume != d->of ||
	    (d->stamp && rec->origin_stamp != d->stamp))
		return 0;
	if (d->count++ == 0)
		d->first = id;
	return 0;
}

int cfs_snapshot_clone_count(struct cfs_member *m, uint64_t volume,
			     uint64_t stamp, uint64_t *ret, struct cfs_err *err)
{
	struct dependents d = { m, volume, stamp, 0, 0 };
	int r = cfs_volume_each(m, count_dependent, &d, err);

	*ret = d.count;
	return r;
}

static int count_snapshot(void *arg, uint64_t stamp,
			  const struct cfs_snapshot_rec *rec,
			  struct cfs_err *err)
{
	uint64_t *counts = arg; /* all, held */

	(void)stamp;
	(void)err;
	counts[0]++;
	counts[1] += (rec->flags & CFS_SNAPSHOT_HELD) != 0;
	return 0;
}

/* The volume is gone for everybody; its branches are swept behind it. */
int cfs_volume_mark_deleting(struct cfs_member *m, uint64_t id,
			     struct cfs_err *err)
{
	struct cfs_volume_rec rec;
	int r = cfs_op_begin(m->container, CFS_OP_FREEING, err);

	if (r < 0)
		return r;
	r = cfs_volume_get_locked(m, id, &rec, err);
	if (r == 0) {
		rec.state = CFS_OBJECT_DELETING;
		r = cfs_volume_put(m, id, &rec, err);
	}
	return cfs_volume_op_done(m, r, err);
}

int cfs_volume_remove_whole(struct cfs_member *m, uint64_t id,
			    struct cfs_err *err)
{
	int r = cfs_volume_mark_deleting(m, id, err);

	if (r == 0)
		r = cfs_volume_finish_removal(m, id, err);
	return r < 0 ? r : cfs_promote_forget(m->pool, m->id, id, err);
}

int cfs_volume_remove(struct cfs_member *m, uint64_t id, bool recursive,
		      struct cfs_err *err)
{
	uint64_t snaps[2] = { 0, 0 };
	int r = cfs_snapshot_each(m, id, count_snapshot, snaps, err);

	while (r == 0) {
		struct dependents d = { m, id, 0, 0, 0 };

		r = cfs_volume_each(m, count_dependent, &d, err);
		if (r == 0 && !recursive && (d.count || snaps[0]))
			return cfs_err_set(
				err, -EBUSY,
				"it has %" PRIu64 " %s and %" PRIu64 " %s: -r "
				"removes all",
				snaps[0],
				cfs_plural(snaps[0], "snapshot", "snapshots"),
				d.count,
				cfs_plural(d.count, "clone", "clones"));
		if (r == 0 && snaps[1])
			return cfs_err_set(err, -EBUSY,
					   "a snapshot of it is on hold");
		if (r < 0 || d.count == 0)
			break;
		r = cfs_volume_remove(m, d.first, true, err);
	}
	return r < 0 ? r : cfs_volume_remove_whole(m, id, err);
}
