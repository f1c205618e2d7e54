/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Extended attributes.  Offset in the map: hash 44 | index 8 | part 8.  Part 0
 * has the name and the value's length, so it tells how many parts there are;
 * a new value of an old name takes its place, and parts that the new one does
 * not have are deleted.
 */
#include "volume/fs_priv.h"

#include <inttypes.h>
#include <string.h>

#include "base/xxh.h"

#define PART_MASK     0xffu
#define WHICH_SHIFT   8u
#define HASH_SHIFT    16u

#define NAMES_UNKNOWN SIZE_MAX

static int damaged(uint64_t ino, const char *what, struct cfs_err *err)
{
	return cfs_err_set(err, -EUCLEAN, "inode %" PRIu64 ": attribute: %s",
			   ino, what);
}

static int name_check(const char *name, struct cfs_err *err)
{
	size_t n = strlen(name);

	if (n == 0)
		return cfs_err_set(err, -EINVAL, "attribute: no name");
	if (n > CFS_XATTR_NAME_BYTES_MAX)
		return cfs_err_set(err, -ERANGE,
				   "attribute: the name has more than %u bytes",
				   CFS_XATTR_NAME_BYTES_MAX);
	return 0;
}

uint64_t cfs_fs_xattr_offset(const struct cfs_fs *fs, const char *name,
			     size_t name_bytes)
{
	uint64_t hash = cfs_xxh3_seed(name, name_bytes, fs->hash_seed);

	return (hash >> 20 & fs->hash_mask) << HASH_SHIFT;
}

int cfs_fs_xattr_next(struct cfs_fs *fs, uint64_t ino, uint64_t *offset,
		      void *buf, struct cfs_xattr *ret, struct cfs_err *err)
{
	size_t bytes = 0;
	int r;

	if (*offset > CFS_MAP_OFF_MASK)
		return -ENOENT;
	r = cfs_map_next(&fs->view, ino, CFS_MAP_XATTR, offset, buf,
			 CFS_META_PART_BYTES, &bytes, err);
	if (r < 0)
		return r;
	if (*offset & PART_MASK)
		return damaged(ino, "a part without its head", err);
	if (bytes > CFS_META_PART_BYTES)
		return damaged(ino, "too long", err);
	r = cfs_xattr_unpack(buf, bytes, ret, err);
	if (r < 0)
		return cfs_err_wrap(err, r, "inode %" PRIu64, ino);
	return 0;
}

/* Offset of the next attribute's part 0, if there is one right behind. */
static uint64_t behind(uint64_t offset)
{
	return (offset | PART_MASK) + 1;
}

struct slot {
	uint64_t offset;       /* of its part 0 */
	uint64_t free_offset;  /* as of struct cfs_fs_slot */
	struct cfs_xattr head; /* leads into the caller's buffer */
};

static int find(struct cfs_fs *fs, uint64_t ino, const char *name, void *buf,
		struct slot *ret, struct cfs_err *err)
{
	size_t name_bytes = strlen(name);
	uint64_t first = cfs_fs_xattr_offset(fs, name, name_bytes);
	uint64_t end = first +
		       ((uint64_t)CFS_FS_NAME_WHICH_COUNT << WHICH_SHIFT);
	uint64_t free_offset = first;
	uint64_t at;
	int r;

	for (at = first; at < end; at = behind(at)) {
		r = cfs_fs_xattr_next(fs, ino, &at, buf, &ret->head, err);
		if (r == -ENOENT || (r == 0 && at >= end))
			break;
		if (r < 0)
			return r;
		if (ret->head.name_bytes == name_bytes &&
		    memcmp(ret->head.name, name, name_bytes) == 0) {
			ret->offset = at;
			return 0;
		}
		if (at == free_offset)
			free_offset = behind(at);
	}
	ret->free_offset = free_offset < end ? free_offset : CFS_FS_NO_OFFSET;
	return -ENOENT;
}

int cfs_fs_xattr_read(struct cfs_fs *fs, uint64_t ino, uint64_t offset,
		      const struct cfs_xattr *head, void *buf,
		      struct cfs_err *err)
{
	uint32_t done = head->data_bytes;
	uint64_t part = 0;
	uint8_t *p = buf;

