/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The verbs of slicectl, and what they share: a pool that stays open from one
 * operand to the next, and one way to show a pool, a device or a volume in
 * JSON, so that the same fact has the same key in every verb.
 */
#pragma once

#include "common/cmd.h"
#include "common/table.h"
#include "session/session.h"

extern const struct cfs_tool slicectl_tool;

extern const struct cfs_verb slicectl_add;
extern const struct cfs_verb slicectl_df;
extern const struct cfs_verb slicectl_evacuate;
extern const struct cfs_verb slicectl_ls;
extern const struct cfs_verb slicectl_map;
extern const struct cfs_verb slicectl_pools;
extern const struct cfs_verb slicectl_provision;
extern const struct cfs_verb slicectl_remove;
extern const struct cfs_verb slicectl_rename;
extern const struct cfs_verb slicectl_replace;
extern const struct cfs_verb slicectl_resize;
extern const struct cfs_verb slicectl_rm;
extern const struct cfs_verb slicectl_set;
extern const struct cfs_verb slicectl_shell;
extern const struct cfs_verb slicectl_show;
extern const struct cfs_verb slicectl_trim;

/*
 * Open the pool at @pool, as a dry run if the command is one.
 * Returns 0, or what cfs_session_open returns with @pool named in cmd->err.
 */
int slicectl_open(struct cfs_cmd *cmd, const char *pool, bool is_writable,
		  struct cfs_session **ret);

/*
 * Commit and let go; *@s is NULL afterwards.  @r is what the work returned,
 * and stays the answer unless it is 0 and closing failed.
 */
int slicectl_close(struct cfs_cmd *cmd, const char *pool,
		   struct cfs_session **s, int r);

/* "would be " in a dry run, else nothing: before "removed" and its like. */
const char *slicectl_would(const struct cfs_cmd *cmd);

/* Into the open object of cmd->out. */
void slicectl_out_pool(struct cfs_out *out, const struct cfs_pool_info *info);
void slicectl_out_volume(struct cfs_out *out,
			 const struct cfs_volume_info *info);
void slicectl_out_snapshot(struct cfs_out *out,
			   const struct cfs_snapshot_info *info);
/* An object of its own in the array that is open. */
/* A move of slices, as background.c begins it. */
struct slicectl_move {
	struct cfs_cmd *cmd;
	const char *pool, *device, *path;
	const char *without; /* or NULL */
	/* Errors are in cmd->err. */
	int (*begin)(struct slicectl_move *mv, struct cfs_session *s,
		     struct cfs_move_result *ret);
};
/* Returns when it is begun; *ret: what is to be moved. */
int slicectl_move_background(struct cfs_cmd *cmd, struct slicectl_move *mv,
			     struct cfs_move_result *ret);

void slicectl_out_device(struct cfs_out *out,
			 const struct cfs_device_info *info);

/* "lun", "tree"; a kind that is not known, from a newer pool: "unknown". */
const char *slicectl_kind_name(uint32_t kind);
enum cfs_color slicectl_pool_color(enum cfs_pool_state state);
