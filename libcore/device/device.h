/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A device: byte-addressed storage behind a table of operations.  There are
 * five kinds: a plain file, a block device, memory, the simulation (see
 * sim.h), and an overlay over one of these (see overlay.h).  Nothing above
 * libcore/pool sees one.
 *
 * Contract of every kind:
 *  - a write that has completed is durable once a flush that began after its
 *    completion has succeeded; before that any subset of the 512-byte sectors
 *    of unflushed writes may survive a crash, in any order;
 *  - a flush that failed is never retried into success: the device remembers
 *    it, and every later flush and write fails with -EIO (what had been
 *    written before is in an unknown state);
 *  - reads and writes lie wholly inside the device or fail with -EINVAL;
 *  - a short transfer is completed or is an error, never returned.
 *
 * Thread safety: open, close and resize belong to one thread; all else may be
 * called from any thread at any time.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cfs_dev;

enum cfs_dev_kind {
	CFS_DEV_FILE,
	CFS_DEV_BLOCK,
	CFS_DEV_MEM,
	CFS_DEV_SIM,
	CFS_DEV_OVERLAY,
};

enum cfs_dev_flags {
	CFS_DEV_RDONLY = 0,
	CFS_DEV_RDWR = 1u << 0,
	CFS_DEV_CREATE = 1u << 1, /* make the plain file if there is none */
	CFS_DEV_BUFFERED = 1u
			   << 2, /* no O_DIRECT (tests, foreign file systems) */
	CFS_DEV_BESIDE = 1u << 3, /* a block device: beside its holder */
};

enum cfs_io_op { CFS_IO_READ, CFS_IO_WRITE };

/* One transfer of a batch. */
struct cfs_io {
	enum cfs_io_op op;
	uint64_t offset_bytes;
	void *buf; /* the caller's; only read for a write */
	size_t length_bytes;
	int result; /* out: 0 or negative errno */
};

/*
 * Open a plain file or block device.  @path: a host path, or a URI
 * "file:PATH" with %XX escapes.  O_DIRECT is used where the host file system
 * has it, and buffered I/O where not (tmpfs).  The descriptor is O_CLOEXEC;
 * I/O and cfs_dev_lock use the same open file description.
 * @ret: the caller's, to be closed.
 * Errors: -ENOENT, -EACCES, -EROFS, -EINVAL (no file or block device: a
 * directory, a character device; or the URI of a scheme that this build does
 * not have), -EBUSY (a block device that is mounted or open elsewhere; only
 * for writing), -EIO, -ENOMEM.
 */
int cfs_dev_open(const char *path, unsigned int flags, struct cfs_dev **ret,
		 struct cfs_err *err);

/*
 * The host path that cfs_dev_open would open for @path: itself, or the decoded
 * path of a "file:" URI.  @ret: the caller's.  -EINVAL, -ENOMEM.
 */
int cfs_dev_host_path(const char *path, char **ret, struct cfs_err *err);

/* A device of zeroes in memory (sparse: untouched pages take no room). */
int cfs_dev_mem_new(uint64_t size_bytes, struct cfs_dev **ret,
		    struct cfs_err *err);

/*
 * A second handle to the memory of @dev, which is a memory device: the
 * contents are shared and live as long as any handle; the lock and the memory
 * of a failed flush are each handle's own.  -ENOMEM.
 */
int cfs_dev_mem_reopen(struct cfs_dev *dev, struct cfs_dev **ret,
		       struct cfs_err *err);

/* Close; NULL is allowed.  Durable is only what was flushed. */
void cfs_dev_close(struct cfs_dev *dev);
void cfs_dev_closep(struct cfs_dev **dev);

enum cfs_dev_kind cfs_dev_kind(const struct cfs_dev *dev);
uint64_t cfs_dev_size_bytes(const struct cfs_dev *dev);
bool cfs_dev_is_writable(const struct cfs_dev *dev);
/* Whether transfers go past the host's page cache (a file, with O_DIRECT). */
bool cfs_dev_is_direct(const struct cfs_dev *dev);
/* The path it was opened by, or a made-up name for memory; lives as @dev. */
const char *cfs_dev_name(const struct cfs_dev *dev);

/*
 * Whether both are the same underlying file or device (st_dev and st_ino, or
 * st_rdev): the same name twice, or a hard link.
 */
bool cfs_dev_is_same(const struct cfs_dev *a, const struct cfs_dev *b);

