/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A picture or a report into a file of the host. */
#include "slicectl/map.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const char *text, size_t n)
{
	ssize_t got;

	while (n) {
		got = write(fd, text, n);
		if (got < 0 && errno != EINTR)
			return -errno;
		text += got > 0 ? got : 0;
		n -= got > 0 ? (size_t)got : 0;
	}
	return fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
}

/* Beside it first, so that what was there is there until it is complete. */
static int write_file(struct map *m, const char *path, const char *text,
		      size_t n)
{
	CFS_CLEANUP(cfs_freep) char *temp = NULL;
	struct cfs_err *err = &m->cmd->err;
	mode_t mask = umask(0);
	int fd, r;

	(void)umask(mask);
	if (asprintf(&temp, "%s.XXXXXX", path) < 0) {
		temp = NULL;
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	fd = mkstemp(temp);
	if (fd < 0)
		return cfs_err_errno(err, -errno, "%s", path);
	r = write_all(fd, text, n);
	if (r == 0 && fchmod(fd, 0666 & ~mask) < 0)
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(temp, path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(temp);
	return r < 0 ? cfs_err_errno(err, r, "%s", path) : 0;
}

int map_write_file(struct map *m, const char *path, const char *text,
		   size_t length_bytes)
{
	if (strcmp(path, "-") != 0)
		return write_file(m, path, text, length_bytes);
	cfs_cmd_print(m->cmd, "%s", text);
	return 0;
}
