/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * slicectl rm: volumes.  All questions are put first, while nobody is kept
 * from the pool; then each volume that was agreed to is removed.  One that
 * fails does not stop the others.
 */
#include "slicectl/slicectl.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

struct removal {
	struct cfs_cmd *cmd;
	struct cfs_session *s; /* of the pool below */
	char *pool;
	bool is_recursive;
	bool *is_out; /* operands that have failed */
};

/* The pool of the operand, open; the one before stays if it is the same. */
static int use_pool(struct removal *rm, const char *pool, bool is_writable)
{
	int r = 0;

	if (rm->s && !strcmp(rm->pool, pool))
		return 0;
	if (rm->s)
		r = slicectl_close(rm->cmd, rm->pool, &rm->s, 0);
	free(rm->pool);
	rm->pool = strdup(pool);
	if (!rm->pool)
		r = cfs_err_set(&rm->cmd->err, -ENOMEM, "out of memory");
	return r < 0 ? r : slicectl_open(rm->cmd, pool, is_writable, &rm->s);
}

/* A volume with snapshots or clones goes only with them, and only if asked. */
static int look(struct removal *rm, const char *volume,
		struct cfs_volume_info *ret)
{
	struct cfs_err *err = &rm->cmd->err;
	int r = cfs_session_volume_brief(rm->s, volume, ret, err);

	if (r < 0 || rm->is_recursive ||
	    (!ret->snapshot_count && !ret->clone_count))
		return r;
	return cfs_err_set(
		err, -EBUSY,
		"has %llu %s and %llu %s: give -r to "
		"remove them with it",
		(unsigned long long)ret->snapshot_count,
		cfs_plural(ret->snapshot_count, "snapshot", "snapshots"),
		(unsigned long long)ret->clone_count,
		cfs_plural(ret->clone_count, "clone", "clones"));
}

static int ask(struct removal *rm, const struct cfs_name *name,
	       const char *operand)
{
	struct cfs_volume_info info;
	int r = look(rm, name->volume, &info);

	if (r < 0)
		return r;
	/* Whoever is asked may think for long: let go of the pool. */
	cfs_session_closep(&rm->s);
	rm->s = NULL;
	if (info.snapshot_count || info.clone_count)
		return cfs_cmd_confirm(
			rm->cmd, operand,
			"volume %s with %llu "
			"%s and %llu %s",
			info.name, (unsigned long long)info.snapshot_count,
			cfs_plural(info.snapshot_count, "snapshot",
				   "snapshots"),
			(unsigned long long)info.clone_count,
			cfs_plural(info.clone_count, "clone", "clones"));
	return cfs_cmd_confirm(rm->cmd, operand, "all data of volume %s",
			       info.name);
}

static int remove_one(struct removal *rm, const struct cfs_name *name,
		      const char *operand)
{
	struct cfs_cmd *cmd = rm->cmd;
	struct cfs_volume_info info;
	int r = look(rm, name->volume, &info);

	if (r == 0)
		r = cfs_session_remove_volume(rm->s, name->volume,
					      rm->is_recursive, &cmd->err);
	if (r < 0)
		return r;
	cfs_out_begin_obj(cmd->out, NULL);
	cfs_out_str(cmd->out, "name", info.name);
	cfs_out_str(cmd->out, "kind", slicectl_kind_name(info.kind));
	cfs_out_u64(cmd->out, "snapshots", info.snapshot_count);
	cfs_out_u64(cmd->out, "clones", info.clone_count);
	cfs_out_end(cmd->out);
	cfs_cmd_say(cmd, "%s: %sremoved\n", operand, slicectl_would(cmd));
	return 0;
}

/* One pass over the operands; those that fail are out of the next. */
static int each(struct removal *rm, bool is_writable,
		int (*act)(struct removal *, const struct cfs_name *,
			   const char *))
{
	struct cfs_cmd *cmd = rm->cmd;
	const char *operand;
	unsigned int i;
	int r = 0;

	for (i = 0; i < cmd->operand_count && r != -EINTR; i++) {
		CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;

		operand = cmd->operands[i];
		if (rm->is_out[i])
			continue;
		r = cfs_cmd_name(cmd, i, CFS_NAME_VOLUME, CFS_NAME_CLONE,
				 &name);
		if (r == 0)
			r = use_pool(rm, name.pool, is_writable);
		if (r == 0)
			r = cfs_cmd_wrap(cmd, operand, act(rm, &name, operand));
		if (r < 0) {
			cfs_cmd_fail(cmd, NULL, &cmd->err);
			rm->is_out[i] = true;
		}
	}
	if (rm->s && slicectl_close(cmd, rm->pool, &rm->s, 0) < 0)
		cfs_cmd_fail(cmd, NULL, &cmd->err);
	return r == -EINTR ? r : 0;
}

static int run(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cfs_freep) bool *is_out = NULL;
	struct removal rm = { .cmd = cmd };
	int r = 0;

	is_out = calloc(cmd->operand_count + 1, sizeof(*is_out));
	if (!is_out)
		return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	rm.is_out = is_out;
	rm.is_recursive = cfs_cmd_has(cmd, "recursive");
	cfs_out_begin_array(cmd->out, "removed");
	if (!cmd->is_yes && !cmd->is_dry_run)
		r = each(&rm, false, ask);
	if (r == 0)
		(void)each(&rm, true, remove_one);
	cfs_out_end(cmd->out);
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
	free(rm.pool);
	return 0; /* what failed was printed */
}

const struct cfs_verb slicectl_rm = {
	.name = "rm",
	.operands = "POOL:VOLUME...",
	.help = "remove volumes",
	.more = "A volume that has snapshots or clones is removed only with "
		"-r, and they with it. Its space is free at once.",
	.examples = "slicectl rm -y pool.img:vm0/test\n"
		    "slicectl rm -r pool.img:vm0 pool.img:vm1",
	.opts = CFS_OPTS({ .name = "recursive",
			   .letter = 'r',
			   .help = "remove its snapshots and clones too" }),
	.common = CFS_COMMON_WRITE | CFS_COMMON_DESTROY,
	.items = "removed",
	.min_operands = 1,
	.max_operands = CFS_OPERANDS_MANY,
	.run = run,
};
