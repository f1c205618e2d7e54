// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What stands on a device, and who uses it.  Asked before anything destroys:
 * each question has its own source, and a source that is silent (no /proc, no
 * /sys, no right to look) never turns "in use" into "free to take" for the
 * others.
 */
#include "pool/probe.h"
#include "pool/devset_priv.h"
#include "pool/probe_priv.h"

#include "base/cleanup.h"

#include <blkid/blkid.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define DATA_BYTES (UINT64_C(1) << 20)

static void put(char *ret, size_t room_bytes, const char *text)
{
	snprintf(ret, room_bytes, "%s", text);
}

static void probe_freep(blkid_probe *pr)
{
	if (*pr)
		blkid_free_probe(*pr);
}

/* ------------------------------------------------------------ signatures */

static void enable_all(blkid_probe pr)
{
	blkid_probe_enable_superblocks(pr, 1);
	blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_TYPE |
						      BLKID_SUBLKS_LABEL |
						      BLKID_SUBLKS_MAGIC);
	blkid_probe_enable_partitions(pr, 1);
	blkid_probe_set_partitions_flags(pr, BLKID_PARTS_MAGIC);
}

int cfs_probe_signature(const char *path, char *ret_type, size_t type_bytes,
			char *ret_label, size_t label_bytes)
{
	CFS_CLEANUP(probe_freep)
	blkid_probe pr = blkid_new_probe_from_filename(path);
	const char *value;

	ret_type[0] = '\0';
	ret_label[0] = '\0';
	if (!pr)
		return -EIO;
	enable_all(pr);
	/* Not "safe" probing: one of several is reason enough to stop. */
	if (blkid_do_probe(pr) != 0)
		return 0;
	if (blkid_probe_lookup_value(pr, "TYPE", &value, NULL) == 0 ||
	    blkid_probe_lookup_value(pr, "PTTYPE", &value, NULL) == 0)
		put(ret_type, type_bytes, value);
	if (blkid_probe_lookup_value(pr, "LABEL", &value, NULL) == 0)
		put(ret_label, label_bytes, value);
	return 0;
}

static int read_own(const char *path, struct cfs_device_probe *probe,
		    struct cfs_err *err)
{
	CFS_CLEANUP(cfs_dev_closep) struct cfs_dev *dev = NULL;
	struct cfs_label label;
	int r = cfs_dev_open(path, CFS_DEV_RDONLY, &dev, err);

	if (r < 0)
		return r;
	probe->size_bytes = cfs_dev_size_bytes(dev);
	r = cfs_label_read(dev, &label, NULL, err);
	if (r == -EMEDIUMTYPE)
		return 0;
	/* Damaged or newer, it is ours all the same. */
	if (r == -EUCLEAN || r == -ENOTSUP || r == 0)
		put(probe->type, sizeof(probe->type), "cfs");
	if (r == 0)
		put(probe->label, sizeof(probe->label), label.name);
	return r == -EIO || r == -ENOMEM ? r : 0;
}

/*
 * Offset of the first byte of a plain file that the host keeps, UINT64_MAX if
 * all of it is a hole; 0 if it does not say.  Holes need not be read.
 */
