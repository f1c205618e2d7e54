// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Finding the devices of a pool.
 *
 * What must stay true:
 *  - a file is opened for writing only when its label says that it is a device
 *    of this pool;
 *  - two files with one device's identity are never both silently passed over:
 *    as soon as both were met, the pool is refused;
 *  - what is neither hinted at nor needed is not opened at all, and a directory
 *    that somebody filled up costs a bounded time.
 */
#include "pool/devset_priv.h"
#include "pool/probe_priv.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/uuid.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define DIRECTORY_ENTRIES_MAX 4096u
#define POLL_NS               (50 * CFS_NS_PER_MS)
#define DYING_NS              (300 * CFS_NS_PER_MS)

struct finder {
	const struct cfs_devset_options *opt;
	struct cfs_found_list *list;
	uint8_t pool_uuid[16];
};

int cfs_file_identity(const char *path, dev_t *ret_dev, ino_t *ret_ino)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return -EINVAL;
	*ret_dev = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
	*ret_ino = S_ISBLK(st.st_mode) ? 0 : st.st_ino;
	return 0;
}

void cfs_found_list_done(struct cfs_found_list *list)
{
	size_t i;

	for (i = 0; i < list->found.count; i++) {
		cfs_dev_close(list->found.items[i].dev);
		free(list->found.items[i].path);
	}
	cfs_vec_done(&list->found);
}

const struct cfs_label *cfs_found_master(const struct cfs_found_list *list)
{
	const struct cfs_label *best = NULL;
	size_t i;

	for (i = 0; i < list->found.count; i++) {
		const struct cfs_label *label = &list->found.items[i].label;

		if (!best || label->seq > best->seq ||
		    (label->seq == best->seq &&
		     label->device_count > best->device_count))
			best = label;
	}
	return best;
}

/* -------------------------------------------------------------- opening */

static bool has_permission_failed(int code)
{
	return code == -EACCES || code == -EPERM;
}

static int open_plain(const char *path, unsigned int flags,
		      struct cfs_dev **ret, struct cfs_err *err)
{
	int r = cfs_dev_open(path, flags, ret, err);

	/* One code for "not permitted", whichever the kernel chose. */
	if (has_permission_failed(r) && err)
		err->code = -EPERM;
	return has_permission_failed(r) ? -EPERM : r;
}

/* Say who has a block device, from the record on it. */
static void explain_busy(const char *path, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_dev_closep) struct cfs_dev *dev = NULL;
	char text[CFS_HOLDER_TEXT_BYTES];
	struct cfs_identity self;
	struct cfs_label label;
	struct cfs_seat seat;
	uint64_t seq;

	if (cfs_dev_open(path, CFS_DEV_RDONLY, &dev, NULL) < 0 ||
	    cfs_label_read(dev, &label, NULL, NULL) < 0 ||
	    cfs_seat_read_one(dev, &label, &seat, &seq, NULL) < 0 ||
	    seat.state != CFS_SEAT_OPEN)
		return;
	cfs_identity_host.self(cfs_identity_host.arg, &self);
	cfs_holder_describe(&seat, &self, text);
	cfs_err_set(err, -EBUSY, "%s: %s", path, text);
}

/* A block device has one writer at a time: that is known at opening. */
static int open_waiting(const struct finder *f, const char *path,
			struct cfs_dev **ret, struct cfs_err *err)
{
	struct cfs_clock *clock = cfs_clock_system();
	uint64_t wait_ns = f->opt->wait_seconds * CFS_NS_PER_S;
	/* A moment at least: the I/O of a killed process may still hold it. */
	uint64_t deadline_ns = cfs_deadline_add(cfs_clock_elapsed_ns(clock),
						CFS_MAX(wait_ns, DYING_NS));
	int r;

