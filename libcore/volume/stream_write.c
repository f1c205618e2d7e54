/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Long runs of blocks on their way into a volume: records that are adjacent
 * become one write, made by a thread while the next records are read and
 * verified.  The position moves on when a run is written, in their order.
 */
#include "volume/stream_priv.h"

#include "device/device.h"
#include "volume/data.h"

#include <stdlib.h>

void cfs_receive_run_init(struct cfs_receiver *r)
{
	pthread_mutex_init(&r->writer.lock, NULL);
	pthread_cond_init(&r->writer.turned, NULL);
}

/* Many streams have none that is long. */
static int run_has_room(struct receive_run *run, struct cfs_err *err)
{
	if (!run->blocks)
		run->blocks = cfs_dev_buf_alloc_huge(RECEIVE_RUN_BLOCKS *
						     CFS_BLOCK_BYTES);
	return run->blocks ? 0 : cfs_err_set(err, -ENOMEM, "out of memory");
}

/* ---- the thread ---------------------------------------------------------- */

static int write_run(struct cfs_receiver *r, const struct receive_run *run,
		     struct cfs_err *err)
{
	struct cfs_container *c = r->m->container;
	int ret = cfs_op_begin_for(c, CFS_OP_NORMAL,
				   64 + (uint64_t)run->count * 17 / 16, err);

	if (ret < 0)
		return ret;
	ret = cfs_container_raise_ino(c, run->ino, err);
	if (ret == 0)
		ret = cfs_data_write(c, r->branch, run->ino,
				     run->offset * CFS_BLOCK_BYTES, run->blocks,
				     (size_t)run->count * CFS_BLOCK_BYTES, err);
	if (ret < 0)
		cfs_op_abort(c);
	else
		cfs_op_end(c);
	return ret;
}

static void *write_runs(void *arg)
{
	struct cfs_receiver *r = arg;
	struct receive_writer *w = &r->writer;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		int ret;

		while (!w->is_busy && !w->is_over)
			pthread_cond_wait(&w->turned, &w->lock);
		if (!w->is_busy)
			break;
		pthread_mutex_unlock(&w->lock);
		ret = write_run(r, &w->runs[1 - w->filling], &w->err);
		pthread_mutex_lock(&w->lock);
		w->result = ret;
		w->is_busy = false;
		pthread_cond_broadcast(&w->turned);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- handing over -------------------------------------------------------- */

/* The run that is the thread's is written, or none is. */
static int collect(struct cfs_receiver *r, struct cfs_err *err)
{
	struct receive_writer *w = &r->writer;
	struct receive_run *run = &w->runs[1 - w->filling];
	int ret;

	pthread_mutex_lock(&w->lock);
	while (w->is_busy)
		pthread_cond_wait(&w->turned, &w->lock);
	ret = w->result;
	w->result = 0;
	pthread_mutex_unlock(&w->lock);
	if (run->count == 0)
		return 0;
	if (ret < 0) {
		cfs_err_set(err, ret, "%s", w->err.msg);
		r->is_broken = true;
	} else {
		r->rec.position = run->end;
		r->rec.received_bytes += (uint64_t)run->count * CFS_BLOCK_BYTES;
		r->unkept_bytes += (uint64_t)run->count * CFS_BLOCK_BYTES;
	}
	run->count = 0;
	return ret;
}

static int start_thread(struct cfs_receiver *r, struct cfs_err *err)
{
	struct receive_writer *w = &r->writer;
	int made = w->has_thread
			   ? 0
			   : pthread_create(&w->thread, NULL, write_runs, r);

	if (made)
		return cfs_err_set(err, -made, "no thread");
	w->has_thread = true;
	return 0;
}

/* What was filled becomes the thread's. */
static int hand_over(struct cfs_receiver *r, struct cfs_err *err)
{
	struct receive_writer *w = &r->writer;
	int ret = collect(r, err);

	if (ret == 0)
		ret = start_thread(r, err);
	if (ret < 0) {
		w->runs[w->filling].count = 0;
		return ret;
	}
	pthread_mutex_lock(&w->lock);
	w->filling = 1 - w->filling;
	w->is_busy = true;
	pthread_cond_broadcast(&w->turned);
	pthread_mutex_unlock(&w->lock);
	return 0;
}

static bool goes_on(const struct receive_run *run,
		    const struct cfs_stream_data *data)
{
	return run->ino == data->ino &&
	       run->offset + run->count == data->offset &&
	       run->count + data->count <= RECEIVE_RUN_BLOCKS;
}

int cfs_receive_run_add(struct cfs_receiver *r,
			const struct cfs_stream_item *item, struct cfs_err *err)
{
	struct receive_writer *w = &r->writer;
	struct receive_run *run = &w->runs[w->filling];
	int ret = 0;

	if (run->count && !goes_on(run, &item->data))
		ret = hand_over(r, err);
	if (ret < 0)
		return ret;
	run = &w->runs[w->filling];
	ret = run_has_room(run, err);
	if (ret < 0)
		return ret;
	if (run->count == 0) {
		run->ino = item->data.ino;
		run->offset = item->data.offset;
	}
	memcpy(run->blocks + (size_t)run->count * CFS_BLOCK_BYTES, item->blocks,
	       (size_t)item->data.count * CFS_BLOCK_BYTES);
	run->count += item->data.count;
	run->end = item->end;
	return run->count == RECEIVE_RUN_BLOCKS ? hand_over(r, err) : 0;
}

int cfs_receive_run_drain(struct cfs_receiver *r, struct cfs_err *err)
{
	struct receive_writer *w = &r->writer;
	int ret = 0;

	if (w->runs[w->filling].count)
		ret = hand_over(r, err);
	return ret < 0 ? ret : collect(r, err);
}

void cfs_receive_run_done(struct cfs_receiver *r)
{
	struct receive_writer *w = &r->writer;

	if (w->has_thread) {
		pthread_mutex_lock(&w->lock);
		w->is_over = true;
		pthread_cond_broadcast(&w->turned);
		pthread_mutex_unlock(&w->lock);
		pthread_join(w->thread, NULL);
	}
	free(w->runs[0].blocks);
	free(w->runs[1].blocks);
	pthread_cond_destroy(&w->turned);
	pthread_mutex_destroy(&w->lock);
}
