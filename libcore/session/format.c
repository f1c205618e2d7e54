/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making a pool.  It is built in memory, on overlays, and then written in one
 * go with one flush behind it, so nothing is written before all of it is known
 * to work.  Old signatures go first.  A format that was broken off leaves
 * parts of a pool that nobody was told of, with a UUID that was never used:
 * it does not open, or it is whole.
 */
#include "session/format.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/units.h"
#include "base/uuid.h"
#include "device/overlay.h"
#include "pool/probe.h"
#include "session/judge.h"
#include "session/session_priv.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct format {
	const struct cfs_format_options *opt;
	struct cfs_dev **devices;
	bool *is_new;   /* there was nothing of that name */
	bool *was_made; /* by us: removed again on failure */
	struct cfs_label *labels;
	uint64_t slice_bytes;
	uint64_t slices_offset_bytes;
	bool is_handed_over; /* the devices, to a set */
};

static void format_done(struct format *f)
{
	if (f->devices && !f->is_handed_over)
		for (size_t i = 0; i < f->opt->device_count; i++)
			cfs_dev_close(f->devices[i]);
	free(f->devices);
	free(f->is_new);
	free(f->was_made);
	free(f->labels);
}

int cfs_probe_device(const char *path, struct cfs_probe *ret,
		     struct cfs_err *err)
{
	struct cfs_device_probe p;
	int r = cfs_device_probe(path, &p, err);

	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	ret->exists = p.exists;
	ret->is_block = p.is_block;
	ret->size_bytes = p.size_bytes;
	memcpy(ret->type, p.type, sizeof(ret->type));
	memcpy(ret->label, p.label, sizeof(ret->label));
	ret->is_in_use = p.is_in_use;
	memcpy(ret->used_as, p.used_as, sizeof(ret->used_as));
	return 0;
}

/* All of them, before the first is touched. */
static int judge_devices(struct format *f, struct cfs_err *err)
{
	const struct cfs_format_options *opt = f->opt;
	char lost[CFS_JUDGE_TEXT_BYTES];

	for (size_t i = 0; i < opt->device_count; i++) {
		const char *path = opt->devices[i];
		struct cfs_probe probe;
		int r = cfs_probe_device(path, &probe, err);

		if (r == 0)
			r = cfs_device_judge(path, &probe, opt->is_forced,
					     opt->size_bytes != 0, lost, err);
		if (r == -ENOENT)
			return cfs_err_set(err, r,
					   "%s: no such file or "
					   "device: give --size to make a "
					   "file",
					   path);
		if (r < 0)
			return r;
		f->is_new[i] = !probe.exists;
	}
	return 0;
}

