/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * snapctl promote: a clone becomes a container of its own.  What takes long can
 * be stopped and run again; the clone is there until all of it was copied.
 */
#include "snapctl/snapctl.h"

#include "base/cleanup.h"
#include "common/progress.h"

#include <string.h>

static int undo(struct cfs_cmd *cmd, const struct cfs_name *name)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	int r = snapctl_open(cmd, name->pool, true, &s);

	if (r < 0)
		return r;
	r = cfs_session_promote_undo(s, name->volume, &cmd->err);
	r = cfs_cmd_wrap(cmd, cmd->operands[0], r);
	r = snapctl_close(cmd, name->pool, &s, r);
	if (r < 0)
		return r;
	cfs_cmd_say(cmd, "%s: %sgiven up\n", cmd->operands[0],
		    cmd->is_dry_run ? "what was copied would be "
				    : "what was copied is ");
	cfs_out_str(cmd->out, "clone", name->volume);
	cfs_out_bool(cmd->out, "is_undone", true);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
	return 0;
}

static void put(struct cfs_cmd *cmd, const struct cfs_name *name,
		const char *new_name, uint64_t bytes)
{
	char text[CFS_TABLE_SIZE_BYTES];

	cfs_cmd_say(cmd, "%s: %spromoted to %s, %s copied\n", cmd->operands[0],
		    snapctl_would(cmd), new_name,
		    cfs_table_format_size(cmd, bytes, text));
	cfs_out_str(cmd->out, "clone", name->volume);
	cfs_out_str(cmd->out, "name", new_name);
	cfs_out_u64(cmd->out, "copied_bytes", bytes);
	cfs_out_bool(cmd->out, "is_undone", false);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
}

static int promote(struct cfs_cmd *cmd, const struct cfs_name *name,
		   const char *new_name)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	struct cfs_progress *progress = NULL;
	uint64_t bytes = 0;
	int r;

	progress = cfs_progress_begin(cmd, "promote", "bytes", 0);
	r = snapctl_open(cmd, name->pool, true, &s);
	if (r == 0) {
		r = cfs_session_promote(s, name->volume, new_name, &bytes,
					&cmd->err);
		r = cfs_cmd_taken(cmd, new_name, r);
		r = cfs_cmd_wrap(cmd, cmd->operands[0], r);
		r = snapctl_close(cmd, name->pool, &s, r);
	}
	cfs_progress_end(progress);
	if (r == 0)
		put(cmd, name, new_name, bytes);
	else if (bytes && !cmd->is_dry_run)
		cfs_cmd_warn(cmd,
			     "%s: what has been copied is kept: promote it "
			     "again, or give it up with --undo",
			     cmd->operands[0]);
	return r;
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	const char *new_name = NULL;
	int r = cfs_cmd_name(cmd, 0, CFS_NAME_VOLUME | CFS_NAME_CLONE, 0,
			     &name);

	if (r < 0)
		return r;
	if (cfs_cmd_has(cmd, "undo")) {
		if (cmd->operand_count > 1)
			return cfs_cmd_usage(cmd, "--undo takes no NEW");
		return undo(cmd, &name);
	}
	new_name = cmd->operand_count > 1 ? cmd->operands[1]
					  : strchr(name.volume, '/') + 1;
	r = cfs_name_check("container name", new_name, &cmd->err);
	return r < 0 ? r : promote(cmd, &name, new_name);
}

const struct cfs_verb snapctl_promote = {
	.name = "promote",
	.operands = "POOL:NAME/CLONE [NEW]",
	.help = "make a clone a container of its own",
	.more = "NEW is the clone's own name if it is not given. The clone's "
		"snapshots come along; a clone that has clones is refused. "
		"All that they show is copied, so it takes the time of that, "
		"and space for both until the end.\n"
		"The clone may be in use while it is copied, but not at the "
		"end: then the command says so, what was copied is kept, and "
		"another run copies only what changed. So does one behind a "
		"stop or a crash; --undo gives it up.",
	.examples = "snapctl promote pool.img:vm0/test\n"
		    "snapctl promote pool.img:vm0/test vm1\n"
		    "snapctl promote --undo pool.img:vm0/test",
	.opts = CFS_OPTS({ .name = "undo",
			   .type = CFS_OPT_FLAG,
			   .help = "give up what one that broke off has "
				   "copied" }),
	.common = CFS_COMMON_WORK,
	.min_operands = 1,
	.max_operands = 2,
	.run = run,
};
