/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slicectl show: one pool, volume or snapshot, with everything known of it. */
#include "slicectl/slicectl.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/units.h"
#include "base/uuid.h"
#include "ondisk/table.h"

#include <string.h>

struct listing {
	struct cfs_cmd *cmd;
	struct cfs_table *table;
};

static void put_uuid(struct cfs_table *t, const char *key,
		     const uint8_t uuid[CFS_UUID_BYTES])
{
	char text[CFS_UUID_TEXT_BYTES];

	cfs_table_str(t, key);
	cfs_table_str(t, cfs_uuid_is_null(uuid) ? NULL
						: cfs_uuid_format(uuid, text));
}

static void put_str(struct cfs_table *t, const char *key, const char *value)
{
	cfs_table_str(t, key);
	cfs_table_str(t, value);
}

static void put_u64(struct cfs_table *t, const char *key, uint64_t n)
{
	cfs_table_str(t, key);
	cfs_table_u64(t, n);
}

static void put_size(struct cfs_table *t, const char *key, uint64_t bytes)
{
	cfs_table_str(t, key);
	cfs_table_size(t, bytes);
}

static void put_time(struct cfs_table *t, const char *key, uint64_t ns)
{
	cfs_table_str(t, key);
	cfs_table_time(t, ns);
}

/* ----------------------------------------------------------------- pool */

static void put_slices(struct cfs_table *t, const struct cfs_pool_info *info)
{
	char text[CFS_SIZE_TEXT_BYTES];

	cfs_table_str(t, "Slices:");
	cfs_table_fmt(t,
		      "%llu of %s: %llu free, %llu lent, %llu frozen, "
		      "%llu damaged",
		      (unsigned long long)info->slices,
		      cfs_size_format(info->slice_bytes, text),
		      (unsigned long long)info->free_slices,
		      (unsigned long long)info->lent_slices,
		      (unsigned long long)info->frozen_slices,
		      (unsigned long long)info->bad_slices);
}

static void put_pool(struct cfs_table *t, const struct cfs_pool_info *info)
{
	char text[CFS_DURATION_TEXT_BYTES];

	put_str(t, "Pool:", info->name);
	put_uuid(t, "UUID:", info->uuid);
	put_str(t, "State:", cfs_pool_state_name(info->state));
	cfs_table_color(t, slicectl_pool_color(info->state));
	put_str(t, "Mirror:", info->is_mirror ? "yes" : "no");
	put_str(t, "Shared:", info->is_shared ? "yes" : "no");
	put_time(t, "Created:", info->created_ns);
	cfs_table_str(t, "Devices:");
	cfs_table_fmt(t, "%u of %u present", info->devices_present,
		      info->device_count);
	put_slices(t, info);
	put_size(t, "Size:", info->size_bytes);
	put_size(t, "Capacity:", info->capacity_bytes);
	put_size(t, "Used:", info->used_bytes);
	put_size(t, "Free:", info->free_bytes);
	put_u64(t, "Damaged blocks:", info->damaged_blocks);
	put_u64(t, "Containers:", info->container_count);
	if (info->is_shared)
		put_u64(t, "Takeovers left:", info->takeovers_left);
	put_u64(t, "Epoch:", info->epoch);
	put_str(t, "Lease period:",
		cfs_duration_format(info->lease_period_ns, text));
	cfs_table_str(t, "Clock drift:");
	cfs_table_fmt(t, "%llu ppm", (unsigned long long)info->clock_drift_ppm);
	put_size(t, "Cache:", info->cache_bytes);
	put_str(t, "Checked:", info->is_checked ? "yes" : "no");
}

static int add_device(void *arg, const struct cfs_device_info *info)
{
	struct listing *l = arg;

	slicectl_out_device(l->cmd->out, info);
	cfs_table_fmt(l->table, "Device %u:", info->index);
	cfs_table_fmt(l->table, "%s (%s, %s)",
		      info->path[0] ? info->path : "missing", info->kind,
		      info->state);
	return 0;
}

static int show_pool(struct cfs_cmd *cmd, struct cfs_session *s,
		     struct cfs_table *table)
{
	struct listing l = { .cmd = cmd, .table = table };
	struct cfs_pool_info info;
	int r = cfs_session_pool_info(s, &info, &cmd->err);

	if (r < 0)
		return r;
	put_pool(table, &info);
	cfs_out_begin_obj(cmd->out, "pool");
	slicectl_out_pool(cmd->out, &info);
	cfs_out_begin_array(cmd->out, "devices");
	r = cfs_session_devices(s, add_device, &l, &cmd->err);
	cfs_out_end(cmd->out);
	cfs_out_end(cmd->out);
	return r;
}

