/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Snapshots of a pool that another process holds: see remote.h. */
#include "session/remote.h"

#include <string.h>

struct to_snapshot {
	cfs_snapshot_each_fn each;
	void *arg;
};

static int to_snapshot_item(void *arg, const void *item)
{
	const struct to_snapshot *to = arg;

	return to->each(to->arg, item);
}

int cfs_remote_snapshots(struct cfs_remote *r, const char *volume,
			 bool with_space, cfs_snapshot_each_fn each, void *arg,
			 struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.volume = volume,
		.is_set = with_space,
	};
	struct to_snapshot to = { each, arg };
	struct cfs_remote_call call = {
		.type = CFS_RPC_SNAPSHOTS,
		.args = &args,
		.item = to_snapshot_item,
		.item_arg = &to,
	};

	return cfs_remote_call(r, &call, err);
}

int cfs_remote_snapshot(struct cfs_remote *r, const char *volume,
			const char *snap, bool with_space,
			struct cfs_snapshot_info *ret, struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = volume, .snap = snap };

	return cfs_remote_ask(
		r, with_space ? CFS_RPC_SNAPSHOT : CFS_RPC_SNAPSHOT_BRIEF,
		&args, ret, err);
}

int cfs_remote_snap_take(struct cfs_remote *r,
			 const struct cfs_snap_name *names, size_t count,
			 const char *note, struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.snaps = names,
		.snap_count = count,
		.text = note,
	};

	return cfs_remote_ask(r, CFS_RPC_SNAP_TAKE, &args, NULL, err);
}

int cfs_remote_snap_clone(struct cfs_remote *r, const char *volume,
			  const char *snap, const char *clone,
			  struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.volume = volume,
		.snap = snap,
		.name = clone,
	};

	return cfs_remote_ask(r, CFS_RPC_SNAP_CLONE, &args, NULL, err);
}

int cfs_remote_snap_rollback(struct cfs_remote *r, const char *volume,
			     const char *snap, const char *save,
			     struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.volume = volume,
		.snap = snap,
		.text = save,
	};

	return cfs_remote_ask(r, CFS_RPC_SNAP_ROLLBACK, &args, NULL, err);
}

int cfs_remote_snap_remove(struct cfs_remote *r, const char *volume,
			   const char *snap, uint64_t *ret_freed_bytes,
			   struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = volume, .snap = snap };
	struct cfs_rpc_values ret = { 0 };
	int code = cfs_remote_ask(r, CFS_RPC_SNAP_REMOVE, &args, &ret, err);

	if (ret_freed_bytes)
		*ret_freed_bytes = ret.value;
	return code;
}

int cfs_remote_snap_rename(struct cfs_remote *r, const char *volume,
			   const char *snap, const char *new_name,
			   struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.volume = volume,
		.snap = snap,
		.name = new_name,
	};

	return cfs_remote_ask(r, CFS_RPC_SNAP_RENAME, &args, NULL, err);
}

int cfs_remote_snap_hold(struct cfs_remote *r, const char *volume,
			 const char *snap, bool hold, struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.volume = volume,
		.snap = snap,
		.is_set = hold,
	};

	return cfs_remote_ask(r, CFS_RPC_SNAP_HOLD, &args, NULL, err);
}
