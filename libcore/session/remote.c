/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking the holder of a pool: connection, requests, the records that come. */
#include "session/remote.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/le.h"
#include "base/uuid.h"
#include "lease/conn.h"
#include "lease/msg.h"
#include "pool/holder.h"
#include "session/dial.h"
#include "session/silence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long a holder has to answer a CANCEL. */
#define CANCEL_NS (5 * CFS_NS_PER_S)

struct cfs_remote {
	struct cfs_conn *conn;
	struct cfs_session_options opt;
	uint64_t next_token; /* atomic */
	uint8_t pool_uuid[16];
	uint64_t answer_ns;        /* a request has so long; 0: no limit */
	bool (*is_old)(void *arg); /* may be NULL */
	void *is_old_arg;
	bool is_referred;
	bool is_followed; /* by another; atomic */
};

/* ---- hello --------------------------------------------------------------- */

void cfs_remote_hello_fill(const uint8_t pool_uuid[16], struct cfs_msg_hello *h)
{
	struct cfs_identity self;

	memset(h, 0, sizeof(*h));
	memset(&self, 0, sizeof(self));
	cfs_identity_host.self(cfs_identity_host.arg, &self);
	memcpy(h->pool_uuid, pool_uuid, sizeof(h->pool_uuid));
	memcpy(h->boot_id, self.boot_id, sizeof(h->boot_id));
	memcpy(h->host, self.host, CFS_MIN(sizeof(h->host), sizeof(self.host)));
	h->host[sizeof(h->host) - 1] = '\0';
	if (!cfs_msg_name_is_valid(h->host, sizeof(h->host)))
		strcpy(h->host, "localhost");
	h->pid = self.pid;
	h->process_start = self.process_start;
	h->flags = CFS_HELLO_OBSERVER;
	memcpy(h->name, program_invocation_short_name,
	       strnlen(program_invocation_short_name, sizeof(h->name) - 1));
	if (!cfs_msg_name_is_valid(h->name, sizeof(h->name)))
		strcpy(h->name, "cfs");
}

static int hello(struct cfs_conn *conn, const uint8_t pool_uuid[16],
		 const struct cfs_session_options *opt, unsigned int timeout_ms,
		 struct cfs_err *err)
{
	const struct cfs_conn_wait wait = {
		.timeout_ns = timeout_ms * CFS_NS_PER_MS,
		.stop = opt->stop,
		.arg = opt->arg,
	};
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf reply = CFS_BUF_INIT;
	uint8_t body[sizeof(struct cfs_msg_hello) + 64];
	struct cfs_wire_put put;
	struct cfs_msg_hello h;

	cfs_remote_hello_fill(pool_uuid, &h);
	cfs_wire_put_init(&put, body, sizeof(body));
	cfs_msg_hello_pack(&h, &put);
	return cfs_conn_call(conn, CFS_MSG_HELLO, put.data, put.bytes, &wait,
			     &reply, err);
}

int cfs_remote_on(struct cfs_conn *conn, const struct cfs_session_options *opt,
		  struct cfs_remote **ret, struct cfs_err *err)
{
	struct cfs_remote *r = calloc(1, sizeof(*r));

	if (!r) {
		cfs_conn_free(conn);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	r->conn = conn;
	r->opt = *opt;
	*ret = r;
	return 0;
}

struct connecting {
	const uint8_t *pool_uuid;
	const struct cfs_session_options *opt;
	unsigned int timeout_ms;
	struct cfs_conn *conn;
};

static int say_hello(void *arg, struct cfs_link *link, struct cfs_err *err)
{
	const struct cfs_conn_options conn_opt = { .calls_max = 0 };
	struct connecting *c = arg;
	struct cfs_conn *conn = NULL;
	int r = cfs_conn_new(link, &conn_opt, &conn, err);

	if (r == 0)
		r = hello(conn, c->pool_uuid, c->opt, c->timeout_ms, err);
	if (r < 0)
		cfs_conn_free(conn);
	else
		c->conn = conn;
	return r;
}

/* Tell under which lease we work, if it is one of this pool. */
static int work_under(struct cfs_remote *r, const char *lease,
		      const uint8_t pool_uuid[16], unsigned int timeout_ms,
		      struct cfs_err *err)
{
	const char *at = strchr(lease, '@');
	char name[CFS_LEASE_NAME_BYTES];
	const struct cfs_rpc_args args = { .text = name };
	struct cfs_lease_name parsed;
	uint8_t uuid[16];
	int code;

