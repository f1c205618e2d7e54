/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Directories: entries by the hash of their names, and reading them in order.
 *
 * An entry's offset in the map is hash 56 | index 4.  The index tells names of
 * one hash apart; a new entry takes the lowest that is free, and an old one
 * never moves.  So a chain may have gaps, and all sixteen are looked at.
 */
#include "volume/fs_priv.h"

#include <inttypes.h>
#include <string.h>

#include "base/xxh.h"

/* Cookies of readdir: 1 behind ".", 2 behind "..", offset + 3 behind others. */
#define COOKIE_DOTDOT  1u
#define COOKIE_ENTRIES 2u

int cfs_fs_name_check(const void *name, size_t name_bytes, struct cfs_err *err)
{
	if (name_bytes == 0)
		return cfs_err_set(err, -ENOENT, "the name is empty");
	if (name_bytes > CFS_FILE_NAME_BYTES_MAX)
		return cfs_err_set(err, -ENAMETOOLONG,
				   "the name has more than %u bytes",
				   CFS_FILE_NAME_BYTES_MAX);
	if (!cfs_file_name_is_valid(name, name_bytes))
		return cfs_err_set(err, -EINVAL, "%.*s: no name for a file",
				   (int)name_bytes, (const char *)name);
	return 0;
}

uint64_t cfs_fs_name_offset(const struct cfs_fs *fs, const void *name,
			    size_t name_bytes)
{
	uint64_t hash = cfs_xxh3_seed(name, name_bytes, fs->hash_seed);

	return (hash >> 8 & fs->hash_mask) << 4;
}

int cfs_fs_entry_next(struct cfs_fs *fs, uint64_t dir_ino, uint64_t *offset,
		      void *buf, struct cfs_dirent *ret, struct cfs_err *err)
{
	size_t bytes = 0;
	int r;

	if (*offset > CFS_MAP_OFF_MASK)
		return -ENOENT;
	r = cfs_map_next(&fs->view, dir_ino, CFS_MAP_DIRENT, offset, buf,
			 CFS_DIRENT_BYTES_MAX, &bytes, err);
	if (r == -ENOENT)
		return r;
	if (r == 0)
		r = cfs_dirent_unpack(buf, CFS_MIN(bytes, CFS_DIRENT_BYTES_MAX),
				      ret, err);
	if (r != 0)
		return cfs_err_wrap(err, r, "directory %" PRIu64, dir_ino);
	return 0;
}

int cfs_fs_entry_find(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		      size_t name_bytes, struct cfs_fs_slot *ret,
		      struct cfs_err *err)
{
	uint64_t first = cfs_fs_name_offset(fs, name, name_bytes);
	uint64_t last = first + CFS_FS_NAME_WHICH_COUNT - 1;
	uint8_t buf[CFS_DIRENT_BYTES_MAX];
	uint64_t free_offset = first;
	struct cfs_dirent entry;
	uint64_t at;
	int r;

	for (at = first; at <= last; at++) {
		r = cfs_fs_entry_next(fs, dir_ino, &at, buf, &entry, err);
		if (r == -ENOENT || (r == 0 && at > last))
			break;
		if (r < 0)
			return r;
		if (entry.name_bytes == name_bytes &&
		    memcmp(entry.name, name, name_bytes) == 0) {
			ret->offset = at;
			ret->ino = entry.ino;
			ret->type = entry.type;
			return 0;
		}
		if (at == free_offset)
			free_offset++;
	}
	ret->free_offset = free_offset <= last ? free_offset : CFS_FS_NO_OFFSET;
	return -ENOENT;
}

int cfs_fs_entry_put(struct cfs_fs *fs, uint64_t dir_ino, uint64_t offset,
		     const struct cfs_dirent *entry, struct cfs_err *err)
{
	uint8_t buf[CFS_DIRENT_BYTES_MAX];
	size_t bytes = cfs_dirent_pack(entry, buf);

	return cfs_map_put(cfs_fs_container(fs), fs->view.branch, dir_ino,
			   CFS_MAP_DIRENT, offset, buf, bytes, err);
}

int cfs_fs_entry_del(struct cfs_fs *fs, uint64_t dir_ino, uint64_t offset,
		     struct cfs_err *err)
{
	int r = cfs_map_del(cfs_fs_container(fs), fs->view.branch, dir_ino,
			    CFS_MAP_DIRENT, offset, err);

	if (r == -ENOENT)
		return cfs_err_set(err, -EUCLEAN,
				   "directory %" PRIu64 ": an entry has gone",
				   dir_ino);
	return r;
}

int cfs_fs_dir_is_empty(struct cfs_fs *fs, uint64_t dir_ino,
			struct cfs_err *err)
{
	uint64_t offset = 0;
	size_t bytes = 0;
	uint8_t byte;
	int r;

	r = cfs_map_next(&fs->view, dir_ino, CFS_MAP_DIRENT, &offset, &byte,
			 sizeof(byte), &bytes, err);
	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : -ENOTEMPTY;
}

