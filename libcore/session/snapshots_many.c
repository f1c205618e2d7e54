/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Removing many snapshots of a volume: a removal is a commit, so that a range
 * of a thousand is a matter of a few commits if they go together.
 */
#include "session/local.h"
#include "session/refer.h"
#include "session/remote.h"
#include "session/serve_use.h"
#include "session/session_priv.h"

#include "base/cleanup.h"

#include <assert.h>
#include <stdlib.h>

/* ---- here ---------------------------------------------------------------- */

/* Alone with each of them. */
static int enter_all(struct cfs_session *s, const struct cfs_named *v,
		     const char *const *snaps, size_t count,
		     struct cfs_use **ret, struct cfs_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		struct cfs_snapshot_rec rec;
		struct cfs_use_of of = {
			.container = v->member->id,
			.volume = v->id,
			.mode = CFS_USE_ALONE,
		};

		r = cfs_snapshot_find(v->member, v->id, snaps[i], &of.stamp,
				      &rec, err);
		if (r == 0)
			r = cfs_serve_volume_enter(s, &of, &ret[i], err);
	}
	return r;
}

int cfs_local_snap_remove_many(struct cfs_session *s, const char *volume,
			       const char *const *snaps, size_t count,
			       uint64_t *ret_freed_bytes, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_use **uses = calloc(count, sizeof(struct cfs_use *));
	uint64_t total = 0, slices;
	struct cfs_named v = { .id = 0 };
	int r = cfs_session_may_write(s, err);

	if (!uses)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = cfs_session_find(s, volume, &v, err);
	if (r == 0)
		r = enter_all(s, &v, snaps, count, uses, err);
	if (r == 0)
		r = cfs_snapshot_remove_many(v.member, v.id, snaps, count,
					     ret_freed_bytes, err);
	/* The newest first: it is looked for from there. */
	for (size_t i = count; i-- > 0;)
		cfs_serve_volume_leave(s, uses[i]);
	if (r != 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		ret_freed_bytes[i] *= CFS_BLOCK_BYTES;
		total += ret_freed_bytes[i];
	}
	/* Whole slices of freed blocks are for others to use at once. */
	if (total >= cfs_devset_label(s->set, 0)->slice_bytes)
		r = cfs_pool_reclaim(s->pool, v.member, &slices, err);
	return r;
}

/* ---- at another process -------------------------------------------------- */

struct to_freed {
	uint64_t *freed_bytes;
	size_t count, room;
};

static int to_freed_item(void *arg, const void *item)
{
	const struct cfs_rpc_values *values = item;
	struct to_freed *to = arg;

	if (to->count == to->room)
		return -EPROTO;
	to->freed_bytes[to->count++] = values->value;
	return 0;
}

static int remote_many(struct cfs_session *s, const char *volume,
		       const char *const *snaps, size_t count,
		       uint64_t *ret_freed_bytes, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_snap_name *names = calloc(count, sizeof(*names));
	struct to_freed to = { ret_freed_bytes, 0, count };
	struct cfs_rpc_args args = {
		.volume = volume,
		.snaps = names,
		.snap_count = count,
	};
	struct cfs_remote_call call = {
		.type = CFS_RPC_SNAP_REMOVE_MANY,
		.args = &args,
		.item = to_freed_item,
		.item_arg = &to,
	};
	int r = cfs_session_may_write(s, err);

	if (!names)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++)
		names[i] = (struct cfs_snap_name){ "", snaps[i] };
	return r < 0 ? r : cfs_remote_call(s->remote, &call, err);
}

static int many_here(struct cfs_session *s, const char *volume,
		     const char *const *snaps, size_t count,
		     uint64_t *ret_freed_bytes, struct cfs_err *err)
{
	return s->remote ? remote_many(s, volume, snaps, count, ret_freed_bytes,
				       err)
			 : CFS_LOOK(s, cfs_local_snap_remove_many(
					       s, volume, snaps, count,
					       ret_freed_bytes, err));
}

/* An older process does not know many; and beside others, one that is in use
 * keeps none from going that is older. */
static int one_by_one(struct cfs_session *s, const char *volume,
		      const char *const *snaps, size_t count,
		      uint64_t *ret_freed_bytes, struct cfs_err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = cfs_session_snap_remove(s, volume, snaps[i],
					    &ret_freed_bytes[i], err);
	return r;
}

int cfs_session_snap_remove_many(struct cfs_session *s, const char *volume,
				 const char *const *snaps, size_t count,
				 uint64_t *ret_freed_bytes, struct cfs_err *err)
{
	int r;

	assert(count > 0 && count <= CFS_SNAP_REMOVE_MAX);
	if (count == 1)
		return one_by_one(s, volume, snaps, count, ret_freed_bytes,
				  err);
	r = CFS_REFER(
		s, volume, 0, at, err,
		many_here(at, volume, snaps, count, ret_freed_bytes, err));
	if (r != -ENOTSUP && (r != -EBUSY || !s->remote))
		return r;
	return one_by_one(s, volume, snaps, count, ret_freed_bytes, err);
}