	if (at && cfs_uuid_parse(at + 1, uuid) == 0 &&
	    !cfs_uuid_is_equal(uuid, pool_uuid))
		return 0;
	snprintf(name, sizeof(name), "%.*s",
		 (int)(at ? at - lease : (ptrdiff_t)sizeof(name)), lease);
	if (cfs_lease_name_parse(name, &parsed) < 0)
		return cfs_err_set(err, -EINVAL,
				   "CFS_LEASE: not a lease: "
				   "leasectl run sets it");
	r->answer_ns = timeout_ms * CFS_NS_PER_MS;
	code = cfs_remote_ask(r, CFS_RPC_UNDER, &args, NULL, err);
	r->answer_ns = 0;
	return code == -ETIMEDOUT ? -EBUSY : code;
}

int cfs_remote_connect(const char *addresses, const uint8_t pool_uuid[16],
		       const struct cfs_session_options *opt,
		       unsigned int timeout_ms, struct cfs_remote **ret,
		       struct cfs_err *err)
{
	struct connecting c = {
		.pool_uuid = pool_uuid,
		.opt = opt,
		.timeout_ms = timeout_ms,
	};
	struct cfs_remote *remote = NULL;
	int r = cfs_dial(addresses, opt, timeout_ms, "its holder", say_hello,
			 &c, err);

	if (r == 0)
		r = cfs_remote_on(c.conn, opt, &remote, err);
	if (r == 0)
		memcpy(remote->pool_uuid, pool_uuid, 16);
	if (r == 0 && opt->lease)
		r = work_under(remote, opt->lease, pool_uuid, timeout_ms, err);
	if (r < 0)
		cfs_remote_close(remote);
	else
		*ret = remote;
	return r;
}

void cfs_remote_watch(struct cfs_remote *r, bool (*is_old)(void *arg),
		      void *arg, bool is_referred)
{
	r->is_old = is_old;
	r->is_old_arg = arg;
	r->is_referred = is_referred;
}

void cfs_remote_close(struct cfs_remote *r)
{
	if (!r)
		return;
	cfs_conn_free(r->conn);
	free(r);
}

/* ---- requests ------------------------------------------------------------ */

struct running {
	struct cfs_remote *r;
	struct cfs_remote_call *call;
	const struct cfs_rpc_row *row;
	struct cfs_rpc_stream stream;
	uint64_t token;
	bool is_cancelled;
	uint64_t give_up_ns;
	bool has_items; /* some were given out */
	bool has_end;
	int code; /* of the end */
	struct cfs_err err;
	int item_code; /* what the caller's function said */
};

/* The front of each request: the number of a staged body, or 0. */
static int body_begin(struct cfs_buf *body, uint64_t stage)
{
	const le64 disk = le64_put(stage);

	return cfs_buf_append(body, &disk, sizeof(disk));
}

static void cancel(struct running *run)
{
	const struct cfs_rpc_args args = { .token = run->token };
	const struct cfs_rpc_row *row = cfs_rpc_row(CFS_RPC_CANCEL);
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf body = CFS_BUF_INIT;
	uint8_t msg[256];
	struct cfs_wire_put put;

	if (body_begin(&body, 0) < 0 ||
	    cfs_rpc_pack(row->args, &args, &body, NULL) < 0)
		return;
	cfs_wire_put_init(&put, msg, sizeof(msg));
	cfs_msg_begin(&put, CFS_RPC_CANCEL, cfs_conn_next_id(run->r->conn));
	cfs_wire_put_bytes(&put, body.data, body.bytes);
	if (cfs_msg_end(&put) == 0)
		(void)cfs_conn_send(run->r->conn, put.data, put.bytes, NULL);
}

/* Asked while it waits; true gives the answer up. */
static bool has_stopped(void *arg)
{
	struct running *run = arg;
	const struct cfs_session_options *opt = &run->r->opt;
	uint64_t now_ns;

	if (!run->is_cancelled && !(opt->stop && opt->stop(opt->arg)))
		return false;
	now_ns = cfs_clock_elapsed_ns(cfs_clock_system());
	if (!run->is_cancelled) {
		run->is_cancelled = true;
		/* Who only waits for a lease is not missed. */
		run->give_up_ns = run->call->type == CFS_RPC_IO_OPEN
					  ? now_ns
					  : cfs_deadline_add(now_ns, CANCEL_NS);
		if (run->token)
			cancel(run);
	}
	return now_ns >= run->give_up_ns;
}

/* ---- records ------------------------------------------------------------- */

static int take_item(struct running *run, const uint8_t *body, size_t bytes,
		     struct cfs_err *err)
{
	CFS_CLEANUP(cfs_rpc_arena_donep) struct cfs_rpc_arena arena = { NULL };
	CFS_CLEANUP(cfs_freep) void *item = NULL;
	int r;