	for (;;) {
		uint64_t now_ns = cfs_clock_elapsed_ns(clock);

		r = open_plain(path,
			       CFS_DEV_RDWR |
				       (f->opt->is_beside ? CFS_DEV_BESIDE : 0),
			       ret, err);
		if (r != -EBUSY)
			return r;
		if (f->opt->stop && f->opt->stop(f->opt->arg))
			return cfs_err_set(err, -EINTR,
					   "%s: stopped while "
					   "waiting for it",
					   path);
		if (now_ns >= deadline_ns)
			break;
		cfs_clock_sleep_until(clock,
				      CFS_MIN(deadline_ns, now_ns + POLL_NS));
	}
	explain_busy(path, err);
	return r;
}

static bool is_overlay(const struct finder *f)
{
	return !f->opt->is_writable || f->opt->is_overlay;
}

/* ------------------------------------------------------- one candidate */

static int note(struct finder *f, const struct cfs_err *err)
{
	f->list->note = *err;
	return 0;
}

/* 1: it is in the list; -EUCLEAN: another file has the same identity. */
static int check_known(const struct finder *f, const char *path,
		       const uint8_t *device_uuid, dev_t st_dev, ino_t st_ino,
		       struct cfs_err *err)
{
	size_t i;

	for (i = 0; i < f->list->found.count; i++) {
		const struct cfs_found *known = &f->list->found.items[i];

		if (known->st_dev == st_dev && known->st_ino == st_ino)
			return 1;
		if (device_uuid &&
		    cfs_uuid_is_equal(known->label.device_uuid, device_uuid))
			return cfs_err_set(
				err, -EUCLEAN,
				"two devices with "
				"one identity: %s and %s: name the right one "
				"or remove the copy",
				known->path, path);
	}
	return 0;
}

static int check_size(const struct finder *f, const struct cfs_dev *dev,
		      const struct cfs_label *label, struct cfs_err *err)
{
	if (cfs_dev_size_bytes(dev) >= label->size_bytes ||
	    f->opt->allows_short)
		return 0;
	return cfs_err_set(err, -EUCLEAN,
			   "%s: shorter than its label says "
			   "(%" PRIu64 " of %" PRIu64 " bytes)",
			   cfs_dev_name(dev), cfs_dev_size_bytes(dev),
			   label->size_bytes);
}

/* Into the list, reopened for writing if need be.  Takes *@dev over. */
static int take(struct finder *f, const char *path,
		const struct cfs_label *label, struct cfs_dev **dev,
		dev_t st_dev, ino_t st_ino, struct cfs_err *err)
{
	struct cfs_found found = {
		.label = *label,
		.st_dev = st_dev,
		.st_ino = st_ino,
	};
	int r;

	if (is_overlay(f)) {
		found.dev = CFS_STEAL(*dev);
	} else {
		cfs_dev_close(CFS_STEAL(*dev));
		r = open_waiting(f, path, &found.dev, err);
		if (r < 0)
			return r;
	}
	found.path = strdup(path);
	if (!found.path || cfs_vec_push(&f->list->found, found) < 0) {
		free(found.path);
		cfs_dev_close(found.dev);
		return cfs_err_errno(err, -ENOMEM, "%s", path);
	}
	return 0;
}

/*
 * Look at what may be a device of the pool.
 * @is_hinted: a label named it: what is wrong with it is noted.
 * @want: only the device with this UUID, or NULL.
 * Returns 1: it is in the list now; 0: it is not one; negative: give up.
 */
