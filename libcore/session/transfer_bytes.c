/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ends of a copy of bytes.  Files of the host are read through its cache,
 * which reads ahead, and written past it, so that a large copy neither drives
 * everything else out of memory nor waits for all of itself in the last sync.
 */
#include "session/transfer_bytes_priv.h"

#include "base/bits.h"
#include "session/transfer_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STOP_POLL_MS     200
/* Below that the host's cache is faster. */
#define DIRECT_BYTES_MIN (UINT64_C(16) << 20)
#define ZERO_PIECE_BYTES (64u * 1024u)

static const uint8_t zeroes[ZERO_PIECE_BYTES];

static int init_fd(struct bytes_end *b, struct cfs_err *err)
{
	struct stat st;
	off_t end;

	if (fstat(b->end->fd, &st) < 0)
		return cfs_err_errno(err, -errno, "look at it");
	b->is_regular = S_ISREG(st.st_mode);
	b->is_seekable = b->is_regular || S_ISBLK(st.st_mode);
	b->size_bytes = UINT64_MAX;
	if (!b->is_seekable)
		return 0;
	if (b->is_regular) {
		b->size_bytes = (uint64_t)st.st_size;
		return 0;
	}
	end = lseek(b->end->fd, 0, SEEK_END);
	if (end < 0)
		return cfs_err_errno(err, -errno, "its size");
	b->size_bytes = (uint64_t)end;
	return 0;
}

int bytes_end_init(struct bytes_end *b, const struct cfs_bytes_end *end,
		   const struct cfs_transfer_options *opt, struct cfs_err *err)
{
	struct cfs_inode inode;
	int r;

	memset(b, 0, sizeof(*b));
	b->end = end;
	b->opt = opt;
	b->old_flags = -1;
	b->direct_fd = -1;
	b->size_bytes = UINT64_MAX;
	switch (end->kind) {
	case CFS_BYTES_LUN:
		b->size_bytes = cfs_io_size_bytes(end->lun);
		return 0;
	case CFS_BYTES_FILE:
		r = cfs_fs_getattr(end->fs, end->ino, &inode, err);
		if (r == 0 && !S_ISREG(inode.mode))
			r = cfs_err_set(err,
					S_ISDIR(inode.mode) ? -EISDIR : -ESPIPE,
					"not a regular file");
		if (r == 0)
			b->size_bytes = inode.size_bytes;
		return r;
	case CFS_BYTES_FD:
		return init_fd(b, err);
	case CFS_BYTES_SINK:
	default:
		return 0;
	}
}

void bytes_end_done(struct bytes_end *b)
{
	if (b->old_flags >= 0)
		(void)fcntl(b->end->fd, F_SETFL, b->old_flags);
	b->old_flags = -1;
	if (b->direct_fd >= 0)
		close(b->direct_fd);
	b->direct_fd = -1;
}

static void set_direct(struct bytes_end *b, bool on)
{
	int flags = b->old_flags | (on ? O_DIRECT : 0);

	if (b->is_direct != on && fcntl(b->end->fd, F_SETFL, flags) == 0)
		b->is_direct = on;
}

void bytes_end_use_direct(struct bytes_end *b, uint64_t length_bytes)
{
	if (b->end->kind != CFS_BYTES_FD || !b->is_seekable ||
	    length_bytes < DIRECT_BYTES_MIN)
		return;
	b->old_flags = fcntl(b->end->fd, F_GETFL);
	if (b->old_flags >= 0)
		set_direct(b, true);
}

