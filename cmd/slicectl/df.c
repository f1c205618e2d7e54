/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slicectl df: where the space is, in slices, device by device. */
#include "slicectl/slicectl.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "base/uuid.h"

#include <stdio.h>
#include <string.h>

struct listing {
	struct cfs_cmd *cmd;
	struct cfs_table *table;
};

/* "evacuating", and how much of it is done. */
static const char *state_of(const struct cfs_device_info *info, char text[32])
{
	if (!info->is_moving || !info->move_slices)
		return info->state;
	snprintf(text, 32, "%s %u%%", info->state,
		 (unsigned int)(info->moved_slices * 100 / info->move_slices));
	return text;
}

static int add(void *arg, const struct cfs_device_info *info)
{
	struct listing *l = arg;
	struct cfs_table *t = l->table;
	char uuid[CFS_UUID_TEXT_BYTES], state[32];
	bool is_ok = !strcmp(info->state, "ok");

	slicectl_out_device(l->cmd->out, info);
	cfs_table_str(t, info->path);
	cfs_table_str(t, cfs_uuid_format(info->uuid, uuid));
	cfs_table_str(t, state_of(info, state));
	cfs_table_color(t, is_ok ? CFS_COLOR_GOOD : CFS_COLOR_BAD);
	cfs_table_size(t, info->size_bytes);
	cfs_table_u64(t, info->slice_count);
	cfs_table_u64(t, info->free_slices);
	cfs_table_u64(t, info->used_slices);
	cfs_table_u64(t, info->frozen_slices);
	cfs_table_u64(t, info->bad_slices);
	return 0;
}

static void put_total(struct cfs_cmd *cmd, struct cfs_table *t,
		      const struct cfs_pool_info *info)
{
	cfs_table_str(t, "total");
	cfs_table_str(t, NULL);
	cfs_table_str(t, cfs_pool_state_name(info->state));
	cfs_table_color(t, slicectl_pool_color(info->state));
	cfs_table_size(t, info->size_bytes);
	cfs_table_u64(t, info->slices);
	cfs_table_u64(t, info->free_slices);
	cfs_table_u64(t, info->lent_slices);
	cfs_table_u64(t, info->frozen_slices);
	cfs_table_u64(t, info->bad_slices);
	slicectl_out_pool(cmd->out, info);
}

/* How much data the pool takes, which slices alone do not tell. */
static void put_data(struct cfs_cmd *cmd, const struct cfs_pool_info *info)
{
	char a[CFS_TABLE_SIZE_BYTES], b[CFS_TABLE_SIZE_BYTES];
	char c[CFS_TABLE_SIZE_BYTES], d[CFS_TABLE_SIZE_BYTES];

	cfs_cmd_print(cmd, "\nslices of %s; room for %s: %s used, %s free\n",
		      cfs_table_format_size(cmd, info->slice_bytes, a),
		      cfs_table_format_size(cmd, info->capacity_bytes, b),
		      cfs_table_format_size(cmd, info->used_bytes, c),
		      cfs_table_format_size(cmd, info->free_bytes, d));
	if (info->is_shared)
		cfs_cmd_print(
			cmd, "can be taken over from %llu silent %s\n",
			(unsigned long long)info->takeovers_left,
			cfs_plural(info->takeovers_left, "host", "hosts"));
}

static int count(struct cfs_cmd *cmd, struct cfs_session *s)
{
	CFS_CLEANUP(cfs_table_freep) struct cfs_table *table = NULL;
	struct listing l = { .cmd = cmd };
	struct cfs_pool_info info;
	int r = cfs_session_pool_info(s, &info, &cmd->err);

	if (r < 0)
		return r;
	table = cfs_table_new(cmd, "DEVICE|UUID|STATE|>SIZE|>SLICES|>FREE|"
				   ">LENT|>FROZEN|>DAMAGED");
	l.table = table;
	cfs_out_begin_array(cmd->out, "devices");
	r = cfs_session_devices(s, add, &l, &cmd->err);
	cfs_out_end(cmd->out);
	if (r < 0)
		return r;
	put_total(cmd, table, &info);
	r = cfs_table_print(table, cmd);
	if (r == 0)
		put_data(cmd, &info);
	return r;
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	int r = cfs_cmd_name(cmd, 0, 0, 0, &name);

	if (r == 0)
		r = slicectl_open(cmd, name.pool, false, &s);
	if (r < 0)
		return r;
	return cfs_cmd_wrap(cmd, name.pool, count(cmd, s));
}

const struct cfs_verb slicectl_df = {
	.name = "df",
	.operands = "POOL",
	.help = "devices and their slices: total, free, lent, frozen, damaged",
	.more = "A lent slice belongs to a container. A frozen one was on "
		"loan to a writer that is not yet known to be gone: it is "
		"read, but not written. A damaged one is not used again. Of a "
		"device that is being evacuated the state says how far that "
		"is.",
	.examples = "slicectl df pool.img\n"
		    "slicectl df --json pool.img | jq .free_bytes",
	.common = CFS_COMMON_READ,
	.items = "devices",
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
