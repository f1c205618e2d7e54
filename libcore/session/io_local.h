/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A volume of a pool that this process holds: see io_ops.h. */
#pragma once

#include "session/io_ops.h"
#include "session/serve_use.h"
#include "session/session_priv.h"

/* As cfs_io_open. */
int cfs_local_io_open(struct cfs_session *s, const char *volume,
		      const char *snap, bool is_writable,
		      struct cfs_io_volume **ret, struct cfs_err *err);

struct cfs_fs_space;

/* What a tree of the session @arg could still hold: for cfs_fs_set_space. */
int cfs_io_tree_space(void *arg, struct cfs_fs_space *ret, struct cfs_err *err);

/* What it is, by numbers, and as it was opened.  False: it is of another kind
 * (a stream that is received). */
bool cfs_local_io_is(struct cfs_io_volume *v, struct cfs_use_of *ret);
/* See cfs_serve_volume_set_moving. */
void cfs_local_io_set_moving(struct cfs_io_volume *v, bool is_moving);

/* Others are answered from now on: trees that are open take leases. */
int cfs_local_begin_leases(struct cfs_session *s, struct cfs_err *err);
