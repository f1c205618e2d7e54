/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A directory of the host as the destination.
 *
 *  - Every call is relative to the descriptor of a directory that was opened
 *    component by component without following a link: whatever stands in the
 *    destination, and whoever changes it meanwhile, nothing lands outside.
 *  - Files are made for their owner alone; rights and owner come when the
 *    content is there, the times last of all.
 *  - What stands in the place of a file stays until the new one is complete.
 */
#include "session/transfer_priv.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define TEMP_NAME_BYTES 48
#define DIR_FLAGS       (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static int dir_error(int dir_fd, const char *name, int code,
		     struct cfs_err *err)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISLNK(st.st_mode))
		return cfs_err_set(err, -EXDEV,
				   "its path goes through the symbolic link "
				   "%s: left out",
				   name);
	if (code == -ENOTDIR)
		return cfs_err_set(err, code,
				   "%s, on its path, is no directory", name);
	return cfs_err_errno(err, code, "directory %s", name);
}

static int host_open_dir(void *arg, uint64_t parent, const char *name,
			 bool makes, uint64_t *ret, struct cfs_err *err)
{
	int dir_fd = (int)parent, fd;

	(void)arg;
	fd = openat(dir_fd, name, DIR_FLAGS);
	if (fd < 0 && errno == ENOENT && makes) {
		if (mkdirat(dir_fd, name, 0755) < 0 && errno != EEXIST)
			return cfs_err_errno(err, -errno, "directory %s", name);
		fd = openat(dir_fd, name, DIR_FLAGS);
	}
	if (fd < 0)
		return dir_error(dir_fd, name, -errno, err);
	*ret = (uint64_t)fd;
	return 0;
}

static void host_close_dir(void *arg, uint64_t handle)
{
	(void)arg;
	close((int)handle);
}

int transfer_host_sink_init(struct transfer_host_sink *s, int dir_fd,
			    bool syncs_each, struct cfs_err *err)
{
	struct stat st;

	memset(s, 0, sizeof(*s));
	s->stack.open = host_open_dir;
	s->stack.close = host_close_dir;
	s->stack.arg = s;
	s->stack.root = (uint64_t)dir_fd;
	s->syncs_each = syncs_each;
	s->is_tree = !syncs_each;
	s->is_root = geteuid() == 0;
	if (fstat(dir_fd, &st) < 0)
		return cfs_err_errno(err, -errno, "destination");
	s->dev = st.st_dev;
	return 0;
}

void transfer_host_sink_done(struct transfer_host_sink *s)
{
	transfer_stack_done(&s->stack);
}

int transfer_host_sink_sync(struct transfer_host_sink *s, struct cfs_err *err)
{
	int fd = (int)s->stack.root;

	/* The first holds what came before a mount point was met. */
	if (s->is_tree && syncfs(fd) < 0)
		return cfs_err_errno(err, -errno, "destination");
	if (s->syncs_each && fsync(fd) < 0)
		return cfs_err_errno(err, -errno, "destination");
	return 0;
}

/* ------------------------------------------------------------- attributes */

/* An inode that was made: its descriptor, and whether it is O_PATH. */
struct made {
	int fd;
	bool is_path;
	char name[TRANSFER_FD_PATH_BYTES];
};

static int set_xattr(const struct made *m, const struct cfs_fs_xattr *x)
{
	int r = m->is_path ? setxattr(m->name, x->name, x->value,
				      x->value_bytes, 0)
			   : fsetxattr(m->fd, x->name, x->value, x->value_bytes,
				       0);

	return r < 0 ? -errno : 0;
}

/* What only root may set is not missed by others, as of cp and tar. */
static bool is_forgiven(const struct transfer_host_sink *s, int code)
{
	return !s->is_root && (code == -EPERM || code == -EACCES);
}

static int set_xattrs(const struct transfer_host_sink *s, const struct made *m,
		      const struct transfer_entry *e, struct cfs_err *err)
{
	size_t i;
	int r, worst = 0;

	/* Inherited from the directory that it is in, not its own. */
	if (!m->is_path && !transfer_xattrs_has(e->xattrs, e->xattr_count,
						TRANSFER_ACL_ACCESS))
		(void)fremovexattr(m->fd, TRANSFER_ACL_ACCESS);
	if (S_ISDIR(e->mode) && !transfer_xattrs_has(e->xattrs, e->xattr_count,
						     TRANSFER_ACL_DEFAULT))
		(void)fremovexattr(m->fd, TRANSFER_ACL_DEFAULT);
	for (i = 0; i < e->xattr_count; i++) {
		r = set_xattr(m, &e->xattrs[i]);
		if (r < 0 && !is_forgiven(s, r))
			worst = cfs_err_errno(err, r == -ENOSPC ? -E2BIG : r,
					      "attribute %s is not kept",
					      e->xattrs[i].name);
	}
	return worst;
}

