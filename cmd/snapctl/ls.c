/* SPDX-License-Identifier: GPL-3.0-or-later */
/* snapctl ls: the snapshots of a volume or of a pool, old to new. */
#include "snapctl/rows.h"
#include "snapctl/snapctl.h"

#include "base/cleanup.h"

#define ROWS_AT_ONCE 512u /* that are written */

static void out_snapshot(struct cfs_out *out,
			 const struct cfs_snapshot_info *info)
{
	cfs_out_begin_obj(out, NULL);
	cfs_out_str(out, "volume", info->volume);
	cfs_out_str(out, "name", info->name);
	cfs_out_time_ns(out, "created_at", info->created_ns);
	cfs_out_str(out, "note", info->note);
	cfs_out_u64(out, "size_bytes", info->size_bytes);
	cfs_out_u64(out, "exclusive_bytes", info->exclusive_bytes);
	cfs_out_u64(out, "shared_bytes", info->shared_bytes);
	cfs_out_bool(out, "is_held", info->is_held);
	cfs_out_u64(out, "clones", info->clone_count);
	cfs_out_str(out, "branch_of",
		    info->branch_of[0] ? info->branch_of : NULL);
	cfs_out_u64_str(out, "stamp", info->stamp);
	cfs_out_end(out);
}

static void add_cells(struct cfs_table *table,
		      const struct cfs_snapshot_info *info)
{
	cfs_table_fmt(table, "%s@%s", info->volume, info->name);
	cfs_table_time(table, info->created_ns);
	cfs_table_size(table, info->exclusive_bytes);
	cfs_table_size(table, info->shared_bytes);
	cfs_table_str(table, info->is_held ? "held" : NULL);
	cfs_table_u64(table, info->clone_count);
	cfs_table_str(table, info->note);
}

static int add(void *arg, const struct cfs_snapshot_info *info)
{
	return snapctl_rows_add(arg, info);
}

/* One document: it is printed at the end. */
static int put_document(struct cfs_cmd *cmd, const struct snapctl_rows *rows)
{
	struct cfs_snapshot_info info = { .stamp = 0 };
	size_t at = 0;

	cfs_out_begin_array(cmd->out, "snapshots");
	while (snapctl_rows_next(rows, &at, &info))
		out_snapshot(cmd->out, &info);
	cfs_out_end(cmd->out);
	return 0;
}

static int put_lines(struct cfs_cmd *cmd, const struct snapctl_rows *rows)
{
	struct cfs_snapshot_info info = { .stamp = 0 };
	size_t at = 0;
	bool is_more = true;
	int r = 0;

	while (is_more && r == 0) {
		cfs_out_begin_array(cmd->out, "snapshots");
		for (unsigned int n = 0; is_more && n < ROWS_AT_ONCE; n++) {
			is_more = snapctl_rows_next(rows, &at, &info);
			if (is_more)
				out_snapshot(cmd->out, &info);
		}
		cfs_out_end(cmd->out);
		r = cfs_cmd_stream(cmd);
	}
	return r;
}

static int put_table(struct cfs_cmd *cmd, const struct snapctl_rows *rows)
{
	CFS_CLEANUP(cfs_table_freep) struct cfs_table *table = NULL;
	struct cfs_snapshot_info info = { .stamp = 0 };
	size_t at = 0;
	int r;

	table = cfs_table_new(cmd, "SNAPSHOT|CREATED|>EXCLUSIVE|>SHARED|HELD|"
				   ">CLONES|NOTE");
	cfs_table_measure(table);
	while (snapctl_rows_next(rows, &at, &info))
		add_cells(table, &info);
	r = cfs_table_flow(table, cmd);
	at = 0;
	info = (struct cfs_snapshot_info){ .stamp = 0 };
	for (unsigned int n = 1; r == 0 && snapctl_rows_next(rows, &at, &info);
	     n++) {
		add_cells(table, &info);
		if (n % ROWS_AT_ONCE == 0)
			r = cfs_cmd_stream(cmd);
	}
	return r < 0 ? r : cfs_cmd_stream(cmd);
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	CFS_CLEANUP(snapctl_rows_donep)
	struct snapctl_rows rows = SNAPCTL_ROWS_INIT;
	int r = cfs_cmd_name(cmd, 0, 0, CFS_NAME_ANY_VOLUME, &name);

	if (r == 0)
		r = snapctl_open(cmd, name.pool, false, &s);
	if (r < 0)
		return r;
	r = cfs_session_snapshots(s, name.volume, true, add, &rows, &cmd->err);
	if (r == -ENOMEM && !cmd->err.code)
		r = cfs_err_set(&cmd->err, r, "out of memory");
	if (r < 0)
		return cfs_cmd_wrap(cmd, cmd->operands[0], r);
	/* Memory that the pool has taken is used again for what is printed. */
	cfs_session_close(s, NULL);
	s = NULL;
	if (cmd->is_json_lines)
		return put_lines(cmd, &rows);
	return cmd->is_json ? put_document(cmd, &rows) : put_table(cmd, &rows);
}

const struct cfs_verb snapctl_ls = {
	.name = "ls",
	.operands = "POOL[:VOLUME]",
	.help = "list snapshots, old to new",
	.more = "EXCLUSIVE is what removing this snapshot alone would free; "
		"SHARED what the volume or other snapshots need too.",
	.examples = "snapctl ls pool.img:vm0\n"
		    "snapctl ls --json pool.img | jq -r '.snapshots[].name'",
	.common = CFS_COMMON_READ,
	.items = "snapshots",
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
