/* SPDX-License-Identifier: GPL-3.0-or-later */
/* snapctl hold and release: whether a snapshot can be removed. */
#include "snapctl/snapctl.h"

#include "base/cleanup.h"

#include <stdlib.h>

static int change(struct snapctl_one *one, bool hold)
{
	struct cfs_cmd *cmd = one->cmd;
	int r;

	r = cfs_session_snap_hold(one->s, one->name->volume, one->name->snap,
				  hold, &cmd->err);
	if (r < 0)
		return r;
	cfs_cmd_say(cmd, "%s: %s%s\n", one->operand, snapctl_would(cmd),
		    hold ? "held" : "released");
	cfs_out_begin_obj(cmd->out, NULL);
	cfs_out_str(cmd->out, "volume", one->name->volume);
	cfs_out_str(cmd->out, "name", one->name->snap);
	cfs_out_bool(cmd->out, "is_held", hold);
	cfs_out_end(cmd->out);
	return 0;
}

static int hold_one(struct snapctl_one *one)
{
	return change(one, true);
}

static int release_one(struct snapctl_one *one)
{
	return change(one, false);
}

static int change_all(struct cfs_cmd *cmd, int (*act)(struct snapctl_one *))
{
	CFS_CLEANUP(cfs_freep) bool *is_out = NULL;

	is_out = calloc(cmd->operand_count, sizeof(*is_out));
	if (!is_out)
		return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	cfs_out_begin_array(cmd->out, "snapshots");
	(void)snapctl_each(cmd, true, CFS_NAME_VOLUME | CFS_NAME_SNAP,
			   CFS_NAME_CLONE, is_out, act, NULL);
	cfs_out_end(cmd->out);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
	return 0; /* what failed was printed */
}

static int run_hold(struct cfs_cmd *cmd)
{
	return change_all(cmd, hold_one);
}

static int run_release(struct cfs_cmd *cmd)
{
	return change_all(cmd, release_one);
}

const struct cfs_verb snapctl_hold = {
	.name = "hold",
	.operands = "POOL:VOLUME@SNAP...",
	.help = "keep snapshots from being removed",
	.examples = "snapctl hold pool.img:vm0@monday\n"
		    "snapctl hold pool.img:vm0@monday pool.img:vm1@monday",
	.common = CFS_COMMON_WRITE,
	.items = "snapshots",
	.min_operands = 1,
	.max_operands = CFS_OPERANDS_MANY,
	.run = run_hold,
};

const struct cfs_verb snapctl_release = {
	.name = "release",
	.operands = "POOL:VOLUME@SNAP...",
	.help = "let held snapshots be removed again",
	.examples = "snapctl release pool.img:vm0@monday\n"
		    "snapctl release pool.img:vm0@monday pool.img:vm1@monday",
	.common = CFS_COMMON_WRITE,
	.items = "snapshots",
	.min_operands = 1,
	.max_operands = CFS_OPERANDS_MANY,
	.run = run_release,
};
