/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing and punching the data of an inode, and looking where it is. */
#include "volume/vols_priv.h"

#include "base/cleanup.h"
#include "base/xxh.h"
#include "device/device.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

/* From here on (aligned, whole blocks) a write goes home at once. */
#define DIRECT_BLOCKS     32u
#define DIRECT_BLOCKS_MAX 4096u /* of one extent record's worth of csums */
#define ZEROING_BLOCKS    16u   /* a block, what settles, and nodes */

/* ---- writing ------------------------------------------------------------- */

/* Part of a block, or all of it, into a page. */
static int write_page(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		      uint64_t offset, uint32_t at, const void *buf,
		      uint32_t length, struct cfs_err *err)
{
	const struct cfs_view head = { v->c, branch, CFS_STAMP_HEAD };
	CFS_CLEANUP(cfs_freep) uint8_t *old = NULL;
	struct page *p = cfs_page_find(v, branch, ino, offset);
	bool is_new;
	int r;

	/* Read before the page is made, so that a failure leaves no trace. */
	if (!p && length < CFS_BLOCK_BYTES) {
		old = cfs_dev_buf_alloc(CFS_BLOCK_BYTES);
		if (!old)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		r = cfs_data_read(&head, ino, offset * CFS_BLOCK_BYTES, old,
				  CFS_BLOCK_BYTES, NULL, err);
		if (r < 0)
			return r;
	}
	r = cfs_page_dirty(v, branch, ino, offset, UINT64_MAX, &p, &is_new,
			   err);
	if (r < 0)
		return r;
	if (is_new && old)
		memcpy(p->data, old, CFS_BLOCK_BYTES);
	memcpy(p->data + at, buf, length);
	cfs_page_touch(v, p);
	return 0;
}

/* Of the blocks at @data, if they are known. */
static const uint64_t *hashes_of(const struct cfs_data_flight *flight,
				 const uint8_t *data)
{
	return flight && flight->hashes
		       ? flight->hashes +
				 (size_t)(data - (const uint8_t *)flight->buf) /
					 CFS_BLOCK_BYTES
		       : NULL;
}

/* One extent's worth of whole blocks, home at once. */
static int write_extent(struct cfs_vols *v, uint16_t branch, uint64_t ino,
			struct extent *e, const uint8_t *buf,
			const uint64_t *hashes, struct cfs_err *err)
{
	const uint64_t seed = cfs_blocks_seed(cfs_container_blocks(v->c));
	CFS_CLEANUP(cfs_freep) uint64_t *csums = NULL;
	struct cfs_tag tag = {
		.type = CFS_TAG_DATA,
		.ino = ino,
		.stamp = e->stamp,
		.branch = branch,
	};
	struct cfs_rec rec = {
		.type = CFS_REC_EXTENT,
		.branch = branch,
		.ino = ino,
		.offset = e->offset,
		.count = e->count,
		.stamp = e->stamp,
		.vaddr = e->vaddr,
	};
	int r = cfs_extent_next_seq(v, branch, ino, e->offset, e->count,
				    e->stamp, &e->seq, err);

	if (r < 0)
		return r;
	csums = calloc(e->count, sizeof(*csums));
	if (!csums)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	tag.seq = rec.seq = e->seq;
	for (uint64_t i = 0; i < e->count; i++) {
		tag.offset = e->offset + i;
		tag.csum = hashes ? cfs_tag_csum_of(&tag, seed, hashes[i])
				  : cfs_tag_csum(&tag, seed,
						 buf + i * CFS_BLOCK_BYTES);
		csums[i] = tag.csum;
		cfs_space_set_tag(v->c, e->vaddr + i, &tag);
	}
	e->csum = e->count == 1 ? csums[0] : 0;
	r = cfs_extent_put(v, branch, ino, e, err);
	if (r == 0)
		r = cfs_container_log(v->c, &rec, csums, err);
	return r;
}

