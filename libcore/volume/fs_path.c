/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paths: down by names, and up by the parents that inodes remember.
 *
 * Resolution works on a list of pending bytes: a symlink puts its target in
 * front of what is left.  Their length and the number of symlinks are bounded.
 */
#include "volume/fs_priv.h"

#include <inttypes.h>
#include <string.h>

#include "base/vec.h"

#define PENDING_BYTES_MAX 65536u
#define SCAN_COUNT        1024u /* entries under one hold of the lock */

/* ------------------------------------------------------------------- down */

struct walk {
	struct cfs_fs *fs;
	enum cfs_fs_follow follow;
	uint64_t dir_ino; /* where we are */
	uint64_t ino;     /* what the last component stands for */
	unsigned int symlink_count;
	struct cfs_buf pending;
};

static size_t count_of(const struct walk *w, bool is_slash)
{
	size_t n = 0;

	while (n < w->pending.bytes && (w->pending.data[n] == '/') == is_slash)
		n++;
	return n;
}

/* Put the target of the symlink @w->ino in front of what is pending. */
static int symlink_enter(struct walk *w, const struct cfs_inode *inode,
			 struct cfs_err *err)
{
	uint8_t target[CFS_SYMLINK_BYTES_MAX];
	struct cfs_buf next = CFS_BUF_INIT;
	size_t bytes;
	int r;

	if (++w->symlink_count > CFS_FS_SYMLINKS_MAX)
		return cfs_err_set(err, -ELOOP, "more than %u symlinks",
				   CFS_FS_SYMLINKS_MAX);
	if (w->fs->ops) {
		r = cfs_fs_readlink(w->fs, w->ino, target, sizeof(target),
				    &bytes, err);
	} else {
		r = cfs_fs_target_read(w->fs, w->ino, inode, target, err);
		bytes = (size_t)inode->size_bytes;
	}
	if (r < 0)
		return r;
	if (bytes + w->pending.bytes > PENDING_BYTES_MAX)
		return cfs_err_set(err, -ENAMETOOLONG,
				   "symlinks make the path "
				   "too long");
	r = cfs_buf_append(&next, target, bytes);
	if (r == 0)
		r = cfs_buf_append(&next, w->pending.data, w->pending.bytes);
	cfs_buf_donep(&w->pending);
	w->pending = next;
	if (r < 0)
		return cfs_err_set(err, r, "path: no memory");
	if (target[0] == '/')
		w->dir_ino = w->fs->root_ino;
	w->ino = w->dir_ino;
	return 0;
}

/* The component is looked up; is it a symlink to go into? */
static int component_enter(struct walk *w, bool is_last, struct cfs_err *err)
{
	struct cfs_inode inode;
	bool follows;
	int r;

	r = w->fs->ops ? cfs_fs_getattr(w->fs, w->ino, &inode, err)
		       : cfs_fs_named_load(w->fs, w->ino, &inode, err);
	if (r < 0)
		return r;
	if (S_ISLNK(inode.mode)) {
		follows = w->follow == CFS_FS_FOLLOW_ALL ||
			  (w->follow == CFS_FS_FOLLOW_MIDDLE && !is_last);
		if (follows)
			return symlink_enter(w, &inode, err);
		if (!is_last)
			return cfs_err_set(err, -ELOOP,
					   "inode %" PRIu64
					   ": a symlink, not followed",
					   w->ino);
	}
	if (!is_last && !S_ISDIR(inode.mode))
		return cfs_err_set(err, -ENOTDIR,
				   "inode %" PRIu64 ": not a directory",
				   w->ino);
	if (S_ISDIR(inode.mode))
		w->dir_ino = w->ino;
	return 0;
}

static int component_find(struct walk *w, const char *name, size_t name_bytes,
			  struct cfs_err *err)
{
	struct cfs_fs_slot slot;
	struct cfs_inode dir;
	int r;

	if (w->fs->ops)
		return cfs_fs_lookup(w->fs, w->dir_ino, name, name_bytes,
				     &w->ino, NULL, err);
	r = cfs_fs_dir_load(w->fs, w->dir_ino, false, &dir, err);
	if (r < 0)
		return r;
	w->ino = w->dir_ino;
	if (name_bytes == 1 && name[0] == '.')
		return 0;
	if (name_bytes == 2 && name[0] == '.' && name[1] == '.') {
		if (w->dir_ino != w->fs->root_ino)
			w->ino = dir.parent;
		return 0;
	}
	r = cfs_fs_name_check(name, name_bytes, err);
	if (r < 0)
		return r;
	r = cfs_fs_entry_find(w->fs, w->dir_ino, name, name_bytes, &slot, err);
	if (r == -ENOENT)
		return cfs_err_set(err, r, "%.*s: no such file or directory",
				   (int)name_bytes, name);
	if (r == 0)
		w->ino = slot.ino;
	return r;
}

