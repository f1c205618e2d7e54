/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * snapctl rollback: what the volume holds now is lost, unless it is saved as
 * a snapshot first; so it asks, but not with --save.
 */
#include "snapctl/snapctl.h"

#include "base/cleanup.h"

/* An object that is not there is not worth a question. */
static int ask(struct cfs_cmd *cmd, const struct cfs_name *name)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	struct cfs_snapshot_info info;
	int r;

	if (cmd->is_yes || cmd->is_dry_run || cfs_cmd_has(cmd, "save"))
		return 0;
	r = snapctl_open(cmd, name->pool, false, &s);
	if (r < 0)
		return r;
	r = cfs_session_snapshot_brief(s, name->volume, name->snap, &info,
				       &cmd->err);
	if (r < 0)
		return cfs_cmd_wrap(cmd, cmd->operands[0], r);
	cfs_session_closep(&s);
	s = NULL;
	return cfs_cmd_confirm(cmd, cmd->operands[0], "what %s holds now",
			       name->volume);
}

static void put(struct cfs_cmd *cmd, const struct cfs_name *name,
		const char *save)
{
	cfs_cmd_say(cmd, "%s: %srolled back%s%s\n", cmd->operands[0],
		    snapctl_would(cmd),
		    save ? ", what it replaces saved as @" : "",
		    save ? save : "");
	cfs_out_str(cmd->out, "volume", name->volume);
	cfs_out_str(cmd->out, "name", name->snap);
	cfs_out_str(cmd->out, "saved_as", save);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	const char *save = cfs_cmd_str(cmd, "save", NULL);
	int r = cfs_cmd_name(cmd, 0, CFS_NAME_VOLUME | CFS_NAME_SNAP,
			     CFS_NAME_CLONE, &name);

	if (r == 0 && save)
		r = cfs_name_parse_snap(save, &save, &cmd->err);
	if (r == 0)
		r = ask(cmd, &name);
	if (r == 0)
		r = snapctl_open(cmd, name.pool, true, &s);
	if (r < 0)
		return r;
	r = cfs_session_snap_rollback(s, name.volume, name.snap, save,
				      &cmd->err);
	r = cfs_cmd_taken(cmd, save, r);
	r = cfs_cmd_wrap(cmd, cmd->operands[0], r);
	r = snapctl_close(cmd, name.pool, &s, r);
	if (r == 0)
		put(cmd, &name, save);
	return r;
}

const struct cfs_verb snapctl_rollback = {
	.name = "rollback",
	.operands = "POOL:VOLUME@SNAP",
	.help = "make a volume what it was then",
	.more = "All snapshots stay, newer ones too. What the volume holds "
		"now is lost unless --save keeps it, so without --save it "
		"asks.",
	.examples = "snapctl rollback --save broken pool.img:vm0@monday\n"
		    "snapctl rollback -y pool.img:vm0@monday",
	.opts = CFS_OPTS(
		{ .name = "save",
		  .type = CFS_OPT_STRING,
		  .argument = "SNAP",
		  .help = "first take this snapshot of what is replaced" }),
	.common = CFS_COMMON_WRITE | CFS_COMMON_DESTROY,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
