/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plain files and block devices.
 *
 * What must stay true:
 *  - all I/O and the lock use one open file description, so that the kernel
 *    drops the lock of a killed process only when its I/O has ended;
 *  - an aligned transfer or a flush is one system call and nothing else;
 *  - a direct transfer that is not aligned touches whole blocks, under
 *    rmw_mutex, and never leaves a plain file longer than it was.
 */
#include "device/file_priv.h"

#include "base/bits.h"
#include "base/cleanup.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static struct cfs_file_dev *file_of(struct cfs_dev *dev)
{
	return (struct cfs_file_dev *)dev;
}

/* ------------------------------------------------------------ transfers */

bool cfs_file_is_straight(const struct cfs_file_dev *file,
			  uint64_t offset_bytes, const void *buf,
			  size_t length_bytes)
{
	return !file->is_direct ||
	       ((offset_bytes | length_bytes | (uintptr_t)buf) &
		(file->align_bytes - 1)) == 0;
}

/*
 * Transfer up to @length_bytes, and at least @need_bytes of them: a read of
 * the block in which a file ends comes back short.
 */
static int transfer_straight(const struct cfs_file_dev *file, enum cfs_io_op op,
			     uint64_t offset_bytes, void *buf,
			     size_t length_bytes, size_t need_bytes)
{
	size_t done = 0;

	while (done < need_bytes) {
		void *at = (char *)buf + done;
		size_t left = length_bytes - done;
		off_t offset = (off_t)(offset_bytes + done);
		ssize_t n = op == CFS_IO_READ
				    ? pread(file->fd, at, left, offset)
				    : pwrite(file->fd, at, left, offset);

		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		/*
		 * Nothing more: the file was cut underneath us.  EINVAL is
		 * the kernel's about alignment, not the caller's range.
		 */
		return n == 0 || errno == EINVAL ? -EIO : -errno;
	}
	return 0;
}

/* Fill block-aligned @window with what the device holds there; zeroes past
 * the end. */
static int load_window(const struct cfs_file_dev *file, uint64_t offset_bytes,
		       unsigned char *window, size_t length_bytes)
{
	uint64_t size_bytes = cfs_dev_size_bytes(&file->dev);
	size_t need = (size_t)CFS_MIN(size_bytes - offset_bytes,
				      (uint64_t)length_bytes);

	if (need < length_bytes)
		memset(window + need, 0, length_bytes - need);
	return transfer_straight(file, CFS_IO_READ, offset_bytes, window,
				 length_bytes, need);
}

/* Write @part_bytes at @offset_bytes through a window of whole blocks. */
static int bounce_write(const struct cfs_file_dev *file, uint64_t offset_bytes,
			const void *buf, size_t part_bytes,
			unsigned char *window)
{
	uint64_t align = file->align_bytes;
	uint64_t start = cfs_align_down(offset_bytes, align);
	uint64_t end = cfs_align_up(offset_bytes + part_bytes, align);
	bool is_head_cut = start != offset_bytes;
	bool is_tail_cut = end != offset_bytes + part_bytes;
	int r = 0;

	if (is_head_cut)
		r = load_window(file, start, window, align);
	if (r == 0 && is_tail_cut && !(is_head_cut && end - start == align))
		r = load_window(file, end - align,
				window + (end - align - start), align);
	if (r < 0)
		return r;
	memcpy(window + (offset_bytes - start), buf, part_bytes);
	r = transfer_straight(file, CFS_IO_WRITE, start, window,
			      (size_t)(end - start), (size_t)(end - start));
	if (r == 0 && end > cfs_dev_size_bytes(&file->dev) &&
	    ftruncate(file->fd, (off_t)cfs_dev_size_bytes(&file->dev)) < 0)
		r = -errno;
	return r;
}