/* Now, or when the operation has ended, if there is room for that. */
static int write_home(struct cfs_vols *v, uint64_t offset, const uint8_t *buf,
		      const struct cfs_mv_write *writes, size_t count,
		      struct cfs_data_flight *flight, struct cfs_err *err)
{
	if (!flight || flight->count + count > CFS_ARRAY_COUNT(flight->writes))
		return cfs_metavolume_write(cfs_container_metavolume(v->c),
					    writes, count, err);
	for (size_t i = 0; i < count; i++, flight->count++) {
		const uint8_t *data = writes[i].buf;

		flight->writes[flight->count].offset =
			offset + (uint64_t)(data - buf) / CFS_BLOCK_BYTES;
		flight->writes[flight->count].vaddr = writes[i].vaddr;
		flight->writes[flight->count].count = writes[i].count;
		flight->writes[flight->count].buf = data;
	}
	return 0;
}

/*
 * Whole blocks, many: get runs, write them all in one batch, then make the
 * records.  Nothing durable names the blocks before their content is on its
 * way, and no sync is acknowledged before the flush behind it.
 */
static int write_direct(struct cfs_vols *v, uint16_t branch, uint64_t ino,
			uint64_t offset, uint32_t count, const uint8_t *buf,
			struct cfs_data_flight *flight, struct cfs_err *err)
{
	struct cfs_mv_write writes[DIRECT_BLOCKS_MAX / DIRECT_BLOCKS];
	size_t n = 0;
	uint32_t done = 0;
	int r = cfs_pages_settle(v, branch, ino, offset, count, err);

	while (r == 0 && done < count && n < CFS_ARRAY_COUNT(writes)) {
		struct cfs_mv_write *last = n ? &writes[n - 1] : NULL;
		uint64_t vaddr;
		uint32_t got;

		r = cfs_space_alloc_long(v->c, count - done, &vaddr, &got, err);
		if (r < 0)
			break;
		if (last && last->vaddr + last->count == vaddr) {
			last->count += got;
		} else {
			writes[n++] = (struct cfs_mv_write){
				.vaddr = vaddr,
				.count = got,
				.buf = buf + (size_t)done * CFS_BLOCK_BYTES,
			};
		}
		done += got;
	}
	if (r == 0)
		r = write_home(v, offset, buf, writes, n, flight, err);
	for (size_t i = 0; i < n && r == 0; i++) {
		const uint8_t *data = writes[i].buf;
		struct extent e = {
			.offset = offset +
				  (uint64_t)(data - buf) / CFS_BLOCK_BYTES,
			.count = writes[i].count,
			.vaddr = writes[i].vaddr,
			.stamp = cfs_container_stamp(v->c),
		};

		r = write_extent(v, branch, ino, &e, data,
				 hashes_of(flight, data), err);
	}
	if (r < 0)
		return r;
	cfs_pages_drop(v, branch, ino, offset, done);
	if (done < count) /* space in many small pieces */
		return write_direct(v, branch, ino, offset + done, count - done,
				    buf + (size_t)done * CFS_BLOCK_BYTES,
				    flight, err);
	return 0;
}

/* @flight may be NULL. */
static int write_bytes(struct cfs_container *c, uint16_t branch, uint64_t ino,
		       uint64_t offset_bytes, const void *buf,
		       size_t length_bytes, struct cfs_data_flight *flight,
		       struct cfs_err *err)
{
	struct cfs_vols *v = cfs_vols_of(c);
	const uint8_t *from = buf;
	uint64_t at = offset_bytes, end = offset_bytes + length_bytes;
	uint64_t blocks = cfs_div_up(end, CFS_BLOCK_BYTES) -
			  at / CFS_BLOCK_BYTES;
	int r;

	if (length_bytes > UINT64_MAX - offset_bytes ||
	    end / CFS_BLOCK_BYTES > CFS_OFF_MAX)
		return cfs_err_set(err, -EFBIG, "beyond the largest offset");
	/* The blocks, what settling older pages takes, and nodes. */
	r = cfs_space_promise(c, blocks + blocks / 16 + 8, err);
	while (r == 0 && at < end) {
		uint64_t offset = at / CFS_BLOCK_BYTES;
		uint32_t in = (uint32_t)(at % CFS_BLOCK_BYTES);
		uint64_t whole = (end - at) / CFS_BLOCK_BYTES;
		uint64_t length;

		if (in == 0 && whole >= DIRECT_BLOCKS) {
			uint32_t n = (uint32_t)CFS_MIN(whole,
						       DIRECT_BLOCKS_MAX);

			r = write_direct(v, branch, ino, offset, n, from,
					 flight, err);
			length = (uint64_t)n * CFS_BLOCK_BYTES;
		} else {
			length = CFS_MIN(CFS_BLOCK_BYTES - in, end - at);
			r = write_page(v, branch, ino, offset, in, from,
				       (uint32_t)length, err);
		}
		at += length;
		from += length;
	}
	return r;
}

