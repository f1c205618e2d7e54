/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slicectl ls: the volumes of a pool, one a line, clones behind their own. */
#include "slicectl/slicectl.h"

#include "base/cleanup.h"

#include <string.h>

struct listing {
	struct cfs_cmd *cmd;
	struct cfs_table *table;
	const char *only; /* NULL: all */
	size_t count;
};

static int add(void *arg, const struct cfs_volume_info *info)
{
	struct listing *l = arg;

	if (l->only && strcmp(info->name, l->only) != 0)
		return 0;
	l->count++;
	cfs_out_begin_obj(l->cmd->out, NULL);
	slicectl_out_volume(l->cmd->out, info);
	cfs_out_end(l->cmd->out);
	cfs_table_str(l->table, info->name);
	cfs_table_str(l->table, slicectl_kind_name(info->kind));
	cfs_table_size(l->table, info->size_bytes);
	cfs_table_size(l->table, info->used_bytes);
	cfs_table_size(l->table, info->shared_bytes);
	cfs_table_u64(l->table, info->snapshot_count);
	cfs_table_str(l->table, info->origin);
	cfs_table_str(l->table, info->state);
	if (strcmp(info->state, "clean") != 0)
		cfs_table_color(l->table, CFS_COLOR_BAD);
	return 0;
}

static int list(struct cfs_cmd *cmd, const struct cfs_name *name)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	CFS_CLEANUP(cfs_table_freep) struct cfs_table *table = NULL;
	struct listing l = { .cmd = cmd };
	int r = slicectl_open(cmd, name->pool, false, &s);

	if (r < 0)
		return r;
	table = cfs_table_new(cmd, "NAME|KIND|>SIZE|>USED|>SHARED|>SNAPSHOTS|"
				   "ORIGIN|STATE");
	l.table = table;
	l.only = name->clone ? name->volume : NULL;
	cfs_out_begin_array(cmd->out, "volumes");
	r = cfs_session_volumes(s, name->container, add, &l, &cmd->err);
	cfs_out_end(cmd->out);
	if (r == 0 && l.only && !l.count)
		r = cfs_err_set(&cmd->err, -ENOENT, "no such volume");
	if (r < 0)
		return cfs_cmd_wrap(cmd, cmd->operands[0], r);
	return cfs_table_print(table, cmd);
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	int r = cfs_cmd_name(cmd, 0, 0, CFS_NAME_ANY_VOLUME, &name);

	return r < 0 ? r : list(cmd, &name);
}

const struct cfs_verb slicectl_ls = {
	.name = "ls",
	.operands = "POOL[:NAME]",
	.help = "list volumes",
	.more = "SIZE is what the volume offers, USED what its blocks take, "
		"and SHARED how much of that a snapshot or a clone's parent "
		"uses too.",
	.examples =
		"slicectl ls pool.img\n"
		"slicectl ls --json pool.img:vm0 | jq '.volumes[].used_bytes'",
	.common = CFS_COMMON_READ,
	.items = "volumes",
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
