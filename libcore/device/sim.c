/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Simulated devices and their record.
 *
 * What must stay true: the record is the order in which writes were applied,
 * and replaying all of it onto the base gives what a read sees (but for
 * damage).  Each event is complete before its call returns.
 */
#include "device/sim_priv.h"

#include "base/bits.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------- record */

static int record(struct cfs_sim *sim, const struct cfs_sim_event *event,
		  unsigned char *data)
{
	if (sim->event_count == sim->event_room) {
		size_t room = CFS_MAX(sim->event_room * 2, (size_t)256);
		struct sim_event *events;

		events = reallocarray(sim->events, room, sizeof(*events));
		if (!events)
			return -ENOMEM;
		sim->events = events;
		sim->event_room = room;
	}
	sim->events[sim->event_count++] = (struct sim_event){
		.event = *event,
		.data = data,
	};
	return 0;
}

int cfs_sim_put(struct cfs_sparse *sparse, uint64_t offset_bytes,
		uint64_t length_bytes, const unsigned char *data)
{
	if (!data)
		return cfs_sparse_zero(sparse, offset_bytes, length_bytes);
	return cfs_sparse_write(sparse, offset_bytes, data,
				(size_t)length_bytes);
}

int cfs_sim_land(struct cfs_sim *sim, struct sim_disk *disk,
		 uint64_t offset_bytes, uint64_t length_bytes,
		 const unsigned char *data)
{
	struct cfs_sim_event event = {
		.kind = CFS_SIM_WRITE,
		.device_index = disk->index,
		.offset_bytes = offset_bytes,
		.length_bytes = length_bytes,
	};
	unsigned char *copy = NULL;
	int r = -ENOMEM;

	if (data) {
		copy = malloc((size_t)length_bytes);
		if (!copy)
			return r;
		memcpy(copy, data, (size_t)length_bytes);
		r = cfs_sim_latent_clear(disk, offset_bytes, length_bytes);
		if (r < 0)
			goto out_free;
	}
	r = record(sim, &event, copy);
	if (r < 0)
		goto out_free;
	r = cfs_sim_put(&disk->now, offset_bytes, length_bytes, data);
	if (r == 0)
		return 0;
	sim->event_count--;
out_free:
	free(copy);
	return r;
}

void cfs_sim_forget(struct cfs_sim *sim)
{
	unsigned int i;
	size_t n;

	for (n = 0; n < sim->event_count; n++)
		free(sim->events[n].data);
	sim->event_count = 0;
	sim->durable_count = 0;
	for (i = 0; i < sim->disk_count; i++) {
		struct sim_disk *disk = sim->disks[i];

		cfs_sparse_done(&disk->durable);
		cfs_sparse_clone(&disk->base, &disk->durable);
		disk->durable_from = 0;
	}
}

void cfs_sim_rebase(struct cfs_sim *sim)
{
	unsigned int i;

	for (i = 0; i < sim->disk_count; i++) {
		struct sim_disk *disk = sim->disks[i];

		cfs_sparse_done(&disk->base);
		cfs_sparse_clone(&disk->now, &disk->base);
	}
	cfs_sim_forget(sim);
}

size_t cfs_sim_event_count(const struct cfs_sim *sim)
{
	struct cfs_sim *s = cfs_sim_mutable(sim);
	size_t count;

	pthread_mutex_lock(&s->mutex);
	count = s->event_count;
	pthread_mutex_unlock(&s->mutex);
	return count;
}

struct cfs_sim_event cfs_sim_event(const struct cfs_sim *sim, size_t index)
{
	struct cfs_sim *s = cfs_sim_mutable(sim);
	struct cfs_sim_event event;

	pthread_mutex_lock(&s->mutex);
	assert(index < s->event_count);
	event = s->events[index].event;
	pthread_mutex_unlock(&s->mutex);
	return event;
}

void cfs_sim_mark(struct cfs_sim *sim, uint64_t mark)
{
	struct cfs_sim_event event = { .kind = CFS_SIM_MARK, .mark = mark };

	pthread_mutex_lock(&sim->mutex);
	/* A test that loses a mark would prove nothing: better stop. */
	if (record(sim, &event, NULL) < 0)
		abort();
	pthread_mutex_unlock(&sim->mutex);
}

void cfs_sim_checkpoint(struct cfs_sim *sim)
{
	pthread_mutex_lock(&sim->mutex);
	cfs_sim_rebase(sim);
	pthread_mutex_unlock(&sim->mutex);
}

/* --------------------------------------------------------------- device */

/* A write that fails half way: some of its sectors are on the device. */
static void land_part(struct sim_dev *sim_dev, uint64_t offset_bytes,
		      size_t length_bytes, const unsigned char *data)
{
	struct cfs_sim *sim = sim_dev->sim;
	struct sim_tear tear;
	struct sim_range run;

	cfs_sim_tear_init(&tear, cfs_sim_mix(sim->call_count), offset_bytes,
			  length_bytes);
	while (cfs_sim_tear_next(&tear, &run)) {
		if (cfs_sim_land(sim, sim_dev->disk, run.start,
				 run.end - run.start,
				 data + (run.start - offset_bytes)) < 0)
			return;
	}
}