int cfs_data_write(struct cfs_container *c, uint16_t branch, uint64_t ino,
		   uint64_t offset_bytes, const void *buf, size_t length_bytes,
		   struct cfs_err *err)
{
	return write_bytes(c, branch, ino, offset_bytes, buf, length_bytes,
			   NULL, err);
}

bool cfs_data_stays_in_memory(size_t length_bytes)
{
	return length_bytes < (size_t)DIRECT_BLOCKS * CFS_BLOCK_BYTES;
}

bool cfs_data_write_hash(const void *buf, size_t length_bytes, uint64_t *ret)
{
	const size_t count = length_bytes / CFS_BLOCK_BYTES;
	const uint8_t *at = buf;

	if (count < DIRECT_BLOCKS)
		return false;
	for (size_t i = 0; i < count; i++, at += CFS_BLOCK_BYTES)
		ret[i] = cfs_xxh3(at, CFS_BLOCK_BYTES);
	return true;
}

int cfs_data_write_start(struct cfs_container *c, uint16_t branch, uint64_t ino,
			 uint64_t offset_bytes, const void *buf,
			 size_t length_bytes, const uint64_t *hashes,
			 struct cfs_data_flight *ret, struct cfs_err *err)
{
	int r;

	assert((offset_bytes | length_bytes) % CFS_BLOCK_BYTES == 0);
	ret->c = c;
	ret->branch = branch;
	ret->ino = ino;
	ret->buf = buf;
	ret->hashes = hashes;
	ret->count = 0;
	r = write_bytes(c, branch, ino, offset_bytes, buf, length_bytes, ret,
			err);
	if (r == 0 && ret->count)
		cfs_container_depart(c);
	ret->wants_back = cfs_pages_want_back(cfs_vols_of(c));
	return r;
}

/* The places do not take it: into memory, and from there to others. */
static int write_again(const struct cfs_data_flight *f, struct cfs_err *err)
{
	struct cfs_vols *v = cfs_vols_of(f->c);
	int r = cfs_op_begin_landing(f->c, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < f->count; i++) {
		const uint8_t *at = f->writes[i].buf;

		for (uint32_t k = 0; k < f->writes[i].count && r == 0; k++) {
			r = cfs_space_promise(f->c, 2, err);
			if (r == 0)
				r = write_page(v, f->branch, f->ino,
					       f->writes[i].offset + k, 0,
					       at + (size_t)k * CFS_BLOCK_BYTES,
					       CFS_BLOCK_BYTES, err);
		}
	}
	if (r == 0) {
		cfs_op_end(f->c);
		return 0;
	}
	cfs_container_close_for_writing(f->c, "data could not be written, and "
					      "not be kept in memory either");
	cfs_op_abort(f->c);
	return r;
}

int cfs_data_write_finish(struct cfs_data_flight *flight, struct cfs_err *err)
{
	struct cfs_mv_write writes[CFS_DATA_FLIGHT_WRITES];
	int r;

	if (flight->count == 0)
		return 0;
	for (size_t i = 0; i < flight->count; i++)
		writes[i] = (struct cfs_mv_write){
			.vaddr = flight->writes[i].vaddr,
			.count = flight->writes[i].count,
			.buf = flight->writes[i].buf,
		};
	r = cfs_metavolume_write(cfs_container_metavolume(flight->c), writes,
				 flight->count, err);
	if (r < 0)
		r = write_again(flight, err);
	cfs_container_land(flight->c);
	return r;
}

/* ---- punching ------------------------------------------------------------ */

