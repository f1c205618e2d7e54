/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Appending: positions, room, the chain. */
#include "log/log_priv.h"

#include <inttypes.h>
#include <stdlib.h>

static int root_extents_check(const struct cfs_metavolume *mv,
			      const struct cfs_root *root, struct cfs_err *err)
{
	const struct cfs_slice_geometry *geo = cfs_metavolume_geometry(mv);

	for (uint32_t i = 0; i < root->log_extent_count; i++) {
		const struct cfs_log_extent *e = &root->log_extents[i];
		uint32_t block = cfs_vaddr_block(e->vaddr);

		if (!cfs_geometry_is_data(geo, block) || e->block_count == 0 ||
		    !cfs_range_fits(block, e->block_count,
				    geo->data_start + geo->data_count))
			return cfs_err_set(
				err, -EUCLEAN,
				"log: extent %" PRIu32 " makes no sense", i);
	}
	if (root->log_extent_count == 0 ||
	    root->log_extent >= root->log_extent_count ||
	    root->log_block > root->log_extents[root->log_extent].block_count)
		return cfs_err_set(err, -EUCLEAN,
				   "log: its position makes no sense");
	return 0;
}

int cfs_log_new(struct cfs_metavolume *mv, uint32_t epoch,
		const struct cfs_root *root, struct cfs_log **ret,
		struct cfs_err *err)
{
	struct cfs_log *log;
	int r = root_extents_check(mv, root, err);

	if (r < 0)
		return r;
	log = calloc(1, sizeof(*log));
	if (!log)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	log->mv = mv;
	log->epoch = epoch;
	log->log_id = root->log_id;
	log->extent_count = root->log_extent_count;
	for (uint32_t i = 0; i < log->extent_count; i++) {
		log->extents[i] = root->log_extents[i];
		log->total_blocks += log->extents[i].block_count;
	}
	log->head = (struct log_position){
		.extent = root->log_extent,
		.block = root->log_block,
		.seq = root->log_seq,
		.chain = root->log_chain,
	};
	log->durable_seq = root->log_seq ? root->log_seq - 1 : 0;
	*ret = log;
	return 0;
}

void cfs_log_free(struct cfs_log *log)
{
	free(log);
}

uint32_t cfs_log_frame_blocks_max(const struct cfs_log *log)
{
	uint32_t most = 0;

	for (uint32_t i = 0; i < log->extent_count; i++)
		most = CFS_MAX(most, log->extents[i].block_count);
	return CFS_MIN(most, CFS_FRAME_BLOCKS_MAX);
}

/*
 * Where a frame of @block_count blocks goes, and how many blocks of the ring
 * that takes with what is skipped.  False: no extent takes it.
 */
bool cfs_log_place(const struct cfs_log *log, uint32_t block_count,
		   struct log_position *at, uint64_t *ret_blocks)
{
	uint64_t skipped = 0;

	*at = log->head;
	for (uint32_t tried = 0; tried <= log->extent_count; tried++) {
		uint32_t left = log->extents[at->extent].block_count -
				at->block;

		if (block_count <= left) {
			*ret_blocks = skipped + block_count;
			return true;
		}
		/*
		 * The reader only looks into the next extent: an extent too
		 * short for the frame cannot be stepped over.
		 */
		if (tried == 1)
			return false;
		skipped += left;
		at->extent = (at->extent + 1) % log->extent_count;
		at->block = 0;
	}
	return false;
}

bool cfs_log_fits(const struct cfs_log *log, uint32_t block_count,
		  uint32_t reserve)
{
	struct log_position at;
	uint64_t blocks;

	return cfs_log_place(log, block_count, &at, &blocks) &&
	       log->used_blocks + blocks + reserve <= log->total_blocks;
}

uint64_t cfs_log_total_blocks(const struct cfs_log *log)
{
	return log->total_blocks;
}

uint64_t cfs_log_used_blocks(const struct cfs_log *log)
{
	return log->used_blocks;
}

uint64_t cfs_log_seq(const struct cfs_log *log)
{
	return log->head.seq;
}

int cfs_log_start(struct cfs_log *log, struct cfs_frame *frame, void *buf,
		  uint32_t block_count, struct cfs_mv_write *ret,
		  struct cfs_err *err)
{
	struct log_position at;
	uint64_t blocks;

