/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * cfsck-heal trace: from a place on a device to the volume, file, offset and
 * snapshots that it belongs to; for one place, or for all known damage.
 */
#include "cfsck-heal/cfsck.h"

#include "base/cleanup.h"
#include "base/units.h"

#include <string.h>

struct trace {
	struct cfs_cmd *cmd;
	struct cfs_table *table;
	uint64_t left;
};

static int add(void *arg, const struct cfs_damage *damage)
{
	struct trace *trace = arg;

	trace->left += !damage->is_healed;
	cfsck_put_damage(trace->cmd, trace->table, damage);
	return 0;
}

/* DEVICE:OFFSET; the device's name may have colons, the offset has none. */
static int parse_place(struct cfs_cmd *cmd, const char *text, char **ret_device,
		       uint64_t *ret_offset)
{
	const char *colon = strrchr(text, ':');

	if (!colon || colon == text ||
	    cfs_size_parse(colon + 1, ret_offset, NULL) < 0)
		return cfs_cmd_usage(cmd, "--at %s: not DEVICE:OFFSET", text);
	*ret_device = strndup(text, (size_t)(colon - text));
	if (!*ret_device)
		return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	return 0;
}

static int trace_all(struct trace *trace, const char *pool, const char *device,
		     uint64_t offset)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	struct cfs_cmd *cmd = trace->cmd;
	int r = cfsck_open(cmd, pool, false, &s);

	if (r < 0)
		return r;
	cmd->items = device ? "blocks" : "damage";
	cfs_out_begin_array(cmd->out, cmd->items);
	if (device)
		r = cfs_session_trace_at(s, device, offset, add, trace,
					 &cmd->err);
	else
		r = cfs_session_trace_bad(s, add, trace, &cmd->err);
	cfs_out_end(cmd->out);
	r = cfs_cmd_wrap(cmd, pool, r);
	r = cfsck_close(cmd, pool, &s, r);
	if (r == 0)
		r = cfs_table_print(trace->table, cmd);
	if (r == 0 && !device && trace->left)
		cfs_cmd_raise(cmd, CFS_FSCK_DAMAGE_LEFT);
	return r;
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_table_freep) struct cfs_table *table = NULL;
	CFS_CLEANUP(cfs_freep) char *device = NULL;
	struct trace trace = { .cmd = cmd };
	uint64_t offset = 0;
	int r = cfs_cmd_name(cmd, 0, 0, 0, &name);

	if (r == 0 && cfs_cmd_has(cmd, "at"))
		r = parse_place(cmd, cfs_cmd_str(cmd, "at", NULL), &device,
				&offset);
	if (r < 0)
		return r;
	table = cfsck_damage_table(cmd);
	trace.table = table;
	return trace_all(&trace, name.pool, device, offset);
}

const struct cfs_verb cfsck_trace = {
	.name = "trace",
	.operands = "POOL --at DEVICE:OFFSET\nPOOL --bad",
	.help = "say which volume and file a place on a device belongs to",
	.more = "--at names what stands at a byte of a device. --bad lists "
		"the damage that is known, and the exit status is 4 if there "
		"is any.",
	.examples = "cfsck-heal trace pool.img --bad\n"
		    "cfsck-heal trace pool.img --at /dev/sdb:7340032",
	.opts = CFS_OPTS({ .name = "at",
			   .type = CFS_OPT_STRING,
			   .argument = "DEVICE:OFFSET",
			   .conflicts = "bad",
			   .help = "what stands at this byte of a device" },
			 { .name = "bad",
			   .conflicts = "at",
			   .help = "all damage that is known" }),
	.one_of = "at bad",
	.common = CFS_COMMON_READ,
	.items = "damage",
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
