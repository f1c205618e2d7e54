/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Leaving a device out of an open set: it missed writes and is not read. */
#pragma once

#include "pool/devset.h"

/* From now on as if missing; its label stays known.  Before the pool opens. */
void cfs_devset_exclude(struct cfs_devset *set, uint32_t index);
/* The same, but the device stays open, and is the caller's: for those who have
 * it in hand still.  NULL: it was missing. */
struct cfs_dev *cfs_devset_take(struct cfs_devset *set, uint32_t index);
