/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A request from its bytes to its answer: see rpc.h and serve_rpc.h. */
#include "session/serve_priv.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/le.h"
#include "lease/msg.h"

#include <stdlib.h>
#include <string.h>

#define SEND_BYTES (32u * 1024) /* records are sent when so many wait */
#define KEEP_BYTES (16u << 20)
#define SEND_NS    (200 * CFS_NS_PER_MS) /* or for so long */

/* ---- life ---------------------------------------------------------------- */

int cfs_serve_rpc_new(struct cfs_session *session, struct cfs_serve_rpc **ret,
		      struct cfs_err *err)
{
	struct cfs_serve_rpc *rpc = calloc(1, sizeof(*rpc));

	if (!rpc)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	rpc->s = session;
	pthread_mutex_init(&rpc->lock, NULL);
	cfs_cond_init(&rpc->let_go);
	pthread_rwlock_init(&rpc->structure, NULL);
	session->structure = &rpc->structure;
	*ret = rpc;
	return 0;
}

void cfs_serve_rpc_free(struct cfs_serve_rpc *rpc)
{
	struct serve_unfinished *orphan;
	struct serve_peer *peer, *next;

	if (!rpc)
		return;
	HASH_ITER(hh, rpc->peers, peer, next) {
		HASH_DEL(rpc->peers, peer);
		serve_peer_free(peer);
	}
	/* The next opener removes them. */
	while ((orphan = rpc->orphans)) {
		rpc->orphans = orphan->next;
		free(orphan);
	}
	rpc->s->structure = NULL;
	pthread_rwlock_destroy(&rpc->structure);
	pthread_cond_destroy(&rpc->let_go);
	pthread_mutex_destroy(&rpc->lock);
	free(rpc);
}

void cfs_serve_rpc_ended(struct cfs_serve_rpc *rpc, uint64_t peer_id)
{
	struct serve_peer *peer;

	pthread_mutex_lock(&rpc->lock);
	HASH_FIND(hh, rpc->peers, &peer_id, sizeof(peer_id), peer);
	if (peer)
		HASH_DEL(rpc->peers, peer);
	while (peer && peer->holds > 0)
		pthread_cond_wait(&rpc->let_go, &rpc->lock);
	pthread_mutex_unlock(&rpc->lock);
	if (peer)
		serve_peer_free(peer);
}

/* ---- what is sent meanwhile ---------------------------------------------- */

/* Of the records that wait, all but what one last message can take. */
static int send_some(struct serve_call *c, size_t keep_bytes)
{
	size_t at = 0;

	while (c->broken == 0 && c->out.bytes - at > keep_bytes) {
		size_t n = c->out.bytes - at;

		if (n > CFS_MSG_BODY_MAX)
			n = CFS_MSG_BODY_MAX;
		c->broken = cfs_server_request_more(c->request,
						    c->out.data + at, n, NULL);
		at += n;
	}
	cfs_buf_drop_front(&c->out, at);
	c->sent_ns = cfs_clock_elapsed_ns(cfs_clock_system());
	return c->broken;
}

static int record(struct serve_call *c, enum cfs_rpc_record kind,
		  const struct cfs_rpc_shape *shape, const void *from)
{
	int r = c->broken;

	if (r == 0)
		r = cfs_rpc_record_put(&c->out, kind, shape, from, c->err);
	return r;
}

static bool is_due(uint64_t since_ns)
{
	return cfs_clock_elapsed_ns(cfs_clock_system()) - since_ns > SEND_NS;
}

/*
 * A check stops all changes of a container while it tells of it: what it says
 * is kept, as far as there is room, for a peer that is slow to listen.
 */
static bool may_send(const struct serve_call *c)
{
	return c->row->type != CFS_RPC_CHECK || c->out.bytes > KEEP_BYTES;
}

int serve_item(struct serve_call *c, const void *item)
{
	int r = record(c, CFS_RPC_ITEM, c->row->item, item);

	if (r == 0 && may_send(c) &&
	    (c->out.bytes > SEND_BYTES || is_due(c->sent_ns)))
		r = send_some(c, 0);
	return r;
}

