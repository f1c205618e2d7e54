/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading a log to its end.
 *
 * Two passes: the first follows the chain and learns how far something says
 * that frames were flushed; the second hands the frames on.  Frames behind
 * that point count only if the blocks they name verify, since a frame may have
 * landed without them; the first that does not ends the log.  Frames before it
 * must not be verified: their blocks may have been freed and used again.
 *
 * Where the chain breaks although a later frame says that more was flushed,
 * the log is damaged; that is never taken for its end.
 *
 * A frame that was once refused must stay so.  What recovery writes may make
 * its blocks verify after all, so from there on the chain is another one: the
 * caller's next root says so, and is durable before the log is used again.
 *
 * A frame counts on whichever piece it is good.
 */
#include "log/log_priv.h"

#include "base/cleanup.h"

#include <inttypes.h>
#include <stdlib.h>

#define WINDOW_BLOCKS 512u /* the longest frame, and what is read at once */
#define WINDOW_FIRST  4u   /* an empty log is looked at, not read */
#define CHAIN_STEP    UINT64_C(0x9e3779b97f4a7c15)

struct reader {
	struct cfs_log *log;
	uint8_t *window;
	uint32_t room;      /* blocks that it has */
	unsigned int piece; /* of what the window holds */
	uint32_t extent;
	uint32_t block;
	uint32_t count; /* blocks in it; 0: nothing */
	uint32_t ahead; /* how much to read next; grows */
};

static void reader_done(struct reader *rd)
{
	free(rd->window);
}

/* Most logs are short: it grows with what is read.  Nothing is in it then. */
static int window_make_room(struct reader *rd, uint32_t blocks,
			    struct cfs_err *err)
{
	rd->count = 0;
	if (blocks <= rd->room)
		return 0;
	free(rd->window);
	rd->window = cfs_dev_buf_alloc_unset((size_t)blocks * CFS_BLOCK_BYTES);
	rd->room = rd->window ? blocks : 0;
	return rd->window ? 0 : cfs_err_set(err, -ENOMEM, "out of memory");
}

/*
 * @count blocks at a position, in the window until the next call; NULL: beyond
 * the extent.
 */
static int reader_at(struct reader *rd, unsigned int piece, uint32_t extent,
		     uint32_t block, uint32_t count, const uint8_t **ret,
		     struct cfs_err *err)
{
	const struct cfs_log_extent *e = &rd->log->extents[extent];
	int r;

	*ret = NULL;
	if (!cfs_range_fits(block, count, e->block_count))
		return 0;
	if (rd->count == 0 || rd->piece != piece || rd->extent != extent ||
	    block < rd->block || block + count > rd->block + rd->count) {
		uint32_t n = CFS_MIN(CFS_MAX(rd->ahead, count),
				     e->block_count - block);

		rd->ahead = CFS_MIN(4 * rd->ahead, WINDOW_BLOCKS);
		r = window_make_room(rd, n, err);
		if (r == 0)
			r = cfs_metavolume_read(rd->log->mv, e->vaddr + block,
						n, piece, rd->window, err);
		if (r < 0)
			return cfs_err_wrap(err, r, "log");
		rd->piece = piece;
		rd->extent = extent;
		rd->block = block;
		rd->count = n;
	}
	*ret = rd->window + (size_t)(block - rd->block) * CFS_BLOCK_BYTES;
	return 0;
}

/* Bit i: piece i of an extent can be read. */
static unsigned int pieces_of(const struct reader *rd, uint32_t extent)
{
	return cfs_metavolume_readable(
		rd->log->mv, cfs_vaddr_lslice(rd->log->extents[extent].vaddr));
}

static int frame_on(struct reader *rd, unsigned int piece,
		    const struct log_position *at, struct cfs_frame *ret,
		    const uint8_t **ret_buf, struct cfs_err *err)
{
	const struct cfs_frame expect = {
		.log_id = rd->log->log_id,
		.seq = at->seq,
		.chain = at->chain,
		.pool_lo = cfs_metavolume_pool_lo(rd->log->mv),
		.container_id = cfs_metavolume_container_id(rd->log->mv),
	};
	int r = reader_at(rd, piece, at->extent, at->block, 1, ret_buf, err);

	if (r < 0)
		return r;
	if (!*ret_buf)
		return 0;
	if (cfs_frame_peek(*ret_buf, &expect, ret, NULL) < 0)
		return 0;
	r = reader_at(rd, piece, at->extent, at->block, ret->block_count,
		      ret_buf, err);
	if (r < 0)
		return r;
	if (!*ret_buf)
		return 0;
	return cfs_frame_verify(*ret_buf, ret, NULL) == 0;
}

/*
 * A whole, valid frame at exactly this place, on any piece?  1, 0, or an error
 * if no piece can be read.
 */
static int frame_at(struct reader *rd, const struct log_position *at,
		    struct cfs_frame *ret, const uint8_t **ret_buf,
		    struct cfs_err *err)
{
	unsigned int pieces = pieces_of(rd, at->extent);
	bool is_read = false;
	int first = 0;

