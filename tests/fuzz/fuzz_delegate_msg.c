/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What secondaries say, what is said about them, and who goes there.  The first
 * byte says what the rest is.
 */
#include "fuzz_input.h"
#include "lease/hand.h"
#include "session/delegate_msg.h"

#include <string.h>

static void request_judge(const uint8_t *data, size_t bytes)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_buf buf = CFS_BUF_INIT;
	struct cfs_delegate_request q;
	int r = cfs_delegate_request_unpack(data, bytes, &q, &err);

	FUZZ_CHECK(r == 0 || r == -EPROTO);
	if (r < 0)
		return;
	FUZZ_CHECK(strnlen(q.name, sizeof(q.name)) < sizeof(q.name));
	FUZZ_CHECK(strnlen(q.address, sizeof(q.address)) < sizeof(q.address));
	FUZZ_CHECK(cfs_delegate_request_pack(&q, &buf) == 0);
	FUZZ_CHECK(buf.bytes == bytes);
	cfs_buf_donep(&buf);
}

static void entries_judge(const uint8_t *data, size_t bytes)
{
	struct cfs_delegate_entries entries;
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_buf buf = CFS_BUF_INIT;
	int r = cfs_delegate_entries_unpack(data, bytes, &entries, &err);

	FUZZ_CHECK(r == 0 || r == -EPROTO || r == -ENOMEM);
	if (r < 0)
		return;
	for (size_t i = 0; i < entries.v.count; i++)
		FUZZ_CHECK(cfs_delegate_entry_pack(&entries.v.items[i], &buf) ==
			   0);
	FUZZ_CHECK(buf.bytes == bytes);
	cfs_vec_done(&entries.v);
	cfs_buf_donep(&buf);
}

static void handed_judge(const uint8_t *data, size_t bytes)
{
	struct cfs_handed_list list = { .v = CFS_VEC_INIT };
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_buf buf = CFS_BUF_INIT;
	int r = cfs_handed_list_unpack(data, bytes, &list, &err);

	FUZZ_CHECK(r == 0 || r == -EPROTO || r == -ENOMEM);
	if (r < 0)
		return;
	for (size_t i = 0; i < list.v.count; i++)
		FUZZ_CHECK(list.v.items[i].known.client_id != 0);
	FUZZ_CHECK(cfs_handed_list_pack(&list, &buf) == 0);
	FUZZ_CHECK(buf.bytes == bytes && memcmp(buf.data, data, bytes) == 0);
	cfs_handed_list_donep(&list);
	cfs_buf_donep(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] & 2)
		handed_judge(data + 1, size - 1);
	else if (data[0] & 1)
		entries_judge(data + 1, size - 1);
	else
		request_judge(data + 1, size - 1);
	return 0;
}
