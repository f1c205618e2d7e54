/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A raw image before it is read: what it is, and how large. */
#include "mkcfs/mkcfs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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

static int look(struct mkcfs_image *image, struct cfs_err *err)
{
	struct stat st;
	off_t at, end;

	if (fstat(image->fd, &st) < 0)
		return cfs_err_errno(err, -errno, "%s", image->name);
	if (S_ISDIR(st.st_mode))
		return cfs_err_errno(err, -EISDIR, "%s", image->name);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return 0;
	/* Standard input may stand behind its front: that is not ours. */
	at = lseek(image->fd, 0, SEEK_CUR);
	end = lseek(image->fd, 0, SEEK_END);
	if (at < 0 || end < 0 || lseek(image->fd, at, SEEK_SET) < 0)
		return cfs_err_errno(err, -errno, "%s", image->name);
	image->has_size = true;
	image->base_bytes = (uint64_t)at;
	image->size_bytes = at < end ? (uint64_t)(end - at) : 0;
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
