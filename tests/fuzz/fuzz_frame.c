/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Frames: peek, verify, and all records of a sound one.  The bytes that a
 * record points to are read, and each record is appended again and compared.
 */
#include "base/buf.h"
#include "base/cleanup.h"
#include "fuzz_input.h"
#include "ondisk/frame.h"
#include "ondisk/map.h"

#define BLOCKS_MAX 16u /* larger ones differ in nothing but time */

static volatile uint64_t sink;

static void touch(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sink += p[i];
}

static void append_again(const struct cfs_rec *rec, const uint8_t *bytes,
			 uint64_t inline_index)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf buf = CFS_BUF_INIT;
	CFS_CLEANUP(cfs_freep) uint64_t *csums = NULL;
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_rec_head_disk head;

	if (rec->type == CFS_REC_EXTENT) {
		csums = calloc(rec->count, sizeof(*csums));
		FUZZ_CHECK(csums && (rec->csums || !rec->count));
		for (uint64_t i = 0; i < rec->count; i++) {
			le64 csum;

			memcpy(&csum, rec->csums + 8 * i, sizeof(csum));
			csums[i] = le64_get(csum);
		}
	}
	FUZZ_CHECK(cfs_rec_append(&buf, rec, csums, inline_index, &err) == 0);
	/* Reserved words and padding may differ; type and length not. */
	memcpy(&head, bytes, sizeof(head));
	FUZZ_CHECK(buf.bytes == le32_get(head.bytes));
	FUZZ_CHECK(memcmp(buf.data, bytes, sizeof(head)) == 0);
}

static void rec_judge(const uint8_t *buf, const struct cfs_frame *f,
		      const struct cfs_rec *rec, uint32_t pos)
{
	size_t inline_begin = (size_t)(f->block_count - f->inline_count) *
			      CFS_BLOCK_BYTES;
	uint64_t index = 0;

	if (rec->value)
		touch(rec->value, rec->value_bytes);
	if (rec->csums)
		touch(rec->csums, rec->count * sizeof(le64));
	if (rec->data) {
		index = ((size_t)(rec->data - buf) - inline_begin) /
			CFS_BLOCK_BYTES;
		touch(rec->data, rec->count * CFS_BLOCK_BYTES);
	}
	append_again(rec, buf + CFS_FRAME_HEADER_BYTES + pos, index);
}

static void judge(const uint8_t *buf, size_t blocks)
{
	const struct cfs_frame_header_disk *h = (const void *)buf;
	const struct cfs_frame expect = {
		.log_id = le64_get(h->log_id),
		.seq = le64_get(h->seq),
		.chain = le64_get(h->chain),
		.pool_lo = le64_get(h->pool_lo),
		.container_id = le64_get(h->container_id),
	};
	struct cfs_err err = CFS_ERR_INIT;
	uint32_t pos = 0, last = 0, count = 0;
	struct cfs_frame f;
	struct cfs_rec rec;
	int r;

	r = cfs_frame_peek(buf, &expect, &f, &err);
	fuzz_check_result(r);
	if (r < 0 || f.block_count > blocks)
		return;
	r = cfs_frame_verify(buf, &f, &err);
	fuzz_check_result(r);
	if (r < 0)
		return;
	while ((r = cfs_frame_next(buf, &f, &pos, &rec, &err)) > 0) {
		FUZZ_CHECK(pos > last && pos <= f.record_bytes);
		rec_judge(buf, &f, &rec, last);
		last = pos;
		count++;
	}
	fuzz_check_result(r);
	FUZZ_CHECK(r < 0 || (count == f.record_count && pos == f.record_bytes));
}

/* Counts that fit the input, so that the records are reached. */
static void mend(uint8_t *buf, size_t blocks)
{
	struct cfs_frame_header_disk *h = (void *)buf;
	uint8_t canonical[16];

	h->magic = le32_put(CFS_FRAME_MAGIC);
	h->version = le16_put(CFS_FRAME_VERSION);
	h->flags = le16_put(0);
	h->block_count = le32_put((uint32_t)blocks);
	memset(h->csum, 0, sizeof(h->csum));
	cfs_xxh3_128(buf, blocks * CFS_BLOCK_BYTES, canonical);
	for (unsigned int i = 0; i < 16; i++)
		h->csum[i] = canonical[15 - i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct cfs_frame_header_disk *h;
	size_t blocks = size / CFS_BLOCK_BYTES + 1;
	uint8_t *buf;

	if (size >= CFS_FRAME_HEADER_BYTES) {
		uint32_t wanted;

		h = (const void *)data;
		wanted = le32_get(h->block_count);
		if (wanted > blocks && wanted <= BLOCKS_MAX)
			blocks = wanted;
	}
	if (blocks > BLOCKS_MAX)
		blocks = BLOCKS_MAX;
	buf = malloc(blocks * CFS_BLOCK_BYTES);
	FUZZ_CHECK(buf);
	fuzz_fill(buf, blocks * CFS_BLOCK_BYTES, data, size);
	judge(buf, blocks);
	mend(buf, blocks);
	judge(buf, blocks);
	free(buf);
	return 0;
}
