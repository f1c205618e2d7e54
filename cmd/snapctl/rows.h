/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Many snapshots in little memory.  Nothing may be printed before all of them
 * are known, since a command that fails prints nothing; and there may be a
 * hundred thousand, of which the next is mostly like the last.  So each is
 * kept as what differs from the one before it, some twenty bytes.
 */
#pragma once

#include "base/buf.h"
#include "session/session.h"

struct snapctl_rows {
	struct cfs_buf bytes;
	struct cfs_snapshot_info last; /* that was added */
};

#define SNAPCTL_ROWS_INIT                                                      \
	{                                                                      \
		.bytes = CFS_BUF_INIT                                          \
	}

void snapctl_rows_donep(struct snapctl_rows *rows);

/* 0 or -ENOMEM. */
int snapctl_rows_add(struct snapctl_rows *rows,
		     const struct cfs_snapshot_info *info);

/*
 * From the first one on: @at and @ret are all zeroes before the first call, and
 * left alone between the calls.  False: there are no more.
 */
bool snapctl_rows_next(const struct snapctl_rows *rows, size_t *at,
		       struct cfs_snapshot_info *ret);