static int examine(struct finder *f, const char *path, bool is_hinted,
		   const uint8_t *want, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_dev_closep) struct cfs_dev *dev = NULL;
	struct cfs_err why = CFS_ERR_INIT;
	struct cfs_label label;
	dev_t st_dev = 0;
	ino_t st_ino = 0;
	int r;

	if (cfs_file_identity(path, &st_dev, &st_ino) < 0)
		return 0;
	r = check_known(f, path, NULL, st_dev, st_ino, err);
	if (r)
		return r;
	r = open_plain(path, CFS_DEV_RDONLY, &dev, &why);
	if (r == 0 && !is_hinted &&
	    cfs_dev_size_bytes(dev) < CFS_DEVICE_BYTES_MIN)
		return 0;
	if (r == 0)
		r = is_hinted ? cfs_label_read(dev, &label, NULL, &why)
			      : cfs_label_peek(dev, &label, &why);
	if (r != 0)
		return is_hinted ? note(f, &why) : 0;
	if (!cfs_uuid_is_equal(label.pool_uuid, f->pool_uuid) ||
	    (want && !cfs_uuid_is_equal(label.device_uuid, want)))
		return 0;
	r = check_known(f, path, label.device_uuid, st_dev, st_ino, err);
	if (r)
		return r;
	if (check_size(f, dev, &label, &why) < 0)
		return note(f, &why);
	r = take(f, path, &label, &dev, st_dev, st_ino, err);
	return r < 0 ? r : 1;
}

/* ---------------------------------------------------------------- hints */

/* Length of the directory part of an absolute path, its '/' included. */
static int directory_length(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (int)(slash - path + 1) : 0;
}

static int follow_hint(struct finder *f, size_t from, unsigned int index,
		       struct cfs_err *err)
{
	/* A copy: the list may move while we look. */
	const struct cfs_found *at = &f->list->found.items[from];
	char hint[CFS_LABEL_HINT_PATH_BYTES];
	char beside[PATH_MAX];
	uint8_t uuid[16];
	int r = 0;

	memcpy(uuid, at->label.hints[index].device_uuid, sizeof(uuid));
	memcpy(hint, at->label.hints[index].path, sizeof(hint));
	if (!hint[0] || !hint[directory_length(hint)])
		return 0;
	if (snprintf(beside, sizeof(beside), "%.*s%s",
		     directory_length(at->path), at->path,
		     hint + directory_length(hint)) < (int)sizeof(beside))
		r = examine(f, beside, true, uuid, err);
	if (r == 0 && hint[0] == '/')
		r = examine(f, hint, true, uuid, err);
	return r < 0 ? r : 0;
}

static int follow_hints(struct finder *f, struct cfs_err *err)
{
	unsigned int index;
	size_t from;
	int r = 0;

	for (from = 0; r == 0 && from < f->list->found.count; from++)
		for (index = 0; r == 0 && index < CFS_LABEL_HINT_COUNT; index++)
			if (!cfs_uuid_is_null(f->list->found.items[from]
						      .label.hints[index]
						      .device_uuid))
				r = follow_hint(f, from, index, err);
	return r;
}

/* ------------------------------------------------------------- scanning */

static bool is_all_found(const struct cfs_found_list *list)
{
	const struct cfs_label *master = cfs_found_master(list);

	return list->found.count + cfs_label_removed_count(master) >=
	       master->device_count;
}

static int scan_directory(struct finder *f, const char *directory,
			  struct cfs_err *err)
{
	DIR *dir = opendir(directory);
	unsigned int count = 0;
	struct dirent *entry;
	char path[PATH_MAX];
	int r = 0;

	if (!dir)
		return 0;
	while (r >= 0 && count++ < DIRECTORY_ENTRIES_MAX &&
	       (entry = readdir(dir)) != NULL) {
		const char *slash = directory[strlen(directory) - 1] == '/'
					    ? ""
					    : "/";

		if (entry->d_type == DT_DIR || entry->d_type == DT_CHR ||
		    entry->d_type == DT_FIFO || entry->d_type == DT_SOCK)
			continue;
		if (snprintf(path, sizeof(path), "%s%s%s", directory, slash,
			     entry->d_name) < (int)sizeof(path))
			r = examine(f, path, false, NULL, err);
	}
	closedir(dir);
	return r < 0 ? r : 0;
}