	if (!pieces)
		return cfs_err_set(err, -ENODEV,
				   "log: no device that has it is there");
	for (unsigned int p = 0; p < CFS_PIECES_MAX; p++) {
		struct cfs_err why = CFS_ERR_INIT;
		int r;

		if (!(pieces & 1u << p))
			continue;
		r = frame_on(rd, p, at, ret, ret_buf, &why);
		if (r == 1)
			return 1;
		is_read |= r == 0;
		if (r < 0 && first == 0) {
			first = r;
			if (err)
				*err = why;
		}
	}
	return is_read ? 0 : first;
}

/* The next frame: behind the last one, or in the next extent. */
static int next_frame(struct reader *rd, struct log_position *at,
		      struct cfs_frame *ret, const uint8_t **ret_buf,
		      struct cfs_err *err)
{
	struct log_position there = *at;
	int r = frame_at(rd, at, ret, ret_buf, err);

	if (r != 0)
		return r;
	there.extent = (there.extent + 1) % rd->log->extent_count;
	there.block = 0;
	r = frame_at(rd, &there, ret, ret_buf, err);
	if (r == 1)
		*at = there;
	return r;
}

static void step(struct log_position *at, const struct cfs_frame *frame)
{
	at->block += frame->block_count;
	at->seq = frame->seq + 1;
	at->chain = frame->csum_lo;
}

/* The first pass: -> how far frames are known to be flushed. */
static int find_end(struct reader *rd, struct log_position *end,
		    uint64_t *ret_durable, struct cfs_err *err)
{
	uint64_t durable = rd->log->durable_seq;
	struct cfs_frame frame;
	const uint8_t *buf;
	int r;

	*end = rd->log->head;
	while ((r = next_frame(rd, end, &frame, &buf, err)) == 1) {
		durable = CFS_MAX(durable, frame.durable_seq);
		step(end, &frame);
	}
	*ret_durable = durable;
	return r;
}

/* One block on the first piece that can be read. */
static int block_at(struct reader *rd, uint32_t extent, uint32_t block,
		    const uint8_t **ret, struct cfs_err *err)
{
	unsigned int pieces = pieces_of(rd, extent);
	int r = -ENODEV;

	for (unsigned int p = 0; p < CFS_PIECES_MAX; p++) {
		if (!(pieces & 1u << p))
			continue;
		r = reader_at(rd, p, extent, block, 1, ret, err);
		if (r == 0)
			break;
	}
	return r;
}

/*
 * Is there, anywhere in the log, a sound frame which says that the frame with
 * @seq, where the chain ends, had been flushed?
 */
static int look_for_later(struct reader *rd, uint64_t seq, struct cfs_err *err)
{
	struct cfs_log *log = rd->log;
	struct cfs_frame frame;
	const uint8_t *buf;

	for (uint32_t e = 0; e < log->extent_count; e++) {
		for (uint32_t i = 0; i < log->extents[e].block_count; i++) {
			const struct cfs_frame_header_disk *h;
			struct log_position at = { .extent = e, .block = i };
			int r = block_at(rd, e, i, &buf, err);

			if (r < 0)
				return r;
			h = (const void *)buf;
			if (le32_get(h->magic) != CFS_FRAME_MAGIC ||
			    le64_get(h->log_id) != log->log_id ||
			    le64_get(h->durable_seq) < seq)
				continue;
			at.seq = le64_get(h->seq);
			at.chain = le64_get(h->chain);
			r = frame_at(rd, &at, &frame, &buf, err);
			if (r < 0)
				return r;
			if (r == 1)
				return cfs_err_set(err, -EUCLEAN,
						   "log: frame %" PRIu64
						   " is damaged, "
						   "though it was flushed",
						   seq);
		}
	}
	return 0;
}

int cfs_log_replay(struct cfs_log *log, const struct cfs_log_replay *how,
		   uint64_t *ret_frames, struct cfs_err *err)
{
	CFS_CLEANUP(reader_done)
	struct reader rd = {
		.log = log,
		.ahead = WINDOW_FIRST,
	};
	struct log_position at = log->head, end;
	struct cfs_frame frame;
	const uint8_t *buf;
	uint64_t durable, frames = 0;
	bool is_refused = false;
	struct cfs_root tail;
	int r;

	r = find_end(&rd, &end, &durable, err);
	if (r == 0 && how->looks_for_damage)
		r = look_for_later(&rd, end.seq, err);
	if (r < 0)
		return r;
	while (at.seq < end.seq) {
		r = next_frame(&rd, &at, &frame, &buf, err);
		if (r == 0)
			r = cfs_err_set(err, -EIO,
					"log: it reads differently "
					"the second time");
		if (r < 0)
			return r;
		if (frame.seq > durable) {
			r = how->verify(how->arg, &frame, buf, err);
			if (r < 0)
				return r;
			if (r == 0) {
				is_refused = true;
				break;
			}
		}
		r = how->apply(how->arg, &frame, buf, err);
		if (r < 0)
			return cfs_err_wrap(err, r, "log: frame %" PRIu64,
					    frame.seq);
		step(&at, &frame);
		frames++;
	}
	/* What stands between the root's position and here is in use. */
	memset(&tail, 0, sizeof(tail));
	tail.log_seq = log->head.seq;
	tail.log_extent = log->head.extent;
	tail.log_block = log->head.block;
	log->head = at;
	if (is_refused) {
		log->head.chain += CHAIN_STEP;
		frames++;
	}
	log->durable_seq = at.seq ? at.seq - 1 : 0;
	cfs_log_trim(log, &tail);
	if (ret_frames)
		*ret_frames = frames;
	return 0;
}