static struct timespec to_timespec(int64_t ns, bool is_set)
{
	struct timespec ts = { .tv_nsec = UTIME_OMIT };

	if (!is_set)
		return ts;
	ts.tv_sec = ns / (int64_t)CFS_NS_PER_S;
	ts.tv_nsec = ns % (int64_t)CFS_NS_PER_S;
	if (ts.tv_nsec < 0) {
		ts.tv_nsec += (long)CFS_NS_PER_S;
		ts.tv_sec--;
	}
	return ts;
}

static int set_owner(const struct transfer_host_sink *s, const struct made *m,
		     const struct transfer_entry *e, struct cfs_err *err)
{
	if (fchownat(m->fd, "", e->uid, e->gid, AT_EMPTY_PATH) == 0)
		return 0;
	if (is_forgiven(s, -errno)) {
		/* The group alone may be one of ours. */
		if (fchownat(m->fd, "", (uid_t)-1, e->gid, AT_EMPTY_PATH) == 0)
			return 0;
		return 0;
	}
	return cfs_err_errno(err, -errno, "owner");
}

static int set_attributes(const struct transfer_host_sink *s,
			  const struct made *m, const struct transfer_entry *e,
			  struct cfs_err *err)
{
	struct timespec times[2] = {
		to_timespec(e->atime_ns, e->has_atime),
		to_timespec(e->mtime_ns, e->has_mtime),
	};
	mode_t mode = e->mode & 07777;
	struct stat st;
	int r, worst;

	r = set_owner(s, m, e, err);
	if (r < 0)
		return r;
	/* Whose owner could not be kept must not lend its rights to ours. */
	if (!s->is_root && (fstat(m->fd, &st) < 0 || st.st_uid != e->uid ||
			    st.st_gid != e->gid))
		mode &= 01777;
	if (!S_ISLNK(e->mode) &&
	    (m->is_path ? chmod(m->name, mode) : fchmod(m->fd, mode)) < 0)
		return cfs_err_errno(err, -errno, "mode");
	/* Behind owner and mode, which clear or change some of them. */
	worst = set_xattrs(s, m, e, err);
	if ((m->is_path ? utimensat(AT_FDCWD, m->name, times, 0)
			: futimens(m->fd, times)) < 0 &&
	    worst == 0)
		worst = cfs_err_errno(err, -errno, "times");
	return worst;
}

/* -------------------------------------------------------------- placing */

struct place {
	int dir_fd;
	const char *name;
	char temp[TEMP_NAME_BYTES]; /* empty: under its name */
};

static int find_place(struct transfer_host_sink *s, const char *path,
		      bool makes, struct place *ret, struct cfs_err *err)
{
	uint64_t handle;
	size_t dir_bytes;
	int r;

	ret->temp[0] = '\0';
	ret->name = transfer_path_last(path, &dir_bytes);
	if (ret->name[0] == '\0')
		return cfs_err_set(err, -EISDIR,
				   "the destination is a directory");
	r = transfer_stack_go(&s->stack, path, dir_bytes, makes, &handle, err);
	if (r == 0)
		ret->dir_fd = (int)handle;
	return r;
}

/* Something is in its place: choose another name until it is complete. */
static int choose_temp(struct transfer_host_sink *s, struct place *at,
		       struct cfs_err *err)
{
	struct stat st;

	if (fstatat(at->dir_fd, at->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISDIR(st.st_mode))
		return cfs_err_set(err, -EISDIR, "a directory is in its place");
	(void)snprintf(at->temp, sizeof(at->temp), ".cfscp-%ld-%llu",
		       (long)getpid(), (unsigned long long)s->temp_count++);
	return 0;
}

static const char *name_now(const struct place *at)
{
	return at->temp[0] ? at->temp : at->name;
}

static int settle(const struct place *at, int r, bool keeps,
		  struct cfs_err *err)
{
	if ((r == 0 || keeps) && at->temp[0] &&
	    renameat(at->dir_fd, at->temp, at->dir_fd, at->name) < 0) {
		r = cfs_err_errno(err, -errno, "rename");
		keeps = false;
	}
	if (r < 0 && !keeps)
		(void)unlinkat(at->dir_fd, name_now(at), 0);
	return r;
}

/* Run @make until it has made a new name. */
static int make(struct transfer_host_sink *s, struct place *at,
		const struct transfer_entry *e,
		int (*fn)(const struct place *at,
			  const struct transfer_entry *e),
		struct cfs_err *err)
{
	int r;