/* Each directory to its end, also once all is there: a copy may follow. */
static int scan(struct finder *f, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) char *own = NULL;
	const char *first = f->list->found.items[0].path;
	size_t i;
	int r;

	own = strndup(first, (size_t)directory_length(first));
	if (!own)
		return cfs_err_errno(err, -ENOMEM, "%s", first);
	r = scan_directory(f, own, err);
	for (i = 0; r == 0 && i < f->opt->search_count; i++) {
		CFS_CLEANUP(cfs_freep)
		char *directory = realpath(f->opt->search[i], NULL);

		if (directory)
			r = scan_directory(f, directory, err);
		/* What was found there may know more. */
		if (r == 0 && !is_all_found(f->list))
			r = follow_hints(f, err);
	}
	return r;
}

/* --------------------------------------------------------------- naming */

/*
 * A link as last component stays: /dev/disk/by-id/x is a better name to
 * remember than what it leads to today.
 */
int cfs_device_path(const char *path, char **ret, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) char *plain = NULL;
	CFS_CLEANUP(cfs_freep) char *parent = NULL;
	CFS_CLEANUP(cfs_freep) char *directory = NULL;
	const char *last;
	dev_t st_dev;
	ino_t st_ino;
	int r = cfs_dev_host_path(path, &plain, err);

	if (r < 0)
		return r;
	if (cfs_file_identity(plain, &st_dev, &st_ino) < 0) {
		*ret = CFS_STEAL(plain); /* memory, or not there */
		return 0;
	}
	last = plain + directory_length(plain);
	parent = last == plain ? strdup(".")
			       : strndup(plain, (size_t)(last - plain));
	directory = parent ? realpath(parent, NULL) : NULL;
	if (!directory)
		return cfs_err_errno(err, -errno, "%s", path);
	if (asprintf(ret, "%s/%s", strcmp(directory, "/") ? directory : "",
		     last) < 0)
		return cfs_err_errno(err, -ENOMEM, "%s", path);
	return 0;
}

/* "img: not a cfs device" helps less than what it is instead. */
static int explain_foreign(const char *name, const char *path, int code,
			   struct cfs_err *err)
{
	char type[64], label[128];

	if (code != -EMEDIUMTYPE ||
	    cfs_probe_signature(path, type, sizeof(type), label,
				sizeof(label)) < 0 ||
	    !type[0])
		return code;
	if (label[0])
		return cfs_err_set(err, code,
				   "%s: not a cfs device (%s \"%s\" "
				   "stands there)",
				   name, type, label);
	return cfs_err_set(err, code, "%s: not a cfs device (%s stands there)",
			   name, type);
}

static int open_first(struct finder *f, const char *name, const char *path,
		      struct cfs_err *err)
{
	CFS_CLEANUP(cfs_dev_closep) struct cfs_dev *dev = NULL;
	struct cfs_label label;
	dev_t st_dev = 0;
	ino_t st_ino = 0;
	int r;

	r = open_plain(name, CFS_DEV_RDONLY, &dev, err);
	if (r < 0)
		return r;
	r = cfs_label_read(dev, &label, NULL, err);
	if (r < 0)
		return explain_foreign(name, path, r, err);
	r = check_size(f, dev, &label, err);
	if (r < 0)
		return r;
	r = cfs_file_identity(path, &st_dev, &st_ino);
	if (r < 0)
		return cfs_err_errno(err, r, "%s", name);
	memcpy(f->pool_uuid, label.pool_uuid, sizeof(f->pool_uuid));
	return take(f, path, &label, &dev, st_dev, st_ino, err);
}

int cfs_find_devices(const char *path, const struct cfs_devset_options *opt,
		     struct cfs_found_list *list, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) char *absolute = NULL;
	struct finder f = { .opt = opt, .list = list };
	int r;

	r = cfs_device_path(path, &absolute, err);
	if (r == 0)
		r = open_first(&f, path, absolute, err);
	if (r == 0)
		r = follow_hints(&f, err);
	if (r == 0 && !is_all_found(list))
		r = scan(&f, err);
	return r;
}
