/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The devices of a pool: which there are, one more, another size. */
#include "session/devices.h"
#include "session/local.h"
#include "session/session_priv.h"

#include "base/bits.h"
#include "base/text.h"
#include "base/uuid.h"
#include "pool/probe.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* By its path: an overlay has a kind of its own. */
static bool is_block(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

static const char *state_of(const struct cfs_device_rec *rec,
			    const struct cfs_dev *dev, uint64_t used_slices)
{
	if (rec->state == CFS_DEVICE_REMOVED)
		return "removed";
	if (!dev)
		return "missing";
	if (rec->state == CFS_DEVICE_EVACUATING)
		return used_slices ? "evacuating" : "evacuated";
	return rec->state == CFS_DEVICE_OUT ? "out" : "ok";
}

static void show_moving(struct cfs_session *s, struct cfs_device_info *info)
{
	pthread_mutex_lock(&s->lock);
	if (s->moving.is_on && s->moving.device == info->index) {
		info->is_moving = true;
		info->moved_slices = s->moving.done_slices;
		info->move_slices = s->moving.total_slices;
	}
	pthread_mutex_unlock(&s->lock);
}

int cfs_local_devices(struct cfs_session *s, cfs_device_each_fn each, void *arg,
		      struct cfs_err *err)
{
	for (uint32_t i = 0; i < cfs_devset_count(s->set); i++) {
		struct cfs_dev *dev = cfs_devset_dev(s->set, i);
		struct cfs_device_info info = { .index = i, .kind = "file" };
		struct cfs_slice_counts n;
		struct cfs_device_rec rec;
		int r;

		if (cfs_devset_is_removed(s->set, i))
			continue;
		r = cfs_pool_slice_counts(s->pool, i, &n, err);
		if (r == 0)
			r = cfs_pool_device_rec(s->pool, i, &rec, err);
		if (r != 0)
			return r;
		memcpy(info.uuid, rec.uuid, 16);
		info.size_bytes = rec.size_bytes;
		if (dev)
			snprintf(info.path, sizeof(info.path), "%s",
				 cfs_devset_path(s->set, i));
		info.state = state_of(&rec, dev, n.used);
		if (dev && is_block(info.path))
			info.kind = "block";
		info.slice_count = n.total;
		info.used_slices = n.used;
		info.free_slices = n.free;
		info.frozen_slices = n.frozen;
		info.bad_slices = n.bad;
		show_moving(s, &info);
		r = each(arg, &info);
		if (r != 0)
			return r;
	}
	return 0;
}

/* A label for one more device of the pool. */
static int label_for(struct cfs_session *s, struct cfs_dev *dev,
		     struct cfs_label *ret, struct cfs_err *err)
{
	struct cfs_label *l = ret;
	int r;

	*l = *cfs_devset_label(s->set, 0);
	memset(l->hints, 0, sizeof(l->hints));
	l->seq = 0;
	r = cfs_uuid_new(l->device_uuid, err);
	l->device_index = cfs_devset_count(s->set);
	/* Without itself: should this be as far as it comes, no label counts
	 * it, whatever their seq. */
	l->device_count = l->device_index;
	l->size_bytes = cfs_align_down(cfs_dev_size_bytes(dev),
				       CFS_BLOCK_BYTES);
	l->slice_count = cfs_device_slice_count(
		l->size_bytes, l->slices_offset_bytes, l->slice_bytes);
	if (r == 0 &&
	    (l->size_bytes < CFS_DEVICE_BYTES_MIN || l->slice_count == 0))
		r = cfs_err_set(err, -EINVAL,
				"too small: a device has 64 MiB "
				"and a slice at least");
	return r;
}

/*
 * Order: the new device's label (its index is not in use yet, so it counts for
 * nothing), the record in the tables, the labels of all.  A crash in between
 * leaves a device that the tables do not know, or labels that do not name it
 * yet; both are seen at the next open.
 */
int cfs_local_add_device(struct cfs_session *s, const char *path,
			 bool is_forced, uint64_t *ret_slices,
			 struct cfs_err *err)
{
	struct cfs_device_rec rec = { .state = CFS_DEVICE_OK };
	struct cfs_device_probe probe;
	struct cfs_label label;
	struct cfs_dev *dev = NULL;
	uint32_t index;
	int r = cfs_session_may_write(s, err);

	if (r == 0)
		r = cfs_device_probe(path, &probe, err);
	if (r != 0)
		return r;
	if (!probe.exists)
		return cfs_err_set(err, -ENOENT, "no such file or device");
	if (probe.is_in_use)
		return cfs_err_set(err, -EBUSY, "in use: %s", probe.used_as);
	if (probe.type[0] && !is_forced)
		return cfs_err_set(err, -EEXIST,
				   "%s stands there: -f "
				   "overwrites it",
				   probe.type);
	if (is_forced && !s->opt.is_dry_run)
		r = cfs_device_wipe(path, err);
	if (r == 0)
		r = cfs_session_open_new_device(s, path, &dev, err);
	if (r == 0)
		r = label_for(s, dev, &label, err);
	if (r == 0)
		r = cfs_label_write(dev, &label, err);
	if (r == 0)
		r = cfs_devset_add(s->set, dev, &label, &index, err);
	if (r != 0) {
		cfs_dev_close(dev);
		return r;
	}
	memcpy(rec.uuid, label.device_uuid, 16);
	rec.size_bytes = label.size_bytes;
	rec.slice_count = label.slice_count;
	r = cfs_pool_device_update(s->pool, index, &rec, err);
	if (r == 0)
		r = cfs_devset_write_labels(s->set, err);
	if (r == 0)
		r = cfs_session_store_seat(s, err);
	*ret_slices = label.slice_count;
	return r;
}

struct beyond {
	uint32_t device;
	uint64_t from;
	uint64_t count;
};

static int count_beyond(void *arg, uint32_t device, uint64_t slice,
			const struct cfs_slice_rec *rec, struct cfs_err *err)
{
	struct beyond *b = arg;

	(void)err;
	if (device == b->device && slice >= b->from &&
	    rec->use != CFS_SLICE_USE_FREE)
		b->count++;
	return 0;
}

/* It may have grown since it was opened.  What has no path is as it was. */
static int look_at_size(struct cfs_session *s, uint32_t index,
			struct cfs_err *err)
{
	struct cfs_dev *dev = cfs_devset_dev(s->set, index), *again;
	uint64_t size;

	if (cfs_dev_open(cfs_devset_path(s->set, index), CFS_DEV_RDONLY, &again,
			 NULL) < 0)
		return 0;
	size = cfs_dev_size_bytes(again);
	cfs_dev_close(again);
	return size == cfs_dev_size_bytes(dev) ? 0
					       : cfs_dev_resize(dev, size, err);
}

int cfs_local_resize_device(struct cfs_session *s, const char *device,
			    uint64_t *ret_old_slices, uint64_t *ret_new_slices,
			    struct cfs_err *err)
{
	const struct cfs_label *label;
	struct cfs_device_rec rec;
	struct beyond beyond = { 0 };
	struct cfs_dev *dev;
	uint64_t size;
	int r = cfs_session_may_write(s, err);

	if (r == 0)
		r = cfs_devset_find(s->set, device, &beyond.device, err);
	if (r == 0)
		r = cfs_pool_device_rec(s->pool, beyond.device, &rec, err);
	if (r != 0)
		return r;
	dev = cfs_devset_dev(s->set, beyond.device);
	if (!dev)
		return cfs_err_set(err, -ENODEV, "the device is missing");
	r = look_at_size(s, beyond.device, err);
	if (r < 0)
		return r;
	label = cfs_devset_label(s->set, beyond.device);
	size = cfs_align_down(cfs_dev_size_bytes(dev), CFS_BLOCK_BYTES);
	*ret_old_slices = rec.slice_count;
	*ret_new_slices = cfs_device_slice_count(
		size, label->slices_offset_bytes, label->slice_bytes);
	/* One that was evacuated takes slices again. */
	if (size == rec.size_bytes && rec.state == CFS_DEVICE_OK)
		return 0;
	beyond.from = *ret_new_slices;
	r = cfs_pool_slices(s->pool, count_beyond, &beyond, err);
	if (r == 0 && beyond.count)
		return cfs_err_set(err, -EBUSY,
				   "%" PRIu64 " %s behind the "
				   "new end %s in use",
				   beyond.count,
				   cfs_plural(beyond.count, "slice", "slices"),
				   cfs_plural(beyond.count, "is", "are"));
	if (rec.state == CFS_DEVICE_REMOVED)
		return cfs_err_set(err, -EBUSY,
				   "it is being taken out of the "
				   "pool: slicectl remove goes on with that");
	rec.state = CFS_DEVICE_OK;
	rec.cursor = 0;
	rec.size_bytes = size;
	rec.slice_count = *ret_new_slices;
	/* Growing: the labels say so first; shrinking: the tables. */
	if (r == 0 && *ret_new_slices >= *ret_old_slices) {
		cfs_devset_set_size(s->set, beyond.device, size,
				    rec.slice_count);
		r = cfs_devset_write_labels(s->set, err);
	}
	if (r == 0)
		r = cfs_pool_device_update(s->pool, beyond.device, &rec, err);
	if (r == 0 && *ret_new_slices < *ret_old_slices) {
		cfs_devset_set_size(s->set, beyond.device, size,
				    rec.slice_count);
		r = cfs_devset_write_labels(s->set, err);
	}
	return r;
}
