/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A clone becomes a container of its own, in parts that the holder of a pool
 * does one by one; dispatch is in promote_call.c.
 */
#pragma once

#include "session/session.h"

/*
 * Copy what is not copied yet; the clone may be in use.  A dry run only counts.
 * @ret_bytes: data that was copied, or would be; also on failure.
 * -EINVAL: no clone; -EBUSY: it has clones; -EEXIST: @name; -ESTALE: what was
 * copied before is of no use, to be undone; -EINTR, -ENOSPC.
 */
int cfs_local_promote(struct cfs_session *s,
		      const struct cfs_session_options *calls,
		      const char *clone, const char *name, uint64_t *ret_bytes,
		      struct cfs_err *err);
/* -EAGAIN: something changed since; -EBUSY: the clone is in use. */
int cfs_local_promote_end(struct cfs_session *s, const char *clone,
			  const char *name, struct cfs_err *err);
/* Give up what was copied, if anything was. */
int cfs_local_promote_undo(struct cfs_session *s, const char *clone,
			   struct cfs_err *err);
