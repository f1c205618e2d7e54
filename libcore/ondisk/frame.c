/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Log frames.  peek and next read bytes that may be anything: an old frame, a
 * torn one, data that was here before.  Every length is compared against what
 * is left before it is used; sums are made in 64 bits of values of at most 32.
 */
#include "ondisk/frame.h"

#include <assert.h>

#include "base/buf.h"
#include "base/xxh.h"
#include "ondisk/field_priv.h"
#include "ondisk/map.h"
#include "ondisk/root.h"

#define CSUM_OFFSET offsetof(struct cfs_frame_header_disk, csum)
#define REC_ALIGN   8u
#define OFF_END     (CFS_OFF_MAX + 1)

static struct cfs_frame frame_get(const struct cfs_frame_header_disk *h)
{
	return (struct cfs_frame){
		.log_id = le64_get(h->log_id),
		.seq = le64_get(h->seq),
		.chain = le64_get(h->chain),
		.durable_seq = le64_get(h->durable_seq),
		.pool_lo = le64_get(h->pool_lo),
		.container_id = le64_get(h->container_id),
		.stamp = le64_get(h->stamp),
		.epoch = le32_get(h->epoch),
		.block_count = le32_get(h->block_count),
		.record_bytes = le32_get(h->record_bytes),
		.record_count = le32_get(h->record_count),
		.inline_count = le32_get(h->inline_count),
	};
}

/* Blocks of header and records; inline data begins behind them. */
static uint64_t head_blocks(const struct cfs_frame *f)
{
	return cfs_div_up(CFS_FRAME_HEADER_BYTES + (uint64_t)f->record_bytes,
			  CFS_BLOCK_BYTES);
}

static bool counts_are_sound(const struct cfs_frame *f)
{
	return f->block_count >= 1 && f->block_count <= CFS_FRAME_BLOCKS_MAX &&
	       head_blocks(f) + f->inline_count == f->block_count &&
	       f->record_bytes % REC_ALIGN == 0 &&
	       f->record_count <=
		       f->record_bytes / sizeof(struct cfs_rec_head_disk) &&
	       (f->durable_seq == 0 || f->durable_seq < f->seq) &&
	       f->stamp <= CFS_STAMP_MAX;
}

static uint64_t csum_lo_get(const uint8_t csum[16])
{
	le64 lo;

	memcpy(lo.b, csum, sizeof(lo.b));
	return le64_get(lo);
}

/* As it stands in the header: low 64 bits first, little-endian. */
static void frame_csum(const uint8_t *buf, size_t bytes, uint8_t ret[16])
{
	static const uint8_t zero[16];
	uint8_t canonical[16];
	struct cfs_xxh3_stream s;

	cfs_xxh3_stream_init(&s, 0);
	cfs_xxh3_stream_update(&s, buf, CSUM_OFFSET);
	cfs_xxh3_stream_update(&s, zero, sizeof(zero));
	cfs_xxh3_stream_update(&s, buf + CFS_FRAME_HEADER_BYTES,
			       bytes - CFS_FRAME_HEADER_BYTES);
	cfs_xxh3_stream_end_128(&s, canonical);
	for (unsigned int i = 0; i < 16; i++)
		ret[i] = canonical[15 - i];
}

void cfs_frame_pack(struct cfs_frame *frame, void *buf)
{
	struct cfs_frame_header_disk *h = buf;
	size_t bytes = (size_t)frame->block_count * CFS_BLOCK_BYTES;
	size_t end = CFS_FRAME_HEADER_BYTES + (size_t)frame->record_bytes;

	assert(counts_are_sound(frame));
	memset((uint8_t *)buf + end, 0,
	       (size_t)head_blocks(frame) * CFS_BLOCK_BYTES - end);
	memset(h, 0, sizeof(*h));
	h->magic = le32_put(CFS_FRAME_MAGIC);
	h->version = le16_put(CFS_FRAME_VERSION);
	h->log_id = le64_put(frame->log_id);
	h->seq = le64_put(frame->seq);
	h->chain = le64_put(frame->chain);
	h->durable_seq = le64_put(frame->durable_seq);
	h->pool_lo = le64_put(frame->pool_lo);
	h->container_id = le64_put(frame->container_id);
	h->stamp = le64_put(frame->stamp);
	h->epoch = le32_put(frame->epoch);
	h->block_count = le32_put(frame->block_count);
	h->record_bytes = le32_put(frame->record_bytes);
	h->record_count = le32_put(frame->record_count);
	h->inline_count = le32_put(frame->inline_count);
	frame_csum(buf, bytes, h->csum);
	frame->csum_lo = csum_lo_get(h->csum);
}

int cfs_frame_peek(const void *block, const struct cfs_frame *expect,
		   struct cfs_frame *ret, struct cfs_err *err)
{
	const struct cfs_frame_header_disk *h = block;
	struct cfs_frame f = frame_get(h);

