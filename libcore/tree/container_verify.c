/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames that nothing says were flushed: do the blocks that they name hold
 * what their tags say?  A writer has written a good deal since its last flush,
 * so blocks are read many at a time; one that does not verify so is asked for
 * alone, on all pieces, and that is what counts.
 */
#include "tree/container_priv.h"

#include "base/cleanup.h"

#include <stdlib.h>

#define RUN_BLOCKS 256u /* 1 MiB */

struct verifier {
	struct cfs_container *c;
	bool spreads;
	uint32_t room; /* blocks of each */
	uint8_t *run;  /* what is verified */
	uint8_t *copy; /* of another piece; NULL: nothing is spread */
};

static void verifier_done(struct verifier *v)
{
	free(v->run);
	free(v->copy);
}

/* For as many blocks as the next run has, which is 1 mostly. */
static int make_room(struct verifier *v, uint32_t blocks, struct cfs_err *err)
{
	if (blocks <= v->room)
		return 0;
	verifier_done(v);
	v->room = 0;
	v->run = cfs_dev_buf_alloc_unset((size_t)blocks * CFS_BLOCK_BYTES);
	v->copy = v->spreads ? cfs_dev_buf_alloc_unset((size_t)blocks *
						       CFS_BLOCK_BYTES)
			     : NULL;
	if (!v->run || (v->spreads && !v->copy))
		return cfs_err_set(err, -ENOMEM, "out of memory");
	v->room = blocks;
	return 0;
}

/* A run of an extent's blocks, all in its slice. */
static struct cfs_block_read block_of(const struct verifier *v,
				      const struct cfs_rec *rec, uint64_t first,
				      uint32_t i)
{
	struct cfs_block_read rd = {
		.vaddr = rec->vaddr + first + i,
		.count = 1,
		.first = {
			.type = CFS_TAG_DATA,
			.ino = rec->ino,
			.offset = rec->offset + first + i,
			.stamp = rec->stamp,
			.seq = rec->seq,
			.branch = rec->branch,
		},
		.buf = v->run + (size_t)i * CFS_BLOCK_BYTES,
	};
	le64 csum;

	memcpy(&csum, rec->csums + 8 * (first + i), sizeof(csum));
	rd.csum = le64_get(csum);
	return rd;
}

/* All of them into v->run, good; or false. */
static bool read_run(const struct verifier *v, const struct cfs_rec *rec,
		     uint64_t first, uint32_t count)
{
	const uint64_t seed = cfs_blocks_seed(v->c->blocks);
	const bool is_read = cfs_metavolume_read_any(v->c->mv,
						     rec->vaddr + first, count,
						     v->run, NULL, NULL) == 0;

	for (uint32_t i = 0; i < count; i++) {
		struct cfs_block_read rd = block_of(v, rec, first, i);

		if (is_read && cfs_tag_csum(&rd.first, seed, rd.buf) == rd.csum)
			continue;
		if (cfs_block_read(v->c->blocks, &rd, false, NULL, NULL) < 0)
			return false;
	}
	return true;
}

/*
 * The crash may have come between the pieces of blocks that are adopted now.
 * Who sees them must be able to lose a device: they are made the same on all.
 */
static int spread_to(const struct verifier *v, uint64_t vaddr, uint32_t count,
		     unsigned int piece, struct cfs_err *err)
{
	const bool is_read = cfs_metavolume_read(v->c->mv, vaddr, count, piece,
						 v->copy, NULL) == 0;
	int r = 0;

	for (uint32_t i = 0; i < count && r == 0; i++) {
		const size_t at = (size_t)i * CFS_BLOCK_BYTES;

		if (!is_read &&
		    cfs_metavolume_read(v->c->mv, vaddr + i, 1, piece,
					v->copy + at, NULL) < 0)
			memset(v->copy + at, 0, CFS_BLOCK_BYTES);
		if (memcmp(v->copy + at, v->run + at, CFS_BLOCK_BYTES) != 0)
			r = cfs_metavolume_write_piece(v->c->mv, vaddr + i, 1,
						       piece, v->run + at, err);
	}
	return r;
}

static int spread_run(const struct verifier *v, uint64_t vaddr, uint32_t count,
		      struct cfs_err *err)
{
	const unsigned int readable = cfs_metavolume_readable(
		v->c->mv, cfs_vaddr_lslice(vaddr));
	int r = 0;

	if (!v->spreads || __builtin_popcount(readable) < 2)
		return 0;
	for (unsigned int p = 0; p < CFS_PIECES_MAX && r == 0; p++)
		if (readable & 1u << p)
			r = spread_to(v, vaddr, count, p, err);
	return r;
}

/* 1, 0, or an error of spreading, or of memory. */
static int verify_extent(struct verifier *v, const struct cfs_rec *rec,
			 struct cfs_err *err)
{
	uint32_t n;

	for (uint64_t done = 0; done < rec->count; done += n) {
		int r;

		n = (uint32_t)CFS_MIN(rec->count - done, (uint64_t)RUN_BLOCKS);
		r = make_room(v, n, err);
		if (r < 0)
			return r;
		if (!read_run(v, rec, done, n))
			return 0;
		r = spread_run(v, rec->vaddr + done, n, err);
		if (r < 0)
			return r;
	}
	return 1;
}

int cfs_container_verify_frame(struct cfs_container *c,
			       const struct cfs_frame *frame, const void *buf,
			       bool spreads, struct cfs_err *err)
{
	CFS_CLEANUP(verifier_done)
	struct verifier v = {
		.c = c,
		.spreads = spreads,
	};
	struct cfs_rec rec;
	uint32_t pos = 0;
	int r;

	while ((r = cfs_frame_next(buf, frame, &pos, &rec, err)) == 1) {
		if (rec.type == CFS_REC_EXTENT)
			r = verify_extent(&v, &rec, err);
		if (r != 1)
			return r;
	}
	return r < 0 ? r : 1;
}
