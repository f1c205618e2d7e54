/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Exit status.  Scripts branch on it, so the same fact has the same number in
 * every tool; where several things went wrong the highest number counts.
 * cfsck-heal keeps the bits of fsck(8) instead, which add up.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>

enum cfs_status {
	CFS_STATUS_DONE = 0,
	CFS_STATUS_FAILED = 1, /* also: it exists already */
	CFS_STATUS_USAGE = 2,
	CFS_STATUS_ABSENT = 3,
	CFS_STATUS_BUSY = 4,
	CFS_STATUS_REFUSED = 5, /* without --yes or --force */
	CFS_STATUS_NO_SPACE = 6,
	CFS_STATUS_DAMAGED = 7,
	CFS_STATUS_NOT_CFS = 8, /* or too new */
	CFS_STATUS_DEVICE = 9,
	CFS_STATUS_DENIED = 10,
};

enum cfs_fsck_status {
	CFS_FSCK_CLEAN = 0,
	CFS_FSCK_HEALED = 1, /* all of it */
	CFS_FSCK_DAMAGE_LEFT = 4,
	CFS_FSCK_FAILED = 8,
	CFS_FSCK_USAGE = 16,
	CFS_FSCK_CANCELLED = 32,
};

/*
 * The code of a safety check that --force overrides, or of destruction that
 * nobody has agreed to.  No system call that we make returns this errno for
 * another reason.
 */
#define CFS_REFUSED (-ECANCELED)

/* The exit status of a tool that fails with @code, a negative errno. */
int cfs_status_of(int code, bool is_fsck);

/* What a command returns that has met both. */
int cfs_status_join(int a, int b, bool is_fsck);
