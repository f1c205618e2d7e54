/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a crash leaves.  An image is the durable state, shared copy-on-write,
 * plus those of the writes behind the last flush that luck let survive.
 *
 * What must stay true: a device's durable tree holds the base and exactly the
 * writes that a flush among the first durable_count events covers, so that a
 * walk over all crash points replays each write once.
 */
#include "device/sim_priv.h"

#include "base/bits.h"

#include <assert.h>
#include <stdlib.h>

/* A large write is torn into at most this many parts, to bound the work. */
#define TEAR_UNITS 4096u

uint64_t cfs_sim_mix(uint64_t value)
{
	value += UINT64_C(0x9e3779b97f4a7c15);
	value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
	return value ^ (value >> 31);
}

void cfs_sim_tear_init(struct sim_tear *tear, uint64_t key,
		       uint64_t offset_bytes, uint64_t length_bytes)
{
	*tear = (struct sim_tear){
		.state = key,
		.at = offset_bytes,
		.end = offset_bytes + length_bytes,
		.unit_bytes = CFS_SIM_SECTOR_BYTES,
		/* Now and then nearly all or nearly nothing survives. */
		.chance = (unsigned int)(1 + 3 * (key % 3)),
	};
	while (length_bytes / tear->unit_bytes > TEAR_UNITS)
		tear->unit_bytes *= 2;
}

/* Consume the unit at tear->at; does it survive? */
static bool tear_unit(struct sim_tear *tear)
{
	tear->state = cfs_sim_mix(tear->state);
	tear->at = CFS_MIN(cfs_align_down(tear->at, tear->unit_bytes) +
				   tear->unit_bytes,
			   tear->end);
	return tear->state % 8 < tear->chance;
}

bool cfs_sim_tear_next(struct sim_tear *tear, struct sim_range *ret)
{
	while (tear->at < tear->end) {
		uint64_t start = tear->at;
		uint64_t end = start;

		while (tear->at < tear->end && tear_unit(tear))
			end = tear->at;
		if (end > start) {
			*ret = (struct sim_range){ .start = start, .end = end };
			return true;
		}
	}
	return false;
}

/* --------------------------------------------------------- durable state */

static void durable_reset(struct cfs_sim *sim)
{
	unsigned int i;

	for (i = 0; i < sim->disk_count; i++) {
		struct sim_disk *disk = sim->disks[i];

		cfs_sparse_done(&disk->durable);
		cfs_sparse_clone(&disk->base, &disk->durable);
		disk->durable_from = 0;
	}
	sim->durable_count = 0;
}

static int durable_flush(struct cfs_sim *sim, struct sim_disk *disk, size_t end)
{
	size_t i;

	for (i = disk->durable_from; i < end; i++) {
		const struct sim_event *e = &sim->events[i];
		int r;

		if (e->event.kind != CFS_SIM_WRITE ||
		    e->event.device_index != disk->index)
			continue;
		r = cfs_sim_put(&disk->durable, e->event.offset_bytes,
				e->event.length_bytes, e->data);
		if (r < 0)
			return r;
	}
	disk->durable_from = end;
	return 0;
}

/* Bring the durable state to @event_count; -ENOMEM leaves it at the base. */
static int durable_seek(struct cfs_sim *sim, size_t event_count)
{
	assert(event_count <= sim->event_count);
	if (event_count < sim->durable_count)
		durable_reset(sim);
	for (; sim->durable_count < event_count; sim->durable_count++) {
		const struct cfs_sim_event *event =
			&sim->events[sim->durable_count].event;
		int r;

		if (event->kind != CFS_SIM_FLUSH)
			continue;
		r = durable_flush(sim, sim->disks[event->device_index],
				  sim->durable_count + 1);
		if (r < 0) {
			durable_reset(sim);
			return r;
		}
	}
	return 0;
}

/*
 * The next unflushed write at or behind @index, among the first
 * durable_count events; durable_count: there is none.
 */
static size_t unflushed_next(const struct cfs_sim *sim, size_t index)
{
	for (; index < sim->durable_count; index++) {
		const struct cfs_sim_event *event = &sim->events[index].event;

		if (event->kind == CFS_SIM_WRITE &&
		    index >= sim->disks[event->device_index]->durable_from)
			break;
	}
	return index;
}

static size_t unflushed_first(const struct cfs_sim *sim)
{
	size_t from = sim->durable_count;
	unsigned int i;

	for (i = 0; i < sim->disk_count; i++)
		from = CFS_MIN(from, sim->disks[i]->durable_from);
	return unflushed_next(sim, from);
}

size_t cfs_sim_unflushed_count(const struct cfs_sim *sim, size_t event_count)
{
	struct cfs_sim *s = cfs_sim_mutable(sim);
	size_t count = 0;
	size_t i;

	pthread_mutex_lock(&s->mutex);
	/* Without memory there is no answer, and a wrong one would mislead. */
	if (durable_seek(s, event_count) < 0)
		abort();
	for (i = unflushed_first(s); i < event_count;
	     i = unflushed_next(s, i + 1))
		count++;
	pthread_mutex_unlock(&s->mutex);
	return count;
}

/* ---------------------------------------------------------------- images */