static uint64_t first_kept(const char *plain)
{
	CFS_CLEANUP(cfs_fdclosep)
	int fd = open(plain, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	off_t data;

	if (fd < 0)
		return 0;
	data = lseek(fd, 0, SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? UINT64_MAX : 0;
	return (uint64_t)data;
}

/* Something but zeroes in the first MiB of a plain file. */
static int has_data(const char *path, bool *ret, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_dev_closep) struct cfs_dev *dev = NULL;
	CFS_CLEANUP(cfs_freep) uint8_t *buf = NULL;
	size_t n;
	int r = cfs_dev_open(path, CFS_DEV_RDONLY, &dev, err);

	if (r < 0)
		return r;
	n = (size_t)CFS_MIN(cfs_dev_size_bytes(dev), DATA_BYTES);
	buf = cfs_dev_buf_alloc(n);
	if (!buf)
		return cfs_err_errno(err, -ENOMEM, "%s", path);
	r = cfs_dev_read(dev, 0, buf, n, err);
	if (r == 0)
		*ret = n && (buf[0] || memcmp(buf, buf + 1, n - 1) != 0);
	return r;
}

/* ------------------------------------------------------------ the probe */

static int look(const char *path, const char *plain,
		struct cfs_device_probe *probe, struct cfs_err *err)
{
	const uint64_t kept = probe->is_block ? 0 : first_kept(plain);
	bool is_data = false;
	int r = read_own(path, probe, err);

	if (r < 0)
		return r;
	if (!probe->type[0] && kept != UINT64_MAX)
		cfs_probe_signature(plain, probe->type, sizeof(probe->type),
				    probe->label, sizeof(probe->label));
	if (!probe->type[0] && !probe->is_block && kept < DATA_BYTES) {
		r = has_data(path, &is_data, err);
		if (r == 0 && is_data)
			put(probe->type, sizeof(probe->type), "data");
	}
	if (r == 0)
		probe->is_in_use = cfs_probe_use(plain, probe->used_as,
						 sizeof(probe->used_as));
	return r;
}

int cfs_device_probe(const char *path, struct cfs_device_probe *ret,
		     struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) char *plain = NULL;
	struct cfs_device_probe probe = { .exists = false };
	struct stat st;
	int r = cfs_dev_host_path(path, &plain, err);

	if (r < 0)
		return r;
	if (stat(plain, &st) < 0) {
		if (errno != ENOENT)
			return cfs_err_errno(err,
					     errno == EACCES ? -EPERM : -errno,
					     "%s", path);
		*ret = probe;
		return 0;
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return cfs_err_set(err, -EINVAL,
				   "%s: neither a plain file nor "
				   "a block device",
				   path);
	probe.exists = true;
	probe.is_block = S_ISBLK(st.st_mode);
	r = look(path, plain, &probe, err);
	if (r == -EACCES) {
		if (err)
			err->code = -EPERM;
		r = -EPERM;
	}
	if (r == 0)
		*ret = probe;
	return r;
}

/* --------------------------------------------------------------- wiping */

static int wipe_foreign(const char *path, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_fdclosep) int fd = -1;
	CFS_CLEANUP(probe_freep) blkid_probe pr = NULL;
	unsigned int rounds = 0;
	struct stat st;
	int flags = O_RDWR | O_CLOEXEC;

	if (stat(path, &st) == 0 && S_ISBLK(st.st_mode))
		flags |= O_EXCL;
	fd = open(path, flags);
	if (fd < 0)
		return cfs_err_errno(err, errno == EACCES ? -EPERM : -errno,
				     "%s", path);
	pr = blkid_new_probe();
	if (!pr || blkid_probe_set_device(pr, fd, 0, 0) < 0)
		return cfs_err_set(err, -EIO, "%s: wipe: cannot be probed",
				   path);
	enable_all(pr);
	/* Each round finds another one; the bound is for a device that takes
	 * writes and forgets them. */
	while (rounds++ < 256 && blkid_do_probe(pr) == 0)
		if (blkid_do_wipe(pr, 0) < 0)
			return cfs_err_errno(err, errno ? -errno : -EIO,
					     "%s: wipe", path);
	if (fdatasync(fd) < 0)
		return cfs_err_errno(err, -errno, "%s: flush", path);
	return 0;
}

/* Labels of an old pool: left alone, one could outlive ours in a tail. */
static int wipe_own(const char *path, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_dev_closep) struct cfs_dev *dev = NULL;
	CFS_CLEANUP(cfs_freep) void *zeroes = NULL;
	uint64_t sizes[2];
	struct cfs_label label;
	unsigned int i, copy;
	int r = cfs_dev_open(path, CFS_DEV_RDWR, &dev, err);

	if (r < 0)
		return r;
	zeroes = cfs_dev_buf_alloc(CFS_PAGE_BYTES);
	if (!zeroes)
		return cfs_err_errno(err, -ENOMEM, "%s", path);
	sizes[0] = cfs_dev_size_bytes(dev);
	sizes[1] = cfs_label_read(dev, &label, NULL, NULL) == 0
			   ? label.size_bytes
			   : sizes[0];
	for (i = 0; i < 2 && r == 0; i++) {
		if (sizes[i] < 2 * CFS_DEVICE_TAIL_BYTES ||
		    sizes[i] > cfs_dev_size_bytes(dev))
			continue;
		for (copy = 0; copy < CFS_LABEL_COPIES && r == 0; copy++)
			r = cfs_dev_write(
				dev, cfs_label_offset_bytes(copy, sizes[i]),
				zeroes, CFS_PAGE_BYTES, err);
	}
	return r == 0 ? cfs_dev_flush(dev, err) : r;
}

int cfs_device_wipe(const char *path, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) char *plain = NULL;
	int r = cfs_dev_host_path(path, &plain, err);

	if (r == 0)
		r = wipe_foreign(plain, err);
	if (r == 0)
		r = wipe_own(path, err);
	return r;
}