struct whiteout_state {
	struct cfs_vols *v;
	uint16_t branch;
	uint64_t ino;
	struct {
		uint64_t offset, count;
	} parts[64];
	size_t count;
	uint64_t seen_to;
};

/* Collect parts of the parent that show through, a few at a time. */
static int collect_data(void *arg, const struct segment *s, struct cfs_err *err)
{
	struct whiteout_state *st = arg;

	(void)err;
	if (st->count == CFS_ARRAY_COUNT(st->parts))
		return 1;
	st->seen_to = s->offset + s->count;
	if (s->kind == SEGMENT_HOLE)
		return 0;
	st->parts[st->count].offset = s->offset;
	st->parts[st->count].count = s->count;
	st->count++;
	return 0;
}

/* A hole that hides what the parent has there. */
static int put_whiteout(struct cfs_vols *v, uint16_t branch, uint64_t ino,
			uint64_t offset, uint64_t count, uint64_t stamp,
			struct cfs_err *err)
{
	int r = 0;

	while (count > 0 && r == 0) {
		struct extent e = {
			.offset = offset,
			.count = CFS_MIN(count, CFS_EXTENT_BLOCKS_MAX),
			.stamp = stamp,
		};

		r = cfs_extent_put(v, branch, ino, &e, err);
		offset += e.count;
		count -= e.count;
	}
	return r;
}

/*
 * In a branch with a parent: hide what shows through in the range.  Each part
 * is logged as it is: at a replay the parent may not have its data yet.
 */
static int put_whiteouts(struct cfs_vols *v, uint16_t branch, uint64_t ino,
			 uint64_t offset, uint64_t count, bool *ret_had_some,
			 struct cfs_err *err)
{
	const struct cfs_view head = { v->c, branch, CFS_STAMP_HEAD };
	struct cfs_view parent;
	struct whiteout_state st = { .v = v, .branch = branch, .ino = ino };
	uint64_t end = 0;
	int r;

	if (!cfs_branch_parent_view(v, &head, &parent))
		return 0;
	r = cfs_extent_end(&parent, ino, &end, err);
	end = CFS_MIN(end, offset + count);
	while (r == 0 && offset < end) {
		st.count = 0;
		st.seen_to = end;
		r = cfs_segments(&parent, ino, offset, end - offset,
				 collect_data, &st, err);
		if (r < 0)
			return r;
		r = 0;
		for (size_t i = 0; i < st.count && r == 0; i++) {
			const struct cfs_rec rec = {
				.type = CFS_REC_PUNCH,
				.flags = CFS_REC_PUNCH_WHITEOUT,
				.branch = branch,
				.ino = ino,
				.offset = st.parts[i].offset,
				.count = st.parts[i].count,
				.stamp = cfs_container_stamp(v->c),
			};

			*ret_had_some = true;
			r = put_whiteout(v, branch, ino, rec.offset, rec.count,
					 rec.stamp, err);
			if (r == 0)
				r = cfs_container_log(v->c, &rec, NULL, err);
		}
		offset = st.seen_to;
	}
	return r;
}

/* Whole blocks; used by the replay too, with the record's stamp. */
static int punch_blocks(struct cfs_vols *v, uint16_t branch, uint64_t ino,
			uint64_t offset, uint64_t count, uint64_t stamp,
			bool *ret_had_some, struct cfs_err *err)
{
	uint64_t at;
	int r;

	if (cfs_pages_next(v, branch, ino, offset, offset + count, &at))
		*ret_had_some = true;
	r = cfs_pages_settle(v, branch, ino, offset, count, err);
	if (r == 0)
		r = cfs_extent_cut(v, branch, ino, offset, count, stamp,
				   ret_had_some, err);
	return r;
}

static int punch_whole(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		       uint64_t offset, uint64_t count, struct cfs_err *err)
{
	const struct cfs_rec rec = {
		.type = CFS_REC_PUNCH,
		.branch = branch,
		.ino = ino,
		.offset = offset,
		.count = count,
		.stamp = cfs_container_stamp(v->c),
	};
	bool had_some = false;
	int r = punch_blocks(v, branch, ino, offset, count, rec.stamp,
			     &had_some, err);

	if (r == 0 && had_some)
		r = cfs_container_log(v->c, &rec, NULL, err);
	if (r == 0)
		r = put_whiteouts(v, branch, ino, offset, count, &had_some,
				  err);
	if (r < 0 || !had_some)
		return r;
	if (r == 0)
		r = cfs_tombstone_put(v, branch, ino, offset, count, err);
	if (r == 0)
		cfs_pages_drop(v, branch, ino, offset, count);
	return r;
}

