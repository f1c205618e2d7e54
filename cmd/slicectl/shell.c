/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slicectl shell: the verbs at a prompt (common/shell.h). */
#include "slicectl/slicectl.h"

#include "base/cleanup.h"
#include "common/shell.h"

#include <string.h>

static int add_volume(void *arg, const struct cfs_volume_info *info)
{
	const cfs_shell_add_fn *add = arg;
	char name[sizeof(info->name) + 1];

	(void)snprintf(name, sizeof(name), ":%s", info->name);
	return (*add)(name);
}

static int add_snapshot(void *arg, const struct cfs_snapshot_info *info)
{
	const cfs_shell_add_fn *add = arg;
	char name[sizeof(info->volume) + sizeof(info->name) + 2];

	(void)snprintf(name, sizeof(name), ":%s@%s", info->volume, info->name);
	return (*add)(name);
}

static void list(struct cfs_cmd *cmd, const char *pool, const char *text,
		 cfs_shell_add_fn add)
{
	struct cfs_session_options opt = { CFS_CMD_SESSION(cmd) };
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	char volume[260] = "";
	size_t length = strcspn(text, "@");

	opt.wait_seconds = 0;
	opt.warn = NULL;
	if (cfs_session_open(pool, &opt, &s, NULL) < 0)
		return;
	if (!text[length]) {
		(void)cfs_session_volumes(s, NULL, add_volume, &add, NULL);
	} else if (length - 1 < sizeof(volume)) {
		memcpy(volume, text + 1, length - 1);
		(void)cfs_session_snapshots(s, volume, false, add_snapshot,
					    &add, NULL);
	}
}

/* Opened once, so that a wrong name is told before the prompt. */
static int run(struct cfs_cmd *cmd)
{
	static const struct cfs_shell shell = {
		.tool = &slicectl_tool,
		.verb = &slicectl_shell,
		.list = list,
	};
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	struct cfs_session *s;
	int r = cfs_cmd_name(cmd, 0, 0, 0, &name);

	if (r == 0)
		r = slicectl_open(cmd, name.pool, false, &s);
	if (r == 0)
		r = slicectl_close(cmd, name.pool, &s, 0);
	return r < 0 ? r : cfs_shell_run(&shell, cmd, name.pool);
}

const struct cfs_verb slicectl_shell = {
	.name = "shell",
	.operands = "POOL",
	.help = "the same commands at a prompt, with completion",
	.more = "The pool is left out: 'ls', 'show :vm0', 'resize :vm0 +1G'. "
		"Lines come from standard input if that is no terminal.",
	.examples = "slicectl shell pool.img\n"
		    "echo ls | slicectl shell pool.img",
	.common = CFS_COMMON_WAIT | CFS_COMMON_SEARCH,
	.flags = CFS_VERB_NO_JSON,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
