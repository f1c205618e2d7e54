/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * mkcfs DEVICE...: all devices are judged, and all questions put, before the
 * first byte is written.
 */
#include "mkcfs/mkcfs.h"

#include "base/cleanup.h"
#include "base/uuid.h"
#include "common/table.h"
#include "session/judge.h"

#include <stdlib.h>
#include <string.h>

/* The same plain file or device, also by another path to it. */
static bool is_same(const char *a, const char *b)
{
	CFS_CLEANUP(cfs_freep) char *real_a = realpath(a, NULL);
	CFS_CLEANUP(cfs_freep) char *real_b = realpath(b, NULL);

	if (!real_a || !real_b) /* not there yet */
		return !strcmp(a, b);
	return !strcmp(real_a, real_b);
}

/* What would be lost is asked about; the rest is judged by the format. */
static int ask_about(struct cfs_cmd *cmd, const char *path)
{
	char lost[CFS_JUDGE_TEXT_BYTES];
	struct cfs_probe probe;
	int r = cfs_probe_device(path, &probe, &cmd->err);

	if (r < 0)
		return cfs_cmd_wrap(cmd, path, r);
	r = cfs_device_judge(path, &probe, true, true, lost, &cmd->err);
	if (r < 0 || !lost[0])
		return r;
	return cfs_cmd_confirm(cmd, path, "%s", lost);
}

static int check_devices(struct cfs_cmd *cmd)
{
	const char *path;
	unsigned int i, k;
	int r = 0;

	for (i = 0; i < cmd->operand_count && r == 0; i++) {
		path = cmd->operands[i];
		if (cfs_name_is_volume(path))
			return cfs_cmd_usage(cmd,
					     "'%s' is a volume: give "
					     "--lun or --tree",
					     path);
		for (k = 0; k < i; k++) {
			if (is_same(path, cmd->operands[k]))
				return cfs_cmd_usage(cmd,
						     "'%s' is given "
						     "twice",
						     path);
		}
		if (cmd->is_force)
			r = ask_about(cmd, path);
	}
	return r;
}

static void put(struct cfs_cmd *cmd, const struct cfs_format_options *opt,
		const struct cfs_format_result *result)
{
	static const uint8_t none[CFS_UUID_BYTES];
	char uuid[CFS_UUID_TEXT_BYTES];
	char slice[CFS_TABLE_SIZE_BYTES], room[CFS_TABLE_SIZE_BYTES];
	struct cfs_out *out = cmd->out;
	size_t i;

	cfs_cmd_say(cmd, "%s: pool %s%s: %llu slices of %s, room for %s\n",
		    cmd->operands[0],
		    cmd->is_dry_run ? "would be made"
				    : cfs_uuid_format(result->pool_uuid, uuid),
		    opt->is_mirror ? ", mirrored" : "",
		    (unsigned long long)result->slice_count,
		    cfs_table_format_size(cmd, result->slice_bytes, slice),
		    cfs_table_format_size(cmd, result->capacity_bytes, room));
	cfs_out_begin_obj(out, "pool");
	cfs_out_str(out, "label", opt->name ? opt->name : "");
	/* A plan has no identity yet. */
	cfs_out_uuid(out, "uuid", cmd->is_dry_run ? none : result->pool_uuid);
	cfs_out_begin_array(out, "devices");
	for (i = 0; i < opt->device_count; i++)
		cfs_out_str(out, NULL, opt->devices[i]);
	cfs_out_end(out);
	cfs_out_bool(out, "is_mirror", opt->is_mirror);
	cfs_out_bool(out, "is_shared", opt->is_shared);
	cfs_out_u64(out, "slice_bytes", result->slice_bytes);
	cfs_out_u64(out, "total_slices", result->slice_count);
	cfs_out_u64(out, "capacity_bytes", result->capacity_bytes);
	cfs_out_u64(out, "written_bytes", result->written_bytes);
	cfs_out_end(out);
	cfs_out_bool(out, "is_dry_run", cmd->is_dry_run);
}

int mkcfs_make_pool(struct cfs_cmd *cmd)
{
	struct cfs_format_options opt = {
		.devices = (const char *const *)cmd->operands,
		.device_count = cmd->operand_count,
		.name = cfs_cmd_str(cmd, "label", NULL),
		.size_bytes = cfs_cmd_u64(cmd, "size", 0),
		.slice_bytes = cfs_cmd_u64(cmd, "slice", 0),
		.is_mirror = cfs_cmd_has(cmd, "mirror"),
		.is_shared = cfs_cmd_has(cmd, "shared"),
		.is_forced = cmd->is_force,
		.is_dry_run = cmd->is_dry_run,
		.wait_seconds = cmd->wait_seconds,
	};
	struct cfs_format_result result;
	int r = cfs_cmd_set_schema(cmd, "pool");

	if (r == 0 && opt.is_mirror && opt.device_count < 2)
		return cfs_cmd_usage(cmd, "a mirror needs two devices");
	if (r == 0)
		r = check_devices(cmd);
	if (r < 0)
		return r;
	r = cfs_pool_format(&opt, &result, &cmd->err);
	if (r == -EEXIST)
		r = cmd->err.code = CFS_REFUSED;
	if (r < 0)
		return cmd->operand_count == 1
			       ? cfs_cmd_wrap(cmd, cmd->operands[0], r)
			       : r;
	put(cmd, &opt, &result);
	return 0;
}
