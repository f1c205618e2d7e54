/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A stream from its bytes to verified records.
 *
 * A record is collected in three parts, whose lengths are known one by one:
 * head, front (what the head's checksum covers), blocks.  Lengths were checked
 * against what a record can have before anything is collected, so that the
 * buffers have the size of the largest, and never grow.
 */
#include "volume/stream.h"

#include "device/device.h"

#include <inttypes.h>
#include <stdlib.h>

enum part { PART_HEAD, PART_FRONT, PART_BLOCKS };

struct cfs_stream_reader {
	cfs_stream_item_fn each;
	void *arg;
	struct cfs_stream_begin begin;
	bool has_begin, is_whole, has_failed;
	uint64_t id; /* of the stream */
	uint64_t tag_seed;
	uint64_t chain;
	struct cfs_stream_position last; /* behind the last record */
	struct cfs_stream_totals totals;
	/* The record under way. */
	enum part part;
	size_t filled; /* of this part */
	struct cfs_stream_head head;
	struct cfs_stream_head_disk head_disk;
	uint8_t front[CFS_STREAM_FRONT_BYTES_MAX];
	uint8_t *blocks;
};

int cfs_stream_reader_new(cfs_stream_item_fn each, void *arg,
			  struct cfs_stream_reader **ret, struct cfs_err *err)
{
	struct cfs_stream_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r->each = each;
	r->arg = arg;
	*ret = r;
	return 0;
}

void cfs_stream_reader_free(struct cfs_stream_reader *r)
{
	if (!r)
		return;
	free(r->blocks);
	free(r);
}

void cfs_stream_reader_freep(struct cfs_stream_reader **r)
{
	cfs_stream_reader_free(*r);
}

const struct cfs_stream_begin *cfs_stream_reader_begin(
	const struct cfs_stream_reader *r)
{
	return r->has_begin ? &r->begin : NULL;
}

void cfs_stream_reader_totals(const struct cfs_stream_reader *r,
			      struct cfs_stream_totals *ret)
{
	*ret = r->totals;
}

/* ---- one record ---------------------------------------------------------- */

static int bad(const struct cfs_stream_reader *r, struct cfs_err *err,
	       const char *what)
{
	return cfs_err_set(err, -EUCLEAN,
			   "stream: %s (record %" PRIu64
			   ", before byte %" PRIu64 ")",
			   what, r->totals.records, r->totals.bytes);
}

static int verify_blocks(const struct cfs_stream_reader *r,
			 const struct cfs_stream_data *data,
			 struct cfs_err *err)
{
	struct cfs_tag tag = {
		.type = CFS_TAG_DATA,
		.ino = data->ino,
		.stamp = data->stamp,
		.branch = data->branch,
		.seq = data->seq,
	};

	for (uint32_t i = 0; i < data->count; i++) {
		tag.offset = data->offset + i;
		if (cfs_tag_csum(&tag, r->tag_seed,
				 r->blocks + (size_t)i * CFS_BLOCK_BYTES) !=
		    cfs_stream_data_csum(r->front, i))
			return bad(r, err,
				   "a block does not match its "
				   "checksum");
	}
	return 0;
}

static int unpack_range(struct cfs_stream_reader *r,
			struct cfs_stream_item *item, struct cfs_err *err)
{
	uint64_t offset, count;
	int ret;

	if (item->type == CFS_STREAM_DATA) {
		ret = cfs_stream_data_unpack(r->front, r->head.front_bytes,
					     &item->data, err);
		if (ret == 0 && item->data.count != r->head.block_count)
			ret = bad(r, err,
				  "a number of blocks that is not "
				  "its length");
		if (ret == 0)
			ret = verify_blocks(r, &item->data, err);
		if (ret < 0)
			return ret;
		item->blocks = r->blocks;
		item->at.ino = item->data.ino;
		offset = item->data.offset;
		count = item->data.count;
	} else {
		ret = cfs_stream_hole_unpack(r->front, r->head.front_bytes,
					     &item->hole, err);
		if (ret < 0)
			return ret;
		item->at.ino = item->hole.ino;
		offset = item->hole.offset;
		count = item->hole.count;
	}
	item->at.word = cfs_map_word1(CFS_MAP_EXTENT, offset);
	item->end = (struct cfs_stream_position){ item->at.ino,
						  item->at.word + count };
	return 0;
}

/* Payload and keys of a record that is neither BEGIN nor END. */
static int unpack_item(struct cfs_stream_reader *r,
		       struct cfs_stream_item *item, struct cfs_err *err)
{
	int ret;

	switch (item->type) {
	case CFS_STREAM_META:
		ret = cfs_stream_meta_unpack(r->front, r->head.front_bytes,
					     &item->meta, err);
		item->at.ino = item->meta.ino;
		item->at.word = item->meta.word;
		item->end = item->at;
		item->end.word++;
		return ret;
	case CFS_STREAM_GONE:
		ret = cfs_stream_gone_unpack(r->front, r->head.front_bytes,
					     &item->gone_ino, err);
		item->at.ino = item->gone_ino;
		item->end.ino = item->at.ino + 1;
		return ret;
	default:
		return unpack_range(r, item, err);
	}
}

static int take_begin(struct cfs_stream_reader *r, struct cfs_stream_item *item,
		      struct cfs_err *err)
{
	struct cfs_stream_begin_disk disk;
	int ret;

	if (r->has_begin)
		return bad(r, err, "it begins twice");
	ret = cfs_stream_begin_unpack(r->front, r->head.front_bytes, &r->begin,
				      err);
	if (ret < 0)
		return ret;
	memcpy(&disk, r->front, sizeof(disk));
	r->id = cfs_stream_id(&disk);
	r->tag_seed = cfs_tag_container_seed(r->begin.container_uuid);
	r->last = r->begin.position;
	r->has_begin = true;
	item->begin = &r->begin;
	return 0;
}

static int take_end(struct cfs_stream_reader *r, struct cfs_stream_item *item,
		    struct cfs_err *err)
{
	int ret = cfs_stream_end_unpack(r->front, r->head.front_bytes,
					&item->stream_end, err);

	if (ret < 0)
		return ret;
	if (item->stream_end.record_count != r->totals.records ||
	    item->stream_end.block_count * CFS_BLOCK_BYTES !=
		    r->totals.data_bytes ||
	    item->stream_end.chain != r->chain)
		return bad(r, err, "its end is of another one");
	r->is_whole = true;
	return 0;
}

static int take_item(struct cfs_stream_reader *r, struct cfs_stream_item *item,
		     struct cfs_err *err)
{
	int ret;

	if (item->type == CFS_STREAM_BEGIN)
		return take_begin(r, item, err);
	if (item->type == CFS_STREAM_END)
		return take_end(r, item, err);
	ret = unpack_item(r, item, err);
	if (ret < 0)
		return ret;
	if (cfs_stream_position_cmp(&item->at, &r->last) < 0)
		return bad(r, err, "a record is not in its place");
	if (r->begin.kind == CFS_VOLUME_LUN &&
	    (item->blocks                    ? item->data.ino
	     : item->type == CFS_STREAM_HOLE ? item->hole.ino
					     : 0) != r->begin.root_ino)
		return bad(r, err, "a record that no LUN has");
	r->last = item->end;
	return 0;
}

/* All of the record is there. */
static int take_record(struct cfs_stream_reader *r, struct cfs_err *err)
{
	struct cfs_stream_item item = {
		.type = (enum cfs_stream_type)r->head.type,
	};
	int ret;

	ret = take_item(r, &item, err);
	if (ret == 0 && r->each)
		ret = r->each(r->arg, &item, err);
	if (ret < 0)
		return ret;
	r->chain = cfs_stream_chain(r->chain, r->head.csum);
	r->totals.records++;
	r->totals.data_bytes += (uint64_t)r->head.block_count * CFS_BLOCK_BYTES;
	return 0;
}

/* ---- parts --------------------------------------------------------------- */

static int head_done(struct cfs_stream_reader *r, struct cfs_err *err)
{
	int ret = cfs_stream_head_unpack(&r->head_disk, &r->head, err);

	if (ret == -EMEDIUMTYPE && r->has_begin)
		return bad(r, err, "no record where one must be");
	if (ret < 0)
		return ret == -ENOTSUP && r->has_begin
			       ? bad(r, err, "a record of another version")
			       : ret;
	if (!r->has_begin && r->head.type != CFS_STREAM_BEGIN)
		return bad(r, err, "it does not begin");
	if (r->head.sequence != r->totals.records)
		return bad(r, err, "a record is missing, or doubled");
	return 0;
}

static int front_done(struct cfs_stream_reader *r, struct cfs_err *err)
{
	return cfs_stream_head_verify(&r->head_disk, r->id, r->front,
				      r->head.front_bytes, err);
}

static int blocks_have_room(struct cfs_stream_reader *r, struct cfs_err *err)
{
	if (!r->blocks)
		r->blocks = cfs_dev_buf_alloc(CFS_STREAM_BLOCKS_MAX *
					      CFS_BLOCK_BYTES);
	return r->blocks ? 0 : cfs_err_set(err, -ENOMEM, "out of memory");
}

/* Where the part under way is collected, and how long it is. */
static uint8_t *part_of(struct cfs_stream_reader *r, size_t *ret_bytes)
{
	switch (r->part) {
	case PART_HEAD:
		*ret_bytes = sizeof(r->head_disk);
		return (uint8_t *)&r->head_disk;
	case PART_FRONT:
		*ret_bytes = r->head.front_bytes;
		return r->front;
	default:
		*ret_bytes = (size_t)r->head.block_count * CFS_BLOCK_BYTES;
		return r->blocks;
	}
}

static int part_done(struct cfs_stream_reader *r, struct cfs_err *err)
{
	int ret = 0;

	r->filled = 0;
	if (r->part == PART_HEAD) {
		r->part = PART_FRONT;
		return head_done(r, err);
	}
	if (r->part == PART_FRONT) {
		ret = front_done(r, err);
		if (ret < 0)
			return bad(r, err,
				   "a record does not match its "
				   "checksum");
		if (r->head.block_count) {
			r->part = PART_BLOCKS;
			return blocks_have_room(r, err);
		}
	}
	r->part = PART_HEAD;
	return take_record(r, err);
}

static int feed(struct cfs_stream_reader *r, const uint8_t *p, size_t n,
		struct cfs_err *err)
{
	while (n > 0) {
		size_t want, take;
		uint8_t *to = part_of(r, &want);
		int ret = 0;

		if (r->is_whole)
			return bad(r, err, "something follows its end");
		take = CFS_MIN(n, want - r->filled);
		memcpy(to + r->filled, p, take);
		r->filled += take;
		r->totals.bytes += take;
		p += take;
		n -= take;
		if (r->filled == want)
			ret = part_done(r, err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

int cfs_stream_feed(struct cfs_stream_reader *r, const void *bytes, size_t n,
		    struct cfs_err *err)
{
	int ret;

	if (r->has_failed)
		return cfs_err_set(err, -EUCLEAN,
				   "stream: it has failed "
				   "before");
	ret = feed(r, bytes, n, err);
	r->has_failed = ret < 0;
	return ret;
}

int cfs_stream_feed_end(const struct cfs_stream_reader *r, struct cfs_err *err)
{
	if (r->is_whole)
		return 0;
	if (!r->has_begin && r->totals.bytes < sizeof(r->head_disk))
		return cfs_err_set(err, -EMEDIUMTYPE, "not a stream of cfs");
	return cfs_err_set(err, -ENODATA,
			   "the stream was cut, after %" PRIu64 " bytes",
			   r->totals.bytes);
}
