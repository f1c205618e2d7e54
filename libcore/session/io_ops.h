/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The seam below cfs_io_*: how the bytes of an open volume are reached.
 *
 *   local       the pool is held by this process; the volume's own code runs
 *               on the manager's container (io_local.c)
 *   forwarded   each read and write is a request to the holder (remote_io.c)
 *
 * cfs_io_open decides.  A way that reaches the devices itself plugs in here as
 * one more table: it opens what it needs and hands a struct cfs_io_volume with
 * its own operations out.  Trees come with a struct cfs_fs, which has a seam
 * of its own (volume/fs_ops.h).
 *
 * Arguments and promises are those of session.h.
 */
#pragma once

#include "lease/conn_lease.h"
#include "session/session.h"
#include "volume/data.h"

#define CFS_IO_PARTS_MAX 32u

/* Reads of a LUN, and the bytes from the first to the last of all of them. */
struct cfs_io_span {
	const struct cfs_io_part *parts;
	size_t count; /* 2 to CFS_IO_PARTS_MAX */
	uint64_t from_bytes, to_bytes;
};

/*
 * io.c, for read_many: those in front that lie in the first @reach_bytes of the
 * span.  That is as far as the lease reaches that the caller has: one for all,
 * since who held one and waited for the next could be waited for himself.
 */
size_t cfs_io_span_read(const struct cfs_io_span *span,
			const struct cfs_view *view, uint64_t ino,
			uint64_t reach_bytes);

struct cfs_io_ops {
	/* Closes its tree too, and frees @v. */
	void (*close)(struct cfs_io_volume *v);
	uint64_t (*size_bytes)(const struct cfs_io_volume *v);
	int (*read)(struct cfs_io_volume *v, uint64_t offset_bytes, void *buf,
		    size_t length_bytes, size_t *ret_good_bytes,
		    struct cfs_err *err);
	/* NULL: one by one.  How many in front of the list have been read.  0:
	 * ask for the first by itself. */
	size_t (*read_many)(struct cfs_io_volume *v,
			    const struct cfs_io_span *span);
	int (*write)(struct cfs_io_volume *v, uint64_t offset_bytes,
		     const void *buf, size_t length_bytes, struct cfs_err *err);
	int (*discard)(struct cfs_io_volume *v, uint64_t offset_bytes,
		       uint64_t length_bytes, struct cfs_err *err);
	int (*seek)(struct cfs_io_volume *v, uint64_t offset_bytes, bool data,
		    uint64_t *ret_offset_bytes, struct cfs_err *err);
	/* NULL: seek tells. */
	int (*extent)(struct cfs_io_volume *v, uint64_t offset_bytes,
		      uint64_t length_bytes, bool *ret_is_data,
		      uint64_t *ret_length_bytes, struct cfs_err *err);
	int (*sync)(struct cfs_io_volume *v, struct cfs_err *err);
	/* These may be NULL: nothing may be kept; and locks are leases of a
	 * client of their own (io_lock.c). */
	int (*watch)(struct cfs_io_volume *v, const struct cfs_io_watch *watch,
		     struct cfs_err *err);
	bool (*may_keep)(struct cfs_io_volume *v, uint64_t *ret_serial,
			 uint64_t *ret_ns);
	int (*acquire)(struct cfs_io_volume *v,
		       const struct cfs_lease_request *req,
		       const struct cfs_conn_wait *wait, struct cfs_held **ret,
		       struct cfs_err *err);
};

/* The first member of what each way has. */
struct cfs_io_volume {
	const struct cfs_io_ops *ops;
	uint32_t kind;     /* enum cfs_volume_kind */
	struct cfs_fs *fs; /* tree */
	/* Of cfs_io_open. */
	struct cfs_session *s;
	char *name;                    /* NULL: of a snapshot */
	struct cfs_volume_place place; /* s->users_lock; volume 0: not
					* looked for yet */
};
