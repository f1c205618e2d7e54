/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests on open volumes: handles, and the bytes of LUNs. */
#include "session/serve_priv.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "session/serve_lease.h"

#include <stdlib.h>

struct opening {
	struct serve_call *c;
	struct cfs_io_volume *v;
};

static int try_open(void *arg, struct cfs_err *err)
{
	struct opening *op = arg;
	struct serve_call *c = op->c;
	int r;

	pthread_rwlock_rdlock(&c->rpc->structure);
	r = cfs_local_io_open(c->s, c->args.volume, c->args.snap,
			      c->args.is_set, &op->v, err);
	pthread_rwlock_unlock(&c->rpc->structure);
	return r;
}

static int do_open(struct serve_call *c)
{
	const struct cfs_conn_wait wait = {
		.timeout_ns = CFS_MIN(c->args.wait_ms, SERVE_WAIT_MS_MAX) *
			      CFS_NS_PER_MS,
	};
	struct cfs_rpc_opened *o = &c->ret.opened;
	struct opening op = { .c = c };
	struct serve_handle *h;
	struct cfs_io_volume *v;
	int r = cfs_serve_patiently(c->s, &wait, try_open, &op, c->err);

	if (r < 0)
		return r;
	v = op.v;
	o->kind = cfs_io_kind(v);
	o->size_bytes = cfs_io_size_bytes(v);
	if (cfs_io_fs(v)) {
		o->root_ino = cfs_fs_root_ino(cfs_io_fs(v));
		o->is_writable = !c->args.snap;
	}
	/* From here on it may go elsewhere (serve_onward.h). */
	r = serve_handle_add(c->peer, v, c->args.is_set, &o->handle, c->err);
	if (r < 0)
		cfs_io_close(v);
	else if (serve_handle_get(c->peer, o->handle, &h, NULL) == 0) {
		h->patience_ns = c->args.patience_ns;
		serve_handle_put(c->peer, h);
	}
	return r;
}

static int do_close(struct serve_call *c)
{
	return serve_handle_close(c->peer, c->args.handle, c->err);
}

/* The bytes of a read go out as they come in. */
static int read_all(struct serve_call *c, struct cfs_io_volume *v,
		    uint64_t offset_bytes, uint64_t length_bytes)
{
	CFS_CLEANUP(cfs_freep) uint8_t *buf = malloc(CFS_RPC_DATA_BYTES_MAX);
	size_t n, good;
	int r = 0, r2;

	if (!buf)
		return cfs_err_set(c->err, -ENOMEM, "out of memory");
	do {
		n = (size_t)CFS_MIN(length_bytes,
				    (uint64_t)CFS_RPC_DATA_BYTES_MAX);
		good = 0;
		r = cfs_io_read(v, offset_bytes, buf, n, &good, c->err);
		good = r == 0 ? n : good;
		r2 = good ? serve_data(c, buf, good) : 0;
		if (r2 < 0)
			return r2;
		offset_bytes += n;
		length_bytes -= n;
	} while (r == 0 && length_bytes > 0 && !serve_stop(c));
	return r;
}

static int lun_read(struct serve_call *c, struct serve_handle *h)
{
	if (c->args.length_bytes > CFS_RPC_READ_BYTES_MAX)
		return cfs_err_set(c->err, -EINVAL,
				   "too much to read at "
				   "once");
	return read_all(c, h->v, c->args.offset_bytes, c->args.length_bytes);
}

static int lun_write(struct serve_call *c, struct serve_handle *h)
{
	return cfs_io_write(h->v, c->args.offset_bytes, c->args.data,
			    c->args.data_bytes, c->err);
}

static int lun_discard(struct serve_call *c, struct serve_handle *h)
{
	return cfs_io_discard(h->v, c->args.offset_bytes, c->args.length_bytes,
			      c->err);
}

/* -ENXIO comes without a message of its own. */
static int lun_seek(struct serve_call *c, struct serve_handle *h)
{
	int r = cfs_io_seek(h->v, c->args.offset_bytes, c->args.is_set,
			    &c->ret.values.value, c->err);

	if (r == -ENXIO)
		cfs_err_set(c->err, r, "no data follows");
	return r;
}

static int lun_sync(struct serve_call *c, struct serve_handle *h)
{
	return cfs_io_sync(h->v, c->err);
}

static int on_handle(struct serve_call *c,
		     int (*fn)(struct serve_call *c, struct serve_handle *h))
{
	struct serve_handle *h;
	int r = serve_handle_get(c->peer, c->args.handle, &h, c->err);

	if (r < 0)
		return r;
	r = fn(c, h);
	serve_handle_put(c->peer, h);
	return r;
}

static int do_read(struct serve_call *c)
{
	return on_handle(c, lun_read);
}

static int do_write(struct serve_call *c)
{
	return on_handle(c, lun_write);
}

static int do_discard(struct serve_call *c)
{
	return on_handle(c, lun_discard);
}

static int do_seek(struct serve_call *c)
{
	return on_handle(c, lun_seek);
}

static int do_sync(struct serve_call *c)
{
	return on_handle(c, lun_sync);
}

serve_fn serve_io_fn(uint16_t type)
{
	switch (type) {
	case CFS_RPC_IO_OPEN:
		return do_open;
	case CFS_RPC_IO_CLOSE:
		return do_close;
	case CFS_RPC_IO_READ:
		return do_read;
	case CFS_RPC_IO_WRITE:
		return do_write;
	case CFS_RPC_IO_DISCARD:
		return do_discard;
	case CFS_RPC_IO_SEEK:
		return do_seek;
	case CFS_RPC_IO_SYNC:
		return do_sync;
	default:
		return NULL;
	}
}
