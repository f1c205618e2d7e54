/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Verified reads.  All blocks are read from the first piece that answers; each
 * is checked under the identity that the caller's record gives it.  One that
 * fails is looked for in the other pieces, and the good content is written
 * over the bad one: the same content in the same place, so it cannot harm
 * whoever reads or writes beside us.
 */
#include "block/blocks_priv.h"

#include "base/cleanup.h"

#include <inttypes.h>
#include <stdlib.h>

static struct cfs_tag identity_of(const struct cfs_block_read *rd, uint32_t i)
{
	struct cfs_tag tag = rd->first;

	tag.offset += i;
	return tag;
}

/* Fill @csums for all blocks of the read. */
static int gather_csums(struct cfs_blocks *b, const struct cfs_block_read *rd,
			uint64_t *csums, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(b->mv);
	uint64_t lslice = cfs_vaddr_lslice(rd->vaddr);
	uint32_t block = cfs_vaddr_block(rd->vaddr);
	uint32_t done = 0;

	if (rd->count == 1 && rd->csum) {
		csums[0] = rd->csum;
		return 0;
	}
	if (!cfs_geometry_is_data(geo, block) ||
	    !cfs_geometry_is_data(geo, block + rd->count - 1))
		return cfs_err_set(err, -EUCLEAN,
				   "address %#" PRIx64 " is no data block",
				   rd->vaddr);
	while (done < rd->count) {
		uint32_t first = cfs_geometry_index(geo, block + done);
		uint32_t n = CFS_MIN(rd->count - done,
				     CFS_TAGS_PER_PAGE - first);
		int r = cfs_blocks_csums(b, lslice,
					 cfs_geometry_group(geo, block + done),
					 first, n, csums + done, err);

		if (r == -ENOENT)
			r = cfs_err_set(err, -EUCLEAN,
					"address %#" PRIx64 " has no tag",
					rd->vaddr + done);
		if (r < 0)
			return r;
		done += n;
	}
	return 0;
}

static bool block_matches(const struct cfs_blocks *b,
			  const struct cfs_block_read *rd, uint32_t i,
			  uint64_t csum, const void *block)
{
	struct cfs_tag tag = identity_of(rd, i);

	return cfs_tag_csum(&tag, b->seed, block) == csum;
}

/* Look for a good copy of block @i in the pieces other than @piece. */
static int recover_block(struct cfs_blocks *b, const struct cfs_block_read *rd,
			 uint32_t i, uint64_t csum, unsigned int bad_piece,
			 bool heals, uint32_t *healed, struct cfs_err *err)
{
	unsigned int readable = cfs_metavolume_readable(
		b->mv, cfs_vaddr_lslice(rd->vaddr));
	uint8_t *into = (uint8_t *)rd->buf + (size_t)i * CFS_BLOCK_BYTES;
	CFS_CLEANUP(cfs_freep) void *copy = cfs_dev_buf_alloc(CFS_BLOCK_BYTES);

	if (!copy)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	for (unsigned int p = 0; p < CFS_PIECES_MAX; p++) {
		if (p == bad_piece || !(readable & 1u << p))
			continue;
		if (cfs_metavolume_read(b->mv, rd->vaddr + i, 1, p, copy,
					NULL) < 0 ||
		    !block_matches(b, rd, i, csum, copy))
			continue;
		memcpy(into, copy, CFS_BLOCK_BYTES);
		if (heals &&
		    cfs_metavolume_write_piece(b->mv, rd->vaddr + i, 1,
					       bad_piece, copy, NULL) == 0)
			(*healed)++;
		return 0;
	}
	return cfs_err_set(err, -EUCLEAN,
			   "block at %#" PRIx64 ": bad content, and no copy "
			   "is good",
			   rd->vaddr + i);
}

/* One piece answered with an error: take each block from wherever it is. */
static int read_singly(struct cfs_blocks *b, struct cfs_block_read *rd,
		       const uint64_t *csums, bool heals, uint32_t *healed,
		       struct cfs_err *err)
{
	for (uint32_t i = 0; i < rd->count; i++) {
		uint8_t *into = (uint8_t *)rd->buf +
				(size_t)i * CFS_BLOCK_BYTES;
		unsigned int piece = 0;
		int r = cfs_metavolume_read_any(b->mv, rd->vaddr + i, 1, into,
						&piece, err);

		if (r < 0) {
			rd->bad_index = i;
			return r;
		}
		if (block_matches(b, rd, i, csums[i], into))
			continue;
		r = recover_block(b, rd, i, csums[i], piece, heals, healed,
				  err);
		if (r < 0) {
			rd->bad_index = i;
			return r;
		}
	}
	return 0;
}

static bool all_match(const struct cfs_blocks *b,
		      const struct cfs_block_read *rd, const uint64_t *csums)
{
	for (uint32_t i = 0; i < rd->count; i++)
		if (!block_matches(b, rd, i, csums[i],
				   (const uint8_t *)rd->buf +
					   (size_t)i * CFS_BLOCK_BYTES))
			return false;
	return true;
}

