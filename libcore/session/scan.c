/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which pools can be seen: by the labels of files and block devices, each then
 * opened to read, if nobody holds it, for its name, fill and state.
 */
#include "session/session_priv.h"

#include "base/cleanup.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ENTRIES_MAX 65536u

struct seen {
	struct cfs_label label;
	bool is_newer; /* and nothing else is known of it */
	char *path;
};

struct scan {
	struct seen *list;
	size_t count, room;
};

static void scan_done(struct scan *scan)
{
	for (size_t i = 0; i < scan->count; i++)
		free(scan->list[i].path);
	free(scan->list);
}

/* What carries no label of ours is passed over without a word. */
static int look_at_file(struct scan *scan, const char *path,
			struct cfs_err *err)
{
	struct cfs_dev *dev = NULL;
	struct seen *s;
	int r;

	if (scan->count == scan->room) {
		size_t room = scan->room ? 2 * scan->room : 16;

		s = realloc(scan->list, room * sizeof(*s));
		if (!s)
			return cfs_err_set(err, -ENOMEM, "out of memory");
		scan->list = s;
		scan->room = room;
	}
	s = &scan->list[scan->count];
	if (cfs_dev_open(path, CFS_DEV_RDONLY, &dev, NULL) < 0)
		return 0;
	memset(s, 0, sizeof(*s));
	r = cfs_label_read(dev, &s->label, NULL, NULL);
	s->is_newer = r == -ENOTSUP;
	if (r == 0 || s->is_newer) {
		s->path = strdup(path);
		if (s->path)
			scan->count++;
	}
	cfs_dev_close(dev);
	return 0;
}

static int look_at_dir(struct scan *scan, const char *path, bool only_block,
		       struct cfs_err *err)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	int r = 0;

	if (!dir)
		return cfs_err_errno(err, -errno, "%s", path);
	for (unsigned int n = 0;
	     r == 0 && n < ENTRIES_MAX && (e = readdir(dir)); n++) {
		CFS_CLEANUP(cfs_freep) char *full = NULL;
		struct stat st;

		if (e->d_name[0] == '.' ||
		    asprintf(&full, "%s/%s", path, e->d_name) < 0 ||
		    lstat(full, &st) < 0)
			continue;
		if (S_ISBLK(st.st_mode) ||
		    (!only_block && S_ISREG(st.st_mode) &&
		     (uint64_t)st.st_size >= CFS_DEVICE_BYTES_MIN))
			r = look_at_file(scan, full, err);
	}
	closedir(dir);
	return r;
}

static int look_at_place(struct scan *scan, const char *place,
			 struct cfs_err *err)
{
	struct stat st;

	if (stat(place, &st) < 0)
		return cfs_err_errno(err, -errno, "%s", place);
	if (S_ISDIR(st.st_mode))
		return look_at_dir(scan, place, false, err);
	return look_at_file(scan, place, err);
}

static bool same_pool(const struct seen *a, const struct seen *b)
{
	if (a->is_newer || b->is_newer)
		return a == b;
	return memcmp(a->label.pool_uuid, b->label.pool_uuid, 16) == 0;
}

/* The first device seen of each pool stands for it. */
static bool is_first(const struct scan *scan, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (same_pool(&scan->list[i], &scan->list[index]))
			return false;
	return true;
}

static enum cfs_pool_state state_of_failure(int code)
{
	switch (code) {
	case -EBUSY:
		return CFS_POOL_BUSY;
	case -ENODEV:
		return CFS_POOL_MISSING_DEVICES;
	case -ENOTSUP:
		return CFS_POOL_NEWER;
	default:
		return CFS_POOL_DAMAGED;
	}
}

static void fill_from_label(const struct cfs_label *label,
			    struct cfs_pool_info *info)
{
	memset(info, 0, sizeof(*info));
	memcpy(info->name, label->name, sizeof(info->name));
	memcpy(info->uuid, label->pool_uuid, 16);
	info->is_mirror = label->flags & CFS_POOL_FLAG_MIRROR;
	info->is_shared = label->flags & CFS_POOL_FLAG_SHARED;
	info->device_count = label->device_count;
	info->created_ns = label->created_ns;
	info->slice_bytes = label->slice_bytes;
}

/* Name, fill and state, from inside; what the labels say if that fails. */
static void look_inside(const struct seen *s, struct cfs_pool_info *info)
{
	const struct cfs_session_options opt = { .wait_seconds = 0 };
	struct cfs_session *session = NULL;
	struct cfs_err err = CFS_ERR_INIT;
	int r = -ENOTSUP;

	if (!s->is_newer)
		r = cfs_session_open(s->path, &opt, &session, &err);
	if (r == 0)
		r = cfs_session_pool_info(session, info, &err);
	if (r != 0) {
		fill_from_label(&s->label, info);
		info->state = state_of_failure(r);
	}
	cfs_session_close(session, NULL);
}

static int report(const struct scan *scan, size_t index, cfs_pool_each_fn each,
		  void *arg, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_device_info *devices = calloc(scan->count, sizeof(*devices));
	struct cfs_pool_info info;
	size_t n = 0;

	if (!devices)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	look_inside(&scan->list[index], &info);
	for (size_t i = index; i < scan->count; i++) {
		struct cfs_device_info *d = &devices[n];
		struct stat st;

		if (!same_pool(&scan->list[i], &scan->list[index]))
			continue;
		d->index = scan->list[i].label.device_index;
		memcpy(d->uuid, scan->list[i].label.device_uuid, 16);
		snprintf(d->path, sizeof(d->path), "%s", scan->list[i].path);
		d->kind = stat(d->path, &st) == 0 && S_ISBLK(st.st_mode)
				  ? "block"
				  : "file";
		d->state = "ok";
		d->size_bytes = scan->list[i].label.size_bytes;
		d->slice_count = scan->list[i].label.slice_count;
		n++;
	}
	info.devices_present = CFS_MAX(info.devices_present, (uint32_t)n);
	return each(arg, &info, devices, n);
}

int cfs_pools_scan(const char *const *places, size_t place_count,
		   cfs_pool_each_fn each, void *arg, struct cfs_err *err)
{
	CFS_CLEANUP(scan_done) struct scan scan = { NULL, 0, 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < place_count; i++)
		r = look_at_place(&scan, places[i], err);
	if (r == 0 && place_count == 0) {
		r = look_at_dir(&scan, ".", false, err);
		if (r == 0)
			r = look_at_dir(&scan, "/dev", true, err);
	}
	for (size_t i = 0; r == 0 && i < scan.count; i++)
		if (is_first(&scan, i))
			r = report(&scan, i, each, arg, err);
	return r;
}
