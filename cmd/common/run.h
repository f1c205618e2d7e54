/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a process that answers others takes from its surroundings: where its
 * socket goes, and whom it tells that it is ready.
 */
#pragma once

#include "common/cmd.h"

#define CFS_RUN_DIRECTORY_BYTES 4096u

/*
 * $CFS_RUN, else /run/cfs (root), else $XDG_RUNTIME_DIR/cfs; not made here.
 * 0; -ENOENT: there is none of them.
 */
int cfs_cmd_run_directory(struct cfs_cmd *cmd,
			  char ret[CFS_RUN_DIRECTORY_BYTES]);
/* The same without a command; @run: $CFS_RUN or NULL. */
int cfs_run_directory(const char *run, char ret[CFS_RUN_DIRECTORY_BYTES],
		      struct cfs_err *err);

/*
 * Tell the service manager that started us ($NOTIFY_SOCKET) @state, as
 * sd_notify(3) does: "READY=1", "STOPPING=1".  Nothing happens if nobody
 * asked for it.
 */
void cfs_cmd_notify(const char *state);

/* Sleep until a signal asks to stop (cfs_cmd_is_stopped). */
void cfs_cmd_wait_for_stop(void);
