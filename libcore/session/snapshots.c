/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Snapshots by name. */
#include "session/local.h"
#include "session/serve_direct.h"
#include "session/serve_use.h"
#include "session/session_priv.h"

#include "base/bits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLD_TRIES 50

struct list_state {
	struct cfs_session *s;
	struct cfs_member *m;
	uint64_t volume;
	char volume_name[260];
	const struct cfs_volume_space *space; /* or NULL */
	struct cfs_origins origins;           /* of m */
	bool with_space;
	cfs_snapshot_each_fn each;
	void *arg;
	const char *only;    /* a name, or NULL */
	uint32_t branch;     /* of the last one, and */
	char branch_of[128]; /* what it was rolled back to */
};

static const struct cfs_snapshot_space *space_of(
	const struct cfs_volume_space *space, uint64_t stamp)
{
	size_t lo = 0, hi = space->snapshot_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (space->snapshots[mid].stamp < stamp)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < space->snapshot_count && space->snapshots[lo].stamp == stamp)
		return &space->snapshots[lo];
	return NULL;
}

/*
 * The snapshot that the branch of @rec began at, if a rollback made it; a
 * clone's first branch begins in another volume, and its origin says where.
 */
static int find_fork(struct list_state *st, const struct cfs_snapshot_rec *rec,
		     struct cfs_err *err)
{
	uint16_t branch = 0;
	uint64_t stamp = 0;
	struct cfs_snapshot_rec fork;
	int r;

	if (st->branch == rec->branch)
		return 0;
	st->branch_of[0] = '\0';
	r = cfs_snapshot_fork(st->m, (uint16_t)rec->branch, &branch, &stamp,
			      err);
	if (r == 0 && branch)
		r = cfs_snapshot_at(st->m, st->volume, stamp, &fork, err);
	if (r == 0 && branch && fork.branch == branch)
		memcpy(st->branch_of, fork.name, sizeof(st->branch_of));
	if (r == -ENOENT)
		r = 0;
	st->branch = r < 0 ? 0 : rec->branch;
	return r;
}

static int each_snapshot(void *arg, uint64_t stamp,
			 const struct cfs_snapshot_rec *rec,
			 struct cfs_err *err)
{
	struct list_state *st = arg;
	struct cfs_snapshot_info info = {
		.stamp = stamp,
		.created_ns = rec->created_ns,
		.size_bytes = rec->size_bytes,
		.is_held = rec->flags & CFS_SNAPSHOT_HELD,
	};
	int r;

	memcpy(info.volume, st->volume_name, sizeof(info.volume));
	memcpy(info.name, rec->name, sizeof(info.name));
	memcpy(info.note, rec->note, sizeof(info.note));
	r = find_fork(st, rec, err);
	if (r < 0)
		return r;
	memcpy(info.branch_of, st->branch_of, sizeof(info.branch_of));
	info.clone_count = cfs_origins_count(&st->origins, st->volume, stamp);
	if (st->space) {
		const struct cfs_snapshot_space *space = space_of(st->space,
								  stamp);

		if (space) {
			info.exclusive_bytes = space->exclusive_blocks *
					       CFS_BLOCK_BYTES;
			info.shared_bytes = (space->seen_blocks -
					     space->exclusive_blocks) *
					    CFS_BLOCK_BYTES;
		}
	}
	return st->each(st->arg, &info);
}

static int only_snapshot(struct list_state *st, struct cfs_err *err)
{
	struct cfs_snapshot_rec rec;
	uint64_t stamp;
	int r = cfs_snapshot_find(st->m, st->volume, st->only, &stamp, &rec,
				  err);

	return r < 0 ? r : each_snapshot(st, stamp, &rec, err);
}

static int each_of_volume(void *arg, uint64_t id,
			  const struct cfs_volume_rec *rec, struct cfs_err *err)
{
	struct list_state *st = arg;
	struct cfs_volume_space space = { 0 };
	int r = 0;

	st->volume = id;
	st->branch = 0;
	cfs_session_name(st->m, rec, st->volume_name);
	if (st->with_space)
		r = cfs_volume_space(st->m, id, &space, err);
	st->space = st->with_space ? &space : NULL;
	if (r == 0 && st->only)
		r = only_snapshot(st, err);
	else if (r == 0)
		r = cfs_snapshot_each(st->m, id, each_snapshot, st, err);
	free(space.snapshots);
	st->space = NULL;
	return r;
}

