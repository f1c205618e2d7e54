/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests about pools, volumes, snapshots; check, scrub, trace. */
#include "session/serve_priv.h"

#include "session/devices.h"

#include <string.h>

/* ---- pools --------------------------------------------------------------- */

static int do_pool_info(struct serve_call *c)
{
	return cfs_local_pool_info(c->s, &c->ret.pool, c->err);
}

static int put_device(void *arg, const struct cfs_device_info *d)
{
	return serve_item(arg, d);
}

static int do_devices(struct serve_call *c)
{
	return cfs_local_devices(c->s, put_device, c, c->err);
}

static int do_set(struct serve_call *c)
{
	/* That is a request of its own, since it does not run alone. */
	if (!c->args.volume && strcmp(c->args.name, "mirror") == 0 &&
	    strcmp(c->args.text, "yes") == 0)
		return cfs_err_set(c->err, -ENOTSUP,
				   "mirror: ask with a newer slicectl");
	return cfs_local_set(c->s, c->args.volume, c->args.name, c->args.text,
			     c->err);
}

/* A path means something to processes of this host only. */
static int check_is_local(struct serve_call *c)
{
	if (!c->peer->is_local)
		return cfs_err_set(c->err, -EPERM,
				   "only from the host that "
				   "has the device");
	return 0;
}

static int do_add_device(struct serve_call *c)
{
	int r = check_is_local(c);

	return r < 0 ? r
		     : cfs_local_add_device(c->s, c->args.name, c->args.is_set,
					    &c->ret.values.value, c->err);
}

static int do_resize_device(struct serve_call *c)
{
	return cfs_local_resize_device(c->s, c->args.name, &c->ret.values.value,
				       &c->ret.values.other, c->err);
}

static int do_evacuate(struct serve_call *c)
{
	const struct cfs_session_options calls = {
		.stop = serve_stop,
		.progress = serve_progress,
		.in_background = c->args.flags & CFS_RPC_MOVE_BACKGROUND,
		.arg = c,
	};

	return cfs_local_evacuate(c->s, &calls, c->args.name, &c->ret.move,
				  c->err);
}

static int do_remove_device(struct serve_call *c)
{
	const struct cfs_session_options calls = {
		.stop = serve_stop,
		.arg = c,
	};

	return cfs_local_remove_device(c->s, &calls, c->args.name,
				       c->args.flags & CFS_RPC_MOVE_FORCED,
				       c->err);
}

static int do_replace_device(struct serve_call *c)
{
	const struct cfs_session_options calls = {
		.stop = serve_stop,
		.progress = serve_progress,
		.in_background = c->args.flags & CFS_RPC_MOVE_BACKGROUND,
		.arg = c,
	};
	int r = check_is_local(c);

	return r < 0 ? r
		     : cfs_local_replace_device(
			       c->s, &calls, c->args.name, c->args.text,
			       c->args.flags & CFS_RPC_MOVE_FORCED,
			       &c->ret.move, c->err);
}

static int do_make_mirror(struct serve_call *c)
{
	const struct cfs_session_options calls = {
		.stop = serve_stop,
		.progress = serve_progress,
		.arg = c,
	};

	return cfs_local_make_mirror(c->s, &calls, &c->ret.move, c->err);
}

static int do_trim(struct serve_call *c)
{
	return cfs_local_trim(c->s, c->args.volume, &c->ret.trim, c->err);
}

static int put_slice(void *arg, const struct cfs_slice_info *i)
{
	return serve_item(arg, i);
}

static int do_slices(struct serve_call *c)
{
	return cfs_local_slices(c->s, c->args.volume, put_slice, c, c->err);
}

/* ---- volumes ------------------------------------------------------------- */

static int put_volume(void *arg, const struct cfs_volume_info *v)
{
	return serve_item(arg, v);
}

static int do_volumes(struct serve_call *c)
{
	return cfs_local_volumes(c->s, c->args.volume, true, put_volume, c,
				 c->err);
}

static int do_volumes_brief(struct serve_call *c)
{
	return cfs_local_volumes(c->s, c->args.volume, false, put_volume, c,
				 c->err);
}

