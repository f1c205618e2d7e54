/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams of a pool that this process holds: stream.h and local.h. */
#pragma once

#include "session/stream.h"

struct cfs_remote;

/* @calls: stop and arg of whoever asks. */
int cfs_local_send(struct cfs_session *s,
		   const struct cfs_session_options *calls,
		   const struct cfs_send_options *opt,
		   cfs_stream_write_fn write, void *arg,
		   struct cfs_stream_totals *ret, struct cfs_err *err);
int cfs_local_recv(struct cfs_session *s, const char *volume, bool is_forced,
		   const void *begin, size_t begin_bytes,
		   struct cfs_io_volume **ret, struct cfs_err *err);
int cfs_local_recv_token(struct cfs_session *s, const char *volume,
			 char ret[CFS_STREAM_TOKEN_BYTES], struct cfs_err *err);
int cfs_local_diff(struct cfs_session *s,
		   const struct cfs_session_options *calls,
		   const struct cfs_session_diff *of, cfs_diff_item_fn each,
		   void *arg, struct cfs_err *err);
/* Of a pool that another process holds (remote_io.c). */
int cfs_remote_recv(struct cfs_remote *r, const char *volume, bool is_forced,
		    const void *begin, size_t begin_bytes,
		    struct cfs_io_volume **ret, struct cfs_err *err);
/*
 * The snapshot that stands for a volume into which a stream is being received;
 * -ENOENT without @err: none is.  -EBUSY: there is nothing to be seen yet.
 * @ret_snap: CFS_NAME_BYTES.
 */
int cfs_local_receiving(struct cfs_member *m, uint64_t volume, char *ret_snap,
			struct cfs_err *err);
