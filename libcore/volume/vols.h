/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The volumes of one container, to be attached to it as its hooks.
 */
#pragma once

#include "tree/hooks.h"

struct cfs_vols;

extern const struct cfs_container_hooks cfs_vols_hooks;

int cfs_vols_new(struct cfs_vols **ret, struct cfs_err *err);
/* A container that was just made did not call the opened hook. */
void cfs_vols_attach(struct cfs_vols *v, struct cfs_container *c);
/* After its container is closed.  NULL is allowed. */
void cfs_vols_free(struct cfs_vols *v);
