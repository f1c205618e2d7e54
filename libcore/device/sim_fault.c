/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What goes wrong with simulated devices: calls that fail, writes that come
 * late, bits that flip, sectors that cannot be read.  None of it is in the
 * record, but for writes when they land.
 */
#include "device/sim_priv.h"

#include "base/bits.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------- failed calls */

void cfs_sim_fault_arm(struct cfs_sim *sim, const struct cfs_sim_fault *fault)
{
	assert(fault->code < 0);
	pthread_mutex_lock(&sim->mutex);
	sim->fault = *fault;
	sim->is_armed = true;
	sim->was_hit = false;
	sim->call_count = 0;
	pthread_mutex_unlock(&sim->mutex);
}

void cfs_sim_fault_disarm(struct cfs_sim *sim)
{
	pthread_mutex_lock(&sim->mutex);
	sim->is_armed = false;
	pthread_mutex_unlock(&sim->mutex);
}

uint64_t cfs_sim_call_count(const struct cfs_sim *sim)
{
	struct cfs_sim *s = cfs_sim_mutable(sim);
	uint64_t count;

	pthread_mutex_lock(&s->mutex);
	count = s->call_count;
	pthread_mutex_unlock(&s->mutex);
	return count;
}

bool cfs_sim_fault_was_hit(const struct cfs_sim *sim)
{
	struct cfs_sim *s = cfs_sim_mutable(sim);
	bool was_hit;

	pthread_mutex_lock(&s->mutex);
	was_hit = s->was_hit;
	pthread_mutex_unlock(&s->mutex);
	return was_hit;
}

int cfs_sim_fault_check(struct cfs_sim *sim, bool *ret_is_partial)
{
	uint64_t index = sim->call_count++;
	const struct cfs_sim_fault *fault = &sim->fault;

	*ret_is_partial = false;
	if (!sim->is_armed || index < fault->call_index ||
	    (index > fault->call_index && !fault->is_sticky))
		return 0;
	sim->was_hit = true;
	*ret_is_partial = fault->is_partial;
	return fault->code;
}

/* ---------------------------------------------------------- held writes */

int cfs_sim_hold_add(struct sim_dev *sim_dev, uint64_t offset_bytes,
		     uint64_t length_bytes, const unsigned char *data)
{
	struct sim_held *held;
	unsigned char *copy = NULL;

	held = reallocarray(sim_dev->held, sim_dev->held_count + 1,
			    sizeof(*held));
	if (!held)
		return -ENOMEM;
	sim_dev->held = held;
	if (data) {
		copy = malloc((size_t)length_bytes);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, data, (size_t)length_bytes);
	}
	held[sim_dev->held_count++] = (struct sim_held){
		.offset_bytes = offset_bytes,
		.length_bytes = length_bytes,
		.data = copy,
	};
	return 0;
}

void cfs_sim_hold_overlay(const struct sim_dev *sim_dev, uint64_t offset_bytes,
			  void *buf, size_t length_bytes)
{
	size_t i;

	for (i = 0; i < sim_dev->held_count; i++) {
		const struct sim_held *held = &sim_dev->held[i];
		uint64_t start = CFS_MAX(offset_bytes, held->offset_bytes);
		uint64_t end = CFS_MIN(offset_bytes + length_bytes,
				       held->offset_bytes + held->length_bytes);
		char *to;

		if (start >= end)
			continue;
		to = (char *)buf + (start - offset_bytes);
		if (held->data)
			memcpy(to, held->data + (start - held->offset_bytes),
			       (size_t)(end - start));
		else
			memset(to, 0, (size_t)(end - start));
	}
}

void cfs_sim_hold_drop(struct sim_dev *sim_dev)
{
	size_t i;

	for (i = 0; i < sim_dev->held_count; i++)
		free(sim_dev->held[i].data);
	free(sim_dev->held);
	sim_dev->held = NULL;
	sim_dev->held_count = 0;
}

void cfs_sim_hold(struct cfs_dev *dev, bool on)
{
	struct sim_dev *sim_dev = cfs_sim_dev_of(dev);

	assert(dev->kind == CFS_DEV_SIM);
	pthread_mutex_lock(&sim_dev->sim->mutex);
	sim_dev->is_holding = on;
	pthread_mutex_unlock(&sim_dev->sim->mutex);
}

size_t cfs_sim_held_count(const struct cfs_dev *dev)
{
	struct sim_dev *sim_dev = cfs_sim_dev_of(dev);
	size_t count;

	assert(dev->kind == CFS_DEV_SIM);
	pthread_mutex_lock(&sim_dev->sim->mutex);
	count = sim_dev->held_count;
	pthread_mutex_unlock(&sim_dev->sim->mutex);
	return count;
}

int cfs_sim_release(struct cfs_dev *dev, size_t count, struct cfs_err *err)
{
	struct sim_dev *sim_dev = cfs_sim_dev_of(dev);
	struct sim_disk *disk = sim_dev->disk;
	size_t i;
	int r = 0;

	assert(dev->kind == CFS_DEV_SIM);
	pthread_mutex_lock(&sim_dev->sim->mutex);
	count = CFS_MIN(count, sim_dev->held_count);
	for (i = 0; i < count; i++) {
		struct sim_held *held = &sim_dev->held[i];

		/* The device may have been cut meanwhile: it refuses. */
		if (cfs_range_fits(held->offset_bytes, held->length_bytes,
				   disk->size_bytes))
			r = cfs_sim_land(sim_dev->sim, disk, held->offset_bytes,
					 held->length_bytes, held->data);
		if (r < 0)
			break;
		free(held->data);
	}
	sim_dev->held_count -= i;
	if (sim_dev->held_count)
		memmove(sim_dev->held, sim_dev->held + i,
			sim_dev->held_count * sizeof(*sim_dev->held));
	pthread_mutex_unlock(&sim_dev->sim->mutex);
	if (r < 0)
		return cfs_err_errno(err, r, "%s: release", dev->name);
	return 0;
}

