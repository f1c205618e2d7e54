/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Data of regular files.  Nothing behind a file's size is ever seen: reads end
 * there, and what was cut off is a hole before the file can grow again (see
 * fs_priv.h on freeing in steps).
 */
#include "volume/fs_priv.h"

#include <inttypes.h>

#include "base/bits.h"

static int too_big(uint64_t ino, struct cfs_err *err)
{
	return cfs_err_set(err, -EFBIG,
			   "inode %" PRIu64 ": a file cannot be that long",
			   ino);
}

/* ------------------------------------------------------------------- read */

struct file_read {
	struct cfs_fs *fs;
	uint64_t ino, offset_bytes;
};

/* With the lock: what there is of the file now. */
static int clip_to_size(void *arg, size_t *length_bytes, struct cfs_err *err)
{
	const struct file_read *rd = arg;
	struct cfs_inode inode;
	int r = cfs_fs_file_load(rd->fs, rd->ino, &inode, err);

	if (r < 0)
		return r;
	if (rd->offset_bytes >= inode.size_bytes)
		*length_bytes = 0;
	else
		*length_bytes = (size_t)CFS_MIN(
			*length_bytes, inode.size_bytes - rd->offset_bytes);
	return 0;
}

int cfs_fs_read(struct cfs_fs *fs, uint64_t ino, uint64_t offset_bytes,
		void *buf, size_t length_bytes, size_t *ret_bytes,
		struct cfs_err *err)
{
	struct file_read rd = { fs, ino, offset_bytes };

	if (fs->ops)
		return fs->ops->read(fs->ops_arg, ino, offset_bytes, buf,
				     length_bytes, ret_bytes, err);
	return cfs_data_read_clipped(&fs->view, ino, offset_bytes, buf,
				     length_bytes, clip_to_size, &rd, ret_bytes,
				     err);
}

static int seek_locked(struct cfs_fs *fs, uint64_t ino, uint64_t offset_bytes,
		       bool data, uint64_t *ret_offset_bytes,
		       struct cfs_err *err)
{
	uint64_t found = offset_bytes;
	struct cfs_inode inode;
	int r;

	r = cfs_fs_file_load(fs, ino, &inode, err);
	if (r < 0)
		return r;
	if (offset_bytes >= inode.size_bytes)
		return cfs_err_set(err, -ENXIO, "behind the end of the file");
	r = cfs_data_seek(&fs->view, ino, offset_bytes, data, &found, err);
	if (r == -ENXIO && !data) {
		found = inode.size_bytes;
		r = 0;
	}
	if (r < 0 && r != -ENXIO)
		return r;
	if (r == -ENXIO || (data && found >= inode.size_bytes))
		return cfs_err_set(err, -ENXIO, "no data follows");
	*ret_offset_bytes = CFS_MIN(found, inode.size_bytes);
	return 0;
}

int cfs_fs_seek(struct cfs_fs *fs, uint64_t ino, uint64_t offset_bytes,
		bool data, uint64_t *ret_offset_bytes, struct cfs_err *err)
{
	int r;

	if (fs->ops)
		return fs->ops->seek(fs->ops_arg, ino, offset_bytes, data,
				     ret_offset_bytes, err);
	cfs_fs_lock(fs);
	r = seek_locked(fs, ino, offset_bytes, data, ret_offset_bytes, err);
	cfs_fs_unlock(fs);
	return r;
}

/* --------------------------------------------------------------- shrinking */

/*
 * The first byte of data at or behind *at, which is set to it.
 * 1; 0: there is none; or an error.
 */
static int data_find(struct cfs_fs *fs, uint64_t ino, uint64_t *at,
		     struct cfs_err *err)
{
	int r;

	if (*at >= CFS_FS_FILE_BYTES_MAX)
		return 0;
	r = cfs_data_seek(&fs->view, ino, *at, true, at, err);
	return r == -ENXIO ? 0 : r < 0 ? r : 1;
}

int cfs_fs_data_free_step(struct cfs_fs *fs, uint64_t ino, uint64_t from_bytes,
			  struct cfs_err *err)
{
	struct cfs_container *c = cfs_fs_container(fs);
	uint64_t at = from_bytes, end, next;
	uint16_t branch = fs->view.branch;
	int r;

	r = data_find(fs, ino, &at, err);
	if (r <= 0)
		return r;
	end = cfs_align_down(at, CFS_FS_FREE_BYTES) + CFS_FS_FREE_BYTES;
	next = end;
	r = data_find(fs, ino, &next, err);
	if (r == 0)
		return cfs_data_punch(c, branch, ino, at, UINT64_MAX, err);
	if (r > 0)
		r = cfs_data_punch(c, branch, ino, at, end - at, err);
	return r < 0 ? r : 1;
}

