/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * mkcfs POOL:NAME: a container with its production volume.  One that is filled
 * is unfinished until all has come and is durable: if this process dies, the
 * next that opens the pool removes it; if filling fails, this one does.
 */
#include "mkcfs/mkcfs.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "common/table.h"
#include "ondisk/table.h"

#include <string.h>

struct plan {
	struct cfs_name name;
	uint32_t kind;
	const char *from;    /* NULL: empty */
	bool is_auto;        /* as large as the image */
	uint64_t size_bytes; /* of a LUN */
	uint64_t limit_bytes;
	uint64_t copied_bytes;
	struct mkcfs_image image;
};

static void plan_donep(struct plan *plan)
{
	cfs_name_done(&plan->name);
	mkcfs_image_donep(&plan->image);
}

/* How large the LUN is to be, and whether the image fits it. */
static int plan_lun(struct cfs_cmd *cmd, struct plan *plan)
{
	const struct cfs_opt_value *lun = cfs_cmd_value(cmd, "lun", 0);
	struct mkcfs_image *image = &plan->image;
	int r;

	plan->is_auto = lun->is_word;
	plan->size_bytes = plan->is_auto ? 0 : lun->number;
	if (plan->is_auto && !plan->from)
		return cfs_cmd_usage(cmd, "--lun auto needs --from");
	if (plan->size_bytes % CFS_BLOCK_BYTES)
		return cfs_cmd_usage(cmd,
				     "--lun %s: not a multiple of 4096 "
				     "bytes",
				     lun->text);
	if (!plan->from)
		return 0;
	r = mkcfs_image_open(plan->from, image, &cmd->err);
	if (r < 0)
		return r;
	if (!image->has_size) {
		if (plan->is_auto)
			plan->size_bytes = MKCFS_LUN_BYTES_MAX;
		return 0;
	}
	if (!plan->is_auto && image->size_bytes > plan->size_bytes)
		return cfs_err_set(&cmd->err, -ENOSPC,
				   "%s: %llu bytes do not "
				   "fit the LUN",
				   image->name,
				   (unsigned long long)image->size_bytes);
	if (plan->is_auto)
		plan->size_bytes = cfs_align_up(image->size_bytes,
						CFS_BLOCK_BYTES);
	if (plan->is_auto && !plan->size_bytes)
		return cfs_err_set(&cmd->err, -EINVAL,
				   "%s: the image is "
				   "empty: give a size",
				   image->name);
	return 0;
}

static int make_plan(struct cfs_cmd *cmd, struct plan *plan)
{
	int r = cfs_cmd_set_schema(cmd, "volume");

	if (r == 0)
		r = cfs_cmd_name(cmd, 0, CFS_NAME_VOLUME, 0, &plan->name);
	if (r < 0)
		return r;
	if (cmd->operand_count > 1)
		return cfs_cmd_usage(cmd, "'%s' is one operand too many",
				     cmd->operands[1]);
	plan->from = cfs_cmd_str(cmd, "from", NULL);
	plan->limit_bytes = cfs_cmd_u64(cmd, "limit", 0);
	plan->kind = cfs_cmd_has(cmd, "lun") ? CFS_VOLUME_LUN : CFS_VOLUME_TREE;
	return plan->kind == CFS_VOLUME_LUN ? plan_lun(cmd, plan) : 0;
}

/* A plan reads no image: it may be larger than memory. */
static int fill(struct cfs_cmd *cmd, struct cfs_session *s, struct plan *plan)
{
	bool cuts = plan->is_auto && !plan->image.has_size;

	if (!plan->from || (cmd->is_dry_run && plan->kind == CFS_VOLUME_LUN))
		return 0;
	if (plan->kind == CFS_VOLUME_TREE)
		return mkcfs_fill_tree(cmd, s, plan->name.volume, plan->from);
	return mkcfs_fill_lun(cmd, s, plan->name.volume, &plan->image, cuts,
			      &plan->size_bytes, &plan->copied_bytes);
}

static int make(struct cfs_cmd *cmd, struct cfs_session *s, struct plan *plan)
{
	const char *volume = plan->name.volume;
	int r;

	r = cfs_session_create(s, volume, plan->kind, plan->size_bytes,
			       plan->limit_bytes, plan->from != NULL,
			       &cmd->err);
	if (r < 0)
		return r;
	r = fill(cmd, s, plan);
	if (r == 0 && plan->from)
		r = cfs_session_finish_volume(s, volume, &cmd->err);
	if (r < 0 && plan->from) /* else the next opener removes it */
		(void)cfs_session_remove_volume(s, volume, true, NULL);
	return r;
}

static void put(struct cfs_cmd *cmd, const struct plan *plan)
{
	bool is_lun = plan->kind == CFS_VOLUME_LUN;
	/* A plan does not read a pipe. */
	bool has_size = is_lun && (plan->size_bytes < MKCFS_LUN_BYTES_MAX ||
				   !plan->is_auto);
	char size[CFS_TABLE_SIZE_BYTES];

	cfs_cmd_say(cmd, "%s: %s%s%s%s %smade\n", cmd->operands[0],
		    is_lun ? "LUN" : "tree", has_size ? " of " : "",
		    has_size
			    ? cfs_table_format_size(cmd, plan->size_bytes, size)
			    : "",
		    plan->from ? ", filled," : "",
		    cmd->is_dry_run ? "would be " : "");
	cfs_out_begin_obj(cmd->out, "volume");
	cfs_out_str(cmd->out, "name", plan->name.volume);
	cfs_out_str(cmd->out, "kind", is_lun ? "lun" : "tree");
	if (has_size)
		cfs_out_u64(cmd->out, "size_bytes", plan->size_bytes);
	else
		cfs_out_null(cmd->out, "size_bytes");
	if (plan->limit_bytes)
		cfs_out_u64(cmd->out, "limit_bytes", plan->limit_bytes);
	else
		cfs_out_null(cmd->out, "limit_bytes");
	cfs_out_end(cmd->out);
	if (is_lun && plan->from) {
		cfs_out_begin_obj(cmd->out, "copied");
		cfs_out_u64(cmd->out, "data_bytes", plan->copied_bytes);
		cfs_out_end(cmd->out);
	}
	cfs_out_bool(cmd->out, "is_dry_run", cmd->is_dry_run);
}

/* Nothing half-done is left: what fails to be durable is removed. */
static int make_in_pool(struct cfs_cmd *cmd, struct plan *plan)
{
	CFS_CLEANUP(cfs_session_closep) struct cfs_session *s = NULL;
	struct cfs_session_options opt = { .is_writable = true,
					   CFS_CMD_SESSION(cmd) };
	struct cfs_err err = CFS_ERR_INIT;
	int r, r2;

	r = cfs_session_open(plan->name.pool, &opt, &s, &cmd->err);
	if (r < 0)
		return cfs_cmd_wrap(cmd, plan->name.pool, r);
	r = cfs_cmd_wrap(cmd, cmd->operands[0], make(cmd, s, plan));
	r2 = cfs_session_close(CFS_STEAL(s), &err);
	if (r == 0 && r2 < 0) {
		cmd->err = err;
		r = cfs_cmd_wrap(cmd, cmd->operands[0], r2);
	}
	return r;
}

int mkcfs_make_volume(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(plan_donep)
	struct plan plan = {
		.name = CFS_NAME_INIT,
		.image = { .fd = -1 },
	};
	int r = make_plan(cmd, &plan);

	if (r == 0)
		r = make_in_pool(cmd, &plan);
	if (r == 0)
		put(cmd, &plan);
	return r;
}
