/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * cfsck-heal check: metadata, connectivity and allocation.  Nothing is changed
 * on any device; a pool that cannot even be opened for damage is a result of
 * the check, not a failure of it.
 */
#include "cfsck-heal/cfsck.h"

#include "base/cleanup.h"
#include "base/text.h"

static void out_problem(struct cfs_out *out, const struct cfs_problem *p)
{
	cfs_out_begin_obj(out, NULL);
	cfs_out_str(out, "kind", p->kind);
	cfs_out_str(out, "container", p->container[0] ? p->container : NULL);
	cfs_out_str(out, "volume", p->volume[0] ? p->volume : NULL);
	cfs_out_str(out, "path", p->path[0] ? p->path : NULL);
	cfs_out_str(out, "text", p->text);
	cfs_out_bool(out, "is_healed", p->is_healed);
	cfs_out_end(out);
}

static int add(void *arg, const struct cfs_problem *p)
{
	struct cfsck_report *report = arg;
	struct cfs_table *t = report->table;

	if (p->is_healed)
		report->healed++;
	else
		report->left++;
	out_problem(report->cmd->out, p);
	cfs_table_str(t, p->kind);
	cfs_table_str(t, p->volume[0] ? p->volume : p->container);
	cfs_table_str(t, p->path);
	cfs_table_str(t, p->text);
	cfs_table_color(t, p->is_healed ? CFS_COLOR_GOOD : CFS_COLOR_BAD);
	return 0;
}

/* Damage that stopped us is the last problem of the list. */
static int take_damage(struct cfsck_report *report, const char *container,
		       int r)
{
	struct cfs_problem p = { .kind = "pool" };

	if (r != -EUCLEAN)
		return r;
	if (container)
		(void)snprintf(p.container, sizeof(p.container), "%s",
			       container);
	(void)snprintf(p.text, sizeof(p.text), "%.399s", report->cmd->err.msg);
	return add(report, &p);
}

int cfsck_check_pool(struct cfsck_report *report, const char *pool,
		     const char *container, struct cfs_check_result *ret)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	struct cfs_cmd *cmd = report->cmd;
	struct cfs_progress *progress;
	uint64_t before = report->left;
	int r;

	r = cfsck_open(cmd, pool, false, &s);
	if (r < 0)
		return take_damage(report, NULL, r);
	r = cfsck_find(cmd, s, container);
	if (r == 0) {
		progress = cfs_progress_begin(cmd, "check", "bytes", 0);
		r = cfs_session_check(s, container, add, report, ret,
				      &cmd->err);
		cfs_progress_end(progress);
	}
	if (r == -EUCLEAN && report->left > before)
		r = 0; /* it is in the list already */
	r = take_damage(report, container, r);
	return cfsck_close(cmd, pool, &s, r);
}

static void say_clean(struct cfs_cmd *cmd,
		      const struct cfs_check_result *result)
{
	const struct {
		uint64_t count;
		const char *one, *many;
	} parts[] = {
		{ result->containers, "container", "containers" },
		{ result->nodes, "node", "nodes" },
		{ result->records, "record", "records" },
		{ result->blocks, "block", "blocks" },
		{ result->inodes, "inode", "inodes" },
	};
	size_t i;

	cfs_cmd_say(cmd, "%s: clean", cmd->operands[0]);
	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		cfs_cmd_say(cmd, "%s %llu %s", i ? "," : ":",
			    (unsigned long long)parts[i].count,
			    cfs_plural(parts[i].count, parts[i].one,
				       parts[i].many));
	cfs_cmd_say(cmd, "\n");
}

static void put(struct cfs_cmd *cmd, const struct cfsck_report *report,
		const struct cfs_check_result *result)
{
	struct cfs_out *out = cmd->out;
	uint64_t count = report->left + report->healed;

	cfs_out_str(out, "state", report->left ? "damaged" : "clean");
	cfs_out_begin_obj(out, "checked");
	cfs_out_u64(out, "containers", result->containers);
	cfs_out_u64(out, "nodes", result->nodes);
	cfs_out_u64(out, "records", result->records);
	cfs_out_u64(out, "blocks", result->blocks);
	cfs_out_u64(out, "inodes", result->inodes);
	cfs_out_end(out);
	cfs_out_u64(out, "problem_count", count);
	if (count)
		cfs_cmd_print(cmd, "%s: %llu %s\n", cmd->operands[0],
			      (unsigned long long)count,
			      cfs_plural(count, "problem", "problems"));
	else
		say_clean(cmd, result);
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_table_freep) struct cfs_table *table = NULL;
	struct cfs_check_result result = { .containers = 0 };
	struct cfsck_report report = { .cmd = cmd };
	int r = cfs_cmd_name(cmd, 0, 0, CFS_NAME_VOLUME, &name);

	if (r < 0)
		return r;
	table = cfs_table_new(cmd, "KIND|VOLUME|PATH|PROBLEM");
	report.table = table;
	cfs_out_begin_array(cmd->out, "problems");
	r = cfsck_check_pool(&report, name.pool, name.container, &result);
	cfs_out_end(cmd->out);
	if (r == 0 && (report.left || report.healed))
		r = cfs_table_print(table, cmd);
	if (r < 0)
		return cfs_cmd_wrap(cmd, cmd->operands[0], r);
	put(cmd, &report, &result);
	if (report.left)
		cfs_cmd_raise(cmd, CFS_FSCK_DAMAGE_LEFT);
	return 0;
}

const struct cfs_verb cfsck_check = {
	.name = "check",
	.operands = "POOL[:NAME]",
	.help = "check metadata, connectivity and allocation",
	.more = "Changes nothing. Data blocks are not read: that is what "
		"scrub does.",
	.examples = "cfsck-heal check pool.img\n"
		    "cfsck-heal check --json pool.img:vm0 | jq .problems",
	.common = CFS_COMMON_READ | CFS_COMMON_PROGRESS,
	.items = "problems",
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