static int lookup_locked(struct cfs_fs *fs, uint64_t dir_ino, const char *name,
			 size_t name_bytes, uint64_t *ret_ino,
			 struct cfs_err *err)
{
	struct cfs_fs_slot slot;
	struct cfs_inode dir;
	int r;

	r = cfs_fs_dir_load(fs, dir_ino, false, &dir, err);
	if (r < 0)
		return r;
	if (name_bytes == 1 && name[0] == '.') {
		*ret_ino = dir_ino;
		return 0;
	}
	if (name_bytes == 2 && name[0] == '.' && name[1] == '.') {
		*ret_ino = dir_ino == fs->root_ino ? dir_ino : dir.parent;
		return 0;
	}
	r = cfs_fs_name_check(name, name_bytes, err);
	if (r < 0)
		return r;
	r = cfs_fs_entry_find(fs, dir_ino, name, name_bytes, &slot, err);
	if (r == -ENOENT)
		return cfs_err_set(err, r, "%.*s: no such file or directory",
				   (int)name_bytes, name);
	if (r == 0)
		*ret_ino = slot.ino;
	return r;
}

int cfs_fs_lookup(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
		  size_t name_bytes, uint64_t *ret_ino,
		  struct cfs_inode *ret_inode, struct cfs_err *err)
{
	struct cfs_inode inode;
	uint64_t ino = 0;
	int r;

	if (fs->ops)
		return fs->ops->lookup(fs->ops_arg, dir_ino, name, name_bytes,
				       ret_ino, ret_inode, err);
	cfs_fs_lock(fs);
	r = lookup_locked(fs, dir_ino, name, name_bytes, &ino, err);
	if (r == 0 && ret_inode)
		r = cfs_fs_named_load(fs, ino, &inode, err);
	cfs_fs_unlock(fs);
	if (r < 0)
		return r;
	*ret_ino = ino;
	if (ret_inode)
		*ret_inode = inode;
	return 0;
}

/* ---------------------------------------------------------------- readdir */

static void fill_dots(struct cfs_fs_entry *entry, uint64_t ino,
		      uint64_t dot_count)
{
	entry->ino = ino;
	entry->next_cookie = dot_count;
	entry->type = cfs_fs_type_of(S_IFDIR);
	entry->name_bytes = (uint16_t)dot_count;
	memset(entry->name, '.', dot_count);
	entry->name[dot_count] = '\0';
}

static void fill(struct cfs_fs_entry *entry, const struct cfs_dirent *dirent,
		 uint64_t offset)
{
	entry->ino = dirent->ino;
	entry->next_cookie = offset + 1 + COOKIE_ENTRIES;
	entry->type = dirent->type;
	entry->name_bytes = dirent->name_bytes;
	memcpy(entry->name, dirent->name, dirent->name_bytes);
	entry->name[dirent->name_bytes] = '\0';
}

static int readdir_locked(struct cfs_fs *fs, uint64_t dir_ino, uint64_t cookie,
			  struct cfs_fs_entry *entries, size_t entry_count,
			  size_t *ret_count, struct cfs_err *err)
{
	uint8_t buf[CFS_DIRENT_BYTES_MAX];
	struct cfs_dirent dirent;
	struct cfs_inode dir;
	uint64_t offset;
	size_t n = 0;
	int r;

	r = cfs_fs_dir_load(fs, dir_ino, false, &dir, err);
	if (r < 0)
		return r;
	if (cookie == 0 && n < entry_count) {
		fill_dots(&entries[n++], dir_ino, 1);
		cookie = COOKIE_DOTDOT;
	}
	if (cookie == COOKIE_DOTDOT && n < entry_count) {
		fill_dots(&entries[n++],
			  dir_ino == fs->root_ino ? dir_ino : dir.parent, 2);
		cookie = COOKIE_ENTRIES;
	}
	for (; n < entry_count; n++, cookie = offset + 1 + COOKIE_ENTRIES) {
		offset = cookie - COOKIE_ENTRIES;
		r = cfs_fs_entry_next(fs, dir_ino, &offset, buf, &dirent, err);
		if (r == -ENOENT)
			break;
		if (r < 0)
			return r;
		fill(&entries[n], &dirent, offset);
	}
	*ret_count = n;
	return 0;
}

int cfs_fs_readdir(struct cfs_fs *fs, uint64_t dir_ino, uint64_t cookie,
		   struct cfs_fs_entry *entries, size_t entry_count,
		   size_t *ret_count, struct cfs_err *err)
{
	int r;

	if (fs->ops)
		return fs->ops->readdir(fs->ops_arg, dir_ino, cookie, entries,
					entry_count, ret_count, err);
	if (cookie > CFS_MAP_OFF_MASK + 1 + COOKIE_ENTRIES)
		return cfs_err_set(err, -EINVAL, "no cookie of a directory");
	cfs_fs_lock(fs);
	r = readdir_locked(fs, dir_ino, cookie, entries, entry_count, ret_count,
			   err);
	cfs_fs_unlock(fs);
	return r;
}
