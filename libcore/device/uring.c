/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Batches through io_uring.  A batch checks a ring out of the device's small
 * pool and gives it back when it has ended, so that no two threads ever touch
 * one ring at a time.
 *
 * What must stay true: a batch ends only when every request that the kernel
 * took has completed (the buffers are the caller's again).  A request that
 * ended short or failed, for whatever reason of io_uring's own, is done again
 * by plain calls, one io at a time: their answer is the one that counts.
 */
#include "device/file_priv.h"

#include "base/bits.h"

#include <liburing.h>
#include <stdlib.h>
#include <string.h>

#define RING_ENTRIES    128u
/* Whoever submits waits in the kernel soon: nobody need interrupt it. */
#define RING_QUIET      IORING_SETUP_COOP_TASKRUN
#define RING_CQ_ENTRIES 512u /* also the bound of requests in flight */
#define RINGS_KEPT      32u  /* as many threads at a time */
#define MERGE_BYTES     (UINT64_C(1) << 20)
#define MERGE_IOS       256u
#define REQUEST_BYTES   (UINT64_C(1) << 30)

struct cfs_uring_ring {
	struct cfs_uring_ring *next;
	struct io_uring uring;
};

/* Adjacent ios in one request, or one io through a bounce buffer. */
struct request {
	size_t first; /* io index */
	unsigned int io_count;
	unsigned int skip_bytes; /* of the bounce buffer */
	uint64_t offset_bytes;
	size_t length_bytes;
	size_t need_bytes;  /* fewer are a failure */
	struct iovec *iovs; /* as many as io_count */
	void *bounce;
	bool is_done;
};

struct batch {
	struct cfs_file_dev *file;
	struct cfs_uring_ring *ring;
	struct cfs_io *ios;
	unsigned int request_count;
	unsigned int queued;    /* in the ring, in order */
	unsigned int submitted; /* the kernel has them */
	unsigned int completed;
	bool is_broken; /* submit no more */
	struct request *requests;
	struct iovec *iovs;
};

/* ---------------------------------------------------------------- rings */

static int ring_new(struct cfs_file_dev *file, struct cfs_uring_ring **ret)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_CQSIZE | RING_QUIET,
		.cq_entries = RING_CQ_ENTRIES,
	};
	struct cfs_uring_ring *ring = malloc(sizeof(*ring));
	int r;

	if (!ring)
		return -ENOMEM;
	r = io_uring_queue_init_params(RING_ENTRIES, &ring->uring, &params);
	if (r == -EINVAL) { /* an older kernel */
		params = (struct io_uring_params){
			.flags = IORING_SETUP_CQSIZE,
			.cq_entries = RING_CQ_ENTRIES,
		};
		r = io_uring_queue_init_params(RING_ENTRIES, &ring->uring,
					       &params);
	}
	/* This feature came with the plain read and write requests. */
	if (r == 0 && !(params.features & IORING_FEAT_RW_CUR_POS)) {
		io_uring_queue_exit(&ring->uring);
		r = -ENOSYS;
	}
	if (r < 0) {
		free(ring);
		/* Memory and descriptors come back; a refusal stays. */
		if (r != -ENOMEM && r != -EMFILE && r != -ENFILE)
			cfs_file_refuse_uring(&file->dev);
		return r;
	}
	*ret = ring;
	return 0;
}

static int ring_get(struct cfs_file_dev *file, struct cfs_uring_ring **ret)
{
	bool is_refused;

	pthread_mutex_lock(&file->engine_mutex);
	is_refused = file->is_uring_refused;
	*ret = is_refused ? NULL : file->free_rings;
	if (*ret) {
		file->free_rings = (*ret)->next;
		file->free_ring_count--;
	}
	pthread_mutex_unlock(&file->engine_mutex);
	if (is_refused)
		return -ENOSYS;
	return *ret ? 0 : ring_new(file, ret);
}

static void ring_free(struct cfs_uring_ring *ring)
{
	io_uring_queue_exit(&ring->uring);
	free(ring);
}

static void ring_put(struct cfs_file_dev *file, struct cfs_uring_ring *ring)
{
	pthread_mutex_lock(&file->engine_mutex);
	if (file->free_ring_count < RINGS_KEPT) {
		ring->next = file->free_rings;
		file->free_rings = ring;
		file->free_ring_count++;
		ring = NULL;
	}
	pthread_mutex_unlock(&file->engine_mutex);
	if (ring)
		ring_free(ring);
}

