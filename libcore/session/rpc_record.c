/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The records of an answer: see rpc.h. */
#include "session/rpc.h"

#include "base/le.h"

#include <string.h>

#define T struct cfs_rpc_end
static const struct cfs_rpc_field end_fields[] = {
	CFS_RPC_F(T, code),
	CFS_RPC_F(T, text),
	CFS_RPC_B(T, result, result_bytes),
};
const struct cfs_rpc_shape cfs_rpc_end_shape = {
	.bytes = sizeof(T),
	.fields = end_fields,
	.count = 3,
};
#undef T

#define T struct cfs_rpc_progress
static const struct cfs_rpc_field progress_fields[] = {
	CFS_RPC_F(T, done),
	CFS_RPC_F(T, total),
};
const struct cfs_rpc_shape cfs_rpc_progress_shape = {
	.bytes = sizeof(T),
	.fields = progress_fields,
	.count = 2,
};
#undef T

#define T struct cfs_rpc_line
static const struct cfs_rpc_field line_fields[] = { CFS_RPC_F(T, line) };
const struct cfs_rpc_shape cfs_rpc_line_shape = {
	.bytes = sizeof(T),
	.fields = line_fields,
	.count = 1,
};
#undef T

int cfs_rpc_record_put(struct cfs_buf *to, enum cfs_rpc_record kind,
		       const struct cfs_rpc_shape *shape, const void *from,
		       struct cfs_err *err)
{
	const size_t before = to->bytes;
	uint8_t head[CFS_RPC_RECORD_HEAD_BYTES] = { 0, 0, 0, 0, (uint8_t)kind };
	size_t bytes;
	le32 length;
	int r = cfs_buf_append(to, head, sizeof(head));

	if (r < 0)
		return cfs_err_set(err, r, "out of memory");
	r = cfs_rpc_pack(shape, from, to, err);
	bytes = to->bytes - before - sizeof(length);
	if (r == 0 && bytes > CFS_RPC_RECORD_BYTES_MAX)
		r = cfs_err_set(err, -EMSGSIZE, "too much for one answer");
	if (r < 0) {
		to->bytes = before;
		return r;
	}
	length = le32_put((uint32_t)bytes);
	memcpy(to->data + before, &length, sizeof(length));
	return 0;
}

int cfs_rpc_record_next(struct cfs_rpc_stream *s, enum cfs_rpc_record *ret_kind,
			const uint8_t **ret, size_t *ret_bytes,
			struct cfs_err *err)
{
	const size_t left = s->in.bytes - s->used;
	const uint8_t *at = s->in.data + s->used;
	uint32_t bytes;
	le32 length;

	if (left < CFS_RPC_RECORD_HEAD_BYTES) {
		cfs_buf_drop_front(&s->in, s->used);
		s->used = 0;
		return 0;
	}
	memcpy(&length, at, sizeof(length));
	bytes = le32_get(length);
	if (bytes == 0 || bytes > CFS_RPC_RECORD_BYTES_MAX ||
	    at[4] < CFS_RPC_ITEM || at[4] > CFS_RPC_END)
		return cfs_err_set(err, -EPROTO,
				   "an answer that makes no "
				   "sense");
	if (left - sizeof(length) < bytes) {
		cfs_buf_drop_front(&s->in, s->used);
		s->used = 0;
		return 0;
	}
	*ret_kind = at[4];
	*ret = at + CFS_RPC_RECORD_HEAD_BYTES;
	*ret_bytes = bytes - 1;
	s->used += sizeof(length) + bytes;
	return 1;
}