int serve_data(struct serve_call *c, const void *data, size_t bytes)
{
	const le32 length = le32_put((uint32_t)bytes + 1);
	const uint8_t kind = CFS_RPC_DATA;

	if (cfs_buf_append(&c->out, &length, sizeof(length)) < 0 ||
	    cfs_buf_append(&c->out, &kind, sizeof(kind)) < 0 ||
	    cfs_buf_append(&c->out, data, bytes) < 0)
		return cfs_err_set(c->err, -ENOMEM, "out of memory");
	return c->out.bytes > SEND_BYTES ? send_some(c, 0) : 0;
}

bool serve_stop(void *arg)
{
	struct serve_call *c = arg;

	return __atomic_load_n(&c->running.is_cancelled, __ATOMIC_RELAXED) ||
	       cfs_server_request_is_cancelled(c->request);
}

void serve_progress(void *arg, uint64_t done, uint64_t total)
{
	const struct cfs_rpc_progress p = { .done = done, .total = total };
	struct serve_call *c = arg;

	if (!is_due(c->told_ns))
		return;
	c->told_ns = cfs_clock_elapsed_ns(cfs_clock_system());
	if (record(c, CFS_RPC_PROGRESS, &cfs_rpc_progress_shape, &p) == 0)
		(void)send_some(c, 0);
}

/* ---- a request ----------------------------------------------------------- */

static int do_stage(struct serve_call *c)
{
	return serve_stage_put(c->peer, &c->args, c->err);
}

static int do_cancel(struct serve_call *c)
{
	serve_running_cancel(c->peer, c->args.token);
	return 0;
}

/* Whose lease it is is seen when something is used under it. */
static int do_under(struct serve_call *c)
{
	if (cfs_lease_name_parse(c->args.text, &c->peer->actor.lender) < 0)
		return cfs_err_set(c->err, -EINVAL, "not a lease");
	return 0;
}

static serve_fn function_of(uint16_t type)
{
	serve_fn fn;

	if (type == CFS_RPC_STAGE)
		return do_stage;
	if (type == CFS_RPC_CANCEL)
		return do_cancel;
	if (type == CFS_RPC_UNDER)
		return do_under;
	fn = serve_session_fn(type);
	if (!fn)
		fn = serve_io_fn(type);
	if (!fn)
		fn = serve_stream_fn(type);
	return fn ? fn : serve_fs_fn(type);
}

/* Reads and writes of what is open need no look at the structure, what takes
 * hours counts as a user of it instead, and opening looks when it need not
 * wait. */
static bool looks_at_structure(const struct cfs_rpc_row *row)
{
	return row->type < CFS_RPC_IO_OPEN && row->type > CFS_RPC_CANCEL &&
	       !(row->flags & CFS_RPC_LONG);
}

static int run_long(struct serve_call *c, serve_fn fn)
{
	struct cfs_use *use = NULL;
	int r;

	if (!(c->row->flags & CFS_RPC_FREE)) {
		r = cfs_session_pin(c->s, c->args.volume, &use, c->err);
		if (r < 0)
			return r;
	}
	r = cfs_server_request_set_long(c->request, c->err);
	if (r < 0) {
		cfs_serve_volume_leave(c->s, use);
		return r;
	}
	serve_running_add(c->peer, &c->running);
	r = fn(c);
	serve_running_drop(c->peer, &c->running);
	cfs_serve_volume_leave(c->s, use);
	return r;
}

static int run(struct serve_call *c, serve_fn fn)
{
	const bool is_alone = c->row->flags & CFS_RPC_ALONE;
	const bool is_long = c->row->flags & CFS_RPC_LONG;
	const bool has_lock = is_alone || looks_at_structure(c->row);
	int r;

	if (is_long)
		return run_long(c, fn);
	if (is_alone)
		pthread_rwlock_wrlock(&c->rpc->structure);
	else if (has_lock)
		pthread_rwlock_rdlock(&c->rpc->structure);
	r = fn(c);
	if (has_lock)
		pthread_rwlock_unlock(&c->rpc->structure);
	return r;
}

/* The result goes back also with an error. */
static int put_end(struct serve_call *c, int code, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf result = CFS_BUF_INIT;
	struct cfs_rpc_end end = {
		.code = code < 0 ? (uint32_t)-code : 0,
		.text = code < 0 ? err->msg : "",
	};
	int r = 0;

	if (c->row->ret)
		r = cfs_rpc_pack(c->row->ret, &c->ret, &result, err);
	end.result = result.data;
	end.result_bytes = result.bytes;
	if (r == 0)
		r = cfs_rpc_record_put(&c->out, CFS_RPC_END, &cfs_rpc_end_shape,
				       &end, err);
	return r;
}