	if (done)
		memcpy(p, head->data, done);
	while (done < head->value_bytes) {
		uint32_t want = CFS_MIN(head->value_bytes - done,
					CFS_META_PART_BYTES);
		size_t bytes = 0;
		int r;

		r = cfs_map_get(&fs->view, ino, CFS_MAP_XATTR, offset + ++part,
				p + done, want, &bytes, err);
		if (r < 0 && r != -ENOENT)
			return r;
		if (r == -ENOENT || bytes != want)
			return damaged(ino, "the value is cut", err);
		done += want;
	}
	return 0;
}

static int get_locked(struct cfs_fs *fs, uint64_t ino, const char *name,
		      void *buf, size_t buf_bytes, size_t *ret_bytes,
		      struct cfs_err *err)
{
	uint8_t part[CFS_META_PART_BYTES];
	struct cfs_inode inode;
	struct slot slot;
	int r;

	r = cfs_fs_inode_load(fs, ino, &inode, err);
	if (r < 0)
		return r;
	r = find(fs, ino, name, part, &slot, err);
	if (r == -ENOENT)
		return cfs_err_set(err, -ENODATA, "%s: no such attribute",
				   name);
	if (r < 0)
		return r;
	if (buf_bytes) {
		if (slot.head.value_bytes > buf_bytes)
			return cfs_err_set(err, -ERANGE,
					   "%s: the value has %u bytes", name,
					   slot.head.value_bytes);
		r = cfs_fs_xattr_read(fs, ino, slot.offset, &slot.head, buf,
				      err);
	}
	if (r == 0)
		*ret_bytes = slot.head.value_bytes;
	return r;
}

int cfs_fs_xattr_get(struct cfs_fs *fs, uint64_t ino, const char *name,
		     void *buf, size_t buf_bytes, size_t *ret_bytes,
		     struct cfs_err *err)
{
	int r = name_check(name, err);

	if (fs->ops)
		return fs->ops->xattr_get(fs->ops_arg, ino, name, buf,
					  buf_bytes, ret_bytes, err);
	if (r < 0)
		return r;
	cfs_fs_lock(fs);
	r = get_locked(fs, ino, name, buf, buf_bytes, ret_bytes, err);
	cfs_fs_unlock(fs);
	return r;
}

/* Names with their NULs; @buf NULL: only count. */
static int list_locked(struct cfs_fs *fs, uint64_t ino, char *buf,
		       size_t buf_bytes, size_t *ret_bytes, struct cfs_err *err)
{
	uint8_t part[CFS_META_PART_BYTES];
	struct cfs_xattr xattr;
	uint64_t at = 0;
	size_t used = 0;
	int r;

	for (;; at = behind(at)) {
		r = cfs_fs_xattr_next(fs, ino, &at, part, &xattr, err);
		if (r < 0)
			break;
		if (buf && xattr.name_bytes + 1u > buf_bytes - used)
			return cfs_err_set(err, -ERANGE,
					   "the names do not fit");
		if (buf) {
			memcpy(buf + used, xattr.name, xattr.name_bytes);
			buf[used + xattr.name_bytes] = '\0';
		}
		used += xattr.name_bytes + 1u;
	}
	if (r != -ENOENT)
		return r;
	*ret_bytes = used;
	return 0;
}

int cfs_fs_xattr_list(struct cfs_fs *fs, uint64_t ino, char *buf,
		      size_t buf_bytes, size_t *ret_bytes, struct cfs_err *err)
{
	struct cfs_inode inode;
	int r;

	if (fs->ops)
		return fs->ops->xattr_list(fs->ops_arg, ino, buf, buf_bytes,
					   ret_bytes, err);
	cfs_fs_lock(fs);
	r = cfs_fs_inode_load(fs, ino, &inode, err);
	if (r == 0)
		r = list_locked(fs, ino, buf_bytes ? buf : NULL, buf_bytes,
				ret_bytes, err);
	cfs_fs_unlock(fs);
	return r;
}

/* ---------------------------------------------------------------- changes */

static int parts_del(struct cfs_fs *fs, uint64_t ino, uint64_t offset,
		     uint32_t from, uint32_t to, struct cfs_err *err)
{
	int r = 0;

	for (; r == 0 && from < to; from++) {
		r = cfs_map_del(cfs_fs_container(fs), fs->view.branch, ino,
				CFS_MAP_XATTR, offset + from, err);
		if (r == -ENOENT)
			r = damaged(ino, "the value is cut", err);
	}
	return r;
}

