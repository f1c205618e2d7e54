/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Batches by threads, where io_uring is refused (containers often do).  The
 * one who waits helps with its own batch, so a batch ends even if no thread
 * could be made.
 *
 * What must stay true: batch->next_index and batch->left are changed under the
 * mutex; an io belongs to whoever took its index.
 */
#include "device/file_priv.h"

#include <stdlib.h>

#define WORKER_COUNT 4u

struct batch {
	struct batch *next; /* in the queue */
	struct cfs_file_dev *file;
	struct cfs_io *ios;
	size_t count;
	size_t next_index;
	size_t left; /* not yet done */
};

struct cfs_workers {
	pthread_mutex_t mutex;
	pthread_cond_t has_work;
	pthread_cond_t has_done;
	struct batch *head;
	struct batch *tail;
	pthread_t threads[WORKER_COUNT];
	unsigned int thread_count;
	bool is_stopping;
};

/* The next io of @batch that nobody has taken; the mutex is held. */
static struct cfs_io *take(struct batch *batch)
{
	while (batch->next_index < batch->count) {
		struct cfs_io *io = &batch->ios[batch->next_index++];

		if (io->result == CFS_IO_PENDING)
			return io;
	}
	return NULL;
}

/* Take @batch out of the queue, if it is there; the mutex is held. */
static void dequeue(struct cfs_workers *workers, struct batch *batch)
{
	struct batch **link = &workers->head;
	struct batch *before = NULL;

	while (*link && *link != batch) {
		before = *link;
		link = &before->next;
	}
	if (!*link)
		return;
	*link = batch->next;
	if (workers->tail == batch)
		workers->tail = before;
}

/* Do one io of @batch; the mutex is held on entry and on return. */
static void run(struct cfs_workers *workers, struct batch *batch,
		struct cfs_io *io)
{
	int r;

	pthread_mutex_unlock(&workers->mutex);
	r = cfs_file_transfer(&batch->file->dev, io->op, io->offset_bytes,
			      io->buf, io->length_bytes);
	pthread_mutex_lock(&workers->mutex);
	io->result = r;
	if (--batch->left == 0)
		pthread_cond_broadcast(&workers->has_done);
}

static void *work(void *arg)
{
	struct cfs_workers *workers = arg;

	pthread_mutex_lock(&workers->mutex);
	while (!workers->is_stopping) {
		struct batch *batch = workers->head;
		struct cfs_io *io;

		if (!batch) {
			pthread_cond_wait(&workers->has_work, &workers->mutex);
			continue;
		}
		io = take(batch);
		if (io)
			run(workers, batch, io);
		else
			dequeue(workers, batch);
	}
	pthread_mutex_unlock(&workers->mutex);
	return NULL;
}

static struct cfs_workers *workers_new(void)
{
	struct cfs_workers *workers = calloc(1, sizeof(*workers));
	unsigned int i;

	if (!workers)
		return NULL;
	pthread_mutex_init(&workers->mutex, NULL);
	pthread_cond_init(&workers->has_work, NULL);
	pthread_cond_init(&workers->has_done, NULL);
	for (i = 0; i < WORKER_COUNT; i++) {
		if (pthread_create(&workers->threads[i], NULL, work, workers))
			break;
		workers->thread_count++;
	}
	return workers;
}

int cfs_workers_start(struct cfs_file_dev *file, struct cfs_io *ios,
		      size_t count, void **ret_batch)
{
	struct cfs_workers *workers;
	struct batch *batch = malloc(sizeof(*batch));
	size_t i;

	if (!batch)
		return -ENOMEM;
	pthread_mutex_lock(&file->engine_mutex);
	if (!file->workers)
		file->workers = workers_new();
	workers = file->workers;
	pthread_mutex_unlock(&file->engine_mutex);
	if (!workers) {
		free(batch);
		return -ENOMEM;
	}
	*batch = (struct batch){ .file = file, .ios = ios, .count = count };
	for (i = 0; i < count; i++)
		batch->left += ios[i].result == CFS_IO_PENDING;
	pthread_mutex_lock(&workers->mutex);
	if (workers->tail)
		workers->tail->next = batch;
	else
		workers->head = batch;
	workers->tail = batch;
	pthread_cond_broadcast(&workers->has_work);
	pthread_mutex_unlock(&workers->mutex);
	*ret_batch = batch;
	return 0;
}

void cfs_workers_wait(void *p)
{
	struct batch *batch = p;
	struct cfs_workers *workers = batch->file->workers;
	struct cfs_io *io;

	pthread_mutex_lock(&workers->mutex);
	while ((io = take(batch)) != NULL)
		run(workers, batch, io);
	while (batch->left)
		pthread_cond_wait(&workers->has_done, &workers->mutex);
	dequeue(workers, batch);
	pthread_mutex_unlock(&workers->mutex);
	free(batch);
}

void cfs_workers_done(struct cfs_file_dev *file)
{
	struct cfs_workers *workers = file->workers;
	unsigned int i;

	if (!workers)
		return;
	pthread_mutex_lock(&workers->mutex);
	workers->is_stopping = true;
	pthread_cond_broadcast(&workers->has_work);
	pthread_mutex_unlock(&workers->mutex);
	for (i = 0; i < workers->thread_count; i++)
		pthread_join(workers->threads[i], NULL);
	pthread_mutex_destroy(&workers->mutex);
	pthread_cond_destroy(&workers->has_work);
	pthread_cond_destroy(&workers->has_done);
	free(workers);
	file->workers = NULL;
}