/* A step of a file that is behind with shrinking; 1: there is more. */
static int shrink_step(struct cfs_fs *fs, uint64_t ino, struct cfs_inode *inode,
		       struct cfs_err *err)
{
	uint64_t from = cfs_align_up(inode->size_bytes, CFS_BLOCK_BYTES);
	int r;

	r = cfs_fs_data_free_step(fs, ino, from, err);
	if (r != 0)
		return r;
	inode->flags &= ~CFS_INODE_SHRINKING;
	r = cfs_fs_inode_store(fs, ino, inode, err);
	/* Of one without a name the record says that, too. */
	if (r == 0 && inode->nlink)
		r = cfs_fs_orphan_del(fs, ino, err);
	return r;
}

int cfs_fs_shrink(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err)
{
	struct cfs_inode inode;
	int r;

	do {
		r = cfs_fs_op_begin(fs, CFS_OP_FREEING, err);
		if (r < 0)
			return r;
		r = cfs_fs_file_load(fs, ino, &inode, err);
		if (r == 0 && inode.flags & CFS_INODE_SHRINKING)
			r = shrink_step(fs, ino, &inode, err);
		r = cfs_fs_op_finish(fs, r);
	} while (r > 0);
	return r;
}

/*
 * Begin an operation on a regular file that may grow to @end_bytes: with no
 * shrinking left to do if it does grow.  0: in the operation.
 */
static int grow_begin(struct cfs_fs *fs, enum cfs_op_kind kind, uint64_t ino,
		      uint64_t end_bytes, struct cfs_inode *inode,
		      struct cfs_err *err)
{
	int r;

	for (;;) {
		r = cfs_fs_op_begin(fs, kind, err);
		if (r < 0)
			return r;
		r = cfs_fs_file_load(fs, ino, inode, err);
		if (r < 0)
			return cfs_fs_op_finish(fs, r);
		if (end_bytes <= inode->size_bytes ||
		    !(inode->flags & CFS_INODE_SHRINKING))
			return 0;
		cfs_fs_op_finish(fs, 0);
		r = cfs_fs_shrink(fs, ino, err);
		if (r < 0)
			return r;
	}
}

/* The size gets less: the first window goes with it. */
static int cut(struct cfs_fs *fs, uint64_t ino, struct cfs_inode *inode,
	       uint64_t size_bytes, struct cfs_err *err)
{
	uint64_t end = cfs_align_down(size_bytes, CFS_FS_FREE_BYTES) +
		       CFS_FS_FREE_BYTES;
	uint64_t next = end;
	int r;

	inode->size_bytes = size_bytes;
	r = data_find(fs, ino, &next, err);
	if (r == 0)
		return cfs_data_punch(cfs_fs_container(fs), fs->view.branch,
				      ino, size_bytes, UINT64_MAX, err);
	if (r > 0)
		r = cfs_data_punch(cfs_fs_container(fs), fs->view.branch, ino,
				   size_bytes, end - size_bytes, err);
	if (r == 0)
		r = cfs_fs_orphan_put(fs, ino, err);
	inode->flags |= CFS_INODE_SHRINKING;
	return r;
}

/* Kind of an operation that gives up a range with these ends. */
static enum cfs_op_kind freeing_kind(uint64_t from_bytes, uint64_t to_bytes)
{
	return (from_bytes | to_bytes) % CFS_BLOCK_BYTES ? CFS_OP_ZEROING
							 : CFS_OP_FREEING;
}

/* @only_shrinks: a file that is not longer stays as it is. */
static int set_size(struct cfs_fs *fs, uint64_t ino, uint64_t size_bytes,
		    bool only_shrinks, struct cfs_err *err)
{
	struct cfs_inode inode;
	int r = grow_begin(fs, freeing_kind(size_bytes, 0), ino, size_bytes,
			   &inode, err);

	if (r < 0)
		return r;
	if (only_shrinks && size_bytes >= inode.size_bytes)
		return cfs_fs_op_finish(fs, 0);
	if (size_bytes < inode.size_bytes)
		r = cut(fs, ino, &inode, size_bytes, err);
	inode.size_bytes = size_bytes;
	cfs_fs_inode_touch_data(&inode, cfs_fs_now_ns(fs));
	if (r == 0)
		r = cfs_fs_inode_store(fs, ino, &inode, err);
	r = cfs_fs_op_finish(fs, r);
	/* It is cut; what fails from here on is done later, by whoever lets
	 * the file grow or opens the tree. */
	if (r == 0 && inode.flags & CFS_INODE_SHRINKING)
		cfs_fs_shrink(fs, ino, NULL);
	return r;
}

