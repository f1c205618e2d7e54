/* SPDX-License-Identifier: GPL-3.0-or-later */
/* leasectl shell: the verbs at a prompt (common/shell.h). */
#include "leasectl/leasectl.h"

#include "base/cleanup.h"
#include "common/shell.h"

static int add_volume(void *arg, const struct cfs_volume_info *info)
{
	const cfs_shell_add_fn *add = arg;
	char name[sizeof(info->name) + 1];

	(void)snprintf(name, sizeof(name), ":%s", info->name);
	return (*add)(name);
}

static void list(struct cfs_cmd *cmd, const char *pool, const char *text,
		 cfs_shell_add_fn add)
{
	struct cfs_session_options opt = leasectl_options(cmd);
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;

	(void)text;
	opt.wait_seconds = 0;
	opt.warn = NULL;
	if (cfs_session_open(pool, &opt, &s, NULL) == 0)
		(void)cfs_session_volumes(s, NULL, add_volume, &add, NULL);
}

static int run(struct cfs_cmd *cmd)
{
	static const struct cfs_shell shell = {
		.tool = &leasectl_tool,
		.verb = &leasectl_shell,
		.list = list,
	};
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	const struct cfs_session_options opt = leasectl_options(cmd);
	struct cfs_manager_info info;
	int r = cfs_cmd_name(cmd, 0, 0, 0, &name);

	if (r == 0)
		r = cfs_cmd_wrap(
			cmd, name.pool,
			cfs_manager_find(name.pool, &opt, &info, &cmd->err));
	return r < 0 ? r : cfs_shell_run(&shell, cmd, name.pool);
}

const struct cfs_verb leasectl_shell = {
	.name = "shell",
	.operands = "POOL",
	.help = "the same commands at a prompt, with completion",
	.more = "The pool is left out: 'status', 'renew LEASE', 'acquire "
		":vm0'. Lines come from standard input if that is no "
		"terminal.",
	.examples = "leasectl shell pool.img\n"
		    "echo status | leasectl shell pool.img",
	.common = CFS_COMMON_SEARCH,
	.flags = CFS_VERB_NO_JSON,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