	if (!run->row->item || !run->call->item)
		return cfs_err_set(err, -EPROTO,
				   "an item that was not asked "
				   "for");
	item = malloc(run->row->item->bytes);
	if (!item)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = cfs_rpc_unpack(run->row->item, body, bytes, item, &arena, err);
	run->has_items = true;
	if (r == 0)
		r = run->item_code = run->call->item(run->call->item_arg, item);
	return r;
}

static int take_data(struct running *run, const uint8_t *body, size_t bytes,
		     struct cfs_err *err)
{
	struct cfs_remote_call *c = run->call;

	if (bytes > c->data_room - c->data_bytes)
		return cfs_err_set(err, -EPROTO,
				   "more data than was asked "
				   "for");
	memcpy(c->data + c->data_bytes, body, bytes);
	c->data_bytes += bytes;
	return 0;
}

static int take_progress(struct running *run, const uint8_t *body, size_t bytes,
			 struct cfs_err *err)
{
	const struct cfs_session_options *opt = &run->r->opt;
	struct cfs_rpc_arena arena = { NULL };
	struct cfs_rpc_progress p;
	int r = cfs_rpc_unpack(&cfs_rpc_progress_shape, body, bytes, &p, &arena,
			       err);

	if (r == 0 && opt->progress)
		opt->progress(opt->arg, p.done, p.total);
	return r;
}

static int take_line(struct running *run, const uint8_t *body, size_t bytes,
		     struct cfs_err *err)
{
	const struct cfs_session_options *opt = &run->r->opt;
	struct cfs_rpc_arena arena = { NULL };
	struct cfs_rpc_line l;
	int r = cfs_rpc_unpack(&cfs_rpc_line_shape, body, bytes, &l, &arena,
			       err);

	if (r == 0 && opt->warn)
		opt->warn(opt->arg, l.line);
	return r;
}

static int take_result(struct running *run, const struct cfs_rpc_end *end,
		       struct cfs_err *err)
{
	struct cfs_rpc_arena own = { NULL };
	struct cfs_rpc_arena *arena = run->call->arena;
	uint8_t *copy;
	int r;

	if (!run->row->ret || !run->call->ret)
		return 0;
	arena = arena ? arena : &own;
	copy = cfs_rpc_arena_copy(arena, end->result, end->result_bytes);
	r = copy ? cfs_rpc_unpack(run->row->ret, copy, end->result_bytes,
				  run->call->ret, arena, err)
		 : cfs_err_set(err, -ENOMEM, "out of memory");
	cfs_rpc_arena_donep(&own);
	return r;
}

static int take_end(struct running *run, const uint8_t *body, size_t bytes,
		    struct cfs_err *err)
{
	struct cfs_rpc_arena arena = { NULL };
	struct cfs_rpc_end end;
	int r = cfs_rpc_unpack(&cfs_rpc_end_shape, body, bytes, &end, &arena,
			       err);