void cfs_uring_done(struct cfs_file_dev *file)
{
	while (file->free_rings) {
		struct cfs_uring_ring *ring = file->free_rings;

		file->free_rings = ring->next;
		ring_free(ring);
	}
}

/* ------------------------------------------------------ making requests */

/* Can @io be appended to @request? */
static bool can_merge(const struct batch *batch, const struct request *request,
		      const struct cfs_io *io, size_t index)
{
	return !request->bounce &&
	       request->first + request->io_count == index &&
	       batch->ios[request->first].op == io->op &&
	       request->offset_bytes + request->length_bytes ==
		       io->offset_bytes &&
	       request->length_bytes + io->length_bytes <= MERGE_BYTES &&
	       request->io_count < MERGE_IOS;
}

/* Fill in a request with a buffer of ours; false: not possible. */
static bool make_bounce(const struct batch *batch, struct request *request,
			const struct cfs_io *io)
{
	uint64_t align = batch->file->align_bytes;
	uint64_t end = io->offset_bytes + io->length_bytes;
	uint64_t start = cfs_align_down(io->offset_bytes, align);

	if (io->length_bytes > CFS_FILE_BOUNCE_BYTES)
		return false;
	/* Part of a block needs a read first: a job for the plain calls. */
	if (io->op == CFS_IO_WRITE &&
	    ((io->offset_bytes | io->length_bytes) & (align - 1)))
		return false;
	request->offset_bytes = start;
	request->length_bytes = (size_t)(cfs_align_up(end, align) - start);
	request->bounce = cfs_dev_buf_alloc(request->length_bytes);
	if (!request->bounce)
		return false;
	request->skip_bytes = (unsigned int)(io->offset_bytes - start);
	request->need_bytes = request->skip_bytes + io->length_bytes;
	if (io->op == CFS_IO_WRITE)
		memcpy(request->bounce, io->buf, io->length_bytes);
	return true;
}

static void add_io(struct batch *batch, size_t index)
{
	struct cfs_file_dev *file = batch->file;
	struct cfs_io *io = &batch->ios[index];
	struct request *last =
		batch->request_count
			? &batch->requests[batch->request_count - 1]
			: NULL;
	struct request *request = &batch->requests[batch->request_count];
	bool is_straight = io->length_bytes <= REQUEST_BYTES &&
			   cfs_file_is_straight(file, io->offset_bytes, io->buf,
						io->length_bytes);

	if (is_straight && last && can_merge(batch, last, io, index)) {
		last->iovs[last->io_count++] = (struct iovec){
			.iov_base = io->buf,
			.iov_len = io->length_bytes,
		};
		last->length_bytes += io->length_bytes;
		last->need_bytes = last->length_bytes;
		return;
	}
	*request = (struct request){
		.first = index,
		.io_count = 1,
		.offset_bytes = io->offset_bytes,
		.length_bytes = io->length_bytes,
		.need_bytes = io->length_bytes,
		.iovs = &batch->iovs[index],
	};
	if (!is_straight && !make_bounce(batch, request, io)) {
		io->result = cfs_file_transfer(&file->dev, io->op,
					       io->offset_bytes, io->buf,
					       io->length_bytes);
		return;
	}
	request->iovs[0] = (struct iovec){
		.iov_base = request->bounce ? request->bounce : io->buf,
		.iov_len = request->length_bytes,
	};
	batch->request_count++;
}

/* ----------------------------------------------------- running requests */

static void prepare(struct batch *batch, struct io_uring_sqe *sqe,
		    unsigned int index)
{
	struct request *request = &batch->requests[index];
	const struct iovec *iovs = request->iovs;
	bool is_read = batch->ios[request->first].op == CFS_IO_READ;
	int fd = batch->file->fd;

	if (request->io_count > 1 && is_read)
		io_uring_prep_readv(sqe, fd, iovs, request->io_count,
				    request->offset_bytes);
	else if (request->io_count > 1)
		io_uring_prep_writev(sqe, fd, iovs, request->io_count,
				     request->offset_bytes);
	else if (is_read)
		io_uring_prep_read(sqe, fd, iovs->iov_base,
				   (unsigned int)iovs->iov_len,
				   request->offset_bytes);
	else
		io_uring_prep_write(sqe, fd, iovs->iov_base,
				    (unsigned int)iovs->iov_len,
				    request->offset_bytes);
	sqe->user_data = index;
}

