/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Long reads of data one behind the other, by somebody who waits for each
 * before the next: a copy, a backup.  The device could do more meanwhile, so
 * what lies behind such a read is asked for beside it, and is there, or on its
 * way, when it is read.  There are two pieces of it: while one is handed out,
 * the device has the next.  Where several read at a time the device is busy
 * anyway, and what they read is left as it is.
 *
 * What is kept is only bytes, as in ahead.c: whoever takes some compares them
 * with the tags, and they are handed out once.
 *
 * All is guarded by row->lock, but a piece that somebody waits for: that one is
 * left alone by others, who read from the device what they find in it.
 */
#include "block/blocks_priv.h"

#include "base/bits.h"
#include "device/device.h"

#include <stdlib.h>
#include <string.h>

#define ROW_BLOCKS 128u /* in a piece, of short ones */
#define BLOCKS_MIN 9u   /* shorter ones are ahead.c's */
#define BLOCKS_MAX 256u
#define RUN_MIN    4u /* reads in a row */

void cfs_row_init(struct cfs_row *row)
{
	cfs_blocks_lock_init(&row->lock);
}

/* One that nobody waits for.  0, or how its reading went. */
static int piece_land(struct cfs_row_piece *p)
{
	struct cfs_mv_flight *flight = p->flight;

	p->flight = NULL;
	return flight ? cfs_metavolume_flight_end(flight, NULL) : 0;
}

static void piece_forget(struct cfs_row_piece *p)
{
	(void)piece_land(p);
	*p = (struct cfs_row_piece){ .buf = p->buf };
}

/* Buffers that stay: new ones each time may be mapped, cleared and unmapped each
 * time, which cost a quarter of the rate.  False: out of memory. */
static bool make_room(struct cfs_row *row)
{
	const size_t bytes = (size_t)BLOCKS_MAX * CFS_BLOCK_BYTES;

	if (row->buf)
		return true;
	row->buf = cfs_dev_buf_alloc_huge(CFS_ROW_PIECES * bytes);
	for (unsigned int i = 0; row->buf && i < CFS_ROW_PIECES; i++)
		row->pieces[i].buf = row->buf + i * bytes;
	return row->buf;
}

void cfs_row_done(struct cfs_row *row)
{
	for (unsigned int i = 0; i < CFS_ROW_PIECES; i++)
		piece_forget(&row->pieces[i]);
	free(row->buf);
	pthread_mutex_destroy(&row->lock);
}

static bool has(const struct cfs_row_piece *p, uint64_t vaddr)
{
	return vaddr >= p->vaddr && vaddr - p->vaddr < p->count;
}

/* ---- asking for what comes ----------------------------------------------- */

/* How many blocks are read from @vaddr on: as many reads of @blocks as fit into
 * a piece, and into the slice. */
static uint32_t piece_length(const struct cfs_blocks *b, uint64_t vaddr,
			     uint32_t blocks)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(b->mv);
	const uint32_t next = cfs_vaddr_block(vaddr);
	uint32_t room;

	if (!cfs_geometry_is_data(geo, next))
		return 0;
	room = CFS_MIN(CFS_MAX(ROW_BLOCKS, blocks),
		       geo->data_start + geo->data_count - next);
	return room - room % blocks;
}

/* What is neither from @end on nor being waited for makes room.  NULL: none
 * does.  *ret_next: what lies behind all that is there from @end on. */
static struct cfs_row_piece *find_room(struct cfs_row *row, uint64_t end,
				       uint64_t *ret_next)
{
	struct cfs_row_piece *room = NULL;
	bool goes_on;

	*ret_next = end;
	do {
		goes_on = false;
		for (unsigned int i = 0; i < CFS_ROW_PIECES; i++) {
			const struct cfs_row_piece *p = &row->pieces[i];

			if (!has(p, *ret_next))
				continue;
			*ret_next = p->vaddr + p->count;
			goes_on = true;
		}
	} while (goes_on);
	for (unsigned int i = 0; i < CFS_ROW_PIECES; i++) {
		struct cfs_row_piece *p = &row->pieces[i];

		if (!p->is_awaited &&
		    (p->vaddr + p->count <= end || p->vaddr >= *ret_next))
			room = p;
	}
	return room;
}

/* With the lock: reads like @rd go on. */
static void go_ahead(struct cfs_blocks *b, const struct cfs_mv_read *rd)
{
	uint64_t next;
	struct cfs_row_piece *p = find_room(&b->row, rd->vaddr + rd->count,
					    &next);
	struct cfs_mv_read more = { .vaddr = next };

	more.count = p ? piece_length(b, next, rd->count) : 0;
	if (!more.count)
		return;
	more.piece = cfs_blocks_first_piece(b, next);
	piece_forget(p);
	if (!make_room(&b->row))
		return;
	more.buf = p->buf;
	if (cfs_metavolume_read_start(b->mv, &more, 1, &p->flight, NULL) < 0)
		return;
	p->vaddr = next;
	p->count = more.count;
}

/* ---- taking what has come ------------------------------------------------ */

/* With the lock, which is let go while @p, from piece_of, is waited for. */
static bool piece_take(struct cfs_row *row, struct cfs_row_piece *p,
		       const struct cfs_mv_read *rd)
{
	const uint32_t at = (uint32_t)(rd->vaddr - p->vaddr);
	int r;

	pthread_mutex_unlock(&row->lock);
	r = piece_land(p);
	if (r == 0)
		memcpy(rd->buf, p->buf + (p->skip + at) * CFS_BLOCK_BYTES,
		       (size_t)rd->count * CFS_BLOCK_BYTES);
	pthread_mutex_lock(&row->lock);
	p->is_awaited = false;
	p->skip += at + rd->count;
	p->vaddr += at + rd->count;
	p->count -= at + rd->count;
	if (r < 0 || p->count == 0)
		piece_forget(p);
	return r == 0;
}

/* With the lock; it is the caller's until it was taken.  NULL: nothing. */
static struct cfs_row_piece *piece_of(struct cfs_row *row,
				      const struct cfs_mv_read *rd)
{
	for (unsigned int i = 0; i < CFS_ROW_PIECES; i++) {
		struct cfs_row_piece *p = &row->pieces[i];

		if (!p->is_awaited && has(p, rd->vaddr) &&
		    rd->count <= p->vaddr + p->count - rd->vaddr) {
			p->is_awaited = true;
			return p;
		}
	}
	return NULL;
}

bool cfs_row_read(struct cfs_blocks *b, const struct cfs_mv_read *rd,
		  bool is_alone)
{
	struct cfs_row *row = &b->row;
	struct cfs_row_piece *p;
	bool is_taken = false;

	if (rd->count < BLOCKS_MIN || rd->count > BLOCKS_MAX)
		return false;
	pthread_mutex_lock(&row->lock);
	if (!is_alone || (row->run && row->end != rd->vaddr))
		row->run = 0;
	row->run += is_alone;
	row->end = rd->vaddr + rd->count;
	p = piece_of(row, rd);
	/* Before it is waited for, and again if that has made room. */
	if (row->run >= RUN_MIN)
		go_ahead(b, rd);
	if (p) {
		is_taken = piece_take(row, p, rd);
		if (row->run >= RUN_MIN && row->end == rd->vaddr + rd->count)
			go_ahead(b, rd);
	}
	pthread_mutex_unlock(&row->lock);
	return is_taken;
}