int cfs_data_replay_punch(struct cfs_vols *v, const struct cfs_rec *rec,
			  struct cfs_err *err)
{
	bool had_some = false;
	int r;

	if (rec->offset > CFS_OFF_MAX ||
	    rec->count > CFS_OFF_MAX + 1 - rec->offset)
		return cfs_err_set(err, -EUCLEAN, "a punch makes no sense");
	if (rec->flags & CFS_REC_PUNCH_WHITEOUT)
		return put_whiteout(v, rec->branch, rec->ino, rec->offset,
				    rec->count, rec->stamp, err);
	r = punch_blocks(v, rec->branch, rec->ino, rec->offset, rec->count,
			 rec->stamp, &had_some, err);
	if (r == 0)
		cfs_pages_drop(v, rec->branch, rec->ino, rec->offset,
			       rec->count);
	return r;
}

int cfs_data_replay_extent(struct cfs_vols *v, const struct cfs_rec *rec,
			   struct cfs_err *err)
{
	const struct cfs_tag first = {
		.type = CFS_TAG_DATA,
		.ino = rec->ino,
		.offset = rec->offset,
		.stamp = rec->stamp,
		.seq = rec->seq,
		.branch = rec->branch,
	};
	struct extent e = {
		.offset = rec->offset,
		.count = rec->count,
		.vaddr = rec->vaddr,
		.stamp = rec->stamp,
		.seq = rec->seq,
	};
	struct branch *b;
	int r = cfs_branch_get(v, rec->branch, &b, err);

	if (r < 0)
		return r;
	if (rec->offset > CFS_OFF_MAX || rec->count == 0 ||
	    rec->count > CFS_EXTENT_BLOCKS_MAX || !rec->vaddr)
		return cfs_err_set(err, -EUCLEAN, "an extent makes no sense");
	r = cfs_space_adopt(v->c, rec->vaddr, &first, (uint32_t)rec->count,
			    rec->csums, err);
	if (r == 0 && rec->count == 1) {
		le64 csum;

		memcpy(&csum, rec->csums, sizeof(csum));
		e.csum = le64_get(csum);
	}
	if (r == 0)
		r = cfs_extent_put(v, rec->branch, rec->ino, &e, err);
	/* Pages of that birth or older are what went home here, or older. */
	if (r == 0)
		cfs_pages_drop(v, rec->branch, rec->ino, rec->offset,
			       rec->count);
	return r;
}

/*
 * Zero a part of one block, if there is anything but a hole.  That takes a
 * block until the old one is back, and for good if a snapshot keeps that one.
 */
static int zero_part(struct cfs_vols *v, uint16_t branch, uint64_t ino,
		     uint64_t from, uint64_t to, struct cfs_err *err)
{
	static const uint8_t zeroes[CFS_BLOCK_BYTES];
	const struct cfs_view head = { v->c, branch, CFS_STAMP_HEAD };
	uint64_t data;
	int r = cfs_data_seek(&head, ino, cfs_align_down(from, CFS_BLOCK_BYTES),
			      true, &data, err);

	if (r == -ENXIO || (r == 0 && data >= to))
		return 0;
	if (r < 0)
		return r;
	r = cfs_space_promise_zeroing(v->c, ZEROING_BLOCKS, err);
	if (r < 0)
		return r;
	return write_page(v, branch, ino, from / CFS_BLOCK_BYTES,
			  (uint32_t)(from % CFS_BLOCK_BYTES), zeroes,
			  (uint32_t)(to - from), err);
}

int cfs_data_punch(struct cfs_container *c, uint16_t branch, uint64_t ino,
		   uint64_t offset_bytes, uint64_t length_bytes,
		   struct cfs_err *err)
{
	struct cfs_vols *v = cfs_vols_of(c);
	const uint64_t most = CFS_OFF_MAX * CFS_BLOCK_BYTES;
	uint64_t from = offset_bytes, to, first, end;
	int r = 0;

