/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Messages of direct access: the body of a request and the answer to an OPEN;
 * what goes in folds, views and loans is fuzz_client's.  The first byte says
 * which; what unpacks packs to bytes that unpack to the same.
 */
#include "base/buf.h"
#include "base/cleanup.h"
#include "fuzz_input.h"
#include "session/direct_msg.h"

static void check_same(const struct cfs_buf *a, const struct cfs_buf *b)
{
	FUZZ_CHECK(a->bytes == b->bytes &&
		   (a->bytes == 0 || memcmp(a->data, b->data, a->bytes) == 0));
}

static void judge_request(const uint8_t *body, size_t bytes)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf one = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf two = CFS_BUF_INIT;
	struct cfs_direct_request q;
	int r = cfs_direct_request_unpack(body, bytes, &q, NULL);

	FUZZ_CHECK(r == 0 || r == -EPROTO);
	if (r < 0)
		return;
	FUZZ_CHECK(q.data_bytes <= CFS_DIRECT_DATA_MAX);
	FUZZ_CHECK(memchr(q.volume, 0, sizeof(q.volume)));
	FUZZ_CHECK(memchr(q.snap, 0, sizeof(q.snap)));
	FUZZ_CHECK(cfs_direct_request_pack(&q, &one) == 0);
	FUZZ_CHECK(cfs_direct_request_unpack(one.data, one.bytes, &q, NULL) ==
		   0);
	FUZZ_CHECK(cfs_direct_request_pack(&q, &two) == 0);
	check_same(&one, &two);
}

static void judge_opened(const uint8_t *body, size_t bytes)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf one = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf two = CFS_BUF_INIT;
	struct cfs_direct_opened o;
	int r = cfs_direct_opened_unpack(body, bytes, &o, NULL);

	FUZZ_CHECK(r == 0 || r == -EPROTO);
	if (r < 0)
		return;
	FUZZ_CHECK(o.container && o.client &&
		   o.rec.extent_count <= CFS_CLIENT_EXTENTS_MAX);
	FUZZ_CHECK(cfs_direct_opened_pack(&o, &one) == 0);
	FUZZ_CHECK(cfs_direct_opened_unpack(one.data, one.bytes, &o, NULL) ==
		   0);
	FUZZ_CHECK(cfs_direct_opened_pack(&o, &two) == 0);
	check_same(&one, &two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] % 2 == 0)
		judge_request(data + 1, size - 1);
	else
		judge_opened(data + 1, size - 1);
	return 0;
}
