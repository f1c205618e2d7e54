/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads and writes that go on while whoever began them does something else.
 *
 * Others hold the metavolume's I/O lock from the look at the map to their end.
 * A flight ends whenever its owner asks for it, which may be never, so it
 * cannot: instead whoever stops all I/O lands those that are in the air, and
 * finds nothing under way then (cfs_metavolume_stop).
 *
 * Locks: the I/O lock, then flights_lock, then a flight's own.
 */
#include "pool/metavolume_batch.h"

#include <stdlib.h>

struct cfs_mv_flight {
	struct cfs_mv_flight *prev, *next;
	struct cfs_metavolume *mv;
	struct cfs_mv_write *writes; /* NULL: a read */
	size_t write_count;
	pthread_mutex_t lock; /* guards what follows */
	bool has_landed;
	int result;
	struct cfs_err err;
	struct cfs_mv_batches batches;
};

static void land(struct cfs_mv_flight *f)
{
	pthread_mutex_lock(&f->lock);
	if (!f->has_landed) {
		f->result = cfs_mv_batches_end(f->mv, &f->batches, &f->err);
		cfs_metavolume_note_writes(f->mv, f->writes, f->write_count);
		f->has_landed = true;
	}
	pthread_mutex_unlock(&f->lock);
}

static struct cfs_mv_flight *flight_new(struct cfs_metavolume *mv,
					const struct cfs_mv_write *writes,
					size_t write_count)
{
	struct cfs_mv_flight *f = calloc(1, sizeof(*f));

	if (f && write_count) {
		f->writes = malloc(write_count * sizeof(*writes));
		if (!f->writes) {
			free(f);
			return NULL;
		}
		memcpy(f->writes, writes, write_count * sizeof(*writes));
		f->write_count = write_count;
	}
	if (f) {
		f->mv = mv;
		pthread_mutex_init(&f->lock, NULL);
	}
	return f;
}

static void flight_free(struct cfs_mv_flight *f)
{
	cfs_mv_batches_done(&f->batches);
	pthread_mutex_destroy(&f->lock);
	free(f->writes);
	free(f);
}

/* With the I/O lock.  All of it, or nothing. */
static int take_off(struct cfs_mv_flight *f, struct cfs_err *err)
{
	struct cfs_metavolume *mv = f->mv;
	int r = cfs_mv_batches_start(mv, &f->batches, err);

	if (r < 0) {
		land(f);
		return r;
	}
	pthread_mutex_lock(&mv->flights_lock);
	f->next = mv->flights;
	if (f->next)
		f->next->prev = f;
	mv->flights = f;
	pthread_mutex_unlock(&mv->flights_lock);
	return 0;
}

static int fill_read(struct cfs_mv_flight *f, const struct cfs_mv_read *rd,
		     struct cfs_err *err)
{
	const struct cfs_metavolume *mv = f->mv;
	struct cfs_piece pieces[CFS_PIECES_MAX];
	const struct cfs_piece *p = &pieces[rd->piece];
	int r = cfs_metavolume_resolve(mv, rd->vaddr, rd->count, pieces, err);

	assert(rd->piece < CFS_PIECES_MAX);
	if (r == 0 && !piece_is_usable(mv, p))
		r = cfs_err_set(err, -ENODEV,
				"the copy of address %#" PRIx64 " is not there",
				rd->vaddr);
	if (r < 0)
		return r;
	return cfs_mv_batch_add(
		&f->batches, CFS_IO_READ, p->device_index,
		piece_offset_bytes(mv, p, cfs_vaddr_block(rd->vaddr)), rd->buf,
		(size_t)rd->count * CFS_BLOCK_BYTES, err);
}

static int fill_reads(struct cfs_mv_flight *f, const struct cfs_mv_read *reads,
		      size_t count, struct cfs_err *err)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		r = fill_read(f, &reads[i], err);
	return r;
}

/* One of the two: @reads, or @writes. */
static int start(struct cfs_metavolume *mv, const struct cfs_mv_read *reads,
		 const struct cfs_mv_write *writes, size_t count,
		 struct cfs_mv_flight **ret, struct cfs_err *err)
{
	struct cfs_mv_flight *f = flight_new(mv, writes, writes ? count : 0);
	int r;

	if (!f)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	cfs_metavolume_io_begin(mv);
	r = reads ? fill_reads(f, reads, count, err)
		  : cfs_mv_batches_fill(mv, &f->batches, writes, count, err);
	if (r == 0)
		r = take_off(f, err);
	cfs_metavolume_io_end(mv);
	if (r < 0)
		flight_free(f);
	else
		*ret = f;
	return r;
}

int cfs_metavolume_read_start(struct cfs_metavolume *mv,
			      const struct cfs_mv_read *reads,
			      size_t read_count, struct cfs_mv_flight **ret,
			      struct cfs_err *err)
{
	return start(mv, reads, NULL, read_count, ret, err);
}

int cfs_metavolume_write_start(struct cfs_metavolume *mv,
			       const struct cfs_mv_write *writes,
			       size_t write_count, struct cfs_mv_flight **ret,
			       struct cfs_err *err)
{
	return start(mv, NULL, writes, write_count, ret, err);
}

int cfs_metavolume_flight_end(struct cfs_mv_flight *f, struct cfs_err *err)
{
	struct cfs_metavolume *mv = f->mv;
	int r;

	land(f);
	pthread_mutex_lock(&mv->flights_lock);
	if (f->next)
		f->next->prev = f->prev;
	if (f->prev)
		f->prev->next = f->next;
	else
		mv->flights = f->next;
	pthread_mutex_unlock(&mv->flights_lock);
	r = f->result;
	if (r < 0 && err)
		*err = f->err;
	flight_free(f);
	return r;
}

void cfs_metavolume_land(struct cfs_metavolume *mv)
{
	pthread_mutex_lock(&mv->flights_lock);
	for (struct cfs_mv_flight *f = mv->flights; f; f = f->next)
		land(f);
	pthread_mutex_unlock(&mv->flights_lock);
}