static int walk_down(struct walk *w, struct cfs_err *err)
{
	int r = 0;

	cfs_buf_drop_front(&w->pending, count_of(w, true));
	while (r == 0 && w->pending.bytes) {
		char name[CFS_FILE_NAME_BYTES_MAX];
		size_t n = count_of(w, false);
		size_t slashes;

		if (n > sizeof(name))
			return cfs_err_set(err, -ENAMETOOLONG,
					   "a name has more than %zu bytes",
					   sizeof(name));
		memcpy(name, w->pending.data, n);
		cfs_buf_drop_front(&w->pending, n);
		slashes = count_of(w, true);
		r = component_find(w, name, n, err);
		if (r == 0)
			/* A '/' in the end demands a directory. */
			r = component_enter(w, !slashes, err);
		/* What a target begins with means itself: drop it too. */
		cfs_buf_drop_front(&w->pending, count_of(w, true));
	}
	return r;
}

int cfs_fs_resolve(struct cfs_fs *fs, uint64_t start_ino, const void *path,
		   size_t path_bytes, enum cfs_fs_follow follow,
		   uint64_t *ret_ino, struct cfs_err *err)
{
	struct walk w = {
		.fs = fs,
		.follow = follow,
		.dir_ino = start_ino,
		.pending = CFS_BUF_INIT,
	};
	int r;

	if (fs->ops && fs->ops->resolve)
		return fs->ops->resolve(fs->ops_arg, start_ino, path,
					path_bytes, follow, ret_ino, err);
	if (path_bytes > PENDING_BYTES_MAX)
		return cfs_err_set(err, -ENAMETOOLONG, "the path is too long");
	if (path_bytes && memchr(path, '\0', path_bytes))
		return cfs_err_set(err, -EINVAL, "the path has a NUL");
	if (path_bytes && *(const char *)path == '/')
		w.dir_ino = fs->root_ino;
	w.ino = w.dir_ino;
	r = cfs_buf_append(&w.pending, path, path_bytes);
	if (r < 0)
		return cfs_err_set(err, r, "path: no memory");
	if (!fs->ops)
		cfs_fs_lock(fs);
	r = walk_down(&w, err);
	if (!fs->ops)
		cfs_fs_unlock(fs);
	cfs_buf_donep(&w.pending);
	if (r == 0)
		*ret_ino = w.ino;
	return r;
}

static int dir_check(struct cfs_fs *fs, uint64_t ino, struct cfs_err *err)
{
	struct cfs_inode dir;
	int r;

	if (!fs->ops) {
		cfs_fs_lock(fs);
		r = cfs_fs_dir_load(fs, ino, false, &dir, err);
		cfs_fs_unlock(fs);
		return r;
	}
	r = cfs_fs_getattr(fs, ino, &dir, err);
	if (r == 0 && !S_ISDIR(dir.mode))
		r = cfs_err_set(err, -ENOTDIR,
				"inode %" PRIu64 ": not a directory", ino);
	return r;
}

int cfs_fs_resolve_parent(struct cfs_fs *fs, uint64_t start_ino,
			  const void *path, size_t path_bytes,
			  enum cfs_fs_follow follow, uint64_t *ret_dir_ino,
			  const char **ret_name, size_t *ret_name_bytes,
			  struct cfs_err *err)
{
	const char *p = path;
	size_t end = path_bytes, begin;
	uint64_t ino = 0;
	int r;

	while (end && p[end - 1] == '/')
		end--;
	for (begin = end; begin && p[begin - 1] != '/'; begin--)
		;
	if (begin == end)
		return cfs_err_set(err, -EINVAL, "the path has no name");
	r = cfs_fs_name_check(p + begin, end - begin, err);
	if (r == 0)
		r = cfs_fs_resolve(fs, start_ino, p, begin,
				   follow == CFS_FS_FOLLOW_NONE
					   ? follow
					   : CFS_FS_FOLLOW_ALL,
				   &ino, err);
	if (r == 0)
		r = dir_check(fs, ino, err);
	if (r < 0)
		return r;
	*ret_dir_ino = ino;
	*ret_name = p + begin;
	*ret_name_bytes = end - begin;
	return 0;
}

/* --------------------------------------------------------------------- up */

int cfs_fs_above_check(struct cfs_fs *fs, uint64_t dir_ino, uint64_t ino,
		       struct cfs_err *err)
{
	unsigned int depth;

	for (depth = 0; depth < CFS_FS_DEPTH_MAX; depth++) {
		struct cfs_inode dir;
		int r;

		if (dir_ino == ino)
			return cfs_err_set(err, -EINVAL,
					   "inode %" PRIu64
					   ": a directory into itself",
					   ino);
		if (dir_ino == fs->root_ino)
			return 0;
		r = cfs_fs_dir_load(fs, dir_ino, false, &dir, err);
		if (r < 0)
			return cfs_err_wrap(err, -EUCLEAN, "parents");
		dir_ino = dir.parent;
	}
	return cfs_err_set(err, -ELOOP,
			   "inode %" PRIu64
			   ": below more than %u directories, or a loop",
			   dir_ino, CFS_FS_DEPTH_MAX);
}

