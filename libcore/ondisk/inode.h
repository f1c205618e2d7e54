/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a tree volume keeps in the LIVE and HISTORY trees, behind the version:
 * inodes, directory entries, extended attributes, symlink targets.
 */
#pragma once

#include "ondisk/map.h"

struct cfs_inode_disk {
	le32	mode;			/* file type and permissions */
	le32	uid;
	le32	gid;
	le32	nlink;
	le64	size_bytes;
	le64	rdev;			/* major 32 | minor 32 */
	le64	atime_ns, mtime_ns, ctime_ns, btime_ns;	/* signed, Unix epoch */
	le64	parent;			/* a directory that names it; a hint for
					 * files, exact for directories */
	le64	change;			/* rises with each change */
	le32	flags;
	le32	entry_count;		/* directory: low 32 bits; sub-directories
					 * are nlink - 2 */
	le64	reserved;
};
CFS_ASSERT_SIZE(struct cfs_inode_disk, 96);

struct cfs_dirent_disk {
	le64	ino_type;		/* inode 48 | DT_* type 16 */
	le16	name_bytes;
	/* the name, 1..255 bytes */
} __attribute__((aligned(1)));
CFS_ASSERT_SIZE(struct cfs_dirent_disk, 10);

struct cfs_xattr_disk {			/* part 0; further parts are bytes only */
	le32	value_bytes;		/* of the whole value */
	le16	name_bytes;
	/* the name, then the value's first bytes */
} __attribute__((aligned(1)));
CFS_ASSERT_SIZE(struct cfs_xattr_disk, 6);

#define CFS_FILE_NAME_BYTES_MAX	255u
#define CFS_XATTR_NAME_BYTES_MAX 255u
#define CFS_XATTR_VALUE_BYTES_MAX 65536u
#define CFS_SYMLINK_BYTES_MAX	4095u
#define CFS_META_PART_BYTES	1024u	/* of a symlink or xattr, a record */

struct cfs_inode {
	uint32_t	mode, uid, gid, nlink;
	uint64_t	size_bytes;
	uint64_t	rdev;
	int64_t		atime_ns, mtime_ns, ctime_ns, btime_ns;
	uint64_t	parent;
	uint64_t	change;
	uint32_t	flags;
	uint32_t	entry_count;
};

void cfs_inode_pack(const struct cfs_inode *inode, struct cfs_inode_disk *disk);
/* -EUCLEAN: too short, or a type or size that cannot be. */
int cfs_inode_unpack(const void *value, size_t value_bytes,
		     struct cfs_inode *ret, struct cfs_err *err);