void bytes_end_read_direct(struct bytes_end *b, uint64_t length_bytes)
{
	char path[64];

	if (b->end->kind != CFS_BYTES_FD || !b->is_seekable ||
	    length_bytes < DIRECT_BYTES_MIN)
		return;
	/* Another open file: reads of both sorts go on side by side. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", b->end->fd);
	b->direct_fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
}

/* --------------------------------------------------------------- holes */

static int seek_fd(struct bytes_end *b, uint64_t at, bool data, uint64_t *ret,
		   struct cfs_err *err)
{
	off_t to = lseek(b->end->fd, (off_t)at, data ? SEEK_DATA : SEEK_HOLE);

	if (to >= 0) {
		*ret = (uint64_t)to;
		return 0;
	}
	if (errno == ENXIO)
		return -ENXIO;
	if (errno != EINVAL && errno != EOPNOTSUPP)
		return cfs_err_errno(err, -errno, "offset %llu",
				     (unsigned long long)at);
	b->has_no_holes = true;
	*ret = data ? at : b->size_bytes;
	return 0;
}

static int seek(struct bytes_end *b, uint64_t at, bool data, uint64_t *ret,
		struct cfs_err *err)
{
	switch (b->end->kind) {
	case CFS_BYTES_LUN:
		return cfs_io_seek(b->end->lun, at, data, ret, err);
	case CFS_BYTES_FILE:
		return cfs_fs_seek(b->end->fs, b->end->ino, at, data, ret, err);
	case CFS_BYTES_FD:
	case CFS_BYTES_SINK:
	default:
		return seek_fd(b, at, data, ret, err);
	}
}

int bytes_end_extent(struct bytes_end *b, uint64_t at, uint64_t limit,
		     uint64_t *ret_begin, uint64_t *ret_end,
		     struct cfs_err *err)
{
	uint64_t base = b->end->offset_bytes, begin, end;
	int r;

	*ret_begin = at;
	*ret_end = limit;
	if (b->has_no_holes || (b->end->kind == CFS_BYTES_FD && !b->is_regular))
		return 0;
	r = seek(b, base + at, true, &begin, err);
	if (r == -ENXIO) {
		*ret_begin = limit;
		return 0;
	}
	if (r < 0)
		return r;
	*ret_begin = CFS_MIN(begin - base, limit);
	if (*ret_begin == limit)
		return 0;
	r = seek(b, begin, false, &end, err);
	if (r < 0 && r != -ENXIO)
		return r;
	if (r == 0)
		*ret_end = CFS_MIN(end - base, limit);
	return 0;
}

/* ---------------------------------------------------------------- read */

static bool is_stopped(const struct bytes_end *b)
{
	return b->opt->stop && b->opt->stop(b->opt->arg);
}

/* From a pipe: wait in steps, so that a stop is seen. */
static int read_stream(struct bytes_end *b, uint8_t *buf, size_t bytes,
		       size_t *ret_bytes, struct cfs_err *err)
{
	struct pollfd p = { .fd = b->end->fd, .events = POLLIN };
	ssize_t n;

	while (*ret_bytes < bytes) {
		if (is_stopped(b))
			return cfs_err_set(err, -EINTR, "stopped");
		if (poll(&p, 1, STOP_POLL_MS) <= 0)
			continue;
		n = read(b->end->fd, buf + *ret_bytes, bytes - *ret_bytes);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return cfs_err_errno(err, -errno, "read");
		if (n == 0)
			break;
		*ret_bytes += (size_t)n;
	}
	return 0;
}

/*
 * A long file is read past the host's cache, where place and buffer are aligned
 * for that: filling the cache with what is read once costs more than it gives.
 * Whatever is left is read the plain way by the caller.
 */
static size_t read_file_direct(const struct bytes_end *b, uint64_t at,
			       uint8_t *buf, size_t bytes)
{
	ssize_t n;

	if (at % CFS_BLOCK_BYTES || (uintptr_t)buf % CFS_BLOCK_BYTES)
		return 0;
	n = pread(b->direct_fd, buf, cfs_align_down(bytes, CFS_BLOCK_BYTES),
		  (off_t)at);
	return n > 0 ? (size_t)n : 0;
}

static int read_file(const struct bytes_end *b, uint64_t at, uint8_t *buf,
		     size_t bytes, size_t *ret_bytes, struct cfs_err *err)
{
	if (b->direct_fd >= 0)
		*ret_bytes = read_file_direct(b, at, buf, bytes);
	while (*ret_bytes < bytes) {
		ssize_t n = pread(b->end->fd, buf + *ret_bytes,
				  bytes - *ret_bytes, (off_t)(at + *ret_bytes));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cfs_err_errno(err, -errno, "read");
		if (n == 0)
			break;
		*ret_bytes += (size_t)n;
	}
	return 0;
}

int bytes_end_read(struct bytes_end *b, uint64_t at, void *buf, size_t bytes,
		   size_t *ret_bytes, struct cfs_err *err)
{
	uint64_t offset = b->end->offset_bytes + at;
	int r;

	*ret_bytes = 0;
	switch (b->end->kind) {
	case CFS_BYTES_LUN:
		r = cfs_io_read(b->end->lun, offset, buf, bytes, ret_bytes,
				err);
		if (r == 0)
			*ret_bytes = bytes;
		return r;
	case CFS_BYTES_FILE:
		return cfs_fs_read(b->end->fs, b->end->ino, offset, buf, bytes,
				   ret_bytes, err);
	case CFS_BYTES_FD:
	case CFS_BYTES_SINK:
	default:
		return b->is_seekable
			       ? read_file(b, offset, buf, bytes, ret_bytes,
					   err)
			       : read_stream(b, buf, bytes, ret_bytes, err);
	}
}

/* --------------------------------------------------------------- write */

static int write_stream(const struct bytes_end *b, const uint8_t *p,
			size_t bytes, struct cfs_err *err)
{
	struct pollfd pfd = { .fd = b->end->fd, .events = POLLOUT };

	while (bytes) {
		ssize_t n;

		if (is_stopped(b))
			return cfs_err_set(err, -EINTR, "stopped");
		if (poll(&pfd, 1, STOP_POLL_MS) <= 0)
			continue;
		n = write(b->end->fd, p, bytes);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return cfs_err_errno(err, -errno, "write");
		p += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int write_file(struct bytes_end *b, uint64_t offset, const uint8_t *p,
		      size_t bytes, struct cfs_err *err)
{
	bool is_aligned = offset % CFS_BLOCK_BYTES == 0 &&
			  (uintptr_t)p % CFS_BLOCK_BYTES == 0;
	size_t front = is_aligned ? bytes - bytes % CFS_BLOCK_BYTES : 0;
	int r = 0;

	if (b->is_direct && front) {
		r = transfer_pwrite_all(b->end->fd, p, front, offset);
		if (r == -EINVAL) {
			/* Larger sectors, or a file system that cannot. */
			set_direct(b, false);
			b->old_flags = -1;
			r = 0;
			front = 0;
		}
	} else {
		front = 0;
	}
	if (r == 0 && front < bytes) {
		bool was_direct = b->is_direct;

		set_direct(b, false);
		r = transfer_pwrite_all(b->end->fd, p + front, bytes - front,
					offset + front);
		if (was_direct)
			set_direct(b, true);
	}
	return r < 0 ? cfs_err_errno(err, r, "write") : 0;
}

int bytes_end_write(struct bytes_end *b, uint64_t at, const void *buf,
		    size_t bytes, struct cfs_err *err)
{
	uint64_t offset = b->end->offset_bytes + at;

	switch (b->end->kind) {
	case CFS_BYTES_LUN:
		return cfs_io_write(b->end->lun, offset, buf, bytes, err);
	case CFS_BYTES_FILE:
		return cfs_fs_write(b->end->fs, b->end->ino, offset, buf, bytes,
				    NULL, err);
	case CFS_BYTES_FD:
		return b->is_seekable ? write_file(b, offset, buf, bytes, err)
				      : write_stream(b, buf, bytes, err);
	case CFS_BYTES_SINK:
	default:
		return b->end->write(b->end->write_arg, buf, bytes, err);
	}
}

static int write_zeroes(struct bytes_end *b, uint64_t at, uint64_t length_bytes,
			struct cfs_err *err)
{
	int r = 0;

	while (length_bytes && r == 0) {
		size_t n = (size_t)CFS_MIN(length_bytes, ZERO_PIECE_BYTES);

		if (is_stopped(b))
			return cfs_err_set(err, -EINTR, "stopped");
		r = bytes_end_write(b, at, zeroes, n, err);
		at += n;
		length_bytes -= n;
	}
	return r;
}

int bytes_end_zero(struct bytes_end *b, uint64_t at, uint64_t length_bytes,
		   struct cfs_err *err)
{
	const struct cfs_bytes_end *end = b->end;
	uint64_t offset = end->offset_bytes + at;

	if (length_bytes == 0)
		return 0;
	switch (end->kind) {
	case CFS_BYTES_LUN:
		return cfs_io_discard(end->lun, offset, length_bytes, err);
	case CFS_BYTES_FILE:
		return end->is_fresh
			       ? 0
			       : cfs_fs_zero_range(end->fs, end->ino, offset,
						   length_bytes, false, err);
	case CFS_BYTES_FD:
		if (b->is_seekable && end->is_fresh)
			return 0;
		if (b->is_seekable &&
		    fallocate(end->fd,
			      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      (off_t)offset, (off_t)length_bytes) == 0)
			return 0;
		return write_zeroes(b, at, length_bytes, err);
	case CFS_BYTES_SINK:
	default:
		return write_zeroes(b, at, length_bytes, err);
	}
}

/* ----------------------------------------------------------------- end */

int bytes_end_sync(struct bytes_end *b, struct cfs_err *err)
{
	if (b->end->has_no_sync)
		return 0;
	switch (b->end->kind) {
	case CFS_BYTES_LUN:
		return cfs_io_sync(b->end->lun, err);
	case CFS_BYTES_FILE:
		return cfs_fs_sync(b->end->fs, b->end->ino, err);
	case CFS_BYTES_FD:
		if (b->is_seekable && fsync(b->end->fd) < 0)
			return cfs_err_errno(err, -errno, "sync");
		return 0;
	case CFS_BYTES_SINK:
	default:
		return 0;
	}
}

int bytes_end_finish(struct bytes_end *b, uint64_t length_bytes,
		     struct cfs_err *err)
{
	const struct cfs_bytes_end *end = b->end;
	uint64_t size_bytes = end->offset_bytes + length_bytes;
	int r = 0;

	if (end->kind == CFS_BYTES_FILE && end->is_fresh)
		r = cfs_fs_truncate(end->fs, end->ino, size_bytes, err);
	else if (end->kind == CFS_BYTES_FD && b->is_regular && end->is_fresh &&
		 ftruncate(end->fd, (off_t)size_bytes) < 0)
		r = cfs_err_errno(err, -errno, "set its length");
	return r < 0 ? r : bytes_end_sync(b, err);
}