static int transfer(struct sim_dev *sim_dev, enum cfs_io_op op,
		    uint64_t offset_bytes, void *buf, size_t length_bytes)
{
	struct sim_disk *disk = sim_dev->disk;
	bool is_partial;
	int r = cfs_sim_fault_check(sim_dev->sim, &is_partial);

	if (!cfs_range_fits(offset_bytes, length_bytes, disk->size_bytes))
		return -EIO; /* cut through another handle */
	if (r < 0) {
		if (op == CFS_IO_WRITE && is_partial && !sim_dev->is_holding)
			land_part(sim_dev, offset_bytes, length_bytes, buf);
		return r;
	}
	if (op == CFS_IO_WRITE && sim_dev->is_holding)
		return cfs_sim_hold_add(sim_dev, offset_bytes, length_bytes,
					buf);
	if (op == CFS_IO_WRITE)
		return cfs_sim_land(sim_dev->sim, disk, offset_bytes,
				    length_bytes, buf);
	if (cfs_sim_latent_hit(disk, offset_bytes, length_bytes))
		return -EIO;
	cfs_sparse_read(&disk->now, offset_bytes, buf, length_bytes);
	if (sim_dev->is_holding)
		cfs_sim_hold_overlay(sim_dev, offset_bytes, buf, length_bytes);
	return 0;
}

static int sim_transfer(struct cfs_dev *dev, enum cfs_io_op op,
			uint64_t offset_bytes, void *buf, size_t length_bytes)
{
	struct sim_dev *sim_dev = cfs_sim_dev_of(dev);
	int r;

	pthread_mutex_lock(&sim_dev->sim->mutex);
	r = transfer(sim_dev, op, offset_bytes, buf, length_bytes);
	pthread_mutex_unlock(&sim_dev->sim->mutex);
	return r;
}

static int sim_flush(struct cfs_dev *dev)
{
	struct sim_dev *sim_dev = cfs_sim_dev_of(dev);
	struct cfs_sim_event event = {
		.kind = CFS_SIM_FLUSH,
		.device_index = sim_dev->disk->index,
	};
	bool is_partial;
	int r;

	pthread_mutex_lock(&sim_dev->sim->mutex);
	r = cfs_sim_fault_check(sim_dev->sim, &is_partial);
	if (r == 0)
		r = record(sim_dev->sim, &event, NULL);
	pthread_mutex_unlock(&sim_dev->sim->mutex);
	return r;
}

static int sim_discard(struct cfs_dev *dev, uint64_t offset_bytes,
		       uint64_t length_bytes)
{
	struct sim_dev *sim_dev = cfs_sim_dev_of(dev);
	struct sim_disk *disk = sim_dev->disk;
	bool is_partial;
	int r;

	pthread_mutex_lock(&sim_dev->sim->mutex);
	r = cfs_sim_fault_check(sim_dev->sim, &is_partial);
	if (!cfs_range_fits(offset_bytes, length_bytes, disk->size_bytes))
		r = -EIO;
	else if (r == 0 && sim_dev->is_holding)
		r = cfs_sim_hold_add(sim_dev, offset_bytes, length_bytes, NULL);
	else if (r == 0)
		r = cfs_sim_land(sim_dev->sim, disk, offset_bytes, length_bytes,
				 NULL);
	pthread_mutex_unlock(&sim_dev->sim->mutex);
	return r;
}

static int sim_resize(struct cfs_dev *dev, uint64_t size_bytes)
{
	struct sim_dev *sim_dev = cfs_sim_dev_of(dev);
	struct sim_disk *disk = sim_dev->disk;
	int r = 0;

	pthread_mutex_lock(&sim_dev->sim->mutex);
	if (size_bytes < disk->size_bytes)
		r = cfs_sim_land(sim_dev->sim, disk, size_bytes,
				 disk->size_bytes - size_bytes, NULL);
	if (r == 0) {
		disk->size_bytes = size_bytes;
		disk->size_max_bytes = CFS_MAX(disk->size_max_bytes,
					       size_bytes);
	}
	pthread_mutex_unlock(&sim_dev->sim->mutex);
	return r;
}

static int set_lock(struct cfs_dev *dev, enum cfs_dev_lock_mode want)
{
	struct sim_dev *sim_dev = cfs_sim_dev_of(dev);
	int r;

	pthread_mutex_lock(&sim_dev->sim->mutex);
	r = cfs_dev_lockbox_set(&sim_dev->disk->lockbox, &sim_dev->lock_mode,
				want);
	pthread_mutex_unlock(&sim_dev->sim->mutex);
	return r;
}

static int sim_lock(struct cfs_dev *dev, bool exclusive)
{
	return set_lock(dev, exclusive ? CFS_DEV_EXCLUSIVE : CFS_DEV_SHARED);
}

static void sim_unlock(struct cfs_dev *dev)
{
	set_lock(dev, CFS_DEV_UNLOCKED);
}