	if (le32_get(h->magic) != CFS_FRAME_MAGIC)
		return cfs_err_set(err, -EUCLEAN, "frame: bad magic");
	if (le16_get(h->version) != CFS_FRAME_VERSION ||
	    le16_get(h->flags) != 0)
		return cfs_err_set(err, -EUCLEAN, "frame: bad version");
	if (f.pool_lo != expect->pool_lo ||
	    f.container_id != expect->container_id ||
	    f.log_id != expect->log_id)
		return cfs_err_set(err, -EUCLEAN, "frame: of another log");
	if (f.seq != expect->seq || f.chain != expect->chain)
		return cfs_err_set(err, -EUCLEAN,
				   "frame: %llu, not the successor of %llu",
				   (unsigned long long)f.seq,
				   (unsigned long long)expect->seq - 1);
	if (!counts_are_sound(&f))
		return cfs_err_set(err, -EUCLEAN, "frame: bad counts");
	*ret = f;
	return 0;
}

/*
 * Length of the record at @pos; 0: its head says something that cannot be.
 * @pos is below record_bytes and both are multiples of 8, so a head is there.
 */
static uint32_t rec_bytes(const uint8_t *records, uint32_t record_bytes,
			  uint32_t pos)
{
	struct cfs_rec_head_disk head;
	uint32_t bytes;

	memcpy(&head, records + pos, sizeof(head));
	bytes = le32_get(head.bytes);
	if (bytes < sizeof(head) || bytes % REC_ALIGN ||
	    bytes > record_bytes - pos)
		return 0;
	return bytes;
}

int cfs_frame_verify(const void *buf, struct cfs_frame *frame,
		     struct cfs_err *err)
{
	const struct cfs_frame_header_disk *h = buf;
	const uint8_t *records = (const uint8_t *)buf + CFS_FRAME_HEADER_BYTES;
	uint32_t pos = 0, count = 0, bytes;
	struct cfs_frame f;
	uint8_t csum[16];
	int r;

	/* The header may have been read a second time since the peek. */
	r = cfs_frame_peek(buf, frame, &f, err);
	if (r < 0)
		return r;
	if (f.block_count != frame->block_count)
		return cfs_err_set(err, -EUCLEAN, "frame: it changed");
	frame_csum(buf, (size_t)f.block_count * CFS_BLOCK_BYTES, csum);
	if (memcmp(csum, h->csum, sizeof(csum)) != 0)
		return cfs_err_set(err, -EUCLEAN, "frame: bad checksum");
	for (; pos < f.record_bytes; pos += bytes, count++) {
		bytes = rec_bytes(records, f.record_bytes, pos);
		if (bytes == 0)
			return cfs_err_set(err, -EUCLEAN,
					   "frame: record %u does not fit",
					   count);
	}
	if (count != f.record_count)
		return cfs_err_set(err, -EUCLEAN,
				   "frame: %u records instead of %u", count,
				   f.record_count);
	f.csum_lo = csum_lo_get(csum);
	*frame = f;
	return 0;
}

static void stamp_seq_get(le64 v, struct cfs_rec *rec)
{
	rec->stamp = le64_get(v) >> 16;
	rec->seq = (uint16_t)le64_get(v);
}

static void branch_ino_get(le64 v, struct cfs_rec *rec)
{
	rec->branch = (uint16_t)(le64_get(v) >> 48);
	rec->ino = le64_get(v) & CFS_INO_MAX;
}

static bool value_fits(uint32_t bytes, size_t head_bytes, uint32_t value_bytes)
{
	return value_bytes <= CFS_VALUE_BYTES_MAX &&
	       bytes == head_bytes + cfs_align_up(value_bytes, REC_ALIGN);
}

/*
 * Each takes a record of @bytes bytes and sets its fields of @rec; false: it
 * does not fit or makes no sense.
 */
static bool set_get(const uint8_t *p, uint32_t bytes, struct cfs_rec *rec)
{
	struct cfs_rec_set_disk disk;

	if (bytes < sizeof(disk))
		return false;
	memcpy(&disk, p, sizeof(disk));
	rec->tree_id = le32_get(disk.tree_id);
	for (unsigned int i = 0; i < 3; i++)
		rec->key[i] = le64_get(disk.key[i]);
	rec->value_bytes = le32_get(disk.value_bytes);
	if (rec->type == CFS_REC_SET)
		rec->value = p + sizeof(disk);
	else if (rec->value_bytes)
		return false;
	return rec->tree_id >= 1 && rec->tree_id <= CFS_TREE_COUNT &&
	       value_fits(bytes, sizeof(disk), rec->value_bytes);
}