static int answer(struct serve_call *c, int code, struct cfs_buf *reply,
		  struct cfs_err *err)
{
	int r = c->broken;

	if (r == 0)
		r = put_end(c, code, err);
	if (r == 0)
		r = send_some(c, CFS_MSG_BODY_MAX);
	if (r == 0 && cfs_buf_append(reply, c->out.data, c->out.bytes) < 0)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	return r;
}

/* The body of the request, here or put together before. */
static int take_body(struct serve_call *c, struct serve_stage **ret_stage,
		     const uint8_t **ret, size_t *ret_bytes,
		     struct cfs_err *err)
{
	const struct cfs_server_request *q = c->request;
	le64 token;

	if (q->body_bytes < sizeof(token))
		return cfs_err_set(err, -EPROTO,
				   "a message that makes no "
				   "sense");
	memcpy(&token, q->body, sizeof(token));
	*ret = q->body + sizeof(token);
	*ret_bytes = q->body_bytes - sizeof(token);
	if (le64_get(token) == 0)
		return 0;
	*ret_stage = serve_stage_take(c->peer, le64_get(token));
	if (!*ret_stage || *ret_bytes)
		return cfs_err_set(err, -EPROTO,
				   "a message that makes no "
				   "sense");
	*ret = (*ret_stage)->data;
	*ret_bytes = (*ret_stage)->bytes;
	return 0;
}

/* What bytes and entries point to is the handler's to have allocated. */
static void ret_done(struct serve_call *c)
{
	switch (c->row->type) {
	case CFS_RPC_FS_PATH_OF:
	case CFS_RPC_FS_READLINK:
	case CFS_RPC_FS_XATTR_GET:
	case CFS_RPC_FS_XATTR_LIST:
		free((void *)(uintptr_t)c->ret.bytes.data);
		break;
	case CFS_RPC_FS_READDIR:
		free((void *)(uintptr_t)c->ret.entries.entries);
		break;
	default:
		break;
	}
}

static int serve(struct serve_call *c, struct cfs_buf *reply,
		 struct cfs_err *err)
{
	CFS_CLEANUP(cfs_rpc_arena_donep) struct cfs_rpc_arena arena = { NULL };
	const serve_fn fn = function_of(c->row->type);
	struct serve_stage *stage = NULL;
	const uint8_t *body = NULL;
	size_t bytes = 0;
	int r = take_body(c, &stage, &body, &bytes, err);

	if (r == 0)
		r = cfs_rpc_unpack(c->row->args, body, bytes, &c->args, &arena,
				   err);
	if (r < 0) {
		serve_stage_free(stage);
		return r;
	}
	c->running.token = c->args.token;
	r = fn ? run(c, fn) : cfs_err_set(err, -ENOTSUP, "not served");
	r = answer(c, r, reply, err);
	ret_done(c);
	serve_stage_free(stage);
	return r;
}

int cfs_serve_rpc_request(void *arg, struct cfs_server_request *request,
			  struct cfs_buf *reply, struct cfs_err *err)
{
	const struct cfs_rpc_row *row = cfs_rpc_row(request->type);
	struct cfs_err own = CFS_ERR_INIT;
	struct serve_call *c;
	int r;

	err = err ? err : &own;
	if (!row)
		return cfs_err_set(err, -ENOTSUP, "request %#x is not known",
				   request->type);
	c = calloc(1, sizeof(*c));
	if (!c)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	c->rpc = arg;
	c->s = c->rpc->s;
	c->row = row;
	c->request = request;
	c->err = err;
	c->sent_ns = c->told_ns = cfs_clock_elapsed_ns(cfs_clock_system());
	c->peer = serve_peer_get(c->rpc, request);
	if (c->peer) {
		cfs_serve_act_for(&c->peer->actor);
		cfs_serve_answer(request);
		r = serve(c, reply, err);
		cfs_serve_answer(NULL);
		cfs_serve_act_for(NULL);
	} else {
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	}
	cfs_buf_donep(&c->out);
	free(c);
	return r;
}
