/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Moving what a pool has from one device to another, in the process that holds
 * it, beside all who use it.
 */
#pragma once

#include "session/session.h"

/* @calls: stop, progress and arg of whoever asks; in_background: it goes on
 * when this returns, if others are answered here. */
int cfs_local_evacuate(struct cfs_session *s,
		       const struct cfs_session_options *calls,
		       const char *device, struct cfs_move_result *ret,
		       struct cfs_err *err);
int cfs_local_remove_device(struct cfs_session *s,
			    const struct cfs_session_options *calls,
			    const char *device, bool is_forced,
			    struct cfs_err *err);
int cfs_local_replace_device(struct cfs_session *s,
			     const struct cfs_session_options *calls,
			     const char *old, const char *path, bool is_forced,
			     struct cfs_move_result *ret, struct cfs_err *err);
int cfs_local_make_mirror(struct cfs_session *s,
			  const struct cfs_session_options *calls,
			  struct cfs_move_result *ret, struct cfs_err *err);
/* What is left of an evacuation, and (@is_replaced) of a replacement. */
int cfs_local_move_rest(struct cfs_session *s,
			const struct cfs_session_options *calls, uint32_t index,
			bool is_replaced, struct cfs_err *err);
/*
 * The seat names the places of the root as the map has them: a move that broke
 * off may have left others there too.  For a pool that was just opened.
 */
int cfs_session_level_roots(struct cfs_session *s, struct cfs_err *err);
