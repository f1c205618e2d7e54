/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rename: over nothing, over something, or an exchange; one operation.
 *
 * A directory must not come to lie inside itself, or a part of the tree would
 * hang in the air: before it changes its parent all directories above its new
 * place are looked at.
 */
#include "volume/fs_priv.h"

#include <inttypes.h>

struct side {
	uint64_t dir_ino;
	struct cfs_inode own_dir;
	struct cfs_inode *dir; /* one struct if both sides share it */
	const void *name;
	size_t name_bytes;
	struct cfs_fs_slot slot;
	bool is_there;
	struct cfs_inode inode; /* if it is there */
};

struct move {
	struct side from, to;
	uint32_t flags;
	int64_t now_ns;
	bool has_rest; /* of what was replaced */
};

static bool side_is_dir(const struct side *side)
{
	return side->is_there && S_ISDIR(side->inode.mode);
}

static bool has_one_dir(const struct move *m)
{
	return m->from.dir_ino == m->to.dir_ino;
}

static int side_load(struct cfs_fs *fs, struct side *side, struct cfs_err *err)
{
	int r;

	r = cfs_fs_entry_find(fs, side->dir_ino, side->name, side->name_bytes,
			      &side->slot, err);
	side->is_there = r == 0;
	if (r == 0)
		r = cfs_fs_named_load(fs, side->slot.ino, &side->inode, err);
	return r == -ENOENT ? 0 : r;
}

static int sides_load(struct cfs_fs *fs, struct move *m, struct cfs_err *err)
{
	int r;

	m->from.dir = m->to.dir = &m->from.own_dir;
	r = cfs_fs_dir_load(fs, m->from.dir_ino, true, m->from.dir, err);
	if (r == 0 && !has_one_dir(m)) {
		m->to.dir = &m->to.own_dir;
		r = cfs_fs_dir_load(fs, m->to.dir_ino, true, m->to.dir, err);
	}
	if (r == 0)
		r = side_load(fs, &m->from, err);
	if (r == 0)
		r = side_load(fs, &m->to, err);
	return r;
}

static int name_error(const struct side *side, int code, const char *what,
		      struct cfs_err *err)
{
	return cfs_err_set(err, code, "%.*s: %s", (int)side->name_bytes,
			   (const char *)side->name, what);
}

/* A directory that gets another parent must not be above it. */
static int loop_check(struct cfs_fs *fs, const struct move *m,
		      struct cfs_err *err)
{
	int r = 0;

	if (has_one_dir(m))
		return 0;
	if (side_is_dir(&m->from))
		r = cfs_fs_above_check(fs, m->to.dir_ino, m->from.slot.ino,
				       err);
	if (r == 0 && m->flags & CFS_FS_RENAME_EXCHANGE && side_is_dir(&m->to))
		r = cfs_fs_above_check(fs, m->from.dir_ino, m->to.slot.ino,
				       err);
	return r;
}

static int replace_check(struct cfs_fs *fs, const struct move *m,
			 struct cfs_err *err)
{
	int r;

	if (side_is_dir(&m->from) && !side_is_dir(&m->to))
		return name_error(&m->to, -ENOTDIR, "not a directory", err);
	if (!side_is_dir(&m->from) && side_is_dir(&m->to))
		return name_error(&m->to, -EISDIR, "is a directory", err);
	if (!side_is_dir(&m->to))
		return 0;
	r = cfs_fs_dir_is_empty(fs, m->to.slot.ino, err);
	if (r == -ENOTEMPTY)
		return name_error(&m->to, r, "the directory is not empty", err);
	return r;
}

/* The directory has one subdirectory more or less. */
static int links_add(const struct side *side, int more, struct cfs_err *err)
{
	int64_t links = (int64_t)side->dir->nlink + more;

	if (links > CFS_FS_LINKS_MAX)
		return cfs_err_set(err, -EMLINK,
				   "directory %" PRIu64
				   ": too many subdirectories",
				   side->dir_ino);
	if (links < 2)
		return cfs_err_set(err, -EUCLEAN,
				   "directory %" PRIu64 ": too few links",
				   side->dir_ino);
	side->dir->nlink = (uint32_t)links;
	return 0;
}

static int dirs_store(struct cfs_fs *fs, const struct move *m,
		      struct cfs_err *err)
{
	int r;

	cfs_fs_inode_touch_data(m->from.dir, m->now_ns);
	if (!has_one_dir(m))
		cfs_fs_inode_touch_data(m->to.dir, m->now_ns);
	r = cfs_fs_inode_store(fs, m->from.dir_ino, m->from.dir, err);
	if (r == 0 && !has_one_dir(m))
		r = cfs_fs_inode_store(fs, m->to.dir_ino, m->to.dir, err);
	return r;
}

/* Let @place's name stand for @what, which thereby moves there. */
static int name_give(struct cfs_fs *fs, const struct move *m,
		     const struct side *place, uint64_t offset,
		     struct side *what, struct cfs_err *err)
{
	struct cfs_dirent entry = {
		.ino = what->slot.ino,
		.type = cfs_fs_type_of(what->inode.mode),
		.name_bytes = (uint16_t)place->name_bytes,
		.name = place->name,
	};
	int r;

	what->inode.parent = place->dir_ino;
	cfs_fs_inode_touch(&what->inode, m->now_ns);
	r = cfs_fs_entry_put(fs, place->dir_ino, offset, &entry, err);
	if (r == 0)
		r = cfs_fs_inode_store(fs, what->slot.ino, &what->inode, err);
	return r;
}