static int each_of_container(struct list_state *st, struct cfs_err *err)
{
	int r = cfs_origins_get(st->m, &st->origins, err);

	if (r == 0)
		r = cfs_volume_each(st->m, each_of_volume, st, err);
	cfs_origins_done(&st->origins);
	return r;
}

/* The volume that was found. */
static int each_of_one(struct list_state *st, const struct cfs_named *v,
		       struct cfs_err *err)
{
	int r;

	st->m = v->member;
	r = cfs_origins_get(st->m, &st->origins, err);
	if (r == 0)
		r = each_of_volume(st, v->id, &v->rec, err);
	cfs_origins_done(&st->origins);
	return r;
}

static int each_container(void *arg, uint64_t id,
			  const struct cfs_container_rec *rec,
			  struct cfs_err *err)
{
	struct list_state *st = arg;
	int r;

	/* Nor one that somebody still fills. */
	if (rec->state != CFS_OBJECT_LIVE)
		return 0;
	r = cfs_pool_member_by_id(st->s->pool, id, &st->m, err);
	if (r == -EREMOTE) /* whoever serves it tells of it */
		return 0;
	return r < 0 ? r : each_of_container(st, err);
}

int cfs_local_snapshots(struct cfs_session *s, const char *volume,
			bool with_space, cfs_snapshot_each_fn each, void *arg,
			struct cfs_err *err)
{
	struct list_state st = {
		.s = s,
		.with_space = with_space,
		.each = each,
		.arg = arg,
	};
	struct cfs_named v;
	int r;

	if (!volume)
		return cfs_pool_containers(s->pool, each_container, &st, err);
	r = cfs_session_find(s, volume, &v, err);
	return r < 0 ? r : each_of_one(&st, &v, err);
}

static int keep_one(void *arg, const struct cfs_snapshot_info *info)
{
	struct cfs_snapshot_info *ret = arg;

	*ret = *info;
	return 0;
}

int cfs_local_snapshot(struct cfs_session *s, const char *volume,
		       const char *snap, bool with_space,
		       struct cfs_snapshot_info *ret, struct cfs_err *err)
{
	struct list_state st = {
		.s = s,
		.with_space = with_space,
		.each = keep_one,
		.arg = ret,
		.only = snap,
	};
	struct cfs_named v;
	int r = cfs_session_find(s, volume, &v, err);

	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	return each_of_one(&st, &v, err);
}

/*
 * Those who write beside us have folded, and begin nothing meanwhile.  One that
 * was not asked in time, or came just then, is -EBUSY, and all is done again.
 */
static int take_held(struct cfs_session *s,
		     const struct cfs_session_options *calls,
		     const struct cfs_snapshot_name *list, size_t count,
		     const char *note, struct cfs_err *err)
{
	struct cfs_member **members = calloc(count, sizeof(*members));
	int r, tries = 0;

	if (!members)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++)
		members[i] = list[i].member;
	do {
		r = cfs_serve_direct_hold(s->beside_us, members, count,
					  calls->stop, calls->arg, err);
		if (r < 0)
			break;
		r = cfs_snapshot_take(list, count, note, err);
		cfs_serve_direct_go_on(s->beside_us);
	} while (r == -EBUSY && cfs_serve_direct_has_clients(s->beside_us) &&
		 ++tries < HOLD_TRIES);
	free(members);
	return r;
}

int cfs_local_snap_take(struct cfs_session *s,
			const struct cfs_session_options *calls,
			const struct cfs_snap_name *names, size_t count,
			const char *note, struct cfs_err *err)
{
	struct cfs_snapshot_name *list = calloc(count, sizeof(*list));
	int r = cfs_session_may_write(s, err);

	if (!list)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; r == 0 && i < count; i++) {
		struct cfs_named v;

		r = cfs_session_find(s, names[i].volume, &v, err);
		if (r < 0 && count > 1)
			cfs_err_wrap(err, r, "%s", names[i].volume);
		if (r < 0)
			break;
		list[i] = (struct cfs_snapshot_name){
			.member = v.member,
			.volume = v.id,
			.name = names[i].snap,
		};
	}
	if (r == 0)
		r = take_held(s, calls, list, count, note, err);
	free(list);
	return r;
}