static int parts_put(struct cfs_fs *fs, uint64_t ino, uint64_t offset,
		     const struct cfs_fs_xattr *xattr, struct cfs_err *err)
{
	uint8_t part[CFS_META_PART_BYTES];
	struct cfs_xattr head = {
		.value_bytes = (uint32_t)xattr->value_bytes,
		.name_bytes = (uint16_t)strlen(xattr->name),
		.name = xattr->name,
		.data = xattr->value,
	};
	const uint8_t *p = xattr->value;
	size_t done = cfs_xattr_first_bytes(head.name_bytes, head.value_bytes);
	int r;

	r = cfs_map_put(cfs_fs_container(fs), fs->view.branch, ino,
			CFS_MAP_XATTR, offset, part,
			cfs_xattr_pack(&head, part), err);
	while (r == 0 && done < xattr->value_bytes) {
		size_t n = CFS_MIN(xattr->value_bytes - done,
				   CFS_META_PART_BYTES);

		r = cfs_map_put(cfs_fs_container(fs), fs->view.branch, ino,
				CFS_MAP_XATTR, ++offset, p + done, n, err);
		done += n;
	}
	return r;
}

/*
 * What all names take is kept for the inode that was changed last, so that the
 * thousandth attribute costs no more than the first.  It counts as long as the
 * inode has not changed since: @inode is as it was before the operation.
 */
static size_t names_known(const struct cfs_fs *fs, uint64_t ino,
			  const struct cfs_inode *inode)
{
	return fs->names.ino == ino && fs->names.change == inode->change
		       ? fs->names.bytes
		       : NAMES_UNKNOWN;
}

/* The operation was done, and @inode is as it is stored with it. */
static void names_keep(struct cfs_fs *fs, uint64_t ino,
		       const struct cfs_inode *inode, size_t bytes)
{
	fs->names.ino = bytes == NAMES_UNKNOWN ? 0 : ino;
	fs->names.change = inode->change;
	fs->names.bytes = bytes;
}

/* A name more: does the list of all stay within its limit?  *@bytes: what the
 * others take, if it is known; and with it. */
static int room_check(struct cfs_fs *fs, uint64_t ino, const char *name,
		      const struct slot *slot, size_t *bytes,
		      struct cfs_err *err)
{
	int r = 0;

	if (slot->free_offset == CFS_FS_NO_OFFSET)
		return cfs_err_set(err, -ENOSPC,
				   "%s: too many attributes of one hash", name);
	if (*bytes == NAMES_UNKNOWN)
		r = list_locked(fs, ino, NULL, 0, bytes, err);
	if (r < 0)
		return r;
	if (*bytes + strlen(name) + 1 > CFS_FS_XATTR_LIST_BYTES_MAX)
		return cfs_err_set(err, -ENOSPC,
				   "%s: the inode's attributes have names of "
				   "more than %u bytes",
				   name, CFS_FS_XATTR_LIST_BYTES_MAX);
	*bytes += strlen(name) + 1;
	return 0;
}

/* @names: as of room_check. */
static int put_one(struct cfs_fs *fs, uint64_t ino,
		   const struct cfs_fs_xattr *xattr, uint32_t flags,
		   size_t *names, struct cfs_err *err)
{
	uint8_t part[CFS_META_PART_BYTES];
	uint32_t name_bytes = (uint32_t)strlen(xattr->name);
	uint32_t old_parts = 0;
	struct slot slot;
	int r;

	r = find(fs, ino, xattr->name, part, &slot, err);
	if (r == 0) {
		if (flags & CFS_FS_XATTR_CREATE)
			return cfs_err_set(err, -EEXIST, "%s: attribute exists",
					   xattr->name);
		old_parts = cfs_xattr_part_count(name_bytes,
						 slot.head.value_bytes);
	} else if (r == -ENOENT) {
		if (flags & CFS_FS_XATTR_REPLACE)
			return cfs_err_set(err, -ENODATA,
					   "%s: no such attribute",
					   xattr->name);
		r = room_check(fs, ino, xattr->name, &slot, names, err);
		slot.offset = slot.free_offset;
	}
	if (r == 0)
		r = parts_put(fs, ino, slot.offset, xattr, err);
	if (r == 0)
		r = parts_del(fs, ino, slot.offset,
			      cfs_xattr_part_count(
				      name_bytes, (uint32_t)xattr->value_bytes),
			      old_parts, err);
	return r;
}