/* The first piece of the address's slice that can be read now. */
unsigned int cfs_blocks_first_piece(const struct cfs_blocks *b, uint64_t vaddr)
{
	unsigned int mask = cfs_metavolume_readable(b->mv,
						    cfs_vaddr_lslice(vaddr));

	return mask ? (unsigned int)__builtin_ctz(mask) : 0;
}

/* The piece is chosen by whoever reads only one. */
static struct cfs_mv_read raw_of(const struct cfs_block_read *rd)
{
	return (struct cfs_mv_read){
		.vaddr = rd->vaddr,
		.count = rd->count,
		.buf = rd->buf,
	};
}

/*
 * Read @count of @raw as they stand, each with its result, and the tag pages of
 * @f (may be NULL) with them.  Nothing of it is verified.
 */
static int read_raw(struct cfs_blocks *b, struct cfs_mv_read *raw, size_t count,
		    struct cfs_fetch *f, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) struct cfs_mv_read *both = NULL;
	struct cfs_mv_read *pages;
	size_t page_count;
	int r;

	for (size_t i = 0; i < count; i++)
		raw[i].piece = cfs_blocks_first_piece(b, raw[i].vaddr);
	if (!f)
		return count ? cfs_metavolume_read_batch(b->mv, raw, count, err)
			     : 0;
	pages = cfs_fetch_reads(f, &page_count);
	both = malloc((count + page_count) * sizeof(*both));
	if (!both)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	if (count)
		memcpy(both, raw, count * sizeof(*both));
	memcpy(both + count, pages, page_count * sizeof(*both));
	r = cfs_metavolume_read_batch(b->mv, both, count + page_count, err);
	if (r < 0)
		return r;
	if (count)
		memcpy(raw, both, count * sizeof(*both));
	memcpy(pages, both + count, page_count * sizeof(*both));
	cfs_fetch_end(b, f);
	return 0;
}

/* Read from any piece, and look in the others for what is bad. */
static int read_carefully(struct cfs_blocks *b, struct cfs_block_read *rd,
			  const uint64_t *csums, bool heals, uint32_t *healed,
			  struct cfs_err *err)
{
	unsigned int piece = 0;
	int r = cfs_metavolume_read_any(b->mv, rd->vaddr, rd->count, rd->buf,
					&piece, err);

	if (r < 0)
		return rd->count == 1
			       ? r
			       : read_singly(b, rd, csums, heals, healed, err);
	for (uint32_t i = 0; i < rd->count && r == 0; i++) {
		const uint8_t *at = (const uint8_t *)rd->buf +
				    (size_t)i * CFS_BLOCK_BYTES;

		if (block_matches(b, rd, i, csums[i], at))
			continue;
		r = recover_block(b, rd, i, csums[i], piece, heals, healed,
				  err);
		if (r < 0)
			rd->bad_index = i;
	}
	return r;
}

int cfs_block_read(struct cfs_blocks *b, struct cfs_block_read *rd, bool heals,
		   uint32_t *ret_healed, struct cfs_err *err)
{
	uint64_t few[64];
	CFS_CLEANUP(cfs_freep) uint64_t *many = NULL;
	CFS_CLEANUP(cfs_fetch_freep) struct cfs_fetch *f = NULL;
	uint64_t *csums = few;
	uint32_t healed = 0;
	bool is_read;
	int r = 0;

	rd->bad_index = 0;
	if (rd->count > CFS_ARRAY_COUNT(few)) {
		many = calloc(rd->count, sizeof(*many));
		if (!many)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		csums = many;
	}
	f = cfs_fetch_new(b, rd, 1, csums);
	is_read = cfs_ahead_read(b, rd);
	if (f) {
		struct cfs_mv_read raw = raw_of(rd);

		r = read_raw(b, &raw, !is_read, f, err);
		is_read = is_read || (r == 0 && raw.result == 0);
	}
	if (r == 0 && csums[0] == 0)
		r = gather_csums(b, rd, csums, err);
	if (r < 0)
		return r;
	if (is_read && all_match(b, rd, csums))
		return 0;
	r = read_carefully(b, rd, csums, heals, &healed, err);
	if (ret_healed)
		*ret_healed += healed;
	return r;
}

/* Neighbours on the device and in memory are one request. */
static size_t merge_reads(const struct cfs_block_read *reads, size_t count,
			  struct cfs_mv_read *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		struct cfs_mv_read *last = n ? &ret[n - 1] : NULL;

		if (last && last->vaddr + last->count == reads[i].vaddr &&
		    (uint8_t *)last->buf +
				    (size_t)last->count * CFS_BLOCK_BYTES ==
			    (uint8_t *)reads[i].buf) {
			last->count += reads[i].count;
			continue;
		}
		ret[n++] = raw_of(&reads[i]);
	}
	return n;
}

