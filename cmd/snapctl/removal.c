/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "snapctl/removal.h"

#include "base/text.h"

#include <assert.h>

void snapctl_removal_donep(struct snapctl_removal *removal)
{
	snapctl_list_donep(&removal->skipped);
}

bool snapctl_is_stuck(const struct cfs_snapshot_info *info)
{
	assert(info);
	return info->is_held || info->clone_count;
}

static int skip(struct snapctl_removal *removal, struct snapctl_one *one,
		const struct cfs_snapshot_info *info)
{
	if (cfs_vec_push(&removal->skipped.snaps, *info) < 0)
		return cfs_err_set(&one->cmd->err, -ENOMEM, "out of memory");
	cfs_cmd_warn(one->cmd, "%s:%s@%s: %s: skipped", one->name->pool,
		     info->volume, info->name,
		     info->is_held ? "is held" : "has clones");
	return 0;
}

int snapctl_removal_add(struct snapctl_removal *removal,
			struct snapctl_one *one,
			const struct cfs_snapshot_info *info)
{
	if (snapctl_is_stuck(info))
		return skip(removal, one, info);
	removal->infos[removal->count++] = info;
	if (removal->count < CFS_SNAP_REMOVE_MAX)
		return 0;
	return snapctl_removal_flush(removal, one);
}

static void put_removed(struct snapctl_one *one,
			const struct cfs_snapshot_info *info, uint64_t freed)
{
	struct cfs_cmd *cmd = one->cmd;
	char text[CFS_TABLE_SIZE_BYTES];

	cfs_cmd_say(cmd, "%s:%s@%s: %sremoved, %s free\n", one->name->pool,
		    info->volume, info->name, snapctl_would(cmd),
		    cfs_table_format_size(cmd, freed, text));
	cfs_out_begin_obj(cmd->out, NULL);
	cfs_out_str(cmd->out, "volume", info->volume);
	cfs_out_str(cmd->out, "name", info->name);
	cfs_out_u64(cmd->out, "freed_bytes", freed);
	cfs_out_end(cmd->out);
}

int snapctl_removal_flush(struct snapctl_removal *removal,
			  struct snapctl_one *one)
{
	const unsigned int count = removal->count;
	const char *names[CFS_SNAP_REMOVE_MAX];
	uint64_t freed[CFS_SNAP_REMOVE_MAX] = { 0 };
	int r;

	removal->count = 0;
	if (count == 0)
		return 0;
	for (unsigned int i = 0; i < count; i++)
		names[i] = removal->infos[i]->name;
	if (cfs_cmd_is_stopped(NULL))
		return cfs_err_set(&one->cmd->err, -EINTR, "stopped before @%s",
				   names[0]);
	r = cfs_session_snap_remove_many(one->s, one->name->volume, names,
					 count, freed, &one->cmd->err);
	for (unsigned int i = 0; r == 0 && i < count; i++)
		put_removed(one, removal->infos[i], freed[i]);
	return r;
}

void snapctl_removal_end(const struct snapctl_removal *removal,
			 struct cfs_cmd *cmd)
{
	cfs_out_begin_array(cmd->out, "skipped");
	for (size_t i = 0; i < removal->skipped.snaps.count; i++) {
		const struct cfs_snapshot_info *info =
			&removal->skipped.snaps.items[i];

		cfs_out_begin_obj(cmd->out, NULL);
		cfs_out_str(cmd->out, "volume", info->volume);
		cfs_out_str(cmd->out, "name", info->name);
		cfs_out_bool(cmd->out, "is_held", info->is_held);
		cfs_out_u64(cmd->out, "clones", info->clone_count);
		cfs_out_end(cmd->out);
	}
	cfs_out_end(cmd->out);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
}