/* Find the volume of a changing call. */
static int find(struct cfs_session *s, const char *volume,
		struct cfs_named *ret, struct cfs_err *err)
{
	int r = cfs_session_may_write(s, err);

	return r < 0 ? r : cfs_session_find(s, volume, ret, err);
}

int cfs_local_snap_clone(struct cfs_session *s, const char *volume,
			 const char *snap, const char *clone,
			 struct cfs_err *err)
{
	struct cfs_named v;
	int r = find(s, volume, &v, err);

	return r < 0 ? r : cfs_snapshot_clone(v.member, v.id, snap, clone, err);
}

/* Alone with a volume as it is (@stamp 0), or with a snapshot. */
static int enter_alone(struct cfs_session *s, const struct cfs_named *v,
		       uint64_t stamp, struct cfs_use **ret,
		       struct cfs_err *err)
{
	const struct cfs_use_of of = {
		.container = v->member->id,
		.volume = v->id,
		.stamp = stamp,
		.mode = CFS_USE_ALONE,
	};

	return cfs_serve_volume_enter(s, &of, ret, err);
}

int cfs_local_snap_rollback(struct cfs_session *s, const char *volume,
			    const char *snap, const char *save,
			    struct cfs_err *err)
{
	struct cfs_use *use = NULL;
	struct cfs_named v;
	int r = find(s, volume, &v, err);

	if (r == 0)
		r = enter_alone(s, &v, 0, &use, err);
	/* Of other volumes in the container, if there is to be a snapshot. */
	if (r == 0)
		r = cfs_serve_direct_hold(s->beside_us, &v.member, 1, NULL,
					  NULL, err);
	if (r == 0) {
		r = cfs_snapshot_rollback(v.member, v.id, snap, save, err);
		cfs_serve_direct_go_on(s->beside_us);
	}
	cfs_serve_volume_leave(s, use);
	return r;
}

int cfs_local_snap_remove(struct cfs_session *s, const char *volume,
			  const char *snap, uint64_t *ret_freed_bytes,
			  struct cfs_err *err)
{
	uint64_t freed = 0, slices, stamp = 0;
	struct cfs_use *use = NULL;
	struct cfs_snapshot_rec rec;
	struct cfs_named v;
	int r = find(s, volume, &v, err);

	if (r == 0)
		r = cfs_snapshot_find(v.member, v.id, snap, &stamp, &rec, err);
	if (r == 0)
		r = enter_alone(s, &v, stamp, &use, err);
	if (r == 0)
		r = cfs_snapshot_remove(v.member, v.id, snap, &freed, err);
	cfs_serve_volume_leave(s, use);
	/* Whole slices of freed blocks are for others to use at once. */
	if (r == 0 &&
	    freed * CFS_BLOCK_BYTES >= cfs_devset_label(s->set, 0)->slice_bytes)
		r = cfs_pool_reclaim(s->pool, v.member, &slices, err);
	if (ret_freed_bytes)
		*ret_freed_bytes = freed * CFS_BLOCK_BYTES;
	return r;
}

int cfs_local_snap_rename(struct cfs_session *s, const char *volume,
			  const char *snap, const char *new_name,
			  struct cfs_err *err)
{
	struct cfs_named v;
	int r = find(s, volume, &v, err);

	return r < 0 ? r
		     : cfs_snapshot_rename(v.member, v.id, snap, new_name, err);
}

int cfs_local_snap_hold(struct cfs_session *s, const char *volume,
			const char *snap, bool hold, struct cfs_err *err)
{
	struct cfs_named v;
	int r = find(s, volume, &v, err);

	return r < 0 ? r : cfs_snapshot_hold(v.member, v.id, snap, hold, err);
}
