/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A directory of the host as the source.  Links are copied and never
 * followed; all is opened relative to its directory, so a path may be longer
 * than the kernel takes.  The names of one directory are held in memory for
 * each level, descriptors for the deepest few levels only.
 */
#include "session/transfer_priv.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct level {
	struct cfs_buf names; /* with a NUL each */
	size_t at;            /* of the next one */
	size_t path_bytes;    /* of walk.path, and */
	size_t source_bytes;  /* of walk.source, of this directory */
	struct stat st;
	struct transfer_xattrs xattrs;
};

struct walk {
	struct transfer *t;
	struct transfer_stack stack; /* of source directories */
	struct cfs_buf path;         /* as put */
	struct cfs_buf source;       /* below the first */
	CFS_VEC(struct level) levels;
	struct transfer_xattrs xattrs;
	uint8_t *buf;
};

static int64_t to_ns(struct timespec ts)
{
	int64_t ns;

	if (__builtin_mul_overflow((int64_t)ts.tv_sec, (int64_t)CFS_NS_PER_S,
				   &ns) ||
	    __builtin_add_overflow(ns, (int64_t)ts.tv_nsec, &ns))
		return ts.tv_sec < 0 ? INT64_MIN : INT64_MAX - 1;
	return ns;
}

static void entry_of(const struct stat *st, const char *path,
		     const struct transfer_xattrs *x,
		     struct transfer_entry *ret)
{
	*ret = (struct transfer_entry){
		.path = path,
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.nlink = (uint32_t)CFS_MIN(st->st_nlink, UINT32_MAX),
		.rdev = (uint64_t)major(st->st_rdev) << 32 | minor(st->st_rdev),
		.size_bytes = (uint64_t)st->st_size,
		.has_size = true,
		.has_atime = true,
		.has_mtime = true,
		.atime_ns = to_ns(st->st_atim),
		.mtime_ns = to_ns(st->st_mtim),
		.ctime_ns = to_ns(st->st_ctim),
		.xattrs = x->list.items,
		.xattr_count = x->list.count,
	};
}

/* ---------------------------------------------------------------- files */

struct host_reader {
	struct transfer_reader rd;
	int fd;
	uint8_t *buf;
	uint64_t at, data_end, size_bytes;
	bool has_no_seek;
};

static int reader_seek(struct host_reader *h, struct cfs_err *err)
{
	off_t data, hole;

	h->data_end = h->size_bytes;
	if (h->has_no_seek)
		return 0;
	data = lseek(h->fd, (off_t)h->at, SEEK_DATA);
	if (data < 0 && errno == ENXIO) {
		h->at = h->size_bytes;
		return 0;
	}
	hole = data < 0 ? -1 : lseek(h->fd, data, SEEK_HOLE);
	if (data < 0 || hole < 0) {
		if (errno != EINVAL && errno != EOPNOTSUPP)
			return cfs_err_errno(err, -errno, "read");
		h->has_no_seek = true;
		return 0;
	}
	h->at = (uint64_t)data;
	h->data_end = CFS_MIN((uint64_t)hole, h->size_bytes);
	return 0;
}

static int reader_next(struct transfer_reader *rd, const void **ret,
		       size_t *ret_bytes, uint64_t *ret_offset_bytes,
		       struct cfs_err *err)
{
	struct host_reader *h = (struct host_reader *)rd;
	size_t want;
	ssize_t n;
	int r;

	*ret = h->buf;
	*ret_bytes = 0;
	if (h->at >= h->size_bytes)
		return 0;
	if (h->at >= h->data_end) {
		r = reader_seek(h, err);
		if (r < 0 || h->at >= h->size_bytes)
			return r;
	}
	want = (size_t)CFS_MIN(h->data_end - h->at, TRANSFER_BUF_BYTES);
	do
		n = pread(h->fd, h->buf, want, (off_t)h->at);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return cfs_err_errno(err, -errno, "read at offset %llu",
				     (unsigned long long)h->at);
	/* It was cut meanwhile: what is missing are zeroes. */
	if (n == 0)
		h->at = h->size_bytes;
	*ret_offset_bytes = h->at;
	*ret_bytes = (size_t)n;
	h->at += (uint64_t)n;
	return 0;
}

