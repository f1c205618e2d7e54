/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/metavolume_batch.h"

#include <stdlib.h>

void cfs_mv_batches_done(struct cfs_mv_batches *b)
{
	for (size_t i = 0; i < b->count; i++)
		free(b->list[i].ios);
	free(b->list);
}

struct cfs_mv_batch *cfs_mv_batch_for(struct cfs_mv_batches *b, uint32_t device)
{
	struct cfs_mv_batch *list;

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

int cfs_mv_batch_add(struct cfs_mv_batches *b, enum cfs_io_op op,
		     uint32_t device, uint64_t offset_bytes, const void *buf,
		     size_t length_bytes, struct cfs_err *err)
{
	struct cfs_mv_batch *d = cfs_mv_batch_for(b, device);

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

int cfs_mv_batches_fill(struct cfs_metavolume *mv, struct cfs_mv_batches *b,
			const struct cfs_mv_write *writes, size_t write_count,
			struct cfs_err *err)
{
	for (size_t i = 0; i < write_count; i++) {
		const struct cfs_mv_write *w = &writes[i];
		struct cfs_piece pieces[CFS_PIECES_MAX];
		bool is_placed = false;
		int r = cfs_metavolume_resolve(mv, w->vaddr, w->count, pieces,
					       err);

		for (unsigned int p = 0; r == 0 && p < CFS_PIECES_MAX; p++) {
			if (!piece_is_usable(mv, &pieces[p]))
				continue;
			is_placed = true;
			r = cfs_mv_batch_add(
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

/* ---- running ------------------------------------------------------------- */

/* What counts is the first failure. */
struct outcome {
	int result;
	struct cfs_err *err;
};

static void note_result(struct outcome *o, int r, const struct cfs_err *why)
{
	if (r == 0 || o->result < 0)
		return;
	o->result = r;
	if (o->err)
		*o->err = *why;
}

static void batch_start(struct cfs_metavolume *mv, struct cfs_mv_batch *d,
			struct outcome *o)
{
	struct cfs_err why = CFS_ERR_INIT;
	int r = cfs_dev_start(cfs_devset_dev(mv->set, d->device_index), d->ios,
			      d->count, &d->ticket, &why);

	/* Else what was never read would look as if it had been. */
	for (size_t k = 0; r < 0 && k < d->count; k++)
		d->ios[k].result = r;
	note_result(o, r, &why);
}

static void batch_ended(struct cfs_metavolume *mv, const struct cfs_mv_batch *d,
			int r, const struct cfs_err *why, struct outcome *o)
{
	if (d->ios[0].op == CFS_IO_WRITE)
		cfs_metavolume_mark_written(mv, d->device_index);
	note_result(o, r, why);
}

static void batch_end(struct cfs_metavolume *mv, struct cfs_mv_batch *d,
		      struct outcome *o)
{
	struct cfs_err why = CFS_ERR_INIT;
	int r;

	if (!d->ticket)
		return;
	r = cfs_dev_wait(d->ticket, &why);
	d->ticket = NULL;
	batch_ended(mv, d, r, &why, o);
}

/* At once: nobody's start comes behind it. */
static void batch_run(struct cfs_metavolume *mv, struct cfs_mv_batch *d,
		      struct outcome *o)
{
	struct cfs_err why = CFS_ERR_INIT;
	int r = cfs_dev_submit(cfs_devset_dev(mv->set, d->device_index), d->ios,
			       d->count, &why);

	batch_ended(mv, d, r, &why, o);
}

int cfs_mv_batches_start(struct cfs_metavolume *mv, struct cfs_mv_batches *b,
			 struct cfs_err *err)
{
	struct outcome o = { 0, err };

	for (size_t i = 0; i < b->count; i++)
		batch_start(mv, &b->list[i], &o);
	return o.result;
}

static int end_all(struct cfs_metavolume *mv, struct cfs_mv_batches *b,
		   struct outcome *o)
{
	for (size_t i = 0; i < b->count; i++)
		batch_end(mv, &b->list[i], o);
	return o->result;
}

int cfs_mv_batches_end(struct cfs_metavolume *mv, struct cfs_mv_batches *b,
		       struct cfs_err *err)
{
	struct outcome o = { 0, err };

	return end_all(mv, b, &o);
}

int cfs_mv_batches_run(struct cfs_metavolume *mv, struct cfs_mv_batches *b,
		       struct cfs_err *err)
{
	struct outcome o = { 0, err };

	for (size_t i = 0; i + 1 < b->count; i++)
		batch_start(mv, &b->list[i], &o);
	if (b->count > 0)
		batch_run(mv, &b->list[b->count - 1], &o);
	return end_all(mv, b, &o);
}