/* Write what survives of event @index, the @nth unflushed one. */
static int survive(const struct cfs_sim *sim, const struct cfs_sim_crash *crash,
		   size_t index, size_t nth, struct cfs_sparse *image)
{
	const struct sim_event *e = &sim->events[index];
	uint64_t offset_bytes = e->event.offset_bytes;
	uint64_t length_bytes = e->event.length_bytes;
	uint64_t key = cfs_sim_mix(crash->seed ^ cfs_sim_mix(index));
	struct sim_tear tear;
	struct sim_range run;
	int r = 0;

	if (crash->use_mask ? nth >= 64 || !(crash->mask >> nth & 1)
			    : crash->seed == 0)
		return 0;
	if (!crash->use_mask && crash->seed != UINT64_MAX) {
		if (key % 3 == 0)
			return 0;
		if (key % 3 == 1) {
			cfs_sim_tear_init(&tear, cfs_sim_mix(key), offset_bytes,
					  length_bytes);
			while (r == 0 && cfs_sim_tear_next(&tear, &run))
				r = cfs_sim_put(
					image, run.start, run.end - run.start,
					e->data ? e->data + (run.start -
							     offset_bytes)
						: NULL);
			return r;
		}
	}
	return cfs_sim_put(image, offset_bytes, length_bytes, e->data);
}

/* @ret: a tree of the caller's, on success only.  The mutex is held. */
static int make_image(struct cfs_sim *sim, const struct cfs_sim_crash *crash,
		      const struct sim_disk *disk, struct cfs_sparse *ret)
{
	struct cfs_sparse image;
	size_t nth = 0;
	size_t i;
	int r = durable_seek(sim, crash->event_count);

	if (r < 0)
		return r;
	cfs_sparse_clone(&disk->durable, &image);
	for (i = unflushed_first(sim); r == 0 && i < crash->event_count;
	     i = unflushed_next(sim, i + 1)) {
		if (sim->events[i].event.device_index == disk->index)
			r = survive(sim, crash, i, nth, &image);
		nth++;
	}
	/* What a cut has not zeroed yet must not come back by growing. */
	if (r == 0 && disk->size_max_bytes > disk->size_bytes)
		r = cfs_sparse_zero(&image, disk->size_bytes,
				    disk->size_max_bytes - disk->size_bytes);
	if (r < 0) {
		cfs_sparse_done(&image);
		return r;
	}
	*ret = image;
	return 0;
}

int cfs_sim_crash_image(const struct cfs_sim *sim,
			const struct cfs_sim_crash *crash,
			unsigned int device_index, struct cfs_dev **ret,
			struct cfs_err *err)
{
	struct cfs_sim *s = cfs_sim_mutable(sim);
	struct cfs_sparse image;
	uint64_t size_bytes = 0;
	int r;

	pthread_mutex_lock(&s->mutex);
	assert(device_index < s->disk_count);
	size_bytes = s->disks[device_index]->size_bytes;
	r = make_image(s, crash, s->disks[device_index], &image);
	pthread_mutex_unlock(&s->mutex);
	if (r == 0) {
		r = cfs_dev_mem_new_from(&image, size_bytes, ret);
		cfs_sparse_done(&image);
	}
	if (r < 0)
		return cfs_err_errno(err, r, "crash image");
	return 0;
}

/* Disk @index of a new simulation, with @image for its base; takes @image. */
static int fork_disk(struct cfs_sim *to, unsigned int index,
		     uint64_t size_bytes, struct cfs_sparse *image)
{
	struct cfs_dev *dev;
	int r = cfs_sim_dev_new(to, size_bytes, &dev, NULL);

	if (r < 0) {
		cfs_sparse_done(image);
		return r;
	}
	cfs_dev_close(dev);
	pthread_mutex_lock(&to->mutex);
	cfs_sparse_done(&to->disks[index]->now);
	to->disks[index]->now = *image;
	cfs_sim_rebase(to);
	pthread_mutex_unlock(&to->mutex);
	return 0;
}

int cfs_sim_fork(const struct cfs_sim *sim, const struct cfs_sim_crash *crash,
		 struct cfs_sim **ret, struct cfs_err *err)
{
	struct cfs_sim *s = cfs_sim_mutable(sim);
	struct cfs_sim *to;
	unsigned int i;
	int r = cfs_sim_new(&to, err);

	for (i = 0; r == 0 && i < s->disk_count; i++) {
		struct cfs_sparse image;
		uint64_t size_bytes;

		pthread_mutex_lock(&s->mutex);
		size_bytes = s->disks[i]->size_bytes;
		r = make_image(s, crash, s->disks[i], &image);
		pthread_mutex_unlock(&s->mutex);
		if (r == 0)
			r = fork_disk(to, i, size_bytes, &image);
		if (r < 0) {
			cfs_sim_free(to);
			return cfs_err_errno(err, r, "fork");
		}
	}
	if (r == 0)
		*ret = to;
	return r;
}

int cfs_sim_power_cut(struct cfs_sim *sim, uint64_t seed, struct cfs_err *err)
{
	struct cfs_sim_crash crash = { .seed = seed };
	struct cfs_sparse *images;
	unsigned int i;
	int r = 0;

	pthread_mutex_lock(&sim->mutex);
	crash.event_count = sim->event_count;
	images = calloc(sim->disk_count + 1, sizeof(*images));
	if (!images)
		r = -ENOMEM;
	/* All or nothing: no device changes before each has its image. */
	for (i = 0; r == 0 && i < sim->disk_count; i++)
		r = make_image(sim, &crash, sim->disks[i], &images[i]);
	for (i = 0; images && i < sim->disk_count; i++) {
		struct cfs_sparse *loser = r == 0 ? &sim->disks[i]->now
						  : &images[i];

		cfs_sparse_done(loser);
		if (r == 0)
			sim->disks[i]->now = images[i];
	}
	if (r == 0)
		cfs_sim_rebase(sim);
	pthread_mutex_unlock(&sim->mutex);
	free(images);
	if (r < 0)
		return cfs_err_errno(err, r, "power cut");
	return 0;
}