	for (;;) {
		r = fn(at, e);
		if (r >= 0)
			return r;
		if (r != -EEXIST)
			return cfs_err_errno(err, r, "make");
		r = choose_temp(s, at, err);
		if (r < 0)
			return r;
	}
}

/* ---------------------------------------------------------- directories */

static int sink_directory(struct transfer *t, const struct transfer_entry *e,
			  struct cfs_err *err)
{
	struct transfer_host_sink *s = t->sink_arg;
	uint64_t handle;
	struct place at;
	struct stat st;
	int r;

	if (e->path[0] == '\0')
		return 0;
	r = find_place(s, e->path, true, &at, err);
	if (r != 0)
		return r;
	/* For us alone until all is in it. */
	if (mkdirat(at.dir_fd, at.name, 0700) == 0)
		return 0;
	if (errno != EEXIST)
		return cfs_err_errno(err, -errno, "make");
	r = transfer_stack_go(&s->stack, e->path, strlen(e->path), false,
			      &handle, err);
	/* Another file system is mounted there: it is synced as well. */
	if (r == 0 && fstat((int)handle, &st) == 0 && st.st_dev != s->dev)
		s->syncs_each = true;
	return r;
}

static int sink_directory_end(struct transfer *t,
			      const struct transfer_entry *e,
			      struct cfs_err *err)
{
	struct transfer_host_sink *s = t->sink_arg;
	struct made m = { .is_path = false };
	uint64_t handle;
	int r;

	r = transfer_stack_go(&s->stack, e->path, strlen(e->path), false,
			      &handle, err);
	if (r < 0)
		return r;
	m.fd = (int)handle;
	r = set_attributes(s, &m, e, err);
	if (r == 0 && s->syncs_each && fsync(m.fd) < 0)
		r = cfs_err_errno(err, -errno, "sync");
	return r;
}

/* ------------------------------------------------------ links and nodes */

static int make_node(const struct place *at, const struct transfer_entry *e)
{
	dev_t dev = makedev((unsigned int)(e->rdev >> 32),
			    (unsigned int)e->rdev);
	char target[CFS_SYMLINK_BYTES_MAX + 1];

	if (!S_ISLNK(e->mode))
		return mknodat(at->dir_fd, name_now(at),
			       (e->mode & S_IFMT) | 0600, dev) < 0
			       ? -errno
			       : 0;
	if (e->target_bytes > CFS_SYMLINK_BYTES_MAX)
		return -ENAMETOOLONG;
	memcpy(target, e->target, e->target_bytes);
	target[e->target_bytes] = '\0';
	return symlinkat(target, at->dir_fd, name_now(at)) < 0 ? -errno : 0;
}

static int sink_node(struct transfer *t, const struct transfer_entry *e,
		     struct cfs_err *err)
{
	struct transfer_host_sink *s = t->sink_arg;
	struct made m = { .is_path = true };
	struct place at;
	int r;