int cfs_fs_xattr_put(struct cfs_fs *fs, uint64_t ino,
		     const struct cfs_fs_xattr *xattr, uint32_t flags,
		     struct cfs_err *err)
{
	size_t names = NAMES_UNKNOWN;

	return put_one(fs, ino, xattr, flags, &names, err);
}

int cfs_fs_xattr_check(const struct cfs_fs_xattr *xattr, struct cfs_err *err)
{
	int r = name_check(xattr->name, err);

	if (r == 0 && xattr->value_bytes > CFS_XATTR_VALUE_BYTES_MAX)
		r = cfs_err_set(err, -E2BIG,
				"%s: the value has more than %u bytes",
				xattr->name, CFS_XATTR_VALUE_BYTES_MAX);
	return r;
}

/* The inode's part of a change to its attributes. */
static int inode_touch(struct cfs_fs *fs, uint64_t ino, struct cfs_inode *inode,
		       struct cfs_err *err)
{
	cfs_fs_inode_touch(inode, cfs_fs_now_ns(fs));
	return cfs_fs_inode_store(fs, ino, inode, err);
}

int cfs_fs_xattr_set(struct cfs_fs *fs, uint64_t ino, const char *name,
		     const void *value, size_t value_bytes, uint32_t flags,
		     struct cfs_err *err)
{
	const uint32_t both = CFS_FS_XATTR_CREATE | CFS_FS_XATTR_REPLACE;
	struct cfs_fs_xattr xattr = {
		.name = name,
		.value = value,
		.value_bytes = value_bytes,
	};
	struct cfs_inode inode;
	size_t names = NAMES_UNKNOWN;
	int r;

	if (fs->ops)
		return fs->ops->xattr_set(fs->ops_arg, ino, name, value,
					  value_bytes, flags, err);
	if (flags & ~both || flags == both)
		return cfs_err_set(err, -EINVAL, "%s: flags that make no sense",
				   name);
	r = cfs_fs_xattr_check(&xattr, err);
	if (r == 0)
		r = cfs_fs_op_begin(fs, CFS_OP_NORMAL, err);
	if (r < 0)
		return r;
	r = cfs_fs_inode_load(fs, ino, &inode, err);
	if (r == 0) {
		names = names_known(fs, ino, &inode);
		r = put_one(fs, ino, &xattr, flags, &names, err);
	}
	if (r == 0)
		r = inode_touch(fs, ino, &inode, err);
	if (r == 0)
		names_keep(fs, ino, &inode, names);
	return cfs_fs_op_finish(fs, r);
}

static int remove_locked(struct cfs_fs *fs, uint64_t ino, const char *name,
			 struct cfs_err *err)
{
	uint8_t part[CFS_META_PART_BYTES];
	struct cfs_inode inode;
	struct slot slot;
	size_t names;
	int r;

	r = cfs_fs_inode_load(fs, ino, &inode, err);
	if (r < 0)
		return r;
	names = names_known(fs, ino, &inode);
	r = find(fs, ino, name, part, &slot, err);
	if (r == -ENOENT)
		return cfs_err_set(err, -ENODATA, "%s: no such attribute",
				   name);
	if (r == 0)
		r = parts_del(fs, ino, slot.offset, 0,
			      cfs_xattr_part_count(slot.head.name_bytes,
						   slot.head.value_bytes),
			      err);
	if (r == 0)
		r = inode_touch(fs, ino, &inode, err);
	if (r == 0)
		names_keep(fs, ino, &inode,
			   names == NAMES_UNKNOWN ? names
						  : names - strlen(name) - 1);
	return r;
}

int cfs_fs_xattr_remove(struct cfs_fs *fs, uint64_t ino, const char *name,
			struct cfs_err *err)
{
	int r = name_check(name, err);

	if (fs->ops)
		return fs->ops->xattr_remove(fs->ops_arg, ino, name, err);
	if (r == 0)
		r = cfs_fs_op_begin(fs, CFS_OP_FREEING, err);
	if (r < 0)
		return r;
	return cfs_fs_op_finish(fs, remove_locked(fs, ino, name, err));
}
