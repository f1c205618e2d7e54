/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading the data of an inode.
 *
 * There are two ways.  Under the container's lock, blocks are found, read,
 * verified, and healed where they are bad.  Beside others, the lock is held
 * only to find them; meanwhile they may be freed, and written anew.  That does
 * not matter: what is read is compared with the tag under the identity that
 * the record had when it was found, which no later content has.  So it is
 * either what stood there then, or it does not verify, and the first way is
 * gone.
 *
 * Many reads that one thread wants at the same time are one such read: the lock
 * is taken once, the device is asked once, and the thread sleeps once.
 */
#include "volume/vols_priv.h"

#include "base/cleanup.h"
#include "device/device.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- under the lock ------------------------------------------------------ */

#define READS_AT_ONCE 256u

struct read_state {
	const struct cfs_view *view;
	uint64_t ino;
	uint64_t from, to; /* bytes wanted */
	uint8_t *buf;
	uint64_t good_to;             /* bytes are good up to here */
	struct cfs_block_read *reads; /* gathered, not done yet */
	size_t count;
};

static void set_read(struct cfs_block_read *rd, const struct read_state *st,
		     const struct segment *s, uint64_t offset, uint32_t count,
		     void *buf)
{
	*rd = (struct cfs_block_read){
		.vaddr = s->vaddr + (offset - s->offset),
		.count = count,
		.first = {
			.type = CFS_TAG_DATA,
			.ino = st->ino,
			.offset = offset,
			.stamp = s->stamp,
			.seq = s->seq,
			.branch = s->branch,
		},
		.csum = s->csum,
		.buf = buf,
		/* A client too: while it has the lease nobody else changes
		 * what its view names, and behind a new one that is new. */
		.may_ahead = true,
	};
}

static int name_offset(const struct cfs_block_read *rd, int r,
		       struct cfs_err *err)
{
	return cfs_err_wrap(err, r, "offset %" PRIu64,
			    (rd->first.offset + rd->bad_index) *
				    CFS_BLOCK_BYTES);
}

/* Do the reads that were gathered; what was done before them is good. */
static int run_reads(struct read_state *st, struct cfs_err *err)
{
	struct cfs_container *c = st->view->container;
	int r;

	if (st->count == 0)
		return 0;
	r = cfs_block_read_many(cfs_container_blocks(c), st->reads, st->count,
				cfs_container_heals(c), err);
	r = cfs_container_read_again(c, st->reads, st->count, r, err);
	for (size_t i = 0; r < 0 && i < st->count; i++) {
		const struct cfs_block_read *rd = &st->reads[i];

		if (rd->result == 0)
			continue;
		st->good_to = (rd->first.offset + rd->bad_index) *
			      CFS_BLOCK_BYTES;
		r = name_offset(rd, r, err);
		break;
	}
	st->count = 0;
	return r;
}

/* One block of a segment of which only a part is wanted. */
static int read_part(struct read_state *st, const struct segment *s,
		     uint64_t offset, uint64_t from, uint64_t to,
		     struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) uint8_t *bounce = NULL;
	const uint8_t *block = s->page;
	uint64_t start = offset * CFS_BLOCK_BYTES;

	if (!block) {
		struct cfs_container *c = st->view->container;
		struct cfs_block_read rd;
		int r;

		bounce = cfs_dev_buf_alloc(CFS_BLOCK_BYTES);
		if (!bounce)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		set_read(&rd, st, s, offset, 1, bounce);
		r = cfs_block_read(cfs_container_blocks(c), &rd,
				   cfs_container_heals(c), NULL, err);
		r = cfs_container_read_again(c, &rd, 1, r, err);
		if (r < 0)
			return name_offset(&rd, r, err);
		block = bounce;
	}
	memcpy(st->buf + (from - st->from), block + (from - start), to - from);
	return 0;
}

/* A hole or a part is done at once, so what was gathered comes first. */
static int read_now(struct read_state *st, const struct segment *s, uint64_t at,
		    uint64_t to, struct cfs_err *err)
{
	int r = run_reads(st, err);

	if (r < 0)
		return r;
	if (s->kind == SEGMENT_HOLE)
		memset(st->buf + (at - st->from), 0, to - at);
	else
		r = read_part(st, s, at / CFS_BLOCK_BYTES, at, to, err);
	if (r == 0)
		st->good_to = to;
	return r;
}

static int read_segment(void *arg, const struct segment *s, struct cfs_err *err)
{
	struct read_state *st = arg;
	uint64_t at = CFS_MAX(st->from, s->offset * CFS_BLOCK_BYTES);
	uint64_t end = CFS_MIN(st->to,
			       (s->offset + s->count) * CFS_BLOCK_BYTES);
	int r = 0;

	if (s->kind == SEGMENT_HOLE)
		return read_now(st, s, at, end, err);
	while (at < end && r == 0) {
		uint64_t offset = at / CFS_BLOCK_BYTES;
		uint64_t whole = (end - at) / CFS_BLOCK_BYTES;

		if (s->kind == SEGMENT_PAGE || at % CFS_BLOCK_BYTES ||
		    whole == 0) {
			uint64_t to = CFS_MIN(end,
					      (offset + 1) * CFS_BLOCK_BYTES);

			r = read_now(st, s, at, to, err);
			at = to;
			continue;
		}
		set_read(&st->reads[st->count++], st, s, offset,
			 (uint32_t)whole, st->buf + (at - st->from));
		at += whole * CFS_BLOCK_BYTES;
		if (st->count == READS_AT_ONCE)
			r = run_reads(st, err);
		if (r == 0 && st->count == 0)
			st->good_to = at;
	}
	return r;
}

