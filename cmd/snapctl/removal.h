/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Snapshots that go, as rm and prune choose them: many with one commit, what
 * cannot go skipped and named, and both told in the document.
 */
#pragma once

#include "snapctl/snapctl.h"

#define SNAPCTL_REMOVAL_INIT                                                   \
	{                                                                      \
		.skipped = {.snaps = CFS_VEC_INIT }                            \
	}

struct snapctl_removal {
	/* What goes at once; the snapshots are the caller's, and stay until
	 * they are flushed. */
	const struct cfs_snapshot_info *infos[CFS_SNAP_REMOVE_MAX];
	unsigned int count;
	struct snapctl_list skipped;
};

void snapctl_removal_donep(struct snapctl_removal *removal);

/* It is held or has clones: it cannot go. */
bool snapctl_is_stuck(const struct cfs_snapshot_info *info);

/*
 * Let @info go with the next batch, or skip and name it if it is stuck.
 * @one's session is open for writing.  0; -EINTR, -ENOMEM or what removing
 * returns, with one->cmd->err set.
 */
int snapctl_removal_add(struct snapctl_removal *removal,
			struct snapctl_one *one,
			const struct cfs_snapshot_info *info);
int snapctl_removal_flush(struct snapctl_removal *removal,
			  struct snapctl_one *one);

/* "skipped" and "is_dry_run" of the document. */
void snapctl_removal_end(const struct snapctl_removal *removal,
			 struct cfs_cmd *cmd);
