/* SPDX-License-Identifier: GPL-3.0-or-later */
/* snapctl diff: what changed since a snapshot. */
#include "snapctl/snapctl.h"

#include "base/cleanup.h"
#include "session/stream.h"

#include <string.h>

struct seen {
	struct cfs_cmd *cmd;
	bool is_tree;
	uint64_t count;
	uint64_t bytes;
};

static int see_path(struct cfs_cmd *cmd, const struct cfs_diff_item *i)
{
	cfs_out_begin_obj(cmd->out, NULL);
	cfs_out_str(cmd->out, "path", i->path);
	cfs_out_str(cmd->out, "change", i->change);
	if (i->old_path)
		cfs_out_str(cmd->out, "old_path", i->old_path);
	cfs_out_end(cmd->out);
	if (i->old_path)
		cfs_cmd_print(cmd, "%-8s  %s -> %s\n", i->change, i->old_path,
			      i->path);
	else
		cfs_cmd_print(cmd, "%-8s  %s\n", i->change, i->path);
	return 0;
}

static int see(void *arg, const struct cfs_diff_item *i)
{
	struct seen *seen = arg;
	struct cfs_cmd *cmd = seen->cmd;

	seen->count++;
	if (seen->is_tree)
		return see_path(cmd, i);
	seen->bytes += i->length_bytes;
	cfs_out_begin_obj(cmd->out, NULL);
	cfs_out_u64(cmd->out, "offset_bytes", i->offset_bytes);
	cfs_out_u64(cmd->out, "length_bytes", i->length_bytes);
	cfs_out_end(cmd->out);
	cfs_cmd_print(cmd, "%16llu  %16llu\n",
		      (unsigned long long)i->offset_bytes,
		      (unsigned long long)i->length_bytes);
	return 0;
}

static int kind_of(struct cfs_cmd *cmd, struct cfs_session *s,
		   const char *volume, bool *ret_is_tree)
{
	struct cfs_volume_info info;
	int r = cfs_session_volume(s, volume, &info, &cmd->err);

	if (r == 0)
		*ret_is_tree = info.kind == CFS_VOLUME_TREE;
	return r;
}

static int diff(struct cfs_cmd *cmd, const struct cfs_name *from,
		const struct cfs_name *to, struct cfs_session *s)
{
	const struct cfs_session_diff of = {
		.volume = from->volume,
		.snap = from->snap,
		.to_volume = to->volume ? to->volume : from->volume,
		.to_snap = to->snap,
	};
	struct seen seen = { .cmd = cmd };
	int r = kind_of(cmd, s, of.to_volume, &seen.is_tree);

	if (r < 0)
		return cfs_cmd_wrap(cmd, cmd->operands[0], r);
	cmd->items = seen.is_tree ? "paths" : "ranges";
	cfs_out_begin_array(cmd->out, cmd->items);
	if (!seen.is_tree)
		cfs_cmd_print(cmd, "%16s  %16s\n", "OFFSET", "LENGTH");
	r = cfs_session_diff(s, &of, see, &seen, &cmd->err);
	cfs_out_end(cmd->out);
	return cfs_cmd_wrap(cmd, cmd->operands[0], r);
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name from = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_name_done) struct cfs_name to = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	int r = cfs_cmd_name(cmd, 0, CFS_NAME_VOLUME | CFS_NAME_SNAP,
			     CFS_NAME_CLONE, &from);

	if (r == 0 && cmd->operand_count > 1)
		r = cfs_cmd_name(cmd, 1, CFS_NAME_VOLUME,
				 CFS_NAME_CLONE | CFS_NAME_SNAP, &to);
	if (r < 0)
		return r;
	if (to.pool && strcmp(from.pool, to.pool) != 0)
		return cfs_cmd_usage(cmd, "'%s' is not of the pool %s",
				     cmd->operands[1], from.pool);
	r = snapctl_open(cmd, from.pool, false, &s);
	if (r < 0)
		return r;
	r = diff(cmd, &from, &to, s);
	return snapctl_close(cmd, from.pool, &s, r);
}

const struct cfs_verb snapctl_diff = {
	.name = "diff",
	.operands = "POOL:VOLUME@A [POOL:VOLUME[@B]]",
	.help = "what changed since a snapshot",
	.more = "Of a LUN ranges of bytes, of a tree paths: added, removed, "
		"modified, renamed. Without B the volume as it is is looked "
		"at. Both are of one container, and have an ancestor in "
		"common. The cost follows what changed.",
	.examples =
		"snapctl diff pool.img:vm0@monday\n"
		"snapctl diff --json pool.img:docs@a pool.img:docs@b | jq .paths",
	.common = CFS_COMMON_READ,
	.items = "paths",
	.min_operands = 1,
	.max_operands = 2,
	.run = run,
};
