/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What clients do to a volume.  nbdkit calls from many threads at once.
 *
 * Devices are read and written past the page cache, which takes buffers that
 * are aligned; nbdkit's are not.  So the bytes go through a buffer of the
 * thread's own: a copy costs much less than what the device layer would have
 * to do.
 */
#define NBDKIT_API_VERSION 2

#include "nbdkit/plugin.h"

#include "base/bits.h"

#include <errno.h>
#include <nbdkit-plugin.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN_BYTES 4096u
#define PIECE_BYTES (UINT32_C(1) << 20)

static const uint8_t zeroes[PIECE_BYTES] __attribute__((aligned(ALIGN_BYTES)));

/* ---- a thread's buffer --------------------------------------------------- */

static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;

static void make_key(void)
{
	/* Without it each request has no buffer, and says so. */
	(void)pthread_key_create(&buffer_key, free);
}

/* The key names code of this library: not longer than that is loaded. */
__attribute__((destructor)) static void drop_key(void)
{
	(void)pthread_once(&buffer_once, make_key);
	(void)pthread_key_delete(buffer_key);
}

/* PIECE_BYTES, aligned; NULL: no memory. */
static void *thread_buffer(void)
{
	void *buf;

	(void)pthread_once(&buffer_once, make_key);
	buf = pthread_getspecific(buffer_key);
	if (buf)
		return buf;
	buf = aligned_alloc(ALIGN_BYTES, PIECE_BYTES);
	if (buf && pthread_setspecific(buffer_key, buf) != 0) {
		free(buf);
		return NULL;
	}
	return buf;
}

static bool is_aligned(const void *buf)
{
	return (uintptr_t)buf % ALIGN_BYTES == 0;
}

/* ---- errors -------------------------------------------------------------- */

/* What NBD has a word for; all else is an I/O error. */
static int errno_of(int r)
{
	switch (r) {
	case -ENOSPC:
	case -EINVAL:
	case -ENOMEM:
	case -EOPNOTSUPP:
		return -r;
	case -EROFS:
		return EPERM;
	default:
		return EIO;
	}
}

/* 0, or -1 with the error told. */
static int end(const struct export *e, const char *what, uint64_t offset, int r,
	       const struct cfs_err *err)
{
	if (r == 0)
		return 0;
	export_failed(e, r);
	nbdkit_error("%s at %llu: %s", what, (unsigned long long)offset,
		     err->msg);
	nbdkit_set_error(errno_of(r));
	return -1;
}

/* ---- requests ------------------------------------------------------------ */

int io_pread(void *handle, void *buf, uint32_t count, uint64_t offset,
	     uint32_t flags)
{
	const struct export *e = handle;
	struct cfs_err err = CFS_ERR_INIT;
	uint8_t *to = buf, *bounce = is_aligned(buf) ? NULL : thread_buffer();
	int r = 0;

	(void)flags;
	while (r == 0 && count > 0) {
		const uint32_t n = bounce ? CFS_MIN(count, PIECE_BYTES) : count;

		r = cfs_io_read(export_io(e), offset, bounce ? bounce : to, n,
				NULL, &err);
		if (r < 0)
			break;
		if (bounce)
			memcpy(to, bounce, n);
		to += n;
		offset += n;
		count -= n;
	}
	return end(e, "read", offset, r, &err);
}

static int sync_if(const struct export *e, uint32_t flags, int r,
		   struct cfs_err *err)
{
	return r == 0 && (flags & NBDKIT_FLAG_FUA)
		       ? cfs_io_sync(export_io(e), err)
		       : r;
}

int io_pwrite(void *handle, const void *buf, uint32_t count, uint64_t offset,
	      uint32_t flags)
{
	const struct export *e = handle;
	struct cfs_err err = CFS_ERR_INIT;
	const uint8_t *from = buf;
	/* Short ones are copied into pages anyway. */
	uint8_t *bounce = is_aligned(buf) || count < 2 * ALIGN_BYTES
				  ? NULL
				  : thread_buffer();
	int r = 0;

	while (r == 0 && count > 0) {
		const uint32_t n = bounce ? CFS_MIN(count, PIECE_BYTES) : count;

		if (bounce)
			memcpy(bounce, from, n);
		r = cfs_io_write(export_io(e), offset, bounce ? bounce : from,
				 n, &err);
		if (r < 0)
			break;
		from += n;
		offset += n;
		count -= n;
	}
	r = sync_if(e, flags, r, &err);
	return end(e, "write", offset, r, &err);
}

int io_flush(void *handle, uint32_t flags)
{
	const struct export *e = handle;
	struct cfs_err err = CFS_ERR_INIT;
	int r = cfs_io_sync(export_io(e), &err);

	(void)flags;
	return end(e, "flush", 0, r, &err);
}

/* What is trimmed may be anything: parts of blocks stay as they are. */
int io_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	const struct export *e = handle;
	const uint64_t from = cfs_align_up(offset, ALIGN_BYTES);
	const uint64_t to = cfs_align_down(offset + count, ALIGN_BYTES);
	struct cfs_err err = CFS_ERR_INIT;
	int r = 0;

	if (from < to)
		r = cfs_io_discard(export_io(e), from, to - from, &err);
	r = sync_if(e, flags, r, &err);
	return end(e, "trim", offset, r, &err);
}

/*
 * A hole, if there may be one.  Else whoever asks wants space that is there:
 * zeroes are written like data, which is not fast.
 */
int io_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	const struct export *e = handle;
	struct cfs_err err = CFS_ERR_INIT;
	int r = 0;

	if (flags & NBDKIT_FLAG_MAY_TRIM) {
		r = cfs_io_discard(export_io(e), offset, count, &err);
	} else if (flags & NBDKIT_FLAG_FAST_ZERO) {
		nbdkit_set_error(EOPNOTSUPP);
		return -1;
	}
	while (r == 0 && count > 0 && !(flags & NBDKIT_FLAG_MAY_TRIM)) {
		const uint32_t n = CFS_MIN(count, PIECE_BYTES);

		r = cfs_io_write(export_io(e), offset, zeroes, n, &err);
		offset += n;
		count -= n;
	}
	r = sync_if(e, flags, r, &err);
	return end(e, "zero", offset, r, &err);
}

/* At least the first extent is told; all of them unless one was asked for. */
int io_extents(void *handle, uint32_t count, uint64_t offset, uint32_t flags,
	       struct nbdkit_extents *extents)
{
	const struct export *e = handle;
	struct cfs_err err = CFS_ERR_INIT;
	int r = 0;

	while (count > 0) {
		uint64_t length = 0;
		bool is_data = true;

		r = cfs_io_extent(export_io(e), offset, count, &is_data,
				  &length, &err);
		if (r < 0)
			break;
		if (nbdkit_add_extent(extents, offset, length,
				      is_data ? 0
					      : NBDKIT_EXTENT_HOLE |
							NBDKIT_EXTENT_ZERO) < 0)
			return -1;
		if (flags & NBDKIT_FLAG_REQ_ONE)
			break;
		offset += length;
		count -= (uint32_t)length;
	}
	return end(e, "extents", offset, r, &err);
}

/* Data is not kept in memory; where it is found is. */
int io_cache(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	const struct export *e = handle;
	struct cfs_err err = CFS_ERR_INIT;
	int r = 0;

	(void)flags;
	while (r == 0 && count > 0) {
		uint64_t length = 0;
		bool is_data;

		r = cfs_io_extent(export_io(e), offset, count, &is_data,
				  &length, &err);
		offset += length;
		count -= (uint32_t)length;
	}
	return end(e, "cache", offset, r, &err);
}