/* Many reads, what they are compared with, and what the device is asked. */
struct many {
	uint64_t *csums; /* of all blocks; 0 at a read's first: not known */
	struct cfs_mv_read *raw;
	uint64_t few_csums[64];
	struct cfs_mv_read few_raw[16];
};

static void many_donep(struct many *m)
{
	if (m->csums != m->few_csums)
		free(m->csums);
	if (m->raw != m->few_raw)
		free(m->raw);
}

/* -ENOMEM, without @err. */
static int many_init(struct many *m, const struct cfs_block_read *reads,
		     size_t count)
{
	size_t blocks = 0;

	for (size_t i = 0; i < count; i++)
		blocks += reads[i].count;
	m->csums = m->few_csums;
	m->raw = m->few_raw;
	if (blocks > CFS_ARRAY_COUNT(m->few_csums))
		m->csums = malloc(blocks * sizeof(*m->csums));
	if (count > CFS_ARRAY_COUNT(m->few_raw))
		m->raw = malloc(count * sizeof(*m->raw));
	return m->csums && m->raw ? 0 : -ENOMEM;
}

/* Does all of it verify?  False for whatever needs the careful way. */
static bool verify_read(struct cfs_blocks *b, const struct cfs_block_read *rd,
			uint64_t *csums)
{
	return (csums[0] || gather_csums(b, rd, csums, NULL) == 0) &&
	       all_match(b, rd, csums);
}

static bool verify_all(struct cfs_blocks *b, const struct cfs_block_read *reads,
		       size_t count, uint64_t *csums)
{
	for (size_t i = 0; i < count; i++) {
		if (!verify_read(b, &reads[i], csums))
			return false;
		csums += reads[i].count;
	}
	return true;
}

static int read_device(struct cfs_blocks *b, struct cfs_mv_read *raw,
		       size_t count, struct cfs_fetch *f)
{
	int r;

	if (count == 1 && !f)
		return cfs_metavolume_read_any(b->mv, raw->vaddr, raw->count,
					       raw->buf, NULL, NULL);
	r = read_raw(b, raw, count, f, NULL);
	for (size_t i = 0; i < count && r == 0; i++)
		r = raw[i].result;
	return r;
}

static int read_beside(struct cfs_blocks *b, struct cfs_block_read *reads,
		       size_t count, bool is_alone)
{
	CFS_CLEANUP(many_donep) struct many m;
	CFS_CLEANUP(cfs_fetch_freep) struct cfs_fetch *f = NULL;
	bool is_there;
	size_t n;
	int r;

	if (many_init(&m, reads, count) < 0)
		return -EAGAIN;
	f = cfs_fetch_new(b, reads, count, m.csums);
	n = merge_reads(reads, count, m.raw);
	is_there = (count == 1 && cfs_ahead_read(b, reads)) ||
		   (n == 1 && reads->may_ahead &&
		    cfs_row_read(b, m.raw, is_alone));
	if (is_there) {
		if (read_raw(b, NULL, 0, f, NULL) == 0 &&
		    verify_all(b, reads, count, m.csums))
			return 0;
		cfs_fetch_free(CFS_STEAL(f));
	}
	r = read_device(b, m.raw, n, f);
	return r == 0 && verify_all(b, reads, count, m.csums) ? 0 : -EAGAIN;
}

int cfs_block_read_beside(struct cfs_blocks *b, struct cfs_block_read *reads,
			  size_t count)
{
	const bool is_alone = atomic_fetch_add(&b->readers, 1) == 0;
	const int r = read_beside(b, reads, count, is_alone);

	atomic_fetch_sub(&b->readers, 1);
	return r;
}

int cfs_block_read_many(struct cfs_blocks *b, struct cfs_block_read *reads,
			size_t count, bool heals, struct cfs_err *err)
{
	CFS_CLEANUP(many_donep) struct many m;
	CFS_CLEANUP(cfs_fetch_freep) struct cfs_fetch *f = NULL;
	uint64_t *csums;
	int first = 0;

	if (many_init(&m, reads, count) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	if (count > 1) {
		f = cfs_fetch_new(b, reads, count, m.csums);
		for (size_t i = 0; i < count; i++)
			m.raw[i] = raw_of(&reads[i]);
		first = read_raw(b, m.raw, count, f, err);
		if (first < 0)
			return first;
	}
	csums = m.csums;
	for (size_t i = 0; i < count; csums += reads[i++].count) {
		struct cfs_err why = CFS_ERR_INIT;

		reads[i].result = 0;
		if (count > 1 && m.raw[i].result == 0 &&
		    verify_read(b, &reads[i], csums))
			continue;
		/* Alone, or not good: one by one, with all copies. */
		reads[i].result = cfs_block_read(b, &reads[i], heals, NULL,
						 &why);
		if (reads[i].result < 0 && first == 0) {
			first = reads[i].result;
			if (err)
				*err = why;
		}
	}
	return first;
}