static bool meta_get(const uint8_t *p, uint32_t bytes, struct cfs_rec *rec)
{
	struct cfs_rec_meta_disk disk;

	if (bytes < sizeof(disk))
		return false;
	memcpy(&disk, p, sizeof(disk));
	branch_ino_get(disk.branch_ino, rec);
	stamp_seq_get(disk.stamp_seq, rec);
	rec->class_off = le64_get(disk.class_off);
	rec->value_bytes = le32_get(disk.value_bytes);
	if (!(rec->flags & CFS_REC_META_DELETE))
		rec->value = p + sizeof(disk);
	else if (rec->value_bytes)
		return false;
	switch (rec->class_off >> CFS_MAP_OFF_BITS) {
	case CFS_MAP_INODE:
	case CFS_MAP_DIRENT:
	case CFS_MAP_XATTR:
	case CFS_MAP_SYMLINK:
	case CFS_MAP_EXTENT:
		return value_fits(bytes, sizeof(disk), rec->value_bytes);
	default:
		return false;
	}
}

static bool extent_get(const uint8_t *p, uint32_t bytes,
		       const struct cfs_frame *f, const uint8_t *buf,
		       struct cfs_rec *rec)
{
	struct cfs_rec_extent_disk disk;
	uint64_t place;

	if (bytes < sizeof(disk))
		return false;
	memcpy(&disk, p, sizeof(disk));
	branch_ino_get(disk.branch_ino, rec);
	stamp_seq_get(disk.stamp_seq, rec);
	rec->offset = le64_get(disk.off);
	rec->count = le64_get(disk.count);
	place = le64_get(disk.vaddr);
	if (rec->count == 0 ||
	    !cfs_range_fits(rec->offset, rec->count, OFF_END))
		return false;
	switch (rec->type) {
	case CFS_REC_EXTENT:
		rec->vaddr = place;
		rec->csums = p + sizeof(disk);
		return rec->count <= CFS_EXTENT_BLOCKS_MAX &&
		       bytes == sizeof(disk) + rec->count * sizeof(le64) &&
		       place != CFS_VADDR_NONE && place >> 48 == 0 &&
		       cfs_range_fits(cfs_vaddr_block(place), rec->count,
				      UINT64_C(1) << CFS_VADDR_BLOCK_BITS);
	case CFS_REC_INLINE:
		if (bytes != sizeof(disk) ||
		    !cfs_range_fits(place, rec->count, f->inline_count))
			return false;
		rec->data = buf + (head_blocks(f) + place) * CFS_BLOCK_BYTES;
		return true;
	default:
		return bytes == sizeof(disk) && place == 0;
	}
}

static bool stamp_get(const uint8_t *p, uint32_t bytes, struct cfs_rec *rec)
{
	le64 stamp;

	if (bytes != sizeof(struct cfs_rec_head_disk) + sizeof(stamp))
		return false;
	memcpy(&stamp, p + sizeof(struct cfs_rec_head_disk), sizeof(stamp));
	rec->stamp = le64_get(stamp);
	return rec->stamp <= CFS_STAMP_MAX;
}

static bool rec_get(const uint8_t *p, uint32_t bytes, const struct cfs_frame *f,
		    const uint8_t *buf, struct cfs_rec *rec)
{
	struct cfs_rec_head_disk head;
	unsigned int type;

	memcpy(&head, p, sizeof(head));
	type = le16_get(head.type);
	if (type < CFS_REC_SET || type > CFS_REC_STAMP)
		return false;
	rec->type = (enum cfs_rec_type)type;
	rec->flags = le16_get(head.flags);
	switch (rec->type) {
	case CFS_REC_SET:
	case CFS_REC_DEL:
		return set_get(p, bytes, rec);
	case CFS_REC_META:
		return meta_get(p, bytes, rec);
	case CFS_REC_EXTENT:
	case CFS_REC_INLINE:
	case CFS_REC_PUNCH:
		return extent_get(p, bytes, f, buf, rec);
	case CFS_REC_STAMP:
		return stamp_get(p, bytes, rec);
	}
	return false;
}

/* @buf: of the frame; only inline data is looked for in it. */
static int next(const uint8_t *records, const void *buf,
		const struct cfs_frame *frame, uint32_t *pos,
		struct cfs_rec *ret, struct cfs_err *err)
{
	struct cfs_rec rec = { 0 };
	uint32_t bytes;

	if (*pos >= frame->record_bytes)
		return 0;
	bytes = rec_bytes(records, frame->record_bytes, *pos);
	if (bytes == 0 || !rec_get(records + *pos, bytes, frame, buf, &rec))
		return cfs_err_set(err, -EUCLEAN,
				   "frame %llu: bad record at byte %u",
				   (unsigned long long)frame->seq, *pos);
	*pos += bytes;
	*ret = rec;
	return 1;
}

