/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making a pool on devices that are open: what cfs_pool_format does when it
 * has checked and opened the paths.  For devices that have none.
 */
#pragma once

#include "device/device.h"
#include "session/session.h"

/*
 * @devices  opt->device_count of them, all writable, locked by whoever must;
 *           they are taken over, and closed also on failure
 * @opt      its devices are what errors call them; sizes are those of the
 *           devices, nothing is probed or wiped, and a dry run is refused
 * -EINVAL: too small, no power of two, one device for a mirror; -EIO.
 */
int cfs_format_devices(struct cfs_dev *const *devices,
		       const struct cfs_format_options *opt,
		       struct cfs_format_result *ret, struct cfs_err *err);
