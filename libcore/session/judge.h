/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * May this device be taken?  One answer, with the same words, for whoever is
 * about to write a label: mkcfs, and later adding or replacing a device.
 */
#pragma once

#include "session/session.h"

#define CFS_JUDGE_TEXT_BYTES 256u

/*
 * Judge what cfs_probe_device found on @path.
 * @is_forced  what stands there may be lost
 * @may_make   a file that is not there is made
 * @ret_lost   set on success: what is lost ('ext4 with the label "root"'),
 *             empty if nothing is known to be there
 * Returns 0; -ENOENT; -EBUSY: in use, forced or not; -EEXIST: something stands
 * there and @is_forced is not set.
 */
int cfs_device_judge(const char *path, const struct cfs_probe *probe,
		     bool is_forced, bool may_make,
		     char ret_lost[CFS_JUDGE_TEXT_BYTES], struct cfs_err *err);

/*
 * The name of a pool: up to 63 bytes of printable UTF-8 without backslash, so
 * that no label can do anything to a terminal.  Returns 0 or -EINVAL.
 */
int cfs_pool_name_check(const char *name, struct cfs_err *err);