int cfs_frame_next(const void *buf, const struct cfs_frame *frame,
		   uint32_t *pos, struct cfs_rec *ret, struct cfs_err *err)
{
	return next((const uint8_t *)buf + CFS_FRAME_HEADER_BYTES, buf, frame,
		    pos, ret, err);
}

int cfs_rec_next(const void *records, uint32_t record_bytes, uint32_t *pos,
		 struct cfs_rec *ret, struct cfs_err *err)
{
	const struct cfs_frame frame = { .record_bytes = record_bytes };

	return next(records, NULL, &frame, pos, ret, err);
}

static le64 branch_ino_put(const struct cfs_rec *rec)
{
	return le64_put((uint64_t)rec->branch << 48 | rec->ino);
}

/* Head of the record into @p, which is zeroed; returns its bytes. */
static size_t head_put(const struct cfs_rec *rec, uint64_t place, uint8_t *p)
{
	le64 stamp_seq = cfs_field_48_16(rec->stamp, rec->seq);
	struct cfs_rec_set_disk set = {
		.tree_id = le32_put(rec->tree_id),
		.value_bytes = le32_put(rec->value_bytes),
		.key = { le64_put(rec->key[0]), le64_put(rec->key[1]),
			 le64_put(rec->key[2]) },
	};
	struct cfs_rec_meta_disk meta = {
		.branch_ino = branch_ino_put(rec),
		.class_off = le64_put(rec->class_off),
		.stamp_seq = stamp_seq,
		.value_bytes = le32_put(rec->value_bytes),
	};
	struct cfs_rec_extent_disk extent = {
		.branch_ino = branch_ino_put(rec),
		.off = le64_put(rec->offset),
		.count = le64_put(rec->count),
		.stamp_seq = stamp_seq,
		.vaddr = le64_put(place),
	};
	le64 stamp = le64_put(rec->stamp);

	switch (rec->type) {
	case CFS_REC_SET:
	case CFS_REC_DEL:
		memcpy(p, &set, sizeof(set));
		return sizeof(set);
	case CFS_REC_META:
		memcpy(p, &meta, sizeof(meta));
		return sizeof(meta);
	case CFS_REC_EXTENT:
	case CFS_REC_INLINE:
	case CFS_REC_PUNCH:
		memcpy(p, &extent, sizeof(extent));
		return sizeof(extent);
	case CFS_REC_STAMP:
		memcpy(p + sizeof(struct cfs_rec_head_disk), &stamp,
		       sizeof(stamp));
		return sizeof(struct cfs_rec_head_disk) + sizeof(stamp);
	}
	assert(rec->type <= CFS_REC_STAMP);
	return 0;
}

int cfs_rec_append(struct cfs_buf *buf, const struct cfs_rec *rec,
		   const uint64_t *csums, uint64_t inline_index,
		   struct cfs_err *err)
{
	bool has_value = rec->type == CFS_REC_SET || rec->type == CFS_REC_META;
	size_t value_bytes = has_value ? rec->value_bytes : 0;
	uint64_t csum_count = rec->type == CFS_REC_EXTENT ? rec->count : 0;
	uint64_t place = rec->type == CFS_REC_EXTENT   ? rec->vaddr
			 : rec->type == CFS_REC_INLINE ? inline_index
						       : 0;
	uint8_t head[sizeof(struct cfs_rec_extent_disk)] = { 0 };
	struct cfs_rec_head_disk h;
	size_t head_bytes, bytes;

	assert(csum_count <= CFS_EXTENT_BLOCKS_MAX);
	assert(value_bytes <= CFS_VALUE_BYTES_MAX);
	assert(has_value || rec->value_bytes == 0);
	assert(rec->ino <= CFS_INO_MAX && rec->stamp <= CFS_STAMP_MAX);
	head_bytes = head_put(rec, place, head);
	bytes = head_bytes + cfs_align_up(value_bytes, REC_ALIGN) +
		csum_count * sizeof(le64);
	h = (struct cfs_rec_head_disk){
		.type = le16_put((uint16_t)rec->type),
		.flags = le16_put(rec->flags),
		.bytes = le32_put((uint32_t)bytes),
	};
	memcpy(head, &h, sizeof(h));
	if (cfs_buf_reserve(buf, bytes) < 0)
		return cfs_err_set(err, -ENOMEM, "frame: no memory");
	/* Room is there: none of these fails. */
	cfs_buf_append(buf, head, head_bytes);
	cfs_buf_append(buf, rec->value, value_bytes);
	cfs_buf_append_zero(buf,
			    cfs_align_up(value_bytes, REC_ALIGN) - value_bytes);
	for (uint64_t i = 0; i < csum_count; i++) {
		le64 csum = le64_put(csums[i]);

		cfs_buf_append(buf, &csum, sizeof(csum));
	}
	return 0;
}
