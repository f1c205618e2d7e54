/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a tree volume keeps in the LIVE and HISTORY trees, behind the version:
 * inodes, directory entries, extended attributes, symlink targets.
 */
#pragma once

#include "ondisk/map.h"

struct cfs_inode_disk {
	le32 mode; /* file type and permissions */
	le32 uid;
	le32 gid;
	le32 nlink;
	le64 size_bytes;
	le64 rdev;                                   /* major 32 | minor 32 */
	le64 atime_ns, mtime_ns, ctime_ns, btime_ns; /* signed, Unix epoch */
	le64 parent; /* a directory that names it; a hint for
		      * files, exact for directories */
	le64 change; /* rises with each change */
	le32 flags;
	le32 entry_count; /* directory: low 32 bits; sub-directories
			   * are nlink - 2 */
	le64 reserved;
};
CFS_ASSERT_SIZE(struct cfs_inode_disk, 96);

struct cfs_dirent_disk {
	le64 ino_type; /* inode 48 | DT_* type 16 */
	le16 name_bytes;
	/* the name, 1..255 bytes */
} __attribute__((aligned(1)));
CFS_ASSERT_SIZE(struct cfs_dirent_disk, 10);

struct cfs_xattr_disk {   /* part 0; further parts are bytes only */
	le32 value_bytes; /* of the whole value */
	le16 name_bytes;
	/* the name, then the value's first bytes */
} __attribute__((aligned(1)));
CFS_ASSERT_SIZE(struct cfs_xattr_disk, 6);

#define CFS_FILE_BYTES_MAX ((CFS_OFF_MAX + 1) * CFS_BLOCK_BYTES)
/* flags */
#define CFS_INODE_SHRINKING                                                    \
	0x1u /* data behind size_bytes is being freed:                         \
	      * it may not grow before that is done */

#define CFS_FILE_NAME_BYTES_MAX   255u
#define CFS_XATTR_NAME_BYTES_MAX  255u
#define CFS_XATTR_VALUE_BYTES_MAX 65536u
#define CFS_SYMLINK_BYTES_MAX     4095u
#define CFS_META_PART_BYTES       1024u /* of a symlink or xattr, a record */

struct cfs_inode {
	uint32_t mode, uid, gid, nlink;
	uint64_t size_bytes;
	uint64_t rdev;
	int64_t atime_ns, mtime_ns, ctime_ns, btime_ns;
	uint64_t parent;
	uint64_t change;
	uint32_t flags;
	uint32_t entry_count;
};

void cfs_inode_pack(const struct cfs_inode *inode, struct cfs_inode_disk *disk);
/* -EUCLEAN: too short, or a type or size that cannot be. */
int cfs_inode_unpack(const void *value, size_t value_bytes,
		     struct cfs_inode *ret, struct cfs_err *err);

/* A file's name: 1..255 bytes, none of them '/' or NUL; not "." or "..". */
bool cfs_file_name_is_valid(const void *name, size_t name_bytes);

#define CFS_DIRENT_BYTES_MAX                                                   \
	(sizeof(struct cfs_dirent_disk) + CFS_FILE_NAME_BYTES_MAX)

struct cfs_dirent {
	uint64_t ino;
	uint16_t type; /* DT_* */
	uint16_t name_bytes;
	const char *name; /* without a NUL */
};

/*
 * Write head and name to @buf, which has room for CFS_DIRENT_BYTES_MAX; the
 * name is a valid one.  Returns the bytes written.
 */
size_t cfs_dirent_pack(const struct cfs_dirent *dirent, void *buf);
/*
 * @value: what follows the version.  @ret->name leads into it.
 * -EUCLEAN: cut, no inode, a type that is none, or a name that cannot be.
 */
int cfs_dirent_unpack(const void *value, size_t value_bytes,
		      struct cfs_dirent *ret, struct cfs_err *err);

/*
 * An extended attribute.  Part 0 has head, name and the value's first bytes,
 * together at most CFS_META_PART_BYTES; each further part CFS_META_PART_BYTES
 * of the value, the last one what is left.
 */
struct cfs_xattr {
	uint32_t value_bytes; /* of the whole value */
	uint16_t name_bytes;
	const char *name;    /* without a NUL */
	const uint8_t *data; /* the value's first bytes */
	uint32_t data_bytes; /* how many are in part 0; set by unpack */
};

/* How many bytes of a value stand in part 0. */
uint32_t cfs_xattr_first_bytes(uint32_t name_bytes, uint32_t value_bytes);
/* How many parts (1..66) a value takes. */
uint32_t cfs_xattr_part_count(uint32_t name_bytes, uint32_t value_bytes);
/*
 * Write part 0 to @buf, which has room for CFS_META_PART_BYTES: of @xattr->data
 * the first cfs_xattr_first_bytes() are read, data_bytes is not.
 * Returns the bytes written.
 */
size_t cfs_xattr_pack(const struct cfs_xattr *xattr, void *buf);
/*
 * @value: what follows the version.  Pointers of @ret lead into it.
 * -EUCLEAN: cut, sizes beyond the limits, an empty name or one with a NUL, or
 * more or fewer of the value's bytes than part 0 has.
 */
int cfs_xattr_unpack(const void *value, size_t value_bytes,
		     struct cfs_xattr *ret, struct cfs_err *err);
