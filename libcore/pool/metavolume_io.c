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
#include "pool/metavolume_priv.h"

#include "pool/metavolume_watch.h"

#include "base/cleanup.h"

#include <assert.h>
#include <stdlib.h>

/*
 * From the look at the map to the end of what is read or written there: no
 * slice moves meanwhile.
 */
static void io_begin(struct cfs_metavolume *mv)
{
	pthread_rwlock_rdlock(&mv->io_lock);
}

static void io_end(struct cfs_metavolume *mv)
{
	pthread_rwlock_unlock(&mv->io_lock);
}

/* Behind them, however they went. */
static void note_writes(struct cfs_metavolume *mv,
			const struct cfs_mv_write *writes, size_t write_count)
{
	if (!atomic_load(&mv->watch))
		return;
	for (size_t i = 0; i < write_count; i++)
		cfs_metavolume_touch(mv, writes[i].vaddr, writes[i].count);
}

/* The pieces of an address whose @count blocks lie inside its slice. */
static int resolve(const struct cfs_metavolume *mv, uint64_t vaddr,
		   uint32_t count, struct cfs_piece pieces[CFS_PIECES_MAX],
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
	r = resolve(mv, vaddr, count, pieces, err);
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

	io_begin(mv);
	r = read_piece(mv, vaddr, count, piece, buf, err);
	io_end(mv);
	return r;
}

int cfs_metavolume_read_any(struct cfs_metavolume *mv, uint64_t vaddr,
			    uint32_t count, void *buf, unsigned int *ret_piece,
			    struct cfs_err *err)
{
	int r = -ENODEV;

