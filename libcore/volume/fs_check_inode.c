/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What one inode has, beside the entries of a directory: nothing is missing,
 * and nothing is there that its type or its size does not allow.
 */
#include "volume/fs_check_priv.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/bits.h"

int cfs_fs_check_say(struct cfs_fs_checking *c, enum cfs_fs_problem kind,
		     uint64_t ino, const char *fmt, ...)
{
	char what[CFS_ERR_BYTES];
	struct cfs_err line;
	va_list ap;
	int r;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	/* Names come from the device; this makes one harmless line of them. */
	cfs_err_set(&line, -EUCLEAN, "inode %" PRIu64 ": %s", ino, what);
	r = c->check->problem(c->check->arg, kind, ino, line.msg);
	return CFS_MIN(r, 0);
}

int cfs_fs_check_next(struct cfs_fs_checking *c, uint64_t ino,
		      enum cfs_map_class class, uint64_t *offset, void *buf,
		      size_t buf_bytes, size_t *ret_bytes)
{
	int r;

	if (*offset > CFS_MAP_OFF_MASK)
		return 0;
	cfs_fs_lock(c->fs);
	r = cfs_map_next(&c->fs->view, ino, class, offset, buf, buf_bytes,
			 ret_bytes, c->err);
	cfs_fs_unlock(c->fs);
	if (r == -ENOENT)
		return 0;
	/* Where it goes on behind the damage is not known. */
	if (r == -EUCLEAN)
		return cfs_fs_check_say(c, CFS_FS_PROBLEM_DAMAGED, ino,
					"cannot read all records of it");
	return r < 0 ? r : 1;
}

static int absent_check(struct cfs_fs_checking *c, uint64_t ino,
			enum cfs_map_class class, const char *what)
{
	uint64_t offset = 0;
	size_t bytes;
	uint8_t byte;
	int r;

	r = cfs_fs_check_next(c, ino, class, &offset, &byte, sizeof(byte),
			      &bytes);
	if (r != 1)
		return r;
	return cfs_fs_check_say(c, CFS_FS_PROBLEM_INODE, ino,
				"has %s, which its type does not", what);
}

static int size_check(struct cfs_fs_checking *c, uint64_t ino,
		      const struct cfs_inode *inode)
{
	uint64_t max = S_ISREG(inode->mode)   ? CFS_FS_FILE_BYTES_MAX
		       : S_ISLNK(inode->mode) ? CFS_SYMLINK_BYTES_MAX
					      : 0;

	if (inode->size_bytes <= max)
		return 0;
	return cfs_fs_check_say(c, CFS_FS_PROBLEM_INODE, ino,
				"a size of %" PRIu64 " bytes cannot be",
				inode->size_bytes);
}

static int target_check(struct cfs_fs_checking *c, uint64_t ino,
			const struct cfs_inode *inode)
{
	uint64_t offset = cfs_div_up(inode->size_bytes, CFS_META_PART_BYTES);
	uint8_t target[CFS_SYMLINK_BYTES_MAX];
	size_t bytes;
	int r;

	cfs_fs_lock(c->fs);
	r = cfs_fs_target_read(c->fs, ino, inode, target, c->err);
	cfs_fs_unlock(c->fs);
	if (r == -EUCLEAN)
		return cfs_fs_check_say(c, CFS_FS_PROBLEM_SYMLINK, ino,
					"the target is not complete");
	if (r < 0)
		return r;
	r = cfs_fs_check_next(c, ino, CFS_MAP_SYMLINK, &offset, target,
			      sizeof(target), &bytes);
	if (r != 1)
		return r;
	return cfs_fs_check_say(c, CFS_FS_PROBLEM_SYMLINK, ino,
				"the target has more parts than its size");
}

/* ------------------------------------------------------------------ xattrs */

struct parts {
	uint64_t next;       /* offset of the part that must come */
	uint32_t left_bytes; /* of the value, from there on */
};

static int bad_xattr(struct cfs_fs_checking *c, uint64_t ino, const char *what)
{
	return cfs_fs_check_say(c, CFS_FS_PROBLEM_XATTR, ino, "an attribute %s",
				what);
}

