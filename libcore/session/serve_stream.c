/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests about streams.  One that is received is a handle that is written to,
 * like a volume (serve_io.c). */
#include "session/local.h"
#include "session/promote.h"
#include "session/serve_priv.h"
#include "session/stream_local.h"

#include "base/cleanup.h"

#include <stdlib.h>

static int put_bytes(void *arg, const void *bytes, size_t n,
		     struct cfs_err *err)
{
	const struct cfs_rpc_bytes item = { .data = bytes, .data_bytes = n };
	struct serve_call *c = arg;
	int r = serve_item(c, &item);

	return r < 0 ? cfs_err_set(err, r, "nobody takes the stream") : 0;
}

static int do_send(struct serve_call *c)
{
	const struct cfs_session_options calls = {
		.stop = serve_stop,
		.arg = c,
	};
	const struct cfs_send_options opt = {
		.volume = c->args.volume,
		.snap = c->args.snap,
		.base = c->args.name,
		.token = c->args.text,
	};
	struct cfs_stream_totals totals = { 0, 0, 0 };
	int r = cfs_local_send(c->s, &calls, &opt, put_bytes, c, &totals,
			       c->err);

	c->ret.values.value = totals.bytes;
	c->ret.values.other = totals.data_bytes;
	return r;
}

static int do_recv(struct serve_call *c)
{
	struct cfs_rpc_opened *o = &c->ret.opened;
	struct cfs_io_volume *v;
	int r = cfs_local_recv(c->s, c->args.volume, c->args.is_set,
			       c->args.data, c->args.data_bytes, &v, c->err);

	if (r < 0)
		return r;
	r = serve_handle_add(c->peer, v, true, &o->handle, c->err);
	if (r < 0)
		cfs_io_close(v);
	o->kind = CFS_VOLUME_LUN;
	return r;
}

static int do_recv_token(struct serve_call *c)
{
	return cfs_local_recv_token(c->s, c->args.volume, c->ret.token.text,
				    c->err);
}

static int put_item(void *arg, const struct cfs_diff_item *item)
{
	return serve_item(arg, item);
}

static int do_diff(struct serve_call *c)
{
	const struct cfs_session_options calls = {
		.stop = serve_stop,
		.arg = c,
	};
	const struct cfs_session_diff of = {
		.volume = c->args.volume,
		.snap = c->args.snap,
		.to_volume = c->args.name,
		.to_snap = c->args.text,
	};

	return cfs_local_diff(c->s, &calls, &of, put_item, c, c->err);
}

static int do_promote(struct serve_call *c)
{
	const struct cfs_session_options calls = {
		.stop = serve_stop,
		.progress = serve_progress,
		.arg = c,
	};

	return cfs_local_promote(c->s, &calls, c->args.volume, c->args.name,
				 &c->ret.values.value, c->err);
}

static int do_promote_end(struct serve_call *c)
{
	return cfs_local_promote_end(c->s, c->args.volume, c->args.name,
				     c->err);
}

static int do_promote_undo(struct serve_call *c)
{
	return cfs_local_promote_undo(c->s, c->args.volume, c->err);
}

/* Names of one client: their count is what it says, up to a limit. */
static int do_snap_remove_many(struct serve_call *c)
{
	const size_t count = c->args.snap_count;
	CFS_CLEANUP(cfs_freep)
	const char **snaps = calloc(count + 1, sizeof(*snaps));
	CFS_CLEANUP(cfs_freep)
	uint64_t *freed_bytes = calloc(count + 1, sizeof(*freed_bytes));
	int r;

	if (!snaps || !freed_bytes)
		return cfs_err_set(c->err, -ENOMEM, "out of memory");
	if (count == 0 || count > CFS_SNAP_REMOVE_MAX)
		return cfs_err_set(c->err, -EINVAL,
				   "so many do not go at once");
	for (size_t i = 0; i < count; i++)
		snaps[i] = c->args.snaps[i].snap;
	r = cfs_local_snap_remove_many(c->s, c->args.volume, snaps, count,
				       freed_bytes, c->err);
	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct cfs_rpc_values item = { freed_bytes[i], 0 };

		r = serve_item(c, &item);
	}
	return r;
}

serve_fn serve_stream_fn(uint16_t type)
{
	switch (type) {
	case CFS_RPC_SEND:
		return do_send;
	case CFS_RPC_RECV:
		return do_recv;
	case CFS_RPC_RECV_TOKEN:
		return do_recv_token;
	case CFS_RPC_DIFF:
		return do_diff;
	case CFS_RPC_PROMOTE:
		return do_promote;
	case CFS_RPC_PROMOTE_END:
		return do_promote_end;
	case CFS_RPC_PROMOTE_UNDO:
		return do_promote_undo;
	case CFS_RPC_SNAP_REMOVE_MANY:
		return do_snap_remove_many;
	default:
		return NULL;
	}
}