	if (offset_bytes >= most || length_bytes == 0)
		return 0;
	to = length_bytes > most - offset_bytes ? most
						: offset_bytes + length_bytes;
	first = cfs_div_up(from, CFS_BLOCK_BYTES);
	end = to / CFS_BLOCK_BYTES;
	if (first > end) /* inside one block */
		return zero_part(v, branch, ino, from, to, err);
	if (from < first * CFS_BLOCK_BYTES)
		r = zero_part(v, branch, ino, from, first * CFS_BLOCK_BYTES,
			      err);
	if (r == 0 && end * CFS_BLOCK_BYTES < to)
		r = zero_part(v, branch, ino, end * CFS_BLOCK_BYTES, to, err);
	if (r == 0 && first < end)
		r = punch_whole(v, branch, ino, first, end - first, err);
	return r;
}

/* ---- looking ------------------------------------------------------------- */

struct seek_state {
	bool wants_data;
	uint64_t found; /* block */
};

static int seek_segment(void *arg, const struct segment *s, struct cfs_err *err)
{
	struct seek_state *st = arg;

	(void)err;
	if ((s->kind != SEGMENT_HOLE) != st->wants_data)
		return 0;
	st->found = s->offset;
	return 1;
}

int cfs_data_seek(const struct cfs_view *view, uint64_t ino,
		  uint64_t offset_bytes, bool data, uint64_t *ret_offset_bytes,
		  struct cfs_err *err)
{
	struct seek_state st = { .wants_data = data };
	uint64_t first = offset_bytes / CFS_BLOCK_BYTES, end = 0;
	int r = cfs_extent_end(view, ino, &end, err);

	if (r == 0 && first < end)
		r = cfs_segments(view, ino, first, end - first, seek_segment,
				 &st, err);
	if (r < 0)
		return r;
	if (r == 0) {
		if (data)
			return -ENXIO;
		st.found = CFS_MAX(first, end);
	}
	*ret_offset_bytes = CFS_MAX(offset_bytes, st.found * CFS_BLOCK_BYTES);
	return 0;
}

static int count_segment(void *arg, const struct segment *s,
			 struct cfs_err *err)
{
	uint64_t *count = arg;

	(void)err;
	if (s->kind != SEGMENT_HOLE)
		*count += s->count;
	return 0;
}

int cfs_data_block_count(const struct cfs_view *view, uint64_t ino,
			 uint64_t *ret_count, struct cfs_err *err)
{
	uint64_t end = 0;
	int r = cfs_extent_end(view, ino, &end, err);

	*ret_count = 0;
	if (r == 0 && end > 0)
		r = cfs_segments(view, ino, 0, end, count_segment, ret_count,
				 err);
	return r;
}

struct extent_state {
	bool has_kind, is_data;
	uint64_t end; /* block */
};

static int extent_segment(void *arg, const struct segment *s,
			  struct cfs_err *err)
{
	struct extent_state *st = arg;
	const bool is_data = s->kind != SEGMENT_HOLE;

	(void)err;
	if (st->has_kind && st->is_data != is_data)
		return 1;
	st->has_kind = true;
	st->is_data = is_data;
	st->end = s->offset + s->count;
	return 0;
}

int cfs_data_extent(const struct cfs_view *view, uint64_t ino,
		    uint64_t offset_bytes, uint64_t length_bytes,
		    bool *ret_is_data, uint64_t *ret_length_bytes,
		    struct cfs_err *err)
{
	const uint64_t first = offset_bytes / CFS_BLOCK_BYTES;
	const uint64_t to = offset_bytes + length_bytes;
	struct extent_state st = { .has_kind = false };
	int r = cfs_segments(view, ino, first,
			     cfs_div_up(to, CFS_BLOCK_BYTES) - first,
			     extent_segment, &st, err);

	if (r < 0)
		return r;
	*ret_is_data = st.is_data;
	*ret_length_bytes = CFS_MIN(to, st.end * CFS_BLOCK_BYTES) -
			    offset_bytes;
	return 0;
}