static int head_check(struct cfs_fs_checking *c, uint64_t ino, uint64_t offset,
		      const void *buf, size_t bytes, struct parts *parts)
{
	struct cfs_xattr xattr;
	uint64_t first;

	if (bytes > CFS_META_PART_BYTES ||
	    cfs_xattr_unpack(buf, bytes, &xattr, NULL) < 0)
		return bad_xattr(c, ino, "does not verify");
	parts->next = offset + 1;
	parts->left_bytes = xattr.value_bytes - xattr.data_bytes;
	first = cfs_fs_xattr_offset(c->fs, xattr.name, xattr.name_bytes);
	if (offset >> 16 != first >> 16 ||
	    (offset >> 8 & 0xff) >= CFS_FS_NAME_WHICH_COUNT)
		return cfs_fs_check_say(c, CFS_FS_PROBLEM_XATTR, ino,
					"attribute %.*s is not found by its "
					"name",
					(int)xattr.name_bytes, xattr.name);
	return 0;
}

static int xattrs_check(struct cfs_fs_checking *c, uint64_t ino)
{
	uint8_t buf[CFS_META_PART_BYTES];
	struct parts parts = { 0 };
	uint64_t at = 0;
	size_t bytes = 0;
	int r;

	for (;; at++) {
		r = cfs_fs_check_next(c, ino, CFS_MAP_XATTR, &at, buf,
				      sizeof(buf), &bytes);
		if (r != 1)
			break;
		if (parts.left_bytes && at == parts.next &&
		    bytes == CFS_MIN(parts.left_bytes, CFS_META_PART_BYTES)) {
			parts.left_bytes -= (uint32_t)bytes;
			parts.next++;
			continue;
		}
		if (parts.left_bytes) {
			parts.left_bytes = 0;
			r = bad_xattr(c, ino, "is not complete");
		} else {
			r = 0;
		}
		if (r == 0 && at & 0xff)
			r = bad_xattr(c, ino, "has a part too many");
		else if (r == 0)
			r = head_check(c, ino, at, buf, bytes, &parts);
		if (r)
			return r;
	}
	if (r == 0 && parts.left_bytes)
		r = bad_xattr(c, ino, "is not complete");
	return r;
}

/* -------------------------------------------------------------------- data */

static int data_check(struct cfs_fs_checking *c, uint64_t ino,
		      const struct cfs_inode *inode)
{
	uint64_t end = S_ISREG(inode->mode) ? inode->size_bytes : 0;
	uint64_t at = 0;
	int r;

	/* Of one that is being cut, the rest is still to be freed. */
	if (end >= CFS_FS_FILE_BYTES_MAX || inode->flags & CFS_INODE_SHRINKING)
		return 0;
	cfs_fs_lock(c->fs);
	r = cfs_data_seek(&c->fs->view, ino, cfs_align_up(end, CFS_BLOCK_BYTES),
			  true, &at, c->err);
	cfs_fs_unlock(c->fs);
	if (r == -ENXIO)
		return 0;
	if (r == -EUCLEAN)
		return cfs_fs_check_say(c, CFS_FS_PROBLEM_DAMAGED, ino,
					"cannot read where its data is");
	if (r < 0)
		return r;
	return cfs_fs_check_say(c, CFS_FS_PROBLEM_DATA, ino,
				"data at %" PRIu64 ", but its size is %" PRIu64,
				at, end);
}

int cfs_fs_check_inode(struct cfs_fs_checking *c, uint64_t ino,
		       const struct cfs_inode *inode)
{
	int r;

	r = size_check(c, ino, inode);
	if (r == 0)
		r = S_ISLNK(inode->mode)
			    ? target_check(c, ino, inode)
			    : absent_check(c, ino, CFS_MAP_SYMLINK, "a target");
	if (r == 0 && !S_ISDIR(inode->mode))
		r = absent_check(c, ino, CFS_MAP_DIRENT, "entries");
	if (r == 0)
		r = xattrs_check(c, ino);
	if (r == 0)
		r = data_check(c, ino, inode);
	return r;
}