static int bounce_read(const struct cfs_file_dev *file, uint64_t offset_bytes,
		       void *buf, size_t part_bytes, unsigned char *window)
{
	uint64_t start = cfs_align_down(offset_bytes, file->align_bytes);
	uint64_t end = cfs_align_up(offset_bytes + part_bytes,
				    file->align_bytes);
	int r = transfer_straight(file, CFS_IO_READ, start, window,
				  (size_t)(end - start),
				  (size_t)(offset_bytes + part_bytes - start));

	if (r == 0)
		memcpy(buf, window + (offset_bytes - start), part_bytes);
	return r;
}

static int bounce(struct cfs_file_dev *file, enum cfs_io_op op,
		  uint64_t offset_bytes, void *buf, size_t length_bytes)
{
	CFS_CLEANUP(cfs_freep) unsigned char *window = NULL;
	uint64_t start = cfs_align_down(offset_bytes, file->align_bytes);
	uint64_t end = cfs_align_up(offset_bytes + length_bytes,
				    file->align_bytes);
	char *at = buf;
	int r = 0;

	window = aligned_alloc(
		CFS_MAX(file->align_bytes, CFS_BLOCK_BYTES),
		(size_t)cfs_align_up(
			CFS_MIN(end - start, CFS_FILE_BOUNCE_BYTES),
			CFS_MAX(file->align_bytes, CFS_BLOCK_BYTES)));
	if (!window)
		return -ENOMEM;
	if (op == CFS_IO_WRITE)
		pthread_mutex_lock(&file->rmw_mutex);
	while (r == 0 && length_bytes) {
		uint64_t head = offset_bytes & (file->align_bytes - 1);
		size_t part = (size_t)CFS_MIN((uint64_t)length_bytes,
					      CFS_FILE_BOUNCE_BYTES - head);

		r = op == CFS_IO_READ
			    ? bounce_read(file, offset_bytes, at, part, window)
			    : bounce_write(file, offset_bytes, at, part,
					   window);
		at += part;
		offset_bytes += part;
		length_bytes -= part;
	}
	if (op == CFS_IO_WRITE)
		pthread_mutex_unlock(&file->rmw_mutex);
	return r;
}

int cfs_file_transfer(struct cfs_dev *dev, enum cfs_io_op op,
		      uint64_t offset_bytes, void *buf, size_t length_bytes)
{
	struct cfs_file_dev *file = file_of(dev);

	if (cfs_file_is_straight(file, offset_bytes, buf, length_bytes))
		return transfer_straight(file, op, offset_bytes, buf,
					 length_bytes, length_bytes);
	return bounce(file, op, offset_bytes, buf, length_bytes);
}

/* -------------------------------------------------------------- batches */

/* The first word of a batch says whose it is. */
struct file_batch {
	bool is_uring;
	void *batch;
};

static int file_start(struct cfs_dev *dev, struct cfs_io *ios, size_t count,
		      void **ret_batch)
{
	struct file_batch *outer = malloc(sizeof(*outer));
	int r;

	if (!outer)
		return -ENOMEM;
	outer->is_uring = true;
	r = cfs_uring_start(file_of(dev), ios, count, &outer->batch);
	if (r < 0) {
		outer->is_uring = false;
		r = cfs_workers_start(file_of(dev), ios, count, &outer->batch);
	}
	if (r < 0) {
		free(outer);
		return r;
	}
	*ret_batch = outer;
	return 0;
}

static void file_wait(struct cfs_dev *dev, void *batch)
{
	struct file_batch *outer = batch;

	(void)dev;
	if (outer->is_uring)
		cfs_uring_wait(outer->batch);
	else
		cfs_workers_wait(outer->batch);
	free(outer);
}

void cfs_file_refuse_uring(struct cfs_dev *dev)
{
	struct cfs_file_dev *file = file_of(dev);

	pthread_mutex_lock(&file->engine_mutex);
	file->is_uring_refused = true;
	pthread_mutex_unlock(&file->engine_mutex);
}

/* ------------------------------------------------- flush, discard, size */

