/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * slicectl add: devices for a pool that is in use.  A device that carries
 * something is refused as by mkcfs; what was added before one that fails
 * stays, and is named.
 */
#include "slicectl/slicectl.h"

#include "base/cleanup.h"
#include "session/judge.h"

#include <errno.h>
#include <sys/stat.h>

static int check_device(struct cfs_cmd *cmd, const char *path)
{
	char lost[CFS_JUDGE_TEXT_BYTES];
	struct cfs_probe probe;
	int r = cfs_probe_device(path, &probe, &cmd->err);

	if (r < 0)
		return cfs_cmd_wrap(cmd, path, r);
	r = cfs_device_judge(path, &probe, cmd->is_force, false, lost,
			     &cmd->err);
	if (r == -EEXIST)
		return cmd->err.code = CFS_REFUSED;
	if (r < 0 || !lost[0])
		return r;
	return cfs_cmd_confirm(cmd, path, "%s", lost);
}

/* One of the pool's own is not new, whatever is forced. */
static int check_is_other(void *arg, const struct cfs_device_info *d)
{
	struct cfs_cmd *cmd = arg;
	struct stat own, st;
	unsigned int i;

	if (!d->path[0] || stat(d->path, &own) < 0)
		return 0;
	for (i = 1; i < cmd->operand_count; i++) {
		if (stat(cmd->operands[i], &st) < 0)
			continue;
		if (S_ISBLK(st.st_mode)
			    ? S_ISBLK(own.st_mode) && st.st_rdev == own.st_rdev
			    : st.st_dev == own.st_dev &&
				      st.st_ino == own.st_ino)
			return cfs_err_set(&cmd->err, -EBUSY,
					   "%s: is device %u of this pool",
					   cmd->operands[i], d->index);
	}
	return 0;
}

static int check_devices(struct cfs_cmd *cmd, const char *pool)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	unsigned int i;
	int r = slicectl_open(cmd, pool, false, &s);

	if (r < 0)
		return r;
	r = cfs_session_devices(s, check_is_other, cmd, &cmd->err);
	/* All questions before the pool is held to write. */
	cfs_session_closep(&s);
	s = NULL;
	for (i = 1; r == 0 && i < cmd->operand_count; i++)
		r = check_device(cmd, cmd->operands[i]);
	return r;
}

static void put(struct cfs_cmd *cmd, const char *path, uint64_t slices)
{
	cfs_out_begin_obj(cmd->out, NULL);
	cfs_out_str(cmd->out, "path", path);
	cfs_out_u64(cmd->out, "total_slices", slices);
	cfs_out_end(cmd->out);
	cfs_cmd_say(cmd, "%s: %sadded: %llu slices\n", path,
		    slicectl_would(cmd), (unsigned long long)slices);
}

/* Each is tried; errors are printed here. */
static void add_all(struct cfs_cmd *cmd, struct cfs_session *s)
{
	const char *path;
	uint64_t slices;
	unsigned int i;
	int r;

	for (i = 1; i < cmd->operand_count; i++) {
		path = cmd->operands[i];
		r = cfs_session_add_device(s, path, cmd->is_force, &slices,
					   &cmd->err);
		if (r < 0)
			cfs_cmd_fail(cmd, path, &cmd->err);
		else
			put(cmd, path, slices);
		if (r == -EINTR)
			return;
	}
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	int r = cfs_cmd_name(cmd, 0, 0, 0, &name);

	if (r == 0)
		r = check_devices(cmd, name.pool);
	if (r == 0)
		r = slicectl_open(cmd, name.pool, true, &s);
	if (r < 0)
		return r;
	cfs_out_begin_array(cmd->out, "devices");
	add_all(cmd, s);
	cfs_out_end(cmd->out);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
	return slicectl_close(cmd, name.pool, &s, 0);
}

const struct cfs_verb slicectl_add = {
	.name = "add",
	.operands = "POOL DEVICE...",
	.help = "add devices to a pool",
	.more = "The devices become the pool's next ones, at once and while "
		"it is in use. A device that carries a signature, a label of "
		"cfs or other data is refused without --force.",
	.examples =
		"truncate -s 1G more.img && slicectl add pool.img more.img\n"
		"slicectl add -n pool.img /dev/sdb",
	.common = CFS_COMMON_WRITE | CFS_COMMON_DESTROY | CFS_COMMON_FORCE,
	.items = "devices",
	.min_operands = 2,
	.max_operands = CFS_OPERANDS_MANY,
	.run = run,
};