/*
 * Transfers.  Offsets and lengths need no alignment, but multiples of 4096
 * with a buffer of cfs_dev_buf_alloc go straight to the device; others
 * through a bounce buffer (a write of part of a 4096-byte block reads the rest
 * first and is then not safe against a concurrent write of the same block).
 * Errors name the device and the offset: -EIO, -EINVAL, -ENOSPC (the host's
 * file system is full), -EROFS.
 */
int cfs_dev_read(struct cfs_dev *dev, uint64_t offset_bytes, void *buf,
		 size_t length_bytes, struct cfs_err *err);
int cfs_dev_write(struct cfs_dev *dev, uint64_t offset_bytes, const void *buf,
		  size_t length_bytes, struct cfs_err *err);

/*
 * Do @count transfers, in any order and in parallel where the kind can, and
 * return when all have ended.  Each io's result is set.  They must not
 * overlap.  Returns 0, or the first failure with @err naming it; the others
 * have been tried all the same.
 */
int cfs_dev_submit(struct cfs_dev *dev, struct cfs_io *ios, size_t count,
		   struct cfs_err *err);

/*
 * The same in two halves, so that one thread can keep several devices busy
 * (mirrors) or compute meanwhile.  @ret_ticket is the caller's until it is
 * given to cfs_dev_wait, which frees it; @ios and the buffers must stay until
 * then.  A start that fails has started nothing.
 */
struct cfs_dev_ticket;
int cfs_dev_start(struct cfs_dev *dev, struct cfs_io *ios, size_t count,
		  struct cfs_dev_ticket **ret_ticket, struct cfs_err *err);
int cfs_dev_wait(struct cfs_dev_ticket *ticket, struct cfs_err *err);

/* Make all completed writes durable.  -EIO, for good once it has failed. */
int cfs_dev_flush(struct cfs_dev *dev, struct cfs_err *err);

/*
 * Have the host's file system allocate a range ahead of writing (a plain file),
 * so that writes to it neither fail for want of space nor wait for it.  What
 * stands there stays.  -ENOSPC: the host's file system is full; a device that
 * cannot, or need not, returns 0.
 */
int cfs_dev_allocate(struct cfs_dev *dev, uint64_t offset_bytes,
		     uint64_t length_bytes, struct cfs_err *err);

/*
 * Tell the device that a range holds nothing (hole punch, BLKDISCARD): it
 * reads as anything afterwards.  A device that cannot returns -EOPNOTSUPP
 * without setting @err; callers go on.
 */
int cfs_dev_discard(struct cfs_dev *dev, uint64_t offset_bytes,
		    uint64_t length_bytes, struct cfs_err *err);

/* Extend or cut a plain file, memory or simulation; -EINVAL on a block device
 * whose size is another. */
int cfs_dev_resize(struct cfs_dev *dev, uint64_t size_bytes,
		   struct cfs_err *err);

/*
 * Take the kernel's lock on this open file description (OFD lock on a file,
 * O_EXCL and an OFD lock on a block device): shared or exclusive, without
 * waiting.  The kernel drops it when the process has died and its I/O has
 * ended.  -EBUSY: another open file description holds it.  Memory and
 * simulation: the lock is kept in the device, for tests.
 */
int cfs_dev_lock(struct cfs_dev *dev, bool exclusive, struct cfs_err *err);
void cfs_dev_unlock(struct cfs_dev *dev);

/*
 * A mark on this open file description, told apart by @number (below 2^62): the
 * kernel takes it away when the last handle is closed, which for a process that
 * was killed is when its I/O has ended.  So whoever can take it knows that the
 * one who had it writes no more.  Goes together with any lock.
 * -EBUSY: another open file description has it; -EOPNOTSUPP, without @err: this
 * kind of device has no marks.
 */
int cfs_dev_mark(struct cfs_dev *dev, uint64_t number, struct cfs_err *err);
void cfs_dev_unmark(struct cfs_dev *dev, uint64_t number);

/* A zeroed buffer aligned for direct I/O; free() it.  NULL: no memory. */
void *cfs_dev_buf_alloc(size_t length_bytes);
/* The same with any content: for large buffers that may be used in part. */
void *cfs_dev_buf_alloc_unset(size_t length_bytes);
/*
 * The same, from half of 2 MiB on, in huge pages of that size where the system
 * has them: in memory as a whole, so for what is used whole, again and again.
 * 1 MiB of pages that lie scattered is more segments than many a device takes in
 * one request.
 */
void *cfs_dev_buf_alloc_huge(size_t length_bytes);