static bool sim_is_same(const struct cfs_dev *a, const struct cfs_dev *b)
{
	return cfs_sim_dev_of(a)->disk == cfs_sim_dev_of(b)->disk;
}

static void sim_close(struct cfs_dev *dev)
{
	struct sim_dev *sim_dev = cfs_sim_dev_of(dev);

	sim_unlock(dev);
	pthread_mutex_lock(&sim_dev->sim->mutex);
	cfs_sim_hold_drop(sim_dev);
	sim_dev->sim->handle_count--;
	pthread_mutex_unlock(&sim_dev->sim->mutex);
	free(sim_dev);
}

static const struct cfs_dev_ops sim_ops = {
	.transfer = sim_transfer,
	.flush = sim_flush,
	.discard = sim_discard,
	.resize = sim_resize,
	.lock = sim_lock,
	.unlock = sim_unlock,
	.is_same = sim_is_same,
	.close = sim_close,
};

/* ------------------------------------------------------- worlds, opening */

int cfs_sim_new(struct cfs_sim **ret, struct cfs_err *err)
{
	struct cfs_sim *sim = calloc(1, sizeof(*sim));

	if (!sim)
		return cfs_err_errno(err, -ENOMEM, "simulation");
	pthread_mutex_init(&sim->mutex, NULL);
	*ret = sim;
	return 0;
}

static void disk_free(struct sim_disk *disk)
{
	cfs_sparse_done(&disk->now);
	cfs_sparse_done(&disk->base);
	cfs_sparse_done(&disk->durable);
	free(disk->latent);
	free(disk);
}

void cfs_sim_free(struct cfs_sim *sim)
{
	unsigned int i;

	if (!sim)
		return;
	assert(sim->handle_count == 0);
	cfs_sim_forget(sim);
	for (i = 0; i < sim->disk_count; i++)
		disk_free(sim->disks[i]);
	free(sim->disks);
	free(sim->events);
	pthread_mutex_destroy(&sim->mutex);
	free(sim);
}

void cfs_sim_freep(struct cfs_sim **sim)
{
	cfs_sim_free(*sim);
}

/* The mutex is held. */
static int handle_new(struct cfs_sim *sim, struct sim_disk *disk,
		      struct cfs_dev **ret)
{
	struct sim_dev *sim_dev = calloc(1, sizeof(*sim_dev));

	if (!sim_dev)
		return -ENOMEM;
	if (asprintf(&sim_dev->dev.name, "simulated-%u", disk->index) < 0) {
		free(sim_dev);
		return -ENOMEM;
	}
	sim_dev->dev.ops = &sim_ops;
	sim_dev->dev.kind = CFS_DEV_SIM;
	sim_dev->dev.is_writable = true;
	sim_dev->dev.size_bytes = disk->size_bytes;
	sim_dev->sim = sim;
	sim_dev->disk = disk;
	sim->handle_count++;
	*ret = &sim_dev->dev;
	return 0;
}

/* The mutex is held. */
static int disk_new(struct cfs_sim *sim, uint64_t size_bytes,
		    struct sim_disk **ret)
{
	struct sim_disk **disks;
	struct sim_disk *disk;

	disks = reallocarray(sim->disks, sim->disk_count + 1, sizeof(*disks));
	if (!disks)
		return -ENOMEM;
	sim->disks = disks;
	disk = calloc(1, sizeof(*disk));
	if (!disk)
		return -ENOMEM;
	disk->index = sim->disk_count;
	disk->size_bytes = size_bytes;
	disk->size_max_bytes = size_bytes;
	disks[sim->disk_count++] = disk;
	*ret = disk;
	return 0;
}

int cfs_sim_dev_new(struct cfs_sim *sim, uint64_t size_bytes,
		    struct cfs_dev **ret, struct cfs_err *err)
{
	struct sim_disk *disk;
	int r;

	pthread_mutex_lock(&sim->mutex);
	r = disk_new(sim, size_bytes, &disk);
	if (r == 0) {
		r = handle_new(sim, disk, ret);
		if (r < 0) {
			sim->disk_count--;
			disk_free(disk);
		}
	}
	pthread_mutex_unlock(&sim->mutex);
	if (r < 0)
		return cfs_err_errno(err, r, "simulated device");
	return 0;
}

int cfs_sim_dev_open(struct cfs_sim *sim, unsigned int device_index,
		     struct cfs_dev **ret, struct cfs_err *err)
{
	int r = -ENOENT;

	pthread_mutex_lock(&sim->mutex);
	if (device_index < sim->disk_count)
		r = handle_new(sim, sim->disks[device_index], ret);
	pthread_mutex_unlock(&sim->mutex);
	if (r < 0)
		return cfs_err_errno(err, r, "simulated device %u",
				     device_index);
	return 0;
}

int cfs_sim_dev_reopen(struct cfs_dev *dev, struct cfs_dev **ret,
		       struct cfs_err *err)
{
	assert(dev->kind == CFS_DEV_SIM);
	return cfs_sim_dev_open(cfs_sim_dev_of(dev)->sim,
				cfs_sim_dev_of(dev)->disk->index, ret, err);
}