/* Open all devices, made or extended as asked; nothing else is written. */
static int open_devices(struct format *f, struct cfs_err *err)
{
	const struct cfs_format_options *opt = f->opt;

	for (size_t i = 0; i < opt->device_count; i++) {
		const char *path = opt->devices[i];
		int r;

		if (!opt->is_dry_run) {
			f->was_made[i] = f->is_new[i];
			r = cfs_dev_open(path, CFS_DEV_RDWR | CFS_DEV_CREATE,
					 &f->devices[i], err);
		} else if (f->is_new[i]) {
			r = cfs_dev_mem_new(opt->size_bytes, &f->devices[i],
					    err);
		} else {
			r = cfs_dev_open(path, CFS_DEV_RDONLY, &f->devices[i],
					 err);
		}
		if (r < 0)
			return r;
		for (size_t k = 0; k < i; k++)
			if (cfs_dev_is_same(f->devices[i], f->devices[k]))
				return cfs_err_set(err, -EINVAL,
						   "%s: named twice", path);
		if (!opt->is_dry_run) {
			r = cfs_dev_lock(f->devices[i], true, err);
			if (r < 0)
				return r;
		}
		if (opt->size_bytes && !opt->is_dry_run &&
		    cfs_dev_kind(f->devices[i]) == CFS_DEV_FILE &&
		    cfs_dev_size_bytes(f->devices[i]) < opt->size_bytes)
			r = cfs_dev_resize(f->devices[i], opt->size_bytes, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static uint64_t size_of(const struct format *f, size_t i)
{
	uint64_t size = cfs_dev_size_bytes(f->devices[i]);

	if (f->opt->is_dry_run && f->opt->size_bytes > size)
		size = f->opt->size_bytes;
	return cfs_align_down(size, CFS_BLOCK_BYTES);
}

static int choose_geometry(struct format *f, struct cfs_err *err)
{
	const struct cfs_format_options *opt = f->opt;
	struct cfs_slice_geometry geo;
	uint64_t total = 0;

	for (size_t i = 0; i < opt->device_count; i++) {
		if (size_of(f, i) < CFS_DEVICE_BYTES_MIN)
			return cfs_err_set(err, -EINVAL,
					   "%s: too small: a "
					   "device has 64 MiB at least",
					   opt->devices[i]);
		total += size_of(f, i);
	}
	f->slice_bytes = opt->slice_bytes ? opt->slice_bytes
					  : cfs_slice_bytes_default(total);
	f->slices_offset_bytes = opt->is_shared ? CFS_SLICES_OFFSET_SHARED
						: CFS_SLICES_OFFSET_LOCAL;
	return cfs_slice_geometry_init(f->slice_bytes, &geo, err);
}

static int make_labels(struct format *f, struct cfs_err *err)
{
	const struct cfs_format_options *opt = f->opt;
	uint8_t pool_uuid[16];
	int r = cfs_uuid_new(pool_uuid, err);

	for (size_t i = 0; r == 0 && i < opt->device_count; i++) {
		struct cfs_label *l = &f->labels[i];

		memcpy(l->pool_uuid, pool_uuid, 16);
		r = cfs_uuid_new(l->device_uuid, err);
		if (opt->name)
			strncpy(l->name, opt->name, sizeof(l->name) - 1);
		l->size_bytes = size_of(f, i);
		l->slice_bytes = f->slice_bytes;
		l->slices_offset_bytes = f->slices_offset_bytes;
		l->slice_count = cfs_device_slice_count(
			l->size_bytes, l->slices_offset_bytes, l->slice_bytes);
		if (r == 0 && l->slice_count < 8)
			r = cfs_err_set(err, -EINVAL,
					"%s: too small for "
					"slices of that size",
					opt->devices[i]);
		l->created_ns = cfs_clock_realtime_ns(cfs_clock_system());
		l->flags = (opt->is_mirror ? CFS_POOL_FLAG_MIRROR : 0) |
			   (opt->is_shared ? CFS_POOL_FLAG_SHARED : 0);
		l->seat_count = opt->is_shared ? CFS_SEAT_COUNT_SHARED
					       : CFS_SEAT_COUNT_LOCAL;
		l->device_index = (uint32_t)i;
		l->device_count = (uint32_t)opt->device_count;
		l->vote_count = opt->is_shared ? CFS_MIN(l->device_count,
							 CFS_VOTES_MAX)
					       : 0;
	}
	return r;
}

/* Hints to the other devices, by their paths as given. */
static void make_hints(struct format *f)
{
	for (size_t i = 0; i < f->opt->device_count; i++) {
		unsigned int n = 0;

		for (size_t k = 0; k < f->opt->device_count; k++) {
			CFS_CLEANUP(cfs_freep) char *path = NULL;

			if (k == i || n == CFS_LABEL_HINT_COUNT)
				continue;
			path = realpath(f->opt->devices[k], NULL);
			memcpy(f->labels[i].hints[n].device_uuid,
			       f->labels[k].device_uuid, 16);
			if (path && strlen(path) < CFS_LABEL_HINT_PATH_BYTES)
				strcpy(f->labels[i].hints[n].path, path);
			n++;
		}
	}
}

/* The pool, in memory: @set owns the devices then. */
static int build_pool(struct format *f, struct cfs_devset **ret_set,
		      struct cfs_err *err)
{
	const struct cfs_format_options *opt = f->opt;
	const struct cfs_devset_options set_opt = { .is_writable = true };
	const struct cfs_pool_options pool_opt = { .name = opt->name,
						   .was_clean = true };
	struct cfs_place roots[CFS_ROOT_PLACES_MAX];
	int r = 0;

	for (size_t i = 0; r == 0 && i < opt->device_count; i++) {
		struct cfs_dev *overlay;

		r = cfs_dev_overlay_new(f->devices[i], &overlay, err);
		if (r < 0)
			break;
		f->devices[i] = overlay;
		r = cfs_label_write(overlay, &f->labels[i], err);
	}
	if (r < 0)
		return r;
	f->is_handed_over = true;
	r = cfs_devset_from_devices(f->devices, opt->device_count, &set_opt,
				    ret_set, err);
	if (r == 0)
		r = cfs_pool_make(*ret_set, &pool_opt, roots, err);
	if (r == 0)
		r = cfs_seat_format(*ret_set, roots, err);
	return r;
}

static int write_back(const struct format *f, struct cfs_devset *set,
		      uint64_t *ret_bytes, struct cfs_err *err)
{
	int r = 0;

	for (uint32_t i = 0; i < f->opt->device_count; i++)
		*ret_bytes += cfs_dev_overlay_written_bytes(
			cfs_devset_dev(set, i));

	for (uint32_t i = 0; r == 0 && i < f->opt->device_count; i++)
		r = cfs_dev_overlay_write_back(cfs_devset_dev(set, i), 0,
					       UINT64_MAX, err);
	return r;
}

static int write_pool(struct format *f, uint64_t *ret_bytes,
		      struct cfs_err *err)
{
	CFS_CLEANUP(cfs_devset_closep) struct cfs_devset *set = NULL;
	int r = build_pool(f, &set, err);

	return r < 0 ? r : write_back(f, set, ret_bytes, err);
}

static void fill_result(const struct format *f, struct cfs_format_result *ret)
{
	struct cfs_slice_geometry geo;
	uint64_t pieces = f->opt->is_mirror ? 2 : 1;

	memset(ret, 0, sizeof(*ret));
	memcpy(ret->pool_uuid, f->labels[0].pool_uuid, 16);
	ret->slice_bytes = f->slice_bytes;
	for (size_t i = 0; i < f->opt->device_count; i++)
		ret->slice_count += f->labels[i].slice_count;
	(void)cfs_slice_geometry_init(f->slice_bytes, &geo, NULL);
	ret->capacity_bytes = (ret->slice_count / pieces - 2) * geo.data_count *
			      CFS_BLOCK_BYTES;
}

/* What the pool will be; nothing is written. */
static int plan(struct format *f, struct cfs_format_result *ret,
		struct cfs_err *err)
{
	int r = choose_geometry(f, err);

	if (r == 0)
		r = make_labels(f, err);
	if (r < 0)
		return r;
	make_hints(f);
	fill_result(f, ret);
	return 0;
}

static int format_paths(struct format *f, struct cfs_format_result *ret,
			struct cfs_err *err)
{
	const struct cfs_format_options *opt = f->opt;
	int r = judge_devices(f, err);

	if (r == 0)
		r = open_devices(f, err);
	if (r == 0)
		r = plan(f, ret, err);
	if (r < 0 || opt->is_dry_run)
		return r;
	for (size_t i = 0; i < opt->device_count && opt->is_forced; i++) {
		r = f->was_made[i] ? 0 : cfs_device_wipe(opt->devices[i], err);
		if (r < 0)
			return r;
	}
	return write_pool(f, &ret->written_bytes, err);
}

static int format_init(struct format *f, struct cfs_err *err)
{
	const struct cfs_format_options *opt = f->opt;

	if (opt->device_count == 0 || opt->device_count > UINT16_MAX)
		return cfs_err_set(err, -EINVAL, "no device is named");
	f->devices = calloc(opt->device_count, sizeof(struct cfs_dev *));
	f->is_new = calloc(opt->device_count, sizeof(bool));
	f->was_made = calloc(opt->device_count, sizeof(bool));
	f->labels = calloc(opt->device_count, sizeof(*f->labels));
	if (!f->devices || !f->is_new || !f->was_made || !f->labels)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	if (opt->is_mirror && opt->device_count < 2)
		return cfs_err_set(err, -EINVAL,
				   "a mirror needs two devices at least");
	if (opt->name && cfs_pool_name_check(opt->name, err) < 0)
		return -EINVAL;
	return 0;
}

int cfs_pool_format(const struct cfs_format_options *opt,
		    struct cfs_format_result *ret, struct cfs_err *err)
{
	CFS_CLEANUP(format_done) struct format f = { .opt = opt };
	int r = format_init(&f, err);

	if (r < 0)
		return r;
	r = format_paths(&f, ret, err);
	for (size_t i = 0; r < 0 && i < opt->device_count; i++) {
		CFS_CLEANUP(cfs_freep) char *path = NULL;

		if (f.was_made[i] &&
		    cfs_dev_host_path(opt->devices[i], &path, NULL) == 0)
			(void)unlink(path);
	}
	return r;
}

int cfs_format_devices(struct cfs_dev *const *devices,
		       const struct cfs_format_options *opt,
		       struct cfs_format_result *ret, struct cfs_err *err)
{
	CFS_CLEANUP(format_done) struct format f = { .opt = opt };
	int r = format_init(&f, err);

	for (size_t i = 0; i < opt->device_count; i++) {
		if (f.devices)
			f.devices[i] = devices[i];
		else
			cfs_dev_close(devices[i]);
	}
	if (r == 0 && opt->is_dry_run)
		r = cfs_err_set(err, -EINVAL, "a dry run on open devices");
	if (r == 0)
		r = plan(&f, ret, err);
	return r < 0 ? r : write_pool(&f, &ret->written_bytes, err);
}
