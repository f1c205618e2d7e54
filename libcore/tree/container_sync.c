/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sync: everything since the last frame in one frame, one write, one flush.
 * What is too much for a frame, or finds no room in the log, is committed.
 *
 * The frame is made under the container's lock, and written and flushed
 * without: meanwhile operations go on, and whoever else wants a sync waits for
 * this one, or shares the next with all that wait.  What must stay true:
 *
 *  - one sync at a time, from the making of its frame to its end;
 *  - no other frame and no commit goes before a frame that is out has been
 *    flushed: they wait with the lock held, for which a frame that is out needs
 *    no lock but that of its own;
 *  - what the frame has counts as logged from its making on: if it fails, the
 *    container is closed for writing, and nothing rests on that;
 *  - a sync is answered by a frame that was made behind its call, or behind the
 *    last change before its call.
 */
#include "tree/container_client_priv.h"
#include "tree/container_grave.h"
#include "tree/container_gradual.h"
#include "tree/container_priv.h"

#include <assert.h>
#include <stdlib.h>

int cfs_container_log(struct cfs_container *c, const struct cfs_rec *rec,
		      const uint64_t *csums, struct cfs_err *err)
{
	int r;

	assert(!c->gradual.is_on || c->is_committing);
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

/* Records and pages, as they will stand in the log; blocks. */
static uint32_t fill_frame(struct cfs_container *c,
			   const struct cfs_buf *records,
			   const void *const *pages, size_t page_count)
{
	const uint64_t head_blocks = record_blocks(records->bytes);
	const size_t end = CFS_FRAME_HEADER_BYTES + records->bytes;
	uint8_t *at = c->frame_buf;

	assert(head_blocks + page_count <= CFS_FRAME_BLOCKS_MAX);
	memcpy(at + CFS_FRAME_HEADER_BYTES, records->data, records->bytes);
	memset(at + end, 0, head_blocks * CFS_BLOCK_BYTES - end);
	at += head_blocks * CFS_BLOCK_BYTES;
	for (size_t i = 0; i < page_count; i++, at += CFS_BLOCK_BYTES)
		memcpy(at, pages[i], CFS_BLOCK_BYTES);
	return (uint32_t)(head_blocks + page_count);
}

/* One frame, flushed. */
int cfs_container_append_frame(struct cfs_container *c,
			       const struct cfs_buf *records,
			       uint32_t record_count, struct cfs_err *err)
{
	struct cfs_frame frame = {
		.stamp = c->stamp,
		.record_bytes = (uint32_t)records->bytes,
		.record_count = record_count,
	};
	int r = cfs_container_frame_wait(c, err);

	if (r == 0)
		r = cfs_log_append(c->log, &frame, c->frame_buf,
				   fill_frame(c, records, NULL, 0), err);
	if (r == 0)
		r = cfs_metavolume_flush(c->mv, err);
	if (r == 0)
		cfs_log_flushed(c->log, frame.seq);
	return r;
}

/* ---- a frame that is out ------------------------------------------------- */

static void frame_comes(struct cfs_container *c, int r)
{
	pthread_mutex_lock(&c->frame_lock);
	c->frame_is_out = false;
	c->frame_result = r;
	pthread_cond_broadcast(&c->frame_is_back);
	pthread_mutex_unlock(&c->frame_lock);
}

static int flight_lands(struct cfs_container *c, struct cfs_mv_flight *flight,
			struct cfs_err *err)
{
	int r = cfs_metavolume_flight_end(flight, err);

	return r < 0 ? r : cfs_metavolume_flush(c->mv, err);
}

int cfs_container_frame_wait(struct cfs_container *c, struct cfs_err *err)
{
	int r;

	/* Its writer is we. */
	if (c->frame_flight) {
		frame_comes(c, flight_lands(c, c->frame_flight, NULL));
		c->frame_flight = NULL;
	}
	pthread_mutex_lock(&c->frame_lock);
	while (c->frame_is_out)
		pthread_cond_wait(&c->frame_is_back, &c->frame_lock);
	r = c->frame_result;
	pthread_mutex_unlock(&c->frame_lock);
	if (r < 0)
		return cfs_err_set(err, r, "a write of the log failed");
	cfs_log_flushed(c->log, c->frame_seq);
	return 0;
}

static void frame_goes(struct cfs_container *c, uint64_t seq)
{
	c->frame_seq = seq;
	pthread_mutex_lock(&c->frame_lock);
	c->frame_is_out = true;
	pthread_mutex_unlock(&c->frame_lock);
}

/*
 * Beside a gradual commit: a step of that while the disk has the frame.  Where
 * the step needed the frame back, it is back.
 */
static bool frame_goes_beside(struct cfs_container *c,
			      const struct cfs_mv_write *w, size_t page_count)
{
	if (!c->gradual.is_on || cfs_gradual_is_ready(c) ||
	    cfs_metavolume_write_start(c->mv, w, 1, &c->frame_flight, NULL) < 0)
		return false;
	cfs_gradual_step(c, page_count);
	return true;
}

/* Write and flush, beside all others.  (A client is the only one in its view,
 * and whoever looks at that expects it at rest.) */
static int frame_run(struct cfs_container *c, const struct cfs_mv_write *w,
		     uint64_t seq, size_t page_count, struct cfs_err *err)
{
	const bool is_beside = !c->client;
	struct cfs_mv_flight *flight;
	bool is_started;
	int r = 0;

	frame_goes(c, seq);
	is_started = frame_goes_beside(c, w, page_count);
	flight = c->frame_flight;
	c->frame_flight = NULL;
	if (is_started && !flight)
		return cfs_container_frame_wait(c, err);
	if (is_beside)
		pthread_mutex_unlock(&c->lock);
	if (!flight)
		r = cfs_metavolume_write(c->mv, w, 1, err);
	if (flight)
		r = flight_lands(c, flight, err);
	else if (r == 0)
		r = cfs_metavolume_flush(c->mv, err);
	frame_comes(c, r);
	if (is_beside)
		pthread_mutex_lock(&c->lock);
	return r;
}

/* ---- sync ---------------------------------------------------------------- */

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

/* Of all that is pending, and gathered. */
static int sync_frame(struct cfs_container *c, size_t own_bytes,
		      uint32_t own_count, struct cfs_err *err)
{
	const size_t page_count = c->inline_pages.bytes / sizeof(void *);
	struct cfs_frame frame = {
		.stamp = c->stamp,
		.record_bytes = (uint32_t)c->pending.bytes,
		.record_count = c->pending_count,
		.inline_count = (uint32_t)page_count,
	};
	const uint32_t blocks = fill_frame(
		c, &c->pending,
		(const void *const *)(void *)c->inline_pages.data, page_count);
	struct cfs_mv_write w;
	int r = cfs_log_start(c->log, &frame, c->frame_buf, blocks, &w, err);

	if (c->hooks)
		c->hooks->gathered(c->hooks_ctx, r == 0);
	if (r == 0) {
		c->pending.bytes = 0;
		c->pending_count = 0;
		cfs_gradual_begin(c);
		r = frame_run(c, &w, frame.seq, page_count, err);
	}
	if (r == 0)
		cfs_log_flushed(c->log, frame.seq);
	else
		cfs_container_poison(c, err);
	c->frame_seq = 0;
	/* The sync is done: a failure is told to whoever comes next. */
	if (r == 0 && cfs_gradual_is_ready(c) && !c->is_readonly)
		(void)cfs_gradual_end(c, NULL);
	/* The lock was kept: its records are still there. */
	if (r == 0 && c->client)
		r = cfs_client_synced(c, own_bytes, own_count, err);
	return r;
}

/* The pages go home instead, in the commit. */
static int sync_commit(struct cfs_container *c, struct cfs_err *err)
{
	if (cfs_log_used_blocks(c->log) > 0)
		c->grows_log = true;
	return cfs_container_commit_locked(c, err);
}

static int sync_steps(struct cfs_container *c, struct cfs_err *err)
{
	const size_t bytes = c->pending.bytes;
	const uint32_t count = c->pending_count;
	int r = c->hooks ? c->hooks->gather(c->hooks_ctx, err) : 0;
	const bool has_some = c->pending.bytes;
	bool is_frame = r == 0 && has_some && fits_frame(c);

	/* That gives up what the log had when it began. */
	if (r == 0 && has_some && !is_frame && c->gradual.is_on) {
		r = cfs_gradual_end(c, err);
		is_frame = r == 0 && fits_frame(c);
	}
	/* With nothing new, what was written before is flushed already. */
	if (is_frame) {
		r = sync_frame(c, bytes, count, err);
	} else if (r < 0 || has_some) {
		c->pending.bytes = bytes;
		c->pending_count = count;
		if (c->hooks)
			c->hooks->gathered(c->hooks_ctx, false);
		if (r == 0)
			r = sync_commit(c, err);
	}
	c->inline_pages.bytes = 0;
	return r;
}

/* One for all that wait; nobody else does one. */
static int sync_once(struct cfs_container *c, struct cfs_err *err)
{
	const uint64_t mine = ++c->sync_begun;
	int r;

	c->is_syncing = true;
	c->synced_changes = c->change_count;
	r = sync_steps(c, err);
	/* What a successor does not read is not acknowledged. */
	if (r == 0 && c->client)
		r = cfs_client_may_ack(c, err);
	if (r == 0)
		r = cfs_grave_may_ack(c, err);
	c->is_syncing = false;
	if (r == 0)
		c->sync_done = mine;
	pthread_cond_broadcast(&c->synced);
	return r;
}

int cfs_container_sync(struct cfs_container *c, struct cfs_err *err)
{
	struct cfs_err why = CFS_ERR_INIT;
	uint64_t need;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	assert(!c->in_op);
	need = c->sync_begun;
	if (!c->is_syncing || c->change_count != c->synced_changes)
		need++;
	while (r == 0 && c->sync_done < need) {
		if (c->is_syncing)
			pthread_cond_wait(&c->synced, &c->lock);
		else if (atomic_load(&c->flight_count))
			cfs_container_drain_locked(c);
		else if (c->is_readonly)
			r = cfs_err_set(&why, -EROFS, "%s",
					c->why_readonly.code
						? c->why_readonly.msg
						: "opened to read only");
		else
			r = sync_once(c, &why);
	}
	pthread_mutex_unlock(&c->lock);
	if (r < 0 && err)
		*err = why;
	return r;
}

int cfs_container_commit(struct cfs_container *c, struct cfs_err *err)
{
	int r;

	pthread_mutex_lock(&c->lock);
	assert(!c->in_op);
	if (c->is_readonly)
		r = cfs_err_set(err, -EROFS, "%s",
				c->why_readonly.code ? c->why_readonly.msg
						     : "opened to read only");
	else
		r = cfs_container_commit_locked(c, err);
	pthread_mutex_unlock(&c->lock);
	return r;
}
