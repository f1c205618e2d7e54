/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Long reads of data one behind the other, by somebody who waits for each
 * before the next: a copy, a backup.  The device could do more meanwhile, so
 * what lies behind such a read is read with it, and kept for the next ones.
 * Where several read at a time the device is busy anyway, and what they read
 * is left as it is.
 *
 * What is kept is only bytes, as in ahead.c: whoever takes some compares them
 * with the tags, and they are handed out once.
 */
#include "block/blocks_priv.h"

#include "base/bits.h"
#include "device/device.h"

#include <stdlib.h>
#include <string.h>

#define ROW_BLOCKS 128u /* in one request */
#define BLOCKS_MIN 9u   /* shorter ones are ahead.c's */
#define BLOCKS_MAX (ROW_BLOCKS / 2)
#define RUN_MIN    4u /* reads in a row */

void cfs_row_init(struct cfs_row *row)
{
	cfs_blocks_lock_init(&row->lock);
}

static void forget(struct cfs_row *row)
{
	free(row->buf);
	row->buf = NULL;
	row->count = 0;
}

void cfs_row_done(struct cfs_row *row)
{
	forget(row);
	pthread_mutex_destroy(&row->lock);
}

/* With the lock. */
static bool take(struct cfs_row *row, const struct cfs_mv_read *rd)
{
	const uint64_t at = rd->vaddr - row->vaddr;

	if (rd->vaddr < row->vaddr || at >= row->count ||
	    rd->count > row->count - at)
		return false;
	memcpy(rd->buf, row->buf + (row->skip + at) * CFS_BLOCK_BYTES,
	       (size_t)rd->count * CFS_BLOCK_BYTES);
	row->skip += (uint32_t)at + rd->count;
	row->vaddr += at + rd->count;
	row->count -= (uint32_t)at + rd->count;
	if (row->count == 0)
		forget(row);
	return true;
}

/* How many blocks are read behind @rd: as many reads of its kind as fit into the
 * request and into the slice. */
static uint32_t behind(const struct cfs_blocks *b, const struct cfs_mv_read *rd)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(b->mv);
	const uint32_t next = cfs_vaddr_block(rd->vaddr) + rd->count;
	uint32_t room;

	if (!cfs_geometry_is_data(geo, next))
		return 0;
	room = CFS_MIN(ROW_BLOCKS - rd->count,
		       geo->data_start + geo->data_count - next);
	return room - room % rd->count;
}

enum cfs_row_answer cfs_row_ask(struct cfs_blocks *b,
				const struct cfs_mv_read *rd, bool is_alone,
				struct cfs_mv_read *ret_more)
{
	struct cfs_row *row = &b->row;
	const uint64_t end = rd->vaddr + rd->count;
	uint32_t count = 0;

	if (rd->count < BLOCKS_MIN || rd->count > BLOCKS_MAX)
		return CFS_ROW_NOTHING;
	pthread_mutex_lock(&row->lock);
	if (!is_alone || (row->run && row->end != rd->vaddr))
		row->run = 0;
	row->run += is_alone;
	row->end = end;
	if (row->count && take(row, rd)) {
		pthread_mutex_unlock(&row->lock);
		return CFS_ROW_TAKEN;
	}
	if (row->run >= RUN_MIN)
		count = behind(b, rd);
	pthread_mutex_unlock(&row->lock);
	*ret_more = (struct cfs_mv_read){
		.vaddr = end,
		.count = count,
		.piece = rd->piece,
	};
	if (count)
		ret_more->buf = cfs_dev_buf_alloc_unset((size_t)count *
							CFS_BLOCK_BYTES);
	return ret_more->buf ? CFS_ROW_MORE : CFS_ROW_NOTHING;
}

void cfs_row_keep(struct cfs_blocks *b, const struct cfs_mv_read *more)
{
	struct cfs_row *row = &b->row;

	pthread_mutex_lock(&row->lock);
	if (more->result < 0 || row->end != more->vaddr) {
		free(more->buf);
	} else {
		forget(row);
		row->buf = more->buf;
		row->vaddr = more->vaddr;
		row->count = more->count;
		row->skip = 0;
	}
	pthread_mutex_unlock(&row->lock);
}
