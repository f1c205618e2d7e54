/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Streams of snapshots, and what changed between two, of a session: see
 * volume/stream.h and volume/diff_paths.h.
 *
 * Names and errors are as in session.h.
 */
#pragma once

#include "session/session.h"
#include "volume/diff_paths.h"
#include "volume/stream.h"

struct cfs_send_options {
	const char *volume, *snap;
	/* The snapshot that the receiver has, of the volume or, for a clone, of
	 * what it is a clone of; NULL: it has nothing. */
	const char *base;
	/* Of cfs_session_recv_token, and then base may be NULL; or NULL. */
	const char *token;
};
/* Bytes of the stream; what it returns but 0 ends it. */
typedef int (*cfs_stream_write_fn)(void *arg, const void *bytes, size_t n,
				   struct cfs_err *err);
/*
 * -ENOENT; -EINVAL: the base is of another line, or the token of another
 * snapshot; -EUCLEAN: damage on the way; -EINTR.
 */
int cfs_session_send(struct cfs_session *s, const struct cfs_send_options *opt,
		     cfs_stream_write_fn write, void *arg,
		     struct cfs_stream_totals *ret, struct cfs_err *err);

/* What a stream begins with: by then it is known what it is. */
#define CFS_STREAM_BEGIN_BYTES                                                 \
	(sizeof(struct cfs_stream_head_disk) +                                 \
	 sizeof(struct cfs_stream_begin_disk))

/*
 * Receive a stream into @volume, which is made if there is none.  The bytes
 * are written with cfs_io_write in order from offset 0, @begin first: it is
 * only looked at here.  cfs_io_sync says that nothing follows: 0 if all has
 * come and the snapshot is there; -ENODATA: it was cut.  cfs_io_close keeps
 * what has come.
 * -EMEDIUMTYPE, -ENOTSUP, -EUCLEAN: no stream, a newer one, an altered one; and
 * what cfs_receiver_new returns; -EBUSY: the volume is in use.
 */
int cfs_session_recv(struct cfs_session *s, const char *volume, bool is_forced,
		     const void *begin, size_t begin_bytes,
		     struct cfs_io_volume **ret, struct cfs_err *err);
/* Where a stream into it was broken off: -ENOENT: none was. */
int cfs_session_recv_token(struct cfs_session *s, const char *volume,
			   char ret[CFS_STREAM_TOKEN_BYTES],
			   struct cfs_err *err);

struct cfs_session_diff {
	const char *volume, *snap;
	const char *to_volume;
	const char *to_snap; /* NULL: as it is now */
};
/*
 * What makes the second of the first: ranges of a LUN in order, paths of a
 * tree in order.  -EINVAL: they have no ancestor in common.
 */
int cfs_session_diff(struct cfs_session *s, const struct cfs_session_diff *of,
		     cfs_diff_item_fn each, void *arg, struct cfs_err *err);
