/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reading a raw image.  Of a plain file only what is not a hole is read; a
 * block device or a pipe is read from front to end.  A pipe is waited for with
 * poll, so that a signal which another thread got, or which came just before,
 * still stops the tool.
 */
#include "mkcfs/mkcfs.h"

#include "base/bits.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_MS 200

static int open_path(const char *path, int *ret, struct cfs_err *err)
{
	int fd;

	if (cfs_name_is_stdio(path)) {
		fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
		path = "standard input";
	} else {
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0)
		return cfs_err_errno(err, -errno, "%s", path);
	*ret = fd;
	return 0;
}

/* What kind of thing it is, and how large. */
static int look(struct mkcfs_image *image, struct cfs_err *err)
{
	struct stat st;
	uint64_t size;
	off_t at;

	if (fstat(image->fd, &st) < 0)
		return cfs_err_errno(err, -errno, "%s", image->name);
	if (S_ISDIR(st.st_mode))
		return cfs_err_errno(err, -EISDIR, "%s", image->name);
	if (S_ISREG(st.st_mode)) {
		at = lseek(image->fd, 0, SEEK_CUR);
		if (at < 0 || at > st.st_size)
			at = st.st_size;
		image->is_seekable = true;
		image->has_size = true;
		image->base_bytes = (uint64_t)at;
		image->size_bytes = (uint64_t)(st.st_size - at);
		(void)posix_fadvise(image->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	} else if (S_ISBLK(st.st_mode) &&
		   ioctl(image->fd, BLKGETSIZE64, &size) == 0) {
		image->has_size = true;
		image->size_bytes = size;
	}
	return 0;
}

int mkcfs_image_open(const char *path, struct mkcfs_image *ret,
		     struct cfs_err *err)
{
	struct mkcfs_image image = { .name = path, .fd = -1 };
	int r = open_path(path, &image.fd, err);

	if (cfs_name_is_stdio(path))
		image.name = "standard input";
	if (r == 0)
		r = look(&image, err);
	if (r < 0)
		mkcfs_image_donep(&image);
	else
		*ret = image;
	return r;
}

void mkcfs_image_donep(struct mkcfs_image *image)
{
	if (image->fd >= 0)
		close(image->fd);
	image->fd = -1;
}

static int stopped(struct cfs_err *err)
{
	return cfs_err_set(err, -EINTR, "stopped");
}

/* Bytes at the descriptor's place; 0 at its end.  May be fewer. */
static int read_some(struct mkcfs_image *image, void *buf, size_t room_bytes,
		     size_t *ret_bytes, struct cfs_err *err)
{
	struct pollfd pfd = { .fd = image->fd, .events = POLLIN };
	ssize_t n;

	for (;;) {
		if (cfs_cmd_is_stopped(NULL))
			return stopped(err);
		/* A signal ends the wait too, and is looked for again. */
		if (!image->has_size && poll(&pfd, 1, LOOK_MS) <= 0)
			continue;
		n = read(image->fd, buf, room_bytes);
		if (n >= 0)
			break;
		if (errno != EINTR && errno != EAGAIN)
			return cfs_err_errno(err, errno == EIO ? -EIO : -errno,
					     "%s", image->name);
	}
	*ret_bytes = (size_t)n;
	return 0;
}

/* The next range of a plain file that is no hole, from *@at on. */
static int find_data(struct mkcfs_image *image, uint64_t *at,
		     uint64_t *ret_end, struct cfs_err *err)
{
	uint64_t size = image->size_bytes, base = image->base_bytes;
	off_t data = lseek(image->fd, (off_t)(base + *at), SEEK_DATA);
	off_t hole;

	*ret_end = size;
	if (data < 0 && errno == ENXIO) {
		*at = size;
		return 0;
	}
	if (data < 0 && errno != EINVAL && errno != EOPNOTSUPP)
		return cfs_err_errno(err, -errno, "%s", image->name);
	if (data >= 0) {
		*at = CFS_MIN((uint64_t)data - base, size);
		hole = lseek(image->fd, data, SEEK_HOLE);
		if (hole >= 0)
			*ret_end = CFS_MIN((uint64_t)hole - base, size);
	}
	if (lseek(image->fd, (off_t)(base + *at), SEEK_SET) < 0)
		return cfs_err_errno(err, -errno, "%s", image->name);
	return 0;
}

int mkcfs_image_read(struct mkcfs_image *image, uint64_t *at, void *buf,
		     size_t room_bytes, uint64_t *ret_offset,
		     size_t *ret_bytes, struct cfs_err *err)
{
	uint64_t end = UINT64_MAX;
	size_t want, got = 0, n = 0;
	int r = 0;

	if (image->is_seekable)
		r = find_data(image, at, &end, err);
	else if (image->has_size)
		end = image->size_bytes;
	if (r < 0)
		return r;
	want = (size_t)CFS_MIN(room_bytes - *at % room_bytes, end - *at);
	while (got < want) {
		r = read_some(image, (char *)buf + got, want - got, &n, err);
		if (r < 0)
			return r;
		if (!n)
			break;
		got += n;
	}
	if (got < want && image->has_size)
		return cfs_err_set(err, -EIO, "%s: became shorter while it was "
				   "read", image->name);
	*ret_offset = *at;
	*ret_bytes = got;
	*at += got;
	return 0;
}
