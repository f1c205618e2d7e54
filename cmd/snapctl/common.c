/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the verbs of snapctl share. */
#include "snapctl/snapctl.h"

#include "base/cleanup.h"

#include <stdlib.h>
#include <string.h>

int snapctl_open(struct cfs_cmd *cmd, const char *pool, bool is_writable,
		 struct cfs_session **ret)
{
	struct cfs_session_options opt = { .is_writable = is_writable,
					   CFS_CMD_SESSION(cmd) };
	int r = cfs_session_open(pool, &opt, ret, &cmd->err);

	return cfs_cmd_wrap(cmd, pool, r);
}

int snapctl_close(struct cfs_cmd *cmd, const char *pool, struct cfs_session **s,
		  int r)
{
	struct cfs_err err = CFS_ERR_INIT;
	int r2 = cfs_session_close(*s, &err);

	*s = NULL;
	if (r2 == 0 || r < 0)
		return r;
	cmd->err = err;
	return cfs_cmd_wrap(cmd, pool, r2);
}

const char *snapctl_would(const struct cfs_cmd *cmd)
{
	return cmd->is_dry_run ? "would be " : "";
}

/* ----------------------------------------------------------------- each */

struct walk {
	struct snapctl_one one;
	char *pool; /* that one.s is of */
};

static int use_pool(struct walk *w, const char *pool, bool is_writable)
{
	struct cfs_cmd *cmd = w->one.cmd;
	int r = 0;

	if (w->one.s && !strcmp(w->pool, pool))
		return 0;
	if (w->one.s)
		r = snapctl_close(cmd, w->pool, &w->one.s, 0);
	free(w->pool);
	w->pool = strdup(pool);
	if (!w->pool)
		r = cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	return r < 0 ? r : snapctl_open(cmd, pool, is_writable, &w->one.s);
}

int snapctl_each(struct cfs_cmd *cmd, bool is_writable, unsigned int need,
		 unsigned int allow, bool *is_out,
		 int (*act)(struct snapctl_one *one), void *arg)
{
	struct walk w = { .one = { .cmd = cmd, .arg = arg } };
	unsigned int i;
	int r = 0;

	for (i = 0; i < cmd->operand_count && r != -EINTR; i++) {
		CFS_CLEANUP(cfs_name_done) struct cfs_name name = CFS_NAME_INIT;

		if (is_out[i])
			continue;
		w.one.operand = cmd->operands[i];
		w.one.name = &name;
		r = cfs_cmd_name(cmd, i, need, allow, &name);
		if (r == 0)
			r = use_pool(&w, name.pool, is_writable);
		if (r == 0)
			r = cfs_cmd_wrap(cmd, w.one.operand, act(&w.one));
		if (r < 0) {
			cfs_cmd_fail(cmd, NULL, &cmd->err);
			is_out[i] = true;
		}
	}
	if (w.one.s && snapctl_close(cmd, w.pool, &w.one.s, 0) < 0)
		cfs_cmd_fail(cmd, NULL, &cmd->err);
	free(w.pool);
	return r == -EINTR ? r : 0;
}

/* ---------------------------------------------------------------- lists */

static int add(void *arg, const struct cfs_snapshot_info *info)
{
	struct snapctl_list *list = arg;

	return cfs_vec_push(&list->snaps, *info) < 0 ? -ENOMEM : 0;
}

int snapctl_list_fill(struct cfs_session *s, const char *volume,
		      bool with_space, struct snapctl_list *ret,
		      struct cfs_err *err)
{
	int r = cfs_session_snapshots(s, volume, with_space, add, ret, err);

	if (r == -ENOMEM)
		return cfs_err_set(err, r, "out of memory");
	return r;
}

void snapctl_list_donep(struct snapctl_list *list)
{
	cfs_vec_done(&list->snaps);
}
