/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * snapctl take: one snapshot, or several of one pool at the same moment, all
 * of them or none.
 */
#include "snapctl/snapctl.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct batch {
	struct cfs_name *names; /* own what the others point to */
	struct cfs_snap_name *snaps;
	unsigned int count;
};

static void batch_donep(struct batch *b)
{
	unsigned int i;

	for (i = 0; b->names && i < b->count; i++)
		cfs_name_done(&b->names[i]);
	free(b->names);
	free(b->snaps);
}

static int parse(struct cfs_cmd *cmd, struct batch *b)
{
	unsigned int i, k;
	int r;

	b->names = calloc(cmd->operand_count, sizeof(*b->names));
	b->snaps = calloc(cmd->operand_count, sizeof(*b->snaps));
	if (!b->names || !b->snaps)
		return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	for (i = 0; i < cmd->operand_count; i++) {
		r = cfs_cmd_name(cmd, i, CFS_NAME_VOLUME | CFS_NAME_SNAP,
				 CFS_NAME_CLONE, &b->names[i]);
		if (r < 0)
			return r;
		b->count = i + 1;
		for (k = 0; k < i; k++)
			if (strcmp(cmd->operands[k], cmd->operands[i]) == 0)
				return cfs_cmd_usage(cmd, "'%s' is given twice",
						     cmd->operands[i]);
		if (strcmp(b->names[i].pool, b->names[0].pool) != 0)
			return cfs_cmd_usage(cmd,
					     "'%s' is not of the pool %s: "
					     "one command takes snapshots of "
					     "one pool",
					     cmd->operands[i],
					     b->names[0].pool);
		b->snaps[i].volume = b->names[i].volume;
		b->snaps[i].snap = b->names[i].snap;
	}
	return 0;
}

struct search {
	const char *snap;
	bool is_found;
};

static int look(void *arg, const struct cfs_snapshot_info *info)
{
	struct search *search = arg;

	search->is_found |= strcmp(info->name, search->snap) == 0;
	return 0;
}

/* They were not taken: because of which of them? */
static int blame(struct cfs_cmd *cmd, struct cfs_session *s,
		 const struct batch *b, int r)
{
	struct cfs_err why = CFS_ERR_INIT;
	unsigned int i;
	int got;

	for (i = 0; i < b->count && (r == -EEXIST || r == -ENOENT); i++) {
		struct search search = { .snap = b->snaps[i].snap };

		got = cfs_session_snapshots(s, b->snaps[i].volume, false, look,
					    &search, &why);
		if (got == 0 && search.is_found)
			got = cfs_err_set(&why, -EEXIST, "it exists already");
		if (got != r)
			continue;
		cmd->err = why;
		return cfs_cmd_wrap(cmd, cmd->operands[i], r);
	}
	return cfs_cmd_wrap(
		cmd, b->count == 1 ? cmd->operands[0] : b->names[0].pool, r);
}

static int take(struct cfs_cmd *cmd, const struct batch *b)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	const char *pool = b->names[0].pool;
	int r = snapctl_open(cmd, pool, true, &s);

	if (r < 0)
		return r;
	r = cfs_session_snap_take(s, b->snaps, b->count,
				  cfs_cmd_str(cmd, "note", NULL), &cmd->err);
	r = blame(cmd, s, b, r);
	return snapctl_close(cmd, pool, &s, r);
}

static void put(struct cfs_cmd *cmd, const struct batch *b)
{
	unsigned int i;

	cfs_out_begin_array(cmd->out, "snapshots");
	for (i = 0; i < b->count; i++) {
		cfs_cmd_say(cmd, "%s: %staken\n", cmd->operands[i],
			    snapctl_would(cmd));
		cfs_out_begin_obj(cmd->out, NULL);
		cfs_out_str(cmd->out, "volume", b->snaps[i].volume);
		cfs_out_str(cmd->out, "name", b->snaps[i].snap);
		cfs_out_end(cmd->out);
	}
	cfs_out_end(cmd->out);
	cfs_out_str(cmd->out, "note", cfs_cmd_str(cmd, "note", ""));
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(batch_donep) struct batch b = { .count = 0 };
	int r = parse(cmd, &b);

	if (r == 0)
		r = take(cmd, &b);
	if (r == 0)
		put(cmd, &b);
	return r;
}

const struct cfs_verb snapctl_take = {
	.name = "take",
	.operands = "POOL:VOLUME@SNAP...",
	.help = "take snapshots, several at one moment",
	.more = "Several snapshots of one pool are taken at the same moment: "
		"all of them, or none.",
	.examples =
		"snapctl take --note 'before the upgrade' pool.img:vm0@monday\n"
		"snapctl take pool.img:db@1 pool.img:log@1",
	.opts = CFS_OPTS(
		{ .name = "note",
		  .type = CFS_OPT_STRING,
		  .argument = "TEXT",
		  .help = "what to remember about them, up to 255 bytes" }),
	.common = CFS_COMMON_WRITE,
	.items = "snapshots",
	.min_operands = 1,
	.max_operands = CFS_OPERANDS_MANY,
	.run = run,
};