static int exchange(struct cfs_fs *fs, struct move *m, struct cfs_err *err)
{
	int more = side_is_dir(&m->to) - side_is_dir(&m->from);
	int r = 0;

	if (!has_one_dir(m) && more) {
		r = links_add(&m->from, more, err);
		if (r == 0)
			r = links_add(&m->to, -more, err);
	}
	if (r == 0)
		r = name_give(fs, m, &m->from, m->from.slot.offset, &m->to,
			      err);
	if (r == 0)
		r = name_give(fs, m, &m->to, m->to.slot.offset, &m->from, err);
	return r < 0 ? r : dirs_store(fs, m, err);
}

static int move_links(struct move *m, struct cfs_err *err)
{
	int leaving = side_is_dir(&m->from);
	int replaced = side_is_dir(&m->to);
	int r = 0;

	if (has_one_dir(m))
		return replaced ? links_add(&m->to, -1, err) : 0;
	if (leaving)
		r = links_add(&m->from, -1, err);
	if (r == 0 && leaving != replaced)
		r = links_add(&m->to, leaving - replaced, err);
	return r;
}

static int move(struct cfs_fs *fs, struct move *m, struct cfs_err *err)
{
	uint64_t offset = m->to.is_there ? m->to.slot.offset
					 : m->to.slot.free_offset;
	int r;

	if (m->to.is_there)
		r = replace_check(fs, m, err);
	else if (offset == CFS_FS_NO_OFFSET)
		r = name_error(&m->to, -ENOSPC,
			       "the directory has too many "
			       "names of the same hash",
			       err);
	else
		r = 0;
	if (r == 0)
		r = move_links(m, err);
	if (r == 0)
		r = cfs_fs_entry_del(fs, m->from.dir_ino, m->from.slot.offset,
				     err);
	if (r == 0)
		r = name_give(fs, m, &m->to, offset, &m->from, err);
	if (r < 0)
		return r;
	m->from.dir->entry_count--;
	m->to.dir->entry_count += !m->to.is_there;
	r = dirs_store(fs, m, err);
	if (r == 0 && m->to.is_there)
		r = cfs_fs_inode_unname(fs, m->to.slot.ino, &m->to.inode,
					m->now_ns, &m->has_rest, err);
	return r;
}

static int rename_in_op(struct cfs_fs *fs, struct move *m, struct cfs_err *err)
{
	int r;

	r = sides_load(fs, m, err);
	if (r < 0)
		return r;
	if (!m->from.is_there)
		return name_error(&m->from, -ENOENT,
				  "no such file or directory", err);
	if (m->flags & CFS_FS_RENAME_NOREPLACE && m->to.is_there)
		return name_error(&m->to, -EEXIST, "exists", err);
	if (m->flags & CFS_FS_RENAME_EXCHANGE && !m->to.is_there)
		return name_error(&m->to, -ENOENT, "no such file or directory",
				  err);
	if (m->to.is_there && m->to.slot.ino == m->from.slot.ino)
		return 0;
	/* Only damage lets a directory hold itself. */
	if (m->from.slot.ino == m->from.dir_ino ||
	    (m->to.is_there && m->to.slot.ino == m->to.dir_ino))
		return cfs_err_set(err, -EUCLEAN,
				   "directory %" PRIu64 ": names itself",
				   m->from.dir_ino);
	r = loop_check(fs, m, err);
	if (r < 0)
		return r;
	return m->flags & CFS_FS_RENAME_EXCHANGE ? exchange(fs, m, err)
						 : move(fs, m, err);
}

int cfs_fs_rename(struct cfs_fs *fs, uint64_t old_dir_ino, const void *old_name,
		  size_t old_name_bytes, uint64_t new_dir_ino,
		  const void *new_name, size_t new_name_bytes, uint32_t flags,
		  struct cfs_err *err)
{
	const uint32_t both = CFS_FS_RENAME_NOREPLACE | CFS_FS_RENAME_EXCHANGE;
	struct move m = {
		.from = { .dir_ino = old_dir_ino,
			  .name = old_name,
			  .name_bytes = old_name_bytes },
		.to = { .dir_ino = new_dir_ino,
			.name = new_name,
			.name_bytes = new_name_bytes },
		.flags = flags,
	};
	int r;

	if (fs->ops)
		return fs->ops->rename(fs->ops_arg, old_dir_ino, old_name,
				       old_name_bytes, new_dir_ino, new_name,
				       new_name_bytes, flags, err);
	if (flags & ~both || flags == both)
		return cfs_err_set(err, -EINVAL,
				   "rename: flags that make no "
				   "sense");
	r = cfs_fs_name_check(old_name, old_name_bytes, err);
	if (r == 0)
		r = cfs_fs_name_check(new_name, new_name_bytes, err);
	if (r == 0)
		r = cfs_fs_op_begin(fs, CFS_OP_NORMAL, err);
	if (r < 0)
		return r;
	m.now_ns = cfs_fs_now_ns(fs);
	r = cfs_fs_op_finish(fs, rename_in_op(fs, &m, err));
	/* Renamed it is; a failure from here on leaves an orphan. */
	if (r == 0 && m.has_rest)
		cfs_fs_reclaim(fs, m.to.slot.ino, NULL);
	return r;
}