	r = find_place(s, e->path, true, &at, err);
	if (r == 0)
		r = make(s, &at, e, make_node, err);
	if (r != 0)
		return r;
	m.fd = openat(at.dir_fd, name_now(&at),
		      O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (m.fd < 0)
		return settle(&at, cfs_err_errno(err, -errno, "open"), false,
			      err);
	transfer_fd_path(m.fd, m.name);
	r = set_attributes(s, &m, e, err);
	close(m.fd);
	return settle(&at, r, true, err);
}

static int sink_link(struct transfer *t, const struct transfer_entry *e,
		     const char *first, struct cfs_err *err)
{
	struct transfer_host_sink *s = t->sink_arg;
	struct place from, at;
	int r, fd, code;

	r = find_place(s, first, false, &from, err);
	if (r != 0)
		return r;
	/* The stack moves on: hold what the link is made from. */
	fd = openat(from.dir_fd, from.name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return cfs_err_errno(err, -errno, "link to %s", first);
	r = find_place(s, e->path, true, &at, err);
	while (r == 0) {
		char name[TRANSFER_FD_PATH_BYTES];

		transfer_fd_path(fd, name);
		if (linkat(AT_FDCWD, name, at.dir_fd, name_now(&at),
			   AT_SYMLINK_FOLLOW) == 0)
			break;
		code = -errno;
		r = code == -EEXIST
			    ? choose_temp(s, &at, err)
			    : cfs_err_errno(err, code, "link to %s", first);
	}
	close(fd);
	if (r == 0)
		r = settle(&at, 0, true, err);
	/* Of two names of one file rename leaves both. */
	if (r == 0 && at.temp[0])
		(void)unlinkat(at.dir_fd, at.temp, 0);
	return r;
}

/* ---------------------------------------------------------------- files */

int transfer_pwrite_all(int fd, const void *buf, size_t bytes,
			uint64_t offset_bytes)
{
	const uint8_t *p = buf;

	while (bytes) {
		ssize_t n = pwrite(fd, p, bytes, (off_t)offset_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		bytes -= (size_t)n;
		offset_bytes += (uint64_t)n;
	}
	return 0;
}

static int make_file(const struct place *at, const struct transfer_entry *e)
{
	int fd = openat(at->dir_fd, name_now(at),
			O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			0600);

	(void)e;
	return fd < 0 ? -errno : fd;
}

static int write_piece(const struct transfer *t, int fd, const uint8_t *p,
		       size_t bytes, uint64_t offset_bytes)
{
	size_t at = 0, end, n;
	int r = 0;

	if (!t->opt->is_sparse)
		return transfer_pwrite_all(fd, p, bytes, offset_bytes);
	while (at < bytes && r == 0) {
		for (end = at; end < bytes; end += n) {
			n = CFS_MIN(bytes - end,
				    CFS_BLOCK_BYTES - (offset_bytes + end) %
							      CFS_BLOCK_BYTES);
			if (transfer_is_zero(p + end, n))
				break;
		}
		r = transfer_pwrite_all(fd, p + at, end - at,
					offset_bytes + at);
		at = end < bytes ? end + n : end;
	}
	return r;
}

static int write_file(struct transfer *t, const struct transfer_entry *e,
		      struct transfer_reader *rd, int fd, struct cfs_err *err)
{
	const struct cfs_bytes_end to = {
		.kind = CFS_BYTES_FD,
		.fd = fd,
		.is_fresh = true,
		.has_no_sync = true,
	};
	uint64_t offset_bytes, end_bytes = 0;
	const void *p;
	size_t n;
	int r;

	if (transfer_is_bulk(e, rd))
		return transfer_bulk(t, e, rd, &to, err);
	for (;;) {
		r = transfer_check_stop(t, err);
		if (r == 0)
			r = rd->next(rd, &p, &n, &offset_bytes, err);
		if (r != 0)
			return r;
		if (n == 0)
			break;
		r = write_piece(t, fd, p, n, offset_bytes);
		if (r < 0)
			return cfs_err_errno(err, r, "write");
		transfer_moved(t, n);
		end_bytes = CFS_MAX(end_bytes, offset_bytes + n);
	}
	if (e->has_size)
		end_bytes = CFS_MAX(end_bytes, e->size_bytes);
	if (ftruncate(fd, (off_t)end_bytes) < 0)
		return cfs_err_errno(err, -errno, "set its length");
	return 0;
}

static int sink_file(struct transfer *t, const struct transfer_entry *e,
		     struct transfer_reader *rd, struct cfs_err *err)
{
	struct transfer_host_sink *s = t->sink_arg;
	struct made m = { .is_path = false };
	struct place at;
	bool keeps;
	int r;

	r = find_place(s, e->path, true, &at, err);
	if (r != 0)
		return r;
	r = make(s, &at, e, make_file, err);
	if (r < 0)
		return r;
	m.fd = r;
	r = write_file(t, e, rd, m.fd, err);
	/* With its content it is worth keeping even if an attribute is not. */
	keeps = r == 0;
	if (r == 0)
		r = set_attributes(s, &m, e, err);
	if (keeps && s->syncs_each && fsync(m.fd) < 0) {
		r = cfs_err_errno(err, -errno, "sync");
		keeps = false;
	}
	if (close(m.fd) < 0 && keeps) {
		r = cfs_err_errno(err, -errno, "close");
		keeps = false;
	}
	return settle(&at, r, keeps, err);
}

const struct transfer_sink transfer_host_sink = {
	.directory = sink_directory,
	.directory_end = sink_directory_end,
	.file = sink_file,
	.node = sink_node,
	.link = sink_link,
};
