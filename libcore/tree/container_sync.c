/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sync: everything since the last frame in one frame, one write, one flush.
 * What is too much for a frame, or finds no room in the log, is committed.
 */
#include "tree/container_client_priv.h"
#include "tree/container_grave.h"
#include "tree/container_priv.h"

#include <assert.h>
#include <stdlib.h>

int cfs_container_log(struct cfs_container *c, const struct cfs_rec *rec,
		      const uint64_t *csums, struct cfs_err *err)
{
	int r;

	/* A commit covers what it does; a replay reads what is logged.  What a
	 * client folds is for the owner to do. */
	if (cfs_container_is_folding(c) && !c->client)
		return 0;
	r = cfs_rec_append(&c->pending, rec, csums, 0, err);
	if (r == 0)
		c->pending_count++;
	if (rec->type == CFS_REC_EXTENT)
		c->direct_blocks += rec->count;
	if (c->client && rec->type == CFS_REC_EXTENT)
		c->client->named_blocks += rec->count;
	return r;
}

int cfs_container_log_inline(struct cfs_container *c, const struct cfs_rec *rec,
			     const void *const *pages, struct cfs_err *err)
{
	size_t index = c->inline_pages.bytes / sizeof(*pages);
	int r = cfs_rec_append(&c->pending, rec, NULL, index, err);

	if (r < 0)
		return r;
	c->pending_count++;
	if (cfs_buf_append(&c->inline_pages, pages,
			   rec->count * sizeof(*pages)) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return 0;
}

static uint64_t record_blocks(size_t record_bytes)
{
	return cfs_div_up(CFS_FRAME_HEADER_BYTES + record_bytes,
			  CFS_BLOCK_BYTES);
}

/* One frame, flushed. */
int cfs_container_append_frame(struct cfs_container *c,
			       const struct cfs_buf *records,
			       uint32_t record_count, const void *const *pages,
			       size_t page_count, struct cfs_err *err)
{
	uint64_t head_blocks = record_blocks(records->bytes);
	uint32_t blocks = (uint32_t)(head_blocks + page_count);
	struct cfs_frame frame = {
		.stamp = c->stamp,
		.record_bytes = (uint32_t)records->bytes,
		.record_count = record_count,
		.inline_count = (uint32_t)page_count,
	};
	uint8_t *at = c->frame_buf;
	size_t end = CFS_FRAME_HEADER_BYTES + records->bytes;
	int r;

	assert(head_blocks + page_count <= CFS_FRAME_BLOCKS_MAX);
	memcpy(at + CFS_FRAME_HEADER_BYTES, records->data, records->bytes);
	memset(at + end, 0, head_blocks * CFS_BLOCK_BYTES - end);
	at += head_blocks * CFS_BLOCK_BYTES;
	for (size_t i = 0; i < page_count; i++, at += CFS_BLOCK_BYTES)
		memcpy(at, pages[i], CFS_BLOCK_BYTES);
	r = cfs_log_append(c->log, &frame, c->frame_buf, blocks, err);
	if (r == 0)
		r = cfs_metavolume_flush(c->mv, err);
	if (r == 0)
		cfs_log_flushed(c->log);
	return r;
}

/* Room for the frames that record the commit's loans. */
static uint32_t loan_reserve(const struct cfs_container *c)
{
	if (c->client)
		return 0;
	return (uint32_t)CFS_MAX(CFS_LOG_LOAN_RESERVE,
				 cfs_log_total_blocks(c->log) / 16);
}

/* Does what is pending go into one frame that fits? */
static bool fits_frame(const struct cfs_container *c)
{
	uint64_t blocks = record_blocks(c->pending.bytes) +
			  c->inline_pages.bytes / sizeof(void *);

	return blocks <= cfs_log_frame_blocks_max(c->log) &&
	       cfs_log_fits(c->log, (uint32_t)blocks, loan_reserve(c));
}

static int sync_frame(struct cfs_container *c, struct cfs_err *err)
{
	int r = cfs_container_append_frame(c, &c->pending, c->pending_count,
			(const void *const *)(void *)c->inline_pages.data,
			c->inline_pages.bytes / sizeof(void *), err);

	if (r < 0) {
		struct cfs_err why = CFS_ERR_INIT;

		if (err)
			why = *err;
		else
			cfs_err_set(&why, r, "a write of the log failed");
		cfs_container_poison(c, &why);
	}
	return r;
}

int cfs_container_sync(struct cfs_container *c, struct cfs_err *err)
{
	struct cfs_err why = CFS_ERR_INIT;
	size_t pending_bytes;
	uint32_t pending_count;
	int r;

	cfs_container_lock(c);
	assert(!c->in_op);
	if (c->is_readonly) {
		r = cfs_err_set(err, -EROFS, "%s", c->why_readonly.code ?
				c->why_readonly.msg : "opened to read only");
		goto out;
	}
	pending_bytes = c->pending.bytes;
	pending_count = c->pending_count;
	r = c->hooks ? c->hooks->gather(c->hooks_ctx, &why) : 0;
	if (r == 0 && c->pending.bytes == 0) {
		/* Nothing new; what was written before is flushed already. */
	} else if (r == 0 && fits_frame(c)) {
		r = sync_frame(c, &why);
		if (c->hooks)
			c->hooks->gathered(c->hooks_ctx, r == 0);
		if (r == 0 && c->client)
			r = cfs_client_synced(c, pending_bytes, pending_count,
					      &why);
		if (r == 0) {
			c->pending.bytes = 0;
			c->pending_count = 0;
		}
	} else if (r == 0) {
		/* The pages go home instead, in the commit. */
		c->pending.bytes = pending_bytes;
		c->pending_count = pending_count;
		if (c->hooks)
			c->hooks->gathered(c->hooks_ctx, false);
		if (cfs_log_used_blocks(c->log) > 0)
			c->grows_log = true;
		r = cfs_container_commit_locked(c, &why);
	} else if (c->hooks) {
		c->pending.bytes = pending_bytes;
		c->pending_count = pending_count;
		c->hooks->gathered(c->hooks_ctx, false);
	}
	c->inline_pages.bytes = 0;
	/* What a successor does not read is not acknowledged. */
	if (r == 0 && c->client)
		r = cfs_client_may_ack(c, &why);
	if (r == 0)
		r = cfs_grave_may_ack(c, &why);
	if (r < 0 && err)
		*err = why;
out:
	pthread_mutex_unlock(&c->lock);
	return r;
}

int cfs_container_commit(struct cfs_container *c, struct cfs_err *err)
{
	int r;

	pthread_mutex_lock(&c->lock);
	assert(!c->in_op);
	if (c->is_readonly)
		r = cfs_err_set(err, -EROFS, "%s", c->why_readonly.code ?
				c->why_readonly.msg : "opened to read only");
	else
		r = cfs_container_commit_locked(c, err);
	pthread_mutex_unlock(&c->lock);
	return r;
}
