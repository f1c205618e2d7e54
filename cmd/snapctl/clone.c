/* SPDX-License-Identifier: GPL-3.0-or-later */
/* snapctl clone: a writable volume that begins as a snapshot is. */
#include "snapctl/snapctl.h"

#include "base/cleanup.h"

#include <string.h>

/* CLONE, or NAME/CLONE with the container's own name. */
static int check_new(struct cfs_cmd *cmd, const struct cfs_name *name,
		     const char **ret)
{
	const char *text = cmd->operands[1];
	size_t n = strlen(name->container);
	int r;

	if (!strncmp(text, name->container, n) && text[n] == '/')
		text += n + 1;
	r = cfs_name_check("clone name", text, &cmd->err);
	if (r == 0)
		*ret = text;
	return r;
}

static void put(struct cfs_cmd *cmd, const struct cfs_name *name,
		const char *clone)
{
	char full[2 * CFS_NAME_BYTES_MAX + 2];
	char origin[3 * CFS_NAME_BYTES_MAX + 3];

	(void)snprintf(full, sizeof(full), "%s/%s", name->container, clone);
	(void)snprintf(origin, sizeof(origin), "%s@%s", name->volume,
		       name->snap);
	cfs_cmd_say(cmd, "%s: %smade from %s\n", full, snapctl_would(cmd),
		    origin);
	cfs_out_begin_obj(cmd->out, "clone");
	cfs_out_str(cmd->out, "name", full);
	cfs_out_str(cmd->out, "origin", origin);
	cfs_out_end(cmd->out);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	const char *clone = NULL;
	int r = cfs_cmd_name(cmd, 0, CFS_NAME_VOLUME | CFS_NAME_SNAP,
			     CFS_NAME_CLONE, &name);

	if (r == 0)
		r = check_new(cmd, &name, &clone);
	if (r == 0)
		r = snapctl_open(cmd, name.pool, true, &s);
	if (r < 0)
		return r;
	r = cfs_session_snap_clone(s, name.volume, name.snap, clone, &cmd->err);
	r = cfs_cmd_taken(cmd, clone, r);
	r = cfs_cmd_wrap(cmd, cmd->operands[0], r);
	r = snapctl_close(cmd, name.pool, &s, r);
	if (r == 0)
		put(cmd, &name, clone);
	return r;
}

const struct cfs_verb snapctl_clone = {
	.name = "clone",
	.operands = "POOL:VOLUME@SNAP CLONE",
	.help = "make a writable clone of a snapshot",
	.more = "The clone is POOL:NAME/CLONE, in the container of the "
		"snapshot, and takes space only for what changes.",
	.examples = "snapctl clone pool.img:vm0@monday test\n"
		    "snapctl clone -n pool.img:vm0/test@a test2",
	.common = CFS_COMMON_WRITE,
	.min_operands = 2,
	.max_operands = 2,
	.run = run,
};