static int put_file(struct walk *w, int fd, struct transfer_entry *e,
		    const struct stat *st, struct cfs_err *err)
{
	struct host_reader h = {
		.rd = { .next = reader_next,
			.whole = { .kind = CFS_BYTES_FD, .fd = fd } },
		.fd = fd,
		.buf = w->buf,
		.size_bytes = (uint64_t)st->st_size,
		/* A file without holes is read without asking for them. */
		.has_no_seek = (uint64_t)st->st_blocks * 512 >=
			       (uint64_t)st->st_size,
	};

	return transfer_put(w->t, e, &h.rd, st->st_dev, st->st_ino, NULL, err);
}

/* -------------------------------------------------------------- entries */

static int read_names(int fd, struct cfs_buf *ret, struct cfs_err *err)
{
	const struct dirent *d;
	DIR *dir;
	int r = 0, copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (copy < 0)
		return cfs_err_errno(err, -errno, "directory");
	dir = fdopendir(copy);
	if (!dir) {
		close(copy);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	for (errno = 0; r == 0 && (d = readdir(dir)); errno = 0) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (cfs_buf_append(ret, d->d_name, strlen(d->d_name) + 1) < 0)
			r = cfs_err_set(err, -ENOMEM, "out of memory");
	}
	if (r == 0 && errno)
		r = cfs_err_errno(err, -errno, "directory");
	closedir(dir);
	return r;
}

static void level_done(struct level *l)
{
	cfs_buf_donep(&l->names);
	transfer_xattrs_donep(&l->xattrs);
}

/*
 * Go into the directory that walk.path and walk.source name, whose descriptor
 * is @fd.  Takes walk.xattrs.
 */
static int enter(struct walk *w, int fd, const struct stat *st,
		 struct cfs_err *err)
{
	struct level l = {
		.names = CFS_BUF_INIT,
		.path_bytes = w->path.bytes,
		.source_bytes = w->source.bytes,
		.st = *st,
		.xattrs = w->xattrs,
	};
	int r;

	memset(&w->xattrs, 0, sizeof(w->xattrs));
	r = read_names(fd, &l.names, err);
	if (r < 0 && r != -ENOMEM) {
		/* What cannot be read is there, but empty. */
		r = transfer_failed(w->t, (const char *)w->path.data, err);
		l.names.bytes = 0;
	}
	if (r == 0 && cfs_vec_push(&w->levels, l) < 0)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	if (r < 0)
		level_done(&l);
	return r;
}

static int put_directory(struct walk *w, int fd, const struct stat *st,
			 struct cfs_err *err)
{
	struct transfer_entry e;
	bool is_made;
	int r;

	entry_of(st, (const char *)w->path.data, &w->xattrs, &e);
	r = transfer_put(w->t, &e, NULL, 0, 0, &is_made, err);
	return r < 0 || !is_made ? r : enter(w, fd, st, err);
}

static int put_symlink(struct walk *w, int fd, struct transfer_entry *e,
		       const struct stat *st, struct cfs_err *err)
{
	char target[CFS_SYMLINK_BYTES_MAX + 1];
	ssize_t n = readlinkat(fd, "", target, sizeof(target));
	int r;

	if (n < 0)
		(void)cfs_err_errno(err, -errno, "read the link");
	else if (n > (ssize_t)CFS_SYMLINK_BYTES_MAX || n == 0)
		(void)cfs_err_set(err, -EILSEQ, "a link too long");
	if (n <= 0 || n > (ssize_t)CFS_SYMLINK_BYTES_MAX)
		return transfer_failed(w->t, e->path, err);
	e->target = target;
	e->target_bytes = (size_t)n;
	r = transfer_put(w->t, e, NULL, st->st_dev, st->st_ino, NULL, err);
	e->target = NULL;
	return r;
}

/* Without touching the access time where we may. */
static int open_data(int dir_fd, const char *name)
{
	int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
	int fd = openat(dir_fd, name, flags | O_NOATIME);

	if (fd < 0 && errno == EPERM)
		fd = openat(dir_fd, name, flags);
	return fd;
}

static int put_open(struct walk *w, int fd, const struct stat *st, bool is_path,
		    struct cfs_err *err)
{
	struct transfer_entry e;
	int r;