static int sync_data(int fd)
{
	while (fdatasync(fd) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/*
 * A caller needs a flush that begins after its call.  One that waits behind a
 * running flush shares the next one with all others that wait.  This is also
 * for truth: the kernel tells only one of two flushes that a write was lost.
 */
static int file_flush(struct cfs_dev *dev)
{
	struct cfs_file_dev *file = file_of(dev);
	uint64_t need;
	int r;

	pthread_mutex_lock(&file->flush_mutex);
	need = file->flush_begun + 1;
	while (file->flush_done < need && file->flush_result == 0) {
		uint64_t mine;

		if (file->is_flushing) {
			pthread_cond_wait(&file->flush_cond,
					  &file->flush_mutex);
			continue;
		}
		file->is_flushing = true;
		mine = ++file->flush_begun;
		pthread_mutex_unlock(&file->flush_mutex);
		r = sync_data(file->fd);
		pthread_mutex_lock(&file->flush_mutex);
		file->is_flushing = false;
		file->flush_done = mine;
		if (r < 0)
			file->flush_result = r;
		pthread_cond_broadcast(&file->flush_cond);
	}
	r = file->flush_result;
	pthread_mutex_unlock(&file->flush_mutex);
	return r;
}

static int file_allocate(struct cfs_dev *dev, uint64_t offset_bytes,
			 uint64_t length_bytes)
{
	struct cfs_file_dev *file = file_of(dev);
	int r;

	if (dev->kind != CFS_DEV_FILE)
		return 0;
	do {
		r = fallocate(file->fd, FALLOC_FL_KEEP_SIZE,
			      (off_t)offset_bytes, (off_t)length_bytes);
	} while (r < 0 && errno == EINTR);
	/* Only a full disk matters: else the writes allocate for themselves. */
	return r < 0 && (errno == ENOSPC || errno == EDQUOT) ? -ENOSPC : 0;
}

static int file_discard(struct cfs_dev *dev, uint64_t offset_bytes,
			uint64_t length_bytes)
{
	struct cfs_file_dev *file = file_of(dev);
	uint64_t align = CFS_MAX(file->align_bytes, CFS_BLOCK_BYTES);
	uint64_t start = cfs_align_up(offset_bytes, align);
	uint64_t end = cfs_align_down(offset_bytes + length_bytes, align);
	uint64_t range[2];
	int r;

	if (start >= end) /* part of a block: nothing to give back */
		return 0;
	range[0] = start;
	range[1] = end - start;
	do {
		if (dev->kind == CFS_DEV_BLOCK)
			r = ioctl(file->fd, BLKDISCARD, range);
		else
			r = fallocate(file->fd,
				      FALLOC_FL_PUNCH_HOLE |
					      FALLOC_FL_KEEP_SIZE,
				      (off_t)range[0], (off_t)range[1]);
	} while (r < 0 && errno == EINTR);
	if (r == 0)
		return 0;
	switch (errno) {
	case EOPNOTSUPP:
	case ENOSYS:
	case ENOTTY:
	case EINVAL:
	case EPERM:
		return -EOPNOTSUPP;
	default:
		return -errno;
	}
}

static int block_size_bytes(int fd, uint64_t *ret)
{
	uint64_t size_bytes;

	if (ioctl(fd, BLKGETSIZE64, &size_bytes) < 0)
		return -errno;
	*ret = size_bytes;
	return 0;
}

static int file_resize(struct cfs_dev *dev, uint64_t size_bytes)
{
	struct cfs_file_dev *file = file_of(dev);
	uint64_t now_bytes = 0;
	int r;

	if (dev->kind == CFS_DEV_BLOCK) {
		/* It may have grown since it was opened; we cannot make it. */
		r = block_size_bytes(file->fd, &now_bytes);
		return r < 0 ? r : now_bytes == size_bytes ? 0 : -EINVAL;
	}
	pthread_mutex_lock(&file->rmw_mutex);
	do {
		r = ftruncate(file->fd, (off_t)size_bytes);
	} while (r < 0 && errno == EINTR);
	r = r < 0 ? -errno : 0;
	if (r == 0)
		__atomic_store_n(&dev->size_bytes, size_bytes,
				 __ATOMIC_RELAXED);
	pthread_mutex_unlock(&file->rmw_mutex);
	return r;
}

/* ---------------------------------------------------- lock and identity */

/* The lock is on all bytes below this, which is all there can be; marks are on
 * one byte each behind it. */
#define MARKS_AT (INT64_C(1) << 62)

static int set_lock(struct cfs_dev *dev, short type, off_t start, off_t length)
{
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = start,
		.l_len = length,
	};

	if (fcntl(file_of(dev)->fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

static int file_lock(struct cfs_dev *dev, bool exclusive)
{
	return set_lock(dev, exclusive ? F_WRLCK : F_RDLCK, 0, MARKS_AT);
}

static void file_unlock(struct cfs_dev *dev)
{
	set_lock(dev, F_UNLCK, 0, MARKS_AT);
}

/* One to read keeps out those who write, and nobody else asks. */
static int file_mark(struct cfs_dev *dev, uint64_t number, bool is_wanted)
{
	const short type = !is_wanted         ? F_UNLCK
			   : dev->is_writable ? F_WRLCK
					      : F_RDLCK;

	return set_lock(dev, type, MARKS_AT + (off_t)(number & (MARKS_AT - 1)),
			1);
}

static bool file_is_same(const struct cfs_dev *a, const struct cfs_dev *b)
{
	const struct cfs_file_dev *fa = (const struct cfs_file_dev *)a;
	const struct cfs_file_dev *fb = (const struct cfs_file_dev *)b;

	return fa->st_dev == fb->st_dev && fa->st_ino == fb->st_ino;
}

static bool file_is_direct(const struct cfs_dev *dev)
{
	return ((const struct cfs_file_dev *)dev)->is_direct;
}

static void file_close(struct cfs_dev *dev)
{
	struct cfs_file_dev *file = file_of(dev);

	cfs_uring_done(file);
	cfs_workers_done(file);
	if (file->fd >= 0)
		close(file->fd);
	pthread_mutex_destroy(&file->flush_mutex);
	pthread_cond_destroy(&file->flush_cond);
	pthread_mutex_destroy(&file->rmw_mutex);
	pthread_mutex_destroy(&file->engine_mutex);
	free(file);
}

static const struct cfs_dev_ops file_ops = {
	.transfer = cfs_file_transfer,
	.start = file_start,
	.wait = file_wait,
	.flush = file_flush,
	.allocate = file_allocate,
	.discard = file_discard,
	.resize = file_resize,
	.lock = file_lock,
	.unlock = file_unlock,
	.mark = file_mark,
	.is_same = file_is_same,
	.is_direct = file_is_direct,
	.close = file_close,
};

/* -------------------------------------------------------------- opening */

/* Does direct I/O in units of @align_bytes work here?  Ask, then try. */
static bool probe_direct(int fd, uint32_t align_bytes)
{
	CFS_CLEANUP(cfs_freep) void *buf = NULL;
#ifdef STATX_DIOALIGN
	struct statx sx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
	    (sx.stx_mask & STATX_DIOALIGN) &&
	    (sx.stx_dio_offset_align == 0 ||
	     sx.stx_dio_offset_align > align_bytes ||
	     sx.stx_dio_mem_align > align_bytes))
		return false;
#endif
	buf = aligned_alloc(align_bytes, align_bytes);
	return buf && (pread(fd, buf, align_bytes, 0) >= 0 || errno != EINVAL);
}

/* Open with O_DIRECT if wanted and possible.  Negative errno. */
static int open_fd(const char *path, int flags, bool *is_direct)
{
	int fd = -1;

	if (*is_direct) {
		fd = open(path, flags | O_DIRECT, 0600);
		if (fd < 0 && errno != EINVAL)
			return -errno;
	}
	if (fd < 0) {
		*is_direct = false;
		fd = open(path, flags, 0600);
	}
	return fd < 0 ? -errno : fd;
}

/* Learn what was opened; -EINVAL: neither file nor block device. */
static int inspect(struct cfs_file_dev *file)
{
	struct stat st;
	int block_bytes;

	if (fstat(file->fd, &st) < 0)
		return -errno;
	file->align_bytes = CFS_BLOCK_BYTES;
	if (S_ISREG(st.st_mode)) {
		file->dev.kind = CFS_DEV_FILE;
		file->dev.size_bytes = (uint64_t)st.st_size;
		file->st_dev = st.st_dev;
		file->st_ino = st.st_ino;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return -EINVAL;
	file->dev.kind = CFS_DEV_BLOCK;
	file->st_dev = st.st_rdev;
	/* Its end may lie inside a block of ours: its own unit, not ours. */
	if (ioctl(file->fd, BLKSSZGET, &block_bytes) < 0)
		return -errno;
	if (block_bytes <= 0 || !cfs_is_pow2((uint64_t)block_bytes))
		return -EINVAL;
	file->align_bytes = (uint32_t)block_bytes;
	return block_size_bytes(file->fd, &file->dev.size_bytes);
}

static int open_checked(struct cfs_file_dev *file, const char *path,
			unsigned int flags)
{
	/* O_NONBLOCK: what turns out to be a FIFO must not stop us. */
	int how = O_CLOEXEC | O_NOCTTY | O_NONBLOCK |
		  (flags & CFS_DEV_RDWR ? O_RDWR : O_RDONLY);
	bool is_direct = !(flags & CFS_DEV_BUFFERED);
	struct stat st;
	int r;

	/* Look before opening: an open alone can do things to a device. */
	if (stat(path, &st) < 0) {
		if (errno != ENOENT || !(flags & CFS_DEV_CREATE))
			return -errno;
		how |= O_CREAT;
	} else if (S_ISBLK(st.st_mode)) {
		how |= (flags & (CFS_DEV_RDWR | CFS_DEV_BESIDE)) == CFS_DEV_RDWR
			       ? O_EXCL
			       : 0;
	} else if (!S_ISREG(st.st_mode)) {
		return -EINVAL;
	}
	file->fd = open_fd(path, how, &is_direct);
	if (file->fd < 0)
		return file->fd;
	r = inspect(file);
	if (r < 0)
		return r;
	file->is_direct = is_direct &&
			  probe_direct(file->fd, file->align_bytes);
	how = fcntl(file->fd, F_GETFL);
	if (how < 0)
		return -errno;
	how &= ~(O_NONBLOCK | O_DIRECT);
	how |= file->is_direct ? O_DIRECT : 0;
	return fcntl(file->fd, F_SETFL, how) < 0 ? -errno : 0;
}

int cfs_file_open(const char *path, const char *name, unsigned int flags,
		  struct cfs_dev **ret, struct cfs_err *err)
{
	struct cfs_file_dev *file = calloc(1, sizeof(*file));
	int r;

	if (!file)
		return cfs_err_errno(err, -ENOMEM, "%s", name);
	file->fd = -1;
	file->dev.ops = &file_ops;
	file->dev.is_writable = flags & CFS_DEV_RDWR;
	file->dev.name = strdup(name);
	pthread_mutex_init(&file->flush_mutex, NULL);
	pthread_cond_init(&file->flush_cond, NULL);
	pthread_mutex_init(&file->rmw_mutex, NULL);
	pthread_mutex_init(&file->engine_mutex, NULL);
	r = file->dev.name ? open_checked(file, path, flags) : -ENOMEM;
	if (r == 0) {
		*ret = &file->dev;
		return 0;
	}
	cfs_dev_close(&file->dev);
	if (r == -EINVAL)
		return cfs_err_set(err, r,
				   "%s: neither a plain file nor a "
				   "block device",
				   name);
	if (r == -EBUSY)
		return cfs_err_set(err, r, "%s: mounted, or open elsewhere",
				   name);
	return cfs_err_errno(err, r, "%s", name);
}