/* --------------------------------------------------------------- volume */

static void put_volume(struct cfs_table *t, const struct cfs_volume_info *v)
{
	put_str(t, "Volume:", v->name);
	put_str(t, "Kind:", slicectl_kind_name(v->kind));
	put_str(t, "State:", v->state);
	cfs_table_color(t, strcmp(v->state, "clean") ? CFS_COLOR_BAD
						     : CFS_COLOR_GOOD);
	put_size(t, "Size:", v->size_bytes);
	put_size(t, "Used:", v->used_bytes);
	put_size(t, "Shared:", v->shared_bytes);
	cfs_table_str(t, "Limit:");
	if (v->limit_bytes)
		cfs_table_size(t, v->limit_bytes);
	else
		cfs_table_str(t, "none");
	if (v->provision_bytes)
		put_size(t, "At hand:", v->provision_bytes);
	put_str(t, "Checked:", v->is_checked ? "yes" : "no");
	if (v->kind == CFS_VOLUME_TREE)
		put_u64(t, "Inodes:", v->inode_count);
	put_time(t, "Created:", v->created_ns);
	put_str(t, "Origin:", v->origin);
	put_u64(t, "Snapshots:", v->snapshot_count);
	put_u64(t, "Clones:", v->clone_count);
	put_u64(t, "Damaged blocks:", v->damaged_blocks);
	put_u64(t, "Volume id:", v->volume_id);
	put_uuid(t, "Container:", v->container_uuid);
	put_u64(t, "Container id:", v->container_id);
	put_u64(t, "Container slices:", v->slice_count);
	put_size(t, "Container used:", v->container_used_bytes);
}

static int show_volume(struct cfs_cmd *cmd, struct cfs_session *s,
		       struct cfs_table *table, const char *volume)
{
	struct cfs_volume_info info;
	int r = cfs_session_volume(s, volume, &info, &cmd->err);

	if (r < 0)
		return r;
	put_volume(table, &info);
	cfs_out_begin_obj(cmd->out, "volume");
	slicectl_out_volume(cmd->out, &info);
	cfs_out_end(cmd->out);
	return 0;
}

static int show_snapshot(struct cfs_cmd *cmd, struct cfs_session *s,
			 struct cfs_table *t, const struct cfs_name *name)
{
	struct cfs_snapshot_info info;
	int r = cfs_session_snapshot(s, name->volume, name->snap, &info,
				     &cmd->err);

	if (r < 0)
		return r;
	cfs_table_str(t, "Snapshot:");
	cfs_table_fmt(t, "%s@%s", info.volume, info.name);
	put_time(t, "Created:", info.created_ns);
	put_str(t, "Note:", info.note);
	put_size(t, "Size:", info.size_bytes);
	put_size(t, "Exclusive:", info.exclusive_bytes);
	put_size(t, "Shared:", info.shared_bytes);
	put_str(t, "Held:", info.is_held ? "yes" : "no");
	put_u64(t, "Clones:", info.clone_count);
	put_str(t, "Branch of:", info.branch_of);
	put_u64(t, "Stamp:", info.stamp);
	cfs_out_begin_obj(cmd->out, "snapshot");
	slicectl_out_snapshot(cmd->out, &info);
	cfs_out_end(cmd->out);
	return 0;
}

static int show(struct cfs_cmd *cmd, const struct cfs_name *name)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	CFS_CLEANUP(cfs_table_freep) struct cfs_table *table = NULL;
	int r = slicectl_open(cmd, name->pool, false, &s);

	if (r < 0)
		return r;
	table = cfs_table_new_facts(cmd);
	if (name->snap)
		r = show_snapshot(cmd, s, table, name);
	else if (name->volume)
		r = show_volume(cmd, s, table, name->volume);
	else
		r = show_pool(cmd, s, table);
	if (r < 0)
		return cfs_cmd_wrap(cmd, cmd->operands[0], r);
	return cfs_table_print(table, cmd);
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	int r = cfs_cmd_name(cmd, 0, 0, CFS_NAME_ANY_SNAP, &name);

	return r < 0 ? r : show(cmd, &name);
}

const struct cfs_verb slicectl_show = {
	.name = "show",
	.operands = "POOL[:VOLUME[@SNAP]]",
	.help = "show everything known about one object",
	.examples =
		"slicectl show pool.img\n"
		"slicectl show pool.img:vm0\n"
		"slicectl show --json pool.img:vm0@monday | jq .snapshot.note",
	.common = CFS_COMMON_READ,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
