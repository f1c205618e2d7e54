/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The verbs of snapctl, and what they share: a pool that stays open from one
 * operand to the next, and the walk over operands of which each is tried.
 */
#pragma once

#include "common/cmd.h"
#include "common/table.h"
#include "session/session.h"

#include "base/vec.h"

extern const struct cfs_verb snapctl_clone;
extern const struct cfs_verb snapctl_diff;
extern const struct cfs_verb snapctl_hold;
extern const struct cfs_verb snapctl_ls;
extern const struct cfs_verb snapctl_promote;
extern const struct cfs_verb snapctl_prune;
extern const struct cfs_verb snapctl_recv;
extern const struct cfs_verb snapctl_release;
extern const struct cfs_verb snapctl_rename;
extern const struct cfs_verb snapctl_rm;
extern const struct cfs_verb snapctl_rollback;
extern const struct cfs_verb snapctl_send;
extern const struct cfs_verb snapctl_take;
extern const struct cfs_verb snapctl_tree;
extern const struct cfs_verb snapctl_verify;

/*
 * Open the pool at @pool, as a dry run if the command is one.
 * Returns 0, or what cfs_session_open returns with @pool named in cmd->err.
 */
int snapctl_open(struct cfs_cmd *cmd, const char *pool, bool is_writable,
		 struct cfs_session **ret);

/*
 * Commit and let go; *@s is NULL afterwards.  @r is what the work returned,
 * and stays the answer unless it is 0 and closing failed.
 */
int snapctl_close(struct cfs_cmd *cmd, const char *pool, struct cfs_session **s,
		  int r);

/* "would be " in a dry run, else nothing: before "removed" and its like. */
const char *snapctl_would(const struct cfs_cmd *cmd);

/* One operand at work. */
struct snapctl_one {
	struct cfs_cmd *cmd;
	struct cfs_session *s; /* of its pool; an act may close
				* it and set it to NULL */
	const struct cfs_name *name;
	const char *operand;
	void *arg;
};

/*
 * Do @act with every operand whose @is_out is not set, the pool opened as
 * needed.  What fails is printed with its operand, sets its @is_out, and does
 * not stop the others.  @need, @allow: see cfs_name_parse.
 * @arg is for @act.
 * Returns 0; -EINTR: stopped (and printed).
 */
int snapctl_each(struct cfs_cmd *cmd, bool is_writable, unsigned int need,
		 unsigned int allow, bool *is_out,
		 int (*act)(struct snapctl_one *one), void *arg);

/* Snapshots in the order in which the session calls them: old to new. */
struct snapctl_list {
	CFS_VEC(struct cfs_snapshot_info) snaps;
};

/*
 * Collect the snapshots of @volume, or of the pool if it is NULL.  @ret is
 * empty before, and to be given to snapctl_list_donep also when it fails.
 */
int snapctl_list_fill(struct cfs_session *s, const char *volume,
		      bool with_space, struct snapctl_list *ret,
		      struct cfs_err *err);
void snapctl_list_donep(struct snapctl_list *list);

/* ------------------------------------------------------------- streams */

/* A pipe that holds a megabyte lets both of its ends work at once. */
void snapctl_widen_pipe(int fd);
struct cfs_stream_begin;
/* What a stream is of, and what it begins at: into the JSON document. */
void snapctl_put_stream(struct cfs_cmd *cmd,
			const struct cfs_stream_begin *begin);

/*
 * Standard input in pieces of up to a megabyte, read ahead by a thread of its
 * own.
 */
struct snapctl_input;
int snapctl_input_new(struct cfs_cmd *cmd, struct snapctl_input **ret);
void snapctl_input_donep(struct snapctl_input **in);
/*
 * The next bytes, until the next call; 0 bytes: the end.
 * -EINTR: a signal asked to stop; or what read(2) says.
 */
int snapctl_input_next(struct snapctl_input *in, const void **ret,
		       size_t *ret_bytes);
