/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The verbs of cfsck-heal, and what they share.  Exit status is in the bits of
 * fsck(8).  The document is written also when damage was found: then the
 * status is raised, and nothing has "failed".
 */
#pragma once

#include "common/cmd.h"
#include "common/progress.h"
#include "common/table.h"
#include "session/session.h"

extern const struct cfs_verb cfsck_check;
extern const struct cfs_verb cfsck_scrub;
extern const struct cfs_verb cfsck_trace;

/* The same program as fsck(8) calls it. */
extern const struct cfs_tool cfsck_fsck_tool;

/*
 * Open the pool at @pool as far as it goes: to find damage, one must get in.
 * Returns 0, or what cfs_session_open returns with @pool named in cmd->err.
 */
int cfsck_open(struct cfs_cmd *cmd, const char *pool, bool is_writable,
	       struct cfs_session **ret);

/*
 * Commit and let go; *@s is NULL afterwards.  @r is what the work returned,
 * and stays the answer unless it is 0 and closing failed.
 */
int cfsck_close(struct cfs_cmd *cmd, const char *pool, struct cfs_session **s,
		int r);

/* That @container is in the pool, before long work begins.  NULL: all. */
int cfsck_find(struct cfs_cmd *cmd, struct cfs_session *s,
	       const char *container);

/* What a check has found, while it runs and for its end. */
struct cfsck_report {
	struct cfs_cmd *cmd;
	struct cfs_table *table;
	uint64_t left; /* problems */
	uint64_t healed;
};

/*
 * Check @container, or all of the pool, into the array "problems" that is
 * open in cmd->out.  Damage is counted, not returned as an error, also that
 * which keeps the pool from being opened.
 */
int cfsck_check_pool(struct cfsck_report *report, const char *pool,
		     const char *container, struct cfs_check_result *ret);

/* Damage as it is shown by scrub and trace: rows, and items of JSON. */
struct cfs_table *cfsck_damage_table(struct cfs_cmd *cmd);
void cfsck_put_damage(struct cfs_cmd *cmd, struct cfs_table *table,
		      const struct cfs_damage *damage);
