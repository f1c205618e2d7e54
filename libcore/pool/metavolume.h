/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The metavolume: the sparse logical address space of one container, and the
 * only place that knows devices.  Its slice map is kept here in memory; where
 * it is stored is not this layer's concern.
 *
 * With mirroring a logical slice has several pieces.  Writes go to all of
 * them, reads to one; which copy is right is decided above, by tag and
 * checksum.  A piece that is marked stale, or whose device is missing, gets
 * nothing and is not read.
 *
 * Addresses count blocks from the slice's first, so that headers and tag
 * pages have addresses too.
 *
 * Thread safety: all functions may be called from any thread; the map is
 * guarded by a lock of its own.  A slice is not removed from the map while
 * I/O to it is under way: the owner sees to that.
 */
#pragma once

#include "ondisk/geometry.h"
#include "ondisk/root.h"
#include "pool/devset.h"

struct cfs_metavolume;

int cfs_metavolume_new(struct cfs_devset *set, uint64_t container_id,
		       struct cfs_metavolume **ret, struct cfs_err *err);
void cfs_metavolume_free(struct cfs_metavolume *mv); /* NULL is allowed */

uint64_t cfs_metavolume_container_id(const struct cfs_metavolume *mv);
uint64_t cfs_metavolume_pool_lo(const struct cfs_metavolume *mv);
const struct cfs_slice_geometry *cfs_metavolume_geometry(
	const struct cfs_metavolume *mv);
struct cfs_devset *cfs_metavolume_devset(const struct cfs_metavolume *mv);

/*
 * Can @pieces, of a record, stand for @lslice: is each that is used on a device
 * of the set, and inside its slices?  -EUCLEAN if not, or if none is used.
 */
int cfs_pieces_check(const struct cfs_devset *set, uint64_t lslice,
		     const struct cfs_piece pieces[CFS_PIECES_MAX],
		     struct cfs_err *err);

/*
 * Map @lslice to @pieces (unused ones have flags 0).  Each must lie on a device
 * of the set and inside its slices.  -EUCLEAN if not, -ENOMEM.
 */
int cfs_metavolume_set(struct cfs_metavolume *mv, uint64_t lslice,
		       const struct cfs_piece pieces[CFS_PIECES_MAX],
		       struct cfs_err *err);
void cfs_metavolume_clear(struct cfs_metavolume *mv, uint64_t lslice);
/* False: a hole. */
bool cfs_metavolume_get(const struct cfs_metavolume *mv, uint64_t lslice,
			struct cfs_piece ret[CFS_PIECES_MAX]);
/* One more than the highest logical slice that is mapped; 0: none is. */
uint64_t cfs_metavolume_end(const struct cfs_metavolume *mv);
uint64_t cfs_metavolume_slice_count(const struct cfs_metavolume *mv);
/* Generation of the slice's life (of its first piece); 0 for a hole. */
uint32_t cfs_metavolume_generation(const struct cfs_metavolume *mv,
				   uint64_t lslice);
/* Device of the first piece, UINT32_MAX for a hole. */
uint32_t cfs_metavolume_device(const struct cfs_metavolume *mv,
			       uint64_t lslice);
/* Bit i: piece i can be read now. */
unsigned int cfs_metavolume_readable(const struct cfs_metavolume *mv,
				     uint64_t lslice);
/* Where a block of a piece is.  False: no such piece. */
bool cfs_metavolume_locate(const struct cfs_metavolume *mv, uint64_t vaddr,
			   unsigned int piece, uint32_t *ret_device,
			   uint64_t *ret_offset_bytes);

/*
 * Read @count blocks of one slice from one piece.  -EUCLEAN: the address is
 * not mapped or goes beyond the slice; -ENODEV: that piece is not there;
 * -EIO.  @buf: aligned for direct I/O if it is to be fast.
 */
int cfs_metavolume_read(struct cfs_metavolume *mv, uint64_t vaddr,
			uint32_t count, unsigned int piece, void *buf,
			struct cfs_err *err);
/* The first piece that can be read; -EIO when all failed. */
int cfs_metavolume_read_any(struct cfs_metavolume *mv, uint64_t vaddr,
			    uint32_t count, void *buf, unsigned int *ret_piece,
			    struct cfs_err *err);

/* One read of a batch: blocks of one slice, from one piece. */
struct cfs_mv_read {
	uint64_t vaddr;
	uint32_t count; /* blocks */
	unsigned int piece;
	void *buf;
	int result; /* out: 0 or negative errno */
};
/* All of them, in any order and in parallel; each has its own result.
 * -ENOMEM: nothing was read. */
int cfs_metavolume_read_batch(struct cfs_metavolume *mv,
			      struct cfs_mv_read *reads, size_t read_count,
			      struct cfs_err *err);

/* One write of a batch: blocks of one slice. */
struct cfs_mv_write {
	uint64_t vaddr;
	uint32_t count; /* blocks */
	const void *buf;
};
/*
 * Write all of @writes to all their pieces, in any order and in parallel.
 * The first failure is returned when all have ended.
 */
int cfs_metavolume_write(struct cfs_metavolume *mv,
			 const struct cfs_mv_write *writes, size_t write_count,
			 struct cfs_err *err);

/*
 * Reading, or writing, in two halves: it goes on behind start, and the buffers
 * are in use until end, which waits for it, returns its result, and frees
 * @ret.  End may be called by another thread.  Of several reads it tells whether
 * all have succeeded.  A start that fails leaves nothing under way: -EUCLEAN,
 * -ENODEV, -ENOMEM.
 */
struct cfs_mv_flight;
int cfs_metavolume_read_start(struct cfs_metavolume *mv,
			      const struct cfs_mv_read *reads,
			      size_t read_count, struct cfs_mv_flight **ret,
			      struct cfs_err *err);
int cfs_metavolume_write_start(struct cfs_metavolume *mv,
			       const struct cfs_mv_write *writes,
			       size_t write_count, struct cfs_mv_flight **ret,
			       struct cfs_err *err);
int cfs_metavolume_flight_end(struct cfs_mv_flight *flight,
			      struct cfs_err *err);

/* One piece only: healing, by the holder of the group. */
int cfs_metavolume_write_piece(struct cfs_metavolume *mv, uint64_t vaddr,
			       uint32_t count, unsigned int piece,
			       const void *buf, struct cfs_err *err);

/* Make every completed write of this metavolume durable, on all devices. */
int cfs_metavolume_flush(struct cfs_metavolume *mv, struct cfs_err *err);
/* Give a slice's space back to the devices; before it leaves the map. */
void cfs_metavolume_discard(struct cfs_metavolume *mv, uint64_t lslice);
