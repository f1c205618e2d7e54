/* SPDX-License-Identifier: GPL-3.0-or-later */
/* snapctl ls: the snapshots of a volume or of a pool, old to new. */
#include "snapctl/snapctl.h"

#include "base/cleanup.h"

struct listing {
	struct cfs_cmd *cmd;
	struct cfs_table *table;
};

static void out_snapshot(struct cfs_out *out,
			 const struct cfs_snapshot_info *info)
{
	cfs_out_begin_obj(out, NULL);
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
	cfs_out_end(out);
}

static int add(void *arg, const struct cfs_snapshot_info *info)
{
	struct listing *l = arg;

	out_snapshot(l->cmd->out, info);
	cfs_table_fmt(l->table, "%s@%s", info->volume, info->name);
	cfs_table_time(l->table, info->created_ns);
	cfs_table_size(l->table, info->exclusive_bytes);
	cfs_table_size(l->table, info->shared_bytes);
	cfs_table_str(l->table, info->is_held ? "held" : NULL);
	cfs_table_u64(l->table, info->clone_count);
	cfs_table_str(l->table, info->note);
	return 0;
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	CFS_CLEANUP(cfs_table_freep) struct cfs_table *table = NULL;
	struct listing l = { .cmd = cmd };
	int r = cfs_cmd_name(cmd, 0, 0, CFS_NAME_ANY_VOLUME, &name);

	if (r == 0)
		r = snapctl_open(cmd, name.pool, false, &s);
	if (r < 0)
		return r;
	table = cfs_table_new(cmd, "SNAPSHOT|CREATED|>EXCLUSIVE|>SHARED|HELD|"
				   ">CLONES|NOTE");
	l.table = table;
	cfs_out_begin_array(cmd->out, "snapshots");
	r = cfs_session_snapshots(s, name.volume, true, add, &l, &cmd->err);
	cfs_out_end(cmd->out);
	if (r < 0)
		return cfs_cmd_wrap(cmd, cmd->operands[0], r);
	return cfs_table_print(table, cmd);
}

const struct cfs_verb snapctl_ls = {
	.name = "ls",
	.operands = "POOL[:VOLUME]",
	.help = "list snapshots, old to new",
	.more = "EXCLUSIVE is what removing this snapshot alone would free; "
		"SHARED what the volume or other snapshots need too.",
	.examples = "snapctl ls pool.img:vm0\n"
		    "snapctl ls --json pool.img | jq -r '.snapshots[].name'",
	.common = CFS_COMMON_READ,
	.items = "snapshots",
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
