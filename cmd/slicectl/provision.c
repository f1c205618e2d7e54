/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slicectl provision: space that a container has at hand, whoever else writes.
 */
#include "slicectl/slicectl.h"

#include "base/cleanup.h"
#include "base/units.h"

#include <stdio.h>
#include <string.h>

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	const bool is_none = strcmp(cmd->operands[1], "none") == 0;
	char text[CFS_TABLE_SIZE_BYTES], value[32];
	uint64_t bytes = 0;
	int r = cfs_cmd_name(cmd, 0, 0, CFS_NAME_VOLUME, &name);

	if (r == 0 && !name.volume)
		r = cfs_cmd_usage(cmd, "'%s' is no container: POOL:NAME",
				  cmd->operands[0]);
	if (r == 0 && !is_none)
		r = cfs_cmd_size(cmd, 1, &bytes);
	if (r == 0)
		r = slicectl_open(cmd, name.pool, true, &s);
	if (r < 0)
		return r;
	snprintf(value, sizeof(value), "%llu", (unsigned long long)bytes);
	r = cfs_session_set(s, name.volume, "provision", value, &cmd->err);
	r = cfs_cmd_wrap(cmd, cmd->operands[0], r);
	r = slicectl_close(cmd, name.pool, &s, r);
	if (r < 0)
		return r;
	cfs_cmd_say(cmd, "%s: %s %skept at hand\n", cmd->operands[0],
		    bytes ? cfs_table_format_size(cmd, bytes, text) : "nothing",
		    slicectl_would(cmd));
	cfs_out_str(cmd->out, "volume", name.volume);
	cfs_out_u64(cmd->out, "provision_bytes", bytes);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
	return 0;
}

const struct cfs_verb slicectl_provision = {
	.name = "provision",
	.operands = "POOL:NAME SIZE|none",
	.help = "keep this much space at hand for a container",
	.more = "From then on the container can take so much of the pool, what "
		"it uses already included, however full others make it. If "
		"the pool has too little left it is refused at once. With "
		"none, or 0, what it does not use goes back.",
	.examples = "slicectl provision pool.img:vm0 20G\n"
		    "slicectl provision pool.img:vm0 none",
	.common = CFS_COMMON_WRITE,
	.min_operands = 2,
	.max_operands = 2,
	.run = run,
};
