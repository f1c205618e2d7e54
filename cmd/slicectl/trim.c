/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * slicectl trim: slices without live blocks go back to the pool, and the
 * pool's free slices back to the devices below it.
 */
#include "slicectl/slicectl.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "common/progress.h"

static void put(struct cfs_cmd *cmd, const struct cfs_trim_result *result)
{
	char text[CFS_TABLE_SIZE_BYTES];

	cfs_cmd_say(cmd,
		    "%s: %llu %s %sgiven back to the pool, %s to its "
		    "devices\n",
		    cmd->operands[0],
		    (unsigned long long)result->returned_slices,
		    cfs_plural(result->returned_slices, "slice", "slices"),
		    slicectl_would(cmd),
		    cfs_table_format_size(cmd, result->discarded_bytes, text));
	cfs_out_u64(cmd->out, "returned_slices", result->returned_slices);
	cfs_out_u64(cmd->out, "discarded_bytes", result->discarded_bytes);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	struct cfs_progress *progress;
	struct cfs_trim_result result;
	int r = cfs_cmd_name(cmd, 0, 0, CFS_NAME_VOLUME, &name);

	if (r == 0)
		r = slicectl_open(cmd, name.pool, true, &s);
	if (r < 0)
		return r;
	progress = cfs_progress_begin(cmd, "trim", "bytes", 0);
	r = cfs_session_trim(s, name.container, &result, &cmd->err);
	cfs_progress_end(progress);
	r = cfs_cmd_wrap(cmd, cmd->operands[0], r);
	r = slicectl_close(cmd, name.pool, &s, r);
	if (r == 0)
		put(cmd, &result);
	return r;
}

const struct cfs_verb slicectl_trim = {
	.name = "trim",
	.operands = "POOL[:NAME]",
	.help = "give back space that holds nothing",
	.more = "Slices without live blocks go back to the pool. Without "
		"NAME, the pool's free slices are discarded on the devices "
		"too: a sparse file below gets smaller.",
	.examples = "slicectl trim pool.img\n"
		    "slicectl trim pool.img:vm0",
	.common = CFS_COMMON_WORK,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
