/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cfscp SRC... DST: which kind of copy each source becomes. */
#include "cfscp/cfscp.h"

#include "base/cleanup.h"

#include <string.h>
#include <sys/stat.h>

static bool is_volume(const struct cp_operand *op)
{
	return op->kind == CP_LUN || op->kind == CP_TREE;
}

static int check_operands(struct cp *cp)
{
	struct cfs_cmd *cmd = cp->cmd;
	const struct cp_operand *dst = &cp->operands[cp->operand_count - 1];
	unsigned int stdin_count = 0;
	size_t i;

	for (i = 0; i + 1 < cp->operand_count; i++) {
		if (!is_volume(&cp->operands[i]) && !is_volume(dst))
			return cfs_cmd_usage(cmd,
					     "neither '%s' nor '%s' is a "
					     "volume: name one as POOL:VOLUME",
					     cp->operands[i].text, dst->text);
		stdin_count += cp->operands[i].kind == CP_STDIO;
	}
	if (stdin_count > 1)
		return cfs_cmd_usage(cmd, "standard input is named twice");
	return 0;
}

/* The range belongs to LUNs: without one it would mean nothing. */
static int check_range(struct cp *cp)
{
	size_t i;

	if (!cfs_cmd_has(cp->cmd, "offset") && !cfs_cmd_has(cp->cmd, "length"))
		return 0;
	for (i = 0; i < cp->operand_count; i++)
		if (cp->operands[i].kind == CP_LUN)
			return 0;
	return cfs_cmd_usage(cp->cmd, "--offset and --length are a range of a "
				      "LUN, and none is named");
}

/* Something of the host that takes bytes in place: a device, a fifo. */
static bool is_special(const struct cp_operand *op)
{
	struct stat st;

	return op->kind == CP_HOST && stat(op->path, &st) == 0 &&
	       !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

static int copy_one(struct cp *cp, struct cp_operand *src,
		    struct cp_operand *dst, bool must_be_directory)
{
	int r = 0;

	if (is_volume(src) && !src->io)
		r = cp_open(cp, src, false);
	if (r < 0)
		return r;
	if (src->kind == CP_LUN || src->kind == CP_STDIO ||
	    dst->kind == CP_LUN || dst->kind == CP_STDIO || is_special(dst))
		return cp_copy_bytes(cp, src, dst, must_be_directory);
	return cp_copy_entries(cp, src, dst, must_be_directory);
}

static int check_several(struct cp *cp, const struct cp_operand *dst)
{
	if (cp->operand_count > 2 && dst->kind == CP_LUN)
		return cfs_cmd_usage(cp->cmd,
				     "'%s' is a LUN: it takes one "
				     "source",
				     dst->text);
	if (cp->operand_count > 2 && dst->kind == CP_STDIO)
		return cfs_cmd_usage(cp->cmd,
				     "standard output takes one source");
	return 0;
}

static int copy_all(struct cp *cp)
{
	struct cp_operand *dst = &cp->operands[cp->operand_count - 1];
	bool is_several = cp->operand_count > 2;
	size_t i;
	int r;

	r = is_volume(dst) ? cp_open(cp, dst, true) : 0;
	if (r == 0)
		r = check_several(cp, dst);
	/* All kinds are known before anything is copied. */
	for (i = 0; i + 1 < cp->operand_count && r == 0; i++) {
		if (is_volume(&cp->operands[i]))
			r = cp_open(cp, &cp->operands[i], false);
		if (r < 0 && is_several && r != -EINTR) {
			(void)cfs_cmd_fail(cp->cmd, NULL, &cp->cmd->err);
			r = 0;
		}
	}
	if (r == 0)
		r = check_range(cp);
	for (i = 0; i + 1 < cp->operand_count && r == 0; i++) {
		if (is_volume(&cp->operands[i]) && !cp->operands[i].io)
			continue;
		r = copy_one(cp, &cp->operands[i], dst, is_several);
		cp_tell_damage(cp);
		/* The others are tried all the same. */
		if (r < 0 && r != -EINTR && is_several) {
			(void)cfs_cmd_fail(cp->cmd, NULL, &cp->cmd->err);
			r = 0;
		}
	}
	return r;
}

int cp_run_copy(struct cfs_cmd *cmd)
{
	CFS_CLEANUP(cp_donep) struct cp cp;
	int r;

	r = cp_init(&cp, cmd, cmd->operand_count - 1, false);
	if (r == 0)
		r = check_operands(&cp);
	if (r < 0)
		return r;
	r = cp_close(&cp, copy_all(&cp));
	if (r == 0)
		cp_put_outcomes(&cp, cmd->operands[cmd->operand_count - 1]);
	return r;
}