	if (!cfs_log_place(log, block_count, &at, &blocks) ||
	    log->used_blocks + blocks > log->total_blocks)
		return cfs_err_set(err, -ENOSPC, "log: no room for a frame");
	frame->log_id = log->log_id;
	frame->seq = log->head.seq;
	frame->chain = log->head.chain;
	frame->durable_seq = log->durable_seq;
	frame->pool_lo = cfs_metavolume_pool_lo(log->mv);
	frame->container_id = cfs_metavolume_container_id(log->mv);
	frame->epoch = log->epoch;
	frame->block_count = block_count;
	cfs_frame_pack(frame, buf);

	*ret = (struct cfs_mv_write){
		.vaddr = log->extents[at.extent].vaddr + at.block,
		.count = block_count,
		.buf = buf,
	};
	log->head = at;
	log->head.block += block_count;
	log->head.seq = frame->seq + 1;
	log->head.chain = frame->csum_lo;
	log->used_blocks += blocks;
	return 0;
}

int cfs_log_append(struct cfs_log *log, struct cfs_frame *frame, void *buf,
		   uint32_t block_count, struct cfs_err *err)
{
	const struct log_position head = log->head;
	const uint64_t used_blocks = log->used_blocks;
	struct cfs_mv_write w;
	int r = cfs_log_start(log, frame, buf, block_count, &w, err);

	if (r < 0)
		return r;
	r = cfs_metavolume_write(log->mv, &w, 1, err);
	if (r < 0) {
		log->head = head;
		log->used_blocks = used_blocks;
	}
	return r;
}

void cfs_log_flushed(struct cfs_log *log, uint64_t seq)
{
	log->durable_seq = CFS_MAX(log->durable_seq, seq);
}

void cfs_log_to_root(const struct cfs_log *log, struct cfs_root *root)
{
	root->log_id = log->log_id;
	root->log_seq = log->head.seq;
	root->log_chain = log->head.chain;
	root->log_extent = log->head.extent;
	root->log_block = log->head.block;
	root->log_extent_count = log->extent_count;
	memset(root->log_extents, 0, sizeof(root->log_extents));
	memcpy(root->log_extents, log->extents,
	       log->extent_count * sizeof(*log->extents));
}

/* Blocks of the ring from @from up to the head. */
static uint64_t distance(const struct cfs_log *log, uint32_t extent,
			 uint32_t block)
{
	uint64_t blocks = 0;

	while (extent != log->head.extent) {
		blocks += log->extents[extent].block_count - block;
		extent = (extent + 1) % log->extent_count;
		block = 0;
	}
	if (block <= log->head.block)
		return blocks + log->head.block - block;
	return log->total_blocks - (block - log->head.block);
}

void cfs_log_trim(struct cfs_log *log, const struct cfs_root *root)
{
	if (root->log_seq == log->head.seq)
		log->used_blocks = 0;
	else
		log->used_blocks = distance(log, root->log_extent,
					    root->log_block);
	/* Tail and head in one place, but not empty: a whole lap. */
	if (root->log_seq != log->head.seq && log->used_blocks == 0)
		log->used_blocks = log->total_blocks;
}

void cfs_log_rewind(struct cfs_log *log)
{
	const uint32_t most = cfs_log_frame_blocks_max(log);
	struct log_position at;
	uint64_t blocks;

	if (cfs_log_place(log, most, &at, &blocks))
		return;
	for (uint32_t i = 0; i < log->extent_count; i++) {
		if (log->extents[i].block_count < most)
			continue;
		log->head.extent = i;
		log->head.block = 0;
		return;
	}
}

void cfs_log_rename(struct cfs_log *log, uint64_t log_id)
{
	log->log_id = log_id;
}

int cfs_log_add_extent(struct cfs_log *log, uint64_t vaddr,
		       uint32_t block_count, struct cfs_err *err)
{
	if (log->extent_count == CFS_LOG_EXTENTS_MAX)
		return cfs_err_set(err, -ENOSPC, "log: too many extents");
	log->extents[log->extent_count++] = (struct cfs_log_extent){
		.vaddr = vaddr,
		.block_count = block_count,
	};
	log->total_blocks += block_count;
	return 0;
}
