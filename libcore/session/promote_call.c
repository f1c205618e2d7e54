/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The calls of a session that make a container of a clone. */
#include "session/promote.h"

#include "session/refer.h"
#include "session/remote.h"
#include "session/serve_use.h"
#include "session/session_priv.h"

/* Something changes the clone between any two of our steps. */
#define TRIES_MAX 20

static int copy(struct cfs_session *s, const char *clone, const char *name,
		uint64_t *ret_bytes, struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = clone, .name = name };
	struct cfs_rpc_values got = { 0, 0 };
	struct cfs_remote_call call = {
		.type = CFS_RPC_PROMOTE,
		.args = &args,
		.ret = &got,
	};
	int r;

	if (!s->remote)
		return CFS_PINNED(s, clone, err,
				  cfs_local_promote(s, &s->opt, clone, name,
						    ret_bytes, err));
	r = cfs_remote_call(s->remote, &call, err);
	*ret_bytes = got.value;
	return r;
}

static int end(struct cfs_session *s, const char *clone, const char *name,
	       struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = clone, .name = name };

	return s->remote ? cfs_remote_ask(s->remote, CFS_RPC_PROMOTE_END, &args,
					  NULL, err)
			 : CFS_ALONE(s, cfs_local_promote_end(s, clone, name,
							      err));
}

static int undo(struct cfs_session *s, const char *clone, struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = clone };
	int r = cfs_session_may_write(s, err);

	if (r < 0)
		return r;
	return s->remote ? cfs_remote_ask(s->remote, CFS_RPC_PROMOTE_UNDO,
					  &args, NULL, err)
			 : CFS_ALONE(s, cfs_local_promote_undo(s, clone, err));
}

static int promote(struct cfs_session *s, const char *clone, const char *name,
		   uint64_t *ret_bytes, struct cfs_err *err)
{
	int r = cfs_session_may_write(s, err);

	*ret_bytes = 0;
	for (unsigned int i = 0; r == 0 || r == -EAGAIN || r == -ESTALE; i++) {
		uint64_t bytes = 0;

		if (i == TRIES_MAX)
			return cfs_err_set(err, -EBUSY,
					   "it changes all the time: what was "
					   "copied is kept");
		r = r == -ESTALE ? undo(s, clone, err) : 0;
		if (r == 0)
			r = copy(s, clone, name, &bytes, err);
		*ret_bytes += bytes;
		if (r == -ESTALE)
			continue;
		if (r < 0 || s->opt.is_dry_run)
			break;
		r = end(s, clone, name, err);
		if (r == 0)
			break;
	}
	return r;
}

int cfs_session_promote(struct cfs_session *s, const char *clone,
			const char *name, uint64_t *ret_bytes,
			struct cfs_err *err)
{
	return CFS_REFER(s, clone, 0, at, err,
			 promote(at, clone, name, ret_bytes, err));
}

int cfs_session_promote_undo(struct cfs_session *s, const char *clone,
			     struct cfs_err *err)
{
	return CFS_REFER(s, clone, 0, at, err, undo(at, clone, err));
}
