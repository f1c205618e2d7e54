/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Removing part of a tree, from its leaves up, so that a stop in the middle
 * leaves a tree that is whole.
 */
#include "session/transfer.h"

#include "base/vec.h"
#include "volume/fs.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define ENTRIES_AT_ONCE 64u

struct remove_level {
	uint64_t parent_ino, ino;
	size_t name_bytes;
	char name[CFS_FILE_NAME_BYTES_MAX];
};

struct removal {
	struct cfs_fs *fs;
	const struct cfs_transfer_options *opt;
	CFS_VEC(struct remove_level) levels;
	struct cfs_fs_entry *entries;
	uint64_t count;
};

static int push(struct removal *m, uint64_t parent_ino, uint64_t ino,
		const void *name, size_t name_bytes, struct cfs_err *err)
{
	struct remove_level l = {
		.parent_ino = parent_ino,
		.ino = ino,
		.name_bytes = name_bytes,
	};

	/* A directory in itself cannot be; damage can say so. */
	if (m->levels.count >= CFS_FS_DEPTH_MAX)
		return cfs_err_set(err, -ELOOP, "directories too deep");
	memcpy(l.name, name, name_bytes);
	if (cfs_vec_push(&m->levels, l) < 0)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	return 0;
}

static bool is_dot(const struct cfs_fs_entry *entry)
{
	return entry->name[0] == '.' &&
	       (entry->name_bytes == 1 ||
		(entry->name_bytes == 2 && entry->name[1] == '.'));
}

/* One entry of the deepest directory: 1 if it was a directory to go into. */
static int remove_entry(struct removal *m, uint64_t dir_ino,
			const struct cfs_fs_entry *entry, struct cfs_err *err)
{
	struct cfs_inode inode;
	int r;

	r = cfs_fs_getattr(m->fs, entry->ino, &inode, err);
	if (r < 0)
		return cfs_err_wrap(err, r, "%s", entry->name);
	if (S_ISDIR(inode.mode)) {
		r = push(m, dir_ino, entry->ino, entry->name, entry->name_bytes,
			 err);
		return r < 0 ? r : 1;
	}
	r = cfs_fs_unlink(m->fs, dir_ino, entry->name, entry->name_bytes, err);
	if (r < 0)
		return cfs_err_wrap(err, r, "%s", entry->name);
	m->count++;
	return 0;
}

static int empty_directory(struct removal *m, uint64_t dir_ino,
			   bool *ret_is_empty, struct cfs_err *err)
{
	uint64_t cookie = 0;
	size_t count, i;
	int r;

	do {
		r = cfs_fs_readdir(m->fs, dir_ino, cookie, m->entries,
				   ENTRIES_AT_ONCE, &count, err);
		for (i = 0; i < count && r == 0; i++) {
			cookie = m->entries[i].next_cookie;
			if (m->opt && m->opt->stop && m->opt->stop(m->opt->arg))
				return cfs_err_set(err, -EINTR, "stopped");
			if (!is_dot(&m->entries[i]))
				r = remove_entry(m, dir_ino, &m->entries[i],
						 err);
		}
	} while (r == 0 && count);
	*ret_is_empty = r == 0;
	return r < 0 ? r : 0;
}

static int remove_step(struct removal *m, struct cfs_err *err)
{
	struct remove_level l = m->levels.items[m->levels.count - 1];
	bool is_empty = false;
	int r;

	r = empty_directory(m, l.ino, &is_empty, err);
	if (r < 0 || !is_empty)
		return r;
	r = cfs_fs_rmdir(m->fs, l.parent_ino, l.name, l.name_bytes, err);
	if (r < 0)
		return r;
	m->count++;
	m->levels.count--;
	return 0;
}

static int remove_directory(struct removal *m, uint64_t dir_ino, uint64_t ino,
			    const void *name, size_t name_bytes,
			    bool is_recursive, struct cfs_err *err)
{
	int r;

	r = is_recursive ? 0
			 : cfs_fs_rmdir(m->fs, dir_ino, name, name_bytes, err);
	if (!is_recursive) {
		m->count += r == 0;
		return r;
	}
	r = push(m, dir_ino, ino, name, name_bytes, err);
	while (r == 0 && m->levels.count)
		r = remove_step(m, err);
	return r;
}

int cfs_transfer_remove(struct cfs_fs *fs, uint64_t dir_ino, const void *name,
			size_t name_bytes, bool is_recursive,
			const struct cfs_transfer_options *opt,
			uint64_t *ret_count, struct cfs_err *err)
{
	struct removal m = {
		.fs = fs,
		.opt = opt,
		.entries = calloc(ENTRIES_AT_ONCE, sizeof(*m.entries)),
	};
	struct cfs_inode inode;
	uint64_t ino;
	int r;

	r = m.entries ? 0 : cfs_err_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = cfs_fs_lookup(fs, dir_ino, name, name_bytes, &ino, &inode,
				  err);
	if (r == 0 && S_ISDIR(inode.mode)) {
		r = remove_directory(&m, dir_ino, ino, name, name_bytes,
				     is_recursive, err);
	} else if (r == 0) {
		r = cfs_fs_unlink(fs, dir_ino, name, name_bytes, err);
		m.count += r == 0;
	}
	if (ret_count)
		*ret_count = m.count;
	cfs_vec_done(&m.levels);
	free(m.entries);
	return r;
}
