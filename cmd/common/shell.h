/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The verbs of a tool at a prompt.  The pool is known, so it is left out:
 * "status", "renew LEASE", "rm :vm0".  A verb that takes a pool alone gets it
 * where no word begins with ':'.
 *
 * At a terminal there are history, kept from one shell to the next in
 * $XDG_STATE_HOME/cfs (~/.local/state/cfs), and completion; else lines come
 * from standard input, '#' begins a comment, and the highest status counts.
 *
 * readline is linked by tools with a shell alone; it is under the GPL,
 * version 3.  One shell a process.
 */
#pragma once

#include "common/cmd.h"

/* A name that @text may be completed to; copied.  0 or -ENOMEM. */
typedef int (*cfs_shell_add_fn)(const char *name);

struct cfs_shell {
	const struct cfs_tool *tool;
	const struct cfs_verb *verb; /* that is the shell: not offered */
	/*
	 * Give every name of the pool that begins with @text (":vm", ":vm0@a"),
	 * or more.  Completion is a help and no promise: it does not wait, and
	 * nothing is said of errors.
	 */
	void (*list)(struct cfs_cmd *cmd, const char *pool, const char *text,
		     cfs_shell_add_fn add);
};

/* Until the end of input, or "exit".  As a verb's run returns.  @pool is also
 * $CFS_POOL meanwhile. */
int cfs_shell_run(const struct cfs_shell *config, struct cfs_cmd *cmd,
		  const char *pool);