/* --------------------------------------------------------------- damage */

static int outside(const struct cfs_dev *dev, struct cfs_err *err)
{
	return cfs_err_set(err, -EINVAL, "%s: damage beyond the end",
			   dev->name);
}

int cfs_sim_overwrite(struct cfs_dev *dev, uint64_t offset_bytes,
		      const void *buf, size_t length_bytes, struct cfs_err *err)
{
	struct sim_dev *sim_dev = cfs_sim_dev_of(dev);
	int r;

	assert(dev->kind == CFS_DEV_SIM);
	if (!cfs_range_fits(offset_bytes, length_bytes,
			    cfs_dev_size_bytes(dev)))
		return outside(dev, err);
	pthread_mutex_lock(&sim_dev->sim->mutex);
	r = cfs_sparse_write(&sim_dev->disk->now, offset_bytes, buf,
			     length_bytes);
	pthread_mutex_unlock(&sim_dev->sim->mutex);
	if (r < 0)
		return cfs_err_errno(err, r, "%s: damage", dev->name);
	return 0;
}

int cfs_sim_flip_bit(struct cfs_dev *dev, uint64_t bit_index,
		     struct cfs_err *err)
{
	struct sim_dev *sim_dev = cfs_sim_dev_of(dev);
	unsigned char byte;
	int r;

	assert(dev->kind == CFS_DEV_SIM);
	if (bit_index / 8 >= cfs_dev_size_bytes(dev))
		return outside(dev, err);
	pthread_mutex_lock(&sim_dev->sim->mutex);
	cfs_sparse_read(&sim_dev->disk->now, bit_index / 8, &byte, 1);
	byte = (unsigned char)(byte ^ (1u << (bit_index % 8)));
	r = cfs_sparse_write(&sim_dev->disk->now, bit_index / 8, &byte, 1);
	pthread_mutex_unlock(&sim_dev->sim->mutex);
	if (r < 0)
		return cfs_err_errno(err, r, "%s: damage", dev->name);
	return 0;
}

/* -------------------------------------------------------- latent errors */

bool cfs_sim_latent_hit(const struct sim_disk *disk, uint64_t offset_bytes,
			uint64_t length_bytes)
{
	size_t i;

	for (i = 0; i < disk->latent_count; i++) {
		if (disk->latent[i].start < offset_bytes + length_bytes &&
		    offset_bytes < disk->latent[i].end)
			return true;
	}
	return false;
}

int cfs_sim_latent_clear(struct sim_disk *disk, uint64_t offset_bytes,
			 uint64_t length_bytes)
{
	uint64_t end = offset_bytes + length_bytes;
	size_t room = disk->latent_count + 1; /* one may fall in two */
	struct sim_range *latent;
	size_t i, n = 0;

	if (!cfs_sim_latent_hit(disk, offset_bytes, length_bytes))
		return 0;
	latent = calloc(room, sizeof(*latent));
	if (!latent)
		return -ENOMEM;
	for (i = 0; i < disk->latent_count; i++) {
		struct sim_range range = disk->latent[i];

		if (range.end <= offset_bytes || range.start >= end) {
			latent[n++] = range;
			continue;
		}
		if (range.start < offset_bytes)
			latent[n++] = (struct sim_range){
				.start = range.start,
				.end = offset_bytes,
			};
		if (range.end > end)
			latent[n++] = (struct sim_range){
				.start = end,
				.end = range.end,
			};
	}
	free(disk->latent);
	disk->latent = latent;
	disk->latent_count = n;
	return 0;
}

int cfs_sim_latent_error(struct cfs_dev *dev, uint64_t offset_bytes,
			 uint64_t length_bytes, struct cfs_err *err)
{
	struct sim_dev *sim_dev = cfs_sim_dev_of(dev);
	struct sim_disk *disk = sim_dev->disk;
	struct sim_range *latent;
	int r;

	assert(dev->kind == CFS_DEV_SIM);
	if (!cfs_range_fits(offset_bytes, length_bytes,
			    cfs_dev_size_bytes(dev)))
		return outside(dev, err);
	if (!length_bytes)
		return 0;
	pthread_mutex_lock(&sim_dev->sim->mutex);
	/* Disjoint: only so may a clear count on one range falling in two. */
	r = cfs_sim_latent_clear(disk, offset_bytes, length_bytes);
	latent = r < 0 ? NULL
		       : reallocarray(disk->latent, disk->latent_count + 1,
				      sizeof(*latent));
	if (latent) {
		latent[disk->latent_count++] = (struct sim_range){
			.start = offset_bytes,
			.end = offset_bytes + length_bytes,
		};
		disk->latent = latent;
	}
	pthread_mutex_unlock(&sim_dev->sim->mutex);
	if (!latent)
		return cfs_err_errno(err, -ENOMEM, "%s: latent error",
				     dev->name);
	return 0;
}