	if (r == 0 && end.code > 4095)
		r = cfs_err_set(err, -EPROTO, "a code that is none");
	if (r == 0)
		r = take_result(run, &end, err);
	if (r < 0)
		return r;
	run->has_end = true;
	run->code = -(int)end.code;
	if (run->code < 0)
		cfs_err_set(&run->err, run->code, "%s", end.text);
	return 0;
}

static int take_record(struct running *run, enum cfs_rpc_record kind,
		       const uint8_t *body, size_t bytes, struct cfs_err *err)
{
	switch (kind) {
	case CFS_RPC_ITEM:
		return take_item(run, body, bytes, err);
	case CFS_RPC_DATA:
		return take_data(run, body, bytes, err);
	case CFS_RPC_PROGRESS:
		return take_progress(run, body, bytes, err);
	case CFS_RPC_WARN:
		return take_line(run, body, bytes, err);
	default:
		return take_end(run, body, bytes, err);
	}
}

static int take_part(void *arg, const uint8_t *part, size_t bytes,
		     struct cfs_err *err)
{
	struct running *run = arg;
	enum cfs_rpc_record kind;
	const uint8_t *body;
	size_t body_bytes;
	int r;

	if (cfs_buf_append(&run->stream.in, part, bytes) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	do {
		r = cfs_rpc_record_next(&run->stream, &kind, &body, &body_bytes,
					err);
		if (r == 1 && run->has_end)
			return cfs_err_set(err, -EPROTO,
					   "more than an "
					   "answer");
		if (r == 1) {
			r = take_record(run, kind, body, body_bytes, err);
			r = r == 0 ? 1 : r;
			if (run->item_code)
				return run->item_code;
		}
	} while (r > 0);
	return r;
}

/* ---- the whole of it ----------------------------------------------------- */

/* A body that is longer than a message goes ahead, in pieces. */
static int stage(struct cfs_remote *r, const struct cfs_buf *whole,
		 uint64_t token, struct cfs_err *err)
{
	int ret = 0;

	if (whole->bytes > CFS_RPC_STAGE_BYTES_MAX)
		return cfs_err_set(err, -E2BIG, "too much for one request");
	for (size_t at = 0; ret == 0 && at < whole->bytes;
	     at += CFS_RPC_DATA_BYTES_MAX) {
		const struct cfs_rpc_args args = {
			.token = token,
			.size_bytes = whole->bytes,
			.offset_bytes = at,
			.data = whole->data + at,
			.data_bytes = CFS_MIN(whole->bytes - at,
					      CFS_RPC_DATA_BYTES_MAX),
		};

		ret = cfs_remote_ask(r, CFS_RPC_STAGE, &args, NULL, err);
	}
	return ret;
}

/* Of a wait of ours. */
static struct cfs_silence silence_of(const struct cfs_remote *r,
				     const struct cfs_conn_wait *of)
{
	return (struct cfs_silence){
		.is_old = r->is_old,
		.arg = r->is_old_arg,
		.of = of,
	};
}

static void set_followed(struct cfs_remote *r)
{
	__atomic_store_n(&r->is_followed, true, __ATOMIC_RELAXED);
	cfs_conn_break(r->conn);
}

/* What the connection says, in the words of the request. */
static int lost(const struct running *run, int code, struct cfs_err *err)
{
	const char *unknown = run->row->flags & CFS_RPC_CHANGES
				      ? ": whether it was done is not known"
				      : "";
	const bool is_gone = code == -ECONNRESET || cfs_remote_is_gone(run->r);

	if (is_gone && run->r->is_referred &&
	    (run->row->flags & CFS_RPC_AGAIN) && !run->has_items)
		return cfs_err_set(err, -EREMOTE,
				   "the process that served it is gone");
	if (is_gone)
		return cfs_err_set(err, -ECONNRESET,
				   "the process that held "
				   "the pool is gone%s",
				   unknown);
	if (code == -EINTR)
		return cfs_err_set(err, code, "stopped%s", unknown);
	if (code == -ENOTSUP)
		return cfs_err_set(err, code,
				   "the process that holds the "
				   "pool does not know the request '%s'",
				   run->row->name);
	return code;
}

static int send_and_wait(struct running *run, const struct cfs_buf *body,
			 struct cfs_err *err)
{
	const struct cfs_conn_wait own = {
		.timeout_ns = run->r->answer_ns,
		.stop = has_stopped,
		.arg = run,
	};
	struct cfs_silence silence = silence_of(run->r, &own);
	const struct cfs_conn_wait wait = cfs_silence_wait(&silence);
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf last = CFS_BUF_INIT;
	int r = cfs_conn_stream(run->r->conn, run->call->type, body->data,
				body->bytes, &wait, take_part, run, &last, err);

