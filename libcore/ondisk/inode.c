/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inodes, directory entries, extended attributes: the bytes of a tree. */
#include "ondisk/inode.h"

#include <assert.h>
#include <sys/stat.h>

#include "ondisk/field_priv.h"

#define MODE_KNOWN       0177777u /* type, set-id and sticky, rwx */
/* The format's numbers are Linux's DT_*: the type of the mode, shifted. */
#define DT_OF_MODE(mode) (((mode)&S_IFMT) >> 12)

static bool mode_is_valid(uint32_t mode)
{
	if (mode & ~MODE_KNOWN)
		return false;
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return true;
	default:
		return false;
	}
}

void cfs_inode_pack(const struct cfs_inode *inode, struct cfs_inode_disk *disk)
{
	memset(disk, 0, sizeof(*disk));
	disk->mode = le32_put(inode->mode);
	disk->uid = le32_put(inode->uid);
	disk->gid = le32_put(inode->gid);
	disk->nlink = le32_put(inode->nlink);
	disk->size_bytes = le64_put(inode->size_bytes);
	disk->rdev = le64_put(inode->rdev);
	disk->atime_ns = le64_put((uint64_t)inode->atime_ns);
	disk->mtime_ns = le64_put((uint64_t)inode->mtime_ns);
	disk->ctime_ns = le64_put((uint64_t)inode->ctime_ns);
	disk->btime_ns = le64_put((uint64_t)inode->btime_ns);
	disk->parent = le64_put(inode->parent);
	disk->change = le64_put(inode->change);
	disk->flags = le32_put(inode->flags);
	disk->entry_count = le32_put(inode->entry_count);
}

int cfs_inode_unpack(const void *value, size_t value_bytes,
		     struct cfs_inode *ret, struct cfs_err *err)
{
	struct cfs_inode_disk disk;
	struct cfs_inode inode;

	if (value_bytes < sizeof(disk))
		return cfs_err_set(err, -EUCLEAN, "inode: too short");
	memcpy(&disk, value, sizeof(disk));
	inode = (struct cfs_inode){
		.mode = le32_get(disk.mode),
		.uid = le32_get(disk.uid),
		.gid = le32_get(disk.gid),
		.nlink = le32_get(disk.nlink),
		.size_bytes = le64_get(disk.size_bytes),
		.rdev = le64_get(disk.rdev),
		.atime_ns = (int64_t)le64_get(disk.atime_ns),
		.mtime_ns = (int64_t)le64_get(disk.mtime_ns),
		.ctime_ns = (int64_t)le64_get(disk.ctime_ns),
		.btime_ns = (int64_t)le64_get(disk.btime_ns),
		.parent = le64_get(disk.parent),
		.change = le64_get(disk.change),
		.flags = le32_get(disk.flags),
		.entry_count = le32_get(disk.entry_count),
	};
	if (!mode_is_valid(inode.mode))
		return cfs_err_set(err, -EUCLEAN, "inode: bad mode %#o",
				   inode.mode);
	if (inode.size_bytes > CFS_FILE_BYTES_MAX ||
	    (S_ISLNK(inode.mode) && inode.size_bytes > CFS_SYMLINK_BYTES_MAX))
		return cfs_err_set(err, -EUCLEAN, "inode: of %llu bytes",
				   (unsigned long long)inode.size_bytes);
	if (inode.parent > CFS_INO_MAX)
		return cfs_err_set(err, -EUCLEAN, "inode: bad parent");
	*ret = inode;
	return 0;
}

bool cfs_file_name_is_valid(const void *name, size_t name_bytes)
{
	const char *s = name;

	if (name_bytes < 1 || name_bytes > CFS_FILE_NAME_BYTES_MAX)
		return false;
	if (s[0] == '.' &&
	    (name_bytes == 1 || (name_bytes == 2 && s[1] == '.')))
		return false;
	return !memchr(s, '/', name_bytes) && !memchr(s, '\0', name_bytes);
}

size_t cfs_dirent_pack(const struct cfs_dirent *dirent, void *buf)
{
	struct cfs_dirent_disk disk = {
		.ino_type = cfs_field_48_16(dirent->ino, dirent->type),
		.name_bytes = le16_put(dirent->name_bytes),
	};

	assert(dirent->ino != 0 && dirent->ino <= CFS_INO_MAX);
	assert(cfs_file_name_is_valid(dirent->name, dirent->name_bytes));
	memcpy(buf, &disk, sizeof(disk));
	memcpy((uint8_t *)buf + sizeof(disk), dirent->name, dirent->name_bytes);
	return sizeof(disk) + dirent->name_bytes;
}

