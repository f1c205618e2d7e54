/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * slicectl pools: which pools are there, and are they well?  The library looks
 * at what it finds without waiting and without --search; where that would have
 * told more, the pool is looked at once more.
 */
#include "slicectl/slicectl.h"

#include "base/cleanup.h"
#include "base/uuid.h"
#include "base/vec.h"

#include <string.h>

struct pool_id {
	uint8_t uuid[CFS_UUID_BYTES];
};

struct listing {
	struct cfs_cmd *cmd;
	struct cfs_table *table;
	CFS_VEC(struct pool_id) seen;
};

static enum cfs_pool_state state_of_error(int code, enum cfs_pool_state state)
{
	switch (code) {
	case -EBUSY:
		return CFS_POOL_BUSY;
	case -EUCLEAN:
		return CFS_POOL_DAMAGED;
	case -ENODEV:
		return CFS_POOL_MISSING_DEVICES;
	case -ENOTSUP:
		return CFS_POOL_NEWER;
	default:
		return state;
	}
}

/* With the directories that devices may be in, and as patient as asked. */
static void look_again(struct cfs_cmd *cmd, const char *path,
		       struct cfs_pool_info *info)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	struct cfs_session_options opt = { .is_writable = false,
					   CFS_CMD_SESSION(cmd) };
	struct cfs_pool_info inside;
	struct cfs_err err = CFS_ERR_INIT;
	int r;

	if (!cmd->has_wait)
		opt.wait_seconds = 0;
	r = cfs_session_open(path, &opt, &s, &err);
	if (r == 0)
		r = cfs_session_pool_info(s, &inside, &err);
	if (r == 0) {
		*info = inside;
		return;
	}
	cfs_cmd_detail(cmd, "%s", err.msg);
	info->state = state_of_error(r, info->state);
}

static bool is_worth_a_look(const struct cfs_cmd *cmd,
			    const struct cfs_pool_info *info, size_t count)
{
	if (!count)
		return false;
	if (info->state == CFS_POOL_BUSY)
		return cmd->has_wait;
	return cmd->search_count && info->devices_present < info->device_count;
}

static int status_of(enum cfs_pool_state state)
{
	switch (state) {
	case CFS_POOL_OK:
	case CFS_POOL_BUSY:
		return CFS_STATUS_DONE;
	case CFS_POOL_NEARLY_FULL:
		return CFS_STATUS_NO_SPACE;
	case CFS_POOL_DAMAGED:
		return CFS_STATUS_DAMAGED;
	case CFS_POOL_NEWER:
		return CFS_STATUS_NOT_CFS;
	default:
		return CFS_STATUS_DEVICE;
	}
}

static void put_row(struct listing *l, const struct cfs_pool_info *info,
		    const struct cfs_device_info *devices, size_t count)
{
	struct cfs_table *t = l->table;
	char uuid[CFS_UUID_TEXT_BYTES];
	const char *path = NULL;
	size_t i;

	for (i = 0; i < count && !path; i++)
		path = devices[i].path[0] ? devices[i].path : NULL;
	cfs_table_str(t, info->name);
	cfs_table_str(t, cfs_uuid_is_null(info->uuid)
				 ? NULL
				 : cfs_uuid_format(info->uuid, uuid));
	cfs_table_str(t, cfs_pool_state_name(info->state));
	cfs_table_color(t, slicectl_pool_color(info->state));
	cfs_table_size(t, info->size_bytes);
	if (info->free_bytes || info->capacity_bytes)
		cfs_table_size(t, info->free_bytes);
	else
		cfs_table_str(t, NULL);
	if (info->devices_present < info->device_count)
		cfs_table_fmt(t, "%u of %u", info->devices_present,
			      info->device_count);
	else
		cfs_table_u64(t, info->device_count);
	cfs_table_str(t, path);
}

static bool is_seen(struct listing *l, const uint8_t uuid[CFS_UUID_BYTES])
{
	struct pool_id id;
	size_t i;

	if (cfs_uuid_is_null(uuid)) /* too new to say who it is */
		return false;
	for (i = 0; i < l->seen.count; i++) {
		if (cfs_uuid_is_equal(l->seen.items[i].uuid, uuid))
			return true;
	}
	memcpy(id.uuid, uuid, sizeof(id.uuid));
	return cfs_vec_push(&l->seen, id) < 0;
}

static int add(void *arg, const struct cfs_pool_info *found,
	       const struct cfs_device_info *devices, size_t count)
{
	struct listing *l = arg;
	struct cfs_out *out = l->cmd->out;
	struct cfs_pool_info info = *found;
	size_t i;

	if (is_seen(l, info.uuid))
		return 0;
	if (is_worth_a_look(l->cmd, &info, count))
		look_again(l->cmd, devices[0].path, &info);
	put_row(l, &info, devices, count);
	cfs_out_begin_obj(out, NULL);
	slicectl_out_pool(out, &info);
	cfs_out_begin_array(out, "devices");
	for (i = 0; i < count; i++) {
		cfs_out_begin_obj(out, NULL);
		cfs_out_u64(out, "index", devices[i].index);
		cfs_out_uuid(out, "uuid", devices[i].uuid);
		cfs_out_str(out, "path",
			    devices[i].path[0] ? devices[i].path : NULL);
		cfs_out_str(out, "state", devices[i].state);
		cfs_out_u64(out, "size_bytes", devices[i].size_bytes);
		cfs_out_end(out);
	}
	cfs_out_end(out);
	cfs_out_end(out);
	cfs_cmd_raise(l->cmd, status_of(info.state));
	return 0;
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_table_freep) struct cfs_table *table = NULL;
	struct listing l = { .cmd = cmd };
	int r;

	table = cfs_table_new(cmd, "LABEL|UUID|STATE|>SIZE|>FREE|>DEVICES|"
				   "DEVICE");
	l.table = table;
	cfs_out_begin_array(cmd->out, "pools");
	r = cfs_pools_scan((const char *const *)cmd->operands,
			   cmd->operand_count, add, &l, &cmd->err);
	if (r == 0 && !cmd->operand_count && cmd->search_count)
		r = cfs_pools_scan(cmd->search, cmd->search_count, add, &l,
				   &cmd->err);
	cfs_out_end(cmd->out);
	cfs_vec_done(&l.seen);
	return r < 0 ? r : cfs_table_print(table, cmd);
}

const struct cfs_verb slicectl_pools = {
	.name = "pools",
	.operands = "[DIR|DEVICE...]",
	.help = "list pools and say if they are well",
	.more = "Looks at the labels in the given directories and on the "
		"given devices; without any, in the working directory, in "
		"those of --search and on this host's block devices. A pool "
		"that somebody holds is listed as busy.",
	.examples = "slicectl pools\n"
		    "slicectl pools --json /srv/pools | jq -r '.pools[].label'",
	.common = CFS_COMMON_READ,
	.items = "pools",
	.max_operands = CFS_OPERANDS_MANY,
	.run = run,
};