static int do_volume(struct serve_call *c)
{
	return cfs_local_volume(c->s, c->args.volume, true, &c->ret.volume,
				c->err);
}

static int do_volume_brief(struct serve_call *c)
{
	return cfs_local_volume(c->s, c->args.volume, false, &c->ret.volume,
				c->err);
}

/* One that is to be filled is the peer's until it is finished. */
static int do_create(struct serve_call *c)
{
	const struct cfs_rpc_args *a = &c->args;
	int r = 0;

	if (a->kind != CFS_VOLUME_LUN && a->kind != CFS_VOLUME_TREE)
		return cfs_err_set(c->err, -EINVAL, "no kind of volume");
	if (a->is_set)
		r = serve_unfinished_add(c->peer, a->name, c->err);
	if (r < 0)
		return r;
	r = cfs_local_create(c->s, a->name, a->kind, a->size_bytes,
			     a->limit_bytes, a->is_set, c->err);
	if (r < 0 && a->is_set)
		serve_unfinished_drop(c->peer, a->name);
	return r;
}

static int do_finish_volume(struct serve_call *c)
{
	int r = cfs_local_finish_volume(c->s, c->args.name, c->err);

	if (r == 0)
		serve_unfinished_drop(c->peer, c->args.name);
	return r;
}

static int do_remove_volume(struct serve_call *c)
{
	int r = cfs_local_remove_volume(c->s, c->args.volume, c->args.is_set,
					c->err);

	if (r == 0)
		serve_unfinished_drop(c->peer, c->args.volume);
	return r;
}

static int do_rename_volume(struct serve_call *c)
{
	return cfs_local_rename_volume(c->s, c->args.volume, c->args.name,
				       c->err);
}

static int do_resize_volume(struct serve_call *c)
{
	return cfs_local_resize_volume(c->s, c->args.volume, c->args.size_bytes,
				       c->err);
}

static int do_place_find(struct serve_call *c)
{
	return cfs_local_place_find(c->s, c->args.volume, c->args.text,
				    &c->ret.place, c->err);
}

static int do_place_name(struct serve_call *c)
{
	return cfs_local_place_name(c->s, &c->args.place, &c->ret.place_name,
				    c->err);
}

/* ---- snapshots ----------------------------------------------------------- */

static int put_snapshot(void *arg, const struct cfs_snapshot_info *i)
{
	return serve_item(arg, i);
}

static int do_snapshots(struct serve_call *c)
{
	return cfs_local_snapshots(c->s, c->args.volume, c->args.is_set,
				   put_snapshot, c, c->err);
}

static int do_snapshot(struct serve_call *c)
{
	return cfs_local_snapshot(c->s, c->args.volume, c->args.snap, true,
				  &c->ret.snapshot, c->err);
}

static int do_snapshot_brief(struct serve_call *c)
{
	return cfs_local_snapshot(c->s, c->args.volume, c->args.snap, false,
				  &c->ret.snapshot, c->err);
}

static int do_snap_take(struct serve_call *c)
{
	const struct cfs_session_options calls = {
		.stop = serve_stop,
		.arg = c,
	};

	if (c->args.snap_count == 0)
		return cfs_err_set(c->err, -EINVAL, "no snapshot is named");
	return cfs_local_snap_take(c->s, &calls, c->args.snaps,
				   c->args.snap_count, c->args.text, c->err);
}

static int do_snap_clone(struct serve_call *c)
{
	return cfs_local_snap_clone(c->s, c->args.volume, c->args.snap,
				    c->args.name, c->err);
}

static int do_snap_rollback(struct serve_call *c)
{
	return cfs_local_snap_rollback(c->s, c->args.volume, c->args.snap,
				       c->args.text, c->err);
}

static int do_snap_remove(struct serve_call *c)
{
	return cfs_local_snap_remove(c->s, c->args.volume, c->args.snap,
				     &c->ret.values.value, c->err);
}

static int do_snap_rename(struct serve_call *c)
{
	return cfs_local_snap_rename(c->s, c->args.volume, c->args.snap,
				     c->args.name, c->err);
}

static int do_snap_hold(struct serve_call *c)
{
	return cfs_local_snap_hold(c->s, c->args.volume, c->args.snap,
				   c->args.is_set, c->err);
}

