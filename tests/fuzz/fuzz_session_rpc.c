/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Requests and answers of a session.  The first byte names a row of the table,
 * the second what of it the rest is: arguments, result, item, or the records
 * of an answer.  What unpacks packs to what unpacks to the same bytes.
 */
#include "fuzz_input.h"
#include "session/rpc.h"

#include "base/cleanup.h"

static void judge_shape(const struct cfs_rpc_shape *shape, const uint8_t *data,
			size_t size)
{
	CFS_CLEANUP(cfs_rpc_arena_donep) struct cfs_rpc_arena arena = { NULL };
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf once = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf twice = CFS_BUF_INIT;
	struct cfs_err err = CFS_ERR_INIT;
	void *value = malloc(shape->bytes);
	int r;

	FUZZ_CHECK(value);
	r = cfs_rpc_unpack(shape, data, size, value, &arena, &err);
	FUZZ_CHECK(r == 0 || r == -EPROTO);
	if (r == 0) {
		FUZZ_CHECK(cfs_rpc_pack(shape, value, &once, &err) == 0);
		FUZZ_CHECK(cfs_rpc_unpack(shape, once.data, once.bytes, value,
					  &arena, &err) == 0);
		FUZZ_CHECK(cfs_rpc_pack(shape, value, &twice, &err) == 0);
		FUZZ_CHECK(once.bytes == twice.bytes);
		FUZZ_CHECK(!once.bytes ||
			   memcmp(once.data, twice.data, once.bytes) == 0);
	}
	free(value);
}

/* As they come, in two parts. */
static void judge_records(const uint8_t *data, size_t size)
{
	struct cfs_rpc_stream stream = { .in = CFS_BUF_INIT };
	const size_t cut = size / 2;
	enum cfs_rpc_record kind;
	const uint8_t *body;
	size_t bytes;
	int r = 0;

	for (int part = 0; part < 2 && r >= 0; part++) {
		FUZZ_CHECK(cfs_buf_append(&stream.in, data + (part ? cut : 0),
					  part ? size - cut : cut) == 0);
		while ((r = cfs_rpc_record_next(&stream, &kind, &body, &bytes,
						NULL)) > 0) {
			FUZZ_CHECK(bytes <= size);
			if (kind == CFS_RPC_END)
				judge_shape(&cfs_rpc_end_shape, body, bytes);
			if (kind == CFS_RPC_PROGRESS)
				judge_shape(&cfs_rpc_progress_shape, body,
					    bytes);
			if (kind == CFS_RPC_WARN)
				judge_shape(&cfs_rpc_line_shape, body, bytes);
		}
	}
	cfs_buf_donep(&stream.in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct cfs_rpc_row *row;

	if (size < 2)
		return 0;
	row = cfs_rpc_row_at(data[0] % cfs_rpc_row_count());
	FUZZ_CHECK(cfs_rpc_row(row->type) == row);
	if (data[1] % 4 == 0)
		judge_shape(row->args, data + 2, size - 2);
	else if (data[1] % 4 == 1 && row->ret)
		judge_shape(row->ret, data + 2, size - 2);
	else if (data[1] % 4 == 2 && row->item)
		judge_shape(row->item, data + 2, size - 2);
	else
		judge_records(data + 2, size - 2);
	return 0;
}
