/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Streams.  The first byte says what the rest is: a stream as it comes, or
 * records to be put into one that has everything else right (numbers,
 * checksums, hashes), since no fuzzer guesses those; the record about one that
 * is received; a token.  The second byte is the length of the pieces.
 */
#include "base/buf.h"
#include "fuzz_input.h"
#include "ondisk/receive.h"
#include "volume/stream.h"

#define BLOCKS_MAX 3u

struct judge {
	struct cfs_stream_position last;
	bool has_begin, has_end;
	uint64_t records;
};

static int judge_item(void *arg, const struct cfs_stream_item *item,
		      struct cfs_err *err)
{
	struct judge *j = arg;

	(void)err;
	FUZZ_CHECK(!j->has_end);
	FUZZ_CHECK(j->has_begin == (item->type != CFS_STREAM_BEGIN));
	j->records++;
	if (item->type == CFS_STREAM_BEGIN) {
		j->has_begin = true;
		j->last = item->begin->position;
		FUZZ_CHECK(cfs_name_is_valid(item->begin->snap));
		return 0;
	}
	if (item->type == CFS_STREAM_END) {
		j->has_end = true;
		return 0;
	}
	FUZZ_CHECK(cfs_stream_position_cmp(&item->at, &j->last) >= 0);
	FUZZ_CHECK(cfs_stream_position_cmp(&item->end, &item->at) > 0);
	FUZZ_CHECK(item->at.ino > 0 && item->at.ino < CFS_STREAM_INO_END);
	if (item->type == CFS_STREAM_DATA)
		FUZZ_CHECK(item->blocks &&
			   item->data.count <= CFS_STREAM_BLOCKS_MAX);
	if (item->type == CFS_STREAM_META)
		FUZZ_CHECK(item->meta.value_bytes <= CFS_VALUE_BYTES_MAX);
	j->last = item->end;
	return 0;
}

static void feed(const uint8_t *p, size_t n, size_t piece)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct cfs_stream_reader *r;
	struct cfs_stream_totals totals;
	struct judge j = { .records = 0 };
	int code;

	FUZZ_CHECK(cfs_stream_reader_new(judge_item, &j, &r, &err) == 0);
	code = 0;
	while (code == 0 && n > 0) {
		size_t k = piece < n ? piece : n;

		code = cfs_stream_feed(r, p, k, &err);
		fuzz_check_result(code);
		p += k;
		n -= k;
	}
	if (code == 0) {
		code = cfs_stream_feed_end(r, &err);
		FUZZ_CHECK((code == 0) == j.has_end);
	}
	cfs_stream_reader_totals(r, &totals);
	FUZZ_CHECK(totals.records == j.records);
	cfs_stream_reader_free(r);
}

/* ---- records with all else right ----------------------------------------- */

struct maker {
	struct cfs_buf out;
	uint64_t id, seed, sequence, chain, blocks;
};

static void put(struct maker *m, enum cfs_stream_type type, const void *front,
		size_t front_bytes, uint32_t block_count)
{
	static const uint8_t zeroes[BLOCKS_MAX * CFS_BLOCK_BYTES];
	struct cfs_stream_head_disk head;

	cfs_stream_head_pack(&head, type, m->sequence++, m->id, front,
			     front_bytes, block_count);
	m->chain = cfs_stream_chain(m->chain, le64_get(head.csum));
	m->blocks += block_count;
	FUZZ_CHECK(cfs_buf_append(&m->out, &head, sizeof(head)) == 0);
	FUZZ_CHECK(cfs_buf_append(&m->out, front, front_bytes) == 0);
	FUZZ_CHECK(cfs_buf_append(&m->out, zeroes,
				  block_count * CFS_BLOCK_BYTES) == 0);
}

static void put_begin(struct maker *m, const uint8_t *p, size_t n)
{
	struct cfs_stream_begin_disk disk;
	struct cfs_stream_begin begin;

	fuzz_fill(&disk, sizeof(disk), p, n);
	if (cfs_stream_begin_unpack(&disk, sizeof(disk), &begin, NULL) < 0) {
		const struct cfs_stream_begin plain = {
			.kind = CFS_VOLUME_TREE,
			.root_ino = 16,
			.to = { .container = { 1 }, .stamp = 2 },
			.snap = "a",
		};

		cfs_stream_begin_pack(&plain, &disk);
		begin = plain;
	}
	put(m, CFS_STREAM_BEGIN, &disk, sizeof(disk), 0);
	m->id = cfs_stream_id(&disk);
	m->seed = cfs_tag_container_seed(begin.container_uuid);
}

