/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slicectl rename: a container, or a clone within its container. */
#include "slicectl/slicectl.h"

#include "base/cleanup.h"

#include <string.h>

/* NEW alone, and for a clone also NAME/NEW with the container's own name. */
static int check_new(struct cfs_cmd *cmd, const struct cfs_name *name,
		     const char **ret)
{
	const char *text = cmd->operands[1];
	size_t n = strlen(name->container);
	int r;

	if (name->clone && !strncmp(text, name->container, n) && text[n] == '/')
		text += n + 1;
	r = cfs_name_check(name->clone ? "clone name" : "container name", text,
			   &cmd->err);
	if (r == 0)
		*ret = text;
	return r;
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	char full[2 * CFS_NAME_BYTES_MAX + 2];
	const char *new_name = NULL;
	int r = cfs_cmd_name(cmd, 0, CFS_NAME_VOLUME, CFS_NAME_CLONE, &name);

	if (r == 0)
		r = check_new(cmd, &name, &new_name);
	if (r == 0)
		r = slicectl_open(cmd, name.pool, true, &s);
	if (r < 0)
		return r;
	r = cfs_session_rename_volume(s, name.volume, new_name, &cmd->err);
	r = cfs_cmd_taken(cmd, new_name, r);
	r = cfs_cmd_wrap(cmd, cmd->operands[0], r);
	r = slicectl_close(cmd, name.pool, &s, r);
	if (r < 0)
		return r;
	(void)snprintf(full, sizeof(full), "%s%s%s",
		       name.clone ? name.container : "", name.clone ? "/" : "",
		       new_name);
	cfs_cmd_say(cmd, "%s: %srenamed to %s\n", cmd->operands[0],
		    slicectl_would(cmd), full);
	cfs_out_str(cmd->out, "old_name", name.volume);
	cfs_out_str(cmd->out, "name", full);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
	return 0;
}

const struct cfs_verb slicectl_rename = {
	.name = "rename",
	.operands = "POOL:VOLUME NEW",
	.help = "give a volume another name",
	.more = "A container keeps its snapshots and clones. A clone stays in "
		"its container: NEW is its last part.",
	.examples = "slicectl rename pool.img:vm0 web\n"
		    "slicectl rename pool.img:vm0/test test2",
	.common = CFS_COMMON_WRITE,
	.min_operands = 2,
	.max_operands = 2,
	.run = run,
};
