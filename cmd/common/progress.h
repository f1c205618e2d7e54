/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Progress of work that can last: a line on standard error when that is a
 * terminal and more than a second has passed, JSON Lines with
 * --progress=json, and one line whenever SIGUSR1 asks.
 *
 *	struct cfs_progress *p = cfs_progress_begin(cmd, "copy", "bytes", n);
 *	...libcore_copy(..., cfs_progress_update, p, ...);
 *	cfs_progress_end(p);
 *
 * cfs_cmd_progress is the same callback for who knows @cmd only.
 *
 * A JSON line has: schema, version, task, unit, done, total (null if not
 * known), per_second, elapsed_ns, left_ns (null if not known), is_done.
 */
#pragma once

#include "common/cmd.h"

struct cfs_progress;

/*
 * @task   a word for people ("scrub"); @unit  "bytes", or what is counted
 * @total  0: not known yet.  Both strings must stay until the end.
 * Returns the caller's, for cfs_progress_end.  NULL: no memory, which the
 * others accept: work does not fail for want of a progress line.  One at a
 * time for each command.
 */
struct cfs_progress *cfs_progress_begin(struct cfs_cmd *cmd, const char *task,
					const char *unit, uint64_t total);

/*
 * @done of @total are done, counted from the begin; a @total of 0 leaves what
 * is known.  A callback for libcore, from any thread; cheap, so call it often.
 * @progress is a struct cfs_progress.
 */
void cfs_progress_update(void *progress, uint64_t done, uint64_t total);

/* The work has ended, well or not: remove the line, free @progress. */
void cfs_progress_end(struct cfs_progress *progress);
