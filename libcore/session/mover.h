/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread of a session that others are answered by: it empties the devices
 * whose records say that they are being evacuated, one after the other.  So an
 * evacuation that its tool, or the process that held the pool before, left
 * unfinished goes on by itself.
 *
 * What others stand in the way of is tried again a little later; any other
 * failure is told to the log, and waits for the next wake.
 */
#pragma once

#include "base/log.h"
#include "session/session.h"

struct cfs_mover;

/* It begins with what is left of before.  @logger may be NULL. */
int cfs_mover_new(struct cfs_session *s, const struct cfs_logger *logger,
		  struct cfs_mover **ret, struct cfs_err *err);
/* Something is to be done.  @replaced: this device is taken out when it is
 * empty; CFS_POOL_NO_DEVICE: none. */
void cfs_mover_wake(struct cfs_mover *m, uint32_t replaced);
/* Nothing is left that it could do now. */
bool cfs_mover_is_idle(struct cfs_mover *m);
/* Stops where it is.  NULL is allowed. */
void cfs_mover_free(struct cfs_mover *m);
