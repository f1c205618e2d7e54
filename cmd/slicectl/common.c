/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the verbs of slicectl share.  The keys here are promises to scripts:
 * new ones may be added, none is renamed.
 */
#include "slicectl/slicectl.h"

#include "ondisk/table.h"

int slicectl_open(struct cfs_cmd *cmd, const char *pool, bool is_writable,
		  struct cfs_session **ret)
{
	struct cfs_session_options opt = { .is_writable = is_writable,
					   CFS_CMD_SESSION(cmd) };
	int r = cfs_session_open(pool, &opt, ret, &cmd->err);

	return cfs_cmd_wrap(cmd, pool, r);
}

int slicectl_close(struct cfs_cmd *cmd, const char *pool,
		   struct cfs_session **s, int r)
{
	struct cfs_err err = CFS_ERR_INIT;
	int r2 = cfs_session_close(*s, &err);

	*s = NULL;
	if (r2 == 0 || r < 0)
		return r;
	cmd->err = err;
	return cfs_cmd_wrap(cmd, pool, r2);
}

const char *slicectl_would(const struct cfs_cmd *cmd)
{
	return cmd->is_dry_run ? "would be " : "";
}

const char *slicectl_kind_name(uint32_t kind)
{
	switch (kind) {
	case CFS_VOLUME_LUN:
		return "lun";
	case CFS_VOLUME_TREE:
		return "tree";
	default:
		return "unknown";
	}
}

enum cfs_color slicectl_pool_color(enum cfs_pool_state state)
{
	switch (state) {
	case CFS_POOL_OK:
		return CFS_COLOR_GOOD;
	case CFS_POOL_DAMAGED:
	case CFS_POOL_MISSING_DEVICES:
		return CFS_COLOR_BAD;
	case CFS_POOL_BUSY:
		return CFS_COLOR_NONE;
	default:
		return CFS_COLOR_WARN;
	}
}

void slicectl_out_pool(struct cfs_out *out, const struct cfs_pool_info *info)
{
	cfs_out_str(out, "label", info->name);
	cfs_out_uuid(out, "uuid", info->uuid);
	cfs_out_str(out, "state", cfs_pool_state_name(info->state));
	cfs_out_bool(out, "is_mirror", info->is_mirror);
	cfs_out_bool(out, "is_shared", info->is_shared);
	cfs_out_time_ns(out, "created_at", info->created_ns);
	cfs_out_u64(out, "device_count", info->device_count);
	cfs_out_u64(out, "devices_present", info->devices_present);
	cfs_out_u64(out, "size_bytes", info->size_bytes);
	cfs_out_u64(out, "slice_bytes", info->slice_bytes);
	cfs_out_u64(out, "total_slices", info->slices);
	cfs_out_u64(out, "free_slices", info->free_slices);
	cfs_out_u64(out, "lent_slices", info->lent_slices);
	cfs_out_u64(out, "frozen_slices", info->frozen_slices);
	cfs_out_u64(out, "damaged_slices", info->bad_slices);
	cfs_out_u64(out, "capacity_bytes", info->capacity_bytes);
	cfs_out_u64(out, "used_bytes", info->used_bytes);
	cfs_out_u64(out, "free_bytes", info->free_bytes);
	cfs_out_u64(out, "damaged_blocks", info->damaged_blocks);
	cfs_out_u64(out, "containers", info->container_count);
	if (info->is_shared)
		cfs_out_u64(out, "takeovers_left", info->takeovers_left);
	cfs_out_u64_str(out, "epoch", info->epoch);
	cfs_out_u64(out, "lease_period_ns", info->lease_period_ns);
	cfs_out_u64(out, "clock_drift_ppm", info->clock_drift_ppm);
	cfs_out_u64(out, "cache_bytes", info->cache_bytes);
	cfs_out_bool(out, "is_checked", info->is_checked);
}

void slicectl_out_device(struct cfs_out *out,
			 const struct cfs_device_info *info)
{
	cfs_out_begin_obj(out, NULL);
	cfs_out_u64(out, "index", info->index);
	cfs_out_uuid(out, "uuid", info->uuid);
	cfs_out_str(out, "path", info->path[0] ? info->path : NULL);
	cfs_out_str(out, "kind", info->kind);
	cfs_out_str(out, "state", info->state);
	cfs_out_u64(out, "size_bytes", info->size_bytes);
	cfs_out_u64(out, "total_slices", info->slice_count);
	cfs_out_u64(out, "free_slices", info->free_slices);
	cfs_out_u64(out, "lent_slices", info->used_slices);
	cfs_out_u64(out, "frozen_slices", info->frozen_slices);
	cfs_out_u64(out, "damaged_slices", info->bad_slices);
	cfs_out_bool(out, "is_moving", info->is_moving);
	cfs_out_u64(out, "moved_slices", info->moved_slices);
	cfs_out_u64(out, "move_slices", info->move_slices);
	cfs_out_end(out);
}

void slicectl_out_volume(struct cfs_out *out,
			 const struct cfs_volume_info *info)
{
	cfs_out_str(out, "name", info->name);
	cfs_out_str(out, "kind", slicectl_kind_name(info->kind));
	cfs_out_u64(out, "size_bytes", info->size_bytes);
	cfs_out_u64(out, "used_bytes", info->used_bytes);
	cfs_out_u64(out, "shared_bytes", info->shared_bytes);
	cfs_out_u64(out, "snapshots", info->snapshot_count);
	cfs_out_u64(out, "clones", info->clone_count);
	cfs_out_str(out, "origin", info->origin[0] ? info->origin : NULL);
	cfs_out_time_ns(out, "created_at", info->created_ns);
	if (info->limit_bytes)
		cfs_out_u64(out, "limit_bytes", info->limit_bytes);
	else
		cfs_out_null(out, "limit_bytes");
	cfs_out_u64(out, "provision_bytes", info->provision_bytes);
	cfs_out_bool(out, "is_checked", info->is_checked);
	cfs_out_str(out, "state", info->state);
	cfs_out_u64(out, "damaged_blocks", info->damaged_blocks);
	if (info->kind == CFS_VOLUME_TREE)
		cfs_out_u64(out, "inodes", info->inode_count);
	else
		cfs_out_null(out, "inodes");
	cfs_out_begin_obj(out, "container");
	cfs_out_uuid(out, "uuid", info->container_uuid);
	cfs_out_u64_str(out, "id", info->container_id);
	cfs_out_u64(out, "slices", info->slice_count);
	cfs_out_u64(out, "used_bytes", info->container_used_bytes);
	cfs_out_end(out);
	cfs_out_u64_str(out, "volume_id", info->volume_id);
}

void slicectl_out_snapshot(struct cfs_out *out,
			   const struct cfs_snapshot_info *info)
{
	cfs_out_str(out, "volume", info->volume);
	cfs_out_str(out, "name", info->name);
	cfs_out_time_ns(out, "created_at", info->created_ns);
	cfs_out_str(out, "note", info->note);
	cfs_out_u64(out, "size_bytes", info->size_bytes);
	cfs_out_u64(out, "exclusive_bytes", info->exclusive_bytes);
	cfs_out_u64(out, "shared_bytes", info->shared_bytes);
	cfs_out_bool(out, "is_held", info->is_held);
	cfs_out_u64(out, "clones", info->clone_count);
	cfs_out_str(out, "branch_of",
		    info->branch_of[0] ? info->branch_of : NULL);
	cfs_out_u64_str(out, "stamp", info->stamp);
}