int cfs_dirent_unpack(const void *value, size_t value_bytes,
		      struct cfs_dirent *ret, struct cfs_err *err)
{
	struct cfs_dirent_disk disk;
	struct cfs_dirent d;

	if (value_bytes < sizeof(disk))
		return cfs_err_set(err, -EUCLEAN, "directory entry: too short");
	memcpy(&disk, value, sizeof(disk));
	d = (struct cfs_dirent){
		.ino = le64_get(disk.ino_type) >> 16,
		.type = (uint16_t)le64_get(disk.ino_type),
		.name_bytes = le16_get(disk.name_bytes),
		.name = (const char *)value + sizeof(disk),
	};
	if (d.ino == 0 || d.type > DT_OF_MODE(S_IFMT) ||
	    !mode_is_valid((uint32_t)d.type << 12))
		return cfs_err_set(err, -EUCLEAN,
				   "directory entry: bad inode or type");
	if (d.name_bytes != value_bytes - sizeof(disk) ||
	    !cfs_file_name_is_valid(d.name, d.name_bytes))
		return cfs_err_set(err, -EUCLEAN, "directory entry: bad name");
	*ret = d;
	return 0;
}

uint32_t cfs_xattr_first_bytes(uint32_t name_bytes, uint32_t value_bytes)
{
	uint32_t room = CFS_META_PART_BYTES - name_bytes -
			(uint32_t)sizeof(struct cfs_xattr_disk);

	assert(name_bytes <= CFS_XATTR_NAME_BYTES_MAX);
	return CFS_MIN(room, value_bytes);
}

uint32_t cfs_xattr_part_count(uint32_t name_bytes, uint32_t value_bytes)
{
	uint32_t rest = value_bytes -
			cfs_xattr_first_bytes(name_bytes, value_bytes);

	return 1 + (uint32_t)cfs_div_up(rest, CFS_META_PART_BYTES);
}

static bool xattr_name_is_valid(const char *name, uint32_t name_bytes)
{
	return name_bytes >= 1 && name_bytes <= CFS_XATTR_NAME_BYTES_MAX &&
	       !memchr(name, '\0', name_bytes);
}

size_t cfs_xattr_pack(const struct cfs_xattr *xattr, void *buf)
{
	struct cfs_xattr_disk disk = {
		.value_bytes = le32_put(xattr->value_bytes),
		.name_bytes = le16_put(xattr->name_bytes),
	};
	uint32_t first = cfs_xattr_first_bytes(xattr->name_bytes,
					       xattr->value_bytes);
	uint8_t *p = buf;

	assert(xattr->value_bytes <= CFS_XATTR_VALUE_BYTES_MAX);
	assert(xattr_name_is_valid(xattr->name, xattr->name_bytes));
	memcpy(p, &disk, sizeof(disk));
	p += sizeof(disk);
	memcpy(p, xattr->name, xattr->name_bytes);
	p += xattr->name_bytes;
	if (first)
		memcpy(p, xattr->data, first);
	return sizeof(disk) + xattr->name_bytes + first;
}

int cfs_xattr_unpack(const void *value, size_t value_bytes,
		     struct cfs_xattr *ret, struct cfs_err *err)
{
	const uint8_t *p = value;
	struct cfs_xattr_disk disk;
	struct cfs_xattr x;

	if (value_bytes < sizeof(disk))
		return cfs_err_set(err, -EUCLEAN, "attribute: too short");
	memcpy(&disk, p, sizeof(disk));
	x.value_bytes = le32_get(disk.value_bytes);
	x.name_bytes = le16_get(disk.name_bytes);
	x.name = (const char *)(p + sizeof(disk));
	if (x.value_bytes > CFS_XATTR_VALUE_BYTES_MAX ||
	    x.name_bytes > value_bytes - sizeof(disk) ||
	    !xattr_name_is_valid(x.name, x.name_bytes))
		return cfs_err_set(err, -EUCLEAN, "attribute: bad name");
	x.data = p + sizeof(disk) + x.name_bytes;
	x.data_bytes = cfs_xattr_first_bytes(x.name_bytes, x.value_bytes);
	if (value_bytes - sizeof(disk) - x.name_bytes != x.data_bytes)
		return cfs_err_set(err, -EUCLEAN,
				   "attribute: its value does not fit");
	*ret = x;
	return 0;
}
