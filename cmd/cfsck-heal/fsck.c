/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * fsck.cfs: the same program under the name by which fsck(8) calls it, with
 * fsck's options.  It checks, whatever is asked for: a pool that needs healing
 * wants a scrub, which takes as long as reading the pool does and so has no
 * place while a system starts.
 */
#include "cfsck-heal/cfsck.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "base/uuid.h"
#include "base/vec.h"

#include <string.h>

struct pool_id {
	uint8_t uuid[CFS_UUID_BYTES];
};

struct seen {
	CFS_VEC(struct pool_id) ids;
};

static void seen_donep(struct seen *seen)
{
	cfs_vec_done(&seen->ids);
}

/* Another device of a pool that was checked: 1.  Damage is no answer yet. */
static int is_seen(struct cfs_cmd *cmd, struct seen *seen, const char *device)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	struct cfs_pool_info info;
	struct pool_id id;
	size_t i;

	if (cmd->operand_count == 1)
		return 0;
	if (cfsck_open(cmd, device, false, &s) < 0 ||
	    cfs_session_pool_info(s, &info, NULL) < 0)
		return 0;
	for (i = 0; i < seen->ids.count; i++) {
		if (cfs_uuid_is_equal(seen->ids.items[i].uuid, info.uuid))
			return 1;
	}
	memcpy(id.uuid, info.uuid, sizeof(id.uuid));
	return cfs_vec_push(&seen->ids, id) < 0 ? -ENOMEM : 0;
}

static void check(struct cfsck_report *report, const char *device)
{
	struct cfs_check_result result = { .containers = 0 };
	struct cfs_cmd *cmd = report->cmd;
	uint64_t before = report->left, found;

	if (cfsck_check_pool(report, device, NULL, &result) < 0) {
		cfs_cmd_fail(cmd, device, &cmd->err);
		return;
	}
	found = report->left - before;
	if (found) {
		cfs_cmd_print(cmd, "%s: %llu %s: run cfsck-heal scrub\n",
			      device, (unsigned long long)found,
			      cfs_plural(found, "problem", "problems"));
		cfs_cmd_raise(cmd, CFS_FSCK_DAMAGE_LEFT);
		cmd->keeps_output = true;
	} else {
		cfs_cmd_say(cmd, "%s: clean, %llu %s\n", device,
			    (unsigned long long)result.containers,
			    cfs_plural(result.containers, "container",
				       "containers"));
	}
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_table_freep) struct cfs_table *table = NULL;
	CFS_CLEANUP(seen_donep) struct seen seen = { .ids = CFS_VEC_INIT };
	struct cfsck_report report = { .cmd = cmd };
	unsigned int i;
	int r = 0;

	table = cfs_table_new(cmd, "KIND|VOLUME|PATH|PROBLEM");
	report.table = table;
	cfs_out_begin_array(cmd->out, "problems");
	for (i = 0; i < cmd->operand_count && r >= 0; i++) {
		r = is_seen(cmd, &seen, cmd->operands[i]);
		if (r == 0)
			check(&report, cmd->operands[i]);
		if (cfs_cmd_is_stopped(NULL))
			break;
	}
	cfs_out_end(cmd->out);
	if (report.left)
		r = cfs_table_print(table, cmd);
	return r < 0 ? cfs_err_set(&cmd->err, r, "out of memory") : 0;
}

static const struct cfs_verb fsck = {
	.operands = "DEVICE...",
	.help = "check the pool of each device",
	.more = "Options are those of fsck(8). The pools are checked and "
		"nothing is changed, whichever of them is given: healing is "
		"cfsck-heal scrub.",
	.examples = "fsck.cfs -a /dev/sdb\n"
		    "fsck -t cfs -C /dev/sdb",
	.opts = CFS_OPTS(
		{ .name = "auto",
		  .letter = 'a',
		  .is_letter_only = true,
		  .help = "no questions (there are none)" },
		{ .name = "preen",
		  .letter = 'p',
		  .is_letter_only = true,
		  .help = "the same" },
		{ .name = "all-yes",
		  .letter = 'y',
		  .is_letter_only = true,
		  .help = "the same" },
		{ .name = "no-change",
		  .letter = 'n',
		  .is_letter_only = true,
		  .help = "change nothing (nothing is)" },
		{ .name = "always",
		  .letter = 'f',
		  .is_letter_only = true,
		  .help = "check also what looks clean (it always is)" },
		{ .name = "title",
		  .letter = 'T',
		  .is_letter_only = true,
		  .help = "ignored" },
		{ .name = "meter",
		  .letter = 'C',
		  .is_letter_only = true,
		  .type = CFS_OPT_STRING,
		  .argument = "FD",
		  .help = "draw progress if standard error is a terminal" }),
	.common = CFS_COMMON_READ | CFS_COMMON_PROGRESS,
	.items = "problems",
	.min_operands = 1,
	.max_operands = CFS_OPERANDS_MANY,
	.run = run,
};

static const struct cfs_verb *const verbs[] = { &fsck, NULL };

const struct cfs_tool cfsck_fsck_tool = {
	.name = "fsck.cfs",
	.help = "check cfs pools",
	.verbs = verbs,
	.is_fsck = true,
};