int cfs_data_read(const struct cfs_view *view, uint64_t ino,
		  uint64_t offset_bytes, void *buf, size_t length_bytes,
		  size_t *ret_good_bytes, struct cfs_err *err)
{
	struct read_state st = {
		.view = view,
		.ino = ino,
		.from = offset_bytes,
		.to = offset_bytes + length_bytes,
		.buf = buf,
		.good_to = offset_bytes,
	};
	uint64_t first = offset_bytes / CFS_BLOCK_BYTES;
	uint64_t end = cfs_div_up(st.to, CFS_BLOCK_BYTES);
	int r = 0;

	if (length_bytes > 0) {
		st.reads = malloc(READS_AT_ONCE * sizeof(*st.reads));
		if (!st.reads)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		r = cfs_segments(view, ino, first, end - first, read_segment,
				 &st, err);
		if (r == 0)
			r = run_reads(&st, err);
		if (r == 0)
			st.good_to = st.to;
	}
	free(st.reads);
	if (ret_good_bytes)
		*ret_good_bytes = st.good_to - offset_bytes;
	return r;
}

/* ---- beside others ------------------------------------------------------- */

#define FOUND_AT_ONCE 64u /* pieces; who has more goes the first way */
#define PARTS_AT_ONCE 8u

struct found {
	const struct read_state *st;
	struct cfs_block_read reads[FOUND_AT_ONCE];
	size_t count;
	/* Parts of blocks, at ends, that have a buffer of their own. */
	struct part {
		uint8_t *block;
		uint32_t skip_bytes, length_bytes;
		uint8_t *to;
	} parts[PARTS_AT_ONCE];
	size_t part_count;
};

static void found_donep(struct found *f)
{
	for (size_t i = 0; i < f->part_count; i++)
		free(f->parts[i].block);
}

static int find_read(struct found *f, const struct segment *s, uint64_t offset,
		     uint32_t count, void *buf)
{
	if (f->count == FOUND_AT_ONCE)
		return -EAGAIN;
	set_read(&f->reads[f->count++], f->st, s, offset, count, buf);
	return 0;
}

/* Bytes from..to of one block. */
static int find_part(struct found *f, const struct segment *s, uint64_t from,
		     uint64_t to, struct cfs_err *err)
{
	const uint64_t offset = from / CFS_BLOCK_BYTES;
	const uint8_t *page = s->page;
	uint8_t *into = f->st->buf + (from - f->st->from);
	uint8_t *block;

	if (page) {
		memcpy(into, page + from % CFS_BLOCK_BYTES, to - from);
		return 0;
	}
	if (f->part_count == CFS_ARRAY_COUNT(f->parts))
		return -EAGAIN;
	block = cfs_dev_buf_alloc(CFS_BLOCK_BYTES);
	if (!block)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	f->parts[f->part_count++] = (struct part){
		.block = block,
		.skip_bytes = (uint32_t)(from % CFS_BLOCK_BYTES),
		.length_bytes = (uint32_t)(to - from),
		.to = into,
	};
	return find_read(f, s, offset, 1, block);
}

/* Holes and pages are copied now, the rest is only found. */
static int find_segment(void *arg, const struct segment *s, struct cfs_err *err)
{
	struct found *f = arg;
	const struct read_state *st = f->st;
	uint64_t at = CFS_MAX(st->from, s->offset * CFS_BLOCK_BYTES);
	const uint64_t end = CFS_MIN(st->to,
				     (s->offset + s->count) * CFS_BLOCK_BYTES);
	int r = 0;

	if (s->kind == SEGMENT_HOLE) {
		memset(st->buf + (at - st->from), 0, end - at);
		return 0;
	}
	while (at < end && r == 0) {
		const uint64_t offset = at / CFS_BLOCK_BYTES;
		uint64_t to = cfs_align_down(end, CFS_BLOCK_BYTES);

		if (s->kind == SEGMENT_PAGE || at % CFS_BLOCK_BYTES ||
		    to <= at) {
			to = CFS_MIN(end, (offset + 1) * CFS_BLOCK_BYTES);
			r = find_part(f, s, at, to, err);
		} else {
			r = find_read(f, s, offset,
				      (uint32_t)((to - at) / CFS_BLOCK_BYTES),
				      st->buf + (at - st->from));
		}
		at = to;
	}
	return r;
}

