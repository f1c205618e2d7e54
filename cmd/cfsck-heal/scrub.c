/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * cfsck-heal scrub: every block is read and verified, and what is bad healed
 * from a good copy where there is one.
 */
#include "cfsck-heal/cfsck.h"

#include "base/cleanup.h"
#include "base/text.h"

struct scrub {
	struct cfs_cmd *cmd;
	struct cfs_table *table;
	size_t count;
};

static int add(void *arg, const struct cfs_damage *damage)
{
	struct scrub *scrub = arg;

	scrub->count++;
	cfsck_put_damage(scrub->cmd, scrub->table, damage);
	return 0;
}

static void out_result(struct cfs_out *out,
		       const struct cfs_scrub_result *result, bool is_dry_run)
{
	cfs_out_u64(out, "read_bytes", result->read_bytes);
	cfs_out_u64(out, "verified_blocks", result->verified_blocks);
	cfs_out_u64(out, "bad_blocks", result->bad_blocks);
	cfs_out_u64(out, "healed_blocks", result->healed_blocks);
	cfs_out_u64(out, "left_blocks", result->left_blocks);
	cfs_out_u64(out, "skipped_groups", result->skipped_groups);
	cfs_out_time_ns(out, "started_at", result->started_ns);
	cfs_out_time_ns(out, "ended_at", result->ended_ns);
	cfs_out_bool(out, "is_dry_run", is_dry_run);
}

static void put(struct cfs_cmd *cmd, const struct cfs_scrub_result *result)
{
	char text[CFS_TABLE_SIZE_BYTES];

	out_result(cmd->out, result, cmd->is_dry_run);
	cfs_cmd_say(cmd, "%s: %llu %s verified, %s read: ", cmd->operands[0],
		    (unsigned long long)result->verified_blocks,
		    cfs_plural(result->verified_blocks, "block", "blocks"),
		    cfs_table_format_size(cmd, result->read_bytes, text));
	if (!result->bad_blocks)
		cfs_cmd_say(cmd, "all good\n");
	else
		cfs_cmd_say(cmd, "%llu bad, %llu %shealed, %llu left\n",
			    (unsigned long long)result->bad_blocks,
			    (unsigned long long)result->healed_blocks,
			    cmd->is_dry_run ? "would be " : "",
			    (unsigned long long)result->left_blocks);
	if (result->skipped_groups)
		cfs_cmd_say(cmd,
			    "%llu %s left out, which others may be "
			    "writing\n",
			    (unsigned long long)result->skipped_groups,
			    cfs_plural(result->skipped_groups, "tag page",
				       "tag pages"));
	if (result->left_blocks)
		cfs_cmd_raise(cmd, CFS_FSCK_DAMAGE_LEFT);
	else if (result->bad_blocks)
		cfs_cmd_raise(cmd, CFS_FSCK_HEALED);
}

static int do_scrub(struct scrub *scrub, struct cfs_session *s,
		    const char *container, const struct cfs_scrub_options *opt)
{
	struct cfs_scrub_result result = { .read_bytes = 0 };
	struct cfs_cmd *cmd = scrub->cmd;
	struct cfs_progress *progress;
	int r = cfsck_find(cmd, s, container);

	if (r < 0)
		return r;
	progress = cfs_progress_begin(cmd, "scrub", "bytes", 0);
	cfs_out_begin_array(cmd->out, "damage");
	r = cfs_session_scrub(s, container, opt, add, scrub, &result,
			      &cmd->err);
	cfs_out_end(cmd->out);
	cfs_progress_end(progress);
	if (r == -EINTR)
		return cfs_err_set(&cmd->err, r,
				   "stopped: scrub --continue "
				   "goes on from here");
	if (r == 0 && scrub->count)
		r = cfs_table_print(scrub->table, cmd);
	if (r == 0)
		put(cmd, &result);
	return r;
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	CFS_CLEANUP(cfs_table_freep) struct cfs_table *table = NULL;
	struct scrub scrub = { .cmd = cmd };
	struct cfs_scrub_options opt = {
		.rate_bytes = cfs_cmd_u64(cmd, "rate", 0),
		.heals = !cfs_cmd_has(cmd, "no-heal"),
		.is_full = cfs_cmd_has(cmd, "full"),
		.continues = cfs_cmd_has(cmd, "continue"),
	};
	int r = cfs_cmd_name(cmd, 0, 0, CFS_NAME_VOLUME, &name);

	if (r == 0)
		r = cfsck_open(cmd, name.pool, opt.heals, &s);
	if (r < 0)
		return r;
	table = cfsck_damage_table(cmd);
	scrub.table = table;
	r = do_scrub(&scrub, s, name.container, &opt);
	r = cfs_cmd_wrap(cmd, cmd->operands[0], r);
	return cfsck_close(cmd, name.pool, &s, r);
}

const struct cfs_verb cfsck_scrub = {
	.name = "scrub",
	.operands = "POOL[:NAME]",
	.help = "read and verify every block, and heal what is bad",
	.more = "A bad block is healed from a mirror or another good copy. "
		"What cannot be healed is listed, stays readable around the "
		"damage, and makes the exit status 4; 1 says that all damage "
		"was healed.",
	.examples = "cfsck-heal scrub pool.img\n"
		    "cfsck-heal scrub --rate 50M --no-heal pool.img:vm0\n"
		    "cfsck-heal scrub --json pool.img | jq '.damage[].path'",
	.opts = CFS_OPTS({ .name = "rate",
			   .type = CFS_OPT_SIZE,
			   .argument = "BYTES/S",
			   .min = 1,
			   .help = "read no more than this in a second" },
			 { .name = "no-heal", .help = "only find damage" },
			 { .name = "full",
			   .help = "check connectivity too, as check does" },
			 { .name = "continue",
			   .help = "go on where the last scrub stopped" }),
	.common = CFS_COMMON_WORK,
	.items = "damage",
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
