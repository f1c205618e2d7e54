/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The calls of stream.h: done here if this process holds the pool, asked of
 * the holder if another one does.
 */
#include "session/stream.h"

#include "session/refer.h"
#include "session/remote.h"
#include "session/serve_use.h"
#include "session/session_priv.h"
#include "session/stream_local.h"

#include <string.h>

/* ---- sending ------------------------------------------------------------- */

struct to_write {
	cfs_stream_write_fn write;
	void *arg;
	struct cfs_err *err;
};

static int to_write_item(void *arg, const void *item)
{
	const struct to_write *to = arg;
	const struct cfs_rpc_bytes *bytes = item;

	return to->write(to->arg, bytes->data, bytes->data_bytes, to->err);
}

static int remote_send(struct cfs_session *s,
		       const struct cfs_send_options *opt,
		       cfs_stream_write_fn write, void *arg,
		       struct cfs_stream_totals *ret, struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.volume = opt->volume,
		.snap = opt->snap,
		.name = opt->base,
		.text = opt->token,
	};
	struct to_write to = { write, arg, err };
	struct cfs_rpc_values got = { 0, 0 };
	struct cfs_remote_call call = {
		.type = CFS_RPC_SEND,
		.args = &args,
		.ret = &got,
		.item = to_write_item,
		.item_arg = &to,
	};
	int r = cfs_remote_call(s->remote, &call, err);

	if (r == 0)
		*ret = (struct cfs_stream_totals){
			.bytes = got.value,
			.data_bytes = got.other,
		};
	return r;
}

static int send_here(struct cfs_session *s, const struct cfs_send_options *opt,
		     cfs_stream_write_fn write, void *arg,
		     struct cfs_stream_totals *ret, struct cfs_err *err)
{
	if (s->remote)
		return remote_send(s, opt, write, arg, ret, err);
	return CFS_PINNED(
		s, opt->volume, err,
		cfs_local_send(s, &s->opt, opt, write, arg, ret, err));
}

int cfs_session_send(struct cfs_session *s, const struct cfs_send_options *opt,
		     cfs_stream_write_fn write, void *arg,
		     struct cfs_stream_totals *ret, struct cfs_err *err)
{
	return CFS_REFER(s, opt->volume, 0, at, err,
			 send_here(at, opt, write, arg, ret, err));
}

/* ---- receiving ----------------------------------------------------------- */

static int recv_here(struct cfs_session *s, const char *volume, bool is_forced,
		     const void *begin, size_t begin_bytes,
		     struct cfs_io_volume **ret, struct cfs_err *err)
{
	int r;

	if (!s->remote)
		return CFS_LOOK(s, cfs_local_recv(s, volume, is_forced, begin,
						  begin_bytes, ret, err));
	r = cfs_session_may_write(s, err);
	return r < 0 ? r
		     : cfs_remote_recv(s->remote, volume, is_forced, begin,
				       begin_bytes, ret, err);
}

int cfs_session_recv(struct cfs_session *s, const char *volume, bool is_forced,
		     const void *begin, size_t begin_bytes,
		     struct cfs_io_volume **ret, struct cfs_err *err)
{
	return CFS_REFER(
		s, volume, 0, at, err,
		recv_here(at, volume, is_forced, begin, begin_bytes, ret, err));
}

static int token_here(struct cfs_session *s, const char *volume,
		      char ret[CFS_STREAM_TOKEN_BYTES], struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = volume };
	struct cfs_rpc_token token;
	int r;

	if (!s->remote)
		return CFS_LOOK(s, cfs_local_recv_token(s, volume, ret, err));
	r = cfs_remote_ask(s->remote, CFS_RPC_RECV_TOKEN, &args, &token, err);
	if (r == 0)
		memcpy(ret, token.text, sizeof(token.text));
	return r;
}

int cfs_session_recv_token(struct cfs_session *s, const char *volume,
			   char ret[CFS_STREAM_TOKEN_BYTES],
			   struct cfs_err *err)
{
	return CFS_REFER(s, volume, 0, at, err,
			 token_here(at, volume, ret, err));
}

/* ---- what changed -------------------------------------------------------- */

struct to_diff {
	cfs_diff_item_fn each;
	void *arg;
};

static int to_diff_item(void *arg, const void *item)
{
	const struct to_diff *to = arg;

	return to->each(to->arg, item);
}

static int diff_here(struct cfs_session *s, const struct cfs_session_diff *of,
		     cfs_diff_item_fn each, void *arg, struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.volume = of->volume,
		.snap = of->snap,
		.name = of->to_volume,
		.text = of->to_snap,
	};
	struct to_diff to = { each, arg };
	struct cfs_remote_call call = {
		.type = CFS_RPC_DIFF,
		.args = &args,
		.item = to_diff_item,
		.item_arg = &to,
	};

	if (!s->remote)
		return CFS_PINNED(
			s, of->volume, err,
			cfs_local_diff(s, &s->opt, of, each, arg, err));
	return cfs_remote_call(s->remote, &call, err);
}

int cfs_session_diff(struct cfs_session *s, const struct cfs_session_diff *of,
		     cfs_diff_item_fn each, void *arg, struct cfs_err *err)
{
	return CFS_REFER(s, of->volume, 0, at, err,
			 diff_here(at, of, each, arg, err));
}
