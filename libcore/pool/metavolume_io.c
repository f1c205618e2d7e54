/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading and writing a metavolume.
 *
 * Flushing: a device that was written since its last flush is marked.  The
 * mark is set after the write completed and taken away before the flush
 * begins, and flushes go one after the other, so whoever returns from
 * cfs_metavolume_flush has all its completed writes covered: by its own
 * flush, or by one that began after they had completed.  The first flush goes
 * to all devices: a process that was killed may have left writes there that
 * recovery has read, and that nothing but a flush makes durable.
 */
#include "pool/metavolume_batch.h"

#include "pool/metavolume_watch.h"

#include "base/cleanup.h"

#include <assert.h>
#include <stdlib.h>

void cfs_metavolume_io_begin(struct cfs_metavolume *mv)
{
	pthread_rwlock_rdlock(&mv->io_lock);
}

void cfs_metavolume_io_end(struct cfs_metavolume *mv)
{
	pthread_rwlock_unlock(&mv->io_lock);
}

void cfs_metavolume_note_writes(struct cfs_metavolume *mv,
				const struct cfs_mv_write *writes,
				size_t write_count)
{
	if (!atomic_load(&mv->watch))
		return;
	for (size_t i = 0; i < write_count; i++)
		cfs_metavolume_touch(mv, writes[i].vaddr, writes[i].count);
}

int cfs_metavolume_resolve(const struct cfs_metavolume *mv, uint64_t vaddr,
			   uint32_t count,
			   struct cfs_piece pieces[CFS_PIECES_MAX],
			   struct cfs_err *err)
{
	if (!cfs_range_fits(cfs_vaddr_block(vaddr), count,
			    mv->geometry.block_count) ||
	    !cfs_metavolume_get(mv, cfs_vaddr_lslice(vaddr), pieces))
		return cfs_err_set(err, -EUCLEAN,
				   "address %#" PRIx64
				   " is in no slice of this container",
				   vaddr);
	return 0;
}

static int read_piece(struct cfs_metavolume *mv, uint64_t vaddr, uint32_t count,
		      unsigned int piece, void *buf, struct cfs_err *err)
{
	struct cfs_piece pieces[CFS_PIECES_MAX];
	const struct cfs_piece *p;
	int r;

	assert(piece < CFS_PIECES_MAX);
	r = cfs_metavolume_resolve(mv, vaddr, count, pieces, err);
	if (r < 0)
		return r;
	p = &pieces[piece];
	if (!piece_is_usable(mv, p))
		return cfs_err_set(
			err, -ENODEV,
			"the copy of address %#" PRIx64 " is not there", vaddr);
	return cfs_dev_read(cfs_devset_dev(mv->set, p->device_index),
			    piece_offset_bytes(mv, p, cfs_vaddr_block(vaddr)),
			    buf, (size_t)count * CFS_BLOCK_BYTES, err);
}

int cfs_metavolume_read(struct cfs_metavolume *mv, uint64_t vaddr,
			uint32_t count, unsigned int piece, void *buf,
			struct cfs_err *err)
{
	int r;

	cfs_metavolume_io_begin(mv);
	r = read_piece(mv, vaddr, count, piece, buf, err);
	cfs_metavolume_io_end(mv);
	return r;
}

int cfs_metavolume_read_any(struct cfs_metavolume *mv, uint64_t vaddr,
			    uint32_t count, void *buf, unsigned int *ret_piece,
			    struct cfs_err *err)
{
	int r = -ENODEV;

	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		struct cfs_err why; /* set if that fails */
		int r2 = cfs_metavolume_read(mv, vaddr, count, i, buf,
					     err ? &why : NULL);

		if (r2 == 0) {
			if (ret_piece)
				*ret_piece = i;
			return 0;
		}
		/* "Not there" says less than what a device answered. */
		if (r == -ENODEV || r2 != -ENODEV) {
			r = r2;
			if (err)
				*err = why;
		}
	}
	return r;
}

void cfs_metavolume_mark_written(struct cfs_metavolume *mv, uint32_t device)
{
	atomic_store(&mv->written[device], true);
}

/* The common case, one write, without any allocation. */
static int write_one(struct cfs_metavolume *mv, const struct cfs_mv_write *w,
		     const struct cfs_piece *p, struct cfs_err *err)
{
	int r = cfs_dev_write(
		cfs_devset_dev(mv->set, p->device_index),
		piece_offset_bytes(mv, p, cfs_vaddr_block(w->vaddr)), w->buf,
		(size_t)w->count * CFS_BLOCK_BYTES, err);

	cfs_metavolume_mark_written(mv, p->device_index);
	return r;
}

static int write_some(struct cfs_metavolume *mv,
		      const struct cfs_mv_write *writes, size_t write_count,
		      struct cfs_err *err)
{
	CFS_CLEANUP(cfs_mv_batches_done) struct cfs_mv_batches b = { NULL, 0 };
	int r;

	if (write_count == 1) {
		struct cfs_piece pieces[CFS_PIECES_MAX];
		unsigned int usable = 0, last = 0;

		r = cfs_metavolume_resolve(mv, writes->vaddr, writes->count,
					   pieces, err);
		if (r < 0)
			return r;
		for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
			if (piece_is_usable(mv, &pieces[i])) {
				usable++;
				last = i;
			}
		}
		if (usable == 1)
			return write_one(mv, writes, &pieces[last], err);
	}
	r = cfs_mv_batches_fill(mv, &b, writes, write_count, err);
	if (r < 0)
		return r;
	return cfs_mv_batches_run(mv, &b, err);
}

