/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Moving what a pool has from one device to another, on a pool that this
 * process has to itself: nobody is answered, and nobody writes beside it.
 */
#pragma once

#include "session/session.h"

int cfs_local_evacuate(struct cfs_session *s, const char *device,
		       struct cfs_move_result *ret, struct cfs_err *err);
int cfs_local_remove_device(struct cfs_session *s, const char *device,
			    bool is_forced, struct cfs_err *err);
int cfs_local_replace_device(struct cfs_session *s, const char *old,
			     const char *path, bool is_forced,
			     struct cfs_move_result *ret, struct cfs_err *err);
int cfs_local_make_mirror(struct cfs_session *s, struct cfs_move_result *ret,
			  struct cfs_err *err);
/*
 * The seat names the places of the root as the map has them: a move that broke
 * off may have left others there too.  For a pool that was just opened.
 */
int cfs_session_level_roots(struct cfs_session *s, struct cfs_err *err);
