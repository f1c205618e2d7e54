/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ways out of a tree to the host, and taking trees away again. */
#include "session/export.h"

#include "session/transfer_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int cfs_export_path(struct cfs_fs *fs, uint64_t ino, int dir_fd,
		    const char *name, bool is_few,
		    const struct cfs_transfer_options *opt,
		    struct cfs_transfer_result *ret, struct cfs_err *err)
{
	bool is_dry = opt && opt->is_dry_run;
	struct transfer_host_sink sink;
	struct cfs_err own = CFS_ERR_INIT;
	struct transfer t;
	int r;

	err = err ? err : &own;
	transfer_init(&t, opt, ret,
		      is_dry ? &transfer_null_sink : &transfer_host_sink,
		      &sink);
	r = transfer_host_sink_init(&sink, dir_fd, is_few, err);
	if (r < 0)
		return r;
	r = transfer_walk_tree(&t, fs, ino, name, err);
	if (r == 0 && !is_dry)
		r = transfer_host_sink_sync(&sink, err);
	transfer_host_sink_done(&sink);
	transfer_done(&t);
	return r;
}

/* ------------------------------------------------------- remove, of the host
 */

/*
 * Depth first with the names on a stack, so that neither descriptors nor the
 * program's stack bound the depth.
 */
struct host_remove {
	struct transfer_stack stack;
	struct cfs_buf path;
};

static int remove_open(void *arg, uint64_t parent, const char *name, bool makes,
		       uint64_t *ret, struct cfs_err *err)
{
	int fd = openat((int)parent, name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	(void)arg;
	(void)makes;
	if (fd < 0)
		return cfs_err_errno(err, -errno, "directory %s", name);
	*ret = (uint64_t)fd;
	return 0;
}

static void remove_close(void *arg, uint64_t handle)
{
	(void)arg;
	close((int)handle);
}

/* Unlink all in @fd that is no directory; @ret_sub: the name of one that is. */
static int remove_files(int fd, char ret_sub[NAME_MAX + 1], struct cfs_err *err)
{
	int r = 0, copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *d;

	ret_sub[0] = '\0';
	if (!dir) {
		r = cfs_err_errno(err, -errno, "directory");
		if (copy >= 0)
			close(copy);
		return r;
	}
	while (r == 0 && (d = readdir(dir))) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, d->d_name, 0) == 0 || errno == ENOENT)
			continue;
		if (errno != EISDIR && errno != EPERM)
			r = cfs_err_errno(err, -errno, "%s", d->d_name);
		else
			(void)stpncpy(ret_sub, d->d_name, NAME_MAX + 1);
	}
	closedir(dir);
	return r;
}

static int remove_step(struct host_remove *h, bool *ret_is_done,
		       struct cfs_err *err)
{
	const char *path = (const char *)h->path.data, *last;
	char sub[NAME_MAX + 1];
	uint64_t dir;
	size_t dir_bytes;
	int r;

	r = transfer_stack_go(&h->stack, path, h->path.bytes, false, &dir, err);
	if (r == 0)
		r = remove_files((int)dir, sub, err);
	if (r != 0)
		return r;
	if (sub[0])
		return transfer_path_add(&h->path, sub, strlen(sub)) < 0
			       ? cfs_err_set(err, -ENOMEM, "out of memory")
			       : 0;
	last = transfer_path_last(path, &dir_bytes);
	r = transfer_stack_go(&h->stack, path, dir_bytes, false, &dir, err);
	if (r == 0 && unlinkat((int)dir, last, AT_REMOVEDIR) < 0)
		r = cfs_err_errno(err, -errno, "%s", path);
	*ret_is_done = dir_bytes == 0;
	transfer_path_cut(&h->path, dir_bytes);
	return r;
}

int cfs_export_remove(int dir_fd, const char *name, struct cfs_err *err)
{
	struct host_remove h = {
		.stack = { .open = remove_open,
			   .close = remove_close,
			   .root = (uint64_t)dir_fd },
	};
	bool is_done = false;
	int r = 0;

	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return cfs_err_errno(err, -errno, "%s", name);
	if (transfer_path_add(&h.path, name, strlen(name)) < 0)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	while (r == 0 && !is_done)
		r = remove_step(&h, &is_done, err);
	transfer_stack_done(&h.stack);
	cfs_buf_donep(&h.path);
	return r;
}