/* Hand over what is queued.  False: the kernel takes no more just now. */
static bool submit(struct batch *batch)
{
	while (batch->submitted < batch->queued) {
		int r = io_uring_submit(&batch->ring->uring);

		if (r > 0) {
			batch->submitted += (unsigned int)r;
			continue;
		}
		if (r == -EINTR)
			continue;
		if (r != 0 && r != -EAGAIN && r != -EBUSY)
			batch->is_broken = true;
		return false;
	}
	return true;
}

/* Queue and hand over as many requests as may be in flight. */
static void feed(struct batch *batch)
{
	while (!batch->is_broken && batch->queued < batch->request_count &&
	       batch->queued - batch->completed < RING_CQ_ENTRIES) {
		struct io_uring_sqe *sqe;

		sqe = io_uring_get_sqe(&batch->ring->uring);
		if (!sqe) {
			if (!submit(batch))
				return;
			continue;
		}
		prepare(batch, sqe, batch->queued);
		batch->queued++;
	}
	if (!batch->is_broken)
		submit(batch);
}

static void complete(struct batch *batch, struct request *request, int result)
{
	const struct cfs_io *io = &batch->ios[request->first];
	unsigned int i;

	if (result < 0 || (size_t)result < request->need_bytes)
		return;
	if (request->bounce && io->op == CFS_IO_READ)
		memcpy(io->buf, (char *)request->bounce + request->skip_bytes,
		       io->length_bytes);
	for (i = 0; i < request->io_count; i++)
		batch->ios[request->first + i].result = 0;
	request->is_done = true;
}

static void reap(struct batch *batch)
{
	static const struct timespec nap = { .tv_nsec = 1000000 };
	const bool is_last = batch->queued == batch->request_count;
	struct io_uring *uring = &batch->ring->uring;
	struct io_uring_cqe *cqe;
	/* With nothing left to hand over, one wait for all. */
	int r = io_uring_wait_cqe_nr(
		uring, &cqe, is_last ? batch->submitted - batch->completed : 1);

	if (r < 0) {
		/* Still ours to wait for: the buffers are in use. */
		if (r != -EINTR)
			nanosleep(&nap, NULL);
		return;
	}
	do {
		complete(batch, &batch->requests[cqe->user_data], cqe->res);
		io_uring_cqe_seen(uring, cqe);
		batch->completed++;
	} while (batch->completed < batch->submitted &&
		 io_uring_peek_cqe(uring, &cqe) == 0);
}

/* By plain calls, one io at a time. */
static void redo(struct batch *batch, const struct request *request)
{
	unsigned int i;

	for (i = 0; i < request->io_count; i++) {
		struct cfs_io *io = &batch->ios[request->first + i];

		io->result = cfs_file_transfer(&batch->file->dev, io->op,
					       io->offset_bytes, io->buf,
					       io->length_bytes);
	}
}

void cfs_uring_wait(void *p)
{
	struct batch *batch = p;
	unsigned int i;

	for (;;) {
		feed(batch);
		if (batch->submitted > batch->completed)
			reap(batch);
		else if (batch->completed == batch->request_count)
			break;
		else
			batch->is_broken = true;
		if (batch->is_broken && batch->submitted == batch->completed)
			break;
	}
	/* A broken ring may still hold requests that must never run. */
	if (batch->is_broken)
		ring_free(batch->ring);
	else
		ring_put(batch->file, batch->ring);
	for (i = 0; i < batch->request_count; i++) {
		if (!batch->requests[i].is_done)
			redo(batch, &batch->requests[i]);
		free(batch->requests[i].bounce);
	}
	free(batch);
}

int cfs_uring_start(struct cfs_file_dev *file, struct cfs_io *ios, size_t count,
		    void **ret_batch)
{
	struct cfs_uring_ring *ring;
	struct batch *batch;
	size_t i;
	int r;

	if (count > UINT32_MAX / 2)
		return -EINVAL;
	r = ring_get(file, &ring);
	if (r < 0)
		return r;
	batch = malloc(sizeof(*batch) +
		       count * (sizeof(struct request) + sizeof(struct iovec)));
	if (!batch) {
		ring_put(file, ring);
		return -ENOMEM;
	}
	*batch = (struct batch){ .file = file, .ring = ring, .ios = ios };
	batch->requests = (struct request *)(batch + 1);
	batch->iovs = (struct iovec *)(batch->requests + count);
	for (i = 0; i < count; i++) {
		if (ios[i].result == CFS_IO_PENDING)
			add_io(batch, i);
	}
	feed(batch);
	*ret_batch = batch;
	return 0;
}
