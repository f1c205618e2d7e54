/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A session on devices that are open already (memory, simulation), and one
 * that ends as a crash would end it.  All else is as in session.h, so what is
 * proved this way is proved of what the tools do.
 */
#pragma once

#include "device/device.h"
#include "session/session.h"

/*
 * As cfs_session_open; labels are read from @devices, which come in any order
 * and belong to the session from now on, also when it fails.  -EAGAIN: their
 * labels changed meanwhile.
 */
int cfs_session_open_devices(struct cfs_dev *const *devices, size_t count,
			     const struct cfs_session_options *opt,
			     struct cfs_session **ret, struct cfs_err *err);
/* Forget everything and let go, without a write.  NULL is allowed. */
void cfs_session_drop(struct cfs_session *s);