/* Zeroes, of which the checksums are right. */
static void put_data(struct maker *m, const uint8_t *p, size_t n)
{
	static const uint8_t zeroes[CFS_BLOCK_BYTES];
	uint8_t front[CFS_STREAM_FRONT_BYTES_MAX];
	struct cfs_stream_data_disk disk;
	uint64_t csums[BLOCKS_MAX];
	struct cfs_stream_data d;
	struct cfs_tag tag = { .type = CFS_TAG_DATA };

	fuzz_fill(&disk, sizeof(disk), p, n);
	d = (struct cfs_stream_data){
		.ino = le64_get(disk.ino),
		.offset = le64_get(disk.offset),
		.stamp = le64_get(disk.stamp_branch) >> 16,
		.branch = (uint16_t)le64_get(disk.stamp_branch),
		.seq = le16_get(disk.seq),
		.count = 1 + le32_get(disk.count) % BLOCKS_MAX,
	};
	tag.ino = d.ino & CFS_INO_MAX;
	tag.stamp = d.stamp;
	tag.branch = d.branch;
	tag.seq = d.seq;
	for (uint32_t i = 0; i < d.count; i++) {
		tag.offset = (d.offset + i) & CFS_OFF_MAX;
		csums[i] = cfs_tag_csum(&tag, m->seed, zeroes);
	}
	put(m, CFS_STREAM_DATA, front, cfs_stream_data_pack(&d, csums, front),
	    d.count);
}

static void put_end(struct maker *m)
{
	const struct cfs_stream_end_disk disk = {
		.record_count = le64_put(m->sequence),
		.block_count = le64_put(m->blocks),
		.chain = le64_put(m->chain),
	};

	put(m, CFS_STREAM_END, &disk, sizeof(disk), 0);
}

static size_t length_of(uint8_t type, size_t n)
{
	switch (type) {
	case CFS_STREAM_META:
		return n < sizeof(struct cfs_stream_meta_disk)
			       ? sizeof(struct cfs_stream_meta_disk)
			       : n;
	case CFS_STREAM_GONE:
		return sizeof(struct cfs_stream_gone_disk);
	default:
		return sizeof(struct cfs_stream_hole_disk);
	}
}

/* Records of a type, a length and as many bytes; the first is BEGIN's. */
static void make_and_feed(const uint8_t *p, size_t n, size_t piece)
{
	struct maker m = { .id = 0 };
	uint8_t front[CFS_STREAM_FRONT_BYTES_MAX];

	for (unsigned int i = 0; n >= 2 && i < 64; i++) {
		const uint8_t type = p[0] % 8;
		size_t k = (size_t)p[1] * 4;

		p += 2;
		n -= 2;
		k = k < n ? k : n;
		memset(front, 0, sizeof(front));
		memcpy(front, p, k);
		if (i == 0 || type == CFS_STREAM_BEGIN)
			put_begin(&m, p, k);
		else if (type == CFS_STREAM_DATA)
			put_data(&m, p, k);
		else if (type == CFS_STREAM_END)
			put_end(&m);
		else
			put(&m, (enum cfs_stream_type)type, front,
			    length_of(type, k), 0);
		p += k;
		n -= k;
	}
	put_end(&m);
	feed(m.out.data, m.out.bytes, piece);
	cfs_buf_donep(&m.out);
}

/* ---- the others ---------------------------------------------------------- */

static void receive_judge(const uint8_t *p, size_t n)
{
	struct cfs_receive_rec_disk once, twice;
	struct cfs_receive_rec rec;
	int r = cfs_receive_rec_unpack(p, n, &rec, NULL);

	fuzz_check_result(r);
	if (r < 0)
		return;
	cfs_receive_rec_pack(&rec, &once);
	FUZZ_CHECK(cfs_receive_rec_unpack(&once, sizeof(once), &rec, NULL) ==
		   0);
	cfs_receive_rec_pack(&rec, &twice);
	FUZZ_CHECK(memcmp(&once, &twice, sizeof(once)) == 0);
}

static void token_judge(const uint8_t *p, size_t n)
{
	char text[2 * CFS_STREAM_TOKEN_BYTES] = "", again[sizeof(text)];
	struct cfs_stream_token token;

	memcpy(text, p, n < sizeof(text) ? n : sizeof(text) - 1);
	if (cfs_stream_token_parse(text, &token, NULL) < 0)
		return;
	cfs_stream_token_format(&token, again);
	FUZZ_CHECK(strcmp(text, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const size_t piece = size > 1 ? (size_t)data[1] * 17 + 1 : 1;

	if (size < 2)
		return 0;
	switch (data[0] % 4) {
	case 0:
		feed(data + 2, size - 2, piece);
		break;
	case 1:
		make_and_feed(data + 2, size - 2, piece);
		break;
	case 2:
		receive_judge(data + 2, size - 2);
		break;
	default:
		token_judge(data + 2, size - 2);
		break;
	}
	return 0;
}
