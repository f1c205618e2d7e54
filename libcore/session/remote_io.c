/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Forwarded access to a volume: each read and write is a request to the
 * process that holds the pool.
 *
 * A read is one request of up to CFS_RPC_READ_BYTES_MAX, answered in pieces
 * as they are read.  A write is cut at multiples of CFS_RPC_DATA_BYTES_MAX,
 * which is one of the block's, so whole blocks stay whole; each piece is an
 * operation of its own at the manager.
 */
#include "session/remote.h"
#include "session/stream_local.h"

#include "base/bits.h"
#include "base/clock.h"
#include "ondisk/table.h"
#include "session/io_ops.h"

#include <stdlib.h>

_Static_assert(CFS_RPC_DATA_BYTES_MAX % 4096 == 0, "pieces are whole blocks");

struct remote_volume {
	struct cfs_io_volume v;
	struct cfs_remote *r;
	uint64_t handle;
	uint64_t size_bytes; /* when it was opened */
};

static struct remote_volume *of(struct cfs_io_volume *v)
{
	return (struct remote_volume *)v;
}

static void io_close(struct cfs_io_volume *v)
{
	const struct cfs_rpc_args args = { .handle = of(v)->handle };

	cfs_fs_close(v->fs);
	(void)cfs_remote_ask(of(v)->r, CFS_RPC_IO_CLOSE, &args, NULL, NULL);
	free(v);
}

static uint64_t io_size_bytes(const struct cfs_io_volume *v)
{
	const struct remote_volume *rv = (const struct remote_volume *)v;

	return rv->size_bytes;
}

static int read_piece(struct remote_volume *rv, uint64_t offset_bytes,
		      uint8_t *buf, size_t length_bytes, size_t *ret_good,
		      struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.handle = rv->handle,
		.offset_bytes = offset_bytes,
		.length_bytes = length_bytes,
	};
	struct cfs_rpc_values ret = { 0 };
	struct cfs_remote_call call = {
		.type = CFS_RPC_IO_READ,
		.args = &args,
		.ret = &ret,
		.data = buf,
		.data_room = length_bytes,
	};
	int r = cfs_remote_call(rv->r, &call, err);

	*ret_good = call.data_bytes;
	if (r == 0 && call.data_bytes != length_bytes)
		r = cfs_err_set(err, -EPROTO, "a read that ends early");
	return r;
}

static int io_read(struct cfs_io_volume *v, uint64_t offset_bytes, void *buf,
		   size_t length_bytes, size_t *ret_good_bytes,
		   struct cfs_err *err)
{
	size_t done = 0, n, good;
	int r = 0;

	do {
		n = CFS_MIN(length_bytes - done,
			    (size_t)CFS_RPC_READ_BYTES_MAX);
		r = read_piece(of(v), offset_bytes + done,
			       (uint8_t *)buf + done, n, &good, err);
		done += good;
	} while (r == 0 && done < length_bytes);
	if (ret_good_bytes)
		*ret_good_bytes = done;
	return r;
}

/* To the next multiple of a piece. */
static size_t piece_at(uint64_t offset_bytes, size_t left_bytes)
{
	size_t n = CFS_RPC_DATA_BYTES_MAX -
		   (size_t)(offset_bytes % CFS_RPC_DATA_BYTES_MAX);

	return CFS_MIN(n, left_bytes);
}

static int io_write(struct cfs_io_volume *v, uint64_t offset_bytes,
		    const void *buf, size_t length_bytes, struct cfs_err *err)
{
	const uint8_t *from = buf;
	size_t n;
	int r;

	do {
		n = piece_at(offset_bytes, length_bytes);
		const struct cfs_rpc_args args = {
			.handle = of(v)->handle,
			.offset_bytes = offset_bytes,
			.data = from,
			.data_bytes = n,
		};

		r = cfs_remote_ask(of(v)->r, CFS_RPC_IO_WRITE, &args, NULL,
				   err);
		offset_bytes += n;
		from += n;
		length_bytes -= n;
	} while (r == 0 && length_bytes > 0);
	return r;
}

static int io_discard(struct cfs_io_volume *v, uint64_t offset_bytes,
		      uint64_t length_bytes, struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.handle = of(v)->handle,
		.offset_bytes = offset_bytes,
		.length_bytes = length_bytes,
	};

	return cfs_remote_ask(of(v)->r, CFS_RPC_IO_DISCARD, &args, NULL, err);
}

static int io_seek(struct cfs_io_volume *v, uint64_t offset_bytes, bool data,
		   uint64_t *ret_offset_bytes, struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.handle = of(v)->handle,
		.offset_bytes = offset_bytes,
		.is_set = data,
	};
	struct cfs_rpc_values ret;
	int r = cfs_remote_ask(of(v)->r, CFS_RPC_IO_SEEK, &args, &ret, err);

	if (r == 0)
		*ret_offset_bytes = ret.value;
	return r;
}

static int io_sync(struct cfs_io_volume *v, struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .handle = of(v)->handle };

	return cfs_remote_ask(of(v)->r, CFS_RPC_IO_SYNC, &args, NULL, err);
}

static const struct cfs_io_ops remote_ops = {
	.close = io_close,
	.size_bytes = io_size_bytes,
	.read = io_read,
	.write = io_write,
	.discard = io_discard,
	.seek = io_seek,
	.sync = io_sync,
};

static int open_as(struct cfs_remote *r, uint16_t type,
		   const struct cfs_rpc_args *args, struct cfs_io_volume **ret,
		   struct cfs_err *err)
{
	struct remote_volume *rv = calloc(1, sizeof(*rv));
	struct cfs_rpc_opened opened = { 0 };
	int code;

	if (!rv)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	code = cfs_remote_ask(r, type, args, &opened, err);
	if (code < 0) {
		free(rv);
		return code;
	}
	rv->v.ops = &remote_ops;
	rv->v.kind = opened.kind;
	rv->r = r;
	rv->handle = opened.handle;
	rv->size_bytes = opened.size_bytes;
	if (opened.kind == CFS_VOLUME_TREE)
		code = cfs_remote_fs_open(r, opened.handle, opened.root_ino,
					  opened.is_writable, &rv->v.fs, err);
	else if (opened.kind != CFS_VOLUME_LUN)
		code = cfs_err_set(err, -ENOTSUP, "a volume of another kind");
	if (code < 0) {
		io_close(&rv->v);
		return code;
	}
	*ret = &rv->v;
	return 0;
}

int cfs_remote_io_open(struct cfs_remote *r, const char *volume,
		       const char *snap, bool is_writable, uint64_t wait_ns,
		       uint64_t patience_ns, struct cfs_io_volume **ret,
		       struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.volume = volume,
		.snap = snap,
		.is_set = is_writable,
		.wait_ms = wait_ns / CFS_NS_PER_MS,
		.patience_ns = patience_ns,
	};

	return open_as(r, CFS_RPC_IO_OPEN, &args, ret, err);
}

int cfs_remote_recv(struct cfs_remote *r, const char *volume, bool is_forced,
		    const void *begin, size_t begin_bytes,
		    struct cfs_io_volume **ret, struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.volume = volume,
		.is_set = is_forced,
		.data = begin,
		.data_bytes = CFS_MIN(begin_bytes, CFS_STREAM_BEGIN_BYTES),
	};

	return open_as(r, CFS_RPC_RECV, &args, ret, err);
}