/*
 * Where there is no block for the zeroes behind the new end, whole blocks go
 * first.  If that brings none either (a snapshot keeps them all), the file ends
 * with the block.
 */
int cfs_fs_truncate(struct cfs_fs *fs, uint64_t ino, uint64_t size_bytes,
		    struct cfs_err *err)
{
	int r;

	if (fs->ops)
		return fs->ops->truncate(fs->ops_arg, ino, size_bytes, err);
	if (size_bytes > CFS_FS_FILE_BYTES_MAX)
		return too_big(ino, err);
	r = set_size(fs, ino, size_bytes, false, err);
	if (r != -ENOSPC || size_bytes % CFS_BLOCK_BYTES == 0)
		return r;
	r = set_size(fs, ino, cfs_align_up(size_bytes, CFS_BLOCK_BYTES), true,
		     err);
	return r < 0 ? r : set_size(fs, ino, size_bytes, false, err);
}

/* ------------------------------------------------------------------ write */

static int write_piece(struct cfs_fs *fs, uint64_t ino, uint64_t offset_bytes,
		       const void *buf, size_t length_bytes,
		       struct cfs_err *err)
{
	const bool appends = offset_bytes == CFS_FS_APPEND;
	uint64_t end = appends ? UINT64_MAX : offset_bytes + length_bytes;
	struct cfs_inode inode;
	int r;

	r = grow_begin(fs, CFS_OP_NORMAL, ino, end, &inode, err);
	if (r < 0)
		return r;
	if (appends) {
		offset_bytes = inode.size_bytes;
		end = offset_bytes + length_bytes;
		if (end > CFS_FS_FILE_BYTES_MAX)
			return cfs_fs_op_finish(fs, too_big(ino, err));
	}
	r = cfs_data_write(cfs_fs_container(fs), fs->view.branch, ino,
			   offset_bytes, buf, length_bytes, err);
	inode.size_bytes = CFS_MAX(inode.size_bytes, end);
	cfs_fs_inode_touch_data(&inode, cfs_fs_now_ns(fs));
	if (r == 0)
		r = cfs_fs_inode_store(fs, ino, &inode, err);
	return cfs_fs_op_finish(fs, r);
}

int cfs_fs_write(struct cfs_fs *fs, uint64_t ino, uint64_t offset_bytes,
		 const void *buf, size_t length_bytes, size_t *ret_bytes,
		 struct cfs_err *err)
{
	const bool appends = offset_bytes == CFS_FS_APPEND;
	const uint8_t *p = buf;
	size_t done = 0;
	int r = 0;

	if (fs->ops)
		return fs->ops->write(fs->ops_arg, ino, offset_bytes, buf,
				      length_bytes, ret_bytes, err);
	if (ret_bytes)
		*ret_bytes = 0;
	if (!appends &&
	    !cfs_range_fits(offset_bytes, length_bytes, CFS_FS_FILE_BYTES_MAX))
		return too_big(ino, err);
	if (length_bytes == 0) {
		struct cfs_inode inode;

		cfs_fs_lock(fs);
		r = cfs_fs_file_load(fs, ino, &inode, err);
		cfs_fs_unlock(fs);
	}
	while (done < length_bytes) {
		/* Up to the next boundary, so that whole blocks stay whole. */
		uint64_t at = appends ? CFS_FS_APPEND : offset_bytes + done;
		size_t n = CFS_FS_WRITE_BYTES_MAX -
			   (size_t)(appends ? 0 : at % CFS_FS_WRITE_BYTES_MAX);

		n = CFS_MIN(n, length_bytes - done);
		if (done == 0 && length_bytes <= CFS_FS_WRITE_BYTES_MAX)
			n = length_bytes;
		r = write_piece(fs, ino, at, p + done, n, err);
		if (r < 0)
			break;
		done += n;
		if (ret_bytes)
			*ret_bytes = done;
	}
	return r;
}

/* ------------------------------------------------------------------ holes */