/* ---- check, scrub, trace ------------------------------------------------- */

static int put_problem(void *arg, const struct cfs_problem *p)
{
	return serve_item(arg, p);
}

static int put_damage(void *arg, const struct cfs_damage *d)
{
	return serve_item(arg, d);
}

static int do_check(struct serve_call *c)
{
	const struct cfs_session_options calls = {
		.stop = serve_stop,
		.arg = c,
	};

	return cfs_local_check(c->s, &calls, c->args.volume, put_problem, c,
			       &c->ret.check, c->err);
}

static int do_scrub(struct serve_call *c)
{
	const struct cfs_session_options calls = {
		.stop = serve_stop,
		.progress = serve_progress,
		.arg = c,
	};

	return cfs_local_scrub(c->s, &calls, c->args.volume, &c->args.scrub,
			       put_damage, c, &c->ret.scrub, c->err);
}

static int do_trace_at(struct serve_call *c)
{
	return cfs_local_trace_at(c->s, c->args.name, c->args.offset_bytes,
				  put_damage, c, c->err);
}

static int do_trace_bad(struct serve_call *c)
{
	return cfs_local_trace_bad(c->s, put_damage, c, c->err);
}

static int do_hold(struct serve_call *c)
{
	return serve_hold(c->peer, c->err);
}

serve_fn serve_session_fn(uint16_t type)
{
	switch (type) {
	case CFS_RPC_POOL_INFO:
		return do_pool_info;
	case CFS_RPC_DEVICES:
		return do_devices;
	case CFS_RPC_SET:
		return do_set;
	case CFS_RPC_ADD_DEVICE:
		return do_add_device;
	case CFS_RPC_RESIZE_DEVICE:
		return do_resize_device;
	case CFS_RPC_EVACUATE:
		return do_evacuate;
	case CFS_RPC_REMOVE_DEVICE:
		return do_remove_device;
	case CFS_RPC_REPLACE_DEVICE:
		return do_replace_device;
	case CFS_RPC_MAKE_MIRROR:
		return do_make_mirror;
	case CFS_RPC_TRIM:
		return do_trim;
	case CFS_RPC_SLICES:
		return do_slices;
	case CFS_RPC_VOLUMES:
		return do_volumes;
	case CFS_RPC_VOLUME:
		return do_volume;
	case CFS_RPC_VOLUMES_BRIEF:
		return do_volumes_brief;
	case CFS_RPC_VOLUME_BRIEF:
		return do_volume_brief;
	case CFS_RPC_CREATE:
		return do_create;
	case CFS_RPC_FINISH_VOLUME:
		return do_finish_volume;
	case CFS_RPC_REMOVE_VOLUME:
		return do_remove_volume;
	case CFS_RPC_RENAME_VOLUME:
		return do_rename_volume;
	case CFS_RPC_RESIZE_VOLUME:
		return do_resize_volume;
	case CFS_RPC_PLACE_FIND:
		return do_place_find;
	case CFS_RPC_PLACE_NAME:
		return do_place_name;
	case CFS_RPC_SNAPSHOTS:
		return do_snapshots;
	case CFS_RPC_SNAPSHOT:
		return do_snapshot;
	case CFS_RPC_SNAPSHOT_BRIEF:
		return do_snapshot_brief;
	case CFS_RPC_SNAP_TAKE:
		return do_snap_take;
	case CFS_RPC_SNAP_CLONE:
		return do_snap_clone;
	case CFS_RPC_SNAP_ROLLBACK:
		return do_snap_rollback;
	case CFS_RPC_SNAP_REMOVE:
		return do_snap_remove;
	case CFS_RPC_SNAP_RENAME:
		return do_snap_rename;
	case CFS_RPC_SNAP_HOLD:
		return do_snap_hold;
	case CFS_RPC_CHECK:
		return do_check;
	case CFS_RPC_SCRUB:
		return do_scrub;
	case CFS_RPC_TRACE_AT:
		return do_trace_at;
	case CFS_RPC_TRACE_BAD:
		return do_trace_bad;
	case CFS_RPC_HOLD:
		return do_hold;
	default:
		return NULL;
	}
}