	for (unsigned int i = 0; i < CFS_PIECES_MAX; i++) {
		struct cfs_err why = CFS_ERR_INIT;
		int r2 = cfs_metavolume_read(mv, vaddr, count, i, buf, &why);

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

/* What one device gets of a batch. */
struct device_batch {
	struct cfs_io *ios;
	size_t count;
	size_t room;
	struct cfs_dev_ticket *ticket;
	uint32_t device_index;
};

struct batches {
	struct device_batch *list;
	size_t count;
};

static void batches_done(struct batches *b)
{
	for (size_t i = 0; i < b->count; i++)
		free(b->list[i].ios);
	free(b->list);
}

static struct device_batch *batch_for(struct batches *b, uint32_t device)
{
	struct device_batch *list;

	for (size_t i = 0; i < b->count; i++)
		if (b->list[i].device_index == device)
			return &b->list[i];
	list = realloc(b->list, (b->count + 1) * sizeof(*list));
	if (!list)
		return NULL;
	b->list = list;
	memset(&list[b->count], 0, sizeof(*list));
	list[b->count].device_index = device;
	return &list[b->count++];
}

static size_t batch_length(const struct batches *b, uint32_t device)
{
	for (size_t i = 0; i < b->count; i++)
		if (b->list[i].device_index == device)
			return b->list[i].count;
	return 0;
}

static int batch_add(struct batches *b, enum cfs_io_op op, uint32_t device,
		     uint64_t offset_bytes, const void *buf,
		     size_t length_bytes, struct cfs_err *err)
{
	struct device_batch *d = batch_for(b, device);

	if (d && d->count == d->room) {
		size_t room = d->room ? 2 * d->room : 16;
		struct cfs_io *ios = realloc(d->ios, room * sizeof(*ios));

		if (!ios)
			d = NULL;
		else {
			d->ios = ios;
			d->room = room;
		}
	}
	if (!d)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	d->ios[d->count++] = (struct cfs_io){
		.op = op,
		.offset_bytes = offset_bytes,
		/* Only read: the interface has one pointer for both ways. */
		.buf = (void *)(uintptr_t)buf,
		.length_bytes = length_bytes,
	};
	return 0;
}

static int batches_fill(struct cfs_metavolume *mv, struct batches *b,
			const struct cfs_mv_write *writes, size_t write_count,
			struct cfs_err *err)
{
	for (size_t i = 0; i < write_count; i++) {
		const struct cfs_mv_write *w = &writes[i];
		struct cfs_piece pieces[CFS_PIECES_MAX];
		bool is_placed = false;
		int r = resolve(mv, w->vaddr, w->count, pieces, err);

		for (unsigned int p = 0; r == 0 && p < CFS_PIECES_MAX; p++) {
			if (!piece_is_usable(mv, &pieces[p]))
				continue;
			is_placed = true;
			r = batch_add(
				b, CFS_IO_WRITE, pieces[p].device_index,
				piece_offset_bytes(mv, &pieces[p],
						   cfs_vaddr_block(w->vaddr)),
				w->buf, (size_t)w->count * CFS_BLOCK_BYTES,
				err);
		}
		if (r == 0 && !is_placed)
			r = cfs_err_set(err, -ENODEV,
					"no device for address %#" PRIx64,
					w->vaddr);
		if (r < 0)
			return r;
	}
	return 0;
}

static void mark_written(struct cfs_metavolume *mv, uint32_t device)
{
	atomic_store(&mv->written[device], true);
}

static int batches_run(struct cfs_metavolume *mv, struct batches *b,
		       struct cfs_err *err)
{
	int first = 0;

	for (size_t i = 0; i < b->count; i++) {
		struct device_batch *d = &b->list[i];
		struct cfs_dev *dev = cfs_devset_dev(mv->set, d->device_index);
		struct cfs_err why = CFS_ERR_INIT;
		int r = cfs_dev_start(dev, d->ios, d->count, &d->ticket, &why);

		/* Else what was never read would look as if it had been. */
		for (size_t k = 0; r < 0 && k < d->count; k++)
			d->ios[k].result = r;
		if (r < 0 && first == 0) {
			first = r;
			if (err)
				*err = why;
		}
	}
	for (size_t i = 0; i < b->count; i++) {
		struct device_batch *d = &b->list[i];
		struct cfs_err why = CFS_ERR_INIT;
		int r;

		if (!d->ticket)
			continue;
		r = cfs_dev_wait(d->ticket, &why);
		if (d->ios[0].op == CFS_IO_WRITE)
			mark_written(mv, d->device_index);
		if (r < 0 && first == 0) {
			first = r;
			if (err)
				*err = why;
		}
	}
	return first;
}

/* The common case, one write, without any allocation. */
static int write_one(struct cfs_metavolume *mv, const struct cfs_mv_write *w,
		     const struct cfs_piece *p, struct cfs_err *err)
{
	int r = cfs_dev_write(
		cfs_devset_dev(mv->set, p->device_index),
		piece_offset_bytes(mv, p, cfs_vaddr_block(w->vaddr)), w->buf,
		(size_t)w->count * CFS_BLOCK_BYTES, err);

	mark_written(mv, p->device_index);
	return r;
}

static int write_some(struct cfs_metavolume *mv,
		      const struct cfs_mv_write *writes, size_t write_count,
		      struct cfs_err *err)
{
	CFS_CLEANUP(batches_done) struct batches b = { NULL, 0 };
	int r;

	if (write_count == 1) {
		struct cfs_piece pieces[CFS_PIECES_MAX];
		unsigned int usable = 0, last = 0;

		r = resolve(mv, writes->vaddr, writes->count, pieces, err);
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
	r = batches_fill(mv, &b, writes, write_count, err);
	if (r < 0)
		return r;
	return batches_run(mv, &b, err);
}

int cfs_metavolume_write(struct cfs_metavolume *mv,
			 const struct cfs_mv_write *writes, size_t write_count,
			 struct cfs_err *err)
{
	int r;

	io_begin(mv);
	r = write_some(mv, writes, write_count, err);
	note_writes(mv, writes, write_count);
	io_end(mv);
	return r;
}

static int read_some(struct cfs_metavolume *mv, struct cfs_mv_read *reads,
		     size_t read_count, struct cfs_err *err)
{
	CFS_CLEANUP(batches_done) struct batches b = { NULL, 0 };
	uint32_t *batch_of = calloc(read_count + 1, sizeof(*batch_of));
	size_t *index_in = calloc(read_count + 1, sizeof(*index_in));
	int r = 0;

	if (!batch_of || !index_in)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < read_count && r == 0; i++) {
		struct cfs_mv_read *rd = &reads[i];
		struct cfs_piece pieces[CFS_PIECES_MAX];
		const struct cfs_piece *p = &pieces[rd->piece];

		rd->result = resolve(mv, rd->vaddr, rd->count, pieces, NULL);
		if (rd->result == 0 && !piece_is_usable(mv, p))
			rd->result = -ENODEV;
		if (rd->result < 0)
			continue;
		batch_of[i] = p->device_index;
		index_in[i] = batch_length(&b, p->device_index);
		r = batch_add(
			&b, CFS_IO_READ, p->device_index,
			piece_offset_bytes(mv, p, cfs_vaddr_block(rd->vaddr)),
			rd->buf, (size_t)rd->count * CFS_BLOCK_BYTES, err);
	}
	if (r == 0)
		(void)batches_run(mv, &b, NULL); /* each has its result */
	for (size_t i = 0; i < read_count && r == 0; i++) {
		const struct device_batch *d;

		if (reads[i].result != 0)
			continue;
		d = batch_for(&b, batch_of[i]);
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

	io_begin(mv);
	r = read_some(mv, reads, read_count, err);
	io_end(mv);
	return r;
}

static int write_of_piece(struct cfs_metavolume *mv,
			  const struct cfs_mv_write *w, unsigned int piece,
			  struct cfs_err *err)
{
	struct cfs_piece pieces[CFS_PIECES_MAX];
	int r;

	assert(piece < CFS_PIECES_MAX);
	r = resolve(mv, w->vaddr, w->count, pieces, err);
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

	io_begin(mv);
	r = write_of_piece(mv, &w, piece, err);
	note_writes(mv, &w, 1);
	io_end(mv);
	return r;
}

int cfs_metavolume_flush(struct cfs_metavolume *mv, struct cfs_err *err)
{
	uint32_t count = cfs_devset_count(mv->set);
	int first = 0;

	io_begin(mv);
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
	io_end(mv);
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