	if (silence.is_over)
		set_followed(run->r);
	if (r == 0)
		r = take_part(run, last.data, last.bytes, err);
	if (run->item_code)
		return run->item_code;
	if (r == 0 && !run->has_end)
		r = cfs_err_set(err, -EPROTO, "an answer without an end");
	if (r < 0)
		return lost(run, r, err);
	if (run->code < 0 && err)
		*err = run->err;
	return run->code;
}

int cfs_remote_call(struct cfs_remote *r, struct cfs_remote_call *call,
		    struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf body = CFS_BUF_INIT;
	struct cfs_rpc_args args = *call->args;
	struct running run = {
		.r = r,
		.call = call,
		.row = cfs_rpc_row(call->type),
		.token = __atomic_add_fetch(&r->next_token, 1,
					    __ATOMIC_RELAXED),
	};
	const bool is_long = run.row->flags & CFS_RPC_LONG;
	int ret = body_begin(&body, 0);

	if (is_long)
		args.token = run.token;
	if (ret < 0)
		return cfs_err_set(err, ret, "out of memory");
	ret = cfs_rpc_pack(run.row->args, &args, &body, err);
	if (ret == 0 && body.bytes > CFS_MSG_BODY_MAX) {
		cfs_buf_drop_front(&body, sizeof(le64));
		ret = stage(r, &body, run.token, err);
		body.bytes = 0;
		if (ret == 0 && body_begin(&body, run.token) < 0)
			ret = cfs_err_set(err, -ENOMEM, "out of memory");
	}
	if (!is_long)
		run.token = 0;
	if (ret == 0)
		ret = send_and_wait(&run, &body, err);
	cfs_buf_donep(&run.stream.in);
	return ret;
}

int cfs_remote_ask(struct cfs_remote *r, uint16_t type,
		   const struct cfs_rpc_args *args, void *ret,
		   struct cfs_err *err)
{
	struct cfs_remote_call call = { .type = type,
					.args = args,
					.ret = ret };

	return cfs_remote_call(r, &call, err);
}

/* ---- requests of other tables -------------------------------------------- */

static int take_raw(void *arg, const uint8_t *body, size_t bytes,
		    struct cfs_err *err)
{
	return cfs_buf_append(arg, body, bytes) < 0
		       ? cfs_err_set(err, -ENOMEM, "out of memory")
		       : 0;
}

int cfs_remote_raw(struct cfs_remote *r, uint16_t type,
		   const struct cfs_buf *body, unsigned int timeout_ms,
		   struct cfs_buf *reply, struct cfs_err *err)
{
	const struct cfs_conn_wait own = {
		.timeout_ns = timeout_ms * CFS_NS_PER_MS,
		.stop = r->opt.stop,
		.arg = r->opt.arg,
	};
	struct cfs_silence silence = silence_of(r, &own);
	const struct cfs_conn_wait wait = cfs_silence_wait(&silence);
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf last = CFS_BUF_INIT;
	int code = cfs_conn_stream(r->conn, type, body->data, body->bytes,
				   &wait, take_raw, reply, &last, err);

	if (silence.is_over)
		set_followed(r);
	if (code == -ETIMEDOUT)
		code = cfs_err_set(err, -EBUSY,
				   "the process that holds the "
				   "pool does not answer");
	if (code == 0 && cfs_buf_append(reply, last.data, last.bytes) < 0)
		code = cfs_err_set(err, -ENOMEM, "out of memory");
	return code;
}

bool cfs_remote_is_gone(const struct cfs_remote *r)
{
	return __atomic_load_n(&r->is_followed, __ATOMIC_RELAXED) ||
	       cfs_conn_is_gone(r->conn);
}

const uint8_t *cfs_remote_pool_uuid(const struct cfs_remote *r)
{
	return r->pool_uuid;
}