static int read_found(struct found *f)
{
	struct cfs_container *c = f->st->view->container;
	int r = f->count ? cfs_block_read_beside(cfs_container_blocks(c),
						 f->reads, f->count)
			 : 0;

	for (size_t i = 0; r == 0 && i < f->part_count; i++) {
		const struct part *p = &f->parts[i];

		memcpy(p->to, p->block + p->skip_bytes, p->length_bytes);
	}
	return r;
}

/* With the lock: where the bytes of f->st lie. */
static int find_bytes(struct found *f)
{
	const struct read_state *st = f->st;
	const uint64_t first = st->from / CFS_BLOCK_BYTES;

	return st->to == st->from
		       ? 0
		       : cfs_segments(st->view, st->ino, first,
				      cfs_div_up(st->to, CFS_BLOCK_BYTES) -
					      first,
				      find_segment, f, NULL);
}

/* What is to be read, by the ways that there are. */
struct reading {
	const struct cfs_view *view;
	uint64_t ino, offset_bytes;
	void *buf;
	size_t length_bytes;
	cfs_data_clip_fn clip; /* may be NULL */
	void *arg;
	size_t *good; /* result */
};

/* Finds with the lock, reads without.  *ret_is_final: what is returned is the
 * outcome; else the other way has to be gone. */
static int read_beside(struct reading *rd, bool *ret_is_final,
		       struct cfs_err *err)
{
	struct cfs_container *c = rd->view->container;
	struct read_state st = {
		.view = rd->view,
		.ino = rd->ino,
		.from = rd->offset_bytes,
		.buf = rd->buf,
	};
	/* Kilobytes, of which a small read needs few: not set. */
	CFS_CLEANUP(found_donep) struct found f;
	size_t length = rd->length_bytes;
	int r;

	f.st = &st;
	f.count = f.part_count = 0;
	cfs_container_lock_beside(c);
	r = rd->clip ? rd->clip(rd->arg, &length, err) : 0;
	*ret_is_final = r < 0;
	st.to = st.from + length;
	if (r == 0)
		r = find_bytes(&f);
	cfs_container_unlock(c);
	if (r == 0)
		r = read_found(&f);
	if (r == 0) {
		*ret_is_final = true;
		*rd->good = length;
	}
	return r;
}

static int read_locked(struct reading *rd, struct cfs_err *err)
{
	struct cfs_container *c = rd->view->container;
	size_t length = rd->length_bytes;
	int r = 0;

	cfs_container_lock_to_read(c);
	if (rd->clip)
		r = rd->clip(rd->arg, &length, err);
	if (r == 0)
		r = cfs_data_read(rd->view, rd->ino, rd->offset_bytes, rd->buf,
				  length, rd->good, err);
	cfs_container_unlock(c);
	return r;
}

int cfs_data_read_clipped(const struct cfs_view *view, uint64_t ino,
			  uint64_t offset_bytes, void *buf, size_t length_bytes,
			  cfs_data_clip_fn clip, void *arg,
			  size_t *ret_good_bytes, struct cfs_err *err)
{
	size_t good = 0;
	struct reading rd = {
		.view = view,
		.ino = ino,
		.offset_bytes = offset_bytes,
		.buf = buf,
		.length_bytes = length_bytes,
		.clip = clip,
		.arg = arg,
		.good = ret_good_bytes ? ret_good_bytes : &good,
	};
	bool is_final = true;
	int r;

	*rd.good = 0;
	r = length_bytes || clip ? read_beside(&rd, &is_final, err) : 0;
	return is_final ? r : read_locked(&rd, err);
}

int cfs_data_read_beside(const struct cfs_view *view, uint64_t ino,
			 uint64_t offset_bytes, void *buf, size_t length_bytes,
			 size_t *ret_good_bytes, struct cfs_err *err)
{
	return cfs_data_read_clipped(view, ino, offset_bytes, buf, length_bytes,
				     NULL, NULL, ret_good_bytes, err);
}

/* ---- many at a time ------------------------------------------------------ */

/* With the lock: whatever is found of as many as there is room for. */
static size_t find_many(struct found *f, struct read_state *st,
			const struct cfs_data_part *parts, size_t count)
{
	size_t n;

	for (n = 0; n < count; n++) {
		const size_t reads = f->count, own = f->part_count;

		st->from = parts[n].offset_bytes;
		st->to = st->from + parts[n].length_bytes;
		st->buf = parts[n].buf;
		if (find_bytes(f) == 0)
			continue;
		f->count = reads;
		while (f->part_count > own)
			free(f->parts[--f->part_count].block);
		break;
	}
	return n;
}

size_t cfs_data_read_many(const struct cfs_view *view, uint64_t ino,
			  const struct cfs_data_part *parts, size_t count)
{
	struct read_state st = { .view = view, .ino = ino };
	CFS_CLEANUP(found_donep) struct found f;
	size_t n;

	f.st = &st;
	f.count = f.part_count = 0;
	cfs_container_lock_beside(view->container);
	n = find_many(&f, &st, parts, count);
	cfs_container_unlock(view->container);
	return n && read_found(&f) == 0 ? n : 0;
}