struct found {
	size_t name_bytes;
	char name[CFS_FILE_NAME_BYTES_MAX];
};

/*
 * The name that @dir_ino has for @ino.  Takes the lock, for a part of the
 * directory at a time.  -ENOENT without @err.
 */
static int name_of(struct cfs_fs *fs, uint64_t dir_ino, uint64_t ino,
		   struct found *ret, struct cfs_err *err)
{
	uint8_t buf[CFS_DIRENT_BYTES_MAX];
	struct cfs_dirent entry;
	uint64_t offset = 0;
	unsigned int i;
	int r;

	for (;;) {
		cfs_fs_lock(fs);
		for (i = 0, r = 0; r == 0 && i < SCAN_COUNT; i++, offset++) {
			r = cfs_fs_entry_next(fs, dir_ino, &offset, buf, &entry,
					      err);
			if (r == 0 && entry.ino == ino)
				break;
		}
		cfs_fs_unlock(fs);
		if (r < 0)
			return r;
		if (i < SCAN_COUNT)
			break;
	}
	ret->name_bytes = entry.name_bytes;
	memcpy(ret->name, entry.name, entry.name_bytes);
	return 0;
}

/* Search all directories; sets *ret_dir_ino.  -ENOENT without @err. */
static int name_search(struct cfs_fs *fs, uint64_t ino, uint64_t *ret_dir_ino,
		       struct found *ret, struct cfs_err *err)
{
	uint64_t at;

	for (at = 0;; at++) {
		struct cfs_inode inode;
		bool is_there;
		int r;

		cfs_fs_lock(fs);
		r = cfs_map_next_inode(&fs->view, &at, err);
		is_there = r == 0;
		if (is_there)
			r = cfs_fs_inode_load(fs, at, &inode, err);
		cfs_fs_unlock(fs);
		/* One inode says nothing about the others, but where the
		 * tree itself is damaged there is no next one. */
		if (is_there && r == -EUCLEAN)
			continue;
		if (r != 0)
			return r;
		if (!S_ISDIR(inode.mode))
			continue;
		r = name_of(fs, at, ino, ret, err);
		if (r == 0)
			*ret_dir_ino = at;
		if (r != -ENOENT)
			return r;
	}
}

typedef CFS_VEC(struct found) found_vec;

/* One level up from *ino. */
static int climb(struct cfs_fs *fs, uint64_t *ino, struct found *ret,
		 struct cfs_err *err)
{
	struct cfs_inode inode;
	uint64_t dir_ino;
	int r;

	cfs_fs_lock(fs);
	r = cfs_fs_inode_load(fs, *ino, &inode, err);
	cfs_fs_unlock(fs);
	if (r < 0)
		return r;
	dir_ino = inode.parent;
	r = name_of(fs, dir_ino, *ino, ret, err);
	/* A file's parent is a hint: that name may have gone. */
	if (r == -ENOENT && !S_ISDIR(inode.mode))
		r = name_search(fs, *ino, &dir_ino, ret, err);
	if (r == -ENOENT)
		return cfs_err_set(err, r,
				   "inode %" PRIu64 ": nothing names it", *ino);
	*ino = dir_ino;
	return r;
}

static int path_join(found_vec *names, struct cfs_buf *ret)
{
	size_t before = ret->bytes;
	int r = 0;

	if (names->count == 0)
		return cfs_buf_append(ret, "/", 1);
	while (r == 0 && names->count) {
		struct found *found = &names->items[--names->count];

		r = cfs_buf_append(ret, "/", 1);
		if (r == 0)
			r = cfs_buf_append(ret, found->name, found->name_bytes);
	}
	if (r < 0)
		ret->bytes = before;
	return r;
}

int cfs_fs_path_of(struct cfs_fs *fs, uint64_t ino, struct cfs_buf *ret,
		   struct cfs_err *err)
{
	if (fs->ops)
		return fs->ops->path_of(fs->ops_arg, ino, ret, err);
	found_vec names = CFS_VEC_INIT;
	struct found found;
	int r = 0;

	while (r == 0 && ino != fs->root_ino) {
		if (names.count == CFS_FS_DEPTH_MAX) {
			r = cfs_err_set(err, -ELOOP,
					"inode %" PRIu64
					": below more than %u directories, or "
					"a loop",
					ino, CFS_FS_DEPTH_MAX);
			break;
		}
		r = climb(fs, &ino, &found, err);
		if (r == 0 && cfs_vec_push(&names, found) < 0)
			r = cfs_err_set(err, -ENOMEM, "path: no memory");
	}
	if (r == 0) {
		r = path_join(&names, ret);
		if (r < 0)
			cfs_err_set(err, r, "path: no memory");
	}
	cfs_vec_done(&names);
	return r;
}
