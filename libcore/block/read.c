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

int cfs_block_read(struct cfs_blocks *b, struct cfs_block_read *rd, bool heals,
		   uint32_t *ret_healed, struct cfs_err *err)
{
	uint64_t few[64];
	CFS_CLEANUP(cfs_freep) uint64_t *many = NULL;
	uint64_t *csums = few;
	uint32_t healed = 0;
	unsigned int piece = 0;
	int r;

	rd->bad_index = 0;
	if (rd->count > CFS_ARRAY_COUNT(few)) {
		many = calloc(rd->count, sizeof(*many));
		if (!many)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		csums = many;
	}
	r = gather_csums(b, rd, csums, err);
	if (r < 0)
		return r;
	if (cfs_ahead_read(b, rd) && all_match(b, rd, csums))
		return 0;
	r = cfs_metavolume_read_any(b->mv, rd->vaddr, rd->count, rd->buf,
				    &piece, err);
	if (r < 0) {
		if (rd->count == 1)
			return r;
		r = read_singly(b, rd, csums, heals, &healed, err);
	} else {
		for (uint32_t i = 0; i < rd->count && r == 0; i++) {
			const uint8_t *at = (const uint8_t *)rd->buf +
					    (size_t)i * CFS_BLOCK_BYTES;

			if (block_matches(b, rd, i, csums[i], at))
				continue;
			r = recover_block(b, rd, i, csums[i], piece, heals,
					  &healed, err);
			if (r < 0)
				rd->bad_index = i;
		}
	}
	if (ret_healed)
		*ret_healed += healed;
	return r;
}

/* The first piece of each read's slice that can be read now. */
static unsigned int first_piece(const struct cfs_blocks *b, uint64_t vaddr)
{
	unsigned int mask = cfs_metavolume_readable(b->mv,
						    cfs_vaddr_lslice(vaddr));

	return mask ? (unsigned int)__builtin_ctz(mask) : 0;
}

/* Does all of it verify?  False for whatever needs the careful way. */
static bool verify_read(struct cfs_blocks *b, const struct cfs_block_read *rd)
{
	uint64_t few[64];

	for (uint32_t i = 0; i < rd->count;) {
		struct cfs_block_read part = *rd;

		part.vaddr += i;
		part.count = CFS_MIN(rd->count - i,
				     (uint32_t)CFS_ARRAY_COUNT(few));
		part.first = identity_of(rd, i);
		if (gather_csums(b, &part, few, NULL) < 0)
			return false;
		for (uint32_t k = 0; k < part.count; k++)
			if (!block_matches(b, &part, k, few[k],
					   (const uint8_t *)rd->buf +
						   (size_t)(i + k) *
							   CFS_BLOCK_BYTES))
				return false;
		i += part.count;
	}
	return true;
}

/* Read all of them as they stand, each with its result; not verified. */
static int read_raw(struct cfs_blocks *b, const struct cfs_block_read *reads,
		    struct cfs_mv_read *raw, size_t count, struct cfs_err *err)
{
	for (size_t i = 0; i < count; i++)
		raw[i] = (struct cfs_mv_read){
			.vaddr = reads[i].vaddr,
			.count = reads[i].count,
			.piece = first_piece(b, reads[i].vaddr),
			.buf = reads[i].buf,
		};
	return cfs_metavolume_read_batch(b->mv, raw, count, err);
}

/* Neighbours on the device and in memory are one request. */
static size_t merge_reads(const struct cfs_blocks *b,
			  const struct cfs_block_read *reads, size_t count,
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
		ret[n++] = (struct cfs_mv_read){
			.vaddr = reads[i].vaddr,
			.count = reads[i].count,
			.piece = first_piece(b, reads[i].vaddr),
			.buf = reads[i].buf,
		};
	}
	return n;
}

int cfs_block_read_beside(struct cfs_blocks *b, struct cfs_block_read *reads,
			  size_t count)
{
	CFS_CLEANUP(cfs_freep) struct cfs_mv_read *many = NULL;
	struct cfs_mv_read few[16], *raw = few;
	unsigned int piece;
	size_t n;
	int r;

	if (count > CFS_ARRAY_COUNT(few)) {
		many = calloc(count, sizeof(*many));
		if (!many)
			return -EAGAIN;
		raw = many;
	}
	if (count == 1 && cfs_ahead_read(b, reads) && verify_read(b, reads))
		return 0;
	n = merge_reads(b, reads, count, raw);
	if (n == 1)
		r = cfs_metavolume_read_any(b->mv, raw->vaddr, raw->count,
					    raw->buf, &piece, NULL);
	else
		r = cfs_metavolume_read_batch(b->mv, raw, n, NULL);
	for (size_t i = 0; i < n && n > 1 && r == 0; i++)
		r = raw[i].result;
	for (size_t i = 0; i < count && r == 0; i++)
		if (!verify_read(b, &reads[i]))
			r = -EAGAIN;
	return r == 0 ? 0 : -EAGAIN;
}

int cfs_block_read_many(struct cfs_blocks *b, struct cfs_block_read *reads,
			size_t count, bool heals, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) struct cfs_mv_read *raw = NULL;
	int first = 0;

	if (count > 1) {
		raw = calloc(count, sizeof(*raw));
		if (!raw)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		first = read_raw(b, reads, raw, count, err);
		if (first < 0)
			return first;
	}
	for (size_t i = 0; i < count; i++) {
		struct cfs_err why = CFS_ERR_INIT;

		reads[i].result = 0;
		if (raw && raw[i].result == 0 && verify_read(b, &reads[i]))
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