	r = transfer_xattrs_of_fd(&w->xattrs, fd, is_path, err);
	if (r < 0) {
		r = transfer_failed(w->t, (const char *)w->path.data, err);
		if (r < 0)
			return r;
	}
	if (S_ISDIR(st->st_mode))
		return put_directory(w, fd, st, err);
	entry_of(st, (const char *)w->path.data, &w->xattrs, &e);
	if (S_ISREG(st->st_mode))
		return put_file(w, fd, &e, st, err);
	if (S_ISLNK(st->st_mode))
		return put_symlink(w, fd, &e, st, err);
	return transfer_put(w->t, &e, NULL, st->st_dev, st->st_ino, NULL, err);
}

/* Whatever @name is; walk.path and walk.source end with it. */
static int put_name(struct walk *w, int dir_fd, const char *name,
		    struct cfs_err *err)
{
	struct stat st;
	bool has_data;
	int r, fd;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		(void)cfs_err_errno(err, -errno, "look at it");
		return transfer_failed(w->t, (const char *)w->path.data, err);
	}
	/* Devices and fifos are not opened, which may do or wait for things. */
	has_data = S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
	fd = has_data ? open_data(dir_fd, name)
		      : openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		r = cfs_err_errno(err, -errno, "open");
	else if (has_data && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		r = cfs_err_set(err, -EILSEQ, "it changed while it was read");
	else
		r = 0;
	r = r < 0 ? transfer_failed(w->t, (const char *)w->path.data, err)
		  : put_open(w, fd, &st, !has_data, err);
	if (fd >= 0)
		close(fd);
	return r;
}

static int leave(struct walk *w, struct cfs_err *err)
{
	struct level *l = &w->levels.items[w->levels.count - 1];
	struct transfer_entry e;
	int r;

	transfer_path_cut(&w->path, l->path_bytes);
	entry_of(&l->st, (const char *)w->path.data, &l->xattrs, &e);
	r = transfer_put_end(w->t, &e, err);
	level_done(l);
	w->levels.count--;
	return r;
}

/* The next entry of the deepest directory, or its end. */
static int step(struct walk *w, struct cfs_err *err)
{
	struct level *l = &w->levels.items[w->levels.count - 1];
	const char *name = (const char *)l->names.data + l->at;
	uint64_t dir;
	int r;

	if (l->at == l->names.bytes)
		return leave(w, err);
	l->at += strlen(name) + 1;
	transfer_path_cut(&w->path, l->path_bytes);
	transfer_path_cut(&w->source, l->source_bytes);
	if (transfer_path_add(&w->path, name, strlen(name)) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = transfer_stack_go(&w->stack, (const char *)w->source.data,
			      w->source.bytes, false, &dir, err);
	if (r < 0)
		return transfer_failed(w->t, (const char *)w->path.data, err);
	if (transfer_path_add(&w->source, name, strlen(name)) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return put_name(w, (int)dir, name, err);
}

/* ----------------------------------------------------------------- walk */

static int walk_open(void *arg, uint64_t parent, const char *name, bool makes,
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

static void walk_close(void *arg, uint64_t handle)
{
	(void)arg;
	close((int)handle);
}

static void walk_done(struct walk *w)
{
	while (w->levels.count)
		level_done(&w->levels.items[--w->levels.count]);
	cfs_vec_done(&w->levels);
	transfer_stack_done(&w->stack);
	transfer_xattrs_donep(&w->xattrs);
	cfs_buf_donep(&w->path);
	cfs_buf_donep(&w->source);
	free(w->buf);
}

int transfer_walk_host(struct transfer *t, int dir_fd, const char *name,
		       const char *prefix, struct cfs_err *err)
{
	struct walk w = {
		.t = t,
		.stack = { .open = walk_open, .close = walk_close },
		.buf = malloc(TRANSFER_BUF_BYTES),
	};
	int r = 0, root = -1;

	if (!w.buf || cfs_buf_append_text(&w.path, prefix) < 0 ||
	    !cfs_buf_text(&w.path) || !cfs_buf_text(&w.source))
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = put_name(&w, dir_fd, name, err);
	if (r == 0 && w.levels.count) {
		root = openat(dir_fd, name,
			      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (root < 0)
			r = cfs_err_errno(err, -errno, "open");
		w.stack.root = (uint64_t)root;
	}
	while (r == 0 && w.levels.count) {
		r = transfer_check_stop(t, err);
		if (r == 0)
			r = step(&w, err);
	}
	walk_done(&w);
	if (root >= 0)
		close(root);
	return r;
}