int cfs_metavolume_write(struct cfs_metavolume *mv,
			 const struct cfs_mv_write *writes, size_t write_count,
			 struct cfs_err *err)
{
	int r;

	cfs_metavolume_io_begin(mv);
	r = write_some(mv, writes, write_count, err);
	cfs_metavolume_note_writes(mv, writes, write_count);
	cfs_metavolume_io_end(mv);
	return r;
}

static int read_some(struct cfs_metavolume *mv, struct cfs_mv_read *reads,
		     size_t read_count, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_mv_batches_done) struct cfs_mv_batches b = { NULL, 0 };
	uint32_t *batch_of = calloc(read_count + 1, sizeof(*batch_of));
	size_t *index_in = calloc(read_count + 1, sizeof(*index_in));
	int r = 0;

	if (!batch_of || !index_in)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < read_count && r == 0; i++) {
		struct cfs_mv_read *rd = &reads[i];
		struct cfs_piece pieces[CFS_PIECES_MAX];
		const struct cfs_piece *p = &pieces[rd->piece];
		const struct cfs_mv_batch *d;

		rd->result = cfs_metavolume_resolve(mv, rd->vaddr, rd->count,
						    pieces, NULL);
		if (rd->result == 0 && !piece_is_usable(mv, p))
			rd->result = -ENODEV;
		if (rd->result < 0)
			continue;
		batch_of[i] = p->device_index;
		d = cfs_mv_batch_for(&b, p->device_index);
		index_in[i] = d ? d->count : 0;
		r = cfs_mv_batch_add(
			&b, CFS_IO_READ, p->device_index,
			piece_offset_bytes(mv, p, cfs_vaddr_block(rd->vaddr)),
			rd->buf, (size_t)rd->count * CFS_BLOCK_BYTES, err);
	}
	if (r == 0)
		(void)cfs_mv_batches_run(mv, &b,
					 NULL); /* each has its result */
	for (size_t i = 0; i < read_count && r == 0; i++) {
		const struct cfs_mv_batch *d;

		if (reads[i].result != 0)
			continue;
		d = cfs_mv_batch_for(&b, batch_of[i]);
		/* batch_add was there before. */
		assert(d && index_in[i] < d->count);
		reads[i].result = d->ios[index_in[i]].result;
	}
	free(batch_of);
	free(index_in);
	return r;
}

int cfs_metavolume_read_batch(struct cfs_metavolume *mv,
			      struct cfs_mv_read *reads, size_t read_count,
			      struct cfs_err *err)
{
	int r;

	cfs_metavolume_io_begin(mv);
	r = read_some(mv, reads, read_count, err);
	cfs_metavolume_io_end(mv);
	return r;
}

static int write_of_piece(struct cfs_metavolume *mv,
			  const struct cfs_mv_write *w, unsigned int piece,
			  struct cfs_err *err)
{
	struct cfs_piece pieces[CFS_PIECES_MAX];
	int r;

	assert(piece < CFS_PIECES_MAX);
	r = cfs_metavolume_resolve(mv, w->vaddr, w->count, pieces, err);
	if (r < 0)
		return r;
	if (!piece_is_usable(mv, &pieces[piece]))
		return cfs_err_set(err, -ENODEV,
				   "the copy of address %#" PRIx64
				   " is not there",
				   w->vaddr);
	return write_one(mv, w, &pieces[piece], err);
}

int cfs_metavolume_write_piece(struct cfs_metavolume *mv, uint64_t vaddr,
			       uint32_t count, unsigned int piece,
			       const void *buf, struct cfs_err *err)
{
	const struct cfs_mv_write w = {
		.vaddr = vaddr,
		.count = count,
		.buf = buf,
	};
	int r;

	cfs_metavolume_io_begin(mv);
	r = write_of_piece(mv, &w, piece, err);
	cfs_metavolume_note_writes(mv, &w, 1);
	cfs_metavolume_io_end(mv);
	return r;
}

int cfs_metavolume_flush(struct cfs_metavolume *mv, struct cfs_err *err)
{
	uint32_t count = cfs_devset_count(mv->set);
	int first = 0;

	cfs_metavolume_io_begin(mv);
	pthread_mutex_lock(&mv->flush_lock);
	for (uint32_t i = 0; i < count; i++) {
		struct cfs_dev *dev = cfs_devset_dev(mv->set, i);
		struct cfs_err why = CFS_ERR_INIT;
		int r;

		if (!dev || !atomic_exchange(&mv->written[i], false))
			continue;
		r = cfs_dev_flush(dev, &why);
		if (r < 0) {
			/* What was written is in doubt for everybody. */
			atomic_store(&mv->written[i], true);
			if (first == 0) {
				first = r;
				if (err)
					*err = why;
			}
		}
	}
	pthread_mutex_unlock(&mv->flush_lock);
	cfs_metavolume_io_end(mv);
	return first;
}

void cfs_metavolume_discard(struct cfs_metavolume *mv, uint64_t lslice)
{
	struct cfs_piece pieces[CFS_PIECES_MAX];

	if (!cfs_metavolume_get(mv, lslice, pieces))
		return;
	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		if (!piece_is_usable(mv, &pieces[i]))
			continue;
		/*
		 * Space on the host is a courtesy; its failure loses nothing.
		 * The headers, first and last block, say whose the slice is
		 * until the tables say otherwise.
		 */
		cfs_dev_discard(cfs_devset_dev(mv->set, pieces[i].device_index),
				piece_offset_bytes(mv, &pieces[i], 1),
				mv->geometry.slice_bytes - 2 * CFS_BLOCK_BYTES,
				NULL);
	}
}