/* A window of [*offset, end); sets *offset behind it.  In an operation. */
static int punch_step(struct cfs_fs *fs, uint64_t ino, uint64_t *offset_bytes,
		      uint64_t end_bytes, struct cfs_err *err)
{
	uint64_t at = *offset_bytes, to;
	int r;

	r = data_find(fs, ino, &at, err);
	if (r < 0)
		return r;
	if (r == 0 || at >= end_bytes) {
		*offset_bytes = end_bytes;
		return 0;
	}
	to = cfs_align_down(at, CFS_FS_FREE_BYTES) + CFS_FS_FREE_BYTES;
	to = CFS_MIN(to, end_bytes);
	*offset_bytes = to;
	return cfs_data_punch(cfs_fs_container(fs), fs->view.branch, ino, at,
			      to - at, err);
}

static int range_check(uint64_t ino, uint64_t offset_bytes,
		       uint64_t length_bytes, struct cfs_err *err)
{
	if (length_bytes == 0)
		return cfs_err_set(err, -EINVAL, "the range is empty");
	if (!cfs_range_fits(offset_bytes, length_bytes, CFS_FS_FILE_BYTES_MAX))
		return too_big(ino, err);
	return 0;
}

/* To the file's end: its last block goes whole, there is nothing behind. */
static uint64_t punch_end(uint64_t end_bytes, uint64_t size_bytes)
{
	return end_bytes < size_bytes
		       ? end_bytes
		       : cfs_align_up(size_bytes, CFS_BLOCK_BYTES);
}

/* @size_bytes: the file is at least as long when this is done. */
static int punch_range(struct cfs_fs *fs, uint64_t ino, uint64_t from_bytes,
		       uint64_t to_bytes, uint64_t size_bytes,
		       struct cfs_err *err)
{
	const enum cfs_op_kind kind = freeing_kind(from_bytes, to_bytes);
	uint64_t at = from_bytes, end;
	struct cfs_inode inode;
	int r;

	do {
		r = grow_begin(fs, kind, ino, size_bytes, &inode, err);
		if (r < 0)
			return r;
		end = punch_end(to_bytes, inode.size_bytes);
		if (at < end)
			r = punch_step(fs, ino, &at, end, err);
		inode.size_bytes = CFS_MAX(inode.size_bytes, size_bytes);
		cfs_fs_inode_touch_data(&inode, cfs_fs_now_ns(fs));
		if (r == 0)
			r = cfs_fs_inode_store(fs, ino, &inode, err);
		r = cfs_fs_op_finish(fs, r);
	} while (r == 0 && at < end);
	return r;
}

/* Where there is no block for the zeroes, whole blocks go first. */
static int punch(struct cfs_fs *fs, uint64_t ino, uint64_t offset_bytes,
		 uint64_t length_bytes, uint64_t size_bytes,
		 struct cfs_err *err)
{
	const uint64_t to = offset_bytes + length_bytes;
	const uint64_t first = cfs_align_up(offset_bytes, CFS_BLOCK_BYTES);
	const uint64_t last = cfs_align_down(to, CFS_BLOCK_BYTES);
	int r = punch_range(fs, ino, offset_bytes, to, size_bytes, err);

	if (r != -ENOSPC || first >= last ||
	    (offset_bytes == first && to == last))
		return r;
	r = punch_range(fs, ino, first, last, size_bytes, err);
	if (r == 0 && offset_bytes < first)
		r = punch_range(fs, ino, offset_bytes, first, size_bytes, err);
	if (r == 0 && last < to)
		r = punch_range(fs, ino, last, to, size_bytes, err);
	return r;
}

int cfs_fs_punch_hole(struct cfs_fs *fs, uint64_t ino, uint64_t offset_bytes,
		      uint64_t length_bytes, struct cfs_err *err)
{
	int r = range_check(ino, offset_bytes, length_bytes, err);

	if (fs->ops)
		return fs->ops->punch_hole(fs->ops_arg, ino, offset_bytes,
					   length_bytes, err);
	return r < 0 ? r : punch(fs, ino, offset_bytes, length_bytes, 0, err);
}

int cfs_fs_zero_range(struct cfs_fs *fs, uint64_t ino, uint64_t offset_bytes,
		      uint64_t length_bytes, bool keep_size,
		      struct cfs_err *err)
{
	int r = range_check(ino, offset_bytes, length_bytes, err);

	if (fs->ops)
		return fs->ops->zero_range(fs->ops_arg, ino, offset_bytes,
					   length_bytes, keep_size, err);
	return r < 0 ? r
		     : punch(fs, ino, offset_bytes, length_bytes,
			     keep_size ? 0 : offset_bytes + length_bytes, err);
}
