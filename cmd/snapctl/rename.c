/* SPDX-License-Identifier: GPL-3.0-or-later */
/* snapctl rename: a snapshot's name; its time and its place stay. */
#include "snapctl/snapctl.h"

#include "base/cleanup.h"

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	const char *new_name = NULL;
	int r = cfs_cmd_name(cmd, 0, CFS_NAME_VOLUME | CFS_NAME_SNAP,
			     CFS_NAME_CLONE, &name);

	if (r == 0)
		r = cfs_name_parse_snap(cmd->operands[1], &new_name, &cmd->err);
	if (r == 0)
		r = snapctl_open(cmd, name.pool, true, &s);
	if (r < 0)
		return r;
	r = cfs_session_snap_rename(s, name.volume, name.snap, new_name,
				    &cmd->err);
	r = cfs_cmd_taken(cmd, new_name, r);
	r = cfs_cmd_wrap(cmd, cmd->operands[0], r);
	r = snapctl_close(cmd, name.pool, &s, r);
	if (r < 0)
		return r;
	cfs_cmd_say(cmd, "%s: %srenamed to @%s\n", cmd->operands[0],
		    snapctl_would(cmd), new_name);
	cfs_out_str(cmd->out, "volume", name.volume);
	cfs_out_str(cmd->out, "old_name", name.snap);
	cfs_out_str(cmd->out, "name", new_name);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
	return 0;
}

const struct cfs_verb snapctl_rename = {
	.name = "rename",
	.operands = "POOL:VOLUME@SNAP NEW",
	.help = "give a snapshot another name",
	.examples = "snapctl rename pool.img:vm0@monday good\n"
		    "snapctl rename -n pool.img:vm0/test@a b",
	.common = CFS_COMMON_WRITE,
	.min_operands = 2,
	.max_operands = 2,
	.run = run,
};
